"""Who asks, what is refused, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
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
    # May look at the broker; may act on it.
    monitors: bool
    administers: bool

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
