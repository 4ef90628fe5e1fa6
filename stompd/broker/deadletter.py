"""Dead letters: what becomes of messages that no consumer may have any more."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from stompd.broker.destination import parse
from stompd.broker.durable import DURABLE
from stompd.broker.message import Message
from stompd.broker.owed import hand_on, repay
from stompd.broker.policy import outlives
from stompd.broker.queue import Queue
from stompd.broker.terms import Terms

if TYPE_CHECKING:
    from stompd.broker.virtualhost import VirtualHost

# The settings name it, not a client.
_NO_LIMIT: Final = 1 << 16


class DeadLetters:
    """Files the dead letters of a virtual host, one after the other."""

    __slots__ = ("_host", "_pending")

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        # Letters and where they go, while one of them is put there; None otherwise.
        self._pending: deque[tuple[Queue, Message]] | None = None

    def file(self, message: Message, reason: str, detail: str, *, settled: bool = False) -> None:
        """Move a message that no consumer may have any more to its queue's dead-letter queue.

        It keeps headers and body and gains what explains it (semantics: dead letters). Where the
        policy names no such queue, or the queue is one itself, the message is dropped.
        ``settled`` says that the queue counts it no more.
        """
        host = self._host
        queue = message.queue
        if not settled:
            queue.bytes -= message.size
        if queue.owed:
            repay(queue, message)
        queue.lost_count += 1
        queue.dead_letter_count += 1
        target = self._queue_of(queue)
        if host.watchers:
            host.broker.tell(
                "dead-lettered",
                host,
                queue=queue.name,
                id=str(message.place),
                reason=reason,
                detail=detail,
                attempts=message.count,
                to=None if target is None else target.name,
            )
        # What was there no room for twice would go round for ever where two queues are full.
        if target is None or (reason == "overflow" and _was(message, reason)):
            if message.stored and not queue.gone:
                queue.store.settle(queue.key, message)
            return
        persistent = message.persistent or outlives(message, target.policy)
        letter = Message(message.head, message.body, None, persistent)
        headers = message.headers
        moment = str(host.broker.epoch_ms())
        letter.extra = {
            **(message.extra or {}),
            "destination": target.name,
            "original-destination": self._sent_to(message),
            "dead-letter-reason": reason,
            "dead-letter-time": moment,
            "delivery-count": str(message.count),
        }
        if detail:
            letter.extra["dead-letter-detail"] = detail
        if "timestamp" not in headers:
            # ActiveMQ's messages have one, and programs that file its dead letters rely on that.
            letter.extra["timestamp"] = moment
        letter.first_id = message.first_id
        if message.terms is not None:
            # Dead letters keep their order by priority, but do not expire once more.
            letter.terms = Terms(message.terms.priority).settled()
        hand_on(message, letter, target)
        # Together or not at all: a crash in between must not lose it, nor double it.
        queue.store.begin_group()
        if message.stored and not queue.gone:
            queue.store.settle(queue.key, message)
        self._put(target, letter)
        queue.store.end_group()

    def _put(self, target: Queue, letter: Message) -> None:
        """Put a dead letter into its queue, which may push another one out.

        One after the other: two full queues may have each other for their dead letters.
        """
        if self._pending is not None:
            self._pending.append((target, letter))
            return
        self._pending = letters = deque([(target, letter)])
        try:
            while letters:
                target, letter = letters.popleft()
                target.admit(letter, None)
        finally:
            self._pending = None

    def _sent_to(self, message: Message) -> str:
        """Return the name by which a message can be sent to its queue again.

        As the sender wrote it, unless a route or a feed brought it there.
        """
        sent = message.headers["destination"]
        name = message.queue.name
        return name if name in self._host.queues and name not in (sent, f"/queue/{sent}") else sent

    def expired(self, message: Message) -> None:
        """Drop or dead-letter a message that its queue has taken out because it expired."""
        queue = message.queue
        self._host.broker.tell("expired", self._host, queue=queue.name, id=str(message.place))
        if queue.policy.expired == "dead-letter":
            self.file(message, "expired", "")
            return
        queue.lost_count += 1
        queue.bytes -= message.size
        if queue.owed:
            repay(queue, message)
        if message.stored:
            queue.store.settle(queue.key, message)

    def name_of(self, queue: Queue) -> str | None:
        """Return the name of a queue's dead-letter queue, None if it has none."""
        form = queue.policy.dead_letter
        if form is None or queue.is_dead_letter:
            return None
        if queue.name.startswith(DURABLE):
            name = ".".join(queue.destination.words[1:])
        else:
            name = queue.name.partition("/")[2].partition("/")[2]
        target = parse(form.replace("{name}", name), limit=_NO_LIMIT)
        return None if target.name == queue.name else target.name

    def _queue_of(self, queue: Queue) -> Queue | None:
        name = self.name_of(queue)
        if name is None:
            return None
        found = self._host.find(parse(name, limit=_NO_LIMIT))
        if not isinstance(found, Queue):
            return None
        # One that was made with a queue for its own dead letters is a station on their way.
        if not found.is_dead_letter and (found.asked is None or found.asked.dead_letter is None):
            found.is_dead_letter = True
            self._host.define(found)
        return found


def _was(message: Message, reason: str) -> bool:
    """Return whether a message is a dead letter already, for this reason."""
    return message.extra is not None and message.extra.get("dead-letter-reason") == reason
