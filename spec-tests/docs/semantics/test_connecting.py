"""Connecting and leaving, as docs/semantics.md promises them."""

import signal
import time

import pytest
from wire import Wire

from docs.semantics.daemon import Open, ack_id, fresh, opener
from docs.terminal import Terminal


@pytest.mark.clause("C-13", "C-14", "C-21")
def test_any_login_is_accepted_and_versions_are_mixed(connect: Open) -> None:
    """A message of a 1.2 client is read by a 1.0 client, each in its version."""
    new, old = connect("1.2", "login:anybody", "passcode:anything"), connect("1.0")
    assert new.connected is not None
    assert old.connected is not None
    assert new.connected.text("heart-beat") == "10000,10000"
    assert old.connected.raw("heart-beat") is None
    assert new.connected.text("session") != old.connected.text("session")
    queue = fresh()
    old.write(f"SUBSCRIBE⏎destination:{queue}⏎receipt:s⏎⏎^@")
    old.expect("RECEIPT", "receipt-id:s")
    new.put(queue, b"x", "path:c\\cd\\\\e")
    message = old.expect("MESSAGE", "path:c:d\\e")
    assert message.raw("subscription") is None


def test_a_client_id_is_taken_over(connect: Open) -> None:
    """The connection that had it ends, and what it held comes back, one attempt counted."""
    queue = fresh()
    name = f"client-id:{queue}"
    first = connect("1.2", name)
    first.subscribe("1", queue, "ack:client")
    for _ in range(2):
        first.put(queue, b"x")
    first.messages(2)
    second = connect("1.2", name)
    assert queue.encode() in first.fatal("message:client-id in use").body
    second.subscribe("1", queue, "ack:client")
    assert [m.text("delivery-count") for m in second.messages(2)] == ["2", "1"]
    other = connect("1.2", f"{name}.other")
    other.alive()
    second.frame_out("DISCONNECT")
    second.eos()
    connect("1.0", name).alive()


def test_half_close_has_everything_carried_out(connect: Open) -> None:
    """Whole frames before the end of a client's stream are answered, half a frame is dropped."""
    wire = connect(None)
    queue = fresh()
    wire.write(
        f"CONNECT⏎accept-version:1.2⏎host:x⏎⏎^@SEND⏎destination:{queue}⏎receipt:1⏎⏎whole^@"
        f"SEND⏎destination:{queue}⏎⏎half"
    )
    wire.half_close()
    wire.await_connected()
    wire.expect("RECEIPT", "receipt-id:1")
    wire.eos()
    other = connect()
    other.subscribe("1", queue)
    other.expect("MESSAGE", body=b"whole")
    other.quiet()


def test_a_stop_lets_those_finish_who_hold_something() -> None:
    """At SIGTERM an idle connection is closed, one with a message may still ACK it."""
    wires: list[Wire] = []
    with Terminal() as running:
        connect = opener(running, wires)
        idle, busy = connect(), connect()
        busy.subscribe("1", "/queue/a", "ack:client")
        busy.put("/queue/a", b"1")
        message = busy.expect("MESSAGE")
        running.signal(signal.SIGTERM)
        idle.fatal("message:the server is stopping")
        busy.frame_out("SEND", "destination:/queue/a", "receipt:s", body=b"2")
        busy.expect("RECEIPT", "receipt-id:s")
        busy.frame_out("ACK", ack_id(message), "receipt:a")
        busy.expect("RECEIPT", "receipt-id:a")
        busy.fatal("message:the server is stopping")
        assert running.wait() == 0
    for wire in wires:
        wire.close()


def test_an_address_that_errs_again_and_again_is_slowed_down() -> None:
    """The sixth ERROR in a row is not followed by the close at once."""
    wires: list[Wire] = []
    with Terminal("--set", "timeouts.error-delay=1s") as running:
        connect = opener(running, wires)
        for _ in range(5):
            connect(None).write("NONSENSE⏎⏎^@")
            wires[-1].fatal()
        began = time.monotonic()
        connect(None).write("NONSENSE⏎⏎^@")
        wires[-1].expect("ERROR")
        wires[-1].eos()
        assert time.monotonic() - began >= 1
    for wire in wires:
        wire.close()
