"""Run stompd for a long time under mixed load, with restarts, and see that nothing grows.

`make soak` runs it for an hour. Every now and then everything is drained, the history of the
clients is judged, and the memory of the process and the sizes of its files are measured. The broker
is ended several times in the middle of the traffic, by SIGTERM or by SIGKILL; in between it lives
for many minutes, since what fills in the first ones cannot be told from what never stops growing.
It ends with status 1 if a promise was broken, if memory grew in the second half of the broker's
lives, or a file in the second half of all.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from crash.checker import violations
from crash.daemon import Daemon
from crash.history import Delivered, Drained, History, Receipt, Sent, Started
from crash.violation import Violation
from crash.workload import Workload

MIB = 1 << 20

# Fewer samples than this tell nothing about growth.
ENOUGH = 20

# In an hour, ten minutes each.
LIVES = 6

# Seconds. What is remembered for ten minutes, as it is by default, grows for as long.
DEDUP_WINDOW = 60.0


@dataclass(frozen=True)
class Sample:
    """What was measured when everything was drained."""

    at: float
    """Seconds since the beginning."""
    life: int
    rss: int
    """Octets of memory of the process."""
    file: int
    """Octets of the database."""
    wal: int
    """Octets of its write-ahead log."""


@dataclass(frozen=True)
class Growth:
    """How something grew."""

    name: str
    when: str
    """In the second half of what."""
    mean: float
    """Octets, on average in that time."""
    grown: float
    """Octets, by a straight line through the samples."""
    allowed: float

    @property
    def too_much(self) -> bool:
        """Whether it is not noise any more."""
        return self.grown > self.allowed

    def __str__(self) -> str:
        verdict = "grows" if self.too_much else "is steady"
        return (
            f"{self.name} {verdict}: {self.mean / MIB:.1f} MiB, "
            f"{self.grown / MIB:+.2f} MiB in the second half {self.when} "
            f"({self.allowed / MIB:.1f} allowed)"
        )


def growth(samples: Sequence[Sample]) -> list[Growth]:
    """Fit straight lines through second halves of the samples; nothing if those are too few.

    Memory begins anew with each life, so the lines of all lives share a slope, not a level.
    """
    if len(samples) < ENOUGH:
        return []
    lives = [list(members) for _, members in groupby(samples, lambda sample: sample.life)]
    halves = [life[len(life) // 2 :] for life in lives]
    length = max(half[-1].at - half[0].at for half in halves)
    late = [sample for half in halves for sample in half]
    mean = sum(sample.rss for sample in late) / len(late)
    slope = _slope((sample.life, sample.at, float(sample.rss)) for sample in late)
    found = [Growth("memory", "of a life", mean, slope * length, 0.02 * mean + 2 * MIB)]
    half = samples[len(samples) // 2 :]
    length = half[-1].at - half[0].at
    # The log is empty after each checkpoint and large before, so it is allowed most noise.
    kinds: list[tuple[str, Callable[[Sample], int], float]] = [
        ("the file", lambda sample: sample.file, 8 * MIB),
        ("the log", lambda sample: sample.wal, 64 * MIB),
    ]
    for name, value, least in kinds:
        mean = sum(map(value, half)) / len(half)
        slope = _slope((0, sample.at, float(value(sample))) for sample in half)
        found.append(Growth(name, "of all", mean, slope * length, 0.2 * mean + least))
    return found


def _slope(points: Iterable[tuple[int, float, float]]) -> float:
    """Return the slope by least squares of points (group, x, y); each group has its own level."""
    groups: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for group, x, y in points:
        groups[group].append((x, y))
    above = below = 0.0
    for members in groups.values():
        middle_x = sum(x for x, _ in members) / len(members)
        middle_y = sum(y for _, y in members) / len(members)
        above += sum((x - middle_x) * (y - middle_y) for x, y in members)
        below += sum((x - middle_x) ** 2 for x, _ in members)
    return above / below if below else 0.0


@dataclass
class Report:
    """What came of it."""

    seed: int
    seconds: float = 0.0
    kills: int = 0
    stops: int = 0
    sent: int = 0
    delivered: int = 0
    receipts: int = 0
    samples: list[Sample] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        """Whether something is wrong."""
        return bool(self.violations) or any(one.too_much for one in growth(self.samples))

    def __str__(self) -> str:
        first = (
            f"seed {self.seed}: {self.seconds:.0f} s, {self.kills} kills, {self.stops} stops, "
            f"{self.sent} messages sent, {self.delivered} delivered, {self.receipts} receipts, "
            f"{len(self.violations)} violations, {len(self.samples)} samples"
        )
        return "\n".join((first, *map(str, growth(self.samples)), *map(str, self.violations[:20])))


def soak(
    directory: Path,
    seconds: float,
    seed: int,
    *words: str,
    lives: int = LIVES,
    interval: int = 10_000,
    progress: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Run for so many seconds; a sample each ``interval`` receipts and messages, about.

    The broker is started ``lives`` times, and lives about as long each time.
    """
    began = time.monotonic()
    chance = random.Random(seed)  # noqa: S311 - it decides nothing secret
    history = History()
    daemon = Daemon(
        directory, history, "--set", "timeouts.drain=2s", *words, dedup_window=DEDUP_WINDOW
    )
    workload = Workload(history, seed)
    report = Report(seed)
    try:
        daemon.start()
        endings = _endings(chance, seconds, lives)
        while True:
            clients = workload.run(daemon.life, daemon.port)
            history.wait_until(interval, 120.0)
            ending = bool(endings) and time.monotonic() - began >= endings[0]
            if ending:
                endings.pop(0)
                if chance.random() < 0.5:
                    daemon.kill()
                else:
                    daemon.stop()
                    report.stops += 1
            workload.stopping.set()
            for client in clients:
                client.join()
            workload.raise_failures()
            if ending:
                daemon.start()
            workload.drain(daemon.life, daemon.port)
            history.note(Drained())
            for violation in _judge(history, report):
                progress(str(violation))
            at = time.monotonic() - began
            sample = _measure(daemon, at)
            report.samples.append(sample)
            progress(
                f"{at:6.0f} s  life {sample.life}  memory {sample.rss / MIB:.1f} MiB  "
                f"file {sample.file / MIB:.1f}  log {sample.wal / MIB:.1f}  "
                f"{report.sent} sent, {len(report.violations)} violations"
            )
            if at >= seconds and not endings:
                break
            # A history of its own for what follows: nothing is under way any more.
            history = History()
            history.note(Started(daemon.life))
            daemon.history = workload.history = history
            workload.forget()
        daemon.stop()
        report.stops += 1
    finally:
        daemon.abandon()
    report.kills = daemon.kills
    report.seconds = time.monotonic() - began
    return report


def _endings(chance: random.Random, seconds: float, lives: int) -> list[float]:
    """Return after how many seconds all lives but the last end: about equally long, not quite."""
    length = seconds / lives
    return [length * (number + chance.uniform(-0.2, 0.2)) for number in range(1, lives)]


def _judge(history: History, report: Report) -> list[Violation]:
    found = violations(history.events)
    report.violations += found
    for event in history.events:
        report.sent += isinstance(event, Sent)
        report.delivered += isinstance(event, Delivered)
        report.receipts += isinstance(event, Receipt)
    return found


def _measure(daemon: Daemon, at: float) -> Sample:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    file = wal = 0
    for path in daemon.data.iterdir():
        if path.name.endswith("-wal"):
            wal += path.stat().st_size
        elif not path.name.endswith("-shm"):
            file += path.stat().st_size
    return Sample(at, daemon.life, rss * 1024, file, wal)


def main() -> int:
    """Run it as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long (3600)")
    parser.add_argument("--lives", type=int, default=LIVES, help=f"of the broker ({LIVES})")
    parser.add_argument("--seed", type=int, help="that of a run to be repeated")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="stompd-soak-") as directory:
        report = soak(
            Path(directory),
            arguments.seconds,
            seed,
            lives=arguments.lives,
            progress=lambda line: print(line, flush=True),  # noqa: T201
        )
    print(report)  # noqa: T201
    return int(report.bad)


if __name__ == "__main__":
    sys.exit(main())
