"""What is said to SQLite: few statements that do much each, for each step costs a wait."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import apsw

from stompd.store.database import MIB, transaction
from stompd.store.record import RARE_COLUMNS

# How many rows an INSERT has, how long it may be (longer ones are not kept prepared), and how many
# octets of bodies are in it at most.
_SIZES: Final = (1, 4, 16, 64, 128, 256, 512, 1024)
_STATEMENT_LENGTH: Final = 15_000
_STATEMENT_OCTETS: Final = 4 * MIB
# From so many ids without a gap on they are a range.
_RUN: Final = 32
# Free pages that are given back in one step.
_VACUUM_STEP: Final = 1024

COUNTERS: Final = """
UPDATE lane SET count = lane.count {sign} d.count, octets = lane.octets {sign} d.octets,
                delayed_count = lane.delayed_count {sign} d.delayed_count,
                delayed_octets = lane.delayed_octets {sign} d.delayed_octets
FROM (SELECT id >> 42 AS number,
             sum(due IS NULL) AS count, sum(iif(due IS NULL, size, 0)) AS octets,
             sum(due IS NOT NULL) AS delayed_count,
             sum(iif(due IS NOT NULL, size, 0)) AS delayed_octets
      FROM message WHERE {which} GROUP BY 1) AS d
WHERE lane.number = d.number"""

LISTED: Final = "{column} IN (SELECT value FROM json_each(?))"
RANGE: Final = "{column} BETWEEN ? AND ?"

NEW_COUNTS: Final = """
UPDATE lane SET count = count + (value ->> 1), octets = octets + (value ->> 2),
                delayed_count = delayed_count + (value ->> 3),
                delayed_octets = delayed_octets + (value ->> 4),
                last_place = max(last_place, value ->> 5)
FROM json_each(?) WHERE lane.number = value ->> 0"""

_CHANGES: Final = ", ".join(f"{name} = value ->> {n}" for n, name in enumerate(RARE_COLUMNS, 1))
REQUEUE: Final = f"UPDATE message SET {_CHANGES} FROM json_each(?) WHERE message.id = value ->> 0"  # noqa: S608

# A page as one row: all bodies behind one another, and the rest as JSON. The inner query has the
# order; what is put together of its rows keeps to it.
_PAGE: Final = f"""
SELECT CAST(group_concat(CAST(body AS TEXT), '') AS BLOB),
       json_group_array(json_array(id, size, persistent, headers, length(body),
           CASE WHEN coalesce({", ".join(RARE_COLUMNS)}) IS NULL THEN NULL
                ELSE json_array({", ".join(RARE_COLUMNS)}) END))
FROM ({{rows}})"""  # noqa: S608 - our own words

# Which rows make an answer: as many as there may be, up to the one that brings it to the octets.
READY: Final = _PAGE.format(
    rows="""
    SELECT * FROM message WHERE id > ?1 AND due IS NULL AND id <= (
        SELECT max(id) FROM (
            SELECT id, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS before
            FROM (SELECT id, size FROM message WHERE id > ?1 AND id <= ?2 AND due IS NULL
                  ORDER BY id LIMIT ?3))
        WHERE before < ?4)
    ORDER BY id"""
)

_IN_TIME: Final = """
    SELECT message.* FROM (
        SELECT id, {time}, place,
               sum(size) OVER (ORDER BY {time}, place ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (SELECT id, size, id & 0x3ffffffffff AS place, {time} FROM message
              WHERE queue = ?1 AND {which} ORDER BY {time}, place LIMIT ?2)) AS chosen
    CROSS JOIN message ON message.id = chosen.id
    WHERE before < ?3
    ORDER BY chosen.{time}, place"""

DELAYED: Final = _PAGE.format(
    rows=_IN_TIME.format(
        time="due",
        which="due IS NOT NULL AND due >= ?4 AND (due > ?4 OR id & 0x3ffffffffff > ?5)",
    )
)
EXPIRED: Final = _PAGE.format(
    rows=_IN_TIME.format(
        time="expires", which="expires IS NOT NULL AND due IS NULL AND expires <= ?4"
    )
)

# As the index has it, which then answers alone.
_SENDER: Final = "iif(json_valid(more), json_extract(more, '$.sender'), NULL)"
SENDERS: Final = (
    f"SELECT queue, {_SENDER}, count(*), sum(size) FROM message"  # noqa: S608 - our own words
    f" WHERE {_SENDER} IS NOT NULL GROUP BY 1, 2"
)


class Rows:
    """Rows for one table of messages, written by few statements."""

    __slots__ = ("_db", "_insert", "_most", "_octets", "_values", "_width")

    def __init__(self, db: apsw.Connection, columns: tuple[str, ...]) -> None:
        self._db = db
        self._width = len(columns)
        self._insert = f"INSERT INTO message ({', '.join(columns)})"
        # So that the length of a statement allows to keep it prepared.
        self._most = max(size for size in _SIZES if 2 * size * self._width < _STATEMENT_LENGTH)
        self._values: list[Any] = []
        self._octets = 0

    def add(self, values: tuple[Any, ...], octets: int) -> None:
        """Add a row whose body has so many octets."""
        self._values += values
        self._octets += octets
        if len(self._values) >= self._most * self._width or self._octets > _STATEMENT_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Write what there is, in one step if possible.

        There are few statements, which are kept prepared; the last one is filled up with rows
        without an id, which are not written.
        """
        width = self._width
        rows = len(self._values) // width
        if not rows:
            return
        size = next(size for size in _SIZES if size >= rows)
        self._values += [None] * ((size - rows) * width)
        row = f"({','.join('?' * width)})"
        self._db.execute(
            f"{self._insert} SELECT * FROM (VALUES {','.join([row] * size)})"  # noqa: S608
            " WHERE column1 IS NOT NULL",
            self._values,
        )
        self._values = []
        self._octets = 0


def parts(ids: list[int]) -> Iterable[tuple[str, tuple[int | str, ...]]]:
    """Yield conditions that together hold for these ids and no others."""
    ids.sort()
    listed: list[int] = []
    begin = 0
    for at, (one, other) in enumerate(pairwise([*ids, -1]), 1):
        if other == one + 1:
            continue
        if at - begin >= _RUN:
            yield RANGE, (ids[begin], one)
        else:
            listed += ids[begin:at]
        begin = at
    if listed:
        yield LISTED, (json.dumps(listed),)


def probe(db: apsw.Connection, octets: int = MIB // 4) -> None:
    """Find out whether something can be written."""
    with transaction(db):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))", (octets,))
    with transaction(db):
        db.execute("DELETE FROM meta WHERE name = 'probe'")


def give_back(db: apsw.Connection) -> None:
    """Give some free pages back to the disk."""
    # It is done page by page, as its rows are asked for.
    db.execute(f"PRAGMA incremental_vacuum({_VACUUM_STEP})").fetchall()


def drop_transient(db: apsw.Connection) -> int:
    """Forget the messages that are not persistent; return how many there were."""
    which = "persistent = 0"
    db.execute(COUNTERS.format(sign="-", which=which))
    db.execute("DELETE FROM chunk WHERE message IN (SELECT id FROM message WHERE persistent = 0)")
    db.execute("DELETE FROM message WHERE persistent = 0")
    return db.changes()
