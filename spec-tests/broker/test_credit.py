"""Credit and the outbox's mark: how much a subscription holds, and when it is served again."""

import pytest
from broker.client import Core, numbers, publish, settings

from stompd.broker.policy import Policy


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_prefetch_count_bounds_what_is_unsettled(core: Core, ack: str) -> None:
    """Three unsettled messages at most; each one that is acknowledged brings another."""
    consumer = core.client()
    publish(core.client(), "/queue/a", numbers(1, 10))
    consumer.subscribe("/queue/a", ack, prefetch_count="3")
    messages = consumer.messages(3)
    consumer.ack(messages[0])
    assert consumer.bodies() == ["4"]
    consumer.ack(messages[2])
    assert consumer.bodies() == (["5", "6"] if ack == "client" else ["5"])


def test_a_nack_gives_credit_back(core: Core) -> None:
    """It comes again first, before anything younger."""
    consumer = core.client()
    publish(core.client(), "/queue/a", numbers(1, 3))
    consumer.subscribe("/queue/a", "client", prefetch_count="1")
    consumer.nack(consumer.messages(1)[0])
    assert consumer.bodies() == ["1"]


def test_fair_dispatch(core: Core) -> None:
    """With a credit of one, whoever acknowledges gets the next message."""
    slow, quick = core.client(), core.client()
    slow.subscribe("/queue/a", "client", prefetch_count="1")
    quick.subscribe("/queue/a", "client", prefetch_count="1")
    publish(core.client(), "/queue/a", numbers(1, 6))
    assert slow.bodies() == ["1"]
    got = []
    for _ in range(5):
        message = quick.messages(1)[0]
        got.append(message.text)
        quick.ack(message)
    assert got == ["2", "3", "4", "5", "6"]


def test_prefetch_bytes_bounds_octets(core: Core) -> None:
    """Delivery stops with the message that reaches the mark, and goes on when it is settled."""
    consumer = core.client()
    publish(core.client(), "/queue/a", ["x" * 1000] * 5)
    consumer.subscribe("/queue/a", "client", prefetch_count="0", prefetch_bytes="2500")
    messages = consumer.messages(3)
    consumer.ack(messages[0])
    consumer.messages(1)


def test_a_message_larger_than_prefetch_bytes_is_delivered(core: Core) -> None:
    """One at a time, instead of never."""
    consumer = core.client()
    publish(core.client(), "/queue/a", ["x" * 1000] * 2)
    consumer.subscribe("/queue/a", "client", prefetch_bytes="10")
    consumer.ack(consumer.messages(1)[0])
    consumer.messages(1)


def test_prefetch_zero_means_no_limit(core: Core) -> None:
    """Of messages and of octets."""
    publisher = core.client()
    publish(publisher, "/queue/a", ["x" * 2000] * 3000)
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="0", prefetch_bytes="0")
    consumer.messages(3000)


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_the_default_credit(core: Core, ack: str) -> None:
    """A thousand messages or four MiB, whichever comes first."""
    publisher = core.client()
    publish(publisher, "/queue/small", [""] * 1100)
    publish(publisher, "/queue/large", ["x" * 1024 * 1024] * 6)
    consumer = core.client()
    consumer.subscribe("/queue/small", ack)
    consumer.messages(1000)
    consumer.subscribe("/queue/large", ack, id="large")
    consumer.messages(4)


def test_auto_knows_no_credit() -> None:
    """In mode auto only the outbox's mark bounds what is written."""
    core = Core(settings(prefetch_count=1))
    publish(core.client(), "/queue/a", numbers(1, 50))
    consumer = core.client()
    consumer.subscribe("/queue/a", "auto", prefetch_count="2", prefetch_bytes="1")
    assert consumer.bodies() == numbers(1, 50)


def test_a_policy_sets_the_default_credit() -> None:
    """A header of the subscription is stronger."""
    core = Core(settings({"/queue/a": Policy(prefetch_count=2)}))
    publish(core.client(), "/queue/a", numbers(1, 10))
    one, two = core.client(), core.client()
    one.subscribe("/queue/a", "client")
    assert one.bodies() == ["1", "2"]
    two.subscribe("/queue/a", "client", prefetch_count=" 3 ")
    assert two.bodies() == ["3", "4", "5"]


def test_an_empty_prefetch_count_is_none_at_all() -> None:
    """Some clients write every header that they know, empty ones included."""
    core = Core(settings({"/queue/a": Policy(prefetch_count=2)}))
    publish(core.client(), "/queue/a", numbers(1, 10))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", prefetch_count="")
    assert consumer.bodies() == ["1", "2"]


@pytest.mark.clause("SUB-04")
@pytest.mark.parametrize("name", ["prefetch-count", "prefetch-bytes"])
@pytest.mark.parametrize("value", ["many", "-1", "1.5", "1e3", "\u0661", "9" * 30])
def test_a_credit_that_is_no_number(core: Core, name: str, value: str) -> None:
    """The ERROR names the header."""
    consumer = core.client()
    consumer("SUBSCRIBE", destination="/queue/a", id="0", **{name: value})
    assert consumer.error()["message"] == f"{name} is not a number"


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_nothing_is_assigned_to_a_full_outbox(ack: str) -> None:
    """Who does not read holds what the mark allows; the others get the rest."""
    core = Core(settings(outbox_high=1000))
    lazy, busy = core.client(), core.client()
    lazy.subscribe("/queue/a", ack)
    busy.subscribe("/queue/a", ack)
    lazy.reading = False
    publish(core.client(), "/queue/a", [f"{number:0300}" for number in range(30)])
    taken = len(busy.messages())
    assert 30 - taken <= 4
    lazy.read_again()
    assert len(lazy.messages()) == 30 - taken
    publish(core.client(), "/queue/a", ["a", "b"])
    assert sorted(lazy.bodies() + busy.bodies()) == ["a", "b"]


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_a_backlog_flows_as_the_outbox_empties(ack: str) -> None:
    """A consumer that pauses and reads again misses nothing, in order, up to its last message."""
    core = Core(settings(outbox_high=1000, prefetch_count=0, prefetch_bytes=0))
    consumer = core.client()
    consumer.reading = False
    consumer.subscribe("/queue/a", ack)
    publish(core.client(), "/queue/a", numbers(1, 200))
    assert consumer.session.outbox.size < 1400
    for _ in range(5):
        consumer.read_some(500)
    consumer.read_again()
    assert consumer.bodies() == numbers(1, 200)


def test_credit_that_comes_back_while_the_outbox_is_full() -> None:
    """A subscription that waits first for credit, then for room, is served when there is room."""
    core = Core(settings({"/queue/a": Policy(prefetch_count=1)}, outbox_high=1000))
    consumer = core.client()
    consumer.subscribe("/queue/a", "client", id="a")
    consumer.subscribe("/topic/t", id="t")
    publisher = core.client()
    publish(publisher, "/queue/a", ["1", "2"])
    first = consumer.messages(1)[0]
    consumer.reading = False
    publish(publisher, "/topic/t", ["x" * 1000])
    consumer.ack(first)
    consumer.read_again()
    assert consumer.bodies() == ["x" * 1000, "2"]


def test_two_subscriptions_wait_for_the_same_room() -> None:
    """When the first fills the outbox to its mark, the second is served after it."""
    core = Core(settings(outbox_high=100))
    consumer = core.client()
    consumer.subscribe("/queue/a", id="a")
    consumer.subscribe("/queue/b", id="b")
    consumer.reading = False
    publisher = core.client()
    publish(publisher, "/queue/a", ["a" * 100] * 2)
    publish(publisher, "/queue/b", ["b" * 100])
    consumer.read_again()
    assert sorted(message.text[0] for message in consumer.messages()) == ["a", "a", "b"]


def test_prefetch_holds_across_the_queues_of_a_wildcard(core: Core) -> None:
    """Credit belongs to the subscription, not to each of the queues that serve it."""
    consumer, publisher = core.client(), core.client()
    consumer.subscribe("/queue/#", "client-individual", prefetch_count="2")
    for name in "abc":
        publish(publisher, f"/queue/{name}", [f"{name}1", f"{name}2"])
    got = []
    while messages := consumer.messages():
        assert len(messages) <= 2
        got += [message.text for message in messages]
        for message in messages:
            consumer.ack(message)
    assert sorted(got) == ["a1", "a2", "b1", "b2", "c1", "c2"]


def test_a_wildcard_with_little_credit_takes_turns_among_its_queues(core: Core) -> None:
    """One queue's backlog, however long, does not keep the others waiting."""
    publisher = core.client()
    for name in "abc":
        publish(publisher, f"/queue/{name}", [name] * 3)
    consumer = core.client()
    consumer.subscribe("/queue/#", "client", prefetch_count="1")
    got = ""
    while messages := consumer.messages():
        got += messages[0].text
        consumer.ack(messages[0])
    assert set(got[:4]) == {"a", "b", "c"}
    assert sorted(got) == sorted("abc" * 3)


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_subscriptions_of_one_connection_share_its_outbox(ack: str) -> None:
    """A long backlog of the first does not keep the others waiting until it is through."""
    core = Core(settings(outbox_high=100, prefetch_count=0))
    publisher, consumer = core.client(), core.client()
    for name in "abc":
        publish(publisher, f"/queue/{name}", [name * 100] * 20)
    consumer.reading = False
    for name in "abc":
        consumer.subscribe(f"/queue/{name}", ack, id=name)
    consumer.read_again()
    order = "".join(message.text[0] for message in consumer.messages(60))
    assert set(order[:12]) == {"a", "b", "c"}
    assert set(order[-12:]) == {"a", "b", "c"}
