"""Window and tail, tickets and groups: the core over a store that answers late."""

from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Client, numbers, publish, settings
from broker.paging import Operation, PagedCore

from stompd.broker.policy import Policy
from stompd.protocol.encoder import encode


def _paged(window: int = 3, most: int = 1_000_000, **policy: Any) -> PagedCore:  # noqa: ANN401
    return PagedCore(settings(window_messages=window, **policy), most)


def _backlog(core: PagedCore, last: int, name: str = "/queue/a", **headers: str) -> None:
    publish(core.client(), name, numbers(1, last), **headers)


def _take_all(core: PagedCore, consumer: Client) -> list[str]:
    """Acknowledge whatever comes, answering fetches, until nothing comes any more."""
    got: list[str] = []
    while True:
        messages = consumer.messages()
        if not messages and not core.answer():
            return got
        for message in messages:
            got.append(message.text)
            if "ack" in message.headers:
                consumer.ack(message)


# Window and tail.


def test_what_does_not_fit_into_the_window_is_kept_elsewhere() -> None:
    """The window holds three messages, the store the others; listings count both."""
    core = _paged(3)
    _backlog(core, 10)
    assert core.queue("/queue/a") == (
        "<Queue /queue/a ready=10 unsettled=0 tail=7 subscriptions=0>"
    )
    assert core.paging.count == 7
    assert core.paging.asked == []


def test_a_small_backlog_never_touches_the_store() -> None:
    """Transient messages that fit into the window stay in memory."""
    core = _paged(10)
    _backlog(core, 10)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == numbers(1, 10)
    assert core.paging.batch == []


@pytest.mark.clause("M-11")
@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("most", [1, 2, 1_000_000])
@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_order_is_kept_across_the_tail(window: int, most: int, ack: str) -> None:
    """Whatever window and answers measure, all come once and in order, and nothing is left."""
    core = _paged(window, most)
    _backlog(core, 50)
    consumer = core.client()
    consumer.subscribe("/queue/a", ack, prefetch_count="5")
    assert _take_all(core, consumer) == numbers(1, 50)
    assert core.queue("/queue/a") == ("<Queue /queue/a ready=0 unsettled=0 tail=0 subscriptions=1>")
    assert core.paging.count == 0
    assert core.broker.host("/").queues["/queue/a"].octets == 0


def test_a_new_message_does_not_overtake_the_tail() -> None:
    """While a fetch is on its way a waiting consumer gets nothing younger."""
    core = _paged(2)
    _backlog(core, 5)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["1", "2"]
    publish(core.client(), "/queue/a", ["6"])
    assert consumer.take() == []
    assert _take_all(core, consumer) == ["3", "4", "5", "6"]


def test_messages_that_arrive_while_a_fetch_is_on_its_way() -> None:
    """They line up behind the tail, in the same answer or in a later one."""
    core = _paged(4, most=2)
    _backlog(core, 8)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == numbers(1, 4)
    publisher = core.client()
    got = []
    for number in range(9, 20):
        publisher.send("/queue/a", str(number))
        core.answer()
        got += consumer.bodies()
    got += _take_all(core, consumer)
    assert got == numbers(5, 19)


def test_the_window_is_filled_when_it_is_down_to_its_half() -> None:
    """A fetch is asked for once, early enough, and for what there is room for."""
    core = _paged(4)
    _backlog(core, 12)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    consumer.ack(consumer.messages(1)[0])
    assert [(fetch.after, fetch.count) for fetch in core.paging.asked] == [(4, 2)]
    consumer.ack(consumer.messages(1)[0])
    assert len(core.paging.asked) == 1
    core.answer()
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=9 unsettled=1 tail=6 ")


def test_a_backlog_without_consumers_asks_for_nothing() -> None:
    """The window is full; nobody needs the rest now."""
    core = _paged(4)
    _backlog(core, 12)
    publish(core.client(), "/queue/a", numbers(13, 30))
    assert core.paging.asked == []


def test_the_window_is_bounded_in_octets_too() -> None:
    """Large messages go to the store although their number would fit."""
    core = _paged(100, window_bytes=1000)
    publish(core.client(), "/queue/a", ["x" * 400] * 5)
    assert "tail=3" in core.queue("/queue/a")
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert len(_take_all(core, consumer)) == 5


def test_a_returned_message_comes_before_the_tail() -> None:
    """What was delivered from the window goes back in front of everything."""
    core = _paged(3)
    _backlog(core, 9)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="3")
    assert consumer.bodies() == numbers(1, 3)
    consumer.close()
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=9 unsettled=0 tail=6 ")
    other = core.client()
    other.subscribe("/queue/a", "client")
    assert _take_all(core, other) == numbers(1, 9)


def test_a_fetched_message_that_returns_keeps_its_place_and_its_count() -> None:
    """NACKed messages of the tail come again first, counted, and are settled for good."""
    core = _paged(2)
    _backlog(core, 6)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="0")
    core.answer_all()
    messages = consumer.messages(6)
    for message in (messages[4], messages[2]):
        consumer.nack(message)
    again = consumer.messages(2)
    assert [(m.text, m["delivery-count"]) for m in again] == [("5", "2"), ("3", "2")]
    consumer.close()
    other = core.client()
    other.subscribe("/queue/a", "client")
    messages = other.messages(6)
    assert [message.text for message in messages] == numbers(1, 6)
    assert [message["delivery-count"] for message in messages] == ["2", "1", "2", "1", "2", "1"]
    other.ack(messages[-1])
    assert core.paging.count == 0


def test_headers_survive_the_tail() -> None:
    """A message that was kept elsewhere comes with all that its sender gave it, in each version."""
    core = _paged(1)
    publisher = core.client()
    _backlog(core, 1)
    for number in range(3):
        publisher.send("/queue/a", "body", x="a:b\\c", n=str(number), content_type="text/plain")
    for number, version in enumerate(("1.0", "1.1", "1.2")):
        consumer = core.client(version)
        consumer.subscribe("/queue/a", "client", prefetch_count="1")
        core.answer_all()
        messages = consumer.messages()
        if not number:
            consumer.ack(messages[0])
            core.answer_all()
            messages = consumer.messages()
        message = messages[0]
        assert (message["x"], message["n"]) == ("a:b\\c", str(number))
        assert (message["content-type"], message["content-length"]) == ("text/plain", "4")
        consumer.ack(message)
        consumer.take()
        consumer("UNSUBSCRIBE", id="0")


def test_two_virtual_hosts_are_two_queues_to_the_store() -> None:
    """Equal names do not mix."""
    core = PagedCore(settings(window_messages=1, virtual_hosts=("/", "other")))
    one, two = core.client(), core.client(host="other")
    for number in numbers(1, 4):
        one.send("/queue/a", f"one {number}")
        two.send("/queue/a", f"two {number}")
    one.subscribe("/queue/a")
    two.subscribe("/queue/a")
    core.answer_all()
    assert one.bodies() == [f"one {number}" for number in numbers(1, 4)]
    assert two.bodies() == [f"two {number}" for number in numbers(1, 4)]


def test_a_queue_with_a_tail_is_not_idle() -> None:
    """It stays as long as something is kept of it, and goes when it is empty."""
    core = _paged(1, auto_delete_after=10.0)
    _backlog(core, 3)
    core.tick(100)
    assert list(core.broker.host("/").queues) == ["/queue/a"]
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.answer_all()
    assert consumer.bodies() == numbers(1, 3)
    consumer.close()
    core.tick(100)
    core.tick(100)
    assert core.broker.host("/").queues == {}
    assert core.durable()[-1] == [Operation("forget", "/queue/a")]


def test_an_answer_for_a_queue_that_is_gone() -> None:
    """A temporary queue ended while a part of its tail was on its way: nothing happens."""
    core = _paged(1)
    client = core.client()
    publish(client, "/temp-queue/a", numbers(1, 5))
    client.subscribe("/temp-queue/a")
    assert client.bodies() == ["1"]
    answer = core.paging.answer()
    client.close()
    core.broker.fetched(*answer)
    assert core.broker.host("/").queues == {}
    assert core.paging.count == 0


def test_octets_of_a_temporary_queue_outlive_it() -> None:
    """What is settled after the queue was forgotten is not told to the store again."""
    core = _paged(1)
    client = core.client()
    publish(client, "/temp-queue/a", numbers(1, 3), persistent="true")
    client.reading = False
    client.subscribe("/temp-queue/a")
    client("DISCONNECT")
    client.read_again()
    assert core.broker.host("/").queues == {}
    assert core.paging.count == 0


def test_a_wildcard_takes_from_several_tails() -> None:
    """One subscription, three queues with a tail each: every queue's order is kept."""
    core = _paged(2)
    for name in "xyz":
        _backlog(core, 10, f"/queue/a.{name}")
    consumer = core.client()
    consumer.subscribe("/queue/a.*", "client-individual", prefetch_count="4")
    got: dict[str, list[str]] = {}
    while messages := consumer.messages() or (core.answer() and consumer.messages()):
        for message in messages:
            got.setdefault(message["destination"], []).append(message.text)
            consumer.ack(message)
    assert got == {f"/queue/a.{name}": numbers(1, 10) for name in "xyz"}


def test_purging_by_drop_head_reaches_the_tail() -> None:
    """A queue of at most five messages keeps the last five, wherever they are."""
    core = _paged(2, max_messages=5, overflow="drop-head", dead_letter=None)
    _backlog(core, 5)
    publisher = core.client()
    for number in numbers(6, 12):
        publisher.send("/queue/a", number)
        core.answer_all()
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert _take_all(core, consumer) == numbers(8, 12)
    assert core.paging.count == 0


def test_max_bytes_counts_the_tail() -> None:
    """The limit in octets is that of the whole queue, not of its window."""
    core = _paged(1, max_bytes=2000, overflow="reject")
    publisher = core.client()
    for _ in range(10):
        if publisher.session.over:
            break
        publisher.send("/queue/a", "x" * 400)
    assert publisher.error()["message"] == "queue is full"
    assert core.broker.host("/").queues["/queue/a"].depth == 4


# Dead letters across queues.


def test_a_dead_letter_moves_in_one_group() -> None:
    """It leaves its queue and joins the other together, so that no crash loses or doubles it."""
    core = _paged(10)
    core.client().send("/queue/a", "x", persistent="true")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    core.durable()
    consumer.nack(consumer.messages(1)[0], requeue="false")
    assert core.durable() == [
        [Operation("settle", "/queue/a", 1), Operation("put", "/queue/DLQ.a", 1)]
    ]


def test_dead_letters_have_a_tail_of_their_own() -> None:
    """Messages of a tail that fail go to the tail of the dead letters, in order and complete."""
    core = _paged(2, max_deliveries=1)
    _backlog(core, 8, x="1")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    core.answer_all()
    messages = consumer.messages(8)
    consumer.nack(messages[-1], reason="bad")
    assert "ready=8" in core.queue("/queue/DLQ.a")
    assert "tail=6" in core.queue("/queue/DLQ.a")
    consumer.subscribe("/queue/DLQ.a", "client", id="dead")
    core.answer_all()
    letters = consumer.messages(8)
    assert [letter.text for letter in letters] == numbers(1, 8)
    for letter in letters:
        assert letter["original-destination"] == "/queue/a"
        assert letter["dead-letter-detail"] == "bad"
        assert (letter["x"], letter["delivery-count"]) == ("1", "1")
    consumer.nack(letters[-1])
    again = consumer.messages(8)
    assert [letter["delivery-count"] for letter in again] == ["1"] * 8
    consumer.ack(again[-1])
    assert core.paging.count == 0


def test_a_commit_is_one_group() -> None:
    """SENDs to two queues, an ACK, a NACK and a dead letter of one COMMIT belong together."""
    core = _paged(10)
    publish(core.client(), "/queue/in", numbers(1, 3), persistent="true")
    client = core.client()
    client.subscribe("/queue/in", "client-individual")
    one, two, three = client.messages(3)
    core.durable()
    client("BEGIN", transaction="t")
    client.send("/queue/x", "x", persistent="true", transaction="t")
    client.ack(one, transaction="t")
    client.nack(two, transaction="t", requeue="false")
    client.nack(three, transaction="t")
    client.send("/queue/y", "y", persistent="true", transaction="t")
    assert core.paging.batch == []
    client("COMMIT", transaction="t")
    batch = core.durable()
    assert len(batch) == 1
    assert set(batch[0]) == {
        Operation("settle", "/queue/in", 1),
        Operation("settle", "/queue/in", 2),
        Operation("put", "/queue/DLQ.in", 1),
        Operation("requeue", "/queue/in", 3),
        Operation("put", "/queue/x", 1),
        Operation("put", "/queue/y", 1),
    }
    assert len(batch[0]) == 6


def test_abort_tells_the_store_nothing() -> None:
    """What an aborted transaction would have sent never reaches the store."""
    core = _paged(10)
    client = core.client()
    client("BEGIN", transaction="t")
    client.send("/queue/x", "x", persistent="true", transaction="t")
    client("ABORT", transaction="t")
    assert core.durable() == []


# Receipts and tickets.


@pytest.mark.clause("R-02")
@pytest.mark.parametrize("value", ["true", "TRUE", " true ", "1"])
def test_a_persistent_sends_receipt_waits_for_the_store(value: str) -> None:
    """It comes with `durable`, not before."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent=value, receipt="r")
    ticket, _ = core.paging.take_batch()
    assert client.take() == []
    core.confirm(ticket)
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("value", ["false", "0", "", "yes"])
def test_a_transient_sends_receipt_comes_at_once(value: str) -> None:
    """There is nothing to wait for."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent=value, receipt="r")
    assert client.receipts() == ["r"]
    assert core.paging.count == 0


@pytest.mark.clause("R-09")
def test_receipts_wait_in_the_order_of_their_frames() -> None:
    """A frame that needs no disk still waits behind one that does; batches release in turn."""
    core = _paged(10)
    client, other = core.client(), core.client()
    client.send("/queue/a", "1", persistent="true", receipt="1")
    first, _ = core.paging.take_batch()
    client.send("/queue/a", "2", receipt="2")
    client.send("/queue/a", "3", persistent="true", receipt="3")
    client.subscribe("/topic/a", receipt="4")
    other.send("/queue/b", "x", receipt="o")
    assert other.receipts() == ["o"]
    assert client.take() == []
    second, _ = core.paging.take_batch()
    core.confirm(first)
    assert client.receipts() == ["1", "2"]
    core.confirm(second)
    assert client.receipts() == ["3", "4"]
    client.send("/queue/a", "5", receipt="5")
    assert client.receipts() == ["5"]


def test_a_later_ticket_confirms_the_earlier_ones() -> None:
    """Batches become durable in order, and an old ticket that comes late takes nothing back."""
    core = _paged(10)
    client = core.client()
    tickets = []
    for number in numbers(1, 3):
        client.send("/queue/a", number, persistent="true", receipt=number)
        tickets.append(core.paging.take_batch()[0])
    core.confirm(tickets[2])
    assert client.receipts() == numbers(1, 3)
    core.broker.durable(tickets[0])
    assert core.broker.durable_ticket == tickets[2]
    assert client.take() == []


@pytest.mark.clause("SUB-12")
def test_a_subscription_begins_with_its_receipt() -> None:
    """Behind a persistent SEND it waits its turn, and its messages wait for its RECEIPT."""
    core = _paged(10)
    publish(core.client(), "/queue/in", ["x"])
    client = core.client()
    client.send("/queue/a", "1", persistent="true", receipt="1")
    client.subscribe("/queue/in", receipt="s")
    client.send("/queue/in", "y")
    assert client.take() == []
    assert client.session.paused
    core.durable()
    assert [frame.command for frame in client.take()] == ["RECEIPT"] * 2 + ["MESSAGE"] * 2
    assert not client.session.paused


def test_a_postponed_subscription_ends_with_its_connection() -> None:
    """It was never made, and nobody waits for it."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "1", persistent="true", receipt="1")
    client.subscribe("/queue/a", receipt="s")
    assert client.waiting == 1
    client.close()
    core.durable()
    assert "subscriptions=0" in core.queue("/queue/a")


def test_a_subscription_without_receipt_does_not_wait() -> None:
    """It asked for no promise of order."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "1", persistent="true", receipt="1")
    client.subscribe("/queue/a")
    assert client.bodies() == ["1"]
    core.durable()
    assert client.receipts() == ["1"]


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_the_receipt_of_an_ack_waits_for_the_store(ack: str) -> None:
    """If what it settles is on disk; an ACK of a transient message does not wait."""
    core = _paged(10)
    publisher, client = core.client(), core.client()
    client.subscribe("/queue/a", ack)
    publisher.send("/queue/a", "x", persistent="true")
    publisher.send("/queue/a", "y")
    one, two = client.messages(2)
    core.durable()
    client.ack(one, receipt="1")
    assert client.take() == []
    core.durable()
    assert client.receipts() == ["1"]
    client.ack(two, receipt="2")
    assert client.receipts() == ["2"]


def test_the_receipt_of_a_commit_waits_for_the_store() -> None:
    """Those of its frames do not: they are enlisted, not done."""
    core = _paged(10)
    client = core.client()
    client.subscribe("/queue/in", "client-individual")
    for persistent in ("true", "false"):
        client.send("/queue/in", "x", persistent=persistent)
    stored, transient = client.messages(2)
    core.durable()
    client("BEGIN", transaction="t")
    client.send("/queue/a", "x", persistent="true", transaction="t", receipt="s")
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["s"]
    core.durable()
    assert client.receipts() == ["c"]
    client("BEGIN", transaction="t")
    client.ack(stored, transaction="t", receipt="a")
    client("COMMIT", transaction="t", receipt="d")
    assert client.receipts() == ["a"]
    core.durable()
    assert client.receipts() == ["d"]
    client("BEGIN", transaction="t")
    client.ack(transient, transaction="t")
    client.send("/queue/a", "x", transaction="t")
    client("COMMIT", transaction="t", receipt="e")
    assert client.receipts() == ["e"]


@pytest.mark.clause("D-03", "D-04")
def test_the_receipt_of_disconnect_waits_for_the_store() -> None:
    """The session stays until everything is confirmed; frames behind DISCONNECT are ignored."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client("DISCONNECT", receipt="bye")
    assert client.take() == []
    assert not client.session.over
    client.send("/queue/a", "ignored")
    client("COMMIT", transaction="ignored")
    assert not client.session.over
    core.durable()
    assert client.receipts() == ["1", "bye"]
    assert client.closed
    assert core.broker.host("/").queues["/queue/a"].depth == 1


def test_disconnect_without_receipt_waits_for_those_before() -> None:
    """What was promised is kept."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client("DISCONNECT")
    assert not client.closed
    core.durable()
    assert client.receipts() == ["1"]
    assert client.closed


def test_a_connection_that_breaks_forgets_its_receipts() -> None:
    """The message stays, the promise goes with the connection."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    assert client.session.unconfirmed
    client.close()
    core.durable()
    assert core.broker.host("/").queues["/queue/a"].depth == 1
    assert client.take() == []


@pytest.mark.clause("R-04", "E-02")
def test_an_error_takes_the_place_of_receipts_that_wait() -> None:
    """Never a RECEIPT after an ERROR."""
    core = _paged(10)
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client("SEND")
    assert client.error().command == "ERROR"
    core.durable()
    assert client.take() == []


def test_a_quick_consumer_spares_the_window() -> None:
    """A persistent message that is consumed at once was put and settled, nothing else."""
    core = _paged(10)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    core.client().send("/queue/a", "x", persistent="true")
    assert consumer.bodies() == ["x"]
    assert core.durable() == [
        [Operation("put", "/queue/a", 1)],
        [Operation("settle", "/queue/a", 1)],
    ]


def test_a_dropped_head_leaves_the_store() -> None:
    """An overflow without dead letters settles what it drops."""
    core = PagedCore(
        settings({"/queue/a": Policy(max_messages=1, overflow="drop-head", dead_letter=None)})
    )
    publish(core.client(), "/queue/a", ["1", "2"], persistent="true")
    assert core.durable() == [
        [Operation("put", "/queue/a", 1)],
        [Operation("put", "/queue/a", 2)],
        [Operation("settle", "/queue/a", 1)],
    ]


# What empties the window without a consumer.


def test_a_window_that_is_purged_is_filled_again() -> None:
    """So the next purge reaches what the first one could not."""
    core = _paged(3)
    _backlog(core, 7)
    queue = core.broker.host("/").queues["/queue/a"]
    depths = []
    for _ in range(3):
        queue.discard(list(queue.waiting()))
        core.answer_all()
        depths.append(queue.depth)
    assert depths == [4, 1, 0]
    assert core.paging.count == 0
    assert queue.octets == 0


def test_what_is_in_the_store_expires_without_a_consumer() -> None:
    """As the window empties, the tail comes to where it is looked at."""
    core = _paged(2)
    _backlog(core, 9, ttl="1000")
    queue = core.broker.host("/").queues["/queue/a"]
    for _ in range(5):
        core.tick(1.0)
        core.answer_all()
    assert (queue.depth, queue.expired_count, core.paging.count) == (0, 9, 0)


def test_what_comes_from_the_store_is_seen_by_who_looked_at_a_later_place() -> None:
    """A delayed message that came due before may stand behind it, and have been passed over."""
    core = _paged(2)
    producer, blue, consumer = core.client(), core.client(), core.client()
    publish(producer, "/queue/a", ["1", "2"])
    producer.send("/queue/a", "3", colour="blue")
    producer.send("/queue/a", "4", colour="red", persistent="true")
    producer.send("/queue/a", "5", delay="1000")
    blue.subscribe("/queue/a", "client-individual", selector="colour = 'blue'")
    core.tick(1.0)
    assert [message.body for message in core.broker.host("/").queues["/queue/a"].waiting()] == [
        b"1",
        b"2",
        b"5",
    ]
    consumer.subscribe("/queue/a", "client-individual", selector="colour is null")
    assert consumer.bodies() == ["1", "2"]
    core.answer_all()
    assert blue.bodies() == ["3"]
    assert consumer.bodies() == ["5"]


@pytest.mark.parametrize("special", [{"priority": "9"}, {"priority": "0"}, {"delay": "1000"}])
@pytest.mark.parametrize("most", [1, 3, 1_000_000])
def test_what_did_not_wait_for_the_tail_is_not_fetched_with_it(
    special: dict[str, str], most: int
) -> None:
    """The store has it among the places of the tail, but it is in memory, or somebody has it."""
    core = _paged(2, most)
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 5))
    publish(producer, "/queue/a", ["special", "another"], persistent="true", **special)
    publish(producer, "/queue/a", numbers(6, 8))
    consumer.subscribe("/queue/a", "client", prefetch_count="0")
    core.answer_all()
    core.tick(1.0)
    core.answer_all()
    messages = consumer.messages()
    assert sorted(m.text for m in messages) == sorted([*numbers(1, 8), "special", "another"])
    consumer.ack(messages[-1])
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.count, queue.octets, core.paging.count) == (0, 0, 0)


def test_a_drop_head_queue_comes_down_to_its_limit_when_the_store_answers() -> None:
    """While its window is empty there is nothing to drop."""
    core = _paged(2, max_messages=3, overflow="drop-head")
    producer, consumer = core.client(), core.client()
    _backlog(core, 3)
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="2")
    publish(producer, "/queue/a", ["4"])
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.count, queue.tail) == (4, 2)
    core.answer_all()
    assert (queue.count, queue.tail, queue.dead_letter_count) == (3, 0, 1)


def test_what_is_given_past_the_tail_at_once_is_not_fetched_with_it() -> None:
    """It has come to somebody whose fetch of what waits before it was on its way."""
    core = _paged(2)
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", ["first"], priority="9")
    _backlog(core, 6)
    consumer.subscribe("/queue/a", "client", prefetch_count="0", consumer_priority="1")
    publish(producer, "/queue/a", ["urgent"], priority="9", persistent="true")
    assert consumer.bodies() == ["first", "1", "urgent"]
    core.answer_all()
    assert consumer.bodies() == numbers(2, 6)


def test_a_repetition_is_written_down_with_its_next_time() -> None:
    """The store keeps what repeats as one message, whose time moves on."""
    core = _paged(2)
    producer = core.client()
    pairs = {"AMQ_SCHEDULED_PERIOD": "1000", "AMQ_SCHEDULED_REPEAT": "-1", "persistent": "true"}
    head = [("destination", "/queue/a"), *pairs.items()]
    producer.write(encode("SEND", head, b"x", version="1.2"))
    core.durable()
    core.tick(1.0)
    kinds = [operation.kind for group in core.durable() for operation in group]
    assert kinds == ["requeue", "put"]


# Dropping the tail.


def test_a_purge_reaches_the_tail() -> None:
    """What is only in the store goes at once, but for what is delivered or not due yet."""
    core = _paged(3)
    _backlog(core, 4, persistent="true")
    core.client().send("/queue/a", "delayed", delay="1000", persistent="true")
    core.client().send("/queue/a", "urgent", priority="9", persistent="true")
    _backlog(core, 5, persistent="true")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="2")
    delivered = consumer.messages(2)
    assert [frame.text for frame in delivered] == ["urgent", "1"]
    asker = Asker(core)
    assert asker("purge", destination="/queue/a", dry_run=True)["done"] == 9
    assert asker("purge", destination="/queue/a")["done"] == 9
    core.answer_all()
    assert core.queue("/queue/a") == ("<Queue /queue/a ready=0 unsettled=2 tail=0 subscriptions=1>")
    assert core.paging.count == 2
    _backlog(core, 9)
    consumer.ack(delivered[1])
    assert _take_all(core, consumer) == numbers(1, 9)


def test_an_answer_brings_nothing_that_was_dropped() -> None:
    """The tail was dropped, and a new one begun, while a part of the old one was on its way."""
    core = _paged(3)
    _backlog(core, 9)
    browser, consumer = core.client(), core.client()
    browser.subscribe("/queue/a", browser="true")
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    first = consumer.one("MESSAGE")
    consumer.ack(first)
    second = consumer.one("MESSAGE")
    answers = [core.paging.answer(), core.paging.answer()]
    assert Asker(core)("purge", destination="/queue/a")["done"] == 7
    publish(core.client(), "/queue/a", [f"new {number}" for number in range(8)])
    for answer in answers:
        core.broker.fetched(*answer)
    core.run()
    core.answer_all()
    assert [frame.text for frame in browser.take()][-1] == ""
    consumer.ack(second)
    assert _take_all(core, consumer) == [f"new {number}" for number in range(8)]


def test_a_purge_gives_room_to_who_waits_for_it() -> None:
    """A producer that waits for room in a queue with a tail goes on."""
    core = _paged(1, max_messages=2)
    producer = core.client()
    producer("BEGIN", transaction="t")
    publish(producer, "/queue/a", numbers(1, 5), transaction="t")
    producer("COMMIT", transaction="t")
    assert producer.session.paused
    Asker(core)("purge", destination="/queue/a")
    assert not producer.session.paused


def test_a_store_that_has_less_than_it_counted() -> None:
    """It is believed when it has no more, and what comes meanwhile is not lost."""
    core = _paged(2)
    _backlog(core, 5)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    fetch, _, dues = core.paging.answer()
    publish(core.client(), "/queue/a", ["6"])
    core.broker.fetched(fetch, [], dues)
    fetch, _, dues = core.paging.answer()
    core.broker.fetched(fetch, [], dues)
    core.run()
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=0 unsettled=0 tail=0 ")
