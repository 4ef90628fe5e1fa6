"""Crontab lines, held against a search that tries one minute after another."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stompd.broker.cron import Cron, parse
from stompd.protocol.errors import RemoteProtocolError

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# More than the eight years that may lie between two days of 29 February.
SEARCHED_DAYS = 3000

Field = tuple[str, set[int]]


def epoch(text: str) -> float:
    """Return seconds since the epoch for an ISO date and time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def after(line: str, text: str) -> str | None:
    """Return the next moment of a line after an ISO date and time, written the same way."""
    found = parse(line).next_after(epoch(text))
    return None if found is None else f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M:%S}"


def naive(fields: tuple[Field, ...], start: datetime) -> datetime | None:
    """Return the first minute after ``start`` that all fields have, by trying them in turn."""
    minutes, hours, days, months, weekdays = (values for _, values in fields)
    either = fields[2][0] != "*" and fields[4][0] != "*"
    moment = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(SEARCHED_DAYS):
        of_month, of_week = moment.day in days, moment.isoweekday() % 7 in weekdays
        day = (of_month or of_week) if either else (of_month and of_week)
        if day and moment.month in months:
            today = moment.date()
            while moment.date() == today:
                if moment.hour in hours and moment.minute in minutes:
                    return moment
                moment += timedelta(minutes=1)
        else:
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
    return None


@st.composite
def _part(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...]) -> Field:
    """One element of a list: a number or name, a range, or either with a step."""

    def written(value: int) -> str:
        if len(names) > 0 and draw(st.booleans()):
            name = names[value - low]
            return draw(st.sampled_from((name, name.upper(), name.title())))
        return str(value)

    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 70))
    kind = draw(st.sampled_from(("one", "range", "stepped range", "from", "all by step")))
    if kind == "one":
        return written(first), {first}
    if kind == "range":
        return f"{written(first)}-{written(last)}", set(range(first, last + 1))
    if kind == "stepped range":
        return f"{written(first)}-{written(last)}/{step}", set(range(first, last + 1, step))
    if kind == "from":
        return f"{written(first)}/{step}", set(range(first, high + 1, step))
    return f"*/{step}", set(range(low, high + 1, step))


def _field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[Field]:
    def joined(parts: list[Field]) -> Field:
        return ",".join(text for text, _ in parts), set().union(*(values for _, values in parts))

    lists = st.lists(_part(low, high, names), min_size=1, max_size=3).map(joined)
    return st.just(("*", set(range(low, high + 1)))) | lists


_lines = st.tuples(
    _field(0, 59),
    _field(0, 23),
    _field(1, 31),
    _field(1, 12, tuple(MONTHS)),
    _field(0, 6, tuple(WEEKDAYS)),
)
_moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@given(_lines, _moments)
def test_the_next_moment_is_the_first_minute_that_fits(
    fields: tuple[Field, ...], start: datetime
) -> None:
    """What is found is what trying every minute finds, or nothing where that finds nothing."""
    found = parse(" ".join(text for text, _ in fields)).next_after(start.timestamp())
    expected = naive(fields, start)
    assert found == (None if expected is None else expected.timestamp())


@pytest.mark.parametrize(
    ("line", "start", "expected"),
    [
        ("* * * * *", "2026-11-25 23:59:30", "2026-11-26 00:00:00"),
        # Strictly later: not the moment itself.
        ("0 12 * * *", "2026-11-25 12:00:00", "2026-11-26 12:00:00"),
        ("0 12 * * *", "2026-11-25 11:59:59", "2026-11-25 12:00:00"),
        # The hour fits, but its minutes are over.
        ("15 12,14 * * *", "2026-11-25 12:30:00", "2026-11-25 14:15:00"),
        ("0 0 1 1 *", "2026-12-31 23:59:00", "2027-01-01 00:00:00"),
        ("0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"),
        # Both days are given: either is enough. One of them is *: the other one counts.
        ("0 0 13 * fri", "2026-11-25 00:00:00", "2026-11-27 00:00:00"),
        ("0 0 13 * ?", "2026-11-25 00:00:00", "2026-12-13 00:00:00"),
        ("0 0 ? * fri", "2026-11-25 00:00:00", "2026-11-27 00:00:00"),
        # Sunday is 0, 7 and sun, and may end a week.
        ("0 0 * * 7", "2026-11-25 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 * * 0", "2026-11-25 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 * * sat-sun", "2026-11-28 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 * * sun-sun", "2026-11-25 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 * * 5-7", "2026-11-28 00:00:00", "2026-11-29 00:00:00"),
        ("0 0 * * 7/2", "2026-11-25 00:00:00", "2026-11-29 00:00:00"),
        # Of 1 January 1969: before the epoch there were minutes, too.
        ("30 6 * * *", "1969-01-01 00:00:00", "1969-01-01 06:30:00"),
    ],
)
def test_next_after(line: str, start: str, expected: str) -> None:
    """Lines whose next moment everybody can check with a calendar."""
    assert after(line, start) == expected


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 30,31 feb ?"])
def test_a_day_that_no_month_has_never_comes(line: str) -> None:
    """The search ends where there is nothing to find."""
    assert after(line, "2026-11-25 00:00:00") is None


def test_the_calendar_ends() -> None:
    """After the last year, before the first one, and in no number there is no next moment."""
    last = (date.max.toordinal() - date(1970, 1, 1).toordinal() + 1) * 86400
    assert parse("59 23 * * *").next_after(last - 61) == last - 60
    assert parse("59 23 * * *").next_after(last - 60) is None
    assert parse("0 0 * * *").next_after(last - 3600) is None
    for moment in (-1e12, 1e300, float("inf"), float("nan")):
        assert parse("* * * * *").next_after(moment) is None


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("*" + " " * 300 + "* * * *", "five fields"),
        ("60 * * * *", '"60" in the minute: it takes 0 to 59'),
        ("* 24 * * *", '"24" in the hour: it takes 0 to 23'),
        ("* * 0 * *", '"0" in the day of the month: it takes 1 to 31'),
        ("* * * 13 *", '"13" in the month: it takes 1 to 12'),
        ("* * * * 8", '"8" in the day of the week: it takes 0 to 7'),
        ("5-1 * * * *", '"5-1" in the minute'),
        ("1- * * * *", '"1-" in the minute'),
        ("-1 * * * *", '"-1" in the minute'),
        ("1,,2 * * * *", '"" in the minute'),
        ("jan * * * *", '"jan" in the minute'),
        ("* * * foo *", '"foo" in the month'),
        ("* * * * fri-mon", '"fri-mon" in the day of the week'),
        ("1.5 * * * *", '"1.5" in the minute'),
        ("٣ * * * *", "in the minute"),
        ("00000000005 * * * *", "in the minute"),
        ("*/0 * * * *", '"*/0" in the minute: a step is a number from 1'),
        ("*/ * * * *", '"*/" in the minute: a step is a number from 1'),
        ("*/-5 * * * *", '"*/-5" in the minute: a step is a number from 1'),
        ("** * * * *", '"**" in the minute'),
    ],
)
def test_a_malformed_line_says_where(line: str, detail: str) -> None:
    """A line that is none is an error that names the field and what it takes."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse(line)
    assert caught.value.message == "malformed AMQ_SCHEDULED_CRON"
    assert detail in caught.value.detail


def test_lines_compare_by_their_text() -> None:
    """Two readings of one line are equal, and a line shows itself."""
    assert parse("0 0 * * *") == Cron("0 0 * * *")
    assert hash(parse("0 0 * * *")) == hash(Cron("0 0 * * *"))
    assert parse("0 0 * * *") != parse("0 1 * * *")
    assert parse("0 0 * * *") != "0 0 * * *"
    assert repr(parse("0 0 * * *")) == "Cron('0 0 * * *')"
