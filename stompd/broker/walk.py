"""Walking over all messages of a queue, page by page: the window, what the store has, the delayed.

What the store has comes later, so a walk is a generator that yields what it waits for, and others
go on between two pages: messages come, are delivered and settled. A walk meets each message at most
once, sees none that came after it began, and misses only what somebody had in the meantime. Any
number of walks may be on their way over a queue at once.

All that knows how a queue and its tails are put together is here and where they are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from stompd.broker.owed import repay

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.subscription import Subscription

# A page of what is in the store: so many messages, or the one that brings it to so many octets.
PAGE: Final = 500
PAGE_OCTETS: Final = 4 * 1024 * 1024

READY: Final = 0
IN_FLIGHT: Final = 1
DELAYED: Final = 2

Answer = Callable[..., None]
# Something to wait for: it is given what to call, with the answer, when it is there.
Wait = Callable[[Answer], None]
_Result = TypeVar("_Result")
# Work with pauses; is resumed with the arguments of the answer.
Steps = Generator[Wait, Any, _Result]


class Position(NamedTuple):
    """Where a walk is: all that follows is greater. ``first`` is a priority below 0, or a time."""

    stage: int
    first: float
    place: int


START: Final = Position(READY, -inf, 0)


class Entry(NamedTuple):
    """A message that was met, and where it is."""

    position: Position
    message: Message
    # True if it is in the store only; the message is a copy then.
    behind: bool = False
    subscription: Subscription | None = None


# True if the walk is to go on.
Visit = Callable[[list[Entry]], bool]


def walk(
    queue: Queue,
    visit: Visit,
    *,
    after: Position = START,
    end: int | None = None,
    places: Collection[int] | None = None,
    in_flight: bool = False,
    paced: bool = False,
) -> Steps[bool]:
    """Have each message of a queue visited that waits or is not due yet, in order of delivery.

    The visitor gets pages, none of them empty; what is in a page is where the page says until the
    visitor changes something. ``after`` is where an earlier walk ended; only places before ``end``
    are visited, and only some ``places``; ``in_flight`` has those visited as well that are
    delivered and not settled, before the delayed ones. If it is ``paced`` the disk keeps up with
    what visitors change. Returns True if it came to the end.
    """
    end = queue.next_place if end is None else min(end, queue.next_place)
    wanted = None if places is None else sorted(places)
    # With those that become due on the way: they may be where the walk has been already.
    delayed = {message.place for _, message in queue.delayed.entries() if message.place < end}
    if after.stage == READY:
        below, place = -after.first, after.place
        while (priority := _next_priority(queue, below)) is not None:
            place = place if priority == -after.first else 0
            for_all = _lane(queue, visit, delayed, priority, place, end, wanted, paced=paced)
            if not (yield from for_all):
                return False
            below = priority - 1
        after = Position(IN_FLIGHT, 0, 0)
    if after.stage == IN_FLIGHT:
        held = sorted(flying(queue), key=_place_of) if in_flight else []
        page = [
            Entry(Position(IN_FLIGHT, 0, message.place), message, subscription=subscription)
            for message, subscription in held
            if after.place < message.place < end and (wanted is None or message.place in wanted)
        ]
        if page and not visit(page):
            return False
        after = Position(DELAYED, 0, 0)
    page = [
        Entry(position, message)
        for position, message in _late(queue, delayed)
        if (position > after or position.stage == READY)
        and (wanted is None or message.place in wanted)
    ]
    if page and not visit(page):
        return False
    return (yield from _far(queue, visit, delayed, after, end, wanted, paced=paced))


def _far(
    queue: Queue,
    visit: Visit,
    seen: set[int],
    after: Position,
    end: int,
    wanted: list[int] | None,
    *,
    paced: bool,
) -> Steps[bool]:
    """Have the messages visited that are not due yet, and in the store only."""
    while True:
        last = Position(DELAYED, inf, 0)
        found: list[Message] = []
        dues: list[float] = []
        if queue.delayed.tail:
            moment = after[1:]
            found, dues = yield partial(queue.delayed.look, moment, PAGE, PAGE_OCTETS)
        if found:
            last = Position(DELAYED, dues[-1], found[-1].place)
        times = {message.place: due for message, due in zip(found, dues, strict=True)}
        page = [
            Entry(Position(DELAYED, times[message.place], message.place), message, behind=True)
            for message in queue.delayed.still(found)
        ]
        # Some of them may have come into memory since; what came back there is another matter.
        page += [
            Entry(Position(DELAYED, due, message.place), message)
            for due, message in queue.delayed.entries()
            if not message.redelivered and message.place not in seen
        ]
        page = sorted(
            (
                entry
                for entry in page
                if after < entry.position <= last
                and entry.message.place < end
                and (wanted is None or entry.message.place in wanted)
            ),
            key=_position_of,
        )
        for entry in page:
            entry.message.queue = queue
        after = last
        if page and not visit(page):
            return False
        if not found:
            return True
        if paced:
            yield queue.host.broker.when_durable


def _lane(
    queue: Queue,
    visit: Visit,
    delayed: set[int],
    priority: int,
    place: int,
    end: int,
    wanted: list[int] | None,
    *,
    paced: bool,
) -> Steps[bool]:
    """Have the messages of one priority visited that wait behind a place."""
    while place < end - 1:
        found: list[Message] = []
        upto = end - 1
        if priority in queue.behind.priorities():
            count = PAGE
            behind = max(place, queue.behind.edge_of(priority))
            if wanted is not None:
                at = bisect_right(wanted, place)
                if at == len(wanted):
                    return True
                behind = max(behind, wanted[at] - 1)
                count = min(count, len(wanted) - at)
            found, last = yield partial(queue.behind.look, priority, behind, count, PAGE_OCTETS)
            found = queue.behind.still(found)
            if 0 < last < upto:
                upto = last
        page = [
            Entry(Position(READY, -priority, message.place), message, behind)
            for messages, behind in ((queue.waiting_behind(priority, place), False), (found, True))
            for message in messages
            if message.place <= upto and (wanted is None or message.place in wanted)
        ]
        page.sort(key=_position_of)
        for entry in page:
            entry.message.queue = queue
            delayed.discard(entry.message.place)
        place = upto
        if page and not visit(page):
            return False
        if paced and found:
            yield queue.host.broker.when_durable
    return True


def _next_priority(queue: Queue, below: float) -> int | None:
    """Return the highest priority up to ``below`` of which messages wait; None if there is none."""
    priorities = {*queue.waiting_priorities(), *queue.behind.priorities()}
    return max((priority for priority in priorities if priority <= below), default=None)


def _late(queue: Queue, places: set[int]) -> Iterator[tuple[Position, Message]]:
    """Give the messages at these places that have become due meanwhile, then those that are not."""
    for priority in queue.waiting_priorities() if places else ():
        for message in queue.waiting_behind(priority, 0):
            if message.place in places:
                yield Position(READY, -priority, message.place), message
    for due, message in queue.delayed.entries():
        if message.place in places:
            yield Position(DELAYED, due, message.place), message


def flying(queue: Queue) -> Iterator[tuple[Message, Subscription]]:
    """Give each message that is delivered and not settled, and to whom it went."""
    for subscription in queue.subscriptions:
        for held in (subscription.unsettled, subscription.enlisted):
            for message in held.values():
                if message.queue is queue:
                    yield message, subscription
    # A subscription may have ended while a transaction held what it had got.
    for session in queue.host.broker.sessions.values():
        for transaction in session.transactions.values():
            for settlement in transaction.settlements:
                subscription = settlement.subscription
                for number in settlement.numbers if subscription.gone else ():
                    message = subscription.enlisted[number]
                    if message.queue is queue:
                        yield message, subscription


def _place_of(held: tuple[Message, Subscription]) -> int:
    return held[0].place


def _position_of(entry: Entry) -> Position:
    return entry.position


def behind(queue: Queue) -> tuple[int, int]:
    """Return how many messages of a queue are in the store only, and their octets."""
    return queue.tail + queue.delayed.tail, queue.octets - queue.bytes


def discard(queue: Queue, entries: Collection[Entry]) -> None:
    """Drop messages of the page at hand, from memory and from the store."""
    store = queue.store
    store.begin_group()
    queue.discard([entry.message for entry in entries if not entry.behind])
    stages: dict[int, list[Message]] = {READY: [], DELAYED: []}
    for entry in entries:
        if entry.behind:
            stages[entry.position.stage].append(entry.message)
    queue.behind.withdraw(stages[READY])
    queue.delayed.withdraw(stages[DELAYED])
    queue.lost(len(stages[READY]) + len(stages[DELAYED]))
    for message in (*stages[READY], *stages[DELAYED]):
        if queue.owed:
            repay(queue, message)
        store.settle(queue.key, message)
    store.end_group()
