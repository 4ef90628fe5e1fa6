"""One connection to a broker: its octets in both directions, and its end.

The seam between the synchronous protocol and the network. Two tasks run beside the program: the
reader hands what came to the owner, frame by frame; the writer is the only one who writes, and
when it has nothing to write for half the agreed period it writes a heart-beat. Because frames are
handed to the writer whole, a cancelled operation never leaves half a frame.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from stompcli.client.errors import (
    BrokerError,
    ClosedError,
    ConnectError,
    ConnectionLostError,
    HeartbeatError,
    PeerProtocolError,
    RefusedError,
    SessionEndedError,
)
from stompcli.client.options import Settings
from stompcli.client.reasons import lost, text_of, words
from stompcli.client.websocket import WebSocketStream
from stompd.protocol import heartbeat
from stompd.protocol.decoder import Decoder
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import V10, Frame, Head
from stompd.protocol.rules import REQUIRED_OF_SERVER

_READ_SIZE: Final = 256 * 1024
# Octets waiting to be written from which on senders wait.
_OUTBOX_MARK: Final = 256 * 1024
# Seconds for which senders may go on without letting the writer have its turn.
_TURN: Final = 0.001
# How long a peer that takes nothing more may still tell why.
_LAST_WORDS: Final = 2.0
# Slack beside twice the agreed period before a silent broker counts as dead (H-13).
_MARGIN: Final = 1.0


class Owner(Protocol):
    """Who reads from a connection, and hears of its end."""

    # Where the reader waits while the owner is full.
    room_to_read: trio.lowlevel.ParkingLot

    def receive(self, head: Head, body: bytes) -> None:
        """A MESSAGE or RECEIPT has come; a `SessionEndedError` that this raises ends it all."""

    def count_heartbeat(self) -> None:
        """A heart-beat has come."""

    def is_full(self) -> bool:
        """Return whether to stop reading for now; raises `SessionEndedError` to end it all."""

    def ended(self, connection: "Connection", error: SessionEndedError | None) -> None:
        """The connection has ended; called once, at once."""


class Connection:
    """One STOMP session over one stream.

    It owns the stream, the octets to be written and the heart-beats. ``error`` is why it ended,
    None while it lives or if this program ended it.
    """

    def __init__(self, stream: trio.abc.Stream, address: str, settings: Settings) -> None:
        self._stream = stream
        # The same, where each frame is a message of its own.
        self._web = stream if isinstance(stream, WebSocketStream) else None
        self._settings = settings
        self._decoder = Decoder("client", settings.limits)
        self._owner: Owner | None = None
        self.address = address
        # What CONNECTED said; the version is 1.0 if it said none.
        self.version = V10
        self.connected: dict[str, str] = {}
        # Seconds that reaching the broker and being let in took.
        self.dial_seconds = 0.0
        self.login_seconds = 0.0
        # Makes one more to the same place with the same options; None if there is but one stream.
        self.another: Callable[[], Awaitable[Connection]] | None = None
        # Seconds of idleness after which a heart-beat is due, and of silence that end the session.
        self._beat_after = math.inf
        self._dead_after = math.inf
        self._outbox: list[bytes] = []
        self.outbox_octets = 0
        # When a sender last let the writer have its turn.
        self._yielded_at = -math.inf
        self._to_write = trio.lowlevel.ParkingLot()
        self._room_to_write = trio.lowlevel.ParkingLot()
        # True from DISCONNECT on: nothing may follow it (D-04).
        self.closing = False
        self.is_over = False
        self.error: SessionEndedError | None = None
        self._scope = trio.CancelScope()

    # Beginning.

    async def handshake(self, host: str) -> None:
        """Send CONNECT and wait to be let in; the caller bounds the time.

        Raises `RefusedError`, or `ConnectError` for what is no STOMP broker.
        """
        frame = self._settings.connect_frame(host)
        if self._settings.trace is not None:
            self._settings.trace(">", frame)
        try:
            await self._stream.send_all(frame)
            frames: list[Frame] = []
            while not frames:
                data = await self._receive_some()
                if not data:
                    raise ConnectError(self.address, "the broker closed the connection")
                frames = self._decoder.feed(data)
                if self._decoder.error is not None and not frames:
                    raise ConnectError(self.address, f"no STOMP broker: {self._decoder.error}")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectError(self.address, words(error)) from error
        head, body = frames[0]
        if head.command == "ERROR":
            raise RefusedError(self.address, head.get("message") or "", text_of(body), head.headers)
        if head.command != "CONNECTED":
            raise ConnectError(self.address, f"the broker answered CONNECT with {head.command}")
        self._accept(head)

    def _accept(self, head: Head) -> None:
        self.connected = head.headers
        version = self.connected.get("version", V10)
        if version not in self._settings.offered():
            raise ConnectError(
                self.address, f'the broker chose STOMP "{shown(version)}", which was not offered'
            )
        self.version = version
        self._decoder.begin(version)
        if version == V10:
            # V10-21: it has no heart-beats, whatever the headers say.
            return
        try:
            sx, sy = heartbeat.parse(self.connected.get("heart-beat"))
        except RemoteProtocolError as error:
            raise ConnectError(self.address, str(error)) from error
        cx, cy = self._settings.heartbeat
        ours = heartbeat.period(cx, sy)
        theirs = heartbeat.period(sx, cy)
        if ours:
            self._beat_after = ours / 1000 / 2
        if theirs:
            self._dead_after = 2 * theirs / 1000 + _MARGIN

    # Its life.

    def attach(self, owner: Owner) -> None:
        """Say who reads from it; once, before `run`."""
        self._owner = owner

    async def run(self) -> None:
        """Read and write until the end, then close the stream."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._read)
        finally:
            self.end(ClosedError("the session was cancelled"))
            await trio.aclose_forcefully(self._stream)

    def end(self, error: SessionEndedError | None) -> None:
        """End it, for this reason, or for none if the program wants it; the first reason counts."""
        if self.is_over:
            return
        self.is_over = True
        self.error = error
        for lot in (self._to_write, self._room_to_write):
            lot.unpark_all()
        self._scope.cancel()
        if self._owner is not None:
            self._owner.ended(self, error)

    # Writing: frames are put into the outbox whole, one task writes them.

    def has_room(self) -> bool:
        """Return whether more may be put in line to be written."""
        return self.outbox_octets <= _OUTBOX_MARK

    async def room(self) -> None:
        """Wait until there may be room, or the end."""
        await self._room_to_write.park()

    def put_nowait(self, frame: bytes) -> None:
        """Put a frame in line to be written."""
        self._outbox.append(frame)
        self.outbox_octets += len(frame)
        self._to_write.unpark()

    def wants_turn(self) -> bool:
        """Return whether the writer should have its turn now: `turn`.

        It gets it at once, but in a loop of sends only once a millisecond: many frames then leave
        in one system call.
        """
        return time.perf_counter() - self._yielded_at >= _TURN

    async def turn(self) -> None:
        """Let the writer have its turn."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._yielded_at = time.perf_counter()

    async def _write(self) -> None:
        try:
            while True:
                if not self._outbox:
                    with trio.move_on_after(self._beat_after):
                        await self._to_write.park()
                    if not self._outbox:
                        if self.closing:
                            # D-04: not even a heart-beat follows DISCONNECT.
                            return
                        self._outbox.append(b"\n")
                data = b"".join(frames := self._outbox)
                self._outbox = []
                if self._settings.trace is not None:
                    self._settings.trace(">", data)
                if self._web is None:
                    await self._stream.send_all(data)
                else:
                    await self._web.send_frames(frames)
                # What is being written counts as waiting until it is gone.
                self.outbox_octets = sum(map(len, self._outbox))
                self._room_to_write.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # The reader may still find the ERROR that says why.
            await trio.sleep(_LAST_WORDS)
            self.end(lost(self.address, error))

    # Reading.

    async def _read(self) -> None:
        assert self._owner is not None  # noqa: S101 - for the type checker; see attach
        owner = self._owner
        try:
            data = b""
            while True:
                self._feed(data, owner)
                while owner.is_full():
                    await owner.room_to_read.park()
                # H-09: the clock runs only while we listen, so that a program that takes its time
                # does not make the broker look dead.
                with trio.move_on_after(self._dead_after) as silence:
                    data = await self._receive_some()
                if silence.cancelled_caught:
                    raise HeartbeatError(
                        f"{self.address} was silent for {self._dead_after:g} s, "
                        f"against heart-beat:{self.connected.get('heart-beat')}"
                    )
                if not data:
                    raise ConnectionLostError(f"{self.address} closed the connection")
                if not self._decoder.pending and not data.strip(b"\r\n"):
                    owner.count_heartbeat()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.end(lost(self.address, error))
        except SessionEndedError as error:
            self.end(error)

    async def _receive_some(self) -> bytes:
        data = bytes(await self._stream.receive_some(_READ_SIZE))
        if data and self._settings.trace is not None:
            self._settings.trace("<", data)
        return data

    def _feed(self, data: bytes, owner: Owner) -> None:
        for head, body in self._decoder.feed(data):
            command = head.command
            for name in REQUIRED_OF_SERVER[command][self.version]:
                if name not in head.shape.index:
                    raise PeerProtocolError(f"{self.address} sent {command} without {name}")
            if command == "ERROR":
                raise BrokerError(head.get("message") or "", text_of(body), head.headers, body)
            if command == "CONNECTED":
                raise PeerProtocolError(f"{self.address} sent a second {command}")
            owner.receive(head, body)
        if self._decoder.error is not None:
            raise PeerProtocolError(
                f"{self.address} broke the protocol: {self._decoder.error}"
            ) from self._decoder.error
