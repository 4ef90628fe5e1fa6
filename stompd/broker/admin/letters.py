"""What there is of dead letters: where they come from, and what they died of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from stompd.broker.admin.errand import Later
from stompd.broker.admin.rows import Row, hosts, knows, oldest, queues_of
from stompd.broker.destination import SUBSCRIBED_LIMIT, parse
from stompd.broker.walk import READY, Entry, walk
from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.admin.request import Caller
    from stompd.broker.queue import Queue
    from stompd.broker.walk import Steps

# So many dead letters of a queue are looked at for their reasons: this is asked for often.
LOOKED_AT: Final = 10_000


def dead_letters(caller: Caller, *, vhost: str | None = None) -> Later:
    """Return a row for each queue of dead letters that the caller may look at, by name."""
    found: list[tuple[Queue, set[str]]] = []
    for host in hosts(caller.host.broker, vhost):
        sources: dict[str, set[str]] = {}
        for queue in host.all_queues():
            name = host.dead_letters.name_of(queue)
            if name is not None:
                sources.setdefault(name, set()).add(queue.name)
        found += [
            (queue, sources.get(queue.name, set()))
            for queue in queues_of(host, None)
            if (queue.is_dead_letter or queue.name in sources)
            and caller.sees(host, queue.destination)
        ]

    def steps() -> Steps[list[Row]]:
        rows = []
        for queue, sources in found:
            if queue.gone:
                # Since the one before was looked through.
                continue
            causes = _Causes(queue)
            yield from walk(queue, causes.visit)
            names = sorted(sources | causes.sources)
            of = [name for name in names if knows(caller.sees, queue.host, name)]
            rows.append(
                {
                    "vhost": queue.host.name,
                    "name": queue.name,
                    "of": of[0] if len(of) == 1 else None,
                    "sources": of,
                    "ready": queue.depth,
                    "inflight": queue.unsettled,
                    "counted": causes.count,
                    "reasons": dict(sorted(causes.reasons.items())),
                    "oldest": oldest(queue),
                }
            )
        return rows

    return Later(steps())


class _Causes:
    """Counts why the messages of a queue are there; what is first, and not too much of it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.sources: set[str] = set()

    def visit(self, page: list[Entry]) -> bool:
        """Count some messages; return False if these are enough."""
        for entry in page:
            if self.count == LOOKED_AT or entry.position.stage != READY:
                return False
            if entry.behind and self._queue.has_expired(entry.message):
                # In memory there is an alarm for that.
                continue
            extra = entry.message.extra or {}
            self.count += 1
            self.reasons[extra.get("dead-letter-reason", "none")] += 1
            if "original-destination" in extra:
                self.sources.add(_name(extra["original-destination"]))
        return True


def _name(text: str) -> str:
    """Return a destination's name in the one spelling, of whatever its sender wrote."""
    try:
        return parse(text, limit=SUBSCRIBED_LIMIT).name
    except RemoteProtocolError:
        return text
