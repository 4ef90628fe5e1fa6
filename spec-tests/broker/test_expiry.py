"""Expiry: what is too old is never delivered."""

import pytest
from broker.client import Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy

_EPOCH = 1_700_000_000.0


@pytest.fixture
def core() -> Core:
    """A broker whose time began at a known moment."""
    return Core(epoch=_EPOCH)


@pytest.mark.parametrize(
    "headers",
    [
        {"ttl": "5000"},
        {"expiration": "5000"},
        {"expires": str(int(_EPOCH * 1000) + 5000)},
        {"ttl": "5000", "expires": str(int(_EPOCH * 1000) + 9000)},
        {"ttl": "9000", "expires": str(int(_EPOCH * 1000) + 5000)},
    ],
)
def test_a_message_is_gone_when_its_time_is_over(core: Core, headers: dict[str, str]) -> None:
    """Relative or absolute, and the earlier one if both: after five seconds nobody gets it."""
    producer, early, late = core.client(), core.client(), core.client()
    producer.send("/queue/a", "x", **headers)
    producer.send("/queue/a", "stays")
    core.tick(4.9)
    early.subscribe("/queue/a", "client", prefetch_count="1")
    message = early.messages(1)[0]
    assert message.text == "x"
    assert message["expires"] == str(int(_EPOCH * 1000) + 5000)
    producer.send("/queue/b", "x", **headers)
    core.tick(9.2)
    late.subscribe("/queue/b")
    assert late.bodies() == []
    queue = core.broker.host("/").queues["/queue/b"]
    assert (queue.depth, queue.octets, queue.expired_count) == (0, 0, 1)


def test_it_goes_without_anybody_looking(core: Core) -> None:
    """Expired messages free their memory at once, not when somebody subscribes."""
    producer = core.client()
    for number in numbers(1, 10):
        producer.send("/queue/a", number, ttl=f"{number}000")
    queue = core.broker.host("/").queues["/queue/a"]
    for left in range(9, -1, -1):
        core.tick(1.0)
        assert queue.depth == left


@pytest.mark.parametrize("value", ["0", "", " "])
def test_no_time_means_no_end(core: Core, value: str) -> None:
    """0 and an empty value: it never expires, and MESSAGE says nothing else than the sender."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "x", expires=value)
    producer.send("/queue/a", "y", ttl=value)
    core.tick(1e9)
    consumer.subscribe("/queue/a")
    assert [message.get("expires") for message in consumer.messages(2)] == [value, None]


def test_what_is_expired_on_arrival_goes_nowhere(core: Core) -> None:
    """It gets its RECEIPT, for it was carried out; a subscriber does not get it."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    consumer.subscribe("/topic/a", id="1")
    producer.send("/queue/a", "x", expires="1", receipt="r")
    producer.send("/topic/a", "x", expires="1", receipt="s")
    assert producer.receipts() == ["r", "s"]
    assert consumer.bodies() == []
    assert core.broker.host("/").queues["/queue/a"].expired_count == 1


def test_a_delivered_message_may_be_settled_after_its_time(core: Core) -> None:
    """Time ends delivery, not what was delivered; but what comes back too late is gone."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "x", ttl="1000")
    producer.send("/queue/a", "y", ttl="1000")
    consumer.subscribe("/queue/a", "client-individual")
    one, two = consumer.messages(2)
    core.tick(5.0)
    consumer.ack(one)
    consumer.nack(two)
    assert consumer.bodies() == []
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.depth, queue.unsettled, queue.octets) == (0, 0, 0)


def test_expired_messages_can_become_dead_letters() -> None:
    """A policy may want to see them."""
    core = Core(settings({"/queue/a": Policy(expired="dead-letter")}), epoch=_EPOCH)
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "x", ttl="1000", persistent="true")
    producer.send("/queue/a", "y", expires="1")
    core.tick(2.0)
    consumer.subscribe("/queue/DLQ.a")
    late, waited = consumer.messages(2)
    assert (late.text, waited.text) == ("y", "x")
    for letter in (late, waited):
        assert letter["dead-letter-reason"] == "expired"
        assert letter["original-destination"] == "/queue/a"
        assert letter["delivery-count"] == "0"
    core.tick(1e6)
    assert core.queue("/queue/DLQ.a").startswith("<Queue /queue/DLQ.a ready=0 unsettled=0")


def test_max_age_expires_whatever_the_sender_says() -> None:
    """The policy's age is the longest; a shorter time of the sender counts."""
    core = Core(settings({"/queue/a": Policy(max_age=10.0)}), epoch=_EPOCH)
    producer = core.client()
    producer.send("/queue/a", "plain")
    producer.send("/queue/a", "long", ttl="60000")
    producer.send("/queue/a", "short", ttl="3000")
    queue = core.broker.host("/").queues["/queue/a"]
    depths = []
    for _ in range(4):
        core.tick(2.75)
        depths.append(queue.depth)
    assert depths == [3, 2, 2, 0]


def test_max_age_runs_from_when_a_delayed_message_is_due() -> None:
    """What is not due does not wait yet; a time of the sender's runs from its SEND on."""
    core = Core(settings({"/queue/a": Policy(max_age=10.0)}), epoch=_EPOCH)
    producer = core.client()
    producer.send("/queue/a", "plain", delay="20000")
    producer.send("/queue/a", "short", delay="20000", ttl="25000")
    queue = core.broker.host("/").queues["/queue/a"]
    depths = []
    for _ in range(8):
        core.tick(4.0)
        depths.append(queue.depth)
    assert depths == [0, 0, 0, 0, 2, 2, 1, 0]


def test_expired_messages_are_passed_over_when_the_broker_is_late(core: Core) -> None:
    """Time that nobody has told the broker about by `tick`: delivery looks itself."""
    producer, consumer = core.client(), core.client()
    for body in numbers(1, 3):
        producer.send("/queue/a", body, ttl="1000")
        producer.send("/queue/a", f"{body}x", x="1")
    core.now = 5.0
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["1x", "2x", "3x"]
    for body in numbers(1, 3):
        producer.send("/queue/b", body, ttl="1000", x="1")
    producer.send("/queue/b", "stays", x="1")
    core.now = 9.0
    consumer.subscribe("/queue/b", id="1", selector="x = 1")
    assert consumer.bodies() == ["stays"]
    assert core.broker.host("/").queues["/queue/b"].expired_count == 3


def test_many_that_expire_at_once_are_done_in_turns(core: Core) -> None:
    """A thousand in one go, and the rest right behind; no other connection waits for them."""
    producer = core.client()
    for number in numbers(1, 2500):
        producer.send("/queue/a", number, ttl="1000")
    queue = core.broker.host("/").queues["/queue/a"]
    core.tick(1.0)
    assert queue.depth == 1500
    core.tick(0.01)
    core.tick(0.01)
    assert queue.depth == 0


def test_a_slow_topic_subscriber_is_spared_what_expired(core: Core) -> None:
    """What waited for room in its buffer and is too old is left out."""
    core.broker.settings = settings(outbox_high=2000, slow_consumer="block")
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/topic/a")
    consumer.reading = False
    producer.send("/topic/a", "x" * 3000)
    producer.send("/topic/a", "old", ttl="1000")
    producer.send("/topic/a", "new")
    core.tick(2.0)
    consumer.read_again()
    assert [body[:3] for body in consumer.bodies()] == ["xxx", "new"]


def test_expiry_makes_room_for_who_waits() -> None:
    """A producer that a full queue holds up goes on when messages expire."""
    core = Core(settings({"/queue/a": Policy(max_messages=1)}), epoch=_EPOCH)
    producer = core.client()
    producer.send("/queue/a", "x", ttl="1000")
    producer.send("/queue/a", "y", ttl="1000")
    producer.send("/queue/a", "z")
    assert producer.session.paused
    core.tick(2.0)
    assert not producer.session.paused
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["z"]


def test_what_the_store_keeps_expires_when_it_comes_back() -> None:
    """A tail in the store brings its messages' terms along."""
    core = PagedCore(settings(window_messages=2))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 4))
    producer.send("/queue/a", "5", ttl="1000")
    producer.send("/queue/a", "6", ttl="9000")
    core.tick(2.0)
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == ["1", "2", "3", "4", "6"]
    assert core.paging.count == 0


def test_every_version_is_told_when_it_expires(core: Core) -> None:
    """Also where the sender's headers have to be written anew for the receiver's version."""
    consumers = [core.client(version) for version in ("1.0", "1.1", "1.2")]
    for number, consumer in enumerate(consumers):
        consumer.subscribe("/topic/a", id=str(number))
    producer = core.client()
    told = str(int(_EPOCH * 1000) + 5000)
    for body in ("small", "large" * 4000):
        producer.send("/topic/a", body, ttl="5000", x="a:b")
        producer.send("/topic/a", body, ttl="5000", x="ab")
        producer.send("/topic/a", body, ttl="5000", x="ab", expires="0")
        for consumer in consumers:
            messages = consumer.messages(3)
            assert {message["expires"] for message in messages} == {told}
            assert {message.text for message in messages} == {body}
