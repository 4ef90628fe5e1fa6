"""Leaving to the store what waits in memory, where the window of a queue has become too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.terms import NORMAL, priority_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stompd.broker.message import Message
    from stompd.broker.queue import Queue


def take_over(queue: Queue, keep: int) -> int:
    """Leave all that waits in memory to the store but so many; return how many these are.

    The highest priorities are kept, and what is first. Nothing is left as long as it is not
    certain which messages are delivered.
    """
    if queue.behind.asking or not queue.windowed or queue.coming:
        return 0
    given = _in_flight(queue)
    if given is None:
        return 0
    done = 0
    if queue.assignment is None:
        done += _take_lane(queue, NORMAL, list(queue.ready), keep, given)
    else:
        over = queue.assignment.count - keep
        for priority in queue.assignment.from_low():
            if over <= 0:
                break
            lane = queue.assignment.behind(priority, -1)
            left = _take_lane(queue, priority, lane, max(0, len(lane) - over), given)
            over -= left
            done += left
    return done


def _take_lane(
    queue: Queue, priority: int, lane: Sequence[Message], keep: int, given: Iterable[Message]
) -> int:
    """Take over all of a priority that waits, in the order of places, but the first ones."""
    going = lane[keep:]
    if not going:
        return 0
    tail = queue.behind
    edge = lane[keep - 1].place if keep else going[0].place - 1
    stretch = tail.stretch(priority, edge)
    stretch.edge = min(stretch.edge, edge)
    stretch.last = max(stretch.last, going[-1].place)
    queue.let_go(going, keep)
    for message in going:
        stretch.ahead.discard(message.place)
        tail.sweep.expect(message)
        if not message.stored:
            message.stored = True
            queue.store.put(queue.key, message)
    stretch.ahead.update(
        message.place
        for message in given
        if message.place > stretch.edge and priority_of(message) == priority
    )
    for places in tail.searched.values():
        places[priority] = min(places.get(priority, 0), stretch.edge)
    tail.grow(stretch, len(going), sum(message.size for message in going))
    return len(going)


def _in_flight(queue: Queue) -> list[Message] | None:
    """Return the messages that are delivered and not settled; None if not all can be found."""
    found: dict[int, Message] = {}
    for subscription in queue.subscriptions:
        held = (
            *subscription.unsettled.values(),
            *subscription.enlisted.values(),
            *(subscription.outbox.riders if subscription.auto else ()),
        )
        found.update((message.place, message) for message in held if message.queue is queue)
    return list(found.values()) if len(found) == queue.unsettled else None
