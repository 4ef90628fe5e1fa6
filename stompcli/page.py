"""The page that help is written on."""

import os
import sys

import click

_USUAL = 80
_LEAST = 50


class Page(click.HelpFormatter):
    """As wide as click makes it, which imports `shutil` and three compressors for it."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        if width is None:
            width = max(min(_columns(), max_width or _USUAL) - 2, _LEAST)
        super().__init__(indent_increment, width, max_width)


class Context(click.Context):
    """What click knows of a command line, with our page for its help."""

    formatter_class = Page


def _columns() -> int:
    """Return how wide the terminal is; ``COLUMNS`` counts more, as for `shutil`."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and int(said):
        return int(said)
    try:
        # The program may have another standard output by now; the terminal's is meant.
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or _USUAL  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return _USUAL
