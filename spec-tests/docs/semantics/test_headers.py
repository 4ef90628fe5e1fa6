"""Which headers are understood and passed on, as docs/semantics.md promises it."""

import json

import pytest

from docs.semantics.daemon import Open, ack_id, fresh


@pytest.mark.clause("S-07", "HDR-02", "HDR-04", "M-10")
def test_what_is_passed_on_and_what_is_not(connect: Open) -> None:
    """The sender's headers arrive once each and in order; those that are not his do not."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    forged = ["message-id", "subscription", "ack", "redelivered", "delivery-count"]
    passed = [
        "b:2",
        "persistent:true",
        "a:1",
        "priority:9",
        "retain:set",
        "deliver-at:1",
        "message-group:g",
        "dedup-id:d",
    ]
    wire.put(
        queue, b"x", *passed, "a:second", "original-message-id:f", *(f"{n}:forged" for n in forged)
    )
    message = wire.expect("MESSAGE")
    lines = [line.decode() for line in message.lines]
    assert [line for line in lines if line in passed] == passed
    assert "forged" not in "".join(lines)
    assert {"receipt", "ack", "original-message-id", "content-type"}.isdisjoint(
        line.partition(":")[0] for line in lines
    )
    assert len({line.partition(":")[0] for line in lines}) == len(lines)
    assert message.text("content-length") == "1"


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        ("SEND", "priority:high", "priority is not a number"),
        ("SEND", "priority:256", "priority is out of range"),
        ("SEND", "priority:-1", "priority is out of range"),
        ("SEND", "ttl:-1", "ttl is not a number"),
        ("SEND", "ttl:1.5", "ttl is not a number"),
        ("SEND", "expires:soon", "expires is not a number"),
        ("SEND", "delay:5s", "delay is not a number"),
        ("SEND", "deliver-at:noon", "deliver-at is not a number"),
        ("SEND", "AMQ_SCHEDULED_PERIOD:x", "AMQ_SCHEDULED_PERIOD is not a number"),
        ("SEND", "retain:yes", "unknown retain"),
        ("SUBSCRIBE", "prefetch-count:x", "prefetch-count is not a number"),
        ("SUBSCRIBE", "prefetch-bytes:-1", "prefetch-bytes is not a number"),
        ("SUBSCRIBE", "consumer-priority:x", "consumer-priority is not a number"),
        ("SUBSCRIBE", "exclusive:yes", "exclusive is not a boolean"),
        ("SUBSCRIBE", "browser:2", "browser is not a boolean"),
        ("SUBSCRIBE", "browser-end:no", "browser-end is not a boolean"),
        ("SUBSCRIBE", "no-local:x", "no-local is not a boolean"),
        ("SUBSCRIBE", "durable:x", "durable is not a boolean"),
        ("SUBSCRIBE", "auto-delete:x", "auto-delete is not a boolean"),
        ("UNSUBSCRIBE", "durable:x", "durable is not a boolean"),
        ("NACK", "requeue:no", "requeue is not a boolean"),
        ("NACK", "delay:-1", "delay is not a number"),
    ],
)
def test_what_a_header_of_ours_does_not_take_is_an_error(
    connect: Open, command: str, line: str, message: str
) -> None:
    """It names the header and shows the value."""
    wire = connect()
    queue = fresh()
    lines = [f"destination:{queue}", "id:1"]
    if command == "NACK":
        wire.subscribe("1", queue, "ack:client")
        wire.put(queue, b"x")
        lines = [ack_id(wire.expect("MESSAGE"))]
    wire.frame_out(command, *lines, line, "receipt:r")
    error = wire.fatal(f"message:{message}", "receipt-id:r")
    assert error.body.startswith(f'"{line.partition(":")[2]}";'.encode())


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("SEND", "priority: 5 "),
        ("SEND", "priority:5.0"),
        ("SEND", "priority:"),
        ("SEND", "ttl: "),
        ("SEND", "persistent:perhaps"),
        ("SEND", "retain:"),
        ("SEND", "JMSPriority:high"),
        ("SEND", "x-whatever:1"),
        ("SUBSCRIBE", "exclusive: TRUE "),
        ("SUBSCRIBE", "exclusive:"),
        ("SUBSCRIBE", "browser:0"),
        ("SUBSCRIBE", "no-local:1"),
        ("SUBSCRIBE", "prefetch-count: 5 "),
        ("SUBSCRIBE", "prefetch-bytes:"),
        ("SUBSCRIBE", "consumer-priority: -3 "),
        ("SUBSCRIBE", "activemq.exclusive:perhaps"),
        ("SUBSCRIBE", "durable:true"),
        ("SUBSCRIBE", "x-whatever:1"),
    ],
)
def test_values_are_read_with_tolerance(connect: Open, command: str, line: str) -> None:
    """Blanks, letter case and emptiness do no harm; what is not ours is never an error."""
    wire = connect()
    queue = fresh()
    wire.frame_out(command, f"destination:{queue}", "id:1", line, "receipt:r")
    wire.expect("RECEIPT", "receipt-id:r")
    if command == "SEND":
        wire.subscribe("1", queue)
        wire.expect("MESSAGE", line)
    else:
        wire.put(queue, b"x")
        wire.expect("MESSAGE")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("priority:9", "JMSPriority:0"), ("priority:9", "priority:0"), ("JMSPriority:9", "priority:")],
)
def test_ours_counts_before_what_others_call_it(connect: Open, ours: str, theirs: str) -> None:
    """Wherever it stands; of repeated ones the first; an empty one hides the others as well."""
    wire = connect()
    queue = fresh()
    wire.put(queue, b"normal")
    wire.put(queue, b"both", *((ours, theirs) if "9" in ours else (theirs, ours)))
    wire.subscribe("1", queue)
    first = "normal" if theirs == "priority:" else "both"
    assert wire.expect("MESSAGE").body.decode() == first


def test_what_has_no_effect_is_told_once(connect: Open) -> None:
    """A header of another broker that is not honoured is an event, once for each connection."""
    watcher, wire = connect(), connect()
    assert wire.connected is not None
    watcher.subscribe("1", "/topic/$SYS/events/unhonoured")
    queue = fresh()
    lines = ("activemq.retroactive:true", "activemq.exclusive:perhaps", "x-own:1")
    wire.subscribe("1", queue, *lines)
    wire.subscribe("2", queue, *lines, "activemq.dispatchAsync:false")
    wire.put(queue, b"x", "transformation:jms-map-json")
    wire.put(queue, b"x", "transformation:jms-map-json")
    told = []
    for _ in range(2):
        event = json.loads(watcher.expect("MESSAGE").body)
        assert event["event"] == "unhonoured"
        assert event["connection"] == wire.connected.text("session")
        told.append(event["headers"])
    assert told == [["activemq.retroactive", "activemq.exclusive"], ["transformation"]]
    watcher.quiet()


def test_the_brokers_own_topics_have_to_be_named(connect: Open) -> None:
    """A pattern finds them if it names $SYS, and not otherwise."""
    watcher, wire = connect(), connect()
    # Other tests leave retained messages behind.
    watcher.subscribe("all", "/topic/#", "selector:retained IS NULL")
    watcher.subscribe("named", "/topic/$SYS/events/#")
    wire.subscribe("1", fresh(), "from-seq:1")
    message = watcher.expect("MESSAGE", "subscription:named")
    while message.text("destination") != "/topic/$SYS/events/unhonoured":
        message = watcher.expect("MESSAGE", "subscription:named")
    assert message.text("content-type") == "application/json"
