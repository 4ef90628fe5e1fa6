"""Programs that were written with stomp.py for ActiveMQ, unchanged, against a running stompd."""
# ruff: noqa: ANN401 - stomp.py carries no types

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stomp
from interop.listener import Listener
from server.process import PATIENCE, Daemon, daemon

VERSIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}
in_each_version = pytest.mark.parametrize("version", list(VERSIONS))
since_1_1 = pytest.mark.parametrize("version", ["1.1", "1.2"])


@contextmanager
def connected(stompd: Daemon, version: str, **options: Any) -> Iterator[tuple[Any, Listener]]:
    """Connect in the block as such programs do, and disconnect with a receipt."""
    if version != "1.0":
        options.setdefault("heartbeats", (8000, 8000))
    connection = VERSIONS[version]([("127.0.0.1", stompd.port)], **options)
    listener = Listener()
    connection.set_listener("", listener)
    connection.connect(login="admin", passcode="admin", wait=True)
    try:
        yield connection, listener
    finally:
        if connection.is_connected():
            connection.disconnect(receipt="bye")
        assert listener.disconnected.wait(PATIENCE)


def subscribe(connection: Any, destination: str, ack: str = "auto", **headers: str) -> None:
    """SUBSCRIBE, in each version by its own rules."""
    connection.subscribe(destination=destination, id="1", ack=ack, headers=headers)


def acknowledge(connection: Any, version: str, frame: Any, **options: Any) -> None:
    """ACK, in each version by its own rules."""
    if version == "1.1":
        connection.ack(frame.headers["message-id"], frame.headers["subscription"], **options)
    else:
        name = "ack" if version == "1.2" else "message-id"
        connection.ack(frame.headers[name], **options)


@in_each_version
@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_a_producer_and_a_consumer_written_for_activemq(
    version: str, ack: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``persistent``, ``login``, a listener class, each ack mode: nothing has to be changed."""
    name = fresh()
    with (
        connected(stompd, version) as (producer, sent),
        connected(stompd, version) as (
            consumer,
            got,
        ),
    ):
        subscribe(consumer, name, ack, **{"activemq.prefetchSize": "10"})
        for number in range(25):
            producer.send(
                name,
                f"message {number}",
                content_type="text/plain",
                headers={"persistent": "true", "priority": "4", "n": str(number)},
                receipt=f"r{number}",
            )
        assert [sent.receipt() for _ in range(25)] == [f"r{number}" for number in range(25)]
        for number in range(25):
            frame = got.message()
            assert frame.body == f"message {number}"
            assert frame.headers["destination"] == name
            assert frame.headers["persistent"] == "true"
            assert frame.headers["n"] == str(number)
            if ack != "auto":
                acknowledge(consumer, version, frame)
        assert got.errors.empty()
    with connected(stompd, version) as (consumer, got):
        # Nothing may be left: the next message that comes is a new one.
        subscribe(consumer, name)
        consumer.send(name, "the last one")
        assert got.message().body == "the last one"


@in_each_version
def test_the_connected_frame_has_what_stomp_py_reads(version: str, stompd: Daemon) -> None:
    """A session, the server's name, the version, and heart-beats where there are any."""
    with connected(stompd, version) as (_, listener):
        headers = listener.connected.get(timeout=PATIENCE).headers
        assert headers["version"] == version
        assert headers["session"]
        assert headers["server"].startswith("stompd/")
        assert headers.get("heart-beat") == (None if version == "1.0" else "8000,8000")


@in_each_version
def test_what_is_not_acknowledged_comes_again(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """A consumer that leaves without ACK gets the message once more, marked as redelivered."""
    name = fresh()
    with connected(stompd, version) as (consumer, got):
        subscribe(consumer, name, "client-individual")
        consumer.send(name, "again")
        assert "redelivered" not in got.message().headers
    with connected(stompd, version) as (consumer, got):
        subscribe(consumer, name, "client-individual")
        frame = got.message()
        assert (frame.body, frame.headers["redelivered"]) == ("again", "true")
        acknowledge(consumer, version, frame, receipt="done")
        assert got.receipt() == "done"


@since_1_1
def test_nack_brings_a_message_back_and_then_to_the_dead_letters(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Five attempts, as ActiveMQ has them, then it lies in the queue's dead-letter queue."""
    name = fresh()
    with connected(stompd, version) as (consumer, got):
        subscribe(consumer, name, "client-individual")
        consumer.send(name, "poison")
        for _ in range(5):
            frame = got.message()
            key = "ack" if version == "1.2" else "message-id"
            if version == "1.1":
                consumer.nack(frame.headers[key], frame.headers["subscription"])
            else:
                consumer.nack(frame.headers[key])
        consumer.subscribe(f"/queue/DLQ.{name.removeprefix('/queue/')}", id="dead", ack="auto")
        frame = got.message()
        assert frame.body == "poison"
        assert frame.headers["original-destination"] == name
        assert frame.headers["dead-letter-reason"] == "max-deliveries"


@in_each_version
def test_transactions(version: str, stompd: Daemon, fresh: Callable[[], str]) -> None:
    """What was committed comes in order, what was aborted does not come, ACKs belong to them."""
    name = fresh()
    with (
        connected(stompd, version) as (producer, sent),
        connected(stompd, version) as (
            consumer,
            got,
        ),
    ):
        lost = producer.begin()
        producer.send(name, "lost", transaction=lost)
        producer.abort(lost)
        kept = producer.begin()
        for number in range(5):
            producer.send(name, f"kept {number}", transaction=kept, receipt=f"{number}")
        # The receipts of transacted frames come before the COMMIT.
        assert [sent.receipt() for _ in range(5)] == ["0", "1", "2", "3", "4"]
        subscribe(consumer, name, "client-individual")
        producer.commit(kept)
        frames = [got.message() for _ in range(5)]
        assert [frame.body for frame in frames] == [f"kept {number}" for number in range(5)]
        settled = consumer.begin()
        for frame in frames:
            acknowledge(consumer, version, frame, transaction=settled)
        consumer.commit(settled, receipt="settled")
        assert got.receipt() == "settled"
    with connected(stompd, version) as (consumer, got):
        subscribe(consumer, name)
        consumer.send(name, "only this")
        assert got.message().body == "only this"


@in_each_version
@pytest.mark.parametrize("size", [1, 65_536, 3_000_000])
def test_binary_and_large_bodies(
    version: str, size: int, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Every octet comes back, NULs and line ends among them."""
    name = fresh()
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    with connected(stompd, version, auto_decode=False) as (connection, got):
        subscribe(connection, name)
        connection.send(name, body, content_type="application/octet-stream")
        frame = got.message()
        assert frame.body == body
        assert frame.headers["content-length"] == str(size)
        assert frame.headers["content-type"] == "application/octet-stream"


@in_each_version
def test_text_and_headers_beyond_ascii(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """UTF-8 in bodies, header names and values; what 1.1 and 1.2 escape arrives unescaped."""
    name = fresh()
    headers = {"größe": "été", "emoji": "🎈"}
    if version != "1.0":
        headers["odd"] = "a:b\\c\nd"
    with connected(stompd, version) as (connection, got):
        subscribe(connection, name)
        connection.send(name, "naïve 日本 🎈", headers=headers)
        frame = got.message()
        assert frame.body == "naïve 日本 🎈"
        assert {key: frame.headers[key] for key in headers} == headers


@in_each_version
def test_topics(version: str, stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Each subscriber gets a copy, wildcards too."""
    name = fresh().replace("/queue/", "/topic/")
    with connected(stompd, version) as (one, first), connected(stompd, version) as (two, second):
        subscribe(one, name, receipt="here")
        two.subscribe(f"{name}.>", id="wild", ack="auto", receipt="here")
        assert (first.receipt(), second.receipt()) == ("here", "here")
        one.send(name, "plain")
        one.send(f"{name}.a.b", "deep")
        assert first.message().body == "plain"
        assert [second.message().body for _ in range(2)] == ["plain", "deep"]


@in_each_version
def test_an_error_reaches_the_listener(version: str, stompd: Daemon) -> None:
    """on_error gets text for people, then on_disconnected is called."""
    with connected(stompd, version) as (connection, got):
        connection.send("/queue/*", "to a wildcard", receipt="r")
        frame = got.errors.get(timeout=PATIENCE)
        assert frame.headers["message"]
        assert frame.headers["receipt-id"] == "r"
        assert frame.body.strip()
        assert got.disconnected.wait(PATIENCE)


@pytest.mark.slow
@since_1_1
def test_heart_beats_both_ways(version: str, stompd: Daemon) -> None:
    """An idle connection with beats of a second stays, and stomp.py sees the server's."""
    with connected(stompd, version, heartbeats=(1000, 1000)) as (connection, got):
        for _ in range(5):
            assert got.beats.acquire(timeout=PATIENCE)
        assert connection.is_connected()
        assert got.errors.empty()
        connection.send("/queue/beat", "still here", receipt="r")
        assert got.receipt() == "r"


@pytest.mark.slow
@in_each_version
def test_a_consumer_reconnects_after_a_restart(version: str) -> None:
    """Told that the connection is gone, it connects and subscribes again, on the same port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    flags = ("--listen", f"127.0.0.1:{port}")
    connection = VERSIONS[version]([("127.0.0.1", port)])
    listener = Listener()
    connection.set_listener("", listener)

    def begin() -> None:
        connection.connect("admin", "admin", wait=True)
        subscribe(connection, "/queue/a")

    with daemon(*flags, port=False) as first:
        begin()
        connection.send("/queue/a", "before")
        assert listener.message().body == "before"
        first.process.kill()
        first.ended()
    assert listener.disconnected.wait(PATIENCE)
    with daemon(*flags, port=False) as second:
        begin()
        with second.connect() as wire:
            wire.put("/queue/a", b"after")
        assert listener.message().body == "after"
        connection.disconnect(receipt="bye")
