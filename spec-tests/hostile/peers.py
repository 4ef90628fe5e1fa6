"""What peers do that mean harm, and what proves that the others do not notice."""

from contextlib import suppress

import trio
from server.edge import PATIENCE, Edge
from web.asking import ask

DRIP = 0.02
"""Seconds between two octets of a peer that is never done."""

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def drip(stream: trio.SocketStream, first: bytes, rest: bytes) -> None:
    """Write ``first``, then octet by octet, the last one again and again, until that is refused."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(first)
        at = 0
        while rest:
            await trio.sleep(DRIP)
            await stream.send_all(rest[at : at + 1])
            at = min(at + 1, len(rest) - 1)


async def flood(stream: trio.SocketStream, octets: bytes) -> None:
    """Write the same again and again, until that is refused."""
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(octets)


async def end_of(stream: trio.SocketStream) -> bytes:
    """Return all that comes until the end, however it comes."""
    found = b""
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(65536):
            found += data
    return found


async def alive(edge: Edge) -> None:
    """Prove that requests and sessions are answered."""
    assert (await ask(edge, "GET", "/healthz")).status_code == 200
    peer = await edge.login()
    await peer.sync()
    await peer.close()


async def until_http_empty(edge: Edge) -> None:
    """Wait until no connection to the port for HTTP is left but that of the question."""
    alone = "\nstompd_http_connections 1.0\n"
    with trio.fail_after(PATIENCE):
        while alone not in (await ask(edge, "GET", "/metrics")).text:  # noqa: ASYNC110 - as `Edge.until`
            await trio.sleep(DRIP)
