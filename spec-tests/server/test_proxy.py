"""The PROXY protocol: who is believed, what both versions say, and what is refused."""

import socket
import struct

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from server.edge import CONNECT, PATIENCE, Edge, Peer, serving, settings

from stompd.server.proxy import ProxyHeaderError, parse_block, parse_line, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def block(command: int, family: int, data: bytes) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(data)) + data


IPV4 = socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4711, 80)
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::1")
    + struct.pack("!HH", 4711, 80)
)
# Behind the addresses there may be more, which does not matter here.
EXTRA = b"\x04\x00\x01x"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 61613\r\n", "203.0.113.7:4711"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 61613\r\n", "[2001:db8::7]:4711"),
        (block(0x21, 0x11, IPV4), "203.0.113.7:4711"),
        (block(0x21, 0x21, IPV6 + EXTRA), "[2001:db8::7]:4711"),
    ],
)
async def test_the_peer_is_the_one_that_a_proxy_names(header: bytes, name: str) -> None:
    """What follows the header in the same segment is STOMP, and served."""
    async with serving(settings(proxies=["127.0.0.0/8"])) as edge:
        peer = await (await edge.connect()).write(header)
        await peer.login()
        (connection,) = edge.service.connections.values()
        assert connection.peer == name
        assert connection.session.peer == name
        assert connection.address in name


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 x 1 2\r\n", block(0x20, 0, b"")]
)
async def test_a_proxy_that_speaks_for_itself_is_the_peer(header: bytes) -> None:
    """Health checks, and clients of a kind that has no address."""
    async with serving(settings(proxies=["127.0.0.1"])) as edge:
        peer = await (await edge.connect()).write(header)
        await peer.login()
        (connection,) = edge.service.connections.values()
        assert connection.peer.startswith("127.0.0.1:")


async def test_a_header_may_come_in_pieces() -> None:
    """Octet by octet, with the log-in right behind it."""
    async with serving(settings(proxies=["127.0.0.1"])) as edge:
        peer = await edge.connect()
        for octet in block(0x21, 0x11, IPV4):
            await peer.write(bytes([octet]))
        await peer.login()


async def _refused(edge: Edge, peer: Peer, reason: str) -> None:
    assert reason in (await edge.log.first("no connection"))["reason"]
    try:
        assert await peer.rest() == b""
    except trio.BrokenResourceError:
        # Closed with octets unread.
        pass
    assert not edge.service.connections


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"CONNECT\naccept-version:1.2\nhost:x\n\n\0", "was expected"),
        (b"PROXY " + b"x" * 200, "too long"),
        (b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n", "no address"),
        (block(0x21, 0x11, b"x" * 5000), "too long"),
        (block(0x31, 0x11, IPV4), "unknown"),
        (block(0x21, 0x11, IPV4[:-1]), "too short"),
    ],
)
async def test_a_proxy_without_a_good_header_is_not_served(said: bytes, reason: str) -> None:
    """Otherwise whoever reaches the proxy's address could choose whom to be."""
    async with serving(settings(proxies=["127.0.0.1"])) as edge:
        peer = await (await edge.connect()).write(said)
        await _refused(edge, peer, reason)


async def test_a_proxy_that_goes_away_or_says_nothing_is_let_go() -> None:
    """At its end, and when the time for the log-in is over."""
    given_settings = settings(proxies=["127.0.0.1"], timeouts={"login": "50ms"})
    async with serving(given_settings) as edge:
        peer = await (await edge.connect()).write("PROXY")
        await peer.half_close()
        await _refused(edge, peer, "went away")
    async with serving(given_settings) as edge:
        await _refused(edge, await edge.connect(), "within 0.05 s")


async def test_others_are_not_believed() -> None:
    """To a peer that is no proxy such a header is an unknown command."""
    async with serving(settings(proxies=["10.0.0.0/8"])) as edge:
        peer = await (await edge.connect()).write("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r⏎")
        await peer.fatal("unknown command")
        await (await edge.connect()).login()


@given(st.binary(max_size=120))
@example(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 99999\r\n")
@example(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 \xc2\xb2\r\n")
def test_any_line_names_a_client_or_is_refused(line: bytes) -> None:
    """There is no other error, whatever comes."""
    try:
        found = parse_line(line)
    except ProxyHeaderError:
        return
    assert found is None or 0 <= found[1] < 65536


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=60))
def test_any_block_names_a_client_or_is_refused(command: int, family: int, data: bytes) -> None:
    """There is no other error, whatever comes."""
    try:
        found = parse_block(command, family, data)
    except ProxyHeaderError:
        return
    assert found is None or 0 <= found[1] < 65536


async def test_not_an_octet_more_is_read() -> None:
    """What comes behind the header belongs to TLS or to STOMP."""
    for header in (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", block(0x21, 0x11, IPV4 + EXTRA)):
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.send(header + CONNECT.encode())
        with trio.fail_after(PATIENCE):
            assert await read_header(ours) is not None
        assert ours.recv(1000) == CONNECT.encode()
        ours.close()
        theirs.close()
