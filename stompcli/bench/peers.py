"""Who takes part in a run: senders, receivers and visitors, each on a connection of its own."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from stompcli.bench import payload
from stompcli.bench.account import Account, Order
from stompcli.bench.histogram import Histogram
from stompcli.bench.plan import Plan
from stompcli.client.beside import tasks_beside
from stompcli.client.connection import Connection
from stompcli.client.errors import ConnectError, SessionEndedError, TimedOutError
from stompcli.client.frames import encoded
from stompcli.client.reasons import again
from stompd.protocol.frame import V12, Head
from stompd.protocol.headers import escape

# Octets that a sender without receipts writes at once.
_AT_ONCE: Final = 64 * 1024
_NANOSECONDS: Final = 1_000_000_000
# Later than any time.
NEVER: Final = 1 << 63
# Seconds that a broker may take for a SUBSCRIBE, and for a DISCONNECT.
_PATIENCE: Final = 30.0

Dial = Callable[[], Awaitable[Connection]]
clock = time.monotonic_ns


class Stage:
    """What all of a run share: when measuring began, and when it is over."""

    def __init__(self) -> None:
        self.begin = trio.Event()
        # When measuring began, on the clock of marks; `NEVER` while warming up.
        self.since = NEVER
        # True once nothing more is to be sent.
        self.over = False
        # When a message was last confirmed or received.
        self.progress_at = 0
        # How many messages receivers may still take, and how long they warm up behind the first.
        self.quota: float = math.inf
        self.warmup = 0


class Peer:
    """One connection of a run, and what it has measured.

    ``done`` are the messages that count, ``times`` how long they took in nanoseconds, and ``last``
    is when the last of them was done, on the clock of marks.
    """

    def __init__(self, plan: Plan, stage: Stage, number: int) -> None:
        self.plan = plan
        self.stage = stage
        self.number = number
        self.done = 0
        self.octets = 0
        self.times = Histogram()
        self.last = 0
        # Where this peer's task waits for what its connection reads.
        self.news = trio.lowlevel.ParkingLot()
        self.room_to_read = trio.lowlevel.ParkingLot()
        self._connection: Connection | None = None
        self._awaited: str | None = None
        self._leaving = False

    @property
    def connection(self) -> Connection:
        """The connection; only once there is one."""
        assert self._connection is not None  # noqa: S101 - for the type checker; see live
        return self._connection

    async def live(self, dial: Dial, nursery: trio.Nursery) -> None:
        """Connect; the connection is read from in the nursery until `leave`."""
        self._connection = await dial()
        self._connection.attach(self)
        nursery.start_soon(self._connection.run)

    async def confirmed(self, command: str, pairs: list[tuple[str, str]]) -> None:
        """Send a frame and wait for its receipt; raises `StompError` if there is none."""
        connection = self.connection
        self._awaited = f"{command.lower()}-{self.number}"
        pairs = [*pairs, ("receipt", self._awaited)]
        connection.put_nowait(encoded(command, pairs, version=connection.version))
        with trio.move_on_after(_PATIENCE):
            while self._awaited is not None:
                self.check()
                await self.news.park()
            return
        raise TimedOutError(
            f"{connection.address} did not confirm a {command} within {_PATIENCE:g} s"
        )

    async def leave(self) -> None:
        """Disconnect, once the broker has confirmed all that was sent; `confirmed` says more."""
        self._leaving = True
        await self.confirmed("DISCONNECT", [])
        self.connection.end(None)

    def check(self) -> None:
        """Raise why the connection has ended, if it has."""
        error = self.connection.error
        if error is not None:
            raise again(error)

    # For the connection only.

    def receive(self, head: Head, body: bytes) -> None:
        """A MESSAGE or RECEIPT has come."""
        if head.command == "RECEIPT":
            receipt = head.get("receipt-id") or ""
            if receipt == self._awaited:
                self._awaited = None
            else:
                self.receipt(receipt)
            if self.news:
                self.news.unpark_all()
        else:
            self.message(head, body)

    def receipt(self, receipt: str) -> None:
        """A RECEIPT has come that nobody waits for by name."""

    def message(self, head: Head, body: bytes) -> None:
        """A MESSAGE has come."""

    def count_heartbeat(self) -> None:
        """A heart-beat has come."""

    def is_full(self) -> bool:
        """Return that reading may go on: what comes is counted at once."""
        return False

    def ended(self, connection: Connection, error: SessionEndedError | None) -> None:
        """The connection has ended."""
        del connection, error
        self.news.unpark_all()


class Sender(Peer):
    """Sends marked messages, as many as its plan allows."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        number: int,
        run: bytes,
        headers: list[tuple[str, str]],
    ) -> None:
        super().__init__(plan, stage, number)
        self._run = run
        self._headers = headers
        self._frames: payload.Frames | None = None
        # How many were sent, and how many of these the broker is known to have.
        self.sent = 0
        self.safe = 0
        self._left: float = math.inf
        # By receipt: the times of the messages that it confirms.
        self._receipts: dict[str, list[int]] = {}
        # Times of messages that no receipt was asked for yet.
        self._times: list[int] = []
        self._transaction = 0
        # Pacing: nanoseconds from one message to the next, and when the next one is due.
        self._pace = 0.0
        self._due = 0.0
        # Nanoseconds by which a message left later than it was due, at most.
        self.behind = 0.0

    @property
    def waiting(self) -> bool:
        """True if a receipt is missing."""
        return bool(self._receipts)

    @property
    def frames(self) -> payload.Frames:
        """What makes its frames; only once there is a connection."""
        assert self._frames is not None  # noqa: S101 - for the type checker; see open
        return self._frames

    async def open(self, dial: Dial, nursery: trio.Nursery) -> None:
        """Connect."""
        await self.live(dial, nursery)
        plan = self.plan
        self._frames = payload.Frames(
            self._run,
            self.number,
            plan.name(self.number),
            plan.size,
            self._headers,
            self.connection.version,
        )

    def measure(self) -> None:
        """Count from here on."""
        share = self.plan.share(self.plan.senders, self.number)
        self._left = math.inf if share is None else share

    async def work(self) -> None:
        """Send until it is time to stop, and wait for the last receipt."""
        plan, stage = self.plan, self.stage
        await stage.begin.wait()
        if plan.rate is not None:
            self._pace = _NANOSECONDS * plan.senders / plan.rate
            self._due = clock() + self._pace * self.number / plan.senders
        connection = self.connection
        while not stage.over and self._left > 0:
            self.check()
            count, times = self._next_times()
            if count <= 0:
                await self._wait()
                continue
            connection.put_nowait(b"".join(self._some(count, times)))
            while not connection.is_over and not connection.has_room():
                await connection.room()
            if connection.wants_turn() or not plan.receipts:
                await connection.turn()
        while self._receipts:
            self.check()
            await self.news.park()
        await self.leave()
        # What no receipt was asked for, the one of DISCONNECT has confirmed (D-02).
        now = clock()
        self._confirm(self._times, now)
        self.last = max(self.last, now if self.done else 0)

    def _next_times(self) -> tuple[int, list[int]]:
        """Return how many to send now, and the times that their marks carry."""
        plan = self.plan
        count: float = plan.max_pending - (self.sent - self.safe) if plan.receipts else math.inf
        count = min(count, self._left)
        now = clock()
        if self._pace:
            due = int((now - self._due) / self._pace) + 1 if now >= self._due else 0
            count = min(count, due)
        if plan.tx:
            # Transactions are whole, but for the last one.
            whole = min(plan.tx, self._left)
            count = 0 if count < whole else whole
        if not plan.tx:
            count = min(count, _AT_ONCE // self.frames.octets + 1)
        number = int(count)
        if not self._pace:
            return number, [now] * number
        if number:
            self.behind = max(self.behind, now - self._due)
        times = [int(self._due + self._pace * n) for n in range(number)]
        self._due += self._pace * number
        return number, times

    async def _wait(self) -> None:
        """Wait for a receipt, or until as many messages are due as leave together."""
        plan = self.plan
        together = int(min(max(plan.tx, 1), self._left))
        full = plan.receipts and self.sent - self.safe + together > plan.max_pending
        seconds = math.inf
        if self._pace and not full:
            due = self._due + self._pace * (together - 1)
            seconds = max(due - clock(), 0.0) / _NANOSECONDS
        with trio.move_on_after(seconds):
            await self.news.park()

    def _some(self, count: int, times: list[int]) -> list[bytes]:
        """Return the frames of so many messages."""
        frames, every, first = self.frames, self.plan.receipts, self.sent
        self.sent += count
        self._left -= count
        if not every:
            # There is no news to wait for, and no use in remembering them all.
            self._confirm(times, times[-1])
        if self.plan.tx:
            return self._one_transaction(times, first)
        if not every:
            return [frames.plain(number, at) for number, at in enumerate(times, first)]
        made = []
        for number, at in enumerate(times, first):
            self._times.append(at)
            if (number + 1) % every == 0:
                made.append(frames.confirmed(number, at))
                self._receipts[str(number)] = self._times
                self._times = []
            else:
                made.append(frames.plain(number, at))
        return made

    def _one_transaction(self, times: list[int], first: int) -> list[bytes]:
        self._transaction += 1
        transaction = self._transaction
        receipt = None
        if self.plan.receipts:
            receipt = transaction
            self._receipts[str(receipt)] = times
        make = self.frames.in_transaction
        return [
            payload.begin(transaction),
            *(make(transaction, number, at) for number, at in enumerate(times, first)),
            payload.commit(transaction, receipt),
        ]

    def receipt(self, receipt: str) -> None:
        """A SEND or COMMIT was confirmed."""
        found = self._receipts.pop(receipt, None)
        if found is not None:
            self._confirm(found, clock())

    def _confirm(self, times: list[int], now: int) -> None:
        """Note that the broker has the messages of these times."""
        self.safe += len(times)
        since = self.stage.since
        for at in times:
            if at >= since:
                self.done += 1
                self.octets += self.plan.size
                if self.plan.receipts:
                    self.times.add(now - at)
        if self.done:
            self.last = now
        self.stage.progress_at = now


class Receiver(Peer):
    """Receives, settles and accounts for messages."""

    def __init__(
        self, plan: Plan, stage: Stage, number: int, run: bytes | None, account: Account
    ) -> None:
        """``run`` None takes the messages of any run."""
        super().__init__(plan, stage, number)
        self._run = run
        self.account = account
        self.order = Order()
        # Messages that are of another run, or of none.
        self.strangers = 0
        # Messages whose times are those of another machine's clock.
        self.foreign = 0
        # What ACK needs of the messages that were not acknowledged yet.
        self._acks: list[str] = []

    async def open(self, dial: Dial, nursery: trio.Nursery) -> None:
        """Connect, and subscribe."""
        await self.live(dial, nursery)
        place = self.plan.name(self.number)
        await self.confirmed(
            "SUBSCRIBE", [("id", "0"), ("destination", place), ("ack", self.plan.ack)]
        )

    async def work(self) -> None:
        """Settle what comes, until it is time to leave. Raises why the connection has ended."""
        while not self._leaving:
            self.check()
            if self._acks:
                self._settle()
                await self.connection.turn()
            else:
                await self.news.park()

    async def leave(self) -> None:
        """Settle what came, and disconnect."""
        self._settle()
        await super().leave()

    def _settle(self) -> None:
        if self._acks:
            acks = self._acks[-1:] if self.plan.ack == "client" else self._acks
            frames = b"".join(map(self._ack, acks))
            self._acks.clear()
            self.connection.put_nowait(frames)

    def _ack(self, reference: str) -> bytes:
        version = self.connection.version
        octets = escape(reference, version)
        if version == V12:
            return b"ACK\nid:%b\n\n\0" % octets
        return b"ACK\nmessage-id:%b\nsubscription:0\n\n\0" % octets

    def message(self, head: Head, body: bytes) -> None:
        """A message has come; beyond the quota it is left to others."""
        now = clock()
        stage = self.stage
        if stage.quota <= 0:
            return
        if self.plan.ack != "auto":
            name = "ack" if self.connection.version == V12 else "message-id"
            self._acks.append(head.get(name) or "")
            if self.news:
                self.news.unpark_all()
        mark = payload.mark_of(head, body)
        if mark is None:
            self.strangers += 1
            return
        sender, number, at = mark
        run = self._run
        if run is not None and not sender.startswith(run):
            self.strangers += 1
            return
        stage.progress_at = now
        if run is None and stage.since == NEVER:
            stage.since = now + stage.warmup
        if not self.account.note(sender, number):
            return
        self.order.note(sender, number)
        if (now if run is None else at) < stage.since:
            return
        self.done += 1
        self.octets += len(body)
        self.last = now
        stage.quota -= 1
        if run is None and not payload.is_of_this_machine(sender):
            self.foreign += 1
            return
        self.times.add(now - at)


class Visitor(Peer):
    """Connects and disconnects, over and over."""

    def __init__(self, plan: Plan, stage: Stage, number: int) -> None:
        super().__init__(plan, stage, number)
        self._left: float = math.inf
        # How many could not connect, and why the first of them.
        self.failed = 0
        self.reason: Exception | None = None

    def measure(self) -> None:
        """Count from here on."""
        share = self.plan.share(self.plan.clients, self.number)
        self._left = math.inf if share is None else share

    async def work(self, dial: Dial) -> None:
        """Come and go until it is time to stop."""
        stage = self.stage
        await stage.begin.wait()
        while not stage.over and self._left > 0:
            self._left -= 1
            began = clock()
            try:
                took = await self._visit(dial, began)
            except (ConnectError, SessionEndedError, TimedOutError) as error:
                self.failed += 1
                self.reason = self.reason or error
                # A broker that is full is not to be hammered.
                await trio.sleep(0.01)
                continue
            stage.progress_at = clock()
            if began >= stage.since:
                self.done += 1
                self.last = stage.progress_at
                self.times.add(took)

    async def _visit(self, dial: Dial, began: int) -> int:
        """Come and go once; return the nanoseconds until CONNECTED."""
        async with tasks_beside() as nursery:
            await self.live(dial, nursery)
            took = clock() - began
            await self.leave()
        return took
