"""The `stomp` program as users run it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import stompcli.main

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
    """Return an environment in which no STOMP_ variable or file of the developer's counts."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STOMP_")}
    homes = {f"XDG_{kind}_HOME": "/nonexistent" for kind in ("CONFIG", "CACHE")}
    return {**clean, **homes, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **changes}


@contextmanager
def running_stompd(port: int = 0, *, kill: bool = False) -> Iterator[int]:
    """Run a stompd without a store on a free port, or on this one; yield its port.

    With ``kill`` it ends as if the machine had lost its power.
    """
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stompd", "--memory"),
            *("--listen", f"127.0.0.1:{port}", "--http-listen", "off", "--ready-fd", str(theirs)),
        ],
        pass_fds=[theirs],
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    os.close(theirs)
    try:
        with os.fdopen(ours) as ready:
            line = ready.readline()
        assert line.startswith("ready "), "stompd did not start"
        yield int(line.split()[1].rpartition(":")[2])
    finally:
        if kill:
            process.kill()
        process.terminate()
        process.wait(timeout=30)


class Stomp:
    """The `stomp` program, with the broker of the test as its default; 0: its own default."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._place = ("-P", str(port)) if port else ()

    def argv(self, *words: str) -> list[str]:
        """Return the command line that runs the program with these words."""
        return [sys.executable, "-m", "stompcli", *self._place, *words]

    def __call__(
        self, *words: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> Finished:
        """Run the program to its end inside this process; ``stdin`` None is an empty one.

        A fresh interpreter for every command would make the tests several times slower; `run`
        starts one.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(TemporaryFile()) for _ in range(3)]
            files[0].write(stdin or b"")
            files[0].seek(0)
            stack.enter_context(_descriptors([file.fileno() for file in files]))
            stack.enter_context(_environ(environment(**(env or {}))))
            code = stompcli.main.run([*self._place, *words])
            sys.stdout.flush()
            for file in files:
                file.seek(0)
            return Finished(code, files[1].read(), files[2].read().decode())

    def run(self, *words: str, stdin: bytes | None = None) -> Finished:
        """Run the program to its end in a process of its own."""
        done = subprocess.run(
            self.argv(*words),
            input=stdin or b"",
            capture_output=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr.decode())


@contextmanager
def _descriptors(files: list[int]) -> Iterator[None]:
    """Let the three standard streams be these files."""
    saved = [os.dup(fd) for fd in range(3)]
    streams = sys.stdout, sys.stderr
    for fd, file in enumerate(files):
        os.dup2(file, fd)
    try:
        with (
            os.fdopen(os.dup(1), "w", encoding="utf-8") as sys.stdout,
            os.fdopen(os.dup(2), "w", encoding="utf-8") as sys.stderr,
        ):
            yield
    finally:
        sys.stdout, sys.stderr = streams
        for fd, file in enumerate(saved):
            os.dup2(file, fd)
            os.close(file)


@contextmanager
def _environ(wanted: dict[str, str]) -> Iterator[None]:
    """Let the environment be this one, and the program's name its own."""
    environ, argv = dict(os.environ), sys.argv
    os.environ.clear()
    os.environ.update(wanted)
    sys.argv = ["/usr/bin/stomp"]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = argv
