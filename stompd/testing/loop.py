"""The broker in the test's own trio run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from stompd.testing.broker import PATIENCE, InProcessBroker
from stompd.testing.connection import Connection
from stompd.testing.message import ABSENT, Expected, Message
from stompd.testing.stream import MemoryStream

T = TypeVar("T")


class TrioBroker(InProcessBroker):
    """A broker among the tasks of the test: on memory streams and, after `listen`, over TCP.

    All works under a mock clock, with autojump as well, as long as memory streams are used; a
    socket that is waited for looks like idleness to it.
    """

    def stream(self) -> MemoryStream:
        """Return the client's end of a new connection, for ``connect_stream(broker.stream())``.

        Raises `ConnectionRefusedError` while connections are refused.
        """
        return self.open_stream()

    def listen(self) -> int:
        """Take connections on a free TCP port of 127.0.0.1, too; return the port."""
        return self.open_port()

    async def expect(
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
        that it must have; one with the value None it must not have. ``where`` is asked last.
        ``timeout`` is in seconds of trio's clock. Raises `AssertionError`, telling what came.
        """
        __tracebackhide__ = True
        expected = Expected(body, json, headers or {}, where)
        found, wrong = await self.find(destination, expected, 1, timeout)
        if wrong:
            raise AssertionError(wrong)
        return found[0]

    async def expect_many(
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
        found, wrong = await self.find(destination, expected, count, timeout)
        if wrong:
            raise AssertionError(wrong)
        return found

    async def assert_empty(self, destination: str, *, timeout: float = PATIENCE) -> None:
        """Wait until a queue has no message left: none waits, is delayed or is unsettled.

        Raises `AssertionError`, telling what is there.
        """
        __tracebackhide__ = True
        wrong = await self.emptied(destination, timeout)
        if wrong:
            raise AssertionError(wrong)

    async def wait_for_subscriber(
        self,
        destination: str,
        *,
        count: int = 1,
        timeout: float = PATIENCE,
    ) -> None:
        """Wait until ``count`` subscriptions get what is sent to a destination.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        wrong = await self.subscribed(destination, count, timeout)
        if wrong:
            raise AssertionError(wrong)

    async def wait_for_connection(self, *, timeout: float = PATIENCE) -> Connection:
        """Wait until a program has logged in, and return the newest connection.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        found, wrong = await self.connected(1, timeout)
        if wrong:
            raise AssertionError(wrong)
        return found[-1]

    async def wait_for_connections(
        self,
        count: int,
        *,
        timeout: float = PATIENCE,
    ) -> list[Connection]:
        """Wait until ``count`` programs are logged in, and return all connections, oldest first.

        Raises `AssertionError`, telling who is connected.
        """
        __tracebackhide__ = True
        found, wrong = await self.connected(count, timeout)
        if wrong:
            raise AssertionError(wrong)
        return found

    async def wait_until(
        self,
        condition: Callable[[], T],
        what: str = "",
        *,
        timeout: float = PATIENCE,
    ) -> T:
        """Wait until ``condition``, which is about this broker, returns something true; return it.

        It is asked again whenever the broker has done something. ``what`` names it in the
        `AssertionError` that is raised in the end.
        """
        __tracebackhide__ = True
        found = await self.until(condition, timeout)
        if not found:
            raise AssertionError(f"not true within {timeout:g} s: {what or condition}")
        return found


@asynccontextmanager
async def in_trio(
    *, users: Mapping[str, str] | None = None, **settings: object
) -> AsyncIterator[TrioBroker]:
    """Run a broker in the block, among the tasks of this trio run.

    ``users`` are names and passcodes; without, everybody is let in. ``settings`` are the tables and
    keys of ``stompd.toml``, such as ``policy=[{"match": "/queue/a", "max-deliveries": 2}]``; a
    hyphen in the name of a table is an underscore here. Those of the daemon are refused.
    What the block raises comes out as it is. Raises `ValueError` for settings that are wrong.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            broker = TrioBroker(nursery, users=users, settings=settings)
            try:
                yield broker
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        failure = group.exceptions[0]
    if failure is not None:
        try:
            raise failure
        finally:
            # The traceback would hold this frame, and this frame the exception.
            del failure
