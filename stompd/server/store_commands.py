"""``stompd store``: what people do with the messages that stompd keeps, without the broker."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from pathlib import Path
from typing import Any, Final

import click

from stompd.server.exitcodes import Exit
from stompd.store.backup import back_up
from stompd.store.database import FILE
from stompd.store.errors import StoreError, StoreFailedError
from stompd.store.transfer import export, import_lines
from stompd.store.upkeep import QueueRow, StoreMissingError, compact, opened, queues, verify


def on_a_store(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the directory, and end the program in words if that cannot be worked with."""

    def run(*, data: Path | None, file: Path | None, **arguments: Any) -> None:  # noqa: ANN401
        try:
            command(directory=_directory(data, file), **arguments)
        except StoreError as error:
            click.echo(f"stompd: {error}", err=True)
            status = Exit.CONFIGURATION if isinstance(error, StoreMissingError) else Exit.STORE
            click.get_current_context().exit(status)

    with_file = click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(path_type=Path),
        envvar="STOMPD_CONFIG",
        help="Take the directory from this TOML file (also: STOMPD_CONFIG).",
    )
    with_data = click.option(
        "--data", metavar="DIR", type=click.Path(path_type=Path), help="The directory of the store."
    )
    return with_data(with_file(update_wrapper(run, command)))


def _directory(data: Path | None, file: Path | None) -> Path:
    if data is not None:
        return data.expanduser()
    from stompd.server.sources import ConfigurationError, read  # noqa: PLC0415 - pydantic takes long

    try:
        return read(file, os.environ, []).settings.store.path
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(Exit.CONFIGURATION)


@click.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
@on_a_store
def _ls(*, directory: Path, as_json: bool) -> None:
    """List the queues that hold messages.

    This may be done while stompd runs.
    """
    rows = queues(directory)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    if not rows:
        click.echo(f"{directory / FILE} holds no messages")
        return
    table = [("HOST", "QUEUE", "MESSAGES", "BYTES", "DELAYED", "BYTES"), *map(_shown, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for host, name, *numbers in table:
        cells = [host.ljust(widths[0]), name.ljust(widths[1])]
        cells += [text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True)]
        click.echo("  ".join(cells))


def _shown(row: QueueRow) -> tuple[str, ...]:
    # Octets that are no text must not reach a terminal as they are.
    host, name = (
        text if text.isprintable() else ascii(text)[1:-1] for text in (row.host, row.queue)
    )
    return (host, name, *(f"{number:,}" for number in row[2:]))


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@on_a_store
def _verify(*, directory: Path, as_json: bool) -> None:
    """Say what is wrong with what is kept.

    Ends with 0 if nothing is, with 1 if something is. It reads the whole file, and may be done
    while stompd runs.
    """
    found = verify(directory)
    if as_json:
        click.echo(json.dumps({"ok": not found, "faults": found}, indent=2))
    elif found:
        click.echo("\n".join(found))
        click.echo(f"{directory / FILE}: damaged; docs/store.md tells what can be done", err=True)
    else:
        click.echo(f"{directory / FILE}: ok")
    click.get_current_context().exit(1 if found else 0)


@click.command("compact")
@on_a_store
def _compact(*, directory: Path) -> None:
    """Make the file as small as it can be.

    It needs room for a copy meanwhile.
    """
    before, after = compact(directory)
    click.echo(f"{directory / FILE}: {before:,} bytes before, {after:,} now")


@click.command("export")
@click.argument(
    "target", metavar="[FILE]", type=click.File("w", encoding="utf-8", lazy=True), default="-"
)
@on_a_store
def _export(*, directory: Path, target: Any) -> None:  # noqa: ANN401 - click's own file
    """Write all that is kept as lines of JSON.

    They go to FILE or standard output, and are what `stompd store import` reads.
    """
    try:
        for line in export(directory):
            target.write(f"{line}\n")
        target.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):
            # It would try once more at the end, and fail for the same reason.
            target.close()
        raise StoreFailedError(f"cannot write {target.name}: {error.strerror}") from error


@click.command("import")
@click.argument(
    "source",
    metavar="[FILE]",
    # So that a line that is no text is told by its number, as others are.
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    default="-",
)
@on_a_store
def _import(*, directory: Path, source: Any) -> None:  # noqa: ANN401 - as above
    """Add what an export has written.

    It is read from FILE or standard input. Messages stand behind those that are there already. A
    store is made if there is none.
    """
    count = import_lines(directory, source)
    click.echo(f"{directory / FILE}: {count:,} message{'' if count == 1 else 's'} added")


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@on_a_store
def _backup(*, directory: Path, target: Path) -> None:
    """Copy what is kept to a new FILE.

    This may be done while stompd runs: the copy holds what was kept at one moment, and is a store
    if it is put into a directory of its own as stompd.db.
    """
    with opened(directory, read_only=True):
        # It is a store at all.
        pass
    back_up(directory / FILE, target)
    click.echo(f"{target}: {target.stat().st_size:,} bytes")


COMMANDS: Final[dict[str, click.Command]] = {
    str(command.name): command for command in (_ls, _verify, _compact, _export, _import, _backup)
}
