"""What becomes of a message that was delivered and not acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stompd.broker.dialect import NackOptions
    from stompd.broker.message import Message


def reject(messages: list[Message], refusal: NackOptions) -> None:
    """Carry out a NACK: back to the queue, at once or later, or to the dead letters (ACK-13)."""
    for message in messages:
        message.count += 1
        message.detail = refusal.reason
        if not refusal.requeue:
            message.queue.reject(message, "rejected")
            continue
        delay = refusal.delay
        if delay is None:
            take_back(message, message.queue.policy.redelivery_after(message.count))
        else:
            take_back(message, delay / 1000)
    dispatch(messages)


def take_back(message: Message, delay: float = 0.0) -> None:
    """Return a message to its queue, or to the dead letters after the last attempt allowed.

    With a ``delay`` in seconds it is not delivered again before.
    """
    queue = message.queue
    # What the dead letters keep is not lost to a consumer of theirs that fails as well.
    limit = 0 if queue.is_dead_letter else queue.policy.max_deliveries
    if limit and message.count >= limit:
        queue.reject(message, "max-deliveries")
    else:
        queue.give_back(message, delay)


def dispatch(messages: Iterable[Message]) -> None:
    """Let the queues of messages that came back give them out again, each queue once."""
    for queue in dict.fromkeys(message.queue for message in messages):
        queue.dispatch()
