"""One job: a message and the attempt that it is; and what the worker tells about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from stompcli.client import Message
from stompcli.worker.verdict import Outcome

EventKind = Literal[
    "listening", "begun", "output", "done", "failed", "requeued", "lost", "notice", "finished"
]


@dataclass(frozen=True)
class Event:
    """Something that happened in a worker.

    ``text`` says it in words; a job's events have ``job``, those at its end ``outcome``, the
    ``seconds`` that it took and the ``action``: what became of its message.
    """

    kind: EventKind
    text: str = ""
    job: "Job | None" = None
    outcome: Outcome | None = None
    seconds: float = 0.0
    action: str = ""


Tell = Callable[[Event], object]


# What is kept of a line for the reason of a failure.
_WORDS: Final = 200


class Job:
    """A message at work: the ``attempt``-th to process it, counted from 1."""

    __slots__ = ("_tell", "attempt", "last_words", "message", "worker")

    def __init__(self, message: Message, attempt: int, worker: str, tell: Tell) -> None:
        self._tell = tell
        self.message = message
        self.attempt = attempt
        # The worker's name.
        self.worker = worker
        # The last line that it complained with; what becomes the reason if it is broken off.
        self.last_words = ""

    def complain(self, line: str, *, aloud: bool = True) -> None:
        """Keep a line of what the job says for people, and pass it on if ``aloud``."""
        if line.strip():
            self.last_words = line.strip()[:_WORDS]
        if aloud:
            self._tell(Event("output", line, job=self))

    def __repr__(self) -> str:
        return f"<Job {self.message.id!r} of {self.message.destination!r}, attempt {self.attempt}>"


# Does a job; is cancelled when the job has to end early.
Run = Callable[[Job], Awaitable[Outcome]]
