"""Headers of other brokers that have no effect: told once, never silently dropped."""

import json

from broker.client import Client, Core

KIND = "/topic/$SYS/events/unhonoured"


def _heard(listener: Client) -> list[tuple[str, list[str]]]:
    """Return the connections and headers of the events that came."""
    events = [json.loads(message.body) for message in listener.messages()]
    assert {event["event"] for event in events} <= {"unhonoured"}
    return [(event["connection"], event["headers"]) for event in events]


def test_each_header_is_told_once_per_connection(core: Core) -> None:
    """As an event; and the session remembers them, in their order, for listings."""
    listener, one, two = core.administrator(), core.administrator(), core.administrator()
    listener.subscribe(KIND)
    headers = {"x-queue-mode": "lazy", "x-stream-offset": "first"}
    one.subscribe("/queue/a", id="0", **headers)
    one.subscribe("/queue/b", id="1", **headers)
    for _ in range(2):
        one.send("/queue/a", "x", JMSDeliveryMode="2", **headers)
    two.send("/queue/a", "x", JMSDeliveryMode="2")
    assert _heard(listener) == [
        (one.session.id, ["x-queue-mode", "x-stream-offset"]),
        (one.session.id, ["JMSDeliveryMode"]),
        (two.session.id, ["JMSDeliveryMode"]),
    ]
    assert list(one.session.unhonoured) == ["x-queue-mode", "x-stream-offset", "JMSDeliveryMode"]
    assert list(two.session.unhonoured) == ["JMSDeliveryMode"]


def test_the_frame_is_carried_out(core: Core) -> None:
    """Its RECEIPT comes, and the header travels with the message."""
    client = core.administrator()
    client.subscribe("/queue/a", receipt="s", from_seq="5")
    client.send("/queue/a", "x", receipt="r", transformation="jms-xml")
    frames = client.take(3)
    assert [frame.command for frame in frames] == ["RECEIPT", "MESSAGE", "RECEIPT"]
    assert frames[1]["transformation"] == "jms-xml"
    assert list(client.session.unhonoured) == ["from-seq", "transformation"]


def test_what_is_not_known_is_not_told(core: Core) -> None:
    """Headers of the application are nobody's business, and what asks for nothing is no news."""
    listener, client = core.administrator(), core.administrator()
    listener.subscribe(KIND)
    client.subscribe("/queue/a", id="0", x_mine="1", transformation="")
    client.send("/queue/a", "x", my_header="1", x_queue_mode="")
    assert _heard(listener) == []
    assert client.session.unhonoured == {}


def test_a_differing_repeat_is_told(core: Core) -> None:
    """The event names the headers that ask for something else."""
    listener, client = core.administrator(), core.administrator()
    listener.subscribe(KIND)
    client.subscribe("/queue/a", id="0", x_max_length="5")
    client.subscribe("/queue/a", id="1", x_max_length="6", x_message_ttl="1000")
    assert _heard(listener) == [(client.session.id, ["x-max-length", "x-message-ttl"])]


def test_within_a_transaction(core: Core) -> None:
    """It is told when the SEND is read."""
    listener, client = core.administrator(), core.administrator()
    listener.subscribe(KIND)
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", transaction="t", transformation="jms-xml")
    client("ABORT", transaction="t")
    assert _heard(listener) == [(client.session.id, ["transformation"])]


def test_one_that_listens_hears_of_itself(core: Core) -> None:
    """Behind the RECEIPT of the SUBSCRIBE that it is about."""
    client = core.administrator()
    client.subscribe(KIND, receipt="s", transformation="x")
    receipt, event = client.take(2)
    assert receipt.command == "RECEIPT"
    assert json.loads(event.body)["headers"] == ["transformation"]
