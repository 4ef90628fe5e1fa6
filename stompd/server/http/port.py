"""The listening sockets for HTTP, and the connections that come in by them."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Self, cast

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, H11SendableEvent

from stompd.server import listener
from stompd.server.http.app import application
from stompd.server.http.stream import CuttableStream, EncryptedStream
from stompd.server.tls import HandshakeError, PlainTextError

if TYPE_CHECKING:
    from stompd.broker.session import Session
    from stompd.server.config import HttpSettings, Settings
    from stompd.server.service import Service

log = structlog.get_logger()

# Seconds between the PINGs of a WebSocket, which keep proxies from taking it for dead.
_PING_EVERY: Final = 30.0
# What a peer is told that speaks HTTP where it should encrypt it.
_SPEAK_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: 40\r\n\r\nThis port speaks TLS: use https or wss.\n"
)
_EXTENSIONS: Final = b"sec-websocket-extensions"


class _Log(Logger):
    """Where hypercorn writes: to stompd's log."""

    def __init__(self, config: Config) -> None:
        del config

    async def access(self, request: Any, response: Any, request_time: float) -> None:  # noqa: ANN401 - as hypercorn has it
        """Note a request that was answered."""
        log.debug(
            "http request",
            method=request.get("method", "WebSocket"),
            path=request["path"],
            status=None if response is None else response["status"],
            seconds=round(request_time, 3),
        )

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note a request that failed."""
        del args, kwargs
        log.exception("a request failed by a fault of stompd", reason=message)  # noqa: LOG004 - it is called in one

    async def log(self, level: int, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note what hypercorn has to say."""
        del kwargs
        log.log(level, "http", told=message % args if args else message)

    async def critical(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note it."""
        await self.log(logging.CRITICAL, message, *args, **kwargs)

    async def error(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note it."""
        await self.log(logging.ERROR, message, *args, **kwargs)

    async def warning(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note it."""
        await self.log(logging.WARNING, message, *args, **kwargs)

    async def info(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note it; what hypercorn calls information is for debugging here."""
        await self.log(logging.DEBUG, message, *args, **kwargs)

    async def debug(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as above
        """Note it."""
        await self.log(logging.DEBUG, message, *args, **kwargs)


class _Http11(H11Protocol):
    """HTTP/1.1, which becomes nothing else than WebSocket.

    Nobody needs HTTP/2 here. A peer that gives no window to it, or resets each request that it
    makes, would have a connection for ever.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take no hint at HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        # Agree to no compression: a read of 64 KiB would become 64 MiB before it is measured.
        headers = [header for header in request.headers if header[0] != _EXTENSIONS]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            await super()._send_h11_event(event)
        except h11.LocalProtocolError:
            if not isinstance(self.connection, H11WSConnection):
                raise
            # Its peer has sent frames before the handshake was answered: there is no answer to it.
            await self.send(Closed())


class _Server(TCPServer):
    """hypercorn's part of a connection, with no other protocol than that one."""

    async def _read_data(self) -> None:
        whole = self.protocol
        whole.protocol = _Http11(
            whole.app,
            whole.config,
            whole.context,
            whole.task_group,
            whole.state,
            whole.ssl,
            whole.client,
            whole.server,
            whole.send,
        )
        await super()._read_data()


class _MessageLimit(int):
    """Octets in one WebSocket message; before the log-in it is no more than a frame may have then.

    hypercorn asks with each part that comes whether it is less than what is there by now.
    """

    _connection: HttpConnection
    _before: int

    @classmethod
    def of(cls, connection: HttpConnection, settings: Settings) -> Self:
        """Return that of a connection."""
        limit = cls(settings.http.max_message)
        frame = settings.limits.before_login()
        limit._before = frame.head + frame.body
        limit._connection = connection
        return limit

    def __lt__(self, other: int) -> bool:
        session = self._connection.session
        if (session is None or not session.logged_in) and self._before < other:
            return True
        return int(self) < other


class HttpPort:
    """Owns the listening sockets and the connections that came in by them.

    Raises `OSError` if an address cannot be had.
    """

    def __init__(self, settings: HttpSettings) -> None:
        # Until the next start: who is connected has been told one or the other.
        self.encrypts = settings.tls
        self._sockets: list[socket.socket] = []
        self.ports: list[int] = []
        """One for each address of the settings, in their order."""
        self._connections: set[HttpConnection] = set()
        self._refusing = False
        self._context = WorkerContext(None)
        self._accepting = trio.CancelScope()
        self._empty = trio.Event()
        try:
            for address in settings.listen:
                found = listener.open_tcp(address)
                self._sockets += found
                self.ports.append(found[0].getsockname()[1])
        except OSError:
            self.close()
            raise

    async def serve(
        self, service: Service, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take connections until `stop`; started once they are taken."""
        self._service = service
        self._nursery = service.nursery
        # ASGI, which its two users have each their own types for.
        self._app = ASGIWrapper(cast("Any", application(service, self)))
        self._configure()
        try:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    for sock in self._sockets:
                        nursery.start_soon(listener.accept_all, self, sock)
                    task_status.started()
        finally:
            self.close()

    def accept(self, sock: socket.socket, peer: str, address: str) -> None:
        """Serve a new connection, unless there are too many."""
        if len(self._connections) >= self._service.settings.http.connections:
            if not self._refusing:
                log.warning("http connections refused", peer=peer, open=self.count)
            self._refusing = True
            sock.close()
            return
        self._refusing = False
        connection = HttpConnection(self, sock, peer, address)
        self._connections.add(connection)
        self._service.poller.guests += 1
        self._nursery.start_soon(connection.serve)

    @property
    def service(self) -> Service:
        """What is served."""
        return self._service

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def start(self, connection: HttpConnection) -> TCPServer:
        """Return hypercorn's part of a connection, to be awaited."""
        if self._service.settings is not self._settings:
            self._configure()
        state = ConnectionState({"connection": connection})
        config = copy(self._config)
        config.websocket_max_message_size = _MessageLimit.of(connection, self._settings)
        # It is written for streams over TLS, and takes others.
        return _Server(self._app, config, self._context, state, connection.stream)  # type: ignore[arg-type]

    def _configure(self) -> None:
        self._settings = self._service.settings
        self._config = _configuration(self._settings)

    def gone(self, connection: HttpConnection) -> None:
        """Forget a connection that is closed."""
        self._connections.remove(connection)
        self._service.poller.guests -= 1
        if not self._connections:
            self._empty.set()

    async def stop(self) -> None:
        """Take no more connections, and end those that there are.

        Requests that are being answered get some time for it.
        """
        self._accepting.cancel()
        self.close()
        # Those that wait for a request close at once now.
        await self._context.terminated.set()
        for connection in list(self._connections):
            if connection.stream.ended:
                connection.cut()
        if self._connections:
            self._empty = trio.Event()
            with trio.move_on_after(self._service.settings.timeouts.linger):
                await self._empty.wait()
        self.cut()

    def cut(self) -> None:
        """End all connections at once."""
        for connection in list(self._connections):
            connection.cut()

    def close(self) -> None:
        """Listen no more."""
        for sock in self._sockets:
            sock.close()


class HttpConnection:
    """One connection, whatever is spoken on it; applications find it in the state of a scope."""

    def __init__(self, port: HttpPort, sock: socket.socket, peer: str, address: str) -> None:
        self._port = port
        self.peer = peer
        self.address = address
        """The peer's address without the port."""
        self.session: Session | None = None
        """That of its WebSocket, None if it has none."""
        if port.encrypts:
            context = port.service.welcome.tls
            assert context is not None  # noqa: S101 - there is one where there is such a port
            self.stream: CuttableStream = EncryptedStream(sock, self, context)
        else:
            self.stream = CuttableStream(sock, self)
        self._scope = trio.CancelScope()

    async def serve(self) -> None:
        """Serve it to its end; a fault ends nothing else."""
        try:
            with self._scope:
                await self._port.start(self)
        except PlainTextError:
            log.info("no http connection", peer=self.peer, reason="plain text on a port for TLS")
            with suppress(OSError, trio.BrokenResourceError):
                await self.stream.socket.send(_SPEAK_TLS)
        except (HandshakeError, OSError) as error:
            log.info("no http connection", peer=self.peer, reason=str(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # Its peer is gone, or it was cut.
            return
        except BaseExceptionGroup as group:
            broken, others = group.split((trio.BrokenResourceError, trio.ClosedResourceError))
            del broken
            if others is None:
                return
            cancelled, others = others.split(trio.Cancelled)
            if others is not None:
                log.error("an http connection failed", peer=self.peer, exc_info=others)  # noqa: TRY400 - of a part
            if cancelled is not None:
                raise cancelled from None
        except Exception:
            log.exception("an http connection failed", peer=self.peer)
        finally:
            self.stream.cut()
            self._port.gone(self)

    def cut(self) -> None:
        """End it at once."""
        self._scope.cancel()
        # A write is shielded from that, but not from this.
        self.stream.cut()

    @property
    def patience(self) -> float:
        """For how many seconds its peer may read nothing of an answer."""
        return self._port.service.settings.http.idle

    def linger(self) -> None:
        """Give a peer that was told to go, or has gone, some time; then end it."""
        self._port.service.nursery.start_soon(self._cut_later)

    async def _cut_later(self) -> None:
        await trio.sleep(self._port.service.settings.timeouts.linger)
        self.cut()

    def part(self) -> None:
        """End it as soon as its peer does not read on, since its session has ended."""
        self._port.service.nursery.start_soon(self._cut_when_stuck)

    async def _cut_when_stuck(self) -> None:
        written = -1
        while self.stream.written > written:
            written = self.stream.written
            await trio.sleep(self._port.service.settings.timeouts.linger)
        self.cut()


def _configuration(settings: Settings) -> Config:
    config = Config()
    config.ssl_handshake_timeout = settings.timeouts.login
    config.logger_class = _Log
    config.include_server_header = False
    config.keep_alive_timeout = settings.http.idle
    config.websocket_ping_interval = _PING_EVERY
    # What a peer sends is hardly read ahead of who takes it. There must be room for the end of a
    # request beside its begin, because hypercorn waits until it can tell it.
    config.max_app_queue_size = 2
    return config
