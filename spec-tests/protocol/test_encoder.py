"""The encoder: frames to octets by the rules of each version, and nothing that cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.ways import Role, read

from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode, encode_lines, with_length
from stompd.protocol.errors import LocalProtocolError
from stompd.protocol.frame import BODY_COMMANDS, CLIENT_COMMANDS, SERVER_COMMANDS, VERSIONS

Pairs = list[tuple[str, str]]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
pairs = st.lists(st.tuples(texts.filter(bool), texts), max_size=5, unique_by=lambda pair: pair[0])


def decoded(wire: bytes, version: str, command: str) -> tuple[str, Pairs, bytes]:
    """The one frame in ``wire``."""
    role: Role = "server" if command in CLIENT_COMMANDS else "client"
    decoder = Decoder(role)
    decoder.begin(version)
    [got] = read(decoder.feed(wire))
    assert decoder.error is None
    assert decoder.pending == 0
    return got


@pytest.mark.clause("F-01", "ESC-03", "ESC-09", "F-13", "F-14", "F-17", "F-21")
@given(
    command=st.sampled_from(sorted(BODY_COMMANDS)),
    headers=pairs,
    body=st.binary(max_size=50),
    version=st.sampled_from(("1.1", "1.2")),
)
def test_any_frame_of_1_1_and_1_2_comes_back(
    command: str, headers: Pairs, body: bytes, version: str
) -> None:
    """Names and values of any characters, bodies of any octets; 1.1 loses a CR before the LF."""
    headers = with_length([pair for pair in headers if pair[0] != "content-length"], body)
    wire = encode(command, headers, body, version=version)
    if version == "1.1":
        headers = [(name, value.removesuffix("\r")) for name, value in headers]
    assert decoded(wire, version, command) == (command, headers, body)
    head = wire.partition(b"\n\n")[0].split(b"\n")
    assert all(line.count(b":") == 1 for line in head[1:])
    assert version == "1.1" or not any(b"\r" in line for line in head)


@pytest.mark.clause("V10-05", "V10-06", "V10-16")
@given(
    headers=st.lists(
        st.tuples(
            st.text("abc\\é-", min_size=1, max_size=9),
            st.text("abc:\\ né", max_size=9).map(str.strip),
        ),
        max_size=5,
        unique_by=lambda pair: pair[0],
    ),
    body=st.binary(max_size=50),
)
def test_a_frame_of_1_0_comes_back_without_its_empty_headers(headers: Pairs, body: bytes) -> None:
    """No escapes: backslashes and colons of values stay as they are; empty values are left out."""
    headers = with_length(headers, body)
    wire = encode("SEND", headers, body, version="1.0")
    assert decoded(wire, "1.0", "SEND") == ("SEND", [pair for pair in headers if pair[1]], body)


@pytest.mark.clause("V10-05", "V10-06", "V10-07", "V11-01", "V11-03")
@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ("1.2", b"k\\cey:a\\rb\\nc\\cd\\\\e\nempty:\n"),
        ("1.1", b"k\\cey:a\rb\\nc\\cd\\\\e\nempty:\n"),
        ("1.0", b"k:ey:a\\rb\\nc:d\\e\n"),
    ],
)
def test_each_version_writes_the_same_header_in_its_own_way(version: str, lines: bytes) -> None:
    """What one version escapes another writes raw or leaves out."""
    headers = [("k:ey", "a\rb\nc:d\\e"), ("empty", "")]
    assert b"".join(encode_lines(headers, version)) == lines
    assert encode("SEND", headers, version=version) == b"SEND\n" + lines + b"\n\0"


@pytest.mark.clause("ESC-05", "ESC-06", "ESC-07")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["CONNECT", "STOMP", "CONNECTED"])
def test_connect_and_connected_are_written_literally(command: str, version: str) -> None:
    """Nothing is escaped in them, and empty values stay, in every version."""
    wire = encode(command, [("passcode", "a:b\\c"), ("x", ""), ("é", "\udcff")], version=version)
    assert wire == command.encode() + b"\npasscode:a:b\\c\nx:\n\xc3\xa9:\xff\n\n\0"


@pytest.mark.clause("ESC-08")
@pytest.mark.parametrize("command", ["RECEIPT", "ERROR"])
def test_receipt_and_error_are_escaped(command: str) -> None:
    """The exemption is for CONNECT, STOMP and CONNECTED only."""
    wire = command.encode() + b"\nreceipt-id:a\\cb\\\\c\n\n\0"
    assert encode(command, [("receipt-id", "a:b\\c")]) == wire


@pytest.mark.clause("F-07")
def test_the_end_of_a_frame_is_chosen_by_the_caller() -> None:
    """NUL alone, or with an LF for terminals."""
    assert encode("RECEIPT", [("receipt-id", "1")]).endswith(b"\n\n\0")
    assert encode("RECEIPT", [("receipt-id", "1")], end=b"\0\n").endswith(b"\n\n\0\n")


@pytest.mark.clause("F-21", "F-22")
def test_what_is_not_utf_8_is_written_for_1_0_alone() -> None:
    """Octets of a 1.0 peer pass to 1.0; elsewhere, and for stray surrogates, U+FFFD is written."""
    header = [("k", "\udcff"), ("l", "\ud800")]
    assert encode("MESSAGE", header, version="1.0") == "MESSAGE\nk:\0l:�\n\n\0".encode().replace(
        b"\0l", b"\xff\nl", 1
    )
    for version in ("1.1", "1.2"):
        assert encode("MESSAGE", header, version=version) == "MESSAGE\nk:�\nl:�\n\n\0".encode()


@pytest.mark.clause("F-10")
@pytest.mark.parametrize("command", ["", "send", "FOO", "SEND\nx:y"])
def test_an_unknown_command_is_not_written(command: str) -> None:
    """There are fifteen commands."""
    with pytest.raises(LocalProtocolError, match="is not a STOMP command"):
        encode(command, [])


@pytest.mark.clause("BOD-01", "BOD-02")
@pytest.mark.parametrize("command", sorted(CLIENT_COMMANDS | SERVER_COMMANDS))
def test_only_three_frames_are_written_with_a_body(command: str) -> None:
    """SEND, MESSAGE and ERROR."""
    assert encode(command, []) == command.encode() + b"\n\n\0"
    if command in BODY_COMMANDS:
        assert encode(command, [], b"x") == command.encode() + b"\n\nx\0"
        return
    with pytest.raises(LocalProtocolError, match=f"{command} cannot have a body"):
        encode(command, [], b"\n")


@pytest.mark.clause("CL-06")
def test_a_body_with_a_nul_needs_a_content_length() -> None:
    """The peer would take the NUL for the end of the frame."""
    with pytest.raises(LocalProtocolError, match="needs a content-length"):
        encode("SEND", [("a", "b")], b"a\0b")
    assert encode("SEND", [("content-length", "3")], b"a\0b").endswith(b"\n\na\0b\0")


@pytest.mark.clause("CL-02", "CL-03")
@pytest.mark.parametrize("value", ["2", "4", "", "x", "-3", "3.0"])
def test_a_content_length_has_to_count_the_body(value: str) -> None:
    """A wrong one would make the peer read the next frame as part of this one."""
    with pytest.raises(LocalProtocolError, match="does not count the 3 octets"):
        encode("SEND", [("a", "b"), ("content-length", value), ("content-length", "3")], b"abc")


@pytest.mark.clause("F-11", "F-20")
@pytest.mark.parametrize("command", ["SEND", "CONNECT"])
@pytest.mark.parametrize("header", [("", "v"), ("a\0", "v"), ("a", "v\0w")])
def test_headers_without_name_or_with_a_nul_are_not_written(
    command: str, header: tuple[str, str]
) -> None:
    """No version could read them."""
    for version in VERSIONS:
        with pytest.raises(LocalProtocolError, match="header"):
            encode(command, [header], version=version)


@pytest.mark.clause("ESC-05", "F-14")
@pytest.mark.parametrize(
    "header", [("a:b", "v"), ("a\nb", "v"), ("a", "v\nw"), ("a\rb", "v"), ("a", "v\r")]
)
def test_connect_cannot_carry_line_breaks_or_colons_in_names(header: tuple[str, str]) -> None:
    """Without escapes they would become other headers: refused instead of smuggled in."""
    with pytest.raises(LocalProtocolError, match="CONNECT cannot carry"):
        encode("CONNECT", [header])


@pytest.mark.clause("CL-05")
def test_with_length_counts_a_body_that_is_not_counted_yet() -> None:
    """Added behind the others, once, and not for an empty body."""
    assert with_length([("a", "b")], b"xyz") == [("a", "b"), ("content-length", "3")]
    assert with_length([("content-length", "3")], b"xyz") == [("content-length", "3")]
    assert with_length([("a", "b")], b"") == [("a", "b")]
