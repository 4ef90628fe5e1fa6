"""What a subscriber of a topic may ask for, and what SEND may: selector, no-local, time, dedup."""

import pytest
from broker.client import Core, numbers, publish, settings

TOPIC = "/topic/a"


# Selectors.


def test_a_selector_filters_copies(core: Core) -> None:
    """Each subscription gets what it wants, in order; the others are not disturbed."""
    small, big, every, publisher = (core.client() for _ in range(4))
    small.subscribe(TOPIC, selector="n < 3")
    big.subscribe("/topic/#", selector="n >= 3")
    every.subscribe(TOPIC)
    for number in numbers(1, 5):
        publisher.send(TOPIC, number, n=number)
    publish(publisher, TOPIC, ["without"])
    assert small.bodies() == ["1", "2"]
    assert big.bodies() == ["3", "4", "5"]
    assert every.bodies() == [*numbers(1, 5), "without"]


def test_a_selector_sees_large_messages_too(core: Core) -> None:
    """The body's size makes no difference."""
    subscriber, publisher = core.client(), core.client()
    subscriber.subscribe(TOPIC, selector="n = 1")
    for number in ("1", "2"):
        publisher.send(TOPIC, number * 50_000, n=number)
    assert [body[0] for body in subscriber.bodies()] == ["1"]


def test_the_topic_is_plain_again_without_them(core: Core) -> None:
    """When the last one who chooses has left, publishing is a plain loop."""
    one, two, every = core.client(client_id="me"), core.client(), core.client()
    every.subscribe(TOPIC)
    one.subscribe(TOPIC, selector="n = 1")
    two.subscribe(TOPIC, no_local="true")
    one.subscribe(TOPIC, id="1", durable="true")
    topic = core.broker.host("/").topics[TOPIC]
    assert topic.special
    one("UNSUBSCRIBE", id="0")
    assert topic.special
    two.close()
    assert topic.special
    one("UNSUBSCRIBE", id="1", durable="true")
    assert not topic.special
    publish(one, TOPIC, ["x"])
    assert every.bodies() == ["x"]


def test_what_nobody_wants_pauses_nobody() -> None:
    """A slow subscriber holds only what it wants, and only who sent that waits."""
    core = Core(settings(outbox_high=1000, slow_consumer="block"))
    slow, one, two = core.client(), core.client(), core.client()
    slow.subscribe(TOPIC, selector="n = 1")
    slow.reading = False
    publish(one, TOPIC, ["x" * 2000] * 3, n="1")
    publish(two, TOPIC, ["y" * 2000] * 3, n="2")
    assert one.session.paused
    assert not two.session.paused
    slow.read_again()
    assert len(slow.messages()) == 3


# no-local.


@pytest.mark.parametrize("header", ["no-local", "activemq.noLocal"])
@pytest.mark.parametrize("destination", [TOPIC, "/topic/#"])
def test_no_local_suppresses_ones_own(core: Core, header: str, destination: str) -> None:
    """Not those of others, and not on a subscription beside it that does not ask for it."""
    client, other = core.client(), core.client()
    client.subscribe(destination, id="0", **{header: "true"})
    client.subscribe(destination, id="1")
    publish(client, TOPIC, ["mine"])
    publish(other, TOPIC, ["yours"])
    assert sorted((m["subscription"], m.text) for m in client.messages()) == [
        ("0", "yours"),
        ("1", "mine"),
        ("1", "yours"),
    ]


def test_no_local_in_a_transaction_and_later(core: Core) -> None:
    """A message that comes with COMMIT, or after a delay, is still one's own."""
    client, other = core.client(), core.client()
    client.subscribe(TOPIC, no_local="true")
    for one in (client, other):
        one("BEGIN", transaction="t")
        one.send(TOPIC, f"commit {one.session.id}", transaction="t")
        one.send(TOPIC, f"later {one.session.id}", delay="1000")
        one("COMMIT", transaction="t")
    core.tick(1.0)
    assert client.bodies() == [f"commit {other.session.id}", f"later {other.session.id}"]


def test_no_local_on_a_queue_means_nothing(core: Core) -> None:
    """There a message has one taker, whoever sent it."""
    client = core.client()
    client.subscribe("/queue/a", no_local="true")
    publish(client, "/queue/a", ["x"])
    assert client.bodies() == ["x"]


def test_no_local_with_a_selector(core: Core) -> None:
    """Both have to let a message through."""
    client, other = core.client(), core.client()
    client.subscribe(TOPIC, no_local="true", selector="n = 1")
    for number in ("1", "2"):
        client.send(TOPIC, f"mine {number}", n=number)
        other.send(TOPIC, f"yours {number}", n=number)
    assert client.bodies() == ["yours 1"]


# Browsing.


def test_a_topic_cannot_be_browsed(core: Core) -> None:
    """It holds nothing; the ERROR says what to browse."""
    client = core.client()
    client.subscribe(TOPIC, browser="true")
    error = client.error()
    assert error["message"] == "nothing to browse"
    assert error.text == '"/topic/a" is a topic, which holds no messages; browse a queue\n'


# Time.


def test_who_is_subscribed_when_it_is_due_gets_it(core: Core) -> None:
    """Not who was when it was sent and has left; a durable subscription keeps it."""
    before, durable, publisher = core.client(), core.client(client_id="me"), core.client()
    before.subscribe(TOPIC)
    durable.subscribe(TOPIC, durable="true")
    durable("DISCONNECT")
    publisher.send(TOPIC, "x", delay="1000")
    publisher("DISCONNECT")
    before("UNSUBSCRIBE", id="0")
    after = core.client()
    after.subscribe(TOPIC)
    core.tick(1.0)
    assert before.bodies() == []
    assert after.bodies() == ["x"]
    durable = core.client(client_id="me")
    durable.subscribe(TOPIC, durable="true")
    assert durable.bodies() == ["x"]


def test_a_topic_that_delays_does_not_go(core: Core) -> None:
    """Though nobody is there; when nothing is due any more it does."""
    publisher, subscriber = core.client(), core.client()
    publisher.send(TOPIC, "x", delay="2000000")
    publisher.send(TOPIC, "y", delay="1000000")
    core.tick(1500.0)
    subscriber.subscribe(TOPIC)
    core.tick(600.0)
    assert subscriber.bodies() == ["x"]
    subscriber.close()
    for _ in range(3):
        core.tick(300.0)
    assert not core.broker.host("/").topics


def test_a_topic_that_ends_publishes_nothing_more(core: Core) -> None:
    """What a temporary topic delayed is gone with its owner."""
    owner, other = core.client(), core.client()
    owner.subscribe("/temp-topic/a")
    other.send(f"/remote-temp-topic/{owner.session.id}/a", "x", delay="1000")
    owner.close()
    core.tick(1.0)
    assert other.alive()


def test_an_expired_message_is_published_to_nobody(core: Core) -> None:
    """``expires`` in the past; it is no error."""
    core = Core(epoch=1000.0)
    subscriber = core.client()
    subscriber.subscribe(TOPIC)
    subscriber.send(TOPIC, "x", expires="999999", receipt="r")
    assert subscriber.receipts() == ["r"]


def test_copies_that_wait_for_room_expire(core: Core) -> None:
    """A slow subscriber gets what is still valid when it has room."""
    core = Core(settings(outbox_high=1000, slow_consumer="block"))
    slow, publisher = core.client(), core.client()
    slow.subscribe(TOPIC)
    slow.reading = False
    publish(publisher, TOPIC, ["x" * 2000])
    publish(publisher, TOPIC, ["gone"], ttl="1000")
    core.tick(2.0)
    slow.read_again()
    publish(publisher, TOPIC, ["y"])
    assert [body[0] for body in slow.bodies()] == ["x", "y"]


# De-duplication.


def test_the_second_of_a_dedup_id_goes_nowhere(core: Core) -> None:
    """It gets its RECEIPT; other topics and queues have windows of their own."""
    subscriber, publisher = core.client(), core.client()
    subscriber.subscribe("/topic/#", id="0")
    subscriber.subscribe("/queue/a", id="1")
    for destination in (TOPIC, TOPIC, "/topic/b", "/queue/a", "/queue/a"):
        publish(publisher, destination, [destination], dedup_id="1", receipt="r")
    publish(publisher, TOPIC, ["other"], dedup_id="2")
    assert subscriber.bodies() == [TOPIC, "/topic/b", "/queue/a", "other"]
    assert publisher.receipts() == ["r"] * 5
    host = core.broker.host("/")
    assert host.topics[TOPIC].repeated_count == 1
    assert host.queues["/queue/a"].repeated_count == 1


@pytest.mark.parametrize("destination", [TOPIC, "/queue/a"])
def test_the_window_of_time(destination: str) -> None:
    """An id is forgotten when its window is over, which a repetition does not prolong."""
    core = Core(settings(dedup_window=10.0))
    subscriber = core.client()
    subscriber.subscribe(destination)
    publish(subscriber, destination, ["1"], dedup_id="a")
    core.tick(9.0)
    publish(subscriber, destination, ["2"], dedup_id="a")
    core.tick(1.0)
    publish(subscriber, destination, ["3"], dedup_id="a")
    assert subscriber.bodies() == ["1", "3"]


def test_the_window_of_ids() -> None:
    """The oldest are forgotten when there are more than the policy allows."""
    core = Core(settings(dedup_ids=2))
    subscriber = core.client()
    subscriber.subscribe(TOPIC)
    for dedup_id in "abccab":
        publish(subscriber, TOPIC, [dedup_id], dedup_id=dedup_id)
    assert subscriber.bodies() == ["a", "b", "c", "a", "b"]
    core = Core(settings(dedup_ids=0))
    subscriber = core.client()
    subscriber.subscribe(TOPIC)
    for dedup_id in "aa":
        publish(subscriber, TOPIC, [dedup_id], dedup_id=dedup_id)
    assert subscriber.bodies() == ["a", "a"]


@pytest.mark.parametrize("destination", [TOPIC, "/queue/a"])
def test_an_idle_destination_remembers(destination: str) -> None:
    """It does not go before its window is over, and it goes then."""
    core = Core(settings(auto_delete_after=10.0, dedup_window=100.0))
    subscriber, publisher = core.client(), core.client()
    subscriber.subscribe(destination)
    publish(publisher, destination, ["1"], dedup_id="a")
    subscriber("UNSUBSCRIBE", id="0")
    for _ in range(9):
        core.tick(10.0)
    publish(publisher, destination, ["2"], dedup_id="a")
    subscriber.subscribe(destination)
    assert subscriber.bodies() == ["1"]
    subscriber.close()
    for _ in range(3):
        core.tick(10.0)
    host = core.broker.host("/")
    assert not host.topics
    assert not host.queues


def test_a_refused_message_may_come_again() -> None:
    """What got an ERROR, or was aborted, did not happen."""
    core = Core(settings(max_messages=1, overflow="reject"))
    first, second, consumer = core.client(), core.client(), core.client()
    publish(first, "/queue/a", ["full"])
    publish(first, "/queue/a", ["1"], dedup_id="a")
    assert first.error()["message"] == "queue is full"
    consumer.subscribe("/queue/a")
    second("BEGIN", transaction="t")
    publish(second, "/queue/a", ["2"], dedup_id="a", transaction="t")
    second("ABORT", transaction="t")
    publish(second, "/queue/a", ["3"], dedup_id="a")
    assert consumer.bodies() == ["full", "3"]


def test_a_durable_subscription_gets_what_is_not_repeated(core: Core) -> None:
    """The topic has dropped the repetition before."""
    client = core.client(client_id="me")
    client.subscribe(TOPIC, durable="true")
    client("UNSUBSCRIBE", id="0")
    publish(client, TOPIC, ["1"], dedup_id="a")
    publish(client, TOPIC, ["2"], dedup_id="a")
    client.subscribe(TOPIC, durable="true")
    assert client.bodies() == ["1"]


def test_a_delayed_message_is_repeated_from_its_send_on(core: Core) -> None:
    """The id is remembered when the SEND comes, not when the message is due."""
    client = core.client()
    client.subscribe(TOPIC)
    publish(client, TOPIC, ["1"], dedup_id="a", delay="1000")
    publish(client, TOPIC, ["2"], dedup_id="a")
    core.tick(1.0)
    assert client.bodies() == ["1"]
