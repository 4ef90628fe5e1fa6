"""The client: all that a program does with a broker."""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from stompcli.client.errors import BrokerError, PeerProtocolError, TimedOutError, UsageError
from stompcli.client.frames import encoded
from stompcli.client.reasons import again
from stompcli.client.receipt import Receipt
from stompcli.client.receiver import Receiver
from stompcli.client.recovery import Recovering
from stompcli.client.sender import Sender
from stompcli.client.transaction import Transaction

_log = logging.getLogger("stompcli.client")


class Client(Sender, Receiver, Recovering):
    """A program's place at a broker; `connect` makes it and ends it.

    Its halves are `Sender` and `Receiver`, over the `Session` that they share; `Recovering` takes
    it from one connection to the next; what is left are transactions and the end. After the end
    every operation raises why it came.
    """

    # Transactions.

    @asynccontextmanager
    async def transaction(self, id: str | None = None) -> AsyncIterator[Transaction]:  # noqa: A002
        """Begin a transaction; COMMIT it after the block, or ABORT it if the block raises.

        Leaving the block means that the broker has confirmed the COMMIT. The block may commit or
        abort itself. Raises what `begin` and `Transaction.commit` raise.
        """
        transaction = await self.begin(id)
        try:
            yield transaction
            transaction.check_alive()
            if transaction.state == "open":
                await transaction.commit()
        except BaseException:
            if transaction.state == "open" and not self._ended.is_set() and not self._closing:
                transaction.abort_nowait()
            raise

    async def begin(self, id: str | None = None) -> Transaction:  # noqa: A002
        """Begin a transaction; its id is made up if none is given.

        Raises `UsageError` for an id that is in use (TX-04).
        """
        connection = await self._wait_for_room()
        if id is None:
            self._transaction_count += 1
            while f"tx-{self._transaction_count}" in self._transactions:
                self._transaction_count += 1
            id = f"tx-{self._transaction_count}"  # noqa: A001
        if not id or id in self._transactions:
            raise UsageError(f'transaction id "{id}" is in use' if id else "an id cannot be empty")
        connection.put_nowait(encoded("BEGIN", [("transaction", id)], version=self.version))
        transaction = self._transactions[id] = Transaction(self, id)
        self._lost_transactions.discard(id)
        return transaction

    async def end_transaction(self, command: str, transaction: Transaction) -> Receipt:
        """Send COMMIT or ABORT; see `Transaction.commit`.

        Returns its receipt; when it is cancelled, nothing was sent.
        """
        receipt = await self._ask(
            command,
            [("transaction", transaction.id)],
            check=transaction.check_alive,
            fate="unknown" if command == "COMMIT" else "done",
        )
        self._transactions.pop(transaction.id, None)
        return receipt

    def abort_nowait(self, transaction: Transaction) -> None:
        """Send ABORT; see `Transaction.abort_nowait`."""
        self.check_alive()
        transaction.check_alive()
        self._transactions.pop(transaction.id, None)
        pairs = [("transaction", transaction.id)]
        if self._connection is not None:
            self._connection.put_nowait(encoded("ABORT", pairs, version=self.version))

    async def ping(self) -> float:
        """Return the seconds that a frame and its receipt take there and back.

        It is a BEGIN that is aborted at once: every broker confirms that, and nothing comes of it.
        """
        started = trio.current_time()
        self._transaction_count += 1
        pairs = [("transaction", f"ping-{self._transaction_count}")]
        await (await self._ask("BEGIN", pairs)).wait()
        took = trio.current_time() - started
        await self._put("ABORT", pairs)
        return took

    # The end.

    async def disconnect(
        self,
        timeout: float = 2.0,  # noqa: ASYNC109 - for the receipt alone
        *,
        flush: bool = True,
    ) -> bool:
        """End the session: DISCONNECT, wait for its receipt at most ``timeout`` seconds, close.

        Returns whether the broker confirmed it, and so everything before it (D-02, D-03). False
        means that it closed or reset the connection instead, or did not answer (LIM-08).
        With a window waits before for what is unconfirmed, up to the session's ``receipt_timeout``,
        unless ``flush`` is False; raises `TimedOutError`, or why the session ended, if some of it
        cannot be confirmed and nobody else would hear of that.
        Raises `BrokerError` or `PeerProtocolError` if that came instead of the receipt. Later calls
        do nothing and return the same.
        """
        if flush and not self._ended.is_set() and not self._closing:
            await self._flush_in_time()
        if self._ended.is_set() or self._closing:
            await self._ended.wait()
            self._check_nothing_is_lost(flush=flush)
            return self.confirmed
        if self._connection is None:
            self._end(None)
        else:
            self._ask_nowait(self._connection, "DISCONNECT", [])
            self._closing = self._connection.closing = True
        # What is not taken yet must not keep the receipt from being read.
        self.room_to_read.unpark_all()
        try:
            with trio.move_on_after(timeout):
                await self._ended.wait()
        finally:
            self._end(None)
        if isinstance(self._error, BrokerError | PeerProtocolError):
            raise again(self._error)
        self._check_nothing_is_lost(flush=flush)
        if not self.confirmed:
            _log.warning(
                "%s did not confirm the DISCONNECT; what was sent without a receipt may be lost",
                self.address,
            )
        return self.confirmed

    async def _flush_in_time(self) -> None:
        timeout = self.receipt_timeout
        with trio.move_on_after(math.inf if timeout is None else timeout):
            for entry in self.unconfirmed:
                # What becomes of it is said below, or to whom has the receipt.
                await entry.receipt.settled()

    def _check_nothing_is_lost(self, *, flush: bool) -> None:
        """Raise if messages were sent that the broker did not confirm, and nobody knows."""
        count = sum(not entry.expected for entry in self.unconfirmed)
        if not flush or not count or self.confirmed:
            return
        if self._error is not None:
            raise again(self._error)
        raise TimedOutError(
            f"{count} messages were sent and not confirmed in time; see unconfirmed"
        )
