r"""Frames typed line by line, as over telnet: lines in, octets out, and what is wrong with them.

Everything here is pure. The lines are the frame; two characters ``^@`` at the end of a line, or
the NUL that Ctrl-@ types, end it.
"""

import re
from typing import Final, Literal

from stompd.protocol.decoder import Decoder
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import V12
from stompd.protocol.rules import check

Eol = Literal["lf", "crlf", "cr"]

EOLS: Final[dict[str, bytes]] = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
_MARK: Final = b"^@"
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LENGTH: Final = re.compile(rb"(?:^|\n)content-length:[ ]*([0-9]+)[ ]*\r?(?:\n|$)")
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b'"': b'"'}
# What the decoder says of a frame before CONNECT is no matter of the frame itself.
_LIMIT_OF_BEATS: Final = b"\r\n"


class RawFrames:
    r"""Gathers lines into frames.

    ``eol`` stands at the end of each line; with ``escapes`` a typed ``\0``, ``\r``, ``\xff`` is
    that octet.
    """

    def __init__(self, *, eol: Eol = "lf", escapes: bool = False) -> None:
        self._eol = EOLS[eol]
        self._escapes = escapes
        self._lines: list[bytes] = []

    @property
    def begun(self) -> bool:
        """True if a frame was begun and is not finished."""
        return bool(self._lines)

    def drop(self) -> None:
        """Forget the frame that was begun."""
        self._lines.clear()

    def feed(self, line: bytes) -> list[bytes]:
        """Take a line without its end; return the frames that it finishes."""
        ended = line.endswith(_MARK)
        if ended:
            line = line.removesuffix(_MARK)
        if self._escapes:
            line = unescaped(line)
        if ended:
            # Whoever types the mark means it, whatever a content-length says.
            whole = self._eol.join([*self._lines, line + b"\0"])
            self._lines.clear()
            return [whole]
        frames: list[bytes] = []
        rest = line
        while b"\0" in rest:
            whole = self._eol.join([*self._lines, rest])
            end = end_of_frame(whole)
            if end is None:
                break
            frames.append(whole[:end])
            self._lines.clear()
            rest = whole[end:]
        if rest or self._lines or not frames:
            self._lines.append(rest)
        if self._lines == [b""]:
            # Between frames an empty line is nothing; `beat` sends one.
            self._lines.clear()
        return frames


def unescaped(text: bytes) -> bytes:
    r"""Return octets with ``\0``, ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN`` made real."""

    def octet(match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            return bytes([int(match[1], 16)])
        return _ESCAPED.get(match[2], match[0])

    return _ESCAPE.sub(octet, text)


def end_of_frame(data: bytes) -> int | None:
    """Return where the first frame ends, behind its NUL; None if it does not end here.

    A content-length counts if there is one.
    """
    head = _HEAD_END.search(data)
    first = data.find(b"\0")
    if head is None or (0 <= first < head.start()):
        return first + 1 if first >= 0 else None
    length = _LENGTH.search(data[: head.start()])
    if length is not None:
        nul = head.end() + int(length[1])
        if nul < len(data):
            # Without a NUL there it is malformed, and ends where somebody would look for it.
            return nul + 1 if data[nul : nul + 1] == b"\0" else data.find(b"\0", nul) + 1 or None
        return None
    nul = data.find(b"\0", head.end())
    return nul + 1 if nul >= 0 else None


def split_frames(data: bytes) -> list[bytes]:
    """Return octets that came, cut behind each frame with the line ends that follow it."""
    pieces: list[bytes] = []
    while data:
        end = end_of_frame(data) if data.strip(_LIMIT_OF_BEATS) else None
        if end is None:
            pieces.append(data)
            break
        while data[end : end + 1] in (b"\n", b"\r"):
            end += 1
        pieces.append(data[:end])
        data = data[end:]
    return pieces


def lint(frame: bytes) -> list[str]:
    """Return what is to be said of a client's frame by the rules of STOMP 1.2."""
    decoder = Decoder("server")
    if not frame.lstrip(_LIMIT_OF_BEATS).startswith((b"CONNECT\n", b"CONNECT\r\n", b"STOMP")):
        decoder.begin(V12)
    frames = decoder.feed(frame)
    if decoder.error is not None:
        return [str(decoder.error)]
    if not frames:
        return ["the frame does not end here: its content-length is larger than its body"]
    said = []
    head, body = frames[0]
    try:
        check(head, body, V12)
    except RemoteProtocolError as error:
        said.append(str(error))
    if len(frames) > 1 or decoder.pending:
        said.append("something follows the frame: its content-length is smaller than its body")
    if head.command == "SEND" and head.content_length is None and not said:
        said.append("no content-length (fine, body has no NUL)")
    for name, value in head.headers.items():
        if value.startswith(" ") or name.endswith(" "):
            said.append(f'a blank beside the colon of "{name.strip()}": it belongs to the header')
    return said
