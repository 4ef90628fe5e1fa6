"""A queue: each message goes to one subscriber, and waits if there is none.

A queue is a *window* in memory and a *tail* in the store (see `tail`). With a small backlog
everything is in the window. When the window is full and the store pages, further messages are only
in the store, and come back when the window has room. Order is the order of `Message.place`; a
message that comes back from a subscriber takes its old place.

A plain queue serves whoever is next in line with what is next in order. What asks for more (see
`assignment`) takes the other road, which ``special`` leads to.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import takewhile
from typing import TYPE_CHECKING

from stompd.broker.assignment import Assignment
from stompd.broker.dedup import Remembered, goes_nowhere
from stompd.broker.delayed import SHARE, Delayed
from stompd.broker.message import Message
from stompd.broker.overflow import bound, unblock
from stompd.broker.owed import owe, repay
from stompd.broker.tail import Tail
from stompd.broker.takeover import take_over
from stompd.broker.terms import NEVER, NORMAL, Terms, priority_of
from stompd.broker.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from stompd.broker.destination import Destination
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.owed import Sender
    from stompd.broker.policy import Policy
    from stompd.broker.sample import Sample
    from stompd.broker.session import Session
    from stompd.broker.storage import KeptQueue, Key
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost


class Queue:
    """Owns the ready messages. Delivered ones belong to their subscription until settled.

    ``takers`` is the line of subscriptions that can take a message now; whoever stands first is
    asked again, because credit and room change behind the queue's back. As long as somebody stands
    in line nothing is ready, but for messages that a pause or `dispatch` itself holds.
    """

    __slots__ = (
        "__weakref__",
        "_remembered",
        "_returned",
        "asked",
        "assignment",
        "behind",
        "blocked",
        "bounded",
        "bytes",
        "coming",
        "counted",
        "dead_letter_count",
        "delayed",
        "destination",
        "expired_count",
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
        "owed",
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
        "tail_bytes",
        "takers",
        "time",
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
        self.delayed = Delayed(self)
        # What time does to those and to the ready ones.
        self.time: Timetable = Timetable(self)
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
        # How many messages wait in the store only, and what those measure that are nowhere else,
        # the delayed ones included; which they are.
        self.tail = 0
        self.tail_bytes = 0
        self.behind: Tail = Tail(self)
        self.windowed = self.store.pages
        # True while something is on its way from the store, after a restart, that was due before.
        self.coming = False
        # True if there is more to do when a message comes or leaves: there is a bound, or senders
        # are counted. Once that has begun it goes on, so that what was counted is paid back.
        self.bounded = False
        self.counted = False
        # How many messages of each sender it holds, and octets; of those that are counted.
        self.owed: dict[Sender, tuple[int, int]] = {}
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
        self.counted = self.counted or self.host.broker.quotas.counts
        self.bounded = (
            self.counted or policy.max_messages is not None or policy.max_bytes is not None
        )
        self._reconsider()

    def count_senders(self) -> None:
        """Count whose the messages are that come from now on."""
        self.adopt(self.policy)

    def _reconsider(self) -> None:
        self.special = (
            self.bounded
            or self.paused
            or self.coming
            or self.assignment is not None
            or self.policy.max_age is not None
            or bool(self.followers)
        )

    @property
    def depth(self) -> int:
        """The messages that wait, in memory or in the store; those not due yet do not count."""
        return self.here + self.tail

    @property
    def here(self) -> int:
        """The messages that wait in memory."""
        if self.assignment is not None:
            return self.assignment.count
        return len(self.ready) + len(self._returned)

    @property
    def window(self) -> int:
        """How many messages may wait in memory, beside those that are not due yet."""
        window = self.policy.window_messages
        return window - min(self.delayed.here, window // SHARE)

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
        return self.bytes + self.tail_bytes

    def oldest_place(self) -> int | None:
        """Return the place of the message that has waited longest, None if none waits."""
        if self.assignment is not None:
            first = self.assignment.oldest_place()
        elif self._returned:
            first = self._returned[0][0]
        else:
            first = self.ready[0].place if self.ready else None
        if first is None and self.tail:
            return 1 + min(stretch.edge for stretch in self.behind.stretches.values())
        return first

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

        The window is filled with what comes first. Nothing is delivered before what was due in the
        meantime is there: it may come first.
        """
        self.next_place = kept.last_place + 1
        for priority, lane in kept.lanes.items():
            if lane.count:
                self.behind.restore(priority, lane.count, lane.octets, kept.last_place)
                if priority != NORMAL:
                    self.assign()
        if kept.first_expiry is not None:
            self.behind.sweep.first = kept.first_expiry
            self.time.alarm_at(kept.first_expiry)
        self.owed = dict(kept.owed)
        if kept.delayed_count:
            self.coming = kept.first_due is None or kept.first_due <= self.host.broker.now
            self.delayed.restore(kept.delayed_count, kept.delayed_octets)
        self._reconsider()
        self.behind.call()

    def claim(self, message: Message) -> None:
        """Have a message that is not due yet and came from the store."""
        message.queue = self

    def delayed_came(self) -> None:
        """Go on with messages that are not due yet, or were not, and came from the store."""
        if self.coming:
            self.coming = False
            self._reconsider()
        self.time.ring()
        self.dispatch()

    # Taking messages in.

    def filled_by(self, message: Message, _session: Session | None) -> Sequence[Queue]:
        """Return the queues that a message of a session would wait in: `check_room` of each."""
        if goes_nowhere(message.terms, self._remembered, self.policy, self.host.broker.now):
            return ()
        return (self,)

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
            if self.counted:
                owe(self, message, session)
            self.drop_expired(message)
            return
        if terms.group is not None:
            self.assign().choosy = True
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
        if self.counted:
            owe(self, message, session)
        if self.policy.max_age is not None:
            self.limit_age(message, self.policy.max_age)
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
        elif not assignment.give(message):
            # Whoever stands in line does not want it, so there is nothing to give out.
            self._keep(message)
        if self.bounded:
            bound(self, session)

    def limit_age(self, message: Message, age: float) -> None:
        """Have a message expire after so many seconds, if not before."""
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
        assignment = self.assignment if terms is None else self.assign()
        if self.windowed:
            priority = NORMAL if terms is None else terms.priority
            behind = self.behind
            if priority in behind.stretches or behind.is_full(priority):
                if not message.stored:
                    message.stored = True
                    self.store.put(self.key, message)
                self.bytes -= message.size
                behind.leave(message, priority)
                behind.call()
                return
        if assignment is None:
            self.ready.append(message)
            return
        assignment.add(message)
        if terms is not None and terms.expires != NEVER:
            self.time.expect(message, terms.expires)

    def take_oldest(self) -> Message | None:
        """Take what an overflow drops: what waits in the window, else what is due first.

        None if there is neither.
        """
        message = None
        if self.assignment is not None:
            message = self.assignment.take_oldest()
            if message is not None:
                self.time.forget(message)
        elif self._returned:
            message = heappop(self._returned)[1]
        elif self.ready:
            message = self.ready.popleft()
        return message or self.delayed.take(NEVER)

    # Being more than plain.

    def assign(self) -> Assignment:
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
                    self.behind.call()
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
            self.behind.call()

    def take_in(self, messages: list[Message]) -> None:
        """Have messages of the tail wait in the window; the caller dispatches."""
        for message in messages:
            message.queue = self
            message.stored = True
            self.bytes += message.size
            if self.has_expired(message):
                self.drop_expired(message)
                continue
            terms = message.terms
            assignment = self.assignment if terms is None else self.assign()
            if assignment is None:
                self.ready.append(message)
                continue
            assignment.add(message, back=True)
            if terms is not None and terms.expires != NEVER:
                self.time.expect(message, terms.expires)

    def let_go(self, messages: Sequence[Message], kept: int) -> None:
        """Have messages wait in the window no more, that come behind so many of their priority."""
        if self.assignment is None:
            for _ in range(len(self.ready) - kept):
                self.ready.pop()
        else:
            for message in messages:
                self.assignment.take(message)
                self.time.forget(message)
        self.bytes -= sum(message.size for message in messages)

    def shrink(self) -> int:
        """Leave all to the store but a small part of the window; return how many messages it got.

        That is for lack of memory. Without a store that pages nothing happens.
        """
        return take_over(self, self.policy.window_messages // 16)

    def drop_tail(self) -> int:
        """Drop all that waits in the store only; return how many messages that were."""
        dropped = self.behind.clear()
        self.lost(dropped)
        return dropped

    def lost(self, count: int) -> None:
        """Note that so many were taken out that nobody had; what becomes of them is the caller's.

        In the store, too, at once.
        """
        self.lost_count += count
        if self.blocked:
            unblock(self)

    # Getting messages back, or rid of them.

    def settled(self, message: Message) -> None:
        """Forget a message that was delivered: it is acknowledged."""
        self.unsettled -= 1
        self.bytes -= message.size
        if message.stored and not self.gone:
            if self.tail:
                self.behind.forget(message, priority_of(message))
            self.store.settle(self.key, message)
        if self.owed:
            repay(self, message)
        if self.blocked:
            unblock(self)

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
            self.time.alarm_at(due)
        else:
            self.wait_again(message)

    def wait_again(self, message: Message) -> None:
        """Have a message wait at its old place, unless it has expired meanwhile."""
        if self.has_expired(message):
            self.drop_expired(message)
            return
        terms = message.terms
        if self.tail:
            self.behind.skip(message, priority_of(message))
        # What was delayed from the start may be younger than what waits.
        if (
            terms is not None
            or (self.ready and self.ready[0].place < message.place)
            or (self.tail and self.behind.edge_of(NORMAL) < message.place)
        ):
            self.assign()
        if self.assignment is None:
            heappush(self._returned, (message.place, message))
            return
        self.assignment.add(message, back=True)
        if terms is not None and terms.expires != NEVER:
            self.time.expect(message, terms.expires)

    def reject(self, message: Message, reason: str) -> None:
        """Dead-letter a message that was delivered."""
        self.unsettled -= 1
        self.bytes -= message.size
        self.host.dead_letters.file(message, reason, message.detail, settled=True)
        if self.blocked:
            unblock(self)

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
            if self.owed:
                repay(self, message)
            if id(message) in apart:
                self.delayed.drop(message)
            elif assignment is not None:
                assignment.take(message)
                self.time.forget(message)
        if self.blocked:
            unblock(self)
        if self.tail:
            self.behind.call()
        self.delayed.call()

    def discard(self, messages: Collection[Message]) -> None:
        """Drop messages that wait or are not due yet."""
        self.withdraw(messages)
        self.store.begin_group()
        for message in messages:
            if message.stored:
                self.store.settle(self.key, message)
        self.store.end_group()

    # What time does.

    def _delay(self, message: Message, session: Session | None) -> None:
        """Have a new message wait apart until it is due."""
        assert message.terms is not None  # noqa: S101 - its due time is one
        message.queue = self
        message.place = self.next_place
        self.next_place += 1
        self.put_count += 1
        self.bytes += message.size
        if self.counted:
            owe(self, message, session)
        due = message.terms.due
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message, due)
        self.delayed.add(due, message)
        self.time.alarm_at(due)
        if self.bounded:
            bound(self, session)

    def has_expired(self, message: Message) -> bool:
        """Return whether nobody may have a message any more."""
        return message.has_expired(self.host.broker.now)

    def drop_expired(self, message: Message) -> None:
        """Have a message that waits nowhere dropped or dead-lettered: it has expired."""
        self.expired_count += 1
        self.host.dead_letters.expired(message)
        if self.blocked:
            unblock(self)

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
            self.assign()
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
        self.host.broker.bygone.bury_queue(self)
        self.gone = True
        self.time.stop()
        self.ready.clear()
        self._returned.clear()
        self.takers.clear()
        self.delayed.clear()
        self.followers.clear()
        self.owed.clear()
        if self.assignment is not None:
            self.assignment.clear()
            self.assignment = None
        for session in self.blocked:
            session.paused_by.discard(self)
            session.resume_reading()
        self.blocked.clear()
        self.store.forget(self.key)


def _place_of(entry: tuple[int, Message]) -> int:
    return entry[0]
