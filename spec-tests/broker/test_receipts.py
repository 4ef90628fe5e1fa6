"""RECEIPTs: one for each frame that asked, in the order of the frames, after the deed."""

import pytest
from broker.client import Core, numbers, publish, settings

from stompd.broker.policy import Policy, SessionLimits
from stompd.protocol.frame import VERSIONS


@pytest.mark.clause("R-01", "R-03", "R-04", "V10-17", "V10-22")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_frame_may_ask(core: Core, version: str) -> None:
    """Each of them gets exactly one RECEIPT, with its id."""
    client = core.client(version)
    publish(core.client(), "/queue/a", ["1", "2"])
    client.subscribe("/queue/a", "client-individual", receipt="subscribe")
    receipt, one, two = client.take(3)
    assert receipt["receipt-id"] == "subscribe"
    client.send("/queue/b", receipt="send")
    client("BEGIN", transaction="t", receipt="begin")
    client.ack(one, transaction="t", receipt="ack")
    client("COMMIT", transaction="t", receipt="commit")
    client("BEGIN", transaction="t")
    client("ABORT", transaction="t", receipt="abort")
    expected = ["send", "begin", "ack", "commit", "abort"]
    if version != "1.0":
        client.nack(two, requeue="false", receipt="nack")
        expected.append("nack")
    client("UNSUBSCRIBE", id="0", receipt="unsubscribe")
    client("DISCONNECT", receipt="disconnect")
    assert client.receipts() == [*expected, "unsubscribe", "disconnect"]


@pytest.mark.clause("R-03", "ESC-08")
@pytest.mark.parametrize(
    ("version", "receipt"),
    [
        (version, receipt)
        for version in VERSIONS
        for receipt in ("77", "", "a b", "é", "x" * 1024, "a:b\\c", "\u0663")
        if receipt or version != "1.0"  # which has no empty values
    ],
)
def test_a_receipt_is_echoed_exactly(core: Core, version: str, receipt: str) -> None:
    """Whatever the value, in the escapes of the version."""
    client = core.client(version)
    client.send("/topic/a", receipt=receipt)
    assert client.receipts() == [receipt]


@pytest.mark.clause("V10-06", "R-03")
def test_an_empty_receipt_of_1_0_is_answered(core: Core) -> None:
    """1.0 has no empty values, but a RECEIPT without its id would answer nothing."""
    client = core.client("1.0")
    client.write(b"SEND\ndestination:/topic/a\nreceipt:\n\n\0")
    assert client.octets.endswith(b"RECEIPT\nreceipt-id:\n\n\0\n")


@pytest.mark.clause("R-04", "E-05", "E-06")
def test_a_failed_frame_has_no_receipt(core: Core) -> None:
    """ERROR names it instead; what was confirmed before stays confirmed."""
    client = core.client()
    client.write(
        b"SEND\ndestination:/topic/a\nreceipt:1\n\n\0"
        b"SEND\nreceipt:2\n\n\0"
        b"SEND\ndestination:/topic/a\nreceipt:3\n\n\0"
    )
    receipt, error = client.take(2)
    assert receipt["receipt-id"] == "1"
    assert (error.command, error["receipt-id"]) == ("ERROR", "2")


@pytest.mark.clause("E-06")
def test_an_error_without_receipt_names_none(core: Core) -> None:
    """No ``receipt-id`` if the frame at fault had none."""
    client = core.client()
    client.send("/topic/a", receipt="1")
    client.take(1)
    client("SEND")
    assert "receipt-id" not in client.error().headers


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "BEGIN", "COMMIT"])
def test_a_receipt_that_is_too_long_stops_the_frame(command: str, version: str) -> None:
    """The frame is refused before it takes effect, and the limit is named."""
    core = Core(settings(limits=SessionLimits(receipt=10)))
    client = core.client(version)
    publish(core.client(), "/queue/in", ["x"])
    client.subscribe("/queue/in", "client", receipt="0123456789")
    receipt, message = client.take(2)
    assert receipt["receipt-id"] == "0123456789"
    client("BEGIN", transaction="t")
    client.send("/queue/out", "x", transaction="t")
    long = "0123456789a"
    if command == "ACK":
        client.ack(message, receipt=long)
    else:
        client(
            command,
            destination="/queue/out",
            id="0" if command == "UNSUBSCRIBE" else "1",
            receipt=long,
            transaction="new" if command in ("SEND", "BEGIN") else "t",
            **({"x-plain": "1"} if command == "SEND" else {}),
        )
    error = client.error()
    assert error["message"] == "receipt over the limit"
    assert b"10" in error.body
    assert core.queue("/queue/in").startswith("<Queue /queue/in ready=1 unsettled=0 ")
    assert core.queue("/queue/out").startswith("<Queue /queue/out ready=0 unsettled=0 ")


def test_a_send_whose_receipt_is_too_long_goes_nowhere() -> None:
    """Outside of a transaction as well: nothing is queued for an ERROR."""
    core = Core(settings(limits=SessionLimits(receipt=10)))
    client = core.client()
    client.send("/queue/a", "x", receipt="0123456789a")
    assert client.error()["message"] == "receipt over the limit"
    queue = core.broker.host("/").queues.get("/queue/a")
    assert queue is None or queue.depth == 0


@pytest.mark.clause("R-02", "R-09")
def test_receipts_come_in_the_order_of_their_frames(core: Core) -> None:
    """Two hundred frames of all kinds in one write: two hundred receipts, in that order."""
    client = core.client()
    frames = [
        b"SEND\ndestination:/queue/a\nreceipt:%d\npersistent:true\n\n\0",
        b"SUBSCRIBE\ndestination:/topic/a\nid:%d\nreceipt:%d\n\n\0",
        b"BEGIN\ntransaction:%d\nreceipt:%d\n\n\0",
        b"ABORT\ntransaction:%d\nreceipt:%d\n\n\0",
    ]
    data = bytearray()
    for number in range(200):
        frame = frames[number % 4]
        name = number - 1 if number % 4 == 3 else number
        data += frame % ((number,) if frame.count(b"%d") == 1 else (name, number))
    client.write(bytes(data))
    assert client.receipts() == numbers(0, 199)


@pytest.mark.clause("D-03", "D-06")
def test_disconnect_confirms_all_that_went_before(core: Core) -> None:
    """A thousand SENDs and a DISCONNECT in one write: queued all of them, one RECEIPT, the end."""
    client = core.client()
    sends = b"".join(b"SEND\ndestination:/queue/a\n\n%d\0" % number for number in range(1000))
    client.write(sends + b"DISCONNECT\nreceipt:bye\n\n\0")
    assert client.receipts() == ["bye"]
    assert client.closed
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=1000 ")


@pytest.mark.clause("D-04")
def test_nothing_is_done_after_disconnect(core: Core) -> None:
    """Frames behind DISCONNECT are ignored, without an ERROR."""
    client = core.client()
    client.write(b"DISCONNECT\nreceipt:bye\n\n\0SEND\ndestination:/queue/a\n\nx\0SEND\n\n\0")
    assert client.receipts() == ["bye"]
    assert core.broker.host("/").queues == {}


@pytest.mark.clause("D-06", "V10-18")
@pytest.mark.parametrize("version", VERSIONS)
def test_disconnect_without_receipt(core: Core, version: str) -> None:
    """The broker ends the session in silence."""
    client = core.client(version)
    client("DISCONNECT")
    assert client.take() == []
    assert client.closed


@pytest.mark.clause("D-06")
def test_no_message_is_added_after_disconnect(core: Core) -> None:
    """What goes back is not handed to another subscription of the same connection."""
    client = core.client()
    publish(core.client(), "/queue/a", numbers(1, 4))
    client.subscribe("/queue/a", "client", id="0", prefetch_count="2")
    client.subscribe("/queue/a", "auto", id="1")
    client.take(4)
    client("DISCONNECT", receipt="bye")
    assert client.receipts() == ["bye"]
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=2 unsettled=0 ")


@pytest.mark.clause("E-02")
def test_no_message_is_added_after_an_error(core: Core) -> None:
    """The same holds for a session that ends by a fault."""
    client = core.client()
    publish(core.client(), "/queue/a", numbers(1, 4))
    client.subscribe("/queue/a", "client", id="0", prefetch_count="2")
    client.subscribe("/queue/a", "client", id="1")
    client.take(4)
    client("SEND")
    assert client.take(1)[0].command == "ERROR"
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=4 unsettled=0 ")


@pytest.mark.clause("S-08", "E-06")
def test_a_refused_send_names_its_receipt() -> None:
    """A full queue that rejects answers with the receipt's id, and nothing is queued."""
    core = Core(settings({"/queue/a": Policy(max_messages=1, overflow="reject")}))
    client = core.client()
    client.send("/queue/a", "1", receipt="1")
    client.send("/queue/a", "2", receipt="2")
    receipt, error = client.take(2)
    assert receipt["receipt-id"] == "1"
    assert (error["message"], error["receipt-id"]) == ("queue is full", "2")
