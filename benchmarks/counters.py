"""The page of counters that the processes of a run share: the phase, what was sent and received."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.load import Load

PAGE = os.sysconf("SC_PAGE_SIZE")

# The phases of a run, in the first counter of the shared page; only the parent moves them on.
START, RUN, MEASURE, DRAIN, STOP = range(5)
PHASE = 0
FIRST = 1


class Counters:
    """A page of counters shared by parent and children: the phase, sent and received.

    Received counters are in the order of the destinations, so that the consumers of one
    destination are neighbours.
    """

    def __init__(self, load: Load) -> None:
        if load.consumers % load.destinations:
            raise ValueError("every destination needs the same number of consumers")
        self.each = load.consumers // load.destinations
        self.sent = FIRST
        self.received = FIRST + load.producers
        self.end = self.received + load.consumers
        self.topic = load.kind == "topic"
        self.page = mmap.mmap(-1, -(-self.end * 8 // PAGE) * PAGE)
        self.values = memoryview(self.page).cast("Q")

    def consumer(self, number: int) -> int:
        """The index of the counter of consumer `number`."""
        return self.received + number

    def destination_of(self, consumer: int) -> int:
        """The number of the destination that consumer `consumer` listens to."""
        return consumer // self.each

    def arrived(self, destination: int) -> int:
        """Messages that have come: all of a queue, those of the slowest consumer of a topic."""
        first = self.received + destination * self.each
        counts = self.values[first : first + self.each]
        return min(counts) if self.topic else sum(counts)

    def total_sent(self) -> int:
        """Messages of all producers."""
        return sum(self.values[self.sent : self.received])

    def total_received(self) -> int:
        """Messages of all consumers."""
        return sum(self.values[self.received : self.end])

    def close(self) -> None:
        """Give the page back."""
        self.values.release()
        self.page.close()
