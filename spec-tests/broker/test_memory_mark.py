"""The mark for the memory of all messages: over it producers wait, and nobody else."""

import json
from dataclasses import replace

import pytest
from broker.asking import Asker, done
from broker.client import Client, Core, publish, settings

from stompd.broker.memory import OVERHEAD

# What a message of these tests counts: its octets, its header line, and what it takes besides.
_WEIGHT = 1000 + len("destination:/queue/a") + OVERHEAD
_BODY = "x" * 1000


@pytest.fixture
def core() -> Core:
    """A broker that has room for ten messages."""
    return Core(settings(memory_mark=10 * _WEIGHT))


def _fill(core: Core, count: int) -> None:
    """Put messages into /queue/a, and have the broker look."""
    publish(core.client(), "/queue/a", [_BODY] * count)
    core.broker.memory.check()
    core.run()


def test_producers_wait_and_go_on(core: Core) -> None:
    """Their frames are carried out later, in their order."""
    early = core.client()
    _fill(core, 9)
    assert not core.broker.memory.heavy
    publish(early, "/queue/a", ["under"])
    _fill(core, 1)
    assert core.broker.memory.heavy
    late = core.client()
    for client in (early, late):
        client.send("/queue/b", "1", receipt="r")
        client.send("/queue/b", "2")
        assert client.session.paused
        assert client.take() == []
        assert client.waiting == 2
    asker = Asker(core)
    assert asker("status")["paused_producers"] == 2
    rows = asker("connections")
    assert [row["paused_by"] for row in rows if row["paused"]] == [["memory-mark"]] * 2
    assert asker("purge", destination="/queue/a", keep=8) == done(3)
    core.tick(1)
    assert not core.broker.memory.heavy
    for client in (early, late):
        assert not client.session.paused
        assert client.receipts() == ["r"]
    assert sorted(asker.bodies("/queue/b")) == ["1", "1", "2", "2"]


def test_consumers_go_on_and_make_room(core: Core) -> None:
    """They subscribe, receive and acknowledge; down to nine tenths of the mark."""
    _fill(core, 11)
    producer = core.client()
    producer.send("/queue/b", "x")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual")
    messages = consumer.messages(11)
    consumer.ack(messages.pop())
    core.tick(1)
    assert producer.session.paused
    for message in messages[:1]:
        consumer.ack(message)
    core.tick(1)
    assert not producer.session.paused
    assert not core.broker.memory.heavy


def test_who_holds_deliveries_may_send(core: Core) -> None:
    """What it sends may be what it needs to settle them."""
    worker = core.client()
    worker.subscribe("/queue/a", "client-individual", prefetch_count="1")
    _fill(core, 11)
    (message,) = worker.messages(1)
    worker.send("/queue/result", "done", receipt="r")
    assert worker.receipts() == ["r"]
    worker("BEGIN", transaction="t")
    worker.ack(message, transaction="t")
    worker.send("/queue/result", "more", transaction="t")
    worker("COMMIT", transaction="t", receipt="c")
    assert [frame.command for frame in worker.take()] == ["MESSAGE", "RECEIPT"]
    assert not worker.session.paused


def test_who_asks_is_answered(core: Core) -> None:
    """Admin requests are SENDs that take no memory."""
    asker = Asker(core)
    _fill(core, 11)
    health = asker("health")
    assert health["ok"] is False
    assert health["checks"][1]["text"].startswith("producers wait: messages take ")
    assert [row["code"] for row in asker("explain", destination="/queue/a")["reasons"]] == [
        "memory-mark",
        "no-consumer",
    ]


def test_who_leaves_does_not_wait(core: Core) -> None:
    """What a peer had sent before it ended is carried out over the mark."""
    _fill(core, 11)
    producer = core.client()
    for number in range(3):
        producer.send("/queue/b", str(number))
    assert producer.waiting == 3
    producer.half_close()
    assert producer.waiting == 0
    other = core.client()
    other.send("/queue/b", "x")
    other.close()
    assert not core.broker.memory.blocked
    assert Asker(core)("queues", match="/queue/b")[0]["ready"] == 3


def test_it_is_told(core: Core) -> None:
    """An event at its begin and at its end, with what it was about."""
    watcher = core.administrator()
    watcher.subscribe("/topic/$SYS/events/producers-paused")
    watcher.subscribe("/topic/$SYS/events/producers-resumed", id="1")
    told: list[bool] = []
    core.broker.memory.changed = lambda: told.append(core.broker.memory.heavy)
    _fill(core, 10)
    event = json.loads(watcher.one("MESSAGE").body)
    assert (event["event"], event["mark"]) == ("producers-paused", 10 * _WEIGHT)
    assert event["weight"] == 10 * _WEIGHT
    core.client().subscribe("/queue/a")
    core.tick(1)
    event = json.loads(watcher.one("MESSAGE").body)
    assert (event["event"], event["weight"]) == ("producers-resumed", 0)
    assert told == [True, False]


def test_the_mark_may_change(core: Core) -> None:
    """Without one nobody waits; a look says how long none is needed."""
    _fill(core, 11)
    producer = core.client()
    producer.send("/queue/b", "x")
    broker = core.broker
    assert broker.memory.check() == 256 * 1024
    broker.reconfigure(replace(broker.settings, memory_mark=None))
    assert broker.memory.check() > 1 << 40
    core.run()
    assert not producer.session.paused
    assert not broker.memory.heavy
    assert broker.memory.check() > 1 << 40
    broker.reconfigure(replace(broker.settings, memory_mark=1 << 30))
    assert 1 << 27 < broker.memory.check() < 1 << 28
    core.tick(1)
    assert not broker.memory.heavy


def test_sessions_that_are_not_open_are_left_alone(core: Core) -> None:
    """Who is logging in meanwhile, and who has failed."""
    stranger = Client(core)
    failed = core.client()
    failed.send("/nowhere", "x")
    assert failed.error()
    _fill(core, 11)
    assert stranger.log_in({"accept-version": "1.2", "host": "/"}).command == "CONNECTED"
    stranger.send("/queue/b", "x")
    assert stranger.session.paused
