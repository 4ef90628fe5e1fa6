"""One process for each data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from stompd.store.errors import StoreFailedError, StoreLockedError


class DirectoryLock:
    """Holds a directory by a lock on the file ``lock`` in it, until `release` or the process ends.

    Raises `StoreLockedError` if another process has it, `StoreFailedError` if it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreFailedError(f"cannot use {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreLockedError(
                f"{directory} is in use by process {holder or '(unknown)'}: stop that one, or give "
                "another directory with --data DIR"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:
            # On a full disk: the lock holds without a number in it.
            return

    def release(self) -> None:
        """Let others have the directory."""
        os.close(self._descriptor)
