"""What clients of a broker saw, in one order: the material of `crash.checker`.

What a client asks for is noted before its octets are written, what it gets is noted after it was
read. So of two events the first one was asked for, or had happened, before the other was noted.

A *copy* is a message at a place. A place is a queue, or a durable subscription as `durable` names
it; what was sent to a topic has a copy in each durable subscription to it. Dead letters keep the
place that they failed in, and are marked. A message that is to be sent again and again is one
message, of which there are several occurrences. The ids of messages, sessions, frames that ask for
a receipt, transactions and deliveries are unique in a history.
"""

import threading
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ack", "nack", "dead"]


def durable(name: str) -> str:
    """Name the place of a durable subscription."""
    return f"durable {name}"


@dataclass(frozen=True, slots=True)
class Started:
    """The broker is started for the ``life``-th time."""

    life: int


@dataclass(frozen=True, slots=True)
class Killed:
    """The broker is about to be killed, or was found dead."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The broker has ended in good order."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """What is configured for a place, before anything is sent there.

    ``attempts`` after which a message becomes a dead letter (0: any number), the ``most`` messages
    that there may be (0: any number), and whether one too many pushes another one out.
    """

    place: str
    attempts: int = 0
    most: int = 0
    drops: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A client is about to connect to the broker in one of its lives; a moment of `time.time()`."""

    session: str
    life: int
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection is over, in whichever way."""

    session: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A frame that only its RECEIPT is of interest of."""

    session: str
    frame: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBSCRIBE to ``place``; to a ``topic`` if the place is a durable subscription.

    The topic may be a pattern with ``*`` and ``#``. With ``wants`` only messages of that colour
    are asked for, by a selector.
    """

    session: str
    place: str
    frame: str | None = None
    auto: bool = False
    topic: str | None = None
    subscription: str = ""
    wants: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """SEND of a message to a queue or topic; ``due``, ``expires`` are of ``time.time()``, or 0.

    A message may be sent again only with a dedup-id, so that it counts once. It is sent by the
    broker so many ``times`` (0: without end), each ``period`` seconds behind the one before.
    ``removes`` says that it leaves its topic without a retained message.
    """

    session: str
    uid: str
    destination: str
    frame: str | None = None
    transaction: str | None = None
    persistent: bool = True
    priority: int = 4
    due: float = 0.0
    retained: bool = False
    removes: bool = False
    expires: float = 0.0
    times: int = 1
    period: float = 0.0
    group: str | None = None
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """ACK, NACK or, as ``dead``, NACK with requeue:false: of all deliveries that it covers."""

    session: str
    verdict: Verdict
    deliveries: tuple[str, ...]
    frame: str | None = None
    transaction: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """COMMIT."""

    session: str
    transaction: str
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """RECEIPT."""

    session: str
    frame: str


@dataclass(frozen=True, slots=True)
class Refused:
    """ERROR, with what its message header said, and the frame it is about if that had asked."""

    session: str
    message: str
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """MESSAGE of a subscription that consumes; ``at`` is a moment of ``time.time()``.

    A dead letter has a ``reason``.
    """

    session: str
    subscription: str
    delivery: str
    uid: str
    place: str
    auto: bool = False
    redelivered: bool = False
    dead: bool = False
    at: float = float("inf")
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retained:
    """What a new subscription to a topic got first: its retained message, or None.

    ``frame`` is that of a SUBSCRIBE which was noted as `Asked`.
    """

    session: str
    topic: str
    uid: str | None
    frame: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a place is to be sent without end, as the broker tells; then it is all dropped."""

    session: str
    place: str
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything that was at any place has been delivered and settled: all of them are empty."""


Event = (
    Started
    | Killed
    | Stopped
    | Ruled
    | Opened
    | Closed
    | Asked
    | Subscribed
    | Sent
    | Settled
    | Committed
    | Receipt
    | Refused
    | Delivered
    | Retained
    | Standing
    | Drained
)


class History:
    """Collects events from many threads, in one order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seen = 0
        """How many receipts and messages there were."""
        self.under_way = 0
        """About how many messages were sent and not delivered yet."""
        self.apart: frozenset[str] = frozenset()
        """Places whose messages are not counted for that."""
        self._changed = threading.Condition()

    def note(self, event: Event) -> None:
        """Add an event behind all others."""
        with self._changed:
            self.events.append(event)
            if isinstance(event, Sent):
                counts = event.destination not in self.apart
                self.under_way += counts and not (event.retained or event.removes)
            elif isinstance(event, Delivered):
                self.under_way -= event.place not in self.apart and not event.redelivered
            if isinstance(event, Receipt | Delivered):
                self.seen += 1
                self._changed.notify_all()

    def wait_until(self, seen: int, seconds: float) -> bool:
        """Wait until ``seen`` receipts and messages were there; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self.seen >= seen, seconds)
