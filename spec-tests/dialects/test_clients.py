"""Habits of widespread client libraries that decide whether a broker works for them at all.

Each test is one habit, in the octets of the library that has it: stomp-php, the PECL extension,
the Ruby gem, Perl's Net::Stomp and Net::STOMP::Client, go-stomp, stompjs, and stompman. Whether a
habit is right does not matter: programs that use them exist.
"""

import re
from collections.abc import Callable

import pytest
from server.process import Daemon, daemon
from wire import Frame, Wire

in_each_version = pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
since_1_1 = pytest.mark.parametrize("version", ["1.1", "1.2"])


def connected(stompd: Daemon, *lines: str, command: str = "CONNECT") -> tuple[Wire, Frame]:
    """Open a connection with these header lines of CONNECT and no others."""
    wire = Wire(stompd.broker)
    wire.frame_out(command, *lines)
    return wire, wire.await_connected()


@in_each_version
def test_php_needs_a_session(version: str, stompd: Daemon) -> None:
    """It takes itself for disconnected while ``session`` is missing, empty or 0."""
    wire, frame = connected(
        stompd, "accept-version:1.0,1.1,1.2", "host:localhost", "heart-beat:0,0"
    )
    assert re.fullmatch(r"[A-Za-z0-9-]{2,}", frame.text("session"))
    wire.close()
    other, again = connected(stompd, f"accept-version:{version}")
    assert again.text("session") not in {"", "0", frame.text("session")}
    other.close()


@since_1_1
@pytest.mark.parametrize("beats", [None, "0,0", "4000,0", "0,4000", "500,500", " 10000 , 10000 "])
def test_both_numbers_of_the_heart_beat_are_there(
    version: str, beats: str | None, stompd: Daemon
) -> None:
    """Of stompman and Ruby the first crashes without the header; at a 0 stompman writes LFs madly.

    go-stomp drops a quiet connection after a minute if the first number is 0.
    """
    lines = () if beats is None else (f"heart-beat:{beats}",)
    wire, frame = connected(stompd, f"accept-version:{version}", "host:x", *lines)
    assert re.fullmatch(r"[1-9]\d*,[1-9]\d*", frame.text("heart-beat"))
    wire.close()


@pytest.mark.parametrize(
    ("version", "begin", "send"),
    [
        pytest.param("1.0", ("transaction:1",), (), id="Net::Stomp"),
        pytest.param("1.1", ("transaction:1",), ("content-length:1",), id="stomp-php"),
        pytest.param(
            "1.2",
            ("transaction:1",),
            ("content-type:text/plain", "content-length:1"),
            id="go-stomp",
        ),
    ],
)
def test_the_receipt_of_a_transacted_send_comes_before_the_commit(
    version: str,
    begin: tuple[str, ...],
    send: tuple[str, ...],
    stompd: Daemon,
    fresh: Callable[[], str],
) -> None:
    """These three wait for it before they write COMMIT: a broker that holds it back hangs them."""
    queue = f"/queue/{fresh()}"
    with stompd.connect(version) as wire:
        wire.frame_out("BEGIN", *begin, "receipt:begin-1")
        wire.expect("RECEIPT", "receipt-id:begin-1")
        wire.frame_out("SEND", f"destination:{queue}", *begin, "receipt:s-1", *send, body=b"x")
        wire.expect("RECEIPT", "receipt-id:s-1")
        wire.frame_out("COMMIT", *begin, "receipt:commit-1")
        wire.expect("RECEIPT", "receipt-id:commit-1")
        wire.frame_out("SUBSCRIBE", "id:0", f"destination:{queue}")
        wire.expect("MESSAGE", body=b"x")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param((), id="stompjs"),
        pytest.param(("host:",), id="empty"),
        pytest.param(("host:127.0.0.1",), id="go-stomp"),
        pytest.param((r"host:\c\c1",), id="go-stomp, IPv6"),
        pytest.param(("host:[::1]:61613",), id="with colons"),
        pytest.param(("host:/",), id="RabbitMQ's"),
    ],
)
def test_any_host_and_none_will_do(
    host: tuple[str, ...], stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Who names a host of his own, or none, shares the destinations of all others."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as other:
        other.put(queue, b"x")
    wire, _ = connected(stompd, "accept-version:1.2,1.1,1.0", *host)
    with wire:
        wire.subscribe("0", queue)
        wire.expect("MESSAGE", body=b"x")


@pytest.mark.parametrize(
    ("command", "offered", "version"),
    [
        ("STOMP", "1.0", "1.0"),
        ("STOMP", "1.1", "1.1"),
        ("STOMP", "1.2", "1.2"),
        ("CONNECT", "1.2,1.1,1.0", "1.2"),
        ("CONNECT", "1.1,1.0", "1.1"),
        ("CONNECT", "1.0,1.1,1.2", "1.2"),
    ],
)
def test_versions_in_any_order(command: str, offered: str, version: str, stompd: Daemon) -> None:
    """Known from stomp.py: STOMP and one version; from stompjs: descending, others ascending."""
    wire, frame = connected(stompd, f"accept-version:{offered}", "host:x", command=command)
    assert frame.text("version") == version
    wire.close()


@pytest.mark.parametrize("mode", ["client", "client-individual"])
def test_php_names_the_message_where_the_ack_is_meant(
    mode: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """In 1.2 its generic dialect writes ``id:`` and the ``message-id``: it has to be the same."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire:
        wire.subscribe("1", queue, f"ack:{mode}")
        wire.put(queue, b"x")
        frame = wire.expect_among("MESSAGE")
        wire.frame_out("NACK", f"id:{frame.text('message-id')}")
        again = wire.expect("MESSAGE", "redelivered:true")
        assert again.text("message-id") == again.text("ack") != frame.text("ack")
        wire.frame_out("ACK", f"id:{again.text('message-id')}", "receipt:r")
        wire.expect("RECEIPT", "receipt-id:r")


@in_each_version
def test_ruby_takes_the_next_frame_for_the_receipt_of_disconnect(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """With much waiting for it, nothing but RECEIPT may come once DISCONNECT was read."""
    queue = f"/queue/{fresh()}"
    with stompd.connect(version) as wire:
        for number in range(50):
            wire.frame_out("SEND", f"destination:{queue}", body=b"%d" % number)
        wire.frame_out(
            "SUBSCRIBE", "id:0", f"destination:{queue}", "ack:client", "prefetch-count:1"
        )
        wire.expect("MESSAGE", body=b"0")
        wire.frame_out("DISCONNECT", "receipt:77")
        wire.expect("RECEIPT", "receipt-id:77")
        wire.eos()


def test_ruby_raises_at_empty_values(stompd: Daemon, fresh: Callable[[], str]) -> None:
    """In 1.0, and in CONNECTED always: a header with an empty value is left out there."""
    queue = f"/queue/{fresh()}"
    for version in ("1.0", "1.1", "1.2"):
        wire, frame = connected(stompd, f"accept-version:{version}", "host:x")
        with wire:
            assert all(line.partition(b":")[2] for line in frame.lines), frame
            wire.frame_out("SUBSCRIBE", "id:0", f"destination:{queue}")
            wire.put(queue, b"x", "empty:", "full:1")
            message = wire.expect_among("MESSAGE", "full:1")
            assert message.raw("empty") == (None if version == "1.0" else b"")


@since_1_1
def test_stompman_drops_a_header_with_a_second_colon(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """And Perl dies of one: no value holds a raw colon, neither of CONNECTED nor of a MESSAGE."""
    queue = f"/queue/{fresh()}"
    wire, frame = connected(
        stompd,
        f"accept-version:{version}",
        "host:a:b",
        "client-id:c:d",
        "login:e:f",
        "passcode:g:h",
    )
    with wire:
        assert all(line.count(b":") == 1 for line in frame.lines), frame
        wire.subscribe("0:1", queue, "ack:client-individual")
        wire.put(queue, b"x", r"url:http\c//x", "raw:a:b")
        for _ in range(5):
            message = wire.expect_among("MESSAGE", r"url:http\c//x", r"raw:a\cb")
            assert message.raw("subscription") == b"0:1".replace(b":", rb"\c")
            assert all(line.count(b":") == 1 for line in message.lines), message
            key = message.text("message-id")
            names = ("id",) if version == "1.2" else ("message-id",)
            wire.frame_out("NACK", *(f"{n}:{key}" for n in names), r"subscription:0\c1")
        wire.subscribe("1", f"/queue/DLQ.{queue.removeprefix('/queue/')}")
        letter = wire.expect_among("MESSAGE", f"original-destination:{queue}")
        assert all(line.count(b":") == 1 for line in letter.lines), letter


@in_each_version
def test_perl_dies_of_a_receipt_that_it_did_not_ask_for(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """CONNECT's is none, every other one comes once, and in the order of asking."""
    queue = f"/queue/{fresh()}"
    wire, _ = connected(stompd, f"accept-version:{version}", "host:x", "receipt:connect")
    with wire:
        for number in range(20):
            receipt = (f"receipt:{number}",) if number % 2 else ()
            wire.frame_out("SEND", f"destination:{queue}", *receipt, body=b"x")
        wire.frame_out("DISCONNECT", "receipt:bye")
        got = [wire.expect("RECEIPT").text("receipt-id") for _ in range(11)]
        assert got == [*(str(number) for number in range(1, 20, 2)), "bye"]
        wire.eos()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_pecl_copies_all_headers_of_a_message_into_its_ack(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """So its ACK has ``content-length`` and no body: what follows is the next frame, not a body."""
    queue = f"/queue/{fresh()}"
    with stompd.connect(version) as wire:
        wire.frame_out("SUBSCRIBE", "id:0", f"destination:{queue}", "ack:client")
        wire.put(queue, b"0123456789", "content-type:text/plain", "x-y:z")
        frame = wire.expect_among("MESSAGE", "content-length:10")
        wire.write(b"ACK\n" + b"\n".join(frame.lines) + b"\n\n\0")
        wire.put(queue, b"next")
        assert wire.expect_among("MESSAGE").body == b"next"
        wire.alive()
    with stompd.connect() as other:
        other.subscribe("s", queue)
        # The first was acknowledged, and only the second comes again.
        other.expect("MESSAGE", "redelivered:true", body=b"next")


@in_each_version
def test_ruby_counts_the_body_of_every_frame(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """``content-length`` and ``content-type`` stand on each of its frames, CONNECT and ACK too."""
    queue = f"/queue/{fresh()}"
    empty = ("content-type:text/plain; charset=UTF-8", "content-length:0")
    wire, _ = connected(stompd, f"accept-version:{version}", "host:x", "login:a", *empty)
    with wire:
        wire.frame_out("SUBSCRIBE", "id:0", f"destination:{queue}", "ack:client", *empty)
        wire.frame_out("SEND", f"destination:{queue}", *empty)
        key = wire.expect("MESSAGE", body=b"").text("message-id")
        wire.frame_out("ACK", f"id:{key}", f"message-id:{key}", "subscription:0", *empty)
        wire.frame_out("UNSUBSCRIBE", "id:0", f"destination:{queue}", *empty)
        wire.frame_out("DISCONNECT", "receipt:1", *empty)
        wire.expect("RECEIPT", "receipt-id:1")
        wire.eos()


@in_each_version
def test_ruby_acknowledges_what_needs_no_acknowledgement(
    version: str, stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """National Rail's example subscribes in mode auto, and acknowledges each message."""
    queue = f"/queue/{fresh()}"
    with stompd.connect(version) as wire:
        wire.frame_out("SUBSCRIBE", "id:9f2c", f"destination:{queue}", "ack:auto")
        for number in range(3):
            wire.put(queue, b"%d" % number)
            key = wire.expect_among("MESSAGE").text("message-id")
            wire.frame_out("ACK", f"id:{key}", f"message-id:{key}", "subscription:9f2c")
        wire.alive()


def test_go_closes_a_channel_at_the_receipt_of_unsubscribe(
    stompd: Daemon, fresh: Callable[[], str]
) -> None:
    """Its receipt is the subscription's id, and no MESSAGE of that may come after it."""
    queue = f"/queue/{fresh()}"
    with stompd.connect() as wire, stompd.connect() as producer:
        wire.frame_out(
            "SUBSCRIBE", "id:1", f"destination:{queue}", "ack:client", "prefetch-count:5"
        )
        for number in range(20):
            producer.frame_out("SEND", f"destination:{queue}", body=b"%d" % number)
        producer.sync()
        wire.frame_out("UNSUBSCRIBE", "id:1", "receipt:1")
        commands = []
        while (frame := wire.frame()).command == b"MESSAGE":
            commands.append(frame.command)
        assert (frame.command, frame.text("receipt-id")) == (b"RECEIPT", "1")
        assert len(commands) <= 5
        wire.quiet()


@in_each_version
def test_an_error_is_the_end(version: str, stompd: Daemon) -> None:
    """Other brokers often go on after ERROR; 1.2 demands the end, and all versions have it."""
    wire, _ = connected(stompd, f"accept-version:{version}", "host:x")
    with wire:
        wire.frame_out("SUBSCRIBE", "id:0", "destination:/nowhere/x", "receipt:r")
        wire.frame_out("SEND", "destination:/queue/never", body=b"x")
        wire.fatal("receipt-id:r", "subscription:0")


def test_stompman_repeats_a_transaction_without_its_begin(fresh: Callable[[], str]) -> None:
    """Reconnected, it writes the SENDs and the COMMIT: with ``implicit-begin`` nothing is lost."""
    queue = f"/queue/{fresh()}"
    with (
        daemon("--set", "implicit-begin=true") as lenient,
        lenient.connect() as wire,
    ):
        for number in range(3):
            lines = ("content-length:1", f"destination:{queue}", "transaction:8c2a")
            wire.frame_out("SEND", *lines, body=b"%d" % number)
        wire.frame_out("COMMIT", "transaction:8c2a")
        wire.subscribe("s", queue)
        assert [frame.body for frame in wire.messages(3)] == [b"0", b"1", b"2"]


@pytest.mark.slow
def test_a_client_that_loops_on_an_error_is_slowed_down(fresh: Callable[[], str]) -> None:
    """Some connect again at once and repeat a SUBSCRIBE that is refused; each gets its ERROR."""
    with daemon("--set", "timeouts.error-delay=100ms") as patient:
        for _ in range(8):
            wire, _ = connected(patient, "accept-version:1.2", "host:x", command="STOMP")
            with wire:
                wire.frame_out("SUBSCRIBE", "id:0", "destination:/nowhere/x")
                wire.fatal("subscription:0")
        with patient.connect() as other:
            other.put(f"/queue/{fresh()}", b"others are served")
