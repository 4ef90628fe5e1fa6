"""The broker's time: that of its loop, and whatever a test has added to it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

from stompd.testing.home import Home, at_home

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.broker import Broker


class Clock:
    """Has the broker do what is due, when it is due or when the test turns the clock.

    Everything of the broker's that takes time goes by it: ttl and expiry, delays, redelivery
    back-off, heart-beats, log-in time, idle queues, and the delays of `Faults`.
    """

    def __init__(self, home: Home, broker: Broker) -> None:
        self.home = home
        # How far it is ahead of the loop's clock, in seconds.
        self._ahead = 0.0
        self._broker = broker
        # Set, and made anew, when the time or a fault was changed.
        self._changed = trio.Event()
        # Set when something is due earlier than it was.
        self._due = trio.Event()
        broker.epoch = time.time() - broker.now
        broker.rescheduled = self._reschedule
        # What is to be done after every step: by the broker's owner.
        self.stepped: Callable[[], None] = _nothing
        # What is to be done before a step, for connections that count as alive.
        self.heard: Callable[[float], None] = _heard

    def __repr__(self) -> str:
        return f"<Clock {self._ahead:g} s ahead>"

    # For tests.

    @at_home
    def now(self) -> float:
        """Return the broker's time, in seconds from some start; only differences mean something."""
        return trio.current_time() + self._ahead

    @at_home
    def time(self) -> float:
        """Return the broker's time of day: seconds since 1970, as `time.time` does."""
        return self.now() + self._broker.epoch

    @at_home
    def advance(self, seconds: float, *, silent: bool = False) -> None:
        """Turn the clock ahead; what falls due meanwhile is done, each at its time, on return.

        What the broker writes because of it is on its way then. Clients count as heard from all the
        while, since their own clocks were not turned; with ``silent`` they were not, so that those
        with heart-beats are given up. A connection that is stalled or in a black hole is silent in
        any case.
        Raises `ValueError` for a negative number: time does not run backwards.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be turned back ({seconds:g} s)")
        began = trio.current_time()
        target = began + self._ahead + seconds
        now = began + self._ahead
        while True:
            if not silent:
                self.heard(now)
            due = self._broker.tick(now)
            self.stepped()
            if due is None or due > target:
                break
            # Never back: what is due may have been due before.
            now = max(now, due)
            self._ahead = now - began
        self._ahead = target - began
        if not silent:
            self.heard(target)
        self._broker.tick(target)
        self.stepped()
        self._due.set()
        self.change()

    # For the broker's tasks.

    def change(self) -> None:
        """Have everybody who waits for a time, or for a fault to be over, look again."""
        self._changed.set()
        self._changed = trio.Event()

    def reached(self, due: float) -> bool:
        """Tell whether it is ``due``, by the same arithmetic as `wait_until`.

        A sum and a difference are rounded differently; where a clock stands still, as a mock one
        does, comparing the sum would wait for ever.
        """
        return due - self._ahead <= trio.current_time()

    async def wait_until(self, due: float) -> None:
        """Wait until ``due`` or until something has changed, whichever comes first."""
        with trio.move_on_at(due - self._ahead):
            await self._changed.wait()

    async def run(self) -> None:
        """Have the broker do what is due, until cancelled."""
        due: float | None = None
        while True:
            self._due = trio.Event()
            now = self.now()
            if due is not None and self.reached(due):
                now = max(now, due)
            due = self._broker.tick(now)
            self.stepped()
            with trio.move_on_at(math.inf if due is None else due - self._ahead):
                await self._due.wait()

    def _reschedule(self) -> None:
        self._due.set()


def _nothing() -> None:
    """Do nothing: a clock without an owner."""


def _heard(now: float) -> None:
    """Hear nobody: a clock without connections."""
