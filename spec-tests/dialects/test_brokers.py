"""Small programs as the handbooks of other brokers show them, raw on the wire.

One section for each broker: what its own users write because the broker's documentation says so.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server.process import Daemon, daemon
from wire import Frame, Wire


def bodies(wire: Wire, number: int) -> list[bytes]:
    """Return the bodies of the next messages."""
    return [frame.body for frame in wire.messages(number)]


def acknowledge(wire: Wire, *frames: Frame) -> None:
    """ACK them, as 1.2 does."""
    for frame in frames:
        wire.frame_out("ACK", f"id:{frame.text('ack')}")
    wire.sync()


def rejected(wire: Wire, attempts: int) -> None:
    """NACK the next message as often as it takes."""
    for _ in range(attempts):
        wire.frame_out("NACK", f"id:{wire.expect_among('MESSAGE').text('ack')}")
    wire.sync()


# -- Any of them -----------------------------------------------------------------------------------


def test_what_is_known_and_not_honoured_is_told_once(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """One event for each such header of a connection, and it stands in the list of connections.

    A header that asks for nothing, and one that nobody knows, are no news.
    """
    name = fresh()
    with stompd.connect() as operator, stompd.connect("1.1", f"client-id:{name}") as program:
        assert program.connected is not None
        session = program.connected.text("session")
        operator.subscribe("e", "/topic/$SYS/events/unhonoured")
        for number in range(2):
            lines = ("activemq.retroactive:true", "activemq.dispatchAsync:false", "x-mine:1")
            program.subscribe(f"{number}", f"/topic/{name}", *lines)
        program.put(f"/queue/{name}", b"x", "transformation:jms-json", "x-mine:1")
        told = [json.loads(frame.body) for frame in operator.messages(2)]
        assert [event["headers"] for event in told] == [
            ["activemq.retroactive"],
            ["transformation"],
        ]
        assert {event["connection"] for event in told} == {session}
        request = ("reply-to:/temp-queue/answers", "content-type:application/json")
        operator.frame_out("SEND", "destination:/admin/connections", *request, body=b"{}")
        answer = json.loads(operator.expect("MESSAGE", "subscription:/temp-queue/answers").body)
        assert answer["ok"] is True
        (row,) = [row for row in answer["result"] if row["id"] == session]
        assert row["unhonoured"] == ["activemq.retroactive", "transformation"]


# -- RabbitMQ --------------------------------------------------------------------------------------


def test_rabbitmq_routes_by_wildcards(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``/exchange/amq.topic/KEY`` and ``/topic/KEY`` mean the same, for both sides."""
    key = fresh()
    with stompd.connect() as one, stompd.connect() as other:
        one.subscribe("0", f"/exchange/amq.topic/{key}.*")
        other.subscribe("0", f"/topic/{key}.#")
        one.put(f"/topic/{key}.a", b"1")
        one.put(f"/exchange/amq.topic/{key}.b", b"2")
        one.put(f"/exchange/amq.topic/{key}.b.c", b"3")
        assert bodies(one, 2) == [b"1", b"2"]
        assert bodies(other, 3) == [b"1", b"2", b"3"]


def test_rabbitmq_fans_out(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``/exchange/amq.fanout``: everybody who subscribes to it gets everything, key or not."""
    mark = fresh().encode()
    with stompd.connect() as one, stompd.connect() as other:
        for wire in (one, other):
            wire.subscribe("0", "/exchange/amq.fanout")
        one.put("/exchange/amq.fanout", mark)
        one.put("/exchange/amq.fanout/some.key", mark + b"!")
        for wire in (one, other):
            assert bodies(wire, 2) == [mark, mark + b"!"]


def test_rabbitmq_names_a_queue_that_is_there(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``/amq/queue/NAME`` is ``/queue/NAME``, for SEND and for SUBSCRIBE."""
    name = fresh()
    with stompd.connect() as wire:
        wire.put(f"/amq/queue/{name}", b"1")
        wire.put(f"/queue/{name}", b"2")
        wire.subscribe("0", f"/amq/queue/{name}")
        assert bodies(wire, 2) == [b"1", b"2"]
        wire.put(f"/queue/{name}", b"3")
        assert bodies(wire, 1) == [b"3"]


def test_rabbitmq_bounds_a_queue(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``x-max-length`` on SEND: the oldest give way, and a dead-letter queue gets them.

    The name of that queue is a routing key of the default exchange: it has no kind in front.
    """
    name = fresh()
    arguments = (
        "x-max-length:2",
        "x-dead-letter-exchange:",
        f"x-dead-letter-routing-key:{name}.overflown",
        "auto-delete:false",
        "durable:true",
    )
    with stompd.connect() as wire:
        for number in range(5):
            wire.put(f"/queue/{name}", b"%d" % number, *arguments)
        wire.subscribe("0", f"/queue/{name}", *arguments)
        assert bodies(wire, 2) == [b"3", b"4"]
        wire.subscribe("1", f"/queue/{name}.overflown")
        letters = wire.messages(3)
        assert [letter.body for letter in letters] == [b"0", b"1", b"2"]
        assert {letter.raw("dead-letter-reason") for letter in letters} == {b"overflow"}


@pytest.mark.slow
def test_rabbitmq_lets_messages_expire(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``x-message-ttl`` is the queue's, ``expiration`` a message's own: milliseconds from now."""
    name = fresh()
    with stompd.connect() as wire:
        wire.subscribe("0", f"/queue/{name}", "x-message-ttl:300", "auto-delete:false")
        wire.frame_out("UNSUBSCRIBE", "id:0")
        wire.put(f"/queue/{name}", b"by the queue")
        wire.put(f"/queue/{name}-own", b"by itself", "expiration:300")
        wire.put(f"/queue/{name}-own", b"stays")
        time.sleep(1)
        wire.subscribe("1", f"/queue/{name}-own")
        wire.subscribe("2", f"/queue/{name}")
        wire.expect_among("MESSAGE", "subscription:1")
        assert wire.held() is None


def test_rabbitmq_requeues_or_not(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """NACK gives a message back; with ``requeue:false`` it is done with it."""
    name = fresh()
    with stompd.connect() as wire:
        wire.subscribe("0", f"/queue/{name}", "ack:client-individual", "prefetch-count:1")
        wire.put(f"/queue/{name}", b"x")
        first = wire.expect_among("MESSAGE").text("ack")
        wire.frame_out("NACK", f"id:{first}")
        again = wire.expect("MESSAGE", "redelivered:true").text("ack")
        wire.frame_out("NACK", f"id:{again}", "requeue:false")
        wire.sync()
        assert wire.held() is None


def test_rabbitmq_shares_a_named_queue_of_a_topic(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``x-queue-name`` on a topic: all that give the name share it, whoever they are.

    RabbitMQ knows no ``client-id``: what a program says of itself for another broker's sake does
    not make its queue another one.
    """
    name = fresh()
    lines = (f"x-queue-name:{name}.work", "durable:true", "auto-delete:false", "ack:client")
    with stompd.connect("1.2", f"client-id:{name}-first") as first:
        first.subscribe("0", f"/topic/{name}", *lines, "prefetch-count:1")
        with stompd.connect("1.2", f"client-id:{name}-second") as second:
            second.subscribe("0", f"/topic/{name}", *lines, "prefetch-count:1")
            first.put(f"/topic/{name}", b"1")
            first.put(f"/topic/{name}", b"2")
            got = [first.expect_among("MESSAGE"), second.expect("MESSAGE")]
            assert sorted(frame.body for frame in got) == [b"1", b"2"]
            acknowledge(first, got[0])
            acknowledge(second, got[1])
            assert first.held() is None
            assert second.held() is None
    with stompd.connect() as producer:
        producer.put(f"/topic/{name}", b"meanwhile")
    with stompd.connect("1.2", f"client-id:{name}-third") as third:
        third.subscribe("0", f"/topic/{name}", *lines)
        acknowledge(third, third.expect_among("MESSAGE"))
        third.frame_out("UNSUBSCRIBE", "id:0", "durable:true", f"x-queue-name:{name}.work")
        third.sync()


def test_rabbitmq_asks_and_answers(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``reply-to:/temp-queue/NAME`` needs no SUBSCRIBE; its MESSAGE's subscription is that name.

    Whoever answers sends to the ``reply-to`` that arrived, which is another one.
    """
    name = fresh()
    with stompd.connect() as asker, stompd.connect() as service:
        service.subscribe("0", f"/queue/{name}")
        asker.put(f"/queue/{name}", b"?", "reply-to:/temp-queue/foo", "correlation-id:1")
        question = service.expect("MESSAGE", "correlation-id:1", body=b"?")
        reply_to = question.text("reply-to")
        service.put(reply_to, b"!", "correlation-id:1")
        asker.expect("MESSAGE", "subscription:/temp-queue/foo", "correlation-id:1", body=b"!")


# -- ActiveMQ Classic ------------------------------------------------------------------------------


def test_activemq_sends_to_several_destinations(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A composite destination: one SEND, its names separated by commas, of both kinds."""
    name = fresh()
    with stompd.connect() as wire:
        wire.subscribe("t", f"/topic/{name}.c")
        wire.put(f"/queue/{name}.a,/queue/{name}.b,/topic/{name}.c", b"x")
        wire.subscribe("a", f"/queue/{name}.a")
        wire.subscribe("b", f"/queue/{name}.b")
        got = {wire.expect_among("MESSAGE").text("subscription") for _ in range(3)}
        assert got == {"t", "a", "b"}
        assert wire.held() is None


def test_activemq_browses_a_queue(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``browser:true``: copies, oldest first, then one with ``browser:end``; nothing is gone."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        for number in range(3):
            wire.put(queue, b"%d" % number)
        wire.subscribe("0", queue, "browser:true")
        assert bodies(wire, 3) == [b"0", b"1", b"2"]
        wire.expect("MESSAGE", "subscription:0", "browser:end", body=b"")
        wire.frame_out("UNSUBSCRIBE", "id:0")
        wire.subscribe("1", queue)
        assert bodies(wire, 3) == [b"0", b"1", b"2"]


def test_activemq_orders_by_priority(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``priority`` 0 to 9, 4 without one: higher first, and in order within one."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        for number, priority in enumerate(("0", "9", "", "4", "9")):
            lines = (f"priority:{priority}",) if priority else ()
            wire.put(queue, b"%d" % number, *lines, "persistent:true")
        wire.subscribe("0", queue)
        assert bodies(wire, 5) == [b"1", b"4", b"2", b"3", b"0"]


def test_activemq_keeps_a_group_together(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``JMSXGroupID``: one consumer gets all of a group while it is there, then another one."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as one, stompd.connect() as other, stompd.connect() as producer:
        one.subscribe("0", queue, "ack:client-individual")
        other.subscribe("0", queue, "ack:client-individual")
        for number in range(8):
            producer.put(queue, b"%d" % number, f"JMSXGroupID:IBM_NASDAQ_{number % 2}")
        first, second = one.messages(4), other.messages(4)
        for frames in (first, second):
            assert len({frame.raw("JMSXGroupID") for frame in frames}) == 1
            assert [frame.body for frame in frames] == sorted(frame.body for frame in frames)
        acknowledge(one, *first)
        one.frame_out("DISCONNECT", "receipt:bye")
        one.expect("RECEIPT", "receipt-id:bye")
        group = first[0].text("JMSXGroupID")
        producer.put(queue, b"8", f"JMSXGroupID:{group}")
        other.expect("MESSAGE", f"JMSXGroupID:{group}", body=b"8")


def test_activemq_has_dead_letters_of_each_queue(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Its strategy of one ``DLQ.`` for each queue is what stompd does, after as many attempts.

    NACK is not final here as it is there: the message comes again before.
    """
    name = fresh()
    with stompd.connect() as wire:
        wire.subscribe("0", f"/queue/{name}", "ack:client-individual")
        wire.put(f"/queue/{name}", b"x", "persistent:true")
        rejected(wire, 5)
        wire.subscribe("1", f"/queue/DLQ.{name}")
        letter = wire.expect_among("MESSAGE", f"original-destination:/queue/{name}")
        assert letter.text("timestamp").isdecimal()


def test_activemqs_dead_letters_by_policy(tmp_path: Path, fresh: Callable[[], str]) -> None:
    """What the page on migrating advises: one queue for all dead letters, and NACK is final."""
    settings = tmp_path / "stompd.toml"
    settings.write_text(
        '[[policy]]\nmatch = "/queue/#"\ndead-letter = "/queue/ActiveMQ.DLQ"\nmax-deliveries = 1\n'
    )
    names = (fresh(), fresh())
    with daemon("-c", str(settings)) as configured, configured.connect() as wire:
        for name in names:
            wire.subscribe(name, f"/queue/{name}", "ack:client-individual")
            wire.put(f"/queue/{name}", name.encode())
            rejected(wire, 1)
        wire.subscribe("dead", "/queue/ActiveMQ.DLQ", "ack:client-individual")
        letters = wire.messages(2)
        assert [letter.text("original-destination") for letter in letters] == [
            f"/queue/{name}" for name in names
        ]
        # There it is not given up, so that nothing is lost.
        wire.frame_out("NACK", f"id:{letters[0].text('ack')}")
        wire.expect("MESSAGE", "subscription:dead", "redelivered:true")


def test_activemqs_durable_name_does_nothing_on_a_queue(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """There it is an error; here some programs name it for topics and queues alike."""
    queue = f"/queue/{fresh()}"
    with stompd.connect("1.1", "client-id:c1") as wire:
        wire.subscribe("0", queue, "activemq.subscriptionName:n", "durable:true")
        wire.put(queue, b"x")
        assert wire.expect_among("MESSAGE").body == b"x"
        wire.frame_out("UNSUBSCRIBE", "id:0", "activemq.subscriptionName:n")
        wire.put(queue, b"waits for somebody else")
        assert wire.held() is None


def test_activemq_repeats_a_scheduled_message(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``AMQ_SCHEDULED_REPEAT`` counts what follows the first one."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        wire.subscribe("0", queue)
        wire.put(
            queue,
            b"x",
            "AMQ_SCHEDULED_DELAY:50",
            "AMQ_SCHEDULED_PERIOD:50",
            "AMQ_SCHEDULED_REPEAT:2",
        )
        got = wire.messages(3)
        assert [frame.body for frame in got] == [b"x"] * 3
        assert len({frame.text("message-id") for frame in got}) == 3
        wire.quiet()


# -- Artemis ---------------------------------------------------------------------------------------


def test_artemis_bounds_its_window(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``consumer-window-size`` counts octets; the one that passes it is still delivered."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        for _ in range(5):
            wire.put(queue, b"x" * 1000)
        wire.subscribe("0", queue, "ack:client-individual", "consumer-window-size:2000")
        got = wire.messages(2)
        wire.sync()
        assert wire.held() is None
        acknowledge(wire, *got)
        wire.messages(2)


def test_artemis_subscribes_durably(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``durable-subscription-name`` and a ``client-id``; UNSUBSCRIBE with the name deletes it."""
    name = fresh()
    line = f"durable-subscription-name:{name}"
    with stompd.connect("1.2", f"client-id:{name}") as wire:
        wire.subscribe("0", f"/topic/{name}", line)
    with stompd.connect() as producer:
        producer.put(f"/topic/{name}", b"1")
    with stompd.connect("1.2", f"client-id:{name}") as wire:
        wire.subscribe("0", f"/topic/{name}", line, "ack:client")
        acknowledge(wire, wire.expect_among("MESSAGE"))
        wire.frame_out("UNSUBSCRIBE", "id:0", line)
        wire.sync()
        wire.put(f"/topic/{name}", b"2")
        wire.subscribe("0", f"/topic/{name}", line)
        wire.sync()
        assert wire.held() is None
        wire.frame_out("UNSUBSCRIBE", "id:0", line)
        wire.sync()


def test_artemis_drops_duplicates(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``_AMQ_DUPL_ID``: the second SEND has its RECEIPT and goes nowhere."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        wire.subscribe("0", queue)
        for identifier in ("a", "a", "b"):
            wire.put(queue, identifier.encode(), f"_AMQ_DUPL_ID:{identifier}")
        assert bodies(wire, 2) == [b"a", b"b"]
        assert wire.held() is None


def test_artemis_takes_bare_names(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """An address without a prefix, such as ``jms.queue.orders``, is the name of a queue."""
    address = f"jms.queue.{fresh()}"
    with stompd.connect() as wire:
        wire.put(address, b"x", "destination-type:ANYCAST", "persistent:true")
        wire.subscribe("0", address, "subscription-type:ANYCAST")
        wire.expect("MESSAGE", f"destination:{address}", body=b"x")


# -- Apollo ----------------------------------------------------------------------------------------


def test_apollo_gives_credit(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``credit:MESSAGES,OCTETS``: an ACK gives it back."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        for _ in range(3):
            wire.put(queue, b"x")
        wire.subscribe("0", queue, "ack:client-individual", "credit:2,65536")
        got = wire.messages(2)
        wire.sync()
        assert wire.held() is None
        acknowledge(wire, got[0])
        wire.messages(1)


def test_apollo_keeps_the_last_message(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``retain:set``: who subscribes later first gets the last message; ``remove`` ends it."""
    topic = f"/topic/{fresh()}"
    with stompd.connect() as wire:
        wire.put(topic, b"1", "retain:set")
        wire.put(topic, b"2", "retain:set")
        wire.put(topic, b"not kept")
        wire.subscribe("0", topic)
        wire.expect("MESSAGE", "subscription:0", "retained:true", body=b"2")
        wire.put(topic, b"", "retain:remove")
        wire.subscribe("1", topic)
        wire.sync()
        left = [wire.held() for _ in range(2)]
        assert all(frame is None or frame.raw("subscription") == b"0" for frame in left)


def test_apollo_browses_and_follows(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``browser:true`` with ``browser-end:false``: what comes later is seen too, and stays."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        wire.put(queue, b"1")
        wire.subscribe("0", queue, "browser:true", "browser-end:false")
        wire.expect("MESSAGE", "subscription:0", body=b"1")
        wire.put(queue, b"2")
        wire.expect("MESSAGE", "subscription:0", body=b"2")
        wire.frame_out("UNSUBSCRIBE", "id:0")
        wire.subscribe("1", queue)
        assert bodies(wire, 2) == [b"1", b"2"]


def test_apollo_keeps_a_subscription(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``persistent:true`` on SUBSCRIBE to a topic: the id of the subscription is its name."""
    name = fresh()
    lines = (f"{name}-sub", f"/topic/{name}", "persistent:true", "ack:client")
    with stompd.connect() as wire:
        wire.subscribe(*lines)
    with stompd.connect() as wire:
        wire.put(f"/topic/{name}", b"x")
        wire.subscribe(*lines)
        acknowledge(wire, wire.expect_among("MESSAGE"))
        wire.frame_out("UNSUBSCRIBE", f"id:{name}-sub", "persistent:true")
        wire.sync()
