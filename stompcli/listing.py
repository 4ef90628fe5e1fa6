"""Listings: rows that the broker has told, filtered, sorted, and written for people or programs.

Pure: rows in, text out. A row is a mapping from names of fields to JSON values.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from stompcli.console import grid
from stompcli.failure import usage
from stompcli.render import visible_line

Row = Mapping[str, Any]

# Seconds, shown as 14s or 2d 03h.
_AGES: Final = frozenset(("age", "oldest", "silent", "uptime"))
# Milliseconds since the epoch.
_TIMES: Final = frozenset(("due", "time"))
_TITLES: Final = {
    "connection": "CONN",
    "in_rate": "IN/s",
    "out_rate": "OUT/s",
    "durable_subscriptions": "DURABLE",
    "subscribers": "SUBS",
    "subscriptions": "SUBS",
    "version": "VER",
}
# The cells of the longest bar.
_BAR: Final = 20
_WILD: Final = re.compile(r"([*?])")
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True)
class Listing:
    """What a listing of one kind of thing looks like."""

    # The verb that tells the rows, and what they are called: one, several.
    verb: str
    one: str
    several: str
    # The columns to show, and by which one they are sorted, unless somebody wants others.
    columns: tuple[str, ...] = ()
    # Further fields that rows are known to have.
    more: tuple[str, ...] = ()
    # The fields that tell how many messages wait and how many receive.
    messages: tuple[str, ...] = ()
    consumers: str = ""
    # The number that bars show.
    measure: str = "ready"


QUEUES: Final = Listing(
    "queues",
    "queue",
    "queues",
    ("name", "ready", "inflight", "consumers", "in_rate", "out_rate", "oldest"),
    (
        *("vhost", "delayed", "browsers", "bytes", "received", "settled", "expired"),
        *("dead_lettered", "redelivered", "paused", "blocked_producers", "dead_letter_queue"),
        *("memory_messages", "memory_bytes", "disk_messages", "disk_bytes"),
    ),
    ("ready", "inflight", "delayed"),
    "consumers",
)
TOPICS: Final = Listing(
    "topics",
    "topic",
    "topics",
    ("name", "subscribers", "durable_subscriptions", "received", "in_rate"),
    ("vhost", "retained", "delayed"),
    consumers="subscribers",
    measure="received",
)
SUBSCRIPTIONS: Final = Listing(
    "subscriptions",
    "subscription",
    "subscriptions",
    ("connection", "id", "destination", "ack", "unsettled", "delivered", "dropped", "selector"),
    ("held", "exclusive", "priority", "durable", "prefetch_count", "prefetch_bytes"),
    measure="unsettled",
)
CONNECTIONS: Final = Listing(
    "connections",
    "connection",
    "connections",
    (
        *("id", "peer", "user", "version", "subscriptions", "unsettled"),
        *("sent", "delivered", "age"),
    ),
    (
        *("client_id", "vhost", "state", "transactions", "outbox", "paused", "paused_by"),
        "paused_because",
        *("silent", "unhonoured"),
    ),
    measure="unsettled",
)
DURABLES: Final = Listing(
    "durables",
    "durable subscription",
    "durable subscriptions",
    ("name", "client_id", "topic", "ready", "inflight", "consumers"),
    ("vhost", "selector", "delayed", "bytes", "in_rate", "out_rate", "oldest"),
    ("ready", "inflight", "delayed"),
    "consumers",
)
ROUTES: Final = Listing("routes", "route", "routes")
DEAD_LETTERS: Final = Listing(
    "dlq",
    "dead-letter queue",
    "dead-letter queues",
    ("name", "of", "ready", "oldest", "reasons"),
    ("vhost",),
    ("ready",),
)


@dataclass(frozen=True)
class Wanted:
    """Which rows and columns somebody wants to see, and in which order."""

    sort: str | None = None
    reverse: bool = False
    top: int | None = None
    columns: tuple[str, ...] | None = None
    non_empty: bool = False
    no_consumers: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "Wanted":
        """Return what the options of a listing say."""
        return cls(
            sort=None if params["sort"] is None else params["sort"].lower().replace("-", "_"),
            reverse=params["reverse"],
            top=params["top"],
            columns=params["columns"],
            non_empty=params.get("non_empty", False),
            no_consumers=params.get("no_consumers", False),
        )

    def check(self, listing: Listing, rows: Iterable[Row]) -> None:
        """Raise `Failure` for a column that no row has."""
        known = dict.fromkeys((*listing.columns, *listing.more))
        for row in rows:
            known.update(dict.fromkeys(row))
        for name in (*(self.columns or ()), *((self.sort,) if self.sort else ())):
            if known and name not in known:
                raise usage(
                    f'{listing.several} have no column "{visible_line(name)}"',
                    "there are: " + ", ".join(known),
                )

    def choose(self, listing: Listing, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that are wanted, sorted."""
        chosen = [
            row
            for row in rows
            if not (self.non_empty and not any(row.get(field) for field in listing.messages))
            and not (self.no_consumers and row.get(listing.consumers))
        ]
        key = self.sort or (listing.columns[0] if listing.columns else None)
        if key is not None:
            chosen = _sorted(chosen, key, reverse=self.reverse)
        elif self.reverse:
            chosen.reverse()
        return chosen[: self.top]

    def fields(self, listing: Listing, rows: Sequence[Row]) -> list[str]:
        """Return the fields to show: of several virtual hosts, or of unknown rows, more."""
        if self.columns is not None:
            return list(self.columns)
        if not listing.columns:
            return list(dict.fromkeys(name for row in rows for name in row))
        hosts = {row.get("vhost") for row in rows}
        return [*(("vhost",) if len(hosts) > 1 else ()), *listing.columns]


def matcher(glob: str) -> Callable[[str], bool]:
    """Return what says whether a text matches a GLOB: ``*`` any characters, ``?`` one."""
    parts = [{"*": ".*", "?": "."}.get(part, re.escape(part)) for part in _WILD.split(glob)]
    match = re.compile("".join(parts), re.DOTALL).fullmatch
    return lambda text: match(text) is not None


def names(glob: str | None, kind: str = "") -> tuple[str | None, Callable[[str], bool]]:
    """Return the pattern to ask the broker for, and what says whether a name is meant.

    ``kind`` is what a GLOB without a slash at its head begins with, such as ``/queue/``. The
    broker's pattern may let more through; it is None where the broker cannot help. A GLOB with
    ``#`` is one of the broker's patterns.
    """
    if glob is None:
        return None, lambda _: True
    if kind and not glob.startswith(("/", "*", "#")):
        glob = kind + glob
    if "#" in glob:
        return glob, lambda _: True
    wild = _WILD.search(glob)
    if wild is None:
        return glob, matcher(glob)
    # Whole words only: the broker knows no other wildcards.
    head = re.match(r".*[./]", glob[: wild.start()], re.DOTALL)
    return (f"{head[0]}#" if head and head[0] != "/" else None), matcher(glob)


def names_of_any(glob: str | None) -> tuple[str | None, Callable[[str], bool]]:
    """Return what `names` does, of a GLOB that without a slash at its head is of every kind."""
    of_queue, of_topic = names(glob, "/queue/"), names(glob, "/topic/")
    if of_queue[0] == of_topic[0]:
        return of_queue
    assert glob is not None  # noqa: S101 - for the type checker; None is of one kind
    return (glob if "#" in glob else None), lambda name: of_queue[1](name) or of_topic[1](name)


def _sorted(rows: list[Row], field: str, *, reverse: bool) -> list[Row]:
    """Return rows sorted: numbers from the largest, text from a to z, what is missing last."""
    there = [row for row in rows if row.get(field) is not None]
    numbers = [row for row in there if isinstance(row[field], int | float)]
    others = [row for row in there if not isinstance(row[field], int | float)]
    numbers.sort(key=lambda row: row[field], reverse=not reverse)
    others.sort(key=lambda row: _plain(row[field]), reverse=reverse)
    return [*numbers, *others, *(row for row in rows if row.get(field) is None)]


# Rows as text.


def as_table(fields: Sequence[str], rows: Sequence[Row], *, header: bool, tty: bool) -> str:
    """Return rows for people: columns below each other, numbers to the right."""
    titles = [_TITLES.get(name, name.upper().replace("_", "-")) for name in fields]
    cells = [[shown(name, row.get(name)) for name in fields] for row in rows]
    right = [name in _AGES or _are_numbers(row.get(name) for row in rows) for name in fields]
    return grid(titles if header else None, cells, right, tty=tty)


def as_bars(kind: Listing, field: str | None, rows: Sequence[Row]) -> str:
    """Return rows as bars of a field, None for the usual one, the largest as long as any.

    Raises `Failure` for a field that is no number.
    """
    measure = field or kind.measure
    if not rows:
        return ""
    if not _are_numbers(row.get(measure) for row in rows):
        raise usage(f'--bars needs numbers, and "{visible_line(measure)}" is none')
    called = kind.columns[0] if kind.columns else next(iter(rows[0]))
    names = [visible_line(_plain(row.get(called))) for row in rows]
    most = max(row.get(measure) or 0 for row in rows) or 1
    width = max(map(len, names))
    lines = []
    for name, row in zip(names, rows, strict=True):
        value = row.get(measure) or 0
        told = [f"{value:g}" if isinstance(value, float) else str(value)]
        if kind.messages and measure == "ready":
            consumers = row.get(kind.consumers, 0) if kind.consumers else None
            told += [f"{row['inflight']} in flight"] if "inflight" in row else []
            told += [_consumers(consumers)] if consumers is not None else []
        else:
            told[0] += f" {measure.replace('_', ' ')}"
        lines.append(f"{name:<{width}}  |{bar(value / most, _BAR)} {', '.join(told)}\n")
    return "".join(lines)


def bar(part: float, width: int) -> str:
    """Return a bar for a part from 0 to 1 of so many cells; what is not 0 is seen."""
    eighths = max(int(part * width * 8), 1 if part > 0 else 0)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")


def _consumers(count: int) -> str:
    if not count:
        return "no consumer"
    return "1 consumer" if count == 1 else f"{count} consumers"


def as_plain(fields: Sequence[str], rows: Iterable[Row], *, header: bool) -> str:
    """Return rows for programs: tabs between the fields, values as in JSON, nothing rounded."""
    lines = ["\t".join(fields)] if header else []
    lines += ["\t".join(visible_line(_plain(row.get(name))) for name in fields) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def as_pairs(row: Row, *, plain: bool, header: bool, tty: bool) -> str:
    """Return one row, a field on each line."""
    if plain:
        lines = ["field\tvalue"] if header else []
        lines += [f"{visible_line(name)}\t{visible_line(_plain(row[name]))}" for name in row]
        return "".join(f"{line}\n" for line in lines)
    cells = [[name.replace("_", " "), shown(name, value)] for name, value in row.items()]
    return grid(None, cells, (False, False), tty=tty)


def as_json(row: Row, fields: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a row as it is written in JSON: with these fields only, and times in RFC 3339."""
    names = row if fields is None else [name for name in fields if name in row]
    return {name: _in_json(name, row[name]) for name in names}


def _in_json(name: str, value: object) -> object:
    return moment(value) if name in _TIMES and isinstance(value, int | float) else value


def footer(listing: Listing, rows: Sequence[Row], total: int) -> str:
    """Return the line below a table: how many of how many."""
    count = f"{len(rows):,}" if len(rows) == total else f"{len(rows):,} of {total:,}"
    text = f"{count} {listing.one if total == 1 else listing.several}"
    if listing.messages:
        ready = sum(row.get("ready") or 0 for row in rows)
        text += f", {messages(ready)}"
    return text


def messages(count: int) -> str:
    """Return a number of messages in words."""
    return f"{count:,} message" if count == 1 else f"{count:,} messages"


def shown(name: str, value: object) -> str:
    """Return the value of a field for people."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name in _AGES:
            return age(value)
        if name in _TIMES:
            return moment(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return _plain(value)


def age(seconds: float) -> str:
    """Return a time span for people, in its two largest units."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02}h"


def moment(milliseconds: float) -> str:
    """Return a time in RFC 3339, from milliseconds since the epoch."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # Further away than calendars go.
        return f"{milliseconds:g} ms"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _are_numbers(values: Iterable[object]) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in there
    )


def _plain(value: object) -> str:
    """Return a value as one word or list of words, exact."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return str(value)
