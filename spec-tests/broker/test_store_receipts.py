"""RECEIPT means carried out: what it confirms is on disk, if it has to be there."""

import pytest
from broker.restarting import RestartingCore

from stompd.broker.session import State

P = {"persistent": "true"}


@pytest.fixture
def core() -> RestartingCore:
    """A core whose store makes durable what it was told when the test says so."""
    return RestartingCore()


def waits(core: RestartingCore) -> None:
    """Have something wait for the disk that is nobody's concern here."""
    core.client().send("/queue/other", "1", **P)


def test_a_transient_send_waits_for_nothing(core: RestartingCore) -> None:
    """Its RECEIPT comes at once, whatever the disk has to do."""
    waits(core)
    client = core.client()
    client.send("/queue/a", "1", receipt="r")
    client.send("/topic/a", "1", receipt="t")
    assert client.receipts() == ["r", "t"]


@pytest.mark.parametrize(
    "headers",
    [
        P,
        {"retain": "remove"},
        {"retain": "set", **P},
        {"x_max_length": "3"},
        {"dedup_id": "1", **P},
        {"delay": "1000", **P},
    ],
)
def test_a_send_that_has_to_be_on_disk(core: RestartingCore, headers: dict[str, str]) -> None:
    """Its RECEIPT waits: for the message, for what was retained, for what the queue is."""
    waits(core)
    client = core.client()
    where = "/topic/a" if "retain" in headers else "/queue/a"
    client.send(where, "1", receipt="r", **headers)
    assert client.take() == []
    core.sync()
    assert client.receipts() == ["r"]


def test_a_repetition_waits_for_the_first_one(core: RestartingCore) -> None:
    """Who sends again because it does not know has to know by the second RECEIPT."""
    core.client().send("/queue/a", "1", dedup_id="x", **P)
    client = core.client()
    client.send("/queue/a", "1", dedup_id="x", receipt="r", **P)
    assert client.take() == []
    core.sync()
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("persistent", ["true", "false"])
def test_settling(core: RestartingCore, command: str, persistent: str) -> None:
    """ACK and NACK of what is on disk wait, others do not."""
    client = core.client()
    client.send("/queue/a", "1", persistent=persistent)
    core.sync()
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    waits(core)
    client.ack(message, command, receipt="r")
    waiting = persistent == "true"
    assert ("r" in [frame.get("receipt-id") for frame in client.take()]) is not waiting
    core.sync()
    assert client.receipts() == (["r"] if waiting else [])


@pytest.mark.parametrize("what", ["send", "retain", "ack", "policy", "nothing"])
def test_a_commit_waits_for_all_that_is_in_it(core: RestartingCore, what: str) -> None:
    """One thing that has to be on disk is enough."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    core.sync()
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    waits(core)
    client("BEGIN", transaction="t")
    client.send("/queue/b", "2", transaction="t")
    if what == "send":
        client.send("/queue/b", "2", transaction="t", **P)
    elif what == "retain":
        client.send("/topic/b", "2", transaction="t", retain="remove")
    elif what == "ack":
        client.ack(message, transaction="t")
    elif what == "policy":
        client.send("/queue/b", "2", transaction="t", priority="3", **P)
    client("COMMIT", transaction="t", receipt="r")
    assert (client.take() == []) is (what != "nothing")


def test_frames_of_a_transaction_are_confirmed_when_they_are_enlisted(core: RestartingCore) -> None:
    """It is COMMIT that makes them durable; and ABORT has nothing to wait for."""
    waits(core)
    client = core.client()
    client("BEGIN", transaction="t", receipt="b")
    client.send("/queue/b", "2", transaction="t", receipt="s", **P)
    client("ABORT", transaction="t", receipt="a")
    assert client.receipts() == ["b", "s", "a"]


def test_disconnect_confirms_all_that_came_before_it(core: RestartingCore) -> None:
    """Also what asked for no RECEIPT of its own."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client("DISCONNECT", receipt="bye")
    assert client.take() == []
    assert client.session.state is State.LEAVING
    core.sync()
    assert client.receipts() == ["bye"]
    assert client.closed


@pytest.mark.parametrize(
    ("where", "headers"),
    [
        ("/topic/t", {"durable": "true"}),
        ("/topic/t", {"durable": "true", "x_queue_name": "q", "auto_delete": "false"}),
        ("/queue/Consumer.A.VirtualTopic.t", {}),
        ("/queue/q", {"x_max_length": "3"}),
    ],
)
def test_a_subscribe_that_makes_something(
    core: RestartingCore, where: str, headers: dict[str, str]
) -> None:
    """What it makes is on disk before its RECEIPT, and that comes before its first MESSAGE."""
    client = core.client(client_id="me")
    client.subscribe(where, "client", id="1", receipt="r", **headers)
    target = where if where == "/queue/q" else "/topic/t"
    if "Virtual" in where:
        target = "/topic/VirtualTopic.t"
    core.client().send(target, "1")
    assert client.take() == []
    core.sync()
    receipt, message = client.take(2)
    assert receipt["receipt-id"] == "r"
    assert message.text == "1"
    # It is there already, so a second one waits for nothing.
    waits(core)
    other = core.client()
    other.subscribe("/queue/q", id="2", receipt="r")
    assert other.receipts() == ["r"]


def test_a_second_subscriber_waits_for_what_the_first_has_made(core: RestartingCore) -> None:
    """A durable subscription that he joins may not be on disk yet."""
    core.client().subscribe("/topic/t", "client", id="1", durable="true", x_queue_name="q")
    other = core.client()
    other.subscribe("/topic/t", "client", id="1", durable="true", x_queue_name="q", receipt="r")
    assert other.take() == []
    core.sync()
    assert other.receipts() == ["r"]


def test_a_subscribe_that_ended_before_its_receipt(core: RestartingCore) -> None:
    """Nothing is delivered behind its RECEIPT to a subscription that is gone."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="1", durable="true", receipt="r")
    client("UNSUBSCRIBE", id="1")
    core.client().send("/topic/t", "1")
    core.sync()
    assert client.receipts() == ["r"]
    assert core.broker.host("/").durables["me", "1"].queue.depth == 1


def test_a_subscribe_that_is_confirmed_while_the_broker_drains(core: RestartingCore) -> None:
    """Nothing new is delivered then."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="1", durable="true", receipt="r")
    core.client().send("/topic/t", "1", **P)
    core.broker.drain()
    core.sync()
    assert [frame.command for frame in client.take()] == ["RECEIPT", "ERROR"]


def test_a_subscribe_without_receipt_is_served_at_once(core: RestartingCore) -> None:
    """It asked for no promise."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="1", durable="true")
    core.client().send("/topic/t", "1")
    assert client.bodies() == ["1"]


@pytest.mark.parametrize("connected", [True, False])
def test_the_deletion_of_a_durable_subscription(
    core: RestartingCore,
    connected: bool,  # noqa: FBT001 - of the test
) -> None:
    """Its RECEIPT says that it is gone for good."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="1", durable="true")
    if not connected:
        client("UNSUBSCRIBE", id="1", receipt="away")
    core.sync()
    client.take()
    client("UNSUBSCRIBE", id="1", durable="true", receipt="r")
    assert client.take() == []
    core.sync()
    assert client.receipts() == ["r"]
    core.crash()
    assert core.broker.host("/").durables == {}


def test_what_else_waits_for_the_disk(core: RestartingCore) -> None:
    """An action is carried out when all is on disk that happened before; now, if it is."""
    done: list[str] = []
    core.broker.when_durable(lambda: done.append("at once"))
    assert done == ["at once"]
    core.client().send("/queue/a", "1", **P)
    core.broker.when_durable(lambda: done.append("first"))
    ticket, _ = core.restarting.take_batch()
    core.client().send("/queue/a", "2", **P)
    core.broker.when_durable(lambda: done.append("second"))
    assert done == ["at once"]
    core.confirm(ticket)
    assert done == ["at once", "first"]
    core.sync()
    assert done == ["at once", "first", "second"]
