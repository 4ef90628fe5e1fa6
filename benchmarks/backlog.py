"""`python -m benchmarks.backlog`: a queue that has grown for long, a kill, and the way back.

A queue is filled with persistent messages that nobody takes, each batch confirmed by a receipt.
Then the broker is killed (SIGKILL, all of its processes) and started again with what is on the
disk; one consumer subscribes at once and takes all of it. Every message has to come, once.

What was written stays in the kernel's cache when a process is killed, so the second life reads
faster than after a power cut.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import brokers, disk, plans, report, wire
from benchmarks.report import Bar, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.brokers import Broker

MESSAGES = 1_000_000
SIZE = 1024
OTHERS_SHARE = 10
"""The other brokers get one message where stompd gets so many: they need minutes for a million."""
DESTINATION = "/queue/backlog"
BATCH = 250
"""Messages for each receipt."""
OUTSTANDING = 8
"""Receipts that may be waited for at the same time."""
PATIENCE = 120.0
"""Seconds after which a broker that says nothing has failed."""
RECENT = 400
"""Octets in which a last RECEIPT or ERROR has room; nothing but an end of line comes after it."""
MEGA = 1e6

FIRST_BAR = Bar("value", 5.0, "s")
DRAIN_BAR = Bar("least", 60_000.0, "/s")
MEMORY_BAR = Bar("value", 250.0, "MB")
ACKS = ("auto", "client", "client-individual")


@dataclass(frozen=True)
class Result:
    """What one broker did with its backlog."""

    messages: int
    fill: float
    """Messages a second, from the first SEND to the last receipt."""
    first: float
    """Seconds from the start of the second process to the first MESSAGE."""
    drain: float
    """Messages a second from then on to the receipt of DISCONNECT, after the last one."""
    memory: float
    """Most MB that its processes ever held, in the first and in the second life."""
    filled: float
    """MB of its directory when it was killed."""
    drained: float
    """The same after all was delivered."""


def measure(name: str, messages: int, size: int, *, ack: str, say: Callable[[str], None]) -> Result:
    """Fill a queue of the broker, kill it, start it again and take everything.

    `say` is told what has been done. Raises wire.BrokerError if a message is missing or comes
    twice, or the broker refuses something; plans.BrokerFailedError if it does not start; OSError.
    """
    with tempfile.TemporaryDirectory(prefix=f"backlog-{name.lower()}-") as temporary:
        directory = Path(temporary)
        with brokers.start(name, durable=True, directory=directory) as broker:
            elapsed = _fill(broker, messages, size)
            memory = peak_octets(broker.pids())
            brokers.kill(broker)
        filled = _data_octets(broker)
        fill = messages / elapsed
        say(f"{name}: {messages} messages kept, {fill:,.0f} a second; killed")
        with brokers.start(name, durable=True, directory=directory) as broker:
            first, elapsed = _drain(broker, messages, size, ack)
            memory = max(memory, peak_octets(broker.pids()))
            drained = _data_octets(broker)
        say(f"{name}: the first one after {first:.2f} s, {messages / elapsed:,.0f} a second")
    return Result(
        messages=messages,
        fill=fill,
        first=first,
        drain=messages / elapsed,
        memory=memory / MEGA,
        filled=filled / MEGA,
        drained=drained / MEGA,
    )


def _data_octets(broker: Broker) -> int:
    return 0 if broker.data is None else disk.octets_of(broker.data)


def _fill(broker: Broker, messages: int, size: int) -> float:
    """Send so many messages; seconds until the receipt for the last of them is there."""
    connection = wire.open_connection(broker, timeout=PATIENCE)
    whole, rest = divmod(messages, BATCH)
    batches = [BATCH] * whole + ([rest] if rest else [])
    frames = {
        count: wire.unstamped(
            wire.batch(DESTINATION, size=size, count=count, persistent=True, receipt=True)
        )
        for count in set(batches)
    }
    outstanding = 0
    began = time.monotonic()
    for serial, count in enumerate(batches):
        while outstanding >= OUTSTANDING:
            outstanding -= _receipts(connection)
        connection.sendall(wire.with_serial(frames[count], serial))
        outstanding += 1
    while outstanding:
        outstanding -= _receipts(connection)
    elapsed = time.monotonic() - began
    # It is not said good-bye to: the broker is killed while somebody is connected.
    connection.close()
    return elapsed


def _receipts(connection: socket.socket) -> int:
    """Wait for at least one octet, and count the frames that end in what has come."""
    try:
        received = connection.recv(1 << 16)
    except TimeoutError as error:
        raise wire.BrokerError(f"no receipt came for {PATIENCE:.0f} s") from error
    if not received or b"ERROR\n" in received:
        raise wire.BrokerError(wire.complaint(received))
    return received.count(b"\0")


def _drain(broker: Broker, messages: int, size: int, ack: str) -> tuple[float, float]:
    """Take so many messages: seconds from the broker's start to the first, and on to the end."""
    connection = wire.open_connection(broker, timeout=PATIENCE)
    connection.sendall(
        f"SUBSCRIBE\nid:s0\ndestination:{DESTINATION}\nack:{ack}\n\n\0".encode(),
    )
    taken = Taking(size, ack)
    buffer = bytearray(1 << 18)
    view = memoryview(buffer)
    first = 0.0
    leaving = False
    while not taken.bye:
        kept = len(taken.tail)
        buffer[:kept] = taken.tail
        try:
            got = connection.recv_into(view[kept:])
        except TimeoutError as error:
            raise wire.BrokerError(f"{taken.count} of {messages} messages came back") from error
        if not got:
            raise wire.BrokerError(wire.complaint(bytes(buffer[:kept])))
        answer = taken.take(buffer, kept + got)
        if taken.count and not first:
            first = time.monotonic()
        if taken.count >= messages and not leaving:
            # Its receipt comes when all that was said before is done; what is too much, before it.
            leaving = True
            answer += b"DISCONNECT\nreceipt:bye\n\n\0"
        if answer:
            connection.sendall(answer)
    ended = time.monotonic()
    connection.close()
    if taken.count != messages:
        raise wire.BrokerError(f"{taken.count} messages came back where {messages} were kept")
    return first - broker.started, ended - first


class Taking:
    """What a consumer has counted, buffer by buffer; owns the end of the last one."""

    def __init__(self, size: int, ack: str) -> None:
        self.size = size
        self.ack = ack
        self.count = 0
        self.tail = b""
        # The end of all that came: frames other than MESSAGE are looked for there, cut or not.
        self.recent = b""
        # True once the receipt "bye" has come.
        self.bye = False

    def take(self, buffer: bytearray, end: int) -> bytes:
        """Count the messages in `buffer[:end]`, which begins with `tail`; the ACKs for them.

        Raises wire.BrokerError for an ERROR frame.
        """
        if self.ack == "auto":
            new = wire.count_messages(buffer, end, self.size)
            keep = wire.carried(self.size)
            answer = b""
        else:
            whole = buffer.rfind(b"\0", 0, end) + 1
            ids = wire.ACK_ID.findall(buffer, 0, whole)
            new, keep = len(ids), end - whole
            answer = wire.acks(ids if self.ack == "client-individual" else ids[-1:]) if ids else b""
        fresh = max(len(self.tail), end - RECENT)
        self.recent = (self.recent + buffer[fresh:end])[-RECENT:]
        if b"receipt-id:bye" in self.recent:
            self.bye = True
        elif b"ERROR\n" in self.recent:
            raise wire.BrokerError(wire.complaint(self.recent))
        self.count += new
        self.tail = bytes(buffer[end - min(keep, end) : end])
        return answer


def peak_octets(pids: Sequence[int]) -> int:
    """The most memory that each of these processes has held so far, added up."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total


# --- the report ----------------------------------------------------------------------------


def table(results: Mapping[str, Result | str], size: int, ack: str) -> Table:
    """The figures of each broker, or why it has none."""

    def row(
        name: str,
        title: str,
        unit: str,
        figure: Callable[[Result], float],
        bar: Bar | None = None,
        *,
        less: bool = False,
    ) -> Row:
        return Row(
            f"backlog-{name}",
            title,
            unit,
            {
                broker: figure(got) if isinstance(got, Result) else None
                for broker, got in results.items()
            },
            bar,
            less_is_better=less,
            compared=False,
        )

    rows = [
        row("fill", "messages confirmed while the queue fills", "/s", lambda got: got.fill),
        row(
            "first",
            "from the start after the kill to the first message",
            "s",
            lambda got: got.first,
            FIRST_BAR,
            less=True,
        ),
        row(
            "drain",
            "messages delivered from then on, their settlement included",
            "/s",
            lambda got: got.drain,
            DRAIN_BAR,
        ),
        row(
            "memory",
            "most memory in both lives",
            "MB",
            lambda got: got.memory,
            MEMORY_BAR,
            less=True,
        ),
        row("kept", "data directory when killed", "MB", lambda got: got.filled, less=True),
        row("left", "data directory when all is taken", "MB", lambda got: got.drained, less=True),
    ]
    counts = ", ".join(
        f"{broker} {report.count(got.messages)}"
        for broker, got in results.items()
        if isinstance(got, Result)
    )
    failed = [f"{broker}: {got}" for broker, got in results.items() if isinstance(got, str)]
    return Table(
        "A backlog and a kill",
        f"Persistent messages of {size} octets in one queue ({counts or 'none'}), a receipt for "
        f"each {BATCH} of them, then `kill -9`, a start with the same files and one consumer with "
        f"`ack:{ack}`. Counts differ, so no ratio is shown. The files were still in the kernel's "
        "cache. MB are millions of octets.",
        rows,
        notes=failed,
    )


def run(
    names: Sequence[str], messages: int, size: int, *, ack: str = "auto", quiet: bool = False
) -> Table:
    """Measure the brokers of these names, one after the other; their table."""
    results: dict[str, Result | str] = {}

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    for name in names:
        count = messages if name == report.OURS else max(1, messages // OTHERS_SHARE)
        try:
            results[name] = measure(name, count, size, ack=ack, say=say)
        except (wire.BrokerError, plans.BrokerFailedError, OSError) as error:
            results[name] = str(error)
    return table(results, size, ack)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; the exit status is 1 if a bar was missed, 2 without a run."""
    options = _options(arguments)
    if options.directory is not None:
        tempfile.tempdir = str(options.directory)
    place = Path(tempfile.gettempdir())
    below = disk.file_system(place)
    if below.in_memory:
        print(
            f"{place} is in memory ({below}): name a directory on a disk with --directory",
            file=sys.stderr,
        )
        return 2
    left_out = {name: why for name in options.brokers if (why := plans.missing(name))}
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    names = [name for name in options.brokers if name not in left_out]
    if not names:
        print("no broker to measure", file=sys.stderr)
        return 2
    print(f"{report.machine()}\n{report.disk_line(place)}")
    got = run(names, options.messages, options.size, ack=options.ack)
    print("\n" + report.heading(names))
    for row in got.rows:
        print(report.line(row, names))
    for note in got.notes:
        print(f"    ! {note}")
    return 1 if any(row.verdict() == "missed" for row in got.rows) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backlog",
        description="Fill a queue, kill the broker, start it again and take everything.",
    )
    parser.add_argument(
        "--messages", type=int, default=MESSAGES, help=f"in stompd's queue ({MESSAGES})"
    )
    parser.add_argument("--size", type=int, default=SIZE, help=f"octets of a body ({SIZE})")
    parser.add_argument("--ack", choices=ACKS, default="auto", help="of the consumer (auto)")
    parser.add_argument(
        "--brokers",
        default=report.OURS,
        help=f"with commas between; all but stompd get 1/{OTHERS_SHARE} of the messages (stompd)",
    )
    parser.add_argument("--directory", type=Path, help="on a disk, for the brokers' files")
    options = parser.parse_args(arguments)
    options.brokers = [name for name in options.brokers.split(",") if name]
    for name in options.brokers:
        if name not in plans.NAMES:
            parser.error(f"no broker {name!r}; there are: {', '.join(plans.NAMES)}")
    if options.messages < 1:
        parser.error("--messages has to be at least 1")
    if options.size < wire.SMALLEST_BODY:
        parser.error(f"--size has to be at least {wire.SMALLEST_BODY}")
    if options.directory is not None and not os.access(options.directory, os.W_OK):
        parser.error(f"{options.directory} is no directory that can be written to")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
