"""What the broker tells on ``/topic/$SYS``."""

import json
from typing import Any

import pytest
from broker.client import Client, Core, settings

from stompd.broker.event import publish


def _events(client: Client) -> list[tuple[str, dict[str, Any]]]:
    """Return where each MESSAGE that came was published, and what it says."""
    return [(message["destination"], json.loads(message.body)) for message in client.messages()]


@pytest.mark.parametrize(
    "destination",
    [
        "/topic/$SYS/events/greeting",
        "/topic/$SYS/events/*",
        "/topic/$SYS/events/#",
        "/topic/$SYS/#",
        "/topic/$SYS.events.>",
    ],
)
def test_an_event_is_a_json_object(destination: str) -> None:
    """With its kind and the time in milliseconds; the topic tells the kind too."""
    core = Core(epoch=1_700_000_000.0)
    listener = core.administrator()
    listener.subscribe(destination)
    listener.take()
    core.tick(1.5)
    core.broker.tell("greeting", core.broker.host("/"), who="Zoë", count=3)
    core.run()
    (message,) = listener.messages(1)
    assert message["destination"] == "/topic/$SYS/events/greeting"
    assert message["content-type"] == "application/json"
    assert message["content-length"] == str(len(message.body))
    assert message.text == ('{"event":"greeting","time":1700000001500,"who":"Zoë","count":3}')


@pytest.mark.parametrize("destination", ["/topic/#", "/topic/*/events/#", "/topic/$SYS/stats/#"])
def test_others_hear_nothing(core: Core, destination: str) -> None:
    """Wildcards do not match what is the broker's own, unless they name it."""
    listener = core.administrator()
    listener.subscribe(destination)
    core.broker.tell("greeting", core.broker.host("/"))
    core.run()
    assert listener.take() == []


def test_nothing_is_published_for_nobody(core: Core) -> None:
    """Not even a topic is made; it goes again when the last listener has left."""
    host = core.broker.host("/")
    core.broker.tell("greeting", host)
    publish(host, "stats/greeting", {})
    assert not host.topics
    one, two = core.administrator(), core.administrator()
    one.subscribe("/topic/$SYS/#")
    two.subscribe("/topic/$SYS/stats/greeting")
    assert host.watchers == 2
    assert one.take()
    publish(host, "stats/greeting", {"x": 1})
    core.run()
    assert _events(one) == _events(two) == [("/topic/$SYS/stats/greeting", {"x": 1})]
    one("UNSUBSCRIBE", id="0")
    two.close()
    assert host.watchers == 0
    core.broker.tell("other", host)
    assert "/topic/$SYS/events/other" not in host.topics
    for _ in range(3):
        core.tick(300.0)
    assert not host.topics


def test_virtual_hosts_have_their_own(core: Core) -> None:
    """What happens in one is not told in another."""
    core = Core(settings(virtual_hosts=("/", "other")))
    here, there = core.administrator(), core.administrator(host="other")
    for client in (here, there):
        client.subscribe("/topic/$SYS/#")
        client.take()
    core.broker.tell("greeting", core.broker.host("other"))
    core.run()
    assert here.take() == []
    assert len(there.messages()) == 1


def test_octets_that_are_no_text(core: Core) -> None:
    """What a peer wrote may be anything; JSON it is all the same."""
    listener = core.administrator()
    listener.subscribe("/topic/$SYS/#")
    listener.take()
    core.broker.tell("greeting", core.broker.host("/"), who="a\udcff\0\n")
    core.run()
    assert _events(listener)[0][1]["who"] == "a?\0\n"


@pytest.mark.parametrize("rule", ["block", "drop-oldest"])
def test_a_listener_that_does_not_read_holds_nothing_up(rule: str) -> None:
    """The broker waits for nobody: of what it told, the oldest is dropped."""
    core = Core(settings(slow_consumer=rule, outbox_high=1000, slow_consumer_grace=2.0))
    listener, fast = core.administrator(), core.administrator()
    for client in (listener, fast):
        client.subscribe("/topic/$SYS/events/greeting")
    listener.reading = False
    for _ in range(500):
        core.broker.tell("greeting", core.broker.host("/"), text="x" * 100)
        core.tick(0.1)
    assert len(fast.messages()) == 500
    (subscription,) = listener.session.subscriptions.values()
    assert subscription.backlog_size <= 1200
    assert subscription.dropped > 450
    listener.read_again()
    assert not listener.session.over
    assert 0 < len(listener.messages()) < 50


def test_a_listener_that_does_not_read_is_closed() -> None:
    """Where that is the policy, as with any topic."""
    core = Core(settings(outbox_high=1000))
    listener = core.administrator()
    listener.subscribe("/topic/$SYS/#")
    listener.reading = False
    for _ in range(50):
        core.broker.tell("greeting", core.broker.host("/"), text="x" * 100)
        core.tick(0.1)
    listener.read_again()
    assert listener.error()["message"] == "slow consumer"
    assert core.broker.host("/").watchers == 0


def test_a_selector_on_events(core: Core) -> None:
    """It looks at headers, of which an event has few; what it says is in the body."""
    listener = core.administrator()
    listener.subscribe("/topic/$SYS/#", selector="destination LIKE '%greeting'")
    for kind in ("greeting", "farewell"):
        core.broker.tell(kind, core.broker.host("/"))
    core.run()
    assert [event["event"] for _, event in _events(listener)] == ["greeting"]
