"""Running a command to its exit code, whatever happens to it."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import trio

from stompcli.client import StompError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, of
from stompcli.output import Out
from stompcli.preferences import Preferences
from stompcli.reading import StandardInput, pieces
from stompcli.session import Session, open_session
from stompcli.settings import Settings
from stompcli.table import Command
from stompcli.transcript import Transcript


async def perform(
    record: Command,
    params: dict[str, Any],
    settings: Settings,
    out: Out,
    preferences: Preferences,
) -> ExitCode:
    """Run one command of a command line."""
    session = Session(settings, out, stays=record.stays)
    session.preferences = preferences
    if StandardInput().tty and out.stderr_tty:
        session.ask = partial(_ask, out)
    handler = record.load_handler()

    async def work() -> ExitCode | None:
        return await handler(session, params, out)

    return await supervise(session, work)


async def _ask(out: Out, question: str) -> str | None:
    """Put a question on standard error, and return the line typed, None at the end of input."""
    out.prompt(question)
    async with aclosing(pieces(StandardInput(), b"\n")) as lines:
        async for line in lines:
            out.answered()
            return line.decode("utf-8", "surrogateescape").removesuffix("\r")
    out.fresh_line()
    return None


async def supervise(session: Session, work: Callable[[], Awaitable[ExitCode | None]]) -> ExitCode:
    """Do the work in the session, say what went wrong, and return the exit code."""
    code: ExitCode | None = None
    failure: Failure | None = None
    try:
        if session.settings.transcript is not None:
            session.transcript = Transcript(session.settings.transcript)
        async with open_session(session):
            timeout = session.settings.timeout
            if timeout is not None and not session.interactive:
                session.scope.deadline = trio.current_time() + timeout
            with session.scope:
                code = await work()
            if session.scope.cancelled_caught and session.stopped is None:
                failure = session.on_timeout()
    except StompError as error:
        failure = of(error)
    except Failure as found:
        failure = found
    except StdoutClosed:
        return ExitCode.DONE
    finally:
        if session.transcript is not None:
            session.transcript.close()
    if session.stopped is not None:
        return session.stopped
    if failure is not None:
        session.out.failure(failure)
        return failure.code
    return ExitCode.DONE if code is None else code
