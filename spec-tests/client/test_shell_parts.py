"""The parts of the shell that are pure, or nearly: no terminal, no broker."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from stompcli import preferences, render, words
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.history import History, keepable, place
from stompcli.shell.destinations import Destinations, in_line
from stompcli.shell.display import Display
from stompcli.shell.screen import Screen
from stompcli.shell.suggest import Known, suggest
from stompcli.shell.toolbar import State, syntax_of, toolbar
from stompcli.sticky import Sticky
from stompcli.transcript import Transcript

# What Tab offers.

KNOWN = Known(
    destinations=("/queue/orders", "/queue/other", "/topic/news", "/queue/e\x1bvil", "/queue/a b"),
    subscriptions=("/topic/news", "1"),
    unacked=(7, 3),
    messages=(8, 7, 3),
    aliases={"q": "queues --non-empty", "so": "send /queue/orders"},
    settings={"rate": (), "toolbar": ("on", "off")},
    paths=lambda begun: [name for name in ("file.json", "folder/") if name.startswith(begun)],
)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("sendr", ["sendrec", "sendreply"]),
        ("  subsc", ["subscribe", "subscriptions"]),
        ("q", ["queues", "queue", "quit"]),
        ("send /queue/o", ["/queue/orders", "/queue/other"]),
        ("send ", ["/queue/orders", "/queue/other", "/topic/news"]),
        ("send NEWS", ["/topic/news"]),
        ("send /queue/orders", []),
        ("send /queue/orders ", []),
        ("send /queue/orders hello /queue/o", []),
        ("send /queue/orders -", ["-H"]),
        ("send /queue/orders -H pers", ["persistent:"]),
        ("send -H persistent:", ["true", "false"]),
        ("send -H persistent:f", ["false"]),
        ("send -H persistent:true /queue/or", ["/queue/orders"]),
        ("send --pers", ["--persistent"]),
        ("send --priority 4 /topic", ["/topic/news"]),
        ("send --body-file f", ["file.json", "folder/"]),
        ("send -f fi", ["file.json"]),
        ("send --reply-to /topic", ["/topic/news"]),
        ("send -- /topic", ["/topic/news"]),
        ("subscribe --ack client", ["client-individual"]),
        ("subscribe /queue/orders cl", ["client", "client-individual"]),
        ("subscribe /queue/orders /topic", ["/topic/news"]),
        ("unsubscribe ", ["/topic/news", "1"]),
        ("ack ", ["#7", "#3", "last", "all"]),
        ("show #", ["#8", "#7", "#3"]),
        ("show l", ["last"]),
        ("ack #7 x", []),
        ("set ", ["rate", "toolbar"]),
        ("set toolbar o", ["on", "off"]),
        ("wire h", ["hex"]),
        ("header a", ["add"]),
        ("run fol", ["folder/"]),
        ("help unsub", ["unsubscribe"]),
        ("so /topic", ["/topic/news"]),
        ("purge /queue/or", ["/queue/orders"]),
        ("move /queue/orders /queue/ot", ["/queue/other"]),
        ("begin ", []),
        ("nonsense ", []),
        ("completion b", []),
        ('send -H "a:b c" /topic', ["/topic/news"]),
        ('send "/topic', []),
    ],
)
def test_suggestions(text: str, offered: list[str]) -> None:
    """What may come next, in the order in which it is offered; nothing that a terminal obeys."""
    found = suggest(text, KNOWN)
    if text == "q":
        assert {one.text for one in found} >= set(offered)
        assert "q" not in {one.text for one in found}
    else:
        assert [one.text for one in found] == offered
    for one in found:
        assert one.length <= len(text)


def test_suggestions_say_what_they_mean() -> None:
    """Commands come with their summary, aliases with what they stand for."""
    (found,) = suggest("unsubscr", KNOWN)
    assert found.meaning == "End a subscription"
    assert [one.meaning for one in suggest("so", KNOWN) if one.text == "so"] == []
    assert suggest("s", KNOWN)[-1].meaning == "= send /queue/orders"


def test_known_destinations() -> None:
    """Used in this session first, the last one before all; then subscribed, then the history's."""
    known = Destinations(["send /queue/old x", "send /queue/older y", "send /queue/old z", "help"])
    known.use("send -H a:b /queue/a text with /queue/no")
    known.use("subscribe /topic/b client")
    known.use("send /queue/a again")
    assert known.known(["/queue/s"]) == (
        "/queue/a",
        "/topic/b",
        "/queue/s",
        "/queue/old",
        "/queue/older",
    )
    assert in_line("help send") is None


# The toolbar.

STATE = State(
    prompt="h:1> ",
    connected=True,
    server="stompd/1.0",
    version="1.2",
    subscriptions=1,
    unacked=2,
    last=3,
    received=3,
    sent=4,
    received_at=100.0,
    sent_at=98.2,
    beats_in=10.0,
    beats_out=2.0,
)


def shown(state: State, typed: str = "", width: int = 200, mode: str = "") -> str:
    """Return the line of the toolbar as text."""
    rule, _, line = "".join(
        text for _, text in toolbar(state, typed, 101.2, width, mode=mode)
    ).partition("\n")
    assert rule == "─" * width
    assert len(line) <= max(width, 20)
    return line


def test_toolbar() -> None:
    """Everything in its order, with the syntax of what is typed at the end."""
    assert shown(STATE, "send /queue") == (
        " stompd/1.0 1.2 │ 1 sub, 2 unacked │ last #3 rx 3 tx 4 │ hb ←1.2/10s →3.0/2s"
        " │ send DEST [BODY] [-H k:v]"
    )


def test_toolbar_says_what_is_unusual() -> None:
    """A transaction, a transcript, the wire, what was not shown, what the keys do."""
    state = replace(
        STATE, transaction="tx-1 2", transcript="a.log", wire="hex", hidden=1234, beats_in=0.0
    )
    assert shown(state, mode="several lines") == (
        " stompd/1.0 1.2 │ several lines │ tx-1 2 │ 1 sub, 2 unacked │ last #3 rx 3 tx 4"
        " │ hb →3.0/2s │ 1,234 not shown │ wire hex │ rec a.log"
    )


def test_toolbar_without_room() -> None:
    """What there is no room for goes, the heart-beats first; the broker stays."""
    assert shown(STATE, width=60) == " stompd/1.0 1.2 │ 1 sub, 2 unacked │ last #3 rx 3 tx 4"
    assert shown(STATE, width=30) == " stompd/1.0 1.2"
    assert shown(STATE, width=5) == " stompd/1.0 1.2"


def test_toolbar_without_a_connection() -> None:
    """There is nothing to say of a connection that is not there."""
    assert shown(State(connected=False)) == " disconnected"


def test_colours_of_late_heartbeats() -> None:
    """Yellow over three quarters of the interval, red over all of it."""

    def style(age: float) -> str:
        state = replace(STATE, received_at=101.2 - age, beats_out=0.0)
        (found,) = [one for one, text in toolbar(state, "", 101.2, 200) if "←" in text]
        return found

    assert style(7.4) == ""
    assert style(7.6) == "class:toolbar.late"
    assert style(10.1) == "class:toolbar.overdue"


@pytest.mark.parametrize(
    ("typed", "syntax"),
    [
        ("send ", "send DEST [BODY] [-H k:v]"),
        ("sub /queue/a", "subscribe DEST... [ACK] [-H k:v]"),
        ("send", ""),
        ("sendrec", "sendrec DEST [BODY] [-H k:v]"),
        ("show", "show #N[-#M]|last"),
        ("nonsense", ""),
        ("", ""),
        ("completion ", ""),
    ],
)
def test_syntax(typed: str, syntax: str) -> None:
    """The syntax stands there once it is clear which command it is."""
    assert syntax_of(typed).startswith(syntax)
    assert bool(syntax_of(typed)) is bool(syntax)


# How much is shown.


def test_display_shows_so_many_a_second() -> None:
    """The first ones of a second are shown, the others counted, and named when it is over."""
    display = Display(2)
    shown = [display.feed(10.0 + n / 100, n, b"m%d\n" % n) for n in range(1, 6)]
    assert shown == [b"m1\n", b"m2\n", b"", b"", b""]
    assert display.due == pytest.approx(11.01)
    assert display.tick(10.9) == b""
    assert display.tick(11.02).decode() == "… 3 more not shown (show #3-#5, or set rate 0)\n"
    assert display.due is None
    assert display.tick(20) == b""
    assert display.hidden == 3


def test_display_names_the_missed_before_the_next() -> None:
    """What comes later stands behind the line about those before it."""
    display = Display(1)
    assert display.feed(1, 1, b"a\n") == b"a\n"
    assert display.feed(1.5, 2, b"b\n") == b""
    assert display.feed(3, 3, b"c\n").decode() == (
        "… 1 more not shown (show #2, or set rate 0)\nc\n"
    )


def test_display_without_a_limit() -> None:
    """With rate 0 everything is shown, unless the terminal does not take it any more."""
    display = Display(0)
    assert all(display.feed(1.0, n, b"x") == b"x" for n in range(1000))
    assert display.feed(1.0, 1000, b"x", room=False) == b""
    assert display.hidden == 1


# The way to the terminal.


async def test_screen_keeps_the_order(tmp_path: Path) -> None:
    """What is put is written once, in its order; while a prompt stands there it waits."""
    with (tmp_path / "out").open("w+b", buffering=0) as file:
        screen = Screen(file.fileno())
        screen.put(b"1\n")
        await screen.drain()
        await screen.raise_prompt()
        screen.put(b"2\n")
        screen.put(b"3")
        await screen.drain()
        file.seek(0)
        assert file.read() == b"1\n"
        await screen.lower_prompt()
        await screen.raise_prompt()
        file.seek(0)
        # A prompt begins on a line of its own.
        assert file.read() == b"1\n2\n3\n"


# The history.


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("send /queue/a x", "send /queue/a x"),
        ("  send /queue/a secret", None),
        ("", None),
        ("send -H passcode:x /queue/a y", None),
        ("my PASSWORD is", None),
        ("-W secret", None),
        ("connect -W secret", None),
        ("send /queue/a -Wall", None),
        ("send /queue/a a-Wb", "send /queue/a a-Wb"),
        ("connect stomp://me:secret@host:1/v", "connect stomp://me:***@host:1/v"),
        ("connect stomp://me@host", "connect stomp://me@host"),
    ],
)
def test_history_without_secrets(line: str, kept: str | None) -> None:
    """Lines that begin with a blank or may hold a secret are not kept; one in a URL is masked."""
    assert keepable(line) == kept


def test_history_file(tmp_path: Path) -> None:
    """What was typed is there in the next session; nobody else can read it."""
    path = tmp_path / "deep" / "history"
    history = History(path)
    for line in ("one", "one", "two\nlines\n", " no", "thrée \udcff"):
        history.add(line)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert History(path).lines[:2] == ["one", "two\nlines\n"]
    assert len(History(path).lines) == 3


def test_history_is_cut(tmp_path: Path) -> None:
    """A history that has become too long loses its oldest half."""
    path = tmp_path / "history"
    path.write_text("".join(f"\n# then\n+line {number}\n" for number in range(20_001)))
    lines = History(path).lines
    assert (len(lines), lines[0], lines[-1]) == (10_000, "line 10001", "line 20000")
    assert History(path).lines == lines
    assert list(tmp_path.iterdir()) == [path]


def test_history_that_cannot_be_kept(tmp_path: Path) -> None:
    """A file that cannot be used is complained about once, and lines go on being known."""
    (tmp_path / "file").touch()
    history = History(tmp_path / "file" / "history")
    assert "the history is not kept" in history.complaint
    history.add("x")
    assert history.lines == ["x"]


def test_place_of_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """STOMP_HISTFILE, else the state directory."""
    monkeypatch.delenv("STOMP_HISTFILE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert place() == Path("/state/stomp/history")
    monkeypatch.setenv("STOMP_HISTFILE", "/else")
    assert place() == Path("/else")


# Settings.


def test_settings_from_a_file(tmp_path: Path) -> None:
    """Every setting, aliases and what to run on connecting can stand in the file."""
    path = tmp_path / "config.toml"
    path.write_text(
        'rate = 5\ntoolbar = false\nformat = "{body}"\non_connect = ["sub /queue/a"]\n'
        '[aliases]\nq = "quit"\n'
    )
    found = preferences.load(path)
    assert (found.rate, found.toolbar, found.format) == (5, False, "{body}")
    assert (found.on_connect, found.aliases) == (["sub /queue/a"], {"q": "quit"})
    assert preferences.load(tmp_path / "none") == preferences.Preferences()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rate = 'x'", "rate is a number, not x"),
        ("rate =", "Invalid value"),
        ("heart = 1", 'there is no setting "heart"'),
        ("keys = 'ed'", "keys is emacs or vi, not ed"),
        ("toolbar = 3", "toolbar is on or off, not 3"),
        ("format = '{no}'", "there is no field {no}"),
        ("on_connect = 'x'", "on_connect is a list of lines"),
        ("aliases = 1", "aliases is a table of lines"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    """What is wrong in the file is said, with the file's name."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(Failure) as caught:
        preferences.load(path)
    assert caught.value.code is ExitCode.BAD_CONFIG
    assert complaint in caught.value.message
    assert str(path) in caught.value.message


def test_settings_are_saved(tmp_path: Path) -> None:
    """Only what was changed is written, where it stood or before the first table."""
    path = tmp_path / "new" / "config.toml"
    wanted = preferences.Preferences()
    assert wanted.save(path) == []
    wanted.set("rate", "7")
    assert wanted.save(path) == ["rate"]
    assert path.read_text() == "rate = 7\n"
    path.write_text("# mine\nrate = 1 # few\nkeys = 'vi'\n\n[aliases]\nrate = 'set rate'\n")
    wanted.set("prompt", 'a"b> ')
    wanted.set("toolbar", "off")
    assert wanted.save(path) == ["prompt", "rate", "toolbar"]
    assert path.read_text() == (
        '# mine\nrate = 7\nkeys = \'vi\'\n\nprompt = "a\\"b> "\ntoolbar = false\n'
        "[aliases]\nrate = 'set rate'\n"
    )
    assert preferences.load(path).prompt == 'a"b> '


def test_every_setting_is_described_and_documented() -> None:
    """Each setting has a meaning, and can be shown and set to what it is."""
    wanted = preferences.Preferences()
    told: list[str] = []
    wanted.on_change = told.append
    for name in preferences.NAMES:
        assert preferences.meaning(name)
        before = getattr(wanted, name)
        wanted.set(name, wanted.shown(name))
        assert getattr(wanted, name) == before
    assert tuple(told) == preferences.NAMES
    assert set(preferences.values()) == set(preferences.NAMES)


# Sticky headers.


def test_sticky_headers() -> None:
    """Those of a destination go before those of all, and what is typed before both."""
    sticky = Sticky()
    sticky.add("a", "1", None)
    sticky.add("b", "2", None)
    sticky.add("a", "3", "/queue/x")
    assert sticky.with_typed((), "/queue/x") == (("a", "3"), ("b", "2"))
    assert sticky.with_typed((("b", None), ("c", "4")), "/queue/y") == (
        ("a", "1"),
        ("b", None),
        ("c", "4"),
    )
    assert sticky.rows("/queue/x") == [("/queue/x", "a", "3")]
    assert sticky.remove("a", "/queue/x")
    assert not sticky.remove("a", "/queue/x")
    sticky.clear("/queue/x")
    assert sticky.rows(None) == [("", "a", "1"), ("", "b", "2")]
    sticky.clear(None)
    assert sticky.rows(None) == []


# Transcripts.


def test_transcript(tmp_path: Path) -> None:
    """Octets and lines, without the password; nobody else can read it, nothing is lost."""
    path = tmp_path / "record"
    transcript = Transcript(str(path))
    transcript.octets(">", b"CONNECT\nlogin:me\npasscode:secret\n\n\0")
    transcript.octets("<", b"\n")
    transcript.command("send /queue/a x")
    transcript.command("connect stomp://a:secret@b")
    transcript.command("send -H passcode:secret /queue/a x")
    transcript.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sorted(row) for row in rows[:2]] == [["bytes_b64", "dir", "t"]] * 2
    assert [row.get("command") for row in rows[2:]] == [
        "send /queue/a x",
        "connect stomp://a:***@b",
    ]
    assert "secret" not in path.read_text()
    assert "c2VjcmV0" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(Failure, match="exists, and is not written over"):
        Transcript(str(path))
    Transcript(str(path), append=True).close()
    with pytest.raises(Failure, match="No such file or directory"):
        Transcript(str(tmp_path / "no" / "where"))


def test_transcript_for_people(tmp_path: Path) -> None:
    """A log has readable lines and no escape octets."""
    path = tmp_path / "record"
    transcript = Transcript(str(path), text=True)
    transcript.octets("<", b"MESSAGE\n\n\x1b[31m\0")
    transcript.command("send /queue/a \x1b")
    transcript.close()
    first, second = path.read_text().splitlines()
    assert first[13:] == r"<<< 15 B  MESSAGE\n \n \x1b[31m\0"
    assert second[13:] == r"$ send /queue/a \x1b"


def test_transcript_on_a_full_disk() -> None:
    """A disk that takes no more ends the transcript, and is complained about."""
    transcript = Transcript("/dev/full", append=True)
    transcript.command("x")
    assert transcript.complaint.startswith("/dev/full: No space left on device")
    transcript.command("y")
    transcript.close()


# Lines.


@pytest.mark.parametrize(
    ("rest", "words_", "program"),
    [
        ("| cat", "", "cat"),
        ("#1 | xxd | head -1", "#1", "xxd | head -1"),
        ("a|b", "a|b", ""),
        ("'a | b' c", "'a | b' c", ""),
        ("", "", ""),
    ],
)
def test_pipes(rest: str, words_: str, program: str) -> None:
    """A bar behind a blank and outside of quotes begins a program."""
    assert words.piped(rest) == (words_, program)


# Octets.


def test_wire_as_a_dump() -> None:
    """Rows of sixteen follow the count; the passcode is hidden there, too."""
    assert render.wire("<", b"ab\0\n", dump=True) == (
        "<<< 4 B\n00000000  61 62 00 0a                                      ab.."
    )
    assert "secret" not in render.wire(">", b"CONNECT\npasscode:secret\n\n\0", dump=True)


def test_whole_bodies() -> None:
    """All of a long body is shown, made harmless; all of a binary one as a dump."""
    assert render.whole_body(b"x" * 5000 + b"\x1b").endswith(r"x\x1b")
    assert render.whole_body(bytes(512)).count("\n") == 31


async def test_nothing_waits_for_nobody() -> None:
    """Draining a screen with nothing to write takes no time."""
    with trio.fail_after(5):
        await Screen().drain()
