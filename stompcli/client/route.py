"""Where the brokers are, whom to ask next, and when: fail-over and reconnecting."""

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import trio

from stompcli.client.connection import Connection
from stompcli.client.errors import ConnectError, RefusedError
from stompcli.client.options import Reconnect, Settings
from stompcli.client.url import Address

_log = logging.getLogger("stompcli.client")

# How often an address may refuse the login of a client that was let in before: it may be about to
# stop, or full for a moment.
_REFUSALS: Final = 3

Opener = Callable[[Address, Settings], Awaitable[Connection]]


class Route:
    """The addresses of a client in the order in which they are tried.

    It owns the pauses between attempts, and knows which addresses refused the login.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        reconnect: Reconnect,
        settings: Settings,
        opener: Opener,
    ) -> None:
        self._addresses = addresses
        self._reconnect = reconnect
        self._settings = settings
        self._open = opener
        self._at = 0
        self._pause = reconnect.first
        # Why each of them, by its place, cannot be had, since one last could.
        self._failures: dict[int, ConnectError] = {}
        # How often each of them has refused the login meanwhile, and may.
        self._refusals: Counter[int] = Counter()
        self._most_refusals = 1

    @property
    def steady(self) -> float:
        """Seconds that a connection has to last for its loss to count as a new one."""
        return self._reconnect.steady

    async def first(self) -> Connection:
        """Return the first connection.

        Raises `RefusedError` if every address refused the login, else `ConnectError`.
        """
        if self._reconnect.at_start:
            return await self._persist(pause=False)
        connection = await self._round()
        if connection is None:
            raise self._reason()
        return connection

    async def again(self, version: str, *, steady: bool) -> Connection:
        """Return a new connection of this version in place of one that was lost.

        ``steady`` says that the lost one had lasted, so that the pauses begin anew. The address
        after its own is tried first.
        Raises `ConnectError` when it is time to give up.
        """
        # What the program was written for by now: it must not find less than it had.
        self._settings = replace(self._settings, versions=(version,))
        self._most_refusals = _REFUSALS
        if steady:
            self._pause = self._reconnect.first
        self._advance()
        return await self._persist(pause=True)

    async def _persist(self, *, pause: bool) -> Connection:
        how = self._reconnect
        started = trio.current_time()
        rounds = 0
        while True:
            if pause:
                seconds = self._pause * (1 - how.jitter * random.random())  # noqa: S311 - spread only
                self._pause = min(self._pause * how.factor, how.longest)
                await trio.sleep(seconds)
            pause = True
            connection = await self._round()
            if connection is not None:
                return connection
            rounds += 1
            reason = self._reason()
            if all(map(self._is_hopeless, range(len(self._addresses)))) or rounds == how.rounds:
                raise reason
            if how.patience is not None and trio.current_time() - started >= how.patience:
                raise reason
            _log.info("%s; trying again", reason)

    async def _round(self) -> Connection | None:
        """Try each address once, but for those that refused the login; None if all failed."""
        for _ in self._addresses:
            if not self._is_hopeless(self._at):
                address = self._addresses[self._at]
                try:
                    connection = await self._open(address, self._settings.to(address))
                except ConnectError as error:
                    self._failures[self._at] = error
                    if isinstance(error, RefusedError):
                        self._refusals[self._at] += 1
                else:
                    self._failures.clear()
                    self._refusals.clear()
                    return connection
            self._advance()
        return None

    def _is_hopeless(self, at: int) -> bool:
        return self._refusals[at] >= self._most_refusals

    def _advance(self) -> None:
        self._at = (self._at + 1) % len(self._addresses)

    def _reason(self) -> ConnectError:
        """Return why none of the addresses can be had; `RefusedError` if all have refused."""
        failures = list(self._failures.values())
        others = [error for error in failures if not isinstance(error, RefusedError)]
        if len(failures) == 1 or not others:
            return failures[-1]
        error = ConnectError(
            ", ".join(failure.address for failure in failures),
            "; ".join(f"{failure.address}: {failure.reason}" for failure in failures),
        )
        error.__cause__ = others[-1]
        return error
