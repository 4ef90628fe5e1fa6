"""The plain line reader: commands from a terminal without any of its tricks, a pipe or a file.

It writes no escape sequence, ever. On a terminal it prompts, messages start on lines of their own
and the prompt is printed again after them. Otherwise it stops at the first command that fails, and
before it leaves it waits until no more messages come.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import trio

from stompcli.client.beside import tasks_beside
from stompcli.exitcodes import ExitCode
from stompcli.failure import StdoutClosed, of
from stompcli.history import History, place
from stompcli.lines import Lines
from stompcli.output import Out
from stompcli.reading import StandardInput, Text, pieces
from stompcli.running import supervise
from stompcli.session import Session
from stompcli.settings import Settings

# How long messages that follow a command at once may take to be shown before the next prompt.
_SETTLE = 0.03
_QUIET = 0.05
_CONTINUED = "...  "
# The two characters, or what Ctrl-@ types.
_ENDS = ("^@", "\0")


async def read_lines(
    settings: Settings,
    out: Out,
    script: bytes | None,
    interactive: bool,  # noqa: FBT001 - by trio.run
) -> ExitCode:
    """Run the commands of ``script``, or of standard input; return the exit code."""
    session = Session(settings, out, in_shell=True, interactive=interactive)
    source = StandardInput() if script is None else Text(script)
    reader = Reader(session, pieces(source, b"\n"))
    async with aclosing(reader):
        return await supervise(session, reader.run)


class Reader:
    """The loop: prompt, line, command. It owns the line that the terminal's cursor stands on."""

    def __init__(self, session: Session, lines: AsyncGenerator[bytes, None]) -> None:
        self._session = session
        self._out = session.out
        self._typing = lines
        self._lines = Lines(session)
        # What the prompt on the screen says while a line is awaited there.
        self._standing: Callable[[], str] | None = None
        self._input = trio.CancelScope()
        self._disturbed = trio.lowlevel.ParkingLot()
        # Whether there was any line.
        self._run_any = False
        self._history = History(None)

    async def aclose(self) -> None:
        """Read no more."""
        await self._typing.aclose()

    async def run(self) -> ExitCode:
        """Connect, run the lines, and return the exit code."""
        session, out = self._session, self._out
        if session.interactive:
            self._history = History(place())
            self._lines.prefer(self._history)
        await self._lines.greet()
        async with tasks_beside() as nursery:
            nursery.start_soon(self._lines.watch, self._lost)
            if session.interactive:
                session.ask = self._ask
                session.compose = self._compose
                session.type = self._type
                out.on_disturbed = self._disturbed.unpark_all
                nursery.start_soon(self._prompt_again)
            try:
                await self._run_lines()
            except StdoutClosed:
                session.stop(ExitCode.DONE)
        return self._lines.code

    async def _run_lines(self) -> None:
        session = self._session
        if not (await self._lines.connected() and await self._lines.listen()):
            return
        while not session.leaving:
            line = await self._next_line()
            if line is None:
                if session.interactive and not await self._lines.may_leave():
                    continue
                break
            self._run_any = True
            if session.interactive:
                self._history.add(line)
            if not await self._lines.run(line):
                return
        self._out.fresh_line()
        if not session.interactive and not await self._stay():
            await self._linger()

    async def _next_line(self) -> str | None:
        """Return the next line, None if there is none or nobody is there to run it for."""
        session = self._session
        if session.interactive:
            if session.client is not None and session.client.subscriptions:
                await trio.sleep(_SETTLE)
            return await self._typed(self._lines.prompt)
        if session.lost is not None:
            self._lines.fail(of(session.lost))
            return None
        line = await self._typed(None)
        if self._input.cancelled_caught and session.lost is not None:
            self._lines.fail(of(session.lost))
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
                raw = await anext(self._typing)
            except StopAsyncIteration:
                if self._session.interactive:
                    # At a terminal Ctrl-D ends one answer, and others may follow.
                    self._typing = pieces(StandardInput(), b"\n")
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

    async def _stay(self) -> bool:
        """With --listen and nothing else to do, stay until something ends it."""
        session = self._session
        settings = session.settings
        if not settings.listen or settings.file is not None or self._run_any:
            return False
        with trio.CancelScope() as self._input:
            if session.lost is None:
                await trio.sleep_forever()
        if session.lost is not None:
            self._lines.fail(of(session.lost))
        return True

    async def _type(self, prompt: str) -> str | None:
        """Return a line typed behind another prompt; see `Session.type`."""
        line = await self._typed(lambda: prompt)
        if line is None:
            self._out.fresh_line()
        return line

    async def _compose(self) -> str | None:
        """Have a text of several lines typed, up to ``^@``; None at the end of input."""
        lines: list[str] = []
        while True:
            line = await self._typed(lambda: _CONTINUED)
            if line is None:
                self._out.fresh_line()
                return None
            for end in _ENDS:
                if line.endswith(end):
                    return "\n".join([*lines, line.removesuffix(end)])
            lines.append(line)

    async def _linger(self) -> None:
        """Wait until no message came for a while, if there are any to come."""
        session = self._session
        client = session.client
        if client is None or not client.subscriptions:
            return
        started = trio.current_time()
        while session.lost is None:
            due = max(started, session.received.last_at) + session.settings.linger
            if due <= trio.current_time():
                return
            await trio.sleep_until(due)

    # Beside the loop.

    def _lost(self) -> None:
        """The connection has ended: a script gets no further."""
        if not self._session.interactive:
            self._input.cancel()

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
