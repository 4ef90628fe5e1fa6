"""definitions: what there is beside messages, out of a broker that runs and into one."""

import json
from pathlib import Path
from typing import Any, Final

from stompcli import files
from stompcli.actions import check_options
from stompcli.admin import admin
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, bad_input, usage
from stompcli.output import Out
from stompcli.reading import StandardInput
from stompcli.render import visible_line
from stompcli.session import Session

_NAME: Final = "stompd-definitions"


async def definitions(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Write the definitions of a broker into a file, or make those of a file."""
    check_options("definitions", params, {"dry_run": "import"})
    if params["action"] == "export":
        return await _export(session, params["file"], out)
    if params["file"] is None:
        raise usage("definitions import: say which file")
    document = await _read(session, params["file"])
    async with admin(session, "definitions import") as broker:
        told = await broker.record(
            "definitions-import", dry_run=params["dry_run"] or None, **document
        )
    if out.settings.json:
        await out.json(told)
        return None
    text = ", ".join(
        f"{told.get(field, 0):,} {words}"
        for field, words in (("new", "new"), ("changed", "changed"), ("same", "the same"))
    )
    if not out.settings.quiet or params["dry_run"]:
        out.aside(text + (" (nothing was changed)" if params["dry_run"] else ""))
    return None


async def _export(session: Session, path: str | None, out: Out) -> ExitCode | None:
    async with admin(session, "definitions export") as broker:
        document = await broker.record("definitions")
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    if path in (None, "-"):
        await out.write(text.encode())
        return None
    _write(path, text)
    if not out.settings.quiet:
        count = len(document.get("definitions") or ())
        what = "1 definition" if count == 1 else f"{count:,} definitions"
        out.aside(f"wrote {what} to {visible_line(path)}")
    return None


def _write(path: str, text: str) -> None:
    """Write a file; one that is there stays as it is until the whole of the new one is."""
    try:
        temporary = Path(f"{path}.new")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    except OSError as error:
        raise Failure(ExitCode.FAILED, "failed", f"{path}: {error.strerror}") from None


async def _read(session: Session, path: str) -> dict[str, Any]:
    """Return the fields of the request that a file is; raises `Failure` if it is none."""
    if path != "-":
        data = files.read(path)
    elif session.in_shell:
        raise usage("definitions import: give a file; standard input is for commands")
    else:
        data = await StandardInput().all()
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_input(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict) or _NAME not in document:
        raise bad_input(f'{path} has no "{_NAME}", as an export has')
    unknown = [name for name in document if name not in (_NAME, "definitions")]
    if unknown:
        raise bad_input(f'{path} has a "{unknown[0]}", which no export has')
    return document
