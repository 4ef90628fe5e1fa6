"""Starts stompd, plain or specially configured, as a process of its own.

A configuration is a file as users write it. Only ``guarded`` needs more than a file: log-ins that
the suite knows; ``guarded_broker.py`` starts stompd with them.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from wire import Broker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# ERRORs are what most cases provoke, all from one address: no pause between them.
_COMMON: dict[str, Any] = {"timeouts": {"error-delay": "0s"}}

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "brisk": {"heart-beat": {"minimum": "200ms", "default": "1s"}},
    "strict": {"virtual-hosts": {"names": ["stomp.example", "other.example"], "strict": True}},
    "hasty": {"timeouts": {"login": "1s", "linger": "1s"}},
    "few": {"limits": {"connections": 3}},
    "small": {
        "limits": {
            "subscriptions": 4,
            "transactions": 3,
            "transaction-frames": 5,
            "headers": 20,
            "header-line": 1200,
            "head": 6000,
            "body": 10_000,
            "login-frame": 2000,
            "receipt": 60,
            "subscription-id": 40,
        },
        "policy": [
            {"match": "/queue/full.#", "max-messages": 2, "overflow": "reject"},
            {"match": "/queue/credit.#", "prefetch-count": 3},
        ],
    },
    "guarded": {},
}
"""What each configuration of stompd sets; "plain" is what everybody gets."""

USERS = {"user": "pass", "literal": "p\\cq", "tab": "p\\tq", "colon": "p:q"}
"""Who may log in to the guarded one."""


class NotStartedError(Exception):
    """A broker did not start; the text ends with what it said."""


@dataclass(frozen=True)
class Running:
    """A broker that accepts connections; ``pid`` is None if it is not our process."""

    broker: Broker
    settings: dict[str, Any]
    pid: int | None = None


def _toml(settings: dict[str, Any]) -> str:
    """``settings`` as TOML: tables of plain values, and lists of such tables."""
    lines: list[str] = []
    for name, table in settings.items():
        for entry in table if isinstance(table, list) else [table]:
            lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
            for key, value in entry.items():
                text = str(value).lower() if isinstance(value, bool) else repr(value)
                lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


class Brokers:
    """The brokers of one run: those of stompd start when the first case needs them.

    With ``foreign`` every case goes there instead, whatever its configuration.
    """

    def __init__(self, foreign: Broker | None = None) -> None:
        self.foreign = foreign
        self._running: dict[str, Running] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        # One for each configuration: the cases of the others do not wait for its start.
        self._starting = {config: Lock() for config in CONFIGURATIONS}
        self._directory = tempfile.TemporaryDirectory(prefix="conformance-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def get(self, config: str) -> Running:
        """The broker with this configuration, started if need be; raises `NotStartedError`."""
        if self.foreign is not None:
            return Running(self.foreign, {})
        with self._starting[config]:
            if config not in self._running:
                self._running[config] = self._start(config)
            return self._running[config]

    def _start(self, config: str) -> Running:
        settings = {**CONFIGURATIONS[config]}
        settings["timeouts"] = {**_COMMON["timeouts"], **settings.get("timeouts", {})}
        path = Path(self._directory.name) / f"{config}.toml"
        # Of TOML's tables the lists come last.
        ordered = sorted(settings.items(), key=lambda item: isinstance(item[1], list))
        path.write_text('http.listen = "off"\n' + _toml(dict(ordered)), encoding="utf-8")
        log = Path(self._directory.name) / f"{config}.log"
        program = [str(HERE / "guarded_broker.py")] if config == "guarded" else ["-m", "stompd"]
        reading, writing = os.pipe()
        command = [sys.executable, *program, "-c", str(path), "--memory"]
        command += ["--listen", "127.0.0.1:0", "--ready-fd", str(writing)]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("STOMPD_")
        }
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(writing,),
            )
        self._processes.append(process)
        os.close(writing)
        with os.fdopen(reading) as ready:
            line = ready.readline()
        port = line.strip().rpartition(":")[2]
        if not port.isdigit():
            process.wait(10)
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise NotStartedError(f"stompd ({config}) did not start: {line!r}\n{said}")
        login = ("user", USERS["user"]) if config == "guarded" else ("", "")
        return Running(Broker(("127.0.0.1", int(port)), *login), settings, process.pid)

    def log(self, config: str) -> str:
        """What the broker with this configuration has written."""
        path = Path(self._directory.name) / f"{config}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def died(self) -> list[str]:
        """The configurations whose process has ended by itself."""
        names = {running.pid: config for config, running in self._running.items()}
        return [names.get(p.pid, "?") for p in self._processes if p.poll() is not None]

    def stop(self) -> None:
        """Stop every process that this object started, and remove their files."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            if process.poll() is None:
                process.kill()
                process.wait()
        self._directory.cleanup()
