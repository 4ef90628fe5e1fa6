"""What a user may set, for a session of the shell or for good: `config.toml`.

``set`` shows and changes it, ``set --save`` writes what was changed into the file, which otherwise
stays as its user wrote it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from stompcli import toml
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.render import check_pattern

PROMPT: Final = "{user@}{host}:{port}{tx}{mode}> "

_MEANINGS: Final = {
    "prompt": "the prompt: {user@} {host} {port} {tx} {mode} stand for what they say",
    "format": "how messages are shown: stomp.py, pretty, json, body, or a pattern",
    "headers": "full or short: whether all headers are shown",
    "keys": "emacs or vi",
    "rate": "messages shown a second at most, 0 for all",
    "toolbar": "on or off",
    "color": "auto, always or never",
    "pager": "the program that shows long messages, empty for none",
    "editor": "the editor, empty for VISUAL or EDITOR",
    "confirm": "on or off: whether to ask before something is destroyed",
    "reconnect": "on or off: whether a lost connection is made again",
    "lint": "on or off: whether raw frames are checked",
    "debug": "on or off: whether a fault of this program shows its traceback",
}
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "headers": ("full", "short"),
    "keys": ("emacs", "vi"),
    "color": ("auto", "always", "never"),
    "format": ("stomp.py", "pretty", "json", "body"),
}
_SWITCH: Final = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_TABLES: Final = ("aliases", "on_connect")
_TABLE_HEAD: Final = re.compile(r"\s*\[")


@dataclass
class Preferences:
    """The settings of a shell; ``on_change`` is told the name of one that was changed."""

    prompt: str = PROMPT
    format: str = "stomp.py"
    headers: str = "full"
    keys: str = "emacs"
    rate: int = 20
    toolbar: bool = True
    color: str = "auto"
    pager: str = ""
    editor: str = ""
    confirm: bool = True
    reconnect: bool = True
    lint: bool = True
    debug: bool = False
    # Words that stand for the beginning of a line.
    aliases: dict[str, str] = field(default_factory=dict)
    # Lines to run when a connection was made.
    on_connect: list[str] = field(default_factory=list)
    # What the file of settings says, and what was changed in this session.
    named: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    on_change: Callable[[str], object] = str

    def shown(self, name: str) -> str:
        """Return a setting as it is typed; raises `Failure` if there is none of that name."""
        value = getattr(self, _known(name))
        return ("on" if value else "off") if isinstance(value, bool) else str(value)

    def set(self, name: str, text: str) -> None:
        """Change a setting; raises `Failure` for a value that it cannot have."""
        setattr(self, _known(name), _converted(name, text))
        self.changed.add(name)
        self.on_change(name)

    def save(self, path: Path) -> list[str]:
        """Write what was changed into the file, and return the names; raises `Failure`."""
        names = [name for name in NAMES if name in self.changed]
        lines = "".join(toml.written({name: getattr(self, name)}, [name]) for name in names)
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            text = _replaced(text, dict(zip(names, lines.splitlines(), strict=True)))
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(path)
        except (OSError, UnicodeError) as error:
            raise _bad(path, _reason(error)) from None
        return names


NAMES: Final = tuple(one.name for one in fields(Preferences) if one.name in _MEANINGS)


def meaning(name: str) -> str:
    """Return what a setting is for."""
    return _MEANINGS[name]


def values() -> dict[str, tuple[str, ...]]:
    """Return the settings, each with the values that it may have, if there are few."""
    defaults = Preferences()
    return {
        name: ("on", "off") if isinstance(getattr(defaults, name), bool) else CHOICES.get(name, ())
        for name in NAMES
    }


def load(path: Path) -> Preferences:
    """Return the settings in a file, the usual ones if there is no file.

    Raises `Failure` that says where the file is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise _bad(path, _reason(error)) from None
    found = Preferences()
    for name, value in document.items():
        try:
            if name in _TABLES:
                setattr(found, name, _table(name, value))
            else:
                text = ("on" if value else "off") if isinstance(value, bool) else value
                setattr(found, _known(name), _converted(name, str(text)))
            found.named.add(name)
        except Failure as failure:
            raise _bad(path, failure.message) from None
    return found


def _known(name: str) -> str:
    if name not in NAMES:
        raise usage(f'there is no setting "{name}"', f"there are: {', '.join(NAMES)}")
    return name


def _converted(name: str, text: str) -> str | int | bool:
    default = getattr(Preferences(), name)
    if isinstance(default, bool):
        if text.lower() not in _SWITCH:
            raise usage(f"{name} is on or off, not {text}")
        return _SWITCH[text.lower()]
    if isinstance(default, int):
        if not text.isascii() or not text.isdigit():
            raise usage(f"{name} is a number, not {text}")
        return int(text)
    if name == "format":
        complaint = check_pattern(text)
        if complaint is not None:
            raise usage(complaint)
    elif name in CHOICES and text not in CHOICES[name]:
        raise usage(f"{name} is {' or '.join(CHOICES[name])}, not {text}")
    return text


def _table(name: str, value: object) -> Any:  # noqa: ANN401 - of the one kind or the other
    if name == "on_connect":
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            return value
        raise usage('on_connect is a list of lines, such as ["subscribe /queue/test"]')
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value
    raise usage('aliases is a table of lines, such as q = "quit"')


def _replaced(text: str, lines: Mapping[str, str]) -> str:
    """Return a document with these lines in place of those of the same keys, before any table."""
    rows = text.splitlines()
    end = next((at for at, row in enumerate(rows) if _TABLE_HEAD.match(row)), len(rows))
    head, rest = rows[:end], rows[end:]
    for name, line in lines.items():
        key = re.compile(rf"\s*{re.escape(name)}\s*=")
        at = next((at for at, row in enumerate(head) if key.match(row)), None)
        if at is None:
            head.append(line)
        else:
            head[at] = line
    return "".join(f"{row}\n" for row in [*head, *rest])


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _bad(path: Path, why: str) -> Failure:
    return Failure(ExitCode.BAD_CONFIG, "bad-config", f"{path}: {why}")
