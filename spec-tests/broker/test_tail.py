"""The tail of a queue: by priority and by due time, searched, swept, given what memory lacks."""

from typing import Any

from broker.client import numbers, publish, settings
from broker.paging import PagedCore
from broker.restarting import RestartingCore

from stompd.broker.memory import OVERHEAD
from stompd.broker.policy import Policy
from stompd.broker.queue import Queue
from stompd.broker.takeover import take_over

P = {"persistent": "true"}


def _paged(window: int = 3, most: int = 1_000_000, **policy: Any) -> PagedCore:  # noqa: ANN401
    return PagedCore(settings(window_messages=window, **policy), most)


def _queue(core: PagedCore) -> Queue:
    return core.broker.host("/").queues["/queue/a"]


def test_each_priority_has_a_tail_of_its_own() -> None:
    """Memory holds a window whatever the priorities are; what comes first is what is fetched."""
    core = _paged(4)
    for priority in "199449":
        publish(core.client(), "/queue/a", [f"{priority}.{n}" for n in "123"], priority=priority)
    queue = _queue(core)
    assert len(list(queue.waiting())) == 5
    assert repr(queue.behind) == "<Tail of /queue/a {9: (4, 8), 4: (10, 5)}>"
    assert queue.behind.priorities() == [9, 4]
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    got = [body[0] for body in consumer.bodies()]
    assert got == ["9"] * 9 + ["4"] * 6 + ["1"] * 3
    assert (queue.count, queue.octets, core.paging.count) == (0, 0, 0)


def test_an_urgent_message_finds_room_in_a_full_window() -> None:
    """What others fill it with does not send it to the store."""
    core = _paged(2)
    publish(core.client(), "/queue/a", numbers(1, 4), priority="1")
    publish(core.client(), "/queue/a", ["urgent"], priority="9")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    assert consumer.bodies() == ["urgent"]


def test_so_many_priorities_that_none_has_a_share() -> None:
    """Each one more is in the store alone, and they come in their order."""
    core = _paged(4)
    for priority in range(40):
        publish(core.client(), "/queue/a", [str(priority)], priority=str(priority))
    assert len(list(_queue(core).waiting())) < 25
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    got = consumer.bodies()
    assert sorted(got) == sorted(map(str, range(40)))


def test_who_wants_little_does_not_bring_all_of_it_into_memory() -> None:
    """A selector is searched for part by part; what it does not match stays in the store."""
    core = _paged(4, most=10)
    producer, consumer = core.client(), core.client()
    for number in range(1, 101):
        producer.send("/queue/a", str(number), colour="red" if number % 25 else "blue")
    consumer.subscribe("/queue/a", "client-individual", selector="colour = 'blue'")
    most = 0
    while core.answer():
        most = max(most, len(list(_queue(core).waiting())))
    messages = consumer.messages()
    assert [message.text for message in messages] == ["25", "50", "75", "100"]
    assert most <= 5
    for message in messages:
        consumer.ack(message)
    # What comes now is given to it at once: it has seen all that comes before.
    producer.send("/queue/a", "no", colour="red")
    producer.send("/queue/a", "yes", colour="blue")
    assert consumer.bodies() == ["yes"]
    assert core.paging.asked == []
    assert _queue(core).tail == 93


def test_a_settled_message_is_known_no_more() -> None:
    """Places that were taken out of the tail's turn are forgotten when nobody can bring them."""
    core = _paged(2)
    producer, blue = core.client(), core.client()
    for number in range(1, 9):
        producer.send("/queue/a", str(number), colour="blue" if number % 2 else "red")
    blue.subscribe("/queue/a", "client-individual", selector="colour = 'blue'")
    core.answer_all()
    stretch = _queue(core).behind.stretches[4]
    one, three, *others = blue.messages(4)
    assert one.text == "1"
    assert (three.text, stretch.ahead) == ("3", {5, 7})
    blue.ack(others[0])
    assert stretch.ahead == {7}
    # While a part of the tail is on its way it may have been read before it was settled.
    browser = core.client()
    browser.subscribe("/queue/a", browser="true")
    blue.ack(others[1])
    assert stretch.ahead == {7}
    core.answer_all()
    assert stretch.ahead == set()


def test_a_new_tail_is_searched_from_its_beginning() -> None:
    """What was searched of the one before does not count."""
    core = _paged(2)
    producer, blue, other = core.client(), core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 6), colour="red")
    blue.subscribe("/queue/a", selector="colour = 'blue'")
    core.answer_all()
    other.subscribe("/queue/a")
    core.answer_all()
    assert other.bodies() == numbers(1, 6)
    other("UNSUBSCRIBE", id="0")
    publish(producer, "/queue/a", numbers(7, 12), colour="red")
    publish(producer, "/queue/a", ["urgent"] * 2, colour="red", priority="9")
    core.answer_all()
    assert take_over(_queue(core), 0) == 3
    publish(producer, "/queue/a", ["13"], colour="blue")
    core.answer_all()
    assert blue.bodies() == ["13"]


def test_a_search_that_ends_in_nothing() -> None:
    """The last place of a queue may be another priority's; then nothing is behind the last one."""
    core = RestartingCore(settings(window_messages=2))
    publish(core.client(), "/queue/a", numbers(1, 6), **P)
    publish(core.client(), "/queue/a", ["low"], priority="1", **P)
    core.sync()
    core.crash()
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", selector="x = 1")
    core.answer_all()
    assert consumer.take() == []
    assert _queue(core).depth == 7


def test_a_search_for_what_was_dropped_meanwhile() -> None:
    """Nothing comes of it."""
    core = _paged(2)
    publish(core.client(), "/queue/a", numbers(1, 6), x="1")
    consumer = core.client()
    consumer.subscribe("/queue/a", selector="x = 2")
    answer = core.paging.answer()
    assert _queue(core).drop_tail() == 4
    core.broker.fetched(*answer)
    core.run()
    assert (_queue(core).depth, core.paging.count) == (2, 0)


def test_a_tail_that_had_counted_less_than_it_has() -> None:
    """Taking more out of it than it knows of harms nothing."""
    core = _paged(1)
    publish(core.client(), "/queue/a", numbers(1, 4))
    queue = _queue(core)
    queue.behind.stretches[4].count = 1
    queue.tail = 1
    queue.behind.look(4, 0, 10, 10_000, lambda found, _: queue.behind.withdraw(found))
    core.answer()
    assert (queue.tail, queue.behind.priorities()) == (0, [])


def test_a_queue_that_goes_while_it_is_swept() -> None:
    """The answer is for nobody."""
    core = _paged(1)
    publish(core.client(), "/queue/a", numbers(1, 4), ttl="1000")
    core.tick(1)
    assert [fetch.what for fetch in core.paging.asked] == ["expired"]
    answer = core.paging.answer()
    host = core.broker.host("/")
    host.remove(_queue(core))
    core.broker.fetched(*answer)
    assert host.queues == {}


# Giving the store what is in memory.


def test_memory_is_relieved_before_producers_wait() -> None:
    """Over the mark what waits goes to the store, transient as it is, the fullest queue first."""
    size = 1000 + len("destination:/queue/a") + OVERHEAD
    core = PagedCore(settings(memory_mark=10 * size, window_messages=32))
    publish(core.client(), "/queue/b", ["x" * 1000] * 2)
    publish(core.client(), "/queue/a", [n.rjust(1000) for n in numbers(1, 9)])
    core.broker.memory.check()
    assert not core.broker.memory.heavy
    queue = _queue(core)
    assert (queue.tail, len(queue.ready), core.paging.count) == (7, 2, 7)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert [body.strip() for body in consumer.bodies()] == numbers(1, 9)
    assert core.broker.host("/").queues["/queue/b"].tail == 0


def test_what_is_delivered_is_not_taken_for_a_part_of_the_tail() -> None:
    """It was delivered before the others went to the store, from places behind theirs."""
    core = _paged(9)
    producer = core.client()
    for number in range(1, 9):
        producer.send("/queue/a", str(number), colour="blue" if number % 2 else "red", **P)
    blue = core.client()
    blue.subscribe("/queue/a", "client-individual", selector="colour = 'blue'")
    held = blue.messages(4)
    assert take_over(_queue(core), 1) == 3
    other = core.client()
    other.subscribe("/queue/a", "client")
    core.answer_all()
    assert other.bodies() == ["2", "4", "6", "8"]
    blue.nack(held[1])
    blue.close()
    core.answer_all()
    assert other.bodies() == ["3", "1", "5", "7"]


def test_nothing_is_given_while_it_is_not_known_what_is_delivered() -> None:
    """What a transaction holds for a subscription that is gone is not found."""
    core = _paged(9)
    publish(core.client(), "/queue/a", numbers(1, 4), **P)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    consumer("BEGIN", transaction="t")
    consumer.ack(consumer.one("MESSAGE"), transaction="t")
    consumer("UNSUBSCRIBE", id="0")
    assert take_over(_queue(core), 0) == 0
    consumer("COMMIT", transaction="t")
    assert take_over(_queue(core), 1) > 0


# What is not due yet.


def test_of_what_is_delayed_only_the_first_is_in_memory() -> None:
    """The rest is fetched when it is next, transient or not, and comes at its time."""
    core = _paged(2)
    for number in range(20, 0, -1):
        headers = P if number % 2 else {}
        core.client().send("/queue/a", str(number), delay=str(number * 10_000), **headers)
    queue = _queue(core)
    assert (len(queue.delayed), queue.octets > 0) == (20, True)
    assert len(queue.delayed.entries()) <= 4
    consumer = core.client()
    consumer.subscribe("/queue/a")
    for number in range(1, 21):
        core.tick(9)
        core.answer_all()
        assert consumer.take() == []
        core.tick(1)
        core.answer_all()
        assert consumer.bodies() == [str(number)]
    assert (queue.count, queue.octets, core.paging.count) == (0, 0, 0)


def test_memory_for_what_is_delayed_is_bounded_in_octets_too() -> None:
    """Two large messages are more than the window may hold."""
    core = _paged(100, window_bytes=1000)
    publish(core.client(), "/queue/a", ["x" * 900] * 4, delay="1000")
    assert len(_queue(core).delayed.entries()) < 3
    core.tick(1)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert len(consumer.bodies()) == 4


def test_a_store_that_has_fewer_delayed_messages_than_it_counted() -> None:
    """It is asked once more from the beginning, and then believed."""
    core = _paged(1)
    publish(core.client(), "/queue/a", numbers(1, 6), delay="1000", **P)
    queue = _queue(core)
    assert queue.delayed.tail == 5
    here = {message.place for _, message in queue.delayed.entries()}
    for place in sorted({1, 2, 3, 4, 5, 6} - here)[:3]:
        del core.paging.kept[queue.key][place]
    core.tick(2)
    core.answer_all()
    assert (len(queue.delayed), queue.depth) == (0, 3)


def test_a_queue_that_goes_while_delayed_messages_are_on_their_way() -> None:
    """Nothing comes of it, for the queue and for who looks."""
    core = _paged(1)
    publish(core.client(), "/queue/a", numbers(1, 6), delay="1000")
    queue = _queue(core)
    seen: list[tuple[list[Any], list[float]]] = []
    queue.delayed.look((0.0, 0), 10, 10_000, lambda found, dues: seen.append((found, dues)))
    core.tick(1)
    answers = [core.paging.answer() for _ in range(len(core.paging.asked))]
    assert len(answers) == 2
    core.broker.host("/").remove(queue)
    for answer in answers:
        core.broker.fetched(*answer)
    assert seen == [([], [])]


def test_a_purge_of_delayed_messages_gives_room() -> None:
    """A producer that waits for room goes on when they are dropped from the store."""
    core = _paged(1, max_messages=4)
    producer = core.client()
    producer("BEGIN", transaction="t")
    publish(producer, "/queue/a", numbers(1, 6), transaction="t", delay="9000")
    producer("COMMIT", transaction="t")
    assert producer.session.paused
    assert _queue(core).delayed.tail > 0
    queue = _queue(core)

    def purge(messages: list[Any], _dues: list[float]) -> None:
        gone = queue.delayed.still(messages)
        queue.delayed.withdraw(gone)
        queue.lost(len(gone))

    queue.delayed.look((0.0, 0), 10, 100_000, purge)
    core.answer_all()
    assert not producer.session.paused
    assert queue.delayed.tail == 0


def test_a_policy_for_one_queue_bounds_what_is_due_at_once() -> None:
    """More comes due than the window should hold: some of it is left to the store again."""
    core = PagedCore(settings({"/queue/a": Policy(window_messages=2)}))
    publish(core.client(), "/queue/a", numbers(1, 30), delay="1000", **P)
    core.tick(1)
    core.answer_all()
    queue = _queue(core)
    assert (queue.depth, len(list(queue.waiting())) <= 4) == (30, True)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == numbers(1, 30)
