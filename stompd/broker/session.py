"""One connection's conversation: takes a client's frames, carries them out, answers them.

A session's life::

    NEW ──CONNECT──► LOGIN ──welcome──► OPEN ──DISCONNECT──► LEAVING ──last receipt──► OVER
     └───────────────┴──refuse──────────┴──any fault: ERROR─────────────────────────► OVER

What it owns: the version, the subscriptions and open transactions, the numbers of its deliveries,
and the receipts that wait for the store. Octets for the client go to its `Outbox`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from stompd.broker.access import AccessRefusedError, Refusal
from stompd.broker.alarm import LOOK
from stompd.broker.event import OWN, is_limit
from stompd.broker.memory import send_heavy
from stompd.broker.outbox import Outbox
from stompd.broker.principal import ANONYMOUS, Principal
from stompd.broker.quota import affordable, charge
from stompd.broker.redelivery import dispatch
from stompd.broker.room import disk_full
from stompd.broker.send import send
from stompd.broker.settle import ack, nack
from stompd.broker.subscribe import end_subscriptions, recheck, subscribe, unsubscribe
from stompd.broker.subscription import Subscription
from stompd.broker.transact import abort, begin, commit, undo
from stompd.protocol import heartbeat, rules
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import V10, V12, Frame, Head
from stompd.protocol.headers import escape

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.memory import MemoryMark
    from stompd.broker.message import Message
    from stompd.broker.owed import Sender
    from stompd.broker.queue import Queue
    from stompd.broker.quota import Quota
    from stompd.broker.restore import Loading
    from stompd.broker.room import StoreRoom
    from stompd.broker.topic import Topic
    from stompd.broker.transaction import Transaction
    from stompd.broker.virtualhost import VirtualHost


class State(Enum):
    """Where in its life a session is."""

    NEW = "new"
    LOGIN = "login"
    OPEN = "open"
    LEAVING = "leaving"
    OVER = "over"


class CloseReason(Enum):
    """The ways in which a session ends; logs and statistics use these words."""

    DISCONNECT = "disconnect"
    PROTOCOL_ERROR = "protocol error"
    REFUSED = "login refused"
    LOGIN_TIMEOUT = "login timeout"
    HEARTBEAT_TIMEOUT = "heart-beat timeout"
    SLOW_CONSUMER = "slow consumer"
    SHUTDOWN = "shutdown"
    PEER_CLOSED = "closed by peer"
    PEER_RESET = "reset by peer"
    TRANSPORT_FULL = "too many connections"
    TAKEN_OVER = "taken over"
    KICKED = "kicked"
    WITHDRAWN = "access withdrawn"
    CRASH = "internal error"


@dataclass(frozen=True)
class Login:
    """What CONNECT asks for; the passcode stays out of ``repr``."""

    user: str | None
    passcode: str | None
    host: str | None
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"<Login {self.user!r} host={self.host!r}>"


class Promise:
    """A RECEIPT that waits for the store."""

    __slots__ = ("frame", "held", "name", "sends", "ticket")

    def __init__(self, name: str, ticket: int, frame: bytes) -> None:
        # Its receipt-id.
        self.name = name
        self.ticket = ticket
        self.frame = frame
        # True if it confirms persistent messages, which may find no room.
        self.sends = False
        # A subscription whose first MESSAGE comes behind it.
        self.held: Subscription | None = None


class Session:
    """Takes frames by `receive`, in order; everything that it decides is done when that returns.

    The transport looks at ``halt`` afterwards: it is set when no further frame may be carried out
    now, because the session is logging in, paused, over its budget, or at its end.
    """

    __slots__ = (
        "_actions",
        "_receipts",
        "_turn",
        "_undone",
        "_work",
        "access",
        "address",
        "broker",
        "client_id",
        "closed",
        "deliveries",
        "end",
        "expects_every",
        "fault",
        "halt",
        "heard_at",
        "heart_beat",
        "host",
        "id",
        "identity",
        "login",
        "outbox",
        "owners",
        "paced",
        "patient",
        "paused_by",
        "peer",
        "principal",
        "quotas",
        "reason",
        "send_count",
        "sender",
        "sends_every",
        "started_at",
        "state",
        "subscriptions",
        "temporaries",
        "touched",
        "transactions",
        "unhonoured",
        "unserved",
        "user",
        "version",
        "wake",
        "wire_version",
    )

    def __init__(self, broker: Broker, name: str, peer: str) -> None:
        settings = broker.settings
        self.broker = broker
        self.id = name
        self.identity = f"{name}-"
        self.peer = peer
        # Its address, or what stands for all that its peer is likely to have; set by the transport.
        self.address = ""
        # Who it is, and what people call it.
        self.principal = ANONYMOUS
        self.user: str | None = None
        # What it called itself in CONNECT, if it did.
        self.client_id = ""
        # Headers that it sent, that other brokers know, and that have no effect here.
        self.unhonoured: dict[str, None] = {}
        self.state = State.NEW
        self.reason: CloseReason | None = None
        # What its ERROR frame said, for the log.
        self.fault: RemoteProtocolError | None = None
        self.closed = False
        self.login: Login | None = None
        self.version: str | None = None
        # What ERROR is written in before there is a version.
        self.wire_version = V12
        self.end = b"\0\n" if settings.trailing_newline else b"\0"
        self.host: VirtualHost = broker.host(settings.virtual_hosts[0])
        # What is counted with others' of its user, address and virtual host; those by which it is
        # paced.
        self.quotas: tuple[Quota, ...] = ()
        # Who it is for those that count what it leaves in queues; None if none of them does.
        self.sender: Sender | None = None
        self.paced: tuple[Quota, ...] = ()
        # What it may do, with the host's routes; a SEND's plan holds as long as it is the same.
        self.access = self.host.access(ANONYMOUS)
        self.touched = broker.touched
        self.outbox = Outbox(self, broker.touched, settings.outbox_high)
        self.halt = False
        # What it waits for before more of its frames are read.
        self.paused_by: set[object] = set()
        # False from when nobody waits for its peer any more: then it does not wait either.
        self.patient = True
        self._work = 0
        # The transport's: something happened outside of `receive`: look at `over`, `halt`.
        self.wake: Callable[[], None] = _nobody
        self.subscriptions: dict[str, Subscription] = {}
        self.transactions: dict[str, Transaction] = {}
        self.temporaries: list[Queue | Topic] = []
        # The number of the last delivery; message-id and ack are made of it (AMB-33).
        self.deliveries = 0
        self.owners: dict[int, Subscription] = {}
        # Subscriptions that got credit back and are served when the frames of a read are done.
        self.unserved: dict[Subscription, None] = {}
        # Receipts in the order of their frames; the first waits for its ticket (AMB-31).
        self._receipts: deque[Promise] = deque()
        # Which of its subscriptions is served first when there is room again.
        self._turn = 0
        # True if the frame at hand has to be carried out again later, see `postpone`.
        self._undone = False
        # Heart-beats, in seconds; 0: none in this direction.
        self.heart_beat = (0, 0)
        self.sends_every = 0.0
        self.expects_every = 0.0
        self.heard_at = broker.now
        self.started_at = broker.now
        self.send_count = 0
        self._actions: Mapping[str, Action] = _FIRST

    def __repr__(self) -> str:
        return (
            f"<Session {self.id} {self.version} {self.state.value} user={self.user} "
            f"subscriptions={len(self.subscriptions)} transactions={len(self.transactions)}>"
        )

    @property
    def over(self) -> bool:
        """True when nothing more is to be said: flush and close."""
        return self.state is State.OVER

    @property
    def paused(self) -> bool:
        """True while its frames are not to be read."""
        return bool(self.paused_by) and not self.over

    # Frames in.

    def receive(self, frames: list[Frame], start: int, now: float) -> int:
        """Carry out ``frames`` from index ``start``; return the index of the first not done.

        Stops early when `halt` is set; the transport calls again when it may go on. A fault of the
        client becomes an ERROR frame and the end of the session; nothing is raised for it.
        ``now`` is in seconds of the broker's time.
        """
        self.broker.now = now
        if self.state is State.LEAVING or self.over:
            # What follows DISCONNECT, or a fault, is not looked at (D-04).
            return len(frames)
        self.halt = False
        self._work = 0
        actions = self._actions
        at = start
        try:
            wanted: Sequence[Frame] = frames[start:] if start else frames
            if self.paced:
                wanted = affordable(self, wanted)
            for head, body in wanted:
                at += 1
                action = actions.get(head.command)
                if action is None:
                    self._out_of_place(head)
                else:
                    action(self, head, body)
                if self.halt:
                    break
        except RemoteProtocolError as error:
            _identify(error, frames[at - 1][0])
            self.fail(error)
        if self._undone:
            self._undone = False
            at -= 1
        if self.unserved:
            unserved, self.unserved = self.unserved, {}
            for subscription in unserved:
                if not subscription.gone:
                    subscription.serve()
        if self.paced:
            charge(self, frames[start:at], left=at < len(frames))
        self._leave_if_drained()
        taps = self.broker.taps
        if taps is not None:
            taps.come(self, frames[start:at])
        return at

    def garbled(self, error: RemoteProtocolError) -> None:
        """Take the decoder's word that what the client sent is no frame; answer with ERROR.

        What follows DISCONNECT is not looked at, so nothing is wrong with it (D-04).
        """
        if self.state is not State.LEAVING:
            self.fail(error)

    def _leave_if_drained(self) -> None:
        if self.broker.draining and self.state is State.OPEN and not self.busy:
            self.broker.end_for_shutdown(self)

    @property
    def busy(self) -> bool:
        """True while it holds what it may still settle: deliveries, transactions, receipts."""
        return bool(self.owners or self.transactions or self._receipts)

    def _out_of_place(self, head: Head) -> None:
        if self.state is State.OPEN:
            raise RemoteProtocolError(
                f"{head.command} in an open session",
                "a connection has one session; open another connection for another one",
            )
        raise RemoteProtocolError(
            f"{head.command} before CONNECT",
            "the first frame of a session is CONNECT (or STOMP)",
        )

    def worked(self, deliveries: int) -> None:
        """Count deliveries of one frame against the budget of this turn."""
        self._work += deliveries
        if self._work > self.broker.settings.work_budget:
            self.halt = True

    # CONNECT, log-in and the end.

    def connect(self, head: Head, body: bytes) -> None:
        """Take CONNECT or STOMP: agree on version and heart-beats, then wait for the log-in."""
        self.version = rules.negotiate(head.get("accept-version"))
        self.wire_version = self.version
        rules.check_no_body(head.command, body, self.version)
        headers = rules.connect_headers(head, self.version)
        settings = self.broker.settings
        if self.version != V10:
            cx, cy = heartbeat.parse(headers.get("heart-beat"))
            options = settings.heart_beat
            sx, sy = heartbeat.answer(cx, cy, minimum=options.minimum, default=options.default)
            self.heart_beat = (sx, sy)
            self.sends_every = heartbeat.period(sx, cy) / 1000
            self.expects_every = heartbeat.period(cx, sy) / 1000
        host = headers.get("host")
        if host is not None and host in settings.virtual_hosts:
            self.host = self.broker.host(host)
        elif settings.strict_hosts and host is not None:
            raise RemoteProtocolError(
                "unknown virtual host", f'"{shown(host)}" is not configured on this server'
            )
        self.client_id = headers.get("client-id", "")
        self.login = Login(headers.get("login"), headers.get("passcode"), host, headers)
        self.state = State.LOGIN
        self.halt = True

    def welcome(self, principal: Principal, now: float) -> None:
        """Accept the log-in: write CONNECTED and carry frames out from now on (C-13 to C-16).

        A live session with the same client-id ends: this one takes its place. Who may not connect
        to the virtual host gets ERROR.
        """
        assert self.version is not None  # noqa: S101 - CONNECT was read
        assert self.login is not None  # noqa: S101 - the same
        self.broker.now = now
        self.principal = principal
        # Who is anonymous is called as it calls itself.
        self.user = self.login.user if principal.name is None else principal.name
        self.access = self.host.access(principal)
        if not self.access.grant.connects:
            self._may_not_connect()
            return
        if self.client_id and not self._may_be(self.host.clients.get(self.client_id)):
            self.fail(
                RemoteProtocolError(
                    "client-id in use",
                    f'"{shown(self.client_id)}" is that of another user; take another one',
                ),
                CloseReason.REFUSED,
            )
            return
        try:
            self.broker.quotas.admit(self)
        except RemoteProtocolError as error:
            self.fail(error, CloseReason.REFUSED)
            return
        self._take_over()
        self.state = State.OPEN
        self.login = None
        headers = [("version", self.version), ("server", self.broker.settings.server)]
        if self.version != V10:
            headers.append(("heart-beat", f"{self.heart_beat[0]},{self.heart_beat[1]}"))
        headers.append(("session", self.id))
        self.outbox.add(encode("CONNECTED", headers, version=self.version, end=self.end))
        self._actions = _HEAVY if self.broker.memory.heavy else _OPEN
        self.broker.welcomed(self)
        self.broker.tell("connected", self.host, **self.who(), version=self.version)
        if principal.expires is not None:
            self.expiry_due()

    def _may_be(self, other: Session | None) -> bool:
        """Return whether it may take the place of another session with its client-id.

        Where there are users nobody is pushed out by another one.
        """
        if other is None or self.broker.settings.rights is None:
            return True
        return other.principal.name == self.principal.name

    def expiry_due(self) -> None:
        """End the session if what it has logged in with is over; else come again."""
        expires = self.principal.expires
        if self.over or expires is None:
            return
        now = self.broker.now
        due = expires - self.broker.epoch
        if due > now:
            self.broker.at(min(due, now + LOOK), self.expiry_due)
            return
        self.fail(
            RemoteProtocolError("log-in expired", "connect again with a new passcode or token"),
            CloseReason.WITHDRAWN,
        )

    def _may_not_connect(self) -> None:
        error = AccessRefusedError("connect", f"virtual host {self.host.name}")
        self.broker.tell("login-failed", self.host, **self.who())
        self.fail(error, CloseReason.REFUSED)

    def reconsider(self, principal: Principal | None) -> None:
        """Take it that somebody may do other things than before, or is not let in any more: None.

        A session that may not have what it has gets ERROR and ends.
        """
        if self.state is not State.OPEN:
            # One that leaves has nothing more to ask for.
            return
        if principal is None:
            self.fail(
                RemoteProtocolError("log-in withdrawn", "log in again, if you may"),
                CloseReason.WITHDRAWN,
            )
            return
        begins = self.principal.expires is None and principal.expires is not None
        self.principal = principal
        if begins:
            self.expiry_due()
        self.access = self.host.access(principal)
        if not self.access.grant.connects:
            self._may_not_connect()
            return
        for subscription in self.subscriptions.values():
            try:
                recheck(subscription)
            except AccessRefusedError as error:
                error.headers["subscription"] = subscription.id
                self.fail(error, CloseReason.WITHDRAWN)
                return

    @property
    def logged_in(self) -> bool:
        """True from CONNECTED on."""
        return self.version is not None and self.login is None

    def who(self) -> dict[str, str | None]:
        """Return what events say of a session."""
        client_id = self.client_id or None
        return {
            "connection": self.id,
            "peer": self.peer,
            "user": self.user,
            "client_id": client_id,
        }

    def _take_over(self) -> None:
        """Be the one session with its client-id."""
        if not self.client_id:
            return
        clients = self.host.clients
        other = clients.get(self.client_id)
        clients[self.client_id] = self
        # One that has said goodbye has given up everything, and still waits for its receipt.
        if other is not None and other.state is State.OPEN:
            self.broker.tell(
                "taken-over",
                self.host,
                connection=other.id,
                by=self.id,
                client_id=self.client_id,
            )
            other.fail(
                RemoteProtocolError(
                    "client-id in use",
                    f'another connection, {self.peer}, has taken over "{shown(self.client_id)}"',
                ),
                CloseReason.TAKEN_OVER,
            )

    def report(self, names: Iterable[str]) -> None:
        """Note headers that have no effect here, and tell of each of them once."""
        fresh = [name for name in names if name not in self.unhonoured]
        if fresh:
            self.unhonoured.update(dict.fromkeys(fresh))
            self.broker.tell("unhonoured", self.host, connection=self.id, headers=fresh)

    def refuse(self, message: str, detail: str, reason: CloseReason = CloseReason.REFUSED) -> None:
        """Answer CONNECT with ERROR and end (C-04)."""
        user = None if self.login is None else self.login.user
        self.broker.refused_count += 1
        self.broker.tell("login-failed", self.host, **{**self.who(), "user": user})
        self.fail(RemoteProtocolError(message, detail), reason)

    def fail(
        self, error: RemoteProtocolError, reason: CloseReason = CloseReason.PROTOCOL_ERROR
    ) -> None:
        """Write the ERROR frame and end (E-02); receipts that were not due are never sent."""
        if self.over:
            return
        self._receipts.clear()
        self.broker.error_count += 1
        # Where it was raised would keep all that is known there.
        self.fault = error.with_traceback(None)
        message = error.message.replace("\r", " ").replace("\n", " ")
        headers = [("message", message), ("content-type", "text/plain")]
        headers += error.headers.items()
        body = f"{error.detail or error.message}\n".encode("utf-8", "replace")
        self._release(blame=reason is not CloseReason.SHUTDOWN)
        if isinstance(error, AccessRefusedError):
            host = self.host.name
            refusal = Refusal(self.id, self.peer, self.user, host, error.right, error.name)
            self.broker.denied(refusal)
        if is_limit(error):
            self.broker.tell("limit", self.host, **self.who(), limit=error.message)
        self.outbox.add(
            encode(
                "ERROR",
                with_length(headers, body),
                body,
                version=self.wire_version,
                end=self.end,
            )
        )
        self._finish(reason)

    def disconnect(self, head: Head, body: bytes) -> None:
        """Take DISCONNECT: undo, give back, confirm, end (TX-06, D-03)."""
        self.check(head, body)
        # Nothing more is delivered once DISCONNECT is read (D-06).
        self._release(blame=False)
        # It confirms all that came before it, whether a receipt was asked for that or not.
        self.receipt(head, durable=True)
        self.halt = True
        if self._receipts:
            self.state = State.LEAVING
            self._actions = _NOTHING
        else:
            self._finish(CloseReason.DISCONNECT)

    def _finish(self, reason: CloseReason) -> None:
        self.state = State.OVER
        self.reason = reason
        self.halt = True
        self._actions = _NOTHING
        self.wake()

    def close(self, reason: CloseReason, now: float) -> None:
        """Forget the session: its transport is gone. May be called at any time, and again.

        What was not settled goes back to its queues, open transactions are undone (TX-07).
        """
        if self.closed:
            return
        self.closed = True
        self.broker.now = now
        self._release(blame=True)
        self.state = State.OVER
        self.reason = self.reason or reason
        self.halt = True
        self._receipts.clear()
        if self.host.clients.get(self.client_id) is self:
            del self.host.clients[self.client_id]
        self.broker.quotas.leave(self)
        riders, self.outbox.riders = self.outbox.riders, []
        for message in riders:
            message.queue.give_back(message)
        dispatch(riders)
        self.broker.closed(self)
        self.outbox.session = None
        if self.logged_in:
            self.broker.tell("disconnected", self.host, **self.who(), reason=self.reason.value)

    def _release(self, *, blame: bool) -> None:
        """Give up all that the session holds; ``blame`` it for the oldest unsettled deliveries."""
        for transaction in list(self.transactions.values()):
            undo(transaction)
        self.transactions.clear()
        end_subscriptions(self, list(self.subscriptions.values()), blame=blame)
        self.stop_waiting()
        self.paused_by.clear()
        for target in self.temporaries:
            if not target.gone:
                self.host.remove(target)
        self.temporaries.clear()

    def stop_waiting(self) -> None:
        """Wait no longer for room in queues or for slow subscribers.

        For a session whose peer has ended its direction: what it has sent is carried out over the
        marks, because its own unsettled messages may be what there is no room for.
        """
        self.patient = False
        for pauser in self.paused_by - {self}:
            if isinstance(pauser, Subscription):
                pauser.held_sessions.discard(self)
            else:
                pauser.blocked.discard(self)  # type: ignore[attr-defined]
            self.paused_by.discard(pauser)
            if pauser is self.broker.memory:
                self._actions = _OPEN

    def check(self, head: Head, body: bytes) -> None:
        """Raise `RemoteProtocolError` unless this frame may be carried out as far as it tells."""
        rules.check(head, body, self.wire_version)
        receipt = head.get("receipt")
        if receipt is not None:
            self.check_receipt(receipt)

    # Receipts.

    def check_receipt(self, receipt: str) -> None:
        """Raise `RemoteProtocolError` for a receipt over the limit, before anything is done."""
        limit = self.broker.settings.limits.receipt
        # An octet is a quarter of a character at least.
        if 4 * len(receipt) > limit and len(receipt.encode("utf-8", "surrogateescape")) > limit:
            raise RemoteProtocolError(
                "receipt over the limit", f"a receipt may have {limit} octets"
            )

    def receipt(self, head: Head, *, durable: bool = False, sends: bool = False) -> Promise | None:
        """Write the RECEIPT that a frame asked for, if it asked; see `promise`."""
        name = head.get("receipt")
        return None if name is None else self.promise(name, durable=durable, sends=sends)

    def promise(self, name: str, *, durable: bool, sends: bool = False) -> Promise | None:
        """Write a RECEIPT: now, or when the store has caught up with what is ``durable`` (R-02).

        ``sends`` says that it confirms persistent messages. Returns what waits, None if it is
        written.
        """
        if name.isalnum() and name.isascii():
            frame = b"RECEIPT\nreceipt-id:%b\n\n%b" % (name.encode(), self.end)
        else:
            # 1.0 has no empty values, but a RECEIPT without its id would answer nothing.
            frame = b"RECEIPT\nreceipt-id:%b\n\n%b" % (escape(name, self.wire_version), self.end)
        ticket = self.broker.store.ticket() if durable else 0
        if ticket <= self.broker.durable_ticket and not self._receipts:
            self.outbox.add(frame)
            return None
        promise = Promise(name, ticket, frame)
        promise.sends = sends
        self._receipts.append(promise)
        self.broker.awaits_store(self)
        return promise

    def postpone(self) -> None:
        """Leave the frame at hand, and all behind it, until no receipt waits for the store."""
        self._undone = True
        self.paused_by.add(self)
        self.halt = True

    def heed_memory(self, *, heavy: bool) -> None:
        """Have SENDs wait for memory, or not wait any more."""
        if self.state is State.OPEN:
            self._actions = _HEAVY if heavy else _OPEN

    def wait_for(self, what: MemoryMark | StoreRoom | Loading) -> None:
        """Leave the frame at hand, and all behind it, until ``what`` lets it go on."""
        what.blocked.add(self)
        self.paused_by.add(what)
        self._undone = True
        self.halt = True

    def confirm(self, ticket: int) -> bool:
        """Write the receipts that waited for ``ticket``; return whether others still wait."""
        receipts = self._receipts
        while receipts and receipts[0].ticket <= ticket:
            promise = receipts.popleft()
            self.outbox.add(promise.frame)
            if promise.held is not None:
                promise.held.resume()
        if not receipts:
            if self in self.paused_by:
                self.paused_by.discard(self)
                self.resume_reading()
            if self.state is State.LEAVING:
                self._finish(CloseReason.DISCONNECT)
            else:
                self._leave_if_drained()
                # Before it parts from a peer the transport waits for just this.
                self.wake()
        return bool(receipts)

    def refuse_unwritten(self, ticket: int) -> None:
        """End with ERROR if a receipt waits for messages up to ``ticket`` that found no room."""
        for promise in self._receipts:
            if promise.sends and promise.ticket <= ticket:
                error = disk_full()
                error.headers["receipt-id"] = promise.name
                self.fail(error)
                return

    # What the transport and the broker tell it.

    def drained(self) -> None:
        """Serve the subscriptions that waited for room; note if one still waits."""
        outbox = self.outbox
        outbox.waiting = False
        # Each time another one is first: the first might fill the outbox every time.
        subscriptions = list(self.subscriptions.values())
        self._turn = turn = (self._turn + 1) % (len(subscriptions) or 1)
        for subscription in subscriptions[turn:] + subscriptions[:turn]:
            if subscription.backlog:
                subscription.refill()
            if subscription.parked:
                subscription.serve()
                if subscription.parked and subscription.open:
                    outbox.waiting = True

    def written(self, riders: list[Message]) -> None:
        """Settle what went out in mode auto: all octets of ``riders`` are written."""
        for message in riders:
            queue = message.queue
            if message.stored or queue.bounded:
                queue.settled(message)
            else:
                queue.unsettled -= 1
                queue.bytes -= message.size

    def stop_deliveries(self) -> None:
        """Let nothing more be assigned to its subscriptions."""
        for subscription in self.subscriptions.values():
            subscription.retire()

    @property
    def unconfirmed(self) -> bool:
        """True while receipts wait for the store."""
        return bool(self._receipts)

    @property
    def awaited(self) -> list[str]:
        """The receipt-ids of those, in their order."""
        return [promise.name for promise in self._receipts]

    def resume_reading(self) -> None:
        """One reason to be paused is gone: wake the transport if it was the last."""
        if not self.paused_by:
            self.wake()

    def subscription_is_slow(self, subscription: Subscription) -> None:
        """Start the grace that the policy gives a subscriber that cannot keep up."""
        name = subscription.destination.first.name
        policy = self.broker.settings.policies.of(name)
        action: str = policy.slow_consumer
        if action == "block" and name.startswith(OWN):
            # There the broker publishes, and that waits for nobody.
            action = "drop-oldest"
        self.broker.tell(
            "slow-consumer",
            self.host,
            connection=self.id,
            user=self.user,
            subscription=subscription.id,
            destination=name,
            then=action,
        )
        if action == "block":
            return
        since = subscription.slow_since = self.broker.now
        due = since + policy.slow_consumer_grace
        self.broker.at(due, lambda: self._slow_due(subscription, since, action))

    def _slow_due(self, subscription: Subscription, since: float, action: str) -> None:
        if subscription.gone or not subscription.slow or subscription.slow_since != since:
            # It caught up; if it is slow again, that has a grace of its own.
            return
        if action == "drop-oldest":
            subscription.dropping = True
            subscription.let_go()
            return
        self.fail(
            RemoteProtocolError(
                "slow consumer",
                f'subscription "{shown(subscription.id)}" to '
                f"{shown(subscription.destination.name)} did not keep up with its topic",
                headers={"subscription": subscription.id},
            ),
            CloseReason.SLOW_CONSUMER,
        )

    # Heart-beats.

    def beat_due(self) -> None:
        """Write one LF if nothing was written for half a period; come again (H-10, H-11)."""
        if self.over:
            return
        half = self.sends_every / 2
        outbox = self.outbox
        now = self.broker.now
        due = outbox.sent_at + half
        if due <= now:
            # With octets waiting, the peer does not read, and a beat more would not be seen.
            if outbox.size == 0:
                outbox.add(b"\n")
                outbox.sent_at = now
            due = now + half
        self.broker.at(min(due, now + LOOK), self.beat_due)

    def silence_due(self) -> None:
        """End the session if nothing was heard for too long; else come again (H-12)."""
        if self.over or self.state is State.LEAVING:
            # After DISCONNECT a client has nothing more to say.
            return
        options = self.broker.settings.heart_beat
        patience = self.expects_every * options.tolerance + options.grace
        now = self.broker.now
        if self.paused:
            # Nothing is read from it, so nothing can be heard.
            self.heard_at = now
        if self.heard_at + patience > now:
            self.broker.at(min(self.heard_at + patience, now + LOOK), self.silence_due)
            return
        asked = f"{round(self.expects_every * 1000)}"
        self.fail(
            RemoteProtocolError(
                "heart-beat timeout",
                f"no data for {round(now - self.heard_at)} s, and {asked} ms were agreed on; "
                "press Enter to beat, or ask for heart-beat:0,0",
            ),
            CloseReason.HEARTBEAT_TIMEOUT,
        )


Action = Callable[[Session, Head, bytes], None]

# What a frame does, by the session's state; what is not there is out of place.
_FIRST: Final[Mapping[str, Action]] = {"CONNECT": Session.connect, "STOMP": Session.connect}
_OPEN: Final[Mapping[str, Action]] = {
    "SEND": send,
    "SUBSCRIBE": subscribe,
    "UNSUBSCRIBE": unsubscribe,
    "ACK": ack,
    "NACK": nack,
    "BEGIN": begin,
    "COMMIT": commit,
    "ABORT": abort,
    "DISCONNECT": Session.disconnect,
}
# The same while messages hold too much memory.
_HEAVY: Final[Mapping[str, Action]] = {**_OPEN, "SEND": send_heavy}
_NOTHING: Final[Mapping[str, Action]] = {}


def _nobody() -> None:
    """Wake nobody: a session without a transport is looked at by its caller."""


def _identify(error: RemoteProtocolError, head: Head) -> None:
    """Add to an ERROR what tells the frame at fault (E-05, E-06)."""
    receipt = head.get("receipt")
    if receipt is not None:
        error.headers.setdefault("receipt-id", receipt)
    if head.command in ("SUBSCRIBE", "UNSUBSCRIBE"):
        name = head.get("id")
        if name is not None:
            error.headers.setdefault("subscription", name)
