"""Destinations: their names, how they are made and removed, and their policies."""

import pytest
from broker.client import Core, numbers, publish, settings

from stompd.broker.destination import Kind, parse, parse_several, parse_subscribed
from stompd.broker.policy import Policies, Policy, PolicyRule
from stompd.protocol.errors import RemoteProtocolError

# Names.


@pytest.mark.clause("S-03")
@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("a", "/queue/a", Kind.QUEUE),
        ("a/b", "/queue/a/b", Kind.QUEUE),
        ("/queue/é", "/queue/é", Kind.QUEUE),
        ("x y", "/queue/x y", Kind.QUEUE),
        ("/topic/" + "n" * 255, "/topic/" + "n" * 255, Kind.TOPIC),
        ("/queue//", "/queue//", Kind.QUEUE),
        ("queue/a", "/queue/queue/a", Kind.QUEUE),
        ("/queue/a,b", "/queue/a,b", Kind.QUEUE),
        ("a,/b", "/queue/a,/b", Kind.QUEUE),
        ("/queue/a,/queues/b", "/queue/a,/queues/b", Kind.QUEUE),
        ("/amq/queue/a b", "/queue/a b", Kind.QUEUE),
        ("/exchange/amq.topic/a.b", "/topic/a.b", Kind.TOPIC),
        ("/exchange/amq.topic/a%2Fb", "/topic/a%2Fb", Kind.TOPIC),
        ("/exchange/amq.direct/a.*", "/exchange/amq.direct/a.*", Kind.TOPIC),
        ("/exchange/amq.direct", "/exchange/amq.direct", Kind.TOPIC),
        ("/exchange/amq.fanout", "/exchange/amq.fanout", Kind.TOPIC),
        ("/exchange/amq.fanout/", "/exchange/amq.fanout", Kind.TOPIC),
        ("/exchange/amq.fanout/a.*", "/exchange/amq.fanout", Kind.TOPIC),
        ("/exchange/logs", "/exchange/logs", Kind.TOPIC),
        ("/exchange/logs/", "/exchange/logs", Kind.TOPIC),
        ("/exchange/logs/a/b", "/exchange/logs/a/b", Kind.TOPIC),
    ],
)
def test_names(text: str, name: str, kind: Kind) -> None:
    """A bare name is a queue; names are taken as they are."""
    destination = parse(text)
    assert (destination.name, destination.kind) == (name, kind)
    assert not destination.wild


@pytest.mark.clause("S-03", "S-08")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the name is empty"),
        ("/queue/", "the name is empty"),
        ("/queue/" + "é" * 128, "at most 255 octets"),
        ("n" * 256, "at most 255 octets"),
        ("/queue/ a", "blank"),
        ("/queue/a ", "blank"),
        (" /queue/a", "blank"),
        ("a\n", "blank"),
        ("/queue/a\nb", "no control characters"),
        ("/queue/a\x7fb", "no control characters"),
        ("/amq/queue/", "the name is empty"),
        ("/exchange/", "the name is empty"),
        ("/exchange//a", "the name is empty"),
        ("/exchange/amq.topic", "the name is empty"),
        ("/exchange/ a/b", "blank"),
        ("/exchange/a/ ", "blank"),
        ("/exchange/a/" + "n" * 254, "at most 255 octets"),
        ("/exchange/*/b", "wildcards stand behind the name of an exchange"),
        ("/exchange/>", "wildcards stand behind the name of an exchange"),
        ("/temp-queue/a.*", "a temporary destination has no wildcards"),
    ],
)
def test_names_that_are_not_allowed(text: str, why: str) -> None:
    """The ERROR says what is wrong with them."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse(text)
    assert caught.value.message == "malformed destination name"
    assert why in caught.value.detail


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/queue/a,/topic/b", ["/queue/a", "/topic/b"]),
        ("a,/queue/b,c,/temp-queue/d", ["/queue/a", "/queue/b,c", "/temp-queue/d"]),
        ("/amq/queue/a,/exchange/x/y,/topic/z", ["/queue/a", "/exchange/x/y", "/topic/z"]),
        ("/topic/a,/queue/b,/exchange/amq.topic/a", ["/topic/a", "/queue/b"]),
    ],
)
def test_several_destinations(text: str, names: list[str]) -> None:
    """A comma parts them where the kind of the next one follows; each counts once."""
    several = parse_several(text)
    assert [part.name for part in several.parts] == names
    assert several.name == ",".join(names)
    with pytest.raises(RemoteProtocolError, match="several destinations"):
        parse(text)


def test_several_queues_are_a_queue() -> None:
    """A topic among them is none; and the same one twice is one destination."""
    assert parse_several("/queue/a,b,/queue/c").kind is Kind.QUEUE
    assert parse_several("/queue/a,/exchange/amq.fanout").kind is Kind.TOPIC
    assert parse_several("/queue/a,/queue/a") == parse("/queue/a")


def test_one_bad_name_among_several() -> None:
    """It is refused as it would be alone; so is one with a blank before it."""
    for text in ("/queue/a,/queue/", "/queue/a, /queue/b"):
        with pytest.raises(RemoteProtocolError, match="malformed destination name"):
            parse_several(text)


def test_too_many_destinations() -> None:
    """One header cannot have any number of queues made."""
    assert len(parse_several(",".join(f"/queue/{n}" for n in range(64))).parts) == 64
    with pytest.raises(RemoteProtocolError, match="too many destinations"):
        parse_several(",".join(f"/queue/{n}" for n in range(65)))


@pytest.mark.parametrize(
    ("text", "wild", "words"),
    [
        ("/exchange/logs", True, ("exchange", "logs", "#")),
        ("/exchange/logs/", True, ("exchange", "logs", "#")),
        ("/exchange/logs/a", False, ("exchange", "logs", "a")),
        ("/exchange/a.b/c.*", True, ("exchange", "a.b", "c", "*")),
        ("/exchange/amq.direct/a.*", False, ("exchange", "amq.direct", "a.*")),
        ("/exchange/amq.direct", False, ("exchange", "amq.direct", "")),
        ("/exchange/amq.topic/a.*", True, ("topic", "a", "*")),
        ("/queue/a,/queue/b", False, ()),
        ("/queue/a,/queue/*", True, ()),
        ("/queue/a,/exchange/logs", True, ()),
    ],
)
def test_what_a_subscription_means(text: str, *, wild: bool, words: tuple[str, ...]) -> None:
    """An exchange without a key is all of it; direct keys and exchanges' names are one word."""
    destination = parse_subscribed(text)
    assert (destination.wild, destination.words) == (wild, words)


@pytest.mark.clause("S-03", "SUB-04")
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("/quue/a", "/queue/NAME, /topic/NAME"),
        ("/", "/queue/NAME, /topic/NAME"),
    ],
)
@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_unknown_kinds(core: Core, command: str, text: str, hint: str) -> None:
    """SEND and SUBSCRIBE are refused, with a hint at what would work."""
    client = core.client()
    client(command, destination=text, id="0", receipt="r")
    error = client.error()
    assert error["message"] == "unknown kind of destination"
    assert hint in error.body.decode()
    assert error["receipt-id"] == "r"


@pytest.mark.clause("S-01", "SUB-01", "V10-15")
@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_the_destination_is_required(core: Core, command: str, version: str) -> None:
    """In every version."""
    client = core.client(version)
    client(command, id="0")
    assert client.error()["message"] == f"{command} without destination"


@pytest.mark.clause("SUB-06", "V11-17", "U-02", "V11-18")
@pytest.mark.parametrize("command", ["SUBSCRIBE", "UNSUBSCRIBE"])
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_the_id_is_required(core: Core, command: str, version: str) -> None:
    """By 1.1 and 1.2; a destination does not replace it."""
    client = core.client(version)
    client(command, destination="/queue/a")
    assert client.error()["message"] == f"{command} without id"


@pytest.mark.clause("SUB-08", "V11-17")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_an_id_in_use(core: Core, version: str) -> None:
    """A second SUBSCRIBE with it is an ERROR that names it; the first was not touched before."""
    client = core.client(version)
    client.subscribe("/queue/a", id="x")
    client.subscribe("/queue/b", id="x", receipt="r")
    error = client.error()
    assert error["message"] == "subscription id in use"
    assert (error["subscription"], error["receipt-id"]) == ("x", "r")
    assert b"/queue/a" in error.body


@pytest.mark.clause("U-03", "V11-18")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_unsubscribe_of_an_unknown_id(core: Core, version: str) -> None:
    """It is an ERROR that names it."""
    client = core.client(version)
    client("UNSUBSCRIBE", id="nope")
    error = client.error()
    assert (error["message"], error["subscription"]) == ("no such subscription", "nope")


@pytest.mark.clause("SUB-07")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("name", ["0", "é x", "100%d%%", "a:b\\c", "n" * 255, " "])
def test_ids_are_free_text(core: Core, version: str, name: str) -> None:
    """MESSAGE repeats the id exactly, and UNSUBSCRIBE finds it."""
    client = core.client(version)
    client.subscribe("/queue/a", "client", id=name)
    publish(core.client(), "/queue/a", ["x"])
    assert client.messages(1)[0]["subscription"] == name
    client("UNSUBSCRIBE", id=name, receipt="r")
    assert client.receipts() == ["r"]


@pytest.mark.clause("SUB-05")
def test_unknown_headers_of_subscribe_are_ignored(core: Core) -> None:
    """They may be meant for another broker."""
    client = core.client()
    client.subscribe("/queue/a", receipt="r", x_unknown="1", activemq_retroactive="true")
    assert client.receipts() == ["r"]


@pytest.mark.clause("V10-11")
@pytest.mark.parametrize(
    ("destination", "headers"),
    [
        ("/queue/a", {"browser": "false"}),
        ("/queue/a", {"durable": "true"}),
        ("/topic/a", {"durable": "false"}),
    ],
)
def test_what_changes_nothing_is_accepted(
    core: Core, destination: str, headers: dict[str, str]
) -> None:
    """The same headers where they mean what is done anyway."""
    client = core.client()
    client.subscribe(destination, receipt="r", **headers)
    assert client.receipts() == ["r"]


# Made and removed.


def _names(core: Core) -> list[str]:
    host = core.broker.host("/")
    return sorted([*host.queues, *host.topics])


def _later(core: Core, seconds: int = 30) -> None:
    """Let time pass as it does for a daemon: it is called whenever something is due."""
    for _ in range(seconds):
        core.tick(1.0)


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_destinations_are_made_by_their_first_use(core: Core, kind: str) -> None:
    """By a SEND as by a SUBSCRIBE; a wildcard makes none."""
    core.client().send(f"/{kind}/a")
    core.client().subscribe(f"/{kind}/b")
    core.client().subscribe(f"/{kind}/c.*")
    assert _names(core) == [f"/{kind}/a", f"/{kind}/b"]


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_an_idle_destination_is_removed(kind: str) -> None:
    """When it was empty and unused for as long as the policy says, and not earlier."""
    core = Core(settings(auto_delete_after=10.0))
    client = core.client()
    client.subscribe(f"/{kind}/a")
    publish(core.client(), f"/{kind}/a", ["x"])
    assert client.bodies() == ["x"]
    _later(core, 100)
    assert _names(core) == [f"/{kind}/a"]
    client("UNSUBSCRIBE", id="0")
    _later(core, 9)
    assert _names(core) == [f"/{kind}/a"]
    _later(core, 11)
    assert _names(core) == []


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_use_keeps_a_destination(kind: str) -> None:
    """Traffic between two looks counts, even if it is over at both."""
    core = Core(settings(auto_delete_after=10.0))
    client = core.client()
    for _ in range(5):
        client.subscribe(f"/{kind}/a")
        publish(client, f"/{kind}/a", ["x"])
        client.take(1)
        client("UNSUBSCRIBE", id="0")
        core.tick(9.0)
        assert _names(core) == [f"/{kind}/a"]
    _later(core)
    assert _names(core) == []
    assert core.tick(1000) is None


def test_a_queue_with_messages_is_never_removed() -> None:
    """Neither with ready ones nor with delivered ones."""
    core = Core(settings(auto_delete_after=10.0))
    consumer = core.client()
    publish(core.client(), "/queue/ready", ["x"])
    publish(core.client(), "/queue/held", ["x"])
    consumer.subscribe("/queue/held", "client")
    _later(core, 100)
    assert _names(core) == ["/queue/held", "/queue/ready"]
    consumer.ack(consumer.messages(1)[0])
    consumer.close()
    _later(core)
    assert _names(core) == ["/queue/ready"]


def test_a_pinned_destination_stays() -> None:
    """A policy without a time never removes."""
    core = Core(settings({"/queue/a": Policy(auto_delete_after=None)}, auto_delete_after=1.0))
    core.client().subscribe("/queue/a")
    core.client().send("/topic/a")
    core.clients[0].close()
    _later(core)
    assert _names(core) == ["/queue/a"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"auto-delete": "true"}, 1), ({"x-expires": "4000"}, 4), ({"x-expires": "1"}, 1)],
)
def test_who_makes_a_queue_says_how_long_it_is_kept(
    core: Core, headers: dict[str, str], seconds: int
) -> None:
    """The time of its headers takes the place of the policy's, from the moment it is made."""
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/a", None, **headers)
    _later(core, 400)
    assert _names(core) == ["/queue/a"]
    consumer("UNSUBSCRIBE", id="0")
    producer.send("/queue/b", "x", **headers)
    _later(core, 2 * seconds)
    # What holds a message is kept, whatever was asked for.
    assert _names(core) == ["/queue/b"]
    consumer.subscribe("/queue/b")
    assert consumer.bodies() == ["x"]
    consumer("UNSUBSCRIBE", id="0")
    _later(core, 2 * seconds)
    assert _names(core) == []


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_wildcard_does_not_keep_what_is_idle(kind: str) -> None:
    """It takes part again when the destination is made anew."""
    core = Core(settings(auto_delete_after=10.0))
    consumer, producer = core.client(), core.client()
    consumer.subscribe(f"/{kind}/#")
    producer.send(f"/{kind}/a", "1")
    _later(core)
    assert _names(core) == []
    producer.send(f"/{kind}/a", "2")
    assert consumer.bodies() == ["1", "2"]
    consumer("UNSUBSCRIBE", id="0", receipt="r")
    assert consumer.receipts() == ["r"]


def test_a_subscription_without_credit_survives_the_end_of_one_of_its_queues() -> None:
    """A wildcard that waits in several queues forgets the one that was removed."""
    core = Core(settings(auto_delete_after=10.0))
    consumer, producer = core.client(), core.client()
    consumer.subscribe("/queue/#", "client", prefetch_count="1")
    producer.send("/queue/a", "1")
    other = core.client()
    producer.send("/queue/b", "2")
    other.subscribe("/queue/b")
    assert other.bodies() == ["2"]
    other.close()
    held = consumer.messages(1)[0]
    _later(core)
    assert _names(core) == ["/queue/a"]
    consumer.ack(held)
    producer.send("/queue/b", "3")
    producer.send("/queue/a", "4")
    assert consumer.bodies() == ["3"]


def test_a_producer_goes_on_with_a_queue_that_was_removed() -> None:
    """A repeated SEND, whose way was worked out before, makes the queue anew."""
    core = Core(settings(auto_delete_after=10.0))
    producer, consumer = core.client(), core.client()
    producer.send("/queue/a", "1")
    consumer.subscribe("/queue/a")
    consumer("UNSUBSCRIBE", id="0")
    assert consumer.bodies() == ["1"]
    producer.send("/queue/a", "2")
    consumer.subscribe("/queue/a")
    consumer("UNSUBSCRIBE", id="0")
    _later(core)
    assert _names(core) == []
    producer.send("/queue/a", "3")
    assert core.broker.host("/").queues["/queue/a"].depth == 1


def test_one_sends_head_means_another_queue_in_another_virtual_host() -> None:
    """What was worked out for equal octets is not taken over."""
    core = Core(settings(virtual_hosts=("/", "two")))
    one, two = core.client(), core.client(host="two")
    for _ in range(3):
        one.send("/queue/a", "x")
        two.send("/queue/a", "x")
    assert [host.queues["/queue/a"].depth for host in core.broker.hosts] == [3, 3]


# Policies.


def test_the_first_rule_that_matches_is_the_policy() -> None:
    """Patterns are those of subscriptions; without a match the default holds."""
    policies = Policies(
        [
            PolicyRule("/queue/orders.eu", Policy(max_messages=1)),
            PolicyRule("/queue/orders.#", Policy(max_messages=2)),
            PolicyRule("/topic/*", Policy(max_messages=3)),
            PolicyRule("/queue/orders.us", Policy(max_messages=4)),
        ],
        Policy(max_messages=5),
    )
    expected = {
        "/queue/orders.eu": 1,
        "/queue/orders.us": 2,
        "/queue/orders": 2,
        "/queue/orders/eu": 1,
        "/topic/a": 3,
        "/topic/a.b": 5,
        "/queue/a": 5,
    }
    assert {name: policies.of(name).max_messages for name in expected} == expected
    assert Policies().of("/queue/a") == Policy()


# 1.0: subscriptions without id.


@pytest.mark.clause("V10-08", "V10-09", "V10-19")
def test_1_0_subscribes_without_id(core: Core) -> None:
    """MESSAGEs come without a ``subscription``; with an id they carry it."""
    client = core.client("1.0")
    client.subscribe("/queue/a", id=None)
    client.subscribe("/queue/b", "client-individual", id="b")
    publisher = core.client()
    publish(publisher, "/queue/a", ["a"])
    publish(publisher, "/queue/b", ["b"])
    one, two = client.messages(2)
    assert (one["destination"], one.get("subscription")) == ("/queue/a", None)
    assert (two["destination"], two.get("subscription")) == ("/queue/b", "b")
    assert one["message-id"] != two["message-id"]


@pytest.mark.parametrize("name", [None, "x"])
def test_1_0_may_repeat_a_subscribe(core: Core, name: str | None) -> None:
    """The same SUBSCRIBE again changes nothing and gets its receipt."""
    client = core.client("1.0")
    client.subscribe("/queue/a", id=name)
    client.subscribe("/queue/a", id=name, receipt="r")
    assert client.receipts() == ["r"]
    publish(core.client(), "/queue/a", ["x"])
    assert client.bodies() == ["x"]


@pytest.mark.clause("V10-12")
def test_1_0_unsubscribes_by_destination(core: Core) -> None:
    """The subscription without id first, then the oldest that is left on it."""
    client = core.client("1.0")
    client.subscribe("/queue/a", id="first")
    client.subscribe("/queue/a", id="second")
    client.subscribe("/queue/a", id=None)
    publisher = core.client()
    left = []
    for _ in range(2):
        client("UNSUBSCRIBE", destination="/queue/a")
        publish(publisher, "/queue/a", ["x"])
        left.append(client.messages(1)[0].get("subscription"))
    assert left == ["first", "second"]
    client("UNSUBSCRIBE", id="second", destination="/queue/other", receipt="r")
    assert client.receipts() == ["r"]
    client("UNSUBSCRIBE", destination="/queue/a")
    assert client.error()["message"] == "no such subscription"


@pytest.mark.clause("V10-12")
def test_1_0_unsubscribe_needs_one_of_both(core: Core) -> None:
    """Neither id nor destination is an ERROR; an id that looks like the destination is none."""
    client = core.client("1.0")
    client("UNSUBSCRIBE")
    assert client.error()["message"] == "UNSUBSCRIBE without id"
    client = core.client("1.0")
    client.subscribe("/queue/b", id="/queue/a")
    client("UNSUBSCRIBE", destination="/queue/a")
    assert client.error()["message"] == "no such subscription"


@pytest.mark.clause("M-11")
def test_order_holds_across_a_change_of_consumers(core: Core) -> None:
    """Whoever consumes, together they get every message once, each of them in order."""
    producer = core.client()
    publish(producer, "/queue/a", numbers(1, 20))
    got = []
    for _ in range(5):
        consumer = core.client()
        consumer.subscribe("/queue/a", "client", prefetch_count="4")
        messages = consumer.messages(4)
        got += [message.text for message in messages]
        consumer.ack(messages[-1])
        consumer("DISCONNECT")
    assert "".join(got) != ""
    assert len(set(got)) == len(got)


def test_a_temporary_queue_stays_while_its_connection_lives() -> None:
    """However idle it is: answers may come late."""
    core = Core(settings(auto_delete_after=5.0))
    client = core.client()
    client.subscribe("/temp-queue/a")
    client("UNSUBSCRIBE", id="0")
    _later(core)
    core.client().send(f"/remote-temp-queue/{client.session.id}/a", "late")
    client.subscribe("/temp-queue/a")
    assert client.bodies() == ["late"]


@pytest.mark.parametrize("name", ["/queue/a", "/temp-queue/a"])
def test_a_queue_may_be_removed_by_hand(name: str) -> None:
    """Timers and the end of its connection pass by what is gone."""
    core = Core(settings(auto_delete_after=5.0))
    client = core.client()
    client.send(name, "x")
    host = core.broker.host("/")
    host.remove(next(iter(host.queues.values())))
    assert _names(core) == []
    _later(core)
    client.close()
    assert _names(core) == []
