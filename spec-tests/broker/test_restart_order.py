"""After a restart: priorities, delays, selectors and pages, in the order that they had before."""

from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Client
from broker.restarting import Disk, RestartingCore, RestartingStore
from broker.test_restart import P, drained, ruled

from stompd.broker.broker import Broker
from stompd.broker.policy import Policy
from stompd.broker.storage import Fetch, Kept, KeptLane, KeptQueue
from stompd.protocol.encoder import encode


@pytest.fixture
def core() -> RestartingCore:
    """A core that can be restarted, with the default settings."""
    return RestartingCore()


def reader(core: RestartingCore, **headers: str) -> Client:
    """Return a new consumer of /queue/a."""
    client = core.client()
    client.subscribe("/queue/a", "client-individual", **headers)
    return client


@pytest.mark.parametrize("end", ["crash", "stop"])
def test_priorities_come_first_after_a_restart(core: RestartingCore, end: str) -> None:
    """The highest first, in order within each, as before; the message-ids are of no matter."""
    client = core.client()
    for number, priority in enumerate("4904191"):
        client.send("/queue/a", f"{priority}.{number}", priority=priority, **P)
    core.sync()
    getattr(core, end)()
    assert drained(core, "/queue/a") == ["9.1", "9.5", "4.0", "4.3", "1.4", "1.6", "0.2"]


def test_nothing_is_delivered_before_what_comes_first_is_there(core: RestartingCore) -> None:
    """A consumer that is there before the answers, and new messages, wait for them."""
    client = core.client()
    client.send("/queue/a", "old")
    client.send("/queue/a", "kept", **P)
    client.send("/queue/a", "urgent", priority="9", **P)
    core.sync()
    core.crash()
    consumer = reader(core)
    core.client().send("/queue/a", "new", priority="5")
    assert consumer.take() == []
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=3 ")
    core.answer_all()
    assert consumer.bodies() == ["urgent", "new", "kept"]


def test_more_than_one_answer_brings(core: RestartingCore) -> None:
    """What has to be in memory comes part by part."""
    core.paging.most = 2
    client = core.client()
    for number in range(5):
        client.send("/queue/a", f"low {number}", priority="1", **P)
        client.send("/queue/a", f"later {number}", delay=str(1000 * (number + 1)), **P)
    core.sync()
    core.crash()
    core.answer_all()
    consumer = reader(core)
    assert consumer.bodies() == [f"low {number}" for number in range(5)]
    for number in range(5):
        core.tick(1)
        assert consumer.bodies() == [f"later {number}"]
    assert core.paging.count == 10


def test_fewer_than_counted_are_no_reason_to_wait(core: RestartingCore) -> None:
    """A store whose counters promise more than it has is believed when it has no more."""
    client = core.client()
    client.send("/queue/a", "urgent", priority="9", **P)
    client.send("/queue/a", "normal", **P)
    core.sync()
    core.crash()
    fetch, _, dues = core.paging.answer()
    core.broker.fetched(fetch, [], dues)
    consumer = reader(core)
    core.answer_all()
    assert consumer.bodies() == ["normal"]


def test_a_queue_that_is_gone_takes_nothing(core: RestartingCore) -> None:
    """It was deleted while a restart's messages were on their way."""
    client = core.client()
    client.send("/queue/a", "urgent", priority="9", **P)
    core.sync()
    core.crash()
    answer = core.paging.answer()
    host = core.broker.host("/")
    host.remove(host.queues["/queue/a"])
    core.broker.fetched(*answer)
    assert core.broker.host("/").queues == {}
    assert core.paging.count == 0


def test_a_delay_goes_on_over_a_restart(core: RestartingCore) -> None:
    """Time passes while the broker is down; what came due meanwhile is delivered at once."""
    client = core.client()
    client.send("/queue/a", "soon", delay="5000", **P)
    client.send("/queue/a", "late", delay="60000", **P)
    core.sync()
    core.crash(down=10)
    core.answer_all()
    consumer = reader(core)
    core.tick(0)
    assert consumer.bodies() == ["soon"]
    core.tick(49)
    assert consumer.bodies() == []
    core.tick(1)
    assert consumer.bodies() == ["late"]


def test_what_came_due_is_not_delayed_again(core: RestartingCore) -> None:
    """It waits in the store, too; another message before it comes first."""
    client = core.client()
    client.send("/queue/a", "1", delay="1000", **P)
    client.send("/queue/a", "2", **P)
    core.tick(2)
    core.sync()
    core.crash()
    assert [fetch.what for fetch in core.paging.asked] == ["ready"]
    assert drained(core, "/queue/a") == ["1", "2"]


def test_a_nacks_rest_goes_on_over_a_restart(core: RestartingCore) -> None:
    """What a NACK delays rests on, and takes its old place then."""
    client = core.client()
    client.send("/queue/a", "1", **P)
    client.send("/queue/a", "2", **P)
    client.subscribe("/queue/a", "client-individual")
    client.nack(client.messages(2)[0], delay="10000")
    core.sync()
    core.crash(down=1)
    core.answer_all()
    consumer = reader(core, prefetch_count="1")
    core.answer_all()
    first = consumer.one("MESSAGE")
    assert first.text == "2"
    core.tick(9)
    consumer.ack(first)
    core.answer_all()
    again = consumer.one("MESSAGE")
    assert (again.text, again["delivery-count"]) == ("1", "2")
    consumer.ack(again)
    core.answer_all()
    assert consumer.take() == []
    assert core.paging.count == 0


def test_a_repetition_goes_on_over_a_restart(core: RestartingCore) -> None:
    """It has as many repetitions left as before; those missed are not made up for."""
    headers = {
        "destination": "/queue/a",
        "AMQ_SCHEDULED_DELAY": "1000",
        "AMQ_SCHEDULED_PERIOD": "10000",
        "AMQ_SCHEDULED_REPEAT": "3",
        **P,
    }
    client = core.client()
    client.write(encode("SEND", headers.items(), b"again"))
    core.tick(1)
    core.sync()
    core.crash(down=15)
    core.answer_all()
    consumer = reader(core)
    core.answer_all()
    core.tick(0)
    assert consumer.bodies() == ["again", "again"]
    core.tick(5)
    assert consumer.bodies() == ["again"]
    core.tick(5)
    core.tick(60)
    assert consumer.bodies() == ["again"]


def test_a_selector_finds_what_lies_behind_the_window() -> None:
    """The tail is brought in until there is nothing more to find."""
    core = ruled("/queue/#", Policy(window_messages=4))
    client = core.client()
    for number in range(40):
        client.send("/queue/a", str(number), kind=str(number % 20), **P)
    core.sync()
    core.crash()
    consumer = reader(core, selector="kind = '19'")
    core.answer_all()
    found = consumer.messages(2)
    assert [frame.text for frame in found] == ["19", "39"]
    client = core.client()
    client.send("/queue/a", "another", kind="19", **P)
    core.answer_all()
    assert consumer.bodies() == ["another"]
    rest = [str(number) for number in range(40) if number % 20 != 19]
    assert drained(core, "/queue/a") == rest


def test_what_expired_in_the_store_is_not_delivered(core: RestartingCore) -> None:
    """Its time went on while the broker was down."""
    client = core.client()
    client.send("/queue/a", "short", ttl="1000", **P)
    client.send("/queue/a", "long", ttl="60000", **P)
    core.sync()
    core.crash(down=2)
    assert drained(core, "/queue/a") == ["long"]
    assert core.paging.count == 0


# What a store may tell of, beside what a crash leaves.


def restored(*kept: KeptQueue, **others: Any) -> Broker:  # noqa: ANN401 - lists of `Kept`
    """Return a broker that begins with this."""
    broker = Broker(RestartingStore(Disk()))
    assert broker.restore(Kept(queues=list(kept), **others)) == []
    return broker


def test_a_lane_without_messages_is_not_asked_for() -> None:
    """Counters of what was there once are no reason to wait."""
    lanes = {9: KeptLane(0, 0), 4: KeptLane(1, 10)}
    broker = restored(KeptQueue(("/", "/queue/a"), 5, lanes))
    queue = broker.host("/").queues["/queue/a"]
    assert (queue.depth, queue.coming, queue.next_place) == (1, 0, 6)


def test_a_topic_may_have_nothing_delayed_any_more() -> None:
    """Counters of what was published since are no reason to ask for it."""
    broker = restored(KeptQueue(("/", "/topic/t"), 3, {4: KeptLane(0, 0)}))
    topic = broker.host("/").topics["/topic/t"]
    assert topic.count == 0
    assert topic.idle


@pytest.mark.parametrize("name", ["/queue/a", "/topic/t"])
def test_several_ids_of_one_destination_come_back(core: RestartingCore, name: str) -> None:
    """Each of them is known again."""
    client = core.client()
    for dedup_id in ("one", "two"):
        client.send(name, dedup_id, dedup_id=dedup_id, **P)
    core.sync()
    core.crash()
    client = core.client()
    client.subscribe(name)
    core.answer_all()
    client.bodies()
    for dedup_id in ("one", "two", "three"):
        client.send(name, dedup_id, dedup_id=dedup_id, **P)
    core.answer_all()
    assert client.bodies() == ["three"]


def test_a_topic_that_is_there_first_fills_what_was_kept(core: RestartingCore) -> None:
    """Its delayed message goes to a durable subscription and to a named queue."""
    sender = core.client()
    sender.send("/topic/t", "later", delay="1000", **P)
    away = core.client(client_id="me")
    away.subscribe("/topic/t", "client", id="d", durable="true")
    headers = {"durable": "true", "auto_delete": "false", "x_queue_name": "q"}
    named = core.client()
    named.subscribe("/topic/t", "client", id="1", **headers)
    named.subscribe("/topic/#", "client", id="2", **headers)
    core.sync()
    core.crash()
    core.answer_all()
    core.tick(2)
    assert drained(core, "/queue/q") == ["later"]
    again = core.client(client_id="me")
    again.subscribe("/topic/t", "client", id="d", durable="true")
    assert again.bodies() == ["later"]


def test_two_spellings_of_one_pattern_are_one_binding(core: RestartingCore) -> None:
    """A file that tells of both fills the queue once."""
    client = core.client()
    headers = {"durable": "true", "auto_delete": "false", "x_queue_name": "q"}
    client.subscribe("/topic/a.*", "client", id="1", **headers)
    core.sync()
    definitions = core.restarting.disk.definitions
    ((kind, key), record) = next(item for item in definitions.items() if item[0][0] == "binding")
    definitions[kind, (*key[:-1], "/topic/a/*")] = record
    core.crash()
    assert core.troubles == []
    core.client().send("/topic/a.b", "once", **P)
    assert drained(core, "/queue/q") == ["once"]


def test_a_paused_durable_subscription_is_paused_again(core: RestartingCore) -> None:
    """Also where it is not the first of several."""
    client = core.client(client_id="me")
    for name in ("one", "two"):
        client.subscribe("/topic/t", id=name, durable="true")
    Asker(core)("pause", destination="/durable/me/two")
    core.sync()
    core.crash()
    core.client().send("/topic/t", "1", **P)
    client = core.client(client_id="me")
    for name in ("one", "two"):
        client.subscribe("/topic/t", id=name, durable="true")
    assert [frame["subscription"] for frame in client.messages()] == ["one"]


def test_the_receipts_that_wait_can_be_named(core: RestartingCore) -> None:
    """For the log, should they never come."""
    client = core.client()
    client.send("/queue/a", "1", receipt="first", **P)
    client.send("/queue/a", "2", receipt="second")
    assert client.session.awaited == ["first", "second"]
    core.sync()
    assert client.session.awaited == []
    assert client.receipts() == ["first", "second"]


def test_a_question_says_what_it_asks() -> None:
    """For whoever looks at what a store has to do."""
    fetch = Fetch(("/", "/queue/a"), "ready", lambda _messages, _dues: None, count=3, octets=9)
    assert repr(fetch) == "<Fetch 3 ready of /queue/a behind 0>"


def test_the_first_urgent_message_is_given_out_before_the_second(core: RestartingCore) -> None:
    """The line stands elsewhere once the queue is plain no more; who stands in it is served."""
    for number in range(3):
        core.client().send("/queue/a", f"kept {number}", **P)
    core.sync()
    core.crash()
    consumer = reader(core)
    producer = core.client()
    producer.send("/queue/a", "first", priority="9", **P)
    producer.send("/queue/a", "second", priority="9", **P)
    assert consumer.bodies() == ["first", "second"]
    core.answer_all()
    assert consumer.bodies() == ["kept 0", "kept 1", "kept 2"]
