"""The messages of a queue, or of a topic, that are not due yet: those due soon are in memory.

The others are in the store, if that pages. What is in memory shares the window with what waits: it
may have what that leaves of it, and a quarter in any case.

The *horizon* parts them: what the store has behind it is not in memory, but for some. It is a due
time and a place, those of the last message of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from stompd.broker.lane import Agenda
from stompd.broker.part import Part
from stompd.broker.storage import Fetch
from stompd.broker.terms import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stompd.broker.message import Message
    from stompd.broker.policy import Policy
    from stompd.broker.storage import Key, Store
    from stompd.broker.virtualhost import VirtualHost

# A due time and a place.
Moment = tuple[float, int]

# A time that is so many seconds away from the horizon may be on its other side for the store, which
# has milliseconds of a clock that is set by and by.
_MARGIN: Final = 1.0

# Seconds; what is due before that is kept in memory while it is not certain what the store has.
_SOON: Final = 3.0

_START: Final[Moment] = (-NEVER, 0)

# One part in so many of the window is for what is not due yet, whatever waits.
SHARE: Final = 4


class Keeper(Protocol):
    """Whose they are."""

    host: VirtualHost
    key: Key
    store: Store
    policy: Policy
    gone: bool
    # True if the store pages.
    windowed: bool
    # What is in memory measures so much, and what is in the store only.
    bytes: int
    tail_bytes: int

    @property
    def here(self) -> int:
        """How many other messages of it wait in memory."""

    def claim(self, message: Message) -> None:
        """Have a message that came from the store."""

    def delayed_came(self) -> None:
        """Go on: some of them may have come, and some may be due."""


class Delayed(Part["Keeper"]):
    """Owns them; ``tail`` of them are in the store only, with ``octets``."""

    __slots__ = (
        "_agenda",
        "_anew",
        "_asking",
        "_gone",
        "_held",
        "_horizon",
        "_looks",
        "_missed",
        "octets",
        "tail",
    )

    def __init__(self, queue: Keeper) -> None:
        super().__init__(queue)
        self._agenda = Agenda()
        # What the messages in memory measure.
        self._held = 0
        self._horizon = _START
        # True if it is asked for from the beginning, because something seems to be missing.
        self._anew = False
        self.tail = 0
        self.octets = 0
        # True while a part of it is on its way into memory; and how many look at it.
        self._asking = False
        self._looks = 0
        # When the first of those is due that were left to the store since that was asked for: the
        # answer may not have it.
        self._missed = NEVER
        # Places of what has left since the first question that is not answered yet.
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._agenda) + self.tail

    @property
    def here(self) -> int:
        """How many of them are in memory."""
        return len(self._agenda)

    def _room(self) -> tuple[int, int]:
        """Return how many messages, and octets, of them may be in memory."""
        queue = self._queue
        window, octets = queue.policy.window_messages, queue.policy.window_bytes
        return (
            max(1, window // SHARE, window - queue.here),
            max(1, octets // SHARE, octets - (queue.bytes - self._held)),
        )

    def __contains__(self, message: Message) -> bool:
        """Return whether a message is in memory, and not due yet."""
        return message in self._agenda

    def entries(self) -> list[tuple[float, Message]]:
        """Return when and what, the first due first, of those in memory."""
        return self._agenda.entries()

    def next(self) -> float | None:
        """Return when the first of them is due, None if there is none."""
        return self._agenda.next()

    def restore(self, count: int, octets: int) -> None:
        """Have so many that the store has kept; the first of them are asked for."""
        self._grow(count, octets)
        self.call()

    def _grow(self, count: int, octets: int) -> None:
        self.tail += count
        self.octets += octets
        self._queue.tail_bytes += octets

    # One by one.

    def add(self, due: float, message: Message) -> None:
        """Take a message that the store has with this due time, if it is stored.

        The queue counts its octets as being in memory.
        """
        left = message.place in self._gone
        self._gone.discard(message.place)
        far = self.tail and not self._looks and due - _MARGIN > self._horizon[0]
        if far and not self._asking:
            self._leave(due, message)
            return
        room, octets = self._room()
        full = len(self._agenda) >= room or self._held + message.size > octets
        # An answer that takes its time must not have all that comes meanwhile wait for it here. It
        # may have what has left since the question as it was.
        if far and full and not left and due > self._queue.host.broker.now + _SOON:
            self._missed = min(self._missed, due)
            self._leave(due, message)
            return
        self._held += message.size
        self._agenda.add(due, message)
        if full:
            self._give_up(room, octets)

    def _leave(self, due: float, message: Message) -> None:
        """Leave a message to the store, which gets it now if it has not got it."""
        queue = self._queue
        if not message.stored:
            message.stored = True
            queue.store.put(queue.key, message, due)
        queue.bytes -= message.size
        self._grow(1, message.size)

    def _give_up(self, room: int, most: int) -> None:
        """Leave those to the store that are due last, so that the others take half of the room."""
        queue = self._queue
        if self._asking or self._looks or not queue.windowed:
            return
        entries = self.entries()
        count = octets = 0
        for _, message in entries[: max(1, room // 2)]:
            octets += message.size
            if octets > most // 2 and count:
                break
            count += 1
        last = (entries[count - 1][0] - _MARGIN, 0)
        self._horizon = min(self._horizon, last) if self.tail else last
        for due, message in entries[count:]:
            self._agenda.drop(message)
            self._held -= message.size
            self._leave(due, message)

    def take(self, now: float) -> Message | None:
        """Take the first message in memory that is due at ``now``; None if none is."""
        message = self._agenda.take(now)
        if message is not None:
            self._note_gone(message)
        return message

    def drop(self, message: Message) -> None:
        """Give up a message that is in memory."""
        self._agenda.drop(message)
        self._note_gone(message)

    def _note_gone(self, message: Message) -> None:
        self._held -= message.size
        if self._asking or self._looks:
            self._gone.add(message.place)

    def clear(self) -> None:
        """Give up everything; the store is the caller's to tell."""
        self._agenda.clear()
        self._grow(-self.tail, -self.octets)
        self._held = 0

    # Bringing more in.

    def call(self) -> None:
        """Ask for those that are due next, if few are in memory."""
        queue = self._queue
        if not self.tail or self._asking:
            return
        here = len(self._agenda)
        room, octets = self._room()
        if here > room // 4 and self._comes_next():
            return
        self._asking = True
        due, place = self._horizon
        queue.store.fetch(
            Fetch(
                queue.key,
                "delayed",
                self._fetched,
                # Some of them may be in memory.
                count=max(1, room // 4, room // 2 - here),
                octets=max(1, octets // 2),
                after=place,
                # None can be due before 1970.
                due=max(due, -queue.host.broker.epoch),
            )
        )

    def _comes_next(self) -> bool:
        """Return whether what is due next is in memory."""
        due = self.next()
        return due is not None and due <= self._horizon[0]

    def _fetched(self, messages: list[Message], dues: list[float]) -> None:
        self._asking = False
        queue = self._whose()
        if queue is None or queue.gone:
            return
        if not messages:
            self._begin_again()
        for due, message in zip(dues, messages, strict=True):
            self._horizon = (due, message.place)
            if not self._is_behind(message):
                continue
            queue.claim(message)
            self._anew = False
            queue.bytes += message.size
            self._held += message.size
            self._grow(-1, -message.size)
            self._agenda.add(due, message)
        if self._missed - _MARGIN < self._horizon[0]:
            self._horizon = (self._missed - _MARGIN, 0)
        self._missed = NEVER
        self._forget_gone()
        queue.delayed_came()

    def _begin_again(self) -> None:
        """Look for what has to be there from the beginning: clocks were set, and times with them.

        If that brought nothing the store is believed: it has fewer than it had counted.
        """
        if self._missed != NEVER:
            # It got something since.
            self._anew = True
        elif self._anew:
            self._grow(-self.tail, -self.octets)
        self._anew = not self._anew
        self._horizon = _START

    def _is_behind(self, message: Message) -> bool:
        """Return whether a message of an answer is in the store only, and not due yet."""
        return message not in self._agenda and message.place not in self._gone

    def _forget_gone(self) -> None:
        if not self._asking and not self._looks:
            self._gone.clear()

    # Looking at what is in the store only.

    def look(
        self,
        after: tuple[float, int],
        count: int,
        octets: int,
        taker: Callable[[list[Message], list[float]], None],
    ) -> None:
        """Have a taker get what the store holds behind a due time and a place, not due yet.

        The times come with it; all of that is empty if it was the end, or the queue is gone.
        `still` tells what is not in memory too.
        """
        queue = self._queue
        self._looks += 1

        def answered(messages: list[Message], dues: list[float]) -> None:
            self._looks -= 1
            if queue.gone:
                taker([], [])
            else:
                taker(messages, dues)
            self._forget_gone()

        due, place = after
        fetch = Fetch(
            queue.key,
            "delayed",
            answered,
            count=count,
            octets=octets,
            after=place,
            due=max(due, -queue.host.broker.epoch),
        )
        queue.store.fetch(fetch)

    def still(self, messages: Iterable[Message]) -> list[Message]:
        """Return those of the messages of an answer that are nowhere else."""
        return [message for message in messages if self._is_behind(message)]

    def withdraw(self, messages: Iterable[Message]) -> None:
        """Take messages out that are in the store only; the store is the caller's to tell."""
        for message in messages:
            self._grow(-1, -message.size)
            if self._asking or self._looks:
                self._gone.add(message.place)
