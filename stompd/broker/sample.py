"""What a look at a destination once a second tells: rates, and how long messages have been there.

Messages do not know when they came; that would cost every one of them. But places in a queue only
grow, so a note of the next place at some time parts the messages that were there from those that
came later.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stompd.broker.broker import Broker

# Seconds between looks.
PERIOD: Final = 1.0
# With more notes than that, those are dropped that tell little.
_NOTES: Final = 400
# What a dropped note may cost: this part of an age.
_BLUR: Final = 0.05


class Sample:
    """Belongs to one destination; times are seconds of the broker's time."""

    __slots__ = ("_at", "_came", "_places", "_times", "_went", "in_rate", "out_rate")

    def __init__(self, now: float, came: int, went: int) -> None:
        self._at = now
        # Messages a second, in the period before the last look.
        self.in_rate = 0.0
        self.out_rate = 0.0
        self._came = came
        self._went = went
        # What the next place was, and when.
        self._places: array[int] = array("q")
        self._times: array[float] = array("d")

    def count(self, now: float, came: int, went: int) -> None:
        """Note how many messages have come and gone so far."""
        if came == self._came and went == self._went:
            # So it is with nearly all destinations nearly always.
            self.in_rate = self.out_rate = 0.0
            self._at = now
            return
        passed = now - self._at
        if passed > 0:
            self.in_rate = round((came - self._came) / passed, 3)
            self.out_rate = round(max(went - self._went, 0) / passed, 3)
        self._at = now
        self._came = came
        self._went = went

    def mark(self, now: float, next_place: int) -> None:
        """Note the next place."""
        places, times = self._places, self._times
        if not places or places[-1] < next_place:
            places.append(next_place)
            times.append(now)
        if len(places) > _NOTES:
            self._thin_out(now)

    def _thin_out(self, now: float) -> None:
        places, times = array("q"), array("d")
        last = len(self._places) - 1
        for at, (place, time) in enumerate(zip(self._places, self._times, strict=True)):
            # The next note stands in for this one if an age hardly changes by that.
            spare = 0 < at < last and self._times[at + 1] - times[-1] <= _BLUR * (now - time)
            if not spare:
                places.append(place)
                times.append(time)
        self._places, self._times = places, times

    def forget(self) -> None:
        """Forget all notes: nothing is there that came before."""
        if self._places:
            del self._places[:], self._times[:]

    def age(self, place: int, now: float) -> float:
        """Return for how many seconds a message has been there at least."""
        at = bisect_right(self._places, place)
        return max(0.0, now - self._times[at]) if at < len(self._times) else 0.0


def look(broker: Broker, since: float) -> None:
    """Have every destination's sample note what there is now, and tell who is alone with it.

    Those that have none yet were made after ``since``, in seconds of the broker's time.
    """
    now = broker.now
    for host in broker.hosts:
        for queue in host.all_queues():
            sample = queue.sample
            if sample is None:
                sample = queue.sample = Sample(since, 0, 0)
            count = queue.count
            sample.count(now, queue.put_count, queue.put_count - count)
            if not count:
                sample.forget()
                queue.lonely = False
                continue
            sample.mark(now, queue.next_place)
            if queue.subscriptions:
                queue.lonely = False
            elif not queue.lonely and not queue.is_dead_letter and queue.depth:
                queue.lonely = True
                broker.tell("no-consumer", host, queue=queue.name, ready=queue.depth)
        for topic in host.topics.values():
            sample = topic.sample
            if sample is None:
                sample = topic.sample = Sample(since, 0, 0)
            sample.count(now, topic.put_count, topic.put_count)
