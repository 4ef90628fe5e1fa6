"""What SEND and SUBSCRIBE ask of the queue that they make, in RabbitMQ's words."""

import pytest
from broker.client import Client, Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.policy import Policy
from stompd.broker.queue import Queue

QUEUE = "/queue/a"


def _queue(core: Core, name: str = QUEUE) -> Queue:
    return core.broker.host("/").queues[name]


def _names(core: Core) -> set[str]:
    return set(core.broker.host("/").queues)


def _told(client: Client) -> list[str]:
    """Return the headers that had no effect, as the broker noted them."""
    return list(client.session.unhonoured)


# Length.


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_a_length_drops_what_is_oldest(core: Core, command: str) -> None:
    """As in RabbitMQ, unless the client says otherwise; dropped ones are dead letters."""
    client = core.client()
    if command == "SEND":
        client.send(QUEUE, "0", x_max_length="2")
    else:
        client.subscribe(QUEUE, x_max_length="2")
        client("UNSUBSCRIBE", id="0")
    publish(client, QUEUE, numbers(1, 4))
    assert not client.session.paused
    client.subscribe(QUEUE)
    assert client.bodies() == ["3", "4"]
    client.subscribe("/queue/DLQ.a", id="1")
    letters = client.messages()
    assert [letter.text for letter in letters] == [*(["0"] if command == "SEND" else []), "1", "2"]
    assert {letter["dead-letter-reason"] for letter in letters} == {"overflow"}
    assert _told(client) == []


def test_octets(core: Core) -> None:
    """``x-max-length-bytes`` counts what the policy's limit counts."""
    client = core.client()
    client.send(QUEUE, "1" * 400, x_max_length_bytes="1000")
    publish(client, QUEUE, ["2" * 400, "3" * 400])
    client.subscribe(QUEUE)
    assert [body[0] for body in client.bodies()] == ["2", "3"]


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx", "Reject-Publish"])
def test_a_length_may_reject(core: Core, overflow: str) -> None:
    """The SEND that is too much gets an ERROR."""
    client = core.client()
    publish(client, QUEUE, numbers(1, 2), x_max_length="2", x_overflow=overflow)
    publish(client, QUEUE, ["3"])
    assert client.error()["message"] == "queue is full"


def test_a_policy_is_never_exceeded() -> None:
    """A client lowers limits, it does not raise them."""
    core = Core(settings(max_messages=10, max_bytes=5000, max_age=60.0))
    client = core.client()
    headers = {"x-max-length": "1000000", "x-message-ttl": "3600000"}
    client.send(QUEUE, "x", **headers)
    policy = _queue(core).policy
    assert (policy.max_messages, policy.max_bytes, policy.max_age) == (10, 5000, 60.0)
    assert policy.overflow == "drop-head"
    headers = {"x-max-length": "3", "x-max-length-bytes": "999", "x-message-ttl": "500"}
    client.send("/queue/b", "x", **headers)
    policy = _queue(core, "/queue/b").policy
    assert (policy.max_messages, policy.max_bytes, policy.max_age) == (3, 999, 0.5)


# Time.


def test_a_ttl_for_all_messages(core: Core) -> None:
    """They are dropped when it is over, and told nobody."""
    client = core.client()
    client.send(QUEUE, "1", x_message_ttl="5000")
    core.tick(4.0)
    publish(client, QUEUE, ["2"])
    core.tick(1.0)
    client.subscribe(QUEUE)
    assert client.bodies() == ["2"]
    assert QUEUE in _names(core)
    assert "/queue/DLQ.a" not in _names(core)


def test_an_unused_queue_goes(core: Core) -> None:
    """``x-expires`` after it was empty and without subscribers; never with what it holds."""
    client = core.client()
    client.send(QUEUE, "x", x_expires="2000")
    for _ in range(10):
        core.tick(2.0)
    client.subscribe(QUEUE)
    assert client.bodies() == ["x"]
    for _ in range(10):
        core.tick(2.0)
    assert QUEUE in _names(core)
    client("UNSUBSCRIBE", id="0")
    core.tick(2.0)
    core.tick(2.0)
    assert QUEUE not in _names(core)


def test_a_queue_that_the_policy_keeps_is_kept() -> None:
    """An administrator pinned it."""
    core = Core(settings({QUEUE: Policy(auto_delete_after=None)}))
    client = core.client()
    client.subscribe(QUEUE, x_expires="1000")
    client("UNSUBSCRIBE", id="0")
    for _ in range(5):
        core.tick(1000.0)
    assert QUEUE in _names(core)


def test_a_short_time_does_not_keep_the_broker_busy() -> None:
    """A queue that is in use is looked at once a second, however short its time is."""
    core = Core(settings(auto_delete_after=0.0))
    client = core.client()
    client.subscribe(QUEUE)
    publish(client, "/queue/b", ["x"])
    for _ in range(3):
        due = core.tick()
        assert due is not None
        assert due >= core.now + 0.9
        core.tick(1.0)
    assert _names(core) == {QUEUE, "/queue/b"}
    client.subscribe("/queue/b", id="1")
    client("UNSUBSCRIBE", id="0")
    client("UNSUBSCRIBE", id="1")
    core.tick(1.0)
    core.tick(1.0)
    assert _names(core) == set()
    publish(client, "/topic/a", ["x"])
    core.tick(1.0)
    core.tick(1.0)
    assert not core.broker.host("/").topics


def test_asking_for_another_time_leaves_one_timer(core: Core) -> None:
    """What was waited for before is forgotten when it rings."""
    client = core.client()
    client.subscribe(QUEUE, x_expires="1000000")
    client("UNSUBSCRIBE", id="0")
    core.tick(300.0)
    core.tick(300.0)
    assert QUEUE in _names(core)
    core.tick(400.0)
    core.tick(1000.0)
    assert QUEUE not in _names(core)
    assert core.tick() is None


# auto-delete.


@pytest.mark.parametrize("way", ["unsubscribe", "disconnect", "break"])
def test_auto_delete(core: Core, way: str) -> None:
    """The queue goes with its last subscriber, and what it holds with it, as in RabbitMQ."""
    one, two = core.client(), core.client()
    for client in (one, two):
        client.subscribe(QUEUE, "client", auto_delete="true", prefetch_count="1")
    publish(core.client(), QUEUE, numbers(1, 4))
    one.close()
    assert QUEUE in _names(core)
    if way == "unsubscribe":
        two("UNSUBSCRIBE", id="0")
    elif way == "disconnect":
        two("DISCONNECT")
    else:
        two.close()
    assert QUEUE not in _names(core)
    late = core.client()
    late.subscribe(QUEUE)
    assert late.bodies() == []


def test_auto_delete_needs_a_subscriber_to_have_been_there(core: Core) -> None:
    """One that only got messages waits for its first; browsers and wildcards are none."""
    client, looker = core.client(), core.client()
    client.send(QUEUE, "x", auto_delete="true")
    looker.subscribe(QUEUE, browser="true")
    looker("UNSUBSCRIBE", id="0")
    looker.subscribe("/queue/*", "client", id="1")
    looker("UNSUBSCRIBE", id="1")
    assert QUEUE in _names(core)
    client.subscribe(QUEUE, "client")
    looker.subscribe(QUEUE, browser="true", browser_end="false")
    looker.subscribe("/queue/*", "client", id="1")
    client("UNSUBSCRIBE", id="0")
    assert QUEUE not in _names(core)
    looker("UNSUBSCRIBE", id="0")
    publish(client, QUEUE, ["y"])
    assert "y" in looker.take()[-1].text


def test_two_subscriptions_of_one_connection_end_it_once(core: Core) -> None:
    """It is gone after the last of them."""
    client = core.client()
    client.subscribe(QUEUE, id="0", auto_delete="true")
    client.subscribe(QUEUE, id="1", auto_delete="true")
    client.subscribe("/queue/b", id="2")
    client.close()
    assert _names(core) == {"/queue/b"}


def test_a_temporary_queue_goes_with_its_connection(core: Core) -> None:
    """And with nothing else: others may know its name."""
    client = core.client()
    client.subscribe("/temp-queue/a", auto_delete="true")
    client("UNSUBSCRIBE", id="0")
    assert len(_names(core)) == 1
    client.close()
    assert _names(core) == set()


def test_the_store_forgets_it() -> None:
    """With what was outstanding, which is settled by nobody afterwards."""
    core = PagedCore()
    client = core.client()
    client.subscribe(QUEUE, "client-individual", auto_delete="true")
    publish(client, QUEUE, numbers(1, 3), persistent="true")
    messages = client.messages(3)
    client("BEGIN", transaction="t")
    client.ack(messages[0], transaction="t")
    client.nack(messages[1], transaction="t")
    client.nack(messages[2], transaction="t", requeue="false")
    client("UNSUBSCRIBE", id="0")
    assert core.paging.count == 0
    client("COMMIT", transaction="t")
    assert {key[1]: len(kept) for key, kept in core.paging.kept.items()} == {"/queue/DLQ.a": 1}


# Dead letters.


def test_the_queue_for_dead_letters(core: Core) -> None:
    """Rejected and expired ones go there; a bare name is a queue."""
    client = core.client()
    client.send(QUEUE, "1", x_dead_letter_routing_key="bin", x_message_ttl="1000")
    client.subscribe(QUEUE, "client")
    client.nack(client.messages(1)[0], requeue="false")
    client("UNSUBSCRIBE", id="0")
    publish(client, QUEUE, ["2"])
    core.tick(1.0)
    client.subscribe("/queue/bin", id="1")
    assert [(m.text, m["dead-letter-reason"]) for m in client.messages(2)] == [
        ("1", "rejected"),
        ("2", "expired"),
    ]


@pytest.mark.parametrize("name", ["/topic/a", "bin.*", "/temp-queue/a", "/other/x", "/queue/"])
def test_a_name_that_can_have_no_dead_letters_is_reported(core: Core, name: str) -> None:
    """The other settings count; dead letters go where the policy says."""
    client = core.client()
    client.subscribe(QUEUE, "client", x_dead_letter_routing_key=name, x_max_length="2")
    assert _told(client) == ["x-dead-letter-routing-key"]
    assert _queue(core).policy.max_messages == 2
    publish(client, QUEUE, ["x"])
    client.nack(client.messages(1)[0], requeue="false")
    client.subscribe("/queue/DLQ.a", id="1")
    assert client.bodies() == ["x"]


def test_a_queue_that_retries(core: Core) -> None:
    """RabbitMQ's way to wait: rejected to a queue with a ttl, which hands back what expires."""
    worker, reader = core.client(), core.client()
    worker.subscribe("/queue/wait", id="w", x_message_ttl="5000", x_dead_letter_routing_key="work")
    worker("UNSUBSCRIBE", id="w")
    worker.subscribe("/queue/work", "client", x_dead_letter_routing_key="wait")
    publish(worker, "/queue/work", ["x"])
    for _ in range(3):
        (message,) = worker.messages(1)
        worker.nack(message, requeue="false")
        assert worker.messages() == []
        core.tick(5.0)
    (message,) = worker.messages(1)
    assert (message["dead-letter-reason"], message["original-destination"]) == (
        "expired",
        "/queue/wait",
    )
    # What fails for good is still noticed.
    for _ in range(5):
        worker.nack(message)
        (message,) = worker.messages() or (message,)
    reader.subscribe("/queue/wait", browser="true")
    assert reader.messages()[0].text == "x"


def test_two_full_queues_do_not_throw_a_message_to_and_fro(core: Core) -> None:
    """What overflows twice is dropped."""
    client = core.client()
    for one, other in (("a", "b"), ("b", "a")):
        client.send(f"/queue/{one}", f"{one}1", x_max_length="1", x_dead_letter_routing_key=other)
    publish(client, "/queue/a", ["a2", "a3"])
    client.subscribe("/queue/a", id="a")
    client.subscribe("/queue/b", id="b")
    assert client.bodies() == ["a3", "a2"]


def test_two_full_queues_change_their_messages_one_after_the_other(core: Core) -> None:
    """However many they hold, one more is taken, and each message comes out once at most."""
    client = core.client()
    for one, other in (("a", "b"), ("b", "a")):
        headers = {"x_max_length": "500", "x_dead_letter_routing_key": other}
        client.send(f"/queue/{one}", f"{one}1", **headers)
        publish(client, f"/queue/{one}", [f"{one}{number}" for number in range(2, 501)])
    client.send("/queue/a", "last", receipt="r")
    assert client.receipts() == ["r"]
    client.subscribe("/queue/a", id="a")
    client.subscribe("/queue/b", id="b")
    bodies = client.bodies()
    assert len(bodies) == len(set(bodies)) == 1000
    assert "last" in bodies
    for queue in core.broker.host("/").queues.values():
        assert (queue.count, queue.octets) == (0, 0)


# Only when it is made.


def test_of_several_only_those_that_are_made_are_as_asked(core: Core) -> None:
    """Who subscribes to one that is there together with a new one changes the new one alone."""
    client = core.client()
    publish(client, QUEUE, ["x"])
    client.subscribe(f"{QUEUE},/queue/new", x_max_length="1")
    assert client.session.unhonoured.keys() == {"x-max-length"}
    queues = core.broker.host("/").queues
    assert queues[QUEUE].policy.max_messages is None
    assert queues["/queue/new"].policy.max_messages == 1


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_a_differing_repeat_is_reported(core: Core, command: str) -> None:
    """Once for each header and connection, and changes nothing; the same again is no news."""
    maker, same, other = core.client(), core.client(), core.client()
    maker.send(QUEUE, "1", x_max_length="2", x_message_ttl="9000")

    def ask(client: Client, **headers: str) -> None:
        if command == "SEND":
            publish(client, QUEUE, ["x"], **headers)
        else:
            client.subscribe(QUEUE, "client", **headers)
            client("UNSUBSCRIBE", id="0")

    ask(same, x_max_length="2", x_message_ttl="9000")
    ask(same, x_max_length="2")
    ask(same)
    assert _told(same) == []
    for _ in range(2):
        ask(other, x_max_length="3", x_message_ttl="9000", x_expires="1000")
    assert _told(other) == ["x-max-length", "x-expires"]
    assert _queue(core).policy.max_messages == 2
    assert not other.session.over


def test_every_connection_is_told(core: Core) -> None:
    """Also when it repeats another one's frame octet for octet."""
    maker, one, two = core.client(), core.client(), core.client()
    publish(maker, QUEUE, ["x"])
    for client in (one, two):
        publish(client, QUEUE, ["x", "x"], x_max_length="3")
        assert _told(client) == ["x-max-length"]


def test_a_queue_that_is_made_again_is_made_anew(core: Core) -> None:
    """Its settings went with it."""
    client = core.client()
    client.send(QUEUE, "x", x_max_length="1", auto_delete="true")
    client.subscribe(QUEUE)
    client("UNSUBSCRIBE", id="0")
    client.send(QUEUE, "x", x_max_length="5")
    assert _queue(core).policy.max_messages == 5
    assert _told(client) == []


def test_values_that_mean_nothing(core: Core) -> None:
    """They are reported, and it is as if they were not there."""
    client = core.client()
    client.subscribe(QUEUE, x_max_length="many", x_expires="-1", x_overflow="shrug")
    assert sorted(_told(client)) == ["x-expires", "x-max-length", "x-overflow"]
    assert _queue(core).asked is None


def test_a_transaction(core: Core) -> None:
    """The queue is made, and has its settings, when the SEND is read."""
    client = core.client()
    client("BEGIN", transaction="t")
    publish(client, QUEUE, numbers(1, 3), transaction="t", x_max_length="2")
    client("COMMIT", transaction="t")
    client.subscribe(QUEUE)
    assert client.bodies() == ["2", "3"]


def test_what_has_no_queue_has_no_settings(core: Core) -> None:
    """A topic, a wildcard, and a reply to one who left; each says so once."""
    for destination in ("/topic/a", "/queue/a.*"):
        client = core.client()
        client.subscribe(destination, x_max_length="3", auto_delete="true", receipt="r")
        assert client.receipts() == ["r"]
        assert _told(client)[0] == "x-max-length"
        # What a plain subscription to a topic leaves behind is nothing.
        assert ("auto-delete" in _told(client)) == destination.startswith("/queue/")
    for destination in ("/topic/a", "/remote-temp-queue/c99/a"):
        client = core.client()
        client.send(destination, "x", x_max_length="3", receipt="r")
        assert client.receipts() == ["r"]
        assert _told(client) == ["x-max-length"]


# Queues of virtual topics.


def test_the_queue_of_a_virtual_topics_consumer(core: Core) -> None:
    """It is kept for ever, unless who makes it says for how long; a full one may reject."""
    client, publisher, plain = core.client(), core.client(), core.client()
    # The topic is there before the queues: it has to learn that one of them may refuse.
    plain.subscribe("/topic/VirtualTopic.X")
    for group, headers in (
        ("A", {}),
        ("B", {"x_expires": "5000"}),
        ("C", {"x_max_length": "1", "x_overflow": "reject-publish"}),
    ):
        client.subscribe(f"/queue/Consumer.{group}.VirtualTopic.X", id=group, **headers)
        client("UNSUBSCRIBE", id=group)
    for _ in range(4):
        core.tick(300.0)
    assert _names(core) == {f"/queue/Consumer.{group}.VirtualTopic.X" for group in "AC"}
    publish(publisher, "/topic/VirtualTopic.X", numbers(1, 2))
    assert publisher.error()["message"] == "queue is full"
    client.subscribe("/queue/Consumer.A.VirtualTopic.X")
    assert client.bodies() == plain.bodies() == ["1"]
    assert _told(client) == []


# Durable subscriptions.


def test_a_durable_subscription_has_settings(core: Core) -> None:
    """Its backlog is a queue; they count from the first message on."""
    client, publisher = core.client(), core.client()
    publisher.send("/topic/a", "0", retain="set")
    headers = {"durable": "true", "x-queue-name": "q", "x-max-length": "2"}
    client.subscribe("/topic/a", x_dead_letter_routing_key="bin", **headers)
    assert client.bodies() == ["0"]
    client.close()
    publish(publisher, "/topic/a", numbers(1, 4))
    client = core.client()
    client.subscribe("/topic/a", **headers)
    assert client.bodies() == ["3", "4"]
    assert _told(client) == []
    client.subscribe("/queue/bin", id="1")
    assert client.bodies() == ["1", "2"]
    client.subscribe("/topic/a", id="2", **(headers | {"x-max-length": "9"}))
    assert _told(client) == ["x-max-length"]


def test_a_durable_subscription_may_reject(core: Core) -> None:
    """Who publishes gets an ERROR when its backlog is full, and nobody gets the message."""
    client, plain, publisher = core.client(), core.client(), core.client()
    plain.subscribe("/topic/a")
    client.subscribe(
        "/topic/a",
        "client",
        durable_subscription_name="n",
        x_max_length="1",
        x_overflow="reject-publish",
    )
    publish(publisher, "/topic/a", numbers(1, 2))
    assert publisher.error()["message"] == "queue is full"
    assert plain.bodies() == ["1"]


def test_a_durable_subscription_expires(core: Core) -> None:
    """``x-expires`` after its last subscriber left, with what it holds."""
    client, publisher = core.client(), core.client()
    headers = {"durable-subscription-name": "n", "x-expires": "5000"}
    client.subscribe("/topic/a", id="0", **headers)
    client.subscribe("/topic/a", id="1", **headers)
    client("UNSUBSCRIBE", id="0")
    core.tick(9.0)
    client("UNSUBSCRIBE", id="1")
    core.tick(4.0)
    publish(publisher, "/topic/a", ["x"])
    # Somebody comes in time, and leaves again: the time begins anew.
    client.subscribe("/topic/a", id="0", **headers)
    assert client.bodies() == ["x"]
    client("UNSUBSCRIBE", id="0")
    core.tick(2.0)
    assert core.broker.host("/").durables
    publish(publisher, "/topic/a", ["y"])
    core.tick(3.0)
    assert not core.broker.host("/").durables
    client.subscribe("/topic/a", id="0", **headers)
    assert client.bodies() == []
    # The timer of one that was deleted meanwhile rings for nobody.
    client("UNSUBSCRIBE", id="0")
    client("UNSUBSCRIBE", id="0", durable_subscription_name="n")
    client.subscribe("/topic/a", id="0", durable_subscription_name="n")
    client("UNSUBSCRIBE", id="0")
    core.tick(9.0)
    assert core.broker.host("/").durables
