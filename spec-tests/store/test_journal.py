"""The journal: what is durable by one write, and what a start makes of it."""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.keeping import EPOCH, A, B, Keeper, faults, kept_in, plain

from stompd.broker.storage import Fetch
from stompd.broker.terms import Terms
from stompd.store import journal, sqlite
from stompd.store.changes import Changes, QueueChanges
from stompd.store.database import connect
from stompd.store.errors import StoreFailedError
from stompd.store.journal import FILE, SIZE, Journal, read_records

GENERATION = 77
PLACE = Path(FILE)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing applied because the machine is slow."""
    monkeypatch.setattr(sqlite, "_WAIT", 1000.0)


def numbered(number: int) -> Changes:
    """Return changes that can be told apart."""
    return Changes({("", "/queue/a"): QueueChanges(settles={number: 4})})


def written(path: Path, count: int, generation: int = GENERATION) -> bytes:
    """Return a journal with some records."""
    its = Journal(path)
    its.begin(generation)
    for number in range(1, count + 1):
        assert its.append(numbered(number))
    its.close()
    return path.read_bytes()


def settled(data: bytes, generation: int = GENERATION) -> list[int]:
    """Return what the records that count have settled."""
    changes, _, _ = read_records(data, generation, PLACE)
    return [place for queue in changes.queues.values() for place in queue.settles]


def messages_in(directory: Path) -> int:
    """Return how many messages the tables hold, while a store works with them."""
    db = connect(directory / "stompd.db", read_only=True)
    try:
        count = db.execute("SELECT count(*) FROM message").get
        assert isinstance(count, int)
        return count
    finally:
        db.close()


# -- Records ---------------------------------------------------------------------------------------


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """What was appended is read again, by the same generation and by no other."""
    path = tmp_path / FILE
    data = written(path, 3)
    assert settled(data) == [1, 2, 3]
    assert settled(data, GENERATION + 1) == []
    again = Journal(path)
    assert list(again.read(GENERATION).queues["", "/queue/a"].settles) == [1, 2, 3]
    assert again.append(numbered(4))
    again.close()
    assert settled(path.read_bytes()) == [1, 2, 3, 4]


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """It holds messages, so others may not look into it."""
    written(tmp_path / FILE, 1)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_new_generation_voids_what_is_there(tmp_path: Path) -> None:
    """The file is written from its beginning again, and what follows of before does not count."""
    path = tmp_path / FILE
    written(path, 5)
    its = Journal(path)
    its.begin(GENERATION + 1)
    assert settled(path.read_bytes(), GENERATION + 1) == []
    assert its.append(numbered(9))
    its.close()
    assert settled(path.read_bytes(), GENERATION + 1) == [9]


@given(keep=st.integers(0, 400))
def test_a_record_in_part_is_none(keep: int) -> None:
    """Wherever the file ends, or zeros begin, the records before are there and nothing else is."""
    data = RECORDS[:keep]
    count = sum(end <= keep for end in ENDS)
    assert settled(data) == list(range(1, count + 1))
    assert settled(data + bytes(1000)) == list(range(1, count + 1))


@given(at=st.integers(0, 400), bit=st.integers(0, 7))
def test_damage_is_never_taken_for_the_end(at: int, bit: int) -> None:
    """A bit that flipped in a record ends the journal only if no other record is behind that."""
    at %= ENDS[-1]
    data = bytearray(RECORDS)
    data[at] ^= 1 << bit
    if at >= ENDS[-2]:
        assert settled(bytes(data)) == list(range(1, len(ENDS)))
    else:
        with pytest.raises(StoreFailedError, match=r"stompd\.journal is damaged at octet"):
            settled(bytes(data))


@given(data=st.binary(max_size=200))
def test_any_octets_are_no_records(data: bytes) -> None:
    """What is not a record is not taken for one."""
    assert settled(data) == []
    assert settled(RECORDS[: ENDS[0]] + data + bytes(8)) == [1]


def test_a_record_of_another_program(tmp_path: Path) -> None:
    """A record that is whole, but not of changes, is an error and not the end."""
    its = Journal(tmp_path / FILE)
    its.begin(GENERATION)
    its.append(["nonsense"])  # type: ignore[arg-type]
    its.close()
    with pytest.raises(StoreFailedError, match="cannot be read at octet 0"):
        settled((tmp_path / FILE).read_bytes())


def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    """What does not fit is refused, and nothing of it is there."""
    its = Journal(tmp_path / FILE)
    its.begin(GENERATION)
    row = (4, 1, True, "a:b", bytes(SIZE // 3))
    large = Changes({("", "/queue/a"): QueueChanges(puts={1: row})})
    assert its.append(large)
    assert its.append(large)
    assert not its.append(large)
    assert its.append(numbered(3))
    its.close()
    data = (tmp_path / FILE).read_bytes()
    assert len(data) <= SIZE
    assert read_records(data, GENERATION, PLACE)[1] == 3


def _records(tmp: Path) -> tuple[bytes, list[int]]:
    ends = []
    for count in range(1, 6):
        data = written(tmp / str(count), count)
        ends.append(read_records(data, GENERATION, PLACE)[2])
    return data[: ends[-1]], ends


@pytest.fixture(autouse=True, scope="module")
def _some_records(tmp_path_factory: pytest.TempPathFactory) -> None:
    global RECORDS, ENDS
    RECORDS, ENDS = _records(tmp_path_factory.mktemp("records"))


RECORDS = b""
ENDS: list[int] = []


# -- In front of the tables ------------------------------------------------------------------------


def test_a_small_batch_is_durable_without_the_tables(tmp_path: Path) -> None:
    """What was committed is there after a crash, though the tables have not seen it."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"one"))
        keeper.put(A, plain(b"later"), 50.0)
        keeper.put(A, plain(b"urgent", terms=Terms(9)))
        keeper.store.remember(A, "seen", 5.0)
        keeper.store.define("queue", ("", "/queue/a"), {"n": 1})
        keeper.commit()
        assert messages_in(tmp_path) == 0
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"one"]
        assert keeper.bodies(priority=9) == [b"urgent"]
        assert keeper.read(A, "delayed")[1] == [pytest.approx(50.0)]
        assert [(key, seen) for key, seen, _ in keeper.kept.dedup_ids] == [(A, "seen")]
        assert keeper.kept.definitions == [("queue", ("", "/queue/a"), {"n": 1})]
    assert faults(tmp_path) == []


def test_what_is_consumed_quickly_never_reaches_the_tables(tmp_path: Path) -> None:
    """A settlement takes the message away that waits in the journal, over a crash as well."""
    with kept_in(tmp_path, clean=False) as keeper:
        for _ in range(20):
            message = keeper.put(A, plain(b"quick"))
            keeper.commit()
            keeper.store.settle(A, message)
        keeper.commit()
        keeper.fold()
        assert messages_in(tmp_path) == 0
        message = keeper.put(A, plain(b"last"))
        keeper.commit()
        keeper.store.settle(A, message)
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == []


def test_a_message_changes_while_it_waits(tmp_path: Path) -> None:
    """An attempt that failed is noted of a message that the tables have, and of one they lack."""
    with kept_in(tmp_path, clean=False) as keeper:
        old = keeper.put(A, plain(b"old"))
        keeper.commit()
        keeper.fold()
        new = keeper.put(A, plain(b"new"))
        keeper.commit()
        for message in (old, new):
            message.count = 3
            keeper.store.requeue(A, message)
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert [(m.body, m.count) for m in keeper.read()[0]] == [(b"old", 3), (b"new", 3)]


def test_a_queue_is_forgotten_and_begun_anew(tmp_path: Path) -> None:
    """What was told of a queue before it was forgotten is gone, wherever it was."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"in the tables"))
        keeper.commit()
        keeper.fold()
        keeper.put(A, plain(b"in the journal"))
        keeper.commit()
        keeper.store.forget(A)
        keeper.put(A, plain(b"new"))
        keeper.commit()
        keeper.put(A, plain(b"newer"))
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"new", b"newer"]
    assert faults(tmp_path) == []


def test_a_range_is_dropped_wherever_it_is(tmp_path: Path) -> None:
    """What is dropped may be in the tables, in the journal, or in the batch itself."""
    with kept_in(tmp_path, clean=False) as keeper:
        for number in range(6):
            keeper.put(A, plain(b"%d" % number))
            keeper.commit()
            if number == 2:
                keeper.fold()
        keeper.store.drop(A, 4, 1, 5, {4})
        keeper.put(A, plain(b"new"))
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"0", b"3", b"5", b"new"]
    assert faults(tmp_path) == []


def test_a_question_is_answered_with_all_that_was_told(tmp_path: Path) -> None:
    """What is asked about a queue is looked up when the journal holds nothing of it any more."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"one"))
        keeper.commit()
        keeper.store.fetch(Fetch(B, "ready", lambda _m, _d: None, count=5, octets=1, priority=4))
        keeper.commit()
        assert messages_in(tmp_path) == 0
        keeper.store.fetch(Fetch(A, "ready", lambda _m, _d: None, count=5, octets=1, priority=4))
        keeper.commit()
        assert messages_in(tmp_path) == 1
        keeper.put(A, plain(b"two"))
        keeper.commit()
        assert keeper.bodies() == [b"one", b"two"]


def test_nothing_waits_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a quiet moment the journal is applied after a time, or when it has many rows."""
    monkeypatch.setattr(sqlite, "_WAIT", 0.0)
    with kept_in(tmp_path) as keeper:
        for expected in (0, 2, 2, 4):
            keeper.put(A, plain(b"x"))
            keeper.commit()
            assert messages_in(tmp_path) == expected
    monkeypatch.setattr(sqlite, "_WAIT", 1000.0)
    monkeypatch.setattr(sqlite, "_UNAPPLIED", 5)
    with kept_in(tmp_path) as keeper:
        for _ in range(7):
            keeper.put(A, plain(b"x"))
            keeper.commit()
        assert messages_in(tmp_path) == 4 + 7


def test_a_batch_is_written_at_once_if_one_write_does_it(tmp_path: Path) -> None:
    """What needs the tables, or finds no room, is left to `write`, with nothing done."""

    def at_once(keeper: Keeper) -> bool:
        batch = keeper.store.take()
        assert batch is not None
        done = keeper.store.write_at_once(batch)
        if not done:
            keeper.store.min_free = 0
            keeper.store.write(batch)
        keeper.store.committed(batch)
        return done

    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"one"))
        assert at_once(keeper)
        keeper.put(A, plain(b"two"))
        keeper.store.min_free = 1 << 60
        assert not at_once(keeper)
        keeper.store.fetch(Fetch(B, "ready", lambda _m, _d: None, count=5, octets=1, priority=4))
        assert not at_once(keeper)
        keeper.put(A, plain(b"x" * 2_000_000))
        assert not at_once(keeper)
        keeper.store.drop(A, 4, 0, 2, ())
        assert not at_once(keeper)
        keeper.put(A, plain(b"last"))
        assert at_once(keeper)
    with kept_in(tmp_path) as keeper:
        assert [body[:4] for body in keeper.bodies()] == [b"xxxx", b"last"]
    assert faults(tmp_path) == []


def test_a_full_journal_is_applied(tmp_path: Path) -> None:
    """When it has no room for a batch, all that it holds goes to the tables with that."""
    with kept_in(tmp_path, clean=False) as keeper:
        for _ in range(30):
            keeper.put(A, plain(b"x" * 200_000))
            keeper.commit()
        assert messages_in(tmp_path) >= 20
    assert (tmp_path / FILE).stat().st_size <= SIZE
    with kept_in(tmp_path) as keeper:
        assert len(keeper.bodies()) == 30


def test_a_journal_of_another_file(tmp_path: Path) -> None:
    """A journal does not fit to a copy of another moment, nor to another store's file."""
    with kept_in(tmp_path / "one") as keeper:
        keeper.put(A, plain(b"one"))
        keeper.commit()
        keeper.store.backup(tmp_path / "copy")
        keeper.put(A, plain(b"two"))
        keeper.commit()
    (tmp_path / "copy").replace(tmp_path / "one" / "stompd.db")
    with kept_in(tmp_path / "one") as keeper:
        assert keeper.bodies() == [b"one"]
    with kept_in(tmp_path / "other", clean=False) as keeper:
        keeper.put(B, plain(b"other"))
        keeper.commit()
    (tmp_path / "other" / FILE).replace(tmp_path / "one" / FILE)
    with kept_in(tmp_path / "one") as keeper:
        assert keeper.bodies() == [b"one"]
        assert keeper.bodies(B) == []


def test_a_journal_that_is_missing(tmp_path: Path) -> None:
    """After a crash it is asked for, because it may hold what was confirmed; else it is made."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"one"))
    (tmp_path / FILE).unlink()
    with kept_in(tmp_path, clean=False) as keeper:
        assert keeper.bodies() == [b"one"]
    (tmp_path / FILE).unlink()
    with pytest.raises(StoreFailedError, match=r"stompd\.journal is missing.*an empty file"):
        Keeper(tmp_path)
    (tmp_path / FILE).touch()
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"one"]


def test_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    """What is in its way is named, and the directory is let go of."""
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreFailedError, match=r"cannot use .*stompd\.journal: Is a directory"):
        Keeper(tmp_path)
    (tmp_path / FILE).rmdir()
    with kept_in(tmp_path):
        pass


def test_a_backup_holds_what_the_journal_holds(tmp_path: Path) -> None:
    """What was confirmed before a copy is made is in it, and the copy needs no journal."""
    with kept_in(tmp_path / "one", clean=False) as keeper:
        keeper.put(A, plain(b"applied"))
        keeper.commit()
        keeper.fold()
        keeper.put(A, plain(b"waiting"))
        keeper.commit()
        keeper.store.backup(tmp_path / "copy")
    os.renames(tmp_path / "copy", tmp_path / "two" / "stompd.db")
    with kept_in(tmp_path / "two", clean=False) as keeper:
        assert keeper.bodies() == [b"applied", b"waiting"]
    assert faults(tmp_path / "two") == []


def test_a_file_of_before_the_journal(tmp_path: Path) -> None:
    """A file of schema 1 is brought up to the present one, and keeps what it holds."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"old"))
    db = sqlite3.connect(tmp_path / "stompd.db")
    db.execute("DELETE FROM meta WHERE name = 'generation'")
    db.execute("DROP INDEX message_sender")
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()
    (tmp_path / FILE).unlink()
    with kept_in(tmp_path, clean=False) as keeper:
        assert keeper.bodies() == [b"old"]
        keeper.put(A, plain(b"new"))
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"old", b"new"]


def test_messages_that_are_not_persistent_do_not_outlive_a_crash_in_it(tmp_path: Path) -> None:
    """What did not fit into memory may be in the journal, too; a crash loses and counts it."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"transient", persistent=False))
        keeper.put(A, plain(b"kept"))
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.lost_count == 1
        assert keeper.bodies() == [b"kept"]


def test_names_and_times_survive(tmp_path: Path) -> None:
    """Names that are no text, and times, are in the journal as in the tables."""
    odd = ("h\udcff", '/queue/"\udc80')
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(odd, plain(b"x", terms=Terms(4, expires=99.5)))
        keeper.store.remember(odd, "\udcfe", 7.25)
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        (message,), _ = keeper.read(odd)
        assert message.terms is not None
        assert message.terms.expires == pytest.approx(99.5)
        ((queue, dedup_id, seen),) = keeper.kept.dedup_ids
        assert (queue, dedup_id) == (odd, "\udcfe")
        assert seen == pytest.approx(7.25)
        assert keeper.store.epoch == EPOCH


def test_a_crc_of_many_octets() -> None:
    """A checksum that is made piece by piece is that of the whole."""
    for size in (20_001, 200_000):
        data = os.urandom(size)
        assert journal.crc32(memoryview(data)) == zlib.crc32(data)
