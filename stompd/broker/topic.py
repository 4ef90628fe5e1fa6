"""A topic: a copy of each message to every current subscriber; without any it is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.message import LARGE

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.message import Message
    from stompd.broker.policy import Policy
    from stompd.broker.session import Session
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost


class Topic:
    """Knows its subscribers, those by wildcard included, so that publishing is one loop."""

    __slots__ = (
        "bounded",
        "destination",
        "gone",
        "host",
        "name",
        "owner",
        "policy",
        "put_count",
        "subscriptions",
        "watched",
    )

    def __init__(self, host: VirtualHost, destination: Destination, policy: Policy) -> None:
        self.host = host
        self.destination = destination
        self.name = destination.name
        self.policy = policy
        self.owner: Session | None = None
        self.subscriptions: list[Subscription] = []
        self.put_count = 0
        # A topic holds no messages, so it has no limit to ask about.
        self.bounded = False
        # True while a timer waits to see whether it is idle.
        self.watched = False
        self.gone = False

    def __repr__(self) -> str:
        return f"<Topic {self.name} subscriptions={len(self.subscriptions)}>"

    def check_room(self, count: int, size: int) -> None:
        """Accept: a topic holds no messages, so there is no limit to reach."""

    def put(self, message: Message, session: Session) -> None:
        """Write a copy to every subscriber's outbox, in the order of the SENDs.

        ``session`` is who sent it: it is paced when a subscriber cannot keep up.
        """
        self.put_count += 1
        subscriptions = self.subscriptions
        tail = message.tail
        if tail is None:
            if message.same is None or message.size >= LARGE:
                self._put_pieces(message, session)
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
        session.worked(len(subscriptions))

    def _put_pieces(self, message: Message, session: Session) -> None:
        """Write a message whose octets differ from version to version, or whose body is large."""
        subscriptions = self.subscriptions
        for subscription in subscriptions:
            outbox = subscription.outbox
            if outbox.size >= outbox.high or subscription.backlog:
                subscription.hold(message, session)
            else:
                subscription.deliver_copy(message)
        session.worked(len(subscriptions))

    def subscribe(self, subscription: Subscription) -> None:
        """Copy what is published from now on to a subscription."""
        # A new list: `put` may be walking over the old one.
        self.subscriptions = [*self.subscriptions, subscription]
        subscription.topics.append(self)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Copy nothing more to a subscription."""
        self.subscriptions = [other for other in self.subscriptions if other is not subscription]

    @property
    def idle(self) -> bool:
        """True if nothing would be missed without it."""
        return all(subscription.destination.wild for subscription in self.subscriptions)

    def remove(self) -> None:
        """End the topic."""
        self.gone = True
