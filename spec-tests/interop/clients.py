"""What the tests of one client and of all together share: programs in a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
from server.process import PATIENCE

PROGRAMS = {
    "telnet": ["telnet", "127.0.0.1", "PORT"],
    "busybox telnet": ["busybox", "telnet", "127.0.0.1", "PORT"],
    "nc.openbsd": ["nc.openbsd", "127.0.0.1", "PORT"],
    "nc.openbsd -C": ["nc.openbsd", "-C", "127.0.0.1", "PORT"],
    "nc.traditional": ["nc.traditional", "127.0.0.1", "PORT"],
    "busybox nc": ["busybox", "nc", "127.0.0.1", "PORT"],
    "ncat": ["ncat", "127.0.0.1", "PORT"],
    "ncat -C": ["ncat", "-C", "127.0.0.1", "PORT"],
    "socat": ["socat", "-", "TCP:127.0.0.1:PORT"],
    "socat crnl": ["socat", "-", "TCP:127.0.0.1:PORT,crnl"],
}
_GREETING = {"telnet": rb"Escape character is[^\n]*\n", "busybox telnet": rb"Connected to[^\n]*\n"}


class Terminal:
    """A program in a terminal, and somebody who types."""

    def __init__(self, child: "pexpect.spawn[bytes]") -> None:
        self.child = child

    def type(self, *lines: str) -> None:
        """Type lines, each with Enter."""
        for line in lines:
            self.child.send(line.encode() + b"\n")

    def frame(self, *lines: str) -> None:
        """Type the lines of a frame, Ctrl-@ and Enter."""
        self.type(*lines, "\0")

    def key(self, octet: bytes) -> None:
        """Press a key that sends this octet to the terminal."""
        self.child.send(octet)

    def see(self, pattern: bytes) -> bytes:
        """Wait for something on the screen; return what stood before it."""
        self.child.expect(pattern)
        before = self.child.before
        assert isinstance(before, bytes)
        return before

    def see_line(self, pattern: bytes) -> bytes:
        """Wait for something on the screen; return it."""
        self.child.expect(pattern)
        found = self.child.after
        assert isinstance(found, bytes)
        return found

    def see_end(self) -> bytes:
        """Wait for the program to end; return the last that it wrote."""
        return self.see(pexpect.EOF)  # type: ignore[arg-type]


@contextmanager
def terminal(program: str, port: int) -> Iterator[Terminal]:
    """Run a program that is connected to this port of 127.0.0.1 in the block."""
    command = [word.replace("PORT", str(port)) for word in PROGRAMS[program]]
    child: pexpect.spawn[bytes] = pexpect.spawn(command[0], command[1:], timeout=PATIENCE)
    try:
        if program in _GREETING:
            child.expect(_GREETING[program])
        yield Terminal(child)
    finally:
        child.close(force=True)
