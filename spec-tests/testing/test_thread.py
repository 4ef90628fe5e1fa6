"""The broker in a thread: programs with stomp.py, asyncio programs and other processes."""

import asyncio
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stomp
import stompman
import trio
from client.programs import environment

from stompcli.client import connect
from stompd.broker import admin
from stompd.testing import ThreadBroker, in_thread, in_trio

PATIENCE = 30.0


@pytest.fixture
def broker() -> Iterator[ThreadBroker]:
    """A broker for one test."""
    with in_thread() as broker:
        yield broker


class Listener(stomp.ConnectionListener):  # type: ignore[misc]
    """What a program with stomp.py is told."""

    def __init__(self) -> None:
        self.bodies: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        self.receipts: queue.Queue[str] = queue.Queue()
        self.gone = threading.Event()

    def on_message(self, frame: Any) -> None:  # noqa: ANN401 - stomp.py carries no types
        """Note a message."""
        self.bodies.put(frame.body)

    def on_error(self, frame: Any) -> None:  # noqa: ANN401 - as above
        """Note an ERROR."""
        self.errors.put(frame.headers["message"])

    def on_receipt(self, frame: Any) -> None:  # noqa: ANN401 - as above
        """Note a RECEIPT."""
        self.receipts.put(frame.headers["receipt-id"])

    def on_disconnected(self) -> None:
        """Note the end."""
        self.gone.set()


@contextmanager
def connected(broker: ThreadBroker, **options: Any) -> Iterator[tuple[Any, Listener]]:  # noqa: ANN401 - as above
    """Connect with stomp.py."""
    connection = stomp.Connection12([(broker.host, broker.port)], **options)
    listener = Listener()
    connection.set_listener("", listener)
    connection.connect("fred", "secret", wait=True)
    try:
        yield connection, listener
    finally:
        connection.disconnect()
        assert listener.gone.wait(PATIENCE)


# -- Programs --------------------------------------------------------------------------------------


def test_a_producer(broker: ThreadBroker) -> None:
    """What a program with stomp.py sends is seen, with its headers."""
    with connected(broker) as (connection, _):
        connection.send("/queue/a", '{"id": 1}', content_type="application/json", color="red")
        message = broker.expect("/queue/a", json={"id": 1}, headers={"color": "red"})
        assert message.connection == broker.connections()[0].id
        connection.send("/topic/t", "to nobody")
        assert [message.text for message in broker.expect_many("/topic/t", 1)] == ["to nobody"]
    assert broker.unexpected() == []


def test_a_consumer(broker: ThreadBroker) -> None:
    """A program with stomp.py gets what the test puts, and has acknowledged it when all is gone."""
    with connected(broker) as (connection, listener):
        connection.subscribe("/queue/a", id="1", ack="auto")
        broker.wait_for_subscriber("/queue/a")
        assert broker.wait_for_connection().user == "fred"
        broker.put("/queue/a", "one")
        assert listener.bodies.get(timeout=PATIENCE) == "one"
        broker.assert_empty("/queue/a")
        assert broker.settled("/queue/a") == 1


def test_another_process(broker: ThreadBroker) -> None:
    """The stomp program finds the broker by its port."""
    command = [sys.executable, "-m", "stompcli", "-P", str(broker.port), "send", "/queue/a", "hi"]
    subprocess.run(command, env=environment(), check=True, timeout=PATIENCE)
    assert broker.expect("/queue/a").text == "hi"


def test_an_asyncio_program(broker: ThreadBroker) -> None:
    """A program with stompman goes on while the test waits in a thread beside it."""

    async def program() -> None:
        server = stompman.ConnectionParameters("127.0.0.1", broker.port, "fred", "secret")
        async with stompman.Client([server]) as client:
            await client.send(b"hello", "/queue/a")
            message = await asyncio.to_thread(broker.expect, "/queue/a", body=b"hello")
            assert message.headers["destination"] == "/queue/a"
            (connection,) = await asyncio.to_thread(broker.wait_for_connections, 1)
            assert connection.user == "fred"

    asyncio.run(program())


# -- Waiting that fails ----------------------------------------------------------------------------


def test_failures_are_told(broker: ThreadBroker) -> None:
    """Each wait ends by an AssertionError that tells what there was instead."""
    broker.put("/queue/a", "left")
    fails: list[tuple[Callable[[], object], str]] = [
        (lambda: broker.expect("/queue/b", timeout=0.01), "nothing came to /queue/b"),
        (lambda: broker.expect_many("/queue/b", 2, timeout=0.01), "0 of 2 messages to /queue/b"),
        (lambda: broker.assert_empty("/queue/a", timeout=0.01), '1. "left"'),
        (lambda: broker.wait_for_subscriber("/queue/a", timeout=0.01), "nobody is connected"),
        (lambda: broker.wait_for_connection(timeout=0.01), "fewer than 1 programs"),
        (lambda: broker.wait_for_connections(2, timeout=0.01), "fewer than 2 programs"),
        (lambda: broker.wait_until(lambda: False, "pigs fly", timeout=0.01), "pigs fly"),
    ]
    for wait, words in fails:
        with pytest.raises(AssertionError, match=words):
            wait()


def test_conditions(broker: ThreadBroker) -> None:
    """A condition is asked in the broker's thread, where it may use all that does not wait."""
    with connected(broker) as (connection, _):
        connection.send("/queue/a", "x")
        found = broker.wait_until(lambda: broker.messages("/queue/a"))
        assert [message.text for message in found] == ["x"]
        with pytest.raises(RuntimeError, match="on the broker's own thread"):
            broker.run_in_broker(lambda _: broker.expect("/queue/a"))
        assert broker.run_in_broker(admin.status)["messages"] == 1


# -- Clock and faults ------------------------------------------------------------------------------


def test_the_clock_is_turned(broker: ThreadBroker) -> None:
    """Days pass for the broker at once; clients stay connected unless the test says otherwise."""
    # The broker is to write none: stomp.py loses a frame that it reads together with two of them.
    with connected(broker, heartbeats=(20_000, 0)) as (connection, listener):
        began, real = broker.clock.now(), time.monotonic()
        broker.clock.advance(86_400)
        assert broker.clock.now() - began >= 86_400
        assert time.monotonic() - real < 3600
        connection.send("/queue/a", "x")
        broker.expect("/queue/a")
        broker.clock.advance(60, silent=True)
        assert "heart-beat timeout" in listener.errors.get(timeout=PATIENCE)
        assert listener.gone.wait(PATIENCE)


def test_a_dropped_connection(broker: ThreadBroker) -> None:
    """The program notices, and may come again."""
    with connected(broker) as (_, listener):
        broker.drop_connections()
        assert listener.gone.wait(PATIENCE)
        assert broker.connections() == []
    with connected(broker) as (connection, _):
        connection.send("/queue/a", "x")
        broker.expect("/queue/a")


def test_refused_connections(broker: ThreadBroker) -> None:
    """The system refuses connections while the test says so; the port is the same afterwards."""
    port = broker.port
    broker.refuse_connections()
    broker.refuse_connections()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port))
    broker.accept_connections()
    broker.accept_connections()
    assert broker.port == port
    with connected(broker):
        pass


def read_all(sock: socket.socket) -> bytes:
    """Read to the end of the stream."""
    got = b""
    while data := sock.recv(65536):
        got += data
    return got


CONNECT = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0"


def test_cut_over_tcp(broker: ThreadBroker) -> None:
    """The client gets exactly so many octets and then the end; or is reset after so many."""
    broker.next_faults().cut(to_client=20)
    with socket.create_connection((broker.host, broker.port), timeout=PATIENCE) as sock:
        sock.sendall(CONNECT)
        assert read_all(sock) == b"CONNECTED\nversion:1."
    broker.next_faults().cut(to_broker=len(CONNECT) + 5)
    with socket.create_connection((broker.host, broker.port), timeout=PATIENCE) as sock:
        sock.sendall(CONNECT)
        broker.wait_for_connection()
        sock.sendall(b"SEND\ndestination:/queue/a\n\nx\0")
        with pytest.raises(ConnectionResetError):
            read_all(sock)
    assert broker.sent() == []


def test_faults_over_tcp(broker: ThreadBroker) -> None:
    """Stalls, withheld receipts and errors reach a program with stomp.py."""
    with connected(broker) as (connection, listener):
        broker.faults.withhold_receipts()
        connection.send("/queue/a", "x", receipt="r1")
        broker.expect("/queue/a")
        assert listener.receipts.empty()
        broker.faults.release_receipts()
        assert listener.receipts.get(timeout=PATIENCE) == "r1"
        broker.faults.stall(to_client=False)
        connection.send("/queue/a", "y", receipt="r2")
        with pytest.raises(AssertionError):
            broker.expect("/queue/a", timeout=0.05)
        broker.faults.heal()
        assert listener.receipts.get(timeout=PATIENCE) == "r2"
        broker.faults.error_on("SEND", "disk full")
        connection.send("/queue/a", "z")
        assert listener.errors.get(timeout=PATIENCE) == "disk full"
        assert listener.gone.wait(PATIENCE)


def test_the_last_words_arrive(broker: ThreadBroker) -> None:
    """An ERROR reaches a client that has written much more that is not read."""
    with socket.create_connection((broker.host, broker.port), timeout=PATIENCE) as sock:
        sock.sendall(CONNECT + b"SEND\nnothing\n\n\0" + 100_000 * b"x")
        assert b"\nERROR\n" in read_all(sock)


# -- Beginning and end -----------------------------------------------------------------------------


def test_wrong_settings_are_raised_at_the_start() -> None:
    """Settings that are wrong are told where the block begins."""
    with pytest.raises(ValueError, match="listen is a setting of the daemon"), in_thread(listen=[]):
        pass


def test_after_the_end() -> None:
    """After the block the port is closed, and the broker says that it has stopped."""
    with in_thread() as broker:
        port = broker.port
        assert broker.url == f"stomp://127.0.0.1:{port}"
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        broker.wait_until(broker.connections)
    assert "stompd" not in [thread.name for thread in threading.enumerate()]
    assert sock.recv(1) == b""
    sock.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    with pytest.raises(RuntimeError, match="has stopped"):
        broker.messages("/queue/a")
    with pytest.raises(RuntimeError, match="has stopped"):
        broker.expect("/queue/a")


def test_a_fault_of_the_broker_is_not_hidden() -> None:
    """If the broker itself fails, that is raised after the block."""

    def due() -> None:
        raise ZeroDivisionError

    def arrange(broker: ThreadBroker) -> None:
        broker.run_in_broker(lambda core: core.at(core.now, due))
        with pytest.raises(RuntimeError, match="has stopped"):
            broker.wait_until(lambda: False)

    with pytest.RaisesGroup(ZeroDivisionError), in_thread() as broker:
        arrange(broker)
    with pytest.RaisesGroup(ZeroDivisionError), in_thread() as broker:
        arrange(broker)
        broker.messages("/queue/a")


async def test_a_thread_beside_a_trio_test(broker: ThreadBroker) -> None:
    """A trio test may use it too, but for what would make its own loop stand still."""
    async with connect(broker.url) as client:
        await client.send("/queue/a", "x", receipt=True)
        assert [message.text for message in broker.messages("/queue/a")] == ["x"]
        with pytest.raises(RuntimeError, match="blocking function"):
            broker.expect("/queue/a")
        assert (await trio.to_thread.run_sync(broker.expect, "/queue/a")).text == "x"


async def test_tcp_in_the_tests_own_loop() -> None:
    """The trio form listens on a port as well, for programs that dial themselves."""
    async with in_trio() as broker:
        with pytest.raises(RuntimeError, match="call its listen"):
            _ = broker.port
        broker.refuse_connections()
        assert broker.listen() == broker.port == broker.listen()
        with pytest.raises(OSError, match=r"refused|connect"):
            await trio.open_tcp_stream("127.0.0.1", broker.port)
        broker.accept_connections()
        async with connect(broker.url) as client:
            await client.send("/queue/a", "x")
            await broker.expect("/queue/a")
            # A method that does not wait may be called from any thread.
            assert len(await trio.to_thread.run_sync(broker.messages, "/queue/a")) == 1
