"""`python -m benchmarks.floor`: stompd beside a relay that only passes on, syncs and confirms.

Where clients wait for each answer, the time of a round trip decides, and most of that is none of
the broker's: sockets, waking who waits for them, the disk, the load generator. What the relay
reaches is about the most that a broker in Python can, with this load on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import brokers, disk, measure, report
from benchmarks.children import RunFailedError
from benchmarks.plans import RELAY
from benchmarks.report import OURS
from benchmarks.scenarios import SCENARIOS, Scenario

MEASURED = ("q1x1-1K-tx10", "rcpt10x10-1K", "dur10x10-1K-sync", "dur1x1-1K-tx10", "dur1x1-1K-sync")


def compare(
    scenario: Scenario, directory: Path, seconds: float, rounds: int
) -> tuple[float, float]:
    """Return the messages a second of the relay and of stompd, the medians of runs in turn."""
    got: dict[str, list[float]] = {RELAY: [], OURS: []}
    with contextlib.ExitStack() as stack:
        started = []
        for name in got:
            place = directory / f"{scenario.name}-{name}"
            place.mkdir()
            durable = scenario.durable
            started.append(
                stack.enter_context(brokers.start(name, durable=durable, directory=place))
            )
        for _ in range(rounds):
            for broker in started:
                prefix = f"floor-{secrets.token_hex(4)}"
                figures = measure.run(
                    broker, scenario.load, prefix=prefix, warm=0.5, seconds=seconds
                )
                if figures.lost:
                    raise RunFailedError(f"{broker.name}: {figures.lost} messages were lost")
                got[broker.name].append(figures.received)
    return statistics.median(got[RELAY]), statistics.median(got[OURS])


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("--secs", type=float, default=2.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="on a disk, for the files (TMPDIR)")
    options = parser.parse_args()
    place = Path(options.directory or tempfile.gettempdir())
    if disk.file_system(place).in_memory:
        parser.error(f"{place} is in memory: name a directory on a disk with --directory")
    print(f"disk: {report.disk_line(place)}")
    with tempfile.TemporaryDirectory(prefix="floor-", dir=place) as directory:
        print(f"{'scenario':18}{'relay':>12}{'stompd':>12}{'part':>8}")
        for scenario in SCENARIOS:
            if scenario.name in MEASURED:
                relay, ours = compare(scenario, Path(directory), options.secs, options.rounds)
                print(f"{scenario.name:18}{relay:>10,.0f}/s{ours:>10,.0f}/s{ours / relay:>8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
