"""Signals: stop in two steps, read the settings again, tell the state."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import structlog
import trio

from stompd.broker import admin
from stompd.broker.session import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.server.service import Service

log = structlog.get_logger()


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


def dump(service: Service) -> None:
    """Log the state of the broker, for whoever asked by SIGUSR1."""
    broker = service.broker
    # Ages are told as of now, not as of what happened last.
    broker.now = trio.current_time()
    log.info("state", **admin.status(broker))
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
