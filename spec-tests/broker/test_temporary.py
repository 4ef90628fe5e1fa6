"""Temporary destinations and reply-to: private to one connection, reachable for answers."""

import pytest
from broker.client import Client, Core, publish


def _request(core: Core, reply_to: str = "/temp-queue/answers") -> tuple[Client, str]:
    """Have a client send a request; return it, and the reply-to that the service saw."""
    client, service = core.client(), core.client()
    service.subscribe("/queue/service")
    client.send("/queue/service", "question", reply_to=reply_to)
    return client, service.messages(1)[0]["reply-to"]


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_reply_to_is_rewritten_and_subscribes_the_sender(core: Core, kind: str) -> None:
    """The service answers to a name of the broker's; the answer's subscription is the client's."""
    client, address = _request(core, f"/temp-{kind}/answers")
    assert address == f"/remote-temp-{kind}/{client.session.id}/answers"
    core.client().send(address, "answer", correlation_id="7")
    answer = client.messages(1)[0]
    assert answer.text == "answer"
    assert answer["subscription"] == f"/temp-{kind}/answers"
    assert answer["destination"] == address
    assert answer["correlation-id"] == "7"
    assert answer.get("ack") is None


def test_a_second_request_subscribes_no_second_time(core: Core) -> None:
    """One subscription serves all requests that name the same temporary destination."""
    client, address = _request(core)
    client.send("/queue/service", "again", reply_to="/temp-queue/answers")
    core.client().send(address, "answer")
    assert client.bodies() == ["answer"]
    assert "subscriptions=1" in repr(client.session)


def test_an_explicit_subscription_is_used(core: Core) -> None:
    """Who subscribed to the temporary destination gets the answers there, in its mode."""
    client, service = core.client(), core.client()
    client.subscribe("/temp-queue/answers", "client", id="mine")
    service.subscribe("/queue/service")
    client.send("/queue/service", reply_to="/temp-queue/answers", receipt="r")
    assert client.receipts() == ["r"]
    service.send(service.messages(1)[0]["reply-to"], "answer")
    answer = client.messages(1)[0]
    assert answer["subscription"] == "mine"
    assert answer["ack"]


def test_reply_to_within_a_transaction(core: Core) -> None:
    """The request goes out with COMMIT, its reply-to rewritten."""
    client, service = core.client(), core.client()
    service.subscribe("/queue/service")
    client("BEGIN", transaction="t")
    client.send("/queue/service", "q", reply_to="/temp-queue/answers", transaction="t")
    client("COMMIT", transaction="t")
    service.send(service.messages(1)[0]["reply-to"], "answer")
    assert client.bodies() == ["answer"]


def test_any_other_reply_to_is_a_header_like_others(core: Core) -> None:
    """A queue that everybody may read is named as it is."""
    client, address = _request(core, "/queue/answers")
    assert address == "/queue/answers"
    assert "subscriptions=0" in repr(client.session)


def test_temporary_names_belong_to_their_connection(core: Core) -> None:
    """Two connections that name the same temporary queue have two of them."""
    one, two = core.client(), core.client()
    one.subscribe("/temp-queue/a")
    two.subscribe("/temp-queue/a")
    for _ in range(3):
        one.send("/temp-queue/a", "1")
        two.send("/temp-queue/a", "2")
    assert [(m.text, m["destination"]) for m in one.messages()] == [("1", "/temp-queue/a")] * 3
    assert two.bodies() == ["2"] * 3


def test_a_temporary_queue_ends_with_its_connection(core: Core) -> None:
    """What is still sent to it is dropped, receipt included; nothing is made anew."""
    client, address = _request(core)
    service = core.client()
    service("BEGIN", transaction="t")
    service.send(address, "late", transaction="t")
    client.close()
    assert list(core.broker.host("/").queues) == ["/queue/service"]
    service("COMMIT", transaction="t", receipt="c")
    service.send(address, "too late", receipt="r")
    service.send(address, "even later")
    service("BEGIN", transaction="t")
    service.send(address, "last", transaction="t", receipt="s")
    service("COMMIT", transaction="t")
    assert service.receipts() == ["c", "r", "s"]
    assert core.broker.host("/").dropped == 3
    assert list(core.broker.host("/").queues) == ["/queue/service"]


def test_unread_answers_end_with_the_connection(core: Core) -> None:
    """Messages that wait in a temporary queue are dropped with it, acknowledged or not."""
    client, service = core.client(), core.client()
    client.subscribe("/temp-queue/a", "client", id="mine", prefetch_count="1")
    client.send("/queue/service", reply_to="/temp-queue/a")
    service.subscribe("/queue/service")
    address = service.messages(1)[0]["reply-to"]
    publish(service, address, ["1", "2", "3"])
    assert client.bodies() == ["1"]
    client.close()
    assert list(core.broker.host("/").queues) == ["/queue/service"]
    assert service.alive()


def test_a_temporary_topic(core: Core) -> None:
    """Its owner publishes and listens by its own name, others publish by the public one."""
    client = core.client()
    client.subscribe("/temp-topic/t")
    client.send("/temp-topic/t", "1")
    core.client().send(f"/remote-temp-topic/{client.session.id}/t", "2")
    assert client.bodies() == ["1", "2"]
    client.close()
    assert core.broker.host("/").topics == {}


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_nobody_else_listens_to_a_temporary_destination(core: Core, kind: str) -> None:
    """Its public name is for SEND; SUBSCRIBE to it is refused, by wildcard as well."""
    client, address = _request(core, f"/temp-{kind}/answers")
    for name in (address, f"/remote-temp-{kind}/#", f"/remote-temp-{kind}/*/answers"):
        spy = core.client()
        spy.subscribe(name)
        assert spy.error().command == "ERROR"
    core.client().send(address, "answer")
    assert client.bodies() == ["answer"]


@pytest.mark.parametrize("name", ["/temp-queue/a.*", "/temp-topic/#", "/temp-queue/a/>"])
def test_a_temporary_name_has_no_wildcards(core: Core, name: str) -> None:
    """A reply-to that nobody could answer to is refused at once, to its sender."""
    client = core.client()
    client.send("/queue/service", reply_to=name, receipt="r")
    assert client.error()["receipt-id"] == "r"
    client = core.client()
    client.subscribe(name)
    assert client.error()["subscription"] == "0"
    assert "/queue/service" not in core.broker.host("/").queues or (
        "ready=0" in core.queue("/queue/service")
    )


@pytest.mark.parametrize("octets", [1, 250, 255])
def test_the_longest_temporary_names(core: Core, octets: int) -> None:
    """A name of up to 255 octets can be answered to, as long as its public form is."""
    client, address = _request(core, "/temp-queue/" + "n" * octets)
    core.client().send(address, "answer")
    assert client.bodies() == ["answer"]


def test_reply_to_never_takes_another_subscriptions_id(core: Core) -> None:
    """A subscription whose id looks like the temporary name stays what it is."""
    client = core.client()
    client.subscribe("/queue/a", id="/temp-queue/x")
    client.send("/queue/service", reply_to="/temp-queue/x", receipt="r")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("subscription id in use", "r")


def test_a_message_of_a_temporary_queue_may_be_acknowledged_after_its_end(core: Core) -> None:
    """A transaction that settled it commits although queue and subscription are gone."""
    client = core.client()
    client.subscribe("/temp-queue/a", "client-individual", id="1")
    client.send("/temp-queue/a", "x")
    message = client.messages(1)[0]
    client("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client("UNSUBSCRIBE", id="1")
    client("COMMIT", transaction="t", receipt="c")
    assert client.receipts() == ["c"]
    client("DISCONNECT", receipt="d")
    assert client.receipts() == ["d"]
    assert core.broker.host("/").queues == {}


def test_octets_on_their_way_outlive_their_queue(core: Core) -> None:
    """A client that ends with unread answers leaves nothing behind."""
    client = core.client()
    client.subscribe("/temp-queue/a")
    client.reading = False
    client.send("/temp-queue/a", "x")
    client.close()
    assert core.broker.host("/").queues == {}
    client = core.client()
    client.subscribe("/temp-queue/a")
    client.reading = False
    client.send("/temp-queue/a", "x")
    client("DISCONNECT", receipt="d")
    client.read_again()
    assert [frame.command for frame in client.take()] == ["MESSAGE", "RECEIPT"]
    assert core.broker.host("/").queues == {}


def test_a_subscription_to_several_that_fails_leaves_nothing_behind() -> None:
    """Whatever comes before the one whose name is too long with its connection's before it."""
    core = Core()
    client = core.administrator()
    client.subscribe(f"/topic/$SYS/events/#,/queue/#,/temp-queue/{'x' * 319}")
    assert client.error()["message"] == "malformed destination name"
    host = core.broker.host("/")
    assert host.watchers == 0
    publish(core.client(), "/queue/new", ["x"])
    assert host.queues["/queue/new"].subscriptions == []
