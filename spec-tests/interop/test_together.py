"""Everybody at the same time: one topic, one queue, and every kind of client."""

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import stomp
import stompman
from interop.clients import terminal
from server.process import PATIENCE, Daemon

# Whoever has subscribed waits here; when all have, they send.
Start = threading.Barrier
Client = Callable[[int, str, str, int, Start], list[str]]

CLIENTS = ("stomp.py 1.0", "stomp.py 1.1", "stomp.py 1.2", "stompman", "stomp", "telnet", "netcat")


def with_stomp_py(version: str) -> Client:
    """Return a client that is a program with stomp.py's listener class."""
    kind = {
        "1.0": stomp.StompConnection10,
        "1.1": stomp.StompConnection11,
        "1.2": stomp.StompConnection12,
    }[version]

    def client(port: int, topic: str, text: str, count: int, start: Start) -> list[str]:
        bodies: list[str] = []
        subscribed = threading.Event()
        complete = threading.Event()

        class Listener(stomp.ConnectionListener):  # type: ignore[misc]
            def on_message(self, frame: stomp.utils.Frame) -> None:
                bodies.append(frame.body)
                if len(bodies) == count:
                    complete.set()

            def on_receipt(self, _frame: stomp.utils.Frame) -> None:
                subscribed.set()

        connection = kind([("127.0.0.1", port)])
        connection.set_listener("", Listener())
        connection.connect("admin", "admin", wait=True)
        connection.subscribe(topic, id="1", ack="auto", headers={"receipt": "r"})
        assert subscribed.wait(PATIENCE)
        start.wait(PATIENCE)
        connection.send(topic, text)
        assert complete.wait(PATIENCE), bodies
        connection.disconnect(receipt="bye")
        return bodies

    return client


def with_stompman(port: int, topic: str, text: str, count: int, start: Start) -> list[str]:
    """Take part as a program with stompman."""
    bodies: list[str] = []

    async def program() -> None:
        complete = asyncio.Event()

        async def handle(frame: stompman.MessageFrame) -> None:
            bodies.append(frame.body.decode())
            if len(bodies) == count:
                complete.set()

        server = stompman.ConnectionParameters("127.0.0.1", port, login="admin", passcode="admin")
        patience = round(PATIENCE)
        client = stompman.Client(
            [server], connect_timeout=patience, connection_confirmation_timeout=patience
        )
        async with asyncio.timeout(PATIENCE), client:
            subscription = await client.subscribe(
                topic,
                handle,
                on_suppressed_exception=lambda _error, _frame: None,
                receipt_timeout=PATIENCE,
            )
            await asyncio.to_thread(start.wait, PATIENCE)
            await client.send(text.encode(), topic)
            await complete.wait()
            await subscription.unsubscribe()

    asyncio.run(program())
    return bodies


def with_stomp(port: int, topic: str, text: str, count: int, start: Start) -> list[str]:
    """Take part with our own program: one that subscribes, one that sends."""
    command = [sys.executable, "-m", "stompcli", "-P", str(port)]
    with subprocess.Popen(
        [*command, "--json", "subscribe", topic, "--count", str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as subscriber:
        assert subscriber.stderr is not None
        assert subscriber.stdout is not None
        while "subscribed to" not in (line := subscriber.stderr.readline()):
            assert line, "it ended without a subscription"
        start.wait(PATIENCE)
        subprocess.run([*command, "-q", "send", topic, text], check=True, timeout=PATIENCE)
        bodies = [json.loads(line)["body"] for line in subscriber.stdout]
        assert subscriber.wait(PATIENCE) == 0
    return bodies


def in_a_terminal(program: str) -> Client:
    """Return a client that is a person who types into ``program``."""

    def client(port: int, topic: str, text: str, count: int, start: Start) -> list[str]:
        with terminal(program, port) as user:
            user.frame("CONNECT", "accept-version:1.2", "host:x", "")
            user.see(rb"session:[^\n]*\n")
            user.frame("SUBSCRIBE", "id:1", f"destination:{topic}", "receipt:r", "")
            user.see(rb"receipt-id:r\r?\n")
            start.wait(PATIENCE)
            user.frame("SEND", f"destination:{topic}", "", text)
            bodies = []
            for _ in range(count):
                user.see(rb"\nMESSAGE\r?\n")
                bodies.append(user.see_line(rb"by [a-z0-9. ]+"))
            user.frame("DISCONNECT", "receipt:bye", "")
            user.see(rb"receipt-id:bye")
        return [body.decode() for body in bodies]

    return client


def client_named(name: str) -> Client:
    """Return one of the ``CLIENTS``."""
    if name.startswith("stomp.py"):
        return with_stomp_py(name.split()[1])
    if name == "stompman":
        return with_stompman
    if name == "stomp":
        return with_stomp
    return in_a_terminal({"telnet": "telnet", "netcat": "nc.openbsd"}[name])


@pytest.mark.needs_tool("telnet", "nc.openbsd")
def test_all_clients_talk_to_each_other(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Each of them subscribes and sends; each gets every message once, its own too."""
    topic = fresh().replace("/queue/", "/topic/")
    start = threading.Barrier(len(CLIENTS))
    texts = {name: f"by {name}" for name in CLIENTS}
    with ThreadPoolExecutor(len(CLIENTS)) as threads:
        futures = {
            name: threads.submit(
                client_named(name), stompd.port, topic, texts[name], len(CLIENTS), start
            )
            for name in CLIENTS
        }
        got = {name: future.result(PATIENCE * 2) for name, future in futures.items()}
    for name, bodies in got.items():
        assert Counter(body.strip() for body in bodies) == Counter(texts.values()), name


@pytest.mark.needs_tool("nc.openbsd")
def test_work_is_shared_between_different_clients(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """Consumers of three versions take from one queue what netcat has put there, each once."""
    queue = fresh()
    taken: list[str] = []
    complete = threading.Event()
    connections = []
    for kind in (stomp.StompConnection10, stomp.StompConnection11, stomp.StompConnection12):
        connection = kind([("127.0.0.1", stompd.port)])

        class Listener(stomp.ConnectionListener):  # type: ignore[misc]
            def on_message(self, frame: stomp.utils.Frame) -> None:
                taken.append(frame.body)
                if len(taken) == 300:
                    complete.set()

        connection.set_listener("", Listener())
        connection.connect("admin", "admin", wait=True)
        connection.subscribe(queue, id="1", ack="auto")
        connections.append(connection)
    frames = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
    for number in range(300):
        frames += f"SEND\ndestination:{queue}\n\n{number}\0\n".encode()
    subprocess.run(
        ["nc.openbsd", "-N", "127.0.0.1", str(stompd.port)],
        input=frames,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=True,
    )
    assert complete.wait(PATIENCE)
    for connection in connections:
        connection.disconnect(receipt="bye")
    assert sorted(taken, key=int) == [str(number) for number in range(300)]
