"""What telnet, netcat and PuTTY put on the wire, octet for octet, and what they get for it.

The octets are those that these programs were seen to send; ``spec-tests/interop`` runs the programs
themselves.
"""

import pytest
import trio
from server.edge import Edge, Peer, serving, settings

WONT_TIMING_MARK = b"\xff\xfc\x06"
# PuTTY begins to negotiate before anything is typed.
PUTTY = bytes.fromhex("FF FB 1F FF FB 20 FF FB 18 FF FB 27 FF FD 01 FF FB 03 FF FD 03")


async def write_apart(peer: Peer, *pieces: bytes) -> None:
    """Write the pieces so that the server reads each of them on its own."""
    for piece in pieces:
        await peer.write(piece)
        await trio.testing.wait_all_tasks_blocked(0.02)


# -- Line ends and NULs ----------------------------------------------------------------------------

TYPED = (b"CONNECT", b"accept-version:1.2", b"host:x", b"")


@pytest.mark.clause("F-05", "F-07")
@pytest.mark.parametrize(
    ("eol", "end"),
    [
        pytest.param(b"\r\n", (b"\0\r\n",), id="telnet, busybox telnet, ncat -C, socat crnl"),
        pytest.param(b"\n", (b"\0\n",), id="nc, busybox nc, socat, curl, openssl s_client"),
        pytest.param(b"\r\n", (b"\0", b"\r\n"), id="nc.openbsd -C: two segments"),
        pytest.param(b"\n", (b"\0",), id="Ctrl-@ and Ctrl-D"),
        pytest.param(b"\r\n", (b"\0\0\r\n",), id="Ctrl-@ typed twice"),
        pytest.param(b"\r\n", (b"\0\r\n\r\n\r\n",), id="Return typed several times"),
    ],
)
async def test_each_way_of_typing_opens_a_session(eol: bytes, end: tuple[bytes, ...]) -> None:
    """CONNECT is understood as each program sends it, and so is the frame behind it."""
    async with serving() as edge:
        peer = await edge.connect()
        for line in TYPED:
            await peer.write(line + eol)
        await write_apart(peer, *end)
        await peer.expect("CONNECTED", version="1.2")
        for line in (b"SEND", b"destination:/queue/a", b"receipt:r", b"", b"hello"):
            await peer.write(line + eol)
        await write_apart(peer, *end)
        await peer.expect("RECEIPT", receipt_id="r")
        assert await edge.take("/queue/a", 1) == [b"hello" + eol], "the body is left as it was"


@pytest.mark.clause("F-05")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_crlf_is_a_line_end_in_every_version(version: str) -> None:
    """No header of a telnet user ends in a CR, whatever version was agreed on."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(f"CONNECT\r\naccept-version:{version}\r\nhost:x\r\n\r\n\0\r\n".encode())
        await peer.expect("CONNECTED", version=version)
        await peer.write(b"SUBSCRIBE\r\nid:s\r\ndestination:/queue/a\r\nreceipt:1\r\n\r\n\0\r\n")
        await peer.expect("RECEIPT", receipt_id="1")
        await peer.write(b"SEND\r\ndestination:/queue/a\r\nx-note:y\r\n\r\nbody\0\r\n")
        frame = await peer.expect("MESSAGE", destination="/queue/a", x_note="y")
        assert frame.body == b"body"


async def test_crlf_may_be_torn_anywhere() -> None:
    """A read that ends between CR and LF, or between NUL and CR, changes nothing."""
    wire = b"CONNECT\r\naccept-version:1.2\r\nhost:x\r\n\r\n\0\r\n"
    wire += b"SEND\r\ndestination:/queue/a\r\nreceipt:r\r\n\r\nhi\0\r\n"
    async with serving() as edge:
        peer = await edge.connect()
        for octet in wire:
            await write_apart(peer, bytes([octet]))
        await peer.expect("CONNECTED")
        await peer.expect("RECEIPT", receipt_id="r")


@pytest.mark.parametrize("word", [b"CONNECT", b"connect"])
async def test_a_telnet_in_character_mode_gets_a_hint(word: bytes) -> None:
    """Return is CR NUL there: the ERROR tells how to leave that mode."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(word + b"\r\0accept-version:1.2\r\0")
        frame = await peer.expect("ERROR")
        assert b"character mode" in frame.body
        assert b"mode line" in frame.body


async def test_every_frame_of_the_server_starts_on_a_line_of_its_own() -> None:
    """A line feed follows each NUL, unless that is switched off for clients that break on it."""
    for newline, end in ((True, b"\0\n"), (False, b"\0")):
        async with serving(settings(**{"trailing-newline": newline})) as edge:
            peer = await edge.connect()
            await peer.write("CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@")
            await peer.write("SEND⏎destination:/queue/a⏎receipt:1⏎⏎^@")
            await peer.half_close()
            wire = await peer.rest()
            assert wire.endswith(b"RECEIPT\nreceipt-id:1\n\n" + end)
            assert wire.count(b"\0") == wire.count(end) == 2


# -- Answers before the NUL ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (b"connect\r\n", b"CONNECT"),
        (b"help\r\n", b"this is a STOMP port"),
        (b"?\r\n", b"this is a STOMP port"),
        (b"GET / HTTP/1.1\r\n", b"this is a STOMP port"),
        (b"EHLO localhost\r\n", b"this is a STOMP port"),
        (b"CONNECT\r\nno colon\r\n", b"no colon"),
        (b"\x1b[Dhello\r\n", b"\\x1b[D"),
    ],
)
async def test_a_mistake_is_answered_at_the_end_of_its_line(typed: bytes, hint: bytes) -> None:
    """Who types waits for no NUL; the ERROR says what was wrong and what would be right."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(typed)
        frame = await peer.fatal("")
        assert hint in frame.body + str(frame).encode()
        assert frame.body.endswith(b"\n")
        assert b"\x1b" not in frame.body
        assert frame.text("content-type") == "text/plain"


async def test_without_the_hints_only_plain_stomp_is_understood() -> None:
    """``telnet-hints = false`` takes octets at a frame boundary for what they are."""
    async with serving(settings(**{"telnet-hints": False})) as edge:
        peer = await edge.connect()
        await peer.write(PUTTY + b"CONNECT\n\n\0")
        await peer.fatal("unknown command")


async def test_a_destination_with_a_blank_in_front_is_explained() -> None:
    """In 1.2 the blank counts; nobody who typed it meant it."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.write("SEND⏎destination: /queue/a⏎⏎x^@")
        frame = await peer.expect("ERROR")
        assert b"blank" in frame.body + str(frame).encode()


# -- Telnet commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces", [(PUTTY,), (PUTTY[:7], PUTTY[7:]), tuple(bytes([o]) for o in PUTTY)]
)
async def test_putty_may_negotiate_before_connect(pieces: tuple[bytes, ...]) -> None:
    """Its offers and wishes are taken out, however they are torn, and get no answer."""
    async with serving() as edge:
        peer = await edge.connect()
        await write_apart(peer, *pieces)
        await peer.write(b"CONNECT\r\naccept-version:1.2\r\nhost:x\r\n\r\n\0\r\n")
        await peer.expect("CONNECTED")
        # A subnegotiation, between two frames: what a window's change of size sends.
        await peer.write(b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0")
        await peer.sync()


async def test_telnet_commands_are_taken_out_within_bounds() -> None:
    """At most 32 of them, 256 octets: this is no telnet server."""
    async with serving() as edge:
        peer = await edge.connect()
        await peer.write(b"\xff\xf1" * 33)
        await peer.fatal("too many telnet commands")
        unending = await edge.connect()
        await unending.write(b"\xff\xfa" + b"x" * 300)
        await unending.fatal("too many telnet commands")


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("Ctrl-C", b"\xff\xf4\xff\xfd\x06"),
        ("Ctrl-\\", b"\xff\xf3\xff\xfd\x06"),
        ("Ctrl-Z", b"\xff\xed\xff\xfd\x06"),
    ],
)
@pytest.mark.parametrize("cut", [0, 1, 3, 4])
async def test_a_control_key_ends_the_session_visibly(key: str, sent: bytes, cut: int) -> None:
    """The timing mark is answered first, or telnet would mute the ERROR behind it."""
    del key
    async with serving() as edge:
        peer = await edge.login()
        peer.unread.clear()
        await write_apart(peer, sent[:cut], sent[cut:])
        wire = (await peer.rest()).lstrip(b"\n")
        assert wire.startswith(WONT_TIMING_MARK + b"ERROR\nmessage:telnet interrupt (Ctrl-C)")
        assert wire.count(b"\xff") == 1


async def test_a_control_key_inside_a_frame_ends_the_session_visibly() -> None:
    """Telnet drops the line that was being typed, so the interrupt stands at the start of one."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.write(b"SEND\r\ndestination:/queue/a\r\n\xff\xf4\xff\xfd\x06")
        frame = (await peer.rest()).lstrip(b"\n")
        assert b"telnet interrupt (Ctrl-C)" in frame


async def test_ctrl_o_is_passed_over() -> None:
    """Abort-output asks for nothing but the timing mark; the session goes on."""
    async with serving() as edge:
        peer = await edge.login()
        peer.unread.clear()
        await peer.write(b"\xff\xf5\xff\xfd\x06")
        while len(peer.unread) < 3:
            await peer.more()
        assert peer.unread.lstrip(b"\n") == WONT_TIMING_MARK
        peer.unread.clear()
        await peer.sync()


async def test_ctrl_d_on_an_empty_line_ends_the_session() -> None:
    """It is one octet, 04, and whoever types it wants to leave."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.write(b"\x04")
        await peer.fatal("(Ctrl-D)")


async def test_a_body_may_hold_anything() -> None:
    """Telnet's commands, line ends and 0xFF inside a body are data."""
    body = b"\xff\xf4\xff\xfd\x06\r\n\x04\xff\xff"
    async with serving() as edge:
        peer = await edge.login()
        await peer.put("/queue/a", body)
        await peer.write(b"SEND\ndestination:/queue/a\n\n" + body + b"\0")
        await peer.sync()
        assert await edge.take("/queue/a", 2) == [body, body]


# -- Patience --------------------------------------------------------------------------------------


async def typed_slowly(edge: Edge, peer: Peer) -> None:
    """Let the log-in time pass in the middle of a frame."""
    await peer.write(b"SEND\r\ndestination:/queue/a\r\n")
    await trio.sleep(edge.service.settings.timeouts.login * 2)
    await peer.write(b"receipt:r\r\n\r\nx\0\r\n")


@pytest.mark.clause("H-03", "H-06")
async def test_who_has_logged_in_may_type_slowly() -> None:
    """Without heart-beats there is no time limit on a frame, nor on silence."""
    async with serving(settings(timeouts={"login": "300ms"})) as edge:
        peer = await edge.login()
        await typed_slowly(edge, peer)
        await peer.expect("RECEIPT", receipt_id="r")


@pytest.mark.slow
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\0", b"\r"])
async def test_return_beats(eol: bytes) -> None:
    """A line end, or a stray NUL, between frames is a heart-beat."""
    table = {"minimum": "100ms", "default": "100ms", "tolerance": 2, "grace": "1500ms"}
    async with serving(settings(**{"heart-beat": table})) as edge:
        peer = await edge.login("heart-beat:100,0")
        for _ in range(12):
            await peer.write(eol if eol != b"\r" else b"\r\n\r")
            await trio.sleep(0.2)
            if eol == b"\r":
                await peer.write(b"\n")
        await peer.sync()
