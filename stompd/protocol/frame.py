"""The protocol's words, and what a frame is to the rest of the program."""

from typing import Final, Self

V10: Final = "1.0"
V11: Final = "1.1"
V12: Final = "1.2"
VERSIONS: Final = (V10, V11, V12)

CLIENT_COMMANDS: Final = frozenset(
    (
        "CONNECT",
        "STOMP",
        "SEND",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "ACK",
        "NACK",
        "BEGIN",
        "COMMIT",
        "ABORT",
        "DISCONNECT",
    )
)
SERVER_COMMANDS: Final = frozenset(("CONNECTED", "MESSAGE", "RECEIPT", "ERROR"))
# ESC-05 to ESC-07: their headers are taken and written literally, whatever the version.
LITERAL_COMMANDS: Final = frozenset(("CONNECT", "STOMP", "CONNECTED"))
# BOD-01: the frames that may have a body.
BODY_COMMANDS: Final = frozenset(("SEND", "MESSAGE", "ERROR"))


# AMB-43: what a broker writes itself, or keeps to itself, and so never forwards from a SEND.
NEVER_FORWARDED: Final = frozenset(
    (
        "ack",
        "delivery-count",
        "message-id",
        "original-message-id",
        "receipt",
        "redelivered",
        "subscription",
        "transaction",
    )
)


class Shape:
    """Command and header names of a head, without the values.

    Values often differ from frame to frame where names do not. What depends on the names alone is
    therefore worked out once for all heads of a shape.
    """

    __slots__ = ("clean", "command", "index", "length", "misses", "names", "plan")

    def __init__(self, command: str, index: dict[str, int], length: int | None) -> None:
        self.command = command
        # Name to the place of its value in `Head.parts`; the first of repeated names (HDR-03).
        self.index = index
        # The place of a content-length that counts in this frame and version, or None.
        self.length = length
        # True if nothing in it is for the broker alone, so that the block may be forwarded whole.
        self.clean = NEVER_FORWARDED.isdisjoint(index)
        # The names in the order of the wire; empty unless none of them is repeated.
        self.names: list[str] = []
        # How many heads of it came since one came again.
        self.misses = 0
        # What a layer above worked out from the names; the protocol never looks at it.
        self.plan: object | None = None


class Head:
    """Command and headers of one frame; immutable but for ``plan``.

    A producer repeats the same header block thousands of times, so a decoder hands out the same
    `Head` for equal octets. That is why what a layer above worked out from a head may stay with it.
    """

    __slots__ = (
        "_headers",
        "block",
        "command",
        "content_length",
        "parts",
        "plain",
        "plan",
        "shape",
    )

    def __init__(
        self,
        shape: Shape,
        parts: list[str],
        content_length: int | None,
        block: bytes,
        plain: bool,  # noqa: FBT001 - as above
    ) -> None:
        self.command = shape.command
        self.shape = shape
        # Command, name, value, name, value, ...; decoded.
        self.parts = parts
        # None: the body ends at the first NUL (F-06).
        self.content_length = content_length
        # The header lines as received, LF between them, without command line and blank line.
        self.block = block
        # True if `block` means the same in every version: no escapes, one colon a line, no CR, no
        # empty value, no repeated name. Such a block may be forwarded as it is.
        self.plain = plain
        # What the broker worked out from this head; the protocol never looks at it.
        self.plan: object | None = None
        self._headers: dict[str, str] | None = None

    @classmethod
    def of(
        cls, command: str, headers: dict[str, str], *, content_length: int | None = None
    ) -> Self:
        """Return a head made from names and values instead of octets."""
        parts = [command]
        index = {}
        for name, value in headers.items():
            index[name] = len(parts) + 1
            parts += (name, value)
        return cls(Shape(command, index, None), parts, content_length, b"", False)  # noqa: FBT003

    @property
    def headers(self) -> dict[str, str]:
        """The headers, decoded, the first of repeated names, in the order of the wire."""
        headers = self._headers
        if headers is None:
            parts = self.parts
            headers = self._headers = {name: parts[at] for name, at in self.shape.index.items()}
        return headers

    def get(self, name: str) -> str | None:
        """Return the value of one header, None if it is not there."""
        at = self.shape.index.get(name)
        return None if at is None else self.parts[at]

    def __repr__(self) -> str:
        return f"<Head {self.command} {self.headers!r}>"


# A plain tuple, because one is made for every message: a quarter of the cost of a class.
Frame = tuple[Head, bytes]
