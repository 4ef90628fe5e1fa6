"""A stompd inside the test, on real sockets, and naive peers of it.

``serving``  runs the server in the block and yields an `Edge`: its ports, its service
``Peer``     one connection to it: writes octets, reads frames; shares no code with stompd's decoder
``Entries``  what stompd has logged in the block
"""

import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog
import trio
from wire import Frame, notation, octets

from stompd.server.auth import Authenticator
from stompd.server.commit import DurableStore
from stompd.server.config import Settings
from stompd.server.run import Started, serve
from stompd.server.service import Service

PATIENCE = 20.0
"""How long, in seconds, something may take that has to happen; generous, for loaded machines."""

CONNECT = "CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@"


class Entries:
    """What was logged, as structlog hands it over."""

    def __init__(self, entries: Sequence[Any]) -> None:
        self._entries = entries

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the entries that are about ``event``."""
        return [dict(entry) for entry in self._entries if entry["event"] == event]

    async def first(self, event: str) -> dict[str, Any]:
        """Wait for an entry about ``event``."""
        with trio.fail_after(PATIENCE):
            while not (found := self.of(event)):  # noqa: ASYNC110 - the log sets no events
                await trio.sleep(0.01)
        return found[0]

    def __str__(self) -> str:
        return "\n".join(map(str, self._entries))


class Peer:
    """One connection; everything is written and read as octets."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.unread = bytearray()
        # As many octets the next frame has at least; spares looking at a large one again and again.
        self._least = 0

    async def write(self, text: str | bytes) -> Self:
        """Write octets, or text in the notation of `wire.octets`."""
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(octets(text) if isinstance(text, str) else text)
        return self

    async def login(self, *lines: str, version: str = "1.2") -> Self:
        """Open a session."""
        head = "⏎".join((f"accept-version:{version}", "host:x", *lines))
        await self.write(f"CONNECT⏎{head}⏎⏎^@")
        frame = await self.frame()
        assert frame.command == b"CONNECTED", frame
        return self

    async def more(self) -> bool:
        """Read once; False at end-of-stream."""
        with trio.fail_after(PATIENCE):
            data = await self.stream.receive_some(65536)
        self.unread += data
        return bool(data)

    async def frame(self) -> Frame:
        """Return the next frame."""
        while True:
            if len(self.unread) >= self._least:
                self.unread = self.unread.lstrip(b"\n")
                frame, self._least = _parse(bytes(self.unread))
                if frame is not None:
                    del self.unread[: self._least]
                    self._least = 0
                    return frame
            assert await self.more(), f"end-of-stream after {notation(bytes(self.unread))}"

    async def expect(self, command: str, **headers: str) -> Frame:
        """Return the next frame, which has to be this one; ``_`` in names stands for ``-``."""
        frame = await self.frame()
        assert frame.command == command.encode(), frame
        for name, value in headers.items():
            assert frame.text(name.replace("_", "-")) == value, frame
        return frame

    async def ask(self, verb: str, **fields: object) -> dict[str, Any]:
        """Make an admin request, and return its result."""
        head = f"SEND⏎destination:/admin/{verb}⏎reply-to:/temp-queue/r⏎correlation-id:{verb}⏎⏎"
        await self.write(octets(head) + json.dumps(fields).encode() + b"\0")
        frame = await self.expect("MESSAGE", correlation_id=verb)
        return dict(json.loads(frame.body)["result"])

    async def rest(self) -> bytes:
        """Return everything up to end-of-stream; a reset is an error."""
        while await self.more():
            pass
        return bytes(self.unread)

    async def fatal(self, message: str) -> Frame:
        """Read an ERROR about ``message``, then end-of-stream."""
        frame = await self.expect("ERROR")
        assert message in frame.text("message"), frame
        assert (await self.rest()).strip(b"\n") == b""
        return frame

    async def sync(self) -> None:
        """Wait until all that was written has been dealt with."""
        await self.write("SEND⏎destination:/topic/sync⏎receipt:sync⏎⏎^@")
        await self.expect("RECEIPT", receipt_id="sync")

    async def put(self, destination: str, body: bytes = b"x") -> None:
        """SEND and wait for the receipt."""
        await self.write(octets(f"SEND⏎destination:{destination}⏎receipt:put⏎⏎") + body + b"\0")
        await self.expect("RECEIPT", receipt_id="put")

    async def subscribe(self, destination: str, *lines: str) -> None:
        """SUBSCRIBE as ``s`` and wait for the receipt."""
        head = "⏎".join((f"destination:{destination}", "id:s", "receipt:sub", *lines))
        await self.write(f"SUBSCRIBE⏎{head}⏎⏎^@")
        await self.expect("RECEIPT", receipt_id="sub")

    async def half_close(self) -> Self:
        """End the peer's direction; reading goes on."""
        await self.stream.send_eof()
        return self

    async def close(self) -> None:
        """Close in the ordinary way."""
        await self.stream.aclose()

    def reset(self) -> None:
        """Close so that a reset is sent."""
        linger = struct.pack("ii", 1, 0)
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()


def _parse(data: bytes) -> tuple[Frame | None, int]:
    """Return the frame at the start of ``data``, and its length.

    If it is not whole, None and as many octets as it has at least.
    """
    head, blank, _ = data.partition(b"\n\n")
    if not blank:
        return None, 0
    command, *lines = head.split(b"\n")
    frame = Frame(command, tuple(lines), b"")
    start = len(head) + 2
    length = frame.raw("content-length")
    stop = data.find(b"\0", start) if length is None else start + int(length)
    if stop < 0 or stop >= len(data):
        return None, stop + 1
    assert data[stop] == 0, notation(data)
    return Frame(command, tuple(lines), data[start:stop]), stop + 1


@dataclass
class Edge:
    """The running server; `connect` opens connections that end with the block."""

    started: Started
    log: Entries
    _peers: list[Peer] = field(default_factory=list)

    @property
    def service(self) -> Service:
        """What all its connections share."""
        return self.started.service

    @property
    def port(self) -> int:
        """The port of its first address."""
        return self.started.ports[0]

    @property
    def http_port(self) -> int:
        """The port of its first address for HTTP."""
        return self.started.http_ports[0]

    async def connect(self, *, host: str = "127.0.0.1", buffer: int | None = None) -> Peer:
        """Open a connection; ``buffer`` makes its receive buffer that small."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return await self._open(trio.socket.socket(family), (host, self.port), buffer)

    async def connect_unix(self, path: Path) -> Peer:
        """Open a connection to a Unix socket."""
        return await self._open(trio.socket.socket(socket.AF_UNIX), str(path), None)

    async def _open(self, sock: trio.socket.SocketType, place: object, buffer: int | None) -> Peer:
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            with trio.fail_after(PATIENCE):
                await sock.connect(place)
        except BaseException:
            sock.close()
            raise
        peer = Peer(trio.SocketStream(sock))
        self._peers.append(peer)
        return peer

    async def login(self, *lines: str, version: str = "1.2", buffer: int | None = None) -> Peer:
        """Open a connection and a session."""
        return await (await self.connect(buffer=buffer)).login(*lines, version=version)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something inside the server has come true."""
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - the server has no event for everything
                await trio.sleep(0.01)

    async def until_open(self, count: int) -> None:
        """Wait until the server holds that many connections."""
        await self.until(lambda: len(self.service.connections) == count)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue of the default virtual host."""
        found = self.service.broker.hosts[0].queues.get(queue)
        return found.depth if found is not None else 0

    async def take(self, queue: str, count: int) -> list[bytes]:
        """Consume that many messages and return their bodies."""
        peer = await self.login()
        await peer.subscribe(queue)
        bodies = [(await peer.expect("MESSAGE")).body for _ in range(count)]
        await peer.close()
        return bodies

    def close(self) -> None:
        """Close what peers have left open."""
        for peer in self._peers:
            peer.stream.socket.close()


def settings(**tables: object) -> Settings:
    """Return settings on a free port of 127.0.0.1, with these tables as the file has them.

    Without HTTP, unless they say so: `web` returns a table that does.
    Nothing is kept in a file unless they say so.
    """
    here = {
        "listen": ["127.0.0.1:0"],
        "http": {"listen": "off"},
        "store": {"engine": "memory"},
    }
    return Settings.model_validate({**here, **tables}, by_name=True)


def web(**keys: object) -> dict[str, object]:
    """Return the table ``http`` of settings: on a free port of 127.0.0.1, with these keys."""
    return {"listen": ["127.0.0.1:0"], **keys}


@asynccontextmanager
async def serving(
    given: Settings | None = None,
    *,
    authenticator: Authenticator | None = None,
    reread: Callable[[], Settings] | None = None,
    store: DurableStore | None = None,
) -> AsyncIterator[Edge]:
    """Run the server in the block, with a ``store`` if one is given."""
    run = partial(
        serve, given or settings(), authenticator=authenticator, reread=reread, store=store
    )
    with structlog.testing.capture_logs() as entries:
        async with trio.open_nursery() as nursery:
            edge = Edge(await nursery.start(run), Entries(entries))
            try:
                yield edge
            finally:
                edge.close()
                nursery.cancel_scope.cancel()
