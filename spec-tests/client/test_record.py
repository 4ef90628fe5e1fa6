"""`stomp save` and `stomp replay`: messages into a file, and out of it again."""

import base64
import json
import re
import signal
import stat
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment
from client.test_worker import read_until, working

from stompcli.client.testing import ScriptedBroker, on_socket
from stompcli.retold import Retold


def saved(file: Path) -> list[dict[str, object]]:
    """Return the objects in a file."""
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_there_and_back(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """What was saved has left its queue; replay sends it where it came from, whatever it is."""
    file = tmp_path / "messages"
    stomp("-q", "send", queue, "grüße", "-H", "x:a\nb:c", "-t", "text/x", "--ttl", "60s")
    stomp("-q", "send", queue, "-", stdin=b"\xff\0")
    done = stomp("save", queue, str(file))
    assert (done.code, done.out) == (0, b"")
    assert re.search(rf"saved 2 messages of {re.escape(queue)}\n$", done.err)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first, second = saved(file)
    assert (first["n"], second["n"]) == (1, 2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(first["time"]))
    assert stomp("browse", queue).out == b""
    done = stomp("replay", str(file))
    assert done.code == 0
    assert re.search(rf"sent 2 messages in \d+\.\d\d s \({re.escape(queue)} 2\)\n$", done.err)
    lines = stomp("subscribe", queue, "-n", "2", "--json").out.splitlines()
    one, two = (json.loads(line) for line in lines)
    assert one["body"] == "grüße"
    assert {name: one["headers"].get(name) for name in ("x", "content-type")} == {
        "x": "a\nb:c",
        "content-type": "text/x",
    }
    assert two["body_base64"] == "/wA="


def test_browse(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """--browse leaves everything where it is."""
    stomp("-q", "send", queue, "--lines", stdin=b"1\n2\n3\n")
    done = stomp("save", "--browse", queue, "-")
    assert [json.loads(line)["body"] for line in done.out.splitlines()] == ["1", "2", "3"]
    done = stomp("save", "--browse", "-n", "2", queue, str(tmp_path / "file"))
    assert len(saved(tmp_path / "file")) == 2
    assert stomp("browse", queue, "--format", "{body}").out == b"123"


def test_a_few(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """-n takes no more than that; --append adds to a file, which is never overwritten."""
    file = tmp_path / "file"
    stomp("-q", "send", queue, "--lines", stdin=b"1\n2\n3\n")
    assert stomp("save", "-n", "1", queue, str(file)).code == 0
    done = stomp("save", "-n", "1", queue, str(file))
    assert done.code == 1
    assert done.err == f"stomp: {file} is there already\n  --append adds to it\n"
    assert stomp("save", "-n", "1", "--append", queue, str(file)).code == 0
    assert [line["body"] for line in saved(file)] == ["1", "2"]
    assert stomp("browse", queue, "--format", "{body}").out == b"3"


def test_selected(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A selector leaves the rest; --idle ends it."""
    stomp("-q", "send", queue, "no", "-H", "kind:a")
    stomp("-q", "send", queue, "yes", "-H", "kind:b")
    words = ("--selector", "kind = 'b'", "--idle", "1s", queue, str(tmp_path / "file"))
    assert stomp("save", *words).code == 0
    assert [line["body"] for line in saved(tmp_path / "file")] == ["yes"]
    assert stomp("browse", queue, "--format", "{body}").out == b"no"


def test_nothing(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """An empty queue is an empty file, and that is said."""
    done = stomp("save", queue, str(tmp_path / "file"))
    assert done.code == 0
    assert f"nothing to save in {queue}\n" in done.err
    done = stomp("replay", str(tmp_path / "file"))
    assert (done.code, done.err[-16:]) == (0, "nothing to send\n")


def test_a_topic(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A topic is recorded until Ctrl-C, which is a good end."""
    topic = queue.replace("/queue/", "/topic/")
    file = tmp_path / "file"
    with working(stomp, topic, str(file), command="save") as process:
        for _ in range(1000):
            stomp("-q", "send", topic, "x")
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert re.search(r"saved \d+ messages?", read_until(process, "saved")[-1])
        assert process.wait(timeout=60) == 0
    assert saved(file)[0]["body"] == "x"


def test_a_full_disk_loses_nothing(stomp: Stomp, queue: str) -> None:
    """What could not be written goes back."""
    stomp("-q", "send", queue, "x")
    done = stomp("save", "--append", queue, "/dev/full")
    assert done.code == 1
    assert "/dev/full: no space left on device" in done.err
    assert stomp("subscribe", queue, "-n", "1").out == b"x\n"


async def test_acknowledged_after_it_was_written(tmp_path: Path) -> None:
    """A message is acknowledged when it is in the file, and the last one's receipt is awaited."""
    file = tmp_path / "file"
    sizes = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed(ack="client-individual", prefetch_count="2")
        for text in ("1", "2"):
            await broker.message(subscription, text.encode(), message_id=text)
        for text in ("1", "2"):
            frame = await broker.expect("ACK", id=text)
            sizes.append(len(saved(file)))
            if "receipt" in frame.headers:
                await broker.receipt(frame)
        await broker.serve_end()

    async with on_socket(script) as port:
        argv = Stomp(port).argv("save", "/queue/a", str(file), "-n", "2")
        await trio.run_process(argv, capture_stderr=True, env=environment())
    assert sizes in ([2, 2], [1, 2])


def lines(*messages: Mapping[str, object]) -> bytes:
    """Return a file of messages."""
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def test_replay_some_elsewhere(stomp: Stomp, queue: str) -> None:
    """A part of the messages, to another destination, with another header."""
    data = lines(
        *({"destination": "/queue/old", "body": str(n), "headers": {"k": "v"}} for n in range(1, 6))
    )
    words = ("--from", "2", "--to-n", "3", "-H", "k:w")
    done = stomp("replay", "-", "--to", queue, *words, stdin=data + b"\n")
    assert done.code == 0, done.err
    got = stomp("subscribe", queue, "-n", "2", "--format", "{body}{header.k} ").out
    assert got == b"2w 3w "
    assert stomp("browse", queue).out == b""


def test_replay_dry_run(stomp: Stomp) -> None:
    """--dry-run says what would be sent, without a broker."""
    places = [f"/queue/{n}" for n in "abcdefg"]
    data = lines(*({"destination": place, "body": ""} for place in [*places, "/queue/g"]))
    done = stomp("-P", "1", "replay", "-", "--dry-run", stdin=data)
    assert done.code == 0
    text = "/queue/g 2, /queue/a 1, /queue/b 1, /queue/c 1, /queue/d 1, 2 more"
    assert done.err.endswith(f"would send 8 messages ({text})\n")


def test_replay_as_fast_as_it_came(stomp: Stomp, queue: str) -> None:
    """--speed keeps the pauses between the messages, or a part of them."""
    moments = ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:02.000Z", None)
    data = lines(
        *({"destination": queue, "body": "", **({"time": m} if m else {})} for m in moments)
    )
    started = time.monotonic()
    assert stomp("replay", "-", "--speed", "20x", stdin=data).code == 0
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(
    ("line", "err"),
    [
        (b"nonsense", "line 1 of standard input is no message"),
        (b'{"body":"x"}', "line 1 of standard input has no destination; give one"),
        (
            b'{"destination":"/queue/a","body":"x","time":"noon"}',
            'line 1 of standard input: "time" is no time',
        ),
    ],
)
def test_bad_files(stomp: Stomp, line: bytes, err: str) -> None:
    """What is no message is named, with its line."""
    done = stomp("replay", "-", stdin=line + b"\n")
    assert done.code == 65
    assert err in done.err


@pytest.mark.parametrize(
    ("words", "code", "err"),
    [
        (["replay", "/no/such/file"], 66, "File /no/such/file does not exist"),
        (["replay", "/"], 66, "/: Is a directory"),
        (["replay", "-", "/queue/a", "--to", "/queue/b"], 2, "DST and --to are the same"),
        (["replay", "-", "--speed", "slow"], 2, '"slow" is neither max nor a speed such as 1x'),
        (["replay", "-", "--speed", "0x"], 2, "is neither max nor"),
        (["save", "/queue/a", "-", "--browse", "--follow"], 2, "it takes no --follow"),
        (["save", "/queue/a", "/no/such/file"], 1, "/no/such/file: No such file or directory"),
        (["-S", "1.0", "save", "/queue/a", "-"], 2, "save needs STOMP 1.1 or 1.2"),
    ],
)
def test_usage(stomp: Stomp, words: list[str], code: int, err: str) -> None:
    """Mistakes are said in words."""
    done = stomp(*words)
    assert (done.code, err in done.err) == (code, True), done.err


def test_replay_of_a_session(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """What was sent in a recorded session is sent again: once, whole, and nothing else."""
    file = tmp_path / "transcript"
    lines = [
        f"send {queue} before",
        f"record {file}",
        f"send -H x:a\\nb -H content-type:text/x {queue} one  two",
        "begin",
        f"send {queue} undone",
        "abort",
        "begin",
        f"send {queue} committed",
        "commit",
        "reconnect",
        "queues",
        f"send --receipt {queue} three",
        "begin",
        f"send {queue} never",
    ]
    assert stomp("-q", stdin="\n".join(lines).encode()).code == 0
    assert stomp("-q", "purge", "-y", queue).code == 0
    done = stomp("replay", str(file))
    assert done.code == 0, done.err
    assert "sent 3 messages in " in done.err
    assert "left out 2 messages of transactions that were not committed" in done.err
    assert "that meant something in that session only" in done.err
    found = [json.loads(line) for line in stomp("browse", queue, "--json").out.splitlines()]
    assert [message["body"] for message in found] == ["one  two", "committed", "three"]
    assert found[0]["headers"]["x"] == "a\\nb"
    assert found[0]["headers"]["content-type"] == "text/x"
    assert not {"receipt", "transaction"} & {*found[1]["headers"], *found[2]["headers"]}
    done = stomp("replay", str(file), f"{queue}2", "--from", "2", "--to-n", "2", "-H", "y:z")
    assert done.code == 0
    message = json.loads(stomp("browse", f"{queue}2", "--json").out)
    assert (message["body"], message["headers"]["y"]) == ("committed", "z")


def chunk(direction: str, data: bytes, **more: object) -> dict[str, object]:
    """Return a line of a transcript."""
    return {"dir": direction, "bytes_b64": base64.b64encode(data).decode(), **more}


CONNECT = b"CONNECT\naccept-version:1.1,1.2\nhost:h\n\n\0"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_of_a_transcript_in_pieces(size: int) -> None:
    """However the octets were cut: the version that was agreed on says what they mean."""
    octets = b"SEND\ndestination:/queue/a\nx:\\c\n\nhi\0\nSEND\ndestination:b\nx:1\nx:2\n\n\0"
    retold = Retold("f")
    found = []
    lines = [chunk(">", CONNECT), chunk("<", b"CONNECTED\nvers"), chunk("<", b"ion:1.1\n\n\0")]
    lines += [chunk(">", octets[at : at + size]) for at in range(0, len(octets), size)]
    for number, line in enumerate(lines, 1):
        found += retold.line(line, number)
    assert [(sent.destination, sent.body) for sent in found] == [("/queue/a", b"hi"), ("b", b"")]
    assert [sent.headers["x"] for sent in found] == [":", "1"]


def test_a_transcript_of_several_connections() -> None:
    """Transactions belong to their connection, and end with it."""
    retold = Retold("f")
    send = b"SEND\ndestination:/queue/a\ntransaction:t\n\n%d\0"
    connected = b"CONNECTED\nversion:1.2\n\n\0"
    for conn in (1, 2):
        assert retold.line(chunk(">", CONNECT, conn=conn), 1) == []
        assert retold.line(chunk("<", connected, conn=conn), 1) == []
        assert retold.line(chunk(">", send % conn, conn=conn, t="now"), 1) == []
    # A line that was typed, and a connection that was made anew.
    assert retold.line({"command": "commit"}, 1) == []
    assert retold.line(chunk(">", CONNECT, conn=2), 1) == []
    (sent,) = retold.line(chunk(">", b"COMMIT\ntransaction:t\n\n\0", conn=1), 1)
    assert (sent.body, sent.time) == (b"1", "now")
    retold.line(chunk("<", connected, conn=2), 1)
    assert retold.line(chunk(">", b"COMMIT\ntransaction:t\n\n\0", conn=2), 1) == []
    # Begun in the middle; what came is not looked at.
    assert retold.line(chunk("<", b"MESSAGE\n", conn=3), 1) == []
    assert retold.line(chunk(">", b"\n" + send % 3, conn=3), 1) == []
    retold.finish()
    assert retold.undone == 2


def test_what_meant_something_in_a_session_only() -> None:
    """Requests to the broker and replies are not sent again, nor asked for at a dead address."""
    retold = Retold("f")
    for name in (b"/admin/purge", b"/temp-queue/x"):
        assert retold.line(chunk(">", b"SEND\ndestination:%s\n\n\0" % name), 1) == []
    octets = b"SEND\ndestination:/queue/a\nreply-to:/temp-queue/x\n\n\0"
    (sent,) = retold.line(chunk(">", octets), 1)
    assert "reply-to" not in sent.headers
    assert retold.passing == 2


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b'{"dir":"x","bytes_b64":""}', "line 1 of standard input is no line of a transcript"),
        (b'{"dir":">","bytes_b64":"?"}', "line 1 of standard input is no line of a transcript"),
        (b'{"dir":">","bytes_b64":"U0VORAp4Cgo="}', "what was sent is no frame: "),
        (b"12:00:00.123 $ send /queue/a b", "is a transcript for people, of record --text"),
        (b'{"command":', "line 1 of standard input is no message"),
    ],
)
def test_replay_of_no_transcript(stomp: Stomp, data: bytes, complaint: str) -> None:
    """What cannot be read is complained about with its line, and nothing is sent."""
    done = stomp("replay", "-", stdin=data + b"\n")
    assert done.code == 65
    assert complaint in done.err
