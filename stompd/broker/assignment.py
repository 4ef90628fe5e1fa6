"""Who of a queue's subscribers gets which message, where that is more than the next in line.

A queue is plain until somebody asks for more: a selector, a consumer priority, exclusiveness, or a
message with a priority, an expiry or a group that has to wait. Then it has an `Assignment`, until
nobody asks any more. The plain road does not pay for it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import chain
from typing import TYPE_CHECKING, Final

from stompd.broker.lane import Lane
from stompd.broker.terms import NEVER, NORMAL, priority_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.subscription import Subscription

# Empty lanes are kept, as long as there are few to look through.
_LANES: Final = 16
# More groups than that are not remembered; those that were used longest ago are free again.
GROUPS: Final = 100_000
# Seconds without a message that has terms before a queue is plain again.
_REST: Final = 1.0


class Rank:
    """The subscriptions of one consumer priority that can take a message, in turns."""

    __slots__ = ("line", "priority")

    def __init__(self, priority: int, line: deque[Subscription]) -> None:
        self.priority = priority
        self.line = line


class Assignment:
    """Owns a queue's ready messages and the line of its subscribers while the queue is not plain.

    What holds after every call: whoever stands in line wants nothing that waits. Therefore a new
    message may go to the first who wants it, and only who comes back into line has to search.
    """

    __slots__ = (
        "_grouped",
        "_lanes",
        "_order",
        "_reached",
        "_terms_at",
        "choosy",
        "count",
        "exclusive",
        "groups",
        "queue",
        "ranks",
    )

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        # The messages of each priority, and the priorities from high to low.
        self._lanes: dict[int, Lane] = {priority: Lane() for priority in queue.behind.stretches}
        self._order: list[int] = sorted(self._lanes, reverse=True)
        self.count = 0
        # From high to low.
        self.ranks: list[Rank] = []
        # Who alone is served while it lives.
        self.exclusive: Subscription | None = None
        # Who gets the messages of a group; the group used longest ago comes first.
        self.groups: OrderedDict[str, Subscription] = OrderedDict()
        # True if one subscriber may want what another one does not.
        self.choosy = False
        # Up to which place a subscriber wants nothing, by priority of the messages.
        self._reached: dict[Subscription, dict[int, int]] = {}
        # How many messages of groups wait.
        self._grouped = 0
        # When a message with terms came last.
        self._terms_at = queue.host.broker.now

    def __repr__(self) -> str:
        lines = sum(len(rank.line) for rank in self.ranks)
        return f"<Assignment of {self.queue.name} waiting={self.count} in line={lines}>"

    # Messages.

    def add(self, message: Message, *, back: bool = False) -> None:
        """Have a message wait; ``back`` says that it may be older than what waits already."""
        terms = message.terms
        priority = NORMAL
        if terms is not None:
            priority = terms.priority
            self._terms_at = self.queue.host.broker.now
            if terms.group is not None:
                self._grouped += 1
                self.choosy = True
        lane = self._lanes.get(priority) or self.know(priority)
        lane.add(message)
        self.count += 1
        if back:
            place = message.place
            for reached in self._reached.values():
                if reached.get(priority, -1) >= place:
                    reached[priority] = place - 1

    def know(self, priority: int) -> Lane:
        """Return the lane of a priority; made, if there is none."""
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = Lane()
            self._order = sorted(self._lanes, reverse=True)
        return lane

    def take(self, message: Message) -> None:
        """Give up a message that waits."""
        terms = message.terms
        priority = NORMAL
        if terms is not None:
            priority = terms.priority
            if terms.group is not None:
                self._grouped -= 1
        lane = self._lanes[priority]
        lane.take(message)
        self.count -= 1
        self._maybe_drop(priority)

    def take_oldest(self) -> Message | None:
        """Take the oldest message of the lowest priority; None if nothing waits."""
        for priority in reversed(self._order):
            message = self._lanes[priority].first()
            if message is not None:
                self.take(message)
                return message
        return None

    def waiting(self) -> Iterator[Message]:
        """Walk over what waits, in the order of delivery."""
        return chain.from_iterable(self._lanes[priority] for priority in self._order)

    def priorities(self) -> set[int]:
        """Return the priorities of what waits."""
        return {priority for priority, lane in self._lanes.items() if len(lane)}

    def behind(self, priority: int, place: int) -> list[Message]:
        """Return what waits of a priority behind a place, by their places."""
        lane = self._lanes.get(priority)
        return [] if lane is None else list(lane.behind(place))

    def oldest_place(self) -> int | None:
        """Return the lowest place of what waits, None if nothing does."""
        first = [lane.first() for lane in self._lanes.values()]
        return min((message.place for message in first if message is not None), default=None)

    def size_of(self, priority: int) -> int:
        """Return how many messages of a priority wait."""
        lane = self._lanes.get(priority)
        return 0 if lane is None else len(lane)

    def size_before(self, priority: int, edge: int) -> int:
        """Return how many messages of a priority wait that come before what is behind an edge.

        It may count some behind it, too, if there is one before it.
        """
        lane = self._lanes[priority]
        return 0 if lane.begins_behind(edge) else len(lane)

    @property
    def breadth(self) -> int:
        """How many priorities it knows."""
        return len(self._order)

    def from_low(self) -> list[int]:
        """Return the priorities that it knows, the lowest first."""
        return self._order[::-1]

    # Giving messages out.

    def wants(self, subscription: Subscription, message: Message) -> bool:
        """Return whether a subscription may have a message, room and credit aside."""
        terms = message.terms
        if terms is not None and terms.group is not None:
            owner = self.groups.get(terms.group)
            if owner is not None and owner is not subscription:
                return False
        selector = subscription.selector
        return selector is None or selector.matches(message.properties)

    def give(self, message: Message) -> bool:
        """Give a new message to the first in line who wants it; return whether somebody did."""
        queue = self.queue
        tail = queue.behind
        priority = priority_of(message)
        blocked = tail.blocks(priority)
        if blocked and not self.choosy:
            return False
        for rank in self.ranks:
            line = rank.line
            refused = 0
            while refused < len(line):
                subscription = line[0]
                outbox = subscription.outbox
                if not subscription.open or outbox.size >= outbox.high:
                    line.popleft()
                    subscription.park(queue)
                    continue
                line.rotate(-1)
                if blocked and not tail.is_through_all(subscription, priority):
                    # It may want something that comes before.
                    refused += 1
                    continue
                if self.choosy and not self.wants(subscription, message):
                    if blocked:
                        tail.declined(subscription, priority, message.place)
                    refused += 1
                    continue
                if blocked:
                    tail.skip(message, priority)
                self._deliver(subscription, message)
                return True
        return False

    def _deliver(self, subscription: Subscription, message: Message) -> None:
        terms = message.terms
        if terms is not None and terms.group is not None:
            groups = self.groups
            groups[terms.group] = subscription
            groups.move_to_end(terms.group)
            if len(groups) > GROUPS:
                # Many at once: after each time everybody has to search from the beginning.
                for _ in range(max(1, GROUPS // 100)):
                    groups.popitem(last=False)
                self._search_anew()
        self.queue.unsettled += 1
        subscription.deliver(message)

    def _search_anew(self) -> None:
        """Have everybody search from the beginning, here and in the tail."""
        self._reached.clear()
        self.queue.behind.searched.clear()

    def dispatch(self) -> None:
        """Give out what waits, to the highest rank first, in turns within a rank."""
        if not self.count:
            self.queue.maybe_plain()
            return
        for rank in self.ranks:
            if self.choosy:
                self._dispatch_choosy(rank.line)
            else:
                self._dispatch_any(rank.line)

    def _dispatch_any(self, line: deque[Subscription]) -> None:
        """Let who stands in line take whatever comes first."""
        queue = self.queue
        for priority in tuple(self._order):
            lane = self._lanes[priority]
            stretch = queue.behind.stretches.get(priority)
            while lane.waiting:
                if stretch is not None and lane.begins_behind(stretch.edge):
                    break
                subscription = self._next_in(line)
                if subscription is None:
                    return
                message = lane.pop()
                self.count -= 1
                terms = message.terms
                if terms is not None and terms.expires != NEVER:
                    queue.time.forget(message)
                    if queue.has_expired(message):
                        queue.drop_expired(message)
                        continue
                queue.unsettled += 1
                subscription.deliver(message)
                if len(line) > 1:
                    line.rotate(-1)
            if stretch is not None:
                # What comes next is on its way from the store.
                return
            self._maybe_drop(priority)

    def _next_in(self, line: deque[Subscription]) -> Subscription | None:
        """Return who is first in line and can take a message; who cannot leaves the line."""
        while line:
            subscription = line[0]
            outbox = subscription.outbox
            if subscription.open and outbox.size < outbox.high:
                return subscription
            line.popleft()
            subscription.park(self.queue)
        return None

    def _maybe_drop(self, priority: int) -> None:
        """Give an empty lane up if there are many to look through."""
        if (
            len(self._order) > _LANES
            and not self._lanes[priority]
            and priority not in self.queue.behind.stretches
        ):
            del self._lanes[priority]
            self._order.remove(priority)

    def _dispatch_choosy(self, line: deque[Subscription]) -> None:
        """Let everybody in line take one message after the other, as long as they find some.

        Who finds none finds none later: what others take makes nobody want more.
        """
        queue = self.queue
        line.rotate(-1)
        seekers = list(line)
        while seekers:
            finders = []
            for subscription in seekers:
                outbox = subscription.outbox
                if not subscription.open or outbox.size >= outbox.high:
                    line.remove(subscription)
                    subscription.park(queue)
                    continue
                message = self._find(subscription)
                if message is not None:
                    self.take(message)
                    queue.time.forget(message)
                    self._deliver(subscription, message)
                    finders.append(subscription)
            seekers = finders

    def _find(self, subscription: Subscription) -> Message | None:
        """Return the first message that a subscription may have."""
        reached = self._reached.setdefault(subscription, {})
        queue = self.queue
        tail = queue.behind
        expired = []
        found = None
        for priority in self._order:
            lane = self._lanes[priority]
            through = tail.is_through(subscription, priority)
            place = reached.get(priority, -1)
            for message in lane.behind(place) if lane.waiting else ():
                if not through and message.place > tail.reach(subscription, priority):
                    # There may be something before it that it wants.
                    break
                if queue.has_expired(message):
                    expired.append(message)
                elif self.wants(subscription, message):
                    found = message
                    break
                place = message.place
            reached[priority] = place
            if found is not None or not through:
                break
        for message in expired:
            queue.time.expire(message)
        return found

    # Subscribers.

    def join(self, subscription: Subscription) -> None:
        """Take a subscriber in."""
        if subscription.selector is not None:
            self.choosy = True
        if subscription.exclusive and self.exclusive is None:
            self.exclusive = subscription
            for rank in self.ranks:
                rank.line.clear()
        self.line_up(subscription)

    def line_up(self, subscription: Subscription) -> None:
        """Let a subscriber stand in line, unless another one is served exclusively."""
        if self.exclusive is not None and self.exclusive is not subscription:
            return
        for place, rank in enumerate(self.ranks):
            if rank.priority == subscription.rank:
                rank.line.append(subscription)
                return
            if rank.priority < subscription.rank:
                self.ranks.insert(place, Rank(subscription.rank, deque((subscription,))))
                return
        self.ranks.append(Rank(subscription.rank, deque((subscription,))))

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscriber; what was its own is for the others. The caller dispatches."""
        for rank in self.ranks:
            if subscription in rank.line:
                rank.line.remove(subscription)
        self._reached.pop(subscription, None)
        self.queue.behind.searched.pop(subscription, None)
        if subscription in self.groups.values():
            kept = [(g, s) for g, s in self.groups.items() if s is not subscription]
            self.groups = OrderedDict(kept)
            self._search_anew()
        others = self.queue.subscriptions
        if self.exclusive is subscription:
            self.exclusive = next((other for other in others if other.exclusive), None)
            if self.exclusive is not None:
                self._line_up_again(self.exclusive)
            else:
                for other in others:
                    self._line_up_again(other)
        taken = {other.rank for other in others}
        self.ranks = [rank for rank in self.ranks if rank.priority in taken]
        self.choosy = (
            bool(self.groups)
            or any(other.selector is not None for other in others)
            or bool(self._grouped)
        )

    def _line_up_again(self, subscription: Subscription) -> None:
        if self.queue not in subscription.parked:
            self.line_up(subscription)

    def in_line(self) -> list[Subscription]:
        """Return those who stand in line and can take a message."""
        return [
            subscription
            for rank in self.ranks
            for subscription in rank.line
            if subscription.open and subscription.outbox.size < subscription.outbox.high
        ]

    @property
    def needed(self) -> bool:
        """True while the queue cannot be plain."""
        return bool(
            self.count
            or any(priority != NORMAL for priority in self.queue.behind.stretches)
            or self.exclusive is not None
            or self.groups
            or len(self.ranks) > 1
            or self.queue.host.broker.now - self._terms_at < _REST
            or any(other.demanding for other in self.queue.subscriptions)
        )

    def clear(self) -> None:
        """Forget everything: the queue ends."""
        self._lanes.clear()
        self._order.clear()
        self.ranks.clear()
        self.groups.clear()
        self._reached.clear()
        self.count = 0
