"""A stompd that is started again and again on one directory, and killed."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from crash.config import configure
from crash.history import History, Killed, Started, Stopped

from stompd.server.sources import PREFIX

PATIENCE = 120.0
"""How long, in seconds, a start or a stop may take."""

PROGRAM = (sys.executable, "-m", "stompd")


class Daemon:
    """The process, or what is left of it: its directory."""

    def __init__(
        self,
        directory: Path,
        history: History,
        *words: str,
        memory: bool = False,
        program: Sequence[str] = PROGRAM,
        window: int | None = None,
        dedup_window: float | None = None,
    ) -> None:
        """Keep messages below ``directory``, which is there; ``words`` are further flags.

        ``window`` and ``dedup_window`` are for `configure`.
        """
        self.directory = directory
        self.data = directory / "data"
        """Where it keeps its file."""
        self.life = 0
        self.port = 0
        self.kills = 0
        self.history = history
        """Where its starts and ends are noted."""
        store = ["--memory"] if memory else ["--data", str(self.data)]
        config = configure(directory, window, dedup_window)
        self._command = [*program, *store, "-c", str(config), *words]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of this life."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """The log of this life."""
        return self.directory / f"stompd-{self.life}.log"

    def start(self, kill_after: float | None = None) -> bool:
        """Start it and wait until it listens; or kill it after so many seconds, and return False.

        Raises `AssertionError` with its log if it does not become ready.
        """
        self.life += 1
        self.history.note(Started(self.life))
        reading, writing = os.pipe()
        command = [*self._command, "--log-format", "json", "--listen", "127.0.0.1:0"]
        command += ["--http-listen", "off"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(PREFIX)
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--ready-fd", str(writing)],
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            within = PATIENCE if kill_after is None else kill_after
            ready = select.select([pipe], [], [], within)[0]
            if not ready and kill_after is not None:
                self.kill()
                return False
            line = pipe.readline() if ready else ""
        if not line:
            status = self._process.poll()
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"stompd did not start ({status}): {self.log.read_text()}")
        self.port = int(line.split()[1].rpartition(":")[2])
        return True

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        assert self._process is not None
        self.history.note(Killed())
        self._process.kill()
        status = self._process.wait(PATIENCE)
        assert status == -signal.SIGKILL, f"ended by itself ({status}): {self.log.read_text()}"
        self.kills += 1

    def stop(self) -> None:
        """End it in good order, by SIGTERM; raises `AssertionError` if it does not end so."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(PATIENCE)
        self.history.note(Stopped() if status == 0 else Killed())
        assert status == 0, f"ended with {status}: {self.log.read_text()}"

    def ended(self) -> int:
        """Wait until it has ended by itself, as if killed, and return its exit status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE)
        self.history.note(Killed())
        return status

    def abandon(self) -> None:
        """Make sure that no process is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
