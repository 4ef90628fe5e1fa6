"""The transport under a test's broker: peers that leave, that do not read, that break the rules."""

import socket
import struct

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import connect_stream
from stompd.testing import MemoryStream, TrioBroker, in_trio

CONNECT = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0"
SEND = b"SEND\ndestination:/queue/a\n\nx\0"
SUBSCRIBE = b"SUBSCRIBE\ndestination:/queue/a\nid:1\n\n\0"


async def rest(stream: MemoryStream) -> bytes:
    """Read to the end."""
    got = b""
    while data := await stream.receive_some():
        got += data
    return got


async def emptied(broker: TrioBroker) -> None:
    """Wait until nobody is connected."""
    await broker.wait_until(lambda: not broker.connections())


# -- What clients do -------------------------------------------------------------------------------


async def test_a_client_that_breaks_the_protocol() -> None:
    """It gets the ERROR that stompd would send, then the end; good frames before count."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + SEND + b"SEND\nnothing\n\n\0")
        assert b"\nERROR\n" in await rest(stream)
        assert len(broker.messages("/queue/a")) == 1
        await stream.aclose()
        await emptied(broker)


async def test_a_client_that_ends_its_direction() -> None:
    """It still gets what answers its last frames."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + b"BEGIN\ntransaction:t\nreceipt:r\n\n\0")
        await stream.send_eof()
        assert b"receipt-id:r" in await rest(stream)
        await emptied(broker)
        await stream.aclose()


async def test_a_person_at_a_terminal() -> None:
    """Telnet's questions are answered, as the daemon does."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(b"\xff\xfd\x06")
        assert await stream.receive_some() == b"\xff\xfc\x06"
        await stream.aclose()


async def test_a_peer_that_resets() -> None:
    """A reset ends the connection at once, behind the frames that came before it."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + SEND)
        stream.reset()
        await emptied(broker)
        assert len(broker.messages("/queue/a")) == 1
        port = broker.listen()
        tcp = await trio.open_tcp_stream("127.0.0.1", port)
        await tcp.send_all(CONNECT)
        await broker.wait_for_connection()
        tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await tcp.aclose()
        await emptied(broker)


async def test_a_consumer_that_leaves_while_it_is_written_to() -> None:
    """What could not be written goes back to its queue."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + SUBSCRIBE)
        await broker.wait_for_subscriber("/queue/a")
        for _ in range(100):
            broker.put("/queue/a", "x" * 10_000)
        await wait_all_tasks_blocked()
        await stream.aclose()
        await emptied(broker)
        assert 50 < len(broker.messages("/queue/a")) < 100
        assert broker.unsettled("/queue/a") == 0


async def test_a_client_that_does_not_read_its_error(autojump_clock: MockClock) -> None:
    """It is waited for so long, and then the connection is closed."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + SUBSCRIBE)
        await broker.wait_for_subscriber("/queue/a")
        for _ in range(100):
            broker.put("/queue/a", "x" * 10_000)
        broker.connections()[0].fail("enough")
        with trio.fail_after(10):
            await emptied(broker)
        assert b"ERROR" not in await rest(stream)
        await stream.aclose()


# -- Pacing ----------------------------------------------------------------------------------------

FULL = [{"match": "/queue/a", "max-messages": 2}]


async def test_a_producer_is_paced_by_a_full_queue(autojump_clock: MockClock) -> None:
    """A queue with overflow `block` is not read for; when there is room, the producer goes on."""
    async with in_trio(policy=FULL) as broker, connect_stream(broker.stream()) as client:
        for _ in range(3):
            await client.send("/queue/a", "x")
        with trio.move_on_after(10) as scope:
            await client.ping()
        assert scope.cancelled_caught
        async with (
            connect_stream(broker.stream()) as other,
            other.subscribe("/queue/a") as messages,
        ):
            for _ in range(3):
                await messages.receive()
            await client.ping()


@pytest.mark.slow
async def test_a_paced_producer_cannot_write_for_ever(autojump_clock: MockClock) -> None:
    """While it is not read for, its writes come to wait; they go on when there is room."""
    async with in_trio(policy=FULL) as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT)
        with trio.move_on_after(10) as scope:
            await stream.send_all(30_000 * SEND)
        assert scope.cancelled_caught
        broker.put("/topic/other", "x")
        await stream.aclose()
        # What was written is carried out over the mark, since its sender has left.
        await broker.wait_until(lambda: not broker.connections(), timeout=60)
        assert 10_000 < len(broker.sent("/queue/a")) < 30_000


@pytest.mark.slow
async def test_a_paced_producer_over_tcp_that_leaves() -> None:
    """That it has left is seen although nothing is read from it."""
    async with in_trio(policy=FULL) as broker:
        tcp = await trio.open_tcp_stream("127.0.0.1", broker.listen())
        # More than the broker takes in, so that it stops reading before it comes to the end.
        with trio.move_on_after(0.2):
            await tcp.send_all(CONNECT + 20_000 * SEND)
        await broker.expect_many("/queue/a", 3)
        await tcp.aclose()
        await broker.wait_until(lambda: not broker.connections(), timeout=30)
        assert len(broker.sent("/queue/a")) > 9_000


async def test_a_long_turn_lets_others_go_on() -> None:
    """A session over its work budget goes on after the others had their turn."""
    async with (
        in_trio(flow={"work-budget": 1}) as broker,
        connect_stream(broker.stream()) as client,
        client.subscribe("/topic/t") as messages,
    ):
        for number in range(20):
            await client.send("/topic/t", str(number))
        for number in range(20):
            assert (await messages.receive()).text == str(number)


async def test_memory_streams_pace_a_broker_that_is_not_read() -> None:
    """A memory stream holds so much, like a socket; the rest waits until the client reads."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT + SUBSCRIBE)
        await broker.wait_for_subscriber("/queue/a")
        for _ in range(200):
            broker.put("/queue/a", "x" * 10_000)
        await wait_all_tasks_blocked()
        assert broker.counts("/queue/a").waiting > 50
        octets = 0
        while octets < 2_000_000:
            octets += len(await stream.receive_some())
        await broker.assert_empty("/queue/a")
        await stream.aclose()


# -- Faults at odd moments -------------------------------------------------------------------------


async def test_octets_under_way_when_the_line_dies(autojump_clock: MockClock) -> None:
    """What is delayed when the black hole opens is lost, too."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(0, 0)) as client,
    ):
        broker.faults.delay(to_broker=10)
        await client.send("/queue/a", "x")
        await trio.sleep(5)
        broker.faults.blackhole()
        await trio.sleep(60)
        assert broker.sent() == []


async def test_an_end_that_nobody_hears(autojump_clock: MockClock) -> None:
    """A session that ends behind a black hole ends for the broker alone."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT)
        connection = await broker.wait_for_connection()
        assert (await stream.receive_some()).startswith(b"CONNECTED")
        connection.faults.blackhole()
        connection.fail("out of cheese")
        await broker.wait_until(lambda: not connection.open)
        with trio.move_on_after(1000) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        await stream.aclose()


async def test_an_error_behind_a_stall_comes_when_it_is_over(autojump_clock: MockClock) -> None:
    """The last words wait for as long as the stall lasts, however long that is."""
    async with in_trio() as broker:
        stream = broker.stream()
        await stream.send_all(CONNECT)
        connection = await broker.wait_for_connection()
        connection.faults.stall(to_broker=False)
        connection.fail("out of cheese")
        await trio.sleep(1000)
        assert connection.open
        connection.faults.heal()
        assert b"out of cheese" in await rest(stream)
        await stream.aclose()


async def test_receipts_withheld_beyond_the_end() -> None:
    """Frames that ask for no receipt are not touched; what is released too late goes nowhere."""
    async with in_trio() as broker:
        broker.faults.withhold_receipts()
        stream = broker.stream()
        await stream.send_all(CONNECT + SEND + b"DISCONNECT\nreceipt:r\n\n\0")
        await broker.expect("/queue/a")
        answer = await rest(stream)
        assert answer.startswith(b"CONNECTED")
        assert b"RECEIPT" not in answer
        (connection,) = broker.connections()
        broker.faults.release_receipts()
        await stream.aclose()
        await emptied(broker)
        assert connection.reason == "disconnect"


@pytest.mark.parametrize("command", ["DISCONNECT", "SEND"])
async def test_frames_behind_the_last_one_have_no_effect(command: str) -> None:
    """With rules in force, too, nothing is carried out behind DISCONNECT or a fault."""
    async with in_trio() as broker:
        broker.faults.drop_on("ABORT")
        stream = broker.stream()
        last = {"DISCONNECT": b"DISCONNECT\n\n\0", "SEND": b"SEND\nnothing\n\n\0"}[command]
        await stream.send_all(CONNECT + SEND + last + SEND)
        await rest(stream)
        assert len(broker.sent()) == 1
        assert len(broker.messages("/queue/a")) == 1
        await stream.aclose()
