"""The checker finds what is wrong with selectors, groups, limits, schedules, and dead letters.

Each history is a right one with one thing in it changed.
"""

from dataclasses import replace

import pytest
from crash.history import (
    Asked,
    Committed,
    Delivered,
    Drained,
    Event,
    Opened,
    Receipt,
    Refused,
    Retained,
    Ruled,
    Sent,
    Standing,
    Subscribed,
    Verdict,
    durable,
)
from crash.test_checker import CRASH, LIFE_1, STOP, A, acked, got, kinds, sent, taken

# The session c is alive for certain when this has come.
C_LIVES: list[Event] = [Asked("c", "alive"), Receipt("c", "alive")]
OTHER: list[Event] = [Opened("e", 1)]


def confirmed(*uids: str, **rest: object) -> list[Event]:
    """SENDs with their receipts."""
    return [
        event for uid in uids for event in (sent(uid, f"f{uid}", **rest), Receipt("p", f"f{uid}"))
    ]


def heard(session: str) -> list[Event]:
    """What the session gets from here on was certainly written behind this."""
    return [Asked(session, f"heard {session}"), Receipt(session, f"heard {session}")]


# -- Selectors and shared subscriptions ------------------------------------------------------------


def test_who_has_a_selector_gets_nothing_else() -> None:
    """Of a queue, whoever takes the rest."""
    history = [*LIFE_1, Subscribed("c", A, subscription="s", wants="red")]
    assert kinds(history, sent("1", colour="red"), got("1")) == []
    assert kinds(history, sent("1", colour="green"), got("1")) == ["unwanted"]
    assert kinds(history, sent("1"), got("1")) == ["unwanted"]
    assert kinds(history, sent("1"), got("1", subscription="other")) == []


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("/topic/a.b", "/topic/a.b", True),
        ("/topic/a.*", "/topic/a.b", True),
        ("/topic/a.*", "/topic/a.b.c", False),
        ("/topic/a.#", "/topic/a.b.c", True),
        ("/topic/a.#", "/topic/a", True),
        ("/topic/a.#.c", "/topic/a.b.c", True),
        ("/topic/a.b", "/topic/a.c", False),
    ],
)
def test_a_durable_subscription_to_a_pattern(pattern: str, topic: str, fits: bool) -> None:  # noqa: FBT001
    """It misses nothing of what fits, and gets nothing else."""
    place = durable("one")
    history: list[Event] = [*LIFE_1, Subscribed("c", place, "s", topic=pattern), Receipt("c", "s")]
    history += confirmed("1", destination=topic)
    assert kinds(history, CRASH, Drained()) == (["lost"] if fits else [])
    arrived = taken("1", place=place)
    assert kinds(history, CRASH, arrived, Drained()) == ([] if fits else ["ghost"])


def test_a_durable_subscription_with_a_selector() -> None:
    """It misses nothing of its colour, and gets nothing else."""
    place = durable("red")
    history: list[Event] = [*LIFE_1]
    history += [Subscribed("c", place, "s", topic="/topic/a", wants="red"), Receipt("c", "s")]
    history += confirmed("1", destination="/topic/a", colour="red")
    history += confirmed("2", destination="/topic/a", colour="green")
    assert kinds(history, CRASH, taken("1", place=place), Drained()) == []
    assert kinds(history, CRASH, Drained()) == ["lost"]
    both = [*taken("1", place=place), *taken("2", place=place)]
    assert kinds(history, CRASH, both, Drained()) == ["ghost"]


def test_a_repetition_counts_from_its_first_time() -> None:
    """What was published before a durable subscription is not in it, be it sent again since."""
    place = durable("one")
    early = sent("1", "f", destination="/topic/a")
    history: list[Event] = [*LIFE_1, early, Subscribed("c", place, "s", topic="/topic/a")]
    history += [Receipt("c", "s"), Opened("q", 1), Sent("q", "1", "/topic/a", "g")]
    assert kinds(history, Receipt("q", "g"), Drained()) == []


def test_what_somebody_holds_is_nobody_elses() -> None:
    """Marked or not, as long as that one is there and has not settled it."""
    one = got("1", place=durable("one"))
    again = replace(one, session="e", delivery="e 1", redelivered=True)
    history: list[Event] = [*LIFE_1, Subscribed("c", durable("one"), topic="/topic/a"), *OTHER]
    history += [sent("1", destination="/topic/a"), one, *heard("e")]
    assert kinds(history, again, C_LIVES) == ["held twice"]
    # It may have been gone by then.
    assert kinds(history, again) == []
    back: Event = replace(acked(one), verdict="nack")
    assert kinds(history, back, again, C_LIVES) == []
    assert kinds(history, again, C_LIVES, back) == ["held twice"]


def test_what_may_have_been_written_before_is_not_held_twice() -> None:
    """Who reads late got it first, and has left since."""
    history: list[Event] = [*LIFE_1, *OTHER, sent("1"), got("1", redelivered=True)]
    assert kinds(history, got("1", "e"), C_LIVES) == []


# -- Groups ----------------------------------------------------------------------------------------


def test_a_group_belongs_to_one_subscription() -> None:
    """As long as that is there."""
    both = [sent("1", group="g"), sent("2", group="g")]
    history = [*LIFE_1, *OTHER, *both, got("1"), acked(got("1")), *heard("e")]
    assert kinds(history, got("2"), C_LIVES) == []
    assert kinds(history, got("2", "e"), C_LIVES) == ["group"]
    assert kinds(history, got("2", "e")) == []
    assert kinds(history, got("2", "e", dead=True), C_LIVES) == []
    others = [*LIFE_1, *OTHER, sent("1", group="g"), sent("2", group="h"), got("1"), *heard("e")]
    assert kinds(others, got("2", "e"), C_LIVES) == []


def test_a_group_comes_in_its_order() -> None:
    """Whoever gets it; but for what comes back, and what a crash brings again."""
    both = [sent("1", group="g"), sent("2", group="g")]
    history = [*LIFE_1, *OTHER, *both, got("2"), *heard("e")]
    assert kinds(history, got("1", "e")) == ["group"]
    assert kinds(history, got("1", "e", redelivered=True)) == []
    assert kinds(LIFE_1, both, got("2"), CRASH, got("1", "d"), got("2", "d")) == []
    # In one session it is out of order even without the group.
    assert kinds(LIFE_1, both, got("2"), heard("c"), got("1")) == ["order", "group"]


def test_what_a_group_held_back_may_come_later() -> None:
    """It was another's: what is of no group goes past it, and in its own order."""
    both = [sent("1", group="g"), sent("2")]
    assert kinds(LIFE_1, both, got("2"), got("1")) == []
    assert kinds(LIFE_1, sent("1"), sent("2"), got("2"), got("1")) == ["order"]


# -- Limits ----------------------------------------------------------------------------------------


def test_a_message_that_was_refused_is_nowhere() -> None:
    """ERROR for lack of room says that nothing was done."""
    history: list[Event] = [*LIFE_1, sent("1", "f")]
    refused = Refused("p", "queue is full", "f")
    assert kinds(history, refused, got("1")) == ["refused"]
    assert kinds(history, refused, Drained()) == []
    # Of another error the outcome is unknown.
    assert kinds(history, Refused("p", "disk full", "f"), got("1")) == []


def test_a_transaction_that_was_refused_is_nowhere() -> None:
    """All of it."""
    history: list[Event] = [*LIFE_1, sent("1", transaction="t"), sent("2", transaction="t")]
    history += [Committed("p", "t", "f"), Refused("p", "queue is full", "f")]
    assert kinds(history, CRASH, Drained()) == []
    assert kinds(history, CRASH, taken("2"), Drained()) == ["refused", "in part"]


def test_a_place_holds_no_more_than_it_may() -> None:
    """Not counting what may have been settled, or was pushed out."""
    history: list[Event] = [Ruled(A, most=2), *LIFE_1, *confirmed("1", "2")]
    one = got("1")
    rest = [*CRASH, *taken("2"), *taken("3")]
    assert kinds(history, one, acked(one), confirmed("3"), rest, Drained()) == []
    late: list[Event] = [one, *confirmed("3"), acked(one)]
    assert kinds(history, late, rest, Drained()) == ["overfull"]
    back: Event = replace(acked(one), verdict="nack")
    came = [*CRASH, *taken("1"), *rest[len(CRASH) :]]
    assert kinds(history, one, back, confirmed("3"), came, Drained()) == ["overfull"]
    pushed = [*CRASH, *taken("1", dead=True), *taken("2"), *taken("3")]
    assert kinds(history, confirmed("3"), pushed, Drained()) == []


# -- Expiry and dead letters -----------------------------------------------------------------------


def test_what_has_expired_comes_to_nobody() -> None:
    """Who came later gets it as a dead letter only."""
    history: list[Event] = [*LIFE_1, sent("1", expires=100.0), *CRASH]
    late: list[Event] = [replace(event, at=101.0) for event in CRASH if isinstance(event, Opened)]
    assert kinds(history, got("1", "d")) == []
    assert kinds(history, late, got("1", "d")) == ["late"]
    dead = got("1", "d", dead=True, at=101.0, reason="expired")
    assert kinds(history, late, dead) == []
    assert kinds(history, replace(dead, at=99.0)) == ["early"]


@pytest.mark.parametrize("reason", ["expired", "rejected", "max-deliveries", "overflow"])
def test_a_dead_letter_has_a_cause(reason: str) -> None:
    """Nobody rejected it, it was tried once, and it neither expires nor is pushed out."""
    history: list[Event] = [Ruled(A, attempts=3, most=2), *LIFE_1, sent("1")]
    assert kinds(history, got("1", dead=True, reason=reason)) == ["buried"]


@pytest.mark.parametrize(
    ("reason", "verdict", "times", "drops"),
    [
        ("rejected", "dead", 1, False),
        ("max-deliveries", "nack", 3, False),
        ("overflow", "nack", 0, True),
    ],
)
def test_a_cause_is_found(reason: str, verdict: Verdict, times: int, drops: bool) -> None:  # noqa: FBT001
    """Somebody rejected it, or it was tried often enough, or may be pushed out."""
    history: list[Event] = [Ruled(A, attempts=3, most=2, drops=drops), *LIFE_1, sent("1")]
    for number in range(times):
        delivered = got("1", number=number, redelivered=number > 0)
        history += [delivered, replace(acked(delivered), verdict=verdict)]
    assert kinds(history, got("1", number=9, dead=True, reason=reason)) == []


def test_who_leaves_may_cost_an_attempt() -> None:
    """As many as have used the place."""
    history: list[Event] = [Ruled(A, attempts=2), *LIFE_1]
    history += [Subscribed("c", A, subscription="s"), sent("1")]
    dead = got("1", dead=True, reason="max-deliveries")
    assert kinds(history, dead) == ["buried"]
    assert kinds(history, OTHER, Subscribed("e", A, subscription="s"), dead) == []


def test_a_dead_letter_stays_one() -> None:
    """As long as there is no crash that might have lost that it is."""
    history: list[Event] = [*LIFE_1, sent("1"), got("1", dead=True), *heard("c")]
    again = got("1", number=2)
    assert kinds(history, again) == ["came back"]
    assert kinds(history, CRASH, replace(again, session="d")) == []


def test_after_so_many_attempts_it_is_a_dead_letter() -> None:
    """What was refused for certain counts, through a crash as well."""
    history: list[Event] = [Ruled(A, attempts=2), *LIFE_1, sent("1")]
    for number in range(2):
        delivered = got("1", number=number, redelivered=number > 0)
        history += [delivered, replace(acked(delivered, f"n{number}"), verdict="nack")]
    again = got("1", "d", redelivered=True)
    assert kinds(history, Receipt("c", "n0"), CRASH, again) == []
    both = [Receipt("c", "n0"), Receipt("c", "n1")]
    assert kinds(history, both, CRASH, again) == ["came back"]
    assert kinds(history, both, CRASH, replace(again, dead=True)) == []


def test_what_is_pushed_out_is_not_early() -> None:
    """A dead letter for another reason is, before it was due."""
    history: list[Event] = [Ruled(A, most=1, drops=True), *LIFE_1, sent("1", due=100.0)]
    dead = got("1", dead=True, at=50.0, reason="overflow")
    assert kinds(history, dead) == []
    assert kinds(history, replace(dead, reason="")) == ["early"]


# -- Schedules -------------------------------------------------------------------------------------


def occurrences(*ats: float, session: str = "c", **rest: object) -> list[Delivered]:
    """What came of a message that is sent several times, and when."""
    return [got("1", session, number=number, at=at, **rest) for number, at in enumerate(ats)]


THREE = sent("1", "f", due=100.0, times=3, period=10.0)


def test_a_message_comes_as_often_as_it_was_said() -> None:
    """At most, and not before its time; what was missed is not made up for."""
    history: list[Event] = [*LIFE_1, THREE, Receipt("p", "f")]
    assert kinds(history, occurrences(100.0, 110.0, 120.0)) == []
    assert kinds(history, occurrences(120.0)) == []
    assert kinds(history, occurrences(100.0, 110.0, 120.0, 130.0)) == ["too often"]
    assert kinds(history, occurrences(100.0, 105.0)) == ["too often"]
    assert kinds(history, occurrences(100.0, 110.0), occurrences(121.0, redelivered=True)) == []


def test_what_was_acknowledged_is_not_sent_once_more_after_a_crash() -> None:
    """Each acknowledgement that is certain is of another occurrence."""
    before = occurrences(100.0, 110.0, 120.0)
    history: list[Event] = [*LIFE_1, THREE, Receipt("p", "f"), *before]
    acks = [acked(one, f"a{number}") for number, one in enumerate(before)]
    receipts = [Receipt("c", f"a{number}") for number in range(3)]
    after = occurrences(130.0, session="d")[0]
    again: list[Event] = [after, acked(after, "b"), Receipt("d", "b")]
    assert kinds(history, acks, CRASH, again) == []
    assert kinds(history, acks, receipts, CRASH, after) == []
    assert kinds(history, acks, receipts, CRASH, again) == ["too often"]


def test_a_schedule_comes_to_its_end() -> None:
    """The last time is there, at its time or later."""
    history: list[Event] = [*LIFE_1, THREE, Receipt("p", "f"), *CRASH]

    def ending(at: float) -> list[Event]:
        (one,) = occurrences(at, session="d")
        return [one, acked(one), Drained()]

    assert kinds(history, ending(120.0)) == []
    assert kinds(history, ending(110.0)) == ["schedule"]
    unconfirmed = [*LIFE_1, THREE, *CRASH]
    assert kinds(unconfirmed, ending(110.0)) == []


def test_what_is_sent_without_end_goes_on() -> None:
    """Until it is dropped: each of them once."""
    history: list[Event] = [*LIFE_1]
    history += [sent("1", "f", due=60.0, times=0, period=60.0), Receipt("p", "f"), *CRASH]

    def there(*uids: str) -> Standing:
        return Standing("d", A, uids)

    assert kinds(history, there("1"), Drained()) == []
    assert kinds(history, there(), Drained()) == ["schedule"]
    assert kinds(history, there("1", "1"), Drained()) == ["too often"]
    assert kinds(history, there("1", "2"), Drained()) == ["ghost"]
    assert kinds(history, there("1"), there(), Drained()) == []
    assert kinds(history, there("1"), there("1"), Drained()) == ["came back"]
    assert kinds(LIFE_1, sent("1", times=0, due=60.0), CRASH, there()) == []


# -- Last values -----------------------------------------------------------------------------------


def test_a_removed_value_is_gone() -> None:
    """What was removed with a receipt does not come back, and nothing is lost but by that."""

    def value(uid: str, *, removes: bool = False) -> list[Event]:
        one = Sent("p", uid, "/topic/v", f"f{uid}", retained=not removes, removes=removes)
        return [one, Receipt("p", f"f{uid}")]

    def told(uid: str | None, *changes: list[Event]) -> list[str]:
        asked: list[Event] = [*CRASH, Asked("d", "s"), Receipt("d", "s")]
        return kinds(LIFE_1, *changes, asked, Retained("d", "/topic/v", uid, "s"))

    assert told(None, value("1"), value("2", removes=True)) == []
    assert told("1", value("1"), value("2", removes=True)) == ["stale"]
    assert told(None, value("1", removes=True), value("2")) == ["stale"]
    assert told(None, value("1"), value("2", removes=True)[:1]) == []
    assert told("1", value("1"), value("2", removes=True)[:1]) == []


def test_a_stop_loses_no_schedule() -> None:
    """An end in good order is no excuse."""
    history: list[Event] = [*LIFE_1, THREE, Receipt("p", "f"), *STOP, Drained()]
    assert kinds(history) == ["lost", "schedule"]
