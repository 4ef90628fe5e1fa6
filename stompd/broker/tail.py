"""What of a queue is in the store only, because the window in memory was full.

A tail has a `Stretch` for each priority. A stretch is simple: all that the store has of a priority
behind a place, the *edge*, but for some places that are known one by one. In order a stretch comes
back page by page, when the window runs low; its edge moves on with it. Out of order single messages
are brought in for somebody who wants nothing of the window (`seek`), and taken out by who looks at
it (`withdraw`) or because they expire (`Sweep`). What waits in memory comes into it by `take_over`.

One of `page`, `seek` and `sweep` is on its way at a time. What is asked meanwhile by `look` only
looks. An answer tells what was true at some time after the question; places from that of the
question on are left for the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.overflow import bound
from stompd.broker.part import Part
from stompd.broker.storage import Fetch
from stompd.broker.sweep import Sweep
from stompd.broker.terms import NEVER, NORMAL, priority_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stompd.broker.assignment import Assignment
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.subscription import Subscription

# So many messages are looked through at once for somebody who wants only some.
_SOUGHT: Final = 500
# Whatever else is in the window, each priority may have this part of it,
_SHARE: Final = 16
# as long as there are so few of them.
_SHARES: Final = 16


class Stretch:
    """What is in the store only of one priority; never nothing."""

    __slots__ = ("ahead", "count", "edge", "last", "octets")

    def __init__(self, edge: int) -> None:
        # It begins behind this place, and ends at the other one, or before.
        self.edge = edge
        self.last = edge
        self.count = 0
        self.octets = 0
        # Places behind the edge of messages that are in memory, delivered, or gone.
        self.ahead: set[int] = set()

    def has(self, place: int) -> bool:
        """Return whether the message of a place, which the store had of late, is of it."""
        return place > self.edge and place not in self.ahead


class Tail(Part["Queue"]):
    """Owns the stretches of a queue, and asks the store for them."""

    __slots__ = (
        "_dropped",
        "_left",
        "_looks",
        "asking",
        "searched",
        "stretches",
        "sweep",
        "top",
    )

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue)
        # By priority.
        self.stretches: dict[int, Stretch] = {}
        # The highest of them; of no meaning without one.
        self.top = NORMAL
        # True while an answer is on its way that brings something in.
        self.asking = False
        # How many others look at what there is, and what has left since the first question was
        # asked that is not answered yet: places, and their priorities.
        self._looks = 0
        self._left: dict[int, int] = {}
        # All up to this place was dropped at once: it may be in an answer yet.
        self._dropped = 0
        self.sweep = Sweep(queue)
        # Up to which place a subscription wants nothing of it, by priority.
        self.searched: dict[Subscription, dict[int, int]] = {}

    def __repr__(self) -> str:
        parts = {p: (s.edge, s.count) for p, s in self.stretches.items()}
        return f"<Tail of {self._queue.name} {parts}>"

    # What is in it.

    def restore(self, priority: int, count: int, octets: int, last: int) -> None:
        """Have so many messages of a priority that the store has kept, with places up to a last."""
        stretch = self.stretch(priority, 0)
        stretch.last = last
        self.grow(stretch, count, octets)

    def is_full(self, priority: int) -> bool:
        """Return whether the window has no room for one more message of a priority."""
        queue = self._queue
        policy = queue.policy
        assignment = queue.assignment
        waiting = len(queue.ready) if assignment is None else assignment.count
        light = queue.bytes <= policy.window_bytes
        if light and waiting < queue.window:
            return False
        if assignment is None or assignment.breadth > _SHARES:
            return True
        # What others fill it with must not keep a priority out: it may be urgent.
        share = policy.window_messages // _SHARE if light else 0
        return assignment.size_of(priority) >= max(1, share)

    def leave(self, message: Message, priority: int) -> None:
        """Leave a message to the store, which has it as one that waits: the last of its priority.

        It is out of the window already.
        """
        stretch = self.stretch(priority, message.place - 1)
        stretch.last = message.place
        stretch.ahead.discard(message.place)
        self.grow(stretch, 1, message.size)
        self.sweep.expect(message)

    def stretch(self, priority: int, edge: int) -> Stretch:
        """Return the stretch of a priority, which begins behind a place if it is new."""
        stretch = self.stretches.get(priority)
        if stretch is None:
            stretch = self.stretches[priority] = Stretch(edge)
            self.top = max(self.stretches)
            if self._queue.assignment is not None:
                self._queue.assignment.know(priority)
            for places in self.searched.values():
                # What was searched there was another one.
                places.pop(priority, None)
        return stretch

    def grow(self, stretch: Stretch, count: int, octets: int) -> None:
        """Note that so much more is of it."""
        queue = self._queue
        stretch.count += count
        stretch.octets += octets
        queue.tail += count
        queue.tail_bytes += octets

    def _shrink(self, priority: int, stretch: Stretch, count: int, octets: int) -> None:
        """Note that so much is not of it any more; end it with the last of it."""
        self.grow(stretch, -count, -octets)
        if stretch.count <= 0:
            self.grow(stretch, -stretch.count, -stretch.octets)
            del self.stretches[priority]
            self.top = max(self.stretches, default=NORMAL)

    def blocks(self, priority: int) -> bool:
        """Return whether something of it comes before a new message of a priority."""
        return bool(self.stretches) and self.top >= priority

    def skip(self, message: Message, priority: int) -> None:
        """Note that a message is in memory, or delivered, that may lie behind an edge."""
        stretch = self.stretches.get(priority)
        if stretch is not None and message.place > stretch.edge:
            stretch.ahead.add(message.place)

    def forget(self, message: Message, priority: int) -> None:
        """Note that a message is settled that may have lain behind an edge."""
        stretch = self.stretches.get(priority)
        if stretch is None or message.place not in stretch.ahead:
            return
        if self.asking or self._looks:
            self._left[message.place] = priority
        else:
            stretch.ahead.discard(message.place)

    def clear(self) -> int:
        """Drop all of it, also from the store; return how many messages that were."""
        queue = self._queue
        count = queue.tail
        last = queue.next_place - 1
        for priority, stretch in self.stretches.items():
            spare = frozenset(stretch.ahead)
            queue.store.drop(queue.key, priority, stretch.edge, last, spare)
        self.stretches.clear()
        self.top = NORMAL
        self.searched.clear()
        self.sweep.first = NEVER
        if self.asking or self._looks:
            self._dropped = last
        queue.tail = 0
        queue.tail_bytes = queue.delayed.octets
        return count

    # Bringing it in.

    def call(self) -> None:
        """Ask for what is wanted of it: the next page, or what somebody seeks. Nothing if not."""
        if self.asking or not self.stretches:
            return
        queue = self._queue
        assignment = queue.assignment
        window = queue.window
        stretch = self.stretches[self.top]
        if assignment is None:
            here = others = len(queue.ready)
        else:
            here, others = assignment.size_before(self.top, stretch.edge), assignment.count
        room = max(1, window // _SHARE, window - others + here)
        if room - here >= room - room // 2:
            self._ask(self._paged, self.top, stretch.edge, max(1, room - here))
        elif assignment is not None and assignment.choosy:
            self._seek(assignment)

    def _ask(
        self,
        taker: Callable[[list[Message], int, int, int], None],
        priority: int,
        after: int,
        count: int,
    ) -> None:
        """Ask for a part of a stretch.

        The taker gets it with its priority and the places behind which and up to which it lies.
        """
        queue = self._queue
        end = queue.next_place
        self.asking = True

        def answered(messages: list[Message], _dues: list[float]) -> None:
            self.asking = False
            if queue.gone:
                return
            found = [message for message in messages if message.place < end]
            if not messages and end == queue.next_place and priority in self.stretches:
                self._believe(priority, after)
            taker(found, priority, after, found[-1].place if found else end - 1)
            self.forget_left()
            # It had to wait for this answer.
            queue.time.alarm_at(self.sweep.next())
            queue.dispatch()
            if queue.bounded:
                # While all was in the store there was nothing to drop.
                bound(queue, None)

        queue.store.fetch(
            Fetch(
                queue.key,
                "ready",
                answered,
                count=count,
                octets=queue.policy.window_bytes,
                priority=priority,
                after=after,
            )
        )

    def _believe(self, priority: int, after: int) -> None:
        """Take it that the store has nothing of a stretch behind a place."""
        stretch = self.stretches[priority]
        if after <= stretch.edge:
            # It had counted more.
            self._shrink(priority, stretch, stretch.count, stretch.octets)

    def _paged(self, messages: list[Message], priority: int, _after: int, last: int) -> None:
        """Take a page of a stretch into the window."""
        stretch = self.stretches.get(priority)
        if stretch is None:
            return
        page = [m for m in messages if m.place > self._dropped and stretch.has(m.place)]
        if messages:
            stretch.edge = max(stretch.edge, last)
            stretch.ahead = {place for place in stretch.ahead if place > last}
        self._shrink(priority, stretch, len(page), sum(message.size for message in page))
        self._queue.take_in(page)

    def _seek(self, assignment: Assignment) -> None:
        """Look for what somebody wants who stands in line and wants nothing that is in memory."""
        goals = []
        for subscription in assignment.in_line():
            goal = self.goal_of(subscription)
            if goal is not None:
                goals.append(goal)
        if goals:
            # Of the highest priority, and there from the first place on: for all of them.
            priority, place = min(goals, key=lambda goal: (-goal[0], goal[1]))
            self._ask(self._sought, priority, place, _SOUGHT)

    def goal_of(self, subscription: Subscription) -> tuple[int, int] | None:
        """Return the priority and the place behind which a subscription has not searched it."""
        for priority in sorted(self.stretches, reverse=True):
            if not self.is_through(subscription, priority):
                return priority, self.reach(subscription, priority)
        return None

    def reach(self, subscription: Subscription, priority: int) -> int:
        """Return the place up to which a subscription wants nothing of a stretch."""
        searched = self.searched.get(subscription, {}).get(priority, 0)
        return max(searched, self.stretches[priority].edge)

    def is_through(self, subscription: Subscription, priority: int) -> bool:
        """Return whether a subscription wants nothing of a priority that is in it."""
        stretch = self.stretches.get(priority)
        return stretch is None or self.reach(subscription, priority) >= stretch.last

    def is_through_all(self, subscription: Subscription, priority: int) -> bool:
        """Return whether a subscription wants nothing that comes before a new message."""
        return all(
            self.is_through(subscription, other) for other in self.stretches if other >= priority
        )

    def declined(self, subscription: Subscription, priority: int, place: int) -> None:
        """Note that somebody who `is_through` with a priority does not want what comes next."""
        self.searched.setdefault(subscription, {})[priority] = place

    def _sought(self, messages: list[Message], priority: int, after: int, last: int) -> None:
        """Take in what is wanted of a part of a stretch by those who wait for it."""
        stretch = self.stretches.get(priority)
        assignment = self._queue.assignment
        if stretch is None or assignment is None:
            return
        # Who came later, and is not so far, comes to it yet.
        seekers = [s for s in assignment.in_line() if self.reach(s, priority) >= after]
        wanted = [
            message
            for message in messages
            if message.place > self._dropped
            and stretch.has(message.place)
            and any(
                self.reach(subscription, priority) < message.place
                and assignment.wants(subscription, message)
                for subscription in seekers
            )
        ]
        for subscription in seekers:
            if self.reach(subscription, priority) < last:
                self.searched.setdefault(subscription, {})[priority] = last
        stretch.ahead.update(message.place for message in wanted)
        self._shrink(priority, stretch, len(wanted), sum(message.size for message in wanted))
        self._queue.take_in(wanted)

    # Looking at it.

    def priorities(self) -> list[int]:
        """Return the priorities of which messages are in the store only, the highest first."""
        return sorted(self.stretches, reverse=True)

    def edge_of(self, priority: int) -> int:
        """Return the place behind which a priority begins; any number if there is nothing of it."""
        stretch = self.stretches.get(priority)
        return 0 if stretch is None else stretch.edge

    def ahead_of(self, priority: int) -> frozenset[int]:
        """Return the places behind it whose messages are in memory, or were."""
        stretch = self.stretches.get(priority)
        return frozenset() if stretch is None else frozenset(stretch.ahead)

    def look(
        self,
        priority: int,
        after: int,
        count: int,
        octets: int,
        taker: Callable[[list[Message], int], None],
    ) -> None:
        """Have a taker get what the store holds of a priority behind a place, in order.

        Some of it may be in the window by then, or delivered: `still` tells what is not. The taker
        is told the last place of the answer as well; 0 if it was the end, or the queue is gone by
        then.
        """
        queue = self._queue
        self._looks += 1

        def answered(messages: list[Message], _dues: list[float]) -> None:
            self._looks -= 1
            there = [m for m in messages if m.place > self._dropped and m.place not in self._left]
            self.forget_left()
            if queue.gone or not messages:
                taker([], 0)
            else:
                taker(there, messages[-1].place)

        fetch = Fetch(
            queue.key,
            "ready",
            answered,
            count=count,
            octets=octets,
            priority=priority,
            after=after,
        )
        queue.store.fetch(fetch)

    def forget_left(self) -> None:
        """Note no more what has left, if no answer may have it."""
        if self.asking or self._looks:
            return
        self._dropped = 0
        left, self._left = self._left, {}
        for place, priority in left.items():
            stretch = self.stretches.get(priority)
            if stretch is not None:
                stretch.ahead.discard(place)

    def still(self, messages: Sequence[Message]) -> list[Message]:
        """Return those of the messages of an answer that are in it, and nowhere else.

        To be asked as soon as the answer is there.
        """
        return [message for message in messages if self._has(message)]

    def _has(self, message: Message) -> bool:
        stretch = self.stretches.get(priority_of(message))
        return stretch is not None and message.place > self._dropped and stretch.has(message.place)

    def withdraw(self, messages: Sequence[Message]) -> None:
        """Take messages out that are `still` in it; the store is the caller's to tell."""
        waits = self.asking or self._looks
        for message in messages:
            priority = priority_of(message)
            stretch = self.stretches.get(priority)
            if stretch is None:
                # It had counted less than it had.
                continue
            if waits:
                stretch.ahead.add(message.place)
                self._left[message.place] = priority
            self._shrink(priority, stretch, 1, message.size)
