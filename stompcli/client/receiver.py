"""The receiving half of a client: subscriptions, consumers, and settling messages."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Unpack

import trio

from stompcli.client.consumer import Consumer, Process, consume
from stompcli.client.dialect import SubscribeOptions
from stompcli.client.errors import UsageError
from stompcli.client.frames import encoded, extra_headers, merged, transaction_header
from stompcli.client.receipt import Receipt
from stompcli.client.session import Session
from stompcli.client.subscription import Subscription
from stompcli.client.transaction import Transaction
from stompd.protocol.frame import V10
from stompd.protocol.rules import ACK_MODES


class Receiver(Session):
    """What a `Client` does to receive, and to settle."""

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
        extra = merged(headers, self.dialect.subscribe_headers(options))
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
            self._whole,
            destination,
            id,
            ack,
            extra,
            resubscribe=resubscribe and not _is_browser(extra),
            durable=durable,
        )
        await self._confirmed_subscription(connection, subscription)
        return subscription

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
            self._whole,
            destinations,
            process,
            concurrency=concurrency,
            ack=ack,
            grace=grace,
            headers=extra_headers(headers),
            options=options.copy(),
        ) as consumer:
            yield consumer

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


def _is_browser(headers: list[tuple[str, str]]) -> bool:
    """Return whether a SUBSCRIBE asks for copies, which a second one would bring all over."""
    return any(name == "browser" and value.lower() in ("true", "1") for name, value in headers)
