"""Protocol errors: one line for the header, one for the body, and nothing that harms a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, shown


def test_both_kinds_of_error_have_one_root() -> None:
    """Ours and the peer's can be told apart, and caught together."""
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert not issubclass(RemoteProtocolError, LocalProtocolError)


@pytest.mark.clause("E-03", "E-05")
def test_an_error_has_message_detail_and_headers() -> None:
    """The three parts of an ERROR frame; the headers are the error's own copy."""
    headers = {"receipt-id": "r"}
    error = RemoteProtocolError("short", "long", headers=headers)
    assert (error.message, error.detail, error.headers) == ("short", "long", headers)
    error.headers["version"] = "1.2"
    assert headers == {"receipt-id": "r"}
    assert str(error) == "short: long"
    assert str(RemoteProtocolError("short")) == "short"
    assert RemoteProtocolError("short").headers == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"\x1b[D\r\n\t\0", r"\x1b[D\r\n\t\x00"),
        (b'a "b" \\', r"a \"b\" \\"),
        ("é", r"\xc3\xa9"),
        ("\udcff", r"\xff"),
        (b"x" * 80, "x" * 80),
        (b"x" * 81, "x" * 80 + "..."),
        (b"\x1b" * 21, r"\x1b" * 20 + "..."),
    ],
)
def test_a_peers_octets_are_shown_escaped_and_cut(value: bytes | str, expected: str) -> None:
    """Control octets, quotes and backslashes are escaped, and 80 characters are enough."""
    assert shown(value) == expected


@given(value=st.one_of(st.binary(), st.binary().map(lambda v: v.decode(errors="surrogateescape"))))
def test_what_is_shown_is_always_short_printable_ascii(value: bytes | str) -> None:
    """Whatever a peer sends, a log line stays one line."""
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 83
