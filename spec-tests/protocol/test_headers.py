"""Header names and values: octets to text and back, by the rules of each version."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import VERSIONS
from stompd.protocol.headers import content_length, escape, parse_line, restore, unescape

texts = st.text(st.characters(codec="utf-8"))


@pytest.mark.clause("ESC-03", "V11-03", "V10-05")
@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.2", rb"a\rb\nc\cd\\e"), ("1.1", b"a\rb\\nc\\cd\\\\e"), ("1.0", rb"a\rb\nc:d" + b"\\e")],
)
def test_each_version_escapes_its_own_octets(version: str, expected: bytes) -> None:
    """1.2 escapes four octets, 1.1 not CR, 1.0 only the two that would break the line."""
    assert escape("a\rb\nc:d\\e", version) == expected


@pytest.mark.clause("ESC-01", "ESC-03")
@given(text=texts, version=st.sampled_from(("1.1", "1.2")))
def test_unescape_is_the_inverse_of_escape(text: str, version: str) -> None:
    """What is written comes back, whatever it holds."""
    octets = escape(text, version)
    assert unescape(octets.decode(), version) == text
    assert b"\n" not in octets
    assert b":" not in octets
    assert b"\r" not in octets or version == "1.1"


@pytest.mark.clause("ESC-02", "ESC-04", "V11-02")
@given(text=st.text(st.sampled_from("\\nrc:x")), version=st.sampled_from(("1.1", "1.2")))
def test_escape_gives_back_what_unescape_accepts(text: str, version: str) -> None:
    """An escaped text has one meaning, and that meaning one escaped text; the rest is refused."""
    try:
        meaning = unescape(text, version)
    except RemoteProtocolError:
        known = "nc\\" + ("r" if version == "1.2" else "")
        assert "\\" in re.sub(rf"\\[{re.escape(known)}]", "", text)
        return
    assert escape(meaning, version).decode() == text.replace(":", "\\c")


@pytest.mark.clause("V10-05")
@given(text=texts)
def test_1_0_unescapes_nothing(text: str) -> None:
    """A backslash is data there."""
    assert unescape(text, "1.0") == text


@pytest.mark.clause("ESC-02")
def test_an_undefined_escape_is_quoted_with_those_that_exist() -> None:
    """The author of the peer learns which sequence was wrong and what would be right."""
    with pytest.raises(RemoteProtocolError, match="undefined escape") as caught:
        unescape("a\\tb", "1.2")
    assert caught.value.detail == r'"\\t" in "a\\tb"; STOMP 1.2 knows \r \n \c \\'
    with pytest.raises(RemoteProtocolError) as caught:
        unescape("a\\", "1.1")
    assert caught.value.detail == r'"\\" in "a\\"; STOMP 1.1 knows \n \c \\'


@pytest.mark.clause("F-21", "F-22")
def test_octets_of_a_1_0_peer_stay_what_they_are_or_become_the_replacement_character() -> None:
    """1.0 gets them back unchanged; 1.1 and 1.2, which are UTF-8, get U+FFFD."""
    text = b"a\xffb\xc3".decode("utf-8", "surrogateescape")
    assert escape(text, "1.0") == b"a\xffb\xc3"
    for version in ("1.1", "1.2"):
        assert escape(text + ":", version).decode() == "a\ufffdb\ufffd\\c"


@pytest.mark.clause("F-21")
@pytest.mark.parametrize("version", VERSIONS)
def test_surrogates_that_are_no_octets_become_the_replacement_character(version: str) -> None:
    """Half a pair from a careless program is written in no version, and fails in none."""
    assert escape("a\ud800b\udfffc\udc7f\udd00", version).decode() == "a\ufffdb\ufffdc\ufffd\ufffd"


@given(octets=st.binary())
def test_restore_gives_back_all_octets(octets: bytes) -> None:
    """Octets taken as text, UTF-8 or not, come out as they came in."""
    assert restore(octets.decode("utf-8", "surrogateescape")) == octets


@given(text=st.text(st.characters()), version=st.sampled_from(VERSIONS))
def test_any_text_can_be_written(text: str, version: str) -> None:
    """No text of Python makes a header that cannot be written."""
    octets = escape(text, version)
    assert b"\n" not in octets
    if version != "1.0":
        octets.decode()


@pytest.mark.clause("CL-02", "CL-07")
@pytest.mark.parametrize(
    ("value", "octets"),
    [("0", 0), ("7", 7), (" 7\t", 7), ("007", 7), ("1000", 1000), ("0" * 99, 0)],
)
def test_content_length_is_a_number_of_octets(value: str, octets: int) -> None:
    """Decimal digits, blanks around them, up to the limit and with it."""
    assert content_length(value, 1000) == octets


@pytest.mark.clause("CL-07", "LIM-04")
@pytest.mark.parametrize("value", ["1001", "9" * 18, "9" * 19, "9" * 100_000])
def test_content_length_over_the_limit_is_refused(value: str) -> None:
    """However many digits there are, it costs no conversion."""
    with pytest.raises(RemoteProtocolError, match="body over the limit"):
        content_length(value, 1000)


@pytest.mark.clause("F-12", "F-11", "ESC-02", "F-16", "F-22")
@pytest.mark.parametrize(
    ("line", "version"),
    [(b"x", "1.2"), (b":x", "1.0"), (b"a:\\x", "1.1"), (b"a\rb:c", "1.2"), (b"a:\xc3", "1.1")],
)
def test_an_error_in_a_line_tells_its_number(line: bytes, version: str) -> None:
    """Lines are counted within the frame, the command being the first."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse_line(line, version, 17)
    assert caught.value.detail.startswith("line 17: ")
