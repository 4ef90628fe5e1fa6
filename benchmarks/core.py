"""Decoder and core together, without sockets: what one message costs before the kernel is asked.

A sender's octets are decoded and carried out as a connection does it, in pieces of RECEIVE; what
the consumers' outboxes hold is joined as a connection would send it, and thrown away. The figures
repeat far better than those over sockets, so a change of a microsecond can be seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import wire
from stompd.broker.broker import Broker
from stompd.broker.principal import ANONYMOUS
from stompd.protocol.decoder import Decoder, HeadTable
from stompd.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from stompd.broker.session import Session

RECEIVE = 256 * 1024
CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n\n\0"
ROUND = 2_000


@dataclass(frozen=True)
class Cost:
    """What one delivered message of a kind costs."""

    name: str
    title: str
    microseconds: float


class Client:
    """One logged-in session and its decoder; owns what was written to it and not looked at."""

    def __init__(self, broker: Broker, heads: HeadTable) -> None:
        self.session: Session = broker.open("memory", 0.0)
        self.broker = broker
        self.decoder = Decoder("server", table=heads)
        self.session.outbox.flush = self._flush
        self.written: list[bytes] = []
        self.session.receive(self.decoder.feed(CONNECT), 0, 0.0)
        self.session.welcome(ANONYMOUS, 0.0)
        self.decoder.begin(self.session.wire_version)
        broker.flush_touched()
        self.written.clear()

    def say(self, octets: bytes) -> None:
        """Carry out everything in `octets`, as if it had come in one piece."""
        frames = self.decoder.feed(octets)
        at = 0
        while at < len(frames):
            at = self.session.receive(frames, at, 0.0)
        self.broker.flush_touched()

    def _flush(self) -> None:
        outbox = self.session.outbox
        self.written.append(b"".join(outbox.take()))
        outbox.size = 0
        if outbox.riders:
            riders, outbox.riders = outbox.riders, []
            self.session.written(riders)
        if outbox.waiting:
            self.session.drained()


def costs(seconds: float) -> list[Cost]:
    """Measure every kind for about `seconds`. Raises ValueError if a message is lost."""
    return [_cost(*kind, seconds) for kind in _KINDS]


def _cost(
    name: str,
    title: str,
    frames: Callable[[int], bytes],
    consumers: int,
    ack: str,
    seconds: float,
) -> Cost:
    broker = Broker(MemoryStore())
    heads = HeadTable("server")
    destination = "/topic/core" if consumers > 1 else "/queue/core"
    listeners = [Client(broker, heads) for _ in range(consumers)]
    for listener in listeners:
        listener.say(f"SUBSCRIBE\nid:s0\ndestination:{destination}\nack:{ack}\n\n\0".encode())
    sender = Client(broker, heads)
    best = float("inf")
    spent = 0.0
    serial = 0
    while spent < seconds:
        octets = b"".join(frames(serial + number) for number in range(ROUND))
        serial += ROUND
        pieces = [octets[at : at + RECEIVE] for at in range(0, len(octets), RECEIVE)]
        delivered = 0
        start = time.perf_counter()
        for piece in pieces:
            sender.say(piece)
            if ack != "auto":
                delivered += _acknowledge(listeners[0])
        taken = time.perf_counter() - start
        for listener in listeners:
            delivered += sum(written.count(wire.END) for written in listener.written)
            listener.written.clear()
        sender.written.clear()
        if delivered != ROUND * consumers:
            raise ValueError(f"{name}: {delivered} of {ROUND * consumers} messages came")
        best = min(best, taken)
        spent += taken
    return Cost(name, title, best * 1e6 / ROUND / consumers)


def _acknowledge(listener: Client) -> int:
    """Acknowledge all that came, until no more comes; how many that was."""
    count = 0
    while listener.written:
        ids = wire.ACK_ID.findall(b"".join(listener.written))
        listener.written.clear()
        count += len(ids)
        listener.say(wire.acks(ids))
    return count


def _same(size: int, destination: str = "/queue/core") -> Callable[[int], bytes]:
    frame = wire.batch(destination, size=size, count=1)
    return lambda _: frame


def _special(headers: str) -> Callable[[int], bytes]:
    frame = wire.batch("/queue/core", size=100, count=1, headers=headers)
    return lambda _: frame


def _different(*, receipt: bool = False, vary: int = 0) -> Callable[[int], bytes]:
    frame = wire.batch("/queue/core", size=100, count=1, receipt=receipt, vary=vary)
    return lambda serial: wire.with_serial(frame, serial)


def _transactions(serial: int) -> bytes:
    if serial % 10:
        return b""
    frames = wire.batch("/queue/core", size=1024, count=10, transaction=True)
    return wire.with_serial(frames, serial)


_KINDS: tuple[tuple[str, str, Callable[[int], bytes], int, str], ...] = (
    ("core-100B", "queue hop, 100 B", _same(100), 1, "auto"),
    ("core-1K", "queue hop, 1 KiB", _same(1024), 1, "auto"),
    ("core-ackind", "queue hop, 100 B, client-individual", _same(100), 1, "client-individual"),
    ("core-vary6", "queue hop, 100 B, six new headers", _different(vary=6), 1, "auto"),
    ("core-receipt", "queue hop, 100 B, receipt", _different(receipt=True), 1, "auto"),
    ("core-priority", "queue hop, 100 B, priority", _special("priority:7\n"), 1, "auto"),
    ("core-ttl", "queue hop, 100 B, ttl", _special("ttl:60000\n"), 1, "auto"),
    ("core-tx10", "queue hop, 1 KiB, transactions of 10", _transactions, 1, "auto"),
    ("core-64K", "queue hop, 64 KiB", _same(65536), 1, "auto"),
    ("core-topic", "topic, 20 subscribers, 100 B", _same(100, "/topic/core"), 20, "auto"),
)


if __name__ == "__main__":
    for cost in costs(1.0):
        print(f"{cost.name:14}{cost.microseconds:10.2f} µs  {cost.title}")
