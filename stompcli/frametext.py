r"""Frames as text that people read and write, and as octets on the wire.

In the text each header is ``name:value`` with ``\n``, ``\r``, ``\c`` (a colon) and ``\\`` for what
cannot stand there; how the wire escapes them is not the writer's matter. ``^@`` at the end of a
line ends the frame. A body that text cannot carry stands as base64 behind a line ``^base64``.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stompcli.failure import bad_input
from stompcli.render import visible_text
from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.errors import LocalProtocolError
from stompd.protocol.frame import BODY_COMMANDS, CLIENT_COMMANDS, V12, Head

_MARK: Final = "^@"
_BASE64: Final = "^base64\n"
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "c": ":", "\\": "\\"}
_TO_ESCAPE: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c"}


@dataclass(frozen=True)
class TextFrame:
    """One frame: its command, its headers as they are meant, its body."""

    command: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, head: Head, body: bytes) -> "TextFrame":
        """Return a frame that was read."""
        return cls(head.command, list(_pairs(head)), body)

    def text(self) -> str:
        """Return the frame as text."""
        lines = [self.command, *(f"{_name(name)}:{_shown(value)}" for name, value in self.headers)]
        return "\n".join([*lines, "", _body(self.body) + _MARK + "\n"])

    def as_json(self) -> dict[str, object]:
        """Return the frame as it is written in JSON."""
        value: dict[str, object] = {
            "command": self.command,
            "headers": [list(pair) for pair in self.headers],
        }
        try:
            value["body"] = self.body.decode()
        except UnicodeDecodeError:
            value["body_base64"] = base64.b64encode(self.body).decode()
        return value

    def wire(self, version: str = V12, *, length: bool = True) -> bytes:
        """Return the frame's octets; ``length``: with a content-length if there is a body.

        Raises `Failure` for what cannot be a frame.
        """
        headers: Iterable[tuple[str, str]] = self.headers
        if length and self.command in BODY_COMMANDS:
            headers = with_length(self.headers, self.body)
        try:
            return encode(self.command, headers, self.body, version=version)
        except LocalProtocolError as error:
            raise bad_input(str(error)) from None


def _pairs(head: Head) -> Iterable[tuple[str, str]]:
    parts = head.parts
    return zip(parts[1::2], parts[2::2], strict=True)


def _shown(text: str) -> str:
    return re.sub(r"[\\\n\r]", lambda match: _TO_ESCAPE[match[0]], text)


def _name(text: str) -> str:
    return re.sub(r"[\\\n\r:]", lambda match: _TO_ESCAPE[match[0]], text)


def _body(body: bytes) -> str:
    """Return a body as text that gives it back."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    harmless = text == visible_text(text) and _MARK not in text and not text.startswith(_BASE64)
    return text if harmless else _BASE64 + base64.b64encode(body).decode() + "\n"


def of_wire(data: bytes, version: str = V12) -> tuple[list[TextFrame], str]:
    """Return the frames in octets, and why no more could be read, empty if all were."""
    first = data.lstrip(b"\r\n\0").split(b"\n")[0].strip().decode("latin-1")
    decoder = Decoder("server" if first in CLIENT_COMMANDS else "client")
    literal = first in ("CONNECT", "STOMP", "CONNECTED")
    if not literal:
        decoder.begin(version)
    frames = decoder.feed(data)
    if literal and frames:
        decoder.begin(version)
        frames += decoder.feed(b"")
    why = str(decoder.error) if decoder.error is not None else ""
    if not why and decoder.pending:
        why = f"the last {decoder.pending} octets are no whole frame"
    return [TextFrame.of(head, body) for head, body in frames], why


def of_text(text: str) -> list[TextFrame]:
    """Return the frames in a text; raises `Failure` with the line for what is none."""
    frames = []
    number = 1
    while text.strip():
        skipped = len(text) - len(text.lstrip("\n"))
        number += skipped
        text = text[skipped:]
        whole, mark, rest = text.partition(_MARK)
        if not mark:
            raise bad_input(f"line {number}: the frame is not ended by {_MARK}")
        frames.append(_of_part(whole, number))
        number += whole.count("\n")
        text = rest
    return frames


def _of_part(text: str, number: int) -> TextFrame:
    head, _, body = text.partition("\n\n")
    command, *lines = head.removesuffix("\n").split("\n")
    headers = []
    for at, line in enumerate(lines, number + 1):
        name, colon, value = line.partition(":")
        if not colon:
            raise bad_input(f'line {at}: "{line}" is no header; write name:value')
        headers.append((_meant(name, at), _meant(value, at)))
    if not body.startswith(_BASE64):
        return TextFrame(command.strip(), headers, body.encode("utf-8", "surrogateescape"))
    try:
        octets = base64.b64decode(body.removeprefix(_BASE64).replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise bad_input(f"line {number + len(lines) + 2}: the body is no base64") from None
    return TextFrame(command.strip(), headers, octets)


def _meant(text: str, number: int) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise bad_input(f'line {number}: "{match[0]}" is none of \\n, \\r, \\c and \\\\')
        return _ESCAPED[match[1]]

    return _ESCAPE.sub(one, text)
