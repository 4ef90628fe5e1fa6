"""What the store does when the disk fails, is full, or takes its time."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from store.keeping import A, B, Keeper, faults, kept_in, plain

from stompd.store import sqlite
from stompd.store.batch import Batch
from stompd.store.errors import StoreError, StoreFailedError, StoreFullError
from stompd.store.journal import SyncedFile


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing applied because the machine is slow."""
    monkeypatch.setattr(sqlite, "_WAIT", 1000.0)


class _File(apsw.VFSFile):
    """A file on a disk that fails when it is told to."""

    def __init__(
        self, name: apsw.URIFilename | str | None, flags: list[int], disk: FaultyDisk
    ) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Read, or fail."""
        if self._disk.bad_reads:
            raise apsw.IOError("no octets can be read, as the test wants it")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, or fail, or find no room."""
        disk = self._disk
        if disk.bad_writes:
            raise apsw.IOError("nothing can be written, as the test wants it")
        if disk.room is not None:
            growth = max(0, offset + len(data) - self.xFileSize())
            if growth > disk.room:
                raise apsw.FullError("there is no room, as the test wants it")
            disk.room -= growth
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, or fail, or wait."""
        disk = self._disk
        disk.syncing.set()
        assert disk.may_sync.wait(30)
        if disk.bad_syncs:
            raise apsw.IOError("nothing reaches the disk, as the test wants it")
        super().xSync(flags)


class _Journal(SyncedFile):
    """The journal on that disk."""

    def __init__(self, path: Path, disk: FaultyDisk) -> None:
        if disk.bad_writes and not path.exists():
            raise OSError(errno.EIO, "nothing can be written, as the test wants it")
        super().__init__(path)
        self._disk = disk

    def read(self) -> bytes:
        """Read, or fail."""
        if self._disk.bad_reads:
            raise OSError(errno.EIO, "no octets can be read, as the test wants it")
        return super().read()

    def write(self, data: bytearray | bytes, offset: int) -> None:
        """Write, or fail, or find no room, or wait."""
        disk = self._disk
        disk.syncing.set()
        assert disk.may_sync.wait(30)
        if disk.bad_writes or disk.bad_syncs:
            raise OSError(errno.EIO, "nothing reaches the disk, as the test wants it")
        if disk.room is not None:
            growth = max(0, offset + len(data) - self.size())
            if growth > disk.room:
                raise OSError(errno.ENOSPC, "there is no room, as the test wants it")
            disk.room -= growth
        super().write(data, offset)

    def fill(self, offset: int, end: int) -> None:
        """Write zeros, or fail, or find no room, or wait."""
        self.write(bytes(end - offset), offset)


class FaultyDisk(apsw.VFS):
    """What the store takes for the operating system."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad_reads = self.bad_writes = self.bad_syncs = False
        # Octets by which files can still grow; None: as many as one likes.
        self.room: int | None = None
        self.syncing = threading.Event()
        self.may_sync = threading.Event()
        self.may_sync.set()
        super().__init__(name, "unix")

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: apsw.URIFilename | str | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file on it."""
        return _File(name, flags, self)

    def open_journal(self, path: Path) -> SyncedFile:
        """Open the journal on it."""
        return _Journal(path, self)


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    """A disk that works until a test says otherwise."""
    disk = FaultyDisk("faulty-disk")
    yield disk
    disk.unregister()


def taken(keeper: Keeper) -> Batch:
    """Return what was collected."""
    batch = keeper.store.take()
    assert batch is not None
    return batch


@pytest.mark.parametrize("fault", ["bad_writes", "bad_syncs"])
@pytest.mark.parametrize(
    ("size", "words"),
    [(1, r"cannot write .*stompd\.journal: nothing"), (1_200_000, r"stompd\.db: IOError")],
)
def test_an_io_error_is_the_end(
    tmp_path: Path, disk: FaultyDisk, fault: str, size: int, words: str
) -> None:
    """After an I/O error nothing is done any more, and what was promised before is still there."""
    keeper = Keeper(tmp_path, vfs=disk.name, open_file=disk.open_journal)
    store = keeper.store
    keeper.put(A, plain(b"promised"))
    keeper.put(A, plain(b"transient", persistent=False))
    keeper.commit()
    doubt = b"in doubt" * size
    keeper.put(A, plain(doubt))
    batch = taken(keeper)
    setattr(disk, fault, True)
    with pytest.raises(StoreFailedError, match=words):
        store.write(batch)
    setattr(disk, fault, False)
    # A disk that lost a write once is not asked again.
    with pytest.raises(StoreFailedError):
        store.write(batch)
    with pytest.raises(StoreFailedError):
        store.idle()
    with pytest.raises(StoreFailedError):
        keeper.read()
    keeper.close(clean=True)
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        # It was no stop in good order, whoever said so.
        assert keeper.kept.lost_count == 1
        assert keeper.bodies() in ([b"promised"], [b"promised", doubt])


def test_an_io_error_while_reading(tmp_path: Path, disk: FaultyDisk) -> None:
    """A page that cannot be read is an error, not an answer without it."""
    with kept_in(tmp_path) as keeper:
        for _ in range(100):
            keeper.put(A, plain(b"x" * 3000))
    keeper = Keeper(tmp_path, vfs=disk.name, open_file=disk.open_journal)
    disk.bad_reads = True
    with pytest.raises(StoreFailedError):
        keeper.read()
    keeper.close(clean=False)
    with kept_in(tmp_path) as keeper:
        assert len(keeper.bodies()) == 100


@pytest.mark.parametrize("fault", ["bad_reads", "bad_writes", "bad_syncs"])
def test_an_io_error_at_the_start(tmp_path: Path, disk: FaultyDisk, fault: str) -> None:
    """A store that cannot be opened lets go of the directory, and can be opened later."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"kept"))
    setattr(disk, fault, True)
    with pytest.raises(StoreFailedError):
        Keeper(tmp_path, vfs=disk.name, open_file=disk.open_journal)
    setattr(disk, fault, False)
    with kept_in(tmp_path, vfs=disk.name, open_file=disk.open_journal) as keeper:
        assert keeper.bodies() == [b"kept"]


def test_a_full_disk_is_tried_again(tmp_path: Path, disk: FaultyDisk) -> None:
    """A batch that finds no room is not there in part, and is written when there is room again."""
    with kept_in(tmp_path, vfs=disk.name, open_file=disk.open_journal, min_free=0) as keeper:
        store = keeper.store
        old = [keeper.put(A, plain(b"old %d" % number)) for number in range(3)]
        keeper.commit()
        for number in range(200):
            keeper.put(B, plain(b"%d" % number * 3000))
        store.settle(A, old[1])
        ticket = store.ticket()
        disk.room = 100_000
        batch = taken(keeper)
        assert batch.ticket == ticket
        with pytest.raises(StoreFullError, match="no room"):
            store.write(batch)
        store.take_back(batch)
        assert store.full
        assert keeper.bodies(B) == []
        assert len(keeper.bodies()) in (2, 3)
        for _ in range(3):
            batch = taken(keeper)
            disk.room = 0
            with pytest.raises(StoreFullError):
                store.write(batch)
            store.take_back(batch)
        new = keeper.put(A, plain(b"new"))
        keeper.put(A, plain(b"newer"))
        store.settle(A, new)
        disk.room = None
        assert keeper.commit() > ticket
        assert not store.full
        assert keeper.bodies(B) == [b"%d" % number * 3000 for number in range(200)]
        assert keeper.bodies() == [b"old 0", b"old 2", b"newer"]
    assert faults(tmp_path) == []


def test_a_full_disk_lets_consumers_go_on(tmp_path: Path, disk: FaultyDisk) -> None:
    """While new messages find no room, settlements that do are durable."""
    with kept_in(
        tmp_path, clean=False, vfs=disk.name, open_file=disk.open_journal, min_free=0
    ) as keeper:
        store = keeper.store
        old = [keeper.put(A, plain(b"old %d" % number)) for number in range(3)]
        keeper.commit()
        keeper.put(B, plain(b"x" * 900_000))
        store.settle(A, old[0])
        store.settle(A, old[2])
        batch = taken(keeper)
        disk.room = 300_000
        with pytest.raises(StoreFullError):
            store.write(batch)
        disk.room = None
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"old 1"]
        assert keeper.bodies(B) == []
    assert faults(tmp_path) == []


@pytest.mark.parametrize("before", [[], [b"before"]])
def test_no_room_for_the_last_batch(tmp_path: Path, disk: FaultyDisk, before: list[bytes]) -> None:
    """A stop that finds no room says so, and lets go of the directory.

    Once the journal has been written to it has room, so that what it takes is kept nevertheless.
    """
    keeper = Keeper(tmp_path, vfs=disk.name, open_file=disk.open_journal)
    for body in before:
        keeper.put(A, plain(body))
        keeper.commit()
    keeper.put(A, plain(b"last"))
    disk.room = 0
    with pytest.raises(StoreFullError):
        keeper.close(clean=True)
    disk.room = None
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == ([*before, b"last"] if before else [])


def test_a_full_disk_with_a_journal_before_the_tables(
    tmp_path: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the journal holds goes on being true for consumers while it cannot be applied."""
    monkeypatch.setattr(sqlite, "_WAL_KEPT", 0)
    with kept_in(tmp_path, vfs=disk.name, open_file=disk.open_journal, min_free=0) as keeper:
        store = keeper.store
        old = [keeper.put(A, plain(b"old %d" % number)) for number in range(4)]
        later = keeper.put(B, plain(b"later"), 50.0)
        keeper.commit()
        keeper.fold()
        disk.room = 0
        # These need no room.
        store.settle(A, old[1])
        keeper.put(A, plain(b"new"))
        keeper.commit()
        assert keeper.bodies() == [b"old 0", b"old 2", b"old 3"]
        assert keeper.read(B, "delayed")[0][0].body == b"later"
        keeper.put(A, plain(b"delayed"), 40.0)
        store.requeue(B, later, 60.0)
        keeper.commit()
        # What comes first of these is not in the tables.
        for queue in (A, B):
            with pytest.raises(StoreFullError):
                keeper.read(queue, "delayed")
        assert store.ticket() == 0
        disk.room = None
        assert keeper.bodies() == [b"old 0", b"old 2", b"old 3", b"new"]
        assert keeper.read(B, "delayed")[1] == [pytest.approx(60.0)]
    assert faults(tmp_path) == []


def test_settlements_make_room_for_the_journal(
    tmp_path: Path, disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When new messages in the journal find no room, what was settled makes some nevertheless."""
    monkeypatch.setattr(sqlite, "_WAL_KEPT", 0)
    with kept_in(
        tmp_path, clean=False, vfs=disk.name, open_file=disk.open_journal, min_free=0
    ) as keeper:
        store = keeper.store
        old = [keeper.put(A, plain(b"x" * 100_000)) for _ in range(10)]
        keeper.commit()
        keeper.fold()
        new = b"y" * 150_000
        keeper.put(B, plain(new))
        for message in old[1:]:
            store.settle(A, message)
        keeper.commit()
        disk.room = 130_000
        keeper.put(B, plain(b"z" * 1_200_000))
        batch = taken(keeper)
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        assert store._opened().db.execute("SELECT count(*) FROM message").get == 1  # noqa: SLF001
        disk.room = None
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"x" * 100_000]
        assert keeper.bodies(B) == [new]
    assert faults(tmp_path) == []


def test_the_end_of_a_real_shortage(tmp_path: Path, disk: FaultyDisk) -> None:
    """When nothing is left to be written, the store tries whether something could be."""
    with kept_in(tmp_path, vfs=disk.name, open_file=disk.open_journal, min_free=0) as keeper:
        store = keeper.store
        message = keeper.put(A, plain(b"x" * 10_000))
        disk.room = 0
        batch = taken(keeper)
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        store.settle(A, message)
        batch = taken(keeper)
        assert not batch
        disk.room = 10_000
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        disk.room = None
        assert keeper.commit()
        assert not store.full


def test_a_slow_disk_holds_up_nobody_else(tmp_path: Path, disk: FaultyDisk) -> None:
    """While a batch is on its way to the disk, more is told, and belongs to the next one."""
    with kept_in(tmp_path, vfs=disk.name, open_file=disk.open_journal) as keeper:
        store = keeper.store
        first = keeper.put(A, plain(b"first"))
        batch = taken(keeper)
        disk.syncing.clear()
        disk.may_sync.clear()
        worker = threading.Thread(target=store.write, args=(batch,))
        worker.start()
        assert disk.syncing.wait(30)
        assert store.ticket() == batch.ticket
        store.settle(A, first)
        keeper.put(A, plain(b"second"))
        assert store.ticket() == batch.ticket + 1
        assert store.pending_octets == first.size * 2 + 1
        disk.may_sync.set()
        worker.join()
        store.committed(batch)
        assert keeper.bodies() == [b"first"]
        keeper.commit()
        assert keeper.bodies() == [b"second"]


def test_another_program_in_a_transaction(tmp_path: Path) -> None:
    """A shell that holds the file is waited for, told about, and no reason to stop."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        store._opened().db.set_busy_timeout(0)  # noqa: SLF001 - so that the test need not wait
        other = apsw.Connection(str(tmp_path / "stompd.db"))
        other.execute("BEGIN IMMEDIATE")
        keeper.put(A, plain(b"x"))
        assert keeper.commit()
        keeper.put(A, plain(b"y" * 1_200_000))
        batch = taken(keeper)
        with pytest.raises(StoreFullError, match="another program holds"):
            store.write(batch)
        store.take_back(batch)
        other.execute("ROLLBACK")
        other.close()
        assert keeper.commit()
        assert keeper.bodies() == [b"x", b"y" * 1_200_000]


def damage(path: Path) -> None:
    """Write nonsense over the rows of a file."""
    content = bytearray(path.read_bytes())
    at = content.index(b"x" * 100) // 4096 * 4096
    content[at : at + 4096] = b"\x55" * 4096
    path.write_bytes(content)


def test_a_damaged_file_is_found_out(tmp_path: Path) -> None:
    """Damage is an error of a sentence: at the start after a crash, and wherever it is met."""
    with kept_in(tmp_path) as keeper:
        for _ in range(50):
            keeper.put(A, plain(b"x" * 3000))
    damage(tmp_path / "stompd.db")
    with kept_in(tmp_path, clean=False) as keeper, pytest.raises(StoreFailedError, match="Corrupt"):
        keeper.read()
    with pytest.raises(StoreError, match=r"is damaged.*stompd store verify"):
        Keeper(tmp_path)
