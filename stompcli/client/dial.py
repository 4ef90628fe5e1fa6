"""Making sessions: from a URL, or over a stream that is there already."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

import trio

from stompcli.client import url as urls
from stompcli.client.beside import tasks_beside
from stompcli.client.client import Client
from stompcli.client.connection import Connection
from stompcli.client.errors import ConnectError, ConnectionLostError
from stompcli.client.options import Options, Settings
from stompcli.client.reasons import words

_log = logging.getLogger("stompcli.client")


@asynccontextmanager
async def connect(
    url: str | urls.Address = "stomp://localhost:61613", **options: Unpack[Options]
) -> AsyncIterator[Client]:
    """Open a session with the broker at ``url`` for the length of a block.

    ``url`` is ``stomp://user:passcode@host:port/vhost`` or ``unix:///path``, see `url.parse`, or
    an `Address`; ``options`` are `Options`, and go before what the URL says. Leaving the block ends
    the session as `Client.disconnect` does; leaving it by cancellation closes the connection at
    once.
    Raises `UsageError`, and `ConnectError` (`RefusedError`) if there is no session to be had.
    """
    address = url if isinstance(url, urls.Address) else urls.parse(url)
    options = options.copy()
    if options.get("login") is None and address.login is not None:
        options["login"] = address.login
    if options.get("passcode") is None and address.passcode is not None:
        options["passcode"] = address.passcode
    if options.get("virtual_host") is None and address.virtual_host is not None:
        options["virtual_host"] = address.virtual_host
    settings = Settings(**options)
    deadline = trio.current_time() + settings.timeout
    started = trio.current_time()
    stream = await _dial(address, deadline, settings.timeout)
    dialled = trio.current_time() - started
    async with _session(stream, str(address), address.host, settings, deadline) as client:
        client.dial_seconds = dialled
        yield client


@asynccontextmanager
async def connect_stream(
    stream: trio.abc.Stream, *, host: str = "localhost", **options: Unpack[Options]
) -> AsyncIterator[Client]:
    """Open a session over an existing stream, which the session closes when it ends.

    ``host`` stands for the name used for the socket. Otherwise like `connect`.
    """
    settings = Settings(**options)
    deadline = trio.current_time() + settings.timeout
    async with _session(stream, host, host, settings, deadline) as client:
        yield client


@asynccontextmanager
async def _session(
    stream: trio.abc.Stream, name: str, host: str, settings: Settings, deadline: float
) -> AsyncIterator[Client]:
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
    client = Client(connection, settings)
    async with tasks_beside() as nursery:
        nursery.start_soon(client.run)
        try:
            yield client
            await client.disconnect()
        except Exception:
            try:
                await client.disconnect()
            except ConnectionLostError as error:
                _log.debug("the session had failed as well: %s", error)
            raise


async def _dial(
    address: urls.Address,
    deadline: float,
    timeout: float,  # noqa: ASYNC109 - only named in the error
) -> trio.SocketStream:
    with trio.CancelScope(deadline=deadline):
        try:
            if address.path is not None:
                return await trio.open_unix_socket(address.path)
            return await trio.open_tcp_stream(address.host, address.port)
        except (OSError, ValueError) as error:
            raise ConnectError(str(address), words(error)) from error
    raise ConnectError(str(address), f"no connection within {timeout:g} s")
