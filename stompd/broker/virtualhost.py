"""A name space of destinations: what `host` of CONNECT picks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stompd.broker.access import Access
from stompd.broker.alarm import LOOK
from stompd.broker.asked import adopt, report
from stompd.broker.deadletter import DeadLetters
from stompd.broker.definition import queue_record
from stompd.broker.destination import (
    ADMIN,
    SUBSCRIBED_LIMIT,
    Destination,
    Kind,
    parse,
    parse_several,
)
from stompd.broker.durable import DURABLE, Durable
from stompd.broker.event import OWN
from stompd.broker.feeds import Feeds
from stompd.broker.lasting import Lasting
from stompd.broker.pattern import NameIndex, PatternTree
from stompd.broker.queue import Queue
from stompd.broker.rights import without_users
from stompd.broker.route import Router, Step
from stompd.broker.routed import Routed
from stompd.broker.subscription import Subscription
from stompd.broker.topic import Topic
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.admin.door import AdminDoor
    from stompd.broker.broker import Broker
    from stompd.broker.definition import Record
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.policy import Settings
    from stompd.broker.principal import Principal
    from stompd.broker.rights import Grant
    from stompd.broker.route import Route
    from stompd.broker.session import Session
    from stompd.broker.storage import KeptQueue
    from stompd.broker.storage import Kind as Definition


# What exists by these names may yet be refused: it is asked for each time.
_CHECKED: Final = (OWN, "/exchange/")
# Beyond so many all are made anew.
_MOST_ACCESSES: Final = 10_000
# Seconds after which a destination that was in use is looked at again, or later.
_LOOK: Final = 1.0


class VirtualHost:
    """Owns queues and topics: makes them on first use, removes them when they are idle."""

    __slots__ = (
        "_accesses",
        "_configured",
        "_defined",
        "_patterns",
        "_queue_names",
        "broker",
        "clients",
        "dead_letters",
        "door",
        "dropped",
        "durables",
        "feeds",
        "lasting",
        "made_count",
        "name",
        "queues",
        "router",
        "told_count",
        "told_ticket",
        "topic_names",
        "topics",
        "unclaimed",
        "watchers",
    )

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.queues: dict[str, Queue] = {}
        self.topics: dict[str, Topic] = {}
        # Durable subscriptions, by client-id (empty if there is none) and name.
        self.durables: dict[tuple[str, str], Durable] = {}
        # The sessions that gave a client-id.
        self.clients: dict[str, Session] = {}
        # How many queues were ever made.
        self.made_count = 0
        # How often the store was told what something is, or is no more; and the ticket of that.
        self.told_count = 0
        self.told_ticket = 0
        # The queues of which it was told what they are.
        self._defined: set[Queue] = set()
        # What the store has under names that mean nothing as yet, by name.
        self.unclaimed: dict[str, KeptQueue] = {}
        # The routes of the settings, as they were taken over; the router may have others.
        self._configured = broker.settings.routes
        self.router = Router(self._configured)
        # What sessions may do, for all with the same rights.
        self._accesses: dict[Grant, Access] = {}
        # Messages that went nowhere because a temporary destination was gone.
        self.dropped = 0
        self.dead_letters = DeadLetters(self)
        # Subscriptions to what the broker tells about itself.
        self.watchers = 0
        # Where admin requests go.
        self.door: AdminDoor
        # To be found by the pattern of a later subscription.
        self._queue_names: NameIndex[Queue] = NameIndex()
        self.topic_names: NameIndex[Topic] = NameIndex()
        # Wildcard subscriptions, to be found by the name of a destination that is made later.
        self._patterns: PatternTree[Subscription] = PatternTree()
        # What makes and ends durable subscriptions.
        self.lasting = Lasting(self)
        # What fills queues with copies of what is published.
        self.feeds = Feeds(self)

    # What the store is told.

    def define(self, queue: Queue) -> None:
        """Have the store keep what a queue is, or forget it, if there is nothing to keep.

        To be called whenever that has changed. A queue that is nothing but its messages is made of
        those and of its name.
        """
        if queue.name.startswith(DURABLE):
            for durable in self.durables.values():
                if durable.queue is queue:
                    self.lasting.define(durable)
            return
        record = (
            None if queue.owner is not None else queue_record(queue, fed=self.feeds.fill(queue))
        )
        if record is not None:
            self.tell_store("queue", (queue.name,), record)
            self._defined.add(queue)
        elif queue in self._defined:
            self._defined.remove(queue)
            self.tell_store("queue", (queue.name,), None)

    def restored(self, queue: Queue) -> None:
        """Note that the store knows already what a queue is."""
        self._defined.add(queue)

    def tell_store(self, kind: Definition, key: tuple[str, ...], record: Record | None) -> None:
        """Have the store keep what something is, or forget it: None."""
        self.told_count += 1
        if self.broker.restoring:
            # It is the store that tells.
            return
        if record is None:
            self.broker.store.undefine(kind, (self.name, *key))
        else:
            self.broker.store.define(kind, (self.name, *key), record)
        self.told_ticket = self.broker.store.ticket()

    @property
    def told_is_durable(self) -> bool:
        """True if a crash would change nothing of what is there, whoever has made it."""
        return self.told_ticket <= self.broker.durable_ticket

    # Who may do what.

    def access(self, principal: Principal) -> Access:
        """Return what somebody may do here, as the rules and the routes are now."""
        rights = self.broker.settings.rights
        grant = without_users(principal) if rights is None else rights.grant(principal, self.name)
        access = self._accesses.get(grant)
        if access is None:
            if len(self._accesses) >= _MOST_ACCESSES:
                self._accesses.clear()
            access = self._accesses[grant] = Access(grant, self.router, self.queues)
        return access

    # Finding and making.

    def target(self, text: str, session: Session) -> Queue | Topic | Routed | AdminDoor | None:
        """Return where a SEND to ``text`` goes; made if it is not there yet.

        None stands for somebody's temporary destination that is gone with its connection: what is
        sent there is dropped, as a reply to one who left.
        Raises `RemoteProtocolError` for a name that cannot be sent to.
        """
        # What exists by this very name needs no parsing: nearly every SEND.
        known = self.queues.get(text) or self.topics.get(text)
        if known is not None and not self.router.routes and not text.startswith(_CHECKED):
            return known
        if text.startswith(ADMIN):
            return self.door
        steps = self.steps(text)
        if len(steps) == 1 and not steps[0].branches:
            return self.locate(steps[0].destination, session)
        return Routed(self, text, steps)

    def steps(self, text: str) -> list[Step]:
        """Return how a SEND to ``text`` goes on from each destination that it names.

        Raises `RemoteProtocolError` for a name that cannot be sent to.
        """
        several = parse_several(text)
        known: dict[str, Step] = {}
        return [self._step(destination, known) for destination in several.parts or (several,)]

    def _step(self, destination: Destination, known: dict[str, Step]) -> Step:
        name = destination.name
        if destination.wild:
            raise RemoteProtocolError(
                "SEND to a wildcard",
                f'"{shown(name)}"; wildcards are for SUBSCRIBE, a message goes to one destination',
            )
        if name.startswith(OWN):
            raise RemoteProtocolError(
                "SEND to the broker's own topic",
                f'"{shown(name)}"; what begins with /topic/$SYS is published by the broker alone',
            )
        if destination.temporary or destination.remote:
            # It is somebody's own: no route is meant for it.
            return Step(destination)
        return self.router.step(destination, known)

    def locate(self, destination: Destination, session: Session) -> Queue | Topic | None:
        """Return the queue or topic that a session means; None if a remote temporary is gone.

        Raises `AccessRefusedError` if the session may not make it and it is not there.
        """
        if destination.temporary:
            return self.temporary(destination, session)
        if not destination.remote:
            session.access.demand_made(destination)
        return self.find(destination)

    def find(self, destination: Destination) -> Queue | Topic | None:
        """Return the queue or topic of this name; made if missing, but for a remote temporary."""
        if destination.kind is Kind.QUEUE:
            queue = self.queues.get(destination.name)
            return queue or (None if destination.remote else self._new_queue(destination))
        topic = self.topics.get(destination.name)
        return topic or (None if destination.remote else self._new_topic(destination))

    def temporary(self, destination: Destination, session: Session) -> Queue | Topic:
        """Return a session's own temporary destination; made if it is not there yet."""
        public = parse(public_name(destination, session), limit=SUBSCRIBED_LIMIT)
        found = self.find(public)
        if found is None:
            if public.kind is Kind.QUEUE:
                found = self._new_queue(public, session)
            else:
                found = self._new_topic(public, session)
            session.temporaries.append(found)
        return found

    def _new_queue(self, destination: Destination, owner: Session | None = None) -> Queue:
        settings = self.broker.settings
        policy = settings.policies.of(destination.name)
        topic = settings.virtual_topics.topic_of(destination.name)
        if topic is not None:
            # Its consumers may stay away for as long as they like.
            policy = replace(policy, auto_delete_after=None)
        queue = Queue(self, destination, policy)
        queue.owner = owner
        self.made_count += 1
        queue.number = self.made_count
        self.queues[destination.name] = queue
        self._queue_names.add(destination.words, queue)
        if topic is not None:
            self.feeds.consume(queue, topic)
        for subscription in self._patterns.match(destination.words):
            queue.subscribe(subscription)
        self.expect_idle(queue)
        self.define(queue)
        self.broker.tell("queue-created", self, queue=queue.name, connection=_owner(queue))
        return queue

    def _new_topic(self, destination: Destination, owner: Session | None = None) -> Topic:
        topic = Topic(self, destination, self.broker.settings.policies.of(destination.name))
        topic.owner = owner
        self.topics[destination.name] = topic
        self.topic_names.add(destination.words, topic)
        for subscription in self._patterns.match(destination.words):
            topic.subscribe(subscription)
        self.feeds.begin(topic)
        self.expect_idle(topic)
        return topic

    def ask(self, queue: Queue, settings: QueueSettings, session: Session, *, new: bool) -> None:
        """Have a queue be as a client wants it that made it by naming it: ``new`` says so.

        Who wants something else of a queue that is there is told by `Session.report`.
        """
        if new:
            self.settle_settings(queue, settings)
            report(settings, session)
            self.define(queue)
        elif queue.asked != settings:
            session.report(settings.beyond(queue.asked))

    def settle_settings(self, queue: Queue, settings: QueueSettings) -> None:
        """Have a queue be as it was asked for by who made it."""
        feeds = self.feeds.of(queue)
        if feeds and settings.expires is not None:
            # It was we who kept it, not the policy; whoever made it knows better.
            queue.adopt(self.broker.settings.policies.of(queue.name))
        adopt(queue, settings)
        for feed in feeds:
            for topic in feed.topics:
                topic.bounded = topic.bounded or queue.bounded
        # It may have to be looked at earlier than the policy says.
        queue.watched = None
        self.expect_idle(queue)

    def all_queues(self) -> list[Queue]:
        """Return all its queues, those of durable subscriptions included."""
        return [*self.queues.values(), *(durable.queue for durable in self.durables.values())]

    # Subscribing.

    def attach(self, subscription: Subscription) -> None:
        """Connect a subscription to what its destination names; the caller lets it be served."""
        destination = subscription.destination
        parts = destination.parts or (destination,)
        for part in parts:
            # All that may be refused, before anything is done.
            self.router.check(part)
            if part.remote:
                raise RemoteProtocolError(
                    "SUBSCRIBE to somebody's temporary destination",
                    f'"{shown(part.name)}" is for SEND; only the connection that it belongs to '
                    "gets what arrives there",
                )
        found: dict[Queue | Topic, None] = {}
        for part in parts:
            if not part.wild:
                # Its name may be too long, so this comes before anything is counted or filed.
                target = self.locate(part, subscription.session)
                assert target is not None  # noqa: S101 - only a remote one may be gone
                found[target] = None
        for part in parts:
            if part.name.startswith(OWN):
                self.watchers += 1
            if part.wild:
                self.feeds.join(part, subscription)
                found |= dict.fromkeys(self._queue_names.match(part.words))
                found |= dict.fromkeys(self.topic_names.match(part.words))
        for target in found:
            target.subscribe(subscription)
        if destination.wild:
            # Those without a wildcard, too: beside one they do not keep what is idle.
            for part in parts:
                self._patterns.add(part.words, subscription)

    def detach(self, subscription: Subscription) -> None:
        """Disconnect a subscription from everything that serves it."""
        if subscription.durable is not None:
            subscription.durable.queue.unsubscribe(subscription)
            self.lasting.expect_return(subscription.durable)
            subscription.parked.clear()
            return
        destination = subscription.destination
        for part in destination.parts or (destination,):
            if part.name.startswith(OWN):
                self.watchers -= 1
            if subscription.wild:
                self._patterns.remove(part.words, subscription)
        self.feeds.leave(subscription)
        for queue in subscription.queues:
            queue.unsubscribe(subscription)
            if self._expires(queue):
                # Its time begins anew.
                queue.watched = None
            self.expect_idle(queue)
        for topic in subscription.topics:
            topic.unsubscribe(subscription)
            self.expect_idle(topic)
        # It stands in no line again, whatever gives it credit later.
        subscription.parked.clear()

    def left(self, subscription: Subscription) -> None:
        """Remove what goes with its last subscriber; what that one had is returned already."""
        durable = subscription.durable
        if durable is not None:
            if durable.auto_delete and not durable.queue.subscriptions and not durable.queue.gone:
                self.lasting.forget(durable)
            return
        if subscription.wild or subscription.browser:
            return
        if subscription.feed is not None:
            self.feeds.unbind(subscription.feed)
        for queue in list(subscription.queues):
            if queue.asked is None or not queue.asked.auto_delete or queue.owner is not None:
                continue
            if not (queue.gone or any(not other.wild for other in queue.subscriptions)):
                self.remove(queue)

    # Ending.

    def expect_idle(self, target: Queue | Topic, least: float = 0.0) -> None:
        """Look at a destination again when it may have been idle for as long as its policy says.

        Not before ``least`` seconds, however short that is.
        """
        after = target.policy.auto_delete_after
        if after is None or target.watched is not None or target.gone or target.owner is not None:
            return
        due = target.watched = self.broker.now + max(after, least)
        self._watch(target, due, self._puts_while_idle(target))

    def _puts_while_idle(self, target: Queue | Topic) -> int | None:
        """Return how many messages came to a destination that is idle, None if it is not idle."""
        if isinstance(target, Queue) and self._expires(target):
            # Whatever comes and waits: what its topics feed nobody may ever take.
            return None if target.paused or target.holders() else 0
        return target.put_count if target.idle else None

    def _expires(self, queue: Queue) -> bool:
        """Return whether a queue goes with what it holds when it was told how long it stays."""
        asked = queue.asked
        return asked is not None and asked.expires is not None and self.feeds.is_bound(queue)

    def _watch(self, target: Queue | Topic, due: float, puts: int | None) -> None:
        at = min(due, self.broker.now + LOOK)
        self.broker.at(at, lambda: self._remove_idle(target, due, puts))

    def _remove_idle(self, target: Queue | Topic, due: float, puts: int | None) -> None:
        """Remove a destination at ``due`` if it was found idle each time until then."""
        if target.gone or target.watched != due:
            return
        if puts != self._puts_while_idle(target):
            puts = None
        if self.broker.now < due:
            self._watch(target, due, puts)
            return
        target.watched = None
        if puts is not None:
            self.remove(target)
        else:
            self.expect_idle(target, _LOOK)

    def remove(self, target: Queue | Topic) -> None:
        """End a destination; nobody may be subscribed by name."""
        store = self.broker.store
        store.begin_group()
        if isinstance(target, Queue):
            del self.queues[target.name]
            self._queue_names.remove(target)
            self.feeds.end_all(target)
            if target in self._defined:
                self._defined.remove(target)
                self.tell_store("queue", (target.name,), None)
            for subscription in (*target.subscriptions, *target.followers):
                subscription.queues.remove(target)
                if target in subscription.parked:
                    subscription.parked.remove(target)
        else:
            del self.topics[target.name]
            self.topic_names.remove(target)
            for subscription in target.subscriptions:
                subscription.topics.remove(target)
            for feed in target.feeds:
                feed.topics.remove(target)
        target.remove()
        store.end_group()
        if isinstance(target, Queue):
            self.broker.tell("queue-deleted", self, queue=target.name, connection=_owner(target))
        # The owner knows what is its own: it is not to be a circle.
        target.owner = None

    # Routes.

    def add_route(self, route: Route) -> None:
        """Route what is sent from now on by this route as well.

        Raises `RemoteProtocolError` for a name in use, for a route that cannot be, and for one that
        closes a loop.
        """
        self._reroute(self.router.added(route))

    def remove_route(self, name: str) -> None:
        """Route nothing more by this route; raise `RemoteProtocolError` if there is none.

        One of the settings comes back when other routes are read from them.
        """
        self._reroute(self.router.removed(name))

    def configured(self, route: Route) -> bool:
        """Return whether a route is one of the settings, not one that was added since."""
        return route in self._configured

    def reconfigure(self, settings: Settings) -> list[str]:
        """Take routes and rights of new settings, and keep the routes that were added since.

        Returns the names of those that cannot be kept: the settings have a route of this name, or
        one with which it would be a loop.
        """
        if settings.routes == self._configured:
            self._reroute(self.router)
            return []
        added = [route for route in self.router.routes if not self.configured(route)]
        self._configured = settings.routes
        router = Router(settings.routes)
        lost = []
        for route in added:
            try:
                router = router.added(route)
            except RemoteProtocolError:
                lost.append(route.name)
        self._reroute(router)
        return lost

    def _reroute(self, router: Router) -> None:
        self.router = router
        # What they know of their SENDs is true for another router and other rules, and so for
        # nobody more.
        self._accesses.clear()
        for session in self.broker.sessions.values():
            if session.host is self:
                session.access = self.access(session.principal)


def _owner(queue: Queue) -> str | None:
    """Return the connection whose temporary queue it is."""
    return None if queue.owner is None else queue.owner.id


def public_name(destination: Destination, session: Session) -> str:
    """Return the name by which others SEND to a session's temporary destination."""
    kind, _, name = destination.name.removeprefix("/").partition("/")
    return f"/remote-{kind}/{session.id}/{name}"
