"""`python -m benchmarks`: start every broker found, measure them in turn, report.

Without options this takes about a quarter of an hour. `--quick` shows in two minutes that all of
it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import shlex
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks import brokers, core, decoder, idle, load, report, wire
from benchmarks.report import Bar, Row, Run, Table
from benchmarks.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.brokers import Broker

OURS_WARM = 5.0
"""Seconds of load before the measurement for stompd: nothing in it is compiled on the way."""
RUN_WARM = 1.0
"""Seconds of each run that are not counted."""
IDLE_BAR = Bar("value", 25.0, "KiB")
EXTRAS = ("connects", "idle", "core", "decoder")

METHOD = (
    "Brokers and load generator ran on this machine. The runs of a scenario took turns, broker by",
    "broker, with the processes of the others stopped meanwhile; a figure is the median of its",
    "runs. Absolute figures depend on the machine and on what else it did: compare only within",
    "this report. The ratio is stompd over the best other broker. stompd kept messages in its",
    "memory store, so for persistent messages it did less than the others, which wrote them to",
    "disk: those rows have no bar. RabbitMQ and ActiveMQ ran as Debian ships them, STOMP on",
    "loopback, ActiveMQ with KahaDB and its NIO connector and a heap of up to 2 GiB.",
)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; the exit status is 1 if a bar was missed, 2 without a run."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    idle.raise_file_limit()
    left_out = {name: why for name in options.brokers if (why := brokers.missing(name))}
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    names = [name for name in options.brokers if name not in left_out]
    if not names:
        print("no broker to measure", file=sys.stderr)
        return 2
    started = dt.datetime.now(tz=dt.UTC)
    versions: dict[str, str] = {}
    tables = []
    scenarios = [scenario for scenario in SCENARIOS if _wanted(options, scenario.name)]
    if scenarios or _wanted(options, "connects"):
        tables += _together(options, names, scenarios, versions, left_out)
    if _wanted(options, "idle"):
        tables.append(_idle(options, names, versions))
    if _wanted(options, "core"):
        tables.append(_core(options))
    if _wanted(options, "decoder"):
        tables.append(_decoder(options))
    run = Run(
        date=f"{started:%Y-%m-%d %H:%M} UTC",
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
        versions={name: versions[name] for name in names if name in versions},
        left_out=left_out,
        method=METHOD,
        tables=tables,
        machine=report.machine(),
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


def _options(arguments: Sequence[str]) -> argparse.Namespace:
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
    parser.add_argument("--brokers", default=",".join(brokers.NAMES), help="with commas between")
    parser.add_argument(
        "--idle", default="1000,10000", help="numbers of idle connections (1000,10000)"
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
    parser.add_argument("--quick", action="store_true", help="very short runs, to try it out")
    options = parser.parse_args(arguments)
    if options.quick:
        options.secs, options.rounds, options.warm, options.idle = 0.5, 1, 5.0, "200"
    options.only = [name for name in options.only.split(",") if name]
    options.brokers = [name for name in options.brokers.split(",") if name]
    options.idle = [int(count) for count in options.idle.split(",") if count]
    if options.out is None and not options.only and not options.quick:
        options.out = brokers.ROOT / "docs" / "benchmarks"
    for name in options.only:
        if name not in known:
            parser.error(f"no scenario {name!r}; there are: {', '.join(known)}")
    for name in options.brokers:
        if name not in brokers.NAMES:
            parser.error(f"no broker {name!r}; there are: {', '.join(brokers.NAMES)}")
    return options


def _wanted(options: argparse.Namespace, name: str) -> bool:
    return not options.only or name in options.only


def _interrupt(*_: object) -> NoReturn:
    """SIGTERM ends us as Ctrl-C does, so that the brokers are stopped on the way."""
    raise KeyboardInterrupt


# --- under load, all brokers at the same time ----------------------------------------------


def _together(
    options: argparse.Namespace,
    names: list[str],
    scenarios: Sequence[Scenario],
    versions: dict[str, str],
    left_out: dict[str, str],
) -> list[Table]:
    """Start all of `names`, measure what is wanted; who does not start moves to `left_out`."""
    tables = []
    with contextlib.ExitStack() as stack:
        started = []
        for name in list(names):
            try:
                broker = stack.enter_context(brokers.start(name))
            except brokers.BrokerFailedError as error:
                if name == report.OURS:
                    raise
                left_out[name] = str(error).splitlines()[0]
                names.remove(name)
                print(f"{name} is left out: {error}")
                continue
            started.append(broker)
            versions[name] = broker.version
            print(f"{name} {broker.version} on port {broker.port}", flush=True)
        for broker in started:
            seconds = min(options.warm, OURS_WARM) if broker.name == report.OURS else options.warm
            _warm(broker, scenarios or SCENARIOS[:1], seconds)
        print("\n" + report.heading(names), flush=True)
        if scenarios:
            rows = [_measure(options, started, scenario) for scenario in scenarios]
            tables.append(
                Table(
                    "Under load",
                    f"Messages delivered a second, or the median latency, in {options.rounds} "
                    f"runs of {options.secs:g} s. The second table has the median (p50) and 99th "
                    "percentile latency, the broker's processor time for one delivered message "
                    "and its memory; its last column is the processor time of the more "
                    "economical other broker over ours, which foreign load hardly changes. "
                    "Where the rate is not fixed the latency is that of a full window of "
                    "messages in flight.",
                    rows,
                )
            )
        if _wanted(options, "connects"):
            tables.append(_connects(options, started))
    return tables


def _warm(broker: Broker, scenarios: Sequence[Scenario], seconds: float) -> None:
    """Load of every kind that will be measured, for about so many seconds."""
    print(f"warming up {broker.name} for {seconds:.0f} s", flush=True)
    each = max(seconds / len(scenarios), 0.2)
    for scenario in scenarios:
        try:
            load.run(broker, scenario.load, prefix=_prefix(), warm=0.0, seconds=each)
        except load.RunFailedError as error:
            print(f"  {broker.name}, {scenario.name}: {error}")


def _measure(options: argparse.Namespace, started: Sequence[Broker], scenario: Scenario) -> Row:
    figures: dict[str, list[load.Figures]] = {broker.name: [] for broker in started}
    notes: dict[str, None] = {}
    for _ in range(options.rounds):
        for broker in started:
            try:
                with _alone(broker, started):
                    got = load.run(
                        broker, scenario.load, prefix=_prefix(), warm=RUN_WARM, seconds=options.secs
                    )
            except load.RunFailedError as error:
                notes[f"{broker.name}: a run failed: {error}"] = None
                continue
            if got.lost:
                notes[f"{broker.name}: {got.lost} messages never came"] = None
            figures[broker.name].append(got)
    medians = {name: _median(runs) for name, runs in figures.items()}
    row = Row(
        scenario.name,
        scenario.title,
        "ms" if scenario.by_latency else "/s",
        {
            name: None if got is None else got.p50 if scenario.by_latency else got.received
            for name, got in medians.items()
        },
        scenario.bar,
        less_is_better=scenario.by_latency,
        details={name: _detail(got) for name, got in medians.items() if got is not None},
        costs={name: got.cpu for name, got in medians.items() if got is not None},
        foreign=[got.foreign for runs in figures.values() for got in runs],
        notes=list(notes),
    )
    print(report.line(row, [broker.name for broker in started]), flush=True)
    for name, detail in row.details.items():
        print(f"    {name}: {detail}", flush=True)
    for note in row.notes:
        print(f"    ! {note}", flush=True)
    return row


@contextlib.contextmanager
def _alone(broker: Broker, started: Sequence[Broker]) -> Iterator[None]:
    """Stop the other brokers' processes meanwhile: idle ones still wake up and use caches."""
    others = [pid for other in started if other is not broker for pid in other.pids()]
    try:
        for pid in others:
            _signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in others:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _prefix() -> str:
    """A part of a destination's name that no run had before."""
    return f"b{os.getpid()}.{time.monotonic_ns()}"


def _median(runs: Sequence[load.Figures]) -> load.Figures | None:
    """Figure by figure; what was lost adds up."""
    if not runs:
        return None

    def middle(figure: Callable[[load.Figures], float]) -> float:
        return statistics.median(map(figure, runs))

    return load.Figures(
        received=middle(lambda got: got.received),
        sent=middle(lambda got: got.sent),
        p50=middle(lambda got: got.p50),
        p99=middle(lambda got: got.p99),
        cpu=middle(lambda got: got.cpu),
        load_cpu=middle(lambda got: got.load_cpu),
        rss=middle(lambda got: got.rss),
        foreign=middle(lambda got: got.foreign),
        lost=sum(got.lost for got in runs),
    )


def _detail(got: load.Figures) -> str:
    return (
        f"p50 {report.number(got.p50)}, p99 {report.number(got.p99)} ms; "
        f"{report.number(got.cpu)} µs; {got.rss:.0f} MiB; "
        f"load generator {report.number(got.load_cpu)} µs"
    )


def _connects(options: argparse.Namespace, started: Sequence[Broker]) -> Table:
    rates: dict[str, list[tuple[float, float]]] = {broker.name: [] for broker in started}
    notes = []
    for _ in range(options.rounds):
        for broker in started:
            try:
                with _alone(broker, started):
                    rates[broker.name].append(idle.connections_per_second(broker, options.secs))
            except (wire.BrokerError, OSError) as error:
                notes.append(f"{broker.name}: a run failed: {error}")
    row = Row(
        "connects",
        "connect, log in, disconnect with a receipt",
        "/s",
        {
            name: statistics.median(rate for rate, _ in runs) if runs else None
            for name, runs in rates.items()
        },
        details={
            name: f"{report.number(statistics.median(cpu for _, cpu in runs))} µs"
            for name, runs in rates.items()
            if runs
        },
        notes=notes,
    )
    print(report.line(row, [broker.name for broker in started]), flush=True)
    return Table(
        "Coming and going",
        f"Connections a second, {idle.TOGETHER} at the same time: connect, CONNECT and CONNECTED, "
        "DISCONNECT and its receipt, close. The second table has the broker's processor time for "
        "one of them.",
        [row],
    )


# --- each broker alone, and no broker at all -----------------------------------------------


def _idle(options: argparse.Namespace, names: Sequence[str], versions: dict[str, str]) -> Table:
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
                brokers.BrokerFailedError,
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


def _core(options: argparse.Namespace) -> Table:
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


def _decoder(options: argparse.Namespace) -> Table:
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
    except brokers.BrokerFailedError as failure:
        print(failure, file=sys.stderr)
        sys.exit(2)
