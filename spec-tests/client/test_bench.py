"""`stomp bench` against a stompd, and against a broker that loses, repeats and mixes up."""

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from client.faulty_broker import running_faulty_broker
from client.programs import Finished, Stomp, environment

from stompcli.client import url as urls
from stompcli.commands import bench

QUICK = ("--msgs", "400", "--idle", "300ms")


def figures(done: Finished) -> dict[str, object]:
    """Return the figures that --json tells."""
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    return found


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--clients", "3", "--destinations", "2"),
        ("--receipts", "7", "--max-pending", "20"),
        ("--receipts", "none"),
        ("--tx", "30"),
        ("--tx", "30", "--receipts", "none"),
        ("--ack", "client", "--persistent"),
        ("--ack", "client-individual", "--clients", "2"),
        ("--size", "0"),
    ],
)
def test_roundtrip(stomp: Stomp, queue: str, words: tuple[str, ...]) -> None:
    """Whatever the way of sending and settling, all messages come, once and in order."""
    found = figures(stomp("bench", "roundtrip", queue, *QUICK, *words, "--json"))
    assert (found["sent"], found["received"]) == (400, 400)
    assert (found["lost"], found["duplicated"], found["disordered"]) == (0, 0, 0)
    sent, received = found["send"], found["receive"]
    assert isinstance(sent, dict)
    assert isinstance(received, dict)
    assert sent["messages"] == received["messages"] == 400
    assert received["transfer"]["count"] == 400
    assert ("receipt" in sent) is ("none" not in words)
    # What was settled is gone.
    assert stomp("bench", "receive", queue, "--idle", "100ms").text.startswith("receive  0 msg/s")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions(stomp: Stomp, queue: str, version: str) -> None:
    """Older sessions are loaded, too, and acknowledge in their own words."""
    ack = "client" if version == "1.0" else "client-individual"
    words = ("-S", version, "bench", "roundtrip", queue, *QUICK, "--ack", ack, "--json")
    assert figures(stomp(*words))["received"] == 400
    assert stomp("bench", "receive", queue, "--idle", "100ms").text.startswith("receive  0 msg/s")


def test_output(stomp: Stomp, queue: str) -> None:
    """People get rates, latencies, the spread of the clients and the check, a line each."""
    done = stomp("bench", "roundtrip", queue, *QUICK, "--clients", "4", "--warmup", "50ms")
    assert done.code == 0
    rate, ms = r"[\d,.]+", r"[\d.,]+"
    wanted = (
        rf"send     {rate} msg/s  {rate} MiB/s   receipt p50 {ms} p99 {ms} max {ms} ms\n"
        rf"receive  {rate} msg/s  {rate} MiB/s   transfer p50 {ms} p99 {ms} max {ms} ms\n"
        rf" \[1\] {rate} msg/s … \[4\] {rate} msg/s   "
        rf"min {rate} avg {rate} max {rate} stddev {rate}\n"
        r"[\d,]+ sent, [\d,]+ received, 0 lost, 0 duplicated, 0 out of order in [\d.]+ s, "
        r"[\d,]+ of them to warm up\n"
    )
    assert re.fullmatch(wanted, done.text), done.text
    assert re.match(
        rf"\d\d:\d\d:\d\d bench roundtrip on stompd/\S+ at \S+: 4 clients, 400 messages, 128 B, "
        rf"a receipt for each, {re.escape(queue)}\n",
        done.err,
    )


def test_send_then_receive(stomp: Stomp, queue: str) -> None:
    """What one program sends another receives, and knows by the marks."""
    sent = figures(stomp("bench", "send", queue, "--msgs", "300", "--json"))
    assert sent["sent"] == 300
    stomp("send", queue, "not of a bench")
    found = figures(stomp("bench", "receive", queue, "--idle", "300ms", "--json"))
    assert (found["received"], found["missing"], found["strangers"]) == (300, 0, 1)
    assert (
        found["notes"] == ["1 messages of other runs, or of none, were taken too"] or found["notes"]
    )


def test_receive_takes_no_more_than_asked(stomp: Stomp, queue: str) -> None:
    """With explicit acks what is beyond --msgs stays in the queue; too few is a timeout."""
    stomp("bench", "send", queue, "--msgs", "50")
    words = ("bench", "receive", queue, "--ack", "client-individual", "--idle", "300ms", "--json")
    assert figures(stomp(*words, "--msgs", "20"))["received"] == 20
    done = stomp(*words, "--msgs", "31")
    assert done.code == 75
    assert json.loads(done.out)["received"] == 30


def test_receive_for_some_time(stomp: Stomp, queue: str) -> None:
    """--duration ends a receive that nothing comes to."""
    assert stomp("bench", "receive", queue, "--duration", "100ms").code == 0


def test_fanout(stomp: Stomp) -> None:
    """Every client gets all of a topic, and has an account of its own."""
    found = figures(
        stomp("bench", "fanout", "/topic/bench.fan", *QUICK, "--clients", "3", "--json")
    )
    assert (found["sent"], found["received"], found["lost"]) == (400, 1200, 0)


def test_rate(stomp: Stomp, queue: str) -> None:
    """--rate spreads messages over the time, over all clients together."""
    words = ("bench", "roundtrip", queue, "--msgs", "100", "--rate", "500/s", "--clients", "2")
    found = figures(stomp(*words, "--json"))
    assert found["received"] == 100
    words = ("bench", "roundtrip", queue, "--msgs", "100", "--rate", "500", "--receipts", "none")
    found = figures(stomp(*words, "--json"))
    assert found["received"] == 100
    seconds = found["seconds"]
    assert isinstance(seconds, float)
    assert seconds >= 0.15
    more = ("--msgs", "40", "--rate", "400", "--tx", "20", "--json")
    assert figures(stomp("bench", "send", queue, *more))["sent"] == 40


def test_connect(stomp: Stomp) -> None:
    """Connections are counted, and how long CONNECTED takes."""
    done = stomp("bench", "connect", "--clients", "3", "--msgs", "30")
    assert done.code == 0
    assert re.match(r"connect  [\d,.]+ /s   connected p50 \S+ p99 \S+ max \S+ ms\n", done.text)
    assert re.search(r"^30 connections, 0 failed in [\d.]+ s$", done.text, re.MULTILINE)


def test_sizes_are_a_run_each(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """Several sizes are measured one after the other, and written into files of their own."""
    words = ("bench", "roundtrip", queue, *QUICK, "--size", "10,1k", "--clients", "2")
    files = ("--csv", str(tmp_path / "a.csv"), "--hdr", str(tmp_path / "a.hgrm"))
    done = stomp(*words, *files)
    assert done.code == 0
    assert re.findall(r"^size .*", done.text, re.MULTILINE) == ["size 10 B", "size 1,024 B"]
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["run"], row["size"], row["part"], row["client"]) for row in rows] == [
        (run, size, part, client)
        for run, size in (("1", "10"), ("2", "1024"))
        for part in ("send", "receive")
        for client in ("1", "2", "all")
    ]
    assert sum(int(row["messages"]) for row in rows if row["client"] == "all") == 4 * 400
    names = sorted(path.name for path in tmp_path.iterdir())
    times = [f"a-{what}-{size}.hgrm" for what in ("receipt", "transfer") for size in (10, 1024)]
    assert names == [*times, "a.csv"]
    assert "Total count    =          400]" in (tmp_path / "a-transfer-10.hgrm").read_text()


def test_one_histogram_has_the_name_that_was_given(
    stomp: Stomp, queue: str, tmp_path: Path
) -> None:
    """A run with one kind of latency writes it where --hdr says."""
    assert stomp("bench", "send", queue, *QUICK[:2], "--hdr", str(tmp_path / "h")).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["h"]


def test_files_that_cannot_be_written(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """That is said before anything is measured, as far as it is known."""
    missing = str(tmp_path / "no" / "a.csv")
    done = stomp("bench", "send", queue, *QUICK[:2], "--csv", missing)
    assert (done.code, done.out) == (1, b"")
    assert done.err == f"stomp: cannot write {missing}: there is no such directory\n"
    done = stomp("bench", "send", queue, *QUICK[:2], "--hdr", str(tmp_path))
    assert done.code == 1
    assert "Is a directory" in done.err


# A broker with faults.


@pytest.mark.parametrize("receipts", ["every", "10", "none"])
def test_loss_is_seen(receipts: str) -> None:
    """Messages that never come are lost, however they were confirmed."""
    with running_faulty_broker(lambda n: 0 if n % 100 == 7 else 1) as broker:
        words = ("bench", "roundtrip", *QUICK, "--receipts", receipts)
        done = Stomp(broker.port)(*words)
    assert done.code == 1
    assert "400 sent, 396 received, 4 lost, 0 duplicated, 0 out of order" in done.text


def test_duplicates_are_seen() -> None:
    """Messages that come twice are counted once, and as duplicates."""
    with running_faulty_broker(lambda n: 2 if n % 100 == 7 else 1) as broker:
        done = Stomp(broker.port)("bench", "roundtrip", *QUICK, "--size", "5")
    assert done.code == 1
    assert "400 sent, 400 received, 0 lost, 4 duplicated, 0 out of order" in done.text


def test_disorder_is_seen() -> None:
    """Messages that come behind later ones are out of order."""
    with running_faulty_broker(lambda n: "late" if n % 100 == 7 else 1) as broker:
        done = Stomp(broker.port)("bench", "roundtrip", *QUICK)
    assert done.code == 1
    assert "400 sent, 400 received, 0 lost, 0 duplicated, 4 out of order" in done.text


def test_loss_in_a_topic_is_seen() -> None:
    """What does not come is lost to every receiver."""
    with running_faulty_broker(lambda n: 0 if n == 9 else 1) as broker:
        done = Stomp(broker.port)("bench", "fanout", *QUICK, "--clients", "2", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert (found["sent"], found["received"], found["lost"]) == (400, 798, 2)


def test_gaps_are_seen_by_receive() -> None:
    """Who only receives sees what is missing between others."""
    with running_faulty_broker(lambda n: 0 if n in (3, 399) else 1) as broker:
        receiver = subprocess.Popen(
            Stomp(broker.port).argv("bench", "receive", "--msgs", "398", "--json"),
            stdout=subprocess.PIPE,
            env=environment(),
        )
        while not any(frame.command == "SUBSCRIBE" for frame in broker.frames):
            assert receiver.poll() is None
            time.sleep(0.01)
        Stomp(broker.port)("bench", "send", *QUICK[:2])
        out, _ = receiver.communicate(timeout=60)
    found = json.loads(out)
    assert (found["received"], found["missing"]) == (398, 1)


def test_an_error_ends_the_run() -> None:
    """What the broker refuses is told in its words."""
    with running_faulty_broker() as broker:
        broker.refuse_at = 50
        done = Stomp(broker.port)("bench", "roundtrip", *QUICK)
    assert done.code == 1
    assert "stomp: the broker answered ERROR: no more" in done.err
    # What was measured until then is told.
    assert "interrupted" in done.err
    assert re.search(r"sent, 50 received", done.text)


def test_no_broker() -> None:
    """Without a broker nothing is measured."""
    done = Stomp(1)("bench", "connect", "--msgs", "5")
    assert (done.code, done.out) == (69, b"")
    assert "connection refused" in done.err


def test_window() -> None:
    """No more than --max-pending messages are without their receipt."""
    with running_faulty_broker() as broker:
        broker.confirms = False
        done = Stomp(broker.port)(
            *("bench", "send", "--msgs", "50", "--max-pending", "8", "--timeout", "1")
        )
        sends = [frame for frame in broker.frames if frame.command == "SEND"]
    assert done.code == 75
    assert len(sends) == 8
    assert [frame.headers["receipt"] for frame in sends] == [str(n) for n in range(8)]
    assert "8 sent in" in done.text
    assert "interrupted: the figures are of what was done until then" in done.err


def test_transactions_are_whole() -> None:
    """BEGIN, so many SENDs, COMMIT with the receipt; the last transaction takes the rest."""
    with running_faulty_broker() as broker:
        assert Stomp(broker.port)("bench", "send", "--msgs", "25", "--tx", "10").code == 0
        frames = [frame for frame in broker.frames if frame.command != "DISCONNECT"]
    groups = "".join({"BEGIN": "(", "COMMIT": ")"}.get(frame.command, ".") for frame in frames)
    assert groups == f"({'.' * 10})({'.' * 10})({'.' * 5})"
    assert all(("receipt" in frame.headers) is (frame.command == "COMMIT") for frame in frames)


def _received(stomp: Stomp, queue: str) -> int:
    """Return how many messages have come to a queue."""
    done = stomp("queue", "info", queue, "--json")
    return int(json.loads(done.out)["received"]) if done.code == 0 else 0


def test_interrupted(stomp: Stomp, queue: str) -> None:
    """Ctrl-C shows what was measured until then."""
    program = subprocess.Popen(
        stomp.argv("bench", "roundtrip", queue, "--duration", "1m"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert program.stderr is not None
    assert b"bench roundtrip on" in program.stderr.readline()
    while not _received(stomp, queue):
        assert program.poll() is None
    os.kill(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert re.search(rb"\d sent, [\d,]+ received", out)
    assert b"interrupted" in err


def test_caution_elsewhere(stomp: Stomp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker on another machine gets 100,000 messages only if that is meant."""

    async def far(_: object) -> bool:
        return False

    monkeypatch.setattr(bench, "is_near", far)
    done = stomp("bench", "send", "--msgs", "100001")
    assert done.code == 2
    assert "--i-mean-it" in done.err


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("stomp://localhost", True),
        ("unix:///run/x", True),
        ("stomp://127.0.0.9", True),
        ("stomp://[::1]", True),
        ("stomp://192.0.2.1", False),
        ("stomp://no.such.host.invalid", False),
    ],
)
async def test_near(url: str, near: bool) -> None:  # noqa: FBT001 - the outcome
    """Loopback addresses and Unix sockets are on this machine."""
    assert await bench.is_near(urls.parse(url)) is near
