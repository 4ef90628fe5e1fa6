"""Who gets what: selectors, consumer priority, exclusive consumers, message groups."""

import pytest
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

import stompd.broker.assignment
from stompd.broker.dialect import send_options
from stompd.broker.policy import Policy


def _send(client: Client, bodies: str, destination: str = "/queue/a", **headers: str) -> None:
    for body in bodies.split():
        client.send(destination, body, colour=body[0], **headers)


# Selectors.


def test_a_selector_takes_what_matches_and_leaves_the_rest(core: Core) -> None:
    """What matches nobody stays, in its order, for whoever wants it later."""
    producer, red, blue = core.client(), core.client(), core.client()
    red.subscribe("/queue/a", selector="colour = 'r'")
    blue.subscribe("/queue/a", selector="colour = 'b'")
    _send(producer, "r1 b1 g1 r2 g2 b2 r3")
    assert red.bodies() == ["r1", "r2", "r3"]
    assert blue.bodies() == ["b1", "b2"]
    anybody = core.client()
    anybody.subscribe("/queue/a")
    assert anybody.bodies() == ["g1", "g2"]


def test_a_selector_searches_the_backlog(core: Core) -> None:
    """Whoever comes later finds what matches, wherever it stands, as far as the credit goes."""
    producer, red = core.client(), core.client()
    _send(producer, "g1 r1 g2 r2 g3 r3 g4")
    red.subscribe("/queue/a", "client-individual", prefetch_count="2", selector="colour = 'r'")
    first, second = red.messages(2)
    assert (first.text, second.text) == ("r1", "r2")
    red.ack(first)
    assert red.bodies() == ["r3"]
    _send(producer, "r4 g5")
    red.ack(second)
    assert red.bodies() == ["r4"]
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=5 unsettled=2")


def test_what_comes_back_is_found_again(core: Core) -> None:
    """A NACKed message goes to whom it matches, though the search was past its place."""
    producer, one, two = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client-individual", selector="colour = 'r'")
    _send(producer, "g1 r1 g2 r2")
    first, second = one.messages(2)
    two.subscribe("/queue/a", "client-individual", selector="colour IN ('r', 'x')")
    _send(producer, "g3")
    one.nack(first)
    one.nack(second)
    got = [body for client in (one, two) for body in client.bodies()]
    assert sorted(got) == ["r1", "r2"]


def test_selectors_share_by_turns(core: Core) -> None:
    """Two that want the same take turns, also with a backlog and with a third who wants nothing."""
    producer = core.client()
    _send(producer, "r1 r2 g1 r3 r4")
    clients = [core.client() for _ in range(3)]
    for client, colour in zip(clients, "rrx", strict=True):
        client.session.host.queues["/queue/a"].pause()
        client.subscribe("/queue/a", "client-individual", selector=f"colour = '{colour}'")
    core.broker.host("/").queues["/queue/a"].resume()
    core.run()
    taken = [client.bodies() for client in clients]
    assert sorted(map(len, taken)) == [0, 2, 2]
    assert sorted(body for bodies in taken for body in bodies) == ["r1", "r2", "r3", "r4"]


def test_a_full_buffer_stops_a_selector_too() -> None:
    """Who has no room leaves the line and is served when there is some."""
    core = Core(settings(outbox_high=1500))
    producer, red, all_of_them = core.client(), core.client(), core.client()
    _send(producer, " ".join(f"r{number:0400}" for number in range(10)))
    red.reading = False
    red.subscribe("/queue/a", selector="colour = 'r'")
    _send(producer, f"r{10:0400}")
    assert len(red.bodies()) == 0
    red.read_again()
    assert len(red.bodies()) == 11
    all_of_them.subscribe("/queue/a", "client", prefetch_count="1")
    red.reading = False
    _send(producer, " ".join(f"r{number:0400}" for number in range(20)))
    red.read_again()
    assert len(red.bodies()) == 19
    assert len(all_of_them.bodies()) == 1


def test_a_bad_selector_is_an_error(core: Core) -> None:
    """It says where; nothing is subscribed."""
    client = core.client()
    client.subscribe("/queue/a", selector="colour = ")
    error = client.error()
    assert error["message"] == "malformed selector"
    assert "column" in error.text
    assert core.broker.host("/").queues == {}


def test_an_empty_selector_is_none(core: Core) -> None:
    """Programs that always write the header mean nothing by an empty one."""
    client = core.client()
    client.subscribe("/queue/a", selector=" ")
    publish(core.client(), "/queue/a", ["x"])
    assert client.bodies() == ["x"]


def test_a_wildcard_subscription_has_one_selector(core: Core) -> None:
    """It counts for every queue, and for those that are made later."""
    producer, red = core.client(), core.client()
    _send(producer, "r1 g1", "/queue/x.a")
    red.subscribe("/queue/x.*", selector="colour = 'r'")
    _send(producer, "g2 r2", "/queue/x.b")
    assert red.bodies() == ["r1", "r2"]


def test_selectors_within_priorities(core: Core) -> None:
    """The most urgent of what matches comes first."""
    producer, red = core.client(), core.client()
    for body, priority in (("r1", "1"), ("g9", "9"), ("r5", "5"), ("r9", "9")):
        _send(producer, body, priority=priority)
    red.subscribe("/queue/a", selector="colour = 'r'")
    assert red.bodies() == ["r9", "r5", "r1"]


def test_a_selector_sees_what_the_broker_wrote(core: Core) -> None:
    """Dead letters can be selected by their reason."""
    producer, consumer, auditor = core.client(), core.client(), core.client()
    _send(producer, "r1 r2")
    consumer.subscribe("/queue/a", "client-individual")
    one, two = consumer.messages(2)
    consumer.nack(one, requeue="false", reason="mine")
    consumer.nack(two, requeue="false")
    auditor.subscribe("/queue/DLQ.a", selector="\"dead-letter-detail\" = 'mine'")
    assert auditor.bodies() == ["r1"]


# Consumer priority.


@pytest.mark.parametrize("name", ["consumer_priority", "x_priority", "activemq.priority"])
def test_higher_consumers_are_served_first(core: Core, name: str) -> None:
    """The others get what the higher ones have no credit for, in turns."""
    low1, high, low2 = core.client(), core.client(), core.client()
    low1.subscribe("/queue/a", "client", **{name: "-1"})
    high.subscribe("/queue/a", "client", prefetch_count="2", **{name: "5"})
    low2.subscribe("/queue/a", "client", **{name: "-1"})
    publish(core.client(), "/queue/a", numbers(1, 6))
    first, second = high.messages(2)
    assert (first.text, second.text) == ("1", "2")
    assert (low1.bodies(), low2.bodies()) == (["3", "5"], ["4", "6"])
    high.ack(second)
    publish(core.client(), "/queue/a", numbers(7, 9))
    assert high.bodies() == ["7", "8"]
    assert low1.bodies() + low2.bodies() == ["9"]


def test_a_backlog_goes_to_the_highest_first(core: Core) -> None:
    """Middle ranks come in between, whenever they subscribe."""
    queue_of = core.client()
    publish(queue_of, "/queue/a", numbers(1, 5))
    queue = core.broker.host("/").queues["/queue/a"]
    queue.pause()
    clients = {rank: core.client() for rank in ("1", "9", "5")}
    for rank, client in clients.items():
        client.subscribe("/queue/a", "client", prefetch_count="2", consumer_priority=rank)
    queue.resume()
    core.run()
    assert {rank: client.bodies() for rank, client in clients.items()} == {
        "9": ["1", "2"],
        "5": ["3", "4"],
        "1": ["5"],
    }


def test_what_a_high_selector_does_not_want_goes_lower(core: Core) -> None:
    """Rank counts among those who want the message."""
    low, high = core.client(), core.client()
    low.subscribe("/queue/a")
    high.subscribe("/queue/a", consumer_priority="9", selector="colour = 'r'")
    _send(core.client(), "r1 g1 r2 g2")
    assert (high.bodies(), low.bodies()) == (["r1", "r2"], ["g1", "g2"])


def test_the_queue_is_plain_when_the_ranks_are_gone(core: Core) -> None:
    """Only equal subscribers left: they take turns as ever."""
    low, high = core.client(), core.client()
    low.subscribe("/queue/a")
    high.subscribe("/queue/a", consumer_priority="9")
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.assignment is not None
    core.tick(5.0)
    high.close()
    assert queue.assignment is None
    publish(core.client(), "/queue/a", ["x"])
    assert low.bodies() == ["x"]


# Exclusive consumers.


@pytest.mark.parametrize("name", ["exclusive", "activemq.exclusive"])
def test_an_exclusive_consumer_is_served_alone(core: Core, name: str) -> None:
    """The others wait in line; when it leaves they get what is left."""
    first, exclusive, last = core.client(), core.client(), core.client()
    first.subscribe("/queue/a", "client")
    exclusive.subscribe("/queue/a", "client", **{name: "true"})
    last.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", numbers(1, 3))
    assert exclusive.bodies() == numbers(1, 3)
    assert first.bodies() == last.bodies() == []
    exclusive("UNSUBSCRIBE", id="0")
    assert sorted(first.bodies() + last.bodies()) == numbers(1, 3)


def test_the_next_exclusive_consumer_takes_over(core: Core) -> None:
    """In the order in which they subscribed."""
    clients = [core.client() for _ in range(3)]
    for client in clients:
        client.subscribe("/queue/a", "client", exclusive="true")
    producer = core.client()
    for number, client in enumerate(clients):
        publish(producer, "/queue/a", [str(number)])
        assert client.bodies()[-1:] == [str(number)]
        client.close()
    assert core.queue("/queue/a").startswith("<Queue /queue/a ready=3")


def test_an_exclusive_consumer_without_credit_is_waited_for(core: Core) -> None:
    """Nobody else gets what it cannot take now."""
    exclusive, other = core.client(), core.client()
    other.subscribe("/queue/a")
    exclusive.subscribe("/queue/a", "client", exclusive="1", prefetch_count="1")
    publish(core.client(), "/queue/a", numbers(1, 2))
    (one,) = exclusive.messages(1)
    assert other.bodies() == []
    exclusive.ack(one)
    assert exclusive.bodies() == ["2"]


@pytest.mark.parametrize("value", ["false", "False", "0", ""])
def test_not_exclusive_is_ordinary(core: Core, value: str) -> None:
    """Programs that write the header to say no share the queue."""
    one, two = core.client(), core.client()
    one.subscribe("/queue/a", exclusive=value)
    two.subscribe("/queue/a", exclusive=value)
    publish(core.client(), "/queue/a", numbers(1, 2))
    assert (one.bodies(), two.bodies()) == (["1"], ["2"])


def test_waiting_consumers_keep_their_place_in_other_queues(core: Core) -> None:
    """A wildcard subscription that is shut out of one queue is served by another one."""
    wild, exclusive = core.client(), core.client()
    publish(core.client(), "/queue/x.a", ["first"])
    wild.subscribe("/queue/x.*", "client", prefetch_count="1")
    (message,) = wild.messages(1)
    exclusive.subscribe("/queue/x.a", exclusive="true")
    publish(core.client(), "/queue/x.b", numbers(1, 2))
    publish(core.client(), "/queue/x.a", ["second"])
    wild.ack(message)
    assert exclusive.bodies() == ["second"]
    assert wild.bodies() == ["1"]
    exclusive.close()
    assert wild.bodies() == []


def test_who_had_no_credit_waits_on_when_exclusiveness_ends(core: Core) -> None:
    """It stands in line again when it has settled something, not when another one leaves."""
    idle, exclusive, producer = core.client(), core.client(), core.client()
    idle.subscribe("/queue/a", "client", prefetch_count="1")
    publish(producer, "/queue/a", numbers(1, 2))
    (first,) = idle.messages(1)
    exclusive.subscribe("/queue/a", "client", exclusive="true", prefetch_count="1")
    assert exclusive.bodies() == ["2"]
    publish(producer, "/queue/a", ["3"])
    exclusive.close()
    assert idle.bodies() == []
    idle.ack(first)
    assert idle.bodies() == ["2"]


# Message groups.


@pytest.mark.parametrize("name", ["message_group", "JMSXGroupID"])
def test_a_group_stays_with_one_consumer(core: Core, name: str) -> None:
    """All its messages, while that consumer lives; other groups go to others."""
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client")
    for number in range(12):
        producer.send("/queue/a", f"{'ab'[number % 2]}{number}", **{name: "ab"[number % 2]})
    got = {client: {body[0] for body in client.bodies()} for client in (one, two)}
    assert sorted("".join(groups) for groups in got.values()) == ["a", "b"]


def test_a_group_moves_on_when_its_consumer_leaves(core: Core) -> None:
    """With what it had not settled, in order."""
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client", prefetch_count="2")
    for number in numbers(1, 4):
        producer.send("/queue/a", number, message_group="g")
    assert one.bodies() == numbers(1, 4)
    one.close()
    first, second = two.messages(2)
    assert (first.text, second.text) == ("1", "2")
    two.ack(second)
    assert two.bodies() == ["3", "4"]


def test_a_group_waits_for_its_consumer(core: Core) -> None:
    """Without credit its messages wait, while others go past them."""
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client", prefetch_count="1")
    producer.send("/queue/a", "g1", message_group="g")
    two.subscribe("/queue/a", "client")
    for number in numbers(2, 3):
        producer.send("/queue/a", f"g{number}", message_group="g")
        producer.send("/queue/a", number)
    (first,) = one.messages(1)
    assert two.bodies() == ["2", "3"]
    one.ack(first)
    assert one.bodies() == ["g2"]


def test_a_group_has_one_consumer_from_its_first_message_on(core: Core) -> None:
    """Also when it waited before anybody came."""
    one, two, producer = core.client(), core.client(), core.client()
    for number in numbers(1, 6):
        producer.send("/queue/a", number, message_group="g")
    queue = core.broker.host("/").queues["/queue/a"]
    queue.pause()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client")
    queue.resume()
    core.run()
    assert sorted([len(one.bodies()), len(two.bodies())]) == [0, 6]


def test_an_empty_group_is_none(core: Core) -> None:
    """Programs that write the header without a value want no group."""
    one, two = core.client(), core.client()
    one.subscribe("/queue/a")
    two.subscribe("/queue/a")
    publish(core.client(), "/queue/a", numbers(1, 2), message_group="")
    assert (one.bodies(), two.bodies()) == (["1"], ["2"])


def test_a_group_keeps_to_selectors(core: Core) -> None:
    """A message that its group's consumer does not select goes to nobody else of that group."""
    red, anybody, producer = core.client(), core.client(), core.client()
    red.subscribe("/queue/a", selector="colour = 'r'")
    _send(producer, "r1", message_group="g")
    anybody.subscribe("/queue/a")
    _send(producer, "b1", message_group="g")
    _send(producer, "b2", message_group="h")
    assert (red.bodies(), anybody.bodies()) == (["r1"], ["b2"])
    red.close()
    assert anybody.bodies() == ["b1"]


def test_groups_over_the_limit_are_forgotten(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was used longest ago is free for anybody again."""
    monkeypatch.setattr(stompd.broker.assignment, "GROUPS", 2)
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client")
    for group in ("g1", "g2", "g3", "g1"):
        producer.send("/queue/a", group, message_group=group)
    assert (one.bodies(), two.bodies()) == (["g1", "g3"], ["g2", "g1"])
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.assignment is not None
    assert list(queue.assignment.groups) == ["g3", "g1"]


def test_a_group_in_a_transaction(core: Core) -> None:
    """Its messages appear together and go to its one consumer."""
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client")
    producer("BEGIN", transaction="t")
    for number in numbers(1, 4):
        producer.send("/queue/a", number, message_group="g", transaction="t")
    producer("COMMIT", transaction="t")
    assert sorted([one.bodies(), two.bodies()]) == [[], numbers(1, 4)]


# Pausing, taking out, paging.


def test_a_paused_queue_delivers_nothing(core: Core) -> None:
    """It takes messages in; after resuming they come in order."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    queue = core.broker.host("/").queues["/queue/a"]
    queue.pause()
    publish(producer, "/queue/a", numbers(1, 2))
    producer.send("/queue/a", "3", priority="9")
    assert consumer.bodies() == []
    assert not queue.idle
    queue.resume()
    core.run()
    assert consumer.bodies() == ["3", "1", "2"]


@pytest.mark.parametrize("special", [False, True])
def test_messages_can_be_taken_out(core: Core, special: bool) -> None:  # noqa: FBT001 - a parameter
    """From the middle, from what came back, from what is delayed; the rest keeps its order."""
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 6), **({"priority": "7"} if special else {}))
    producer.send("/queue/a", "7", delay="1000")
    producer.send("/queue/a", "8", delay="1000")
    consumer.subscribe("/queue/a", "client", prefetch_count="2")
    consumer.close()
    queue = core.broker.host("/").queues["/queue/a"]
    waiting = {message.body.decode(): message for message in queue.waiting()}
    apart = {message.body.decode(): message for _, message in queue.delayed.entries()}
    queue.discard([])
    queue.discard([waiting["2"], waiting["4"], apart["7"]])
    assert queue.count == 5
    core.tick(1.0)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["1", "3", "5", "6", "8"]
    assert (queue.count, queue.octets) == (0, 0)


def test_taking_out_makes_room() -> None:
    """A producer that waited for it goes on; what the store had is forgotten there."""
    core = PagedCore(settings({"/queue/a": Policy(max_messages=1)}))
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 3), persistent="true")
    assert producer.session.paused
    queue = core.broker.host("/").queues["/queue/a"]
    queue.discard(list(queue.waiting()))
    core.run()
    assert not producer.session.paused
    assert core.paging.count == 1


def test_a_tail_stays_in_order_while_the_queue_is_not_plain() -> None:
    """Consumer priority over a store that pages."""
    core = PagedCore(settings(window_messages=4))
    producer, consumer = core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 5))
    consumer.subscribe("/queue/a", "client-individual", consumer_priority="1", prefetch_count="2")
    publish(producer, "/queue/a", numbers(6, 20))
    seen = []
    for _ in range(20):
        messages = consumer.messages()
        if not messages:
            core.answer()
            messages = consumer.messages()
        for message in messages:
            seen.append(message.text)
            consumer.ack(message)
    assert seen == numbers(1, 20)


def test_a_removed_queue_forgets_its_line(core: Core) -> None:
    """A temporary queue ends with its connection, whatever it was asked for."""
    owner = core.client()
    owner.send("/temp-queue/a", "x", priority="9")
    owner.subscribe("/temp-queue/a", "client", selector="nothing = 1")
    owner.close()
    assert core.broker.host("/").queues == {}


def test_a_repeated_message_is_dropped(core: Core) -> None:
    """The second SEND with a dedup-id gets its RECEIPT and goes nowhere, for ten minutes."""
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    for _ in range(2):
        producer.send("/queue/a", "x", dedup_id="1", receipt="r")
    producer.send("/queue/a", "y", dedup_id="2")
    producer.send("/queue/b", "z", dedup_id="1")
    assert producer.receipts() == ["r", "r"]
    assert consumer.bodies() == ["x", "y"]
    queue = core.broker.host("/").queues["/queue/a"]
    assert (queue.put_count, queue.repeated_count) == (2, 1)
    core.tick(599.0)
    producer.send("/queue/a", "x", dedup_id="1")
    assert consumer.bodies() == []
    core.tick(1.0)
    producer.send("/queue/a", "x", dedup_id="1")
    assert consumer.bodies() == ["x"]


def test_the_window_of_dedup_ids_is_bounded() -> None:
    """Of more ids than the policy says the oldest are forgotten."""
    core = Core(settings(dedup_ids=2))
    producer, consumer = core.client(), core.client()
    consumer.subscribe("/queue/a")
    for dedup_id in ("1", "2", "3", "4", "4", "1"):
        producer.send("/queue/a", dedup_id, dedup_id=dedup_id)
    assert consumer.bodies() == ["1", "2", "3", "4", "1"]


@pytest.mark.parametrize("header", ["dedup_id", "message_group"])
def test_a_long_key_is_remembered_by_its_digest(core: Core, header: str) -> None:
    """It does its work whatever its length, and does not take the memory of it."""
    one, two, producer = core.client(), core.client(), core.client()
    one.subscribe("/queue/a", "client")
    two.subscribe("/queue/a", "client")
    keys = ["k" * 9000 + end for end in ("a", "b", "a")]
    for key in keys:
        producer.send("/queue/a", key[-1], **{header: key})
    bodies = (one.bodies(), two.bodies())
    assert bodies == ((["a"], ["b"]) if header == "dedup_id" else (["a", "a"], ["b"]))
    options = send_options({"dedup-id": keys[0]}.get, ["dedup-id"])
    assert options.dedup_id is not None
    assert len(options.dedup_id) < 255


def test_groups_are_forgotten_many_at_once(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each time everybody has to search anew; so one in a hundred of them goes."""
    monkeypatch.setattr(stompd.broker.assignment, "GROUPS", 300)
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", "client")
    for group in range(301):
        producer.send("/queue/a", "x", message_group=f"g{group}")
    assignment = core.broker.host("/").queues["/queue/a"].assignment
    assert assignment is not None
    assert list(assignment.groups) == [f"g{group}" for group in range(3, 301)]


def test_what_is_no_repetition_keeps_its_priority(core: Core) -> None:
    """A dedup-id has done its work when the message is taken; its other terms hold on."""
    producer, consumer = core.client(), core.client()
    for priority in ("1", "9", "5"):
        producer.send("/queue/a", priority, dedup_id=priority, priority=priority)
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["9", "5", "1"]


def test_who_has_no_credit_is_not_lined_up_by_the_end_of_an_exclusive_one(core: Core) -> None:
    """It comes back into line by itself, and once."""
    one, exclusive, producer = core.client(), core.client(), core.client()
    publish(producer, "/queue/a", numbers(1, 2))
    one.subscribe("/queue/a", "client", prefetch_count="1", consumer_priority="1")
    (message,) = one.messages(1)
    exclusive.subscribe("/queue/a", "client", exclusive="true")
    assert exclusive.bodies() == ["2"]
    exclusive.close()
    assert one.messages() == []
    one.ack(message)
    assert one.bodies() == ["2"]
