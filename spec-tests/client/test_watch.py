"""`stomp tap` and `stomp events`: what is shown of frames and events, and that it is harmless."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from client.admin_broker import AdminBroker
from client.faulty_broker import running_faulty_broker
from client.programs import Stomp, environment

from stompcli.client.testing import ClientFrame, ScriptedBroker
from stompcli.tapped import Related, clock, event_line, frame_line

HOSTILE = "\x1b]0;owned\x07 [red] \u202e\n"


def a_frame(command: str, *, direction: str = "in", **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a line of the tap."""
    names = ("connection", "peer", "user", "body", "body_base64", "size", "truncated", "dropped")
    own = {name: fields.pop(name) for name in names if name in fields}
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return {
        "time": 1_700_000_000_114,
        "direction": direction,
        "connection": "c17",
        "peer": "127.0.0.1:5",
        "user": "guest",
        "command": command,
        "headers": headers,
        "size": 0,
        "truncated": False,
        **own,
    }


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            a_frame("SEND", destination="/queue/test", receipt="77", body="hello world", size=11),
            'c17 guest@127.0.0.1:5 > SEND /queue/test 11 B receipt=77 "hello world"',
        ),
        (
            a_frame("RECEIPT", direction="out", receipt_id="77", user=None),
            "c17 127.0.0.1:5 < RECEIPT 77",
        ),
        (
            a_frame(
                *("MESSAGE",), direction="out", destination="/queue/a", subscription="1",
                body="abc", size=3000, truncated=True,
            ),
            'c17 guest@127.0.0.1:5 < MESSAGE /queue/a sub=1 3,000 B "abc"…',
        ),
        (
            a_frame("SUBSCRIBE", destination="/queue/a", id="1", ack="client"),
            "c17 guest@127.0.0.1:5 > SUBSCRIBE /queue/a id=1 ack=client",
        ),
        (a_frame("ACK", id="m3", transaction="t"), "c17 guest@127.0.0.1:5 > ACK m3 tx=t"),
        (a_frame("UNSUBSCRIBE", id="1"), "c17 guest@127.0.0.1:5 > UNSUBSCRIBE id=1"),
        (
            a_frame("CONNECT", login="me", passcode="***", accept_version="1.1,1.2", user=None),
            "c17 127.0.0.1:5 > CONNECT accept-version=1.1,1.2 login=me",
        ),
        (
            a_frame("CONNECTED", direction="out", version="1.2"),
            "c17 guest@127.0.0.1:5 < CONNECTED version=1.2",
        ),
        (
            a_frame("ERROR", direction="out", message="no", size=3, body="why"),
            'c17 guest@127.0.0.1:5 < ERROR "no" 3 B "why"',
        ),
        (
            a_frame("SEND", destination="/queue/a", body_base64="/wA=", size=2),
            "c17 guest@127.0.0.1:5 > SEND /queue/a 2 B x'ff00'",
        ),
    ],
)  # fmt: skip
def test_lines(row: dict[str, Any], line: str) -> None:
    """What matters of each command is one line."""
    assert frame_line(row, full=False) == f"{clock(row['time'])} {line}"


def test_full_lines() -> None:
    """With -V every header is there; a passcode never is."""
    row = a_frame("SEND", destination="/queue/a", passcode="x", priority="4", size=0)
    assert frame_line(row, full=True).endswith("SEND /queue/a 0 B priority=4")


def test_strangers_cannot_harm() -> None:
    """Nothing of a frame or an event can move the cursor or end the line."""
    row = a_frame("SEND", destination=HOSTILE, body=HOSTILE, receipt=HOSTILE, user=HOSTILE)
    event = {"event": HOSTILE, "time": 0, "peer": HOSTILE, "list": [HOSTILE]}
    for line in (frame_line(row, full=True), event_line(event)):
        assert line.isprintable() or "…" in line
        assert "\\x1b]0;owned\\x07 [red] \\u202e" in line


def test_events_in_a_line() -> None:
    """An event is its kind and what there is to say of it; blanks are put into quotes."""
    event: dict[str, Any] = {
        "event": "dead-lettered",
        "time": 1_700_000_000_007,
        "queue": "/queue/a",
        "detail": "a b",
        "user": None,
        "ok": True,
        "headers": ["x", "y"],
    }
    assert event_line(event) == (
        f'{clock(1_700_000_000_007)} dead-lettered queue=/queue/a detail="a b" ok=yes headers=x,y'
    )


def test_what_belongs_together() -> None:
    """Receipts, acks and ends of subscriptions belong to the frames of a destination."""
    related = Related(lambda name: name.startswith("/queue/t"))
    frames = [
        (a_frame("SEND", destination="/queue/test", receipt="1"), True),
        (a_frame("SEND", destination="/queue/other", receipt="2"), False),
        (a_frame("SEND", destination="t2"), True),
        (a_frame("RECEIPT", receipt_id="1"), True),
        (a_frame("RECEIPT", receipt_id="2"), False),
        (a_frame("RECEIPT", receipt_id="1", connection="c18"), False),
        (a_frame("SUBSCRIBE", destination="/queue/t", id="s", receipt="3"), True),
        (a_frame("MESSAGE", destination="/queue/t", subscription="s", ack="m", message_id="n"), 1),
        (a_frame("ACK", id="m", receipt="4"), True),
        (a_frame("RECEIPT", receipt_id="4"), True),
        (a_frame("NACK", message_id="n"), True),
        (a_frame("ACK", id="other"), False),
        (a_frame("UNSUBSCRIBE", id="s"), True),
        (a_frame("UNSUBSCRIBE", id="x"), False),
        (a_frame("ERROR", receipt_id="1"), True),
        (a_frame("CONNECT"), False),
    ]
    assert [related(row) for row, _ in frames] == [bool(wanted) for _, wanted in frames]
    for n in range(20_000):
        related(a_frame("SEND", destination="/queue/t", receipt=f"n{n}"))
    assert not related(a_frame("RECEIPT", receipt_id="1"))


# The program.


@contextmanager
def watching(stomp: Stomp, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program, once it has subscribed."""
    program = subprocess.Popen(
        stomp.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert program.stderr is not None
    assert b"Ctrl-C to stop" in program.stderr.readline()
    try:
        yield program
    finally:
        if program.poll() is None:
            program.kill()
        program.communicate()


def test_tap_shows_frames(stomp: Stomp, queue: str) -> None:
    """SEND and RECEIPT of one destination, and nothing of another."""
    with watching(stomp, "tap", "--dest", f"{queue}*", "-n", "2", "--body-bytes", "4") as program:
        stomp("send", "/queue/other", "x")
        stomp("send", queue, "hello")
        out, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    lines = out.decode().splitlines()
    time, who = r"\d\d:\d\d:\d\d\.\d{3}", r"c\d+ 127\.0\.0\.1:\d+"
    name = re.escape(queue)
    assert re.fullmatch(rf'{time} {who} > SEND {name} 5 B receipt=r1 "hell"…', lines[0])
    assert re.fullmatch(rf"{time} {who} < RECEIPT r1", lines[1])


def test_tap_as_json(stomp: Stomp, queue: str) -> None:
    """--json gives all that the broker tells, with times as elsewhere; --frames chooses."""
    words = ("--frames", "send", "--dest", queue, "--headers-only", "-n", "1", "--json")
    with watching(stomp, "monitor", *words) as program:
        stomp("send", queue, "hello")
        out, _ = program.communicate(timeout=60)
    row = json.loads(out)
    assert (row["command"], row["size"], row["headers"]["destination"]) == ("SEND", 5, queue)
    assert "body" not in row
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["time"])
    assert row["peer"].startswith("127.0.0.1:")


def test_events_are_shown(stomp: Stomp, queue: str) -> None:
    """What happens is a line each; --filter takes some of them; Ctrl-C ends it."""
    with watching(stomp, "events", "--filter", "queue-created .*events") as program:
        stomp("send", queue, "x")
        assert program.stdout is not None
        line = program.stdout.readline().decode()
        assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d{{3}} queue-created queue={queue}\n", line)
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=60) == 130


def tapping(*rows: dict[str, Any] | bytes) -> Callable[[ScriptedBroker, ClientFrame], Any]:
    """Return what sends these lines to who subscribes."""

    async def on_subscribe(broker: ScriptedBroker, frame: ClientFrame) -> None:
        for row in rows:
            body = row if isinstance(row, bytes) else json.dumps(row).encode()
            await broker.message(frame, body)

    return on_subscribe


def test_what_was_dropped_is_said(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Frames that were dropped are told before the next one, even if that one is not wanted."""
    admin.on_subscribe = tapping(
        a_frame("SEND", destination="/queue/b", dropped=412),
        a_frame("SEND", destination="/queue/a"),
    )
    done = stomp_admin("tap", "--dest", "/queue/a", "-n", "1")
    assert done.text.splitlines()[0] == "# dropped 412 lines (slow reader)"
    assert done.text.count("SEND") == 1


def test_filters_reach_the_broker(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """The broker chooses what it can, so that less has to be dropped."""
    admin.on_subscribe = tapping(a_frame("SEND", destination="/queue/a.b"))
    words = ("--conn", "c1", "--user", "me", "--frames", "MESSAGE,SEND", "-n1")
    assert stomp_admin("tap", "--dest", "/queue/a.*", *words).code == 0
    (frame,) = admin.frames
    assert frame.headers["destination"] == "/topic/$SYS/tap"
    wanted = {"connection": "c1", "user": "me", "frames": "MESSAGE,SEND", "body-bytes": "80"}
    assert frame.headers.items() >= {**wanted, "match": "/queue/a.#"}.items()
    # Receipts have no destination, so nothing can be left to the broker.
    admin.frames.clear()
    assert stomp_admin("tap", "--dest", "/queue/a.*", "--frames", "SEND,RECEIPT", "-n1").code == 0
    assert not {"match", "frames"} & set(admin.frames[0].headers)


def test_what_is_no_line(stomp_admin: Stomp, admin: AdminBroker) -> None:
    """Something else than JSON is a failure in words."""
    admin.on_subscribe = tapping(b"[")
    done = stomp_admin("events")
    assert done.code == 1
    assert "is not what it should be" in done.err


def test_usage(stomp: Stomp) -> None:
    """Words that name no command, bad expressions and other brokers are refused."""
    done = stomp("tap", "--frames", "SEND,FOO")
    assert done.code == 2
    assert '"FOO" is not a command of STOMP' in done.err
    assert "not a regular expression" in stomp("events", "--filter", "(").err
    with running_faulty_broker() as broker:
        done = Stomp(broker.port)("tap")
    assert done.code == 1
    assert "tap needs stompd" in done.err


def test_in_a_session(stomp: Stomp, queue: str) -> None:
    """At the prompt it goes on beside it, and is ended as any subscription."""
    script = f"tap --dest {queue} -n 1\nevents --filter nothing\nsend {queue} x\n"
    script += "unsubscribe /topic/$SYS/events/#\n"
    done = stomp("--linger", "1", stdin=script.encode())
    assert done.code == 0, done.err
    assert re.search(rf"> SEND {re.escape(queue)} 1 B", done.text)
    assert "Unsubscribing" in done.text
