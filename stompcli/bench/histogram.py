"""Times in buckets: little memory, any number of them, and every percentile to within 1 %.

The buckets are those of HdrHistogram: as wide as one for small numbers, and then, with each
doubling of the number, twice as wide, so that none is wider than 1/128 of what it holds.
"""

import math
from typing import Final

_BITS: Final = 7
_HALF: Final = 1 << _BITS
# Numbers are of 63 bits at most.
_LARGEST: Final = (1 << 63) - 1
_BUCKETS: Final = (63 - _BITS) * _HALF + _HALF
# What stands in a .hgrm file for five lines each time that the rest halves.
_TICKS: Final = 5
_NANOSECONDS: Final = 1e6


class Histogram:
    """Counts of whole numbers from 0 on, such as nanoseconds."""

    __slots__ = ("_counts", "_sum", "largest", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._sum = 0
        # How many numbers there are, and the largest of them.
        self.total = 0
        self.largest = 0

    def add(self, value: int) -> None:
        """Count a number; one below 0, of clocks that disagree, is 0."""
        if value > self.largest:
            value = min(value, _LARGEST)
            self.largest = value
        elif value < 0:
            value = 0
        shift = value.bit_length() - _BITS - 1
        self._counts[(shift << _BITS) + (value >> shift) if shift > 0 else value] += 1
        self._sum += value
        self.total += 1

    def merge(self, other: "Histogram") -> None:
        """Count all numbers of another histogram as well."""
        for index, count in enumerate(other._counts):  # noqa: SLF001 - of the same class
            if count:
                self._counts[index] += count
        self._sum += other._sum  # noqa: SLF001 - as above
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    @property
    def mean(self) -> float:
        """The mean of the numbers, 0 of none."""
        return self._sum / self.total if self.total else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation, as exact as the buckets are."""
        if not self.total:
            return 0.0
        mean = self.mean
        squares = sum(
            count * (_middle(index) - mean) ** 2
            for index, count in enumerate(self._counts)
            if count
        )
        return math.sqrt(squares / self.total)

    def percentile(self, percent: float) -> int:
        """Return what so many per cent of the numbers do not exceed; 0 if there is none.

        It is never too small, and too large by less than 1 %.
        """
        wanted = max(1, math.ceil(self.total * percent / 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(_highest(index), self.largest)
        return 0

    def hgrm(self, scale: float = _NANOSECONDS) -> str:
        """Return the percentiles as HdrHistogram's tools write and plot them (.hgrm).

        Numbers are divided by ``scale``: nanoseconds become milliseconds.
        """
        lines = [
            f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}",
            "",
        ]
        level = 0.0
        seen = 0
        for index, count in enumerate(self._counts):
            if not count:
                continue
            seen += count
            value = min(_highest(index), self.largest) / scale
            while seen < self.total and 100 * seen / self.total >= level:
                rest = 1 - level / 100
                lines.append(f"{value:12.3f} {level / 100:2.12f} {seen:10d} {1 / rest:14.2f}")
                halvings = int(math.log2(1 / rest)) + 1
                level += 100 / (_TICKS * 2**halvings)
        if self.total:
            lines.append(f"{self.largest / scale:12.3f} {1:2.12f} {self.total:10d}")
        deviation = self.deviation / scale
        lines += [
            f"#[Mean    = {self.mean / scale:12.3f}, StdDeviation   = {deviation:12.3f}]",
            f"#[Max     = {self.largest / scale:12.3f}, Total count    = {self.total:12d}]",
            f"#[Buckets = {_BUCKETS // _HALF:12d}, SubBuckets     = {_HALF:12d}]",
        ]
        return "\n".join(lines) + "\n"


def _lowest(index: int) -> int:
    shift = max((index >> _BITS) - 1, 0)
    return (index - (shift << _BITS)) << shift


def _highest(index: int) -> int:
    shift = max((index >> _BITS) - 1, 0)
    return _lowest(index) + (1 << shift) - 1


def _middle(index: int) -> float:
    return (_lowest(index) + _highest(index)) / 2
