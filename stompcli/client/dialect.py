"""Dialects: what STOMP leaves to the broker, in the words of each broker.

A program says ``prefetch=10`` or ``ttl=60``; the table here knows which header that is, or that
the broker has nothing of the kind, which is a `UsageError` rather than a header without effect.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from stompcli.client.errors import UsageError

DialectName = Literal["auto", "stompd", "rabbitmq", "activemq", "artemis"]
Pairs = list[tuple[str, str]]


class SendOptions(TypedDict, total=False):
    """What a SEND may ask of a broker beyond STOMP."""

    # Whether the message outlives the broker's process.
    persistent: bool
    # Higher goes first; 4 is usual, 9 the highest for most brokers.
    priority: int
    # Seconds from now, or the Unix time, after which it is not to be delivered.
    ttl: float
    expires: float
    # Seconds from now, or the Unix time, before which it is not to be delivered.
    delay: float
    deliver_at: float
    # Messages of one group go to one consumer, in order.
    message_group: str
    # A second message with this id is dropped.
    dedup_id: str


class SubscribeOptions(TypedDict, total=False):
    """What a SUBSCRIBE may ask of a broker beyond STOMP."""

    # Messages, and octets, that may be delivered and not settled.
    prefetch: int
    prefetch_octets: int
    # The name of a durable subscription to a topic.
    durable: str
    # Only messages whose headers fulfil this condition.
    selector: str
    # Whether nobody else is to be served meanwhile.
    exclusive: bool
    # Consumers of higher priority are served first.
    consumer_priority: int
    # Whether to leave out messages of this connection.
    no_local: bool
    # Whether to look at the messages only, and consume none.
    browser: bool


class NackOptions(TypedDict, total=False):
    """What a NACK may ask of a broker beyond STOMP."""

    # False: not to be delivered again, but dead-lettered.
    requeue: bool
    # Seconds before which it is not to be delivered again.
    delay: float
    # Why, for who reads the dead letters.
    reason: str


Maker = Callable[[Any], Pairs]


@dataclass(frozen=True)
class Dialect:
    """How one broker spells the options; what is missing in a table it does not know."""

    # For error texts.
    shown: str
    send: Mapping[str, Maker]
    subscribe: Mapping[str, Maker]
    nack: Mapping[str, Maker]
    # What else UNSUBSCRIBE needs to delete the durable subscription of this name.
    forget: Callable[[str], Pairs]
    # True if that takes a second UNSUBSCRIBE, once the subscription has ended.
    forgets_apart: bool = False
    # True if a durable subscription belongs to a client-id, so that CONNECT needs one.
    wants_client_id: bool = False
    # CONNECT's host header, if it is not the name used for the socket.
    host: str | None = None
    # True if naming a temporary queue in reply-to subscribes to it, and SUBSCRIBE is refused.
    reply_to_subscribes: bool = False

    def send_headers(self, options: SendOptions) -> Pairs:
        """Return the headers for a SEND; raises `UsageError` for what the broker has not."""
        return self._headers("SEND", self.send, options)

    def subscribe_headers(self, options: SubscribeOptions) -> Pairs:
        """Return the headers for a SUBSCRIBE; raises `UsageError` for what the broker has not."""
        return self._headers("SUBSCRIBE", self.subscribe, options)

    def nack_headers(self, options: NackOptions) -> Pairs:
        """Return the headers for a NACK; raises `UsageError` for what the broker has not."""
        return self._headers("NACK", self.nack, options)

    def _headers(
        self, command: str, table: Mapping[str, Maker], options: Mapping[str, Any]
    ) -> Pairs:
        pairs: Pairs = []
        for name, value in options.items():
            make = table.get(name)
            if make is None:
                raise UsageError(f"{self.shown} knows no {name} on {command}")
            pairs += make(value)
        return pairs


def named(name: str) -> Dialect | None:
    """Return the dialect with this name, None for "auto"; raises `UsageError` for others."""
    if name != "auto" and name not in _DIALECTS:
        raise UsageError(f'dialect "{name}" is none of auto, {", ".join(_DIALECTS)}')
    return _DIALECTS.get(name)


def spoken_by(server: str) -> Dialect:
    """Return the dialect of a broker by the ``server`` header of its CONNECTED.

    One that is not known speaks stompd's, whose names are those that most brokers understand.
    """
    product = server.partition("/")[0].lower()
    if product.startswith("rabbitmq"):
        return RABBITMQ
    if "artemis" in product:
        return ARTEMIS
    if product.startswith("activemq"):
        return ACTIVEMQ
    return STOMPD


# How values become headers.


def _text(header: str) -> Maker:
    def make(value: str) -> Pairs:
        if not value:
            raise UsageError(f"{header} must not be empty")
        return [(header, value)]

    return make


def _number(header: str) -> Maker:
    def make(value: int) -> Pairs:
        return [(header, str(value))]

    return make


def _count(header: str) -> Maker:
    def make(value: int) -> Pairs:
        if value < 0:
            raise UsageError(f"{header} must not be negative")
        return [(header, str(value))]

    return make


def _truth(header: str) -> Maker:
    """A truth that has to be said either way."""

    def make(value: bool) -> Pairs:  # noqa: FBT001 - the value of an option
        return [(header, "true" if value else "false")]

    return make


def _flag(header: str) -> Maker:
    """A truth of which no word means no."""

    def make(value: bool) -> Pairs:  # noqa: FBT001 - the value of an option
        return [(header, "true")] if value else []

    return make


def _milliseconds(header: str) -> Maker:
    """Seconds from now as milliseconds from now, and a time as milliseconds since 1970."""

    def make(value: float) -> Pairs:
        if value < 0:
            raise UsageError(f"{header} must not be negative")
        return [(header, str(round(value * 1000)))]

    return make


def _moment(header: str) -> Maker:
    """Seconds from now as a time, by the clock of this machine."""
    make_time = _milliseconds(header)

    def make(value: float) -> Pairs:
        if value < 0:
            raise UsageError(f"{header} must not be in the past")
        return make_time(time.time() + value)

    return make


def _group(value: str) -> Pairs:
    """The group for ActiveMQ, which does not show it to consumers, and for them."""
    return [*_text("JMSXGroupID")(value), ("message-group", value)]


def _durable(header: str, *more: tuple[str, str]) -> Maker:
    make_name = _text(header)

    def make(value: str) -> Pairs:
        return [*more, *make_name(value)]

    return make


def _always_false(words: str) -> Maker:
    """A truth that the broker has only one answer to: no, and no header for it."""

    def make(value: bool) -> Pairs:  # noqa: FBT001 - the value of an option
        if value:
            raise UsageError(words)
        return []

    return make


STOMPD: Final = Dialect(
    shown="stompd",
    send={
        "persistent": _truth("persistent"),
        "priority": _number("priority"),
        "ttl": _milliseconds("ttl"),
        "expires": _milliseconds("expires"),
        "delay": _milliseconds("delay"),
        "deliver_at": _milliseconds("deliver-at"),
        "message_group": _text("message-group"),
        "dedup_id": _text("dedup-id"),
    },
    subscribe={
        "prefetch": _count("prefetch-count"),
        "prefetch_octets": _count("prefetch-bytes"),
        "durable": _durable("durable-subscription-name", ("durable", "true")),
        "selector": _text("selector"),
        "exclusive": _flag("exclusive"),
        "consumer_priority": _number("consumer-priority"),
        "no_local": _flag("no-local"),
        "browser": _flag("browser"),
    },
    nack={
        "requeue": _truth("requeue"),
        "delay": _milliseconds("delay"),
        "reason": _text("reason"),
    },
    forget=_durable("durable-subscription-name", ("durable", "true")),
)

RABBITMQ: Final = Dialect(
    shown="RabbitMQ",
    send={
        "persistent": _truth("persistent"),
        "priority": _number("priority"),
        "ttl": _milliseconds("expiration"),
    },
    subscribe={
        "prefetch": _count("prefetch-count"),
        "durable": _durable("x-queue-name", ("durable", "true"), ("auto-delete", "false")),
    },
    nack={"requeue": _truth("requeue")},
    forget=_durable("x-queue-name", ("durable", "true")),
    host="/",
    reply_to_subscribes=True,
)

# Its NACK dead-letters, whatever is said.
_DEAD_LETTERS: Final = {"requeue": _always_false("ActiveMQ dead-letters what is NACKed")}

ACTIVEMQ: Final = Dialect(
    shown="ActiveMQ",
    send={
        "persistent": _truth("persistent"),
        "priority": _number("priority"),
        "ttl": _moment("expires"),
        "expires": _milliseconds("expires"),
        "delay": _milliseconds("AMQ_SCHEDULED_DELAY"),
        "message_group": _group,
    },
    subscribe={
        "prefetch": _count("activemq.prefetchSize"),
        "durable": _text("activemq.subscriptionName"),
        "selector": _text("selector"),
        "exclusive": _flag("activemq.exclusive"),
        "consumer_priority": _number("activemq.priority"),
        "no_local": _flag("activemq.noLocal"),
        "browser": _flag("browser"),
    },
    nack=_DEAD_LETTERS,
    forget=_text("activemq.subscriptionName"),
    forgets_apart=True,
    wants_client_id=True,
)

ARTEMIS: Final = Dialect(
    shown="Artemis",
    send={
        "persistent": _truth("persistent"),
        "priority": _number("priority"),
        "ttl": _moment("expires"),
        "expires": _milliseconds("expires"),
        "delay": _milliseconds("AMQ_SCHEDULED_DELAY"),
        "deliver_at": _milliseconds("AMQ_SCHEDULED_TIME"),
        "message_group": _text("JMSXGroupID"),
        "dedup_id": _text("_AMQ_DUPL_ID"),
    },
    subscribe={
        "prefetch_octets": _count("consumer-window-size"),
        "durable": _text("durable-subscription-name"),
        "selector": _text("selector"),
        "no_local": _flag("no-local"),
    },
    nack={},
    forget=_text("durable-subscription-name"),
    wants_client_id=True,
)

_DIALECTS: Final[Mapping[str, Dialect]] = {
    "stompd": STOMPD,
    "rabbitmq": RABBITMQ,
    "activemq": ACTIVEMQ,
    "artemis": ARTEMIS,
}

# By which header a MESSAGE says that it belongs to a group, whoever sent it.
GROUP_HEADERS: Final = ("message-group", "JMSXGroupID", "_AMQ_GROUP_ID", "message_group")
