"""The arithmetic of the bars, the table of a run, and its report in Markdown."""

from __future__ import annotations

import platform
import statistics
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks import disk, plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = "stompd"
TIMES = "\N{MULTIPLICATION SIGN}"
README_FROM, README_TO = "<!-- benchmark -->", "<!-- /benchmark -->"
README_WIDTH = 120
THREE_DIGITS, TWO_DIGITS = 100.0, 10.0


@dataclass(frozen=True)
class Bar:
    """What stompd has to reach.

    times     at least `limit` times the best other broker, where more is better
    fraction  at most `limit` of the best other broker, where less is better
    value     at most `limit`, whatever the others do
    least     at least `limit`, whatever the others do
    """

    kind: Literal["times", "fraction", "value", "least"]
    limit: float
    unit: str = ""

    def __str__(self) -> str:
        """As it stands in the tables."""
        if self.kind in {"value", "least"}:
            sign = "≤" if self.kind == "value" else "≥"
            return f"{sign} {self.limit:g} {self.unit}".rstrip()
        return f"{'≥' if self.kind == 'times' else '≤'} {self.limit:g}{TIMES}"


@dataclass(frozen=True)
class Row:
    """One figure of every broker. None stands for a run that failed; `notes` says why."""

    name: str
    title: str
    unit: str
    values: Mapping[str, float | None]
    bar: Bar | None = None
    less_is_better: bool = False
    details: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    """Processor time of each broker for one message, in microseconds."""
    foreign: Sequence[float] = ()
    """Part of the machine that others had, in each of the runs."""
    notes: Sequence[str] = ()
    syncs: Mapping[str, str] = field(default_factory=dict)
    """What each broker told the disk to keep meanwhile."""
    compared: bool = True
    """False if the brokers did not do the same, so that no ratio means anything."""

    def ratio(self) -> float | None:
        """Our figure over that of the best other broker, or None without either."""
        ours = self.values.get(OURS)
        others = [
            value for name, value in self.values.items() if name != OURS and value is not None
        ]
        if ours is None or not others or not self.compared:
            return None
        best = min(others) if self.less_is_better else max(others)
        return ours / best if best else None

    def thrift(self) -> float | None:
        """Processor time of the most economical other broker over ours, or None without either."""
        ours = self.costs.get(OURS)
        others = [cost for name, cost in self.costs.items() if name != OURS]
        return min(others) / ours if ours and others else None

    def verdict(self) -> str:
        """Whether the bar is cleared: pass, missed, or nothing without a bar or a comparison."""
        if self.bar is None:
            return ""
        ours = self.values.get(OURS)
        if OURS in self.values and ours is None:
            return "missed"
        if self.bar.kind == "value":
            return "" if ours is None else ("pass" if ours <= self.bar.limit else "missed")
        if self.bar.kind == "least":
            return "" if ours is None else ("pass" if ours >= self.bar.limit else "missed")
        ratio = self.ratio()
        if ratio is None:
            return ""
        reached = ratio >= self.bar.limit if self.bar.kind == "times" else ratio <= self.bar.limit
        return "pass" if reached else "missed"


@dataclass(frozen=True)
class Table:
    """Rows that belong together, with a sentence about what was done."""

    title: str
    text: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Run:
    """Everything that a report says about one run."""

    date: str
    command: str
    versions: Mapping[str, str]
    left_out: Mapping[str, str]
    method: Sequence[str]
    tables: Sequence[Table]
    machine: str
    disk: str = ""
    """What `disk_line` said, if the disk mattered."""


def number(value: float | None, unit: str = "") -> str:
    """A figure with three digits or more, thousands apart, and its unit; `failed` for None."""
    if value is None:
        return "failed"
    if abs(value) >= THREE_DIGITS:
        text = f"{value:,.0f}".replace(",", " ")
    elif abs(value) >= TWO_DIGITS:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def machine() -> str:
    """Processor, memory, kernel and Python of this machine, on one line."""
    model = "unknown processor"
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = 0
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            memory = int(line.split()[1])
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    system = f"{platform.system()} {platform.release()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{cores} {TIMES} {model}, {memory / 2**20:.0f} GiB, {system}, {python}"


def disk_line(directory: Path) -> str:
    """The file system of `directory`, and what it costs to append to a file and sync it, now."""
    cost = disk.sync_cost(directory)
    return (
        f"{disk.file_system(directory)} ({directory}); an append of {disk.APPEND_OCTETS // 1024} "
        f"KiB and its fdatasync took {cost.median:.2f} ms in half of {cost.count} cases, "
        f"{cost.p99:.2f} ms or less in 99 of a hundred"
    )


def syncs_text(syncs: disk.Syncs, messages: int) -> str:
    """How often so many messages made a broker tell the disk to keep what it had written."""
    if not syncs.total:
        return f"none for {count(messages)} messages"
    calls = ", ".join(f"{count(got)} {name}" for name, got in sorted(syncs.calls.items()) if got)
    each = number(messages / syncs.total)
    return f"{calls} for {count(messages)} messages: one for {each}"


def count(number: int) -> str:
    """A whole number, thousands apart."""
    return f"{number:,}".replace(",", " ")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def heading(names: Sequence[str]) -> str:
    """The first line of the table on the terminal."""
    cells = "".join(f"{name:>22}" for name in names)
    return f"{'scenario':18}{cells}{'ratio':>9}{'bar':>12}"


def line(row: Row, names: Sequence[str]) -> str:
    """One row of the table on the terminal."""
    cells = "".join(f"{number(row.values.get(name), row.unit):>22}" for name in names)
    ratio = row.ratio()
    shown = "" if ratio is None else f"{ratio:.2f}{TIMES}"
    bar = str(row.bar) if row.bar else ""
    return f"{row.name:18}{cells}{shown:>9}{bar:>12} {row.verdict()}".rstrip()


def markdown(run: Run, picture: str | None = None) -> str:
    """The whole report; `picture` is the name of the SVG file beside it."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    bars = [row for table in run.tables for row in table.rows if row.verdict()]
    cleared = sum(row.verdict() == "pass" for row in bars)
    out = [
        f"# Benchmark of {run.date}",
        "",
        f"* Brokers: {versions}",
        *(f"* Left out: {name}: {reason}" for name, reason in run.left_out.items()),
        f"* Machine: {run.machine}",
        *([f"* Disk: {run.disk}"] if run.disk else []),
        f"* Command: `{run.command}`",
        *_foreign([part for table in run.tables for row in table.rows for part in row.foreign]),
        f"* Bars cleared: {cleared} of {len(bars)}",
        "",
        *run.method,
        "",
    ]
    if picture:
        out += [f"![The figures as bars]({picture})", ""]
    for table in run.tables:
        out += _markdown_table(table)
    return "\n".join(out).rstrip() + "\n"


def _foreign(parts: Sequence[float]) -> list[str]:
    """A line on how much of the machine was not for the benchmark; nothing without runs."""
    if not parts:
        return []
    most, middle = max(parts), statistics.median(parts)
    text = (
        f"* Other programs and the host of this machine took at most {middle:.0%} of the "
        f"processors' time in half of the runs, and {most:.0%} in the worst"
    )
    return [text]


def _markdown_table(table: Table) -> list[str]:
    names = list(dict.fromkeys(name for row in table.rows for name in row.values))
    out = [f"## {table.title}", "", table.text, ""]
    barred = any(row.bar for row in table.rows)
    compared = any(row.ratio() is not None for row in table.rows)
    head = ["scenario", "what", *names]
    if compared:
        head.append("ratio")
    if barred:
        head += ["bar", ""]
    out += [_cells(head), _cells(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for row in table.rows:
        cells = [row.name, row.title]
        cells += [number(row.values.get(name), row.unit) for name in names]
        if compared:
            ratio = row.ratio()
            cells.append("" if ratio is None else f"{ratio:.2f}{TIMES}")
        if barred:
            cells += [str(row.bar or ""), row.verdict()]
        out.append(_cells(cells))
    detailed = [row for row in table.rows if row.details]
    if detailed:
        head = ["scenario", *names]
        thrifty = any(row.thrift() is not None for row in detailed)
        if thrifty:
            head.append("CPU ratio")
        out += ["", _cells(head), _cells(["---"] * len(head))]
        for row in detailed:
            cells = [row.name, *(row.details.get(name, "") for name in names)]
            if thrifty:
                thrift = row.thrift()
                cells.append("" if thrift is None else f"{thrift:.1f}{TIMES}")
            out.append(_cells(cells))
    synced = [row for row in table.rows if row.syncs]
    if synced:
        head = ["syncs", *names]
        out += ["", _cells(head), _cells(["---"] * len(head))]
        out += [_cells([row.name, *(row.syncs.get(name, "") for name in names)]) for row in synced]
    notes = [f"* {row.name}: {note}" for row in table.rows for note in row.notes]
    notes += [f"* {note}" for note in table.notes]
    return [*out, *([""] if notes else []), *notes, ""]


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _side_by_side(row: Row) -> bool:
    """Whether the row compares brokers."""
    return len(row.values) > 1 and row.compared


def summary(run: Run, link: str) -> str:
    """The comparison alone, for a README: a sentence with a link to the report, and one table."""
    rows = [row for table in run.tables for row in table.rows if _side_by_side(row)]
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    sentence = (
        f"In one run on {run.date} ({versions}; {run.machine}), messages delivered a second unless "
        "a unit says otherwise; the ratio is stompd over the better of the others. Method, "
        f"latencies, processor time and memory stand in [the report]({link})."
    )
    out = [
        textwrap.fill(sentence, README_WIDTH, break_long_words=False, break_on_hyphens=False),
        "",
        _cells(["", *names, "ratio"]),
        _cells(["---", *["---:"] * (len(names) + 1)]),
    ]
    for row in rows:
        ratio = row.ratio()
        unit = "" if row.unit == "/s" else row.unit
        cells = [number(row.values.get(name), unit) for name in names]
        shown = "" if ratio is None else f"{ratio:.2g}{TIMES}"
        if ratio is not None and ratio >= TWO_DIGITS:
            shown = f"{ratio:.0f}{TIMES}"
        out.append(_cells([row.title, *cells, shown]))
    return "\n".join(out) + "\n"


def with_summary(text: str, new: str) -> str:
    """The text of a README with `new` between its two marks. Raises ValueError without them."""
    before, opening, rest = text.partition(README_FROM)
    _, closing, after = rest.partition(README_TO)
    if not opening or not closing:
        raise ValueError(f"the README has no {README_FROM} and {README_TO}")
    return f"{before}{opening}\n{new}{closing}{after}"


def picture(run: Run) -> str:
    """All rows that compare brokers as bars in SVG."""
    rows = [row for table in run.tables for row in table.rows if _side_by_side(row)]
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    groups = []
    for row in rows:
        ratio = row.ratio()
        groups.append(
            plot.Group(
                label=f"{row.title}{' (less is better)' if row.less_is_better else ''}",
                values=[row.values.get(name) for name in names],
                texts=[number(row.values.get(name), row.unit) for name in names],
                note=f"{row.name}{'' if ratio is None else f': {ratio:.2f}{TIMES}'}",
            )
        )
    subtitle = f"each group has its own scale; {TIMES} is stompd over the best other broker"
    return plot.bars(f"STOMP brokers side by side, {run.date}", subtitle, names, groups)
