"""Ending in peace what would go on for ever: a signal ends the wait, and nothing else."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from stompcli.exitcodes import ExitCode

_T = TypeVar("_T")


class Stop:
    """The wish to stop, and the wait for a next message that it cuts short.

    To be set as `Session.on_signal`: the first signal is the wish, others are for the session.
    """

    def __init__(self) -> None:
        self.wished = False
        self._waiting = trio.CancelScope()

    def __call__(self, _: ExitCode) -> bool:
        """Take a signal for the wish; return whether it is the first."""
        first = not self.wished
        self.wish()
        return first

    def wish(self) -> None:
        """Wish it. Never waits."""
        self.wished = True
        self._waiting.cancel()

    async def wait_for(self, next_one: Callable[[], Awaitable[_T]], seconds: float) -> _T | None:
        """Return what comes; None if it does not come in time, or there is the wish to stop."""
        if self.wished:
            return None
        with trio.CancelScope(deadline=trio.current_time() + seconds) as self._waiting:
            return await next_one()
        return None
