"""The decoder: octets in, frames out, in every split; damage is refused early and explained."""

import tracemalloc

import pytest
from protocol.ways import BEFORE, SENT, Role, frame, octets, read, refused, three_ways

from stompd.protocol.decoder import Decoder, HeadTable, Limits
from stompd.protocol.frame import CLIENT_COMMANDS, SERVER_COMMANDS, VERSIONS

SEND = "SEND"
A = {"destination": "/queue/a"}
SMALL = Limits(command=12, line=40, headers=3, head=60, body=10)


def begun(version: str = "1.2", limits: Limits | None = None) -> Decoder:
    """A server's decoder of an agreed version."""
    decoder = Decoder(limits=limits)
    decoder.begin(version)
    return decoder


# Frames.


@pytest.mark.clause("F-01")
def test_a_frame_is_command_headers_blank_line_body_nul() -> None:
    """The five parts of a frame are found, however the stream is cut."""
    three_ways(b"SEND\ndestination:/queue/a\nk:v\n\nbody\0", [frame(SEND, A | {"k": "v"}, b"body")])


@pytest.mark.clause("F-01")
def test_frames_may_follow_each_other_in_one_piece() -> None:
    """Pipelined frames come out in order, each once."""
    wire = b"".join(b"SEND\ndestination:/queue/a\nreceipt:%b\n\n\0" % r for r in (b"a", b"b", b"c"))
    three_ways(wire, [frame(SEND, A | {"receipt": r}) for r in "abc"])


@pytest.mark.clause("F-02", "V11-01", "V10-07")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_cr_lf_ends_a_line_in_every_version(version: str | None) -> None:
    """One CR before LF belongs to the line end, also before the version is known."""
    wire = b"CONNECT\r\naccept-version:1.2\r\nhost:x\r\n\r\n\0"
    three_ways(wire, [frame("CONNECT", {"accept-version": "1.2", "host": "x"})], version=version)


@pytest.mark.clause("F-03")
@pytest.mark.parametrize("version", VERSIONS)
def test_lf_and_cr_lf_may_be_mixed(version: str) -> None:
    """Each line chooses its own end, and the frames behind it are not disturbed."""
    mixed = b"SEND\r\ndestination:/queue/a\nreceipt:r\r\n\nhi\0"
    other = b"SEND\ndestination:/queue/a\n\r\nhi\0"
    plain = b"SEND\ndestination:/queue/a\n\nhi\0"
    a = frame(SEND, A, b"hi")
    wire = mixed + other + plain + other + plain
    three_ways(wire, [frame(SEND, A | {"receipt": "r"}, b"hi"), a, a, a, a], version=version)


@pytest.mark.clause("F-04", "V11-20")
@pytest.mark.parametrize("version", VERSIONS)
def test_no_headers_are_legal(version: str) -> None:
    """A frame may consist of command, blank line and NUL."""
    three_ways(b"DISCONNECT\n\n\0", [frame("DISCONNECT")], version=version)


@pytest.mark.clause("F-05")
def test_first_empty_line_ends_the_headers() -> None:
    """A second blank line is body, with LF and with CR LF."""
    three_ways(b"SEND\ndestination:/queue/a\n\n\nx\0", [frame(SEND, A, b"\nx")])
    three_ways(b"SEND\r\ndestination:/queue/a\r\n\r\n\r\nx\0", [frame(SEND, A, b"\r\nx")])


@pytest.mark.clause("F-06")
def test_body_ends_at_first_nul() -> None:
    """Without content-length the first NUL ends the body and is not part of it."""
    wire = b"SEND\ndestination:/queue/a\n\nab\0SEND\ndestination:/queue/a\n\nc\0"
    three_ways(wire, [frame(SEND, A, b"ab"), frame(SEND, A, b"c")])


@pytest.mark.clause("F-07", "F-18", "F-19")
@pytest.mark.parametrize(
    "gap", [b"\n", b"\r\n", b"\n\r\n\n\n", b"\0", b"\0\0\r\n\0\n", b"\r\n" * 400]
)
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_eols_and_nuls_between_frames_are_skipped(version: str | None, gap: bytes) -> None:
    """Any run of LF, CR LF and NUL before, between and behind frames means nothing."""
    wire = gap + b"SEND\n\nx\0" + gap + b"SEND\n\ny\0" + gap
    three_ways(wire, [frame(SEND, body=b"x"), frame(SEND, body=b"y")], version=version)


@pytest.mark.clause("F-18", "CF-01")
def test_blanks_before_a_command_belong_to_it() -> None:
    """Two spaces between frames start an unknown command."""
    error = refused(
        b"SEND\n\nx\0  SEND\n\nx\0", 'unknown command "  SEND"', frames=[frame(SEND, body=b"x")]
    )
    assert error.detail == "nothing may stand around the command; write SEND"


@pytest.mark.clause("F-10")
@pytest.mark.parametrize("version", VERSIONS)
def test_each_side_knows_the_commands_of_the_other(version: str) -> None:
    """Eleven commands come from clients and four from servers, and nobody sends the other's."""
    assert len(CLIENT_COMMANDS) == 11
    assert len(SERVER_COMMANDS) == 4
    for command in CLIENT_COMMANDS:
        wire = command.encode() + b"\nk:v\n\n\0"
        three_ways(wire, [frame(command, {"k": "v"})], version=version)
        refused(wire, f'unknown command "{command}"', role="client", version=version)
    for command in SERVER_COMMANDS:
        wire = command.encode() + b"\nk:v\n\n\0"
        three_ways(wire, [frame(command, {"k": "v"})], role="client", version=version)
        error = refused(wire, f'unknown command "{command}"', version=version)
        assert error.detail == f"{command} is for the other side of the connection to send"


@pytest.mark.clause("F-13", "V10-06")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_may_be_empty(version: str) -> None:
    """``foo:`` is a header with an empty value, in 1.0 too."""
    three_ways(b"SEND\nfoo:\n\n\0", [frame(SEND, {"foo": ""})], version=version)


@pytest.mark.clause("F-15")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_a_raw_colon_in_a_value_is_data(version: str | None) -> None:
    """The first colon divides name and value; more of them belong to the value."""
    three_ways(b"SEND\nu:a:b\nv::\n\n\0", [frame(SEND, {"u": "a:b", "v": ":"})], version=version)


@pytest.mark.clause("F-16", "V11-03")
def test_a_lone_cr_in_a_header_is_malformed_in_1_2_and_data_before() -> None:
    """CR may stand only before LF in 1.2 and where no version is known; 1.1 and 1.0 keep it."""
    wire = b"SEND\nx:a\rb\n\ny\0"
    refused(wire, "carriage return inside a header line")
    refused(wire, "carriage return inside a header line", version=None)
    for version in ("1.1", "1.0"):
        three_ways(wire, [frame(SEND, {"x": "a\rb"}, b"y")], version=version)
        doubled = b"SEND\nx:a\r\r\n\ny\0"
        three_ways(doubled, [frame(SEND, {"x": "a\r"}, b"y")], version=version)


@pytest.mark.clause("F-16")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wire", [b"SE\rND\n\n\0", b"SEND\r\r\n\n\0", b"\rSEND\n\n\0", b"\r\r\n"])
def test_a_lone_cr_in_or_before_a_command_is_malformed(version: str, wire: bytes) -> None:
    """No version has a command with a CR in it."""
    shown = wire.decode().split("\n")[0].removesuffix("\r") if wire[0] != 13 else ""
    decoder = begun(version)
    assert decoder.feed(wire) == []
    assert decoder.error is not None
    assert decoder.error.message.startswith('unknown command "')
    if shown:
        shown = shown.replace("\r", "\\r")
        refused(wire, f'unknown command "{shown}"', version=version)


@pytest.mark.clause("F-02", "F-19")
def test_a_lone_cr_waits_for_the_next_octet() -> None:
    """A CR at the end of a read is neither an EOL nor an error until more comes."""
    decoder = begun()
    assert decoder.feed(b"\r") == []
    assert (decoder.error, decoder.pending) == (None, 1)
    assert decoder.feed(b"\nSEND\r") == []
    assert decoder.feed(b"\n\r") == []
    assert decoder.error is None
    assert read(decoder.feed(b"\n\0")) == [frame(SEND)]


@pytest.mark.clause("F-17", "CL-03")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_counted_body_holds_any_octets(version: str) -> None:
    """All 256 octets come through where content-length counts them."""
    body = bytes(range(256))
    wire = b"SEND\ncontent-length:256\n\n" + body + b"\0"
    three_ways(wire, [frame(SEND, {"content-length": "256"}, body)], version=version)


@pytest.mark.clause("F-20", "E-06")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_a_nul_inside_a_head_is_malformed(version: str | None) -> None:
    """A NUL in the command or in a header line is refused as soon as it is there."""
    refused(b"SEND\0", "NUL inside the command or a header", version=version)
    error = refused(
        b"SEND\nreceipt:r\ndesti\0nation:/queue/a\n\nx\0",
        "NUL inside the command or a header",
        version=version,
        headers={"receipt-id": "r"},
    )
    assert error.detail.startswith('line 3: after "desti"')


@pytest.mark.clause("F-20", "E-06")
def test_a_receipt_with_a_nul_in_it_is_not_half_quoted() -> None:
    """What stands before the NUL is not the receipt that the client asked for."""
    refused(b"SEND\nreceipt:12\x0034\n\n\0", "NUL inside the command or a header", headers={})


@pytest.mark.clause("F-20")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_nul_at_the_start_of_a_header_line_ends_the_frame(version: str) -> None:
    """The blank line may be missing if there is no body, and the next frame is read as ever."""
    wire = b"DISCONNECT\nreceipt:77\n\0SEND\n\0\nSEND\r\na:b\r\n\0SEND\n\nx\0"
    frames = [
        frame("DISCONNECT", {"receipt": "77"}),
        frame(SEND),
        frame(SEND, {"a": "b"}),
        frame(SEND, body=b"x"),
    ]
    three_ways(wire, frames, version=version)


@pytest.mark.clause("F-20", "CL-04", "E-06")
def test_a_nul_in_place_of_the_blank_line_cannot_precede_a_promised_body() -> None:
    """Without blank line the body is empty, so content-length may say nothing but 0."""
    three_ways(b"SEND\ncontent-length:0\n\0", [frame(SEND, {"content-length": "0"})])
    refused(
        b"SEND\nreceipt:r\ncontent-length:2\n\0",
        "frame ended before its body",
        headers={"receipt-id": "r"},
    )


@pytest.mark.clause("F-21")
@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_values_are_utf_8(version: str) -> None:
    """Two, three and four octets a character, in names and values."""
    wire = "SEND\né:汉\n😀:é\n\nx\0".encode()
    three_ways(wire, [frame(SEND, {"é": "汉", "😀": "é"}, b"x")], version=version)


@pytest.mark.clause("F-22", "V10-06")
def test_octets_that_are_not_utf_8_are_malformed_but_in_1_0() -> None:
    """1.1 and 1.2 refuse them, 1.0 and CONNECT pass them through unchanged."""
    wire = b"SEND\nx:\xff\xfe\n\ny\0"
    for version in ("1.1", "1.2"):
        refused(wire, "header line is not UTF-8", version=version)
    three_ways(wire, [frame(SEND, {"x": "\udcff\udcfe"}, b"y")], version="1.0")
    three_ways(
        b"CONNECT\npasscode:\xe9\n\n\0", [frame("CONNECT", {"passcode": "\udce9"})], version=None
    )


# Value encoding.


@pytest.mark.clause("ESC-01", "ESC-04")
def test_escapes_are_decoded_in_names_and_values() -> None:
    """One pass from left to right, four sequences."""
    wire = rb"SEND" + b"\n" + rb"k\cey:a\rb\nc\cd\\e" + b"\n" + rb"t:\\n" + b"\n\n\0"
    three_ways(wire, [frame(SEND, {"k:ey": "a\rb\nc:d\\e", "t": "\\n"})])


@pytest.mark.clause("ESC-02", "V11-02")
@pytest.mark.parametrize("sequence", [rb"\t", rb"\0", rb"\N", rb"\C", rb"\x41", "\\é".encode()])
def test_an_undefined_escape_is_refused(sequence: bytes) -> None:
    """1.2 and 1.1 know no other sequences, in values or in names."""
    for version in ("1.1", "1.2"):
        for line in (b"x:a" + sequence + b"b", b"a" + sequence + b":x"):
            wire = b"SEND\nreceipt:r\n" + line + b"\n\n\0"
            error = refused(
                wire,
                "undefined escape sequence in a header",
                version=version,
                headers={"receipt-id": "r"},
            )
            assert error.detail.startswith("line 3: ")


@pytest.mark.clause("ESC-02")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_backslash_at_the_end_is_refused(version: str) -> None:
    """A single backslash escapes nothing."""
    refused(b"SEND\nx:a\\\n\n\0", "undefined escape sequence in a header", version=version)


@pytest.mark.clause("V11-02")
def test_1_1_has_no_escaped_cr() -> None:
    r"""``\r`` means CR in 1.2 alone; in 1.1 it is undefined, and in 1.0 two characters."""
    wire = b"SEND\nx:a\\rb\n\n\0"
    three_ways(wire, [frame(SEND, {"x": "a\rb"})])
    error = refused(wire, "undefined escape sequence in a header", version="1.1")
    assert "STOMP 1.1 knows" in error.detail
    three_ways(wire, [frame(SEND, {"x": "a\\rb"})], version="1.0")


@pytest.mark.clause("V10-05")
def test_1_0_has_no_escapes() -> None:
    """A backslash is data there, whatever follows it."""
    three_ways(b"SEND\nx:a\\nb:c\\t\\\n\n\0", [frame(SEND, {"x": "a\\nb:c\\t\\"})], version="1.0")


@pytest.mark.clause("ESC-05", "ESC-07")
@pytest.mark.parametrize("version", [None, *VERSIONS])
@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_connect_is_taken_literally(command: str, version: str | None) -> None:
    """No escapes, no trimming, no number to check, in CONNECT and STOMP."""
    lines = b"\npasscode:p\\cq\\t\nlogin: u \ncontent-length:x\n\n\0"
    headers = {"passcode": "p\\cq\\t", "login": " u ", "content-length": "x"}
    three_ways(command.encode() + lines, [frame(command, headers)], version=version)


@pytest.mark.clause("ESC-06")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_connected_is_taken_literally(version: str | None) -> None:
    """A server does not escape in CONNECTED, so a client does not decode it."""
    wire = b"CONNECTED\nversion:1.2\nserver:a\\cb\n\n\0"
    connected = frame("CONNECTED", {"version": "1.2", "server": "a\\cb"})
    three_ways(wire, [connected], version=version, role="client")


@pytest.mark.clause("ESC-09", "V11-04", "V10-04")
def test_only_1_0_trims() -> None:
    """Blanks around names and values are data, except in 1.0."""
    wire = b"SEND\n k : v \n\t:x\n\ny\0"
    for version in ("1.1", "1.2"):
        three_ways(wire, [frame(SEND, {" k ": " v ", "\t": "x"}, b"y")], version=version)
    padded = b"SEND\n k\t: v w\t\n\ny\0"
    three_ways(padded, [frame(SEND, {"k": "v w"}, b"y")], version="1.0")


@pytest.mark.clause("F-11", "V10-04")
def test_a_header_needs_a_name() -> None:
    """An empty name is malformed, and so are blanks alone where they are trimmed."""
    for version in (None, *VERSIONS):
        refused(b"SEND\n:v\n\n\0", "header line without a name", version=version)
    refused(b"SEND\n \t:v\n\n\0", "header line without a name", version="1.0")


@pytest.mark.clause("F-12")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_a_header_line_needs_a_colon(version: str | None) -> None:
    """The line is quoted, and its number told."""
    wire = b"SEND\ndestination:/queue/a\nnovalue\n\nx\0"
    error = refused(wire, "header line without a colon", version=version)
    assert error.detail.startswith('line 3: "novalue";')


@pytest.mark.clause("HDR-03", "HDR-04", "V11-16")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_the_first_of_equal_names_is_the_value(version: str | None) -> None:
    """Later ones are history and dropped, content-length included."""
    wire = b"SEND\nfoo:1\nk:v\nfoo:2\ncontent-length:1\ncontent-length:9\n\nx\0"
    three_ways(
        wire, [frame(SEND, {"foo": "1", "k": "v", "content-length": "1"}, b"x")], version=version
    )


# content-length.


@pytest.mark.clause("CL-02", "CL-03", "V10-16")
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_content_length_counts_octets(version: str | None) -> None:
    """NULs included and the last NUL not, octets and not characters."""
    wire = b"SEND\ncontent-length:5\n\na\0b\0c\0" + "SEND\ncontent-length:3\n\n汉\0".encode()
    frames = [
        frame(SEND, {"content-length": "5"}, b"a\0b\0c"),
        frame(SEND, {"content-length": "3"}, "汉".encode()),
    ]
    three_ways(wire, frames, version=version)


@pytest.mark.clause("CL-04", "V10-16", "E-06")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_nul_must_follow_the_counted_body(version: str) -> None:
    """The hint is about octets and characters, the usual cause."""
    error = refused(
        b"SEND\nreceipt:r\ncontent-length:2\n\nabc\0",
        "no NUL after the body",
        version=version,
        headers={"receipt-id": "r"},
    )
    assert "octets, not characters" in error.detail


@pytest.mark.clause("CL-07", "LIM-04", "E-06")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"-1", "content-length is not a number"),
        (b"x", "content-length is not a number"),
        (b"", "content-length is not a number"),
        (b"+5", "content-length is not a number"),
        (b"1_0", "content-length is not a number"),
        ("٣".encode(), "content-length is not a number"),
        ("²".encode(), "content-length is not a number"),
        (b"99999999999999999999", "body over the limit"),
        (b"9" * 9000, "body over the limit"),
        (b"33554433", "body over the limit"),
    ],
)
def test_a_bad_content_length_is_refused_before_the_body(
    version: str, value: bytes, message: str
) -> None:
    """No number, or more than a body may have: the error does not wait for the body."""
    wire = b"SEND\nreceipt:r\ncontent-length:" + value + b"\n\n"
    refused(wire, message, version=version, headers={"receipt-id": "r"})
    odd = b"SEND\r\nreceipt:r\r\ncontent-length:" + value + b"\r\n\r\n"
    refused(odd, message, version=version, headers={"receipt-id": "r"})


@pytest.mark.clause("CL-07")
@pytest.mark.parametrize("version", VERSIONS)
def test_blanks_and_zeros_around_content_length_are_tolerated(version: str) -> None:
    """The number is what counts, not how it is written."""
    for value in (" 2", "2\t", "0002", "0" * 5000 + "2"):
        kept = value.strip(" \t") if version == "1.0" else value
        wire = f"SEND\ncontent-length:{value}\n\n\0\0\0".encode()
        three_ways(wire, [frame(SEND, {"content-length": kept}, b"\0\0")], version=version)


@pytest.mark.clause("CL-01", "CL-07", "V11-12")
def test_content_length_on_frames_without_body_counts_in_1_2_alone() -> None:
    """1.1 and 1.0 clients send it there by mistake, with a number that means nothing."""
    wire = b"ACK\nid:1\ncontent-length:4\n\n\0\n\n\n\0"
    ack = {"id": "1", "content-length": "4"}
    three_ways(wire, [frame("ACK", ack, b"\0\n\n\n")])
    for version in ("1.0", "1.1"):
        three_ways(wire, [frame("ACK", ack)], version=version)
        odd = wire.replace(b"4", b"no number")
        three_ways(odd, [frame("ACK", ack | {"content-length": "no number"})], version=version)
    refused(wire.replace(b"4", b"no number"), "content-length is not a number")


@pytest.mark.clause("CL-01")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_honours_content_length_on_every_frame(version: str) -> None:
    """What a server promises is read as promised, in every version."""
    wire = b"RECEIPT\nreceipt-id:1\ncontent-length:1\n\n\0\0"
    receipt = frame("RECEIPT", {"receipt-id": "1", "content-length": "1"}, b"\0")
    three_ways(wire, [receipt], version=version, role="client")


@pytest.mark.clause("E-09")
def test_the_error_frame_of_the_specification_parses() -> None:
    """Its content-length counts the octets of the body with LF line ends and without the NUL."""
    body = b"The message:\n-----\nMESSAGE\ndestined:/queue/a\nreceipt:message-12345\n\n"
    body += b"Hello queue a!\n-----\nDid not contain a destination header, which is REQUIRED\n"
    body += b"for message propagation.\n"
    wire = b"ERROR\nreceipt-id:message-12345\ncontent-type:text/plain\ncontent-length:170\n"
    wire += b"message:malformed frame received\n\n" + body + b"\0"
    headers = {
        "receipt-id": "message-12345",
        "content-type": "text/plain",
        "content-length": "170",
        "message": "malformed frame received",
    }
    three_ways(wire, [frame("ERROR", headers, body)], role="client")


# Limits.


@pytest.mark.clause("LIM-02", "LIM-05", "E-06")
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_number_of_headers_is_limited(end: bytes) -> None:
    """As many as allowed are read; one more is refused before the frame ends."""
    lines = end.join([b"SEND", b"receipt:r", b"b:2", b"c:3"]) + end
    sent = frame(SEND, {"receipt": "r", "b": "2", "c": "3"})
    three_ways(lines + end + b"\0", [sent], limits=SMALL)
    error = refused(
        lines + b"d:4" + end, "too many headers", limits=SMALL, headers={"receipt-id": "r"}
    )
    assert "3 headers" in error.detail
    refused(lines + b"d:4" + end + end + b"\0", "too many headers", limits=SMALL)


@pytest.mark.clause("LIM-03", "LIM-05", "E-06")
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_length_of_a_line_is_limited(end: bytes) -> None:
    """A line as long as allowed is read; one octet more is refused without waiting for its LF."""
    lines = b"SEND" + end + b"receipt:r" + end
    longest = b"k:" + b"x" * 38
    sent = frame(SEND, {"receipt": "r", "k": "x" * 38})
    three_ways(lines + longest + end + end + b"\0", [sent], limits=SMALL)
    message = "header line over the limit"
    error = refused(lines + longest + b"x", message, limits=SMALL, headers={"receipt-id": "r"})
    assert "40 octets" in error.detail
    assert error.detail.startswith('line 3 ("k:xxx')
    refused(lines + longest + b"x" + end + end + b"\0", message, limits=SMALL)


@pytest.mark.clause("LIM-03", "LIM-05", "E-06")
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_length_of_a_head_is_limited(end: bytes) -> None:
    """Command and headers together; the CRs of CR LF do not count, whole or in pieces."""
    lines = b"SEND" + end + b"receipt:r" + end + b"a:" + b"x" * 20 + end
    longest = b"b:" + b"y" * 20
    headers = {"receipt": "r", "a": "x" * 20, "b": "y" * 20}
    assert len(b"SEND\nreceipt:r\na:" + b"x" * 20 + b"\n" + longest) == 60
    three_ways(lines + longest + end + end + b"\0", [frame(SEND, headers)], limits=SMALL)
    message = "headers over the limit"
    error = refused(
        lines + longest + b"y" + end + end, message, limits=SMALL, headers={"receipt-id": "r"}
    )
    assert "60 octets" in error.detail
    refused(lines + longest + b"yyy", message, limits=SMALL, headers={"receipt-id": "r"})


def test_a_receipt_that_is_itself_cut_off_is_not_quoted() -> None:
    """The line that broke a limit may be the receipt; half of it identifies nothing."""
    limits = Limits(head=30)
    refused(b"SEND\na:b\nreceipt:" + b"1" * 40, "headers over the limit", limits=limits, headers={})
    limits = Limits(line=30)
    wire = b"SEND\na:b\nreceipt:" + b"1" * 40
    refused(wire, "header line over the limit", limits=limits, headers={})


@pytest.mark.clause("LIM-03", "LIM-05")
def test_the_length_of_a_command_is_limited() -> None:
    """An endless command is refused at the limit, without its LF."""
    decoder = begun()
    assert decoder.feed(b"X" * 32) == []
    assert decoder.error is None
    assert decoder.feed(b"X") == []
    assert decoder.error is not None
    assert decoder.error.message == 'unknown command "' + "X" * 33 + '"'
    refused(b"X" * 33, 'unknown command "' + "X" * 33 + '"')


@pytest.mark.clause("LIM-01", "F-01")
def test_no_limit_on_commands_keeps_a_command_out() -> None:
    """However low it is set, a real command is read, also in pieces."""
    wire = b"UNSUBSCRIBE\r\nid:1\r\n\r\n\0"
    three_ways(wire, [frame("UNSUBSCRIBE", {"id": "1"})], limits=Limits(command=1))
    refused(b"UNSUBSCRIBED", 'unknown command "UNSUBSCRIBED"', limits=Limits(command=1))


@pytest.mark.clause("LIM-04", "LIM-05", "E-06")
def test_the_length_of_a_body_is_limited() -> None:
    """With and without content-length: the limit is read, one more refused before the NUL."""
    body = b"0123456789"
    three_ways(b"SEND\n\n" + body + b"\0", [frame(SEND, body=body)], limits=SMALL)
    counted = b"SEND\ncontent-length:10\n\n" + body + b"\0"
    three_ways(counted, [frame(SEND, {"content-length": "10"}, body)], limits=SMALL)
    quoted = {"receipt-id": "r"}
    message = "body over the limit"
    head = b"SEND\nreceipt:r\n"
    error = refused(head + b"\n" + body + b"x", message, limits=SMALL, headers=quoted)
    assert "the 10 octets allowed" in error.detail
    refused(head + b"\n" + body + b"x\0", message, limits=SMALL, headers=quoted)
    refused(head + b"content-length:11\n\n", message, limits=SMALL, headers=quoted)
    many = Decoder(limits=Limits(body=10))
    many.begin("1.2")
    many.feed(head + b"\n" + b"x" * 5)
    many.feed(b"x" * 5 + b"xxx\0")
    assert many.error is not None
    assert many.error.message == message


@pytest.mark.clause("LIM-04")
def test_limits_may_change_when_the_version_is_agreed() -> None:
    """Before the login a frame may be small only; begin gives the limits of the session."""
    decoder = Decoder(limits=SMALL)
    assert len(decoder.feed(b"CONNECT\n\n\0SEND\n\n0123456789abc\0")) == 1
    decoder.begin("1.2", Limits(body=13))
    assert decoder.limits.body == 13
    assert read(decoder.feed(b"")) == [frame(SEND, body=b"0123456789abc")]
    refused(b"CONNECT\n\n0123456789a", "body over the limit", version=None, limits=SMALL)


# Early refusal.


@pytest.mark.clause("F-08", "CF-01")
@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (b"send", "commands are upper case: SEND"),
        (b"Connect", "commands are upper case: CONNECT"),
        (b"SEND ", "nothing may stand around the command; write SEND"),
        (b"GET / HTTP/1.1", "this is a STOMP port"),
        (b"EHLO me", "this is a STOMP port"),
        (b"help", "this is a STOMP port"),
        (b"?", "this is a STOMP port"),
        (b"FOO", "commands are ABORT ACK BEGIN"),
        (b"SENDX", "commands are ABORT ACK BEGIN"),
        (b"{json}", "commands are ABORT ACK BEGIN"),
        (b"\x1b[D", "commands are ABORT ACK BEGIN"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_unknown_command_is_refused_at_its_line(line: bytes, hint: str, end: bytes) -> None:
    """Nobody has to type a NUL to learn what was wrong with the first line."""
    shown = line.decode().replace("\x1b", "\\x1b")
    for version in (None, "1.2"):
        error = refused(line + end, f'unknown command "{shown}"', version=version, headers={})
        assert error.detail.startswith(hint)


@pytest.mark.clause("CF-01")
def test_a_client_is_not_told_how_to_start_a_session() -> None:
    """The hints about ports and sessions are for those who come to a server."""
    error = refused(b"HTTP/1.1 400 no\n", 'unknown command "HTTP/1.1 400 no"', role="client")
    assert error.detail == "commands are CONNECTED ERROR MESSAGE RECEIPT"
    error = refused(b"GET /\n", 'unknown command "GET /"', role="client")
    assert error.detail == "commands are CONNECTED ERROR MESSAGE RECEIPT"


@pytest.mark.clause("E-06", "R-04")
def test_an_unknown_command_carries_its_receipt_if_it_came_along() -> None:
    """Whoever sends a whole frame learns which one it was."""
    decoder = begun()
    assert decoder.feed(b"FOO\na:b\nreceipt:x\\cy\n\nbody\0") == []
    assert decoder.error is not None
    assert decoder.error.headers == {"receipt-id": "x:y"}


@pytest.mark.clause("F-12", "ESC-02", "F-22", "F-11", "F-16")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"no colon", "header line without a colon"),
        (b":v", "header line without a name"),
        (b"x:\\t", "undefined escape sequence in a header"),
        (b"x:\xff", "header line is not UTF-8"),
        (b"x:a\rb", "carriage return inside a header line"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bad_header_line_is_refused_at_its_end(line: bytes, message: str, end: bytes) -> None:
    """The error comes with the line's LF, whole or octet by octet, and names the receipt."""
    wire = end.join([b"SEND", b"receipt:r\\c1", line, b""])
    refused(wire, message, headers={"receipt-id": "r:1"})
    decoder = begun()
    octets(decoder, wire[:-1])
    assert decoder.error is None, "refused before the line was whole"


@pytest.mark.clause("E-06")
def test_the_receipt_of_a_damaged_head_is_found_behind_the_damage() -> None:
    """As long as the head is whole its receipt identifies it, wherever it stands."""
    decoder = begun()
    decoder.feed(b"SEND\nbad\nreceipt:r\n\nx\0")
    assert decoder.error is not None
    assert decoder.error.headers == {"receipt-id": "r"}


@pytest.mark.clause("E-06", "V10-04")
def test_the_receipt_of_a_damaged_head_is_read_by_its_version() -> None:
    """1.0 trims it, 1.2 decodes it, CONNECT takes it literally; what cannot be read is left out."""
    message = "header line without a colon"
    refused(
        b"SEND\n receipt : r\\c \nbad\n", message, version="1.0", headers={"receipt-id": "r\\c"}
    )
    refused(b"SEND\nreceipt:r\\c\nbad\n", message, headers={"receipt-id": "r:"})
    refused(
        b"CONNECT\nreceipt: r\\c\nbad\n", message, version=None, headers={"receipt-id": " r\\c"}
    )
    refused(b"STOMP\r\nreceipt:r\\t\r\nbad\r\n", message, headers={"receipt-id": "r\\t"})
    refused(b"SEND\nx-receipt:q\nbad\n", message, headers={})
    refused(b"SEND\nreceipt:a\\t\n", "undefined escape sequence in a header", headers={})


@pytest.mark.clause("R-07")
def test_good_frames_before_a_bad_one_are_handed_out() -> None:
    """What was received whole is processed; the error stands behind it."""
    decoder = begun()
    assert read(decoder.feed(SENT + SENT + b"nonsense\n" + SENT)) == [BEFORE, BEFORE]
    assert decoder.error is not None
    assert str(decoder.error).startswith('unknown command "nonsense": ')


def test_the_end_of_the_line_is_no_part_of_what_is_quoted() -> None:
    """CR LF is how a line ends, also behind octets that start no command."""
    decoder = begun()
    decoder.feed(b"\tSEND\r\n")
    assert decoder.error is not None
    assert decoder.error.message == 'unknown command "\\tSEND"'
    assert decoder.error.detail == "nothing may stand around the command; write SEND"


def test_control_octets_at_a_frame_boundary_are_refused_at_once() -> None:
    """They start no command, so nothing waits for the end of the line; telnet keys included."""
    for octet in (b"\x01", b"\x04", b"\t", b"\x0c", b"\xff"):
        decoder = begun()
        assert decoder.feed(octet) == []
        assert decoder.error is not None
        assert decoder.error.message.startswith("unknown command")
        assert decoder.answers == []


# CR NUL.


@pytest.mark.clause("F-20")
@pytest.mark.parametrize("version", [None, *VERSIONS])
@pytest.mark.parametrize(
    "wire",
    [b"\r\0", b"CONNECT\r\0", b"CONNECT\nhost:x\r\0", b"CONNECT\n\r\0", b"SEND\na:b\n\r\0\n\n\0"],
)
def test_cr_nul_means_a_telnet_in_character_mode(version: str | None, wire: bytes) -> None:
    """Where a line should end, CR NUL is refused in every version, with the remedy."""
    error = refused(wire, "CR NUL instead of a line end", version=version)
    assert error.detail == (
        "your telnet is in character mode: type ^] then `mode line`, or `toggle crlf`"
    )


def test_cr_nul_at_the_end_of_a_body_is_no_fault() -> None:
    """In a body CR is data and the NUL is the end."""
    three_ways(b"SEND\n\nx\r\0", [frame(SEND, body=b"x\r")])


# Holding.


@pytest.mark.clause("C-21", "F-01")
@pytest.mark.parametrize("command", [b"CONNECT", b"STOMP"])
@pytest.mark.parametrize("body", [b"", b"\r\n"])
def test_octets_behind_connect_wait_for_the_version(command: bytes, body: bytes) -> None:
    """The same octets mean different things in 1.0 and 1.2, so nothing is read before begin."""
    wire = command + b"\n\n" + body + b"\0SEND\n a:b\\n\n\n\0"
    for split in (False, True):
        for version, headers in (("1.0", {"a": "b\\n"}), ("1.2", {" a": "b\n"})):
            decoder = Decoder()
            connect = frame(command.decode(), {}, body)
            assert (octets(decoder, wire) if split else read(decoder.feed(wire))) == [connect]
            assert decoder.pending == len(b"SEND\n a:b\\n\n\n\0")
            assert decoder.feed(b"SEND") == []
            decoder.begin(version)
            assert decoder.version == version
            assert read(decoder.feed(b"")) == [frame(SEND, headers)]
            assert decoder.pending == 4
            assert read(decoder.feed(b"\n\n\0")) == [frame(SEND)]


def test_a_client_holds_behind_connected() -> None:
    """The server's version is known only from CONNECTED; ERROR does not fix one."""
    decoder = Decoder("client")
    error = frame("ERROR", {"m": "a\\c"})
    wire = b"ERROR\nm:a\\c\n\n\0CONNECTED\n\n\0MESSAGE\nm:a\\c\n\n\0"
    assert read(decoder.feed(wire)) == [error, frame("CONNECTED")]
    decoder.begin("1.1")
    assert read(decoder.feed(b"")) == [frame("MESSAGE", {"m": "a:"})]


def test_damage_behind_connect_is_found_after_begin() -> None:
    """A bad frame behind CONNECT does not spoil CONNECT."""
    decoder = Decoder()
    assert len(decoder.feed(b"CONNECT\n\n\0\0\nnonsense\n")) == 1
    assert decoder.error is None
    decoder.begin("1.2")
    assert decoder.feed(b"") == []
    assert decoder.error is not None


def test_a_second_connect_is_an_ordinary_frame() -> None:
    """Once a version is agreed nothing is held again; the session decides about it."""
    three_ways(b"CONNECT\n\n\0SEND\n\n\0", [frame("CONNECT"), frame(SEND)])


@pytest.mark.clause("C-23")
def test_other_frames_before_connect_are_handed_out() -> None:
    """The decoder has no opinion on order; it reads them literally, since no version is known."""
    three_ways(b"SEND\n a:\\t\n\nx\0", [frame(SEND, {" a": "\\t"}, b"x")], version=None)


# Shared heads.

BLOCKS = [
    b"SEND\ndestination:/queue/a\ncontent-length:2\n\nhi\0",
    b"SEND\ndestination:/queue/a\nx:a b\n\nhi\0",
    b"SEND\n k : v \n\nhi\0",
    b"SEND\nx:a\\cb\n\nhi\0",
    b"SEND\nx:a\rb\n\nhi\0",
    b"SEND\nx:\xff\n\nhi\0",
    b"SEND\nx:\n\nhi\0",
    b"SEND\nx:1\nx:2\n\nhi\0",
    b"SEND\nx:1\n\0",
    b"SEND\r\nx:1\r\n\r\nhi\0",
    b"SEND\ncontent-length:x\n\nhi\0",
    b"SEND\ncontent-length:3\n\nhi\0!",
    b"MESSAGE\nx:1\n\nhi\0",
    b"ACK\nid:1\ncontent-length:2\n\nhi\0",
    b"CONNECTED\nx:1\n\n\0",
    b"CONNECT\nx:\\c\n\n\0",
    b"FOO\nx:1\n\n\0",
]


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_shared_table_of_heads_never_changes_what_is_read(role: Role) -> None:
    """Whatever other connections sent before, and however often: each reads as if it were alone."""
    table = HeadTable(role)
    blocks = [*BLOCKS, *(block.replace(b"SEND", b"MESSAGE", 1) for block in BLOCKS)]
    for _ in range(4):
        for version in VERSIONS:
            for block in blocks:
                alone = Decoder(role)
                alone.begin(version)
                shared = Decoder(role, table=table)
                shared.begin(version)
                for _ in range(3):
                    expected = read(alone.feed(block))
                    assert read(shared.feed(block)) == expected
                    assert str(shared.error) == str(alone.error)


@pytest.mark.clause("F-10")
def test_a_frame_of_the_wrong_side_is_refused_however_often_it_comes() -> None:
    """MESSAGE from the third client is refused as it was from the first."""
    table = HeadTable("server")
    for _ in range(5):
        decoder = Decoder(table=table)
        decoder.begin("1.2")
        assert decoder.feed(b"MESSAGE\nx:1\n\n\0") == []
        assert decoder.error is not None


@pytest.mark.clause("LIM-04", "LIM-02")
def test_a_shared_table_keeps_limits_apart() -> None:
    """What a connection with larger limits sent is still too much from one with smaller ones."""
    table = HeadTable("server")
    wire = b"SEND\na:1\nb:2\ncontent-length:6\n\nabcdef\0"
    for _ in range(3):
        wide = Decoder(table=table)
        wide.begin("1.2")
        assert len(wide.feed(wire)) == 1
        for limits in (Limits(body=5), Limits(headers=2)):
            narrow = Decoder(table=table)
            narrow.begin("1.2", limits)
            assert narrow.feed(wire) == []
            assert narrow.error is not None


def test_equal_heads_are_one_object_once_they_came_twice() -> None:
    """What a layer above worked out from a head stays with it for the next equal one."""
    table = HeadTable()
    heads = []
    for _ in range(3):
        decoder = Decoder(table=table)
        decoder.begin("1.2")
        heads += [head for head, _ in decoder.feed(SENT)]
    assert heads[1] is heads[2]
    assert heads[0] is not heads[1]


def test_tables_of_heads_stay_bounded() -> None:
    """Headers that differ in every frame push out old heads and shapes, and nothing breaks."""
    table = HeadTable()
    decoder = Decoder(table=table)
    decoder.begin("1.2")
    for number in range(1500):
        wire = b"SEND\nk:%d\n\n\0" % number
        assert read(decoder.feed(wire * 2)) == [frame(SEND, {"k": str(number)})] * 2
    for number in range(600):
        three = [frame(SEND, {f"k{number}": "v"})]
        assert read(decoder.feed(b"SEND\nk%d:v\n\n\0" % number)) == three
    for number in range(5000):
        decoder.feed(b"SEND\nonce:%d\n\n\0" % number)
    assert len(table.of("1.2", decoder.limits).heads) <= 1024
    long_names = b"".join(b"name-%d-%b:v\n" % (n, b"x" * 90) for n in range(20))
    assert len(decoder.feed(b"SEND\n" + long_names + b"\n\0")) == 1
    assert decoder.error is None


def test_large_heads_are_read_but_not_kept() -> None:
    """A head over a kilobyte is parsed anew each time."""
    wire = b"SEND\nk:" + b"x" * 2000 + b"\n\n\0"
    decoder = begun()
    heads = [head for _ in range(3) for head, _ in decoder.feed(wire)]
    assert len({id(head) for head in heads}) == 3


# Cost: counted, never timed.


class Counted(bytes):
    """Octets that count how many of them are searched."""

    searched = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        """As `bytes.find`."""
        found = super().find(sub, start)
        Counted.searched += (found if found >= 0 else len(self)) - start
        return found

    def __radd__(self, other: bytes) -> "Counted":
        return Counted(bytes(other) + bytes(self))


def searched(pieces: list[bytes], decoder: Decoder) -> int:
    """How many octets the decoder searches for these pieces."""
    Counted.searched = 0
    for piece in pieces:
        decoder.feed(Counted(piece))
    assert decoder.error is None
    return Counted.searched


@pytest.mark.clause("F-06", "CL-03")
def test_a_large_body_in_small_pieces_is_searched_once() -> None:
    """Without content-length each octet is looked at once, with it none is."""
    body = [b"x" * 50] * 2000
    size = 50 * 2000
    assert searched([b"SEND\n\n", *body, b"\0"], begun()) <= size + 100
    assert searched([b"SEND\ncontent-length:%d\n\n" % size, *body, b"\0"], begun()) < 100


def test_many_frames_in_one_piece_are_searched_once() -> None:
    """With LF, with CR LF, without blank line: the search never runs far beyond its frame."""
    for one in (b"ACK\nid:1\n\n\0", b"ACK\r\nid:1\r\n\r\n\0", b"ACK\nid:1\n\0"):
        wire = one * 2000
        assert searched([wire], begun()) <= 3 * len(wire)


@pytest.mark.clause("LIM-04")
def test_a_body_in_tiny_pieces_costs_its_own_size() -> None:
    """A peer that drips its body two octets at a time cannot make it weigh more."""
    decoder = begun()
    decoder.feed(b"SEND\ncontent-length:200000\n\n")
    pieces = [b"%02d" % (number % 100) for number in range(99_000)]
    tracemalloc.start()
    for piece in pieces:
        decoder.feed(piece)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoder.pending == 198_000
    assert size < 2 * decoder.pending


@pytest.mark.clause("F-01", "CL-03")
@pytest.mark.parametrize("size", [1, 4095, 4096, 10_000])
def test_a_body_in_pieces_of_any_size_is_whole(size: int) -> None:
    """Small and large pieces in turn give the body as it was sent."""
    body = bytes(number % 251 for number in range(60_000))
    wire = b"SEND\ncontent-length:%d\n\n%b\0" % (len(body), body)
    decoder = begun()
    frames = []
    at = 0
    while at < len(wire):
        for step in (size, 3):
            frames += decoder.feed(wire[at : at + step])
            at += step
    assert [octets for _, octets in frames] == [body]
    assert decoder.pending == 0


def _send(names: int, number: int) -> bytes:
    return b"SEND\n%bx:%d\n\n\0" % (b"h:v\n" + b"k%d:v\n" % names, number)


@pytest.mark.clause("F-04")
def test_the_shape_of_the_last_head_is_not_taken_for_another() -> None:
    """An ACK without headers is none with an id, whatever came before it."""
    for wire in (b"ACK\n\n\0", b"ACK\nid:1\n\n\0ACK\n\n\0", b"NACK\nid:1\n\n\0NACK\n\n\0"):
        (head, _) = begun().feed(wire)[-1]
        assert (head.headers, head.get("id")) == ({}, None)


def test_heads_that_never_repeat_are_not_kept_and_one_that_does_is_found_again() -> None:
    """The table of heads learns what repeats, whatever went by before."""
    decoder = begun()
    for names in range(30):
        for number in range(300):
            decoder.feed(_send(names, number))
    again = [decoder.feed(_send(99, 1))[0][0] for _ in range(3)]
    assert again[1] is again[2]
    late = [decoder.feed(_send(7, 1))[0][0] for _ in range(3000)]
    assert late[-1] is late[-2]


@pytest.mark.clause("LIM-03", "LIM-04")
@pytest.mark.parametrize(
    "start", [b"", b"SEND\n", b"SEND\nk:", b"SEND\n\n", b"SEND\nk:v\r\n", b"\r"]
)
@pytest.mark.parametrize("octet", [b"a", b"a:b\n", b"a:b\r\n", b"\r", b"\0", b"\n", b" ", b"\xff"])
def test_what_is_held_is_bounded(start: bytes, octet: bytes) -> None:
    """Endless octets of any kind end in frames or an error, never in memory."""
    limits = Limits(command=32, line=100, headers=20, head=300, body=200)
    for version in VERSIONS:
        decoder = begun(version, limits)
        decoder.feed(start)
        for _ in range(400):
            decoder.feed(octet * 3)
            assert decoder.pending <= 300 + 20 + 3 * len(octet)
