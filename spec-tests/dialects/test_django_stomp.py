"""What django-stomp writes, with its own calls of stomp.py: the headers of two brokers at once.

Each of its frames is meant for ActiveMQ and for RabbitMQ, so SUBSCRIBE names the prefetch twice, a
durable subscription three times, and has an empty ``x-dead-letter-exchange`` and a Python
``exclusive:False``; CONNECT repeats most of that. It speaks STOMP 1.1, acknowledges in mode
``client`` with a prefetch of one, and says ``requeue:False`` in NACK, because it wants its messages
among the dead letters, in a queue that it calls ``DLQ.`` and the last word of the destination.
"""
# ruff: noqa: ANN401 - stomp.py carries no types

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stomp
from interop.listener import Listener, carry_out
from server.process import PATIENCE, Daemon


def last_word(destination: str) -> str:
    """Return what django-stomp takes for a destination's name."""
    return destination.rpartition("/")[2]


@contextmanager
def listening(
    stompd: Daemon,
    destination: str,
    *,
    client: str | None = None,
    durable: bool = False,
    exclusive: bool = False,
    routing_key: str | None = None,
) -> Iterator[tuple["Consumer", Listener]]:
    """Subscribe in the block as its ``Listener`` does, and disconnect with a receipt."""
    connection = stomp.StompConnection11([("127.0.0.1", stompd.port)], heartbeats=(10000, 10000))
    listener = Listener()
    consumer = Consumer(connection, f"{uuid.uuid4()}-listener")
    headers = {
        "client-id": f"{client or uuid.uuid4()}-listener",
        "activemq.prefetchSize": "1",
        "prefetch-count": "1",
        "x-dead-letter-routing-key": f"DLQ.{last_word(destination)}",
        "x-dead-letter-exchange": "",
        "exclusive": exclusive,
    }
    if durable:
        headers["activemq.subscriptionName"] = headers["client-id"]
        headers["activemq.subcriptionName"] = headers["client-id"]
    connection.set_listener(str(uuid.uuid4()), listener)
    connection.connect(username=None, passcode=None, wait=True, headers=headers)
    connection.subscribe(
        id=consumer.subscription,
        headers=headers,
        destination=routing_key or destination,
        ack="client",
        **{
            "x-queue-name": last_word(destination),
            "auto-delete": "false",
            "durable": "true",
        },
    )
    try:
        yield consumer, listener
    finally:
        if connection.is_connected():
            connection.disconnect(receipt=str(uuid.uuid4()))
        assert listener.disconnected.wait(PATIENCE)


class Consumer:
    """Its connection, with the two answers that a callback can give."""

    def __init__(self, connection: Any, subscription: str) -> None:
        self.connection = connection
        self.subscription = subscription

    def ack(self, frame: Any) -> None:
        """Say that it was processed."""
        self.connection.ack(frame.headers["message-id"], self.subscription)

    def nack(self, frame: Any) -> None:
        """Say that it was not, and belongs to the dead letters."""
        self.connection.nack(frame.headers["message-id"], self.subscription, requeue=False)


@contextmanager
def start_processing(
    stompd: Daemon, destination: str, **options: Any
) -> Iterator[tuple[Consumer, Listener]]:
    """Do what ``manage.py pubsub`` does: make the queues by subscribing once, then listen."""
    with listening(stompd, f"DLQ.{last_word(destination)}"):
        pass
    if ".VirtualTopic." in destination:
        topic = f"/topic/VirtualTopic.{destination.rpartition('.VirtualTopic.')[2]}"
        with listening(stompd, destination, routing_key=topic):
            pass
    with listening(stompd, destination, **options) as running:
        yield running


@contextmanager
def publisher(stompd: Daemon) -> Iterator[tuple[Any, Listener]]:
    """Open a connection as its ``Publisher`` does: no heart-beats, a ``client-id``."""
    connection = stomp.Connection([("127.0.0.1", stompd.port)])
    listener = Listener()
    connection.set_listener("", listener)
    connection.connect(
        username=None,
        passcode=None,
        wait=True,
        headers={"client-id": f"{uuid.uuid4()}-publisher"},
    )
    try:
        yield connection, listener
    finally:
        connection.disconnect(receipt=str(uuid.uuid4()))
        assert listener.disconnected.wait(PATIENCE)


RESERVED = (
    "message-id",
    "transaction",
    "redelivered",
    "subscription",
    "destination",
    "content-length",
    "content-type",
)
"""The headers that it never sends, also when it sends a received message on."""


def send(
    connection: Any,
    destination: str,
    body: object,
    headers: dict[str, Any] | None = None,
    transaction: str | None = None,
) -> None:
    """SEND as its ``Publisher.send`` does."""
    headers = headers or {}
    final = {
        **headers,
        "correlation-id": headers.get("correlation-id") or uuid.uuid4(),
        "tshoot-destination": destination,
        "x-dead-letter-routing-key": f"DLQ.{last_word(destination)}",
        "x-dead-letter-exchange": "",
        "persistent": "true",
    }
    words = {
        "destination": destination,
        "body": json.dumps(body),
        "headers": {name: final[name] for name in final if name not in RESERVED},
        "content_type": "application/json;charset=utf-8",
    }
    if transaction is not None:
        words["transaction"] = transaction
    connection.send(**words)


def publish(stompd: Daemon, destination: str, *bodies: object) -> None:
    """SEND bodies over a connection of its own, and wait until they were taken."""
    with publisher(stompd) as (connection, listener):
        for body in bodies:
            send(connection, destination, body)
        carry_out(connection, listener)


def bodies_waiting(stompd: Daemon, destination: str) -> list[object]:
    """Take what waits in a queue, as its ``ack_all_messages`` does."""
    bodies = []
    publish(stompd, destination, "the last one")
    with listening(stompd, destination) as (consumer, listener):
        while (body := json.loads((frame := listener.message()).body)) != "the last one":
            bodies.append(body)
            consumer.ack(frame)
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
    return bodies


def test_a_message_is_processed_and_acknowledged(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A callback gets the JSON and its headers, the empty one too; ACK by the 1.1 form settles.

    It relies on ``message-id``, on ``correlation-id`` and on all headers of the SEND, since it puts
    them into the message again when it moves it.
    """
    queue = f"/queue/{fresh()}"
    with publisher(stompd) as (connection, sent):
        send(connection, queue, {"keyOne": 1}, {"correlation-id": "385bcc5e", "some-header-1": 1})
        carry_out(connection, sent)
    with start_processing(stompd, queue) as (consumer, listener):
        frame = listener.message()
        assert json.loads(frame.body) == {"keyOne": 1}
        headers = frame.headers
        assert headers["subscription"] == consumer.subscription
        assert headers["destination"] == headers["tshoot-destination"] == queue
        assert headers["content-type"] == "application/json;charset=utf-8"
        assert headers["correlation-id"] == "385bcc5e"
        assert headers["some-header-1"] == "1"
        assert headers["persistent"] == "true"
        assert headers["x-dead-letter-exchange"] == ""
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
        assert listener.errors.empty()
    assert bodies_waiting(stompd, queue) == []


def test_a_consumer_is_given_one_message_at_a_time(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``prefetch-count:1`` beside ``activemq.prefetchSize:1``: the next comes after the ACK."""
    queue = f"/queue/{fresh()}"
    publish(stompd, queue, 1, 2, 3)
    with start_processing(stompd, queue) as (consumer, listener):
        for number in (1, 2, 3):
            frame = listener.message()
            assert json.loads(frame.body) == number
            carry_out(consumer.connection, listener)
            assert listener.messages.empty()
            consumer.ack(frame)


def test_work_is_shared_fairly(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A consumer that is slow does not hold back what another could do."""
    queue = f"/queue/{fresh()}"
    with (
        start_processing(stompd, queue) as (_slow, idle),
        start_processing(stompd, queue) as (quick, listener),
    ):
        publish(stompd, queue, *range(10))
        held = json.loads(idle.message().body)
        done = []
        for _ in range(9):
            frame = listener.message()
            done.append(json.loads(frame.body))
            quick.ack(frame)
        assert sorted([held, *done]) == list(range(10))


def test_a_callback_that_fails_sends_the_message_to_the_dead_letters(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """NACK with ``requeue:False`` is final: one delivery, then it lies in ``DLQ.`` and the name."""
    name = fresh()
    with start_processing(stompd, f"/queue/{name}") as (consumer, listener):
        publish(stompd, f"/queue/{name}", {"bad": True}, {"good": True})
        frame = listener.message()
        assert json.loads(frame.body) == {"bad": True}
        consumer.nack(frame)
        frame = listener.message()
        assert json.loads(frame.body) == {"good": True}
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
    with listening(stompd, f"DLQ.{name}") as (consumer, listener):
        frame = listener.message()
        assert json.loads(frame.body) == {"bad": True}
        assert frame.headers["original-destination"] == f"/queue/{name}"
        assert frame.headers["dead-letter-reason"] == "rejected"
        assert frame.headers["tshoot-destination"] == f"/queue/{name}"
        consumer.ack(frame)
        carry_out(consumer.connection, listener)


def test_the_dead_letters_go_where_the_headers_say(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``x-dead-letter-routing-key`` names the queue, though it is not the one of our own making.

    django-stomp forgets everything before the last slash, stompd would not.
    """
    name = fresh()
    queue = f"/queue/shop/{name}"
    with start_processing(stompd, queue) as (consumer, listener):
        publish(stompd, queue, "bad")
        consumer.nack(listener.message())
        carry_out(consumer.connection, listener)
    assert bodies_waiting(stompd, f"/queue/DLQ.{name}") == ["bad"]


def test_messages_are_moved_with_their_headers(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``move_messages``: what was received is sent on in a transaction, and acknowledged.

    The ACK is on another connection than the transaction, so it is not part of it.
    """
    source, target = f"/queue/{fresh()}", f"/queue/{fresh()}"
    with publisher(stompd) as (connection, sent):
        send(connection, source, {"n": 1}, {"some-header-1": 1, "correlation-id": "f81d4fae"})
        carry_out(connection, sent)
    with listening(stompd, source) as (consumer, listener):
        frame = listener.message()
        with publisher(stompd) as (connection, sent):
            transaction = connection.begin()
            headers = {**frame.headers}
            headers.pop("message-id")
            send(connection, target, json.loads(frame.body), headers, transaction)
            consumer.ack(frame)
            connection.commit(transaction)
            carry_out(connection, sent)
        carry_out(consumer.connection, listener)
    with listening(stompd, target) as (consumer, listener):
        frame = listener.message()
        assert json.loads(frame.body) == {"n": 1}
        assert frame.headers["some-header-1"] == "1"
        assert frame.headers["correlation-id"] == "f81d4fae"
        assert frame.headers["tshoot-destination"] == target
        assert "redelivered" not in frame.headers
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
    assert bodies_waiting(stompd, source) == []


def test_an_aborted_transaction_sends_nothing(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``do_inside_transaction``: an exception in the block ends in ABORT, the connection lives."""
    queue = f"/queue/{fresh()}"
    with publisher(stompd) as (connection, listener):
        transaction = connection.begin()
        send(connection, queue, "lost", transaction=transaction)
        connection.abort(transaction)
        transaction = connection.begin()
        send(connection, queue, "kept", transaction=transaction)
        connection.commit(transaction)
        carry_out(connection, listener)
        assert listener.errors.empty()
    assert bodies_waiting(stompd, queue) == ["kept"]


def test_an_exclusive_consumer(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``STOMP_DEFAULT_EXCLUSIVE_QUEUE`` writes ``exclusive:True``: the second one waits in line."""
    queue = f"/queue/{fresh()}"
    with listening(stompd, queue) as (waiting, idle):
        with listening(stompd, queue, exclusive=True) as (owner, listener):
            carry_out(owner.connection, listener)
            publish(stompd, queue, 1, 2)
            for number in (1, 2):
                frame = listener.message()
                assert json.loads(frame.body) == number
                owner.ack(frame)
            carry_out(waiting.connection, idle)
            assert idle.messages.empty()
        publish(stompd, queue, 3)
        frame = idle.message()
        assert json.loads(frame.body) == 3
        waiting.ack(frame)


def test_a_durable_subscription_keeps_what_came_meanwhile(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``STOMP_DURABLE_TOPIC_SUBSCRIPTION`` and a fixed client id: nothing is missed while away.

    Its frames ask in every dialect: ``durable:true``, ``x-queue-name``, ``client-id``,
    ``activemq.subscriptionName``, and the misspelt ``activemq.subcriptionName``.
    """
    name = fresh()
    topic = f"/topic/{name}"
    with start_processing(stompd, topic, client=name, durable=True) as (consumer, listener):
        carry_out(consumer.connection, listener)
        publish(stompd, topic, "while here")
        frame = listener.message()
        assert json.loads(frame.body) == "while here"
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
    publish(stompd, topic, 1, 2, 3)
    with start_processing(stompd, topic, client=name, durable=True) as (consumer, listener):
        for number in (1, 2, 3):
            frame = listener.message()
            assert json.loads(frame.body) == number
            assert frame.headers["destination"] == topic
            consumer.ack(frame)
        carry_out(consumer.connection, listener)
        assert listener.messages.empty()


def test_consumers_of_a_topic_share_one_queue(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Without a durable setting its ``client-id`` is another one each time, its queue is not.

    For RabbitMQ it says ``durable:true``, ``auto-delete:false`` and ``x-queue-name``: every process
    takes from the queue of that name. If the ``client-id`` counted here, each start would leave a
    subscription behind that nobody takes from any more.
    """
    topic = f"/topic/{fresh()}"
    with (
        start_processing(stompd, topic) as (one, to_one),
        start_processing(stompd, topic) as (two, to_two),
    ):
        carry_out(one.connection, to_one)
        carry_out(two.connection, to_two)
        publish(stompd, topic, 1, 2)
        got = []
        for consumer, listener in ((one, to_one), (two, to_two)):
            frame = listener.message()
            got.append(json.loads(frame.body))
            consumer.ack(frame)
            carry_out(consumer.connection, listener)
            assert listener.messages.empty()
        assert sorted(got) == [1, 2]
    publish(stompd, topic, 3)
    with start_processing(stompd, topic) as (consumer, listener):
        frame = listener.message()
        assert json.loads(frame.body) == 3
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
        assert listener.messages.empty()


def test_a_virtual_topic_gives_each_group_its_copy(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Consumers of ``Consumer.GROUP.VirtualTopic.NAME``: each group gets every message once.

    Two processes of the first group share its queue, and what a group misses while it is away
    waits for it.
    """
    name = fresh()
    first, second = (f"/queue/Consumer.{group}.VirtualTopic.{name}" for group in ("web", "mail"))
    with (
        start_processing(stompd, first) as (one, to_one),
        start_processing(stompd, first) as (two, to_two),
    ):
        with start_processing(stompd, second) as (other, to_other):
            publish(stompd, f"/topic/VirtualTopic.{name}", 1, 2)
            got = []
            for consumer, listener in ((one, to_one), (two, to_two)):
                frame = listener.message()
                got.append(json.loads(frame.body))
                consumer.ack(frame)
                carry_out(consumer.connection, listener)
                assert listener.messages.empty()
            assert sorted(got) == [1, 2]
            for number in (1, 2):
                frame = to_other.message()
                assert json.loads(frame.body) == number
                assert frame.headers["destination"] == f"/topic/VirtualTopic.{name}"
                other.ack(frame)
            carry_out(other.connection, to_other)
            assert to_other.messages.empty()
        publish(stompd, f"/topic/VirtualTopic.{name}", 3)
    assert bodies_waiting(stompd, second) == [3]


def test_making_a_virtual_topics_queue_leaves_no_second_copy(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """The SUBSCRIBE that makes the group's queue for RabbitMQ names that queue, and no other.

    With ``x-queue-name`` it subscribes to the topic once and leaves. Had it left a subscription of
    its own behind, that would fill with copies that nobody takes, and the same SUBSCRIBE would find
    them. The group's own queue has one copy, which is acknowledged.
    """
    name = fresh()
    queue = f"/queue/Consumer.web.VirtualTopic.{name}"
    topic = f"/topic/VirtualTopic.{name}"
    with start_processing(stompd, queue) as (consumer, listener):
        publish(stompd, topic, "once")
        frame = listener.message()
        assert json.loads(frame.body) == "once"
        consumer.ack(frame)
        carry_out(consumer.connection, listener)
    with listening(stompd, queue, routing_key=topic) as (consumer, listener):
        carry_out(consumer.connection, listener)
        assert listener.messages.empty()
