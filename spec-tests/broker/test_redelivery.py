"""Messages that come back: to their old place, marked, counted, in the end to dead letters."""

import pytest
from broker.client import Client, Core, Got, numbers, publish, settings

from stompd.broker.policy import Policy
from stompd.broker.session import CloseReason


def _counts(messages: list[Got]) -> dict[str, str | None]:
    return {message.text: message.get("delivery-count") for message in messages}


def _consumer(core: Core, ack: str = "client-individual", **headers: str) -> Client:
    consumer = core.client()
    consumer.subscribe("/queue/a", ack, **headers)
    return consumer


def test_a_message_returns_to_its_old_place(core: Core) -> None:
    """What was NACKed, and what a consumer left behind, comes before everything younger."""
    publish(core.client(), "/queue/a", numbers(1, 6))
    consumer = _consumer(core, prefetch_count="3")
    first, second, third = consumer.messages(3)
    consumer.ack(second)
    assert consumer.bodies() == ["4"]
    consumer("UNSUBSCRIBE", id="0")
    del first, third
    other = _consumer(core)
    assert other.bodies() == ["1", "3", "4", "5", "6"]


@pytest.mark.clause("ACK-13")
def test_a_repetition_says_so(core: Core) -> None:
    """It carries ``redelivered``, the number of this attempt, and the id of the first delivery."""
    publish(core.client(), "/queue/a", ["x"], x="1")
    consumer = _consumer(core)
    first = consumer.messages(1)[0]
    assert first.get("redelivered") is None
    assert first.get("delivery-count") is None
    consumer.nack(first)
    second = consumer.messages(1)[0]
    consumer.nack(second)
    third = consumer.messages(1)[0]
    assert [second["delivery-count"], third["delivery-count"]] == ["2", "3"]
    for again in (second, third):
        assert again["redelivered"] == "true"
        assert again["original-message-id"] == first["message-id"]
        assert again["x"] == "1"
    assert len({first["message-id"], second["message-id"], third["message-id"]}) == 3


@pytest.mark.parametrize("end", ["UNSUBSCRIBE", "DISCONNECT"])
def test_an_orderly_end_blames_nobody(core: Core, end: str) -> None:
    """UNSUBSCRIBE and DISCONNECT are no failed attempts: the count stays."""
    publish(core.client(), "/queue/a", numbers(1, 3))
    consumer = _consumer(core)
    consumer.take(3)
    consumer(end, id="0")
    messages = _consumer(core).messages(3)
    assert _counts(messages) == {"1": "1", "2": "1", "3": "1"}
    assert all(message["redelivered"] == "true" for message in messages)


@pytest.mark.clause("D-01")
@pytest.mark.parametrize("reason", [CloseReason.PEER_CLOSED, CloseReason.PEER_RESET])
def test_a_broken_connection_is_blamed_for_its_oldest_delivery(
    core: Core, reason: CloseReason
) -> None:
    """Of each subscription the oldest unsettled message counts one attempt more, no other one."""
    publisher = core.client()
    publish(publisher, "/queue/a", numbers(1, 3))
    publish(publisher, "/queue/b", ["b1", "b2"])
    consumer = _consumer(core)
    consumer.subscribe("/queue/b", "client", id="b")
    consumer.ack(consumer.messages(5)[0])
    consumer.close(reason)
    other = _consumer(core)
    other.subscribe("/queue/b", "client", id="b")
    assert _counts(other.messages(4)) == {"2": "2", "3": "1", "b1": "2", "b2": "1"}


def test_a_fault_is_blamed_like_a_broken_connection(core: Core) -> None:
    """An ERROR ends the connection without DISCONNECT."""
    publish(core.client(), "/queue/a", numbers(1, 2))
    consumer = _consumer(core)
    consumer("COMMIT", transaction="none")
    consumer.error()
    assert _counts(_consumer(core).messages(2)) == {"1": "2", "2": "1"}


def test_two_subscriptions_to_one_queue_blame_two_messages(core: Core) -> None:
    """A connection that breaks with two subscriptions counts one attempt for each of them."""
    publish(core.client(), "/queue/a", numbers(1, 4))
    consumer = _consumer(core, id="one", prefetch_count="2")
    consumer.subscribe("/queue/a", "client", id="two", prefetch_count="2")
    held = consumer.messages(4)
    assert [message["subscription"] for message in held] == ["one", "one", "two", "two"]
    consumer.close()
    assert _counts(_consumer(core).messages(4)) == {"1": "2", "2": "1", "3": "2", "4": "1"}


def test_a_consumer_that_leaves_does_not_hand_its_messages_to_itself(core: Core) -> None:
    """With room left in its second subscription, a broken connection still counts one attempt."""
    publish(core.client(), "/queue/a", numbers(1, 2))
    consumer = _consumer(core, id="one", prefetch_count="2")
    consumer.subscribe("/queue/a", "client", id="two")
    consumer.take(2)
    consumer.close()
    assert _counts(_consumer(core).messages(2)) == {"1": "2", "2": "1"}


def _fail(core: Core, attempts: int) -> list[str]:
    """NACK the message of queue a that often; return the counts that came with it."""
    consumer = _consumer(core, id="failing")
    counts = []
    for _ in range(attempts):
        message = consumer.messages(1)[0]
        counts.append(message.get("delivery-count") or "1")
        consumer.nack(message, reason="no: good")
    consumer("DISCONNECT")
    return counts


@pytest.mark.clause("ACK-13")
def test_after_five_attempts_a_message_is_a_dead_letter() -> None:
    """It goes to ``/queue/DLQ.NAME`` with headers and body, and with what explains it."""
    core = Core(epoch=1000.0)
    core.client().send("/queue/a", "body", x="1", content_type="text/plain")
    core.tick(0.5)
    assert _fail(core, 5) == ["1", "2", "3", "4", "5"]
    consumer = core.client()
    consumer.subscribe("/queue/DLQ.a", "client")
    letter = consumer.messages(1)[0]
    assert letter.body == b"body"
    headers = dict(letter.headers)
    assert headers.pop("message-id") == headers.pop("ack")
    assert headers == {
        "subscription": "0",
        "destination": "/queue/DLQ.a",
        "x": "1",
        "content-type": "text/plain",
        "content-length": "4",
        "original-destination": "/queue/a",
        "dead-letter-reason": "max-deliveries",
        "dead-letter-detail": "no: good",
        "dead-letter-time": "1000500",
        "timestamp": "1000500",
        "delivery-count": "5",
    }
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


def test_a_timestamp_of_the_sender_stays_with_a_dead_letter(core: Core) -> None:
    """Only a message without one gets the time at which it failed."""
    core.client().send("/queue/a", "x", timestamp="1")
    consumer = _consumer(core)
    consumer.nack(consumer.messages(1)[0], requeue="false")
    consumer.subscribe("/queue/DLQ.a", id="dlq")
    letter = consumer.messages(1)[0]
    assert letter["timestamp"] == "1"
    assert letter["dead-letter-time"] != "1"


def test_broken_connections_count_up_to_the_dead_letters(core: Core) -> None:
    """Five consumers that die over a message bring it to the dead letters, its neighbours not."""
    publish(core.client(), "/queue/a", numbers(1, 2))
    for _ in range(5):
        consumer = _consumer(core)
        assert consumer.bodies() == numbers(1, 2)
        consumer.close()
    assert _consumer(core).bodies() == ["2"]
    dead = core.client()
    dead.subscribe("/queue/DLQ.a")
    letter = dead.messages(1)[0]
    assert (letter.text, letter["dead-letter-reason"]) == ("1", "max-deliveries")
    assert letter.get("dead-letter-detail") is None


@pytest.mark.parametrize("value", ["false", "FALSE", " False ", "0"])
def test_nack_with_requeue_false_is_final(core: Core, value: str) -> None:
    """The message is a dead letter after its first attempt, with the reason of the NACK."""
    publish(core.client(), "/queue/a", ["x"])
    consumer = _consumer(core)
    consumer.nack(consumer.messages(1)[0], requeue=value, reason="bad\ninput")
    assert consumer.take() == []
    consumer.subscribe("/queue/DLQ.a", id="dlq")
    letter = consumer.messages(1)[0]
    assert letter["dead-letter-reason"] == "rejected"
    assert letter["dead-letter-detail"] == "bad\ninput"
    assert letter["delivery-count"] == "1"


def test_requeue_false_in_client_mode_covers_the_earlier_ones(core: Core) -> None:
    """NACK of the third with ``requeue:false`` makes three dead letters, in order."""
    publish(core.client(), "/queue/a", numbers(1, 4))
    consumer = _consumer(core, "client")
    consumer.nack(consumer.messages(4)[2], requeue="false")
    dead = core.client()
    dead.subscribe("/queue/DLQ.a")
    assert dead.bodies() == numbers(1, 3)


def test_requeue_true_is_an_ordinary_nack(core: Core) -> None:
    """Any other value leaves the message in its queue."""
    publish(core.client(), "/queue/a", ["x"])
    consumer = _consumer(core)
    consumer.nack(consumer.messages(1)[0], requeue="true")
    assert consumer.bodies() == ["x"]


def test_a_policy_names_the_dead_letter_queue() -> None:
    """One for many queues, as well as one made of the queue's name."""
    core = Core(
        settings(
            {"/queue/a.#": Policy(dead_letter="/queue/lost", max_deliveries=1)},
            dead_letter="/queue/{name}.dead",
            max_deliveries=1,
        )
    )
    consumer = core.client()
    for place, name in enumerate(["a.x", "b/y"]):
        core.client().send(f"/queue/{name}", name)
        consumer.subscribe(f"/queue/{name}", "client", id=str(place))
        consumer.nack(consumer.messages(1)[0])
    consumer.subscribe("/queue/lost", id="lost")
    consumer.subscribe("/queue/b/y.dead", id="dead")
    letters = consumer.messages(2)
    assert [letter["destination"] for letter in letters] == ["/queue/lost", "/queue/b/y.dead"]
    assert [letter["original-destination"] for letter in letters] == ["/queue/a.x", "/queue/b/y"]


def test_a_policy_without_dead_letters_drops() -> None:
    """Where no queue is named the message is gone after its last attempt."""
    core = Core(settings(dead_letter=None, max_deliveries=2))
    core.client().send("/queue/a", "x")
    assert _fail(core, 2) == ["1", "2"]
    assert list(core.broker.host("/").queues) == ["/queue/a"]
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


def test_a_policy_without_a_last_attempt_never_gives_up() -> None:
    """``max_deliveries`` 0 returns a message for ever."""
    core = Core(settings(max_deliveries=0))
    core.client().send("/queue/a", "x")
    assert _fail(core, 20)[-1] == "20"
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=1 unsettled=0 ")


def test_dead_letters_have_no_dead_letters(core: Core) -> None:
    """A dead letter stays however often it fails, and ``requeue:false`` ends it."""
    core.client().send("/queue/a", "x")
    _fail(core, 5)
    consumer = core.client()
    consumer.subscribe("/queue/DLQ.a", "client")
    for _ in range(20):
        letter = consumer.messages(1)[0]
        assert letter["delivery-count"] == "5"
        consumer.nack(letter)
    consumer.nack(consumer.messages(1)[0], requeue="false")
    assert consumer.take() == []
    assert sorted(core.broker.host("/").queues) == ["/queue/DLQ.a", "/queue/a"]
    assert core.queue("/queue/DLQ.a").startswith("<Queue /queue/DLQ.a ready=0 unsettled=0 ")


def test_a_repeated_dead_letter_keeps_its_count_once(core: Core) -> None:
    """``delivery-count`` stands once in the frame, with the count of the queue it came from."""
    core.client().send("/queue/a", "x")
    _fail(core, 5)
    consumer = core.client()
    consumer.subscribe("/queue/DLQ.a", "client")
    del consumer.octets[:]
    consumer.nack(consumer.messages(1)[0])
    assert consumer.octets.count(b"\ndelivery-count:") == 1
    again = consumer.messages(1)[0]
    assert (again["redelivered"], again["delivery-count"]) == ("true", "5")
    # The consumer of queue a was the second connection, and this its first delivery.
    assert again["original-message-id"] == "c2-1"


def test_a_queue_that_is_its_own_dead_letter_queue_drops() -> None:
    """A policy that names the queue itself cannot loop."""
    core = Core(settings(dead_letter="/queue/a", max_deliveries=1))
    core.client().send("/queue/a", "x")
    _fail(core, 1)
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


def test_dead_letters_into_a_topic_are_dropped() -> None:
    """Only a queue keeps dead letters; a policy that names something else drops them."""
    core = Core(settings(dead_letter="/topic/dead", max_deliveries=1))
    core.client().send("/queue/a", "x")
    _fail(core, 1)
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


@pytest.mark.clause("S-03")
@pytest.mark.parametrize("octets", [251, 252, 255])
def test_the_longest_names_have_dead_letters_too(core: Core, octets: int) -> None:
    """A name of up to 255 octets is no reason to lose a message, nor to fail its consumer."""
    name = "/queue/" + "n" * octets
    publish(core.client(), name, ["x", "y"])
    consumer = core.client()
    consumer.subscribe(name, "client")
    first, _ = consumer.messages(2)
    consumer.nack(first, requeue="false", receipt="r")
    assert consumer.receipts() == ["r"]
    consumer.subscribe("/queue/#", id="dead")
    letter = consumer.messages(1)[0]
    assert letter.text == "x"
    assert letter["original-destination"] == name


def test_a_message_that_returns_goes_to_whoever_waits(core: Core) -> None:
    """NACK by one of two consumers: the other may have it, in its turn."""
    one = _consumer(core, prefetch_count="1")
    two = _consumer(core, prefetch_count="1")
    publish(core.client(), "/queue/a", ["x"])
    one.nack(one.messages(1)[0])
    assert two.bodies() == ["x"]


def test_1_0_and_1_1_consumers_see_repetitions_too(core: Core) -> None:
    """The same headers in every version."""
    for version in ("1.0", "1.1"):
        publish(core.client(), "/queue/a", ["x"])
        consumer = core.client(version)
        consumer.subscribe("/queue/a", "client")
        first = consumer.messages(1)[0]
        consumer("UNSUBSCRIBE", id="0")
        consumer.subscribe("/queue/a", "auto")
        again = consumer.messages(1)[0]
        assert again["original-message-id"] == first["message-id"]
        assert (again["redelivered"], again["delivery-count"]) == ("true", "1")
        consumer.close()
