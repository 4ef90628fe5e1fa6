"""A store that writes when a test says so, and fails as the test says."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Kept, Key, Kind


@dataclass
class GatedBatch:
    """What was collected: messages that were put, and how many other things happened."""

    ticket: int
    put: list[bytes] = field(default_factory=list)
    others: int = 0
    fetches: list[Fetch] = field(default_factory=list)


class GatedStore:
    """Satisfies `stompd.server.commit.DurableStore`; ``gate`` lets the worker through."""

    pages = False
    epoch = 0.0
    end = b"\0\n"
    min_free = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        # Set when the worker stands before the gate.
        self.waiting = threading.Event()
        # What the next attempts to write end with; None writes.
        self.errors: list[Exception | None] = []
        self.written: list[GatedBatch] = []
        # Of `written`, those that were written at once, and whether the next may be.
        self.at_once: list[GatedBatch] = []
        self.takes_at_once = True
        # What `close` was told; None as long as it is open.
        self.closed: bool | None = None
        # Set when the worker is about to close it; it does so once `closing` lets it.
        self.ending = threading.Event()
        self.closing = threading.Event()
        self.closing.set()
        self.pending_limit = 1 << 30
        self.full = False
        # Steps of tidying up that are left.
        self.steps = 0
        self.steps_taken = 0
        self.urgent = False
        self.opening: Exception | None = None
        self._numbers = 1
        self._batch: GatedBatch | None = None
        self._last = 0
        self._durable = 0

    # What the broker tells.

    def _collect(self) -> GatedBatch:
        if self._batch is None:
            self._batch = GatedBatch(self._numbers)
            self._numbers += 1
        return self._batch

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Collect a message."""
        del queue, due
        message.stored = True
        self._collect().put.append(bytes(message.body))

    def settle(self, queue: Key, message: Message) -> None:
        """Count it."""
        del queue, message
        self._collect().others += 1

    requeue = put

    def drop(
        self, queue: Key, priority: int, after: int, upto: int, spare: Collection[int]
    ) -> None:
        """Count it."""
        del queue, priority, after, upto, spare
        self._collect().others += 1

    def forget(self, queue: Key) -> None:
        """Count it."""
        del queue
        self._collect().others += 1

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Count it."""
        del queue, dedup_id, seen
        self._collect().others += 1

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Count it."""
        del queue, dedup_id
        self._collect().others += 1

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Count it."""
        del kind, key, record
        self._collect().others += 1

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Count it."""
        del kind, key
        self._collect().others += 1

    def begin_group(self) -> None:
        """Do nothing: all of a batch is written at once."""

    def end_group(self) -> None:
        """Do nothing, as above."""

    def ticket(self) -> int:
        """Return the number of what is collected or being written."""
        self.urgent = True
        if self._batch is not None:
            return self._batch.ticket
        return self._last if self._last > self._durable else 0

    def fetch(self, fetch: Fetch) -> None:
        """Refuse: it has no pages."""
        raise AssertionError(fetch)

    # What its owner does.

    @property
    def pending(self) -> bool:
        """True if something is collected."""
        return self._batch is not None

    @property
    def pending_octets(self) -> int:
        """Octets of what is collected."""
        return 0 if self._batch is None else sum(map(len, self._batch.put))

    @property
    def congested(self) -> bool:
        """True over the limit."""
        return self.pending_octets > self.pending_limit

    def open(self) -> Kept:
        """Be empty."""
        if self.opening is not None:
            raise self.opening
        return Kept()

    def take(self) -> GatedBatch | None:
        """Give up what was collected."""
        if self.full:
            self._collect()
        batch, self._batch = self._batch, None
        self.urgent = False
        if batch is not None:
            self._last = batch.ticket
        return batch

    def write(self, batch: GatedBatch) -> None:
        """Wait at the gate, then write or fail."""
        self.waiting.set()
        assert self.gate.wait(60), "the test does not open the gate"
        self.waiting.clear()
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.written.append(batch)

    def write_at_once(self, batch: GatedBatch) -> bool:
        """Write or fail, if that is allowed."""
        if not self.takes_at_once:
            return False
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.written.append(batch)
        self.at_once.append(batch)
        return True

    def committed(self, batch: GatedBatch) -> None:
        """Note it."""
        self._durable = batch.ticket
        self.full = False

    def take_back(self, batch: GatedBatch) -> None:
        """Collect it anew."""
        self.full = self.urgent = True
        later = self._batch
        if later is not None:
            batch.ticket = later.ticket
            batch.put += later.put
            batch.others += later.others
        self._batch = batch

    def read(self, fetch: Fetch) -> tuple[list[Message], list[float]]:
        """Refuse: it has no pages."""
        raise AssertionError(fetch)

    def idle(self) -> bool:
        """Take a step."""
        self.steps_taken += 1
        self.steps -= 1
        return self.steps > 0

    def close(self, clean: bool) -> None:  # noqa: FBT001 - as the interface has it
        """Note how it was closed."""
        self.ending.set()
        assert self.closing.wait(60), "the test does not let it close"
        self.closed = clean

    def status(self) -> dict[str, Any]:
        """Return what it is."""
        return {"engine": "gated"}

    @property
    def bodies(self) -> list[bytes]:
        """What was written."""
        return [body for batch in self.written for body in batch.put]
