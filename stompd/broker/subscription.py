"""One SUBSCRIBE: its credit, and what was delivered to it and is not settled yet."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from stompd.broker.message import Message
from stompd.broker.redelivery import dispatch, take_back
from stompd.protocol.frame import V12, Head
from stompd.protocol.headers import escape

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.durable import Durable, Feed
    from stompd.broker.queue import Queue
    from stompd.broker.selector import Selector
    from stompd.broker.session import Session
    from stompd.broker.topic import Topic

# So much of a tail is browsed at once.
_PAGE: Final = 500


class _Unseen:
    """What a browser has not seen yet of a queue that was partly in the store when it came."""

    __slots__ = ("after", "end", "priority", "queue", "seen")

    def __init__(
        self, queue: Queue, priority: int, after: int, end: int, seen: frozenset[int]
    ) -> None:
        self.queue = queue
        self.priority = priority
        # Places behind which, and before which, it lies.
        self.after = after
        self.end = end
        # Those in between that were in memory.
        self.seen = seen


class Subscription:
    """Belongs to one session; only that session and the destinations that serve it change it.

    ``open`` is the question that a queue asks for every message, so it is kept as a plain fact:
    credit is left in messages and in octets. Room in the outbox is asked apart.
    """

    __slots__ = (
        "_later",
        "_unseen",
        "ack",
        "auto",
        "backlog",
        "backlog_size",
        "browser",
        "credit",
        "credit_bytes",
        "delivered",
        "demanding",
        "destination",
        "dropped",
        "dropping",
        "durable",
        "ended",
        "enlisted",
        "exclusive",
        "feed",
        "follows",
        "gone",
        "held_sessions",
        "id",
        "individual",
        "limited",
        "named",
        "no_local",
        "open",
        "outbox",
        "parked",
        "prefetch",
        "queues",
        "rank",
        "retired",
        "selector",
        "session",
        "slow",
        "slow_since",
        "template",
        "topics",
        "twice",
        "unsettled",
        "wild",
    )

    def __init__(
        self,
        session: Session,
        name: str,
        destination: Destination,
        *,
        ack: str,
        named: bool,
        prefetch_count: int,
        prefetch_bytes: int,
        selector: Selector | None = None,
        rank: int = 0,
        exclusive: bool = False,
        no_local: bool = False,
        browser: bool = False,
        follows: bool = False,
    ) -> None:
        self.session = session
        self.outbox = session.outbox
        self.id = name
        # False for a 1.0 subscription without id: MESSAGE then has no `subscription` (AMB-40).
        self.named = named
        self.destination = destination
        self.ack = ack
        self.auto = ack == "auto"
        self.individual = ack == "client-individual"
        # What one more delivery may cost; 0 of either setting means no limit.
        self.limited = not self.auto and bool(prefetch_count or prefetch_bytes)
        self.credit = prefetch_count or 1 << 62
        self.credit_bytes = prefetch_bytes or 1 << 62
        self.prefetch = (prefetch_count, prefetch_bytes)
        self.open = True
        # It takes no message that this does not match.
        self.selector = selector
        # Its consumer priority: higher ones are served first.
        self.rank = rank
        self.exclusive = exclusive
        self.no_local = no_local
        # True if a queue cannot serve it as just the next in line.
        self.demanding = selector is not None or rank != 0 or exclusive
        # It gets copies of what waits in queues, and if it follows, of what comes later.
        self.browser = browser
        self.follows = follows
        # True when all that there was to browse is among the copies.
        self.ended = False
        # What a browser has not seen of queues' tails, and what came to the queues since, if it
        # follows.
        self._unseen: deque[_Unseen] = deque()
        self._later: deque[Message] = deque()
        # What keeps the messages of a topic for it while it is away.
        self.durable: Durable | None = None
        # What fills the queue that it takes from, where it named both the queue and the topic.
        self.feed: Feed | None = None
        # False if what it takes from is there for it; who has a pattern keeps nothing that is idle.
        self.wild = destination.wild
        # Delivered and neither acknowledged nor back in its queue, by delivery number.
        self.unsettled: dict[int, Message] = {}
        # Of these, what an open transaction has settled for the case that it commits.
        self.enlisted: dict[int, Message] = {}
        # The queues that serve it, and those of them in whose line it does not stand now.
        self.queues: list[Queue] = []
        self.parked: list[Queue] = []
        self.topics: list[Topic] = []
        # Copies that found no room in the outbox, and the sessions paced because of them.
        self.backlog: deque[Message] = deque()
        self.backlog_size = 0
        self.held_sessions: set[Session] = set()
        self.slow = False
        self.slow_since = 0.0
        self.dropping = False
        self.dropped = 0
        self.delivered = 0
        self.gone = False
        # True while the broker drains: what is outstanding may be settled, nothing new comes.
        self.retired = False
        # A MESSAGE's head, to be filled with the delivery's number; twice, where it has an `ack`.
        self.twice = not self.auto and session.version == V12
        self.template = self._template()

    def _template(self) -> bytes:
        session = self.session
        identity = session.identity.encode()
        lines = [b"MESSAGE\n"]
        if self.named:
            name = escape(self.id, session.wire_version).replace(b"%", b"%%")
            lines.append(b"subscription:%b\n" % name)
        lines.append(b"message-id:%b%%d\n" % identity)
        if self.twice:
            lines.append(b"ack:%b%%d\n" % identity)
        return b"".join(lines)

    def __repr__(self) -> str:
        return (
            f"<Subscription {self.session.id}/{self.id} {self.destination.name} {self.ack} "
            f"unsettled={len(self.unsettled)}>"
        )

    # Delivering.

    def deliver(self, message: Message) -> None:
        """Write a MESSAGE of a queue to the outbox, and remember it until it is settled."""
        session = self.session
        number = session.deliveries + 1
        session.deliveries = number
        self.delivered += 1
        outbox = self.outbox
        if self.auto:
            first = self.template % number
            outbox.riders.append(message)
        else:
            first = self.template % ((number, number) if self.twice else number)
            self.unsettled[number] = message
            session.owners[number] = self
            if self.limited:
                self.credit -= 1
                self.credit_bytes -= message.size
                if self.credit <= 0 or self.credit_bytes <= 0:
                    self.open = False
        if message.redelivered:
            first += message.redelivery_lines()
        tail = message.tail
        parts = outbox.parts
        parts.append(first)
        if tail is not None:
            parts.append(tail)
            outbox.size += len(first) + len(tail)
        else:
            pieces = message.same or message.pieces(session.wire_version, session.end)
            parts += pieces
            outbox.size += len(first) + sum(map(len, pieces))
        if not outbox.touched:
            outbox.touched = True
            session.touched.append(outbox)

    def deliver_copy(self, message: Message) -> None:
        """Write a MESSAGE of a topic to the outbox; there is nothing to settle afterwards."""
        session = self.session
        number = session.deliveries + 1
        session.deliveries = number
        self.delivered += 1
        first = self.template % ((number, number) if self.twice else number)
        if message.redelivered:
            first += message.redelivery_lines()
        self.outbox.add(first, *message.pieces(session.wire_version, session.end))

    def forgo_selector(self) -> None:
        """Take what comes as it comes: somebody else applies the selector."""
        self.selector = None
        self.demanding = self.rank != 0 or self.exclusive

    # Browsing.

    def browse(self, queue: Queue) -> None:
        """Take copies of what waits in a queue; `refill` writes them."""
        if self.ended:
            return
        selector = self.selector
        for message in queue.waiting():
            if not queue.has_expired(message) and (
                selector is None or selector.matches(message.properties)
            ):
                self.backlog.append(message)
                self.backlog_size += message.size
        for priority in queue.behind.priorities():
            edge, ahead = queue.behind.edge_of(priority), queue.behind.ahead_of(priority)
            self._unseen.append(_Unseen(queue, priority, edge, queue.next_place, ahead))

    @property
    def browses_on(self) -> bool:
        """True while it has not seen everything that waited when it came."""
        return bool(self._unseen)

    def _browse_on(self) -> None:
        """Ask for the next part of a tail, to be called when all copies so far are written."""
        # Until the answer comes nothing is among the copies, so nobody asks again.
        unseen = self._unseen[0]
        high = self.outbox.high
        tail = unseen.queue.behind
        tail.look(unseen.priority, unseen.after, _PAGE, high, self._browsed)

    def _browsed(self, messages: list[Message], last: int) -> None:
        """Take copies of a part of a tail; the last place of it is 0 if it was the end."""
        if self.gone:
            return
        unseen = self._unseen[0]
        queue, selector = unseen.queue, self.selector
        for message in messages:
            place = message.place
            if (
                place < unseen.end
                and place not in unseen.seen
                and not queue.has_expired(message)
                and (selector is None or selector.matches(message.properties))
            ):
                self.backlog.append(message)
                self.backlog_size += message.size
        if last and last < unseen.end - 1:
            unseen.after = last
        else:
            self._unseen.popleft()
            if not self._unseen:
                if not self.follows:
                    self.end_browsing()
                self.backlog += self._later
                self._later.clear()
        self.refill()

    def end_browsing(self) -> None:
        """Say behind the copies that there are no more; later, if they are in the store yet."""
        if self._unseen:
            return
        head = Head.of("SEND", {"destination": self.destination.name, "browser": "end"})
        self.ended = True
        self.backlog.append(Message(head, b"", None, False))  # noqa: FBT003 - transient

    def follow(self, message: Message) -> None:
        """Show a message that came to a queue; drop it if the browser is far behind."""
        if self.selector is not None and not self.selector.matches(message.properties):
            return
        outbox = self.outbox
        if self._unseen:
            # In its turn.
            if self.backlog_size < outbox.high:
                self._later.append(message)
                self.backlog_size += message.size
            else:
                self.dropped += 1
        elif not self.backlog and outbox.size < outbox.high:
            self.deliver_copy(message)
        elif self.backlog_size < outbox.high:
            self.backlog.append(message)
            self.backlog_size += message.size
            outbox.waiting = True
        else:
            self.dropped += 1

    # Settling.

    def acknowledge(self, number: int) -> None:
        """Settle one delivery of mode `client-individual`; nothing if it was settled before."""
        message = self.unsettled.pop(number, None)
        if message is None:
            return
        session = self.session
        del session.owners[number]
        if self.limited:
            self.credit += 1
            self.credit_bytes += message.size
        message.queue.settled(message)
        if self.parked or not self.open:
            # Once for all ACKs of a read: served one by one, each would bring one message.
            session.unserved[self] = None

    def settle(self, number: int) -> list[Message]:
        """Take what ACK or NACK of a delivery covers, and return it, oldest first.

        Nothing, if it was settled before (ACK-16). Credit is given back; the caller calls `serve`
        when it is done.
        """
        owners = self.session.owners
        taken = []
        for covered in self._covered(number):
            taken.append(self._take(covered))
            del owners[covered]
        return taken

    def enlist(self, number: int) -> list[int]:
        """Take what an ACK or NACK within a transaction covers, until the transaction ends.

        The set is fixed now and its credit is returned now (AMB-38).
        """
        covered = self._covered(number)
        for other in covered:
            self.enlisted[other] = self._take(other)
        return covered

    def _covered(self, number: int) -> list[int]:
        """Return the unsettled deliveries that an ACK or NACK of one means, oldest first.

        The delivery itself, and in mode `client` all earlier ones of this subscription (ACK-05,
        ACK-08, ACK-15).
        """
        if self.ack == "client":
            return list(takewhile(number.__ge__, self.unsettled))
        return [number] if number in self.unsettled else []

    def _take(self, number: int) -> Message:
        message = self.unsettled.pop(number)
        if self.limited:
            self.credit += 1
            self.credit_bytes += message.size
        if not message.first_id:
            message.first_id = f"{self.session.identity}{number}"
        return message

    def release(self, numbers: list[int]) -> list[Message]:
        """Return the messages that a transaction had enlisted here: it commits."""
        for number in numbers:
            self.session.owners.pop(number, None)
        return [self.enlisted.pop(number) for number in numbers]

    def restore(self, numbers: list[int]) -> None:
        """Have messages outstanding again that an aborted transaction had enlisted (TX-11).

        ``numbers`` are all that this transaction had of the subscription, in any order.
        """
        back = {number: self.enlisted.pop(number) for number in numbers}
        if self.gone:
            for number in back:
                self.session.owners.pop(number, None)
            self.return_messages(back)
            return
        self.unsettled = dict(sorted((self.unsettled | back).items()))
        if self.limited:
            for message in back.values():
                self.credit -= 1
                self.credit_bytes -= message.size
            self.open = self.credit > 0 and self.credit_bytes > 0 and not self.retired

    def return_messages(self, deliveries: dict[int, Message], *, blame: bool = False) -> None:
        """Give deliveries back to their queues, to their old places; have them given out again."""
        for number, message in deliveries.items():
            if not message.first_id:
                message.first_id = f"{self.session.identity}{number}"
            if blame:
                # The oldest was probably being worked on when the consumer died.
                message.count += 1
                blame = False
            take_back(message)
        dispatch(deliveries.values())

    # Being served.

    def park(self, queue: Queue) -> None:
        """Leave a queue's line: no credit, or no room in the outbox."""
        self.parked.append(queue)
        if self.outbox.size >= self.outbox.high:
            self.outbox.waiting = True

    def serve(self) -> None:
        """Stand in line again where credit and room allow it, and be served at once."""
        if self.credit > 0 and self.credit_bytes > 0 and not self.retired:
            self.open = True
        if not self.parked or not self.open:
            return
        outbox = self.outbox
        parked, self.parked = self.parked, []
        for place, queue in enumerate(parked):
            if not self.open or outbox.size >= outbox.high:
                # Those that had no turn come first the next time, before the ones served now.
                self.parked[:0] = parked[place:]
                break
            queue.line_up(self)
            queue.dispatch()
        if outbox.size >= outbox.high:
            # It may have left the line for want of credit; now it is room that it waits for.
            outbox.waiting = True

    def retire(self) -> None:
        """Take nothing more: the broker drains."""
        self.retired = True
        self.open = False

    def resume(self) -> None:
        """Take again after `retire`, unless the broker drains."""
        if not self.session.broker.draining and not self.gone:
            self.retired = False
            self.serve()

    # A topic's slow subscriber.

    def hold(self, message: Message, publisher: Session | None) -> None:
        """Keep a topic's message until the outbox has room; pace who sent it.

        The first one held starts the grace of the policy; `Session.slow_due` ends it.
        """
        self.backlog.append(message)
        self.backlog_size += message.size
        self.outbox.waiting = True
        if self.dropping:
            while self.backlog_size > self.outbox.high and len(self.backlog) > 1:
                self.backlog_size -= self.backlog.popleft().size
                self.dropped += 1
            return
        if not self.slow:
            self.slow = True
            self.session.subscription_is_slow(self)
        if publisher is not None:
            self.held_sessions.add(publisher)
            publisher.paused_by.add(self)
            publisher.halt = True

    def refill(self) -> None:
        """Write what was held while there is room, then let the paced sessions go on."""
        backlog = self.backlog
        outbox = self.outbox
        while backlog:
            if outbox.size >= outbox.high:
                outbox.waiting = True
                return
            message = backlog.popleft()
            self.backlog_size -= message.size
            if self.browser or not message.has_expired(self.session.broker.now):
                self.deliver_copy(message)
        if self._unseen:
            self._browse_on()
            return
        self.slow = self.dropping = False
        self.let_go()

    def let_go(self) -> None:
        """Pace nobody any more."""
        held, self.held_sessions = self.held_sessions, set()
        for session in held:
            session.paused_by.discard(self)
            session.resume_reading()
