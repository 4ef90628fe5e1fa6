"""Run stompd on a disk that fails when it is told to.

    python bad_disk.py CONTROL FLAGS-OF-STOMPD…

As long as there is a file CONTROL, the first word in it says what the disk does:

``eio``          each sync fails with an I/O error
``full``         nothing can be written
``slow SECONDS`` each sync takes so long
``hold``         each sync waits until there is no such file any more

stompd knows nothing of it: SQLite is given another way to the operating system, which fails.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import apsw

BASE = "unix"


class BadFile(apsw.VFSFile):
    """A file of the database on that disk."""

    def __init__(
        self, name: apsw.URIFilename | str | None, flags: list[int], disk: BadDisk
    ) -> None:
        super().__init__(BASE, name, flags)
        self._disk = disk

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
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write into the file, or find no room."""
        if self._disk.does() == ["full"]:
            raise apsw.FullError("the disk is full, as the test wants it")
        super().xWrite(data, offset)


class BadDisk(apsw.VFS):
    """What SQLite uses from now on."""

    def __init__(self, control: Path) -> None:
        super().__init__("bad-disk", BASE, makedefault=True)
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


def main() -> None:
    """Run stompd with the arguments behind the first one."""
    # Kept here: SQLite does not.
    disk = BadDisk(Path(sys.argv[1]))
    from stompd.server.main import main as stompd  # noqa: PLC0415 - SQLite first

    sys.argv[:2] = ["stompd"]
    stompd()
    del disk


if __name__ == "__main__":
    main()
