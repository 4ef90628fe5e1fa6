"""What a check found, judged by thresholds, in the forms that monitoring systems read. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from stompcli.failure import usage
from stompcli.options import DURATION, NUMBER
from stompcli.render import visible_line

FORMATS: Final = ("nagios", "json", "prometheus")
_LABEL: Final = re.compile(r'[\\"\n]')
_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


class Status(IntEnum):
    """The exit codes of nagios' plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Thresholds:
    """From which values on something is worth a warning, or critical; None: from none."""

    warn: float | None = None
    crit: float | None = None

    @classmethod
    def of(cls, warn: str | None, crit: str | None, *, seconds: bool) -> "Thresholds":
        """Return the thresholds in two words of a command line: durations, or numbers.

        Raises `click.UsageError` for other words, and `Failure` if they are the wrong way round.
        """
        kind = DURATION if seconds else NUMBER
        made = cls(
            *(None if word is None else kind.convert(word, None, None) for word in (warn, crit))
        )
        if made.warn is not None and made.crit is not None and made.crit < made.warn:
            raise usage(f"--crit {crit} is below --warn {warn}; the larger value is the worse one")
        return made

    def judge(self, value: float) -> Status:
        """Return what a value means."""
        if self.crit is not None and value >= self.crit:
            return Status.CRITICAL
        if self.warn is not None and value >= self.warn:
            return Status.WARNING
        return Status.OK


@dataclass(frozen=True)
class Value:
    """One number that a check has found; ``seconds`` says that it is a time."""

    name: str
    value: float
    thresholds: Thresholds = Thresholds()
    seconds: bool = False

    @property
    def status(self) -> Status:
        """What it means."""
        return self.thresholds.judge(self.value)

    def passed(self) -> str:
        """Return the threshold that it has passed, in words, empty if it has not."""
        limits = self.thresholds
        limit = limits.crit if self.status is Status.CRITICAL else limits.warn
        return "" if self.status is Status.OK or limit is None else f" (>={_short(limit)})"

    def performance(self) -> str:
        """Return it as nagios' performance data."""
        limits = [self.thresholds.warn, self.thresholds.crit]
        text = f"{self.name}={_short(self.value)}{'s' if self.seconds else ''}"
        while limits and limits[-1] is None:
            limits.pop()
        return ";".join([text, *("" if limit is None else _short(limit) for limit in limits)])


@dataclass(frozen=True)
class Verdict:
    """What a check of something has found."""

    check: str
    target: str
    status: Status
    text: str
    values: Sequence[Value] = ()

    def render(self, form: str) -> str:
        """Return it in one of `FORMATS`, as lines."""
        if form == "prometheus":
            return self._prometheus()
        line = f"{self.status.name}: {visible_line(self.text).replace('|', '/')}"
        if self.values:
            line += " | " + " ".join(value.performance() for value in self.values)
        return line + "\n"

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written in JSON."""
        return {
            "check": self.check,
            "target": self.target,
            "status": self.status.name,
            "code": int(self.status),
            "message": self.text,
            "values": {
                value.name: {
                    "value": round(value.value, 6),
                    "warn": value.thresholds.warn,
                    "crit": value.thresholds.crit,
                }
                for value in self.values
            },
        }

    def _prometheus(self) -> str:
        labels = _labels({"check": self.check, "target": self.target})
        lines = [
            "# HELP stomp_check_status 0 is OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN",
            "# TYPE stomp_check_status gauge",
            f"stomp_check_status{labels} {int(self.status)}",
        ]
        for value in self.values:
            unit = "_seconds" if value.seconds else ""
            name = f"stomp_check_{_NOT_A_NAME.sub('_', value.name)}{unit}"
            lines += [f"# TYPE {name} gauge", f"{name}{labels} {_short(value.value)}"]
        return "".join(f"{line}\n" for line in lines)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the worst of some, OK for none; what is critical is worse than what is unknown."""
    order = (Status.OK, Status.UNKNOWN, Status.WARNING, Status.CRITICAL)
    return max(statuses, key=order.index, default=Status.OK)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = [
        f'{name}="{_LABEL.sub(lambda match: _ESCAPED[match[0]], value)}"'
        for name, value in labels.items()
    ]
    return "{" + ",".join(pairs) + "}"


def _short(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
