"""A model of a durable broker is right at any time; with one fault in it the checker finds that."""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count

import pytest
from crash.checker import violations
from crash.history import (
    Closed,
    Committed,
    Delivered,
    Drained,
    History,
    Killed,
    Opened,
    Receipt,
    Sent,
    Settled,
    Started,
    Stopped,
    Verdict,
)
from hypothesis import given
from hypothesis import strategies as st

QUEUES = ("/queue/a", "/queue/b")

# Fault of the model: what the checker calls it.
FAULTS = {
    "confirms before the sync": {"lost", "came back"},
    "loses the last batch": {"lost", "came back"},
    "writes transactions frame by frame": {"in part"},
    "forgets dedup-ids": {"unmarked duplicate", "came back"},
    "does not mark redeliveries": {"unmarked duplicate"},
    "reads its file backwards": {"order"},
    "commits what was cut off": {"uncommitted"},
    "takes one queue for the other": {"ghost"},
    "settles twice as much": {"lost"},
}


@dataclass
class Copy:
    """A message in a queue."""

    uid: str
    persistent: bool
    redelivered: bool = False
    dead: bool = False


@dataclass
class State:
    """What a broker knows, and its file after a batch."""

    queues: dict[str, list[Copy]] = field(default_factory=lambda: {name: [] for name in QUEUES})
    seen: set[str] = field(default_factory=set)


@dataclass
class Session:
    """A connection with what it has open."""

    name: str
    held: dict[str, tuple[str, Copy]] = field(default_factory=dict)
    receipts: list[tuple[int, str]] = field(default_factory=list)
    """Batch on which it waits, and frame."""


class Model:
    """A broker with group commit, and clients that draw what they do."""

    def __init__(self, chance: random.Random, fault: str | None = None) -> None:
        self.history = History()
        self._chance = chance
        self._fault = fault
        self._numbers = count(1)
        self._life = 0
        self._state = State()
        self._batches: list[State] = [State()]
        """The file after each batch; the last ones may not be synced yet."""
        self._synced = 0
        self._sessions: list[Session] = []
        self._again: list[tuple[str, str]] = []
        self._start()

    def run(self, steps: int) -> None:
        """Let so much happen, then drain everything."""
        acts = [self._send] * 4 + [self._transaction] * 2 + [self._deliver] * 5 + [self._settle] * 4
        acts += [self._sync] * 2 + [self._leave, self._kill, self._stop]
        for _ in range(steps):
            self._chance.choice(acts)()
        self._kill()
        session = self._session()
        while any(self._state.queues.values()):
            for queue in QUEUES:
                self._give(session, queue)
        for delivery in list(session.held):
            self._settled(session, delivery, "ack")
        self._sync()
        self.history.note(Drained())

    # -- The broker ----------------------------------------------------------------------------

    def _start(self) -> None:
        self._life += 1
        self.history.note(Started(self._life))
        self._sessions = [self._session() for _ in range(2)]

    def _session(self) -> Session:
        session = Session(f"s{next(self._numbers)}")
        self.history.note(Opened(session.name, self._life))
        return session

    def _written(self) -> None:
        """The state of now is that after a batch."""
        kept = deepcopy(self._state)
        for session in self._sessions:
            for place, copy in session.held.values():
                kept.queues[place].insert(0, Copy(copy.uid, copy.persistent, dead=copy.dead))
        for name, copies in kept.queues.items():
            kept.queues[name] = sorted(copies, key=lambda copy: int(copy.uid[1:]))
        self._batches.append(kept)

    def _receipt(self, session: Session, frame: str | None) -> None:
        if frame is None:
            return
        early = self._fault == "confirms before the sync"
        session.receipts.append((0 if early else len(self._batches) - 1, frame))
        self._answer()

    def _answer(self) -> None:
        for session in self._sessions:
            while session.receipts and session.receipts[0][0] <= self._synced:
                self.history.note(Receipt(session.name, session.receipts.pop(0)[1]))

    def _sync(self) -> None:
        self._synced = len(self._batches) - 1
        self._answer()

    def _put(self, destination: str, uid: str, *, persistent: bool) -> None:
        if uid in self._state.seen:
            return
        self._state.seen.add(uid)
        if self._fault == "takes one queue for the other" and self._chance.random() < 0.1:
            destination = QUEUES[1 - QUEUES.index(destination)]
        self._state.queues[destination].append(Copy(uid, persistent))

    def _give_back(self, session: Session) -> None:
        for place, copy in session.held.values():
            copy.redelivered = self._fault != "does not mark redeliveries"
            self._state.queues[place].insert(0, copy)
        for copies in self._state.queues.values():
            copies.sort(key=lambda copy: int(copy.uid[1:]))
        session.held.clear()

    # -- What happens --------------------------------------------------------------------------

    def _frame(self) -> str | None:
        return f"f{next(self._numbers)}" if self._chance.random() < 0.6 else None

    def _send(self) -> None:
        session = self._chance.choice(self._sessions)
        if self._again and self._chance.random() < 0.5:
            uid, queue = self._again.pop()
        else:
            uid, queue = f"m{next(self._numbers)}", self._chance.choice(QUEUES)
            if self._chance.random() < 0.3:
                self._again.append((uid, queue))
        frame = self._frame()
        persistent = (uid, queue) in self._again or self._chance.random() < 0.8
        self.history.note(Sent(session.name, uid, queue, frame, persistent=persistent))
        self._put(queue, uid, persistent=persistent)
        self._written()
        self._receipt(session, frame)

    def _transaction(self) -> None:
        session = self._chance.choice(self._sessions)
        name = f"t{next(self._numbers)}"
        by_frame = self._fault == "writes transactions frame by frame"
        settled = [delivery for delivery in list(session.held)[:2] if self._chance.random() < 0.7]
        for delivery in settled:
            self.history.note(Settled(session.name, "ack", (delivery,), None, name))
        sends = [
            (f"m{next(self._numbers)}", self._chance.choice(QUEUES))
            for _ in range(self._chance.randrange(1, 4))
        ]
        for uid, queue in sends:
            self.history.note(Sent(session.name, uid, queue, None, name))
        if self._chance.random() < 0.2:
            # The connection breaks before COMMIT.
            if self._fault == "commits what was cut off":
                for uid, queue in sends:
                    self._put(queue, uid, persistent=True)
            self._end(session)
            return
        frame = self._frame()
        self.history.note(Committed(session.name, name, frame))
        for delivery in settled:
            del session.held[delivery]
        if by_frame:
            self._written()
        for uid, queue in sends:
            self._put(queue, uid, persistent=True)
            if by_frame:
                self._written()
        self._written()
        self._receipt(session, frame)

    def _deliver(self) -> None:
        self._give(self._chance.choice(self._sessions), self._chance.choice(QUEUES))

    def _give(self, session: Session, queue: str) -> None:
        if not self._state.queues[queue]:
            return
        copy = self._state.queues[queue].pop(0)
        delivery = f"d{next(self._numbers)}"
        session.held[delivery] = (queue, copy)
        self.history.note(
            Delivered(
                session.name,
                queue,
                delivery,
                copy.uid,
                queue,
                redelivered=copy.redelivered,
                dead=copy.dead,
            )
        )

    def _settle(self) -> None:
        session = self._chance.choice(self._sessions)
        if session.held:
            verdicts: tuple[Verdict, ...] = ("ack", "ack", "ack", "nack", "dead")
            delivery = self._chance.choice(list(session.held))
            self._settled(session, delivery, self._chance.choice(verdicts))

    def _settled(self, session: Session, delivery: str, verdict: Verdict) -> None:
        frame = self._frame()
        self.history.note(Settled(session.name, verdict, (delivery,), frame))
        queue, copy = session.held.pop(delivery)
        if verdict == "nack":
            copy.redelivered = self._fault != "does not mark redeliveries"
        if verdict == "nack" or (verdict == "dead" and not copy.dead):
            if verdict == "dead":
                copy.dead, copy.redelivered = True, False
            self._state.queues[queue].append(copy)
            self._state.queues[queue].sort(key=lambda copy: int(copy.uid[1:]))
        elif self._fault == "settles twice as much" and self._state.queues[queue]:
            self._state.queues[queue].pop()
        self._written()
        self._receipt(session, frame)

    def _leave(self) -> None:
        self._end(self._chance.choice(self._sessions))

    def _end(self, session: Session) -> None:
        self._give_back(session)
        self._sessions.remove(session)
        self.history.note(Closed(session.name))
        self._sessions.append(self._session())

    def _kill(self) -> None:
        self.history.note(Killed())
        for session in self._sessions:
            self.history.note(Closed(session.name))
        # What was written and not synced may have got there, up to some batch.
        last = self._chance.randrange(self._synced, len(self._batches))
        if self._fault == "loses the last batch":
            last = max(0, self._synced - 1)
        self._state = deepcopy(self._batches[last])
        for name, copies in self._state.queues.items():
            self._state.queues[name] = [copy for copy in copies if copy.persistent]
            if self._fault == "reads its file backwards":
                self._state.queues[name].reverse()
        if self._fault == "forgets dedup-ids":
            self._state.seen.clear()
        self._batches = [deepcopy(self._state)]
        self._synced = 0
        self._start()

    def _stop(self) -> None:
        for session in self._sessions:
            self._give_back(session)
        self._written()
        self._sync()
        for session in self._sessions:
            self.history.note(Closed(session.name))
        self.history.note(Stopped())
        self._start()


@given(st.integers(0, 2**32), st.integers(0, 300))
def test_a_right_broker_is_found_right(seed: int, steps: int) -> None:
    """Whatever happens to it, and whenever it is killed."""
    model = Model(random.Random(seed))  # noqa: S311
    model.run(steps)
    found = violations(model.history.events)
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    """Within a few runs, and called by its name."""
    kinds: set[str] = set()
    for seed in range(40):
        model = Model(random.Random(seed), fault)  # noqa: S311
        model.run(200)
        kinds |= {violation.kind for violation in violations(model.history.events)}
    assert kinds & FAULTS[fault], kinds
