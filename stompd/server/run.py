"""A broker from its listening sockets to its end, as one async function."""

from __future__ import annotations

import gc
import resource
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
import trio

import stompd
from stompd.broker.broker import Broker
from stompd.server import listener, log, shutdown
from stompd.server.auth import Anonymous, Authenticator
from stompd.server.service import Service
from stompd.store.memory import MemoryStore

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from stompd.server.config import Settings

_log = structlog.get_logger()

SERVER: Final = f"stompd/{stompd.__version__}"

# Messages are plain objects without cycles; walking over a backlog of them again and again to
# find that out costs more than all the rest.
_COLLECT_AFTER: Final = 100_000

# Listeners, the event loop, log and files; many more than are ever open.
_OTHER_DESCRIPTORS: Final = 64


@dataclass(frozen=True)
class Started:
    """What is known once all listeners accept."""

    # One for each address of the settings, in their order.
    ports: list[int]
    service: Service
    # Stops the broker as SIGTERM does: connections are drained first.
    stop: Callable[[], None]


async def serve(
    settings: Settings,
    *,
    reread: Callable[[], Settings] | None = None,
    authenticator: Authenticator | None = None,
    task_status: trio.TaskStatus[Started] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, serve, and return when a signal or `Started.stop` has ended it in good order.

    ``reread`` returns the settings anew at SIGHUP; without it, or when it fails, the old ones stay.
    Signals are obeyed in the main thread only. Raises `OSError` if an address cannot be had.
    """
    sockets: list[socket.socket] = []
    ports: list[int] = []
    paths: list[Path] = []
    try:
        for address in settings.listen:
            found = listener.open_tcp(address)
            sockets += found
            ports.append(found[0].getsockname()[1])
        for path in settings.unix:
            sockets.append(listener.open_unix(path))
            paths.append(path)
        _tune()
        _allow_descriptors(settings.limits.connections)
        async with trio.open_nursery() as nursery:
            await _serve(
                settings, reread, authenticator or Anonymous(), nursery, sockets, ports, task_status
            )
            nursery.cancel_scope.cancel()
    finally:
        for sock in sockets:
            sock.close()
        for path in paths:
            path.unlink(missing_ok=True)


async def _serve(
    settings: Settings,
    reread: Callable[[], Settings] | None,
    authenticator: Authenticator,
    nursery: trio.Nursery,
    sockets: list[socket.socket],
    ports: list[int],
    task_status: trio.TaskStatus[Started],
) -> None:
    now = trio.current_time()
    # At once, before anything takes time.
    epoch = time.time() - now
    broker = Broker(MemoryStore(), settings.for_broker(SERVER), now=now, epoch=epoch)
    broker.observe()
    service = Service(broker, settings, authenticator, nursery)
    stopping = trio.Event()

    def reload() -> None:
        if reread is None:
            _log.warning("nothing to reload: the settings came from no file")
            return
        try:
            fresh = reread()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old ones hold
            _log.error("settings not reloaded", reason=str(error))
            return
        log.set_level(fresh.log.level)
        service.reload(fresh, SERVER)
        if fresh.listen != settings.listen or fresh.unix != settings.unix:
            _log.warning("addresses change at a restart only")
        _log.info("settings reloaded")

    try:
        nursery.start_soon(service.poller.watch, name="reading")
        nursery.start_soon(service.keep_time, name="time")
        nursery.start_soon(service.serve_thirsty, name="thirst")
        if threading.current_thread() is threading.main_thread():
            await nursery.start(
                shutdown.obey_signals, service, reload, stopping.set, nursery.cancel_scope.cancel
            )
        with trio.CancelScope() as accepting:
            async with trio.open_nursery() as listeners:
                for sock in sockets:
                    listeners.start_soon(listener.accept_all, service, sock)
                task_status.started(Started(ports, service, stopping.set))
                await stopping.wait()
                accepting.cancel()
        for sock in sockets:
            sock.close()
        await shutdown.drain(service)
        _log.info("stopped", connections=broker.closed_count)
    finally:
        service.abandon()


def _allow_descriptors(connections: int) -> None:
    """Use as many descriptors as the system grants this process, up to what the settings need."""
    wanted = connections + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            # Some systems grant less than they say; connections are refused when it comes to that.
            _log.warning("fewer connections than the settings allow", at=soft, reason=str(error))


def _tune() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)
