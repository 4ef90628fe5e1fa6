"""The broker's second life: what a store has kept becomes what it was, and what it has to keep yet.

Nothing here waits: messages stay in the store until somebody wants them. Only what topics retain
and delay is fetched at once, and until the former is there SUBSCRIBE waits (`Loading`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stompd.broker.definition import (
    DamagedError,
    flag,
    queue_name,
    settings_of,
    text,
)
from stompd.broker.destination import Kind, parse, parse_subscribed
from stompd.broker.durable import DURABLE, queue_of
from stompd.broker.queue import Queue
from stompd.broker.selector import compile_selector
from stompd.broker.storage import RETAINED
from stompd.broker.topic import Topic
from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.definition import Record
    from stompd.broker.message import Message
    from stompd.broker.session import Session
    from stompd.broker.storage import Kept, KeptQueue, Key
    from stompd.broker.storage import Kind as Definition
    from stompd.broker.virtualhost import VirtualHost

# Names were checked when they came, and some are longer than those that clients may SEND to.
_NO_LIMIT: Final = 1 << 16
# The queues before what feeds them.
_ORDER: Final = ("queue", "durable", "binding")
# How many parts the keys of definitions have.
_PARTS: Final = {"queue": 2, "durable": 3, "binding": 3}


class Loading:
    """Knows the topics whose last value is on its way from the store."""

    __slots__ = ("_topics", "blocked")

    def __init__(self) -> None:
        self._topics: set[Topic] = set()
        # Sessions whose SUBSCRIBE waits for that.
        self.blocked: set[Session] = set()

    def begin(self, topic: Topic) -> None:
        """Have SUBSCRIBEs wait for a topic."""
        self._topics.add(topic)

    def end(self, topic: Topic) -> None:
        """Have them wait for it no more."""
        self._topics.discard(topic)
        if self._topics:
            return
        blocked, self.blocked = self.blocked, set()
        for session in blocked:
            session.paused_by.discard(self)
            session.resume_reading()

    def delays(self, session: Session) -> bool:
        """Return whether the SUBSCRIBE at hand has to wait; have it wait."""
        if not self._topics or not session.patient:
            return False
        session.wait_for(self)
        return True


# At the start.


def restore(broker: Broker, kept: Kept) -> list[str]:
    """Make what a store has kept; return a sentence on each thing that cannot be made."""
    return _Restoration(broker, kept).run()


class _Restoration:
    """Makes what is kept, once: what there was, then what was in it."""

    __slots__ = ("_broker", "_ended", "_filled", "_kept", "_lost", "_reports")

    def __init__(self, broker: Broker, kept: Kept) -> None:
        self._broker = broker
        self._kept = kept
        self._filled = {queue.key for queue in kept.queues if queue.lanes or queue.delayed_count}
        # The queues that went with their last subscribers, and those of durable subscriptions of
        # which nobody knows any more what they were.
        self._ended: set[Key] = set()
        self._lost: set[Key] = set()
        # What could not be made, each said once.
        self._reports: dict[str, None] = {}

    def run(self) -> list[str]:
        definitions = sorted(self._kept.definitions, key=lambda entry: _ORDER.index(entry[0]))
        for kind, key, record in definitions:
            try:
                self._define(kind, key, record)
            except (DamagedError, RemoteProtocolError) as error:
                if kind == "durable" and len(key) == _PARTS[kind]:
                    self._lost.add((key[0], queue_of(key[1], key[2])))
                self._report(f"the definition of {kind} {key}", error)
        for queue in self._kept.queues:
            try:
                self._fill(queue)
            except RemoteProtocolError as error:
                self._report(f"what is kept under {queue.key}", error)
        for key, dedup_id, seen in self._kept.dedup_ids:
            try:
                self._remember(key, dedup_id, seen)
            except RemoteProtocolError as error:
                self._report(f"what is kept under {key}", error)
        return list(self._reports)

    def _report(self, what: str, error: Exception) -> None:
        sentence = f"{what} cannot be read and is left as it is: {error}"
        self._reports[sentence.encode("unicode_escape").decode()] = None

    def _define(self, kind: Definition, key: tuple[str, ...], record: Record) -> None:
        if len(key) != _PARTS[kind]:
            raise DamagedError(f"its key has {len(key)} parts")
        host = self._broker.host(key[0])
        if kind == "queue":
            self._make_queue(host, key[1], record)
        elif kind == "durable":
            self._make_durable(host, (key[1], key[2]), record)
        elif (key[0], key[1]) in self._ended:
            self._broker.store.undefine(kind, key)
        else:
            topic = parse_subscribed(key[2])
            if topic.kind is not Kind.TOPIC or topic.parts:
                raise DamagedError("it is no topic")
            host.feeds.restore_bound(_queue(host, key[1]), topic)

    def _make_queue(self, host: VirtualHost, name: str, record: Record) -> None:
        settings = settings_of(record)
        paused, dead_letters = flag(record, "paused"), flag(record, "dead_letters")
        key = (host.name, name)
        if settings is not None and settings.auto_delete and key not in self._filled:
            self._end(("queue", key), key)
            return
        queue = _queue(host, name)
        queue.is_dead_letter = dead_letters
        if settings is not None:
            host.settle_settings(queue, settings)
        if paused:
            queue.pause()
        host.restored(queue)

    def _make_durable(self, host: VirtualHost, key: tuple[str, str], record: Record) -> None:
        destination = parse_subscribed(text(record, "destination"))
        if destination.kind is not Kind.TOPIC or destination.parts:
            raise DamagedError('its "destination" is no topic')
        selector = compile_selector(text(record, "selector")) if "selector" in record else None
        settings = settings_of(record)
        paused, no_local = flag(record, "paused"), flag(record, "no_local")
        user = text(record, "user") if "user" in record else None
        name = queue_name(record, *key)
        where = (host.name, name.name)
        if settings is not None and settings.auto_delete and where not in self._filled:
            self._end(("durable", (host.name, *key)), where)
            return
        durable = host.lasting.make(key, destination, selector, name, settings, no_local=no_local)
        durable.user = user
        if paused:
            durable.queue.pause()
        host.lasting.restore(durable)

    def _end(self, definition: tuple[Definition, tuple[str, ...]], key: Key) -> None:
        """Forget what goes with its last subscriber and holds nothing: that one went with us."""
        self._ended.add(key)
        store = self._broker.store
        store.begin_group()
        store.undefine(*definition)
        store.forget(key)
        store.end_group()

    def _fill(self, kept: KeptQueue) -> None:
        host = self._broker.host(kept.key[0])
        name = kept.key[1]
        if name.startswith(DURABLE):
            queues = {durable.queue.name: durable.queue for durable in host.durables.values()}
            if name in queues:
                queues[name].restore(kept)
            elif kept.key in self._lost:
                # Who makes it anew finds what is there, and takes no place twice.
                host.unclaimed[name] = kept
            else:
                self._broker.store.forget(kept.key)
            return
        if kept.key not in self._filled:
            # Its places may begin anew, now that none is taken.
            return
        if name.startswith(RETAINED):
            topic = host.find(parse(name.removeprefix(RETAINED), limit=_NO_LIMIT))
            if isinstance(topic, Topic):
                topic.restore_retained(kept)
                return
        else:
            target = host.find(parse(name, limit=_NO_LIMIT))
            if target is not None:
                target.restore(kept)
                return
        # Somebody's temporary destination, whom it was left by.
        self._broker.store.forget(kept.key)

    def _remember(self, key: Key, dedup_id: str, seen: float) -> None:
        broker = self._broker
        if seen > broker.now - broker.settings.policies.of(key[1]).dedup_window:
            target = None
            if key not in self._ended:
                target = broker.host(key[0]).find(parse(key[1], limit=_NO_LIMIT))
            if target is not None:
                target.remember(dedup_id, seen)
                return
        broker.store.unremember(key, dedup_id)


def _queue(host: VirtualHost, name: str) -> Queue:
    """Return a queue, made if it is not there; raise `DamagedError` if it can be none."""
    destination = parse(name, limit=_NO_LIMIT)
    queue = None if destination.wild else host.find(destination)
    if not isinstance(queue, Queue):
        raise DamagedError("its name is not that of a queue")
    return queue


# At the end.


def persist(broker: Broker) -> int:
    """Put what is transient into the store; return how many messages that are."""
    store = broker.store
    count = 0
    for host in broker.hosts:
        kept: list[tuple[Queue | Topic, list[tuple[Message, float]]]] = []
        for queue in host.all_queues():
            held = [(message, 0.0) for message in queue.waiting()]
            kept.append((queue, held + [(m, due) for due, m in queue.delayed.entries()]))
        kept += [(t, [(m, due) for due, m in t.delayed.entries()]) for t in host.topics.values()]
        for keeper, held in kept:
            # At their old places, so that the order is what it was.
            for message, due in sorted(held, key=lambda entry: entry[0].place):
                if not message.stored and keeper.owner is None:
                    message.stored = True
                    store.put(keeper.key, message, due)
                    count += 1
    return count
