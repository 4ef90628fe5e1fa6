"""The journal: small batches are durable with one write, and reach the tables many at a time.

A commit of SQLite costs several times what the disk needs to sync a few octets. So what a small
batch changes is appended to a file that is there already, by a write that is synced when it
returns, and is kept in memory besides. Now and then all of it is applied to the tables in one
transaction, which also raises the *generation*, a number in the table ``meta``. The journal then
begins anew. Records of another generation than that in the table do not count, so it never has to
be emptied: as long as that transaction is not durable the records are valid, and afterwards they
are not.

A record is a header and what msgpack makes of `Changes`. The header is little-endian:

| octets | |
|---|---|
| 4 | ``SJ01`` |
| 4 | CRC-32 of what follows |
| 8 | the generation |
| 4 | which record of its generation it is, from 0 on |
| 4 | octets of the changes |

The first record that is not valid ends it: it is the one that was being written when the power
went, and nobody was told that it was durable.

Generations begin at random, so that a journal never fits to another file than its own, and that no
message can look like a record.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

from stompd.store.changes import Changes
from stompd.store.database import sync_directory
from stompd.store.errors import StoreFailedError

FILE: Final = "stompd.journal"
# No record ends behind that.
SIZE: Final = 4 * 1024 * 1024

_HEADER: Final = struct.Struct("<4sIQII")
_MAGIC: Final = b"SJ01"
# Behind the CRC.
_CHECKED_FROM: Final = 8
# From some 5 KiB on zlib lets other threads have the interpreter, and waits to get it back. That is
# worth it from so many on.
_PIECE: Final = 5000
_LONG: Final = 64 * 1024
# Room is made in steps of so many octets: a sync that does not change the length is quicker.
_STEP: Final = 256 * 1024
_PAGE: Final = 4096
# There is no room, for one reason or another.
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))

_decode: Final = msgspec.msgpack.Decoder(Changes).decode


class SyncedFile:
    """A file; what was written is on the disk when `write` returns. Each step may raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One call instead of two: after each the thread waits for the interpreter.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)

    def size(self) -> int:
        """Return how many octets it has."""
        return os.fstat(self._descriptor).st_size

    def read(self) -> bytes:
        """Return all of it."""
        found = bytearray()
        while part := os.pread(self._descriptor, SIZE, len(found)):
            found += part
        return bytes(found)

    def write(self, data: bytearray | bytes, offset: int) -> None:
        """Write all of ``data``."""
        done = os.pwrite(self._descriptor, data, offset)
        while done < len(data):
            done += os.pwrite(self._descriptor, memoryview(data)[done:], offset + done)

    def fill(self, offset: int, end: int) -> None:
        """Write zeros from ``offset`` to ``end``."""
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            # In one write they would be one piece of memory for the system, and each later write
            # count as one of all of it.
            for at in range(offset, end, _PAGE):
                os.pwrite(descriptor, bytes(min(_PAGE, end - at)), at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Give it up."""
        os.close(self._descriptor)


class OpenFile(Protocol):
    """How a journal gets at its file."""

    def __call__(self, path: Path) -> SyncedFile:
        """Open a file, and make it if it is missing. Raises OSError."""


class Journal:
    """The journal of one generation at a time; `begin` or `read` say of which.

    Each method raises `StoreFailedError` if the file cannot be worked with. One that is missing is
    made.
    """

    def __init__(self, path: Path, open_file: OpenFile = SyncedFile) -> None:
        self._path = path
        self.generation = 0
        # Records of this generation, and where the next one begins.
        self.count = 0
        self._at = 0
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._buffer = bytearray()
        try:
            new = not path.exists()
            self._file = open_file(path)
            self._size = self._file.size()
            if new:
                sync_directory(path.parent)
        except OSError as error:
            raise self._failed("use", error) from error

    def begin(self, generation: int) -> None:
        """Begin anew: what is in the file does not count any more."""
        self.generation = generation
        self.count = self._at = 0

    def append(self, changes: Changes) -> bool:
        """Make changes durable; False if there is no room for them, and nothing was done.

        After an error nobody knows whether they are there.
        """
        buffer = self._buffer
        self._encode(changes, buffer, _HEADER.size)
        end = self._at + len(buffer)
        if end > SIZE:
            return False
        length = len(buffer) - _HEADER.size
        _HEADER.pack_into(buffer, 0, _MAGIC, 0, self.generation, self.count, length)
        checked = crc32(memoryview(buffer)[_CHECKED_FROM:])
        _HEADER.pack_into(buffer, 0, _MAGIC, checked, self.generation, self.count, length)
        try:
            while end > self._size:
                self._file.fill(self._size, self._size + _STEP)
                self._size += _STEP
            self._file.write(buffer, self._at)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise self._failed("write", error) from error
        self._at = end
        self.count += 1
        return True

    def read(self, generation: int) -> Changes:
        """Return all changes of a generation together; what is appended comes after them.

        Raises `StoreFailedError` as well if records are damaged that were durable.
        """
        try:
            data = self._file.read()
        except OSError as error:
            raise self._failed("read", error) from error
        self.generation = generation
        found, self.count, self._at = read_records(data, generation, self._path)
        return found

    def _failed(self, what: str, error: OSError) -> StoreFailedError:
        return StoreFailedError(f"cannot {what} {self._path}: {error.strerror or error}")

    def close(self) -> None:
        """Give up the file."""
        self._file.close()


def read_records(data: bytes, generation: int, path: Path) -> tuple[Changes, int, int]:
    """Return the changes of a generation together, how many records they are, and where they end.

    Raises `StoreFailedError` if one of them cannot be read though it was durable; ``path`` is told.
    """
    found = Changes()
    count = at = 0
    while (record := _record_at(data, at, generation)) is not None and record[0] == count:
        try:
            found.merge(_decode(record[1]))
        except msgspec.MsgspecError as error:
            raise StoreFailedError(f"{path} cannot be read at octet {at}: {error}") from error
        count += 1
        at += _HEADER.size + len(record[1])
    # The last one may be there in part; nothing is behind that.
    behind = data.find(_MAGIC, at)
    while behind >= 0:
        record = _record_at(data, behind, generation)
        if record is not None and record[0] > count:
            raise StoreFailedError(
                f"{path} is damaged at octet {at}, and messages are behind that: "
                "see docs/store.md, Damage"
            )
        behind = data.find(_MAGIC, behind + 1)
    return found, count, at


def _record_at(data: bytes, at: int, generation: int) -> tuple[int, memoryview] | None:
    """Return the number of a record and its changes; None if there is no record there."""
    if len(data) - at < _HEADER.size:
        return None
    magic, checked, its_generation, number, length = _HEADER.unpack_from(data, at)
    end = at + _HEADER.size + length
    if magic != _MAGIC or its_generation != generation or end > len(data):
        return None
    view = memoryview(data)
    if crc32(view[at + _CHECKED_FROM : end]) != checked:
        return None
    return number, view[at + _HEADER.size : end]


def crc32(data: memoryview) -> int:
    """Return the CRC-32 of some octets; of few of them without a pause."""
    if len(data) > _LONG:
        return zlib.crc32(data)
    found = 0
    for at in range(0, len(data), _PIECE):
        found = zlib.crc32(data[at : at + _PIECE], found)
    return found
