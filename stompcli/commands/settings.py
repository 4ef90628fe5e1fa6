"""set, header, record, wire, clear and run: what a shell does otherwise than usual."""

from typing import Any

from stompcli import files, paths, preferences
from stompcli.client import StompError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session
from stompcli.transcript import Transcript

# Files that run each other, one inside the other.
_DEEPEST = 10


async def set_(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show or change settings."""
    wanted, name, words = session.preferences, params["setting"], params["value"]
    if name is not None and words:
        wanted.set(name, " ".join(words))
    elif name is not None:
        await out.line(wanted.shown(name))
    elif not params["save"]:
        for one in preferences.NAMES:
            await out.line(f"{one:<10} {wanted.shown(one):<32} {preferences.meaning(one)}")
    if params["save"]:
        path = paths.config_file()
        names = wanted.save(path)
        saved = ", ".join(names) if names else "nothing was changed, so nothing"
        out.notice(f"wrote {saved} to {path}")
    return None


async def header(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Keep headers for what is sent later."""
    action, words, sticky = params["action"], list(params["words"]), session.sticky
    if action in ("ls", "clear"):
        if len(words) > 1:
            raise usage(f"Expecting: header {action} [destination]")
        destination = words[0] if words else None
        if action == "clear":
            sticky.clear(destination)
            return None
        for place, name, value in sticky.rows(destination):
            where = f"  ({visible_line(place)})" if place else ""
            await out.line(f"{visible_line(name)}:{visible_line(value)}{where}")
        return None
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 - the header and the destination
        raise usage(f"Expecting: header {action} <name:value> [destination]")
    destination = words[1] if len(words) > 1 else None
    name, colon, value = words[0].partition(":")
    if action == "add":
        if not colon or not name:
            raise usage(f'"{words[0]}" is no header; write name:value')
        sticky.add(name, value, destination)
    elif not sticky.remove(name, destination):
        raise Failure(ExitCode.FAILED, "not-found", f"no header {visible_line(name)} is kept")
    return None


async def record(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Begin or end a transcript."""
    current = session.transcript
    if params["file"] == "off":
        if current is None:
            raise Failure(ExitCode.FAILED, "conflict", "nothing is being recorded")
        session.transcript = None
        current.close()
        out.notice(f"recorded in {current.path}")
        return None
    if current is not None:
        raise Failure(
            ExitCode.FAILED, "conflict", f"already recording in {current.path}", "try: record off"
        )
    session.transcript = Transcript(params["file"], append=params["append"], text=params["text"])
    return None


async def wire(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show octets as they come and go, or not."""
    if params["what"] is None:
        await out.line(session.wire)
    else:
        session.wire = params["what"]
    return None


async def clear(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Clear the screen."""
    out.clear()
    return None


async def run(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Run the lines of a file; the first that fails is the last one."""
    path = params["file"]
    if session.depth >= _DEEPEST:
        raise usage(f"{path}: files run each other {_DEEPEST} deep")
    lines = files.read(path).decode("utf-8", "surrogateescape").splitlines()
    session.depth += 1
    try:
        for number, line in enumerate(lines, 1):
            if session.leaving:
                break
            try:
                await session.execute(line)
            except StompError as error:
                failure = of(error)
                raise _at(path, number, failure) from error
            except Failure as failure:
                raise _at(path, number, failure) from None
    finally:
        session.depth -= 1
    return None


def _at(path: str, number: int, failure: Failure) -> Failure:
    return Failure(failure.code, failure.kind, f"{path}:{number}: {failure.message}", failure.hint)
