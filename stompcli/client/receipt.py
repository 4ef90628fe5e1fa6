"""Receipts: the broker's word that a frame was carried out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from stompcli.client.errors import StompError, TimedOutError
from stompcli.client.reasons import again

if TYPE_CHECKING:
    from stompcli.client.client import Client


class Receipt:
    """The broker's confirmation of one frame, waited for or to be waited for."""

    __slots__ = ("_client", "_error", "_event", "command", "id")

    def __init__(self, client: Client, command: str, id_: str) -> None:
        self._client = client
        self._event = trio.Event()
        self._error: StompError | None = None
        self.command = command
        self.id = id_

    @property
    def confirmed(self) -> bool:
        """True once the RECEIPT has come."""
        return self._event.is_set() and self._error is None

    async def wait(self) -> None:
        """Wait for the RECEIPT.

        Raises `BrokerError` if the broker answered ERROR, `ConnectionLostError` or `ClosedError`
        if the session ended before, `TimedOutError` after the session's ``receipt_timeout``.
        """
        timeout = self._client.receipt_timeout
        with trio.move_on_after(math.inf if timeout is None else timeout), self._client.awaiting():
            await self._event.wait()
        if not self._event.is_set():
            raise TimedOutError(f"no RECEIPT for {self.command} within {timeout:g} s")
        if self._error is not None:
            raise again(self._error)

    # For the client only.

    def confirm(self) -> None:
        """The RECEIPT has come."""
        self._event.set()

    def fail(self, error: StompError) -> None:
        """The RECEIPT will never come."""
        self._error = error
        self._event.set()
