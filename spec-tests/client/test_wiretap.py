"""wiretap: everything passes, and is shown."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from client.programs import Finished, Stomp, environment

from stompcli.exitcodes import ExitCode


@dataclass
class Tap:
    """A wiretap that runs, and where it listens."""

    process: "subprocess.Popen[bytes]"
    port: int
    notices: list[str]

    def end(self) -> Finished:
        """Return what it has shown, once it has ended."""
        out, err = self.process.communicate(timeout=60)
        return Finished(self.process.returncode, out, err.decode())


@contextmanager
def tapping(stomp: Stomp, *words: str) -> Iterator[Tap]:
    """Run a wiretap to the broker of the test on a free port."""
    process = subprocess.Popen(
        stomp.argv("wiretap", "--listen", ":0", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    found = re.search(r"listening on 127\.0\.0\.1:(\d+), passing on to localhost:\d+; Ctrl-C", line)
    assert found is not None, line
    with process:
        try:
            yield Tap(process, int(found[1]), [line])
        finally:
            process.kill()


def test_session(stomp: Stomp, queue: str) -> None:
    """A session through it works as ever; each frame is shown both ways, no password is."""
    with tapping(stomp, "-n", "2") as tap:
        through = Stomp(tap.port)
        words = ["-U", "me", "-W", "hunter2", "send", queue, "two\nlines \x1b[31m"]
        assert through(*words).code == 0
        assert through("subscribe", queue, "-n", "1").text == "two\nlines \x1b[31m\n"
        done = tap.end()
    assert done.code == 0
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in done.text.splitlines()]
    assert all(re.match(r"#[12] (>>>|<<<) \d+ B  [A-Z]", line) for line in lines)
    commands = [re.sub(r"(#\d ...) \d+ B  ([A-Z]+).*", r"\1 \2", line) for line in lines]
    assert commands[:4] == ["#1 >>> CONNECT", "#1 <<< CONNECTED", "#1 >>> SEND", "#1 <<< RECEIPT"]
    assert "#2 <<< MESSAGE" in commands
    assert commands[-1] == "#2 <<< RECEIPT"
    assert "hunter2" not in done.text
    assert "\\n passcode:***\\n" in done.text
    assert "two\\n lines \\x1b[31m" in done.text
    assert "#1 connected" in done.err
    assert "#2 over" in done.err


def test_as_a_transcript(stomp: Stomp, queue: str) -> None:
    """--json writes what frame decode reads."""
    with tapping(stomp, "-n", "1", "--json") as tap:
        assert Stomp(tap.port)("send", queue, "hello").code == 0
        done = tap.end()
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert {line["dir"] for line in lines} == {"<", ">"}
    assert base64.b64decode(lines[0]["bytes_b64"]).startswith(b"CONNECT\n")
    text = Stomp(1)("frame", "decode", stdin=done.out).text
    assert "# 1>\nSEND\n" in text
    assert "# 1<\nRECEIPT\n" in text


def test_cut(stomp: Stomp, queue: str) -> None:
    """--body-bytes cuts what is shown, not what passes."""
    with tapping(stomp, "-n", "1", "--body-bytes", "100") as tap:
        assert Stomp(tap.port)("send", queue, "--size", "2k").code == 0
        done = tap.end()
    assert all(len(line) < 160 for line in done.text.splitlines())
    assert len(stomp("subscribe", queue, "-n1", "--raw").out) == 2048


def test_interrupt(stomp: Stomp) -> None:
    """Ctrl-C ends it in peace."""
    with tapping(stomp) as tap:
        tap.process.send_signal(2)
        assert tap.end().code == ExitCode.INTERRUPTED


def test_broker_that_is_not_there() -> None:
    """A client is let go when the broker cannot be reached, and it is said why."""
    with tapping(Stomp(1), "-n", "1") as tap:
        done = Stomp(tap.port)("ping", "-c", "1")
        assert done.code == ExitCode.UNAVAILABLE
        told = tap.end()
    assert "#1 cannot connect to localhost:1: connection refused" in told.err


@pytest.mark.parametrize("place", ["61700", "x", "::1:5", ":99999", "h:"])
def test_places_that_are_none(place: str) -> None:
    """A place is :PORT or HOST:PORT."""
    done = Stomp(1)("wiretap", "--listen", place)
    assert done.code == ExitCode.USAGE
    assert "write :PORT or HOST:PORT" in done.err


def test_port_that_is_taken(stompd: int, stomp: Stomp) -> None:
    """A port that somebody has is said so."""
    done = stomp("wiretap", "--listen", f":{stompd}")
    assert done.code == ExitCode.UNAVAILABLE
    assert "cannot listen on" in done.err
