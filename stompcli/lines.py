"""The lines of a shell or script, carried out one after the other, and the connection beside them.

Whoever reads the lines (`stompcli.line`, `stompcli.shell`) owns the terminal; here is what all of
them have in common: from a line to the command that does the work, what is said when it fails, and
what becomes of a connection that ends meanwhile.
"""

from collections.abc import Callable
from typing import Any

import click
import trio

from stompcli import table, words
from stompcli.client import BrokerError, SessionEndedError, StompError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.main import in_words, unknown
from stompcli.options import SHELL, given_after
from stompcli.output import StdoutClosed
from stompcli.render import frame_lines, visible_body, visible_line
from stompcli.session import Session


class Lines:
    """Runs lines in a session.

    It owns the exit code: that of the first line that failed, unless a person typed them.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._out = session.out
        self.code = ExitCode.DONE

    async def run(self, line: str) -> bool:
        """Run one line, and say what went wrong; return whether to go on."""
        session = self._session
        try:
            await self._execute(line)
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
        else:
            return True
        return session.interactive or session.settings.keep_going

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

    def prompt(self) -> str:
        """Return the prompt: where we are, in which transaction, and whether there is a link."""
        session = self._session
        transaction = session.transaction
        mark = f" [{transaction.id} {session.transaction_frames}]" if transaction else ""
        down = "(disconnected) " if session.lost is not None or session.parted else ""
        return f"{down}{visible_line(session.label())}{mark}> "

    def fail(self, failure: Failure) -> None:
        """Say what went wrong, and keep its exit code if it is the first."""
        self._out.failure(failure, prefix="")
        if self.code is ExitCode.DONE and not self._session.interactive:
            self.code = failure.code

    async def _execute(self, line: str) -> None:
        text = line.strip(" \t")
        if not text or text.startswith("#"):
            return
        word, rest = words.split(line)
        record = table.find(word)
        if record is None or not record.in_shell:
            raise unknown(word)
        params = _parameters(record, rest)
        if params is not None:
            await record.load_handler()(self._session, params, self._out)

    # Beside the lines.

    async def watch(self, lost: Callable[[], None]) -> None:
        """Notice the end of the connection, also while nothing is typed.

        ``lost`` is called when that has been said, or at once where nobody types.
        """
        session = self._session
        while True:
            link = session.held
            if link is not None:
                error = await link.client.wait_ended()
                # Nothing is lost if we have ended it ourselves.
                if error is not None and session.held is link and not session.parted:
                    session.errors += 1
                    session.transaction = None
                    session.received.unsettled.clear()
                    if session.interactive:
                        await self._tell(error)
                    session.lost = error
                    lost()
            while session.held is link:
                await session.relinked.park()

    async def _tell(self, error: SessionEndedError) -> None:
        out = self._out
        if not isinstance(error, BrokerError):
            out.aside(f"lost connection: {error}")
            return
        try:
            await out.write(frame_lines("ERROR", error.headers, tty=out.tty))
            if error.body:
                body = visible_body(error.body) if out.tty else error.detail
                await out.line(body.rstrip("\n"))
        except StdoutClosed:
            self._session.stop(ExitCode.DONE)
        out.aside("lost connection")


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
    if record.verbatim and not (
        params["body"] or params["body_file"] or params.get("size") is not None
    ):
        raise usage(f"Expecting: {record.usage}")
    return params
