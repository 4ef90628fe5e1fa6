"""What there is beside messages, as one JSON document: to review it, and to set up another stompd.

``{"stompd-definitions": 1, "definitions": [...]}``: queues with their settings, durable
subscriptions and bindings, each with ``kind``, ``key`` and ``record`` as they are kept, in an order
that is always the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from stompd.broker.definition import DamagedError, flag, queue_name, settings_of, text
from stompd.broker.destination import parse_subscribed
from stompd.broker.selector import compile_selector
from stompd.broker.storage import Kind
from stompd.protocol.errors import RemoteProtocolError
from stompd.store.errors import StoreError
from stompd.store.sqlite import SqliteStore
from stompd.store.upkeep import StoreMissingError, held

_NAME: Final = "stompd-definitions"
_FORMAT: Final = 1
_KINDS: Final = get_args(Kind)
# How many parts the keys have.
_PARTS: Final = {"queue": 2, "durable": 3, "binding": 3}

Definitions = dict[tuple[Kind, tuple[str, ...]], Mapping[str, Any]]


class BadDefinitionsError(StoreError):
    """A document is not what `export_definitions` makes."""


class Difference(NamedTuple):
    """What an import has done, or would do."""

    new: int
    changed: int
    same: int


def export_definitions(directory: Path) -> str:
    """Return the document of a store that no stompd uses. Raises `StoreError`."""
    found = [
        {"kind": kind, "key": list(key), "record": record}
        for (kind, key), record in sorted(
            _kept(directory).items(), key=lambda entry: (_KINDS.index(entry[0][0]), entry[0][1])
        )
    ]
    return json.dumps({_NAME: _FORMAT, "definitions": found}, indent=2, sort_keys=True) + "\n"


def import_definitions(directory: Path, document: str, *, dry_run: bool = False) -> Difference:
    """Define all that a document names in a store that no stompd uses; return what that changed.

    What is there and not named stays; what is named takes the place of what is there. All of it is
    done or, if an error is raised, nothing. There may be no such store yet. With ``dry_run``
    nothing is written. Raises `StoreError`; a `BadDefinitionsError` tells which one is wrong.
    """
    wanted = _read(document)
    try:
        there = _kept(directory)
    except StoreMissingError:
        there = {}
    changes = {name: record for name, record in wanted.items() if there.get(name) != record}
    new = sum(name not in there for name in changes)
    difference = Difference(new, len(changes) - new, len(wanted) - len(changes))
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


def _read(document: str) -> Definitions:
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadDefinitionsError(f"it is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get(_NAME) != _FORMAT:
        raise BadDefinitionsError(f'it has no "{_NAME}": {_FORMAT}, as an export has')
    entries = found.get("definitions")
    if not isinstance(entries, list):
        raise BadDefinitionsError('its "definitions" are no list')
    wanted: Definitions = {}
    for number, entry in enumerate(entries, 1):
        try:
            name, record = _checked(entry)
        except (DamagedError, RemoteProtocolError) as error:
            raise BadDefinitionsError(f"definition {number}: {error}") from error
        wanted[name] = record
    return wanted


def _checked(entry: object) -> tuple[tuple[Kind, tuple[str, ...]], Mapping[str, Any]]:
    """Return one of them; raise `DamagedError` or `RemoteProtocolError` if it can be none."""
    if not isinstance(entry, dict):
        raise DamagedError("it is no object")
    named, key, record = entry.get("kind"), entry.get("key"), entry.get("record")
    kind: Kind | None = next((kind for kind in _KINDS if kind == named), None)
    if kind is None:
        raise DamagedError(f'"kind" is {named!r}, not one of {", ".join(_KINDS)}')
    if not isinstance(key, list) or not all(isinstance(part, str) for part in key):
        raise DamagedError(f'"key" is {key!r}')
    if len(key) != _PARTS[kind]:
        raise DamagedError(f'"key" has {len(key)} parts')
    if not isinstance(record, dict):
        raise DamagedError('"record" is no object')
    settings_of(record)
    for name in ("paused", "dead_letters", "no_local"):
        flag(record, name)
    if kind == "durable":
        parse_subscribed(text(record, "destination"))
        queue_name(record, key[1], key[2])
        if "selector" in record:
            compile_selector(text(record, "selector"))
    else:
        parse_subscribed(key[-1])
    return (kind, tuple(key)), record
