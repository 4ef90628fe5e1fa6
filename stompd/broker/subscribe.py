"""SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.destination import SUBSCRIBED_LIMIT, Destination, Kind, parse
from stompd.broker.subscription import Subscription
from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import V10

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stompd.broker.session import Session
    from stompd.protocol.frame import Head

# SUBSCRIBE and UNSUBSCRIBE.

_FEATURES: Final = {
    "browser": "queue browsers",
    "durable": "durable subscriptions to topics",
    "selector": "selectors",
}


def subscribe(session: Session, head: Head, body: bytes) -> None:
    """Carry out SUBSCRIBE: RECEIPT first, then what already waits (SUB-12).

    Raises `RemoteProtocolError` if the subscription cannot be made (SUB-04).
    """
    session.check(head, body)
    headers = head.headers
    if session.unconfirmed and "receipt" in headers:
        # Its RECEIPT has to wait for those before it, and its MESSAGEs for its RECEIPT.
        session.postpone()
        return
    destination = parse(headers["destination"], limit=SUBSCRIBED_LIMIT)
    _refuse_unavailable(headers, destination)
    ack = headers.get("ack", "auto")
    if ack not in rules.ACK_MODES:
        raise RemoteProtocolError(
            "unknown ack mode", f'"{shown(ack)}"; it is auto, client or client-individual'
        )
    name = headers.get("id")
    named = name is not None
    key = destination.name if name is None else name
    limits = session.broker.settings.limits
    if named and len(key.encode("utf-8", "surrogateescape")) > limits.subscription_id:
        raise RemoteProtocolError(
            "subscription id over the limit", f"it may have {limits.subscription_id} octets"
        )
    present = session.subscriptions.get(key)
    if present is not None:
        # A 1.0 client that repeats itself changes nothing (AMB-40).
        if session.version == V10 and present.destination.name == destination.name:
            session.receipt(head)
            return
        raise RemoteProtocolError(
            "subscription id in use",
            f'"{shown(key)}" is subscribed to {shown(present.destination.name)}; '
            "UNSUBSCRIBE it first or take another id",
        )
    subscription = open_subscription(session, key, destination, ack, named=named, head=head)
    # The RECEIPT goes before the first MESSAGE (SUB-12).
    session.receipt(head)
    for queue in list(subscription.queues):
        queue.dispatch()


def open_subscription(
    session: Session,
    key: str,
    destination: Destination,
    ack: str,
    *,
    named: bool,
    head: Head | None,
) -> Subscription:
    """Make a subscription and connect it to its destination; the caller has it served.

    ``head`` is that of the SUBSCRIBE, None if the broker subscribes on its own.
    """
    limit = session.broker.settings.limits.subscriptions
    if len(session.subscriptions) >= limit:
        raise RemoteProtocolError("too many subscriptions", f"a connection may have {limit}")
    policy = session.broker.settings.policies.of(destination.name)
    subscription = Subscription(
        session,
        key,
        destination,
        ack=ack,
        named=named,
        prefetch_count=_number(head, "prefetch-count", policy.prefetch_count),
        prefetch_bytes=_number(head, "prefetch-bytes", policy.prefetch_bytes),
    )
    if session.broker.draining:
        subscription.retire()
    session.host.attach(subscription)
    session.subscriptions[key] = subscription
    return subscription


def unsubscribe(session: Session, head: Head, body: bytes) -> None:
    """Carry out UNSUBSCRIBE: nothing of it is delivered any more (U-01)."""
    session.check(head, body)
    subscription = _named_subscription(session, head)
    end_subscriptions(session, [subscription], blame=False)
    session.receipt(head)


def _named_subscription(session: Session, head: Head) -> Subscription:
    """Return what UNSUBSCRIBE means: by id, in 1.0 also by destination (U-03, V10-12)."""
    name = head.get("id")
    if name is None:
        text = head.get("destination")
        if text is None:
            raise RemoteProtocolError(
                "UNSUBSCRIBE without id", "STOMP 1.0 needs its id or its destination"
            )
        destination = parse(text)
        found = [
            s for s in session.subscriptions.values() if s.destination.name == destination.name
        ]
        found.sort(key=lambda subscription: subscription.named)
        if not found:
            raise RemoteProtocolError(
                "no such subscription", f'"{shown(text)}" is not subscribed on this connection'
            )
        return found[0]
    subscription = session.subscriptions.get(name)
    if subscription is None:
        raise RemoteProtocolError(
            "no such subscription", f'"{shown(name)}" is not subscribed on this connection'
        )
    return subscription


def end_subscriptions(
    session: Session, subscriptions: Iterable[Subscription], *, blame: bool
) -> None:
    """End subscriptions; what they had not settled goes back to its old place.

    All of them leave their queues before anything goes back: none may get what another one left.
    ``blame`` counts an attempt for the oldest unsettled delivery of each.
    """
    ended = list(subscriptions)
    for subscription in ended:
        del session.subscriptions[subscription.id]
        subscription.gone = True
        session.host.detach(subscription)
        subscription.backlog.clear()
        subscription.let_go()
    for subscription in ended:
        deliveries, subscription.unsettled = subscription.unsettled, {}
        for number in deliveries:
            del session.owners[number]
        subscription.return_messages(deliveries, blame=blame)


def _refuse_unavailable(headers: Mapping[str, str], destination: Destination) -> None:
    """Raise for a header that asks for what this version lacks, where ignoring it does harm.

    A browser would consume, a selector would take what is meant for others, and a durable
    subscription would lose what came while it was away.
    """
    asked = [name for name in ("browser", "durable") if _is_true(headers.get(name))]
    if destination.kind is Kind.QUEUE and "durable" in asked:
        asked.remove("durable")
    if headers.get("selector", "").strip():
        asked.append("selector")
    if asked:
        raise RemoteProtocolError(
            f"{asked[0]} is not available",
            f"this version of the server has no {_FEATURES[asked[0]]}; subscribe without the "
            f"{asked[0]} header",
        )


def _is_true(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("true", "1")


def _number(head: Head | None, name: str, default: int) -> int:
    """Return a whole number from a header; the policy's where there is none."""
    value = None if head is None else head.get(name)
    digits = (value or "").strip()
    if not digits:
        return default
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):  # noqa: PLR2004
        raise RemoteProtocolError(
            f"{name} is not a number", f'"{shown(digits)}"; it is a whole number, 0 for no limit'
        )
    return int(digits)
