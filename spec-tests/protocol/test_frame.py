"""What a frame is to the rest of the program: a head with its headers, and a body."""

import pytest
from protocol.ways import Role

from stompd.protocol.decoder import Decoder
from stompd.protocol.frame import NEVER_FORWARDED, VERSIONS, Head


def head_of(wire: bytes, version: str = "1.2", role: Role = "server") -> Head:
    """The head of the one frame in ``wire``."""
    decoder = Decoder(role)
    decoder.begin(version)
    [(head, _)] = decoder.feed(wire)
    return head


@pytest.mark.clause("HDR-03")
@pytest.mark.parametrize("wire", [b"SEND\nb:1\na:2\n\n\0", b"SEND\nb:1\na:2\nb:3\n\n\0"])
def test_headers_keep_the_order_of_the_wire(wire: bytes) -> None:
    """The dictionary has each name once, in the order in which the names first came."""
    head = head_of(wire)
    assert list(head.headers.items()) == [("b", "1"), ("a", "2")]
    assert head.headers is head.headers


def test_one_header_is_found_by_name() -> None:
    """Get gives the value, the first of repeated ones, and None for what is not there."""
    head = head_of(b"SEND\na:1\na:2\ne:\n\n\0")
    assert (head.get("a"), head.get("e"), head.get("x")) == ("1", "", None)


def test_a_head_shows_what_it_is() -> None:
    """Its repr names command and headers, for logs and for failing tests."""
    assert repr(head_of(b"ACK\nid:7\n\n\0")) == "<Head ACK {'id': '7'}>"


def test_a_head_can_be_made_from_names_and_values() -> None:
    """A head that never was octets reads like one that was, and cannot be forwarded as octets."""
    made = Head.of("SEND", {"destination": "/queue/a", "k": "v"}, content_length=3)
    read = head_of(b"SEND\ndestination:/queue/a\nk:v\n\nabc\0")
    assert made.headers == read.headers
    assert made.command == read.command
    assert made.get("k") == "v"
    assert made.content_length == 3
    assert (made.block, made.plain) == (b"", False)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_block_is_what_was_received(version: str) -> None:
    """The header lines of an ordinary frame are kept, so that they can be forwarded as they are."""
    head = head_of(b"SEND\ndestination:/queue/a\nk:v w\n\nx\0".replace(b" ", b"-"), version)
    assert head.plain
    assert head.block == b"destination:/queue/a\nk:v-w"
    assert head_of(b"SEND\n\nx\0", version).block == b""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "line",
    [b"k:a\\\\b", b"k:a:b", b"k:", b"k:1\nk:2", b"k:a\\nb"],
    ids=["backslash", "colon", "empty", "repeated", "escape"],
)
def test_a_block_that_versions_read_differently_is_not_plain(version: str, line: bytes) -> None:
    """Escapes, colons, empty values and repeats have to be written anew for each consumer."""
    assert not head_of(b"SEND\n" + line + b"\n\nx\0", version).plain


def test_every_block_is_kept_with_lf_between_its_lines() -> None:
    """Also of heads that had to be read with care: CR LF, escapes, CONNECT."""
    wire = b"SEND\r\nk:a\\cb\r\nl:\r\n\r\n\0"
    assert head_of(wire).block == b"k:a\\cb\nl:"
    assert head_of(b"CONNECT\nhost:x\nlogin:u\n\n\0").block == b"host:x\nlogin:u"


@pytest.mark.clause("CL-05", "CL-07")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("value", [b"01", b" 1", b"0000000001"])
def test_a_block_with_an_odd_content_length_is_not_plain(version: str, value: bytes) -> None:
    """It is tolerated, but a consumer gets plain digits."""
    wire = b"SEND\ndestination:/queue/a\ncontent-length:"
    assert head_of(wire + b"1\n\nx\0", version).plain
    head = head_of(wire + value + b"\n\nx\0", version)
    assert (head.content_length, head.plain) == (1, False)


@pytest.mark.clause("V10-04", "V11-03", "F-22")
def test_what_only_an_old_version_allows_is_not_plain() -> None:
    """Padding in 1.0, raw CRs in 1.1, octets that are not UTF-8."""
    assert not head_of(b"SEND\nk: v\n\n\0", "1.0").plain
    assert not head_of(b"SEND\nk:\tv\n\n\0", "1.0").plain
    assert not head_of(b"SEND\nk:a\rb\n\n\0", "1.1").plain
    assert not head_of(b"SEND\nk:\xff\n\n\0", "1.0").plain


@pytest.mark.clause("S-07")
def test_a_shape_knows_whether_anything_is_for_the_broker_alone() -> None:
    """Receipt, transaction and what a broker writes itself are never forwarded."""
    assert head_of(b"SEND\ndestination:a\nk:v\n\n\0").shape.clean
    for name in NEVER_FORWARDED:
        assert not head_of(b"SEND\n" + name.encode() + b":v\n\n\0").shape.clean


def test_heads_with_equal_names_share_a_shape() -> None:
    """What depends on names alone is worked out once, whatever the values are."""
    decoder = Decoder()
    decoder.begin("1.2")
    wire = b"SEND\na:1\nb:2\n\n\0SEND\na:3\nb:4\n\n\0SEND\nb:1\na:2\n\n\0ACK\na:1\nb:2\n\n\0"
    first, second, other_order, other_command = (head.shape for head, _ in decoder.feed(wire))
    assert first is second
    assert first is not other_order
    assert first is not other_command
