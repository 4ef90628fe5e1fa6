"""What all connections of a running broker share, and the tasks beside them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stompd.broker.principal import Principal
from stompd.broker.rights import named
from stompd.broker.session import CloseReason
from stompd.protocol.decoder import HeadTable
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.server.accounts import authenticator_of
from stompd.server.audit import Audit
from stompd.server.auth import WRONG, Anonymous, LoginRefusedError, Renewing, is_trusted, log_in
from stompd.server.buckets import LAG, Buckets
from stompd.server.connection import Connection
from stompd.server.failures import Failures
from stompd.server.poller import Poller
from stompd.server.welcome import Welcome

if TYPE_CHECKING:
    import socket
    import ssl

    from stompd.broker.access import Refusal
    from stompd.broker.admin.request import Act
    from stompd.broker.broker import Broker
    from stompd.broker.rights import Right, Rights
    from stompd.broker.session import Login, Session
    from stompd.server.auth import Authenticator
    from stompd.server.certificates import PeerCertificate
    from stompd.server.commit import Committer
    from stompd.server.config import Settings
    from stompd.server.tls import TlsSocket

log = structlog.get_logger()

# One ERROR is a mistake; an address that gets one after another is a client in a loop.
_OFFENCES: Final = frozenset((CloseReason.PROTOCOL_ERROR, CloseReason.REFUSED))
_FORGIVEN: Final = 5
_FORGET_AFTER: Final = 10.0
_MOST_OFFENDERS: Final = 1000
# Who writes much before it reads its answers is read from until so many times ``flow.outbox-high``
# wait for it.
_MOST_UNREAD: Final = 16


class Offenders:
    """The addresses that were sent an ERROR lately, at most ``_MOST_OFFENDERS`` of them."""

    def __init__(self) -> None:
        # How many, and when the last; the address of the latest offence comes last.
        self._offences: dict[str, tuple[int, float]] = {}

    def note(self, address: str, now: float) -> bool:
        """Count an offence at ``now``; return whether they are too many to be mistakes."""
        count, last = self._offences.pop(address, (0, now))
        if now - last > _FORGET_AFTER:
            count = 0
        self._offences[address] = (count + 1, now)
        if len(self._offences) > _MOST_OFFENDERS:
            del self._offences[next(iter(self._offences))]
        return count >= _FORGIVEN


def _log_act(act: Act) -> None:
    """Log what somebody has changed by a request, or wanted to change."""
    result = act.reply.get("result") or act.reply["error"]
    log.info(
        "admin request",
        verb=act.verb,
        connection=act.connection,
        user=act.user,
        vhost=act.vhost,
        fields=act.fields,
        ok=act.reply["ok"],
        result=result,
    )


class Service:
    """The broker, the settings in force, the connections, and their tasks' nursery.

    Without an authenticator the settings say who may log in; `ConfigurationError` is raised if what
    they name cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        authenticator: Authenticator | None,
        nursery: trio.Nursery,
        committer: Committer | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.broker = broker
        # Writes what the broker told its store; None if that keeps nothing.
        self.committer = committer
        self.settings = settings
        # True if it is the settings that say who may log in.
        self.configured = authenticator is None
        self.authenticator = authenticator or authenticator_of(settings)
        self.nursery = nursery
        # Takes new connections, and hands over those that are ready.
        self.welcome = Welcome(self, tls)
        self.poller = Poller(self)
        if committer is not None:
            self.poller.add(committer.socket, committer)
        # Octets of one read, and those that may wait to be written to who is read from; looked up
        # for every read.
        self.read_size = settings.flow.read_size
        self.most_unread = _MOST_UNREAD * settings.flow.outbox_high
        # Heads that decoders have seen; new after a reload, since limits are part of them.
        self.heads = HeadTable("server")
        self.connections: dict[Session, Connection] = {}
        self._per_address: dict[str, int] = {}
        # When those have to have logged in that have not yet; the oldest comes first.
        self._logins: dict[Session, float] = {}
        # True while a timer waits for the first of them.
        self._watching_logins = False
        self._offenders = Offenders()
        # Log-ins that failed lately.
        self.failures = Failures()
        # Octets that were read since the messages were weighed, and how many may be.
        self.came = 0
        self.weigh_after = 0
        self._thirst = trio.Event()
        self._due = trio.Event()
        # How much later than it was due something was done.
        self.lag = Buckets(LAG)
        broker.loop_status = self.lag.told
        broker.rescheduled = self._reschedule
        # Who was refused what, and who has changed something.
        self.audit = Audit()
        broker.acted = self._acted
        broker.denied = self._denied
        broker.memory.changed = self._log_memory
        # Set when no connection is left.
        self._empty = trio.Event()

    def _acted(self, act: Act) -> None:
        _log_act(act)
        self.audit.acted(act)

    def _denied(self, refusal: Refusal) -> None:
        log.info(
            "access refused",
            connection=refusal.connection,
            peer=refusal.peer,
            user=refusal.user,
            vhost=refusal.vhost,
            right=refusal.right,
            destination=shown(refusal.destination),
        )
        self.audit.refused(refusal)

    def open_audit(self, settings: Settings) -> None:
        """Write the audit log where settings say; if that cannot be, where it was written."""
        try:
            self.audit.open(settings.log.audit)
        except OSError as error:
            log.warning("the audit log cannot be opened", reason=error.strerror)

    # Connections come and go.

    def accept(self, sock: socket.socket | TlsSocket, peer: str, address: str) -> Connection:
        """Serve a new connection, and return it; ``address`` is the peer's without its port."""
        connection = Connection(self, sock, peer, address)
        session = connection.session
        limits = self.settings.limits
        self.connections[session] = connection
        here = self._per_address.get(address, 0) + 1
        self._per_address[address] = here
        now = trio.current_time()
        self._logins[session] = now + self.settings.timeouts.login
        log.debug("connection opened", connection=session.id, peer=peer)
        excess = None
        if len(self.connections) > limits.connections:
            excess = f"this server takes {limits.connections} connections"
        elif limits.connections_per_address and here > limits.connections_per_address:
            excess = f"this server takes {limits.connections_per_address} from one address"
        elif len(self._logins) > limits.logins:
            excess = f"{limits.logins} connections are logging in already"
        if excess is not None:
            del self._logins[session]
            log.warning("connection refused", connection=session.id, peer=peer, reason=excess)
            session.fail(
                RemoteProtocolError("too many connections", f"{excess}; try again later"),
                CloseReason.TRANSPORT_FULL,
            )
        elif not self._watching_logins:
            self._watching_logins = True
            self.broker.at(self._logins[session], self._login_due)
        connection.start()
        return connection

    def _login_due(self) -> None:
        """End those that should have logged in by now; come again for the next.

        One timer for all: with one for each, a client that connects and leaves again and again
        would leave that many behind.
        """
        now = self.broker.now
        self._watching_logins = False
        for session, due in list(self._logins.items()):
            if due > now:
                self._watching_logins = True
                self.broker.at(due, self._login_due)
                return
            del self._logins[session]
            session.fail(
                RemoteProtocolError(
                    "login timeout",
                    f"no CONNECT was completed within {self.settings.timeouts.login:g} s",
                ),
                CloseReason.LOGIN_TIMEOUT,
            )

    def logged_in(self, connection: Connection) -> None:
        """Note that a connection has logged in."""
        session = connection.session
        self._logins.pop(session, None)
        log.debug("logged in", connection=session.id, user=session.user, version=session.version)

    def closed(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        session = connection.session
        del self.connections[session]
        self._logins.pop(session, None)
        left = self._per_address[connection.address] - 1
        if left:
            self._per_address[connection.address] = left
        else:
            del self._per_address[connection.address]
        if session.fault is not None and session.reason is not CloseReason.SHUTDOWN:
            # What a client sent before it was let in may hold its passcode.
            inside = session.version is not None and session.login is None
            log.info(
                "connection ended by ERROR",
                connection=session.id,
                peer=connection.peer,
                user=session.user,
                message=session.fault.message,
                detail=session.fault.detail if inside else "",
            )
        log.debug(
            "connection closed",
            connection=session.id,
            reason=session.reason.value if session.reason else None,
        )
        if not self.connections:
            self._empty.set()

    def delay_of(self, address: str, reason: CloseReason) -> float:
        """Return for how many seconds a connection that ended for ``reason`` is not let go yet.

        A client that connects again at once, to make the same mistake again, is slowed down by it.
        """
        if reason not in _OFFENCES or not self._offenders.note(address, trio.current_time()):
            return 0.0
        return self.settings.timeouts.error_delay

    def part(self) -> None:
        """Close the connections that are still open, at once and without a word."""
        for connection in list(self.connections.values()):
            connection.forget(CloseReason.SHUTDOWN)

    def abandon(self) -> None:
        """Close all that is still open, the selector as well."""
        self.part()
        self.poller.close()
        self.audit.close()

    async def emptied(self) -> None:
        """Return when no connection is left."""
        while self.connections:
            self._empty = trio.Event()
            await self._empty.wait()

    # Memory.

    def weigh(self) -> None:
        """Have the broker see whether its messages take too much memory."""
        self.came = 0
        self.weigh_after = self.broker.memory.check()

    def _log_memory(self) -> None:
        """Log that producers wait for memory, or wait no more."""
        memory = self.broker.memory
        mark = self.broker.settings.memory_mark
        if memory.heavy:
            log.warning("producers wait for memory", weight=memory.weight, mark=mark)
        else:
            log.info("producers go on", weight=memory.weight, mark=mark)

    # Writing, and serving who waited for room.

    def flush(self) -> None:
        """Write every outbox that got something, and have the store written; never waits.

        Whoever had the broker do something calls this, or one of those that do, when he is done.
        """
        self.broker.flush_touched()
        if self.committer is not None:
            self.committer.look()

    def thirst(self, session: Session) -> None:
        """Note that a session's outbox has room again; `serve_thirsty` refills it."""
        # Once is enough until it was refilled.
        session.outbox.waiting = False
        self.broker.thirsty.append(session)
        self._thirst.set()

    def refill(self) -> None:
        """Serve those whose outbox has room again, each up to its mark once."""
        broker = self.broker
        thirsty, broker.thirsty = broker.thirsty, []
        for session in thirsty:
            try:
                session.drained()
            except Exception as error:  # noqa: BLE001 - only that connection ends
                connection = self.connections.get(session)
                if connection is not None:
                    connection.crashed(error)
        self.flush()

    async def serve_thirsty(self) -> None:
        """Refill outboxes that have room again, in rounds, so that nobody is starved."""
        while True:
            await self._thirst.wait()
            self._thirst = trio.Event()
            while self.broker.thirsty:
                self.refill()
                await trio.lowlevel.checkpoint()

    # Time.

    def _reschedule(self) -> None:
        self._due.set()

    async def keep_time(self) -> None:
        """Have the broker do what is due, when it is due."""
        broker = self.broker
        while True:
            self._due = trio.Event()
            now = trio.current_time()
            # The time of day may be set, and goes on while a machine is suspended.
            broker.epoch = time.time() - now
            if self.committer is not None:
                self.committer.store.epoch = broker.epoch
            try:
                due = broker.tick(now)
            except Exception:
                # One connection's fault is not the others': the action is gone, time goes on.
                log.exception("something that was due failed by a fault of stompd")
                await trio.lowlevel.checkpoint()
                continue
            self.flush()
            with trio.move_on_at(math.inf if due is None else due) as until:
                await self._due.wait()
            if until.cancelled_caught:
                self.lag.add(max(trio.current_time() - until.deadline, 0.0))

    # Who somebody is, and what he may do: for every way in.

    async def identify(
        self,
        login: Login,
        peer: str,
        address: str,
        vhost: str,
        *,
        connection: str = "",
        certificate: PeerCertificate | None = None,
    ) -> Principal:
        """Return who it is that logs in; takes its time, and longer with each failure.

        ``peer`` is for people, ``address`` is its address alone. Raises `LoginRefusedError`, and
        has told the logs of it.
        """
        try:
            principal = await log_in(
                self.authenticator,
                login,
                peer,
                address=address,
                failures=self.failures,
                certificate=certificate,
            )
            return self._still(principal, address)
        except LoginRefusedError as refusal:
            told = {"user": login.user, "peer": peer, "connection": connection}
            log.info(refusal.message, **told, reason=refusal.reason)
            self.audit.tell(
                "login-failed", **told, vhost=vhost, message=refusal.message, reason=refusal.reason
            )
            raise

    def _still(self, principal: Principal, address: str) -> Principal:
        """Return who it is now: users may have changed while it was asked."""
        known = self.renew(principal, address)
        if known is None:
            raise LoginRefusedError(WRONG, "gone meanwhile")
        return known

    def may(self, principal: Principal, right: Right, destination: str, vhost: str) -> bool:
        """Return whether somebody has a right to a destination, or to all that a pattern matches.

        ``vhost`` is one of the settings. Raises `RemoteProtocolError` for a name that is none.
        """
        return self.broker.host(vhost).access(principal).may(right, named(destination))

    def renew(self, principal: Principal, address: str) -> Principal | None:
        """Return what has become of who logged in from ``address``; None if it is not let in."""
        authenticator = self.authenticator
        if isinstance(authenticator, Anonymous):
            return Principal(trusted=is_trusted(authenticator, address))
        return authenticator.renew(principal) if isinstance(authenticator, Renewing) else principal

    def _renew(self, session: Session) -> Principal | None:
        return self.renew(session.principal, self.connections[session].address)

    def reload(self, settings: Settings, server: str, rights: Rights | None) -> None:
        """Put new settings in force; what is open keeps the limits that it was opened with.

        Who may not have what it has any more gets ERROR; ``rights`` say who may do what.
        """
        self.settings = settings
        self.welcome.reload(settings)
        self.open_audit(settings)
        self.audit.tell("settings reloaded")
        self.read_size = settings.flow.read_size
        self.most_unread = _MOST_UNREAD * settings.flow.outbox_high
        core = settings.for_broker(server, rights)
        for name in self.broker.reconfigure(core, self._renew):
            log.warning("route given up: the settings have one of its name, or a loop", route=name)
        if self.committer is not None:
            self.committer.configure(settings.store, trailing_newline=settings.trailing_newline)
        self.weigh()
        self.heads = HeadTable("server")
        self.flush()
