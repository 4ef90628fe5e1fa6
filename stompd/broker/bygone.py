"""What destinations had counted that are gone: totals of the broker never fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stompd.broker.queue import Queue
    from stompd.broker.topic import Topic


class Bygone:
    """Belongs to the broker; what the counters of removed queues and topics were in the end."""

    __slots__ = ("dead_lettered", "expired", "received", "redelivered", "settled")

    def __init__(self) -> None:
        self.received = 0
        self.settled = 0
        self.expired = 0
        self.dead_lettered = 0
        self.redelivered = 0

    def bury_queue(self, queue: Queue) -> None:
        """Count what a queue had counted, which is removed now."""
        self.received += queue.put_count
        self.settled += queue.settled_count
        self.expired += queue.expired_count
        self.dead_lettered += queue.dead_letter_count
        self.redelivered += queue.redelivered_count

    def bury_topic(self, topic: Topic) -> None:
        """Count what a topic had counted, which is removed now."""
        self.received += topic.put_count
