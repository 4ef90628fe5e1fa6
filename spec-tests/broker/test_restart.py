"""What is there again after a restart: queues, topics, subscriptions, and what they hold.

Each test says what is on disk by `sync`, crashes or stops, and looks at what clients get then.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Got
from broker.restarting import Disk, RestartingCore

from stompd.broker.policy import Policies, Policy, PolicyRule, Settings
from stompd.broker.storage import Kind
from stompd.protocol.encoder import encode

P = {"persistent": "true"}


@pytest.fixture
def core() -> RestartingCore:
    """A core that can be restarted, with the default settings."""
    return RestartingCore()


def ruled(match: str, policy: Policy, **settings: Any) -> RestartingCore:  # noqa: ANN401
    """Return a core with one rule of policies."""
    return RestartingCore(Settings(policies=Policies([PolicyRule(match, policy)]), **settings))


def drained(core: RestartingCore, destination: str, **headers: str) -> list[str]:
    """Return the bodies of all that waits in a destination; it is consumed."""
    client = core.client(**({"client_id": headers.pop("client")} if "client" in headers else {}))
    client.subscribe(destination, "client-individual", **headers)
    core.answer_all()
    found = []
    while frames := client.messages():
        for frame in frames:
            found.append(frame.text)
            client.ack(frame)
        core.answer_all()
    client("DISCONNECT")
    core.run()
    return found


# Messages of queues.


def test_a_crash_keeps_what_was_on_disk(core: RestartingCore) -> None:
    """Persistent messages are there again in their order; transient and unwritten ones are not."""
    client = core.client()
    for body in ("1", "2"):
        client.send("/queue/a", body, **P)
        client.send("/queue/a", f"transient {body}")
    core.sync()
    client.send("/queue/a", "unwritten", **P)
    core.crash()
    assert drained(core, "/queue/a") == ["1", "2"]


def test_an_end_in_good_order_keeps_everything_in_its_order(core: RestartingCore) -> None:
    """Transient messages come back at their places, among persistent ones, returned ones too."""
    client = core.client()
    for number in range(6):
        client.send("/queue/a", str(number), **(P if number % 2 else {}))
    client.subscribe("/queue/a", "client")
    assert len(client.messages()) == 6
    core.stop()
    reader = core.client()
    reader.subscribe("/queue/a", "client")
    core.answer_all()
    got = reader.messages(6)
    assert [frame.text for frame in got] == ["0", "1", "2", "3", "4", "5"]
    assert {frame["redelivered"] for frame in got} == {"true"}


def test_what_was_delivered_is_not_marked_after_a_crash(core: RestartingCore) -> None:
    """Nobody wrote down that a message was delivered, so nothing says that it was."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    core.sync()
    client.subscribe("/queue/a", "client")
    client.messages(1)
    core.sync()
    core.crash()
    reader = core.client()
    reader.subscribe("/queue/a", "client")
    core.answer_all()
    assert reader.one("MESSAGE").get("redelivered") is None


def test_what_came_back_before_a_crash_is_marked(core: RestartingCore) -> None:
    """A NACK is written down: attempts go on being counted."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.subscribe("/queue/a", "client-individual")
    client.nack(client.one("MESSAGE"))
    client.messages(1)
    core.sync()
    core.crash()
    reader = core.client()
    reader.subscribe("/queue/a", "client")
    core.answer_all()
    assert reader.one("MESSAGE")["delivery-count"] == "2"


def test_what_was_acknowledged_stays_away(core: RestartingCore) -> None:
    """An ACK that is on disk is true after a crash."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.send("/queue/a", "2", **P)
    client.subscribe("/queue/a", "client-individual")
    client.ack(client.messages(2)[0])
    core.sync()
    core.crash()
    assert drained(core, "/queue/a") == ["2"]


def test_ids_of_sessions_are_never_the_same(core: RestartingCore) -> None:
    """A message-id of before the restart means nothing after it."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.subscribe("/queue/a", "client")
    before = client.one("MESSAGE")
    assert before["message-id"] == "c1-1-1"
    core.sync()
    core.crash()
    reader = core.client()
    reader.subscribe("/queue/a", "client")
    core.answer_all()
    assert reader.one("MESSAGE")["message-id"] == "c2-1-1"
    reader.ack(before)
    assert reader.error()["message"] == "ACK of an unknown message"


def test_a_temporary_queue_is_forgotten(core: RestartingCore) -> None:
    """It went with its session, which a crash ends as well, and its messages with it."""
    client = core.client()
    client.subscribe("/temp-queue/mine", "client")
    client.send("/temp-queue/mine", "1", **P)
    client.send("/temp-topic/mine", "2", retain="set", **P)
    core.sync()
    core.crash()
    assert core.restarting.count == 0
    assert [queue for host in core.broker.hosts for queue in host.queues] == []
    core.stop()
    assert core.restarting.disk == Disk()


def test_the_transient_messages_of_a_temporary_queue_are_not_kept(core: RestartingCore) -> None:
    """An end in good order keeps nothing of what goes with its session."""
    client = core.client()
    client.send("/temp-queue/mine", "1")
    assert core.broker.persist_transient() == 0


def test_a_delayed_transient_message_is_kept(core: RestartingCore) -> None:
    """An end in good order keeps what is not due yet, with its time."""
    client = core.client()
    client.send("/queue/a", "1", delay="60000")
    core.restarting.closing = True
    assert core.broker.persist_transient() == 1
    [record] = core.restarting.kept["/", "/queue/a"].values()
    assert record.due == 60.0


# What queues are.


def test_settings_come_back(core: RestartingCore) -> None:
    """A queue is as it was asked for by who made it, and a limit counts what was there before."""
    client = core.client()
    settings = {"x_max_length": "2", "x_message_ttl": "60000", "x_dead_letter_routing_key": "dead"}
    client.send("/queue/a", "1", **P, **settings)
    core.sync()
    core.crash()
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.policy.max_messages == 2
    assert queue.policy.max_age == 60.0
    assert queue.policy.dead_letter == "dead"
    assert queue.asked is not None
    assert queue.asked.max_messages == 2
    assert core.troubles == []
    client = core.client()
    client.send("/queue/a", "2", **settings)
    assert client.session.unhonoured == {}


def test_a_dead_letter_queue_without_a_proper_name_is_not_honoured_again(
    core: RestartingCore,
) -> None:
    """What could not be before the restart cannot be after it either."""
    client = core.client()
    client.send("/queue/a", "1", x_dead_letter_routing_key="/topic/t", x_max_length="2")
    core.sync()
    core.crash()
    assert core.broker.host("/").queues["/queue/a"].policy.dead_letter == "/queue/DLQ.{name}"


def test_a_paused_queue_is_paused_again(core: RestartingCore) -> None:
    """Until somebody resumes it, which is kept as well."""
    core.client().send("/queue/a", "1", **P)
    Asker(core)("pause", destination="/queue/a")
    core.sync()
    core.crash()
    assert drained(core, "/queue/a") == []
    Asker(core)("resume", destination="/queue/a")
    assert core.restarting.definitions == {}
    core.sync()
    core.crash()
    assert drained(core, "/queue/a") == ["1"]


def test_a_dead_letter_queue_is_one_again(core: RestartingCore) -> None:
    """Dead letters do not go round after a restart."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.subscribe("/queue/a", "client-individual")
    client.nack(client.one("MESSAGE"), requeue="false")
    core.sync()
    core.crash()
    assert core.broker.host("/").queues["/queue/DLQ.a"].is_dead_letter
    client = core.client()
    client.subscribe("/queue/DLQ.a", "client-individual")
    core.answer_all()
    client.nack(client.one("MESSAGE"), requeue="false")
    assert "/queue/DLQ.DLQ.a" not in core.broker.host("/").queues


def test_a_queue_that_goes_with_its_last_subscriber_is_gone(core: RestartingCore) -> None:
    """Who had it went with the crash; it stays only for what it holds."""
    client = core.client()
    client.subscribe("/queue/empty", id="1", auto_delete="true")
    client.send("/queue/full", "1", auto_delete="true", **P)
    core.sync()
    core.crash()
    assert list(core.broker.host("/").queues) == ["/queue/full"]
    assert [key for _, key in core.restarting.definitions] == [("/", "/queue/full")]
    reader = core.client()
    reader.subscribe("/queue/full", id="1")
    core.answer_all()
    assert reader.bodies() == ["1"]
    reader("UNSUBSCRIBE", id="1")
    assert "/queue/full" not in core.broker.host("/").queues
    assert core.restarting.definitions == {}


def test_a_removed_queue_leaves_nothing(core: RestartingCore) -> None:
    """What it was, what it held and what it had seen are forgotten together."""
    client = core.client()
    client.send("/queue/a", "1", x_max_length="2", dedup_id="x", **P)
    core.sync()
    host = core.broker.host("/")
    host.remove(host.queues["/queue/a"])
    [group] = core.durable()
    assert {operation.kind for operation in group} == {"undefine", "forget"}
    assert core.restarting.disk == Disk()


def test_a_queue_expires_after_a_restart(core: RestartingCore) -> None:
    """How long it may be unused is counted from the restart."""
    client = core.client()
    client.send("/queue/a", "1", x_expires="60000")
    core.sync()
    core.crash(down=1000)
    assert "/queue/a" in core.broker.host("/").queues
    for _ in range(62):
        core.tick(1)
    assert "/queue/a" not in core.broker.host("/").queues
    assert core.restarting.definitions == {}


# Durable subscriptions and bindings.


def test_a_durable_subscription_is_there_again(core: RestartingCore) -> None:
    """With its selector, and its messages; it gets what is published before anybody connects."""
    client = core.client(client_id="me")
    headers = {"durable": "true", "selector": "n > 1"}
    client.subscribe("/topic/t", "client", id="d", **headers)
    for n in "123":
        client.send("/topic/t", n, n=n, **P)
    core.sync()
    core.crash()
    sender = core.client()
    for n in "145":
        sender.send("/topic/t", n, n=n, **P)
    assert drained(core, "/topic/t", client="me", id="d", **headers) == ["2", "3", "4", "5"]


def test_no_local_is_true_after_a_restart(core: RestartingCore) -> None:
    """A durable subscription still gets nothing of its own client's."""
    headers = {"durable": "true", "no_local": "true"}
    core.client(client_id="me").subscribe("/topic/t", id="d", **headers)
    core.sync()
    core.crash()
    core.client(client_id="me").send("/topic/t", "mine", **P)
    core.client(client_id="you").send("/topic/t", "yours", **P)
    assert drained(core, "/topic/t", client="me", id="d", **headers) == ["yours"]


def test_settings_of_a_durable_subscription_come_back(core: RestartingCore) -> None:
    """Its queue is limited, paused, and goes when nobody connects for as long as was asked."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", id="d", durable="true", x_expires="60000", x_max_length="1")
    host = core.broker.host("/")
    queue = host.durables["me", "d"].queue
    queue.pause()
    host.define(queue)
    core.sync()
    core.crash(down=1000)
    durable = core.broker.host("/").durables["me", "d"]
    assert durable.queue.paused
    assert durable.queue.policy.max_messages == 1
    core.tick(59)
    assert core.broker.host("/").durables
    core.tick(2)
    core.tick(2)
    assert not core.broker.host("/").durables
    assert core.restarting.definitions == {}
    core.sync()
    core.crash()
    assert not core.broker.host("/").durables


@pytest.mark.parametrize("full", [True, False])
def test_a_durable_subscription_that_goes_with_its_last_subscriber(
    core: RestartingCore,
    full: bool,  # noqa: FBT001 - of the test
) -> None:
    """It is there again only if it holds something."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="d", durable="true", auto_delete="true")
    if full:
        client.send("/topic/t", "1", **P)
    core.sync()
    core.crash()
    assert bool(core.broker.host("/").durables) is full
    assert bool(core.restarting.definitions) is full


def test_a_deleted_durable_subscription_stays_away(core: RestartingCore) -> None:
    """UNSUBSCRIBE with durable:true is kept with all that it deletes."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="d", durable="true")
    client.send("/topic/t", "1", **P)
    client("UNSUBSCRIBE", id="d", durable="true")
    core.sync()
    assert core.restarting.disk == Disk()


def test_copies_of_a_message_are_kept_together(core: RestartingCore) -> None:
    """Those for several durable subscriptions are one group: all of them are there, or none."""
    client = core.client(client_id="me")
    for name in "ab":
        client.subscribe("/topic/t", "client", id=name, durable="true")
    core.sync()
    client.send("/topic/t", "1", **P)
    [group] = core.durable()
    assert [operation.kind for operation in group] == ["put", "put"]


def test_a_bound_queue_is_fed_again(core: RestartingCore) -> None:
    """RabbitMQ's way to name a queue for a topic: both are there, and stay."""
    client = core.client()
    headers = {"durable": "true", "auto_delete": "false", "x_queue_name": "q"}
    client.subscribe("/topic/t.*", id="1", **headers)
    client.subscribe("/topic/u", id="2", **headers)
    core.sync()
    core.crash()
    sender = core.client()
    for name in ("t.a", "u", "t.b"):
        sender.send(f"/topic/{name}", name, **P)
    for _ in range(400):
        core.tick(1)
    assert drained(core, "/queue/q") == ["t.a", "u", "t.b"]
    host = core.broker.host("/")
    host.remove(host.queues["/queue/q"])
    assert core.restarting.definitions == {}


def test_a_binding_that_goes_with_its_subscriber_is_not_kept(core: RestartingCore) -> None:
    """It lasts from when somebody wants it to stay, and only then it is written down."""
    core.client().send("/queue/q", "1", **P)
    first = core.client()
    headers = {"durable": "true", "x_queue_name": "q"}
    first.subscribe("/topic/t", "client", id="1", auto_delete="true", **headers)
    assert core.restarting.definitions == {}
    second = core.client()
    second.subscribe("/topic/t", "client", id="1", auto_delete="false", **headers)
    assert {kind for kind, _ in core.restarting.definitions} == {"queue", "binding"}
    core.sync()
    core.crash()
    core.client().send("/topic/t", "2", **P)
    assert drained(core, "/queue/q") == ["1", "2"]


def test_an_ended_binding_leaves_an_ordinary_queue(core: RestartingCore) -> None:
    """When its last subscriber leaves what feeds it ends; the queue was there before."""
    client = core.client()
    client.send("/queue/q", "1", **P)
    client.subscribe("/topic/t", "client", id="1", x_queue_name="q", auto_delete="true")
    client("UNSUBSCRIBE", id="1")
    assert core.restarting.definitions == {}
    assert core.broker.host("/").feeds.bound() == []


def test_a_binding_of_an_ended_queue_ends(core: RestartingCore) -> None:
    """A queue that goes with its last subscriber takes what feeds it along."""
    client = core.client()
    client.subscribe("/topic/t", id="1", x_queue_name="q", auto_delete="true")
    core.sync()
    assert {kind for kind, _ in core.restarting.disk.definitions} == {"queue", "binding"}
    core.crash()
    assert core.restarting.definitions == {}
    assert core.broker.host("/").queues == {}


def test_a_virtual_topics_queue_is_filled_again(core: RestartingCore) -> None:
    """It is there for what comes, whether it holds anything or not."""
    client = core.client()
    client.subscribe("/queue/Consumer.A.VirtualTopic.t", id="1")
    core.sync()
    core.crash()
    core.client().send("/topic/VirtualTopic.t", "1", **P)
    assert drained(core, "/queue/Consumer.A.VirtualTopic.t") == ["1"]


# What topics retain and delay.


def retained(core: RestartingCore, topic: str = "/topic/t") -> list[str]:
    """Return what a new subscriber gets first."""
    client = core.client()
    client.subscribe(topic)
    core.answer_all()
    assert all(frame["retained"] == "true" for frame in client.frames)
    bodies = client.bodies()
    client("DISCONNECT")
    return bodies


def test_a_last_value_is_there_again(core: RestartingCore) -> None:
    """Only the last one, and only if it is persistent."""
    client = core.client()
    client.send("/topic/t", "1", retain="set", **P)
    client.send("/topic/t", "2", retain="set", priority="9", **P)
    client.send("/topic/u", "3", retain="set")
    core.sync()
    core.crash()
    assert retained(core) == ["2"]
    assert retained(core, "/topic/u") == []
    core.sync()
    core.crash()
    assert retained(core) == ["2"]


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_a_last_value_is_replaced_as_a_whole(core: RestartingCore, persistent: str) -> None:
    """The new one comes and the old one goes in one group, whether the new one is kept or not."""
    client = core.client()
    client.send("/topic/t", "1", retain="set", **P)
    core.sync()
    client.send("/topic/t", "2", retain="set", persistent=persistent)
    [group] = core.durable()
    kinds = ["settle", "put"] if persistent == "true" else ["settle"]
    assert [operation.kind for operation in group] == kinds
    core.crash()
    assert retained(core) == (["2"] if persistent == "true" else [])


def test_a_removed_last_value_stays_away(core: RestartingCore) -> None:
    """The RECEIPT of what removes it waits for the disk, persistent or not."""
    client = core.client()
    client.send("/topic/t", "1", retain="set", **P)
    core.sync()
    client.send("/topic/t", "2", retain="remove", receipt="r")
    assert client.take() == []
    core.sync()
    assert client.receipts() == ["r"]
    core.crash()
    assert retained(core) == []


def test_an_expired_last_value_is_forgotten(core: RestartingCore) -> None:
    """It expires while the broker is down as well."""
    client = core.client()
    client.send("/topic/t", "1", retain="set", ttl="60000", **P)
    core.sync()
    core.crash(down=30)
    assert retained(core) == ["1"]
    core.crash(down=31)
    assert retained(core) == []
    assert core.restarting.count == 0


def test_who_subscribes_before_the_last_value_is_there_waits_for_it(core: RestartingCore) -> None:
    """SUBSCRIBE waits for the store; what is published meanwhile comes behind the last value."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.sync()
    core.crash()
    client = core.client()
    client.subscribe("/topic/t", receipt="r")
    assert client.take() == []
    assert client.waiting == 1
    core.client().send("/topic/t", "missed")
    core.answer_all()
    [receipt, message] = client.take()
    assert receipt == Got("RECEIPT", {"receipt-id": "r"}, b"")
    assert (message.text, message["retained"]) == ("1", "true")
    core.client().send("/topic/t", "2")
    assert client.bodies() == ["2"]


def test_who_has_ended_does_not_wait_for_last_values(core: RestartingCore) -> None:
    """What a peer sent before it ended is carried out without waiting."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.sync()
    core.crash()
    client = core.client()
    client.subscribe("/topic/t", receipt="r")
    assert client.session.paused
    client.half_close()
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("order", ["set", "remove"])
def test_a_last_value_is_replaced_before_it_was_there(core: RestartingCore, order: str) -> None:
    """What comes meanwhile counts, and the old one is forgotten in the store."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.sync()
    core.crash()
    core.client().send("/topic/t", "2", retain=order, **P)
    core.answer_all()
    assert retained(core) == (["2"] if order == "set" else [])
    core.sync()
    core.crash()
    assert retained(core) == (["2"] if order == "set" else [])


def test_a_last_value_that_the_store_has_lost(core: RestartingCore) -> None:
    """An answer without it is as if there were none, and nobody waits for ever."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.sync()
    core.crash()
    client = core.client()
    client.subscribe("/topic/t", receipt="r")
    for records in core.restarting.kept.values():
        records.clear()
    core.answer_all()
    assert client.receipts() == ["r"]
    core.client().send("/topic/t", "2")
    assert client.bodies() == ["2"]


def test_a_topic_is_removed_before_its_last_value_is_there(core: RestartingCore) -> None:
    """Nobody waits for it any more."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.client().send("/topic/u", "2", retain="set", **P)
    core.sync()
    core.crash()
    client = core.client()
    client.subscribe("/topic/u")
    host = core.broker.host("/")
    host.remove(host.topics["/topic/t"])
    core.run()
    assert client.waiting == 1
    host.remove(host.topics["/topic/u"])
    core.run()
    assert client.waiting == 0
    core.answer_all()
    assert core.restarting.count == 0


def test_an_idle_topic_stays_for_its_last_value(core: RestartingCore) -> None:
    """Whether that is there already or on its way."""
    core.client().send("/topic/t", "1", retain="set", **P)
    core.sync()
    core.crash()
    for _ in range(400):
        core.tick(1)
    assert retained(core) == ["1"]


def test_delayed_messages_of_a_topic_go_on(core: RestartingCore) -> None:
    """What is due later comes at its time; what was due while the broker was down comes at once."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="d", durable="true")
    for seconds in (100, 20, 50):
        client.send("/topic/t", str(seconds), delay=str(1000 * seconds), **P)
    client.send("/topic/t", "transient", delay="1000")
    core.sync()
    core.crash(down=30)
    core.answer_all()
    core.tick(0)
    assert drained(core, "/topic/t", client="me", id="d", durable="true") == ["20"]
    for _ in range(25):
        core.tick(1)
    assert drained(core, "/topic/t", client="me", id="d", durable="true") == ["50"]
    core.sync()
    core.crash(down=50)
    core.answer_all()
    core.tick(0)
    assert drained(core, "/topic/t", client="me", id="d", durable="true") == ["100"]
    core.sync()
    assert core.restarting.disk.kept["/", "/topic/t"] == {}


def test_a_delayed_message_is_published_as_a_whole(core: RestartingCore) -> None:
    """Its copies come and it goes in one group."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="d", durable="true")
    client.send("/topic/t", "1", delay="1000", **P)
    core.sync()
    core.tick(1)
    [group] = core.durable()
    assert [operation[:2] for operation in group] == [
        ("settle", "/topic/t"),
        ("put", "/durable/me/d"),
    ]


def test_a_repeated_message_goes_on(core: RestartingCore) -> None:
    """Repetitions that were missed are not made up for, and no more come than were asked for."""
    client = core.client(client_id="me")
    client.subscribe("/topic/t", "client", id="d", durable="true")
    headers = {
        "destination": "/topic/t",
        "AMQ_SCHEDULED_DELAY": "10000",
        "AMQ_SCHEDULED_PERIOD": "10000",
        "AMQ_SCHEDULED_REPEAT": "5",
        **P,
    }
    client.write(encode("SEND", headers.items(), b"1", version="1.2"))
    core.tick(10)
    core.sync()
    core.crash(down=25)
    core.answer_all()
    core.tick(0)
    headers = {"id": "d", "durable": "true"}
    assert len(drained(core, "/topic/t", client="me", **headers)) == 2
    for _ in range(60):
        core.tick(1)
    assert len(drained(core, "/topic/t", client="me", **headers)) == 3
    assert core.restarting.count == 0


def test_a_repeated_message_that_comes_twice_counts_once(core: RestartingCore) -> None:
    """It is delayed again before the store has told all, and so it is told of a second time."""
    headers = {
        "destination": "/topic/t",
        "AMQ_SCHEDULED_DELAY": "10000",
        "AMQ_SCHEDULED_PERIOD": "10000",
        "AMQ_SCHEDULED_REPEAT": "5",
        **P,
    }
    core.client().write(encode("SEND", headers.items(), b"1", version="1.2"))
    core.sync()
    core.crash(down=15)
    listener = core.client()
    listener.subscribe("/topic/t")
    assert core.answer()
    core.tick(0)
    assert listener.bodies() == ["1"]
    core.answer_all()
    for _ in range(60):
        core.tick(1)
    assert listener.bodies() == ["1"] * 5
    assert core.broker.host("/").topics["/topic/t"].octets == 0


def test_more_delayed_messages_than_one_answer_brings() -> None:
    """They are fetched page by page, and what is sent meanwhile comes once."""
    core = ruled("/topic/t", Policy(window_messages=4))
    client = core.client()
    for number in range(5):
        client.send("/topic/t", str(number), delay=str(1000 * (number + 1)), **P)
    core.sync()
    core.crash()
    listener = core.client()
    listener.subscribe("/topic/t")
    assert core.answer()
    core.client().send("/topic/t", "new", delay="5500", **P)
    core.answer_all()
    for _ in range(7):
        core.tick(1)
        core.answer_all()
    assert listener.bodies() == ["0", "1", "2", "3", "4", "new"]


def test_a_topic_is_removed_while_its_delayed_messages_come(core: RestartingCore) -> None:
    """Nothing of it is left, whatever the store had to say."""
    core.client().send("/topic/t", "1", delay="1000", **P)
    core.sync()
    core.crash()
    fetch, messages, dues = core.restarting.answer()
    host = core.broker.host("/")
    host.remove(host.topics["/topic/t"])
    core.broker.fetched(fetch, messages, dues)
    listener = core.client()
    listener.subscribe("/topic/t")
    core.tick(2)
    assert listener.messages() == []
    core.sync()
    assert core.restarting.disk == Disk()


# Repetitions.


@pytest.mark.parametrize("destination", ["/queue/a", "/topic/a"])
def test_a_repetition_after_a_restart_goes_nowhere(core: RestartingCore, destination: str) -> None:
    """Ids of persistent messages are remembered for as long as the window has it."""
    client = core.client()
    client.subscribe("/topic/a", "client", id="d", durable_subscription_name="d")
    where = "/queue/a" if destination == "/queue/a" else "/topic/a"
    client.send(where, "1", dedup_id="x", **P)
    client.send(where, "2", dedup_id="y")
    core.sync()
    core.crash(down=300)
    client = core.client()
    client.send(where, "again", dedup_id="x", **P)
    client.send(where, "transient id", dedup_id="y", **P)
    headers = {} if where == "/queue/a" else {"durable_subscription_name": "d", "id": "d"}
    assert drained(core, where, **headers) == ["1", "transient id"]
    core.sync()
    core.crash(down=301)
    core.client().send(where, "window over", dedup_id="x", **P)
    assert drained(core, where, **headers) == ["window over"]


def test_an_id_and_its_message_are_in_one_batch(core: RestartingCore) -> None:
    """Neither is there without the other after a crash."""
    core.client().send("/queue/a", "1", dedup_id="x", **P)
    batch = core.durable()
    assert {operation.kind for group in batch for operation in group} == {"remember", "put"}


def test_ids_that_are_over_are_forgotten() -> None:
    """By time and by number, in memory and in the store."""
    core = ruled("/queue/#", Policy(dedup_window=10, dedup_ids=2))
    client = core.client()
    for dedup_id in "abcd":
        client.send("/queue/a", dedup_id, dedup_id=dedup_id, **P)
    client.send("/queue/a", "e", dedup_id="e")
    assert [dedup_id for _, dedup_id in core.restarting.dedup_ids] == ["c", "d"]
    core.sync()
    core.crash(down=11)
    assert core.restarting.dedup_ids == {}


def test_ids_of_what_is_gone_are_forgotten(core: RestartingCore) -> None:
    """A queue that went with its last subscriber, and a temporary one, are not made for them."""
    client = core.client()
    client.subscribe("/queue/a", auto_delete="true")
    client.send("/queue/a", "1", dedup_id="x", **P)
    client.send("/temp-queue/b", "1", dedup_id="x", **P)
    core.sync()
    core.crash()
    assert core.restarting.dedup_ids == {}
    assert core.broker.host("/").queues == {}


def test_a_topic_is_forgotten_with_what_it_has_seen() -> None:
    """An idle topic that remembers nothing live leaves nothing in the store."""
    core = ruled("/topic/#", Policy(dedup_window=10, auto_delete_after=5))
    core.client().send("/topic/a", "1", dedup_id="x", **P)
    core.sync()
    core.crash(down=1)
    assert "/topic/a" in core.broker.host("/").topics
    for _ in range(60):
        core.tick(1)
    assert core.broker.host("/").topics == {}
    assert core.restarting.dedup_ids == {}


# What is damaged.


def damaged(kind: Kind, key: tuple[str, ...], record: dict[str, Any]) -> RestartingCore:
    """Return a core whose disk has one damaged definition, and messages under that name."""
    core = RestartingCore()
    core.client(client_id="me").subscribe("/topic/t", "client", id="d", durable="true")
    core.client().send("/topic/t", "1", **P)
    core.client().send("/queue/a", "1", **P)
    core.sync()
    core.restarting.disk.definitions[kind, key] = record
    core.crash()
    return core


def cases() -> Iterator[tuple[Kind, tuple[str, ...], dict[str, Any], str]]:
    """Return definitions that nobody can read, and what is wrong with them."""
    queue = ("/", "/queue/a")
    good = {"destination": "/topic/t", "label": ["queue", "me.d"]}
    yield "queue", ("/",), {}, "its key has 1 parts"
    yield "queue", queue, {"settings": []}, '"settings" are no object'
    yield "queue", queue, {"settings": {"colour": 1}}, '"settings" have an unknown "colour"'
    yield "queue", queue, {"settings": {"max_messages": True}}, '"max_messages" is True'
    yield "queue", queue, {"settings": {"auto_delete": 1}}, '"auto_delete" is 1'
    yield "queue", queue, {"settings": {"overflow": 1}}, '"overflow" is 1'
    yield "queue", queue, {"paused": "yes"}, "\"paused\" is 'yes'"
    yield "queue", ("/", "/topic/a"), {}, "its name is not that of a queue"
    yield "queue", ("/", "/queue/*"), {}, "its name is not that of a queue"
    yield "queue", ("/", "/nowhere/a"), {}, "unknown kind of destination"
    yield "durable", ("/", "me", "d"), {**good, "destination": 1}, '"destination" is 1'
    yield "durable", ("/", "me", "d"), {**good, "destination": "/queue/a"}, "is no topic"
    yield "durable", ("/", "me", "d"), {**good, "label": "me"}, "\"label\" is 'me'"
    yield "durable", ("/", "me", "d"), {**good, "label": [1]}, '"label" is [1]'
    yield "durable", ("/", "me", "d"), {**good, "selector": "a ="}, "malformed selector"
    yield "durable", ("/", "me", "d"), {**good, "settings": 1}, '"settings" are no object'
    yield "durable", ("/", "me"), good, "its key has 2 parts"
    yield "binding", ("/", "/queue/a", "/queue/b"), {}, "it is no topic"
    yield "binding", ("/", "/topic/a", "/topic/b"), {}, "its name is not that of a queue"


@pytest.mark.parametrize(("kind", "key", "record", "why"), list(cases()))
def test_a_damaged_definition_is_left_as_it_is(
    kind: Kind, key: tuple[str, ...], record: dict[str, Any], why: str
) -> None:
    """It is named with what is wrong; everything else is there, and nothing is deleted."""
    core = damaged(kind, key, record)
    [sentence] = core.troubles
    assert sentence.startswith(f"the definition of {kind} {key!r} cannot be read")
    assert why in sentence
    assert core.restarting.definitions[kind, key] == record
    assert core.restarting.count == 2
    assert drained(core, "/queue/a") == ["1"]
    # Who makes a durable subscription anew finds what it holds.
    sender = core.client()
    reader = core.client(client_id="me")
    reader.subscribe("/topic/t", "client", id="d", durable="true")
    sender.send("/topic/t", "2", **P)
    core.answer_all()
    assert reader.bodies() == ["1", "2"]


def test_a_damaged_name_is_left_as_it_is(core: RestartingCore) -> None:
    """What nobody could have named is said once, and stays in the store."""
    core.client().send("/queue/a", "1", dedup_id="x", **P)
    core.sync()
    disk = core.restarting.disk
    name = ("/", "/nowhere/\x07")
    disk.kept[name] = disk.kept.pop(("/", "/queue/a"))
    disk.dedup_ids = {(name, "x"): 0.0, (name, "y"): 0.0}
    core.crash()
    [sentence] = core.troubles
    assert sentence == (
        "what is kept under ('/', '/nowhere/\\\\x07') cannot be read and is left as it is: "
        'unknown kind of destination: "/nowhere/\\\\x07"; '
        "a destination is /queue/NAME, /topic/NAME, /temp-queue/NAME or /temp-topic/NAME"
    )
    assert core.restarting.count == 1
    assert len(core.restarting.dedup_ids) == 2


def test_what_belongs_to_nothing_is_forgotten(core: RestartingCore) -> None:
    """A durable subscription's queue without the subscription has nobody who could take from it."""
    core.client(client_id="me").subscribe("/topic/t", "client", id="d", durable="true")
    core.client().send("/topic/t", "1", **P)
    core.sync()
    core.restarting.disk.definitions.clear()
    core.crash()
    assert core.troubles == []
    assert core.restarting.count == 0


# Policies.


@pytest.mark.parametrize(("header", "there"), [({}, True), ({"persistent": "false"}, False)])
@pytest.mark.parametrize("way", ["queue", "route", "durable", "bound", "dead letter", "commit"])
def test_a_policy_makes_messages_persistent(
    header: dict[str, str],
    there: bool,  # noqa: FBT001 - of the test
    way: str,
) -> None:
    """Unless their sender says otherwise; the RECEIPT waits for the disk."""
    names = {"bound": "/queue/a", "durable": "/topic/#", "dead letter": "/queue/DLQ.#"}
    core = ruled(names.get(way, "/queue/#"), Policy(persistent=True))
    client = core.client(client_id="me")
    where = source = "/queue/a"
    headers: dict[str, str] = {}
    if way == "route":
        where, source = "/queue/a,/queue/b", "/queue/b"
    elif way in ("durable", "bound"):
        where = source = "/topic/a"
        headers = {"durable": "true", "id": "d"}
        if way == "bound":
            headers["x_queue_name"] = "a"
        client.subscribe(where, "client", **headers)
        client("UNSUBSCRIBE", id="d")
        core.sync()
    elif way == "dead letter":
        source = "/queue/DLQ.a"
    if way == "commit":
        client("BEGIN", transaction="t")
        client.send(where, "1", transaction="t", **header)
        client("COMMIT", transaction="t", receipt="r")
    else:
        client.send(where, "1", receipt="r", **header)
    if way == "dead letter":
        assert client.receipts() == ["r"]
        client.subscribe(where, "client-individual")
        client.nack(client.one("MESSAGE"), requeue="false", receipt="n")
        core.sync()
    else:
        assert (client.take() == []) is there
        core.sync()
    core.crash()
    client_id = {"client": "me"} if headers else {}
    assert drained(core, source, **client_id, **headers) == (["1"] if there else [])


def test_a_policy_is_told_what_it_is() -> None:
    """By default nothing is persistent that does not say so."""
    assert not Policy().persistent
    assert replace(Policy(), persistent=True).persistent


def test_a_transaction_is_there_as_a_whole(core: RestartingCore) -> None:
    """Everything that it did is one group."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    core.sync()
    client.subscribe("/queue/a", "client-individual")
    message = client.one("MESSAGE")
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client.send("/queue/b", "2", transaction="t", dedup_id="x", **P)
    client.send("/topic/t", "3", transaction="t", retain="set", **P)
    client("COMMIT", transaction="t", receipt="r")
    assert client.take() == []
    [group] = core.durable()
    assert [operation.kind for operation in group] == ["settle", "remember", "put", "put"]
    assert client.receipts() == ["r"]
    core.crash()
    assert retained(core) == ["3"]
    assert drained(core, "/queue/a") == []
    assert drained(core, "/queue/b") == ["2"]
