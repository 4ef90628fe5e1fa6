"""The processes of the load generator, what they say, and how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from benchmarks.brokers import Broker
    from benchmarks.counters import Counters
    from benchmarks.load import Load


class RunFailedError(Exception):
    """A run without figures: the text is what went wrong first."""


@dataclass
class Children:
    """The two processes of the load generator and what they say."""

    processes: list[multiprocessing.process.BaseProcess] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)

    def hear(self, seconds: float) -> list[object]:
        """The next word of the child that was started last; RunFailedError if it failed."""
        return self.hear_from(-1, seconds)

    def hear_from(self, number: int, seconds: float) -> list[object]:
        """The next word of one child; raises RunFailedError if it failed or keeps silent."""
        pipe = self.pipes[number]
        if not pipe.poll(seconds):
            raise RunFailedError(f"the load generator did not answer within {seconds:.0f} s")
        try:
            said: list[object] = pipe.recv()
        except EOFError as error:
            raise RunFailedError("a process of the load generator died") from error
        if said[0] == "failed":
            raise RunFailedError(str(said[1]))
        return said

    def check(self) -> None:
        """Raise RunFailedError if any child has failed meanwhile."""
        for number, pipe in enumerate(self.pipes):
            if pipe.poll():
                self.hear_from(number, 0.0)


@contextlib.contextmanager
def start_children() -> Iterator[Children]:
    """Yield room for children; behind the block they have ended, killed if need be."""
    children = Children()
    try:
        yield children
    finally:
        for process in children.processes:
            process.join(5.0)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in children.pipes:
            pipe.close()


def spawn(
    children: Children,
    work: Callable[[Broker, Load, str, Counters, Callable[..., None]], None],
    broker: Broker,
    load: Load,
    prefix: str,
    counters: Counters,
) -> None:
    """Start a child that does ``work``; what it says is heard by ``children``."""
    # Forked, because the children have to inherit the page of counters.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(work, broker, load, prefix, counters, theirs), daemon=True
    )
    process.start()
    theirs.close()
    children.processes.append(process)
    children.pipes.append(ours)


def _work(
    work: Callable[[Broker, Load, str, Counters, Callable[..., None]], None],
    broker: Broker,
    load: Load,
    prefix: str,
    counters: Counters,
    pipe: Connection,
) -> None:
    """The main function of a child: do the work, and say what went wrong if it does."""
    try:
        work(broker, load, prefix, counters, lambda *words: pipe.send(list(words)))
    except (wire.BrokerError, OSError) as error:
        pipe.send(["failed", f"{work.__name__}: {error}"])
