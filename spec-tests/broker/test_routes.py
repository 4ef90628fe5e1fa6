"""Routes, exchanges and composite destinations: where else a message goes."""

from typing import Any

import pytest
from broker.client import Core, settings
from broker.paging import Operation, PagedCore
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker.admin.rows import routes
from stompd.broker.course import goes_to
from stompd.broker.message import Message
from stompd.broker.policy import Policy
from stompd.broker.route import Route, Router
from stompd.broker.virtualtopic import VirtualTopics
from stompd.protocol.errors import RemoteProtocolError
from stompd.protocol.frame import Head


def routed(*routes: Route, **others: Any) -> Core:  # noqa: ANN401
    """Return a core with these routes."""
    return Core(settings(routes=routes, **others))


def route(
    match: str, *to: str, name: str = "r", when: str | None = None, move: bool = False
) -> Route:
    """Return a route."""
    return Route(name, match, to, when, move)


def depths(core: Core) -> dict[str, int]:
    """Return how many messages wait in each queue that has some."""
    return {
        name: queue.depth for name, queue in core.broker.host("/").queues.items() if queue.depth
    }


def reaches(core: Core, text: str, **headers: str) -> dict[str, list[str]]:
    """Return where a message would go, and by which routes."""
    rows = goes_to(core.broker.host("/"), text, headers)
    return {row["destination"]: row["routes"] for row in rows}


# Copies and moves.


def test_a_route_copies() -> None:
    """The destination itself is first, then the targets in their order; the message is the same."""
    core = routed(route("/queue/a", "/topic/b", "/queue/c"))
    consumer, producer = core.client(), core.client()
    for name in ("/queue/c", "/topic/b", "/queue/a"):
        consumer.subscribe(name, id=name)
    producer.send("/queue/a", "x", foo="bar", receipt="r")
    messages = consumer.messages(3)
    assert [message["subscription"] for message in messages] == ["/queue/a", "/topic/b", "/queue/c"]
    for message in messages:
        assert (message["destination"], message["foo"], message.text) == ("/queue/a", "bar", "x")
    assert producer.receipts() == ["r"]


def test_a_route_moves() -> None:
    """What the route takes does not come to the destination that it was sent to."""
    core = routed(route("/queue/a", "/queue/b", move=True), route("/queue/a", "/queue/c", name="s"))
    core.client().send("/queue/a", "x")
    assert depths(core) == {"/queue/b": 1, "/queue/c": 1}
    assert "/queue/a" not in core.broker.host("/").queues


@pytest.mark.parametrize(
    ("match", "to", "sent", "made"),
    [
        ("/queue/a", "b", "/queue/a", "/queue/b"),
        ("a", "/queue/b", "/queue/a", "/queue/b"),
        ("/queue/a", "/queue/b", "a", "/queue/b"),
        ("/amq/queue/a", "/amq/queue/b", "/amq/queue/a", "/queue/b"),
        ("/topic/#", "/queue/log", "/exchange/amq.topic/x.y", "/queue/log"),
        ("/topic/#", "/queue/log.{name}", "/topic/x/y", "/queue/log.x/y"),
        ("/topic/*.eu.#", "/queue/{2}.{1}", "/topic/orders.eu.a/b", "/queue/a/b.orders"),
        ("/topic/*.eu.#", "/queue/x.{2}.{1}", "/topic/orders.eu", "/queue/x.orders"),
        ("/topic/a.#", "/queue/a{1}", "/topic/a", "/queue/a"),
        ("/topic/#.b", "/queue/{1}", "/topic/a.b", "/queue/a"),
        ("/topic/a.#", "/queue/a.{1}b", "/topic/a", "/queue/a.b"),
        ("/topic/a.#", "/queue/a.{1}/b", "/topic/a", "/queue/a/b"),
        ("/topic/a.b", "/queue/{name}", "/topic/a.b", "/queue/a.b"),
        ("/topic/#", "/queue/{name}", "/topic//topic/x", "/queue//topic/x"),
        ("/topic/#", "{name}", "/topic//topic/x", "/queue//topic/x"),
        ("/exchange/logs/#", "/queue/{name}", "/exchange/logs/a.b", "/queue/a.b"),
        ("/exchange/logs/*.b", "/queue/{1}", "/exchange/logs/a.b", "/queue/a"),
        ("/exchange/logs", "/queue/x.{1}", "/exchange/logs/a.b", "/queue/x.a.b"),
        ("/exchange/logs", "/queue/x.{name}", "/exchange/logs", "/queue/x"),
        ("/exchange/a.b/c", "/queue/{name}", "/exchange/a.b/c", "/queue/c"),
        ("/exchange/amq.direct/a.b", "/queue/{name}", "/exchange/amq.direct/a.b", "/queue/a.b"),
        ("/exchange/amq.fanout", "/queue/all", "/exchange/amq.fanout/k", "/queue/all"),
        ("/queue/a", "/exchange/amq.topic/b", "/queue/a", "/topic/b"),
        ("/queue/a", "/exchange/amq.direct/b", "/queue/a", "/exchange/amq.direct/b"),
        ("/queue/a", "/exchange/amq.fanout/b", "/queue/a", "/exchange/amq.fanout"),
    ],
)
def test_what_a_target_is_made_of(match: str, to: str, sent: str, made: str) -> None:
    """Names of targets may hold the name that was sent to, and what its wildcards stand for."""
    core = routed(route(match, to, move=True))
    assert reaches(core, sent) == {made: ["r"]}
    core.client().send(sent, "x")
    host = core.broker.host("/")
    assert [*host.queues, *host.topics] == [made]


@pytest.mark.parametrize(
    ("match", "sent"),
    [
        ("/queue/a", "/queue/b"),
        ("/queue/a", "/topic/a"),
        ("/queue/*", "/queue/a.b"),
        ("/topic/#", "/topic/$x"),
        ("/queue/#", "/temp-queue/a"),
        ("/exchange/a.b/#", "/exchange/amq.direct/a.b"),
    ],
)
def test_what_a_route_does_not_take(match: str, sent: str) -> None:
    """Patterns are those of subscriptions; temporary destinations are nobody's but their own."""
    core = routed(route(match, "/queue/log"))
    core.client().send(sent, "x")
    assert "/queue/log" not in core.broker.host("/").queues


def test_routes_apply_in_their_order_and_each_destination_gets_one_copy() -> None:
    """Whatever number of routes leads there; one that moves is enough to take it away."""
    core = routed(
        route("/queue/a", "/queue/z", "/queue/y", name="1"),
        route("/queue/*", "/queue/x", "/queue/y", "/queue/a", name="2"),
        route("/queue/#", "/queue/w", name="3", when="k = 1", move=True),
    )
    assert list(reaches(core, "/queue/a")) == ["/queue/a", "/queue/z", "/queue/y", "/queue/x"]
    assert reaches(core, "/queue/a", k="1") == {
        "/queue/z": ["1"],
        "/queue/y": ["1"],
        "/queue/x": ["2"],
        "/queue/a": ["2"],
        "/queue/w": ["3"],
    }
    core.client().send("/queue/a", "x")
    assert depths(core) == dict.fromkeys(["/queue/a", "/queue/z", "/queue/y", "/queue/x"], 1)


def test_a_selector_decides_for_each_message() -> None:
    """Also for a SEND that is repeated, whose way was worked out before."""
    core = routed(
        route("/queue/in", "/queue/large", name="large", when="size > 100", move=True),
        route("/queue/in", "/queue/eu", name="eu", when="region = 'eu'"),
    )
    producer = core.client()
    for _ in range(2):
        producer.send("/queue/in", "1", size="200", region="eu")
        producer.send("/queue/in", "2", size="50", region="eu")
        producer.send("/queue/in", "3", size="50", region="us")
        producer.send("/queue/in", "4")
    assert depths(core) == {"/queue/large": 2, "/queue/eu": 4, "/queue/in": 6}


def test_what_a_route_delivers_is_not_routed_again() -> None:
    """Queues and topics are ends: a route for everything and its own target get on well."""
    core = routed(
        route("/queue/#", "/queue/audit", name="audit"),
        route("/queue/#", "/queue/archive", name="archive"),
        route("/queue/a", "/queue/b", name="ab"),
        route("/queue/b", "/queue/a", name="ba"),
    )
    everything = ["/queue/a", "/queue/audit", "/queue/archive", "/queue/b"]
    assert list(reaches(core, "/queue/a")) == everything
    assert list(reaches(core, "/queue/audit")) == ["/queue/audit", "/queue/archive"]


# Exchanges.


def test_exchanges_lead_on() -> None:
    """A route to an exchange goes on by the routes from there; its subscribers get copies."""
    core = routed(
        route("/queue/orders.#", "/exchange/orders/{1}", name="in", move=True),
        route("/exchange/orders/*.eu", "/queue/eu", "/exchange/all/{1}", name="eu"),
        route("/exchange/all", "/queue/all", name="all", when="k = 1"),
    )
    assert reaches(core, "/queue/orders.book.eu", k="1") == {
        "/exchange/orders/book.eu": ["in"],
        "/queue/eu": ["in", "eu"],
        "/exchange/all/book": ["in", "eu"],
        "/queue/all": ["in", "eu", "all"],
    }
    consumer = core.client()
    consumer.subscribe("/exchange/orders", id="whole")
    consumer.subscribe("/exchange/orders/book.*", id="books")
    consumer.subscribe("/exchange/all/book", id="key")
    consumer.subscribe("/exchange/all/other", id="other")
    consumer.subscribe("/queue/all", id="all")
    core.client().send("/queue/orders.book.eu", "x")
    assert {message["subscription"] for message in consumer.messages(3)} == {
        "whole",
        "books",
        "key",
    }
    core.client().send("/exchange/all", "y", k="1")
    assert consumer.bodies() == ["y"]
    assert depths(core) == {"/queue/eu": 1}


def test_one_exchange_is_not_another() -> None:
    """However the words of names and keys could be read together."""
    core = routed(route("/exchange/a/b.c", "x"), route("/exchange/a.b/c", "y", name="s"))
    consumer = core.client()
    consumer.subscribe("/exchange/a", id="a")
    consumer.subscribe("/exchange/a.b/*", id="a.b")
    core.client().send("/exchange/a.b/c", "1")
    core.client().send("/exchange/a/b.c", "2")
    assert [(m["subscription"], m.text) for m in consumer.messages()] == [("a.b", "1"), ("a", "2")]
    assert depths(core) == {"/queue/x": 1, "/queue/y": 1}


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize("text", ["/exchange/logs/a", "/exchange/logs", "/queue/a,/exchange/logs"])
def test_an_exchange_has_to_be_there(command: str, text: str) -> None:
    """It is, if a route leads from it or to it; the ERROR tells that, and nothing was done."""
    core = routed(route("/queue/b", "/exchange/log/a"))
    client = core.client()
    client(command, destination=text, id="0", receipt="r")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("no such exchange", "r")
    assert b'"logs"; there are amq.topic' in error.body
    assert core.broker.host("/").queues == {}
    client = core.client()
    client(command, destination="/exchange/log/x", id="0", receipt="r")
    assert client.receipts() == ["r"]


def test_the_exchange_of_topics(core: Core) -> None:
    """/exchange/amq.topic/KEY is /topic/KEY, also with wildcards; MESSAGE says what was sent."""
    client = core.client()
    client.subscribe("/exchange/amq.topic/a.*", id="1")
    client.subscribe("/topic/#", id="2")
    client.send("/topic/a.b", "x")
    client.send("/exchange/amq.topic/a.b", "y")
    assert sorted((m["subscription"], m["destination"]) for m in client.messages(4)) == [
        ("1", "/exchange/amq.topic/a.b"),
        ("1", "/topic/a.b"),
        ("2", "/exchange/amq.topic/a.b"),
        ("2", "/topic/a.b"),
    ]
    client.send("/exchange/amq.topic/a.*")
    assert client.error()["message"] == "SEND to a wildcard"


def test_the_direct_exchange(core: Core) -> None:
    """A key is taken as it is, wildcards included."""
    client = core.client()
    client.subscribe("/exchange/amq.direct/a.*", id="1")
    client.subscribe("/exchange/amq.direct/a.b", id="2")
    client.subscribe("/exchange/amq.direct", id="3")
    client.send("/exchange/amq.direct/a.b", "x")
    client.send("/exchange/amq.direct/a.*", "y")
    client.send("/exchange/amq.direct/a/b", "nobody")
    client.send("/exchange/amq.direct", "z")
    assert [(m["subscription"], m.text) for m in client.messages(3)] == [
        ("2", "x"),
        ("1", "y"),
        ("3", "z"),
    ]


def test_the_fanout_exchange(core: Core) -> None:
    """Everybody gets everything, whatever the key."""
    client = core.client()
    client.subscribe("/exchange/amq.fanout/a", id="1")
    client.subscribe("/exchange/amq.fanout", id="2")
    client.send("/exchange/amq.fanout/b", "x")
    assert [m["subscription"] for m in client.messages(2)] == ["1", "2"]


def test_amq_queue(core: Core) -> None:
    """/amq/queue/NAME is /queue/NAME."""
    client = core.client("1.0")
    client.subscribe("/amq/queue/a", id=None)
    client.send("/queue/a", "x")
    client.send("/amq/queue/a", "y")
    assert [m["destination"] for m in client.messages(2)] == ["/queue/a", "/amq/queue/a"]
    client("UNSUBSCRIBE", destination="/queue/a")
    client.send("/amq/queue/a", "z")
    assert depths(core) == {"/queue/a": 1}


# Several destinations in one.


def test_a_send_to_several(core: Core) -> None:
    """Each gets a copy, with the destination as it was written."""
    client = core.client()
    client.subscribe("/topic/b,c", id="b")
    text = "/queue/a,/topic/b,c,/queue/a"
    for _ in range(2):
        client.send(text, "x")
    assert {m["destination"] for m in client.messages(2)} == {text}
    assert depths(core) == {"/queue/a": 2}
    target = client.session.host.target(text, client.session)
    assert repr(target) == f"<Routed {text} targets=0>"
    # Whom it asks for room it knows when a message is there.
    assert target is not None
    assert not target.bounded
    assert target.filled_by(Message(Head.of("SEND", {}), b"", None, False), None) == ()  # noqa: FBT003


def test_a_send_to_several_is_routed_from_each() -> None:
    """As if it had been sent to each of them, but for one copy at most."""
    core = routed(
        route("/queue/a", "/queue/c", "/queue/b"), route("/topic/*", "/queue/d", name="s")
    )
    assert list(reaches(core, "/queue/a,/queue/b,/topic/e")) == [
        "/queue/a",
        "/queue/c",
        "/queue/b",
        "/topic/e",
        "/queue/d",
    ]


def test_temporary_destinations_among_several(core: Core) -> None:
    """They mean another one in each session; one that is gone is left out."""
    one, two = core.client(), core.client()
    text = "/queue/a,/temp-queue/x"
    for client in (one, two):
        client.subscribe("/temp-queue/x")
        for _ in range(2):
            client.send(text, client.session.id)
        assert client.bodies() == [client.session.id] * 2
    assert depths(core) == {"/queue/a": 4}
    gone = f"/remote-temp-queue/{one.session.id}/x"
    one.close()
    two.send(f"/queue/b,{gone}", "x")
    two.send(f"{gone},/remote-temp-topic/c0/y", "x", receipt="r")
    assert two.receipts() == ["r"]
    assert depths(core) == {"/queue/a": 4, "/queue/b": 1}
    assert core.broker.host("/").dropped == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/queue/a,/queue/b.*", "SEND to a wildcard"),
        ("/queue/a,/topic/$SYS/x", "SEND to the broker's own topic"),
        ("/exchange/amq.topic/$SYS/x", "SEND to the broker's own topic"),
        ("/queue/a,/queue/", "malformed destination name"),
        (",".join(f"/queue/{n}" for n in range(65)), "too many destinations"),
    ],
)
def test_one_that_cannot_be_sent_to_among_several(core: Core, text: str, message: str) -> None:
    """The ERROR is that of the one, and the others get nothing."""
    client = core.client()
    client.send(text, "x")
    assert client.error()["message"] == message
    assert core.broker.host("/").queues == {}


def test_a_reply_goes_to_one_destination(core: Core) -> None:
    """Several in reply-to are refused if one of them has to be rewritten."""
    client = core.client()
    client.send("/queue/a", "x", reply_to="/temp-queue/a,/queue/b")
    assert client.error()["message"] == "several destinations"


def test_a_subscription_to_several(core: Core) -> None:
    """It is one subscription, with one credit, and it ends as one."""
    consumer, producer = core.client(), core.client()
    text = "/queue/a,/topic/b,/temp-queue/c,/queue/a"
    consumer.subscribe(text, "client-individual", prefetch_count="1")
    consumer.send("/temp-queue/c", "1")
    first = consumer.messages(1)[0]
    producer.send("/queue/a", "2")
    producer.send("/topic/b", "3")
    assert consumer.bodies() == ["3"]
    consumer.ack(first)
    assert consumer.bodies() == ["2"]
    consumer("UNSUBSCRIBE", id="0", receipt="r")
    assert consumer.receipts() == ["r"]
    producer.send("/topic/b", "4")
    producer.send("/queue/a", "5")
    assert consumer.take() == []
    assert depths(core) == {"/queue/a": 2}


def test_a_subscription_to_several_has_the_policy_of_the_first() -> None:
    """For its credit, and for being slow; and a 1.0 client ends it by the same destinations."""
    rules = {
        "/queue/a": Policy(prefetch_count=1),
        "/topic/#": Policy(slow_consumer="drop-oldest", slow_consumer_grace=1.0),
    }
    core = Core(settings(rules, outbox_high=1000))
    consumer, slow, producer = core.client("1.0"), core.client(), core.client()
    for name in ("a", "a", "b"):
        producer.send(f"/queue/{name}")
    consumer.subscribe("/queue/a,/queue/b", "client", id=None)
    consumer.messages(1)
    consumer("UNSUBSCRIBE", destination="/amq/queue/a,/queue/b", receipt="r")
    assert consumer.receipts() == ["r"]
    slow.subscribe("/topic/a,/queue/c")
    slow.reading = False
    for _ in range(10):
        producer.send("/topic/a", "x" * 300)
        core.tick(1.0)
    slow.read_again()
    assert 0 < len(slow.messages()) < 10
    assert not slow.session.over


def test_a_subscription_to_several_with_wildcards() -> None:
    """Overlapping ones count once, what is made later is included, idle ones come and go."""
    core = Core(settings(auto_delete_after=5.0))
    consumer, producer = core.client(), core.client()
    producer.send("/queue/a.1", "1")
    consumer.subscribe("/queue/a.*,/queue/a.1,/queue/b,/topic/#")
    producer.send("/queue/a.1", "2")
    producer.send("/queue/a.2", "3")
    producer.send("/queue/b", "4")
    producer.send("/topic/c", "5")
    assert consumer.bodies() == ["1", "2", "3", "4", "5"]
    for _ in range(12):
        core.tick(1.0)
    assert not core.broker.host("/").queues
    assert not core.broker.host("/").topics
    producer.send("/queue/b", "6")
    assert consumer.bodies() == ["6"]
    consumer("UNSUBSCRIBE", id="0", receipt="r")
    assert consumer.receipts() == ["r"]
    producer.send("/queue/a.3", "7")
    producer.send("/queue/b", "8")
    assert depths(core) == {"/queue/a.3": 1, "/queue/b": 1}


def test_a_subscription_to_several_of_which_one_is_refused(core: Core) -> None:
    """Nothing is made for the others."""
    client = core.client()
    client.subscribe("/queue/a,/remote-temp-queue/c9/x")
    assert client.error()["message"] == "SUBSCRIBE to somebody's temporary destination"
    assert core.broker.host("/").queues == {}


# All or nothing.


def test_a_full_queue_refuses_for_all() -> None:
    """Before anything is put anywhere."""
    core = Core(
        settings(
            {"/queue/full": Policy(max_messages=1, overflow="reject")},
            routes=(route("/topic/a", "/queue/b", "/queue/full"),),
        )
    )
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/topic/a")
    producer.send("/topic/a", "1", receipt="r")
    assert producer.receipts() == ["r"]
    producer.send("/topic/a", "2")
    assert producer.error()["message"] == "queue is full"
    assert consumer.bodies() == ["1"]
    assert depths(core) == {"/queue/b": 1, "/queue/full": 1}


def test_a_full_queue_refuses_only_what_would_go_there() -> None:
    """The selector is asked before the queue."""
    core = Core(
        settings(
            {"/queue/full": Policy(max_messages=1, overflow="reject")},
            routes=(route("/queue/a", "/queue/full", when="k = 1"),),
        )
    )
    producer = core.client()
    for k in ("1", "2", "2"):
        producer.send("/queue/a", "x", k=k)
    assert depths(core) == {"/queue/a": 3, "/queue/full": 1}
    producer.send("/queue/a", "x", k="1")
    assert producer.error()["message"] == "queue is full"


def test_copies_are_on_disk_together() -> None:
    """One group of the store for all copies of a persistent message."""
    core = PagedCore(settings(routes=(route("/queue/a", "/queue/b"),)))
    producer = core.client()
    producer.send("/queue/a", "x", persistent="true", receipt="r")
    assert core.durable() == [[Operation("put", "/queue/a", 1), Operation("put", "/queue/b", 1)]]
    assert producer.receipts() == ["r"]


def test_terms_hold_for_every_copy() -> None:
    """What is delayed is delayed everywhere, what expires expires everywhere."""
    core = routed(route("/queue/a", "/topic/b"))
    consumer = core.client()
    consumer.subscribe("/queue/a,/topic/b")
    for _ in range(2):
        core.client().send("/queue/a", "x", delay="1000", ttl="5000", priority="9")
    assert consumer.take() == []
    core.tick(1.0)
    assert [(m.text, m["expires"]) for m in consumer.messages(4)] == [("x", "5000")] * 4


def test_a_commit_is_routed() -> None:
    """Its SENDs reach what they would have reached when they were sent, all or none."""
    core = Core(
        settings(
            {"/queue/full": Policy(max_messages=1, overflow="reject")},
            routes=(
                route("/queue/a", "/queue/full", when="k = 1"),
                route("/queue/*", "/topic/t", name="t"),
            ),
        )
    )
    client = core.client()
    client.subscribe("/topic/t")
    client("BEGIN", transaction="1")
    client.send("/queue/a", "1", transaction="1", k="1")
    client.send("/queue/a,/queue/b", "2", transaction="1", receipt="s")
    assert client.receipts() == ["s"]
    client("COMMIT", transaction="1")
    assert client.bodies() == ["1", "2"]
    assert depths(core) == {"/queue/a": 2, "/queue/b": 1, "/queue/full": 1}
    client("BEGIN", transaction="2")
    client.send("/queue/a", "3", transaction="2")
    client.send("/queue/a", "4", transaction="2", k="1")
    client("COMMIT", transaction="2")
    assert client.error()["message"] == "queue is full"
    assert depths(core) == {"/queue/a": 2, "/queue/b": 1, "/queue/full": 1}


def test_a_queue_that_ends_while_a_transaction_is_open_is_made_again() -> None:
    """The one that the route led to, not the one that the SEND named."""
    core = routed(route("/queue/a", "/queue/b", move=True), auto_delete_after=5.0)
    client = core.client()
    client("BEGIN", transaction="1")
    client.send("/queue/a", "x", transaction="1")
    for _ in range(12):
        core.tick(1.0)
    assert core.broker.host("/").queues == {}
    client("COMMIT", transaction="1")
    assert depths(core) == {"/queue/b": 1}


def test_a_copy_has_its_own_fate() -> None:
    """It is acknowledged, redelivered and dead-lettered for itself, and says from where."""
    core = routed(route("/queue/a", "/queue/b"), max_deliveries=1)
    consumer = core.client()
    for name in ("a", "b"):
        consumer.subscribe(f"/queue/{name}", "client-individual", id=name)
    core.client().send("a", "x")
    one, two = consumer.messages(2)
    consumer.ack(one)
    consumer.nack(two)
    assert depths(core) == {"/queue/DLQ.b": 1}
    consumer.subscribe("/queue/DLQ.b", id="d")
    assert consumer.messages(1)[0]["original-destination"] == "/queue/b"
    core.client().send("a", "x")
    one, two = consumer.messages(2)
    consumer.nack(one)
    consumer.subscribe("/queue/DLQ.a", id="e")
    assert consumer.messages(1)[0]["original-destination"] == "a"


def test_a_reply_to_is_rewritten_in_every_copy() -> None:
    """Whatever queue it came by."""
    core = routed(route("/queue/a", "/queue/b"))
    consumer = core.client()
    for name in ("a", "b"):
        consumer.subscribe(f"/queue/{name}", id=name)
    client = core.client()
    client.send("/queue/a", "x" * 600, reply_to="/temp-queue/r")
    public = f"/remote-temp-queue/{client.session.id}/r"
    assert [m["reply-to"] for m in consumer.messages(2)] == [public] * 2


def test_a_large_message_is_copied() -> None:
    """Its octets are those of the sender."""
    core = routed(route("/queue/a", "/queue/b", "/topic/c"))
    consumer = core.client("1.0")
    for name in ("/queue/a", "/queue/b", "/topic/c"):
        consumer.subscribe(name, id=name)
    body = bytes(range(256)) * 100
    core.client().send("/queue/a", body)
    assert [message.body for message in consumer.messages(3)] == [body] * 3


def test_a_queue_that_was_removed_is_made_again() -> None:
    """A route keeps no queue, and does not lose what comes later."""
    core = routed(route("/queue/a", "/queue/b"), auto_delete_after=5.0)
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/#")
    for _ in range(2):
        producer.send("/queue/a", "x")
        assert consumer.bodies() == ["x", "x"]
        for _ in range(12):
            core.tick(1.0)
        assert core.broker.host("/").queues == {}


# Routes that come and go.


def test_routes_change_while_a_producer_goes_on(core: Core) -> None:
    """SENDs of the same octets take the new way at once, in this virtual host alone."""
    host = core.broker.host("/")
    producer = core.client()
    producer.send("/queue/a", "1")
    producer.send("/queue/a", "1")
    host.add_route(route("/queue/a", "/queue/b"))
    producer.send("/queue/a", "2")
    producer.send("/queue/a", "2")
    assert depths(core) == {"/queue/a": 4, "/queue/b": 2}
    host.add_route(route("/queue/a", "/queue/c", name="s", move=True))
    producer.send("/queue/a", "3")
    assert depths(core) == {"/queue/a": 4, "/queue/b": 3, "/queue/c": 1}
    host.remove_route("r")
    producer.send("/queue/a", "4")
    assert depths(core) == {"/queue/a": 4, "/queue/b": 3, "/queue/c": 2}
    host.remove_route("s")
    producer.send("/queue/a", "5")
    assert depths(core) == {"/queue/a": 5, "/queue/b": 3, "/queue/c": 2}


def test_routes_are_listed() -> None:
    """As they were given; a route without a name gets one that is free."""
    core = routed(route("/queue/a", "b", name="route-1", when="x = 1"))
    host = core.broker.host("/")
    host.add_route(route("/queue/*", "c", "/topic/d", name=host.router.free_name(), move=True))
    listed = [tuple(row.values()) for row in routes(host.broker)]
    assert listed == [
        ("/", "route-1", "/queue/a", ["b"], "x = 1", False, True),
        ("/", "route-2", "/queue/*", ["c", "/topic/d"], None, True, False),
    ]
    host.remove_route("route-1")
    assert host.router.free_name() == "route-1"


def test_a_message_for_many_destinations_is_much_work() -> None:
    """After it others have their turn."""
    core = Core(settings(work_budget=10))
    client = core.client()
    client.send(",".join(f"/queue/{number}" for number in range(9)))
    assert not client.session.halt
    client.send(",".join(f"/queue/{number}" for number in range(11)))
    assert client.session.halt


def test_virtual_hosts_have_their_own_routes() -> None:
    """Those of the settings in each of them, and those that were added."""
    core = Core(settings(virtual_hosts=("/", "two"), routes=(route("/queue/a", "/queue/b"),)))
    one, two = core.client(), core.client(host="two")
    core.broker.host("two").add_route(route("/queue/a", "/queue/c", name="s"))
    for client in (one, two, one, two):
        client.send("/queue/a", "x")
    assert [sorted(host.queues) for host in core.broker.hosts] == [
        ["/queue/a", "/queue/b"],
        ["/queue/a", "/queue/b", "/queue/c"],
    ]


def test_new_settings_bring_their_routes() -> None:
    """Those that were added stay; unless the settings contradict them, and that is told."""
    old, kept = route("/queue/a", "b", name="old"), route("/queue/a", "c", name="kept")
    core = routed(old)
    host = core.broker.host("/")
    loop = route("/exchange/x", "/exchange/y/k", name="loop")
    for added in (kept, route("/queue/a", "d", name="new"), loop):
        host.add_route(added)
    assert [host.configured(each) for each in host.router.routes] == [True, False, False, False]
    assert core.broker.reconfigure(settings(routes=(old,), server="x")) == []
    assert [each.name for each in host.router.routes] == ["old", "kept", "new", "loop"]
    new = (route("/queue/a", "e", name="new"), route("/exchange/y", "/exchange/x/k", name="back"))
    assert core.broker.reconfigure(settings(routes=new)) == ["new", "loop"]
    assert host.router.routes == (*new, kept)
    core.client().send("/queue/a", "x")
    assert depths(core) == {"/queue/a": 1, "/queue/e": 1, "/queue/c": 1}


def test_a_route_of_the_settings_that_was_removed_comes_back_with_other_settings() -> None:
    """The same settings read again change nothing."""
    first, second = route("/queue/a", "b"), route("/queue/a", "c", name="s")
    core = routed(first)
    host = core.broker.host("/")
    host.remove_route("r")
    core.broker.reconfigure(settings(routes=(first,)))
    assert not host.router.routes
    core.broker.reconfigure(settings(routes=(first, second)))
    assert host.router.routes == (first, second)


def test_an_exchange_ends_with_its_last_route(core: Core) -> None:
    """What was subscribed stays so, but nothing more can be sent."""
    host = core.broker.host("/")
    host.add_route(route("/exchange/x", "/queue/a"))
    client, producer = core.client(), core.client()
    client.subscribe("/exchange/x/k")
    producer.send("/exchange/x/k", "1")
    host.remove_route("r")
    producer.send("/exchange/x/k", "2")
    assert producer.error()["message"] == "no such exchange"
    assert client.bodies() == ["1"]


# Routes that cannot be.


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (route("/queue/a", "/queue/b", name=""), "no name that can be read"),
        (route("/queue/a", "/queue/b", name=" a"), "no name that can be read"),
        (route("/queue/a", "/queue/b", name="a\nb"), "no name that can be read"),
        (route("/quue/a", "/queue/b"), "a destination is /queue/NAME"),
        (route("/queue/a,/queue/b", "/queue/c"), "from one destination or pattern"),
        (route("/temp-queue/a", "/queue/b"), "belongs to its connection"),
        (route("/remote-temp-queue/a/b", "/queue/b"), "belongs to its connection"),
        (route("/queue/a"), "leads nowhere"),
        (route("/queue/a", "/queue/b", when="a ="), "column"),
        (route("/queue/a", ""), "the name is empty"),
        (route("/queue/a", "/queue/b.*"), "does not go to a wildcard"),
        (route("/queue/a", "/temp-queue/b"), "belongs to its connection"),
        (route("/queue/a", "/remote-temp-queue/b/c"), "belongs to its connection"),
        (route("/queue/a", "/topic/$SYS/b"), "published by the broker alone"),
        (route("/queue/a", "/queue/b,/queue/c"), "here one is meant"),
        (route("/queue/a", "/queue/{1}"), "{1} stands for nothing; there is {name}"),
        (route("/queue/*", "/queue/b.{2}"), "there is {name}, {1}"),
        (route("/queue/*", "/queue/b.{}"), "{} stands for nothing"),
        (route("/queue/*", "/exchange/{1}/a"), "name of an exchange cannot be filled in"),
        (route("/queue/*", "/exchange/x{1}"), "name of an exchange cannot be filled in"),
        (route("/queue/a", "a"), "leads back to its source, /queue/a"),
        (route("/queue/a.*", "/queue/b", "/queue/a.{1}"), "leads back to its source"),
        (route("/queue/a/#", "/queue/{name}"), "leads back to its source"),
        (route("/exchange/x", "/exchange/x/{name}"), "leads back to its source"),
    ],
)
def test_routes_that_cannot_be(core: Core, bad: Route, why: str) -> None:
    """They are refused with what is wrong, and nothing is changed."""
    host = core.broker.host("/")
    before = host.router
    with pytest.raises(RemoteProtocolError) as caught:
        host.add_route(bad)
    assert caught.value.message.partition(" ")[0] in ("malformed", "unknown")
    assert why in caught.value.detail
    assert host.router is before


def test_names_of_routes_are_told_apart(core: Core) -> None:
    """A second one is refused, as is the end of one that is not there."""
    host = core.broker.host("/")
    host.add_route(route("/queue/a", "/queue/b"))
    with pytest.raises(RemoteProtocolError, match="route name in use"):
        host.add_route(route("/queue/c", "/queue/d"))
    with pytest.raises(RemoteProtocolError, match="no such route"):
        host.remove_route("s")
    assert repr(host.router) == "<Router routes=1>"


@pytest.mark.parametrize(
    ("several", "loop"),
    [
        ([route("/exchange/x/*", "/exchange/x/a")], '"r" -> "r"'),
        ([route("/exchange/x", "/queue/b", "/exchange/x/a.{name}")], '"r" -> "r"'),
        ([route("/exchange/x/$a.*", "/exchange/x/{name}x")], '"r" -> "r"'),
        (
            [
                route("/exchange/a/k.#", "/exchange/b/{1}", name="ab"),
                route("/exchange/b/x.*", "/exchange/c/{1}{1}", name="bc"),
                route("/exchange/b/y.*", "/queue/y", name="by"),
                route("/exchange/c/*", "/exchange/a/k.z", name="ca"),
            ],
            '"ca" -> "ab" -> "bc" -> "ca"',
        ),
    ],
)
def test_loops_are_refused(several: list[Route], loop: str) -> None:
    """The route that would close one is refused, and the ERROR names the whole way round."""
    Router(several[:-1])
    with pytest.raises(RemoteProtocolError) as caught:
        Router(several)
    assert caught.value.message == "routes in a loop"
    assert loop in caught.value.detail


_SOURCES = ("a/*", "a/x", "a/$x.*", "b/*.*", "b/#", "b/x.#", "c/*")
_KEYS = ("x", "$x.y", "x.y", "y.x.y")
_TARGETS = (
    "/queue/q",
    "/topic/t.{1}",
    *(
        f"/exchange/{to}"
        for to in ("a/{1}", "a/{name}", "a/{1}{1}", "b/x.{name}", "b/{1}.y", "b/y.{name}x", "c/{1}")
    ),
)


@given(
    st.lists(st.tuples(st.sampled_from(_SOURCES), st.sampled_from(_TARGETS)), max_size=8),
    st.lists(st.sampled_from(_KEYS), min_size=1, max_size=3),
)
def test_whatever_routes_are_accepted_lead_to_an_end(
    pairs: list[tuple[str, str]], keys: list[str]
) -> None:
    """Each destination is reached once, and no way takes a route twice."""
    router = Router(route(f"/exchange/{name}/nobody", "q", name=name) for name in "abc")
    refused = []
    for number, (match, to) in enumerate(pairs):
        try:
            router = router.added(route(f"/exchange/{match}", to, name=f"r{number}"))
        except RemoteProtocolError as error:
            refused.append(error.message)
    assert set(refused) <= {"routes in a loop", "malformed route"}
    core = routed(*router.routes)
    for key in keys:
        for name in "abc":
            text = f"/exchange/{name}/{key}"
            found = reaches(core, text)
            assert next(iter(found.items())) == (text, [])
            for way in found.values():
                assert len(set(way)) == len(way)


def test_many_ways_to_one_place_are_walked_once() -> None:
    """Forty exchanges in a row, with two routes from each to the next: not two to the fortieth."""
    routes_ = [
        route(f"/exchange/x{n}", f"/exchange/x{n + 1}/k", name=f"{n}{which}")
        for n in range(40)
        for which in "ab"
    ]
    for when in (None, "k = 1"):
        core = routed(*routes_, route("/exchange/x40", "/queue/end", name="end", when=when))
        core.client().send("/exchange/x0/k", "x", k="1")
        assert depths(core) == {"/queue/end": 1}
        assert len(core.broker.host("/").topics) == 41


def test_what_only_looks_like_a_loop() -> None:
    """Keys that cannot come round again are allowed."""
    core = routed(
        route("/exchange/x/a.*", "/exchange/x/b.{1}", name="ab"),
        route("/exchange/x/b.*", "/exchange/x/c", "/queue/q", name="bc"),
        route("/exchange/x/*", "/exchange/y/{1}.k", name="xy"),
        route("/exchange/y/*", "/exchange/x/a.k", name="yx"),
    )
    assert reaches(core, "/exchange/x/a.1") == {
        "/exchange/x/a.1": [],
        "/exchange/x/b.1": ["ab"],
        "/exchange/x/c": ["ab", "bc"],
        "/exchange/y/c.k": ["ab", "bc", "xy"],
        "/queue/q": ["ab", "bc"],
    }


@pytest.mark.parametrize(
    ("match", "to", "sent", "why"),
    [
        ("/topic/a.#", "/queue/{1}", "/topic/a", "/queue"),
        ("/topic/#", "/queue/" + "n" * 100 + ".{name}", "/topic/" + "m" * 250, "at most 319"),
        ("/exchange/amq.direct/#", "/queue/{name}", "/exchange/amq.direct/*", "wildcard"),
    ],
)
def test_a_target_that_cannot_be_made(match: str, to: str, sent: str, why: str) -> None:
    """The SEND is refused, and the ERROR names the route: better than a message that got lost."""
    core = routed(route(match, to))
    client = core.client()
    client.send(sent, "x", receipt="r")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("route leads nowhere", "r")
    assert why in error.text
    assert '"r", from "' in error.text


# Virtual topics.


def test_a_virtual_topic_fills_its_consumers_queues(core: Core) -> None:
    """Each group gets every message once, in a queue that its consumers share."""
    a1, a2, b, plain, producer = (core.client() for _ in range(5))
    a1.subscribe("/queue/Consumer.A.VirtualTopic.X", "client-individual", prefetch_count="1")
    a2.subscribe("/queue/Consumer.A.VirtualTopic.X", "client-individual", prefetch_count="1")
    plain.subscribe("/topic/VirtualTopic.X")
    for body in "12":
        producer.send("/topic/VirtualTopic.X", body)
    assert a1.bodies() + a2.bodies() == ["1", "2"]
    assert plain.bodies() == ["1", "2"]
    b.subscribe("Consumer.B.VirtualTopic.X")
    producer.send("/exchange/amq.topic/VirtualTopic.X", "3")
    assert b.messages(1)[0]["destination"] == "/exchange/amq.topic/VirtualTopic.X"
    assert depths(core) == {"/queue/Consumer.A.VirtualTopic.X": 1}


def test_a_group_misses_nothing_while_it_is_away() -> None:
    """Its queue stays, however long it is idle, until somebody removes it; then the topic goes."""
    core = Core(settings(auto_delete_after=5.0))
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/Consumer.A.VirtualTopic.X")
    producer.send("/topic/VirtualTopic.X", "1")
    assert consumer.bodies() == ["1"]
    consumer.close()
    host = core.broker.host("/")
    for _ in range(30):
        core.tick(1.0)
    assert list(host.queues) == ["/queue/Consumer.A.VirtualTopic.X"]
    producer.send("/topic/VirtualTopic.X", "2")
    assert depths(core) == {"/queue/Consumer.A.VirtualTopic.X": 1}
    host.remove(host.topics["/topic/VirtualTopic.X"])
    producer.send("/topic/VirtualTopic.X", "3")
    assert depths(core) == {"/queue/Consumer.A.VirtualTopic.X": 2}
    host.remove(host.queues["/queue/Consumer.A.VirtualTopic.X"])
    producer.send("/topic/VirtualTopic.X", "4")
    assert depths(core) == {}
    for _ in range(12):
        core.tick(1.0)
    assert not host.topics


def test_who_made_the_queue_of_a_group_may_have_it_go() -> None:
    """By the headers that say so of any queue."""
    core = Core(settings(auto_delete_after=5.0))
    consumer, producer = core.client(), core.client()
    consumer.subscribe(
        "/queue/Consumer.A.VirtualTopic.X",
        x_expires="2000",
        x_max_length="1",
        x_overflow="reject-publish",
    )
    consumer("UNSUBSCRIBE", id="0")
    producer.send("/topic/VirtualTopic.X", "1", receipt="r")
    assert producer.receipts() == ["r"]
    producer.send("/topic/VirtualTopic.X", "2")
    assert producer.error()["message"] == "queue is full"
    consumer.subscribe("/queue/Consumer.A.VirtualTopic.X")
    consumer("UNSUBSCRIBE", id="0")
    for _ in range(5):
        core.tick(1.0)
    assert not core.broker.host("/").queues


@pytest.mark.parametrize(
    ("queue", "topic"),
    [
        ("/queue/Consumer.A.VirtualTopic.X", "/topic/VirtualTopic.Y"),
        ("/queue/Consumer.A.VirtualTopic.X", "/topic/VirtualTopic.X.Y"),
        ("/queue/Consumer.A.Topic.X", "/topic/Topic.X"),
        ("/queue/Consumer.A.B.VirtualTopic.X", "/topic/VirtualTopic.X"),
        ("/queue/MyConsumer.A.VirtualTopic.X", "/topic/VirtualTopic.X"),
    ],
)
def test_what_is_no_virtual_topics_queue(core: Core, queue: str, topic: str) -> None:
    """Another name is another queue."""
    client = core.client()
    client.subscribe(queue)
    client.send(topic, "x", receipt="r")
    assert client.receipts() == ["r"]


def test_a_queue_for_a_virtual_topic_is_a_queue(core: Core) -> None:
    """It may be sent to, which the topic and other groups do not see; a SEND makes it as well."""
    client = core.client()
    client.subscribe("/topic/VirtualTopic.X")
    client.send("/queue/Consumer.A.VirtualTopic.X", "1")
    client.send("/queue/Consumer.B.VirtualTopic.X", "2")
    client.send("/topic/VirtualTopic.X", "3")
    assert client.bodies() == ["3"]
    assert list(depths(core).values()) == [2, 2]


@pytest.mark.parametrize("pattern", ["VirtualTopic.>", "VirtualTopic.#", "VirtualTopic.*", "#"])
def test_a_group_may_name_several_topics(core: Core, pattern: str) -> None:
    """A queue is made for each that fits, those that come later included; they stay."""
    consumer, producer = core.client(), core.client()
    producer.send("/topic/VirtualTopic.X", "nobody", retain="set")
    producer.send("/topic/Other.X", "nobody")
    consumer.subscribe(f"/queue/Consumer.A.{pattern}")
    for topic in ("VirtualTopic.X", "VirtualTopic.Y", "Other.X", "Other.Y"):
        producer.send(f"/topic/{topic}", topic)
    assert consumer.bodies() == ["nobody", "VirtualTopic.X", "VirtualTopic.Y"]
    consumer("UNSUBSCRIBE", id="0", receipt="r")
    assert consumer.receipts() == ["r"]
    for topic in ("VirtualTopic.X", "VirtualTopic.Z"):
        producer.send(f"/topic/{topic}", topic)
    assert depths(core) == {"/queue/Consumer.A.VirtualTopic.X": 1}


@pytest.mark.parametrize("pattern", ["Consumer.*.VirtualTopic.X", "#.X", "Consumer.#"])
def test_a_pattern_without_a_group_makes_no_queue(core: Core, pattern: str) -> None:
    """It takes from those that are there."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe(f"/queue/{pattern}")
    producer.send("/topic/VirtualTopic.X", "1")
    core.client().subscribe("/queue/Consumer.B.VirtualTopic.X", browser="true")
    producer.send("/topic/VirtualTopic.X", "2")
    assert consumer.bodies() == ["2"]


def test_virtual_topics_may_be_called_otherwise() -> None:
    """Also so that every topic is one; and without any pattern none is."""
    virtual = VirtualTopics(("/topic/#",), "/queue/{topic}/for/{group}")
    core = Core(settings(virtual_topics=virtual))
    client = core.client()
    client.subscribe("/queue/a.b/for/me")
    client.send("/topic/a.b", "x")
    assert client.bodies() == ["x"]
    core = Core(settings(virtual_topics=VirtualTopics(())))
    client = core.client()
    client.subscribe("/queue/Consumer.A.VirtualTopic.X")
    client.send("/topic/VirtualTopic.X", "x")
    assert client.take() == []
    for queues in ("/queue/{group}", "/queue/{topic}", "/queue/{group}.{topic}.{group}"):
        with pytest.raises(ValueError, match="each once"):
            VirtualTopics((), queues)


def test_new_settings_of_virtual_topics_are_for_new_queues() -> None:
    """What is there stays as it was made, and can be removed all the same."""
    core = Core()
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/Consumer.A.VirtualTopic.>")
    producer.send("/topic/VirtualTopic.X", "1")
    core.broker.reconfigure(settings(virtual_topics=VirtualTopics(())))
    producer.send("/topic/VirtualTopic.X", "2")
    producer.send("/topic/VirtualTopic.Y", "3")
    assert consumer.bodies() == ["1", "2"]
    consumer("UNSUBSCRIBE", id="0", receipt="r")
    assert consumer.receipts() == ["r"]
    host = core.broker.host("/")
    host.remove(host.queues["/queue/Consumer.A.VirtualTopic.X"])
    producer.send("/topic/VirtualTopic.X", "4")
    assert depths(core) == {}


def test_a_route_to_a_virtual_topic() -> None:
    """Its consumers get what the route delivers; dead letters tell where they come from."""
    core = routed(route("/queue/in", "/topic/VirtualTopic.X", move=True), max_deliveries=1)
    consumer = core.client()
    consumer.subscribe("/queue/Consumer.A.VirtualTopic.X", "client-individual")
    core.client().send("/queue/in", "x", persistent="true")
    consumer.nack(consumer.messages(1)[0])
    consumer.subscribe("/queue/DLQ.#", id="d")
    letter = consumer.messages(1)[0]
    assert letter["original-destination"] == "/queue/Consumer.A.VirtualTopic.X"


# What would happen.


def test_where_a_message_would_go() -> None:
    """Every destination with the routes that lead there; nothing is made by asking."""
    core = routed(route("/queue/a", "/topic/b", "/queue/c"))
    host = core.broker.host("/")
    client = core.client()
    client.subscribe("/topic/b")
    client.subscribe("/temp-queue/x", id="1")
    assert goes_to(host, "/queue/a,/temp-queue/x", {}, client.session) == [
        {
            "destination": "/queue/a",
            "kind": "queue",
            "routes": [],
            "topic": None,
            "exists": False,
            "subscriptions": 0,
        },
        {
            "destination": "/topic/b",
            "kind": "topic",
            "routes": ["r"],
            "topic": None,
            "exists": True,
            "subscriptions": 1,
        },
        {
            "destination": "/queue/c",
            "kind": "queue",
            "routes": ["r"],
            "topic": None,
            "exists": False,
            "subscriptions": 0,
        },
        {
            "destination": f"/remote-temp-queue/{client.session.id}/x",
            "kind": "queue",
            "routes": [],
            "topic": None,
            "exists": True,
            "subscriptions": 1,
        },
    ]
    assert "/queue/a" not in host.queues
    with pytest.raises(RemoteProtocolError, match="SEND to a wildcard"):
        goes_to(host, "/queue/*", {})


def test_where_a_message_to_a_topic_would_go(core: Core) -> None:
    """Queues that it is copied to are told: of consumers, of groups to come, of durable ones."""
    host = core.broker.host("/")
    client = core.client(client_id="c")
    client.subscribe("/queue/Consumer.A.VirtualTopic.X", id="a")
    client.subscribe("/queue/Consumer.B.VirtualTopic.>", id="b")
    client.subscribe("/topic/VirtualTopic.*", id="c", durable="true", selector="k = 1")

    def told(name: str, **headers: str) -> list[tuple[str, str | None, bool]]:
        rows = goes_to(host, name, headers)
        return sorted((row["destination"], row["topic"], row["exists"]) for row in rows)

    topic = "/topic/VirtualTopic.X"
    (durable,) = host.durables.values()
    expected = [
        ("/queue/Consumer.A.VirtualTopic.X", topic, True),
        ("/queue/Consumer.B.VirtualTopic.X", topic, False),
        (topic, None, False),
    ]
    assert told(topic) == expected
    assert told(topic, k="1") == sorted([*expected, (durable.queue.name, topic, True)])
    client.send(topic, "x", k="1")
    assert all(exists for _, _, exists in told(topic, k="1"))
    assert len(told(topic, k="1")) == 4
    assert told("/topic/other") == [("/topic/other", None, False)]


# Subscriptions that durable ones and routes have in common.


def test_a_durable_subscription_to_an_exchange() -> None:
    """It is kept as that to a topic is; one to several destinations is refused."""
    core = routed(route("/exchange/x/a", "/queue/a"))
    client = core.client(client_id="c")
    client.subscribe("/exchange/x", durable="true")
    client.close()
    core.client().send("/exchange/x/k", "1")
    client = core.client(client_id="c")
    client.subscribe("/exchange/x", durable="true")
    assert client.bodies() == ["1"]
    client.subscribe("/exchange/y", durable="true", id="1")
    assert client.error()["message"] == "no such exchange"
    client = core.client(client_id="c")
    client.subscribe("/topic/a,/topic/b", durable="true")
    assert client.error()["message"] == "durable subscription to several topics"


def test_browsing_several_queues(core: Core) -> None:
    """One end for all of them; a topic among them cannot be browsed."""
    client = core.client()
    for name in "ab":
        client.send(f"/queue/{name}", name)
    client.subscribe("/queue/a,/queue/b", browser="true")
    *found, end = client.messages(3)
    assert ([m.text for m in found], end["browser"]) == (["a", "b"], "end")
    client.subscribe("/queue/a,/topic/b", browser="true", id="1")
    assert client.error()["message"] == "nothing to browse"


def test_the_brokers_own_topics_among_several(core: Core) -> None:
    """What the broker tells is told while such a subscription is there, and not afterwards."""
    host = core.broker.host("/")
    client = core.administrator()
    client.subscribe("/topic/a,/topic/$SYS/events/#")
    assert host.watchers == 1
    client("UNSUBSCRIBE", id="0")
    assert host.watchers == 0
