"""The two kinds of connection that a test's broker takes: in memory, and over TCP.

A `Wire` is the broker's end of either. It is a trio stream that can also break off at once.
"""

from __future__ import annotations

import select
import socket
import struct
from operator import index
from typing import Final, Protocol

import trio

# What one direction of a memory stream holds, as a socket's buffers do.
_BUFFER: Final = 256 * 1024
_READ: Final = 64 * 1024
_BACKLOG: Final = 128
_RESET: Final = struct.pack("ii", 1, 0)


class Wire(Protocol):
    """The broker's end of a connection; the errors are those of trio's streams."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next octets, ``b""`` at the end."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write octets."""

    async def send_eof(self) -> None:
        """End this direction."""

    def close(self) -> None:
        """End both directions; what was written still arrives."""

    def reset(self) -> None:
        """Break off: the peer is told that the connection is lost."""

    def hung_up(self) -> bool:
        """Tell whether the peer has ended its direction, be there unread octets or not."""


class _Pipe:
    """One direction: a bounded buffer between a writer and a reader."""

    def __init__(self) -> None:
        self.data = bytearray()
        # The writer has ended it; the reader has gone; it broke.
        self.ended = False
        self.deaf = False
        self.broken = False
        self.writing = False
        self.reading = False
        self._changed = trio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def write(self, data: memoryview) -> None:
        self.check_free()
        self.writing = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                room = max(0, _BUFFER - len(self.data))
                if room and data:
                    self.data += data[:room]
                    data = data[room:]
                    self.change()
                if not data:
                    return
                await self._changed.wait()
        finally:
            self.writing = False

    async def wait_for_room(self) -> None:
        self.check_free()
        self.writing = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_open()
            while len(self.data) >= _BUFFER:
                await self._changed.wait()
                self._check_open()
        finally:
            self.writing = False

    def check_free(self) -> None:
        if self.writing:
            raise trio.BusyResourceError("another task writes to this stream")

    def _check_open(self) -> None:
        if self.ended:
            raise trio.ClosedResourceError("this end of the stream is closed")
        if self.deaf or self.broken:
            raise trio.BrokenResourceError("the other end of the stream is gone")

    async def read(self, most: int) -> bytes:
        if self.reading:
            raise trio.BusyResourceError("another task reads from this stream")
        self.reading = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if self.deaf:
                    raise trio.ClosedResourceError("this end of the stream is closed")
                if self.data:
                    taken = bytes(self.data[:most])
                    del self.data[:most]
                    self.change()
                    return taken
                if self.broken:
                    raise trio.BrokenResourceError("the connection was reset")
                if self.ended:
                    return b""
                await self._changed.wait()
        finally:
            self.reading = False


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory; it needs no socket and works under a mock clock.

    Each direction holds 256 KiB; who writes more waits until the other end has read.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._in = incoming
        self._out = outgoing

    def __repr__(self) -> str:
        state = "closed" if self._in.deaf else "broken" if self._in.broken else "open"
        return f"<MemoryStream {state}>"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next octets, ``b""`` at the end.

        Raises `trio.BrokenResourceError` if the connection was broken off.
        """
        most = _READ if max_bytes is None else index(max_bytes)
        if most < 1:
            raise ValueError(f"cannot receive {most} octets")
        return await self._in.read(most)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write octets; waits while the other end has 256 KiB unread.

        Raises `trio.BrokenResourceError` if the other end is gone.
        """
        await self._out.write(memoryview(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, so that `send_all` would not wait for the other end."""
        await self._out.wait_for_room()

    async def send_eof(self) -> None:
        """End this direction; reading goes on."""
        self._out.check_free()
        await trio.lowlevel.checkpoint()
        if self._in.deaf:
            raise trio.ClosedResourceError("this end of the stream is closed")
        self._end_out()

    async def aclose(self) -> None:
        """Close this end."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close this end at once; what was written still arrives."""
        self._end_out()
        self._in.deaf = True
        self._in.data.clear()
        self._in.change()

    def reset(self) -> None:
        """Break the connection off: the other end reads what is there, then gets an error."""
        self._out.broken = True
        self.close()

    def hung_up(self) -> bool:
        """Tell whether the other end has ended its direction."""
        return self._in.ended or self._in.broken

    def _end_out(self) -> None:
        self._out.ended = True
        self._out.change()


def memory_streams() -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a connection."""
    there, back = _Pipe(), _Pipe()
    return MemoryStream(back, there), MemoryStream(there, back)


class SocketWire:
    """A TCP connection, as a `Wire`."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._stream = trio.SocketStream(sock)
        self._socket = sock

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next octets, ``b""`` at the end."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write octets."""
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """End this direction."""
        await self._stream.send_eof()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def reset(self) -> None:
        """Close the socket so that a reset is sent."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    def hung_up(self) -> bool:
        """Tell whether the peer has ended its direction."""
        watcher = select.poll()
        watcher.register(
            self._socket.fileno(),
            select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0),
        )
        return bool(watcher.poll(0))


class Port:
    """A free TCP port of 127.0.0.1, which may refuse connections and is kept all the same."""

    def __init__(self) -> None:
        self._bind(0)
        self.number: int = self._socket.getsockname()[1]
        self._listening = trio.Event()
        self.accept_again()

    def _bind(self, number: int) -> None:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", number))
            self._socket = trio.socket.from_stdlib_socket(sock)
        except BaseException:
            sock.close()
            raise

    def refuse(self) -> None:
        """Let nobody connect any more; the system answers "connection refused"."""
        if self._listening.is_set():
            self._listening = trio.Event()
            self._socket.close()
            # Bound and not listening: nobody else gets the port, and nobody gets through.
            self._bind(self.number)

    def accept_again(self) -> None:
        """Let clients connect."""
        if not self._listening.is_set():
            self._socket.listen(_BACKLOG)
            self._listening.set()

    async def accept(self) -> tuple[SocketWire, str]:
        """Return the next connection and the peer's address."""
        while True:
            while not self._listening.is_set():
                await self._listening.wait()
            listener = self._socket
            try:
                sock, (host, port) = await listener.accept()
            except (trio.ClosedResourceError, OSError) as error:
                # It refuses now, or that peer gave up before it was its turn.
                if listener is self._socket and not isinstance(error, ConnectionError):
                    raise
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return SocketWire(sock), f"{host}:{port}"

    def close(self) -> None:
        """Give the port up."""
        self._socket.close()
