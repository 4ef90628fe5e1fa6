"""Workers: a job for each message, done by a function or by a program of its own.

    from stompcli import worker

    def resize(message):
        ...

    worker.run("stomp://localhost:61613", ["/queue/high", "/queue/low"], resize, retries=3)

The map of this package:

* ``worker``: `Worker`, `work` and `run`, what programs use.
* ``engine``: takes messages in order, so many at a time, and settles them by the outcome.
* ``function``: jobs that are calls; ``child``: jobs that are processes.
* ``settings``: what a worker may be told; ``verdict``: what becomes of a message.
* ``settle``: how that is said to the broker; ``attempts``: which attempt a delivery is.
* ``drain``: whether there is more to do.
* ``job``: a job, and the events that a worker tells.
"""

from stompcli.client import RejectError
from stompcli.worker.child import Command, CommandError
from stompcli.worker.function import Function
from stompcli.worker.job import Event, Job
from stompcli.worker.settings import WorkerOptions
from stompcli.worker.verdict import Outcome
from stompcli.worker.worker import Worker, run, work

__all__ = [
    "Command",
    "CommandError",
    "Event",
    "Function",
    "Job",
    "Outcome",
    "RejectError",
    "Worker",
    "WorkerOptions",
    "run",
    "work",
]
