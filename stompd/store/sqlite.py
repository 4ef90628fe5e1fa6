"""The store that keeps messages in a file of SQLite.

Two threads work with it. The main thread tells it what happens (`put`, `settle`, …) and gives up
what it collected with `take`; a worker makes that durable with `write`, one transaction for each
batch, and answers questions with `read`. Neither waits for the other: nothing is shared but
batches, and those have one owner at a time.

Whenever a step of a statement ends, its thread has to wait for the interpreter, up to 5 ms if the
main thread is busy. So there are few steps: many rows an INSERT, and a page of messages in one row.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import apsw

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Kept, KeptLane, KeptQueue, Key, Kind
from stompd.store.batch import Batch, Drop, Pending
from stompd.store.errors import (
    StoreFailedError,
    StoreFullError,
    StoreVersionError,
)
from stompd.store.lock import DirectoryLock
from stompd.store.record import (
    CHUNK,
    LANE_LIMIT,
    PLACE_BITS,
    PLACE_MASK,
    PLAIN_COLUMNS,
    RARE_COLUMNS,
    Reader,
    Writer,
    as_text,
    from_text,
    priority_of,
    to_milliseconds,
    to_seconds,
)

FILE: Final = "stompd.db"
# "STMP", so that file(1) and we can tell whose it is.
APPLICATION_ID: Final = 0x53544D50
PAGE_SIZE: Final = 4096

MIB: Final = 1024 * 1024

# The write-ahead log is copied to the file at the latest when it has so many pages, and is cut off
# in a quiet moment if it is larger than so many octets.
_WAL_PAGES: Final = 64 * MIB // PAGE_SIZE
_WAL_KEPT: Final = 4 * MIB
# Free pages that are given back in one step, once there are so many and they are a quarter of all.
_VACUUM_STEP: Final = 1024
_VACUUM_FROM: Final = 2048
# After a crash a file up to this size is checked when it is opened: that takes a second or two.
_CHECKED: Final = 256 * MIB
# Seconds for which it is good to know how much is free on the disk.
_FREE_AGE: Final = 0.5
# Milliseconds that another program, such as the shell of SQLite, may hold the file.
_BUSY: Final = 5000

# How many rows an INSERT has, how long it may be (longer ones are not kept prepared), and how many
# octets of bodies are in it at most.
_SIZES: Final = (1, 4, 16, 64, 128, 256, 512, 1024)
_STATEMENT_LENGTH: Final = 15_000
_STATEMENT_OCTETS: Final = 4 * MIB
# From so many ids without a gap on they are a range.
_RUN: Final = 32
# An answer holds no more octets than that and one message.
_ANSWER_OCTETS: Final = 128 * MIB

_COUNTERS: Final = """
UPDATE lane SET count = lane.count {sign} d.count, octets = lane.octets {sign} d.octets,
                delayed_count = lane.delayed_count {sign} d.delayed_count,
                delayed_octets = lane.delayed_octets {sign} d.delayed_octets
FROM (SELECT id >> 42 AS number,
             sum(due IS NULL) AS count, sum(iif(due IS NULL, size, 0)) AS octets,
             sum(due IS NOT NULL) AS delayed_count,
             sum(iif(due IS NOT NULL, size, 0)) AS delayed_octets
      FROM message WHERE {which} GROUP BY 1) AS d
WHERE lane.number = d.number"""

_LISTED: Final = "{column} IN (SELECT value FROM json_each(?))"
_RANGE: Final = "{column} BETWEEN ? AND ?"

_NEW_COUNTS: Final = """
UPDATE lane SET count = count + (value ->> 1), octets = octets + (value ->> 2),
                delayed_count = delayed_count + (value ->> 3),
                delayed_octets = delayed_octets + (value ->> 4),
                last_place = max(last_place, value ->> 5)
FROM json_each(?) WHERE lane.number = value ->> 0"""

_CHANGES: Final = ", ".join(f"{name} = value ->> {n}" for n, name in enumerate(RARE_COLUMNS, 1))
_REQUEUE: Final = f"UPDATE message SET {_CHANGES} FROM json_each(?) WHERE message.id = value ->> 0"  # noqa: S608

# A page as one row: all bodies behind one another, and the rest as JSON. The inner query has the
# order; what is put together of its rows keeps to it.
_PAGE: Final = f"""
SELECT CAST(group_concat(CAST(body AS TEXT), '') AS BLOB),
       json_group_array(json_array(id, size, persistent, headers, length(body),
           CASE WHEN coalesce({", ".join(RARE_COLUMNS)}) IS NULL THEN NULL
                ELSE json_array({", ".join(RARE_COLUMNS)}) END))
FROM ({{rows}})"""  # noqa: S608 - our own words

# Which rows make an answer: as many as there may be, up to the one that brings it to the octets.
_READY: Final = _PAGE.format(
    rows="""
    SELECT * FROM message WHERE id > ?1 AND due IS NULL AND id <= (
        SELECT max(id) FROM (
            SELECT id, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS before
            FROM (SELECT id, size FROM message WHERE id > ?1 AND id <= ?2 AND due IS NULL
                  ORDER BY id LIMIT ?3))
        WHERE before < ?4)
    ORDER BY id"""
)

_IN_TIME: Final = """
    SELECT message.* FROM (
        SELECT id, {time}, place,
               sum(size) OVER (ORDER BY {time}, place ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (SELECT id, size, id & 0x3ffffffffff AS place, {time} FROM message
              WHERE queue = ?1 AND {which} ORDER BY {time}, place LIMIT ?2)) AS chosen
    CROSS JOIN message ON message.id = chosen.id
    WHERE before < ?3
    ORDER BY chosen.{time}, place"""

_DELAYED: Final = _PAGE.format(
    rows=_IN_TIME.format(
        time="due",
        which="due IS NOT NULL AND due >= ?4 AND (due > ?4 OR id & 0x3ffffffffff > ?5)",
    )
)
_EXPIRED: Final = _PAGE.format(
    rows=_IN_TIME.format(
        time="expires", which="expires IS NOT NULL AND due IS NULL AND expires <= ?4"
    )
)

# What brings a file of each version to the next one.
_MIGRATIONS: Final = ("schema.sql",)
VERSION: Final = len(_MIGRATIONS)


class SqliteStore:
    """Satisfies `stompd.broker.storage.Store`, and is written to by a worker.

    The main thread calls what `Store` promises, and `take`, `committed`, `take_back`, `status`. The
    worker calls `open`, then `write`, `read`, `idle` and `backup`, and in the end `close`; each of
    them may raise `StoreFullError` or `StoreFailedError`. After a `StoreFailedError` only `close`
    may be called: what was not confirmed yet must not be confirmed any more.
    """

    pages = True

    def __init__(
        self,
        directory: Path,
        *,
        pending: int = 64 * MIB,
        min_free: int = 64 * MIB,
        cache: int = 16 * MIB,
        vfs: str | None = None,
    ) -> None:
        self.directory = directory
        self.file = directory / FILE
        # Octets that may wait to be written before `congested` says so.
        self.pending_limit = pending
        # Octets that have to stay free on the disk.
        self.min_free = min_free
        # What has to be added to the broker's time for the seconds since 1970. The owner sets it
        # before `open`, and whenever the broker's changes.
        self.epoch = 0.0
        # True while there was no room for the last batch.
        self.full = False
        # True if somebody waits for what was told since the last `take`.
        self.urgent = False
        self.starts = 0
        self._cache = cache
        self._vfs = vfs
        # The main thread's.
        self._number = 1
        self._durable = 0
        self._pending = Pending(Batch(1, 0.0))
        self._ticketed = False
        self._in_flight_octets = 0
        # The worker's.
        self._lock: DirectoryLock | None = None
        self._db: apsw.Connection | None = None
        self._failure: str | None = None
        self._writer = Writer()
        self._reader = Reader()
        # Numbers of queues and lanes, and whose lane is which.
        self._queues: dict[Key, int] = {}
        self._lanes: dict[tuple[Key, int], int] = {}
        self._priorities: dict[int, int] = {}
        self._next_lane = 1
        # True if there may be bodies in pieces.
        self._chunked = False
        # How many pages had been written to the log when it was last brought into the file.
        self._checkpointed = 0
        # How much is free on the disk, and when that was asked.
        self._free_guess = 0
        self._asked = 0.0
        # True if the log holds what the file does not.
        self._ahead = False

    # What the broker tells.

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Keep a new message; see `Store`."""
        self._pending.put(queue, message, due)

    def settle(self, queue: Key, message: Message) -> None:
        """Forget a message; see `Store`. One that is not written yet never will be."""
        self._pending.settle(queue, message)

    def requeue(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Write a message down anew; see `Store`."""
        self._pending.requeue(queue, message, due)

    def drop(
        self, queue: Key, priority: int, after: int, upto: int, spare: Collection[int]
    ) -> None:
        """Forget a range of those that wait; see `Store`."""
        self._pending.drop(queue, Drop(priority, after, upto, frozenset(spare)))

    def forget(self, queue: Key) -> None:
        """Forget a queue; see `Store`."""
        self._pending.forget(queue)

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Keep a dedup-id; see `Store`."""
        self._pending.remember(queue, dedup_id, seen)

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Forget a dedup-id; see `Store`."""
        self._pending.remember(queue, dedup_id, None)

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Keep what something is; see `Store`."""
        self._pending.define(kind, key, json.dumps(dict(record)))

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Forget what something is; see `Store`."""
        self._pending.define(kind, key, None)

    def begin_group(self) -> None:
        """Begin what belongs together; see `Store`."""
        self._pending.begin_group()

    def end_group(self) -> None:
        """End it; see `Store`."""
        self._pending.end_group()

    def ticket(self) -> int:
        """Return the number of the batch that collects, or of the last one not durable, or 0."""
        if self._pending.count:
            self._ticketed = self.urgent = True
            return self._number
        return self._number - 1 if self._number - 1 > self._durable else 0

    def fetch(self, fetch: Fetch) -> None:
        """Ask for messages; see `Store`. The question goes with the next batch."""
        self._pending.batch.fetches.append(fetch)
        self.urgent = True

    # What the owner asks in the main thread.

    @property
    def end(self) -> bytes:
        """What ends each frame of the broker's: a NUL, and a line feed if it adds one."""
        return self._reader.end

    @end.setter
    def end(self, end: bytes) -> None:
        self._reader.end = end

    @property
    def pending(self) -> bool:
        """True if there is something to write, or to read."""
        return bool(self._pending.count or self._ticketed or self._pending.batch.fetches)

    @property
    def pending_octets(self) -> int:
        """What the messages measure that are not durable yet."""
        return self._pending.batch.octets + self._in_flight_octets

    @property
    def congested(self) -> bool:
        """True while so much waits to be written that persistent messages should not be taken."""
        return self._pending.batch.octets + self._in_flight_octets > self.pending_limit

    def take(self) -> Batch | None:
        """Give up what was collected; None if that is nothing and nobody waits for it.

        While the store is full there is always something: an empty batch finds out whether it still
        is. A batch has to come back by `committed` or `take_back` before the next one is taken.
        """
        if not self.pending and not self.full:
            self._pending.batch.queues.clear()
            return None
        self._number += 1
        batch = self._pending.take(Batch(self._number, self.epoch))
        batch.epoch = self.epoch
        batch.probe = self.full
        self._in_flight_octets = batch.octets
        self.urgent = self._ticketed = False
        return batch

    def committed(self, batch: Batch) -> None:
        """Note that a batch is durable."""
        self._durable = batch.ticket
        self._in_flight_octets = 0
        self.full = False

    def take_back(self, batch: Batch) -> None:
        """Collect a batch anew that found no room, before what was collected since.

        What it holds becomes durable with the batch that collects now, and later settlements still
        make its messages needless.
        """
        self._in_flight_octets = 0
        self.full = True
        self._pending.take_back(batch)
        # Somebody may have a ticket of it.
        self._ticketed = True

    def status(self) -> dict[str, Any]:
        """Return what may be told of it, by names for people; sizes in octets."""
        return {
            "engine": "sqlite",
            "path": str(self.file),
            "starts": self.starts,
            "file_bytes": _size_of(self.file),
            "log_bytes": _size_of(self._wal_file),
            "free_bytes": self._free(),
        }

    @property
    def _wal_file(self) -> Path:
        return self.file.with_name(FILE + "-wal")

    # What the worker does.

    def open(self) -> Kept:
        """Open what is kept, or begin it, and return it.

        Messages that are not persistent are dropped unless it was closed in good order. Raises
        `StoreLockedError`, `StoreVersionError`, `StoreFullError`, `StoreFailedError`.
        """
        try:
            _make_directory(self.directory)
            self._lock = DirectoryLock(self.directory)
            with self._guarded():
                return self._open()
        except BaseException:
            self._release()
            raise

    def _open(self) -> Kept:
        try:
            # SQLite would make it readable for others.
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreFailedError(f"cannot use {self.file}: {error.strerror}") from error
        db = self._db = connect(self.file, vfs=self._vfs)
        db.set_busy_timeout(_BUSY)
        self._migrate(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute(f"PRAGMA cache_size = {-self._cache // 1024}")
        db.wal_autocheckpoint(0)
        clean = bool(db.execute("SELECT value FROM meta WHERE name = 'clean'").get)
        if not clean and _size_of(self.file) <= _CHECKED:
            found = db.execute("PRAGMA quick_check(1)").get
            if found != "ok":
                found = str(found).splitlines()[-1]
                raise StoreFailedError(
                    f"{self.file} is damaged ({found}): see `stompd store verify`"
                )
        lost = 0
        self._ahead = True
        with self._transaction(db):
            if not clean:
                lost = _drop_transient(db)
            db.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'starts'")
            db.execute("DELETE FROM lane WHERE count = 0 AND delayed_count = 0")
            db.execute("DELETE FROM queue WHERE number NOT IN (SELECT queue FROM lane)")
        self._load()
        kept = self._kept(db)
        kept.lost_count = lost
        self.starts = kept.starts
        # The main thread waits for this.
        self._pending.known.update(self._queues)
        self._pending.known.update(key for key, _, _ in kept.dedup_ids)
        return kept

    def _migrate(self, db: apsw.Connection) -> None:
        version = db.pragma("user_version")
        application = db.pragma("application_id")
        new = not db.execute("SELECT count(*) FROM sqlite_schema").get
        if not new and application != APPLICATION_ID:
            raise StoreVersionError(f"{self.file} is not a file of stompd's: it is left as it is")
        if version > VERSION:
            raise StoreVersionError(
                f"{self.file} was written by a newer stompd (schema {version}, this one knows "
                f"{VERSION}): run that one, or give another directory with --data DIR"
            )
        if new:
            # These can only be had from the beginning.
            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for number in range(version, VERSION):
            script = files("stompd.store").joinpath(_MIGRATIONS[number]).read_text("utf-8")
            with self._transaction(db):
                db.execute(script)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {number + 1}")

    def _load(self) -> None:
        """Learn the numbers of queues and lanes."""
        db = self._connection
        keys = {
            number: (from_text(host), from_text(name))
            for number, host, name in db.execute("SELECT number, host, name FROM queue")
        }
        self._queues = {key: number for number, key in keys.items()}
        self._lanes = {}
        self._priorities = {}
        for number, queue, priority in db.execute("SELECT number, queue, priority FROM lane"):
            self._lanes[keys[queue], priority] = number
            self._priorities[number] = priority
        self._next_lane = max(self._priorities, default=0) + 1
        self._chunked = bool(db.execute("SELECT EXISTS (SELECT 1 FROM chunk)").get)

    def _kept(self, db: apsw.Connection) -> Kept:
        epoch = self.epoch
        kept = Kept(starts=db.execute("SELECT value FROM meta WHERE name = 'starts'").get)
        queues: dict[int, KeptQueue] = {}
        for number, host, name, due, expires in db.execute(
            "SELECT number, host, name,"
            " (SELECT min(due) FROM message WHERE queue = number AND due IS NOT NULL),"
            " (SELECT min(expires) FROM message"
            "  WHERE queue = number AND expires IS NOT NULL AND due IS NULL) FROM queue"
        ):
            queue = KeptQueue((from_text(host), from_text(name)), 0)
            queue.first_due = None if due is None else to_seconds(due, epoch)
            queue.first_expiry = None if expires is None else to_seconds(expires, epoch)
            queues[number] = queue
        for number, priority, last, *counts in db.execute(
            "SELECT queue, priority, last_place, count, octets, delayed_count, delayed_octets"
            " FROM lane ORDER BY queue, priority"
        ):
            queue = queues[number]
            queue.last_place = max(queue.last_place, last)
            if counts[0]:
                queue.lanes[priority] = KeptLane(counts[0], counts[1])
            queue.delayed_count += counts[2]
            queue.delayed_octets += counts[3]
        kept.queues = list(queues.values())
        for kind, key, record in db.execute("SELECT kind, key, record FROM definition"):
            kept.definitions.append((kind, tuple(json.loads(key)), json.loads(record)))
        for host, name, dedup_id, seen in db.execute(
            "SELECT host, name, dedup_id, seen FROM dedup ORDER BY seen"
        ):
            place = (from_text(host), from_text(name))
            kept.dedup_ids.append((place, from_text(dedup_id), to_seconds(seen, epoch)))
        return kept

    @property
    def _connection(self) -> apsw.Connection:
        if self._failure is not None:
            raise StoreFailedError(self._failure)
        if self._db is None:
            raise StoreFailedError(f"{self.file} is not open")
        return self._db

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Say in our words what SQLite says in its."""
        try:
            yield
        except apsw.FullError as error:
            raise StoreFullError(f"no room on the disk of {self.directory}") from error
        except (apsw.BusyError, apsw.LockedError) as error:
            raise StoreFullError(
                f"another program holds {self.file}: end its transaction ({error})"
            ) from error
        except apsw.Error as error:
            self._failure = f"{self.file}: {type(error).__name__}: {error}"
            raise StoreFailedError(self._failure) from error

    @contextmanager
    def _transaction(self, db: apsw.Connection) -> Iterator[None]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            # Some errors have undone it already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _free(self) -> int:
        """Return the octets that are free on the disk."""
        try:
            found = os.statvfs(self.directory)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def write(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing.

        With a `StoreFullError` what makes room, and does not belong to a put, may have been done;
        then it is no part of the batch any more.
        """
        db = self._connection
        with self._guarded():
            try:
                if batch.octets or batch.probe:
                    self._check_room(batch.octets)
                if batch:
                    self._commit(db, batch)
                elif batch.probe:
                    _probe(db, self._transaction)
            except (apsw.FullError, StoreFullError):
                self._lighten(db, batch)
                raise
            # How many pages were ever written to the log; a hook would cost a wait of its own.
            written, _ = db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
            if written - self._checkpointed > _WAL_PAGES:
                self._checkpoint(db, apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _check_room(self, octets: int) -> None:
        # Asking costs a wait, too; what is written twice, and a bit, is taken off meanwhile.
        now = time.monotonic()
        self._free_guess -= 3 * octets
        if now > self._asked + _FREE_AGE or self._free_guess < self.min_free + octets:
            self._free_guess = self._free()
            self._asked = now
        free = self._free_guess
        if free < self.min_free + octets:
            raise StoreFullError(
                f"{free // MIB} MiB are free on the disk of {self.directory}, and "
                f"{self.min_free // MIB} MiB have to stay free"
            )

    def _lighten(self, db: apsw.Connection, batch: Batch) -> None:
        """Do what makes room."""
        self._load()
        light = batch.take_light()
        try:
            if light:
                self._commit(db, light)
            _give_back(db)
            light.queues.clear()
            self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.FullError, apsw.BusyError):
            # Not even for that; what was not done stays a part of the batch.
            batch.put_back(light)
            self._load()

    def _commit(self, db: apsw.Connection, batch: Batch) -> None:
        self._ahead = True
        with self._transaction(db):
            changed: list[tuple[int, tuple[Any, ...]]] = []
            gone: list[int] = []
            for key, pending in batch.queues.items():
                if pending.forgotten:
                    self._forget(db, key)
                for drop in pending.drops:
                    self._drop(db, key, drop)
                lanes = self._lanes
                for place, priority in pending.settles.items():
                    lane = lanes.get((key, priority))
                    if lane is not None:
                        gone.append(lane << PLACE_BITS | place)
                for place, (message, due) in pending.requeues.items():
                    lane = lanes.get((key, priority_of(message)))
                    if lane is not None:
                        _, rare = self._writer.rare(message, due, batch.epoch)
                        changed.append((lane << PLACE_BITS | place, rare))
            self._delete(db, gone)
            self._change(db, changed)
            self._insert(db, batch)
            self._note_dedup(db, batch)
            _note_definitions(db, batch)

    def _forget(self, db: apsw.Connection, key: Key) -> None:
        number = self._queues.pop(key, None)
        if number is not None:
            for owner, priority in [lane for lane in self._lanes if lane[0] == key]:
                lane = self._lanes.pop((owner, priority))
                del self._priorities[lane]
                first = lane << PLACE_BITS
                self._delete_where(db, _RANGE, (first, first | PLACE_MASK))
            db.execute("DELETE FROM lane WHERE queue = ?", (number,))
            db.execute("DELETE FROM queue WHERE number = ?", (number,))
        host, name = map(as_text, key)
        db.execute("DELETE FROM dedup WHERE host = ? AND name = ?", (host, name))

    def _delete_where(self, db: apsw.Connection, which: str, values: tuple[int | str, ...]) -> None:
        if self._chunked:
            where = which.format(column="message")
            db.execute(f"DELETE FROM chunk WHERE {where}", values)  # noqa: S608 - our own words
        where = which.format(column="id")
        db.execute(f"DELETE FROM message WHERE {where}", values)  # noqa: S608 - as above

    def _drop(self, db: apsw.Connection, key: Key, drop: Drop) -> None:
        lane = self._lanes.get((key, drop.priority))
        if lane is None:
            return
        first = lane << PLACE_BITS
        spare = json.dumps([first | place for place in drop.spare])
        values = (first | drop.after, first | min(drop.upto, PLACE_MASK), spare)
        which = (
            "{column} > ? AND {column} <= ? AND {column} NOT IN (SELECT value FROM json_each(?))"
        )
        waiting = f"{which.format(column='id')} AND due IS NULL"
        db.execute(_COUNTERS.format(sign="-", which=waiting), values)
        if self._chunked:
            db.execute(
                "DELETE FROM chunk WHERE message IN"  # noqa: S608 - our own words
                f" (SELECT id FROM message WHERE {waiting})",
                values,
            )
        db.execute(f"DELETE FROM message WHERE {waiting}", values)  # noqa: S608 - as above

    def _delete(self, db: apsw.Connection, ids: list[int]) -> None:
        for which, values in _parts(ids):
            db.execute(_COUNTERS.format(sign="-", which=which.format(column="id")), values)
            self._delete_where(db, which, values)

    def _change(self, db: apsw.Connection, changed: list[tuple[int, tuple[Any, ...]]]) -> None:
        if not changed:
            return
        which = _LISTED.format(column="id")
        ids = (json.dumps([identity for identity, _ in changed]),)
        db.execute(_COUNTERS.format(sign="-", which=which), ids)
        db.execute(_REQUEUE, (json.dumps([(identity, *rare) for identity, rare in changed]),))
        db.execute(_COUNTERS.format(sign="+", which=which), ids)

    def _insert(self, db: apsw.Connection, batch: Batch) -> None:
        plain = _Rows(db, PLAIN_COLUMNS)
        rare = _Rows(db, (*PLAIN_COLUMNS, *RARE_COLUMNS))
        writer = self._writer
        epoch = batch.epoch
        # Of each lane: count, octets, delayed_count, delayed_octets, last place.
        counts: dict[int, list[int]] = {}
        for key, pending in batch.queues.items():
            if not pending.puts:
                continue
            queue = self._queues.get(key) or self._new_queue(db, key)
            dues = pending.dues
            lanes: dict[int, tuple[int, list[int]]] = {}
            for place, message in pending.puts.items():
                terms = message.terms
                priority = 4 if terms is None else terms.priority
                found = lanes.get(priority)
                if found is None:
                    lane = self._lanes.get((key, priority)) or self._new_lane(
                        db, key, queue, priority
                    )
                    found = lanes[priority] = (lane, counts.setdefault(lane, [0, 0, 0, 0, 0]))
                lane, count = found
                identity = lane << PLACE_BITS | place
                due = dues.get(place, 0.0) if dues else 0.0
                size = message.size
                headers = None if due else writer.plain(message)
                if headers is not None:
                    body = message.body
                    plain.add((identity, queue, size, message.persistent, headers, body), len(body))
                else:
                    self._insert_rare(db, rare, identity, queue, message, due, epoch)
                at = 2 if due else 0
                count[at] += 1
                count[at + 1] += size
                count[4] = max(count[4], place)
        plain.flush()
        rare.flush()
        if any(count[4] > PLACE_MASK for count in counts.values()):
            raise StoreFullError(
                f"a queue in {self.file} has had {PLACE_MASK} messages: empty it and remove it once"
            )
        if counts:
            db.execute(_NEW_COUNTS, (json.dumps([(lane, *c) for lane, c in counts.items()]),))

    def _insert_rare(
        self,
        db: apsw.Connection,
        rows: _Rows,
        identity: int,
        queue: int,
        message: Message,
        due: float,
        epoch: float,
    ) -> None:
        headers, values = self._writer.rare(message, due, epoch)
        body: bytes | None = message.body
        size = len(message.body)
        if size > CHUNK:
            self._chunked = True
            view = memoryview(message.body)
            for number, at in enumerate(range(0, size, CHUNK)):
                db.execute(
                    "INSERT INTO chunk VALUES (?, ?, ?)",
                    (identity, number, view[at : at + CHUNK]),
                )
            body = None
            size = 0
        rows.add((identity, queue, message.size, message.persistent, headers, body, *values), size)

    def _new_queue(self, db: apsw.Connection, key: Key) -> int:
        host, name = map(as_text, key)
        number = db.execute(
            "INSERT INTO queue (host, name) VALUES (?, ?) RETURNING number", (host, name)
        ).get
        assert isinstance(number, int)  # noqa: S101 - it is the rowid
        self._queues[key] = number
        return number

    def _new_lane(self, db: apsw.Connection, key: Key, queue: int, priority: int) -> int:
        number = self._next_lane
        while number in self._priorities or not 0 < number < LANE_LIMIT:
            if len(self._priorities) >= LANE_LIMIT - 1:
                raise StoreFullError(f"{self.file} holds {LANE_LIMIT} queues: it cannot hold more")
            number = (number + 1) % LANE_LIMIT
        self._next_lane = number + 1
        db.execute(
            "INSERT INTO lane (number, queue, priority) VALUES (?, ?, ?)", (number, queue, priority)
        )
        self._lanes[key, priority] = number
        self._priorities[number] = priority
        return number

    def _note_dedup(self, db: apsw.Connection, batch: Batch) -> None:
        kept = []
        gone = []
        for key, pending in batch.queues.items():
            if not pending.dedup:
                continue
            host, name = map(as_text, key)
            for dedup_id, seen in pending.dedup.items():
                if seen is None:
                    gone.append((host, name, as_text(dedup_id)))
                else:
                    ms = to_milliseconds(seen, batch.epoch)
                    kept.append((host, name, as_text(dedup_id), ms))
        if kept:
            db.execute(
                "INSERT OR REPLACE INTO dedup SELECT value ->> 0, value ->> 1, value ->> 2,"
                " value ->> 3 FROM json_each(?)",
                (json.dumps(kept),),
            )
        if gone:
            db.execute(
                "DELETE FROM dedup WHERE (host, name, dedup_id) IN"
                " (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
                (json.dumps(gone),),
            )

    def read(self, fetch: Fetch) -> tuple[list[Message], list[float]]:
        """Return the answer to a fetch: messages, and for delayed ones when they are due.

        True for everything that was told before it was asked, if the batch that it came with has
        been written.
        """
        db = self._connection
        question: str
        values: tuple[int, ...]
        with self._guarded():
            octets = min(max(fetch.octets, 1), _ANSWER_OCTETS)
            if fetch.what == "ready":
                lane = self._lanes.get((fetch.queue, fetch.priority))
                if lane is None:
                    return [], []
                first = lane << PLACE_BITS
                after = first | min(fetch.after, PLACE_MASK)
                question = _READY
                values = (after, first | PLACE_MASK, fetch.count, octets)
            else:
                queue = self._queues.get(fetch.queue)
                if queue is None:
                    return [], []
                if fetch.what == "delayed":
                    due = to_milliseconds(fetch.due, self.epoch)
                    question = _DELAYED
                    values = (queue, fetch.count, octets, due, fetch.after)
                else:
                    # A hundredth for what the addition of the epoch rounded.
                    due = int((fetch.due + self.epoch) * 1000 + 0.01)
                    question = _EXPIRED
                    values = (queue, fetch.count, octets, due)
            # There is one row: asking for the next one would only cost a wait.
            bodies, rows = next(db.execute(question, values))
            return self._messages(db, bodies or b"", json.loads(rows), delayed=fetch.what)

    def _messages(
        self, db: apsw.Connection, bodies: bytes, rows: list[list[Any]], *, delayed: str
    ) -> tuple[list[Message], list[float]]:
        messages = []
        dues = []
        epoch = self.epoch
        make = self._reader.message
        priorities = self._priorities
        at = 0
        for identity, size, persistent, headers, length, told in rows:
            rare = None
            if told is not None:
                rare = json.loads(told) if isinstance(told, str) else told
            if length is None:
                chunks = db.execute(
                    "SELECT data FROM chunk WHERE message = ? ORDER BY number", (identity,)
                )
                body = b"".join(data for (data,) in chunks)
            else:
                end = at + length
                body = bodies[at:end]
                at = end
            priority = priorities[identity >> PLACE_BITS]
            messages.append(
                make(identity & PLACE_MASK, priority, size, persistent, headers, body, rare, epoch)
            )
            if delayed == "delayed":
                assert rare is not None  # noqa: S101 - it has a due time
                dues.append(to_seconds(rare[3], epoch))
        return messages, dues

    # Tidying up.

    def _checkpoint(self, db: apsw.Connection, mode: int) -> None:
        """Bring what the log holds into the file."""
        try:
            db.wal_checkpoint(mode=mode)
        except (apsw.BusyError, apsw.LockedError):
            # Somebody reads, such as a backup: later, then.
            return
        self._checkpointed, _ = db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        self._ahead = False

    def idle(self) -> bool:
        """Take one short step of tidying up, while nothing else is to do; True if there is more."""
        db = self._connection
        with self._guarded():
            if self._ahead:
                self._checkpoint(db, apsw.SQLITE_CHECKPOINT_PASSIVE)
                return self._spare_pages(db) or _size_of(self._wal_file) > _WAL_KEPT
            if self._spare_pages(db):
                self._ahead = True
                _give_back(db)
                return True
            if _size_of(self._wal_file) > _WAL_KEPT:
                self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
            return False

    @staticmethod
    def _spare_pages(db: apsw.Connection) -> bool:
        spare = db.pragma("freelist_count")
        return bool(spare >= _VACUUM_FROM and spare * 4 >= db.pragma("page_count"))

    def backup(self, path: Path) -> None:
        """Write a copy of what is durable to a new file, consistent in itself; see `back_up`."""
        back_up(self.file, path)

    def close(self, clean: bool) -> None:  # noqa: FBT001 - the name says it
        """Close it; ``clean`` if all that the broker knew was told, so that it is written now.

        Without that, what was collected only is lost, and messages that are not persistent are
        dropped when it is opened again.
        """
        try:
            db = self._db
            if clean and db is not None and self._failure is None:
                if self.pending and (batch := self.take()) is not None:
                    self.write(batch)
                    self.committed(batch)
                self._ahead = True
                with self._guarded():
                    db.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
                    self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._release()

    def _release(self) -> None:
        if self._db is not None:
            if self._ahead:
                # The next start finds everything in the log.
                self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._db.close(force=True)
            self._db = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class _Rows:
    """Rows for one table of messages, written by few statements."""

    __slots__ = ("_db", "_insert", "_most", "_octets", "_values", "_width")

    def __init__(self, db: apsw.Connection, columns: tuple[str, ...]) -> None:
        self._db = db
        self._width = len(columns)
        self._insert = f"INSERT INTO message ({', '.join(columns)})"
        # So that the length of a statement allows to keep it prepared.
        self._most = max(size for size in _SIZES if 2 * size * self._width < _STATEMENT_LENGTH)
        self._values: list[Any] = []
        self._octets = 0

    def add(self, values: tuple[Any, ...], octets: int) -> None:
        """Add a row whose body has so many octets."""
        self._values += values
        self._octets += octets
        if len(self._values) >= self._most * self._width or self._octets > _STATEMENT_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Write what there is, in one step if possible.

        There are few statements, which are kept prepared; the last one is filled up with rows
        without an id, which are not written.
        """
        width = self._width
        rows = len(self._values) // width
        if not rows:
            return
        size = next(size for size in _SIZES if size >= rows)
        self._values += [None] * ((size - rows) * width)
        row = f"({','.join('?' * width)})"
        self._db.execute(
            f"{self._insert} SELECT * FROM (VALUES {','.join([row] * size)})"  # noqa: S608
            " WHERE column1 IS NOT NULL",
            self._values,
        )
        self._values = []
        self._octets = 0


def _parts(ids: list[int]) -> Iterable[tuple[str, tuple[int | str, ...]]]:
    """Yield conditions that together hold for these ids and no others."""
    ids.sort()
    listed: list[int] = []
    begin = 0
    for at, (one, other) in enumerate(pairwise([*ids, -1]), 1):
        if other == one + 1:
            continue
        if at - begin >= _RUN:
            yield _RANGE, (ids[begin], one)
        else:
            listed += ids[begin:at]
        begin = at
    if listed:
        yield _LISTED, (json.dumps(listed),)


def _note_definitions(db: apsw.Connection, batch: Batch) -> None:
    for (kind, key), record in batch.definitions.items():
        if record is None:
            db.execute("DELETE FROM definition WHERE kind = ? AND key = ?", (kind, json.dumps(key)))
        else:
            db.execute(
                "INSERT OR REPLACE INTO definition VALUES (?, ?, ?)",
                (kind, json.dumps(key), record),
            )


def _probe(
    db: apsw.Connection, transaction: Callable[[apsw.Connection], Any], octets: int = MIB // 4
) -> None:
    """Find out whether something can be written."""
    with transaction(db):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))", (octets,))
    with transaction(db):
        db.execute("DELETE FROM meta WHERE name = 'probe'")


def _give_back(db: apsw.Connection) -> None:
    """Give some free pages back to the disk."""
    # It is done page by page, as its rows are asked for.
    db.execute(f"PRAGMA incremental_vacuum({_VACUUM_STEP})").fetchall()


def _drop_transient(db: apsw.Connection) -> int:
    """Forget the messages that are not persistent; return how many there were."""
    which = "persistent = 0"
    db.execute(_COUNTERS.format(sign="-", which=which))
    db.execute("DELETE FROM chunk WHERE message IN (SELECT id FROM message WHERE persistent = 0)")
    db.execute("DELETE FROM message WHERE persistent = 0")
    return db.changes()


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True)
        descriptor = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreFailedError(f"cannot make {directory}: {error.strerror}") from error


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def connect(file: Path, *, vfs: str | None = None, read_only: bool = False) -> apsw.Connection:
    """Return a connection to a file that is there; raises `apsw.Error`."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(file), flags=flags, vfs=vfs)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    return db


def back_up(file: Path, path: Path) -> None:
    """Write a copy of what is durable in a file of stompd's to a new file; also while stompd runs.

    Neither waits for the other. Raises `StoreFullError`, `StoreFailedError`; then there is no copy.
    """
    if path.exists():
        raise StoreFailedError(f"{path} is there already: give the name of a new file")
    unfinished = path.with_name(path.name + ".part")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        db = connect(file, read_only=True)
        try:
            db.set_busy_timeout(_BUSY)
            db.execute("VACUUM INTO ?", (str(unfinished),))
        finally:
            db.close()
        descriptor = os.open(unfinished, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.rename(path)
    except apsw.FullError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFullError(f"no room for {path}") from error
    except apsw.Error as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot copy {file}: {error}") from error
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot write {path}: {error.strerror}") from error
