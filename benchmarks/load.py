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

import contextlib
import mmap
import multiprocessing
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import disk, wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from benchmarks.brokers import Broker

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# The phases of a run, in the first counter of the shared page; only the parent moves them on.
START, RUN, MEASURE, DRAIN, STOP = range(5)
PHASE = 0
FIRST = 1

IDLE_SECONDS = 0.0005
"""How long the producers look away when all windows are full: far less than a window lasts."""
SILENCE_SECONDS = 2.0
"""A broker that delivers nothing for so long while draining has lost what is missing."""
STAMP_EVERY = 16
"""When one frame goes per write, one in so many carries the time; else one in each write."""


@dataclass(frozen=True)
class Load:
    """What to do to a broker. The defaults are one producer and one consumer of a queue."""

    kind: str = "queue"
    size: int = 1024
    batch: int = 16
    """Frames per write; in a transaction, frames per transaction."""
    producers: int = 1
    consumers: int = 1
    destinations: int = 1
    window: int = 5000
    """Messages of one destination that may be under way."""
    ack: str = "auto"
    persistent: bool = False
    receipts: int = 0
    """The last frame of each batch asks for a receipt, and this many may be outstanding."""
    transaction: bool = False
    on_send: bool = False
    """In a transaction, the last SEND asks for the receipt, not COMMIT."""
    rate: float = 0.0
    """Messages a second of all producers together; 0 means as many as go."""
    vary: int = 0
    """Headers in each frame whose values never come again."""
    headers: str = ""
    """Further header lines of each frame; {number} is one of 0 to 9."""
    selector: str = ""
    """Of every subscription."""


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


class RunFailedError(Exception):
    """A run without figures: the text is what went wrong first."""


# --- the shared page -----------------------------------------------------------------------


class Counters:
    """A page of counters shared by parent and children: the phase, sent and received.

    Received counters are in the order of the destinations, so that the consumers of one
    destination are neighbours.
    """

    def __init__(self, load: Load) -> None:
        if load.consumers % load.destinations:
            raise ValueError("every destination needs the same number of consumers")
        self.each = load.consumers // load.destinations
        self.sent = FIRST
        self.received = FIRST + load.producers
        self.end = self.received + load.consumers
        self.topic = load.kind == "topic"
        self.page = mmap.mmap(-1, -(-self.end * 8 // PAGE) * PAGE)
        self.values = memoryview(self.page).cast("Q")

    def consumer(self, number: int) -> int:
        """The index of the counter of consumer `number`."""
        return self.received + number

    def destination_of(self, consumer: int) -> int:
        """The number of the destination that consumer `consumer` listens to."""
        return consumer // self.each

    def arrived(self, destination: int) -> int:
        """Messages that have come: all of a queue, those of the slowest consumer of a topic."""
        first = self.received + destination * self.each
        counts = self.values[first : first + self.each]
        return min(counts) if self.topic else sum(counts)

    def total_sent(self) -> int:
        """Messages of all producers."""
        return sum(self.values[self.sent : self.received])

    def total_received(self) -> int:
        """Messages of all consumers."""
        return sum(self.values[self.received : self.end])

    def close(self) -> None:
        """Give the page back."""
        self.values.release()
        self.page.close()


# --- consumers -----------------------------------------------------------------------------


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


# --- producers -----------------------------------------------------------------------------


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


# --- the run -------------------------------------------------------------------------------


def name(load: Load, prefix: str, number: int) -> str:
    """The destination with this number."""
    return f"/{load.kind}/{prefix}.{number}"


def processor_seconds(pids: list[int]) -> float:
    """Processor time that these processes have used, in user and system mode, so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def machine_seconds() -> float:
    """Processor time that was used for anything so far, the host's share (steal) included."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _waiting, interrupt, soft, steal = map(int, fields)
    return (user + nice + system + interrupt + soft + steal) / TICKS


def resident_bytes(pids: list[int]) -> int:
    """Memory that these processes hold, added up."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE


@dataclass
class _Children:
    """The two processes of the load generator and what they say."""

    processes: list[multiprocessing.process.BaseProcess] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)

    def hear(self, seconds: float) -> list[object]:
        """The next word of the child that was started last; RunFailedError if it failed."""
        return self.hear_from(-1, seconds)

    def hear_from(self, number: int, seconds: float) -> list[object]:
        """The next word of one child; raises RunFailedError if it failed or keeps silent."""
        pipe = self.pipes[number]
        if not pipe.poll(seconds):
            raise RunFailedError(f"the load generator did not answer within {seconds:.0f} s")
        try:
            said: list[object] = pipe.recv()
        except EOFError as error:
            raise RunFailedError("a process of the load generator died") from error
        if said[0] == "failed":
            raise RunFailedError(str(said[1]))
        return said

    def check(self) -> None:
        """Raise RunFailedError if any child has failed meanwhile."""
        for number, pipe in enumerate(self.pipes):
            if pipe.poll():
                self.hear_from(number, 0.0)


@contextlib.contextmanager
def _children() -> Iterator[_Children]:
    children = _Children()
    try:
        yield children
    finally:
        for process in children.processes:
            process.join(5.0)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in children.pipes:
            pipe.close()


def _spawn(
    children: _Children,
    work: Callable[[Broker, Load, str, Counters, Callable[..., None]], None],
    broker: Broker,
    load: Load,
    prefix: str,
    counters: Counters,
) -> None:
    # Forked, because the children have to inherit the page of counters.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(work, broker, load, prefix, counters, theirs), daemon=True
    )
    process.start()
    theirs.close()
    children.processes.append(process)
    children.pipes.append(ours)


def _work(
    work: Callable[[Broker, Load, str, Counters, Callable[..., None]], None],
    broker: Broker,
    load: Load,
    prefix: str,
    counters: Counters,
    pipe: Connection,
) -> None:
    """The main function of a child: do the work, and say what went wrong if it does."""
    try:
        work(broker, load, prefix, counters, lambda *words: pipe.send(list(words)))
    except (wire.BrokerError, OSError) as error:
        pipe.send(["failed", f"{work.__name__}: {error}"])


def run(broker: Broker, load: Load, *, prefix: str, warm: float, seconds: float) -> Figures:
    """Put the load on the broker for `warm` + `seconds` and measure the latter.

    `prefix` has to be new for every run: destinations are named with it, so that nothing that
    an earlier run left disturbs this one. Raises RunFailedError with the broker's own words if
    it refuses something, closes a connection or delivers nothing.
    """
    counters = Counters(load)
    try:
        with _children() as children:
            return _run(children, counters, broker, load, prefix, warm, seconds)
    finally:
        counters.close()


def _run(
    children: _Children,
    counters: Counters,
    broker: Broker,
    load: Load,
    prefix: str,
    warm: float,
    seconds: float,
) -> Figures:
    values = counters.values
    for work in (consume, produce):
        _spawn(children, work, broker, load, prefix, counters)
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
