"""The rhythm of group commit: what waits for the store, what does not, and how it ends.

Proved over a store that writes when the test says so, on real sockets.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from server.edge import PATIENCE, Edge, Peer, serving, settings
from server.gated import GatedBatch, GatedStore

from stompd.broker.broker import Broker
from stompd.broker.message import Message
from stompd.broker.storage import Fetch
from stompd.protocol.frame import Head
from stompd.server.commit import Committer
from stompd.server.config import Settings
from stompd.store.errors import StoreError, StoreFailedError, StoreFullError


def send(body: str, *lines: str, destination: str = "/queue/a", persistent: bool = True) -> str:
    """Return a SEND that asks for a receipt named as its body."""
    head = [f"destination:{destination}", f"receipt:{body}", *lines]
    if persistent:
        head.append("persistent:true")
    return f"SEND⏎{'⏎'.join(head)}⏎⏎{body}^@"


async def nothing_for(peer: Peer, other: Peer) -> None:
    """See that nothing was written to ``peer`` although the server has served ``other`` since."""
    await other.sync()
    assert peer.unread.strip(b"\n") == b""
    with trio.move_on_after(0) as at_once:
        await peer.stream.receive_some(1)
    assert at_once.cancelled_caught


async def at_the_gate(edge: Edge, store: GatedStore) -> None:
    """Wait until the worker stands before the closed gate."""
    await edge.until(store.waiting.is_set)


def hurried() -> Settings:
    """Return settings with which nothing waits for company."""
    return settings(store={"engine": "memory", "commit-interval": "1ms"})


# -- Receipts --------------------------------------------------------------------------------------


async def test_a_receipt_comes_after_the_write() -> None:
    """While a batch is being written its receipt is held, and others are served."""
    store = GatedStore()
    store.gate.clear()
    async with serving(store=store) as edge:
        peer, other = await edge.login(), await edge.login()
        await peer.write(send("one"))
        await at_the_gate(edge, store)
        await nothing_for(peer, other)
        assert store.bodies == []
        store.gate.set()
        await peer.expect("RECEIPT", receipt_id="one")
        assert store.bodies == [b"one"]


async def test_how_long_batches_take_is_told() -> None:
    """Every batch is counted once, in the bucket of the seconds that it took."""
    async with serving(store=GatedStore()) as edge:
        peer = await edge.login()
        for body in ("one", "two"):
            await peer.write(send(body))
            await peer.expect("RECEIPT", receipt_id=body)
        stats = await peer.ask("stats")
        commit = stats["commit"]
        assert commit["count"] == commit["buckets"]["+Inf"] == stats["store"]["commits"] >= 2
        assert 0 < commit["max"] <= commit["seconds"]
        assert commit["buckets"]["10"] >= commit["buckets"]["0.001"]


async def test_what_comes_during_a_write_is_written_together() -> None:
    """However many producers there are, what they send while a batch is written is one batch."""
    store = GatedStore()
    store.gate.clear()
    async with serving(store=store) as edge:
        first = await edge.login()
        await first.write(send("first"))
        await at_the_gate(edge, store)
        peers = [await edge.login() for _ in range(10)]
        for number, peer in enumerate(peers):
            await peer.write("".join(send(f"m{number}x{part}") for part in range(10)))
        await edge.until(lambda: edge.depth("/queue/a") == 101)
        store.gate.set()
        await first.expect("RECEIPT", receipt_id="first")
        for number, peer in enumerate(peers):
            for part in range(10):
                await peer.expect("RECEIPT", receipt_id=f"m{number}x{part}")
        assert [len(batch.put) for batch in store.written] == [1, 100]


def read_in_pieces() -> Settings:
    """Return settings with which a long write is read in several rounds."""
    return settings(store={"engine": "memory"}, flow={"read-size": "1KiB"})


async def test_what_has_come_already_is_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as there is more to read a batch is not handed over: commits are few."""
    monkeypatch.setattr("stompd.server.poller._TURN", PATIENCE)
    store = GatedStore()
    async with serving(read_in_pieces(), store=store) as edge:
        peer = await edge.login()
        await peer.write("".join(send(f"m{number}") for number in range(100)))
        for number in range(100):
            await peer.expect("RECEIPT", receipt_id=f"m{number}")
        assert [len(batch.put) for batch in store.written] == [100]


async def test_a_batch_waits_no_longer_than_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much there is to read, what somebody waits for is handed over once a turn."""
    monkeypatch.setattr("stompd.server.poller._TURN", -1.0)
    store = GatedStore()
    async with serving(read_in_pieces(), store=store) as edge:
        peer = await edge.login()
        await peer.write("".join(send(f"m{number}") for number in range(100)))
        for number in range(100):
            await peer.expect("RECEIPT", receipt_id=f"m{number}")
        # What the first read brought did not wait for the rest.
        assert len(store.written) > 1
        assert store.bodies == [b"m%d" % number for number in range(100)]


async def test_the_receipts_of_a_session_keep_their_order() -> None:
    """A receipt that waits for nothing comes behind those before it that do (AMB-31)."""
    store = GatedStore()
    store.gate.clear()
    async with serving(store=store) as edge:
        peer, other = await edge.login(), await edge.login()
        await peer.write(send("a") + send("b", persistent=False, destination="/topic/t"))
        await at_the_gate(edge, store)
        await peer.write(send("c") + send("d", persistent=False, destination="/topic/t"))
        await nothing_for(peer, other)
        store.gate.set()
        for name in "abcd":
            await peer.expect("RECEIPT", receipt_id=name)


async def test_what_nobody_waits_for_is_written_as_well() -> None:
    """Without a receipt the write comes by itself, after the interval of the settings."""
    store = GatedStore()
    async with serving(hurried(), store=store) as edge:
        peer = await edge.login()
        await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎⏎x^@")
        await edge.until(lambda: store.bodies == [b"x"])


async def test_leaving_waits_for_receipts() -> None:
    """DISCONNECT, and the end of the peer's direction, wait for a slow store, however slow."""
    store = GatedStore()
    store.gate.clear()
    given = settings(store={"engine": "memory"}, timeouts={"linger": "10ms"})
    async with serving(given, store=store) as edge:
        leaving, ended, other = [await edge.login() for _ in range(3)]
        await leaving.write(send("l") + "DISCONNECT⏎receipt:bye⏎⏎^@")
        await ended.write(send("e"))
        await ended.half_close()
        await at_the_gate(edge, store)
        await nothing_for(leaving, other)
        await nothing_for(ended, other)
        # Far more than the time after which a peer is abandoned that takes nothing.
        await trio.sleep(0.1)
        await nothing_for(ended, other)
        store.gate.set()
        await leaving.expect("RECEIPT", receipt_id="l")
        await leaving.expect("RECEIPT", receipt_id="bye")
        await ended.expect("RECEIPT", receipt_id="e")
        assert (await ended.rest()).strip() == b""


# -- A full disk -----------------------------------------------------------------------------------


async def test_a_full_disk_refuses_and_recovers() -> None:
    """Who waits for a receipt gets ERROR; the rest goes on, and all of it once there is room."""
    store = GatedStore()
    store.errors = [StoreFullError("no space left on device")] * 1000
    store.gate.clear()
    async with serving(store=store) as edge:
        peer, other = await edge.login(), await edge.login()
        await peer.write(send("one"))
        await at_the_gate(edge, store)
        store.gate.set()
        await peer.fatal("disk full")
        assert (await edge.log.first("the disk is full"))["log_level"] == "error"
        await other.sync()
        await other.put("/queue/b")
        refused = await edge.login()
        await refused.write(send("two"))
        await refused.fatal("disk full")
        del store.errors[:]
        await edge.log.first("the disk has room again")
        late = await edge.login()
        await late.write(send("three"))
        await late.expect("RECEIPT", receipt_id="three")
        assert b"three" in store.bodies


def test_a_question_without_a_true_answer_stays_open() -> None:
    """While there is no room, what is in the file is an answer only if the store says so."""
    asked = [
        Fetch(("", f"/queue/{name}"), "ready", lambda _m, _d: None, count=1, octets=1, priority=4)
        for name in "abc"
    ]
    message = Message(Head.of("SEND", {}), b"x", None, True)  # noqa: FBT003 - it is persistent

    class Store(GatedStore):
        def read(self, fetch: Fetch) -> tuple[list[Message], list[float]]:
            """Answer the first question, have nothing for the second, fail with the third."""
            if fetch is asked[2]:
                raise StoreFullError("no room")
            return ([message], []) if fetch is asked[0] else ([], [])

    committer = Committer(Store(), cast("Broker", None))
    batch = GatedBatch(1)
    batch.fetches = list(asked)
    committer._read_what_is_there(batch)  # noqa: SLF001 - what the worker does with it
    assert batch.fetches == asked[1:]
    committer.stop()


# -- Without the worker ----------------------------------------------------------------------------


class Pace:
    """A disk that is known as quick after two writes, and slow again when it is told so."""

    def __init__(self) -> None:
        self.writes = 0
        self.slow = False

    def add(self, seconds: float) -> None:
        """Count it, however long it took."""
        assert seconds >= 0.0
        self.writes += 1

    @property
    def quick(self) -> bool:
        """Whether it is known as quick."""
        return self.writes >= 2 and not self.slow


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Pace:
    """Have the disk be quick, whatever the machine does."""
    pace = Pace()
    monkeypatch.setattr("stompd.server.commit.DiskPace", lambda: pace)
    return pace


async def sent_one_by_one(peer: Peer, *bodies: str) -> None:
    """Send messages, each when the one before was confirmed."""
    for body in bodies:
        await peer.write(send(body))
        await peer.expect("RECEIPT", receipt_id=body)


@pytest.mark.usefixtures("quick")
async def test_on_a_quick_disk_small_batches_are_written_at_once() -> None:
    """After some quick writes the worker is asked no more, but for what is large."""
    store = GatedStore()
    async with serving(store=store) as edge:
        peer = await edge.login()
        await sent_one_by_one(peer, "1", "2")
        assert store.at_once == []
        await sent_one_by_one(peer, "3", "4")
        assert [batch.put for batch in store.at_once] == [[b"3"], [b"4"]]
        body = "x" * 17_000
        await peer.write(f"SEND⏎destination:/queue/a⏎persistent:true⏎receipt:large⏎⏎{body}^@")
        await peer.expect("RECEIPT", receipt_id="large")
        assert len(store.at_once) == 2
        assert len(store.bodies) == 5


async def test_on_a_slow_disk_the_worker_writes_again(quick: Pace) -> None:
    """Nobody but those who wait for it is to notice when the disk becomes slow."""
    store = GatedStore()
    async with serving(store=store) as edge:
        peer = await edge.login()
        await sent_one_by_one(peer, "1", "2", "3")
        quick.slow = True
        await sent_one_by_one(peer, "4", "5")
        assert [batch.put for batch in store.at_once] == [[b"3"]]
        assert quick.writes == 5


@pytest.mark.usefixtures("quick")
async def test_what_cannot_be_written_at_once_goes_to_the_worker() -> None:
    """It is the store that knows what one short step is."""
    store = GatedStore()
    async with serving(store=store) as edge:
        peer = await edge.login()
        await sent_one_by_one(peer, "1", "2")
        store.takes_at_once = False
        await sent_one_by_one(peer, "3", "4")
        assert store.at_once == []
        assert store.bodies == [b"1", b"2", b"3", b"4"]


# -- A disk that fails -----------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("at_once", [False, True], ids=["worker", "at-once"])
@pytest.mark.parametrize(
    "error", [StoreFailedError("I/O error"), RuntimeError("whatever it is")], ids=["told", "other"]
)
async def test_a_failure_ends_it_and_confirms_nothing(error: Exception, *, at_once: bool) -> None:
    """The server ends with the error, connections without a receipt, and the log says whose."""
    store = GatedStore()
    before = ["a", "b"] if at_once else []
    store.errors = [*(None for _ in before), error]
    raised: list[BaseException] = []
    edge: Edge
    log = None
    try:
        async with serving(store=store) as edge:
            log = edge.log
            peer = await edge.login()
            await sent_one_by_one(peer, *before)
            store.gate.clear()
            await peer.write(send("one") + send("two") + send("no", persistent=False))
            if not at_once:
                await at_the_gate(edge, store)
            store.gate.set()
            try:
                rest = await peer.rest()
            except trio.BrokenResourceError:
                rest = bytes(peer.unread)
            assert b"RECEIPT" not in rest
            await trio.sleep_forever()
    except* StoreFailedError as group:
        raised += group.exceptions
    assert len(raised) == 1
    assert log is not None
    (entry,) = log.of("not confirmed")
    assert entry["first"] == ["one", "two", "no"]
    assert str(error) in log.of("the store failed: stopping")[0]["reason"]
    assert store.closed is False


async def test_a_store_that_cannot_be_opened_ends_the_start() -> None:
    """Nothing listens then."""
    store = GatedStore()
    store.opening = StoreError("another stompd has it")
    with pytest.raises(BaseExceptionGroup) as raised:
        async with serving(store=store):
            raise AssertionError
    assert raised.group_contains(StoreError, match="another stompd has it")


# -- The end ---------------------------------------------------------------------------------------


@asynccontextmanager
async def stopped(store: GatedStore) -> AsyncIterator[tuple[Edge, Peer]]:
    """Have a session send a message in the block, then stop in good order and wait for the end."""
    async with serving(hurried(), store=store) as edge:
        peer = await edge.login()
        yield edge, peer
        edge.started.stop()
        with trio.fail_after(PATIENCE):
            while store.closed is None:  # noqa: ASYNC110 - it is closed by another thread
                await trio.sleep(0.01)


async def test_a_stop_writes_everything_and_closes_in_good_order() -> None:
    """What was sent without a receipt is on the disk before the store is closed."""
    store = GatedStore()
    store.gate.clear()
    async with stopped(store) as (edge, peer):
        await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎⏎x^@")
        await at_the_gate(edge, store)
        await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎⏎y^@")
        await edge.until(lambda: edge.depth("/queue/a") == 2)
        store.gate.set()
    assert store.bodies[:2] == [b"x", b"y"]
    assert store.closed is True


async def test_a_stop_at_once_leaves_the_store_unclean() -> None:
    """A cancelled server closes it without the mark of a good end."""
    store = GatedStore()
    async with serving(store=store) as edge:
        await (await edge.login()).put("/queue/a")
    assert store.closed is False


async def test_a_stop_over_a_full_disk_says_what_is_lost() -> None:
    """It ends with an error, since what was sent without a receipt is not kept."""
    store = GatedStore()
    store.errors = [StoreFullError("no space")] * 1000
    log = None
    raised: list[BaseException] = []
    try:
        async with stopped(store) as (edge, peer):
            log = edge.log
            await peer.write("SEND⏎destination:/queue/a⏎persistent:true⏎⏎xyz^@")
            await edge.log.first("the disk is full")
    except* StoreFullError as group:
        raised += group.exceptions
    assert len(raised) == 1
    assert log is not None
    assert log.of("not written")[0]["octets"] == 3
    assert store.closed is False


# -- Tidying up ------------------------------------------------------------------------------------


async def test_the_store_tidies_up_in_steps_when_it_is_quiet() -> None:
    """Steps are taken until none is left, and again after the next write; never before one."""
    store = GatedStore()
    store.steps = 3
    async with serving(hurried(), store=store) as edge:
        await edge.until(lambda: store.steps == 0)
        assert store.steps_taken == 3
        store.steps = 2
        peer = await edge.login()
        await peer.write(send("x"))
        await peer.expect("RECEIPT", receipt_id="x")
        await edge.until(lambda: store.steps == 0)
        assert store.steps_taken == 5


async def test_a_store_that_is_being_closed_is_tidied_no_more() -> None:
    """On a slow disk closing takes longer than the next step would have waited."""
    store = GatedStore()
    store.steps = 1 << 30
    async with serving(hurried(), store=store) as edge:
        await edge.until(lambda: store.steps_taken > 1)
        store.closing.clear()
        edge.started.stop()
        await edge.until(store.ending.is_set)
        steps = store.steps_taken
        # A step would have been due before this is.
        later = trio.Event()
        edge.service.broker.at(trio.current_time() + 0.05, later.set)
        try:
            with trio.fail_after(PATIENCE):
                await later.wait()
        finally:
            store.closing.set()
    assert store.closed is True
    assert store.steps_taken == steps
