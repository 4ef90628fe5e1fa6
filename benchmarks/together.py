"""Load on all brokers in turn, which run at the same time, the others' processes stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks import brokers, disk, idle, measure, plans, report, wire
from benchmarks.children import RunFailedError
from benchmarks.measure import Figures
from benchmarks.options import wanted
from benchmarks.report import Row, Table
from benchmarks.scenarios import SCENARIOS, Scenario

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.brokers import Broker

OURS_WARM = 5.0
"""Seconds of load before the measurement for stompd: nothing in it is compiled on the way."""
RUN_WARM = 1.0
"""Seconds of each run that are not counted."""


def together(
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
                broker = stack.enter_context(brokers.start(name, guarded=options.guarded))
            except plans.BrokerFailedError as error:
                left_out[name] = str(error).splitlines()[0]
                names.remove(name)
                print(f"{name} is left out: {error}")
                continue
            others.append(broker)
            _started(broker, versions)
            _warm(broker, scenarios or SCENARIOS[:1], options.warm)
        in_memory = [scenario for scenario in scenarios if not scenario.durable]
        connects = wanted(options, "connects")
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
            broker = stack.enter_context(
                brokers.start(report.OURS, durable=durable, guarded=options.guarded)
            )
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
            measure.run(
                broker, scenario.load_for(broker.name), prefix=_prefix(), warm=0.0, seconds=each
            )
        except RunFailedError as error:
            print(f"  {broker.name}, {scenario.name}: {error}")


def _measure(options: argparse.Namespace, started: Sequence[Broker], scenario: Scenario) -> Row:
    figures: dict[str, list[Figures]] = {broker.name: [] for broker in started}
    notes: dict[str, None] = {scenario.note: None} if scenario.note else {}
    for _ in range(options.rounds):
        for broker in started:
            try:
                with _alone(broker, started):
                    got = measure.run(
                        broker,
                        scenario.load_for(broker.name),
                        prefix=_prefix(),
                        warm=RUN_WARM,
                        seconds=options.secs,
                    )
            except RunFailedError as error:
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
            except (RunFailedError, OSError) as error:
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
        got = measure.run(
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


def _median(runs: Sequence[Figures]) -> Figures | None:
    """Figure by figure; what was lost adds up."""
    if not runs:
        return None

    def middle(figure: Callable[[Figures], float]) -> float:
        return statistics.median(map(figure, runs))

    return Figures(
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


def _detail(got: Figures, *, durable: bool) -> str:
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
