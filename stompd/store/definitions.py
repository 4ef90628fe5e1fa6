"""What a store has beside messages, as one JSON document: to review it, to set up another stompd.

The document is that of `stompd.broker.definitions`, without the routes that are added to a broker
that runs: those are in no store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stompd.broker import definitions
from stompd.broker.definitions import FORMAT, NAME, BadDefinitionError, entries, read
from stompd.broker.storage import Kind
from stompd.store.errors import StoreError
from stompd.store.sqlite import SqliteStore
from stompd.store.upkeep import StoreMissingError, held

Definitions = dict[tuple[Kind, tuple[str, ...]], Mapping[str, Any]]


class BadDefinitionsError(StoreError):
    """A document is not what `export_definitions` makes."""


class Difference(NamedTuple):
    """What an import has done, or would do."""

    new: int
    changed: int
    same: int
    # Routes, which are in no store.
    left_out: int


def export_definitions(directory: Path) -> str:
    """Return the document of a store that no stompd uses. Raises `StoreError`."""
    found = definitions.Definitions()
    for (kind, key), record in _kept(directory).items():
        found[kind, key] = record
    listed = entries(found)
    return json.dumps({NAME: FORMAT, "definitions": listed}, indent=2, sort_keys=True) + "\n"


def import_definitions(directory: Path, document: str, *, dry_run: bool = False) -> Difference:
    """Define all that a document names in a store that no stompd uses; return what that changed.

    What is there and not named stays; what is named takes the place of what is there. All of it is
    done or, if an error is raised, nothing. There may be no such store yet. With ``dry_run``
    nothing is written. Raises `StoreError`; a `BadDefinitionsError` tells which one is wrong.
    """
    wanted, left_out = _read(document)
    try:
        there = _kept(directory)
    except StoreMissingError:
        there = {}
    changes = {name: record for name, record in wanted.items() if there.get(name) != record}
    new = sum(name not in there for name in changes)
    difference = Difference(new, len(changes) - new, len(wanted) - len(changes), left_out)
    if changes and not dry_run:
        _define(directory, changes)
    return difference


def _kept(directory: Path) -> Definitions:
    with held(directory) as db:
        return {
            (kind, tuple(json.loads(key))): json.loads(record)
            for kind, key, record in db.execute("SELECT kind, key, record FROM definition")
        }


def _define(directory: Path, changes: Definitions) -> None:
    store = SqliteStore(directory, min_free=0)
    store.open()
    try:
        store.begin_group()
        for (kind, key), record in changes.items():
            store.define(kind, key, record)
        store.end_group()
        batch = store.take()
        if batch is not None:
            store.write(batch)
            store.committed(batch)
    except BaseException:
        store.close(False)  # noqa: FBT003 - a positional of the interface
        raise
    store.close(True)  # noqa: FBT003 - as above


def _read(document: str) -> tuple[Definitions, int]:
    """Return what can be in a store, and how many others there are."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadDefinitionsError(f"it is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get(NAME) != FORMAT:
        raise BadDefinitionsError(f'it has no "{NAME}": {FORMAT}, as an export has')
    listed = found.get("definitions")
    if not isinstance(listed, list):
        raise BadDefinitionsError('its "definitions" are no list')
    try:
        wanted = read(listed)
    except BadDefinitionError as error:
        raise BadDefinitionsError(str(error)) from error
    kept: Definitions = {}
    for (kind, key), record in wanted.items():
        if kind != "route":
            kept[kind, key] = record
    return kept, len(wanted) - len(kept)
