"""What becomes of a job's message, said to the broker and confirmed by it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from stompcli.client import Client, Message, NackOptions, UsageError
from stompcli.worker.job import Job
from stompcli.worker.settings import Settings
from stompcli.worker.verdict import Outcome, Verdict

# Headers that a broker says of one delivery, and that a SEND must not bring along.
_OF_DELIVERY: Final = frozenset(
    (
        "message-id",
        "subscription",
        "ack",
        "content-length",
        "content-type",
        "destination",
        "redelivered",
        "delivery-count",
        "original-message-id",
        "receipt",
        "transaction",
    )
)

# Headers by which a dead letter would wait, or be gone before anybody has seen it.
_OF_TIME: Final = frozenset(
    (
        "ttl",
        "expires",
        "expiration",
        "delay",
        "deliver-at",
        "x-delay",
        "AMQ_SCHEDULED_DELAY",
        "AMQ_SCHEDULED_TIME",
        "AMQ_SCHEDULED_PERIOD",
        "AMQ_SCHEDULED_REPEAT",
        "AMQ_SCHEDULED_CRON",
    )
)
# What an earlier failure has left.
_OF_FAILURE: Final = frozenset(
    (
        "original-destination",
        "dead-letter-reason",
        "dead-letter-detail",
        "dead-letter-time",
        "attempts",
        "exit-status",
        "worker",
    )
)

# Waits for so many seconds, or until the worker is told to stop.
Rest = Callable[[float], Awaitable[object]]


async def settle(
    client: Client, job: Job, outcome: Outcome, verdict: Verdict, settings: Settings, rest: Rest
) -> str:
    """Carry a verdict out, wait for the broker's receipt, and return what was done in words.

    Raises what `Message.ack` and `Transaction.commit` raise.
    """
    message = job.message
    if verdict.action == "ack":
        if settings.reply and outcome.ending == "done" and message.headers.get("reply-to"):
            async with client.transaction() as transaction:
                await client.reply(
                    message,
                    outcome.output,
                    headers=outcome.headers,
                    content_type=outcome.content_type,
                    transaction=transaction,
                )
                await transaction.ack(message)
            return "reply, ACK"
        await message.ack(receipt=True)
        if outcome.ending == "done" and settings.reply:
            return "ACK (no reply-to)"
        return "ACK" if outcome.ending == "done" else "ACK (dropped)"
    if verdict.action == "dlq":
        assert settings.dead_letters is not None  # noqa: S101 - for the type checker; see judge
        await _dead_letter(client, job, outcome, settings.dead_letters)
        return f"to {settings.dead_letters}, ACK"
    wanted: dict[str, Any] = {"reason": outcome.detail} if outcome.detail else {}
    text = "NACK"
    if verdict.action == "reject":
        wanted["requeue"] = False
        text = "NACK (no more attempts)"
    elif verdict.action == "requeue":
        wanted["requeue"] = True
        if "delay" in client.dialect.nack:
            wanted["delay"] = verdict.delay
            text = f"NACK (again in {verdict.delay:g} s)"
        elif verdict.delay:
            # Nobody else can see to it that it rests.
            await rest(verdict.delay)
    await message.nack(receipt=True, **_known(client, wanted))
    return text


def _known(client: Client, wanted: dict[str, Any]) -> NackOptions:
    """Return of the options of a NACK those that this broker knows, and can fulfil."""
    known: dict[str, Any] = {}
    for name, value in wanted.items():
        make = client.dialect.nack.get(name)
        if make is None:
            continue
        try:
            make(value)
        except UsageError:
            # ActiveMQ dead-letters whatever is NACKed; a worker can wish nothing else there.
            continue
        known[name] = value
    return cast("NackOptions", known)


async def _dead_letter(client: Client, job: Job, outcome: Outcome, destination: str) -> None:
    """Send a message on with what is to be known of its failure, and ACK it, or neither."""
    message = job.message
    async with client.transaction() as transaction:
        await client.send(
            destination,
            message.body,
            headers=[*_kept(message), *_failure(job, outcome)],
            content_type=message.headers.get("content-type"),
            transaction=transaction,
        )
        await transaction.ack(message)


def _kept(message: Message) -> list[tuple[str, str]]:
    """Return the headers of a message that its dead letter keeps."""
    gone = _OF_DELIVERY | _OF_TIME | _OF_FAILURE
    return [pair for pair in message.headers.items() if pair[0] not in gone]


def _failure(job: Job, outcome: Outcome) -> list[tuple[str, str]]:
    """Return the headers that stompd writes on its own dead letters, and what it cannot know."""
    pairs = [
        ("original-destination", job.message.destination),
        ("dead-letter-reason", "rejected"),
        ("dead-letter-detail", outcome.detail),
        ("dead-letter-time", str(round(time.time() * 1000))),
        ("attempts", str(job.attempt)),
        ("exit-status", "" if outcome.status is None else str(outcome.status)),
        ("worker", job.worker),
    ]
    return [pair for pair in pairs if pair[1]]
