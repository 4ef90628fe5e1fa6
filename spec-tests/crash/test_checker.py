"""The checker finds what is wrong with a history, and nothing in one that is right."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from crash.checker import violations
from crash.history import (
    Asked,
    Closed,
    Committed,
    Delivered,
    Drained,
    Event,
    Killed,
    Opened,
    Receipt,
    Retained,
    Sent,
    Settled,
    Started,
    Stopped,
    Subscribed,
    durable,
)
from hypothesis import given
from hypothesis import strategies as st

A = "/queue/a"
B = "/queue/b"
LIFE_1: list[Event] = [Started(1), Opened("p", 1), Opened("c", 1)]
CRASH: list[Event] = [Killed(), Closed("p"), Closed("c"), Started(2), Opened("d", 2)]
STOP: list[Event] = [Stopped(), Closed("p"), Closed("c"), Started(2), Opened("d", 2)]


def sent(uid: str, frame: str | None = None, **rest: Any) -> Sent:  # noqa: ANN401
    """SEND of the producer to the queue a."""
    return replace(Sent("p", uid, A, frame), **rest)


def got(uid: str, session: str = "c", number: int = 1, **rest: Any) -> Delivered:  # noqa: ANN401
    """MESSAGE from the queue a."""
    return replace(Delivered(session, "s", f"{session} {uid} {number}", uid, A), **rest)


def acked(delivered: Delivered, frame: str | None = None, **rest: Any) -> Settled:  # noqa: ANN401
    """ACK of one delivery."""
    return replace(Settled(delivered.session, "ack", (delivered.delivery,), frame), **rest)


def taken(uid: str, **rest: Any) -> list[Event]:  # noqa: ANN401
    """MESSAGE and ACK at the end."""
    delivered = got(uid, "d", **rest)
    return [delivered, acked(delivered)]


def kinds(*events: Sequence[Event] | Event) -> list[str]:
    """What the checker says of a history."""
    flat: list[Event] = []
    for event in events:
        flat += event if isinstance(event, Sequence) else [event]
    return [violation.kind for violation in violations(flat)]


# -- Lost ------------------------------------------------------------------------------------------


def test_a_confirmed_message_that_never_comes_is_lost() -> None:
    """After everything was drained, each confirmed message has been somewhere."""
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), *CRASH]
    assert kinds(history, Drained()) == ["lost"]
    assert kinds(history, taken("1"), Drained()) == []
    assert kinds(history, taken("1", dead=True), Drained()) == []
    # Without a drain it may still be there.
    assert kinds(history) == []


def test_a_later_receipt_confirms_what_was_sent_before() -> None:
    """A persistent SEND with a receipt vouches for those of its session before it, not behind."""
    history = [*LIFE_1, sent("1"), sent("2", "f"), sent("3"), Receipt("p", "f"), *CRASH]
    assert kinds(history, taken("2"), Drained()) == ["lost"]
    assert kinds(history, taken("1"), taken("2"), Drained()) == []


def test_a_message_without_a_receipt_may_be_lost_or_not() -> None:
    """An unknown outcome is either."""
    history = [*LIFE_1, sent("1", "f"), *CRASH]
    assert kinds(history, Drained()) == []
    assert kinds(history, taken("1"), Drained()) == []


def test_a_transient_message_may_be_lost_in_a_crash_only() -> None:
    """A clean stop keeps it."""
    history = [*LIFE_1, sent("1", "f", persistent=False), Receipt("p", "f")]
    assert kinds(history, CRASH, Drained()) == []
    assert kinds(history, STOP, Drained()) == ["lost"]


def test_what_may_have_been_settled_is_not_lost() -> None:
    """An ACK without a receipt may have counted; a NACK and an uncommitted ACK settle nothing."""
    one = got("1")
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one]
    assert kinds(history, acked(one), CRASH, Drained()) == []
    assert kinds(history, acked(one, transaction="t"), CRASH, Drained()) == ["lost"]
    committed: list[Event] = [acked(one, transaction="t"), Committed("c", "t")]
    assert kinds(history, committed, CRASH, Drained()) == []
    for verdict in ("nack", "dead"):
        back: Event = replace(acked(one), verdict=verdict)
        assert kinds(history, back, CRASH, Drained()) == ["lost"]


def test_a_dead_letter_that_is_rejected_is_gone() -> None:
    """NACK with requeue:false of a dead letter settles it."""
    one = got("1", dead=True)
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one, replace(acked(one), verdict="dead")]
    assert kinds(history, CRASH, Drained()) == []


def test_an_automatic_consumer_that_leaves_may_have_lost_messages() -> None:
    """What was on its way to it is settled, though it did not arrive."""
    history = [*LIFE_1, Subscribed("c", A, auto=True), sent("1", "f"), Receipt("p", "f")]
    assert kinds(history, CRASH, Drained()) == []
    gone = [*LIFE_1, Subscribed("c", A, auto=True), Closed("c"), sent("1", "f"), Receipt("p", "f")]
    assert kinds(gone, Drained()) == ["lost"]


def test_a_durable_subscription_misses_nothing_from_its_receipt_on() -> None:
    """What is published before may be in it or not."""
    place = durable("one")
    subscribed: list[Event] = [Subscribed("c", place, "s", topic="/topic/a"), Receipt("c", "s")]
    early: list[Event] = [sent("1", "f", destination="/topic/a"), Receipt("p", "f")]
    assert kinds(LIFE_1, early, subscribed, CRASH, Drained()) == []
    assert kinds(LIFE_1, subscribed, early, CRASH, Drained()) == ["lost"]
    arrived = taken("1", place=place)
    assert kinds(LIFE_1, subscribed, early, CRASH, arrived, Drained()) == []
    assert kinds(LIFE_1, early, subscribed, CRASH, arrived, Drained()) == []


# -- Come back -------------------------------------------------------------------------------------


def test_what_was_settled_does_not_come_back() -> None:
    """Not to a session that began when the ACK had its receipt, marked or not."""
    one = got("1")
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one, acked(one, "a")]
    again = got("1", "d", redelivered=True)
    assert kinds(history, CRASH, again, Drained()) == []
    assert kinds(history, Receipt("c", "a"), CRASH, again, Drained()) == ["came back"]
    assert kinds(history, Receipt("c", "a"), CRASH, Drained()) == []


def test_a_session_that_was_there_before_may_have_had_it_before() -> None:
    """Unless an answer that it asked for later stands before the message."""
    one = got("1")
    late = got("1", "e", redelivered=True)
    history = [*LIFE_1, Opened("e", 1), sent("1"), one, acked(one, "a"), Receipt("c", "a")]
    assert kinds(history, late) == []
    assert kinds(history, Asked("e", "x"), Receipt("e", "x"), late) == ["came back"]


def test_a_rejected_message_comes_as_a_dead_letter_only() -> None:
    """After the receipt for NACK with requeue:false the queue does not have it any more."""
    one = got("1")
    rejected = replace(acked(one, "a"), verdict="dead")
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one, rejected, Receipt("c", "a"), *CRASH]
    assert kinds(history, taken("1", dead=True), Drained()) == []
    assert kinds(history, taken("1"), Drained()) == ["came back"]
    assert kinds(history, Drained()) == ["lost"]


def test_what_was_delivered_automatically_comes_again_after_a_crash_only() -> None:
    """A client that has it whole cannot get it again from the same broker."""
    history = [*LIFE_1, sent("1"), got("1", auto=True)]
    again = got("1", "d", redelivered=True)
    assert kinds(history, CRASH, again) == []
    assert kinds(history, STOP, again) == ["came back"]


# -- Marks -----------------------------------------------------------------------------------------


def test_a_redelivery_is_marked_unless_there_was_a_crash() -> None:
    """``redelivered`` survives a stop, not necessarily a crash."""
    history = [*LIFE_1, sent("1"), got("1")]
    assert kinds(history, CRASH, got("1", "d")) == []
    assert kinds(history, STOP, got("1", "d")) == ["unmarked duplicate"]
    assert kinds(history, STOP, got("1", "d", redelivered=True)) == []
    assert kinds(history, got("1", number=2)) == ["unmarked duplicate"]


# -- Transactions ----------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_of_a_transaction_all_sends_are_there_or_none(there: list[bool]) -> None:
    """Without a receipt for COMMIT both are right, anything between is not."""
    sends = [sent(str(n), transaction="t") for n in range(len(there))]
    found = [event for n in range(len(there)) if there[n] for event in taken(str(n))]
    history = [*LIFE_1, *sends, Committed("p", "t", "f"), *CRASH, *found, Drained()]
    assert kinds(history) == ([] if len(set(there)) == 1 else ["in part"])


@given(settled=st.booleans(), arrived=st.booleans())
def test_a_transaction_settles_if_it_sends(settled: bool, arrived: bool) -> None:  # noqa: FBT001
    """A message that is passed on is neither doubled nor lost."""
    one = got("1")
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one]
    history += [acked(one, transaction="t"), Sent("c", "2", B, None, "t"), Committed("c", "t")]
    history += CRASH
    history += [] if settled else taken("1")
    history += taken("2", place=B) if arrived else []
    assert kinds(history, Drained()) == ([] if settled == arrived else ["in part"])


def test_what_a_broker_does_while_it_is_being_killed_may_be_gone() -> None:
    """A kill is noted before it is done: what is noted behind it may have come just before."""
    one = got("1")
    history = [
        *LIFE_1,
        sent("1", "f"),
        Receipt("p", "f"),
        one,
        Killed(),
        acked(one, transaction="t"),
    ]
    history += [Sent("c", "2", B, None, "t"), Committed("c", "t"), got("2", place=B)]
    history += [sent("3", "g", persistent=False), Receipt("p", "g"), *CRASH[1:]]
    assert kinds(history, taken("1"), Drained()) == []


def test_a_confirmed_transaction_has_happened() -> None:
    """Its messages are there and what it settled is gone."""
    one = got("1")
    history = [*LIFE_1, sent("1", "f"), Receipt("p", "f"), one, acked(one, transaction="t")]
    history += [Sent("c", "2", B, None, "t"), Committed("c", "t", "x"), Receipt("c", "x"), *CRASH]
    assert kinds(history, taken("2", place=B), Drained()) == []
    assert kinds(history, Drained()) == ["lost"]
    both = [*taken("1"), *taken("2", place=B)]
    assert kinds(history, both, Drained()) == ["came back"]


def test_nothing_comes_of_a_transaction_that_was_not_committed() -> None:
    """Whether it was aborted or the connection broke."""
    assert kinds(LIFE_1, sent("1", transaction="t"), CRASH, got("1", "d")) == ["uncommitted"]


# -- Order -----------------------------------------------------------------------------------------


def test_messages_come_in_the_order_of_sending() -> None:
    """Of one sender, one priority, without delays and redeliveries."""
    both = [sent("1"), sent("2")]
    assert kinds(LIFE_1, both, got("1"), got("2")) == []
    assert kinds(LIFE_1, both, got("2"), got("1")) == ["order"]
    assert kinds(LIFE_1, both, got("2"), got("1", redelivered=True)) == []
    assert kinds(LIFE_1, both, got("2"), got("1", subscription="other")) == []
    assert kinds(LIFE_1, sent("1"), sent("2", priority=9), got("2"), got("1")) == []
    assert kinds(LIFE_1, sent("1", due=1.0), sent("2"), got("2"), got("1")) == []
    assert kinds(LIFE_1, Opened("q", 1), sent("1"), Sent("q", "2", A), got("2"), got("1")) == []


def test_a_transaction_has_its_place_in_the_order_at_commit() -> None:
    """Not where its SEND stood."""
    history = [*LIFE_1, sent("1", transaction="t"), sent("2"), Committed("p", "t")]
    assert kinds(history, got("2"), got("1")) == []
    assert kinds(history, got("1"), got("2")) == ["order"]


# -- The rest --------------------------------------------------------------------------------------


def test_nothing_is_delivered_that_was_not_sent() -> None:
    """Not at all, and not to another queue."""
    assert kinds(LIFE_1, got("1")) == ["ghost"]
    assert kinds(LIFE_1, sent("1"), got("1", place=B)) == ["ghost"]


def test_a_delayed_message_is_not_early() -> None:
    """It comes when it is due, after a crash as well."""
    history = [*LIFE_1, sent("1", due=100.0), *CRASH]
    assert kinds(history, got("1", "d", at=99.0)) == ["early"]
    assert kinds(history, got("1", "d", at=100.0)) == []


def test_receipts_are_those_that_were_asked_for() -> None:
    """Each once, in their order."""
    asked = [Asked("p", "1"), Asked("p", "2")]
    assert kinds(LIFE_1, asked, Receipt("p", "1"), Receipt("p", "2")) == []
    assert kinds(LIFE_1, asked, Receipt("p", "2"), Receipt("p", "1")) == ["receipt"]
    assert kinds(LIFE_1, asked, Receipt("p", "1"), Receipt("p", "1")) == ["receipt"]
    assert kinds(LIFE_1, Receipt("p", "1")) == ["receipt"]


def test_a_retained_message_is_the_last_one_or_a_later_one() -> None:
    """What was set with a receipt is there, until something newer is."""

    def value(uid: str) -> Sent:
        return Sent("p", uid, "/topic/v", f"f{uid}", retained=True)

    history = [*LIFE_1, value("1"), Receipt("p", "f1"), value("2"), Receipt("p", "f2"), value("3")]
    history += [*CRASH, Asked("d", "s"), Receipt("d", "s")]
    assert kinds(history, Retained("d", "/topic/v", "1", "s")) == ["stale"]
    assert kinds(history, Retained("d", "/topic/v", None, "s")) == ["stale"]
    for right in ("2", "3"):
        assert kinds(history, Retained("d", "/topic/v", right, "s")) == []


def test_a_violation_tells_what_happened() -> None:
    """Its text has the events that prove it."""
    (found,) = violations([*LIFE_1, got("1")])
    assert str(found).startswith("ghost: 1 at /queue/a was never sent there\n    3: Delivered(")


@pytest.mark.parametrize("copies", [1, 2])
def test_a_dedup_id_counts_once(copies: int) -> None:
    """A message that was sent again after a crash is delivered once."""
    history = [
        *LIFE_1,
        sent("1"),
        *CRASH,
        Opened("q", 2),
        Sent("q", "1", A, "f"),
        Receipt("q", "f"),
    ]
    deliveries = [event for n in range(copies) for event in taken("1", number=n)]
    assert kinds(history, deliveries, Drained()) == ["unmarked duplicate"] * (copies - 1)
