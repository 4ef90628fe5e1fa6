"""The table: which requirement a broker meets, and what came instead where it does not."""

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.cases import Origin, Requirement
from conformance.content import SNIFFED
from conformance.suite import Outcome, Verdict

_SERVER = {"S", "B"}


@dataclass(frozen=True)
class Row:
    """One requirement and what was found; ``origin`` "choice" goes beyond the specification."""

    requirement: Requirement
    origin: Origin
    verdict: Verdict
    passed: int
    failed: int
    came: tuple[str, ...]
    """For each failed check: its name and what came instead."""


@dataclass(frozen=True)
class Score:
    """How many of the rows that could be judged were met."""

    met: int
    judged: int

    def __str__(self) -> str:
        percent = f" ({100 * self.met / self.judged:.0f} %)" if self.judged else ""
        return f"{self.met} of {self.judged}{percent}"


@dataclass(frozen=True)
class Report:
    """All rows of one broker, and how they came about."""

    broker: str
    rows: tuple[Row, ...]
    about: tuple[str, ...]

    def score(self, chapter: str | None = None, *, ours: bool) -> Score:
        """The score of a chapter or of all; with ``ours`` the rows of stompd's choice count too."""
        rows = [
            row
            for row in self.rows
            if chapter in {None, row.requirement.chapter}
            and row.verdict != "n/a"
            and (ours or row.origin == "specification")
        ]
        return Score(sum(row.verdict == "pass" for row in rows), len(rows))

    def chapters(self) -> list[str]:
        """The chapters in the order of the list."""
        return list(dict.fromkeys(row.requirement.chapter for row in self.rows))


def judge(
    broker: str,
    requirements: dict[str, Requirement],
    outcomes: Sequence[Outcome],
    about: Iterable[str] = (),
) -> Report:
    """Gather outcomes by requirement.

    A requirement of which some checks follow from the specification and some are stompd's choice
    gets two rows, so that the specification's score is not touched by the choices.
    """
    found: dict[tuple[str, Origin], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for clause in outcome.case.clauses:
            origin: Origin = "choice" if requirements[clause].ours else outcome.case.origin
            found[clause, origin].append(outcome)
    breaches: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        for clause, frame in outcome.complaints:
            breaches[clause].append(f"{outcome.case.name}: {frame}")
    origins: tuple[Origin, Origin] = ("specification", "choice")
    rows = [
        _row(requirement, origin, found[identifier, origin], breaches[identifier])
        for identifier, requirement in requirements.items()
        for origin in origins
        if found[identifier, origin]
    ]
    return Report(broker, tuple(rows), tuple(about))


def _row(
    requirement: Requirement, origin: Origin, outcomes: list[Outcome], breaches: list[str]
) -> Row:
    count = Counter(outcome.verdict for outcome in outcomes)
    came = [f"{o.case.name}: {o.came}" for o in outcomes if o.verdict == "fail"]
    sniffed = {SNIFFED.get(requirement.id), None} & {o.case.name for o in outcomes}
    if sniffed and breaches:
        came.append(f"seen in {len(breaches)} frames of the run, first in {breaches[0]}")
    verdict: Verdict = "fail" if came else "pass" if count["pass"] else "n/a"
    return Row(requirement, origin, verdict, count["pass"], count["fail"], tuple(came))


def _mark(row: Row) -> str:
    return " ◆" if row.origin == "choice" else ""


_LEGEND = (
    "A row is met if every check of it passed; n/a: the check needs a configuration that only "
    "stompd can be given here, or a log-in. ◆ marks what goes beyond the specification: where it "
    "is silent, or obliges only the client, the row says what stompd does. A requirement with "
    "checks of both kinds has two rows."
)


def _scores(report: Report) -> list[tuple[str, str, str]]:
    table = [
        (
            chapter,
            str(report.score(chapter, ours=False)),
            str(report.score(chapter, ours=True)),
        )
        for chapter in report.chapters()
    ]
    total = ("Total", str(report.score(ours=False)), str(report.score(ours=True)))
    return [*table, total]


def as_text(report: Report) -> str:
    """The table for a terminal; of the rows that are met only the number."""
    lines = [f"STOMP conformance of {report.broker}", *report.about, "", _LEGEND, ""]
    for chapter in report.chapters():
        lines.append(f"{chapter}")
        for row in report.rows:
            if row.requirement.chapter != chapter:
                continue
            name = f"{row.requirement.id}{_mark(row)}"
            lines.append(f"  {row.verdict:5}{name:10} {row.requirement.text}")
            lines += [f"                 - {_line(came, 300)}" for came in row.came]
        lines.append("")
    lines.append(f"{'score':50} {'specification':>18} {'with choices':>18}")
    lines += [f"{name:50} {spec:>18} {both:>18}" for name, spec, both in _scores(report)]
    return "\n".join(lines) + "\n"


def _line(text: str, most: int) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cell(text: str) -> str:
    return _line(text, 400).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def as_markdown(report: Report) -> str:
    """The table in Markdown."""
    lines = [f"# STOMP conformance of {report.broker}", "", *report.about, "", _LEGEND, ""]
    lines += ["| chapter | specification | with choices |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _scores(report)]
    for chapter in report.chapters():
        lines += ["", f"## {chapter}", ""]
        lines += ["| | id | level | requirement | what came instead |", "|---|---|---|---|---|"]
        for row in report.rows:
            if row.requirement.chapter == chapter:
                requirement = row.requirement
                came = "<br>".join(_cell(text) for text in row.came)
                name = f"{requirement.id}{_mark(row)}"
                lines.append(
                    f"| {row.verdict} | {name} | {requirement.level} "
                    f"| {_cell(requirement.text)} | {came} |"
                )
    return "\n".join(lines) + "\n"


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem }
td, th { border: 1px solid #8884; padding: .3rem .5rem; text-align: left; vertical-align: top }
td:last-child { overflow-wrap: anywhere }
.pass { background: #2a92 } .fail { background: #d336 } .na { color: #888 }
code { font-size: 90% } :root { color-scheme: light dark }
"""


def as_html(report: Report) -> str:
    """The table as one HTML page that needs nothing else."""
    escape = html.escape
    title = escape(f"STOMP conformance of {report.broker}")
    out = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
        *(f"<p>{escape(line)}</p>" for line in report.about),
        f"<p>{escape(_LEGEND)}</p>",
        "<table><tr><th>chapter<th>specification<th>with choices</tr>",
    ]
    out += [
        "<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) + "</tr>" for row in _scores(report)
    ]
    out.append("</table>")
    for chapter in report.chapters():
        out.append(f"<h2>{escape(chapter)}</h2><table>")
        out.append("<tr><th><th>id<th>level<th>requirement<th>what came instead</tr>")
        for row in report.rows:
            if row.requirement.chapter == chapter:
                came = "<br>".join(f"<code>{escape(_line(text, 400))}</code>" for text in row.came)
                out.append(
                    f'<tr id="{row.requirement.id}-{row.origin}">'
                    f'<td class="{row.verdict.replace("/", "")}">{row.verdict}'
                    f"<td>{row.requirement.id}{_mark(row)}<td>{escape(row.requirement.level)}"
                    f"<td>{escape(row.requirement.text)}<td>{came}</tr>"
                )
        out.append("</table>")
    out.append("</body></html>")
    return "\n".join(out) + "\n"
