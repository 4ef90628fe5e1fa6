"""What is kept of queues and durable subscriptions beside their messages, as values of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.destination import Destination, Kind
from stompd.broker.dialect import QueueSettings
from stompd.broker.durable import Durable, queue_of

if TYPE_CHECKING:
    from stompd.broker.queue import Queue

Record = Mapping[str, Any]

_TEXTS: Final = ("dead_letter", "overflow")


class DamagedError(Exception):
    """A record is not one that this module writes; the text says what is wrong with it."""


# Queues.


def queue_record(queue: Queue, *, fed: bool) -> dict[str, Any] | None:
    """Return what is to be known of a queue; None if its name says it all.

    ``fed`` says that it is there for what a topic brings, whether it holds anything or not.
    """
    record = _state(queue)
    return record if record or fed else None


def _state(queue: Queue) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if queue.asked is not None:
        record["settings"] = {
            name: value for name, value in asdict(queue.asked).items() if value is not None
        }
    if queue.paused:
        record["paused"] = True
    if queue.is_dead_letter:
        record["dead_letters"] = True
    return record


def settings_of(record: Record) -> QueueSettings | None:
    """Return the settings that a queue was asked for with; raise `DamagedError`."""
    if "settings" not in record:
        return None
    value = record["settings"]
    if not isinstance(value, dict):
        raise DamagedError('"settings" are no object')
    known = {field.name for field in fields(QueueSettings)}
    for name, one in value.items():
        if name not in known:
            raise DamagedError(f'"settings" have an unknown "{name}"')
        kind = str if name in _TEXTS else bool if name == "auto_delete" else int
        # True is an int as well.
        if type(one) is not kind:
            raise DamagedError(f'"{name}" is {one!r}')
    return QueueSettings(**value)


def flag(record: Record, name: str) -> bool:
    """Return what is true or false, and false if it is absent; raise `DamagedError`."""
    value = record.get(name, False)
    if not isinstance(value, bool):
        raise DamagedError(f'"{name}" is {value!r}')
    return value


# Durable subscriptions.


def durable_record(durable: Durable) -> dict[str, Any]:
    """Return what is to be known of a durable subscription."""
    record = _state(durable.queue)
    record["destination"] = durable.destination.name
    record["label"] = list(durable.queue.destination.words)
    if durable.selector is not None:
        record["selector"] = durable.selector.text
    if durable.no_local:
        record["no_local"] = True
    if durable.user is not None:
        record["user"] = durable.user
    return record


def text(record: Record, name: str) -> str:
    """Return a text; raise `DamagedError` if it is absent or none."""
    value = record.get(name)
    if not isinstance(value, str):
        raise DamagedError(f'"{name}" is {value!r}')
    return value


def queue_name(record: Record, client_id: str, name: str) -> Destination:
    """Return the queue of a durable subscription; raise `DamagedError`."""
    words = record.get("label")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DamagedError(f'"label" is {words!r}')
    return Destination(queue_of(client_id, name), Kind.QUEUE, tuple(words))
