"""What changes something: purging, moving, deleting, pausing, closing.

What is done with messages is done with all of them or none, and becomes durable together.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from stompd.broker.admin.messages import (
    Choice,
    destination_of,
    find_queue,
    find_queues,
    host_of,
)
from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import Row
from stompd.broker.destination import Kind
from stompd.broker.durable import DURABLE
from stompd.broker.event import OWN
from stompd.broker.message import Message
from stompd.broker.pattern import matches, words_of
from stompd.broker.queue import Queue
from stompd.broker.route import Route
from stompd.broker.session import CloseReason
from stompd.broker.terms import Terms
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stompd.broker.admin.request import Caller, Code
    from stompd.broker.destination import Destination
    from stompd.broker.durable import Durable
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost

# What speaks against a route that is right by itself.
_CONFLICTS: Final = ("route name in use", "routes in a loop")
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


def outcome(done: int, failures: Mapping[str, int] | None = None) -> Row:
    """Return what an acting verb answers; ``failures`` are reasons, and how many had each."""
    failures = failures or {}
    return {
        "done": done,
        "failed": sum(failures.values()),
        "reasons": [
            reason if number == 1 else f"{reason} ({number})"
            for reason, number in sorted(failures.items())
        ],
    }


# Messages.


def purge(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    selector: str | None = None,
    older_than: float | None = None,
    keep: int = 0,
    dry_run: bool = False,
) -> Row:
    """Drop the messages of a queue, or of all queues that a pattern matches.

    Those that are delivered and not settled stay.
    """
    choice = Choice(selector, older_than=older_than, keep=keep)
    failures: Counter[str] = Counter()
    done = 0
    for queue in find_queues(host_of(caller, vhost), destination):
        chosen = choice.of(queue)
        done += len(chosen)
        if choice.everything:
            done += queue.tail
        else:
            failures.update(choice.missing(queue, chosen))
        if not dry_run:
            queue.store.begin_group()
            queue.discard(chosen)
            if choice.everything:
                queue.drop_tail()
            queue.store.end_group()
    return outcome(done, failures)


def move(caller: Caller, **fields: object) -> Row:
    """Take messages out of a queue and put them into another destination."""
    return _transfer(caller, moves=True, **fields)  # type: ignore[arg-type] # the table knows


def copy(caller: Caller, **fields: object) -> Row:
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
) -> Row:
    host = host_of(caller, vhost)
    queue = find_queue(host, source)
    goal = _Goal(host, target)
    if goal.found is queue:
        raise AdminError("bad-request", f"{queue.name} is source and target")
    choice = Choice(selector, ids, older_than, count)
    chosen = choice.of(queue)
    failures = Counter(choice.missing(queue, chosen))
    fitting = []
    for message in chosen:
        reason = goal.refuses(message)
        if reason:
            failures[reason] += 1
        else:
            fitting.append(message)
    if not dry_run:
        twins = [(goal.target(), _twin(message, {"destination": goal.name})) for message in fitting]
        _put(queue, fitting, twins, moves=moves)
    return outcome(len(fitting), failures)


class _Goal:
    """Where messages are to be put, and how many of them fit there.

    Raises `AdminError` for a name that messages cannot be put into.
    """

    def __init__(self, host: VirtualHost, name: str) -> None:
        self._host = host
        self._destination: Destination | None = None
        self.found: Queue | Topic | None
        self._count = 0
        self._size = 0
        if name.startswith(DURABLE):
            self.name = name
            self.found = find_queue(host, name)
            return
        destination = destination_of(name)
        nowhere = (OWN, "/exchange/")
        if destination.wild or destination.temporary or destination.name.startswith(nowhere):
            raise AdminError("bad-request", f'"{shown(name)}" is no one queue or topic')
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
        found = self.found
        if isinstance(found, Queue) and found.bounded:
            if not found.has_room(self._count + 1, self._size + message.size):
                return f"no room in {self.name}"
            self._count += 1
            self._size += message.size
        return ""

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
    messages: list[Message],
    twins: list[tuple[Queue | Topic, Message]],
    *,
    moves: bool,
) -> None:
    """Put twins of messages elsewhere and, if it is a move, drop the messages; all together."""
    dues = {}
    if any(message in queue.delayed for message in messages):
        dues = {message.place: due for due, message in queue.delayed.entries()}
    store = queue.store
    store.begin_group()
    if moves:
        queue.discard(messages)
    for message, (target, twin) in zip(messages, twins, strict=True):
        due = dues.get(message.place)
        if due is not None:
            # A delay after a NACK is not among its terms.
            twin.terms = twin.terms or Terms()
            twin.terms.due = due
            twin.terms.incoming = True
        target.admit(twin, None)
    store.end_group()


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
) -> Row:
    """Put dead letters back to where they came from, as they were before they died."""
    host = host_of(caller, vhost)
    queue = find_queue(host, destination)
    choice = Choice(selector, ids, older_than, count)
    chosen = choice.of(queue)
    failures = Counter(choice.missing(queue, chosen))
    goals: dict[str, _Goal | str] = {}
    going: list[tuple[Message, _Goal, str]] = []
    for message in chosen:
        name = to or (message.extra or {}).get("original-destination")
        if name is None:
            failures["no dead letter; `to` has to say where it goes"] += 1
            continue
        if name not in goals:
            goals[name] = _origin(host, queue, name)
        goal = goals[name]
        reason = goal if isinstance(goal, str) else goal.refuses(message)
        if isinstance(goal, str) or reason:
            failures[reason] += 1
        else:
            going.append((message, goal, name))
    if not dry_run:
        twins = [(goal.target(), _revived(message, goal, name)) for message, goal, name in going]
        _put(queue, [message for message, _, _ in going], twins, moves=True)
    return outcome(len(going), failures)


def _origin(host: VirtualHost, letters: Queue, name: str) -> _Goal | str:
    """Return where dead letters go that came from a destination, or why they cannot."""
    try:
        goal = _Goal(host, name)
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
        return _Goal(host, queues[0]) if queues else goal
    except AdminError as error:
        return error.message


def _revived(message: Message, goal: _Goal, name: str) -> Message:
    """Return the message that a dead letter was, with all its attempts before it."""
    twin = _twin(message, {})
    extra = {n: v for n, v in (message.extra or {}).items() if n not in _OF_DEAD_LETTERS}
    if message.head.get("timestamp") is None:
        extra.pop("timestamp", None)
    # The sender's own spelling, where the message goes to where the sender meant it to go.
    if not goal.name.startswith(DURABLE) and message.head.get("destination") != name:
        extra["destination"] = goal.name
    twin.extra = extra or None
    return twin


# Destinations.


def delete(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    if_empty: bool = False,
    if_unused: bool = False,
) -> Row:
    """Remove a queue or topic with what it holds; who is subscribed to it by name keeps it."""
    host = host_of(caller, vhost)
    wanted = destination_of(destination)
    targets: Mapping[str, Queue | Topic] = host.queues if wanted.kind is Kind.QUEUE else host.topics
    target = targets.get(wanted.name)
    if target is None:
        raise AdminError("not-found", f"there is no {shown(wanted.name)}")
    if target.owner is not None:
        raise AdminError("conflict", f"{target.name} ends with its connection, {target.owner.id}")
    if isinstance(target, Queue):
        named = target.holders()
        if if_empty and target.count:
            raise AdminError("conflict", f"{target.name} holds {target.count} messages")
    else:
        named = [s for s in target.subscriptions if not s.wild]
    if named:
        holders = ", ".join(sorted({subscription.session.id for subscription in named})[:10])
        raise AdminError("conflict", f"{target.name} has subscribers: {holders}")
    if if_unused and target.subscriptions:
        raise AdminError("conflict", f"{target.name} has subscribers by a wildcard")
    host.remove(target)
    return outcome(1)


def pause(caller: Caller, *, destination: str, vhost: str | None = None) -> Row:
    """Deliver nothing from a queue until it is resumed; it still takes messages."""
    queue = find_queue(host_of(caller, vhost), destination)
    queue.pause()
    queue.host.define(queue)
    return outcome(1)


def resume(caller: Caller, *, destination: str, vhost: str | None = None) -> Row:
    """Deliver again from a queue that is paused."""
    queue = find_queue(host_of(caller, vhost), destination)
    queue.resume()
    queue.host.define(queue)
    return outcome(1)


def remove_durable(
    caller: Caller, *, name: str, client_id: str | None = None, vhost: str | None = None
) -> Row:
    """Remove a durable subscription with what it holds; nobody may be connected to it.

    One whose queue has a name for everybody goes with that queue.
    """
    host = host_of(caller, vhost)
    found: list[Durable] = [
        durable
        for durable in host.durables.values()
        if durable.name == name and client_id in (None, durable.client_id)
    ]
    queue = host.bound_queue(name)
    if not found and queue is not None and not client_id:
        return delete(caller, destination=queue.name, vhost=vhost)
    if not found:
        raise AdminError("not-found", f'there is no durable subscription "{shown(name)}"')
    if len(found) > 1:
        owners = ", ".join(sorted(shown(durable.client_id) for durable in found))
        raise AdminError(
            "conflict", f"there are several of that name; client_id is one of {owners}"
        )
    (durable,) = found
    holders = durable.queue.subscriptions
    if holders:
        names = ", ".join(sorted({subscription.session.id for subscription in holders}))
        raise AdminError("conflict", f'"{shown(name)}" is in use by {names}')
    host.forget_durable(durable)
    return outcome(1)


# Connections.


def kick(caller: Caller, *, connection: str, reason: str | None = None) -> Row:
    """End a connection with an ERROR; what it had not settled goes to others."""
    if connection == caller.connection:
        raise AdminError(
            "conflict", f"{connection} is the connection that asks; DISCONNECT ends it"
        )
    session = caller.host.broker.sessions.get(connection)
    if session is None or session.over:
        raise AdminError("not-found", f'there is no connection "{shown(connection)}"')
    session.fail(
        RemoteProtocolError("closed by an administrator", shown(reason) if reason else ""),
        CloseReason.KICKED,
    )
    return outcome(1)


# Routes.


def add_route(
    caller: Caller,
    *,
    match: str,
    to: list[str],
    name: str | None = None,
    when: str | None = None,
    move: bool = False,
    vhost: str | None = None,
) -> Row:
    """Route what is sent from now on, until the broker stops; one without a name gets one."""
    host = host_of(caller, vhost)
    if name is None:
        name = host.router.free_name()
    try:
        host.add_route(Route(name, match, tuple(to), when, move))
    except RemoteProtocolError as error:
        code: Code = "conflict" if error.message in _CONFLICTS else "bad-request"
        raise AdminError(code, str(error)) from error
    return {**outcome(1), "name": name}


def remove_route(caller: Caller, *, name: str, vhost: str | None = None) -> Row:
    """Route nothing more by this route; one of the settings comes back when they are read again."""
    try:
        host_of(caller, vhost).remove_route(name)
    except RemoteProtocolError as error:
        raise AdminError("not-found", str(error)) from error
    return outcome(1)
