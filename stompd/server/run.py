"""A broker from its listening sockets to its end, as one async function."""

from __future__ import annotations

import gc
import resource
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import trio

import stompd
from stompd.broker.broker import Broker
from stompd.broker.storage import RETAINED
from stompd.server import listener, log, shutdown
from stompd.server.accounts import authenticator_of, problems_of_users, rights_of
from stompd.server.auth import Authenticator
from stompd.server.commit import Committer, DurableStore
from stompd.server.doors import Doors, open_doors
from stompd.server.service import Service
from stompd.server.sources import ConfigurationError
from stompd.server.systemd import Notifier
from stompd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.storage import Kept
    from stompd.server.config import Settings, StoreSettings
    from stompd.server.http.port import HttpPort

_log = structlog.get_logger()

SERVER: Final = f"stompd/{stompd.__version__}"

# Messages are plain objects without cycles; walking over a backlog of them again and again to
# find that out costs more than all the rest.
_COLLECT_AFTER: Final = 100_000

# Listeners, the event loop, log and files; many more than are ever open.
_OTHER_DESCRIPTORS: Final = 64
# Seconds between two looks whether another stompd has let go of the store.
_LOOK_AFTER: Final = 0.1


@dataclass(frozen=True)
class Started:
    """What is known once all listeners accept."""

    # One for each address of the settings, in their order, and of those for TLS.
    ports: list[int]
    tls_ports: list[int]
    # As many for HTTP.
    http_ports: list[int]
    service: Service
    # What the store had kept; None if it keeps nothing.
    kept: Kept | None
    # Stops the broker as SIGTERM does: connections are drained first.
    stop: Callable[[], None]


def open_store(settings: StoreSettings) -> DurableStore | None:
    """Return the store that is meant, not opened yet; None for the one that keeps nothing."""
    if settings.engine == "memory":
        return None
    # Who keeps nothing needs no database.
    from stompd.store.sqlite import SqliteStore  # noqa: PLC0415

    return SqliteStore(
        settings.path,
        pending=settings.pending,
        min_free=settings.min_free,
        cache=settings.cache,
    )


async def serve(
    settings: Settings,
    *,
    reread: Callable[[], Settings] | None = None,
    authenticator: Authenticator | None = None,
    store: DurableStore | None = None,
    notifier: Notifier | None = None,
    task_status: trio.TaskStatus[Started] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen, serve, and return when a signal or `Started.stop` has ended it in good order.

    ``reread`` returns the settings anew at SIGHUP; without it, or when it fails, the old ones stay.
    ``store`` is used in place of the one that the settings name. Signals are obeyed in the main
    thread only. ``notifier`` tells whoever has started stompd how it is.

    Raises `stompd.server.sources.ConfigurationError` if the users cannot be read, `OSError` if an
    address cannot be had, `stompd.server.tls.CertificateError` if a certificate cannot, and
    `stompd.store.errors.StoreError` if the store cannot be opened, or has failed or found no room
    so that messages were lost that it had not written; their receipts were never given.
    """
    if store is None:
        store = open_store(settings.store)
    notifier = notifier or Notifier({})
    if authenticator is None:
        # What is wrong with the users is found before anything is opened.
        problems = problems_of_users(settings)
        if problems:
            raise ConfigurationError(problems)
    now = trio.current_time()
    broker = Broker(
        MemoryStore() if store is None else store,
        settings.for_broker(SERVER, rights_of(settings, authenticator)),
        now=now,
        epoch=time.time() - now,
    )
    # Clients that come while the store is opened wait, and are not refused.
    with open_doors(settings) as doors:
        if store is None:
            start = _Start(settings, reread, authenticator, doors, task_status, notifier)
            await _listen(start, broker, None, None)
            return
        store.epoch = broker.epoch
        committer = Committer(store, broker)
        broker.store_status = committer.status
        committer.configure(settings.store, trailing_newline=settings.trailing_newline)
        try:
            if settings.store.wait:
                await _wait_for(settings.store)
            start = _Start(settings, reread, authenticator, doors, task_status, notifier)
            await _listen(start, broker, committer, await _recover(committer, broker))
        finally:
            committer.stop()
        if committer.failure is not None:
            raise committer.failure


@dataclass(frozen=True)
class _Start:
    """What `serve` was given."""

    settings: Settings
    reread: Callable[[], Settings] | None
    authenticator: Authenticator | None
    doors: Doors
    task_status: trio.TaskStatus[Started]
    notifier: Notifier


async def _wait_for(settings: StoreSettings) -> None:
    """Wait until no other stompd has the store, at most as long as the settings say."""
    from stompd.store.errors import StoreLockedError  # noqa: PLC0415
    from stompd.store.lock import DirectoryLock  # noqa: PLC0415

    told = False
    with trio.move_on_after(settings.wait):
        while settings.path.is_dir():
            try:
                DirectoryLock(settings.path).release()
            except StoreLockedError as error:
                if not told:
                    _log.info("waiting for the store", seconds=settings.wait, reason=str(error))
                    told = True
                await trio.sleep(_LOOK_AFTER)
            else:
                return


async def _recover(committer: Committer, broker: Broker) -> Kept:
    """Open the store, and give the broker what was kept."""
    began = time.perf_counter()
    kept = await committer.open()
    for sentence in broker.restore(kept):
        _log.warning("not restored, and left in the store", reason=sentence)
    queues, messages = count_kept(kept)
    if kept.starts > 1:
        _log.info(
            "recovered",
            queues=queues,
            messages=messages,
            start=kept.starts,
            seconds=round(time.perf_counter() - began, 3),
        )
    if kept.lost_count:
        _log.warning(
            "stompd was not stopped in good order: messages that are not persistent are lost",
            messages=kept.lost_count,
        )
    return kept


def count_kept(kept: Kept) -> tuple[int, int]:
    """Return how many queues hold messages that were kept, and how many messages those are."""
    holding = [
        count
        for queue in kept.queues
        if not queue.key[1].startswith(RETAINED)
        and (count := queue.delayed_count + sum(lane.count for lane in queue.lanes.values()))
    ]
    return len(holding), sum(holding)


async def _listen(
    start: _Start, broker: Broker, committer: Committer | None, kept: Kept | None
) -> None:
    _tune()
    _allow_descriptors(start.settings, start.doors.web)
    async with trio.open_nursery() as nursery:
        service = Service(
            broker,
            start.settings,
            start.authenticator,
            nursery,
            committer,
            start.doors.tls,
        )
        service.open_audit(start.settings)
        if committer is not None:
            committer.failed = partial(_give_up, service)
        await _serve(start, service, kept)
        nursery.cancel_scope.cancel()


async def _serve(start: _Start, service: Service, kept: Kept | None) -> None:
    settings = start.settings
    doors = start.doors
    web = doors.web
    notifier = start.notifier
    reread = start.reread
    broker = service.broker
    nursery = service.nursery
    broker.observe()
    stopping = trio.Event()

    def reload() -> None:
        if reread is None:
            _log.warning("nothing to reload: the settings came from no file")
            return
        notifier.reloading()
        try:
            fresh = reread()
            rights = rights_of(fresh, None if service.configured else service.authenticator)
            if service.configured:
                service.authenticator = authenticator_of(fresh, service.authenticator)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old ones hold
            _log.error("settings not reloaded", reason=str(error))
            notifier.ready("serving, settings not reloaded")
            return
        log.set_level(fresh.log.level)
        service.reload(fresh, SERVER, rights)
        if _places(fresh) != _places(settings):
            _log.warning("addresses change at a restart only")
        if (fresh.store.engine, fresh.store.path) != (settings.store.engine, settings.store.path):
            _log.warning("the store changes at a restart only")
        _log.info("settings reloaded")
        notifier.ready("serving")

    try:
        nursery.start_soon(service.poller.watch, name="reading")
        nursery.start_soon(service.keep_time, name="time")
        nursery.start_soon(service.serve_thirsty, name="thirst")
        if threading.current_thread() is threading.main_thread():
            await nursery.start(
                shutdown.obey_signals, service, reload, stopping.set, nursery.cancel_scope.cancel
            )
        if web is not None:
            await nursery.start(web.serve, service)
        http_ports = [] if web is None else web.ports
        with trio.CancelScope() as accepting:
            async with trio.open_nursery() as listeners:
                for sock in doors.plain:
                    listeners.start_soon(listener.accept_all, service.welcome.plain, sock)
                for sock in doors.encrypted:
                    listeners.start_soon(listener.accept_all, service.welcome.encrypted, sock)
                start.task_status.started(
                    Started(doors.ports, doors.tls_ports, http_ports, service, kept, stopping.set)
                )
                notifier.ready("serving")
                nursery.start_soon(notifier.keep_alive, name="watchdog")
                await stopping.wait()
                accepting.cancel()
        notifier.stopping()
        doors.close()
        await shutdown.drain(service)
        if web is not None:
            # Until now it could be seen that stompd stops.
            await web.stop()
        if service.committer is not None:
            await shutdown.write_all(service, service.committer)
        _log.info("stopped", connections=broker.closed_count)
    finally:
        service.abandon()
        if web is not None:
            web.cut()


def _places(settings: Settings) -> tuple[object, ...]:
    """Return where is listened by these settings."""
    return (
        settings.listen,
        settings.unix,
        settings.tls.listen,
        settings.http.listen,
        settings.http.tls,
    )


def _give_up(service: Service) -> None:
    """Stop at once, because the store failed: nothing more is confirmed."""
    committer = service.committer
    assert committer is not None  # noqa: S101 - it called this
    _log.critical("the store failed: stopping", reason=str(committer.failure))
    shutdown.tell_unconfirmed(service)
    service.nursery.cancel_scope.cancel()


def _allow_descriptors(settings: Settings, web: HttpPort | None) -> None:
    """Use as many descriptors as the system grants this process, up to what the settings need."""
    wanted = settings.limits.connections + _OTHER_DESCRIPTORS
    if web is not None:
        # A WebSocket has its own, and two between it and its session.
        wanted += 3 * settings.http.connections
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
