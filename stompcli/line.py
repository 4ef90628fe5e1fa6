"""The plain line reader: commands from a terminal without any of its tricks, a pipe or a file.

It writes no escape sequence, ever. On a terminal it prompts, messages start on lines of their own
and the prompt is printed again after them. Otherwise it stops at the first command that fails, and
before it leaves it waits until no more messages come.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import click
import trio

from stompcli import table, words
from stompcli.client import BrokerError, SessionEndedError, StompError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.main import in_words, unknown
from stompcli.options import AFTER, SHELL, Settings
from stompcli.output import Out, StdoutClosed
from stompcli.reading import StandardInput, Text, pieces
from stompcli.render import frame_lines, visible_body, visible_line
from stompcli.running import supervise
from stompcli.session import Session

# How long messages that follow a command at once may take to be shown before the next prompt.
_SETTLE = 0.03
_QUIET = 0.05


async def read_lines(
    settings: Settings,
    out: Out,
    script: bytes | None,
    interactive: bool,  # noqa: FBT001 - by trio.run
) -> ExitCode:
    """Run the commands of ``script``, or of standard input; return the exit code."""
    session = Session(settings, out, in_shell=True, interactive=interactive)
    source = StandardInput() if script is None else Text(script)
    async with aclosing(pieces(source, b"\n")) as lines:
        return await supervise(session, Reader(session, lines).run)


class Reader:
    """The loop: prompt, line, command. It owns the line that the terminal's cursor stands on."""

    def __init__(self, session: Session, lines: AsyncGenerator[bytes, None]) -> None:
        self._session = session
        self._out = session.out
        self._lines = lines
        # What the prompt on the screen says while a line is awaited there.
        self._standing: Callable[[], str] | None = None
        self._input = trio.CancelScope()
        self._disturbed = trio.lowlevel.ParkingLot()
        # Why the connection ended, once that was seen.
        self._lost: SessionEndedError | None = None
        # The exit code of the first command that failed.
        self._code = ExitCode.DONE

    async def run(self) -> ExitCode:
        """Connect, run the lines, and return the exit code."""
        session, out = self._session, self._out
        client = await session.link()
        settings = out.settings
        if not (settings.quiet or settings.json or settings.raw or settings.format):
            await out.write(frame_lines("CONNECTED", client.connected, tty=out.tty))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            if session.interactive:
                session.ask = self._ask
                out.on_disturbed = self._disturbed.unpark_all
                nursery.start_soon(self._prompt_again)
            try:
                await self._run_lines()
            except StdoutClosed:
                session.stop(ExitCode.DONE)
            nursery.cancel_scope.cancel()
        return self._code

    async def _run_lines(self) -> None:
        session = self._session
        for destination in session.settings.listen:
            if not await self._run_line(f"subscribe -- {words.quoted(destination)}"):
                return
        while not session.leaving:
            line = await self._next_line()
            if line is None:
                break
            if not await self._run_line(line):
                return
        self._out.fresh_line()
        if not session.interactive:
            await self._linger()

    async def _next_line(self) -> str | None:
        """Return the next line, None if there is none or nobody is there to run it for."""
        session = self._session
        if session.interactive:
            if session.client is not None and session.client.subscriptions:
                await trio.sleep(_SETTLE)
            return await self._typed(self._prompt)
        if self._lost is not None:
            self._fail(of(self._lost))
            return None
        line = await self._typed(None)
        if self._input.cancelled_caught and self._lost is not None:
            self._fail(of(self._lost))
        return line

    async def _typed(self, prompt: Callable[[], str] | None) -> str | None:
        """Return what is typed behind a prompt, None at the end of input."""
        out = self._out
        if prompt is not None:
            out.prompt(prompt())
        self._standing = prompt
        raw: bytes | None = None
        with trio.CancelScope() as self._input:
            try:
                raw = await anext(self._lines)
            except StopAsyncIteration:
                raw = None
        self._standing = None
        if raw is None:
            return None
        out.answered()
        return raw.decode("utf-8", "surrogateescape").removesuffix("\r")

    async def _ask(self, question: str) -> str | None:
        """Put a question of a command to whoever types; see `Session.ask`."""
        answer = await self._typed(lambda: question)
        if answer is None:
            self._out.fresh_line()
        return answer

    def _prompt(self) -> str:
        session = self._session
        transaction = session.transaction
        mark = f" [{transaction.id} {session.transaction_frames}]" if transaction else ""
        down = "(disconnected) " if self._lost is not None else ""
        return f"{down}{visible_line(session.label())}{mark}> "

    async def _run_line(self, line: str) -> bool:
        """Run one line; return whether to go on."""
        session = self._session
        try:
            await self._execute(line)
        except SessionEndedError as error:
            if session.interactive:
                if self._lost is not None:
                    self._out.aside(f"not connected to {session.label()}")
                # Else the task that watches the connection says why it ended.
                await trio.lowlevel.checkpoint()
                return True
            self._fail(of(error))
            return False
        except StompError as error:
            self._fail(of(error))
        except Failure as failure:
            self._fail(failure)
        else:
            return True
        return session.interactive or session.settings.keep_going

    def _fail(self, failure: Failure) -> None:
        self._out.failure(failure, prefix="")
        if self._code is ExitCode.DONE and not self._session.interactive:
            self._code = failure.code

    async def _execute(self, line: str) -> None:
        text = line.strip(" \t")
        if not text or text.startswith("#"):
            return
        word, rest = words.split(line)
        record = table.find(word)
        if record is None or not record.in_shell:
            raise unknown(word)
        parser = record.load_parser()
        args = words.with_body(rest, parser) if record.verbatim else words.arguments(rest)
        try:
            params = parser.make_context(record.name, args, obj=SHELL).params
        except click.MissingParameter:
            raise usage(f"Expecting: {record.usage}") from None
        except click.UsageError as error:
            raise in_words(error) from None
        except click.exceptions.Exit:
            # It was asked for its help, and has printed it.
            return
        for name, value in params.items():
            if name.startswith(AFTER) and value not in (None, (), 0, False):
                option = name.removeprefix(AFTER).replace("_", "-")
                raise usage(f"--{option} is for the whole session; give it when you start stomp")
        if record.verbatim and not (
            params["body"] or params["body_file"] or params.get("size") is not None
        ):
            raise usage(f"Expecting: {record.usage}")
        await record.load_handler()(self._session, params, self._out)

    async def _linger(self) -> None:
        """Wait until no message came for a while, if there are any to come."""
        session = self._session
        client = session.client
        if client is None or not client.subscriptions:
            return
        started = trio.current_time()
        while self._lost is None:
            due = max(started, session.received.last_at) + session.settings.linger
            if due <= trio.current_time():
                return
            await trio.sleep_until(due)

    # Beside the loop.

    async def _watch(self) -> None:
        """Notice the end of the connection, also while nothing is typed."""
        session, out = self._session, self._out
        client = await session.link()
        error = await client.wait_ended()
        if error is None:
            return
        session.errors += 1
        session.transaction = None
        if not session.interactive:
            self._lost = error
            self._input.cancel()
            return
        if isinstance(error, BrokerError):
            try:
                await self._show_error(error)
            except StdoutClosed:
                session.stop(ExitCode.DONE)
        self._lost = error
        out.aside(
            "lost connection" if isinstance(error, BrokerError) else f"lost connection: {error}"
        )

    async def _show_error(self, error: BrokerError) -> None:
        out = self._out
        await out.write(frame_lines("ERROR", error.headers, tty=out.tty))
        if error.body:
            body = visible_body(error.body) if out.tty else error.detail
            await out.line(body.rstrip("\n"))

    async def _prompt_again(self) -> None:
        """Print the prompt again when something was written over it, and all is quiet."""
        while True:
            await self._disturbed.park()
            seen = math.nan
            while seen != self._out.writes:
                seen = self._out.writes
                await trio.sleep(_QUIET)
            if self._standing is not None:
                self._out.prompt(self._standing())
