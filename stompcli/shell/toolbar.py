"""The lines below the prompt: what the session is and does, and the syntax of what is typed.

Pure: a snapshot of the session goes in, styled text comes out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stompcli import table, words
from stompcli.render import visible_line

Fragments = list[tuple[str, str]]

# Parts of the agreed interval from which on an age is worth a colour.
_LATE: Final = 0.75
_OVERDUE: Final = 1.0
_BAR: Final = " │ "


@dataclass(frozen=True)
class State:
    """What there is to say of a session at one moment; nobody changes it."""

    prompt: str = "> "
    connected: bool = False
    # What is being done about a connection that is not there.
    note: str = ""
    server: str = ""
    version: str = ""
    subscriptions: int = 0
    unacked: int = 0
    last: int = 0
    received: int = 0
    sent: int = 0
    # Messages that were counted and not shown.
    hidden: int = 0
    transaction: str = ""
    transcript: str = ""
    wire: str = "off"
    # The times, on the monotonic clock, of the last octets, and the agreed seconds, 0 for none.
    received_at: float = 0.0
    sent_at: float = 0.0
    beats_in: float = 0.0
    beats_out: float = 0.0


def toolbar(state: State, typed: str, now: float, width: int, *, mode: str = "") -> Fragments:
    """Return a rule and the line below it, no wider than ``width`` cells.

    ``typed`` is the line before the cursor, ``now`` the monotonic clock, ``mode`` what the keys do
    now if that is unusual. What there is no room for is left out, the heart-beats first.
    """
    # Each with its weight: the lighter ones go first.
    parts: list[tuple[int, Fragments]] = [(9, _who(state))]
    if mode:
        parts.append((8, [("class:toolbar.mode", mode)]))
    if state.transaction:
        parts.append((7, [("class:toolbar.transaction", state.transaction)]))
    if state.connected:
        parts.append((5, [("", f"{state.subscriptions} sub, {state.unacked} unacked")]))
        parts.append((3, [("", f"last #{state.last} rx {state.received} tx {state.sent}")]))
        parts.append((0, _beats(state, now)))
    if state.hidden:
        parts.append((4, [("class:toolbar.late", f"{state.hidden:,} not shown")]))
    if state.wire != "off":
        parts.append((2, [("", f"wire {state.wire}")]))
    if state.transcript:
        parts.append((1, [("", f"rec {visible_line(state.transcript)}")]))
    syntax = syntax_of(typed)
    if syntax:
        parts.append((6, [("class:toolbar.syntax", syntax)]))
    parts = [part for part in parts if part[1]]
    while len(parts) > 1 and _length(parts) > width:
        parts.remove(min(parts))
    line: Fragments = [("", " ")]
    for number, (_, part) in enumerate(parts):
        line += ([("class:toolbar.bar", _BAR)] if number else []) + part
    return [("class:toolbar.bar", "─" * width + "\n"), *line]


def _length(parts: list[tuple[int, Fragments]]) -> int:
    texts = [text for _, part in parts for _, text in part]
    return 1 + sum(map(len, texts)) + len(_BAR) * (len(parts) - 1)


def _who(state: State) -> Fragments:
    if not state.connected:
        return [("class:toolbar.down", state.note or "disconnected")]
    server = visible_line(state.server) or "a broker"
    return [("", f"{server} {state.version}")]


def _beats(state: State, now: float) -> Fragments:
    """Return the ages of the last octets both ways against what was agreed, if anything was."""
    shown: Fragments = []
    for arrow, at, limit in (
        ("←", state.received_at, state.beats_in),
        ("→", state.sent_at, state.beats_out),
    ):
        if limit:
            age = max(0.0, now - at)
            style = ""
            if age > limit * _OVERDUE:
                style = "class:toolbar.overdue"
            elif age > limit * _LATE:
                style = "class:toolbar.late"
            shown += [("", " "), (style, f"{arrow}{age:.1f}/{limit:g}s")]
    return [("", "hb"), *shown] if shown else []


def syntax_of(typed: str) -> str:
    """Return the syntax of the command that is being typed, empty if it is none yet."""
    word, rest = words.split(typed)
    record = table.find(word, in_shell=True)
    if record is None or not record.in_shell:
        return ""
    if not rest and not typed[-1:].isspace() and _continues(word):
        return ""
    return signature(record)


def _continues(word: str) -> bool:
    """Return whether there are longer commands that begin so."""
    return any(
        name.startswith(word) and name != word
        for record in table.TABLE
        for name in (record.name, *record.aliases)
    )


def signature(record: table.Command) -> str:
    """Return a command with its arguments in one line, such as ``send DEST [BODY] [-H k:v]``."""
    parser = record.load_parser()
    shown = [record.name]
    takes: Callable[[str], bool] = lambda name: any(name in param.opts for param in parser.params)  # noqa: E731 - of this function alone
    for param in parser.params:
        if param.param_type_name == "argument":
            name = (param.metavar or (param.name or "").upper()).replace("|-]", "]")
            shown.append(name.replace("...", "") if record.verbatim else name)
    if takes("--header"):
        shown.append("[-H k:v]")
    return " ".join(shown)
