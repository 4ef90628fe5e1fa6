"""The tables, as they are written to: what changes do to them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import apsw

from stompd.store.batch import Drop
from stompd.store.changes import PLAIN, Changes, QueueChanges, Row
from stompd.store.errors import StoreFullError
from stompd.store.record import (
    CHUNK,
    LANE_LIMIT,
    PLACE_BITS,
    PLACE_MASK,
    PLAIN_COLUMNS,
    RARE_COLUMNS,
)
from stompd.store.statements import COUNTERS, LISTED, NEW_COUNTS, RANGE, REQUEUE, Rows, parts

# A queue's host and name, as the tables have them.
Name = tuple[str, str]

_NOTHING_RARE: Final = (None,) * len(RARE_COLUMNS)
# More lanes than can be new in all that the journal may hold.
_SPARE: Final = 100_000
# Where a row has the time at which it is due.
_DUE: Final = PLAIN + RARE_COLUMNS.index("due")


class Tables:
    """Writes to the tables, within transactions of its owner's.

    It knows the numbers of queues and lanes; after a transaction that was undone it has to `load`.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.queues: dict[Name, int] = {}
        # Whose lane is which.
        self.lanes: dict[tuple[Name, int], int] = {}
        self.priorities: dict[int, int] = {}
        self._next_lane = 1
        # True if there may be bodies in pieces.
        self._chunked = False
        self.load()

    def load(self) -> None:
        """Learn the numbers of queues and lanes."""
        db = self._db
        names = {
            number: (host, name)
            for number, host, name in db.execute("SELECT number, host, name FROM queue")
        }
        self.queues = {name: number for number, name in names.items()}
        self.lanes = {}
        self.priorities = {}
        for number, queue, priority in db.execute("SELECT number, queue, priority FROM lane"):
            self.lanes[names[queue], priority] = number
            self.priorities[number] = priority
        self._next_lane = max(self.priorities, default=0) + 1
        self._chunked = bool(db.execute("SELECT EXISTS (SELECT 1 FROM chunk)").get)

    @property
    def roomy(self) -> bool:
        """True if there are numbers for all queues that the journal may bring."""
        return len(self.priorities) < LANE_LIMIT - _SPARE

    def apply(self, changes: Changes) -> None:
        """Carry changes out."""
        lanes = self.lanes
        gone: list[int] = []
        changed: list[tuple[Any, ...]] = []
        for name, of_queue in changes.queues.items():
            if of_queue.forgotten:
                self._forget(name)
            for place, priority in of_queue.settles.items():
                lane = lanes.get((name, priority))
                if lane is not None:
                    gone.append(lane << PLACE_BITS | place)
            for place, (priority, *rare) in of_queue.requeues.items():
                lane = lanes.get((name, priority))
                if lane is not None:
                    changed.append((lane << PLACE_BITS | place, *rare))
        self._delete(gone)
        self._change(changed)
        self._insert(changes)
        self._note_dedup(changes.queues.items())
        self._define(changes)

    def _forget(self, name: Name) -> None:
        db = self._db
        number = self.queues.pop(name, None)
        if number is not None:
            for owner, priority in [lane for lane in self.lanes if lane[0] == name]:
                lane = self.lanes.pop((owner, priority))
                del self.priorities[lane]
                first = lane << PLACE_BITS
                self._delete_where(RANGE, (first, first | PLACE_MASK))
            db.execute("DELETE FROM lane WHERE queue = ?", (number,))
            db.execute("DELETE FROM queue WHERE number = ?", (number,))
        db.execute("DELETE FROM dedup WHERE host = ? AND name = ?", name)

    def _delete_where(self, which: str, values: tuple[int | str, ...]) -> None:
        db = self._db
        if self._chunked:
            where = which.format(column="message")
            db.execute(f"DELETE FROM chunk WHERE {where}", values)  # noqa: S608 - our own words
        where = which.format(column="id")
        db.execute(f"DELETE FROM message WHERE {where}", values)  # noqa: S608 - as above

    def drop(self, name: Name, drop: Drop) -> None:
        """Forget a range of those that wait."""
        db = self._db
        lane = self.lanes.get((name, drop.priority))
        if lane is None:
            return
        first = lane << PLACE_BITS
        spare = json.dumps([first | place for place in drop.spare])
        values = (first | drop.after, first | min(drop.upto, PLACE_MASK), spare)
        which = (
            "{column} > ? AND {column} <= ? AND {column} NOT IN (SELECT value FROM json_each(?))"
        )
        waiting = f"{which.format(column='id')} AND due IS NULL"
        db.execute(COUNTERS.format(sign="-", which=waiting), values)
        if self._chunked:
            db.execute(
                "DELETE FROM chunk WHERE message IN"  # noqa: S608 - our own words
                f" (SELECT id FROM message WHERE {waiting})",
                values,
            )
        db.execute(f"DELETE FROM message WHERE {waiting}", values)  # noqa: S608 - as above

    def _delete(self, ids: list[int]) -> None:
        for which, values in parts(ids):
            self._db.execute(COUNTERS.format(sign="-", which=which.format(column="id")), values)
            self._delete_where(which, values)

    def _change(self, changed: list[tuple[Any, ...]]) -> None:
        if not changed:
            return
        db = self._db
        which = LISTED.format(column="id")
        ids = (json.dumps([identity for identity, *_ in changed]),)
        db.execute(COUNTERS.format(sign="-", which=which), ids)
        db.execute(REQUEUE, (json.dumps(changed),))
        db.execute(COUNTERS.format(sign="+", which=which), ids)

    def _insert(self, changes: Changes) -> None:
        db = self._db
        plain = Rows(db, PLAIN_COLUMNS)
        rare = Rows(db, (*PLAIN_COLUMNS, *RARE_COLUMNS))
        # Of each lane: count, octets, delayed_count, delayed_octets, last place.
        counts: dict[int, list[int]] = {}
        for name, of_queue in changes.queues.items():
            if of_queue.puts:
                self._insert_queue(name, of_queue, plain, rare, counts)
        plain.flush()
        rare.flush()
        if counts:
            db.execute(NEW_COUNTS, (json.dumps([(lane, *c) for lane, c in counts.items()]),))

    def _insert_queue(
        self,
        name: Name,
        changes: QueueChanges,
        plain: Rows,
        rare: Rows,
        counts: dict[int, list[int]],
    ) -> None:
        queue = self.queues.get(name) or self._new_queue(name)
        # By priority.
        lanes: dict[int, tuple[int, list[int]]] = {}
        for place, row in changes.puts.items():
            priority, size, *_ = row
            found = lanes.get(priority)
            if found is None:
                lane = self.lanes.get((name, priority)) or self._new_lane(name, queue, priority)
                found = lanes[priority] = (lane, counts.setdefault(lane, [0, 0, 0, 0, 0]))
            lane, count = found
            identity = lane << PLACE_BITS | place
            at = 0
            if len(row) == PLAIN or row[PLAIN:] == _NOTHING_RARE:
                plain.add((identity, queue, *row[1:PLAIN]), len(row[PLAIN - 1]))
            else:
                self._insert_rare(rare, identity, queue, row)
                if row[_DUE] is not None:
                    at = 2
            count[at] += 1
            count[at + 1] += size
            count[4] = max(count[4], place)

    def _insert_rare(self, rows: Rows, identity: int, queue: int, row: Row) -> None:
        body: bytes | None = row[PLAIN - 1]
        assert body is not None  # noqa: S101 - only the tables have it elsewhere
        size = len(body)
        if size > CHUNK:
            self._chunked = True
            view = memoryview(body)
            for number, at in enumerate(range(0, size, CHUNK)):
                self._db.execute(
                    "INSERT INTO chunk VALUES (?, ?, ?)", (identity, number, view[at : at + CHUNK])
                )
            body = None
            size = 0
        rows.add((identity, queue, *row[1 : PLAIN - 1], body, *row[PLAIN:]), size)

    def _new_queue(self, name: Name) -> int:
        number = self._db.execute(
            "INSERT INTO queue (host, name) VALUES (?, ?) RETURNING number", name
        ).get
        assert isinstance(number, int)  # noqa: S101 - it is the rowid
        self.queues[name] = number
        return number

    def _new_lane(self, name: Name, queue: int, priority: int) -> int:
        number = self._next_lane
        while number in self.priorities or not 0 < number < LANE_LIMIT:
            if len(self.priorities) >= LANE_LIMIT - 1:
                raise StoreFullError(f"there are {LANE_LIMIT} queues: the file cannot hold more")
            number = (number + 1) % LANE_LIMIT
        self._next_lane = number + 1
        self._db.execute(
            "INSERT INTO lane (number, queue, priority) VALUES (?, ?, ?)", (number, queue, priority)
        )
        self.lanes[name, priority] = number
        self.priorities[number] = priority
        return number

    def _note_dedup(self, queues: Iterable[tuple[Name, QueueChanges]]) -> None:
        db = self._db
        kept = []
        gone = []
        for name, changes in queues:
            for dedup_id, seen in changes.dedup.items():
                if seen is None:
                    gone.append((*name, dedup_id))
                else:
                    kept.append((*name, dedup_id, seen))
        if kept:
            db.execute(
                "INSERT OR REPLACE INTO dedup SELECT value ->> 0, value ->> 1, value ->> 2,"
                " value ->> 3 FROM json_each(?)",
                (json.dumps(kept),),
            )
        if gone:
            db.execute(
                "DELETE FROM dedup WHERE (host, name, dedup_id) IN"
                " (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
                (json.dumps(gone),),
            )

    def _define(self, changes: Changes) -> None:
        db = self._db
        for (kind, key), record in changes.definitions.items():
            if record is None:
                db.execute("DELETE FROM definition WHERE kind = ? AND key = ?", (kind, key))
            else:
                db.execute(
                    "INSERT OR REPLACE INTO definition VALUES (?, ?, ?)", (kind, key, record)
                )
