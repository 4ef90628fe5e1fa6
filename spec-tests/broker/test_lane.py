"""Lanes and agendas: waiting messages by place and by time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker.lane import Agenda, Lane
from stompd.broker.message import Message
from stompd.protocol.frame import Head

_HEAD = Head.of("SEND", {"destination": "/queue/a"})


def _message(place: int) -> Message:
    message = Message(_HEAD, b"", None, False)  # noqa: FBT003 - transient
    message.place = place
    return message


def _places(lane: Lane) -> list[int]:
    return [message.place for message in lane]


def test_a_lane_is_walked_in_the_order_of_places() -> None:
    """What came back stands where it stood, whenever it comes back."""
    messages = [_message(place) for place in range(1, 8)]
    lane = Lane.of(messages[:3])
    for message in messages[3:]:
        lane.add(message)
    for place in (1, 4, 6):
        lane.take(messages[place - 1])
    assert _places(lane) == [2, 3, 5, 7]
    for place in (6, 4, 1):
        lane.add(messages[place - 1])
    assert _places(lane) == [1, 2, 3, 4, 5, 6, 7]
    assert [message.place for message in lane.behind(4)] == [5, 6, 7]
    lane.clear()
    assert (len(lane), lane.first()) == (0, None)


@given(
    st.lists(
        st.tuples(st.sampled_from(["new", "back", "first", "any", "walk"]), st.integers(0, 10_000)),
        max_size=300,
    )
)
def test_a_lane_is_like_a_sorted_table(steps: list[tuple[str, int]]) -> None:
    """Whatever is added, taken and brought back: it equals a table that is sorted every time."""
    lane = Lane()
    table: dict[int, Message] = {}
    gone: dict[int, Message] = {}
    following = 1
    for step, number in steps:
        if step == "new":
            message = _message(following)
            following += 1 + number % 3
            lane.add(message)
            table[message.place] = message
        elif step == "back" and gone:
            message = gone.pop(sorted(gone)[number % len(gone)])
            lane.add(message)
            table[message.place] = message
        elif step in ("first", "any") and table:
            place = min(table) if step == "first" else sorted(table)[number % len(table)]
            if step == "first":
                assert lane.first() is table[place]
            if step == "first" and number % 2:
                assert lane.pop() is table[place]
            else:
                lane.take(table[place])
            gone[place] = table.pop(place)
        elif step == "walk":
            behind = [message.place for message in lane.behind(number % 100)]
            assert behind == [place for place in sorted(table) if place > number % 100]
        assert len(lane) == len(table)
    assert _places(lane) == sorted(table)
    first = lane.first()
    assert (None if first is None else first.place) == min(table, default=None)


def test_many_that_come_out_of_turn_are_sorted_in() -> None:
    """A hundred places before the first one are walked over in order as well."""
    lane = Lane.of([_message(1000)])
    for place in range(200, 100, -1):
        lane.add(_message(place))
    assert _places(lane) == [*range(101, 201), 1000]
    first = lane.first()
    assert first is not None
    assert first.place == 101


@pytest.mark.parametrize("way", ["first", "pop"])
def test_a_lane_gives_up_the_places_that_are_spent(way: str) -> None:
    """Taking thousands from the front, one way or the other, keeps the order of the rest."""
    messages = [_message(place) for place in range(5000)]
    lane = Lane.of(messages)
    for expected in range(4000):
        first = lane.pop() if way == "pop" else lane.first()
        assert first is messages[expected]
        if way == "first":
            lane.take(first)
    assert _places(lane) == list(range(4000, 5000))


def test_a_lane_forgets_what_was_taken_behind_one_that_stays() -> None:
    """A message that nobody wants does not keep the places of thousands that came after it."""
    lane = Lane()
    lane.add(_message(1))
    for place in range(2, 10_000):
        message = _message(place)
        lane.add(message)
        lane.take(message)
    assert _places(lane) == [1]
    assert len(lane._places) < 1100  # noqa: SLF001 - what holds the memory


def test_a_lane_gives_up_one_after_the_other() -> None:
    """The first each time, those that came back in between."""
    lane = Lane.of(_message(place) for place in range(1, 3001))
    for place in range(1, 2001):
        assert lane.pop().place == place
    assert len(lane._places) < 2000  # noqa: SLF001 - what holds the memory
    back = _message(1000)
    lane.add(back)
    assert lane.pop() is back
    lane.add(back)
    lane.take(back)
    popped = [lane.pop().place for _ in range(len(lane))]
    assert popped == list(range(2001, 3001))


def test_an_agenda_tells_what_is_due_when() -> None:
    """The first due comes first, equal times in the order in which they were noted."""
    agenda = Agenda()
    first, second, third = (_message(place) for place in (1, 2, 3))
    assert (agenda.next(), agenda.take(9.0)) == (None, None)
    agenda.add(5.0, first)
    agenda.add(2.0, second)
    agenda.add(2.0, third)
    assert (agenda.next(), len(agenda), first in agenda) == (2.0, 3, True)
    assert agenda.take(1.9) is None
    assert agenda.take(2.0) is second
    assert [(due, message.place) for due, message in agenda.entries()] == [(2.0, 3), (5.0, 1)]
    agenda.drop(third)
    agenda.drop(third)
    assert third not in agenda
    assert agenda.next() == 5.0
    agenda.add(1.0, first)
    assert [due for due, _ in agenda.entries()] == [1.0]
    assert agenda.take(9.0) is first
    assert agenda.take(9.0) is None
    agenda.add(1.0, first)
    agenda.clear()
    assert (len(agenda), agenda.next()) == (0, None)


def test_an_agenda_forgets_what_was_dropped() -> None:
    """Thousands of messages that went before their time are not held until then."""
    agenda = Agenda()
    messages = [_message(place) for place in range(5000)]
    for message in messages:
        agenda.add(1000.0 + message.place, message)
    for message in messages[:-1]:
        agenda.drop(message)
    assert len(agenda) == 1
    assert len(agenda._entries) < 2000  # noqa: SLF001 - what holds the memory
    assert agenda.take(1e9) is messages[-1]
