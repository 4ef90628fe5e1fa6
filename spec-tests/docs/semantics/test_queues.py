"""Queues, as docs/semantics.md promises them: order, credit, redelivery, dead letters."""

import time

import pytest

from docs.semantics.daemon import Open, ack_id, await_waiting, fresh


@pytest.mark.clause("ACK-04", "ACK-13", "S-09")
def test_what_comes_back_takes_its_old_place_and_says_so(connect: Open) -> None:
    """After a NACK a message comes before younger ones, with the headers of a redelivery."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-count:1")
    for body in (b"1", b"2"):
        wire.put(queue, body, "foo:bar")
    first = wire.expect("MESSAGE", body=b"1")
    assert first.raw("redelivered") is None
    wire.frame_out("NACK", ack_id(first))
    again = wire.expect("MESSAGE", "redelivered:true", "delivery-count:2", "foo:bar", body=b"1")
    assert again.text("original-message-id") == first.text("message-id")
    wire.frame_out("NACK", ack_id(again))
    third = wire.expect("MESSAGE", "delivery-count:3", body=b"1")
    assert third.text("original-message-id") == first.text("message-id")
    wire.frame_out("ACK", ack_id(third))
    wire.expect("MESSAGE", body=b"2")


@pytest.mark.clause("ACK-13")
@pytest.mark.parametrize(
    ("ending", "counts"),
    [("close", "211"), ("error", "211"), ("disconnect", "111"), ("unsubscribe", "111")],
)
def test_only_the_oldest_message_of_a_broken_connection_is_blamed(
    connect: Open, ending: str, counts: str
) -> None:
    """An attempt is counted where a consumer probably died over a message, and nowhere else."""
    queue = fresh()
    dying = connect()
    dying.subscribe("1", queue, "ack:client")
    for _ in counts:
        dying.put(queue, b"x")
    dying.messages(len(counts))
    if ending == "close":
        dying.close()
    elif ending == "error":
        dying.frame_out("NONSENSE")
        dying.fatal()
    elif ending == "disconnect":
        dying.frame_out("DISCONNECT")
        dying.eos()
    else:
        dying.frame_out("UNSUBSCRIBE", "id:1")
        dying.sync()
    wire = connect()
    wire.subscribe("1", queue, "ack:client")
    assert "".join(m.text("delivery-count") for m in wire.messages(len(counts))) == counts


@pytest.mark.clause("ACK-13")
def test_a_message_that_fails_five_times_becomes_a_dead_letter(connect: Open) -> None:
    """It is in DLQ.NAME, with what explains it, and stays there however often it fails."""
    wire = connect()
    queue = fresh()
    letters = queue.replace("/queue/", "/queue/DLQ.")
    wire.subscribe("1", queue, "ack:client-individual")
    wire.put(queue, b"x", "foo:bar")
    for _ in range(5):
        wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "reason:no good")
    wire.subscribe("2", letters, "ack:client-individual")
    letter = wire.expect(
        "MESSAGE",
        f"destination:{letters}",
        f"original-destination:{queue}",
        "dead-letter-reason:max-deliveries",
        "dead-letter-detail:no good",
        "delivery-count:5",
        "foo:bar",
        body=b"x",
    )
    assert abs(int(letter.text("dead-letter-time")) / 1000 - time.time()) < 60
    for _ in range(7):
        wire.frame_out("NACK", ack_id(letter))
        letter = wire.expect("MESSAGE", "delivery-count:5", "redelivered:true")
    wire.frame_out("NACK", ack_id(letter), "requeue:false")
    wire.quiet()


def test_requeue_false_makes_a_dead_letter_at_once(connect: Open) -> None:
    """NACK with requeue:false rejects a message after its first attempt."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client")
    wire.subscribe("2", queue.replace("/queue/", "/queue/DLQ."))
    wire.put(queue, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "requeue:false", "reason:bad")
    wire.expect(
        "MESSAGE", "dead-letter-reason:rejected", "dead-letter-detail:bad", "delivery-count:1"
    )


def test_a_nack_may_ask_for_a_rest(connect: Open) -> None:
    """Others are delivered meanwhile; then the message takes its old place."""
    wire = connect()
    queue = fresh()
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-count:1")
    for body in (b"1", b"2", b"3"):
        wire.put(queue, body)
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE", body=b"1")), "delay:100")
    second = wire.expect("MESSAGE", body=b"2")
    await_waiting(wire, queue, ["1", "3"])
    wire.frame_out("ACK", ack_id(second))
    wire.expect("MESSAGE", "redelivered:true", "delivery-count:2", body=b"1")


def test_back_off_grows_up_to_its_ceiling(connect: Open) -> None:
    """A NACK waits as long as the policy says, by the number of attempts that failed."""
    wire = connect()
    queue = fresh(stem="resting")
    wire.subscribe("1", queue, "ack:client-individual")
    wire.put(queue, b"x")
    message = wire.expect("MESSAGE")
    for least in (0.1, 0.25, 0.25):
        began = time.monotonic()
        wire.frame_out("NACK", ack_id(message))
        message = wire.expect("MESSAGE", "redelivered:true")
        assert time.monotonic() - began >= least - 0.01


def test_back_off_is_for_nacks_that_ask_for_nothing_else(connect: Open) -> None:
    """Not for one with a delay of 0, nor for what comes back for another reason."""
    wire = connect()
    queue = fresh(stem="resting-long")
    wire.subscribe("1", queue, "ack:client-individual")
    wire.put(queue, b"x")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE")), "delay:0")
    wire.expect("MESSAGE", "delivery-count:2")
    wire.close()
    wire = connect()
    wire.subscribe("1", queue, "ack:client-individual")
    wire.frame_out("NACK", ack_id(wire.expect("MESSAGE", "delivery-count:3")))
    wire.quiet()


def test_credit_in_messages_and_octets(connect: Open) -> None:
    """No more than the credit is delivered; what uses up the last octets still is."""
    wire = connect()
    queue = fresh()
    for body in (b"1" * 100, b"2", b"3"):
        wire.put(queue, body)
    wire.subscribe("1", queue, "ack:client-individual", "prefetch-bytes:10")
    first = wire.expect("MESSAGE", body=b"1" * 100)
    wire.quiet()
    wire.frame_out("UNSUBSCRIBE", "id:1")
    wire.subscribe("2", queue, "ack:client-individual", "prefetch-count:2")
    first, _ = wire.messages(2)
    wire.quiet()
    wire.frame_out("ACK", ack_id(first))
    wire.expect("MESSAGE", body=b"3")
    wire.frame_out("SUBSCRIBE", "id:3", f"destination:{queue}", "prefetch-count:x", "receipt:r")
    wire.fatal("message:prefetch-count is not a number", "receipt-id:r", "subscription:3")
