"""SEND: from a head and a body to a message on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.destination import ADMIN, Destination, parse
from stompd.broker.dialect import (
    SEND_NAMES,
    QueueSettings,
    SendOptions,
    SubscribeOptions,
    is_true,
    send_options,
)
from stompd.broker.message import SMALL, Message
from stompd.broker.overflow import check_room
from stompd.broker.queue import Queue
from stompd.broker.routed import Routed
from stompd.broker.subscribe import open_subscription, tell_subscribed
from stompd.broker.terms import NEVER, Schedule, Terms
from stompd.broker.topic import Topic
from stompd.broker.transact import enlist, find_transaction
from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import NEVER_FORWARDED, Head, Shape

if TYPE_CHECKING:
    from stompd.broker.access import Access
    from stompd.broker.admin.door import AdminDoor
    from stompd.broker.session import Session


# The plan of a head that came once.
_SEEN: Final = object()


class SendShape:
    """What the names of a SEND's headers decide, worked out once for all heads of a shape."""

    __slots__ = (
        "access",
        "destination",
        "drop",
        "lengthened",
        "optional",
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
        self.access: Access | None = None
        self.target: Queue | Topic | Routed | AdminDoor | None = None
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
        # The headers that ask for more than to be delivered.
        self.optional = [name for name in index if name in SEND_NAMES]
        self.special = (
            bool(self.optional)
            or self.receipt is not None
            or self.transaction is not None
            or self.reply_to is not None
            # There may be no room for it, or nobody to write it at once.
            or self.persistent is not None
        )


class SendPlan:
    """What a SEND's head decides; kept with the head, since producers repeat it."""

    __slots__ = (
        "access",
        "forward",
        "lengthened",
        "options",
        "persistent",
        "receipt",
        "reply_to",
        "special",
        "target",
        "terms",
        "transaction",
    )

    def __init__(
        self,
        access: Access,
        target: Queue | Topic | Routed | AdminDoor | None,
        forward: bytes | None,
        shape: SendShape,
        parts: list[str],
        options: SendOptions | None,
    ) -> None:
        # It is of one virtual host and of those who may do the same there, and replaced when the
        # routes or the rules change: then this is out of date.
        self.access = access
        self.target = target
        # The header lines to forward as they are; None if they have to be encoded anew.
        self.forward = forward
        self.lengthened = shape.lengthened
        at = shape.persistent
        if at is not None:
            self.persistent = is_true(parts[at])
        else:
            self.persistent = isinstance(target, Queue | Topic) and target.policy.persistent
        self.special = shape.special or self.persistent
        if self.special:
            self.receipt = None if shape.receipt is None else parts[shape.receipt]
            self.transaction = None if shape.transaction is None else parts[shape.transaction]
            self.reply_to = None if shape.reply_to is None else parts[shape.reply_to]
            self.options = options
            # The terms of every message with this head, if they are the same for all.
            self.terms: Terms | None = None
            if options is not None and options.simple:
                self.terms = Terms(options.priority)


def send(session: Session, head: Head, body: bytes) -> None:
    """Carry out SEND: route the message, or enlist it in its transaction.

    Raises `RemoteProtocolError` if it cannot be (S-08).
    """
    plan = head.plan
    if (
        not isinstance(plan, SendPlan)
        or plan.access is not session.access
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
    if plan.special:
        if plan.persistent and plan.transaction is None and session.broker.room.delays(session):
            return
        session.send_count += 1
        _send_special(session, message, plan)
        return
    session.send_count += 1
    target = plan.target
    if target is None:
        session.host.dropped += 1
        return
    if target.bounded:
        for queue in target.filled_by(message, session):
            check_room(queue, 1, message.size)
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
    options = None
    if shape.optional:
        options = send_options(head.get, shape.optional)
    host = session.host
    made = host.made_count
    target = shape.target
    access = session.access
    if target is None or target.gone or text != shape.text or shape.access is not access:
        if not text.startswith(ADMIN):
            access.demand_send(text)
            if options is not None:
                access.demand_letters(options.settings)
        target = host.target(text, session)
        # A temporary destination, and one that is gone, mean something else in every session.
        if "temp-queue/" not in text and "temp-topic/" not in text:
            shape.text = text
            shape.target = target
            shape.access = access
    if text.startswith(ADMIN):
        host.door.check(head, session)
    if (
        options is not None
        and options.settings is not None
        and isinstance(target, Queue)
        and target.number > made
    ):
        host.ask(target, options.settings, session, new=True)
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
    plan = SendPlan(access, target, forward, shape, head.parts, options)
    if text.startswith(ADMIN):
        # A request is carried out at once, whatever its sender says of it.
        plan.persistent = False
    if text == shape.text:
        # Most heads that differ from the one before never come again: not worth the memory.
        head.plan = plan if head.plan is _SEEN else _SEEN
    return plan


def _send_special(session: Session, message: Message, plan: SendPlan) -> None:
    """Carry out a SEND with a receipt, a transaction or a reply-to."""
    receipt = plan.receipt
    if receipt is not None:
        session.check_receipt(receipt)
    if plan.reply_to is not None and plan.reply_to.startswith(("/temp-queue/", "/temp-topic/")):
        message = _with_reply_to(session, message, parse(plan.reply_to))
    options = plan.options
    if options is not None:
        if options.foreign:
            session.report(options.foreign)
        if options.settings is not None:
            _ask(session, plan.target, options.settings)
        if plan.terms is not None:
            message.terms = plan.terms
        elif not options.plain:
            message = _with_terms(session, message, options)
    target = plan.target
    name = plan.transaction
    if name is not None:
        transaction = session.transactions.get(name) or find_transaction(session, name, "SEND")
        if target is not None:
            enlist(session, transaction, message.size)
            if isinstance(target, Routed):
                for one, copy in target.spread(message, session):
                    transaction.add(one, copy)
            else:
                transaction.add(target, message)
        if receipt is not None:
            session.promise(receipt, durable=False)
        return
    if target is None:
        session.host.dropped += 1
    else:
        if target.bounded:
            for queue in target.filled_by(message, session):
                check_room(queue, 1, message.size)
        target.admit(message, session)
    if receipt is not None:
        durable = (
            message.persistent
            # What was retained, or what is known of the queue, may be on disk.
            or (
                options is not None and (options.retain is not None or options.settings is not None)
            )
            # There it is different from message to message, and from place to place.
            or isinstance(target, Routed)
        )
        session.promise(receipt, durable=durable, sends=message.persistent)


def _ask(
    session: Session,
    target: Queue | Topic | Routed | AdminDoor | None,
    settings: QueueSettings,
) -> None:
    """Tell a session which of the settings that it asks for its queue does not have."""
    if isinstance(target, Queue):
        session.host.ask(target, settings, session, new=False)
    else:
        session.report(settings.beyond(None))


def _with_terms(session: Session, message: Message, options: SendOptions) -> Message:
    """Return the message with the terms that its headers ask for.

    MESSAGE tells when it expires, however the sender said it.
    """
    broker = session.broker
    now = broker.now
    terms = Terms(options.priority)
    if options.ttl is not None:
        terms.expires = now + options.ttl / 1000
    if options.expires is not None:
        terms.expires = min(terms.expires, options.expires / 1000 - broker.epoch)
    terms.group = options.group
    terms.dedup_id = options.dedup_id
    terms.retain = options.retain
    delay = options.delay / 1000
    if options.deliver_at is not None:
        terms.due = options.deliver_at / 1000 - broker.epoch
    elif delay:
        terms.due = now + delay
    if options.period or options.cron is not None:
        schedule = Schedule(delay, options.period / 1000, options.repeat, options.cron)
        terms.schedule = schedule
        if options.cron is not None:
            terms.due = schedule.first(now, broker.epoch)
            if terms.due == NEVER:
                raise RemoteProtocolError(
                    "AMQ_SCHEDULED_CRON never comes",
                    f'no date fits "{shown(message.head.get("AMQ_SCHEDULED_CRON") or "")}"',
                )
    terms.incoming = bool(
        terms.due or terms.schedule or terms.dedup_id is not None or terms.retain is not None
    )
    if terms.expires != NEVER:
        told = str(round((terms.expires + broker.epoch) * 1000))
        written = message.head.get("expires")
        if written is None and message.tail is not None:
            line = b"expires:%b\n" % told.encode()
            message.tail = line + message.tail
        elif written is None and message.same is not None:
            line = b"expires:%b\n" % told.encode()
            message.same = (line, *message.same)
        elif written != told:
            extra = message.extra
            message = Message(message.head, message.body, None, message.persistent)
            message.extra = {**(extra or {}), "expires": told}
    message.terms = terms
    return message


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
        options = SubscribeOptions()
        tell_subscribed(
            open_subscription(session, destination.name, destination, "auto", options, named=True)
        )
    changed = Message(message.head, message.body, None, message.persistent)
    changed.extra = {"reply-to": target.name}
    return changed
