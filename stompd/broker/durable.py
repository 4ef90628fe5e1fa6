"""What keeps copies of a topic's messages: durable subscriptions, and queues fed by a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.pattern import matches
from stompd.broker.queue import Queue

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.message import Message
    from stompd.broker.selector import Selector
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost

# How the names of their queues begin. No destination does, so nobody can SEND there.
DURABLE: Final = "/durable/"


def queue_of(client_id: str, name: str) -> str:
    """Return the name of the queue of a durable subscription; no two have the same."""
    return f"{DURABLE}{client_id.replace('%', '%25').replace('/', '%2F')}/{name}"


class Feed:
    """A queue that gets a copy of what is published on the topics that it is attached to."""

    __slots__ = (
        "bound",
        "client_id",
        "destination",
        "lasting",
        "no_local",
        "queue",
        "selector",
        "topics",
    )

    def __init__(
        self,
        queue: Queue,
        destination: Destination,
        selector: Selector | None = None,
        *,
        no_local: bool = False,
        client_id: str = "",
        bound: bool = False,
    ) -> None:
        self.queue = queue
        # The topic, or the pattern of topics.
        self.destination = destination
        self.selector = selector
        self.no_local = no_local
        # Whose messages are its own, for `no-local`.
        self.client_id = client_id
        # True if a SUBSCRIBE named the queue for it, as RabbitMQ binds queues to topics.
        self.bound = bound
        # False if it goes with the last of these subscriptions.
        self.lasting = not bound
        # Those of the topics that are there, but for those of which its queue has a copy already.
        self.topics: list[Topic] = []

    def takes(self, topic: Destination) -> bool:
        """Return whether a topic is one of those that feed it, if its words match."""
        # `/topic/a.b` and `/topic/a/b` have the same words.
        return self.destination.wild or self.destination.name == topic.name

    def covers(self, topic: Destination) -> bool:
        """Return whether a topic is one of those that feed it."""
        return matches(self.destination.words, topic.words) and self.takes(topic)

    def wants(self, message: Message, sender: tuple[str, str]) -> bool:
        """Return whether a message is to be copied; ``sender`` is session and client-id."""
        if self.no_local and self._is_local(sender):
            return False
        return self.selector is None or self.selector.matches(message.properties)

    def _is_local(self, sender: tuple[str, str]) -> bool:
        session, client_id = sender
        if self.client_id:
            return client_id == self.client_id
        # Without a client-id it belongs to whoever is connected to it.
        return any(other.session.id == session for other in self.queue.subscriptions)


class Durable:
    """A durable subscription: known by its name, whether somebody is connected to it or not.

    Its messages are in a queue of its own, so they are delivered, settled, redelivered and
    dead-lettered like those of any queue, and several subscribers share them.
    """

    __slots__ = (
        "auto_delete",
        "client_id",
        "destination",
        "expires_after",
        "feed",
        "goes_at",
        "name",
        "no_local",
        "queue",
        "selector",
        "user",
        "watched",
    )

    def __init__(
        self,
        host: VirtualHost,
        client_id: str,
        name: str,
        destination: Destination,
        selector: Selector | None,
        *,
        no_local: bool,
        queue_name: Destination,
    ) -> None:
        # Empty for one that is known by its name alone.
        self.client_id = client_id
        self.name = name
        # The topic, or the pattern of topics.
        self.destination = destination
        self.selector = selector
        self.no_local = no_local
        # Who has made it; None if there were no users.
        self.user: str | None = None
        # True if it goes with its last subscriber.
        self.auto_delete = False
        # Seconds without a subscriber after which it goes; None: never.
        self.expires_after: float | None = None
        # When that is, after its last subscriber has left; and whether a timer waits for it.
        self.goes_at = 0.0
        self.watched = False
        self.queue = Queue(host, queue_name, host.broker.settings.policies.of(destination.name))
        self.feed = Feed(self.queue, destination, selector, no_local=no_local, client_id=client_id)

    def __repr__(self) -> str:
        return f"<Durable {self.client_id}/{self.name} {self.destination.name} {self.queue!r}>"

    def is_for(
        self, destination: Destination, selector: Selector | None, *, no_local: bool
    ) -> bool:
        """Return whether a SUBSCRIBE asks for this same subscription."""
        mine = None if self.selector is None else self.selector.text
        theirs = None if selector is None else selector.text
        return (
            (self.destination.words, mine, self.no_local) == (destination.words, theirs, no_local)
        ) and self.feed.takes(destination)
