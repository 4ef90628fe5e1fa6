"""The store that keeps nothing: what is in the broker's memory is all there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.storage import Key


class MemoryStore:
    """Satisfies `stompd.broker.storage.Store` without keeping anything.

    Persistent messages are as transient as the others, and the daemon says so at its start. All
    that is there is durable at once, in the sense that no promise waits for anything.
    """

    pages = False

    def put(self, queue: Key, message: Message) -> None:
        """Do nothing: the queue holds the message."""

    def settle(self, queue: Key, message: Message) -> None:
        """Do nothing: nothing was kept."""

    def requeue(self, queue: Key, message: Message) -> None:
        """Do nothing: the message itself carries its count."""

    def forget(self, queue: Key) -> None:
        """Do nothing: nothing was kept."""

    def begin_group(self) -> None:
        """Do nothing: memory has no parts."""

    def end_group(self) -> None:
        """Do nothing: memory has no parts."""

    def ticket(self) -> int:
        """Return 0: nothing is ever pending."""
        return 0

    def fetch(self, queue: Key, after: int, count: int) -> None:
        """Refuse: a queue over this store has no tail to fetch from."""
        raise AssertionError((queue, after, count))
