"""What Prometheus is told: totals, the busiest destinations by name, and the others together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import stompd
from stompd.broker.admin import rows

if TYPE_CHECKING:
    from stompd.broker.queue import Queue
    from stompd.broker.topic import Topic
    from stompd.server.buckets import Buckets
    from stompd.server.http.port import HttpPort
    from stompd.server.service import Service

OTHER: Final = "other"
"""Stands for all destinations that have no name of their own here."""

# Of a queue: the metric, what it is, and how it is had. Those that only grow come behind.
_QUEUE_GAUGES: Final = (
    ("stompd_queue_ready_messages", "Messages that wait.", lambda queue: queue.depth),
    (
        "stompd_queue_unsettled_messages",
        "Messages that are delivered and not settled.",
        lambda queue: queue.unsettled,
    ),
    (
        "stompd_queue_delayed_messages",
        "Messages that are not due yet.",
        lambda queue: len(queue.delayed),
    ),
    ("stompd_queue_bytes", "Octets of its messages.", lambda queue: queue.octets),
    (
        "stompd_queue_consumers",
        "Subscriptions that take messages.",
        lambda queue: len(queue.subscriptions),
    ),
)
_QUEUE_COUNTERS: Final = (
    ("stompd_queue_received", "Messages that came.", lambda queue: queue.put_count),
    ("stompd_queue_settled", "Messages that were settled.", lambda queue: queue.settled_count),
    ("stompd_queue_expired", "Messages that expired.", lambda queue: queue.expired_count),
    (
        "stompd_queue_dead_lettered",
        "Messages that became dead letters.",
        lambda queue: queue.dead_letter_count,
    ),
    (
        "stompd_queue_redelivered",
        "Messages that came back.",
        lambda queue: queue.redelivered_count,
    ),
)
_TOPIC_GAUGES: Final = (
    (
        "stompd_topic_subscribers",
        "Subscriptions to it, durable ones included.",
        lambda topic: len(topic.subscriptions) + len(topic.feeds),
    ),
)
_TOPIC_COUNTERS: Final = (
    ("stompd_topic_received", "Messages that came.", lambda topic: topic.put_count),
)


class Metrics:
    """What is told in answer to ``/metrics``; remembers whom it has told of by name."""

    def __init__(self, service: Service, port: HttpPort) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Broker(service, port))
        # Memory, processor time and descriptors of the process.
        ProcessCollector(registry=self._registry)

    def written(self, accept: str) -> tuple[bytes, str]:
        """Return what there is to tell now, and its content type, as ``Accept`` wants it."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind


class _Broker(Collector):
    """Makes metrics of plain counters, when somebody asks and not before."""

    def __init__(self, service: Service, port: HttpPort) -> None:
        self._service = service
        self._port = port
        self._queues = _Named("queue", _QUEUE_GAUGES, _QUEUE_COUNTERS)
        self._topics = _Named("topic", _TOPIC_GAUGES, _TOPIC_COUNTERS)

    def describe(self) -> Iterable[Metric]:
        """Promise nothing: the registry would ask for everything to find out the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all metrics as they are now."""
        service = self._service
        broker = service.broker
        stats = rows.stats(broker)
        info = InfoMetricFamily("stompd", "Which stompd this is.")
        info.add_metric([], {"version": stompd.__version__, "store": stats["store"]["kind"]})
        yield info
        yield from self._totals(stats)
        yield from self._store(stats["store"])
        yield _histogram("stompd_loop_lag_seconds", "How late things were done.", service.lag)
        most = service.settings.http.metrics_destinations
        queues = {
            (host.name, queue.name): queue for host in broker.hosts for queue in host.all_queues()
        }
        oldest = _gauge_of("queue", "stompd_queue_oldest_seconds", "Age of what waits longest.")
        yield from self._queues.metrics(queues, most)
        for (vhost, name), queue in queues.items():
            if (vhost, name) in self._queues.names:
                oldest.add_metric([vhost, name], rows.oldest(queue) or 0.0)
        yield oldest
        topics = {
            (host.name, topic.name): topic
            for host in broker.hosts
            for topic in host.topics.values()
        }
        yield from self._topics.metrics(topics, most)

    def _totals(self, stats: dict[str, Any]) -> Iterator[Metric]:
        for name, doc, value in (
            ("uptime_seconds", "Seconds since the start.", stats["uptime"]),
            ("connections", "STOMP connections, over WebSocket as well.", stats["connections"]),
            ("http_connections", "Connections to the HTTP port.", self._port.count),
            ("subscriptions", "Subscriptions.", stats["subscriptions"]),
            ("transactions", "Open transactions.", stats["transactions"]),
            ("queues", "Queues.", stats["queues"]),
            ("topics", "Topics.", stats["topics"]),
            ("ready_messages", "Messages that wait.", stats["messages"]),
            ("unsettled_messages", "Delivered and not settled.", stats["unsettled"]),
            ("delayed_messages", "Messages that are not due yet.", stats["delayed"]),
            ("messages_bytes", "Octets of all these.", stats["bytes"]),
            ("outbox_bytes", "Octets that wait to be written to clients.", stats["outbox"]),
            ("memory_weight_bytes", "Memory that messages count.", stats["weight"]),
            ("memory_mark_bytes", "Weight from which producers wait.", stats["memory_mark"] or 0),
            ("paused_producers", "Connections that are not read from.", stats["paused_producers"]),
            ("draining", "1 while it stops.", stats["draining"]),
        ):
            yield GaugeMetricFamily(f"stompd_{name}", doc, float(value))
        for name, doc, value in (
            ("connections_opened", "Connections since the start.", stats["connections_opened"]),
            ("received", "Messages that came to queues and topics.", stats["received"]),
            ("settled", "Messages that were settled.", stats["settled"]),
            ("expired", "Messages that expired.", stats["expired"]),
            ("dead_lettered", "Messages that became dead letters.", stats["dead_lettered"]),
            ("redelivered", "Messages that came back.", stats["redelivered"]),
        ):
            yield CounterMetricFamily(f"stompd_{name}", doc, float(value))

    def _store(self, store: dict[str, Any]) -> Iterator[Metric]:
        for name, doc, value in (
            ("file_bytes", "Octets of the file.", store["file_bytes"] or 0),
            ("pending_bytes", "Octets that wait to be written.", store["pending_bytes"]),
            ("full", "1 while there is no room on the disk.", store["full"]),
            ("congested", "1 while producers wait for the disk.", store["congested"]),
        ):
            yield GaugeMetricFamily(f"stompd_store_{name}", doc, float(value))
        committer = self._service.committer
        if committer is not None:
            yield _histogram(
                "stompd_store_commit_seconds", "How long commits took.", committer.latency
            )


class _Named:
    """Chooses the destinations that are told of by name, and sums up the others.

    A destination keeps its name as long as it is there: one that came and went with every look
    would seem to start again each time. For the same reason the sum of the others is one of what
    was added between two looks.
    """

    def __init__(self, kind: str, gauges: Any, counters: Any) -> None:  # noqa: ANN401 - tables of the above
        self._kind = kind
        self._gauges = gauges
        self._counters = counters
        self.names: set[tuple[str, str]] = set()
        """Virtual host and name of those that are told of by name."""
        # What the others had at the last look, and what they have had added so far.
        self._before: dict[tuple[str, str], list[int]] = {}
        self._others = [0] * len(counters)

    def metrics(self, targets: dict[tuple[str, str], Any], most: int) -> Iterator[Metric]:
        """Return the metrics of destinations, of at most ``most`` of them by name."""
        self._choose(targets, most)
        named = [(key, targets[key]) for key in sorted(self.names)]
        others = {key: target for key, target in targets.items() if key not in self.names}
        for name, doc, value in self._gauges:
            gauge = _gauge_of(self._kind, name, doc)
            for key, target in named:
                gauge.add_metric(list(key), value(target))
            gauge.add_metric(["", OTHER], sum(map(value, others.values())))
            yield gauge
        self._add_up(others)
        for (name, doc, value), other in zip(self._counters, self._others, strict=True):
            counter = CounterMetricFamily(name, doc, labels=["vhost", self._kind])
            for key, target in named:
                counter.add_metric(list(key), value(target))
            counter.add_metric(["", OTHER], other)
            yield counter

    def _choose(self, targets: dict[tuple[str, str], Any], most: int) -> None:
        self.names &= targets.keys()
        if len(self.names) > most:
            # There may be fewer of them since the settings were read again.
            self.names = set(sorted(self.names)[:most])
        free = most - len(self.names)
        if free:
            fitting = (
                key for key, target in targets.items() if key not in self.names and _lasts(target)
            )
            self.names |= set(nlargest(free, fitting, key=lambda key: _weight(targets[key])))

    def _add_up(self, others: dict[tuple[str, str], Any]) -> None:
        counts = {
            key: [value(target) for _, _, value in self._counters] for key, target in others.items()
        }
        for key, now in counts.items():
            before = self._before.get(key)
            for at, count in enumerate(now):
                # Less than before: it went, and another one of its name came.
                known = 0 if before is None or before[at] > count else before[at]
                self._others[at] += count - known
        self._before = counts


def _lasts(target: Queue | Topic) -> bool:
    """Return whether a destination is more than one connection's for the time being."""
    return target.owner is None and not target.name.startswith("/topic/$SYS")


def _weight(target: Any) -> tuple[int, int]:  # noqa: ANN401 - a queue or a topic
    """Return what the busiest have most of."""
    return getattr(target, "count", 0), target.put_count


def _gauge_of(kind: str, name: str, doc: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, doc, labels=["vhost", kind])


def _histogram(name: str, doc: str, times: Buckets) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, doc, buckets=times.cumulative(), sum_value=times.seconds)
