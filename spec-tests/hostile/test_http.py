"""Octets at the port for HTTP that no honest client sends: they end their own connection alone."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hostile.peers import UPGRADE, alive, end_of, flood, until_http_empty
from server.edge import PATIENCE, Edge, serving, settings, web

from stompd.server.config import Settings

MASK = b"\0\0\0\0"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

CONNECT = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"


def given(**tables: object) -> Settings:
    """Return settings with HTTP, small messages, and little time to part."""
    timeouts = {"linger": "100ms", "login": "10s"}
    return settings(**{"http": web(**{"max-message": "64KiB"}), "timeouts": timeouts, **tables})


def frame(opcode: int, data: bytes = b"", *, final: bool = True, size: int | None = None) -> bytes:
    """Return a frame of a client, whose length may be a lie; it is masked by zeros."""
    size = len(data) if size is None else size
    first = bytes([opcode | (0x80 if final else 0)])
    if size < 126:
        return first + bytes([0x80 | size]) + MASK + data
    if size < 65536:
        return first + b"\xfe" + struct.pack("!H", size) + MASK + data
    return first + b"\xff" + struct.pack("!Q", size) + MASK + data


@asynccontextmanager
async def upgraded(edge: Edge) -> AsyncIterator[trio.SocketStream]:
    """Open a WebSocket."""
    stream = await trio.open_tcp_stream("127.0.0.1", edge.http_port)
    async with stream:
        await stream.send_all(UPGRADE)
        answer = b""
        with trio.fail_after(PATIENCE):
            while not answer.endswith(b"\r\n\r\n"):
                answer += await stream.receive_some(1)
        assert answer.startswith(b"HTTP/1.1 101 ")
        yield stream


def code_of(octets: bytes) -> int | None:
    """Return the code of the last frame if that closes a WebSocket."""
    at = octets.rfind(b"\x88\x02")
    return int.from_bytes(octets[at + 2 : at + 4], "big") if at >= 0 else None


async def unharmed(edge: Edge) -> None:
    """Prove that nothing is left of whoever came, and that others are served."""
    await edge.until_open(0)
    await until_http_empty(edge)
    await alive(edge)
    assert not edge.log.of("an http connection failed")
    assert "by a fault of stompd" not in str(edge.log)


# -- WebSocket -------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", frame(0, b"x" * 1000, final=False)),
        (frame(0, b"x" * 10, size=2**63 - 1, final=False), b"x" * 1000),
    ],
    ids=["fragments", "2^63"],
)
async def test_messages_without_end(opcode: int, first: bytes, rest: bytes) -> None:
    """They are refused when they are too large, not when they are there; in parts or announced."""
    async with serving(given()) as edge:
        async with upgraded(edge) as stream, trio.open_nursery() as nursery:
            begin = frame(opcode, b"x", final=False) + first
            if first:
                begin = bytes([opcode]) + first[1:]
            await stream.send_all(begin)
            nursery.start_soon(flood, stream, rest)
            told = await end_of(stream)
            nursery.cancel_scope.cancel()
        # Whoever goes on writing may get a reset that overtakes it.
        assert code_of(told) in {1009, None}
        await unharmed(edge)


async def test_a_message_of_nothing_without_end() -> None:
    """Fragments without an octet in them are no progress: the log-in has its time."""
    tables = {"timeouts": {"login": "300ms", "linger": "100ms"}}
    async with serving(given(**tables)) as edge:
        async with upgraded(edge) as stream, trio.open_nursery() as nursery:
            await stream.send_all(frame(BINARY, final=False))
            nursery.start_soon(flood, stream, frame(0, final=False) * 100)
            await end_of(stream)
            nursery.cancel_scope.cancel()
        await unharmed(edge)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x82\xff" + struct.pack("!Q", 2**63) + MASK,
        b"\x82\x05hello",
        b"\x82\x7f" + struct.pack("!Q", 2**62),
        frame(PING, b"x" * 126),
        frame(PONG, b"x" * 126),
        frame(CLOSE, b"\x03\xe8" + b"x" * 124),
        frame(PING, b"x", final=False),
        frame(CLOSE, b"x" * 2**16),
        frame(0, b"x"),
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        frame(BINARY | 0x40, b"a"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(CLOSE, b"\x00\x01"),
        frame(CLOSE, b"\x03\xe8\xff"),
        b"\x82\xfe\x00\x05" + MASK + b"hello",
    ],
    ids=[
        "2^63", "unmasked", "unmasked 2^62", "ping of 126", "pong of 126", "close of 126",
        "ping in parts", "close of 64 KiB", "nothing continued", "message in message",
        "compressed", "surrogate", "no code", "reason that is no text", "length in two octets",
    ],
)  # fmt: skip
async def test_frames_that_are_none(octets: bytes) -> None:
    """RFC 6455 says which they are; the session ends, and nothing of it is carried out."""
    async with serving(given()) as edge:
        async with upgraded(edge) as stream:
            await stream.send_all(frame(BINARY, CONNECT))
            await edge.until(lambda: any(s.version for s in edge.service.connections))
            await stream.send_all(octets)
            told = await end_of(stream)
        assert code_of(told) in {1002, 1007, None}
        await unharmed(edge)


async def test_a_flood_of_pings() -> None:
    """Each is answered while it is read, and who sends them works for others no less."""
    async with serving(given()) as edge:
        async with upgraded(edge) as stream, trio.open_nursery() as nursery:
            await stream.send_all(frame(BINARY, CONNECT))
            nursery.start_soon(flood, stream, frame(PING, b"p" * 125) * 20)
            pongs = 0
            with trio.fail_after(PATIENCE):
                while pongs < 2000:
                    pongs += (await stream.receive_some(65536)).count(b"p" * 125)
                    if not pongs % 100:
                        await alive(edge)
            nursery.cancel_scope.cancel()
        await unharmed(edge)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_close_in_mid_message(opcode: int) -> None:
    """What was not there as a whole is not carried out; what was, is."""
    sent = b"SEND\ndestination:/queue/a\n\n%s\0"
    async with serving(given()) as edge:
        async with upgraded(edge) as stream:
            await stream.send_all(
                frame(opcode, CONNECT + sent % b"whole")
                + frame(opcode, sent % b"half", final=False)
                + frame(CLOSE, b"\x03\xe8")
            )
            assert code_of(await end_of(stream)) == 1000
        await unharmed(edge)
        assert edge.depth("/queue/a") == 1
        assert await edge.take("/queue/a", 1) == [b"whole"]


async def test_no_compression() -> None:
    """A client that offers it is not agreed with: a few octets could stand for many."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:"
    async with serving(given()) as edge:
        stream = await trio.open_tcp_stream("127.0.0.1", edge.http_port)
        async with stream:
            await stream.send_all(UPGRADE.replace(b"Upgrade:", offer, 1))
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += await stream.receive_some(1)
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"extensions" not in answer.lower()
        await unharmed(edge)


# -- HTTP ------------------------------------------------------------------------------------------


async def test_requests_sent_ahead() -> None:
    """They are answered in their order, one after the other, and each once."""
    paths = ["/healthz", "/nothing", "/readyz", "/api/v1/nothing"]
    async with serving(given()) as edge:
        stream = await trio.open_tcp_stream("127.0.0.1", edge.http_port)
        async with stream:
            await stream.send_all(
                b"".join(GET.replace(b"/healthz", path.encode()) for path in paths * 20)
            )
            found = b""
            with trio.fail_after(PATIENCE):
                while found.count(b"HTTP/1.1 ") < 80:
                    found += await stream.receive_some(65536)
        codes = [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]]
        assert codes == [b"200", b"404", b"200", b"404"] * 20
        await unharmed(edge)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G" * 1_000_000,
        GET[:-2] + b"a: b\r\n" * 200_000 + b"\r\n",
        GET[:-2] + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n",
        GET[:-2] + b"a: b\r\n" + b" c\r\n" * 200_000 + b"\r\n",
        b"\r\n" * 500_000,
        POST + b"Content-Length: 99999999999999999999\r\n\r\n" + b"x" * 1_000_000,
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1_0\r\n\r\n0123456789",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 1_000_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 1_000_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200_000,
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 1000,
    ],
    ids=[
        "target", "method", "headers", "header", "folded", "blank lines", "length", "negative",
        "underscore", "chunk size", "chunk extension", "trailers", "gzip", "chunks", "http/2",
    ],
)  # fmt: skip
async def test_bombs_of_one_request(octets: bytes) -> None:
    """It is answered with 4xx at most, as soon as it is too large, and the connection ends."""
    async with serving(given(http=web(idle="2s", **{"max-message": "4KiB"}))) as edge:
        stream = await trio.open_tcp_stream("127.0.0.1", edge.http_port)
        async with stream, trio.open_nursery() as nursery:

            async def write() -> None:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(octets)

            nursery.start_soon(write)
            told = await end_of(stream)
            nursery.cancel_scope.cancel()
        assert told == b"" or told.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
        assert told.count(b"HTTP/1.1 ") <= 2
        await unharmed(edge)


async def test_no_upgrade_to_http_2() -> None:
    """Who asks for it is answered as if he had not."""
    ask = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with serving(given()) as edge:
        stream = await trio.open_tcp_stream("127.0.0.1", edge.http_port)
        async with stream:
            await stream.send_all(GET[:-2] + ask)
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 200 ")
        await unharmed(edge)
