"""Clients that use one thing each: groups, selectors, schedules, expiry, limits, dead letters.

Each of them produces and consumes, so that what it uses is used as long as it is there. Several of
a kind share a queue where that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

from crash.client import Gone
from crash.config import (
    BRIEF,
    COLOURS,
    CRON,
    DROPS,
    DURABLES,
    GROUPS,
    QUEUES,
    REJECTS,
    SCHEDULED,
    SORTED,
    STUBBORN,
)
from crash.history import durable

if TYPE_CHECKING:
    from random import Random

    from crash.client import Client
    from crash.workload import Workload

# What one session does at most before it leaves.
_MOST = 150

Special = Callable[["Workload", int, int, "Random"], None]


@contextmanager
def _client(work: Workload, life: int, port: int, name: str) -> Iterator[Client]:
    client = work.client(life, port, name)
    try:
        yield client
        client.confirmed()
        client.disconnect()
    except Gone:
        client.drop()
        raise


def _turns(work: Workload, chance: Random) -> Iterator[int]:
    """Go round until the session should leave."""
    for turn in range(chance.randrange(20, _MOST)):
        work.rest()
        if work.stopping.is_set():
            return
        yield turn


def _take(client: Client, chance: Random, *, nack: float = 0.0, dead: float = 0.0) -> None:
    """Take what is there, and settle most of it; wait if there is nothing."""
    within = 0.05
    while (got := client.next(within)) is not None:
        within = 0.0
        what = chance.random()
        receipt = chance.random() < 0.6
        if what < nack:
            delay = chance.choice((0, 0, 30))
            client.settle(got[1].delivery, "nack", delay=delay, receipt=receipt)
        elif what < nack + dead:
            client.settle(got[1].delivery, "dead", receipt=receipt)
        elif what < 0.98:
            client.settle(got[1].delivery, receipt=receipt)
        if len(client.unanswered) > 10:
            client.confirmed()


def _groups(work: Workload, life: int, port: int, chance: Random) -> None:
    """Several share a queue, and each group belongs to one of them."""
    with _client(work, life, port, "groups") as client:
        client.subscribe(
            "g", GROUPS, "client-individual", f"prefetch-count:{chance.choice((1, 20))}"
        )
        for _ in _turns(work, chance):
            transaction = client.begin() if chance.random() < 0.2 else None
            for _ in range(chance.randrange(4)):
                group = f"g{chance.randrange(6)}" if chance.random() < 0.9 else None
                client.send(work.uid(), GROUPS, group=group, receipt=False, transaction=transaction)
            if transaction is not None:
                client.commit(transaction)
            _take(client, chance, nack=0.05)


def _sorted(work: Workload, life: int, port: int, chance: Random) -> None:
    """One wants red messages, one green ones, one takes all."""
    with _client(work, life, port, "sorted") as client:
        client.subscribe("s", SORTED, wants=chance.choice(COLOURS))
        for _ in _turns(work, chance):
            for _ in range(chance.randrange(3)):
                client.send(work.uid(), SORTED, colour=chance.choice(COLOURS))
            _take(client, chance, nack=0.03, dead=0.02)


def _scheduled(work: Workload, life: int, port: int, chance: Random) -> None:
    """Messages that come several times, and one that comes each minute."""
    with _client(work, life, port, "scheduled") as client:
        client.subscribe("s", SCHEDULED)
        client.subscribe("c", CRON)
        for turn in _turns(work, chance):
            if turn == 0 and chance.random() < 0.3:
                client.send(work.uid(), CRON, cron=True)
                client.confirmed()
            if chance.random() < 0.5:
                client.send(
                    work.uid(),
                    SCHEDULED,
                    delay=chance.choice((1, 50, 300)),
                    period=chance.choice((20, 100, 300, 700)),
                    times=chance.randrange(2, 5),
                )
            _take(client, chance, nack=0.03, dead=0.02)


def _brief(work: Workload, life: int, port: int, chance: Random) -> None:
    """Messages that expire, some of them before they are taken."""
    with _client(work, life, port, "brief") as client:
        takes = chance.random() < 0.7
        if takes:
            client.subscribe("b", BRIEF, "client-individual", "prefetch-count:5")
        for _ in _turns(work, chance):
            delay = chance.choice((0, 0, 0, 100))
            ttl = chance.choice((20, 200, 1000))
            client.send(work.uid(), BRIEF, ttl=ttl, delay=delay, receipt=chance.random() < 0.5)
            _take(client, chance, nack=0.05)


def _rejects(work: Workload, life: int, port: int, chance: Random) -> None:
    """Fill a queue that refuses what is too much, and empty it."""
    with _client(work, life, port, "rejects") as client:
        if chance.random() < 0.3:
            client.subscribe("r", REJECTS, "client-individual", "prefetch-count:5")
        for _ in _turns(work, chance):
            transaction = client.begin() if chance.random() < 0.3 else None
            for _ in range(chance.randrange(6)):
                client.send(
                    work.uid(), REJECTS, receipt=transaction is None, transaction=transaction
                )
            if transaction is not None:
                client.commit(transaction)
            client.confirmed()
            _take(client, chance)


def _drops(work: Workload, life: int, port: int, chance: Random) -> None:
    """Fill a queue that pushes out what is too much, and empty it."""
    with _client(work, life, port, "drops") as client:
        if chance.random() < 0.6:
            client.subscribe("d", DROPS, "client-individual", "prefetch-count:5")
        for _ in _turns(work, chance):
            for _ in range(chance.randrange(6)):
                delay = chance.choice((0, 0, 0, 50))
                client.send(work.uid(), DROPS, delay=delay, receipt=chance.random() < 0.5)
            _take(client, chance)


def _stubborn(work: Workload, life: int, port: int, chance: Random) -> None:
    """Messages that are refused again and again."""
    with _client(work, life, port, "stubborn") as client:
        client.subscribe("s", STUBBORN)
        for _ in _turns(work, chance):
            for _ in range(chance.randrange(3)):
                client.send(work.uid(), STUBBORN)
            _take(client, chance, nack=0.7, dead=0.02)


def _bury(work: Workload, life: int, port: int, chance: Random) -> None:
    """Take dead letters, put some back, and throw some away."""
    with _client(work, life, port, "bury") as client:
        numbers = count()
        for place in QUEUES:
            name = place.removeprefix("/queue/")
            client.subscribe(f"q{next(numbers)}", f"/queue/DLQ.{name}", dead_of=place)
        for name, _, _ in DURABLES:
            client.subscribe(f"q{next(numbers)}", f"/queue/DLQ.{name}", dead_of=durable(name))
        for _ in _turns(work, chance):
            _take(client, chance, nack=0.1, dead=0.1)


# Each with how many of its kind there are at a time.
SPECIAL: tuple[tuple[Special, int], ...] = (
    (_groups, 3),
    (_sorted, 3),
    (_scheduled, 1),
    (_brief, 1),
    (_rejects, 2),
    (_drops, 1),
    (_stubborn, 1),
    (_bury, 1),
)
