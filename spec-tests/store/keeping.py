"""A store with its owner: what the server does around it, in one thread and at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from stompd.broker.message import SMALL, Message
from stompd.broker.storage import Fetch, Kept, Key
from stompd.broker.terms import NORMAL, Terms
from stompd.protocol.frame import V12, Head
from stompd.protocol.headers import Heads
from stompd.store.journal import OpenFile
from stompd.store.sqlite import SqliteStore

EPOCH = 1_700_000_000.0
END = b"\0\n"
A: Key = ("", "/queue/a")
B: Key = ("", "/queue/b")

_HEADS = Heads(V12, frozenset(("SEND",)), strict=True)


def head_of(block: bytes) -> Head:
    """Return the head of header lines that mean the same in every version."""
    head = _HEADS.quick_head(b"SEND\n" + block, 1 << 30, 1000)
    assert head is not None
    return head


def plain(
    body: bytes = b"",
    block: bytes = b"destination:/queue/a\npersistent:true",
    *,
    persistent: bool = True,
    terms: Terms | None = None,
) -> Message:
    """Return a message as SEND makes it of a plain head."""
    head = head_of(block)
    forward = block + b"\n"
    if head.shape.length is None and body:
        forward += b"content-length:%d\n" % len(body)
    forward += b"\n"
    if len(body) < SMALL:
        message = Message(head, body, forward + body + END, persistent)
    else:
        message = Message(head, body, None, persistent)
        message.same = (forward, body, END)
    message.terms = terms
    return message


class Keeper:
    """Owns a `SqliteStore`."""

    def __init__(
        self,
        directory: Path,
        *,
        vfs: str | None = None,
        open_file: OpenFile | None = None,
        **settings: int,
    ) -> None:
        self.store = SqliteStore(directory, vfs=vfs, open_file=open_file, **settings)
        self.store.epoch = EPOCH
        self.kept: Kept = self.store.open()
        self._places: dict[Key, int] = {q.key: q.last_place for q in self.kept.queues}

    def put(self, queue: Key, message: Message, due: float = 0.0) -> Message:
        """Put a message at the next place of its queue."""
        place = self._places.get(queue, 0) + 1
        self._places[queue] = message.place = place
        message.stored = True
        self.store.put(queue, message, due)
        return message

    def commit(self) -> int:
        """Make durable what was told, and return the number of the batch; 0 if there was none."""
        batch = self.store.take()
        if batch is None:
            return 0
        self.store.write(batch)
        self.store.committed(batch)
        return batch.ticket

    def fold(self) -> None:
        """Have nothing left in the journal."""
        while self.store.idle():
            pass

    def read(
        self,
        queue: Key = A,
        what: Literal["ready", "delayed", "expired"] = "ready",
        *,
        count: int = 1000,
        octets: int = 1 << 30,
        priority: int = NORMAL,
        after: int = 0,
        due: float = 0.0,
    ) -> tuple[list[Message], list[float]]:
        """Return the answer to a fetch."""
        return self.store.read(
            Fetch(
                queue,
                what,
                lambda _messages, _dues: None,
                count=count,
                octets=octets,
                priority=priority,
                after=after,
                due=due,
            )
        )

    def bodies(self, queue: Key = A, priority: int = NORMAL) -> list[bytes]:
        """Return the bodies of what waits, as the file has it."""
        return [message.body for message in self.read(queue, priority=priority)[0]]

    def close(self, *, clean: bool = True) -> None:
        """Close the store."""
        self.store.close(clean)


@contextmanager
def kept_in(
    directory: Path,
    *,
    clean: bool = True,
    vfs: str | None = None,
    open_file: OpenFile | None = None,
    **settings: int,
) -> Iterator[Keeper]:
    """Open a store for a while."""
    keeper = Keeper(directory, vfs=vfs, open_file=open_file, **settings)
    try:
        yield keeper
    finally:
        keeper.close(clean=clean)


def faults(directory: Path) -> list[str]:
    """Return what is wrong in a file that no store has open, by another reader than the store's."""
    db = sqlite3.connect(directory / "stompd.db")
    try:
        found = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"lane {row}"
            for row in db.execute(
                "SELECT number, count, octets, delayed_count, delayed_octets FROM lane EXCEPT"
                " SELECT number, count(CASE WHEN due IS NULL THEN id END),"
                " coalesce(sum(CASE WHEN due IS NULL THEN size END), 0),"
                " count(due),"
                " coalesce(sum(CASE WHEN due IS NOT NULL THEN size END), 0)"
                " FROM lane LEFT JOIN message ON message.id >> 42 = number GROUP BY number"
            )
        ]
        found += [
            f"message {row}"
            for row in db.execute(
                "SELECT id FROM message WHERE (id >> 42, queue) NOT IN"
                " (SELECT number, queue FROM lane)"
            )
        ]
        found += [
            f"chunk {row}"
            for row in db.execute(
                "SELECT message FROM chunk WHERE message NOT IN"
                " (SELECT id FROM message WHERE chunks > number)"
            )
        ]
        return found
    finally:
        db.close()
