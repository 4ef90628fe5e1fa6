"""Questions before something is destroyed."""

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.render import visible_line
from stompcli.session import Session


def check_consent(session: Session, what: str, *, given: bool, dry_run: bool = True) -> None:
    """Raise `Failure` if a question has to be put and nobody is there to answer it.

    ``what`` is the command, ``given`` whether it needs no consent any more, ``dry_run`` whether it
    can be told to only say what it would do.
    """
    if not given and session.ask is None:
        hint = "to do it without being asked: --yes"
        raise usage(
            f"{what} asks before it does anything, and nobody is there to answer; nothing was done",
            f"{hint}     to see what it would do: --dry-run" if dry_run else hint,
        )


async def consent(session: Session, question: str) -> None:
    """Ask a question; raises `Failure` unless the answer is yes."""
    if (await _answer(session, f"{question} [y/N] ")).lower() not in ("y", "yes"):
        raise _declined()


async def typed_name(session: Session, question: str, name: str) -> None:
    """Have somebody type a name; raises `Failure` unless it is this one."""
    if await _answer(session, f"{question} Type its name to go on: ") != name:
        raise _declined()


async def _answer(session: Session, question: str) -> str:
    assert session.ask is not None  # noqa: S101 - for the type checker; see `check_consent`
    return (await session.ask(visible_line(question)) or "").strip()


def _declined() -> Failure:
    return Failure(ExitCode.FAILED, "declined", "not confirmed; nothing was done")
