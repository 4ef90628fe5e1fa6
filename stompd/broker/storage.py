"""What the broker needs of a store, and what a store tells at the start.

The broker never waits. It tells the store what happened, in order, and goes on; the store collects
that in a batch. Whoever owns the store makes batches durable and then says so by
`Broker.durable(ticket)`. Operations between `begin_group` and `end_group` become durable together
or not at all.

All times are seconds of the broker's time, as everywhere in the core; a store that outlives its
process adds ``Broker.epoch`` to what it writes down.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from stompd.broker.terms import NORMAL

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.owed import Sender


# Virtual host and name of what holds messages: a queue (that of a durable subscription included), a
# topic for those that it delays, or `RETAINED` and a topic's name for its last value.
Key = tuple[str, str]

# How the names begin under which the retained messages of topics are kept.
RETAINED: Final = "/retained"

# A set of definitions: of queues, by virtual host and name; of durable subscriptions, by virtual
# host, client-id and name; of what binds queues to topics, by virtual host, queue and topic.
Kind = Literal["queue", "durable", "binding"]

# Messages, and when they are due if that was asked for.
Taker = Callable[[list["Message"], list[float]], None]


class Fetch:
    """A question for messages that are only in the store; `Broker.fetched` brings the answer.

    ``what`` is one of:

    * ``ready``: those of one priority that wait, with a place behind ``after``, by their places;
    * ``delayed``: those that are not to be delivered before some time, of any priority, behind
      ``due`` and, of those that are due then, behind the place ``after``; by due time and place.
      One that is due already counts as well until a `Store.requeue` says that it waits;
    * ``expired``: those that wait, of any priority, and expire at ``due`` or earlier; by expiry.

    The answer holds ``count`` messages at most, and ends with the one that brings it to ``octets``
    (of `Message.size`). It is empty only if there is none.
    """

    __slots__ = ("after", "count", "due", "octets", "priority", "queue", "taker", "what")

    def __init__(
        self,
        queue: Key,
        what: Literal["ready", "delayed", "expired"],
        taker: Taker,
        *,
        count: int,
        octets: int,
        priority: int = NORMAL,
        after: int = 0,
        due: float = 0.0,
    ) -> None:
        self.queue = queue
        self.what = what
        self.taker = taker
        self.count = count
        self.octets = octets
        self.priority = priority
        self.after = after
        self.due = due

    def __repr__(self) -> str:
        return f"<Fetch {self.count} {self.what} of {self.queue[1]} behind {self.after}>"


class Store(Protocol):
    """Keeps messages that the broker does not want to lose, or to hold in memory."""

    @property
    def pages(self) -> bool:
        """True if it keeps messages to be fetched later, so that a queue may have a tail."""

    @property
    def congested(self) -> bool:
        """True while so much waits to be written that persistent messages should not be taken."""

    @property
    def full(self) -> bool:
        """True while there is no room for persistent messages."""

    def put(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Keep a new message at ``message.place``; before ``due`` it is not to be delivered.

        The places of a queue only ever rise, but for those of messages that are not persistent,
        which may come late. A message that is not persistent is kept for as long
        as the store is open, and longer only if it was closed in good order.
        """

    def settle(self, queue: Key, message: Message) -> None:
        """Forget a message: it was acknowledged, dropped or expired."""

    def requeue(self, queue: Key, message: Message, due: float = 0.0) -> None:
        """Write a message down anew: ``count``, ``redelivered``, ``terms`` or its due time changed.

        With ``due`` it is delayed, without it waits.
        """

    def drop(
        self, queue: Key, priority: int, after: int, upto: int, spare: Collection[int]
    ) -> None:
        """Forget what waits of a priority behind ``after`` up to ``upto``, but for some places."""

    def forget(self, queue: Key) -> None:
        """Forget a queue that was removed; nothing of it is left."""

    def remember(self, queue: Key, dedup_id: str, seen: float) -> None:
        """Keep the dedup-id of a persistent message."""

    def unremember(self, queue: Key, dedup_id: str) -> None:
        """Forget a dedup-id; nothing if it is not kept."""

    def define(self, kind: Kind, key: tuple[str, ...], record: Mapping[str, Any]) -> None:
        """Keep what something is, in place of what was kept of it; the values can be JSON."""

    def undefine(self, kind: Kind, key: tuple[str, ...]) -> None:
        """Forget what something is; nothing if nothing is kept of it."""

    def begin_group(self) -> None:
        """Begin operations that belong together; a group within a group is a part of it."""

    def end_group(self) -> None:
        """End what `begin_group` began."""

    def ticket(self) -> int:
        """Return the number of the batch that collects operations now; 0 if all is durable."""

    def fetch(self, fetch: Fetch) -> None:
        """Ask for messages; the answer is a call of `Broker.fetched`, at any later time.

        It is true for what the store was told before it was asked. Each message is as it was put
        or last requeued, its ``size`` included, with ``place`` and ``stored`` set.
        """


# What a store has when it is opened again.


@dataclass
class KeptLane:
    """The messages of one priority that wait."""

    count: int
    octets: int


@dataclass
class KeptQueue:
    """What is kept under one `Key`."""

    key: Key
    # The highest place that is taken.
    last_place: int
    # By priority; without those that are delayed.
    lanes: dict[int, KeptLane] = field(default_factory=dict)
    delayed_count: int = 0
    delayed_octets: int = 0
    # When the first of the delayed is due, and when the first of those that wait expires.
    first_due: float | None = None
    first_expiry: float | None = None
    # How many of all its messages are of senders that were counted, and their octets.
    owed: dict[Sender, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Kept:
    """All that a store knows when it is opened; see `Broker.restore`."""

    # The how many-th start with this store it is, from 1 on.
    starts: int = 1
    # Messages that were not persistent, and are gone because it was not closed in good order.
    lost_count: int = 0
    queues: list[KeptQueue] = field(default_factory=list)
    definitions: list[tuple[Kind, tuple[str, ...], dict[str, Any]]] = field(default_factory=list)
    # Where, dedup-id and when it was seen; the oldest first.
    dedup_ids: list[tuple[Key, str, float]] = field(default_factory=list)
