"""Power cuts: what a disk may hold at any moment, and what the store makes of it.

A `Disk` stands between the store and the operating system and notes each write, truncation and sync
of SQLite's files and of the journal.
`cut` puts together the files as they may be after the power went at some moment: what was synced is
there; of what was not, any part may be, down to sectors of 512 octets, in any order.

    PYTHONPATH=spec-tests python -m store.powercut --cuts 5000 --seed 7

runs histories and cuts until there were so many, and fails with the seed of the history if what was
found was not what had been promised.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import apsw
from store.keeping import A, B, Keeper, faults, kept_in, plain

from stompd.broker.message import Message
from stompd.broker.storage import Key
from stompd.broker.terms import NORMAL, Terms
from stompd.store import journal, sqlite
from stompd.store.record import priority_of

SECTOR: Final = 512
_QUEUES: Final = (A, B, ("", "/queue/c"))


class Event(NamedTuple):
    """Something that happened to a file, or, with kind ``promise``, was promised."""

    kind: str
    name: str
    offset: int = 0
    data: bytes = b""


class _File(apsw.VFSFile):
    """A file whose changes are written down."""

    def __init__(
        self, name: apsw.URIFilename | str | None, flags: list[int], events: list[Event]
    ) -> None:
        super().__init__("unix", name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._name = Path(text).name
        self._events = events

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, and note what."""
        super().xWrite(data, offset)
        self._events.append(Event("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        """Truncate, and note it."""
        super().xTruncate(newsize)
        self._events.append(Event("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Note it; what is really synced does not matter here."""
        del flags
        self._events.append(Event("sync", self._name))


class JournalFile(journal.SyncedFile):
    """The journal, whose writes are written down: each is synced, but not before it ends."""

    def __init__(self, path: Path, events: list[Event]) -> None:
        new = not path.exists()
        super().__init__(path)
        self._name = path.name
        self._events = events
        if new:
            self._events.append(Event("sync", self._name))

    def write(self, data: bytearray | bytes, offset: int) -> None:
        """Write, and note what."""
        super().write(data, offset)
        self._events.append(Event("write", self._name, offset, bytes(data)))
        self.sync()

    def fill(self, offset: int, end: int) -> None:
        """Write zeros, and note it."""
        super().fill(offset, end)
        self._events.append(Event("write", self._name, offset, bytes(end - offset)))
        self.sync()

    def sync(self) -> None:
        """Note that it is on the disk."""
        self._events.append(Event("sync", self._name))


class Disk(apsw.VFS):
    """What SQLite takes for the operating system; ``name`` is how to ask for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        super().__init__(name, "unix")

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: apsw.URIFilename | str | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file on it."""
        return _File(name, flags, self.events)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - as above
        """Delete a file, and note it."""
        super().xDelete(filename, syncdir)
        self.events.append(Event("delete", Path(filename).name))

    def open_journal(self, path: Path) -> journal.SyncedFile:
        """Open the journal on it."""
        return JournalFile(path, self.events)

    def promise(self, number: int) -> None:
        """Note that a batch was said to be durable."""
        self.events.append(Event("promise", "", number))


@dataclass
class _Content:
    """A file while a moment is put together."""

    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[Event] = field(default_factory=list)


def _carry_out(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    end = event.offset + len(event.data)
    if end > len(content):
        content.extend(bytes(end - len(content)))
    content[event.offset : end] = event.data


def cut(events: list[Event], at: int, chance: random.Random) -> tuple[dict[str, bytes], int]:
    """Return the files as they may be if the power goes before event ``at``; and the last promise.

    In one of four ways: nothing that was not synced is there, all of it is, some of the writes are,
    or some sectors of some writes are.
    """
    found: dict[str, _Content] = {}
    promised = 0
    for event in events[:at]:
        if event.kind == "promise":
            promised = event.offset
            continue
        content = found.setdefault(event.name, _Content())
        if event.kind == "delete":
            del found[event.name]
        elif event.kind == "sync":
            for one in content.unsynced:
                _carry_out(content.synced, one)
            content.unsynced.clear()
        else:
            content.unsynced.append(event)
    way = chance.choice(["none", "all", "writes", "sectors", "sectors"])
    part = chance.random()
    for content in found.values():
        for event in content.unsynced if way != "none" else ():
            if way == "sectors" and event.kind == "write":
                for piece in _sectors(event):
                    if chance.random() < part:
                        _carry_out(content.synced, piece)
            elif way == "all" or chance.random() < part:
                _carry_out(content.synced, event)
    return {name: bytes(content.synced) for name, content in found.items()}, promised


def _sectors(event: Event) -> Iterator[Event]:
    """Yield what a write does to each sector."""
    at = event.offset
    end = at + len(event.data)
    while at < end:
        upto = min(end, (at // SECTOR + 1) * SECTOR)
        begin = at - event.offset
        yield Event("write", event.name, at, event.data[begin : begin + upto - at])
        at = upto


# What is kept of a message: body, attempts, and when it is due.
_Row = tuple[bytes, int, float]
_State = tuple[dict[Key, dict[int, _Row]], dict[str, int]]


class History:
    """A store at work, and what the disk and its owner know of that."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.disk = Disk(f"disk-{seed}")
        # How often there is nothing to do, so that the journal is applied.
        self.quiet = self.chance.choice([0.02, 0.1, 0.3])
        # What was there after each batch; after none: nothing.
        self.states: list[_State] = [({}, {})]
        self.persistent: dict[Key, dict[int, _Row]] = {}
        self.definitions: dict[str, int] = {}
        self.held: dict[tuple[Key, int], Message] = {}
        keeper = Keeper(directory, vfs=self.disk.name, open_file=self.disk.open_journal)
        try:
            for _ in range(self.chance.randint(5, 30)):
                self._work(keeper)
        finally:
            keeper.close(clean=False)
            self.disk.unregister()

    def _work(self, keeper: Keeper) -> None:
        chance = self.chance
        store = keeper.store
        for _ in range(chance.choice([1, 3, 30])):
            self._tell(keeper)
        batch = store.take()
        if batch is not None:
            self.states.append(
                (
                    {key: dict(rows) for key, rows in self.persistent.items() if rows},
                    dict(self.definitions),
                )
            )
            store.write(batch)
            store.committed(batch)
            self.disk.promise(len(self.states) - 1)
        if chance.random() < self.quiet:
            keeper.fold()
        elif chance.random() < 0.05:
            keeper.read(chance.choice(_QUEUES))

    def _tell(self, keeper: Keeper) -> None:
        chance = self.chance
        store = keeper.store
        queue = chance.choice(_QUEUES)
        rows = self.persistent.setdefault(queue, {})
        match chance.choice(["put", "put", "put", "settle", "settle", "requeue", "drop", "rare"]):
            case "put":
                size = chance.choice([0, 10, 1000, 5000, 20_000])
                if chance.random() < 0.02:
                    size = 1_200_000
                due = chance.choice([0.0, 0.0, 0.0, 50.0])
                # Those that belong together: all of them are there in the end, or none.
                store.begin_group()
                for _ in range(chance.choice([1, 2, 5])):
                    body = chance.randbytes(min(size, 8)) + b"." * size
                    persistent = chance.random() < 0.9
                    terms = Terms(chance.choice([4, 4, 7]))
                    message = plain(body, persistent=persistent, terms=terms)
                    keeper.put(queue, message, due)
                    if persistent:
                        rows[message.place] = (body, 0, due)
                        self.held[queue, message.place] = message
                store.end_group()
            case "settle" if rows:
                first = chance.choice(sorted(rows))
                for place in [place for place in sorted(rows) if place >= first][:40]:
                    store.settle(queue, self.held.pop((queue, place)))
                    del rows[place]
            case "requeue" if rows:
                place = chance.choice(sorted(rows))
                message = self.held[queue, place]
                message.count += 1
                due = chance.choice([0.0, 70.0])
                store.requeue(queue, message, due)
                rows[place] = (message.body, message.count, due)
            case "drop" if rows and chance.random() < 0.3:
                after, upto = sorted(chance.choices(range(max(rows) + 1), k=2))
                store.drop(queue, NORMAL, after, upto, ())
                for place in [place for place in rows if after < place <= upto]:
                    if not rows[place][2] and priority_of(self.held[queue, place]) == NORMAL:
                        del rows[place]
            case "rare":
                if chance.random() < 0.1:
                    store.forget(queue)
                    rows.clear()
                else:
                    name = chance.choice("abc")
                    self.definitions[name] = self.definitions.get(name, 0) + 1
                    store.define("queue", ("", name), {"n": self.definitions[name]})
            case _:
                pass

    def check(self, at: int, chance: random.Random) -> None:
        """Cut the power before event ``at``, start again, and see that every promise was kept."""
        contents, promised = cut(self.disk.events, at, chance)
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            for file, content in contents.items():
                (directory / file).write_bytes(content)
            with kept_in(directory, clean=False) as keeper:
                found = _state_of(keeper)
            assert faults(directory) == []
        # The batch that was being written may be there as well, if it is there wholly.
        assert found in self.states[promised : promised + 2], f"batch {promised}: {found}"


def _state_of(keeper: Keeper) -> _State:
    state: dict[Key, dict[int, _Row]] = {}
    for queue in keeper.kept.queues:
        rows = state[queue.key] = {}
        for priority, lane in queue.lanes.items():
            messages, _ = keeper.read(queue.key, priority=priority)
            assert len(messages) == lane.count
            assert sum(message.size for message in messages) == lane.octets
            for message in messages:
                rows[message.place] = (message.body, message.count, 0.0)
        messages, dues = keeper.read(queue.key, "delayed")
        assert len(messages) == queue.delayed_count
        for message, due in zip(messages, dues, strict=True):
            rows[message.place] = (message.body, message.count, due)
        assert queue.last_place >= max(rows)
    return state, {key[1]: record["n"] for _, key, record in keeper.kept.definitions}


def run(cuts: int, seed: int) -> int:
    """Run histories from ``seed`` on until there were so many cuts; return how many histories.

    Raises `AssertionError` with the seed of the history if a promise was broken.
    """
    kept = sqlite._WAL_KEPT  # noqa: SLF001 - so that cutting off the log is a part of it
    size = journal.SIZE
    done = 0
    number = seed
    try:
        while done < cuts:
            sqlite._WAL_KEPT = kept if number % 2 else 0  # type: ignore[misc]  # noqa: SLF001
            # So that it gets full, and begins anew, now and then.
            journal.SIZE = size if number % 3 else 30_000  # type: ignore[misc]
            with tempfile.TemporaryDirectory() as name:
                history = History(number, Path(name) / "data")
                chance = random.Random(number)  # noqa: S311 - as above
                events = len(history.disk.events)
                for _ in range(min(50, cuts - done)):
                    at = chance.randint(0, events)
                    try:
                        history.check(at, chance)
                    except Exception as error:
                        raise AssertionError(
                            f"seed {number}, cut before event {at} of {events}: {error}"
                        ) from error
                    done += 1
            number += 1
    finally:
        sqlite._WAL_KEPT = kept  # type: ignore[misc]  # noqa: SLF001 - as above
        journal.SIZE = size  # type: ignore[misc]
    return number - seed


def main() -> None:
    """Do what is described above."""
    parser = argparse.ArgumentParser(description="Cut the power of stompd's store, many times.")
    parser.add_argument("--cuts", type=int, default=5000, help="how many (5000)")
    parser.add_argument("--seed", type=int, help="of the first history (by the clock)")
    arguments = parser.parse_args()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    print(f"powercut: {arguments.cuts} cuts, --seed {seed}", flush=True)  # noqa: T201 - a script
    began = time.monotonic()
    histories = run(arguments.cuts, seed)
    print(  # noqa: T201 - as above
        f"powercut: every promise kept, in {histories} histories; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
