"""Single values: what each kind may be, how it is read and shown, what is said of a wrong one."""

import os
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic_core import PydanticCustomError

from stompd.broker import policy as broker
from stompd.server.algorithms import ALGORITHMS
from stompd.server.units import (
    Address,
    address,
    count,
    duration,
    positive,
    quoted,
    several,
    show_duration,
    show_size,
    size,
    switch,
)

_LONGEST_SOCKET_PATH: Final = 107
# Per cent.
WHOLE: Final = 100

# The built-in values of what the layers below do by themselves stand there, and only there.
BROKER: Final = broker.Settings()


def reads(read: Callable[[object], object]) -> BeforeValidator:
    """Make pydantic report the sentence of ``read``'s ValueError, and nothing around it."""

    def validate(value: object) -> object:
        try:
            return read(value)
        except ValueError as error:
            raise PydanticCustomError("refused", "{reason}", {"reason": str(error)}) from error

    return BeforeValidator(validate)


def text_of(value: object) -> str:
    """Return a text that is not empty; raise `ValueError` for anything else."""
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{quoted(value)} is not a text" if value != "" else "must not be empty")


def _socket_path(value: object) -> Path:
    path = value if isinstance(value, Path) else Path(text_of(value)).expanduser()
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{quoted(str(path))} is longer than a socket's path may be "
            f"({_LONGEST_SOCKET_PATH} octets)"
        )
    return path


def _file(value: object) -> Path | None:
    return None if value is None or value == "" else _directory(value)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(text_of(value))
    except ValueError as error:
        raise ValueError(
            f"{quoted(value)} is no address or network (10.0.0.5, 10.1.0.0/16)"
        ) from error


def _directory(value: object) -> Path:
    path = value if isinstance(value, Path) else Path(text_of(value))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{quoted(str(path))}: {error}") from error


def _optional_text(value: object) -> str:
    return text_of(value) if value != "" else ""


def state_directory() -> Path:
    """Return where stompd keeps its messages if nothing else is said (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative path in there is to be ignored.
    home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return home / "stompd"


def show_directory(path: Path) -> str:
    """Write a path as people do, with ``~`` for their home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if home in path.parents else str(path)


def _factor(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        number = 0.0
    if 1 <= number < float("inf") and not isinstance(value, bool):
        return number
    raise ValueError(f"{quoted(value)} is not a factor (a number of 1 or more)")


def _mark(value: object) -> str:
    if isinstance(value, str):
        text = value.strip().lower()
        share = text.removesuffix("%").strip()
        if text == "none":
            return text
        if text.endswith("%") and share.isdecimal() and 0 < int(share) <= WHOLE:
            return f"{int(share)}%"
    try:
        octets = size(value)
    except ValueError:
        octets = 0
    if octets:
        return show_size(octets)
    raise ValueError(f'{quoted(value)} is neither a size (2GiB), nor a share (50%), nor "none"')


def nowhere_or_several(value: object) -> list[object]:
    """Return a list of addresses; ``off`` stands for none."""
    return [] if isinstance(value, str) and value.strip().lower() == "off" else several(value)


def _algorithm() -> BeforeValidator:
    by_name = {name.upper(): name for name in ALGORITHMS}

    def read(value: object) -> str:
        name = by_name.get(value.upper()) if isinstance(value, str) else None
        if name is None:
            raise ValueError(f"{quoted(value)} is none of {', '.join(ALGORITHMS)}")
        return name

    return reads(read)


def choice(*words: str) -> BeforeValidator:
    """Take one of these words, in upper or lower case."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise ValueError(f"{quoted(value)} is none of {', '.join(words)}")

    return reads(read)


def contradiction(high: str, high_value: str, low: str, low_value: str) -> PydanticCustomError:
    """Return the error about a key that has to be no less than another one."""
    return PydanticCustomError(
        "refused",
        "{high_value} is less than {low} ({low_value})",
        {"key": high, "high_value": high_value, "low": low, "low_value": low_value},
    )


_SHOWN_AS_DURATION: Final = PlainSerializer(show_duration, return_type=str, when_used="json")
_SHOWN_AS_SIZE: Final = PlainSerializer(show_size, return_type=str, when_used="json")
_SHOWN_AS_DIRECTORY: Final = PlainSerializer(show_directory, return_type=str, when_used="json")
_SHOWN_AS_FILE: Final = PlainSerializer(
    lambda path: "" if path is None else show_directory(path), return_type=str, when_used="json"
)
_SHOWN_AS_TEXT: Final = PlainSerializer(str, return_type=str, when_used="json")

Duration = Annotated[float, reads(duration), _SHOWN_AS_DURATION]
Size = Annotated[int, reads(size), _SHOWN_AS_SIZE]
Count = Annotated[int, reads(count)]
# None, written as an empty text, is no file.
File = Annotated[Path | None, reads(_file), _SHOWN_AS_FILE]
Directory = Annotated[Path, reads(_directory), _SHOWN_AS_DIRECTORY]
SocketPath = Annotated[Path, reads(_socket_path)]
# Where is listened.
Place = Annotated[Address, reads(address), _SHOWN_AS_TEXT]
Network = Annotated[IPv4Network | IPv6Network, reads(_network), _SHOWN_AS_TEXT]
Positive = Annotated[int, reads(positive)]
Factor = Annotated[float, reads(_factor)]
Switch = Annotated[bool, reads(switch)]
Text = Annotated[str, reads(text_of)]
OptionalText = Annotated[str, reads(_optional_text)]
Mark = Annotated[str, reads(_mark)]
Algorithm = Annotated[str, _algorithm()]


class Table(BaseModel):
    """A table of the file: keys are written with hyphens, unknown ones are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )
