"""A client-id belongs to one connection: the newest."""

import pytest
from broker.client import Core, numbers, publish, settings
from broker.paging import PagedCore

from stompd.broker.session import CloseReason
from stompd.protocol.decoder import Decoder

TOPIC = "/topic/a"


def test_the_second_connection_takes_over(core: Core) -> None:
    """The first one gets an ERROR that says who, and is closed; the second one works."""
    old = core.client(client_id="me")
    new = core.client(client_id="me")
    error = old.error()
    assert error["message"] == "client-id in use"
    assert error.text == 'another connection, test, has taken over "me"\n'
    assert old.session.reason is CloseReason.TAKEN_OVER
    assert old.closed
    assert new.alive()
    assert core.broker.host("/").clients == {"me": new.session}
    # The end of the old one changed nothing for the new one; its own end frees the client-id.
    new("DISCONNECT")
    assert core.broker.host("/").clients == {}
    third = core.client(client_id="me")
    assert third.alive()


@pytest.mark.parametrize("headers", [{}, {"client_id": ""}, {"client_id": "you"}])
def test_others_are_left_alone(core: Core, headers: dict[str, str]) -> None:
    """Without client-id, with an empty one, with another one: all of them live."""
    one, two, me = core.client(**headers), core.client(), core.client(client_id="me")
    core.client(**({} if "you" in headers.values() else headers))
    assert one.alive()
    assert two.alive()
    assert me.alive()


def test_virtual_hosts_are_apart() -> None:
    """The same client-id in another one is another client."""
    core = Core(settings(virtual_hosts=("/", "other")))
    here, there = core.client(client_id="me"), core.client(client_id="me", host="other")
    assert here.alive()
    assert there.alive()


def test_a_log_in_that_is_refused_takes_nothing_over(core: Core) -> None:
    """Only who is let in takes over, and not before."""
    old = core.client(client_id="me")
    stranger = core.broker.open("stranger", core.now)
    (frame,) = Decoder("server").feed(b"CONNECT\naccept-version:1.2\nhost:/\nclient-id:me\n\n\0")
    stranger.receive([frame], 0, core.now)
    assert old.alive()
    stranger.refuse("access refused", "wrong password")
    stranger.close(CloseReason.REFUSED, core.now)
    assert old.alive()
    assert core.broker.host("/").clients == {"me": old.session}


def test_the_new_one_gets_what_was_unsettled(core: Core) -> None:
    """Of a durable subscription, redelivered, before the backlog; the oldest counts as tried."""
    old, publisher = core.client(client_id="me"), core.client()
    old.subscribe(TOPIC, "client-individual", durable="true", prefetch_count="2")
    publish(publisher, TOPIC, numbers(1, 4))
    messages = old.messages(2)
    new = core.client(client_id="me")
    assert old.error()["message"] == "client-id in use"
    new.subscribe(TOPIC, "client-individual", durable="true")
    frames = new.messages(4)
    assert [frame.text for frame in frames] == numbers(1, 4)
    assert [frame.get("delivery-count") for frame in frames] == ["2", "1", None, None]
    assert [frame.get("original-message-id") for frame in frames[:2]] == [
        message["message-id"] for message in messages
    ]
    for frame in frames:
        new.ack(frame)
    assert core.broker.host("/").durables["me", "0"].queue.count == 0


def test_what_was_not_written_comes_when_the_old_connection_is_gone(core: Core) -> None:
    """In mode auto what the old peer did not read may have arrived until it is known that not."""
    old, publisher = core.client(client_id="me"), core.client()
    old.subscribe(TOPIC, durable="true")
    old.reading = False
    publish(publisher, TOPIC, numbers(1, 3))
    new = core.client(client_id="me")
    new.subscribe(TOPIC, durable="true")
    assert new.bodies() == []
    old.close(CloseReason.PEER_RESET)
    frames = new.messages(3)
    assert [frame.text for frame in frames] == numbers(1, 3)
    assert {frame["redelivered"] for frame in frames} == {"true"}


def test_its_transactions_and_temporaries_end(core: Core) -> None:
    """As with any connection that ends after an ERROR."""
    old, reader = core.client(client_id="me"), core.client()
    reader.subscribe("/queue/a")
    old("BEGIN", transaction="t")
    publish(old, "/queue/a", ["x"], transaction="t")
    old.subscribe("/temp-queue/answers")
    core.client(client_id="me")
    assert reader.bodies() == []
    assert set(core.broker.host("/").queues) == {"/queue/a"}


def test_one_that_is_paused_is_taken_over(core: Core) -> None:
    """A publisher that waits for room does not keep its client-id."""
    core = Core(settings(max_messages=1))
    old = core.client(client_id="me")
    publish(old, "/queue/a", numbers(1, 5))
    assert old.session.paused
    new = core.client(client_id="me")
    assert old.error()["message"] == "client-id in use"
    new.subscribe("/queue/a")
    assert new.bodies() == ["1", "2"]


def test_one_that_says_goodbye_still_gets_its_receipts() -> None:
    """It has given up everything, so there is nothing to take from it."""
    core = PagedCore()
    old = core.client(client_id="me")
    publish(old, "/queue/a", ["x"], persistent="true", receipt="r")
    old("DISCONNECT", receipt="bye")
    new = core.client(client_id="me")
    core.durable()
    assert old.receipts() == ["r", "bye"]
    assert old.session.reason is CloseReason.DISCONNECT
    assert core.broker.host("/").clients == {"me": new.session}


def test_a_drained_broker_takes_nothing_over_for_long(core: Core) -> None:
    """Who comes while the broker stops is sent away, and the old one is gone."""
    old = core.client(client_id="me")
    old.subscribe("/queue/a", "client")
    publish(core.client(), "/queue/a", ["x"])
    core.broker.drain()
    core.run()
    new = core.client(client_id="me")
    assert new.error()["message"] == "the server is stopping"
    assert old.take()[-1].command == "ERROR"
    assert core.broker.host("/").clients == {}
