"""Strangers' octets on a terminal, and the formats."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompcli import render
from stompcli.client import Message, Subscription
from stompd.protocol.frame import Head

HOSTILE = "\x1b]0;x\x07\x1b[31m \x08\x7f \x9b31m \u202eevil\u2066 \r over [red] :smile:\n\tend"


def message(body: bytes = b"hello world", **headers: str) -> Message:
    """Return a message as a subscription would deliver it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    pairs = {"subscription": "1", "message-id": "c1-1", "destination": "/queue/test", **named}
    subscription = Subscription(None, "/queue/test", "1", "auto")  # type: ignore[arg-type]
    return Message(subscription, Head.of("MESSAGE", pairs), body)


def harmless(text: str) -> bool:
    """Return whether a terminal can only print this, from left to right."""
    return all(
        c in "\n\t"
        or (
            unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp")
            and unicodedata.bidirectional(c)
            not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        )
        for c in text
    )


@pytest.mark.parametrize("form", ["stomp.py", "pretty", "json", "pattern", "body"])
def test_hostile_octets_never_reach_a_terminal(form: str) -> None:
    """In no format does a header or a body bring a control character to a terminal."""
    one = message(HOSTILE.encode() + b"\xff\xfe", evil=HOSTILE, content_type="a/b\x1b[2J")
    shown = {
        "stomp.py": lambda: render.stomp_py(one, tty=True),
        "pretty": lambda: render.pretty(one, 1, full=True, tty=True),
        "json": lambda: render.as_json(one, 1),
        "pattern": lambda: render.pattern(one, 1, "{header.evil} {body}\\n", tty=True),
        "body": lambda: render.visible_body(one.body).encode(),
    }[form]()
    assert harmless(shown.decode())


@given(st.binary(max_size=600))
def test_any_body_is_harmless(body: bytes) -> None:
    """Whatever the octets, what a terminal gets is printable."""
    assert harmless(render.visible_body(body))


@given(st.text(st.characters(), max_size=50))
def test_any_line_stays_one_line(text: str) -> None:
    """Whatever the header, it is shown on one line."""
    shown = render.visible_line(text)
    assert harmless(shown)
    assert shown.splitlines() in ([], [shown])


def test_escapes_are_readable() -> None:
    """Control characters, octets that are no UTF-8 and bidi controls are shown as escapes."""
    assert render.visible_line("a\x1b[0m\n\u202e\x9b") == r"a\x1b[0m\x0a\u202e\x9b"
    assert render.visible_body(b"caf\xc3\xa9 is not caf\xe9\tx\n") == "café is not caf\\xe9\tx\n"


def test_long_bodies_are_cut() -> None:
    """A terminal gets two kilobytes of a long text, and is told how much is missing."""
    shown = render.visible_body(b"x" * 10_000)
    assert shown == "x" * 2048 + "\n... 7,952 more octets"


def test_binary_bodies_are_dumped() -> None:
    """A terminal gets a hex dump of 256 octets, and the size."""
    lines = render.visible_body(bytes(range(256)) * 2).split("\n")
    assert lines[0] == "512 octets, not text:"
    assert lines[1].startswith("00000000  00 01 02")
    assert lines[5] == f"{'00000040':8}  " + " ".join(f"{n:02x}" for n in range(64, 80)) + (
        "  @ABCDEFGHIJKLMNO"
    )
    assert len(lines) == 17


def test_pipes_get_exact_octets() -> None:
    """Off a terminal nothing is escaped, cut or added but the line end."""
    body = HOSTILE.encode() + b"\xff" * 3000
    assert render.stomp_py(message(body, x="\x1b"), tty=False).endswith(
        b"\nx: \x1b\n\n" + body + b"\n"
    )
    assert render.pattern(message(body), 1, "{body}", tty=False) == body


def test_stomp_py_format() -> None:
    """The shell shows messages as stomp.py does."""
    assert render.stomp_py(message(content_type="text/plain"), tty=True).decode() == (
        "MESSAGE\nsubscription: 1\nmessage-id: c1-1\ndestination: /queue/test\n"
        "content-type: text/plain\n\nhello world\n"
    )


def test_pretty_format() -> None:
    """People get what matters in one line, then further headers, then the body."""
    one = message(content_type="text/plain", priority="4", x_tag="a")
    assert render.pretty(one, 3, full=False, tty=True).decode() == (
        "[#3] /queue/test  11 B  text/plain  id c1-1\n  priority: 4\n  x-tag: a\nhello world\n"
    )
    assert "  subscription: 1\n" in render.pretty(one, 3, full=True, tty=True).decode()


def test_json_format() -> None:
    """A line of JSON has number, destination, headers and body, whatever the octets are."""
    assert render.as_json(message(content_length="11"), 1) == (
        b'{"n":1,"destination":"/queue/test","headers":{"subscription":"1",'
        b'"message-id":"c1-1","content-length":"11"},"body":"hello world"}\n'
    )
    assert json.loads(render.as_json(message(b"\xff\0"), 2))["body_base64"] == "/wA="
    assert "body" not in json.loads(render.as_json(message(b"x"), 2, body=False))


def test_repeated_headers_in_json() -> None:
    """Of repeated headers the first counts, and all are listed."""
    one = message()
    one._head.parts += ["foo", "1", "foo", "2"]  # noqa: SLF001 - as a decoder leaves them
    one._head.shape.index["foo"] = len(one._head.parts) - 3  # noqa: SLF001 - as above
    value = json.loads(render.as_json(one, 1))
    assert value["headers"]["foo"] == "1"
    assert value["raw_headers"][-2:] == [["foo", "1"], ["foo", "2"]]


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (r"{n} {destination}\t{id}\n", "7 /queue/test\tc1-1\n"),
        (r"{header.x}|{header.none}|{body}\0", "y||hello world\0"),
        (r"a\\n{n}", r"a\n7"),
    ],
)
def test_patterns(form: str, shown: str) -> None:
    """A pattern's fields and escapes are replaced, a missing header is empty."""
    assert render.check_pattern(form) is None
    assert render.pattern(message(x="y"), 7, form, tty=False).decode() == shown


@pytest.mark.parametrize("form", ["{nothing}", "plain words", "xml", "{}"])
def test_wrong_patterns(form: str) -> None:
    """A pattern with a field that there is not, or without any, is refused in words."""
    assert render.check_pattern(form)


def test_wire_line() -> None:
    """Octets on the wire are one line, passcodes are not shown."""
    assert render.wire(">", b"CONNECT\nlogin:u\npasscode:secret\nhost:h\n\n\0") == (
        r">>> 41 B  CONNECT\n login:u\n passcode:***\n host:h\n \n \0"
    )
    assert render.wire("<", b"\n") == r"<<< 1 B  \n (beat)"
