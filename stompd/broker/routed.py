"""What a SEND goes to that reaches more than one queue or topic, or not always the same ones."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stompd.broker.overflow import check_room
from stompd.broker.policy import outlives
from stompd.broker.route import conditional, reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.route import Reached, Step
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost


class Routed:
    """Stands in a SEND's plan where a queue or a topic would; made by `VirtualHost.target`.

    It is true for as long as the virtual host has the router that it was made by.
    """

    __slots__ = ("_fixed", "_steps", "_targets", "bounded", "gone", "host", "name")

    def __init__(self, host: VirtualHost, name: str, steps: Sequence[Step]) -> None:
        self.host = host
        self.name = name
        self._steps = steps
        # Where every message goes; None if it depends on the message.
        self._fixed: list[Reached] | None = None
        if not conditional(steps):
            self._fixed = reached(steps, {})
        # The queues and topics that it found or made, by name.
        self._targets: dict[str, Queue | Topic] = {}
        # `put` asks for room itself, because only then it is known where.
        self.bounded = False
        self.gone = False

    def __repr__(self) -> str:
        return f"<Routed {self.name} targets={len(self._targets)}>"

    def filled_by(self, message: Message, session: Session | None) -> Sequence[Queue]:  # noqa: ARG002 - as of a topic
        """Return none: `put` asks those that a message reaches, `spread` is for who asks later."""
        return ()

    def put(self, message: Message, session: Session) -> None:
        """Put a copy into everything that the message reaches, or raise and put none anywhere.

        Raises `RemoteProtocolError` if one of them has no room for it.
        """
        copies = self.spread(message, session)
        asked: Counter[Queue] = Counter()
        for target, copy in copies:
            if target.bounded:
                asked.update(target.filled_by(copy, session))
        for queue, count in asked.items():
            check_room(queue, count, count * message.size)
        if not copies:
            self.host.dropped += 1
            return
        session.worked(len(copies))
        store = self.host.broker.store
        # Together or not at all, through a crash as well.
        store.begin_group()
        for target, copy in copies:
            target.admit(copy, session)
        store.end_group()

    # What a message's terms say is the matter of each queue and topic.
    admit = put

    def spread(self, message: Message, session: Session) -> list[tuple[Queue | Topic, Message]]:
        """Return what the message reaches, each with a copy of its own; what is missing is made."""
        found = self._fixed
        if found is None:
            found = reached(self._steps, message.properties)
        copies: list[tuple[Queue | Topic, Message]] = []
        for destination, routes in found:
            target = self._targets.get(destination.name)
            if target is None or target.gone:
                # What only routes lead to, they make.
                target = (
                    self.host.find(destination)
                    if routes
                    else self.host.locate(destination, session)
                )
                if target is None:
                    # Somebody's temporary destination that is gone.
                    continue
                self._targets[destination.name] = target
            copies.append((target, message.copy() if copies else message))
        for target, copy in copies:
            if outlives(copy, target.policy):
                copy.persistent = True
        return copies
