"""Topics, as docs/semantics.md promises them: copies, choice, slowness, retained messages."""

import pytest

from docs.semantics.daemon import Open, ack_id, bodies, fresh


def test_a_topic_keeps_nothing(connect: Open) -> None:
    """What nobody subscribed to is gone, and NACK brings no copy back."""
    wire = connect()
    topic = fresh("topic")
    wire.put(topic, b"nobody")
    wire.subscribe("1", topic, "ack:client-individual", "prefetch-count:1")
    wire.put(topic, b"1")
    wire.put(topic, b"2")
    first, _ = wire.messages(2)
    wire.frame_out("NACK", ack_id(first), "receipt:n")
    wire.expect("RECEIPT", "receipt-id:n")
    wire.frame_out("ACK", ack_id(first), "receipt:a")
    wire.expect("RECEIPT", "receipt-id:a")
    wire.quiet()


@pytest.mark.slow
def test_a_slow_subscriber_is_closed(connect: Open) -> None:
    """Who does not read is closed after the grace; the publisher is held up no longer."""
    topic = fresh("topic") + ".close"
    slow, publisher = connect(), connect()
    slow.subscribe("s", topic)
    for _ in range(200):
        publisher.frame_out("SEND", f"destination:{topic}", body=b"x" * 100_000)
    publisher.sync()
    while (frame := slow.frame()).command == b"MESSAGE":
        pass
    assert (frame.command, frame.text("message")) == (b"ERROR", "slow consumer")
    assert frame.text("subscription") == "s"
    slow.eos()


@pytest.mark.slow
def test_a_slow_subscriber_loses_the_oldest_where_the_policy_says_so(connect: Open) -> None:
    """With drop-oldest the publisher goes on, and the subscriber gets the latest messages."""
    topic = fresh("topic") + ".drop-oldest"
    slow, publisher = connect(), connect()
    slow.subscribe("s", topic)
    for number in range(200):
        publisher.frame_out("SEND", f"destination:{topic}", body=b"%-100000d" % number)
    publisher.sync()
    got: list[int] = []
    while not got or got[-1] < 199:
        got.append(int(slow.expect("MESSAGE").body))
    assert got == sorted(got)
    assert len(got) < 200
    publisher.put(topic, b"200")
    slow.expect("MESSAGE", body=b"200")


def test_a_subscriber_may_choose(connect: Open) -> None:
    """A selector and no-local leave messages out, for that subscription alone."""
    mine, theirs = connect(), connect()
    topic = fresh("topic")
    mine.subscribe("all", topic)
    mine.subscribe("red", topic, "selector:colour = 'red'")
    mine.subscribe("others", topic, "no-local:true")
    mine.subscribe("both", topic, "no-local:true", "selector:colour = 'red'")

    def got(count: int) -> list[tuple[str, str]]:
        return sorted((m.text("subscription"), m.body.decode()) for m in mine.messages(count))

    mine.put(topic, b"1", "colour:red")
    assert got(2) == [("all", "1"), ("red", "1")]
    theirs.put(topic, b"2", "colour:red")
    assert got(4) == [("all", "2"), ("both", "2"), ("others", "2"), ("red", "2")]
    theirs.put(topic, b"3", "colour:blue")
    assert got(2) == [("all", "3"), ("others", "3")]
    mine.quiet()


def test_what_chooses_between_consumers_has_no_effect_on_topics(connect: Open) -> None:
    """Every subscriber gets a copy, whatever it asks for, as fast as it reads."""
    wire = connect()
    topic = fresh("topic")
    wire.subscribe("1", topic, "exclusive:true", "ack:client-individual", "prefetch-count:1")
    wire.subscribe("2", topic, "consumer-priority:9")
    for number in range(3):
        wire.put(topic, b"%d" % number, "message-group:g")
    got = [(m.text("subscription"), m.body.decode()) for m in wire.messages(6)]
    assert sorted(got) == [(name, str(number)) for name in "12" for number in range(3)]


def test_no_local_does_not_concern_what_is_retained(connect: Open) -> None:
    """It is the topic's last value, whoever published it."""
    wire = connect()
    topic = fresh("topic")
    wire.put(topic, b"x", "retain:set")
    wire.subscribe("1", topic, "no-local:true")
    wire.expect("MESSAGE", "retained:true", body=b"x")


def test_topics_have_no_priorities(connect: Open) -> None:
    """Copies come in the order of publishing."""
    wire = connect()
    topic = fresh("topic")
    wire.subscribe("1", topic)
    wire.put(topic, b"low", "priority:0")
    wire.put(topic, b"high", "priority:9")
    assert bodies(wire, 2) == ["low", "high"]


def test_a_retained_message_is_the_first_that_a_subscriber_gets(connect: Open) -> None:
    """The last that was sent with retain:set, until retain:remove, whoever subscribes when."""
    wire = connect()
    topic = fresh("topic")
    wire.subscribe("early", topic)
    wire.put(topic, b"old", "retain:set")
    wire.put(topic, b"last", "retain:set", "colour:red")
    wire.put(topic, b"plain")
    for body in (b"old", b"last", b"plain"):
        assert wire.expect("MESSAGE", body=body).raw("retained") is None
    wire.subscribe("late", topic)
    wire.expect("MESSAGE", "subscription:late", "retained:true", "colour:red", body=b"last")
    wire.subscribe("wild", f"{topic}.#", "selector:colour = 'red'")
    wire.expect("MESSAGE", "subscription:wild", "retained:true", body=b"last")
    wire.subscribe("blue", topic, "selector:colour = 'blue'")
    other = connect()
    other.put(topic, b"removed", "retain:remove")
    removed = {message.text("subscription") for message in wire.messages(2)}
    assert removed == {"early", "late"}
    wire.subscribe("latest", topic)
    wire.quiet()


def test_a_retained_message_may_expire_or_be_delayed(connect: Open) -> None:
    """Neither is retained before its time or after it; queues retain nothing."""
    wire = connect()
    expired, delayed, due = fresh("topic"), fresh("topic"), fresh("topic")
    queue = fresh()
    wire.put(expired, b"x", "retain:set", "ttl:50")
    wire.put(delayed, b"x", "retain:set", "delay:600000")
    wire.put(due, b"due", "retain:set", "delay:50")
    wire.put(queue, b"taken", "retain:set")
    wire.subscribe("live", due)
    wire.expect("MESSAGE", "subscription:live", body=b"due")
    wire.quiet()
    for identifier, name in enumerate((expired, delayed, due)):
        wire.subscribe(str(identifier), name)
    wire.expect("MESSAGE", "subscription:2", "retained:true", body=b"due")
    wire.subscribe("q1", queue)
    assert wire.expect("MESSAGE", body=b"taken").raw("retained") is None
    wire.subscribe("q2", queue)
    wire.quiet()


def test_what_retain_asks_for_happens_at_commit(connect: Open) -> None:
    """A transaction that is undone leaves the topic's last value as it was."""
    wire = connect()
    topic = fresh("topic")
    for end in ("ABORT", "COMMIT"):
        wire.frame_out("BEGIN", f"transaction:{end}")
        line = f"transaction:{end}"
        wire.frame_out("SEND", f"destination:{topic}", line, "retain:set", body=end.encode())
        wire.subscribe(f"before {end}", topic)
        wire.quiet()
        wire.frame_out("UNSUBSCRIBE", f"id:before {end}")
        wire.frame_out(end, line)
    wire.subscribe("after", topic)
    wire.expect("MESSAGE", "retained:true", body=b"COMMIT")
