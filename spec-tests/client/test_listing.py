"""Listings: which rows, in which order, and as what text."""

import json
import os

import pytest
from client.test_render import HOSTILE, harmless
from hypothesis import given
from hypothesis import strategies as st

from stompcli import listing
from stompcli.console import console, grid
from stompcli.failure import Failure
from stompcli.listing import Listing, Wanted

ROWS: list[dict[str, object]] = [
    {"name": "/queue/a", "ready": 5, "inflight": 0, "delayed": 0, "consumers": 0, "oldest": 14.6},
    {"name": "/queue/b", "ready": 1204, "inflight": 1, "delayed": 0, "consumers": 2, "oldest": 3},
    {"name": "/queue/c", "ready": 0, "inflight": 0, "delayed": 0, "consumers": 1, "oldest": None},
    {"name": "/queue/d", "ready": 0, "inflight": 0, "delayed": 7, "consumers": 0, "oldest": None},
]


def chosen(wanted: Wanted, rows: list[dict[str, object]] = ROWS) -> str:
    """Return the last letters of the names of the rows that are wanted."""
    return "".join(str(row["name"])[-1] for row in wanted.choose(listing.QUEUES, rows))


# Which rows.


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), "abcd"),
        (Wanted(reverse=True), "dcba"),
        (Wanted(sort="ready"), "bacd"),
        (Wanted(sort="ready", top=1), "b"),
        (Wanted(sort="ready", reverse=True), "cdab"),
        (Wanted(sort="oldest"), "abcd"),
        (Wanted(sort="oldest", reverse=True), "bacd"),
        (Wanted(non_empty=True), "abd"),
        (Wanted(no_consumers=True), "ad"),
        (Wanted(no_consumers=True, non_empty=True, top=1), "a"),
    ],
)
def test_rows_that_are_wanted(wanted: Wanted, names: str) -> None:
    """Filters, then numbers from the largest and text from a to z, what is missing last."""
    assert chosen(wanted) == names


def test_rows_of_an_unknown_kind_keep_their_order() -> None:
    """Where nothing is known of the columns, the broker's order counts."""
    kind = Listing("things", "thing", "things")
    rows = [{"x": 2}, {"x": 1}]
    assert Wanted().choose(kind, rows) == rows
    assert Wanted(reverse=True).choose(kind, rows) == rows[::-1]
    assert Wanted().fields(kind, [{"x": 1}, {"y": 2, "x": 3}]) == ["x", "y"]


def test_columns() -> None:
    """The usual columns, those that are asked for, and the virtual host where there are several."""
    kind = listing.QUEUES
    assert Wanted().fields(kind, ROWS) == list(kind.columns)
    assert Wanted(columns=("oldest", "name")).fields(kind, ROWS) == ["oldest", "name"]
    rows = [{"vhost": "a", "name": "/queue/a"}, {"vhost": "b", "name": "/queue/a"}]
    assert Wanted().fields(kind, rows)[:2] == ["vhost", "name"]


@pytest.mark.parametrize("wanted", [Wanted(columns=("name", "redy")), Wanted(sort="redy")])
def test_a_column_that_there_is_not(wanted: Wanted) -> None:
    """It is refused with those that there are; one that only the broker knows is taken."""
    with pytest.raises(Failure, match='queues have no column "redy"') as caught:
        wanted.check(listing.QUEUES, ROWS)
    assert "name, ready, inflight" in caught.value.hint
    wanted.check(listing.QUEUES, [{"redy": 1}])


# Globs.


@pytest.mark.parametrize(
    ("glob", "asked", "yes", "no"),
    [
        ("/queue/a", "/queue/a", "/queue/a", "/queue/ab"),
        ("a", "/queue/a", "/queue/a", "/topic/a"),
        ("/queue/or*", "/queue/#", "/queue/orders.x", "/queue/o"),
        ("or*", "/queue/#", "/queue/orders", "/topic/orders"),
        ("/queue/DLQ.*", "/queue/DLQ.#", "/queue/DLQ.a.b", "/queue/DLQ"),
        ("/queue/a?c", "/queue/#", "/queue/abc", "/queue/ac"),
        ("/queue/[a]*", "/queue/#", "/queue/[a]b", "/queue/ab"),
        ("*DLQ*", None, "/topic/xDLQ", "/queue/DL"),
        ("/q*", None, "/queue/x", "/topic/x"),
    ],
)
def test_globs(glob: str, asked: str | None, yes: str, no: str) -> None:
    """A GLOB is matched here; the broker is asked for no less, and for little more."""
    pattern, wanted = listing.names(glob, "/queue/")
    assert pattern == asked
    assert wanted(yes)
    assert not wanted(no)


def test_patterns_of_the_broker() -> None:
    """A GLOB with # is left to the broker, and without a GLOB everything is meant."""
    pattern, wanted = listing.names("/topic/log.#", "/topic/")
    assert pattern == "/topic/log.#"
    assert wanted("whatever the broker says")
    assert listing.names("#", "/topic/")[0] == "#"
    assert listing.names(None)[0] is None
    assert listing.names(None)[1]("x")


# Rows as text.


def test_a_table() -> None:
    """Numbers to the right with their thousands, ages in words, nothing cut off a terminal."""
    fields = ["name", "ready", "oldest"]
    assert listing.as_table(fields, ROWS[:3], header=True, tty=False) == (
        "NAME      READY  OLDEST\n"
        "/queue/a      5     14s\n"
        "/queue/b  1,204      3s\n"
        "/queue/c      0       -\n"
    )
    long = [{"name": "/queue/" + "x" * 500, "ready": 1, "oldest": 2 * 86400 + 3 * 3600}]
    assert listing.as_table(fields, long, header=False, tty=False) == (
        f"/queue/{'x' * 500}  1  2d 03h\n"
    )


@pytest.mark.parametrize("width", [80, 12])
def test_cells_of_two_columns_each(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal shows twice as wide counts twice, folded or not."""
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((width, 24)))
    text = grid(["NAME", "N"], [["待ち行列", "1"], ["a", "22"]], [False, True], tty=True)
    assert text == "NAME       N\n待ち行列   1\na         22\n"
    text = grid(None, [["待ち行列", "1"]], [False, True], tty=True)
    assert text == "待ち行列  1\n"
    if width == 12:
        text = grid(None, [["待ち行列待ち行列", "1"]], [False, True], tty=True)
        assert text == "待ち行列待ち  1\n行列\n"


def test_a_narrow_terminal_folds_names() -> None:
    """What does not fit is folded, so that it can still be read; numbers stay whole."""
    text = grid(["NAME", "READY"], [["x" * 100, "1,204"]], [False, True], tty=True)
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "".join(line.split()[0] for line in lines[1:]) == "x" * 100
    assert lines[1].endswith("  1,204")


def test_a_terminal_that_is_far_too_narrow() -> None:
    """Numbers and a dozen cells of each text stay readable: the terminal breaks the line."""
    numbers = ["1" * 40, "2" * 40, "3" * 40]
    cells = ["x" * 20, "y" * 5, *numbers]
    text = grid(None, [cells], [False, False, True, True, True], tty=True)
    assert text == f"{'x' * 12}  {'y' * 5}  {'  '.join(numbers)}\n{'x' * 8}\n"


def test_plain() -> None:
    """Tabs between exact values: no thousands, no rounding, nothing for what is missing."""
    rows = [{**ROWS[1], "paused": True, "reasons": {"rejected": 2}, "paused_by": ["a", "b"]}]
    fields = ["name", "ready", "oldest", "paused", "reasons", "paused_by", "none"]
    assert listing.as_plain(fields, rows, header=True) == (
        "name\tready\toldest\tpaused\treasons\tpaused_by\tnone\n"
        "/queue/b\t1204\t3\ttrue\trejected 2\ta, b\t\n"
    )
    assert listing.as_plain(fields, [], header=False) == ""


def test_one_record() -> None:
    """A field on each line, for people and for programs."""
    record = {"server": "stompd/1", "memory_mark": None, "bytes": 12345, "draining": False}
    assert listing.as_pairs(record, plain=False, header=True, tty=False) == (
        "server       stompd/1\nmemory mark  -\nbytes        12,345\ndraining     no\n"
    )
    assert listing.as_pairs(record, plain=True, header=True, tty=False) == (
        "field\tvalue\nserver\tstompd/1\nmemory_mark\t\nbytes\t12345\ndraining\tfalse\n"
    )


def test_json() -> None:
    """Values as they came, times in RFC 3339, and only the fields that are wanted."""
    row = {"name": "/queue/a", "due": 1_700_000_000_123, "oldest": 1.5, "extra": None}
    assert listing.as_json(row) == {**row, "due": "2023-11-14T22:13:20.123Z"}
    assert listing.as_json(row, ("oldest", "gone")) == {"oldest": 1.5}


@pytest.mark.parametrize(
    ("kind", "shown", "total", "text"),
    [
        (listing.QUEUES, ROWS[:2], 9, "2 of 9 queues, 1,209 messages"),
        (listing.QUEUES, ROWS[:1], 1, "1 queue, 5 messages"),
        (listing.TOPICS, [], 0, "0 topics"),
        (listing.DEAD_LETTERS, [{"ready": 1}], 2, "1 of 2 dead-letter queues, 1 message"),
    ],
)
def test_footers(kind: Listing, shown: list[dict[str, object]], total: int, text: str) -> None:
    """How many of how many, and the messages that wait in them."""
    assert listing.footer(kind, shown, total) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (86399, "23h 59m"),
        (2 * 86400 + 3 * 3600, "2d 03h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    """The two largest units of a time span."""
    assert listing.age(seconds) == text


@pytest.mark.parametrize("far", [1e18, -1e18, 1e300])
def test_times_beyond_the_calendar(far: float) -> None:
    """A time that no calendar knows is shown as the number that it is."""
    assert listing.moment(far) == f"{far:g} ms"


# Strangers' names.


@pytest.mark.parametrize("tty", [True, False])
def test_names_are_never_markup(tty: bool) -> None:  # noqa: FBT001 - by pytest
    """What rich could take for a colour, a link or a face is shown as it is."""
    name = "[red]a[/red] :smile: [link=https://x]b[/link] http://c 1.5 'd'"
    assert grid(None, [[name]], [False], tty=tty) == f"{name}\n"
    folded = grid(None, [[name, "x" * 60]], [False, True], tty=True)
    shown = "".join(line[:18] for line in folded.splitlines())
    assert shown.replace(" ", "") == name.replace(" ", "")
    assert console().color_system is None


@given(st.lists(st.text(st.characters(), max_size=30), min_size=1, max_size=3))
def test_any_name_is_harmless(names: list[str]) -> None:
    """Whatever a name is made of, it stays in its line, and no form has a control character."""
    rows = [{"name": name, HOSTILE: name} for name in names]
    plain = listing.as_plain(["name"], rows, header=True)
    assert len(plain.splitlines()) == len(plain.split("\n")) - 1 == len(names) + 1
    assert harmless(plain)
    for tty in (True, False):
        assert harmless(listing.as_table(["name", HOSTILE], rows, header=True, tty=tty))
        assert harmless(listing.as_pairs(rows[0], plain=tty, header=True, tty=tty))
    table = listing.as_table(["name"], rows, header=True, tty=False)
    assert len(table.split("\n")) == len(names) + 2
    assert json.loads(json.dumps(listing.as_json(rows[0]))) == rows[0]
