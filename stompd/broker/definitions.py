"""What there is beside messages, as a document: definitions by what they are of.

``{"stompd-definitions": 1, "definitions": [...]}``: queues with their settings, durable
subscriptions, bindings and the routes that were added while the broker runs, each with ``kind``,
``key`` and ``record``, in an order that is always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from stompd.broker.definition import DamagedError, flag, queue_name, settings_of, text
from stompd.broker.destination import Kind, parse, parse_subscribed
from stompd.broker.route import Route
from stompd.broker.selector import compile_selector
from stompd.protocol.errors import RemoteProtocolError

NAME: Final = "stompd-definitions"
FORMAT: Final = 1

# In the order in which they are made. A route is not in the store: it ends with the broker.
What = Literal["queue", "route", "durable", "binding"]
# How many parts the keys have: a virtual host, and names.
PARTS: Final[dict[What, int]] = {"queue": 2, "route": 2, "durable": 3, "binding": 3}

Definitions = dict[tuple[What, tuple[str, ...]], Mapping[str, Any]]

_ORDER: Final = tuple(PARTS)
# Names were checked when they came, and some are longer than those that clients may SEND to.
_NO_LIMIT: Final = 1 << 16
_OF_ROUTE: Final = ("match", "to", "when", "move")


class BadDefinitionError(Exception):
    """An entry of a document is not what there can be; the text says which one, and why."""


def entries(definitions: Definitions) -> list[dict[str, Any]]:
    """Return definitions as a document lists them."""
    return [
        {"kind": kind, "key": list(key), "record": record}
        for (kind, key), record in sorted(definitions.items(), key=lambda entry: order(*entry[0]))
    ]


def order(kind: What, key: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return what sorts definitions: what others need comes before these."""
    return _ORDER.index(kind), key


def read(listed: Iterable[object]) -> Definitions:
    """Return the definitions of a document; raise `BadDefinitionError`."""
    wanted: Definitions = {}
    for number, entry in enumerate(listed, 1):
        try:
            name, record = _checked(entry)
        except (DamagedError, RemoteProtocolError) as error:
            raise BadDefinitionError(f"definition {number}: {error}") from error
        wanted[name] = record
    return wanted


def _checked(entry: object) -> tuple[tuple[What, tuple[str, ...]], Mapping[str, Any]]:
    """Return one of them; raise `DamagedError` or `RemoteProtocolError` if it can be none."""
    if not isinstance(entry, dict):
        raise DamagedError("it is no object")
    named, key, record = entry.get("kind"), entry.get("key"), entry.get("record")
    kind: What | None = next((kind for kind in PARTS if kind == named), None)
    if kind is None:
        raise DamagedError(f'"kind" is {named!r}, not one of {", ".join(PARTS)}')
    if not isinstance(key, list) or not all(isinstance(part, str) for part in key):
        raise DamagedError(f'"key" is {key!r}')
    if len(key) != PARTS[kind]:
        raise DamagedError(f'"key" has {len(key)} parts')
    if not isinstance(record, dict):
        raise DamagedError('"record" is no object')
    if kind == "route":
        route_of(key[1], record)
        return (kind, tuple(key)), record
    settings_of(record)
    for name in ("paused", "dead_letters", "no_local"):
        flag(record, name)
    if kind == "durable":
        topic = parse_subscribed(text(record, "destination"))
        queue_name(record, key[1], key[2])
        if "selector" in record:
            compile_selector(text(record, "selector"))
        if "user" in record:
            text(record, "user")
    else:
        queue = parse(key[1], limit=_NO_LIMIT)
        if queue.kind is not Kind.QUEUE or queue.wild or queue.temporary:
            raise DamagedError(f"{key[1]!r} is no queue with a name for everybody")
        topic = parse_subscribed(key[-1])
    if kind != "queue" and (topic.kind is not Kind.TOPIC or topic.parts):
        raise DamagedError(f"{topic.name!r} is no topic")
    return (kind, tuple(key)), record


# Routes.


def route_record(route: Route) -> dict[str, Any]:
    """Return what is to be known of a route beside its name."""
    record: dict[str, Any] = {"match": route.match, "to": list(route.to)}
    if route.when is not None:
        record["when"] = route.when
    if route.move:
        record["move"] = True
    return record


def route_of(name: str, record: Mapping[str, Any]) -> Route:
    """Return the route of a record; raise `DamagedError`."""
    unknown = [field for field in record if field not in _OF_ROUTE]
    if unknown:
        raise DamagedError(f'a route has no "{unknown[0]}"')
    to = record.get("to")
    if not isinstance(to, list) or not all(isinstance(one, str) for one in to):
        raise DamagedError(f'"to" is {to!r}')
    when = text(record, "when") if "when" in record else None
    return Route(name, text(record, "match"), tuple(to), when, flag(record, "move"))
