"""Jobs that are processes: what reaches them, how they end, and how they are ended."""

import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from stompcli.client import Message, UsageError
from stompcli.client.subscription import Subscription
from stompcli.worker import child
from stompcli.worker.child import Command, CommandError, Input, Processes
from stompcli.worker.job import Event, Job
from stompcli.worker.verdict import Outcome
from stompd.protocol.frame import Head

HOSTILE = b"$(touch /tmp/owned) `id` 'single' \"double\" \\ ; | & \0 \xff\n"


def job(body: bytes = b"", **headers: str) -> tuple[Job, list[Event]]:
    """Return a job on a message, and what it tells."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    head = Head.of("MESSAGE", {"message-id": "m-1", "destination": "/queue/a b", **given})
    subscription: Any = Subscription.__new__(Subscription)
    told: list[Event] = []
    return Job(Message(subscription, head, body), 2, "w.1", told.append), told


async def run(
    *words: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    by: Input = "stdin",
    env_headers: bool = False,
) -> Outcome:
    """Run a command for a message and return what came of it."""
    work, _ = job(body, **(headers or {}))
    command = Command(words, input=by, env_headers=env_headers, output="keep")
    return await Processes(command)(work)


def python(text: str) -> tuple[str, ...]:
    """Return the words that run a program in Python, quickly."""
    return (sys.executable, "-I", "-S", "-c", text)


async def test_body_by_standard_input() -> None:
    """The body reaches the command unchanged, whatever is in it."""
    body = HOSTILE + bytes(range(256)) * 1000
    assert await run("cat", body=body) == Outcome("done", "exit 0", status=0, output=body)


async def test_body_by_file() -> None:
    """The file is the worker's alone, holds the body, and is gone afterwards."""
    words = 'stat -c %a "$1"; cat "$STOMP_BODY_FILE"; printf %s "$1" >&2; exit 0'
    work, told = job(HOSTILE)
    command = Command(("sh", "-c", words, "sh", "{file}"), input="file", output="keep")
    outcome = await Processes(command)(work)
    assert outcome.output == b"600\n" + HOSTILE
    assert not await trio.Path(told[0].text).exists()


async def test_body_file_that_the_command_removes() -> None:
    """It may take its file away."""
    assert (await run("rm", "{file}", by="file")).ending == "done"


async def test_body_by_argument() -> None:
    """The body is one word, the last one."""
    body = b"$(id) 'a' \"b\"\n\xc3\xa9 *"
    outcome = await run("printf", "<%s>", "x", body=body, by="arg")
    assert outcome.output == b"<x><" + body + b">"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a\0b", "the body has a NUL, which no argument can have"),
        (b"\xff", "the body is no UTF-8, as an argument has to be"),
        (b"x" * 2**17, "a body of 131,072 octets is too long for an argument"),
    ],
)
async def test_body_that_is_no_argument(body: bytes, reason: str) -> None:
    """What cannot be an argument fails the job, and nothing is started."""
    assert await run("echo", body=body, by="arg") == Outcome("failed", "not started", reason)


async def test_fields_are_single_words() -> None:
    """A field is replaced only as a whole word, and is one word whatever it holds."""
    words = ("{destination}", "{message-id}", "{header:x-y}", "{header:no}", "a{destination}")
    outcome = await run("printf", "<%s>", *words, headers={"x_y": "$(id) 'q' \n"})
    assert outcome.output == b"</queue/a b><m-1><$(id) 'q' \n><><a{destination}>"


async def test_the_command_itself_is_no_field(tmp_path: Path) -> None:
    """Which program runs is never a message's choice."""
    program = tmp_path / "{destination}"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o700)
    assert (await run(str(program))).output == b"here\n"


async def test_field_with_nul() -> None:
    """A header that no argument can hold fails the job."""
    outcome = await run("echo", "{header:x}", headers={"x": "a\0b"})
    assert outcome.reason == "{header:x} has a NUL, which no argument can have"


async def test_environment() -> None:
    """Destination, message-id, attempt and worker are there; headers only on request."""
    shown = "env | grep ^STOMP_ | sort"
    headers = {"x_y.z": "a b", "X_Y_Z": "second", "big": "b" * 70_000, "nul": "a\0"}
    plain = await run("sh", "-c", shown, headers=headers)
    told = [
        *("STOMP_ATTEMPT=2", "STOMP_DESTINATION=/queue/a b"),
        *("STOMP_MESSAGE_ID=m-1", "STOMP_WORKER=w.1"),
    ]
    ours = [line for line in plain.output.decode().splitlines() if line in told]
    assert ours == told
    assert b"STOMP_HEADER" not in plain.output
    full = await run("sh", "-c", shown, headers=headers, env_headers=True)
    lines = [line for line in full.output.decode().splitlines() if "HEADER" in line]
    assert lines == [
        "STOMP_HEADER_DESTINATION=/queue/a b",
        "STOMP_HEADER_MESSAGE_ID=m-1",
        "STOMP_HEADER_X_Y_Z=a b",
    ]


async def test_shell() -> None:
    """A shell gets the words as they are, data by environment and standard input only."""
    words = ("echo $STOMP_MESSAGE_ID {destination};", "cat")
    command = Command(words, shell=True, output="keep")  # noqa: S604 - it is what is tested
    outcome = await Processes(command)(job(b"$(id)")[0])
    assert outcome.output == b"m-1 {destination}\n$(id)"


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("exit 75", Outcome("again", "exit 75", "last", 75)),
        ("exit 1", Outcome("failed", "exit 1", "last", 1)),
        ("kill -KILL $$", Outcome("failed", "SIGKILL", "last")),
        ("kill -35 $$", Outcome("failed", "signal 35", "last")),
    ],
)
async def test_how_it_ends(words: str, outcome: Outcome) -> None:
    """75 is another time, all but 0 a failure; the last line of its complaints is the reason."""
    assert await run("sh", "-c", f"echo first >&2; echo last >&2; echo >&2; {words}") == outcome


async def test_complaints() -> None:
    """What it writes to standard error is passed on by lines, harmless, also the unfinished one."""
    work, told = job()
    text = "import os; os.write(2, b'a\\x1b[31m\\r\\n\\xff' + b'x' * 9000 + b'\\nend')"
    await Processes(Command(python(text)))(work)
    lines = [event.text for event in told]
    assert lines[0] == "a\\x1b[31m"
    assert lines[1] == "\\xff" + "x" * 8191
    assert lines[-1] == "end"
    assert {(event.kind, event.job) for event in told} == {("output", work)}


async def test_quiet() -> None:
    """Complaints are dropped on request, but for the reason."""
    work, told = job()
    command = Command(("sh", "-c", "echo why >&2; exit 3"), quiet=True)
    assert (await Processes(command)(work)).reason == "why"
    assert told == []


async def test_a_body_that_nobody_reads() -> None:
    """A command need not read its input."""
    assert (await run("true", body=b"x" * 2**20)).ending == "done"


async def test_too_long_an_answer() -> None:
    """An answer has 16 MiB at most: more fails the job."""
    assert (await run("head", "-c", "16M", "/dev/zero")).ending == "done"
    outcome = await run("head", "-c", "17M", "/dev/zero")
    assert (outcome.ending, outcome.how) == ("failed", "too much output")
    assert outcome.output == b""


async def test_what_it_leaves_behind_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command has ended when it has, though something that it started holds its pipes."""
    monkeypatch.setattr(child, "_REST", 0.05)
    with trio.fail_after(20):
        outcome = await run("sh", "-c", "sleep 60 & echo $!")
    assert (outcome.ending, outcome.status) == ("done", 0)


async def test_group_of_its_own() -> None:
    """Ctrl-C at the terminal, which goes to the worker's group, does not reach it."""
    outcome = await run(*python("import os; print(os.getpgrp() == os.getpid())"))
    assert outcome.output == b"True\n"


async def cancelled(words: str, tmp_path: Path, *, grace: float = 10.0) -> None:
    """Run a shell's words, break them off when they say so, and wait for their end."""
    work, told = job()
    processes = Processes(Command(("sh", "-c", words, "sh", str(tmp_path)), grace=grace))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processes, work)
            await ready(told)
            nursery.cancel_scope.cancel()


async def ready(told: list[Event]) -> None:
    """Wait until a job has written a line to standard error."""
    while not told:  # noqa: ASYNC110 - it is no task of ours that we wait for
        await trio.sleep(0.01)


async def test_cancelled(tmp_path: Path) -> None:
    """It is asked by SIGTERM to end, and may take its time for that."""
    await cancelled(
        "trap 'echo done > $1/out; exit' TERM; echo ready >&2; while :; do sleep 0.02; done",
        tmp_path,
    )
    assert (tmp_path / "out").read_text() == "done\n"


async def test_cancelled_and_deaf(tmp_path: Path) -> None:
    """What does not end within the grace is killed, with all that it has started."""
    await cancelled(
        "trap '' TERM; sleep 1000 & echo $! > $1/pid; echo ready >&2; wait; sleep 1000",
        tmp_path,
        grace=0.1,
    )
    assert is_gone(int((tmp_path / "pid").read_text()))


async def test_what_it_started_goes_with_it(tmp_path: Path) -> None:
    """The signal reaches its children, too."""
    await cancelled("sleep 1000 & echo $! > $1/pid; echo ready >&2; wait", tmp_path)
    assert is_gone(int((tmp_path / "pid").read_text()))


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; one that nobody has waited for has, too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


async def test_hurry() -> None:
    """Nobody has to wait for the grace."""
    words = "trap '' TERM; echo ready >&2; while :; do sleep 0.02; done"
    work, told = job()
    processes = Processes(Command(("sh", "-c", words), grace=1000.0))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(processes, work)
            await ready(told)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)
                processes.hurry()


async def test_not_startable(tmp_path: Path) -> None:
    """A program that the system does not start fails the job."""
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o700)
    outcome = await run(str(program))
    assert (outcome.ending, outcome.how) == ("failed", "not started")
    assert outcome.reason == "no such file or directory"


def test_commands_that_cannot_be(tmp_path: Path) -> None:
    """A missing program is noticed before anything happens, and so are contradictions."""
    with pytest.raises(CommandError, match="no-such-program is not there"):
        Command(("no-such-program",))
    plain = tmp_path / "plain"
    plain.touch(0o600)
    with pytest.raises(CommandError, match="is no program that may be run"):
        Command((str(plain),))
    with pytest.raises(UsageError, match="there is no command"):
        Command(())
    with pytest.raises(UsageError, match="a shell gets no message as an argument"):
        Command(("cat",), shell=True, input="arg")  # noqa: S604 - it is refused
    with pytest.raises(UsageError, match="is for a body that is a file"):
        Command(("cat", "{file}"))
    with pytest.raises(UsageError, match="input is one of stdin, file, arg"):
        Command(("cat",), input="pipe")  # type: ignore[arg-type] # what mypy would not let pass
