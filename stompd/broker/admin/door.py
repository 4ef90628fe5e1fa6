"""Requests that come over STOMP: SEND to ``/admin/VERB``, answered by a MESSAGE to ``reply-to``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.admin.request import Caller
from stompd.broker.admin.verbs import carry_out
from stompd.broker.destination import ADMIN, SUBSCRIBED_LIMIT, Destination, Kind, parse
from stompd.broker.event import OWN, json_message
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stompd.broker.admin.errand import Reply
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.broker.virtualhost import VirtualHost
    from stompd.protocol.frame import Head


class AdminDoor:
    """Stands where the target of a SEND stands: takes a request, and puts the reply elsewhere.

    A request that is part of a transaction is carried out at COMMIT.
    """

    __slots__ = ("bounded", "destination", "gone", "host", "name")

    def __init__(self, host: VirtualHost) -> None:
        self.host = host
        self.name = ADMIN
        self.destination = Destination(ADMIN, Kind.QUEUE, ())
        self.bounded = False
        self.gone = False

    def check(self, head: Head, session: Session) -> None:
        """Raise `RemoteProtocolError` unless a SEND says where its reply is to go.

        And as a SEND to there would.
        """
        text = head.get("reply-to")
        if not text:
            raise RemoteProtocolError(
                "admin request without reply-to",
                "SUBSCRIBE to /temp-queue/NAME and give that as reply-to",
            )
        destination = parse(text, limit=SUBSCRIBED_LIMIT)
        if destination.wild or destination.name.startswith(OWN):
            raise RemoteProtocolError(
                "admin request without reply-to",
                f'"{shown(text)}" is no queue or topic that a reply can be sent to',
            )
        session.access.demand("send", destination)
        # Where routes have to lead, they have to be there.
        self.host.steps(text)

    def filled_by(self, message: Message, session: Session | None) -> Sequence[Queue]:  # noqa: ARG002 - as of a queue
        """Return none: a request is not kept."""
        return ()

    def admit(self, message: Message, session: Session) -> None:
        """Carry out a request and send what is answered, now or later.

        A reply that cannot be sent any more is dropped.
        """
        self.host.broker.observe()
        headers = message.properties
        verb = headers["destination"].removeprefix(ADMIN)
        caller = Caller(self.host, session.id, session.user, session.principal, session.peer)
        carry_out(caller, verb, message.body, lambda reply: self._answer(session, headers, reply))

    def _answer(self, session: Session, headers: dict[str, str], reply: Reply) -> None:
        if session.over:
            self.host.dropped += 1
            return
        answer = json_message(headers["reply-to"], reply)
        correlation_id = headers.get("correlation-id")
        if correlation_id is not None:
            answer.extra = {"correlation-id": correlation_id}
        try:
            target = self.host.target(headers["reply-to"], session)
            if target is not None:
                # A queue is not asked for room.
                target.put(answer, session)
                return
        except RemoteProtocolError:
            # The request has been carried out, and what is behind it in its transaction has to be.
            pass
        self.host.dropped += 1

    put = admit
