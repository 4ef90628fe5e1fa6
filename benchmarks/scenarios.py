"""What is measured under load, and how much better than the others stompd has to be.

The bars compare stompd with the better of the other brokers in the same run. They are floors, not
aims. stompd has its memory store for most of them and its durable one for the `durable` ones, in
which all messages are persistent; the others are the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from benchmarks.load import Load
from benchmarks.report import Bar


@dataclass(frozen=True)
class Scenario:
    """One load and what is read from it."""

    name: str
    title: str
    load: Load
    bar: Bar | None = None
    by_latency: bool = False
    """The figure is the median latency, not the rate."""
    durable: bool = False
    """Messages are kept on disk."""
    instead: Mapping[str, Load] = field(default_factory=dict)
    """Loads for brokers that have to be asked in another way to do the same."""
    note: str = ""
    """What a reader of the figures has to know."""

    def load_for(self, broker: str) -> Load:
        """What to do to the broker of this name."""
        return self.instead.get(broker, self.load)


def times(limit: float) -> Bar:
    """At least so many times the rate of the best other broker."""
    return Bar("times", limit)


_TRANSACTIONS = Load(
    batch=10, transaction=True, receipts=1, persistent=True, ack="client-individual"
)

SCENARIOS = (
    Scenario("q1x1-100B", "queue hop, 100 B", Load(size=100), times(3.5)),
    Scenario("q1x1-1K", "queue hop, 1 KiB", Load(), times(5.0)),
    Scenario("q1x1-1K-b1", "queue hop, 1 KiB, one frame per write", Load(batch=1), times(4.0)),
    Scenario(
        "q1x1-100B-ackind",
        "queue hop, 100 B, client-individual",
        Load(size=100, ack="client-individual"),
        times(3.0),
    ),
    Scenario(
        "q10x10-1K",
        "10 producers, 10 queues, 10 consumers, 1 KiB",
        Load(producers=10, consumers=10, destinations=10, window=1000),
        times(4.0),
    ),
    Scenario(
        "q20x20-1q-100B",
        "20 producers, 1 queue, 20 consumers, 100 B",
        Load(size=100, producers=20, consumers=20, window=2000),
        times(4.0),
    ),
    Scenario(
        "t1x20-100B",
        "topic, 1 producer, 20 subscribers, 100 B",
        Load(kind="topic", size=100, consumers=20, window=1000),
        times(8.0),
    ),
    Scenario(
        "t1x20-1K",
        "topic, 1 producer, 20 subscribers, 1 KiB",
        Load(kind="topic", consumers=20, window=500),
        times(8.0),
    ),
    Scenario(
        "q1x1-64K",
        "queue hop, 64 KiB",
        Load(size=65536, batch=1, window=200),
        times(1.5),
    ),
    Scenario(
        "q1x1-1K-tx10",
        "transactions of 10, each with a receipt, 1 KiB",
        Load(batch=10, transaction=True, receipts=1),
        times(4.0),
    ),
    Scenario(
        "q1x1-vary6",
        "queue hop, 100 B, six headers that differ every time",
        Load(size=100, vary=6),
        times(2.5),
    ),
    Scenario(
        "rcpt10x10-1K",
        "receipt per message, 10 producers, 10 queues, 1 KiB",
        Load(producers=10, consumers=10, destinations=10, window=1000, batch=1, receipts=1),
        times(2.5),
    ),
    Scenario(
        "lat-1000ps-100B",
        "latency at 1 000 messages a second, 100 B",
        Load(size=100, batch=1, rate=1000.0),
        Bar("fraction", 0.6),
        by_latency=True,
    ),
    Scenario(
        "dur1x1-1K-b100",
        "on disk: receipt per 100, 1 producer, 1 consumer",
        Load(batch=100, receipts=4, persistent=True, ack="client-individual"),
        times(4.0),
        durable=True,
    ),
    Scenario(
        "dur10x10-1K-sync",
        "on disk: receipt per message, 10 producers, 10 queues, 10 consumers",
        Load(
            producers=10,
            consumers=10,
            destinations=10,
            window=1000,
            batch=1,
            receipts=1,
            persistent=True,
            ack="client-individual",
        ),
        times(2.0),
        durable=True,
    ),
    Scenario(
        "dur1x1-1K-tx10",
        "on disk: transactions of 10, receipt once they are kept, 1 producer, 1 consumer",
        _TRANSACTIONS,
        times(4.0),
        durable=True,
        instead={"RabbitMQ": replace(_TRANSACTIONS, on_send=True)},
        note="RabbitMQ was asked for the receipt by the last SEND of each transaction, the others "
        "by COMMIT: its receipt for COMMIT comes before anything is written.",
    ),
    Scenario(
        "dur1x1-1K-commit",
        "the same, receipt on COMMIT, which promises less with RabbitMQ",
        _TRANSACTIONS,
        durable=True,
        note="without a bar, because RabbitMQ's receipt promises less than the others'.",
    ),
    Scenario(
        "dur1x1-1K-sync",
        "on disk: receipt per message, 1 producer, 1 consumer",
        Load(batch=1, receipts=1, persistent=True, ack="client-individual"),
        durable=True,
    ),
    Scenario(
        "lat-dur-500ps-1K",
        "on disk: latency at 500 messages a second, no receipts",
        Load(batch=1, rate=500.0, persistent=True, ack="client-individual"),
        Bar("fraction", 0.6),
        by_latency=True,
        durable=True,
    ),
)
