"""Delay, repetition, back-off: nothing comes before its time."""

from collections.abc import Callable
from typing import Literal

import pytest
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.broker import Broker
from stompd.broker.policy import Policy
from stompd.broker.terms import NEVER, Schedule
from stompd.protocol.encoder import encode

# A Monday, 00:00:00 UTC.
_EPOCH = 1_700_438_400.0


@pytest.fixture
def core() -> Core:
    """A broker whose time began at a known moment."""
    return Core(epoch=_EPOCH)


def _send(client: Client, body: str, destination: str = "/queue/a", **headers: str) -> None:
    """SEND with headers whose names have underscores."""
    pairs = [("destination", destination), *headers.items()]
    client.write(encode("SEND", pairs, body.encode(), version=client.version))


@pytest.mark.parametrize(
    "headers",
    [
        {"delay": "5000"},
        {"AMQ_SCHEDULED_DELAY": "5000"},
        {"x-delay": "5000"},
        {"deliver-at": str(int(_EPOCH * 1000) + 5000)},
        {"AMQ_SCHEDULED_TIME": str(int(_EPOCH * 1000) + 5000)},
    ],
)
@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_delayed_message_comes_when_it_is_due(
    core: Core, kind: str, headers: dict[str, str]
) -> None:
    """Not a moment before, and then to who is subscribed at that time."""
    producer, consumer = core.client(), core.client()
    _send(producer, "x", f"/{kind}/a", **headers)
    consumer.subscribe(f"/{kind}/a")
    core.tick(4.999)
    assert consumer.bodies() == []
    core.tick(0.001)
    (message,) = consumer.messages(1)
    assert message.text == "x"
    for name, value in headers.items():
        assert message[name] == value


def test_a_delayed_message_takes_the_place_of_its_send(core: Core) -> None:
    """It comes before what was sent later and still waits."""
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", ["1"])
    producer.send("/queue/a", "2", delay="1000")
    publish(producer, "/queue/a", ["3"])
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.depth, len(queue.delayed), queue.count) == (2, 1, 3)
    core.tick(1.0)
    assert (queue.depth, len(queue.delayed)) == (3, 0)
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["1", "2", "3"]


def test_delayed_messages_come_in_the_order_of_their_times(core: Core) -> None:
    """Whatever the order of their SENDs."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    for delay in ("3000", "1000", "2000", "1000"):
        producer.send("/queue/a", delay, delay=delay)
    seen = []
    for _ in range(4):
        core.tick(1.0)
        seen.append(consumer.bodies())
    assert seen == [["1000", "1000"], ["2000"], ["3000"], []]


def test_a_time_in_the_past_is_now(core: Core) -> None:
    """deliver-at of yesterday, and a delay of 0, wait for nothing."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    producer.send("/queue/a", "x", deliver_at="1000")
    producer.send("/queue/a", "y", delay="0")
    assert consumer.bodies() == ["x", "y"]


def test_a_delayed_message_can_expire(core: Core) -> None:
    """Its time runs from the SEND on, so one that ends before the delay is never seen."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "x", delay="2000", ttl="1000")
    producer.send("/queue/a", "y", delay="2000", ttl="3000")
    producer.send("/topic/a", "z", delay="2000", ttl="1000")
    consumer.subscribe("/queue/a")
    consumer.subscribe("/topic/a", id="1")
    core.tick(2.5)
    assert consumer.bodies() == ["y"]
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.expired_count, queue.count) == (1, 1 - 1)


def test_a_delayed_message_keeps_its_priority(core: Core) -> None:
    """Due at the same moment, the more urgent goes first."""
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "low", delay="1000", priority="1")
    producer.send("/queue/a", "high", delay="1000", priority="8")
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    core.tick(1.0)
    assert consumer.messages(1)[0].text == "high"


def test_a_transaction_delays_from_its_commit(core: Core) -> None:
    """The delay counts from the SEND, but nothing is there before the COMMIT."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    producer("BEGIN", transaction="t")
    producer.send("/queue/a", "x", delay="1000", transaction="t")
    producer.send("/queue/a", "y", delay="9000", transaction="t")
    core.tick(2.0)
    assert consumer.bodies() == []
    producer("COMMIT", transaction="t")
    assert consumer.bodies() == ["x"]
    core.tick(7.0)
    assert consumer.bodies() == ["y"]


def test_many_that_are_due_at_once_are_done_in_turns(core: Core) -> None:
    """A thousand in one go, and the rest right behind."""
    producer, consumer = core.client(), core.client()
    for kind in ("queue", "topic"):
        consumer.subscribe(f"/{kind}/a", id=kind)
        for number in numbers(1, 1500):
            producer.send(f"/{kind}/a", number, delay="1000")
    core.tick(1.0)
    assert len(consumer.take()) == 2000
    core.tick(0.01)
    assert len(consumer.take()) == 1000


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_message_repeats_by_its_period(core: Core, kind: str) -> None:
    """After the delay, then so often more, each a message of its own."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe(f"/{kind}/a")
    _send(
        producer,
        "x",
        f"/{kind}/a",
        AMQ_SCHEDULED_DELAY="1000",
        AMQ_SCHEDULED_PERIOD="2000",
        AMQ_SCHEDULED_REPEAT="3",
    )
    seen = []
    for _ in range(10):
        core.tick(1.0)
        seen.append(len(consumer.bodies()))
    assert seen == [1, 0, 1, 0, 1, 0, 1, 0, 0, 0]
    if kind == "queue":
        queue = core.broker.host("/").queues["/queue/a"]
        assert (queue.count, queue.octets) == (0, 0)


def test_a_repeated_message_stays_in_the_store_until_its_last_time() -> None:
    """Each repetition is kept and settled by itself; the SEND goes with the last of them."""
    core = PagedCore()
    producer, consumer = core.client(), core.client()
    _send(producer, "x", persistent="true", AMQ_SCHEDULED_PERIOD="1000", AMQ_SCHEDULED_REPEAT="1")
    assert core.paging.count == 1
    core.tick(1.0)
    assert core.paging.count == 2
    consumer.subscribe("/queue/a")
    assert (consumer.bodies(), core.paging.count) == (["x"], 1)
    core.tick(1.0)
    assert (consumer.bodies(), core.paging.count) == (["x"], 0)


def test_repetition_without_end_skips_what_was_missed(core: Core) -> None:
    """When the broker was asleep, one comes for all that were missed, then the rhythm goes on."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    _send(producer, "x", AMQ_SCHEDULED_PERIOD="1000", AMQ_SCHEDULED_REPEAT="-1")
    core.tick(1.0)
    assert consumer.bodies() == ["x"]
    core.tick(10.5)
    assert consumer.bodies() == ["x"]
    core.tick(0.5)
    assert consumer.bodies() == ["x"]
    for _ in range(3):
        core.tick(1.0)
        assert consumer.bodies() == ["x"]


def test_repetition_by_the_calendar(core: Core) -> None:
    """At every full hour, in UTC; with a delay and repetitions from then on."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    _send(producer, "hour", AMQ_SCHEDULED_CRON="0 * * * *")
    _send(
        producer,
        "late",
        AMQ_SCHEDULED_CRON="30 1 * * *",
        AMQ_SCHEDULED_DELAY="60000",
        AMQ_SCHEDULED_PERIOD="120000",
        AMQ_SCHEDULED_REPEAT="1",
    )
    seen: dict[int, list[str]] = {}
    for minute in range(1, 26 * 60 + 1):
        core.tick(60.0)
        bodies = consumer.bodies()
        if bodies:
            seen[minute] = bodies
    late = [minute for minute, bodies in seen.items() if "late" in bodies]
    assert late == [91, 93, 24 * 60 + 91, 24 * 60 + 93]
    hours = [minute for minute, bodies in seen.items() if "hour" in bodies]
    assert hours == [60 * hour for hour in range(1, 27)]


def test_a_date_that_never_comes_is_an_error(core: Core) -> None:
    """30 February: better an ERROR than a message that waits for ever."""
    producer = core.client()
    _send(producer, "x", AMQ_SCHEDULED_CRON="0 0 30 2 *")
    assert "never comes" in producer.error()["message"]


def test_a_nack_can_ask_for_a_delay(core: Core) -> None:
    """The message comes again after it, with all that tells a repetition."""
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", ["1", "2"])
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    consumer.nack(consumer.messages(1)[0], delay="3000")
    assert consumer.messages(1)[0].text == "2"
    consumer("UNSUBSCRIBE", id="0")
    other = core.client()
    other.subscribe("/queue/a")
    assert other.bodies() == ["2"]
    core.tick(2.9)
    assert other.bodies() == []
    core.tick(0.1)
    again = other.messages(1)[0]
    assert (again.text, again["redelivered"], again["delivery-count"]) == ("1", "true", "2")


def test_back_off_grows_up_to_its_ceiling() -> None:
    """1, 2, 4, then 5 s between the attempts; a NACK that names a delay has its own way."""
    policy = Policy(redelivery_delay=1.0, redelivery_ceiling=5.0, max_deliveries=0)
    core = Core(settings({"/queue/a": policy}))
    consumer = core.client()
    publish(core.client(), "/queue/a", ["x"])
    consumer.subscribe("/queue/a", "client-individual")
    for wait in (1.0, 2.0, 4.0, 5.0, 5.0):
        consumer.nack(consumer.messages(1)[0])
        core.tick(wait - 0.01)
        assert consumer.bodies() == []
        core.tick(0.01)
    consumer.nack(consumer.messages(1)[0], delay="0")
    assert consumer.bodies() == ["x"]


def test_back_off_never_exceeds_its_ceiling() -> None:
    """However many attempts there were, and however large the multiplier is."""
    policy = Policy(redelivery_delay=1.0, redelivery_multiplier=1e300, redelivery_ceiling=7.0)
    assert [policy.redelivery_after(attempts) for attempts in (1, 2, 3, 10**6)] == [1, 7, 7, 7]
    assert Policy().redelivery_after(3) == 0.0


def test_back_off_in_a_transaction() -> None:
    """The rest begins with the COMMIT."""
    core = Core(settings({"/queue/a": Policy(redelivery_delay=2.0)}))
    consumer = core.client()
    publish(core.client(), "/queue/a", ["x"])
    consumer.subscribe("/queue/a", "client-individual")
    consumer("BEGIN", transaction="t")
    consumer.nack(consumer.messages(1)[0], transaction="t")
    core.tick(5.0)
    consumer("COMMIT", transaction="t")
    core.tick(1.9)
    assert consumer.bodies() == []
    core.tick(0.1)
    assert consumer.bodies() == ["x"]


def test_delayed_messages_count_against_the_limits() -> None:
    """A queue that holds its most is full, whether they are due or not."""
    core = Core(settings({"/queue/a": Policy(max_messages=2, overflow="reject")}))
    producer = core.client()
    producer.send("/queue/a", "1", delay="1000")
    producer.send("/queue/a", "2", delay="1000")
    producer.send("/queue/a", "3")
    assert producer.error()["message"] == "queue is full"
    core = Core(settings({"/queue/a": Policy(max_messages=1)}))
    producer = core.client()
    producer.send("/queue/a", "1", delay="1000")
    producer.send("/queue/a", "2", delay="1000")
    assert producer.session.paused


def test_a_queue_with_delayed_messages_is_not_idle() -> None:
    """Neither queue nor topic is removed before its last message was due."""
    core = Core(settings(auto_delete_after=1.0))
    producer = core.client()
    producer.send("/queue/a", "x", delay="10000")
    producer.send("/topic/a", "x", delay="10000")
    core.tick(5.0)
    core.tick(4.0)
    host = core.broker.host("/")
    assert (list(host.queues), list(host.topics)) == (["/queue/a"], ["/topic/a"])


def test_a_temporary_destination_takes_its_delayed_messages_along(core: Core) -> None:
    """When its connection ends, what is not due yet is gone, and its timer rings for nobody."""
    client = core.client()
    client.send("/temp-queue/a", "x", delay="1000")
    client.send("/temp-topic/a", "x", delay="1000")
    client.close()
    core.tick(2.0)
    assert core.broker.host("/").queues == {}


def test_an_earlier_one_comes_before_what_was_waited_for(core: Core) -> None:
    """The timer is set anew, and the old one rings for nothing."""
    producer, consumer = core.client(), core.client()
    for kind in ("queue", "topic"):
        consumer.subscribe(f"/{kind}/a", id=kind)
        producer.send(f"/{kind}/a", "late", delay="3000")
        producer.send(f"/{kind}/a", "early", delay="1000")
        producer.send(f"/{kind}/a", "latest", delay="5000")
    for expected in (["early"] * 2, [], ["late"] * 2, [], ["latest"] * 2):
        core.tick(1.0)
        assert consumer.bodies() == expected


def test_a_full_queue_drops_what_is_not_due_when_nothing_waits() -> None:
    """A limit that drops counts delayed messages too: nobody fills a queue with them."""
    core = Core(settings(max_messages=3, overflow="drop-head"))
    producer, consumer = core.client(), core.client()
    for number in range(1, 7):
        _send(producer, str(number), delay=str(1000 * number))
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.count, len(queue.delayed), queue.dead_letter_count) == (3, 3, 3)
    core.tick(10.0)
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["4", "5", "6"]
    assert (queue.count, queue.octets) == (0, 0)


@pytest.mark.parametrize("overflow", ["block", "reject"])
def test_a_repetition_that_finds_no_room_is_left_out(overflow: Literal["block", "reject"]) -> None:
    """Its sender cannot be made to wait. When there is room, it goes on."""
    core = Core(settings({"/queue/a": Policy(max_messages=3, overflow=overflow)}))
    producer, consumer = core.client(), core.client()
    _send(producer, "x", AMQ_SCHEDULED_PERIOD="1000", AMQ_SCHEDULED_REPEAT="-1")
    for _ in range(20):
        core.tick(1.0)
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.depth, len(queue.delayed)) == (2, 1)
    consumer.subscribe("/queue/a")
    assert len(consumer.bodies()) == 2
    core.tick(1.0)
    assert consumer.bodies() == ["x"]


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_repetitions_over_the_memory_mark_are_left_out(kind: str) -> None:
    """They come without being read from anybody, so the mark is looked at once a second."""
    core = Core(settings(memory_mark=20_000))
    core.broker.observe()
    durable = core.client(client_id="c")
    durable.subscribe("/topic/a", id="d", durable="true")
    durable.close()
    producer = core.client()
    _send(producer, "x", f"/{kind}/a", AMQ_SCHEDULED_PERIOD="1000", AMQ_SCHEDULED_REPEAT="-1")
    for _ in range(200):
        core.tick(1.0)
    assert core.broker.memory.heavy
    assert 20_000 <= core.broker.memory.weigh() < 30_000


def test_what_a_topic_keeps_counts_against_the_memory_mark() -> None:
    """Messages that are not due yet, and the retained one."""
    core = Core(settings(memory_mark=20_000))
    client = core.client()
    _send(client, "x" * 5000, "/topic/a", delay="1000")
    _send(client, "x" * 7000, "/topic/a", retain="set")
    weight = core.broker.memory.weigh()
    assert 12_000 + 2 * 512 < weight < 12_400 + 2 * 512
    core.tick(1.0)
    assert 7_000 + 512 < core.broker.memory.weigh() < 7_200 + 512
    _send(client, "", "/topic/a", retain="remove")
    assert core.broker.memory.weigh() == 0


def test_what_was_missed_costs_nothing() -> None:
    """However often a message should have come while nobody looked, the next time is found."""
    schedule = Schedule(0.0, 0.001, 10**15, None)
    assert schedule.following(0.0, 10.0**9, 0.0) == pytest.approx(10.0**9 + 0.001, abs=0.002)
    assert schedule.left == pytest.approx(10**15 - 10**12, abs=10)
    assert schedule.following(10.0**9, 10.0**18, 0.0) == NEVER


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_what_is_due_late_holds_nothing_that_is_gone(core: Core, kind: str) -> None:
    """A temporary destination with a message for next year leaves no timer for that long."""
    for _ in range(3):
        client = core.client()
        client.subscribe(f"/temp-{kind}/a")
        _send(client, "x", f"/temp-{kind}/a", delay=str(10**17))
        client.close()
    assert core.tick(0.0) is not None
    assert core.tick(60.0) is None


def test_a_day_is_waited_for_in_steps(core: Core) -> None:
    """What is due after many looks comes at its time."""
    client = core.client()
    client.subscribe("/queue/a")
    _send(client, "x", delay="86400000")
    for _ in range(86_399 // 50):
        core.tick(50.0)
    assert client.bodies() == []
    core.tick(86_400.0 - core.now - 0.5)
    assert client.bodies() == []
    core.tick(0.5)
    assert client.bodies() == ["x"]


def test_ever_earlier_times_take_one_timer(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message expires before the last one, and none of them for years."""
    timers: list[float] = []
    at = Broker.at

    def counted(broker: Broker, due: float, action: Callable[[], None]) -> None:
        timers.append(due)
        at(broker, due, action)

    client = core.client()
    client.send("/queue/a", "x")
    monkeypatch.setattr(Broker, "at", counted)
    for number in range(100):
        client.send("/queue/a", "x", ttl=str(10**12 - 1000 * number))
    assert timers == [60.0]
