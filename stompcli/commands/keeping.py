"""show, save, last and history: what came and what was typed, once more."""

import os
import re
from pathlib import Path
from typing import Any, Final

from stompcli import paging
from stompcli.client import Message
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.output import Out
from stompcli.render import frame_lines, visible_line, whole_body
from stompcli.session import Session

_NUMBER: Final = re.compile(r"#?([0-9]+)(?:-#?([0-9]+))?\Z")
_LINES: Final = 20


async def show(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show messages again, all of them."""
    await _show(session, _chosen(session, params["message"]), out)
    return None


async def last(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Show the last message again."""
    await _show(session, _chosen(session, "last"), out)
    return None


async def _show(session: Session, chosen: list[tuple[int, Message]], out: Out) -> None:
    shown = b"".join(_whole(message, number, out) for number, message in chosen)
    await paging.write(out, shown, session.preferences.pager)


def _whole(message: Message, number: int, out: Out) -> bytes:
    """Return the octets that show a message and all of its body."""
    if not out.tty or out.form() not in ("stomp.py", "pretty"):
        return out.message(message, number)
    body = whole_body(message.body)
    text = body if not body or body.endswith("\n") else f"{body}\n"
    return frame_lines(f"MESSAGE #{number}", message.headers, tty=True) + text.encode()


async def save(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Write the body of a message into a new file that the user names."""
    chosen = _chosen(session, params["message"])
    if len(chosen) > 1:
        raise usage("save one message at a time")
    number, message = chosen[0]
    path = params["path"]
    if path is None:
        if session.ask is None:
            raise usage("Expecting: save #n <path>")
        theirs = message.headers.get("filename")
        named = f" (its sender calls it {visible_line(theirs)})" if theirs else ""
        question = f"Save the {len(message.body):,} octets of #{number}{named} as: "
        path = (await session.ask(question) or "").strip()
        if not path:
            raise Failure(ExitCode.FAILED, "declined", "no name was given; nothing was written")
    _write_new(path, message.body)
    out.notice(f"wrote {len(message.body):,} octets to {visible_line(str(path))}")
    return None


def _write_new(path: str, data: bytes) -> None:
    try:
        fd = os.open(Path(path).expanduser(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except FileExistsError:
        raise Failure(
            ExitCode.FAILED, "conflict", f"{path} exists, and is not written over"
        ) from None
    except OSError as error:
        raise Failure(ExitCode.FAILED, "failed", f"{path}: {error.strerror}") from None


def _chosen(session: Session, word: str) -> list[tuple[int, Message]]:
    """Return the messages that a word names, oldest first; raises `Failure` if there are none."""
    kept = session.received.kept
    if word == "last":
        numbers = list(kept)[-1:]
    else:
        match = _NUMBER.match(word)
        if match is None:
            raise usage(f"{visible_line(word)} names no message; #3, #3-#7 and last do")
        first, end = int(match[1]), int(match[2] or match[1])
        numbers = [number for number in kept if first <= number <= end]
    if numbers:
        return [(number, kept[number]) for number in numbers]
    if not kept:
        raise Failure(ExitCode.FAILED, "not-found", "no message has come yet")
    oldest, newest = next(iter(kept)), next(reversed(kept))
    raise Failure(
        ExitCode.FAILED,
        "not-found",
        f"no message {visible_line(word)}; there are #{oldest} to #{newest}",
    )


async def history(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show the last lines that were typed."""
    lines = session.typed()
    count = params["count"] or _LINES
    for number, line in list(enumerate(lines, 1))[-count:]:
        await out.line(f"{number:5}  {visible_line(line)}")
    return None
