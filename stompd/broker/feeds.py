"""What fills queues with copies of what is published: all feeds of a virtual host.

A feed leads from a topic, or a pattern of topics, to the queue of a durable subscription, of a
virtual topic's consumers, or to one that a SUBSCRIBE bound to a topic.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stompd.broker.destination import Destination, Kind, parse
from stompd.broker.durable import Feed
from stompd.broker.pattern import PatternTree
from stompd.broker.queue import Queue

if TYPE_CHECKING:
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.subscription import Subscription
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost

# The settings name it, not a client.
_NO_LIMIT: Final = 1 << 16


class Feeds:
    """Knows them, so that a topic that is made later finds those that it feeds."""

    __slots__ = ("_fed", "_groups", "_host", "_joined", "_tree")

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        # By pattern or by the name of one topic.
        self._tree: PatternTree[Feed] = PatternTree()
        # The queues that have names for everybody and are fed by topics, and what fills them: those
        # of virtual topics' consumers, and those that a SUBSCRIBE bound to a topic.
        self._fed: dict[Queue, list[Feed]] = {}
        # The groups that subscribed to the queues of several virtual topics, by pattern of topics:
        # one is made for each that fits. And by whom that was.
        self._groups: PatternTree[str] = PatternTree()
        self._joined: dict[Subscription, list[tuple[str, tuple[str, ...]]]] = {}

    # Beginning.

    def begin(self, topic: Topic) -> None:
        """Have a new topic feed what it has to; make the queues that are to be there with it."""
        destination = topic.destination
        for feed in self._tree.match(destination.words):
            if feed.takes(destination) and not self._doubles(topic, feed):
                topic.feed(feed)
        virtual = self._host.broker.settings.virtual_topics
        for group in self._groups.match(destination.words):
            if virtual.covers(destination.words):
                name = virtual.queue_of(group, destination.name)
                self._host.find(parse(name, limit=_NO_LIMIT))

    def consume(self, queue: Queue, topic: tuple[str, ...]) -> None:
        """Have a queue get what is published on a virtual topic, given by its words."""
        # All topics of these words, whichever separators their names have.
        destination = Destination("/".join(("", *topic)), Kind.TOPIC, topic, wild=True)
        feed = Feed(queue, destination)
        self._fed[queue] = [feed]
        self.add(feed)

    def add(self, feed: Feed) -> None:
        """Have a feed get what is published on its topics, those that are made later included.

        The last value of each topic comes first.
        """
        words = feed.destination.words
        self._tree.add(words, feed)
        for topic in self._host.topic_names.match(words):
            if not feed.takes(topic.destination) or self._doubles(topic, feed):
                continue
            topic.feed(feed)
            topic.give_last_value(feed)

    def _doubles(self, topic: Topic, feed: Feed) -> bool:
        """Return whether a feed would be the second one of its queue on a topic.

        As in RabbitMQ a queue gets one copy, however many of its patterns match.
        """
        if len(self._fed.get(feed.queue, ())) < 2:  # noqa: PLR2004 - a second one
            return False
        return any(other.queue is feed.queue for other in topic.feeds)

    def join(self, pattern: Destination, subscription: Subscription) -> None:
        """Make the queues of a group that subscribes to those of several virtual topics."""
        virtual = self._host.broker.settings.virtual_topics
        joined = virtual.topics_of(pattern.name)
        if joined is None:
            return
        group, topics = joined
        self._joined.setdefault(subscription, []).append(joined)
        self._groups.add(topics, group)
        for topic in self._host.topic_names.match(topics):
            if virtual.covers(topic.destination.words):
                self._host.find(parse(virtual.queue_of(group, topic.name), limit=_NO_LIMIT))

    def _define(self, feed: Feed) -> None:
        """Have the store keep that a topic feeds a queue; the queue as well, if only for that."""
        store = self._host.broker.store
        store.begin_group()
        self._host.define(feed.queue)
        self._host.tell_store("binding", (feed.queue.name, feed.destination.name), {})
        store.end_group()

    def bind(
        self, subscription: Subscription, name: Destination, settings: QueueSettings | None
    ) -> None:
        """Connect a subscription to the queue ``name``, and have its topic feed that queue.

        Both the queue and what feeds it are made if they are not there yet. ``settings`` are what
        the queue is made with: with ``auto_delete`` it goes with its last subscriber, or what feeds
        it does if the queue was there before. Otherwise both stay.
        Raises `RemoteProtocolError` for a topic that cannot be subscribed to.
        """
        destination = subscription.destination
        self._host.router.check(destination)
        session = subscription.session
        made = self._host.made_count
        present = self._host.queues.get(name.name)
        if present is None or self._bound_feed(present, destination) is None:
            session.access.demand("create", name)
        queue = self._host.find(name)
        assert isinstance(queue, Queue)  # noqa: S101 - its name says so
        if settings is not None:
            self._host.ask(queue, settings, session, new=self._host.made_count != made)
        keeps = settings is None or not settings.auto_delete
        asked = queue.asked
        ends = asked is not None and bool(asked.auto_delete)
        if keeps and ends and (settings is None or settings.auto_delete is None):
            session.report(("durable",))
        if keeps:
            self._pin(queue)
        feed = self._bound_feed(queue, destination)
        if feed is None:
            feed = self._new_feed(queue, destination)
            feed.lasting = keeps or ends
            self.add(feed)
            if feed.lasting:
                self._define(feed)
        elif not feed.lasting and (keeps or ends):
            feed.lasting = True
            self._define(feed)
        subscription.feed = feed
        subscription.wild = False
        queue.subscribe(subscription)

    def of(self, queue: Queue) -> list[Feed]:
        """Return what fills a queue that has a name for everybody."""
        return self._fed.get(queue, [])

    def fill(self, queue: Queue) -> bool:
        """Return whether one of them fills a queue that has a name for everybody."""
        return queue in self._fed

    def restore(self, feed: Feed) -> None:
        """Have a feed of before, before any topic is there."""
        self._tree.add(feed.destination.words, feed)

    def leave(self, subscription: Subscription) -> None:
        """Make no more queues of a group for who subscribed to them."""
        for group, topics in self._joined.pop(subscription, ()):
            self._groups.remove(topics, group)

    def end_all(self, queue: Queue) -> None:
        """End what fills a queue that is removed."""
        for feed in self._fed.pop(queue, ()):
            self.end(feed)
            if feed.bound and feed.lasting:
                self._host.tell_store("binding", (queue.name, feed.destination.name), None)

    @staticmethod
    def _pin(queue: Queue) -> None:
        """Keep a queue that is fed: its consumers may stay away for as long as they like."""
        if queue.asked is None or queue.asked.expires is None:
            queue.adopt(replace(queue.policy, auto_delete_after=None))
            queue.watched = None

    def _bound_feed(self, queue: Queue, destination: Destination) -> Feed | None:
        """Return what feeds a queue from this topic, or pattern of topics; None if nothing does."""
        for feed in self._fed.get(queue, ()):
            if feed.destination.words == destination.words and feed.takes(destination):
                return feed
        return None

    def _new_feed(self, queue: Queue, destination: Destination) -> Feed:
        """Make what is to feed a queue from a topic, or from a pattern of topics."""
        feed = Feed(queue, destination, bound=True)
        self._fed.setdefault(queue, []).append(feed)
        return feed

    def restore_bound(self, queue: Queue, destination: Destination) -> None:
        """Have a queue of before filled again, before any topic is there."""
        feed = self._bound_feed(queue, destination)
        if feed is not None:
            return
        self._pin(queue)
        feed = self._new_feed(queue, destination)
        feed.lasting = True
        self._tree.add(destination.words, feed)

    def keep_bound(self, queue: Queue, destination: Destination) -> None:
        """Have a topic, or a pattern of topics, feed a queue that stays for that."""
        self._pin(queue)
        feed = self._bound_feed(queue, destination)
        if feed is None:
            feed = self._new_feed(queue, destination)
            self.add(feed)
        feed.lasting = True
        self._define(feed)

    def bound(self) -> list[Feed]:
        """Return what feeds queues because a SUBSCRIBE named queue and topic."""
        return [feed for feeds in self._fed.values() for feed in feeds if feed.bound]

    def bound_queue(self, name: str) -> Queue | None:
        """Return the queue of this name if a SUBSCRIBE bound it to a topic, None if none did."""
        queue = self._host.queues.get(f"/queue/{name}")
        return queue if queue is not None and self.is_bound(queue) else None

    def is_bound(self, queue: Queue) -> bool:
        """Return whether a SUBSCRIBE bound a queue to a topic."""
        return any(feed.bound for feed in self._fed.get(queue, ()))

    def unbind(self, feed: Feed) -> None:
        """End what feeds a queue, unless it stays or is somebody's yet."""
        queue = feed.queue
        feeds = self._fed.get(queue, [])
        if feed.lasting or feed not in feeds:
            return
        if any(other.feed is feed for other in queue.subscriptions):
            return
        feeds.remove(feed)
        if not feeds:
            del self._fed[queue]
            self._host.define(queue)
        self.end(feed)

    def end(self, feed: Feed) -> None:
        """Have a feed get nothing more."""
        self._tree.remove(feed.destination.words, feed)
        others = self._fed.get(feed.queue, ())
        for topic in feed.topics:
            topic.unfeed(feed)
            # Another one may have stood back for it.
            for other in others:
                if other.covers(topic.destination):
                    topic.feed(other)
                    break
            self._host.expect_idle(topic)

    def fed_by(self, destination: Destination) -> list[tuple[str, Feed | None]]:
        """Return the queues that a message to a topic is copied to: name, and what fills it.

        The topic need not be there; a queue that would be made with it has nothing yet.
        """
        found: dict[str, Feed | None] = {
            feed.queue.name: feed
            for feed in self._tree.match(destination.words)
            if feed.takes(destination)
        }
        topic = self._host.topics.get(destination.name)
        if topic is not None:
            found |= {feed.queue.name: feed for feed in topic.feeds}
        virtual = self._host.broker.settings.virtual_topics
        if virtual.covers(destination.words):
            for group in self._groups.match(destination.words):
                found.setdefault(virtual.queue_of(group, destination.name), None)
        return list(found.items())
