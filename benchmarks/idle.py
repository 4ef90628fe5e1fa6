"""Connections that do nothing, and connections that come and go."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.brokers import connect_frame
from benchmarks.machine import processor_seconds, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.brokers import Broker

TOGETHER = 50
"""Connections that are opened at the same time: below any listener's backlog."""
PER_ADDRESS = 10_000
"""Connections from one source address, well below the number of ephemeral ports."""
SPARE_FILES = 200


def raise_file_limit() -> int:
    """Allow this process, and what it starts from now on, all the files it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def memory_per_connection(broker: Broker, count: int) -> float:
    """KiB that the broker takes for each of `count` connections that are logged in and idle.

    Raises wire.BrokerError or OSError when the broker does not accept so many, ValueError when
    this process may not open so many files.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if count + SPARE_FILES > limit:
        raise ValueError(f"{count} connections need more open files than the limit of {limit}")
    with _connections(broker, 100, 0):  # what the first ones load, is not theirs
        before = _settled(broker)
        with _connections(broker, count, 1):
            after = _settled(broker)
    return (after - before) / count / 1024


def connections_per_second(broker: Broker, seconds: float) -> tuple[float, float]:
    """Connections a second that log in, say good-bye with a receipt and leave; µs of CPU each."""
    done = 0
    cpu = processor_seconds(broker.pids())
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with contextlib.ExitStack() as stack:
            opened = [
                stack.enter_context(_open(broker, done // PER_ADDRESS)) for _ in range(TOGETHER)
            ]
            for connection in opened:
                wire.expect(connection, b"CONNECTED")
                connection.sendall(b"DISCONNECT\nreceipt:bye\n\n\0")
            for connection in opened:
                wire.expect(connection, wire.RECEIPT)
        done += TOGETHER
    elapsed = time.monotonic() - start
    return done / elapsed, (processor_seconds(broker.pids()) - cpu) * 1e6 / done


def _open(broker: Broker, address: int) -> socket.socket:
    """A connection that has sent CONNECT, from the loopback address with this number."""
    connection = socket.socket()
    connection.settimeout(60.0)
    connection.bind((f"127.0.0.{2 + address % 250}", 0))
    connection.connect((broker.host, broker.port))
    connection.sendall(connect_frame(broker.login, broker.passcode, broker.vhost))
    return connection


@contextlib.contextmanager
def _connections(broker: Broker, count: int, address: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for first in range(0, count, TOGETHER):
            opened = [
                stack.enter_context(_open(broker, address + first // PER_ADDRESS))
                for _ in range(min(TOGETHER, count - first))
            ]
            for connection in opened:
                wire.expect(connection, b"CONNECTED")
        yield


def _settled(broker: Broker) -> int:
    """The broker's memory in octets, once it no longer grows from one second to the next."""
    last = resident_bytes(broker.pids())
    for _ in range(20):
        time.sleep(0.5)
        now = resident_bytes(broker.pids())
        if abs(now - last) < 2**18:
            return now
        last = now
    return last
