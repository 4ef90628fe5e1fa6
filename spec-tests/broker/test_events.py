"""What the broker tells on /topic/$SYS: events, and statistics once a second."""

import json
from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Client, Core, publish, settings
from jsonschema import Draft202012Validator

from stompd.broker.admin.told import EVENTS, STATISTICS
from stompd.broker.policy import Policy, SessionLimits
from stompd.broker.session import CloseReason


class Watcher:
    """Somebody who listens to events; each is held against its schema."""

    def __init__(self, core: Core, kind: str = "#") -> None:
        core.broker.observe()
        self.client = core.administrator()
        self.client.subscribe(f"/topic/$SYS/events/{kind}")
        self.events()

    def events(self) -> list[dict[str, Any]]:
        """Return the events since the last look, without their time."""
        found = []
        for message in self.client.messages():
            event = json.loads(message.body)
            kind = event["event"]
            assert message["destination"] == f"/topic/$SYS/events/{kind}"
            assert message["content-type"] == "application/json"
            Draft202012Validator(EVENTS[kind][1]).validate(event)
            del event["time"]
            found.append(event)
        return found

    def one(self) -> dict[str, Any]:
        """Return the one event since the last look."""
        (event,) = self.events()
        return event


# Connections.


def test_who_comes_and_goes() -> None:
    """With who it is; when it was in milliseconds since 1970."""
    core = Core(epoch=1_000_000.0)
    watcher = Watcher(core)
    core.tick(2.5)
    client = core.client("1.1", client_id="me")
    message = watcher.client.one("MESSAGE")
    event = json.loads(message.body)
    assert event == {
        "event": "connected",
        "time": 1_000_002_500,
        "connection": "c2",
        "peer": "test",
        "user": None,
        "client_id": "me",
        "version": "1.1",
    }
    Draft202012Validator(EVENTS["connected"][1]).validate(event)
    client.close()
    assert watcher.one() == {
        "event": "disconnected",
        "connection": "c2",
        "peer": "test",
        "user": None,
        "client_id": "me",
        "reason": "closed by peer",
    }


def test_who_never_logged_in_does_not_leave(core: Core) -> None:
    """But who was not let in is told of."""
    watcher = Watcher(core)
    Client(core).close()
    assert watcher.events() == []
    stranger = Client(core)
    stranger.session.login = None
    stranger._decoder.begin("1.2")  # noqa: SLF001 - the test stands in for the server
    stranger.session.refuse("login refused", "no")
    core.run()
    assert watcher.one()["event"] == "login-failed"


def test_a_failed_login_tells_the_user(core: Core) -> None:
    """Who somebody said to be, and nothing of the passcode."""
    watcher = Watcher(core)
    stranger = Client(core)
    stranger.session.connect(*_connect("eve", "secret"))
    stranger.session.refuse("login refused", "no")
    core.run()
    event = watcher.one()
    assert (event["event"], event["user"]) == ("login-failed", "eve")
    assert "secret" not in str(event)


def _connect(login: str, passcode: str) -> Any:  # noqa: ANN401 - a frame
    from stompd.protocol.frame import Head  # noqa: PLC0415 - only here

    return Head.of(
        "CONNECT",
        {"accept-version": "1.2", "host": "/", "login": login, "passcode": passcode},
    ), b""


def test_a_client_id_is_taken_over(core: Core) -> None:
    """By whom, and then the other one is gone."""
    watcher = Watcher(core)
    core.client(client_id="me")
    watcher.events()
    core.client(client_id="me")
    events = watcher.events()
    assert events[0] == {"event": "taken-over", "connection": "c2", "by": "c3", "client_id": "me"}
    assert sorted(event["event"] for event in events[1:]) == ["connected", "disconnected"]
    assert [e["reason"] for e in events if e["event"] == "disconnected"] == ["taken over"]


def test_subscriptions(core: Core) -> None:
    """Their begin, behind the receipt; their end, for whatever reason."""
    client = core.client()
    watcher = Watcher(core, "*")
    client.subscribe("/topic/a", "client", id="s")
    expected = {
        "connection": "c1",
        "user": None,
        "subscription": "s",
        "destination": "/topic/a",
    }
    assert watcher.one() == {"event": "subscribed", **expected, "ack": "client"}
    client("UNSUBSCRIBE", id="s")
    assert watcher.one() == {"event": "unsubscribed", **expected}
    client.subscribe("/topic/a", id="s")
    client("DISCONNECT")
    assert [event["event"] for event in watcher.events()] == [
        "subscribed",
        "unsubscribed",
        "disconnected",
    ]


def test_a_watcher_is_told_of_its_own_subscription_behind_the_receipt(core: Core) -> None:
    """Nothing of a subscription comes before its RECEIPT; and nothing behind DISCONNECT's."""
    client = core.administrator()
    client.subscribe("/topic/$SYS/events/#", receipt="r")
    assert [frame.command for frame in client.take()] == ["RECEIPT", "MESSAGE"]
    client("DISCONNECT", receipt="d")
    assert [frame.command for frame in client.take()] == ["RECEIPT"]


def test_a_reply_to_subscribes(core: Core) -> None:
    """A temporary destination that was not subscribed to before."""
    watcher = Watcher(core, "subscribed")
    core.client().send("/queue/a", "x", reply_to="/temp-queue/r")
    assert watcher.one()["destination"] == "/temp-queue/r"


def test_limits(core: Core) -> None:
    """Whoever goes over one, or waits at one."""
    core = Core(
        settings(
            {"/queue/full": Policy(max_messages=1)},
            limits=SessionLimits(subscriptions=1, receipt=4),
        )
    )
    watcher = Watcher(core, "limit")
    many = core.client()
    many.subscribe("/queue/a")
    many.subscribe("/queue/b", id="1")
    assert many.error()["message"] == watcher.one()["limit"] == "too many subscriptions"
    core.client().send("/queue/a", "x", receipt="12345")
    assert watcher.one()["limit"] == "receipt over the limit"
    publish(core.client(), "/queue/full", ["1", "2"])
    publish(core.client(), "/queue/full", ["3"])
    event = watcher.one()
    assert (event["limit"], event["connection"]) == ("/queue/full is full", "c4")
    core.client().send("/nowhere", "x")
    assert watcher.events() == []


def test_a_slow_consumer() -> None:
    """When its grace begins, with what comes then; the watcher itself may be the slow one."""
    core = Core(settings(outbox_high=2000, slow_consumer_grace=1.0))
    watcher = Watcher(core, "slow-consumer")
    slow = core.client()
    slow.subscribe("/topic/t", id="s")
    slow.reading = False
    publish(core.client(), "/topic/t", ["x" * 1000] * 3)
    assert watcher.one() == {
        "event": "slow-consumer",
        "connection": "c2",
        "user": None,
        "subscription": "s",
        "destination": "/topic/t",
        "then": "close",
    }


# Destinations and messages.


def test_queues_come_and_go(core: Core) -> None:
    """Those of clients, and temporary ones with their owner."""
    watcher = Watcher(core, "*")
    asker = Asker(core)
    watcher.events()
    publish(asker.client, "/queue/a", ["x"])
    assert watcher.one() == {"event": "queue-created", "queue": "/queue/a", "connection": None}
    asker("delete", destination="/queue/a")
    events = watcher.events()
    assert events[0]["connection"] == "c2"
    assert {event["event"] for event in events} == {
        "queue-created",
        "subscribed",
        "queue-deleted",
        "acted",
    }
    assert events[-1] == {
        "event": "acted",
        "verb": "delete",
        "connection": "c2",
        "user": None,
        "ok": True,
    }


def test_nobody_takes_what_waits(core: Core) -> None:
    """Told once, within a second; and again when somebody has been there."""
    watcher = Watcher(core, "no-consumer")
    publisher = core.client()
    publish(publisher, "/queue/a", ["1", "2"])
    core.tick(1)
    assert watcher.one() == {"event": "no-consumer", "queue": "/queue/a", "ready": 2}
    publish(publisher, "/queue/a", ["3"])
    core.tick(1)
    assert watcher.events() == []
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    core.tick(1)
    consumer.close()
    core.tick(1)
    assert watcher.one()["ready"] == 3


def test_dead_letters_may_wait_alone(core: Core) -> None:
    """Nobody has to be there; that they are is told by other means."""
    watcher = Watcher(core, "no-consumer")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["1"])
    consumer.nack(consumer.one("MESSAGE"), requeue="false")
    core.tick(1)
    assert watcher.events() == []


@pytest.mark.parametrize("dead_letter", ["/queue/dead", None])
def test_dead_letters(dead_letter: str | None) -> None:
    """With why, and where they went."""
    core = Core(settings({"/queue/a": Policy(dead_letter=dead_letter)}))
    watcher = Watcher(core, "dead-lettered")
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["1"])
    consumer.nack(consumer.one("MESSAGE"), requeue="false", reason="broken")
    assert watcher.one() == {
        "event": "dead-lettered",
        "queue": "/queue/a",
        "id": "1",
        "reason": "rejected",
        "detail": "broken",
        "attempts": 1,
        "to": dead_letter,
    }


@pytest.mark.parametrize("expired", ["drop", "dead-letter"])
def test_messages_expire(expired: Any) -> None:  # noqa: ANN401 - a literal
    """Whether they are dropped then or not."""
    core = Core(settings({"/queue/a": Policy(expired=expired)}))
    watcher = Watcher(core, "#")
    core.client().send("/queue/a", "x", ttl="1000")
    watcher.events()
    core.tick(2)
    events = watcher.events()
    assert {"event": "expired", "queue": "/queue/a", "id": "1"} in events
    letters = [event for event in events if event["event"] == "dead-lettered"]
    assert len(letters) == (expired == "dead-letter")
    row = Asker(core)("queues", match="a")[0]
    assert (row["expired"], row["dead_lettered"], row["settled"]) == (1, len(letters), 0)


def test_what_has_expired_already(core: Core) -> None:
    """It came, and expired."""
    core.tick(5)
    core.client().send("/queue/a", "x", expires="1")
    row = Asker(core)("queues", match="a")[0]
    assert (row["received"], row["expired"], row["settled"]) == (1, 1, 0)


def test_headers_that_have_no_effect(core: Core) -> None:
    """Each once for a connection."""
    watcher = Watcher(core, "unhonoured")
    client = core.client()
    for _ in range(2):
        client.subscribe("/queue/a", id="1", transformation="jms-xml")
        client("UNSUBSCRIBE", id="1")
    assert watcher.one() == {
        "event": "unhonoured",
        "connection": "c2",
        "headers": ["transformation"],
    }


def test_events_stay_in_their_virtual_host() -> None:
    """Who listens elsewhere hears nothing of it."""
    core = Core(settings(virtual_hosts=("/", "b")))
    watcher = Watcher(core)
    publish(core.client(host="b"), "/queue/a", ["x"])
    assert watcher.events() == []


def test_every_kind_has_a_test() -> None:
    """A kind that nothing here or elsewhere hears of is a kind that may not be told."""
    tested = {
        *("connected", "disconnected", "login-failed", "taken-over", "subscribed", "unsubscribed"),
        *("slow-consumer", "queue-created", "queue-deleted", "no-consumer", "dead-lettered"),
        *("expired", "limit", "unhonoured", "acted"),
        # In test_memory_mark.
        *("producers-paused", "producers-resumed"),
    }
    assert set(EVENTS) == tested


# Who may listen.


@pytest.mark.parametrize(
    "name", ["/topic/$SYS/events/#", "/topic/$SYS/tap", "/topic/$SYS", "/topic/a,/topic/$SYS/tap"]
)
def test_who_is_not_trusted_may_not_listen(core: Core, name: str) -> None:
    """The ERROR names the right and the destination."""
    client = core.client(client_id="me")
    client.subscribe(name)
    error = client.error()
    assert error["message"] == "access refused"
    assert error.text == f'{name.removeprefix("/topic/a,")} needs the right "monitor"\n'


# Statistics.


def test_statistics_come_once_a_second(core: Core) -> None:
    """While somebody listens, what it listens to; each fits its schema."""
    core.broker.observe()
    client = core.administrator()
    client.subscribe("/topic/$SYS/stats/#")
    client.subscribe("/queue/none", id="n")
    publish(client, "/queue/a", ["1", "2"])
    publish(client, "/topic/t", ["1"])
    core.tick(1)
    told = {}
    for message in client.messages(3):
        value = json.loads(message.body)
        name = message["destination"].removeprefix("/topic/$SYS/stats/")
        Draft202012Validator(STATISTICS[name][1]).validate(value)
        told[name] = value
    assert told["broker"]["received"] >= 3
    assert told["broker"]["messages"] == 2
    (queue,) = told["queues"]["queues"]
    assert (queue["name"], queue["ready"], queue["in_rate"]) == ("/queue/a", 2, 2.0)
    assert [row["id"] for row in told["connections"]["connections"]] == ["c1"]
    client("UNSUBSCRIBE", id="0")
    core.tick(1)
    assert client.take() == []


def test_a_queue_that_is_empty_again_is_told_of_once_more(core: Core) -> None:
    """With what has left it."""
    core.broker.observe()
    client = core.administrator()
    client.subscribe("/topic/$SYS/stats/queues")
    publish(client, "/queue/a", ["1"])
    core.tick(1)
    client.subscribe("/queue/a", id="a")
    rates = []
    for _ in range(3):
        core.tick(1)
        for frame in client.take():
            if frame.get("content-type"):
                rows = json.loads(frame.body)["queues"]
                rates.append([(row["ready"], row["out_rate"]) for row in rows])
    assert rates == [[(1, 0.0)], [(0, 1.0)], [], []]


def test_reasons_of_events_are_those_of_the_log() -> None:
    """The words of `CloseReason`."""
    core = Core()
    watcher = Watcher(core, "disconnected")
    for reason in CloseReason:
        core.client().close(reason)
        assert watcher.one()["reason"] == reason.value
