"""Answers to the broker's questions: messages out of the tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import apsw
import msgspec

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Key
from stompd.store.changes import name_of
from stompd.store.database import MIB
from stompd.store.record import PLACE_BITS, PLACE_MASK, Reader, to_milliseconds, to_seconds
from stompd.store.statements import DELAYED, EXPIRED, READY
from stompd.store.tables import Tables

# An answer holds no more octets than that and one message.
_ANSWER_OCTETS: Final = 128 * MIB
# A page has thousands of rows, and this takes half the time of json's.
_decode: Final = msgspec.json.Decoder().decode


class Answers:
    """Reads from the tables what is asked for."""

    def __init__(self, db: apsw.Connection, tables: Tables, reader: Reader) -> None:
        self._db = db
        self._tables = tables
        self._reader = reader
        # By queue: the epoch with which it is being told what is delayed.
        self._told: dict[Key, float] = {}

    def read(
        self, fetch: Fetch, epoch: float, gone: Collection[int] = ()
    ) -> tuple[list[Message], list[float]]:
        """Return the answer to a fetch: messages, and for delayed ones when they are due.

        Without those whose places are ``gone``.
        """
        name = name_of(fetch.queue)
        question: str
        values: tuple[int, ...]
        octets = min(max(fetch.octets, 1), _ANSWER_OCTETS)
        if fetch.what == "ready":
            lane = self._tables.lanes.get((name, fetch.priority))
            if lane is None:
                return [], []
            first = lane << PLACE_BITS
            after = first | min(fetch.after, PLACE_MASK)
            question = READY
            values = (after, first | PLACE_MASK, fetch.count, octets)
        else:
            queue = self._tables.queues.get(name)
            if queue is None:
                return [], []
            if fetch.what == "delayed":
                # With another epoch the next part would not begin where the last one ended.
                if fetch.after:
                    epoch = self._told.get(fetch.queue, epoch)
                self._told[fetch.queue] = epoch
                due = to_milliseconds(fetch.due, epoch)
                question = DELAYED
                values = (queue, fetch.count, octets, due, fetch.after)
            else:
                # A hundredth for what the addition of the epoch rounded.
                due = int((fetch.due + epoch) * 1000 + 0.01)
                question = EXPIRED
                values = (queue, fetch.count, octets, due)
        # There is one row: asking for the next one would only cost a wait.
        bodies, rows = next(self._db.execute(question, values))
        messages, dues = self._messages(
            bodies or b"", _decode(rows), epoch, delayed=fetch.what == "delayed"
        )
        if gone:
            dues = [due for m, due in zip(messages, dues, strict=False) if m.place not in gone]
            messages = [message for message in messages if message.place not in gone]
        return messages, dues

    def _messages(
        self, bodies: bytes, rows: list[list[Any]], epoch: float, *, delayed: bool
    ) -> tuple[list[Message], list[float]]:
        messages = []
        dues = []
        make = self._reader.message
        priorities = self._tables.priorities
        at = 0
        for identity, size, persistent, headers, length, told in rows:
            rare = None
            if told is not None:
                rare = _decode(told) if isinstance(told, str) else told
            if length is None:
                chunks = self._db.execute(
                    "SELECT data FROM chunk WHERE message = ? ORDER BY number", (identity,)
                )
                body = b"".join(data for (data,) in chunks)
            else:
                end = at + length
                body = bodies[at:end]
                at = end
            priority = priorities[identity >> PLACE_BITS]
            messages.append(
                make(identity & PLACE_MASK, priority, size, persistent, headers, body, rare, epoch)
            )
            if delayed:
                assert rare is not None  # noqa: S101 - it has a due time
                dues.append(to_seconds(rare[3], epoch))
        return messages, dues
