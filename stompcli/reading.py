"""Standard input and script files, read in a thread so that heart-beats go on meanwhile.

The descriptor is read directly and never through `sys.stdin`: a thread that still waits in there
when the program ends would hold its lock.
"""

import os
from collections.abc import AsyncGenerator
from typing import Final, Protocol

import trio

_CHUNK: Final = 64 * 1024


class Source(Protocol):
    """Where octets come from."""

    async def some(self) -> bytes:
        """Return the next octets, b"" at the end."""
        ...


class StandardInput:
    """The octets of standard input."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd

    @property
    def tty(self) -> bool:
        """True if a person types it."""
        try:
            return os.isatty(self._fd)
        except OSError:
            return False

    async def some(self) -> bytes:
        """Return the next octets, b"" at the end; a cancelled call may lose some."""
        try:
            return await trio.to_thread.run_sync(os.read, self._fd, _CHUNK, abandon_on_cancel=True)
        except OSError:
            # Closed, or a terminal that has gone: there is no more.
            return b""

    async def all(self) -> bytes:
        """Return everything up to the end."""
        parts = []
        while part := await self.some():
            parts.append(part)
        return b"".join(parts)


class Text:
    """The octets of a file that was read already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def some(self) -> bytes:
        """Return everything once."""
        await trio.lowlevel.checkpoint()
        data, self._data = self._data, b""
        return data


async def pieces(source: Source, separator: bytes) -> AsyncGenerator[bytes, None]:
    """Yield what stands between separators; after the last separator only if it is not empty."""
    rest = b""
    while data := await source.some():
        *whole, rest = (rest + data).split(separator)
        for piece in whole:
            yield piece
    if rest:
        yield rest
