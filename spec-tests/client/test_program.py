"""The `stomp` program, one command at a time: streams, formats, exit codes, errors in words."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
import trio
from client.programs import Stomp, environment

from stompcli import table
from stompcli.arguments import Verb
from stompcli.client.testing import Script, ScriptedBroker, on_socket
from stompcli.exitcodes import ExitCode

HOSTILE = b"\x1b]0;owned\x07\x1b[31m\x9b2J [red] :smile: \xe2\x80\xae"


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


# send


def test_send_says_what_it_did(stomp: Stomp, queue: str) -> None:
    """Words are joined by blanks; the notice goes to standard error, nothing to standard output."""
    done = stomp("send", queue, "hello", "world")
    assert (done.code, done.out) == (0, b"")
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d sent 11 bytes to {re.escape(queue)} \(receipt \d+\.\d ms\)\n", done.err
    )
    assert stomp("subscribe", queue, "-n", "1").out == b"hello world\n"


def test_quiet(stomp: Stomp, queue: str) -> None:
    """With -q there are no notices."""
    assert stomp("-q", "send", queue, "x").err == ""
    assert stomp("subscribe", queue, "-n", "1", "--quiet").err == ""


@pytest.mark.parametrize("words", [["-"], []])
def test_send_standard_input(stomp: Stomp, queue: str, words: list[str]) -> None:
    """A body of - and no body read standard input to its end, octet for octet."""
    body = bytes(range(256)) * 10
    assert stomp("send", queue, *words, stdin=body).code == 0
    assert stomp("subscribe", queue, "-n", "1", "--raw").out == body


def test_send_lines(stomp: Stomp, queue: str) -> None:
    """--lines sends a message per line and counts their receipts."""
    done = stomp("send", queue, "--lines", stdin=b"1\n2\n3\n")
    assert re.search(r"sent 3 messages, 3 bytes \(receipts 3/3, \d+\.\d\d s\)\n$", done.err)
    assert stomp("subscribe", queue, "-n", "3").out == b"1\n2\n3\n"


def test_send_null(stomp: Stomp, queue: str) -> None:
    """--null sends a message per NUL, and subscribe -0 writes them so again."""
    stomp("send", queue, "--null", stdin=b"a\nb\0\0c")
    assert stomp("subscribe", queue, "-n", "3", "-0").out == b"a\nb\0\0c\0"


def test_json_round_trip(stomp: Stomp, queue: str) -> None:
    """What subscribe --json writes, send --json-in sends again."""
    stomp("send", queue, "-H", "x:a\nb:c", "-t", "text/x", "grüße")
    stomp("send", queue, "-", stdin=b"\xff\0")
    lines = stomp("subscribe", queue, "-n", "2", "--json").out
    assert stomp("send", f"{queue}.2", "--json-in", stdin=lines).code == 0
    again = [
        json.loads(line)
        for line in stomp("subscribe", f"{queue}.2", "-n2", "--json").out.splitlines()
    ]
    assert again[0]["body"] == "grüße"
    assert again[0]["headers"]["x"] == "a\nb:c"
    assert again[0]["headers"]["content-type"] == "text/x"
    assert again[1]["body_base64"] == "/wA="


@pytest.mark.parametrize(
    ("words", "headers"),
    [
        (["-H", "a:b", "-H", "c:"], {"a": "b", "c": ""}),
        (["--persistent"], {"persistent": "true"}),
        (["--priority", "7"], {"priority": "7"}),
        (["--ttl", "2s"], {"ttl": "2000"}),
        (["--delay", "500ms"], {"delay": "500"}),
        (["--reply-to", "/queue/r"], {"reply-to": "/queue/r"}),
        (["--correlation-id", "7"], {"correlation-id": "7"}),
        (["-t", "a/b"], {"content-type": "a/b", "content-length": "1"}),
        ([], {"content-type": "text/plain", "content-length": "1"}),
    ],
)
def test_dry_run(stomp: Stomp, words: list[str], headers: dict[str, str]) -> None:
    """--dry-run prints the exact frame, and needs no broker."""
    done = stomp("-P", "1", "send", *words, "/queue/a", "x", "--dry-run")
    assert done.code == 0
    command, *lines = done.text.partition("\n\n")[0].split("\n")
    assert command == "SEND"
    found = dict(line.split(":", 1) for line in lines)
    assert found.items() >= {"destination": "/queue/a", **headers}.items()
    assert done.text.endswith("\n\nx\0")


def test_no_content_length(stomp: Stomp) -> None:
    """--no-content-length leaves that header out."""
    done = stomp("send", "/queue/a", "x", "--no-content-length", "--dry-run")
    assert b"content-length" not in done.out


def test_headers_file(stomp: Stomp, tmp_path: Path) -> None:
    """--headers adds those of a JSON object, before those of -H."""
    file = tmp_path / "headers.json"
    file.write_text('{"a": "b", "n": 1, "t": true}')
    done = stomp("send", "--headers", str(file), "-H", "z:1", "/queue/a", "x", "--dry-run")
    assert b"\na:b\nn:1\nt:true\nz:1\n" in done.out


def test_body_file_and_size(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """The body may be a file, or so many octets; counts repeat it."""
    file = tmp_path / "body"
    file.write_bytes(b"from a file")
    stomp("send", queue, "-f", str(file), "-n", "2")
    assert stomp("subscribe", queue, "-n", "2").out == b"from a file\n" * 2
    stomp("send", queue, "--size", "2k")
    assert len(stomp("subscribe", queue, "-n", "1", "--raw").out) == 2048


def test_send_in_transactions(stomp: Stomp, queue: str) -> None:
    """--tx sends in transactions, the last one with what is left over."""
    done = stomp("send", queue, "--lines", "--tx", "2", stdin=b"1\n2\n3\n4\n5\n")
    assert "sent 5 messages, 5 bytes (transactions 3/3" in done.err
    assert stomp("subscribe", queue, "-n", "5").out == b"1\n2\n3\n4\n5\n"


def test_rate(stomp: Stomp, queue: str) -> None:
    """--rate does not go faster than it says: four pauses lie between five messages."""
    began = time.monotonic()
    done = stomp("send", queue, "x", "-n", "5", "--rate", "20/s")
    assert "receipts 5/5, " in done.err
    assert time.monotonic() - began >= 4 / 20


async def test_no_receipt() -> None:
    """--no-receipt asks for none; DISCONNECT's own proves that the message was read."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        assert "receipt" not in (await broker.expect("SEND")).headers
        await broker.serve_end()

    done = await run_against(script, "send", "--no-receipt", "/queue/a", "x")
    assert done.returncode == 0
    assert done.stderr.endswith(b" sent 1 byte to /queue/a\n")


def test_sendrec(stomp: Stomp, queue: str) -> None:
    """Sendrec prints the RECEIPT once it has come."""
    assert stomp("sendrec", queue, "x").out == b"RECEIPT\nreceipt-id: r1\n\n"


def test_sendreply(stomp: Stomp, queue: str) -> None:
    """Sendreply carries the correlation-id, and adds nothing to the body."""
    stomp("sendreply", queue, "4711", "done")
    assert stomp("subscribe", queue, "-n1", "--format", "{header.correlation-id}={body}").out == (
        b"4711=done"
    )


# subscribe


def test_count_takes_no_more_than_it_shows(stomp: Stomp, queue: str) -> None:
    """After -n 1 the other messages are still there, in order."""
    stomp("send", queue, "--lines", stdin=b"1\n2\n3\n")
    assert stomp("subscribe", queue, "-n", "1").out == b"1\n"
    assert stomp("subscribe", queue, "-n", "2").out == b"2\n3\n"


@pytest.mark.parametrize("mode", ["auto", "client", "client-individual"])
def test_ack_mode_as_a_last_word(stomp: Stomp, queue: str, mode: str) -> None:
    """A last word is the ack mode; what was shown was acknowledged."""
    stomp("send", queue, "x")
    done = stomp("subscribe", queue, mode, "-n", "1")
    assert f'subscribed to "{queue}" (ack {mode}, id 1)' in done.err
    stomp("send", queue, "y")
    assert stomp("subscribe", queue, "-n", "1").out == b"y\n"


def test_several_destinations(stomp: Stomp, queue: str) -> None:
    """Several destinations are received at once."""
    stomp("send", f"{queue}.a", "1")
    stomp("send", f"{queue}.b", "2")
    done = stomp("sub", f"{queue}.a", f"{queue}.b", "-n", "2", "--format", "{body}\\n")
    assert sorted(done.out.split()) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], b"hello world\n"),
        (["-N"], b"hello world"),
        (["--raw"], b"hello world"),
        (["--format", "body"], b"hello world\n"),
        (["--format", "{n}:{header.x}:{body}\\n"], b"1:y:hello world\n"),
    ],
)
def test_formats(stomp: Stomp, queue: str, words: list[str], expected: bytes) -> None:
    """Bodies alone by default off a terminal, and other forms on request."""
    stomp("send", queue, "-H", "x:y", "hello world")
    assert stomp("subscribe", queue, "-n", "1", *words).out == expected


def test_json_line(stomp: Stomp, queue: str) -> None:
    """--json writes one object a line."""
    stomp("send", queue, "hello world")
    value = json.loads(stomp("subscribe", queue, "-n", "1", "--json", "--ack", "auto").out)
    assert list(value) == ["n", "destination", "headers", "body"]
    assert (value["n"], value["destination"], value["body"]) == (1, queue, "hello world")
    assert list(value["headers"]) == [
        "subscription",
        "message-id",
        "content-type",
        "content-length",
    ]


def test_headers_only(stomp: Stomp, queue: str) -> None:
    """--headers-only leaves the body out."""
    stomp("send", queue, "-H", "x:y", "hello")
    done = stomp("subscribe", queue, "-n", "1", "--headers-only")
    assert b"\nx: y\n" in done.out
    assert b"hello" not in done.out


def test_idle(stomp: Stomp, queue: str) -> None:
    """--idle ends a subscription that is quiet; without a count that is success."""
    stomp("send", queue, "x")
    done = stomp("subscribe", queue, "--idle", "300ms")
    assert (done.code, done.out) == (0, b"x\n")


def test_refused_subscription(stomp: Stomp, queue: str) -> None:
    """A destination that the broker refuses is its ERROR in words, also beside others."""
    done = stomp("subscribe", queue, "/nowhere/x")
    assert done.code == ExitCode.FAILED
    assert "stomp: the broker answered ERROR: " in done.err


def test_hostile_message_in_a_pipe_is_exact(stomp: Stomp, queue: str) -> None:
    """A pipe gets a message's octets as they are, and no file is made by any of its headers."""
    stomp("send", queue, "-H", "filename:../../x", "-", stdin=HOSTILE)
    assert stomp("subscribe", queue, "-n", "1").out == HOSTILE + b"\n"


def test_head_ends_it_quietly(stomp: Stomp, queue: str) -> None:
    """A reader that has had enough ends the program with 0 and without a word."""
    stomp("send", queue, "--lines", stdin=b"line\n" * 5000)
    ours, theirs = os.pipe()
    with subprocess.Popen(
        stomp.argv("-q", "subscribe", queue),
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        os.close(theirs)
        assert os.read(ours, 5) == b"line\n"
        os.close(ours)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("how", ["closed pipe", "full device"])
def test_message_that_could_not_be_written(stomp: Stomp, queue: str, how: str) -> None:
    """What nobody could read goes back to the broker, without blame."""
    stomp("send", queue, "x")
    ours, theirs = os.pipe()
    os.close(ours)
    target = theirs if how == "closed pipe" else os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(
        stomp.argv("-q", "subscribe", queue, "client-individual"),
        stdout=target,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=60,
    )
    if how == "closed pipe":
        assert (done.returncode, done.stderr) == (0, b"")
    else:
        assert done.returncode == ExitCode.FAILED
        assert b"cannot write to standard output: No space left on device" in done.stderr
        os.close(target)
    os.close(theirs)
    again = stomp("subscribe", queue, "-n", "1", "--json")
    headers = json.loads(again.out)["headers"]
    assert "delivery-count" not in headers or headers["delivery-count"] == "1"


def test_one_shot_on_a_terminal(stomp: Stomp, queue: str) -> None:
    """On a terminal messages are pretty, and nothing in them reaches it raw."""
    stomp("send", queue, "-H", "x-tag:a", "-H", "evil:\x1b[31m", "hello world")
    command, *args = stomp.argv("subscribe", queue, "-n", "1")
    child: pexpect.spawn[str] = pexpect.spawn(
        command,
        args,
        env=environment(TERM="xterm"),
        dimensions=(40, 200),
        encoding="utf-8",
        timeout=30,
    )
    child.expect(pexpect.EOF)
    child.close()
    shown = re.sub(r"\d\d:\d\d:\d\d", "TIME", str(child.before)).replace("\r\n", "\n")
    assert shown.count("\x1b") == shown.count("\x1b[0m") * 2 == 6
    shown = re.sub(r"\x1b\[\d+m", "", shown)
    assert re.sub(r"id c\d+-\d+", "id cN-1", shown) == (
        f'TIME subscribed to "{queue}" (ack client-individual, id 1); Ctrl-C to stop\n'
        f"[#1] {queue}  11 B  text/plain  id cN-1\n"
        "  x-tag: a\n"
        "  evil: \\x1b[31m\n"
        "hello world\n"
    )
    assert child.exitstatus == 0


def test_closed_stdout(stomp: Stomp) -> None:
    """Help into a closed pipe is no error either."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        stomp.argv("--help"),
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("streams", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(stomp: Stomp, queue: str, streams: str) -> None:
    """With standard streams closed the connection still is none of them."""
    stomp("send", queue, "x", "-n", "3")
    command = f"{shlex.join(stomp.argv('subscribe', queue, '-n', '3'))} {streams}"
    done = subprocess.run(["sh", "-c", command], env=environment(), check=False, timeout=60)
    assert done.returncode == 0
    assert stomp("subscribe", queue, "--idle", "0.2").out == b""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
async def test_signals_end_it_in_peace(number: signal.Signals, code: ExitCode) -> None:
    """SIGINT and SIGTERM disconnect, with a receipt, and are the exit code."""
    ended = trio.Event()

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        process.send_signal(number)
        await broker.serve_end()
        ended.set()

    async with on_socket(script) as port:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            Stomp(port).argv("subscribe", "/queue/a"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        with process, trio.fail_after(60):
            await ended.wait()
            out, err = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == code
    assert out == b""
    assert b"Traceback" not in err


# ping, version


def test_ping(stomp: Stomp) -> None:
    """Ping shows the broker, each receipt, and their spread."""
    done = stomp("ping", "-c", "3", "-i", "10ms")
    first, *receipts, last = done.text.splitlines()
    assert re.fullmatch(
        rf"connected to stompd/\S+ at localhost:{stomp.port}, STOMP 1\.2, in \d+\.\d ms "
        r"\(tcp \d+\.\d, login \d+\.\d\)",
        first,
    )
    assert len(receipts) == 3
    assert all(re.fullmatch(r"receipt \d: \d+\.\d\d ms", line) for line in receipts)
    assert re.fullmatch(r"rtt min/avg/p99/max (\d+\.\d\d/){3}\d+\.\d\d ms", last)
    value = json.loads(stomp("ping", "-c", "2", "-i", "0", "--json").out)
    assert len(value["rtt"]) == 2


@pytest.mark.parametrize("words", [["version"], ["--version"], ["ver"]])
def test_version_names_its_file(stomp: Stomp, words: list[str]) -> None:
    """The version says which file runs, since other packages install a stomp as well."""
    assert re.fullmatch(r"stomp \d+\.\d+\.\d+ \(python 3\.\d+\.\d+\) /.*\n", stomp(*words).text)


# Options.


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-u", "stomp://127.0.0.1:{}"], {"STOMP_PORT": "1"}),
        (["-H", "127.0.0.1", "-P", "{}"], {"STOMP_URL": "stomp://nowhere.invalid:1"}),
        ([], {"STOMP_URL": "stomp://127.0.0.1:{}"}),
        ([], {"STOMP_HOST": "127.0.0.1", "STOMP_PORT": "{}"}),
        (["-P", "1", "AFTER", "--port", "{}"], {}),
    ],
)
def test_where_the_broker_is(stompd: int, words: list[str], env: dict[str, str]) -> None:
    """A flag goes before the environment, a flag after the command before one ahead of it."""
    before, _, after = " ".join(words).format(stompd).partition("AFTER")
    named = {name: value.format(stompd) for name, value in env.items()}
    done = subprocess.run(
        [sys.executable, "-m", "stompcli", *before.split(), "ping", "-c", "1", *after.split()],
        capture_output=True,
        env=environment(**named),
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()


async def test_what_connect_says(tmp_path: Path) -> None:
    """User, password, virtual host, version, heart-beats and further headers reach CONNECT."""
    file = tmp_path / "password"
    file.write_text("pass:word\n")
    seen: list[dict[str, str]] = []

    async def script(broker: ScriptedBroker) -> None:
        seen.append((await broker.accept()).headers)
        await broker.expect("BEGIN")
        await broker.serve_end()

    words = ["-U", "u", "--password-file", str(file), "--vhost", "v", "-S", "1.1"]
    words += ["--heartbeats", "0,5000", "--connect-header", "client-id:c"]
    async with on_socket(script) as port:
        process = await trio.run_process(
            [*Stomp(port).argv(*words, "ping", "-c", "1", "--timeout", "1")],
            check=False,
            capture_stderr=True,
            env=environment(),
        )
    assert process.returncode == ExitCode.TIMED_OUT
    assert seen == [
        {
            "accept-version": "1.1",
            "host": "v",
            "login": "u",
            "passcode": "pass:word",
            "heart-beat": "0,5000",
            "client-id": "c",
        }
    ]


async def test_verbose_twice_shows_the_wire() -> None:
    """-VV shows every octet, but no passcode."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.receipt(await broker.expect("SEND"))
        await broker.serve_end()

    done = await run_against(script, "-VV", "-U", "u", "-W", "secret", "send", "/queue/a", "x")
    text = done.stderr.decode()
    assert r"\n passcode:***\n" in text
    assert "secret" not in text
    assert r"SEND\n destination:/queue/a\n" in text
    assert r"RECEIPT\n receipt-id:r1\n \n \0" in text


# Exit codes and errors in words.


def refusing(message: str) -> Script:
    """Return a script that answers CONNECT with ERROR."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.next()
        await broker.send("ERROR", {"message": message}, b"see the log\n")
        await broker.expect_end()

    return script


async def confirm_one(broker: ScriptedBroker) -> None:
    """Confirm the first message, and then fail."""
    await broker.accept()
    await broker.receipt(await broker.expect("SEND"))
    await broker.expect("SEND")
    await broker.send("ERROR", {"message": "queue is full"})


async def answer_nothing(broker: ScriptedBroker) -> None:
    """Let the client in, and never confirm anything."""
    await broker.accept()
    await broker.expect("SEND")
    await broker.expect("DISCONNECT")
    await broker.expect_end()


async def close_at_once(broker: ScriptedBroker) -> None:
    """Let the client in, and close when it sends something."""
    await broker.accept()
    await broker.expect("SEND")


async def say_error(broker: ScriptedBroker) -> None:
    """Let the client in, and answer its SEND with ERROR."""
    await broker.accept()
    await broker.expect("SEND")
    await broker.send("ERROR", {"message": "no such thing"}, b"line one\nline two\n")


async def forbid(broker: ScriptedBroker) -> None:
    """Let the client in, and forbid its SEND."""
    await broker.accept()
    await broker.expect("SEND")
    await broker.send("ERROR", {"message": "send to /queue/a is not allowed"})


SEND = ["send", "/queue/a", "x"]


ENDINGS: list[tuple[int, Script | None, list[str], bytes, str | None]] = [
    (0, None, ["version"], b"", ""),
    (
        1,
        say_error,
        SEND,
        b"",
        "stomp: the broker answered ERROR: no such thing\n  line one\n  line two\n",
    ),
    (2, None, ["send"], b"", "stomp: Missing argument 'DEST'.\n  try: stomp help send\n"),
    (3, confirm_one, ["send", "/queue/a", "--lines", "--sleep", "0.2"], b"1\n2\n3\n", None),
    (65, None, ["send", "/queue/a", "x", "--headers", "BAD"], b"", None),
    (66, None, ["-F", "/no/such/file"], b"", "stomp: File /no/such/file does not exist\n"),
    (
        66,
        None,
        ["send", "/queue/a", "-f", "/no/such/file"],
        b"",
        "stomp: File /no/such/file does not exist\n",
    ),
    (69, close_at_once, SEND, b"", None),
    (75, answer_nothing, [*SEND, "--timeout", "1"], b"", "stomp: timed out after 1 s\n"),
    (77, refusing("Access refused for user"), SEND, b"", None),
    (77, forbid, SEND, b"", None),
    (1, refusing("version not supported"), SEND, b"", None),
    (78, None, ["-C", "nowhere", "ping"], b"", None),
]


@pytest.mark.parametrize(("code", "script", "words", "stdin", "err"), ENDINGS)
async def test_exit_codes(
    code: int,
    script: Script | None,
    words: list[str],
    stdin: bytes,
    err: str | None,
    tmp_path: Path,
) -> None:
    """Each way to end has its code, and says why on standard error."""
    bad = tmp_path / "bad.json"
    bad.write_text("[1]")
    words = [str(bad) if word == "BAD" else word for word in words]
    if script is None:
        done = await trio.to_thread.run_sync(lambda: Stomp(1).run(*words, stdin=stdin))
        found, text = done.code, done.err
    else:
        finished = await run_against(script, *words, stdin=stdin)
        found, text = finished.returncode, finished.stderr.decode()
    assert found == code, text
    assert found in set(ExitCode)
    assert "Traceback" not in text
    if err is not None:
        assert text == err


def test_every_exit_code_is_proved() -> None:
    """The rows above and the two signals are all the ways to end."""
    signals = {ExitCode.INTERRUPTED, ExitCode.TERMINATED}
    assert {row[0] for row in ENDINGS} | signals == set(ExitCode)


def test_bad_environment(stomp: Stomp) -> None:
    """A bad value in the environment is bad configuration, and is named."""
    done = subprocess.run(
        [sys.executable, "-m", "stompcli", "ping"],
        env=environment(STOMP_PORT="many"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == ExitCode.BAD_CONFIG
    assert b"STOMP_PORT" in done.stderr
    assert stomp.port


def test_too_few_messages(stomp: Stomp, queue: str) -> None:
    """Fewer messages than --count asked for within the time are exit code 75."""
    stomp("send", queue, "x")
    for words in (["--idle", "0.3"], ["--timeout", "2"]):
        done = stomp("subscribe", queue, "-n", "2", "--ack", "client", *words)
        assert done.code == ExitCode.TIMED_OUT
        assert "of 2 messages came\n" in done.err


def test_timeout_without_a_count(stomp: Stomp, queue: str) -> None:
    """Where no count was asked, the end of --timeout is success."""
    stomp("send", queue, "x")
    done = stomp("subscribe", queue, "--timeout", "2")
    assert (done.code, done.out) == (0, b"x\n")


def test_nothing_listens() -> None:
    """A refused connection says what could be done about it."""
    done = Stomp(1)("send", "/queue/a", "x")
    assert done.code == ExitCode.UNAVAILABLE
    assert done.err == (
        "stomp: cannot connect to localhost:1: connection refused\n"
        "  is stompd running? start one with: stompd     other broker: stomp -H HOST -P PORT …\n"
    )


def test_errors_as_json() -> None:
    """Under --json errors are JSON as well."""
    done = Stomp(1)("send", "/queue/a", "x", "--json")
    assert json.loads(done.err) == {
        "error": {
            "code": "unreachable",
            "message": "cannot connect to localhost:1: connection refused",
        }
    }


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (
            ["send", "-H", "localhost", "/queue/a", "x"],
            (
                "stomp: header \"localhost\" has no ':' - after a command -H sets a header; "
                "the host is --host, or -H before the command\n"
            ),
        ),
        (["send", "/queue/a", "-5"], "  put -- before a body that starts with '-'\n"),
        (["sned", "/queue/a"], 'stomp: Unknown command: sned\n  did you mean "send"?\n'),
        (
            ["ack", "x"],
            (
                "stomp: acks belong to the session that received the message; "
                "use the shell, -F script, or subscribe --ack\n"
            ),
        ),
        (["begin"], "use the shell, -F script, or subscribe --ack\n"),
        (["unsubscribe", "x"], "unsubscribe: use the shell, or -F script\n"),
        (["-F", "x", "send", "/queue/a", "x"], "give no command with them\n"),
        (["send", "/queue/a", "x", "-f", "y"], "BODY and --body-file exclude each other\n"),
        (["send", "/queue/a", "x", "--lines"], "give none\n"),
        (["send", "/queue/a", "--lines", "--null"], "exclude each other\n"),
        (["send", "/queue/a", "--no-stdin"], 'no body, and --no-stdin; an empty body is ""\n'),
        (["send", "/queue/a", "x", "-t", "foo", "--dry-run"], "is not type/subtype"),
        (["send", "/queue/a", "x", "--ttl", "soon"], "not a duration such as 500ms, 2s or 1m"),
        (["send", "/queue/a", "--size", "big"], "not a size such as 100, 1k or 2M"),
        (["subscribe", "/queue/a", "client", "--ack", "auto"], "both auto and client\n"),
        (["subscribe", "/queue/a", "/queue/b", "--id", "1"], "names one subscription"),
        (["subscribe", "/queue/a", "--format", "xml"], "is none of stomp.py, pretty, json, body"),
        (["--heartbeats", "10", "ping"], "two numbers of milliseconds"),
        (["-u", "http://h", "ping"], "is not a broker's URL"),
    ],
)
def test_usage_errors(words: list[str], err: str) -> None:
    """What cannot be meant is refused before anything is sent, with what to do instead."""
    done = Stomp(1)(*words)
    assert done.code == ExitCode.USAGE
    assert err in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["ack", "begin", "unsubscribe", "quit"])
def test_help_of_what_belongs_to_a_session(name: str) -> None:
    """It is no use at a command line, but what it does is told there."""
    done = Stomp(1)(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: stomp {name}" in done.text
    assert Stomp(1)(name, "--", "--help").code == ExitCode.USAGE


@pytest.mark.parametrize("record", table.TABLE, ids=lambda record: record.name)
def test_help_begins_with_examples(record: table.Command) -> None:
    """`help CMD` begins with examples, which are lines of it, for the place where it is used."""
    if table.find(record.name) is not record:
        pytest.skip("on a command line the word means another command")
    parser = record.load_parser()
    assert isinstance(parser, Verb)
    without = {"version", "help"}
    assert parser.examples or not record.one_shot or record.name in without
    text = Stomp(1)("help", record.name).text
    assert text.startswith("Examples:\n  " if parser.examples else f"Usage: stomp {record.name}")
    if record.one_shot:
        assert all(re.search(r"\bstomp\b", example) for example in parser.examples)
    assert not parser.examples or any(record.name in example for example in parser.examples)


@pytest.mark.parametrize("words", [["queues"], ["help"], ["frame", "decode"]])
def test_anything_into_a_closed_pipe(stomp: Stomp, words: list[str]) -> None:
    """Whatever is written, a reader that has gone is no error."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        stomp.argv(*words),
        input=b"SEND\ndestination:/a\n\nx\0" * 1000,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, b"")


async def test_hostile_error_is_shown_harmless() -> None:
    """What a broker says in an ERROR never reaches the terminal raw."""
    done = await run_against(refusing("\x1b[31mred\x07"), "send", "/queue/a", "x")
    assert rb"\x1b[31mred\x07" in done.stderr
    assert b"\x1b" not in done.stderr
