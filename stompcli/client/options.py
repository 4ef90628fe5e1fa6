"""What a session may be told, and the CONNECT that follows from it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from stompcli.client.errors import UsageError
from stompcli.client.frames import encoded
from stompd.protocol.decoder import Limits
from stompd.protocol.frame import VERSIONS

Trace = Callable[[Literal["<", ">"], bytes], None]


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


@dataclass
class Counters:
    """What a session has seen."""

    messages_sent: int = 0
    messages_received: int = 0
    # MESSAGE frames of subscriptions that were ended before.
    messages_dropped: int = 0
    heartbeats_received: int = 0


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
        pairs = [
            ("accept-version", ",".join(self.offered())),
            ("host", self.virtual_host or host),
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
