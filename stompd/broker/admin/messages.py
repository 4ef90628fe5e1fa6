"""Looking at the messages of a queue, and choosing some of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import Row, age, hosts
from stompd.broker.destination import SUBSCRIBED_LIMIT, Destination, Kind, parse
from stompd.broker.durable import DURABLE
from stompd.broker.pattern import matches
from stompd.broker.selector import compile_selector
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.admin.request import Caller
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.subscription import Subscription
    from stompd.broker.virtualhost import VirtualHost

BROWSED: Final = 100
MOST_BROWSED: Final = 1000
# An answer ends with the message that brings it to so many octets of bodies and headers.
ANSWER_OCTETS: Final = 4 * 1024 * 1024

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


def find_queue(host: VirtualHost, name: str) -> Queue:
    """Return the queue of this name; raise `AdminError` if there is none."""
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


def find_queues(host: VirtualHost, name: str) -> list[Queue]:
    """Return the queue of this name, or all that a pattern matches; raise `AdminError`."""
    if name.startswith(DURABLE) or not destination_of(name).wild:
        return [find_queue(host, name)]
    pattern = destination_of(name).words
    return [queue for queue in host.queues.values() if matches(pattern, queue.destination.words)]


def in_flight(queue: Queue) -> Iterator[tuple[Message, Subscription]]:
    """Give each message that is delivered and not settled, and to whom it went."""
    for subscription in queue.subscriptions:
        for held in (subscription.unsettled, subscription.enlisted):
            for message in held.values():
                if message.queue is queue:
                    yield message, subscription
    # A subscription may have ended while a transaction held what it had got.
    for session in queue.host.broker.sessions.values():
        for transaction in session.transactions.values():
            for settlement in transaction.settlements:
                subscription = settlement.subscription
                for number in settlement.numbers if subscription.gone else ():
                    message = subscription.enlisted[number]
                    if message.queue is queue:
                        yield message, subscription


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

    def of(self, queue: Queue) -> list[Message]:
        """Return them in the order of their delivery, those that are not due yet at the end."""
        wanted = selecting(self.selector)
        ids = None if self.ids is None else set(self.ids)
        found = [
            message
            for message in (*queue.waiting(), *(m for _, m in queue.delayed.entries()))
            if (ids is None or str(message.place) in ids)
            and (self.older_than is None or age(queue, message.place) >= self.older_than)
            and wanted(message)
        ]
        if self.keep:
            newest = sorted(found, key=lambda message: message.place)[-self.keep :]
            kept = {message.place for message in newest}
            found = [message for message in found if message.place not in kept]
        return found if self.count is None else found[: self.count]

    def missing(self, queue: Queue, found: Iterable[Message]) -> dict[str, int]:
        """Return what is asked for and cannot be had: reasons, and for how many messages."""
        missing = {}
        if self.ids is not None:
            there = {str(message.place) for message in found}
            absent = set(self.ids) - there
            flying = {str(message.place) for message, _ in in_flight(queue)} & absent
            if flying:
                missing["delivered and not settled yet"] = len(flying)
            if absent - flying:
                missing["no such message"] = len(absent - flying)
        elif queue.tail and self.count is None:
            missing["in the store only, to be reached when those before them are gone"] = queue.tail
        return missing


# Looking.


def browse(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    count: int = BROWSED,
    offset: int = 0,
    selector: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    headers_only: bool = False,
    body_bytes: int | None = None,
) -> Row:
    """Return messages of a queue, without taking them, and how many there are to look at."""
    queue = find_queue(host_of(caller, vhost), destination)
    wanted = selecting(selector)
    entries = _entries(queue)
    if id is None and selector is None:
        # No further than the page goes. What is in the store only is counted, but not seen.
        total = queue.count
    else:
        everything = [
            entry
            for entry in entries
            if (id is None or str(entry.message.place) == id) and wanted(entry.message)
        ]
        if id is not None and not everything:
            raise AdminError("not-found", f'there is no message "{shown(id)}" in {queue.name}')
        total = len(everything)
        entries = iter(everything)
    rows: list[Row] = []
    octets = 0
    for entry in islice(entries, offset, offset + min(count, MOST_BROWSED)):
        row = _row(queue, entry)
        if not headers_only:
            octets += _add_body(row, entry.message.body, body_bytes)
        rows.append(row)
        octets += len(entry.message.head.block)
        if octets >= ANSWER_OCTETS:
            break
    more = bool(rows) and next(entries, None) is not None
    return {"messages": rows, "total": total, "next": offset + len(rows) if more else None}


class _Entry(NamedTuple):
    """A message, and where it is."""

    message: Message
    state: str
    due: float | None = None
    subscription: Subscription | None = None


def _entries(queue: Queue) -> Iterator[_Entry]:
    for message in queue.waiting():
        yield _Entry(message, "ready")
    for message, subscription in sorted(in_flight(queue), key=lambda entry: entry[0].place):
        yield _Entry(message, "inflight", subscription=subscription)
    for due, message in queue.delayed.entries():
        yield _Entry(message, "delayed", due)


def _row(queue: Queue, entry: _Entry) -> Row:
    message = entry.message
    broker = queue.host.broker
    terms = message.terms
    row: dict[str, Any] = {
        "id": str(message.place),
        "place": message.place,
        "state": entry.state,
        "headers": message.headers,
        "size": len(message.body),
        "age": age(queue, message.place),
        "delivery_count": message.count,
        "redelivered": message.redelivered,
        "persistent": message.persistent,
        "priority": 4 if terms is None else terms.priority,
        "truncated": False,
    }
    if entry.due is not None:
        row["due"] = round((entry.due + broker.epoch) * 1000)
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
