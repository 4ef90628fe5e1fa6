"""Which attempt a delivery is: the broker says so, or it is counted here."""

from collections import OrderedDict
from typing import Final

from stompcli.client import Message

# Messages whose attempts are remembered.
_KEPT: Final = 10_000


class Attempts:
    """Counts the attempts of a broker's messages that it does not count itself.

    A process can only count what it gets itself, by ``message-id``.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def of(self, message: Message) -> int:
        """Return which attempt this is, from 1 on."""
        told = _told(message)
        if told is not None:
            return told
        count = self._seen.pop(message.id, 0) + 1
        self._seen[message.id] = count
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return count

    def forget(self, message: Message) -> None:
        """The message is not coming again."""
        self._seen.pop(message.id, None)


def _told(message: Message) -> int | None:
    """Return what the broker says, None if it says nothing."""
    headers = message.headers
    # stompd counts attempts, and only from the second on; a dead letter brings its old count along.
    if message.redelivered and headers.get("delivery-count", "").isdecimal():
        return max(int(headers["delivery-count"]), 1)
    # RabbitMQ's quorum queues count how often it came back.
    if headers.get("x-delivery-count", "").isdecimal():
        return int(headers["x-delivery-count"]) + 1
    return None
