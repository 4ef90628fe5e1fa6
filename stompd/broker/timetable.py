"""What time does to the messages of a queue: they become due, expire, and come again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.alarm import Alarm
from stompd.broker.lane import AT_ONCE, BREATH, Agenda
from stompd.broker.overflow import over
from stompd.broker.owed import hand_on
from stompd.broker.part import Part
from stompd.broker.takeover import take_over
from stompd.broker.terms import NEVER

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue

# A window that holds so many times what it should gives some of it to the tail.
OVERFULL: Final = 1.25


class Timetable(Part["Queue"]):
    """Owns the alarm of a queue, and knows which of its ready messages in memory expire.

    What is not due yet is the queue's `Delayed`, what expires in the store its tail's `Sweep`; both
    are looked at when the alarm rings.
    """

    __slots__ = ("_alarm", "_expiries")

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue)
        self._expiries = Agenda()
        self._alarm = Alarm(queue.host.broker, self.ring)

    def alarm_at(self, moment: float) -> None:
        """Have it looked at what time does at this time, or before."""
        if moment != NEVER:
            self._alarm.set(moment)

    def stop(self) -> None:
        """Forget everything: the queue ends."""
        self._alarm.stop()
        self._expiries.clear()

    # What expires.

    @property
    def expiring(self) -> int:
        """How many messages that expire wait in memory."""
        return len(self._expiries)

    def expect(self, message: Message, expires: float) -> None:
        """Note when a message expires that waits in memory."""
        self._expiries.add(expires, message)
        self._alarm.set(expires)

    def forget(self, message: Message) -> None:
        """Note that a message waits no more."""
        if message.terms is not None:
            self._expiries.drop(message)

    def expire(self, message: Message) -> None:
        """Take a waiting message out that has expired, and have it dropped or dead-lettered."""
        queue = self._queue
        assert queue.assignment is not None  # noqa: S101 - what expires waits nowhere else
        queue.assignment.take(message)
        self._expiries.drop(message)
        queue.drop_expired(message)

    # The alarm.

    def ring(self) -> None:
        """Do what is due, and set the alarm for what comes next."""
        queue = self._queue
        delayed = queue.delayed
        now = queue.host.broker.now
        left = AT_ONCE
        ready = False
        while left and (message := delayed.take(now)) is not None:
            left -= 1
            ready = True
            self._come_due(message, now)
        while left and (message := self._expiries.take(now)) is not None:
            left -= 1
            self.expire(message)
        sweep = queue.behind.sweep
        if sweep.next() <= now:
            sweep.run()
        if ready:
            self._relieve()
            queue.dispatch()
        if queue.tail:
            queue.behind.call()
        delayed.call()
        coming = [due for due in (delayed.next(), self._expiries.next()) if due is not None]
        next_one = min(coming, default=NEVER)
        next_one = min(next_one, sweep.next())
        if next_one != NEVER:
            self._alarm.set(max(next_one, now + BREATH))

    def _relieve(self) -> None:
        """Leave to the store what the window should not hold, if that is much."""
        queue = self._queue
        if queue.windowed and queue.here > OVERFULL * queue.policy.window_messages:
            # What came back waits in order there.
            queue.assign()
            take_over(queue, queue.window)

    def _has_room(self, repetition: Message) -> bool:
        """Return whether there is room for a repetition; if not it is left out: nobody can wait."""
        queue = self._queue
        full = (
            queue.bounded
            and queue.policy.overflow != "drop-head"
            and over(queue, 1, repetition.size)
        )
        return not full and not queue.host.broker.memory.heavy

    def _come_due(self, message: Message, now: float) -> None:
        queue = self._queue
        terms = message.terms
        if terms is not None and terms.due:
            # It is new here; what a NACK delayed is not.
            if terms.schedule is not None:
                again = terms.schedule.following(terms.due, now, queue.host.broker.epoch)
                if again != NEVER:
                    copy = message.copy()
                    copy.terms = terms.settled()
                    hand_on(message, copy, queue)
                    terms.due = again
                    # It is here this time and delayed for the next one, through a crash, too.
                    queue.store.begin_group()
                    queue.delayed.add(again, message)
                    if message.stored:
                        queue.store.requeue(queue.key, message, again)
                    if self._has_room(copy):
                        queue.admit(copy, None)
                    queue.store.end_group()
                    return
            message.terms = terms.settled()
            if queue.policy.max_age is not None:
                # Its age is that of its waiting.
                queue.limit_age(message, queue.policy.max_age)
            if not queue.has_expired(message):
                for follower in queue.followers:
                    follower.follow(message)
        if message.stored:
            queue.store.requeue(queue.key, message)
        queue.wait_again(message)
