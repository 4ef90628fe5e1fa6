"""The whole: sessions, virtual hosts, the store, and what is due when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from stompd.broker.admin.door import AdminDoor
from stompd.broker.admin.statistics import tell_statistics
from stompd.broker.bygone import Bygone
from stompd.broker.event import publish
from stompd.broker.memory import MemoryMark
from stompd.broker.policy import Settings
from stompd.broker.quota import Quotas
from stompd.broker.restore import Loading, persist, restore
from stompd.broker.room import StoreRoom
from stompd.broker.sample import PERIOD, look
from stompd.broker.session import CloseReason, Session
from stompd.broker.tap import Taps
from stompd.broker.virtualhost import VirtualHost
from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.access import Refusal
    from stompd.broker.admin.request import Act
    from stompd.broker.message import Message
    from stompd.broker.outbox import Outbox
    from stompd.broker.principal import Principal
    from stompd.broker.storage import Fetch, Kept, Store
    from stompd.broker.subscription import Subscription
    from stompd.broker.tap import Tap


class Broker:
    """Decides everything and waits for nothing.

    ``now`` is the time of the last call that brought one, in seconds from any start; ``epoch`` is
    what has to be added for the seconds since 1970.
    """

    __slots__ = (
        "_awaiting",
        "_hosts",
        "_numbers",
        "_observing",
        "_order",
        "_prefix",
        "_timers",
        "_waiting",
        "acted",
        "bygone",
        "closed_count",
        "denied",
        "draining",
        "durable_ticket",
        "epoch",
        "error_count",
        "loading",
        "loop_status",
        "memory",
        "now",
        "opened_count",
        "quotas",
        "refused_count",
        "rescheduled",
        "restoring",
        "room",
        "sessions",
        "settings",
        "started_at",
        "store",
        "store_status",
        "taps",
        "thirsty",
        "touched",
    )

    def __init__(
        self,
        store: Store,
        settings: Settings | None = None,
        *,
        now: float = 0.0,
        epoch: float = 0.0,
    ) -> None:
        self.store = store
        self.settings = settings or Settings()
        self.now = self.started_at = now
        self.epoch = epoch
        self.sessions: dict[str, Session] = {}
        # Outboxes that got something since they were last flushed.
        self.touched: list[Outbox] = []
        # Sessions whose outbox was written out while a subscription waited for room.
        self.thirsty: list[Session] = []
        # There while somebody looks at frames.
        self.taps: Taps | None = None
        self.memory = MemoryMark(self)
        self.room = StoreRoom(self)
        self.quotas = Quotas(self)
        # What was retained and is on its way from the store.
        self.loading = Loading()
        # What destinations had counted that are gone.
        self.bygone = Bygone()
        self.restoring = False
        self.draining = False
        self.opened_count = 0
        self.closed_count = 0
        # Logins that were refused, and sessions that were ended by an ERROR; these among them.
        self.refused_count = 0
        self.error_count = 0
        # Tickets up to here are durable.
        self.durable_ticket = 0
        # The owner of time's: what is due next is now due earlier than it was told.
        self.rescheduled: Callable[[], None] = _nobody
        # The keeper of the log's: a request has changed something, or was refused.
        self.acted: Callable[[Act], None] = _nobody_cares
        # The same: somebody had not the right to something.
        self.denied: Callable[[Refusal], None] = _nobody_minds
        # The owner of the store's: what may be told of it, as `Committer.status` does.
        self.store_status: Callable[[], dict[str, Any]] = dict
        # The owner of time's: how late what is due is done, as `Buckets.told` does.
        self.loop_status: Callable[[], dict[str, Any]] = dict
        # True while destinations are looked at once a second.
        self._observing = False
        # How the ids of sessions begin: with a store that outlives them no two are ever the same.
        self._prefix = "c"
        self._numbers = count(1)
        self._order = count()
        self._hosts: dict[str, VirtualHost] = {}
        # What is due when, as a heap; the count keeps equal times in order.
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        # Sessions whose receipts wait for the store.
        self._awaiting: dict[Session, None] = {}
        # What else waits for the store, by ticket.
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def __repr__(self) -> str:
        return f"<Broker sessions={len(self.sessions)} hosts={len(self._hosts)}>"

    def epoch_ms(self) -> int:
        """Return the present as milliseconds since 1970."""
        return round((self.now + self.epoch) * 1000)

    # What outlives it.

    def restore(self, kept: Kept) -> list[str]:
        """Have again what the store has kept; to be called once, before the first session.

        `epoch` has to be true already. Returns a sentence for the log on each thing that could not
        be made of what is kept of it; that is left in the store as it is.
        """
        self._prefix = f"c{kept.starts}-"
        self.restoring = True
        troubles = restore(self, kept)
        self.restoring = False
        return troubles

    def persist_transient(self) -> int:
        """Put the transient messages of all queues into the store; return how many those are.

        For an end in good order, when no session is left. Those of temporary queues went with
        their sessions, and those that topics hold are lost.
        """
        return persist(self)

    # Sessions.

    def open(self, peer: str, now: float) -> Session:
        """Return the session of a new connection; ``peer`` is its address for people to read."""
        self.now = now
        session = Session(self, f"{self._prefix}{next(self._numbers)}", peer)
        self.sessions[session.id] = session
        self.opened_count += 1
        return session

    def welcomed(self, session: Session) -> None:
        """Start what an open session needs: its heart-beats (H-07, H-08)."""
        session.heard_at = session.outbox.sent_at = self.now
        if session.sends_every:
            session.beat_due()
        if session.expects_every:
            session.silence_due()
        if self.draining:
            self._send_away(session)

    def closed(self, session: Session) -> None:
        """Forget a session that is closed."""
        self.sessions.pop(session.id, None)
        self._awaiting.pop(session, None)
        if self.taps is not None:
            self.taps.forget(session.outbox)
        self.closed_count += 1

    def host(self, name: str) -> VirtualHost:
        """Return a virtual host; made if it is not there yet."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = VirtualHost(self, name)
            host.door = AdminDoor(host)
        return host

    @property
    def hosts(self) -> list[VirtualHost]:
        """The virtual hosts in use."""
        return list(self._hosts.values())

    # What is told.

    def tell(self, kind: str, host: VirtualHost, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Publish an event on ``/topic/$SYS/events/KIND`` for whoever listens there."""
        if host.watchers:
            publish(host, f"events/{kind}", {"event": kind, "time": self.epoch_ms(), **fields})

    def tell_all(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        """Publish an event that concerns every virtual host."""
        for host in self._hosts.values():
            self.tell(kind, host, **fields)

    def tap(self, tap: Tap) -> None:
        """Show frames to a tap from now on."""
        if self.taps is None:
            self.taps = Taps(self)
        self.taps.add(tap)

    def untap(self, subscriptions: Iterable[Subscription]) -> None:
        """Show frames no more to those of the subscriptions that are taps."""
        taps = self.taps
        assert taps is not None  # noqa: S101 - the caller looked
        for subscription in subscriptions:
            taps.remove(subscription)
        if taps.empty:
            self.taps = None

    # Octets out.

    def flush_touched(self) -> None:
        """Have every touched outbox written once."""
        touched = self.touched
        if not touched:
            return
        taps = self.taps
        # A flush may touch others, and their turn comes in the same walk.
        for outbox in touched:
            outbox.touched = False
            if taps is not None:
                taps.go(outbox)
            outbox.flush()
            if taps is not None and not outbox.parts:
                taps.forget(outbox)
        touched.clear()

    # The store's answers.

    def awaits_store(self, session: Session) -> None:
        """Note that receipts of a session wait for the store."""
        self._awaiting[session] = None

    def durable(self, ticket: int) -> None:
        """Everything up to ``ticket`` is on disk: release the receipts that waited for it."""
        self.durable_ticket = max(self.durable_ticket, ticket)
        for session in list(self._awaiting):
            if not session.confirm(self.durable_ticket):
                self._awaiting.pop(session, None)
        waiting = self._waiting
        while waiting and waiting[0][0] <= self.durable_ticket:
            waiting.popleft()[1]()

    def when_durable(self, action: Callable[[], None]) -> None:
        """Have ``action`` called when all that happened so far is on disk; now, if it is."""
        ticket = self.store.ticket()
        if ticket > self.durable_ticket:
            self._waiting.append((ticket, action))
        else:
            action()

    def store_drained(self) -> None:
        """Take it that the store has caught up: it is `Store.congested` no more."""
        self.room.release()

    def disk_full(self, ticket: int) -> None:
        """Take it that the batch ``ticket`` found no room on the disk; `Store.full` says so, too.

        Who waits for the RECEIPT of persistent messages up to there gets ERROR; other receipts
        wait on. May be called for each attempt.
        """
        if not self.room.full:
            self.room.full = True
            self.tell_all("disk-full")
        for session in list(self._awaiting):
            session.refuse_unwritten(ticket)
        # They wait for nothing: now they are refused.
        self.room.release()

    def disk_free(self) -> None:
        """Take it that there is room again, after `disk_full`."""
        if self.room.full:
            self.room.full = False
            self.tell_all("disk-free")

    @staticmethod
    def fetched(fetch: Fetch, messages: list[Message], dues: list[float]) -> None:
        """Bring the answer to a `Fetch` to who asked; ``dues`` are for delayed messages only."""
        fetch.taker(messages, dues)

    # Time.

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Have ``action`` called by the first `tick` at or after ``due``."""
        timers = self._timers
        earlier = not timers or due < timers[0][0]
        heappush(timers, (due, next(self._order), action))
        if earlier:
            self.rescheduled()

    def tick(self, now: float) -> float | None:
        """Do what is due at ``now``; return when something is due next, None if nothing is."""
        self.now = now
        timers = self._timers
        while timers and timers[0][0] <= now:
            heappop(timers)[2]()
        return timers[0][0] if timers else None

    def observe(self) -> None:
        """Look at every destination once a second from now on: what rates and ages are told of."""
        if not self._observing:
            self._observing = True
            self._look(self.now)

    def _look(self, since: float) -> None:
        now = self.now
        look(self, since)
        self.memory.check()
        self.quotas.look()
        tell_statistics(self)
        self.at(now + PERIOD, lambda: self._look(now))

    # The end.

    def drain(self) -> None:
        """Begin to stop: sessions that hold nothing end now, the others when they let go.

        Nothing more is delivered; ACK, COMMIT and receipts still work. `Session.fail` with
        ``SHUTDOWN`` ends who does not let go in time.
        """
        self.draining = True
        for session in list(self.sessions.values()):
            self._send_away(session)

    def _send_away(self, session: Session) -> None:
        session.stop_deliveries()
        if not session.busy:
            self.end_for_shutdown(session)

    @staticmethod
    def end_for_shutdown(session: Session) -> None:
        """End a session because the broker stops."""
        session.fail(
            RemoteProtocolError("the server is stopping", "connect again later"),
            CloseReason.SHUTDOWN,
        )

    def reconfigure(
        self, settings: Settings, renew: Callable[[Session], Principal | None] | None = None
    ) -> list[str]:
        """Take new settings for what is opened and made from now on, routes and rights at once.

        ``renew`` tells who has a session now, None for somebody who is not let in any more.
        Sessions that may not have what they have get ERROR and end. Returns the names of routes
        that were added since the start and are given up, because the new ones contradict them.
        """
        self.settings = settings
        self.quotas.reconfigure()
        lost = [name for host in self._hosts.values() for name in host.reconfigure(settings)]
        for session in list(self.sessions.values()):
            session.reconsider(session.principal if renew is None else renew(session))
        return lost


def _nobody_cares(_act: Act) -> None:
    """Log nothing."""


def _nobody_minds(_refusal: Refusal) -> None:
    """Log nothing."""


def _nobody() -> None:
    """Tell nobody: a broker whose owner calls `tick` by himself."""
