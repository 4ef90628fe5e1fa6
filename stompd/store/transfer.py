"""Everything that is kept as lines of JSON, and back: to look at it, to move it, to change it.

The first line is ``{"stompd-export": 1}``. Each other one is an object with one member that says
what it is: ``message``, ``definition`` or ``dedup``. Times are milliseconds since 1970, and names
and values are those of the columns in ``schema.sql``. A body is text in ``body``, or, if it is not
UTF-8, in ``body-base64``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

from stompd.broker.storage import RETAINED, Key, Kind
from stompd.store.errors import StoreError
from stompd.store.record import RARE_COLUMNS, Reader, from_text
from stompd.store.sqlite import SqliteStore
from stompd.store.upkeep import held

_FORMAT: Final = 1
# Messages of one transaction, and octets in it.
_BATCH: Final = 1000
_OCTETS: Final = 16 * 1024 * 1024


# Places are given to queues, not to lanes: this is the order in which messages came.
_COLUMNS: Final = ", ".join(f"message.{name}" for name in RARE_COLUMNS)
_MESSAGES: Final = f"""
SELECT queue.host, queue.name, lane.priority, message.id, size, persistent, headers, body,
       {_COLUMNS}
FROM message JOIN lane ON lane.number = message.id >> 42 JOIN queue ON queue.number = lane.queue
WHERE persistent OR ? ORDER BY lane.queue, message.id & 0x3ffffffffff"""  # noqa: S608 - our own words

# Of what sort the values of messages and dedup-ids are.
_SORTS: Final[dict[str, type]] = {
    "host": str,
    "queue": str,
    "priority": int,
    "persistent": bool,
    "size": int,
    "headers": str,
    "form": int,
    "count": int,
    "redelivered": int,
    "due": int,
    "expires": int,
    "message_group": str,
    "dedup_id": str,
    "seen": int,
}
# What a column of numbers can hold.
_MOST: Final = (1 << 63) - 1


class ImportFailedError(StoreError):
    """A line is not what an export writes."""


def export(directory: Path) -> Iterator[str]:
    """Yield the lines, without line feeds. Raises `StoreError`.

    Messages that are not persistent are among them only if stompd was stopped in good order: else
    its next start would drop them, too.
    """
    with held(directory) as db:
        yield json.dumps({"stompd-export": _FORMAT})
        for kind, key, record in db.execute("SELECT kind, key, record FROM definition"):
            found = {"kind": kind, "key": json.loads(key), "record": json.loads(record)}
            yield json.dumps({"definition": found})
        for host, name, dedup_id, seen in db.execute(
            "SELECT host, name, dedup_id, seen FROM dedup ORDER BY seen"
        ):
            found = {
                "host": from_text(host),
                "queue": from_text(name),
                "dedup_id": from_text(dedup_id),
                "seen": seen,
            }
            yield json.dumps({"dedup": found})
        clean = db.execute("SELECT value FROM meta WHERE name = 'clean'").get
        for host, name, priority, identity, size, persistent, headers, inline, *rare in db.execute(
            _MESSAGES, (clean,)
        ):
            message: dict[str, Any] = {
                "host": from_text(host),
                "queue": from_text(name),
                "priority": priority,
                "persistent": bool(persistent),
                "size": size,
                "headers": headers,
            }
            for column, value in zip(RARE_COLUMNS, rare, strict=True):
                if value is not None and column != "chunks":
                    message[column] = json.loads(value) if column == "more" else value
            body = inline
            if body is None:
                parts = db.execute(
                    "SELECT data FROM chunk WHERE message = ? ORDER BY number", (identity,)
                )
                body = b"".join(data for (data,) in parts)
            try:
                message["body"] = body.decode()
            except UnicodeDecodeError:
                message["body-base64"] = base64.b64encode(body).decode()
            yield json.dumps({"message": message})


def import_lines(directory: Path, lines: Iterable[str]) -> int:
    """Add what is in the lines to a store that no stompd uses; return how many messages that were.

    There may be no such store yet. Messages stand behind those that are there; definitions and
    what is retained take the place of what is there. Raises `StoreError`; an `ImportFailedError`
    tells the line, and what was in the lines before that one has been added.
    """
    store = SqliteStore(directory, min_free=0)
    kept = store.open()
    try:
        count = _take_all(store, {queue.key: queue.last_place for queue in kept.queues}, lines)
    except ImportFailedError:
        store.close(True)  # noqa: FBT003 - a positional of the interface
        raise
    except BaseException:
        store.close(False)  # noqa: FBT003 - as above
        raise
    store.close(True)  # noqa: FBT003 - as above
    return count


def _take_all(store: SqliteStore, places: dict[Key, int], lines: Iterable[str]) -> int:
    count = 0
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            count += _take(store, places, json.loads(line), first=first)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImportFailedError(
                f"line {number} is not of an export: {type(error).__name__}: {error}"
            ) from error
        first = False
        if count % _BATCH == 0 or store.pending_octets > _OCTETS:
            _commit(store)
    if first:
        raise ImportFailedError(
            "there are no lines: an export has at least the one that says that it is one"
        )
    return count


def _commit(store: SqliteStore) -> None:
    batch = store.take()
    if batch is not None:
        store.write(batch)
        store.committed(batch)


def _take(store: SqliteStore, places: dict[Key, int], found: dict[str, Any], *, first: bool) -> int:
    """Put what a line holds into the store; return how many messages that is."""
    if first:
        if found.get("stompd-export") != _FORMAT:
            raise ValueError("the first line has to be that of an export that this stompd knows")
        return 0
    ((what, value),) = found.items()
    _check_sorts(value)
    match what:
        case "definition":
            kind: Kind = value["kind"]
            if not all(isinstance(part, str) for part in value["key"]):
                raise TypeError("the key is not of strings")
            if kind not in get_args(Kind):
                raise ValueError(f"there is no definition of a {kind!r}")
            store.define(kind, tuple(value["key"]), value["record"])
        case "dedup":
            store.remember((value["host"], value["queue"]), value["dedup_id"], value["seen"] / 1000)
        case "message":
            key = (value["host"], value["queue"])
            place = places.get(key, 0) + 1
            more = value.get("more")
            rare = [value.get(name) for name in RARE_COLUMNS]
            rare[RARE_COLUMNS.index("more")] = None if more is None else json.dumps(more)
            body = value.get("body")
            octets = base64.b64decode(value["body-base64"]) if body is None else body.encode()
            message = Reader().message(
                place,
                value["priority"],
                value["size"],
                value["persistent"],
                value["headers"],
                octets,
                rare,
                0.0,
            )
            places[key] = place
            if key[1].startswith(RETAINED):
                # A topic has one last value.
                store.forget(key)
            store.put(key, message, value.get("due", 0) / 1000)
            return 1
        case _:
            raise ValueError(f"there is nothing of the sort {what!r}")
    return 0


def _check_sorts(value: dict[str, Any]) -> None:
    """Raise unless the values can be written: when they are it is too late to name the line."""
    for name, sort in _SORTS.items():
        if name not in value:
            continue
        there: Any = value[name]
        if type(there) is not sort:
            raise TypeError(f"{name} is {there!r}, not of the sort {sort.__name__}")
        if isinstance(there, int) and not 0 <= there <= _MOST:
            raise ValueError(f"{name} cannot be {there}")
