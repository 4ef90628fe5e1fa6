"""Which attempt a delivery is: the broker says so, or it is counted here."""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from stompcli.client import Message

# What is remembered, two for each message.
_KEPT: Final = 20_000
_OF_DELIVERY: Final = frozenset(("message-id", "subscription", "ack", "redelivered"))


class Attempts:
    """Counts the attempts of a broker's messages that it does not count itself.

    A process can only count what it gets itself: by ``message-id``, or, where a broker has another
    one for each delivery, as RabbitMQ has, by all else that is in a message that comes again.
    Messages that are alike in everything are counted as one then.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str | bytes, int] = OrderedDict()

    def of(self, message: Message) -> int:
        """Return which attempt this is, from 1 on."""
        told = _told(message)
        if told is not None:
            return told
        likeness = _likeness(message)
        before = self._seen.pop(message.id, 0)
        alike = self._seen.pop(likeness, 0)
        if not before and message.redelivered:
            before = alike
        self._seen[message.id] = self._seen[likeness] = before + 1
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return before + 1

    def forget(self, message: Message) -> None:
        """The message is not coming again."""
        if _told(message) is None:
            self._seen.pop(message.id, None)
            self._seen.pop(_likeness(message), None)


def _likeness(message: Message) -> bytes:
    """Return what a message and its next delivery have in common."""
    made = blake2b(message.body, digest_size=16)
    for name, value in message.raw_headers:
        if name not in _OF_DELIVERY:
            made.update(f"{name}\0{value}\0".encode("utf-8", "surrogatepass"))
    return made.digest()


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
