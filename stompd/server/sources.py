"""Where settings come from: flags stand above the environment, that above the file.

`read` lays the sources over the built-in values and reports every mistake in them at once, each
with the place where it was made.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stompd.server.config import (
    CertificateSettings,
    PolicySettings,
    QuotaSettings,
    RightSettings,
    RouteSettings,
    Settings,
)
from stompd.server.positions import Path as KeyPath
from stompd.server.positions import line_of, lines_of_keys
from stompd.server.units import quoted

PREFIX: Final = "STOMPD_"
FILE_VARIABLE: Final = "STOMPD_CONFIG"
"""Names the file for those who give no ``-c``; it is not a setting."""

# What there may be any number of: tables of these names, and what they are called together.
_ARRAYS: Final[Mapping[str, tuple[type[BaseModel], str]]] = {
    "policy": (PolicySettings, "policies"),
    "route": (RouteSettings, "routes"),
    "rights": (RightSettings, "rights"),
    "limit": (QuotaSettings, "limits for users"),
    "certificate": (CertificateSettings, "certificates"),
}

# Kubernetes gives every container such variables for a service that is named stompd.
_NOT_OURS: Final = re.compile(r"STOMPD_(SERVICE_|PORT(_|$))")
_TOML_PLACE: Final = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")


@dataclass(frozen=True)
class Problem:
    """One mistake: where it was made, the key it concerns, and what is wrong."""

    origin: str
    path: str
    text: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.path, self.text) if part)


class ConfigurationError(Exception):
    """The settings cannot be used; ``problems`` says why, in the order of the sources."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Sources:
    """The settings in effect, and where each of them was set that is not the built-in one.

    ``origins`` maps a key such as ``limits.body`` to ``stompd.toml:7``, ``STOMPD_LIMITS_BODY``
    or ``--set``.
    """

    settings: Settings
    origins: Mapping[str, str]

    def problem(self, key: str, index: int | None, text: str) -> Problem:
        """Return a problem with ``key``, or an element of it, that was found after reading."""
        origin = self.origins.get(key, "built-in")
        file, _, line = origin.rpartition(":")
        path = key if index is None else f"{key}[{index}]"
        return Problem(origin, path, text, file or None, int(line) if file else None)


@cache
def keys() -> tuple[str, ...]:
    """Return every key that holds a value, in the order of the documentation: ``limits.body``."""
    return tuple(_keys_of(Settings, ""))


def _keys_of(table: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in table.model_fields.items():
        key = f"{prefix}{name.replace('_', '-')}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys_of(inner, f"{key}.")
        elif key not in _ARRAYS:
            yield key


@cache
def variables() -> Mapping[str, str]:
    """Return the key that each variable sets: ``limits.body`` for ``STOMPD_LIMITS_BODY``."""
    return {PREFIX + re.sub(r"[.-]", "_", key).upper(): key for key in keys()}


def read(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[tuple[str, str, object]] = (),
) -> Sources:
    """Return the settings made of ``file``, ``environment`` and ``flags``.

    A flag is its spelling (``--listen``, for messages), the key that it sets, and the value; of two
    for one key the later wins. Raises `ConfigurationError` with every mistake found; a value that a
    source above it replaces is not looked at.
    """
    problems: list[Problem] = []
    text, data = _read_file(file, problems)
    places = _Places(file, text)
    for name, written in _ours(environment or {}):
        if name in variables():
            places.overrides[variables()[name]] = name
            _lay_over(data, variables()[name], written)
        else:
            problems.append(Problem("environment", "", _unknown(name, variables(), "variable")))
    for flag, key, value in flags:
        if key in keys():
            places.overrides[key] = flag
            _lay_over(data, key, value)
        elif (table := re.split(r"[.\[]", key)[0]) in _ARRAYS:
            several = _ARRAYS[table][1]
            problems.append(Problem(flag, key, f"{several} are set in the file only ([[{table}]])"))
        else:
            problems.append(Problem(flag, "", _unknown(key, keys())))
    try:
        settings = Settings.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [_problem(details, places) for details in error.errors()]
        raise ConfigurationError(sorted(found, key=_by_line) + problems) from error
    if problems:
        raise ConfigurationError(problems)
    counts = {name: len(getattr(settings, name)) for name in _ARRAYS}
    return Sources(settings, places.origins(counts))


def _by_line(problem: Problem) -> float:
    return float("inf") if problem.line is None else problem.line


def _read_file(file: Path | None, problems: list[Problem]) -> tuple[str, dict[str, object]]:
    """Return the text of ``file`` and what stands in it; nothing if there is no file."""
    if file is None:
        return "", {}
    try:
        text = file.read_text("utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        problems.append(Problem(str(file), "", f"cannot be read: {error.strerror}", str(file)))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(Problem(f"{file}:{line}", "", "is not UTF-8", str(file), line))
    except tomllib.TOMLDecodeError as error:
        where = _TOML_PLACE.search(str(error))
        line = int(where[1]) if where and where[1] else text.count("\n") + 1
        reason = f"not TOML: {_TOML_PLACE.sub('', str(error))}"
        problems.append(Problem(f"{file}:{line}", "", reason, str(file), line))
    except (ValueError, RecursionError) as error:
        # It is TOML, but more than the parser can hold; where, it does not say.
        deep = isinstance(error, RecursionError)
        reason = "arrays are nested too deeply" if deep else "a number has too many digits"
        problems.append(Problem(str(file), "", f"cannot be read: {reason}", str(file)))
    return "", {}


def _ours(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that are meant for stompd's settings."""
    for name in sorted(environment):
        if name.startswith(PREFIX) and name != FILE_VARIABLE and not _NOT_OURS.match(name):
            yield name, environment[name]


def _lay_over(data: dict[str, object], key: str, value: object) -> None:
    """Set ``key`` in ``data``, unless something else than a table stands in its way."""
    *tables, last = key.split(".")
    for name in tables:
        table = data.setdefault(name, {})
        if not isinstance(table, dict):
            return
        data = table
    data[last] = value


def _unknown(name: str, known: Iterable[str], kind: str = "key") -> str:
    """Say that ``name`` is unknown, and which one was probably meant."""
    known = sorted(known)
    near = [key for key in known if key.endswith(f".{name}")]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    return f"unknown {kind} {quoted(name)}" + (
        f" (did you mean {quoted(near[0])}?)" if near else ""
    )


class _Places:
    """Where each value came from: a variable or flag (``overrides``), or a line of the file."""

    def __init__(self, file: Path | None, text: str) -> None:
        self.overrides: dict[str, str] = {}
        self._file = file
        self._text = text

    def of(self, path: KeyPath, value: object) -> tuple[str, int | None]:
        """Return the origin of what stands at ``path``, and its line if that is in the file."""
        key = show_path(path).partition("[")[0]
        if key in self.overrides:
            return self.overrides[key], None
        line = line_of(path, value, self._text)
        if line is not None:
            return f"{self._file}:{line}", line
        table = key.rpartition(".")[0]
        beside = (name for key, name in self.overrides.items() if key.rpartition(".")[0] == table)
        return next(beside, "built-in"), None

    def problem(self, path: KeyPath, value: object, text: str, *, show: bool = True) -> Problem:
        """Return what is wrong at ``path``; without ``show`` the ``text`` names the path itself."""
        origin, line = self.of(path, value)
        file = None if line is None else str(self._file)
        return Problem(origin, show_path(path) if show else "", text, file, line)

    def origins(self, counts: Mapping[str, int]) -> dict[str, str]:
        """Return the origin of every key that is set, and of each table as ``policy[0]``."""
        lines = lines_of_keys(self._text)
        known = {f"{table}[{index}]" for table in counts for index in range(counts[table])}
        known |= set(keys())
        found = {show_path(path): f"{self._file}:{line}" for path, line in lines.items()}
        return {key: origin for key, origin in (found | self.overrides).items() if key in known}


def show_path(path: KeyPath) -> str:
    """Write a path as people do: ``policy[0].match``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]


def _problem(error: ErrorDetails, places: _Places) -> Problem:
    """Translate what pydantic found."""
    path = error["loc"]
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return places.problem(path, value, _unknown(show_path(path), _beside(path)), show=False)
        case "missing":
            return places.problem(path, value, "is missing")
        case "model_type":
            return places.problem(path, value, f"{quoted(value)} is not a table")
        case "tuple_type":
            return places.problem(path, value, f"{quoted(value)} is not an array of tables")
    # What is wrong with several together stands at one of them.
    key = error.get("ctx", {}).get("key", ())
    within = key if isinstance(key, tuple) else (key,)
    return places.problem((*path, *within), value, error["msg"])


def _beside(path: KeyPath) -> Iterator[str]:
    """Yield what could stand where ``path`` points to, and what could have been meant elsewhere."""
    if path[0] in _ARRAYS and len(path) > 1:
        yield from _keys_of(_ARRAYS[str(path[0])][0], f"{show_path(path[:2])}.")
    else:
        yield from {key.partition(".")[0] for key in keys()} | {*_ARRAYS, *keys()}
