"""A WebSocket as the stream of octets that a session is made of.

What comes in text and in binary messages counts alike; each frame goes as a binary message of its
own, since some brokers read no more than one from a message.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from stompcli.client.errors import ConnectError
from stompcli.client.reasons import words
from stompcli.client.url import Address
from stompd.protocol.errors import shown

if TYPE_CHECKING:
    from wsproto import WSConnection
    from wsproto.events import Event

_READ_SIZE: Final = 64 * 1024
# The octets of a refusal that are worth reading.
_REFUSAL: Final = 4096
_NORMAL: Final = 1000


async def wrap(
    stream: trio.abc.Stream, address: Address, versions: Iterable[str]
) -> "WebSocketStream":
    """Return the stream as a WebSocket, once the other side has agreed to one; else close it.

    ``versions`` are those of STOMP that are offered as sub-protocols, the best one first.
    Raises `ConnectError` with the reason, such as the status of HTTP.
    """
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import Request
    from wsproto.utilities import LocalProtocolError

    names = [f"v{version.replace('.', '')}.stomp" for version in versions]
    assert address.websocket is not None  # noqa: S101 - for the type checker; the caller looked
    socket = WebSocketStream(stream, WSConnection(ConnectionType.CLIENT))
    try:
        await socket.open(Request(str(address), address.websocket, subprotocols=names))
    except (trio.BrokenResourceError, LocalProtocolError) as error:
        await trio.aclose_forcefully(stream)
        raise ConnectError(str(address), words(error)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return socket


class WebSocketStream(trio.abc.Stream):
    """The messages of a WebSocket, one after the other. It owns the stream below it."""

    def __init__(self, stream: trio.abc.Stream, protocol: "WSConnection") -> None:
        self._stream = stream
        self._protocol = protocol
        self._sending = trio.Lock()
        # Answers to pings, which whoever is sending takes along.
        self._answers: list[bytes] = []
        # What came and was not asked for yet, and whether more will.
        self._received = b""
        self._over = False

    async def open(self, request: "Event") -> None:
        """Ask for the WebSocket; raises `trio.BrokenResourceError` if there is none to be had."""
        from wsproto.events import AcceptConnection, RejectConnection, RejectData

        await self._stream.send_all(self._protocol.send(request))
        status, text = 0, b""
        while True:
            events = iter(await self._events())
            for event in events:
                if isinstance(event, AcceptConnection):
                    # What the broker has sent right behind it.
                    self._take(events)
                    return
                if isinstance(event, RejectConnection):
                    status = event.status_code
                    if not event.has_body:
                        self._over = True
                if isinstance(event, RejectData):
                    text += bytes(event.data)
                    self._over = self._over or event.body_finished or len(text) > _REFUSAL
            if status and self._over:
                raise trio.BrokenResourceError(_refusal(status, text))
            if self._over:
                raise trio.BrokenResourceError("the broker closed the connection")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets as one binary message."""
        await self.send_frames([bytes(data)])

    async def send_frames(self, frames: Sequence[bytes]) -> None:
        """Send each of these as a binary message of its own."""
        from wsproto.events import BytesMessage
        from wsproto.utilities import LocalProtocolError

        async with self._sending:
            try:
                data = b"".join(self._protocol.send(BytesMessage(frame)) for frame in frames)
            except LocalProtocolError as error:
                # The other side has said that it closes.
                raise trio.BrokenResourceError from error
            await self._stream.send_all(data)
        await self._answer()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room for more."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next octets, b"" at the end.

        Raises `trio.BrokenResourceError` if the other side closes for another reason than that it
        is done, or breaks the protocol.
        """
        while not self._received:
            if self._over:
                return b""
            self._take(await self._events())
            await self._answer()
        size = len(self._received) if max_bytes is None else max_bytes
        data, self._received = self._received[:size], self._received[size:]
        return data

    async def aclose(self) -> None:
        """Say that it is over, and close the stream."""
        from wsproto.events import CloseConnection
        from wsproto.utilities import LocalProtocolError

        try:
            if self._sending.locked():
                # Half a message is on its way; nothing may come between.
                return
            await self._stream.send_all(self._protocol.send(CloseConnection(_NORMAL)))
        except (LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await self._stream.aclose()

    async def _events(self) -> "list[Event]":
        """Return what has happened, at least the end; notes that."""
        from wsproto.utilities import RemoteProtocolError

        data = bytes(await self._stream.receive_some(_READ_SIZE))
        if not data:
            self._over = True
            return []
        try:
            self._protocol.receive_data(data)
            return list(self._protocol.events())
        except RemoteProtocolError as error:
            raise trio.BrokenResourceError(f"no WebSocket: {error}") from None

    def _take(self, events: "Iterable[Event]") -> None:
        from wsproto.connection import ConnectionState
        from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

        for event in events:
            if isinstance(event, BytesMessage):
                self._received += bytes(event.data)
            elif isinstance(event, TextMessage):
                self._received += event.data.encode()
            elif isinstance(event, Ping):
                self._answers.append(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                self._over = True
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self._answers.append(self._protocol.send(event.response()))
                if event.code != _NORMAL and not self._received:
                    reason = f" {shown(event.reason)}" if event.reason else ""
                    raise trio.BrokenResourceError(
                        f"the broker closed the WebSocket with {int(event.code)}{reason}"
                    )

    async def _answer(self) -> None:
        """Send what is to be answered, unless somebody sends just now and will do it."""
        while self._answers and not self._sending.locked():
            async with self._sending:
                data = b"".join(self._answers)
                self._answers.clear()
                await self._stream.send_all(data)


def _refusal(status: int, text: bytes) -> str:
    """Return why there is no WebSocket, in words."""
    said = shown(text.strip()[:_REFUSAL].splitlines()[0]) if text.strip() else ""
    return f"no WebSocket: HTTP status {status}" + (f": {said}" if said else "")
