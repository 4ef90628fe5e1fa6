"""The process that receives: any number of subscribed connections, counted at C speed."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from benchmarks import wire
from benchmarks.counters import MEASURE, PHASE, STOP
from benchmarks.load import name

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.brokers import Broker
    from benchmarks.counters import Counters
    from benchmarks.load import Load


class Consumer:
    """One subscribed connection; owns what is left of the last buffer."""

    __slots__ = ("connection", "index", "tail")

    def __init__(self, connection: socket.socket, index: int) -> None:
        self.connection = connection
        self.index = index
        self.tail = b""


def consume(
    broker: Broker, load: Load, prefix: str, counters: Counters, report: Callable[..., None]
) -> None:
    """Receive until the phase is STOP; report "ready" once all subscriptions stand."""
    consumers = {}
    poll = select.epoll()
    for number in range(load.consumers):
        connection = wire.open_connection(broker)
        place = name(load, prefix, counters.destination_of(number))
        wire.subscribe(connection, place, ack=load.ack, selector=load.selector)
        # A blocking receive that looks up now and then costs one system call, a timeout two.
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
        consumers[connection.fileno()] = Consumer(connection, counters.consumer(number))
        poll.register(connection.fileno(), select.EPOLLIN)
    report("ready")

    values = counters.values
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    samples: list[int] = []
    size, carried = load.size, wire.carried(load.size)
    count_messages, latencies, clock = wire.count_messages, wire.latencies, time.monotonic_ns
    find_ids = wire.ACK_ID.findall if load.ack != "auto" else None
    only = next(iter(consumers.values())) if len(consumers) == 1 else None

    while values[PHASE] != STOP:
        ready = [only] if only is not None else [consumers[number] for number, _ in poll.poll(0.1)]
        for consumer in ready:
            kept = len(consumer.tail)
            buffer[:kept] = consumer.tail
            try:
                got = consumer.connection.recv_into(view[kept:])
            except BlockingIOError:
                continue
            now = clock()
            if not got:
                raise wire.BrokerError(wire.complaint(bytes(buffer[:kept]) + consumer.tail))
            end = kept + got
            if find_ids is None:
                consumer.tail = bytes(view[max(0, end - carried) : end])
                values[consumer.index] += count_messages(buffer, end, size)
            else:
                whole = buffer.rfind(b"\0", 0, end) + 1
                consumer.tail = bytes(view[whole:end])
                end = whole
                ids = find_ids(buffer, 0, whole)
                if ids:
                    consumer.connection.sendall(
                        wire.acks(ids if load.ack == "client-individual" else ids[-1:])
                    )
                    values[consumer.index] += len(ids)
            if values[PHASE] == MEASURE:
                samples += latencies(buffer, end, now)
    for consumer in consumers.values():
        wire.leave(consumer.connection)
    report("done", samples)
