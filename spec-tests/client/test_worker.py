"""`stomp worker` as users run it: its log, its exit codes, and what happens to the messages."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment, running_stompd

from stompcli.client.testing import ScriptedBroker, on_socket

# A job that says that it runs, and goes on until a file is there.
UNTIL = 'echo "$STOMP_ATTEMPT" >> "$0/begun"; while [ ! -e "$0/go" ]; do sleep 0.02; done'


def fill(stomp: Stomp, queue: str, *bodies: str) -> None:
    """Send some messages."""
    stomp("-q", "send", queue, "--lines", stdin="".join(f"{body}\n" for body in bodies).encode())


def log(text: str) -> list[str]:
    """Return the lines of a log, with what differs from run to run made equal."""
    text = re.sub(r"^\d\d:\d\d:\d\d ", "", text, flags=re.MULTILINE)
    text = re.sub(r"\bc\d+-\d+\b", "ID", text)
    return re.sub(r"\bin \d+\.\d\d s", "in N s", text).splitlines()


@contextmanager
def working(stomp: Stomp, *words: str, command: str = "worker") -> Iterator[subprocess.Popen[str]]:
    """Run a worker beside a test; it is killed at the end, if it is still there."""
    process = subprocess.Popen(
        stomp.argv(command, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read a worker's log up to the line with these words, and return it."""
    assert process.stderr is not None
    lines: list[str] = []
    # Nobody shall wait for ever for what does not come.
    patience = threading.Timer(60, process.kill)
    patience.start()
    try:
        for line in process.stderr:
            lines += log(line)
            if words in line:
                return lines
    finally:
        patience.cancel()
    pytest.fail(f"{words!r} never came: {lines}")


def wait_for(path: Path) -> None:
    """Wait until a job has made a file."""
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.02)
    pytest.fail(f"{path.name} never came")


# What it shows.


def test_log(stomp: Stomp, queue: str) -> None:
    """Each job has a line at its begin and at its end, with the last complaint and the action."""
    high, low = f"{queue}.h", f"{queue}.low"
    fill(stomp, high, "good")
    fill(stomp, low, "bad")
    script = 'read body; [ "$body" = good ] || { echo oops >&2; echo "no delegate" >&2; exit 1; }'
    words = ("--burst", "--name", "w1", "--on-fail", "ack", high, low, "--", "sh", "-c", script)
    done = stomp("worker", *words)
    assert done.code == 3
    assert done.out == b""
    assert log(done.err) == [
        f"worker w1 listening on {high}, {low} (burst)",
        f"{high}   ID (4 B) …",
        f"{high}   ID ok, exit 0 in N s, ACK",
        f"{low} ID (3 B) …",
        f"{low} ID | oops",
        f"{low} ID | no delegate",
        f"{low} ID FAILED, exit 1 in N s, ACK (dropped): no delegate",
        "no more work, burst finished: 1 done, 1 failed, 0 requeued",
    ]


def test_log_as_json(stomp: Stomp, queue: str) -> None:
    """A line of JSON for each event, on standard error; jobs may write to standard output."""
    fill(stomp, queue, "x")
    words = ("--burst", "--log-format", "json", queue, "--", "sh", "-c", "cat; echo a >&2; exit 75")
    done = stomp("worker", *words)
    assert done.out == b"x"
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [event["event"] for event in events] == [
        *("listening", "begun", "output", "requeued", "finished"),
    ]
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}Z", event["time"]) for event in events)
    begun, output, requeued = ({**event} for event in events[1:4])
    assert (begun["destination"], begun["attempt"], begun["size"]) == (queue, 1, 1)
    assert output["text"] == "a"
    assert requeued["message_id"] == begun["message_id"]
    assert 0 <= requeued["seconds"] < 60
    assert {name: requeued[name] for name in ("exit", "how", "reason", "action")} == {
        "exit": 75,
        "how": "exit 75",
        "reason": "a",
        "action": "NACK (again in 5 s)",
    }
    assert events[4]["text"] == "no more work, burst finished: 0 done, 0 failed, 1 requeued"


def test_quiet(stomp: Stomp, queue: str) -> None:
    """With -q, as with --quiet-child, less is said."""
    fill(stomp, queue, "1")
    done = stomp("-q", "worker", "--burst", queue, "--", "true")
    assert (done.code, done.err) == (0, "")
    done = stomp("-q", "worker", "--burst", "--log-format", "json", queue, "--", "true")
    assert (done.code, done.err) == (0, "")
    fill(stomp, queue, "1")
    words = (
        "--burst",
        "--quiet-child",
        "--on-fail",
        "ack",
        queue,
        "--",
        "sh",
        "-c",
        "echo a >&2; false",
    )
    lines = log(stomp("worker", *words).err)
    assert not any(" | " in line for line in lines)
    assert any(line.endswith("ACK (dropped): a") for line in lines)


def test_hostile_octets(stomp: Stomp, queue: str) -> None:
    """What messages and programs say never reaches the terminal as it is."""
    stomp("-q", "send", queue, "x")
    script = "printf 'a\\033[31m\\n' >&2; exit 1"
    done = stomp("worker", "--burst", "--on-fail", "ack", queue, "--", "sh", "-c", script)
    assert "\x1b" not in done.err
    assert "a\\x1b[31m" in done.err


# What becomes of messages.


def test_body_reaches_the_program_unchanged(stomp: Stomp, queue: str) -> None:
    """Whatever is in it: commands of a shell, quotes, NUL."""
    body = b"$(touch /tmp/owned) `id` '\" \\ \0 \xff\r\n" * 10_000
    stomp("-q", "send", queue, "-", stdin=body)
    assert stomp("worker", "--burst", queue, "--", "cat").out == body


def test_dead_letters(stomp: Stomp, queue: str) -> None:
    """After the last attempt it is a dead letter with the reason; dlq requeue brings it back."""
    fill(stomp, queue, "x")
    words = ("--burst", "--retries", "2", "--retry-delay", "0", queue, "--")
    done = stomp("worker", *words, "sh", "-c", "echo why >&2; exit 9")
    assert done.code == 3
    assert [line for line in log(done.err) if "exit 9" in line] == [
        f"{queue} ID not now, exit 9 in N s, NACK (again in 0 s): why",
        f"{queue} ID FAILED, exit 9 in N s, NACK (no more attempts): why",
    ]
    dead = queue.replace("/queue/", "/queue/DLQ.")
    (letter,) = stomp("browse", dead, "--json").out.splitlines()
    headers = json.loads(letter)["headers"]
    assert headers["dead-letter-reason"] == "rejected"
    assert headers["dead-letter-detail"] == "exit 9: why"
    assert stomp("dlq", "requeue", "--all", dead, "--yes").code == 0
    assert stomp("worker", "--burst", queue, "--", "cat").out == b"x"


def test_own_dead_letter_queue(stomp: Stomp, queue: str) -> None:
    """What --on-fail dlq:DEST sent away knows why and from where; dlq requeue brings it back."""
    stomp("-q", "send", queue, "x", "-H", "kind:k", "--ttl", "60s")
    dead = f"{queue}.dead"
    words = ("--burst", "--on-fail", f"dlq:{dead}", queue, "--", "sh", "-c", "echo why >&2; exit 9")
    assert stomp("worker", *words).code == 3
    headers = json.loads(stomp("browse", dead, "--json").out)["headers"]
    assert "expires" not in headers
    assert headers["kind"] == "k"
    assert headers["exit-status"] == "9"
    assert headers["original-destination"] == queue
    done = stomp("dlq", "requeue", "--all", dead, "--yes")
    assert done.code == 0, done.err
    headers = json.loads(stomp("browse", queue, "--json").out)["headers"]
    assert headers["kind"] == "k"
    assert not {"original-destination", "dead-letter-reason", "worker", "attempts"} & set(headers)
    assert stomp("worker", "--burst", queue, "--", "cat").out == b"x"


def test_reply(stomp: Stomp, queue: str) -> None:
    """The program's output is the answer."""
    stomp("-q", "send", queue, "x", "--reply-to", f"{queue}.out", "--correlation-id", "7")
    assert stomp("worker", "--burst", "--reply", queue, "--", "tr", "x", "y").code == 0
    (answer,) = stomp("browse", f"{queue}.out", "--json").out.splitlines()
    assert json.loads(answer)["body"] == "y"
    assert json.loads(answer)["headers"]["correlation-id"] == "7"


def test_options_reach_the_program(stomp: Stomp, queue: str) -> None:
    """Fields, headers in the environment, a file, a shell; what stands behind the second -- too."""
    stomp("-q", "send", queue, "body", "-H", "kind:a b")
    words = ("--burst", "--env-headers", "--input", "file", queue, "--", "sh", "-c")
    script = 'printf "<%s>" "$@" "$STOMP_HEADER_KIND"; cat "$STOMP_BODY_FILE"'
    done = stomp("worker", *words, script, "sh", "--", "--burst", "{header:kind}", "-h")
    assert done.out == b"<--><--burst><a b><-h><a b>body"
    stomp("-q", "send", queue, "body")
    done = stomp("worker", "--burst", "--shell", queue, "--", "cat;", "echo $STOMP_DESTINATION")
    assert done.out == f"body{queue}\n".encode()


def test_job_timeout(stomp: Stomp, queue: str) -> None:
    """A job that takes too long is ended, and has failed."""
    fill(stomp, queue, "x")
    words = ("--burst", "--job-timeout", "50ms", "--on-fail", "ack", queue, "--", "sleep", "1000")
    done = stomp("worker", *words)
    assert done.code == 3
    assert f"{queue} ID FAILED, timed out after 0.05 s in N s, ACK (dropped)" in log(done.err)


def test_selector(stomp: Stomp, queue: str) -> None:
    """Only what matches is work; the rest stays."""
    stomp("-q", "send", queue, "no", "-H", "kind:a")
    stomp("-q", "send", queue, "yes", "-H", "kind:b")
    done = stomp("worker", "--max-jobs", "1", "--selector", "kind = 'b'", queue, "--", "cat")
    assert done.out == b"yes"
    assert stomp("browse", queue, "--format", "{body}").out == b"no"


async def test_burst_on_another_broker() -> None:
    """Where nobody tells what is left a second without a message ends it, and that is said."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(prefetch_count="1"), b"x")
        await broker.serve_end()

    async with on_socket(script) as port:
        argv = Stomp(port).argv("worker", "--burst", "/queue/a", "--", "cat")
        done = await trio.run_process(
            argv, capture_stdout=True, capture_stderr=True, env=environment()
        )
    assert done.stdout == b"x"
    lines = log(done.stderr.decode())
    assert lines[1] == (
        "scripted/1 does not tell what its queues hold: the burst ends 1 s after the last job"
    )
    assert lines[-1] == "no message for 1 s, burst finished: 1 done, 0 failed, 0 requeued"


# What is wrong with it.


@pytest.mark.parametrize(
    ("words", "code", "err"),
    [
        (["/queue/a"], 2, "no command; put it behind --, as in: stomp worker DEST -- CMD"),
        (["/queue/a", "--"], 2, "no command"),
        (["--", "cat"], 2, "Missing argument 'DEST...'"),
        (["/queue/a", "--", "no-such-program"], 66, "no-such-program is not there"),
        (["/queue/a", "--on-fail", "cry", "--", "cat"], 2, '"cry" is none of nack, requeue'),
        (["/queue/a", "--retries", "0", "--", "cat"], 2, "0 is not in the range"),
        (["/queue/a", "--", "cat", "{file}"], 2, "{file} is for a body that is a file"),
        (["/queue/a", "--shell", "--input", "arg", "--", "cat"], 2, "a shell gets no message"),
        (["/queue/a", "/queue/a", "--", "cat"], 2, "subscribes to each destination once"),
    ],
)
def test_usage(stomp: Stomp, words: list[str], code: int, err: str) -> None:
    """Mistakes are said in words, before anything is subscribed to."""
    done = stomp("worker", *words)
    assert done.code == code
    assert err in done.err


def test_help(stomp: Stomp) -> None:
    """The help begins with examples, and shows where the program stands."""
    text = stomp("worker", "--help").text
    assert text.startswith("Examples:\n  stomp worker /queue/thumbs -- ./resize.sh\n")
    assert "Usage: stomp worker [OPTIONS] DEST... -- CMD [ARG...]" in text


# How it ends, and what survives that.


def test_killed_worker(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A worker that was killed has not lost its message: another one gets it."""
    fill(stomp, queue, "x")
    job = ("--", "sh", "-c", UNTIL, str(tmp_path))
    with working(stomp, queue, *job) as process:
        read_until(process, "(1 B) …")
        wait_for(tmp_path / "begun")
        process.kill()
        process.wait(timeout=60)
        (tmp_path / "go").touch()
    words = (queue, "--", "sh", "-c", "cat; echo $STOMP_ATTEMPT")
    # The broker may not have seen yet that the first one is gone.
    assert stomp("worker", "--max-jobs", "1", *words).out == b"x2\n"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_signals(
    stomp: Stomp, queue: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The first signal lets the job finish; a second one ends it, and gives its message back."""
    fill(stomp, queue, "x", "y")
    job = (queue, "--", "sh", "-c", UNTIL, str(tmp_path))
    with working(stomp, *job) as process:
        read_until(process, "(1 B) …")
        process.send_signal(number)
        (tmp_path / "go").touch()
        lines = read_until(process, "done,")
        assert process.wait(timeout=60) == 0
    assert lines[-1] == "stopped: 1 done, 0 failed, 0 requeued"
    (tmp_path / "go").unlink()
    (tmp_path / "begun").unlink()
    with working(stomp, *job) as process:
        read_until(process, "(1 B) …")
        wait_for(tmp_path / "begun")
        process.send_signal(number)
        read_until(process, "stopping: a job runs; a second signal ends what runs")
        process.send_signal(number)
        lines = read_until(process, "requeued\n")
        assert process.wait(timeout=60) == code
    assert lines[-2] == f"{queue} ID not now in N s, NACK: stopped at once"
    assert stomp("worker", "--burst", queue, "--", "cat").out == b"y"


def test_ctrl_c_reaches_only_the_worker(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """At a terminal the whole group gets the signal: the job is in another one."""
    fill(stomp, queue, "x")
    process = subprocess.Popen(
        stomp.argv("worker", queue, "--", "sh", "-c", UNTIL, str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        process_group=0,
    )
    with process:
        read_until(process, "(1 B) …")
        os.killpg(process.pid, signal.SIGINT)
        (tmp_path / "go").touch()
        assert read_until(process, "done,")[-1] == "stopped: 1 done, 0 failed, 0 requeued"
    assert process.returncode == 0


def test_broker_restart_in_mid_job(tmp_path: Path) -> None:
    """The job goes on, its result is lost; the worker connects again and goes on."""
    with running_stompd(kill=True) as port:
        stomp = Stomp(port)
        fill(stomp, "/queue/a", "x")
        job = ("/queue/a", "--", "sh", "-c", UNTIL, str(tmp_path))
        process = subprocess.Popen(
            stomp.argv("worker", "--max-jobs", "2", *job),
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        read_until(process, "(1 B) …")
    with process:
        read_until(process, "connecting again")
        with running_stompd(port):
            read_until(process, "connected again")
            (tmp_path / "go").touch()
            assert read_until(process, "result lost")[-1] == (
                "/queue/a ID result lost, will be redelivered, exit 0 in N s"
            )
            fill(stomp, "/queue/a", "y")
            lines = read_until(process, "1 done, 0 failed, 0 requeued, 1 lost")
            assert "/queue/a ID ok, exit 0 in N s, ACK" in lines
            assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("words", [["--no-reconnect"], []])
async def test_connection_lost_for_good(words: list[str]) -> None:
    """Without reconnecting the loss is the end, exit 69; a refused login is, too: 77."""
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        async with stream:
            broker = ScriptedBroker(stream)
            if connections == 1:
                await broker.accept()
                await broker.subscribed()
            else:
                await broker.next()
                await broker.send("ERROR", {"message": "Access denied"})

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = int(listeners[0].socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        done = await trio.run_process(
            Stomp(port).argv("worker", *words, "/queue/a", "--", "cat"),
            capture_stderr=True,
            check=False,
            env=environment(),
        )
        nursery.cancel_scope.cancel()
    err = done.stderr.decode()
    assert done.returncode == (69 if words else 77), err
    assert "the session has ended: 0 done" in err
    assert "Traceback" not in err


def test_timeout(stomp: Stomp, queue: str) -> None:
    """--timeout ends the whole command, and with it what runs."""
    fill(stomp, queue, "x")
    done = stomp("--timeout", "300ms", "worker", queue, "--", "sleep", "1000")
    assert done.code == 75
