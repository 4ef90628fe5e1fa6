"""SENDs that the broker has not confirmed: kept, so that a lost connection loses none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from stompcli.client.receipt import Receipt


class Unconfirmed:
    """One SEND that the broker has not confirmed: it may have it or not."""

    __slots__ = ("body", "expected", "pairs", "receipt")

    def __init__(
        self, receipt: Receipt, pairs: list[tuple[str, str]], body: bytes, *, expected: bool
    ) -> None:
        self.receipt = receipt
        self.pairs = pairs
        self.body = body
        # True if somebody has the receipt, and so hears of a refusal.
        self.expected = expected

    @property
    def destination(self) -> str:
        """Where it was sent to."""
        return self.headers["destination"]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the SEND, but for its receipt."""
        return dict(self.pairs)

    def __repr__(self) -> str:
        return f"<Unconfirmed to {self.destination!r}, body of {len(self.body)} octets>"


class Window:
    """The unconfirmed SENDs of a client, oldest first, and room for more.

    ``messages`` and ``octets`` of bodies bound it; one message of any size fits into an empty one.
    """

    def __init__(self, messages: int, octets: int) -> None:
        self._most = messages
        self._most_octets = octets
        self._entries: dict[str, Unconfirmed] = {}
        self._octets = 0
        self._room = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Unconfirmed]:
        """Return what is unconfirmed, in the order in which it was sent."""
        return list(self._entries.values())

    def has_room(self) -> bool:
        """Return whether one more may be sent."""
        return not self._entries or (
            len(self._entries) < self._most and self._octets < self._most_octets
        )

    async def room(self) -> None:
        """Wait until there may be room, or the end."""
        await self._room.park()

    def add(self, entry: Unconfirmed) -> None:
        """Keep a SEND until `remove`."""
        self._entries[entry.receipt.id] = entry
        self._octets += len(entry.body)

    def remove(self, id_: str) -> Unconfirmed | None:
        """Forget the SEND with this receipt, because it was confirmed or refused; return it."""
        entry = self._entries.pop(id_, None)
        if entry is not None:
            self._octets -= len(entry.body)
            self._room.unpark_all()
        return entry

    def wake(self) -> None:
        """Let those who wait for room see that the client has ended."""
        self._room.unpark_all()
