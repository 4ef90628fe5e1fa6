"""One task that reads from every connection that has something to say.

A task for each connection costs a pass of the scheduler and a system call of its own for every
read, which is most of what a message costs when many connections send one at a time. Here a
selector of our own keeps all sockets registered; trio only waits for the selector itself. Each
round reads once from every socket that is ready, and then writes every touched outbox once, so a
consumer of many producers gets one write a round. What the store was told is handed over then,
unless that is little: what can be read already goes with it, so that many producers share a commit.
"""

from __future__ import annotations

import math
import selectors
from typing import TYPE_CHECKING, Final, Protocol

import trio
from trio.lowlevel import checkpoint, wait_readable

if TYPE_CHECKING:
    import socket

    from stompd.server.service import Service
    from stompd.server.tls import TlsSocket

# Seconds of reading without a pause before the other tasks get their turn.
_TURN: Final = 0.001
# Seconds to wait for more in the selector itself, where that keeps nobody waiting: clients that
# wait for each answer are ready again before the scheduler could have looked twice.
_LINGER: Final = 0.001
# How often that is done in a row, with a turn for the other tasks between, while messages come one
# by one and silences are short: falling asleep and waking up takes longer than a message.
_LINGER_TURNS: Final = 5
# Seconds of a silence that is short.
_SHORT: Final = 0.005
# Octets from one silence to the next, if what comes is a message and what follows from it. Of a
# burst there is more to be read at once, and to be written, when we are slower to begin.
_FEW: Final = 16 * 1024


class Watched(Protocol):
    """What has a socket in the selector: a connection, or who has news of the store."""

    def ready(self, now: float) -> None:
        """Read; ``now`` is in seconds of trio's clock."""

    def crashed(self, error: Exception) -> None:
        """End because of a fault in `ready`."""


class Poller:
    """Owns the selector; a connection is in it while it may be read from."""

    def __init__(self, service: Service) -> None:
        # epoll or kqueue: the others cannot be waited for, and stompd runs on systems with either.
        self._selector = selectors.DefaultSelector()
        self._service = service
        # Tasks of connections that wait for something; lingering would delay them.
        self.others = 0
        # Connections that tasks of their own read from: each of their steps would be delayed.
        self.guests = 0

    def add(self, sock: socket.socket | TlsSocket, watched: Watched) -> None:
        """Have `Watched.ready` called whenever there is something to read."""
        self._selector.register(sock, selectors.EVENT_READ, watched)

    def remove(self, sock: socket.socket | TlsSocket) -> None:
        """Read no more from a socket; nothing if it is not read from."""
        if sock in self._selector.get_map():
            self._selector.unregister(sock)

    def close(self) -> None:
        """Give up the selector."""
        self._selector.close()

    async def watch(self) -> None:
        """Read from all that is watched, until cancelled."""
        selector = self._selector
        number = selector.fileno()
        select = selector.select
        service = self._service
        broker = service.broker
        committer = service.committer
        # When there was nothing more to read.
        silent_since = -math.inf
        while True:
            await wait_readable(number)
            began = now = trio.current_time()
            patient = now - silent_since < _SHORT
            came = service.came
            ready = select(0)
            while ready:
                for key, _ in ready:
                    watched: Watched = key.data
                    try:
                        watched.ready(now)
                    except Exception as error:  # noqa: BLE001 - only this connection ends
                        watched.crashed(error)
                broker.flush_touched()
                if service.came >= service.weigh_after:
                    service.weigh()
                if broker.thirsty:
                    service.refill()
                now = trio.current_time()
                if now - began > _TURN:
                    if committer is not None:
                        committer.look()
                    await checkpoint()
                    began = now = trio.current_time()
                if committer is not None:
                    if committer.may_wait:
                        ready = select(0)
                        if ready:
                            now = trio.current_time()
                            continue
                    committer.look()
                ready = select(0 if self.others or broker.thirsty else _LINGER)
                now = trio.current_time()
                if not ready:
                    silent_since = now
                    # It is counted from 0 again now and then, which is after much.
                    if patient and 0 < service.came - came <= _FEW:
                        ready = await self._linger()
                        came = service.came
                        began = now = trio.current_time()

    async def _linger(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait a while for more, as long as that delays nobody; return what is ready."""
        select = self._selector.select
        broker = self._service.broker
        for _ in range(_LINGER_TURNS):
            if self.others or self.guests or broker.thirsty:
                break
            await checkpoint()
            if ready := select(_LINGER):
                return ready
        return []
