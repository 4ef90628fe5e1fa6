"""From one connection to the next: what is lost with one, and what the other one gets again."""

import logging
from typing import Final

import trio

from stompcli.client.connection import Connection
from stompcli.client.errors import (
    BrokerError,
    BufferFullError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    PeerProtocolError,
    SessionEndedError,
)
from stompcli.client.frames import encoded
from stompcli.client.options import Settings
from stompcli.client.route import Route
from stompcli.client.session import Session
from stompcli.client.subscription import Subscription

_log = logging.getLogger("stompcli.client")

# Connections in a row that may end by ERROR, soon after their start, before the client gives up.
_STRIKES: Final = 3
# On a SEND that the broker may have already.
_REPEATED: Final = ("possible-duplicate", "true")


class Recovering(Session):
    """The life of a `Client`, over one connection after the other.

    With a ``route`` it outlives its connection: it makes a new one, subscribes again and repeats
    what was not confirmed. Without one it ends with its connection.
    """

    def __init__(
        self, connection: Connection, settings: Settings, route: Route | None = None
    ) -> None:
        super().__init__(connection, settings, route)
        # How many connections in a row ended by ERROR soon after their start.
        self._strikes = 0
        # Whether the connection that was lost last had lasted.
        self._steady = True

    # For the connection only.

    async def run(self) -> None:
        """Read and write, by one connection after the other, until the session ends."""
        try:
            with self._scope:
                connection = self._connection
                while connection is not None:
                    await connection.run()
                    connection = await self._next()
        finally:
            self._end(ClosedError("the session was cancelled"))

    def ended(self, connection: Connection, error: SessionEndedError | None) -> None:
        """The connection has ended: the session ends with it, or goes on with another."""
        if self._ended.is_set() or connection is not self._connection:
            return
        final = error is None or self._closing or self._route is None
        if final or isinstance(error, ClosedError | BufferFullError):
            self._end(error)
        else:
            assert error is not None  # noqa: S101 - for the type checker
            self._lose(error)

    # Between two connections.

    def _lose(self, error: SessionEndedError) -> None:
        """The connection is gone: say so to whom it concerns, keep what the next one needs."""
        _log.warning("%s; connecting again", error)
        self._connection = None
        self._steady = self._is_steady()
        if isinstance(error, BrokerError) and error.receipt_id in self._receipts:
            if not self._blame(error, error.receipt_id):
                return
            # Nobody else is to blame.
            error = _blameless(error)
        elif isinstance(error, BrokerError | PeerProtocolError) and not self._steady:
            # Whatever it is, it happens with each connection, and nobody can be told but all.
            self._strikes += 1
            if self._strikes >= _STRIKES:
                self._end(error)
                return
        else:
            self._strikes = 0
        self._requests.lose(error)
        for receipt in list(self._receipts.values()):
            if receipt.fate == "again":
                continue
            del self._receipts[receipt.id]
            if receipt.fate == "done":
                receipt.confirm()
            else:
                receipt.lose(error)
        for transaction in self._transactions.values():
            transaction.lose()
        self._lost_transactions.update(self._transactions)
        self._transactions.clear()
        for subscription in list(self._subscriptions.values()):
            self.counters.messages_stale += subscription.lose()
            if not subscription.resubscribe:
                del self._subscriptions[subscription.id]
                subscription.fail(_blameless(error))
        self.room_to_read.unpark_all()

    def _blame(self, error: BrokerError, id_: str) -> bool:
        """The broker refused the frame with this receipt: it is not repeated.

        Returns whether the session goes on: not if nobody would hear of the refusal.
        """
        receipt = self._receipts.pop(id_)
        receipt.fail(error)
        entry = self._window.remove(id_) if self._window is not None else None
        if entry is not None and not entry.expected:
            self._end(error)
            return False
        for subscription in list(self._subscriptions.values()):
            if subscription.receipt is receipt:
                del self._subscriptions[subscription.id]
                subscription.fail(error)
        return True

    async def _next(self) -> Connection | None:
        """Return the next connection, ready for use; None when the session has ended."""
        if self._ended.is_set() or self._route is None:
            return None
        try:
            connection = await self._route.again(self.version, steady=self._steady)
        except ConnectError as error:
            gone = ConnectionLostError(f"the connection is lost for good: {error}")
            gone.__cause__ = error
            self._end(gone)
            return None
        self._adopt(connection)
        self.counters.reconnects += 1
        _log.info("connected again, with %s", self.address)
        for subscription in self._subscriptions.values():
            if not subscription.implicit:
                self._resubscribe(connection, subscription)
        for entry in self.unconfirmed:
            pairs = [*entry.pairs, _REPEATED, ("receipt", entry.receipt.id)]
            connection.put_nowait(encoded("SEND", pairs, entry.body, version=self.version))
            self.counters.messages_repeated += 1
        self._back.unpark_all()
        return connection

    def _resubscribe(self, connection: Connection, subscription: Subscription) -> None:
        waited_for = subscription.receipt
        receipt = self._subscribe_nowait(connection, subscription)
        if waited_for is not None and self._receipts.pop(waited_for.id, None) is not None:
            # Somebody may still wait for the first one.
            waited_for.id = receipt.id
            self._receipts[receipt.id] = subscription.receipt = waited_for

    def _is_steady(self) -> bool:
        """Return whether the connection has lasted, so that its loss is no reason to hesitate."""
        lasted = trio.current_time() - self._began
        return self._route is not None and lasted >= self._route.steady


def _blameless(error: SessionEndedError) -> SessionEndedError:
    """Return the error of one who is not to blame for an ERROR that ended the connection."""
    if not isinstance(error, BrokerError):
        return error
    lost = ConnectionLostError(f"the broker ended the connection: {error}")
    lost.__cause__ = error
    return lost
