"""What is going on, as plain values: for people, logs and later for requests.

Every function takes the broker and returns lists and dicts of strings and numbers; times are
seconds, sizes octets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stompd.broker.broker import Broker

Row = dict[str, Any]


def status(broker: Broker) -> Row:
    """Return the totals of the broker."""
    queues = [queue for host in broker.hosts for queue in host.queues.values()]
    return {
        "server": broker.settings.server,
        "connections": len(broker.sessions),
        "connections_opened": broker.opened_count,
        "queues": len(queues),
        "topics": sum(len(host.topics) for host in broker.hosts),
        "messages": sum(queue.depth for queue in queues),
        "unsettled": sum(queue.unsettled for queue in queues),
        "bytes": sum(queue.octets for queue in queues),
        "draining": broker.draining,
    }


def queues(broker: Broker) -> list[Row]:
    """Return a row for each queue, by virtual host and name."""
    return [
        {
            "vhost": host.name,
            "name": queue.name,
            "ready": queue.depth,
            "inflight": queue.unsettled,
            "tail": queue.tail,
            "consumers": len(queue.subscriptions),
            "bytes": queue.octets,
            "received": queue.put_count,
            "paused_producers": len(queue.blocked),
        }
        for host in broker.hosts
        for queue in sorted(host.queues.values(), key=lambda queue: queue.name)
    ]


def topics(broker: Broker) -> list[Row]:
    """Return a row for each topic, by virtual host and name."""
    return [
        {
            "vhost": host.name,
            "name": topic.name,
            "subscribers": len(topic.subscriptions),
            "received": topic.put_count,
        }
        for host in broker.hosts
        for topic in sorted(host.topics.values(), key=lambda topic: topic.name)
    ]


def connections(broker: Broker) -> list[Row]:
    """Return a row for each connection, oldest first."""
    return [
        {
            "id": session.id,
            "peer": session.peer,
            "user": session.user,
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
            "age": broker.now - session.started_at,
            "silent": broker.now - session.heard_at,
        }
        for session in broker.sessions.values()
    ]


def subscriptions(broker: Broker) -> list[Row]:
    """Return a row for each subscription, by connection."""
    return [
        {
            "connection": session.id,
            "id": subscription.id,
            "destination": subscription.destination.name,
            "ack": subscription.ack,
            "unsettled": len(subscription.unsettled),
            "delivered": subscription.delivered,
            "dropped": subscription.dropped,
            "held": len(subscription.backlog),
        }
        for session in broker.sessions.values()
        for subscription in session.subscriptions.values()
    ]


def transactions(broker: Broker) -> list[Row]:
    """Return a row for each open transaction, by connection."""
    return [
        {
            "connection": session.id,
            "id": transaction.id,
            "sends": len(transaction.sends),
            "settlements": len(transaction.settlements),
            "bytes": transaction.bytes,
        }
        for session in broker.sessions.values()
        for transaction in session.transactions.values()
    ]
