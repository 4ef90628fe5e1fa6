"""SEND: from a head and a body to a message on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.broker.destination import Destination, parse
from stompd.broker.message import SMALL, Message
from stompd.broker.subscribe import open_subscription
from stompd.broker.transact import enlist, find_transaction
from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import NEVER_FORWARDED, Head, Shape

if TYPE_CHECKING:
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost


class SendShape:
    """What the names of a SEND's headers decide, worked out once for all heads of a shape."""

    __slots__ = (
        "destination",
        "drop",
        "lengthened",
        "persistent",
        "receipt",
        "reply_to",
        "special",
        "target",
        "text",
        "transaction",
    )

    def __init__(self, shape: Shape) -> None:
        index = shape.index
        self.destination = index.get("destination")
        # Where the last one of this shape went: most go there again.
        self.text = ""
        self.target: Queue | Topic | None = None
        self.receipt = index.get("receipt")
        self.transaction = index.get("transaction")
        self.persistent = index.get("persistent")
        self.reply_to = index.get("reply-to")
        # Whether a content-length of ours has to be added.
        self.lengthened = shape.length is None
        # The header lines that are not forwarded, last first.
        self.drop = sorted(
            ((at >> 1) - 1 for name, at in index.items() if name in NEVER_FORWARDED), reverse=True
        )
        self.special = (
            self.receipt is not None or self.transaction is not None or self.reply_to is not None
        )


class SendPlan:
    """What a SEND's head decides; kept with the head, since producers repeat it."""

    __slots__ = (
        "forward",
        "host",
        "lengthened",
        "persistent",
        "receipt",
        "reply_to",
        "special",
        "target",
        "transaction",
    )

    def __init__(
        self,
        host: VirtualHost,
        target: Queue | Topic | None,
        forward: bytes | None,
        shape: SendShape,
        parts: list[str],
    ) -> None:
        self.host = host
        self.target = target
        # The header lines to forward as they are; None if they have to be encoded anew.
        self.forward = forward
        self.lengthened = shape.lengthened
        at = shape.persistent
        self.persistent = at is not None and parts[at].strip().lower() in ("true", "1")
        self.special = shape.special
        if shape.special:
            self.receipt = None if shape.receipt is None else parts[shape.receipt]
            self.transaction = None if shape.transaction is None else parts[shape.transaction]
            self.reply_to = None if shape.reply_to is None else parts[shape.reply_to]


def send(session: Session, head: Head, body: bytes) -> None:
    """Carry out SEND: route the message, or enlist it in its transaction.

    Raises `RemoteProtocolError` if it cannot be (S-08).
    """
    plan = head.plan
    if (
        not isinstance(plan, SendPlan)
        or plan.host is not session.host
        or plan.target is None
        or plan.target.gone
    ):
        plan = _plan(session, head)
    forward = plan.forward
    if forward is None:
        message = Message(head, body, None, plan.persistent)
    else:
        if plan.lengthened:
            # Its own header lines end where ours has to be added.
            forward += b"content-length:%d\n\n" % len(body) if body else b"\n"
        if len(body) < SMALL:
            message = Message(head, body, forward + body + session.end, plan.persistent)
        else:
            message = Message(head, body, None, plan.persistent)
            message.same = (forward, body, session.end)
    session.send_count += 1
    if plan.special:
        _send_special(session, message, plan)
        return
    target = plan.target
    if target is None:
        session.host.dropped += 1
        return
    if target.bounded:
        target.check_room(1, message.size)
    target.put(message, session)


def _plan(session: Session, head: Head) -> SendPlan:
    shape = head.shape.plan
    if not isinstance(shape, SendShape):
        shape = head.shape.plan = SendShape(head.shape)
    if shape.destination is None:
        raise RemoteProtocolError(
            *rules.missing("SEND", "destination", session.wire_version, head.headers)
        )
    text = head.parts[shape.destination]
    target = shape.target
    if target is None or target.gone or text != shape.text or target.host is not session.host:
        target = session.host.target(text, session)
        # A temporary destination, and one that is gone, mean something else in every session.
        if not text.startswith(("/temp-", "/remote-")):
            shape.text = text
            shape.target = target
    forward = None
    if head.plain:
        if shape.drop:
            lines = head.block.split(b"\n")
            for number in shape.drop:
                del lines[number]
            forward = b"\n".join(lines)
        else:
            forward = head.block
        forward += b"\n" if shape.lengthened else b"\n\n"
    plan = SendPlan(session.host, target, forward, shape, head.parts)
    if text == shape.text:
        head.plan = plan
    return plan


def _send_special(session: Session, message: Message, plan: SendPlan) -> None:
    """Carry out a SEND with a receipt, a transaction or a reply-to."""
    receipt = plan.receipt
    if receipt is not None:
        session.check_receipt(receipt)
    if plan.reply_to is not None and plan.reply_to.startswith(("/temp-queue/", "/temp-topic/")):
        message = _with_reply_to(session, message, parse(plan.reply_to))
    target = plan.target
    name = plan.transaction
    if name is not None:
        transaction = session.transactions.get(name) or find_transaction(session, name, "SEND")
        if target is not None:
            enlist(session, transaction, message.size)
            transaction.add(target, message)
        if receipt is not None:
            session.promise(receipt, durable=False)
        return
    if target is None:
        session.host.dropped += 1
    else:
        if target.bounded:
            target.check_room(1, message.size)
        target.put(message, session)
    if receipt is not None:
        session.promise(receipt, durable=plan.persistent)


def _with_reply_to(session: Session, message: Message, destination: Destination) -> Message:
    """Return the message with a reply-to that others can SEND to; subscribe the sender."""
    target = session.host.temporary(destination, session)
    if not any(s.destination.name == destination.name for s in session.subscriptions.values()):
        if destination.name in session.subscriptions:
            raise RemoteProtocolError(
                "subscription id in use",
                f'reply-to would subscribe under the id "{shown(destination.name)}", which belongs '
                "to another subscription",
            )
        open_subscription(session, destination.name, destination, "auto", named=True, head=None)
    changed = Message(message.head, message.body, None, message.persistent)
    changed.extra = {"reply-to": target.name}
    return changed
