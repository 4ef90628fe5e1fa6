"""What subscribers of Britain's railway feeds write: durable subscriptions as ActiveMQ has them.

Network Rail's and National Rail's brokers are ActiveMQ. A subscriber logs in with its e-mail
address, gives that as ``client-id``, and names its subscription in ``activemq.subscriptionName``;
``durable:true`` it does not say. While it is away the broker keeps what it misses. A broker that
does not notice that a connection is dead would refuse the same ``client-id`` for hours.
"""
# ruff: noqa: ANN401 - stomp.py carries no types

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stomp
from interop.listener import Listener, carry_out
from server.process import PATIENCE, Daemon

TRUST = "/topic/TRAIN_MVT_ALL_TOC"
TD = "/topic/TD_ALL_SIG_AREA"


@contextmanager
def feed(
    stompd: Daemon, user: str, *topics: str, durable: bool = True, leave: bool = True
) -> Iterator[tuple[Any, Listener]]:
    """Connect and subscribe in the block as the TD and TRUST example for Python 3 does.

    With ``leave`` False the block's end does nothing: the connection is no longer there.
    """
    connection = stomp.Connection(
        [("127.0.0.1", stompd.port)], keepalive=True, heartbeats=(5000, 5000)
    )
    listener = Listener()
    connection.set_listener("", listener)
    words: dict[str, Any] = {"username": user, "passcode": "Secret:1", "wait": True}
    if durable:
        words["client-id"] = user
    connection.connect(**words)
    for number, topic in enumerate(topics, 1):
        follow(connection, user, topic, number, durable=durable)
    carry_out(connection, listener)
    try:
        yield connection, listener
    finally:
        if leave:
            connection.disconnect()
            assert listener.disconnected.wait(PATIENCE)


def follow(connection: Any, user: str, topic: str, number: int, *, durable: bool = True) -> None:
    """SUBSCRIBE as the example does; the name of the subscription has a slash and an @ in it."""
    words: dict[str, Any] = {"destination": topic, "id": number, "ack": "auto"}
    if durable:
        words["activemq.subscriptionName"] = user + topic
        words["ack"] = "client-individual"
    connection.subscribe(**words)


def ack(connection: Any, frame: Any) -> None:
    """Acknowledge as 1.1 does."""
    connection.ack(id=frame.headers["message-id"], subscription=frame.headers["subscription"])


def publish(stompd: Daemon, topic: str, *trains: str) -> None:
    """Let the railway say something."""
    with stompd.connect() as railway:
        for train in trains:
            railway.put(topic, json.dumps([{"body": {"train_id": train}}]).encode())


def trains(listener: Listener, number: int) -> list[Any]:
    """Return the next messages, as frames."""
    return [listener.message() for _ in range(number)]


def identity(frame: Any) -> str:
    """Return the train that a message is about."""
    (message,) = json.loads(frame.body)
    return str(message["body"]["train_id"])


def test_nothing_is_missed_while_away(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """It leaves, trains run, it comes back with the same two names and gets them, in order.

    The message that it had not acknowledged comes once more, and what it had does not.
    """
    user = f"{fresh()}@example.com"
    topic = f"{TRUST}.{fresh()}"
    with feed(stompd, user, topic) as (connection, listener):
        publish(stompd, topic, "1A01", "1A02")
        done, held = trains(listener, 2)
        ack(connection, done)
        assert identity(held) == "1A02"
        carry_out(connection, listener)
    publish(stompd, topic, "1A03", "1A04")
    with feed(stompd, user, topic) as (connection, listener):
        frames = trains(listener, 3)
        assert [identity(frame) for frame in frames] == ["1A02", "1A03", "1A04"]
        assert [frame.headers.get("redelivered") for frame in frames] == ["true", None, None]
        assert {frame.headers["destination"] for frame in frames} == {topic}
        assert {frame.headers["subscription"] for frame in frames} == {"1"}
        publish(stompd, topic, "1A05")
        frames += trains(listener, 1)
        assert identity(frames[-1]) == "1A05"
        for frame in frames:
            ack(connection, frame)
        carry_out(connection, listener)
        assert listener.messages.empty()
        assert listener.errors.empty()


def test_without_durable_it_is_an_ordinary_subscriber(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """The same program without ``--durable`` sends no ``client-id``, and misses what it misses."""
    user = f"{fresh()}@example.com"
    topic = f"{TD}.{fresh()}"
    with feed(stompd, user, topic, durable=False) as (_, listener):
        publish(stompd, topic, "here")
        assert identity(listener.message()) == "here"
    publish(stompd, topic, "away")
    with feed(stompd, user, topic, durable=False) as (_, listener):
        publish(stompd, topic, "here again")
        assert identity(listener.message()) == "here again"


def test_two_feeds_of_one_user(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Two durable subscriptions on one connection: a backlog each, and each under its own id."""
    user = f"{fresh()}@example.com"
    topics = (f"{TRUST}.{fresh()}", f"{TD}.{fresh()}")
    with feed(stompd, user, *topics):
        pass
    for topic in topics:
        publish(stompd, topic, topic)
    with feed(stompd, user, *topics) as (connection, listener):
        got = trains(listener, 2)
        assert sorted((frame.headers["subscription"], identity(frame)) for frame in got) == [
            ("1", topics[0]),
            ("2", topics[1]),
        ]
        for frame in got:
            ack(connection, frame)
        carry_out(connection, listener)


def test_a_connection_that_was_not_seen_to_die_is_replaced(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """The same ``client-id`` again: the new connection takes over, and goes on where it was.

    The old one is told so by ERROR, if there is anybody to hear it; what it had not acknowledged
    comes to the new one.
    """
    user = f"{fresh()}@example.com"
    topic = f"{TRUST}.{fresh()}"
    with feed(stompd, user, topic, leave=False) as (_, dead):
        publish(stompd, topic, "1B01")
        assert identity(dead.message()) == "1B01"
        with feed(stompd, user, topic) as (connection, listener):
            assert dead.disconnected.wait(PATIENCE)
            assert dead.errors.get(timeout=PATIENCE).headers["message"]
            publish(stompd, topic, "1B02")
            frames = trains(listener, 2)
            assert [identity(frame) for frame in frames] == ["1B01", "1B02"]
            for frame in frames:
                ack(connection, frame)
            carry_out(connection, listener)


def test_a_durable_subscription_is_given_up(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """UNSUBSCRIBE with ``activemq.subscriptionName`` ends it for good, while it is in use.

    One with the id alone only stops the delivery, as leaving does.
    """
    user = f"{fresh()}@example.com"
    topic = f"{TD}.{fresh()}"
    with feed(stompd, user, topic) as (connection, listener):
        connection.unsubscribe(1)
        carry_out(connection, listener)
    publish(stompd, topic, "kept")
    with feed(stompd, user, topic) as (connection, listener):
        frame = listener.message()
        assert identity(frame) == "kept"
        ack(connection, frame)
        connection.unsubscribe(1, **{"activemq.subscriptionName": user + topic})
        carry_out(connection, listener)
        assert listener.errors.empty()
    publish(stompd, topic, "lost")
    with feed(stompd, user, topic) as (connection, listener):
        publish(stompd, topic, "new")
        frame = listener.message()
        assert identity(frame) == "new"
        ack(connection, frame)
        connection.unsubscribe(1, **{"activemq.subscriptionName": user + topic})
        carry_out(connection, listener)


def test_a_durable_subscription_is_given_up_after_it_was_closed(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """As ActiveMQ demands: first UNSUBSCRIBE by id, then once more with the name.

    There the subscription has to be out of use before it can be deleted.
    """
    user = f"{fresh()}@example.com"
    topic = f"{TD}.{fresh()}"
    with feed(stompd, user, topic) as (connection, listener):
        connection.unsubscribe(1)
        connection.unsubscribe(1, **{"activemq.subscriptionName": user + topic})
        carry_out(connection, listener)
        assert listener.errors.empty()
    publish(stompd, topic, "lost")
    with feed(stompd, user, topic) as (connection, listener):
        carry_out(connection, listener)
        assert listener.messages.empty()
        connection.unsubscribe(1, **{"activemq.subscriptionName": user + topic})
        carry_out(connection, listener)


def test_darwin_push_port(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """National Rail's Darwin over STOMP 1.2: gzip bodies, mode auto, beats of 15 s, durable.

    The name is the machine's, the ``client-id`` the user's and the machine's. It reads
    ``SequenceNumber`` and ``MessageType``: the names of headers keep their capitals.
    """
    user, host = f"DARWIN{fresh()}", "signal-box.example.org"
    topic = f"/topic/darwin.pushport-v16.{fresh()}"

    @contextmanager
    def darwin() -> Iterator[Listener]:
        connection = stomp.Connection12(
            [("127.0.0.1", stompd.port)], auto_decode=False, heartbeats=(15000, 15000)
        )
        listener = Listener()
        connection.set_listener("", listener)
        connection.connect(
            username=user, passcode="x", wait=True, headers={"client-id": f"{user}-{host}"}
        )
        connection.subscribe(
            destination=topic, id="1", ack="auto", headers={"activemq.subscriptionName": host}
        )
        carry_out(connection, listener)
        try:
            yield listener
        finally:
            connection.disconnect()
            assert listener.disconnected.wait(PATIENCE)

    with darwin():
        pass
    with stompd.connect() as railway:
        for number in range(3):
            body = gzip.compress(f'<Pport ts="{number}"/>'.encode())
            lines = (f"SequenceNumber:{number}", "MessageType:TS", f"content-length:{len(body)}")
            railway.put(topic, body, *lines)
    with darwin() as listener:
        for number in range(3):
            frame = listener.message()
            assert frame.headers["SequenceNumber"] == str(number)
            assert frame.headers["MessageType"] == "TS"
            plain = zlib.decompress(frame.body, zlib.MAX_WBITS | 32)
            assert plain == f'<Pport ts="{number}"/>'.encode()
        assert listener.messages.empty()
    with darwin() as listener:
        assert listener.messages.empty()
