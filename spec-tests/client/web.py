"""A broker behind a WebSocket, as a script says: the server's side, by wsproto itself."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from stompcli.client.testing import ScriptedBroker


class WebPeer(trio.abc.Stream):
    """The server's side of one WebSocket, which writes text, or binary if ``binary`` is set."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.SERVER)
        self.binary = False
        self.request: Request | None = None
        # Each message that came, and what else.
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self.closed_with: int | None = None

    async def send(self, *events: Event) -> None:
        """Send events of the protocol in one segment."""
        await self._stream.send_all(b"".join(self._protocol.send(event) for event in events))

    async def asked(self) -> Request:
        """Return what the client asks for at first."""
        while self.request is None:
            await self._read()
        return self.request

    async def accept(self, *behind: Event) -> None:
        """Agree to a WebSocket, in the first sub-protocol that was offered."""
        request = await self.asked()
        await self.send(AcceptConnection(subprotocol=request.subprotocols[0]), *behind)

    async def refuse(self, status: int, text: bytes) -> None:
        """Answer with an HTTP status and a body."""
        await self.asked()
        headers = [(b"content-length", b"%d" % len(text))]
        await self.send(RejectConnection(status, headers, has_body=True), RejectData(text))

    async def _read(self) -> bool:
        data = bytes(await self._stream.receive_some(65536))
        self._protocol.receive_data(data or None)
        for event in self._protocol.events():
            if isinstance(event, Request):
                self.request = event
            elif isinstance(event, BytesMessage):
                self.messages.append(bytes(event.data))
            elif isinstance(event, Pong):
                self.pongs.append(event.payload)
            elif isinstance(event, CloseConnection):
                self.closed_with = event.code
        return bool(data)

    async def until(self, done: Callable[[], bool]) -> None:
        """Read until something is so."""
        while not done():
            assert await self._read(), "the client has gone"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets as one message."""
        whole = bytes(data)
        await self.send(BytesMessage(whole) if self.binary else TextMessage(whole.decode()))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - trio's
        """Return the next message, b"" at the end."""
        seen = len(self.messages)
        while len(self.messages) == seen:
            if self.closed_with is not None or not await self._read():
                return b""
        return b"".join(self.messages[seen:])

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


WebScript = Callable[[WebPeer], Awaitable[None]]


def speaking(script: Callable[[ScriptedBroker], Awaitable[None]]) -> WebScript:
    """Return a script that agrees to a WebSocket, and then plays one of STOMP."""

    async def play(peer: WebPeer) -> None:
        await peer.accept()
        await script(ScriptedBroker(peer))

    return play


@asynccontextmanager
async def on_web(script: WebScript, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Play a script for the first connection to a port of 127.0.0.1; the port is yielded."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        async with listener:
            stream: trio.abc.Stream = await listener.accept()
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        async with stream:
            await script(WebPeer(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield int(listener.socket.getsockname()[1])


__all__ = ["Ping", "WebPeer", "on_web", "speaking"]
