"""The file of SQLite: where it is, how it is opened, copied, and brought to the present schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

import apsw

from stompd.store.errors import StoreFailedError, StoreFullError, StoreVersionError

FILE: Final = "stompd.db"
# "STMP", so that file(1) and we can tell whose it is.
APPLICATION_ID: Final = 0x53544D50
PAGE_SIZE: Final = 4096

MIB: Final = 1024 * 1024
# Milliseconds that another program, such as the shell of SQLite, may hold the file.
BUSY: Final = 5000

# A copy counts its starts from so many on, and as many more at most: ids of sessions and messages
# have the number of the start in them, and those of the copy are to be others.
_LEAP: Final = 10_000

# What brings a file of each version to the next one.
_MIGRATIONS: Final = ("schema.sql",)
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


def make_directory(directory: Path) -> None:
    """Make a directory that nobody else can look into; raise `StoreFailedError` if that fails."""
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True)
        descriptor = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreFailedError(f"cannot make {directory}: {error.strerror}") from error


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
            db.execute("VACUUM INTO ?", (str(unfinished),))
        finally:
            db.close()
        copy = connect(unfinished)
        try:
            copy.execute("PRAGMA journal_mode = MEMORY")
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
    except apsw.FullError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFullError(f"no room for {path}") from error
    except apsw.Error as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot copy {file}: {error}") from error
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise StoreFailedError(f"cannot write {path}: {error.strerror}") from error
