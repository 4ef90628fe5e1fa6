"""Texts with fields that each message fills in for itself: ``{n}``, ``{time}``, ``{uuid}``.

Only what looks like a field is one, so that JSON may hold its braces as they are.
"""

import os
import random
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from stompcli.failure import usage

_FIELD: Final = re.compile(r"\{\{([a-z]+(?::[0-9]+)?)\}\}|\{([a-z]+)(?::([0-9]+))?\}")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_MOST: Final = 16 * 2**20

# What each field is, given the message's number and what stands behind the colon, 0 for nothing.
FIELDS: Final[dict[str, Callable[[int, int], str]]] = {
    "n": lambda n, width: str(n).rjust(width, "0"),
    "time": lambda _, __: _now(),
    "unix": lambda _, __: str(time.time_ns() // 1_000_000),
    "uuid": lambda _, __: str(uuid.uuid4()),
    "random": lambda _, most: str(random.randint(0, most or 2**31 - 1)),  # noqa: S311 - test data
    "text": lambda _, size: "".join(random.choices(_LETTERS, k=size or 8)),  # noqa: S311 - test data
    "pid": lambda _, __: str(os.getpid()),
}


def check(text: str) -> None:
    """Raise `Failure` for a field that there is not, or that is too large."""
    for match in _FIELD.finditer(text):
        name = match[2]
        if name is not None and name not in FIELDS:
            raise usage(
                f"there is no field {match[0]} in a template",
                f"fields: {', '.join(f'{{{one}}}' for one in FIELDS)}; "
                f"{{{match[0]}}} is {match[0]} itself",
            )
        if int(match[3] or 0) > _MOST:
            raise usage(f"{match[0]} is too large; {_MOST} is the most")


def filled(text: str, n: int) -> str:
    """Return a text that was checked, with its fields filled in for the n-th message."""
    return _FIELD.sub(
        lambda match: f"{{{match[1]}}}" if match[1] else FIELDS[match[2]](n, int(match[3] or 0)),
        text,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
