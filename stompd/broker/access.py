"""What a session may do, where that is asked for: one look at a table, or an ERROR.

All sessions with the same rights in a virtual host share one `Access`. With a SEND that is repeated
stays the `Access` that it was found to be allowed with: another one, because rules or routes have
changed or somebody else sends the same, is a reason to ask again. So an allowed SEND costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stompd.broker.destination import SUBSCRIBED_LIMIT, Destination, Kind, parse, parse_several
from stompd.broker.event import OWN
from stompd.broker.rights import EVERYTHING, named
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.dialect import QueueSettings
    from stompd.broker.queue import Queue
    from stompd.broker.rights import Grant, Right
    from stompd.broker.route import Router
    from stompd.broker.virtualtopic import VirtualTopics


# Names that were sent to; beyond that all are forgotten.
_MOST_KNOWN: Final = 10_000


class AccessRefusedError(RemoteProtocolError):
    """Somebody has not the right to a destination; nothing else is told of it."""

    def __init__(self, right: Right, name: str) -> None:
        super().__init__("access refused", f'{shown(name)} needs the right "{right}"')
        self.right = right
        self.name = name


@dataclass(frozen=True)
class Refusal:
    """Somebody who had not the right to something: for the log."""

    connection: str
    peer: str
    user: str | None
    vhost: str
    right: Right
    # A destination, or what stands for a request or a virtual host.
    destination: str


class Access:
    """What some sessions of a virtual host may do, and its routes, as they are now."""

    __slots__ = ("_queues", "_sends", "grant", "router")

    def __init__(self, grant: Grant, router: Router, queues: Mapping[str, Queue]) -> None:
        self.grant = grant
        self.router = router
        self._queues = queues
        # What may be sent to, as it was written.
        self._sends: set[str] = set()

    def may(self, right: Right, destination: Destination) -> bool:
        """Return whether the right is there for a destination, or for all in one."""
        return all(self.grant.may(right, part) for part in destination.parts or (destination,))

    def sees(self, right: Right, name: str) -> bool:
        """Return whether the right is there for what somebody's frame names.

        For what is no name at all it has to be there for everything.
        """
        try:
            destination = named(name)
        except RemoteProtocolError:
            destination = EVERYTHING
        return self.may(right, destination)

    def demand(self, right: Right, destination: Destination) -> None:
        """Raise `AccessRefusedError` unless the right is there; own temporary ones need none."""
        for part in destination.parts or (destination,):
            if not part.temporary and not self.grant.may(right, part):
                raise AccessRefusedError(right, part.name)

    def demand_made(self, destination: Destination) -> None:
        """Raise `AccessRefusedError` if it is a queue that would be made and may not be."""
        if destination.kind is Kind.QUEUE and destination.name not in self._queues:
            self.demand("create", destination)

    def demand_letters(self, settings: QueueSettings | None) -> None:
        """Raise `AccessRefusedError` if a queue's dead letters would go where one may not send."""
        if settings is not None and settings.dead_letter is not None:
            try:
                destination = parse(settings.dead_letter)
            except RemoteProtocolError:
                # A name that is none has no effect.
                return
            self.demand("send", destination)

    def demand_send(self, text: str) -> None:
        """Raise `AccessRefusedError` unless there may be sent to what ``text`` names.

        Raises `RemoteProtocolError` if it names nothing.
        """
        if text not in self._sends:
            self.demand("send", parse_several(text, limit=SUBSCRIBED_LIMIT))
            if len(self._sends) >= _MOST_KNOWN:
                self._sends.clear()
            self._sends.add(text)

    def demand_subscription(
        self,
        destination: Destination,
        virtual: VirtualTopics,
        *,
        browser: bool = False,
        queue: Destination | None = None,
    ) -> None:
        """Raise `AccessRefusedError` unless there may be subscribed to a destination.

        ``queue`` is what a topic is to be bound to, and is then taken from. A queue of consumers of
        a virtual topic gets what the topic gets, so it needs the right to that as well.
        """
        for part in destination.parts or (destination,):
            if part.name.startswith(OWN):
                self.demand("monitor", part)
                continue
            self.demand("browse" if browser else "receive", part)
            for patterns in virtual.fed_to(part.name, wild=part.wild):
                topics = [_topic(words, wild=part.wild) for words in patterns]
                if not any(self.grant.may("receive", topic) for topic in topics):
                    raise AccessRefusedError("receive", topics[0].name)
        if queue is not None:
            self.demand("receive", queue)


def _topic(words: tuple[str, ...], *, wild: bool) -> Destination:
    return Destination(f"/topic/{'.'.join(words[1:])}", Kind.TOPIC, words, wild=wild)
