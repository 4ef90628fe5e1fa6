"""Workers: a job for each message, done by a function or by a program of its own.

    async with connect("stomp://localhost:61613", reconnect=True) as client:
        await work(client, ["/queue/high", "/queue/low"], resize, retries=3, burst=True)

The map of this package:

* ``engine``: `Worker`, which takes messages in order, so many at a time, and settles them.
* ``function``: jobs that are calls; ``child``: jobs that are processes.
* ``settings``: what a worker may be told; ``verdict``: what becomes of a message.
* ``settle``: how that is said to the broker; ``attempts``: which attempt a delivery is.
* ``drain``: whether there is more to do.
* ``job``: a job, and the events that a worker tells.
"""

from stompcli.worker.engine import Worker
from stompcli.worker.settings import WorkerOptions

__all__ = ["Worker", "WorkerOptions"]
