"""The arithmetic of the bars, and the report of given figures."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks import plot, report
from benchmarks.report import Bar, Row, Run, Table


def row(ours: float | None, *others: float | None, bar: Bar | None, less: bool = False) -> Row:
    """A row of stompd and so many other brokers."""
    values = {"stompd": ours} | {f"other{number}": value for number, value in enumerate(others)}
    return Row("name", "title", "/s", values, bar, less_is_better=less)


@pytest.mark.parametrize(
    ("ours", "others", "ratio", "verdict"),
    [
        (350.0, (50.0, 100.0), 3.5, "pass"),
        (349.0, (50.0, 100.0), 3.49, "missed"),
        (350.0, (100.0, None), 3.5, "pass"),
        (350.0, (None, None), None, ""),
        (None, (50.0, 100.0), None, "missed"),
    ],
)
def test_times_compares_with_the_best_of_the_others(
    ours: float | None, others: tuple[float | None, ...], ratio: float | None, verdict: str
) -> None:
    """More is better: the best other one is the quickest; a failed run of ours is a miss."""
    measured = row(ours, *others, bar=Bar("times", 3.5))
    assert measured.ratio() == ratio
    assert measured.verdict() == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(0.12, "pass"), (0.121, "missed")])
def test_fraction_compares_with_the_lowest_of_the_others(ours: float, verdict: str) -> None:
    """Less is better: the best other one is the one with the lowest figure."""
    measured = row(ours, 0.3, 0.2, bar=Bar("fraction", 0.6), less=True)
    assert measured.ratio() == pytest.approx(ours / 0.2)
    assert measured.verdict() == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(25.0, "pass"), (25.1, "missed"), (None, "missed")])
def test_value_looks_at_ours_alone(ours: float | None, verdict: str) -> None:
    """An absolute bar needs no other broker."""
    assert row(ours, bar=Bar("value", 25.0, "KiB"), less=True).verdict() == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(60.0, "pass"), (59.9, "missed"), (None, "missed")])
def test_least_looks_at_ours_alone(ours: float | None, verdict: str) -> None:
    """An absolute bar where more is better."""
    measured = row(ours, bar=Bar("least", 60.0, "/s"))
    assert measured.verdict() == verdict
    assert str(measured.bar) == "≥ 60 /s"


def test_what_is_not_comparable_has_no_ratio() -> None:
    """Brokers that did not do the same stand beside each other, but nothing is divided."""
    measured = Row("name", "title", "/s", {"stompd": 4.0, "RabbitMQ": 2.0}, compared=False)
    assert measured.ratio() is None


def test_no_bar_no_verdict() -> None:
    """What is only shown is neither passed nor missed, and so is a run without stompd."""
    assert row(1.0, 2.0, bar=None).verdict() == ""
    without = Row("name", "title", "/s", {"RabbitMQ": 1.0}, Bar("times", 2.0))
    assert without.ratio() is None
    assert without.verdict() == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "failed"), (0.104, "0.10"), (12.34, "12.3"), (486123.4, "486 123"), (99.99, "100.0")],
)
def test_numbers_have_as_many_digits_as_they_need(value: float | None, text: str) -> None:
    """Thousands are set apart; a missing figure says that its run failed."""
    assert report.number(value) == text


def test_thrift_compares_with_the_most_economical_of_the_others() -> None:
    """Processor time is compared with the other broker that needs the least of it."""
    costs = {"stompd": 4.0, "RabbitMQ": 80.0, "ActiveMQ": 30.0}
    assert Row("name", "title", "/s", {}, costs=costs).thrift() == 7.5
    assert Row("name", "title", "/s", {}, costs={"RabbitMQ": 80.0}).thrift() is None
    assert Row("name", "title", "/s", {}, costs={"stompd": 4.0}).thrift() is None


def a_run() -> Run:
    """A run of two scenarios with a bar cleared, a bar missed and a note."""
    rows = [
        Row(
            "q1",
            "queue | hop",
            "/s",
            {"stompd": 400000.0, "RabbitMQ": 20000.0, "ActiveMQ": 50000.0},
            Bar("times", 3.5),
            details={"stompd": "p50 1 ms"},
            costs={"stompd": 4.0, "RabbitMQ": 80.0, "ActiveMQ": 30.0},
            foreign=[0.02, 0.04, 0.3],
        ),
        Row(
            "lat",
            "latency",
            "ms",
            {"stompd": 0.2, "RabbitMQ": 0.25, "ActiveMQ": None},
            Bar("fraction", 0.6),
            less_is_better=True,
            notes=["ActiveMQ: a run failed: <no & thing>"],
        ),
    ]
    return Run(
        date="2026-01-02 03:04 UTC",
        command="python -m benchmarks --secs 4",
        versions={"stompd": "1", "RabbitMQ": "3"},
        left_out={"Other": "it is not installed"},
        method=["How it was done."],
        tables=[Table("Under load", "What the rows are.", rows)],
        machine="2 x something",
    )


def test_the_report_holds_every_figure() -> None:
    """Machine, versions, command, figures, ratios, bars, verdicts and notes stand in it."""
    text = report.markdown(a_run(), picture="run.svg")
    assert "stompd 1, RabbitMQ 3" in text
    assert "`python -m benchmarks --secs 4`" in text
    assert "2 x something" in text
    assert "took at most 4% of the processors' time in half of the runs, and 30% in" in text
    assert "Left out: Other: it is not installed" in text
    assert "Bars cleared: 1 of 2" in text
    assert "![The figures as bars](run.svg)" in text
    cells = [
        [cell.strip() for cell in line.split(" | ")] for line in text.splitlines() if " | " in line
    ]
    times = report.TIMES
    assert [
        "| q1",
        "queue \\| hop",
        "400 000 /s",
        "20 000 /s",
        "50 000 /s",
        f"8.00{times}",
        f"≥ 3.5{times}",
        "pass |",
    ] in cells
    assert [
        "| lat",
        "latency",
        "0.20 ms",
        "0.25 ms",
        "failed",
        f"0.80{times}",
        f"≤ 0.6{times}",
        "missed |",
    ] in cells
    assert ["| q1", "p50 1 ms", "", "", f"7.5{times} |"] in cells
    assert "* lat: ActiveMQ: a run failed: <no & thing>" in text


def test_tables_are_as_wide_as_their_heads() -> None:
    """Every line of a table has as many cells as the first."""
    for block in report.markdown(a_run()).split("\n\n"):
        lines = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_syncs_and_the_disk_stand_in_the_report() -> None:
    """A table of what each broker told the disk, the disk itself, and notes of a table."""
    durable = Row(
        "dur",
        "kept",
        "/s",
        {"stompd": 2.0, "RabbitMQ": 1.0},
        syncs={"stompd": "3 fdatasync for 9 messages: one for 3.00", "RabbitMQ": "none"},
    )
    table = Table("On disk", "Text.", [durable], notes=["RabbitMQ was tired."])
    run = Run("now", "x", {}, {}, [], [table], "m", disk="ext4 on /dev/x")
    text = report.markdown(run)
    assert "* Disk: ext4 on /dev/x\n" in text
    assert "| syncs | stompd | RabbitMQ |" in text
    assert "| dur | 3 fdatasync for 9 messages: one for 3.00 | none |" in text
    assert text.endswith("\n* RabbitMQ was tired.\n")
    assert "Disk" not in report.markdown(a_run())
    assert "syncs" not in report.markdown(a_run())


def test_the_readme_gets_the_comparison_between_its_marks() -> None:
    """What stood between the marks is replaced, the rest stays; without marks nothing is done."""
    old = f"before\n{report.README_FROM}\nold\n{report.README_TO}\nafter\n"
    new = report.with_summary(old, report.summary(a_run(), "docs/run.md"))
    assert new.startswith(f"before\n{report.README_FROM}\n")
    assert new.endswith(f"\n{report.README_TO}\nafter\n")
    assert "old" not in new
    assert "[the report](docs/run.md)" in " ".join(new.split())
    assert f"| queue \\| hop | 400 000 | 20 000 | 50 000 | 8{report.TIMES} |" in new
    assert f"| latency | 0.20 ms | 0.25 ms | failed | 0.8{report.TIMES} |" in new
    assert report.with_summary(new, "x\n") == report.with_summary(old, "x\n")
    with pytest.raises(ValueError, match="README"):
        report.with_summary("no marks", "x\n")


def test_the_terminal_table_shows_ratio_and_verdict() -> None:
    """The line of a scenario names figures, ratio, bar and verdict in the columns of the head."""
    names = ["stompd", "RabbitMQ", "ActiveMQ"]
    head = report.heading(names)
    line = report.line(a_run().tables[0].rows[0], names)
    assert line.endswith(f"8.00{report.TIMES}      ≥ 3.5{report.TIMES} pass")
    assert head.index("RabbitMQ") + len("RabbitMQ") == line.index("20 000 /s") + len("20 000 /s")


def test_the_picture_is_well_formed_and_to_scale() -> None:
    """The longest bar of each group is full, the others are in proportion, texts are escaped."""
    group = plot.Group("a < b & c", [200.0, 50.0, None], ["200", "50", "failed"])
    drawn = ET.fromstring(plot.bars("title", "sub", ["x", "y", "z"], [group]))  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    widths = [
        float(bar.attrib["width"])
        for bar in drawn.iter(f"{space}rect")
        if bar.attrib["height"] == str(plot.LINE - 3)
    ]
    assert widths == [plot.BARS, plot.BARS / 4, 0.0]
    texts = [text.text for text in drawn.iter(f"{space}text")]
    assert "a < b & c" in texts
    assert "failed" in texts


def test_the_picture_of_a_run_has_a_group_for_each_comparison() -> None:
    """Every row with several brokers is drawn, with its ratio."""
    drawn = report.picture(a_run())
    assert f"q1: 8.00{report.TIMES}" in drawn
    assert f"lat: 0.80{report.TIMES}" in drawn


def test_the_machine_is_described() -> None:
    """Cores, kernel and Python stand in the report, on any Linux."""
    assert "Linux" in report.machine()
    assert "Python" in report.machine()
