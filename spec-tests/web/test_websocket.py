"""STOMP over WebSocket, by a client that is not ours."""

import json
from typing import Any

import pytest
import trio
import websocket
from server.edge import serving, settings, web
from web.asking import CONNECT, Socket, opened

TEXT = websocket.ABNF.OPCODE_TEXT
BINARY = websocket.ABNF.OPCODE_BINARY


def here(**keys: object) -> Any:  # noqa: ANN401 - as `settings` returns it
    """Return settings with HTTP on a free port."""
    limits = keys.pop("tables", {})
    return settings(http=web(**keys), **limits)  # type: ignore[arg-type] # they are tables


async def test_a_session_over_websocket_is_one_like_any_other() -> None:
    """What is sent over TCP comes by WebSocket and the other way, with the peer's own address."""
    async with serving(here()) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        assert await sock.text() == "RECEIPT\nreceipt-id:r\n\n\0"
        peer = await edge.login()
        await peer.put("/queue/a", "grüße".encode())
        message = await sock.text()
        assert message.endswith("\n\ngrüße\0")
        assert "destination:/queue/a\n" in message
        await peer.subscribe("/queue/b")
        await sock.send("SEND\ndestination:/queue/b\n\nback\0")
        assert (await peer.expect("MESSAGE")).body == b"back"
        (session, _) = edge.service.broker.sessions.values()
        port = sock.sock.getsockname()[1]
        assert session.peer == f"127.0.0.1:{port}"
        assert edge.service.connections[session].address == "127.0.0.1"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v10.stomp", "v11.stomp", "v12.stomp"], "v12.stomp"),
        (["v11.stomp", "v10.stomp"], "v11.stomp"),
        (["other", "v10.stomp"], "v10.stomp"),
        ([], None),
    ],
)
async def test_the_best_sub_protocol_is_taken(offered: list[str], chosen: str | None) -> None:
    """Of those that are offered; who offers none gets none."""
    async with serving(here()) as edge, await Socket.open(edge, offered) as sock:
        assert sock.raw.getsubprotocol() == chosen
        await sock.login()
        await sock.close()


async def refused(edge: Any, status: int, text: str, **options: Any) -> None:  # noqa: ANN401 - those of `Socket.open`
    """Expect that no WebSocket is opened."""
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        await Socket.open(edge, **options)
    assert caught.value.status_code == status
    body = caught.value.resp_body
    assert body is not None
    assert text in body.decode()


async def test_an_unknown_sub_protocol_is_refused() -> None:
    """The answer names those that are known."""
    async with serving(here()) as edge:
        await refused(edge, 400, "v12.stomp, v11.stomp, v10.stomp", protocols=["mqtt"])
        assert not edge.service.connections


async def test_pages_of_others_are_refused() -> None:
    """A page may connect if it came from here or the settings name it; a program always may."""
    async with serving(here(origins=["https://shop.example"])) as edge:
        await refused(edge, 403, "http.origins", origin="http://evil.example")
        own = f"127.0.0.1:{edge.http_port}"
        for origin in (f"http://{own}", "https://shop.example"):
            async with await Socket.open(edge, origin=origin) as sock:
                await sock.login()
        # A page whose name was made to lead here is of the same origin; but the name is not ours.
        rebound = f"evil.example:{edge.http_port}"
        await refused(edge, 403, "http.hosts", host=rebound, origin=f"http://{rebound}")


async def test_a_message_may_hold_a_part_of_a_frame_or_several() -> None:
    """Frames are found across messages, whether text or binary."""
    async with serving(here()) as edge, await Socket.open(edge) as sock:
        for octet in CONNECT:
            await sock.send(octet)
        assert (await sock.text()).startswith("CONNECTED\n")
        await sock.send(
            "SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0SEND\ndestination:/queue/a\n\na"
        )
        await sock.send(b"b\0\nSEND\ndestination:/queue/a\n\nc\0")
        bodies = [(await sock.take())[1].partition(b"\n\n")[2] for _ in range(2)]
        assert bodies == [b"ab\0", b"c\0"]
        await sock.close()


async def test_text_is_answered_by_text_if_it_is_text() -> None:
    """Octets that are no UTF-8, and everything for a binary client, come in binary messages."""
    async with serving(here()) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        peer = await edge.login()
        await peer.put("/queue/a", b"\xff")
        assert (await sock.take())[0] == BINARY
        await peer.put("/queue/a", b"plain")
        assert (await sock.take())[0] == TEXT
        await sock.send(b"\n")
        await sock.send(b"SEND\ndestination:/topic/x\nreceipt:q\n\n\0")
        assert await sock.take() == (BINARY, b"RECEIPT\nreceipt-id:q\n\n\0")


async def test_each_frame_is_a_message_of_its_own() -> None:
    """However many are written at once, and without the line feed that is for terminals."""
    async with serving(here()) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        sends = "".join(f"SEND\ndestination:/queue/a\n\n{n}\0" for n in range(500))
        await sock.send(sends)
        for number in range(500):
            text = await sock.text()
            assert text.startswith("MESSAGE\n")
            assert text.endswith(f"\n\n{number}\0")


async def test_heart_beats_go_both_ways() -> None:
    """A silent session gets line feeds, and ends if it owes some."""
    beats = {"heart_beat": {"minimum": "10ms", "default": "1s", "grace": "100ms"}}
    async with serving(here(tables=beats)) as edge, await Socket.open(edge) as sock:
        await sock.send("CONNECT\naccept-version:1.2\nhost:x\nheart-beat:50,50\n\n\0")
        assert "heart-beat:" in await sock.text()
        while (text := await sock.text()) == "\n":
            pass
        assert text.startswith("ERROR\nmessage:heart-beat timeout\n")
        assert await sock.closed() == 1002


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("DISCONNECT\nreceipt:bye\n\n\0", 1000),
        ("WRONG\n\n\0", 1002),
        ("SEND\nreceipt:no destination\n\n\0", 1002),
    ],
)
async def test_the_end_of_a_session_closes_the_websocket(frame: str, code: int) -> None:
    """The last frame comes first, then a close whose code says whose fault it was."""
    async with serving(here()) as edge, opened(edge) as sock:
        await sock.send(frame)
        assert (await sock.text()).startswith(("RECEIPT\nreceipt-id:bye\n", "ERROR\n"))
        assert await sock.closed() == code
        await edge.until_open(0)


async def test_who_is_kicked_is_told_by_the_code() -> None:
    """It was the broker's policy, not a fault of the protocol."""
    async with serving(here()) as edge, opened(edge) as sock:
        peer = await edge.login()
        await peer.subscribe("/temp-queue/r")
        victim = next(iter(edge.service.broker.sessions))
        await peer.write(b"SEND\ndestination:/admin/kick\nreply-to:/temp-queue/r\n\n")
        await peer.write(json.dumps({"connection": victim}).encode() + b"\0")
        await peer.expect("MESSAGE")
        assert (await sock.text()).startswith("ERROR\n")
        assert await sock.closed() == 1008


async def test_a_stop_says_goodbye() -> None:
    """The session gets its ERROR and the WebSocket the code for it, and the stop waits for both."""
    async with serving(here()) as edge, opened(edge) as sock:
        edge.started.stop()
        assert (await sock.text()).startswith("ERROR\nmessage:the server is stopping\n")
        assert await sock.closed() == 1001


async def test_too_many_connections_are_told() -> None:
    """The limit counts WebSockets as well, by their own address."""
    tables = {"limits": {"connections_per_address": 1}}
    async with (
        serving(here(tables=tables)) as edge,
        opened(edge),
        await Socket.open(edge) as sock,
    ):
        await sock.send(CONNECT)
        assert "message:too many connections" in (await sock.take())[1].decode()
        assert await sock.closed() == 1013


async def test_who_goes_without_a_word_is_gone() -> None:
    """A WebSocket that is closed, or whose connection broke, ends its session."""
    async with serving(here()) as edge:
        for politely in (True, False):
            async with await Socket.open(edge) as sock:
                await sock.login()
                await edge.until_open(1)
                if politely:
                    await sock.close()
            await edge.until_open(0)


async def test_what_came_before_the_close_is_carried_out() -> None:
    """A client that sends and closes at once loses nothing."""
    async with serving(here()) as edge, await Socket.open(edge) as sock:
        await sock.send(CONNECT + "SEND\ndestination:/queue/a\n\nlast\0" * 100)
        await sock.close()
        await edge.until(lambda: edge.depth("/queue/a") == 100)
        await edge.until_open(0)


async def test_a_message_that_is_too_large_ends_it() -> None:
    """The code says why; and who goes on sending is cut off."""
    tables = {"timeouts": {"linger": "50ms"}}
    async with serving(here(max_message=1000, tables=tables)) as edge, opened(edge) as sock:
        await sock.send("SEND\ndestination:/queue/a\n\n" + "x" * 2000)
        assert await sock.closed() == 1009

        part = b"\x02\xff\x00\x00\x00\x00\x7f\xff\xff\xff" + b"x" * 65536

        def flood() -> None:
            while True:
                sock.sock.sendall(part)

        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe
            await trio.to_thread.run_sync(flood)
        await edge.until_open(0)


async def test_before_the_log_in_a_message_is_no_more_than_a_frame_may_be() -> None:
    """Whoever has said nothing of himself takes no memory; the log-in lifts that."""
    tables = {"limits": {"login_frame": 1000}}
    async with serving(here(tables=tables)) as edge:
        async with await Socket.open(edge) as sock:
            await sock.send("\n" * 2001)
            assert await sock.closed() == 1009
        async with opened(edge) as sock:
            await sock.send("SEND\ndestination:/queue/a\nreceipt:r\n\n" + "x" * 100_000 + "\0")
            assert (await sock.text()).startswith("RECEIPT")


@pytest.mark.parametrize(
    "octets",
    [
        b"\x81\x05hello",
        b"\x81\x82\0\0\0\0\xff\xff",
        b"\x83\x80\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x88\x81\0\0\0\0x",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["unmasked", "no UTF-8", "no opcode", "all bits", "half a code", "HTTP"],
)
async def test_what_is_no_websocket_ends_it_and_nothing_else(octets: bytes) -> None:
    """The session goes, and the port goes on."""
    tables = {"timeouts": {"linger": "50ms"}}
    async with serving(here(tables=tables)) as edge:
        async with opened(edge) as sock:
            sock.sock.sendall(octets)
            await edge.until_open(0)
        async with opened(edge):
            pass
        assert not edge.log.of("an http connection failed")


async def test_who_is_stuck_is_cut_off_by_a_stop_at_once() -> None:
    """A write that waits for a peer is shielded by hypercorn, and does not keep stompd alive."""
    async with serving(here()) as edge:
        sock = await Socket.open(edge)
        await sock.login()
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        peer = await edge.login()
        for _ in range(20):
            await peer.put("/queue/a", b"x" * 1_000_000)
        assert edge.depth("/queue/a") > 0
    sock.cut()


async def test_settings_that_are_read_again_count_for_what_comes_then() -> None:
    """The limit of a message, and the pages that may connect."""
    fresh = here(max_message=100, origins=["https://shop.example"])
    async with serving(here(), reread=lambda: fresh) as edge:
        edge.service.reload(fresh, "stompd/test", None)
        async with await Socket.open(edge, origin="https://shop.example") as sock:
            await sock.send("\n" * 101)
            assert await sock.closed() == 1009


async def test_a_slow_websocket_holds_its_producer_and_not_the_broker() -> None:
    """Who does not read gets no more than buffers hold; who reads again gets the rest."""
    async with serving(here()) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        peer = await edge.login()
        body = b"x" * 1_000_000
        for _ in range(20):
            await peer.put("/queue/a", body)
        (slow, _) = edge.service.broker.sessions.values()
        assert slow.outbox.size < 2_000_000
        assert edge.depth("/queue/a") > 5
        for _ in range(20):
            assert len(await sock.text()) > len(body)
        assert edge.depth("/queue/a") == 0


async def test_a_stop_does_not_wait_for_who_reads_nothing() -> None:
    """A browser that is stuck keeps nothing alive."""
    tables = {"timeouts": {"drain": "50ms", "linger": "50ms"}}
    async with serving(here(tables=tables)) as edge, opened(edge) as sock:
        await sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nreceipt:r\n\n\0")
        await sock.text()
        peer = await edge.login()
        for _ in range(100):
            await peer.put("/queue/a", b"x" * 100_000)
        await peer.close()
        edge.started.stop()
        await edge.log.first("stopped")
