"""The frame decoder alone: octets from memory, no socket, no broker.

The octets arrive in pieces of RECEIVE, as a server's `recv` gives them. `hit` are frames whose
header block was seen before, `miss` those whose six further headers never come again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import wire
from stompd.protocol.decoder import Decoder
from stompd.protocol.frame import V12

if TYPE_CHECKING:
    from collections.abc import Sequence

RECEIVE = 256 * 1024
CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
QUEUE = "/queue/benchmark"


@dataclass(frozen=True)
class Speed:
    """How quickly one kind of frame was decoded."""

    name: str
    title: str
    microseconds: float
    """For one frame."""
    megabytes: float
    """Millions of octets a second."""


def speeds(seconds: float) -> list[Speed]:
    """Decode each kind of frame for about `seconds`. Raises ValueError if a frame is lost."""
    return [_speed(name, title, frames, seconds) for name, title, frames in _kinds()]


def _kinds() -> Sequence[tuple[str, str, list[bytes]]]:
    """Name, title and the frames; those of `miss` differ from each other."""
    hit = wire.batch(QUEUE, size=100, count=1)
    big = wire.batch(QUEUE, size=1024, count=1)
    huge = wire.batch(QUEUE, size=4 * 2**20, count=1)
    vary = wire.batch(QUEUE, size=100, count=1, vary=6)
    receipt = wire.batch(QUEUE, size=100, count=1, receipt=True)
    serials = range(20_000)
    return (
        ("hit-100B", "SEND, 100 B, head seen before", [hit] * 20_000),
        ("hit-1K", "SEND, 1 KiB, head seen before", [big] * 5_000),
        ("miss-6", "SEND, 100 B, six new headers", [wire.with_serial(vary, n) for n in serials]),
        (
            "miss-receipt",
            "SEND, 100 B, new receipt",
            [wire.with_serial(receipt, n) for n in serials],
        ),
        ("ack", "ACK, new id", [wire.acks([b"%d" % n]) for n in serials]),
        ("body-4M", "SEND, 4 MiB in pieces", [huge] * 8),
    )


def _speed(name: str, title: str, frames: list[bytes], seconds: float) -> Speed:
    octets = b"".join(frames)
    pieces = [octets[at : at + RECEIVE] for at in range(0, len(octets), RECEIVE)]
    best = float("inf")
    spent = 0.0
    while spent < seconds:
        # A new one each time: what the last one remembers would make every frame a hit.
        decoder = Decoder("server")
        decoder.feed(CONNECT)
        decoder.begin(V12)
        start = time.perf_counter()
        decoded = sum(len(decoder.feed(piece)) for piece in pieces)
        taken = time.perf_counter() - start
        if decoded != len(frames):
            raise ValueError(f"{name}: {decoded} of {len(frames)} frames came: {decoder.error}")
        best = min(best, taken)
        spent += taken
    return Speed(name, title, best * 1e6 / len(frames), len(octets) / best / 1e6)


if __name__ == "__main__":
    for speed in speeds(1.0):
        figures = f"{speed.microseconds:10.2f} µs{speed.megabytes:10.0f} MB/s"
        print(f"{speed.name:14}{figures}  {speed.title}")
