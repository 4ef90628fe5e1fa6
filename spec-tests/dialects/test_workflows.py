"""What python-workflows and zocalo write, with their own calls of stomp.py, made for ActiveMQ.

STOMP 1.1 without heart-beats and without ``host``. Subscription and transaction ids are whole
numbers, counted from one, and every MESSAGE's ``subscription`` is read with ``int()``. Queues are
subscribed to with ``activemq.exclusive``, ``activemq.priority``, ``activemq.retroactive`` and
``selector``; messages have ``persistent``, ``expires`` and ``AMQ_SCHEDULED_DELAY``. The dead
letters of all queues are taken by one wildcard subscription.
"""
# ruff: noqa: ANN401 - stomp.py carries no types

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stomp
from interop.listener import Listener, carry_out
from server.process import PATIENCE, Daemon


class Transport:
    """The calls of stomp.py that its ``StompTransport`` makes."""

    def __init__(self, connection: Any, listener: Listener, prefix: str) -> None:
        self.connection = connection
        self.listener = listener
        self.prefix = prefix
        self.subscriptions = 0
        self.transactions = 0

    def subscribe(
        self,
        channel: str,
        *,
        acknowledgement: bool = False,
        exclusive: bool = False,
        priority: int | None = None,
        selector: str | None = None,
    ) -> int:
        """Listen to a queue; the headers are written as the program writes them."""
        headers: dict[str, Any] = {}
        if exclusive:
            headers["activemq.exclusive"] = "true"
        if priority:
            headers["activemq.priority"] = priority
        if selector:
            headers["selector"] = selector
        self.subscriptions += 1
        self.connection.subscribe(
            f"/queue/{self.prefix}{channel}",
            self.subscriptions,
            headers=headers,
            ack="client-individual" if acknowledgement else "auto",
        )
        return self.subscriptions

    def subscribe_broadcast(self, channel: str, *, retroactive: bool = False) -> int:
        """Listen to a topic, in mode auto."""
        headers = {"activemq.retroactive": "true"} if retroactive else {}
        self.subscriptions += 1
        self.connection.subscribe(
            f"/topic/{self.prefix}{channel}", self.subscriptions, headers=headers
        )
        return self.subscriptions

    def unsubscribe(self, subscription: int) -> None:
        """Stop listening."""
        self.connection.unsubscribe(id=subscription)

    def send(
        self,
        channel: str,
        message: object,
        *,
        headers: dict[str, Any] | None = None,
        delay: float | None = None,
        expiration: float | None = None,
        kind: str = "queue",
        **words: Any,
    ) -> None:
        """SEND a message, serialised; a delay and an expiration are in seconds."""
        headers = dict(headers or {})
        if kind == "queue":
            headers.setdefault("persistent", "true")
        if delay:
            headers["AMQ_SCHEDULED_DELAY"] = int(1000 * delay)
        if expiration:
            headers["expires"] = int((time.time() + expiration) * 1000)
        destination = f"/{kind}/{self.prefix}{channel}"
        self.connection.send(destination, json.dumps(message), headers=headers, **words)

    def ack(self, header: dict[str, str], **words: Any) -> None:
        """Acknowledge a message by its headers."""
        self.connection.ack(header["message-id"], header["subscription"], **words)

    def nack(self, header: dict[str, str], **words: Any) -> None:
        """Reject a message by its headers."""
        self.connection.nack(header["message-id"], header["subscription"], **words)

    def begin(self) -> int:
        """Open a transaction."""
        self.transactions += 1
        self.connection.begin(transaction=self.transactions)
        return self.transactions

    def receive(self) -> tuple[int, dict[str, str], Any]:
        """Return the next message: its subscription, its headers, and what it says."""
        frame = self.listener.message()
        return int(frame.headers.get("subscription")), frame.headers, json.loads(frame.body)

    def carry_out(self) -> None:
        """Wait until everything that was sent has been carried out."""
        carry_out(self.connection, self.listener)
        assert self.listener.errors.empty()


@contextmanager
def transport(stompd: Daemon, prefix: str = "") -> Iterator[Transport]:
    """Connect in the block as it does, without waiting for CONNECTED in the call itself."""
    connection = stomp.Connection([("127.0.0.1", stompd.port)])
    listener = Listener()
    connection.set_listener("", listener)
    connection.connect("admin", "password", wait=False)
    listener.connected.get(timeout=PATIENCE)
    try:
        yield Transport(connection, listener, prefix and f"{prefix}.")
    finally:
        connection.disconnect()
        assert listener.disconnected.wait(PATIENCE)


def test_a_service_takes_a_message_and_sends_its_result(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """A recipe's step: receive, BEGIN, SEND to the next queue, ACK, COMMIT, with ids 1, 2, 3.

    It relies on the number that it gave as subscription id coming back as it was.
    """
    prefix = fresh()
    with transport(stompd, prefix) as service, transport(stompd, prefix) as user:
        assert service.subscribe("step.one", acknowledgement=True) == 1
        assert user.subscribe("step.two") == 1
        assert user.subscribe("step.three") == 2
        for number in range(3):
            user.send("step.one", {"n": number})
        for number in range(3):
            subscription, headers, message = service.receive()
            assert (subscription, message) == (1, {"n": number})
            assert headers["persistent"] == "true"
            transaction = service.begin()
            service.send("step.two", {"result": number}, transaction=transaction)
            service.send("step.three", {"log": number}, transaction=transaction)
            service.ack(headers, transaction=transaction)
            service.connection.commit(transaction)
            results = sorted(user.receive()[::2] for _ in range(2))
            assert results == [(1, {"result": number}), (2, {"log": number})]
        service.carry_out()
    with transport(stompd, prefix) as other:
        other.subscribe("step.one")
        other.send("step.one", "all were acknowledged")
        assert other.receive()[2] == "all were acknowledged"


def test_an_aborted_step_leaves_the_message_with_the_service(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """ABORT undoes the SEND and the ACK; the service rejects the message, and it comes again."""
    prefix = fresh()
    with transport(stompd, prefix) as service:
        service.subscribe("in", acknowledgement=True)
        service.subscribe("out")
        service.send("in", "x")
        _, headers, _ = service.receive()
        transaction = service.begin()
        service.send("out", "lost", transaction=transaction)
        service.ack(headers, transaction=transaction)
        service.connection.abort(transaction)
        service.nack(headers)
        subscription, headers, message = service.receive()
        assert (subscription, message, headers["redelivered"]) == (1, "x", "true")
        service.ack(headers)
        service.carry_out()
        assert service.listener.messages.empty()


def test_an_exclusive_subscriber_is_the_only_one(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``activemq.exclusive:true``: the second one is served when the first has gone."""
    prefix = fresh()
    with transport(stompd, prefix) as second:
        with transport(stompd, prefix) as first:
            first.subscribe("one", acknowledgement=True, exclusive=True)
            first.carry_out()
            second.subscribe("one", acknowledgement=True, exclusive=True)
            for number in range(4):
                second.send("one", number)
            second.carry_out()
            assert [first.receive()[2] for _ in range(4)] == [0, 1, 2, 3]
            assert second.listener.messages.empty()
        # What the first had not acknowledged is not lost.
        assert [second.receive()[2] for _ in range(4)] == [0, 1, 2, 3]


def test_a_subscriber_of_higher_priority_is_served_first(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``activemq.priority`` is a whole number: the others get what it has no room for."""
    prefix = fresh()
    with transport(stompd, prefix) as ordinary, transport(stompd, prefix) as preferred:
        ordinary.subscribe("work", acknowledgement=True)
        ordinary.carry_out()
        preferred.subscribe("work", acknowledgement=True, priority=10)
        preferred.carry_out()
        for number in range(10):
            ordinary.send("work", number)
        ordinary.carry_out()
        assert [preferred.receive()[2] for _ in range(10)] == list(range(10))
        assert ordinary.listener.messages.empty()


def test_a_selector_picks_messages_by_their_headers(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``selector`` in SQL 92: numbers compare as numbers, what fits nobody waits for its reader."""
    prefix = fresh()
    with transport(stompd, prefix) as service:
        service.subscribe("recipes", selector="beamline = 'i03' AND resolution < 2.5")
        for beamline, resolution in (("i04", 1), ("i03", 10), ("i03", 2.4), ("i03", 2.5)):
            service.send(
                "recipes",
                [beamline, resolution],
                headers={"beamline": beamline, "resolution": resolution},
            )
        service.carry_out()
        assert service.receive()[2] == ["i03", 2.4]
        assert service.listener.messages.empty()
        service.unsubscribe(1)
        assert service.subscribe("recipes") == 2
        assert [service.receive()[::2] for _ in range(3)] == [
            (2, ["i04", 1]),
            (2, ["i03", 10]),
            (2, ["i03", 2.5]),
        ]


@pytest.mark.slow
def test_a_message_with_a_delay_comes_later(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``AMQ_SCHEDULED_DELAY`` in milliseconds, in a transaction too: what is due now comes first.

    A service that is not ready sends its own message to itself once more, to come in a while.
    """
    prefix = fresh()
    with transport(stompd, prefix) as service:
        service.subscribe("retry", acknowledgement=True)
        transaction = service.begin()
        service.send("retry", "later", delay=1.5, transaction=transaction)
        service.send("retry", "now", transaction=transaction)
        service.connection.commit(transaction)
        for expected in ("now", "later"):
            _, headers, message = service.receive()
            assert message == expected
            service.ack(headers)
        service.carry_out()


def test_what_has_expired_is_not_delivered(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``expires`` is a point of time in milliseconds since 1970; the MESSAGE shows it."""
    prefix = fresh()
    with transport(stompd, prefix) as service:
        service.send("short", "too late", expiration=-1)
        service.send("short", "in time", expiration=600)
        service.subscribe("short")
        _, headers, message = service.receive()
        assert message == "in time"
        assert int(headers["expires"]) > time.time() * 1000
        service.carry_out()
        assert service.listener.messages.empty()


def test_status_is_broadcast(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``transient.status`` every few seconds, good for 15 s; a monitor listens, retroactively.

    What ActiveMQ would replay for ``activemq.retroactive`` stompd does not: it is no ERROR.
    """
    prefix = fresh()
    with transport(stompd, prefix) as service, transport(stompd, prefix) as monitor:
        monitor.subscribe_broadcast("transient.status", retroactive=True)
        monitor.carry_out()
        service.send("transient.status", {"host": "ws1"}, expiration=15, kind="topic")
        subscription, headers, message = monitor.receive()
        assert (subscription, message) == (1, {"host": "ws1"})
        assert headers["destination"] == f"/topic/{prefix}.transient.status"
        assert headers["expires"].isdecimal()


def test_a_temporary_queue_for_answers(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A queue with a name of its own making, subscribed to and left: nothing has to be declared."""
    prefix = fresh()
    with transport(stompd, prefix) as asker, transport(stompd, prefix) as service:
        service.subscribe("questions", acknowledgement=True)
        channel = f"transient.answers.{uuid.uuid4()}"
        subscription = asker.subscribe(channel)
        asker.send("questions", "why?", headers={"answer-to": channel})
        _, headers, _ = service.receive()
        service.send(headers["answer-to"], "because")
        service.ack(headers)
        assert asker.receive()[2] == "because"
        asker.unsubscribe(subscription)
        asker.carry_out()
        service.carry_out()


def poison(stompd: Daemon, prefix: str, *channels: str) -> None:
    """Let a service reject one message of each channel until the broker gives up on it."""
    with transport(stompd, prefix) as service:
        for number, channel in enumerate(channels, 1):
            service.subscribe(channel, acknowledgement=True)
            service.send(channel, {"from": channel}, headers={"recipe": number})
            for _ in range(5):
                subscription, headers, _ = service.receive()
                assert subscription == number
                service.nack(headers)
            service.carry_out()


def test_the_dead_letters_are_purged_with_a_wildcard(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``zocalo.dlq_purge``: one subscription to ``/queue/DLQ.PREFIX.>`` takes them all.

    It files each message under its ``timestamp``, milliseconds since 1970, and ``message-id``, and
    acknowledges it only then.
    """
    prefix = fresh()
    poison(stompd, prefix, "alpha", "beta.gamma")
    with transport(stompd, "DLQ") as purge:
        purge.subscribe(f"{prefix}.>", acknowledgement=True)
        filed = {}
        for _ in range(2):
            _, headers, message = purge.receive()
            stamp = time.localtime(int(headers["timestamp"]) / 1000)
            filed[headers["message-id"]] = (time.strftime("%Y", stamp) > "2020", message["from"])
            purge.ack(headers)
        purge.carry_out()
        assert purge.listener.messages.empty()
    assert sorted(filed.values()) == [(True, "alpha"), (True, "beta.gamma")]
    with transport(stompd, "DLQ") as purge:
        purge.subscribe(f"{prefix}.>", acknowledgement=True)
        purge.carry_out()
        assert purge.listener.messages.empty()


def test_a_dead_letter_is_reinjected(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``zocalo.dlq_reinject``: ``original-destination`` says where to, most headers go along.

    It splits that header at its slashes, and drops only those headers that ActiveMQ adds. So those
    of a dead letter come back as ordinary ones: they must do no harm when it fails once more.
    """
    prefix = fresh()
    poison(stompd, prefix, "alpha")
    with transport(stompd, "DLQ") as tool:
        tool.subscribe(f"{prefix}.alpha", acknowledgement=True)
        _, headers, message = tool.receive()
        tool.ack(headers)
        tool.carry_out()
    _, kind, name = headers["original-destination"].split("/", 2)
    assert (kind, name) == ("queue", f"{prefix}.alpha")
    dropped = (
        "content-length",
        "destination",
        "expires",
        "message-id",
        "original-destination",
        "originalExpiration",
        "subscription",
        "timestamp",
        "redelivered",
    )
    again = {key: value for key, value in headers.items() if key not in dropped}
    with transport(stompd) as tool:
        tool.send(name, message, headers=again)
        tool.carry_out()
    with transport(stompd, prefix) as service:
        service.subscribe("alpha", acknowledgement=True)
        for _ in range(5):
            _, headers, message = service.receive()
            assert (headers["recipe"], message) == ("1", {"from": "alpha"})
            service.nack(headers)
        service.carry_out()
    with transport(stompd, "DLQ") as tool:
        tool.subscribe(f"{prefix}.alpha", acknowledgement=True)
        _, headers, _ = tool.receive()
        assert headers["original-destination"] == f"/queue/{prefix}.alpha"
        assert headers["dead-letter-reason"] == "max-deliveries"
        assert headers["delivery-count"] == "5"
        tool.ack(headers)
        tool.carry_out()


def test_a_queue_is_drained_into_another(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``zocalo.queue_drain``: a message, a transaction with SEND and ACK, and the next message."""
    prefix = fresh()
    with transport(stompd, prefix) as drain:
        for number in range(5):
            drain.send("from", number, headers={"n": number, "empty": ""})
        drain.subscribe("from", acknowledgement=True)
        for _ in range(5):
            _, headers, message = drain.receive()
            assert headers["empty"] == ""
            kept = {key: headers[key] for key in ("n", "empty", "persistent")}
            transaction = drain.begin()
            drain.send("to", message, headers=kept, transaction=transaction)
            drain.ack(headers, transaction=transaction)
            drain.connection.commit(transaction)
        drain.carry_out()
    with transport(stompd, prefix) as reader:
        reader.subscribe("from")
        reader.subscribe("to")
        got = [reader.receive() for _ in range(5)]
        assert [(s, headers["n"], message) for s, headers, message in got] == [
            (2, str(number), number) for number in range(5)
        ]
        reader.carry_out()
        assert reader.listener.messages.empty()
