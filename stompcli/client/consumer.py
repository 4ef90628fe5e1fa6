"""Consumers: a function that processes messages, so many at a time, until it is told to stop."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from stompcli.client.beside import tasks_beside
from stompcli.client.dialect import GROUP_HEADERS, NackOptions, SubscribeOptions
from stompcli.client.errors import SessionEndedError, UsageError
from stompcli.client.reasons import again
from stompcli.client.subscription import Message, Subscription
from stompd.protocol.frame import V10

if TYPE_CHECKING:
    from stompcli.client.client import Client

_log = logging.getLogger("stompcli.client")

Process = Callable[[Message], Awaitable[object]]


class RejectError(Exception):
    """Raised by a processing function to refuse its message in a certain way.

    ``requeue`` False dead-letters it, ``delay`` are the seconds before it may come again, and
    ``reason`` is for whoever reads the dead letters. What the broker does not know is left out.
    """

    def __init__(
        self, reason: str = "", *, requeue: bool | None = None, delay: float | None = None
    ) -> None:
        super().__init__(reason or "rejected")
        self.options: NackOptions = {}
        if reason:
            self.options["reason"] = reason
        if requeue is not None:
            self.options["requeue"] = requeue
        if delay is not None:
            self.options["delay"] = delay


class Consumer:
    """A function at work on the messages of some subscriptions.

    Made by `Client.consume`. ``processed``, ``failed`` and ``stale`` count the messages that were
    acknowledged, that were refused, and that lost their connection meanwhile.
    """

    def __init__(self, client: Client, process: Process, concurrency: int) -> None:
        self._client = client
        self._process = process
        self._room = trio.CapacityLimiter(concurrency)
        # Messages of a group of which one is being processed: they wait for it, in order.
        self._groups: dict[str, deque[Message]] = {}
        self._stopped = trio.Event()
        self._fetching = trio.CancelScope()
        self._working = trio.CancelScope()
        # Why there are no more messages, if nobody wanted that.
        self._error: SessionEndedError | None = None
        self.processed = 0
        self.failed = 0
        self.stale = 0

    def __repr__(self) -> str:
        state = "stopped" if self._stopped.is_set() else "at work"
        return f"<Consumer {state}, {self.processed} processed, {self.failed} failed>"

    @property
    def busy(self) -> int:
        """How many messages are being processed."""
        return int(self._room.borrowed_tokens)

    def stop(self) -> None:
        """Take no more messages; those that are being processed are finished. Never waits."""
        self._stopped.set()
        self._fetching.cancel()

    async def wait_stopped(self) -> None:
        """Wait until `stop` was called, or the program has ended the session."""
        await self._stopped.wait()

    # For `consume` only.

    async def work(self, subscriptions: Sequence[Subscription], grace: float) -> None:
        """Process messages until `stop`; then give what is being processed so many seconds.

        Raises why the session has ended, if it was not this program that ended it.
        """
        with self._working:
            async with trio.open_nursery() as working:
                with self._fetching:
                    async with trio.open_nursery() as fetching:
                        for subscription in subscriptions:
                            fetching.start_soon(self._fetch, subscription, working)
                self._stopped.set()
                self._working.deadline = trio.current_time() + grace
        if self._working.cancelled_caught:
            _log.warning("messages were still being processed %g s after the stop", grace)
        if self._error is not None:
            raise again(self._error)

    async def _fetch(self, subscription: Subscription, working: trio.Nursery) -> None:
        try:
            await self._take_all(subscription, working)
        except SessionEndedError as error:
            # What is being processed is finished first.
            self._error = error
            self._fetching.cancel()

    async def _take_all(self, subscription: Subscription, working: trio.Nursery) -> None:
        while (message := await subscription.fetch()) is not None:
            group = group_of(message)
            if group in self._groups:
                self._groups[group].append(message)
                continue
            # Whoever holds the room is the task that gives it back.
            await self._room.acquire_on_behalf_of(message)
            if group is not None:
                self._groups[group] = deque()
            working.start_soon(self._run, message, group)

    async def _run(self, message: Message, group: str | None) -> None:
        """Process a message, and then those of its group that came meanwhile."""
        holder = message
        try:
            while True:
                await self._one(message)
                waiting = self._groups[group] if group is not None else None
                if not waiting or self._stopped.is_set():
                    return
                message = waiting.popleft()
        finally:
            if group is not None:
                del self._groups[group]
            self._room.release_on_behalf_of(holder)

    async def _one(self, message: Message) -> None:
        if message.stale:
            # It waited for its turn too long, and comes again.
            self.stale += 1
            return
        try:
            # Here, since this is the task, and so the context, of the processing.
            if self._client.extract is not None:
                self._client.extract(message.headers)
            await self._process(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, it refuses the message
            await self._refuse(message, error)
            return
        try:
            if message.subscription.ack != "auto" and not message.settled:
                await message.ack()
        except SessionEndedError:
            self.stale += 1
        else:
            self.processed += 1

    async def _refuse(self, message: Message, error: Exception) -> None:
        self.failed += 1
        options: NackOptions = {}
        if isinstance(error, RejectError):
            known = self._client.dialect.nack
            for name, value in error.options.items():
                if name in known:
                    options[name] = value  # type: ignore[literal-required] # it is a name of it
            _log.info("%s refused: %s", message.id, error)
        else:
            _log.error("message %s of %s failed", message.id, message.destination, exc_info=error)
        try:
            if message.subscription.ack != "auto" and not message.settled:
                await message.nack(**options)
        except SessionEndedError:
            self.stale += 1


@asynccontextmanager
async def consume(
    client: Client,
    destinations: Sequence[str],
    process: Process,
    *,
    concurrency: int,
    ack: str,
    grace: float,
    headers: list[tuple[str, str]],
    options: SubscribeOptions,
) -> AsyncIterator[Consumer]:
    """Process messages beside a block; see `Client.consume`."""
    _check(client, destinations, concurrency, ack)
    if "prefetch" not in options and ack != "auto" and "prefetch" in client.dialect.subscribe:
        options["prefetch"] = concurrency
    consumer = Consumer(client, process, concurrency)
    subscriptions: list[Subscription] = []
    try:
        for destination in destinations:
            subscriptions.append(  # noqa: PERF401 - those that were opened are to be closed
                await client.open_subscription(destination, ack=ack, headers=headers, **options)
            )
        async with tasks_beside(cancel=False) as nursery:
            finished = trio.Event()
            nursery.start_soon(_work, consumer, subscriptions, grace, finished)
            try:
                yield consumer
            except Exception:
                consumer.stop()
                await finished.wait()
                raise
            consumer.stop()
        for subscription in subscriptions:
            if client.is_connected:
                await subscription.unsubscribe()
    finally:
        # Cancelled, or failed: what is not settled goes back all the same.
        for subscription in subscriptions:
            client.unsubscribe_nowait(subscription)


async def _work(
    consumer: Consumer, subscriptions: Sequence[Subscription], grace: float, finished: trio.Event
) -> None:
    try:
        await consumer.work(subscriptions, grace)
    finally:
        finished.set()


def _check(client: Client, destinations: Sequence[str], concurrency: int, ack: str) -> None:
    if not destinations:
        raise UsageError("a consumer needs a destination")
    if concurrency < 1:
        raise UsageError("a consumer processes one message at a time at least")
    if ack == "client":
        raise UsageError(
            "ack:client would acknowledge messages that are still being processed; "
            "use client-individual"
        )
    if ack != "auto" and client.version == V10:
        raise UsageError("STOMP 1.0 has no NACK for what cannot be processed; use ack=auto")


def group_of(message: Message) -> str | None:
    """Return the message group that a message belongs to, None if it has none."""
    for name in GROUP_HEADERS:
        group = message.headers.get(name)
        if group:
            return group
    return None
