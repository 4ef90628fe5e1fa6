"""The dedup-ids that a destination has seen."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.policy import Policy
    from stompd.broker.terms import Terms


class Remembered:
    """Owns the ids of a window of time, the oldest first."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        # When each of them was seen.
        self._ids: OrderedDict[str, float] = OrderedDict()

    def live(self, now: float, window: float) -> bool:
        """Return whether one of them was seen in the last ``window`` seconds."""
        return bool(self._ids) and next(reversed(self._ids.values())) > now - window

    def knows(self, dedup_id: str, now: float, window: float, most: int) -> bool:
        """Return whether an id was seen in the last ``window`` seconds.

        Of more than ``most`` ids the oldest are forgotten.
        """
        ids = self._ids
        while ids:
            oldest, seen = next(iter(ids.items()))
            if seen > now - window and len(ids) <= most:
                break
            del ids[oldest]
        return dedup_id in ids

    def repeats(self, dedup_id: str, now: float, window: float, most: int) -> bool:
        """Return what `knows` returns; remember the id if it was not seen."""
        if self.knows(dedup_id, now, window, most):
            return True
        self._ids[dedup_id] = now
        return False


def goes_nowhere(
    terms: Terms | None, remembered: Remembered | None, policy: Policy, now: float
) -> bool:
    """Return whether a destination will drop a message at once: a repetition, or expired."""
    if terms is None:
        return False
    if terms.dedup_id is not None and remembered is not None:
        window, most = policy.dedup_window, policy.dedup_ids
        if remembered.knows(terms.dedup_id, now, window, most):
            return True
    return terms.expires <= now and terms.due <= now
