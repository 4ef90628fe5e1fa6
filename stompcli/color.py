"""Colours: whether to use them, and the few that are used."""

from collections.abc import Mapping
from typing import Final

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"


def is_wanted(when: str, *, tty: bool, environ: Mapping[str, str]) -> bool:
    """Return whether a stream is to be coloured.

    ``when`` is always, never or auto: then NO_COLOR counts, then FORCE_COLOR, then whether the
    stream is a terminal that knows colours.
    """
    if when != "auto":
        return when == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return tty and environ.get("TERM") not in (None, "", "dumb", "unknown")


def painted(text: str, color: str) -> str:
    """Return text in a colour, which ends with it."""
    return f"\x1b[{color}m{text}\x1b[0m"
