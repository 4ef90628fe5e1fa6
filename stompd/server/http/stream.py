"""What hypercorn reads a connection from and writes it to."""

from __future__ import annotations

import math
import ssl
from contextlib import suppress
from socket import SHUT_WR
from typing import TYPE_CHECKING, Final, Protocol

import trio

from stompd.server.tls import TlsSocket, shake_hands

if TYPE_CHECKING:
    import socket

_UPGRADED: Final = b"HTTP/1.1 101"
# The first octet of a WebSocket frame of ours that closes (RFC 6455, section 5.2).
_CLOSE: Final = 0x88
_READ_SIZE: Final = 64 * 1024
# Octets that are written at once: so many have to be read for a peer to be one that reads.
_PIECE: Final = 16 * 1024


class Owner(Protocol):
    """What a connection is to the stream that it is read from and written to."""

    @property
    def patience(self) -> float:
        """For how many seconds a peer may read nothing of an answer."""

    def linger(self) -> None:
        """Give a peer that was told to go, or has gone, some time; then end it."""

    def cut(self) -> None:
        """End it at once, and whatever is being done for it."""


class CuttableStream(trio.abc.HalfCloseableStream):
    """A TCP connection whose owner can end it, whatever hypercorn waits for.

    hypercorn shields its writes from being cancelled, so a peer that reads nothing would keep
    stompd from stopping. It goes on reading, and keeping, what a peer sends after it was told that
    its message is too large. And it keeps a connection whose peer has gone until it would have been
    silent for too long. Therefore its owner is told once when one side has ended: the other may
    be given some time to do the same, but not for ever.

    Nor does it ever give up a peer that does not read its answer. Who has no patience left is cut
    off. A WebSocket is not: its session says how slow it may be.
    """

    def __init__(self, sock: socket.socket, owner: Owner) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._owner = owner
        self._upgraded = False
        self._leaving = False
        self.ended = False
        """True once the peer will send nothing more."""
        self.written = 0
        """Octets that the network took."""

    @property
    def socket(self) -> trio.socket.SocketType:
        """Where hypercorn looks for addresses."""
        return self._stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what came, nothing at its end."""
        data: bytes | bytearray = b""
        try:
            data = await self._receive(max_bytes)
        finally:
            if not data:
                self.ended = True
                self._leave()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it; raises `trio.BrokenResourceError` if that cannot be."""
        if self._upgraded:
            if data and data[0] == _CLOSE:
                self._leave()
        elif data[: len(_UPGRADED)] == _UPGRADED:
            self._upgraded = True
        rest = memoryview(data)
        while rest:
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            with trio.move_on_after(
                math.inf if self._upgraded else self._owner.patience
            ) as waiting:
                try:
                    await self._send(piece)
                except trio.BusyResourceError as error:
                    # hypercorn writes one thing at a time, but may end its direction meanwhile.
                    raise trio.BrokenResourceError("its direction is ending") from error
            if waiting.cancelled_caught:
                self._owner.cut()
                raise trio.BrokenResourceError("the peer does not read")
            self.written += len(piece)

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._owner.linger()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room for more."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End this side's direction."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close it."""
        self.ended = True
        self._leave()
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Close it now: who waits for it gets `trio.ClosedResourceError`."""
        # Does all that is needed, and without waiting.
        self._stream.socket.close()


class EncryptedStream(CuttableStream):
    """The same over TLS; hypercorn takes one with a `do_handshake` for a stream that is encrypted.

    What is not read from is not encrypted either: a `TlsSocket` never waits, and this waits for it.
    """

    def __init__(self, sock: socket.socket, owner: Owner, context: ssl.SSLContext) -> None:
        super().__init__(sock, owner)
        self._raw = sock
        self._context = context
        self._tls: TlsSocket | None = None

    async def do_handshake(self) -> None:
        """Agree with the peer; raises as `shake_hands`."""
        self._tls = await shake_hands(self._raw, self._context)

    def selected_alpn_protocol(self) -> str:
        """Return what is spoken."""
        return "http/1.1"

    @property
    def transport_stream(self) -> EncryptedStream:
        """Where hypercorn looks for the socket of an encrypted stream."""
        return self

    async def _receive(self, max_bytes: int | None) -> bytes:
        while True:
            try:
                data = self._open().recv(max_bytes or _READ_SIZE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._raw)
            except OSError as error:
                raise trio.BrokenResourceError from error
            else:
                await trio.lowlevel.checkpoint()
                return data

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._open().send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._raw)
            except OSError as error:
                raise trio.BrokenResourceError from error
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room for more."""
        self._open()
        await trio.lowlevel.wait_writable(self._raw)

    async def send_eof(self) -> None:
        """End this side's direction; the peer can tell that from a connection that was cut."""
        await trio.lowlevel.checkpoint()
        try:
            # All that was written is on its way: only a peer that reads nothing leaves no room.
            with suppress(BlockingIOError):
                self._open().shutdown(SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError from error

    def _open(self) -> TlsSocket:
        if self._tls is None or self._raw.fileno() < 0:
            raise trio.ClosedResourceError
        return self._tls
