"""Destinations, as docs/semantics.md promises them: names, wildcards, coming and going."""

import time

import pytest

from docs.semantics.daemon import Open, ack_id, fresh
from docs.terminal import Terminal


@pytest.mark.clause("S-03")
@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("/queue/" + "n" * 255, None),
        ("/queue/" + "é" * 127, None),
        ("/queue/x y", None),
        ("/queue/é%20b", None),
        ("/queue//a", None),
        ("bare", None),
        ("/topic/a", None),
        ("/temp-queue/a", None),
        ("/temp-topic/a", None),
        ("/remote-temp-queue/c0/a", None),
        ("/queue/" + "n" * 256, b"at most 255 octets"),
        ("/queue/" + "é" * 128, b"at most 255 octets"),
        ("/queue/", b"the name is empty"),
        ("", b"the name is empty"),
        (" /queue/a", b"begin or end with a blank"),
        ("/queue/a ", b"begin or end with a blank"),
        ("/queue/ a", b"begin or end with a blank"),
        ("/queue/a\\nb", b"no control characters"),
        ("/Queue/a", b"a destination is /queue/NAME"),
        ("/", b"a destination is /queue/NAME"),
        ("/exchange/amq.topic/a", None),
        ("/exchange/amq.direct/a", None),
        ("/exchange/amq.direct/*", None),
        ("/exchange/amq.fanout", None),
        ("/amq/queue/a", None),
        ("/queue/a,/topic/b", None),
        ("/queue/a,b", None),
        ("/exchange/logs/a", b"a route leads from or to"),
        ("/queue/a,/topic/b.*", b"wildcards are for SUBSCRIBE"),
        ("/queue/a, /topic/b", b"begin or end with a blank"),
        ("/admin/queues", b"give that as reply-to"),
        ("/topic/$SYS/stats", b"published by the broker alone"),
        ("/queue/a.*", b"wildcards are for SUBSCRIBE"),
        ("/topic/#", b"wildcards are for SUBSCRIBE"),
        ("/topic/a.**", b"wildcards are for SUBSCRIBE"),
        ("/topic/a.>", b"wildcards are for SUBSCRIBE"),
    ],
)
def test_a_name_is_taken_as_it_is_or_refused(
    connect: Open, name: str, refusal: bytes | None
) -> None:
    """A SEND gets its RECEIPT, or an ERROR that says why the name is not accepted."""
    wire = connect()
    wire.frame_out("SEND", f"destination:{name}", "receipt:1", body=b"x")
    if refusal is None:
        wire.expect("RECEIPT", "receipt-id:1")
    else:
        assert refusal in wire.fatal("receipt-id:1").body


@pytest.mark.clause("M-03", "ESC-10")
def test_a_bare_name_is_a_queue_and_stays_as_it_was_written(connect: Open) -> None:
    """What is sent to NAME arrives from /queue/NAME, with the sender's spelling."""
    wire = connect()
    queue = fresh()
    bare = queue.removeprefix("/queue/")
    wire.subscribe("1", queue)
    wire.put(bare, b"x")
    wire.expect("MESSAGE", f"destination:{bare}", "subscription:1")
    other = connect("1.0")
    other.write(f"SEND⏎destination: {queue} ⏎⏎x^@")
    wire.expect("MESSAGE", f"destination:{queue}")


def test_letter_case_makes_another_name(connect: Open) -> None:
    """Upper and lower case differ."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    wire.put(queue.replace("/a.", "/A."), b"x")
    wire.quiet()


@pytest.mark.parametrize("kind", ["queue", "topic"])
@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["x"], ["x.y", "$x"]),
        ("*.b", ["a.b", "a/b"], ["a.c", "a.b.c", "b"]),
        ("a.*", ["a.b", "a/b"], ["a", "a.b.c", "a.$b"]),
        ("a.#", ["a", "a.b", "a/b.c"], ["b", "ab", "a.$b.c"]),
        ("a/**", ["a", "a.b", "a/b.c"], ["b"]),
        ("a.>", ["a", "a.b", "a.b.c"], ["b"]),
        ("#.z", ["z", "a.z", "a/b/z"], ["z.a"]),
        ("a.#.z", ["a.z", "a.b.c.z"], ["a.b"]),
    ],
)
def test_wildcards(
    connect: Open, kind: str, pattern: str, matching: list[str], others: list[str]
) -> None:
    """A pattern gets what is sent to the names that it matches, and nothing else."""
    wire = connect()
    stem = fresh(kind, "w") + "."
    wire.subscribe("1", stem + pattern)
    for name in [*others, *matching]:
        wire.put(stem + name, b"x")
    got = [wire.expect("MESSAGE", "subscription:1").text("destination") for _ in matching]
    assert got == [stem + name for name in matching]
    wire.quiet()


def test_a_wildcard_subscription_takes_from_old_and_new_queues(connect: Open) -> None:
    """Queues that were there before a wildcard subscription are served, and later ones too."""
    wire = connect()
    stem = fresh()
    wire.put(f"{stem}.old", b"old")
    wire.subscribe("1", f"{stem}.*", "ack:client-individual", "prefetch-count:1")
    wire.put(f"{stem}.new", b"new")
    first = wire.expect("MESSAGE", body=b"old")
    wire.quiet()
    wire.frame_out("ACK", ack_id(first))
    wire.expect("MESSAGE", body=b"new")


def test_overlapping_subscriptions_get_a_copy_each(connect: Open) -> None:
    """Three subscriptions that match a topic get three copies."""
    wire = connect()
    topic = fresh("topic", "overlap")
    wire.subscribe("1", topic)
    wire.subscribe("2", "/topic/overlap.*")
    wire.subscribe("3", f"{topic}.#")
    wire.put(topic, b"x")
    assert {message.text("subscription") for message in wire.messages(3)} == {"1", "2", "3"}


def test_a_destination_that_nobody_uses_goes_unnoticed(connect: Open, terminal: Terminal) -> None:
    """An empty queue goes after its time, as the state in the log tells, and is made anew."""
    wire = connect()
    queue = fresh(stem="brief")
    wire.put(queue, b"x")
    wire.subscribe("1", queue)
    wire.expect("MESSAGE")
    wire.sync()
    assert f"'{queue}'" in terminal.dump("name='/topic/conformance.sync'")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.sync()
    give_up = time.monotonic() + 20
    while True:
        # Topics come after the queues, and this one is there: `sync` uses it.
        if f"'{queue}'" not in terminal.dump("name='/topic/conformance.sync'"):
            break
        assert time.monotonic() < give_up, "the queue is still there"
    wire.put(queue, b"y")
    wire.subscribe("2", queue)
    wire.expect("MESSAGE", body=b"y")


def test_several_destinations_in_one(connect: Open) -> None:
    """A SEND puts a copy into each; one subscription takes from all of them."""
    wire = connect()
    queue, topic = fresh(), fresh("topic")
    wire.subscribe("both", f"{queue},{topic}")
    wire.put(f"{topic},{queue}", b"x")
    assert {message.text("subscription") for message in wire.messages(2)} == {"both"}
    wire.put(queue, b"queue")
    wire.expect("MESSAGE", f"destination:{queue}", body=b"queue")
    wire.put(topic, b"topic")
    wire.expect("MESSAGE", f"destination:{topic}", body=b"topic")
    wire.frame_out("SUBSCRIBE", "id:1", f"destination:{topic},/topic/b", "durable:true")
    wire.fatal("message:durable subscription to several topics")
