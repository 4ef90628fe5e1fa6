"""STOMP over WebSocket: a session like any other, behind a pair of sockets.

What a WebSocket brings is written to one end of the pair, and the service has the other: it is the
same session code as for TCP. Both directions go no faster than their slower side.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from stompd.broker.session import CloseReason
from stompd.server.http import guard
from stompd.server.http.pieces import Pieces

if TYPE_CHECKING:
    from stompd.broker.session import Session
    from stompd.server.http.port import HttpConnection
    from stompd.server.service import Service

# The best first.
PROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

_READ: Final = 64 * 1024
# How a WebSocket is closed (RFC 6455, section 7.4.1); what is not here is nobody's fault.
_NORMAL: Final = 1000
_CODES: Final = {
    CloseReason.PROTOCOL_ERROR: 1002,
    CloseReason.HEARTBEAT_TIMEOUT: 1002,
    CloseReason.REFUSED: 1008,
    CloseReason.LOGIN_TIMEOUT: 1008,
    CloseReason.SLOW_CONSUMER: 1008,
    CloseReason.TAKEN_OVER: 1008,
    CloseReason.KICKED: 1008,
    CloseReason.SHUTDOWN: 1001,
    CloseReason.TRANSPORT_FULL: 1013,
    CloseReason.CRASH: 1011,
}


async def stomp(websocket: WebSocket, service: Service) -> None:
    """Serve a WebSocket until it is closed, or refuse it."""
    status, reason = _refusal(websocket, service)
    if status:
        await websocket.send_denial_response(PlainTextResponse(f"{reason}\n", status))
        return
    offered = websocket.scope["subprotocols"]
    chosen = next((name for name in PROTOCOLS if name in offered), None)
    await websocket.accept(chosen)
    connection: HttpConnection = websocket.scope["state"]["connection"]
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    accepted = service.accept(theirs, connection.peer, connection.address)
    # What is written to a peer that does not read would never end.
    accepted.gone = connection.part
    session = accepted.session
    connection.session = session
    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
        await _Bridge(websocket, stream, session).serve()


def _refusal(websocket: WebSocket, service: Service) -> tuple[int, str]:
    """Return why a WebSocket is not accepted, and the status that says so; 0 if it is."""
    settings = service.settings.http
    headers = websocket.headers
    if websocket.scope["http_version"] != "1.1":
        return 400, "WebSocket is spoken over HTTP/1.1 only"
    origin = headers.get("origin")
    if not guard.is_own_page(origin, headers.get("host"), settings.origins):
        return 403, f"pages of {origin} may not connect; the setting http.origins lists who may"
    offered = websocket.scope["subprotocols"]
    if offered and not set(PROTOCOLS) & set(offered):
        return 400, f"none of these sub-protocols is spoken here; {', '.join(PROTOCOLS)} are"
    if service.broker.draining:
        return 503, "the server is stopping"
    return 0, ""


class _Bridge:
    """Copies between a WebSocket and the session's end of a pair of sockets."""

    def __init__(self, websocket: WebSocket, stream: trio.SocketStream, session: Session) -> None:
        self._websocket = websocket
        self._stream = stream
        self._session = session
        # Whether the peer has written text so far; then it may be answered in text.
        self._text = False

    async def serve(self) -> None:
        """Copy until both sides have ended."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._inward)
            await self._outward()

    async def _inward(self) -> None:
        """Write to the session what comes, until the WebSocket is closed."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                # It may be closed from here already.
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_eof()
                return
            text = message.get("text")
            self._text = text is not None
            data = message["bytes"] if text is None else text.encode()
            # A session that is over takes no more; the rest is read and thrown away.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stream.send_all(data)

    async def _outward(self) -> None:
        """Send what the session writes, a frame a message; then close the WebSocket."""
        pieces = Pieces(self._session.end)
        with suppress(trio.BrokenResourceError):
            while data := await self._stream.receive_some(_READ):
                for piece in pieces.feed(data):
                    await self._send(piece)
        if rest := pieces.rest():
            await self._send(rest)
        await self._stream.aclose()
        code = (
            _NORMAL if self._session.reason is None else _CODES.get(self._session.reason, _NORMAL)
        )
        await self._websocket.send({"type": "websocket.close", "code": code, "reason": ""})

    async def _send(self, piece: bytes) -> None:
        """Send octets, as text if that is what the peer sends and they can be."""
        if self._text:
            try:
                text = piece.decode()
            except UnicodeDecodeError:
                pass
            else:
                await self._websocket.send({"type": "websocket.send", "text": text})
                return
        await self._websocket.send({"type": "websocket.send", "bytes": piece})
