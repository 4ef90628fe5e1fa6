"""The settings of stompd: what may be set, the built-in values, and what is refused.

`Settings()` holds the built-in values. How a file, the environment and flags are laid over them is
the matter of `stompd.server.sources`. Durations are seconds and sizes octets once they are read.
"""

import os
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stompd.broker import destination
from stompd.broker import policy as broker
from stompd.broker.quota import EVERYBODY, QuotaRule
from stompd.broker.rights import ALL, Rights, Rule
from stompd.broker.route import Route, Router, source_of
from stompd.broker.selector import compile_selector
from stompd.broker.virtualtopic import VirtualTopics
from stompd.protocol.decoder import Limits
from stompd.protocol.errors import RemoteProtocolError
from stompd.server import memory
from stompd.server.algorithms import ALGORITHMS
from stompd.server.certificates import CertificateRule
from stompd.server.rights_file import rights_of
from stompd.server.units import (
    KIB,
    MIB,
    Address,
    address,
    count,
    duration,
    positive,
    quoted,
    several,
    show_duration,
    show_size,
    size,
    switch,
)

_LONGEST_SOCKET_PATH: Final = 107
_WHOLE: Final = 100

# The built-in values of what the layers below do by themselves stand there, and only there.
_BROKER: Final = broker.Settings()
_FRAME: Final = Limits()


def _reads(read: Callable[[object], object]) -> BeforeValidator:
    """Make pydantic report the sentence of ``read``'s ValueError, and nothing around it."""

    def validate(value: object) -> object:
        try:
            return read(value)
        except ValueError as error:
            raise PydanticCustomError("refused", "{reason}", {"reason": str(error)}) from error

    return BeforeValidator(validate)


def _text(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{quoted(value)} is not a text" if value != "" else "must not be empty")


def _socket_path(value: object) -> Path:
    path = value if isinstance(value, Path) else Path(_text(value)).expanduser()
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{quoted(str(path))} is longer than a socket's path may be "
            f"({_LONGEST_SOCKET_PATH} octets)"
        )
    return path


def _file(value: object) -> Path | None:
    return None if value is None or value == "" else _directory(value)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(_text(value))
    except ValueError as error:
        raise ValueError(
            f"{quoted(value)} is no address or network (10.0.0.5, 10.1.0.0/16)"
        ) from error


def _directory(value: object) -> Path:
    path = value if isinstance(value, Path) else Path(_text(value))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{quoted(str(path))}: {error}") from error


def _optional_text(value: object) -> str:
    return _text(value) if value != "" else ""


def state_directory() -> Path:
    """Return where stompd keeps its messages if nothing else is said (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative path in there is to be ignored.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "stompd"


def show_directory(path: Path) -> str:
    """Write a path as people do, with ``~`` for their home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if home in path.parents else str(path)


def _factor(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        number = 0.0
    if 1 <= number < float("inf") and not isinstance(value, bool):
        return number
    raise ValueError(f"{quoted(value)} is not a factor (a number of 1 or more)")


def _pattern(value: object) -> str:
    text = _text(value)
    try:
        return destination.parse(text).name
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error


def _dead_letter(value: object) -> str:
    text = _text(value)
    if text == "none":
        return text
    try:
        queue = destination.parse(text.replace("{name}", "name"))
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error
    if queue.kind is not destination.Kind.QUEUE or queue.wild or queue.temporary:
        raise ValueError(f'{quoted(text)} is neither a queue (/queue/DLQ.{{name}}) nor "none"')
    return text if text.startswith("/") else f"/queue/{text}"


def _source(value: object) -> str:
    text = _text(value)
    try:
        source_of(text)
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error
    return text


def _selector(value: object) -> str:
    text = _text(value)
    try:
        return compile_selector(text).text
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error


def _topics(value: object) -> str:
    pattern = _pattern(value)
    if not pattern.startswith("/topic/"):
        raise ValueError(f"{quoted(pattern)} is not a topic, or a pattern of topics")
    return pattern


def _consumers(value: object) -> str:
    text = _text(value)
    if not text.startswith("/queue/"):
        text = f"/queue/{text}"
    try:
        return VirtualTopics((), text).queues
    except ValueError as error:
        raise ValueError(f"{quoted(text)}: {error}") from error


def _mark(value: object) -> str:
    if isinstance(value, str):
        text = value.strip().lower()
        share = text.removesuffix("%").strip()
        if text == "none":
            return text
        if text.endswith("%") and share.isdecimal() and 0 < int(share) <= _WHOLE:
            return f"{int(share)}%"
    try:
        octets = size(value)
    except ValueError:
        octets = 0
    if octets:
        return show_size(octets)
    raise ValueError(f'{quoted(value)} is neither a size (2GiB), nor a share (50%), nor "none"')


def _nowhere_or_several(value: object) -> list[object]:
    """Return a list of addresses; ``off`` stands for none."""
    return [] if isinstance(value, str) and value.strip().lower() == "off" else several(value)


def _algorithm() -> BeforeValidator:
    by_name = {name.upper(): name for name in ALGORITHMS}

    def read(value: object) -> str:
        name = by_name.get(value.upper()) if isinstance(value, str) else None
        if name is None:
            raise ValueError(f"{quoted(value)} is none of {', '.join(ALGORITHMS)}")
        return name

    return _reads(read)


def _choice(*words: str) -> BeforeValidator:
    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise ValueError(f"{quoted(value)} is none of {', '.join(words)}")

    return _reads(read)


_SHOWN_AS_DURATION: Final = PlainSerializer(show_duration, return_type=str, when_used="json")
_SHOWN_AS_SIZE: Final = PlainSerializer(show_size, return_type=str, when_used="json")
_SHOWN_AS_DIRECTORY: Final = PlainSerializer(show_directory, return_type=str, when_used="json")
_SHOWN_AS_FILE: Final = PlainSerializer(
    lambda path: "" if path is None else show_directory(path), return_type=str, when_used="json"
)
_SHOWN_AS_TEXT: Final = PlainSerializer(str, return_type=str, when_used="json")

Duration = Annotated[float, _reads(duration), _SHOWN_AS_DURATION]
Size = Annotated[int, _reads(size), _SHOWN_AS_SIZE]
Count = Annotated[int, _reads(count)]
File = Annotated[Path | None, _reads(_file), _SHOWN_AS_FILE]
Positive = Annotated[int, _reads(positive)]
Factor = Annotated[float, _reads(_factor)]
Switch = Annotated[bool, _reads(switch)]
Text = Annotated[str, _reads(_text)]
OptionalText = Annotated[str, _reads(_optional_text)]


class _Table(BaseModel):
    """A table of the file: keys are written with hyphens, unknown ones are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )


class LimitSettings(_Table):
    """What one peer may cost; a peer that goes over gets an ERROR that names the limit (LIM-01)."""

    connections: Positive = 20_000
    """Connections open at once; one more gets an ERROR and is closed."""
    connections_per_address: Count = 0
    """Connections open at once from one address; 0 is no limit."""
    logins: Positive = 1000
    """Connections that have not logged in yet."""
    subscriptions: Positive = _BROKER.limits.subscriptions
    """Subscriptions of one connection."""
    transactions: Positive = _BROKER.limits.transactions
    """Open transactions of one connection."""
    transaction_frames: Positive = _BROKER.limits.transaction_frames
    """Frames in one transaction."""
    transaction_bytes: Size = _BROKER.limits.transaction_bytes
    """Octets of body in one transaction."""
    command: Positive = _FRAME.command
    """Octets in the command of a frame."""
    header_line: Size = _FRAME.line
    """Octets in one header line."""
    headers: Positive = _FRAME.headers
    """Header lines in one frame."""
    head: Size = _FRAME.head
    """Octets in command and header lines together."""
    body: Size = _FRAME.body
    """Octets in a body."""
    login_frame: Size = 64 * KIB
    """Octets in the head of a frame, and in its body, before the peer has logged in."""
    receipt: Size = _BROKER.limits.receipt
    """Octets in the value of a receipt header."""
    subscription_id: Size = _BROKER.limits.subscription_id
    """Octets in the id of a subscription."""

    def of_frames(self) -> Limits:
        """Return what a frame of a peer may measure that has logged in."""
        return Limits(
            command=self.command,
            line=self.header_line,
            headers=self.headers,
            head=self.head,
            body=self.body,
        )

    def before_login(self) -> Limits:
        """Return what a frame of a peer may measure that has not logged in yet."""
        return Limits(
            command=self.command,
            line=min(self.header_line, self.login_frame),
            headers=self.headers,
            head=min(self.head, self.login_frame),
            body=min(self.body, self.login_frame),
        )

    def of_sessions(self) -> broker.SessionLimits:
        """Return what one session may have open."""
        return broker.SessionLimits(
            subscriptions=self.subscriptions,
            transactions=self.transactions,
            transaction_frames=self.transaction_frames,
            transaction_bytes=self.transaction_bytes,
            receipt=self.receipt,
            subscription_id=self.subscription_id,
        )


class TimeoutSettings(_Table):
    """How long stompd waits for a peer."""

    login: Duration = 30.0
    """From the connection to a complete CONNECT frame; people type."""
    linger: Duration = 2.0
    """After the last ERROR or RECEIPT, for the peer to close first."""
    linger_bytes: Size = 64 * KIB
    """Octets that are read and thrown away meanwhile."""
    drain: Duration = 10.0
    """At a stop, for connections to finish what they have begun."""
    error_delay: Duration = 1.0
    """Before an address is let go that was sent one ERROR after another."""


class HeartBeatSettings(_Table):
    """What stompd offers and asks for in heart-beats."""

    minimum: Duration = _BROKER.heart_beat.minimum / 1000
    """The shortest period that stompd agrees to."""
    default: Duration = _BROKER.heart_beat.default / 1000
    """The period that it names where the client named none."""
    tolerance: Factor = _BROKER.heart_beat.tolerance
    """A peer is gone after this many silent periods..."""
    grace: Duration = _BROKER.heart_beat.grace
    """...and this much longer."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.default < self.minimum:
            raise _contradiction(
                "default", show_duration(self.default), "minimum", show_duration(self.minimum)
            )
        return self


class FlowSettings(_Table):
    """How much is kept in memory for one connection, and how much is done in one turn."""

    outbox_high: Size = _BROKER.outbox_high
    """Octets waiting to be written from which a connection is given no more messages."""
    outbox_low: Size = _BROKER.outbox_low
    """Octets waiting to be written below which it is given messages again."""
    read_size: Size = 256 * KIB
    """Octets read at once."""
    work_budget: Positive = _BROKER.work_budget
    """Messages routed for one connection before the others have their turn."""
    memory_mark: Annotated[str, _reads(_mark)] = "50%"
    """Memory taken by messages from which on producers wait: a size, a share of all, ``none``."""

    def memory_octets(self) -> int | None:
        """Return the octets of ``memory_mark``, None for no mark."""
        if self.memory_mark == "none":
            return None
        if self.memory_mark.endswith("%"):
            return memory.available() * int(self.memory_mark[:-1]) // _WHOLE
        return size(self.memory_mark)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.outbox_high < self.outbox_low:
            raise _contradiction(
                "outbox-high", show_size(self.outbox_high), "outbox-low", show_size(self.outbox_low)
            )
        return self


class VirtualHostSettings(_Table):
    """The hosts that a CONNECT may name; each has its own destinations."""

    names: Annotated[tuple[Text, ...], BeforeValidator(several)] = _BROKER.virtual_hosts
    """The first is the one for clients that name none."""
    strict: Switch = _BROKER.strict_hosts
    """Refuse a host that is not in ``names``; otherwise the first is used."""

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.names:
            raise PydanticCustomError(
                "refused", "there must be one name at least", {"key": "names"}
            )
        return self


class VirtualTopicSettings(_Table):
    """Topics whose messages are copied into queues, one for each group of consumers."""

    topics: Annotated[tuple[Annotated[str, _reads(_topics)], ...], BeforeValidator(several)] = (
        _BROKER.virtual_topics.topics
    )
    """Patterns of such topics; without any there are none."""
    queues: Annotated[str, _reads(_consumers)] = _BROKER.virtual_topics.queues
    """The queue of a group: ``{group}`` is one word, ``{topic}`` the name of the topic."""


class RouteSettings(_Table):
    """Where else a message goes that is sent to what ``match`` fits."""

    name: Text
    """What the route is called in lists."""
    match: Annotated[str, _reads(_source)]
    """A destination or a pattern; of an exchange also without a key, for all of it."""
    to: Annotated[tuple[Text, ...], BeforeValidator(several)]
    """Where to; may hold ``{name}``, and ``{1}`` for the first wildcard of ``match``."""
    when: Annotated[str | None, _reads(_selector)] = None
    """A selector: only the messages of which it is true."""
    move: Switch = False
    """Not to the destination that it was sent to as well."""

    def route(self) -> Route:
        """Return the broker's form of it."""
        return Route(self.name, self.match, self.to, self.when, self.move)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            Router([self.route()])
        except RemoteProtocolError as error:
            raise PydanticCustomError(
                "refused", "{reason}", {"key": "to", "reason": error.detail}
            ) from error
        return self


def _together(routes: tuple[RouteSettings, ...]) -> tuple[RouteSettings, ...]:
    """Refuse a route that closes a loop with those before it, or has the name of one."""
    try:
        Router(route.route() for route in routes)
    except RemoteProtocolError:
        pass
    else:
        return routes
    # One after the other, to say which of them it is.
    router = Router()
    for index, route in enumerate(routes):
        try:
            router = router.added(route.route())
        except RemoteProtocolError as error:
            key = "name" if error.message == "route name in use" else "to"
            raise PydanticCustomError(
                "refused", "{reason}", {"key": (index, key), "reason": error.detail}
            ) from error
    return routes


class PolicySettings(_Table):
    """How destinations behave whose name fits ``match``; the first policy that fits is the one."""

    match: Annotated[str, _reads(_pattern)]
    """A destination, or a pattern with ``*`` for a word and ``#`` for any number of words."""
    prefetch_count: Count | None = None
    """Messages delivered and not yet acknowledged, for each subscription; 0 is no limit."""
    prefetch_bytes: Size | None = None
    """Octets delivered and not yet acknowledged, for each subscription; 0 is no limit."""
    max_deliveries: Count | None = None
    """Attempts after which a message becomes a dead letter; 0 is no limit."""
    dead_letter: Annotated[str | None, _reads(_dead_letter)] = None
    """The queue of dead letters; ``{name}`` is the queue's name, ``none`` drops them."""
    max_messages: Count | None = None
    """Messages in the queue; 0 is no limit."""
    max_bytes: Size | None = None
    """Octets in the queue; 0 is no limit."""
    overflow: Annotated[
        Literal["block", "reject", "drop-head"] | None, _choice("block", "reject", "drop-head")
    ] = None
    """What a full queue does with one more message."""
    max_age: Duration | None = None
    """How long a message may wait, whatever its sender says; 0 is no limit."""
    expired: Annotated[Literal["drop", "dead-letter"] | None, _choice("drop", "dead-letter")] = None
    """What becomes of a message that waited too long."""
    redelivery_delay: Duration | None = None
    """How long a message rests after a NACK before it is delivered again."""
    redelivery_multiplier: Factor | None = None
    """By what that grows with every further attempt."""
    redelivery_ceiling: Duration | None = None
    """The longest that it becomes."""
    dedup_window: Duration | None = None
    """How long a ``dedup-id`` is remembered."""
    dedup_ids: Positive | None = None
    """How many of them are remembered for one destination."""
    auto_delete_after: Duration | None = None
    """Idle time after which an empty queue without subscribers goes; 0 keeps it."""
    slow_consumer: Annotated[
        Literal["close", "drop-oldest", "block"] | None, _choice("close", "drop-oldest", "block")
    ] = None
    """What happens to a subscriber of a topic that stays behind for longer than its grace."""
    slow_consumer_grace: Duration | None = None
    """How long producers are paced before that."""
    window_messages: Positive | None = None
    """Messages of a queue held in memory."""
    window_bytes: Size | None = None
    """Octets of a queue held in memory."""
    persistent: Switch | None = None
    """Whether a message is persistent whose sender does not say."""

    def rule(self) -> broker.PolicyRule:
        """Return the broker's form of it: what is absent or 0 becomes what the broker does then."""
        given = {name: value for name, value in self if name != "match" and value is not None}
        for name in ("max_messages", "max_bytes", "max_age", "auto_delete_after"):
            if given.get(name) == 0:
                given[name] = None
        if given.get("dead_letter") == "none":
            given["dead_letter"] = None
        return broker.PolicyRule(self.match, broker.Policy(**given))


class StoreSettings(_Table):
    """Where messages are kept that outlive stompd."""

    engine: Annotated[Literal["sqlite", "memory"], _choice("sqlite", "memory")] = "sqlite"
    """``sqlite`` keeps messages in a file, ``memory`` nowhere: they are lost on stop."""
    path: Annotated[Path, _reads(_directory), _SHOWN_AS_DIRECTORY] = Field(
        default_factory=state_directory
    )
    """The directory of that file; built-in is ``stompd`` in ``$XDG_STATE_HOME`` if that is set."""
    wait: Duration = 0.0
    """How long a start waits for another stompd to let go of that directory."""
    commit_interval: Duration = 0.05
    """How long a write that nobody waits for may wait for others."""
    pending: Size = 64 * MIB
    """Octets waiting to be written from which on producers of persistent messages wait."""
    min_free: Size = 64 * MIB
    """Free space on the disk below which persistent messages are refused."""
    cache: Size = 16 * MIB
    """Memory in which pages of the file are kept."""


class TlsSettings(_Table):
    """Listeners whose connections are encrypted."""

    listen: Annotated[
        tuple[Annotated[Address, _reads(address), _SHOWN_AS_TEXT], ...], BeforeValidator(several)
    ] = ()
    """Addresses for STOMP over TLS; 61614 is the usual port."""
    certificate: File = None
    """The file of the certificate, and those that lead to its authority, in PEM."""
    key: File = None
    """The file of its key, if that is not in the same."""
    client: Annotated[
        Literal["none", "optional", "required"], _choice("none", "optional", "required")
    ] = "none"
    """Whether clients are asked for a certificate, and refused without one."""
    client_ca: File = None
    """The file of the authorities whose certificates of clients are good."""
    minimum: Annotated[Literal["1.2", "1.3"], _choice("1.2", "1.3")] = "1.2"
    """The oldest version of TLS that is spoken."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.listen and self.certificate is None:
            raise PydanticCustomError(
                "refused",
                "is missing: TLS needs a certificate",
                {"key": "certificate"},
            )
        if self.client != "none" and self.client_ca is None:
            raise PydanticCustomError(
                "refused",
                "is missing: it says whose certificates of clients are good",
                {"key": "client-ca"},
            )
        return self


class QuotaSettings(_Table):
    """What each user, address or virtual host may take; of each kind the first that fits counts."""

    per: Annotated[Literal["user", "address", "vhost"], _choice("user", "address", "vhost")]
    """``user``, ``address`` or ``vhost``: what is counted together."""
    match: Text = EVERYBODY
    """Which: a user or ``@`` and a group, an address or network, a virtual host; ``*`` is each."""
    connections: Positive | None = None
    """Connections that are logged in; one more gets an ERROR."""
    subscriptions: Positive | None = None
    """Subscriptions of all its connections; one more gets an ERROR."""
    message_rate: Positive | None = None
    """Messages that are taken in a second; who sends more is not read from meanwhile."""
    byte_rate: Size | None = None
    """Octets that are taken in a second, those of all frames; likewise."""
    backlog: Size | None = None
    """Octets of its messages that queues hold; while there are so many or more, SENDs wait."""
    backlog_messages: Positive | None = None
    """Messages of its own that queues hold; likewise."""

    def rule(self) -> QuotaRule:
        """Return the broker's form of it."""
        return QuotaRule(**dict(self))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.rule()
        except ValueError as error:
            key = "byte-rate" if "rate" in str(error) else "match"
            raise PydanticCustomError(
                "refused", "{reason}", {"key": key, "reason": str(error)}
            ) from error
        return self


class UserSettings(_Table):
    """Who may log in; docs/security.md explains. Without any of it there are no users."""

    file: File = None
    """The users file that ``stompd passwd`` makes; empty: none."""
    hashing: Positive = 1
    """Passcodes that are checked at the same time; each takes 64 MiB and a processor."""
    waiting: Positive = 100
    """Log-ins that wait for that; one more gets an ERROR."""
    authenticator: OptionalText = ""
    """Python that decides in place of all this, as ``module:attribute``; empty: none."""
    rights: File = None
    """A file of rules, which come behind those of ``[[rights]]``; empty: none."""
    remember: Duration = 300.0
    """How long a passcode that was right is let in again without being checked."""


class TokenSettings(_Table):
    """JSON Web Tokens as passcodes; docs/security.md explains. Without ``keys`` there are none."""

    keys: File = None
    """The file with what signs them: a public key in PEM, a JWK or JWKS, a secret; empty: none."""
    algorithms: Annotated[tuple[Annotated[str, _algorithm()], ...], BeforeValidator(several)] = ()
    """How they may be signed: ``RS256``, ``ES256``, ``HS256`` and so on."""
    audience: OptionalText = ""
    """What their ``aud`` has to name: one for another service is not for stompd."""
    issuer: OptionalText = ""
    """What their ``iss`` has to be; empty: anything."""
    user_claim: Text = "sub"
    """What names the user."""
    groups_claim: OptionalText = ""
    """What names the user's groups, ``admin`` included; empty: a token brings no groups."""
    leeway: Duration = 0.0
    """By how much the clocks of stompd and of who signs may differ."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for key in ("algorithms", "audience") if self.keys else ():
            if not getattr(self, key):
                raise PydanticCustomError(
                    "refused", "has to be set where there are keys", {"key": key}
                )
        return self


class CertificateSettings(_Table):
    """Which client certificates are users; the first table that fits is the one."""

    subject: OptionalText = ""
    """Attributes that the subject has to have: ``O=Example,OU=apps``; empty: any."""
    user: Text = "{CN}"
    """How the user is called; may hold ``{CN}`` and other attributes."""
    groups: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The user's groups, ``admin`` included."""

    def rule(self) -> CertificateRule:
        """Return what certificates are held against."""
        return CertificateRule(self.subject, self.user, self.groups)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.rule()
        except ValueError as error:
            raise PydanticCustomError(
                "refused", "{reason}", {"key": "subject", "reason": str(error)}
            ) from error
        return self


class RightSettings(_Table):
    """Allows or denies rights; of the rules that concern somebody the first one decides."""

    allow: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The rights that it gives; ``all`` is all of them."""
    deny: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """The rights that it takes; a rule has either ``allow`` or ``deny``."""
    who: Annotated[tuple[Text, ...], BeforeValidator(several)]
    """Whose: users, groups with an ``@`` before them, or ``*`` for everybody."""
    on: Annotated[tuple[Text, ...], BeforeValidator(several)] = (ALL,)
    """Destinations or patterns; may hold ``{user}``; ``#`` is everything."""
    vhost: Text | None = None
    """In this virtual host only."""

    def rules(self) -> list[Rule]:
        """Return the broker's form of it."""
        return [
            Rule(bool(self.allow), who, rights_of(self.allow or self.deny), on, self.vhost)
            for who in self.who
            for on in self.on
        ]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if bool(self.allow) == bool(self.deny):
            key, reason = "allow", "there has to be either allow or deny"
        elif not self.who or not self.on:
            key, reason = "on" if self.who else "who", "there must be one at least"
        else:
            try:
                self.rules()
            except ValueError as error:
                key, reason = _key_of(str(error)), str(error)
            else:
                return self
        raise PydanticCustomError("refused", "{reason}", {"key": key, "reason": reason})


class HttpSettings(_Table):
    """The port for browsers, monitoring and scripts: console, WebSocket, API, metrics, health."""

    listen: Annotated[
        tuple[Annotated[Address, _reads(address), _SHOWN_AS_TEXT], ...],
        BeforeValidator(_nowhere_or_several),
    ] = (Address("127.0.0.1", 61680),)
    """Addresses for HTTP; port 0 takes a free one, ``off`` is none."""
    tls: Switch = False
    """Encrypt all of it, as https and wss, by certificate and settings of ``[tls]``."""
    origins: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """Origins of pages that may use it besides the console: ``https://shop.example``, or ``*``."""
    hosts: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """Names that it may be called by while nobody has to log in, besides addresses, localhost."""
    connections: Positive = 1000
    """Connections open at once; one more is closed."""
    idle: Duration = 30.0
    """How long one may have no request, or its head in part, or not read what it is answered."""
    max_message: Size = 16 * MIB
    """Octets in one WebSocket message that comes in, and in the body of a request."""
    metrics_destinations: Count = 100
    """Destinations that ``/metrics`` tells of by name; the others are told together."""
    metrics_open: Switch = False
    """Let everybody read ``/metrics``, without the right to monitor."""
    console: Switch = True
    """Serve the console at ``/``."""


class LogSettings(_Table):
    """What stompd writes to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _choice("debug", "info", "warning", "error"),
    ] = "info"
    """The least important entries that are written."""
    format: Annotated[Literal["text", "json"], _choice("text", "json")] = "text"
    """Lines for people, or a JSON object a line."""
    audit: File = None
    """A file for failed log-ins, refusals and what was changed, or ``stderr``; empty: none."""


class Settings(_Table):
    """Everything that can be set; each key is described in ``docs/configuration.md``."""

    listen: Annotated[
        tuple[Annotated[Address, _reads(address), _SHOWN_AS_TEXT], ...], BeforeValidator(several)
    ] = (Address("127.0.0.1", 61613),)
    """Addresses for STOMP over TCP; port 0 takes a free one."""
    unix: Annotated[
        tuple[Annotated[Path, _reads(_socket_path)], ...], BeforeValidator(several)
    ] = ()
    """Paths of Unix sockets for STOMP."""
    proxies: Annotated[
        tuple[Annotated[IPv4Network | IPv6Network, _reads(_network), _SHOWN_AS_TEXT], ...],
        BeforeValidator(several),
    ] = ()
    """Addresses of proxies that say for whom they connect, by the PROXY protocol."""
    reuse_port: Switch = False
    """Let other processes listen on the same addresses, such as the next version of stompd."""
    allow_anonymous: Switch = False
    """Let in who gives no login, from other machines as well, whether there are users or not."""
    trailing_newline: Switch = _BROKER.trailing_newline
    """Write a line feed after the NUL of each frame, so that telnet and nc show one per line."""
    telnet_hints: Switch = True
    """Understand telnet's control sequences and answer typing mistakes at the end of the line."""
    implicit_begin: Switch = _BROKER.implicit_begin
    """Let a SEND or ACK in an unknown transaction begin it, as some clients rely on."""
    tls: TlsSettings = TlsSettings()
    limits: LimitSettings = LimitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    heart_beat: HeartBeatSettings = HeartBeatSettings()
    flow: FlowSettings = FlowSettings()
    virtual_hosts: VirtualHostSettings = VirtualHostSettings()
    virtual_topics: VirtualTopicSettings = VirtualTopicSettings()
    policy: tuple[PolicySettings, ...] = ()
    route: Annotated[tuple[RouteSettings, ...], AfterValidator(_together)] = ()
    users: UserSettings = UserSettings()
    tokens: TokenSettings = TokenSettings()
    certificate: tuple[CertificateSettings, ...] = ()
    rights: tuple[RightSettings, ...] = ()
    limit: tuple[QuotaSettings, ...] = ()
    store: StoreSettings = Field(default_factory=StoreSettings)
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _one_who_decides(self) -> Self:
        if self.users.authenticator and (self.users.file or self.tokens.keys or self.certificate):
            raise PydanticCustomError(
                "refused",
                "decides alone, so there can be no users.file, tokens.keys or [[certificate]]",
                {"key": ("users", "authenticator")},
            )
        return self

    @model_validator(mode="after")
    def _somewhere_to_listen(self) -> Self:
        if not self.listen and not self.unix and not self.tls.listen:
            raise PydanticCustomError(
                "refused", "there is no address and no unix socket to listen on", {"key": "listen"}
            )
        return self

    def for_broker(self, server: str, rights: Rights | None = None) -> broker.Settings:
        """Return what the broker itself needs to know.

        ``server`` is its name in CONNECTED, ``rights`` are what `stompd.server.accounts` makes of
        the rules; None if there are neither users nor rules.
        """
        return broker.Settings(
            server=server,
            limits=self.limits.of_sessions(),
            heart_beat=broker.HeartBeat(
                minimum=round(self.heart_beat.minimum * 1000),
                default=round(self.heart_beat.default * 1000),
                tolerance=self.heart_beat.tolerance,
                grace=self.heart_beat.grace,
            ),
            policies=broker.Policies([policy.rule() for policy in self.policy]),
            outbox_high=self.flow.outbox_high,
            outbox_low=self.flow.outbox_low,
            work_budget=self.flow.work_budget,
            trailing_newline=self.trailing_newline,
            implicit_begin=self.implicit_begin,
            virtual_hosts=self.virtual_hosts.names,
            strict_hosts=self.virtual_hosts.strict,
            memory_mark=self.flow.memory_octets(),
            routes=tuple(route.route() for route in self.route),
            virtual_topics=VirtualTopics(self.virtual_topics.topics, self.virtual_topics.queues),
            quotas=tuple(table.rule() for table in self.limit),
            rights=rights,
        )

    def has_users(self) -> bool:
        """Return whether somebody is configured who could log in."""
        return bool(
            self.users.file or self.users.authenticator or self.tokens.keys or self.certificate
        )

    def exposed(self) -> tuple[Address, ...]:
        """Return the addresses that other machines can reach although nobody has to log in."""
        if self.allow_anonymous or self.has_users():
            return ()
        every = (*self.listen, *self.tls.listen, *self.http.listen)
        return tuple(address for address in every if not address.is_loopback())


def _key_of(reason: str) -> str:
    """Return the key of a rule that a sentence about it concerns."""
    if "for whom" in reason:
        return "who"
    return "allow" if "right" in reason else "on"


def _contradiction(high: str, high_value: str, low: str, low_value: str) -> PydanticCustomError:
    return PydanticCustomError(
        "refused",
        "{high_value} is less than {low} ({low_value})",
        {"key": high, "high_value": high_value, "low": low, "low_value": low_value},
    )
