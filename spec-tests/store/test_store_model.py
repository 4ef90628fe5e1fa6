"""The store in a file against the store of the core's tests, over random histories.

Whatever is told, in whatever batches, and however often a batch finds no room: what can be fetched
is what the other store says, what is wrong in the file is nothing, and a start finds the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broker.paging import PagingStore, Record
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store.keeping import A, B, Keeper, faults, plain

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Key
from stompd.broker.terms import NEVER, Terms
from stompd.store.batch import Batch
from stompd.store.errors import StoreFullError

_QUEUES = st.sampled_from([A, B])
_PRIORITIES = st.sampled_from([0, 4, 9])
_DUES = st.sampled_from([0.0, 0.0, 0.0, 10.0, 20.0])


class StoreModel(RuleBasedStateMachine):
    """Tells both stores the same."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.model = PagingStore()
        self.places: dict[Key, int] = {}
        self.keeper = Keeper(self.path)
        self.in_flight: Batch | None = None
        # Messages as the broker holds them.
        self.held: dict[tuple[Key, int], Message] = {}

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.keeper.close()
        self.directory.cleanup()

    def both(self, tell: Callable[[Any], None]) -> None:
        """Tell both stores."""
        tell(self.model)
        tell(self.keeper.store)

    def pick(self, queue: Key, which: int) -> Message | None:
        """Return a message that is kept, as a consumer may hold it."""
        kept = self.model.kept.get(queue)
        if not kept:
            return None
        place = sorted(kept)[which % len(kept)]
        message = self.held.get((queue, place))
        return message or kept[place].message(place)

    @rule(
        queue=_QUEUES,
        priority=_PRIORITIES,
        due=_DUES,
        size=st.sampled_from([0, 5, 600, 1_100_000]),
        expires=st.sampled_from([NEVER, NEVER, 15.0, 25.0]),
        count=st.sampled_from([1, 1, 40, 200]),
    )
    def put(
        self, queue: Key, priority: int, due: float, size: int, expires: float, count: int
    ) -> None:
        """Put some messages."""
        for _ in range(count if size < 1000 else 1):
            place = self.places.get(queue, 0) + 1
            self.places[queue] = place
            message = plain(b"%d" % place + b"\0" * size, terms=Terms(priority, expires))
            message.place = place
            message.stored = True
            self.held[queue, place] = message
            self.both(lambda store, m=message: store.put(queue, m, due))  # type: ignore[misc]

    @rule(queue=_QUEUES, which=st.integers(0, 1000), count=st.sampled_from([1, 2, 50]))
    def settle(self, queue: Key, which: int, count: int) -> None:
        """Settle messages that stand behind one another."""
        for _ in range(count):
            message = self.pick(queue, which)
            if message is None:
                return
            self.both(lambda store, m=message: store.settle(queue, m))  # type: ignore[misc]

    @rule(queue=_QUEUES, which=st.integers(0, 1000), due=_DUES)
    def requeue(self, queue: Key, which: int, due: float) -> None:
        """Have a message come again, or later."""
        message = self.pick(queue, which)
        if message is not None:
            message.count += 1
            message.redelivered = True
            self.both(lambda store: store.requeue(queue, message, due))

    @rule(queue=_QUEUES, to=_QUEUES, which=st.integers(0, 1000))
    def move(self, queue: Key, to: Key, which: int) -> None:
        """Settle in one queue and put into another, as one."""
        message = self.pick(queue, which)
        if message is None:
            return
        self.both(lambda store: store.begin_group())
        self.put(to, 4, 0.0, 5, NEVER, 1)
        self.both(lambda store: store.settle(queue, message))
        self.both(lambda store: store.end_group())

    @rule(
        queue=_QUEUES,
        priority=_PRIORITIES,
        after=st.integers(0, 300),
        length=st.integers(0, 100),
        spare=st.sets(st.integers(0, 400), max_size=5),
    )
    def drop(self, queue: Key, priority: int, after: int, length: int, spare: set[int]) -> None:
        """Drop a range."""
        upto = min(after + length, self.places.get(queue, 0))
        self.both(lambda store: store.drop(queue, priority, after, upto, spare))

    @rule(queue=_QUEUES)
    def forget(self, queue: Key) -> None:
        """Have a queue go, and begin anew."""
        self.both(lambda store: store.forget(queue))
        self.places.pop(queue, None)
        self.held = {key: m for key, m in self.held.items() if key[0] != queue}

    @precondition(lambda self: self.in_flight is None)
    @rule()
    def take(self) -> None:
        """Begin to write; more may be told meanwhile."""
        self.in_flight = self.keeper.store.take()

    @precondition(lambda self: self.in_flight is not None)
    @rule(room=st.booleans(), at_once=st.booleans())
    def write(self, *, room: bool, at_once: bool = False) -> None:
        """Write what was taken, or find no room for it; if possible by the short way."""
        assert self.in_flight is not None
        store = self.keeper.store
        batch, self.in_flight = self.in_flight, None
        needs_room = bool(batch.octets or batch.probe)
        store.min_free = 0 if room else 1 << 60
        if at_once and store.write_at_once(batch):
            assert room or not needs_room
            store.committed(batch)
        elif room or not needs_room:
            store.write(batch)
            store.committed(batch)
        else:
            with pytest.raises(StoreFullError):
                store.write(batch)
            store.take_back(batch)
        store.min_free = 0

    def settle_down(self) -> None:
        """Have the file hold all that was told."""
        if self.in_flight is not None:
            self.write(room=True)
        self.keeper.commit()

    @rule()
    def compare(self) -> None:
        """Ask both stores everything."""
        self.settle_down()
        for queue in (A, B):
            for priority in (0, 4, 9):
                self.ask(Fetch(queue, "ready", _nobody, count=7, octets=3000, priority=priority))
            self.ask(Fetch(queue, "delayed", _nobody, count=7, octets=3000))
            self.answers(Fetch(queue, "expired", _nobody, count=1000, octets=1 << 30, due=15.0))

    def answers(self, fetch: Fetch) -> list[Message]:
        """Return an answer that is the same from both."""
        self.model.fetch(fetch)
        _, expected, expected_dues = self.model.answer()
        found, dues = self.keeper.store.read(fetch)
        assert [(m.place, vars(Record.of(m, 0.0)) | {"terms": None}) for m in found] == [
            (m.place, vars(Record.of(m, 0.0)) | {"terms": None}) for m in expected
        ]
        assert [m.terms.priority for m in found if m.terms] == [
            m.terms.priority for m in expected if m.terms
        ]
        assert dues == expected_dues
        return found

    def ask(self, fetch: Fetch) -> None:
        """Page through an answer to its end."""
        while found := self.answers(fetch):
            fetch.after = found[-1].place
            if fetch.what == "delayed":
                fetch.due = self.model.kept[fetch.queue][fetch.after].due

    @rule(clean=st.booleans())
    def restart(self, *, clean: bool) -> None:
        """Stop in some order and start again."""
        self.settle_down()
        self.keeper.close(clean=clean)
        assert faults(self.path) == []
        self.keeper = Keeper(self.path)
        expected = {
            key: sum(not record.due for record in records.values())
            for key, records in self.model.kept.items()
            if records
        }
        assert expected == {
            queue.key: sum(lane.count for lane in queue.lanes.values())
            for queue in self.keeper.kept.queues
        }
        for queue in self.keeper.kept.queues:
            records = self.model.kept[queue.key]
            assert queue.last_place >= max(records)
            dues = [record.due for record in records.values() if record.due]
            assert queue.delayed_count == len(dues)
            assert queue.first_due == min(dues, default=None)
            expiries = [r.expires for r in records.values() if not r.due and r.expires != NEVER]
            assert queue.first_expiry == min(expiries, default=None)

    @invariant()
    def octets_add_up(self) -> None:
        """What is pending measures what its messages measure."""
        pending = self.keeper.store._pending  # noqa: SLF001 - it has no other face
        batch = pending.batch
        assert batch.octets == sum(message.size for _, _, message, _ in batch.puts())
        assert pending.count == sum(map(len, batch.queues.values()))


def _nobody(_messages: list[Message], _dues: list[float]) -> None:
    """Take no answer: the test takes it itself."""


StoreModel.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStore = StoreModel.TestCase
