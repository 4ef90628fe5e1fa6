"""Purging, moving, copying, requeuing, deleting, pausing, kicking: by request, as people do it."""

import pytest
from broker.asking import Asker, done
from broker.client import Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy


@pytest.fixture
def ask(core: Core) -> Asker:
    """Somebody who may ask, and five messages in /queue/a."""
    asker = Asker(core)
    publish(asker.client, "/queue/a", numbers(1, 5))
    return asker


# Purging.


def test_purge_drops_what_waits_or_is_not_due(core: Core, ask: Asker) -> None:
    """What is delivered stays; nothing of the rest comes back."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    ask.client.send("/queue/a", "late", delay="1000")
    assert ask("purge", destination="a", dry_run=True) == done(5)
    assert ask("purge", destination="a") == done(5)
    row = ask("queues", match="/queue/a")[0]
    assert (row["ready"], row["inflight"], row["delayed"], row["settled"]) == (0, 1, 0, 0)
    consumer.ack(consumer.one("MESSAGE"))
    core.tick(2)
    assert consumer.take() == []
    row = ask("queues", match="a")[0]
    assert (row["received"], row["settled"], row["bytes"]) == (6, 1, 0)


def test_purge_of_some(ask: Asker) -> None:
    """By a selector; and all but the newest."""
    ask.client.send("/queue/a", "x", colour="red")
    assert ask("purge", destination="/queue/a", selector="colour = 'red'") == done(1)
    assert ask("purge", destination="/queue/a", keep=2) == done(3)
    assert ask.bodies("/queue/a") == ["4", "5"]
    assert ask("purge", destination="/queue/a", keep=2) == done(0)


def test_purge_by_age(core: Core) -> None:
    """What is there for so long; younger ones stay. Looks once a second tell."""
    asker = Asker(core)
    publish(asker.client, "/queue/a", ["old"])
    for _ in range(3):
        core.tick(1)
    publish(asker.client, "/queue/a", ["new"])
    core.tick(1)
    assert asker("purge", destination="/queue/a", older_than=4.5) == done(0)
    assert asker("purge", destination="/queue/a", older_than=1.5) == done(1)
    assert asker.bodies("/queue/a") == ["new"]


def test_purge_by_pattern(ask: Asker) -> None:
    """All queues that it matches, and no topic; none is no mistake."""
    publish(ask.client, "/queue/b.x", ["1"])
    publish(ask.client, "/queue/b.y", ["1", "2"])
    assert ask("purge", destination="/queue/b.*") == done(3)
    assert ask("purge", destination="/queue/c.#") == done(0)
    assert len(ask.bodies("/queue/a")) == 5


def test_purge_makes_room() -> None:
    """Producers that wait for it go on."""
    core = Core(settings(max_messages=2))
    producer, asker = core.client(), Asker(core)
    publish(producer, "/queue/a", ["1", "2", "3"])
    assert producer.session.paused
    assert asker("purge", destination="/queue/a", keep=1) == done(2)
    assert not producer.session.paused


def test_purge_reaches_what_is_in_the_store_only() -> None:
    """As a request says that does nothing, and as the one says that drops them."""
    core = PagedCore(settings(window_messages=2))
    asker = Asker(core)
    publish(asker.client, "/queue/a", numbers(1, 5))
    assert asker("purge", destination="/queue/a", older_than=0, dry_run=True) == done(5)
    assert asker("purge", destination="/queue/a", older_than=0) == done(5)
    assert core.paging.count == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"destination": "/queue/none"}, "not-found"),
        ({"destination": "/topic/a"}, "bad-request"),
        ({"destination": "/nowhere"}, "bad-request"),
        ({"destination": "/durable/none"}, "not-found"),
        ({"destination": "/queue/a", "selector": "1 +"}, "bad-request"),
        ({"destination": "/queue/a", "vhost": "none"}, "not-found"),
        ({"destination": "/queue/a", "keep": -1}, "bad-request"),
    ],
)
def test_purges_that_are_refused(ask: Asker, fields: dict[str, object], code: str) -> None:
    """And nothing is done."""
    assert ask.refused("purge", **fields)[0] == code
    assert len(ask.bodies("/queue/a")) == 5


# Moving and copying.


def test_move(core: Core, ask: Asker) -> None:
    """In their order, with their headers, as if they were sent there; delivered at once."""
    consumer = core.client()
    consumer.subscribe("/queue/b")
    ask.client.send("/queue/a", "6", colour="red", content_type="text/plain")
    assert ask("move", source="/queue/a", target="/queue/b", dry_run=True) == done(6)
    assert consumer.take() == []
    assert ask("move", source="/queue/a", target="b") == done(6)
    messages = consumer.messages(6)
    assert [message.text for message in messages] == numbers(1, 6)
    assert messages[-1]["destination"] == "/queue/b"
    assert messages[-1]["colour"] == "red"
    assert messages[-1]["content-type"] == "text/plain"
    assert messages[-1].get("redelivered") is None
    assert ask("queues", match="/queue/a")[0]["ready"] == 0


def test_copy(ask: Asker) -> None:
    """Those stay as they are; the target is made."""
    assert ask("copy", source="a", target="b", count=2) == done(2)
    assert ask.bodies("a") == numbers(1, 5)
    assert ask.bodies("b") == ["1", "2"]


def test_move_to_a_topic(core: Core, ask: Asker) -> None:
    """Its subscribers get them."""
    subscriber = core.client()
    subscriber.subscribe("/topic/b")
    assert ask("move", source="a", target="/topic/b", selector="TRUE", count=2) == done(2)
    assert subscriber.bodies() == ["1", "2"]


def test_a_dry_run_makes_nothing(ask: Asker) -> None:
    """Not even the target."""
    ask("move", source="a", target="b", dry_run=True)
    assert [row["name"] for row in ask("queues", match="/queue/#")] == ["/queue/a"]


def test_move_by_id(core: Core, ask: Asker) -> None:
    """What cannot be had is told: what is in flight, and what is not there."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    rows = ask("browse", destination="/queue/a")["messages"]
    ids = {row["body"]: row["id"] for row in rows}
    assert [row["state"] for row in rows] == ["ready"] * 4 + ["inflight"]
    wanted = [ids["1"], ids["3"], "99", "x"]
    assert ask("move", source="a", target="b", ids=wanted) == done(
        1, 3, "delivered and not settled yet", "no such message (2)"
    )
    assert ask.bodies("b") == ["3"]


def test_what_is_not_due_keeps_its_time(core: Core, ask: Asker) -> None:
    """Whether its sender wanted that, or a NACK."""
    consumer = core.client()
    consumer.subscribe("/queue/c", "client")
    ask.client.send("/queue/c", "nacked")
    consumer.nack(consumer.one("MESSAGE"), delay="5000")
    ask.client.send("/queue/c", "late", delay="7000", priority="9", dedup_id="d")
    consumer("UNSUBSCRIBE", id="0")
    assert ask("move", source="c", target="d") == done(2)
    assert ask("move", source="d", target="c") == done(2)
    rows = ask("browse", destination="c")["messages"]
    assert [(row["body"], row["due"], row["priority"]) for row in rows] == [
        ("nacked", 5000, 4),
        ("late", 7000, 9),
    ]
    core.tick(6)
    consumer.subscribe("/queue/c")
    assert consumer.bodies() == ["nacked"]
    core.tick(2)
    assert consumer.bodies() == ["late"]


def test_move_stops_where_there_is_no_room() -> None:
    """What does not fit stays; a queue that drops its oldest has room for all."""
    core = Core(
        settings(
            {
                "/queue/small": Policy(max_messages=2, overflow="reject"),
                "/queue/drop": Policy(max_messages=2, overflow="drop-head", dead_letter=None),
            }
        )
    )
    asker = Asker(core)
    publish(asker.client, "/queue/a", numbers(1, 5))
    publish(asker.client, "/queue/small", ["x"])
    assert asker("move", source="a", target="small") == done(1, 4, "no room in /queue/small (4)")
    assert asker.bodies("a") == numbers(2, 5)
    publish(asker.client, "/queue/drop", ["x"])
    assert asker("move", source="a", target="drop") == done(4)
    assert asker.bodies("drop") == ["4", "5"]


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/queue/a", "bad-request"),
        ("a", "bad-request"),
        ("/queue/*", "bad-request"),
        ("/temp-queue/x", "bad-request"),
        ("/topic/$SYS/x", "bad-request"),
        ("/exchange/amq.direct/x", "bad-request"),
        ("/remote-temp-queue/c9/x", "not-found"),
        ("/durable/none", "not-found"),
    ],
)
def test_targets_that_are_refused(ask: Asker, target: str, code: str) -> None:
    """And nothing is moved."""
    assert ask.refused("move", source="/queue/a", target=target)[0] == code
    assert len(ask.bodies("/queue/a")) == 5


# Dead letters.


def _kill(core: Core, queue: str, **headers: str) -> None:
    """Have a consumer reject all that waits in a queue."""
    consumer = core.client()
    consumer.subscribe(queue, "client-individual")
    for message in consumer.messages():
        consumer.nack(message, requeue="false", **headers)
    consumer.close()


def test_requeue(core: Core, ask: Asker) -> None:
    """They are as their sender sent them, with all attempts before them."""
    ask.client.send("a", "6", expires="99000", colour="red", priority="7", timestamp="5")
    _kill(core, "/queue/a", reason="broken")
    row = ask("dlq")[0]
    assert (row["name"], row["of"], row["ready"]) == ("/queue/DLQ.a", "/queue/a", 6)
    assert row["sources"] == ["/queue/a"]
    assert row["reasons"] == {"rejected": 6}
    assert ask("requeue", destination="/queue/DLQ.a", dry_run=True) == done(6)
    assert ask("requeue", destination="/queue/DLQ.a") == done(6)
    row = ask("browse", destination="a")["messages"][0]
    assert (row["body"], row["delivery_count"], row["redelivered"]) == ("6", 0, False)
    assert row["headers"] == {
        "destination": "a",
        "expires": "99000",
        "colour": "red",
        "priority": "7",
        "timestamp": "5",
        "content-length": "1",
    }
    (row,) = ask("browse", destination="a", id="8")["messages"]
    assert row["headers"] == {"destination": "/queue/a", "content-length": "1"}
    consumer = core.client()
    consumer.subscribe("/queue/a")
    assert consumer.bodies() == ["6", *numbers(1, 5)]


def test_requeue_some_to_somewhere_else(core: Core, ask: Asker) -> None:
    """By id, selector or number; they bear the name of where they are then."""
    _kill(core, "/queue/a")
    ids = [row["id"] for row in ask("browse", destination="DLQ.a")["messages"]]
    assert ask("requeue", destination="DLQ.a", ids=ids[:1], to="b") == done(1)
    assert ask("requeue", destination="DLQ.a", count=1, to="/queue/b") == done(1)
    rows = ask("browse", destination="b")["messages"]
    assert [row["headers"]["destination"] for row in rows] == ["/queue/b"] * 2
    assert "dead-letter-reason" not in rows[0]["headers"]
    assert ask("dlq")[0]["of"] == "/queue/a"


def test_requeue_what_a_worker_has_given_up(core: Core, ask: Asker) -> None:
    """It goes where its sender says that it was, without what was written on it."""
    marks = {
        "original-destination": "/queue/in",
        "dead-letter-reason": "rejected",
        "dead-letter-detail": "exit 1",
        "dead-letter-time": "5",
        "attempts": "3",
        "exit-status": "1",
        "worker": "w",
    }
    ask.client.send("/queue/in.failed", "x\0", colour="red", priority="7", **marks)
    # What only bears such a name is no dead letter.
    ask.client.send("/queue/in.failed", "y", **{"original-destination": "/queue/in"})
    why = "no dead letter; `to` has to say where it goes"
    assert ask("requeue", destination="/queue/in.failed", dry_run=True) == done(1, 1, why)
    assert ask("requeue", destination="/queue/in.failed") == done(1, 1, why)
    (row,) = ask("browse", destination="/queue/in")["messages"]
    assert row["body_base64" if "body_base64" in row else "body"] == "x\0"
    assert row["headers"] == {
        "destination": "/queue/in",
        "colour": "red",
        "priority": "7",
        "content-length": "2",
    }
    # Our own word goes before the sender's: it died in the worker's queue of dead letters.
    ask.client.send("/queue/out.failed", "z", **marks)
    _kill(core, "/queue/out.failed")
    assert ask("requeue", destination="/queue/DLQ.out.failed") == done(1)
    assert ask("browse", destination="/queue/out.failed")["messages"][0]["body"] == "z"
    assert ask("requeue", destination="/queue/out.failed", to="/queue/b") == done(1)
    (row,) = ask("browse", destination="/queue/b")["messages"]
    assert row["headers"] == {"destination": "/queue/b", "content-length": "1"}
    # Its own destination may be anything.
    marks["original-destination"] = "/queue/in.failed"
    ask.client.send("/queue/in.failed", "x", **marks)
    assert ask("requeue", destination="/queue/in.failed")["failed"] == 2


def test_what_cannot_be_requeued(core: Core, ask: Asker) -> None:
    """Each for its reason; it stays where it is."""
    other = core.client()
    other.subscribe("/temp-queue/t", "client-individual")
    publish(ask.client, "/remote-temp-queue/c2/t", ["gone"])
    other.nack(other.one("MESSAGE"), requeue="false")
    other.close()
    (name,) = [row["name"] for row in ask("dlq") if row["ready"]]
    publish(ask.client, name, ["no letter"])
    result = ask("requeue", destination=name)
    assert result == done(
        0,
        2,
        "/remote-temp-queue/c2/t is gone",
        "no dead letter; `to` has to say where it goes",
    )
    assert ask("requeue", destination=name, to=name) == done(0, 2, f"{name} is where it is (2)")
    assert ask("requeue", destination=name, to="/nowhere")["failed"] == 2
    assert ask("queues", match=name)[0]["ready"] == 2


def test_requeue_where_there_is_no_room() -> None:
    """What does not fit stays."""
    core = Core(settings({"/queue/a": Policy(max_messages=2, overflow="reject")}))
    asker = Asker(core)
    for _ in range(2):
        publish(asker.client, "/queue/a", ["x", "y"])
        _kill(core, "/queue/a")
    assert asker("requeue", destination="DLQ.a") == done(2, 2, "no room in /queue/a (2)")


def test_dead_letters_of_durable_subscriptions() -> None:
    """They go back to the one that they died in, not to the topic's other subscribers."""
    core = Core(settings({"/topic/#": Policy(dead_letter="/queue/dead")}))
    asker = Asker(core)
    first = core.client(client_id="first")
    first.subscribe("/topic/t", "client-individual", durable="true", id="d")
    listener = core.client()
    listener.subscribe("/topic/t")
    publish(asker.client, "/topic/t", ["1"])
    first.nack(first.one("MESSAGE"), requeue="false")
    assert listener.bodies() == ["1"]
    assert asker("requeue", destination="dead") == done(1)
    assert first.one("MESSAGE")["destination"] == "/topic/t"
    assert listener.take() == []
    # With two of them nobody knows.
    first("ACK", id=f"{first.session.identity}2")
    second = core.client(client_id="second")
    second.subscribe("/topic/t", "client-individual", durable="true", id="d")
    publish(asker.client, "/topic/t", ["2"])
    first.nack(first.one("MESSAGE"), requeue="false")
    names = "/durable/first/d, /durable/second/d"
    assert asker("requeue", destination="dead") == done(
        0, 1, f"`to` has to say which it was: {names}"
    )
    assert asker("requeue", destination="dead", to="/durable/first/d") == done(1)
    message = first.one("MESSAGE")
    assert message["destination"] == "/topic/t"
    first.nack(message, requeue="false")
    # With none it is published again.
    for client in (first, second):
        client("UNSUBSCRIBE", id="d", durable="true")
    listener.take()
    assert asker("requeue", destination="dead") == done(1)
    assert listener.bodies() == ["2"]


# Destinations.


def test_delete(core: Core, ask: Asker) -> None:
    """The queue goes with what it holds; who sends there makes a new one."""
    wild = core.client()
    wild.subscribe("/queue/*", "client", prefetch_count="1")
    assert ask.refused("delete", destination="/queue/a", if_empty=True) == (
        "conflict",
        "/queue/a holds 5 messages",
    )
    assert ask.refused("delete", destination="/queue/a", if_unused=True)[0] == "conflict"
    assert ask("delete", destination="/queue/a") == done(1)
    assert ask("queues", match="/queue/a") == []
    wild.ack(wild.one("MESSAGE"))
    publish(ask.client, "/queue/a", ["new"])
    assert wild.bodies() == ["new"]


def test_delete_a_topic(core: Core, ask: Asker) -> None:
    """With the message that it keeps; a durable subscription gets what is sent there later."""
    publish(ask.client, "/topic/t", ["x"], retain="set")
    assert ask("topics")[0]["retained"] is True
    assert ask("delete", destination="/topic/t", if_empty=True) == done(1)
    consumer = core.client(client_id="me")
    consumer.subscribe("/topic/t", durable="true", id="d")
    consumer.close()
    for _ in range(2):
        publish(ask.client, "/topic/t", ["x"])
        assert ask("delete", destination="/topic/t") == done(1)
    assert ask.bodies("/durable/me/d") == ["x", "x"]


@pytest.mark.parametrize("headers", [{}, {"browser": "true", "browser_end": "false"}])
def test_a_destination_in_use_is_not_deleted(
    core: Core, ask: Asker, headers: dict[str, str]
) -> None:
    """Its subscribers would wait for ever."""
    core.client().subscribe("/queue/a", **headers)
    assert ask.refused("delete", destination="a") == ("conflict", "/queue/a has subscribers: c2")


def test_deletions_that_make_no_sense(core: Core, ask: Asker) -> None:
    """What is not there, and what belongs to a connection."""
    assert ask.refused("delete", destination="/topic/none")[0] == "not-found"
    core.client().subscribe("/temp-queue/t")
    assert ask.refused("delete", destination="/remote-temp-queue/c2/t") == (
        "conflict",
        "/remote-temp-queue/c2/t ends with its connection, c2",
    )


def test_pause_and_resume(core: Core, ask: Asker) -> None:
    """Meanwhile it takes messages and delivers none."""
    assert ask("pause", destination="/queue/a") == done(1)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    publish(ask.client, "/queue/a", ["6"])
    assert consumer.take() == []
    assert ask("queues", match="a")[0]["paused"] is True
    assert ask("resume", destination="/queue/a") == done(1)
    assert consumer.bodies() == numbers(1, 6)
    assert ask.refused("pause", destination="/queue/none")[0] == "not-found"


def test_durable_subscriptions_are_removed(core: Core, ask: Asker) -> None:
    """Not while somebody is connected; of several of one name the one that is meant."""
    for name in ("ann", "bob"):
        client = core.client(client_id=name)
        client.subscribe("/topic/t", durable="true", id="d")
        if name == "ann":
            client.close()
    publish(ask.client, "/topic/t", ["1"])
    rows = ask("durables")
    assert [(row["name"], row["client_id"], row["ready"], row["queue"]) for row in rows] == [
        ("d", "ann", 1, "/durable/ann/d"),
        ("d", "bob", 0, "/durable/bob/d"),
    ]
    assert ask.bodies("/durable/ann/d") == ["1"]
    assert ask.bodies("/durable/bob/d") == []
    connected = {row["connection"]: row["durable"] for row in ask("subscriptions")}
    assert connected["c3"] == "d"
    assert ask.refused("durable-rm", name="d") == (
        "conflict",
        "there are several of that name; client_id is one of ann, bob",
    )
    assert ask.refused("durable-rm", name="d", client_id="bob") == (
        "conflict",
        '"d" is in use by c3',
    )
    assert ask.refused("durable-rm", name="e")[0] == "not-found"
    assert ask("durable-rm", name="d", client_id="ann") == done(1)
    assert [row["client_id"] for row in ask("durables")] == ["bob"]


# Connections.


def test_kick(core: Core, ask: Asker) -> None:
    """It gets an ERROR; what it held goes to others."""
    holder, other = core.client(), core.client()
    holder.subscribe("/queue/a", "client")
    other.subscribe("/queue/a")
    holder.take()
    assert ask("kick", connection="c2", reason="maintenance\n") == done(1)
    error = holder.error()
    assert error["message"] == "closed by an administrator"
    assert error.text == "maintenance\\n\n"
    assert other.bodies() == numbers(1, 5)
    assert ask.refused("kick", connection="c2")[0] == "not-found"
    assert ask("kick", connection="c3") == done(1)
    assert other.error().text == "closed by an administrator\n"


def test_nobody_kicks_himself(ask: Asker) -> None:
    """The answer could not come."""
    assert ask.refused("kick", connection="c1")[0] == "conflict"
