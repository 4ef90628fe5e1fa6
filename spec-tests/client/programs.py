"""The `stomp` program as users run it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode()


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which no STOMP_ variable of the developer's counts."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STOMP_")}
    return {**clean, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **changes}


class Stomp:
    """The `stomp` program, with the broker of the test as its default."""

    def __init__(self, port: int) -> None:
        self.port = port

    def argv(self, *words: str) -> list[str]:
        """Return the command line that runs the program with these words."""
        return [sys.executable, "-m", "stompcli", "-P", str(self.port), *words]

    def __call__(
        self, *words: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> Finished:
        """Run the program to its end; ``stdin`` None is an empty one."""
        done = subprocess.run(
            self.argv(*words),
            input=stdin or b"",
            capture_output=True,
            env=environment(**(env or {})),
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the program, with pipes."""
        return subprocess.Popen(
            self.argv(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
