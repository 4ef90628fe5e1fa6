"""A scripted broker: programs that use the client are tested against what a broker might say.

A script is an ``async def`` that is given a `ScriptedBroker`: the broker's side of one connection.

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND")
        await broker.receipt(frame)

    async with on_stream(script) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "hello", receipt=True)

`on_stream` joins the two by a memory stream: no sockets, and with a mock clock no waiting.
`on_socket` listens on a free port of 127.0.0.1 for programs that dial themselves. `on_dial` plays
one script after the other, for clients that reconnect. In all of them the block ends when the
scripts have ended, and an exception of a script is an exception of the block.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import trio
import trio.testing

from stompcli.client.url import Address
from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode, with_length
from stompd.protocol.frame import V10, V12, Head
from stompd.protocol.rules import negotiate

_READ_SIZE = 64 * 1024


class ScriptError(AssertionError):
    """The program wrote something else than the script expects, or nothing more."""


class ClientFrame:
    """One frame that the program wrote: ``command``, decoded ``headers``, ``body``."""

    __slots__ = ("body", "command", "headers")

    def __init__(self, head: Head, body: bytes) -> None:
        self.command = head.command
        self.headers = head.headers
        self.body = body

    def __repr__(self) -> str:
        return f"<{self.command} {self.headers!r} {self.body!r}>"


class ScriptedBroker:
    """The broker's side of one connection, doing what a script says.

    ``received`` are all octets that the program wrote so far, as it wrote them.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = b""
        self.version = V12
        self._decoder = Decoder("server")
        self._frames: list[tuple[Head, bytes]] = []

    # What the program writes.

    async def next(self) -> ClientFrame:
        """Return the next frame that the program writes.

        Raises `ScriptError` if it closes the connection instead, or breaks the protocol.
        """
        while not self._frames:
            self._check()
            data = await self.read()
            if not data:
                raise ScriptError("the connection was closed where the script expects a frame")
            self._frames += self._decoder.feed(data)
        return ClientFrame(*self._frames.pop(0))

    async def expect(self, command: str, **headers: str) -> ClientFrame:
        """Return the next frame, which must be this command with these headers at least.

        In names of headers ``_`` stands for ``-``. Raises `ScriptError` for another frame.
        """
        frame = await self.next()
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        found = {name: frame.headers.get(name) for name in wanted}
        if frame.command != command or found != wanted:
            raise ScriptError(f"expected {command} {wanted!r}, got {frame!r}")
        return frame

    async def expect_end(self) -> None:
        """Wait until the program closes the connection.

        Raises `ScriptError` if it writes another frame first.
        """
        while True:
            if self._frames:
                raise ScriptError(f"expected the end, got {ClientFrame(*self._frames[0])!r}")
            self._check()
            data = await self.read()
            if not data:
                return
            self._frames += self._decoder.feed(data)

    async def read(self) -> bytes:
        """Return the next octets, b"" at the end; they count as received, not as frames."""
        try:
            data = bytes(await self.stream.receive_some(_READ_SIZE))
        except trio.BrokenResourceError:
            data = b""
        self.received += data
        return data

    def _check(self) -> None:
        if self._decoder.error is not None:
            raise ScriptError(f"the program broke the protocol: {self._decoder.error}")

    # What the broker answers.

    async def accept(
        self,
        version: str | None = None,
        *,
        heart_beat: str | None = "0,0",
        headers: Mapping[str, str] | None = None,
    ) -> ClientFrame:
        """Read CONNECT, answer CONNECTED, and return what the program asked for.

        ``version`` None takes the best one offered. ``heart_beat`` None leaves that header out.
        """
        frame = await self.next()
        if frame.command not in ("CONNECT", "STOMP"):
            raise ScriptError(f"expected CONNECT, got {frame!r}")
        self.version = version or negotiate(frame.headers.get("accept-version"))
        self._decoder.begin(self.version)
        # What the program wrote behind its CONNECT, without waiting to be let in.
        self._frames += self._decoder.feed(b"")
        pairs = {"version": self.version, "session": "s1", "server": "scripted/1"}
        if heart_beat is not None and self.version != V10:
            pairs["heart-beat"] = heart_beat
        await self.send("CONNECTED", {**pairs, **(headers or {})})
        return frame

    async def send(
        self, command: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send a frame of the session's version, with content-length if it has a body."""
        pairs = with_length((headers or {}).items(), body)
        await self.send_raw(encode(command, pairs, body, version=self.version))

    async def send_raw(self, data: bytes) -> None:
        """Send these octets."""
        await self.stream.send_all(data)

    async def message(
        self,
        subscription: ClientFrame,
        body: bytes = b"",
        *,
        message_id: str = "m1",
        **headers: str,
    ) -> None:
        """Send a MESSAGE for a SUBSCRIBE frame, with an ack header where the mode wants one.

        In names of ``headers`` ``_`` stands for ``-``.
        """
        pairs = {
            "subscription": subscription.headers["id"],
            "message-id": message_id,
            "destination": subscription.headers["destination"],
        }
        if subscription.headers.get("ack", "auto") != "auto" and self.version == V12:
            pairs["ack"] = message_id
        pairs |= {name.replace("_", "-"): value for name, value in headers.items()}
        await self.send("MESSAGE", pairs, body)

    async def receipt(self, frame: ClientFrame) -> None:
        """Confirm a frame; raises `ScriptError` if it did not ask for that."""
        if "receipt" not in frame.headers:
            raise ScriptError(f"{frame!r} asks for no receipt")
        await self.send("RECEIPT", {"receipt-id": frame.headers["receipt"]})

    async def subscribed(self, **headers: str) -> ClientFrame:
        """Expect SUBSCRIBE with these headers, confirm it if that was asked for, return it."""
        frame = await self.expect("SUBSCRIBE", **headers)
        if "receipt" in frame.headers:
            await self.receipt(frame)
        return frame

    async def serve_end(self) -> ClientFrame:
        """Skip to DISCONNECT, confirming what asks for it on the way, and close; return it."""
        while True:
            frame = await self.next()
            if "receipt" in frame.headers:
                await self.receipt(frame)
            if frame.command == "DISCONNECT":
                await self.stream.aclose()
                return frame

    async def close(self) -> None:
        """Close the connection."""
        await self.stream.aclose()


Script = Callable[[ScriptedBroker], Awaitable[None]]


@asynccontextmanager
async def on_stream(script: Script) -> AsyncIterator[trio.abc.HalfCloseableStream]:
    """Run a script at the other end of a memory stream, which is yielded."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_play, script, theirs)
        yield ours


@asynccontextmanager
async def on_socket(script: Script) -> AsyncIterator[int]:
    """Run a script for the first connection to a port of 127.0.0.1; the port is yielded."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener.socket.getsockname()[1])

    async def serve() -> None:
        async with listener:
            stream = await listener.accept()
        await _play(script, stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield port


class Scripts:
    """What `connect` takes as ``dial``: each call plays the next script at the stream's other end.

    An `OSError` among the scripts is raised instead: nobody listens there. So is one when they are
    used up. ``calls`` are the times, on trio's clock, and the addresses of the calls so far.
    """

    def __init__(self, scripts: Iterable[Script | OSError], nursery: trio.Nursery) -> None:
        self._left = list(scripts)
        self._nursery = nursery
        self.calls: list[tuple[float, Address]] = []

    async def __call__(self, address: Address) -> trio.abc.Stream:
        """Return the program's end of a memory stream; raises `OSError` if the script is one."""
        await trio.lowlevel.checkpoint()
        self.calls.append((trio.current_time(), address))
        script = self._left.pop(0) if self._left else ConnectionRefusedError("no more scripts")
        if isinstance(script, OSError):
            raise script
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(_play, script, theirs)
        return ours


@asynccontextmanager
async def on_dial(*scripts: Script | OSError) -> AsyncIterator[Scripts]:
    """Give a ``dial`` for `connect` that plays one script after the other; see `Scripts`."""
    async with trio.open_nursery() as nursery:
        yield Scripts(scripts, nursery)


async def _play(script: Script, stream: trio.abc.HalfCloseableStream) -> None:
    async with stream:
        await script(ScriptedBroker(stream))
