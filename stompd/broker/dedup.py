"""The dedup-ids that a destination has seen."""

from __future__ import annotations

from collections import OrderedDict


class Remembered:
    """Owns the ids of a window of time, the oldest first."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        # When each of them was seen.
        self._ids: OrderedDict[str, float] = OrderedDict()

    def live(self, now: float, window: float) -> bool:
        """Return whether one of them was seen in the last ``window`` seconds."""
        return bool(self._ids) and next(reversed(self._ids.values())) > now - window

    def repeats(self, dedup_id: str, now: float, window: float, most: int) -> bool:
        """Return whether an id was seen in the last ``window`` seconds; remember it if not.

        Of more than ``most`` ids the oldest are forgotten.
        """
        ids = self._ids
        while ids:
            oldest, seen = next(iter(ids.items()))
            if seen > now - window and len(ids) <= most:
                break
            del ids[oldest]
        if dedup_id in ids:
            return True
        ids[dedup_id] = now
        return False
