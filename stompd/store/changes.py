"""What a batch does to the file, as rows: what the journal holds, and what is applied from it.

A batch holds messages, which the broker may change later, and is thus turned into rows at once.
Rows that are not applied yet are kept by place, so that a settlement takes away the message that it
settles: what is consumed quickly never reaches the tables.
"""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Struct, field

from stompd.broker.storage import Key
from stompd.broker.terms import NORMAL
from stompd.store.batch import Batch, QueueBatch
from stompd.store.errors import StoreFullError
from stompd.store.record import PLACE_MASK, Writer, as_text, priority_of, to_milliseconds

# A new message: priority, size, persistent, headers, body, and `RARE_COLUMNS` unless all are NULL.
# `PLAIN` of these are always there.
Row = tuple[Any, ...]
PLAIN: Final = 5
_SIZE: Final = 1


class QueueChanges(Struct, array_like=True):
    """What becomes of one queue, to be carried out in this order."""

    # What is kept of it goes first.
    forgotten: bool = False
    # Priorities, by place.
    settles: dict[int, int] = field(default_factory=dict)
    # By place: the priority and `RARE_COLUMNS`.
    requeues: dict[int, Row] = field(default_factory=dict)
    puts: dict[int, Row] = field(default_factory=dict)
    # When dedup-ids were seen, in milliseconds since 1970; None for those to be forgotten.
    dedup: dict[str, int | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return (
            self.forgotten
            + len(self.settles)
            + len(self.requeues)
            + len(self.puts)
            + len(self.dedup)
        )

    @property
    def octets(self) -> int:
        """What its new messages measure."""
        return sum(row[_SIZE] for row in self.puts.values())

    def merge(self, later: QueueChanges) -> int:
        """Have what came later happen after this; return what settled messages of this measured.

        It must not forget all.
        """
        puts = self.puts
        octets = 0
        for place, priority in later.settles.items():
            row = puts.pop(place, None)
            if row is None:
                self.requeues.pop(place, None)
                self.settles[place] = priority
            else:
                octets += row[_SIZE]
        for place, changed in later.requeues.items():
            row = puts.get(place)
            if row is None:
                self.requeues[place] = changed
            else:
                puts[place] = (*row[:PLAIN], *changed[1:])
        puts.update(later.puts)
        self.dedup.update(later.dedup)
        return octets


class Changes(Struct, array_like=True):
    """What becomes durable together; names are those that the tables have."""

    queues: dict[tuple[str, str], QueueChanges] = field(default_factory=dict)
    # By kind and key: the record, None if it is to be forgotten. Key and record are JSON.
    definitions: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def merge(self, later: Changes) -> tuple[int, int]:
        """Have what came later happen after this, and become a part of it.

        Returns how many rows there are more then, and how many octets of messages that were new
        are gone.
        """
        queues = self.queues
        more = gone = 0
        for key, changes in later.queues.items():
            before = queues.get(key)
            if before is None:
                queues[key] = changes
                more += len(changes)
            elif changes.forgotten:
                queues[key] = changes
                more += len(changes) - len(before)
                gone += before.octets
            else:
                more -= len(before)
                gone += before.merge(changes)
                more += len(before)
        self.definitions.update(later.definitions)
        return more, gone

    def __len__(self) -> int:
        return sum(map(len, self.queues.values())) + len(self.definitions)

    def __bool__(self) -> bool:
        return bool(self.definitions) or any(self.queues.values())

    def forgotten(self) -> Changes:
        """Give up what is forgotten as a whole, to be applied first."""
        found = Changes()
        for key, changes in self.queues.items():
            if changes.forgotten:
                found.queues[key] = QueueChanges(forgotten=True)
                changes.forgotten = False
        return found

    def removals(self) -> Changes:
        """Return the settlements, which may be applied at any time and more than once."""
        return Changes(
            {
                key: QueueChanges(settles=changes.settles)
                for key, changes in self.queues.items()
                if changes.settles and not changes.forgotten
            }
        )


def name_of(key: Key) -> tuple[str, str]:
    """Return a queue's host and name as the tables have them."""
    host, name = key
    return as_text(host), as_text(name)


def changes_of(batch: Batch, writer: Writer) -> Changes:
    """Return the rows of a batch, without what it drops.

    Raises `StoreFullError` if a queue has no place left for one of its messages.
    """
    found = Changes()
    for key, pending in batch.queues.items():
        if pending:
            found.queues[name_of(key)] = _queue_changes(key, pending, batch.epoch, writer)
    for (kind, key_parts), record in batch.definitions.items():
        found.definitions[kind, json.dumps(key_parts)] = record
    return found


def _queue_changes(key: Key, pending: QueueBatch, epoch: float, writer: Writer) -> QueueChanges:
    # Both have an owner that does not change them any more.
    changes = QueueChanges(pending.forgotten, pending.settles)
    for place, (message, due) in pending.requeues.items():
        _, rare = writer.rare(message, due, epoch)
        changes.requeues[place] = (priority_of(message), *rare)
    dues = pending.dues
    puts = changes.puts
    plain = writer.plain
    for place, message in pending.puts.items():
        due = dues.get(place, 0.0) if dues else 0.0
        terms = message.terms
        headers = None if due or terms is not None else plain(message)
        if headers is not None:
            puts[place] = (NORMAL, message.size, message.persistent, headers, message.body)
        else:
            lines, rare = writer.rare(message, due, epoch)
            puts[place] = (
                priority_of(message),
                message.size,
                message.persistent,
                lines,
                message.body,
                *rare,
            )
    if puts and max(puts) > PLACE_MASK:
        raise StoreFullError(f"{key[1]} has had {PLACE_MASK} messages: empty it and remove it once")
    for dedup_id, seen in pending.dedup.items():
        changes.dedup[as_text(dedup_id)] = None if seen is None else to_milliseconds(seen, epoch)
    return changes
