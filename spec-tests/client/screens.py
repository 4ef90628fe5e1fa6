"""What a terminal really shows: programs under tmux, looked at as people do."""

import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client.programs import Stomp, environment


class Screen:
    """A terminal in which the program runs; ``tmux`` is the command line of its own server."""

    def __init__(self, tmux: list[str]) -> None:
        self._tmux = tmux

    def keys(self, *names: str) -> None:
        """Press keys, by the names that tmux has for them; other words are typed."""
        self._run("send-keys", *names)

    def type(self, line: str) -> None:
        """Type a line, exactly, and Enter."""
        self._run("send-keys", "-l", line)
        self.keys("Enter")

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        """Return all lines from the first one to the last that is not empty, without the ends."""
        shown = self._run("capture-pane", "-p", "-J", "-S", "-5000")
        return [line.rstrip() for line in shown.rstrip().split("\n")]

    def until(self, text: str) -> list[str]:
        """Wait until text, of any number of lines, stands there; return all lines."""
        found: list[str] = []
        for _ in range(300):
            found = self.lines()
            if text in "\n".join(found):
                return found
            # A screen has nothing to wait for; it can only be looked at again.
            time.sleep(0.1)
        pytest.fail(f"{text!r} never came up on\n" + "\n".join(found))

    def gone(self, text: str) -> list[str]:
        """Wait until text stands there no more; return all lines."""
        for _ in range(300):
            found = self.lines()
            if text not in "\n".join(found):
                return found
            time.sleep(0.1)
        pytest.fail(f"{text!r} stayed")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout


@contextmanager
def screen(
    stomp: Stomp,
    folder: Path,
    *words: str,
    width: int = 78,
    height: int = 18,
    inside: str | None = None,
    **env: str,
) -> Iterator[Screen]:
    """Run the program, or what is ``inside``, in a terminal of this size during the block."""
    tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
    command = inside or shlex.join(stomp.argv(*words)) + "; echo code $?; read line"
    variables = {
        "STOMP_HISTFILE": str(folder / "history"),
        "STOMP_CONFIG": str(folder / "config.toml"),
        **env,
    }
    settings = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    subprocess.run(
        [
            *(*tmux, "new-session", "-d", *settings),
            *("-x", str(width), "-y", str(height), command),
        ],
        check=True,
        env=environment(LC_ALL="C.UTF-8"),
        timeout=30,
    )
    try:
        yield Screen(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, timeout=30)
