"""Receipts: the broker's word that a frame was carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import trio

from stompcli.client.errors import (
    BrokerError,
    ClosedError,
    OutcomeUnknownError,
    SessionEndedError,
    StompError,
    TimedOutError,
)
from stompcli.client.reasons import again

if TYPE_CHECKING:
    from stompcli.client.client import Client


# What becomes of a frame that was not confirmed when its connection broke, if there will be a new
# connection: it is sent again; the loss has done what it asked for; nobody can say.
Fate = Literal["again", "done", "unknown"]


class Receipt:
    """The broker's confirmation of one frame, waited for or to be waited for."""

    __slots__ = ("_client", "_error", "_event", "command", "fate", "id")

    def __init__(self, client: Client, command: str, id_: str, fate: Fate = "unknown") -> None:
        self._client = client
        self._event = trio.Event()
        self._error: StompError | None = None
        self.command = command
        self.fate = fate
        self.id = id_

    @property
    def confirmed(self) -> bool:
        """True once the RECEIPT has come."""
        return self._event.is_set() and self._error is None

    @property
    def error(self) -> StompError | None:
        """Why the RECEIPT will never come, None if it may, or has."""
        return self._error

    async def wait(self) -> None:
        """Wait for the RECEIPT.

        Raises `BrokerError` if the broker answered ERROR, `ConnectionLostError` or `ClosedError`
        if the session ended before, `TimedOutError` after the session's ``receipt_timeout``, which
        a new connection starts anew.
        """
        if not await self._client.wait_for_answer(self._event.is_set, self._event.wait):
            timeout = self._client.receipt_timeout
            raise TimedOutError(f"no RECEIPT for {self.command} within {timeout:g} s")
        if self._error is not None:
            raise again(self._error)

    # For the client only.

    async def settled(self) -> None:
        """Wait until it is known whether the RECEIPT comes, for as long as it takes."""
        with self._client.awaiting():
            await self._event.wait()

    def confirm(self) -> None:
        """The RECEIPT has come."""
        self._event.set()

    def fail(self, error: StompError) -> None:
        """The RECEIPT will never come."""
        self._error = error
        self._event.set()

    def lose(self, error: SessionEndedError) -> None:
        """The connection has ended, for this reason, and with it the wait for the RECEIPT."""
        named = isinstance(error, BrokerError) and error.receipt_id == self.id
        if self.command != "COMMIT" or named or isinstance(error, ClosedError):
            self.fail(error)
            return
        unknown = OutcomeUnknownError(
            f"the connection broke before COMMIT was confirmed ({error}); "
            "the transaction has happened as a whole, or not at all"
        )
        unknown.__cause__ = error
        self.fail(unknown)
