"""What a run gave: figures for people, for programs, for spreadsheets and for plots."""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stompcli.bench.histogram import Histogram
from stompcli.bench.plan import Plan
from stompcli.exitcodes import ExitCode

_MIB: Final = 2**20
_MILLISECONDS: Final = 1e6
_NANOSECONDS: Final = 1e9
_PERCENTILES: Final = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p999", 99.9))
# Part of the time from which on the load generator itself is what limits.
_BUSY: Final = 0.9
# Seconds by which messages may leave late without a word.
_BEHIND: Final = 0.1
COLUMNS: Final = (
    *("run", "size", "part", "client", "messages", "seconds", "messages_per_second"),
    *("bytes_per_second", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "mean_ms"),
)


@dataclass(frozen=True)
class Share:
    """What one client did in the time that was measured."""

    messages: int
    octets: int
    seconds: float
    times: Histogram

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Part:
    """One direction of a run, and what its times are: send and receipt, receive and transfer."""

    name: str
    latency: str
    shares: Sequence[Share]

    @property
    def whole(self) -> Share:
        """All clients together."""
        times = Histogram()
        for share in self.shares:
            times.merge(share.times)
        return Share(
            sum(share.messages for share in self.shares),
            sum(share.octets for share in self.shares),
            max((share.seconds for share in self.shares), default=0.0),
            times,
        )


@dataclass
class Result:
    """What a run gave. Counts are of all messages, also of those that warmed up."""

    plan: Plan
    parts: list[Part] = field(default_factory=list)
    # Seconds from the begin of measuring until nothing more came.
    seconds: float = 0.0
    # None where the run does not know it.
    sent: int | None = None
    received: int | None = None
    warmup: int = 0
    lost: int | None = None
    # Of `receive`: numbers that did not come between others of their senders.
    missing: int | None = None
    duplicated: int | None = None
    disordered: int | None = None
    # Messages of other runs, or of none.
    strangers: int = 0
    # Of `connect`: how many failed, and why the first one.
    failed: int | None = None
    reason: str = ""
    # The part of the time for which this program had something to do, and did not wait.
    busy: float = 0.0
    # Of --rate: seconds by which a message left later than it was due, at most.
    behind: float = 0.0
    interrupted: bool = False
    # True if times of another machine's clock were left out.
    foreign: bool = False

    @property
    def code(self) -> ExitCode:
        """The exit code: whether all came, once and in order."""
        if self.lost or self.duplicated or self.disordered or self.failed:
            return ExitCode.FAILED
        wanted = self.plan.messages
        if self.plan.verb == "receive" and wanted is not None and (self.received or 0) < wanted:
            return ExitCode.TIMED_OUT
        return ExitCode.DONE

    # For people.

    def lines(self) -> list[str]:
        """Return the figures as lines of text."""
        width = max((len(part.name) for part in self.parts), default=0)
        made = [_part_line(part, width) for part in self.parts]
        if self.parts and len(self.parts[-1].shares) > 1:
            made.append(_clients_line(self.parts[-1]))
        made.append(self._sum())
        return made

    def _sum(self) -> str:
        texts = []
        if self.failed is not None:
            done = sum(share.messages for share in self.parts[0].shares)
            texts += [f"{done:,} connections", f"{self.failed:,} failed"]
        for count, word in (
            (self.sent, "sent"),
            (self.received, "received"),
            (self.lost, "lost"),
            (self.missing, "missing between others"),
            (self.duplicated, "duplicated"),
            (self.disordered, "out of order"),
        ):
            if count is not None:
                texts.append(f"{count:,} {word}")
        text = ", ".join(texts) + f" in {self.seconds:.2f} s"
        return text + (f", {self.warmup:,} of them to warm up" if self.warmup else "")

    def notes(self) -> list[str]:
        """Return what else there is to know of the figures."""
        made = []
        if self.interrupted:
            made.append("interrupted: the figures are of what was done until then")
        if self.busy >= _BUSY:
            made.append(
                f"this program itself was busy for {self.busy:.0%} of the time, so the broker may "
                "do more: run several of them at the same time"
            )
        if self.behind >= _BEHIND:
            made.append(
                f"the rate of {self.plan.rate:g}/s was not kept: messages left up to "
                f"{self.behind:.1f} s late, and their latencies count from when they were due"
            )
        if self.plan.cautious and self._is_full():
            made.append(
                f"stopped at {self.plan.messages:,} messages, since the broker is on another "
                "machine; --i-mean-it lifts that"
            )
        if self.strangers:
            made.append(f"{self.strangers:,} messages of other runs, or of none, were taken too")
        if self.foreign:
            made.append("times of messages from another machine were left out: clocks differ")
        if self.reason:
            made.append(f"the first failure: {self.reason}")
        return made

    def _is_full(self) -> bool:
        done = max((part.whole.messages for part in self.parts), default=0)
        return self.plan.messages is not None and done >= self.plan.messages

    # For programs.

    def as_json(self) -> dict[str, Any]:
        """Return the figures with names; times are seconds, sizes octets."""
        plan = self.plan
        made: dict[str, Any] = {
            "bench": plan.verb,
            "clients": plan.clients,
            "seconds": round(self.seconds, 6),
        }
        if plan.verb != "connect":
            made |= {"destination": plan.destination, "destinations": plan.destinations}
        if plan.senders:
            made |= {
                "size": plan.size,
                "receipts": plan.receipts,
                "max_pending": plan.max_pending,
                "tx": plan.tx,
                "persistent": plan.persistent,
                "rate": plan.rate,
            }
        for part in self.parts:
            made[part.name] = {
                **_share_json(part.whole, part.latency),
                "per_client": [round(share.rate, 3) for share in part.shares],
            }
        for name in (
            *("sent", "received", "lost", "missing", "duplicated", "disordered"),
            "failed",
        ):
            if getattr(self, name) is not None:
                made[name] = getattr(self, name)
        return made | {
            "warmup": self.warmup,
            "strangers": self.strangers,
            "generator_busy": round(self.busy, 3),
            "notes": self.notes(),
        }

    def rows(self, run: int) -> list[list[str]]:
        """Return a row for each client and for all together, in the order of `COLUMNS`."""
        made = []
        for part in self.parts:
            shares = [(str(n), share) for n, share in enumerate(part.shares, 1)]
            for client, share in (*shares, ("all", part.whole)):
                times = share.times
                percentiles = [times.percentile(percent) for _, percent in _PERCENTILES]
                seconds = [*percentiles, times.largest, times.mean]
                made.append(
                    [
                        str(run),
                        str(self.plan.size if self.plan.senders else ""),
                        part.name,
                        client,
                        str(share.messages),
                        f"{share.seconds:.6f}",
                        f"{share.rate:.3f}",
                        f"{share.octets / share.seconds if share.seconds else 0:.3f}",
                        *(f"{one / _MILLISECONDS:.6f}" for one in seconds),
                    ]
                )
        return made

    def histograms(self) -> Iterable[tuple[str, Histogram]]:
        """Return the times of each part that has any, with the name of what took them."""
        for part in self.parts:
            times = part.whole.times
            if times.total:
                yield part.latency, times


def as_csv(results: Sequence[Result]) -> str:
    """Return the rows of all runs with a line of titles."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run, result in enumerate(results, 1):
        writer.writerows(result.rows(run))
    return text.getvalue()


def _part_line(part: Part, width: int) -> str:
    whole = part.whole
    if part.name == "connect":
        return f"{part.name}  {_rate(whole.rate)} /s{_times(part.latency, whole.times)}"
    octets = whole.octets / whole.seconds / _MIB if whole.seconds > 0 else 0.0
    text = f"{part.name:<{width}}  {_rate(whole.rate)} msg/s  {octets:.2f} MiB/s"
    return text + _times(part.latency, whole.times)


def _times(name: str, times: Histogram) -> str:
    if not times.total:
        return ""
    p50, p99 = (in_ms(times.percentile(percent)) for percent in (50, 99))
    return f"   {name} p50 {p50} p99 {p99} max {in_ms(times.largest)} ms"


def _clients_line(part: Part) -> str:
    rates = [share.rate for share in part.shares]
    unit = "/s" if part.name == "connect" else "msg/s"
    texts = [f"[{n}] {_rate(rate)} {unit}" for n, rate in enumerate(rates, 1)]
    shown = f"{texts[0]} … {texts[-1]}" if len(texts) > 2 else "  ".join(texts)  # noqa: PLR2004
    return (
        f" {shown}   min {_rate(min(rates))} avg {_rate(statistics.fmean(rates))} "
        f"max {_rate(max(rates))} stddev {_rate(statistics.pstdev(rates))}"
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"  # noqa: PLR2004


def in_ms(nanoseconds: float) -> str:
    """Return a time in milliseconds with as many digits as mean something."""
    value = nanoseconds / _MILLISECONDS
    digits = 2 if value < 1 else 1 if value < 10 else 0  # noqa: PLR2004
    return f"{value:,.{digits}f}"


def _share_json(share: Share, latency: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "messages": share.messages,
        "seconds": round(share.seconds, 6),
        "messages_per_second": round(share.rate, 3),
    }
    if share.octets:
        made["bytes_per_second"] = round(share.octets / share.seconds, 3) if share.seconds else 0.0
    times = share.times
    if times.total:
        made[latency] = {
            "count": times.total,
            **{name: _in_seconds(times.percentile(percent)) for name, percent in _PERCENTILES},
            "max": _in_seconds(times.largest),
            "mean": _in_seconds(times.mean),
            "stddev": _in_seconds(times.deviation),
        }
    return made


def _in_seconds(nanoseconds: float) -> float:
    return round(nanoseconds / _NANOSECONDS, 9) if math.isfinite(nanoseconds) else 0.0
