"""ACK and NACK: what each mode covers, which ids are known, and what happens to the rest."""

import pytest
from broker.client import Client, Core, Got, numbers, publish, settings

from stompd.protocol.frame import VERSIONS


def _five(core: Core, ack: str, version: str = "1.2") -> Client:
    consumer = core.client(version)
    publish(core.client(), "/queue/a", numbers(1, 5))
    consumer.subscribe("/queue/a", ack)
    return consumer


def _redelivered(core: Core) -> list[str]:
    """What comes to the next consumer, all of it marked as a repetition."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    messages = consumer.messages()
    assert all(message.get("redelivered") == "true" for message in messages)
    return [message.text for message in messages]


@pytest.mark.clause("ACK-01", "ACK-02", "SUB-11", "M-07")
@pytest.mark.parametrize("ack", [None, "auto"])
def test_auto_settles_what_was_written(core: Core, ack: str | None) -> None:
    """In mode auto, the default, nothing comes again and no MESSAGE has an ``ack``."""
    consumer = core.client()
    publish(core.client(), "/queue/a", numbers(1, 100))
    consumer.subscribe("/queue/a", ack)
    messages = consumer.messages(100)
    assert all(message.get("ack") is None for message in messages)
    consumer.close()
    assert _redelivered(core) == []
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")


@pytest.mark.clause("ACK-02")
def test_auto_gives_back_what_was_never_written(core: Core) -> None:
    """What a broken connection's outbox still holds goes back to the queue, marked."""
    consumer = core.client()
    consumer.reading = False
    consumer.subscribe("/queue/a")
    publish(core.client(), "/queue/a", numbers(1, 3))
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=3 ")
    consumer.close()
    assert _redelivered(core) == numbers(1, 3)


@pytest.mark.clause("ACK-03", "ACK-04", "ACK-10", "D-01")
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_unacknowledged_messages_go_to_another_consumer(core: Core, ack: str) -> None:
    """When the connection that holds five messages breaks, a second consumer gets them, marked."""
    consumer = _five(core, ack)
    other = core.client()
    other.subscribe("/queue/a", ack)
    assert other.take(0) == []
    consumer.close()
    messages = other.messages(5)
    assert [message.text for message in messages] == numbers(1, 5)
    assert all(message["redelivered"] == "true" for message in messages)


@pytest.mark.clause("ACK-05")
@pytest.mark.parametrize("version", VERSIONS)
def test_client_mode_is_cumulative(core: Core, version: str) -> None:
    """ACK of the third of five settles the first three, in every version."""
    consumer = _five(core, "client", version)
    consumer.ack(consumer.messages(5)[2])
    consumer.close()
    assert _redelivered(core) == ["4", "5"]


@pytest.mark.clause("ACK-08")
@pytest.mark.parametrize("version", VERSIONS)
def test_individual_mode_settles_one(core: Core, version: str) -> None:
    """ACK of the third of five settles that one alone."""
    consumer = _five(core, "client-individual", version)
    consumer.ack(consumer.messages(5)[2])
    consumer.close()
    assert _redelivered(core) == ["1", "2", "4", "5"]


@pytest.mark.clause("ACK-06")
def test_cumulation_stays_inside_the_subscription(core: Core) -> None:
    """ACK of the last message of one subscription leaves the other's outstanding."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client", id="a")
    consumer.subscribe("/queue/b", "client", id="b")
    for body in numbers(1, 3):
        producer.send("/queue/a", f"a{body}")
        producer.send("/queue/b", f"b{body}")
    last = [message for message in consumer.messages(6) if message["subscription"] == "a"][-1]
    consumer.ack(last)
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 ")
    assert core.queue("/queue/b").startswith("<Queue /queue/b ready=0 unsettled=3 ")


@pytest.mark.clause("ACK-09")
def test_individual_nack_leaves_earlier_ones(core: Core) -> None:
    """NACK of the third of five brings that one back and no other."""
    consumer = _five(core, "client-individual")
    consumer.nack(consumer.messages(5)[2])
    again = consumer.messages(1)[0]
    assert (again.body, again["redelivered"], again["delivery-count"]) == (b"3", "true", "2")
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=5 ")


@pytest.mark.clause("ACK-15")
def test_client_nack_is_cumulative(core: Core) -> None:
    """NACK of the third of five brings the first three back, in order; two stay outstanding."""
    consumer = _five(core, "client")
    consumer.nack(consumer.messages(5)[2])
    again = consumer.messages(3)
    assert [message.text for message in again] == numbers(1, 3)
    assert [message["delivery-count"] for message in again] == ["2", "2", "2"]
    assert "unsettled=5" in core.queue("/queue/a")


@pytest.mark.clause("ACK-11", "R-01")
def test_receipt_of_an_ack(core: Core) -> None:
    """An ACK and a NACK that ask for a RECEIPT get it, before what the NACK brings back."""
    consumer = _five(core, "client-individual")
    first, second, *_ = consumer.messages(5)
    consumer.ack(first, receipt="ack")
    assert consumer.receipts() == ["ack"]
    consumer("NACK", id=second["ack"], requeue="false", receipt="nack")
    assert consumer.receipts() == ["nack"]


@pytest.mark.clause("ACK-16")
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_an_ack_may_be_repeated(core: Core, ack: str) -> None:
    """A delivery that is settled already is acknowledged again without effect, receipt included."""
    consumer = _five(core, ack)
    message = consumer.messages(5)[2]
    consumer.ack(message, receipt="1")
    consumer.ack(message, receipt="2")
    consumer.nack(message, receipt="3")
    assert consumer.receipts() == ["1", "2", "3"]
    assert core.queue("/queue/a").startswith(
        f"<Queue /queue/a ready=0 unsettled={2 if ack == 'client' else 4} "
    )


@pytest.mark.clause("ACK-16")
def test_an_earlier_ack_after_a_later_one_is_accepted(core: Core) -> None:
    """In mode client the third, then the first: the first was covered already."""
    consumer = _five(core, "client")
    messages = consumer.messages(5)
    consumer.ack(messages[2])
    consumer.ack(messages[0], receipt="r")
    assert consumer.receipts() == ["r"]


@pytest.mark.clause("ACK-16")
def test_an_ack_of_an_auto_delivery_is_accepted(core: Core) -> None:
    """Mode auto needs no ACK, and one changes nothing."""
    consumer = core.client()
    consumer.subscribe("/queue/a")
    publish(core.client(), "/queue/a", ["x"])
    message = consumer.messages(1)[0]
    consumer("ACK", id=message["message-id"], receipt="r")
    assert consumer.receipts() == ["r"]


@pytest.mark.clause("ACK-16")
def test_an_ack_after_unsubscribe_is_accepted(core: Core) -> None:
    """What went back to the queue with its subscription is acknowledged without effect."""
    consumer = _five(core, "client")
    messages = consumer.messages(5)
    consumer("UNSUBSCRIBE", id="0")
    consumer.ack(messages[4], receipt="r")
    assert consumer.receipts() == ["r"]
    assert _redelivered(core) == numbers(1, 5)


@pytest.mark.clause("ACK-11", "ACK-16")
@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize(
    "name", ["nope", "", "c1-", "c1-0", "c1-6", "c1-x", "c1--1", "c2-1", "c1-1 ", "c1-\u0661"]
)
def test_an_id_that_was_never_issued(core: Core, command: str, name: str) -> None:
    """An ACK or NACK of an unknown id is an ERROR that names the receipt, and the end."""
    consumer = _five(core, "client")
    consumer.take(5)
    consumer(command, id=name, receipt="r")
    error = consumer.error()
    assert error["message"] == f"{command} of an unknown message"
    assert error["receipt-id"] == "r"


@pytest.mark.clause("ACK-16")
def test_an_id_of_a_thousand_digits(core: Core) -> None:
    """A number that no counter reaches is unknown and costs nothing."""
    consumer = _five(core, "client")
    consumer.take(5)
    consumer("ACK", id="c1-" + "9" * 1000)
    assert consumer.error()["message"] == "ACK of an unknown message"


@pytest.mark.clause("ACK-11", "ACK-14")
@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("headers", [{}, {"message-id": "c1-1", "subscription": "0"}])
def test_ack_needs_an_id(core: Core, command: str, headers: dict[str, str]) -> None:
    """In 1.2 the id is the value of MESSAGE's ``ack``; a ``message-id`` does not replace it."""
    consumer = _five(core, "client")
    consumer.take(5)
    consumer(command, **headers)
    assert consumer.error()["message"] == f"{command} without id"


@pytest.mark.clause("V11-05")
@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("missing", ["message-id", "subscription"])
def test_ack_in_1_1_needs_both_headers(core: Core, command: str, missing: str) -> None:
    """Without ``message-id`` or without ``subscription`` a 1.1 ACK or NACK is an ERROR."""
    consumer = _five(core, "client", "1.1")
    message = consumer.messages(5)[0]
    headers = {name: message[name] for name in ("message-id", "subscription") if name != missing}
    consumer(command, **headers)
    assert consumer.error()["message"] == f"{command} without {missing}"


@pytest.mark.clause("V11-05")
def test_ack_in_1_1_names_the_subscription_of_the_delivery(core: Core) -> None:
    """Another subscription's id is an ERROR that says where the message went."""
    consumer = _five(core, "client", "1.1")
    message = consumer.messages(5)[0]
    consumer("ACK", message_id=message["message-id"], subscription="other")
    error = consumer.error()
    assert error["message"] == "ACK names another subscription"
    assert b'went to "0"' in error.body


@pytest.mark.clause("V11-06", "V11-07")
def test_ack_in_1_1_by_message_id_and_subscription(core: Core) -> None:
    """The two headers of the MESSAGE are all that an ACK needs; NACK works by the same."""
    consumer = _five(core, "client-individual", "1.1")
    messages = consumer.messages(5)
    assert all("ack" not in message.headers for message in messages)
    consumer.ack(messages[0], receipt="r")
    assert consumer.receipts() == ["r"]
    consumer.nack(messages[1])
    assert consumer.bodies() == ["2"]


@pytest.mark.clause("V10-13")
def test_ack_in_1_0_by_message_id(core: Core) -> None:
    """The ``message-id`` alone settles the delivery; a ``subscription`` that is there must fit."""
    consumer = _five(core, "client", "1.0")
    messages = consumer.messages(5)
    consumer("ACK", message_id=messages[1]["message-id"], receipt="r")
    consumer("ACK", message_id=messages[2]["message-id"], subscription="0", receipt="s")
    assert consumer.receipts() == ["r", "s"]
    consumer("ACK", message_id=messages[3]["message-id"], subscription="1")
    assert consumer.error()["message"] == "ACK names another subscription"
    assert _redelivered(core) == ["4", "5"]


@pytest.mark.clause("V10-03")
def test_nack_is_unknown_to_1_0(core: Core) -> None:
    """A NACK on a 1.0 session is an ERROR."""
    consumer = _five(core, "client", "1.0")
    message = consumer.messages(5)[0]
    consumer("NACK", message_id=message["message-id"])
    assert "STOMP 1.0" in consumer.error()["message"]


def test_ack_of_a_topics_message_is_accepted(core: Core) -> None:
    """On a topic there is nothing to settle: ACK is accepted, NACK drops."""
    consumer = core.client()
    consumer.subscribe("/topic/a", "client")
    publish(core.client(), "/topic/a", numbers(1, 2))
    one, two = consumer.messages(2)
    consumer.ack(one, receipt="1")
    consumer.nack(two, receipt="2")
    assert consumer.receipts() == ["1", "2"]


@pytest.mark.clause("M-06")
def test_ack_finds_its_delivery_among_two_subscriptions(core: Core) -> None:
    """A queue's message and a topic's copy at one connection are told apart by their ids."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", id="0")
    consumer.subscribe("/queue/a", "client-individual", id="1")
    publish(core.client(), "/queue/a", numbers(1, 2))
    one, two = consumer.messages(2)
    consumer.ack(two)
    consumer.close()
    assert _redelivered(core) == ["1"]
    assert (one["subscription"], two["subscription"]) == ("0", "1")


@pytest.mark.clause("SUB-10")
@pytest.mark.parametrize("ack", ["AUTO", "foo", "", "client "])
def test_unknown_ack_modes_are_refused(core: Core, ack: str) -> None:
    """Anything but the three modes is an ERROR that names them and the subscription."""
    consumer = core.client()
    consumer.subscribe("/queue/a", ack, id="x")
    error = consumer.error()
    assert error["message"] == "unknown ack mode"
    assert error["subscription"] == "x"
    assert b"client-individual" in error.body


def test_a_body_on_ack(core: Core) -> None:
    """Line ends in front of the NUL of an ACK are forgiven, anything else is an ERROR."""
    consumer = _five(core, "client")
    message = consumer.messages(5)[0]
    consumer.write(b"ACK\nid:%b\nreceipt:r\n\n\r\n\0" % message["ack"].encode())
    assert consumer.receipts() == ["r"]
    consumer.write(b"ACK\nid:%b\n\nbody\0" % message["ack"].encode())
    assert consumer.error()["message"] == "ACK must not have a body"


def test_the_credit_of_an_acknowledged_delivery_is_used_again() -> None:
    """With a credit of one, each ACK brings the next message, in each of the explicit modes."""
    for ack in ("client", "client-individual"):
        core = Core(settings(prefetch_count=1))
        consumer = core.client()
        publish(core.client(), "/queue/a", numbers(1, 3))
        consumer.subscribe("/queue/a", ack)
        got = []
        for _ in range(3):
            message = consumer.messages(1)[0]
            got.append(message.text)
            consumer.ack(message)
        assert got == numbers(1, 3)
        assert consumer.take() == []


def test_a_bare_ack_may_be_repeated(core: Core) -> None:
    """Without receipt or transaction as well, in each mode."""
    for ack in ("client", "client-individual"):
        consumer = _five(core, ack)
        message = consumer.messages(5)[4]
        consumer.ack(message)
        consumer.ack(message)
        assert consumer.alive()
        consumer.close()


@pytest.mark.clause("ACK-05", "ACK-08")
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_without_a_limit_nothing_is_counted(core: Core, ack: str) -> None:
    """ACK, NACK and ABORT work with unlimited prefetch as with any other."""
    publish(core.client(), "/queue/a", numbers(1, 4))
    consumer = core.client()
    consumer.subscribe("/queue/a", ack, prefetch_count="0", prefetch_bytes="0")
    one, two, three, _ = consumer.messages(4)
    consumer.ack(one)
    consumer.nack(two)
    again = consumer.messages(1)[0]
    consumer("BEGIN", transaction="t")
    consumer.ack(three, transaction="t")
    consumer("ABORT", transaction="t")
    consumer.ack(again)
    assert core.queue("/queue/a").startswith(
        f"<Queue /queue/a ready=0 unsettled={0 if ack == 'client' else 2} "
    )


@pytest.mark.clause("U-01")
def test_ack_and_unsubscribe_in_one_write(core: Core) -> None:
    """The credit of the ACK is not used any more."""
    publish(core.client(), "/queue/a", numbers(1, 2))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    message = consumer.messages(1)[0]
    consumer.write(b"ACK\nid:%b\n\n\0UNSUBSCRIBE\nid:0\n\n\0" % message["ack"].encode())
    assert consumer.take() == []
    assert core.queue("/queue/a") == "<Queue /queue/a ready=1 unsettled=0 tail=0 subscriptions=0>"


@pytest.mark.clause("ACK-11")
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_ack_in_1_2_goes_by_its_id_alone(core: Core, command: str) -> None:
    """Other headers that clients add out of habit are not looked at."""
    consumer = _five(core, "client-individual")
    message = consumer.messages(5)[4]
    consumer.ack(message, command, subscription="other", message_id="nope", receipt="r")
    assert Got("RECEIPT", {"receipt-id": "r"}, b"") in consumer.take()
