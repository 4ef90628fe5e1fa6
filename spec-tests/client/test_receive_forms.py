"""subscribe in all its forms: when it stops, how it shows, what it keeps."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from client.programs import Stomp, environment
from client.terminal import Terminal
from client.test_program import HOSTILE, run_against
from hypothesis import example, given
from hypothesis import strategies as st

from stompcli.client.testing import ScriptedBroker
from stompcli.exitcodes import ExitCode
from stompcli.received_files import file_of, numbered, safe_name
from stompcli.shower import Graph

# When it stops.


def test_drain(stomp: Stomp, queue: str) -> None:
    """--drain ends when the queue is empty, having shown everything, in every mode."""
    for mode in ("auto", "client-individual"):
        stomp("send", queue, "--lines", stdin=b"".join(b"%d\n" % n for n in range(300)))
        done = stomp("-q", "subscribe", queue, mode, "--drain")
        assert done.code == 0
        assert done.out == b"".join(b"%d\n" % n for n in range(300))
        assert done.err == ""


def test_drain_with_too_few(stomp: Stomp, queue: str) -> None:
    """Fewer than --count asked for is 75, also if nothing is left."""
    stomp("send", queue, "x")
    done = stomp("subscribe", queue, "-n", "3", "--drain")
    assert (done.code, done.out) == (ExitCode.TIMED_OUT, b"x\n")
    assert "nothing is left: 1 of 3 messages came" in done.err


def test_drain_of_a_topic_is_guessed(stomp: Stomp, queue: str) -> None:
    """Of a topic nobody can tell, so a second of quiet counts, and that is said."""
    done = stomp("subscribe", queue.replace("/queue/", "/topic/"), "--drain")
    assert done.code == 0
    assert "drained is when nothing came for 1 s" in done.err


async def test_drain_with_another_broker() -> None:
    """A broker that cannot be asked counts as drained when it was quiet for a second."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"hello")
        await broker.serve_end()

    done = await run_against(script, "subscribe", "/queue/a", "--drain")
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert b"scripted/1 does not tell what its queues hold; drained is when" in done.stderr


# What is asked of the broker.


async def test_durable_and_selector_are_spelt_as_the_broker_wants() -> None:
    """--durable, --selector and --prefetch are what that broker calls them."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": "ActiveMQ/6.0"})
        await broker.subscribed(
            **{
                "activemq.subscriptionName": "d",
                "selector": "a = 1",
                "activemq.prefetchSize": "5",
            }
        )
        await broker.serve_end()

    done = await run_against(
        script,
        *("--connect-header", "client-id:me", "subscribe", "/topic/a", "--durable", "d"),
        *("--selector", "a = 1", "--prefetch", "5", "--idle", "0.1"),
    )
    assert done.returncode == 0, done.stderr.decode()


def test_durable(stomp: Stomp, queue: str) -> None:
    """A durable subscription keeps what comes while nobody is there."""
    topic = queue.replace("/queue/", "/topic/")
    stomp("subscribe", topic, "--durable", "mine", "--idle", "0.1")
    stomp("send", topic, "while away")
    done = stomp("subscribe", topic, "--durable", "mine", "-n", "1")
    assert done.out == b"while away\n"
    assert stomp("durable", "rm", "mine", "--yes").code == 0


def test_group_shares_a_topic(stomp: Stomp, queue: str) -> None:
    """Each message of a topic goes to one of a group, and the group ends with its last one."""
    topic = queue.replace("/queue/", "/topic/")
    argv = stomp.argv("-q", "subscribe", topic, "--group", "g", "-n", "4", "--timeout", "30")
    both = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment(PYTHONUNBUFFERED="1"))
        for _ in range(2)
    ]
    while len(json.loads(stomp("subscriptions", topic, "--json").out)) < 2:
        time.sleep(0.05)
    stomp("send", topic, "--lines", stdin=b"".join(b"%d\n" % n for n in range(8)))
    shown = [process.communicate(timeout=60)[0].split() for process in both]
    assert [len(one) for one in shown] == [4, 4]
    assert sorted(shown[0] + shown[1]) == [b"%d" % n for n in range(8)]
    assert json.loads(stomp("durable", "ls", "g", "--json").out) == []


async def test_group_elsewhere() -> None:
    """A broker that cannot share a topic is named."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.serve_end()

    done = await run_against(script, "subscribe", "/topic/a", "--group", "g")
    assert done.returncode == ExitCode.FAILED
    assert b"--group needs stompd or RabbitMQ; at localhost:" in done.stderr


# How it shows.


def test_times(stomp: Stomp, queue: str) -> None:
    """--timestamp and --delta stand before a message, and in JSON beside it."""
    stomp("send", queue, "-n", "4", "x")
    done = stomp("subscribe", queue, "-n", "2", "-t", "-d")
    assert re.fullmatch(r"(\d\d:\d\d:\d\d \+\d\.\d{3} x\n){2}", done.text)
    lines = stomp("subscribe", queue, "-n", "2", "-t", "-d", "--json").out.splitlines()
    values = [json.loads(line) for line in lines]
    assert values[0]["delta"] == 0.0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", values[1]["received"])


@pytest.mark.parametrize("form", ["body", "pretty", "stomp.py"])
def test_tail_headers(stomp: Stomp, queue: str, form: str) -> None:
    """--tail-headers puts the headers below the body."""
    stomp("send", queue, "-H", "x:y", "hello")
    text = stomp("subscribe", queue, "-n", "1", "--tail-headers", "--format", form).text
    assert text.startswith("hello\n")
    assert re.search(r"^ *x: y$", text, re.MULTILINE)


def test_translate(stomp: Stomp, queue: str) -> None:
    """--translate shows what a command makes of the body, which no shell ever sees."""
    stomp("send", queue, "-", stdin=b"$(touch x) `id` 'a\0b'")
    command = shlex.join([sys.executable, "-c", "import sys; print(sys.stdin.buffer.read())"])
    done = stomp("subscribe", queue, "-n", "1", "--translate", command, "--raw")
    assert done.out == b"b\"$(touch x) `id` 'a\\x00b'\"\n"


def test_translate_that_fails(stomp: Stomp, queue: str) -> None:
    """A command that is missing is refused at once; one that fails loses no message."""
    stomp("send", queue, "hello")
    done = Stomp(1)("subscribe", queue, "--translate", "no-such-command x")
    assert (done.code, done.err) == (66, "stomp: there is no command no-such-command\n")
    failing = shlex.join(["sh", "-c", "echo first >&2; echo oh dear >&2; exit 3"])
    done = stomp("subscribe", queue, "-n", "1", "--translate", failing)
    assert (done.code, done.out) == (ExitCode.FAILED, b"")
    assert "stomp: sh failed (exit 3)\n  oh dear\n" in done.err
    assert stomp("subscribe", queue, "-n", "1").out == b"hello\n"


def test_rate_limit(stomp: Stomp, queue: str) -> None:
    """--rate-limit shows no more a second than it says."""
    stomp("send", queue, "x", "-n", "5")
    began = time.monotonic()
    assert stomp("subscribe", queue, "-n", "5", "--rate-limit", "20/s").code == 0
    assert time.monotonic() - began >= 4 / 20


def test_graph(stomp: Stomp, queue: str) -> None:
    """--graph writes a line a second in place of messages."""
    stomp("send", queue, "x", "-n", "1000")
    done = stomp("-q", "subscribe", queue, "--graph", "--timeout", "3")
    assert done.code == 0
    line = r"\d\d:\d\d:\d\d +([\d,]+) msg/s +\d\.\d KiB/s(?:  █{1,40}[▏▎▍▌▋▊▉]?)?"
    counts = [re.fullmatch(line, one) for one in done.text.splitlines()]
    assert sum(int(found[1].replace(",", "")) for found in counts if found) == 1000
    assert all(counts)


def test_bars(stomp: Stomp) -> None:
    """A bar is measured by the busiest second, in eighths of a cell."""
    graph = Graph.__new__(Graph)
    graph._most = 320  # noqa: SLF001 - the busiest second so far
    assert (graph.bar(0), graph.bar(1), graph.bar(8), graph.bar(320)) == ("", "▏", "█", "█" * 40)
    assert stomp.port


# What it keeps.


def test_dump(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """--dump writes a file for each message, exactly, and overwrites none."""
    stomp("send", queue, "-", stdin=HOSTILE)
    stomp("send", queue, "two")
    (tmp_path / "000002.body").write_bytes(b"mine")
    done = stomp("-q", "subscribe", queue, "-n", "2", "--dump", str(tmp_path))
    assert (done.code, done.out) == (0, b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "000001.body": HOSTILE,
        "000002.body": b"mine",
        "000003.body": b"two",
    }
    stomp("send", queue, "three")
    stomp("-q", "subscribe", queue, "-n", "1", "--dump", str(tmp_path / "new"), "--json")
    envelope = (tmp_path / "new" / "000001.json").read_bytes()
    assert json.loads(envelope)["body"] == "three"
    stomp("send", f"{queue}.again", "--json-in", stdin=envelope)
    assert stomp("subscribe", f"{queue}.again", "-n", "1").out == b"three\n"


def test_dump_to_standard_output(stomp: Stomp, queue: str) -> None:
    """--dump - writes a NUL after each message, whatever the format."""
    stomp("send", queue, "a\nb", "-n", "4")
    assert stomp("subscribe", queue, "-n", "2", "--dump", "-").out == b"a\nb\0a\nb\0"
    done = stomp("subscribe", queue, "-n", "2", "--dump", "-", "--json")
    assert [json.loads(part)["n"] for part in done.out.split(b"\0")[:-1]] == [1, 2]


def test_dump_on_a_terminal(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """Files hold the exact octets also if a terminal looks on."""
    stomp("send", queue, "-", stdin=HOSTILE)
    terminal = Terminal(stomp, "subscribe", queue, "-n", "1", "--dump", str(tmp_path))
    assert terminal.end() == 0
    assert (tmp_path / "000001.body").read_bytes() == HOSTILE


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("/abs/olute", "olute"),
        ("..\\windows\\x.exe", "x.exe"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("..", "message-1"),
        ("", "message-1"),
        ("a\x1b[31mb\n.txt", "a__31mb_.txt"),
        ("grüße.txt", "gr__e.txt"),
    ],
)
def test_save_files_stays_inside(
    stomp: Stomp, queue: str, tmp_path: Path, filename: str, kept: str
) -> None:
    """Whatever a peer calls its file, it is one harmless name inside the folder."""
    folder = tmp_path / "in"
    stomp("send", queue, "-H", f"filename:{filename}", "aGVsbG8=")
    assert stomp("-q", "subscribe", queue, "-n", "1", "--save-files", str(folder)).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {kept: b"hello"}


def test_save_files_overwrites_nothing(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A name that is taken, also by a link to elsewhere, gets a number."""
    target = tmp_path / "target"
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").symlink_to(target)
    for _ in range(2):
        stomp("send", queue, "-H", "filename:a.txt", "aGVsbG8=")
    stomp("-q", "subscribe", queue, "-n", "2", "--save-files", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["a.1.txt", "a.2.txt", "a.txt"]
    assert not target.exists()


def test_save_files_shows_what_brings_no_file(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A message without a file is shown as always."""
    stomp("send", queue, "hello")
    done = stomp("-q", "subscribe", queue, "-n", "1", "--save-files", str(tmp_path))
    assert done.out == b"hello\n"
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be(stomp: Stomp, tmp_path: Path) -> None:
    """A folder that cannot be made is said so before anything is received."""
    (tmp_path / "file").write_text("")
    for option in ("--dump", "--save-files"):
        done = Stomp(1)("subscribe", "/queue/a", option, str(tmp_path / "file" / "x"))
        assert done.code == ExitCode.NO_INPUT
    assert stomp.port


@given(st.text())
@example(".-x" * 100)
def test_any_name_is_harmless(proposed: str) -> None:
    """No name leaves the folder, hides, looks like an option, or is too long."""
    name = safe_name(proposed, "other")
    assert re.fullmatch(r"[A-Za-z0-9_ +=@][A-Za-z0-9._ +=@-]{0,119}", name)
    assert name not in (".", "..")


def test_names_with_numbers() -> None:
    """The number stands before the ending."""
    for name, second in (("a.tar.gz", "a.tar.1.gz"), ("a", "a.1"), (".a", ".a.1")):
        names = numbered(name)
        assert [next(names), next(names)] == [name, second]


def test_what_is_a_file() -> None:
    """Only a message with a file's name brings one; what is no base64 is taken as it is."""
    assert file_of({}, b"x") is None
    assert file_of({"filename": "a"}, b"aGVsbG8=") == b"hello"
    assert file_of({"filename": "a"}, b"not base64!") == b"not base64!"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--headers-only", "--tail-headers"], "exclude each other"),
        (["--graph", "--dump", "-"], "exclude each other"),
        (["--durable", "a", "--group", "b"], "exclude each other"),
        (["--translate", "'"], "No closing quotation"),
        (["--translate", " "], "give a command"),
    ],
)
def test_what_excludes_each_other(words: list[str], complaint: str) -> None:
    """What cannot be meant is refused."""
    done = Stomp(1)("subscribe", "/queue/a", *words)
    assert done.code == ExitCode.USAGE
    assert complaint in done.err


def test_in_a_shell(stomp: Stomp, queue: str) -> None:
    """What only a command of its own can do is refused in a shell, not ignored."""
    done = stomp("-q", stdin=f"subscribe --drain {queue}\n".encode())
    assert done.code == ExitCode.USAGE
    assert "--drain is for stomp subscribe, outside of a shell" in done.err
