"""The rules file: a line for each rule, ``allow|deny WHO RIGHT,... [DESTINATION] [in VHOST]``.

Empty lines and lines that begin with ``#`` are for people. ``all`` stands for all rights; a name
with blanks stands in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from stompd.broker.rights import ALL, RIGHTS, Right, Rule
from stompd.server.units import quoted

EVERY: Final = "all"
"""Stands for all rights."""

_WORD: Final = re.compile(r'\s*(?:"([^"]*)"|([^\s"]+))(?=\s|$)')
_FORM: Final = "allow|deny WHO RIGHT,... [DESTINATION] [in VHOST]"


class RightsFileError(Exception):
    """The rules file cannot be used; ``problems`` are line numbers (0: none) and sentences."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        told = (f"line {line}: {text}" if line else text for line, text in problems)
        super().__init__("; ".join(told))
        self.problems = tuple(problems)


def rights_of(words: Sequence[str]) -> tuple[Right, ...]:
    """Return the rights of these names; whether there are such is the rule's to say."""
    return RIGHTS if EVERY in words else cast("tuple[Right, ...]", tuple(dict.fromkeys(words)))


def parse(text: str) -> list[Rule]:
    """Return the rules of a file, in their order; raise `RightsFileError` with every mistake."""
    rules: list[Rule] = []
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            rules.append(_rule(line))
        except ValueError as error:
            problems.append((number, str(error)))
    if problems:
        raise RightsFileError(problems)
    return rules


def _rule(line: str) -> Rule:
    words = _words(line)
    if words[0] not in ("allow", "deny"):
        raise ValueError(f"{quoted(words[0])} is neither allow nor deny; a line is {_FORM}")
    if len(words) < 3:  # noqa: PLR2004 - the three that there have to be
        raise ValueError(f"there is more to a rule: {_FORM}")
    vhost = None
    if len(words) > 4 and words[-2] == "in":  # noqa: PLR2004 - two more than those
        vhost = words.pop()
        words.pop()
    if len(words) > 4:  # noqa: PLR2004 - one more than those
        raise ValueError(f"{quoted(words[4])} is one word too many; a line is {_FORM}")
    on = words[3] if len(words) > 3 else ALL  # noqa: PLR2004 - as above
    rights = rights_of(words[2].split(","))
    return Rule(allows=words[0] == "allow", who=words[1], rights=rights, on=on, vhost=vhost)


def _words(line: str) -> list[str]:
    words = []
    at = 0
    line = line.rstrip()
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise ValueError(f"{quoted(line[at:].strip())} has a quotation mark too many")
        words.append(match[2] if match[1] is None else match[1])
        at = match.end()
    return words


def line_of(rule: Rule) -> str:
    """Return the line of a rule."""
    rights = EVERY if rule.rights == RIGHTS else ",".join(rule.rights)
    words = ["allow" if rule.allows else "deny", _quoted(rule.who), rights, _quoted(rule.on)]
    if rule.vhost is not None:
        words += ["in", _quoted(rule.vhost)]
    return " ".join(words)


def _quoted(word: str) -> str:
    return word if word and not re.search(r"\s", word) else f'"{word}"'


def read(file: Path) -> list[Rule]:
    """Return the rules of a file; raise `RightsFileError` if it has mistakes or cannot be read."""
    try:
        return parse(file.read_text("utf-8"))
    except OSError as error:
        raise RightsFileError([(0, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RightsFileError([(line, "is not UTF-8")]) from error
