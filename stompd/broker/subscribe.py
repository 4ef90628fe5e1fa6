"""SUBSCRIBE and UNSUBSCRIBE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stompd.broker.destination import Destination, Kind, parse, parse_subscribed
from stompd.broker.dialect import (
    QueueSettings,
    SubscribeOptions,
    subscribe_options,
    unsubscribe_durable,
)
from stompd.broker.durable import queue_of
from stompd.broker.event import OWN
from stompd.broker.lasting import demand_own
from stompd.broker.selector import compile_selector
from stompd.broker.subscription import Subscription
from stompd.broker.tap import TAP, Tap
from stompd.protocol import rules
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import V10

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stompd.broker.durable import Durable
    from stompd.broker.session import Session
    from stompd.protocol.frame import Head

_MALFORMED: Final = "malformed name of a durable subscription"
_AUTO_DELETE: Final = QueueSettings(auto_delete=True)


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
    if session.broker.loading.delays(session):
        return
    destination = parse_subscribed(headers["destination"])
    options = subscribe_options(head.get, head.shape.index)
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
    subscription = open_subscription(session, key, destination, ack, options, named=named)
    tap = Tap(subscription, head) if destination.name == TAP else None
    # The RECEIPT goes before the first MESSAGE (SUB-12), and says that what it takes from is on
    # disk, also if somebody else has just made it; what topics publish cannot wait for that.
    waits = not subscription.topics and not session.host.told_is_durable
    promise = session.receipt(head, durable=waits)
    if promise is not None:
        subscription.retire()
        promise.held = subscription
    if tap is not None:
        session.broker.tap(tap)
    session.report(options.foreign)
    tell_subscribed(subscription)
    if subscription.browser and options.browser_end:
        subscription.end_browsing()
    if subscription.backlog or subscription.browses_on:
        subscription.refill()
    for queue in list(subscription.queues):
        queue.dispatch()


def open_subscription(
    session: Session,
    key: str,
    destination: Destination,
    ack: str,
    options: SubscribeOptions,
    *,
    named: bool,
) -> Subscription:
    """Make a subscription and connect it to its destination; the caller has it served.

    Raises `RemoteProtocolError` for a selector that is none, for what its kind of destination
    cannot do, and over the limit.
    """
    limit = session.broker.settings.limits.subscriptions
    if len(session.subscriptions) >= limit:
        raise RemoteProtocolError("too many subscriptions", f"a connection may have {limit}")
    for quota in session.quotas:
        most = quota.rule.subscriptions
        if most is not None and quota.subscriptions >= most:
            raise RemoteProtocolError("too many subscriptions", f"{quota.name} may have {most}")
    virtual = session.broker.settings.virtual_topics
    session.access.demand_subscription(
        destination,
        virtual,
        browser=options.browser,
        queue=_queue_name(options.durable_name or "") if options.shared else None,
    )
    session.access.demand_letters(options.settings)
    is_queue = destination.kind is Kind.QUEUE
    if options.browser and not is_queue:
        raise RemoteProtocolError(
            "nothing to browse",
            f'"{shown(destination.name)}" is a topic, which holds no messages; browse a queue',
        )
    # Who names a queue for a topic takes from that queue.
    queue = f"/queue/{options.durable_name}" if options.shared else None
    policy = session.broker.settings.policies.of(queue or destination.first.name)
    count, octets = options.prefetch_count, options.prefetch_bytes
    subscription = Subscription(
        session,
        key,
        destination,
        ack=ack,
        named=named,
        prefetch_count=policy.prefetch_count if count is None else count,
        prefetch_bytes=policy.prefetch_bytes if octets is None else octets,
        selector=None if options.selector is None else compile_selector(options.selector),
        rank=options.consumer_priority,
        exclusive=options.exclusive,
        no_local=options.no_local and not is_queue,
        browser=options.browser,
        follows=not options.browser_end,
    )
    if session.broker.draining:
        subscription.retire()
    host = session.host
    if options.durable and not is_queue:
        _connect_durable(session, subscription, options)
    else:
        made = host.made_count
        host.attach(subscription)
        if options.settings is not None:
            _ask(subscription, options.settings, made)
    session.subscriptions[key] = subscription
    for quota in session.quotas:
        quota.subscriptions += 1
    return subscription


def recheck(subscription: Subscription) -> None:
    """Raise `AccessRefusedError` if a subscription would not be allowed any more."""
    session = subscription.session
    feed = subscription.feed
    session.access.demand_subscription(
        subscription.destination,
        session.broker.settings.virtual_topics,
        browser=subscription.browser,
        queue=None if feed is None else feed.queue.destination,
    )


def tell_subscribed(subscription: Subscription) -> None:
    """Tell who listens of a new subscription."""
    session = subscription.session
    session.broker.tell("subscribed", session.host, **_told(subscription), ack=subscription.ack)


def _told(subscription: Subscription) -> dict[str, str | None]:
    """Return what events say of a subscription."""
    return {
        "connection": subscription.session.id,
        "user": subscription.session.user,
        "subscription": subscription.id,
        "destination": subscription.destination.name,
    }


def _ask(subscription: Subscription, settings: QueueSettings, made: int) -> None:
    """Have the queue be as its subscriber wants it, or tell him that it is not.

    ``made`` is how many queues there had been before him.
    """
    session = subscription.session
    destination = subscription.destination
    if destination.kind is Kind.TOPIC:
        # It goes with its connection anyway, as who says auto-delete wants.
        session.report(settings.beyond(_AUTO_DELETE))
    elif destination.wild:
        session.report(settings.beyond(None))
    else:
        for queue in subscription.queues:
            session.host.ask(queue, settings, session, new=queue.number > made)


def _connect_durable(
    session: Session, subscription: Subscription, options: SubscribeOptions
) -> None:
    """Connect to a durable subscription: by client-id and name, or id, or by a name alone.

    Without either, as RabbitMQ's clients do it, it is known by its id and destination. Where they
    name a queue it is that queue.
    """
    destination = subscription.destination
    if destination.parts:
        raise RemoteProtocolError(
            "durable subscription to several topics",
            f'"{shown(destination.name)}"; take a pattern, or one for each of them',
        )
    name = options.durable_name
    if destination.temporary or destination.remote:
        raise RemoteProtocolError(
            "durable subscription to a temporary topic",
            f'"{shown(destination.name)}" ends with its connection, and so would the subscription',
        )
    if destination.name.startswith(OWN):
        raise RemoteProtocolError(
            "durable subscription to the broker's own topic",
            f'"{shown(destination.name)}"; events and statistics are for who listens now',
        )
    if name is None and not subscription.named:
        raise RemoteProtocolError(
            "durable subscription without a name",
            "SUBSCRIBE needs an id, or a durable-subscription-name",
        )
    if options.shared:
        assert name is not None  # noqa: S101 - it is what is shared
        session.host.feeds.bind(subscription, _queue_name(name), options.settings)
        return
    key = _durable_key(session.client_id, name, subscription.id, destination.name)
    # Its dead letters go to a queue of this name.
    label = _queue_name(".".join(filter(None, (key[0], name or subscription.id))))
    session.host.lasting.attach(
        subscription, key, replace(label, name=queue_of(*key)), options.settings
    )


def _queue_name(label: str) -> Destination:
    """Return the queue of a durable subscription's name; raise `RemoteProtocolError` if malformed.

    It may be that of its dead letters only.
    """
    try:
        queue_name = parse(f"/queue/{label}")
    except RemoteProtocolError as error:
        raise RemoteProtocolError(_MALFORMED, error.detail) from error
    if queue_name.wild:
        raise RemoteProtocolError(_MALFORMED, f'"{shown(label)}" has a wildcard')
    return queue_name


def _durable_key(client_id: str, name: str | None, key: str, destination: str) -> tuple[str, str]:
    if client_id:
        return client_id, name or key
    return "", name or f"{key}@{destination}"


def unsubscribe(session: Session, head: Head, body: bytes) -> None:
    """Carry out UNSUBSCRIBE: nothing of it is delivered any more (U-01).

    With ``durable:true`` a durable subscription ends for good, whether it is connected or not, and
    so does a queue that was named for a topic.
    """
    session.check(head, body)
    deletes, name, shared = unsubscribe_durable(head.get)
    told = session.host.told_count
    away = deletes and head.get("id") not in session.subscriptions
    if away and _delete_away(session, head, name, shared=shared):
        session.receipt(head, durable=True)
        return
    subscription = _named_subscription(session, head)
    durable = subscription.durable
    feed = subscription.feed
    if deletes and durable is not None and len(durable.queue.subscriptions) > 1:
        raise _in_use(durable.name)
    if deletes and feed is not None and len(feed.queue.holders()) > 1:
        raise _in_use(feed.queue.destination.rest)
    end_subscriptions(session, [subscription], blame=False)
    if deletes and durable is not None and not durable.queue.gone:
        session.host.lasting.forget(durable)
    if deletes and feed is not None and not feed.queue.gone:
        session.host.remove(feed.queue)
    session.receipt(head, durable=session.host.told_count != told)


def _delete_away(session: Session, head: Head, name: str | None, *, shared: bool) -> bool:
    """Delete what UNSUBSCRIBE means if nobody is connected to it; return whether there was any.

    Raises `RemoteProtocolError` if somebody is.
    """
    host = session.host
    if not shared or name is None:
        durable = _durable_away(session, head, name, session.client_id)
        if durable is not None:
            session.access.demand("receive", durable.destination)
            demand_own(durable, session)
            host.lasting.forget(durable)
        return durable is not None
    queue = host.feeds.bound_queue(name)
    if queue is None:
        return False
    if not queue.holders():
        session.access.demand("receive", queue.destination)
        host.remove(queue)
        return True
    if head.get("id") is None:
        # It may be this session's own: UNSUBSCRIBE of 1.0 names it by its destination.
        return False
    raise _in_use(name)


def _durable_away(session: Session, head: Head, name: str | None, client_id: str) -> Durable | None:
    """Return the durable subscription that UNSUBSCRIBE means, None if there is none of this name.

    Raises `RemoteProtocolError` if somebody is connected to it.
    """
    key = head.get("id")
    if key is None and name is None:
        return None
    text = head.get("destination")
    destination = "" if text is None else parse_subscribed(text).name
    durables = session.host.durables
    if name is None and not destination and not client_id:
        # RabbitMQ's clients may leave the destination out.
        found = [
            durable
            for durable in durables.values()
            if not durable.client_id and durable.name == f"{key}@{durable.destination.name}"
        ]
        if len(found) > 1:
            raise RemoteProtocolError(
                "UNSUBSCRIBE of several durable subscriptions",
                f'{len(found)} have the id "{shown(key or "")}"; the destination tells which',
            )
        durable = found[0] if found else None
    else:
        durable = durables.get(_durable_key(client_id, name, key or "", destination))
    if durable is None or not durable.queue.subscriptions:
        return durable
    if key is None:
        # It may be this session's own: UNSUBSCRIBE of 1.0 names it by its destination.
        return None
    raise _in_use(durable.name)


def _in_use(name: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        "durable subscription in use",
        f'"{shown(name)}" has other subscribers; it can be deleted when they have left',
    )


def _named_subscription(session: Session, head: Head) -> Subscription:
    """Return what UNSUBSCRIBE means: by id, in 1.0 also by destination (U-03, V10-12)."""
    name = head.get("id")
    if name is None:
        text = head.get("destination")
        if text is None:
            raise RemoteProtocolError(
                "UNSUBSCRIBE without id", "STOMP 1.0 needs its id or its destination"
            )
        destination = parse_subscribed(text)
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
    # What was somebody's alone, by a selector, a group or exclusively, may be for others now.
    queues = [queue for s in ended for queue in s.queues if queue.assignment is not None]
    for subscription in ended:
        del session.subscriptions[subscription.id]
        for quota in session.quotas:
            quota.subscriptions -= 1
        subscription.gone = True
        session.host.detach(subscription)
        subscription.backlog.clear()
        subscription.let_go()
    if session.broker.taps is not None:
        session.broker.untap(ended)
    for subscription in ended:
        deliveries, subscription.unsettled = subscription.unsettled, {}
        for number in deliveries:
            del session.owners[number]
        subscription.return_messages(deliveries, blame=blame)
    for queue in queues:
        queue.dispatch()
    for subscription in ended:
        session.host.left(subscription)
    for subscription in ended if session.host.watchers else ():
        session.broker.tell("unsubscribed", session.host, **_told(subscription))
