"""A command that makes something else of a body: started for each message, never by a shell."""

import shlex
import shutil
import subprocess
from typing import Final

import trio

from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.render import visible_line

_COMPLAINT: Final = 200


class Translation:
    """A command whose standard output takes the place of a body, which is its standard input.

    Raises `Failure` if there is no such command.
    """

    def __init__(self, command: str) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise usage(f"--translate: {error} in: {command}") from None
        if not self._words:
            raise usage("--translate: give a command")
        if shutil.which(self._words[0]) is None:
            raise Failure(ExitCode.NO_INPUT, "no-input", f"there is no command {self._words[0]}")

    async def of(self, body: bytes) -> bytes:
        """Return what the command makes of a body; raises `Failure` if it fails."""
        name = self._words[0]
        try:
            done = await trio.run_process(
                self._words, stdin=body, capture_stdout=True, capture_stderr=True, check=False
            )
        except OSError as error:
            raise Failure(ExitCode.FAILED, "failed", f"{name}: {error.strerror}") from None
        if done.returncode:
            how = f"exit {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise Failure(ExitCode.FAILED, "failed", f"{name} failed ({how})", _last(done))
        return bytes(done.stdout)


def _last(done: "subprocess.CompletedProcess[bytes]") -> str:
    lines = done.stderr.decode("utf-8", "surrogateescape").strip().splitlines()
    return visible_line(lines[-1])[:_COMPLAINT] if lines else ""
