"""What a case is; reads the scripts of ``wire/*.toml`` and collects the cases in Python."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from conformance.script import run, steps
from conformance.stage import Stage

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent / "wire"
LIST = HERE.parent / "requirements.toml"

Origin = Literal["specification", "choice"]
Pace = Literal["light", "slow", "heavy"]
Elsewhere = Literal["never", "login", "always"]


@dataclass(frozen=True)
class Requirement:
    """One row of the requirements list."""

    id: str
    chapter: str
    specification: str
    level: str
    binds: str
    text: str
    check: str

    @property
    def ours(self) -> bool:
        """Whether the specification is silent and the row is stompd's choice."""
        return self.level == "choice"


@dataclass(frozen=True)
class Case:
    """One check of one or more requirements.

    ``origin``    whether the specification itself asks for what the case checks; "choice" marks
                  what goes beyond it, so that other brokers are judged fairly
    ``pace``      light; slow (waits a lot, costs nothing); heavy (runs with little else beside it)
    """

    name: str
    clauses: tuple[str, ...]
    origin: Origin
    config: str
    elsewhere: Elsewhere
    pace: Pace
    play: Callable[[Stage], None]
    source: str
    script: str = ""
    """What is played, if it is a script."""


COLLECTED: list[Case] = []


@cache
def requirements() -> dict[str, Requirement]:
    """The rows of the requirements list by id, in its order."""
    rows = tomllib.loads(LIST.read_text(encoding="utf-8"))["requirement"]
    return {row["id"]: Requirement(**row) for row in rows}


def case(
    *clauses: str,
    origin: Origin | None = None,
    config: str = "plain",
    elsewhere: Elsewhere | None = None,
    pace: Pace = "light",
) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Mark a function as a case; the first line of its docstring is the case's name."""

    def collect(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = (play.__doc__ or "").partition("\n")[0].strip().removesuffix(".")
        source = f"{play.__module__.rpartition('.')[2]}.py"
        COLLECTED.append(
            Case(
                name,
                clauses,
                origin or _origin(clauses),
                config,
                elsewhere or _elsewhere(config),
                pace,
                play,
                source,
            )
        )
        return play

    return collect


def _origin(clauses: tuple[str, ...]) -> Origin:
    rows = requirements()
    return "choice" if all(c in rows and rows[c].ours for c in clauses) else "specification"


def _elsewhere(config: str) -> Elsewhere:
    return "always" if config == "plain" else "never"


def _scripted(path: Path) -> list[Case]:
    found = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
        clauses = tuple(entry["clause"])
        config = entry.get("config", "plain")
        text = entry["script"]
        steps(text)

        def play(stage: Stage, text: str = text) -> None:
            run(text, stage)

        known = {"name", "clause", "script", "origin", "config", "elsewhere", "pace"}
        if not known.issuperset(entry):
            raise ValueError(f"{path.name}: {entry['name']}: unknown keys {set(entry) - known}")
        found.append(
            Case(
                name=entry["name"],
                clauses=clauses,
                origin=entry.get("origin") or _origin(clauses),
                config=config,
                elsewhere=entry.get("elsewhere") or _elsewhere(config),
                pace=entry.get("pace", "light"),
                play=play,
                source=path.name,
                script=text,
            )
        )
    return found


def all_cases() -> list[Case]:
    """Every case, scripts first; raises `ValueError` if two have the same name."""
    from conformance import content, settings, timing, volume  # noqa: F401, PLC0415  # they register

    cases = [c for path in sorted(SCRIPTS.glob("*.toml")) for c in _scripted(path)]
    cases += COLLECTED
    names = [c.name for c in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two cases have the same name: {sorted(twice)}")
    return cases
