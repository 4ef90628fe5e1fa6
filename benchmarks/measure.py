"""One run of load: producers in one process, consumers in another, counted and timed.

The two share a page of counters. Each consumer connection adds to its own one; the producers
read them to keep no more than a window of messages between themselves and the slowest consumer,
so that a queue never grows with the speed of the load generator; the parent takes them, and the
processor time of the broker, before and after the measured seconds.

Calibrated against a generator of the same plan in Rust with a relay of raw octets in the place of
the broker, two cores for all three (microseconds of processor time of the generator for one
message, Python / Rust): 100 B 1.1 / 0.95, 1 KiB 2.1 / 1.6, one frame per write 3.5 / 2.8, topic
with 20 subscribers 0.22 / 0.23 at 100 B and 0.7 / 0.66 at 1 KiB. Most of it is the kernel's. The
relay passed on 0.9 million messages of 100 B a second and 3.3 million to the 20 subscribers with
either generator, so neither is what limits a broker in Python.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import disk
from benchmarks.children import Children, RunFailedError, spawn, start_children
from benchmarks.consume import consume
from benchmarks.counters import DRAIN, MEASURE, PHASE, RUN, STOP, Counters
from benchmarks.machine import machine_seconds, processor_seconds, resident_bytes
from benchmarks.produce import produce

if TYPE_CHECKING:
    from benchmarks.brokers import Broker
    from benchmarks.load import Load

SILENCE_SECONDS = 2.0
"""A broker that delivers nothing for so long while draining has lost what is missing."""


@dataclass(frozen=True)
class Figures:
    """What one run gave. Rates are per second of the measured time."""

    received: float
    sent: float
    p50: float
    """Half of the sampled messages took at most so many milliseconds."""
    p99: float
    cpu: float
    """Microseconds of processor time of the broker for one delivered message."""
    load_cpu: float
    """The same of the load generator."""
    rss: float
    """MiB of memory of all processes of the broker at the end."""
    foreign: float
    """Part of the processors' time that neither the broker nor the load generator had, but other
    programs of this machine, or its host."""
    written: float
    """Octets that the broker had written to a disk for one delivered message."""
    messages: int
    """All that were delivered in the run, before and after the measured time too."""
    lost: int
    """Messages that were sent and had not come SILENCE_SECONDS after the last one that did."""


def run(broker: Broker, load: Load, *, prefix: str, warm: float, seconds: float) -> Figures:
    """Put the load on the broker for `warm` + `seconds` and measure the latter.

    `prefix` has to be new for every run: destinations are named with it, so that nothing that
    an earlier run left disturbs this one. Raises RunFailedError with the broker's own words if
    it refuses something, closes a connection or delivers nothing.
    """
    counters = Counters(load)
    try:
        with start_children() as children:
            return _run(children, counters, broker, load, prefix, warm, seconds)
    finally:
        counters.close()


def _run(
    children: Children,
    counters: Counters,
    broker: Broker,
    load: Load,
    prefix: str,
    warm: float,
    seconds: float,
) -> Figures:
    values = counters.values
    for work in (consume, produce):
        spawn(children, work, broker, load, prefix, counters)
        children.hear(60.0)
    ours = [process.pid for process in children.processes if process.pid is not None]

    values[PHASE] = RUN
    time.sleep(warm)
    children.check()
    before = _moment(counters, broker.pids(), ours)
    values[PHASE] = MEASURE
    time.sleep(seconds)
    after = _moment(counters, broker.pids(), ours)
    values[PHASE] = DRAIN
    rss = resident_bytes(broker.pids())
    children.hear_from(1, 120.0)
    lost = _drain(counters)
    values[PHASE] = STOP
    samples = children.hear_from(0, 60.0)[1]

    elapsed, sent, received, cpu, load_cpu, used, written = (
        b - a for a, b in zip(before, after, strict=True)
    )
    if not received:
        raise RunFailedError("no message was delivered")
    if not isinstance(samples, list):
        raise TypeError(samples)
    p50, p99 = quantiles(samples)
    return Figures(
        received=received / elapsed,
        sent=sent / elapsed,
        p50=p50 / 1e6,
        p99=p99 / 1e6,
        cpu=cpu * 1e6 / received,
        load_cpu=load_cpu * 1e6 / received,
        rss=rss / 2**20,
        foreign=max(0.0, used - cpu - load_cpu) / elapsed / (os.cpu_count() or 1),
        written=written / received,
        messages=counters.total_received(),
        lost=lost,
    )


def _moment(
    counters: Counters, pids: list[int], ours: list[int]
) -> tuple[float, float, float, float, float, float, float]:
    return (
        time.monotonic(),
        counters.total_sent(),
        counters.total_received(),
        processor_seconds(pids),
        processor_seconds(ours),
        machine_seconds(),
        disk.octets_written(pids),
    )


def _drain(counters: Counters) -> int:
    """Wait for what is under way; the messages that have not come when nothing comes any more."""
    wanted = counters.total_sent() * (counters.each if counters.topic else 1)
    last, since = counters.total_received(), time.monotonic()
    while last < wanted and time.monotonic() - since < SILENCE_SECONDS:
        time.sleep(0.02)
        now = counters.total_received()
        if now != last:
            last, since = now, time.monotonic()
    return wanted - last


def quantiles(samples: list[int]) -> tuple[float, float]:
    """The 50th and the 99th percentile; zeros without samples."""
    if not samples:
        return 0.0, 0.0
    ordered = sorted(samples)
    last = len(ordered) - 1
    return float(ordered[round(last * 0.5)]), float(ordered[round(last * 0.99)])
