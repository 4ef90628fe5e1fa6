"""Cases for which stompd is configured specially: small limits, short time-outs, log-ins.

They run against stompd only; what other brokers limit, and how that is set, is theirs.
"""

import re
import time

from wire import Frame, Unmet, Wire

from conformance.cases import case
from conformance.stage import Stage


def _names_limit(frame: Frame, limit: int) -> None:
    """The ERROR says that a limit was exceeded, and which."""
    text = frame.text("message") + " " + frame.body.decode()
    if not re.search(rf"\b{limit}\b", text):
        raise Unmet(f"the ERROR should name the limit {limit}: {frame}")


def _headers(number: int) -> list[str]:
    return [f"h{index}:{index}" for index in range(number)]


def _send(wire: Wire, stage: Stage, *lines: str, body: bytes = b"x") -> None:
    wire.frame_out("SEND", f"destination:{stage.queue()}", *lines, body=body)


@case("LIM-02", "LIM-05", config="small")
def _too_many_headers(stage: Stage) -> None:
    """As many headers as allowed are accepted, one more is refused."""
    limit = stage.settings["limits"]["headers"]
    wire = stage.connect()
    _send(wire, stage, *_headers(limit - 2), "receipt:1")
    wire.expect("RECEIPT", "receipt-id:1")
    _send(wire, stage, *_headers(limit))
    _names_limit(wire.fatal(), limit)


@case("LIM-03", "LIM-05", config="small")
def _too_long_line(stage: Stage) -> None:
    """A header line as long as allowed is accepted, one octet more is refused."""
    limit = stage.settings["limits"]["header-line"]
    wire = stage.connect()
    _send(wire, stage, "k:" + "v" * (limit - 2), "receipt:1")
    wire.expect("RECEIPT", "receipt-id:1")
    _send(wire, stage, "k:" + "v" * (limit - 1))
    _names_limit(wire.fatal(), limit)


@case("LIM-03", "LIM-05", config="small")
def _endless_line(stage: Stage) -> None:
    """A header line that never ends is refused without waiting for its end."""
    limit = stage.settings["limits"]["header-line"]
    wire = stage.connect()
    wire.write(f"SEND\ndestination:{stage.queue()}\nk:" + "v" * (limit + 10))
    _names_limit(wire.fatal(), limit)


@case("LIM-03", "LIM-05", config="small")
def _endless_command(stage: Stage) -> None:
    """A command that never ends is refused without waiting for its end."""
    wire = stage.connect()
    wire.write(b"A" * 4096)
    wire.fatal()


@case("LIM-03", "LIM-05", config="small")
def _too_large_head(stage: Stage) -> None:
    """Headers that are too large together are refused."""
    limit = stage.settings["limits"]["head"]
    wire = stage.connect()
    _send(wire, stage, *(f"h{index}:{'v' * 1000}" for index in range(limit // 1000 + 1)))
    _names_limit(wire.fatal(), limit)


@case("LIM-04", "LIM-05", config="small")
def _too_large_length(stage: Stage) -> None:
    """A content-length over the limit is refused before the body comes."""
    limit = stage.settings["limits"]["body"]
    wire = stage.connect()
    _send(wire, stage, f"content-length:{limit}", "receipt:1", body=b"x" * limit)
    wire.expect("RECEIPT", "receipt-id:1")
    wire.write(f"SEND\ndestination:{stage.queue()}\ncontent-length:{limit + 1}\n\n")
    _names_limit(wire.fatal(), limit)


@case("LIM-04", "LIM-05", config="small")
def _endless_body(stage: Stage) -> None:
    """A body without length and without end is refused at the limit."""
    limit = stage.settings["limits"]["body"]
    wire = stage.connect()
    _send(wire, stage, "receipt:1", body=b"x" * limit)
    wire.expect("RECEIPT", "receipt-id:1")
    wire.write(f"SEND\ndestination:{stage.queue()}\n\n".encode() + b"x" * (limit + 1))
    _names_limit(wire.fatal(), limit)


@case("LIM-04", "LIM-05", config="small")
def _large_body_before_login(stage: Stage) -> None:
    """Before log-in a frame may be much smaller."""
    limit = stage.settings["limits"]["login-frame"]
    wire = stage.open()
    wire.write("CONNECT\naccept-version:1.2\nhost:x\n" + "k:v\n" * (limit // 4 + 1))
    wire.fatal()


@case("LIM-01", "SUB-04", config="small")
def _too_many_subscriptions(stage: Stage) -> None:
    """One connection has a limited number of subscriptions."""
    limit = stage.settings["limits"]["subscriptions"]
    wire = stage.connect()
    for number in range(limit):
        wire.subscribe(str(number), stage.queue(number))
    wire.frame_out("SUBSCRIBE", "id:more", f"destination:{stage.queue()}", "receipt:1")
    _names_limit(wire.fatal("receipt-id:1"), limit)


@case("LIM-01", config="small")
def _too_many_transactions(stage: Stage) -> None:
    """One connection has a limited number of open transactions."""
    limit = stage.settings["limits"]["transactions"]
    wire = stage.connect()
    for number in range(limit):
        wire.frame_out("BEGIN", f"transaction:{number}")
    wire.sync()
    wire.frame_out("BEGIN", "transaction:more", "receipt:1")
    _names_limit(wire.fatal("receipt-id:1"), limit)


@case("LIM-01", "TX-07", config="small")
def _too_large_transaction(stage: Stage) -> None:
    """A transaction has a limited number of frames."""
    limit = stage.settings["limits"]["transaction-frames"]
    wire = stage.connect()
    wire.frame_out("BEGIN", "transaction:t")
    for number in range(limit):
        _send(wire, stage, "transaction:t", f"receipt:{number}")
        wire.expect("RECEIPT", f"receipt-id:{number}")
    _send(wire, stage, "transaction:t", "receipt:more")
    _names_limit(wire.fatal("receipt-id:more"), limit)
    stage.drains(stage.queue())


@case("LIM-01", "R-03", config="small")
def _too_long_receipt(stage: Stage) -> None:
    """A receipt has a limited length."""
    limit = stage.settings["limits"]["receipt"]
    wire = stage.connect()
    _send(wire, stage, "receipt:" + "r" * limit)
    wire.expect("RECEIPT", "receipt-id:" + "r" * limit)
    _send(wire, stage, "receipt:" + "r" * (limit + 1))
    _names_limit(wire.fatal(), limit)


@case("LIM-01", "SUB-04", config="small")
def _too_long_subscription_id(stage: Stage) -> None:
    """The id of a subscription has a limited length."""
    limit = stage.settings["limits"]["subscription-id"]
    wire = stage.connect()
    wire.subscribe("i" * limit, stage.queue())
    wire.frame_out("SUBSCRIBE", "id:" + "i" * (limit + 1), f"destination:{stage.queue()}")
    _names_limit(wire.fatal(), limit)


@case("LIM-01", config="small")
def _limited_prefetch(stage: Stage) -> None:
    """A subscription holds a limited number of messages that are not acknowledged."""
    queue = f"/queue/credit.{stage.prefix}"
    credit = 3
    wire, producer = stage.connect(), stage.connect()
    wire.subscribe("0", queue, "ack:client-individual")
    for number in range(credit + 2):
        producer.put(queue, b"%d" % number)
    frames = wire.messages(credit)
    wire.sync()
    wire.quiet()
    wire.frame_out("ACK", f"id:{frames[1].text('ack')}")
    wire.expect("MESSAGE", body=b"%d" % credit)
    wire.quiet()


@case("LIM-01", "C-04", config="few")
def _too_many_connections(stage: Stage) -> None:
    """The number of connections is limited, and one more is told so."""
    limit = stage.settings["limits"]["connections"]
    wires = [stage.connect() for _ in range(limit)]
    extra = stage.open()
    extra.frame_out("CONNECT", "accept-version:1.2", "host:x")
    _names_limit(extra.fatal(), limit)
    extra.close()
    wires[0].close()
    until = time.monotonic() + stage.patience.answer
    while True:
        try:
            with stage.session():
                return
        except Unmet:
            if time.monotonic() > until:
                raise


@case("S-08", config="small")
def _full_queue(stage: Stage) -> None:
    """A SEND to a full queue is refused under the policy reject."""
    queue = f"/queue/full.{stage.prefix}"
    wire = stage.connect()
    wire.put(queue, b"1")
    wire.put(queue, b"2")
    wire.frame_out("SEND", f"destination:{queue}", "receipt:3", body=b"3")
    wire.fatal("receipt-id:3")
    stage.drains(queue, b"1", b"2")


@case("C-23", "LIM-01", config="hasty", pace="slow")
def _login_timeout(stage: Stage) -> None:
    """A connection that never logs in is closed in time, and line ends do not prolong it."""
    for noise in (b"", b"\n"):
        wire = stage.open()
        until = time.monotonic() + 5
        while wire.ended is None and time.monotonic() < until:
            wire.watch(0.2)
            wire.write(noise)
        if wire.ended is None:
            raise Unmet("the connection is open after 5 s, the time-out is 1 s")
        wire.fatal()


@case("C-04", config="guarded")
def _passcode_is_not_echoed(stage: Stage) -> None:
    """A refusal names neither passcode nor whether the user exists."""
    answers = set()
    for login in (stage.broker.login, "nobody-of-this-name"):
        wire = stage.open()
        wire.frame_out(
            "CONNECT", "accept-version:1.2", "host:x", f"login:{login}", "passcode:s3cret-word"
        )
        frame = wire.fatal()
        if (
            not frame.text("message").strip()
            or b"s3cret-word" in b"".join(frame.lines) + frame.body
        ):
            raise Unmet(f"came: {frame}")
        answers.add(str(frame))
    if len(answers) != 1:
        raise Unmet(f"an unknown user is answered otherwise than a wrong passcode: {answers}")


@case("E-04", "E-07", config="guarded")
def _refusal_is_typed(stage: Stage) -> None:
    """A refusal of a log-in has a counted and typed body, or none."""
    wire = stage.open()
    wire.frame_out("CONNECT", "accept-version:1.2", "host:x", "login:user", "passcode:wrong")
    frame = wire.fatal()
    if frame.body:
        frame.text("content-length")
        frame.text("content-type")
