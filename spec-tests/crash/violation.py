"""A broken promise, as `crash.checker` reports it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "lost",
    "came back",
    "in part",
    "uncommitted",
    "order",
    "unmarked duplicate",
    "ghost",
    "early",
    "receipt",
    "stale",
    "unwanted",
    "held twice",
    "group",
    "refused",
    "overfull",
    "late",
    "buried",
    "too often",
    "schedule",
]


@dataclass(frozen=True)
class Violation:
    """A broken promise."""

    kind: Kind
    text: str
    trail: tuple[str, ...] = ()
    """The events that concern it."""

    def __str__(self) -> str:
        return "\n    ".join((f"{self.kind}: {self.text}", *self.trail))
