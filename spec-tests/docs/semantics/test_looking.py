"""Looking at the broker, as docs/semantics.md promises it: requests, events, statistics, taps."""

import json
import re
from typing import Any

import pytest
from wire import Broker, Frame, Unmet, Wire

from docs.documents import ROOT, prose
from docs.semantics.daemon import Open, ack_id, fresh
from docs.terminal import Terminal
from stompd.broker.admin.told import EVENTS, STATISTICS
from stompd.broker.admin.verbs import VERBS


def told(message: Frame) -> dict[str, Any]:
    """Return the JSON object that a message carries."""
    assert message.text("content-type") == "application/json"
    value = json.loads(message.body)
    assert isinstance(value, dict)
    return value


def name_of(wire: Wire) -> str:
    """Return the name of a connection's session."""
    assert wire.connected is not None
    return wire.connected.text("session")


def ask(wire: Wire, verb: str, *lines: str, body: str = "") -> dict[str, Any]:
    """Make a request and return the reply."""
    reply_to = "reply-to:/temp-queue/replies"
    wire.frame_out("SEND", f"destination:/admin/{verb}", reply_to, *lines, body=body.encode())
    return told(wire.expect("MESSAGE", "subscription:/temp-queue/replies"))


def rows_of_the_contract() -> list[str]:
    """Return the lines of the section's tables."""
    section = prose(ROOT / "docs" / "semantics.md").partition("\n## Looking at the broker\n")[2]
    return [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]


def test_every_verb_stands_in_the_contract() -> None:
    """The table of verbs has all of them, by the right that they need."""
    found = {}
    for row in rows_of_the_contract():
        kind = re.fullmatch(r"that (look|act) \(`(\w+)`\)", row.split("|")[1].strip())
        if kind is not None:
            found[kind[1] == "act", kind[2]] = re.findall(r"`([^`]+)`", row.split("|")[2])
    assert found == {
        (acts, right): [
            verb.name for verb in VERBS.values() if (verb.acts, verb.right) == (acts, right)
        ]
        for acts, right in ((False, "monitor"), (False, "admin"), (True, "admin"))
    }
    assert sum(map(len, found.values())) == len(VERBS)


def test_everything_that_is_told_stands_in_the_contract() -> None:
    """The table of topics has the kinds of events and statistics that there are, and no others."""
    rows = [line for line in rows_of_the_contract() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert names == {
        *(f"events/{kind}" for kind in EVENTS),
        *(f"stats/{name}" for name in STATISTICS),
        "tap",
    }


# -- Requests --------------------------------------------------------------------------------------


def test_a_request_is_answered(connect: Open) -> None:
    """With the correlation-id, behind it the RECEIPT; an empty body is one without fields."""
    wire = connect()
    queue = fresh()
    wire.put(queue, b"x")
    lines = ("destination:/admin/queues", "reply-to:/temp-queue/r", "correlation-id:7", "receipt:1")
    wire.frame_out("SEND", *lines, body=json.dumps({"match": queue}).encode())
    reply = told(wire.expect("MESSAGE", "subscription:/temp-queue/r", "correlation-id:7"))
    wire.expect("RECEIPT", "receipt-id:1")
    assert reply["ok"] is True
    assert [row["name"] for row in reply["result"]] == [queue]
    assert ask(wire, "status")["ok"] is True
    verbs = {row["verb"] for row in ask(wire, "verbs")["result"]}
    assert {"queues", "purge", "verbs"} <= verbs


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_reply_may_go_to_any_destination(connect: Open, kind: str) -> None:
    """A queue or topic that others know, too."""
    wire, other = connect(), connect()
    name = fresh(kind)
    other.subscribe("1", name)
    wire.frame_out("SEND", "destination:/admin/status", f"reply-to:{name}", "correlation-id:c")
    assert told(other.expect("MESSAGE", f"destination:{name}", "correlation-id:c"))["ok"] is True


@pytest.mark.parametrize(
    ("verb", "body", "code"),
    [
        ("nonsense", "", "not-found"),
        ("queues", "{", "bad-request"),
        ("queues", "[]", "bad-request"),
        ("queues", '{"match":1}', "bad-request"),
        ("queues", '{"nonsense":1}', "bad-request"),
        ("purge", "{}", "bad-request"),
        ("purge", '{"destination":"/queue/that-is-nowhere"}', "not-found"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(
    connect: Open, verb: str, body: str, code: str
) -> None:
    """In the reply; the connection lives."""
    wire = connect()
    reply = ask(wire, verb, body=body)
    assert reply["ok"] is False
    assert reply["error"]["code"] == code
    assert reply["error"]["message"]
    wire.alive()


def test_a_request_without_reply_to_is_an_error(connect: Open) -> None:
    """Nobody could learn what came of it; and SUBSCRIBE is not for requests."""
    for line in ("x:y", "reply-to:", "reply-to:/queue/*", "reply-to:/topic/$SYS/a"):
        wire = connect()
        wire.frame_out("SEND", "destination:/admin/status", line, "receipt:r")
        wire.fatal("message:admin request without reply-to", "receipt-id:r")
    wire = connect()
    wire.frame_out("SUBSCRIBE", "destination:/admin/status", "id:1")
    wire.fatal("message:unknown kind of destination")


def test_a_request_in_a_transaction_is_carried_out_at_commit(connect: Open) -> None:
    """Not before, and not if it is aborted."""
    wire = connect()
    for end in ("ABORT", "COMMIT"):
        wire.frame_out("BEGIN", "transaction:t")
        lines = ("destination:/admin/status", "reply-to:/temp-queue/r", "transaction:t")
        wire.frame_out("SEND", *lines)
        wire.quiet()
        wire.frame_out(end, "transaction:t")
        if end == "ABORT":
            wire.quiet()
    assert told(wire.expect("MESSAGE"))["ok"] is True


def test_listings_tell_what_the_contract_names(connect: Open) -> None:
    """Messages that are not due yet, and headers that have no effect."""
    wire = connect()
    queue = fresh()
    wire.put(queue, b"x", "delay:600000", "transformation:jms-map-json")
    (row,) = ask(wire, "queues", body=json.dumps({"match": queue}))["result"]
    assert (row["delayed"], row["ready"]) == (1, 0)
    mine = [row for row in ask(wire, "connections")["result"] if row["id"] == name_of(wire)]
    assert mine[0]["unhonoured"] == ["transformation"]


def test_acting_changes_something_and_is_told(connect: Open, terminal: Terminal) -> None:
    """A purge empties a queue, a kick ends a connection; both are events, and logged."""
    wire, watcher, victim = connect(), connect(), connect()
    queue = fresh()
    wire.put(queue, b"x")
    watcher.subscribe("1", "/topic/$SYS/events/acted")
    assert ask(wire, "purge", body=json.dumps({"destination": queue}))["ok"] is True
    event = told(watcher.expect("MESSAGE"))
    assert (event["event"], event["verb"], event["ok"]) == ("acted", "purge", True)
    assert event["connection"] == name_of(wire)
    wire.subscribe("1", queue)
    wire.quiet()
    body = json.dumps({"connection": name_of(victim), "reason": "enough"})
    assert ask(wire, "kick", body=body)["ok"] is True
    assert b"enough" in victim.fatal("message:closed by an administrator").body
    assert queue in terminal.log()
    assert name_of(victim) in terminal.log()


# -- Events ----------------------------------------------------------------------------------------


def test_events_of_a_connection(connect: Open) -> None:
    """Who came, what it subscribed to, and that it is gone."""
    watcher = connect()
    watcher.subscribe("1", "/topic/$SYS/events/#")
    queue = fresh()
    wire = connect("1.2", f"client-id:{queue}")
    session = name_of(wire)
    wire.subscribe("s", queue, "ack:client")
    wire.frame_out("UNSUBSCRIBE", "id:s")
    wire.frame_out("DISCONNECT")
    wire.eos()
    seen: dict[str, dict[str, Any]] = {}
    while "disconnected" not in seen:
        message = watcher.expect("MESSAGE")
        event = told(message)
        kind = event["event"]
        assert message.text("destination") == f"/topic/$SYS/events/{kind}"
        assert event["time"] > 0
        if event.get("connection") == session or event.get("queue") == queue:
            seen[kind] = event
    kinds = ["connected", "queue-created", "subscribed", "unsubscribed", "disconnected"]
    assert list(seen) == kinds
    assert seen["connected"]["client_id"] == queue
    assert (seen["subscribed"]["destination"], seen["subscribed"]["ack"]) == (queue, "client")
    assert seen["disconnected"]["reason"] == "disconnect"


def test_events_of_messages_and_limits(connect: Open) -> None:
    """What nobody got, and who is at a limit."""
    watcher, wire = connect(), connect()
    for kind in ("dead-lettered", "expired", "limit", "taken-over"):
        watcher.subscribe(kind, f"/topic/$SYS/events/{kind}")

    def event(kind: str) -> dict[str, Any]:
        return told(watcher.expect("MESSAGE", f"subscription:{kind}"))

    queue = fresh()
    wire.put(queue, b"x", "expires:1")
    assert event("expired")["queue"] == queue
    wire.subscribe("1", queue, "ack:client")
    wire.put(queue, b"x")
    lines = (ack_id(wire.expect("MESSAGE")), "requeue:false", "reason:bad")
    wire.frame_out("NACK", *lines)
    died = event("dead-lettered")
    assert (died["queue"], died["reason"], died["detail"]) == (queue, "rejected", "bad")
    assert died["to"] == queue.replace("/queue/", "/queue/DLQ.")
    full = fresh(stem="reject")
    for _ in range(3):
        wire.frame_out("SEND", f"destination:{full}", body=b"x")
    wire.fatal("message:queue is full")
    assert event("limit")["limit"] == "queue is full"
    first = connect("1.2", f"client-id:{queue}")
    second = connect("1.2", f"client-id:{queue}")
    over = event("taken-over")
    assert (over["connection"], over["by"]) == (name_of(first), name_of(second))


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_statistics_come_while_somebody_listens(connect: Open, name: str) -> None:
    """Again and again, with the time."""
    wire = connect()
    wire.put(fresh(), b"x")
    wire.subscribe("1", f"/topic/$SYS/stats/{name}")
    first = told(wire.expect("MESSAGE"))
    second = told(wire.expect("MESSAGE"))
    assert second["time"] > first["time"]
    assert first.keys() == second.keys()


# -- The tap ---------------------------------------------------------------------------------------


def test_a_tap_shows_the_frames_that_it_asks_for(connect: Open) -> None:
    """Those of one connection, in and out, as far as the body is wanted."""
    tap, wire = connect(), connect()
    queue = fresh()
    lines = (f"connection:{name_of(wire)}", f"match:{queue}", "frames:send, message")
    tap.subscribe("1", "/topic/$SYS/tap", *lines, "body-bytes:3")
    wire.subscribe("1", queue)
    wire.put(queue, b"hello", "foo:bar")
    wire.put(fresh(), b"elsewhere")
    wire.expect("MESSAGE")
    connect().put(queue, b"somebody else's")
    shown = [told(tap.expect("MESSAGE")) for _ in range(2)]
    assert {line["command"]: line["direction"] for line in shown} == {
        "SEND": "in",
        "MESSAGE": "out",
    }
    for line in shown:
        assert line["headers"]["foo"] == "bar"
        assert (line["body"], line["size"], line["truncated"]) == ("hel", 5, True)
        assert line["connection"] == name_of(wire)


def test_a_tap_shows_no_passcode_and_not_itself(connect: Open) -> None:
    """Neither is there a way to see them."""
    tap = connect()
    tap.subscribe("1", "/topic/$SYS/tap", "headers-only:true", "frames:CONNECT,MESSAGE")
    connect("1.2", "login:somebody", "passcode:secret")
    line = told(tap.expect("MESSAGE"))
    assert line["command"] == "CONNECT"
    assert line["headers"]["login"] == "somebody"
    assert line["headers"]["passcode"] == "***"
    assert "body" not in line
    tap.quiet()


def test_a_tap_of_no_command_is_an_error(connect: Open) -> None:
    """It would show nothing."""
    wire = connect()
    wire.frame_out("SUBSCRIBE", "id:1", "destination:/topic/$SYS/tap", "frames:NONSENSE")
    wire.fatal("message:frames names no command")


# -- The memory mark -------------------------------------------------------------------------------


@pytest.mark.slow
def test_over_the_memory_mark_sends_wait() -> None:
    """Until messages are consumed; who asks, and who holds messages, is not held up."""
    with Terminal("--set", "flow.memory-mark=2MiB") as running:

        def connect() -> Wire:
            wire = Wire(Broker(("127.0.0.1", running.port)))
            wires.append(wire)
            wire.connect()
            return wire

        wires: list[Wire] = []
        sender, holder, watcher = connect(), connect(), connect()
        watcher.subscribe("1", "/topic/$SYS/events/producers-paused")
        holder.put("/queue/held", b"x")
        holder.subscribe("1", "/queue/held", "ack:client")
        held = holder.expect("MESSAGE")
        sent = 0
        try:
            while sent < 100:
                sender.frame_out("SEND", "destination:/queue/a", "receipt:r", body=b"x" * 200_000)
                sent += 1
                sender.frame("RECEIPT", within=5)
        except Unmet:
            pass
        assert 10 <= sent < 100
        assert told(watcher.expect("MESSAGE"))["event"] == "producers-paused"
        assert ask(holder, "status")["ok"] is True
        holder.put("/queue/b", b"x")
        holder.frame_out("ACK", ack_id(held))
        holder.subscribe("2", "/queue/a")
        for _ in range(sent):
            holder.expect("MESSAGE", "subscription:2")
        sender.expect("RECEIPT", "receipt-id:r")
        for wire in wires:
            wire.close()
