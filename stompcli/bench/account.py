"""What became of the messages of a run: which came, which came twice, and which came too late."""

from collections.abc import Iterable
from typing import Final

_PAGE_BITS: Final = 15
_PAGE_OCTETS: Final = (1 << _PAGE_BITS) // 8


class Account:
    """The messages that one audience has had: the receivers of a queue, or one of a topic.

    A message is known by its sender, any bytes, and by its number among those of the sender. One
    bit is kept for each, in pages, since the first number that comes may be any.
    """

    __slots__ = ("_pages", "duplicated", "received")

    def __init__(self) -> None:
        self._pages: dict[bytes, dict[int, bytearray]] = {}
        # How many different messages came, and how often one came that had come before.
        self.received = 0
        self.duplicated = 0

    def note(self, sender: bytes, number: int) -> bool:
        """Note a message that came; return whether it is the first time."""
        try:
            page = self._pages[sender][number >> _PAGE_BITS]
        except KeyError:
            pages = self._pages.setdefault(sender, {})
            page = pages[number >> _PAGE_BITS] = bytearray(_PAGE_OCTETS)
        at = (number >> 3) & (_PAGE_OCTETS - 1)
        bit = 1 << (number & 7)
        if page[at] & bit:
            self.duplicated += 1
            return False
        page[at] |= bit
        self.received += 1
        return True

    def count(self, sender: bytes) -> int:
        """Return how many different messages of a sender came."""
        pages = self._pages.get(sender, {})
        return sum(_bits(page).bit_count() for page in pages.values())

    def lost(self, sent: Iterable[tuple[bytes, int]]) -> int:
        """Return how many did not come, of so many sent by each sender, numbered from 0."""
        return sum(count - self.count(sender) for sender, count in sent)

    def gaps(self) -> int:
        """Return how many are missing between the first and the last that came of each sender."""
        missing = 0
        for sender, pages in self._pages.items():
            low, high = min(pages), max(pages)
            first, last = _bits(pages[low]), _bits(pages[high])
            lowest = (low << _PAGE_BITS) + (first & -first).bit_length() - 1
            highest = (high << _PAGE_BITS) + last.bit_length() - 1
            missing += highest - lowest + 1 - self.count(sender)
        return missing


def _bits(page: bytearray) -> int:
    return int.from_bytes(page, "little")


class Order:
    """The order in which one receiver has had the messages of each sender."""

    __slots__ = ("_last", "broken")

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        # How many came behind one that was sent later.
        self.broken = 0

    def note(self, sender: bytes, number: int) -> None:
        """Note a message that came for the first time."""
        if number > self._last.get(sender, -1):
            self._last[sender] = number
        else:
            self.broken += 1
