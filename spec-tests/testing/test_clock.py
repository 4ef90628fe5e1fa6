"""The clock that tests turn: what takes time happens without waiting for it."""

import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import ConnectionLostError, connect_stream
from stompd.broker.broker import Broker
from stompd.broker.session import CloseReason
from stompd.testing import in_trio


async def test_what_is_due_is_done_at_its_time(mock_clock: MockClock) -> None:
    """advance() does everything that falls due, in its order and each at its own time."""
    async with in_trio() as broker:
        clock = broker.clock
        began = clock.now()
        times: list[float] = []

        def arrange(core: Broker) -> None:
            def again() -> None:
                times.append(core.now - began)
                core.at(core.now + 10, again)

            core.at(began + 5, again)

        broker.run_in_broker(arrange)
        clock.advance(5)
        assert times == pytest.approx([5])
        clock.advance(30)
        assert times == pytest.approx([5, 15, 25, 35])
        assert clock.now() - began >= 35
        assert "35 s ahead" in repr(clock)
        with pytest.raises(ValueError, match="turned back"):
            clock.advance(-1)


async def test_time_of_day() -> None:
    """time() is the broker's time of day: the real one, and what was added to it."""
    async with in_trio() as broker:
        assert abs(broker.clock.time() - time.time()) < 60
        broker.clock.advance(86_400)
        assert 86_300 < broker.clock.time() - time.time() < 86_500
        assert abs(broker.core.epoch_ms() / 1000 - broker.clock.time()) < 60


async def test_an_idle_queue_goes(mock_clock: MockClock) -> None:
    """A queue that is idle for as long as its policy says is gone when the clock was turned."""
    async with in_trio() as broker:
        broker.put("/queue/a", "x")
        async with connect_stream(broker.stream()) as client:
            async with client.subscribe("/queue/a") as messages:
                await messages.receive()
            await broker.wait_until(lambda: not broker.subscribers("/queue/a"))
        assert broker.counts("/queue/a").received == 1
        broker.clock.advance(299)
        assert broker.counts("/queue/a").received == 1
        broker.clock.advance(302)
        assert broker.counts("/queue/a").received == 0


async def test_messages_expire(mock_clock: MockClock) -> None:
    """A message with a time to live is gone when the clock was turned past it."""
    async with in_trio() as broker:
        broker.put("/queue/a", "short", headers={"ttl": "5000"})
        broker.put("/queue/a", "long", headers={"ttl": "60000"})
        broker.clock.advance(4)
        assert len(broker.messages("/queue/a")) == 2
        broker.clock.advance(2)
        assert [message.text for message in broker.messages("/queue/a")] == ["long"]
        assert broker.settled("/queue/a") == 0


async def test_messages_are_delayed(autojump_clock: MockClock) -> None:
    """A delayed message is seen as such, and waits when the clock was turned."""
    async with in_trio() as broker:
        broker.put("/queue/a", "later", headers={"delay": "3600000"})
        broker.put("/queue/a", "soon", headers={"delay": "1000"})
        assert broker.messages("/queue/a") == []
        soon, later = broker.delayed("/queue/a")
        assert (soon.text, soon.delay) == ("soon", 1)
        assert (later.text, later.delay) == ("later", 3600)
        assert broker.counts("/queue/a").delayed == 2
        assert broker.delayed("/queue/nothing") == []
        with pytest.raises(AssertionError, match=r'"later" due in 3\.6e'):
            await broker.assert_empty("/queue/a")
        assert [message.text for message in broker.messages("/queue/a")] == ["soon"]
        broker.clock.advance(3600)
        # Each takes the place that it would have had without the delay.
        assert [message.text for message in broker.messages("/queue/a")] == ["later", "soon"]


async def test_redelivery_and_dead_letters(mock_clock: MockClock) -> None:
    """What is refused with a delay comes again after it, and at last is a dead letter."""
    policy = [{"match": "/queue/a", "max-deliveries": 2}]
    async with (
        in_trio(policy=policy) as broker,
        connect_stream(broker.stream(), heartbeat=(0, 0)) as client,
        client.subscribe("/queue/a", ack="client-individual") as messages,
    ):
        broker.put("/queue/a", "x")
        message = await messages.receive()
        await message.nack(headers={"delay": "30000"}, receipt=True)
        broker.clock.advance(29)
        assert len(broker.delayed("/queue/a")) == 1
        broker.clock.advance(1)
        await (await messages.receive()).nack(receipt=True)
        (dead,) = broker.messages("/queue/DLQ.a")
        assert dead.headers["dead-letter-reason"] == "max-deliveries"
        assert broker.settled("/queue/a") == 0


async def test_turning_the_clock_leaves_connections_alone() -> None:
    """Clients with heart-beats count as heard from: their own clocks have not been turned."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(1000, 1000)) as client,
    ):
        broker.clock.advance(3600)
        broker.faults.delay(to_client=0.001, to_broker=0.001)
        broker.clock.advance(3600)
        await client.send("/queue/a", "still there", receipt=True)


async def test_silent_connections_are_given_up(mock_clock: MockClock) -> None:
    """With silent=True they were not heard from, and those with heart-beats are given up."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(1000, 0)) as client,
        connect_stream(broker.stream(), heartbeat=(0, 0)) as other,
    ):
        connection = broker.connections()[0]
        broker.clock.advance(2.5, silent=True)
        assert connection.session.reason is None
        broker.clock.advance(1, silent=True)
        assert connection.session.reason is CloseReason.HEARTBEAT_TIMEOUT
        with pytest.raises(ConnectionLostError, match="heart-beat timeout"):
            await client.send("/queue/a", "x", receipt=True)
        await other.send("/queue/a", "x", receipt=True)


async def test_a_client_that_never_logs_in_is_sent_away() -> None:
    """The log-in time runs on the same clock."""
    async with in_trio(timeouts={"login": "30s"}) as broker:
        stream = broker.stream()
        await wait_all_tasks_blocked()
        broker.clock.advance(31)
        assert b"login timeout" in await stream.receive_some()
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_both_clocks_go_together(autojump_clock: MockClock) -> None:
    """Under a mock clock the broker's time is the mock's, with what the test adds on top."""
    async with (
        in_trio() as broker,
        connect_stream(broker.stream(), heartbeat=(5000, 5000)) as client,
    ):
        began = broker.clock.now()
        await trio.sleep(600)
        assert broker.clock.now() - began == 600
        broker.clock.advance(10)
        assert broker.clock.now() - began == 610
        await client.send("/queue/a", "x", receipt=True)
        assert broker.clock.now() - began == 610


async def test_time_passes_by_itself(autojump_clock: MockClock) -> None:
    """What is due happens when its time has come, whether the clock was turned before or not."""
    async with in_trio() as broker:
        done: list[float] = []
        clock = broker.clock
        clock.advance(100)
        due = clock.now() + 7
        broker.run_in_broker(lambda core: core.at(due, lambda: done.append(clock.now())))
        await trio.sleep(6)
        assert done == []
        await trio.sleep(2)
        assert done == [due]


@given(
    ahead=st.floats(0, 1e6),
    start=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 1e5), max_size=5),
)
def test_rounding_does_not_stop_the_time(ahead: float, start: float, delays: list[float]) -> None:
    """However the numbers are rounded, what is due happens, by itself and when turned."""

    async def main() -> None:
        await trio.sleep(start)
        async with in_trio() as broker:
            clock = broker.clock
            clock.advance(ahead)
            done: list[float] = []

            def arrange(core: Broker) -> None:
                done.clear()
                for delay in delays:
                    core.at(clock.now() + delay, lambda: done.append(core.now))

            broker.run_in_broker(arrange)
            await broker.wait_until(lambda: len(done) == len(delays), timeout=1e6)
            broker.run_in_broker(arrange)
            clock.advance(1e5 + 1)
            assert len(done) == len(delays)

    trio.run(main, clock=MockClock(autojump_threshold=0))
