"""The process that sends: freely or in step with receipts, within a window of what has come."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.counters import DRAIN, PHASE, START
from benchmarks.load import name

if TYPE_CHECKING:
    from benchmarks.brokers import Broker
    from benchmarks.counters import Counters
    from benchmarks.load import Load

IDLE_SECONDS = 0.0005
"""How long the producers look away when all windows are full: far less than a window lasts."""
STAMP_EVERY = 16
"""When one frame goes per write, one in so many carries the time; else one in each write."""


class Producer:
    """One sending connection; owns the rest of a buffer that the socket did not take."""

    __slots__ = (
        "connection",
        "destination",
        "due",
        "frames",
        "index",
        "outstanding",
        "plain",
        "rest",
        "seen",
        "sent",
        "serial",
    )

    def __init__(
        self, connection: socket.socket, index: int, destination: int, frames: bytes
    ) -> None:
        self.connection = connection
        self.index = index
        self.destination = destination
        self.frames = frames
        self.plain = wire.unstamped(frames)
        self.rest = memoryview(b"")
        self.serial = index << 24
        self.sent = 0
        self.seen = 0
        self.outstanding = 0
        self.due = 0.0


def produce(
    broker: Broker, load: Load, prefix: str, counters: Counters, report: Callable[..., None]
) -> None:
    """Send until the phase is DRAIN; report "ready" once all connections stand."""
    producers = []
    for number in range(load.producers):
        destination = number % load.destinations
        frames = wire.batch(
            name(load, prefix, destination),
            size=load.size,
            count=load.batch,
            persistent=load.persistent,
            receipt=load.receipts > 0,
            transaction=load.transaction,
            on_send=load.on_send,
            vary=load.vary,
            headers=load.headers,
        )
        connection = wire.open_connection(broker)
        producers.append(Producer(connection, counters.sent + number, destination, frames))
    report("ready")
    while counters.values[PHASE] == START:
        time.sleep(0.001)
    if load.receipts:
        _produce_in_step(load, counters, producers)
    else:
        _produce_freely(load, counters, producers)
    for producer in producers:
        producer.connection.settimeout(30.0)
        producer.connection.sendall(producer.rest)
    for producer in producers:
        wire.leave(producer.connection)
    report("done", [])


def _produce_freely(load: Load, counters: Counters, producers: list[Producer]) -> None:
    """As many as the windows allow, or at the given rate; nothing is read."""
    values = counters.values
    shared = len(producers) // load.destinations
    window = load.window // max(1, shared)
    pace = len(producers) * load.batch / load.rate if load.rate else 0.0
    next_frames = _frames_of(load)
    start = time.monotonic()
    for producer in producers:
        producer.connection.settimeout(0.0)
        producer.due = start
    while values[PHASE] < DRAIN:
        moved = False
        for producer in producers:
            send = producer.connection.send
            if producer.sent - producer.seen >= window and not producer.rest:
                # With several producers for one destination each has its share.
                producer.seen = counters.arrived(producer.destination) // shared
                if producer.sent - producer.seen >= window:
                    continue
            if pace and not producer.rest:
                if producer.due > time.monotonic():
                    continue
                producer.due += pace
            done = 0
            try:
                if producer.rest:
                    producer.rest = producer.rest[send(producer.rest) :]
                    if producer.rest:
                        continue
                for frames in next_frames(producer):
                    done += load.batch
                    taken = send(frames)
                    if taken != len(frames):
                        producer.rest = memoryview(frames)[taken:]
                        break
            except BlockingIOError:
                # Raised by the last `send`, which took nothing of its frames.
                done -= load.batch if done else 0
            except OSError as error:
                raise wire.BrokerError(_last_words(producer.connection, error)) from error
            if done:
                producer.sent += done
                values[producer.index] += done
                moved = True
        if pace:
            first = min(producer.due for producer in producers)
            time.sleep(max(0.0, min(first - time.monotonic(), 0.1)))
        elif not moved:
            time.sleep(IDLE_SECONDS)


def _frames_of(load: Load) -> Callable[[Producer], Sequence[bytes | bytearray]]:
    """A function that gives a producer what to send next, doing as little as the load allows.

    Each element is meant for one `send`. One message of all elements together is stamped.
    """
    further = 0 if load.batch > 1 or load.rate else STAMP_EVERY - 1

    def same(producer: Producer) -> Sequence[bytes | bytearray]:
        return [stamped(producer.frames), *[producer.plain] * further]

    def different(producer: Producer) -> Sequence[bytes | bytearray]:
        producer.serial += 1
        return [stamped(wire.with_serial(producer.frames, producer.serial))]

    def stamped(frames: bytes) -> bytearray:
        new = bytearray(frames)
        at = new.find(wire.STAMP) + 1
        new[at : at + wire.STAMP_DIGITS] = wire.stamp()
        return new

    return different if load.vary or load.receipts or load.transaction else same


def _produce_in_step(load: Load, counters: Counters, producers: list[Producer]) -> None:
    """Each producer sends its next batch when a receipt for an earlier one has come."""
    values = counters.values
    shared = len(producers) // load.destinations
    window = load.window // max(1, shared)
    next_frames = _frames_of(load)
    poll = select.epoll()
    by_number = {}
    for producer in producers:
        by_number[producer.connection.fileno()] = producer
        poll.register(producer.connection.fileno(), select.EPOLLIN)
        # Blocking is right here: there is at most a batch on the way for each receipt.
        producer.connection.settimeout(30.0)

    def more(producer: Producer) -> bool:
        while producer.outstanding < load.receipts:
            if producer.sent - producer.seen >= window:
                producer.seen = counters.arrived(producer.destination) // shared
                if producer.sent - producer.seen >= window:
                    return False
            producer.sent += load.batch
            values[producer.index] += load.batch
            producer.outstanding += 1
            producer.connection.sendall(next_frames(producer)[0])
        return True

    stalled = set(producers)
    while values[PHASE] < DRAIN:
        stalled = {producer for producer in stalled if not more(producer)}
        for number, _ in poll.poll(0.001 if stalled else 0.1):
            producer = by_number[number]
            received = producer.connection.recv(1 << 16)
            if not received or b"ERROR\n" in received:
                raise wire.BrokerError(wire.complaint(received))
            # A frame cut in two would be counted twice or never; its NUL is counted once.
            producer.outstanding -= received.count(b"\0")
            if not more(producer):
                stalled.add(producer)
    for producer in producers:
        while producer.outstanding:
            received = producer.connection.recv(1 << 16)
            if not received:
                raise wire.BrokerError(wire.complaint(received))
            producer.outstanding -= received.count(b"\0")


def _last_words(connection: socket.socket, error: OSError) -> str:
    connection.settimeout(0.5)
    received = b""
    with contextlib.suppress(OSError):
        received = connection.recv(1 << 16)
    return wire.complaint(received) if received else str(error)
