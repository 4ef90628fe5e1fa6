"""Peers that mean harm, at each door of a real stompd: what they may cost is bounded.

After each of them an ordinary client is served. Nothing is timed: the limits are made so short that
a test which hangs proves the opposite.
"""

from contextlib import suppress

import pytest
import trio
from server.edge import Edge, serving, settings, web

MANY = 200


async def serves(edge: Edge) -> None:
    """Prove that an ordinary client is served."""
    peer = await edge.login()
    await peer.sync()
    await peer.close()


async def raw(port: int, octets: bytes) -> bytes:
    """Write octets to a port and return what comes until its end, or a second answer."""
    with trio.fail_after(20):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(octets)
            found = b""
            while found.count(b"HTTP/1.1 ") < 2 and (data := await stream.receive_some(65536)):
                found += data
            return found


async def test_slow_loris_at_stomp() -> None:
    """Who never finishes CONNECT is let go, and those who log in meanwhile are not kept out."""
    async with serving(settings(timeouts={"login": "200ms", "linger": "50ms"})) as edge:
        peers = [await edge.connect() for _ in range(20)]
        for peer in peers:
            await peer.write("CONNECT⏎accept-ver")
        await serves(edge)
        for peer in peers:
            await peer.rest()
        await edge.until_open(0)


async def test_flood_of_connections() -> None:
    """One connection more than the limit is told so and closed; room that is freed is used."""
    async with serving(settings(limits={"connections": 5}, timeouts={"linger": "50ms"})) as edge:
        peers = [await edge.login() for _ in range(5)]
        for _ in range(20):
            assert b"ERROR" in await (await edge.connect()).rest()
        # Those that were refused are held until they have had time to read why, and no longer.
        await edge.until_open(5)
        await peers[0].close()
        await edge.until_open(4)
        await serves(edge)


@pytest.mark.parametrize(
    "octets",
    [
        b"SEND\n" + b"x" * 200_000,
        b"SEND\n" + b"a:b\n" * 50_000,
        b"S" * 200_000,
        b"SEND\ndestination:/queue/a\ncontent-length:99999999999999999999\n\n",
        b"SEND\ndestination:/queue/a\ncontent-length:-1\n\n",
        b"SEND\ndestination:/queue/a\n\n" + b"x" * 2_000_000,
        b"SEND\ndestination:/queue/a\ncontent-length:1000000\n\n" + b"x" * 2_000_000,
    ],
    ids=["line", "headers", "command", "length", "negative", "endless", "announced"],
)
async def test_bombs_of_one_frame(octets: bytes) -> None:
    """A frame over a limit ends its own connection with ERROR, before it is there as a whole."""
    given = settings(limits={"body": "64KiB"}, timeouts={"linger": "50ms"})
    async with serving(given) as edge:
        peer = await edge.login()
        with suppress(trio.BrokenResourceError):
            # It may be closed before all of that is written.
            await peer.write(octets)
        frame = await peer.expect("ERROR")
        assert frame.text("message")
        await serves(edge)
        assert edge.depth("/queue/a") == 0


async def test_bombs_of_subscriptions_and_transactions() -> None:
    """What one connection may hold open is counted, and one more ends it."""
    given = settings(
        limits={"subscriptions": 50, "transactions": 5, "transaction-frames": 50},
        timeouts={"linger": "50ms"},
    )
    begun = "BEGIN⏎transaction:t⏎⏎^@"
    sent = "SEND⏎destination:/queue/a⏎transaction:t⏎⏎x^@"
    async with serving(given) as edge:
        for flood in (
            "".join(f"SUBSCRIBE⏎destination:/queue/{n}⏎id:{n}⏎⏎^@" for n in range(MANY)),
            "".join(f"BEGIN⏎transaction:{n}⏎⏎^@" for n in range(MANY)),
            begun + sent * MANY,
        ):
            peer = await edge.login()
            await peer.write(flood)
            await peer.expect("ERROR")
            await edge.until_open(0)
        await serves(edge)
        assert edge.depth("/queue/a") == 0


@pytest.mark.parametrize(
    "selector",
    [
        "(" * 5000 + "a = 1" + ")" * 5000,
        "NOT " * 3000 + "a = 1",
        "a LIKE '" + "%a" * 3000 + "'",
        "a IN (" + ",".join(f"'{n}'" for n in range(2000)) + ")",
        "-" * 5000 + "1 = 1",
    ],
    ids=["nested", "not", "like", "in", "signs"],
)
async def test_selector_bombs(selector: str) -> None:
    """A large selector is refused or works, and a message against it does not stop the broker."""
    async with serving(settings(timeouts={"linger": "50ms"})) as edge:
        peer = await edge.login()
        await peer.write(f"SUBSCRIBE⏎destination:/queue/s⏎id:s⏎receipt:s⏎selector:{selector}⏎⏎^@")
        assert (await peer.frame()).command in {b"RECEIPT", b"ERROR"}
        other = await edge.login()
        await other.write(f"SEND⏎destination:/queue/s⏎a:{'a' * 4000}b⏎⏎^@")
        await other.sync()
        await serves(edge)
        assert "by a fault of stompd" not in str(edge.log)


async def test_receipts_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that asks and never reads is not read from: what waits for it stays bounded.

    When stompd lets go of it, that is an end like others.
    """
    monkeypatch.setattr("stompd.server.connection._LOOK_EVERY", 0.02)
    given = settings(flow={"outbox-high": "32KiB", "outbox-low": "8KiB", "read-size": "64KiB"})
    frame = b"SEND\ndestination:/topic/x\nreceipt:" + b"r" * 4000 + b"\n\n\0"
    async with serving(given) as edge:
        peer = await edge.login(buffer=4096)
        (session,) = edge.service.connections
        outbox = session.outbox
        async with trio.open_nursery() as nursery:
            # More than the kernel holds for the two of them.
            nursery.start_soon(peer.stream.send_all, frame * 16_000)
            await edge.until(lambda: outbox.size > 32 * 1024)
            for _ in range(20):
                await serves(edge)
                # Sixteen times the mark, and the answers to one read.
                assert outbox.size < 16 * 32 * 1024 + 2 * 64 * 1024
            nursery.cancel_scope.cancel()
        edge.service.part()
        await edge.until(lambda: not edge.service.poller.others)
        await serves(edge)


@pytest.mark.parametrize("beat", ["1,1", "0,1", "999999999999,999999999999", "-1,5", "a,b", "1"])
async def test_heart_beat_games(beat: str) -> None:
    """Each value is agreed to or refused, and nobody else notices."""
    async with serving(settings(timeouts={"linger": "50ms"})) as edge:
        peer = await edge.connect()
        await peer.write(f"CONNECT⏎accept-version:1.2⏎host:x⏎heart-beat:{beat}⏎⏎^@")
        assert (await peer.frame()).command in {b"CONNECTED", b"ERROR"}
        await serves(edge)


@pytest.mark.parametrize(
    "request_",
    [
        (
            b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /metrics HTTP/1.1\r\nHost: evil\r\n\r\n"
        ),
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nx: " + b"x" * 500_000 + b"\r\n\r\n",
        b"\x16\x03\x01" + b"\0" * 500 + b"\r\n\r\n",
    ],
    ids=["smuggled", "two-lengths", "giant-header", "tls"],
)
async def test_http_that_is_none(request_: bytes) -> None:
    """A request that can be read in two ways is answered once at most, with 4xx, then closed."""
    async with serving(settings(http=web())) as edge:
        try:
            answer = await raw(edge.http_port, request_)
        except trio.BrokenResourceError:
            answer = b""
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert answer == b"" or b"stompd_" not in answer
        await serves(edge)
