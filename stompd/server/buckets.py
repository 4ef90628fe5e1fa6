"""How long something took, as counts of fixed buckets: cheap to keep, easy to add up."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds, from a write into the cache of a good disk to one that hangs.
COMMIT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
# Seconds, from what nobody notices to what looks like a broker that hangs.
LAG: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Buckets:
    """Durations, counted by the smallest of some bounds that they do not exceed."""

    __slots__ = ("_bounds", "_counts", "largest", "last", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        # All of them added up, the largest, and the one that came last.
        self.seconds = 0.0
        self.largest = 0.0
        self.last = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds
        self.last = seconds
        self.largest = max(self.largest, seconds)

    def told(self) -> dict[str, Any]:
        """Return what may be told of them; each bucket counts all below its bound, too."""
        buckets = dict(self.cumulative())
        return {
            "count": buckets["+Inf"],
            "seconds": round(self.seconds, 6),
            "max": round(self.largest, 6),
            "buckets": buckets,
        }

    def cumulative(self) -> list[tuple[str, int]]:
        """Return how many did not exceed each bound, smallest first; ``+Inf`` has them all."""
        rows = []
        count = 0
        for bound, here in zip(
            (*map("{:g}".format, self._bounds), "+Inf"), self._counts, strict=True
        ):
            count += here
            rows.append((bound, count))
        return rows
