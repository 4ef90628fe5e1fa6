"""A store that keeps messages elsewhere, answers late, and is strict about what it is told.

`PagingStore` is the store that the core has to get on with: what is in it is made anew when it is
fetched, an answer to `fetch` comes when the test says so, and so does the news that a batch is
durable. It refuses what no store can make sense of: a place that is taken, a settlement of what is
not there, a second `fetch` before the first was answered, a group without an end.

`PagedCore` is a core with such a store.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from broker.client import Core

from stompd.broker.message import Message
from stompd.broker.owed import Sender
from stompd.broker.policy import Settings
from stompd.broker.storage import Fetch, Key, Kind
from stompd.broker.terms import NEVER, NORMAL, Terms
from stompd.protocol.frame import Head


@dataclass
class Record:
    """All that is kept of a message."""

    headers: dict[str, str]
    body: bytes
    persistent: bool
    extra: dict[str, str] | None
    count: int
    detail: str
    redelivered: bool
    first_id: str
    size: int
    terms: Terms | None
    due: float
    sender: Sender | None

    @classmethod
    def of(cls, message: Message, due: float) -> "Record":
        """Write a message down."""
        return cls(
            dict(message.head.headers),
            message.body,
            message.persistent,
            dict(message.extra) if message.extra else None,
            message.count,
            message.detail,
            message.redelivered,
            message.first_id,
            message.size,
            None if message.terms is None else message.terms.copy(),
            due,
            message.sender,
        )

    def message(self, place: int) -> Message:
        """Return the message as a store reads it back."""
        message = Message(Head.of("SEND", self.headers), self.body, None, self.persistent)
        message.place = place
        message.extra = self.extra
        message.count = self.count
        message.detail = self.detail
        message.redelivered = self.redelivered
        message.first_id = self.first_id
        message.size = self.size
        message.terms = None if self.terms is None else self.terms.copy()
        message.sender = self.sender
        message.stored = True
        return message

    @property
    def priority(self) -> int:
        """The priority that it has among those that wait."""
        return NORMAL if self.terms is None else self.terms.priority

    @property
    def expires(self) -> float:
        """When nobody may have it any more."""
        return NEVER if self.terms is None else self.terms.expires


class Operation(NamedTuple):
    """What the store was told: ``kind`` of a queue, and which place it concerns."""

    kind: str
    queue: str
    place: int = 0


class PagingStore:
    """Satisfies `stompd.broker.storage.Store`; see the top of this file."""

    pages = True
    congested = False
    full = False

    def __init__(self, most: int = 1_000_000) -> None:
        # One answer brings no more than this, whatever was asked for.
        self.most = most
        self.kept: dict[Key, dict[int, Record]] = {}
        # Fetches that wait for their answer, oldest first.
        self.asked: list[Fetch] = []
        # Operations of the present batch, in groups that belong together.
        self.batch: list[list[Operation]] = []
        self._number = 1
        self._durable = 0
        self._depth = 0

    def _tell(self, kind: str, queue: Key, place: int = 0) -> None:
        operation = Operation(kind, queue[1], place)
        if self._depth and self.batch:
            self.batch[-1].append(operation)
        else:
            self.batch.append([operation])

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Keep a new message."""
        assert message.stored
        records = self.kept.setdefault(queue, {})
        assert message.place not in records, "the place is taken"
        older = [place for place, record in records.items() if record.persistent]
        late = not message.persistent
        assert late or message.place > max(older, default=0), "put before an older message"
        records[message.place] = Record.of(message, due)
        self._tell("put", queue, message.place)

    def settle(self, queue: Key, message: Message) -> None:
        """Forget a message that is there."""
        del self.kept[queue][message.place]
        self._tell("settle", queue, message.place)

    def requeue(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Write down anew a message that is there."""
        assert message.place in self.kept[queue]
        self.kept[queue][message.place] = Record.of(message, due)
        self._tell("requeue", queue, message.place)

    def forget(self, queue: Key) -> None:
        """Forget a queue with all that is in it."""
        self.kept.pop(queue, None)
        self._tell("forget", queue)

    def drop(
        self, queue: Key, priority: int, after: int, upto: int, spare: Collection[int]
    ) -> None:
        """Forget what waits of a priority in a range of places."""
        records = self.kept.get(queue, {})
        for place, record in list(records.items()):
            waits = record.priority == priority and not record.due
            if waits and after < place <= upto and place not in spare:
                del records[place]
        self._tell("drop", queue, upto)

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Keep a dedup-id."""

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Forget a dedup-id."""

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Keep what something is."""

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Forget what something is."""

    def begin_group(self) -> None:
        """Begin what belongs together; groups within it are parts of it."""
        if self._depth == 0:
            self.batch.append([])
        self._depth += 1

    def end_group(self) -> None:
        """End what `begin_group` began."""
        assert self._depth > 0
        self._depth -= 1
        if self._depth == 0 and not self.batch[-1]:
            self.batch.pop()

    def ticket(self) -> int:
        """Return the batch that collects operations, or the last one that is not durable yet."""
        if self.batch:
            return self._number
        return self._number - 1 if self._number - 1 > self._durable else 0

    def fetch(self, fetch: Fetch) -> None:
        """Note a question; who asks has to wait for the answer before he asks again."""
        assert fetch.count > 0
        assert fetch.taker not in [other.taker for other in self.asked], "asked twice"
        self.asked.append(fetch)

    # The test's side.

    def take_batch(self) -> tuple[int, list[list[Operation]]]:
        """Begin a new batch; return the ticket and the groups of the old one."""
        assert self._depth == 0, "a group was not ended"
        batch, self.batch = self.batch, []
        self._number += 1
        return self._number - 1, batch

    def answer(self) -> tuple[Fetch, list[Message], list[float]]:
        """Return the answer to the oldest question."""
        fetch = self.asked.pop(0)
        records = self.kept.get(fetch.queue, {})
        if fetch.what == "ready":
            found = [
                (0.0, place)
                for place, record in records.items()
                if place > fetch.after and record.priority == fetch.priority and not record.due
            ]
        elif fetch.what == "delayed":
            found = [
                (record.due, place)
                for place, record in records.items()
                if record.due and (_ms(record.due), place) > (_ms(fetch.due), fetch.after)
            ]
            found.sort(key=lambda entry: (_ms(entry[0]), entry[1]))
        else:
            found = [
                (record.expires, place)
                for place, record in records.items()
                if not record.due and record.expires <= fetch.due
            ]
        messages: list[Message] = []
        dues: list[float] = []
        octets = 0
        if fetch.what != "delayed":
            found.sort()
        for due, place in found[: min(fetch.count, self.most)]:
            messages.append(records[place].message(place))
            octets += messages[-1].size
            if fetch.what == "delayed":
                dues.append(due)
            if octets >= fetch.octets:
                break
        return fetch, messages, dues

    def confirmed(self, ticket: int) -> None:
        """Note that everything up to ``ticket`` is durable."""
        self._durable = ticket

    @property
    def count(self) -> int:
        """How many messages are kept."""
        return sum(len(records) for records in self.kept.values())


def _ms(due: float) -> int:
    """Return a time as a store writes it down."""
    return round(due * 1000)


class PagedCore(Core):
    """A core whose store has to be asked, and answers when the test says so."""

    def __init__(self, settings: Settings | None = None, most: int = 1_000_000) -> None:
        self.paging = PagingStore(most)
        super().__init__(settings, self.paging)

    def answer(self) -> bool:
        """Answer the oldest fetch; return False if there was none."""
        if not self.paging.asked:
            return False
        self.broker.fetched(*self.paging.answer())
        self.run()
        return True

    def answer_all(self) -> int:
        """Answer fetches as long as there are any; return how many there were."""
        count = 0
        while self.answer():
            count += 1
            assert count < 10_000, "fetched without end"
        return count

    def durable(self) -> list[list[Operation]]:
        """Make everything durable that the store was told so far; return it."""
        ticket, batch = self.paging.take_batch()
        self.confirm(ticket)
        return batch

    def confirm(self, ticket: int) -> None:
        """Say that everything up to ``ticket`` is durable."""
        self.paging.confirmed(ticket)
        self.broker.durable(ticket)
        self.run()
