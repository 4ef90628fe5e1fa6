"""The broker in a thread of the test's process, for programs of any kind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from stompd.testing.broker import PATIENCE, InProcessBroker
from stompd.testing.connection import Connection
from stompd.testing.message import ABSENT, Expected, Message

T = TypeVar("T")


class ThreadBroker(InProcessBroker):
    """A broker on a free TCP port of 127.0.0.1, in a thread of its own.

    Its methods may be called from any other thread. Those that wait for something block; in an
    asyncio program call them by ``await asyncio.to_thread(...)``, or the program stands still.
    """

    def expect(
        self,
        destination: str,
        *,
        body: bytes | str | None = None,
        json: Any = ABSENT,  # noqa: ANN401 - whatever JSON can say
        headers: Mapping[str, str | None] | None = None,
        where: Callable[[Message], object] | None = None,
        timeout: float = PATIENCE,
    ) -> Message:
        """Wait until a program has sent such a message, and return the first one.

        Each message is returned once: the next call is about another one. ``headers`` are those
        that it must have; one with the value None it must not have. ``where`` is asked last, on the
        broker's thread. ``timeout`` is in seconds. Raises `AssertionError`, telling what came.
        """
        __tracebackhide__ = True
        expected = Expected(body, json, headers or {}, where)
        found, wrong = self.home.wait(partial(self.find, destination, expected, 1, timeout))
        if wrong:
            raise AssertionError(wrong)
        return found[0]

    def expect_many(
        self,
        destination: str,
        count: int,
        *,
        body: bytes | str | None = None,
        json: Any = ABSENT,  # noqa: ANN401 - whatever JSON can say
        headers: Mapping[str, str | None] | None = None,
        where: Callable[[Message], object] | None = None,
        timeout: float = PATIENCE,
    ) -> list[Message]:
        """Wait until programs have sent ``count`` such messages, and return them; see `expect`."""
        __tracebackhide__ = True
        expected = Expected(body, json, headers or {}, where)
        found, wrong = self.home.wait(partial(self.find, destination, expected, count, timeout))
        if wrong:
            raise AssertionError(wrong)
        return found

    def assert_empty(self, destination: str, *, timeout: float = PATIENCE) -> None:
        """Wait until a queue has no message left: none waits, is delayed or is unsettled.

        Raises `AssertionError`, telling what is there.
        """
        __tracebackhide__ = True
        wrong = self.home.wait(partial(self.emptied, destination, timeout))
        if wrong:
            raise AssertionError(wrong)

    def wait_for_subscriber(
        self, destination: str, *, count: int = 1, timeout: float = PATIENCE
    ) -> None:
        """Wait until ``count`` subscriptions get what is sent to a destination.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        wrong = self.home.wait(partial(self.subscribed, destination, count, timeout))
        if wrong:
            raise AssertionError(wrong)

    def wait_for_connection(self, *, timeout: float = PATIENCE) -> Connection:
        """Wait until a program has logged in, and return the newest connection.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        found, wrong = self.home.wait(partial(self.connected, 1, timeout))
        if wrong:
            raise AssertionError(wrong)
        return found[-1]

    def wait_for_connections(self, count: int, *, timeout: float = PATIENCE) -> list[Connection]:
        """Wait until ``count`` programs are logged in, and return all connections, oldest first.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        found, wrong = self.home.wait(partial(self.connected, count, timeout))
        if wrong:
            raise AssertionError(wrong)
        return found

    def wait_until(
        self, condition: Callable[[], T], what: str = "", *, timeout: float = PATIENCE
    ) -> T:
        """Wait until ``condition``, which is about this broker, returns something true; return it.

        It is asked on the broker's thread, whenever the broker has done something. ``what`` names
        it in the `AssertionError` that is raised in the end.
        """
        __tracebackhide__ = True
        found = self.home.wait(partial(self.until, condition, timeout))
        if not found:
            raise AssertionError(f"not true within {timeout:g} s: {what or condition}")
        return found


@contextmanager
def in_thread(
    *, users: Mapping[str, str] | None = None, **settings: object
) -> Iterator[ThreadBroker]:
    """Run a broker in the block, in a thread of its own, on a free TCP port of 127.0.0.1.

    The arguments are those of `stompd.testing.in_trio`. Raises `ValueError` for settings that are
    wrong, and after the block whatever the broker failed of, which would be a fault of stompd.
    """
    started: Future[tuple[ThreadBroker, Callable[[], None]]] = Future()
    failed: list[BaseException] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            try:
                broker = ThreadBroker(nursery, users=users, settings=settings)
                broker.open_port()
            except BaseException as error:  # noqa: BLE001 - it is raised where the block begins
                nursery.cancel_scope.cancel()
                started.set_exception(error)
                return
            started.set_result((broker, nursery.cancel_scope.cancel))

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            failed.append(error)

    thread = threading.Thread(target=run, name="stompd", daemon=True)
    thread.start()
    broker, stop = started.result()
    try:
        yield broker
    finally:
        try:
            broker.home.call(stop)
        except RuntimeError:
            # It failed meanwhile; that is raised now.
            pass
        thread.join()
        if failed:
            raise failed[0]
