"""A stompd in a process of its own, as its users start it, with its log at hand."""

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wire import Broker, Wire

from stompd.server.sources import PREFIX

PATIENCE = 30.0
"""How long, in seconds, something may take that has to happen; generous, for loaded machines."""


class Daemon:
    """The process, its port, and its log; made by `daemon`."""

    def __init__(self, process: subprocess.Popen[str], port: int, url: str) -> None:
        self.process = process
        self.port = port
        self.url = url
        """Where it serves HTTP; empty if it does not."""
        self.lines: list[str] = []
        """What it has written so far."""
        self._entries: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._passed: list[dict[str, Any]] = []
        self._wires: list[Wire] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if line.startswith("{"):
                self._entries.put(json.loads(line))
        self._entries.put(None)

    @property
    def broker(self) -> Broker:
        """Where it listens, for `wire.Wire`."""
        return Broker(("127.0.0.1", self.port))

    def connect(self, version: str = "1.2", *lines: str) -> Wire:
        """Open a session."""
        wire = Wire(self.broker)
        self._wires.append(wire)
        wire.connect(version, *lines)
        return wire

    def close(self) -> None:
        """Close the connections that `connect` has opened."""
        while self._wires:
            self._wires.pop().close()

    def logged(self, event: str) -> dict[str, Any]:
        """Return the next entry about ``event`` that was not returned before; wait for it."""
        for entry in self._passed:
            if entry["event"] == event:
                self._passed.remove(entry)
                return entry
        until = time.monotonic() + PATIENCE
        while True:
            entry_ = self._entries.get(timeout=max(0.0, until - time.monotonic()))
            assert entry_ is not None, f"ended without {event!r}: {''.join(self.lines)}"
            if entry_["event"] == event:
                return entry_
            self._passed.append(entry_)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end and return its exit status; its whole log is in ``lines`` then."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status


@contextmanager
def daemon(*words: str, port: bool = True, data: Path | None = None) -> Iterator[Daemon]:
    """Run ``stompd`` with these flags in the block, on a free port unless ``port`` is False.

    It keeps messages in the directory ``data``, or in memory only.
    """
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "stompd", "--log-format", "json"]
    command += ["--memory"] if data is None else ["--data", str(data)]
    command += ["--listen", "127.0.0.1:0"] if port else []
    command += [] if "--http-listen" in words else ["--http-listen", "off"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with subprocess.Popen(
        [*command, "--ready-fd", str(writing), *words],
        pass_fds=[writing],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            os.close(writing)
            with os.fdopen(reading) as pipe:
                assert select.select([pipe], [], [], PATIENCE)[0], "stompd does not become ready"
                line = pipe.readline()
            if not line:
                process.wait(PATIENCE)
                assert process.stderr is not None
                raise AssertionError(process.stderr.read())
            number = line.split()[1].rpartition(":")[2]
            schemes = ("http://", "https://")
            url = next((word for word in line.split() if word.startswith(schemes)), "")
            running = Daemon(process, int(number) if number.isdigit() else 0, url)
            try:
                yield running
            finally:
                running.close()
        finally:
            process.kill()
