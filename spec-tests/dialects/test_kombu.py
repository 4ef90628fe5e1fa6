"""What kombu writes over STOMP 1.0, with the calls of stomp.py that its transports make.

Celery's messages travel as kombu makes them: the body base64, and ``properties``, a Python
dictionary with colons, quotes and blanks, as the value of one header, which the receiver evaluates.
Subscriptions have no id: a message is matched with its queue by ``destination``, and acknowledged
by ``message-id`` alone. A second transport asks for durable topics and ActiveMQ's transformation.
"""
# ruff: noqa: ANN401 - stomp.py carries no types

import ast
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stomp
from interop.listener import Listener, carry_out
from server.process import PATIENCE, Daemon


@contextmanager
def channel(stompd: Daemon, *, crash: bool = False) -> Iterator[tuple[Any, Listener]]:
    """Connect in the block as a channel does; end with DISCONNECT, or with ``crash`` without."""
    connection = stomp.Connection10([("127.0.0.1", stompd.port)], reconnect_attempts_max=1)
    listener = Listener()
    connection.set_listener("message_listener", listener)
    connection.connect(username="guest", passcode="guest", wait=True)
    try:
        yield connection, listener
    finally:
        if crash:
            connection.transport.disconnect_socket()
        else:
            connection.disconnect()
        assert listener.disconnected.wait(PATIENCE)


def put(connection: Any, queue: str, task: object) -> None:
    """SEND a task as ``Channel._put`` does."""
    message: dict[str, Any] = {
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "retries": 0, "expires": "", "shadow": ""},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "celery", "routing_key": "celery: a, b"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "8c2a6e54-5f3c-4c1c-9f16-5c4d3e0f6a11",
            "correlation_id": None,
        },
    }
    body = base64.b64encode(json.dumps(task).encode()).decode()
    connection.send(f"/queue/{queue}", body, **message)


def subscribe(connection: Any, queue: str) -> None:
    """SUBSCRIBE as ``Channel.subscribe`` does: without an id."""
    connection.subscribe(f"/queue/{queue}", ack="client-individual")


def taken(listener: Listener) -> tuple[str, object, str]:
    """Return the next message as its listener reads it: queue, task, and ``message-id``."""
    frame = listener.message()
    properties = ast.literal_eval(frame.headers["properties"])
    assert properties["delivery_info"] == {"exchange": "celery", "routing_key": "celery: a, b"}
    assert properties["body_encoding"] == "base64"
    assert frame.headers["content-type"] == "application/json"
    assert frame.headers["content-encoding"] == "utf-8"
    queue = frame.headers["destination"].split("/queue/")[1]
    return queue, json.loads(base64.b64decode(frame.body)), frame.headers["message-id"]


def test_tasks_are_taken_and_acknowledged(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Two queues on one connection without ids; ``properties`` comes back as it was written.

    Tasks end in any order, so do their ACKs: in 1.0 too the mode ``client-individual`` is known.
    """
    high, low = fresh(), fresh()
    with channel(stompd) as (producer, _), channel(stompd) as (worker, listener):
        subscribe(worker, high)
        subscribe(worker, low)
        for number in range(4):
            put(producer, (high, low)[number % 2], {"task": "add", "args": [number, ":\n"]})
        done = [taken(listener) for _ in range(4)]
        assert {(queue, str(task)) for queue, task, _ in done} == {
            ((high, low)[number % 2], str({"task": "add", "args": [number, ":\n"]}))
            for number in range(4)
        }
        for _, _, identifier in reversed(done):
            worker.ack(identifier)
        carry_out(worker, listener)
        assert listener.errors.empty()
    with channel(stompd) as (worker, listener):
        for queue in (high, low):
            subscribe(worker, queue)
            put(worker, queue, "the last one")
            assert taken(listener)[:2] == (queue, "the last one")


def test_what_a_worker_had_in_hand_is_done_by_another(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """A worker is killed with two of three tasks not acknowledged: they come again, in order."""
    queue = fresh()
    with channel(stompd, crash=True) as (worker, listener):
        subscribe(worker, queue)
        for number in range(3):
            put(worker, queue, number)
        identifiers = [taken(listener)[2] for _ in range(3)]
        worker.ack(identifiers[1])
        carry_out(worker, listener)
    with channel(stompd) as (worker, listener):
        subscribe(worker, queue)
        for number in (0, 2):
            frame_queue, task, identifier = taken(listener)
            assert (frame_queue, task) == (queue, number)
            worker.ack(identifier)
        carry_out(worker, listener)
        assert listener.messages.empty()


def test_a_queue_is_unbound_by_its_destination(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """UNSUBSCRIBE has only ``destination``; the other subscription of the connection goes on."""
    left, kept = fresh(), fresh()
    with channel(stompd) as (worker, listener):
        subscribe(worker, left)
        subscribe(worker, kept)
        worker.unsubscribe(f"/queue/{left}")
        put(worker, left, "waits")
        put(worker, kept, "comes")
        assert taken(listener)[:2] == (kept, "comes")
        carry_out(worker, listener)
        assert listener.messages.empty()
        # Subscribing again is what a worker does that consumes from it anew.
        subscribe(worker, left)
        assert taken(listener)[:2] == (left, "waits")


def test_a_durable_topic_without_ids(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A topic exchange that is durable: ``activemq.subscriptionName`` is the machine's name.

    There is neither a subscription id nor a ``client-id``: the name alone tells whose it is. It
    asks for ActiveMQ's transformation, which is another broker's, and sends no ``content-length``.
    """
    name = fresh()
    topic = f"/topic/{name}"

    def follow(connection: Any) -> None:
        connection.subscribe(
            topic,
            headers={"activemq.subscriptionName": f"host-{name}", "activemq.prefetchSize": 10},
            transformation="jms-json",
            ack="client-individual",
        )

    with channel(stompd) as (worker, listener):
        follow(worker)
        carry_out(worker, listener)
    with channel(stompd) as (producer, sent):
        producer.send(topic, '{"n": 1}')
        carry_out(producer, sent)
    with channel(stompd) as (worker, listener):
        follow(worker)
        frame = listener.message()
        assert (frame.headers["destination"], frame.body) == (topic, '{"n": 1}')
        worker.ack(frame.headers["message-id"])
        carry_out(worker, listener)
        assert listener.errors.empty()
    with channel(stompd) as (worker, listener):
        follow(worker)
        carry_out(worker, listener)
        assert listener.messages.empty()
