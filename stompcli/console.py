"""The one place where rich is set up: it lays tables out, and never interprets what is in them.

Left to itself rich takes ``[red]`` and ``:smile:`` in the name of a queue for markup, and cuts
everything to 80 columns on a pipe.
"""

import os
from io import StringIO
from typing import TYPE_CHECKING, Final

from stompcli.render import visible_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

# A line of a file or pipe has no width of its own.
_UNLIMITED: Final = 100_000
_USUAL: Final = 80


def console(*, tty: bool) -> "Console":
    """Return a console that writes into a string, as wide as the terminal if there is one."""
    from rich.console import Console

    return Console(
        file=StringIO(),
        width=_terminal_width() if tty else _UNLIMITED,
        color_system=None,
        force_terminal=False,
        markup=False,
        highlight=False,
        emoji=False,
    )


def grid(
    titles: "Sequence[str] | None",
    rows: "Iterable[Sequence[str]]",
    right: "Sequence[bool]",
    *,
    tty: bool,
) -> str:
    """Return rows of cells as lines, each column as wide as it has to be.

    ``titles`` None leaves the line of titles out; ``right`` says which columns are numbers. What
    does not fit on a terminal is folded, never cut.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=titles is not None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, number in enumerate(right):
        table.add_column(
            Text(visible_line(titles[place])) if titles is not None else "",
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(visible_line(cell)) for cell in row))
    paper = console(tty=tty)
    with paper.capture() as captured:
        paper.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(1).columns or _USUAL
    except OSError:
        return _USUAL
