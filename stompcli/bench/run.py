"""One run: connect everybody, warm up, measure, wait for what is under way, count."""

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from stompcli.bench import payload
from stompcli.bench.account import Account
from stompcli.bench.peers import NEVER, Dial, Peer, Receiver, Sender, Stage, Visitor, clock
from stompcli.bench.plan import Plan
from stompcli.bench.result import Part, Result, Share
from stompcli.client.beside import tasks_beside
from stompcli.client.errors import StompError, TimedOutError
from stompcli.failure import Failure

# Seconds between looks at how far a run is, and between telling that.
_LOOK: Final = 0.02
_TELL: Final = 0.25
# How many connect at the same time.
_TOGETHER: Final = 50
# Seconds without any receipt after which a broker does not confirm at all.
_PATIENCE: Final = 30.0
_NANOSECONDS: Final = 1e9


class Idleness(trio.abc.Instrument):
    """How long trio had nothing to do but to wait for the network."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Waiting begins."""
        self._since = time.perf_counter()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Waiting is over."""
        self.seconds += time.perf_counter() - self._since


class Run:
    """One run of a plan; `perform` does it, `result` says what it gave, also in mid-run.

    ``dial`` makes a connection, ``headers`` are further ones of every SEND, ``told`` is called
    with how far the run is.
    """

    def __init__(
        self,
        plan: Plan,
        dial: Dial,
        headers: list[tuple[str, str]],
        told: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self._dial = dial
        self._told = told
        self._stage = stage = Stage()
        if plan.verb == "receive":
            # Messages may come before the last receiver has subscribed.
            stage.warmup = int(plan.warmup * _NANOSECONDS)
            stage.quota = math.inf if plan.messages is None else plan.messages
        run = payload.new_run()
        known = None if plan.verb == "receive" else run
        # Each receiver of a topic has an account of its own, those of queues share one.
        alone = plan.verb == "fanout"
        shared = Account()
        self._senders = [Sender(plan, stage, n, run, headers) for n in range(plan.senders)]
        self._receivers = [
            Receiver(plan, stage, n, known, Account() if alone else shared)
            for n in range(plan.receivers)
        ]
        visitors = plan.clients if plan.verb == "connect" else 0
        self._visitors = [Visitor(plan, stage, n) for n in range(visitors)]
        self._failure: StompError | Failure | None = None
        self._scope = trio.CancelScope()
        self._idleness = Idleness()
        # What it was when measuring began, and the part of the time in which there was work to do.
        self._idle_before = 0.0
        self._busy = 0.0
        self._told_at = -math.inf
        self._told_done = 0

    async def perform(self) -> Result:
        """Do it all. Raises `StompError` for a broker that fails."""
        trio.lowlevel.add_instrument(self._idleness)
        try:
            await self._perform()
        finally:
            trio.lowlevel.remove_instrument(self._idleness)
        if self._failure is not None:
            raise self._failure
        return self.result()

    async def _perform(self) -> None:
        with self._scope:
            async with tasks_beside() as nursery:
                peers: list[Receiver | Sender] = [*self._receivers, *self._senders]
                limit = trio.CapacityLimiter(_TOGETHER)
                async with tasks_beside(cancel=False) as opening:
                    for peer in peers:
                        opening.start_soon(self._guard, self._opened, peer, limit, nursery)
                for receiver in self._receivers:
                    nursery.start_soon(self._guard, receiver.work)
                await self._send_and_measure()
                await self._drain()
                for receiver in self._receivers:
                    await receiver.leave()

    async def _guard(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Do a task's work; its failure ends the run."""
        try:
            await work(*args)
        except (StompError, Failure) as error:
            if self._failure is None:
                self._failure = error
            self._scope.cancel()

    async def _opened(
        self, peer: Receiver | Sender, limit: trio.CapacityLimiter, nursery: trio.Nursery
    ) -> None:
        async with limit:
            await peer.open(self._dial, nursery)

    # Sending.

    async def _send_and_measure(self) -> None:
        plan, stage = self.plan, self._stage
        stage.progress_at = clock()
        if plan.verb == "receive":
            await self._receive()
            return
        ended = trio.Event()
        async with tasks_beside() as nursery:
            nursery.start_soon(self._all_work, ended)
            stage.begin.set()
            if plan.warmup:
                await self._for(plan.warmup, ended)
            stage.since = clock()
            self._idle_before = self._idleness.seconds
            busy: list[Sender | Visitor] = [*self._senders, *self._visitors]
            for peer in busy:
                peer.measure()
            await self._for(math.inf if plan.duration is None else plan.duration, ended)
            stage.over = True
            for sender in self._senders:
                sender.news.unpark_all()
            # From here on there is only waiting.
            self._note_busy()
            await self._for(math.inf, ended)

    async def _all_work(self, ended: trio.Event) -> None:
        async with tasks_beside(cancel=False) as nursery:
            for sender in self._senders:
                nursery.start_soon(self._guard, sender.work)
            for visitor in self._visitors:
                nursery.start_soon(self._guard, partial(visitor.work, self._dial))
        ended.set()

    async def _for(self, seconds: float, ended: trio.Event) -> None:
        """Look on for so long, or until all is sent."""
        with trio.move_on_after(seconds):
            while not ended.is_set():
                with trio.move_on_after(_TELL):
                    await ended.wait()
                self._tell()
                self._check_receipts()

    def _check_receipts(self) -> None:
        """Raise `TimedOutError` if there were no receipts for too long."""
        silent = (clock() - self._stage.progress_at) / _NANOSECONDS
        if silent > _PATIENCE and any(sender.waiting for sender in self._senders):
            address = self._senders[0].connection.address
            raise TimedOutError(f"{address} has confirmed nothing for {_PATIENCE:g} s")

    def _note_busy(self) -> None:
        since = self._stage.since
        elapsed = (clock() - since) / _NANOSECONDS
        if elapsed > 0:
            self._busy = 1 - (self._idleness.seconds - self._idle_before) / elapsed

    # Receiving.

    async def _receive(self) -> None:
        """Look on while messages come that others send."""
        plan, stage = self.plan, self._stage
        began = clock()
        self._idle_before = self._idleness.seconds
        while stage.quota > 0:
            now = clock()
            since = began if stage.since == NEVER else stage.since
            if plan.duration is not None and now - since > plan.duration * _NANOSECONDS:
                break
            if now - stage.progress_at > plan.idle * _NANOSECONDS:
                break
            self._tell()
            await trio.sleep(_LOOK)
        stage.over = True
        self._note_busy()

    async def _drain(self) -> None:
        """Wait until all that was sent has come, or nothing came for too long."""
        plan, stage = self.plan, self._stage
        if plan.verb not in ("roundtrip", "fanout"):
            return
        since = clock()
        while self._lost():
            silent = clock() - max(stage.progress_at, since)
            if silent > plan.idle * _NANOSECONDS:
                return
            self._tell()
            await trio.sleep(_LOOK)

    def _lost(self) -> int:
        """Return how many of the messages that were sent have not come."""
        sent = sum(sender.sent for sender in self._senders)
        if self.plan.verb == "roundtrip":
            return sent - self._receivers[0].account.received
        lost = 0
        for receiver in self._receivers:
            sender = self._senders[receiver.number % len(self._senders)]
            lost += sender.sent - receiver.account.received
        return lost

    # Telling.

    def _tell(self) -> None:
        now = trio.current_time()
        if now - self._told_at < _TELL:
            return
        sent = sum(sender.sent for sender in self._senders)
        received = sum(account.received for account in self._accounts())
        connected = sum(visitor.done for visitor in self._visitors)
        done = received if self._receivers else connected if self._visitors else sent
        rate = (done - self._told_done) / (now - self._told_at)
        self._told_at, self._told_done = now, done
        texts = []
        if self._senders:
            texts.append(f"{sent:,} sent")
        if self._receivers:
            texts.append(f"{received:,} received")
        if self._visitors:
            texts.append(f"{connected:,} connections")
        warm = "  warming up" if self._stage.since == NEVER and self.plan.warmup else ""
        self._told(f"{', '.join(texts)}   {rate:,.0f}/s{warm}")

    @property
    def has_figures(self) -> bool:
        """True if anything was sent, received or connected."""
        sent = any(sender.sent for sender in self._senders)
        return sent or any(peer.last for peer in (*self._receivers, *self._visitors))

    def result(self, *, interrupted: bool = False) -> Result:
        """Return what was measured so far."""
        plan, stage = self.plan, self._stage
        parts = []
        if self._senders:
            parts.append(Part("send", "receipt", self._shares(self._senders)))
        if self._receivers:
            parts.append(Part("receive", "transfer", self._shares(self._receivers)))
        if self._visitors:
            parts.append(Part("connect", "connected", self._shares(self._visitors)))
        peers: list[Peer] = [*self._senders, *self._receivers, *self._visitors]
        last = max((peer.last for peer in peers), default=0)
        result = Result(
            plan,
            parts,
            seconds=max(last - stage.since, 0) / _NANOSECONDS,
            busy=self._busy,
            behind=max((sender.behind for sender in self._senders), default=0.0) / _NANOSECONDS,
            interrupted=interrupted,
        )
        if self._senders:
            result.sent = sum(sender.sent for sender in self._senders)
            done = sum(sender.done for sender in self._senders)
            result.warmup = 0 if interrupted else result.sent - done
        if self._visitors:
            result.failed = sum(visitor.failed for visitor in self._visitors)
            reasons = [visitor.reason for visitor in self._visitors if visitor.reason is not None]
            result.reason = str(reasons[0]) if reasons else ""
        if self._receivers:
            self._account(result)
        return result

    def _accounts(self) -> list[Account]:
        """Return the accounts, each once."""
        return list(
            {id(receiver.account): receiver.account for receiver in self._receivers}.values()
        )

    def _account(self, result: Result) -> None:
        accounts = self._accounts()
        result.received = sum(account.received for account in accounts)
        result.duplicated = sum(account.duplicated for account in accounts)
        result.disordered = sum(receiver.order.broken for receiver in self._receivers)
        result.strangers = sum(receiver.strangers for receiver in self._receivers)
        result.foreign = any(receiver.foreign for receiver in self._receivers)
        if self.plan.verb == "receive":
            result.missing = sum(account.gaps() for account in accounts)
        else:
            result.lost = self._lost()

    def _shares(self, peers: list[Sender] | list[Receiver] | list[Visitor]) -> list[Share]:
        since = self._stage.since
        return [
            Share(peer.done, peer.octets, max(peer.last - since, 0) / _NANOSECONDS, peer.times)
            for peer in peers
        ]
