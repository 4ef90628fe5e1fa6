"""What the broker writes to a connection, cut into frames: a WebSocket gets one a message."""

from __future__ import annotations

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\ncontent-length:([0-9]+)\n")


class Pieces:
    """Takes the octets of a session as they come.

    It relies on what the broker's encoder writes, so it looks for nothing but ends. ``end`` is what
    the session writes behind each frame: a NUL, or a NUL and a line feed.
    """

    def __init__(self, end: bytes) -> None:
        self._extra = len(end) - 1
        self._unread = bytearray()
        # How many octets the frame at hand has, once its head is there; -1 if its body has no
        # length. And where to look on.
        self._size = 0
        self._looked_at = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are whole now, and a line feed for each heart-beat."""
        unread = self._unread
        unread += data
        pieces = []
        while (size := self._whole()) > 0:
            pieces.append(bytes(unread[:size]))
            # What is behind a NUL is for people at a terminal.
            del unread[: size if unread[0] == ord("\n") else size + self._extra]
            self._size = self._looked_at = 0
        return pieces

    def rest(self) -> bytes:
        """Return what is left at the end: the begin of a frame, if anything."""
        return bytes(self._unread)

    def _whole(self) -> int:
        """Return the octets of the piece at the begin, without the extra; 0 if it is not whole."""
        unread = self._unread
        if unread[:1] == b"\n":
            return 1
        if not self._size:
            blank = unread.find(b"\n\n", self._looked_at)
            if blank < 0:
                self._looked_at = max(0, len(unread) - 1)
                return 0
            body = self._looked_at = blank + 2
            length = _LENGTH.search(unread, 0, body)
            self._size = -1 if length is None else body + int(length[1]) + 1
        if self._size < 0:
            stop = unread.find(b"\0", self._looked_at)
            if stop < 0:
                self._looked_at = len(unread)
                return 0
            self._size = stop + 1
        return self._size if len(unread) >= self._size + self._extra else 0
