"""A copy of what is kept, made while stompd goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from stompd.store.changes import Changes
from stompd.store.database import (
    BUSY,
    begin_generation,
    connect,
    generation_of,
    sync_directory,
    transaction,
)
from stompd.store.errors import StoreFailedError, StoreFullError
from stompd.store.journal import FILE, read_records
from stompd.store.tables import Tables

# A copy counts its starts from so many on, and as many more at most: ids of sessions and messages
# have the number of the start in them, and those of the copy are to be others.
_LEAP: Final = 10_000


def unapplied(db: apsw.Connection, file: Path) -> tuple[int, Changes]:
    """Return the generation of a file, and what its journal holds of that.

    All that was durable when it was asked is in the tables or in these changes, for a stompd may
    work with the file meanwhile. Raises `StoreFailedError`.
    """
    path = file.with_name(FILE)
    while generation := generation_of(db):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise StoreFailedError(f"cannot read {path}: {error.strerror}") from error
        # It begins anew only after the tables say so.
        if generation_of(db) == generation:
            return generation, read_records(data, generation, path)[0]
    return 0, Changes()


def apply_journal(db: apsw.Connection, file: Path) -> None:
    """Bring what the journal of a file holds into its tables; no stompd may work with it."""
    _, changes = unapplied(db, file)
    if changes:
        with transaction(db):
            Tables(db).apply(changes)
            begin_generation(db)


def back_up(file: Path, path: Path) -> None:
    """Write a copy of what is durable in a file of stompd's to a new file; also while stompd runs.

    Neither waits for the other. A stompd that works with the copy gives no session and no message
    an id that this one has given, or will give in its next 10 000 starts. Raises `StoreFullError`,
    `StoreFailedError`; then there is no copy.
    """
    if path.exists():
        raise StoreFailedError(f"{path} is there already: give the name of a new file")
    unfinished = path.with_name(path.name + ".part")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        db = connect(file, read_only=True)
        try:
            db.set_busy_timeout(BUSY)
            generation, changes = unapplied(db, file)
            db.execute("VACUUM INTO ?", (str(unfinished),))
        finally:
            db.close()
        copy = connect(unfinished)
        try:
            copy.execute("PRAGMA journal_mode = MEMORY")
            with transaction(copy):
                if generation_of(copy) == generation:
                    # If not, then all that was in the journal is in the tables by now.
                    Tables(copy).apply(changes)
                copy.execute("UPDATE meta SET value = 0 WHERE name = 'generation'")
                copy.execute(
                    "UPDATE meta SET value = value + ? + abs(random() % ?) WHERE name = 'starts'",
                    (_LEAP, _LEAP),
                )
        finally:
            copy.close()
        descriptor = os.open(unfinished, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.rename(path)
        sync_directory(path.parent)
    except apsw.FullError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFullError(f"no room for {path}") from error
    except apsw.Error as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot copy {file}: {error}") from error
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot write {path}: {error.strerror}") from error
