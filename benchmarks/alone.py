"""What is measured of each broker alone, and of our parts without any broker."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from benchmarks import backlog, brokers, core, decoder, idle, plans, report, wire
from benchmarks.report import Bar, Row, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

IDLE_BAR = Bar("value", 25.0, "KiB")


def backlog_table(options: argparse.Namespace, names: Sequence[str]) -> Table:
    """A million messages, a kill, and the way back, printed and as a table."""
    print()
    got = backlog.run(names, options.backlog, backlog.SIZE)
    print("\n" + report.heading(names))
    for row in got.rows:
        print(report.line(row, names), flush=True)
    for note in got.notes:
        print(f"    ! {note}", flush=True)
    return got


def idle_table(
    options: argparse.Namespace, names: Sequence[str], versions: dict[str, str]
) -> Table:
    """Memory for idle connections, each broker freshly started, printed and as a table."""
    rows = []
    print("\n" + report.heading(names), flush=True)
    for count in options.idle:
        values: dict[str, float | None] = {}
        notes = []
        for name in names:
            values[name] = None
            try:
                with brokers.start(name) as broker:
                    versions[name] = broker.version
                    values[name] = idle.memory_per_connection(broker, count)
            except (
                wire.BrokerError,
                plans.BrokerFailedError,
                OSError,
                ValueError,
            ) as error:
                notes.append(f"{name}: {error}")
        row = Row(
            f"idle-{count}",
            f"memory for each of {count} idle connections",
            "KiB",
            values,
            IDLE_BAR,
            less_is_better=True,
            notes=notes,
        )
        print(report.line(row, names), flush=True)
        for note in notes:
            print(f"    ! {note}", flush=True)
        rows.append(row)
    return Table(
        "Idle connections",
        "Growth of the broker's resident memory from 100 idle connections on, divided by the "
        "number of further ones; each broker freshly started, and alone.",
        rows,
    )


def core_table(options: argparse.Namespace) -> Table:
    """Decoder and core without any socket, printed and as a table."""
    print()
    rows = []
    for cost in core.costs(min(options.secs, 1.0)):
        print(f"{cost.name:18}{cost.microseconds:>10.2f} µs")
        rows.append(Row(cost.name, cost.title, "µs", {report.OURS: cost.microseconds}))
    return Table(
        "Decoder and core together",
        "Time for one delivered message, from the octets that a sender wrote to those for the "
        "consumer's socket, without any socket; the best of many.",
        rows,
    )


def decoder_table(options: argparse.Namespace) -> Table:
    """The decoder alone, printed and as a table."""
    rows = []
    print()
    for speed in decoder.speeds(min(options.secs, 1.0)):
        print(f"{speed.name:18}{speed.microseconds:>10.2f} µs{speed.megabytes:>10.0f} MB/s")
        title = f"{speed.title} ({speed.megabytes:.0f} MB/s)"
        rows.append(Row(speed.name, title, "µs", {report.OURS: speed.microseconds}))
    return Table(
        "The decoder alone",
        "Time for one frame, decoded from octets in memory by one core "
        f"({platform.python_implementation()} {platform.python_version()}); the best of many.",
        rows,
    )
