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

# A line of a file or pipe has no width of its own.
_UNLIMITED: Final = 100_000
_USUAL: Final = 80
# Text on a terminal is folded to no fewer cells than this.
_LEAST: Final = 12
_GAP: Final = 2


def console(*, tty: bool, least: int = 0) -> "Console":
    """Return a console that writes into a string, as wide as the terminal if there is one.

    It has ``least`` cells at least; the terminal breaks the lines then.
    """
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=max(_terminal_width(), least) if tty else _UNLIMITED,
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
    that does not fit on a terminal is folded, nothing is ever cut.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = [[visible_line(cell) for cell in row] for row in rows]
    heads = None if titles is None else [visible_line(title) for title in titles]
    table = Table(box=None, show_header=heads is not None, pad_edge=False, padding=(0, _GAP, 0, 0))
    least = _GAP * (len(right) - 1)
    for place, number in enumerate(right):
        head = [] if heads is None else [heads[place]]
        wide = max(map(cell_len, [*head, *(row[place] for row in shown)]), default=0)
        least += wide if number else min(wide, _LEAST)
        table.add_column(
            Text(head[0] if head else ""),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in shown:
        table.add_row(*map(Text, row))
    paper = console(tty=tty, least=least)
    with paper.capture() as captured:
        paper.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(1).columns or _USUAL
    except OSError:
        return _USUAL
