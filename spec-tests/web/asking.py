"""What the tests of the HTTP port share: requests, and WebSockets, by programs that are not ours.

``ask``    a request by httpx, in a thread
``Socket`` STOMP over WebSocket by websocket-client, in a thread; frames as text or octets
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import trio
import websocket
from server.edge import PATIENCE, Edge
from wire import octets

CONNECT = "CONNECT\naccept-version:1.2\nhost:x\n\n\0"


async def ask(edge: Edge, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
    """Send a request and return the answer."""
    url = f"http://127.0.0.1:{edge.http_port}{path}"

    def send() -> httpx.Response:
        return httpx.request(method, url, timeout=PATIENCE, trust_env=False, **options)

    return await trio.to_thread.run_sync(send)


class Socket:
    """A WebSocket; each method waits in a thread."""

    def __init__(self, raw: websocket.WebSocket) -> None:
        self.raw = raw

    @classmethod
    async def open(
        cls,
        edge: Edge,
        protocols: Sequence[str] = ("v12.stomp",),
        *,
        origin: str | None = None,
        host: str | None = None,
    ) -> Self:
        """Open one; without ``origin`` as programs do."""

        def connect() -> websocket.WebSocket:
            return websocket.create_connection(
                f"ws://127.0.0.1:{edge.http_port}/ws",
                timeout=PATIENCE,
                subprotocols=list(protocols),
                origin=origin,
                suppress_origin=origin is None,
                # It is done octet by octet in Python.
                skip_utf8_validation=True,
                host=host,
            )

        return cls(await trio.to_thread.run_sync(connect))

    async def send(self, data: str | bytes) -> None:
        """Send a message, text or binary."""
        kind = websocket.ABNF.OPCODE_TEXT if isinstance(data, str) else websocket.ABNF.OPCODE_BINARY
        await trio.to_thread.run_sync(self.raw.send, data, kind)

    async def login(self) -> str:
        """Open a session; return CONNECTED."""
        await self.send(CONNECT)
        kind, data = await self.take()
        assert kind == websocket.ABNF.OPCODE_TEXT
        assert data.startswith(b"CONNECTED\n")
        return data.decode()

    async def take(self) -> tuple[int, bytes]:
        """Return kind and octets of the next message, a closing one included."""
        kind, data = await trio.to_thread.run_sync(self.raw.recv_data)
        return kind, data

    async def text(self) -> str:
        """Return the next message, which has to be text."""
        kind, data = await self.take()
        assert kind == websocket.ABNF.OPCODE_TEXT, (kind, data)
        return data.decode()

    async def closed(self) -> int:
        """Return the code that the server closes it with, which it does next."""
        kind, data = await self.take()
        assert kind == websocket.ABNF.OPCODE_CLOSE, (kind, data)
        return int.from_bytes(data[:2], "big")

    async def close(self) -> None:
        """Close it in the ordinary way."""
        await trio.to_thread.run_sync(self.raw.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Close its connection without a word; nothing if that was done."""
        if self.raw.sock is not None:
            self.raw.sock.close()

    @property
    def sock(self) -> socket.socket:
        """What it is written to."""
        sock = self.raw.sock
        assert isinstance(sock, socket.socket)
        return sock


@asynccontextmanager
async def opened(edge: Edge, *protocols: str) -> AsyncIterator[Socket]:
    """Open a session over WebSocket in the block."""
    async with await Socket.open(edge, protocols or ("v12.stomp",)) as sock:
        await sock.login()
        yield sock


def wire(text: str) -> bytes:
    """Return octets of the notation of `wire.octets`."""
    return octets(text)
