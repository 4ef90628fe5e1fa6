"""What is going on, as plain rows; and the store that keeps nothing."""

import pytest
from broker.client import Core, publish, settings
from broker.paging import PagedCore

from stompd.broker import admin
from stompd.broker.message import Message
from stompd.broker.storage import Fetch
from stompd.protocol.frame import Head
from stompd.store.memory import MemoryStore


@pytest.fixture
def busy() -> Core:
    """A broker with a consumer that holds one of three messages, and a publisher in the midst."""
    core = Core(settings(virtual_hosts=("/", "b")))
    consumer, publisher = core.client(), core.client("1.1")
    core.client(host="b").subscribe("/queue/z")
    consumer.subscribe("/queue/a", "client", id="x", prefetch_count="1")
    consumer.subscribe("/topic/t", id="y")
    publish(publisher, "/queue/a", ["1", "22", "333"])
    publish(publisher, "/topic/t", ["t"])
    publisher("BEGIN", transaction="tx")
    publisher.send("/queue/a", "4444", transaction="tx")
    core.tick(2.5)
    return core


def test_status(busy: Core) -> None:
    """The totals over all virtual hosts."""
    size = 3 * len("destination:/queue/a") + 6
    assert admin.status(busy.broker) == {
        "server": "stompd",
        "version": "",
        "uptime": 2.5,
        "connections": 3,
        "connections_opened": 3,
        "queues": 2,
        "topics": 1,
        "messages": 2,
        "unsettled": 1,
        "delayed": 0,
        "bytes": size,
        "weight": size + 3 * 512,
        "memory_mark": None,
        "paused_producers": 0,
        "draining": False,
        "store": {
            "kind": "memory",
            "path": None,
            "file_bytes": None,
            "pending_bytes": 0,
            "congested": False,
            "full": False,
            "commits": 0,
            "last_commit": None,
        },
    }


def test_queues(busy: Core) -> None:
    """A row for each, by virtual host and name."""
    first, second = admin.queues(busy.broker)
    assert first == {
        "vhost": "/",
        "name": "/queue/a",
        "ready": 2,
        "inflight": 1,
        "delayed": 0,
        "tail": 0,
        "consumers": 1,
        "browsers": 0,
        "bytes": 3 * len("destination:/queue/a") + 6,
        "memory_messages": 3,
        "memory_bytes": 3 * len("destination:/queue/a") + 6,
        "disk_messages": 0,
        "disk_bytes": 0,
        "received": 3,
        "settled": 0,
        "expired": 0,
        "dead_lettered": 0,
        "redelivered": 0,
        "repeated": 0,
        "in_rate": 0.0,
        "out_rate": 0.0,
        "oldest": 0.0,
        "paused": False,
        "paused_producers": 0,
        "blocked_producers": 0,
        "dead_letter_queue": "/queue/DLQ.a",
        "owner": None,
    }
    assert (second["vhost"], second["name"]) == ("b", "/queue/z")


def test_rows_are_sorted_by_name() -> None:
    """Whatever was made first."""
    core = Core()
    client = core.client()
    for name in "cab":
        publish(client, f"/queue/{name}", ["x"])
        publish(client, f"/topic/{name}", ["x"])
    assert [row["name"] for row in admin.queues(core.broker)] == [
        "/queue/a",
        "/queue/b",
        "/queue/c",
    ]
    assert [row["name"] for row in admin.topics(core.broker)] == [
        "/topic/a",
        "/topic/b",
        "/topic/c",
    ]


def test_topics(busy: Core) -> None:
    """A row for each, with what it got and who listens."""
    assert admin.topics(busy.broker) == [
        {
            "vhost": "/",
            "name": "/topic/t",
            "subscribers": 1,
            "durable_subscriptions": 0,
            "received": 1,
            "retained": False,
            "delayed": 0,
            "in_rate": 0.0,
        }
    ]


def test_connections(busy: Core) -> None:
    """A row for each, oldest first, with what it has open and how it behaves."""
    consumer, publisher, other = admin.connections(busy.broker)
    assert consumer == {
        "id": "c1",
        "peer": "test",
        "user": None,
        "client_id": None,
        "version": "1.2",
        "vhost": "/",
        "state": "open",
        "subscriptions": 2,
        "transactions": 0,
        "unsettled": 1,
        "sent": 0,
        "delivered": 2,
        "outbox": 0,
        "paused": False,
        "paused_by": [],
        "paused_because": [],
        "age": 2.5,
        "silent": 2.5,
        "unhonoured": [],
    }
    assert (publisher["version"], publisher["sent"], publisher["transactions"]) == ("1.1", 5, 1)
    assert other["vhost"] == "b"


def test_subscriptions(busy: Core) -> None:
    """A row for each, by connection."""
    rows = admin.subscriptions(busy.broker)
    assert rows[0] == {
        "connection": "c1",
        "id": "x",
        "destination": "/queue/a",
        "ack": "client",
        "unsettled": 1,
        "delivered": 1,
        "dropped": 0,
        "held": 0,
        "selector": None,
        "exclusive": False,
        "priority": 0,
        "browser": False,
        "durable": None,
        "prefetch_count": 1,
        "prefetch_bytes": 4 * 1024 * 1024,
        "open": False,
    }
    assert [row["id"] for row in rows] == ["x", "y", "0"]
    assert [
        repr(s)
        for session in busy.broker.sessions.values()
        for s in (session.subscriptions.values())
    ] == [
        "<Subscription c1/x /queue/a client unsettled=1>",
        "<Subscription c1/y /topic/t auto unsettled=0>",
        "<Subscription c3/0 /queue/z auto unsettled=0>",
    ]


def test_transactions(busy: Core) -> None:
    """A row for each open one; it goes with its COMMIT."""
    row, *others = admin.transactions(busy.broker)
    assert others == []
    assert (row["connection"], row["id"], row["sends"], row["settlements"]) == ("c2", "tx", 1, 0)
    assert row["bytes"] >= 4
    busy.clients[1]("COMMIT", transaction="tx")
    assert admin.transactions(busy.broker) == []


def test_a_transactions_settlements_are_told() -> None:
    """Each ACK and NACK is one of them."""
    core = Core()
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual")
    publish(core.client(), "/queue/a", ["1", "2"])
    consumer("BEGIN", transaction="t")
    for message in consumer.messages(2):
        consumer.ack(message, transaction="t")
    assert admin.transactions(core.broker)[0]["settlements"] == 2


def test_a_tail_is_told() -> None:
    """Messages and octets in the store count as those in memory do."""
    core = PagedCore(settings(window_messages=1))
    publish(core.client(), "/queue/a", ["1", "2", "3"])
    row = admin.queues(core.broker)[0]
    assert (row["ready"], row["tail"]) == (3, 2)
    assert row["bytes"] == 3 * (len("destination:/queue/a") + 1)


def test_counts_of_a_paused_connection() -> None:
    """Who waits for room says so."""
    core = Core(settings(max_messages=1))
    producer = core.client()
    publish(producer, "/queue/a", ["1", "2", "3"])
    assert [row["paused"] for row in admin.connections(core.broker)] == [True]
    producer.close()
    assert admin.connections(core.broker) == []
    assert admin.status(core.broker)["connections_opened"] == 1


# The store in memory.


def test_the_memory_store_has_nothing_pending() -> None:
    """Whatever it is told, no promise waits for it, and it has nothing to give back."""
    store = MemoryStore()
    key = ("/", "/queue/a")
    message = Message(Head.of("SEND", {"destination": "/queue/a"}), b"x", None, persistent=True)
    store.begin_group()
    store.put(key, message)
    store.requeue(key, message)
    store.settle(key, message)
    store.end_group()
    store.drop(key, 4, 0, 9, ())
    store.forget(key)
    store.remember(key, "one", 1.0)
    store.unremember(key, "one")
    store.define("queue", key, {})
    store.undefine("queue", key)
    assert store.ticket() == 0
    assert not store.pages
    assert not store.congested
    assert not store.full
    with pytest.raises(AssertionError):
        store.fetch(Fetch(key, "ready", lambda _messages, _dues: None, count=1, octets=1))


@pytest.mark.clause("R-02")
def test_over_the_memory_store_persistent_messages_are_confirmed_at_once() -> None:
    """There is nothing to wait for, and a queue never has a tail."""
    core = Core(settings(window_messages=1))
    client = core.client()
    for number in range(5):
        client.send("/queue/a", "x", persistent="true", receipt=str(number))
    assert client.receipts() == ["0", "1", "2", "3", "4"]
    assert core.queue("/queue/a") == ("<Queue /queue/a ready=5 unsettled=0 tail=0 subscriptions=0>")
