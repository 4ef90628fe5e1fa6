"""`python -m benchmarks`: start every broker found, measure them in turn, report.

Without options this takes about twenty minutes. `--quick` shows in two minutes that all of
it works; its figures mean nothing.
"""

from __future__ import annotations

import datetime as dt
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks import disk, idle, plans, report
from benchmarks.alone import backlog_table, core_table, decoder_table, idle_table
from benchmarks.options import parsed, wanted
from benchmarks.report import Run
from benchmarks.scenarios import SCENARIOS
from benchmarks.together import together

if TYPE_CHECKING:
    from collections.abc import Sequence

METHOD = (
    "Brokers and load generator ran on this machine. The runs of a scenario took turns, broker by",
    "broker, with the processes of the others stopped meanwhile; a figure is the median of its",
    "runs. Absolute figures depend on the machine and on what else it did: compare only within",
    "this report. The ratio is stompd over the best other broker. Under `In memory` stompd ran",
    "with --memory, and no message was persistent; under `On disk` with --data, and all were.",
    "RabbitMQ and ActiveMQ ran as Debian ships them, the same processes for both, STOMP on",
    "loopback: RabbitMQ with durable classic queues, which is what /queue/ gives, ActiveMQ with",
    "KahaDB and its NIO connector and a heap of up to 2 GiB.",
)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; the exit status is 1 if a bar was missed, 2 without a run."""
    options = parsed(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    idle.raise_file_limit()
    left_out = {name: why for name in options.brokers if (why := plans.missing(name))}
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    names = [name for name in options.brokers if name not in left_out]
    if not names:
        print("no broker to measure", file=sys.stderr)
        return 2
    place = Path(tempfile.gettempdir())
    scenarios = [scenario for scenario in SCENARIOS if wanted(options, scenario.name)]
    on_disk = any(scenario.durable for scenario in scenarios) or wanted(options, "backlog")
    if on_disk and disk.file_system(place).in_memory:
        print(f"{place} is in memory: name a directory on a disk with --directory", file=sys.stderr)
        return 2
    below = report.disk_line(place) if on_disk else ""
    if below:
        print(f"disk: {below}")
    started = dt.datetime.now(tz=dt.UTC)
    versions: dict[str, str] = {}
    tables = []
    if scenarios or wanted(options, "connects"):
        tables += together(options, names, scenarios, versions, left_out)
    if wanted(options, "backlog"):
        tables.append(backlog_table(options, names))
    if wanted(options, "idle"):
        tables.append(idle_table(options, names, versions))
    if wanted(options, "core"):
        tables.append(core_table(options))
    if wanted(options, "decoder"):
        tables.append(decoder_table(options))
    run = Run(
        date=f"{started:%Y-%m-%d %H:%M} UTC",
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
        versions={name: versions[name] for name in names if name in versions},
        left_out=left_out,
        method=METHOD,
        tables=tables,
        machine=report.machine(),
        disk=below,
    )
    if options.out is not None:
        written = _write(run, options.out, f"{started:%Y-%m-%d}")
        if options.readme is not None:
            link = os.path.relpath(written, options.readme.parent)
            text = options.readme.read_text()
            options.readme.write_text(report.with_summary(text, report.summary(run, link)))
    rows = [row for table in tables for row in table.rows]
    missed = [row.name for row in rows if row.verdict() == "missed"]
    passed = sum(row.verdict() == "pass" for row in rows)
    print(
        f"\n{passed} bars cleared, {len(missed)} missed{': ' if missed else ''}{', '.join(missed)}"
    )
    return 1 if missed else 0


def _interrupt(*_: object) -> NoReturn:
    """SIGTERM ends us as Ctrl-C does, so that the brokers are stopped on the way."""
    raise KeyboardInterrupt


def _write(run: Run, directory: Path, name: str) -> Path:
    """Write picture and report; the path of the report."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = directory / f"{name}.svg"
    drawn.write_text(report.picture(run))
    written = directory / f"{name}.md"
    written.write_text(report.markdown(run, picture=drawn.name))
    print(f"\n{written}\n{drawn}")
    return written


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except plans.BrokerFailedError as failure:
        print(failure, file=sys.stderr)
        sys.exit(2)
