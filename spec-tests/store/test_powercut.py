"""Whenever the power goes: what was promised is there, nothing is there in part."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import apsw
import pytest
from store.powercut import Event, JournalFile, cut, run

from stompd.store import database, sqlite

_CUTS = int(os.environ.get("STOMP_TEST_POWER_CUTS", "500"))
_SEED = int(os.environ.get("STOMP_TEST_SEED", "1"))


def test_power_cuts() -> None:
    """After a cut at any moment every batch that was promised is there, and the next wholly or not.

    Messages of a group are there together, what was settled does not come back, counters are exact,
    and SQLite finds the file in order.
    """
    print(f"--cuts {_CUTS} --seed {_SEED}")  # noqa: T201 - so that it can be repeated
    assert run(_CUTS, _SEED) >= _CUTS // 50


def test_a_store_that_does_not_sync_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cuts show it when batches are promised before they are on the disk."""
    connect = database.connect

    def hasty(file: Path, *, vfs: str | None = None) -> apsw.Connection:
        """Return a connection that syncs at checkpoints only, whatever it is told."""
        db = connect(file, vfs=vfs)
        ask = db.execute
        words = "PRAGMA synchronous = "

        class Hasty:
            """What the store takes for the connection."""

            def __getattr__(self, name: str) -> object:
                return getattr(db, name)

            def execute(self, statement: str, *values: Sequence[str]) -> apsw.Cursor:
                """Carry out a statement."""
                return ask(statement.replace(f"{words}FULL", f"{words}NORMAL"), *values)

        return cast("apsw.Connection", Hasty())

    monkeypatch.setattr(sqlite, "connect", hasty)
    with pytest.raises(AssertionError, match=r"seed \d+, cut before event"):
        run(200, _SEED)


def test_a_journal_that_does_not_sync_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the journal."""
    monkeypatch.setattr(JournalFile, "sync", lambda _: None)
    with pytest.raises(AssertionError, match=r"seed \d+, cut before event"):
        run(200, _SEED)


def test_what_was_synced_is_there() -> None:
    """A cut never loses what was synced, and never invents what was not written."""
    events = [
        Event("write", "f", 0, b"a" * 1024),
        Event("sync", "f"),
        Event("write", "f", 256, b"b" * 512),
        Event("truncate", "f", 1000),
        Event("promise", "", 3),
        Event("write", "g", 0, b"c"),
        Event("delete", "g"),
    ]
    seen = set()
    for seed in range(300):
        files, promised = cut(events, len(events), random.Random(seed))  # noqa: S311 - to repeat it
        assert promised == 3
        assert set(files) == {"f"}
        seen.add(files["f"])
    old, first, second = b"a" * 1024, b"b" * 256, b"b" * 256
    torn = {
        old,
        old[:256] + first + old[512:],
        old[:512] + second + old[768:],
        old[:256] + first + second + old[768:],
    }
    assert seen == torn | {content[:1000] for content in torn}
    assert cut(events, 0, random.Random(0)) == ({}, 0)  # noqa: S311 - as above
