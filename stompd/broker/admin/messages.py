"""Looking at the messages of a queue, and choosing some of them."""

from __future__ import annotations

import re
from base64 import b64encode
from bisect import bisect_left
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.admin.errand import Later
from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import Row, age, hosts
from stompd.broker.destination import SUBSCRIBED_LIMIT, Destination, Kind, parse
from stompd.broker.durable import DURABLE
from stompd.broker.pattern import matches
from stompd.broker.rights import EVERYTHING
from stompd.broker.selector import compile_selector
from stompd.broker.walk import DELAYED, START, Entry, Position, flying, walk
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.admin.request import Caller
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.rights import Right
    from stompd.broker.virtualhost import VirtualHost
    from stompd.broker.walk import Steps

BROWSED: Final = 100
MOST_BROWSED: Final = 1000
# An answer ends with the message that brings it to so many octets of bodies and headers.
ANSWER_OCTETS: Final = 4 * 1024 * 1024
# By the stage of a walk.
_STATES: Final = ("ready", "inflight", "delayed")
_POSITION: Final = re.compile(
    r"([012]):(-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,2})?):([0-9]{1,18})"
)
# The most that a place may have.
_DIGITS: Final = 18

Wanted = Callable[["Message"], bool]


# Finding.


def host_of(caller: Caller, vhost: str | None) -> VirtualHost:
    """Return the virtual host that a request is about: the caller's unless it names one."""
    return caller.host if vhost is None else hosts(caller.host.broker, vhost)[0]


def destination_of(name: str) -> Destination:
    """Return the destination that a request names; raise `AdminError` if it is none."""
    try:
        return parse(name, limit=SUBSCRIBED_LIMIT)
    except RemoteProtocolError as error:
        raise AdminError("bad-request", f"{error.message}: {error.detail}") from error


def demand(caller: Caller, right: Right, host: VirtualHost, name: str) -> None:
    """Raise `AdminError` unless the caller has a right to what a request names.

    The queue of a durable subscription is that of its topic.
    """
    if not name.startswith(DURABLE):
        caller.demand(right, host, destination_of(name))
        return
    topics = [d.destination for d in host.durables.values() if d.queue.name == name]
    # Whether one is there is for those to know who may do everything.
    caller.demand(right, host, topics[0] if topics else replace(EVERYTHING, name=name))


def find_queue(caller: Caller, right: Right, host: VirtualHost, name: str) -> Queue:
    """Return the queue of this name; raise `AdminError` if there is none, or it is forbidden."""
    demand(caller, right, host, name)
    if name.startswith(DURABLE):
        for durable in host.durables.values():
            if durable.queue.name == name:
                return durable.queue
        raise AdminError("not-found", f'there is no durable subscription "{shown(name)}"')
    destination = destination_of(name)
    if destination.kind is not Kind.QUEUE:
        raise AdminError("bad-request", f'"{shown(name)}" is a topic, which holds no messages')
    queue = host.queues.get(destination.name)
    if queue is None:
        raise AdminError("not-found", f"there is no queue {shown(destination.name)}")
    return queue


def find_queues(caller: Caller, right: Right, host: VirtualHost, name: str) -> list[Queue]:
    """Return the queue of this name, or all that a pattern matches; raise `AdminError`."""
    if name.startswith(DURABLE) or not destination_of(name).wild:
        return [find_queue(caller, right, host, name)]
    demand(caller, right, host, name)
    pattern = destination_of(name).words
    return [queue for queue in host.queues.values() if matches(pattern, queue.destination.words)]


# Choosing.


def selecting(selector: str | None) -> Wanted:
    """Return what says whether a selector is true of a message; raise `AdminError`."""
    if selector is None:
        return lambda _: True
    try:
        predicate = compile_selector(selector).matches
    except RemoteProtocolError as error:
        raise AdminError("bad-request", f"{error.message}: {error.detail}") from error
    return lambda message: predicate(message.properties)


@dataclass(frozen=True)
class Choice:
    """Which of the messages that wait, or are not due yet, a request is about."""

    selector: str | None = None
    ids: list[str] | None = None
    older_than: float | None = None
    count: int | None = None
    keep: int = 0

    @property
    def everything(self) -> bool:
        """True if nothing is left out."""
        return self == Choice()

    def places(self) -> set[int] | None:
        """Return the places that the ids name; None if there is no choice by ids."""
        return None if self.ids is None else set(map(place_of, self.ids)) - {0}

    def end(self, queue: Queue) -> int:
        """Return the place from which on the messages of a queue are too young."""
        if self.older_than is None:
            return queue.next_place
        young = self.older_than
        return bisect_left(
            range(queue.next_place), 1, lo=1, key=lambda place: age(queue, place) < young
        )

    def missing(self, queue: Queue, met: Collection[int]) -> dict[str, int]:
        """Return why messages could not be had that ids name: reasons, and for how many.

        ``met`` are the places of those that could.
        """
        missing = {}
        absent = set(self.ids or ()) - set(map(str, met))
        held = {str(message.place) for message, _ in flying(queue)} & absent
        if held:
            missing["delivered and not settled yet"] = len(held)
        if absent - held:
            missing["no such message"] = len(absent - held)
        return missing


def place_of(name: str) -> int:
    """Return the place that a message's id stands for; 0 if no message can have this id."""
    # Of many digits it would be expensive to make a number.
    fits = name.isascii() and name.isdecimal() and len(name) <= _DIGITS and name[0] != "0"
    return int(name) if fits else 0


# Looking.


def browse(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    count: int = BROWSED,
    offset: int = 0,
    after: str | None = None,
    selector: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    headers_only: bool = False,
    body_bytes: int | None = None,
) -> Later:
    """Return messages of a queue, without taking them, and how many there are to look at."""
    host = host_of(caller, vhost)
    demand(caller, "browse", host, destination)
    queue = find_queue(caller, "monitor", host, destination)
    start = START if after is None else _position(after)
    look = _Look(queue, selecting(selector), min(count, MOST_BROWSED), offset)
    look.bodies = not headers_only
    look.body_bytes = body_bytes
    # Where all is in memory it costs little to count it.
    look.counts = selector is not None and after is None and not queue.behind.priorities()

    def steps() -> Steps[Row]:
        places = None if id is None else {place_of(id)}
        ended = yield from walk(queue, look.visit, after=start, places=places, in_flight=True)
        if id is not None and not (look.found or look.more):
            raise AdminError("not-found", f'there is no message "{shown(id)}" in {queue.name}')
        if selector is None and id is None:
            total: int | None = queue.count
        else:
            total = look.found if ended and after is None else None
        more = bool(look.rows) and look.more
        return {
            "messages": look.rows,
            "total": total,
            "next": offset + len(look.rows) if more and after is None else None,
            "more": _text(look.position) if more else None,
        }

    return Later(steps(), look.progress)


def _text(position: Position) -> str:
    """Return a position as it is told."""
    return f"{position.stage}:{position.first!r}:{position.place}"


def _position(text: str) -> Position:
    """Return the position that was told so; raise `AdminError` if none ever was."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise AdminError("bad-request", "after has to be what `more` of an answer was")
    return Position(int(match[1]), float(match[2]), int(match[3]))


class _Look:
    """Makes rows of messages that a walk meets."""

    def __init__(self, queue: Queue, wanted: Wanted, count: int, offset: int) -> None:
        self._queue = queue
        self._wanted = wanted
        self._left = count
        self._passed = offset
        self.bodies = True
        self.body_bytes: int | None = None
        # True if what finds no room in the answer is to be counted.
        self.counts = False
        self._octets = 0
        self._looked_at = 0
        self._of = queue.count
        self.rows: list[Row] = []
        # How many were found, those that were passed over included; where the last row is.
        self.found = 0
        self.position = START
        self.more = False

    def progress(self) -> dict[str, int]:
        """Return how far it is."""
        return {
            "done": len(self.rows),
            "failed": 0,
            "looked_at": self._looked_at,
            "of": max(self._of, self._looked_at),
        }

    def visit(self, page: list[Entry]) -> bool:
        """Look at some messages; return False if no more are wanted."""
        for entry in page:
            self._looked_at += 1
            message = entry.message
            # In memory there is an alarm for that.
            expired = entry.behind and self._queue.has_expired(message)
            if expired or not self._wanted(message):
                continue
            if self.found >= self._passed and not self.more:
                if not self._left:
                    self.more = True
                else:
                    self._add(entry)
            if self.more and not self.counts:
                return False
            self.found += 1
        return True

    def _add(self, entry: Entry) -> None:
        row = _row(self._queue, entry)
        if self.bodies:
            self._octets += _add_body(row, entry.message.body, self.body_bytes)
        self.rows.append(row)
        self.position = max(self.position, entry.position)
        self._octets += len(entry.message.head.block)
        self._left = 0 if self._octets >= ANSWER_OCTETS else self._left - 1


def _row(queue: Queue, entry: Entry) -> Row:
    message = entry.message
    broker = queue.host.broker
    terms = message.terms
    row: dict[str, Any] = {
        "id": str(message.place),
        "place": message.place,
        "state": _STATES[entry.position.stage],
        "headers": message.headers,
        "size": len(message.body),
        "age": age(queue, message.place),
        "delivery_count": message.count,
        "redelivered": message.redelivered,
        "persistent": message.persistent,
        "priority": 4 if terms is None else terms.priority,
        "truncated": False,
    }
    if entry.position.stage == DELAYED:
        row["due"] = round((entry.position.first + broker.epoch) * 1000)
    if entry.subscription is not None:
        row["connection"] = entry.subscription.session.id
        row["subscription"] = entry.subscription.id
    return row


def _add_body(row: Row, body: bytes, limit: int | None) -> int:
    """Add a body, or its begin, to a row; return how many octets that is."""
    piece = body if limit is None else body[:limit]
    row["truncated"] = len(piece) < len(body)
    try:
        row["body"] = piece.decode()
    except UnicodeDecodeError as error:
        if row["truncated"] and error.reason == "unexpected end of data":
            # Cut within a character.
            row["body"] = piece[: error.start].decode()
        else:
            row["body_base64"] = b64encode(piece).decode("ascii")
    return len(piece)
