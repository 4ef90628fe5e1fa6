"""Browsing what is only in the store: page by page, in order, without gap or double."""

import pytest
from broker.client import Client, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker import subscription as subscriptions


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> PagedCore:
    """A core whose windows hold three messages, with pages of four for browsers."""
    monkeypatch.setattr(subscriptions, "_PAGE", 4)
    return PagedCore(settings(window_messages=3))


def browser_of(core: PagedCore, **headers: str) -> Client:
    """Return a client that browses /queue/a."""
    browser = core.client()
    browser.subscribe("/queue/a", browser="true", **headers)
    return browser


def test_all_of_it_is_shown_before_the_end(core: PagedCore) -> None:
    """First the window, then the tail; nothing is consumed."""
    publish(core.client(), "/queue/a", numbers(1, 20))
    browser = browser_of(core)
    assert browser.bodies() == numbers(1, 3)
    core.answer_all()
    *copies, end = browser.take()
    assert [copy.text for copy in copies] == numbers(4, 20)
    assert end["browser"] == "end"
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=20 unsettled=0 tail=17 ")


def test_a_selector_picks_from_it(core: PagedCore) -> None:
    """What is not selected is not shown, wherever it is."""
    producer = core.client()
    for number in range(12):
        producer.send("/queue/a", str(number), kind=str(number % 5))
    browser = browser_of(core, selector="kind = '4'")
    assert browser.take() == []
    core.answer_all()
    *copies, end = browser.take()
    assert [copy.text for copy in copies] == ["4", "9"]
    assert end["browser"] == "end"


def test_what_comes_later_is_not_shown(core: PagedCore) -> None:
    """It ends where the queue ended when the browser came."""
    publish(core.client(), "/queue/a", numbers(1, 8))
    browser = browser_of(core)
    publish(core.client(), "/queue/a", numbers(9, 12))
    core.answer_all()
    assert [frame.text for frame in browser.take()] == [*numbers(1, 8), ""]


def test_who_follows_gets_the_new_ones_behind_it(core: PagedCore) -> None:
    """What comes while a part is on its way waits for its turn."""
    publish(core.client(), "/queue/a", numbers(1, 8))
    browser = browser_of(core, browser_end="false")
    assert browser.bodies() == numbers(1, 3)
    publish(core.client(), "/queue/a", numbers(9, 10))
    assert browser.bodies() == []
    core.answer_all()
    assert browser.bodies() == numbers(4, 10)
    publish(core.client(), "/queue/a", ["11"])
    assert browser.bodies() == ["11"]


def test_who_follows_too_slowly_misses_new_ones(core: PagedCore) -> None:
    """What does not fit beside what it has not seen yet is dropped for it, and counted."""
    publish(core.client(), "/queue/a", numbers(1, 5))
    browser = browser_of(core, browser_end="false")
    assert browser.bodies() == numbers(1, 3)
    high = browser.session.outbox.high
    producer = core.client()
    producer.send("/queue/a", "x" * high)
    producer.send("/queue/a", "dropped")
    core.answer_all()
    assert [len(body) for body in browser.bodies()] == [1, 1, high]
    assert browser.session.subscriptions["0"].dropped == 1


def test_what_was_consumed_meanwhile_may_be_left_out(core: PagedCore) -> None:
    """A consumer empties the queue between two parts: the browser comes to its end all the same."""
    publish(core.client(), "/queue/a", numbers(1, 12))
    browser = browser_of(core)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == numbers(1, 12)
    got = browser.take()
    assert got[-1]["browser"] == "end"
    shown = [int(frame.text) for frame in got[:-1]]
    assert shown == sorted(set(shown))


def test_an_end_in_the_middle(core: PagedCore) -> None:
    """The answer for a browser that is gone is dropped."""
    publish(core.client(), "/queue/a", numbers(1, 9))
    browser = browser_of(core)
    browser("UNSUBSCRIBE", id="0", receipt="r")
    core.answer_all()
    assert [frame.command for frame in browser.take()] == [*["MESSAGE"] * 3, "RECEIPT"]


def test_a_queue_that_ends_in_the_middle(core: PagedCore) -> None:
    """What was not seen of it is gone, and the browser is told the end."""
    publish(core.client(), "/queue/a", numbers(1, 9))
    browser = browser_of(core)
    host = core.broker.host("/")
    host.remove(host.queues["/queue/a"])
    core.answer_all()
    assert [frame.text for frame in browser.take()] == [*numbers(1, 3), ""]


def test_two_queues_are_browsed_one_after_the_other(core: PagedCore) -> None:
    """Each with its tail; there is one end."""
    publish(core.client(), "/queue/a", numbers(1, 6))
    publish(core.client(), "/queue/b", numbers(7, 12))
    browser = core.client()
    browser.subscribe("/queue/a,/queue/b", browser="true")
    core.answer_all()
    got = [frame.text for frame in browser.take()]
    assert sorted(got[:-1], key=int) == numbers(1, 12)
    assert got[-1] == ""


def test_what_expired_in_the_store_is_not_shown(core: PagedCore) -> None:
    """Its time was over while it waited there."""
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 4))
    producer.send("/queue/a", "short", ttl="1000")
    producer.send("/queue/a", "last")
    core.tick(2)
    browser = browser_of(core)
    core.answer_all()
    assert [frame.text for frame in browser.take()] == [*numbers(1, 4), "last", ""]
