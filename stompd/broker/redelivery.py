"""What becomes of a message that was delivered and not acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stompd.broker.message import Message


def reject(messages: list[Message], detail: str, *, dead: bool) -> None:
    """Carry out a NACK: back to the queue, or to the dead letters (ACK-13)."""
    for message in messages:
        message.count += 1
        message.detail = detail
        if dead:
            message.queue.reject(message, "rejected")
        else:
            take_back(message)
    dispatch(messages)


def take_back(message: Message) -> None:
    """Return a message to its queue, or to the dead letters after the last attempt allowed."""
    queue = message.queue
    # What the dead letters keep is not lost to a consumer of theirs that fails as well.
    limit = 0 if queue.is_dead_letter else queue.policy.max_deliveries
    if limit and message.count >= limit:
        queue.reject(message, "max-deliveries")
    else:
        queue.give_back(message)


def dispatch(messages: Iterable[Message]) -> None:
    """Let the queues of messages that came back give them out again, each queue once."""
    for queue in dict.fromkeys(message.queue for message in messages):
        queue.dispatch()
