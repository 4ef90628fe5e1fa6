"""Text for a terminal on which a prompt may stand: above it, whole, in order, and never lost.

prompt-toolkit's own ``patch_stdout`` does nearly this. But what it has not written when a line is
entered belongs to an event loop that ends with the line, and what it writes while a prompt is
being put up tears that. Here text waits in a list of ours until it was written.
"""

import os
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from stompcli.failure import StdoutClosed
from stompcli.output import Out, captured_here
from stompcli.settings import Settings

# Octets that may wait for the terminal before messages are counted only.
_MARK: Final = 4 * 2**20
# Seconds between two writes above one prompt: each of them draws it anew.
_PAUSE: Final = 0.05

# Carries out a function while the prompt is taken away from the terminal; False if it cannot now.
Above = Callable[[Callable[[], None]], bool]


class Screen:
    """The text that waits to be written, and who may write it now.

    While a prompt stands on the terminal only its thread writes; else whoever drains.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._octets = 0
        # The loop of the prompt that stands there, and how to write above it.
        self._loop: AbstractEventLoop | None = None
        self._above: Above | None = None
        # True while that loop has a write to do, so that many texts are written at once.
        self._due = False
        # True from before a prompt is put up until it is gone.
        self.standing = False
        # True if the last line that was written has no end.
        self.unfinished = False
        self._broken = False
        self._turn = trio.Lock()

    @property
    def is_full(self) -> bool:
        """True if more waits to be written than anybody would read."""
        return self._octets > _MARK

    def call(self, function: Callable[[], object]) -> None:
        """Have the prompt's thread call a function soon; nothing if there is no prompt."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)

    def put(self, data: bytes) -> None:
        """Have octets written as soon as may be; any thread may call it."""
        with self._lock:
            self._pending.append(data)
            self._octets += len(data)
            self._schedule()

    async def drain(self) -> None:
        """Write what waits, unless a prompt stands there, whose thread does it.

        Raises `StdoutClosed` if the terminal has gone.
        """
        async with self._turn:
            while not self.standing and (data := self._take()):
                await trio.to_thread.run_sync(self._write, data)
        if self._broken:
            raise StdoutClosed

    async def raise_prompt(self) -> None:
        """A prompt is about to be put up: write what waits, and leave the terminal to it."""
        await self.drain()
        if self.unfinished:
            self.put(b"\n")
            await self.drain()
        self.standing = True

    async def lower_prompt(self) -> None:
        """The prompt is gone: write what it has not."""
        self.standing = False
        await self.drain()

    # For the prompt's thread.

    def attach(self, loop: AbstractEventLoop, above: Above) -> None:
        """The prompt's loop runs; ``above`` carries out what it is given above the prompt."""
        with self._lock:
            self._loop, self._above = loop, above
            self._due = False
            if self._pending:
                self._schedule()

    def detach(self) -> None:
        """The prompt's loop ends."""
        with self._lock:
            self._loop = self._above = None

    def _schedule(self) -> None:
        if self._loop is not None and not self._due:
            self._due = True
            self._loop.call_soon_threadsafe(
                partial(self._loop.call_later, _PAUSE, self._write_above)
            )

    def _write_above(self) -> None:
        above = self._above
        if above is not None and above(self._write_lines):
            return
        with self._lock:
            self._due = False
            if self._pending:
                self._schedule()

    def _write_lines(self) -> None:
        with self._lock:
            self._due = False
        data = self._take()
        # Above a prompt every text ends its line.
        self._write(data if data.endswith(b"\n") or not data else data + b"\n")

    def _take(self) -> bytes:
        with self._lock:
            data = b"".join(self._pending)
            self._pending.clear()
            self._octets = 0
        return data

    def _write(self, data: bytes) -> None:
        if data:
            self.unfinished = not data.endswith(b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            # The terminal has gone; whoever drains next ends.
            self._broken = True


class ShellOut(Out):
    """The output of commands in the interactive shell, by way of its screen."""

    def __init__(self, settings: Settings, screen: Screen) -> None:
        super().__init__(settings, in_shell=True)
        self.screen = screen

    async def write(self, data: bytes) -> None:
        """Write octets; waits for the terminal unless a prompt stands there."""
        captured = captured_here()
        if captured is not None:
            captured += data
            return
        self.writes += 1
        self.screen.put(data)
        await self.screen.drain()

    def clear(self) -> None:
        """Clear the screen."""
        self.screen.put(b"\x1b[2J\x1b[H")

    def _say(self, text: str) -> None:
        if self.screen.standing and self.stderr_tty:
            self.screen.put(text.encode("utf-8", "replace") + b"\n")
        else:
            super()._say(text)
