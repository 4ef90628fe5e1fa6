"""Cases that take time: beats, silence, slow readers, lingering.

The periods follow what the broker says in CONNECTED, so the cases run against any broker; stompd
is configured with short periods for them.
"""

import time
from itertools import pairwise

from wire import Frame, Unmet, Wire, notation

from conformance.cases import case
from conformance.stage import Stage

_LONGEST = 12.0
"""Seconds of silence that are enough to believe that nothing will come."""
_SLACK = 0.5


def _offer(frame: Frame) -> tuple[int, int]:
    """The server's two numbers; (0, 0) without the header."""
    first, _, second = (frame.raw("heart-beat") or b"0,0").partition(b",")
    if not (first.strip().isdigit() and second.strip().isdigit()):
        raise Unmet(f"not a heart-beat: {frame}")
    return int(first), int(second)


def _long(period: int) -> float:
    """Three periods of so many milliseconds, bounded, in seconds."""
    return min(_LONGEST, max(2.0, 3 * period / 1000))


def _settle(wire: Wire) -> None:
    """Read the line end that may follow CONNECTED."""
    wire.watch(0.3)


@case("H-03", "H-06", config="brisk", elsewhere="always", pace="slow")
def _owes_nothing(stage: Stage) -> None:
    """A client that offered no beats may stay silent."""
    for headers in (("heart-beat:0,0",), ()):
        wire = stage.open()
        _, wanted = _offer(wire.connect("1.2", *headers))
        wire.watch(_long(wanted))
        wire.alive()


@case("H-04", config="brisk", elsewhere="always", pace="slow")
def _wants_nothing(stage: Stage) -> None:
    """A client that wants no beats gets none."""
    wire = stage.open()
    offered, _ = _offer(wire.connect("1.2", "heart-beat:0,0"))
    _settle(wire)
    wire.silent(_long(offered))


@case("H-06", config="brisk", elsewhere="always", pace="slow")
def _missing_means_none(stage: Stage) -> None:
    """Without a heart-beat header no beat comes."""
    wire = stage.open()
    offered, _ = _offer(wire.connect("1.2"))
    _settle(wire)
    wire.silent(_long(offered))


@case("H-07", config="brisk", elsewhere="always", pace="slow")
def _client_keeps_the_agreed_period(stage: Stage) -> None:
    """Beats of the client in the agreed period keep the connection."""
    wire = stage.open()
    _, wanted = _offer(wire.connect("1.2", "heart-beat:500,0"))
    period = max(500, wanted) / 1000 if wanted else 0.5
    for _ in range(max(4, round(4 / period))):
        # A little less than the period, so that none is late by the network's doing.
        wire.watch(0.8 * period)
        wire.write(b"\n")
    wire.alive()


def _beats(stage: Stage, version: str) -> None:
    wire = stage.open()
    offered, _ = _offer(wire.connect(version, "heart-beat:0,500"))
    if not offered:
        raise Unmet(f"asked for beats, the server offers none: {wire.connected}")
    period = max(500, offered) / 1000
    _settle(wire)
    start = time.monotonic()
    before = len(wire.times)
    wire.watch(min(2 * _LONGEST, max(10.0, 3 * period)))
    if wire.ended:
        raise Unmet(f"came: {wire.ended}")
    arrivals = [start, *(moment for moment, _ in wire.times[before:]), time.monotonic()]
    gap = max(later - earlier for earlier, later in pairwise(arrivals))
    if gap > period + _SLACK:
        raise Unmet(f"a gap of {gap:.2f} s where {period:.2f} s were agreed")
    if set(wire.idle) != {10}:
        raise Unmet(f"the idle octets were {notation(wire.idle)}")
    wire.alive()


@case("H-08", "H-10", "H-11", config="brisk", elsewhere="always", pace="slow")
def _server_beats(stage: Stage) -> None:
    """The server never leaves a gap longer than agreed, and its beats are line feeds."""
    _beats(stage, "1.2")


@case("V11-21", config="brisk", elsewhere="always", pace="slow")
def _server_beats_in_1_1(stage: Stage) -> None:
    """1.1: the server keeps the agreed period, and its beats are line feeds."""
    _beats(stage, "1.1")


@case("H-09", config="brisk", elsewhere="always", pace="slow")
def _any_octet_counts(stage: Stage) -> None:
    """A body that trickles in is a sign of life."""
    wire = stage.open()
    _, wanted = _offer(wire.connect("1.2", "heart-beat:300,0"))
    period = max(300, wanted) / 1000
    pause = min(0.2, period / 2)
    number = round(max(5.0, 4 * period) / pause)
    head = f"SEND\ndestination:{stage.queue()}\ncontent-length:{number}\nreceipt:1\n\n"
    wire.write(head.encode())
    for _ in range(number):
        wire.watch(pause)
        wire.write(b"x")
    wire.write(b"\0")
    wire.expect("RECEIPT", "receipt-id:1")
    stage.drains(stage.queue(), b"x" * number)


def _silence(stage: Stage, version: str) -> tuple[Wire, float, float]:
    """Offer beats and send none: the connection, the agreed period, how long it lived."""
    wire = stage.open()
    start = time.monotonic()
    _, wanted = _offer(wire.connect(version, "heart-beat:300,0"))
    period = max(300, wanted) / 1000
    if not wanted:
        raise Unmet(f"offered beats, the server wants none: {wire.connected}")
    wire.watch(4 * period + 5)
    return wire, period, time.monotonic() - start


@case("H-12", config="brisk", elsewhere="always", pace="slow")
def _not_too_early(stage: Stage) -> None:
    """A silent client is given a full period at least."""
    wire, period, lived = _silence(stage, "1.2")
    if wire.ended and lived < period:
        raise Unmet(f"closed after {lived:.2f} s where {period:.2f} s were agreed")


@case("H-12", "V11-21", origin="choice", config="brisk", elsewhere="always", pace="slow")
def _dead_client(stage: Stage) -> None:
    """A silent client gets an ERROR within twice the period and a second, and is closed."""
    for version in ("1.2", "1.1"):
        wire, period, lived = _silence(stage, version)
        if not wire.ended:
            raise Unmet(f"the connection is open after {lived:.1f} s of silence")
        if lived > 2 * period + 1 + 2 * _SLACK:
            raise Unmet(f"closed after {lived:.1f} s where {period:.2f} s were agreed")
        wire.fatal()


@case("H-13", config="brisk", elsewhere="always", pace="slow")
def _late_beats(stage: Stage) -> None:
    """Beats that come a fifth too late are tolerated."""
    wire = stage.open()
    _, wanted = _offer(wire.connect("1.2", "heart-beat:300,0"))
    period = max(300, wanted) / 1000
    for _ in range(10):
        wire.watch(1.2 * period)
        wire.write(b"\n")
    wire.alive()


@case("H-14", config="brisk", elsewhere="always", pace="slow")
def _no_beat_inside_a_frame(stage: Stage) -> None:
    """No beat is inserted into a large MESSAGE for a slow reader."""
    body = b"".join(b"%07d " % number for number in range(250_000))
    reader = stage.open()
    reader.receive_buffer(8192)
    reader.connect("1.2", "heart-beat:0,100")
    reader.subscribe("0", stage.queue())
    producer = stage.connect()
    head = (f"destination:{stage.queue()}", f"content-length:{len(body)}")
    producer.frame_out("SEND", *head, body=body)
    for _ in range(20):
        # A slow reader: it takes a little and pauses for longer than the beats' period.
        reader.sip()
        time.sleep(0.2)
    if reader.expect("MESSAGE").body != body:
        raise Unmet("another body than the one that was sent")
    reader.alive()


@case("V10-21", "V10-02", config="brisk", elsewhere="always", pace="slow")
def _no_beats_in_1_0(stage: Stage) -> None:
    """1.0: the server sends no beats, and silence is fine."""
    wire = stage.open()
    wire.connect("1.0")
    _settle(wire)
    wire.silent(4.0)
    wire.alive()


@case("LIM-07", "E-02", pace="slow")
def _short_lingering(stage: Stage) -> None:
    """After ERROR the server lets go of a connection that the client keeps open."""
    wire = stage.connect()
    wire.frame_out("SEND", body=b"no destination")
    wire.fatal()
    if not wire.released(7.0):
        raise Unmet("the server still holds the connection 7 s after its ERROR")
