"""Queues: each message to one subscriber, in order, waiting if there is none."""

import pytest
from broker.client import Core, numbers, publish


@pytest.mark.clause("SUB-02", "M-02", "M-05", "M-08", "M-11")
def test_messages_come_in_the_order_of_their_sends(core: Core) -> None:
    """One consumer gets a thousand numbered messages from first to last, each with its headers."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", id="x")
    publish(producer, "/queue/a", numbers(1, 1000))
    messages = consumer.messages(1000)
    assert [message.text for message in messages] == numbers(1, 1000)
    assert {message["destination"] for message in messages} == {"/queue/a"}
    assert {message["subscription"] for message in messages} == {"x"}
    assert len({message["message-id"] for message in messages}) == 1000


@pytest.mark.clause("S-02", "R-02", "R-05")
def test_a_message_waits_for_its_first_subscriber(core: Core) -> None:
    """What was sent while nobody listened comes to whoever subscribes, oldest first."""
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 3), receipt="r")
    assert producer.receipts() == ["r"] * 3
    assert core.queue("/queue/a") == ("<Queue /queue/a ready=3 unsettled=0 tail=0 subscriptions=0>")
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == numbers(1, 3)
    assert core.queue("/queue/a") == ("<Queue /queue/a ready=0 unsettled=0 tail=0 subscriptions=1>")


@pytest.mark.clause("SUB-12")
def test_receipt_of_subscribe_precedes_its_first_message(core: Core) -> None:
    """The RECEIPT comes first, then the ten messages that waited."""
    publish(core.client(), "/queue/a", numbers(1, 10))
    consumer = core.client()
    consumer.subscribe("/queue/a", receipt="r")
    frames = consumer.take(11)
    assert [frame.command for frame in frames] == ["RECEIPT"] + ["MESSAGE"] * 10


def test_subscribers_take_turns(core: Core) -> None:
    """Three equal subscribers get every third message each, and each of them in order."""
    consumers = [core.client() for _ in range(3)]
    for consumer in consumers:
        consumer.subscribe("/queue/a")
    publish(core.client(), "/queue/a", numbers(1, 9))
    assert [consumer.bodies() for consumer in consumers] == [
        ["1", "4", "7"],
        ["2", "5", "8"],
        ["3", "6", "9"],
    ]


def test_waiting_messages_are_dealt_out_in_turns(core: Core) -> None:
    """A backlog is shared by the subscribers as fresh messages are, as far as their credit goes."""
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 4))
    first, second = core.client(), core.client()
    first.subscribe("/queue/a", "client", prefetch_count="1")
    second.subscribe("/queue/a", "client", prefetch_count="1")
    publish(producer, "/queue/a", ["5"])
    assert first.bodies() == ["1"]
    one = second.messages(1)[0]
    assert one.body == b"2"
    second.ack(one)
    assert second.bodies() == ["3"]


def test_two_subscriptions_of_one_connection_share_a_queue(core: Core) -> None:
    """Each message goes to one of them, and says to which."""
    consumer = core.client()
    consumer.subscribe("/queue/a", id="one")
    consumer.subscribe("/queue/a", id="two")
    publish(core.client(), "/queue/a", numbers(1, 4))
    got = [(message["subscription"], message.text) for message in consumer.messages()]
    assert got == [("one", "1"), ("two", "2"), ("one", "3"), ("two", "4")]


@pytest.mark.clause("S-03")
def test_a_bare_name_is_a_queue_and_keeps_the_senders_octets(core: Core) -> None:
    """``a`` and ``/queue/a`` are one queue; MESSAGE repeats what the sender wrote."""
    producer, consumer = core.client(), core.client()
    producer.send("a", "1")
    producer.send("/queue/a", "2")
    consumer.subscribe("a")
    assert [message["destination"] for message in consumer.messages(2)] == ["a", "/queue/a"]
    assert list(core.broker.host("/").queues) == ["/queue/a"]


@pytest.mark.clause("U-01", "SUB-09")
def test_nothing_comes_after_unsubscribe(core: Core) -> None:
    """After the RECEIPT of UNSUBSCRIBE messages wait for others, and the id is free again."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", id="x")
    consumer.subscribe("/queue/b", id="y")
    consumer("UNSUBSCRIBE", id="x", receipt="u")
    assert consumer.receipts() == ["u"]
    publish(producer, "/queue/a", numbers(1, 10))
    publish(producer, "/queue/b", ["b"])
    assert consumer.bodies() == ["b"]
    consumer.subscribe("/queue/a", id="x")
    assert consumer.bodies() == numbers(1, 10)


@pytest.mark.clause("SUB-09")
def test_subscription_ids_belong_to_their_connection(core: Core) -> None:
    """Two connections use the same id, each for itself."""
    one, two = core.client(), core.client()
    one.subscribe("/queue/a", id="0")
    two.subscribe("/queue/b", id="0")
    publish(one, "/queue/b", ["b"])
    publish(two, "/queue/a", ["a"])
    assert one.bodies() == ["a"]
    assert two.bodies() == ["b"]


@pytest.mark.clause("M-04", "M-06")
def test_message_ids_differ_between_connections(core: Core) -> None:
    """No two deliveries of a broker carry the same id, and ``ack`` is that of the delivery."""
    consumers = [core.client() for _ in range(3)]
    for consumer in consumers:
        consumer.subscribe("/queue/a", "client", id="1")
        consumer.subscribe("/topic/a", "client", id="2")
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 30))
    publish(producer, "/topic/a", numbers(1, 10))
    messages = [message for consumer in consumers for message in consumer.messages(20)]
    assert len({message["message-id"] for message in messages}) == 60
    assert all(message["ack"] == message["message-id"] for message in messages)


def test_subscribing_to_all_of_a_session_leaves_other_queues_alone(core: Core) -> None:
    """A queue's messages go to its own subscribers and to nobody else."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    publish(producer, "/queue/ab", ["no"])
    publish(producer, "/topic/a", ["no"])
    publish(producer, "/queue/a", ["yes"])
    assert consumer.bodies() == ["yes"]


@pytest.mark.clause("S-07", "S-06", "S-09")
def test_headers_stay_with_the_message_through_redelivery(core: Core) -> None:
    """Twenty headers of the sender's own come unchanged and in order, each time."""
    own = {f"x-{number}": f"value {number}" for number in range(20)}
    consumer = core.client()
    producer = core.client()
    producer.send("/queue/a", "", **own)
    for _ in range(2):
        consumer.subscribe("/queue/a", "client")
        message = consumer.messages(1)[0]
        assert [(n, v) for n, v in message.headers.items() if n.startswith("x-")] == list(
            own.items()
        )
        consumer("UNSUBSCRIBE", id="0")


def test_large_bodies_and_small_ones_keep_their_order(core: Core) -> None:
    """A body that is handed on in pieces comes whole, between its neighbours."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    bodies = [b"a", b"x\0y" * 20_000, b"", b"z" * 16 * 1024, b"b"]
    for body in bodies:
        producer("SEND", body, destination="/queue/a")
    messages = consumer.messages(5)
    assert [message.body for message in messages] == bodies
    assert [message.get("content-length") for message in messages] == [
        str(len(body)) if body else None for body in bodies
    ]
