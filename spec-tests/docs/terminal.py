"""What a user's terminal shows for the commands of a document, run against a daemon of our own.

``Terminal``     a directory, a daemon on a free port, and the programs of this environment
``normalised``   text without what differs from run to run: times, numbers of sessions, versions
"""

import io
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import pexpect

import stompd
from docs.documents import NETCAT, Block

PORT = 61613
TLS_PORT = 61614
HTTP_PORT = 61680
PATIENCE = 60.0

# What differs from run to run, and what stands for it.
_VARIES = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ms\b"), "N ms"),
    (re.compile(r"\bin [\d.]+ ?s\b"), "in N s"),
    (re.compile(r"\bc\d+-\d+"), "cN"),
    (re.compile(r"\bc\d+\b"), "cN"),
    (re.compile(r"\b(python|trio|pid) [\d.]+"), r"\1 N"),
    (re.compile(r"^(dead-letter-time:)\d+$", re.MULTILINE), r"\1N"),
    (re.compile(rf"\b(stompd[ /]){re.escape(stompd.__version__)}\b"), r"\1VERSION"),
    (re.compile(r" -P \d+\b"), ""),
    # Which addresses telnet tries, and how it tells that the first of them did not answer.
    (re.compile(r"^(Trying |telnet: ).*\n", re.MULTILINE), ""),
    (re.compile(r"\x00|\r|\x1b\[[\d;]*m"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"\n\s*\n"), "\n"),
)
# A question of the program, and what somebody types.
_ANSWERED = re.compile(r"(\[y/N\]|Type its name to go on:) (\S+)$", re.MULTILINE)
_CLIENT_COMMAND = re.compile(
    r"(CONNECT|STOMP|SEND|SUBSCRIBE|UNSUBSCRIBE|ACK|NACK|BEGIN|COMMIT|ABORT|DISCONNECT)\Z"
)


def normalised(text: str, port: int = PORT) -> str:
    """Return ``text`` without what differs from run to run; ``port`` is that of the daemon."""
    text = text.replace(str(port), str(PORT))
    for pattern, replacement in _VARIES:
        text = pattern.sub(replacement, text)
    return text.strip()


class Terminal:
    """Runs the blocks of one page, in their order; with HTTP only if it is a ``web`` page."""

    def __init__(self, *flags: str, web: bool = False) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="stompd-docs-")
        self.directory = Path(self._home.name)
        self._programs = self.directory / ".programs"
        self._programs.mkdir()
        netcat = shutil.which(NETCAT)
        if netcat is not None:
            (self._programs / "nc").symlink_to(netcat)
        self._flags = (*flags, "--http-listen", "127.0.0.1:0" if web else "off")
        # Other servers that the page starts, each in the background.
        self._servers: list[subprocess.Popen[bytes]] = []
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._tls_port = taken.getsockname()[1]

    def __enter__(self) -> Self:
        reading, writing = os.pipe()
        self._log = (self.directory / ".log").open("w+")
        command = [sys.executable, "-m", "stompd", "--listen", "127.0.0.1:0", *self._flags]
        self._daemon = subprocess.Popen(
            [*command, "--ready-fd", str(writing)],
            pass_fds=[writing],
            stderr=self._log,
            env=self._environment(PORT),
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert select.select([pipe], [], [], PATIENCE)[0], "stompd does not become ready"
            line = pipe.readline()
        assert line, self.log()
        self.port = int(line.split()[1].rsplit(":", 1)[1])
        web = line.rpartition(" http://")[2]
        self._http_port = web.rpartition(":")[2].strip() if web != line else str(HTTP_PORT)
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._servers, self._daemon):
            process.kill()
            process.wait()
        self._log.close()
        self._home.cleanup()

    def _environment(self, port: int) -> dict[str, str]:
        """Return the environment of a user who has set nothing, programs of ours first in PATH."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STOMP_", "STOMPD_"))}
        ours = Path(sys.executable).parent
        kept["PATH"] = os.pathsep.join((str(ours), str(self._programs), kept["PATH"]))
        for kind in ("STATE", "CONFIG", "CACHE"):
            kept.pop(f"XDG_{kind}_HOME", None)
        kept["HOME"] = str(self.directory)
        return {**kept, "STOMP_PORT": str(port), "LC_ALL": "C.UTF-8", "TERM": "xterm"}

    def log(self) -> str:
        """Return what the daemon wrote so far."""
        self._log.seek(0)
        return self._log.read()

    def dump(self, last: str) -> str:
        """Have the daemon write its state to the log; return that, up to a line with ``last``."""
        before = len(self.log())
        self.signal(signal.SIGUSR1)
        give_up = time.monotonic() + PATIENCE
        while last not in (written := self.log()[before:]):
            assert time.monotonic() < give_up, f"stompd does not write {last!r}"
            time.sleep(0.05)
        return written

    def signal(self, number: int) -> None:
        """Send the daemon a signal."""
        self._daemon.send_signal(number)

    def wait(self) -> int:
        """Return the exit status of the daemon, once it has ended."""
        return self._daemon.wait(PATIENCE)

    def keep(self, block: Block) -> None:
        """Write the file that a block is."""
        assert block.file is not None
        (self.directory / block.file).write_text(self._here(block.text))

    def _here(self, text: str) -> str:
        """Return text with the ports of this daemon in place of the usual ones."""
        return text.replace(str(PORT), str(self.port)).replace(str(HTTP_PORT), self._http_port)

    def show(self, command: str, expected: str) -> str:
        """Run a command and return what the terminal shows, with the usual port for HTTP.

        ``expected`` is what the document shows: of a telnet session, and to a question, it tells
        what to type.
        """
        return self._show(command, expected).replace(self._http_port, str(HTTP_PORT))

    def _show(self, command: str, expected: str) -> str:
        command = self._here(command)
        command = command.replace(str(TLS_PORT), str(self._tls_port))
        if command == "stompd":
            # The daemon that is running already; what it wrote at its start.
            return "".join(self.log().splitlines(keepends=True)[: expected.count("\n")])
        if command.startswith("telnet "):
            return self._telnet(command, expected)
        if command.endswith(" &"):
            return self._start(command.removesuffix(" &"))
        child = self._spawn("bash", ["-c", command])
        seen = child.logfile_read = io.StringIO()
        for question, answer in _ANSWERED.findall(expected):
            child.expect_exact(question)
            child.sendline(answer)
        child.expect(pexpect.EOF)
        return seen.getvalue()

    def expect(self, command: str, text: str) -> None:
        """Run a command that does not end by itself, until it has shown ``text``."""
        child = self._spawn("bash", ["-c", command])
        child.expect_exact(text)
        child.close(force=True)

    def _spawn(self, command: str, arguments: list[str]) -> "pexpect.spawn[str]":
        """Start a program in a terminal of its own."""
        child = pexpect.spawn(
            command,
            arguments,
            cwd=str(self.directory),
            env=self._environment(self.port),
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE,
            dimensions=(50, 200),
        )
        # A pause before each line is pexpect's habit; the terminal needs none.
        child.delaybeforesend = None
        return child

    def _start(self, command: str) -> str:
        """Start a server that stays; return when it listens."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.directory,
            env=self._environment(self.port),
            stdin=subprocess.DEVNULL,
        )
        self._servers.append(process)
        match = re.search(r"LISTEN:(\d+)", command)
        assert match is not None, "only what listens can be waited for"
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(match[1]))).close()
            except ConnectionRefusedError:
                assert process.poll() is None, f"{command} has ended"
                assert time.monotonic() < give_up, f"{command} does not listen"
                time.sleep(0.01)
            else:
                return ""

    def _telnet(self, command: str, expected: str) -> str:
        """Type the client's frames of a session, waiting for each of the broker's lines."""
        child = self._spawn(command, [])
        seen = child.logfile_read = io.StringIO()
        typing = False
        for line in expected.splitlines():
            typing = typing or _CLIENT_COMMAND.match(line) is not None
            if typing:
                child.send(line.replace("^@", "\0") + "\n")
                if line.endswith("^@"):
                    typing = False
                    child.expect_exact("^@")
            elif line.strip() and not line.startswith("Trying "):
                child.expect(re.sub(r"\bc\d+\\-\d+", r"c\\d+-\\d+", re.escape(line)))
        child.close(force=True)
        return seen.getvalue()
