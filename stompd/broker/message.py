"""One message: what the sender gave, what happened to it, and its octets for each version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.protocol.encoder import encode_lines
from stompd.protocol.frame import NEVER_FORWARDED

if TYPE_CHECKING:
    from stompd.broker.owed import Sender
    from stompd.broker.queue import Queue
    from stompd.broker.terms import Terms
    from stompd.protocol.frame import Head

# From here on a body is handed on as it is; smaller ones are copied to their headers once.
SMALL: Final = 512
# From here on a body is handed to each of many sockets as it is.
LARGE: Final = 16 * 1024

_MADE_HERE: Final = NEVER_FORWARDED | {"content-length"}


class Message:
    """A message on its way.

    Owned by one place at a time: a queue (ready), a subscription (delivered, not settled), a
    transaction (not committed). The body and the sender's headers never change.
    """

    __slots__ = (
        "_pieces",
        "body",
        "count",
        "detail",
        "extra",
        "first_id",
        "head",
        "persistent",
        "place",
        "queue",
        "redelivered",
        "same",
        "sender",
        "size",
        "stored",
        "tail",
        "terms",
    )

    # The queue that it came to; a topic's message has none.
    queue: Queue

    def __init__(
        self,
        head: Head,
        body: bytes,
        tail: bytes | None,
        persistent: bool,  # noqa: FBT001 - by position, for speed
    ) -> None:
        self.head = head
        self.body = body
        # Headers and body as every version reads them, from `destination:` to the end of the
        # frame; None if versions differ or the body is large, see `pieces`.
        self.tail = tail
        self.persistent = persistent
        # Octets that count against prefetch and limits.
        self.size = len(body) + len(head.block)
        # Headers of the broker's that stay with the message, in place of the sender's.
        self.extra: dict[str, str] | None = None
        # The same in pieces, where it is not one: by version, or `same` for all of them.
        self.same: tuple[bytes, ...] | None = None
        self._pieces: dict[str, tuple[bytes, ...]] | None = None
        # Where it stands in its queue; it returns to this place.
        self.place = 0
        # Attempts that failed, and what the last NACK said.
        self.count = 0
        self.detail = ""
        self.redelivered = False
        # The message-id of the first delivery, so that consumers can tell a repetition.
        self.first_id = ""
        # True if the store knows it, and so has to hear what becomes of it.
        self.stored = False
        # Priority, expiry and the like; None for nearly all messages.
        self.terms: Terms | None = None
        # Whose backlog it is part of, if that is limited.
        self.sender: Sender | None = None

    def copy(self) -> Message:
        """Return the message for one more destination, as new as if it had been sent there."""
        copy = Message(self.head, self.body, self.tail, self.persistent)
        copy.same = self.same
        if self.extra is not None:
            copy.extra = dict(self.extra)
        if self.terms is not None:
            copy.terms = self.terms.copy()
        return copy

    def has_expired(self, now: float) -> bool:
        """Return whether nobody may have it any more; ``now`` is in seconds of the broker's."""
        return self.terms is not None and self.terms.expires <= now

    @property
    def properties(self) -> dict[str, str]:
        """What a selector looks at: the sender's headers, and what the broker put in their place.

        The caller must not change it.
        """
        if self.extra is None:
            return self.head.headers
        return self.head.headers | self.extra

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a consumer gets, without those of the single delivery."""
        headers = {n: v for n, v in self.head.headers.items() if n not in _MADE_HERE}
        if self.extra:
            headers.update(self.extra)
        if self.body:
            headers["content-length"] = str(len(self.body))
        return headers

    def redelivery_lines(self) -> bytes:
        """Return the header lines that tell a repeated delivery from a first one."""
        lines = b"redelivered:true\n"
        # A dead letter tells the count of the queue that it comes from.
        if not self.extra or "delivery-count" not in self.extra:
            lines += b"delivery-count:%d\n" % (self.count + 1)
        if self.first_id:
            lines += b"original-message-id:%b\n" % self.first_id.encode()
        return lines

    def pieces(self, version: str, end: bytes) -> tuple[bytes, ...]:
        """Return what follows a delivery's own headers, encoded once for each version."""
        if self.same is not None:
            return self.same
        if self._pieces is None:
            self._pieces = {}
        pieces = self._pieces.get(version)
        if pieces is None:
            lines = encode_lines(self.headers.items(), version)
            pieces = (b"".join((*lines, b"\n")), self.body, end)
            if len(self.body) < LARGE:
                pieces = (b"".join(pieces),)
            self._pieces[version] = pieces
        return pieces
