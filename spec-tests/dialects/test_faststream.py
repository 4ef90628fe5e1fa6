"""What FastStream writes through stompman: handlers as subscriptions, answers by exceptions.

A subscriber is a manual acknowledgement in mode ``client-individual``; a handler that returns is an
ACK, and an exception, a "nack" and a "reject" are all a plain NACK. Destinations are bare words
joined from a router's prefix and a name. A publisher adds ``correlation-id`` and ``content-type``,
and asks for no receipt. Its liveness probe asks whether the server's heart-beats come.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import stompman
from server.process import PATIENCE, Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Handler = Callable[[stompman.AckableMessageFrame], Awaitable[None]]


class RejectedError(Exception):
    """What a handler raises: the message cannot be processed."""


@asynccontextmanager
async def broker(stompd: Daemon, *, prefix: str = "") -> "AsyncIterator[Broker]":
    """Connect in the block as ``StompBroker`` does; at its end unsubscribe, then disconnect."""
    server = stompman.ConnectionParameters("127.0.0.1", stompd.port, login="admin", passcode=":=")
    client = stompman.Client(
        [server],
        connect_timeout=round(PATIENCE),
        connection_confirmation_timeout=round(PATIENCE),
        disconnect_confirmation_timeout=round(PATIENCE),
    )
    async with client:
        running = Broker(client, prefix)
        try:
            yield running
        finally:
            for subscription in running.subscriptions:
                await subscription.unsubscribe()


class Broker:
    """The calls of stompman that ``StompBroker`` makes."""

    def __init__(self, client: stompman.Client, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.subscriptions: list[stompman.ManualAckSubscription] = []

    async def subscriber(
        self, destination: str, handler: Handler, headers: dict[str, str] | None = None
    ) -> None:
        """Have messages handled, and acknowledged as the handler ends."""

        async def consume(frame: stompman.AckableMessageFrame) -> None:
            try:
                await handler(frame)
            except RejectedError:
                await frame.nack()
            else:
                await frame.ack()

        self.subscriptions.append(
            await self.client.subscribe_with_manual_ack(
                destination=self.prefix + destination,
                handler=consume,
                ack="client-individual",
                headers=headers,
            )
        )

    async def publish(
        self, message: object, destination: str, *, correlation_id: str | None = None
    ) -> None:
        """SEND octets as they are, text as text/plain, and anything else as JSON."""
        content_type: str | None
        if isinstance(message, bytes):
            body, content_type = message, None
        elif isinstance(message, str):
            body, content_type = message.encode(), "text/plain"
        else:
            body, content_type = json.dumps(message).encode(), "application/json"
        headers = {"correlation-id": correlation_id} if correlation_id else {}
        await self.client.send(
            body, self.prefix + destination, content_type=content_type, headers=headers
        )


def run(program: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a program to its end, within bounds."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await program()

    asyncio.run(bounded())


def left(stompd: Daemon, queue: str) -> list[bytes]:
    """Take what waits in a queue."""
    with stompd.connect() as wire:
        wire.subscribe("s", queue)
        wire.put(queue, b"the last one")
        bodies = []
        while (body := wire.expect_among("MESSAGE").body) != b"the last one":
            bodies.append(body)
        return bodies


def test_a_message_is_handled(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Octets, text and JSON, with their content types and the id of the correlation."""
    name = fresh()
    seen: list[tuple[bytes, object, object]] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handler(frame: stompman.AckableMessageFrame) -> None:
            headers = dict(frame.headers)
            assert headers["message-id"]
            assert headers["destination"] == f"shop.{name}"
            seen.append((frame.body, headers.get("content-type"), headers.get("correlation-id")))
            if len(seen) == 3:
                done.set()

        async with broker(stompd, prefix="shop.") as app:
            await app.subscriber(name, handler)
            await app.publish(b"\0\xff", name, correlation_id="c:1")
            await app.publish("größer", name, correlation_id="c:2")
            await app.publish({"n": 1}, name)
            await done.wait()

    run(program)
    # Handlers run side by side: stompman promises no order.
    assert sorted(seen, key=str) == sorted(
        [
            (b"\0\xff", None, "c:1"),
            ("größer".encode(), "text/plain", "c:2"),
            (b'{"n": 1}', "application/json", None),
        ],
        key=str,
    )
    assert left(stompd, f"/queue/shop.{name}") == []


def test_what_a_handler_returns_is_published(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A chain of two queues in one program: the answer is sent before the message is ACKed."""
    first, second = fresh(), fresh()
    arrived: list[bytes] = []

    async def program() -> None:
        done = asyncio.Event()
        async with broker(stompd) as app:

            async def republish(frame: stompman.AckableMessageFrame) -> None:
                await app.publish(frame.body + b"!", second)

            async def finish(frame: stompman.AckableMessageFrame) -> None:
                arrived.append(frame.body)
                if len(arrived) == 50:
                    done.set()

            await app.subscriber(first, republish)
            await app.subscriber(second, finish)
            for number in range(50):
                await app.publish(b"%d" % number, first)
            await done.wait()

    run(program)
    assert sorted(arrived) == sorted(b"%d!" % number for number in range(50))
    assert left(stompd, first) == left(stompd, second) == []


def test_a_rejected_message_ends_among_the_dead_letters(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """A plain NACK five times over, then a handler of ``DLQ.`` and the name gets it.

    stompman drops any header with a colon that is not escaped: none may be lost here.
    """
    name = fresh()
    attempts: list[str | None] = []
    buried: list[dict[str, object]] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handler(frame: stompman.AckableMessageFrame) -> None:
            attempts.append(str(dict(frame.headers).get("delivery-count")))
            raise RejectedError

        async def bury(frame: stompman.AckableMessageFrame) -> None:
            buried.append(dict(frame.headers))
            done.set()

        async with broker(stompd) as app:
            await app.subscriber(f"DLQ.{name}", bury)
            await app.subscriber(name, handler)
            await app.publish("poison", name, correlation_id="a:b:c")
            await done.wait()

    run(program)
    assert attempts == ["None", "2", "3", "4", "5"]
    (headers,) = buried
    assert headers["original-destination"] == name
    assert headers["dead-letter-reason"] == "max-deliveries"
    assert headers["correlation-id"] == "a:b:c"
    assert str(headers["dead-letter-time"]).isdecimal()


def test_headers_of_a_subscriber_are_the_brokers(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """What ``headers`` of a subscriber says is in SUBSCRIBE: one message at a time, a selector."""
    name = fresh()
    running: list[str] = []
    peaks: list[int] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handler(frame: stompman.AckableMessageFrame) -> None:
            running.append(frame.headers["message-id"])
            peaks.append(len(running))
            await asyncio.sleep(0)
            running.remove(frame.headers["message-id"])
            if len(peaks) == 5:
                done.set()

        async with broker(stompd) as app:
            for number in range(10):
                await app.publish(b"x", name, correlation_id=("even", "odd")[number % 2])
            await app.subscriber(
                name,
                handler,
                {"activemq.prefetchSize": "1", "selector": "\"correlation-id\" = 'odd'"},
            )
            await done.wait()

    run(program)
    assert peaks == [1] * 5
    assert left(stompd, name) == [b"x"] * 5


def test_a_stop_gives_back_what_is_in_hand(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A stop unsubscribes first: what a handler had not finished goes back, and is not blamed."""
    name = fresh()

    async def program() -> None:
        begun = asyncio.Event()

        async def handler(_frame: stompman.AckableMessageFrame) -> None:
            begun.set()
            await app.subscriptions[0].unsubscribe()
            # Too late: stompman keeps this answer to itself.
            raise RejectedError

        async with broker(stompd) as app:
            await app.subscriber(name, handler)
            await app.publish(b"unfinished", name)
            await begun.wait()

    run(program)
    with stompd.connect() as wire:
        wire.subscribe("s", name)
        wire.expect("MESSAGE", "redelivered:true", "delivery-count:1", body=b"unfinished")


@pytest.mark.slow
def test_a_probe_sees_the_heart_beats(stompd: Daemon) -> None:
    """``ping`` asks whether something came within three periods of a second each."""

    async def program() -> None:
        async with broker(stompd) as app:
            assert app.client.is_alive()
            await asyncio.sleep(4)
            assert app.client.is_alive()

    run(program)
