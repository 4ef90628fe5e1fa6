"""The lines of a shell or script, carried out one after the other, and the connection beside them.

Whoever reads the lines (`stompcli.line`, `stompcli.shell`) owns the terminal; here is what all of
them have in common: from a line to the command that does the work, what is said when it fails, and
what becomes of a connection that ends meanwhile.
"""

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import click
import trio

from stompcli import paths, preferences, table, words
from stompcli.client import (
    BrokerError,
    RefusedError,
    SessionEndedError,
    StaleMessageError,
    StompError,
    TransactionLostError,
)
from stompcli.commands.subscribe import subscribe_again
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, of, usage
from stompcli.history import History
from stompcli.link import Link
from stompcli.main import in_words, unknown
from stompcli.options import SHELL, given_after
from stompcli.output import Out
from stompcli.render import frame_lines, visible_body, visible_line
from stompcli.session import Session

# Seconds before a lost connection is made again, and the longest pause between two attempts.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
# Connections in a row that may end by an ERROR without anything being typed.
_STRIKES: Final = 3


class Lines:
    """Runs lines in a session.

    It owns the exit code: that of the first line that failed, unless a person typed them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._out = session.out
        session.execute = self.execute
        self.code = ExitCode.DONE
        # How many lines were run, by now and when a connection was lost last.
        self._ran = 0
        self._ran_before = 0
        self._strikes = 0

    async def run(self, line: str) -> bool:
        """Run one line, and say what went wrong; return whether to go on."""
        session = self._session
        self._ran += 1
        try:
            await self.execute(line)
        except (StaleMessageError, TransactionLostError) as error:
            # The connection is there, but not the one that this belongs to.
            self.fail(of(error))
        except SessionEndedError as error:
            if session.interactive:
                if session.lost is not None:
                    self._out.aside(f"not connected to {session.label()}")
                # Else the task that watches the connection says why it ended.
                await trio.lowlevel.checkpoint()
                return True
            self.fail(of(error))
            return False
        except StompError as error:
            self.fail(of(error))
        except Failure as failure:
            self.fail(failure)
        except StdoutClosed:
            raise
        except Exception as error:
            if not session.interactive:
                raise
            self._tell_of_fault(error)
        else:
            return True
        return session.interactive or session.settings.keep_going

    def _tell_of_fault(self, error: Exception) -> None:
        """A fault of ours must not end the session of whoever types; they are told of it."""
        text = traceback.format_exc() if self._session.preferences.debug else ""
        hint = "" if text else "\n  this is a fault of stomp itself; set debug on shows where it is"
        self._out.aside(f"{text}{type(error).__name__}: {visible_line(str(error))}{hint}")

    def prefer(self, history: History) -> None:
        """Do as the user's file of settings says; raises `Failure` if that is wrong."""
        session, out = self._session, self._out
        session.typed = lambda: history.lines
        if not session.settings.no_rc:
            session.preferences = preferences.load(paths.config_file())
        session.preferences.on_change = self._changed
        out.usual_format = session.preferences.format
        out.full = session.preferences.headers == "full"
        if history.complaint:
            out.aside(history.complaint)

    def _changed(self, name: str) -> None:
        """A setting was changed: those of the output are known there."""
        out, wanted = self._out, self._session.preferences
        if name == "format":
            out.usual_format = wanted.format
            out.settings = replace(out.settings, format=None, json=False, raw=False)
        out.full = wanted.headers == "full"

    async def greet(self) -> None:
        """Connect, and show what the broker said to that."""
        out = self._out
        client = await self._session.link()
        settings = out.settings
        if not (settings.quiet or settings.json or settings.raw or settings.format):
            await out.write(frame_lines("CONNECTED", client.connected, tty=out.tty))

    async def listen(self) -> bool:
        """Subscribe to what --listen says; return whether to go on."""
        for destination in self._session.settings.listen:
            if not await self.run(f"subscribe -- {words.quoted(destination)}"):
                return False
        return True

    async def connected(self) -> bool:
        """Run what the user wants run after connecting; return whether to go on."""
        for line in self._session.preferences.on_connect:
            if not await self.run(line):
                return False
        return True

    async def may_leave(self) -> bool:
        """Ask whether to leave what is open, if anything is; Ctrl-D once more means yes."""
        session = self._session
        unacked = len(session.received.unacked())
        open_ones = []
        if session.transaction is not None:
            open_ones.append(f"transaction {session.transaction.id} is open")
        if unacked:
            count = f"{unacked} messages are" if unacked > 1 else "1 message is"
            open_ones.append(f"{count} not acknowledged")
        if not open_ones or session.ask is None:
            return True
        answer = await session.ask(f"{' and '.join(open_ones)}; leave? [y/N] ")
        return answer is None or answer.strip().lower() in ("y", "yes")

    def prompt(self, mode: str = "") -> str:
        """Return the prompt: where we are, in which transaction, and whether there is a link."""
        session = self._session
        transaction = session.transaction
        user, _, place = session.label().rpartition("@")
        host, _, port = place.rpartition(":")
        fields = {
            "{user@}": f"{user}@" if user else "",
            "{user}": user,
            "{host}:{port}": place,
            "{host}": host,
            "{port}": port,
            "{tx}": f" [{transaction.id} {session.transaction_frames}]" if transaction else "",
            "{mode}": mode,
        }
        text = session.preferences.prompt
        for name, value in fields.items():
            text = text.replace(name, visible_line(value))
        down = "(disconnected) " if session.lost is not None or session.parted else ""
        return down + text

    def fail(self, failure: Failure) -> None:
        """Say what went wrong, and keep its exit code if it is the first."""
        self._out.failure(failure, prefix="")
        if self.code is ExitCode.DONE and not self._session.interactive:
            self.code = failure.code

    async def execute(self, line: str) -> None:
        """Run one line; raises `Failure` or `StompError` if that fails."""
        text = line.strip(" \t")
        if not text or text.startswith("#"):
            return
        if self._session.transcript is not None:
            self._session.transcript.command(text)
        word, rest = words.split(line)
        alias = self._session.preferences.aliases.get(word)
        if alias is not None:
            word, rest = words.split(f"{alias} {rest}")
        record = table.find(word, in_shell=True)
        if record is None or not record.in_shell:
            raise unknown(word)
        if self._session.interactive and not record.verbatim:
            rest, program = words.piped(rest)
            if program:
                await self._pipe(record, rest, program)
                return
        await self._perform(record, rest)

    async def _perform(self, record: table.Command, rest: str) -> None:
        session = self._session
        params = _parameters(record, rest)
        if params is None:
            return
        if record.verbatim and not _has_body(params):
            if session.compose is None:
                raise usage(f"Expecting: {record.usage}")
            body = await session.compose()
            if body is None:
                raise Failure(ExitCode.FAILED, "declined", "given up; nothing was sent")
            params["body"] = (body,)
        if "header" in params and "destination" in params:
            params["header"] = session.sticky.with_typed(params["header"], params["destination"])
        if "yes" in params and not session.preferences.confirm:
            params["yes"] = True
        await record.load_handler()(session, params, self._out)

    async def _pipe(self, record: table.Command, rest: str, program: str) -> None:
        """Give a command's output to a program, which has the terminal meanwhile."""
        if self._session.settings.no_shell:
            raise usage("commands are not piped to programs here: --no-shell")
        with self._out.capture() as collected:
            await self._perform(record, rest)
        with trio.CancelScope(shield=True):
            # Ctrl-C is for the program.
            await trio.run_process(["/bin/sh", "-c", program], stdin=bytes(collected), check=False)

    # Beside the lines.

    async def watch(self, lost: Callable[[], object]) -> None:
        """Notice the end of the connection, also while nothing is typed, and make a new one.

        ``lost`` is called when the end has been said, or at once where nobody types; there no
        connection is made again.
        """
        session = self._session
        while True:
            link = session.held
            if link is not None:
                error = await link.client.wait_ended()
                # Nothing is lost if we have ended it ourselves.
                if error is not None and session.held is link:
                    session.errors += 1
                    await self._lose(link, error)
                    lost()
                    if session.interactive and session.preferences.reconnect:
                        await self._restore(link, error)
                        lost()
            while session.held is link:
                await session.relinked.park()

    async def _lose(self, link: Link, error: SessionEndedError) -> None:
        session = self._session
        transaction, unacked = session.transaction, len(session.received.unacked())
        session.forget(link)
        if not session.interactive:
            session.lost = error
            return
        if isinstance(error, BrokerError):
            await self._show(error)
        session.lost = error
        out = self._out
        out.aside(
            "lost connection" if isinstance(error, BrokerError) else f"lost connection: {error}"
        )
        if transaction is not None:
            out.aside(f"transaction {transaction.id} is lost: nothing of it has happened")
        if unacked:
            out.aside(f"{unacked} unacknowledged messages will be delivered again")

    async def _show(self, error: BrokerError) -> None:
        out = self._out
        try:
            await out.write(frame_lines("ERROR", error.headers, tty=out.tty))
            if error.body:
                body = visible_body(error.body) if out.tty else error.detail
                await out.line(body.rstrip("\n"))
        except StdoutClosed:
            self._session.stop(ExitCode.DONE)

    async def _restore(self, link: Link, error: SessionEndedError) -> None:
        """Connect again until that succeeds, is refused, or somebody else has done it."""
        session, out = self._session, self._out
        # An ERROR that nothing typed has caused would come again and again.
        unprovoked = isinstance(error, BrokerError) and self._ran == self._ran_before
        self._strikes = self._strikes + 1 if unprovoked else 0
        self._ran_before = self._ran
        if self._strikes >= _STRIKES:
            out.aside("not connecting again, since that ends in the same way; try: reconnect")
            return
        pause = _FIRST_PAUSE
        while session.held is link and session.preferences.reconnect:
            await trio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                if await relink(session, out, instead_of=link):
                    out.aside(f"connected again to {session.label()}")
                    return
            except RefusedError as refusal:
                self.fail(of(refusal))
                return
            except SessionEndedError:
                # It has ended again, and whoever watches that will say so.
                return
            except StompError:
                # Nobody is there yet: what was said when it was lost still holds.
                continue


async def relink(session: Session, out: Out, *, instead_of: Link | None) -> bool:
    """Make a connection with the subscriptions of the one before.

    Returns False if meanwhile another one took the place of ``instead_of``. Raises `StompError`.
    """
    async with session.linking:
        if session.held is not instead_of:
            return False
        await session.open()
    await subscribe_again(session, out)
    return True


def _parameters(record: table.Command, rest: str) -> dict[str, Any] | None:
    """Return the parameters that the rest of a line means, None if it asked for help, and got it.

    Raises `Failure`.
    """
    parser = record.load_parser()
    args = words.with_body(rest, parser) if record.verbatim else words.arguments(rest)
    try:
        params = parser.make_context(record.name, args, obj=SHELL).params
    except click.MissingParameter:
        raise usage(f"Expecting: {record.usage}") from None
    except click.UsageError as error:
        raise in_words(error) from None
    except click.exceptions.Exit:
        return None
    for name in given_after(params):
        option = name.replace("_", "-")
        raise usage(f"--{option} is for the whole session; give it when you start stomp")
    return params


def _has_body(params: dict[str, Any]) -> bool:
    given = (params["body"], params["body_file"], params.get("edit"))
    return any(given) or params.get("size") is not None
