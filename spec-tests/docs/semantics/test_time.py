"""Priority, expiry, delay and repetition, as docs/semantics.md promises them."""

import time

import pytest

from docs.semantics.daemon import Open, ack_id, await_waiting, bodies, fresh

# Longer than any test: what is due after so many milliseconds does not come.
LONG = 600_000


def test_the_highest_priority_is_delivered_first(connect: Open) -> None:
    """Within one the oldest is; without the header it is 4; what comes back keeps its place."""
    wire = connect()
    queue = fresh()
    for body, priority in (("a", 3), ("b", None), ("c", 4), ("d", 255), ("e", 0), ("f", 255)):
        wire.put(queue, body.encode(), *([] if priority is None else [f"priority:{priority}"]))
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-count:1")
    first = wire.expect("MESSAGE", "priority:255", body=b"d")
    wire.frame_out("NACK", ack_id(first))
    seen = []
    for _ in range(6):
        message = wire.expect("MESSAGE")
        seen.append(message.body.decode())
        wire.frame_out("ACK", ack_id(message))
    assert seen == ["d", "f", "b", "c", "a", "e"]


def test_a_higher_priority_does_not_overtake_what_is_delivered(connect: Open) -> None:
    """A consumer that holds a message has it, whatever comes."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client")
    wire.put(queue, b"low", "priority:0")
    wire.put(queue, b"high", "priority:9")
    assert bodies(wire, 2) == ["low", "high"]


def test_time_ends_waiting(connect: Open) -> None:
    """A message whose time is over is delivered to nobody; the earlier of two times counts."""
    wire = connect()
    queue = fresh()
    late = round(time.time() * 1000) + LONG
    wire.put(queue, b"x", "ttl:50")
    wire.put(queue, b"x", f"expires:{round(time.time() * 1000) + 50}")
    wire.put(queue, b"x", "ttl:50", f"expires:{late}")
    wire.put(queue, b"x", f"ttl:{LONG}", f"expires:{round(time.time() * 1000) + 50}")
    wire.put(queue, b"x", "delay:200", "ttl:50")
    never = ["ttl:0", "ttl:", "expires:0", "expires:", "expiration:-1"]
    for line in never:
        wire.put(queue, line.encode(), line)
    wire.quiet()
    wire.subscribe("1", queue)
    assert bodies(wire, len(never)) == never
    wire.quiet()


def test_a_message_tells_when_it_expires(connect: Open) -> None:
    """In milliseconds since 1970, however the sender said it; and nothing if it never does."""
    wire = connect()
    queue = fresh()
    began = time.time() * 1000
    wire.put(queue, b"x", f"ttl:{LONG}")
    wire.put(queue, b"x", f"expiration:{LONG}")
    ended = time.time() * 1000
    wire.put(queue, b"x", "expires:99999999999999")
    wire.put(queue, b"x")
    wire.subscribe("1", queue)
    for message in wire.messages(2):
        # stompd looks at the time of day once a second, and that may be set meanwhile.
        assert began + LONG - 1000 <= int(message.text("expires")) <= ended + LONG + 1000
    wire.expect("MESSAGE", "expires:99999999999999")
    assert wire.expect("MESSAGE").raw("expires") is None


def test_what_is_expired_when_it_comes_goes_nowhere(connect: Open) -> None:
    """Its RECEIPT comes, which `put` waits for; no subscriber of queue or topic sees it."""
    wire = connect()
    for kind in ("queue", "topic"):
        name = fresh(kind)
        wire.subscribe(kind, name)
        wire.put(name, b"old", "expires:1")
        wire.put(name, b"new")
        wire.expect("MESSAGE", body=b"new")
    wire.quiet()


def test_a_policy_keeps_what_is_expired(connect: Open) -> None:
    """With expired = dead-letter it is a dead letter, with its priority, and expires no more."""
    wire = connect()
    queue = fresh(stem="keep-expired")
    wire.put(queue, b"low", "ttl:50", "priority:1")
    wire.put(queue, b"high", "expires:1", "priority:9")
    wire.quiet()
    wire.subscribe("1", queue)
    wire.quiet()
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    for body in (b"high", b"low"):
        wire.expect(
            "MESSAGE",
            "dead-letter-reason:expired",
            f"original-destination:{queue}",
            "delivery-count:0",
            body=body,
        )


def test_a_policy_bounds_the_age(connect: Open) -> None:
    """With max-age nothing waits longer, whatever its sender said, and MESSAGE does not tell."""
    wire = connect()
    queue = fresh(stem="aged")
    wire.subscribe("1", queue)
    wire.put(queue, b"taken at once")
    assert wire.expect("MESSAGE").raw("expires") is None
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.put(queue, b"plain")
    wire.put(queue, b"long", f"ttl:{LONG}")
    await_waiting(wire, queue, [])
    wire.subscribe("2", queue)
    wire.quiet()


@pytest.mark.parametrize("relative", [True, False])
def test_a_delayed_message_comes_when_it_is_due(connect: Open, *, relative: bool) -> None:
    """Not before its time, from a queue as from a topic; its header is passed on."""
    wire = connect()
    names = [fresh("queue"), fresh("topic")]
    for name in names:
        wire.subscribe(name, name)
    began = time.monotonic()
    moment = round(time.time() * 1000) + 2000
    line = "delay:1000" if relative else f"deliver-at:{moment}"
    for name in names:
        wire.put(name, b"x", line)
    for _ in names:
        wire.expect("MESSAGE", line, body=b"x")
    # The time of day may be set meanwhile; stompd looks at it once a second.
    assert time.monotonic() - began >= 0.99


def test_a_topics_delayed_message_finds_who_subscribes_meanwhile(connect: Open) -> None:
    """From a topic it goes to those who are subscribed when it is due."""
    wire = connect()
    topic = fresh("topic")
    wire.subscribe("left", topic)
    wire.put(topic, b"x", "delay:2000")
    wire.frame_out("UNSUBSCRIBE", "id:left")
    wire.subscribe("came", topic)
    wire.expect("MESSAGE", "subscription:came", body=b"x")
    wire.quiet()


def test_a_delayed_message_takes_the_place_of_its_send(connect: Open) -> None:
    """When it is due it comes before what was sent later and still waits."""
    wire = connect()
    queue = fresh()
    wire.put(queue, b"1")
    wire.put(queue, b"2", "delay:100")
    wire.put(queue, b"3")
    await_waiting(wire, queue, ["1", "2", "3"])
    wire.subscribe("1", queue)
    assert bodies(wire, 3) == ["1", "2", "3"]


def test_delayed_messages_come_in_the_order_of_their_times(connect: Open) -> None:
    """Whatever the order of their SENDs."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    due = round(time.time() * 1000) + 1500
    for later in (300, 100, 200):
        wire.put(queue, b"%d" % later, f"deliver-at:{due + later}")
    assert bodies(wire, 3) == ["100", "200", "300"]


def test_a_moment_in_the_past_is_now(connect: Open) -> None:
    """And deliver-at counts if there is a delay as well."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    for line in ("delay:0", "x-delay:-1", "deliver-at:1", f"delay:{LONG}\ndeliver-at:1"):
        wire.put(queue, b"x", line)
        wire.expect("MESSAGE", body=b"x")


def test_what_is_not_due_is_in_the_queue_and_seen_by_nobody(connect: Open) -> None:
    """It counts against the limits; browsers do not see it, and drop-head does not drop it."""
    wire = connect()
    queue = fresh(stem="reject")
    for _ in range(2):
        wire.put(queue, b"x", f"delay:{LONG}")
    wire.subscribe("1", queue)
    wire.frame_out("SUBSCRIBE", "id:2", f"destination:{queue}", "browser:true")
    wire.expect("MESSAGE", "browser:end")
    wire.frame_out("SEND", f"destination:{queue}", "receipt:r", body=b"third")
    wire.fatal("message:queue is full", "receipt-id:r")
    wire = connect()
    queue = fresh(stem="drop-head")
    wire.put(queue, b"1", f"delay:{LONG}")
    for number in range(2, 5):
        wire.put(queue, b"%d" % number)
    await_waiting(wire, queue, ["4"])
    await_waiting(wire, queue.replace("/queue/", "/queue/DLQ."), ["2", "3"])


def test_a_transaction_delays_from_the_send_on(connect: Open) -> None:
    """Nothing comes before COMMIT; what is due by then comes at once."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    wire.frame_out("BEGIN", "transaction:t")
    wire.frame_out("SEND", f"destination:{queue}", "transaction:t", "delay:100", body=b"due")
    wire.frame_out("SEND", f"destination:{queue}", "transaction:t", "ttl:100", body=b"expired")
    wire.quiet(0.4)
    wire.frame_out("COMMIT", "transaction:t")
    wire.expect("MESSAGE", body=b"due")
    wire.quiet()


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_message_repeats(connect: Open, kind: str) -> None:
    """So often after the first one, a period apart, each a message of its own."""
    wire = connect()
    name = fresh(kind)
    wire.subscribe("1", name)
    began = time.monotonic()
    wire.put(name, b"x", "AMQ_SCHEDULED_PERIOD:100", "AMQ_SCHEDULED_REPEAT:2", "foo:bar")
    messages = [wire.expect("MESSAGE", "foo:bar", body=b"x") for _ in range(3)]
    assert time.monotonic() - began >= 0.3
    assert len({message.text("message-id") for message in messages}) == 3
    assert all(message.raw("redelivered") is None for message in messages)
    wire.quiet()


def test_repetition_without_end_ends_with_its_time(connect: Open) -> None:
    """-1 repeats for ever; the time at which the SEND expires is that of all of them."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    wire.put(queue, b"ends", "AMQ_SCHEDULED_PERIOD:100", "AMQ_SCHEDULED_REPEAT:-1", "ttl:150")
    wire.put(queue, b"goes on", "AMQ_SCHEDULED_PERIOD:100", "AMQ_SCHEDULED_REPEAT:-1")
    seen = bodies(wire, 12)
    assert seen[-5:] == ["goes on"] * 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 25 * * *", "malformed AMQ_SCHEDULED_CRON"),
        ("every hour", "malformed AMQ_SCHEDULED_CRON"),
        ("0 0 30 2 *", "AMQ_SCHEDULED_CRON never comes"),
    ],
)
def test_a_crontab_line_that_is_none(connect: Open, line: str, message: str) -> None:
    """It is an ERROR, and so is one that no date fits."""
    wire = connect()
    destination = f"destination:{fresh()}"
    wire.frame_out("SEND", destination, f"AMQ_SCHEDULED_CRON:{line}", "receipt:r", body=b"x")
    wire.fatal(f"message:{message}", "receipt-id:r")


def test_a_crontab_line_waits_for_its_time(connect: Open) -> None:
    """What comes once a year does not come now."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue)
    month = time.gmtime(time.time() + 86400 * 100).tm_mon
    wire.put(queue, b"x", f"AMQ_SCHEDULED_CRON:0 0 1 {month} *")
    wire.quiet()
