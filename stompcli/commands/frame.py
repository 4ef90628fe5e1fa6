"""frame: encode, decode and lint, without any broker."""

import base64
import binascii
import json
from typing import Any

from stompcli import files, frametext, linting
from stompcli.exitcodes import ExitCode
from stompcli.failure import bad_input, usage
from stompcli.frametext import TextFrame
from stompcli.output import Out
from stompcli.reading import StandardInput
from stompcli.render import visible_text
from stompcli.session import Session


async def frame(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Turn frames into text, text into frames, or say what is wrong with them."""
    action, version = params["action"], params["version"]
    if params["no_content_length"] and action != "encode":
        raise usage("--no-content-length is for frame encode")
    name = params["file"] or "-"
    data = files.read(name) if name != "-" else await _standard_input(session)
    if action == "encode":
        for one in _frames_of(data):
            await out.write(one.wire(version, length=not params["no_content_length"]))
        return None
    if action == "lint":
        return await _lint(data, name, version, out)
    shown = 0
    failure = ""
    for direction, octets in _sides(data):
        frames, why = frametext.of_wire(octets, version)
        for one in frames:
            shown += 1
            await _show(one, direction, out)
        failure = failure or why
    if failure:
        raise bad_input(f"after {shown} frames: {failure}")
    return None


async def _standard_input(session: Session) -> bytes:
    source = StandardInput()
    if session.in_shell or source.tty:
        raise usage("frame: give a file; standard input is for commands")
    return await source.all()


def _frames_of(data: bytes) -> list[TextFrame]:
    """Return the frames that a text, or lines of JSON, describe."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if not text.lstrip().startswith("{"):
        return frametext.of_text(text)
    frames = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            frames.append(_of_json(line, number))
    return frames


def _of_json(line: str, number: int) -> TextFrame:
    try:
        value = json.loads(line)
        body = (
            base64.b64decode(value["body_base64"], validate=True)
            if "body_base64" in value
            else value.get("body", "").encode()
        )
        headers = [(str(name), str(text)) for name, text in value.get("headers", [])]
        return TextFrame(str(value["command"]), headers, body)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise bad_input(f"line {number} is no frame: {error}") from None


def _sides(data: bytes) -> list[tuple[str, bytes]]:
    """Return the octets of each direction; those of a transcript in the order of its turns."""
    if not data.lstrip().startswith(b"{"):
        return [("", data)]
    turns: list[tuple[str, bytes]] = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            value = json.loads(line)
            if "bytes_b64" not in value:
                continue
            octets = base64.b64decode(value["bytes_b64"], validate=True)
            direction = f"{value.get('conn', '')}{value['dir']}"
        except (ValueError, TypeError, KeyError) as error:
            raise bad_input(f"line {number} is no line of a transcript: {error}") from None
        turns.append((direction, octets))
    return _whole(turns)


def _whole(turns: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return turns that hold whole frames each: what a turn begins, a later one may end."""
    from stompcli.rawframes import split_frames

    rest: dict[str, bytes] = {}
    whole: list[tuple[str, bytes]] = []
    for direction, octets in turns:
        *pieces, last = split_frames(rest.pop(direction, b"") + octets) or [b""]
        if last.rstrip(b"\r\n").endswith(b"\0"):
            pieces.append(last)
        elif last.strip(b"\r\n"):
            rest[direction] = last
        whole += [(direction, piece) for piece in pieces]
    return whole + list(rest.items())


async def _show(one: TextFrame, direction: str, out: Out) -> None:
    if out.settings.json:
        told = {"dir": direction} if direction else {}
        await out.json({**told, **one.as_json()})
        return
    text = one.text()
    if direction:
        text = f"# {direction}\n{text}"
    if out.tty:
        text = visible_text(text)
    await out.write(text.encode("utf-8", "surrogateescape"))


async def _lint(data: bytes, name: str, version: str, out: Out) -> ExitCode:
    complaints = linting.lint(data, version)
    for complaint in complaints:
        if out.settings.json:
            await out.json(
                {
                    "line": complaint.line,
                    "column": complaint.column,
                    "error": complaint.error,
                    "message": complaint.text,
                }
            )
        else:
            await out.line(f"{name}:{complaint}")
    bad = linting.has_errors(complaints)
    if not complaints and not out.settings.quiet and not out.settings.json:
        out.aside("nothing to complain about")
    return ExitCode.BAD_INPUT if bad else ExitCode.DONE
