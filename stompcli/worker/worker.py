"""What programs use: `Worker`, `work` and `run`."""

import signal
from collections.abc import Iterable
from typing import Final, Unpack

import trio

from stompcli.client import Client, Options, connect
from stompcli.client.beside import tasks_beside
from stompcli.worker.child import Command, Processes
from stompcli.worker.engine import Engine
from stompcli.worker.function import Calls, Function
from stompcli.worker.job import Tell
from stompcli.worker.settings import Settings, WorkerOptions

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Worker(Engine):
    """Calls a function with every message of some destinations, or runs a command for it.

    A function that returns acknowledges its message; one that raises has failed, see ``on_fail``
    and ``retries``. `RejectError` says more: that there is no use in trying again, or that it
    should be tried again, and when. With ``reply`` what it returns, octets or text, is the answer
    to who asked for one. ``async`` functions run in tasks, others in threads.

    `work` does the work; `stop` and `abort` end it. ``done``, ``failed``, ``requeued`` and ``lost``
    count the jobs. ``tell`` is called with each `Event`; else these are logged as
    ``stompcli.worker``. ``options`` are `WorkerOptions`.
    """

    def __init__(
        self,
        client: Client,
        destinations: str | Iterable[str],
        job: Function | Command,
        tell: Tell | None = None,
        **options: Unpack[WorkerOptions],
    ) -> None:
        places = [destinations] if isinstance(destinations, str) else list(destinations)
        if isinstance(job, Command):
            super().__init__(client, places, Processes(job), tell, **options)
        else:
            answers = Settings(**options).reply
            super().__init__(client, places, Calls(job, answers=answers), tell, **options)


async def work(
    client: Client,
    destinations: str | Iterable[str],
    job: Function | Command,
    *,
    tell: Tell | None = None,
    task_status: trio.TaskStatus[Worker] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[WorkerOptions],
) -> Worker:
    """Work until the options say that it is enough, and return the worker with its counts.

    For the length of a program, or beside others: ``worker = await nursery.start(…)`` gives the
    `Worker` that is to be stopped. Arguments are those of `Worker`, errors those of `Engine.work`.
    """
    worker = Worker(client, destinations, job, tell, **options)
    task_status.started(worker)
    await worker.work()
    return worker


def run(
    url: str,
    destinations: str | Iterable[str],
    job: Function | Command,
    *,
    tell: Tell | None = None,
    connection: Options | None = None,
    **options: Unpack[WorkerOptions],
) -> Worker:
    """Connect, work, and return the worker with its counts: a whole program in one call.

    It connects again when the connection is lost, unless ``connection``, the options of the
    session, says otherwise. The first SIGINT or SIGTERM lets running jobs finish, the second one
    breaks them off and gives their messages back. To be called from the main thread, outside of
    trio. Raises what `connect` and `work` raise.
    """
    session: Options = {"reconnect": True, **(connection or {})}

    async def main() -> Worker:
        async with connect(url, **session) as client:
            worker = Worker(client, destinations, job, tell, **options)
            async with tasks_beside() as nursery:
                await nursery.start(_watch_signals, worker)
                await worker.work()
            return worker

    return trio.run(main)


async def _watch_signals(worker: Worker, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        task_status.started()
        stopping = False
        async for _ in signals:
            if stopping:
                worker.abort()
            worker.stop()
            stopping = True
