"""Topics: a copy to every current subscriber; and wildcards, for topics and for queues."""

import pytest
from broker.client import Core, numbers, publish


@pytest.mark.clause("M-05", "SUB-02")
def test_every_subscriber_gets_a_copy(core: Core) -> None:
    """In the order of the SENDs, with its own subscription id and message-id."""
    subscribers = [core.client() for _ in range(3)]
    for place, subscriber in enumerate(subscribers):
        subscriber.subscribe("/topic/a", id=f"s{place}")
    publish(core.client(), "/topic/a", numbers(1, 5))
    ids = set()
    for place, subscriber in enumerate(subscribers):
        messages = subscriber.messages(5)
        assert [message.text for message in messages] == numbers(1, 5)
        assert {message["subscription"] for message in messages} == {f"s{place}"}
        ids |= {message["message-id"] for message in messages}
    assert len(ids) == 15


def test_without_subscribers_a_topics_message_is_dropped(core: Core) -> None:
    """Who subscribes later gets only what is sent later; the receipt comes all the same."""
    publisher, subscriber = core.client(), core.client()
    publish(publisher, "/topic/a", ["lost"], receipt="r")
    assert publisher.receipts() == ["r"]
    subscriber.subscribe("/topic/a")
    publish(publisher, "/topic/a", ["kept"])
    assert subscriber.bodies() == ["kept"]


@pytest.mark.clause("M-05")
def test_two_subscriptions_of_one_connection_get_two_copies(core: Core) -> None:
    """Each with its subscription's id."""
    subscriber = core.client()
    subscriber.subscribe("/topic/a", id="0")
    subscriber.subscribe("/topic/a", id="1")
    publish(subscriber, "/topic/a", ["x"])
    assert [message["subscription"] for message in subscriber.messages(2)] == ["0", "1"]


@pytest.mark.clause("U-01")
def test_no_copy_after_unsubscribe(core: Core) -> None:
    """The other subscription on the same topic goes on."""
    subscriber, publisher = core.client(), core.client()
    subscriber.subscribe("/topic/a", id="0")
    subscriber.subscribe("/topic/a", id="1")
    subscriber("UNSUBSCRIBE", id="0", receipt="u")
    assert subscriber.receipts() == ["u"]
    publish(publisher, "/topic/a", ["x"])
    assert [message["subscription"] for message in subscriber.messages(1)] == ["1"]


def test_a_connection_that_ends_is_no_subscriber_any_more(core: Core) -> None:
    """Publishing goes on to those who are left."""
    gone, left = core.client(), core.client()
    gone.subscribe("/topic/a")
    left.subscribe("/topic/a")
    gone.close()
    publish(left, "/topic/a", ["x"])
    assert left.bodies() == ["x"]


@pytest.mark.clause("M-06")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_ack_modes_on_a_topic(core: Core, ack: str, version: str) -> None:
    """Copies of small and of large messages have an ``ack`` where 1.2 asks for it."""
    subscriber = core.client(version)
    subscriber.subscribe("/topic/a", ack)
    publisher = core.client()
    publish(publisher, "/topic/a", ["x"])
    publish(publisher, "/topic/a", ["y" * 20_000])
    publish(publisher, "/topic/a", ["z"], note="a:b\\c")
    messages = subscriber.messages(3)
    assert [message.text[0] for message in messages] == ["x", "y", "z"]
    assert messages[2]["note"] == "a:b\\c"
    expected = version == "1.2" and ack != "auto"
    assert [("ack" in message.headers) for message in messages] == [expected] * 3


@pytest.mark.clause("M-02", "M-03")
@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a.*", ["a.b", "a/c"], ["a", "a.b.c", "b.b"]),
        ("a.*.c", ["a.b.c", "a/x/c"], ["a.b", "a.b.b.c"]),
        ("a.#", ["a", "a.b", "a.b.c"], ["b", "ab"]),
        ("a.**", ["a", "a.b.c"], ["b"]),
        ("a.>", ["a", "a.b", "a.b.c"], ["b"]),
        ("#", ["a", "a.b", "x/y/z"], []),
        ("*", ["a", "b"], ["a.b"]),
        ("#.c", ["c", "a.c", "a.b.c"], ["a", "c.a"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "a.b", "z"]),
        ("a.#.b.#", ["a.b", "a.x.b.y", "a.b.b"], ["a", "a.c"]),
        ("a.*.#", ["a.b", "a.b.c"], ["a"]),
        (">.a", [], ["a", "b.a"]),
    ],
)
@pytest.mark.parametrize("kind", ["topic", "queue"])
@pytest.mark.parametrize("first", ["destination", "subscription"])
def test_wildcards(
    core: Core, kind: str, pattern: str, yes: list[str], no: list[str], first: str
) -> None:
    """A wildcard takes what it matches, whether that was there before or is made later."""
    subscriber, publisher = core.client(), core.client()
    names = [f"/{kind}/{name}" for name in (*yes, *no) if ">" not in name]
    if first == "subscription":
        subscriber.subscribe(f"/{kind}/{pattern}")
    if kind == "queue" or first == "subscription":
        publish(publisher, names[0], ["x"])
        for name in names[1:]:
            publish(publisher, name, ["x"])
        if first == "destination":
            subscriber.subscribe(f"/{kind}/{pattern}")
    else:
        # A topic holds nothing: make them first, publish afterwards.
        for name in names:
            core.client().subscribe(name)
        subscriber.subscribe(f"/{kind}/{pattern}")
        for name in names:
            publish(publisher, name, ["x"])
    got = sorted(message["destination"] for message in subscriber.messages())
    assert got == sorted(f"/{kind}/{name}" for name in yes)


def test_a_wildcard_keeps_to_its_kind(core: Core) -> None:
    """``/queue/#`` takes nothing of topics, and the other way round."""
    queues, topics = core.client(), core.client()
    queues.subscribe("/queue/#")
    topics.subscribe("/topic/#")
    publisher = core.client()
    publish(publisher, "/queue/a", ["q"])
    publish(publisher, "/topic/a", ["t"])
    assert queues.bodies() == ["q"]
    assert topics.bodies() == ["t"]


def test_overlapping_wildcards_are_subscriptions_of_their_own(core: Core) -> None:
    """A topic's message comes once for each subscription that matches, however it matches."""
    subscriber = core.client()
    subscriber.subscribe("/topic/#", id="all")
    subscriber.subscribe("/topic/a.*", id="some")
    subscriber.subscribe("/topic/a.b", id="one")
    publish(core.client(), "/topic/a.b", ["x"])
    assert sorted(message["subscription"] for message in subscriber.messages(3)) == [
        "all",
        "one",
        "some",
    ]


def test_a_queue_wildcard_acknowledges_by_delivery(core: Core) -> None:
    """ACK and credit work across the queues of a wildcard; the rest waits in its queue."""
    consumer = core.client()
    consumer.subscribe("/queue/a.*", "client", prefetch_count="2")
    publisher = core.client()
    for name in ("a.x", "a.y", "a.z"):
        publish(publisher, f"/queue/{name}", [name])
    first, second = consumer.messages(2)
    assert (first.text, second.text) == ("a.x", "a.y")
    consumer.ack(second)
    assert consumer.bodies() == ["a.z"]
    consumer("UNSUBSCRIBE", id="0")
    publish(publisher, "/queue/a.new", ["n"])
    assert consumer.take() == []
    consumer.subscribe("/queue/#")
    assert sorted(consumer.bodies()) == ["a.z", "n"]


@pytest.mark.parametrize("name", ["/queue/a.*", "/topic/#", "/queue/a.**", "/topic/a.>", "*"])
def test_send_to_a_wildcard_is_refused(core: Core, name: str) -> None:
    """A message goes to one destination."""
    client = core.client()
    client.send(name, "x", receipt="r")
    error = client.error()
    assert (error["message"], error["receipt-id"]) == ("SEND to a wildcard", "r")


@pytest.mark.parametrize("name", ["/topic/$SYS", "/topic/$SYS/stats", "/topic/$SYS.events"])
def test_send_to_the_brokers_own_topic_is_refused(core: Core, name: str) -> None:
    """Only the broker publishes below ``/topic/$SYS``; listening is allowed."""
    client = core.administrator()
    client.subscribe(name, receipt="s")
    assert client.receipts() == ["s"]
    client.send(name, "x")
    assert client.error()["message"] == "SEND to the broker's own topic"


def test_wildcards_do_not_see_the_brokers_own_topics(core: Core) -> None:
    """``/topic/#`` asks for what applications publish, whichever is there first."""
    for early in (True, False):
        core = Core()
        subscriber = core.client()
        if early:
            subscriber.subscribe("/topic/#")
        core.administrator().subscribe("/topic/$SYS/stats")
        if not early:
            subscriber.subscribe("/topic/#")
        assert repr(core.broker.host("/").topics["/topic/$SYS/stats"]) == (
            "<Topic /topic/$SYS/stats subscriptions=1>"
        )
        own = core.administrator()
        own.subscribe("/topic/$SYS/#")
        assert repr(core.broker.host("/").topics["/topic/$SYS/stats"]) == (
            "<Topic /topic/$SYS/stats subscriptions=2>"
        )


def test_a_publisher_hears_itself(core: Core) -> None:
    """A connection that is subscribed gets its own messages."""
    client = core.client()
    client.subscribe("/topic/a")
    publish(client, "/topic/a", ["x"])
    assert client.bodies() == ["x"]
