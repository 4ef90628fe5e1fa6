"""Cases about what frames hold that a script cannot say: all octets, alternatives, every frame."""

import time
from functools import partial

from wire import Unmet, Wire, notation, octets

from conformance.cases import COLLECTED, Case, case, requirements
from conformance.stage import Stage

SNIFFED = {
    "F-10": "every server frame is CONNECTED, MESSAGE, RECEIPT or ERROR",
    "F-11": "every header line of the server has a name and a colon",
    "F-14": "no header line of the server has a second raw colon",
    "ESC-03": "every backslash that the server writes begins one of the four escapes",
    "ESC-06": "nothing in CONNECTED would need an escape",
    "ESC-09": "the server pads none of its own values",
    "BOD-02": "no CONNECTED and no RECEIPT has a body",
    "CL-05": "every MESSAGE and ERROR with a body has the right content-length",
    "CT-01": "every ERROR with a body has a content-type",
    "CT-02": "every content-type that the server gives is a MIME type",
    "E-03": "every ERROR has a message header",
    "E-07": "every ERROR with a body has content-length and content-type",
    "FH-10": "every RECEIPT has a receipt-id",
    "M-01": "after CONNECTED only MESSAGE, RECEIPT and ERROR are sent",
    "M-02": "every MESSAGE has a destination",
    "M-04": "every MESSAGE has a message-id",
    "M-05": "every MESSAGE has a subscription",
    "M-11": "every header name stands once in a frame",
    "V10-06": "no header value towards 1.0 is empty",
    "V10-07": "no line towards 1.0 ends in CR",
    "V11-01": "no line towards 1.1 ends in CR",
    "V11-02": "every backslash towards 1.1 begins one of its three escapes",
}
"""What `wire.Sniffer` looks for in every frame of the whole run, and the case that shows it."""

_OURS = {"ESC-06", "M-11"}


def _tour(stage: Stage) -> list[Wire]:
    """Make the broker write frames of every kind in every version; the connections they came on."""
    wires = []
    for version in ("1.2", "1.1", "1.0"):
        wire = stage.connect(version, *(() if version == "1.0" else ("heart-beat:0,0",)))
        wires.append(wire)
        queue = f"{stage.queue()}-{version}"
        wire.subscribe("0", queue, "ack:client")
        wire.put(queue, b"", "empty:", "a\\cb:c\\\\d" if version != "1.0" else "a:b")
        wire.expect("MESSAGE")
        wire.put(queue, b"body", "content-type:text/plain", "foo:1", "foo:2")
        wire.expect("MESSAGE", body=b"body")
        wire.frame_out("SEND", "receipt:last", body=b"no destination")
        wire.expect("ERROR")
    return wires


def _sniffed(stage: Stage, rule: str) -> None:
    wires = _tour(stage)
    if not sum(wire.sniffer.seen[rule] for wire in wires):
        raise Unmet("no frame came to which this applies")
    for wire in wires:
        for breached, shown in wire.sniffer.complaints:
            if breached == rule:
                raise Unmet(shown)


for _rule, _name in SNIFFED.items():
    COLLECTED.append(
        Case(
            name=_name,
            clauses=(_rule,),
            origin="choice" if _rule in _OURS or requirements()[_rule].ours else "specification",
            config="plain",
            elsewhere="always",
            pace="light",
            play=partial(_sniffed, rule=_rule),
            source="content.py",
        )
    )


@case("F-01")
def _octet_by_octet(stage: Stage) -> None:
    """Frames arrive one octet per segment."""
    wire = stage.open()
    login = "".join(f"{line}⏎" for line in stage.broker.credentials())
    connect = f"CONNECT⏎accept-version:1.2⏎host:{stage.broker.virtual_host}⏎{login}⏎^@"
    send = f"SEND⏎destination:{stage.queue()}⏎content-length:3⏎receipt:1⏎⏎a^@b^@"
    for octet in octets(connect):
        wire.write(bytes([octet]))
        time.sleep(0.001)
    wire.await_connected()
    for octet in octets(send):
        wire.write(bytes([octet]))
        time.sleep(0.001)
    wire.expect("RECEIPT", "receipt-id:1")
    stage.drains(stage.queue(), b"a\0b")


@case("F-01")
def _pipelined(stage: Stage) -> None:
    """Three frames arrive in one segment."""
    wire = stage.connect()
    frame = f"SEND⏎destination:{stage.queue()}⏎receipt:%s⏎⏎%s^@"
    wire.write(frame % ("a", 1) + frame % ("b", 2) + frame % ("c", 3))
    for receipt in "abc":
        wire.expect_among("RECEIPT", f"receipt-id:{receipt}")
    stage.drains(stage.queue(), b"1", b"2", b"3")


@case("F-01", "F-02", "F-07", "CL-03")
def _every_split(stage: Stage) -> None:
    """Two segments may meet at any octet of a stream of frames."""
    wire = stage.connect()
    wire.subscribe("0", stage.queue())
    stream = octets(
        f"⏎SEND␍⏎destination:{stage.queue()}␍⏎é:a\\cb␍⏎content-length:5␍⏎␍⏎a^@b␍⏎^@␍⏎"
        f"SEND⏎destination:{stage.queue()}⏎receipt:1⏎⏎⏎汉^@⏎⏎"
    )
    for cut in range(1, len(stream)):
        wire.write(stream[:cut])
        time.sleep(0.002)
        wire.write(stream[cut:])
        try:
            wire.expect_among("RECEIPT", "receipt-id:1")
            wire.expect("MESSAGE", "é:a\\cb", body=b"a\0b\r\n")
            wire.expect("MESSAGE", body=octets("⏎汉"))
        except Unmet as error:
            raise Unmet(f"cut after {notation(stream[:cut])}: {error}") from None


@case("F-17", "S-02", "M-08", "CL-03")
def _all_octets(stage: Stage) -> None:
    """A body may hold every octet."""
    body = bytes(range(256))
    wire = stage.connect()
    wire.subscribe("0", stage.queue())
    wire.frame_out("SEND", f"destination:{stage.queue()}", "content-length:256", body=body)
    wire.expect("MESSAGE", "content-length:256", body=body)


@case("F-17", "M-08")
def _large_body(stage: Stage) -> None:
    """A body of one MiB of mixed octets arrives unchanged."""
    body = bytes(range(256)) * 4096
    wire = stage.connect()
    wire.subscribe("0", stage.queue())
    head = (f"destination:{stage.queue()}", f"content-length:{len(body)}")
    wire.frame_out("SEND", *head, body=body)
    if wire.expect("MESSAGE").body != body:
        raise Unmet("another body than the one that was sent")


@case("C-02", "H-14")
def _connected_first(stage: Stage) -> None:
    """No octet precedes CONNECTED."""
    wire = stage.open()
    wire.connect("1.2", "heart-beat:1000,1000")
    if wire.idle:
        raise Unmet(f"before CONNECTED came {notation(wire.idle)}")


@case("ESC-10")
def _space_is_part_of_a_destination(stage: Stage) -> None:
    """A destination with a leading space is another one, or refused."""
    consumer = stage.connect()
    consumer.subscribe("0", stage.queue())
    producer = stage.connect()
    producer.frame_out("SEND", f"destination: {stage.queue()}", "receipt:1", body=b"x")
    answer = producer.frame("RECEIPT or ERROR")
    if answer.command not in {b"RECEIPT", b"ERROR"}:
        raise Unmet(f"expected RECEIPT or ERROR, came: {answer}")
    stage.connect().put(stage.queue(), b"y")
    consumer.expect("MESSAGE", body=b"y")
    consumer.quiet()


@case("S-03", "M-02")
def _opaque_destinations(stage: Stage) -> None:
    """A destination is taken whole or refused, never cut."""
    prefix = stage.prefix
    odd = (prefix, f"/queue/{prefix}.é", f"/queue/{prefix} x y", f"/queue/{prefix}.{'d' * 150}")
    for destination in odd:
        wire = stage.connect()
        wire.frame_out("SUBSCRIBE", "id:0", f"destination:{destination}")
        wire.frame_out("SEND", f"destination:{destination}", body=b"x")
        frame = wire.frame("MESSAGE or ERROR")
        if frame.command == b"ERROR":
            wire.eos(reset_allowed=True)
        elif frame.command != b"MESSAGE" or (
            frame.text("destination") != destination
            and destination.startswith(frame.text("destination"))
        ):
            raise Unmet(f"sent to {destination}, came: {frame}")


@case("M-03", origin="choice")
def _bare_name(stage: Stage) -> None:
    """A destination without a leading slash is echoed as the sender wrote it."""
    wire = stage.connect()
    wire.subscribe("0", stage.prefix)
    wire.frame_out("SEND", f"destination:{stage.prefix}", body=b"x")
    wire.expect("MESSAGE", f"destination:{stage.prefix}", body=b"x")


@case("SUB-02", "ACK-01")
def _one_subscriber_each(stage: Stage) -> None:
    """Each message of a queue reaches exactly one of three subscriptions."""
    first, second, producer = stage.connect(), stage.connect(), stage.connect()
    first.subscribe("0", stage.queue())
    second.subscribe("0", stage.queue())
    second.subscribe("1", stage.queue())
    sent = sorted(b"%d" % number for number in range(60))
    for body in sent:
        producer.put(stage.queue(), body)
    came: list[bytes] = []
    for wire in (first, second):
        # The receipts say that the broker has routed all; a queue may still be delivering.
        wire.watch(0.5)
        wire.sync()
        while (frame := wire.held()) is not None:
            came.append(frame.body)
    if sorted(came) != sent:
        raise Unmet(f"{len(sent)} messages were sent, {len(came)} came: {sorted(came)}")


@case("V10-11")
def _selector(stage: Stage) -> None:
    """A selector is honoured, ignored or refused, each time alike."""
    seen = set()
    for number in range(2):
        wire = stage.connect("1.0")
        topic = stage.topic(number)
        wire.frame_out("SUBSCRIBE", f"destination:{topic}", "id:0", "selector:colour = 'red'")
        wire.frame_out("SEND", f"destination:{topic}", "colour:red", body=b"red")
        wire.frame_out("SEND", f"destination:{topic}", "colour:blue", body=b"blue")
        wire.frame_out("SEND", f"destination:{topic}", "colour:red", body=b"end")
        bodies: list[bytes] = []
        while not bodies or bodies[-1] != b"end":
            frame = wire.frame("MESSAGE or ERROR")
            bodies.append(b"end" if frame.command == b"ERROR" else frame.body)
        seen.add(tuple(bodies))
    ways = {(b"red", b"blue", b"end"), (b"red", b"end"), (b"end",)}
    if len(seen) != 1 or not seen <= ways:
        raise Unmet(f"expected one way for all, came: {sorted(seen)}")
