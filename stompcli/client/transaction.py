"""Transactions: SENDs, ACKs and NACKs that take effect together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from stompcli.client.dialect import NackOptions, SendOptions
from stompcli.client.errors import (
    BrokerError,
    OutcomeUnknownError,
    TransactionLostError,
    UsageError,
)

if TYPE_CHECKING:
    from stompcli.client.client import Client
    from stompcli.client.subscription import Message


class Transaction:
    """One transaction of a session, open from BEGIN to COMMIT or ABORT.

    Made by `Client.transaction` or `Client.begin`. ``state`` is ``open``, ``committed``,
    ``aborted``, ``lost`` if its connection broke before COMMIT, or ``unknown`` if it broke before
    the COMMIT was confirmed.
    """

    def __init__(self, client: Client, id_: str) -> None:
        self._client = client
        self.id = id_
        self.state = "open"
        # What was settled in it: outstanding again after ABORT.
        self._settled: list[Message] = []

    def __repr__(self) -> str:
        return f"<Transaction {self.id!r}, {self.state}>"

    async def send(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        **options: Unpack[SendOptions],
    ) -> None:
        """Send a message that appears when the transaction is committed; see `Client.send`."""
        self._check_open()
        await self._client.send(
            destination,
            body,
            headers=headers,
            content_type=content_type,
            encoding=encoding,
            transaction=self,
            **options,
        )

    async def ack(self, message: Message) -> None:
        """Acknowledge a message with the transaction; see `Message.ack`."""
        self._check_open()
        await message.ack(transaction=self)

    async def nack(
        self,
        message: Message,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[NackOptions],
    ) -> None:
        """Refuse a message with the transaction; see `Message.nack`."""
        self._check_open()
        await message.nack(transaction=self, headers=headers, **options)

    async def commit(self) -> None:
        """Make it happen; returns when the broker has confirmed it.

        Raises `BrokerError` if the broker refuses it, and `OutcomeUnknownError` if the connection
        is lost meanwhile: all of it has happened, or nothing.
        """
        self._check_open()
        receipt = await self._client.end_transaction("COMMIT", self)
        self.state = "committed"
        try:
            await receipt.wait()
        except OutcomeUnknownError:
            self.state = "unknown"
            raise
        except BrokerError:
            # The broker has refused it, and ended the session, which undoes it.
            self._undo()
            raise

    async def abort(self) -> None:
        """Undo it; returns when the broker has confirmed it."""
        self._check_open()
        receipt = await self._client.end_transaction("ABORT", self)
        self._undo()
        await receipt.wait()

    def abort_nowait(self) -> None:
        """Send ABORT without waiting for anything."""
        self._check_open()
        self._client.abort_nowait(self)
        self._undo()

    def check_alive(self) -> None:
        """Raise `TransactionLostError` if its connection broke."""
        if self.state == "lost":
            raise TransactionLostError(
                f"transaction {self.id} was open when its connection broke; nothing of it has "
                "happened, begin it anew"
            )

    def lose(self) -> None:
        """The connection is gone, and the broker has undone it; for `Client` only."""
        self.state = "lost"

    def enlist(self, message: Message) -> None:
        """Remember a message that was settled in this transaction; for `Message` only."""
        self._settled.append(message)

    def _undo(self) -> None:
        self.state = "aborted"
        for message in self._settled:
            message.settled = False

    def _check_open(self) -> None:
        self.check_alive()
        if self.state != "open":
            raise UsageError(f"transaction {self.id} was {self.state} before")
