"""The plain line reader: golden session, texts of stomp.py, scripts, and no escape octet ever."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
import trio
from client.programs import Stomp, environment

from stompcli.client.testing import Script, ScriptedBroker, on_socket
from stompcli.exitcodes import ExitCode

GOLDEN = """\
{prompt}send {queue}/test hello world
{prompt}subscribe {queue}/test
Subscribing to "{queue}/test" with acknowledge set to "auto", id set to "1"
MESSAGE
subscription: 1
message-id: cN-1
destination: {queue}/test
content-type: text/plain
content-length: 11

hello world
{prompt}begin
Transaction id: tx-1
{in_transaction_0}send -H priority:9 {queue}/other "two  spaces"
{in_transaction_1}commit
Committing tx-1
"""

BANNER = """\
CONNECTED
version: 1.2
server: stompd/VERSION
heart-beat: 10000,10000
session: cN

"""

TYPED = (
    "send {queue}/test hello world",
    "subscribe {queue}/test",
    "begin",
    'send -H priority:9 {queue}/other "two  spaces"',
    "commit",
)


def masked(text: str) -> str:
    """Return text without what differs from run to run."""
    text = re.sub(r"\bc\d+\b", "cN", text)
    return re.sub(r"stompd/\S+", "stompd/VERSION", text)


def lines(*typed: str) -> bytes:
    """Return lines as a pipe brings them."""
    return "".join(f"{line}\n" for line in typed).encode()


async def run_against(
    script: Script, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the program against a scripted broker."""
    async with on_socket(script) as port:
        return await trio.run_process(
            Stomp(port).argv(*words),
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )


# Golden session.


@pytest.mark.parametrize("words", [[], ["--plain"], ["-F", "-"]])
def test_golden_session_from_a_pipe(stomp: Stomp, queue: str, words: list[str]) -> None:
    """The session of the handbook, word for word, without prompts where nobody types."""
    typed = [line.format(queue=queue) for line in TYPED]
    done = stomp(*words, stdin=lines(*typed))
    expected = GOLDEN.format(queue=queue, prompt="#", in_transaction_0="#", in_transaction_1="#")
    answers = "".join(
        line for line in expected.splitlines(keepends=True) if not line.startswith("#")
    )
    assert masked(done.text) == BANNER + answers
    assert done.err == ""
    assert done.code == 0
    assert stomp("subscribe", f"{queue}/other", "-n", "1").out == b"two  spaces\n"


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, stomp: Stomp, *words: str, **env: str) -> None:
        command, *args = stomp.argv(*words)
        self.prompt = f"localhost:{stomp.port}> "
        self.child: pexpect.spawn[str] = pexpect.spawn(
            command,
            args,
            env=environment(**{"TERM": "xterm", "LINES": "40", "COLUMNS": "120", **env}),
            dimensions=(40, 120),
            encoding="utf-8",
            timeout=30,
        )
        self.seen = ""

    def expect(self, text: str) -> None:
        """Wait for exactly this text."""
        self.child.expect_exact(text)
        self.seen += self.child.before + self.child.after  # type: ignore[operator]

    def type(self, line: str, *, then: str | None = None) -> None:
        """Type a line, and wait for the next prompt."""
        self.child.sendline(line)
        self.expect(self.prompt if then is None else then)

    def leave(self) -> int:
        """Type Ctrl-D; return the exit code."""
        self.child.sendeof()
        self.child.expect(pexpect.EOF)
        self.seen += str(self.child.before)
        self.child.close()
        code = self.child.exitstatus
        assert code is not None
        return code


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """The terminals of a test; closed after it."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.child.close(force=True)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"STOMP_PLAIN": "1"}])
def test_golden_session_on_a_terminal(
    stomp: Stomp, queue: str, env: dict[str, str], terminals: list[Terminal]
) -> None:
    """The session of the handbook, word for word, with its prompts, and no escape octet."""
    terminal = Terminal(stomp, **env)
    terminals.append(terminal)
    terminal.expect(terminal.prompt)
    prompt = terminal.prompt.removesuffix("> ")
    for line, then in zip(TYPED, ("> ", "> ", "[tx-1 0]> ", "[tx-1 1]> ", "> "), strict=True):
        terminal.type(line.format(queue=queue), then=f"{prompt} {then}".replace(" > ", "> "))
    assert terminal.leave() == 0
    expected = BANNER + GOLDEN.format(
        queue=queue,
        prompt=terminal.prompt,
        in_transaction_0=f"{prompt} [tx-1 0]> ",
        in_transaction_1=f"{prompt} [tx-1 1]> ",
    )
    assert masked(terminal.seen.replace("\r\n", "\n")) == f"{expected}{terminal.prompt}\n"
    assert "\x1b" not in terminal.seen


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}, {"STOMP_PLAIN": "1"}])
def test_asynchronous_message_on_a_terminal(
    stomp: Stomp, queue: str, env: dict[str, str], terminals: list[Terminal]
) -> None:
    """A message starts on a fresh line, and the prompt is printed again after it."""
    terminal = Terminal(stomp, "-q", **env)
    terminals.append(terminal)
    terminal.expect(terminal.prompt)
    terminal.type(f"subscribe {queue}")
    assert stomp("send", queue, "news").code == 0
    terminal.expect("news\r\n" + terminal.prompt)
    assert f"{terminal.prompt}\r\nMESSAGE\r\n" in terminal.seen
    assert terminal.leave() == 0
    assert "\x1b" not in terminal.seen


def test_hostile_message_on_a_terminal(stomp: Stomp, queue: str, terminals: list[Terminal]) -> None:
    """What a stranger sends never reaches the terminal raw, in headers or body."""
    terminal = Terminal(stomp, "--plain", "-q")
    terminals.append(terminal)
    terminal.expect(terminal.prompt)
    body = "\x1b]0;x\x07\x1b[2J \u202e end"
    stomp("send", queue, "-H", "evil:a\x1b[31m\nMESSAGE", "-", stdin=body.encode())
    terminal.type(f"subscribe {queue}")
    assert r"evil: a\x1b[31m\x0aMESSAGE" in terminal.seen
    assert r"\x1b]0;x\x07\x1b[2J \u202e end" in terminal.seen
    assert not {"\x1b", "\x07", "\u202e"} & set(terminal.seen)


def test_interrupt_on_a_terminal(stomp: Stomp, terminals: list[Terminal]) -> None:
    """Ctrl-C ends the program with 130, without a traceback."""
    terminal = Terminal(stomp, "--plain")
    terminals.append(terminal)
    terminal.expect(terminal.prompt)
    terminal.child.sendintr()
    terminal.child.expect(pexpect.EOF)
    terminal.child.close()
    assert terminal.child.exitstatus == ExitCode.INTERRUPTED
    assert "Traceback" not in str(terminal.child.before)


def test_lost_connection_on_a_terminal(stomp: Stomp, terminals: list[Terminal]) -> None:
    """An ERROR is shown, the prompt says that the connection is gone, and typing goes on."""
    terminal = Terminal(stomp, "--plain", "-q")
    terminals.append(terminal)
    terminal.expect(terminal.prompt)
    terminal.type("send /nowhere/x y", then="(disconnected) " + terminal.prompt)
    assert "\r\nERROR\r\n" in terminal.seen
    assert "\r\nlost connection\r\n" in terminal.seen
    terminal.type("send /queue/a b", then="(disconnected) " + terminal.prompt)
    assert "not connected to localhost" in terminal.seen
    terminal.type("help", then="(disconnected) " + terminal.prompt)
    assert terminal.leave() == 0


@pytest.mark.needs_tool("tmux")
def test_screen_of_a_session(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """What a terminal really shows after a session and an asynchronous message."""
    tmux = ["tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    subprocess.run(
        [
            *tmux,
            "new-session",
            "-d",
            "-x",
            "78",
            "-y",
            "18",
            shlex.join(stomp.argv("--plain", "-q")),
        ],
        check=True,
        env=environment(),
        timeout=30,
    )

    def screen(until: str) -> list[str]:
        shown = ""
        for _ in range(300):
            shown = subprocess.run(
                [*tmux, "capture-pane", "-p", "-J", "-S", "-1000"],
                check=True,
                capture_output=True,
                text=True,
                timeout=30,
            ).stdout
            found = [line.rstrip() for line in shown.rstrip().split("\n")]
            if "\n".join(found).endswith(until):
                return found
            # A screen has nothing to wait for; it can only be looked at again.
            time.sleep(0.1)
        pytest.fail(f"the screen stayed\n{shown}")

    def keys(text: str) -> None:
        subprocess.run([*tmux, "send-keys", text, "Enter"], check=True, timeout=30)

    prompt = f"localhost:{stomp.port}>"
    try:
        screen(prompt)
        keys(f"subscribe {queue}")
        screen(f'set to "1"\n{prompt}')
        assert stomp("send", queue, "news").code == 0
        shown = screen(f"news\n{prompt}")
        assert masked("\n".join(shown)).split("\n") == [
            f"{prompt} subscribe {queue}",
            f'Subscribing to "{queue}" with acknowledge set to "auto", id set to "1"',
            prompt,
            "MESSAGE",
            "subscription: 1",
            "message-id: cN-1",
            f"destination: {queue}",
            "content-type: text/plain",
            "content-length: 4",
            "",
            "news",
            prompt,
        ]
    finally:
        subprocess.run([*tmux, "kill-server"], check=True, timeout=30)


# Scripts.


def test_piped_subscribe_send_quit(stomp: Stomp, queue: str) -> None:
    """A message that comes after the last line is shown before the program leaves."""
    done = stomp("-q", stdin=lines(f"subscribe {queue}", f"send {queue}   a  b ", "quit"))
    assert done.text.endswith("content-length: 5\n\na  b \n")
    assert done.code == 0


def test_script_file(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """-F runs a file: comments and empty lines are skipped, and CR LF ends a line, too."""
    script = tmp_path / "script"
    script.write_bytes(b"# a comment\r\n\r\n   # another\r\nsend " + queue.encode() + b" x\r\n")
    done = stomp("-q", "-F", str(script))
    assert (done.code, done.out, done.err) == (0, b"", "")
    assert stomp("subscribe", queue, "-n", "1").out == b"x\n"


def test_listen(stomp: Stomp, queue: str) -> None:
    """-L subscribes before the first line."""
    done = stomp("-q", "-L", queue, stdin=lines(f"send {queue} x"))
    assert done.text.startswith(f'Subscribing to "{queue}" with acknowledge set to "auto"')
    assert done.text.endswith("\nx\n")


def test_script_stops_at_the_first_error(stomp: Stomp, queue: str) -> None:
    """Nothing after a failing line is run, and its code is the program's."""
    done = stomp("-q", stdin=lines("foo", f"send {queue} x"))
    assert (done.code, done.err) == (2, "Unknown command: foo\n")
    assert stomp("subscribe", queue, "--idle", "0.2").out == b""


def test_keep_going(stomp: Stomp, queue: str) -> None:
    """With -k the lines after a failing one are run; the first failure is the exit code."""
    done = stomp("-q", "-k", stdin=lines("ack last", "foo", f"send {queue} x"))
    assert (done.code, done.err) == (1, "no unsettled message last\nUnknown command: foo\n")
    assert stomp("subscribe", queue, "-n", "1").out == b"x\n"


@pytest.mark.parametrize("words", [[], ["-k"]])
def test_script_ends_with_the_connection(stomp: Stomp, queue: str, words: list[str]) -> None:
    """After an ERROR nothing more is run, -k or not."""
    done = stomp("-q", *words, stdin=lines("send /nowhere/x y", f"send {queue} x"))
    assert done.code == ExitCode.FAILED
    assert done.err.startswith("the broker answered ERROR: ")
    assert stomp("subscribe", queue, "--idle", "0.2").out == b""


async def test_connection_lost_while_nothing_is_typed() -> None:
    """A broker that goes away ends a script that waits for its next line."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()

    async with on_socket(script) as port:
        process = await trio.lowlevel.open_process(
            Stomp(port).argv("-q"),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        with trio.fail_after(60):
            assert process.stderr is not None
            err = b"".join([part async for part in process.stderr])
            assert await process.wait() == ExitCode.UNAVAILABLE
    assert b"closed the connection" in err


def test_output_that_nobody_reads(stomp: Stomp, queue: str) -> None:
    """A closed standard output ends a script with 0."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        stomp.argv(),
        input=lines(f"subscribe {queue}"),
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nothing_listens() -> None:
    """Without a broker a script fails as a command does."""
    done = Stomp(1)(stdin=b"help\n")
    assert done.code == ExitCode.UNAVAILABLE
    assert done.err.startswith("stomp: cannot connect to localhost:1: connection refused\n")


# The texts of stomp.py.


@pytest.mark.parametrize(
    ("typed", "out", "err"),
    [
        (["foo"], "", "Unknown command: foo\n"),
        (["send"], "", "Expecting: send <destination> <message>\n"),
        (["send /queue/a"], "", "Expecting: send <destination> <message>\n"),
        (["sendrec"], "", "Expecting: sendrec <destination> <message>\n"),
        (
            ["sendreply /queue/a 1"],
            "",
            "Expecting: sendreply <destination> <correlation-id> <message>\n",
        ),
        (["subscribe"], "", "Expecting: subscribe <destination> [ack]\n"),
        (["unsubscribe"], "", "Expecting: unsubscribe <destination>\n"),
        (["unsubscribe /queue/a"], "", "Subscription /queue/a not found\n"),
        (["ack"], "", "Expecting: ack <ack-id>\n"),
        (["nack"], "", "Expecting: nack <ack-id>\n"),
        (["commit"], "", "Not currently in a transaction\n"),
        (["abort"], "", "Not currently in a transaction\n"),
        (
            ["begin", "begin"],
            "Transaction id: tx-1\n",
            "Currently in a transaction (tx-1)\n",
        ),
        (["begin", "rollback"], "Transaction id: tx-1\nAborted transaction: tx-1\n", ""),
        (
            ["begin", "commit", "begin", "abort"],
            (
                "Transaction id: tx-1\nCommitting tx-1\n"
                "Transaction id: tx-2\nAborted transaction: tx-2\n"
            ),
            "",
        ),
        (["version"], "VERSION [Protocol version 1.2]\n", ""),
        (["ver"], "VERSION [Protocol version 1.2]\n", ""),
        (
            ["stats"],
            (
                "Connections: 1\nDisconnects: 0\nMessages sent: 0\nMessages received: 0\n"
                "Heartbeats received: 0\nErrors: 0\n"
            ),
            "",
        ),
        (
            ["send QUEUE x", "send QUEUE y", "stats on", "send QUEUE z", "stats"],
            (
                "Connections: 0\nDisconnects: 0\nMessages sent: 1\nMessages received: 0\n"
                "Heartbeats received: 0\nErrors: 0\n"
            ),
            "",
        ),
        (["stats off", "stats"], "", "No stats available: counting is off (stats on)\n"),
        (["ack all", "nack all"], "", ""),
        (["help foo"], "", "Unknown command: foo\n"),
        (["help sedn"], "", 'Unknown command: sedn\n  did you mean "send"?\n'),
        (["sendrec QUEUE x"], "RECEIPT\nreceipt-id: r1\n\n", ""),
        (["quit", "foo"], "", ""),
        (["exit", "foo"], "", ""),
        (["send --json QUEUE x"], "", None),
    ],
)
def test_texts(stomp: Stomp, queue: str, typed: list[str], out: str, err: str | None) -> None:
    """Each command prints what stomp.py's does."""
    done = stomp("-q", stdin=lines(*typed).replace(b"QUEUE", queue.encode()))
    assert re.sub(r"^\d+\.\d+\.\d+ ", "VERSION ", done.text) == out
    if err is None:
        assert "--json is for the whole session" in done.err
    else:
        assert done.err == err


def test_unsubscribe(stomp: Stomp, queue: str) -> None:
    """A subscription is ended by destination or by id."""
    typed = [f"subscribe {queue}", f"unsubscribe {queue}", f"sub --id s {queue}", "unsubscribe s"]
    done = stomp("-q", stdin=lines(*typed, f"send {queue} x"))
    assert done.text == (
        f'Subscribing to "{queue}" with acknowledge set to "auto", id set to "1"\n'
        f'Unsubscribing from "{queue}"\n'
        f'Subscribing to "{queue}" with acknowledge set to "auto", id set to "s"\n'
        'Unsubscribing from "s"\n'
    )
    assert stomp("subscribe", queue, "-n", "1").out == b"x\n"


def test_several_subscriptions_to_one_destination(stomp: Stomp, queue: str) -> None:
    """One topic may be subscribed to twice; each gets its copy."""
    topic = queue.replace("/queue/", "/topic/")
    typed = [f"subscribe {topic}", f"subscribe {topic}", f"send {topic} x"]
    done = stomp("-q", stdin=lines(*typed))
    assert done.text.count("\nMESSAGE\n") + done.text.count("\n\nx\nMESSAGE\n") >= 2
    assert 'id set to "2"' in done.text


def test_help(stomp: Stomp) -> None:
    """Help lists the commands as stomp.py does, and explains one with its examples first."""
    listed = stomp("-q", stdin=b"help\n").text
    assert listed.startswith("Documented commands (type help <topic>):\n")
    for word in ("send", "unsubscribe", "ack", "begin", "quit, exit"):
        assert f"\n  {word}" in listed
    assert "completion" not in listed
    explained = stomp("-q", stdin=b"help send\n").text
    assert explained.startswith("Examples:\n  stomp send /queue/test hello world\n")
    assert "Expecting: send <destination> <message>" in explained


# Settling.


def test_ack_and_nack(stomp: Stomp, queue: str) -> None:
    """Messages are settled by number, ack id, message-id, as last and all together."""
    for body in "12345":
        stomp("send", queue, body)
    typed = [
        f"subscribe {queue} client-individual",
        "ack #1",
        "ack last",
        "nack #2 -H requeue:false",
        "ack all",
    ]
    assert stomp("-q", stdin=lines(*typed)).err == ""
    assert stomp("subscribe", queue, "--idle", "0.3").out == b""
    assert stomp("subscribe", queue.replace("/queue/", "/queue/DLQ."), "-n", "1").out == b"2\n"


def test_cumulative_ack(stomp: Stomp, queue: str) -> None:
    """In client mode an ACK settles the earlier ones, too; the later ones come again."""
    for body in "1234":
        stomp("send", queue, body)
    done = stomp("-q", stdin=lines(f"subscribe {queue} client", "ack #3", "ack #2"))
    assert (done.code, done.err) == (1, "no unsettled message #2\n")
    assert stomp("subscribe", queue, "-n", "1").out == b"4\n"


@pytest.mark.parametrize(("end", "left"), [("commit", b""), ("abort", b"1\n")])
def test_ack_in_a_transaction(stomp: Stomp, queue: str, end: str, left: bytes) -> None:
    """An ACK belongs to the open transaction, and so does a SEND."""
    stomp("send", queue, "1")
    typed = [f"subscribe {queue} client", "begin", "ack last", f"send {queue}.2 x", end]
    assert stomp("-q", stdin=lines(*typed)).code == 0
    assert stomp("subscribe", queue, "--idle", "0.3").out == left
    assert (stomp("subscribe", f"{queue}.2", "--idle", "0.3").out == b"x\n") is (end == "commit")


async def test_ack_in_every_version() -> None:
    """An ACK names the delivery as the session's version wants it."""
    for version, name in (("1.0", "message-id"), ("1.1", "message-id"), ("1.2", "id")):

        async def script(broker: ScriptedBroker, version: str = version, name: str = name) -> None:
            await broker.accept(version)
            subscription = await broker.expect("SUBSCRIBE", ack="client")
            await broker.message(subscription, b"x")
            await broker.receipt(subscription)
            frame = await broker.expect("ACK")
            assert frame.headers[name] == "m1"
            await broker.receipt(frame)
            await broker.serve_end()

        done = await run_against(script, "-q", stdin=lines("subscribe /queue/a client", "ack m1"))
        assert done.returncode == 0, done.stderr


async def test_script_waits_for_the_message_that_it_settles() -> None:
    """A message that comes after the SUBSCRIBE's receipt can be settled by the next line."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed(ack="client")
        await trio.sleep(0.2)
        await broker.message(subscription, b"x")
        await broker.receipt(await broker.expect("ACK", id="m1"))
        await broker.serve_end()

    typed = lines("subscribe /queue/a client", "ack last", "unsubscribe /queue/a")
    done = await run_against(script, "-q", "--linger", "30s", stdin=typed)
    assert (done.returncode, done.stderr) == (0, b"")


def test_python_module_is_the_program() -> None:
    """`python -m stompcli` and the console scripts run the same thing."""
    done = subprocess.run(
        [sys.executable, "-m", "stompcli", "--version"],
        capture_output=True,
        check=True,
        env=environment(),
        timeout=60,
    )
    assert done.stdout.startswith(b"stomp ")


async def test_listen_with_nothing_else_to_do() -> None:
    """-L without any line stays, as `subscribe` does, until a signal ends it in peace."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(destination="/queue/a"), b"hello")
        assert process.stdout is not None
        seen = b""
        while b"\nhello\n" not in seen:
            seen += await trio.to_thread.run_sync(os.read, process.stdout.fileno(), 4096)
        process.send_signal(signal.SIGINT)
        await broker.serve_end()

    async with on_socket(script) as port:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            Stomp(port).argv("-q", "-L", "/queue/a"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment(),
        )
    with process:
        assert await trio.to_thread.run_sync(process.wait) == ExitCode.INTERRUPTED
