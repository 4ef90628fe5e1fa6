"""The session: what outlives a connection, and who waits for what of it.

It owns the receipts, the subscriptions, the transactions and the window of what is unconfirmed; it
reads for them and writes for them.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

import trio

from stompcli.client.connection import Connection
from stompcli.client.errors import (
    ClosedError,
    SessionEndedError,
    TransactionLostError,
)
from stompcli.client.frames import encoded
from stompcli.client.intake import Intake
from stompcli.client.options import Confirm, Counters, Settings
from stompcli.client.reasons import again
from stompcli.client.receipt import Fate, Receipt
from stompcli.client.request import Requests
from stompcli.client.route import Route
from stompcli.client.subscription import Subscription
from stompcli.client.transaction import Transaction
from stompcli.client.window import Unconfirmed, Window
from stompd.protocol.frame import Head

if TYPE_CHECKING:
    from stompcli.client.client import Client

_log = logging.getLogger("stompcli.client")


class Session(Intake):
    """A program's place at a broker; `connect` makes it and ends it.

    It owns the receipts that are waited for, the open subscriptions and transactions, what was sent
    and not confirmed, and the reason why it ended. After the end every operation raises that
    reason. While there is no connection, operations wait for the next one; see `Recovering`.
    """

    def __init__(
        self, connection: Connection, settings: Settings, route: Route | None = None
    ) -> None:
        super().__init__(settings)
        # Every one of these classes is a part of Client, which is what the others are given.
        self._whole = cast("Client", self)
        self._route = route
        # None while the client is between two connections.
        self._connection: Connection | None = None
        self.counters = Counters()
        # True once the broker has confirmed the DISCONNECT (D-03).
        self.confirmed = False
        self._receipts: dict[str, Receipt] = {}
        self._receipt_count = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._subscription_count = 0
        self._transaction_count = 0
        self._transactions: dict[str, Transaction] = {}
        # Ids of transactions that broke with their connection, for programs that only name them.
        self._lost_transactions: set[str] = set()
        # How a send() ends, and what is kept until it is confirmed.
        self._confirm: Confirm = settings.confirm or ("none" if route is None else "window")
        self._window: Window | None = None
        if route is not None or self._confirm == "window":
            self._window = Window(settings.window, settings.window_octets)
        # What makes the ids for de-duplication our own.
        self._dedup = secrets.token_hex(6) if settings.dedup else ""
        self._dedup_count = 0
        self.extract = settings.extract
        self._requests = Requests(self._whole)
        self._ended = trio.Event()
        self._error: SessionEndedError | None = None
        # Cancelled at the end, so that no new connection is tried.
        self._scope = trio.CancelScope()
        self._back = trio.lowlevel.ParkingLot()
        self._began = 0.0
        self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        self._began = trio.current_time()
        self.address = connection.address
        self.version = connection.version
        self.connected = connection.connected
        self.dialect = self._settings.dialect_of(self.server)
        # Seconds that reaching the broker and being let in took.
        self.dial_seconds = connection.dial_seconds
        self.login_seconds = connection.login_seconds
        connection.attach(self._whole)

    def __repr__(self) -> str:
        if self._ended.is_set():
            state = f"ended: {self._error}" if self._error else "ended"
        else:
            state = "closing" if self._closing else "open" if self._connection else "reconnecting"
        octets = self._connection.outbox_octets if self._connection else 0
        return (
            f"<Client of {self.address}, STOMP {self.version}, {state}, "
            f"{len(self._subscriptions)} subscriptions, {len(self._receipts)} receipts awaited, "
            f"{octets} octets to write>"
        )

    @property
    def server(self) -> str:
        """The broker's name and version as it says, empty if it does not."""
        return self.connected.get("server", "")

    @property
    def session(self) -> str:
        """The broker's name for this session, empty if it has none."""
        return self.connected.get("session", "")

    @property
    def receipt_timeout(self) -> float | None:
        """Seconds to wait for any receipt; None: for ever."""
        return self._settings.receipt_timeout

    @property
    def connection(self) -> Connection | None:
        """The connection, None between two of them."""
        return self._connection

    @property
    def is_connected(self) -> bool:
        """True if there is a connection now; False after the end, and between two of them."""
        return self._connection is not None and not self._ended.is_set()

    @property
    def unconfirmed(self) -> list[Unconfirmed]:
        """What was sent and not confirmed, oldest first; empty unless a window is kept."""
        return [] if self._window is None else self._window.entries()

    @property
    def _connect_headers(self) -> Mapping[str, str]:
        return self._settings.headers or {}

    @property
    def subscriptions(self) -> list[Subscription]:
        """The open subscriptions, oldest first."""
        return [one for one in self._subscriptions.values() if not one.ours]

    def check_alive(self) -> None:
        """Raise the reason if the session has ended, or is ending."""
        if self._error is not None:
            raise again(self._error)
        if self._closing or self._ended.is_set():
            raise ClosedError("the session was ended by this program")

    async def wait_ended(self) -> SessionEndedError | None:
        """Wait until the session has ended; return why, None if this program ended it."""
        await self._ended.wait()
        return self._error

    def _end(self, error: SessionEndedError | None) -> None:
        if self._ended.is_set():
            return
        self._error = error
        self._ended.set()
        missing = error or ClosedError("the session was ended before the receipt came")
        for receipt in self._receipts.values():
            receipt.lose(missing)
        self._receipts.clear()
        self._requests.end(missing)
        for subscription in self._subscriptions.values():
            subscription.wake()
        for lot in (self.room_to_read, self._back):
            lot.unpark_all()
        if self._window is not None:
            self._window.wake()
        self._scope.cancel()
        if self._connection is not None:
            self._connection.end(error)

    # Writing.

    async def _ask(
        self,
        command: str,
        pairs: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        check: Callable[[], None] | None = None,
        fate: Fate = "unknown",
    ) -> Receipt:
        connection = await self._wait_for_room(check)
        return self._ask_nowait(connection, command, pairs, body, fate=fate)

    def _ask_nowait(
        self,
        connection: Connection,
        command: str,
        pairs: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        fate: Fate = "unknown",
    ) -> Receipt:
        self._receipt_count += 1
        receipt = Receipt(self._whole, command, f"r{self._receipt_count}", fate)
        frame = encoded(command, [*pairs, ("receipt", receipt.id)], body, version=self.version)
        self._receipts[receipt.id] = receipt
        connection.put_nowait(frame)
        return receipt

    async def _put(
        self,
        command: str,
        pairs: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        check: Callable[[], None] | None = None,
    ) -> None:
        frame = encoded(command, pairs, body, version=self.version)
        connection = await self._wait_for_room(check)
        connection.put_nowait(frame)
        if connection.wants_turn():
            await connection.turn()

    async def _wait_for_room(self, check: Callable[[], None] | None = None) -> Connection:
        """Return the connection as soon as there is one with room for a frame.

        ``check`` raises what else is in the way, such as the end of a transaction.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self.check_alive()
            if check is not None:
                check()
            connection = self._connection
            if connection is None:
                await self._back.park()
            elif connection.has_room():
                return connection
            else:
                await connection.room()

    # Subscriptions.

    async def enroll(self, subscription: Subscription) -> None:
        """Subscribe for the library's own purposes; without SUBSCRIBE if it is implicit."""
        connection = await self._wait_for_room()
        if subscription.implicit:
            self._subscriptions[subscription.id] = subscription
        else:
            await self._confirmed_subscription(connection, subscription)

    async def _confirmed_subscription(
        self, connection: Connection, subscription: Subscription
    ) -> None:
        # Before anything is read: its messages may come with the receipt.
        self._subscriptions[subscription.id] = subscription
        receipt = self._subscribe_nowait(connection, subscription)
        try:
            await receipt.wait()
        except BaseException:
            self.unsubscribe_nowait(subscription)
            raise

    def _subscribe_nowait(self, connection: Connection, subscription: Subscription) -> Receipt:
        pairs = [
            ("id", subscription.id),
            ("destination", subscription.destination),
            ("ack", subscription.ack),
            *subscription.headers,
        ]
        fate: Fate = "again" if subscription.resubscribe else "unknown"
        subscription.receipt = self._ask_nowait(connection, "SUBSCRIBE", pairs, fate=fate)
        return subscription.receipt

    def unsubscribe_nowait(self, subscription: Subscription) -> None:
        """End a subscription without waiting for anything; nothing if it was ended before."""
        if self._subscriptions.get(subscription.id) is not subscription:
            return
        self._forget(subscription)
        if not self._closing and not self._ended.is_set() and self._connection is not None:
            pairs = [("id", subscription.id)]
            self._connection.put_nowait(encoded("UNSUBSCRIBE", pairs, version=self.version))

    def _forget(self, subscription: Subscription) -> None:
        self._subscriptions.pop(subscription.id, None)
        if self._connection is None and subscription.receipt is not None:
            # No new connection will ask for it.
            self._receipts.pop(subscription.receipt.id, None)
        subscription.close()

    def _check_of(self, transaction: Transaction | str) -> Callable[[], None]:
        """Return what raises `TransactionLostError` if that transaction broke."""
        if not isinstance(transaction, str):
            return transaction.check_alive

        def check() -> None:
            if transaction in self._lost_transactions:
                raise TransactionLostError(
                    f"transaction {transaction} was open when its connection broke; nothing of it "
                    "has happened, begin it anew"
                )

        return check

    # For the connection only.

    def count_heartbeat(self) -> None:
        """A heart-beat has come."""
        self.counters.heartbeats_received += 1

    def receive(self, head: Head, body: bytes) -> None:
        """A MESSAGE or RECEIPT has come."""
        if head.command == "MESSAGE":
            self._deliver(head, body)
        else:
            self._confirmed(head.headers["receipt-id"])

    def _confirmed(self, id_: str) -> None:
        # in any order. An unknown one belongs to somebody who gave up waiting.
        receipt = self._receipts.pop(id_, None)
        if receipt is None:
            return
        if self._window is not None and receipt.fate == "again":
            self._window.remove(id_)
        receipt.confirm()
        if receipt.command == "DISCONNECT" and self._connection is not None:
            self.confirmed = True
            self._connection.end(None)

    def _deliver(self, head: Head, body: bytes) -> None:
        subscription = self._find_subscription(head)
        if subscription is None or self._closing:
            self.counters.messages_dropped += 1
            return
        self.counters.messages_received += 1
        self._waits(body)
        subscription.deliver(head, body)

    def _find_subscription(self, head: Head) -> Subscription | None:
        id_ = head.get("subscription")
        if id_ is not None:
            return self._subscriptions.get(id_)
        # V10-09: a 1.0 broker need not name it.
        destination = head.headers["destination"]
        for subscription in self._subscriptions.values():
            if subscription.destination == destination:
                return subscription
        return None

    # For subscriptions and receipts only.

    async def wait_for_answer(
        self, done: Callable[[], bool], wait: Callable[[], Awaitable[object]]
    ) -> bool:
        """Wait until ``done``, for as long as a receipt may take; return whether it is.

        ``wait`` returns when that may be so. A new connection starts the time anew, and reading
        goes on meanwhile.
        """
        patience = math.inf if self.receipt_timeout is None else self.receipt_timeout
        deadline = trio.current_time() + patience
        with self.awaiting():
            while not done() and trio.current_time() < deadline:
                with trio.CancelScope(deadline=deadline):
                    await wait()
                here_since = trio.current_time() if self._connection is None else self._began
                deadline = max(deadline, here_since + patience)
        return done()
