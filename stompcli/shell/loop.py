"""The interactive shell: prompt, line, command, and what goes on beside them."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from stompcli import table
from stompcli.exitcodes import ExitCode
from stompcli.lines import Lines
from stompcli.options import Settings
from stompcli.output import StdoutClosed
from stompcli.running import supervise
from stompcli.session import Session
from stompcli.shell.display import Display
from stompcli.shell.history import History, place
from stompcli.shell.prompt import Prompt, View
from stompcli.shell.screen import Screen, ShellOut
from stompcli.shell.suggest import Known
from stompcli.shell.toolbar import State, signature

# Seconds between two looks at the session, and the shortest time between two.
_LOOK = 1.0
_SOON = 0.1
_RATE = 20


async def run_shell(settings: Settings) -> ExitCode:
    """Run the shell at the terminal until its user leaves; return the exit code."""
    screen = Screen()
    out = ShellOut(settings, screen)
    session = Session(settings, out, in_shell=True, interactive=True)
    return await supervise(session, Shell(session, screen).run)


class Shell:
    """The loop of the shell. It owns the prompt, and what it may look at."""

    def __init__(self, session: Session, screen: Screen) -> None:
        self._session = session
        self._screen = screen
        self._lines = Lines(session)
        self._history = History(place())
        self._display = Display(_RATE)
        # Set when there is something new to show in the toolbar.
        self._news = trio.Event()
        # Cancelled to end the command that is running.
        self._command: trio.CancelScope | None = None
        self._view = View(on_help=_help)
        self._prompt = Prompt(screen, self._history, self._view, color=_has_color())

    async def run(self) -> ExitCode:
        """Connect, run lines until the user leaves, and return the exit code."""
        session = self._session
        await self._lines.greet()
        session.ask = self._prompt.answer
        session.show = self._show
        session.on_signal = self._signalled
        if self._history.complaint:
            session.out.aside(self._history.complaint)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lines.watch, self._renew)
            nursery.start_soon(self._keep_looking)
            try:
                await self._lines.listen()
                await self._run_lines()
            except StdoutClosed:
                session.stop(ExitCode.DONE)
            nursery.cancel_scope.cancel()
        await self._screen.drain()
        return self._lines.code

    async def _run_lines(self) -> None:
        session = self._session
        while not session.leaving:
            self._look()
            line = await self._prompt.line()
            if line is None:
                if await self._may_leave():
                    return
                continue
            self._history.add(line)
            await self._interruptible(partial(self._lines.run, line))

    async def _interruptible(self, work: Callable[[], object]) -> None:
        """Do some work that Ctrl-C ends."""
        with trio.CancelScope() as self._command:
            await work()  # type: ignore[misc] # it is a coroutine function
        self._command = None

    def _signalled(self, code: ExitCode) -> bool:
        """At a SIGINT end the command that is running, if one is: the shell goes on."""
        if code is not ExitCode.INTERRUPTED:
            return False
        if self._command is not None:
            self._command.cancel()
        return True

    async def _may_leave(self) -> bool:
        """Ask whether to leave what is open, if anything is; Ctrl-D once more means yes."""
        session = self._session
        unacked = sum(not message.settled for _, message in session.received.unsettled)
        open_ones = []
        if session.transaction is not None:
            open_ones.append(f"transaction {session.transaction.id} is open")
        if unacked:
            open_ones.append(
                f"{unacked} messages are" if unacked > 1 else "1 message is not acknowledged"
            )
        if not open_ones:
            return True
        answer = await self._prompt.answer(f"{' and '.join(open_ones)}; leave? [y/N] ")
        return answer is None or answer.strip().lower() in ("y", "yes")

    # What is shown.

    def _show(self, number: int, text: bytes) -> None:
        shown = self._display.feed(trio.current_time(), number, text, room=not self._screen.is_full)
        if shown:
            self._screen.put(shown)
        self._news.set()

    def _renew(self) -> None:
        self._news.set()

    async def _keep_looking(self) -> None:
        """Show what the session is, once a second and when something happens."""
        while True:
            due = self._display.due
            now = trio.current_time()
            with trio.move_on_after(_LOOK if due is None else min(_LOOK, max(due - now, 0))):
                await self._news.wait()
            self._news = trio.Event()
            said = self._display.tick(trio.current_time())
            if said:
                self._screen.put(said)
            self._look()
            await self._screen.drain()
            await trio.sleep(_SOON)

    def _look(self) -> None:
        """Let the prompt show what the session is now."""
        self._view.state = self._state()
        self._view.known = self._known()
        self._prompt.redraw()

    def _state(self) -> State:
        session = self._session
        link = session.held
        state = State(prompt=self._lines.prompt(), hidden=self._display.hidden)
        if link is None or session.lost is not None:
            return state
        client = link.client
        beats_in, beats_out = link.beats()
        transaction = session.transaction
        return replace(
            state,
            connected=True,
            server=client.server,
            version=client.version,
            subscriptions=len(client.subscriptions),
            unacked=sum(not message.settled for _, message in session.received.unsettled),
            last=session.received.count,
            received=session.received.count,
            sent=client.counters.messages_sent,
            transaction=f"{transaction.id} {session.transaction_frames}" if transaction else "",
            received_at=session.traffic.received_at,
            sent_at=session.traffic.sent_at,
            beats_in=beats_in,
            beats_out=beats_out,
        )

    def _known(self) -> Known:
        session = self._session
        client = session.client
        subscriptions = client.subscriptions if client is not None else []
        unacked = [number for number, one in session.received.unsettled if not one.settled]
        return Known(
            destinations=tuple(dict.fromkeys(one.destination for one in subscriptions)),
            subscriptions=tuple(
                word for one in subscriptions for word in (one.destination, one.id)
            ),
            unacked=tuple(reversed(unacked)),
        )


def _help(typed: str) -> str:
    """Return what F1 says of a line: the syntax of its command, or which commands there are."""
    word = typed.split(maxsplit=1)[0] if typed.split() else ""
    record = table.find(word)
    if record is None or not record.in_shell:
        return "help lists the commands, help COMMAND explains one"
    parser = record.load_parser()
    return f"{signature(record)}\n  {record.summary}. {parser.help}"


def _has_color() -> bool:
    return not os.environ.get("NO_COLOR")
