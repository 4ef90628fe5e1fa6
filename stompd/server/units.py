"""What people write in a configuration: durations, sizes, addresses, switches.

Each ``x(value)`` takes what TOML, an environment variable or a flag may hold and returns the value
in the unit that the program counts in (seconds, octets); it raises `ValueError` with a sentence
that says what was found and what is meant. Each ``show_x`` writes a value so that it may be read
again.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OCTETS: Final = {
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "ki": KIB,
    "kib": KIB,
    "m": 1000**2,
    "mb": 1000**2,
    "mi": MIB,
    "mib": MIB,
    "g": 1000**3,
    "gb": 1000**3,
    "gi": 1024 * MIB,
    "gib": 1024 * MIB,
}
_SWITCH: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_LARGEST_PORT: Final = 65535
# What the store and the operating system can count; and seconds that are for ever.
_MOST: Final = 2**63 - 1
_LONGEST: Final = 1e12
# Bits of a number that people still read.
_READABLE: Final = 128


def quoted(value: object) -> str:
    """Return ``value`` as a person wrote it: strings in double quotes, control characters shown."""
    if isinstance(value, str):
        return '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _READABLE:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, list) else str(value)


def duration(value: object) -> float:
    """Return seconds: ``"500ms"``, ``"2s"``, ``"1m"``, ``"1h"``, or a bare number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
        unit = _SECONDS.get(match[2].lower() or "s") if match else None
        if match and unit is not None and (seconds := float(match[1]) * unit) <= _LONGEST:
            return seconds
    raise ValueError(
        f"{quoted(value)} is not a duration (500ms, 2s, 1m, 1h; a bare number is seconds)"
    )


def show_duration(seconds: float) -> str:
    """Write ``seconds`` in the largest unit that leaves a whole number."""
    if seconds == 0:
        return "0s"
    for unit in ("h", "m", "s"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def size(value: object) -> int:
    """Return octets: ``"64KiB"``, ``"32MiB"``, ``"1k"`` (1000), or a bare number of octets."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value.strip())
        unit = _OCTETS.get(match[2].lower() or "b") if match else None
        number = float(match[1]) * unit if match and unit is not None else 0.5
        if number <= _MOST and number.is_integer():
            return int(number)
    raise ValueError(
        f"{quoted(value)} is not a size (64KiB, 32MiB, 1k = 1000; a bare number is octets)"
    )


def show_size(octets: int) -> str:
    """Write ``octets`` in the largest binary unit that leaves a whole number."""
    for unit, name in ((1024 * MIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if octets and octets % unit == 0:
            return f"{octets // unit}{name}"
    return f"{octets}B"


def count(value: object) -> int:
    """Return a whole number of things, 0 or more."""
    if isinstance(value, str) and re.fullmatch(r" *[0-9]{1,19} *", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    raise ValueError(f"{quoted(value)} is not a whole number (0 or more)")


def positive(value: object) -> int:
    """Return a whole number of things, 1 or more."""
    try:
        number = count(value)
    except ValueError:
        number = 0
    if number:
        return number
    raise ValueError(f"{quoted(value)} is not a whole number (1 or more)")


def switch(value: object) -> bool:
    """Return a yes or no: ``true`` and ``false``; as text also yes, no, on, off, 1, 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError(f"{quoted(value)} is neither true nor false")


def several(value: object) -> list[object]:
    """Return a list: an array as it is, a text split at its commas, anything else alone."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value]


@dataclass(frozen=True)
class Address:
    """A TCP address to listen on; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it; of names only localhost is believed."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def address(value: object) -> Address:
    """Return the `Address` in ``127.0.0.1:61613``, ``localhost:61613`` or ``[::1]:61613``."""
    if isinstance(value, Address):
        return value
    match = None
    if isinstance(value, str):
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:\[\]]+)):([0-9]+)", value.strip())
    if match is None:
        raise ValueError(f"{quoted(value)} is not HOST:PORT (127.0.0.1:61613, [::1]:61613)")
    port = int(match[3])
    if port > _LARGEST_PORT:
        raise ValueError(f"{port} is not a port (1-{_LARGEST_PORT}, or 0 for a free one)")
    if match[1] is not None:
        try:
            ipaddress.IPv6Address(match[1])
        except ValueError:
            raise ValueError(f"{quoted(match[1])} is not an IPv6 address") from None
    return Address(match[1] or match[2], port)
