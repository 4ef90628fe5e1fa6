"""What expires of a queue's tail: looked for in the store when the first of it may be due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.part import Part
from stompd.broker.storage import Fetch
from stompd.broker.terms import NEVER

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue

# So many that expire are fetched at once, beside those in memory, and not more often than that.
_SWEPT: Final = 500
_BETWEEN: Final = 1.0
# Seconds; what expires later is of no interest yet.
_FAR: Final = 10 * 365 * 86400.0


class Sweep(Part["Queue"]):
    """Knows when to look for what has expired in a tail, and drops or dead-letters it."""

    __slots__ = ("_swept_at", "first")

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue)
        # When the first message may expire that is in it, and when those were last looked for.
        self.first = NEVER
        self._swept_at = -NEVER

    def expect(self, message: Message) -> None:
        """Note when a message of the tail expires, if it does."""
        if message.terms is not None and message.terms.expires < self.first:
            self.first = message.terms.expires
            self._queue.time.alarm_at(self.first)

    def next(self) -> float:
        """Return when the tail is to be looked through; `NEVER` if nothing in it expires."""
        tail = self._queue.behind
        if not tail.stretches or self.first == NEVER or tail.asking:
            return NEVER
        return max(self.first, self._swept_at + _BETWEEN)

    def run(self) -> None:
        """Drop or dead-letter what has expired in it."""
        queue = self._queue
        tail = queue.behind
        now = queue.host.broker.now
        self._swept_at = now
        self.first = NEVER
        tail.asking = True
        # Those that were delivered, or wait in memory, are in the answer too.
        count = _SWEPT + queue.unsettled + queue.time.expiring

        def answered(messages: list[Message], _dues: list[float]) -> None:
            tail.asking = False
            if queue.gone:
                return
            moment = queue.host.broker.now
            there = tail.still(messages)
            expired = [m for m in there if m.has_expired(moment)]
            later = [m.terms.expires for m in there if m.terms and not m.has_expired(moment)]
            if messages and messages[-1].terms is not None:
                # There may be more, that expire when the last of these does, or later.
                later.append(max(moment, messages[-1].terms.expires))
            self.first = min([self.first, *later])
            tail.withdraw(expired)
            for message in expired:
                message.queue = queue
                queue.bytes += message.size
                queue.drop_expired(message)
            tail.forget_left()
            if expired:
                # Whatever else has expired is next.
                self._swept_at = -NEVER
            if self.next() <= moment:
                self.run()
            queue.time.alarm_at(self.next())
            queue.dispatch()

        queue.store.fetch(
            Fetch(
                queue.key,
                "expired",
                answered,
                count=count,
                octets=queue.policy.window_bytes,
                # The first that does not is when to come again.
                due=now + _FAR,
            )
        )
