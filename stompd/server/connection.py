"""One connection: a socket, a decoder, a session, and nothing that decides.

The hot path: one ``recv``, every frame in it carried out without waiting, then each outbox that
got something is written once by a send that never waits. Only when a socket takes no more does a
writer task come to life.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Final, TypeVarTuple

import structlog
import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from stompd.broker.session import CloseReason, State
from stompd.protocol.decoder import Decoder
from stompd.protocol.errors import RemoteProtocolError
from stompd.server.auth import LoginRefusedError
from stompd.server.failures import network_of
from stompd.server.tls import HANDSHAKE, TlsSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stompd.broker.message import Message
    from stompd.protocol.frame import Frame
    from stompd.server.certificates import PeerCertificate
    from stompd.server.service import Service

log = structlog.get_logger()

# A few large pieces are written as they are; many small ones are joined first.
_GATHER_OCTETS: Final = 64 * 1024
_GATHER_PIECES: Final = 64
# How often, in seconds, a peer that is not read from is looked after.
_LOOK_EVERY: Final = 1.0
_BROKEN: Final = select.POLLHUP | select.POLLERR
_ENDED: Final = _BROKEN | getattr(select, "POLLRDHUP", 0)


Ts = TypeVarTuple("Ts")


class Connection:
    """Owns the socket. Read from by the poller, written to by whoever flushes its outbox.

    It has a task of its own only while something takes time: logging in, waiting for room, writing
    to a slow peer, parting.
    """

    __slots__ = (
        "_asking",
        "_choked",
        "_deaf",
        "_decoder",
        "_ending",
        "_resumed",
        "_riders",
        "_service",
        "_socket",
        "_written",
        "address",
        "gone",
        "peer",
        "session",
    )

    def __init__(
        self, service: Service, sock: socket.socket | TlsSocket, peer: str, address: str
    ) -> None:
        self._service = service
        self._socket = sock
        self.peer = peer
        # The peer's address without its port, to count connections by.
        self.address = address
        self.session = service.broker.open(peer, trio.current_time())
        self.session.address = network_of(address)
        self.session.outbox.flush = self._flush
        self.session.wake = self._wake
        self._decoder = Decoder(
            "server",
            service.settings.limits.before_login(),
            telnet=service.settings.telnet_hints,
            table=service.heads,
        )
        # True from the moment on when nothing more is read.
        self._ending = False
        # There while the authenticator is asked.
        self._asking: trio.CancelScope | None = None
        # Set when the session is paused no more.
        self._resumed: trio.Event | None = None
        # There while nothing is read because too much waits to be written; set when it is less.
        self._choked: trio.Event | None = None
        # There while a writer task is at work; set when it has written everything.
        self._written: trio.Event | None = None
        # Messages of mode auto in what the writer task is writing.
        self._riders: list[Message] = []
        # True when the peer takes nothing any more; what it sent before is read to its end.
        self._deaf = False
        # Called when it is closed.
        self.gone = _nothing

    def _spawn(self, task: Callable[[*Ts], Awaitable[None]], *args: *Ts) -> None:
        """Start a task of this connection, and have the poller know while it is at work."""
        self._service.nursery.start_soon(self._work, task, *args)

    async def _work(self, task: Callable[[*Ts], Awaitable[None]], *args: *Ts) -> None:
        poller = self._service.poller
        poller.others += 1
        try:
            await task(*args)
        finally:
            poller.others -= 1

    # Reading.

    def start(self) -> None:
        """Serve the connection from now on, or part from it if it was refused already."""
        if self.session.over:
            self._end(CloseReason.TRANSPORT_FULL)
        else:
            self._service.poller.add(self._socket, self)

    def ready(self, now: float) -> None:
        """Read once and carry out what came; the poller writes the outboxes afterwards.

        ``now`` is in seconds of trio's clock.
        """
        session = self.session
        decoder = self._decoder
        try:
            data = self._socket.recv(self._service.read_size)
        except BlockingIOError:
            return
        except OSError:
            self._end(CloseReason.PEER_RESET)
            return
        if not data:
            self._end(CloseReason.PEER_CLOSED)
            return
        session.heard_at = now
        self._service.came += len(data)
        if session.state is State.NEW and data[0] == HANDSHAKE and not decoder.pending:
            log.warning("TLS on a plain port", connection=session.id, peer=self.peer)
            self._end(CloseReason.PROTOCOL_ERROR)
            return
        frames = decoder.feed(data)
        at = self._carry_out(frames, 0)
        if session.halt and not self._ending and session.state is not State.LEAVING:
            self._service.poller.remove(self._socket)
            self._spawn(self._pause, frames, at)
        elif session.outbox.size > self._service.most_unread and not self._ending:
            self._service.poller.remove(self._socket)
            self._spawn(self._choke)

    def _carry_out(self, frames: list[Frame], at: int) -> int:
        """Carry out frames from ``at`` as far as the session lets; return where it stopped."""
        session = self.session
        decoder = self._decoder
        at = session.receive(frames, at, session.heard_at)
        if decoder.answers:
            session.outbox.add(*decoder.answers)
            decoder.answers.clear()
        if decoder.error is not None and at == len(frames) and not session.over:
            session.garbled(decoder.error)
        return at

    async def _pause(self, frames: list[Frame], at: int) -> None:
        """Log in, wait for room, or let others have their turn; then go on with what was read."""
        session = self.session
        try:
            while session.halt and not self._ending:
                if session.state is State.LOGIN:
                    await self._log_in()
                    frames = self._decoder.feed(b"")
                    at = 0
                elif session.paused:
                    await self._room()
                else:
                    await checkpoint()
                if self._ending:
                    return
                at = self._carry_out(frames, at)
                self._service.flush()
                if session.state is State.LEAVING:
                    break
            if not self._ending:
                self._service.poller.add(self._socket, self)
        except Exception as error:  # noqa: BLE001 - only this connection ends
            self.crashed(error)

    async def _choke(self) -> None:
        """Read nothing until the peer has read more of what it was answered; then go on.

        A peer that asks for receipts and never reads them would take memory without end. One that
        has something to say is not silent meanwhile, although it is not heard.
        """
        session = self.session
        low = self._service.settings.flow.outbox_low
        while session.outbox.size > low and not self._ending:
            choked = self._choked = trio.Event()
            with trio.move_on_after(_LOOK_EVERY):
                await choked.wait()
            if self._ending or self._socket.fileno() < 0:
                break
            if _has_ended(self._socket, _BROKEN):
                # Reading finds out how.
                break
            if _has_ended(self._socket, select.POLLIN):
                session.heard_at = trio.current_time()
        self._choked = None
        if not self._ending and self._socket.fileno() >= 0:
            self._service.poller.add(self._socket, self)

    async def _room(self) -> None:
        """Wait until the session may go on.

        Nothing is read meanwhile, so the end of the peer is looked for: it may be a dead consumer's
        unsettled messages that leave no room. What a peer can have sent before it ended is bounded
        by the socket's buffer, and is carried out without waiting (R-07). Nobody waits while the
        broker drains either, since an ACK that makes room may come behind what waits for it.
        """
        session = self.session
        broker = self._service.broker
        resumed = self._resumed = trio.Event()
        while not resumed.is_set():
            if broker.draining or _has_ended(self._socket):
                session.stop_waiting()
                if not session.paused:
                    await checkpoint()
                    break
            with trio.move_on_after(_LOOK_EVERY):
                await resumed.wait()
        self._resumed = None
        # Nothing was read meanwhile, so silence means nothing.
        session.heard_at = trio.current_time()

    async def _log_in(self) -> None:
        session = self.session
        login = session.login
        assert login is not None  # noqa: S101 - the state says so
        service = self._service
        try:
            with trio.CancelScope() as asking:
                self._asking = asking
                principal = await service.identify(
                    login,
                    self.peer,
                    self.address,
                    session.host.name,
                    connection=session.id,
                    certificate=self._certificate,
                )
            if asking.cancelled_caught:
                return
        except LoginRefusedError as refusal:
            session.refuse(refusal.message, str(refusal))
        else:
            if not session.over:
                session.welcome(principal, trio.current_time())
            if not session.over:
                self._decoder.begin(session.wire_version, service.settings.limits.of_frames())
                service.logged_in(self)
        finally:
            self._asking = None
        service.flush()

    @property
    def _certificate(self) -> PeerCertificate | None:
        sock = self._socket
        return sock.certificate if isinstance(sock, TlsSocket) else None

    def _wake(self) -> None:
        """Look at the session: it is over, or paused no more."""
        if self._resumed is not None:
            self._resumed.set()
        if self.session.over:
            self._end(self.session.reason or CloseReason.CRASH)

    def crashed(self, error: Exception) -> None:
        """End the connection because of a fault of stompd; others are not touched by it."""
        self._tell_fault(error)
        try:
            self.session.fail(
                RemoteProtocolError("internal error", "the cause is in the server's log"),
                CloseReason.CRASH,
            )
        except Exception as another:  # noqa: BLE001 - what it held may be what is broken
            self._tell_fault(another)
        self._end(CloseReason.CRASH)

    def _tell_fault(self, error: Exception) -> None:
        log.error(
            "a connection failed by a fault of stompd",
            connection=self.session.id,
            exc_info=error,
        )

    # Writing.

    def _flush(self) -> None:
        """Write what the outbox holds, never waiting.

        Called from other connections' tasks, so a fault must not come out of it.
        """
        if self._written is not None:
            return
        outbox = self.session.outbox
        parts = outbox.parts
        if not parts:
            return
        outbox.parts = []
        size = outbox.size
        if self._deaf:
            outbox.size = 0
            return
        try:
            if size >= _GATHER_OCTETS and len(parts) <= _GATHER_PIECES:
                sent = self._socket.sendmsg(parts)
            else:
                sent = self._socket.send(b"".join(parts))
        except BlockingIOError:
            sent = 0
        except OSError:
            self._stop_writing()
            return
        outbox.sent_at = self._service.broker.now
        if sent == size:
            outbox.size = 0
            if outbox.riders:
                riders = outbox.riders
                outbox.riders = []
                try:
                    self.session.written(riders)
                except Exception as error:  # noqa: BLE001 - only this connection ends
                    self.crashed(error)
            if outbox.waiting:
                self._service.thirst(self.session)
            return
        outbox.size -= sent
        self._riders = outbox.riders
        outbox.riders = []
        self._written = trio.Event()
        rest = memoryview(b"".join(parts))[sent:]
        self._spawn(self._write_rest, rest, self._written)

    async def _write_rest(self, rest: memoryview, written: trio.Event) -> None:
        """Write until the outbox is empty; a task of its own, for as long as that takes."""
        session = self.session
        outbox = session.outbox
        low = self._service.settings.flow.outbox_low
        try:
            while True:
                while rest:
                    if self._deaf:
                        # Closed meanwhile; there is nothing left to wait for.
                        return
                    await wait_writable(self._socket)
                    try:
                        sent = self._socket.send(rest)
                    except BlockingIOError:
                        continue
                    outbox.size -= sent
                    outbox.sent_at = trio.current_time()
                    rest = rest[sent:]
                    if outbox.size <= low:
                        if outbox.waiting:
                            self._service.thirst(session)
                        if self._choked is not None:
                            self._choked.set()
                session.written(self._riders)
                self._riders = []
                parts = outbox.take()
                if not parts:
                    break
                self._riders = outbox.riders
                outbox.riders = []
                rest = memoryview(b"".join(parts))
        except (OSError, trio.ClosedResourceError):
            self._stop_writing()
        except Exception as error:  # noqa: BLE001 - only this connection ends
            self.crashed(error)
        finally:
            self._written = None
            written.set()
            if self._choked is not None:
                self._choked.set()
        if outbox.waiting:
            self._service.thirst(session)

    def _stop_writing(self) -> None:
        """The peer takes nothing any more; reading goes on to the end of what it sent (R-07)."""
        self._deaf = True
        self.session.stop_deliveries()
        outbox = self.session.outbox
        outbox.parts.clear()
        outbox.size = 0

    # Parting.

    def _end(self, reason: CloseReason) -> None:
        """Read no more; a task of its own takes leave and closes."""
        if self._ending:
            return
        self._ending = True
        if self._asking is not None:
            self._asking.cancel()
        self._service.poller.remove(self._socket)
        self._spawn(self._leave, reason)

    async def _leave(self, reason: CloseReason) -> None:
        session = self.session
        try:
            await self._part(session.reason or reason)
        except trio.Cancelled:
            reason = CloseReason.SHUTDOWN
            raise
        except trio.ClosedResourceError:
            # Abandoned meanwhile: the broker stops at once.
            return
        except Exception as error:  # noqa: BLE001 - only this connection is concerned
            self._tell_fault(error)
        finally:
            self.forget(reason)
            # It is freed now: what refers to itself would wait for a search that hardly ever comes.
            session.wake = session.outbox.flush = _nothing

    async def _part(self, reason: CloseReason) -> None:
        """Have the last frames arrive, then close.

        Closing with octets unread would send a reset, and that can destroy an ERROR or RECEIPT on
        its way. So: write all, end our direction, discard what still comes, for a bounded time.
        """
        timeouts = self._service.settings.timeouts
        session = self.session
        delay = self._service.delay_of(self.address, reason)
        if delay:
            self._service.flush()
            await trio.sleep(delay)
        await self._confirmed(timeouts.linger)
        session.stop_deliveries()
        self._service.flush()
        if not await self._written_out(timeouts.linger):
            return
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        if session.reason is None:
            # The peer ended first: nothing more will come.
            return
        with trio.move_on_after(timeouts.linger):
            await self._discard(timeouts.linger_bytes)

    async def _written_out(self, patience: float) -> bool:
        """Wait until all is written; False if the peer takes nothing for ``patience`` seconds."""
        outbox = self.session.outbox
        while self._written is not None:
            size = outbox.size
            with trio.move_on_after(patience) as waiting:
                await self._written.wait()
            if waiting.cancelled_caught and outbox.size == size:
                return False
        return not self._deaf

    async def _confirmed(self, patience: float) -> None:
        """Wait for the receipts that the store has not released yet, however long it takes.

        A store without room gets ``patience`` seconds, and a connection that is broken none.
        """
        session = self.session
        store = self._service.broker.store
        period = min(_LOOK_EVERY, patience)
        full = 0.0
        while session.unconfirmed and not session.over and full < patience:
            self._resumed = trio.Event()
            with trio.move_on_after(period) as looking:
                await self._resumed.wait()
            if looking.cancelled_caught:
                if _has_ended(self._socket, _BROKEN):
                    break
                full = full + period if store.full else 0.0
        self._resumed = None

    async def _discard(self, limit: int) -> None:
        sock = self._socket
        while limit > 0:
            await wait_readable(sock)
            try:
                data = sock.recv(16 * 1024)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            limit -= len(data)

    def forget(self, reason: CloseReason) -> None:
        """Close the socket and the session at once; nothing if that was done."""
        if self._socket.fileno() < 0:
            return
        session = self.session
        session.outbox.riders[:0] = self._riders
        self._riders = []
        try:
            session.close(reason, trio.current_time())
        except Exception as error:  # noqa: BLE001 - the rest must be cleaned up all the same
            self._tell_fault(error)
        # Whoever waits on the socket is told before the number of its descriptor is used again.
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self._deaf = True
        self._service.closed(self)
        self._service.flush()
        self.gone()


def _nothing() -> None:
    """Do nothing: the connection is no more."""


def _has_ended(sock: socket.socket | TlsSocket, how: int = _ENDED) -> bool:
    """Return whether the peer has ended its direction, or what ``how`` asks for.

    What it sent before stays unread.
    """
    watcher = select.poll()
    watcher.register(sock, how)
    return bool(watcher.poll(0))
