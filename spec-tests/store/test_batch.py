"""What was told and is not written yet: batches come to the same as each word by itself."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.keeping import A, B, plain

from stompd.broker.message import Message
from stompd.broker.storage import Kind
from stompd.broker.terms import Terms
from stompd.store.batch import Batch, Drop, Pending, QueueBatch

# What a queue holds: by place the priority, when it is due, and how often it was requeued.
_Rows = dict[int, tuple[int, float, int]]


class Step(NamedTuple):
    """Something that may be told; numbers pick among what is there."""

    kind: str
    which: int = 0
    priority: int = 4
    due: float = 0.0


_KINDS = (
    *("put", "put", "put", "settle", "requeue", "requeue", "drop", "drop"),
    *("forget", "take", "take", "back", "back", "done"),
)


def steps_of(seed: int) -> list[Step]:
    """Return a long history; lists of hypothesis are mostly too short for much to happen."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    return [
        Step(
            chance.choice(_KINDS),
            chance.randrange(100),
            chance.choice([4, 4, 9]),
            chance.choice([0.0, 0.0, 5.0]),
        )
        for _ in range(chance.randrange(60))
    ]


def message_of(place: int, priority: int, count: int) -> Message:
    """Return a message as a consumer has it."""
    message = plain(b"x", terms=Terms(priority))
    message.place = place
    message.count = count
    return message


def carry_out(rows: _Rows, pending: QueueBatch) -> None:
    """Do to a file what a batch says, in the order that is promised."""
    if pending.forgotten:
        rows.clear()
    for drop in pending.drops:
        drop_from(rows, drop)
    for place, priority in pending.settles.items():
        # A drop may have had it already.
        found = rows.pop(place, None)
        assert found is None or found[0] == priority
    for place, (message, due) in pending.requeues.items():
        assert place in rows
        rows[place] = (rows[place][0], due, message.count)
    for place, message in pending.puts.items():
        assert place not in rows
        assert message.terms is not None
        rows[place] = (message.terms.priority, pending.dues.get(place, 0.0), message.count)


def drop_from(rows: _Rows, drop: Drop) -> None:
    """Do what a drop promises."""
    for place, (priority, due, _) in list(rows.items()):
        waits = priority == drop.priority and not due
        if waits and drop.after < place <= drop.upto and place not in drop.spare:
            del rows[place]


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 1 << 32))
def test_batches_come_to_the_same(seed: int) -> None:
    """Whatever is told, taken, written or taken back: the file is as if each word were obeyed."""
    file: _Rows = {}
    expected: _Rows = {}
    pending = Pending(Batch(1, 0.0))
    number = 1
    in_flight: Batch | None = None
    last = 0
    for kind, which, priority, due in steps_of(seed):
        places = sorted(expected)
        picked = places[which % len(places)] if places else 0
        match kind:
            case "put":
                last += 1
                pending.put(A, message_of(last, priority, 0), due)
                expected[last] = (priority, due, 0)
            case "settle" if picked:
                pending.settle(A, message_of(picked, *expected.pop(picked)[::2]))
            case "requeue" if picked:
                old, _, count = expected[picked]
                pending.requeue(A, message_of(picked, old, count + 1), due)
                expected[picked] = (old, due, count + 1)
            case "drop":
                spare = frozenset(places[which % 3 :: 4])
                drop = Drop(priority, which % 3, last - which % 2, spare)
                pending.drop(A, drop)
                drop_from(expected, drop)
            case "forget":
                pending.forget(A)
                expected.clear()
                last = 0
            case "take" if in_flight is None:
                number += 1
                in_flight = pending.take(Batch(number, 0.0))
            case "back" if in_flight is not None:
                light = in_flight.take_light()
                if which % 2:
                    carry_out(file, light.queues.get(A, QueueBatch()))
                else:
                    in_flight.put_back(light)
                pending.take_back(in_flight)
                in_flight = None
            case "done" if in_flight is not None:
                carry_out(file, in_flight.queues.get(A, QueueBatch()))
                in_flight = None
            case _:
                pass
        assert pending.count == sum(map(len, pending.batch.queues.values()))
        assert pending.batch.octets == sum(m.size for _, _, m, _ in pending.batch.puts())
    for batch in (in_flight, pending.take(Batch(number + 1, 0.0))):
        if batch is not None:
            carry_out(file, batch.queues.get(A, QueueBatch()))
    assert file == expected


def test_dedup_ids_and_definitions_coalesce() -> None:
    """The last word counts, across a batch that was taken back as well."""
    pending = Pending(Batch(1, 0.0))
    pending.remember(A, "id", 1.0)
    pending.define("queue", ("", "a"), "{}")
    batch = pending.take(Batch(2, 0.0))
    pending.remember(A, "id", None)
    pending.remember(A, "id", 2.0)
    pending.remember(A, "gone", None)
    pending.define("queue", ("", "a"), None)
    assert pending.count == 3
    pending.take_back(batch)
    assert pending.batch.queues[A].dedup == {"id": 2.0, "gone": None}
    assert pending.batch.definitions == {("queue", ("", "a")): None}
    assert pending.count == 3
    assert pending.batch.ticket == 2
    assert repr(pending.batch) == "<Batch 2: 3 operations, 0 octets>"


def test_what_belongs_to_a_put_stays_with_it() -> None:
    """Of a group that puts something nothing goes ahead; of one that does not all may."""
    pending = Pending(Batch(1, 0.0), [A, B])
    pending.begin_group()
    pending.begin_group()
    pending.settle(A, message_of(1, 4, 0))
    pending.end_group()
    pending.put(B, message_of(1, 4, 0), 0.0)
    pending.end_group()
    pending.begin_group()
    pending.settle(A, message_of(2, 4, 0))
    pending.end_group()
    batch = pending.take(Batch(2, 0.0))
    light = batch.take_light()
    assert light.queues[A].settles == {2: 4}
    assert batch.queues[A].settles == {1: 4}
    pending.begin_group()
    pending.drop(A, Drop(4, 0, 5, frozenset()))
    pending.forget(B)
    pending.put(("", "/queue/c"), message_of(1, 4, 0), 0.0)
    pending.end_group()
    assert not pending.take(Batch(3, 0.0)).take_light()


def test_a_definition_stays_with_what_is_forgotten_with_it() -> None:
    """A queue and its definition go together; if something is defined instead, with that."""
    name: tuple[Kind, tuple[str, str]] = ("queue", ("", "a"))
    other: tuple[Kind, tuple[str, str]] = ("queue", ("", "b"))
    pending = Pending(Batch(1, 0.0), [A, B])
    pending.begin_group()
    pending.forget(A)
    pending.define(*name, None)
    pending.end_group()
    batch = pending.take(Batch(2, 0.0))
    light = batch.take_light()
    assert light.queues[A].forgotten
    assert light.definitions == {name: None}
    assert not batch
    batch.put_back(light)
    assert batch.definitions == {name: None}
    assert batch.queues[A].forgotten
    pending.begin_group()
    pending.forget(B)
    pending.define(*name, None)
    pending.define(*other, "{}")
    pending.end_group()
    batch = pending.take(Batch(3, 0.0))
    assert not batch.take_light()
    pending.take_back(batch)
    assert not pending.take(Batch(4, 0.0)).take_light()


def test_a_group_is_never_torn() -> None:
    """A batch that is taken within a group would tear it: that is a fault of the caller's."""
    pending = Pending(Batch(1, 0.0))
    pending.begin_group()
    with pytest.raises(AssertionError, match="group"):
        pending.take(Batch(2, 0.0))
