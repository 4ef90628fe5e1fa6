"""The client: what a program does with a broker, and who waits for what of it."""

import logging
import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Unpack

import trio

from stompcli.client.connection import Connection
from stompcli.client.consumer import Consumer, Process, consume
from stompcli.client.dialect import Pairs, SendOptions, SubscribeOptions
from stompcli.client.errors import (
    BrokerError,
    BufferFullError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    OutcomeUnknownError,
    PeerProtocolError,
    SessionEndedError,
    TimedOutError,
    TransactionLostError,
    UsageError,
)
from stompcli.client.frames import encoded, extra_headers, send_frame, transaction_header
from stompcli.client.options import Confirm, Counters, Settings
from stompcli.client.reasons import again
from stompcli.client.receipt import Fate, Receipt
from stompcli.client.request import Replies, Requests
from stompcli.client.request import check as check_request
from stompcli.client.route import Route
from stompcli.client.subscription import Message, Subscription
from stompcli.client.transaction import Transaction
from stompcli.client.window import Unconfirmed, Window
from stompd.protocol.frame import V10, Head
from stompd.protocol.rules import ACK_MODES

_log = logging.getLogger("stompcli.client")

# How far waiting messages may exceed their mark while a receipt is waited for behind them.
_OVERDRAFT: Final = 16
# Connections in a row that may end by ERROR, soon after their start, before the client gives up.
_STRIKES: Final = 3
# On a SEND that the broker may have already.
_REPEATED: Final = ("possible-duplicate", "true")


class Client:
    """A program's place at a broker; `connect` makes it and ends it.

    It owns the receipts that are waited for, the open subscriptions and transactions, what was sent
    and not confirmed, and the reason why it ended. After the end every operation raises that
    reason. With a ``route`` it outlives its connection: it makes a new one, subscribes again and
    repeats what was not confirmed; meanwhile operations wait.
    """

    def __init__(
        self, connection: Connection, settings: Settings, route: Route | None = None
    ) -> None:
        self._settings = settings
        self._route = route
        # None while the client is between two connections.
        self._connection: Connection | None = None
        self.counters = Counters()
        # True once the broker has confirmed the DISCONNECT (D-03).
        self.confirmed = False
        self.room_to_read = trio.lowlevel.ParkingLot()
        self._receipts: dict[str, Receipt] = {}
        self._receipt_count = 0
        self._awaited = 0
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
        self._requests = Requests(self)
        # Messages that came and were not taken, of all subscriptions.
        self._waiting_messages = 0
        self._waiting_octets = 0
        # True from DISCONNECT on: nothing may follow it (D-04).
        self._closing = False
        self._ended = trio.Event()
        self._error: SessionEndedError | None = None
        # Cancelled at the end, so that no new connection is tried.
        self._scope = trio.CancelScope()
        self._back = trio.lowlevel.ParkingLot()
        self._began = 0.0
        self._strikes = 0
        self._steady = True
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
        connection.attach(self)

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

    # Sending.

    async def send(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        receipt: bool | None = None,
        transaction: Transaction | str | None = None,
        content_length: bool = True,
        **options: Unpack[SendOptions],
    ) -> None:
        """Send a message.

        Text is sent in UTF-8 as ``text/plain`` unless ``encoding`` or ``content_type`` say
        otherwise (CT-05, CT-08). With ``receipt`` waits until the broker has confirmed it. With
        False, returns as soon as the frame is in line to be written, which is delayed while too
        much is. None does what the session's ``confirm`` says; with "window" it waits for room
        among the unconfirmed, and a message that the broker refuses ends the session.
        In a transaction it is COMMIT that confirms the message.
        ``content_length=False`` is for brokers that tell text from octets by that header.
        ``options`` are `SendOptions`, spelt as the broker wants them.
        Raises `UsageError` for what cannot be sent, and what `Receipt.wait` raises.
        """
        frame = send_frame(
            destination,
            body,
            self._send_headers(destination, headers, options),
            content_type,
            encoding,
            transaction,
            content_length,
        )
        how = self._confirm if receipt is None else "await" if receipt else "none"
        if transaction is not None:
            check = self._check_of(transaction)
            if receipt:
                await (await self._ask("SEND", *frame, check=check)).wait()
            else:
                await self._put("SEND", *frame, check=check)
        elif how == "none":
            await self._put("SEND", *frame)
        else:
            confirmation = await self._submit(*frame, expected=how == "await")
            if how == "await":
                await confirmation.wait()
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
        **options: Unpack[SendOptions],
    ) -> Receipt:
        """Send a message and return its receipt, to be waited for later.

        For many messages in flight at once. Arguments and errors are those of `send`.
        """
        frame = send_frame(
            destination,
            body,
            self._send_headers(destination, headers, options),
            content_type,
            encoding,
            transaction,
            content_length,
        )
        if transaction is not None:
            receipt = await self._ask("SEND", *frame, check=self._check_of(transaction))
        else:
            receipt = await self._submit(*frame, expected=True)
        self.counters.messages_sent += 1
        return receipt

    async def flush(self) -> None:
        """Wait until the broker has confirmed everything that was sent so far.

        Without a window (see ``confirm``) nothing is known to be unconfirmed, and this returns.
        Raises what `Receipt.wait` raises; then `unconfirmed` has what is left.
        """
        for entry in self.unconfirmed:
            await entry.receipt.wait()

    def _send_headers(
        self,
        destination: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
        options: SendOptions,
    ) -> Mapping[str, str] | Iterable[tuple[str, str]] | None:
        """Return a program's headers with those of its options and of the tracing hook."""
        inject = self._settings.inject
        if not options and inject is None:
            return headers
        pairs = _merged(headers, self.dialect.send_headers(options))
        if inject is not None:
            pairs += extra_headers(inject(destination, dict(pairs)))
        return pairs

    async def _submit(
        self, pairs: list[tuple[str, str]], body: bytes, *, expected: bool
    ) -> Receipt:
        """Send a message that is kept until it is confirmed, once there is room for it."""
        window = self._window
        if window is None:
            return await self._ask("SEND", pairs, body)
        connection = await self._wait_for_room()
        while not window.has_room():
            # The receipts that make room may stand behind messages that nobody takes.
            with self.awaiting():
                await window.room()
            connection = await self._wait_for_room()
        if self._dedup:
            pairs = self._with_dedup_id(pairs)
        receipt = self._ask_nowait(connection, "SEND", pairs, body, fate="again")
        window.add(Unconfirmed(receipt, pairs, body, expected=expected))
        return receipt

    def _with_dedup_id(self, pairs: Pairs) -> Pairs:
        self._dedup_count += 1
        made = self.dialect.send_headers({"dedup_id": f"{self._dedup}-{self._dedup_count}"})
        given = {name for name, _ in pairs}
        return pairs if made[0][0] in given else [*pairs, *made]

    # Requests and replies.

    async def request(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - the reply is the broker's peer's
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        resend: bool = False,
        **options: Unpack[SendOptions],
    ) -> Message:
        """Send a request and return the reply to it.

        The reply comes to a temporary queue of this client, which the request names in
        ``reply-to``, and is known by the ``correlation-id``; any number may be in flight. What
        comes after ``timeout`` seconds (None: any time) is dropped. Body, headers and options are
        those of `send`. If the connection breaks meanwhile, the reply is lost with it: with
        ``resend`` the request is sent again, marked, and else this raises `ConnectionLostError`.
        Raises `TimedOutError`, `UsageError` for what cannot be sent, and `BrokerError` if the
        broker refuses the request.
        """
        check_request(headers)
        pairs = _merged(headers, self.dialect.send_headers(options))
        return await self._requests.one(
            destination,
            body,
            pairs,
            kinds=(content_type, encoding),
            seconds=timeout,
            resend=resend,
        )

    @asynccontextmanager
    async def request_many(
        self,
        destination: str,
        body: bytes | str = b"",
        *,
        replies: int | None = None,
        timeout: float | None = 30.0,  # noqa: ASYNC109 - as in request
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncIterator[Replies]:
        """Send a request that several may answer, and iterate over the replies inside the block.

        Iteration ends after so many ``replies``, or for None when ``timeout`` seconds have passed
        since the request was made; with fewer replies than wished it raises `TimedOutError`. What
        comes after the block is dropped. Otherwise like `request`.
        """
        check_request(headers)
        pairs = _merged(headers, self.dialect.send_headers(options))
        async with self._requests.many(
            destination,
            body,
            pairs,
            kinds=(content_type, encoding),
            seconds=timeout,
            count=replies,
        ) as found:
            yield found

    async def reply(
        self,
        request: Message,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content_type: str | None = None,
        encoding: str | None = None,
        receipt: bool | None = None,
        transaction: Transaction | str | None = None,
        **options: Unpack[SendOptions],
    ) -> None:
        """Answer a request: send where its ``reply-to`` says, with its ``correlation-id``.

        Raises `UsageError` for a message that wants no reply, and what `send` raises.
        """
        destination = request.headers.get("reply-to")
        if not destination:
            raise UsageError(f"message {request.id} has no reply-to: it wants no reply")
        pairs = extra_headers(headers)
        id_ = request.headers.get("correlation-id")
        if id_ is not None:
            pairs.append(("correlation-id", id_))
        await self.send(
            destination,
            body,
            headers=pairs,
            content_type=content_type,
            encoding=encoding,
            receipt=receipt,
            transaction=transaction,
            **options,
        )

    async def send_request(
        self,
        destination: str,
        body: bytes | str,
        headers: Pairs,
        kinds: tuple[str | None, str | None],
    ) -> Receipt:
        """Send a request once; for `Requests` only."""
        made = self._send_headers(destination, headers, {})
        receipt = await self._ask("SEND", *send_frame(destination, body, made, *kinds))
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
        resubscribe: bool = True,
        **options: Unpack[SubscribeOptions],
    ) -> AsyncIterator[Subscription]:
        """Subscribe for the length of a block, and iterate over the messages inside it.

        The block starts when the broker has confirmed the subscription. Is it left by an exception
        in an explicit ack mode, then the message taken last is NACKed unless it was settled
        (ACK-07). Arguments and errors are those of `open_subscription`.
        """
        subscription = await self.open_subscription(
            destination, ack=ack, id=id, headers=headers, resubscribe=resubscribe, **options
        )
        try:
            yield subscription
        except Exception:
            subscription.fail_current()
            if not self._ended.is_set():
                self.unsubscribe_nowait(subscription)
            raise
        except BaseException:
            # Cancelled: what was taken is not to blame, UNSUBSCRIBE gives it back.
            if not self._ended.is_set():
                self.unsubscribe_nowait(subscription)
            raise
        if not self._ended.is_set():
            try:
                await subscription.unsubscribe()
            finally:
                # Cancelled before UNSUBSCRIBE was in line.
                self.unsubscribe_nowait(subscription)

    async def open_subscription(
        self,
        destination: str,
        *,
        ack: str = "auto",
        id: str | None = None,  # noqa: A002 - the header's name
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        resubscribe: bool = True,
        **options: Unpack[SubscribeOptions],
    ) -> Subscription:
        """Subscribe until `Subscription.unsubscribe` or the end of the session.

        ``ack`` is ``auto``, ``client`` or ``client-individual``; ``id`` must differ from those of
        the other subscriptions (SUB-08), and is made up if it is not given. A new connection
        repeats the subscription unless ``resubscribe`` is False; then it raises
        `ConnectionLostError`, as it always does for a browser. ``options`` are `SubscribeOptions`,
        spelt as the broker wants them.
        Raises `UsageError`, and what `Receipt.wait` raises.
        """
        if not destination:
            raise UsageError("a subscription needs a destination")
        if ack not in ACK_MODES:
            raise UsageError(f'ack mode "{ack}" is none of {", ".join(ACK_MODES)}')
        extra = _merged(headers, self.dialect.subscribe_headers(options))
        durable = options.get("durable")
        if durable and self.dialect.wants_client_id and "client-id" not in self._connect_headers:
            raise UsageError(
                f"a durable subscription of {self.dialect.shown} belongs to a client-id; "
                'connect with headers={"client-id": …}'
            )
        # Ids are given out when there is somebody to tell them to: others may wait here, too.
        connection = await self._wait_for_room()
        if id is None:
            self._subscription_count += 1
            while str(self._subscription_count) in self._subscriptions:
                self._subscription_count += 1
            id = str(self._subscription_count)  # noqa: A001
        if not id or id in self._subscriptions:
            raise UsageError(f'subscription id "{id}" is in use' if id else "an id cannot be empty")
        subscription = Subscription(
            self,
            destination,
            id,
            ack,
            extra,
            resubscribe=resubscribe and not _is_browser(extra),
            durable=durable,
        )
        await self._confirmed_subscription(connection, subscription)
        return subscription

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

    async def unsubscribe(self, subscription: Subscription, *, forget: bool = False) -> None:
        """End a subscription; see `Subscription.unsubscribe`."""
        if self._connection is None and not forget:
            # It ended with its connection, and no new one will repeat it.
            await trio.lowlevel.checkpoint_if_cancelled()
            self.check_alive()
            self._forget(subscription)
            return
        connection = await self._wait_for_room()
        self._forget(subscription)
        pairs = [("id", subscription.id)]
        if not forget or subscription.durable is None:
            await self._ask_nowait(connection, "UNSUBSCRIBE", pairs, fate="done").wait()
            return
        # A loss ends a subscription, but does not delete it.
        last = [*pairs, *self.dialect.forget(subscription.durable)]
        if self.dialect.forgets_apart:
            await self._ask_nowait(connection, "UNSUBSCRIBE", pairs).wait()
        await (await self._ask("UNSUBSCRIBE", last)).wait()

    @asynccontextmanager
    async def consume(
        self,
        destination: str | Iterable[str],
        process: Process,
        *,
        concurrency: int = 1,
        ack: str = "client-individual",
        grace: float = 30.0,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        **options: Unpack[SubscribeOptions],
    ) -> AsyncIterator[Consumer]:
        """Call ``process`` with every message of the destinations, while the block runs.

        ``await process(message)`` that returns acknowledges the message; one that raises refuses
        it, is logged, and the next message follows; `RejectError` says how it is refused. Up to
        ``concurrency`` messages are processed at a time, and so many are fetched in advance unless
        ``prefetch`` says otherwise; those of one message group one after the other, in order.
        The end of the block, or `Consumer.stop`, takes no more messages, waits for those that are
        being processed at most ``grace`` seconds, and gives the others back. If the session ends
        by itself, the block is cancelled and this raises why; a new connection changes nothing.
        Raises `UsageError`, and what `open_subscription` raises.
        """
        destinations = [destination] if isinstance(destination, str) else list(destination)
        async with consume(
            self,
            destinations,
            process,
            concurrency=concurrency,
            ack=ack,
            grace=grace,
            headers=extra_headers(headers),
            options=options.copy(),
        ) as consumer:
            yield consumer

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

    async def settle(
        self,
        command: str,
        reference: list[tuple[str, str]],
        *,
        check: Callable[[], None],
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
        if transaction is not None:
            within = self._check_of(transaction)

            def both() -> None:
                within()
                check()

            wanted = both
        else:
            wanted = check
        if receipt:
            return await self._ask(command, pairs, check=wanted)
        await self._put(command, pairs, check=wanted)
        return None

    def settle_nowait(
        self, command: str, reference: list[tuple[str, str]], *, check: Callable[[], None]
    ) -> None:
        """Send ACK or NACK without waiting for anything."""
        self.check_alive()
        check()
        if self._connection is not None:
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

    def _end(self, error: SessionEndedError | None) -> None:
        if self._ended.is_set():
            return
        self._error = error
        self._ended.set()
        missing = error or ClosedError("the session was ended before the receipt came")
        for receipt in self._receipts.values():
            receipt.fail(_of_loss(receipt, missing))
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
        receipt = Receipt(self, command, f"r{self._receipt_count}", fate)
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
        await connection.put(frame)

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
        elif isinstance(error, BrokerError | PeerProtocolError) and not self._steady:
            # Whatever it is, it happens with each connection, and nobody can be told but all.
            self._strikes += 1
            if self._strikes >= _STRIKES:
                self._end(error)
                return
        else:
            self._strikes = 0
        for receipt in list(self._receipts.values()):
            if receipt.fate == "again":
                continue
            del self._receipts[receipt.id]
            if receipt.fate == "done":
                receipt.confirm()
            else:
                receipt.fail(_of_loss(receipt, error))
        self._requests.lose(error)
        for transaction in self._transactions.values():
            transaction.lose()
        self._lost_transactions.update(self._transactions)
        self._transactions.clear()
        for subscription in list(self._subscriptions.values()):
            self.counters.messages_stale += subscription.lose()
            if not subscription.resubscribe:
                del self._subscriptions[subscription.id]
                subscription.fail(_plain(error))
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
            raise BufferFullError(
                f"{self._waiting_messages} messages came and were not taken while a receipt was "
                "waited for; take them, or subscribe with an explicit ack mode"
            )
        return False

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

    def here_since(self) -> float:
        """Return since when there is a connection, on trio's clock; now if there is none."""
        return trio.current_time() if self._connection is None else self._began

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


def _merged(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None, made: Pairs) -> Pairs:
    """Return a program's headers and those made of its options; raises `UsageError` for both."""
    pairs = extra_headers(headers)
    given = {name for name, _ in pairs}
    for name, _ in made:
        if name in given:
            raise UsageError(f'the header "{name}" is given twice, as such and as an option')
    return pairs + made


def _is_browser(headers: list[tuple[str, str]]) -> bool:
    """Return whether a SUBSCRIBE asks for copies, which a second one would bring all over."""
    return any(name == "browser" and value.lower() in ("true", "1") for name, value in headers)


def _of_loss(receipt: Receipt, error: SessionEndedError) -> SessionEndedError:
    """Return what the end of a connection means for a frame that was not confirmed."""
    if receipt.command != "COMMIT" or isinstance(error, ClosedError | BrokerError):
        return error
    unknown = OutcomeUnknownError(
        f"the connection broke before COMMIT was confirmed ({error}); "
        "the transaction has happened as a whole, or not at all"
    )
    unknown.__cause__ = error
    return unknown


def _plain(error: SessionEndedError) -> SessionEndedError:
    """Return the error of one who is not to blame for an ERROR that ended the connection."""
    if not isinstance(error, BrokerError):
        return error
    lost = ConnectionLostError(f"the broker ended the connection: {error}")
    lost.__cause__ = error
    return lost
