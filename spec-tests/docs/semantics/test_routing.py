"""Routing, as docs/semantics.md and docs/routing.md promise it."""

import pytest

from docs.semantics.daemon import Open, ack_id, bodies, fresh


def test_a_route_copies_and_the_copies_say_where_they_were_sent(connect: Open) -> None:
    """Queue, copy in a queue, copy in a topic: each with the sender's destination and headers."""
    wire = connect()
    queue = fresh(stem="copied")
    number = queue.rpartition(".")[2]
    for name in (queue, f"/queue/copy.{number}", f"/topic/copy.{number}"):
        wire.subscribe(name, name)
    wire.put(queue, b"x", "foo:bar")
    for name in (queue, f"/queue/copy.{number}", f"/topic/copy.{number}"):
        wire.expect("MESSAGE", f"subscription:{name}", f"destination:{queue}", "foo:bar", body=b"x")
    wire.quiet()


def test_a_copy_is_a_message_of_its_own(connect: Open) -> None:
    """One is acknowledged, the other becomes a dead letter of the queue that it is in."""
    wire = connect()
    queue = fresh(stem="copied")
    copy = f"/queue/copy.{queue.rpartition('.')[2]}"
    wire.subscribe("1", queue, "ack:client")
    wire.subscribe("2", copy, "ack:client")
    wire.put(queue, b"x")
    first, second = wire.messages(2)
    wire.frame_out("ACK", ack_id(first))
    wire.frame_out("NACK", ack_id(second), "requeue:false")
    wire.subscribe("3", copy.replace("/queue/", "/queue/DLQ."))
    wire.expect("MESSAGE", "subscription:3", f"original-destination:{copy}")
    wire.quiet()


def test_a_full_queue_refuses_a_message_for_all(connect: Open) -> None:
    """Also within a transaction; and only what would go there."""
    taker = connect()
    queue = fresh(stem="copied")
    taker.subscribe("1", queue)
    sender = connect()
    for body in (b"1", b"2"):
        sender.put(queue, body, "full:true")
    sender.frame_out("BEGIN", "transaction:t")
    sender.frame_out("SEND", f"destination:{queue}", "transaction:t", body=b"3")
    sender.frame_out("SEND", f"destination:{queue}", "full:true", "transaction:t", body=b"4")
    sender.frame_out("COMMIT", "transaction:t", "receipt:c")
    sender.fatal("message:queue is full", "receipt-id:c")
    sender = connect()
    sender.frame_out("SEND", f"destination:{queue}", "full:true", "receipt:r", body=b"5")
    sender.fatal("message:queue is full", "receipt-id:r")
    connect().put(queue, b"6")
    assert bodies(taker, 3) == ["1", "2", "6"]
    taker.quiet()


def test_an_exchange_leads_on_by_headers(connect: Open) -> None:
    """What is moved to an exchange reaches its subscribers, and what its routes want."""
    wire = connect()
    topic = fresh("topic", "moved")
    key = topic.rpartition(".")[2]
    wire.subscribe("topic", topic)
    wire.subscribe("stage", f"/exchange/stage/{key}")
    wire.subscribe("queue", f"/queue/staged.{key}")
    wire.put(topic, b"1", "urgency:1")
    wire.put(topic, b"2", "urgency:3")
    got = {(message.text("subscription"), message.body) for message in wire.messages(3)}
    assert got == {("stage", b"1"), ("stage", b"2"), ("queue", b"2")}
    wire.quiet()


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_an_exchange_that_no_route_names_is_an_error(connect: Open, command: str) -> None:
    """It tells which ones there are."""
    wire = connect()
    wire.frame_out(command, "destination:/exchange/logs/a", "id:1", "receipt:r")
    assert b"amq.topic, amq.direct, amq.fanout" in wire.fatal("message:no such exchange").body


@pytest.mark.parametrize(
    ("subscribed", "sent"),
    [
        ("/topic/{}", "/exchange/amq.topic/{}"),
        ("/exchange/amq.topic/{}", "/topic/{}"),
        ("/exchange/amq.topic/#.{}", "/exchange/amq.topic/a.{}"),
        ("/exchange/amq.direct/{}.*", "/exchange/amq.direct/{}.*"),
        ("/exchange/amq.fanout", "/exchange/amq.fanout/{}"),
        ("/queue/{}", "/amq/queue/{}"),
        ("/amq/queue/{}", "/queue/{}"),
        ("/exchange/stage", "/exchange/stage/{}"),
        ("/queue/{},/topic/other", "/queue/{}"),
        ("/queue/{}", "/topic/other,/queue/{}"),
        ("/queue/{},b", "/queue/{},b"),
        ("/queue/Consumer.A.VirtualTopic.{}", "/topic/VirtualTopic.{}"),
    ],
)
def test_destinations_that_mean_the_same(connect: Open, subscribed: str, sent: str) -> None:
    """RabbitMQ's names, several in one, virtual topics; MESSAGE has the sender's spelling."""
    wire = connect()
    name = fresh().rpartition(".")[2]
    wire.subscribe("1", subscribed.format(name))
    wire.put(sent.format(name), b"x")
    wire.expect("MESSAGE", "subscription:1", f"destination:{sent.format(name)}", body=b"x")
    wire.quiet()


def test_a_group_of_a_virtual_topic_misses_nothing(connect: Open) -> None:
    """Two consumers share its messages, and what came while none was there is delivered later."""
    one, two, sender = connect(), connect(), connect()
    topic = fresh("topic", "VirtualTopic")
    queue = topic.replace("/topic/", "/queue/Consumer.A.")
    for wire in (one, two):
        wire.subscribe("1", queue)
    for body in (b"1", b"2"):
        sender.put(topic, body)
    assert sorted(bodies(one, 1) + bodies(two, 1)) == ["1", "2"]
    for wire in (one, two):
        wire.frame_out("UNSUBSCRIBE", "id:1")
        wire.sync()
    sender.put(topic, b"3")
    one.subscribe("2", queue)
    one.expect("MESSAGE", body=b"3")
