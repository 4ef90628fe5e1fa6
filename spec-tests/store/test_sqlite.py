"""The store in a file: what is kept, what is not, and what its owner can rely on."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from store.keeping import EPOCH, A, B, Keeper, faults, kept_in, plain

from stompd.broker.storage import Fetch, KeptLane
from stompd.broker.terms import Terms
from stompd.store import sqlite, tables
from stompd.store.database import connect
from stompd.store.errors import (
    StoreFailedError,
    StoreFullError,
    StoreLockedError,
    StoreVersionError,
)
from stompd.store.sqlite import SqliteStore


def test_a_new_store_is_empty(tmp_path: Path) -> None:
    """The first start finds nothing, and makes a directory and a file that only we can read."""
    directory = tmp_path / "made" / "here"
    with kept_in(directory) as keeper:
        assert keeper.kept.starts == 1
        assert keeper.kept.queues == []
        assert keeper.kept.definitions == []
        assert keeper.kept.dedup_ids == []
        assert keeper.store.take() is None
        assert keeper.store.ticket() == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "stompd.db").stat().st_mode) == 0o600


def test_persistent_messages_survive(tmp_path: Path) -> None:
    """What was committed is there after a stop in any order, with counts and places."""
    with kept_in(tmp_path, clean=False) as keeper:
        for number in range(300):
            keeper.put(A, plain(b"%d" % number))
        keeper.put(B, plain(b"\0\xff" * 400, terms=Terms(7)))
        size = keeper.store.pending_octets
        keeper.commit()
        assert keeper.store.pending_octets == 0
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.starts == 2
        assert keeper.kept.lost_count == 0
        first, second = sorted(keeper.kept.queues, key=lambda queue: queue.key)
        assert (first.key, first.last_place, set(first.lanes)) == (A, 300, {4})
        assert (second.key, second.last_place) == (B, 1)
        assert first.lanes[4].count == 300
        assert second.lanes == {7: KeptLane(1, size - first.lanes[4].octets)}
        assert keeper.bodies() == [b"%d" % number for number in range(300)]
        assert keeper.bodies(B, 7) == [b"\0\xff" * 400]


def test_what_was_not_committed_is_lost(tmp_path: Path) -> None:
    """A stop without a last word loses the batch that was only collected; a clean one does not."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"lost"))
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.queues == []
        keeper.put(A, plain(b"kept"))
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"kept"]


def test_transient_messages_need_a_clean_stop(tmp_path: Path) -> None:
    """Messages that are not persistent come back after a stop in good order, and only then."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"transient", persistent=False))
        keeper.put(A, plain(b"x" * 3_000_000, persistent=False))
        keeper.put(A, plain(b"persistent"))
    with kept_in(tmp_path, clean=False) as keeper:
        assert keeper.kept.lost_count == 0
        assert keeper.bodies() == [b"transient", b"x" * 3_000_000, b"persistent"]
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.lost_count == 2
        assert keeper.kept.queues[0].lanes[4].count == 1
        assert keeper.bodies() == [b"persistent"]
    assert faults(tmp_path) == []


def test_a_settled_put_is_never_written(tmp_path: Path) -> None:
    """A message that is settled before its batch is taken costs nothing, and the ticket is good."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        message = keeper.put(A, plain(b"quick"))
        ticket = store.ticket()
        assert ticket
        assert store.urgent
        store.settle(A, message)
        assert store.ticket() == 0
        assert store.pending
        assert store.pending_octets == 0
        batch = store.take()
        assert batch is not None
        assert batch.ticket == ticket
        assert not batch
        assert not store.urgent
        before = (tmp_path / "stompd.db-wal").stat().st_size
        store.write(batch)
        store.committed(batch)
        assert (tmp_path / "stompd.db-wal").stat().st_size == before
        assert store.take() is None


def test_tickets_are_of_the_batch_at_hand_or_in_flight(tmp_path: Path) -> None:
    """A promise waits for the batch that collects, else for the one that is written, else not."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        keeper.put(A, plain())
        first = store.ticket()
        batch = store.take()
        assert batch is not None
        assert store.ticket() == first
        keeper.put(A, plain())
        assert store.ticket() == first + 1
        store.write(batch)
        store.committed(batch)
        assert store.ticket() == first + 1
        assert keeper.commit() == first + 1
        assert store.ticket() == 0


def test_settlements_take_messages_out(tmp_path: Path) -> None:
    """Scattered and consecutive messages go, pieces of large bodies too; counters follow."""
    with kept_in(tmp_path) as keeper:
        messages = [keeper.put(A, plain(b"%d" % n)) for n in range(500)]
        large = keeper.put(A, plain(b"y" * 2_500_000))
        assert keeper.commit()
        for number in [*range(100, 300), 7, 9, 401]:
            keeper.store.settle(A, messages[number])
        keeper.store.settle(A, large)
        keeper.commit()
        left = [n for n in range(500) if not (100 <= n < 300 or n in (7, 9, 401))]
        assert keeper.bodies() == [b"%d" % n for n in left]
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.queues[0].lanes[4].count == len(left)


def test_requeue_keeps_what_changed(tmp_path: Path) -> None:
    """Count, words of a NACK, first id and due time are written anew, before and after the put."""
    with kept_in(tmp_path) as keeper:
        one, two, three = (keeper.put(A, plain(b"%d" % n)) for n in range(3))
        one.count = 2
        keeper.store.requeue(A, one)
        keeper.commit()
        two.count, two.detail, two.first_id, two.redelivered = 3, "why", "c1-7", True
        keeper.store.requeue(A, two, 50.0)
        keeper.store.requeue(A, three, 60.0)
        keeper.store.requeue(A, three)
        keeper.commit()
        waiting, _ = keeper.read()
        assert [m.place for m in waiting] == [1, 3]
        assert waiting[0].count == 2
        delayed, dues = keeper.read(what="delayed")
        assert dues == [50.0]
        assert [(m.count, m.detail, m.first_id, m.redelivered) for m in delayed] == [
            (3, "why", "c1-7", True)
        ]
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        (queue,) = keeper.kept.queues
        assert (queue.delayed_count, queue.first_due) == (1, 50.0)
        keeper.store.requeue(A, delayed[0])
        keeper.commit()
        assert keeper.bodies() == [b"0", b"1", b"2"]
    assert faults(tmp_path) == []


def test_pages_end_with_count_or_octets(tmp_path: Path) -> None:
    """An answer holds as many as asked for, up to the one that brings it to the octets."""
    with kept_in(tmp_path) as keeper:
        for number in range(10):
            keeper.put(A, plain(b"%d" % number * 1000))
        keeper.commit()
        size = keeper.read(count=1)[0][0].size
        assert [m.place for m in keeper.read(count=3, after=2)[0]] == [3, 4, 5]
        assert len(keeper.read(octets=2 * size)[0]) == 2
        assert len(keeper.read(octets=2 * size + 1)[0]) == 3
        assert len(keeper.read(octets=1)[0]) == 1
        assert keeper.read(after=10) == ([], [])
        assert keeper.read(priority=5) == ([], [])
        assert keeper.read(("", "/queue/none")) == ([], [])
        assert keeper.read(("", "/queue/none"), "delayed") == ([], [])
        assert keeper.read(what="delayed") == ([], [])
        assert keeper.read(what="expired", due=1e6) == ([], [])


def test_delayed_messages_come_by_time(tmp_path: Path) -> None:
    """Delayed messages come by due time and place, whatever their priority, from anywhere on."""
    with kept_in(tmp_path) as keeper:
        for due, priority in [(30.0, 4), (10.0, 9), (20.0, 0), (10.0, 4), (0.0, 4)]:
            keeper.put(A, plain(b"%d" % due, terms=Terms(priority)), due)
        keeper.commit()
        messages, dues = keeper.read(what="delayed")
        assert [m.place for m in messages] == [2, 4, 3, 1]
        assert dues == [10.0, 10.0, 20.0, 30.0]
        messages, dues = keeper.read(what="delayed", due=10.0, after=2, count=2)
        assert [m.place for m in messages] == [4, 3]
        assert [m.place for m in keeper.read()[0]] == [5]


def test_expired_messages_come_by_expiry(tmp_path: Path) -> None:
    """Those that wait and expire by then are found by expiry; the delayed are not."""
    with kept_in(tmp_path) as keeper:
        for expires, due in [(30.0, 0.0), (10.0, 0.0), (20.0, 0.0), (5.0, 4.0)]:
            keeper.put(A, plain(terms=Terms(expires=expires)), due)
        keeper.commit()
        assert [m.place for m in keeper.read(what="expired", due=20.0)[0]] == [2, 3]
    with kept_in(tmp_path) as keeper:
        (queue,) = keeper.kept.queues
        assert (queue.first_expiry, queue.first_due) == (10.0, 4.0)


def test_drop_leaves_what_it_should(tmp_path: Path) -> None:
    """A range goes, written or not; spared places, other priorities and the delayed stay."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        for number in range(6):
            keeper.put(A, plain(b"%d" % number))
        keeper.put(A, plain(b"late"), 99.0)
        keeper.put(A, plain(b"urgent", terms=Terms(9)))
        keeper.commit()
        keeper.put(A, plain(b"new"))
        keeper.put(A, plain(b"new too"))
        store.drop(A, 4, 1, 9, {3})
        keeper.put(A, plain(b"newer"))
        keeper.commit()
        assert keeper.bodies() == [b"0", b"2", b"new too", b"newer"]
        assert keeper.bodies(priority=9) == [b"urgent"]
        assert [m.body for m in keeper.read(what="delayed")[0]] == [b"late"]
    assert faults(tmp_path) == []


def test_forget_leaves_nothing(tmp_path: Path) -> None:
    """A queue that is gone leaves nothing behind, and what is put into its successor stays."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        keeper.put(A, plain(b"old"))
        keeper.put(A, plain(b"o" * 2_000_000))
        keeper.put(B, plain(b"other"))
        store.remember(A, "id", 5.0)
        keeper.commit()
        keeper.put(A, plain(b"never written"))
        store.forget(A)
        assert store.pending_octets == 0
        successor = plain(b"new")
        successor.place = 1
        store.put(A, successor)
        keeper.commit()
        assert keeper.bodies() == [b"new"]
        assert keeper.bodies(B) == [b"other"]
        store.forget(A)
        keeper.commit()
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        assert [queue.key for queue in keeper.kept.queues] == [B]
        assert keeper.kept.dedup_ids == []


def test_forgetting_what_was_never_kept_costs_nothing(tmp_path: Path) -> None:
    """A temporary queue that never had anything to keep is no reason to write."""
    with kept_in(tmp_path) as keeper:
        keeper.store.settle(A, keeper.put(A, plain()))
        keeper.store.forget(A)
        assert not keeper.store.pending
        assert keeper.store.take() is None


def test_definitions_and_dedup_ids(tmp_path: Path) -> None:
    """The last word counts for each definition and dedup-id; ids come back oldest first."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        store.define("durable", ("", "me", "sub"), {"destination": "/topic/a", "open": True})
        store.define("queue", ("", "/queue/a"), {"n": 1})
        store.define("binding", ("", "/queue/a", "/topic/b"), {})
        store.remember(A, "later", 9.0)
        store.remember(A, "earlier", 3.5)
        store.remember(A, "gone", 4.0)
        keeper.commit()
        store.define("queue", ("", "/queue/a"), {"n": 2})
        store.undefine("binding", ("", "/queue/a", "/topic/b"))
        store.unremember(A, "gone")
        store.unremember(A, "never there")
        keeper.commit()
    with kept_in(tmp_path) as keeper:
        assert sorted(keeper.kept.definitions) == [
            ("durable", ("", "me", "sub"), {"destination": "/topic/a", "open": True}),
            ("queue", ("", "/queue/a"), {"n": 2}),
        ]
        assert keeper.kept.dedup_ids == [(A, "earlier", 3.5), (A, "later", 9.0)]


def test_names_of_any_octets(tmp_path: Path) -> None:
    """Names that are not UTF-8, or look like our way to write those, are kept as they are."""
    names = ["/queue/\udcff", '"/queue/x"', "/queue/ä"]
    with kept_in(tmp_path) as keeper:
        for name in names:
            keeper.put(("h\udc80", name), plain(name.encode("utf-8", "surrogateescape")))
            keeper.store.remember(("", name), name, 1.0)
    with kept_in(tmp_path) as keeper:
        assert {queue.key for queue in keeper.kept.queues} == {("h\udc80", n) for n in names}
        assert {dedup_id for _, dedup_id, _ in keeper.kept.dedup_ids} == set(names)
        for name in names:
            expected = name.encode("utf-8", "surrogateescape")
            assert keeper.bodies(("h\udc80", name)) == [expected]
            keeper.store.unremember(("", name), name)
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.dedup_ids == []


def test_a_fetch_goes_with_its_batch(tmp_path: Path) -> None:
    """A question makes a batch urgent, comes with it, and is answered though its queue is gone."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store

        def ask() -> Fetch:
            fetch = Fetch(A, "ready", lambda _m, _d: None, count=1, octets=1)
            store.fetch(fetch)
            return fetch

        fetch = ask()
        assert store.urgent
        batch = store.take()
        assert batch is not None
        assert batch.fetches == [fetch]
        assert not batch
        store.write(batch)
        store.committed(batch)
        fetch = ask()
        store.forget(A)
        batch = store.take()
        assert batch is not None
        assert batch.fetches == [fetch]
        assert store.read(fetch) == ([], [])


def test_one_process_for_a_directory(tmp_path: Path) -> None:
    """A second store is refused, and told which process has the directory."""
    with kept_in(tmp_path), pytest.raises(StoreLockedError, match=f"process {os.getpid()}: stop"):
        Keeper(tmp_path)
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.starts == 2


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """A database of somebody else's, and one of a newer stompd, are refused and not changed."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    db = sqlite3.connect(foreign / "stompd.db")
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.close()
    before = (foreign / "stompd.db").read_bytes()
    with pytest.raises(StoreVersionError, match="not a file of stompd's"):
        Keeper(foreign)
    assert (foreign / "stompd.db").read_bytes() == before
    with kept_in(tmp_path / "newer"):
        pass
    db = sqlite3.connect(tmp_path / "newer" / "stompd.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreVersionError, match="newer stompd"):
        Keeper(tmp_path / "newer")


def test_no_database_at_all(tmp_path: Path) -> None:
    """Octets that are no database are a failure that names the file."""
    (tmp_path / "stompd.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreFailedError, match=r"stompd\.db"):
        Keeper(tmp_path)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where the directory should be is a failure in words."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailedError, match="cannot make"):
        Keeper(tmp_path / "file" / "data")


def test_too_little_free_space(tmp_path: Path) -> None:
    """Below the free space that has to stay no message is written, but settlements are."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        old = [keeper.put(A, plain(b"old %d" % n)) for n in range(2)]
        keeper.commit()
        store.min_free = 1 << 60
        store.settle(A, old[0])
        new = keeper.put(A, plain(b"new"))
        newer = keeper.put(A, plain(b"newer"))
        batch = store.take()
        assert batch is not None
        with pytest.raises(StoreFullError, match="have to stay free"):
            store.write(batch)
        store.take_back(batch)
        assert store.full
        assert keeper.bodies() == [b"old 1"]
        store.settle(A, new)
        store.settle(A, old[1])
        batch = store.take()
        assert batch is not None
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        assert keeper.bodies() == []
        store.min_free = 0
        ticket = store.ticket()
        assert keeper.commit() == ticket
        assert not store.full
        assert [m.place for m in keeper.read()[0]] == [newer.place]
    assert faults(tmp_path) == []


def test_a_settlement_never_goes_before_its_put(tmp_path: Path) -> None:
    """While there is no room, what a transaction took out stays until what it put in is written."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        one = keeper.put(A, plain(b"moved"))
        two = keeper.put(A, plain(b"read"))
        keeper.commit()
        store.min_free = 1 << 60
        store.begin_group()
        store.settle(A, one)
        keeper.put(B, plain(b"moved"))
        store.end_group()
        store.begin_group()
        store.settle(A, two)
        store.end_group()
        batch = store.take()
        assert batch is not None
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        assert keeper.bodies() == [b"moved"]
        store.min_free = 0
        keeper.commit()
        assert keeper.bodies() == []
        assert keeper.bodies(B) == [b"moved"]


def test_a_queue_has_an_end(tmp_path: Path) -> None:
    """A queue that has had all its places is full, and spoils nothing of the others."""
    with kept_in(tmp_path) as keeper:
        message = plain(b"beyond")
        message.place = 1 << 42
        keeper.store.put(A, message)
        batch = keeper.store.take()
        assert batch is not None
        with pytest.raises(StoreFullError, match="empty it and remove it"):
            keeper.store.write(batch)
        keeper.put(B, plain(b"other"))
        keeper.commit()
        assert keeper.bodies() == []
        assert keeper.bodies(B) == [b"other"]
    assert faults(tmp_path) == []


def test_there_is_an_end_of_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of lanes are used again; when all are taken, the store says so."""
    monkeypatch.setattr(tables, "LANE_LIMIT", 4)
    with kept_in(tmp_path) as keeper:
        for number in range(20):
            queue = ("", f"/queue/{number}")
            keeper.put(queue, plain(b"x"))
            keeper.commit()
            keeper.store.forget(queue)
        keeper.commit()
        for number in range(3):
            keeper.put(("", f"/queue/{number}"), plain(b"%d" % number))
        keeper.commit()
        assert keeper.bodies(("", "/queue/2")) == [b"2"]
        keeper.put(A, plain(b"too much"))
        batch = keeper.store.take()
        assert batch is not None
        with pytest.raises(StoreFullError, match="cannot hold more"):
            keeper.store.write(batch)
    assert faults(tmp_path) == []


def test_a_long_log_is_brought_into_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a quiet moment the log does not grow without end."""
    monkeypatch.setattr(sqlite, "_WAL_PAGES", 100)
    monkeypatch.setattr(sqlite, "_JOURNALED", 0)
    with kept_in(tmp_path) as keeper:
        for _ in range(30):
            for message in [keeper.put(A, plain(b"x" * 100_000)) for _ in range(5)]:
                keeper.store.requeue(A, message)
            keeper.commit()
        assert (tmp_path / "stompd.db-wal").stat().st_size < 2_000_000
        assert (tmp_path / "stompd.db").stat().st_size > 10_000_000


def test_a_log_that_is_too_long_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader lets the log grow, and is not waited for; once it has ended the log is cut off."""
    monkeypatch.setattr(sqlite, "_WAL_PAGES", 100)
    monkeypatch.setattr(sqlite, "_JOURNALED", 0)
    monkeypatch.setattr(sqlite, "_WAL_MOST", 1_000_000)
    log = tmp_path / "stompd.db-wal"
    with kept_in(tmp_path) as keeper:
        reader = connect(tmp_path / "stompd.db", read_only=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchall()
        for _ in range(10):
            keeper.put(A, plain(b"x" * 500_000))
            keeper.commit()
        assert log.stat().st_size > 4_000_000
        reader.close(force=True)
        keeper.put(A, plain(b"x" * 500_000))
        keeper.commit()
        assert log.stat().st_size < 1_000_000


def test_the_end_of_a_shortage_is_found_out(tmp_path: Path) -> None:
    """While it is full there is always a batch, so that room is noticed although nobody sends."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        store.min_free = 1 << 60
        message = keeper.put(A, plain(b"x"))
        batch = store.take()
        assert batch is not None
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        store.settle(A, message)
        batch = store.take()
        assert batch is not None
        assert not batch
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        store.min_free = 0
        assert keeper.commit()
        assert not store.full
        assert store.take() is None


def test_a_clean_stop_while_it_is_full(tmp_path: Path) -> None:
    """A stop is in good order if nothing is left to be written, however little room there is."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        keeper.put(A, plain(b"transient", persistent=False))
        keeper.commit()
        store.min_free = 1 << 60
        message = keeper.put(A, plain(b"x"))
        batch = store.take()
        assert batch is not None
        with pytest.raises(StoreFullError):
            store.write(batch)
        store.take_back(batch)
        store.settle(A, message)
        store.committed(store.take() or batch)
        store.full = True
    with kept_in(tmp_path) as keeper:
        assert keeper.kept.lost_count == 0
        assert keeper.bodies() == [b"transient"]


def test_congestion(tmp_path: Path) -> None:
    """Octets count until they are durable, in flight as well."""
    with kept_in(tmp_path, pending=1000) as keeper:
        store = keeper.store
        keeper.put(A, plain(b"x" * 900))
        assert not store.congested
        keeper.put(A, plain(b"x" * 900))
        assert store.congested
        batch = store.take()
        assert batch is not None
        assert store.congested
        store.write(batch)
        store.committed(batch)
        assert not store.congested


def test_idle_moments_shrink_the_files(tmp_path: Path) -> None:
    """In quiet moments the log goes into the file, and what was freed back to the disk."""
    with kept_in(tmp_path) as keeper:
        store = keeper.store
        messages = [keeper.put(A, plain(b"x" * 100_000)) for _ in range(200)]
        keeper.commit()
        while store.idle():
            pass
        full = (tmp_path / "stompd.db").stat().st_size
        assert full > 20_000_000
        for message in messages:
            store.settle(A, message)
        keeper.commit()
        steps = 1
        while store.idle():
            steps += 1
        assert steps < 20
        assert (tmp_path / "stompd.db").stat().st_size < 10_000_000
        assert (tmp_path / "stompd.db-wal").stat().st_size <= 4 << 20
    assert faults(tmp_path) == []


def test_a_backup_of_a_store_at_work(tmp_path: Path) -> None:
    """A copy holds what is durable, is a store itself, and is never written over another file."""
    target = tmp_path / "copy" / "stompd.db"
    target.parent.mkdir()
    with kept_in(tmp_path / "data") as keeper:
        keeper.put(A, plain(b"one"))
        keeper.put(A, plain(b"z" * 1_500_000))
        keeper.commit()
        keeper.put(A, plain(b"not durable"))
        keeper.store.backup(target)
        with pytest.raises(StoreFailedError, match="is there already"):
            keeper.store.backup(target)
        keeper.commit()
    assert faults(target.parent) == []
    with kept_in(target.parent) as keeper:
        assert keeper.bodies() == [b"one", b"z" * 1_500_000]
        # Ids that were given since the backup do not come again.
        assert 10_001 < keeper.kept.starts <= 20_002


def test_status(tmp_path: Path) -> None:
    """What may be told has names for people."""
    with kept_in(tmp_path) as keeper:
        status = keeper.store.status()
        assert status["engine"] == "sqlite"
        assert status["path"] == str(tmp_path / "stompd.db")
        assert status["starts"] == 1
        assert status["file_bytes"] > 0
        assert status["free_bytes"] > 0


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    """Work for a store that is not open is refused."""
    store = SqliteStore(tmp_path)
    store.epoch = EPOCH
    with pytest.raises(StoreFailedError, match="is not open"):
        store.idle()


def test_people_can_read_it(tmp_path: Path) -> None:
    """The views show messages, queues and durable subscriptions in words."""
    with kept_in(tmp_path) as keeper:
        keeper.put(A, plain(b"hello", terms=Terms(7, expires=1.5)))
        keeper.put(A, plain(b"l" * 1_100_000))
        keeper.store.define("durable", ("", "me", "s"), {"destination": "/topic/t"})
    db = sqlite3.connect(tmp_path / "stompd.db")
    assert db.execute(
        "SELECT queue, priority, place, body, body_length, expires FROM messages ORDER BY id DESC"
    ).fetchall() == [
        ("/queue/a", 4, 2, None, 1_100_000, None),
        ("/queue/a", 7, 1, b"hello", 5, "2023-11-14 22:13:21.500"),
    ]
    assert db.execute("SELECT queue, count FROM queues").fetchall() == [("/queue/a", 2)]
    assert db.execute("SELECT client_id, name FROM subscriptions").fetchall() == [("me", "s")]
    db.close()


@pytest.mark.parametrize("passed", [0.0, 0.002, -0.002, 3600.0, -3600.0])
def test_delayed_messages_come_once_though_the_clock_is_set(tmp_path: Path, passed: float) -> None:
    """The next part begins where the last one ended, whatever the time of day is by then."""
    with kept_in(tmp_path) as keeper:
        for number in range(6):
            keeper.put(A, plain(b"%d" % number), due=10.0 if number < 4 else 10.001)
        keeper.commit()
        found: list[bytes] = []
        after, due = 0, -EPOCH
        for _ in range(4):
            messages, dues = keeper.read(what="delayed", count=2, after=after, due=due)
            if not messages:
                break
            found += [message.body for message in messages]
            after, due = messages[-1].place, dues[-1]
            keeper.store.epoch += passed
    assert found == [b"%d" % number for number in range(6)]
