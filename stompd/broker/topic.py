"""A topic: a copy of each message to every current subscriber; without any it is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.alarm import Alarm
from stompd.broker.dedup import Remembered, goes_nowhere
from stompd.broker.delayed import Delayed
from stompd.broker.lane import AT_ONCE, BREATH
from stompd.broker.message import LARGE, Message
from stompd.broker.policy import outlives
from stompd.broker.storage import RETAINED, Fetch
from stompd.broker.terms import NEVER, NOBODY

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.durable import Feed
    from stompd.broker.policy import Policy
    from stompd.broker.queue import Queue
    from stompd.broker.sample import Sample
    from stompd.broker.session import Session
    from stompd.broker.storage import KeptQueue, Key, Store
    from stompd.broker.subscription import Subscription
    from stompd.broker.terms import Terms
    from stompd.broker.virtualhost import VirtualHost


class Topic:
    """Knows its subscribers, those by wildcard included, so that publishing is one loop.

    Beside the subscribers there are feeds: queues that keep a copy of each message. And there may
    be a retained message, which every new subscriber gets first. That one is in memory, those that
    it delays are as a queue has them; the store has both too where they are persistent.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_choosy",
        "_newcomers",
        "_place",
        "_remembered",
        "_retained_key",
        "_retained_lane",
        "_retained_place",
        "_sender",
        "_told",
        "bounded",
        "bytes",
        "delayed",
        "destination",
        "feeds",
        "gone",
        "host",
        "key",
        "name",
        "owner",
        "policy",
        "put_count",
        "repeated_count",
        "retained",
        "sample",
        "special",
        "store",
        "subscriptions",
        "tail_bytes",
        "watched",
        "windowed",
    )

    def __init__(self, host: VirtualHost, destination: Destination, policy: Policy) -> None:
        self.host = host
        self.destination = destination
        self.name = destination.name
        # What the store knows it by: for what it delays, and for what is retained.
        self.key: Key = (host.name, destination.name)
        self._retained_key: Key = (host.name, RETAINED + destination.name)
        self.store: Store = host.broker.store
        # True if the store may have something of it.
        self._told = False
        self.policy = policy
        self.owner: Session | None = None
        self.subscriptions: list[Subscription] = []
        # Those of the subscribers that do not want everything.
        self._choosy: list[Subscription] = []
        self.feeds: list[Feed] = []
        # The last value, for who subscribes later.
        self.retained: Message | None = None
        self._retained_place = 0
        # The priority of one that is on its way from the store, and the feeds that wait for it.
        self._retained_lane: int | None = None
        self._newcomers: list[Feed] = []
        # Messages that are not due yet, and how they are numbered.
        self.delayed = Delayed(self)
        self._place = 0
        # What those measure that are in memory, and the others.
        self.bytes = 0
        self.tail_bytes = 0
        self.windowed = self.store.pages
        self._alarm = Alarm(host.broker, self._ring)
        # Who sent the message at hand, if its session is not there to tell.
        self._sender = NOBODY
        self._remembered: Remembered | None = None
        self.put_count = 0
        self.repeated_count = 0
        # What looks at it once a second have told; None before the first.
        self.sample: Sample | None = None
        # True if a feed may refuse messages for lack of room.
        self.bounded = False
        # True if publishing is more than a copy to each subscriber.
        self.special = False
        # When it is looked at to see whether it is idle; None: no timer waits for that.
        self.watched: float | None = None
        self.gone = False

    def __repr__(self) -> str:
        return f"<Topic {self.name} subscriptions={len(self.subscriptions)}>"

    @property
    def count(self) -> int:
        """The messages that it has in memory: of those not due yet, and the retained one."""
        return self.delayed.here + (self.retained is not None)

    @property
    def octets(self) -> int:
        """What these measure."""
        return self.bytes + (0 if self.retained is None else self.retained.size)

    def filled_by(self, message: Message, session: Session | None) -> list[Queue]:
        """Return the queues that a message of a session would wait in, to ask them for room."""
        if goes_nowhere(message.terms, self._remembered, self.policy, self.host.broker.now):
            return []
        sender = _sender_of(session)
        return [feed.queue for feed in self.feeds if feed.wants(message, sender)]

    # Publishing.

    def admit(self, message: Message, session: Session | None) -> None:
        """Take a message that may have terms: drop a repetition, delay, retain, or `put` it."""
        terms = message.terms
        if terms is None:
            self.put(message, session)
            return
        now = self.host.broker.now
        if self.feeds and (terms.dedup_id is not None or terms.due > now):
            # What is known of it has to last as long as the copies that a feed's policy keeps.
            message.persistent = message.persistent or self._outlives(message, session)
        if terms.dedup_id is not None and self._repeats(message, terms.dedup_id, now):
            self.repeated_count += 1
            return
        if terms.due > now:
            self._delay(message, terms, session)
            return
        self._publish(message, terms, session)

    def _outlives(self, message: Message, session: Session | None) -> bool:
        """Return whether a feed that wants a message makes it persistent."""
        sender = _sender_of(session)
        return any(
            outlives(message, feed.queue.policy) and feed.wants(message, sender)
            for feed in self.feeds
        )

    def _publish(self, message: Message, terms: Terms, session: Session | None) -> None:
        # What is retained and the copies belong together.
        self.store.begin_group()
        if terms.retain is not None:
            self._give_up_retained()
        if terms.retain == "set":
            self._retain(message, terms)
        message.terms = terms.settled()
        if terms.expires > self.host.broker.now:
            self.put(message, session)
        self.store.end_group()

    def _retain(self, message: Message, terms: Terms) -> None:
        self.retained = retained = message.copy()
        retained.terms = terms.settled()
        if not retained.persistent:
            return
        self._retained_place += 1
        retained.place = self._retained_place
        retained.stored = self._told = True
        self.store.put(self._retained_key, retained)

    def _give_up_retained(self) -> None:
        retained, self.retained = self.retained, None
        if retained is not None and retained.stored:
            self.store.settle(self._retained_key, retained)
        elif self._retained_lane is not None:
            self.store.drop(self._retained_key, self._retained_lane, 0, self._retained_place, ())
            self._retained_lane = None
            self._newcomers.clear()

    def _repeats(self, message: Message, dedup_id: str, now: float) -> bool:
        if self._remembered is None:
            self._remembered = Remembered(self.store, self.key)
        policy = self.policy
        return self._remembered.repeats(
            dedup_id,
            now,
            policy.dedup_window,
            policy.dedup_ids,
            persistent=message.persistent,
        )

    def put(self, message: Message, session: Session | None) -> None:
        """Write a copy to every subscriber's outbox, in the order of the SENDs.

        ``session`` is who sent it: it is paced when a subscriber cannot keep up.
        """
        self.put_count += 1
        subscriptions = self.subscriptions
        if self.special:
            subscriptions = self._wanting(message, session)
        tail = message.tail
        if tail is None:
            if message.same is None or message.size >= LARGE:
                self._put_pieces(subscriptions, message, session)
                return
            # Joined once here instead of once for each subscriber's write.
            tail = b"".join(message.same)
        size = len(tail)
        for subscription in subscriptions:
            outbox = subscription.outbox
            if outbox.size >= outbox.high or subscription.backlog:
                subscription.hold(message, session)
                continue
            subscriber = subscription.session
            number = subscriber.deliveries + 1
            subscriber.deliveries = number
            subscription.delivered += 1
            first = subscription.template % ((number, number) if subscription.twice else number)
            parts = outbox.parts
            parts.append(first)
            parts.append(tail)
            outbox.size += size + len(first)
            if not outbox.touched:
                outbox.touched = True
                subscriber.touched.append(outbox)
        if session is not None:
            session.worked(len(subscriptions))

    def _put_pieces(
        self, subscriptions: list[Subscription], message: Message, session: Session | None
    ) -> None:
        """Write a message whose octets differ from version to version, or whose body is large."""
        for subscription in subscriptions:
            outbox = subscription.outbox
            if outbox.size >= outbox.high or subscription.backlog:
                subscription.hold(message, session)
            else:
                subscription.deliver_copy(message)
        if session is not None:
            session.worked(len(subscriptions))

    def _wanting(self, message: Message, session: Session | None) -> list[Subscription]:
        """Give copies to the feeds that want one; return the subscribers that want one."""
        sender = self._sender if session is None else _sender_of(session)
        if self.feeds:
            self.store.begin_group()
            for feed in self.feeds:
                if feed.wants(message, sender):
                    copy = message.copy()
                    if outlives(message, feed.queue.policy):
                        # Whoever sent it waits for this copy, too.
                        copy.persistent = message.persistent = True
                    feed.queue.admit(copy, session)
            self.store.end_group()
        if not self._choosy:
            return self.subscriptions
        properties = message.properties
        return [
            subscription
            for subscription in self.subscriptions
            if (subscription.selector is None or subscription.selector.matches(properties))
            and not (subscription.no_local and subscription.session.id == sender[0])
        ]

    # What time does.

    def _delay(self, message: Message, terms: Terms, session: Session | None) -> None:
        self._place += 1
        message.place = self._place
        terms.sender = _sender_of(session)
        # The store may get what is transient as well.
        self._told = True
        if message.persistent:
            message.stored = True
            self.store.put(self.key, message, terms.due)
        self.bytes += message.size
        self.delayed.add(terms.due, message)
        self._alarm.set(terms.due)

    def _ring(self) -> None:
        """Publish what is due, and set the alarm for what comes next."""
        now = self.host.broker.now
        left = AT_ONCE
        while left and (message := self.delayed.take(now)) is not None:
            left -= 1
            # It is published and gone, or delayed again, or neither of them: through a crash, too.
            self.store.begin_group()
            self._come_due(message, now)
            self.store.end_group()
        self.delayed.call()
        due = self.delayed.next()
        if due is not None:
            self._alarm.set(max(due, now + BREATH))

    def _come_due(self, message: Message, now: float) -> None:
        broker = self.host.broker
        copy = message.copy()
        terms = message.terms
        assert terms is not None  # noqa: S101 - it was delayed by them
        again = NEVER
        if terms.schedule is not None:
            again = terms.schedule.following(terms.due, now, broker.epoch)
        if again != NEVER:
            terms.due = again
            self.delayed.add(again, message)
            if message.stored:
                self.store.requeue(self.key, message, again)
            if broker.memory.heavy:
                # Nobody can wait with it, so it is left out.
                return
        else:
            self.bytes -= message.size
            if message.stored:
                self.store.settle(self.key, message)
        self._sender = terms.sender
        self._publish(copy, terms, None)
        self._sender = NOBODY

    # What the store has kept.

    def remember(self, dedup_id: str, seen: float) -> None:
        """Remember a dedup-id that the store has kept; the oldest have to come first."""
        self._told = True
        if self._remembered is None:
            self._remembered = Remembered(self.store, self.key)
        self._remembered.restore(dedup_id, seen)

    def restore(self, kept: KeptQueue) -> None:
        """Have what the store has kept of what it delays; what is due is published at once."""
        self._told = True
        self._place = kept.last_place
        if kept.delayed_count:
            self.delayed.restore(kept.delayed_count, kept.delayed_octets)

    @property
    def here(self) -> int:
        """How many messages wait in memory, beside those that are not due yet: none ever does."""
        return 0

    def claim(self, message: Message) -> None:
        """Have a message that is not due yet and came from the store: it has no queue."""

    def delayed_came(self) -> None:
        """Go on with messages that are not due yet, or were not, and came from the store."""
        self._ring()

    def restore_retained(self, kept: KeptQueue) -> None:
        """Fetch what the store has kept as the last value; nobody may subscribe until it is there.

        `Broker.loading` has those wait who try to.
        """
        self._told = True
        self._retained_place = kept.last_place
        for priority in kept.lanes:
            self._retained_lane = priority
            self.host.broker.loading.begin(self)
            self.store.fetch(
                Fetch(
                    self._retained_key,
                    "ready",
                    self._fetched_retained,
                    count=1,
                    octets=1,
                    priority=priority,
                )
            )

    def _fetched_retained(self, messages: list[Message], _dues: list[float]) -> None:
        if self._retained_lane is not None:
            # No other one has come meanwhile.
            self._retained_lane = None
            # None if the counters of the file said more than was there.
            self.retained = messages[0] if messages else None
            newcomers, self._newcomers = self._newcomers, []
            for feed in newcomers:
                self.give_last_value(feed)
        self.host.broker.loading.end(self)

    # Subscribers and feeds.

    def subscribe(self, subscription: Subscription) -> None:
        """Copy what is published from now on to a subscription, after what is retained."""
        # A new list: `put` may be walking over the old one.
        self.subscriptions = [*self.subscriptions, subscription]
        subscription.topics.append(self)
        retained = self.last_value()
        if retained is not None and (
            subscription.selector is None or subscription.selector.matches(retained.properties)
        ):
            subscription.backlog.append(retained)
            subscription.backlog_size += retained.size
        if subscription.selector is not None or subscription.no_local:
            self._choosy.append(subscription)
            self.special = True

    def last_value(self) -> Message | None:
        """Return a copy of the retained message that says so; None if there is none."""
        retained = self.retained
        if retained is None:
            return None
        if retained.has_expired(self.host.broker.now):
            self._give_up_retained()
            return None
        copy = Message(retained.head, retained.body, None, retained.persistent)
        copy.extra = {**(retained.extra or {}), "retained": "true"}
        copy.terms = terms = retained.terms
        if terms is not None and terms.expires != NEVER:
            copy.extra["expires"] = str(round((terms.expires + self.host.broker.epoch) * 1000))
        return copy

    def give_last_value(self, feed: Feed) -> None:
        """Have a queue begin with the retained message, once that has come from the store."""
        if self._retained_lane is not None:
            self._newcomers.append(feed)
            return
        retained = self.last_value()
        if retained is not None and feed.wants(retained, NOBODY):
            retained.persistent = retained.persistent or outlives(retained, feed.queue.policy)
            feed.queue.admit(retained, None)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Copy nothing more to a subscription."""
        self.subscriptions = [other for other in self.subscriptions if other is not subscription]
        if subscription in self._choosy:
            self._choosy.remove(subscription)
            self.special = bool(self._choosy or self.feeds)

    def feed(self, feed: Feed) -> None:
        """Keep copies of what is published from now on in a queue."""
        self.feeds = [*self.feeds, feed]
        feed.topics.append(self)
        self.special = True
        self.bounded = self.bounded or feed.queue.bounded

    def unfeed(self, feed: Feed) -> None:
        """Keep no more copies in a queue."""
        self.feeds = [other for other in self.feeds if other is not feed]
        self._newcomers = [other for other in self._newcomers if other is not feed]
        self.special = bool(self._choosy or self.feeds)
        self.bounded = any(other.queue.bounded for other in self.feeds)

    @property
    def idle(self) -> bool:
        """True if nothing would be missed without it: feeds find it when it is made again."""
        now = self.host.broker.now
        return not (
            (self.retained is not None and not self.retained.has_expired(now))
            or self._retained_lane is not None
            or self.delayed
            or any(not subscription.wild for subscription in self.subscriptions)
            or (
                self._remembered is not None
                and self._remembered.live(now, self.policy.dedup_window)
            )
        )

    def remove(self) -> None:
        """End the topic."""
        self.host.broker.bygone.bury_topic(self)
        self.gone = True
        self._alarm.stop()
        self.retained = None
        self._retained_lane = None
        self._newcomers.clear()
        self.delayed.clear()
        self.bytes = 0
        self.host.broker.loading.end(self)
        if self._told or (self._remembered is not None and self._remembered.kept):
            self.store.begin_group()
            self.store.forget(self.key)
            self.store.forget(self._retained_key)
            self.store.end_group()


def _sender_of(session: Session | None) -> tuple[str, str]:
    """Return who sent a message, for `no-local`: the session's id and its client-id."""
    return NOBODY if session is None else (session.id, session.client_id)
