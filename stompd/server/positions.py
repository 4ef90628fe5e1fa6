"""In which line of a TOML text a key is set: the standard library's parser does not tell."""

import tomllib
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
"""Where a value stands: keys, and indexes into arrays of tables and arrays."""


def lines_of_keys(text: str) -> dict[Path, int]:
    """Return the line (from 1) at which each key and table of ``text``, valid TOML, is set.

    The text is cut into statements: the shortest run of lines that is TOML by itself is one, since
    no statement is the beginning of another. Arrays and inline tables are looked into, but for all
    that stands in one statement the line is that of the statement's beginning.
    """
    found: dict[Path, int] = {}
    here: Path = ()
    for line, statement in _statements(text):
        parsed = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            here = _header(parsed, array=statement.lstrip().startswith("[["), found=found)
            found.setdefault(here, line)
        else:
            for path in _paths(parsed):
                found.setdefault((*here, *path), line)
    return found


def line_of(path: Path, value: object, text: str) -> int | None:
    """Return the line that sets ``path`` in ``text``, or that of the nearest table around it.

    In an array over several lines a string ``value`` is looked for in the lines of the statement.
    """
    found = lines_of_keys(text)
    for length in range(len(path), 0, -1):
        # An array of tables is set where its first table is.
        line = found.get(path[:length], found.get((*path[:length], 0)))
        if line is None:
            continue
        if isinstance(value, str) and isinstance(path[-1], int):
            statement = next((rows for start, rows in _statements(text) if start == line), "")
            for offset, row in enumerate(statement.splitlines()):
                if f'"{value}"' in row or f"'{value}'" in row:
                    return line + offset
        return line
    return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with the line of its beginning; blank and comment lines are left out."""
    start = 1
    pending = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not pending:
            start = number
        pending += line + "\n"
        try:
            parsed = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield start, pending
        pending = ""


def _header(parsed: Mapping[str, object], *, array: bool, found: Mapping[Path, int]) -> Path:
    """Return the path of the table that a header opens, with the index in an array of tables."""
    path: Path = ()
    value: object = parsed
    while isinstance(value, dict) and value:
        ((key, value),) = value.items()
        path = (*path, key)
        last = -1
        while (*path, last + 1) in found:
            last += 1
        if isinstance(value, list):
            value = value[0]
            if array and not value:
                last += 1
        if last >= 0:
            path = (*path, last)
    return path


def _paths(value: object, here: Path = ()) -> Iterator[Path]:
    items: Iterator[tuple[str | int, object]]
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    else:
        return
    for key, inner in items:
        yield (*here, key)
        yield from _paths(inner, (*here, key))
