"""What the durable store can do: messages written, settled and read a second.

    PYTHONPATH=. python -m benchmarks.store [--directory DIR] [--rounds N] [--size OCTETS]

With a busy main thread, one that never rests in Python, each time the worker needs the interpreter
back costs up to the switch interval; a broker under full load is like that. Here the worker tells
the store as well, which in stompd the main thread does.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from stompd.broker.message import Message
from stompd.broker.storage import Fetch, Key
from stompd.protocol.frame import V12
from stompd.protocol.headers import Heads
from stompd.store.sqlite import SqliteStore

QUEUE: Final[Key] = ("", "/queue/a")
HEADERS: Final = (
    b"destination:/queue/a\npersistent:true\ncontent-type:application/octet-stream\n"
    b"correlation-id:0123456789abcdef"
)


@contextmanager
def _busy(busy: bool) -> Iterator[None]:  # noqa: FBT001 - one fact
    """Have another thread compute all the time."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class _Bench:
    """One store and its messages."""

    def __init__(self, directory: Path, size: int) -> None:
        self.store = SqliteStore(directory)
        self.store.epoch = time.time()
        self.store.open()
        head = Heads(V12, frozenset(("SEND",)), strict=True).quick_head(
            b"SEND\n" + HEADERS, 1 << 40, 1000
        )
        assert head is not None  # noqa: S101 - it is plain
        self.head = head
        self.body = bytes(range(256)) * (size // 256 + 1)
        self.body = self.body[:size]
        self.place = 0

    def message(self) -> Message:
        """Return one more message."""
        message = Message(self.head, self.body, None, persistent=True)
        message.same = (HEADERS + b"\n\n", self.body, b"\0\n")
        self.place += 1
        message.place = self.place
        return message

    def commit(self) -> None:
        """Write what was told."""
        batch = self.store.take()
        if batch is not None:
            self.store.write(batch)
            self.store.committed(batch)

    def put(self, messages: list[Message], each: int) -> None:
        """Write messages in batches."""
        put = self.store.put
        for at in range(0, len(messages), each):
            for message in messages[at : at + each]:
                put(QUEUE, message)
            self.commit()

    def settle(self, messages: list[Message], each: int) -> None:
        """Settle messages in batches."""
        settle = self.store.settle
        for at in range(0, len(messages), each):
            for message in messages[at : at + each]:
                settle(QUEUE, message)
            self.commit()

    def read(self, each: int) -> None:
        """Read all there is, page by page."""
        after = 0
        while True:
            fetch = Fetch(QUEUE, "ready", _nobody, count=each, octets=1 << 30, after=after)
            messages, _ = self.store.read(fetch)
            if not messages:
                return
            after = messages[-1].place

    def rest(self) -> None:
        """Tidy up."""
        while self.store.idle():
            pass


def _nobody(_messages: list[Message], _dues: list[float]) -> None:
    """Take no answer: `_Bench.read` takes it itself."""


def _report(bench: _Bench, rounds: int, each: int, *, busy: bool) -> str:
    count = each * rounds
    puts = settles = reads = 0.0
    messages = [bench.message() for _ in range(count)]
    with _busy(busy):
        puts = _timed(lambda: bench.put(messages, each))
        reads = _timed(lambda: bench.read(each))
        settles = _timed(lambda: bench.settle(messages, each))
    bench.rest()
    state = "busy" if busy else "idle"
    return (
        f"{each:5} a batch, {state} main thread:"
        f" {count / puts:9,.0f} put/s {count / settles:9,.0f} settle/s"
        f" {reads / count * 1e6:6.1f} us a message read"
    )


def main() -> None:
    """Do what is described above."""
    parser = argparse.ArgumentParser(description="Measure the durable store.")
    parser.add_argument("--directory", type=Path, help="where (a temporary one)")
    parser.add_argument("--rounds", type=int, default=20, help="batches of each measurement (20)")
    parser.add_argument("--size", type=int, default=1024, help="octets of a body (1024)")
    arguments = parser.parse_args()
    print(
        f"python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()},"
        f" switch interval {sys.getswitchinterval() * 1000:.0f} ms, {arguments.size} octets a body"
    )
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        bench = _Bench(Path(name) / "data", arguments.size)
        for each in (100, 1000, 5000):
            for busy in (False, True):
                print(_report(bench, arguments.rounds, each, busy=busy), flush=True)
        bench.store.close(True)  # noqa: FBT003 - a positional of the interface


if __name__ == "__main__":
    main()
