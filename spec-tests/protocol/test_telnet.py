"""Telnet commands between frames are taken out, control keys are answered, bodies left alone."""

import pytest
from protocol.ways import SENT, frame, octets, read, refused, three_ways

from stompd.protocol import telnet
from stompd.protocol.decoder import Decoder

INTERRUPT = b"\xff\xf4\xff\xfd\x06"
WONT = b"\xff\xfc\x06"
# What PuTTY says before anything is typed.
PUTTY = bytes.fromhex("FFFB1F FFFB20 FFFB18 FFFB27 FFFD01 FFFB03 FFFD03")
CONNECT = b"CONNECT\n\n\0"


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"\xff", 0),
        (b"\xff\xf1", 2),
        (b"\xff\xf9", 2),
        (b"\xff\xec", 2),
        (b"\xff\xfb", 0),
        (b"\xff\xfb\x01", 3),
        (b"\xff\xfe\x01x", 3),
        (b"\xff\xfa\x18", 0),
        (b"\xff\xfa\x18\xff", 0),
        (b"\xff\xfa\x18abc\xff\xf0x", 8),
        (b"\xff\xff", -1),
        (b"\xffA", -1),
    ],
)
def test_the_length_of_a_telnet_command(data: bytes, length: int) -> None:
    """Two octets, three with an option, up to IAC SE; 0 if unfinished, -1 if it is none."""
    assert telnet.command_length(data, 0) == length
    assert telnet.command_length(b"xyz" + data, 3) == length


def test_negotiation_before_connect_is_taken_out() -> None:
    """PuTTY opens with seven commands, in any pieces, and nobody answers them."""
    wire = PUTTY + CONNECT
    three_ways(wire, [frame("CONNECT")], version=None, telnet=True)
    for cut in range(len(wire)):
        decoder = Decoder(telnet=True)
        assert read(decoder.feed(wire[:cut]) + decoder.feed(wire[cut:])) == [frame("CONNECT")]
        assert decoder.answers == []


def test_negotiation_between_frames_is_taken_out() -> None:
    """At every frame boundary, subnegotiation and EOLs included."""
    wire = SENT + b"\r\n" + PUTTY + b"\n\xff\xfa\x18\x00xterm\xff\xf0\xff\xf9" + SENT + b"\xff\xf1"
    sent = frame("SEND", {"destination": "/queue/before"}, b"x")
    three_ways(wire, [sent, sent], telnet=True)


def test_a_timing_mark_is_answered_once() -> None:
    """WONT TIMING-MARK is the only answer to anything, one for each request, in every split."""
    wire = b"\xff\xfd\x06\xff\xf1\xff\xfd\x06" + CONNECT
    for cut in range(len(wire)):
        decoder = Decoder(telnet=True)
        assert read(decoder.feed(wire[:cut]) + decoder.feed(wire[cut:])) == [frame("CONNECT")]
        assert decoder.answers == [WONT, WONT]
    split = Decoder(telnet=True)
    octets(split, wire)
    assert split.answers == [WONT, WONT]


@pytest.mark.parametrize("key", [b"\xf4", b"\xf3", b"\xee", b"\xed"])
@pytest.mark.parametrize("before", [b"", SENT, SENT + b"\r\n", PUTTY])
def test_a_control_key_between_frames_ends_the_session(key: bytes, before: bytes) -> None:
    """Ctrl-C and its kin: first the answer without which telnet shows nothing, then the error."""
    decoder = Decoder(telnet=True)
    decoder.begin("1.2")
    assert len(decoder.feed(before + b"\xff" + key + b"\xff\xfd\x06")) == before.count(b"\0")
    assert decoder.error is not None
    assert decoder.error.message == "telnet interrupt (Ctrl-C); closing"
    assert decoder.answers == [WONT]


def test_a_control_key_is_answered_unless_its_request_comes_too_late() -> None:
    """The key acts when it is whole; an answer is due if the request had begun by then."""
    for cut in range(len(INTERRUPT)):
        decoder = Decoder(telnet=True)
        assert decoder.feed(INTERRUPT[:cut]) == []
        assert (decoder.error is not None) == (cut == 2)
        assert decoder.feed(INTERRUPT[cut:]) == []
        assert decoder.error is not None
        assert decoder.error.message == "telnet interrupt (Ctrl-C); closing"
        assert decoder.answers == ([] if cut == 2 else [WONT])


def test_an_interrupt_alone_needs_no_answer() -> None:
    """FF FC 06 is sent to FF FD 06 and to nothing else."""
    for wire in (b"\xff\xf4", b"SEND\n\xff\xf4", b"\xff\xf4\xff\xfb\x06"):
        refused(wire, "telnet interrupt (Ctrl-C); closing", telnet=True, answers=[])


@pytest.mark.parametrize("version", [None, "1.0", "1.1", "1.2"])
@pytest.mark.parametrize("command", [b"CONNECT", b"SEND"])
def test_a_control_key_within_a_head_ends_the_session(version: str | None, command: bytes) -> None:
    """The key drops the line that was typed, so it stands at the start of one, in every version."""
    head = command + b"\r\nreceipt:r\r\n"
    for wire in (head + INTERRUPT, head + INTERRUPT + b":\r\n", head + INTERRUPT + b":\n\n\0"):
        refused(
            wire,
            "telnet interrupt (Ctrl-C); closing",
            version=version,
            telnet=True,
            headers={"receipt-id": "r"},
            answers=[WONT],
        )


def test_a_command_line_with_telnet_in_it_is_answered_once() -> None:
    """Ctrl-O goes out with the line: the command is unknown, and telnet waits for an answer."""
    ctrl_o = b"SEND\xff\xf5\xff\xfd\x06\r\n"
    for wire in (ctrl_o, ctrl_o + b"\n\0"):
        message = 'unknown command "SEND\\xff\\xf5\\xff\\xfd\\x06"'
        refused(wire, message, telnet=True, answers=[WONT])
    refused(ctrl_o, message, telnet=False, answers=[])
    mixed = b"SE" + INTERRUPT + b"ND\n"
    refused(mixed, "telnet interrupt (Ctrl-C); closing", telnet=True, answers=[WONT])


def test_a_header_line_with_telnet_in_it_is_answered_once_it_is_whole() -> None:
    """A line that 1.2 refuses for its octets; nothing is answered while it is being typed."""
    wire = b"SEND\n\xff\xfd\x06k:v"
    decoder = Decoder(telnet=True)
    decoder.begin("1.2")
    octets(decoder, wire)
    assert (decoder.error, decoder.answers) == (None, [])
    refused(wire + b"\n", "header line is not UTF-8", telnet=True, answers=[WONT])
    octets(decoder, b"\n")
    assert decoder.answers == [WONT]


def test_octets_of_1_0_headers_are_no_telnet() -> None:
    """Inside a line 0xFF passes where octets pass, since the line is well formed."""
    wire = b"SEND\nk:\xff\xf4\xff\xfd\x06\n\xff\xfd\x06:v\n\nx\0"
    headers = {"k": "\udcff\udcf4\udcff\udcfd\x06", "\udcff\udcfd\x06": "v"}
    three_ways(wire, [frame("SEND", headers, b"x")], version="1.0", telnet=True)


@pytest.mark.clause("F-17")
def test_bodies_are_never_looked_at() -> None:
    """What is a control key between frames is data in a body, counted or not."""
    for head, headers in (
        (b"SEND\n\n", {}),
        (b"SEND\ncontent-length:5\n\n", {"content-length": "5"}),
    ):
        three_ways(head + INTERRUPT + b"\0", [frame("SEND", headers, INTERRUPT)], telnet=True)


def test_ctrl_d_between_frames_ends_the_session() -> None:
    """On an empty line it arrives as an octet 4, where no command starts with one."""
    refused(b"\x04", "telnet interrupt (Ctrl-D); closing", telnet=True, answers=[])
    refused(b"\r\n\x04\n", "telnet interrupt (Ctrl-D); closing", telnet=True)


def test_an_octet_255_that_is_no_telnet_command_is_refused() -> None:
    """A typed 0xFF comes doubled; no frame starts with it."""
    refused(b"\xff\xff", 'unknown command "\\xff\\xff"', telnet=True, answers=[])
    refused(b"\xff\xf1\xffA", 'unknown command "\\xffA"', telnet=True, answers=[])


@pytest.mark.clause("LIM-01")
@pytest.mark.parametrize(
    ("allowed", "more"),
    [
        (b"\xff\xf1" * 32, b"\xff\xf1"),
        (b"\xff\xfa" + b"x" * 252 + b"\xff\xf0", b"\xff\xf1"),
        (b"\xff\xfa" + b"x" * 254, b"x"),
        (b"\xff\xfa" + b"x" * 200 + b"\xff\xf0", b"\xff\xfa" + b"x" * 60 + b"\xff\xf0"),
    ],
)
def test_telnet_commands_are_limited(allowed: bytes, more: bytes) -> None:
    """32 commands and 256 octets of them a connection, EOLs between them or not."""
    decoder = Decoder(telnet=True)
    octets(decoder, allowed)
    assert decoder.error is None
    refused(allowed + more, "too many telnet commands", version=None, telnet=True)
    if not more.startswith(b"x"):
        refused(allowed + b"\r\n" + more, "too many telnet commands", version=None, telnet=True)
