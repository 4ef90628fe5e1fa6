"""What people do with a file of the store: look at it, check it, make it smaller.

Looking and checking may be done while stompd runs: they read one moment of the file and hold up
nobody. Each function raises `StoreError` with a sentence for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from stompd.store.backup import apply_journal, unapplied
from stompd.store.database import APPLICATION_ID, FILE, VERSION, connect
from stompd.store.errors import (
    StoreFailedError,
    StoreFullError,
    StoreLockedError,
    StoreVersionError,
)
from stompd.store.journal import FILE as JOURNAL
from stompd.store.lock import DirectoryLock
from stompd.store.record import PLACE_MASK, RARE_COLUMNS, UNREADABLE, Reader, from_text

# Faults of one sort that are told before the rest is only counted.
_TOLD: Final = 10


class StoreMissingError(StoreFailedError):
    """There is no store in the directory."""


class QueueRow(NamedTuple):
    """A queue, or what else holds messages, and how much it holds; sizes in octets."""

    host: str
    queue: str
    messages: int
    bytes: int
    delayed: int
    delayed_bytes: int


@contextmanager
def opened(directory: Path, *, read_only: bool = False) -> Iterator[apsw.Connection]:
    """Open the file of a directory; what SQLite says of it is said in our words."""
    file = directory / FILE
    _check_directory(directory)
    if not file.is_file():
        raise StoreMissingError(
            f"there is no store in {directory}: give its directory with --data DIR"
        )
    try:
        db = connect(file, read_only=read_only)
        try:
            db.set_busy_timeout(5000)
            if db.pragma("application_id") != APPLICATION_ID:
                raise StoreVersionError(f"{file} is not a file of stompd's")
            version = db.pragma("user_version")
            if version > VERSION:
                raise StoreVersionError(
                    f"{file} was written by a newer stompd (schema {version}, this one knows "
                    f"{VERSION}): take the commands of that one"
                )
            if version < VERSION:
                raise StoreVersionError(
                    f"{file} was written by an older stompd (schema {version}, this one works with "
                    f"{VERSION}): start this one once with --data {directory}, which brings it up "
                    "to date, or take the commands of that one"
                )
            yield db
        finally:
            db.close(force=True)
    except apsw.FullError as error:
        raise StoreFullError(f"no room on the disk of {directory}") from error
    except apsw.BusyError as error:
        raise StoreFailedError(f"another program holds {file}: end its transaction") from error
    except apsw.Error as error:
        raise StoreFailedError(f"{file}: {type(error).__name__}: {error}") from error
    except UNREADABLE as error:
        raise StoreFailedError(
            f"{file} is damaged ({type(error).__name__}: {error}): see `stompd store verify`"
        ) from error


def _check_directory(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise StoreMissingError(
            f"{directory} is a file: give the directory that it is in with --data DIR"
        )


@contextmanager
def held(directory: Path) -> Iterator[apsw.Connection]:
    """Open the file of a directory that no stompd uses, and keep it so meanwhile."""
    _check_directory(directory)
    if not directory.is_dir():
        raise StoreMissingError(
            f"there is no directory {directory}: give another one with --data DIR"
        )
    lock = DirectoryLock(directory)
    try:
        with opened(directory) as db:
            apply_journal(db, directory / FILE)
            yield db
    finally:
        lock.release()


def apply_what_waits(directory: Path) -> None:
    """Bring what the journal of a stompd that has ended holds into its tables.

    Nothing if there is no store, if a stompd works with it, or if it may only be read.
    """
    if not (directory / FILE).is_file():
        return
    try:
        lock = DirectoryLock(directory)
    except (StoreLockedError, StoreFailedError):
        return
    try:
        with opened(directory) as db:
            apply_journal(db, directory / FILE)
    finally:
        lock.release()


def queues(directory: Path) -> list[QueueRow]:
    """Return what holds messages, by name.

    What a running stompd was told within the last second or so may not be counted yet.
    """
    apply_what_waits(directory)
    with opened(directory, read_only=True) as db:
        rows = db.execute(
            "SELECT host, queue, count, octets, delayed_count, delayed_octets FROM queues"
            " WHERE count OR delayed_count"
        )
        return sorted(
            QueueRow(from_text(host), from_text(name), *counts) for host, name, *counts in rows
        )


def verify(directory: Path) -> list[str]:
    """Return what is wrong, a sentence each; an empty list if nothing is.

    It takes as long as reading the whole file.
    """
    try:
        with opened(directory, read_only=True) as db:
            journal = list(_of_journal(db, directory))
            db.execute("BEGIN")
            found = journal + [
                line
                for (text,) in db.execute("PRAGMA integrity_check")
                for line in text.splitlines()
                if line != "ok" and not line.startswith("***")
            ]
            if found == journal:
                for faults in (_counters(db), _strays(db), _unreadable(db)):
                    found += _shortened(faults)
            return found
    except StoreFailedError as error:
        if isinstance(error.__cause__, apsw.CorruptError | apsw.NotADBError | ValueError):
            return [str(error)]
        raise


def _of_journal(db: apsw.Connection, directory: Path) -> Iterator[str]:
    try:
        generation, _ = unapplied(db, directory / FILE)
    except StoreFailedError as error:
        yield str(error)
        return
    clean = db.execute("SELECT value FROM meta WHERE name = 'clean'").get
    if generation and not clean and not (directory / JOURNAL).exists():
        yield f"{directory / JOURNAL} is missing, and may hold what was confirmed last"


def _shortened(faults: Iterator[str]) -> Iterator[str]:
    more = 0
    for number, fault in enumerate(faults):
        if number < _TOLD:
            yield fault
        else:
            more += 1
    if more:
        yield f"and {more} more like that"


_COUNTED: Final = """
SELECT queue.name, lane.priority, lane.count, lane.octets, lane.delayed_count, lane.delayed_octets,
       coalesce(found.count, 0), coalesce(found.octets, 0),
       coalesce(found.delayed_count, 0), coalesce(found.delayed_octets, 0),
       coalesce(found.last_place, 0) > lane.last_place
FROM lane LEFT JOIN queue ON queue.number = lane.queue LEFT JOIN (
    SELECT id >> 42 AS number, sum(due IS NULL) AS count,
           sum(iif(due IS NULL, size, 0)) AS octets, sum(due IS NOT NULL) AS delayed_count,
           sum(iif(due IS NOT NULL, size, 0)) AS delayed_octets,
           max(id & 0x3ffffffffff) AS last_place
    FROM message GROUP BY 1) AS found ON found.number = lane.number"""


def _counters(db: apsw.Connection) -> Iterator[str]:
    for name, priority, *numbers, beyond in db.execute(_COUNTED):
        told, there = numbers[:4], numbers[4:]
        if name is None:
            yield f"a lane of priority {priority} belongs to no queue"
        elif told != there:
            yield (
                f"{name}, priority {priority}: counters say {told[0]} messages of {told[1]} octets "
                f"and {told[2]} delayed of {told[3]}; there are {there[0]} of {there[1]} and "
                f"{there[2]} of {there[3]}"
            )
        elif beyond:
            yield f"{name}, priority {priority}: a message stands behind the last place"


_STRAYS: Final = (
    (
        "message {} belongs to no queue",
        "SELECT id FROM message WHERE (id >> 42, queue) NOT IN (SELECT number, queue FROM lane)",
    ),
    (
        "message {} lacks a part of its body",
        """SELECT id FROM message WHERE chunks IS NOT NULL
           AND chunks != (SELECT count(*) FROM chunk WHERE message = id)""",
    ),
    (
        "message {} has no body",
        "SELECT id FROM message WHERE chunks IS NULL AND body IS NULL",
    ),
    (
        "a part of a body belongs to message {}, which is not there",
        "SELECT DISTINCT message FROM chunk WHERE message NOT IN (SELECT id FROM message)",
    ),
)


def _strays(db: apsw.Connection) -> Iterator[str]:
    for sentence, question in _STRAYS:
        for (identity,) in db.execute(question):
            yield sentence.format(identity)


def _unreadable(db: apsw.Connection) -> Iterator[str]:
    """Yield the messages and definitions that could not be made again."""
    reader = Reader()
    columns = f"id, size, persistent, headers, {', '.join(RARE_COLUMNS)}"
    for identity, size, persistent, headers, *rare in db.execute(
        f"SELECT {columns} FROM message"  # noqa: S608 - our own words
    ):
        told: list[Any] | None = rare if any(value is not None for value in rare) else None
        try:
            reader.message(identity & PLACE_MASK, 0, size, persistent, headers, b"", told, 0.0)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            yield f"message {identity} cannot be read: {type(error).__name__}: {error}"
    for kind, key, record in db.execute("SELECT kind, key, record FROM definition"):
        try:
            if not isinstance(json.loads(key), list) or not isinstance(json.loads(record), dict):
                raise TypeError("there is something else than a list and an object")
        except UNREADABLE as error:
            yield f"the definition of {kind} {key} cannot be read: {error}"
    for table, columns in (("dedup", "host, name, dedup_id"), ("queue", "host, name")):
        for names in db.execute(f"SELECT {columns} FROM {table}"):  # noqa: S608 - our own words
            try:
                for name in names:
                    from_text(name)
            except UNREADABLE as error:
                yield f"{table} {names} cannot be read: {error}"


def compact(directory: Path) -> tuple[int, int]:
    """Write the file anew, as small as it can be; return how many octets it had and has.

    It needs room for a copy meanwhile.
    """
    with held(directory) as db:
        before = _octets(directory)
        db.execute("VACUUM")
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return before, _octets(directory)


def _octets(directory: Path) -> int:
    return sum(
        path.stat().st_size
        for path in (directory / FILE, directory / f"{FILE}-wal")
        if path.exists()
    )
