"""How quick the disk is of late: whether a small write is quicker than asking another thread."""

from __future__ import annotations

from typing import Final

# Seconds that a write may take on average. What a thread is asked to do costs as much.
_QUICK: Final = 0.0004
# A write that takes so many seconds holds up everybody else: it counts as much as all before it.
_SLOW: Final = 0.004
# What the last write is worth in the average. It needs some fifty of them to trust a disk again.
_WEIGHT: Final = 1 / 16


class DiskPace:
    """An average of how long writes take, in which the last ones count most."""

    __slots__ = ("mean",)

    def __init__(self) -> None:
        # Seconds. A disk that nobody has seen at work is slow.
        self.mean = _SLOW

    def add(self, seconds: float) -> None:
        """Note how long a write took that was synced when it ended."""
        self.mean = _SLOW if seconds >= _SLOW else self.mean + (seconds - self.mean) * _WEIGHT

    @property
    def quick(self) -> bool:
        """Whether a small write may be waited for: it takes 0.4 ms on average, or less."""
        return self.mean <= _QUICK
