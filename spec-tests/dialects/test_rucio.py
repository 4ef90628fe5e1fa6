"""What Rucio's daemons write, with their own calls of stomp.py: events out, traces in.

``hermes`` sends events over STOMP 1.2, each over one of several connections, with
``persistent:true`` and without receipts: it relies on the connection alone. ``kronos`` reads traces
over 1.1 with heart-beats of the server only, ``activemq.prefetchSize``, a name of its own as
subscription id, and acknowledges a whole chunk once it is in the database.
"""
# ruff: noqa: ANN401 - stomp.py carries no types

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stomp
from interop.listener import Listener, carry_out
from server.process import PATIENCE, Daemon

SUBSCRIPTION = "rucio-tracer-kronos"


@contextmanager
def hermes(stompd: Daemon, vhost: str | None = None) -> Iterator[tuple[Any, Listener]]:
    """Connect in the block as ``hermes`` does."""
    connection = stomp.Connection12(
        host_and_ports=[("127.0.0.1", stompd.port)], vhost=vhost, keepalive=True, timeout=3
    )
    listener = Listener()
    connection.set_listener("rucio-hermes", listener)
    connection.connect("ddm", "secret", wait=True)
    try:
        yield connection, listener
    finally:
        connection.disconnect(receipt="bye")
        while listener.receipt() != "bye":
            pass


def deliver(connection: Any, destination: str, event_type: str, payload: object) -> None:
    """SEND one event as ``hermes`` does."""
    created = "2026-11-25 22:58:00"
    connection.send(
        body=json.dumps({"event_type": event_type, "payload": payload, "created_at": created}),
        destination=destination,
        headers={"persistent": "true", "event_type": event_type},
    )


@contextmanager
def kronos(
    stompd: Daemon, queue: str, prefetch: int, *, crash: bool = False
) -> Iterator[tuple[Any, Listener]]:
    """Consume in the block as ``kronos`` does; end with DISCONNECT, or with ``crash`` without."""
    connection = stomp.Connection(
        host_and_ports=[("127.0.0.1", stompd.port)],
        vhost="/atlas",
        timeout=60,
        heartbeats=(0, 5000),
        reconnect_attempts_max=3,
    )
    listener = Listener()
    connection.set_listener("rucio-tracer-kronos", listener)
    connection.connect("ddm", "secret")
    connection.subscribe(
        destination=queue,
        ack="client-individual",
        id=SUBSCRIPTION,
        headers={"activemq.prefetchSize": prefetch},
    )
    try:
        yield connection, listener
    finally:
        if crash:
            connection.transport.disconnect_socket()
        else:
            connection.disconnect()
        assert listener.disconnected.wait(PATIENCE)


def trace(connection: Any, queue: str, number: int, **headers: str) -> None:
    """SEND a trace as its server does: ``appversion`` tells whose it is."""
    body = json.dumps({"eventType": "get_sm", "filename": f"file.{number}"})
    connection.send(body=body, destination=queue, headers={"appversion": "rucio", **headers})


def test_events_are_delivered_to_every_listener(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Events of several connections to one topic, with ``vhost`` set and without.

    The virtual host is one that stompd has never heard of: it is no reason to refuse.
    """
    topic = f"/topic/rucio.{fresh()}"
    with stompd.connect("1.1") as monitor:
        monitor.subscribe("rucio-messaging", topic, "ack:auto")
        with hermes(stompd) as (one, _), hermes(stompd, "/rucio") as (two, errors):
            deliver(one, topic, "transfer-done", {"scope": "mc", "name": "file.1"})
            monitored = monitor.expect("MESSAGE", "event_type:transfer-done", "persistent:true")
            assert json.loads(monitored.body)["payload"] == {"scope": "mc", "name": "file.1"}
            deliver(two, topic, "deletion-failed", {"reason": "größer: 5\n"})
            monitored = monitor.expect("MESSAGE", "event_type:deletion-failed")
            assert json.loads(monitored.body)["payload"] == {"reason": "größer: 5\n"}
            assert errors.errors.empty()


def test_a_connection_that_was_lost_is_opened_again(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Before each event it asks ``is_connected()`` and, if not, connects the same object anew."""
    queue = f"/queue/rucio.{fresh()}"
    with hermes(stompd) as (connection, listener):
        deliver(connection, queue, "dataset-new", 1)
        carry_out(connection, listener)
        connection.transport.disconnect_socket()
        # Its thread has to be over too: the daemon comes back to this connection much later.
        connection.transport.io_thread.join(PATIENCE)
        assert not connection.is_connected()
        connection.connect("ddm", "secret", wait=True)
        deliver(connection, queue, "dataset-new", 2)
        carry_out(connection, listener)
    with stompd.connect() as reader:
        reader.subscribe("s", queue)
        payloads = [json.loads(frame.body)["payload"] for frame in reader.messages(2)]
        assert payloads == [1, 2]


def test_a_chunk_is_acknowledged_once_it_is_in_the_database(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Chunks of ten with a prefetch of ten; what belongs to no full chunk comes again.

    The daemon is killed with five traces in hand. The next one gets them, marked as redelivered,
    before what had waited behind them, and none of the twenty that were acknowledged.
    """
    queue = f"/queue/rucio.tracer.{fresh()}"
    with hermes(stompd) as (producer, produced):
        for number in range(25):
            trace(producer, queue, number)
        carry_out(producer, produced)
    seen = []
    with kronos(stompd, queue, 10, crash=True) as (connection, listener):
        for _ in range(2):
            ids = []
            for _ in range(10):
                frame = listener.message()
                assert frame.headers["appversion"] == "rucio"
                ids.append(frame.headers["message-id"])
                seen.append(json.loads(frame.body)["filename"])
            for identifier in ids:
                connection.ack(identifier, SUBSCRIPTION)
        for _ in range(5):
            listener.message()
        carry_out(connection, listener)
        assert listener.messages.empty()
    assert seen == [f"file.{number}" for number in range(20)]
    with kronos(stompd, queue, 10) as (connection, listener):
        trace(connection, queue, 25)
        frames = [listener.message() for _ in range(6)]
        assert [json.loads(frame.body)["filename"] for frame in frames] == [
            f"file.{number}" for number in range(20, 26)
        ]
        assert [frame.headers.get("redelivered") for frame in frames] == ["true"] * 5 + [None]
        for frame in frames:
            connection.ack(frame.headers["message-id"], SUBSCRIPTION)
        carry_out(connection, listener)


def test_no_more_than_the_prefetch_is_delivered(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """``activemq.prefetchSize`` counts messages; two daemons share what comes."""
    queue = f"/queue/rucio.tracer.{fresh()}"
    with hermes(stompd) as (producer, produced):
        for number in range(7):
            trace(producer, queue, number)
        carry_out(producer, produced)
    with kronos(stompd, queue, 3) as (one, to_one):
        carry_out(one, to_one)
        assert to_one.messages.qsize() == 3
        with kronos(stompd, queue, 3) as (two, to_two):
            carry_out(two, to_two)
            assert to_two.messages.qsize() == 3
            # Old traces, without the header, are acknowledged at once: each makes room for one.
            two.ack(to_two.message().headers["message-id"], SUBSCRIPTION)
            carry_out(two, to_two)
            assert to_two.messages.qsize() == 3


def test_a_locked_row_is_tried_again_later(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """A trace that cannot be stored goes to the queue's end as a new message, then is ACKed."""
    queue = f"/queue/rucio.tracer.{fresh()}"
    with kronos(stompd, queue, 1000) as (connection, listener):
        trace(connection, queue, 1)
        trace(connection, queue, 2)
        frame = listener.message()
        trace(connection, queue, 1, resubmitted="1")
        connection.ack(frame.headers["message-id"], SUBSCRIPTION)
        frames = [listener.message() for _ in range(2)]
        assert [frame.headers.get("resubmitted") for frame in frames] == [None, "1"]
        assert json.loads(frames[1].body)["filename"] == "file.1"
        assert "redelivered" not in frames[1].headers
        for frame in frames:
            connection.ack(frame.headers["message-id"], SUBSCRIPTION)
        carry_out(connection, listener)
        assert listener.errors.empty()
