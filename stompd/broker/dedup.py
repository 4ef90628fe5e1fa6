"""The dedup-ids that a destination has seen."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.policy import Policy
    from stompd.broker.storage import Key, Store
    from stompd.broker.terms import Terms


class Remembered:
    """Owns the ids of a window of time, the oldest first.

    The store keeps those of persistent messages, as long as they are remembered here.
    """

    __slots__ = ("_ids", "_kept", "_key", "_store")

    def __init__(self, store: Store, key: Key) -> None:
        self._store = store
        # What the store knows the destination by.
        self._key = key
        # When each of them was seen.
        self._ids: OrderedDict[str, float] = OrderedDict()
        # Those of them that the store keeps.
        self._kept: set[str] = set()

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
            if oldest in self._kept:
                self._kept.remove(oldest)
                self._store.unremember(self._key, oldest)
        return dedup_id in ids

    def repeats(
        self, dedup_id: str, now: float, window: float, most: int, *, persistent: bool = False
    ) -> bool:
        """Return what `knows` returns; remember the id if it was not seen.

        ``persistent`` says that its message is.
        """
        if self.knows(dedup_id, now, window, most):
            return True
        self._ids[dedup_id] = now
        if persistent:
            self._kept.add(dedup_id)
            self._store.remember(self._key, dedup_id, now)
        return False

    def restore(self, dedup_id: str, seen: float) -> None:
        """Remember an id that the store has kept; the oldest have to come first."""
        self._ids[dedup_id] = seen
        self._kept.add(dedup_id)

    @property
    def kept(self) -> bool:
        """True if the store keeps one of them."""
        return bool(self._kept)


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
