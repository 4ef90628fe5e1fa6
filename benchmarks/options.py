"""What `python -m benchmarks` may be told."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import backlog, plans
from benchmarks.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

EXTRAS = ("connects", "backlog", "idle", "core", "decoder")
QUICK_BACKLOG = 5000


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """What the arguments ask for; ends the program, as argparse does, for what makes no sense."""
    known = [scenario.name for scenario in SCENARIOS] + list(EXTRAS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure stompd beside the other STOMP brokers of this machine.",
        epilog=f"scenarios: {' '.join(known)}",
    )
    parser.add_argument("--only", default="", help="scenarios, with commas between; default: all")
    parser.add_argument("--secs", type=float, default=4.0, help="measured seconds of a run (4)")
    parser.add_argument("--rounds", type=int, default=3, help="runs per scenario and broker (3)")
    parser.add_argument("--warm", type=float, default=60.0, help="seconds of load before (60)")
    parser.add_argument("--brokers", default=",".join(plans.NAMES), help="with commas between")
    parser.add_argument(
        "--idle", default="1000,10000", help="numbers of idle connections (1000,10000)"
    )
    parser.add_argument(
        "--backlog",
        type=int,
        default=backlog.MESSAGES,
        help=f"messages of the backlog ({backlog.MESSAGES})",
    )
    parser.add_argument(
        "--directory", type=Path, help="on a disk, for the files of the brokers (TMPDIR)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="directory of the report (docs/benchmarks; none with --only or --quick)",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        help="a README with marks for the comparison, to be brought up to date",
    )
    parser.add_argument(
        "--guarded",
        action="store_true",
        help="stompd with users, rights, and metrics that somebody asks for every second",
    )
    parser.add_argument("--quick", action="store_true", help="very short runs, to try it out")
    options = parser.parse_args(arguments)
    if options.quick:
        options.secs, options.rounds, options.warm, options.idle = 0.5, 1, 5.0, "200"
        options.backlog = QUICK_BACKLOG
    options.only = [name for name in options.only.split(",") if name]
    options.brokers = [name for name in options.brokers.split(",") if name]
    options.idle = [int(count) for count in options.idle.split(",") if count]
    if options.out is None and not options.only and not options.quick:
        options.out = plans.ROOT / "docs" / "benchmarks"
    for name in options.only:
        if name not in known:
            parser.error(f"no scenario {name!r}; there are: {', '.join(known)}")
    for name in options.brokers:
        if name not in plans.NAMES:
            parser.error(f"no broker {name!r}; there are: {', '.join(plans.NAMES)}")
    if options.backlog < 1:
        parser.error("--backlog has to be at least 1")
    if options.directory is not None:
        if not os.access(options.directory, os.W_OK):
            parser.error(f"{options.directory} is no directory that can be written to")
        tempfile.tempdir = str(options.directory)
    return options


def wanted(options: argparse.Namespace, name: str) -> bool:
    """Whether the scenario of this name, or the extra, is to be measured."""
    return not options.only or name in options.only
