"""Cases with many frames or many connections."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wire import Unmet, Wire

from conformance.cases import case
from conformance.stage import Stage


def _sends(destination: str, numbers: range, size: int = 0) -> bytes:
    """SENDs in one piece, with the numbers as bodies (filled up with dots to ``size``)."""
    head = f"SEND\ndestination:{destination}\n\n".encode()
    return b"".join(head + (b"%d" % n).ljust(size, b".") + b"\0" for n in numbers)


def _expect_numbers(wire: Wire, numbers: range) -> None:
    for number in numbers:
        frame = wire.expect("MESSAGE")
        if frame.body.rstrip(b".") != b"%d" % number:
            raise Unmet(f"expected message {number}, came: {frame}")


@case("R-05", "R-01")
def _receipt_covers_earlier(stage: Stage) -> None:
    """After a receipt every frame before it has been received."""
    wire = stage.connect()
    wire.write(_sends(stage.queue(), range(100)))
    wire.put(stage.queue(), b"100")
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    _expect_numbers(consumer, range(101))


@case("R-07")
def _close_after_sends(stage: Stage) -> None:
    """Frames that were written before a plain close are all processed."""
    wire = stage.connect()
    wire.write(_sends(stage.queue(), range(1000)))
    wire.close()
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    _expect_numbers(consumer, range(1000))


@case("R-07", "LIM-06")
def _reset_after_sends(stage: Stage) -> None:
    """Of the frames before a reset those that were received are processed, in order."""
    wire = stage.connect()
    wire.write(_sends(stage.queue(), range(1000)))
    wire.reset()
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    consumer.watch(1.0)
    consumer.put(stage.queue(), b"last")
    number = 0
    while (frame := consumer.expect("MESSAGE")).body != b"last":
        if frame.body != b"%d" % number:
            raise Unmet(f"expected message {number}, came: {frame}")
        number += 1
    consumer.quiet()


@case("C-15")
def _unique_sessions(stage: Stage) -> None:
    """A thousand connections have a thousand different sessions."""
    seen: set[str] = set()
    for _ in range(1000):
        with stage.session() as wire:
            assert wire.connected is not None
            session = wire.connected.text("session")
        if session in {"", "0"} or session in seen:
            raise Unmet(f"session {session!r} came after {len(seen)} others")
        seen.add(session)


@case("CF-03", "CF-02")
def _round_trips(stage: Stage) -> None:
    """One connection may produce and consume a thousand times in turn."""
    wire = stage.connect()
    wire.subscribe("0", stage.queue())
    for number in range(1000):
        wire.write(_sends(stage.queue(), range(number, number + 1)))
        _expect_numbers(wire, range(number, number + 1))


@case("CF-03", pace="heavy")
def _both_directions(stage: Stage) -> None:
    """There is no deadlock when one connection is full in both directions."""
    wire = stage.connect()
    wire.subscribe("0", stage.queue())
    writer = threading.Thread(
        target=wire.write, args=(_sends(stage.queue(), range(4000), 2000),), daemon=True
    )
    writer.start()
    # Let both directions fill up before anything is read.
    time.sleep(0.5)
    _expect_numbers(wire, range(4000))
    writer.join(10)
    wire.alive()


@case("LIM-06", "V11-22", pace="heavy")
def _rapid_connections(stage: Stage) -> None:
    """Clients may connect and disconnect two thousand times in a row."""
    before = _descriptors(stage)
    for number in range(2000):
        with stage.session() as wire:
            wire.write(_sends(stage.topic(), range(number, number + 1)))
            wire.frame_out("DISCONNECT", f"receipt:{number}")
            wire.expect("RECEIPT", f"receipt-id:{number}")
    until = time.monotonic() + 10
    while (now := _descriptors(stage)) > before + 10 and time.monotonic() < until:
        time.sleep(0.05)
    if now > before + 10:
        raise Unmet(f"the broker had {before} descriptors open, and has {now}")


@case("LIM-06", "V11-22", pace="heavy")
def _parallel_connections(stage: Stage) -> None:
    """A hundred clients may connect and disconnect at the same time."""

    def visit(number: int) -> None:
        with stage.session() as wire:
            wire.write(_sends(stage.topic(), range(number, number + 1)))
            wire.frame_out("DISCONNECT", f"receipt:{number}")
            wire.expect("RECEIPT", f"receipt-id:{number}")

    with ThreadPoolExecutor(100) as pool:
        for future in [pool.submit(visit, number) for number in range(100)]:
            future.result()


def _descriptors(stage: Stage) -> int:
    """How many descriptors the broker has open; 0 if it is not a process of ours."""
    return len(list(Path(f"/proc/{stage.pid}/fd").iterdir())) if stage.pid else 0


@case("ACK-01", "ACK-02", "SUB-11")
def _auto_consumes(stage: Stage) -> None:
    """Mode auto: a hundred messages are consumed without an ACK and never come again."""
    wire = stage.connect()
    wire.write(_sends(stage.queue(), range(100)))
    wire.subscribe("0", stage.queue(), "ack:auto")
    _expect_numbers(wire, range(100))
    wire.close()
    stage.drains(stage.queue())


@case("D-03", "D-02")
def _disconnect_receipt_covers_all(stage: Stage) -> None:
    """The receipt of a DISCONNECT proves that every earlier frame was received."""
    wire = stage.connect()
    wire.write(_sends(stage.queue(), range(1000)) + b"DISCONNECT\nreceipt:bye\n\n\0")
    wire.expect("RECEIPT", "receipt-id:bye")
    wire.eos()
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    _expect_numbers(consumer, range(1000))


@case("D-05", "D-06", "LIM-08")
def _disconnect_with_unread_data(stage: Stage) -> None:
    """The receipt of a DISCONNECT is readable behind 100 KiB of unread messages."""
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    producer = stage.connect()
    producer.write(_sends(stage.queue(), range(100), 1024))
    producer.sync()
    consumer.frame_out("DISCONNECT", "receipt:bye")
    number = 0
    while (frame := consumer.frame("MESSAGE or RECEIPT")).command == b"MESSAGE":
        if frame.body.rstrip(b".") != b"%d" % number:
            raise Unmet(f"expected message {number}, came: {frame}")
        number += 1
    if frame.command != b"RECEIPT" or frame.text("receipt-id") != "bye":
        raise Unmet(f"expected the RECEIPT of the DISCONNECT, came: {frame}")
    consumer.eos()


@case("D-06")
def _disconnect_adds_a_receipt_only(stage: Stage) -> None:
    """After DISCONNECT nothing but its receipt comes, also if messages were prefetched."""
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue(), "ack:client")
    producer = stage.connect()
    producer.write(_sends(stage.queue(), range(10)))
    _expect_numbers(consumer, range(10))
    consumer.frame_out("DISCONNECT", "receipt:bye")
    producer.write(_sends(stage.queue(), range(10, 20)))
    frame = consumer.frame("RECEIPT")
    # What was written before the broker read the DISCONNECT may still be on its way.
    while frame.command == b"MESSAGE":
        frame = consumer.frame("RECEIPT")
    if frame.command != b"RECEIPT" or frame.text("receipt-id") != "bye":
        raise Unmet(f"expected the RECEIPT of the DISCONNECT, came: {frame}")
    consumer.eos()
    stage.drains(stage.queue(), *(b"%d" % number for number in range(20)))


@case("M-04", pace="heavy")
def _unique_message_ids(stage: Stage) -> None:
    """Ten thousand messages have ten thousand different ids, and another connection has others."""
    seen: set[str] = set()
    for count in (10_000, 1000):
        consumer, producer = stage.connect(), stage.connect()
        consumer.subscribe("0", stage.queue(), "ack:auto")
        for first in range(0, count, 500):
            producer.write(_sends(stage.queue(), range(first, first + 500)))
            for _ in range(500):
                identifier = consumer.expect("MESSAGE").text("message-id")
                if identifier in seen:
                    raise Unmet(f"message-id {identifier} came twice")
                seen.add(identifier)
        consumer.close()


@case("M-11", pace="heavy")
def _in_order(stage: Stage) -> None:
    """A thousand numbered messages reach one consumer in order."""
    consumer, producer = stage.connect(), stage.connect()
    consumer.subscribe("0", stage.queue(), "ack:client-individual")
    producer.write(_sends(stage.queue(), range(1000)))
    for number in range(1000):
        frame = consumer.expect("MESSAGE")
        if frame.body != b"%d" % number:
            raise Unmet(f"expected message {number}, came: {frame}")
        consumer.frame_out("ACK", f"id:{frame.text('ack')}")
    consumer.sync()


@case("M-11")
def _in_order_through_a_backlog(stage: Stage) -> None:
    """Order is kept through a backlog, and when half of it comes again."""
    producer = stage.connect()
    producer.write(_sends(stage.queue(), range(200)))
    producer.sync()
    first = stage.connect()
    first.subscribe("0", stage.queue(), "ack:client")
    _expect_numbers(first, range(99))
    last = first.expect("MESSAGE", body=b"99")
    first.frame_out("ACK", f"id:{last.text('ack')}", "receipt:1")
    first.expect_among("RECEIPT", "receipt-id:1")
    first.reset()
    second = stage.connect()
    second.subscribe("0", stage.queue(), "ack:client")
    _expect_numbers(second, range(100, 200))
