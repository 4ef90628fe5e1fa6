"""Full queues: block their producers, reject what is too much, or drop what is oldest."""

from dataclasses import replace
from typing import Any

import pytest
from broker.client import Core, numbers, publish, settings

from stompd.broker import admin
from stompd.broker.policy import Policy
from stompd.broker.session import CloseReason


def _waiting(core: Core, name: str = "/queue/a") -> int:
    return core.broker.host("/").queues[name].depth


# Block.


def test_block_pauses_the_producer_until_there_is_room() -> None:
    """The message that overflows is taken, what follows waits unread, nothing is lost."""
    core = Core(settings(max_messages=3, overflow="block"))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 10))
    assert (_waiting(core), producer.waiting) == (4, 6)
    assert producer.session.paused
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    got = []
    for _ in range(10):
        message = consumer.messages(1)[0]
        got.append(message.text)
        consumer.ack(message)
    assert got == numbers(1, 10)
    assert not producer.session.paused
    assert producer.alive()


def test_block_counts_octets() -> None:
    """The limit in octets works like that in messages."""
    core = Core(settings(max_bytes=1000, overflow="block"))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", ["x" * 400] * 5)
    assert (_waiting(core), producer.waiting) == (3, 2)
    consumer.subscribe("/queue/a")
    assert len(consumer.messages()) == 5


def test_block_pauses_every_producer_of_the_queue_and_nobody_else() -> None:
    """Each of them goes on when there is room; a producer of another queue never waited."""
    core = Core(settings(max_messages=1, overflow="block"))
    one, two, other, consumer = (core.client() for _ in range(4))
    for producer in (one, two):
        publish(producer, "/queue/a", numbers(1, 3), receipt="r")
    publish(other, "/queue/b", ["x"], receipt="r")
    assert other.receipts() == ["r"]
    assert one.receipts() == ["r", "r"]
    assert two.receipts() == ["r"]
    assert admin.queues(core.broker)[0]["paused_producers"] == 2
    consumer.subscribe("/queue/a", "client-individual")
    while messages := consumer.messages():
        for message in messages:
            consumer.ack(message)
    assert one.receipts() == ["r"]
    assert two.receipts() == ["r", "r"]
    assert admin.queues(core.broker)[0]["paused_producers"] == 0


@pytest.mark.parametrize("way", ["ack", "nack", "auto", "commit"])
def test_block_ends_by_whatever_makes_room(way: str) -> None:
    """ACK, a NACK to the dead letters, a delivery in mode auto, a COMMIT."""
    core = Core(settings(max_messages=1, overflow="block"))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 3))
    assert producer.session.paused
    consumer.subscribe("/queue/a", "auto" if way == "auto" else "client")
    messages = consumer.messages()
    if way == "ack":
        consumer.ack(messages[-1])
    elif way == "nack":
        consumer.nack(messages[-1], requeue="false")
    elif way == "commit":
        consumer("BEGIN", transaction="t")
        consumer.ack(messages[-1], transaction="t")
        assert producer.session.paused
        consumer("COMMIT", transaction="t")
    assert not producer.session.paused
    assert producer.waiting == 0


def test_a_paused_producer_that_leaves_is_forgotten() -> None:
    """The queue wakes nobody for it later."""
    core = Core(settings(max_messages=1, overflow="block"))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 3))
    producer.close()
    assert admin.queues(core.broker)[0]["paused_producers"] == 0
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["1", "2"]


def test_the_end_of_a_temporary_queue_lets_its_producers_go() -> None:
    """Who waited for room there goes on; what it sends there is dropped."""
    core = Core(settings(max_messages=1, overflow="block"))
    owner, producer = core.client(), core.client()
    owner.subscribe("/temp-queue/a", "client", prefetch_count="1")
    publish(producer, f"/remote-temp-queue/{owner.session.id}/a", numbers(1, 5), receipt="r")
    assert producer.session.paused
    owner.close()
    assert not producer.session.paused
    assert producer.receipts() == ["r"] * 5


@pytest.mark.clause("R-07")
def test_what_a_paused_producer_wrote_before_it_ended_is_carried_out() -> None:
    """Over the limit if need be: its own unsettled messages may be what there is no room for."""
    core = Core(settings({"/queue/a": Policy(max_messages=1)}, outbox_high=1000))
    client, slow = core.client(), core.client()
    slow.subscribe("/topic/a")
    slow.reading = False
    client.subscribe("/queue/a", "client")
    for number in numbers(1, 3):
        client.send("/queue/a", number)
        client.send("/topic/a", LARGE)
    assert client.waiting == 3
    client.half_close()
    assert client.waiting == 0
    assert admin.queues(core.broker)[0]["paused_producers"] == 0
    client.close()
    assert _waiting(core) == 3
    slow.read_again()
    assert len(slow.messages()) == 3


def test_a_commit_may_overflow_and_pauses_afterwards() -> None:
    """A transaction is carried out whole; then its sender waits."""
    core = Core(settings(max_messages=2, overflow="block"))
    producer = core.client()
    producer("BEGIN", transaction="t")
    publish(producer, "/queue/a", numbers(1, 5), transaction="t")
    producer("COMMIT", transaction="t", receipt="c")
    assert producer.receipts() == ["c"]
    assert _waiting(core) == 5
    assert producer.session.paused


def test_a_message_that_is_taken_at_once_pauses_nobody() -> None:
    """With a consumer that keeps up, a queue of one message never blocks."""
    core = Core(settings(max_messages=1, overflow="block"))
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    publish(producer, "/queue/a", numbers(1, 50))
    assert consumer.bodies() == numbers(1, 50)
    assert not producer.session.paused


def test_dead_letters_enter_a_full_queue() -> None:
    """Nobody is paused for a dead letter, and none is lost."""
    core = Core(settings(max_messages=2, overflow="block"))
    publish(core.client(), "/queue/DLQ.a", numbers(1, 2))
    publish(core.client(), "/queue/a", ["x"])
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    consumer.nack(consumer.messages(1)[0], requeue="false", receipt="r")
    assert consumer.receipts() == ["r"]
    assert _waiting(core, "/queue/DLQ.a") == 3


# Reject.


@pytest.mark.clause("S-08")
@pytest.mark.parametrize(
    ("limit", "named"),
    [(Policy(max_messages=2), "2 messages"), (Policy(max_bytes=100), "100 octets")],
)
def test_reject_answers_with_an_error_that_names_the_limit(limit: Policy, named: str) -> None:
    """The message is not queued, the session ends, others go on."""
    core = Core(settings({"/queue/a": replace(limit, overflow="reject")}))
    producer = core.client()
    publish(producer, "/queue/a", ["x" * 20, "y" * 20, "z" * 60])
    error = producer.error()
    assert error["message"] == "queue is full"
    text = error.body.decode()
    assert "/queue/a" in text
    assert named in text
    assert "None" not in text
    assert _waiting(core) == 2
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert len(consumer.messages()) == 2
    publish(core.client(), "/queue/a", ["z"])
    assert consumer.bodies() == ["z"]


def test_reject_counts_what_is_delivered_and_not_settled() -> None:
    """A consumer that holds everything makes no room."""
    core = Core(settings(max_messages=2, overflow="reject"))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", numbers(1, 2))
    producer = core.client()
    producer.send("/queue/a", "3", receipt="r")
    assert producer.error()["receipt-id"] == "r"
    consumer.ack(consumer.messages(2)[0])
    publish(core.client(), "/queue/a", ["3"])
    assert consumer.bodies() == ["3"]


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_what_goes_nowhere_needs_no_room(kind: str) -> None:
    """A repetition, and what is expired when it comes, have their RECEIPT from a full queue."""
    core = Core(settings(max_messages=1, overflow="reject"), epoch=1000.0)
    producer = core.client()
    producer.subscribe("/topic/a", durable="true")
    producer("UNSUBSCRIBE", id="0")
    name = f"/{kind}/a"
    producer.send(name, "1", dedup_id="1")
    producer.send(name, "again", dedup_id="1", receipt="a")
    producer.send(name, "old", expires="1", receipt="b")
    producer("BEGIN", transaction="t")
    producer.send(name, "again", dedup_id="1", transaction="t")
    producer("COMMIT", transaction="t", receipt="c")
    assert producer.receipts() == ["a", "b", "c"]
    producer.send(name, "late", delay="1000", expires="1", receipt="d")
    assert producer.error()["receipt-id"] == "d"
    other = core.client()
    other.send(name, "2", dedup_id="2", receipt="e")
    assert other.error()["message"] == "queue is full"


def test_dead_letters_enter_a_queue_that_rejects() -> None:
    """Rejecting is for producers; a dead letter has none to answer to."""
    core = Core(settings(max_messages=1, overflow="reject"))
    publish(core.client(), "/queue/DLQ.a", ["1"])
    publish(core.client(), "/queue/a", ["x"])
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    consumer.nack(consumer.messages(1)[0], requeue="false", receipt="r")
    assert consumer.receipts() == ["r"]
    assert _waiting(core, "/queue/DLQ.a") == 2


# Drop the head.


def test_drop_head_keeps_the_youngest() -> None:
    """What is dropped goes to the dead letters, with the reason."""
    core = Core(settings(max_messages=3, overflow="drop-head"))
    publish(core.client(), "/queue/a", numbers(1, 5), receipt="r")
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["3", "4", "5"]
    consumer.subscribe("/queue/DLQ.a", id="dlq")
    letters = consumer.messages(2)
    assert [letter.text for letter in letters] == ["1", "2"]
    assert {letter["dead-letter-reason"] for letter in letters} == {"overflow"}
    assert {letter["delivery-count"] for letter in letters} == {"0"}


def test_drop_head_counts_octets_and_drops_as_many_as_it_takes() -> None:
    """A large message may push out several small ones."""
    core = Core(settings(max_bytes=1000, overflow="drop-head", dead_letter=None))
    publish(core.client(), "/queue/a", ["a" * 200, "b" * 200, "c" * 200, "d" * 700])
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert [message.text[0] for message in consumer.messages()] == ["c", "d"]


def test_drop_head_never_takes_what_is_delivered() -> None:
    """Messages that a consumer holds are its own; what came back is the oldest of the rest."""
    core = Core(settings(max_messages=3, overflow="drop-head", dead_letter=None))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 3))
    consumer.subscribe("/queue/a", "client", id="0", prefetch_count="2")
    held = consumer.messages(2)
    publish(producer, "/queue/a", ["4"])
    consumer("UNSUBSCRIBE", id="0")
    publish(producer, "/queue/a", ["5"])
    other = core.client()
    other.subscribe("/queue/a")
    assert other.bodies() == ["2", "4", "5"]
    assert [message.text for message in held] == ["1", "2"]


def test_drop_head_with_everything_delivered_drops_what_comes() -> None:
    """When consumers hold as much as the queue may have, nothing else is there to drop."""
    core = Core(settings(max_messages=2, overflow="drop-head", dead_letter=None))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="2")
    publish(core.client(), "/queue/a", numbers(1, 4))
    messages = consumer.messages(2)
    assert _waiting(core) == 0
    consumer.ack(messages[1])
    assert consumer.take() == []


def test_drop_head_with_a_window_of_deliveries_over_the_limit() -> None:
    """Even one delivered message that is over the limit by itself leaves the queue working."""
    core = Core(settings(max_bytes=10, overflow="drop-head", dead_letter=None))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["x" * 100, "y"])
    consumer.ack(consumer.messages(2)[-1])
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


def test_the_dead_letters_of_an_overflow_overflow_in_turn() -> None:
    """A dead-letter queue with the same policy keeps the youngest, and has no dead letters."""
    core = Core(settings(max_messages=2, overflow="drop-head"))
    publish(core.client(), "/queue/a", numbers(1, 10))
    assert _waiting(core, "/queue/DLQ.a") == 2
    assert sorted(core.broker.host("/").queues) == ["/queue/DLQ.a", "/queue/a"]
    consumer = core.client()
    consumer.subscribe("/queue/DLQ.a")
    assert consumer.bodies() == ["7", "8"]


# Slow subscribers of topics.

LARGE = "x" * 600


def _slow(core: Core) -> None:
    """Fill the outbox of the first client, which is subscribed and does not read."""
    subscriber, publisher = core.clients[0], core.clients[1]
    subscriber.reading = False
    publish(publisher, "/topic/a", [f"{number}{LARGE}" for number in range(1, 4)])


def _numbers(bodies: list[str]) -> list[str]:
    return [body[0] for body in bodies]


def _slow_core(**policy: Any) -> Core:  # noqa: ANN401
    core = Core(settings(outbox_high=1000, **policy))
    core.client().subscribe("/topic/a", id="s")
    core.client()
    _slow(core)
    return core


def test_a_publisher_is_paced_while_a_subscriber_is_slow() -> None:
    """It waits during the grace, and goes on as soon as the subscriber reads."""
    core = _slow_core()
    subscriber, publisher = core.clients
    assert publisher.session.paused
    publisher.send("/topic/a", "4")
    assert publisher.waiting == 1
    core.tick(1.9)
    subscriber.read_again()
    assert not publisher.session.paused
    assert _numbers(subscriber.bodies()) == numbers(1, 4)
    core.tick(10)
    assert subscriber.alive()


def test_a_slow_subscriber_is_closed_after_the_grace() -> None:
    """With an ERROR that names it; the publisher goes on, and others miss nothing."""
    core = Core(settings(outbox_high=1000))
    core.client().subscribe("/topic/a", id="s")
    publisher, other = core.client(), core.client()
    other.subscribe("/topic/a")
    _slow(core)
    subscriber = core.clients[0]
    publisher.send("/topic/a", "4")
    assert core.tick(1.9) == 2.0
    assert not subscriber.session.over
    core.tick(0.1)
    assert not publisher.session.paused
    assert _numbers(other.bodies()) == numbers(1, 4)
    subscriber.read_again()
    *messages, error = subscriber.take()
    assert [message.text[0] for message in messages] == ["1", "2"]
    assert (error["message"], error["subscription"]) == ("slow consumer", "s")
    assert subscriber.session.reason is CloseReason.SLOW_CONSUMER


def test_drop_oldest_keeps_the_youngest_and_counts() -> None:
    """After the grace publishers are free, and the subscriber loses what is oldest."""
    core = _slow_core(slow_consumer="drop-oldest", slow_consumer_grace=1.0)
    subscriber, publisher = core.clients
    assert publisher.session.paused
    core.tick(1.0)
    assert not publisher.session.paused
    publish(publisher, "/topic/a", [f"{number}{LARGE}" for number in range(4, 10)])
    assert not publisher.session.paused
    row = admin.subscriptions(core.broker)[0]
    assert row["dropped"] + row["held"] == 7
    assert row["held"] <= 2
    subscriber.read_again()
    got = _numbers(subscriber.bodies())
    assert got[:2] == ["1", "2"]
    assert got[-1] == "9"
    assert len(got) == 2 + row["held"]
    publish(publisher, "/topic/a", ["a"])
    assert subscriber.bodies() == ["a"]
    assert admin.subscriptions(core.broker)[0]["dropped"] == row["dropped"]


def test_drop_oldest_keeps_a_message_larger_than_the_mark() -> None:
    """At least the last message is kept, whatever it measures."""
    core = _slow_core(slow_consumer="drop-oldest")
    subscriber, publisher = core.clients
    core.tick(2.0)
    publish(publisher, "/topic/a", ["4" + "y" * 5000])
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == ["1", "2", "4"]


def test_block_paces_for_ever() -> None:
    """Under `block` nobody is closed and nothing is dropped."""
    core = _slow_core(slow_consumer="block")
    subscriber, publisher = core.clients
    publisher.send("/topic/a", "4")
    core.tick(100_000)
    assert publisher.session.paused
    subscriber.read_some(700)
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 4)
    assert not publisher.session.paused


def test_each_slowness_has_a_grace_of_its_own() -> None:
    """Who caught up and falls behind again is not closed for the first time it was slow."""
    core = _slow_core()
    subscriber, publisher = core.clients
    core.tick(1.0)
    subscriber.read_again()
    subscriber.take(3)
    core.tick(0.9)
    _slow(core)
    core.tick(0.2)
    assert not subscriber.session.over
    core.tick(1.7)
    assert not subscriber.session.over
    core.tick(0.2)
    assert subscriber.session.over
    assert publisher.alive()


def test_a_paced_publisher_waits_for_all_slow_subscribers() -> None:
    """It goes on when the last of them has caught up or gone."""
    core = Core(settings(outbox_high=1000))
    one, publisher, two = core.client(), core.client(), core.client()
    for client in (one, two):
        client.subscribe("/topic/a")
        client.reading = False
    _slow(core)
    publisher.send("/topic/a", "4")
    one.read_again()
    assert publisher.session.paused
    two.close()
    assert not publisher.session.paused
    assert _numbers(one.bodies()) == numbers(1, 4)


@pytest.mark.parametrize("end", ["UNSUBSCRIBE", "close"])
def test_a_slow_subscription_that_ends_holds_nobody(end: str) -> None:
    """Its publishers go on, and its grace closes nothing."""
    core = _slow_core()
    subscriber, publisher = core.clients
    if end == "close":
        subscriber.close()
    else:
        subscriber("UNSUBSCRIBE", id="s")
    assert not publisher.session.paused
    core.tick(10)
    assert publisher.alive()
    if end != "close":
        subscriber.read_again()
        subscriber.take(2)
        assert subscriber.alive()


def test_a_paced_publisher_that_leaves_is_forgotten() -> None:
    """The subscriber catches up without it."""
    core = _slow_core()
    subscriber, publisher = core.clients
    publisher.close()
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 3)


def test_a_slow_subscriber_of_its_own_messages_is_closed_as_others_are() -> None:
    """Who publishes to itself without reading has the same grace."""
    core = Core(settings(outbox_high=1000))
    client = core.client()
    client.subscribe("/topic/a")
    client.reading = False
    publish(client, "/topic/a", [LARGE] * 5)
    core.tick(2.0)
    assert client.session.reason is CloseReason.SLOW_CONSUMER


def test_a_slow_subscriber_of_its_own_messages_is_paced_as_others_are() -> None:
    """Nothing it writes without reading piles up in the broker."""
    core = Core(settings(outbox_high=1000, slow_consumer="block"))
    client = core.client()
    client.subscribe("/topic/a")
    client.reading = False
    publish(client, "/topic/a", [f"{number}{LARGE}" for number in range(9)])
    assert client.waiting >= 6
    core.tick(100.0)
    client.read_again()
    assert client.waiting == 0
    assert _numbers(client.bodies()) == numbers(0, 8)
    client.reading = False
    publish(client, "/topic/a", [LARGE] * 5)
    client.close()
    assert core.broker.sessions == {}


@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_what_was_held_comes_in_order_with_what_follows(version: str) -> None:
    """Messages held, and those published while some are held, keep the order of their SENDs."""
    core = Core(settings(outbox_high=1000, slow_consumer="drop-oldest"))
    subscriber, publisher = core.client(version), core.client()
    subscriber.subscribe("/topic/a", "client")
    subscriber.reading = False
    bodies = [f"{number}{LARGE}" for number in range(1, 4)]
    publish(publisher, "/topic/a", bodies)
    subscriber.read_some(100)
    publish(core.client(), "/topic/a", ["4" + "y" * 20_000])
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 4)


def test_a_publishers_turn_ends_with_its_budget() -> None:
    """One write of many SENDs to many subscribers is carried out in parts, all of it."""
    core = Core(settings(work_budget=10))
    subscribers = [core.client() for _ in range(4)]
    for subscriber in subscribers:
        subscriber.subscribe("/topic/#")
    publisher = core.client()
    data = b"".join(b"SEND\ndestination:/topic/a\n\n%d\0" % number for number in range(20))
    frames = publisher._decoder.feed(data)  # noqa: SLF001 - to see where the session stops
    assert publisher.session.receive(frames, 0, 0.0) == 3
    assert publisher.session.halt
    assert publisher.session.receive(frames, 3, 0.0) == 6
    publisher._frames = frames[6:]  # noqa: SLF001
    publisher.write(b"")
    for subscriber in subscribers:
        assert subscriber.bodies() == numbers(0, 19)


@pytest.mark.parametrize("odd", [{}, {"note": "a:b"}])
def test_large_and_odd_messages_are_held_too(odd: dict[str, str]) -> None:
    """What cannot be forwarded in one piece waits its turn like everything else."""
    core = Core(settings(outbox_high=1000))
    subscriber, publisher = core.client(), core.client()
    subscriber.subscribe("/topic/a")
    subscriber.reading = False
    for number in numbers(1, 4):
        other = core.client()
        other.send("/topic/a", number + ("x" * 20_000 if number == "3" else LARGE), **odd)
    assert not publisher.session.paused
    subscriber.read_some(700)
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 4)


def test_a_backlog_is_written_up_to_the_mark_each_time() -> None:
    """A subscriber that reads a little at a time gets a little at a time, and all in the end."""
    core = Core(settings(outbox_high=1000, slow_consumer="block"))
    subscriber = core.client()
    subscriber.subscribe("/topic/a")
    subscriber.reading = False
    for number in numbers(1, 9):
        core.client().send("/topic/a", number + LARGE)
    for _ in range(4):
        subscriber.read_some(500)
        assert subscriber.session.outbox.size < 2000
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 9)


@pytest.mark.parametrize("note", ["plain", "not: plain"])
def test_nothing_overtakes_what_was_held(note: str) -> None:
    """A message published when there is room again, and others are still held, lines up."""
    core = Core(settings(outbox_high=1000, slow_consumer="block"))
    subscriber = core.client()
    subscriber.subscribe("/topic/a")
    subscriber.reading = False
    for number in numbers(1, 3):
        core.client().send("/topic/a", number + LARGE)
    late = core.client()
    subscriber.read_some(later=True)
    late.send("/topic/a", "4", note=note)
    subscriber.read_again()
    assert _numbers(subscriber.bodies()) == numbers(1, 4)
