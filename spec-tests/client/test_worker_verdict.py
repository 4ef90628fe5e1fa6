"""The tables of a worker: what becomes of a message by how its job ended, and its options."""

from typing import Any

import pytest

from stompcli.client import Message, UsageError
from stompcli.client.subscription import Subscription
from stompcli.worker.attempts import Attempts
from stompcli.worker.settings import Settings, WorkerOptions
from stompcli.worker.verdict import Outcome, Verdict, judge
from stompd.protocol.frame import Head

DONE = Outcome("done", "exit 0", status=0)
AGAIN = Outcome("again", "exit 75", status=75)
FAILED = Outcome("failed", "exit 1", "no such file", 1)
STOPPED = Outcome("stopped")
THRICE = {"retries": 3, "retry_delay": 7.0}


@pytest.mark.parametrize(
    ("outcome", "attempt", "options", "verdict"),
    [
        (DONE, 1, {}, Verdict("ack", "done")),
        (DONE, 9, {**THRICE, "on_fail": "dlq:/queue/d"}, Verdict("ack", "done")),
        (AGAIN, 1, {}, Verdict("requeue", "requeued", 5.0)),
        (AGAIN, 1, {"retry_delay": 0.5, "on_fail": "ack"}, Verdict("requeue", "requeued", 0.5)),
        (AGAIN, 3, THRICE, Verdict("reject", "failed")),
        (FAILED, 1, {}, Verdict("nack", "failed")),
        (FAILED, 1, {"on_fail": "nack"}, Verdict("nack", "failed")),
        (FAILED, 1, {"on_fail": "requeue"}, Verdict("requeue", "failed", 5.0)),
        (FAILED, 1, {"on_fail": "dlq:/queue/d"}, Verdict("dlq", "failed")),
        (FAILED, 1, {"on_fail": "ack"}, Verdict("ack", "failed")),
        (FAILED, 1, THRICE, Verdict("requeue", "requeued", 7.0)),
        (FAILED, 2, THRICE, Verdict("requeue", "requeued", 7.0)),
        (FAILED, 3, THRICE, Verdict("reject", "failed")),
        (FAILED, 4, {**THRICE, "on_fail": "requeue"}, Verdict("reject", "failed")),
        (FAILED, 3, {**THRICE, "on_fail": "dlq:/queue/d"}, Verdict("dlq", "failed")),
        (FAILED, 3, {**THRICE, "on_fail": "ack"}, Verdict("ack", "failed")),
        (STOPPED, 1, {**THRICE, "on_fail": "ack"}, Verdict("nack", "requeued")),
        (Outcome("again", delay=0.0), 1, {}, Verdict("requeue", "requeued", 0.0)),
        (Outcome("failed", final=True), 1, THRICE, Verdict("reject", "failed")),
        (Outcome("failed", final=True), 1, {"on_fail": "dlq:/q"}, Verdict("dlq", "failed")),
    ],
)
def test_verdict(outcome: Outcome, attempt: int, options: WorkerOptions, verdict: Verdict) -> None:
    """Each row of the tables: how a job ended, by --on-fail and --retries."""
    assert judge(outcome, attempt, Settings(**options)) == verdict


def test_backoff() -> None:
    """Each rest is longer by the factor, but never longer than a day."""
    settings = Settings(retries=9, retry_delay=2.0, retry_backoff=3.0)
    delays = [judge(FAILED, attempt, settings).delay for attempt in (1, 2, 3)]
    assert delays == [2.0, 6.0, 18.0]
    assert settings.rest(10_000) == 86_400.0
    assert Settings(retry_delay=1e6).rest(5) == 1e6


def test_detail() -> None:
    """How and why it failed are one line."""
    assert FAILED.detail == "exit 1: no such file"
    assert AGAIN.detail == "exit 75"
    assert Outcome("failed", reason="why").detail == "why"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"concurrency": 0}, "concurrency is 1 at least"),
        ({"max_jobs": 0}, "max_jobs is 1 at least"),
        ({"retries": 0}, "retries is 1 at least"),
        ({"retry_delay": -1.0}, "retry_delay must not be negative"),
        ({"retry_backoff": 0.5}, "retry_backoff is a factor, 1 at least"),
        ({"job_timeout": -1.0}, "job_timeout must not be negative"),
        ({"order": "random"}, 'order is strict or round-robin, not "random"'),
        ({"on_fail": "cry"}, 'on_fail is one of nack, requeue, dlq:DEST, ack, not "cry"'),
        ({"on_fail": "dlq:"}, 'on_fail is one of nack, requeue, dlq:DEST, ack, not "dlq:"'),
    ],
)
def test_bad_options(options: WorkerOptions, complaint: str) -> None:
    """What makes no sense is refused in words."""
    with pytest.raises(UsageError) as caught:
        Settings(**options)
    assert str(caught.value) == complaint


def delivery(id_: str, **headers: str) -> Message:
    """Return a delivery with these headers; in their names ``_`` stands for ``-``."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    head = Head.of("MESSAGE", {"message-id": id_, "destination": "/queue/a", **given})
    subscription: Any = Subscription.__new__(Subscription)
    return Message(subscription, head, b"")


@pytest.mark.parametrize(
    ("headers", "attempt"),
    [
        ({"redelivered": "true", "delivery_count": "4"}, 4),
        # What a dead letter brings along is no count of this queue.
        ({"delivery_count": "4"}, 1),
        ({"redelivered": "true", "delivery_count": "many"}, 1),
        ({"x_delivery_count": "2"}, 3),
        ({}, 1),
    ],
)
def test_the_broker_counts_attempts(headers: dict[str, str], attempt: int) -> None:
    """The broker's own count goes before ours."""
    assert Attempts().of(delivery("m1", **headers)) == attempt


def test_attempts_are_counted_here_otherwise() -> None:
    """By message-id, until the message is not coming again."""
    attempts = Attempts()
    assert [attempts.of(delivery("m1")) for _ in range(3)] == [1, 2, 3]
    assert attempts.of(delivery("m2")) == 1
    attempts.forget(delivery("m1"))
    assert attempts.of(delivery("m1")) == 1


def test_attempts_under_other_names() -> None:
    """Where each delivery has a message-id of its own, what comes again is known by the rest."""
    attempts = Attempts()
    assert attempts.of(delivery("1", kind="a")) == 1
    assert attempts.of(delivery("2", kind="b")) == 1
    assert attempts.of(delivery("3", kind="a", redelivered="true")) == 2
    assert attempts.of(delivery("4", kind="a", redelivered="true")) == 3
    # One that is alike, and new, is no repetition.
    assert attempts.of(delivery("5", kind="a")) == 1
    attempts.forget(delivery("5", kind="a"))
    assert attempts.of(delivery("6", kind="a", redelivered="true")) == 1


def test_attempts_are_forgotten_in_the_end() -> None:
    """So many messages are remembered, the latest ones."""
    attempts = Attempts()
    for number in range(10_001):
        attempts.of(delivery(str(number), n=str(number)))
    assert attempts.of(delivery("0", n="0")) == 1
    assert attempts.of(delivery("10000", n="10000")) == 2
