"""Why nothing is delivered: each reason with the situation that it stands for."""

from collections.abc import Callable
from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.admin.errand import Reply
from stompd.broker.admin.request import Caller
from stompd.broker.admin.verbs import carry_out
from stompd.broker.policy import Policy
from stompd.broker.principal import Principal


class Explained:
    """What is told about a destination."""

    def __init__(self, asker: Asker, **fields: object) -> None:
        answer = asker("explain", **fields)
        self.answer = answer
        self.reasons: dict[str, dict[str, Any]] = {row["code"]: row for row in answer["reasons"]}

    @property
    def codes(self) -> list[str]:
        """The codes, in their order."""
        return [row["code"] for row in self.answer["reasons"]]

    def __getitem__(self, code: str) -> dict[str, Any]:
        return self.reasons[code]


@pytest.fixture
def ask(core: Core) -> Callable[..., Explained]:
    """Somebody who asks why."""
    asker = Asker(core)
    return lambda destination="/queue/a", **fields: Explained(
        asker, destination=destination, **fields
    )


def test_what_is_not_there(ask: Callable[..., Explained]) -> None:
    """It is told, with what a SEND would make."""
    told = ask("a")
    assert told.answer["destination"] == "/queue/a"
    assert told.codes == ["not-there"]
    assert told.answer["goes_to"] == [
        {
            "destination": "/queue/a",
            "kind": "queue",
            "routes": [],
            "topic": None,
            "exists": False,
            "subscriptions": 0,
        }
    ]
    assert ask("/topic/a").answer["kind"] == "topic"


def test_nothing_is_wrong(core: Core, ask: Callable[..., Explained]) -> None:
    """A consumer that takes what comes, and nothing that waits."""
    core.client().subscribe("/queue/a")
    core.client().subscribe("/topic/t")
    assert ask().codes == ["empty"]
    assert ask(headers={"x": "y"}).codes == []
    assert ask("/topic/t").codes == []


def test_nobody_is_there(core: Core, ask: Callable[..., Explained]) -> None:
    """Those who only look do not count."""
    publish(core.client(), "/queue/a", ["1"])
    assert ask().codes == ["no-consumer"]
    core.client().subscribe("/queue/a", browser="true", browser_end="false")
    assert "1 that only look" in ask()["no-consumer"]["text"]
    publish(core.client(), "/topic/t", ["1"])
    assert ask("/topic/t").codes == ["no-subscriber"]


def test_pausing_and_draining(core: Core, ask: Callable[..., Explained]) -> None:
    """Both keep everything."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["1"])
    queue = core.broker.host("/").queues["/queue/a"]
    queue.pause()
    publish(core.client(), "/queue/a", ["2"])
    assert ask().codes == ["paused", "in-flight"]


def test_no_credit_is_left(core: Core, ask: Callable[..., Explained]) -> None:
    """With who holds how many."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", id="s", prefetch_count="2")
    publish(core.client(), "/queue/a", numbers(1, 3))
    told = ask()
    assert told.codes == ["in-flight", "no-credit"]
    assert told["no-credit"] == {
        "code": "no-credit",
        "text": "c2/s holds 2 messages that it has not settled; its credit is 2 messages and "
        "4194304 octets",
        "connection": "c2",
        "subscription": "s",
        "count": 2,
    }


def test_a_consumer_that_does_not_read() -> None:
    """Its outbox is full."""
    core = Core(settings(outbox_high=1000))
    asker = Asker(core)
    consumer = core.client()
    consumer.subscribe("/queue/a")
    consumer.reading = False
    publish(core.client(), "/queue/a", ["x" * 600] * 3)
    told = Explained(asker, destination="/queue/a")
    assert told["outbox-full"]["count"] > 1000
    assert told["outbox-full"]["connection"] == "c2"


def test_a_full_queue() -> None:
    """Who waits for room, also where it is a consumer: its ACKs are not read."""
    core = Core(settings({"/queue/a": Policy(max_messages=1)}))
    asker = Asker(core)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    publish(consumer, "/queue/a", ["1", "2"])
    told = Explained(asker, destination="/queue/a")
    assert told["full"]["text"] == "it is full; producers wait for room: c2"
    assert "it waits for /queue/a" in told["paused-connection"]["text"]


def test_selectors(core: Core, ask: Callable[..., Explained]) -> None:
    """That match nothing that waits, or not the message, or not what would be sent."""
    consumer = core.client()
    consumer.subscribe("/queue/a", selector="colour = 'red'")
    publish(core.client(), "/queue/a", ["1"], colour="blue")
    assert ask()["selector"]["text"] == "c2/0 takes none of what waits: colour = 'red'"
    assert ask(id="1")["selector"]["text"] == "c2/0 takes no such message: colour = 'red'"
    core.client().subscribe("/queue/a", "client", selector="colour <> 'red'", prefetch_count="1")
    publish(core.client(), "/queue/a", ["2"], colour="blue")
    assert [row["connection"] for row in ask().answer["reasons"] if "connection" in row] == [
        "c2",
        "c4",
    ]
    assert "selector" in ask(headers={"colour": "green"}).codes
    assert ask(headers={"colour": "red"})["selector"]["connection"] == "c4"
    consumer.subscribe("/topic/t", id="t", selector="colour = 'red'")
    assert ask("/topic/t").codes == []
    assert ask("/topic/t", headers={"colour": "red"}).codes == []
    assert ask("/topic/t", headers={"colour": "blue"}).codes == ["selector"]


def test_an_exclusive_consumer(core: Core, ask: Callable[..., Explained]) -> None:
    """The others wait for it."""
    core.client().subscribe("/queue/a", "client", exclusive="true", prefetch_count="1")
    core.client().subscribe("/queue/a", id="o")
    publish(core.client(), "/queue/a", ["1", "2"])
    told = ask()
    assert told["exclusive"]["text"] == "c3/o waits: c2/0 has the queue for itself"
    assert told["no-credit"]["connection"] == "c2"


def test_groups(core: Core, ask: Callable[..., Explained]) -> None:
    """Those that belong to somebody."""
    core.client().subscribe("/queue/a", "client", prefetch_count="1")
    publisher = core.client()
    publish(publisher, "/queue/a", ["1", "2"], message_group="g")
    publish(publisher, "/queue/a", ["3"], message_group="h")
    publish(publisher, "/queue/a", ["4"], priority="2")
    told = ask()
    assert told["group"]["text"] == 'messages of group "g" wait for c2/0'
    assert told["group"]["name"] == "g"
    assert "group" in ask(id="2").codes
    assert "group" not in ask(id="3").codes


def test_what_is_not_due(core: Core, ask: Callable[..., Explained]) -> None:
    """How many, and when the next is."""
    publisher = core.client()
    for delay in ("9000", "5000"):
        publisher.send("/queue/a", "x", delay=delay)
        publisher.send("/topic/t", "x", delay=delay)
    told = ask()
    assert (told["delayed"]["count"], told["delayed"]["due"]) == (2, 5000)
    assert ask(id="1")["delayed"]["due"] == 9000
    assert ask(id="1")["delayed"]["text"] == "it is due in 9.000 s"
    assert ask("/topic/t")["delayed"]["count"] == 2
    assert ask("/topic/t")["delayed"]["text"] == "2 messages are not due yet"


def test_a_message(core: Core, ask: Callable[..., Explained]) -> None:
    """Behind others, in flight, gone; each is told where it is."""
    publisher = core.client()
    publish(publisher, "/queue/a", numbers(1, 3))
    assert ask(id="1").codes == ["no-consumer", "waits"]
    assert ask(id="3")["behind"]["count"] == 2
    assert ask(id="2")["behind"]["text"] == "1 message is before it"
    assert "`browse` tells" in ask(id="c2-1")["gone"]["text"]
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", id="s", prefetch_count="1")
    told = ask(id="1")
    assert told.codes == ["in-flight"]
    assert (told["in-flight"]["connection"], told["in-flight"]["subscription"]) == ("c3", "s")
    assert ask(id="9").codes == ["gone"]
    assert ask(id="x").codes == ["gone"]


def test_a_message_that_has_expired_and_waits(core: Core, ask: Callable[..., Explained]) -> None:
    """Nobody has looked at it yet."""
    core.client().send("/queue/a", "x", ttl="1000")
    core.broker.now = core.now = 2.0
    assert "expired" in ask(id="1").codes


def test_a_message_that_is_in_the_store_only() -> None:
    """It is found there, and what keeps it is told as of any other."""
    core = PagedCore(settings(window_messages=1))
    asker = Asker(core)
    publish(core.client(), "/queue/a", numbers(1, 3))
    codes = Explained(asker, destination="a", id="3").codes
    assert codes == ["in-store", "no-consumer", "waits"]
    assert core.paging.asked == []
    assert Explained(asker, destination="a", id="4").codes == ["gone"]
    assert Explained(asker, destination="a", id="9" * 5000).codes == ["gone"]


def test_what_an_aborted_consumer_enlisted_is_in_flight(core: Core) -> None:
    """As long as the transaction is open that its subscription left behind."""
    asker = Asker(core)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", id="s")
    consumer.subscribe("/queue/b", "client", id="b")
    publish(core.client(), "/queue/a", ["1", "2"])
    publish(core.client(), "/queue/b", ["1"])
    consumer("BEGIN", transaction="t")
    for message in consumer.messages(3):
        if message.text != "2":
            consumer.ack(message, transaction="t")
    assert Explained(asker, destination="a", id="1").codes == ["in-flight"]
    consumer("UNSUBSCRIBE", id="s")
    consumer("UNSUBSCRIBE", id="b")
    assert Explained(asker, destination="a", id="1").codes == ["in-flight"]
    assert "waits" in Explained(asker, destination="a", id="2").codes
    states = {
        row["id"]: row["state"] for row in asker("browse", destination="/queue/a")["messages"]
    }
    assert states == {"1": "inflight", "2": "ready"}


def test_dead_letters(core: Core, ask: Callable[..., Explained]) -> None:
    """That is what such a queue is for."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["1"])
    consumer.nack(consumer.one("MESSAGE"), requeue="false")
    assert ask("/queue/DLQ.a").codes == ["dead-letters", "no-consumer"]


def test_a_slow_subscriber_of_a_topic() -> None:
    """What is held for it, and who waits; then what is dropped."""
    core = Core(settings(outbox_high=1000, slow_consumer="drop-oldest", slow_consumer_grace=1.0))
    asker = Asker(core)
    slow, publisher = core.client(), core.client()
    slow.subscribe("/topic/t")
    slow.reading = False
    publish(publisher, "/topic/t", ["x" * 600] * 3)
    assert "producers wait" in Explained(asker, destination="/topic/t")["slow"]["text"]
    publisher.close()
    assert Explained(asker, destination="/topic/t")["slow"]["text"].endswith("wait for room")
    core.tick(2)
    publish(core.client(), "/topic/t", ["x" * 600] * 9)
    assert "were dropped" in Explained(asker, destination="/topic/t")["slow"]["text"]


def test_a_broker_that_stops(core: Core) -> None:
    """It delivers nothing more, replies included; whoever comes another way is told."""
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    publish(core.client(), "/queue/a", ["1", "2"])
    core.broker.drain()
    core.run()
    caller = Caller(core.broker.host("/"), "", "ann", Principal(trusted=True))
    replies: list[Reply] = []
    carry_out(caller, "explain", b'{"destination":"/queue/a"}', replies.append)
    carry_out(caller, "health", b"", replies.append)
    told, health = (reply["result"] for reply in replies)
    codes = [reason["code"] for reason in told["reasons"]]
    assert codes == ["draining", "in-flight", "no-deliveries"]
    assert health["ok"] is False
    assert health["checks"][0] == {"name": "running", "ok": False, "text": "the broker stops"}


def test_a_durable_subscription(core: Core, ask: Callable[..., Explained]) -> None:
    """By the name of its queue, which nobody can SEND to."""
    consumer = core.client(client_id="me")
    consumer.subscribe("/topic/t", durable="true", id="d")
    consumer.close()
    publish(core.client(), "/topic/t", ["1"])
    told = ask("/durable/me/d")
    assert told.codes == ["no-consumer"]
    assert told.answer["goes_to"] == []
    assert [row["destination"] for row in ask("/topic/t").answer["goes_to"]] == [
        "/topic/t",
        "/durable/me/d",
    ]


def test_questions_that_make_no_sense(core: Core) -> None:
    """Patterns, private names, messages of topics."""
    asker = Asker(core)
    assert asker.refused("explain", destination="/queue/*")[0] == "bad-request"
    assert asker.refused("explain", destination="/temp-queue/x")[0] == "bad-request"
    assert asker.refused("explain", destination="/topic/t", id="1")[0] == "not-found"
    assert asker.refused("explain", destination="/durable/x")[0] == "not-found"


def test_a_destination_that_takes_no_send(ask: Callable[..., Explained]) -> None:
    """What the ERROR would say stands where it would go."""
    (row,) = ask("/topic/$SYS/events/x").answer["goes_to"]
    assert row["refused"].startswith("SEND to the broker's own topic: ")
