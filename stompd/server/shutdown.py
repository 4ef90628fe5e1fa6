"""Signals: stop in two steps, read the settings again, tell the state."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stompd.broker import admin
from stompd.broker.session import State
from stompd.store.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.server.commit import Committer
    from stompd.server.service import Service

log = structlog.get_logger()

# So many of a session's receipts are named that cannot be given.
_NAMED: Final = 20


async def drain(service: Service) -> None:
    """End all connections in good order.

    Those that hold nothing end at once; the others may settle what they hold for as long as the
    settings allow, and then end as well.
    """
    broker = service.broker
    log.info("draining", connections=len(service.connections))
    broker.drain()
    for session in list(broker.sessions.values()):
        if session.state is State.NEW:
            broker.end_for_shutdown(session)
    service.flush()
    with trio.move_on_after(service.settings.timeouts.drain):
        await service.emptied()
    for session in list(broker.sessions.values()):
        broker.end_for_shutdown(session)
    service.flush()
    # Time for the last frames to arrive; who takes them too slowly is abandoned then.
    with trio.move_on_after(3 * service.settings.timeouts.linger):
        await service.emptied()


async def write_all(service: Service, committer: Committer) -> None:
    """Have the store keep everything, and close it; to be called once connections are drained.

    Raises `StoreFullError` if there is no room for all of it.
    """
    broker = service.broker
    # What they give back is to be kept as well.
    service.part()
    count = broker.persist_transient()
    log.info("writing what is left", transient=count, octets=committer.store.pending_octets)
    written = await committer.finish()
    if committer.failure is not None:
        # Its owner is about to end all this.
        await trio.sleep_forever()
    service.poller.remove(committer.socket)
    if not written:
        tell_unconfirmed(service)
    await committer.close(clean=written)
    if not written:
        raise StoreFullError("the disk is full: what was not confirmed is not kept")


def tell_unconfirmed(service: Service) -> None:
    """Log what the store was told and has not written, and who waits for a receipt of it."""
    broker = service.broker
    committer = service.committer
    assert committer is not None  # noqa: S101 - only a store that writes has something unwritten
    for session in broker.sessions.values():
        names = session.awaited
        if names:
            log.error(
                "not confirmed",
                connection=session.id,
                user=session.user,
                receipts=len(names),
                first=names[:_NAMED],
            )
    log.error("not written", octets=committer.store.pending_octets)


def dump(service: Service) -> None:
    """Log the state of the broker, for whoever asked by SIGUSR1."""
    broker = service.broker
    # Ages are told as of now, not as of what happened last.
    broker.now = trio.current_time()
    log.info("state", **admin.status(broker))
    if service.committer is not None:
        log.info("state of the store", **service.committer.status())
    for row in admin.connections(broker):
        log.info("state of a connection", **row)
    for row in admin.subscriptions(broker):
        log.info("state of a subscription", **row)
    for row in admin.queues(broker):
        log.info("state of a queue", **row)
    for row in admin.topics(broker):
        log.info("state of a topic", **row)
    for row in admin.transactions(broker):
        log.info("state of a transaction", **row)


async def obey_signals(
    service: Service,
    reload: Callable[[], None],
    stop: Callable[[], None],
    stop_now: Callable[[], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Act on signals until cancelled; started once none of them ends the process any more.

    SIGTERM and SIGINT call ``stop``, a second one ``stop_now``; SIGHUP calls ``reload``.
    """
    stopping = False
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    with trio.open_signal_receiver(*wanted) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                reload()
            elif number == signal.SIGUSR1:
                try:
                    dump(service)
                except Exception:
                    # Somebody only wanted to look: no reason to stop.
                    log.exception("the state could not be told by a fault of stompd")
            elif stopping:
                log.warning("stopping at once", signal=signal.Signals(number).name)
                stop_now()
            else:
                stopping = True
                log.info("stopping", signal=signal.Signals(number).name)
                stop()
