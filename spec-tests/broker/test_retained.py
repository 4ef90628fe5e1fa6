"""Retained messages: a topic's last value, for who subscribes later."""

import pytest
from broker.client import Client, Core, numbers, publish, settings

from stompd.broker.policy import Policy
from stompd.protocol.encoder import encode

TOPIC = "/topic/a"


def _retain(client: Client, body: str, destination: str = TOPIC, **headers: str) -> None:
    client.send(destination, body, retain="set", **headers)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_who_subscribes_gets_the_last_value_first(core: Core, version: str) -> None:
    """Behind the RECEIPT, before anything new, marked as retained; others get it as usual."""
    early, publisher = core.client(), core.client()
    early.subscribe(TOPIC)
    _retain(publisher, "1", colour="red: or\\so")
    _retain(publisher, "2", colour="red: or\\so")
    publish(publisher, TOPIC, ["3"])
    assert [(m.text, m.get("retained")) for m in early.messages(3)] == [
        ("1", None),
        ("2", None),
        ("3", None),
    ]
    late = core.client(version)
    late.subscribe(TOPIC, receipt="s")
    publish(publisher, TOPIC, ["4"])
    receipt, value, fresh = late.take(3)
    assert receipt.command == "RECEIPT"
    assert (value.text, value["retained"], value["destination"]) == ("2", "true", TOPIC)
    assert value["retain"] == "set"
    if version != "1.0":
        assert value["colour"] == "red: or\\so"
    assert (fresh.text, fresh.get("retained")) == ("4", None)


@pytest.mark.parametrize(
    "headers", [{"retain": "true"}, {"retain": "1"}, {"ActiveMQ.Retain": "true"}]
)
def test_other_spellings(core: Core, headers: dict[str, str]) -> None:
    """``true`` says set, and ActiveMQ has a name of its own for it."""
    publisher, subscriber = core.client(), core.client()
    publisher.send(TOPIC, "x", **headers)
    subscriber.subscribe(TOPIC)
    assert subscriber.messages(1)[0]["retained"] == "true"


def test_it_may_have_no_body(core: Core) -> None:
    """A message without a body is a value like any other."""
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "")
    subscriber.subscribe(TOPIC)
    assert subscriber.bodies() == [""]


def test_remove_clears_it(core: Core) -> None:
    """The message that removes is delivered, and kept by nobody."""
    subscriber, publisher, late = core.client(), core.client(), core.client()
    _retain(publisher, "1")
    subscriber.subscribe(TOPIC)
    publisher.send(TOPIC, "2", retain="remove")
    assert subscriber.bodies() == ["1", "2"]
    late.subscribe(TOPIC)
    assert late.bodies() == []


def test_an_unknown_retain_is_an_error(core: Core) -> None:
    """It is set or remove."""
    client = core.client()
    client.send(TOPIC, "x", retain="forever")
    error = client.error()
    assert (error["message"], error.text) == (
        "unknown retain",
        '"forever"; it is set or remove\n',
    )


def test_a_queue_retains_nothing(core: Core) -> None:
    """There every message waits anyway, for one subscriber."""
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "x", "/queue/a")
    subscriber.subscribe("/queue/a")
    assert subscriber.bodies() == ["x"]
    subscriber.subscribe("/queue/a", id="1")
    assert subscriber.bodies() == []


def test_a_wildcard_gets_all_that_match(core: Core) -> None:
    """One for each topic; nothing of topics that are made later, and nothing twice."""
    publisher, subscriber = core.client(), core.client()
    for name in ("a.x", "a.y", "b.x"):
        _retain(publisher, name, f"/topic/{name}")
    publish(publisher, "/topic/a.z", ["nothing retained"])
    subscriber.subscribe("/topic/a.*")
    messages = subscriber.messages(2)
    assert [message.text for message in messages] == ["a.x", "a.y"]
    assert {message["retained"] for message in messages} == {"true"}
    _retain(publisher, "a.w", "/topic/a.w")
    assert [message.get("retained") for message in subscriber.messages(1)] == [None]


def test_every_subscription_gets_it(core: Core) -> None:
    """Also the second one of a connection."""
    client = core.client()
    _retain(client, "x")
    client.subscribe(TOPIC, id="0")
    client.subscribe("/topic/#", id="1")
    assert [message["subscription"] for message in client.messages(2)] == ["0", "1"]


def test_a_selector_is_asked(core: Core) -> None:
    """About the retained message as about any other; it may ask whether it is one."""
    publisher = core.client()
    _retain(publisher, "x", n="1")
    for selector, count in (("n = 1", 1), ("n = 2", 0), ("retained = 'true'", 1)):
        subscriber = core.client()
        subscriber.subscribe(TOPIC, selector=selector)
        assert len(subscriber.messages()) == count
        publish(publisher, TOPIC, ["y"], n="1")
        assert len(subscriber.messages()) == (selector == "n = 1")


def test_it_expires(core: Core) -> None:
    """Until then it is told when; afterwards the topic holds nothing."""
    core = Core(epoch=1000.0)
    publisher, one, two = core.client(), core.client(), core.client()
    _retain(publisher, "x", ttl="5000")
    core.tick(4.0)
    one.subscribe(TOPIC)
    assert one.messages(1)[0]["expires"] == "1005000"
    core.tick(1.0)
    two.subscribe(TOPIC)
    assert two.bodies() == []
    for client in (one, two):
        client("DISCONNECT")
    core.tick(300.0)
    core.tick(300.0)
    assert not core.broker.host("/").topics


def test_one_that_expired_before_it_came_is_no_value(core: Core) -> None:
    """It clears what was there: it is the last value, and gone."""
    core = Core(epoch=1000.0)
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "x")
    _retain(publisher, "y", expires="999000")
    subscriber.subscribe(TOPIC)
    assert subscriber.bodies() == []


def test_a_topic_that_retains_does_not_go(core: Core) -> None:
    """Idle or not; when the value is removed it does."""
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "x")
    for _ in range(5):
        core.tick(300.0)
    subscriber.subscribe(TOPIC)
    assert subscriber.bodies() == ["x"]
    subscriber("UNSUBSCRIBE", id="0")
    publisher.send(TOPIC, "y", retain="remove")
    for _ in range(5):
        core.tick(300.0)
    assert not core.broker.host("/").topics


def test_a_delayed_value_is_one_when_it_is_due(core: Core) -> None:
    """Not before; and each repetition of it is the last value again."""
    publisher = core.client()
    _retain(publisher, "old")
    headers = {"destination": TOPIC, "retain": "set", "AMQ_SCHEDULED_PERIOD": "1000"}
    headers["AMQ_SCHEDULED_REPEAT"] = "1"
    publisher.write(encode("SEND", headers.items(), b"new", version="1.2"))
    for value in ("old", "new", "new", "other"):
        subscriber = core.client()
        subscriber.subscribe(TOPIC)
        (message,) = subscriber.messages(1)
        assert (message.text, message["retained"]) == (value, "true")
        if value == "new":
            _retain(publisher, "other")
        core.tick(1.0)


def test_a_transaction_sets_it_when_it_commits(core: Core) -> None:
    """Not before, and not if it is aborted."""
    publisher = core.client()
    for end, expected in (("ABORT", []), ("COMMIT", ["x"])):
        publisher("BEGIN", transaction="t")
        _retain(publisher, "x", transaction="t")
        early, late = core.client(), core.client()
        early.subscribe(TOPIC)
        assert early.bodies() == []
        publisher(end, transaction="t")
        late.subscribe(TOPIC)
        assert late.bodies() == expected


@pytest.mark.parametrize("later", [{}, {"delay": "1000"}])
def test_several_destinations_retain_it(core: Core, later: dict[str, str]) -> None:
    """Each topic that one SEND reaches has it for its last value, and each loses it."""
    publisher, subscriber = core.client(), core.client()
    several = "/topic/a,/topic/b,/queue/c"
    _retain(publisher, "x", several, **later)
    core.tick(1.0)
    subscriber.subscribe("/topic/#")
    assert [message["retained"] for message in subscriber.messages(2)] == ["true"] * 2
    subscriber("UNSUBSCRIBE", id="0")
    publisher.send(several, "y", retain="remove")
    subscriber.subscribe("/topic/#")
    assert subscriber.messages() == []
    subscriber.subscribe("/queue/c", id="1")
    assert [message.get("retained") for message in subscriber.messages(2)] == [None, None]


def test_a_repetition_does_not_set_it(core: Core) -> None:
    """What a dedup-id drops is dropped altogether."""
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "1", dedup_id="a")
    _retain(publisher, "2", dedup_id="a")
    subscriber.subscribe(TOPIC)
    assert subscriber.bodies() == ["1"]


def test_a_durable_subscription_begins_with_it(core: Core) -> None:
    """When it is made, not when its subscriber comes back; its selector is asked."""
    publisher = core.client()
    _retain(publisher, "a", "/topic/x.a", n="1", priority="9")
    _retain(publisher, "b", "/topic/x.b", n="2")
    client = core.client(client_id="me")
    client.subscribe("/topic/x.#", id="0", durable="true", selector="n = 1")
    client.subscribe("/topic/x.b", id="1", durable="true")
    client.subscribe("/topic/x.b", id="2", durable="true", selector="n = 3")
    messages = client.messages(2)
    assert [(m["subscription"], m.text, m["retained"]) for m in messages] == [
        ("0", "a", "true"),
        ("1", "b", "true"),
    ]
    client.close()
    _retain(publisher, "c", "/topic/x.b", n="2")
    again = core.client(client_id="me")
    again.subscribe("/topic/x.b", id="1", durable="true")
    assert [(m.text, m.get("retained")) for m in again.messages(1)] == [("c", None)]


def test_a_durable_subscription_that_is_made_and_left_keeps_it(core: Core) -> None:
    """It is one of the backlog; what was not settled comes again."""
    publisher, client = core.client(), core.client(client_id="me")
    _retain(publisher, "x", ttl="9000")
    client.subscribe(TOPIC, "client", durable="true")
    client.messages(1)
    client.close()
    again = core.client(client_id="me")
    again.subscribe(TOPIC, "client", durable="true")
    (message,) = again.messages(1)
    assert (message["retained"], message["redelivered"]) == ("true", "true")
    assert message["expires"] == "9000"


def test_more_than_the_buffer_takes(core: Core) -> None:
    """Many values come as the peer reads them, and what is published meanwhile comes behind."""
    core = Core(settings(outbox_high=2000))
    publisher, subscriber = core.client(), core.client()
    for number in numbers(10, 59):
        _retain(publisher, number * 100, f"/topic/n.{number}")
    subscriber.reading = False
    subscriber.subscribe("/topic/n.#")
    publish(publisher, "/topic/n.10", ["new"], receipt="r")
    assert publisher.session.paused
    for _ in range(100):
        subscriber.read_some(1000)
    subscriber.read_again()
    assert [body[:2] for body in subscriber.bodies()] == [*numbers(10, 59), "ne"]
    assert publisher.receipts() == ["r"]
    assert not publisher.session.paused


def test_a_value_that_expires_while_it_waits_for_room(core: Core) -> None:
    """It is not delivered any more."""
    core = Core(settings({"/topic/#": Policy(slow_consumer="block")}, outbox_high=300))
    publisher, subscriber = core.client(), core.client()
    _retain(publisher, "x" * 500, "/topic/n.1")
    _retain(publisher, "y", "/topic/n.2", ttl="1000")
    _retain(publisher, "z", "/topic/n.3", ttl="9000")
    subscriber.reading = False
    subscriber.subscribe("/topic/n.#")
    core.tick(2.0)
    subscriber.read_again()
    assert [body[0] for body in subscriber.bodies()] == ["x", "z"]


def test_a_temporary_topic_forgets_it_with_its_owner(core: Core) -> None:
    """The next connection's topic of that name is another one."""
    owner = core.client()
    _retain(owner, "x", "/temp-topic/a")
    owner.subscribe("/temp-topic/a")
    assert owner.bodies() == ["x"]
    owner.close()
    other = core.client()
    other.subscribe("/temp-topic/a")
    assert other.bodies() == []
