"""Durable subscriptions, as docs/semantics.md promises them."""

from itertools import count

import pytest
from wire import Wire

from docs.semantics.daemon import Open, ack_id, bodies, fresh

_NUMBER = count(1)


def name() -> str:
    """Return a name that no other test uses."""
    return f"name-{next(_NUMBER)}"


def leave(wire: Wire) -> None:
    """Part from the broker in order."""
    wire.frame_out("DISCONNECT")
    wire.eos()


@pytest.mark.parametrize(
    ("connects", "lines"),
    [
        (True, ("durable:true",)),
        (True, ("durable:true", "durable-subscription-name:audit")),
        (False, ("durable:true",)),
    ],
)
def test_messages_are_kept_while_the_subscriber_is_away(
    connect: Open, *, connects: bool, lines: tuple[str, ...]
) -> None:
    """By client-id and name, by client-id and id, or by id and destination."""
    topic = fresh("topic")
    client = (f"client-id:{name()}",) if connects else ()
    wire = connect("1.2", *client)
    wire.subscribe("1", topic, *lines)
    leave(wire)
    connect().put(topic, b"missed")
    wire = connect("1.2", *client)
    wire.subscribe("1", topic, *lines)
    wire.expect("MESSAGE", "subscription:1", f"destination:{topic}", body=b"missed")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(topic, b"missed again")
    wire.subscribe("1", topic, *lines)
    wire.expect("MESSAGE", body=b"missed again")


def test_a_name_makes_a_durable_subscription(connect: Open) -> None:
    """Without durable:true as well; another client's of the same name is another one."""
    topic, own = fresh("topic"), name()
    line = f"durable-subscription-name:{own}"
    wires = [connect("1.2", f"client-id:{name()}"), connect("1.2", f"client-id:{name()}")]
    wires.append(connect())
    for wire in wires:
        wire.subscribe("1", topic, line)
        wire.frame_out("UNSUBSCRIBE", "id:1")
        wire.sync()
    wires[0].put(topic, b"x")
    for wire in wires:
        wire.subscribe("2", topic, line)
        wire.expect("MESSAGE", body=b"x")


def test_it_works_as_a_queue_does(connect: Open) -> None:
    """Priority, expiry, credit, redelivery and dead letters; its messages come back."""
    topic, client, own = fresh("topic"), name(), name()
    line = f"durable-subscription-name:{own}"
    wire = connect("1.2", f"client-id:{client}")
    wire.subscribe("1", topic, line)
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(topic, b"low", "priority:1")
    wire.put(topic, b"high", "priority:9")
    wire.put(topic, b"expired", "ttl:50")
    wire.quiet()
    wire.subscribe("1", topic, line, "ack:client-individual", "prefetch-count:1")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE", body=b"high")))
    wire.expect("MESSAGE", "redelivered:true", "delivery-count:2", body=b"high")
    wire.close()
    wire = connect("1.2", f"client-id:{client}")
    wire.subscribe("1", topic, line, "ack:client-individual", "prefetch-count:1")
    again = wire.expect("MESSAGE", "redelivered:true", body=b"high")
    wire.frame_out("NACK", ack_id(again), "requeue:false")
    wire.frame_out("ACK", ack_id(wire.expect("MESSAGE", body=b"low")))
    wire.quiet()
    wire.subscribe("dead", f"/queue/DLQ.{client}.{own}")
    wire.expect("MESSAGE", f"original-destination:{topic}", body=b"high")


def test_dead_letters_of_one_without_client_id(connect: Open) -> None:
    """They go by its name alone."""
    topic, own = fresh("topic"), name()
    wire = connect()
    wire.subscribe("1", topic, f"durable-subscription-name:{own}", "ack:client")
    wire.put(topic, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false")
    wire.subscribe("dead", f"/queue/DLQ.{own}")
    wire.expect("MESSAGE", body=b"x")


def test_the_topics_policy_bounds_what_waits(connect: Open) -> None:
    """A full one that rejects refuses what is published."""
    topic = fresh("topic", "full")
    wire = connect()
    wire.subscribe("1", topic, f"durable-subscription-name:{name()}")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(topic, b"1")
    wire.put(topic, b"2")
    wire.frame_out("SEND", f"destination:{topic}", "receipt:r", body=b"3")
    wire.fatal("message:queue is full", "receipt-id:r")


def test_a_new_one_begins_with_what_is_retained(connect: Open) -> None:
    """Once, not each time that somebody connects to it."""
    topic = fresh("topic")
    line = f"durable-subscription-name:{name()}"
    wire = connect()
    wire.put(topic, b"last", "retain:set")
    wire.subscribe("1", topic, line)
    wire.expect("MESSAGE", "retained:true", body=b"last")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.subscribe("1", topic, line)
    wire.quiet()


def test_what_it_does_not_want_never_comes_into_it(connect: Open) -> None:
    """By its selector, and by no-local what its client-id published."""
    topic = fresh("topic")
    client = f"client-id:{name()}"
    wire, other = connect("1.2", client), connect()
    lines = ("durable:true", "selector:n > 1", "no-local:true")
    wire.subscribe("1", topic, *lines)
    leave(wire)
    other.put(topic, b"1", "n:1")
    other.put(topic, b"2", "n:2")
    wire = connect("1.2", client)
    wire.put(topic, b"3", "n:3")
    wire.subscribe("1", topic, *lines)
    wire.expect("MESSAGE", body=b"2")
    wire.quiet()


def test_a_pattern_may_be_durable(connect: Open) -> None:
    """Of all topics that match it, later ones included."""
    topic = fresh("topic")
    line = f"durable-subscription-name:{name()}"
    wire = connect()
    wire.put(f"{topic}.old", b"0")
    wire.subscribe("1", f"{topic}.*", line)
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(f"{topic}.old", b"1")
    wire.put(f"{topic}.new", b"2")
    wire.subscribe("1", f"{topic}.*", line)
    assert bodies(wire, 2) == ["1", "2"]


def test_several_share_one(connect: Open) -> None:
    """By turns, on one connection or several; exclusive:true has it alone."""
    topic = fresh("topic")
    line = f"durable-subscription-name:{name()}"
    one, two = connect(), connect()
    one.subscribe("a", topic, line)
    two.subscribe("b", topic, line)
    for number in range(4):
        one.put(topic, b"%d" % number)
    assert (bodies(one, 2), bodies(two, 2)) == (["0", "2"], ["1", "3"])
    two.subscribe("alone", topic, line, "exclusive:true")
    for number in range(2):
        one.put(topic, b"%d" % number)
    for _ in range(2):
        two.expect("MESSAGE", "subscription:alone")
    one.quiet()


def test_another_destination_or_selector_means_a_new_one(connect: Open) -> None:
    """The old one ends with what it holds; while somebody is connected to it that is an ERROR."""
    topic = fresh("topic")
    line = f"durable-subscription-name:{name()}"
    wire = connect()
    wire.subscribe("1", topic, line)
    for change in (
        (topic, "selector:a = 1"),
        (topic, "no-local:true"),
        (f"{topic}.other", "x:y"),
    ):
        other = connect()
        destination, further = change
        other.frame_out("SUBSCRIBE", "id:1", f"destination:{destination}", line, further)
        other.fatal("message:durable subscription in use")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(topic, b"lost", "a:1")
    wire.subscribe("2", topic, line, "selector:a = 1")
    wire.put(topic, b"new", "a:1")
    wire.expect("MESSAGE", body=b"new")
    wire.quiet()


@pytest.mark.parametrize("connected", [True, False])
def test_unsubscribe_with_durable_deletes_it(connect: Open, *, connected: bool) -> None:
    """With what it holds, whether this connection is subscribed to it or not."""
    topic, client = fresh("topic"), f"client-id:{name()}"
    wire = connect("1.2", client)
    wire.subscribe("1", topic, "durable:true", "ack:client")
    wire.put(topic, b"lost")
    wire.expect("MESSAGE")
    if not connected:
        leave(wire)
        wire = connect("1.2", client)
    wire.frame_out("UNSUBSCRIBE", "id:1", "durable:true", "receipt:r")
    wire.expect("RECEIPT", "receipt-id:r")
    wire.put(topic, b"lost")
    wire.subscribe("1", topic, "durable:true")
    wire.quiet()


def test_what_others_are_connected_to_cannot_be_deleted(connect: Open) -> None:
    """The ERROR says so, and it goes on for them."""
    topic = fresh("topic")
    line = f"durable-subscription-name:{name()}"
    one, two = connect(), connect()
    one.subscribe("1", topic, line)
    two.subscribe("1", topic, line)
    two.frame_out("UNSUBSCRIBE", "id:1", "durable:true")
    two.fatal("message:durable subscription in use")
    one.put(topic, b"x")
    one.expect("MESSAGE", body=b"x")


def test_a_queue_needs_no_durable_subscription(connect: Open) -> None:
    """The header has no effect there, not even the name of one."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "durable:true", f"durable-subscription-name:{name()}")
    wire.put(queue, b"x")
    wire.expect("MESSAGE", f"destination:{queue}")


def test_what_cannot_be_durable(connect: Open) -> None:
    """A temporary topic ends with its connection, and a name has no wildcards."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", "destination:/temp-topic/a", "durable:true")
    wire.fatal("message:durable subscription to a temporary topic")
    wire = connect()
    lines = (f"destination:{fresh('topic')}", "durable-subscription-name:a.*")
    wire.frame_out("SUBSCRIBE", "id:1", *lines)
    wire.fatal("message:malformed name of a durable subscription")


def test_what_else_cannot_be_durable(connect: Open) -> None:
    """The broker's own topics; in 1.0 what has neither id nor name; an id that means several."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", "destination:/topic/$SYS/events/#", "durable:true")
    wire.fatal("message:durable subscription to the broker's own topic")
    wire = connect("1.0")
    wire.frame_out("SUBSCRIBE", f"destination:{fresh('topic')}", "durable:true")
    wire.fatal("message:durable subscription without a name")
    wire = connect()
    identifier = name()
    for _ in range(2):
        wire.subscribe(identifier, fresh("topic"), "durable:true")
        wire.frame_out("UNSUBSCRIBE", f"id:{identifier}")
    wire.frame_out("UNSUBSCRIBE", f"id:{identifier}", "durable:true")
    wire.fatal("message:UNSUBSCRIBE of several durable subscriptions")


def test_rabbitmqs_name_is_that_of_a_queue(connect: Open) -> None:
    """What its topics get waits in the queue of that name, for whoever takes from it; once."""
    topic, queue = fresh("topic"), fresh()
    line = f"x-queue-name:{queue.removeprefix('/queue/')}"
    wire = connect()
    for destination in (topic, f"{topic}.#", f"{topic}.other"):
        wire.subscribe(destination, destination, line, "durable:true")
        wire.frame_out("UNSUBSCRIBE", f"id:{destination}")
    wire.put(topic, b"1")
    wire.put(f"{topic}.other", b"2")
    wire.put(queue, b"3")
    wire.subscribe("1", queue, "ack:client")
    wire.expect("MESSAGE", f"destination:{topic}", body=b"1")
    wire.expect("MESSAGE", f"destination:{topic}.other", body=b"2")
    wire.expect("MESSAGE", f"destination:{queue}", body=b"3")
    other = connect()
    other.frame_out("UNSUBSCRIBE", "id:1", "durable:true", line)
    other.fatal("message:durable subscription in use")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.frame_out("UNSUBSCRIBE", "id:1", "durable:true", line)
    wire.put(topic, b"4")
    wire.subscribe("1", queue)
    wire.quiet()


def test_rabbitmqs_name_goes_with_its_last_subscriber(connect: Open) -> None:
    """Unless it is to stay, as docs/dialects.md has it."""
    wire = connect()
    for line, kept in (("x-own:1", False), ("auto-delete:false", True), ("durable:true", True)):
        topic = fresh("topic")
        lines = (f"x-queue-name:{name()}", line)
        wire.subscribe(topic, topic, *lines)
        wire.frame_out("UNSUBSCRIBE", f"id:{topic}")
        wire.put(topic, b"x")
        wire.subscribe(topic, topic, *lines)
        if kept:
            wire.expect("MESSAGE", body=b"x")
        else:
            wire.quiet()
