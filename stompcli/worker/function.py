"""Jobs that are calls: a function is called with each message."""

import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, cast

import trio

from stompcli.client import Message, RejectError
from stompcli.worker.job import Job
from stompcli.worker.verdict import Outcome

_log = logging.getLogger("stompcli.worker")
_REASON: Final = 200

# What a worker calls: it returns the answer, for who wants one, or raises.
Function = Callable[[Message], Awaitable[object]] | Callable[[Message], object]


class Calls:
    """Does jobs by calling a function.

    An ``async`` function is awaited in a task. Another one runs in a thread, and so must not touch
    the client; one that is cancelled there goes on, and its end is of no consequence.
    """

    def __init__(self, function: Function, *, answers: bool) -> None:
        self._function = function
        # Whether what it returns is an answer.
        self._answers = answers
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - that of an object
        )
        # The worker limits the jobs; a thread that was given up must not take the place of another.
        self._threads = trio.CapacityLimiter(math.inf)

    async def __call__(self, job: Job) -> Outcome:
        """Call the function with a message, and return what came of it."""
        try:
            if self._is_async:
                answer = await cast("Callable[[Message], Awaitable[object]]", self._function)(
                    job.message
                )
            else:
                answer = await trio.to_thread.run_sync(
                    self._function, job.message, abandon_on_cancel=True, limiter=self._threads
                )
            return _done(answer if self._answers else None)
        except RejectError as error:
            _log.info("%s refused: %s", job.message.id, error)
            return _refused(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
            _log.error(
                "message %s of %s failed",
                job.message.id,
                job.message.destination,
                exc_info=error,
            )
            return Outcome("failed", type(error).__name__, _line(error))


def _done(answer: object) -> Outcome:
    """Return what a function that has returned came to."""
    if isinstance(answer, bytes | bytearray | memoryview):
        return Outcome("done", output=bytes(answer))
    if isinstance(answer, str):
        return Outcome("done", output=answer.encode(), content_type="text/plain")
    if answer is None:
        return Outcome("done")
    raise TypeError(f"an answer is bytes, text or None, not {type(answer).__name__}")


def _refused(error: RejectError) -> Outcome:
    """Return what a refusal asks for."""
    requeue = error.options.get("requeue")
    delay = error.options.get("delay")
    if requeue is False:
        return Outcome("failed", "rejected", _line(error), final=True)
    if requeue or delay is not None:
        return Outcome("again", "rejected", _line(error), delay=delay)
    return Outcome("failed", "rejected", _line(error))


def _line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return lines[0][:_REASON]
