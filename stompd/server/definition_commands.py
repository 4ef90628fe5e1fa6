"""``stompd definitions``: what there is beside messages, without the broker."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from stompd.server.store_commands import on_a_store
from stompd.store.database import FILE
from stompd.store.definitions import export_definitions, import_definitions
from stompd.store.errors import StoreFailedError


@click.command("export")
@click.argument(
    "target", metavar="[FILE]", type=click.File("w", encoding="utf-8", lazy=True), default="-"
)
@on_a_store
def _export(*, directory: Path, target: Any) -> None:  # noqa: ANN401 - click's own file
    """Write queues, durable subscriptions and bindings as JSON.

    They go to FILE or standard output, in an order that is always the same.
    """
    document = export_definitions(directory)
    try:
        target.write(document)
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
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    default="-",
)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@on_a_store
def _import(*, directory: Path, source: Any, dry_run: bool) -> None:  # noqa: ANN401 - as above
    """Define what an export has written, all of it or nothing.

    It is read from FILE or standard input. What is there under the same name is replaced, what is
    not named stays. A store is made if there is none.
    """
    found = import_definitions(directory, source.read(), dry_run=dry_run)
    click.echo(
        f"{directory / FILE}: {found.new:,} new, {found.changed:,} changed, {found.same:,} the same"
        + (" (nothing was written)" if dry_run else "")
    )
    if found.left_out:
        click.echo(
            f"routes left out: {found.left_out:,}; they go to a stompd that runs, by "
            "stomp definitions import",
            err=True,
        )


COMMANDS: Final[dict[str, click.Command]] = {
    str(command.name): command for command in (_export, _import)
}
