"""What a store was told and has not written yet.

Within a batch only what is left in the end counts: a message that is settled before its batch is
written is never written. What is left of a queue is carried out in this order, whatever the order
in which it was told: forget, drops, settlements, requeues, puts. `QueueBatch` sees to it that this
comes to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Key, Kind
from stompd.store.record import priority_of

# In place of a place; there is none below 1.
ALL: Final = 0


class Drop(NamedTuple):
    """A range of places to be forgotten; see `stompd.broker.storage.Store.drop`."""

    priority: int
    after: int
    upto: int
    spare: frozenset[int]


class QueueBatch:
    """What is to happen to one queue."""

    __slots__ = ("bound", "dedup", "drops", "dues", "forgotten", "puts", "requeues", "settles")

    def __init__(self) -> None:
        # What the file holds of it goes first.
        self.forgotten = False
        self.drops: list[Drop] = []
        # Priorities, by place.
        self.settles: dict[int, int] = {}
        # By place; with when it is due, 0.0 if it waits.
        self.requeues: dict[int, tuple[Message, float]] = {}
        # New messages, by place, and when those are due that are delayed.
        self.puts: dict[int, Message] = {}
        self.dues: dict[int, float] = {}
        # When dedup-ids were seen; None for those to be forgotten.
        self.dedup: dict[str, float | None] = {}
        # Places whose settlement belongs to a put: it must not become durable before that. `ALL` is
        # in it if that holds for what else is to go.
        self.bound: set[int] = set()

    def __len__(self) -> int:
        return (
            self.forgotten
            + len(self.drops)
            + len(self.settles)
            + len(self.requeues)
            + len(self.puts)
            + len(self.dedup)
        )

    @property
    def octets(self) -> int:
        """What its new messages measure."""
        return sum(message.size for message in self.puts.values())

    def settle(self, place: int, priority: int) -> int:
        """Forget a message; return what its put measured if it was not written yet."""
        message = self.puts.pop(place, None)
        if message is not None:
            self.dues.pop(place, None)
            return message.size
        self.requeues.pop(place, None)
        self.settles[place] = priority
        return 0

    def requeue(self, place: int, message: Message, due: float) -> None:
        """Write a message anew."""
        if place in self.puts:
            self.puts[place] = message
            if due:
                self.dues[place] = due
            else:
                self.dues.pop(place, None)
        else:
            self.requeues[place] = (message, due)

    def drop(self, drop: Drop) -> int:
        """Forget what waits in a range; return what was not written yet of it measured."""
        octets = 0
        priority, after, upto, spare = drop
        for place, message in list(self.puts.items()):
            if after < place <= upto and place not in spare and place not in self.dues:
                if priority_of(message) != priority:
                    continue
                octets += self.settle(place, priority)
        known = [place for place in self.requeues if after < place <= upto]
        for place in known:
            message, due = self.requeues[place]
            if not due and place not in spare and priority_of(message) == priority:
                self.settle(place, priority)
        # Of these the file does not know yet whether they wait.
        self.drops.append(drop._replace(spare=spare.union(known)))
        return octets

    def merge(self, later: QueueBatch) -> None:
        """Have what was told later happen after this."""
        for drop in later.drops:
            self.drop(drop)
        for place, priority in later.settles.items():
            self.settle(place, priority)
        for place, (message, due) in later.requeues.items():
            self.requeue(place, message, due)
        self.puts.update(later.puts)
        self.dues.update(later.dues)
        self.dedup.update(later.dedup)
        self.bound |= later.bound

    def take_light(self) -> QueueBatch:
        """Give up what makes room and may happen before the rest."""
        light = QueueBatch()
        if ALL not in self.bound:
            light.forgotten, self.forgotten = self.forgotten, False
            light.drops, self.drops = self.drops, []
        light.settles = {p: q for p, q in self.settles.items() if p not in self.bound}
        self.settles = {p: q for p, q in self.settles.items() if p in self.bound}
        return light


class Batch:
    """What becomes durable together, as `SqliteStore.take` gives it up."""

    __slots__ = ("bound", "definitions", "epoch", "fetches", "octets", "probe", "queues", "ticket")

    def __init__(self, ticket: int, epoch: float) -> None:
        # Its number; they only ever rise.
        self.ticket = ticket
        # What the broker's times are to be counted from.
        self.epoch = epoch
        self.queues: dict[Key, QueueBatch] = {}
        # By kind and key: the record as JSON, None if it is to be forgotten.
        self.definitions: dict[tuple[Kind, tuple[str, ...]], str | None] = {}
        # Those of them that belong to a put or to another definition.
        self.bound: set[tuple[Kind, tuple[str, ...]]] = set()
        # What was asked for with it; to be read once it is written.
        self.fetches: list[Fetch] = []
        # What its new messages measure.
        self.octets = 0
        # True if it is there to find out whether there is room again.
        self.probe = False

    def __bool__(self) -> bool:
        return bool(self.definitions) or any(self.queues.values())

    def __repr__(self) -> str:
        count = sum(map(len, self.queues.values())) + len(self.definitions)
        return f"<Batch {self.ticket}: {count} operations, {self.octets} octets>"

    def puts(self) -> Iterator[tuple[Key, int, Message, float]]:
        """Yield its new messages: queue, place, message, and when it is due or 0.0."""
        for key, pending in self.queues.items():
            dues = pending.dues
            for place, message in pending.puts.items():
                yield key, place, message, dues.get(place, 0.0) if dues else 0.0

    def take_light(self) -> Batch:
        """Give up what makes room and may happen before the rest."""
        light = Batch(self.ticket, self.epoch)
        for key, pending in self.queues.items():
            if part := pending.take_light():
                light.queues[key] = part
        for definition, record in list(self.definitions.items()):
            if record is None and definition not in self.bound:
                light.definitions[definition] = self.definitions.pop(definition)
        return light

    def put_back(self, light: Batch) -> None:
        """Have what `take_light` gave up, and was not done, happen first after all."""
        for key, part in light.queues.items():
            part.merge(self.queues[key])
            self.queues[key] = part
        self.definitions = light.definitions | self.definitions


class Pending:
    """Collects what becomes the next batch."""

    __slots__ = (
        "_depth",
        "_group",
        "_group_definitions",
        "_group_puts",
        "batch",
        "count",
        "known",
    )

    def __init__(self, batch: Batch, known: Collection[Key] = ()) -> None:
        self.batch = batch
        # How many operations it holds.
        self.count = 0
        # Queues of which there may be something in the file.
        self.known = set(known)
        self._depth = 0
        # Settlements of the group at hand, what it defines or undefines, and whether it puts or
        # defines something.
        self._group: list[tuple[QueueBatch, int]] = []
        self._group_definitions: list[tuple[Kind, tuple[str, ...]]] = []
        self._group_puts = False

    def of(self, queue: Key) -> QueueBatch:
        """Return what is to happen to a queue."""
        pending = self.batch.queues.get(queue)
        if pending is None:
            pending = self.batch.queues[queue] = QueueBatch()
        return pending

    def put(self, queue: Key, message: Message, due: float) -> None:
        """Note a new message."""
        pending = self.batch.queues.get(queue)
        if pending is None:
            pending = self.of(queue)
        pending.puts[message.place] = message
        if due:
            pending.dues[message.place] = due
        self.count += 1
        self.batch.octets += message.size
        if self._depth:
            self._group_puts = True

    def settle(self, queue: Key, message: Message) -> None:
        """Note a settlement, or forget the put that it makes needless."""
        pending = self.batch.queues.get(queue)
        if pending is None:
            pending = self.of(queue)
        place = message.place
        found = pending.puts.pop(place, None)
        if found is not None:
            if pending.dues:
                pending.dues.pop(place, None)
            self.count -= 1
            self.batch.octets -= found.size
            return
        if pending.requeues.pop(place, None) is None:
            self.count += 1
        pending.settles[place] = priority_of(message)
        if self._depth:
            self._group.append((pending, place))

    def requeue(self, queue: Key, message: Message, due: float) -> None:
        """Note that a message changed."""
        pending = self.of(queue)
        before = len(pending.requeues)
        pending.requeue(message.place, message, due)
        self.count += len(pending.requeues) - before

    def drop(self, queue: Key, drop: Drop) -> None:
        """Note that a range is to be forgotten."""
        pending = self.of(queue)
        before = len(pending)
        self.batch.octets -= pending.drop(drop)
        if queue not in self.known:
            # There is nothing of it but what was in the batch.
            pending.drops.clear()
        self.count += len(pending) - before
        if self._depth:
            self._group.append((pending, ALL))

    def forget(self, queue: Key) -> None:
        """Note that a queue is gone, and forget what was noted of it."""
        pending = self.batch.queues.pop(queue, None)
        if pending is not None:
            self.count -= len(pending)
            self.batch.octets -= pending.octets
        if queue in self.known:
            pending = self.of(queue)
            pending.forgotten = True
            self.count += 1
            if self._depth:
                self._group.append((pending, ALL))

    def remember(self, queue: Key, dedup_id: str, seen: float | None) -> None:
        """Note when a dedup-id was seen; None if it is to be forgotten."""
        dedup = self.of(queue).dedup
        if dedup_id not in dedup:
            self.count += 1
        dedup[dedup_id] = seen

    def define(self, kind: Kind, key: tuple[str, ...], record: str | None) -> None:
        """Note a definition; None if it is to be forgotten."""
        if (kind, key) not in self.batch.definitions:
            self.count += 1
        self.batch.definitions[kind, key] = record
        if self._depth:
            self._group_definitions.append((kind, key))
            self._group_puts |= record is not None

    def begin_group(self) -> None:
        """Begin what belongs together."""
        self._depth += 1

    def end_group(self) -> None:
        """End it."""
        self._depth -= 1
        if self._depth:
            return
        if self._group_puts:
            for pending, place in self._group:
                pending.bound.add(place)
            self.batch.bound.update(self._group_definitions)
        self._group.clear()
        self._group_definitions.clear()
        self._group_puts = False

    def take(self, following: Batch) -> Batch:
        """Give up the batch, and collect in ``following`` from now on."""
        assert self._depth == 0, "a group was not ended"  # noqa: S101 - it would be torn
        batch = self.batch
        self.batch = following
        self.count = 0
        for key, pending in batch.queues.items():
            if pending.forgotten:
                self.known.discard(key)
            if pending.puts or pending.dedup:
                self.known.add(key)
        return batch

    def take_back(self, batch: Batch) -> None:
        """Have a batch that could not be written happen before what was collected since."""
        later = self.batch
        batch.ticket = later.ticket
        batch.epoch = later.epoch
        for key, pending in later.queues.items():
            before = batch.queues.get(key)
            if before is None or pending.forgotten:
                batch.queues[key] = pending
            else:
                before.merge(pending)
        # What was to be forgotten is not gone yet.
        self.known.update(key for key, p in batch.queues.items() if p.forgotten)
        batch.definitions.update(later.definitions)
        batch.bound |= later.bound
        batch.fetches += later.fetches
        batch.octets = sum(pending.octets for pending in batch.queues.values())
        self.batch = batch
        self.count = sum(map(len, batch.queues.values())) + len(batch.definitions)
