"""Why messages are not delivered: what keeps a queue, or one message of it, and where SENDs go."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from stompd.broker.admin.errand import Later
from stompd.broker.admin.messages import destination_of, find_queue, host_of, place_of
from stompd.broker.admin.request import AdminError
from stompd.broker.admin.rows import Row, age, knows, pauser_name
from stompd.broker.course import goes_to
from stompd.broker.destination import Kind
from stompd.broker.durable import DURABLE
from stompd.broker.walk import DELAYED, behind, walk
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stompd.broker.admin.request import Caller
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.subscription import Subscription
    from stompd.broker.topic import Topic
    from stompd.broker.virtualhost import VirtualHost
    from stompd.broker.walk import Entry, Steps

# So many waiting messages are held against a selector.
_LOOKED_AT: Final = 1000
# So many consumers, or connections, are named one by one.
_NAMED: Final = 100


def explain(
    caller: Caller,
    *,
    destination: str,
    vhost: str | None = None,
    id: str | None = None,  # noqa: A002 - the field's name
    headers: dict[str, str] | None = None,
) -> Row | Later:
    """Return what keeps messages of a destination from being delivered, and where SENDs go."""
    host = host_of(caller, vhost)
    if destination.startswith(DURABLE):
        name, kind = destination, "queue"
        queue: Queue | None = find_queue(caller, "monitor", host, destination)
        topic = None
    else:
        wanted = destination_of(destination)
        if wanted.wild or wanted.temporary:
            raise AdminError("bad-request", f'"{shown(destination)}" is no one queue or topic')
        caller.demand("monitor", host, wanted)
        name = wanted.name
        kind = wanted.kind.value
        queue = host.queues.get(name) if wanted.kind is Kind.QUEUE else None
        topic = host.topics.get(name) if wanted.kind is Kind.TOPIC else None
    reasons: list[Row] = []
    if queue is None and id is not None:
        raise AdminError("not-found", f"{shown(name)} holds no messages")
    if queue is not None and id is None:
        reasons += _of_queue(queue, headers)
    elif topic is not None:
        reasons += _of_topic(topic, headers)
    elif queue is None:
        reasons.append(_reason("not-there", f"there is no {name}; the first SEND makes it"))
    told = {
        "destination": name,
        "kind": kind,
        "reasons": reasons,
        "goes_to": [
            row
            for row in (
                [] if name.startswith(DURABLE) else _goes_to(host, destination, headers or {})
            )
            if row["destination"] == name or knows(caller.sees, host, row["destination"])
        ],
    }
    if queue is None or id is None:
        return told
    return Later(_with_message(told, queue, id))


def _with_message(told: Row, queue: Queue, name: str) -> Steps[Row]:
    """Return what is told, with why one message of a queue is not delivered."""

    def visit(page: list[Entry]) -> bool:
        told["reasons"] += _of_message(queue, page[0])
        return False

    ended = yield from walk(queue, visit, places={place_of(name)}, in_flight=True)
    if ended:
        if name.isdecimal():
            text = "it was settled, expired, was moved or became a dead letter"
            text = f"no such message is here: {text}"
        else:
            text = "no message of a queue has such an id; `browse` tells the ids that are meant"
        told["reasons"].append(_reason("gone", text))
    return told


def _reason(code: str, text: str, **more: Any) -> Row:  # noqa: ANN401 - JSON
    return {"code": code, "text": text, **more}


def _who(subscription: Subscription) -> dict[str, str]:
    return {"connection": subscription.session.id, "subscription": subscription.id}


def _name(subscription: Subscription) -> str:
    return f"{subscription.session.id}/{subscription.id}"


def _are(count: int) -> str:
    return "1 message is" if count == 1 else f"{count} messages are"


# A queue.


def _of_queue(queue: Queue, headers: Mapping[str, str] | None) -> Iterator[Row]:
    """Give what keeps the messages of a queue."""
    if not queue.depth and not queue.delayed and not queue.unsettled and headers is None:
        yield _reason("empty", "it holds no messages")
    yield from _of_flow(queue)
    if queue.delayed:
        due = queue.delayed.next()
        assert due is not None  # noqa: S101 - there is one
        count = len(queue.delayed)
        yield _reason(
            "delayed",
            f"{_are(count)} not due yet, the next in {due - _now(queue):.3f} s",
            count=count,
            due=_moment(queue, due),
        )
    if queue.unsettled:
        yield _reason(
            "in-flight",
            f"{_are(queue.unsettled)} delivered and not settled",
            count=queue.unsettled,
        )
    count, _ = behind(queue)
    if count:
        yield _reason(
            "in-store",
            f"{_are(count)} in the store only, and come into memory when there is room",
            count=count,
        )
    sample = list(islice(queue.waiting(), _LOOKED_AT))
    yield from _of_consumers(queue, headers, sample)
    yield from _of_groups(queue, sample)


def _of_flow(queue: Queue) -> Iterator[Row]:
    """Give what keeps all of a queue's messages, or those who send more."""
    broker = queue.host.broker
    if queue.paused:
        yield _reason("paused", "it is paused; `resume` has it deliver again")
    if broker.draining:
        yield _reason("draining", "the broker stops, and delivers nothing more")
    if queue.is_dead_letter:
        yield _reason("dead-letters", "it holds dead letters; `requeue` puts them back")
    if queue.blocked:
        waiting = sorted(session.id for session in queue.blocked)[:_NAMED]
        yield _reason(
            "full",
            f"it is full; producers wait for room: {', '.join(waiting)}",
            count=len(queue.blocked),
        )
    memory = broker.memory
    if memory.heavy:
        yield _reason(
            "memory-mark",
            f"messages take {memory.weight} octets of memory, so producers wait",
            count=len(memory.blocked),
        )
    if broker.store.full:
        yield _reason(
            "disk-full", "there is no room on the disk, so persistent messages are refused"
        )
    elif broker.store.congested:
        yield _reason(
            "store-behind",
            "the disk is behind, so producers of persistent messages wait",
            count=len(broker.room.blocked),
        )
    if not queue.subscriptions:
        yield _reason("no-consumer", "nobody is subscribed to it" + _browsers(queue))


def _browsers(queue: Queue) -> str:
    count = len(queue.followers)
    return f" but {count} that only look" if count else ""


def _of_consumers(
    queue: Queue, headers: Mapping[str, str] | None, sample: list[Message]
) -> Iterator[Row]:
    """Give for each consumer why it does not take messages."""
    exclusive = None if queue.assignment is None else queue.assignment.exclusive
    for subscription in queue.subscriptions[:_NAMED]:
        if exclusive is not None and exclusive is not subscription:
            yield _reason(
                "exclusive",
                f"{_name(subscription)} waits: {_name(exclusive)} has the queue for itself",
                **_who(subscription),
            )
            continue
        yield from _of_consumer(subscription)
        selector = subscription.selector
        if selector is None:
            continue
        if headers is not None:
            if not selector.matches(headers):
                yield _reason(
                    "selector",
                    f"{_name(subscription)} takes no such message: {selector.text}",
                    **_who(subscription),
                )
        elif sample and not any(selector.matches(message.properties) for message in sample):
            yield _reason(
                "selector",
                f"{_name(subscription)} takes none of what waits: {selector.text}",
                **_who(subscription),
            )


def _of_consumer(subscription: Subscription) -> Iterator[Row]:
    """Give why one consumer takes no message at all."""
    session = subscription.session
    name = _name(subscription)
    if subscription.retired:
        yield _reason(
            "no-deliveries", f"{name} takes nothing more: its connection ends", **_who(subscription)
        )
    elif not subscription.open:
        count, octets = subscription.prefetch
        held = len(subscription.unsettled)
        yield _reason(
            "no-credit",
            f"{name} holds {held} messages that it has not settled; its credit is {count or 'any'} "
            f"messages and {octets or 'any'} octets",
            count=held,
            **_who(subscription),
        )
    outbox = session.outbox
    if outbox.size >= outbox.high:
        yield _reason(
            "outbox-full",
            f"{name} is slow: {outbox.size} octets wait to be read by {session.id}",
            count=outbox.size,
            **_who(subscription),
        )
    if session.paused:
        waits = ", ".join(sorted(pauser_name(session, pauser) for pauser in session.paused_by))
        yield _reason(
            "paused-connection",
            f"{session.id} is not read from, nor are its ACKs: it waits for {waits}",
            **_who(subscription),
        )


def _of_groups(queue: Queue, sample: list[Message]) -> Iterator[Row]:
    """Give the groups of what waits that belong to a consumer, each once."""
    assignment = queue.assignment
    if assignment is None:
        return
    groups = dict.fromkeys(
        message.terms.group
        for message in sample
        if message.terms is not None and message.terms.group is not None
    )
    for group in islice(groups, _NAMED):
        owner = assignment.groups.get(group or "")
        if owner is not None:
            yield _reason(
                "group",
                f'messages of group "{shown(group or "")}" wait for {_name(owner)}',
                name=group,
                **_who(owner),
            )


def _now(queue: Queue) -> float:
    return queue.host.broker.now


def _moment(queue: Queue, due: float) -> int:
    """Return a time of the broker's in milliseconds since 1970."""
    return round((due + queue.host.broker.epoch) * 1000)


# A message.


def _of_message(queue: Queue, entry: Entry) -> Iterator[Row]:
    """Give what keeps one message of a queue."""
    message, subscription = entry.message, entry.subscription
    if subscription is not None:
        yield _reason(
            "in-flight",
            f"it was delivered to {_name(subscription)}, which has not settled it",
            **_who(subscription),
        )
    elif entry.position.stage == DELAYED:
        due = entry.position.first
        yield _reason("delayed", f"it is due in {due - _now(queue):.3f} s", due=_moment(queue, due))
    elif entry.behind:
        yield _reason(
            "in-store",
            "it is in the store only, and comes into memory when those before it are gone",
        )
        yield from _of_waiting(queue, message)
    else:
        before = next(at for at, one in enumerate(queue.waiting()) if one is message)
        if before:
            yield _reason("behind", f"{_are(before)} before it", count=before)
        yield from _of_waiting(queue, message)


def _of_waiting(queue: Queue, message: Message) -> Iterator[Row]:
    if queue.has_expired(message):
        yield _reason("expired", "it has expired, and will not be delivered")
    yield from _of_flow(queue)
    yield from _of_consumers(queue, message.properties, [message])
    yield from _of_groups(queue, [message])
    yield _reason(
        "waits",
        f"it waits for {age(queue, message.place):.0f} s, and came back {message.count} times",
        count=message.count,
    )


# A topic.


def _of_topic(topic: Topic, headers: Mapping[str, str] | None) -> Iterator[Row]:
    """Give what keeps what is sent to a topic."""
    if not topic.subscriptions and not topic.feeds:
        yield _reason("no-subscriber", "nobody is subscribed to it, and it keeps no messages")
    if topic.delayed:
        yield _reason(
            "delayed", f"{_are(len(topic.delayed))} not due yet", count=len(topic.delayed)
        )
    for subscription in topic.subscriptions[:_NAMED]:
        who = _who(subscription)
        name = _name(subscription)
        if subscription.backlog:
            held = len(subscription.backlog)
            text = f"{name} is slow: {held} messages wait for room"
            if subscription.dropping:
                text += f", and {subscription.dropped} were dropped"
            elif subscription.held_sessions:
                text += ", and producers wait with them"
            yield _reason("slow", text, count=held, **who)
        selector = subscription.selector
        if headers is not None and selector is not None and not selector.matches(headers):
            yield _reason("selector", f"{name} takes no such message: {selector.text}", **who)


# Where SENDs go.


def _goes_to(host: VirtualHost, name: str, headers: Mapping[str, str]) -> list[Row]:
    """Return where a SEND goes, and by which routes; nowhere if it would be refused."""
    try:
        return goes_to(host, name, headers)
    except RemoteProtocolError as error:
        return [{"destination": name, "refused": str(error)}]
