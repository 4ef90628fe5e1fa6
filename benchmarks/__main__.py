"""`python -m benchmarks`: start every broker found, measure them in turn, report.

Without options this takes about twenty minutes. `--quick` shows in two minutes that all of
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
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from benchmarks import backlog, brokers, core, decoder, disk, idle, load, report, wire
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
EXTRAS = ("connects", "backlog", "idle", "core", "decoder")
QUICK_BACKLOG = 5000

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
    place = Path(tempfile.gettempdir())
    scenarios = [scenario for scenario in SCENARIOS if _wanted(options, scenario.name)]
    on_disk = any(scenario.durable for scenario in scenarios) or _wanted(options, "backlog")
    if on_disk and disk.file_system(place).in_memory:
        print(f"{place} is in memory: name a directory on a disk with --directory", file=sys.stderr)
        return 2
    below = report.disk_line(place) if on_disk else ""
    if below:
        print(f"disk: {below}")
    started = dt.datetime.now(tz=dt.UTC)
    versions: dict[str, str] = {}
    tables = []
    if scenarios or _wanted(options, "connects"):
        tables += _together(options, names, scenarios, versions, left_out)
    if _wanted(options, "backlog"):
        tables.append(_backlog(options, names))
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
    parser.add_argument("--quick", action="store_true", help="very short runs, to try it out")
    options = parser.parse_args(arguments)
    if options.quick:
        options.secs, options.rounds, options.warm, options.idle = 0.5, 1, 5.0, "200"
        options.backlog = QUICK_BACKLOG
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
    if options.backlog < 1:
        parser.error("--backlog has to be at least 1")
    if options.directory is not None:
        if not os.access(options.directory, os.W_OK):
            parser.error(f"{options.directory} is no directory that can be written to")
        tempfile.tempdir = str(options.directory)
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
    """Start all of `names`, measure what is wanted; who does not start moves to `left_out`.

    The others run all the time, stompd once with each of its stores.
    """
    tables = []
    with contextlib.ExitStack() as stack:
        others = []
        for name in [name for name in names if name != report.OURS]:
            try:
                broker = stack.enter_context(brokers.start(name))
            except brokers.BrokerFailedError as error:
                left_out[name] = str(error).splitlines()[0]
                names.remove(name)
                print(f"{name} is left out: {error}")
                continue
            others.append(broker)
            _started(broker, versions)
            _warm(broker, scenarios or SCENARIOS[:1], options.warm)
        in_memory = [scenario for scenario in scenarios if not scenario.durable]
        connects = _wanted(options, "connects")
        if in_memory or connects:
            with _with_ours(options, names, others, in_memory, versions, durable=False) as started:
                if in_memory:
                    tables.append(_under_load(options, started, in_memory))
                if connects:
                    tables.append(_connects(options, started))
        durable = [scenario for scenario in scenarios if scenario.durable]
        if durable:
            with _with_ours(options, names, others, durable, versions, durable=True) as started:
                tables.append(_on_disk(options, started, durable))
    return tables


@contextlib.contextmanager
def _with_ours(
    options: argparse.Namespace,
    names: Sequence[str],
    others: Sequence[Broker],
    scenarios: Sequence[Scenario],
    versions: dict[str, str],
    *,
    durable: bool,
) -> Iterator[list[Broker]]:
    """The other brokers, and stompd beside them if it is among `names`, with one of its stores."""
    with contextlib.ExitStack() as stack:
        by_name = {broker.name: broker for broker in others}
        if report.OURS in names:
            broker = stack.enter_context(brokers.start(report.OURS, durable=durable))
            by_name[broker.name] = broker
            _started(broker, versions)
            _warm(broker, scenarios or SCENARIOS[:1], min(options.warm, OURS_WARM))
        print("\n" + report.heading(names), flush=True)
        yield [by_name[name] for name in names]


def _started(broker: Broker, versions: dict[str, str]) -> None:
    versions[broker.name] = broker.version
    where = "its messages on disk" if broker.data else "its messages in memory"
    print(f"{broker.name} {broker.version} on port {broker.port}, {where}", flush=True)


FIGURES_TEXT = (
    "The second table has the median (p50) and 99th percentile latency, the broker's processor "
    "time for one delivered message and its memory; its last column is the processor time of the "
    "more economical other broker over ours, which foreign load hardly changes. Where the rate is "
    "not fixed the latency is that of a full window of messages in flight."
)


def _runs(options: argparse.Namespace) -> str:
    return f"{options.rounds} run{'' if options.rounds == 1 else 's'} of {options.secs:g} s"


def _under_load(
    options: argparse.Namespace, started: Sequence[Broker], scenarios: Sequence[Scenario]
) -> Table:
    rows = [_measure(options, started, scenario) for scenario in scenarios]
    return Table(
        "In memory",
        f"Messages delivered a second, or the median latency, in {_runs(options)}. {FIGURES_TEXT}",
        rows,
    )


def _on_disk(
    options: argparse.Namespace, started: Sequence[Broker], scenarios: Sequence[Scenario]
) -> Table:
    rows = [_measure(options, started, scenario) for scenario in scenarios]
    unable = disk.cannot_count()
    return Table(
        "On disk",
        "Persistent messages of 1 KiB, each acknowledged by its consumer (client-individual); "
        "messages delivered a second, or the median latency from SEND to MESSAGE, in "
        f"{_runs(options)}. {FIGURES_TEXT} KiB written are those that "
        "the kernel counted for the broker's processes for one delivered message. The third table "
        "has the calls that told the disk to keep what was written, from a run of its own under "
        "strace, which slows brokers down.",
        rows,
        notes=[f"syncs were not counted: {unable}"] if unable else [],
    )


def _warm(broker: Broker, scenarios: Sequence[Scenario], seconds: float) -> None:
    """Load of every kind that will be measured, for about so many seconds."""
    print(f"warming up {broker.name} for {seconds:.0f} s", flush=True)
    each = max(seconds / len(scenarios), 0.2)
    for scenario in scenarios:
        try:
            load.run(
                broker, scenario.load_for(broker.name), prefix=_prefix(), warm=0.0, seconds=each
            )
        except load.RunFailedError as error:
            print(f"  {broker.name}, {scenario.name}: {error}")


def _measure(options: argparse.Namespace, started: Sequence[Broker], scenario: Scenario) -> Row:
    figures: dict[str, list[load.Figures]] = {broker.name: [] for broker in started}
    notes: dict[str, None] = {scenario.note: None} if scenario.note else {}
    for _ in range(options.rounds):
        for broker in started:
            try:
                with _alone(broker, started):
                    got = load.run(
                        broker,
                        scenario.load_for(broker.name),
                        prefix=_prefix(),
                        warm=RUN_WARM,
                        seconds=options.secs,
                    )
            except load.RunFailedError as error:
                notes[f"{broker.name}: a run failed: {error}"] = None
                continue
            if got.lost:
                notes[f"{broker.name}: {got.lost} messages never came"] = None
            figures[broker.name].append(got)
    syncs: dict[str, str] = {}
    if scenario.durable and disk.cannot_count() is None:
        for broker in started:
            try:
                with _alone(broker, started):
                    syncs[broker.name] = _syncs(options, broker, scenario)
            except (load.RunFailedError, OSError) as error:
                notes[f"{broker.name}: syncs were not counted: {error}"] = None
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
        details={
            name: _detail(got, durable=scenario.durable)
            for name, got in medians.items()
            if got is not None
        },
        costs={name: got.cpu for name, got in medians.items() if got is not None},
        foreign=[got.foreign for runs in figures.values() for got in runs],
        notes=list(notes),
        syncs=syncs,
    )
    print(report.line(row, [broker.name for broker in started]), flush=True)
    for name, detail in row.details.items():
        print(f"    {name}: {detail}", flush=True)
    for name, text in row.syncs.items():
        print(f"    {name}: {text}", flush=True)
    for note in row.notes:
        print(f"    ! {note}", flush=True)
    return row


def _syncs(options: argparse.Namespace, broker: Broker, scenario: Scenario) -> str:
    """Load under the eyes of strace: how often what was written was told to the disk."""
    with disk.counted(broker.pids()) as syncs:
        got = load.run(
            broker, scenario.load_for(broker.name), prefix=_prefix(), warm=0.0, seconds=options.secs
        )
    return report.syncs_text(syncs, got.messages)


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
        written=middle(lambda got: got.written),
        messages=sum(got.messages for got in runs),
        lost=sum(got.lost for got in runs),
    )


def _detail(got: load.Figures, *, durable: bool) -> str:
    written = f"{report.number(got.written / 1024)} KiB written; " if durable else ""
    return (
        f"p50 {report.number(got.p50)}, p99 {report.number(got.p99)} ms; "
        f"{report.number(got.cpu)} µs; {got.rss:.0f} MiB; {written}"
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


def _backlog(options: argparse.Namespace, names: Sequence[str]) -> Table:
    print()
    got = backlog.run(names, options.backlog, backlog.SIZE)
    print("\n" + report.heading(names))
    for row in got.rows:
        print(report.line(row, names), flush=True)
    for note in got.notes:
        print(f"    ! {note}", flush=True)
    return got


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
