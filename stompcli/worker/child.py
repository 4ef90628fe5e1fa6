"""Jobs that are processes: a program is started for each message.

The message reaches it by standard input, a file or an argument, by its environment, and by
arguments that name a header: each value is one word, and no shell ever sees it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Literal

import trio

from stompcli.client import Message, UsageError
from stompcli.render import visible_line
from stompcli.worker.job import Job
from stompcli.worker.verdict import Outcome

Input = Literal["stdin", "file", "arg"]
INPUTS: Final = ("stdin", "file", "arg")

# EX_TEMPFAIL of sysexits.h: not now, another time.
_TEMPORARY: Final = 75
# What an answer may measure, a body as an argument, a header in the environment.
_MOST_OUTPUT: Final = 16 * 2**20
_MOST_ARGUMENT: Final = 128 * 2**10
_MOST_HEADER: Final = 64 * 2**10
# What is kept of a line of complaint.
_LINE: Final = 8 * 2**10
# Seconds for what a process that has ended left in its pipes: others may hold them open.
_REST: Final = 1.0
# How often it is looked whether a group of processes has gone.
_POLL: Final = 0.05
_READ: Final = 64 * 2**10

_HEADER: Final = "{header:"


class CommandError(UsageError):
    """A command that cannot be started at all: it is not there, or is no program."""


@dataclass(frozen=True)
class Command:
    """The program of a worker, as `subprocess` would start it, and how a message gets to it.

    ``output`` says what is done with its standard output: passed through, kept as the answer.
    Raises `UsageError` for what contradicts itself, `CommandError` if there is no such program.
    """

    words: tuple[str, ...]
    input: Input = "stdin"
    # Whether ``sh -c`` runs it; then nothing is put into it.
    shell: bool = False
    env_headers: bool = False
    output: Literal["pass", "keep"] = "pass"
    # Whether its standard error is dropped, but for the last line.
    quiet: bool = False
    # Seconds from SIGTERM to SIGKILL.
    grace: float = 10.0

    def __post_init__(self) -> None:
        if not self.words or not self.words[0]:
            raise UsageError("there is no command")
        if self.input not in INPUTS:
            raise UsageError(f'input is one of {", ".join(INPUTS)}, not "{self.input}"')
        if self.shell:
            if self.input == "arg":
                raise UsageError("a shell gets no message as an argument: it could be a command")
            return
        if "{file}" in self.words and self.input != "file":
            raise UsageError('{file} is for a body that is a file; say so by the input "file"')
        if shutil.which(self.words[0]) is None:
            there = os.path.exists(self.words[0])  # noqa: PTH110 - any name that the user gives
            what = "is no program that may be run" if there else "is not there"
            raise CommandError(f"{self.words[0]} {what}")

    def arguments(self, message: Message, file: bytes) -> list[bytes]:
        """Return the words to start it with for this message; ``file`` is where its body is.

        Raises `ValueError` if the body, or a header, cannot be an argument.
        """
        if self.shell:
            return [b"sh", b"-c", os.fsencode(" ".join(self.words))]
        first, *rest = self.words
        words = [os.fsencode(first), *(_filled(word, message, file) for word in rest)]
        if self.input == "arg":
            words.append(_as_argument(message.body))
        return words

    def environment(self, job: Job, file: bytes) -> dict[str, str]:
        """Return the environment to start it with."""
        message = job.message
        told = {
            "DESTINATION": message.destination,
            "MESSAGE_ID": message.id,
            "ATTEMPT": str(job.attempt),
            "WORKER": job.worker,
        }
        made = dict(os.environb)
        if self.env_headers:
            made.update(_headers(message.headers))
        for name, value in told.items():
            made[b"STOMP_" + name.encode()] = _octets(value).replace(b"\0", b"")
        if file:
            made[b"STOMP_BODY_FILE"] = file
        return {os.fsdecode(name): os.fsdecode(value) for name, value in made.items()}


class Processes:
    """Does jobs by starting a command for each."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._grace = command.grace
        # What waits for processes to end by themselves.
        self._graces: set[trio.CancelScope] = set()

    def hurry(self) -> None:
        """Kill at once what was asked to end."""
        self._grace = 0.0
        for scope in self._graces:
            scope.cancel()

    async def __call__(self, job: Job) -> Outcome:
        """Run the command for a message, and return what came of it.

        Is it cancelled then the command, and all that it has started in its group, are ended.
        """
        command = self._command
        with ExitStack() as stack:
            try:
                file = b""
                if command.input == "file":
                    file = await trio.to_thread.run_sync(_written, job.message.body)
                    stack.callback(_remove, file)
                arguments = command.arguments(job.message, file)
                process = await _start(arguments, command.environment(job, file), command)
            except OSError as error:
                words = os.strerror(error.errno) if error.errno else str(error)
                return Outcome("failed", "not started", words.lower())
            except ValueError as error:
                return Outcome("failed", "not started", str(error))
            return await self._see_through(job, process)

    async def _see_through(self, job: Job, process: trio.Process) -> Outcome:
        pipes = _Pipes(job, process, quiet=self._command.quiet)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipes.serve)
            try:
                await process.wait()
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await self._terminate(process)
                raise
            finally:
                await pipes.finish()
        return _outcome(job, process, pipes)

    async def _terminate(self, process: trio.Process) -> None:
        """End a process and its group: SIGTERM, and SIGKILL after the grace."""
        if _signal(process, signal.SIGTERM):
            with trio.move_on_after(self._grace) as scope:
                self._graces.add(scope)
                try:
                    while _signal(process, 0):
                        if process.poll() is not None:
                            _bury(process)
                        await trio.sleep(_POLL)
                finally:
                    self._graces.discard(scope)
            _signal(process, signal.SIGKILL)
        await process.wait()


class _Pipes:
    """The pipes of one process: its body in, its complaints and its answer out."""

    def __init__(self, job: Job, process: trio.Process, *, quiet: bool) -> None:
        self._job = job
        self._process = process
        self._quiet = quiet
        # No cancellation of the job reaches them: the last words are wanted.
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()
        self.output = b""
        # True if it put out more than an answer may measure.
        self.flooded = False

    async def serve(self) -> None:
        """Feed and read until the pipes are closed, or `finish`."""
        process = self._process
        with self._scope:
            async with trio.open_nursery() as nursery:
                if process.stdin is not None:
                    nursery.start_soon(self._feed, process.stdin)
                if process.stderr is not None:
                    nursery.start_soon(self._hear, process.stderr)
                if process.stdout is not None:
                    nursery.start_soon(self._keep, process.stdout)
        self._done.set()

    async def finish(self) -> None:
        """Read what is left; what others still hold open is given up."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_REST):
                await self._done.wait()
            self._scope.cancel()
            await self._done.wait()
        process = self._process
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await trio.aclose_forcefully(stream)

    async def _feed(self, stream: trio.abc.SendStream) -> None:
        try:
            async with stream:
                await stream.send_all(self._job.message.body)
        except trio.BrokenResourceError:
            # It has read as much as it wanted to.
            return

    async def _hear(self, stream: trio.abc.ReceiveStream) -> None:
        rest = b""
        async with stream:
            while data := await stream.receive_some(_READ):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._complain(line)
                while len(rest) >= _LINE:
                    self._complain(rest[:_LINE])
                    rest = rest[_LINE:]
        if rest:
            self._complain(rest)

    def _complain(self, line: bytes) -> None:
        text = visible_line(line[:_LINE].removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        self._job.complain(text, aloud=not self._quiet)

    async def _keep(self, stream: trio.abc.ReceiveStream) -> None:
        parts: list[bytes] = []
        size = 0
        async with stream:
            while data := await stream.receive_some(_READ):
                size += len(data)
                if size > _MOST_OUTPUT:
                    # The process gets no further: there is nobody to read it.
                    self.flooded = True
                    return
                parts.append(bytes(data))
        self.output = b"".join(parts)


def _outcome(job: Job, process: trio.Process, pipes: _Pipes) -> Outcome:
    """Return what a process that has ended came to."""
    status = process.returncode
    assert status is not None  # noqa: S101 - for the type checker; it has ended
    if pipes.flooded:
        return Outcome(
            "failed", "too much output", f"an answer has {_MOST_OUTPUT:,} octets at most"
        )
    if status < 0:
        return Outcome("failed", signal_name(-status), job.last_words)
    how = f"exit {status}"
    if status == 0:
        return Outcome("done", how, status=0, output=pipes.output)
    ending: Literal["again", "failed"] = "again" if status == _TEMPORARY else "failed"
    return Outcome(ending, how, job.last_words, status)


def signal_name(number: int) -> str:
    """Return what a signal is called, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _start(
    arguments: list[bytes], environment: dict[str, str], command: Command
) -> trio.Process:
    """Start a process in a group of its own, so that Ctrl-C at a terminal does not reach it.

    Raises `OSError` if the system refuses.
    """
    with trio.CancelScope(shield=True):
        # Cancelled in here it would run on, and nobody would know it.
        process = await trio.lowlevel.open_process(
            arguments,
            stdin=subprocess.PIPE if command.input == "stdin" else subprocess.DEVNULL,
            stdout=subprocess.PIPE if command.output == "keep" else None,
            stderr=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
    return process  # noqa: RET504 - the scope could swallow a return, for all mypy knows


def _signal(process: trio.Process, number: int) -> bool:
    """Send a signal to a process and all that it has started; return whether there is any left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # What is left of it has become somebody else, who must not be signalled.
        return False
    return True


def _bury(process: trio.Process) -> None:
    """Take the end of what a process has left behind, if that has become ours.

    As the first process of a container a worker inherits the orphans; while nobody has waited for
    them they count as being there.
    """
    try:
        while os.waitpid(-process.pid, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


# How a message becomes arguments, environment, a file.


def _filled(word: str, message: Message, file: bytes) -> bytes:
    """Return a word of the command, or what the message has for it if it is a field."""
    if word == "{destination}":
        value = message.destination
    elif word == "{message-id}":
        value = message.id
    elif word == "{file}":
        return file
    elif word.startswith(_HEADER) and word.endswith("}"):
        value = message.headers.get(word[len(_HEADER) : -1], "")
    else:
        return os.fsencode(word)
    if "\0" in value:
        raise ValueError(f"{word} has a NUL, which no argument can have")
    return _octets(value)


def _as_argument(body: bytes) -> bytes:
    """Return a body as an argument; raises `ValueError` if it cannot be one."""
    if len(body) >= _MOST_ARGUMENT:
        raise ValueError(f"a body of {len(body):,} octets is too long for an argument")
    if b"\0" in body:
        raise ValueError("the body has a NUL, which no argument can have")
    try:
        body.decode()
    except UnicodeDecodeError:
        raise ValueError("the body is no UTF-8, as an argument has to be") from None
    return body


def _headers(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return headers as variables of the environment; the first of two with one name counts."""
    made: dict[bytes, bytes] = {}
    for name, value in headers.items():
        octets = _octets(value)
        if len(octets) <= _MOST_HEADER and b"\0" not in octets:
            letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
            made.setdefault(b"STOMP_HEADER_" + letters.upper().encode(), octets)
    return made


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _written(body: bytes) -> bytes:
    """Write a body into a file that nobody else can read, and return its path."""
    number, path = tempfile.mkstemp(prefix="stomp-body-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(body)
    except OSError:
        _remove(os.fsencode(path))
        raise
    return os.fsencode(path)


def _remove(path: bytes) -> None:
    """Remove the file of a body, unless the command has done so."""
    try:
        os.unlink(path)  # noqa: PTH108 - of octets
    except FileNotFoundError:
        return
