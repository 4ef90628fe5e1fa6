"""A message as text in an editor: headers, an empty line, the body."""

import re
from typing import Final

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, bad_input

# What would begin a comment, and what already is so written that it does not.
_HASH: Final = re.compile(r"^\\*#", re.MULTILINE)
_ADVICE: Final = """\
# A message to {destination}: headers, an empty line, the body.
# Lines that begin with # are left out; \\# begins a line with #.
# An empty file sends nothing.
"""


def text(destination: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Return what the editor is given."""
    advice = _ADVICE.format(destination=destination.replace("\n", " "))
    lines = [f"{name}:{value}" for name, value in headers]
    inner = _HASH.sub(r"\\\g<0>", body.decode("utf-8", "surrogateescape"))
    whole = advice + "".join(f"{line}\n" for line in lines) + "\n" + inner
    return (whole if whole.endswith("\n") else whole + "\n").encode("utf-8", "surrogateescape")


def parsed(edited: bytes) -> tuple[list[tuple[str, str]], bytes]:
    r"""Return the headers and the body that the editor has left.

    The line end that editors put at the end is no part of the body. Raises `Failure` for a header
    without a colon, and if nothing is left.
    """
    lines = [
        line[1:] if line.startswith("\\") and _HASH.match(line) else line
        for line in edited.decode("utf-8", "surrogateescape").split("\n")
        if not line.startswith("#")
    ]
    if not any(line.strip() for line in lines):
        raise Failure(ExitCode.FAILED, "declined", "the message is empty; nothing was sent")
    headers: list[tuple[str, str]] = []
    for number, line in enumerate(lines):
        if not line.strip():
            body = "\n".join(lines[number + 1 :])
            return headers, body.removesuffix("\n").encode("utf-8", "surrogateescape")
        name, colon, value = line.partition(":")
        if not colon or not name:
            raise bad_input(f'"{line}" is no header; write name:value, and an empty line after all')
        headers.append((name.strip(), value.removeprefix(" ")))
    return headers, b""
