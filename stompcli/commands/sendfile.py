"""sendfile."""

import base64
import json
from pathlib import PurePath
from typing import Any

from stompcli import files
from stompcli.commands.send import send
from stompcli.exitcodes import ExitCode
from stompcli.output import Out
from stompcli.received_files import AS_IS, FILENAME
from stompcli.render import visible_line
from stompcli.session import Session


async def sendfile(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Send a file as one message: like send, with the file's name as a header."""
    path = params["file"]
    data = files.read(path)
    own = [(FILENAME, PurePath(path).name)]
    if params["headers"] is not None:
        await _say(session, out, f"Loading {params['headers']}")
        await _say(session, out, f"Using headers {_shown(files.read(params['headers']))}")
    nothing = dict.fromkeys(("count", "rate", "sleep", "size", "tx", "receipt"))
    flags = dict.fromkeys(("lines", "null", "json_in", "template", "edit"), False)
    if params["as_is"]:
        own += AS_IS.items()
        body: dict[str, Any] = {"body": (), "body_file": path}
    else:
        body = {"body": (base64.b64encode(data).decode(),), "body_file": None}
    header = {"header": (*own, *params["header"])}
    return await send(session, {**nothing, **flags, **params, **body, **header}, out)


def _shown(data: bytes) -> str:
    """Return headers on one line; whoever sends them says what is wrong with them."""
    try:
        return visible_line(str(json.loads(data)))
    except ValueError:
        return visible_line(data.decode("utf-8", "surrogateescape"))


async def _say(session: Session, out: Out, text: str) -> None:
    """Say what the program of stomp.py says there."""
    if session.in_shell:
        await out.line(text)
    elif not out.settings.quiet:
        out.aside(text)
