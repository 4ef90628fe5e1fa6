"""The rhythm of a durable store: what the broker told it is written by a thread, batch by batch.

Everything that was told while one batch is written becomes the next (group commit): the more there
is to do, the larger batches get. A batch is handed over at the end of a round of work, when
somebody waits for it, and after ``store.commit-interval`` when nobody does. At most one job is with
the thread at any time, so the store needs no locks: the main thread collects, the worker writes.

The thread tells what came of it through a socket in the poller's selector, because that is where
the main thread waits when there is little to do.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
import trio

from stompd.broker.storage import Store
from stompd.server.buckets import COMMIT, Buckets
from stompd.server.disk_pace import DiskPace
from stompd.store.errors import StoreFailedError, StoreFullError

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.message import Message
    from stompd.broker.storage import Fetch, Kept
    from stompd.server.config import StoreSettings

log = structlog.get_logger()

# Seconds between attempts to write while there is no room.
_RETRY_AFTER: Final = 1.0
# A commit costs as much as dozens of messages. A batch of fewer octets is worth a look for more.
_SMALL: Final = 32 * 1024
# While the disk is quick, batches up to so many octets are written without the thread.
_AT_ONCE: Final = 16 * 1024
# Seconds without a write after which the store may tidy up, and between its steps.
_QUIET: Final = 0.2
_STEP_AFTER: Final = 0.01
# Seconds that a stop at once waits for what the thread is doing.
_LAST_PATIENCE: Final = 5.0


class Batch(Protocol):
    """What becomes durable together."""

    @property
    def ticket(self) -> int:
        """Its number; they only ever rise."""

    @property
    def fetches(self) -> list[Fetch]:
        """What was asked for with it, to be read once it is written."""


class DurableStore(Store, Protocol):
    """A store that writes. ``W`` marks what only the worker calls, the rest is the main thread's.

    What is called by the worker may raise `StoreFullError` and `StoreFailedError`.
    """

    # What has to be added to the broker's time for the seconds since 1970.
    epoch: float
    # What ends each frame of the broker's.
    end: bytes
    # Octets that may wait to be written, and that have to stay free on the disk.
    pending_limit: int
    min_free: int

    @property
    def urgent(self) -> bool:
        """True if a ticket was handed out, or a fetch asked, since the last `take`."""

    @property
    def pending(self) -> bool:
        """True if there is something to write or to read."""

    @property
    def pending_octets(self) -> int:
        """Octets of messages that wait to be written."""

    def open(self) -> Kept:
        """W: Open what is kept, and return it. Raises `StoreError`."""

    def take(self) -> Batch | None:
        """Give up what was collected, None if that is nothing.

        While the store is full there is always something, to find out whether it still is.
        """

    def write(self, batch: Any) -> None:  # noqa: ANN401 - each store has batches of its own
        """W: Make a batch durable."""

    def write_at_once(self, batch: Any) -> bool:  # noqa: ANN401 - as above
        """W, or the main thread while the worker has no job: as `write` if that is one short step.

        False if it is not; nothing is done then.
        """

    def committed(self, batch: Any) -> None:  # noqa: ANN401 - as above
        """Note that a batch is durable."""

    def take_back(self, batch: Any) -> None:  # noqa: ANN401 - as above
        """Collect anew what could not be written."""

    def read(self, fetch: Fetch) -> tuple[list[Message], list[float]]:
        """W: Return the answer to a fetch."""

    def idle(self) -> bool:
        """W: Take one short step of tidying up; return whether there is more to do."""

    def close(self, clean: bool) -> None:  # noqa: FBT001 - the name says it
        """W: Close it; ``clean`` if all that the broker knew was written."""

    def status(self) -> dict[str, Any]:
        """Return what may be told of it, by names for people."""


class Committer:
    """Owns the thread, and decides when a batch is handed to it."""

    def __init__(self, store: DurableStore, broker: Broker) -> None:
        self.store = store
        self._broker = broker
        # Seconds that an operation nobody waits for may wait for others.
        self.interval = 0.0
        # Why nothing is written any more; the owner ends the broker then.
        self.failure: BaseException | None = None
        self.pace = DiskPace()
        # Called once when there is a failure.
        self.failed: Callable[[], None] = _nobody
        # Seconds that the last batch took.
        self.last_seconds = 0.0
        self.batch_count = 0
        # How long batches took.
        self.latency = Buckets(COMMIT)
        # The worker writes a byte to one end when it has news, the poller reads it from the other.
        self._ours, self._workers = socket.socketpair()
        self._ours.settimeout(0)
        self._workers.settimeout(0)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # What the worker wants the main thread to do.
        self._news: deque[Callable[[], None]] = deque()
        # True if it was told that there are some, and has not looked yet.
        self._told = False
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        # True while the worker has a job.
        self._busy = False
        # While there is no room: when to try again.
        self._retry_at: float | None = None
        # When the broker calls `_due`; None if it will not.
        self._due_at: float | None = None
        # Whether the store may have something to tidy up, and the earliest time for that.
        self._untidy = True
        self._tidy_at = 0.0
        self._resting = trio.Event()
        # True while the store is open and may be given work; behind its end there is none.
        self._open = False

    @property
    def socket(self) -> socket.socket:
        """What the poller has to watch, to call `ready`."""
        return self._ours

    def configure(self, settings: StoreSettings, *, trailing_newline: bool) -> None:
        """Take settings, also while running; what is missing of them is for the start only."""
        store = self.store
        self.interval = settings.commit_interval
        store.pending_limit = settings.pending
        store.min_free = settings.min_free
        store.end = b"\0\n" if trailing_newline else b"\0"
        if self._retry_at is not None:
            # There may be room now.
            self._retry_at = self._broker.now
            self.look()

    def status(self) -> dict[str, Any]:
        """Return what may be told of the store, by names for people."""
        store = self.store
        return {
            **store.status(),
            "pending_bytes": store.pending_octets,
            "congested": store.congested,
            "full": store.full,
            "commits": self.batch_count,
            "last_commit": round(self.last_seconds, 6),
            "commit_latency": self.latency.told(),
        }

    # The beginning.

    async def open(self) -> Kept:
        """Open the store and return what it keeps.

        Raises `stompd.store.errors.StoreError`. The thread runs from then on, until `stop`.
        """
        found: list[Kept] = []

        def open_it() -> None:
            found.append(self.store.open())

        self._thread.start()
        await self._do(open_it)
        self._open = True
        return found[0]

    # Main thread: rounds, time, and news.

    @property
    def may_wait(self) -> bool:
        """True if somebody waits for a small batch: what can be read already may join it."""
        store = self.store
        return store.urgent and not self._busy and store.pending_octets < _SMALL

    def look(self) -> None:
        """Hand over what was collected, if it is time: to be called at the end of each round."""
        store = self.store
        broker = self._broker
        if self._busy or not self._open or self.failure is not None:
            return
        if (store.urgent or store.congested) and self._retry_at is None:
            if self.pace.quick and store.pending_octets <= _AT_ONCE:
                self._write_at_once()
            else:
                self._hand_over()
        elif self._retry_at is not None:
            self._call_at(self._retry_at)
        elif store.pending:
            self._call_at(broker.now + self.interval)
        elif self._untidy:
            self._call_at(max(broker.now, self._tidy_at))

    def _call_at(self, due: float) -> None:
        """Have `_due` called then, unless it is called earlier: one timer for all operations."""
        if self._due_at is None or due < self._due_at:
            self._due_at = due
            self._broker.at(due, self._due)

    def _due(self) -> None:
        """Do what has waited long enough, if the worker is free; `look` sees to the rest."""
        now = self._broker.now
        if self._due_at is None or now < self._due_at:
            # It was called earlier, for something more urgent.
            return
        self._due_at = None
        if self._busy or not self._open or self.failure is not None:
            return
        if self._retry_at is not None:
            if self._retry_at <= now:
                self._hand_over()
        elif self.store.pending:
            self._hand_over()
        elif self._untidy and self._tidy_at <= now:
            self._busy = True
            self._jobs.put(self._tidy)

    def _hand_over(self) -> None:
        batch = self.store.take()
        if batch is None:
            return
        self._busy = True
        self._jobs.put(partial(self._write, batch))

    def _write_at_once(self) -> None:
        """Write without the worker, if it is one short step: two threads need not be woken."""
        batch = self.store.take()
        if batch is None:
            return
        began = time.perf_counter()
        try:
            done = self.store.write_at_once(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the broker must not go on
            self.crashed(_as_failure(error))
            return
        if not done:
            self._busy = True
            self._jobs.put(partial(self._write, batch))
            return
        self._written(batch, time.perf_counter() - began)
        self._broker.flush_touched()

    def ready(self, _now: float) -> None:
        """Take the news of the worker; the poller calls it."""
        try:
            self._ours.recv(4096)
        except BlockingIOError:
            return
        # Before the news are looked at: what comes later has to be told again.
        self._told = False
        while self._news:
            self._news.popleft()()

    def crashed(self, error: BaseException) -> None:
        """Stop: the store failed, or what it found could not be taken."""
        if self.failure is None:
            self.failure = error
            self.failed()
        self._resting.set()

    def _written(self, batch: Batch, seconds: float) -> None:
        broker = self._broker
        self.last_seconds = seconds
        self.pace.add(seconds)
        self.batch_count += 1
        self.latency.add(seconds)
        broker.now = trio.current_time()
        self._untidy = True
        self._tidy_at = broker.now + _QUIET
        self.store.committed(batch)
        if self._retry_at is not None:
            self._retry_at = None
            log.info("the disk has room again")
            broker.disk_free()
        broker.durable(batch.ticket)
        if not self.store.congested:
            broker.store_drained()

    def _not_written(self, batch: Batch, error: StoreFullError) -> None:
        broker = self._broker
        broker.now = trio.current_time()
        # What is taken back becomes part of another batch.
        ticket = batch.ticket
        self.store.take_back(batch)
        if self._retry_at is None:
            log.error("the disk is full", reason=str(error), refused="persistent messages")
        self._retry_at = broker.now + _RETRY_AFTER
        broker.disk_full(ticket)
        self._rest()

    def _fetched(self, fetch: Fetch, messages: list[Message], dues: list[float]) -> None:
        broker = self._broker
        broker.now = trio.current_time()
        broker.fetched(fetch, messages, dues)

    def _rest(self) -> None:
        self._busy = False
        self._resting.set()

    def _tidied(self, more: bool) -> None:  # noqa: FBT001 - one fact, from one place
        self._untidy = more
        self._tidy_at = trio.current_time() + _STEP_AFTER
        self._rest()

    # The worker.

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # noqa: BLE001 - whatever it is, the main thread decides
                self._tell(partial(self.crashed, _as_failure(error)))

    def _tell(self, *news: Callable[[], None]) -> None:
        self._news.extend(news)
        if self._told:
            # What the main thread has not seen yet it will see together.
            return
        self._told = True
        try:
            self._workers.send(b"\n")
        except OSError:
            # So much is unread that it will be looked at anyway, or nobody listens any more.
            return

    def _write(self, batch: Batch) -> None:
        store = self.store
        began = time.perf_counter()
        try:
            store.write(batch)
        except StoreFullError as error:
            self._read_what_is_there(batch)
            self._tell(partial(self._not_written, batch, error))
            return
        written = partial(self._written, batch, time.perf_counter() - began)
        if not batch.fetches:
            # Each word costs both threads a wait for the interpreter.
            self._tell(written, self._rest)
            return
        self._tell(written)
        # What is read has to be true for what was told before, and for nothing else.
        for fetch in batch.fetches:
            self._tell(partial(self._fetched, fetch, *store.read(fetch)))
        self._tell(self._rest)

    def _read_what_is_there(self, batch: Batch) -> None:
        """Answer what was asked with a batch that could not be written, as far as that is true.

        What is in the file comes before what is not, so consumers go on with it. No answer is not
        the same as "nothing": that is only known when all is written.
        """
        open_questions = []
        for fetch in batch.fetches:
            try:
                messages, dues = self.store.read(fetch)
            except StoreFullError:
                # There is more to it than what is in the file.
                messages, dues = [], []
            if messages:
                self._tell(partial(self._fetched, fetch, messages, dues))
            else:
                open_questions.append(fetch)
        batch.fetches[:] = open_questions

    def _tidy(self) -> None:
        try:
            more = self.store.idle()
        except StoreFullError:
            # Tidying takes room as well; it is no promise to anybody.
            more = False
        self._tell(partial(self._tidied, more))

    # The end.

    async def finish(self) -> bool:
        """Write all that was collected; return whether that was possible.

        The poller has to run meanwhile.
        """
        while True:
            while self._busy and self.failure is None:
                self._resting = trio.Event()
                await self._resting.wait()
            if self.failure is not None:
                return False
            if not self.store.pending:
                return True
            tried = self.batch_count
            self._hand_over()
            while self._busy and self.failure is None:
                self._resting = trio.Event()
                await self._resting.wait()
            if self.batch_count == tried:
                return False

    async def close(self, *, clean: bool) -> None:
        """Close the store; ``clean`` if all that the broker knew was written.

        The poller has to watch the socket no more.
        """
        self._open = False
        await self._do(partial(self.store.close, clean))

    async def _do(self, job: Callable[[], None]) -> None:
        """Have the worker do a job while nothing else goes on."""
        ended: list[Exception | None] = []

        def do() -> None:
            error = None
            try:
                job()
            except Exception as raised:  # noqa: BLE001 - it is raised again where it is waited for
                error = raised
            self._tell(lambda: ended.append(error))

        self._jobs.put(do)
        while not ended:
            await trio.lowlevel.wait_readable(self._ours)
            self.ready(0.0)
        if ended[0] is not None:
            raise ended[0]

    def stop(self) -> None:
        """End the thread, and close a store that is still open without a last word.

        What the thread has begun is finished, but what was only collected is lost.
        """
        if self._open:
            self._open = False
            self._jobs.put(partial(self.store.close, False))  # noqa: FBT003 - ``clean``
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(_LAST_PATIENCE)
            if self._thread.is_alive():
                log.error("the disk does not answer: stopping without it")
        self._ours.close()
        self._workers.close()


def _as_failure(error: Exception) -> StoreFailedError:
    """Return why the store failed, whatever came out of it."""
    if isinstance(error, StoreFailedError):
        return error
    failure = StoreFailedError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _nobody() -> None:
    """Tell nobody: before the broker runs."""
