"""Subscriptions and the messages that they deliver."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import trio

from stompcli.client import body as bodies
from stompcli.client.dialect import NackOptions
from stompcli.client.errors import (
    ClosedError,
    SessionEndedError,
    StaleMessageError,
    UsageError,
)
from stompcli.client.reasons import again
from stompd.protocol.frame import V10, V11, Head

if TYPE_CHECKING:
    from stompcli.client.client import Client
    from stompcli.client.connection import Connection
    from stompcli.client.receipt import Receipt
    from stompcli.client.transaction import Transaction


_log = logging.getLogger("stompcli.client")


class Message(AbstractAsyncContextManager["Message"]):
    """One MESSAGE, and in the explicit ack modes the duty to settle it.

    ``async with message:`` settles it by the outcome: ACK after the block (ACK-03), NACK if the
    block raises (ACK-07), neither if the block is cancelled, since the message is not to blame.
    In ``auto`` mode there is nothing to settle and the block does nothing. Nor does it settle what
    came by a connection that is gone (`stale`): the broker delivers that again.
    """

    __slots__ = ("_head", "_origin", "_subscription", "body", "settled")

    def __init__(
        self,
        subscription: Subscription,
        head: Head,
        body: bytes,
        origin: Connection | None = None,
    ) -> None:
        self._subscription = subscription
        self._head = head
        # The connection that it came by.
        self._origin = origin
        self.body = body
        # True once ACK or NACK was sent for exactly this message.
        self.settled = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers, decoded, the first of repeated ones (HDR-03), in the order of the wire."""
        return self._head.headers

    @property
    def raw_headers(self) -> list[tuple[str, str]]:
        """All headers, repeated ones too, decoded, in the order of the wire."""
        parts = self._head.parts
        return list(zip(parts[1::2], parts[2::2], strict=True))

    @property
    def destination(self) -> str:
        """Where the message was sent to."""
        return self._head.headers["destination"]

    @property
    def id(self) -> str:
        """The ``message-id``."""
        return self._head.headers["message-id"]

    @property
    def subscription(self) -> Subscription:
        """The subscription that it came by."""
        return self._subscription

    @property
    def text(self) -> str:
        """The body as text, in the charset of its content-type, else UTF-8 (CT-04).

        Raises `BodyError` if it is not such text.
        """
        return bodies.decode(self.body, self._head.get("content-type"))

    @property
    def redelivered(self) -> bool:
        """True if the broker says that it was delivered before."""
        return self.headers.get("redelivered", "").lower() in ("true", "1")

    @property
    def stale(self) -> bool:
        """True if it came by a connection that is gone: it can no longer be settled.

        In the explicit ack modes the broker delivers it again.
        """
        return self._subscription.client.connection is not self._origin

    def head_only(self) -> Message:
        """Return this message without its body, for showing it."""
        return Message(self._subscription, self._head, b"", self._origin)

    async def ack(
        self, *, transaction: Transaction | str | None = None, receipt: bool = False
    ) -> None:
        """Say that it was processed; in ``client`` mode with all earlier ones (ACK-05).

        With ``receipt`` waits for the broker's confirmation. In a transaction it takes effect at
        COMMIT. Raises `UsageError` in ``auto`` mode and for a message settled before,
        `StaleMessageError` if its connection is gone.
        """
        await self._settle("ACK", transaction, receipt=receipt, headers=None)

    async def nack(
        self,
        *,
        transaction: Transaction | str | None = None,
        receipt: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[NackOptions],
    ) -> None:
        """Say that it was not processed; what becomes of it is the broker's choice (ACK-13).

        ``options`` are `NackOptions`, spelt as the broker wants them; ``headers`` are further ones.
        Raises `UsageError` as `ack` does, and in a 1.0 session, which has no NACK.
        """
        if options:
            made = self._subscription.client.dialect.nack_headers(options)
            headers = {**(headers or {}), **dict(made)}
        await self._settle("NACK", transaction, receipt=receipt, headers=headers)

    async def _settle(
        self,
        command: str,
        transaction: Transaction | str | None,
        *,
        receipt: bool,
        headers: Mapping[str, str] | None,
    ) -> None:
        if self._subscription.ack == "auto":
            raise UsageError(f"a subscription with ack:auto takes no {command}")
        if self.settled:
            raise UsageError(f"message {self.id} was settled before")
        confirmation = await self._subscription.client.settle(
            command,
            self._reference(),
            check=self.check_fresh,
            transaction=transaction,
            receipt=receipt,
            headers=headers,
        )
        self.settled = True
        if transaction is not None and not isinstance(transaction, str):
            transaction.enlist(self)
        if confirmation is not None:
            await confirmation.wait()

    def check_fresh(self) -> None:
        """Raise `StaleMessageError` if the connection is gone that it came by."""
        if self.stale:
            raise StaleMessageError(
                f"message {self.id} came by a connection that is gone; it will be delivered again"
            )

    def _reference(self) -> list[tuple[str, str]]:
        """Return the headers that name this delivery in the session's version."""
        version = self._subscription.client.version
        if version == V10:
            return [("message-id", self.id)]
        if version == V11:
            return [("message-id", self.id), ("subscription", self.headers["subscription"])]
        ack = self.headers.get("ack")
        if ack is None:
            raise UsageError(f"message {self.id} came without an ack header; it cannot be settled")
        return [("id", ack)]

    def _nack_nowait(self) -> None:
        """Send NACK if there is anything to say, the version has it, and the session lives."""
        client = self._subscription.client
        if self._subscription.ack == "auto" or self.settled or client.version == V10:
            return
        try:
            client.settle_nowait("NACK", self._reference(), check=self.check_fresh)
        except SessionEndedError:
            return
        self.settled = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._subscription.ack == "auto" or self.settled:
            return
        if error is None:
            try:
                await self.ack()
            except StaleMessageError as stale:
                # It was processed, and will be once more: at least once, as promised.
                self._subscription.client.counters.messages_stale += 1
                _log.info("%s", stale)
        elif isinstance(error, Exception):
            self._nack_nowait()

    def __repr__(self) -> str:
        return f"<Message {self._head.headers!r}, body of {len(self.body)} octets>"


class Subscription:
    """An asynchronous iterator over the messages of one SUBSCRIBE.

    Made by `Client.subscribe` or `Client.open_subscription`. It owns the messages that have come
    and that nobody has taken. Several tasks may iterate over it; each message goes to one of them.
    """

    # True for one that the library has for itself.
    ours = False
    # True if the broker makes it without a SUBSCRIBE.
    implicit = False

    def __init__(
        self,
        client: Client,
        destination: str,
        id_: str,
        ack: str,
        headers: list[tuple[str, str]] | None = None,
        *,
        resubscribe: bool = True,
        durable: str | None = None,
    ) -> None:
        self.client = client
        self.destination = destination
        self.id = id_
        self.ack = ack
        # The further headers of its SUBSCRIBE, and whether a new connection repeats it.
        self.headers = headers or []
        self.resubscribe = resubscribe
        # The name by which the broker keeps it, if it is durable.
        self.durable = durable
        # The receipt of its last SUBSCRIBE, for the client only.
        self.receipt: Receipt | None = None
        self._buffer: deque[Message] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._closed = False
        # Why there is nothing more to come, if it is not the whole session that has ended.
        self._error: SessionEndedError | None = None
        # The message taken last: the one that fails if the program does (ACK-07).
        self._current: Message | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._buffer)} waiting"
        return f"<Subscription {self.id!r} to {self.destination!r}, ack {self.ack}, {state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message; end when the subscription was closed by this program.

        Raises `ConnectionLostError` when the connection was lost for good and all that had come
        before was taken; `BrokerError` if a new connection was refused the subscription.
        """
        if not await self._has_next():
            raise StopAsyncIteration
        self._trace()
        return self._take()

    async def _has_next(self) -> bool:
        """Wait for a message; return whether there is one, False when this program ended it."""
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._closed:
                return False
            if self._error is not None:
                raise again(self._error)
            try:
                self.client.check_alive()
            except ClosedError:
                return False
            await self._arrived.park()
        return True

    async def receive(self) -> Message:
        """Return the next message, as iteration does.

        Raises `ClosedError` where iteration would end.
        """
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise ClosedError(f"the subscription to {self.destination} was closed") from None

    def receive_nowait(self) -> Message | None:
        """Return a message that has come already, None if there is none. Never waits."""
        if not self._buffer:
            return None
        self._trace()
        return self._take()

    @property
    def waiting(self) -> int:
        """How many messages have come that nobody has taken."""
        return len(self._buffer)

    async def unsubscribe(self, *, forget: bool = False) -> None:
        """End the subscription and wait until the broker has confirmed it.

        Messages that came and were not taken are given up: in the explicit ack modes the broker
        has them back. Does nothing if it was ended before. With ``forget`` the broker deletes a
        durable subscription and what waits for it; else it goes on collecting.
        Raises `UsageError` for ``forget`` without a durable subscription, and what `Receipt.wait`
        raises.
        """
        if forget and self.durable is None:
            raise UsageError(f"the subscription to {self.destination} is not durable")
        if not self._closed and self._error is None:
            await self.client.unsubscribe(self, forget=forget)

    def _trace(self) -> None:
        """Tell the tracing hook of the message that is taken now."""
        if self.client.extract is not None:
            self.client.extract(self._buffer[0].headers)

    def _take(self) -> Message:
        message = self._buffer.popleft()
        self.client.taken(1, len(message.body))
        self._current = message
        return message

    # For the client only.

    async def fetch(self) -> Message | None:
        """Return the next message, None at the end; the tracing hook hears of it elsewhere."""
        return self._take() if await self._has_next() else None

    def fetch_nowait(self) -> Message | None:
        """Return a message that has come already, None if there is none; as `fetch`."""
        return self._take() if self._buffer else None

    def deliver(self, head: Head, body: bytes) -> None:
        """Keep a message that has come, until somebody takes it."""
        self._buffer.append(Message(self, head, body, self.client.connection))
        self._arrived.unpark()

    def close(self) -> None:
        """End iteration, and give up what was not taken."""
        self._closed = True
        self._give_up()
        self._arrived.unpark_all()

    def lose(self) -> int:
        """The connection is gone: give up what the broker will deliver again; return how many."""
        if self.ack == "auto":
            return 0
        self._current = None
        return self._give_up()

    def fail(self, error: SessionEndedError) -> None:
        """Nothing more will come, for this reason."""
        self._error = error
        self._arrived.unpark_all()

    def _give_up(self) -> int:
        count = len(self._buffer)
        self.client.taken(count, sum(len(message.body) for message in self._buffer))
        self._buffer.clear()
        return count

    def wake(self) -> None:
        """Let those who wait see that the session has ended."""
        self._arrived.unpark_all()

    def fail_current(self) -> None:
        """NACK the message taken last unless it is settled: the program failed over it."""
        if self._current is not None:
            self._current._nack_nowait()  # noqa: SLF001 - the two classes are one mechanism
