"""Priorities: higher first, first come first served within one."""

import pytest
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy


def _mix(producer: Client) -> None:
    for number, priority in enumerate(["", "9", "0", "4", "9", "255", "1", ""]):
        headers = {"priority": priority} if priority else {}
        producer.send("/queue/a", f"{number}:{priority}", **headers)


def test_the_higher_priority_comes_first(core: Core) -> None:
    """A backlog is delivered by priority; a message without one has priority 4."""
    _mix(core.client())
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["5:255", "1:9", "4:9", "0:", "3:4", "7:", "6:1", "2:0"]


def test_the_header_is_passed_on(core: Core) -> None:
    """MESSAGE carries the priority that the sender wrote, and none if it wrote none."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    producer.send("/queue/a", "x", priority=" 7")
    producer.send("/queue/a", "y")
    assert [message.get("priority") for message in consumer.messages(2)] == [" 7", None]


@pytest.mark.parametrize("priority", ["-1", "256", "high", "1.5"])
def test_a_priority_out_of_range_is_an_error(core: Core, priority: str) -> None:
    """0 to 255, and nothing else."""
    producer = core.client()
    producer.send("/queue/a", "x", priority=priority)
    assert "priority" in producer.error()["message"]


def test_a_priority_beside_a_dedup_id(core: Core) -> None:
    """What is asked for on the way in leaves the rest as it is."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "low", priority="1", dedup_id="1")
    producer.send("/queue/a", "high", priority="9", dedup_id="2")
    producer.send("/queue/a", "high", priority="9", dedup_id="2")
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["high", "low"]


def test_credit_goes_to_the_highest_first(core: Core) -> None:
    """Each ACK brings the most urgent of what waits at that moment."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    producer.send("/queue/a", "first", priority="1")
    first = consumer.messages(1)[0]
    producer.send("/queue/a", "low", priority="2")
    producer.send("/queue/a", "high", priority="8")
    producer.send("/queue/a", "normal")
    for expected in ("high", "normal", "low"):
        consumer.ack(first)
        first = consumer.messages(1)[0]
        assert first.text == expected


def test_a_returned_message_comes_first_within_its_priority(core: Core) -> None:
    """A NACKed message takes its old place, behind what is more urgent."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    for body in numbers(1, 3):
        producer.send("/queue/a", body, priority="5")
    producer.send("/queue/a", "urgent", priority="6")
    one = consumer.messages(1)[0]
    consumer.nack(one)
    urgent = consumer.messages(1)[0]
    assert urgent.text == "urgent"
    consumer.ack(urgent)
    assert consumer.messages(1)[0].text == "1"


def test_a_queue_is_plain_again_when_nothing_special_came_for_a_while(core: Core) -> None:
    """What was special is forgotten once the queue was empty without it for a second."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "x", priority="9")
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.assignment is not None
    assert repr(queue.assignment) == "<Assignment of /queue/a waiting=1 in line=0>"
    consumer.subscribe("/queue/a", "client-individual")
    (message,) = consumer.messages(1)
    assert queue.assignment is not None
    core.tick(2.0)
    consumer.ack(message)
    other = core.client()
    other.subscribe("/queue/a")
    assert queue.assignment is None
    publish(producer, "/queue/a", numbers(1, 4))
    assert (consumer.bodies(), other.bodies()) == (["1", "3"], ["2", "4"])


def test_all_priorities_at_once(core: Core) -> None:
    """256 of them, in order, and again when the lanes of most were given up."""
    producer, consumer = core.client(), core.client()
    for _ in range(2):
        for priority in range(256):
            producer.send("/queue/a", str(priority), priority=str(priority))
        consumer.subscribe("/queue/a")
        assert consumer.bodies() == [str(priority) for priority in range(255, -1, -1)]
        consumer("UNSUBSCRIBE", id="0")


def test_an_overflow_drops_the_oldest_of_the_lowest_priority() -> None:
    """Under `drop-head` what is urgent stays."""
    core = Core(settings({"/queue/a": Policy(max_messages=2, overflow="drop-head")}))
    producer = core.client()
    for body, priority in (("low", "1"), ("high", "9"), ("lower", "0"), ("higher", "10")):
        producer.send("/queue/a", body, priority=priority)
    consumer = core.client()
    consumer.subscribe("/queue/#")
    assert sorted(consumer.bodies()) == ["high", "higher", "low", "lower"]
    rows = {queue.name: queue.put_count for queue in core.broker.host("/").queues.values()}
    assert rows == {"/queue/a": 4, "/queue/DLQ.a": 2}


def test_overflow_with_everything_delivered() -> None:
    """Where nothing waits there is nothing to drop, by priority either."""
    core = Core(settings({"/queue/a": Policy(max_messages=1, overflow="drop-head")}))
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client-individual", consumer_priority="1")
    publish(producer, "/queue/a", numbers(1, 3))
    assert consumer.bodies() == numbers(1, 3)


def test_dead_letters_keep_their_priority(core: Core) -> None:
    """The urgent failure is seen first in the dead-letter queue."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "low", priority="1")
    producer.send("/queue/a", "high", priority="9")
    producer.send("/queue/a", "plain")
    consumer.subscribe("/queue/a", "client-individual")
    for message in reversed(consumer.messages(3)):
        consumer.nack(message, requeue="false")
    consumer.subscribe("/queue/DLQ.a", id="1")
    assert consumer.bodies() == ["high", "plain", "low"]


def test_priorities_beside_a_tail_in_the_store() -> None:
    """What is urgent goes before a tail; the normal ones keep their order."""
    core = PagedCore(settings(window_messages=4))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 10))
    producer.send("/queue/a", "urgent", priority="9")
    producer.send("/queue/a", "idle", priority="0")
    producer.send("/queue/a", "late", expires="99999999")
    publish(producer, "/queue/a", numbers(11, 12))
    consumer.subscribe("/queue/a")
    core.answer_all()
    # The lowest lane waits while the store is asked, and is served when nothing else is there.
    bodies = consumer.bodies()
    assert bodies[0] == "urgent"
    assert [body for body in bodies if body not in ("urgent", "idle")] == [
        *numbers(1, 10),
        "late",
        "11",
        "12",
    ]
    assert sorted(bodies) == sorted([*numbers(1, 12), "urgent", "idle", "late"])
