"""What a worker may be told."""

import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypedDict

from stompcli.client import UsageError

Order = Literal["strict", "round-robin"]
ORDERS: Final = ("strict", "round-robin")
ON_FAIL: Final = ("nack", "requeue", "dlq:DEST", "ack")
_DLQ: Final = "dlq:"
_DAY: Final = 86_400.0


class WorkerOptions(TypedDict, total=False):
    """What a worker may be told; every one of them may be left out."""

    # Whether to leave when every destination is drained and no job runs.
    burst: bool
    # Leave after so many jobs; after so many seconds without a message. None: never.
    max_jobs: int | None
    max_idle: float | None
    # Jobs at once, and what each subscription may have in advance.
    concurrency: int
    # Seconds after which a job is ended, and has failed; None: never.
    job_timeout: float | None
    # What becomes of the message of a job that failed: "nack", "requeue", "dlq:DEST" or "ack".
    on_fail: str
    # Attempts that a message gets in all before that; None: one.
    retries: int | None
    # Seconds before the second one, and the factor for every further one; a day at most.
    retry_delay: float
    retry_backoff: float
    # Whether what a job puts out answers the message that asks for it.
    reply: bool
    # What the worker is called; None: host and process.
    name: str | None
    # Which of several messages is next: the first destination's that has one, or in turn.
    order: Order
    # Further headers of SUBSCRIBE, such as a selector.
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None


@dataclass(frozen=True)
class Settings:
    """The `WorkerOptions` with their defaults; raises `UsageError` for what makes no sense."""

    burst: bool = False
    max_jobs: int | None = None
    max_idle: float | None = None
    concurrency: int = 1
    job_timeout: float | None = None
    on_fail: str = "nack"
    retries: int | None = None
    retry_delay: float = 5.0
    retry_backoff: float = 1.0
    reply: bool = False
    name: str | None = None
    order: Order = "strict"
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        for name in ("max_jobs", "concurrency", "retries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is 1 at least")
        for name in ("max_idle", "job_timeout", "retry_delay"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} must not be negative")
        if self.retry_backoff < 1:
            raise UsageError("retry_backoff is a factor, 1 at least")
        if self.order not in ORDERS:
            raise UsageError(f'order is {" or ".join(ORDERS)}, not "{self.order}"')
        if self.on_fail not in ("nack", "requeue", "ack") and self.dead_letters is None:
            raise UsageError(f'on_fail is one of {", ".join(ON_FAIL)}, not "{self.on_fail}"')

    @property
    def dead_letters(self) -> str | None:
        """Where this worker itself sends the messages of failed jobs, None if it does not."""
        destination = self.on_fail.removeprefix(_DLQ)
        return destination if self.on_fail.startswith(_DLQ) and destination else None

    def rest(self, attempt: int) -> float:
        """Return the seconds from the ``attempt``-th attempt to the next one."""
        # No exponent so great that no float could hold it.
        grown = self.retry_delay * self.retry_backoff ** min(attempt - 1, 100)
        return min(grown, max(_DAY, self.retry_delay))

    @property
    def called(self) -> str:
        """The worker's name."""
        return self.name or f"{socket.gethostname()}.{os.getpid()}"

    @property
    def ahead(self) -> int:
        """Messages that a subscription may have before they are settled."""
        return min(self.concurrency, self.max_jobs or self.concurrency)
