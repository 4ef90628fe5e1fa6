"""What all connections of a running broker share, and the tasks beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog
import trio

from stompd.broker.session import CloseReason, State
from stompd.protocol.decoder import HeadTable
from stompd.protocol.errors import RemoteProtocolError
from stompd.server.connection import Connection

if TYPE_CHECKING:
    import socket

    from stompd.broker.broker import Broker
    from stompd.broker.session import Session
    from stompd.server.auth import Authenticator
    from stompd.server.config import Settings

log = structlog.get_logger()


class Service:
    """The broker, the settings in force, the connections, and their tasks' nursery."""

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        authenticator: Authenticator,
        nursery: trio.Nursery,
    ) -> None:
        self.broker = broker
        self.settings = settings
        self.authenticator = authenticator
        self.nursery = nursery
        # Heads that decoders have seen; new after a reload, since limits are part of them.
        self.heads = HeadTable("server")
        self.connections: set[Connection] = set()
        self._per_address: dict[str, int] = {}
        self._logging_in = 0
        self._thirst = trio.Event()
        self._due = trio.Event()
        broker.rescheduled = self._reschedule
        # Set when no connection is left.
        self._empty = trio.Event()

    # Connections come and go.

    def accept(self, sock: socket.socket, peer: str, address: str) -> None:
        """Serve a new connection; ``address`` is the peer's without its port."""
        connection = Connection(self, sock, peer, address)
        session = connection.session
        limits = self.settings.limits
        self.connections.add(connection)
        here = self._per_address.get(address, 0) + 1
        self._per_address[address] = here
        self._logging_in += 1
        log.debug("connection opened", connection=session.id, peer=peer)
        excess = None
        if len(self.connections) > limits.connections:
            excess = f"this server takes {limits.connections} connections"
        elif limits.connections_per_address and here > limits.connections_per_address:
            excess = f"this server takes {limits.connections_per_address} from one address"
        elif self._logging_in > limits.logins:
            excess = f"{limits.logins} connections are logging in already"
        if excess is not None:
            log.warning("connection refused", connection=session.id, peer=peer, reason=excess)
            session.fail(
                RemoteProtocolError("too many connections", f"{excess}; try again later"),
                CloseReason.TRANSPORT_FULL,
            )
        else:
            due = trio.current_time() + self.settings.timeouts.login
            self.broker.at(due, lambda: self._login_due(session))
        self.nursery.start_soon(connection.run, name=session.id)

    def _login_due(self, session: Session) -> None:
        if session.state in (State.NEW, State.LOGIN):
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
        connection.logged_in = True
        self._logging_in -= 1
        log.debug("logged in", connection=session.id, user=session.user, version=session.version)

    def closed(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        session = connection.session
        self.connections.discard(connection)
        if not connection.logged_in:
            self._logging_in -= 1
        left = self._per_address[connection.address] - 1
        if left:
            self._per_address[connection.address] = left
        else:
            del self._per_address[connection.address]
        log.debug(
            "connection closed",
            connection=session.id,
            reason=session.reason.value if session.reason else None,
        )
        if not self.connections:
            self._empty.set()

    async def emptied(self) -> None:
        """Return when no connection is left."""
        while self.connections:
            self._empty = trio.Event()
            await self._empty.wait()

    # Writing, and serving who waited for room.

    def flush(self) -> None:
        """Write every outbox that got something; never waits."""
        self.broker.flush_touched()

    def thirst(self, session: Session) -> None:
        """Note that a session's outbox has room again; `serve_thirsty` refills it."""
        # Once is enough until it was refilled.
        session.outbox.waiting = False
        self.broker.thirsty.append(session)
        self._thirst.set()

    async def serve_thirsty(self) -> None:
        """Refill outboxes that have room again, in rounds, so that nobody is starved."""
        broker = self.broker
        while True:
            await self._thirst.wait()
            self._thirst = trio.Event()
            while broker.thirsty:
                broker.refill()
                broker.flush_touched()
                await trio.lowlevel.checkpoint()

    # Time.

    def _reschedule(self) -> None:
        self._due.set()

    async def keep_time(self) -> None:
        """Have the broker do what is due, when it is due."""
        broker = self.broker
        while True:
            self._due = trio.Event()
            try:
                due = broker.tick(trio.current_time())
            except Exception:
                # One connection's fault is not the others': the action is gone, time goes on.
                log.exception("something that was due failed by a fault of stompd")
                await trio.lowlevel.checkpoint()
                continue
            broker.flush_touched()
            with trio.move_on_at(math.inf if due is None else due):
                await self._due.wait()

    def reload(self, settings: Settings, server: str) -> None:
        """Put new settings in force; what is open keeps the limits that it was opened with."""
        self.settings = settings
        self.broker.reconfigure(settings.for_broker(server))
        self.heads = HeadTable("server")
