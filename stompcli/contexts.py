"""Contexts: named brokers, each a TOML file with what is needed to connect to it.

They live in ``contexts/NAME.toml`` beside the file of settings; ``context`` there names the one
that is selected, and the one before it.
"""

import contextlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from stompcli import paths
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.options import BEATS, DURATION
from stompcli.toml import written

PROTOCOLS: Final = ("1.0", "1.1", "1.2", "auto")

_TEXT: Final = "a text"
# What a context may hold, in the order in which it is written, and what each value is.
KEYS: Final[Mapping[str, str]] = {
    "description": _TEXT,
    "url": "a URL, or a list of them",
    "host": _TEXT,
    "port": "a port (1-65535)",
    "user": _TEXT,
    "password": _TEXT,
    "password_file": _TEXT,
    "ask_password": "true or false",
    "protocol": f"one of {', '.join(PROTOCOLS)}",
    "vhost": _TEXT,
    "heartbeats": "two numbers of milliseconds, such as '10000,10000'",
    "tls": "true or false",
    "tls_ca": _TEXT,
    "tls_cert": _TEXT,
    "tls_key": _TEXT,
    "tls_insecure": "true or false",
    "timeout": "a duration such as '2s'",
    "connect_headers": "a table of headers",
}
# Files; in a context they are relative to its own place.
FILES: Final = ("password_file", "tls_ca", "tls_cert", "tls_key")

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z")
_PASSCODE: Final = re.compile(r"(://[^:/@]*):[^/]*@")
_LAST_PORT: Final = 65535


@dataclass(frozen=True)
class Context:
    """One context: its name, the file that holds it, and what that says, checked."""

    name: str
    path: Path
    values: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        """Return the values by the names that the settings of the program have."""
        found = {name: value for name, value in self.values.items() if name != "description"}
        for name in FILES:
            if name in found:
                found[name] = str(self.path.parent / Path(found[name]).expanduser())
        if "url" in found:
            found["url"] = tuple(_urls(found["url"]))
        if "heartbeats" in found:
            found["heartbeats"] = BEATS.convert(found["heartbeats"], None, None)
        if "timeout" in found:
            found["timeout"] = DURATION.convert(found["timeout"], None, None)
        if "connect_headers" in found:
            found["connect_header"] = tuple(found.pop("connect_headers").items())
        return found

    def shown(self) -> dict[str, Any]:
        """Return the values without what is secret."""
        shown = dict(self.values)
        if "password" in shown:
            shown["password"] = "***"  # noqa: S105 - this is what stands for it
        if "url" in shown:
            urls = [_PASSCODE.sub(r"\1:***@", url) for url in _urls(shown["url"])]
            shown["url"] = urls if len(urls) > 1 else urls[0]
        return shown

    def place(self) -> str:
        """Return where the broker is, without any secret."""
        shown = self.shown()
        if "url" in shown:
            return ", ".join(_urls(shown["url"]))
        scheme = "stomp+ssl" if shown.get("tls") else "stomp"
        host = shown.get("host", "localhost")
        return f"{scheme}://{host}" + (f":{shown['port']}" if "port" in shown else "")

    def text(self) -> str:
        """Return the text of its file."""
        return written(self.values, KEYS)


def _urls(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def check_name(name: str) -> str:
    """Return the name of a context; raises `Failure` for what cannot be one."""
    if _NAME.match(name) is None:
        raise usage(
            f'"{name}" cannot name a context; letters, digits, ".", "_" and "-" can, 64 at most'
        )
    return name


def path_of(name: str) -> Path:
    """Return the file of a context, whether it is there or not."""
    return paths.config_folder() / "contexts" / f"{check_name(name)}.toml"


def names() -> list[str]:
    """Return the names of all contexts, sorted."""
    try:
        found = [path.stem for path in (paths.config_folder() / "contexts").glob("*.toml")]
    except OSError:
        return []
    return sorted(name for name in found if _NAME.match(name))


def load(name: str) -> Context:
    """Return a context; raises `Failure` if it is not there, wrong, or not private enough."""
    path = path_of(name)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except FileNotFoundError:
        close = get_close_matches(name, names(), n=1)
        hint = f'did you mean "{close[0]}"?' if close else "stomp context ls lists them"
        raise _bad(f'there is no context "{name}" ({path} is missing)', hint) from None
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}") from None
    context = parsed(name, path, data)
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and _is_secret(context.values):
        raise _bad(
            f"{path} holds a password, and others can read it", f"keep it private: chmod 600 {path}"
        )
    return context


def parsed(name: str, path: Path, data: bytes) -> Context:
    """Return the context that a file's octets are; raises `Failure` for what is wrong in them."""
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{path}: {error}") from None
    for key, value in values.items():
        if key not in KEYS:
            close = get_close_matches(key, KEYS, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(KEYS)}"
            raise _bad(f'{path}: unknown key "{key}"', hint)
        if not _is_right(key, value):
            raise _bad(f"{path}: {key} has to be {KEYS[key]}")
    if "url" in values and (clash := [key for key in ("host", "port") if key in values]):
        raise _bad(f"{path}: url and {clash[0]} exclude each other")
    if "password" in values and "password_file" in values:
        raise _bad(f"{path}: password and password_file exclude each other")
    return Context(name, path, values)


def _is_right(key: str, value: object) -> bool:
    kind = KEYS[key]
    if kind == "true or false":
        return isinstance(value, bool)
    if key == "url":
        urls = value if isinstance(value, list) else [value]
        return bool(urls) and all(isinstance(url, str) for url in urls)
    if key == "port":
        return isinstance(value, int) and value is not True and 0 < value <= _LAST_PORT
    if key == "protocol":
        return value in PROTOCOLS
    if key == "connect_headers":
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    if key == "timeout" and isinstance(value, int | float) and not isinstance(value, bool):
        return value > 0
    if not isinstance(value, str):
        return False
    try:
        if key == "heartbeats":
            BEATS.convert(value, None, None)
        elif key == "timeout":
            DURATION.convert(value, None, None)
    except click.BadParameter:
        return False
    return True


def _is_secret(values: Mapping[str, Any]) -> bool:
    """Return whether values hold a password."""
    urls = _urls(values.get("url", []))
    return "password" in values or any(_PASSCODE.search(url) for url in urls)


def save(context: Context) -> None:
    """Write the file of a context whole or not at all, for nobody else to read."""
    _write(context.path, context.text())


def remove(name: str) -> None:
    """Remove a context; one that was selected is so no more.

    Raises `Failure` if it is not there.
    """
    path = path_of(name)
    try:
        path.unlink()
    except FileNotFoundError:
        raise _bad(f'there is no context "{name}" ({path} is missing)') from None
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}") from None
    chosen, before = selection()
    if name in (chosen, before):
        _select(None if chosen == name else chosen, None if before == name else before)


# Which one is selected.


def selection() -> tuple[str | None, str | None]:
    """Return the context that is selected, and the one that was before it."""
    try:
        lines = _selection_file().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None, None
    found = [line.strip() or None for line in (*lines, "", "")]
    return found[0], found[1]


def select(name: str | None) -> str | None:
    """Make a context the one that is used unless another is named, None for none.

    Returns the one that was. Raises `Failure` if it is not there.
    """
    if name is not None:
        load(name)
    chosen, before = selection()
    if name != chosen:
        _select(name, chosen or before)
    return chosen


def _selection_file() -> Path:
    return paths.config_folder() / "context"


def _select(chosen: str | None, before: str | None) -> None:
    _write(_selection_file(), f"{chosen or ''}\n{before or ''}\n")


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise _bad(f"cannot write {path}: {error.strerror}") from None


def _bad(message: str, hint: str = "") -> Failure:
    return Failure(ExitCode.BAD_CONFIG, "bad-config", message, hint)
