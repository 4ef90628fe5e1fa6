"""The event loop that a broker lives on, and how other threads reach it."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial, wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")


class Home:
    """Knows the loop in which it was made; everything of a broker happens on that loop's thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that does not wait, on the broker's thread, and return its result.

        Raises what the function raises, and `RuntimeError` if the broker has stopped.
        """
        if threading.get_ident() == self._thread:
            return function()
        # Not by trio.from_thread, which refuses to be called from another trio run.
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was called
                result.set_exception(error)

        try:
            self._token.run_sync_soon(run)
        except trio.RunFinishedError:
            raise RuntimeError("the broker of this test has stopped") from None
        return result.result()

    def wait(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run an async function on the broker's loop while this thread, another one, waits.

        Raises what the function raises, and `RuntimeError` if the broker has stopped, or if this
        thread has a trio run of its own, which must not stand still.
        """
        if threading.get_ident() == self._thread:
            raise RuntimeError("this would wait for the broker on the broker's own thread")
        try:
            return trio.from_thread.run(function, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            raise RuntimeError("the broker of this test has stopped") from None


class AtHome(Protocol):
    """Something that lives on a broker's loop."""

    @property
    def home(self) -> Home:
        """The loop."""


S = TypeVar("S", bound=AtHome)


def at_home(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Have a method that does not wait run on the broker's thread, whoever calls it."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.home.call(partial(method, self, *args, **kwargs))

    return call
