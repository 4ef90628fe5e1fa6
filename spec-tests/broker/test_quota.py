"""What users, addresses and virtual hosts may take: how it is counted, and who waits."""

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
from broker.asking import Asker
from broker.client import Client, Core, publish, settings

from stompd.broker.principal import Principal
from stompd.broker.quota import Quota, QuotaRule
from stompd.broker.session import CloseReason


def limited(*rules: QuotaRule, **more: Any) -> Core:  # noqa: ANN401 - settings
    """Return a broker with these limits."""
    return Core(settings(quotas=rules, **more))


def come(core: Core, name: str | None, *groups: str, address: str = "", host: str = "/") -> Client:
    """Return a client of a user from an address; it may be over already."""
    client = Client(core)
    client.session.address = address
    client.principal = Principal(name, frozenset(groups))
    client.log_in({"accept-version": "1.2", "host": host})
    return client


# -- Counts ----------------------------------------------------------------------------------------


def test_a_user_has_so_many_connections() -> None:
    """One more gets an ERROR that says so; one that ends makes room."""
    core = limited(QuotaRule("user", connections=2))
    first, _ = come(core, "ann"), come(core, "ann")
    third = come(core, "ann")
    assert str(third.session.fault) == "too many connections: user ann may have 2"
    assert third.session.reason is CloseReason.REFUSED
    assert not come(core, "bob").session.over
    first.close()
    assert not come(core, "ann").session.over
    assert "connections=2" in repr(core.broker.quotas.of(come(core, "bob").session)[0])


@pytest.mark.parametrize(
    ("rule", "fits", "others"),
    [
        (QuotaRule("user", "ann", 1), {"name": "ann"}, {"name": "bob"}),
        (QuotaRule("user", "@ops", 1), {"name": "ann", "groups": "ops"}, {"name": "ann"}),
        (QuotaRule("user", "*", 1), {"name": None}, {"name": "bob"}),
        (QuotaRule("address", "10.0.0.0/8", 1), {"address": "10.1.2.3"}, {"address": "11.0.0.1"}),
        (QuotaRule("address", "*", 1), {"address": "10.1.2.3"}, {"address": "10.1.2.4"}),
        (QuotaRule("address", "::1", 1), {"address": "::1"}, {"address": "unix"}),
        (QuotaRule("vhost", "/b", 1), {"host": "/b"}, {"host": "/"}),
        (QuotaRule("vhost", "*", 1), {"host": "/b"}, {"host": "/"}),
    ],
)
def test_whom_a_limit_is_for(rule: QuotaRule, fits: Any, others: Any) -> None:  # noqa: ANN401
    """A user or its group, an address or its network, a virtual host; each is counted alone."""
    core = limited(rule, virtual_hosts=("/", "/b"))

    def connect(who: dict[str, Any]) -> Client:
        whole = {"name": "ann", **who}
        groups = filter(None, [whole.pop("groups", "")])
        return come(core, whole.pop("name"), *groups, **whole)

    assert not connect(fits).session.over
    assert not connect(others).session.over
    assert connect(fits).session.over
    if rule.match != "*":
        assert not connect(others).session.over


def test_of_each_kind_the_first_that_fits_counts() -> None:
    """And of several kinds all of them."""
    core = limited(
        QuotaRule("user", "root"),
        QuotaRule("user", connections=1),
        QuotaRule("vhost", connections=3),
    )
    for _ in range(2):
        assert not come(core, "root").session.over
    assert not come(core, "ann").session.over
    assert "user ann may have 1" in str(come(core, "ann").session.fault)
    assert "virtual host / may have 3" in str(come(core, "bob").session.fault)


def test_a_user_has_so_many_subscriptions() -> None:
    """On all its connections together."""
    core = limited(QuotaRule("user", subscriptions=2))
    one, other = come(core, "ann"), come(core, "ann")
    one.subscribe("/queue/a", id="1")
    other.subscribe("/queue/a", id="1")
    one("UNSUBSCRIBE", id="1")
    other.subscribe("/queue/a", id="2")
    other.subscribe("/queue/a", id="3")
    error = other.error()
    assert error["message"] == "too many subscriptions"
    assert error.text == "user ann may have 2\n"
    one.subscribe("/queue/a", id="1")
    one.subscribe("/queue/a", id="2")
    assert one.alive()


# -- Rates -----------------------------------------------------------------------------------------


def test_producers_are_paced_to_a_rate() -> None:
    """What may come in a second comes at once, the rest as time goes by; nobody gets an ERROR."""
    core = limited(QuotaRule("user", "ann", message_rate=10))
    ann, bob = come(core, "ann"), come(core, "bob")
    frame = b"SEND\ndestination:/queue/a\n\nx\0"
    ann.write(frame * 35)
    bob.write(frame * 35)
    queue = core.broker.host("/").queues["/queue/a"]

    def came() -> int:
        return queue.depth - 35

    assert came() == 10
    assert ann.waiting == 25
    core.tick(0.05)
    assert came() <= 11
    for second in range(1, 4):
        for _ in range(10):
            core.tick(0.1)
        assert abs(came() - min(35, 10 + 10 * second)) <= 2
    assert came() == 35
    core.tick(5)
    ann.write(frame * 20)
    assert came() == 45
    for _ in range(40):
        core.tick(0.1)
    assert came() == 55
    assert not ann.session.over


def test_octets_are_paced_too() -> None:
    """Those of all frames; a large one comes whole, and is waited for afterwards."""
    core = limited(QuotaRule("address", byte_rate=1000))
    client = come(core, "ann", address="10.0.0.1")
    client.send("/queue/a", b"x" * 100_000)
    client.send("/queue/a", "next")
    queue = core.broker.host("/").queues["/queue/a"]
    assert queue.depth == 1
    for _ in range(9):
        core.tick(10)
    assert queue.depth == 1
    core.tick(12)
    assert queue.depth == 2


def test_a_connection_that_ends_is_waited_for_no_longer() -> None:
    """A timer in some hours does not keep it in memory."""
    core = limited(QuotaRule("user", byte_rate=1))
    client = come(core, "ann")
    client.send("/queue/a", b"x" * 1000)
    client.close()
    gone = weakref.ref(client)
    del client
    core.tick(60)
    gc.collect()
    assert gone() is None


def test_connections_share_what_their_user_may() -> None:
    """A second connection brings no more."""
    core = limited(QuotaRule("user", message_rate=10))
    clients = [come(core, "ann") for _ in range(2)]
    for client in clients:
        client.write(b"SEND\ndestination:/queue/a\n\nx\0" * 20)
    assert core.broker.host("/").queues["/queue/a"].depth <= 12
    for client in clients:
        client.close()
    again = come(core, "ann")
    again.write(b"SEND\ndestination:/queue/a\n\nx\0" * 20)
    assert core.broker.host("/").queues["/queue/a"].depth <= 14


def test_who_has_ended_its_direction_is_not_paced() -> None:
    """What it has sent is carried out at once, as for every other wait."""
    core = limited(QuotaRule("user", message_rate=1))
    client = come(core, "ann")
    client.write(b"SEND\ndestination:/queue/a\n\nx\0" * 5)
    assert client.waiting
    client.half_close()
    assert core.broker.host("/").queues["/queue/a"].depth == 5


def test_waiting_is_no_silence_and_can_be_looked_at() -> None:
    """No heart-beat is missed, and a listing says why nothing is read."""
    core = limited(QuotaRule("user", "ann", message_rate=1))
    client = Client(core)
    client.principal = Principal("ann")
    client.log_in({"accept-version": "1.2", "host": "/", "heart-beat": "1000,0"})
    client.write(b"SEND\ndestination:/queue/a\n\nx\0" * 30)
    core.tick(10)
    assert not client.session.over
    row = Asker(core)("connections")[0]
    assert row["paused_by"] == ["limit of user ann"]
    assert row["paused_because"] == ["user ann has sent as much as it may"]


def test_an_error_ends_what_waits() -> None:
    """A frame at fault is answered, whatever was sent before it."""
    core = limited(QuotaRule("user", message_rate=1))
    client = come(core, "ann")
    client.write(b"SEND\ndestination:/queue/a\n\nx\0SEND\n\nx\0")
    core.tick(2)
    assert client.error()["message"].startswith("SEND without")


# -- Backlog ---------------------------------------------------------------------------------------


def test_sends_wait_while_a_virtual_host_holds_too_much() -> None:
    """Not those of another one, nor of who holds messages, nor requests."""
    core = limited(QuotaRule("vhost", backlog=1000), virtual_hosts=("/", "/b"))
    core.broker.observe()
    producer, consumer, other = come(core, "a"), come(core, "b"), come(core, "c", host="/b")
    publish(producer, "/queue/a", ["x" * 600] * 2)
    core.tick(1)
    producer.send("/queue/a", "late")
    assert producer.waiting
    other.send("/queue/a", "x")
    assert not other.waiting
    consumer.subscribe("/queue/a", "client-individual", prefetch_count="1")
    (held,) = consumer.messages()
    consumer.send("/queue/b", "x")
    assert not consumer.waiting
    assert Asker(core)("health")["ok"]
    consumer.ack(held)
    core.tick(1)
    assert not producer.waiting
    assert core.broker.host("/").queues["/queue/a"].depth == 1


# -- Limits that change ----------------------------------------------------------------------------


def change(core: Core, *rules: QuotaRule) -> None:
    """Have a broker read other limits."""
    core.broker.reconfigure(replace(core.broker.settings, quotas=rules))
    core.run()


def test_new_limits_hold_at_once() -> None:
    """Who has more than it may keeps it, and gets nothing more; who waited for nothing goes on."""
    core = limited(QuotaRule("user", message_rate=1))
    ann, _, _ = come(core, "ann"), come(core, "ann"), Client(core)
    ann.write(b"SEND\ndestination:/queue/a\n\nx\0" * 5)
    assert ann.waiting
    change(core, QuotaRule("user", connections=1, subscriptions=1))
    assert not ann.waiting
    assert come(core, "ann").session.over
    ann.subscribe("/queue/b")
    assert ann.alive()
    ann.subscribe("/queue/b", id="1")
    assert ann.error()["message"] == "too many subscriptions"
    change(core)
    assert not come(core, "ann").session.over


def test_what_is_counted_of_many_is_forgotten_when_it_means_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Users without end take no memory without end; who has sent lately is remembered."""
    monkeypatch.setattr("stompd.broker.quota._UNUSED", 3)
    core = limited(QuotaRule("user", message_rate=5, byte_rate=10_000))
    busy = come(core, "busy")
    publish(busy, "/queue/a", ["x"] * 4)
    busy.close()
    present = come(core, "present")
    for number in range(10):
        come(core, f"u{number}").close()
    assert len(core.broker.quotas) < 6
    assert present.alive()
    again = come(core, "busy")
    again.write(b"SEND\ndestination:/queue/a\n\nx\0" * 4)
    assert again.waiting


@pytest.mark.parametrize(
    "make",
    [
        lambda: QuotaRule("address", "nowhere"),
        lambda: QuotaRule("user", message_rate=0),
        lambda: QuotaRule("user", byte_rate=0),
    ],
)
def test_limits_that_cannot_be(make: Any) -> None:  # noqa: ANN401 - a function
    """Are refused in a sentence."""
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_a_slow_rate_lets_one_come() -> None:
    """Of less than one a second."""
    quota = Quota(QuotaRule("user", message_rate=0.5), "ann", "user ann", 0.0)
    assert quota.messages is not None
    assert quota.messages.level == 1.0
