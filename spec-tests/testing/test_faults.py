"""Faults on purpose, on memory streams: each does what it says, and nothing else."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import (
    Client,
    ConnectError,
    ConnectionLostError,
    HeartbeatError,
    RefusedError,
    connect_stream,
)
from stompd.testing import in_trio


async def lost(client: Client) -> str:
    """Wait until the session has ended by a fault; return why."""
    reason = await client.wait_ended()
    assert isinstance(reason, ConnectionLostError)
    return str(reason)


async def is_stuck(client: Client) -> bool:
    """Tell whether a receipt that is asked for now does not come by itself."""
    with trio.move_on_after(30) as scope:
        await client.ping()
    return scope.cancelled_caught


# -- Whole connections -----------------------------------------------------------------------------


async def test_drop() -> None:
    """A dropped connection is reset; what it held goes back, and the next one works."""
    async with in_trio() as broker:
        broker.put("/queue/a", "x")
        async with (
            connect_stream(broker.stream()) as client,
            client.subscribe("/queue/a", ack="client") as messages,
        ):
            await messages.receive()
            (connection,) = broker.connections()
            assert connection.unsettled == 1
            connection.drop()
            assert (connection.open, connection.reason) == (False, "reset by peer")
            assert broker.connections() == []
            assert broker.messages("/queue/a")[0].redelivered
            await lost(client)
            connection.drop()
        async with connect_stream(broker.stream()) as client:
            await client.ping()


async def test_close() -> None:
    """A closed connection ends without a word; a raw client sees end-of-stream, and no reset."""
    async with in_trio() as broker:
        stream = broker.stream()
        await wait_all_tasks_blocked()
        broker.connections()[0].close()
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")
        await stream.aclose()
        stream = broker.stream()
        await wait_all_tasks_blocked()
        broker.drop_connections()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()


async def test_fail() -> None:
    """fail() sends an ERROR of the test's making."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.connections()[0].fail("out of cheese", "redo from start")
        assert "out of cheese" in await lost(client)


async def test_refuse_connections() -> None:
    """While connections are refused there are no new ones; those that are open go on."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.refuse_connections()
        with pytest.raises(ConnectionRefusedError):
            broker.stream()
        await client.ping()
        broker.accept_connections()
        async with connect_stream(broker.stream()) as other:
            await other.ping()


# -- Octets ----------------------------------------------------------------------------------------


async def test_delay_by_the_turned_clock(mock_clock: MockClock) -> None:
    """Octets are under way for so long of the broker's time, which the test turns on."""
    async with in_trio() as broker, connect_stream(broker.stream(), heartbeat=(0, 0)) as client:
        (connection,) = broker.connections()
        connection.faults.delay(to_client=60, to_broker=60)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ping)
            await wait_all_tasks_blocked()
            assert len(broker.frames("BEGIN")) == 0
            broker.clock.advance(59)
            await wait_all_tasks_blocked()
            assert len(broker.frames("BEGIN")) == 0
            broker.clock.advance(1.1)
            await broker.wait_until(lambda: broker.frames("BEGIN"))
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            broker.clock.advance(61)
        connection.faults.heal()
        await client.ping()


@pytest.mark.parametrize("way", ["to_client", "to_broker"])
async def test_delay_keeps_order_and_pace(autojump_clock: MockClock, way: str) -> None:
    """Each message is under way for as long as any other: they do not queue up behind another."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(0, 0)) as client,
        client.subscribe("/topic/t") as messages,
    ):
        broker.faults.delay(**{way: 10.0})
        began = trio.current_time()
        arrived = []

        async def take() -> None:
            for number in range(5):
                assert (await messages.receive()).text == str(number)
                arrived.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            for number in range(5):
                await client.send("/topic/t", str(number))
                await trio.sleep(1)
        assert arrived == [10, 11, 12, 13, 14]
        broker.faults.heal()


@pytest.mark.parametrize("way", ["to_client", "to_broker"])
async def test_stall(autojump_clock: MockClock, way: str) -> None:
    """Nothing moves in that direction until it is healed; nothing is lost by it."""
    async with in_trio() as broker, connect_stream(broker.stream(), heartbeat=(0, 0)) as client:
        broker.faults.stall(**{"to_client": False, "to_broker": False, way: True})
        assert await is_stuck(client)
        assert len(broker.frames("BEGIN")) == (1 if way == "to_client" else 0)
        broker.faults.heal()
        await client.send("/queue/a", "x", receipt=True)
        assert len(broker.frames("BEGIN")) == 1


async def test_stalled_consumer_gets_no_more_than_its_mark() -> None:
    """Behind a stalled consumer the outbox fills up to its mark; the rest stays in the queue."""
    async with (
        in_trio(flow={"outbox-high": "64KiB", "outbox-low": "16KiB"}) as broker,
        connect_stream(broker.stream()) as client,
        client.subscribe("/queue/a") as messages,
    ):
        broker.faults.stall(to_broker=False)
        for _ in range(100):
            broker.put("/queue/a", "x" * 10_000)
        assert 80 <= len(broker.messages("/queue/a")) <= 95
        broker.faults.heal()
        for _ in range(100):
            await messages.receive()
        await broker.assert_empty("/queue/a")


@pytest.mark.parametrize("octets", [0, 1, 30])
async def test_cut_to_client(octets: int) -> None:
    """The client gets exactly so many octets more, then the end, though it be within a frame."""
    async with in_trio() as broker:
        broker.next_faults().cut(to_client=octets)
        stream = broker.stream()
        await stream.send_all(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        got = b""
        while data := await stream.receive_some():
            got += data
        assert len(got) == octets
        assert b"CONNECTED\nversion:1.2\nserver:stompd/".startswith(got[:30])
        assert broker.connections() == []
        await stream.aclose()
        async with connect_stream(broker.stream()) as client:
            await client.ping()


async def test_cut_to_broker() -> None:
    """The broker gets so many octets more: whole frames among them count, the half one does not."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        frame = b"SEND\ndestination:/queue/a\ncontent-type:text/plain\ncontent-length:1\n\nx\0"
        broker.connections()[0].faults.cut(to_broker=2 * len(frame) + 10)
        for _ in range(3):
            await client.send("/queue/a", "x")
        await lost(client)
        assert len(broker.messages("/queue/a")) == 2
        assert broker.connections() == []


async def test_cut_counts_for_each_connection() -> None:
    """What is said for all holds for each that comes, until it is healed."""
    async with in_trio() as broker:
        broker.faults.cut(to_broker=5)
        for _ in range(2):
            with pytest.raises((ConnectError, ConnectionLostError)):
                async with connect_stream(broker.stream()):
                    pass
        broker.faults.heal()
        async with connect_stream(broker.stream()) as client:
            await client.ping()
        with pytest.raises(ValueError, match="cannot cut after -1"):
            broker.faults.cut(to_client=-1)


async def test_blackhole(autojump_clock: MockClock) -> None:
    """Both sides learn of a dead line by nothing but missing heart-beats, each by itself."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(1000, 1000)) as client,
    ):
        (connection,) = broker.connections()
        connection.faults.blackhole()
        assert isinstance(await client.wait_ended(), HeartbeatError)
        await broker.wait_until(lambda: not connection.open)
        assert connection.reason == "heart-beat timeout"


async def test_blackhole_and_turned_clock(autojump_clock: MockClock) -> None:
    """A connection behind a black hole is silent although the test turns the clock."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(1000, 0)) as client,
        connect_stream(broker.stream(), heartbeat=(1000, 0)) as other,
    ):
        gone, left = broker.connections()
        gone.faults.blackhole()
        broker.clock.advance(60)
        await broker.wait_until(lambda: not gone.open)
        assert left.open
        await other.ping()
        with trio.move_on_after(0) as scope:
            await client.wait_ended()
        assert scope.cancelled_caught


async def test_half_open(autojump_clock: MockClock) -> None:
    """In one direction alone: the broker hears the client, which does not hear the broker."""
    async with in_trio() as broker, connect_stream(broker.stream(), heartbeat=(0, 0)) as client:
        broker.put("/queue/a", "lost in mode auto")
        broker.faults.blackhole(to_broker=False)
        with trio.move_on_after(1):
            await client.send("/queue/b", "x", receipt=True)
        assert len(broker.sent("/queue/b")) == 1
        with trio.move_on_after(1):
            await client.open_subscription("/queue/a")
        await broker.assert_empty("/queue/a")
        broker.faults.heal()
        assert await is_stuck(client)


async def test_an_end_behind_a_black_hole_is_not_seen(autojump_clock: MockClock) -> None:
    """A client that closes behind it is still connected for the broker."""
    async with in_trio() as broker:
        async with connect_stream(broker.stream(), heartbeat=(0, 0)):
            (connection,) = broker.connections()
            connection.faults.blackhole(to_client=False)
        await trio.sleep(1000)
        assert connection.open


# -- Frames ----------------------------------------------------------------------------------------


async def test_error_on() -> None:
    """The next frame of the command is answered by ERROR, has no effect, and then no more is."""
    async with in_trio() as broker:
        broker.faults.error_on("SEND", "disk full", "try later", destination="a")
        async with connect_stream(broker.stream()) as client:
            await client.send("/queue/b", "x", receipt=True)
            with pytest.raises(ConnectionLostError, match="disk full"):
                await client.send("/queue/a", "x", receipt=True)
        assert len(broker.messages("/queue/b")) == 1
        assert broker.sent("/queue/a") == []
        async with connect_stream(broker.stream()) as client:
            await client.send("/queue/a", "x", receipt=True)


async def test_error_on_connect() -> None:
    """A log-in can be refused, as often as the test says."""
    async with in_trio() as broker:
        broker.faults.error_on("CONNECT", "go away", times=2)
        for _ in range(2):
            with pytest.raises(RefusedError, match="go away"):
                async with connect_stream(broker.stream()):
                    pass
        async with connect_stream(broker.stream()):
            pass
        broker.faults.error_on("CONNECT", times=None)
        for _ in range(3):
            with pytest.raises(RefusedError, match="refused by the test"):
                async with connect_stream(broker.stream()):
                    pass
        with pytest.raises(ValueError, match="not a frame that clients send"):
            broker.faults.error_on("send")


@pytest.mark.parametrize("carried_out", [True, False])
async def test_drop_on(carried_out: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The connection breaks at the frame, which had its effect or had not; no receipt comes."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.connections()[0].faults.drop_on("SEND", carried_out=carried_out)
        with pytest.raises(ConnectionLostError):
            await client.send("/queue/a", "x", receipt=True)
        assert len(broker.messages("/queue/a")) == carried_out
        assert len(broker.sent("/queue/a")) == carried_out


async def test_withheld_receipts(autojump_clock: MockClock) -> None:
    """Frames have their effect, but their receipts come when the test releases them."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.faults.withhold_receipts()
        receipts = [await client.submit("/queue/a", "x") for _ in range(3)]
        await broker.expect_many("/queue/a", 3)
        with pytest.raises(trio.TooSlowError), trio.fail_after(10):
            await receipts[0].wait()
        broker.faults.release_receipts()
        for receipt in receipts:
            await receipt.wait()
        await client.ping()


async def test_faults_of_the_next_connections() -> None:
    """next_faults() are for one connection each, in their order; those for all hold beside."""
    async with in_trio() as broker:
        first = broker.next_faults()
        first.cut(to_broker=0)
        broker.next_faults().error_on("CONNECT", "second")
        with pytest.raises(
            (ConnectError, ConnectionLostError), match=r"reset|closed|lost|ended|broken"
        ):
            async with connect_stream(broker.stream()):
                pass
        with pytest.raises(RefusedError, match="second"):
            async with connect_stream(broker.stream()):
                pass
        async with connect_stream(broker.stream()) as client:
            await client.ping()


async def test_faults_of_one_connection_leave_the_others_alone(autojump_clock: MockClock) -> None:
    """A connection's own faults concern nobody else, not even who comes later."""
    async with in_trio() as broker, connect_stream(broker.stream()) as client:
        broker.connections()[0].faults.stall()
        async with connect_stream(broker.stream()) as other:
            await other.ping()
        broker.connections()[0].faults.heal()
        await client.ping()
