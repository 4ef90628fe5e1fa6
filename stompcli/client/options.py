"""What a session may be told, and the CONNECT that follows from it."""

import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

import trio

from stompcli.client import dialect as dialects
from stompcli.client.dialect import Dialect, DialectName
from stompcli.client.errors import UsageError
from stompcli.client.frames import encoded
from stompcli.client.url import Address
from stompd.protocol.decoder import Limits
from stompd.protocol.frame import VERSIONS

Trace = Callable[[Literal["<", ">"], bytes], None]
Confirm = Literal["await", "window", "none"]
Dial = Callable[[Address], Awaitable[trio.abc.Stream]]
Inject = Callable[[str, Mapping[str, str]], Mapping[str, str] | None]
Extract = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True)
class Reconnect:
    """How a lost connection is made again.

    In rounds: each tries every URL once, and before each there is a pause that grows. An address
    that refuses the login three times is left out until another one lets us in.
    """

    # Seconds before the first round, the factor from pause to pause, and the longest pause.
    first: float = 0.1
    factor: float = 2.0
    longest: float = 10.0
    # The part of a pause that is left to chance, so that many clients do not come all at once.
    jitter: float = 0.5
    # Rounds after which to give up, and seconds; None: never.
    rounds: int | None = None
    patience: float | None = None
    # Whether the very first connection is tried in this way, too; else it is one round.
    at_start: bool = False
    # Seconds that a connection has to last for the next loss to count as a new one.
    steady: float = 10.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.longest < self.first or self.factor < 1:
            raise UsageError("pauses between attempts must not be negative, nor become shorter")
        if not 0 <= self.jitter <= 1:
            raise UsageError("jitter is a part of the pause, between 0 and 1")


class Options(TypedDict, total=False):
    """What a session may be told; every one of them may be left out."""

    # None: the broker is not told who we are (C-12).
    login: str | None
    passcode: str | None
    # CONNECT's host header; None: the name used for the socket (C-10).
    virtual_host: str | None
    # The versions to offer; the broker takes the best one (C-19).
    versions: Collection[str]
    # Milliseconds: the shortest interval that we keep, and the one that we want; 0 for none.
    heartbeat: tuple[int, int]
    # Further headers of CONNECT, such as client-id.
    headers: Mapping[str, str] | None
    # STOMP instead of CONNECT cannot reach 1.0 brokers, but is not mistaken for HTTP (C-06, C-07).
    command: Literal["CONNECT", "STOMP"]
    # Seconds for reaching the broker and being let in.
    timeout: float
    # Seconds to wait for any receipt; None: for ever.
    receipt_timeout: float | None
    # Messages, and octets of bodies, that may wait to be taken before reading stops.
    buffer_messages: int
    buffer_octets: int
    # What one frame of the broker may measure.
    limits: Limits
    # Told every chunk of octets that came (<) or goes (>).
    trace: Trace | None
    # Whether, and how, a lost connection is made again; None: if there are several URLs.
    reconnect: bool | Reconnect | None
    # What a send() waits for: its receipt; room among the unconfirmed; nothing of the kind.
    # None: "window" if the client reconnects, else "none".
    confirm: Confirm | None
    # Messages, and octets of bodies, that may be sent and not confirmed.
    window: int
    window_octets: int
    # Whether each SEND that is kept until it is confirmed has an id by which the broker drops the
    # second of two.
    dedup: bool
    # How the broker spells what STOMP leaves to it; "auto": see what its CONNECTED says.
    dialect: DialectName
    # Is told the destination and headers of every SEND, and may return further headers.
    inject: Inject | None
    # Is told the headers of every message, in the task that takes it.
    extract: Extract | None
    # For stomp+ssl://: who signs the broker's certificate, in place of the system's authorities;
    # the program's own certificate and key; whether to believe anybody; or all of it in a context.
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    insecure: bool
    ssl_context: ssl.SSLContext | None
    # Opens the stream to an address, in place of TCP and Unix sockets.
    dial: Dial | None


@dataclass
class Counters:
    """What a session has seen."""

    messages_sent: int = 0
    messages_received: int = 0
    # SENDs that were sent again by a new connection, since the old one had not confirmed them.
    messages_repeated: int = 0
    # MESSAGE frames of subscriptions that were ended before.
    messages_dropped: int = 0
    # Messages that waited when their connection broke, or were processed too late to say so; the
    # broker delivers them again.
    messages_stale: int = 0
    heartbeats_received: int = 0
    # Connections that were made after the first.
    reconnects: int = 0


@dataclass(frozen=True)
class Settings:
    """The `Options` with their defaults."""

    login: str | None = None
    passcode: str | None = None
    virtual_host: str | None = None
    versions: Collection[str] = VERSIONS
    heartbeat: tuple[int, int] = (10_000, 10_000)
    headers: Mapping[str, str] | None = None
    command: Literal["CONNECT", "STOMP"] = "CONNECT"
    timeout: float = 30.0
    receipt_timeout: float | None = 30.0
    buffer_messages: int = 1000
    buffer_octets: int = 4 * 2**20
    limits: Limits = field(default_factory=Limits)
    trace: Trace | None = None
    reconnect: bool | Reconnect | None = None
    confirm: Confirm | None = None
    window: int = 1000
    window_octets: int = 4 * 2**20
    dedup: bool = False
    dialect: DialectName = "auto"
    inject: Inject | None = None
    extract: Extract | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure: bool = False
    ssl_context: ssl.SSLContext | None = None
    dial: Dial | None = None

    def __post_init__(self) -> None:
        dialects.named(self.dialect)
        if self.confirm not in (None, "await", "window", "none"):
            raise UsageError(f'confirm is "await", "window" or "none", not "{self.confirm}"')
        if self.window < 1 or self.window_octets < 1:
            raise UsageError("a window has room for one message at least")

    def dialect_of(self, server: str) -> Dialect:
        """Return the dialect of a broker that calls itself so in CONNECTED."""
        return dialects.named(self.dialect) or dialects.spoken_by(server)

    def reconnection(self, addresses: int) -> Reconnect | None:
        """Return how a lost connection is made again, None if it is not."""
        wanted = addresses > 1 if self.reconnect is None else self.reconnect
        if isinstance(wanted, bool):
            return Reconnect() if wanted else None
        return wanted

    def to(self, address: Address) -> "Settings":
        """Return these settings, with what the address says and they do not."""
        return replace(
            self,
            login=address.login if self.login is None else self.login,
            passcode=address.passcode if self.passcode is None else self.passcode,
            virtual_host=self.virtual_host or address.virtual_host,
        )

    def offered(self) -> list[str]:
        """Return the versions to offer in increasing order (C-19)."""
        wanted = set(self.versions)
        unknown = wanted.difference(VERSIONS)
        if unknown or not wanted:
            raise UsageError(
                f"versions must be some of {', '.join(VERSIONS)}"
                + (f", not {', '.join(sorted(unknown))}" if unknown else "")
            )
        return sorted(wanted)

    def connect_frame(self, host: str) -> bytes:
        """Return the CONNECT frame (FH-01)."""
        cx, cy = self.heartbeat
        if cx < 0 or cy < 0:
            raise UsageError("heart-beats are milliseconds, 0 or more")
        spoken = dialects.named(self.dialect)
        pairs = [
            ("accept-version", ",".join(self.offered())),
            ("host", self.virtual_host or (spoken.host if spoken else None) or host),
        ]
        if self.login is not None:
            pairs.append(("login", self.login))
        if self.passcode is not None:
            pairs.append(("passcode", self.passcode))
        pairs.append(("heart-beat", f"{cx},{cy}"))
        extra = dict(self.headers or {})
        taken = {name for name, _ in pairs}.intersection(extra)
        if taken:
            raise UsageError(f"CONNECT's {min(taken)} has an option of its own")
        return encoded(self.command, [*pairs, *extra.items()], version=VERSIONS[-1])
