"""What is told once a second on ``/topic/$SYS/stats/…``, while somebody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stompd.broker.admin import rows
from stompd.broker.event import heard, publish

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.queue import Queue
    from stompd.broker.virtualhost import VirtualHost


def tell_statistics(broker: Broker) -> None:
    """Publish the statistics that somebody listens to."""
    for host in broker.hosts:
        if host.watchers:
            _tell(broker, host)


def _tell(broker: Broker, host: VirtualHost) -> None:
    time = broker.epoch_ms()
    if heard(host, "stats/broker") is not None:
        publish(host, "stats/broker", {"time": time, **rows.stats(broker)})
    if heard(host, "stats/queues") is not None:
        active = [_queue(queue) for queue in host.all_queues() if _is_active(queue)]
        publish(host, "stats/queues", {"time": time, "queues": active})
    if heard(host, "stats/connections") is not None:
        connections = [
            {
                "id": session.id,
                "user": session.user,
                "sent": session.send_count,
                "delivered": session.deliveries,
                "unsettled": len(session.owners),
                "outbox": session.outbox.size,
                "paused": session.paused,
            }
            for session in rows.sessions(broker, host.name)
        ]
        publish(host, "stats/connections", {"time": time, "connections": connections})


def _is_active(queue: Queue) -> bool:
    """Return whether a queue holds messages, or something came or went in the last second."""
    sample = queue.sample
    return bool(queue.count) or (sample is not None and bool(sample.in_rate or sample.out_rate))


def _queue(queue: Queue) -> dict[str, Any]:
    sample = queue.sample
    return {
        "name": queue.name,
        "ready": queue.depth,
        "inflight": queue.unsettled,
        "delayed": len(queue.delayed),
        "consumers": len(queue.subscriptions),
        "bytes": queue.octets,
        "in_rate": 0.0 if sample is None else sample.in_rate,
        "out_rate": 0.0 if sample is None else sample.out_rate,
        "oldest": rows.oldest(queue),
        "paused": queue.paused,
    }
