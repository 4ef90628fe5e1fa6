"""The mark for the memory that all messages take: over it producers wait.

Nothing is counted per message. Whoever reads from connections says now and then how much came
(`MemoryMark.check`), and only then the queues are added up; and once a second, because what
repeats comes without being read. While they are over the mark the sessions' SEND is another
function, which waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.destination import ADMIN
from stompd.broker.send import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.broker import Broker
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.protocol.frame import Head

# What a message takes beside its octets.
OVERHEAD: Final = 512
# From this part of the mark on producers go on.
_LOW: Final = 0.9
# So much of what is left up to the mark may come before the queues are added up again.
_STEP: Final = 0.25
_LEAST_STEP: Final = 256 * 1024
# Seconds between looks while producers wait.
_EVERY: Final = 0.25


class MemoryMark:
    """Belongs to the broker; ``heavy`` while its messages are over the mark."""

    __slots__ = ("_broker", "blocked", "changed", "heavy", "weight")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.heavy = False
        # What all messages took when they were last added up.
        self.weight = 0
        # Sessions that wait.
        self.blocked: set[Session] = set()
        # The keeper of the log's: producers wait, or wait no more.
        self.changed: Callable[[], None] = _nobody

    def weigh(self) -> int:
        """Return what all messages in memory take: their octets, and `OVERHEAD` for each."""
        weight = sum(map(_weight_of, self._queues()))
        for host in self._broker.hosts:
            weight += sum(t.octets + OVERHEAD * t.count for t in host.topics.values())
        self.weight = weight
        return weight

    def _queues(self) -> list[Queue]:
        return [queue for host in self._broker.hosts for queue in host.all_queues()]

    def _spill(self, mark: int) -> None:
        """Leave what waits to the store, where that pages, the most first, as far as needed."""
        for queue in sorted(self._queues(), key=_weight_of, reverse=True):
            before = _weight_of(queue)
            queue.shrink()
            self.weight -= before - _weight_of(queue)
            if self.weight <= mark * _LOW:
                return

    def check(self) -> int:
        """Add up, begin or end to have producers wait; return after how many octets to come again.

        That is so many octets read from all connections. Without a mark it is never.
        """
        mark = self._broker.settings.memory_mark
        if mark is None:
            if self.heavy:
                self._end(0)
            return 1 << 62
        weight = self.weigh()
        if weight >= mark:
            self._spill(mark)
            weight = self.weight
        if not self.heavy and weight >= mark:
            self._begin(mark)
        elif self.heavy and weight <= mark * _LOW:
            self._end(mark)
        return max(_LEAST_STEP, int((mark - weight) * _STEP))

    def _begin(self, mark: int) -> None:
        self.heavy = True
        broker = self._broker
        for session in broker.sessions.values():
            session.heed_memory(heavy=True)
        broker.tell_all("producers-paused", weight=self.weight, mark=mark)
        self.changed()
        broker.at(broker.now + _EVERY, self._look)

    def _look(self) -> None:
        if self.heavy:
            self.check()
        if self.heavy:
            self._broker.at(self._broker.now + _EVERY, self._look)

    def _end(self, mark: int) -> None:
        self.heavy = False
        broker = self._broker
        for session in list(broker.sessions.values()):
            session.heed_memory(heavy=False)
        blocked, self.blocked = self.blocked, set()
        for session in blocked:
            session.paused_by.discard(self)
            session.resume_reading()
        broker.tell_all("producers-resumed", weight=self.weight, mark=mark)
        self.changed()


def send_heavy(session: Session, head: Head, body: bytes) -> None:
    """Carry out SEND while there are too many messages: not now, but for a few.

    Who holds deliveries may need to send before it can settle them, and that makes room; and who
    asks what is going on has to be answered.
    """
    if session.owners or (head.get("destination") or "").startswith(ADMIN):
        send(session, head, body)
        return
    session.wait_for(session.broker.memory)


def _weight_of(queue: Queue) -> int:
    """Return what the messages of a queue take that are in memory."""
    return queue.bytes + OVERHEAD * (queue.count - queue.tail - queue.delayed.tail)


def _nobody() -> None:
    """Log nothing."""
