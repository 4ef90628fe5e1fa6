"""What is done with the messages of a queue, all of them or some: purging, moving, requeuing.

It is done page by page, and others go on in between. What is done with the messages of a page is
done with all of them or none and becomes durable together; a message that is moved is never lost
and never there twice.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Final

from stompd.broker.admin.errand import Later, outcome
from stompd.broker.admin.messages import (
    Choice,
    demand,
    destination_of,
    find_queue,
    find_queues,
    host_of,
    selecting,
)
from stompd.broker.admin.request import AdminError
from stompd.broker.destination import Kind
from stompd.broker.durable import DURABLE
from stompd.broker.event import OWN
from stompd.broker.message import Message
from stompd.broker.overflow import has_room
from stompd.broker.owed import hand_on
from stompd.broker.pattern import matches, words_of
from stompd.broker.queue import Queue
from stompd.broker.terms import Terms
from stompd.broker.walk import DELAYED, Entry, discard, walk
from stompd.protocol.errors import shown
from stompd.protocol.frame import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stompd.broker.admin.request import Caller
    from stompd.broker.admin.rows import Row
    from stompd.broker.destination import Destination
    from stompd.broker.rights import Right
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost
    from stompd.broker.walk import Steps

    # Does something with messages of a queue; returns with how many, and why not with others.
    Act = Callable[[Queue, Sequence[Entry]], tuple[int, Mapping[str, int]]]

# What a dead letter has gained over the message that it was.
_OF_DEAD_LETTERS: Final = frozenset(
    (
        "dead-letter-detail",
        "dead-letter-reason",
        "dead-letter-time",
        "delivery-count",
        "destination",
        "original-destination",
    )
)
# What a worker that gives a message up writes on it besides.
_OF_WORKERS: Final = frozenset(("attempts", "exit-status", "worker"))


class _Job:
    """Does one thing with the messages of queues that a choice is about."""

    def __init__(self, queues: Sequence[Queue], choice: Choice, act: Act) -> None:
        self._queues = queues
        self._choice = choice
        self._wanted = selecting(choice.selector)
        self._places = choice.places()
        self._act = act
        # What has expired is on its way out, wherever it is; only purging takes it as well.
        self.passes_expired = True
        self.paced = True
        self._left = choice.count
        self._met: set[int] = set()
        self.done = 0
        self._failures: Counter[str] = Counter()
        self._looked_at = 0
        self._of = sum(queue.depth + len(queue.delayed) for queue in queues)
        # The places of the newest messages, as a heap.
        self._newest: list[int] = []
        self._there = 0

    def later(self) -> Later:
        """Return what an acting verb returns."""
        return Later(self._steps(), self._progress)

    def _progress(self) -> dict[str, int]:
        return {
            "done": self.done,
            "failed": sum(self._failures.values()),
            "looked_at": self._looked_at,
            "of": max(self._of, self._looked_at),
        }

    def _steps(self) -> Steps[Row]:
        for queue in self._queues if self._left != 0 else ():
            end = self._choice.end(queue)
            keep = self._choice.keep
            if keep:
                self._newest, self._there = [], 0
                yield from walk(queue, self._keep, end=end)
                # The newest of those that go is before the oldest of those that stay.
                end = self._newest[0] if self._there > keep else 0
            visit = partial(self._visit, queue)
            yield from walk(queue, visit, end=end, places=self._places, paced=self.paced)
        # Messages are named in one queue only.
        for queue in self._queues[-1:] if self._left != 0 else ():
            self._failures.update(self._choice.missing(queue, self._met))
        return outcome(self.done, self._failures)

    def _keep(self, page: list[Entry]) -> bool:
        newest, most = self._newest, self._choice.keep
        for entry in page:
            if self._wanted(entry.message):
                self._there += 1
                place = entry.message.place
                if len(newest) < most:
                    heappush(newest, place)
                elif place > newest[0]:
                    heapreplace(newest, place)
        return True

    def _visit(self, queue: Queue, page: list[Entry]) -> bool:
        self._looked_at += len(page)
        chosen = [
            entry
            for entry in page
            if self._wanted(entry.message)
            and not (self.passes_expired and queue.has_expired(entry.message))
        ]
        if self._left is not None:
            del chosen[self._left :]
            self._left -= len(chosen)
        if self._places is not None:
            self._met.update(entry.message.place for entry in chosen)
        if chosen:
            done, failures = self._act(queue, chosen)
            self.done += done
            self._failures.update(failures)
        return self._left != 0


# Purging.


def purge(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    selector: str | None = None,
    older_than: float | None = None,
    keep: int = 0,
    dry_run: bool = False,
) -> Row | Later:
    """Drop the messages of a queue, or of all queues that a pattern matches.

    Those that are delivered and not settled stay.
    """
    choice = Choice(selector, older_than=older_than, keep=keep)
    queues = find_queues(caller, "admin", host_of(caller, vhost), destination)
    count = 0
    if choice.everything:
        if dry_run:
            return outcome(sum(queue.depth + len(queue.delayed) for queue in queues))
        count = sum(map(_drop_all, queues))
        queues = [queue for queue in queues if queue.tail or queue.delayed.tail]
        if not queues:
            return outcome(count)

    def drop(queue: Queue, entries: Sequence[Entry]) -> tuple[int, dict[str, int]]:
        if not dry_run:
            discard(queue, entries)
        return len(entries), {}

    job = _Job(queues, choice, drop)
    job.done = count
    job.passes_expired = False
    job.paced = not dry_run
    return job.later()


def _drop_all(queue: Queue) -> int:
    """Drop what can be dropped at once; return how many messages that were.

    That is all but what is in the store only and not due yet, or counted as its senders'.
    """
    going = [*queue.waiting(), *(message for _, message in queue.delayed.entries())]
    queue.store.begin_group()
    queue.discard(going)
    # What nobody has looked at is somebody's, but whose it is nobody knows.
    dropped = 0 if queue.owed else queue.drop_tail()
    queue.store.end_group()
    return len(going) + dropped


# Moving and copying.


def move(caller: Caller, **fields: object) -> Later:
    """Take messages out of a queue and put them into another destination."""
    return _transfer(caller, moves=True, **fields)  # type: ignore[arg-type] # the table knows


def copy(caller: Caller, **fields: object) -> Later:
    """Put copies of a queue's messages into another destination."""
    return _transfer(caller, moves=False, **fields)  # type: ignore[arg-type] # the table knows


def _transfer(
    caller: Caller,
    *,
    moves: bool,
    source: str,
    target: str,
    vhost: str | None = None,
    count: int | None = None,
    selector: str | None = None,
    ids: list[str] | None = None,
    older_than: float | None = None,
    dry_run: bool = False,
) -> Later:
    host = host_of(caller, vhost)
    queue = find_queue(caller, "admin", host, source)
    goal = _Goal(caller, "admin", host, target)
    if goal.found is queue:
        raise AdminError("bad-request", f"{queue.name} is source and target")

    def transfer(queue: Queue, entries: Sequence[Entry]) -> tuple[int, Counter[str]]:
        failures: Counter[str] = Counter()
        fitting = []
        for entry in entries:
            reason = goal.refuses(entry.message)
            if reason:
                failures[reason] += 1
            else:
                fitting.append(entry)
        if not dry_run:
            extra = {"destination": goal.name}
            twins = [(goal, _twin(entry.message, extra)) for entry in fitting]
            _put(queue, fitting, twins, moves=moves)
        return len(fitting), failures

    job = _Job([queue], Choice(selector, ids, older_than, count), transfer)
    job.paced = not dry_run
    return job.later()


class _Goal:
    """Where messages are to be put, and how many of them fit there.

    Raises `AdminError` for a name that messages cannot be put into.
    """

    __slots__ = ("_count", "_destination", "_host", "_size", "found", "name")

    def __init__(self, caller: Caller, right: Right, host: VirtualHost, name: str) -> None:
        self._host = host
        self._destination: Destination | None = None
        self.found: Queue | Topic | None
        self._count = 0
        self._size = 0
        if name.startswith(DURABLE):
            self.name = name
            self.found = find_queue(caller, right, host, name)
            return
        destination = destination_of(name)
        nowhere = (OWN, "/exchange/")
        if destination.wild or destination.temporary or destination.name.startswith(nowhere):
            raise AdminError("bad-request", f'"{shown(name)}" is no one queue or topic')
        caller.demand(right, host, destination)
        self._destination = destination
        self.name = destination.name
        targets: Mapping[str, Queue | Topic] = (
            host.queues if destination.kind is Kind.QUEUE else host.topics
        )
        self.found = targets.get(destination.name)
        if self.found is None and destination.remote:
            raise AdminError("not-found", f"{destination.name} is gone")

    def refuses(self, message: Message) -> str:
        """Return why there is no room for one message more; empty if there is, and it counts."""
        if message.persistent and self._host.broker.store.full:
            return "no room on the disk"
        found = self.found
        if found is not None and found.gone:
            if self._destination is None or self._destination.remote:
                return f"{self.name} is gone"
            self.found = found = None
        if isinstance(found, Queue) and found.bounded:
            if not has_room(found, self._count + 1, self._size + message.size):
                return f"no room in {self.name}"
            self._count += 1
            self._size += message.size
        return ""

    def filled(self) -> None:
        """Take it that what was found to fit is there now."""
        self._count = self._size = 0

    def target(self) -> Queue | Topic:
        """Return the queue or topic; made if it is not there."""
        if self.found is None:
            assert self._destination is not None  # noqa: S101 - what has none is there
            self.found = self._host.find(self._destination)
            assert self.found is not None  # noqa: S101 - only a remote one may be gone
        return self.found


def _twin(message: Message, extra: Mapping[str, str]) -> Message:
    """Return a message as it is put elsewhere, with these headers in place of the sender's.

    Its count of attempts begins anew.
    """
    twin = Message(message.head, message.body, None, message.persistent)
    twin.extra = {**(message.extra or {}), **extra}
    if message.terms is not None:
        twin.terms = message.terms.copy()
        # Somebody wants it there, whether it was there before or not.
        twin.terms.dedup_id = None
    return twin


def _put(
    queue: Queue,
    entries: Sequence[Entry],
    twins: Sequence[tuple[_Goal, Message]],
    *,
    moves: bool,
) -> None:
    """Put twins of messages elsewhere and, if it is a move, drop the messages; all together."""
    store = queue.store
    store.begin_group()
    if moves:
        discard(queue, entries)
    for entry, (goal, twin) in zip(entries, twins, strict=True):
        target = goal.target()
        if isinstance(target, Queue):
            hand_on(entry.message, twin, target)
        if entry.position.stage == DELAYED:
            # A delay after a NACK is not among its terms.
            twin.terms = twin.terms or Terms()
            twin.terms.due = entry.position.first
            twin.terms.incoming = True
        target.admit(twin, None)
        goal.filled()
    store.end_group()


# Requeuing.


def requeue(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    ids: list[str] | None = None,
    count: int | None = None,
    selector: str | None = None,
    older_than: float | None = None,
    to: str | None = None,
    dry_run: bool = False,
) -> Later:
    """Put dead letters back to where they came from, as they were before they died."""
    host = host_of(caller, vhost)
    letters = find_queue(caller, "admin", host, destination)
    if to is not None:
        try:
            demand(caller, "admin", host, to)
        except AdminError as error:
            # A name that is none is a reason that each of them has.
            if error.code == "forbidden":
                raise
    goals: dict[str, _Goal | str] = {}

    def revive(queue: Queue, entries: Sequence[Entry]) -> tuple[int, Counter[str]]:
        failures: Counter[str] = Counter()
        going: list[Entry] = []
        twins: list[tuple[_Goal, Message]] = []
        for entry in entries:
            message = entry.message
            name = to or _came_from(message)
            if name is None:
                failures["no dead letter; `to` has to say where it goes"] += 1
                continue
            if name not in goals:
                goals[name] = _origin(caller, host, queue, name)
            goal = goals[name]
            reason = goal if isinstance(goal, str) else goal.refuses(message)
            if isinstance(goal, str) or reason:
                failures[reason] += 1
            else:
                going.append(entry)
                twins.append((goal, _revived(message, goal, name)))
        if not dry_run:
            _put(queue, going, twins, moves=True)
        return len(going), failures

    job = _Job([letters], Choice(selector, ids, older_than, count), revive)
    job.paced = not dry_run
    return job.later()


def _came_from(message: Message) -> str | None:
    """Return where a dead letter was before it died, None for what is none.

    Our own word counts first. A program that dead-letters for itself writes the same headers; it
    sends nobody's message anywhere but with the rights of who requeues it.
    """
    if message.extra is not None and "original-destination" in message.extra:
        return message.extra["original-destination"]
    return message.head.get("original-destination") if _is_theirs(message) else None


def _is_theirs(message: Message) -> bool:
    """Return whether it was not us but its sender who made a dead letter of a message."""
    return (
        "original-destination" not in (message.extra or {})
        and message.head.get("dead-letter-reason") is not None
    )


def _origin(caller: Caller, host: VirtualHost, letters: Queue, name: str) -> _Goal | str:
    """Return where dead letters go that came from a destination, or why they cannot.

    Who puts them back there has to have the right to send there.
    """
    try:
        goal = _Goal(caller, "send", host, name)
        if goal.found is letters:
            return f"{goal.name} is where it is"
        if not name.startswith("/topic/"):
            return goal
        # It died in the queue of a durable subscription: the topic's others have had it.
        queues = [
            durable.queue.name
            for durable in host.durables.values()
            if host.dead_letters.name_of(durable.queue) == letters.name
            and matches(durable.destination.words, words_of(name))
        ]
        if len(queues) > 1:
            return f"`to` has to say which it was: {', '.join(sorted(queues))}"
        return _Goal(caller, "send", host, queues[0]) if queues else goal
    except AdminError as error:
        return error.message


def _revived(message: Message, goal: _Goal, name: str) -> Message:
    """Return the message that a dead letter was, with all its attempts before it."""
    twin = _twin(message, {})
    if _is_theirs(message):
        gone = _OF_DEAD_LETTERS | _OF_WORKERS
        headers = {n: v for n, v in message.head.headers.items() if n not in gone}
        twin.head = Head.of("SEND", {"destination": name, **headers})
    extra = {n: v for n, v in (message.extra or {}).items() if n not in _OF_DEAD_LETTERS}
    if message.head.get("timestamp") is None:
        extra.pop("timestamp", None)
    # The sender's own spelling, where the message goes to where the sender meant it to go.
    if not goal.name.startswith(DURABLE) and twin.head.get("destination") != name:
        extra["destination"] = goal.name
    twin.extra = extra or None
    return twin
