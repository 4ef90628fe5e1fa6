"""Programs written with stompman, the asyncio client, against a running stompd."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine

import pytest
import stompman
from server.process import PATIENCE, Daemon, daemon


def client(port: int, **options: object) -> stompman.Client:
    """Return a client that logs in the way such programs do."""
    server = stompman.ConnectionParameters("127.0.0.1", port, login="admin", passcode="admin")
    patient = {
        "connect_timeout": round(PATIENCE),
        "connection_confirmation_timeout": round(PATIENCE),
        "disconnect_confirmation_timeout": round(PATIENCE),
    }
    return stompman.Client([server], **(patient | options))  # type: ignore[arg-type]


def run(program: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a program to its end, within bounds."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await program()

    asyncio.run(bounded())


def raise_it(error: Exception, _: stompman.MessageFrame) -> None:
    """Let a handler's exception be seen: stompman asks for such a function."""
    raise error


def test_a_producer_and_a_consumer(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Confirmed SENDs, a subscription whose handler's end is the ACK, unicode headers."""
    name = fresh()
    bodies: list[bytes] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handle(frame: stompman.MessageFrame) -> None:
            assert frame.headers["größe"] == "a:b\nc\\"  # type: ignore[typeddict-item]
            bodies.append(frame.body)
            if len(bodies) == 100:
                done.set()

        async with client(stompd.port) as consumer, client(stompd.port) as producer:
            subscription = await consumer.subscribe(
                name, handle, on_suppressed_exception=raise_it, receipt_timeout=PATIENCE
            )
            for number in range(100):
                await producer.send(
                    b"%d" % number,
                    name,
                    headers={"persistent": "true", "größe": "a:b\nc\\"},
                    receipt_timeout=PATIENCE if number % 10 == 0 else None,
                )
            await done.wait()
            await subscription.unsubscribe()

    run(program)
    assert bodies == [b"%d" % number for number in range(100)]
    with stompd.connect() as wire:
        wire.subscribe("s", name)
        wire.put(name, b"all were acknowledged")
        assert wire.expect_among("MESSAGE").body == b"all were acknowledged"


def test_manual_acknowledgement(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """NACK brings a message back, ACK settles it."""
    name = fresh()
    seen: list[tuple[bytes, str | None]] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handle(frame: stompman.AckableMessageFrame) -> None:
            headers = dict(frame.headers)
            redelivered = headers.get("redelivered")
            seen.append((frame.body, None if redelivered is None else str(redelivered)))
            if redelivered is None:
                await frame.nack()
            else:
                await frame.ack()
                done.set()

        async with client(stompd.port) as both:
            subscription = await both.subscribe_with_manual_ack(name, handle)
            await both.send(b"twice", name)
            await done.wait()
            await subscription.unsubscribe()

    run(program)
    assert seen == [(b"twice", None), (b"twice", "true")]


def test_a_handler_that_fails_does_not_lose_the_message(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """An exception is answered by NACK: after five attempts the message is a dead letter."""
    name = fresh()
    attempts: list[bytes] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handle(frame: stompman.MessageFrame) -> None:
            attempts.append(frame.body)
            raise ValueError("no way")

        async def bury(frame: stompman.MessageFrame) -> None:
            assert frame.body == b"poison"
            done.set()

        async with client(stompd.port) as both:
            dead = await both.subscribe(
                f"/queue/DLQ.{name.removeprefix('/queue/')}",
                bury,
                on_suppressed_exception=raise_it,
            )
            failing = await both.subscribe(
                name, handle, on_suppressed_exception=lambda _error, _frame: None
            )
            await both.send(b"poison", name)
            await done.wait()
            await failing.unsubscribe()
            await dead.unsubscribe()

    run(program)
    assert attempts == [b"poison"] * 5


class ChangedMyMindError(Exception):
    """What ends a transaction without a COMMIT."""


def test_transactions(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """What is sent in a block comes whole at its end; a block that fails sends nothing."""
    name = fresh()

    async def program() -> None:
        async with client(stompd.port) as producer:
            with contextlib.suppress(ChangedMyMindError):
                async with producer.begin() as transaction:
                    await transaction.send(b"lost", name)
                    raise ChangedMyMindError
            async with producer.begin() as transaction:
                for number in range(10):
                    await transaction.send(b"%d" % number, name)

    run(program)
    with stompd.connect() as wire:
        wire.subscribe("s", name)
        assert [frame.body for frame in wire.messages(10)] == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("size", [0, 65_536, 5_000_000])
def test_binary_and_large_bodies(size: int, stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Every octet comes back."""
    name = fresh()
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    got: list[bytes] = []

    async def program() -> None:
        done = asyncio.Event()

        async def handle(frame: stompman.MessageFrame) -> None:
            got.append(frame.body)
            done.set()

        async with client(stompd.port) as both:
            subscription = await both.subscribe(name, handle, on_suppressed_exception=raise_it)
            await both.send(body, name, content_type="application/octet-stream")
            await done.wait()
            await subscription.unsubscribe()

    run(program)
    assert got == [body]


@pytest.mark.slow
def test_heart_beats(stompd: Daemon) -> None:
    """With beats of a second both ways, an idle client considers the broker alive."""

    async def program() -> None:
        async with client(stompd.port, heartbeat=stompman.Heartbeat(1000, 1000)) as idle:
            for _ in range(5):
                await asyncio.sleep(0.8)
                assert idle.is_alive()
            await idle.send(b"x", "/queue/beat", receipt_timeout=PATIENCE)

    run(program)


def test_an_error_is_told(stompd: Daemon) -> None:
    """A SEND to a wildcard is answered by ERROR, which stompman hands to its user."""

    async def program() -> None:
        told: asyncio.Queue[stompman.ErrorFrame] = asyncio.Queue()
        async with client(stompd.port, on_error_frame=told.put_nowait) as both:
            await both.send(b"x", "/queue/*")
            frame = await told.get()
            assert frame.headers["message"]
            assert frame.body.endswith(b"\n")

    run(program)


@pytest.mark.slow
def test_a_consumer_reconnects_after_a_restart() -> None:
    """The client finds the broker again and renews its subscription."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    flags = ("--listen", f"127.0.0.1:{port}")

    async def program() -> None:
        got: asyncio.Queue[bytes] = asyncio.Queue()

        async def handle(frame: stompman.MessageFrame) -> None:
            got.put_nowait(frame.body)

        with daemon(*flags, port=False) as first:
            both = client(port, connect_retry_attempts=100)
            await both.__aenter__()
            subscription = await both.subscribe(
                "/queue/a", handle, on_suppressed_exception=raise_it
            )
            await both.send(b"before", "/queue/a")
            assert await got.get() == b"before"
            first.process.kill()
            await asyncio.to_thread(first.ended)

        def serve_again() -> None:
            with daemon(*flags, port=False) as second, second.connect() as wire:
                wire.put("/queue/a", b"after")
                ended.wait(PATIENCE)

        ended = threading.Event()
        serving = asyncio.create_task(asyncio.to_thread(serve_again))
        assert await got.get() == b"after"
        await subscription.unsubscribe()
        await both.__aexit__(None, None, None)
        ended.set()
        await serving

    run(program)
