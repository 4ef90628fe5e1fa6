"""What there is, as plain values: for people, logs and requests.

Every function takes the broker and returns lists and dicts of strings and numbers; times are
seconds, sizes octets. With ``match``, a pattern with ``*`` and ``#``, only what it matches is told;
with ``vhost`` only what belongs to that virtual host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.admin.request import AdminError
from stompd.broker.destination import Destination
from stompd.broker.pattern import matches, words_of
from stompd.broker.queue import Queue
from stompd.broker.quota import Quota
from stompd.broker.rights import EVERYTHING, named, request
from stompd.broker.subscription import Subscription
from stompd.broker.walk import behind
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.durable import Feed
    from stompd.broker.policy import Policy
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost

Row = dict[str, Any]
# Whether somebody is told of a destination in a virtual host.
Sees = Callable[["VirtualHost", Destination], bool]


def everything(_host: VirtualHost, _destination: Destination) -> bool:
    """Tell of everything."""
    return True


# Where nobody keeps the time.
_NO_TIMES: Final[Row] = {"count": 0, "seconds": 0.0, "max": 0.0, "buckets": {}}


def knows(sees: Sees, host: VirtualHost, name: str) -> bool:
    """Return whether somebody may be told a name; what is none is for who may look at all."""
    try:
        destination = named(name)
    except RemoteProtocolError:
        destination = EVERYTHING
    return sees(host, destination)


def hosts(broker: Broker, vhost: str | None) -> list[VirtualHost]:
    """Return all virtual hosts in use, or the one that is named; raise `AdminError` if unknown."""
    found = [host for host in broker.hosts if vhost in (None, host.name)]
    if not found:
        raise AdminError("not-found", f'there is no virtual host "{shown(vhost or "")}"')
    return found


def _fits(match: str | None, kind: str, words: tuple[str, ...]) -> bool:
    """Return whether a pattern matches; one without a slash at its head is of this kind."""
    if match is None:
        return True
    return matches(words_of(match if match.startswith("/") else f"/{kind}/{match}"), words)


def queues_of(host: VirtualHost, match: str | None) -> list[Queue]:
    """Return the queues that have names for everybody, in the order of these."""
    found = [q for q in host.queues.values() if _fits(match, "queue", q.destination.words)]
    return sorted(found, key=lambda queue: queue.name)


def _topics_of(host: VirtualHost, match: str | None) -> list[Topic]:
    found = [t for t in host.topics.values() if _fits(match, "topic", t.destination.words)]
    return sorted(found, key=lambda topic: topic.name)


# The whole.


def status(broker: Broker) -> Row:
    """Return the totals of the broker."""
    queues = [queue for host in broker.hosts for queue in host.all_queues()]
    server = broker.settings.server
    return {
        "server": server,
        "version": server.partition("/")[2],
        "uptime": round(broker.now - broker.started_at, 3),
        "connections": len(broker.sessions),
        "connections_opened": broker.opened_count,
        "queues": sum(len(host.queues) for host in broker.hosts),
        "topics": sum(len(host.topics) for host in broker.hosts),
        "messages": sum(queue.depth for queue in queues),
        "unsettled": sum(queue.unsettled for queue in queues),
        "delayed": sum(len(queue.delayed) for queue in queues),
        "bytes": sum(queue.octets for queue in queues),
        "weight": broker.memory.weigh(),
        "memory_mark": broker.settings.memory_mark,
        "paused_producers": sum(session.paused for session in broker.sessions.values()),
        "draining": broker.draining,
        "store": _store(broker),
    }


def _store(broker: Broker) -> Row:
    """Return how the store is; of the one that keeps nothing there is little to say."""
    store = broker.store
    told = broker.store_status()
    return {
        "kind": told.get("engine", "memory"),
        "path": told.get("path"),
        "file_bytes": told.get("file_bytes"),
        "pending_bytes": told.get("pending_bytes", 0),
        "congested": store.congested,
        "full": store.full,
        "commits": told.get("commits", 0),
        "last_commit": told.get("last_commit"),
    }


def stats(broker: Broker) -> Row:
    """Return the totals with what has passed through since the start, and rates."""
    queues = [queue for host in broker.hosts for queue in host.all_queues()]
    topics = [topic for host in broker.hosts for topic in host.topics.values()]
    targets: list[Queue | Topic] = [*queues, *topics]
    samples = [target.sample for target in targets if target.sample is not None]
    bygone = broker.bygone
    return {
        **status(broker),
        "connections_closed": broker.closed_count,
        "logins_refused": broker.refused_count,
        "errors": broker.error_count,
        "subscriptions": sum(len(session.subscriptions) for session in broker.sessions.values()),
        "transactions": sum(len(session.transactions) for session in broker.sessions.values()),
        "outbox": sum(session.outbox.size for session in broker.sessions.values()),
        "received": bygone.received + sum(target.put_count for target in targets),
        "settled": bygone.settled + sum(queue.settled_count for queue in queues),
        "expired": bygone.expired + sum(queue.expired_count for queue in queues),
        "dead_lettered": bygone.dead_lettered + sum(queue.dead_letter_count for queue in queues),
        "redelivered": bygone.redelivered + sum(queue.redelivered_count for queue in queues),
        "in_rate": round(sum(sample.in_rate for sample in samples), 3),
        "out_rate": round(sum(sample.out_rate for sample in samples), 3),
        "oldest": max(
            (seconds for seconds in map(oldest, queues) if seconds is not None), default=None
        ),
        "commit": broker.store_status().get("commit_latency") or dict(_NO_TIMES),
        "loop": broker.loop_status() or dict(_NO_TIMES),
    }


def health(broker: Broker) -> Row:
    """Return whether the broker takes messages, and each of the checks that say so."""
    weight = broker.memory.weigh()
    mark = broker.settings.memory_mark
    blocked = [queue.name for host in broker.hosts for queue in host.all_queues() if queue.blocked]
    checks = [
        _check("running", not broker.draining, "the broker stops", "the broker runs"),
        _check(
            "memory",
            not broker.memory.heavy,
            f"producers wait: messages take {weight} octets of {mark}",
            f"messages take {weight} octets"
            + (f" of {mark}" if mark is not None else "; there is no mark"),
        ),
        _check(
            "queues",
            not blocked,
            f"producers wait for room in {', '.join(sorted(blocked)[:10])}",
            "no queue keeps its producers waiting",
        ),
        _check(
            "store",
            not broker.store.full,
            "there is no room on the disk: persistent messages are refused",
            "the disk is behind, so producers of persistent messages wait"
            if broker.store.congested
            else "the store takes messages",
        ),
    ]
    return {"ok": all(check["ok"] for check in checks), "checks": checks}


def _check(name: str, ok: bool, bad: str, good: str) -> Row:  # noqa: FBT001 - the outcome
    return {"name": name, "ok": ok, "text": good if ok else bad}


# Destinations.


def queues(
    broker: Broker,
    *,
    match: str | None = None,
    vhost: str | None = None,
    sees: Sees = everything,
) -> list[Row]:
    """Return a row for each queue, by virtual host and name."""
    return [
        _queue(host, queue)
        for host in hosts(broker, vhost)
        for queue in queues_of(host, match)
        if sees(host, queue.destination)
    ]


def _queue(host: VirtualHost, queue: Queue) -> Row:
    count, octets = behind(queue)
    return {
        "vhost": host.name,
        "name": queue.name,
        "ready": queue.depth,
        "inflight": queue.unsettled,
        "delayed": len(queue.delayed),
        "tail": queue.tail,
        "consumers": len(queue.subscriptions),
        "browsers": len(queue.followers),
        "bytes": queue.octets,
        "memory_messages": queue.count - count,
        "memory_bytes": queue.octets - octets,
        "disk_messages": count,
        "disk_bytes": octets,
        "received": queue.put_count,
        "settled": queue.settled_count,
        "expired": queue.expired_count,
        "dead_lettered": queue.dead_letter_count,
        "redelivered": queue.redelivered_count,
        "repeated": queue.repeated_count,
        "in_rate": in_rate(queue),
        "out_rate": out_rate(queue),
        "oldest": oldest(queue),
        "paused": queue.paused,
        "paused_producers": len(queue.blocked),
        "blocked_producers": len(queue.blocked),
        "dead_letter_queue": host.dead_letters.name_of(queue),
        "owner": None if queue.owner is None else queue.owner.id,
    }


def in_rate(target: Queue | Topic) -> float:
    """Return how many messages came to a destination a second, in the last period."""
    return 0.0 if target.sample is None else target.sample.in_rate


def out_rate(queue: Queue) -> float:
    """Return how many messages left a queue for good a second, in the last period."""
    return 0.0 if queue.sample is None else queue.sample.out_rate


def oldest(queue: Queue) -> float | None:
    """Return for how many seconds the oldest waiting message is there; None if none waits."""
    place = queue.oldest_place()
    return None if place is None else age(queue, place)


def age(queue: Queue, place: int) -> float:
    """Return for how many seconds the message at a place is there, to a second or a twentieth."""
    sample = queue.sample
    return 0.0 if sample is None else round(sample.age(place, queue.host.broker.now), 3)


def topics(
    broker: Broker,
    *,
    match: str | None = None,
    vhost: str | None = None,
    sees: Sees = everything,
) -> list[Row]:
    """Return a row for each topic, by virtual host and name."""
    return [
        {
            "vhost": host.name,
            "name": topic.name,
            "subscribers": len(topic.subscriptions),
            "durable_subscriptions": len(topic.feeds),
            "received": topic.put_count,
            "retained": topic.last_value() is not None,
            "delayed": len(topic.delayed),
            "in_rate": in_rate(topic),
        }
        for host in hosts(broker, vhost)
        for topic in _topics_of(host, match)
        if sees(host, topic.destination)
    ]


def destinations(
    broker: Broker,
    *,
    prefix: str | None = None,
    vhost: str | None = None,
    sees: Sees = everything,
) -> list[Row]:
    """Return name and kind of each queue and topic that has a name for everybody, by name."""
    found = {
        target.name: kind
        for host in hosts(broker, vhost)
        for kind, targets in (("queue", host.queues), ("topic", host.topics))
        for target in targets.values()
        if target.owner is None
        and target.name.startswith(prefix or "")
        and sees(host, target.destination)
    }
    return [{"name": name, "kind": found[name]} for name in sorted(found)]


def durables(broker: Broker, *, vhost: str | None = None, sees: Sees = everything) -> list[Row]:
    """Return a row for each durable subscription, by virtual host and name.

    One whose queue has a name for everybody is there once for each topic that the queue is bound
    to.
    """
    return [
        {
            "vhost": host.name,
            "name": name,
            "client_id": client_id,
            "topic": feed.destination.name,
            "queue": feed.queue.name,
            "selector": None if feed.selector is None else feed.selector.text,
            "ready": feed.queue.depth,
            "inflight": feed.queue.unsettled,
            "delayed": len(feed.queue.delayed),
            "bytes": feed.queue.octets,
            "consumers": len(feed.queue.subscriptions),
            "in_rate": in_rate(feed.queue),
            "out_rate": out_rate(feed.queue),
            "oldest": oldest(feed.queue),
        }
        for host in hosts(broker, vhost)
        for name, client_id, feed in sorted(_kept(host), key=_label)
        if sees(host, feed.destination)
    ]


def _kept(host: VirtualHost) -> Iterator[tuple[str, str, Feed]]:
    """Give name and client-id of what keeps messages of topics, and the feed that fills it."""
    for durable in host.durables.values():
        yield durable.name, durable.client_id, durable.feed
    for feed in host.feeds.bound():
        yield feed.queue.destination.rest, "", feed


def _label(kept: tuple[str, str, Feed]) -> tuple[str, str, str]:
    name, client_id, feed = kept
    return name, client_id, feed.destination.name


# Connections.


def connections(broker: Broker, *, vhost: str | None = None, sees: Sees = everything) -> list[Row]:
    """Return a row for each connection, oldest first."""
    return [
        {
            "id": session.id,
            "peer": session.peer,
            "user": session.user,
            "client_id": session.client_id or None,
            "version": session.version,
            "vhost": session.host.name,
            "state": session.state.value,
            "subscriptions": len(session.subscriptions),
            "transactions": len(session.transactions),
            "unsettled": len(session.owners),
            "sent": session.send_count,
            "delivered": session.deliveries,
            "outbox": session.outbox.size,
            "paused": session.paused,
            "paused_by": sorted(pauser_name(session, pauser) for pauser in session.paused_by),
            "paused_because": sorted(_reason(session, pauser) for pauser in session.paused_by),
            "age": round(broker.now - session.started_at, 3),
            "silent": round(broker.now - session.heard_at, 3),
            "unhonoured": list(session.unhonoured),
        }
        for session in sessions(broker, vhost)
        if sees(session.host, request("connections"))
    ]


def sessions(broker: Broker, vhost: str | None) -> list[Session]:
    """Return the sessions of a virtual host, None for all of them."""
    wanted = hosts(broker, vhost)
    return [session for session in broker.sessions.values() if session.host in wanted]


def pauser_name(session: Session, pauser: object) -> str:
    """Return what a session waits for that is not read from: a name, or what stands for it."""
    if isinstance(pauser, Queue):
        return pauser.name
    if isinstance(pauser, Subscription):
        return f"{pauser.session.id}/{pauser.id}"
    if isinstance(pauser, Quota):
        return f"limit of {pauser.name}"
    if pauser is session:
        return "receipt"
    return "memory-mark" if pauser is session.broker.memory else "store"


def _reason(session: Session, pauser: object) -> str:
    """Return why a session is not read from, in words."""
    name = pauser_name(session, pauser)
    if isinstance(pauser, Queue):
        return f"{name} is full"
    if isinstance(pauser, Subscription):
        return f"the subscriber {name} is slow"
    if isinstance(pauser, Quota):
        if session in pauser.blocked:
            return f"queues hold as much of {pauser.name} as they may"
        return f"{pauser.name} has sent as much as it may"
    if pauser is session:
        return "a RECEIPT waits for the disk"
    if pauser is session.broker.memory:
        return "messages take as much memory as they may"
    if pauser is session.broker.room:
        return "the disk is behind with what it has to write"
    return "what it asked for is being read from the disk"


def subscriptions(
    broker: Broker,
    *,
    match: str | None = None,
    connection: str | None = None,
    vhost: str | None = None,
    sees: Sees = everything,
) -> list[Row]:
    """Return a row for each subscription, by connection."""
    return [
        _subscription(session, subscription)
        for session in sessions(broker, vhost)
        if connection in (None, session.id)
        for subscription in session.subscriptions.values()
        if any(
            _fits(match, kind, part.words)
            for kind in ("queue", "topic")
            for part in subscription.destination.parts or (subscription.destination,)
        )
        and sees(session.host, subscription.destination)
    ]


def _subscription(session: Session, subscription: Subscription) -> Row:
    return {
        "connection": session.id,
        "id": subscription.id,
        "destination": subscription.destination.name,
        "ack": subscription.ack,
        "unsettled": len(subscription.unsettled),
        "delivered": subscription.delivered,
        "dropped": subscription.dropped,
        "held": len(subscription.backlog),
        "selector": None if subscription.selector is None else subscription.selector.text,
        "exclusive": subscription.exclusive,
        "priority": subscription.rank,
        "browser": subscription.browser,
        "durable": _durable_name(subscription),
        "prefetch_count": subscription.prefetch[0],
        "prefetch_bytes": subscription.prefetch[1],
        "open": subscription.open,
    }


def _durable_name(subscription: Subscription) -> str | None:
    if subscription.durable is not None:
        return subscription.durable.name
    feed = subscription.feed
    return None if feed is None else feed.queue.destination.rest


def transactions(broker: Broker, *, vhost: str | None = None, sees: Sees = everything) -> list[Row]:
    """Return a row for each open transaction, by connection."""
    return [
        {
            "connection": session.id,
            "id": transaction.id,
            "sends": len(transaction.sends),
            "settlements": len(transaction.settlements),
            "bytes": transaction.bytes,
        }
        for session in sessions(broker, vhost)
        for transaction in session.transactions.values()
        if sees(session.host, request("transactions"))
    ]


def users(broker: Broker) -> list[Row]:
    """Return a row for each user that is connected, by name."""
    names = Counter(session.user for session in broker.sessions.values() if session.user)
    return [{"user": name, "connections": names[name]} for name in sorted(names)]


# Settings.


def policies(broker: Broker) -> list[Row]:
    """Return a row for each policy in its order; the last one counts where no other does."""
    policies = broker.settings.policies
    rules: Iterator[tuple[str, Policy]] = ((rule.match, rule.policy) for rule in policies.rules)
    return [{"match": match, **vars(policy)} for match, policy in (*rules, ("#", policies.default))]


def routes(broker: Broker, *, vhost: str | None = None, sees: Sees = everything) -> list[Row]:
    """Return a row for each route, by virtual host and in their order."""
    return [
        {
            "vhost": host.name,
            "name": route.name,
            "match": route.match,
            "to": list(route.to),
            "when": route.when,
            "move": route.move,
            "configured": host.configured(route),
        }
        for host in hosts(broker, vhost)
        for route in host.router.routes
        if sees(host, request("routes"))
    ]
