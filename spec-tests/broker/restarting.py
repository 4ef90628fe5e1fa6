"""A store that outlives its broker, as far as its batches are durable, and a core that crashes.

`RestartingStore` is a `PagingStore` with a disk, which gets what the store was told by batches.
`RestartingCore.crash` loses the rest, and every transient message; `RestartingCore.stop` ends in
good order. Both begin again, with another time than before, as another process has one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from broker.paging import PagedCore, PagingStore, Record

from stompd.broker.broker import Broker
from stompd.broker.message import Message
from stompd.broker.policy import Settings
from stompd.broker.storage import Fetch, Kept, KeptLane, KeptQueue, Key, Kind

Definitions = dict[tuple[Kind, tuple[str, ...]], dict[str, Any]]


@dataclass
class Disk:
    """What is there after a crash; times are those of the broker that wrote it."""

    kept: dict[Key, dict[int, Record]] = field(default_factory=dict)
    definitions: Definitions = field(default_factory=dict)
    dedup_ids: dict[tuple[Key, str], float] = field(default_factory=dict)

    def copy(self) -> "Disk":
        """Return the same; records never change."""
        kept = {key: dict(records) for key, records in self.kept.items()}
        return Disk(kept, dict(self.definitions), dict(self.dedup_ids))


class RestartingStore(PagingStore):
    """Satisfies `stompd.broker.storage.Store`; see the top of this file."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk
        self.kept = {key: dict(records) for key, records in disk.kept.items()}
        self.definitions = dict(disk.definitions)
        self.dedup_ids = dict(disk.dedup_ids)
        # What the disk will have, by the ticket that says so.
        self._written: dict[int, Disk] = {}
        # True when what is put has its place since long ago.
        self.closing = False

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Keep a new message, or at the end an old one that is transient."""
        others = self.kept.get(queue, {})
        if self.closing and not message.persistent:
            later = {place: others.pop(place) for place in list(others) if place > message.place}
            super().put(queue, message, due)
            self.kept[queue] |= later
        else:
            super().put(queue, message, due)
        self._note_schedule(queue, message)

    def requeue(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Write down anew a message that is there."""
        super().requeue(queue, message, due)
        self._note_schedule(queue, message)

    def _note_schedule(self, queue: Key, message: Message) -> None:
        """Keep how many repetitions are left, which a copy has not."""
        terms = self.kept[queue][message.place].terms
        if terms is not None and terms.schedule is not None:
            assert message.terms is not None
            assert message.terms.schedule is not None
            terms.schedule.left = message.terms.schedule.left

    def answer(self) -> tuple[Fetch, list[Message], list[float]]:
        """Return the answer to the oldest question."""
        fetch, messages, dues = super().answer()
        for message in messages:
            kept = self.kept[fetch.queue][message.place].terms
            if kept is not None and kept.schedule is not None:
                assert message.terms is not None
                assert message.terms.schedule is not None
                message.terms.schedule.left = kept.schedule.left
        return fetch, messages, dues

    def forget(self, queue: Key) -> None:
        """Forget a queue with all that is in it, and what it has seen."""
        super().forget(queue)
        for key in [key for key in self.dedup_ids if key[0] == queue]:
            del self.dedup_ids[key]

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Keep a dedup-id."""
        assert (queue, dedup_id) not in self.dedup_ids
        self.dedup_ids[queue, dedup_id] = seen
        self._tell("remember", queue)

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Forget a dedup-id."""
        self.dedup_ids.pop((queue, dedup_id), None)
        self._tell("unremember", queue)

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Keep what something is."""
        self.definitions[kind, key] = json.loads(json.dumps(record))
        self._tell("define", (key[0], key[1]))

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Forget what something is."""
        self.definitions.pop((kind, key), None)
        self._tell("undefine", (key[0], key[1]))

    def take_batch(self) -> tuple[int, list[Any]]:
        """Begin a new batch; what was told so far is on its way to the disk."""
        ticket, batch = super().take_batch()
        self._written[ticket] = Disk(self.kept, self.definitions, self.dedup_ids).copy()
        return ticket, batch

    def confirmed(self, ticket: int) -> None:
        """Note that everything up to ``ticket`` is on the disk."""
        super().confirmed(ticket)
        self.disk = self._written.pop(ticket)


class RestartingCore(PagedCore):
    """A core that begins again with what its store has on disk."""

    def __init__(self, settings: Settings | None = None, disk: Disk | None = None) -> None:
        self.settings = settings
        self.starts = 0
        # What could not be restored the last time.
        self.troubles: list[str] = []
        self.restarting = RestartingStore(disk or Disk())
        super().__init__(settings)
        self.begin(self.restarting.disk, 0.0)

    def begin(self, disk: Disk, epoch: float) -> None:
        """Begin with this disk at this time."""
        self.starts += 1
        self.paging = self.store = self.restarting = RestartingStore(disk)
        self.now = 0.0
        self.clients = []
        self.broker = Broker(self.restarting, self.settings, epoch=epoch)
        self.troubles = self.broker.restore(kept(disk, self.starts))
        self.run()

    def crash(self, down: float = 0.0) -> None:
        """Lose what is not on disk, and begin again after ``down`` seconds."""
        records = {
            key: {place: record for place, record in records.items() if record.persistent}
            for key, records in self.restarting.disk.kept.items()
        }
        self._begin_again(replace(self.restarting.disk, kept=records), down)

    def stop(self, down: float = 0.0) -> None:
        """End in good order, and begin again after ``down`` seconds."""
        self.broker.drain()
        for client in list(self.clients):
            self.broker.end_for_shutdown(client.session)
        self.run()
        assert self.clients == []
        self.restarting.closing = True
        self.broker.persist_transient()
        self.sync()
        self._begin_again(self.restarting.disk, down)

    def _begin_again(self, disk: Disk, down: float) -> None:
        passed = self.now + down
        disk = shifted(disk, -passed)
        self.begin(disk, self.broker.epoch + passed)

    def sync(self) -> None:
        """Have all on disk that the store was told so far."""
        self.durable()


def shifted(disk: Disk, seconds: float) -> Disk:
    """Return the disk for a broker whose time is so many seconds more at the same moment."""
    kept: dict[Key, dict[int, Record]] = {}
    for key, records in disk.kept.items():
        kept[key] = {}
        for place, record in records.items():
            due = record.due + seconds if record.due else 0.0
            terms = record.terms
            if terms is not None:
                left = None if terms.schedule is None else terms.schedule.left
                terms = terms.copy()
                terms.expires += seconds
                terms.due = terms.due + seconds if terms.due else 0.0
                if terms.schedule is not None and left is not None:
                    terms.schedule.left = left
            kept[key][place] = replace(record, due=due, terms=terms)
    seen = {key: time + seconds for key, time in disk.dedup_ids.items()}
    return Disk(kept, disk.definitions, seen)


def kept(disk: Disk, starts: int) -> Kept:
    """Return what a store says of a disk when it is opened."""
    found = Kept(starts=starts)
    for key, records in disk.kept.items():
        queue = KeptQueue(key, max(records, default=0))
        for record in records.values():
            if record.sender is not None:
                count, octets = queue.owed.get(record.sender, (0, 0))
                queue.owed[record.sender] = (count + 1, octets + record.size)
            if record.due:
                queue.delayed_count += 1
                queue.delayed_octets += record.size
                queue.first_due = min(record.due, queue.first_due or record.due)
                continue
            lane = queue.lanes.setdefault(record.priority, KeptLane(0, 0))
            lane.count += 1
            lane.octets += record.size
            if record.expires < float("inf"):
                queue.first_expiry = min(record.expires, queue.first_expiry or record.expires)
        found.queues.append(queue)
    found.definitions = [
        (kind, key, dict(record)) for (kind, key), record in disk.definitions.items()
    ]
    found.dedup_ids = [
        (key, dedup_id, seen)
        for (key, dedup_id), seen in sorted(disk.dedup_ids.items(), key=lambda entry: entry[1])
    ]
    return found
