"""raw: frames typed line by line, octet by octet."""

import pytest
import trio
from client.programs import Stomp, environment
from client.terminal import Terminal
from hypothesis import given
from hypothesis import strategies as st

from stompcli.client.testing import ScriptedBroker, on_socket
from stompcli.exitcodes import ExitCode
from stompcli.rawframes import RawFrames, end_of_frame, lint, split_frames, unescaped

CONNECT = "CONNECT\naccept-version:1.2\nhost:localhost\n\n^@\n"
SENT = ">>> 44 B  CONNECT\\n accept-version:1.2\\n host:localhost\\n \\n \\0\n"


def frames(*lines: bytes, **options: object) -> list[bytes]:
    """Return the frames in some lines."""
    gathered = RawFrames(**options)  # type: ignore[arg-type] # options of it
    found = [frame for line in lines for frame in gathered.feed(line)]
    assert not gathered.begun
    return found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"SEND", b"", b"^@"], [b"SEND\n\n\0"]),
        ([b"SEND", b"", b"a", b"b^@"], [b"SEND\n\na\nb\0"]),
        ([b"", b"", b"SEND", b"", b"^@", b"", b"ACK", b"", b"^@"], [b"SEND\n\n\0", b"ACK\n\n\0"]),
        ([b"SEND", b"", b"\0"], [b"SEND\n\n\0"]),
        ([b"SEND", b"", b"\0ACK", b"", b"\0"], [b"SEND\n\n\0", b"ACK\n\n\0"]),
        ([b"SEND", b"", b"a\0SEND", b"", b"b\0"], [b"SEND\n\na\0", b"SEND\n\nb\0"]),
        (
            [b"SEND", b"content-length:3", b"", b"a\0b\0"],
            [b"SEND\ncontent-length:3\n\na\0b\0"],
        ),
        (
            [b"SEND", b"content-length:4", b"", b"a\0", b"b\0"],
            [b"SEND\ncontent-length:4\n\na\0\nb\0"],
        ),
        # Whoever types the mark means it.
        ([b"SEND", b"content-length:99", b"", b"a^@"], [b"SEND\ncontent-length:99\n\na\0"]),
        ([b"nonsense^@"], [b"nonsense\0"]),
    ],
)
def test_lines_are_the_frame(lines: list[bytes], expected: list[bytes]) -> None:
    """Lines joined by line ends, up to the mark or the NUL that ends the frame."""
    assert frames(*lines) == expected


def test_line_ends_and_escapes() -> None:
    """Other line ends, and octets that cannot be typed, if they are asked for."""
    assert frames(b"SEND", b"", b"x^@", eol="crlf") == [b"SEND\r\n\r\nx\0"]
    assert frames(rb"SEND\r", b"", rb"\xff\x00\t\q^@", escapes=True) == [b"SEND\r\n\n\xff\0\t\\q\0"]
    assert frames(rb"\x^@") == [b"\\x\0"]
    assert unescaped(rb"a\\n") == rb"a\n"


def test_a_frame_can_be_dropped() -> None:
    """What was begun is forgotten."""
    gathered = RawFrames()
    assert gathered.feed(b"SEND") == []
    assert gathered.begun
    gathered.drop()
    assert gathered.feed(b"ACK^@") == [b"ACK\0"]


@given(st.binary(max_size=200))
def test_splitting_loses_nothing(data: bytes) -> None:
    """Whatever comes is shown whole, in order."""
    assert b"".join(split_frames(data)) == data


@given(st.lists(st.binary(max_size=20).filter(lambda body: b"\0" not in body), max_size=5))
def test_splitting_finds_the_frames(bodies: list[bytes]) -> None:
    """Each frame is one piece, with the line feed behind it."""
    made = [b"MESSAGE\nid:1\n\n" + body + b"\0\n" for body in bodies]
    assert split_frames(b"".join(made)) == made


def test_end_of_frame() -> None:
    """A content-length counts octets; without one the first NUL ends the frame."""
    assert end_of_frame(b"A\n\nx\0y") == 5
    assert end_of_frame(b"A\ncontent-length:1\n\n\0\0z") == 22
    assert end_of_frame(b"A\ncontent-length:9\n\nx\0") is None
    assert end_of_frame(b"A\n\nx") is None
    assert end_of_frame(b"A\0") == 2


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"SEND\ndestination:/queue/a\n\nhi\0", "no content-length (fine, body has no NUL)"),
        (b"SEND\ndestination:/queue/a\ncontent-length:2\n\nhi\0", None),
        (b"CONNECT\naccept-version:1.2\nhost:x\n\n\0", None),
        (b"ACK\nsubscription:1\n\n\0", "ACK without id"),
        (b"SEND\n\nhi\0", "SEND without destination"),
        (b"send\n\nhi\0", "commands are upper case"),
        (b"SEND\ndestination:/queue/a\ncontent-length:9\n\nhi\0", "larger than its body"),
        (b"SEND\ndestination:/queue/a\ncontent-length:1\n\nhi\0", "does not end at a NUL"),
        (b"SEND\ndestination: /queue/a\ncontent-length:0\n\n\0", "a blank beside the colon"),
        (b"SEND\ndestination\n\n\0", "without a colon"),
        (b"BEGIN\ntransaction:1\n\nbody\0", "BEGIN must not have a body"),
    ],
)
def test_lint(frame: bytes, said: str | None) -> None:
    """What is wrong with a frame, or only worth knowing, is said before the broker says it."""
    complaints = lint(frame)
    if said is None:
        assert complaints == []
    else:
        assert any(said in complaint for complaint in complaints), complaints


# The command.


def test_frames_from_a_pipe(stomp: Stomp, queue: str) -> None:
    """What goes is shown on standard error, what comes on standard output."""
    text = CONNECT + f"SEND\ndestination:{queue}\nreceipt:1\n\nhi^@\n"
    done = stomp("raw", "--expect", "CONNECTED", "--expect", "receipt-id:1", stdin=text.encode())
    assert done.code == 0
    assert done.err.startswith(SENT)
    assert "! lint: no content-length (fine, body has no NUL)     set lint off\n" in done.err
    first, second = done.text.splitlines()
    assert "CONNECTED\\n version:1.2\\n " in first
    assert second == "<<< 24 B  RECEIPT\\n receipt-id:1\\n \\n \\0 \\n"
    assert stomp("subscribe", queue, "-n", "1").out == b"hi\n"


def test_real_nuls_in_a_pipe(stomp: Stomp) -> None:
    """The line of the handbook for printf works as it is."""
    text = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0SEND\ndestination:/queue/a\nreceipt:1\n\nhi\0"
    done = stomp("-q", "raw", stdin=text)
    assert (done.code, done.err) == (0, "")
    assert "receipt-id:1" in done.text


def test_exact_octets(stomp: Stomp) -> None:
    """--raw writes what comes, and nothing else."""
    done = stomp("-q", "--raw", "raw", "--expect", "\n\n\0", stdin=CONNECT.encode())
    assert done.out.startswith(b"CONNECTED\nversion:1.2\n")
    assert done.out.endswith(b"\n\n\0\n")


def test_what_is_expected_does_not_come(stomp: Stomp) -> None:
    """Then the exit code is 75, whether the broker is silent or gone."""
    done = stomp("--timeout", "0.2", "raw", "--expect", "RECEIPT", stdin=CONNECT.encode())
    assert done.code == ExitCode.TIMED_OUT
    done = stomp("raw", "--expect", "RECEIPT", stdin=b"ACK\n\n^@\n")
    assert done.code == ExitCode.TIMED_OUT
    assert '"RECEIPT" did not come: the connection has ended' in done.err


def test_an_error_is_a_failure(stomp: Stomp) -> None:
    """An ERROR gives the code 1, unless it was expected."""
    done = stomp("raw", stdin=b"ACK\n\n^@\n")
    assert done.code == ExitCode.FAILED, done
    done = stomp("raw", "--expect", "ERROR", stdin=b"ACK\n\n^@\n")
    assert done.code == 0, done


def test_half_a_frame(stomp: Stomp) -> None:
    """A file whose last frame has no end is bad input."""
    done = stomp("raw", "--auto-connect", stdin=b"SEND\ndestination:/queue/a\n\nhi\n")
    assert done.code == ExitCode.BAD_INPUT
    assert "the last frame has no end" in done.err


def test_nobody_listens() -> None:
    """Without a broker it fails as every command does."""
    assert Stomp(1)("raw", stdin=b"").code == ExitCode.UNAVAILABLE
    assert Stomp(1)("raw", "/no/such/file").code == ExitCode.UNAVAILABLE


def test_no_such_file(stomp: Stomp) -> None:
    """A file that is not there is 66."""
    assert stomp("raw", "/no/such/file").code == ExitCode.NO_INPUT


async def test_octets_in_pieces() -> None:
    """Beats, octets, line ends and pieces go as they were asked for."""
    came: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        while data := await broker.read():
            came.append(data)

    typed = b'beat\nsend-bytes "\\xffA B\\0"\nX\n\n^@\n'
    async with on_socket(script) as port:
        words = ("raw", "--chunk", "1", "--delay", "1ms", "--eol", "crlf", "--no-lint")
        done = await trio.run_process(
            Stomp(port).argv(*words),
            stdin=typed,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert done.returncode == 0, done.stderr
    assert b"".join(came) == b"\n\xffA B\0X\r\n\r\n\0"
    assert len(came) > 3
    assert rb">>> 5 B  \xffA B\0" in done.stderr
    assert b"lint" not in done.stderr


def test_hexadecimal(stomp: Stomp) -> None:
    """--hex dumps octets both ways."""
    done = stomp("raw", "--hex", stdin=CONNECT.encode())
    assert "00000000  43 4f 4e 4e 45 43 54 0a" in done.err
    assert "00000000  43 4f 4e 4e 45 43 54 45" in done.text


def test_raw_at_the_plain_prompt(stomp: Stomp) -> None:
    """The frame mode has prompts of its own, and ends where it began."""
    terminal = Terminal(stomp, "--plain", "-q")
    prompt = f"localhost:{stomp.port}> "
    terminal.answer(prompt, "raw")
    terminal.answer("raw> ", "CONNECT")
    terminal.answer("...  ", "accept-version:1.2")
    terminal.answer("...  ", "host:localhost")
    terminal.answer("...  ", "")
    terminal.answer("...  ", "^@")
    terminal.answer("raw> ", "help")
    terminal.answer("raw> ", "beat")
    terminal.answer("raw> ", "set lint off")
    terminal.answer("raw> ", "quit")
    terminal.answer(prompt, None)
    assert terminal.end() == 0
    assert SENT in terminal.seen
    assert "<<< " in terminal.seen
    assert "send-bytes" in terminal.seen
    assert "\x1b" not in terminal.seen


def test_raw_in_a_script_needs_a_file(stomp: Stomp) -> None:
    """The lines of a script are commands, not frames."""
    done = stomp("-q", stdin=b"raw\n")
    assert (done.code, done.err) == (2, "Expecting: raw <file>\n")
