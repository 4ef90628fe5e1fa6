"""Crontab lines: when a message that repeats by the calendar comes next.

Five fields, as in ``AMQ_SCHEDULED_CRON``: minute, hour, day of the month, month, day of the week.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import MAXYEAR, date
from math import isfinite
from typing import Final

from stompd.protocol.errors import RemoteProtocolError, shown

# Octets of a line; no sensible one has as many, and longer ones would only cost.
_LIMIT: Final = 256

_ALL: Final = ("*", "?")
_DIGITS: Final = 2

# What it is called, its first value, the last one of `*`, the last one at all, and names that may
# stand for the values. Sunday is 0 and 7.
_FIELDS: Final[tuple[tuple[str, int, int, int, Sequence[str]], ...]] = (
    ("minute", 0, 59, 59, ()),
    ("hour", 0, 23, 23, ()),
    ("day of the month", 1, 31, 31, ()),
    (
        "month",
        1,
        12,
        12,
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    ("day of the week", 0, 6, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_SUNDAY: Final = 7

# 29 February is at most eight years away (1896 to 1904, 2096 to 2104); nothing else is rarer.
_SEARCHED_MONTHS: Final = 8 * 12 + 2

_DECEMBER: Final = 12
_DAY_MINUTES: Final = 24 * 60
_EPOCH: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH
_LAST_DAY: Final = date.max.toordinal() - _EPOCH


class Cron:
    """A crontab line, in UTC; equal to another one with the same text.

    Each field is ``*`` (or ``?``), or a list of numbers, names (``jan``, ``mon``; 7 is Sunday) and
    ranges. ``/STEP`` after ``*`` or a range takes every STEP-th value from its first; ``N/STEP``
    goes to the field's end. If both days, of the month and of the week, are anything else than
    ``*``, either of them is enough, as in Vixie's cron and by ActiveMQ's description.
    """

    __slots__ = (
        "_any_day",
        "_days",
        "_first",
        "_hours",
        "_minutes",
        "_months",
        "_weekdays",
        "text",
    )

    def __init__(self, text: str) -> None:
        """Read a line; raise `RemoteProtocolError` if it is not one."""
        self.text = text
        fields = text.split() if len(text) <= _LIMIT else []
        if len(fields) != len(_FIELDS):
            raise _malformed(
                f'"{shown(text)}"; it has five fields: minute, hour, day of the month, month, '
                "day of the week"
            )
        # Sets of values, as bits: small, and the next value is found without a loop.
        self._minutes, self._hours, self._days, self._months, weekdays = (
            _values(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True)
        )
        # 7 is 0.
        self._weekdays = (weekdays | weekdays >> _SUNDAY) & 0x7F
        self._first = _next(self._hours, 0) * 60 + _next(self._minutes, 0)
        self._any_day = fields[2] not in _ALL and fields[4] not in _ALL

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cron) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Cron({self.text!r})"

    def next_after(self, epoch_seconds: float) -> float | None:
        """Return the first moment strictly after another; both in seconds since the epoch.

        None if there is none (30 February), or none in the years that dates can have.
        """
        if not isfinite(epoch_seconds):
            return None
        day, minute = divmod(int(epoch_seconds // 60) + 1, _DAY_MINUTES)
        if not _FIRST_DAY <= day <= _LAST_DAY:
            return None
        today = self._minute_from(minute)
        if today is not None and self._has(date.fromordinal(_EPOCH + day)):
            return (day * _DAY_MINUTES + today) * 60.0
        found = self._day_after(date.fromordinal(_EPOCH + day))
        if found is None:
            return None
        return ((found - _EPOCH) * _DAY_MINUTES + self._first) * 60.0

    def _minute_from(self, minute: int) -> int | None:
        """Return the first minute of a day that is not before another; None if there is none."""
        hour, minute = divmod(minute, 60)
        if self._hours >> hour & 1:
            found = _next(self._minutes, minute)
            if found >= 0:
                return hour * 60 + found
        hour = _next(self._hours, hour + 1)
        return None if hour < 0 else hour * 60 + _next(self._minutes, 0)

    def _has(self, day: date) -> bool:
        if not self._months >> day.month & 1:
            return False
        of_month = self._days >> day.day & 1
        of_week = self._weekdays >> day.isoweekday() % 7 & 1
        return bool(of_month | of_week if self._any_day else of_month & of_week)

    def _day_after(self, day: date) -> int | None:
        """Return the ordinal of the first day that comes after another; None if there is none."""
        year, month, first = day.year, day.month, day.day + 1
        for _ in range(_SEARCHED_MONTHS):
            if self._months >> month & 1:
                for number in range(first, monthrange(year, month)[1] + 1):
                    found = date(year, month, number)
                    if self._has(found):
                        return found.toordinal()
            first = 1
            month += 1
            if month > _DECEMBER:
                month = 1
                year += 1
                if year > MAXYEAR:
                    break
        return None


def _next(values: int, value: int) -> int:
    """Return the smallest member of a set that is not below a value; -1 if there is none."""
    rest = values >> value
    return value + (rest & -rest).bit_length() - 1 if rest else -1


def _values(
    field: str, called: str, first: int, last: int, highest: int, names: Sequence[str]
) -> int:
    """Return the values that a field means, as a set of bits."""
    values = 0
    for part in field.lower().split(","):
        span, slash, stride = part.partition("/")
        step = 1
        if slash:
            step = _number(stride, 0, ())
            if step < 1:
                raise _malformed(f'"{shown(part)}" in the {called}: a step is a number from 1')
        if span in _ALL:
            low, high = first, last
        else:
            start, dash, end = span.partition("-")
            low = _number(start, first, names)
            if dash:
                high = _number(end, first, names)
                if end == "sun" and low > 0:
                    high = _SUNDAY
            else:
                high = max(low, last) if slash else low
        if not first <= low <= high <= highest:
            raise _malformed(
                f'"{shown(part)}" in the {called}: it takes {first} to {highest}, ranges from the '
                "lower to the higher, and steps"
            )
        for value in range(low, high + 1, step):
            values |= 1 << value
    return values


def _number(text: str, first: int, names: Sequence[str]) -> int:
    """Return a number, or what a name stands for; -1 if it is neither."""
    if text in names:
        return first + names.index(text)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else -1


def _malformed(detail: str) -> RemoteProtocolError:
    return RemoteProtocolError("malformed AMQ_SCHEDULED_CRON", detail)


def parse(text: str) -> Cron:
    """Return what a crontab line means; raise `RemoteProtocolError` if it is not one."""
    return Cron(text)
