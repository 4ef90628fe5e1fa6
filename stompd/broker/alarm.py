"""The one timer of a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.terms import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.broker import Broker

# A timer holds what it calls in memory, so that none may be due in weeks: it looks, and waits on.
LOOK: Final = 60.0


class Alarm:
    """Rings at the earliest of the times that it was set to; then it has to be set anew.

    Times are seconds of the broker's time.
    """

    __slots__ = ("_action", "_at", "_broker", "_due")

    def __init__(self, broker: Broker, action: Callable[[], None]) -> None:
        self._broker = broker
        self._action: Callable[[], None] | None = action
        self._due = NEVER
        # When the next timer is due; one that is due later rests.
        self._at = NEVER

    def set(self, due: float) -> None:
        """Ring at ``due``, or earlier if it is set to an earlier time already."""
        if due < self._due:
            self._due = due
            self._wait()

    def _wait(self) -> None:
        at = min(self._due, self._broker.now + LOOK)
        if at < self._at:
            self._at = at
            self._broker.at(at, self._look)

    def _look(self) -> None:
        now = self._broker.now
        if now < self._at or self._action is None:
            return
        self._at = NEVER
        if now < self._due:
            self._wait()
            return
        self._due = NEVER
        self._action()

    def stop(self) -> None:
        """Ring no more, and let go of what it called."""
        self._action = None
        self._due = NEVER
