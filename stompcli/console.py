"""The one place where rich is set up: it lays tables out, and never interprets what is in them.

Left to itself rich takes ``[red]`` and ``:smile:`` in the name of a queue for markup, and cuts
everything to 80 columns on a pipe.
"""

import os
from io import StringIO
from typing import TYPE_CHECKING, Final

from stompcli.render import visible_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_USUAL: Final = 80
# Text on a terminal is folded to no fewer cells than this.
_LEAST: Final = 12
_GAP: Final = 2


def console(*, least: int = 0) -> "Console":
    """Return a console that writes into a string, as wide as the terminal.

    It has ``least`` cells at least; the terminal breaks the lines then.
    """
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=max(_terminal_width(), least),
        color_system=None,
        force_terminal=False,
        markup=False,
        highlight=False,
        emoji=False,
    )


def grid(
    titles: "Sequence[str] | None",
    rows: "Sequence[Sequence[str]]",
    right: "Sequence[bool]",
    *,
    tty: bool,
) -> str:
    """Return rows of cells as lines, each column as wide as it has to be.

    ``titles`` None leaves the line of titles out; ``right`` says which columns are numbers. Text
    that does not fit on a terminal is folded, nothing is ever cut. Off a terminal a line is as
    long as it has to be.
    """
    from rich.cells import cell_len

    lines = [[visible_line(cell) for cell in row] for row in ([titles] if titles else [])]
    lines += [[visible_line(cell) for cell in row] for row in rows]
    if not lines:
        return ""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    gaps = _GAP * (len(widths) - 1)
    if tty and sum(widths) + gaps > _terminal_width():
        least = sum(
            width if number else min(width, _LEAST)
            for width, number in zip(widths, right, strict=True)
        )
        return _folded(lines, right, least + gaps)
    # Without folding there is nothing to weigh up, and rich would take a second for 1500 rows.
    text = []
    for line in lines:
        cells = []
        for cell, width, number in zip(line, widths, right, strict=True):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if number else cell + blanks)
        text.append((" " * _GAP).join(cells).rstrip())
    return "".join(f"{line}\n" for line in text)


def _folded(lines: "Sequence[Sequence[str]]", right: "Sequence[bool]", least: int) -> str:
    """Return lines of cells in as many cells as the terminal has, or ``least``."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _GAP, 0, 0))
    for number in right:
        table.add_column(justify="right" if number else "left", no_wrap=number, overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    paper = console(least=least)
    with paper.capture() as captured:
        paper.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(1).columns or _USUAL
    except OSError:
        return _USUAL
