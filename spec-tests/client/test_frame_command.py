"""frame encode, decode and lint: frames without a broker."""

import base64
import json
from pathlib import Path

import pytest
from client.programs import Stomp
from hypothesis import given
from hypothesis import strategies as st

from stompcli import frametext, linting
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.frametext import TextFrame

STOMP = Stomp(1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
SEND = b"SEND\ndestination:/queue/a\nx:a\\cb\\nc\ncontent-length:5\n\nhello\0"


# Text and octets.


@given(
    st.lists(st.tuples(TEXT.filter(lambda name: name not in ("", "content-length")), TEXT)),
    st.binary(),
)
def test_round_trip(headers: list[tuple[str, str]], body: bytes) -> None:
    """Any frame is the same after wire, text and wire again."""
    first = TextFrame("SEND", [("destination", "/queue/a"), *headers], body).wire()
    (frame,), why = frametext.of_wire(first)
    assert why == ""
    (again,) = frametext.of_text(frame.text())
    assert again.wire() == first


def test_decode(stomp: Stomp) -> None:
    """Octets are shown as text, with headers as they are meant."""
    done = STOMP("frame", "decode", stdin=SEND + b"\n\n" + b"COMMIT\r\ntransaction:t\r\n\r\n\0")
    assert done.code == 0
    assert done.text == (
        "SEND\ndestination:/queue/a\nx:a:b\\nc\ncontent-length:5\n\nhello^@\n"
        "COMMIT\ntransaction:t\n\n^@\n"
    )
    assert stomp.port


def test_decode_binary() -> None:
    """A body that text cannot carry is base64, and comes back."""
    wire = TextFrame("SEND", [("destination", "/a")], b"\0^@\x1b").wire()
    done = STOMP("frame", "decode", stdin=wire)
    assert done.text.endswith("\n\n^base64\nAF5AGw==\n^@\n")
    assert STOMP("frame", "encode", stdin=done.out).out == wire


def test_decode_as_json() -> None:
    """--json writes an object a line, which encode reads again."""
    done = STOMP("frame", "decode", "--json", stdin=SEND)
    assert json.loads(done.out) == {
        "command": "SEND",
        "headers": [["destination", "/queue/a"], ["x", "a:b\nc"], ["content-length", "5"]],
        "body": "hello",
    }
    assert STOMP("frame", "encode", stdin=done.out).out == SEND


def test_decode_dry_run(stomp: Stomp) -> None:
    """What send --dry-run prints is such a frame."""
    wire = stomp("send", "--dry-run", "/queue/a", "hello").out
    assert STOMP("frame", "decode", stdin=wire).text.startswith("SEND\ndestination:/queue/a\n")


def test_decode_server_frames() -> None:
    """CONNECTED and what follows it is read as a client reads it."""
    wire = b"CONNECTED\nversion:1.2\n\n\0\nRECEIPT\nreceipt-id:a\\cb\n\n\0\n"
    assert STOMP("frame", "decode", stdin=wire).text == (
        "CONNECTED\nversion:1.2\n\n^@\nRECEIPT\nreceipt-id:a:b\n\n^@\n"
    )


def test_decode_transcript(tmp_path: Path) -> None:
    """Of a transcript each frame is shown with its direction, also if turns cut it up."""
    half = len(SEND) // 2
    turns = [(">", SEND[:half]), ("<", b"RECEIPT\nreceipt-id:1\n\n\0\n"), (">", SEND[half:])]
    lines = [
        json.dumps({"t": "x", "dir": way, "bytes_b64": base64.b64encode(data).decode()})
        for way, data in turns
    ]
    file = tmp_path / "transcript"
    file.write_text('{"t":"x","command":"send /queue/a hello"}\n' + "\n".join(lines) + "\n")
    text = STOMP("frame", "decode", str(file)).text
    assert text.startswith("# <\nRECEIPT\nreceipt-id:1\n\n^@\n# >\nSEND\n")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (SEND + b"HELLO\n\n\0", "after 1 frames: "),
        (SEND[:-3], "after 0 frames: the last"),
        (b'{"dir":">","bytes_b64":"?"}', "line 1 is no line of a transcript"),
    ],
)
def test_decode_what_is_none(data: bytes, words: str) -> None:
    """What is no frame is bad input, behind the frames before it."""
    done = STOMP("frame", "decode", stdin=data)
    assert done.code == ExitCode.BAD_INPUT
    assert words in done.err


def test_encode(tmp_path: Path) -> None:
    """Headers are escaped, content-length is added, line ends of Windows are none."""
    file = tmp_path / "frames.txt"
    file.write_bytes(
        b"CONNECT\r\naccept-version:1.2\r\nhost:/\r\n\r\n^@\r\n"
        b"SEND\r\ndestination:/queue/a\r\nx:a:b\\\\c\r\n\r\ntwo\r\nlines^@\r\n"
    )
    assert STOMP("frame", "encode", str(file)).out == (
        b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
        b"SEND\ndestination:/queue/a\nx:a\\cb\\\\c\ncontent-length:9\n\ntwo\nlines\0"
    )
    done = STOMP("frame", "encode", "--no-content-length", stdin=b"SEND\ndestination:/a\n\nx^@")
    assert done.out == b"SEND\ndestination:/a\n\nx\0"
    done = STOMP("frame", "encode", "--stomp", "1.0", stdin=b"SEND\ndestination:a:b\n\n^@")
    assert b"destination:a:b\n" in done.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"SEND\ndestination:/a\n\nx", "line 1: the frame is not ended by ^@"),
        (b"\n\nSEND\nhello\n\nx^@", 'line 4: "hello" is no header'),
        (b"SEND\nx:a\\t\n\nx^@", "line 2: "),
        (b"SEND\n\n^base64\n?^@", "line 3: the body is no base64"),
        (b"HELLO\n\n^@", "is not a STOMP command"),
        (b"COMMIT\ntransaction:t\n\nbody^@", "body"),
        (b"{}", "line 1 is no frame"),
    ],
)
def test_encode_what_is_none(text: bytes, words: str) -> None:
    """Text that is no frame is bad input, with its line."""
    done = STOMP("frame", "encode", stdin=text)
    assert done.code == ExitCode.BAD_INPUT
    assert words in done.err
    assert "Traceback" not in done.err


# Complaints.


@pytest.mark.parametrize(
    ("data", "complaints"),
    [
        (SEND, []),
        (b"\n\r\n" + SEND + b"\r\n", []),
        (b"send\ndestination:/a\n\n\0", ["1:1: error: commands are upper case: SEND"]),
        (b"SEND \ndestination:/a\n\n\0", ["1:5: error: a blank beside the command SEND"]),
        (b"HELO x\n\n\0", ['1:1: error: "HELO x" is no command of STOMP']),
        (b"SEND\nx:y\n\n\0", ["3:1: error: SEND without destination"]),
        (
            b"SEND\ndestination:/a\nhello\n\n\0",
            ["3:6: error: header line without a colon"],
        ),
        (b"SEND\ndestination:/a\n:x\n\n\0", ["3:1: error: header line without a name"]),
        (
            "SEND\ndestination:/a\ngrüße:x\\ty\n\n\0".encode(),
            ["3:8: error: undefined escape sequence in a header"],
        ),
        (
            b"SEND\ndestination:/a\nx:\xff\n\n\0",
            ["3:3: error: header line is not UTF-8"],
        ),
        (
            b"SEND\ndestination:/a\nx:a\rb\n\n\0",
            ["3:4: error: carriage return inside a header line"],
        ),
        (
            b"SEND\nDestination: /a\n\n\0",
            [
                '2:1: warning: "Destination" is not "destination": names are exact',
                (
                    "2:13: warning: the blank before the value belongs to it, since STOMP 1.2 "
                    "trims none"
                ),
                "3:1: error: SEND without destination",
            ],
        ),
        (
            b"SEND\ndestination:/a\ndestination:/b\n\n\0",
            ['3:1: warning: "destination" stands here again; the first one counts'],
        ),
        (
            b"SEND\ndestination:/a\ncontent-length:9\n\nhello\0",
            ["3:1: error: content-length 9, but only 5 octets follow"],
        ),
        (
            b"SEND\ndestination:/a\ncontent-length:3\n\nhello\0",
            ["5:4: error: no NUL after the 3 octets of content-length; the first NUL is after 5"],
        ),
        (
            b"SEND\ndestination:/a\ncontent-length:x\n\nhello\0",
            ['3:1: error: content-length "x" is not a number'],
        ),
        (
            b"COMMIT\ntransaction:t\n\nhello\0",
            ["4:1: error: COMMIT must not have a body"],
        ),
        (
            b"SEND\ndestination:/a\n\nhello^@\n",
            [
                (
                    "5:1: error: SEND is not ended by a NUL; ^@ in a file is two characters, see "
                    '"stomp frame encode"'
                )
            ],
        ),
        (b"SEND\ndestination:/a", ["2:15: error: SEND has no empty line after its headers"]),
        (
            b"SEND\ndestination:/a\n\0",
            ["3:1: error: a NUL among the headers: the empty line before it is missing"],
        ),
        (SEND + b"\0", ["6:7: warning: a NUL where a frame should begin"]),
        (
            b"ACK\nmessage-id:1\n\n\0BEGIN\n\n\0",
            ["3:1: error: ACK without id", "5:1: error: BEGIN without transaction"],
        ),
    ],
)
def test_lint(data: bytes, complaints: list[str]) -> None:
    """Each fault is named with its line and column, and what follows it is still looked at."""
    assert [str(one) for one in linting.lint(data)] == complaints


def test_lint_by_version() -> None:
    """What is wrong depends on the version."""
    assert linting.lint(b"NACK\nmessage-id:1\n\n\0", "1.0")[0].text == "STOMP 1.0 has no NACK"
    assert linting.lint(b"SEND\ndestination: /a\nx:\\t\n\n\0", "1.0") == []
    assert linting.lint(b"ACK\nmessage-id:1\nsubscription:1\n\n\0", "1.1") == []


@given(st.binary())
def test_lint_of_anything(data: bytes) -> None:
    """Any octets give complaints in order, and an end."""
    offsets = [one.offset for one in linting.lint(data)]
    assert offsets == sorted(offsets)


def test_lint_command(tmp_path: Path) -> None:
    """Errors end it with 65, warnings and nothing at all with 0."""
    file = tmp_path / "frames"
    file.write_bytes(b"SEND\nx:y\n\n\0")
    done = STOMP("frame", "lint", str(file))
    assert (done.code, done.text) == (65, f"{file}:3:1: error: SEND without destination\n")
    done = STOMP("frame", "lint", "--json", str(file))
    assert json.loads(done.out) == {
        "line": 3,
        "column": 1,
        "error": True,
        "message": "SEND without destination",
    }
    done = STOMP("frame", "lint", "-", stdin=SEND)
    assert (done.code, done.out, done.err) == (0, b"", "nothing to complain about\n")
    assert STOMP("frame", "lint", stdin=SEND + b"\0").code == 0


def test_wrong_words() -> None:
    """A file that is missing, and options of others, are refused."""
    assert STOMP("frame", "decode", "/no/such/file").code == ExitCode.NO_INPUT
    assert STOMP("frame", "lint", "--no-content-length").code == ExitCode.USAGE
    with pytest.raises(Failure):
        frametext.of_text("SEND")
