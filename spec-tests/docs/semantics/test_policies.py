"""Policies, and what clients ask of a queue, as docs/semantics.md promises them."""

import json
import time

import pytest

from docs.semantics.daemon import Open, ack_id, await_waiting, bodies, fresh
from docs.terminal import Terminal


def test_a_full_queue_blocks_its_senders(connect: Open) -> None:
    """The SEND over the limit has its RECEIPT; what follows waits until there is room."""
    sender, taker = connect(), connect()
    queue = fresh(stem="block")
    for number in range(3):
        sender.put(queue, b"x", f"n:{number}")
    sender.frame_out("SEND", f"destination:{queue}", "receipt:fourth", body=b"x")
    sender.quiet()
    taker.subscribe("1", queue)
    taker.messages(4)
    sender.expect("RECEIPT", "receipt-id:fourth")


def test_a_full_queue_rejects(connect: Open) -> None:
    """With reject the SEND over the limit gets ERROR and closes; a COMMIT takes no effect."""
    queue = fresh(stem="reject")
    sender = connect()
    sender.frame_out("BEGIN", "transaction:t")
    for _ in range(3):
        sender.frame_out("SEND", f"destination:{queue}", "transaction:t", body=b"x")
    sender.frame_out("COMMIT", "transaction:t", "receipt:c")
    sender.fatal("message:queue is full", "receipt-id:c")
    sender = connect()
    sender.put(queue, b"1")
    sender.put(queue, b"2")
    sender.frame_out("SEND", f"destination:{queue}", "receipt:r", body=b"3")
    sender.fatal("message:queue is full", "receipt-id:r")
    taker = connect()
    taker.subscribe("1", queue)
    assert [message.body for message in taker.messages(2)] == [b"1", b"2"]
    taker.quiet()


def test_a_full_queue_drops_its_oldest(connect: Open) -> None:
    """With drop-head the oldest messages become dead letters."""
    wire = connect()
    queue = fresh(stem="drop-head")
    for body in (b"1", b"2", b"3"):
        wire.put(queue, body)
    wire.subscribe("1", queue)
    assert [message.body for message in wire.messages(2)] == [b"2", b"3"]
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    wire.expect("MESSAGE", "dead-letter-reason:overflow", "delivery-count:0", body=b"1")


def test_a_policy_says_what_becomes_of_dead_letters(connect: Open) -> None:
    """They go to the queue that it names, or nowhere; without a limit there are none."""
    wire = connect()
    own, none = fresh(stem="own-dead-letters"), fresh(stem="no-dead-letters")
    never = fresh(stem="for-ever")
    for identifier, queue in enumerate((own, none, never)):
        wire.subscribe(str(identifier), queue, "ack:client-individual")
        wire.put(queue, b"x")
        wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")))
    message = wire.expect("MESSAGE", f"destination:{never}")
    for number in range(3, 12):
        wire.frame_out("NACK", ack_id(message))
        message = wire.expect("MESSAGE", f"delivery-count:{number}")
    wire.subscribe("own", own.replace("/queue/", "/queue/failed."))
    wire.expect("MESSAGE", f"original-destination:{own}")
    wire.subscribe("none", none.replace("/queue/", "/queue/DLQ."))
    wire.quiet()


def test_what_is_lowest_is_dropped_first(connect: Open) -> None:
    """Of what waits drop-head takes the oldest of the lowest priority."""
    wire = connect()
    queue = fresh(stem="drop-head")
    for body, priority in ((b"low", 1), (b"high", 9), (b"lower", 0), (b"higher", 10)):
        wire.put(queue, body, f"priority:{priority}")
    wire.subscribe("1", queue)
    assert bodies(wire, 2) == ["higher", "high"]
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    assert bodies(wire, 2) == ["low", "lower"]


def test_drop_head_leaves_what_is_delivered(connect: Open) -> None:
    """What a consumer holds is its own, and if nothing else waits the new one is dropped."""
    wire = connect()
    queue = fresh(stem="drop-head")
    wire.subscribe("1", queue, "ack:client", "prefetch-count:2")
    for body in (b"1", b"2", b"3"):
        wire.put(queue, body)
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    held = [wire.expect("MESSAGE", body=b"1"), wire.expect("MESSAGE", body=b"2")]
    wire.expect("MESSAGE", "dead-letter-reason:overflow", body=b"3")
    wire.frame_out("ACK", ack_id(held[1]))
    wire.quiet()


def test_a_duplicate_needs_no_room(connect: Open) -> None:
    """It gets its RECEIPT from a full queue too, for it goes nowhere."""
    wire = connect()
    queue = fresh(stem="reject")
    for body in (b"1", b"2", b"2"):
        wire.put(queue, body, f"dedup-id:{body.decode()}")
    wire.put(queue, b"old", "expires:1")
    await_waiting(wire, queue, ["1", "2"])


@pytest.mark.parametrize("stem", ["reject", "block"])
def test_what_nobody_can_be_answered_for_and_a_full_queue(connect: Open, stem: str) -> None:
    """Repetitions are left out of a queue for two; dead letters that a policy sends there enter."""
    wire = connect()
    queue, other = fresh(stem=stem), fresh()
    wire.put(queue, b"x", "AMQ_SCHEDULED_PERIOD:50", "AMQ_SCHEDULED_REPEAT:3")
    await_waiting(wire, queue, ["x"] * 2)
    line = f"x-dead-letter-routing-key:{queue.removeprefix('/queue/')}"
    wire.subscribe("1", other, "ack:client", line)
    wire.put(other, b"letter")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false")
    await_waiting(wire, queue, ["x"] * 2 + ["letter"])
    wire.alive()


# -- Settings by header ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_who_makes_a_queue_limits_it(connect: Open, command: str) -> None:
    """By messages or octets; the oldest are dropped unless the header says something else."""
    wire = connect()
    for limit in ("x-max-length:2", "x-max-length-bytes:900"):
        queue = fresh()
        if command == "SUBSCRIBE":
            wire.subscribe(queue, queue, limit)
            wire.frame_out("UNSUBSCRIBE", f"id:{queue}")
        for number in range(3):
            lines = [limit] if command == "SEND" and number == 0 else []
            wire.put(queue, b"%d" % number + b"x" * 299, *lines)
        wire.subscribe(queue, queue)
        assert [body[0] for body in bodies(wire, 2)] == ["1", "2"]
        letters = queue.replace("/queue/", "/queue/DLQ.")
        wire.subscribe(letters, letters)
        wire.expect("MESSAGE", "dead-letter-reason:overflow")
    queue = fresh()
    wire.put(queue, b"1", "x-max-length:1", "x-overflow:reject-publish")
    wire.frame_out("SEND", f"destination:{queue}", "receipt:r", body=b"2")
    wire.fatal("message:queue is full", "receipt-id:r")


def test_who_makes_a_queue_says_where_dead_letters_go(connect: Open) -> None:
    """What fails and what expires goes there; without the header what expires is dropped."""
    wire = connect()
    queue, letters, other = fresh(), fresh(stem="letters"), fresh()
    name = letters.removeprefix("/queue/")
    wire.subscribe("letters", letters)
    wire.put(queue, b"old", "x-message-ttl:50", f"x-dead-letter-routing-key:{name}")
    wire.expect("MESSAGE", "dead-letter-reason:expired", f"original-destination:{queue}")
    wire.subscribe("1", queue, "ack:client")
    wire.put(queue, b"bad")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE", body=b"bad")), "requeue:false")
    wire.expect("MESSAGE", "dead-letter-reason:rejected", body=b"bad")
    wire.put(other, b"gone", "x-message-ttl:50")
    wire.subscribe("2", other.replace("/queue/", "/queue/DLQ."))
    wire.quiet()
    wire.subscribe("3", other)
    wire.quiet()


@pytest.mark.parametrize("name", ["/topic/a", "a.*", "/temp-queue/a", "/exchange/a/b"])
def test_dead_letters_need_a_queue(connect: Open, name: str) -> None:
    """Anything else is reported, and they go where they go without the header."""
    watcher, wire = connect(), connect()
    watcher.subscribe("1", "/topic/$SYS/events/unhonoured")
    queue = fresh()
    wire.subscribe("1", queue, "ack:client", f"x-dead-letter-routing-key:{name}")
    told = json.loads(watcher.expect("MESSAGE").body)["headers"]
    assert told == ["x-dead-letter-routing-key"]
    wire.put(queue, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false")
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    wire.expect("MESSAGE", "dead-letter-reason:rejected", body=b"x")


def test_a_queue_that_is_there_stays_as_it_is(connect: Open) -> None:
    """Who asks for something else gets what is there, and that is told; the same is no news."""
    watcher, wire = connect(), connect()
    watcher.subscribe("1", "/topic/$SYS/events/unhonoured")
    queue = fresh()
    wire.put(queue, b"1", "x-max-length:2")
    wire.subscribe("1", queue, "x-max-length:2", "browser:true")
    wire.expect("MESSAGE", body=b"1")
    wire.expect("MESSAGE", "browser:end")
    watcher.quiet()
    wire.put(queue, b"2", "x-max-length:1")
    assert json.loads(watcher.expect("MESSAGE").body)["headers"] == ["x-max-length"]
    wire.subscribe("2", queue)
    assert bodies(wire, 2) == ["1", "2"]


def test_a_limit_of_the_policy_is_only_lowered(connect: Open) -> None:
    """Who asks for more than the policy allows gets what the policy allows."""
    wire = connect()
    queue = fresh(stem="drop-head")
    wire.put(queue, b"1", "x-max-length:9")
    wire.put(queue, b"2")
    wire.put(queue, b"3")
    wire.subscribe("1", queue)
    assert bodies(wire, 2) == ["2", "3"]
    wire.quiet()


def test_an_unused_queue_goes_after_the_time_of_its_maker(
    connect: Open, terminal: Terminal
) -> None:
    """Soon after its last subscriber has left, if it is empty; not while it has messages."""
    wire = connect()
    queue, full = fresh(), fresh()
    wire.subscribe("1", queue, "x-expires:100")
    wire.put(full, b"kept", "x-expires:100")
    wire.sync()
    # Topics come after the queues, and this one is there: `sync` uses it.
    last = "name='/topic/conformance.sync'"
    assert f"'{queue}'" in terminal.dump(last)
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.sync()
    give_up = time.monotonic() + 30
    while f"'{queue}'" in (state := terminal.dump(last)):
        assert time.monotonic() < give_up, "the queue is still there"
    assert f"'{full}'" in state
    wire.subscribe("2", full)
    wire.expect("MESSAGE", body=b"kept")


def test_auto_delete_takes_a_queue_away_with_what_it_holds(connect: Open) -> None:
    """With its last subscriber, not before its first, and not with a browser."""
    wire = connect()
    queue = fresh()
    wire.put(queue, b"1", "auto-delete:true")
    wire.subscribe("look", queue, "browser:true")
    wire.expect("MESSAGE", body=b"1")
    wire.expect("MESSAGE", "browser:end")
    wire.frame_out("UNSUBSCRIBE", "id:look")
    wire.subscribe("a", queue, "ack:client", "prefetch-count:1")
    wire.expect("MESSAGE", "subscription:a", body=b"1")
    wire.subscribe("b", queue, "ack:client", "prefetch-count:1")
    wire.frame_out("UNSUBSCRIBE", "id:a")
    wire.expect("MESSAGE", "subscription:b", "redelivered:true", body=b"1")
    wire.frame_out("UNSUBSCRIBE", "id:b")
    wire.subscribe("c", queue)
    wire.quiet()


def test_what_has_no_queue_has_no_settings(connect: Open) -> None:
    """A topic, and a wildcard of queues: what is asked of them is reported."""
    watcher, wire = connect(), connect()
    watcher.subscribe("1", "/topic/$SYS/events/unhonoured")
    wire.subscribe("1", fresh("topic"), "x-max-length:1")
    assert json.loads(watcher.expect("MESSAGE").body)["headers"] == ["x-max-length"]
    wire.subscribe("2", fresh() + ".*", "x-message-ttl:1")
    assert json.loads(watcher.expect("MESSAGE").body)["headers"] == ["x-message-ttl"]


def test_a_durable_subscription_has_the_settings_of_its_first_frame(connect: Open) -> None:
    """They bound what waits for it."""
    wire = connect()
    topic = fresh("topic")
    line = f"durable-subscription-name:{topic.replace('/', '-')}"
    wire.subscribe("1", topic, line, "x-max-length:2")
    wire.frame_out("UNSUBSCRIBE", "id:1")
    for body in (b"1", b"2", b"3"):
        wire.put(topic, body)
    wire.subscribe("1", topic, line, "x-max-length:3")
    assert bodies(wire, 2) == ["2", "3"]
