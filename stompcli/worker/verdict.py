"""What a job came to, and what becomes of its message: the tables, without any I/O."""

from dataclasses import dataclass
from typing import Literal

from stompcli.worker.settings import Settings

# "done"; "again": it cannot be done now and wants another time; "failed"; "stopped": it was broken
# off since the worker has to end.
Ending = Literal["done", "again", "failed", "stopped"]
# ACK; NACK and no more; NACK that brings it back; NACK that dead-letters it; SEND and ACK.
Action = Literal["ack", "nack", "requeue", "reject", "dlq"]
Count = Literal["done", "failed", "requeued"]


@dataclass(frozen=True)
class Outcome:
    """What a job came to."""

    ending: Ending
    # In a word or two: ``exit 1``, ``SIGKILL``, ``ValueError``; empty if there is nothing to say.
    how: str = ""
    # One line for people: why it failed.
    reason: str = ""
    # The exit status, if it was a process that exited.
    status: int | None = None
    # What it put out: the answer to who asked for one.
    output: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    # What the job itself asks for: seconds until the next attempt; that there be none.
    delay: float | None = None
    final: bool = False

    @property
    def detail(self) -> str:
        """How and why it failed in one line, for who reads the dead letters."""
        return ": ".join(part for part in (self.how, self.reason) if part)


@dataclass(frozen=True)
class Verdict:
    """What becomes of the message of a job, and as what the job counts."""

    action: Action
    counted: Count
    # Seconds until it comes again.
    delay: float = 0.0


def judge(outcome: Outcome, attempt: int, settings: Settings) -> Verdict:
    """Return what becomes of the message of a job that was the ``attempt``-th for it."""
    if outcome.ending == "done":
        return Verdict("ack", "done")
    if outcome.ending == "stopped":
        return Verdict("nack", "requeued")
    delay = settings.rest(attempt) if outcome.delay is None else outcome.delay
    if outcome.final:
        return _at_last(settings)
    if settings.retries is not None:
        if attempt < settings.retries:
            return Verdict("requeue", "requeued", delay)
        return _at_last(settings)
    if outcome.ending == "again":
        return Verdict("requeue", "requeued", delay)
    if settings.on_fail == "nack":
        return Verdict("nack", "failed")
    if settings.on_fail == "requeue":
        return Verdict("requeue", "failed", delay)
    return _at_last(settings)


def _at_last(settings: Settings) -> Verdict:
    """Return what becomes of a message that gets no further attempt."""
    if settings.on_fail == "ack":
        return Verdict("ack", "failed")
    return Verdict("reject" if settings.dead_letters is None else "dlq", "failed")
