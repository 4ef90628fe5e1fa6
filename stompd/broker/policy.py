"""What the broker is told: about destinations, sessions, and itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from stompd.broker.pattern import matches, words_of
from stompd.broker.quota import QuotaRule
from stompd.broker.route import Route
from stompd.broker.virtualtopic import VirtualTopics

if TYPE_CHECKING:
    from stompd.broker.dialect import QueueSettings
    from stompd.broker.message import Message
    from stompd.broker.rights import Rights


@dataclass(frozen=True)
class Policy:
    """How one destination behaves; octets, messages and seconds. None means no limit."""

    # Credit of subscriptions in the explicit modes (0: no limit).
    prefetch_count: int = 1000
    prefetch_bytes: int = 4 * 1024 * 1024
    # Attempts before a message is dead-lettered (0: never).
    max_deliveries: int = 5
    # "{name}" stands for the queue's name without /queue/; None drops instead.
    dead_letter: str | None = "/queue/DLQ.{name}"
    max_messages: int | None = None
    max_bytes: int | None = None
    overflow: Literal["block", "reject", "drop-head"] = "block"
    # Seconds after which a message that waits is expired, whatever its sender said.
    max_age: float | None = None
    # What becomes of a message that is expired.
    expired: Literal["drop", "dead-letter"] = "drop"
    # Seconds that a message which was NACKed waits before it is delivered again, by what that is
    # multiplied for each further attempt, and the most that it becomes.
    redelivery_delay: float = 0.0
    redelivery_multiplier: float = 2.0
    redelivery_ceiling: float = 300.0
    # Seconds for which a dedup-id is remembered, and how many of them.
    dedup_window: float = 600.0
    dedup_ids: int = 100_000
    # Seconds of being empty, unused and without subscribers; None keeps it for ever.
    auto_delete_after: float | None = 300.0
    slow_consumer: Literal["close", "drop-oldest", "block"] = "close"
    slow_consumer_grace: float = 2.0
    # What of a queue is held in memory when the store can keep the rest.
    window_messages: int = 10_000
    window_bytes: int = 64 * 1024 * 1024
    # True if messages are persistent unless their sender says `persistent:false`.
    persistent: bool = False

    def redelivery_after(self, attempts: int) -> float:
        """Return for how many seconds a message rests after so many failed attempts."""
        if not self.redelivery_delay:
            return 0.0
        try:
            factor = self.redelivery_multiplier ** (attempts - 1)
        except OverflowError:
            return self.redelivery_ceiling
        return min(self.redelivery_delay * factor, self.redelivery_ceiling)

    def asked(self, settings: QueueSettings) -> Policy:
        """Return the policy with what a client wants of the queue that it makes.

        As with RabbitMQ, where these headers come from, a full queue drops its oldest message
        unless the client says otherwise, and what expires is a dead letter if they have a place.
        A limit of the policy is only ever lowered, and a queue that it keeps for ever is kept.
        """
        wanted: dict[str, Any] = {}
        if settings.max_messages is not None or settings.max_bytes is not None:
            wanted["max_messages"] = _least(self.max_messages, settings.max_messages)
            wanted["max_bytes"] = _least(self.max_bytes, settings.max_bytes)
            wanted["overflow"] = settings.overflow or "drop-head"
        if settings.message_ttl is not None:
            wanted["max_age"] = _least(self.max_age, settings.message_ttl / 1000)
        if settings.expires is not None and self.auto_delete_after is not None:
            wanted["auto_delete_after"] = settings.expires / 1000
        if settings.dead_letter is not None:
            wanted["dead_letter"] = settings.dead_letter
            wanted["expired"] = "dead-letter"
        return replace(self, **wanted)


def _least(*limits: float | None) -> float | None:
    """Return the lowest of the limits that there are; None if there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def outlives(message: Message, policy: Policy) -> bool:
    """Return whether it is a policy that makes a message persistent: its sender said nothing."""
    return policy.persistent and not message.persistent and message.head.get("persistent") is None


@dataclass(frozen=True)
class PolicyRule:
    """A pattern of destinations (``/queue/orders.#``) and the policy of those that it matches."""

    match: str
    policy: Policy


class Policies:
    """The rules in their order; the first that matches a destination is its policy."""

    __slots__ = ("_words", "default", "rules")

    def __init__(self, rules: Sequence[PolicyRule] = (), default: Policy | None = None) -> None:
        self.rules = tuple(rules)
        # What counts where no rule does.
        self.default = default or Policy()
        self._words = [(words_of(rule.match), rule.policy) for rule in rules]

    def of(self, name: str) -> Policy:
        """Return the policy of the destination ``name``."""
        words = words_of(name)
        for pattern, policy in self._words:
            if matches(pattern, words):
                return policy
        return self.default


@dataclass(frozen=True)
class SessionLimits:
    """What one session may have open at once (LIM-01)."""

    subscriptions: int = 10_000
    transactions: int = 100
    transaction_frames: int = 100_000
    transaction_bytes: int = 64 * 1024 * 1024
    receipt: int = 4096
    subscription_id: int = 255


@dataclass(frozen=True)
class HeartBeat:
    """The server's side of heart-beats: milliseconds, and what of lateness is forgiven."""

    minimum: int = 1000
    default: int = 10_000
    # Silence of `tolerance` periods and `grace` seconds means a dead peer (H-12, H-13).
    tolerance: float = 2.0
    grace: float = 1.0


@dataclass(frozen=True)
class Settings:
    """All that a broker is told at its start and at a reload."""

    server: str = "stompd"
    limits: SessionLimits = SessionLimits()
    heart_beat: HeartBeat = HeartBeat()
    policies: Policies = field(default_factory=Policies)
    # Octets of one outbox: from `high` on nothing more is assigned to it, from `low` on again.
    outbox_high: int = 512 * 1024
    outbox_low: int = 128 * 1024
    # Deliveries that one session may cause before the others get their turn.
    work_budget: int = 2000
    # NUL LF ends a frame, so that a terminal shows the next one on a line of its own.
    trailing_newline: bool = True
    # A SEND, ACK or NACK may name a transaction that nobody began (AMB-39).
    implicit_begin: bool = False
    virtual_hosts: tuple[str, ...] = ("/",)
    strict_hosts: bool = False
    # Octets of all messages from which on producers are not read from; None: no mark.
    memory_mark: int | None = None
    # In their order, in every virtual host.
    routes: tuple[Route, ...] = ()
    virtual_topics: VirtualTopics = field(default_factory=VirtualTopics)
    # What users, addresses and virtual hosts may take; the first that fits, of each kind.
    quotas: tuple[QuotaRule, ...] = ()
    # Who may do what; None while there are neither users nor rules.
    rights: Rights | None = None
