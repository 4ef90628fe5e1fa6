"""Run stompd on a disk that fails when it is told to.

    python bad_disk.py CONTROL FLAGS-OF-STOMPD…

As long as there is a file CONTROL, the first word in it says what the disk does:

``eio``          each sync fails with an I/O error
``full``         nothing can be written
``slow SECONDS`` each sync takes so long
``hold``         each sync waits until there is no such file any more
``cache``        a file that is opened now has a cache that only a sync empties: what was not synced
                 is lost when the process is killed, but for some of it, in no order. The journal is
                 synced by each write; its sectors are written one after the other, in no order

stompd knows nothing of it: SQLite and the journal are given another way to the operating system,
which fails.
"""

from __future__ import annotations

import errno
import random
import sys
import time
from pathlib import Path

import apsw

BASE = "unix"

# How much of what was not synced is on the disk all the same.
LUCK = 0.3

# The journal is written in pieces of so many octets, each of which may be the last.
SECTOR = 512


class BadFile(apsw.VFSFile):
    """A file of the database on that disk."""

    def __init__(
        self, name: apsw.URIFilename | str | None, flags: list[int], disk: BadDisk
    ) -> None:
        super().__init__(BASE, name, flags)
        self._disk = disk
        # All of the file as this process sees it, and where it differs from the disk; None without
        # a cache.
        self._image: bytearray | None = None
        self._dirty: list[tuple[int, int]] = []
        if disk.does() == ["cache"]:
            size = super().xFileSize()
            self._image = bytearray(super().xRead(size, 0) if size else b"")

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Write to the disk, or fail."""
        match self._disk.does():
            case ["eio"]:
                raise apsw.IOError("the disk fails, as the test wants it")
            case ["slow", seconds]:
                time.sleep(float(seconds))
            case ["hold"]:
                while self._disk.does() == ["hold"]:
                    time.sleep(0.01)
            case _:
                pass
        if self._image is not None:
            for start, end in self._dirty:
                super().xWrite(bytes(self._image[start:end]), start)
            self._dirty.clear()
            if super().xFileSize() > len(self._image):
                super().xTruncate(len(self._image))
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write into the file, or find no room."""
        if self._disk.does() == ["full"]:
            raise apsw.FullError("the disk is full, as the test wants it")
        image = self._image
        if image is None:
            super().xWrite(data, offset)
            return
        if len(image) < offset:
            image.extend(bytes(offset - len(image)))
        image[offset : offset + len(data)] = data
        self._dirty.append((offset, offset + len(data)))
        if self._disk.chance.random() < LUCK:
            super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Read what was written, synced or not."""
        if self._image is None:
            return super().xRead(amount, offset)
        return bytes(self._image[offset : offset + amount])

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        """Return the size, synced or not."""
        return super().xFileSize() if self._image is None else len(self._image)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        """Cut the file; with a cache the disk hears of it with the next sync."""
        if self._image is None:
            super().xTruncate(newsize)
            return
        del self._image[newsize:]
        self._dirty = [(start, min(end, newsize)) for start, end in self._dirty if start < newsize]


class BadDisk(apsw.VFS):
    """What SQLite uses from now on."""

    def __init__(self, control: Path) -> None:
        super().__init__("bad-disk", BASE, makedefault=True)
        self.chance = random.Random()  # noqa: S311 - it decides nothing secret
        self._control = control

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: apsw.URIFilename | str | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file on it."""
        return BadFile(name, flags, self)

    def does(self) -> list[str]:
        """Return what it is told to do at the moment."""
        try:
            return self._control.read_text().split()
        except FileNotFoundError:
            return []


def bad_journals(disk: BadDisk) -> None:
    """Have journals be on that disk."""
    from stompd.store import journal  # noqa: PLC0415 - SQLite first

    class BadJournal(journal.SyncedFile):
        """The journal on that disk."""

        def write(self, data: bytearray | bytes, offset: int) -> None:
            """Write to the disk, or fail, or find no room."""
            match disk.does():
                case ["eio"]:
                    raise OSError(errno.EIO, "the disk fails, as the test wants it")
                case ["full"]:
                    raise OSError(errno.ENOSPC, "the disk is full, as the test wants it")
                case ["slow", seconds]:
                    time.sleep(float(seconds))
                case ["hold"]:
                    while disk.does() == ["hold"]:
                        time.sleep(0.01)
                case ["cache"]:
                    pieces = [slice(at, at + SECTOR) for at in range(0, len(data), SECTOR)]
                    disk.chance.shuffle(pieces)
                    for piece in pieces:
                        super().write(data[piece], offset + piece.start)
                    return
                case _:
                    pass
            super().write(data, offset)

        def fill(self, offset: int, end: int) -> None:
            """Write zeros."""
            self.write(bytes(end - offset), offset)

    journal.SyncedFile = BadJournal  # type: ignore[misc]


def main() -> None:
    """Run stompd with the arguments behind the first one."""
    # Kept here: SQLite does not.
    disk = BadDisk(Path(sys.argv[1]))
    bad_journals(disk)
    from stompd.server.main import main as stompd  # noqa: PLC0415 - SQLite first

    sys.argv[:2] = ["stompd"]
    stompd()
    del disk


if __name__ == "__main__":
    main()
