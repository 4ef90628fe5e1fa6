"""The store that keeps messages in a file of SQLite, with a journal in front of it.

Two threads work with it. The main thread tells it what happens (`put`, `settle`, …) and gives up
what it collected with `take`; a worker makes that durable with `write`, and answers questions with
`read`. Neither waits for the other: nothing is shared but batches, and those have one owner at a
time.

A small batch goes to the journal. A larger one, and what `_fold` is needed for, goes to the tables
in one transaction, with all that the journal holds.

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
from typing import Any, Final, NamedTuple

import apsw

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Kept, KeptLane, KeptQueue, Key, Kind
from stompd.store import journal
from stompd.store.answers import Answers
from stompd.store.backup import back_up
from stompd.store.batch import Batch, Drop, Pending
from stompd.store.changes import Changes, changes_of, name_of
from stompd.store.database import (
    BUSY,
    FILE,
    MIB,
    PAGE_SIZE,
    begin_generation,
    connect,
    generation_of,
    make_directory,
    migrate,
    size_of,
    transaction,
)
from stompd.store.errors import StoreFailedError, StoreFullError
from stompd.store.journal import Journal, OpenFile
from stompd.store.lock import DirectoryLock
from stompd.store.record import UNREADABLE, Reader, Writer, from_text, to_seconds
from stompd.store.statements import SENDERS, drop_transient, give_back, probe
from stompd.store.tables import Tables

# The write-ahead log is copied to the file at the latest when so many pages were written to it; it
# is written from its beginning again then, unless somebody reads. It is cut off when it is longer
# than so many octets after all, and in a quiet moment if it is longer than so many.
_WAL_PAGES: Final = 32 * MIB // PAGE_SIZE
_WAL_MOST: Final = 64 * MIB
_WAL_KEPT: Final = 4 * MIB
# Free pages are given back once there are so many, and they are a quarter of all.
_VACUUM_FROM: Final = 2048
# After a crash a file up to this size is checked when it is opened: that takes a second or two.
_CHECKED: Final = 256 * MIB
# Seconds for which it is good to know how much is free on the disk.
_FREE_AGE: Final = 0.5
# Batches with no more octets of messages wait in the journal, for so many seconds at most, and
# until there are so many rows.
_JOURNALED: Final = MIB
_WAIT: Final = 1.0
_UNAPPLIED: Final = 3000
_UNAPPLIED_OCTETS: Final = 3 * MIB // 2


class _Files(NamedTuple):
    """What is open."""

    db: apsw.Connection
    tables: Tables
    answers: Answers
    journal: Journal


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
        open_file: OpenFile | None = None,
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
        self._open_file = open_file or journal.SyncedFile
        self._files: _Files | None = None
        # What the journal holds, and since when it does.
        self._unapplied = Changes()
        self._since = 0.0
        # How many rows that are, and what the new messages among them measure.
        self._waiting = self._waiting_octets = 0
        self._failure: str | None = None
        self._writer = Writer()
        self._reader = Reader()
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
        db = connect(self.file, vfs=self._vfs)
        try:
            return self._open_tables(db)
        except BaseException:
            if self._files is None:
                db.close(force=True)
            raise

    def _open_tables(self, db: apsw.Connection) -> Kept:
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
        generation = generation_of(db)
        path = self.directory / journal.FILE
        if generation and not clean and not path.exists():
            raise StoreFailedError(
                f"{path} is missing, and may hold what was confirmed last: put it there, or an "
                "empty file to go on without it"
            )
        its = Journal(path, self._open_file)
        with self._read_from_file():
            tables = Tables(db)
        self._files = _Files(db, tables, Answers(db, tables, self._reader), its)
        self._ahead = True
        lost = 0
        # Without a generation there was no journal yet.
        unapplied = its.read(generation) if generation else Changes()
        with transaction(db):
            tables.apply(unapplied)
            if not clean:
                lost = drop_transient(db)
            db.execute("UPDATE meta SET value = 0 WHERE name = 'clean'")
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'starts'")
            db.execute("DELETE FROM lane WHERE count = 0 AND delayed_count = 0")
            db.execute("DELETE FROM queue WHERE number NOT IN (SELECT queue FROM lane)")
            begin_generation(db)
        tables.load()
        its.begin(generation_of(db))
        with self._read_from_file():
            kept = self._kept(db)
        kept.lost_count = lost
        self.starts = kept.starts
        # The main thread waits for this.
        self._pending.known.update(queue.key for queue in kept.queues)
        self._pending.known.update(key for key, _, _ in kept.dedup_ids)
        return kept

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
        for number, sender, count, octets in db.execute(SENDERS):
            user, address = json.loads(sender)
            queues[number].owed[user, address] = (count, octets)
        kept.queues = list(queues.values())
        for kind, key, record in db.execute("SELECT kind, key, record FROM definition"):
            kept.definitions.append((kind, tuple(json.loads(key)), json.loads(record)))
        for host, name, dedup_id, seen in db.execute(
            "SELECT host, name, dedup_id, seen FROM dedup ORDER BY seen"
        ):
            place = (from_text(host), from_text(name))
            kept.dedup_ids.append((place, from_text(dedup_id), to_seconds(seen, epoch)))
        return kept

    def _opened(self) -> _Files:
        if self._failure is not None:
            raise StoreFailedError(self._failure)
        if self._files is None:
            raise StoreFailedError(f"{self.file} is not open")
        return self._files

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
        except StoreFailedError as error:
            self._failure = str(error)
            raise

    @contextmanager
    def _read_from_file(self) -> Iterator[None]:
        """Say that what is in the file makes no sense."""
        try:
            yield
        except UNREADABLE as error:
            raise StoreFailedError(
                f"{self.file} is damaged ({type(error).__name__}: {error}): see `stompd store "
                "verify`"
            ) from error

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
        db, _, _, its = self._opened()
        with self._guarded():
            try:
                if batch.octets or batch.probe:
                    self._check_room(batch.octets)
                changes = changes_of(batch, self._writer)
                if not self._may_wait(batch, changes) or not self._append(changes, batch.octets):
                    if batch.probe and not batch and not its.count:
                        probe(db)
                    elif batch or its.count:
                        self._fold(changes, batch)
            except (apsw.FullError, StoreFullError):
                self._lighten(batch)
                raise
            # How many pages were ever written to the log; a hook would cost a wait of its own.
            written, _ = db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
            if written - self._checkpointed > _WAL_PAGES:
                long = size_of(self._wal_file) > _WAL_MOST
                self._checkpoint(
                    db, apsw.SQLITE_CHECKPOINT_TRUNCATE if long else apsw.SQLITE_CHECKPOINT_PASSIVE
                )

    def write_at_once(self, batch: Batch) -> bool:
        """Make a batch durable if one write to the journal does it; else False, and nothing done.

        `write` has to follow then. The caller may be any thread while the worker does nothing.
        """
        if self.full or batch.probe or batch.fetches:
            return False
        self._opened()
        with self._guarded():
            try:
                if batch.octets:
                    self._check_room(batch.octets)
                changes = changes_of(batch, self._writer)
            except StoreFullError:
                return False
            return self._may_wait(batch, changes) and self._append(changes, batch.octets)

    def _may_wait(self, batch: Batch, changes: Changes) -> bool:
        """Return whether a batch may wait in the journal before it is applied."""
        if batch.probe or batch.octets > _JOURNALED or self._full_of_rows:
            return False
        if any(pending.drops for pending in batch.queues.values()):
            return False
        if not self._opened().tables.roomy:
            return False
        for fetch in batch.fetches:
            name = name_of(fetch.queue)
            if name in changes.queues or name in self._unapplied.queues:
                return False
        return not self._opened().journal.count or time.monotonic() < self._since + _WAIT

    @property
    def _full_of_rows(self) -> bool:
        """True if applying what the journal holds would hold up receipts soon."""
        return self._waiting > _UNAPPLIED or self._waiting_octets > _UNAPPLIED_OCTETS

    def _append(self, changes: Changes, octets: int) -> bool:
        """Add changes to the journal; False if there is no room in it.

        ``octets`` are what new messages measure.
        """
        if not changes:
            return True
        its = self._opened().journal
        if not its.append(changes):
            return False
        if its.count == 1:
            self._since = time.monotonic()
        more, gone = self._unapplied.merge(changes)
        self._waiting += more
        self._waiting_octets += octets - gone
        return True

    def _fold(self, changes: Changes | None = None, batch: Batch | None = None) -> None:
        """Apply what the journal holds, and then changes, in one transaction.

        ``batch`` is theirs, for what it drops.
        """
        db, tables, _, its = self._opened()
        self._ahead = True
        changes = changes or Changes()
        try:
            with transaction(db):
                drops = [
                    (name_of(key), drop)
                    for key, pending in (batch.queues.items() if batch is not None else ())
                    for drop in pending.drops
                ]
                if drops:
                    tables.apply(self._unapplied)
                    tables.apply(changes.forgotten())
                    for name, drop in drops:
                        tables.drop(name, drop)
                    tables.apply(changes)
                else:
                    self._unapplied.merge(changes)
                    tables.apply(self._unapplied)
                if its.count:
                    begin_generation(db)
        except (apsw.FullError, apsw.BusyError, apsw.LockedError, StoreFullError):
            tables.load()
            self._unapplied = its.read(its.generation)
            raise
        if its.count:
            its.begin(its.generation + 1)
        self._unapplied = Changes()
        self._waiting = self._waiting_octets = 0

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

    def _lighten(self, batch: Batch) -> None:
        """Do what makes room."""
        db, _, _, its = self._opened()
        light = batch.take_light()
        try:
            changes = changes_of(light, self._writer)
            drops = any(pending.drops for pending in light.queues.values())
            if light and (drops or not self._append(changes, 0)):
                self._fold(changes, light)
            light = Batch(light.ticket, light.epoch)
            if its.count:
                self._fold_or_remove()
            give_back(db)
            self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.FullError, apsw.BusyError, StoreFullError):
            # Not even for that; what was not done stays a part of the batch.
            batch.put_back(light)

    def _fold_or_remove(self) -> None:
        """Apply what the journal holds; if there is no room for all, then what makes some."""
        db, tables, *_ = self._opened()
        try:
            self._fold()
        except (apsw.FullError, StoreFullError):
            with transaction(db):
                tables.apply(self._unapplied.removals())

    def read(self, fetch: Fetch) -> tuple[list[Message], list[float]]:
        """Return the answer to a fetch: messages, and for delayed ones when they are due.

        True for everything that was told before it was asked, if the batch that it came with has
        been written. If that found no room, what is there may be an answer nevertheless; it raises
        `StoreFullError` if it is not.
        """
        answers = self._opened().answers
        with self._guarded():
            hidden = self._unapplied.queues.get(name_of(fetch.queue))
            if hidden is not None:
                try:
                    self._fold()
                except (apsw.FullError, apsw.BusyError, StoreFullError):
                    if (
                        hidden.forgotten
                        or hidden.requeues
                        or (fetch.what != "ready" and hidden.puts)
                    ):
                        raise
                else:
                    hidden = None
            with self._read_from_file():
                return answers.read(fetch, self.epoch, hidden.settles if hidden else ())

    # Tidying up.

    def _checkpoint(self, db: apsw.Connection, mode: int) -> None:
        """Bring what the log holds into the file."""
        self._checkpointed, _ = db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        # Somebody may read, such as a backup: it is not waited for, but tried again later.
        db.set_busy_timeout(0)
        try:
            db.wal_checkpoint(mode=mode)
        except (apsw.BusyError, apsw.LockedError):
            return
        finally:
            db.set_busy_timeout(BUSY)
        self._ahead = False

    def idle(self) -> bool:
        """Take one short step of tidying up, while nothing else is to do; True if there is more."""
        db, _, _, its = self._opened()
        with self._guarded():
            if its.count:
                self._fold()
                return True
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
            if clean and self._files is not None and self._failure is None:
                if self.pending and (batch := self.take()) is not None:
                    self.write(batch)
                    self.committed(batch)
                db = self._files.db
                self._ahead = True
                with self._guarded():
                    if self._files.journal.count:
                        self._fold()
                    db.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
                    self._checkpoint(db, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._release()

    def _release(self) -> None:
        if self._files is not None:
            db = self._files.db
            if self._ahead:
                # The next start finds everything in the log.
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.close(force=True)
            self._files.journal.close()
            self._files = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
