"""RabbitMQ's ``x-queue-name``: SUBSCRIBE to a topic names a queue, which is one like others."""

import pytest
from broker.asking import Asker, done
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy
from stompd.broker.queue import Queue
from stompd.broker.virtualtopic import VirtualTopics

TOPIC = "/topic/a"
NAME = "q"
QUEUE = "/queue/q"


def _bind(client: Client, destination: str = TOPIC, ack: str = "auto", **headers: str) -> None:
    """SUBSCRIBE to what stays, by the name of the queue."""
    client.subscribe(destination, ack, **{"x_queue_name": NAME, "durable": "true"} | headers)


def _bound(core: Core, destination: str = TOPIC, **headers: str) -> None:
    """Bind the queue to a topic, and leave without taking anything."""
    client = core.client()
    _bind(client, destination, "client", **headers)
    client("DISCONNECT")


def _queue(core: Core) -> Queue | None:
    """Return the queue, None if it is gone."""
    return core.broker.host("/").queues.get(QUEUE)


def _waiting(core: Core) -> list[str]:
    """Return what waits in the queue."""
    queue = _queue(core)
    assert queue is not None
    return [bytes(message.body).decode() for message in queue.waiting()]


def _feeds(core: Core) -> list[tuple[str, str]]:
    """Return which topics feed which queues."""
    return [
        (feed.destination.name, feed.queue.name) for feed in core.broker.host("/").feeds.bound()
    ]


def _told(client: Client) -> list[str]:
    """Return the headers that have no effect."""
    return list(client.session.unhonoured)


# A queue like others.


@pytest.mark.parametrize("name", [QUEUE, "/amq/queue/q", "q"])
def test_its_messages_are_taken_from_the_queue_of_that_name(core: Core, name: str) -> None:
    """What is published while nobody is there waits for whoever takes from it; SEND reaches it."""
    _bound(core)
    publisher, client = core.client(), core.client()
    publish(publisher, TOPIC, ["1"])
    publish(publisher, name, ["2"])
    client.subscribe(name)
    first, second = client.messages(2)
    assert (first.text, first["destination"]) == ("1", TOPIC)
    assert (second.text, second["destination"]) == ("2", name)


def test_the_subscription_takes_from_it_as_well(core: Core) -> None:
    """By turns with who names the queue; each message arrives with its sender's destination."""
    client, other, publisher = core.client(), core.client(), core.client()
    _bind(client, receipt="r")
    assert client.receipts() == ["r"]
    other.subscribe(QUEUE)
    publish(publisher, TOPIC, numbers(1, 2))
    publish(publisher, QUEUE, numbers(3, 4))
    assert [(m.text, m["destination"]) for m in client.messages(2)] == [("1", TOPIC), ("3", QUEUE)]
    assert [(m.text, m["destination"]) for m in other.messages(2)] == [("2", TOPIC), ("4", QUEUE)]


def test_it_is_everybodys(core: Core) -> None:
    """Where a client-id means nothing, it does not make another queue of it."""
    first, second = core.client(client_id="me"), core.client(client_id="you")
    for client in (first, second):
        _bind(client, ack="client")
    assert not core.broker.host("/").durables
    assert _feeds(core) == [(TOPIC, QUEUE)]
    publish(core.client(), TOPIC, numbers(1, 2))
    assert (first.bodies(), second.bodies()) == (["1"], ["2"])
    second.close()
    assert first.bodies() == ["2"]


def test_a_durable_subscription_of_that_name_is_something_else(core: Core) -> None:
    """Both get their copy."""
    client = core.client()
    client.subscribe(TOPIC, durable_subscription_name=NAME)
    _bound(core)
    publish(client, TOPIC, ["x"])
    assert client.bodies() == ["x"]
    assert _waiting(core) == ["x"]


def test_what_waits_in_the_queue_already_is_delivered(core: Core) -> None:
    """The queue may have been there before; the RECEIPT comes first."""
    client = core.client()
    publish(client, QUEUE, ["old"])
    _bind(client, receipt="r")
    assert [frame.command for frame in client.take(2)] == ["RECEIPT", "MESSAGE"]


def test_an_exchange_may_be_bound(core: Core) -> None:
    """As RabbitMQ's clients write it."""
    _bound(core, "/exchange/amq.direct/key")
    _bound(core, "/exchange/amq.topic/news.#")
    publisher = core.client()
    publish(publisher, "/exchange/amq.direct/key", ["1"])
    publish(publisher, "/exchange/amq.direct/other", ["2"])
    publish(publisher, "/topic/news.today", ["3"])
    assert _waiting(core) == ["1", "3"]


def test_its_policy_is_that_of_the_queue() -> None:
    """Limits, credit and all else go by the queue's name, not the topic's."""
    core = Core(
        settings(
            {
                QUEUE: Policy(prefetch_count=2, max_messages=3, overflow="drop-head"),
                TOPIC: Policy(prefetch_count=1, max_messages=1),
            }
        )
    )
    client, publisher = core.client(), core.client()
    _bind(client, ack="client")
    publish(publisher, TOPIC, numbers(1, 5))
    assert client.bodies() == ["1", "2"]
    assert _waiting(core) == ["5"]


def test_its_dead_letters_tell_of_the_queue(core: Core) -> None:
    """They can be sent there again, as with any queue."""
    client, reader = core.client(), core.client()
    _bind(client, ack="client")
    publish(reader, TOPIC, ["x"])
    client.nack(client.messages(1)[0], requeue="false")
    reader.subscribe("/queue/DLQ.q")
    (letter,) = reader.messages(1)
    assert letter["original-destination"] == QUEUE


def test_a_selector_is_the_subscribers(core: Core) -> None:
    """What it does not take stays for others."""
    client, other = core.client(), core.client()
    _bind(client, selector="n > 1")
    for number in numbers(1, 3):
        other.send(TOPIC, number, n=number)
    assert client.bodies() == ["2", "3"]
    other.subscribe(QUEUE)
    assert other.bodies() == ["1"]


def test_the_store_knows_it_by_that_name() -> None:
    """What is in the store only comes back into it."""
    core = PagedCore(settings(window_messages=1))
    _bound(core)
    client = core.client()
    publish(client, TOPIC, numbers(1, 3), persistent="true")
    assert set(core.paging.kept) == {("/", QUEUE)}
    client.subscribe(QUEUE)
    core.answer_all()
    assert client.bodies() == numbers(1, 3)


# What it is made with.


def test_settings_are_those_of_who_makes_it(core: Core) -> None:
    """Who asks for something else of the same queue is told."""
    client = core.client()
    client.send(TOPIC, "0", retain="set")
    _bind(client, ack="client", prefetch_count="1", x_max_length="3", x_dead_letter_routing_key="x")
    assert _told(client) == []
    publish(client, TOPIC, numbers(1, 4))
    assert client.bodies() == ["0"]
    assert _waiting(core) == ["3", "4"]
    _bind(client, id="1", ack="client", x_max_length="9")
    assert _told(client) == ["x-max-length"]
    client.subscribe("/queue/x", id="2")
    assert client.bodies() == ["3", "4", "1", "2"]


def test_it_may_reject(core: Core) -> None:
    """Who publishes gets an ERROR when it is full, and nobody gets the message."""
    plain, publisher = core.client(), core.client()
    plain.subscribe(TOPIC)
    _bound(core, x_max_length="1", x_overflow="reject-publish")
    publish(publisher, TOPIC, numbers(1, 2))
    assert publisher.error()["message"] == "queue is full"
    assert plain.bodies() == ["1"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"x_queue_name": "a.*"}, "malformed name of a durable subscription"),
        ({"x_queue_name": " a"}, "malformed name of a durable subscription"),
        ({"destination": "/topic/a,/topic/b"}, "durable subscription to several topics"),
        ({"destination": "/topic/$SYS/events/#"}, "access refused"),
        ({"destination": "/exchange/none/key"}, "no such exchange"),
    ],
)
def test_what_cannot_be_bound(core: Core, headers: dict[str, str], message: str) -> None:
    """An ERROR says why, and nothing was made."""
    client = core.client()
    _bind(client, **headers)
    assert client.error()["message"] == message
    assert not core.broker.host("/").queues


# Several topics.


def test_several_topics_feed_one_queue(core: Core) -> None:
    """One after the other, in one connection or several."""
    client, publisher = core.client(), core.client()
    _bind(client, "/topic/a")
    _bind(client, "/topic/b.*", id="1")
    _bound(core, "/topic/c")
    for name in ("a", "b.x", "c", "d"):
        publish(publisher, f"/topic/{name}", [name])
    assert client.bodies() == ["a", "b.x", "c"]


@pytest.mark.parametrize("first", [True, False])
def test_a_message_comes_once_however_many_patterns_match(core: Core, *, first: bool) -> None:
    """Whether the topic was there before or not."""
    publisher = core.client()
    if first:
        publisher.send("/topic/a.b", "0", retain="set")
    for destination in ("/topic/a.#", "/topic/a.b", "/topic/*.b", "/topic/a.**", "/topic/a/b"):
        _bound(core, destination)
    publish(publisher, "/topic/a.b", ["1"])
    publish(publisher, "/topic/a/b", ["2"])
    publish(publisher, "/topic/c/b", ["3"])
    assert _waiting(core) == ["0"] * first + ["1", "2", "3"]
    assert len(_feeds(core)) == 4
    # Where several queues match, each has its copy.
    _bound(core, "/topic/a.b", x_queue_name="other")
    publish(publisher, "/topic/a.b", ["4"])
    assert _waiting(core)[-1] == "4"
    assert core.broker.host("/").queues["/queue/other"].depth == 1 + first


def test_topics_of_the_same_words_are_two(core: Core) -> None:
    """``/topic/a.b`` and ``/topic/a/b``: each has to be named."""
    publisher = core.client()
    _bound(core, "/topic/a.b")
    publish(publisher, "/topic/a/b", ["1"])
    _bound(core, "/topic/a/b")
    publish(publisher, "/topic/a/b", ["2"])
    publish(publisher, "/topic/a.b", ["3"])
    assert _waiting(core) == ["2", "3"]


def test_what_is_retained_comes_once(core: Core) -> None:
    """When the topic begins to feed the queue, not with each SUBSCRIBE."""
    client = core.client()
    client.send(TOPIC, "last", retain="set")
    _bind(client)
    assert client.bodies() == ["last"]
    _bind(client, id="1")
    assert client.bodies() == []


def test_a_virtual_topics_queue_gets_no_second_copy() -> None:
    """It is fed already; then and else it is a queue of that virtual topic."""
    core = Core(settings(virtual_topics=VirtualTopics()))
    topic, name = "/topic/VirtualTopic.X", "Consumer.web.VirtualTopic.X"
    client, publisher = core.client(), core.client()
    _bind(client, topic, x_queue_name=name, x_max_length="2")
    client("UNSUBSCRIBE", id="0")
    assert _feeds(core) == []
    publish(publisher, topic, numbers(1, 3))
    client.subscribe(f"/queue/{name}", "client")
    assert client.bodies() == ["2", "3"]
    _bind(client, topic, id="1", x_queue_name=name)
    client("UNSUBSCRIBE", id="0")
    assert client.bodies() == ["2", "3"]
    client("UNSUBSCRIBE", id="1", durable="true", receipt="r")
    assert client.receipts() == ["r"]
    # It had a limit, so that one message is a dead letter.
    assert set(core.broker.host("/").queues) == {f"/queue/DLQ.{name}"}


def test_a_virtual_topics_queue_may_reject() -> None:
    """Also if the topic was there before who makes the queue says so."""
    core = Core(settings(virtual_topics=VirtualTopics()))
    topic = "/topic/VirtualTopic.X"
    client, plain, publisher = core.client(), core.client(), core.client()
    plain.subscribe(topic)
    _bind(
        client,
        topic,
        "client",
        x_queue_name="Consumer.web.VirtualTopic.X",
        x_max_length="1",
        x_overflow="reject-publish",
    )
    publish(publisher, topic, ["1", "2"])
    assert publisher.error()["message"] == "queue is full"
    assert plain.bodies() == ["1"]


@pytest.mark.parametrize("way", ["queue", "topic"])
def test_a_virtual_topics_queue_may_expire(way: str) -> None:
    """When it is empty and unused, by whoever's word it was made."""
    core = Core(settings(virtual_topics=VirtualTopics()))
    topic, name = "/topic/VirtualTopic.X", "Consumer.web.VirtualTopic.X"
    client = core.client()
    if way == "queue":
        client.subscribe(f"/queue/{name}", x_expires="5000")
    else:
        _bind(client, topic, x_queue_name=name, x_expires="5000")
    client("UNSUBSCRIBE", id="0")
    publish(client, topic, ["x"])
    for _ in range(3):
        core.tick(5.0)
    client.subscribe(f"/queue/{name}")
    assert client.bodies() == ["x"]
    client("UNSUBSCRIBE", id="0")
    for _ in range(3):
        core.tick(5.0)
    assert not core.broker.host("/").queues


# Staying and going.


@pytest.mark.parametrize("headers", [{"durable": "true"}, {"auto_delete": "false"}])
def test_it_stays_while_nobody_is_there(core: Core, headers: dict[str, str]) -> None:
    """Empty, for as long as it takes; so does what feeds it."""
    publisher = core.client()
    # One that would go for being idle.
    publisher.subscribe(QUEUE)
    publisher("UNSUBSCRIBE", id="0")
    client = core.client()
    client.subscribe(TOPIC, x_queue_name=NAME, **headers)
    client.close()
    for _ in range(4):
        core.tick(300.0)
    assert set(core.broker.host("/").queues) == {QUEUE}
    assert core.tick() is None
    publish(publisher, TOPIC, ["x"])
    assert _waiting(core) == ["x"]


@pytest.mark.parametrize("headers", [{}, {"durable": "true", "auto_delete": "true"}])
@pytest.mark.parametrize("topic", [TOPIC, "/topic/#"])
def test_it_goes_with_its_last_subscriber(core: Core, headers: dict[str, str], topic: str) -> None:
    """With what it holds, not before, and whoever is the last one."""
    one, two, publisher = core.client(), core.client(), core.client()
    for name in ("0", "1"):
        one.subscribe(topic, "client", id=name, x_queue_name=NAME, **headers)
    two.subscribe(QUEUE, "client", prefetch_count="1")
    for _ in range(4):
        core.tick(300.0)
    publish(publisher, TOPIC, numbers(1, 4))
    assert two.bodies() == ["3"]
    one.close()
    publish(publisher, TOPIC, ["5"])
    assert _queue(core) is not None
    assert _waiting(core) == ["1", "2", "4", "5"]
    two.close()
    publish(publisher, TOPIC, ["6"])
    publisher("DISCONNECT")
    for _ in range(4):
        core.tick(300.0)
    host = core.broker.host("/")
    assert not host.queues
    assert not host.topics
    assert host.feeds.bound() == []


def test_a_queue_that_was_there_is_fed_no_more(core: Core) -> None:
    """Who asked for nothing that stays leaves a queue of others as it was."""
    client, publisher = core.client(), core.client()
    publish(publisher, QUEUE, ["0"])
    for name in ("0", "1"):
        client.subscribe(TOPIC, "client", id=name, x_queue_name=NAME)
    assert _told(client) == ["auto-delete"]
    client("UNSUBSCRIBE", id="0")
    publish(publisher, TOPIC, ["1"])
    client.close()
    publish(publisher, TOPIC, ["2"])
    assert _waiting(core) == ["0", "1"]
    assert _feeds(core) == []


def test_another_pattern_takes_the_place_of_one_that_ends(core: Core) -> None:
    """What both would have copied goes on to be copied, and nothing else."""
    client, publisher = core.client(), core.client()
    publish(publisher, QUEUE, ["0"])
    client.subscribe("/topic/a.#", "client", prefetch_count="1", x_queue_name=NAME)
    publish(publisher, "/topic/a.b", ["1"])
    _bound(core, "/topic/b.b")
    _bound(core, "/topic/a.b")
    publish(publisher, "/topic/a.b", ["2"])
    client.close()
    publish(publisher, "/topic/a.b", ["3"])
    publish(publisher, "/topic/a.c", ["4"])
    assert _waiting(core) == ["0", "1", "2", "3"]
    assert sorted(_feeds(core)) == [("/topic/a.b", QUEUE), ("/topic/b.b", QUEUE)]


def test_who_wants_to_keep_what_goes_is_told(core: Core) -> None:
    """The first one said how the queue is."""
    first, second, third = core.client(), core.client(), core.client()
    first.subscribe(TOPIC, x_queue_name=NAME)
    _bind(second)
    assert _told(second) == ["durable"]
    _bind(third, auto_delete="false")
    assert _told(third) == ["auto-delete"]
    for client in (first, second, third):
        client.close()
    assert _queue(core) is None


def test_it_goes_when_it_was_unused_for_as_long_as_it_was_told(core: Core) -> None:
    """``x-expires``, with what it holds; its time begins anew when a subscriber leaves."""
    client, publisher = core.client(), core.client()
    _bind(client, id="0", x_expires="5000")
    _bind(client, id="1", x_expires="5000")
    client("UNSUBSCRIBE", id="0")
    core.tick(9.0)
    client("UNSUBSCRIBE", id="1")
    core.tick(4.0)
    publish(publisher, TOPIC, ["x"])
    client.subscribe(QUEUE, "client", id="0")
    client("UNSUBSCRIBE", id="0")
    core.tick(4.0)
    publish(publisher, TOPIC, ["y"])
    assert _waiting(core) == ["x", "y"]
    core.tick(1.0)
    assert _queue(core) is None
    assert _feeds(core) == []


def test_it_does_not_go_while_it_is_paused(core: Core) -> None:
    """An administrator has something in mind with it."""
    _bound(core, x_expires="5000")
    queue = _queue(core)
    assert queue is not None
    queue.pause()
    core.tick(5.0)
    core.tick(5.0)
    assert not queue.gone
    queue.resume()
    for _ in range(3):
        core.tick(5.0)
    assert queue.gone


# Ending.


def test_unsubscribe_with_durable_deletes_it(core: Core) -> None:
    """The queue, what it holds, and all that feeds it."""
    client = core.client()
    _bound(core, "/topic/b")
    _bind(client, ack="client")
    publish(client, TOPIC, numbers(1, 2))
    assert client.bodies() == ["1", "2"]
    client("UNSUBSCRIBE", id="0", durable="true", x_queue_name=NAME, receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None
    assert _feeds(core) == []
    # It goes with its last subscriber anyway.
    client.subscribe(TOPIC, x_queue_name=NAME)
    client("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None


def test_unsubscribe_deletes_it_while_nobody_is_there(core: Core) -> None:
    """By its name, whatever the id; the name alone deletes nothing."""
    _bound(core)
    client = core.client()
    publish(client, TOPIC, ["x"])
    client("UNSUBSCRIBE", id="7", durable="true", x_queue_name=NAME, receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None
    _bound(core)
    client("UNSUBSCRIBE", id="7", x_queue_name=NAME)
    assert client.error()["message"] == "no such subscription"
    assert _queue(core) is not None


def test_a_queue_that_is_bound_to_nothing_is_not_deleted(core: Core) -> None:
    """UNSUBSCRIBE is for what a SUBSCRIBE to a topic made."""
    for made in (False, True):
        client = core.client()
        if made:
            publish(client, QUEUE, ["x"])
        client("UNSUBSCRIBE", id="0", durable="true", x_queue_name=NAME)
        assert client.error()["message"] == "no such subscription"
    assert _waiting(core) == ["x"]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("other", ["consumer", "browser", "subscriber"])
def test_it_is_not_deleted_under_others(core: Core, other: str, *, own: bool) -> None:
    """Whatever they are; who takes by a pattern does not count."""
    client, holder, looker = core.client(), core.client(), core.client()
    _bound(core)
    if own:
        _bind(client)
    looker.subscribe("/queue/#")
    if other == "consumer":
        holder.subscribe(QUEUE)
    elif other == "browser":
        holder.subscribe(QUEUE, browser="true", browser_end="false")
    else:
        _bind(holder)
    client("UNSUBSCRIBE", id="0", durable="true", x_queue_name=NAME)
    error = client.error()
    assert error["message"] == "durable subscription in use"
    assert error.text == '"q" has other subscribers; it can be deleted when they have left\n'
    holder.close()
    client = core.client()
    client("UNSUBSCRIBE", id="0", durable="true", x_queue_name=NAME, receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None


def test_unsubscribe_in_1_0(core: Core) -> None:
    """By the destination of the live subscription, or by the name alone."""
    client = core.client("1.0")
    client.subscribe(TOPIC, id=None, x_queue_name=NAME, durable="true")
    client("UNSUBSCRIBE", destination=TOPIC, durable="true", x_queue_name=NAME, receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None
    _bound(core)
    client("UNSUBSCRIBE", durable="true", x_queue_name=NAME, receipt="u")
    assert client.receipts() == ["u"]
    assert _queue(core) is None


def test_its_feeds_end_with_the_queue(core: Core) -> None:
    """However it is removed; the topic goes on."""
    _bound(core, "/topic/#")
    plain, publisher = core.client(), core.client()
    plain.subscribe(TOPIC)
    publish(publisher, TOPIC, ["1"])
    core.broker.host("/").remove(core.broker.host("/").queues[QUEUE])
    publish(publisher, TOPIC, ["2"])
    assert plain.bodies() == ["1", "2"]
    assert _queue(core) is None
    assert _feeds(core) == []
    _bound(core)
    assert _waiting(core) == []


def test_administrators_see_and_remove_it(core: Core) -> None:
    """A row for each topic; removing it removes the queue, unless somebody is connected."""
    ask = Asker(core)
    holder = core.client()
    _bound(core, "/topic/b")
    _bind(holder, ack="client")
    publish(holder, TOPIC, numbers(1, 2))
    rows = ask("durables")
    assert [(r["name"], r["client_id"], r["topic"], r["queue"], r["consumers"]) for r in rows] == [
        (NAME, "", "/topic/a", QUEUE, 1),
        (NAME, "", "/topic/b", QUEUE, 1),
    ]
    (row,) = ask("subscriptions", connection=holder.session.id)
    assert (row["destination"], row["durable"]) == (TOPIC, NAME)
    assert ask.refused("durable-rm", name=NAME) == (
        "conflict",
        f"{QUEUE} has subscribers: {holder.session.id}",
    )
    holder.close()
    # A durable subscription of that name is what is meant first.
    holder = core.client()
    holder.subscribe(TOPIC, durable_subscription_name=NAME)
    (row,) = ask("subscriptions", connection=holder.session.id)
    assert (row["destination"], row["durable"]) == (TOPIC, NAME)
    holder.close()
    assert ask("durable-rm", name=NAME) == done(1)
    assert _queue(core) is not None
    assert ask.refused("durable-rm", name=NAME, client_id="me")[0] == "not-found"
    assert ask("durable-rm", name=NAME, client_id="") == done(1)
    assert _queue(core) is None
    assert ask("durables") == []
