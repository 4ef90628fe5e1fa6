"""What is wrong with frames in a file, each complaint with its line and column.

Pure: octets in, complaints out. It goes on behind a fault where a reader of frames has to stop.
"""

import re
from dataclasses import dataclass
from typing import Final

from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import BODY_COMMANDS, CLIENT_COMMANDS, LITERAL_COMMANDS, SERVER_COMMANDS
from stompd.protocol.headers import parse_line
from stompd.protocol.rules import ABSENT, REQUIRED, REQUIRED_OF_SERVER

_COMMANDS: Final = CLIENT_COMMANDS | SERVER_COMMANDS
_GAP: Final = re.compile(rb"(?:\n|\r\n)*")
_ESCAPE: Final = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPES: Final = {"1.1": (b"n", b"c", b"\\"), "1.2": (b"n", b"c", b"\\", b"r")}
_LENGTH: Final = re.compile(r"[0-9]{1,18}\Z")
# Headers that people write in other cases, or with blanks around.
_KNOWN: Final = frozenset(
    name
    for table in (REQUIRED, REQUIRED_OF_SERVER)
    for row in table.values()
    for name in row["1.2"]
) | {"content-length", "content-type", "receipt", "ack", "selector", "heart-beat", "host"}


@dataclass(frozen=True)
class Complaint:
    """Something about a frame; an ``error`` is what STOMP does not allow, else it is advice."""

    # Where it is in the octets; line and column count from 1.
    offset: int
    line: int
    column: int
    error: bool
    text: str

    def __str__(self) -> str:
        kind = "error" if self.error else "warning"
        return f"{self.line}:{self.column}: {kind}: {self.text}"


def lint(data: bytes, version: str = "1.2") -> list[Complaint]:
    """Return what is to be said of the frames in octets, in the order of the octets."""
    linter = _Linter(data, version)
    at = 0
    while (at := _gap(data, at)) < len(data):
        at = linter.frame(at)
    return sorted(linter.complaints, key=lambda complaint: complaint.offset)


def _gap(data: bytes, at: int) -> int:
    match = _GAP.match(data, at)
    return at if match is None else match.end()


class _Linter:
    """Looks at one frame after the other. It owns the complaints."""

    def __init__(self, data: bytes, version: str) -> None:
        self._data = data
        self._version = version
        self.complaints: list[Complaint] = []

    def _say(self, offset: int, text: str, *, error: bool = True) -> None:
        line = self._data.count(b"\n", 0, offset) + 1
        start = self._data.rfind(b"\n", 0, offset) + 1
        column = len(self._data[start:offset].decode("utf-8", "replace")) + 1
        self.complaints.append(Complaint(offset, line, column, error, text))

    def frame(self, at: int) -> int:
        """Look at the frame that begins at ``at``; return where it ends."""
        data = self._data
        if data[at] == 0:
            self._say(at, "a NUL where a frame should begin", error=False)
            return at + 1
        command, next_ = self._command(at)
        headers: dict[str, tuple[str, int]] = {}
        at = next_
        while True:
            if at >= len(data):
                self._say(len(data), f"{command} has no empty line after its headers")
                return at
            line, next_ = _line(data, at)
            if not line:
                return self._body(command, headers, next_, begin=at)
            nul = line.find(b"\0")
            if nul >= 0:
                self._say(at + nul, "a NUL among the headers: the empty line before it is missing")
                return at + nul + 1
            self._header(command, line, at, headers)
            at = next_

    def _command(self, at: int) -> tuple[str, int]:
        line, next_ = _line(self._data, at)
        command = line.decode("utf-8", "replace")
        word = command.strip()
        if command in _COMMANDS:
            if command in ABSENT[self._version]:
                self._say(at, f"STOMP {self._version} has no {command}")
        elif word in _COMMANDS:
            offset = 0 if command != command.lstrip() else len(word)
            self._say(at + offset, f"a blank beside the command {word}")
        elif word.upper() in _COMMANDS:
            self._say(at, f"commands are upper case: {word.upper()}")
        else:
            self._say(at, f'"{shown(line)}" is no command of STOMP')
        return word.upper(), next_

    def _header(
        self, command: str, line: bytes, at: int, headers: dict[str, tuple[str, int]]
    ) -> None:
        """Look at one header line, and note what it says."""
        version = None if command in LITERAL_COMMANDS else self._version
        try:
            name, value = parse_line(line, version, 0)
        except RemoteProtocolError as error:
            self._say(at + self._place(line), error.message)
            return
        colon = line.find(b":")
        if name in headers:
            text = f'"{shown(name)}" stands here again; the first one counts'
            self._say(at, text, error=False)
            return
        headers[name] = (value, at)
        plain = name.strip().lower()
        if plain != name and plain in _KNOWN:
            text = f'"{shown(name)}" is not "{plain}": names are exact'
            self._say(at, text, error=False)
        if self._version != "1.0" and line[colon + 1 : colon + 2] == b" ":
            text = (
                f"the blank before the value belongs to it, since STOMP {self._version} trims none"
            )
            self._say(at + colon + 1, text, error=False)

    def _place(self, line: bytes) -> int:
        """Return where in a header line that cannot be read the fault is."""
        for at, octet in enumerate(line):
            if octet == ord("\r"):
                return at
        if b":" not in line:
            return len(line)
        if line.startswith(b":"):
            return 0
        for match in _ESCAPE.finditer(line):
            if match[1] not in _ESCAPES.get(self._version, ()):
                return match.start()
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return error.start
        return 0

    def _body(
        self, command: str, headers: dict[str, tuple[str, int]], at: int, *, begin: int
    ) -> int:
        """Look at what belongs to the headers and at the body; return where the frame ends."""
        data = self._data
        self._required(command, headers, begin)
        nul = data.find(b"\0", at)
        told, where = headers.get("content-length", (None, 0))
        end = nul
        if told is not None and not _LENGTH.match(told.strip()):
            self._say(where, f'content-length "{shown(told)}" is not a number')
        elif told is not None:
            length = int(told)
            end = at + length
            if end >= len(data):
                there = (nul if nul >= 0 else len(data)) - at
                self._say(where, f"content-length {length}, but only {there} octets follow")
                end = nul
            elif data[end] != 0:
                first = f"the first NUL is after {nul - at}" if nul >= 0 else "there is none"
                self._say(end, f"no NUL after the {length} octets of content-length; {first}")
                end = nul
        if end < 0:
            hint = (
                '; ^@ in a file is two characters, see "stomp frame encode"'
                if b"^@" in data
                else ""
            )
            self._say(len(data), f"{command} is not ended by a NUL{hint}")
            return len(data)
        if command not in BODY_COMMANDS and data[at:end].strip(b"\r\n") and self._version != "1.0":
            self._say(at, f"{command} must not have a body")
        return end + 1

    def _required(self, command: str, headers: dict[str, tuple[str, int]], at: int) -> None:
        table = REQUIRED if command in REQUIRED else REQUIRED_OF_SERVER
        for name in table.get(command, {}).get(self._version, ()):
            if name not in headers:
                self._say(at, f"{command} without {name}")


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the line at ``at`` without its end, and where the next one begins."""
    end = data.find(b"\n", at)
    if end < 0:
        return data[at:], len(data)
    line = data[at:end]
    return line.removesuffix(b"\r"), end + 1


def has_errors(complaints: list[Complaint]) -> bool:
    """Return whether any complaint is about what STOMP does not allow."""
    return any(complaint.error for complaint in complaints)
