"""What a peer may cost, and how long stompd waits for it."""

from typing import Final, Self

from pydantic import model_validator

from stompd.broker import policy as broker
from stompd.protocol.decoder import Limits
from stompd.server import memory
from stompd.server.config.values import (
    BROKER,
    WHOLE,
    Count,
    Duration,
    Factor,
    Mark,
    Positive,
    Size,
    Table,
    contradiction,
)
from stompd.server.units import KIB, show_duration, show_size, size

_FRAME: Final = Limits()


class LimitSettings(Table):
    """What one peer may cost; a peer that goes over gets an ERROR that names the limit (LIM-01)."""

    connections: Positive = 20_000
    """Connections open at once; one more gets an ERROR and is closed."""
    connections_per_address: Count = 0
    """Connections open at once from one address; 0 is no limit."""
    logins: Positive = 1000
    """Connections that have not logged in yet."""
    subscriptions: Positive = BROKER.limits.subscriptions
    """Subscriptions of one connection."""
    transactions: Positive = BROKER.limits.transactions
    """Open transactions of one connection."""
    transaction_frames: Positive = BROKER.limits.transaction_frames
    """Frames in one transaction."""
    transaction_bytes: Size = BROKER.limits.transaction_bytes
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
    receipt: Size = BROKER.limits.receipt
    """Octets in the value of a receipt header."""
    subscription_id: Size = BROKER.limits.subscription_id
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


class TimeoutSettings(Table):
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


class HeartBeatSettings(Table):
    """What stompd offers and asks for in heart-beats."""

    minimum: Duration = BROKER.heart_beat.minimum / 1000
    """The shortest period that stompd agrees to."""
    default: Duration = BROKER.heart_beat.default / 1000
    """The period that it names where the client named none."""
    tolerance: Factor = BROKER.heart_beat.tolerance
    """A peer is gone after this many silent periods..."""
    grace: Duration = BROKER.heart_beat.grace
    """...and this much longer."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.default < self.minimum:
            raise contradiction(
                "default", show_duration(self.default), "minimum", show_duration(self.minimum)
            )
        return self


class FlowSettings(Table):
    """How much is kept in memory for one connection, and how much is done in one turn."""

    outbox_high: Size = BROKER.outbox_high
    """Octets waiting to be written from which a connection is given no more messages."""
    outbox_low: Size = BROKER.outbox_low
    """Octets waiting to be written below which it is given messages again."""
    read_size: Size = 256 * KIB
    """Octets read at once."""
    work_budget: Positive = BROKER.work_budget
    """Messages routed for one connection before the others have their turn."""
    memory_mark: Mark = "50%"
    """Memory taken by messages from which on producers wait: a size, a share of all, ``none``."""

    def memory_octets(self) -> int | None:
        """Return the octets of ``memory_mark``, None for no mark."""
        if self.memory_mark == "none":
            return None
        if self.memory_mark.endswith("%"):
            return memory.available() * int(self.memory_mark[:-1]) // WHOLE
        return size(self.memory_mark)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.outbox_high < self.outbox_low:
            raise contradiction(
                "outbox-high", show_size(self.outbox_high), "outbox-low", show_size(self.outbox_low)
            )
        return self
