"""What keeps copies of a topic's messages: durable subscriptions, and queues fed by a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.queue import Queue

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.message import Message
    from stompd.broker.selector import Selector
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost


class Feed:
    """A queue that gets a copy of what is published on the topics that it is attached to."""

    __slots__ = ("no_local", "queue", "selector", "topics")

    def __init__(self, queue: Queue, selector: Selector | None = None, no_local: str = "") -> None:
        self.queue = queue
        self.selector = selector
        # The client-id whose own messages are left out.
        self.no_local = no_local
        self.topics: list[Topic] = []

    def wants(self, message: Message, session: Session | None) -> bool:
        """Return whether a message of a session is to be copied."""
        if self.queue.gone:
            return False
        if self.no_local and session is not None and session.client_id == self.no_local:
            return False
        return self.selector is None or self.selector.matches(message.properties)


class Durable:
    """A durable subscription: known by its name, whether somebody is connected to it or not.

    Its messages are in a queue of its own, so they are delivered, settled, redelivered and
    dead-lettered like those of any queue, and several subscribers share them.
    """

    __slots__ = (
        "auto_delete",
        "client_id",
        "destination",
        "feed",
        "name",
        "no_local",
        "queue",
        "selector",
        "settled",
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
        # True if it goes with its last subscriber.
        self.auto_delete = False
        # True when what its first subscriber asked for is in force.
        self.settled = False
        self.queue = Queue(host, queue_name, host.broker.settings.policies.of(destination.name))
        self.feed = Feed(self.queue, selector, client_id if no_local else "")

    def __repr__(self) -> str:
        return f"<Durable {self.client_id}/{self.name} {self.destination.name} {self.queue!r}>"

    def is_for(
        self, destination: Destination, selector: Selector | None, *, no_local: bool
    ) -> bool:
        """Return whether a SUBSCRIBE asks for this same subscription."""
        mine = None if self.selector is None else self.selector.text
        theirs = None if selector is None else selector.text
        return (self.destination.words, mine, self.no_local) == (
            destination.words,
            theirs,
            no_local,
        ) and self.destination.kind is destination.kind
