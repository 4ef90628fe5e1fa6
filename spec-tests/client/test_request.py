"""Requests and their replies, seen from the wire."""

import pytest
import trio
from trio.testing import MockClock

from stompcli.client import (
    BrokerError,
    ConnectionLostError,
    Message,
    TimedOutError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ClientFrame, Script, ScriptedBroker, on_dial, on_stream


async def answer(broker: ScriptedBroker, request: ClientFrame, body: bytes) -> None:
    """Send a reply to a request, as a broker would bring it."""
    queue = request.headers["reply-to"]
    headers = {
        "subscription": queue,
        "message-id": f"m-{body.decode()}",
        "destination": queue,
        "correlation-id": request.headers["correlation-id"],
    }
    await broker.send("MESSAGE", headers, body)


def answering(frames: list[ClientFrame], *answers: bytes, server: str = "stompd/1") -> Script:
    """Return a script that answers each request so; it confirms, and keeps all frames."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": server})
        while True:
            frame = await broker.next()
            frames.append(frame)
            if "receipt" in frame.headers:
                await broker.receipt(frame)
            if frame.command == "SEND":
                for body in answers:
                    await answer(broker, frame, body or frame.body)
            if frame.command == "DISCONNECT":
                return

    return script


async def test_request() -> None:
    """The first request subscribes to a temporary queue; each names it, and an id of its own."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(answering(frames, b"")) as stream,
        connect_stream(stream) as client,
    ):
        one = await client.request("/queue/a", "1", headers={"k": "v"}, persistent=True)
        two = await client.request("/queue/a", b"2", content_type="text/x")
        assert (one.body, two.body) == (b"1", b"2")
        assert client.subscriptions == []
    commands = [frame.command for frame in frames]
    assert commands == ["SUBSCRIBE", "SEND", "SEND", "DISCONNECT"]
    queue = frames[0].headers["destination"]
    assert queue.startswith("/temp-queue/")
    assert frames[0].headers["id"] == queue
    assert [frame.headers["reply-to"] for frame in frames[1:3]] == [queue, queue]
    assert frames[1].headers["correlation-id"] != frames[2].headers["correlation-id"]
    assert (frames[1].headers["k"], frames[1].headers["persistent"]) == ("v", "true")
    assert frames[2].headers["content-type"] == "text/x"


async def test_rabbitmq_subscribes_by_itself() -> None:
    """RabbitMQ refuses SUBSCRIBE to a temporary queue: naming it in reply-to makes it."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(answering(frames, b"", server="RabbitMQ/3.10")) as stream,
        connect_stream(stream) as client,
    ):
        assert (await client.request("/queue/a", "1")).body == b"1"
    assert [frame.command for frame in frames] == ["SEND", "DISCONNECT"]


async def test_many_in_flight() -> None:
    """Replies come in any order; each goes to the request that it answers."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        frames = [await broker.expect("SEND") for _ in range(10)]
        for frame in reversed(frames):
            await answer(broker, frame, frame.body)
        await broker.serve_end()

    got: dict[str, bytes] = {}
    async with on_stream(script) as stream, connect_stream(stream) as client:

        async def ask(text: str) -> None:
            got[text] = (await client.request("/queue/a", text)).body

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(ask, str(n))
    assert got == {str(n): str(n).encode() for n in range(10)}


async def test_late_reply_is_dropped(autojump_clock: MockClock) -> None:
    """A request without a reply in time is a TimedOutError; a later reply is dropped."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        frame = await broker.expect("SEND")
        await trio.sleep(10)
        await answer(broker, frame, b"late")
        await answer(broker, await broker.expect("SEND"), b"quick")
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream, heartbeat=(0, 0)) as client,
    ):
        with pytest.raises(TimedOutError, match="no reply from /queue/a within 5 s"):
            await client.request("/queue/a", "1", timeout=5)
        await trio.sleep(6)
        assert client.counters.messages_dropped == 1
        assert (await client.request("/queue/a", "2", timeout=None)).body == b"quick"
        assert client._waiting_messages == 0  # noqa: SLF001 - nothing is left of the late one


async def test_several_replies() -> None:
    """There are as many replies as wished; what comes after is dropped."""
    frames: list[ClientFrame] = []
    async with (
        on_stream(answering(frames, b"a", b"b", b"c")) as stream,
        connect_stream(stream) as client,
    ):
        async with client.request_many("/topic/a", "?", replies=2) as replies:
            assert [reply.body async for reply in replies] == [b"a", b"b"]
        await client.ping()
        assert client.counters.messages_received == 3
        assert client._waiting_messages == 0  # noqa: SLF001 - nothing waits for nobody


async def test_several_replies_in_time(autojump_clock: MockClock) -> None:
    """Without a number all replies in time count; with one, too few are a TimedOutError."""
    assert autojump_clock.rate == 0
    frames: list[ClientFrame] = []
    async with (
        on_stream(answering(frames, b"a", b"b")) as stream,
        connect_stream(stream, heartbeat=(0, 0)) as client,
    ):
        started = trio.current_time()
        async with client.request_many("/topic/a", "?", timeout=3) as replies:
            assert [reply.body async for reply in replies] == [b"a", b"b"]
        assert trio.current_time() == started + 3
        async with client.request_many("/topic/a", "?", replies=3, timeout=3) as replies:
            with pytest.raises(TimedOutError, match="2 of 3 replies within 3 s"):
                [reply async for reply in replies]


async def test_replies_behind_full_buffers() -> None:
    """A reply that stands behind messages that nobody takes is found, as a receipt would be."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        await broker.subscribed()
        frame = await broker.expect("SEND")
        for n in range(50):
            await broker.message(subscription, str(n).encode())
        await answer(broker, frame, b"x")
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream, buffer_messages=10) as client,
        client.subscribe("/queue/b"),
    ):
        assert (await client.request("/queue/a")).body == b"x"


async def test_refused_request() -> None:
    """A request that the broker refuses raises its words."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        frame = await broker.expect("SEND")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no"})
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        with pytest.raises(BrokerError, match="no"):
            await client.request("/queue/a")


async def test_reserved_headers() -> None:
    """What a request writes itself cannot be given."""
    frames: list[ClientFrame] = []
    async with on_stream(answering(frames)) as stream, connect_stream(stream) as client:
        with pytest.raises(UsageError, match='"reply-to" is written'):
            await client.request("/queue/a", headers={"reply-to": "/queue/b"})
        with pytest.raises(UsageError, match='"correlation-id" is written'):
            async with client.request_many("/queue/a", headers=[("correlation-id", "1")]):
                pytest.fail("there is no request")


async def test_reply() -> None:
    """The reply goes where the request says, with its correlation-id if it has one."""
    frames: list[ClientFrame] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        await broker.message(subscription, b"1", reply_to="/queue/r", correlation_id="7")
        await broker.message(subscription, b"2", reply_to="/queue/r")
        await broker.message(subscription, b"3")
        frames.extend([await broker.expect("SEND") for _ in range(2)])
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as messages,
    ):
        await client.reply(await messages.receive(), "one", headers={"k": "v"})
        await client.reply(await messages.receive(), "two")
        with pytest.raises(UsageError, match="wants no reply"):
            await client.reply(await messages.receive(), "three")
    assert [frame.headers.get("correlation-id") for frame in frames] == ["7", None]
    assert [frame.headers["destination"] for frame in frames] == ["/queue/r", "/queue/r"]
    assert frames[0].headers["k"] == "v"


async def test_extract_sees_replies() -> None:
    """Replies are messages as well: the tracing hook sees their headers."""
    seen: list[str] = []
    async with (
        on_stream(answering([], b"x")) as stream,
        connect_stream(
            stream, extract=lambda headers: seen.append(headers["message-id"])
        ) as client,
    ):
        await client.request("/queue/a")
    assert seen == ["m-x"]


# Lost connections.


async def silent(broker: ScriptedBroker) -> None:
    """Take a request, confirm it, and break off."""
    await broker.accept()
    await broker.subscribed()
    await broker.receipt(await broker.expect("SEND"))


async def test_reply_is_lost_with_the_connection(autojump_clock: MockClock) -> None:
    """A request whose connection breaks raises: it may have been carried out; the next works."""
    assert autojump_clock.rate == 0
    frames: list[ClientFrame] = []
    async with (
        on_dial(silent, answering(frames, b"")) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
    ):
        with pytest.raises(ConnectionLostError, match="may have been carried out"):
            await client.request("/queue/a", "1")
        assert (await client.request("/queue/a", "2")).body == b"2"
    assert [(frame.command, frame.body) for frame in frames] == [
        ("SUBSCRIBE", b""),
        ("SEND", b"2"),
        ("DISCONNECT", b""),
    ]


async def test_request_is_sent_again(autojump_clock: MockClock) -> None:
    """With resend=True it is sent again, marked, and the reply is that of the second time."""
    assert autojump_clock.rate == 0
    frames: list[ClientFrame] = []
    async with (
        on_dial(silent, silent, answering(frames, b"")) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
    ):
        assert (await client.request("/queue/a", "1", resend=True)).body == b"1"
    assert frames[1].headers["possible-duplicate"] == "true"


async def test_request_when_the_session_ends() -> None:
    """Without a new connection a request raises why the session ended, resend or not."""
    for resend in (False, True):
        async with on_dial(silent) as dial, connect("stomp://a", dial=dial) as client:
            with pytest.raises(ConnectionLostError, match="closed the connection"):
                await client.request("/queue/a", "1", resend=resend)


async def test_queue_refused_later(autojump_clock: MockClock) -> None:
    """If a new connection is refused the queue of replies, requests raise that, once."""
    assert autojump_clock.rate == 0

    async def refusing(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SUBSCRIBE")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no"})
        while await broker.read():
            pass

    got: list[Message] = []
    async with (
        on_dial(silent, refusing, answering([], b"x")) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
    ):
        with pytest.raises(BrokerError, match="no"):
            await client.request("/queue/a", "1", resend=True)
        got.append(await client.request("/queue/a", "2"))
    assert got[0].body == b"x"


async def test_refused_request_is_not_sent_again(autojump_clock: MockClock) -> None:
    """A request that the broker refuses raises that, resend or not; others are sent again."""
    assert autojump_clock.rate == 0

    async def first(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        frames = [await broker.expect("SEND") for _ in range(2)]
        bad = next(frame for frame in frames if frame.body == b"bad")
        await broker.send("ERROR", {"receipt-id": bad.headers["receipt"], "message": "no"})
        await broker.expect_end()

    got: list[bytes] = []

    async def ask(body: str) -> None:
        got.append((await client.request("/queue/a", body, resend=True)).body)

    async with (
        on_dial(first, answering([], b"")) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, "good")
        with pytest.raises(BrokerError, match="no"):
            await client.request("/queue/a", "bad", resend=True)
    assert got == [b"good"]
