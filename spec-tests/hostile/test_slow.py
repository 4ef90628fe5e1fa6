"""Peers that take their time for ever: each is let go, and the others are served meanwhile.

How long they are waited for is set so short that a test which hangs proves the opposite.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from hostile.peers import DRIP, UPGRADE, alive, drip, end_of, flood, until_http_empty
from server.authority import Files, connect
from server.edge import PATIENCE, Edge, serving, settings, web
from web.asking import opened

PEERS = 30

POST = b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
# The longest answer that a small request has.
LONG = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
PING = b"\x89\xfd\0\0\0\0" + b"p" * 125


async def let_go(
    port: int, writes: Callable[[trio.SocketStream], Awaitable[None]], count: int = PEERS
) -> set[bytes]:
    """Open many connections that are written to so, and return what was answered before the end."""
    answers: set[bytes] = set()

    async def one() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(writes, stream)
            answers.add(await end_of(stream))
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return answers


@asynccontextmanager
async def meanwhile(served: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Have somebody served again and again while the block runs, and once at least.

    He has as little time as those who waste it, so on a loaded machine he may have to come again.
    """
    done = trio.Event()

    async def serve() -> None:
        times = 0
        with trio.fail_after(PATIENCE):
            while not (times and done.is_set()):
                with suppress(trio.BrokenResourceError, httpx.TransportError, AssertionError):
                    await served()
                    times += 1
                await trio.sleep(DRIP)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield
        finally:
            done.set()


# -- TLS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", b""),
        # A record of a handshake that announces 512 octets and holds what a client says first.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
        (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0"),
    ],
    ids=["silent", "begun", "an octet at a time"],
)
async def test_slow_loris_at_the_handshake(tmp_path: Path, first: bytes, rest: bytes) -> None:
    """Who never ends the handshake has the time for the log-in, and no more of it by writing."""
    files = Files(tmp_path)
    table = {"listen": ["127.0.0.1:0"], "certificate": str(files.certificate)}
    given = settings(tls=table, timeouts={"login": "300ms", "linger": "50ms"})
    async with serving(given) as edge:
        context = files.client()

        async def serve() -> None:
            peer = await connect(edge, context)
            try:
                await peer.login()
                await peer.sync()
            finally:
                await peer.close()

        port = edge.started.tls_ports[0]
        async with meanwhile(serve):
            assert await let_go(port, partial(drip, first=first, rest=rest)) == {b""}
        reasons = {entry["reason"] for entry in edge.log.of("no connection")}
        assert reasons == {"nothing was agreed within 0.3 s"}
        await edge.until_open(0)


async def test_slow_loris_behind_the_handshake(tmp_path: Path) -> None:
    """An encrypted CONNECT that never ends is one like any other."""
    files = Files(tmp_path)
    table = {"listen": ["127.0.0.1:0"], "certificate": str(files.certificate)}
    given = settings(tls=table, timeouts={"login": "2s", "linger": "50ms"})
    async with serving(given) as edge:
        peer = await connect(edge, files.client())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip, peer.stream, b"CONNECT\n", b"a")
            await peer.expect("ERROR", message="login timeout")
            nursery.cancel_scope.cancel()
        await peer.close()
        await edge.until_open(0)


# -- HTTP ------------------------------------------------------------------------------------------


async def never_read(edge: Edge, first: bytes, rest: bytes, *, wait: bool = False) -> None:
    """Have a few peers write to the port without end, and read nothing, until they are let go.

    With ``wait`` they read the begin of the answer to ``first``.
    """
    streams = []
    for _ in range(4):
        sock = trio.socket.socket()
        # Little is enough for stompd to wait.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await sock.connect(("127.0.0.1", edge.http_port))
        streams.append(trio.SocketStream(sock))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for stream in streams:
                await stream.send_all(first)
                if wait:
                    await stream.receive_some(100)
                nursery.start_soon(flood, stream, rest)
    for stream in streams:
        await stream.aclose()


@pytest.mark.parametrize(
    ("first", "rest", "answer"),
    [
        (b"", b"", b""),
        (b"", REQUEST + b"x", b""),
        (REQUEST + b"x-a: ", b"x", b""),
        (
            b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n{",
            b" ",
            b"408",
        ),
        (
            POST + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\n{\r\n5000\r\n ",
            b"408",
        ),
        (REQUEST + b"Content-Length: 9999\r\n\r\n", b" ", b"200"),
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n", b"x", b""),
    ],
    ids=["silent", "octets", "header", "body", "chunks", "unread body", "upgrade"],
)
async def test_slow_loris_at_http(first: bytes, rest: bytes, answer: bytes) -> None:
    """A head that never ends is cut off, and so is a body, after an answer that says why."""
    given = settings(http=web(idle="300ms"), timeouts={"login": "300ms", "linger": "100ms"})
    async with serving(given) as edge:
        async with meanwhile(partial(alive, edge)):
            answers = await let_go(edge.http_port, partial(drip, first=first, rest=rest))
        # Who goes on writing gets a reset, and that may overtake the answer.
        assert {told[:12] for told in answers} <= {b"", b"HTTP/1.1 " + answer}
        assert not edge.log.of("an http connection failed")


async def test_who_does_not_read_the_answer_is_let_go() -> None:
    """Requests without end whose answers are never read: they hold neither memory nor a place."""
    given = settings(http=web(idle="300ms"), timeouts={"linger": "100ms"})
    async with serving(given) as edge:
        await never_read(edge, b"", LONG * 100)
        await until_http_empty(edge)
        assert not edge.log.of("an http connection failed")


@pytest.mark.parametrize("wait", [True, False], ids=["answered", "at once"])
async def test_who_pings_and_never_reads_is_let_go(*, wait: bool) -> None:
    """A WebSocket whose session has ended is no more, though its peer takes nothing from it.

    Nor is one that pings before its handshake has been answered.
    """
    given = settings(http=web(), timeouts={"login": "300ms", "linger": "100ms"})
    async with serving(given) as edge:
        async with meanwhile(partial(alive, edge)):
            await never_read(edge, UPGRADE, PING * 500, wait=wait)
        await edge.until_open(0)
        await until_http_empty(edge)
        assert not edge.log.of("an http connection failed")


async def test_a_consumer_that_is_kicked_is_let_go_though_it_never_reads() -> None:
    """What waited to be written to it keeps no connection."""
    given = settings(http=web(), timeouts={"linger": "100ms"})
    async with serving(given) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        peer = await edge.login()
        for _ in range(20):
            await peer.put("/queue/a", b"x" * 1_000_000)
        (session, _) = edge.service.broker.sessions.values()
        await peer.ask("kick", connection=session.id)
        await edge.until_open(1)
        await until_http_empty(edge)
