"""Messages that wait, in the order of their places, where any of them may be taken first."""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stompd.broker.message import Message

# So many places out of their turn are looked through one by one; more are sorted in.
_FEW: Final = 64
# So much of what is due at once is done in one go, and the rest after so many seconds.
AT_ONCE: Final = 1000
BREATH: Final = 0.001
# The places before the first are given up when there are so many, and more than the others.
_SPENT: Final = 1024


class Lane:
    """Owns messages by place. New ones come with ever higher places; old ones may come back.

    Taking the first, taking any one, and going on with the search behind a place cost about the
    same whatever waits.
    """

    __slots__ = ("_early", "_first", "_places", "waiting")

    def __init__(self) -> None:
        # The truth: what waits, by place. The lists below may name places that are gone.
        self.waiting: dict[int, Message] = {}
        # Places in their order, those before `_first` spent.
        self._places: list[int] = []
        self._first = 0
        # Places that came out of their turn, as a heap.
        self._early: list[int] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, message: Message) -> None:
        """Take a message to its place, whether it is new or came back."""
        place = message.place
        self.waiting[place] = message
        places = self._places
        if not places or place > places[-1]:
            places.append(place)
        else:
            heappush(self._early, place)

    def first(self) -> Message | None:
        """Return the message with the lowest place, None if none waits."""
        waiting = self.waiting
        early = self._early
        while early and early[0] not in waiting:
            heappop(early)
        places = self._places
        at = self._first
        end = len(places)
        while at < end and places[at] not in waiting:
            at += 1
        if at > _SPENT and at > end - at:
            del places[:at]
            at = 0
        self._first = at
        if early and (at == len(places) or early[0] < places[at]):
            return waiting[early[0]]
        return waiting[places[at]] if at < len(places) else None

    def begins_behind(self, place: int) -> bool:
        """Return whether something waits, and all of it behind a place."""
        first = self.first()
        return first is not None and first.place > place

    def pop(self) -> Message:
        """Give up the message with the lowest place; one at least has to wait."""
        if self._early:
            message = self.first()
            assert message is not None  # noqa: S101 - the caller looked
            del self.waiting[message.place]
            return message
        take = self.waiting.pop
        places = self._places
        at = self._first
        message = None
        while message is None:
            message = take(places[at], None)
            at += 1
        if at > _SPENT and at > len(places) - at:
            del places[:at]
            at = 0
        self._first = at
        return message

    def take(self, message: Message) -> None:
        """Give up a message that waits here."""
        waiting = self.waiting
        del waiting[message.place]
        # One that nobody takes must not keep the places of all that came after it.
        if len(self._places) - self._first > 2 * len(waiting) + _SPENT:
            self._sort_in()

    def behind(self, place: int) -> Iterator[Message]:
        """Walk over what waits behind a place, in order; stop before adding or taking."""
        if len(self._early) > _FEW:
            self._sort_in()
        waiting = self.waiting
        places = self._places
        at = bisect_right(places, place, self._first)
        early = sorted({other for other in self._early if other > place and other in waiting})
        for other in early:
            while at < len(places) and places[at] < other:
                found = waiting.get(places[at])
                at += 1
                if found is not None:
                    yield found
            yield waiting[other]
            if at < len(places) and places[at] == other:
                at += 1
        while at < len(places):
            found = waiting.get(places[at])
            at += 1
            if found is not None:
                yield found

    def __iter__(self) -> Iterator[Message]:
        return self.behind(-1)

    def _sort_in(self) -> None:
        self._places = sorted({*self._places[self._first :], *self._early} & self.waiting.keys())
        self._first = 0
        self._early.clear()

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Lane:
        """Return a lane of messages in order."""
        lane = cls()
        lane.waiting = {message.place: message for message in messages}
        lane._places = list(lane.waiting)
        return lane

    def clear(self) -> None:
        """Give up everything."""
        self.waiting.clear()
        self._places.clear()
        self._early.clear()
        self._first = 0


class Agenda:
    """Messages by the time at which something has to be done with them.

    A message may go away before; then its entry is dead. Dead entries are cleared out when they
    are more than half of all, so that they hold no memory for long.
    """

    __slots__ = ("_entries", "_live", "_number")

    def __init__(self) -> None:
        # When, a number that keeps equal times in order, and what.
        self._entries: list[tuple[float, int, Message]] = []
        # The number of the entry that counts, by place.
        self._live: dict[int, int] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, message: Message) -> bool:
        return message.place in self._live

    def add(self, due: float, message: Message) -> None:
        """Note a message for ``due``; what was noted for it before counts no more."""
        self._number += 1
        self._live[message.place] = self._number
        heappush(self._entries, (due, self._number, message))

    def drop(self, message: Message) -> None:
        """Take a message off the agenda; nothing if it is not on it."""
        live = self._live
        if live.pop(message.place, None) is None:
            return
        entries = self._entries
        if len(entries) > _SPENT and len(entries) > 2 * len(live):
            self._entries = [entry for entry in entries if live.get(entry[2].place) == entry[1]]
            heapify(self._entries)

    def next(self) -> float | None:
        """Return when the first of them is due, None if there is none."""
        entries = self._entries
        live = self._live
        while entries and live.get(entries[0][2].place) != entries[0][1]:
            heappop(entries)
        return entries[0][0] if entries else None

    def take(self, now: float) -> Message | None:
        """Take the first message that is due at ``now``; None if none is."""
        due = self.next()
        if due is None or due > now:
            return None
        message = heappop(self._entries)[2]
        del self._live[message.place]
        return message

    def entries(self) -> list[tuple[float, Message]]:
        """Return when and what, the first due first."""
        live = self._live
        return [
            (due, message)
            # No two have the same number, so messages are never compared.
            for due, number, message in sorted(self._entries)
            if live.get(message.place) == number
        ]

    def clear(self) -> None:
        """Give up everything."""
        self._entries.clear()
        self._live.clear()
