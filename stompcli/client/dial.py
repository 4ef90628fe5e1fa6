"""Making sessions: from one URL or several, or over a stream that is there already."""

import errno
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Unpack

import trio

from stompcli.client import tls, websocket
from stompcli.client import url as urls
from stompcli.client.beside import tasks_beside
from stompcli.client.client import Client
from stompcli.client.connection import Connection
from stompcli.client.errors import ConnectError, ConnectionLostError, UsageError
from stompcli.client.options import Options, Reconnect, Settings
from stompcli.client.reasons import words
from stompcli.client.route import Route

_log = logging.getLogger("stompcli.client")


@asynccontextmanager
async def connect(
    url: str | urls.Address | Iterable[str | urls.Address] = "stomp://localhost:61613",
    **options: Unpack[Options],
) -> AsyncIterator[Client]:
    """Open a session with the broker at ``url`` for the length of a block.

    ``url`` is ``stomp://user:passcode@host:port/vhost``, ``stomp+ssl://…`` for TLS, ``ws://…`` and
    ``wss://…`` for a WebSocket, or ``unix:///path``, see `url.parse`, or an `Address`; or several
    of them, as a list or as one text with commas. They are tried in that order, and with several,
    or with ``reconnect``, the client connects again when a connection is lost. ``options`` are
    `Options`, and go before what the URL says. Leaving the block ends the session as
    `Client.disconnect` does; leaving it by cancellation closes the connection at once.
    Raises `UsageError`, and `ConnectError` (`RefusedError`) if there is no session to be had.
    """
    addresses = urls.addresses(url)
    settings = tls.prepared(Settings(**options), addresses)
    reconnect = settings.reconnection(len(addresses))
    route = Route(addresses, reconnect or Reconnect(), settings, _open)
    connection = await route.first()
    client = Client(connection, settings, None if reconnect is None else route)
    async with _running(client):
        yield client


@asynccontextmanager
async def connect_stream(
    stream: trio.abc.Stream, *, host: str = "localhost", **options: Unpack[Options]
) -> AsyncIterator[Client]:
    """Open a session over an existing stream, which the session closes when it ends.

    ``host`` stands for the name used for the socket. Otherwise like `connect`, but for one
    connection only.
    """
    settings = tls.prepared(Settings(**options), [])
    if settings.reconnection(1) is not None:
        raise UsageError("a stream cannot be opened again; give connect() a dial function")
    deadline = trio.current_time() + settings.timeout
    connection = await _greet(stream, host, host, settings, deadline)
    client = Client(connection, settings)
    async with _running(client):
        yield client


@asynccontextmanager
async def _running(client: Client) -> AsyncIterator[None]:
    async with tasks_beside() as nursery:
        nursery.start_soon(client.run)
        try:
            yield
            await client.disconnect()
        except Exception:
            try:
                # Nobody waits for confirmations now: DISCONNECT's receipt has to do.
                await client.disconnect(flush=False)
            except ConnectionLostError as error:
                _log.debug("the session had failed as well: %s", error)
            raise


async def _open(address: urls.Address, settings: Settings) -> Connection:
    """Return a connection that was let in; raises `ConnectError`."""
    started = trio.current_time()
    deadline = started + settings.timeout
    stream = await _dial(address, settings, deadline)
    dialled = trio.current_time() - started
    connection = await _greet(stream, str(address), address.host, settings, deadline)
    connection.dial_seconds = dialled
    connection.another = partial(_open, address, settings)
    return connection


async def _greet(
    stream: trio.abc.Stream, name: str, host: str, settings: Settings, deadline: float
) -> Connection:
    connection = Connection(stream, name, settings)
    started = trio.current_time()
    try:
        with trio.CancelScope(deadline=deadline) as patience:
            await connection.handshake(host)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    if patience.cancelled_caught:
        await trio.aclose_forcefully(stream)
        raise ConnectError(name, f"no CONNECTED within {settings.timeout:g} s")
    connection.login_seconds = trio.current_time() - started
    return connection


async def _dial(address: urls.Address, settings: Settings, deadline: float) -> trio.abc.Stream:
    with trio.CancelScope(deadline=deadline):
        try:
            stream = await _transport(address, settings)
        except (OSError, ValueError) as error:
            raise ConnectError(str(address), words(error)) from error
        if address.tls:
            assert settings.ssl_context is not None  # noqa: S101 - for the type checker
            stream = await tls.wrap(stream, address, settings.ssl_context)
        if address.websocket is not None:
            stream = await websocket.wrap(stream, address, settings.offered()[::-1])
        return stream
    raise ConnectError(str(address), f"no connection within {settings.timeout:g} s")


async def _transport(address: urls.Address, settings: Settings) -> trio.abc.Stream:
    if settings.dial is not None:
        return await settings.dial(address)
    if address.path is not None:
        return await trio.open_unix_socket(address.path)
    stream = await trio.open_tcp_stream(address.host, address.port)
    try:
        # On one machine a connection may by chance meet itself where nobody listens, and would
        # then keep the broker from coming back.
        if stream.socket.getsockname() == stream.socket.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def open_stream(address: urls.Address, **options: Unpack[Options]) -> trio.abc.Stream:
    """Return a stream to a broker, for who wants to write the octets himself.

    Of the ``options`` those of TLS and the timeout count. Raises `UsageError` and `ConnectError`.
    """
    settings = tls.prepared(Settings(**options), [address])
    return await _dial(address, settings, trio.current_time() + settings.timeout)
