"""Values as TOML; what reads it is the standard library's `tomllib`."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stompcli.failure import usage

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


def written(values: Mapping[str, Any], order: Iterable[str]) -> str:
    """Return the values as a document: in this order, tables last.

    A value is a text, a number, true or false, a list of such, or a table of such. Raises `Failure`
    for text that is no Unicode.
    """
    there = [key for key in order if key in values]
    lines = [
        f"{_key(key)} = {_value(values[key])}\n"
        for key in there
        if not isinstance(values[key], Mapping)
    ]
    for key in there:
        if isinstance(values[key], Mapping):
            lines.append(f"\n[{_key(key)}]\n")
            lines += [f"{_key(name)} = {_value(one)}\n" for name, one in values[key].items()]
    return "".join(lines)


def _key(text: str) -> str:
    return text if _BARE.match(text) else _text(text)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _text(str(value))


def _text(text: str) -> str:
    """Return a text in quotes; what JSON escapes, TOML escapes alike, and DEL besides."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise usage(f"{text!r} is not UTF-8, and cannot be kept") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
