"""What the headers of SEND, SUBSCRIBE and NACK mean, in the dialect of every broker.

The first header present counts, ours before the names that other brokers gave the same thing. A
value that means nothing is an error in a header of ours. In another broker's it is as if the header
were absent, and its name is among the ``foreign`` ones, for the broker to report: nothing that a
program asked for is dropped silently.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from stompd.broker.cron import Cron, parse
from stompd.protocol.errors import RemoteProtocolError, shown

Get = Callable[[str], str | None]

DEFAULT_PRIORITY: Final = 4
HIGHEST_PRIORITY: Final = 255

# As many milliseconds after now still fit 64 bits. Java's largest long is taken for this one.
LARGEST: Final = 10**18 - 1
_DIGITS: Final = 19
# Longer numbers are not looked at: they would only cost.
_NUMBER_LIMIT: Final = 64
# Longer ids of groups and repetitions stand by their digest, behind so much of their begin.
_KEY_LIMIT: Final = 255
_KEY_SHOWN: Final = 32

# --- Names: ours, and what other brokers call the same thing. ---

_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "x-max-length": (),
    "x-max-length-bytes": (),
    "x-message-ttl": (),
    "x-expires": (),
    "x-dead-letter-routing-key": (),
    "x-overflow": (),
    "auto-delete": (),
}

_SEND: Final[Mapping[str, tuple[str, ...]]] = {
    "priority": ("JMSPriority",),
    "ttl": ("expiration",),
    "expires": ("JMSExpiration",),
    "delay": ("AMQ_SCHEDULED_DELAY", "x-delay"),
    "deliver-at": ("AMQ_SCHEDULED_TIME", "_AMQ_SCHED_DELIVERY", "_HQ_SCHED_DELIVERY"),
    "AMQ_SCHEDULED_PERIOD": (),
    "AMQ_SCHEDULED_REPEAT": (),
    "AMQ_SCHEDULED_CRON": (),
    "message-group": ("JMSXGroupID", "message_group", "_AMQ_GROUP_ID", "_HQ_GROUP_ID"),
    "dedup-id": ("_AMQ_DUPL_ID", "_HQ_DUPL_ID", "Nats-Msg-Id", "x-deduplication-header"),
    "retain": ("ActiveMQ.Retain",),
    # Only the wish to end a group asks for anything.
    "JMSXGroupSeq": (),
    # Only another exchange than the default one asks for anything.
    "x-dead-letter-exchange": (),
    # Only streams are something else than our queues.
    "x-queue-type": (),
    **_SETTINGS,
}

_SUBSCRIBE: Final[Mapping[str, tuple[str, ...]]] = {
    "prefetch-count": ("activemq.prefetchSize",),
    "prefetch-bytes": ("consumer-window-size",),
    "credit": (),
    "selector": ("activemq.selector",),
    "browser": ("activemq.browser",),
    "browser-end": (),
    "exclusive": ("activemq.exclusive", "x-single-active-consumer"),
    "consumer-priority": ("activemq.priority", "x-priority"),
    "no-local": ("activemq.noLocal",),
    "durable": ("persistent",),
    "durable-subscription-name": (
        "durable-subscriber-name",
        "activemq.subscriptionName",
        "activemq.subcriptionName",
    ),
    "x-queue-name": (),
    "x-dead-letter-exchange": (),
    "x-queue-type": (),
    **_SETTINGS,
}

# --- Names that we know and do not honour, and why. ---

_NOT_ASKED: Final = ("", "false", "0")

# RabbitMQ's queue arguments, on SEND and on SUBSCRIBE.
_FOREIGN_SETTINGS: Final[Mapping[str, str]] = {
    "x-cancel-on-ha-failover": "there are no mirrored queues",
    "x-consumer-timeout": "a delivery may take as long as its connection lives",
    "x-dead-letter-strategy": "dead letters never leave the broker on their way",
    "x-delivery-limit": "the policy's max-deliveries counts",
    "x-ha-policy": "there are no mirrored queues",
    "x-initial-cluster-size": "there is one node",
    "x-max-age": "there is no stream; x-message-ttl expires messages",
    "x-max-in-memory-bytes": "the policy's window decides what is held in memory",
    "x-max-in-memory-length": "the policy's window decides what is held in memory",
    "x-message-deduplication": "dedup-id on SEND asks for it, message by message",
    "x-queue-leader-locator": "there is one node",
    "x-queue-master-locator": "there is one node",
    "x-queue-mode": "the policy's window decides what is held in memory",
    "x-queue-version": "there is one kind of queue",
    "x-quorum-initial-group-size": "there is one node",
    "x-stream-filter-size-bytes": "there is no stream",
    "x-stream-max-segment-size-bytes": "there is no stream",
}

FOREIGN_SEND: Final[Mapping[str, str]] = {
    # ActiveMQ.
    "AMQ_SCHEDULER_ACTION": "delayed messages are listed and removed by admin verbs",
    "AMQ_SCHEDULER_ACTION_END_TIME": "delayed messages are listed and removed by admin verbs",
    "AMQ_SCHEDULER_ACTION_START_TIME": "delayed messages are listed and removed by admin verbs",
    "JMSDeliveryMode": "persistent:true asks for it",
    "amq-msg-type": "a message is its octets; there are no JMS types",
    "transformation": "messages are never changed",
    # Artemis and HornetQ.
    "_AMQ_GROUP_SEQUENCE": "a group is not ended by a message",
    "_AMQ_LVQ_NAME": "there are no last-value queues; retain:set keeps a topic's last message",
    "_AMQ_ROUTING_TYPE": "the destination tells: /queue/ or /topic/",
    "_HQ_LVQ_NAME": "there are no last-value queues; retain:set keeps a topic's last message",
    "destination-type": "the destination tells: /queue/ or /topic/",
    # RabbitMQ.
    "x-cache-ttl": "the window of dedup-id is the queue's",
    "x-stream-filter-value": "there is no stream; selectors filter",
    **_FOREIGN_SETTINGS,
}

FOREIGN_SUBSCRIBE: Final[Mapping[str, str]] = {
    # ActiveMQ.
    "activemq.clientId": "the client-id of CONNECT counts",
    "activemq.dispatchAsync": "there is one way of dispatching",
    "activemq.maximumPendingMessageLimit": "the policy's slow-consumer counts",
    "activemq.networkSubscription": "there is no network of brokers",
    "activemq.noRangeAcks": "the ack mode tells",
    "activemq.optimizedAcknowledge": "the ack mode tells",
    "activemq.retroactive": "a topic keeps what was sent with retain:set",
    "transformation": "messages are never changed",
    # Apollo.
    "from-seq": "messages have no sequence numbers",
    "include-seq": "messages have no sequence numbers",
    # Artemis.
    "subscription-type": "the destination tells: /queue/ or /topic/",
    # RabbitMQ.
    "x-stream-filter": "there is no stream; selectors filter",
    "x-stream-match-unfiltered": "there is no stream; selectors filter",
    "x-stream-offset": "there is no stream",
    **_FOREIGN_SETTINGS,
}


def _table(
    ours: Mapping[str, tuple[str, ...]], foreign: Mapping[str, str]
) -> dict[str, tuple[str, int]]:
    """Return what each name asks for and its rank; for a foreign one that is nothing."""
    table = dict.fromkeys(foreign, ("", 0))
    for name, aliases in ours.items():
        for rank, alias in enumerate((name, *aliases)):
            table[alias] = (name, rank)
    return table


_SEND_TABLE: Final = _table(_SEND, FOREIGN_SEND)
_SUBSCRIBE_TABLE: Final = _table(_SUBSCRIBE, FOREIGN_SUBSCRIBE)

# Frames without any of these names ask for nothing.
SEND_NAMES: Final = frozenset(_SEND_TABLE)
SUBSCRIBE_NAMES: Final = frozenset(_SUBSCRIBE_TABLE)

# --- Values. ---


def is_true(value: str | None) -> bool:
    """Return whether a header says yes; None and everything else say no."""
    return value is not None and value.strip().lower() in ("true", "1")


def boolean(value: str | None, name: str) -> bool | None:
    """Return what a header of ours says: true, false, 1 or 0, in any letter case.

    None if it is absent or empty. Raises `RemoteProtocolError` for everything else.
    """
    text = (value or "").strip()
    said = _boolean(text)
    if said is None and text:
        raise RemoteProtocolError(
            f"{name} is not a boolean", f'"{shown(text)}"; it is true or false'
        )
    return said


def whole_number(
    value: str | None, name: str, *, signed: bool = False, meaning: str = "0 for no limit"
) -> int | None:
    """Return the number in a header of ours; None if it is absent or empty.

    Raises `RemoteProtocolError` for everything else than a whole number, and for a negative one
    unless it may be ``signed``. ``meaning`` ends the sentence that explains it.
    """
    text = (value or "").strip()
    if not text:
        return None
    number = _number(text)
    if number is None or (number < 0 and not signed):
        raise RemoteProtocolError(
            f"{name} is not a number", f'"{shown(text)}"; it is a whole number, {meaning}'
        )
    return number


def _boolean(text: str) -> bool | None:
    lower = text.lower()
    if lower in ("true", "1"):
        return True
    return False if lower in ("false", "0") else None


def _number(text: str) -> int | None:
    """Return a whole number; None if it is not one. ``5.0``, as some clients write it, is 5."""
    if len(text) > _NUMBER_LIMIT:
        return None
    negative = text.startswith("-")
    digits, _, fraction = text[negative:].partition(".")
    if fraction.strip("0") or not (digits.isascii() and digits.isdecimal()):
        return None
    if len(digits) > _DIGITS:
        return None
    number = min(int(digits), LARGEST)
    return -number if negative else number


# --- Reading a frame. ---

_OVERFLOW: Final = {
    "drop-head": "drop-head",
    "reject-publish": "reject",
    "reject-publish-dlx": "reject",
}


# The fields of `QueueSettings`, and the headers that they come from.
_HEADERS: Final = {
    "max_messages": "x-max-length",
    "max_bytes": "x-max-length-bytes",
    "message_ttl": "x-message-ttl",
    "expires": "x-expires",
    "dead_letter": "x-dead-letter-routing-key",
    "overflow": "x-overflow",
    "auto_delete": "auto-delete",
}


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a frame asks of the queue that it creates; None where it asks for nothing."""

    max_messages: int | None = None
    max_bytes: int | None = None
    # Milliseconds: how long a message may wait, and how long the queue may be unused.
    message_ttl: int | None = None
    expires: int | None = None
    # The name of the queue for dead letters.
    dead_letter: str | None = None
    # drop-head or reject.
    overflow: str | None = None
    auto_delete: bool | None = None

    def beyond(self, other: "QueueSettings | None") -> list[str]:
        """Return the headers that ask for something that ``other`` does not ask for."""
        return [
            header
            for field, header in _HEADERS.items()
            if (asked := getattr(self, field)) is not None and asked != getattr(other, field, None)
        ]


_NO_SETTINGS: Final = QueueSettings()
# What `_Headers.settings` looks at.
_OF_QUEUES: Final = frozenset((*_SETTINGS, "x-dead-letter-exchange", "x-queue-type"))


class _Headers:
    """The headers of one frame that ask for something, and those that we do not honour."""

    __slots__ = ("_get", "chosen", "foreign")

    def __init__(
        self, get: Get, present: Collection[str], table: Mapping[str, tuple[str, int]]
    ) -> None:
        self._get = get
        # What is asked for, and the name of the header that counts.
        self.chosen: dict[str, str] = {}
        self.foreign: list[str] = []
        for name in present:
            entry = table.get(name)
            if entry is None:
                continue
            asked, rank = entry
            if not asked:
                # Whoever writes false, or 0, asks for nothing that we lack.
                if (get(name) or "").strip().lower() not in _NOT_ASKED:
                    self.foreign.append(name)
                continue
            held = self.chosen.get(asked)
            if held is None or rank < table[held][1]:
                self.chosen[asked] = name

    def text(self, asked: str) -> str:
        """Return a value without blanks around it; empty if it is absent."""
        name = self.chosen.get(asked)
        return "" if name is None else (self._get(name) or "").strip()

    def name(self, asked: str) -> str | None:
        """Return a value as it is, for blanks are part of a name; None if there is nothing else."""
        name = self.chosen.get(asked)
        value = "" if name is None else self._get(name) or ""
        return value if value.strip() else None

    def key(self, asked: str) -> str | None:
        """Return a value to be compared with others, as `name` does; a long one by its digest.

        It is remembered beside a hundred thousand others, which must not take gigabytes.
        """
        value = self.name(asked)
        if value is None or len(value) <= _KEY_LIMIT:
            return value
        digest = blake2b(value.encode("utf-8", "surrogateescape"), digest_size=32)
        return f"{value[:_KEY_SHOWN]}... {digest.hexdigest()}"

    def boolean(self, asked: str) -> bool | None:
        """Return what a header says; None if it is absent, or another broker's and garbage."""
        name = self.chosen.get(asked)
        if name is None:
            return None
        if name == asked:
            return boolean(self._get(name), name)
        text = self.text(asked)
        said = _boolean(text)
        if said is None and text:
            self.foreign.append(name)
        return said

    def number(
        self,
        asked: str,
        meaning: str,
        *,
        signed: bool = False,
        lowest: int = 0,
        highest: int = LARGEST,
    ) -> int | None:
        """Return the number in a header; None if it is absent, or another broker's and garbage.

        ``lowest`` and ``highest`` bound another broker's; one of ours is negative if ``signed``.
        """
        name = self.chosen.get(asked)
        if name is None:
            return None
        value = self._get(name) or ""
        # Nearly all of them; a million delayed messages have a number each.
        if value.isdecimal() and value.isascii() and len(value) < _DIGITS:
            plain = int(value)
            if name == asked or plain <= highest:
                return plain
        if name == asked:
            return whole_number(value, name, signed=signed, meaning=meaning)
        text = self.text(asked)
        number = _number(text)
        if number is None or not lowest <= number <= highest:
            if text:
                self.foreign.append(name)
            return None
        return number

    def size(self, name: str) -> int | None:
        """Return the number in one of RabbitMQ's queue arguments; None if it is not above 0."""
        text = self.text(name)
        number = _number(text)
        if number is None or number < 1:
            if text:
                self.foreign.append(name)
            return None
        return number

    def settings(self) -> QueueSettings | None:
        """Return what is asked of the queue; None if that is nothing."""
        settings = None
        if not _SETTINGS.keys().isdisjoint(self.chosen):
            overflow = self.text("x-overflow").lower()
            if overflow and overflow not in _OVERFLOW:
                self.foreign.append("x-overflow")
            settings = QueueSettings(
                max_messages=self.size("x-max-length"),
                max_bytes=self.size("x-max-length-bytes"),
                message_ttl=self.size("x-message-ttl"),
                expires=self.size("x-expires"),
                dead_letter=self.text("x-dead-letter-routing-key") or None,
                overflow=_OVERFLOW.get(overflow),
                auto_delete=self.boolean("auto-delete"),
            )
            if settings == _NO_SETTINGS:
                settings = None
        if self.text("x-dead-letter-exchange"):
            self.foreign.append("x-dead-letter-exchange")
        if self.text("x-queue-type").lower() == "stream":
            self.foreign.append("x-queue-type")
        return settings


# --- SEND, SUBSCRIBE, UNSUBSCRIBE, NACK. ---

# Where RabbitMQ makes a queue for each subscription, which x-queue-name names.
_NAMED_QUEUES: Final = ("/topic/", "/exchange/")

_UNSUBSCRIBE_NAMES: Final = tuple(
    name
    for name, (asked, _) in _SUBSCRIBE_TABLE.items()
    if asked in ("durable", "durable-subscription-name", "x-queue-name")
)

_RETAIN: Final = {
    "set": "set",
    "true": "set",
    "1": "set",
    "remove": "remove",
    "false": None,
    "0": None,
    "": None,
}


class SendOptions:
    """What a SEND asks for beyond being delivered."""

    __slots__ = (
        "cron",
        "dedup_id",
        "delay",
        "deliver_at",
        "expires",
        "foreign",
        "group",
        "period",
        "plain",
        "priority",
        "repeat",
        "retain",
        "settings",
        "simple",
        "ttl",
    )

    def __init__(self) -> None:
        self.priority = DEFAULT_PRIORITY
        # Milliseconds from now, and milliseconds since the epoch; None: never.
        self.ttl: int | None = None
        self.expires: int | None = None
        # Milliseconds from now, and milliseconds since the epoch, which count if both are given.
        self.delay = 0
        self.deliver_at: int | None = None
        # Milliseconds between repetitions, and how many follow the first delivery (-1: for ever).
        self.period = 0
        self.repeat = 0
        self.cron: Cron | None = None
        self.group: str | None = None
        self.dedup_id: str | None = None
        # set or remove.
        self.retain: str | None = None
        self.settings: QueueSettings | None = None
        # The headers that we know and do not honour, and those whose value is of no use.
        self.foreign: tuple[str, ...] = ()
        # Whether nothing above is asked for, and whether that is another priority and no more.
        self.plain = True
        self.simple = False


def send_options(get: Get, present: Collection[str]) -> SendOptions:
    """Return what a SEND's headers ask for.

    ``get`` returns a header's value or None, ``present`` are the names in the frame. Raises
    `RemoteProtocolError` for a value that means nothing in a header of ours.
    """
    headers = _Headers(get, present, _SEND_TABLE)
    options = SendOptions()
    chosen = headers.chosen
    if chosen:
        for asked in chosen:
            read = _READERS.get(asked)
            if read is not None:
                read(headers, options)
        if "AMQ_SCHEDULED_PERIOD" in chosen:
            _repeat(headers, options)
        if not _OF_QUEUES.isdisjoint(chosen):
            options.settings = headers.settings()
        nothing_else = (
            options.delay == 0
            and options.period == 0
            and options.ttl is None
            and options.expires is None
            and options.deliver_at is None
            and options.cron is None
            and options.group is None
            and options.dedup_id is None
            and options.retain is None
        )
        common = options.priority == DEFAULT_PRIORITY
        options.plain = nothing_else and common and options.settings is None
        options.simple = nothing_else and not common
    options.foreign = tuple(headers.foreign)
    return options


def _read_priority(headers: _Headers, options: SendOptions) -> None:
    options.priority = _priority(headers)


def _read_ttl(headers: _Headers, options: SendOptions) -> None:
    ttl = headers.number("ttl", "milliseconds", lowest=-LARGEST) or 0
    options.ttl = ttl if ttl > 0 else None


def _read_expires(headers: _Headers, options: SendOptions) -> None:
    expires = headers.number("expires", "milliseconds since 1970", lowest=-LARGEST) or 0
    options.expires = expires if expires > 0 else None


def _read_delay(headers: _Headers, options: SendOptions) -> None:
    options.delay = max(0, headers.number("delay", "milliseconds", lowest=-LARGEST) or 0)


def _read_deliver_at(headers: _Headers, options: SendOptions) -> None:
    at = headers.number("deliver-at", "milliseconds since 1970", lowest=-LARGEST) or 0
    options.deliver_at = at if at > 0 else None


def _read_cron(headers: _Headers, options: SendOptions) -> None:
    text = headers.text("AMQ_SCHEDULED_CRON")
    options.cron = parse(text) if text else None


def _read_group(headers: _Headers, options: SendOptions) -> None:
    options.group = headers.key("message-group")


def _read_dedup_id(headers: _Headers, options: SendOptions) -> None:
    options.dedup_id = headers.key("dedup-id")


def _read_retain(headers: _Headers, options: SendOptions) -> None:
    options.retain = _retain(headers)


def _read_sequence(headers: _Headers, options: SendOptions) -> None:  # noqa: ARG001 - as the others
    if (_number(headers.text("JMSXGroupSeq")) or 0) < 0:
        headers.foreign.append("JMSXGroupSeq")


# What else is asked for is read together, when all of it is known.
_READERS: Final[Mapping[str, Callable[[_Headers, SendOptions], None]]] = {
    "priority": _read_priority,
    "ttl": _read_ttl,
    "expires": _read_expires,
    "delay": _read_delay,
    "deliver-at": _read_deliver_at,
    "AMQ_SCHEDULED_CRON": _read_cron,
    "message-group": _read_group,
    "dedup-id": _read_dedup_id,
    "retain": _read_retain,
    "JMSXGroupSeq": _read_sequence,
}


def _priority(headers: _Headers) -> int:
    priority = headers.number(
        "priority", f"0 to {HIGHEST_PRIORITY}", signed=True, highest=HIGHEST_PRIORITY
    )
    if priority is None:
        return DEFAULT_PRIORITY
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise RemoteProtocolError(
            "priority is out of range", f'"{priority}"; it is a number from 0 to {HIGHEST_PRIORITY}'
        )
    return priority


def _repeat(headers: _Headers, options: SendOptions) -> None:
    """Read how often a message comes again.

    As in ActiveMQ the first one comes after the delay, or after one period if there is no delay.
    Without a period nothing is repeated.
    """
    options.period = headers.number("AMQ_SCHEDULED_PERIOD", "milliseconds") or 0
    if not options.period:
        return
    repeat = headers.number("AMQ_SCHEDULED_REPEAT", "-1 for ever", signed=True)
    options.repeat = max(-1, repeat or 0)
    if not options.delay and options.deliver_at is None and options.cron is None:
        options.delay = options.period


def _retain(headers: _Headers) -> str | None:
    text = headers.text("retain").lower()
    if text in _RETAIN:
        return _RETAIN[text]
    name = headers.chosen["retain"]
    if name == "retain":
        raise RemoteProtocolError("unknown retain", f'"{shown(text)}"; it is set or remove')
    headers.foreign.append(name)
    return None


class SubscribeOptions:
    """What a SUBSCRIBE asks for beyond its destination, id and ack mode."""

    __slots__ = (
        "browser",
        "browser_end",
        "consumer_priority",
        "durable",
        "durable_name",
        "exclusive",
        "foreign",
        "no_local",
        "prefetch_bytes",
        "prefetch_count",
        "selector",
        "settings",
        "shared",
    )

    def __init__(self) -> None:
        # Messages and octets, 0 for no limit; None: what the policy says.
        self.prefetch_count: int | None = None
        self.prefetch_bytes: int | None = None
        self.selector: str | None = None
        self.browser = False
        # Whether a browser ends when it has seen everything.
        self.browser_end = True
        self.exclusive = False
        self.consumer_priority = 0
        self.no_local = False
        self.durable = False
        # The name of the durable subscription, if the frame gives it one.
        self.durable_name: str | None = None
        # Whether that name is everybody's, whatever a session calls itself.
        self.shared = False
        self.settings: QueueSettings | None = None
        # The headers that we know and do not honour, and those whose value is of no use.
        self.foreign: tuple[str, ...] = ()


def subscribe_options(get: Get, present: Collection[str]) -> SubscribeOptions:
    """Return what a SUBSCRIBE's headers ask for.

    ``get`` returns a header's value or None, ``present`` are the names in the frame. Raises
    `RemoteProtocolError` for a value that means nothing in a header of ours.
    """
    headers = _Headers(get, present, _SUBSCRIBE_TABLE)
    options = SubscribeOptions()
    if headers.chosen:
        _credit(headers, options)
        options.selector = headers.text("selector") or None
        options.browser = headers.boolean("browser") or False
        options.browser_end = headers.boolean("browser-end") is not False
        options.exclusive = headers.boolean("exclusive") or False
        options.consumer_priority = (
            headers.number(
                "consumer-priority", "0 if absent, higher first", signed=True, lowest=-LARGEST
            )
            or 0
        )
        options.no_local = headers.boolean("no-local") or False
        options.settings = headers.settings()
        _durable(headers, options, get("destination") or "")
    options.foreign = tuple(headers.foreign)
    return options


def _credit(headers: _Headers, options: SubscribeOptions) -> None:
    no_limit = "0 for no limit"
    count = headers.number("prefetch-count", no_limit, lowest=-LARGEST)
    octets = headers.number("prefetch-bytes", no_limit, lowest=-LARGEST)
    if headers.chosen.get("prefetch-bytes") == "consumer-window-size" and octets == 0:
        # Artemis: the next message only after this one was acknowledged. Any message uses up 1.
        octets = 1
    options.prefetch_count = count if count is None else max(0, count)
    options.prefetch_bytes = octets if octets is None else max(0, octets)
    credit = headers.text("credit")
    if not credit:
        return
    # Apollo: messages, octets. Its third part, whether an ACK gives credit back, is always true.
    numbers = [_number(part.strip()) for part in credit.split(",", 2)[:2]]
    if any(number is None or number < 0 for number in numbers) or not any(numbers):
        headers.foreign.append("credit")
        return
    if options.prefetch_count is None:
        options.prefetch_count = numbers[0]
    if options.prefetch_bytes is None and len(numbers) > 1:
        options.prefetch_bytes = numbers[1]


def _durable(headers: _Headers, options: SubscribeOptions, destination: str) -> None:
    durable = headers.boolean("durable")
    name = headers.name("durable-subscription-name")
    options.durable = name is not None if durable is None else durable
    if name is None and destination.startswith(_NAMED_QUEUES):
        name = headers.name("x-queue-name")
        # RabbitMQ knows no client-id: what a program says of itself makes no queue of its own.
        options.shared = name is not None
        if name is not None and not options.durable:
            # RabbitMQ: whoever gives the name shares the queue, which goes with its last
            # subscriber unless auto-delete says otherwise.
            options.durable = True
            settings = options.settings or _NO_SETTINGS
            if settings.auto_delete is None:
                options.settings = replace(settings, auto_delete=True)
    options.durable_name = name if options.durable else None


def unsubscribe_durable(get: Get) -> tuple[bool, str | None, bool]:
    """Return whether an UNSUBSCRIBE deletes a durable subscription, the name it gives, if any.

    And whether that name is everybody's, as in `SubscribeOptions.shared`.
    ``get`` returns a header's value or None. Raises `RemoteProtocolError` if ``durable`` is not a
    boolean.
    """
    present = [name for name in _UNSUBSCRIBE_NAMES if get(name) is not None]
    headers = _Headers(get, present, _SUBSCRIBE_TABLE)
    durable = headers.boolean("durable")
    name = headers.name("durable-subscription-name")
    deletes = name is not None if durable is None else durable
    # RabbitMQ's name alone deletes nothing; it only tells which one.
    if name is not None:
        return deletes, name, False
    name = headers.name("x-queue-name")
    return deletes, name, name is not None


class NackOptions:
    """What a NACK asks for."""

    __slots__ = ("delay", "reason", "requeue")

    def __init__(self, *, requeue: bool, delay: int | None, reason: str) -> None:
        # Whether the message goes back to its queue, or at once to the dead letters.
        self.requeue = requeue
        # Milliseconds before it is delivered again; None: what the policy says.
        self.delay = delay
        self.reason = reason


def nack_options(get: Get) -> NackOptions:
    """Return what a NACK's headers ask for; ``get`` returns a header's value or None.

    Raises `RemoteProtocolError` for a value that means nothing.
    """
    return NackOptions(
        requeue=boolean(get("requeue"), "requeue") is not False,
        delay=whole_number(get("delay"), "delay", meaning="milliseconds"),
        reason=get("reason") or "",
    )
