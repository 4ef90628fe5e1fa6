"""Octets that wait to be written to one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.session import Session


class Outbox:
    """Whole frames in order, as pieces; the transport takes them all at once.

    ``size`` counts the octets that the transport's peer has not accepted yet, those already taken
    by the transport included: the transport lowers it by what it got rid of.
    """

    __slots__ = (
        "_touched",
        "flush",
        "high",
        "parts",
        "riders",
        "sent_at",
        "session",
        "size",
        "touched",
        "waiting",
    )

    def __init__(self, session: Session, touched: list[Outbox], high: int) -> None:
        # None once that is closed: nothing refers to itself then, and both are freed at once.
        self.session: Session | None = session
        self.parts: list[bytes] = []
        self.size = 0
        # From here on nothing more is assigned to it.
        self.high = high
        # True from the first piece until the transport flushes; spares a set on the hot path.
        self.touched = False
        self._touched = touched
        # True if a subscription waits for room.
        self.waiting = False
        # Messages delivered in mode auto whose octets are not all written yet.
        self.riders: list[Message] = []
        # When something was last written, by the broker's time: heart-beats look at it.
        self.sent_at = 0.0
        # The transport's: write what is there, never waiting.
        self.flush: Callable[[], None] = _nowhere

    def add(self, *pieces: bytes) -> None:
        """Append pieces of whole frames."""
        self.parts += pieces
        for piece in pieces:
            self.size += len(piece)
        if not self.touched:
            self.touched = True
            self._touched.append(self)

    def take(self) -> list[bytes]:
        """Give up all pieces, leaving none; ``size`` stays until they are written."""
        parts = self.parts
        self.parts = []
        return parts


def _nowhere() -> None:
    """Write nothing: an outbox without a transport keeps its pieces."""
