"""The file of SQLite: where it is, how it is opened, copied, and brought to the present schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

import apsw

from stompd.store.errors import StoreFailedError, StoreVersionError

FILE: Final = "stompd.db"
# "STMP", so that file(1) and we can tell whose it is.
APPLICATION_ID: Final = 0x53544D50
PAGE_SIZE: Final = 4096

MIB: Final = 1024 * 1024
# Milliseconds that another program, such as the shell of SQLite, may hold the file.
BUSY: Final = 5000

# What brings a file of each version to the next one.
_MIGRATIONS: Final = ("schema.sql", "schema-2.sql", "schema-3.sql")
VERSION: Final = len(_MIGRATIONS)


def migrate(db: apsw.Connection, file: Path) -> None:
    """Bring a file to the present version, and begin a new one.

    Raises `StoreVersionError` if it is none of ours, or a newer stompd's.
    """
    version = db.pragma("user_version")
    application = db.pragma("application_id")
    new = not db.execute("SELECT count(*) FROM sqlite_schema").get
    if not new and application != APPLICATION_ID:
        raise StoreVersionError(f"{file} is not a file of stompd's: it is left as it is")
    if version > VERSION:
        raise StoreVersionError(
            f"{file} was written by a newer stompd (schema {version}, this one knows {VERSION}): "
            "run that one, or give another directory with --data DIR"
        )
    if new:
        # These can only be had from the beginning.
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for number in range(version, VERSION):
        script = files("stompd.store").joinpath(_MIGRATIONS[number]).read_text("utf-8")
        with transaction(db):
            db.execute(script)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number + 1}")


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """Do what is in the block wholly or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # Some errors have undone it already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def generation_of(db: apsw.Connection) -> int:
    """Return which records of the journal count, 0 if there is no journal."""
    found = db.execute("SELECT value FROM meta WHERE name = 'generation'").get
    assert isinstance(found, int)  # noqa: S101 - we wrote it
    return found


def begin_generation(db: apsw.Connection) -> None:
    """Have no record count that is in the journal now, or was in that of another file."""
    db.execute(
        "UPDATE meta SET value = iif(value, value + 1, 1 + (random() & 0x3fffffffffffffff))"
        " WHERE name = 'generation'"
    )


def make_directory(directory: Path) -> None:
    """Make a directory that nobody else can look into; raise `StoreFailedError` if that fails."""
    if directory.is_dir():
        return
    try:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(mode=0o700, parents=True)
        for path in missing:
            sync_directory(path.parent)
    except FileExistsError as error:
        raise StoreFailedError(
            f"{directory} is a file: give a directory with --data DIR"
        ) from error
    except OSError as error:
        raise StoreFailedError(f"cannot make {directory}: {error.strerror}") from error


def sync_directory(directory: Path) -> None:
    """Have what was made or renamed in a directory outlive a loss of power; may raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int:
    """Return the octets of a file, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def connect(file: Path, *, vfs: str | None = None, read_only: bool = False) -> apsw.Connection:
    """Return a connection to a file that is there; raises `apsw.Error`."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(file), flags=flags, vfs=vfs)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    return db
