"""The engine: takes messages in order, so many jobs at a time, and settles them by the outcome."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Unpack

import trio

from stompcli.client import (
    Client,
    Message,
    SessionEndedError,
    StaleMessageError,
    StompError,
    SubscribeOptions,
    Subscription,
    UsageError,
)
from stompcli.client.consumer import group_of
from stompcli.client.reasons import again
from stompcli.worker.attempts import Attempts
from stompcli.worker.drain import Drain
from stompcli.worker.job import Event, EventKind, Job, Run, Tell
from stompcli.worker.settings import Settings, WorkerOptions
from stompcli.worker.settle import settle
from stompcli.worker.verdict import Outcome, Verdict, judge

_log = logging.getLogger("stompcli.worker")

# Seconds that NACKs may take once the worker was told to end at once.
_LAST_WORDS: Final = 5.0
# Seconds that a round trip may take that only keeps the order.
_MOMENT: Final = 1.0


@dataclass
class _Place:
    """One destination: its subscription, and what was taken from it and not begun."""

    rank: int
    subscription: Subscription
    held: deque[Message] = field(default_factory=deque)
    room: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)


class Engine:
    """Does a job for every message of some destinations, until there is reason to stop.

    ``done``, ``failed`` and ``requeued`` count the jobs by how they ended, ``lost`` those whose end
    could not be said since the connection was gone; the broker delivers their messages again.
    """

    def __init__(
        self,
        client: Client,
        destinations: Sequence[str],
        run: Run,
        tell: Tell | None = None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        self.settings = Settings(**options)
        self.name = self.settings.called
        self.done = 0
        self.failed = 0
        self.requeued = 0
        self.lost = 0
        self._client = client
        self._destinations = list(destinations)
        self._run = run
        self._tell = tell or _to_log
        self._places: list[_Place] = []
        # Where to look first for the next message, if it goes in turn.
        self._turn = 0
        self._attempts = Attempts()
        # The first of the destinations that may send another message, since one was settled.
        self._freed: float = math.inf
        # Groups of which a message is at work.
        self._groups: set[str] = set()
        self._begun = 0
        self._busy = 0
        # When something last came or ended, and how often that was.
        self._last = 0.0
        self._news = 0
        # When the broker was last asked whether there is more.
        self._asked = -math.inf
        self._changed = trio.lowlevel.ParkingLot()
        # Why no further job is begun, empty while they are.
        self._reason = ""
        self._stopped = trio.Event()
        # Cancelled when jobs have to end at once.
        self._jobs: set[trio.CancelScope] = set()
        self._aborted = False
        # Why there are no more messages, if nobody wanted that.
        self._error: SessionEndedError | None = None
        if not self._destinations:
            raise UsageError("a worker needs a destination")
        if len(set(self._destinations)) < len(self._destinations):
            raise UsageError("a worker subscribes to each destination once")

    def __repr__(self) -> str:
        state = self._reason or "at work"
        return (
            f"<{type(self).__name__} {self.name!r}, {state}, {self._busy} jobs, {self.summary()}>"
        )

    @property
    def reason(self) -> str:
        """Why no further job is begun, empty while they are."""
        return self._reason

    @property
    def busy(self) -> int:
        """How many jobs run."""
        return self._busy

    def summary(self) -> str:
        """Return the counts in words."""
        text = f"{self.done} done, {self.failed} failed, {self.requeued} requeued"
        return f"{text}, {self.lost} lost" if self.lost else text

    def stop(self, reason: str = "stopped") -> None:
        """Begin no further job; `work` returns when those that run have ended. Never waits."""
        self._stopped.set()
        self._leave(reason)

    def _leave(self, reason: str) -> None:
        """Begin no further job; those that wait for their next attempt go on waiting."""
        self._reason = self._reason or reason
        self._changed.unpark_all()

    def abort(self, reason: str = "stopped at once") -> None:
        """As `stop`, and break off the jobs that run; their messages are given back."""
        self._reason = reason
        self._aborted = True
        self.stop()
        for scope in self._jobs:
            scope.cancel()

    async def work(self) -> None:
        """Subscribe and do the jobs, until `stop` or what the options say.

        Returns when no job runs any more; what was held and not begun goes back to the broker with
        the end of the session. Raises `UsageError`, what `Client.open_subscription` raises, and why
        the session has ended, if it was not this program that ended it.
        """
        if self._client.version == "1.0":
            raise UsageError("a worker needs STOMP 1.1 or 1.2: 1.0 can refuse no message")
        drain = await self._subscribe()
        text = f"worker {self.name} listening on {', '.join(self._destinations)}"
        self._say("listening", text + (" (burst)" if self.settings.burst else ""))
        if drain is not None and drain.guessing:
            self._say_guessing(drain)
        self._last = trio.current_time()
        async with trio.open_nursery() as nursery:
            for place in self._places:
                nursery.start_soon(self._fetch, place)
            nursery.start_soon(self._watch, drain)
            async with trio.open_nursery() as jobs:
                await self._begin_jobs(jobs)
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise again(self._error)
        self._say("finished", f"{self._reason}: {self.summary()}")

    # Taking messages.

    async def _subscribe(self) -> Drain | None:
        settings, client = self.settings, self._client
        options: SubscribeOptions = {}
        if "prefetch" in client.dialect.subscribe:
            options["prefetch"] = settings.ahead
        headers = dict(settings.headers or {})
        for destination in self._destinations:
            subscription = await client.open_subscription(
                destination, ack="client-individual", headers=headers, **options
            )
            self._places.append(_Place(len(self._places), subscription))
        if not settings.burst:
            return None
        return Drain(client, self._destinations, selective="selector" in headers)

    async def _fetch(self, place: _Place) -> None:
        """Hold what comes, as much of it as could be begun at once."""
        try:
            while True:
                while len(place.held) >= self.settings.ahead:
                    await place.room.park()
                message = await place.subscription.fetch()
                if message is None:
                    self._leave("the session was ended")
                    return
                place.held.append(message)
                self._something_new()
        except SessionEndedError as error:
            # Jobs that run are finished first.
            self._error = error
            self._leave("the session has ended")

    async def _begin_jobs(self, jobs: trio.Nursery) -> None:
        settings = self.settings
        while not self._reason:
            found = self._next() if self._busy < settings.concurrency else None
            if found is None:
                await self._changed.park()
                continue
            place, message = found
            if settings.order == "strict" and self._freed < place.rank:
                await self._let_come()
                continue
            place.held.remove(message)
            place.room.unpark_all()
            self._turn = (place.rank + 1) % len(self._places)
            self._begin(place, message, jobs)
            if self._begun == settings.max_jobs:
                count = "1 job" if self._begun == 1 else f"{self._begun} jobs"
                self._leave(f"{count} begun, as many as wanted")

    async def _let_come(self) -> None:
        """Give the next message of a destination the time to come before a later one's is begun.

        The broker sends it once it has seen the ACK of the one before, perhaps after its receipt.
        """
        self._freed = math.inf
        with trio.move_on_after(_MOMENT):
            try:
                await self._client.ping()
            except StompError as error:
                _log.debug("no round trip: %s", error)

    def _next(self) -> tuple[_Place, Message] | None:
        """Return the message that is next by the order of the destinations, None if none may be."""
        begin = self._turn if self.settings.order == "round-robin" else 0
        for place in self._places[begin:] + self._places[:begin]:
            message = self._first(place)
            if message is not None:
                return place, message
        return None

    def _first(self, place: _Place) -> Message | None:
        """Return the oldest message of a destination whose group is not at work."""
        held = place.held
        while len(held) < self.settings.ahead:
            message = place.subscription.fetch_nowait()
            if message is None:
                break
            held.append(message)
        for message in list(held):
            if message.stale:
                # Its connection is gone; it comes again by the next one.
                held.remove(message)
                place.room.unpark_all()
            elif group_of(message) not in self._groups:
                return message
        return None

    def _something_new(self) -> None:
        self._last = trio.current_time()
        self._news += 1
        self._changed.unpark_all()

    # Jobs.

    def _begin(self, place: _Place, message: Message, jobs: trio.Nursery) -> None:
        self._begun += 1
        self._busy += 1
        group = group_of(message)
        if group is not None:
            self._groups.add(group)
        job = Job(message, self._attempts.of(message), self.name, self._tell)
        jobs.start_soon(self._do, place, job, group)

    async def _do(self, place: _Place, job: Job, group: str | None) -> None:
        try:
            self._tell(Event("begun", job=job))
            started = trio.current_time()
            outcome = await self._run_in_time(job)
            seconds = trio.current_time() - started
            await self._settle(job, outcome, seconds)
        finally:
            self._busy -= 1
            self._freed = min(self._freed, place.rank)
            if group is not None:
                self._groups.discard(group)
            self._something_new()

    async def _run_in_time(self, job: Job) -> Outcome:
        limit = self.settings.job_timeout
        with trio.CancelScope() as scope:
            if limit is not None:
                scope.deadline = trio.current_time() + limit
            self._jobs.add(scope)
            try:
                if self._client.extract is not None:
                    # Here, since this is the task, and so the context, of the job.
                    self._client.extract(job.message.headers)
                return await self._run(job)
            finally:
                self._jobs.discard(scope)
        if self._aborted:
            return Outcome("stopped", reason=self._reason)
        return Outcome("failed", f"timed out after {limit:g} s", job.last_words)

    async def _settle(self, job: Job, outcome: Outcome, seconds: float) -> None:
        verdict = judge(outcome, job.attempt, self.settings)
        with trio.CancelScope() as scope:
            if self._aborted:
                scope.deadline = trio.current_time() + _LAST_WORDS
            try:
                action = await self._carry_out(job, outcome, verdict)
            except StompError as error:
                self.lost += 1
                why = "" if isinstance(error, StaleMessageError) else f" ({error})"
                text = f"result lost, will be redelivered{why}"
                self._tell(Event("lost", text, job, outcome, seconds))
                return
        if scope.cancelled_caught:
            self.lost += 1
            self._tell(Event("lost", "result lost, will be redelivered", job, outcome, seconds))
            return
        if verdict.action != "requeue":
            self._attempts.forget(job.message)
        self._count(verdict)
        self._tell(Event(verdict.counted, "", job, outcome, seconds, action))

    async def _carry_out(self, job: Job, outcome: Outcome, verdict: Verdict) -> str:
        client, settings = self._client, self.settings
        try:
            return await settle(client, job, outcome, verdict, settings, self._rest)
        except UsageError as error:
            # The answer or the dead letter cannot be sent, such as one to a name that is none.
            failed = Outcome("failed", reason=str(error))
            return await settle(
                client, job, failed, Verdict("nack", "failed"), settings, self._rest
            )

    async def _rest(self, seconds: float) -> None:
        """Wait so many seconds, or until the worker is told to stop."""
        with trio.move_on_after(seconds):
            await self._stopped.wait()

    def _count(self, verdict: Verdict) -> None:
        if verdict.counted == "done":
            self.done += 1
        elif verdict.counted == "failed":
            self.failed += 1
        else:
            self.requeued += 1

    # The end of the work.

    async def _watch(self, drain: Drain | None) -> None:
        """Stop when it was idle for too long, or when the destinations are drained."""
        idle = math.inf if self.settings.max_idle is None else self.settings.max_idle
        if drain is None and idle == math.inf:
            return
        seen = self._news
        connections = self._client.counters.reconnects
        while not self._reason:
            if self._news != seen and drain is not None:
                drain.restart()
            seen = self._news
            if self._busy or self._waiting():
                await self._changed.park()
                continue
            ask_at = math.inf if drain is None else max(self._last, self._asked) + drain.quiet
            with trio.move_on_at(min(self._last + idle, ask_at)):
                await self._changed.park()
            now = trio.current_time()
            here = self._client.is_connected
            if not here or connections != self._client.counters.reconnects:
                # Nothing could come: the time begins anew.
                connections = self._client.counters.reconnects
                self._last = now
            elif self._busy or self._waiting() or self._news != seen:
                continue
            elif now >= self._last + idle:
                self._leave(f"no message for {idle:g} s")
            elif drain is not None and now >= ask_at:
                await self._ask(drain, seen)

    async def _ask(self, drain: Drain, seen: int) -> None:
        guessing, quiet = drain.guessing, drain.quiet
        over = await drain.is_over()
        if self._news != seen or self._waiting() or self._reason:
            return
        if over:
            why = f"no message for {quiet:g} s" if guessing else "no more work"
            self._leave(f"{why}, burst finished")
            return
        if drain.guessing and not guessing:
            self._say_guessing(drain)
        if drain.is_strange:
            self._say(
                "notice",
                "messages wait that do not come to this worker; stomp explain DEST says why",
            )
        self._asked = trio.current_time()

    def _waiting(self) -> bool:
        """Return whether messages have come and were not begun."""
        return any(place.held or place.subscription.waiting for place in self._places)

    def _say_guessing(self, drain: Drain) -> None:
        self._say(
            "notice", f"{drain.guessing}: the burst ends {drain.quiet:g} s after the last job"
        )

    def _say(self, kind: EventKind, text: str) -> None:
        self._tell(Event(kind, text))


def _to_log(event: Event) -> None:
    """Tell the log of this package, if nobody else wants to know."""
    job = event.job
    if job is None:
        _log.info("%s", event.text)
        return
    outcome = event.outcome
    how = outcome.detail if outcome is not None else event.text
    level = logging.WARNING if event.kind in ("failed", "lost") else logging.INFO
    place, id_ = job.message.destination, job.message.id
    _log.log(level, "%s %s %s %s %s", place, id_, event.kind, event.action, how)
