"""What the broker needs of a store.

The broker never waits. It tells the store what happened, in order, and goes on; the store collects
that in a batch. Whoever owns the store makes batches durable and then says so by
`Broker.durable(ticket)`. Operations between `begin_group` and `end_group` become durable together
or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stompd.broker.message import Message


# Virtual host and name of a queue.
Key = tuple[str, str]


class Store(Protocol):
    """Keeps messages that the broker does not want to lose, or to hold in memory."""

    @property
    def pages(self) -> bool:
        """True if it keeps messages to be fetched later, so that a queue may have a tail."""

    def put(self, queue: Key, message: Message) -> None:
        """Keep a new message of a queue, at ``message.place``."""

    def settle(self, queue: Key, message: Message) -> None:
        """Forget a message: it was acknowledged, dropped or expired."""

    def requeue(self, queue: Key, message: Message) -> None:
        """Note that a message came back: its ``count`` and ``redelivered`` changed."""

    def forget(self, queue: Key) -> None:
        """Forget a queue that was removed; nothing of it is left."""

    def begin_group(self) -> None:
        """Begin operations that belong together; a group within a group is a part of it."""

    def end_group(self) -> None:
        """End what `begin_group` began."""

    def ticket(self) -> int:
        """Return the number of the batch that collects operations now; 0 if all is durable."""

    def fetch(self, queue: Key, after: int, count: int) -> None:
        """Ask for the next ``count`` messages of a queue with a place higher than ``after``.

        The answer is a call of `Broker.fetched`, at any later time, with at least one message in
        the order of their places; each as it was put, its ``size`` included.
        """
