"""The client: what a program does with a broker, and who waits for what of it."""

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from stompcli.client.connection import Connection
from stompcli.client.errors import (
    BrokerError,
    ClosedError,
    ConnectionLostError,
    PeerProtocolError,
    SessionEndedError,
    UsageError,
)
from stompcli.client.frames import encoded, extra_headers, send_frame, transaction_header
from stompcli.client.options import Counters, Settings
from stompcli.client.reasons import again
from stompcli.client.receipt import Receipt
from stompcli.client.subscription import Subscription
from stompcli.client.transaction import Transaction
from stompd.protocol.frame import V10, Head
from stompd.protocol.rules import ACK_MODES

_log = logging.getLogger("stompcli.client")

# How far waiting messages may exceed their mark while a receipt is waited for behind them.
_OVERDRAFT: Final = 16


class Client:
    """One STOMP session; `connect` makes it and ends it.

    It owns the octets to be written, the receipts that are waited for, the open subscriptions and
    the reason why it ended. After the end every operation raises that reason.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._settings = settings
        self._connection = connection
        self.address = connection.address
        self.version = connection.version
        self.connected = connection.connected
        self.counters = Counters()
        # Seconds that reaching the broker and being let in took.
        self.dial_seconds = connection.dial_seconds
        self.login_seconds = connection.login_seconds
        # True once the broker has confirmed the DISCONNECT (D-03).
        self.confirmed = False
        self.room_to_read = trio.lowlevel.ParkingLot()
        self._receipts: dict[str, Receipt] = {}
        self._receipt_count = 0
        self._awaited = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._subscription_count = 0
        self._transaction_count = 0
        self._transactions: set[str] = set()
        # Messages that came and were not taken, of all subscriptions.
        self._waiting_messages = 0
        self._waiting_octets = 0
        # True from DISCONNECT on: nothing may follow it (D-04).
        self._closing = False
        self._ended = trio.Event()
        self._error: SessionEndedError | None = None
        connection.attach(self)

    def __repr__(self) -> str:
        if self._ended.is_set():
            state = f"ended: {self._error}" if self._error else "ended"
        else:
            state = "closing" if self._closing else "open"
        return (
            f"<Client of {self.address}, STOMP {self.version}, {state}, "
            f"{len(self._subscriptions)} subscriptions, {len(self._receipts)} receipts awaited, "
            f"{self._connection.outbox_octets} octets to write>"
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
    def subscriptions(self) -> list[Subscription]:
        """The open subscriptions, oldest first."""
        return list(self._subscriptions.values())

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

    # Sending.

    async def send(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        receipt: bool = False,
        transaction: Transaction | str | None = None,
        content_length: bool = True,
    ) -> None:
        """Send a message.

        Text is sent in UTF-8 as ``text/plain`` unless ``encoding`` or ``content_type`` say
        otherwise (CT-05, CT-08). With ``receipt`` waits until the broker has confirmed it; without,
        returns as soon as the frame is in line to be written, which is delayed while too much is.
        ``content_length=False`` is for brokers that tell text from octets by that header.
        Raises `UsageError` for what cannot be sent, and what `Receipt.wait` raises.
        """
        frame = send_frame(
            destination, body, headers, content_type, encoding, transaction, content_length
        )
        if receipt:
            await (await self._ask("SEND", *frame)).wait()
        else:
            await self._put(encoded("SEND", *frame, version=self.version))
        self.counters.messages_sent += 1

    async def submit(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        transaction: Transaction | str | None = None,
        content_length: bool = True,
    ) -> Receipt:
        """Send a message and return its receipt, to be waited for later.

        For many messages in flight at once. Arguments and errors are those of `send`.
        """
        frame = send_frame(
            destination, body, headers, content_type, encoding, transaction, content_length
        )
        receipt = await self._ask("SEND", *frame)
        self.counters.messages_sent += 1
        return receipt

    # Receiving.

    @asynccontextmanager
    async def subscribe(
        self,
        destination: str,
        *,
        ack: str = "auto",
        id: str | None = None,  # noqa: A002 - the header's name
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> AsyncIterator[Subscription]:
        """Subscribe for the length of a block, and iterate over the messages inside it.

        The block starts when the broker has confirmed the subscription. Is it left by an exception
        in an explicit ack mode, then the message taken last is NACKed unless it was settled
        (ACK-07). Arguments and errors are those of `open_subscription`.
        """
        subscription = await self.open_subscription(destination, ack=ack, id=id, headers=headers)
        try:
            yield subscription
        except Exception:
            subscription.fail_current()
            if not self._ended.is_set():
                self._unsubscribe_nowait(subscription)
            raise
        except BaseException:
            # Cancelled: what was taken is not to blame, UNSUBSCRIBE gives it back.
            if not self._ended.is_set():
                self._unsubscribe_nowait(subscription)
            raise
        if not self._ended.is_set():
            try:
                await subscription.unsubscribe()
            finally:
                # Cancelled before UNSUBSCRIBE was in line.
                self._unsubscribe_nowait(subscription)

    async def open_subscription(
        self,
        destination: str,
        *,
        ack: str = "auto",
        id: str | None = None,  # noqa: A002 - the header's name
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> Subscription:
        """Subscribe until `Subscription.unsubscribe` or the end of the session.

        ``ack`` is ``auto``, ``client`` or ``client-individual``; ``id`` must differ from those of
        the other subscriptions (SUB-08), and is made up if it is not given.
        Raises `UsageError`, and what `Receipt.wait` raises.
        """
        if not destination:
            raise UsageError("a subscription needs a destination")
        if ack not in ACK_MODES:
            raise UsageError(f'ack mode "{ack}" is none of {", ".join(ACK_MODES)}')
        if id is None:
            self._subscription_count += 1
            while str(self._subscription_count) in self._subscriptions:
                self._subscription_count += 1
            id = str(self._subscription_count)  # noqa: A001
        if not id or id in self._subscriptions:
            raise UsageError(f'subscription id "{id}" is in use' if id else "an id cannot be empty")
        pairs = [("id", id), ("destination", destination), ("ack", ack), *extra_headers(headers)]
        await self._wait_for_room()
        receipt = self._ask_nowait("SUBSCRIBE", pairs)
        # Before anything is read: its messages may come with the receipt.
        subscription = self._subscriptions[id] = Subscription(self, destination, id, ack)
        try:
            await receipt.wait()
        except BaseException:
            self._unsubscribe_nowait(subscription)
            raise
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; see `Subscription.unsubscribe`."""
        await self._wait_for_room()
        self._forget(subscription)
        await self._ask_nowait("UNSUBSCRIBE", [("id", subscription.id)]).wait()

    def _unsubscribe_nowait(self, subscription: Subscription) -> None:
        if self._subscriptions.get(subscription.id) is not subscription:
            return
        self._forget(subscription)
        if not self._closing and not self._ended.is_set():
            pairs = [("id", subscription.id)]
            self._connection.put_nowait(encoded("UNSUBSCRIBE", pairs, version=self.version))

    def _forget(self, subscription: Subscription) -> None:
        self._subscriptions.pop(subscription.id, None)
        subscription.close()

    async def settle(
        self,
        command: str,
        reference: list[tuple[str, str]],
        *,
        transaction: Transaction | str | None = None,
        receipt: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Receipt | None:
        """Send ACK or NACK for a delivery named by ``reference``; see `Message.ack`.

        Returns its receipt if one is asked for; when it is cancelled, nothing was sent.
        Raises `UsageError` for a NACK in a 1.0 session (V10-03).
        """
        if command == "NACK" and self.version == V10:
            raise UsageError("STOMP 1.0 has no NACK")
        pairs = [*reference, *transaction_header(transaction), *extra_headers(headers)]
        if receipt:
            return await self._ask(command, pairs)
        await self._put(encoded(command, pairs, version=self.version))
        return None

    def settle_nowait(self, command: str, reference: list[tuple[str, str]]) -> None:
        """Send ACK or NACK without waiting for anything."""
        self.check_alive()
        self._connection.put_nowait(encoded(command, reference, version=self.version))

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
        if id is None:
            self._transaction_count += 1
            while f"tx-{self._transaction_count}" in self._transactions:
                self._transaction_count += 1
            id = f"tx-{self._transaction_count}"  # noqa: A001
        if not id or id in self._transactions:
            raise UsageError(f'transaction id "{id}" is in use' if id else "an id cannot be empty")
        await self._put(encoded("BEGIN", [("transaction", id)], version=self.version))
        self._transactions.add(id)
        return Transaction(self, id)

    async def end_transaction(self, command: str, transaction: Transaction) -> Receipt:
        """Send COMMIT or ABORT; see `Transaction.commit`.

        Returns its receipt; when it is cancelled, nothing was sent.
        """
        receipt = await self._ask(command, [("transaction", transaction.id)])
        self._transactions.discard(transaction.id)
        return receipt

    def abort_nowait(self, transaction: Transaction) -> None:
        """Send ABORT; see `Transaction.abort_nowait`."""
        self.check_alive()
        self._transactions.discard(transaction.id)
        pairs = [("transaction", transaction.id)]
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
        await self._put(encoded("ABORT", pairs, version=self.version))
        return took

    # The end.

    async def disconnect(self, timeout: float = 2.0) -> bool:  # noqa: ASYNC109
        """End the session: DISCONNECT, wait for its receipt at most ``timeout`` seconds, close.

        Returns whether the broker confirmed it, and so everything before it (D-02, D-03). False
        means that it closed or reset the connection instead, or did not answer (LIM-08).
        Raises `BrokerError` or `PeerProtocolError` if that came instead of the receipt. Later calls
        do nothing and return the same.
        """
        if self._ended.is_set() or self._closing:
            await self._ended.wait()
            return self.confirmed
        self._ask_nowait("DISCONNECT", [])
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
        if not self.confirmed:
            _log.warning(
                "%s did not confirm the DISCONNECT; what was sent without a receipt may be lost",
                self.address,
            )
        return self.confirmed

    def _end(self, error: SessionEndedError | None) -> None:
        if self._ended.is_set():
            return
        self._error = error
        self._ended.set()
        missing = error or ClosedError("the session was ended before the receipt came")
        for receipt in self._receipts.values():
            receipt.fail(missing)
        self._receipts.clear()
        for subscription in self._subscriptions.values():
            subscription.wake()
        self.room_to_read.unpark_all()
        self._connection.end(error)

    # Writing.

    async def _ask(
        self, command: str, pairs: Iterable[tuple[str, str]], body: bytes = b""
    ) -> Receipt:
        await self._wait_for_room()
        return self._ask_nowait(command, pairs, body)

    def _ask_nowait(
        self, command: str, pairs: Iterable[tuple[str, str]], body: bytes = b""
    ) -> Receipt:
        self._receipt_count += 1
        receipt = Receipt(self, command, f"r{self._receipt_count}")
        frame = encoded(command, [*pairs, ("receipt", receipt.id)], body, version=self.version)
        self._receipts[receipt.id] = receipt
        self._connection.put_nowait(frame)
        return receipt

    async def _put(self, frame: bytes) -> None:
        await self._wait_for_room()
        await self._connection.put(frame)

    async def _wait_for_room(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_alive()
        while not self._connection.has_room():
            await self._connection.room()
            self.check_alive()

    # For the connection only.

    async def run(self) -> None:
        """Read and write until the session ends, then close the connection."""
        await self._connection.run()

    def ended(self, connection: Connection, error: SessionEndedError | None) -> None:
        """The connection has ended."""
        if connection is self._connection:
            self._end(error)

    def count_heartbeat(self) -> None:
        """A heart-beat has come."""
        self.counters.heartbeats_received += 1

    def receive(self, head: Head, body: bytes) -> None:
        """A MESSAGE or RECEIPT has come."""
        if head.command == "MESSAGE":
            self._deliver(head, body)
        else:
            self._confirm(head.headers["receipt-id"])

    def is_full(self) -> bool:
        """Return whether to stop reading until the program has taken some messages.

        While it waits for a receipt that may stand behind them, reading goes on up to a harder
        mark, at which the session ends.
        """
        messages, octets = self._settings.buffer_messages, self._settings.buffer_octets
        full = self._waiting_messages >= messages or self._waiting_octets >= octets
        if not full or self._closing:
            return False
        if not self._awaited:
            return True
        if (
            self._waiting_messages >= messages * _OVERDRAFT
            or self._waiting_octets >= octets * _OVERDRAFT
        ):
            raise ConnectionLostError(
                f"{self._waiting_messages} messages came and were not taken while a receipt was "
                "waited for; take them, or subscribe with an explicit ack mode"
            )
        return False

    def _confirm(self, id_: str) -> None:
        # in any order. An unknown one belongs to somebody who gave up waiting.
        receipt = self._receipts.pop(id_, None)
        if receipt is None:
            return
        receipt.confirm()
        if receipt.command == "DISCONNECT":
            self.confirmed = True
            self._end(None)

    def _deliver(self, head: Head, body: bytes) -> None:
        subscription = self._find_subscription(head)
        if subscription is None or self._closing:
            self.counters.messages_dropped += 1
            return
        self.counters.messages_received += 1
        self._waiting_messages += 1
        self._waiting_octets += len(body)
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

    def taken(self, messages: int, octets: int) -> None:
        """Messages that waited were taken, or given up."""
        self._waiting_messages -= messages
        self._waiting_octets -= octets
        self.room_to_read.unpark_all()

    def awaiting(self) -> "_Awaiting":
        """While this is entered, somebody waits for a receipt, so reading must go on."""
        return _Awaiting(self)

    def count_awaited(self, change: int) -> None:
        """Somebody began or ceased to wait for a receipt."""
        self._awaited += change
        if self._awaited:
            self.room_to_read.unpark_all()


class _Awaiting:
    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> None:
        self._client.count_awaited(1)

    def __exit__(self, *_: object) -> None:
        self._client.count_awaited(-1)
