"""Durable subscriptions: a topic's messages are kept for who is away."""

from dataclasses import replace

import pytest
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy, SessionLimits, Settings

TOPIC = "/topic/a"


def _durable(client: Client, destination: str = TOPIC, ack: str = "auto", **headers: str) -> None:
    """SUBSCRIBE to a durable subscription; it is called ``0`` if no name is given."""
    client.subscribe(destination, ack, durable="true", **headers)


def _away(core: Core, client_id: str = "me", destination: str = TOPIC, **headers: str) -> None:
    """Make a durable subscription, and leave."""
    client = core.client(client_id=client_id)
    _durable(client, destination, **headers)
    client("DISCONNECT")


def _nothing_left(core: Core) -> bool:
    """Return whether nothing is left of what was, when destinations had time to go."""
    for _ in range(4):
        core.tick(300.0)
    host = core.broker.host("/")
    assert not host._patterns.match(("topic", "a"))  # noqa: SLF001 - nothing else would tell
    return not (host.queues or host.topics or host.durables or host.clients or host.watchers)


# Being kept.


@pytest.mark.parametrize("way", ["disconnect", "unsubscribe", "break"])
def test_what_is_published_while_it_is_away_is_kept(core: Core, way: str) -> None:
    """However the subscriber left; whoever comes back with client-id and name gets it."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client, receipt="s")
    assert client.receipts() == ["s"]
    publish(publisher, TOPIC, ["1"])
    assert client.bodies() == ["1"]
    if way == "disconnect":
        client("DISCONNECT")
    elif way == "unsubscribe":
        client("UNSUBSCRIBE", id="0")
    else:
        client.close()
    publish(publisher, TOPIC, numbers(2, 4), receipt="r")
    assert publisher.receipts() == ["r"] * 3
    again = core.client(client_id="me")
    _durable(again, receipt="s")
    frames = again.take(4)
    assert frames[0].command == "RECEIPT"
    assert [frame.text for frame in frames[1:]] == numbers(2, 4)
    assert {frame["destination"] for frame in frames[1:]} == {TOPIC}
    assert {frame["subscription"] for frame in frames[1:]} == {"0"}
    publish(publisher, TOPIC, ["5"])
    assert again.bodies() == ["5"]
    again("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert again.receipts() == ["u"]
    again("DISCONNECT")
    publisher("DISCONNECT")
    assert _nothing_left(core)


def test_others_have_copies_of_their_own(core: Core) -> None:
    """Plain subscribers and other durable subscriptions are not disturbed."""
    plain, publisher = core.client(), core.client()
    _away(core, "one")
    _away(core, "two")
    plain.subscribe(TOPIC)
    publish(publisher, TOPIC, numbers(1, 3))
    assert plain.bodies() == numbers(1, 3)
    for name in ("one", "two"):
        client = core.client(client_id=name)
        _durable(client)
        assert client.bodies() == numbers(1, 3)


def test_nothing_from_before_it_was_made(core: Core) -> None:
    """It begins when it is made."""
    publisher = core.client()
    publish(publisher, TOPIC, ["before"])
    client = core.client(client_id="me")
    _durable(client)
    publish(publisher, TOPIC, ["after"])
    assert client.bodies() == ["after"]


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"durable": "true"}, "0"),
        ({"durable": " TRUE "}, "0"),
        ({"persistent": "true"}, "0"),
        ({"durable": "1", "durable-subscription-name": "n"}, "n"),
        ({"durable-subscription-name": "n"}, "n"),
        ({"durable-subscriber-name": "n"}, "n"),
        ({"activemq.subscriptionName": "n"}, "n"),
        ({"activemq.subcriptionName": "n"}, "n"),
    ],
)
def test_the_name_of_a_durable_subscription(core: Core, headers: dict[str, str], name: str) -> None:
    """Its name is the id, or what one of the headers says; client-ids are name spaces."""
    client = core.client(client_id="me")
    client.subscribe(TOPIC, **headers)
    assert list(core.broker.host("/").durables) == [("me", name)]
    assert repr(core.broker.host("/").durables["me", name]).startswith(
        f"<Durable me/{name} /topic/a <Queue /durable/me/{name} "
    )


def test_a_name_alone_does(core: Core) -> None:
    """Without client-id, whoever knows the name has the subscription, under any id."""
    first, second, publisher = core.client(), core.client(), core.client()
    first.subscribe(TOPIC, durable_subscription_name="n")
    first.close()
    publish(publisher, TOPIC, ["x"])
    second.subscribe(TOPIC, id="other", durable_subscription_name="n")
    assert second.bodies() == ["x"]


def test_without_a_name_it_is_known_by_id_and_destination(core: Core) -> None:
    """As in RabbitMQ: the same id on another topic is another subscription."""
    client, publisher = core.client(), core.client()
    client.subscribe("/topic/a", id="0", persistent="true")
    client.close()
    client = core.client()
    client.subscribe("/topic/b", id="0", persistent="true")
    client.close()
    publish(publisher, "/topic/a", ["a"])
    publish(publisher, "/topic/b", ["b"])
    for name in ("a", "b"):
        again = core.client()
        again.subscribe(f"/topic/{name}", id="0", persistent="true")
        assert again.bodies() == [name]


def test_names_that_look_alike_are_kept_apart() -> None:
    """Neither in the store nor in its dead letters' way is one taken for the other."""
    core = PagedCore()
    publisher = core.client()
    keys = [("a.b", "c"), ("a", "b.c"), ("a/b", "c"), ("a%2Fb", "c"), ("", "a.b.c")]
    for client_id, name in keys:
        client = core.client(client_id=client_id)
        client.subscribe(TOPIC, durable_subscription_name=name)
        client("DISCONNECT")
    publish(publisher, TOPIC, ["x"], persistent="true")
    assert len(core.paging.kept) == len(keys)
    assert set(core.broker.host("/").durables) == set(keys)
    for client_id, name in keys:
        client = core.client(client_id=client_id)
        client.subscribe(TOPIC, durable_subscription_name=name)
        assert client.bodies() == ["x"]
    assert core.paging.count == 0


def test_durable_on_a_queue_changes_nothing(core: Core) -> None:
    """A queue keeps its messages anyway."""
    client = core.client(client_id="me")
    client.subscribe("/queue/a", durable="true", durable_subscription_name="n", receipt="r")
    assert client.receipts() == ["r"]
    assert not core.broker.host("/").durables
    publish(client, "/queue/a", ["x"])
    assert client.bodies() == ["x"]


def test_virtual_hosts_have_their_own(core: Core) -> None:
    """The same client-id and name in two of them are two subscriptions, and two clients."""
    core = Core(settings(virtual_hosts=("/", "other")))
    here, there = core.client(client_id="me"), core.client(client_id="me", host="other")
    _durable(here)
    _durable(there)
    assert not here.session.over
    publish(there, TOPIC, ["x"])
    assert there.bodies() == ["x"]
    assert here.bodies() == []


# Settling.


def test_explicit_modes_redeliver(core: Core) -> None:
    """What was not settled comes back, marked, before what came later."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client, ack="client-individual")
    publish(publisher, TOPIC, numbers(1, 3))
    messages = client.messages(3)
    client.ack(messages[1])
    client.close()
    publish(publisher, TOPIC, ["4"])
    again = core.client(client_id="me")
    _durable(again, ack="client-individual")
    frames = again.messages(3)
    assert [frame.text for frame in frames] == ["1", "3", "4"]
    # Only the oldest one counts as tried: the others merely waited.
    assert [frame.get("redelivered") for frame in frames] == ["true", "true", None]
    assert [frame.get("delivery-count") for frame in frames] == ["2", "1", None]
    assert frames[0]["original-message-id"] == messages[0]["message-id"]
    again.ack(frames[0])
    again.nack(frames[1])
    (third,) = again.messages(1)
    assert (third.text, third["delivery-count"]) == ("3", "2")


def test_prefetch_bounds_what_is_unsettled(core: Core) -> None:
    """Credit works as on a queue."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client, ack="client", prefetch_count="2")
    publish(publisher, TOPIC, numbers(1, 5))
    messages = client.messages(2)
    client.ack(messages[1])
    assert client.bodies() == ["3", "4"]


def test_its_dead_letters(core: Core) -> None:
    """They go to a queue by client-id and name, with the topic as the original destination."""
    client, publisher, reader = core.client(client_id="me"), core.client(), core.client()
    _durable(client, ack="client", durable_subscription_name="orders")
    reader.subscribe("/queue/DLQ.me.orders")
    publish(publisher, TOPIC, ["x", "y"])
    messages = client.messages(2)
    client.nack(messages[0], requeue="false", reason="no such order")
    (letter,) = reader.messages(1)
    assert letter.text == "x"
    assert letter["original-destination"] == TOPIC
    assert letter["dead-letter-reason"] == "rejected"
    assert letter["dead-letter-detail"] == "no such order"
    for _ in range(4):
        client.nack(messages[1])
        messages += client.messages(1)
        messages.pop(1)
    client.nack(messages[1])
    assert reader.messages(1)[0]["dead-letter-reason"] == "max-deliveries"


def test_the_queue_of_dead_letters_without_client_id(core: Core) -> None:
    """It has the name alone; its words are kept apart by dots."""
    client, reader = core.client(), core.client()
    client.subscribe(TOPIC, "client", durable_subscription_name="a/b")
    reader.subscribe("/queue/DLQ.a.b")
    publish(reader, TOPIC, ["x"])
    client.nack(client.messages(1)[0], requeue="false")
    assert reader.bodies() == ["x"]


def test_transactions_settle_it(core: Core) -> None:
    """ACK in a transaction that is aborted leaves the message outstanding."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client, ack="client-individual")
    publish(publisher, TOPIC, ["x"])
    (message,) = client.messages(1)
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client("ABORT", transaction="t")
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client("COMMIT", transaction="t")
    client.close()
    again = core.client(client_id="me")
    _durable(again)
    assert again.bodies() == []


def test_it_may_end_while_a_transaction_holds_its_messages() -> None:
    """What the transaction settles afterwards is settled, and the store hears nothing of it."""
    core = PagedCore()
    client, publisher, reader = core.client(client_id="me"), core.client(), core.client()
    _durable(client, ack="client-individual")
    publish(publisher, TOPIC, numbers(1, 3), persistent="true")
    first, second, third = client.messages(3)
    client("BEGIN", transaction="t")
    client.ack(first, transaction="t")
    client.nack(second, transaction="t")
    client.nack(third, transaction="t", requeue="false")
    client("UNSUBSCRIBE", id="0", durable="true")
    assert core.paging.count == 0
    client("COMMIT", transaction="t", receipt="c")
    core.durable()
    assert client.receipts() == ["c"]
    # Rejected is rejected.
    reader.subscribe("/queue/DLQ.me.0")
    assert reader.bodies() == ["3"]
    # With dead letters switched off there is no way for it.
    core = PagedCore(settings(dead_letter=None))
    client = core.client(client_id="me")
    _durable(client, ack="client-individual")
    publish(client, TOPIC, ["x"], persistent="true")
    client("BEGIN", transaction="t")
    client.nack(client.messages(1)[0], transaction="t", requeue="false")
    client("UNSUBSCRIBE", id="0", durable="true")
    client("COMMIT", transaction="t")
    assert core.paging.count == 0


def test_priorities_and_expiry_count(core: Core) -> None:
    """A backlog is delivered by priority, without what expired."""
    publisher = core.client()
    _away(core)
    publisher.send(TOPIC, "low", priority="1")
    publisher.send(TOPIC, "gone", ttl="1000")
    publisher.send(TOPIC, "high", priority="9", ttl="9000")
    core.tick(2.0)
    client = core.client(client_id="me")
    _durable(client)
    frames = client.messages(2)
    assert [frame.text for frame in frames] == ["high", "low"]
    assert frames[0]["expires"] == "9000"


def test_a_copy_is_whole(core: Core) -> None:
    """Headers, body, and what the broker put in place of a header; each has its own copy."""
    _away(core, "one")
    _away(core, "two")
    publisher = core.client()
    publisher.send(TOPIC, b"\0\xff", reply_to="/temp-queue/answers", note="a:b\\c", n="1")
    for name in ("one", "two"):
        client = core.client(client_id=name)
        _durable(client)
        (message,) = client.messages(1)
        assert message.body == b"\0\xff"
        assert message["reply-to"] == f"/remote-temp-queue/{publisher.session.id}/answers"
        assert (message["note"], message["content-length"]) == ("a:b\\c", "2")


# Sharing.


def test_two_connections_share_it_in_turns(core: Core) -> None:
    """Each message goes to one of them; what one leaves behind goes to the other."""
    one, two, publisher = core.client(), core.client(), core.client()
    for client in (one, two):
        client.subscribe(TOPIC, "client-individual", durable_subscription_name="n")
    publish(publisher, TOPIC, numbers(1, 4))
    messages = one.messages(2)
    assert [message.text for message in messages] == ["1", "3"]
    assert two.bodies() == ["2", "4"]
    one.ack(messages[0])
    one.close()
    (back,) = two.messages(1)
    assert (back.text, back["redelivered"]) == ("3", "true")
    publish(publisher, TOPIC, ["5"])
    assert two.bodies() == ["5"]


def test_two_subscriptions_of_one_connection_share_it(core: Core) -> None:
    """Under two ids and one name, in two ack modes."""
    client = core.client(client_id="me")
    client.subscribe(TOPIC, "client", id="0", durable_subscription_name="n")
    client.subscribe(TOPIC, "auto", id="1", durable_subscription_name="n")
    publish(client, TOPIC, numbers(1, 4))
    assert [(m["subscription"], m.text) for m in client.messages(4)] == [
        ("0", "1"),
        ("1", "2"),
        ("0", "3"),
        ("1", "4"),
    ]


def test_exclusive_keeps_it_to_one(core: Core) -> None:
    """The others wait in line until it leaves."""
    one, two, publisher = core.client(), core.client(), core.client()
    for client in (one, two):
        client.subscribe(TOPIC, durable_subscription_name="n", exclusive="true")
    publish(publisher, TOPIC, numbers(1, 3))
    assert one.bodies() == numbers(1, 3)
    one.close()
    publish(publisher, TOPIC, ["4"])
    assert two.bodies() == ["4"]


def test_it_may_go_with_its_last_subscriber(core: Core) -> None:
    """``auto-delete:true``, with what it holds; who made it says so."""
    one, two, publisher = core.client(), core.client(), core.client()
    for client in (one, two):
        client.subscribe(TOPIC, "client", durable_subscription_name="n", auto_delete="true")
    publish(publisher, TOPIC, numbers(1, 3))
    one.close()
    assert ("", "n") in core.broker.host("/").durables
    two.close()
    publisher("DISCONNECT")
    assert _nothing_left(core)


# Ending.


def test_unsubscribe_deletes_it_while_it_is_away(core: Core) -> None:
    """By its id, without subscribing again; what it held is gone."""
    _away(core)
    client, publisher = core.client(client_id="me"), core.client()
    publish(publisher, TOPIC, ["x"])
    client("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert client.receipts() == ["u"]
    _durable(client)
    assert client.bodies() == []


@pytest.mark.parametrize("header", ["activemq.subscriptionName", "durable-subscriber-name"])
def test_unsubscribe_by_name(core: Core, header: str) -> None:
    """As ActiveMQ's clients do it: the name alone says that it is to be deleted."""
    _away(core, durable_subscription_name="n")
    client = core.client(client_id="me")
    client("UNSUBSCRIBE", receipt="u", **{"id": "whatever", header: "n"})
    assert client.receipts() == ["u"]
    assert not core.broker.host("/").durables


def test_unsubscribe_as_rabbitmq_does(core: Core) -> None:
    """By id and destination; by the id alone if that is enough."""
    client = core.client()
    for name in ("a", "b"):
        client.subscribe(f"/topic/{name}", id="0", persistent="true")
        client("UNSUBSCRIBE", id="0")
    # This one's name only looks like theirs.
    client.subscribe("/topic/c", id="0", durable_subscription_name="0@home")
    client("UNSUBSCRIBE", id="0")
    client("UNSUBSCRIBE", id="0", destination="/topic/a", persistent="true", receipt="u")
    assert client.receipts() == ["u"]
    assert set(core.broker.host("/").durables) == {("", "0@/topic/b"), ("", "0@home")}
    client("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert client.receipts() == ["u"]
    assert set(core.broker.host("/").durables) == {("", "0@home")}
    client("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert client.error()["message"] == "no such subscription"


@pytest.mark.parametrize(
    ("subscribed", "sent"),
    [
        ("/exchange/amq.topic/a.*", "/exchange/amq.topic/a.b"),
        ("/exchange/amq.direct/a", "/exchange/amq.direct/a"),
        ("/exchange/amq.fanout", "/exchange/amq.fanout/whatever"),
        ("/topic/a.b", "/exchange/amq.topic/a.b"),
    ],
)
def test_exchanges_of_rabbitmq(core: Core, subscribed: str, sent: str) -> None:
    """What is subscribed to by the name of an exchange is kept, and deleted by the same name."""
    headers = {"id": "0", "persistent": "true"}
    client, publisher = core.client(), core.client()
    client.subscribe(subscribed, **headers)
    client.close()
    publish(publisher, sent, ["1"])
    client = core.client()
    client.subscribe(subscribed, **headers)
    assert client.bodies() == ["1"]
    client.close()
    client = core.client()
    client("UNSUBSCRIBE", destination=subscribed, receipt="u", **headers)
    assert client.receipts() == ["u"]
    publish(publisher, sent, ["2"])
    client.subscribe(subscribed, **headers)
    assert client.bodies() == []


def test_unsubscribe_that_could_mean_several(core: Core) -> None:
    """Nothing is deleted; the ERROR tells what is missing."""
    client = core.client()
    for name in ("a", "b"):
        client.subscribe(f"/topic/{name}", id="0", persistent="true")
        client("UNSUBSCRIBE", id="0")
    client("UNSUBSCRIBE", id="0", durable="true")
    error = client.error()
    assert error["message"] == "UNSUBSCRIBE of several durable subscriptions"
    assert error.text == '2 have the id "0"; the destination tells which\n'
    assert len(core.broker.host("/").durables) == 2


def test_unsubscribe_in_1_0(core: Core) -> None:
    """By name alone, or by the destination of the live subscription."""
    client = core.client("1.0", client_id="me")
    client.subscribe(TOPIC, id=None, durable_subscription_name="n")
    publish(client, TOPIC, ["x"])
    (message,) = client.messages(1)
    assert "subscription" not in message.headers
    client("UNSUBSCRIBE", destination=TOPIC)
    client("UNSUBSCRIBE", durable_subscription_name="n", receipt="u")
    assert client.receipts() == ["u"]
    assert not core.broker.host("/").durables
    client.subscribe(TOPIC, id=None, durable_subscription_name="n")
    client("UNSUBSCRIBE", destination=TOPIC, durable_subscription_name="n", receipt="u")
    assert client.receipts() == ["u"]
    assert not core.broker.host("/").durables
    client.subscribe(TOPIC, id=None, durable_subscription_name="n")
    client("UNSUBSCRIBE", destination=TOPIC, durable="true", receipt="u")
    assert client.receipts() == ["u"]
    assert not core.broker.host("/").durables


def test_unsubscribe_of_a_plain_subscription_with_durable(core: Core) -> None:
    """It ends; there is nothing else to delete."""
    client = core.client(client_id="me")
    client.subscribe(TOPIC)
    client("UNSUBSCRIBE", id="0", durable="true", receipt="u")
    assert client.receipts() == ["u"]
    publish(client, TOPIC, ["x"])
    assert client.bodies() == []


@pytest.mark.parametrize("who", ["a subscriber", "somebody else"])
def test_it_is_not_deleted_under_others(core: Core, who: str) -> None:
    """Who wants that gets an ERROR; the other subscriber goes on."""
    other, client = core.client(), core.client()
    other.subscribe(TOPIC, durable_subscription_name="n")
    if who == "a subscriber":
        client.subscribe(TOPIC, durable_subscription_name="n")
    client("UNSUBSCRIBE", id="0", durable_subscription_name="n")
    error = client.error()
    assert error["message"] == "durable subscription in use"
    assert error.text == '"n" has other subscribers; it can be deleted when they have left\n'
    publish(other, TOPIC, ["x"])
    assert other.bodies() == ["x"]


def test_an_unknown_one_cannot_be_deleted(core: Core) -> None:
    """UNSUBSCRIBE with a name that nobody gave."""
    client = core.client(client_id="me")
    client("UNSUBSCRIBE", id="0", durable_subscription_name="n")
    assert client.error()["message"] == "no such subscription"
    client = core.client("1.0")
    client("UNSUBSCRIBE", durable="true")
    assert client.error()["message"] == "UNSUBSCRIBE without id"


@pytest.mark.parametrize(
    ("destination", "headers"),
    [
        ("/topic/b", {}),
        ("/topic/a/x", {}),
        ("/topic/a.x", {"selector": "n = 1"}),
        ("/topic/a.x", {"no_local": "true"}),
    ],
)
def test_another_topic_selector_or_no_local_is_another_subscription(
    core: Core, destination: str, headers: dict[str, str]
) -> None:
    """The old one ends with what it holds, as JMS has it; nobody may be connected to it."""
    _away(core, destination="/topic/a.x")
    client, publisher = core.client(client_id="me"), core.client()
    publish(publisher, "/topic/a.x", ["old"])
    _durable(client, destination, **headers)
    publish(publisher, destination, ["new"], n="1")
    assert client.bodies() == ["new"]
    _durable(client, "/topic/a.x", id="1", durable_subscription_name="0", receipt="r")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("durable subscription in use", "r")
    assert f'"0" is connected to {destination} with' in error.text


def test_the_same_selector_is_the_same_subscription(core: Core) -> None:
    """Only what the selector wants is kept."""
    _away(core, selector="n > 1")
    client, publisher = core.client(client_id="me"), core.client()
    for number in numbers(1, 3):
        publisher.send(TOPIC, number, n=number)
    _durable(client, selector="n > 1")
    assert client.bodies() == ["2", "3"]


# Wildcards, and topics that come and go.


def test_a_wildcard(core: Core) -> None:
    """It keeps what is published on all topics that match, those made later included."""
    publisher = core.client()
    publish(publisher, "/topic/a.early", ["lost"])
    _away(core, destination="/topic/a.#")
    for name in ("a.early", "a/late", "b.other", "a"):
        publish(publisher, f"/topic/{name}", [name])
    client = core.client(client_id="me")
    _durable(client, "/topic/a.**")
    assert client.bodies() == ["a.early", "a/late", "a"]
    client("UNSUBSCRIBE", id="0", durable="true")
    client("DISCONNECT")
    publisher("DISCONNECT")
    assert _nothing_left(core)


def test_a_wildcard_keeps_no_topics(core: Core) -> None:
    """Topics that nobody uses go, and the subscription finds them when they are made again."""
    publisher = core.client()
    _away(core, destination="/topic/a.#")
    for number in numbers(1, 10):
        publish(publisher, f"/topic/a.{number}", [number])
    host = core.broker.host("/")
    for _ in range(3):
        core.tick(300.0)
    assert not host.topics
    assert host.durables["me", "0"].feed.topics == []
    publish(publisher, "/topic/a.1", ["again"])
    client = core.client(client_id="me")
    _durable(client, "/topic/a.#")
    assert client.bodies() == [*numbers(1, 10), "again"]


def test_the_topic_may_go_and_come_again(core: Core) -> None:
    """With the topic gone for being idle, nothing of what is published later is missed."""
    publisher = core.client()
    publish(publisher, TOPIC, ["lost"])
    _away(core)
    publish(publisher, TOPIC, ["1"])
    for _ in range(3):
        core.tick(300.0)
    assert not core.broker.host("/").topics
    publish(publisher, TOPIC, ["2"])
    # It has the same words, but is another topic.
    publish(publisher, "/topic/a.b", ["3"])
    client = core.client(client_id="me")
    _durable(client)
    publish(publisher, TOPIC, ["4"])
    assert client.bodies() == ["1", "2", "4"]


def test_topics_of_the_same_words_are_two(core: Core) -> None:
    """``/topic/a.b`` and ``/topic/a/b`` are matched by the same wildcards, and are not the same."""
    publisher = core.client()
    _away(core, destination="/topic/a/b")
    publish(publisher, "/topic/a.b", ["dot"])
    publish(publisher, "/topic/a/b", ["slash"])
    client = core.client(client_id="me")
    _durable(client, "/topic/a/b")
    assert client.bodies() == ["slash"]


def test_it_outlives_a_topic_that_is_removed(core: Core) -> None:
    """An administrator may remove the topic while a subscriber is connected."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client)
    publish(publisher, TOPIC, ["1"])
    host = core.broker.host("/")
    host.remove(host.topics[TOPIC])
    publish(publisher, TOPIC, ["2"])
    assert client.bodies() == ["1", "2"]


# no-local.


def test_no_local_by_client_id(core: Core) -> None:
    """What the client publishes is left out, on whichever connection, also while it is away."""
    client, other = core.client(client_id="me"), core.client(client_id="you")
    _durable(client, no_local="true")
    publish(client, TOPIC, ["mine"])
    publish(other, TOPIC, ["yours"])
    client.send(TOPIC, "mine, later", delay="1000")
    assert client.bodies() == ["yours"]
    client.close()
    again = core.client(client_id="me")
    publish(again, TOPIC, ["mine, before"])
    core.tick(1.0)
    publish(other, TOPIC, ["yours, too"])
    _durable(again, no_local="true")
    assert again.bodies() == ["yours, too"]


def test_no_local_without_client_id(core: Core) -> None:
    """What those who are connected to it publish is left out."""
    one, two, other = core.client(), core.client(), core.client()
    for client in (one, two):
        client.subscribe(TOPIC, durable_subscription_name="n", no_local="true")
    publish(one, TOPIC, ["1"])
    publish(two, TOPIC, ["2"])
    publish(other, TOPIC, ["3"])
    assert one.bodies() + two.bodies() == ["3"]


# Limits.


def test_a_full_backlog_pauses_who_publishes() -> None:
    """Under `block` the publisher waits until somebody takes the backlog, or it is deleted."""
    for way in ("take", "delete"):
        core = Core(settings({TOPIC: Policy(max_messages=2)}))
        _away(core)
        publisher, other, plain = core.client(), core.client(), core.client()
        plain.subscribe(TOPIC)
        publish(publisher, TOPIC, numbers(1, 5), receipt="r")
        publish(other, "/topic/b", ["x"], receipt="r")
        assert publisher.receipts() == ["r"] * 3
        assert publisher.session.paused
        assert other.receipts() == ["r"]
        assert plain.bodies() == numbers(1, 3)
        client = core.client(client_id="me")
        if way == "take":
            _durable(client)
            assert client.bodies() == numbers(1, 5)
        else:
            client("UNSUBSCRIBE", id="0", durable="true")
        assert not publisher.session.paused
        assert publisher.receipts() == ["r"] * 2
        assert plain.bodies() == ["4", "5"]


def test_a_publisher_that_leaves_does_not_wait_for_room() -> None:
    """What it wrote is carried out; then it is forgotten."""
    core = Core(settings({TOPIC: Policy(max_messages=1)}))
    _away(core)
    publisher = core.client()
    publish(publisher, TOPIC, numbers(1, 4))
    assert publisher.waiting == 2
    publisher.half_close()
    assert publisher.waiting == 0
    publisher.close()
    client = core.client(client_id="me")
    _durable(client)
    assert client.bodies() == numbers(1, 4)


def test_a_full_backlog_rejects() -> None:
    """Under `reject` the SEND gets an ERROR, and nobody gets the message."""
    core = Core(settings({TOPIC: Policy(max_messages=2, overflow="reject")}))
    plain, publisher = core.client(), core.client()
    plain.subscribe(TOPIC)
    _away(core)
    publish(publisher, TOPIC, numbers(1, 3), receipt="r")
    error = publisher.error()
    assert error["message"] == "queue is full"
    assert error.text.startswith("/durable/me/0 holds 2 messages")
    assert plain.bodies() == ["1", "2"]
    publish(plain, TOPIC, ["priority"], priority="9")
    assert plain.error()["message"] == "queue is full"


@pytest.mark.parametrize("way", ["at once", "transaction"])
def test_what_it_does_not_want_is_not_rejected(way: str) -> None:
    """A full backlog has nothing against a message that it does not take."""
    core = Core(settings({TOPIC: Policy(max_messages=1, overflow="reject")}))
    _away(core, selector="n = 1")
    plain, publisher = core.client(), core.client()
    plain.subscribe(TOPIC)
    headers = {}
    if way == "transaction":
        headers["transaction"] = "t"
        publisher("BEGIN", transaction="t")
    for number in ("1", "2", "3"):
        publisher.send(TOPIC, number, n=number, **headers)
    if headers:
        publisher("COMMIT", transaction="t")
    assert plain.bodies() == numbers(1, 3)
    publish(publisher, TOPIC, ["4"], n="1")
    assert publisher.error()["message"] == "queue is full"


def test_a_full_backlog_drops_what_is_oldest() -> None:
    """Under `drop-head` it goes to the dead letters of the subscription."""
    core = Core(settings({TOPIC: Policy(max_messages=2, overflow="drop-head")}))
    _away(core)
    publisher, client, reader = core.client(), core.client(client_id="me"), core.client()
    publish(publisher, TOPIC, numbers(1, 4))
    reader.subscribe("/queue/DLQ.me.0")
    letters = reader.messages(2)
    assert [letter.text for letter in letters] == ["1", "2"]
    assert letters[0]["dead-letter-reason"] == "overflow"
    _durable(client)
    assert client.bodies() == ["3", "4"]


@pytest.mark.parametrize("destination", ["/topic/a.#", "/topic/a.1"])
def test_a_transaction_has_room_in_all_of_them_or_in_none(destination: str) -> None:
    """Its SENDs to several topics that one subscription keeps count together."""
    core = Core(settings({"/topic/#": Policy(max_messages=3, overflow="reject")}))
    publisher, plain = core.client(), core.client()
    plain.subscribe("/topic/#")
    _away(core, destination=destination)
    other = "/topic/a.2" if destination.endswith("#") else "/topic/a.1"
    for last, fits in (("2", True), ("3", False)):
        publisher("BEGIN", transaction="t")
        publisher.send("/topic/a.1", "1", transaction="t")
        publisher.send(other, last, transaction="t")
        publisher.send("/topic/b", "b", transaction="t")
        publisher("COMMIT", transaction="t")
        assert len(plain.bodies()) == (3 if fits else 0)
    assert publisher.error()["message"] == "queue is full"
    client = core.client(client_id="me")
    _durable(client, destination)
    assert client.bodies() == ["1", "2"]


def test_age_limits_a_backlog() -> None:
    """`max-age` of the topic's policy."""
    core = Core(settings({TOPIC: Policy(max_age=60.0)}))
    _away(core)
    publisher = core.client()
    publish(publisher, TOPIC, ["old"])
    core.tick(50.0)
    publish(publisher, TOPIC, ["new"])
    core.tick(20.0)
    client = core.client(client_id="me")
    _durable(client)
    assert client.bodies() == ["new"]


def test_a_large_backlog_is_in_the_store() -> None:
    """It has a window in memory; the rest comes back when there is room."""
    core = PagedCore(settings(window_messages=10))
    _away(core)
    publisher = core.client()
    publish(publisher, TOPIC, numbers(1, 100))
    queue = core.broker.host("/").durables["me", "0"].queue
    assert (queue.tail, queue.depth) == (90, 100)
    client = core.client(client_id="me")
    _durable(client)
    core.answer_all()
    assert client.bodies() == numbers(1, 100)
    assert core.paging.count == 0


def test_the_answer_for_one_that_is_gone_is_dropped() -> None:
    """It was deleted while a part of its backlog was on the way."""
    core = PagedCore(settings(window_messages=2))
    _away(core)
    publisher, client = core.client(), core.client(client_id="me")
    publish(publisher, TOPIC, numbers(1, 9))
    _durable(client, ack="client")
    answer = core.paging.answer()
    client("UNSUBSCRIBE", id="0", durable="true")
    client.take()
    core.broker.fetched(*answer)
    core.run()
    assert client.take() == []


def test_a_drained_broker_delivers_none_of_it(core: Core) -> None:
    """What is being worked on may be settled; the backlog stays."""
    client, publisher = core.client(client_id="me"), core.client()
    _durable(client, ack="client", prefetch_count="1")
    publish(publisher, TOPIC, numbers(1, 3))
    (message,) = client.messages(1)
    core.broker.drain()
    core.run()
    client.subscribe("/topic/b", id="1", durable="true")
    client.ack(message)
    assert client.error()["message"] == "the server is stopping"
    assert core.broker.host("/").durables["me", "0"].queue.depth == 2


def test_subscriptions_count_against_the_limit() -> None:
    """A durable one is one of the connection's while it is connected."""
    core = Core(replace(Settings(), limits=SessionLimits(subscriptions=1)))
    client = core.client(client_id="me")
    _durable(client)
    client("UNSUBSCRIBE", id="0")
    _durable(client, id="1")
    _durable(client, id="2")
    assert client.error()["message"] == "too many subscriptions"
    assert set(core.broker.host("/").durables) == {("me", "0"), ("me", "1")}


# Errors.


@pytest.mark.parametrize(
    ("destination", "headers", "message"),
    [
        ("/temp-topic/a", {}, "durable subscription to a temporary topic"),
        ("/remote-temp-topic/c1/a", {}, "durable subscription to a temporary topic"),
        ("/topic/$SYS/events/#", {}, "durable subscription to the broker's own topic"),
        (TOPIC, {"id": "a.*"}, "malformed name of a durable subscription"),
        (TOPIC, {"id": "a b "}, "malformed name of a durable subscription"),
        (TOPIC, {"id": "x" * 254}, "malformed name of a durable subscription"),
        (TOPIC, {"browser": "true"}, "nothing to browse"),
        (TOPIC, {"selector": "n ="}, "malformed selector"),
        (TOPIC, {"durable": "maybe"}, "durable is not a boolean"),
    ],
)
def test_what_cannot_be_durable(
    core: Core, destination: str, headers: dict[str, str], message: str
) -> None:
    """The ERROR tells what is wrong, and nothing is left behind."""
    client = core.administrator(client_id="me")
    headers = {"durable": "true", "id": "0"} | headers
    client.subscribe(destination, receipt="r", **headers)
    error = client.error()
    assert error["receipt-id"] == "r"
    if message == "malformed selector":
        assert "selector" in error["message"]
    else:
        assert error["message"] == message
    assert _nothing_left(core)


def test_in_1_0_it_needs_a_name(core: Core) -> None:
    """The destination is no name for it."""
    client = core.client("1.0", client_id="me")
    client.subscribe(TOPIC, id=None, durable="true")
    error = client.error()
    assert error["message"] == "durable subscription without a name"
    assert error.text == "SUBSCRIBE needs an id, or a durable-subscription-name\n"


def test_a_durable_subscription_that_is_gone_is_not_held_by_its_time(core: Core) -> None:
    """Whoever makes and deletes one after the other, with a long life, leaves no timers."""
    client = core.client()
    for number in range(10):
        name = f"n{number}"
        _durable(client, durable_subscription_name=name, x_expires=str(10**17))
        client("UNSUBSCRIBE", id="0")
        client("UNSUBSCRIBE", id="0", durable_subscription_name=name)
    assert core.broker.host("/").durables == {}
    core.tick(60.0)
    core.tick(300.0)
    assert core.tick(0.0) is None


def test_the_time_without_a_subscriber_begins_anew_each_time(core: Core) -> None:
    """However long it is, and however often somebody came in between."""
    for _ in range(3):
        client = core.client()
        _durable(client, durable_subscription_name="n", x_expires="200000")
        client.close()
        core.tick(150.0)
    assert len(core.broker.host("/").durables) == 1
    core.tick(49.9)
    assert len(core.broker.host("/").durables) == 1
    core.tick(0.1)
    assert len(core.broker.host("/").durables) == 0
