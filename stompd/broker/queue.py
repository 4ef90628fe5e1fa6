"""A queue: each message goes to one subscriber, and waits if there is none.

A queue is a *window* in memory and a *tail* in the store. With a small backlog everything is in the
window. When the window is full and the store pages, further messages are only in the store, and
come back by `fetch` when the window has room. Order is the order of `Message.place`; a message that
comes back from a subscriber takes its old place.

A plain queue serves whoever is next in line with what is next in order. What asks for more (see
`assignment`) takes the other road, which ``special`` leads to.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Literal

from stompd.broker.alarm import Alarm
from stompd.broker.assignment import Assignment
from stompd.broker.dedup import Remembered, goes_nowhere
from stompd.broker.lane import AT_ONCE, BREATH, Agenda
from stompd.broker.message import Message
from stompd.broker.storage import Fetch
from stompd.broker.terms import NEVER, NORMAL, Terms
from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from stompd.broker.destination import Destination
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.policy import Policy
    from stompd.broker.sample import Sample
    from stompd.broker.session import Session
    from stompd.broker.storage import KeptQueue, Key
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost

# So many messages are fetched at once that have to be in memory after a restart.
_RECALLED: Final = 2000


class Queue:
    """Owns the ready messages. Delivered ones belong to their subscription until settled.

    ``takers`` is the line of subscriptions that can take a message now; whoever stands first is
    asked again, because credit and room change behind the queue's back. As long as somebody stands
    in line nothing is ready, but for messages that a pause or `dispatch` itself holds.
    """

    __slots__ = (
        "_ahead",
        "_alarm",
        "_asked_at",
        "_dropped",
        "_edge",
        "_expiries",
        "_looks",
        "_remembered",
        "_returned",
        "_tail_bytes",
        "_taken",
        "asked",
        "assignment",
        "blocked",
        "bounded",
        "bytes",
        "coming",
        "dead_letter_count",
        "delayed",
        "destination",
        "expired_count",
        "fetching",
        "followers",
        "gone",
        "host",
        "is_dead_letter",
        "key",
        "lonely",
        "lost_count",
        "name",
        "next_place",
        "number",
        "owner",
        "paused",
        "policy",
        "put_count",
        "ready",
        "redelivered_count",
        "repeated_count",
        "sample",
        "special",
        "store",
        "subscriptions",
        "tail",
        "takers",
        "unsettled",
        "watched",
        "windowed",
    )

    def __init__(self, host: VirtualHost, destination: Destination, policy: Policy) -> None:
        self.host = host
        self.destination = destination
        self.name = destination.name
        # What the store knows it by.
        self.key: Key = (host.name, destination.name)
        self.policy = policy
        # The how many-th of its virtual host it is.
        self.number = 0
        # What the client wanted that made it, if it wanted anything.
        self.asked: QueueSettings | None = None
        self.store = host.broker.store
        # Dead letters of a dead-letter queue would go round for ever: it has none.
        self.is_dead_letter = False
        # The session whose temporary queue it is.
        self.owner: Session | None = None
        self.ready: deque[Message] = deque()
        # Messages that came back, by place; always before the whole of `ready`.
        self._returned: list[tuple[int, Message]] = []
        self.takers: deque[Subscription] = deque()
        # There while the queue is not plain; it then has what waits, and the line.
        self.assignment: Assignment | None = None
        self.subscriptions: list[Subscription] = []
        # Browsers that want to see what comes from now on.
        self.followers: list[Subscription] = []
        # Messages that are not due yet.
        self.delayed = Agenda()
        # Those of the ready messages that expire.
        self._expiries = Agenda()
        # For either of them.
        self._alarm = Alarm(host.broker, self._ring)
        self._remembered: Remembered | None = None
        self.next_place = 1
        # Octets of the window, and messages delivered and not settled.
        self.bytes = 0
        self.unsettled = 0
        self.put_count = 0
        self.expired_count = 0
        self.dead_letter_count = 0
        self.redelivered_count = 0
        self.repeated_count = 0
        # Those that left it in another way than by being settled: expired, dead-lettered, removed.
        self.lost_count = 0
        # What looks at it once a second have told; None before the first.
        self.sample: Sample | None = None
        # How many messages are in the store only, and whether some of them are on their way.
        self.tail = 0
        self.fetching = False
        # The tail begins behind this place, and has that many octets.
        self._edge = 0
        self._tail_bytes = 0
        # What was of the tail up to this place was dropped at once: it may be in an answer yet.
        self._dropped = 0
        # When the store was asked for a part of it, this was the place of the next message.
        self._asked_at = 0
        # The places behind it whose messages are in the store, but not of the tail: they did not
        # have to wait for it.
        self._ahead: set[int] = set()
        # How many have asked what is in it, and what was taken out of it since the first of them.
        self._looks = 0
        self._taken: set[int] = set()
        self.windowed = self.store.pages
        # What a restart left in the store and has to be in memory before anything is delivered:
        # messages of other priorities than the normal one, and those that are not due yet.
        self.coming = 0
        self.bounded = False
        # Sessions that wait for room, under the overflow rule `block`.
        self.blocked: set[Session] = set()
        # An administrator's: nothing is delivered.
        self.paused = False
        # True if a new message has to take the longer road.
        self.special = False
        # True when it was told that nobody takes what waits in it.
        self.lonely = False
        # When it is looked at to see whether it is idle; None: no timer waits for that.
        self.watched: float | None = None
        self.gone = False
        self.adopt(policy)

    def __repr__(self) -> str:
        return (
            f"<Queue {self.name} ready={self.depth} unsettled={self.unsettled} tail={self.tail} "
            f"subscriptions={len(self.subscriptions)}>"
        )

    def adopt(self, policy: Policy) -> None:
        """Have another policy in force from now on."""
        self.policy = policy
        self.bounded = policy.max_messages is not None or policy.max_bytes is not None
        self._reconsider()

    def _reconsider(self) -> None:
        self.special = (
            self.bounded
            or self.paused
            or self.coming > 0
            or self.assignment is not None
            or self.policy.max_age is not None
            or bool(self.followers)
        )

    @property
    def depth(self) -> int:
        """The messages that wait, in memory or in the store; those not due yet do not count."""
        if self.assignment is not None:
            return self.assignment.count + self.tail + self.coming
        return len(self.ready) + len(self._returned) + self.tail + self.coming

    @property
    def count(self) -> int:
        """All its messages: waiting, not due yet, delivered and not settled."""
        return self.depth + self.unsettled + len(self.delayed)

    @property
    def settled_count(self) -> int:
        """How many of its messages were settled so far."""
        return max(0, self.put_count - self.count - self.lost_count)

    @property
    def octets(self) -> int:
        """What its messages measure, in memory or in the store."""
        return self.bytes + self._tail_bytes

    def oldest_place(self) -> int | None:
        """Return the place of the message that has waited longest, None if none waits."""
        if self.assignment is not None:
            first = self.assignment.oldest_place()
        elif self._returned:
            first = self._returned[0][0]
        else:
            first = self.ready[0].place if self.ready else None
        if first is None and self.tail:
            return self._edge + 1
        return first

    def has_room(self, count: int, size: int) -> bool:
        """Return whether that many more messages and octets fit, or push others out."""
        return self.policy.overflow == "drop-head" or not self._over(count, size)

    def waiting(self) -> Iterator[Message]:
        """Walk over the ready messages in memory, in the order of delivery.

        Nothing may be put or taken meanwhile.
        """
        if self.assignment is not None:
            yield from self.assignment.waiting()
            return
        for _, message in sorted(self._returned, key=lambda entry: entry[0]):
            yield message
        yield from self.ready

    def waiting_priorities(self) -> set[int]:
        """Return the priorities of the ready messages in memory."""
        if self.assignment is not None:
            return self.assignment.priorities()
        return {NORMAL} if self.ready or self._returned else set()

    def waiting_behind(self, priority: int, place: int) -> list[Message]:
        """Return the ready messages in memory of a priority behind a place, by their places."""
        if self.assignment is not None:
            return self.assignment.behind(priority, place)
        if priority != NORMAL:
            return []
        found = [message for _, message in sorted(self._returned, key=_place_of)]
        found += reversed(list(takewhile(lambda m: m.place > place, reversed(self.ready))))
        return [message for message in found if message.place > place]

    def restore(self, kept: KeptQueue) -> None:
        """Have what the store has kept of it; to be called while it is empty.

        The window is filled with those that simply wait. What is out of the ordinary is fetched
        whole, and nothing is delivered before it is there: it may come first.
        """
        self.next_place = kept.last_place + 1
        for priority, lane in sorted(kept.lanes.items(), reverse=True):
            if priority == NORMAL:
                self.tail = lane.count
                self._tail_bytes = lane.octets
            elif lane.count:
                self._recall("ready", lane.count, priority)
        if kept.delayed_count:
            self._recall("delayed", kept.delayed_count)
        self._reconsider()
        self._page()

    def _recall(
        self,
        what: Literal["ready", "delayed"],
        count: int,
        priority: int = NORMAL,
        after: int = 0,
        due: float | None = None,
    ) -> None:
        """Fetch so many messages into memory, part by part."""
        if not after:
            self.coming += count

        def recalled(messages: list[Message], dues: list[float]) -> None:
            if self.gone:
                return
            # If there are fewer than the store has counted, there are no more.
            self.coming -= len(messages) or count
            for at, message in enumerate(messages):
                message.queue = self
                self.bytes += message.size
                if what == "ready":
                    self._wait_again(message)
                    continue
                self.delayed.add(dues[at], message)
                if self.tail:
                    # When it is due it waits in the store too, where it is in memory already.
                    self._ahead.add(message.place)
            left = count - len(messages)
            if messages and left > 0:
                last = dues[-1] if dues else None
                self._recall(what, left, priority, messages[-1].place, last)
            if self.coming:
                return
            self._reconsider()
            first = self.delayed.next()
            if first is not None:
                self._alarm.set(first)
            self.dispatch()

        self.store.fetch(
            Fetch(
                self.key,
                what,
                recalled,
                count=min(count, _RECALLED),
                octets=self.policy.window_bytes,
                priority=priority,
                after=after,
                # None can be due before 1970.
                due=-self.host.broker.epoch if due is None else due,
            )
        )

    # Taking messages in.

    def filled_by(self, message: Message, _session: Session | None) -> Sequence[Queue]:
        """Return the queues that a message of a session would wait in: `check_room` of each."""
        if goes_nowhere(message.terms, self._remembered, self.policy, self.host.broker.now):
            return ()
        return (self,)

    def check_room(self, count: int, size: int) -> None:
        """Raise `RemoteProtocolError` if a `reject` queue has no room for that many more."""
        if self.policy.overflow == "reject" and self._over(count, size):
            limits = [
                f"{limit} {unit}"
                for limit, unit in (
                    (self.policy.max_messages, "messages"),
                    (self.policy.max_bytes, "octets"),
                )
                if limit is not None
            ]
            raise RemoteProtocolError(
                "queue is full",
                f"{self.name} holds {self.count} messages with {self.octets} "
                f"octets; its policy allows {' and '.join(limits)}",
            )

    def _over(self, count: int, size: int) -> bool:
        policy = self.policy
        return (policy.max_messages is not None and self.count + count > policy.max_messages) or (
            policy.max_bytes is not None and self.octets + size > policy.max_bytes
        )

    def admit(self, message: Message, session: Session | None) -> None:
        """Take a new message that may have terms: drop a repetition, delay, expire, or `put` it."""
        terms = message.terms
        if terms is None:
            self.put(message, session)
            return
        if terms.incoming:
            now = self.host.broker.now
            if terms.dedup_id is not None and self._repeats(message, terms.dedup_id):
                self.repeated_count += 1
                return
            if terms.due > now:
                self._delay(message, session)
                return
            message.terms = terms = terms.settled()
            if terms is None:
                self.put(message, session)
                return
        if terms.expires != NEVER and terms.expires <= self.host.broker.now:
            self.put_count += 1
            message.queue = self
            self.bytes += message.size
            self.drop_expired(message)
            return
        if terms.group is not None:
            self._assign().choosy = True
        self.put(message, session)

    def _repeats(self, message: Message, dedup_id: str) -> bool:
        policy = self.policy
        if self._remembered is None:
            self._remembered = Remembered(self.store, self.key)
        return self._remembered.repeats(
            dedup_id,
            self.host.broker.now,
            policy.dedup_window,
            policy.dedup_ids,
            persistent=message.persistent,
        )

    def remember(self, dedup_id: str, seen: float) -> None:
        """Remember a dedup-id that the store has kept; the oldest have to come first."""
        if self._remembered is None:
            self._remembered = Remembered(self.store, self.key)
        self._remembered.restore(dedup_id, seen)

    def put(self, message: Message, session: Session | None) -> None:
        """Take a new message; deliver it at once if somebody can take it.

        ``session`` is who sent it: an overflow under `block` pauses it.
        """
        message.queue = self
        message.place = self.next_place
        self.next_place += 1
        self.put_count += 1
        if self.special:
            self._put_special(message, session)
            return
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message)
        self.bytes += message.size
        takers = self.takers
        if takers and not self.ready and not self._returned and not self.tail:
            while takers:
                subscription = takers[0]
                outbox = subscription.outbox
                if subscription.open and outbox.size < outbox.high:
                    if len(takers) > 1:
                        takers.rotate(-1)
                    self.unsettled += 1
                    subscription.deliver(message)
                    return
                takers.popleft()
                subscription.park(self)
        self._keep(message)
        # Keeping it may have taken the line elsewhere, with the queue being plain no more.
        if self.takers or self.special:
            self.dispatch()

    def _put_special(self, message: Message, session: Session | None) -> None:
        if self.policy.max_age is not None:
            self._limit_age(message, self.policy.max_age)
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message)
        self.bytes += message.size
        for follower in self.followers:
            follower.follow(message)
        assignment = self.assignment
        if assignment is None or self.paused or self.coming:
            self._keep(message)
            self.dispatch()
        elif (self.tail and _priority(message) <= NORMAL) or not assignment.give(message):
            # Whoever stands in line does not want it, so there is nothing to give out.
            self._keep(message)
        elif self.tail and message.stored:
            self._ahead.add(message.place)
        if self.bounded:
            self._bound(session)

    def _limit_age(self, message: Message, age: float) -> None:
        expires = self.host.broker.now + age
        terms = message.terms
        if terms is None:
            message.terms = Terms(expires=expires)
        elif terms.expires > expires:
            message.terms = terms = terms.copy()
            terms.expires = expires

    def _keep(self, message: Message) -> None:
        """Have a new message wait, in the window or in the tail."""
        terms = message.terms
        assignment = self.assignment if terms is None else self._assign()
        if self.windowed:
            waiting = len(self.ready) if assignment is None else assignment.size_of(NORMAL)
            if _priority(message) != NORMAL:
                # Only what is of the normal priority has a tail.
                if self.tail and message.stored:
                    self._ahead.add(message.place)
            elif (
                self.tail
                or waiting >= self.policy.window_messages
                or self.bytes > self.policy.window_bytes
            ):
                self._leave_to_store(message)
                return
        if assignment is None:
            self.ready.append(message)
            return
        assignment.add(message)
        if terms is not None and terms.expires != NEVER:
            self._expect_expiry(message, terms.expires)

    def _leave_to_store(self, message: Message) -> None:
        if not message.stored:
            message.stored = True
            self.store.put(self.key, message)
        self.bytes -= message.size
        if not self.tail:
            self._edge = message.place - 1
        self.tail += 1
        self._tail_bytes += message.size
        self._page()

    def _bound(self, session: Session | None) -> None:
        if not self._over(0, 0):
            return
        if self.policy.overflow == "drop-head":
            while self._over(0, 0):
                oldest = self._take_oldest()
                if oldest is None:
                    return
                self.host.dead_letters.file(oldest, "overflow", "")
        elif session is not None:
            # Under `reject` check_room was asked before; a move or a race of one transaction may
            # still end here, and pausing is right for it too.
            if not self.blocked:
                self.host.broker.tell(
                    "limit", self.host, **session.who(), limit=f"{self.name} is full"
                )
            self.blocked.add(session)
            session.paused_by.add(self)
            session.halt = True

    def _take_oldest(self) -> Message | None:
        """Take what an overflow drops: what waits in the window, else what is due first.

        None if there is neither.
        """
        message = None
        if self.assignment is not None:
            message = self.assignment.take_oldest()
            if message is not None:
                self.expect_no_expiry(message)
        elif self._returned:
            message = heappop(self._returned)[1]
        elif self.ready:
            message = self.ready.popleft()
        return message or self.delayed.take(NEVER)

    # Being more than plain.

    def _assign(self) -> Assignment:
        """Return the assignment; the queue is plain no more."""
        assignment = self.assignment
        if assignment is None:
            assignment = self.assignment = Assignment(self)
            for message in self.waiting_plain():
                assignment.add(message)
            self.ready = deque()
            self._returned = []
            takers, self.takers = self.takers, deque()
            for subscription in takers:
                assignment.line_up(subscription)
            self.special = True
        return assignment

    def waiting_plain(self) -> list[Message]:
        """Return what waits in the window of a plain queue, in order."""
        return [message for _, message in sorted(self._returned, key=_place_of)] + list(self.ready)

    def maybe_plain(self) -> None:
        """Be plain again if nothing asks for more."""
        assignment = self.assignment
        if assignment is None or assignment.needed:
            return
        self.assignment = None
        for rank in assignment.ranks:
            self.takers.extend(rank.line)
        self._reconsider()

    def pause(self) -> None:
        """Deliver nothing until `resume`."""
        self.paused = True
        self._reconsider()

    def resume(self) -> None:
        """Deliver again."""
        self.paused = False
        self._reconsider()
        self.dispatch()

    # Giving messages out.

    def dispatch(self) -> None:
        """Give ready messages out, round robin over the subscriptions that can take one."""
        if self.special:
            if self.paused or self.coming:
                return
            if self.assignment is not None:
                self.assignment.dispatch()
                if self.tail:
                    self._page()
                return
        takers = self.takers
        ready = self.ready
        returned = self._returned
        while takers and (ready or returned):
            subscription = takers[0]
            outbox = subscription.outbox
            if not subscription.open or outbox.size >= outbox.high:
                takers.popleft()
                subscription.park(self)
                continue
            if len(takers) > 1:
                takers.rotate(-1)
            message = heappop(returned)[1] if returned else ready.popleft()
            self.unsettled += 1
            subscription.deliver(message)
        if self.tail:
            self._page()

    def _page(self) -> None:
        """Ask for a part of the tail when the window is down to its half.

        Also when nobody who stands in line wants anything of the window: then what they want may
        be in the tail, and it is fetched whole if need be.
        """
        window = self.policy.window_messages
        assignment = self.assignment
        waiting = len(self.ready) if assignment is None else assignment.size_of(NORMAL)
        room = window - waiting
        if self.fetching or not self.tail:
            return
        if room < window - window // 2:
            if assignment is None or not assignment.seeking:
                return
            room = max(room, window - window // 2)
        self.fetching = True
        self._asked_at = self.next_place
        self.store.fetch(
            Fetch(
                self.key,
                "ready",
                self._fetched,
                count=max(1, room),
                octets=self.policy.window_bytes,
                after=self._edge,
            )
        )

    def _fetched(self, messages: list[Message], _dues: list[float]) -> None:
        """Take a part of the tail into the window; the answer to a `Fetch`."""
        if self.gone:
            return
        self.fetching = False
        if messages:
            self._edge = max(self._edge, messages[-1].place)
            messages = [message for message in messages if message.place > self._dropped]
        elif self._asked_at == self.next_place:
            # The store has less than it had counted.
            self.tail = self._tail_bytes = 0
        if self._ahead or self._taken:
            out = self._ahead | self._taken
            messages = [message for message in messages if message.place not in out]
            self._ahead = {place for place in self._ahead if place > self._edge}
            if not self._looks:
                self._taken.clear()
        for message in messages:
            message.queue = self
            message.stored = True
            self.bytes += message.size
            self._tail_bytes -= message.size
            terms = message.terms
            assignment = self.assignment if terms is None else self._assign()
            if assignment is None:
                self.ready.append(message)
            else:
                # What was delayed may have come before it although its place is behind.
                assignment.add(message, back=True)
                if terms is not None and terms.expires != NEVER:
                    self._expect_expiry(message, terms.expires)
        self.tail -= len(messages)
        if not self.tail:
            self._ahead.clear()
        self.dispatch()
        if self.bounded:
            # While all was in the store there was nothing to drop.
            self._bound(None)

    # Walking over the tail.

    def tail_priorities(self) -> list[int]:
        """Return the priorities of which messages are in the store only, the highest first."""
        return [NORMAL] if self.tail else []

    def edge_of(self, priority: int) -> int:
        """Return the place behind which the tail of a priority begins; any number without one."""
        assert priority == NORMAL  # noqa: S101 - no other has a tail
        return self._edge

    @property
    def ahead(self) -> frozenset[int]:
        """The places behind it whose messages are in memory, or were."""
        return frozenset(self._ahead)

    def look_behind(
        self,
        priority: int,
        after: int,
        count: int,
        octets: int,
        taker: Callable[[list[Message], int], None],
    ) -> None:
        """Have a taker get what the store holds of a priority behind a place, in order.

        Some of it may be in the window by then, or delivered: `still_behind` tells what is not. The
        taker is told the last place of the answer as well; 0 if it was the end, or the queue is
        gone by then.
        """

        def answered(messages: list[Message], _dues: list[float]) -> None:
            gone = self.gone or not messages
            last = 0 if gone else messages[-1].place
            low, out = self._dropped, self._taken
            there = [m for m in messages if m.place > low and m.place not in out]
            self._looks -= 1
            if not self._looks and not self.fetching:
                self._taken.clear()
            taker([] if gone else there, last)

        self._looks += 1
        self.store.fetch(
            Fetch(
                self.key,
                "ready",
                answered,
                count=count,
                octets=octets,
                priority=priority,
                after=after,
            )
        )

    def still_behind(self, messages: Sequence[Message]) -> list[Message]:
        """Return those of the messages of an answer to `look_behind` that are in no other place.

        To be asked as soon as the answer is there.
        """
        if not self.tail:
            return []
        return [m for m in messages if m.place > self._edge and m.place not in self._ahead]

    def withdraw_behind(self, messages: Sequence[Message]) -> None:
        """Take messages out of the tail that are `still_behind`.

        What becomes of them in the store is the caller's, at once.
        """
        if not messages:
            return
        if self.fetching or self._looks:
            # An answer that is on its way has them.
            self._taken.update(message.place for message in messages)
        self.lost_count += len(messages)
        self.tail -= len(messages)
        self._tail_bytes -= sum(message.size for message in messages)
        if self.blocked:
            self._unblock()

    def drop_tail(self) -> int:
        """Drop all that is in the store only; return how many messages that were."""
        dropped = self.tail
        if dropped:
            last = self.next_place - 1
            self.store.drop(self.key, NORMAL, self._edge, last, frozenset(self._ahead))
            self.lost_count += dropped
            self.tail = self._tail_bytes = 0
            self._dropped = last
            self._ahead.clear()
            if self.blocked:
                self._unblock()
        return dropped

    # Getting messages back, or rid of them.

    def settled(self, message: Message) -> None:
        """Forget a message that was delivered: it is acknowledged."""
        self.unsettled -= 1
        self.bytes -= message.size
        if message.stored and not self.gone:
            self.store.settle(self.key, message)
        if self.blocked:
            self._unblock()

    def give_back(self, message: Message, delay: float = 0.0) -> None:
        """Take a delivered message back to its old place; the caller dispatches.

        With a ``delay`` in seconds it waits apart for so long first.
        """
        self.unsettled -= 1
        if self.gone:
            return
        message.redelivered = True
        self.redelivered_count += 1
        due = self.host.broker.now + delay if delay > 0 else 0.0
        if message.stored:
            self.store.requeue(self.key, message, due)
        if due:
            self.delayed.add(due, message)
            self._alarm.set(due)
        else:
            self._wait_again(message)

    def _wait_again(self, message: Message) -> None:
        """Have a message wait at its old place, unless it has expired meanwhile."""
        if self.has_expired(message):
            self.drop_expired(message)
            return
        terms = message.terms
        # What was delayed from the start may be younger than what waits.
        if terms is not None or (self.ready and self.ready[0].place < message.place):
            self._assign()
        if self.assignment is None:
            heappush(self._returned, (message.place, message))
            return
        self.assignment.add(message, back=True)
        if terms is not None and terms.expires != NEVER:
            self._expect_expiry(message, terms.expires)

    def reject(self, message: Message, reason: str) -> None:
        """Dead-letter a message that was delivered."""
        self.unsettled -= 1
        self.bytes -= message.size
        self.host.dead_letters.file(message, reason, message.detail, settled=True)
        if self.blocked:
            self._unblock()

    def withdraw(self, messages: Collection[Message]) -> None:
        """Take messages out that wait or are not due yet; what becomes of them is the caller's."""
        if not messages:
            return
        assignment = self.assignment
        apart = {id(message) for message in messages if message in self.delayed}
        if assignment is None:
            going = {id(message) for message in messages}
            self.ready = deque(m for m in self.ready if id(m) not in going)
            self._returned = [entry for entry in self._returned if id(entry[1]) not in going]
            heapify(self._returned)
        self.lost_count += len(messages)
        for message in messages:
            self.bytes -= message.size
            if id(message) in apart:
                self.delayed.drop(message)
            elif assignment is not None:
                assignment.take(message)
                self.expect_no_expiry(message)
        if self.blocked:
            self._unblock()
        if self.tail:
            self._page()

    def discard(self, messages: Collection[Message]) -> None:
        """Drop messages that wait or are not due yet."""
        self.withdraw(messages)
        self.store.begin_group()
        for message in messages:
            if message.stored:
                self.store.settle(self.key, message)
        self.store.end_group()

    def _unblock(self) -> None:
        if self._over(0, 0):
            return
        blocked, self.blocked = self.blocked, set()
        for session in blocked:
            session.paused_by.discard(self)
            session.resume_reading()

    # What time does.

    def _delay(self, message: Message, session: Session | None) -> None:
        """Have a new message wait apart until it is due."""
        assert message.terms is not None  # noqa: S101 - its due time is one
        message.queue = self
        message.place = self.next_place
        self.next_place += 1
        self.put_count += 1
        self.bytes += message.size
        due = message.terms.due
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message, due)
            if self.tail:
                self._ahead.add(message.place)
        self.delayed.add(due, message)
        self._alarm.set(due)
        if self.bounded:
            self._bound(session)

    def has_expired(self, message: Message) -> bool:
        """Return whether nobody may have a message any more."""
        return message.has_expired(self.host.broker.now)

    def _expect_expiry(self, message: Message, expires: float) -> None:
        self._expiries.add(expires, message)
        self._alarm.set(expires)

    def expect_no_expiry(self, message: Message) -> None:
        """Note that a message waits no more."""
        if message.terms is not None:
            self._expiries.drop(message)

    def expire(self, message: Message) -> None:
        """Take a waiting message out that has expired, and have it dropped or dead-lettered."""
        assert self.assignment is not None  # noqa: S101 - what expires waits nowhere else
        self.assignment.take(message)
        self._expiries.drop(message)
        self.drop_expired(message)

    def drop_expired(self, message: Message) -> None:
        """Have a message that waits nowhere dropped or dead-lettered: it has expired."""
        self.expired_count += 1
        self.host.dead_letters.expired(message)
        if self.blocked:
            self._unblock()

    def _ring(self) -> None:
        """Do what is due, and set the alarm for what comes next."""
        now = self.host.broker.now
        left = AT_ONCE
        ready = False
        while left and (message := self.delayed.take(now)) is not None:
            left -= 1
            ready = True
            self._come_due(message, now)
        while left and (message := self._expiries.take(now)) is not None:
            left -= 1
            self.expire(message)
        if ready:
            self.dispatch()
        if self.tail:
            self._page()
        coming = [due for due in (self.delayed.next(), self._expiries.next()) if due is not None]
        if coming:
            self._alarm.set(max(min(coming), now + BREATH))

    def _has_room(self, repetition: Message) -> bool:
        """Return whether there is room for a repetition; if not it is left out: nobody can wait."""
        full = (
            self.bounded and self.policy.overflow != "drop-head" and self._over(1, repetition.size)
        )
        return not full and not self.host.broker.memory.heavy

    def _come_due(self, message: Message, now: float) -> None:
        terms = message.terms
        if terms is not None and terms.due:
            # It is new here; what a NACK delayed is not.
            if terms.schedule is not None:
                again = terms.schedule.following(terms.due, now, self.host.broker.epoch)
                if again != NEVER:
                    copy = message.copy()
                    copy.terms = terms.settled()
                    terms.due = again
                    self.delayed.add(again, message)
                    if message.stored:
                        self.store.requeue(self.key, message, again)
                    if self._has_room(copy):
                        self.admit(copy, None)
                    return
            message.terms = terms.settled()
            if self.policy.max_age is not None:
                # Its age is that of its waiting.
                self._limit_age(message, self.policy.max_age)
            if not self.has_expired(message):
                for follower in self.followers:
                    follower.follow(message)
        if message.stored:
            self.store.requeue(self.key, message)
        self._wait_again(message)

    # Subscribers.

    def subscribe(self, subscription: Subscription) -> None:
        """Let a subscription stand in line; the caller dispatches."""
        subscription.queues.append(self)
        if subscription.browser:
            subscription.browse(self)
            if subscription.follows:
                self.followers.append(subscription)
                self._reconsider()
            return
        self.subscriptions.append(subscription)
        if subscription.demanding:
            self._assign()
        if self.assignment is not None:
            self.assignment.join(subscription)
        else:
            self.takers.append(subscription)

    def line_up(self, subscription: Subscription) -> None:
        """Let a subscription stand in line again; the caller dispatches."""
        if self.assignment is not None:
            self.assignment.line_up(subscription)
        else:
            self.takers.append(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Serve a subscription no more."""
        if subscription.browser:
            if subscription in self.followers:
                self.followers.remove(subscription)
                self._reconsider()
            return
        self.subscriptions.remove(subscription)
        if subscription in self.takers:
            self.takers.remove(subscription)
        if self.assignment is not None:
            # What was its own alone may be for others now; the caller dispatches.
            self.assignment.leave(subscription)
            self.maybe_plain()

    def holders(self) -> list[Subscription]:
        """Return the subscriptions that name it, browsers that follow included: it stays for them.

        Who has a pattern takes from what is there.
        """
        return [s for s in (*self.subscriptions, *self.followers) if not s.wild]

    @property
    def idle(self) -> bool:
        """True if nothing would be missed without it."""
        return not (
            self.depth
            or self.unsettled
            or self.delayed
            or self.paused
            or self.followers
            or any(not subscription.wild for subscription in self.subscriptions)
            or self._remembers
        )

    @property
    def _remembers(self) -> bool:
        """True while there is a dedup-id that must not come again."""
        remembered = self._remembered
        return remembered is not None and remembered.live(
            self.host.broker.now, self.policy.dedup_window
        )

    def remove(self) -> None:
        """End the queue; what it held is dropped."""
        self.gone = True
        self._alarm.stop()
        self.ready.clear()
        self._returned.clear()
        self.takers.clear()
        self.delayed.clear()
        self._expiries.clear()
        self.followers.clear()
        if self.assignment is not None:
            self.assignment.clear()
        for session in self.blocked:
            session.paused_by.discard(self)
            session.resume_reading()
        self.blocked.clear()
        self.store.forget(self.key)


def _place_of(entry: tuple[int, Message]) -> int:
    return entry[0]


def _priority(message: Message) -> int:
    return NORMAL if message.terms is None else message.terms.priority
