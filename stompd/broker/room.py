"""When persistent messages cannot be taken: the disk is full, or behind with what it has to write.

Neither costs anything while a message is not persistent. A store that is behind has producers wait;
it catches up by itself, whatever its clients do, so nothing can be locked by that. A store without
room refuses instead, because nobody knows when there will be room again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stompd.protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from stompd.broker.broker import Broker
    from stompd.broker.session import Session


class StoreRoom:
    """Belongs to the broker; asked before anything is done for a persistent message."""

    __slots__ = ("_broker", "blocked", "full")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # Sessions whose next persistent message waits until the store has caught up.
        self.blocked: set[Session] = set()
        # True from the first batch that found no room until there is room again.
        self.full = False

    def delays(self, session: Session) -> bool:
        """Return whether the frame at hand, with persistent messages, has to wait; have it wait.

        Raises `RemoteProtocolError` if there is no room for them.
        """
        store = self._broker.store
        if store.full:
            raise disk_full()
        if not store.congested or not session.patient:
            return False
        session.wait_for(self)
        return True

    def release(self) -> None:
        """Have those go on that wait: to be taken, or to be told that there is no room."""
        blocked, self.blocked = self.blocked, set()
        for session in blocked:
            session.paused_by.discard(self)
            session.resume_reading()


def disk_full() -> RemoteProtocolError:
    """Return the ERROR for a persistent message that cannot be written."""
    return RemoteProtocolError(
        "disk full",
        "there is no room to keep persistent messages; send it again later, or without "
        "persistent:true if it may be lost, and tell who runs this server",
    )
