"""Run stompd under load, kill it at random moments, and judge what its clients saw.

`make crash` runs it: hundreds of kills. It ends with status 1 if a promise was broken; the seed is
printed, and `--seed` draws the same choices again (the moments of two runs differ all the same).
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash.audit import audit
from crash.checker import violations
from crash.daemon import PROGRAM, Daemon
from crash.history import Delivered, Drained, Event, History, Receipt, Sent
from crash.violation import Violation
from crash.workload import Workload

# How long, in seconds, a round waits for its receipts and messages before it kills all the same.
LULL = 20.0


BAD_DISK = Path(__file__).with_name("bad_disk.py")

# With such windows little of a queue is in memory.
SMALL = 20


@dataclass
class Report:
    """What came of a run."""

    seed: int
    kills: int = 0
    stops: int = 0
    seconds: float = 0.0
    events: list[Event] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    """What is wrong with the file, after which kill."""
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> bool:
        """Whether something is wrong."""
        return bool(self.violations or self.unsound)

    def count(self, kind: type) -> int:
        """Return how many events of a kind there were."""
        return sum(isinstance(event, kind) for event in self.events)

    def __str__(self) -> str:
        first = (
            f"seed {self.seed}: {self.kills} kills, {self.stops} stops, "
            f"{self.count(Sent)} messages sent, {self.count(Delivered)} delivered, "
            f"{self.count(Receipt)} receipts, {len(self.violations)} violations, "
            f"{len(self.unsound)} faults in the file, "
            f"{self.seconds:.0f} s"
        )
        return "\n".join((first, *self.unsound[:20], *map(str, self.violations[:20])))


def run(
    directory: Path,
    kills: int,
    seed: int,
    *words: str,
    most: int = 1500,
    small: bool = False,
    power: bool = False,
    memory: bool = False,
) -> Report:
    """Kill stompd so many times, drain it, and report.

    With ``small`` windows nearly all messages of a queue are in the file only. With ``power``
    SQLite's files lose what was not synced when stompd is killed. A round kills it after at most
    ``most`` receipts and messages. One start in five is killed before it is done, and one life in
    eight ends in good order.
    """
    began = time.monotonic()
    chance = random.Random(seed)  # noqa: S311 - it decides nothing secret
    history = History()
    program: Sequence[str] = PROGRAM
    if power:
        control = directory / "disk"
        control.write_text("cache")
        program = (sys.executable, str(BAD_DISK), str(control))
    daemon = Daemon(
        directory,
        history,
        "--set",
        "timeouts.drain=2s",
        *words,
        memory=memory,
        program=program,
        window=SMALL if small else None,
    )
    workload = Workload(history, seed)
    report = Report(seed, events=history.events)
    start_takes = 0.5
    try:
        while daemon.kills < kills:
            if daemon.life and chance.random() < 0.2:
                if not daemon.start(kill_after=chance.random() * start_takes):
                    _look(daemon, report)
                    continue
            else:
                since = time.monotonic()
                daemon.start()
                start_takes = time.monotonic() - since
            _live(daemon, workload, history, chance, report, most)
        daemon.start()
        workload.drain(daemon.life, daemon.port)
        daemon.stop()
        report.stops += 1
        # What is left, if something is, comes back now.
        daemon.start()
        workload.drain(daemon.life, daemon.port)
        history.note(Drained())
        daemon.stop()
        report.stops += 1
        _look(daemon, report, drained=True)
    finally:
        daemon.abandon()
    report.kills = daemon.kills
    report.refused = Counter(workload.refused)
    report.violations = violations(history.events)
    report.seconds = time.monotonic() - began
    return report


def _live(
    daemon: Daemon,
    workload: Workload,
    history: History,
    chance: random.Random,
    report: Report,
    most: int,
) -> None:
    """One life of the broker with its clients, and its end."""
    # Short lives and long ones are equally likely, whatever ``most`` is.
    wanted = history.seen + int(most ** chance.random()) + chance.randrange(20)
    clients = workload.run(daemon.life, daemon.port)
    history.wait_until(wanted, LULL)
    if chance.random() < 1 / 8:
        daemon.stop()
        report.stops += 1
    else:
        daemon.kill()
    workload.stopping.set()
    for client in clients:
        client.join()
    workload.raise_failures()
    _look(daemon, report)


def _look(daemon: Daemon, report: Report, *, drained: bool = False) -> None:
    """Look into what the daemon has left."""
    if daemon.data.is_dir():
        found = audit(daemon.data, drained=drained)
        report.unsound += [f"after life {daemon.life}: {text}" for text in found]


def main() -> int:
    """Run it as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="how many (300)")
    parser.add_argument("--seed", type=int, help="that of a run to be repeated")
    parser.add_argument("--most", type=int, default=1500, help="receipts and messages in a life")
    parser.add_argument(
        "--every", type=int, default=50, help="kills until it is drained and judged"
    )
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    left = arguments.kills
    bad = False
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="stompd-crash-") as directory:
            report = run(
                Path(directory),
                min(left, arguments.every),
                seed,
                most=arguments.most,
                small=seed % 2 == 1,
                power=seed % 4 >= 2,
            )
        print(report, flush=True)  # noqa: T201
        for message, number in report.refused.most_common(5):
            print(f"  {number} connections ended: {message}")  # noqa: T201
        bad = bad or report.bad
        left -= report.kills
        seed += 1
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
