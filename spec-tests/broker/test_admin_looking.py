"""What requests tell of a broker: messages, lists, health."""

import pytest
from broker.asking import Asker, done
from broker.client import Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.admin import messages as browsing
from stompd.broker.policy import Policy, PolicyRule


@pytest.fixture
def ask(core: Core) -> Asker:
    """Somebody who may ask."""
    return Asker(core)


# Browsing.


def test_browse_tells_all_of_a_message(ask: Asker) -> None:
    """Headers as a consumer gets them, where it is, and what happened to it."""
    ask.client.send("a", "é", colour="red", persistent="true")
    assert ask("browse", destination="/queue/a") == {
        "messages": [
            {
                "id": "1",
                "place": 1,
                "state": "ready",
                "headers": {
                    "destination": "a",
                    "colour": "red",
                    "persistent": "true",
                    "content-length": "2",
                },
                "size": 2,
                "age": 0.0,
                "delivery_count": 0,
                "redelivered": False,
                "persistent": True,
                "priority": 4,
                "truncated": False,
                "body": "é",
            }
        ],
        "total": 1,
        "next": None,
        "more": None,
    }


def test_browse_tells_what_is_ready_then_what_is_not(core: Core, ask: Asker) -> None:
    """In flight with who has it, delayed with when it is due; nothing is taken."""
    publish(ask.client, "/queue/a", numbers(1, 3))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", id="s", prefetch_count="1")
    ask.client.send("/queue/a", "late", delay="1500")
    rows = ask("browse", destination="a")["messages"]
    assert [(row["body"], row["state"]) for row in rows] == [
        ("2", "ready"),
        ("3", "ready"),
        ("1", "inflight"),
        ("late", "delayed"),
    ]
    assert (rows[2]["connection"], rows[2]["subscription"]) == ("c2", "s")
    assert rows[3]["due"] == 1500
    consumer.nack(consumer.one("MESSAGE"))
    assert consumer.bodies() == ["1"]
    (row,) = ask("browse", destination="a", id="1")["messages"]
    assert (row["delivery_count"], row["redelivered"]) == (1, True)


def test_what_a_consumer_of_several_queues_holds(core: Core, ask: Asker) -> None:
    """In each queue only its own."""
    core.client().subscribe("/queue/*", "client")
    publish(ask.client, "/queue/a", ["1"])
    publish(ask.client, "/queue/b", ["2"])
    assert (ask.bodies("a"), ask.bodies("b")) == (["1"], ["2"])


def test_browse_in_parts(ask: Asker) -> None:
    """So many at most; `next` leads on until nothing follows."""
    publish(ask.client, "/queue/a", numbers(1, 250))
    assert len(ask.bodies("a")) == browsing.BROWSED
    found, offset = [], 0
    while offset is not None:
        answer = ask("browse", destination="a", count=99, offset=offset)
        found += [row["body"] for row in answer["messages"]]
        assert answer["total"] == 250
        offset = answer["next"]
    assert found == numbers(1, 250)
    assert ask("browse", destination="a", offset=250) == {
        "messages": [],
        "total": 250,
        "next": None,
        "more": None,
    }
    assert ask("browse", destination="a", count=0)["next"] is None


def test_an_answer_is_not_without_end(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when it is large, however many are wanted; never without a message."""
    monkeypatch.setattr(browsing, "ANSWER_OCTETS", 3000)
    publish(ask.client, "/queue/a", ["x" * 1000] * 9)
    answer = ask("browse", destination="a")
    assert (len(answer["messages"]), answer["total"], answer["next"]) == (3, 9, 3)
    assert len(ask.bodies("a", body_bytes=1)) == 9
    publish(ask.client, "/queue/b", ["x" * 9000] * 2)
    assert len(ask.bodies("b")) == 1


def test_no_more_than_a_thousand(ask: Asker) -> None:
    """Whatever is asked for."""
    publish(ask.client, "/queue/a", ["x"] * 1001)
    assert len(ask.bodies("a", count=5000)) == browsing.MOST_BROWSED


@pytest.mark.parametrize(
    ("body", "limit", "expected"),
    [
        (b"", None, {"body": "", "truncated": False}),
        ("é".encode(), 2, {"body": "é", "truncated": False}),
        ("aé".encode(), 2, {"body": "a", "truncated": True}),
        (b"abc", 0, {"body": "", "truncated": True}),
        (b"a\0b", None, {"body": "a\0b", "truncated": False}),
        (b"\xff\0", None, {"body_base64": "/wA=", "truncated": False}),
        (b"\xff\0", 1, {"body_base64": "/w==", "truncated": True}),
        ("é".encode()[:1], None, {"body_base64": "ww==", "truncated": False}),
    ],
)
def test_bodies(ask: Asker, body: bytes, limit: int | None, expected: dict[str, object]) -> None:
    """Text where it is text, also when it is cut; base64 otherwise."""
    ask.client.send("/queue/a", body)
    fields = {} if limit is None else {"body_bytes": limit}
    (row,) = ask("browse", destination="a", **fields)["messages"]
    told = {name: row[name] for name in ("body", "body_base64", "truncated") if name in row}
    assert told == expected
    assert row["size"] == len(body)


def test_browse_without_bodies_and_by_selector(ask: Asker) -> None:
    """What is counted then is what the selector is true of."""
    publish(ask.client, "/queue/a", numbers(1, 3))
    publish(ask.client, "/queue/a", ["red"], colour="red")
    answer = ask("browse", destination="a", selector="colour = 'red'", headers_only=True)
    assert answer["total"] == 1
    assert "body" not in answer["messages"][0]
    assert ask.refused("browse", destination="a", selector="(")[0] == "bad-request"
    assert ask.refused("browse", destination="a", id="77")[0] == "not-found"


def test_what_is_in_the_store_is_shown() -> None:
    """Behind what is in memory, and it stays there."""
    core = PagedCore(settings(window_messages=2))
    ask = Asker(core)
    publish(ask.client, "/queue/a", numbers(1, 5))
    answer = ask("browse", destination="a")
    assert [row["body"] for row in answer["messages"]] == numbers(1, 5)
    assert (answer["total"], answer["next"], answer["more"]) == (5, None, None)
    assert "ready=5 unsettled=0 tail=3 " in core.queue("/queue/a")


def test_another_virtual_host() -> None:
    """Where it is named; otherwise that of the connection."""
    core = Core(settings(virtual_hosts=("/", "b")))
    ask = Asker(core)
    publish(core.client(host="b"), "/queue/a", ["there"])
    assert ask.bodies("a", vhost="b") == ["there"]
    assert ask.refused("browse", destination="a")[0] == "not-found"
    assert {row["vhost"] for row in ask("queues")} == {"/", "b"}
    assert [row["name"] for row in ask("queues", vhost="b")] == ["/queue/a"]
    for verb in ("connections", "subscriptions", "transactions", "topics", "durables", "dlq"):
        assert ask(verb, vhost="b") == [] or verb == "connections"
    assert ask.refused("queues", vhost="c") == ("not-found", 'there is no virtual host "c"')


# Lists.


def test_patterns(ask: Asker) -> None:
    """Names, with or without their kind, and patterns of them."""
    for name in ("/queue/a.b", "/queue/c", "/topic/a.b", "/topic/c", "/queue/$x"):
        publish(ask.client, name, ["x"])
    assert [row["name"] for row in ask("queues", match="a.*")] == ["/queue/a.b"]
    assert [row["name"] for row in ask("queues", match="/queue/#")] == ["/queue/a.b", "/queue/c"]
    assert "/queue/$x" in [row["name"] for row in ask("queues")]
    assert [row["name"] for row in ask("topics", match="c")] == ["/topic/c"]
    assert [row["name"] for row in ask("topics")] == ["/topic/a.b", "/topic/c"]
    ask.client.subscribe("/queue/a.b", id="1")
    ask.client.subscribe("/topic/c", id="2")
    ask.client.take()
    rows = ask("subscriptions", match="c", connection="c1")
    assert [row["id"] for row in rows] == ["2"]
    assert [row["id"] for row in ask("subscriptions", match="/queue/#")] == ["1"]
    assert ask("subscriptions", connection="c9") == []


def test_destinations(ask: Asker) -> None:
    """For completion: not what belongs to one connection."""
    publish(ask.client, "/queue/b", ["x"])
    publish(ask.client, "/topic/a", ["x"])
    assert ask("destinations") == [
        {"name": "/queue/b", "kind": "queue"},
        {"name": "/topic/a", "kind": "topic"},
    ]
    assert ask("destinations", prefix="/to") == [{"name": "/topic/a", "kind": "topic"}]


def test_users(core: Core, ask: Asker) -> None:
    """Those that are connected, each with how often."""
    for user in ("bob", "ann", "bob"):
        core.client().session.user = user
    assert ask("users") == [
        {"user": "ann", "connections": 1},
        {"user": "bob", "connections": 2},
    ]


def test_policies() -> None:
    """In their order, the built-in one behind them."""
    core = Core(settings({"/queue/a": Policy(max_messages=5), "/queue/#": Policy()}))
    rows = Asker(core)("policies")
    assert [row["match"] for row in rows] == ["/queue/a", "/queue/#", "#"]
    assert [row["max_messages"] for row in rows] == [5, None, None]
    assert PolicyRule("/queue/a", Policy(max_messages=5)) == core.broker.settings.policies.rules[0]


def test_dead_letters_are_counted_by_reason(core: Core, ask: Asker) -> None:
    """Of those that wait; what is no dead letter is told apart."""
    consumer = core.client()
    for name in ("/queue/a", "/queue/b"):
        consumer.subscribe(name, "client-individual", id=name)
        publish(ask.client, name, ["1"])
    for message in consumer.messages(2):
        consumer.nack(message, requeue="false")
    publish(ask.client, "/queue/DLQ.a", ["x"])
    rows = ask("dlq")
    assert [(row["name"], row["reasons"]) for row in rows] == [
        ("/queue/DLQ.a", {"none": 1, "rejected": 1}),
        ("/queue/DLQ.b", {"rejected": 1}),
    ]
    assert rows[0]["counted"] == 2
    publish(ask.client, "/queue/orphan.DLQ", ["x"])
    assert ask("requeue", destination="/queue/DLQ.b", to="/queue/DLQ.a") == done(1)
    row = ask("dlq")[0]
    assert (row["of"], row["sources"]) == ("/queue/a", ["/queue/a"])


def test_one_queue_of_dead_letters_for_several() -> None:
    """Then there are several sources, and no one that they are of."""
    core = Core(settings({"/queue/#": Policy(dead_letter="/queue/dead")}))
    ask = Asker(core)
    for name in ("/queue/a", "/queue/b", "/queue/dead"):
        publish(ask.client, name, ["1"])
    (row,) = ask("dlq")
    assert (row["of"], row["sources"]) == (None, ["/queue/a", "/queue/b"])


def test_where_a_dead_letter_comes_from_may_be_no_one_name() -> None:
    """A SEND to several destinations, of which one was a durable subscription's topic."""
    core = Core(settings({"/topic/#": Policy(dead_letter="/queue/dead")}))
    ask = Asker(core)
    consumer = core.client(client_id="me")
    consumer.subscribe("/topic/t", "client", durable="true", id="d")
    ask.client.send("/queue/x,/topic/t", "1")
    consumer.nack(consumer.one("MESSAGE"), requeue="false")
    row = next(row for row in ask("dlq") if row["name"] == "/queue/dead")
    assert row["ready"] == 1
    assert "/durable/me/d" in row["sources"]


def test_what_a_paused_connection_waits_for() -> None:
    """A queue by its name, a subscriber, a receipt."""
    core = Core(settings({"/queue/full": Policy(max_messages=1)}, outbox_high=1000))
    ask = Asker(core)
    slow, one, two = core.client(), core.client(), core.client()
    slow.subscribe("/topic/t", id="s")
    slow.reading = False
    publish(one, "/topic/t", ["x" * 600] * 3)
    publish(two, "/queue/full", ["1", "2"])
    paused = {row["id"]: row["paused_by"] for row in ask("connections") if row["paused"]}
    assert paused == {"c3": ["c2/s"], "c4": ["/queue/full"]}
    assert ask("status")["paused_producers"] == 2
    health = ask("health")
    assert [check["ok"] for check in health["checks"]] == [True, True, False, True]
    because = {row["id"]: row["paused_because"] for row in ask("connections") if row["paused"]}
    assert because == {
        "c3": ["the subscriber c2/s is slow"],
        "c4": ["/queue/full is full"],
    }
    assert "/queue/full" in health["checks"][2]["text"]


def test_a_connection_that_waits_for_a_receipt() -> None:
    """The store has not caught up."""
    core = PagedCore()
    ask = Asker(core)
    client = core.client()
    client.send("/queue/a", "x", persistent="true", receipt="1")
    client.subscribe("/queue/a", receipt="2")
    rows = {row["id"]: row["paused_by"] for row in ask("connections")}
    assert rows["c2"] == ["receipt"]
    assert ask("connections")[1]["paused_because"] == ["a RECEIPT waits for the disk"]


def test_connections_that_wait_for_memory_or_the_disk() -> None:
    """Each is told why, and so is who asks after a queue and the whole."""
    core = PagedCore(settings(memory_mark=2000))
    ask = Asker(core)
    light, heavy, reader = core.client(), core.client(), core.client()
    core.paging.congested = True
    heavy.send("/queue/a", "x", persistent="true")
    core.broker.room.full = False
    reader.session.wait_for(core.broker.loading)
    publish(light, "/queue/a", ["x" * 3000])
    core.broker.memory.check()
    light.send("/queue/a", "waits")
    because = {row["id"]: row["paused_because"] for row in ask("connections") if row["paused"]}
    assert because == {
        light.session.id: ["messages take as much memory as they may"],
        heavy.session.id: ["the disk is behind with what it has to write"],
        reader.session.id: ["what it asked for is being read from the disk"],
    }
    store = ask("status")["store"]
    assert (store["kind"], store["congested"], store["full"]) == ("memory", True, False)
    assert ask("health")["checks"][3]["text"].startswith("the disk is behind")
    codes = [reason["code"] for reason in ask("explain", destination="a")["reasons"]]
    assert "store-behind" in codes
    core.paging.full = True
    assert ask("status")["store"]["full"] is True
    assert ask("health")["checks"][3]["ok"] is False
    codes = [reason["code"] for reason in ask("explain", destination="a")["reasons"]]
    assert "disk-full" in codes


def test_what_the_owner_of_the_store_tells(core: Core, ask: Asker) -> None:
    """The file, its size, and how writing goes; the rest is for its log."""
    core.broker.store_status = lambda: {
        "engine": "sqlite",
        "path": "/somewhere",
        "file_bytes": 4096,
        "pending_bytes": 7,
        "commits": 2,
        "last_commit": 0.5,
        "starts": 1,
    }
    assert ask("status")["store"] == {
        "kind": "sqlite",
        "path": "/somewhere",
        "file_bytes": 4096,
        "pending_bytes": 7,
        "congested": False,
        "full": False,
        "commits": 2,
        "last_commit": 0.5,
    }


def test_times_of_the_server(core: Core, ask: Asker) -> None:
    """How long commits took and how late the loop was is the server's to tell; here nobody does."""
    none = {"count": 0, "seconds": 0.0, "max": 0.0, "buckets": {}}
    assert (ask("stats")["commit"], ask("stats")["loop"]) == (none, none)
    some = {"count": 2, "seconds": 0.5, "max": 0.4, "buckets": {"0.1": 1, "+Inf": 2}}
    core.broker.store_status = lambda: {"commit_latency": some}
    core.broker.loop_status = lambda: some
    assert (ask("stats")["commit"], ask("stats")["loop"]) == (some, some)


def test_ends_of_connections_are_counted(core: Core, ask: Asker) -> None:
    """Those that went, those that were not let in, and those that were sent an ERROR."""
    names = ("connections_opened", "connections_closed", "logins_refused", "errors")
    before = [ask("stats")[name] for name in names]
    core.client().close()
    core.client()("ACK", id="unknown")
    core.client().session.refuse("login refused", "nobody knows you")
    after = [ask("stats")[name] for name in names]
    changes = [now - then for now, then in zip(after, before, strict=True)]
    assert changes[0] == 3
    assert changes[1] >= 1
    assert changes[2:] == [1, 2]


def test_totals_never_fall(core: Core, ask: Asker) -> None:
    """What was counted in queues and topics that are gone still counts."""
    publish(ask.client, "/queue/a", numbers(1, 3))
    publish(ask.client, "/topic/t", numbers(1, 2))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual")
    first, second, *_ = consumer.messages(3)
    consumer.ack(first)
    consumer.nack(second, requeue="false")
    consumer.close()
    names = ("received", "settled", "expired", "dead_lettered", "redelivered")
    before = {name: ask("stats")[name] for name in names}
    assert before["received"] >= 5
    assert before["dead_lettered"] == 1
    ask("delete", destination="/queue/a")
    ask("delete", destination="/topic/t")
    after = {name: ask("stats")[name] for name in names}
    assert all(after[name] >= before[name] for name in names)


def test_the_oldest_of_all(core: Core, ask: Asker) -> None:
    """The broker's oldest message is that of the queue whose oldest is the oldest."""
    assert ask("stats")["oldest"] is None
    core.tick(1)
    publish(ask.client, "/queue/a", numbers(1, 1))
    core.tick(5)
    publish(ask.client, "/queue/b", numbers(1, 1))
    core.tick(1)
    ages = [row["oldest"] for row in ask("queues") if row["oldest"] is not None]
    assert ask("stats")["oldest"] == max(ages) > 0


def test_what_is_in_memory_and_what_in_the_store() -> None:
    """Counts and octets of both."""
    core = PagedCore(settings(window_messages=2))
    ask = Asker(core)
    publish(ask.client, "/queue/a", numbers(1, 5))
    (row,) = ask("queues", match="a")
    assert (row["memory_messages"], row["disk_messages"]) == (2, 3)
    assert row["memory_bytes"] + row["disk_bytes"] == row["bytes"]
    assert row["memory_bytes"] * 3 == row["disk_bytes"] * 2
    reasons = ask("explain", destination="a")["reasons"]
    assert [reason["count"] for reason in reasons if reason["code"] == "in-store"] == [3]


def test_health(ask: Asker) -> None:
    """All is well; without a mark for memory, that is said."""
    health = ask("health")
    assert health["ok"] is True
    assert health["checks"][1]["text"].endswith("; there is no mark")


def test_totals(core: Core, ask: Asker) -> None:
    """What has passed through since the start."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client-individual")
    publish(ask.client, "/queue/a", numbers(1, 3))
    first, second, third = consumer.messages(3)
    consumer.ack(first)
    consumer.nack(second, requeue="false")
    consumer.nack(third)
    consumer.take()
    consumer("BEGIN", transaction="t")
    row = ask("stats")
    assert (row["settled"], row["dead_lettered"], row["redelivered"]) == (1, 1, 1)
    assert (row["transactions"], row["unsettled"], row["messages"]) == (1, 1, 1)
    assert row["subscriptions"] == 2


def test_totals_only_ever_grow(core: Core, ask: Asker) -> None:
    """What went through a destination that is gone stays counted."""
    consumer = core.client(client_id="c")
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="2")
    consumer.subscribe("/topic/t", "client", durable="true", id="d")
    publish(ask.client, "/queue/a", numbers(1, 3))
    publish(ask.client, "/topic/t", numbers(1, 2))
    first, second, *_ = consumer.messages(4)
    consumer.ack(first)
    consumer.nack(second, requeue="false")
    consumer.close()
    before = ask("stats")
    assert before["received"] >= 3 + 2 + 2 + 1
    assert (before["dead_lettered"], before["redelivered"]) == (1, 3)
    for name in ("/queue/a", "/queue/DLQ.a", "/topic/t"):
        ask("delete", destination=name)
    ask("durable-rm", name="d", client_id="c")
    after = ask("stats")
    for name in ("received", "settled", "expired", "dead_lettered", "redelivered"):
        assert after[name] >= before[name], name


def test_the_version_is_told() -> None:
    """As CONNECTED names it."""
    row = Asker(Core(settings(server="stompd/1.2.3")))("status")
    assert (row["server"], row["version"]) == ("stompd/1.2.3", "1.2.3")


# Routes.


def test_routes_at_run_time(ask: Asker) -> None:
    """They count at once, and are gone at once; one without a name gets one."""
    assert ask("route-add", match="/queue/a", to=["/queue/b"]) == {**done(1), "name": "route-1"}
    assert ask("route-add", match="/queue/c.*", to=["/topic/{1}"], move=True, when="x = 1") == {
        **done(1),
        "name": "route-2",
    }
    publish(ask.client, "/queue/a", ["1"])
    assert ask.bodies("b") == ["1"]
    assert ask("routes")[1] == {
        "vhost": "/",
        "name": "route-2",
        "match": "/queue/c.*",
        "to": ["/topic/{1}"],
        "when": "x = 1",
        "move": True,
        "configured": False,
    }
    reached = ask("explain", destination="/queue/a")["goes_to"]
    assert [(row["destination"], row["routes"]) for row in reached] == [
        ("/queue/a", []),
        ("/queue/b", ["route-1"]),
    ]
    assert ask("route-rm", name="route-1") == done(1)
    publish(ask.client, "/queue/a", ["2"])
    assert ask.bodies("b") == ["1"]
    assert ask("route-add", name="mine", match="/queue/a", to=["b"])["name"] == "mine"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"match": "/queue/x", "to": []}, "bad-request"),
        ({"match": "/nowhere", "to": ["/queue/a"]}, "bad-request"),
        ({"match": "/queue/x", "to": ["/queue/{9}"]}, "bad-request"),
        ({"match": "/queue/x", "to": ["/queue/a"], "when": "("}, "bad-request"),
        ({"match": "/queue/x", "to": ["/queue/a"], "name": "taken"}, "conflict"),
    ],
)
def test_routes_that_cannot_be(ask: Asker, fields: dict[str, object], code: str) -> None:
    """And what is wrong with them is told."""
    ask("route-add", name="taken", match="/queue/t", to=["/queue/u"])
    assert ask.refused("route-add", **fields)[0] == code
    assert ask.refused("route-rm", name="none")[0] == "not-found"
    assert len(ask("routes")) == 1


def test_a_subscription_to_several_is_found_by_each_of_them(ask: Asker) -> None:
    """By any of the destinations that it names."""
    ask.client.subscribe("/queue/a,/topic/b", id="several")
    for match in ("a", "/queue/a", "/topic/*", "b"):
        assert [row["id"] for row in ask("subscriptions", match=match)] == ["several"], match
    assert ask("subscriptions", match="c") == []
