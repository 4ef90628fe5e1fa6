"""Who asks, what is refused, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stompd.broker.access import AccessRefusedError

if TYPE_CHECKING:
    from stompd.broker.destination import Destination
    from stompd.broker.principal import Principal
    from stompd.broker.rights import Right
    from stompd.broker.virtualhost import VirtualHost

Code = Literal["bad-request", "forbidden", "not-found", "conflict", "failed"]


class AdminError(Exception):
    """A request that is not carried out: its code for programs, and a sentence for people."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Caller:
    """Somebody who asks. The names of destinations are those of the virtual host."""

    host: VirtualHost
    # The id of the connection, empty if the request came by another way than STOMP.
    connection: str
    user: str | None
    # Whose rights count, in each virtual host those that it has there.
    principal: Principal
    # Its address.
    peer: str = ""

    def sees(self, host: VirtualHost, destination: Destination) -> bool:
        """Return whether somebody may look at a destination, or at all of several in one."""
        return host.access(self.principal).may("monitor", destination)

    def has(self, right: Right) -> bool:
        """Return whether the right is there for anything at all."""
        hosts = self.host.broker.hosts
        return any(host.access(self.principal).grant.has(right) for host in hosts)

    def demand(self, right: Right, host: VirtualHost, destination: Destination) -> None:
        """Raise `AdminError` unless the right to a destination is there."""
        try:
            host.access(self.principal).demand(right, destination)
        except AccessRefusedError as error:
            raise AdminError("forbidden", error.detail) from error

    @property
    def gone(self) -> bool:
        """True if the connection that asked is not there any more."""
        if not self.connection:
            return False
        session = self.host.broker.sessions.get(self.connection)
        return session is None or session.over


@dataclass(frozen=True)
class Act:
    """A request that changes something, as it was carried out or refused: for the log."""

    verb: str
    connection: str
    user: str | None
    vhost: str
    fields: dict[str, Any]
    reply: dict[str, Any]
    peer: str = ""
