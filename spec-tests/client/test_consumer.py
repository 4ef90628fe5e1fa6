"""Consumers: outcome, concurrency, groups, and a graceful stop, seen from the wire."""

from collections.abc import Mapping
from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import (
    Client,
    ConnectionLostError,
    Message,
    RejectError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ClientFrame, Script, ScriptedBroker, on_dial, on_stream


class Feed:
    """A script that delivers these messages to each subscription, and keeps what it is told."""

    def __init__(self, *messages: tuple[str, str | None], server: str = "stompd/1") -> None:
        self.messages = messages
        self.server = server
        self.frames: list[ClientFrame] = []

    async def __call__(self, broker: ScriptedBroker) -> None:
        """Be the broker's side of one connection."""
        await broker.accept(headers={"server": self.server})
        while True:
            frame = await broker.next()
            self.frames.append(frame)
            if "receipt" in frame.headers:
                await broker.receipt(frame)
            if frame.command == "SUBSCRIBE":
                for text, group in self.messages:
                    headers = {} if group is None else {"message_group": group}
                    await broker.message(frame, text.encode(), message_id=text, **headers)
            if frame.command == "DISCONNECT":
                return

    def settled(self) -> list[tuple[str, str]]:
        """Return what was acknowledged and refused, in the order in which that came."""
        return [
            (frame.command, frame.headers["id"])
            for frame in self.frames
            if frame.command in ("ACK", "NACK")
        ]


def plain(*texts: str) -> Feed:
    """Return a feed of messages without a group."""
    return Feed(*((text, None) for text in texts))


async def test_outcome_settles() -> None:
    """A message is ACKed when its processing returns, NACKed when it raises; the rest follows."""
    feed = plain("1", "2", "3", "4")
    async with on_stream(feed) as stream, connect_stream(stream) as client:

        async def process(message: Message) -> None:
            await trio.lowlevel.checkpoint()
            if message.text == "2":
                raise ZeroDivisionError
            if message.text == "3":
                raise RejectError("no stock", requeue=False, delay=1.5)
            if message.text == "4":
                consumer.stop()

        async with client.consume("/queue/a", process) as consumer:
            await consumer.wait_stopped()
            assert "stopped" in repr(consumer)
        assert (consumer.processed, consumer.failed, consumer.stale) == (2, 2, 0)
    assert feed.settled() == [("ACK", "1"), ("NACK", "2"), ("NACK", "3"), ("ACK", "4")]
    rejected = next(frame for frame in feed.frames if frame.headers.get("id") == "3")
    assert rejected.headers == {
        "id": "3",
        "requeue": "false",
        "delay": "1500",
        "reason": "no stock",
    }
    assert feed.frames[0].headers["prefetch-count"] == "1"
    assert [frame.command for frame in feed.frames][-2:] == ["UNSUBSCRIBE", "DISCONNECT"]


async def test_rejection_in_another_dialect() -> None:
    """What the broker cannot be told of a rejection is left out."""
    feed = Feed(("1", None), server="RabbitMQ/3.10")

    async def process(message: Message) -> None:
        raise RejectError(message.text, requeue=False)

    async with on_stream(feed) as stream, connect_stream(stream) as client:
        async with client.consume("/queue/a", process) as consumer:
            await wait_all_tasks_blocked()
        assert consumer.failed == 1
    nack = next(frame for frame in feed.frames if frame.command == "NACK")
    assert nack.headers == {"id": "1", "requeue": "false"}


async def test_program_may_settle_by_itself() -> None:
    """What the processing has settled itself is left as it is; in auto mode nothing is settled."""
    feed = plain("1", "2")

    async def process(message: Message) -> None:
        if message.subscription.ack == "auto":
            if message.text == "2":
                raise ZeroDivisionError
            return
        await message.nack()
        if message.text == "2":
            raise ZeroDivisionError

    async with on_stream(feed) as stream, connect_stream(stream) as client:
        async with client.consume("/queue/a", process):
            await wait_all_tasks_blocked()
        async with client.consume("/queue/a", process, ack="auto") as consumer:
            await wait_all_tasks_blocked()
        assert (consumer.processed, consumer.failed) == (1, 1)
    assert feed.settled() == [("NACK", "1"), ("NACK", "2")]


async def test_concurrency(autojump_clock: MockClock) -> None:
    """So many messages are processed at a time, over all destinations, and so many are fetched."""
    assert autojump_clock.rate == 0
    feed = plain(*"abcdef")
    busy: list[int] = []

    async def process(_: Message) -> None:
        busy.append(consumer.busy)
        await trio.sleep(1)

    async with on_stream(feed) as stream, connect_stream(stream, heartbeat=(0, 0)) as client:
        started = trio.current_time()
        async with client.consume(["/queue/a", "/queue/b"], process, concurrency=3) as consumer:
            assert "at work" in repr(consumer)
            await trio.sleep(3.5)
            consumer.stop()
        assert trio.current_time() - started == 4
        assert consumer.processed == 12
    assert max(busy) == 3
    subscribes = [frame.headers for frame in feed.frames if frame.command == "SUBSCRIBE"]
    assert [headers["prefetch-count"] for headers in subscribes] == ["3", "3"]


async def test_groups_keep_their_order(autojump_clock: MockClock) -> None:
    """Messages of one group are processed one after the other, those of others beside them."""
    assert autojump_clock.rate == 0
    feed = Feed(("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a"), ("x", None), ("b2", "b"))
    log: list[tuple[float, str]] = []

    async def process(message: Message) -> None:
        await trio.sleep(1)
        log.append((trio.current_time() - started, message.text))
        if message.text == "a2":
            raise ZeroDivisionError

    async with on_stream(feed) as stream, connect_stream(stream, heartbeat=(0, 0)) as client:
        started = trio.current_time()
        async with client.consume("/queue/a", process, concurrency=5, prefetch=50):
            await trio.sleep(5)
    assert sorted(log) == [(1, "a1"), (1, "b1"), (1, "x"), (2, "a2"), (2, "b2"), (3, "a3")]
    assert feed.frames[0].headers["prefetch-count"] == "50"


async def test_graceful_stop(autojump_clock: MockClock) -> None:
    """After the stop what is being processed is finished and acknowledged; the rest goes back."""
    assert autojump_clock.rate == 0
    feed = Feed(("1", "g"), ("2", "g"), ("3", None), ("4", None), ("5", None))
    seen: list[str] = []

    async def process(message: Message) -> None:
        seen.append(message.text)
        await trio.sleep(10)

    async with on_stream(feed) as stream, connect_stream(stream, heartbeat=(0, 0)) as client:
        async with client.consume("/queue/a", process, concurrency=2):
            await trio.sleep(1)
        assert client.subscriptions == []
    assert sorted(seen) == ["1", "3"]
    assert sorted(feed.settled()) == [("ACK", "1"), ("ACK", "3")]
    commands = [frame.command for frame in feed.frames]
    assert commands == ["SUBSCRIBE", "ACK", "ACK", "UNSUBSCRIBE", "DISCONNECT"]


async def test_stop_without_grace(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not finished in time is cancelled and settled neither way: it goes back."""
    assert autojump_clock.rate == 0
    feed = plain("1")
    async with on_stream(feed) as stream, connect_stream(stream, heartbeat=(0, 0)) as client:

        async def process(_: Message) -> None:
            await trio.sleep_forever()

        started = trio.current_time()
        async with client.consume("/queue/a", process, grace=2):
            await trio.sleep(1)
        assert trio.current_time() - started == 3
    assert feed.settled() == []
    assert "still being processed 2 s after the stop" in caplog.text
    assert [frame.command for frame in feed.frames][-2:] == ["UNSUBSCRIBE", "DISCONNECT"]


async def test_block_that_raises_or_is_cancelled(autojump_clock: MockClock) -> None:
    """An exception of the block waits for what is being processed; being cancelled does not."""
    assert autojump_clock.rate == 0
    feed = plain("1")

    async def process(_: Message) -> None:
        await trio.sleep(5)

    async def fail(client: Client) -> None:
        async with client.consume("/queue/a", process):
            await trio.sleep(1)
            raise KeyError("boom")

    async with on_stream(feed) as stream, connect_stream(stream, heartbeat=(0, 0)) as client:
        with pytest.raises(KeyError, match="boom"):
            await fail(client)
        assert client.subscriptions == []
        await client.ping()
        assert feed.settled() == [("ACK", "1")]
        with trio.move_on_after(1) as scope:
            async with client.consume("/queue/a", process):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert client.subscriptions == []
    assert feed.settled() == [("ACK", "1")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": []}, "needs a destination"),
        ({"concurrency": 0}, "one message at a time"),
        ({"ack": "client"}, "use client-individual"),
        ({"prefetch": -1}, "must not be negative"),
    ],
)
async def test_what_cannot_be_consumed(arguments: dict[str, object], words: str) -> None:
    """What would not work is refused before anything is sent."""
    feed = plain()

    async def process(_: Message) -> None:
        await trio.lowlevel.checkpoint()

    async with on_stream(feed) as stream, connect_stream(stream) as client:
        with pytest.raises(UsageError, match=words):
            async with client.consume(
                **{"destination": "/queue/a", "process": process, **arguments}  # type: ignore[arg-type]
            ):
                pytest.fail("there is no consumer")
    assert [frame.command for frame in feed.frames] == ["DISCONNECT"]


async def test_1_0_has_no_nack() -> None:
    """A 1.0 session could not refuse a message, so only auto mode can be consumed."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept("1.0")
        await broker.serve_end()

    async def process(_: Message) -> None:
        await trio.lowlevel.checkpoint()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        with pytest.raises(UsageError, match=r"1\.0 has no NACK"):
            async with client.consume("/queue/a", process):
                pytest.fail("there is no consumer")


async def test_each_is_processed_in_its_own_trace(autojump_clock: MockClock) -> None:
    """What the tracing hook sets for a message is set while that message is processed."""
    assert autojump_clock.rate == 0
    span: ContextVar[str] = ContextVar("span", default="none")
    seen: list[tuple[str, str]] = []

    async def process(message: Message) -> None:
        await trio.sleep(1)
        seen.append((message.text, span.get()))

    def extract(headers: Mapping[str, str]) -> None:
        span.set(headers["message-id"])
        if headers["message-id"] == "bad":
            raise ZeroDivisionError

    feed = Feed(("a1", "a"), ("a2", "a"), ("b1", "b"), ("bad", None), ("a3", "a"), ("c1", None))
    async with (
        on_stream(feed) as stream,
        connect_stream(stream, heartbeat=(0, 0), extract=extract) as client,
        client.consume("/queue/a", process, concurrency=2, prefetch=9) as consumer,
    ):
        await trio.sleep(10)
        assert (consumer.processed, consumer.failed) == (5, 1)
    assert sorted(seen) == [(text, text) for text in ("a1", "a2", "a3", "b1", "c1")]


# The end of the session, and new connections.


async def test_session_that_ends_by_itself() -> None:
    """A lost connection lets processing finish, cancels the block, and is raised."""
    finished: list[str] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"1")
        await wait_all_tasks_blocked()

    async def process(message: Message) -> None:
        await client.wait_ended()
        finished.append(message.text)

    async with on_stream(script) as stream, connect_stream(stream) as client:
        with pytest.raises(ConnectionLostError, match="closed the connection"):
            async with client.consume("/queue/a", process) as consumer:
                await trio.sleep_forever()
        assert finished == ["1"]
        assert (consumer.processed, consumer.stale) == (0, 1)


async def test_program_that_ends_the_session() -> None:
    """disconnect() ends a consumer quietly."""
    async with on_stream(plain("1")) as stream, connect_stream(stream) as client:

        async def process(_: Message) -> None:
            await client.disconnect()

        async with client.consume("/queue/a", process) as consumer:
            await consumer.wait_stopped()
        assert client.confirmed


def losing(feed: Feed, *texts: str) -> Script:
    """Return a script that delivers these, waits until all is quiet, and breaks off."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for text in texts:
            await broker.message(subscription, text.encode(), message_id=text)
        await trio.sleep(1)
        feed.frames.append(subscription)

    return script


async def test_new_connection(autojump_clock: MockClock) -> None:
    """A consumer goes on with a new connection; what was under way is stale, and comes again."""
    assert autojump_clock.rate == 0
    feed = plain("b1", "b2")
    seen: list[str] = []
    async with (
        on_dial(losing(feed, "a1", "a2", "a3"), feed) as dial,
        connect("stomp://a", dial=dial, reconnect=True, heartbeat=(0, 0)) as client,
    ):

        async def process(message: Message) -> None:
            seen.append(message.text)
            await trio.sleep(3)
            if message.text == "a1":
                raise ZeroDivisionError
            if message.text == "b2":
                consumer.stop()

        async with client.consume("/queue/a", process, concurrency=1) as consumer:
            await consumer.wait_stopped()
        # a1 was being processed, and a2 waited for its turn, when the connection broke.
        assert (consumer.processed, consumer.failed, consumer.stale) == (2, 1, 2)
    assert seen == ["a1", "b1", "b2"]
    assert feed.settled() == [("ACK", "b1"), ("ACK", "b2")]
