"""Request and reply: a temporary queue of this client, and a correlation-id for each request."""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import trio

from stompcli.client.errors import (
    BrokerError,
    ConnectionLostError,
    SessionEndedError,
    TimedOutError,
    UsageError,
)
from stompcli.client.reasons import again
from stompcli.client.subscription import Message, Subscription
from stompd.protocol.frame import Head

if TYPE_CHECKING:
    from stompcli.client.client import Client
    from stompcli.client.dialect import Pairs
    from stompcli.client.receipt import Receipt

# What a request writes itself.
_OURS: Final = frozenset(("reply-to", "correlation-id"))
_REPEATED: Final = ("possible-duplicate", "true")


class _Pending:
    """One request in flight, and the replies that have come and nobody has taken."""

    def __init__(self, client: Client, id_: str) -> None:
        self.id = id_
        # The receipt of its SEND, None until that is in line.
        self.receipt: Receipt | None = None
        self._client = client
        self._replies: deque[Message] = deque()
        self._error: SessionEndedError | None = None
        self._arrived = trio.lowlevel.ParkingLot()

    def add(self, message: Message) -> None:
        self._replies.append(message)
        self._arrived.unpark()

    def fail(self, error: SessionEndedError) -> None:
        """No reply will come; the first reason counts."""
        self._error = self._error or error
        self._arrived.unpark_all()

    def forgive(self) -> None:
        """Let it be sent again."""
        self._error = self.receipt = None

    async def next(self) -> Message:
        """Return the next reply; raises why there is none to come."""
        # It may stand behind messages that nobody takes meanwhile.
        with self._client.awaiting():
            while not self._replies:
                if self._error is not None:
                    raise again(self._error)
                await self._arrived.park()
        if self._client.extract is not None:
            self._client.extract(self._replies[0].headers)
        message = self._replies.popleft()
        self._client.taken(1, len(message.body))
        return message

    def close(self) -> None:
        """Give up what was not taken."""
        count = len(self._replies)
        self._client.taken(count, sum(len(message.body) for message in self._replies))
        self._replies.clear()


class _ReplyQueue(Subscription):
    """The subscription by which replies come; each goes to its request at once."""

    ours = True

    def __init__(self, client: Client, requests: Requests, destination: str) -> None:
        super().__init__(client, destination, destination, "auto")
        self.implicit = client.dialect.reply_to_subscribes
        self._requests = requests

    def deliver(self, head: Head, body: bytes) -> None:
        """Give a reply to its request, or drop it if it comes too late."""
        pending = self._requests.find(head.get("correlation-id"))
        if pending is None:
            self.client.taken(1, len(body))
            self.client.counters.messages_dropped += 1
        else:
            pending.add(Message(self, head, body, self.client.connection))

    def fail(self, error: SessionEndedError) -> None:
        """A new connection may not have it: no reply can come."""
        self._requests.lose_queue(error)


class Replies:
    """The replies to one request that may have several; an asynchronous iterator.

    Made by `Client.request_many`. It ends after the wished number of replies, or when the time is
    over; then it raises `TimedOutError` if a number was wished.
    """

    def __init__(self, pending: _Pending, count: int | None, timeout: float | None) -> None:
        self._pending = pending
        self._count = count
        self._timeout = timeout
        self._deadline = trio.current_time() + (math.inf if timeout is None else timeout)
        self._got = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next reply."""
        if self._got == self._count:
            raise StopAsyncIteration
        with trio.CancelScope(deadline=self._deadline):
            message = await self._pending.next()
            self._got += 1
            return message
        if self._count is None:
            raise StopAsyncIteration
        raise TimedOutError(f"{self._got} of {self._count} replies within {self._timeout:g} s")


class Requests:
    """The requests of a client that are in flight, and the queue by which their replies come.

    The queue is made for the first request, and serves all of them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pending: dict[str, _Pending] = {}
        self._count = 0
        self._queue: _ReplyQueue | None = None
        self._making = trio.Lock()
        self._key = secrets.token_hex(4)

    def find(self, id_: str | None) -> _Pending | None:
        """Return the request with this correlation-id, if it still waits."""
        return None if id_ is None else self._pending.get(id_)

    async def one(
        self,
        destination: str,
        body: bytes | str,
        headers: Pairs,
        *,
        kinds: tuple[str | None, str | None],
        seconds: float | None,
        resend: bool,
    ) -> Message:
        """Send a request and return its reply; see `Client.request`."""
        with trio.move_on_after(math.inf if seconds is None else seconds), self._open() as pending:
            while True:
                queue = await self._ready()
                await self._send(pending, queue, destination, body, headers, kinds)
                try:
                    return await pending.next()
                except BrokerError:
                    raise
                except ConnectionLostError:
                    self._client.check_alive()
                    if not resend:
                        raise
                    pending.forgive()
                    if _REPEATED not in headers:
                        headers = [*headers, _REPEATED]
        raise TimedOutError(f"no reply from {destination} within {seconds:g} s")

    @asynccontextmanager
    async def many(
        self,
        destination: str,
        body: bytes | str,
        headers: Pairs,
        *,
        kinds: tuple[str | None, str | None],
        seconds: float | None,
        count: int | None,
    ) -> AsyncIterator[Replies]:
        """Send a request and give its replies; see `Client.request_many`."""
        with self._open() as pending:
            replies = Replies(pending, count, seconds)
            queue = await self._ready()
            await self._send(pending, queue, destination, body, headers, kinds)
            yield replies

    def lose(self, error: SessionEndedError) -> None:
        """The connection is gone, and with it the queue: no reply will come to what was sent."""
        for pending in self._pending.values():
            if pending.receipt is None:
                continue
            refused = pending.receipt.error
            if isinstance(refused, BrokerError) and refused.receipt_id == pending.receipt.id:
                pending.fail(refused)
            else:
                lost = ConnectionLostError(
                    "the connection broke before the reply came; the request may have been carried "
                    f"out ({error})"
                )
                lost.__cause__ = error
                pending.fail(lost)

    def lose_queue(self, error: SessionEndedError) -> None:
        """The queue cannot be had again."""
        self._queue = None
        self.end(error)

    def end(self, error: SessionEndedError) -> None:
        """The session has ended."""
        for pending in self._pending.values():
            pending.fail(error)

    def _open(self) -> _Opened:
        self._count += 1
        return _Opened(self._pending, _Pending(self._client, f"{self._key}-{self._count}"))

    async def _ready(self) -> _ReplyQueue:
        async with self._making:
            if self._queue is None:
                queue = _ReplyQueue(self._client, self, f"/temp-queue/replies-{self._key}")
                await self._client.enroll(queue)
                self._queue = queue
            return self._queue

    async def _send(
        self,
        pending: _Pending,
        queue: _ReplyQueue,
        destination: str,
        body: bytes | str,
        headers: Pairs,
        kinds: tuple[str | None, str | None],
    ) -> None:
        ours = [("reply-to", queue.destination), ("correlation-id", pending.id)]
        pending.receipt = await self._client.send_request(
            destination, body, [*headers, *ours], kinds
        )


class _Opened:
    """A request is in flight while this is entered."""

    __slots__ = ("_all", "_pending")

    def __init__(self, everything: dict[str, _Pending], pending: _Pending) -> None:
        self._all = everything
        self._pending = pending

    def __enter__(self) -> _Pending:
        self._all[self._pending.id] = self._pending
        return self._pending

    def __exit__(self, *_: object) -> None:
        del self._all[self._pending.id]
        self._pending.close()


def check(headers: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> None:
    """Raise `UsageError` for headers that a request writes itself."""
    for name in dict(headers or {}):
        if name in _OURS:
            raise UsageError(f'the header "{name}" is written by the request')
