"""The interactive shell: prompt, line, command, and what goes on beside them."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from stompcli import color, table
from stompcli.client.beside import tasks_beside
from stompcli.exitcodes import ExitCode
from stompcli.failure import StdoutClosed
from stompcli.history import History, place
from stompcli.lines import Lines
from stompcli.preferences import values
from stompcli.running import supervise
from stompcli.session import Session
from stompcli.settings import Settings
from stompcli.shell.destinations import Destinations
from stompcli.shell.display import Display
from stompcli.shell.prompt import Prompt, View
from stompcli.shell.screen import Screen, ShellOut
from stompcli.shell.suggest import Known
from stompcli.shell.toolbar import State, signature

# Seconds between two looks at the session, and the shortest time between two.
_LOOK = 1.0
_SOON = 0.1


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
        self._lines.prefer(self._history)
        self._destinations = Destinations(self._history.lines)
        wanted = session.preferences
        self._display = Display(wanted.rate)
        # Set when there is something new to show in the toolbar.
        self._news = trio.Event()
        # Cancelled to end the command that is running.
        self._command: trio.CancelScope | None = None
        self._view = View(on_help=_help, on_headers=self._turn_headers, on_wire=self._turn_wire)
        self._prompt = Prompt(screen, self._history, self._view)
        self._other_change = wanted.on_change
        wanted.on_change = self._changed
        self._changed("")

    async def run(self) -> ExitCode:
        """Connect, run lines until the user leaves, and return the exit code."""
        session = self._session
        await self._lines.greet()
        session.ask = self._prompt.answer
        session.compose = self._prompt.body
        session.type = self._prompt.raw_line
        session.show = self._show
        session.on_signal = self._signalled
        async with tasks_beside() as nursery:
            nursery.start_soon(self._lines.watch, self._renew)
            nursery.start_soon(self._keep_looking)
            nursery.start_soon(self._destinations.keep_asking, session)
            try:
                await self._lines.connected()
                await self._lines.listen()
                await self._run_lines()
            except StdoutClosed:
                session.stop(ExitCode.DONE)
        await self._screen.drain()
        return self._lines.code

    def _changed(self, name: str) -> None:
        """Do as the settings say."""
        wanted, view = self._session.preferences, self._view
        self._display.rate = wanted.rate
        view.toolbar = wanted.toolbar
        view.vi = wanted.keys == "vi"
        view.editor = wanted.editor
        # What was said at the start is said more explicitly.
        said = self._session.settings.color
        when = wanted.color if said == "auto" else said
        view.color = color.is_wanted(when, tty=True, environ=os.environ)
        self._other_change(name)

    # In the thread of the prompt: F2 and F4.

    def _turn_headers(self) -> None:
        out = self._session.out
        out.full = not out.full
        self._prompt.say(f"headers {'full' if out.full else 'short'}")

    def _turn_wire(self) -> None:
        session = self._session
        session.wire = "on" if session.wire == "off" else "off"
        self._prompt.say(f"wire {session.wire}")

    async def _run_lines(self) -> None:
        session = self._session
        while not session.leaving:
            self._look()
            line = await self._prompt.line()
            if line is None:
                if await self._lines.may_leave():
                    return
                continue
            self._history.add(line)
            self._destinations.use(line)
            await self._interruptible(partial(self._lines.run, line))

    async def _interruptible(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work that Ctrl-C ends."""
        with trio.CancelScope() as self._command:
            await work()
        if self._command.cancelled_caught:
            # The terminal has written ^C.
            self._screen.put(b"\n")
        self._command = None

    def _signalled(self, code: ExitCode) -> bool:
        """At a SIGINT end the command that is running, if one is: the shell goes on."""
        if code is not ExitCode.INTERRUPTED:
            return False
        if self._command is not None:
            self._command.cancel()
        return True

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
        transcript = session.transcript
        if transcript is not None and transcript.complaint:
            session.out.aside(transcript.complaint)
            session.transcript = transcript = None
        state = State(
            prompt=self._lines.prompt(),
            hidden=self._display.hidden,
            wire=session.wire,
            transcript="" if transcript is None else Path(transcript.path).name,
        )
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
            unacked=len(session.received.unacked()),
            last=session.received.count,
            received=session.received.count,
            sent=link.sent,
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
        received = session.received
        return Known(
            destinations=self._destinations.known(one.destination for one in subscriptions),
            subscriptions=tuple(
                word for one in subscriptions for word in (one.destination, one.id)
            ),
            unacked=tuple(reversed(received.unacked())),
            messages=tuple(reversed(received.kept)),
            aliases=session.preferences.aliases,
            settings=values(),
            paths=_paths,
        )


def _help(typed: str) -> str:
    """Return what F1 says of a line: the syntax of its command, or which commands there are."""
    word = typed.split(maxsplit=1)[0] if typed.split() else ""
    record = table.find(word, in_shell=True)
    if record is None or not record.in_shell:
        return "help lists the commands, help COMMAND explains one"
    parser = record.load_parser()
    return f"{signature(record)}\n  {record.summary}. {parser.help}"


def _paths(begun: str) -> list[str]:
    """Return the files and folders that a path may mean that begins so."""
    folder, _, name = begun.rpartition("/")
    place = Path(f"{folder}/" if "/" in begun else ".").expanduser()
    try:
        found = sorted(place.iterdir())[:1000]
    except OSError:
        return []
    head = f"{folder}/" if "/" in begun else ""
    return [
        f"{head}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(name) and (name or not path.name.startswith("."))
    ]
