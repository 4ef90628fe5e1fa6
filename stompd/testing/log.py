"""What programs have said to the broker so far, and what a test expected of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

from stompd.broker.destination import parse
from stompd.protocol.errors import RemoteProtocolError
from stompd.testing.message import ClientFrame, Message

if TYPE_CHECKING:
    from stompd.protocol.frame import Frame
    from stompd.testing.message import Expected


# The most messages that a failure shows.
_MOST_SHOWN: Final = 20

T = TypeVar("T")


class Sent:
    """A message that a program sent; ``expected`` once a test has asked for it."""

    __slots__ = ("expected", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.expected = False


class Log:
    """Frames and messages in the order in which they were carried out.

    A SEND of a transaction is a message from its COMMIT on; what was aborted never is one.
    """

    def __init__(self) -> None:
        self.frames: list[ClientFrame] = []
        self.sent: list[Sent] = []
        self._open: dict[tuple[str, str], list[Message]] = {}

    def note(self, connection: str, frames: Iterable[Frame]) -> None:
        """Take frames that the broker has carried out."""
        for head, body in frames:
            headers = dict(head.headers)
            self.frames.append(ClientFrame(head.command, headers, body, connection))
            name = headers.get("transaction")
            if head.command == "SEND":
                message = Message(canonical(headers["destination"]), headers, body, connection)
                if name is None:
                    self.sent.append(Sent(message))
                else:
                    self._open.setdefault((connection, name), []).append(message)
            elif head.command in ("COMMIT", "ABORT") and name is not None:
                messages = self._open.pop((connection, name), [])
                if head.command == "COMMIT":
                    self.sent += [Sent(message) for message in messages]

    def closed(self, connection: str) -> None:
        """Forget what a connection has not committed."""
        for key in [key for key in self._open if key[0] == connection]:
            del self._open[key]

    def to(self, destination: str | None) -> list[Sent]:
        """Return what was sent to a destination, None for all of them."""
        if destination is None:
            return list(self.sent)
        name = canonical(destination)
        return [entry for entry in self.sent if entry.message.destination == name]

    def take(self, destination: str, expected: Expected, count: int) -> list[Message]:
        """Return ``count`` messages that are as expected and were not returned yet, or none."""
        found = [
            entry
            for entry in self.to(destination)
            if not entry.expected and expected.matches(entry.message)
        ]
        if len(found) < count:
            return []
        for entry in found[:count]:
            entry.expected = True
        return [entry.message for entry in found[:count]]

    def missing(self, destination: str, expected: Expected, count: int, seconds: float) -> str:
        """Say that a message did not come, and what came instead."""
        here = self.to(destination)
        found = sum(not entry.expected and expected.matches(entry.message) for entry in here)
        what = f"{destination}: {expected}"
        lines = [
            f"within {seconds:g} s there came {found} of {count} messages to {what}"
            if count > 1
            else f"within {seconds:g} s there came no message to {what}"
        ]
        if here:
            lines.append(f"what came to {destination}:")
            lines += numbered(
                here,
                lambda entry: f"{entry.message}{'  (expected before)' if entry.expected else ''}",
            )
        else:
            lines.append(f"nothing came to {destination}")
        elsewhere: dict[str, int] = {}
        name = canonical(destination)
        for entry in self.sent:
            if entry.message.destination != name:
                other = entry.message.destination
                elsewhere[other] = elsewhere.get(other, 0) + 1
        if elsewhere:
            lines.append("what came elsewhere:")
            lines += [f"  {other}: {number}" for other, number in elsewhere.items()]
        waiting = [key for key, messages in self._open.items() if messages]
        if waiting:
            lines.append("not committed:")
            lines += [
                f"  {len(self._open[key])} in transaction {key[1]!r} of {key[0]}" for key in waiting
            ]
        return "\n".join(lines)


def numbered(items: Iterable[T], show: Callable[[T], str] = str) -> list[str]:
    """Return a line for each item, the last ones of many."""
    lines = [f"  {number}. {show(item)}" for number, item in enumerate(items, 1)]
    skipped = len(lines) - _MOST_SHOWN
    return [f"  ({skipped} before)", *lines[skipped:]] if skipped > 0 else lines


def canonical(destination: str) -> str:
    """Return a destination in the broker's spelling: ``/queue/a`` for a bare ``a``."""
    try:
        return parse(destination).name
    except RemoteProtocolError:
        # One that the broker answers itself, or refuses.
        return destination
