"""A disk that is full, and one that is behind: who waits, who is refused, and who goes on."""

import json

import pytest
from broker.asking import Asker
from broker.client import Client
from broker.restarting import RestartingCore, RestartingStore

from stompd.broker.policy import Policies, Policy, PolicyRule, Settings

P = {"persistent": "true"}


class Filling(RestartingStore):
    """A store whose room the test decides on."""

    full = False
    congested = False


class FillingCore(RestartingCore):
    """A core whose disk may be full or behind."""

    @property
    def disk(self) -> Filling:
        """The store, to be told how it is."""
        assert isinstance(self.restarting, Filling)
        return self.restarting


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FillingCore:
    """A core whose disk has room and is in time, at first."""
    monkeypatch.setattr("broker.restarting.RestartingStore", Filling)
    policies = Policies([PolicyRule("/queue/kept", Policy(persistent=True))])
    return FillingCore(Settings(policies=policies))


def fill(core: FillingCore) -> None:
    """Have a batch find no room."""
    core.disk.full = True
    ticket, _ = core.restarting.take_batch()
    core.broker.disk_full(ticket)
    core.run()


def refused(client: Client) -> bool:
    """Return whether a client was told that the disk is full."""
    error = client.error()
    return error["message"] == "disk full" and "persistent:true" in error.text


@pytest.mark.parametrize("where", ["/queue/a", "/topic/a", "/queue/a,/queue/b"])
def test_a_persistent_send_is_refused(core: FillingCore, where: str) -> None:
    """Nothing of it happens; ERROR names its receipt, and says what to do."""
    core.disk.full = True
    client = core.client()
    client.send(where, "1", receipt="r", **P)
    error = client.error()
    assert error["message"] == "disk full"
    assert error["receipt-id"] == "r"
    assert client.session.send_count == 0
    assert core.restarting.count == 0


def test_what_a_policy_makes_persistent_is_refused(core: FillingCore) -> None:
    """But for what its sender does not want on disk."""
    core.disk.full = True
    client = core.client()
    client.send("/queue/kept", "1", persistent="false", receipt="r")
    assert client.receipts() == ["r"]
    client.send("/queue/kept", "1")
    assert refused(client)


def test_everything_else_goes_on(core: FillingCore) -> None:
    """Transient SENDs, deliveries, ACKs, and requests of administrators."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    core.sync()
    fill(core)
    client.send("/queue/a", "2", receipt="r")
    assert client.receipts() == ["r"]
    client.subscribe("/queue/a", "client-individual")
    for message in client.messages(2):
        client.ack(message)
    assert core.broker.host("/").queues["/queue/a"].count == 0
    boss = core.administrator()
    boss.send("/admin/queues", "{}", reply_to="/temp-queue/answers", **P)
    assert json.loads(boss.one("MESSAGE").body)["ok"]


def test_a_commit_is_refused_as_a_whole(core: FillingCore) -> None:
    """With a persistent SEND in it; what it acknowledged comes back to its queue."""
    client = core.client()
    client.send("/queue/a", "1")
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    core.disk.full = True
    client("BEGIN", transaction="t")
    client.send("/queue/b", "2", transaction="t")
    client.send("/queue/b", "3", transaction="t", receipt="s", **P)
    assert client.receipts() == ["s"]
    client.ack(message, transaction="t")
    client("COMMIT", transaction="t", receipt="r")
    assert refused(client)
    queues = core.broker.host("/").queues
    assert queues["/queue/a"].depth == 1
    assert queues["/queue/b"].put_count == 0


def test_a_commit_without_a_persistent_send_goes_on(core: FillingCore) -> None:
    """It may be what makes room."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    core.sync()
    core.disk.full = True
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client("COMMIT", transaction="t", receipt="r")
    assert client.take() == []
    core.sync()
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("way", ["send", "commit"])
def test_who_waits_for_a_receipt_is_told(core: FillingCore, way: str) -> None:
    """ERROR instead of the RECEIPT of what could not be written, and never both."""
    client = core.client()
    if way == "send":
        client.send("/queue/a", "1", receipt="r", **P)
    else:
        client("BEGIN", transaction="t")
        client.send("/queue/a", "1", transaction="t", **P)
        client("COMMIT", transaction="t", receipt="r")
    fill(core)
    error = client.error()
    assert error["message"] == "disk full"
    assert error["receipt-id"] == "r"
    core.disk.full = False
    core.sync()
    assert client.take() == []


def test_who_waits_for_an_ack_waits_on(core: FillingCore) -> None:
    """An ACK needs no room, and its RECEIPT comes when there is some."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    core.sync()
    client.subscribe("/queue/a", "client-individual")
    client.ack(client.one("MESSAGE"), receipt="a")
    later = core.client()
    ticket, _ = core.restarting.take_batch()
    later.send("/queue/b", "2", receipt="r", **P)
    core.disk.full = True
    core.broker.disk_full(ticket)
    core.run()
    assert client.take() == []
    # What is in a later batch has not failed yet.
    assert later.take() == []
    core.broker.disk_full(ticket + 1)
    core.run()
    assert refused(later)
    core.disk.full = False
    core.sync()
    assert client.receipts() == ["a"]


def test_who_has_said_goodbye_is_told_as_well(core: FillingCore) -> None:
    """A client that left and waits for its receipts learns that one of them cannot come."""
    client = core.client()
    client.send("/queue/a", "1", receipt="r", **P)
    client("DISCONNECT", receipt="bye")
    fill(core)
    assert refused(client)


def test_events_tell_of_a_full_disk(core: FillingCore) -> None:
    """Once when it begins, and once when there is room again."""
    boss = core.administrator()
    boss.subscribe("/topic/$SYS/events/*")
    core.client().send("/queue/a", "1", **P)
    boss.take()
    fill(core)
    core.broker.disk_full(1)
    core.broker.disk_free()
    core.broker.disk_free()
    core.run()
    events = [json.loads(message.body)["event"] for message in boss.messages()]
    assert events == ["disk-full", "disk-free"]
    core.disk.full = False
    client = core.client()
    client.send("/queue/a", "2", receipt="r", **P)
    core.sync()
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("way", ["send", "commit"])
def test_who_sends_waits_for_a_disk_that_is_behind(core: FillingCore, way: str) -> None:
    """Its frame is carried out later, once, and everything behind it after it."""
    core.disk.congested = True
    client = core.client()
    client.send("/queue/a", "transient")
    if way == "send":
        client.send("/queue/a", "persistent", **P)
    else:
        client("BEGIN", transaction="t")
        client.send("/queue/a", "persistent", transaction="t", **P)
        client("COMMIT", transaction="t")
    client.send("/queue/a", "behind")
    assert client.session.paused
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.put_count == 1
    reader = core.client()
    reader.subscribe("/queue/a", "client-individual")
    core.tick(1)
    assert reader.bodies() == ["transient"]
    core.disk.congested = False
    core.broker.store_drained()
    core.run()
    assert reader.bodies() == ["persistent", "behind"]
    assert client.session.send_count == 3


def test_who_holds_deliveries_waits_as_well(core: FillingCore) -> None:
    """A disk catches up by itself, so nobody can be locked by that."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    core.disk.congested = True
    client.send("/queue/b", "2", **P)
    client.ack(message, receipt="r")
    assert client.waiting == 2
    core.disk.congested = False
    core.broker.store_drained()
    core.run()
    core.sync()
    assert client.receipts() == ["r"]


def test_who_waits_is_refused_when_the_disk_is_full(core: FillingCore) -> None:
    """A disk that is behind may never catch up."""
    core.disk.congested = True
    client = core.client()
    client.send("/queue/a", "1", **P)
    assert client.session.paused
    fill(core)
    assert refused(client)


def test_who_has_ended_does_not_wait(core: FillingCore) -> None:
    """What a peer sent before it ended is carried out."""
    core.disk.congested = True
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.half_close()
    assert core.restarting.count == 1


def test_an_administrator_sees_who_waits(core: FillingCore) -> None:
    """By the word `store`."""
    core.disk.congested = True
    client = core.client()
    client.send("/queue/a", "1", **P)
    rows = Asker(core)("connections")
    assert [row["paused_by"] for row in rows if row["paused"]] == [["store"]]
