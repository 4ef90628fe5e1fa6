"""What `stomp bench` counts: histograms, accounts, marks and plans, without any broker."""

from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompcli.bench import payload
from stompcli.bench.account import Account, Order
from stompcli.bench.histogram import Histogram
from stompcli.bench.plan import CAUTION, SECONDS, Plan
from stompcli.bench.result import Part, Result, Share, as_csv, in_ms
from stompcli.bench_arguments import BENCH, RECEIPTS, SIZES
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.options import NUMBER
from stompd.protocol.decoder import Decoder


def histogram_of(values: list[int]) -> Histogram:
    """Return a histogram of these values."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(st.integers(0, 1 << 62), min_size=1), st.floats(0, 100))
def test_percentiles_are_within_one_per_cent(values: list[int], percent: float) -> None:
    """A percentile is never too small, and too large by less than 1 %."""
    ordered = sorted(values)
    histogram = histogram_of(values)
    rank = max(1, -int(-len(ordered) * percent // 100))
    exact = ordered[min(rank, len(ordered)) - 1]
    found = histogram.percentile(percent)
    assert exact <= found <= exact * 1.01 or found == exact
    assert histogram.percentile(100) == histogram.largest == ordered[-1]


@given(st.lists(st.integers(0, 1 << 40)), st.lists(st.integers(0, 1 << 40)))
def test_merging_is_counting_together(one: list[int], other: list[int]) -> None:
    """Two histograms merged are the histogram of all their numbers."""
    merged = histogram_of(one)
    merged.merge(histogram_of(other))
    together = histogram_of(one + other)
    assert merged.hgrm() == together.hgrm()
    assert merged.mean == together.mean


def test_numbers_out_of_range() -> None:
    """What clocks that disagree give is 0, and nothing is too large."""
    histogram = histogram_of([-5, 1 << 70])
    assert histogram.total == 2
    assert histogram.percentile(50) == 0
    assert Histogram().percentile(99) == 0
    assert Histogram().mean == Histogram().deviation == 0


def test_hgrm() -> None:
    """The distribution is written as HdrHistogram's tools do."""
    text = histogram_of([n * 1_000_000 for n in range(1, 1001)]).hgrm()
    lines = text.splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in lines[2:] if line and not line.startswith("#")]
    assert all(len(row) == 4 for row in rows[:-1])
    assert rows[-1] == ["1000.000", "1.000000000000", "1000"]
    half = next(row for row in rows if float(row[1]) == 0.5)
    assert float(half[0]) == pytest.approx(500, rel=0.01)
    assert int(half[2]) == pytest.approx(500, abs=5)
    assert float(half[3]) == 2
    percentiles = [float(row[1]) for row in rows]
    assert percentiles == sorted(percentiles)
    assert "#[Mean    =      500.500, StdDeviation   =      288.6" in text
    assert "Total count    =         1000]" in text
    assert Histogram().hgrm().count("\n") == 5


@given(st.lists(st.integers(0, 200_000)))
def test_account_knows_what_came(numbers: list[int]) -> None:
    """Each number counts once, and then as a duplicate; gaps are between the first and last."""
    account = Account()
    seen: set[int] = set()
    for number in numbers:
        assert account.note(b"a", number) is (number not in seen)
        seen.add(number)
    assert account.received == account.count(b"a") == len(seen)
    assert account.duplicated == len(numbers) - len(seen)
    assert account.gaps() == (max(seen) - min(seen) + 1 - len(seen) if seen else 0)
    assert account.lost([(b"a", 200_001), (b"b", 3)]) == 200_001 - len(seen) + 3


def test_order() -> None:
    """Only what came behind a later one of the same sender is out of order."""
    order = Order()
    for sender, number in [(b"a", 0), (b"b", 9), (b"a", 2), (b"a", 1), (b"b", 10), (b"a", 3)]:
        order.note(sender, number)
    assert order.broken == 1


@pytest.mark.parametrize("size", [0, 1, payload.MARK - 1, payload.MARK, payload.MARK + 1, 5000])
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_marks_are_found_again(size: int, version: str) -> None:
    """Bodies have their size, and their marks are found in them or in a header."""
    run = payload.new_run()
    frames = payload.Frames(run, 7, "/queue/100%d:x", size, [("persistent", "true")], version)
    decoder = Decoder("server")
    decoder.begin(version)
    data = frames.plain(1, 2) + frames.confirmed(3, 4) + frames.in_transaction(9, 5, 6)
    found = decoder.feed(data)
    assert decoder.error is None
    assert decoder.pending == 0
    assert [payload.mark_of(*frame) for frame in found] == [
        (frames.name, number, number + 1) for number in (1, 3, 5)
    ]
    assert [len(body) for _, body in found] == [size] * 3
    assert found[1][0].headers["receipt"] == "3"
    assert found[2][0].headers["transaction"] == "9"
    assert found[0][0].headers["persistent"] == "true"
    assert payload.is_of_this_machine(frames.name)


@pytest.mark.parametrize("body", [b"", b"hello", b"bench", b"bench" + b"x" * 60])
def test_what_is_no_mark(body: bytes) -> None:
    """Any other body is of no run."""
    decoder = Decoder("server")
    decoder.begin("1.2")
    ((head, body),) = decoder.feed(b"SEND\ndestination:/queue/a\n\n" + body + b"\0")
    assert payload.mark_of(head, body) is None


def planned(*words: str) -> Plan:
    """Return the plan that a command line makes."""
    params: dict[str, Any] = BENCH.make_context("bench", list(words)).params
    return Plan.of(params)


def test_defaults() -> None:
    """Without options it is one client, 128 octets, a receipt for each, five seconds."""
    plan = planned("roundtrip")
    assert (plan.clients, plan.size, plan.receipts, plan.duration) == (1, 128, 1, SECONDS)
    assert (plan.destination, plan.max_pending, plan.ack) == ("/queue/bench", 100, "auto")
    assert planned("fanout").destination == "/topic/bench"
    assert planned("send", "--msgs", "10k").duration is None


def test_words() -> None:
    """Every option reaches the plan."""
    plan = planned(
        *("roundtrip", "/queue/x", "--clients", "3", "--msgs", "1.5k", "--duration", "2m"),
        *("--warmup", "500ms", "--size", "128,1k", "--rate", "0.01k/s", "--max-pending", "7"),
        *("--receipts", "none", "--ack", "client", "--persistent", "--destinations", "2"),
        *("--idle", "1"),
    )
    assert plan.messages == 1500
    assert plan.sizes == (128, 1024)
    assert plan.of_size(1024).size == 1024
    assert [plan.name(n) for n in range(3)] == ["/queue/x.1", "/queue/x.2", "/queue/x.1"]
    assert (plan.duration, plan.warmup, plan.rate, plan.idle) == (120, 0.5, 10, 1)
    assert (plan.max_pending, plan.receipts, plan.ack) == (7, 0, "client")
    assert planned("send", "--receipts", "500").max_pending == 500
    assert planned("send", "--tx", "200").max_pending == 200
    assert [planned("send", "--clients", "3", "--msgs", "11").share(3, n) for n in range(3)] == [
        *(4, 4, 3),
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["connect", "/queue/a"], "bench connect takes no DEST"),
        (["connect", "--size", "1k"], "bench connect takes no --size"),
        (["receive", "--rate", "10"], "bench receive takes no --rate"),
        (["send", "--ack", "client"], "bench send takes no --ack"),
        (["send", "--clients", "5", "--msgs", "4"], "less than one for each of 5 clients"),
        (["send", "--destinations", "2"], "more than one for each of 1 clients"),
        (["send", "--tx", "5", "--receipts", "10"], "COMMIT"),
        (["send", "--clients", "70000"], "more than 65,535"),
    ],
)
def test_what_makes_no_sense(words: list[str], complaint: str) -> None:
    """Options that cannot have an effect are refused, in words."""
    with pytest.raises(Failure, match=complaint) as info:
        planned(*words)
    assert info.value.code == ExitCode.USAGE


def test_caution() -> None:
    """A broker elsewhere gets no more than so much."""
    with pytest.raises(Failure, match="200,000 messages"):
        planned("send", "--msgs", "200k").with_caution()
    with pytest.raises(Failure, match="120,000 messages"):
        planned("send", "--rate", "10000", "--duration", "10", "--warmup", "2").with_caution()
    assert planned("send", "--msgs", "100k").with_caution().messages == 100_000
    careful = planned("send").with_caution()
    assert careful.messages == CAUTION
    assert careful.cautious


@pytest.mark.parametrize(
    ("kind", "word"),
    [(NUMBER, "x"), (NUMBER, "0"), (NUMBER, "-1"), (SIZES, "1,"), (SIZES, "a"), (RECEIPTS, "0")],
)
def test_words_that_are_no_values(kind: Any, word: str) -> None:  # noqa: ANN401 - click's types
    """A value of the wrong kind is a usage error."""
    with pytest.raises(click.UsageError):
        kind.convert(word, None, None)


def share(messages: int, seconds: float, times: list[int]) -> Share:
    """Return what a client did."""
    return Share(messages, messages * 128, seconds, histogram_of(times))


def test_figures_for_people() -> None:
    """Rates, latencies, the spread between clients and the check, a line each."""
    plan = planned("roundtrip", "--clients", "3")
    shares = [share(1000 * n, 2.0, [1_000_000 * n, 900_000]) for n in (1, 2, 3)]
    result = Result(
        plan,
        [Part("send", "receipt", shares), Part("receive", "transfer", shares)],
        seconds=2.0,
        sent=6100,
        received=6099,
        lost=1,
        duplicated=0,
        disordered=0,
        warmup=100,
    )
    assert result.lines() == [
        "send     3,000 msg/s  0.37 MiB/s   receipt p50 0.90 p99 3.0 max 3.0 ms",
        "receive  3,000 msg/s  0.37 MiB/s   transfer p50 0.90 p99 3.0 max 3.0 ms",
        " [1] 500 msg/s … [3] 1,500 msg/s   min 500 avg 1,000 max 1,500 stddev 408",
        (
            "6,100 sent, 6,099 received, 1 lost, 0 duplicated, 0 out of order in 2.00 s, "
            "100 of them to warm up"
        ),
    ]
    assert result.code == ExitCode.FAILED
    rows = as_csv([result]).splitlines()
    assert rows[0].startswith("run,size,part,client,messages,seconds,messages_per_second,")
    assert [row.split(",")[2:5] for row in rows[1:]] == [
        *([part, client, count] for part in ("send", "receive") for client, count in (
            ("1", "1000"), ("2", "2000"), ("3", "3000"), ("all", "6000"),
        )),
    ]  # fmt: skip


def test_notes() -> None:
    """What limits the figures is said beside them."""
    plan = planned("send", "--rate", "10").with_caution()
    one = Share(CAUTION, CAUTION, 1.0, Histogram())
    result = Result(plan, [Part("send", "receipt", [one])], busy=0.97, behind=1.5, strangers=3)
    result.interrupted = result.foreign = True
    result.reason = "connection refused"
    text = "\n".join(result.notes())
    for words in ("97% of the time", "rate of 10/s", "stopped at 100,000", "interrupted"):
        assert words in text
    assert "3 messages of other runs" in text
    assert "clocks differ" in text
    assert "the first failure: connection refused" in text
    assert Result(plan, []).notes() == []


def test_milliseconds() -> None:
    """Latencies have the digits that mean something."""
    assert [in_ms(n) for n in (0, 51_000, 900_000, 3_100_000, 22_400_000, 1_234_000_000)] == [
        *("0.00", "0.05", "0.90", "3.1", "22", "1,234"),
    ]
