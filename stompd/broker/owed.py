"""Whose the messages in a queue are: what those of each sender measure, where limits ask for that.

Only senders are counted whose backlog is limited. A message carries its sender from then on, also
into dead-letter queues and through the store, until it leaves its last queue. What a topic holds
back until it is due is nobody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stompd.broker.message import Message
    from stompd.broker.queue import Queue
    from stompd.broker.session import Session

# A user, empty for who has none, and an address.
Sender = tuple[str, str]

_NOTHING: Final = (0, 0)


def owe(queue: Queue, message: Message, session: Session | None) -> None:
    """Count a message that is new in a queue; ``session`` is who sent it just now, if somebody."""
    if session is not None:
        message.sender = session.sender
    sender = message.sender
    if sender is not None:
        count, octets = queue.owed.get(sender, _NOTHING)
        queue.owed[sender] = count + 1, octets + message.size


def repay(queue: Queue, message: Message) -> None:
    """Count a message no more: it has left a queue that owes something."""
    sender = message.sender
    if sender is None:
        return
    count, octets = queue.owed.get(sender, _NOTHING)
    if count > 1:
        queue.owed[sender] = count - 1, octets - message.size
    else:
        queue.owed.pop(sender, None)


def hand_on(message: Message, twin: Message, queue: Queue) -> None:
    """Have what takes a message's place in a queue be of the same sender."""
    if queue.counted:
        twin.sender = message.sender
