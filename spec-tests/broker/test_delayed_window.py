"""What is not due yet shares the window with what waits, and a topic's has one too."""

import pytest
from broker.client import numbers, publish, settings
from broker.paging import PagedCore
from broker.restarting import RestartingCore

from stompd.broker.policy import Policy
from stompd.broker.queue import Queue
from stompd.broker.topic import Topic
from stompd.protocol.encoder import encode

P = {"persistent": "true"}
AGAIN = {"AMQ_SCHEDULED_PERIOD": "10000", "AMQ_SCHEDULED_REPEAT": "2"}
TOPIC = "/topic/t"


@pytest.fixture
def core() -> PagedCore:
    """A core whose windows hold eight messages."""
    return PagedCore(settings(window_messages=8))


def _queue(core: PagedCore) -> Queue:
    return core.broker.host("/").queues["/queue/a"]


def _topic(core: PagedCore) -> Topic:
    return core.broker.host("/").topics[TOPIC]


def _send(core: PagedCore, name: str, delays: range, **headers: str) -> None:
    """Send messages that tell after how many seconds they are due."""
    client = core.client()
    for seconds in delays:
        pairs = {"destination": name, "delay": str(1000 * seconds), **headers}
        client.write(encode("SEND", pairs.items(), str(seconds).encode(), version="1.2"))


def _pass(core: PagedCore, seconds: int) -> None:
    """Let so many seconds pass, and have the store answer after each."""
    for _ in range(seconds):
        core.tick(1)
        core.answer_all()


# Queues.


def test_what_is_delayed_may_have_the_window_if_nothing_waits(core: PagedCore) -> None:
    """All of it, before some of it is left to the store."""
    _send(core, "/queue/a", range(1, 9))
    assert (_queue(core).delayed.here, _queue(core).delayed.tail) == (8, 0)
    _send(core, "/queue/a", range(9, 20))
    assert _queue(core).delayed.here <= 8
    assert len(_queue(core).delayed) == 19


@pytest.mark.parametrize("first", ["what waits", "what is delayed"])
def test_they_share_the_window(core: PagedCore, first: str) -> None:
    """Whichever came first has most of it; what is delayed a quarter at most, or at least."""

    def wait() -> None:
        publish(core.client(), "/queue/a", numbers(1, 30))

    if first == "what waits":
        wait()
    _send(core, "/queue/a", range(1, 30))
    if first == "what is delayed":
        wait()
    queue = _queue(core)
    assert 1 <= queue.delayed.here <= 8
    assert queue.here >= 6
    assert queue.here + queue.delayed.here <= 8 + 6
    if first == "what waits":
        assert (queue.here, queue.delayed.here <= 2) == (8, True)
    assert queue.count == 59


def test_all_of_it_comes_in_its_time(core: PagedCore) -> None:
    """However little of it is in memory, and whatever waits beside."""
    publish(core.client(), "/queue/a", [f"w{number}" for number in range(12)])
    _send(core, "/queue/a", range(29, 0, -1))
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == [f"w{number}" for number in range(12)]
    for second in range(1, 30):
        _pass(core, 1)
        assert consumer.bodies() == [str(second)]


def test_what_becomes_due_is_left_to_the_store_when_it_is_too_much(core: PagedCore) -> None:
    """A window that is a quarter too full gives some of it away."""
    _send(core, "/queue/a", range(1, 40))
    _pass(core, 39)
    queue = _queue(core)
    assert queue.here <= 10
    assert queue.depth == 39
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == numbers(1, 39)


def test_an_occurrence_and_the_next_one_belong_together(core: PagedCore) -> None:
    """A store without room must not write the one without the other."""
    _send(core, "/queue/a", range(1, 2), **AGAIN, **P)
    core.durable()
    core.tick(1)
    (group,) = core.durable()
    assert sorted(operation.kind for operation in group) == ["put", "requeue"]


# Topics.


@pytest.mark.parametrize("headers", [{}, P])
def test_a_topic_has_only_the_first_in_memory(core: PagedCore, headers: dict[str, str]) -> None:
    """The others come when they are due next; each is published in its time."""
    _send(core, TOPIC, range(30, 0, -1), **headers)
    topic = _topic(core)
    assert topic.delayed.here <= 8
    assert len(topic.delayed) == 30
    assert (topic.count, topic.octets) == (topic.delayed.here, topic.bytes)
    listener = core.client()
    listener.subscribe(TOPIC)
    for second in range(1, 31):
        _pass(core, 1)
        assert listener.bodies() == [str(second)]
        assert topic.delayed.here <= 8
    assert (topic.bytes, topic.tail_bytes, core.paging.count) == (0, 0, 0)


def test_a_topics_window_has_a_limit_in_octets() -> None:
    """As that of a queue."""
    core = PagedCore(settings({TOPIC: Policy(window_bytes=2000)}))
    publish(core.client(), TOPIC, ["x" * 900] * 5, delay="1000")
    assert _topic(core).bytes < 2000
    assert len(_topic(core).delayed) == 5


def test_a_topics_repetitions_go_on_from_the_store() -> None:
    """Each is delayed again, in memory or not, until its last time."""
    core = RestartingCore(settings(window_messages=8))
    _send(core, TOPIC, range(1, 20), **AGAIN)
    listener = core.client()
    listener.subscribe(TOPIC)
    for second in range(1, 41):
        _pass(core, 1)
        due = [number for number in range(1, 20) if second - number in (0, 10, 20)]
        assert sorted(map(int, listener.bodies())) == due
    assert (_topic(core).count, _topic(core).bytes, core.paging.count) == (0, 0, 0)


def test_a_topic_ends_with_what_it_delays(core: PagedCore) -> None:
    """What is in the store only as well, transient or not; also somebody's own topic."""
    _send(core, TOPIC, range(1, 20))
    core.broker.host("/").remove(_topic(core))
    assert core.paging.count == 0
    client = core.client()
    for number in range(20):
        client.send("/temp-topic/own", "x", delay=str(1000 * number + 1000))
    assert core.paging.count > 0
    client.close()
    assert core.paging.count == 0


def test_what_a_topic_delays_comes_page_by_page_after_a_restart() -> None:
    """What was due meanwhile at once, the rest in its time; transient ones after a stop only."""
    core = RestartingCore(settings(window_messages=8))
    _send(core, TOPIC, range(1, 20), **P)
    _send(core, TOPIC, range(1, 20))
    core.sync()
    core.stop(down=5.5)
    listener = core.client()
    listener.subscribe(TOPIC)
    core.answer_all()
    assert sorted(map(int, listener.bodies())) == sorted([*range(1, 6)] * 2)
    core.sync()
    core.crash(down=5.2)
    assert len(_topic(core).delayed) == 14
    listener = core.client()
    listener.subscribe(TOPIC)
    core.answer_all()
    assert sorted(map(int, listener.bodies())) == [*range(6, 11)]
    for second in range(11, 20):
        _pass(core, 1)
        assert listener.bodies() == [str(second)]


# While an answer is on its way.


def _asking(core: PagedCore) -> PagedCore:
    """Have a queue ask for what is due next, while others wait; the answer is not there yet."""
    publish(core.client(), "/queue/a", numbers(101, 108))
    _send(core, "/queue/a", range(1, 12), **P)
    while not core.paging.asked:
        core.tick(1)
    return core


def test_a_slow_answer_does_not_have_everything_wait_in_memory(core: PagedCore) -> None:
    """What is due later goes to the store meanwhile, and comes in its time all the same."""
    _asking(core)
    now = round(core.now)
    _send(core, "/queue/a", range(40, 4, -1))
    queue = _queue(core)
    assert queue.delayed.here <= 3
    consumer = core.client()
    consumer.subscribe("/queue/a")
    came = []
    for _ in range(60):
        _pass(core, 1)
        came += [int(body) for body in consumer.bodies()]
    assert [number for number in came if number > 100] == [*range(101, 109)]
    rest = sorted(number for number in came if number < 100)
    assert rest == sorted([*range(1, 12), *range(5, 41)])
    assert came.index(40) > came.index(30) > came.index(12 + now)
    assert (core.paging.count, queue.count, queue.octets) == (0, 0, 0)


def test_what_comes_while_the_store_is_asked_is_not_given_up(core: PagedCore) -> None:
    """An answer without anything is not believed if something came since."""
    _asking(core)
    queue = _queue(core)
    for place in [place for place, record in core.paging.kept[queue.key].items() if record.due]:
        if place not in {message.place for _, message in queue.delayed.entries()}:
            del core.paging.kept[queue.key][place]
    answer = core.paging.answer()
    assert answer[1] == []
    _send(core, "/queue/a", range(40, 4, -1))
    core.broker.fetched(*answer)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    consumer.take()
    came = []
    for _ in range(60):
        _pass(core, 1)
        came += [int(body) for body in consumer.bodies()]
    assert {number for number in came if number > 11} == {*range(12, 41)}
    assert len(queue.delayed) == 0


def test_an_answer_may_reach_beyond_what_came_meanwhile(core: PagedCore) -> None:
    """Then the next question begins before that: nothing is passed over."""
    publish(core.client(), "/queue/a", numbers(101, 108))
    _send(core, "/queue/a", range(10, 200, 10), **P)
    while not core.paging.asked:
        core.tick(1)
    now = round(core.now)
    answer = core.paging.answer()
    later = range(now + 5, now + 9)
    client = core.client()
    for seconds in later:
        client.send("/queue/a", str(seconds), delay=str(1000 * (seconds - now)), **P)
    core.broker.fetched(*answer)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    consumer.take()
    came = []
    for _ in range(200):
        _pass(core, 1)
        came += [int(body) for body in consumer.bodies()]
    assert set(came) >= {*later, *range(now // 10 * 10 + 10, 200, 10)}
    assert came == sorted(came)
    assert len(came) == len(set(came))


def test_an_answer_for_a_queue_that_is_gone(core: PagedCore) -> None:
    """A temporary queue ended, and was freed, while what it delays was on its way."""
    client = core.client()
    for seconds in range(1, 30):
        client.send("/temp-queue/a", str(seconds), delay=str(1000 * seconds), persistent="true")
    core.tick(7)
    answer = core.paging.answer()
    assert answer[0].what == "delayed"
    client.close()
    core.broker.fetched(*answer)
    assert core.broker.host("/").queues == {}
    assert core.paging.count == 0
