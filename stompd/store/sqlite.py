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
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Kept, KeptLane, KeptQueue, Key, Kind
from stompd.store.batch import Batch, Drop, Pending
from stompd.store.database import (
    BUSY,
    FILE,
    MIB,
    PAGE_SIZE,
    back_up,
    connect,
    make_directory,
    migrate,
    size_of,
    transaction,
)
from stompd.store.errors import (
    StoreFailedError,
    StoreFullError,
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
from stompd.store.statements import (
    COUNTERS,
    DELAYED,
    EXPIRED,
    LISTED,
    NEW_COUNTS,
    RANGE,
    READY,
    REQUEUE,
    Rows,
    drop_transient,
    give_back,
    note_definitions,
    parts,
    probe,
)

# The write-ahead log is copied to the file at the latest when it has so many pages, and is cut off
# in a quiet moment if it is larger than so many octets.
_WAL_PAGES: Final = 64 * MIB // PAGE_SIZE
_WAL_KEPT: Final = 4 * MIB
# Free pages are given back once there are so many, and they are a quarter of all.
_VACUUM_FROM: Final = 2048
# After a crash a file up to this size is checked when it is opened: that takes a second or two.
_CHECKED: Final = 256 * MIB
# Seconds for which it is good to know how much is free on the disk.
_FREE_AGE: Final = 0.5
# An answer holds no more octets than that and one message.
_ANSWER_OCTETS: Final = 128 * MIB


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
        # By queue: the epoch with which it is being told what is delayed.
        self._told: dict[Key, float] = {}

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
            "file_bytes": size_of(self.file),
            "log_bytes": size_of(self._wal_file),
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
            make_directory(self.directory)
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
        db.set_busy_timeout(BUSY)
        migrate(db, self.file)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute(f"PRAGMA cache_size = {-self._cache // 1024}")
        db.wal_autocheckpoint(0)
        clean = bool(db.execute("SELECT value FROM meta WHERE name = 'clean'").get)
        if not clean and size_of(self.file) <= _CHECKED:
            found = db.execute("PRAGMA quick_check(1)").get
            if found != "ok":
                found = str(found).splitlines()[-1]
                raise StoreFailedError(
                    f"{self.file} is damaged ({found}): see `stompd store verify`"
                )
        lost = 0
        self._ahead = True
        with transaction(db):
            if not clean:
                lost = drop_transient(db)
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
                    probe(db)
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
            give_back(db)
            light.queues.clear()
            self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.FullError, apsw.BusyError):
            # Not even for that; what was not done stays a part of the batch.
            batch.put_back(light)
            self._load()

    def _commit(self, db: apsw.Connection, batch: Batch) -> None:
        self._ahead = True
        with transaction(db):
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
            note_definitions(db, batch)

    def _forget(self, db: apsw.Connection, key: Key) -> None:
        number = self._queues.pop(key, None)
        if number is not None:
            for owner, priority in [lane for lane in self._lanes if lane[0] == key]:
                lane = self._lanes.pop((owner, priority))
                del self._priorities[lane]
                first = lane << PLACE_BITS
                self._delete_where(db, RANGE, (first, first | PLACE_MASK))
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
        db.execute(COUNTERS.format(sign="-", which=waiting), values)
        if self._chunked:
            db.execute(
                "DELETE FROM chunk WHERE message IN"  # noqa: S608 - our own words
                f" (SELECT id FROM message WHERE {waiting})",
                values,
            )
        db.execute(f"DELETE FROM message WHERE {waiting}", values)  # noqa: S608 - as above

    def _delete(self, db: apsw.Connection, ids: list[int]) -> None:
        for which, values in parts(ids):
            db.execute(COUNTERS.format(sign="-", which=which.format(column="id")), values)
            self._delete_where(db, which, values)

    def _change(self, db: apsw.Connection, changed: list[tuple[int, tuple[Any, ...]]]) -> None:
        if not changed:
            return
        which = LISTED.format(column="id")
        ids = (json.dumps([identity for identity, _ in changed]),)
        db.execute(COUNTERS.format(sign="-", which=which), ids)
        db.execute(REQUEUE, (json.dumps([(identity, *rare) for identity, rare in changed]),))
        db.execute(COUNTERS.format(sign="+", which=which), ids)

    def _insert(self, db: apsw.Connection, batch: Batch) -> None:
        plain = Rows(db, PLAIN_COLUMNS)
        rare = Rows(db, (*PLAIN_COLUMNS, *RARE_COLUMNS))
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
            db.execute(NEW_COUNTS, (json.dumps([(lane, *c) for lane, c in counts.items()]),))

    def _insert_rare(
        self,
        db: apsw.Connection,
        rows: Rows,
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
        epoch = self.epoch
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
                question = READY
                values = (after, first | PLACE_MASK, fetch.count, octets)
            else:
                queue = self._queues.get(fetch.queue)
                if queue is None:
                    return [], []
                if fetch.what == "delayed":
                    # With another epoch the next part would not begin where the last one ended.
                    if fetch.after:
                        epoch = self._told.get(fetch.queue, epoch)
                    self._told[fetch.queue] = epoch
                    due = to_milliseconds(fetch.due, epoch)
                    question = DELAYED
                    values = (queue, fetch.count, octets, due, fetch.after)
                else:
                    # A hundredth for what the addition of the epoch rounded.
                    due = int((fetch.due + epoch) * 1000 + 0.01)
                    question = EXPIRED
                    values = (queue, fetch.count, octets, due)
            # There is one row: asking for the next one would only cost a wait.
            bodies, rows = next(db.execute(question, values))
            return self._messages(db, bodies or b"", json.loads(rows), epoch, delayed=fetch.what)

    def _messages(
        self,
        db: apsw.Connection,
        bodies: bytes,
        rows: list[list[Any]],
        epoch: float,
        *,
        delayed: str,
    ) -> tuple[list[Message], list[float]]:
        messages = []
        dues = []
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
                return self._spare_pages(db) or size_of(self._wal_file) > _WAL_KEPT
            if self._spare_pages(db):
                self._ahead = True
                give_back(db)
                return True
            if size_of(self._wal_file) > _WAL_KEPT:
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
