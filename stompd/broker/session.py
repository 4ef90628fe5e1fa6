"""One connection's conversation: takes a client's frames, carries them out, answers them.

A session's life::

    NEW ──CONNECT──► LOGIN ──welcome──► OPEN ──DISCONNECT──► LEAVING ──last receipt──► OVER
     └───────────────┴──refuse──────────┴──any fault: ERROR─────────────────────────► OVER

What it owns: the version, the subscriptions and open transactions, the numbers of its deliveries,
and the receipts that wait for the store. Octets for the client go to its `Outbox`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from stompd.broker.destination import Destination, parse
from stompd.broker.message import LARGE, Message
from stompd.broker.outbox import Outbox
from stompd.broker.subscription import Subscription
from stompd.broker.transaction import Settlement, Transaction
from stompd.protocol import heartbeat, rules
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import NEVER_FORWARDED, V10, V12, Frame, Head, Shape
from stompd.protocol.headers import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.broker import Broker
    from stompd.broker.queue import Queue
    from stompd.broker.topic import Topic
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


class SendShape:
    """What the names of a SEND's headers decide, worked out once for all heads of a shape."""

    __slots__ = (
        "drop",
        "lengthened",
        "persistent",
        "receipt",
        "reply_to",
        "special",
        "transaction",
    )

    def __init__(self, shape: Shape) -> None:
        index = shape.index
        self.receipt = index.get("receipt")
        self.transaction = index.get("transaction")
        self.persistent = index.get("persistent")
        self.reply_to = index.get("reply-to")
        # Whether a content-length of ours has to be added.
        self.lengthened = shape.length is None
        # The header lines that are not forwarded, last first.
        self.drop = sorted(
            ((at >> 1) - 1 for name, at in index.items() if name in NEVER_FORWARDED), reverse=True
        )
        self.special = (
            self.receipt is not None or self.transaction is not None or self.reply_to is not None
        )


class SendPlan:
    """What a SEND's head decides; kept with the head, since producers repeat it."""

    __slots__ = ("forward", "host", "lengthened", "persistent", "special", "target")

    def __init__(
        self,
        host: VirtualHost,
        target: Queue | Topic | None,
        forward: bytes | None,
        *,
        shape: SendShape,
        persistent: bool,
    ) -> None:
        self.host = host
        self.target = target
        # The header lines to forward as they are; None if they have to be encoded anew.
        self.forward = forward
        self.lengthened = shape.lengthened
        self.persistent = persistent
        self.special = shape.special


class Session:
    """Takes frames by `receive`, in order; everything that it decides is done when that returns.

    The transport looks at ``halt`` afterwards: it is set when no further frame may be carried out
    now, because the session is logging in, paused, over its budget, or at its end.
    """

    __slots__ = (
        "_actions",
        "_identity",
        "_receipts",
        "_work",
        "alive",
        "anonymous",
        "broker",
        "closed",
        "deliveries",
        "end",
        "expects_every",
        "halt",
        "heard_at",
        "heart_beat",
        "host",
        "id",
        "login",
        "outbox",
        "owners",
        "paused_by",
        "peer",
        "reason",
        "receipt_count",
        "send_count",
        "sends_every",
        "settle_count",
        "started_at",
        "state",
        "subscriptions",
        "temporaries",
        "touched",
        "transactions",
        "user",
        "version",
        "wake",
        "wire_version",
    )

    def __init__(self, broker: Broker, number: int, peer: str) -> None:
        settings = broker.settings
        self.broker = broker
        self.id = f"c{number}"
        self._identity = f"c{number}-"
        self.peer = peer
        self.user: str | None = None
        self.state = State.NEW
        self.reason: CloseReason | None = None
        self.closed = False
        self.login: Login | None = None
        self.version: str | None = None
        # What ERROR is written in before there is a version.
        self.wire_version = V12
        self.end = b"\0\n" if settings.trailing_newline else b"\0"
        self.host: VirtualHost = broker.host(settings.virtual_hosts[0])
        self.touched = broker.touched
        self.outbox = Outbox(broker.touched, settings.outbox_high)
        self.halt = False
        # What it waits for before more of its frames are read.
        self.paused_by: set[object] = set()
        self._work = 0
        # The transport's: something happened outside of `receive`: look at `over`, `halt`.
        self.wake: Callable[[], None] = _nobody
        self.subscriptions: dict[str, Subscription] = {}
        self.transactions: dict[str, Transaction] = {}
        self.temporaries: list[Queue | Topic] = []
        # The number of the last delivery; message-id and ack are made of it (AMB-33).
        self.deliveries = 0
        self.owners: dict[int, Subscription] = {}
        # Receipts in the order of their frames; the first waits for its ticket (AMB-31).
        self._receipts: deque[tuple[int, bytes]] = deque()
        # Heart-beats, in seconds; 0: none in this direction.
        self.heart_beat = (0, 0)
        self.sends_every = 0.0
        self.expects_every = 0.0
        self.heard_at = broker.now
        self.started_at = broker.now
        self.send_count = 0
        self.settle_count = 0
        self.receipt_count = 0
        self._actions: dict[str, Callable[[Head, bytes], None]] = {
            "CONNECT": self._connect,
            "STOMP": self._connect,
        }

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
        self.halt = False
        self._work = 0
        actions = self._actions
        at = start
        head = None
        try:
            for head, body in frames[start:] if start else frames:
                at += 1
                action = actions.get(head.command)
                if action is None:
                    self._out_of_place(head)
                else:
                    action(head, body)
                if self.halt:
                    break
        except RemoteProtocolError as error:
            if head is not None:
                _identify(error, head)
            self.fail(error)
        if self.broker.draining and self.state is State.OPEN and not self.busy:
            self.broker.end_for_shutdown(self)
        return at

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

    def _connect(self, head: Head, body: bytes) -> None:
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
        self.login = Login(headers.get("login"), headers.get("passcode"), host, headers)
        self.state = State.LOGIN
        self.halt = True

    def welcome(self, user: str | None, now: float) -> None:
        """Accept the log-in: write CONNECTED and carry frames out from now on (C-13 to C-16)."""
        assert self.version is not None  # noqa: S101 - CONNECT was read
        self.broker.now = now
        self.user = user
        self.state = State.OPEN
        self.login = None
        headers = [("version", self.version), ("server", self.broker.settings.server)]
        if self.version != V10:
            headers.append(("heart-beat", f"{self.heart_beat[0]},{self.heart_beat[1]}"))
        headers.append(("session", self.id))
        self.outbox.add(encode("CONNECTED", headers, version=self.version, end=self.end))
        self._actions = {
            "SEND": self._send,
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "ACK": self._ack,
            "NACK": self._nack,
            "BEGIN": self._begin,
            "COMMIT": self._commit,
            "ABORT": self._abort,
            "DISCONNECT": self._disconnect,
        }
        self.broker.welcomed(self)

    def refuse(self, message: str, detail: str, reason: CloseReason = CloseReason.REFUSED) -> None:
        """Answer CONNECT with ERROR and end (C-04)."""
        self.fail(RemoteProtocolError(message, detail), reason)

    def fail(
        self, error: RemoteProtocolError, reason: CloseReason = CloseReason.PROTOCOL_ERROR
    ) -> None:
        """Write the ERROR frame and end (E-02); receipts that were not due are never sent."""
        if self.over:
            return
        self._receipts.clear()
        message = error.message.replace("\r", " ").replace("\n", " ")
        headers = [("message", message), ("content-type", "text/plain")]
        headers += error.headers.items()
        body = f"{error.detail or error.message}\n".encode("utf-8", "replace")
        self._release(blame=reason is not CloseReason.SHUTDOWN)
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

    def _disconnect(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        # Nothing more is delivered once DISCONNECT is read (D-06).
        self._release(blame=False)
        self.receipt(head)
        self.halt = True
        if self._receipts:
            self.state = State.LEAVING
            self._actions = {}
        else:
            self._finish(CloseReason.DISCONNECT)

    def _finish(self, reason: CloseReason) -> None:
        self.state = State.OVER
        self.reason = reason
        self.halt = True
        self._actions = {}
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
        riders, self.outbox.riders = self.outbox.riders, []
        for message in riders:
            queue = message.queue
            if queue is not None:
                queue.give_back(message)
        self._dispatch({m.queue for m in riders if m.queue is not None})
        self.broker.closed(self)

    def _release(self, *, blame: bool) -> None:
        """Give up all that the session holds; ``blame`` it for the oldest unsettled deliveries."""
        for transaction in list(self.transactions.values()):
            self._undo(transaction)
        self.transactions.clear()
        for subscription in list(self.subscriptions.values()):
            self._end(subscription, blame=blame)
        for pauser in self.paused_by:
            if isinstance(pauser, Subscription):
                pauser.held_sessions.discard(self)
            else:
                pauser.blocked.discard(self)  # type: ignore[attr-defined]
        self.paused_by.clear()
        for target in self.temporaries:
            if not target.gone:
                self.host.remove(target)
        self.temporaries.clear()

    # Receipts.

    def receipt(self, head: Head, *, durable: bool = False) -> None:
        """Write the RECEIPT that a frame asked for, now or when the store has caught up (R-02)."""
        name = head.get("receipt")
        if name is None:
            return
        if len(name) > self.broker.settings.limits.receipt:
            raise RemoteProtocolError(
                "receipt over the limit",
                f"a receipt may have {self.broker.settings.limits.receipt} characters",
            )
        self._promise(name, durable=durable)

    def _promise(self, name: str, *, durable: bool) -> None:
        self.receipt_count += 1
        if name.isalnum() and name.isascii():
            frame = b"RECEIPT\nreceipt-id:%b\n\n%b" % (name.encode(), self.end)
        else:
            # 1.0 has no empty values, but a RECEIPT without its id would answer nothing.
            frame = b"RECEIPT\nreceipt-id:%b\n\n%b" % (escape(name, self.wire_version), self.end)
        ticket = self.broker.store.ticket() if durable else 0
        if ticket > self.broker.durable_ticket or self._receipts:
            self._receipts.append((ticket, frame))
            self.broker.awaits_store(self)
        else:
            self.outbox.add(frame)

    def confirm(self, ticket: int) -> bool:
        """Write the receipts that waited for ``ticket``; return whether others still wait."""
        receipts = self._receipts
        while receipts and receipts[0][0] <= ticket:
            self.outbox.add(receipts.popleft()[1])
        if self.state is State.LEAVING and not receipts:
            self._finish(CloseReason.DISCONNECT)
        return bool(receipts)

    # SEND.

    def _send(self, head: Head, body: bytes) -> None:
        plan = head.plan
        if (
            not isinstance(plan, SendPlan)
            or plan.host is not self.host
            or plan.target is None
            or plan.target.gone
        ):
            plan = self._plan(head)
        forward = plan.forward
        if forward is None:
            message = Message(head, body, None, plan.persistent)
        else:
            if plan.lengthened:
                # Its own header lines end where ours has to be added.
                forward += b"content-length:%d\n\n" % len(body) if body else b"\n"
            if len(body) < LARGE:
                message = Message(head, body, forward + body + self.end, plan.persistent)
            else:
                message = Message(head, body, None, plan.persistent)
                message.same = (forward, body, self.end)
        self.send_count += 1
        if plan.special:
            self._send_special(head, message, plan)
            return
        target = plan.target
        if target is None:
            self.host.dropped += 1
            return
        if target.bounded:
            target.check_room(1, message.size)
        target.put(message, self)

    def _plan(self, head: Head) -> SendPlan:
        text = head.get("destination")
        if text is None:
            raise RemoteProtocolError(
                *rules.missing("SEND", "destination", self.wire_version, head.headers)
            )
        shape = head.shape.plan
        if not isinstance(shape, SendShape):
            shape = head.shape.plan = SendShape(head.shape)
        target = self.host.target(text, self)
        parts = head.parts
        at = shape.persistent
        persistent = at is not None and parts[at].strip().lower() in ("true", "1")
        forward = None
        if head.plain:
            if shape.drop:
                lines = head.block.split(b"\n")
                for number in shape.drop:
                    del lines[number]
                forward = b"\n".join(lines)
            else:
                forward = head.block
            forward += b"\n" if shape.lengthened else b"\n\n"
        plan = SendPlan(self.host, target, forward, shape=shape, persistent=persistent)
        # A temporary destination, and one that is gone, mean something else in every session.
        if not text.startswith(("/temp-", "/remote-")):
            head.plan = plan
        return plan

    def _send_special(self, head: Head, message: Message, plan: SendPlan) -> None:
        """Carry out a SEND with a receipt, a transaction or a reply-to."""
        reply_to = head.get("reply-to")
        if reply_to is not None and reply_to.startswith(("/temp-queue/", "/temp-topic/")):
            message = self._with_reply_to(message, parse(reply_to))
        target = plan.target
        name = head.get("transaction")
        if name is not None:
            transaction = self._transaction(name, "SEND")
            if target is not None:
                self._enlist(transaction, message.size)
                transaction.sends.append((target, message))
            self.receipt(head)
            return
        if target is None:
            self.host.dropped += 1
        else:
            target.check_room(1, message.size)
            target.put(message, self)
        self.receipt(head, durable=plan.persistent)

    def _with_reply_to(self, message: Message, destination: Destination) -> Message:
        """Return the message with a reply-to that others can SEND to; subscribe the sender."""
        target = self.host.temporary(destination, self)
        if not any(s.destination.name == destination.name for s in self.subscriptions.values()):
            self._open_subscription(destination.name, destination, "auto", named=True, head=None)
        changed = Message(message.head, message.body, None, message.persistent)
        changed.extra = {"reply-to": target.name}
        return changed

    # SUBSCRIBE and UNSUBSCRIBE.

    def _subscribe(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        headers = head.headers
        destination = parse(headers["destination"])
        ack = headers.get("ack", "auto")
        if ack not in rules.ACK_MODES:
            raise RemoteProtocolError(
                "unknown ack mode", f'"{shown(ack)}"; it is auto, client or client-individual'
            )
        name = headers.get("id")
        named = name is not None
        key = destination.name if name is None else name
        limits = self.broker.settings.limits
        if named and len(key.encode("utf-8", "surrogateescape")) > limits.subscription_id:
            raise RemoteProtocolError(
                "subscription id over the limit", f"it may have {limits.subscription_id} octets"
            )
        present = self.subscriptions.get(key)
        if present is not None:
            # A 1.0 client that repeats itself changes nothing (AMB-40).
            if self.version == V10 and present.destination.name == destination.name:
                self.receipt(head)
                return
            raise RemoteProtocolError(
                "subscription id in use",
                f'"{shown(key)}" is subscribed to {shown(present.destination.name)}; '
                "UNSUBSCRIBE it first or take another id",
            )
        if len(self.subscriptions) >= limits.subscriptions:
            raise RemoteProtocolError(
                "too many subscriptions", f"a connection may have {limits.subscriptions}"
            )
        subscription = self._open_subscription(key, destination, ack, named=named, head=head)
        # The RECEIPT goes before the first MESSAGE (SUB-12).
        self.receipt(head)
        for queue in list(subscription.queues):
            queue.dispatch()

    def _open_subscription(
        self, key: str, destination: Destination, ack: str, *, named: bool, head: Head | None
    ) -> Subscription:
        policy = self.broker.settings.policies.of(destination.name)
        subscription = Subscription(
            self,
            key,
            destination,
            ack=ack,
            named=named,
            prefetch_count=_number(head, "prefetch-count", policy.prefetch_count),
            prefetch_bytes=_number(head, "prefetch-bytes", policy.prefetch_bytes),
        )
        self.host.attach(subscription)
        self.subscriptions[key] = subscription
        return subscription

    def message_template(self, subscription: Subscription) -> bytes:
        """Return the head of a MESSAGE up to its own headers, to be filled with its number."""
        identity = self._identity.encode().replace(b"%", b"%%")
        lines = [b"MESSAGE\n"]
        if subscription.named:
            name = escape(subscription.id, self.wire_version).replace(b"%", b"%%")
            lines.append(b"subscription:%b\n" % name)
        lines.append(b"message-id:%b%%d\n" % identity)
        if subscription.twice:
            lines.append(b"ack:%b%%d\n" % identity)
        return b"".join(lines)

    def redelivery_lines(self, message: Message) -> bytes:
        """Return the header lines that tell a repeated delivery from a first one."""
        lines = b"redelivered:true\n"
        # A dead letter tells the count of the queue that it comes from.
        if not message.extra or "delivery-count" not in message.extra:
            lines += b"delivery-count:%d\n" % (message.count + 1)
        if message.first_id:
            lines += b"original-message-id:%b\n" % message.first_id.encode()
        return lines

    def _unsubscribe(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        subscription = self._named_subscription(head)
        self._end(subscription, blame=False)
        self.receipt(head)

    def _named_subscription(self, head: Head) -> Subscription:
        """Return what UNSUBSCRIBE means: by id, in 1.0 also by destination (U-03, V10-12)."""
        name = head.get("id")
        if name is None:
            text = head.get("destination")
            if text is None:
                raise RemoteProtocolError(
                    "UNSUBSCRIBE without id", "STOMP 1.0 needs its id or its destination"
                )
            destination = parse(text)
            found = [
                s for s in self.subscriptions.values() if s.destination.name == destination.name
            ]
            found.sort(key=lambda subscription: subscription.named)
            if found:
                return found[0]
            name = text
        subscription = self.subscriptions.get(name)
        if subscription is None:
            raise RemoteProtocolError(
                "no such subscription", f'"{shown(name)}" is not subscribed on this connection'
            )
        return subscription

    def _end(self, subscription: Subscription, *, blame: bool) -> None:
        """End a subscription; what it had not settled goes back to its old place."""
        del self.subscriptions[subscription.id]
        subscription.gone = True
        self.host.detach(subscription)
        subscription.backlog.clear()
        subscription.let_go()
        back = subscription.unsettled
        subscription.unsettled = {}
        queues = set()
        for number, message in back.items():
            del self.owners[number]
            if not message.first_id:
                message.first_id = f"{self._identity}{number}"
            if message.queue is not None:
                queues.add(message.queue)
        messages = list(back.values())
        if blame and messages:
            # It was probably being worked on when the consumer died.
            messages[0].count += 1
        for message in messages:
            self._take_back(message)
        self._dispatch(queues)

    @staticmethod
    def _take_back(message: Message) -> None:
        queue = message.queue
        if queue is None:
            return
        limit = queue.policy.max_deliveries
        if limit and message.count >= limit:
            queue.reject(message, "max-deliveries")
        else:
            queue.give_back(message)

    @staticmethod
    def _dispatch(queues: set[Queue]) -> None:
        for queue in sorted(queues, key=lambda queue: queue.name):
            queue.dispatch()

    # ACK and NACK.

    def _ack(self, head: Head, body: bytes) -> None:
        if body:
            rules.check_no_body("ACK", body, self.wire_version)
        self._settle(head, nack=False)

    def _nack(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        self._settle(head, nack=True)

    def _settle(self, head: Head, *, nack: bool) -> None:
        number = self._delivery_number(head)
        subscription = self.owners.get(number)
        if subscription is not None:
            self._check_subscription(head, subscription)
        name = head.get("transaction")
        durable = False
        dead = nack and (head.get("requeue") or "").strip().lower() in ("false", "0")
        if name is not None:
            transaction = self._transaction(name, head.command)
            if subscription is not None:
                numbers = subscription.enlist(number)
                self._enlist(transaction, 0)
                transaction.settlements.append(
                    Settlement(
                        subscription,
                        numbers,
                        nack=nack,
                        dead=dead,
                        detail=(head.get("reason") or "") if nack else "",
                    )
                )
                subscription.serve()
        elif subscription is not None:
            messages = subscription.settle(number)
            self.settle_count += len(messages)
            durable = any(message.stored for message in messages)
            if nack:
                self._reject(messages, head.get("reason") or "", dead=dead)
            else:
                for message in messages:
                    message.queue.settled(message)  # type: ignore[union-attr]
            if subscription.parked:
                subscription.serve()
        self.receipt(head, durable=durable)

    def _delivery_number(self, head: Head) -> int:
        """Return the number of the delivery that an ACK or NACK names.

        Raises `RemoteProtocolError` for one that this session never made (ACK-16).
        """
        name = "id" if self.version == V12 else "message-id"
        value = head.get(name)
        if value is None:
            raise RemoteProtocolError(
                *rules.missing(head.command, name, self.wire_version, head.headers)
            )
        identity = self._identity
        if value.startswith(identity):
            digits = value[len(identity) :]
            if digits.isdecimal() and len(digits) < 19:  # noqa: PLR2004 - digits of 64 bits
                number = int(digits)
                if 0 < number <= self.deliveries:
                    return number
        raise RemoteProtocolError(
            f"{head.command} of an unknown message",
            f'{name} "{shown(value)}" was never delivered on this connection'
            + ("; it takes the value of the MESSAGE's ack header" if name == "id" else ""),
        )

    def _check_subscription(self, head: Head, subscription: Subscription) -> None:
        """Raise unless a 1.1 or 1.0 ACK names the subscription of the delivery (V11-05)."""
        if self.version == V12:
            return
        name = head.get("subscription")
        if name is not None and name != subscription.id:
            raise RemoteProtocolError(
                f"{head.command} names another subscription",
                f'the message went to "{shown(subscription.id)}", not to "{shown(name)}"',
            )

    def _reject(self, messages: list[Message], detail: str, *, dead: bool) -> None:
        """Carry out a NACK: back to the queue, or to the dead letters (ACK-13)."""
        queues = set()
        for message in messages:
            queue = message.queue
            assert queue is not None  # noqa: S101 - only messages of queues are settled
            message.count += 1
            message.detail = detail
            if dead:
                queue.reject(message, "rejected")
            else:
                self._take_back(message)
            queues.add(queue)
        self._dispatch(queues)

    # Transactions.

    def _transaction(self, name: str, command: str) -> Transaction:
        transaction = self.transactions.get(name)
        if transaction is None:
            if self.broker.settings.implicit_begin and command in ("SEND", "ACK", "NACK"):
                return self._new_transaction(name)
            raise RemoteProtocolError(
                "no such transaction",
                f'"{shown(name)}" is not open on this connection; BEGIN it first',
            )
        return transaction

    def _new_transaction(self, name: str) -> Transaction:
        limit = self.broker.settings.limits.transactions
        if len(self.transactions) >= limit:
            raise RemoteProtocolError(
                "too many open transactions", f"a connection may have {limit}"
            )
        transaction = self.transactions[name] = Transaction(name)
        return transaction

    def _enlist(self, transaction: Transaction, size: int) -> None:
        limits = self.broker.settings.limits
        transaction.frames += 1
        transaction.bytes += size
        if transaction.frames > limits.transaction_frames:
            raise RemoteProtocolError(
                "transaction over the limit",
                f"a transaction may have {limits.transaction_frames} frames",
            )
        if transaction.bytes > limits.transaction_bytes:
            raise RemoteProtocolError(
                "transaction over the limit",
                f"a transaction may have {limits.transaction_bytes} octets",
            )

    def _begin(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        name = head.headers["transaction"]
        if name in self.transactions:
            raise RemoteProtocolError(
                "transaction already open", f'"{shown(name)}"; COMMIT or ABORT it first'
            )
        self._new_transaction(name)
        self.receipt(head)

    def _commit(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        transaction = self._transaction(head.headers["transaction"], "COMMIT")
        # All or nothing: what may refuse is asked before anything is done (TX-01).
        for target, (count, size) in transaction.rooms().items():
            target.check_room(count, size)
        del self.transactions[transaction.id]
        durable = transaction.persistent()
        store = self.broker.store
        store.begin_group()
        for settlement in transaction.settlements:
            messages = settlement.subscription.release(settlement.numbers)
            self.settle_count += len(messages)
            if settlement.nack:
                self._reject(messages, settlement.detail, dead=settlement.dead)
            else:
                for message in messages:
                    message.queue.settled(message)  # type: ignore[union-attr]
        for target, message in transaction.sends:
            if target.gone:
                again = self.host.target(message.headers["destination"], self)
                if again is None:
                    self.host.dropped += 1
                    continue
                target = again  # noqa: PLW2901 - it ended while the transaction was open
            target.put(message, self)
        store.end_group()
        self.receipt(head, durable=durable)

    def _abort(self, head: Head, body: bytes) -> None:
        rules.check(head, body, self.wire_version)
        transaction = self._transaction(head.headers["transaction"], "ABORT")
        del self.transactions[transaction.id]
        self._undo(transaction)
        self.receipt(head)

    @staticmethod
    def _undo(transaction: Transaction) -> None:
        for settlement in transaction.settlements:
            settlement.subscription.restore(settlement.numbers)

    # What the transport and the broker tell it.

    def drained(self) -> None:
        """The outbox was written out: let its subscriptions be served again."""
        self.outbox.waiting = False
        for subscription in list(self.subscriptions.values()):
            if subscription.backlog or subscription.slow:
                subscription.refill()
            if subscription.parked:
                subscription.serve()

    def written(self, riders: list[Message]) -> None:
        """Settle what went out in mode auto: all octets of ``riders`` are written."""
        for message in riders:
            queue = message.queue
            if message.stored or queue.bounded:  # type: ignore[union-attr]
                queue.settled(message)  # type: ignore[union-attr]
            else:
                queue.unsettled -= 1  # type: ignore[union-attr]
                queue.bytes -= message.size  # type: ignore[union-attr]

    def stop_deliveries(self) -> None:
        """Let nothing more be assigned to its subscriptions."""
        for subscription in self.subscriptions.values():
            subscription.retire()

    @property
    def unconfirmed(self) -> bool:
        """True while receipts wait for the store."""
        return bool(self._receipts)

    def resume_reading(self) -> None:
        """One reason to be paused is gone: wake the transport if it was the last."""
        if not self.paused_by:
            self.wake()

    def subscription_is_slow(self, subscription: Subscription) -> None:
        """Start the grace that the policy gives a subscriber that cannot keep up."""
        policy = self.broker.settings.policies.of(subscription.destination.name)
        if policy.slow_consumer == "block":
            return
        due = self.broker.now + policy.slow_consumer_grace
        self.broker.at(due, lambda: self._slow_due(subscription, policy.slow_consumer))

    def _slow_due(self, subscription: Subscription, action: str) -> None:
        if subscription.gone or not subscription.slow:
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
        if outbox.size == 0 and outbox.sent_at + half <= now:
            outbox.add(b"\n")
            outbox.sent_at = now
        self.broker.at(max(outbox.sent_at, now - half) + half, self.beat_due)

    def silence_due(self) -> None:
        """End the session if nothing was heard for too long; else come again (H-12)."""
        if self.over:
            return
        options = self.broker.settings.heart_beat
        patience = self.expects_every * options.tolerance + options.grace
        now = self.broker.now
        if self.paused:
            # Nothing is read from it, so nothing can be heard.
            self.heard_at = now
        if self.heard_at + patience > now:
            self.broker.at(self.heard_at + patience, self.silence_due)
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


def _number(head: Head | None, name: str, default: int) -> int:
    """Return a whole number from a header; the policy's where there is none."""
    value = None if head is None else head.get(name)
    if value is None:
        return default
    digits = value.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):  # noqa: PLR2004
        raise RemoteProtocolError(
            f"{name} is not a number", f'"{shown(value)}"; it is a whole number, 0 for no limit'
        )
    return int(digits)
