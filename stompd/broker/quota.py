"""What a user, an address or a virtual host may take: connections, subscriptions, rates, a backlog.

Who has as many connections or subscriptions as it may have gets ERROR for one more. A rate is kept
by not reading: a bucket holds what may come within a second, and is filled as time goes by; when it
is empty the session waits. While queues hold as many messages as it may have there, SENDs wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final, Literal

from stompd.broker.alarm import LOOK
from stompd.broker.destination import ADMIN
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stompd.broker.broker import Broker
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session
    from stompd.protocol.frame import Frame

Per = Literal["user", "address", "vhost"]

EVERYBODY: Final = "*"

# So many that nobody uses are kept: those of them that have to be filled again.
_UNUSED: Final = 1000


@dataclass(frozen=True)
class QuotaRule:
    """What each of those may take that it matches; raises `ValueError` if it cannot be."""

    per: Per
    # A user, `@` and a group; an address or a network; a virtual host; `*` for each of them.
    match: str = EVERYBODY
    connections: int | None = None
    subscriptions: int | None = None
    # Messages and octets that come in a second.
    message_rate: float | None = None
    byte_rate: float | None = None
    # Octets of its messages in queues, and messages.
    backlog: int | None = None
    backlog_messages: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would never apply."""
        if self.per == "address" and self.match != EVERYBODY:
            ip_network(self.match)
        if 0 in (self.message_rate, self.byte_rate):
            raise ValueError("a rate of 0 would let nothing through")

    @property
    def waits(self) -> bool:
        """True if there is a limit to what waits in queues."""
        return self.backlog is not None or self.backlog_messages is not None

    def fits(self, session: Session) -> bool:
        """Return whether it is for a session that has logged in."""
        match = self.match
        if match == EVERYBODY:
            return True
        if self.per == "vhost":
            return match == session.host.name
        if self.per == "user":
            principal = session.principal
            return match[1:] in principal.groups if match[0] == "@" else match == principal.name
        try:
            return ip_address(session.address) in ip_network(match)
        except ValueError:
            # A Unix socket.
            return False


class _Bucket:
    """Holds what may come now, of messages or octets."""

    __slots__ = ("_at", "level", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.level = self.burst
        self._at = now

    @property
    def burst(self) -> float:
        """What it holds at most; of a rate below one a second, one."""
        return max(self.rate, 1.0)

    def fill(self, now: float) -> None:
        """Put in what has come together up to now."""
        self.level = min(self.burst, self.level + (now - self._at) * self.rate)
        self._at = now

    @property
    def wait(self) -> float:
        """Return for how many seconds nothing more may come."""
        return max(0.0, (1.0 - self.level) / self.rate)


class Quota:
    """What one user, address or virtual host takes of what it may take."""

    __slots__ = (
        "blocked",
        "connections",
        "messages",
        "name",
        "octets",
        "over",
        "paces",
        "rule",
        "subject",
        "subscriptions",
    )

    def __init__(self, rule: QuotaRule, subject: str, name: str, now: float) -> None:
        self.rule = rule
        self.subject = subject
        # For people: whose it is.
        self.name = name
        self.connections = 0
        self.subscriptions = 0
        self.messages = None if rule.message_rate is None else _Bucket(rule.message_rate, now)
        self.octets = None if rule.byte_rate is None else _Bucket(rule.byte_rate, now)
        self.paces = bool(self.messages or self.octets) or rule.waits
        # True while queues hold more than they may.
        self.over = False
        # Sessions that wait for it.
        self.blocked: set[Session] = set()

    def __repr__(self) -> str:
        return (
            f"<Quota {self.name} connections={self.connections} subscriptions={self.subscriptions}>"
        )

    def afford(self, frames: Sequence[Frame], session: Session) -> int:
        """Return how many of the frames may be carried out now.

        One at least, unless the next is a SEND and there is too much already.
        """
        now = session.broker.now
        messages = octets = float("inf")
        if self.messages is not None:
            self.messages.fill(now)
            messages = self.messages.level
        if self.octets is not None:
            self.octets.fill(now)
            octets = self.octets.level
        for number, (head, body) in enumerate(frames):
            if number and (messages < 1 or octets < 1):
                return number
            if head.command == "SEND":
                if self.over and _adds(session, head.get("destination") or ""):
                    return number
                messages -= 1
            octets -= len(head.block) + len(body)
        return len(frames)

    def charge(self, frames: Sequence[Frame]) -> float:
        """Count frames that were carried out; return how long nothing more may come, in seconds."""
        wait = 0.0
        if self.messages is not None:
            self.messages.level -= sum(head.command == "SEND" for head, _ in frames)
            wait = self.messages.wait
        if self.octets is not None:
            self.octets.level -= sum(len(head.block) + len(body) for head, body in frames)
            wait = max(wait, self.octets.wait)
        return wait

    def spent(self, now: float) -> bool:
        """Return whether nobody uses it, and nothing would be forgotten with it."""
        for bucket in filter(None, (self.messages, self.octets)):
            bucket.fill(now)
            if bucket.level < bucket.burst:
                return False
        return not self.connections

    def release_in(self, wait: float, session: Session) -> None:
        """Have a session go on after so many seconds."""
        broker = session.broker
        if wait <= LOOK:
            broker.at(broker.now + wait, partial(self.release, session))
        elif not session.over:
            broker.at(broker.now + LOOK, partial(self.release_in, wait - LOOK, session))

    def release(self, session: Session) -> None:
        """Have a session go on."""
        self.blocked.discard(session)
        if self in session.paused_by:
            session.paused_by.discard(self)
            # Nothing was read meanwhile, so silence means nothing.
            session.heard_at = session.broker.now
            session.resume_reading()


def _adds(session: Session, destination: str) -> bool:
    """Return whether a SEND is not one of those that make room, or ask what is going on."""
    return session.patient and not session.owners and not destination.startswith(ADMIN)


class Quotas:
    """All that are in use; belongs to the broker."""

    __slots__ = ("_broker", "_quotas", "counts")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # True if queues count whose messages they hold.
        self.counts = self._has_to_count()
        self._quotas: dict[tuple[QuotaRule, str], Quota] = {}

    def __len__(self) -> int:
        return len(self._quotas)

    def of(self, session: Session) -> list[Quota]:
        """Return those of a session that has logged in: of each kind the first that fits."""
        found = []
        kinds = set()
        for rule in self._broker.settings.quotas:
            if rule.per not in kinds and rule.fits(session):
                kinds.add(rule.per)
                found.append(self._quota(rule, session))
        return found

    def _quota(self, rule: QuotaRule, session: Session) -> Quota:
        if rule.per == "user":
            subject = session.principal.name or ""
            name = f"user {shown(subject)}" if subject else "anonymous users"
        elif rule.per == "address":
            subject = session.address
            name = f"address {subject}"
        else:
            subject = session.host.name
            name = f"virtual host {shown(subject)}"
        quota = self._quotas.get((rule, subject))
        if quota is None:
            if len(self._quotas) >= _UNUSED:
                now = self._broker.now
                self._quotas = {k: q for k, q in self._quotas.items() if not q.spent(now)}
            quota = self._quotas[rule, subject] = Quota(rule, subject, name, self._broker.now)
        return quota

    def admit(self, session: Session) -> None:
        """Count a session that has logged in; raise `RemoteProtocolError` if it is one too many."""
        found = self.of(session)
        for quota in found:
            most = quota.rule.connections
            if most is not None and quota.connections >= most:
                raise RemoteProtocolError("too many connections", f"{quota.name} may have {most}")
        self._join(session, found)

    def _has_to_count(self) -> bool:
        return any(rule.waits and rule.per != "vhost" for rule in self._broker.settings.quotas)

    @staticmethod
    def _join(session: Session, found: list[Quota]) -> None:
        session.quotas = tuple(found)
        session.paced = tuple(quota for quota in found if quota.paces)
        counted = any(quota.rule.waits and quota.rule.per != "vhost" for quota in found)
        session.sender = (session.principal.name or "", session.address) if counted else None
        for quota in found:
            quota.connections += 1
            quota.subscriptions += len(session.subscriptions)

    @staticmethod
    def leave(session: Session) -> None:
        """Count a session no more."""
        for quota in session.quotas:
            quota.connections -= 1
            quota.subscriptions -= len(session.subscriptions)
            quota.blocked.discard(session)
        session.quotas = session.paced = ()
        session.sender = None

    def reconfigure(self) -> None:
        """Take the rules of the settings; who has more than it may keeps it."""
        for session in self._broker.sessions.values():
            if session.quotas or session.logged_in:
                for quota in session.quotas:
                    quota.release(session)
                self.leave(session)
                self._join(session, self.of(session))
        if not self.counts and self._has_to_count():
            self.counts = True
            for queue in self._queues():
                queue.count_senders()
        rules = self._broker.settings.quotas
        self._quotas = {key: quota for key, quota in self._quotas.items() if key[0] in rules}
        self.look()

    def _queues(self) -> Iterator[Queue]:
        """Yield all queues of all virtual hosts."""
        for host in self._broker.hosts:
            yield from host.all_queues()

    def look(self) -> None:
        """See which of them have more in queues than they may."""
        waiting = [quota for quota in self._quotas.values() if quota.rule.waits]
        if not waiting:
            return
        held = self._held()
        for quota in waiting:
            rule = quota.rule
            count, octets = held.get((rule.per, quota.subject), (0, 0))
            quota.over = (rule.backlog is not None and octets >= rule.backlog) or (
                rule.backlog_messages is not None and count >= rule.backlog_messages
            )
            if not quota.over:
                for session in list(quota.blocked):
                    quota.release(session)

    def _held(self) -> dict[tuple[Per, str], tuple[int, int]]:
        """Return how many messages queues hold, and octets, of whom that is asked for."""
        held: dict[tuple[Per, str], tuple[int, int]] = {}

        def add(per: Per, subject: str, count: int, octets: int) -> None:
            before = held.get((per, subject), (0, 0))
            held[per, subject] = before[0] + count, before[1] + octets

        for queue in self._queues():
            add("vhost", queue.host.name, queue.count, queue.octets)
            if queue.owed and not queue.count:
                # Whatever was counted wrongly ends here.
                queue.owed.clear()
            for (user, address), (count, octets) in queue.owed.items():
                add("user", user, count, octets)
                add("address", address, count, octets)
        return held


def affordable(session: Session, frames: Sequence[Frame]) -> Sequence[Frame]:
    """Return those of the frames that a session may have carried out now."""
    if not session.patient:
        return frames
    return frames[: min(quota.afford(frames, session) for quota in session.paced)]


def charge(session: Session, frames: Sequence[Frame], *, left: bool) -> None:
    """Count frames that were carried out; have the session wait if nothing more may come now.

    ``left`` says that there are others, which may not.
    """
    for quota in session.paced:
        wait = quota.charge(frames)
        if session.over or not session.patient:
            continue
        if wait:
            session.paused_by.add(quota)
            quota.release_in(wait, session)
        elif quota.over and left:
            quota.blocked.add(session)
            session.paused_by.add(quota)
    if session.paused:
        session.halt = True
