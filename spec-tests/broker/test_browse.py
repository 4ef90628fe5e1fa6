"""Browsing: copies of what waits, and nothing is consumed."""

import pytest
from broker.client import Core, Got, numbers, publish, settings

from stompd.broker.policy import Policy


def _split(frames: list[Got]) -> tuple[list[str], Got]:
    """Return the bodies of copies, and the frame that ends them."""
    *copies, end = frames
    assert all("browser" not in copy.headers for copy in copies)
    assert (end["browser"], end.body) == ("end", b"")
    return [copy.text for copy in copies], end


def test_a_browser_sees_what_waits_and_takes_nothing(core: Core) -> None:
    """Copies, oldest first, then `browser:end`; afterwards a consumer gets everything."""
    publish(core.client(), "/queue/a", numbers(1, 3), x="1")
    browser, consumer = core.client(), core.client()
    browser.subscribe("/queue/a", receipt="r", id="b", browser="true")
    receipt, *frames = browser.take(5)
    assert receipt["receipt-id"] == "r"
    bodies, end = _split(frames)
    assert bodies == numbers(1, 3)
    assert frames[0]["x"] == "1"
    assert (end["subscription"], end["destination"]) == ("b", "/queue/a")
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == numbers(1, 3)
    publish(core.client(), "/queue/a", ["4"])
    assert browser.take() == []


def test_an_empty_queue_ends_at_once(core: Core) -> None:
    """Browsing what is not there yet is no error."""
    browser = core.client()
    browser.subscribe("/queue/a", browser="true")
    assert _split(browser.take())[0] == []
    browser("UNSUBSCRIBE", id="0", receipt="r")
    assert browser.receipts() == ["r"]


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_acknowledging_a_copy_changes_nothing(core: Core, ack: str) -> None:
    """Whatever mode a browser names: its ACKs and NACKs are accepted."""
    publish(core.client(), "/queue/a", numbers(1, 2))
    browser = core.client()
    browser.subscribe("/queue/a", ack, browser="true")
    *copies, _ = browser.take(3)
    for copy in copies:
        browser("NACK", id=copy.get("ack") or copy["message-id"])
        browser("ACK", id=copy["message-id"])
    assert browser.alive()
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=2 unsettled=0")


def test_delivered_and_delayed_messages_are_not_shown(core: Core) -> None:
    """What a consumer has, and what is not due, does not wait."""
    producer, consumer, browser = core.client(), core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 3))
    producer.send("/queue/a", "later", delay="1000")
    consumer.subscribe("/queue/a", "client", prefetch_count="2")
    browser.subscribe("/queue/a", browser="true")
    assert _split(browser.take())[0] == ["3"]


def test_a_copy_tells_of_earlier_attempts(core: Core) -> None:
    """A browser sees how often a message was tried."""
    consumer, browser = core.client(), core.client()
    publish(core.client(), "/queue/a", numbers(1, 2))
    consumer.subscribe("/queue/a", "client-individual")
    for message in consumer.messages(2):
        consumer.nack(message)
        consumer.take()
    consumer.close()
    browser.subscribe("/queue/a", browser="true")
    first, _, _ = browser.take(3)
    assert (first.text, first["redelivered"]) == ("1", "true")
    assert int(first["delivery-count"]) > 1


def test_a_browser_has_a_selector(core: Core) -> None:
    """Only what matches is copied, and by priority as it would be delivered."""
    producer, browser = core.client(), core.client()
    for number in numbers(1, 6):
        producer.send("/queue/a", number, n=number, priority=number)
    browser.subscribe("/queue/a", browser="true", selector="n > 3")
    assert _split(browser.take())[0] == ["6", "5", "4"]


def test_a_browser_may_follow(core: Core) -> None:
    """With `browser-end:false` it sees what comes from now on, taken by others or not."""
    producer, browser, consumer = core.client(), core.client(), core.client()
    publish(producer, "/queue/a", ["1"])
    browser.subscribe("/queue/a", browser="true", browser_end="false", selector="not x = 'no'")
    assert browser.bodies() == []
    producer.send("/queue/a", "2", x="yes")
    consumer.subscribe("/queue/a")
    producer.send("/queue/a", "3", x="yes")
    producer.send("/queue/a", "4", x="no")
    producer.send("/queue/a", "5", x="yes", delay="1000")
    assert browser.bodies() == ["2", "3"]
    core.tick(1.0)
    assert browser.bodies() == ["5"]
    assert consumer.bodies() == ["1", "2", "3", "4", "5"]
    browser("UNSUBSCRIBE", id="0")
    producer.send("/queue/a", "6", x="yes")
    assert browser.take() == []
    assert not core.broker.host("/").queues["/queue/a"].special


def test_a_follower_sees_each_message_once(core: Core) -> None:
    """When it comes, or when it is due if it was delayed; not again when it comes back."""
    producer, consumer, follower = core.client(), core.client(), core.client()
    follower.subscribe("/queue/a", browser="true", browser_end="false")
    consumer.subscribe("/queue/a", "client-individual")
    producer.send("/queue/a", "x", delay="1000")
    producer.send("/queue/a", "gone", delay="1000", ttl="500")
    assert follower.bodies() == []
    core.tick(1.0)
    consumer.nack(consumer.messages(1)[0], delay="1000")
    core.tick(1.0)
    consumer.nack(consumer.messages(1)[0])
    assert consumer.bodies() == ["x"]
    assert follower.bodies() == ["x"]


def test_a_browser_of_many_queues_ends_once(core: Core) -> None:
    """A wildcard: copies of each queue that there is, one end; one that follows sees new queues."""
    producer, browser, follower = core.client(), core.client(), core.client()
    for name in ("a", "b"):
        publish(producer, f"/queue/x.{name}", [name])
    browser.subscribe("/queue/x.*", browser="true")
    follower.subscribe("/queue/x.*", browser="true", browser_end="false")
    assert _split(browser.take())[0] == ["a", "b"]
    publish(producer, "/queue/x.c", ["c"])
    assert browser.take() == []
    assert follower.bodies() == ["a", "b", "c"]
    follower.close()
    browser.close()
    assert not core.broker.host("/").queues["/queue/x.c"].followers


def test_a_slow_browser_is_filled_up_as_it_reads() -> None:
    """A large queue waits for room in the browser's buffer; nobody is paced, nobody is closed."""
    core = Core(settings(outbox_high=4000, slow_consumer_grace=1.0))
    producer, browser = core.client(), core.client()
    publish(producer, "/queue/a", [f"{number:0500}" for number in range(100)])
    browser.reading = False
    browser.subscribe("/queue/a", browser="true")
    core.tick(10.0)
    assert browser.session.outbox.size < 8000
    assert producer.alive()
    bodies: list[str] = []
    for _ in range(1000):
        browser.read_some()
        frames = browser.take()
        bodies += [frame.text for frame in frames if frame.body]
        if frames and frames[-1].get("browser") == "end":
            break
    assert bodies == [f"{number:0500}" for number in range(100)]


def test_a_follower_that_does_not_read_is_dropped_from() -> None:
    """It never slows a producer down: what it has no room for is dropped and counted."""
    core = Core(settings(outbox_high=2000))
    producer, browser = core.client(), core.client()
    browser.subscribe("/queue/a", browser="true", browser_end="false")
    browser.reading = False
    publish(producer, "/queue/a", [f"{number:0500}" for number in range(20)])
    assert producer.alive()
    (subscription,) = browser.session.subscriptions.values()
    assert subscription.dropped > 0
    browser.read_again()
    seen = browser.bodies()
    assert seen == [f"{number:0500}" for number in range(20)][: len(seen)]
    assert len(seen) + subscription.dropped == 20


def test_a_topic_cannot_be_browsed(core: Core) -> None:
    """It holds nothing: ERROR says so."""
    browser = core.client()
    browser.subscribe("/topic/a", browser="true")
    assert browser.error()["message"] == "nothing to browse"


def test_a_browser_alone_keeps_no_queue() -> None:
    """A queue that is only looked at goes like any idle one; a follower keeps it."""
    core = Core(settings(auto_delete_after=1.0))
    browser, follower = core.client(), core.client()
    browser.subscribe("/queue/a", browser="true")
    follower.subscribe("/queue/b", browser="true", browser_end="false")
    core.tick(5.0)
    core.tick(5.0)
    assert list(core.broker.host("/").queues) == ["/queue/b"]


def test_expired_messages_are_not_shown() -> None:
    """A browser sees what a consumer could get."""
    core = Core(settings({"/queue/a": Policy()}))
    producer, browser = core.client(), core.client()
    producer.send("/queue/a", "x", ttl="1000")
    producer.send("/queue/a", "y")
    core.now = 2.0
    browser.subscribe("/queue/a", browser="true")
    assert _split(browser.take())[0] == ["y"]
