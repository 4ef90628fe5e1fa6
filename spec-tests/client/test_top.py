"""top: in batches, on a screen, by keys."""

import json
import os

import pexpect
import pytest
from client.admin_broker import AdminBroker
from client.programs import Stomp
from client.terminal import Terminal

from stompcli.commands.top import Sight, View, head, screen
from stompcli.exitcodes import ExitCode

TOTALS = {
    "server": "stompd/1\x1b[31m",
    "uptime": 3700,
    "connections": 3,
    "subscriptions": 2,
    "messages": 1221,
    "unsettled": 16,
    "in_rate": 83.0,
    "out_rate": 81.5,
    "received": 5000,
    "settled": 3779,
}
QUEUES = [
    {"name": "/queue/a", "ready": 17, "inflight": 16, "consumers": 1, "oldest": 14},
    {"name": "/queue/b\x1b[2J", "ready": 1204, "inflight": 0, "consumers": 2, "oldest": 3},
]


@pytest.fixture
def stomp_top(admin: AdminBroker, stomp_admin: Stomp) -> Stomp:
    """The program against a broker with these totals and queues."""
    admin.answers.update({"stats": TOTALS, "queues": QUEUES})
    return stomp_admin


def test_batch(stomp_top: Stomp) -> None:
    """Off a terminal it writes one screen after the other, without any escape."""
    text = stomp_top("top", "-n", "2", "-i", "100ms").text
    first, second = text.split("stompd/1")[1:]
    assert "up 1h 01m  3 connections  2 subscriptions\n" in first
    assert "messages  1,221 ready  16 in flight  - delayed  in 83.0/s  out 81.5/s\n" in first
    rows = [line.split()[:2] for line in first.splitlines() if line.startswith("/queue/")]
    assert rows == [["/queue/b\\x1b[2J", "1,204"], ["/queue/a", "17"]]
    assert first.count("\n") == second.count("\n")
    assert "\x1b" not in text


def test_json(stomp_top: Stomp) -> None:
    """--json writes an object a line, of the queues that are meant."""
    done = stomp_top("top", "/queue/a", "-n", "1", "--json")
    value = json.loads(done.out)
    assert value["totals"]["messages"] == 1221
    assert [queue["name"] for queue in value["queues"]] == ["/queue/a"]


def test_wrong_column(stomp_top: Stomp) -> None:
    """A column that there is not is refused, with those that there are."""
    done = stomp_top("top", "--sort", "size", "-n", "1")
    assert done.code == ExitCode.USAGE
    assert 'queues have no column "size"' in done.err


def test_keys_on_a_screen(stomp_top: Stomp) -> None:
    """The key s sorts by the next column, r turns round, p pauses, q leaves it as it was."""
    terminal = Terminal(stomp_top, "top", "-i", "50ms")
    child = terminal.child
    child.expect_exact("\x1b[?1049h\x1b[?25l\x1b[H")
    child.expect_exact("s sort (ready)")
    for key, seen in (("s", "s sort (inflight)"), ("r", "(inflight, reversed)"), ("p", "  paused")):
        child.send(key)
        child.expect_exact(seen)
    child.send("q")
    assert terminal.end() == 0
    assert terminal.seen.endswith("\x1b[?25h\x1b[?1049l")


def test_interrupt_leaves_the_screen(stomp_top: Stomp) -> None:
    """Ctrl-C restores the terminal as well."""
    terminal = Terminal(stomp_top, "top")
    terminal.child.expect_exact("s sort (ready)")
    terminal.child.sendintr()
    terminal.child.expect(pexpect.EOF)
    assert "\x1b[?25h\x1b[?1049l" in str(terminal.child.before)
    terminal.child.close()
    assert terminal.child.exitstatus == ExitCode.INTERRUPTED


def test_iterations_on_a_screen(stomp_top: Stomp) -> None:
    """-n ends it after so many looks, also on a screen."""
    assert Terminal(stomp_top, "top", "-n", "2", "-i", "50ms").end() == 0


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (80, 24), (200, 3)])
def test_screen_fits(size: tuple[int, int]) -> None:
    """Whatever the size, no line is longer and there are no more of them."""
    sight = Sight("12:00:00", TOTALS, QUEUES * 30)
    drawn = screen(sight, View(), os.terminal_size(size)).decode()
    lines = drawn.removeprefix("\x1b[H").removesuffix("\x1b[J").split("\r\n")
    assert len(lines) <= max(size[1], 2)
    assert all(len(line.removesuffix("\x1b[K")) <= size[0] for line in lines)
    assert all("\x1b" not in line.removesuffix("\x1b[K") for line in lines)


def test_keys() -> None:
    """Other keys do nothing; sorting goes round the columns."""
    view = View()
    assert not view.press("x")
    seen = []
    for _ in range(8):
        view.press("s")
        seen.append(view.sort)
    assert seen[0] == "inflight"
    assert len(set(seen)) == 7
    assert seen[7] == seen[0]
    assert "\x1b" not in "".join(head(Sight("", TOTALS, []), view))


def test_not_in_a_shell(stomp_top: Stomp) -> None:
    """A shell has no command top."""
    done = stomp_top("-q", stdin=b"top\n")
    assert "Unknown command: top" in done.err
