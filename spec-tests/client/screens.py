"""What a terminal really shows: programs under tmux, looked at as people do."""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client.programs import Stomp, environment

# Seconds that something may take to show, and between two looks at the screen.
_PATIENCE = 30.0
_SOON = 0.01
_LATER = 0.1


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
        return self.when(lambda lines: text in "\n".join(lines), f"{text!r} stands there")

    def gone(self, text: str) -> list[str]:
        """Wait until text stands there no more; return all lines."""
        return self.when(lambda lines: text not in "\n".join(lines), f"{text!r} is gone")

    def when(self, holds: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait until something holds of all lines; return them. ``what`` is that in words."""
        deadline = time.monotonic() + _PATIENCE
        pause = _SOON
        while True:
            found = self.lines()
            if holds(found):
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"never came to it that {what}; there is\n" + "\n".join(found))
            # A screen has nothing to wait for; it can only be looked at again. What is typed shows
            # at once, and who waits for longer must not keep the machine from working.
            time.sleep(pause)
            pause = min(2 * pause, _LATER)

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
