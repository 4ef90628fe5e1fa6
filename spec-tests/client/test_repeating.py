"""Listings as bars, and again and again."""

import json

import pytest
from client.admin_broker import AdminBroker
from client.programs import Stomp
from client.terminal import Terminal

from stompcli import listing
from stompcli.exitcodes import ExitCode

ROWS = [
    {"name": "/queue/orders", "ready": 1204, "inflight": 16, "consumers": 2, "in_rate": 0.5},
    {"name": "/queue/DLQ.orders", "ready": 17, "inflight": 0, "consumers": 0, "in_rate": 0.0},
    {"name": "/queue/one", "ready": 602, "inflight": 1, "consumers": 1, "in_rate": 0.25},
]


def test_bars(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """A bar is as long as its queue, next to the numbers; what is not empty is seen."""
    admin.answers["queues"] = ROWS
    assert stomp_admin("queues", "--bars", "--sort", "ready").text == (
        "/queue/orders      |████████████████████ 1204, 16 in flight, 2 consumers\n"
        "/queue/one         |██████████ 602, 1 in flight, 1 consumer\n"
        "/queue/DLQ.orders  |▎ 17, 0 in flight, no consumer\n"
    )
    assert stomp_admin("queues", "--bars", "--sort", "in-rate", "--top", "2").text == (
        "/queue/orders  |████████████████████ 0.5 in rate\n"
        "/queue/one     |██████████ 0.25 in rate\n"
    )


def test_bars_of_what_has_none(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """Without numbers there are no bars, which is said; without rows there is nothing."""
    admin.answers.update({"queues": ROWS, "routes": [{"name": "a", "to": "b"}], "topics": []})
    for words in (["queues", "--sort", "name"], ["routes"]):
        done = stomp_admin(*words, "--bars")
        assert done.code == ExitCode.USAGE
        assert "--bars needs numbers" in done.err
    assert stomp_admin("topics", "--bars").out == b""


def test_bar() -> None:
    """Bars are drawn in eighths of a cell, and never longer than they may be."""
    assert listing.bar(0, 10) == ""
    assert listing.bar(0.000001, 10) == "▏"
    assert listing.bar(0.05, 10) == "▌"
    assert listing.bar(1, 10) == "█" * 10


@pytest.mark.parametrize("words", [["queues"], ["status"], ["queue", "info", "/queue/one"]])
def test_interval(admin: AdminBroker, stomp_admin: Stomp, words: list[str]) -> None:
    """--interval shows it again until the time is over, which is success then."""
    admin.answers.update({"queues": ROWS, "status": {"server": "stompd/1"}})
    done = stomp_admin(*words, "-i", "100ms", "--timeout", "1", "--json")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) > 2
    assert len({line for line in lines if json.loads(line)}) == 1


def test_interval_off_a_terminal(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """An empty line parts tables for people; rows for programs follow each other."""
    admin.answers["queues"] = ROWS[:1]
    words = ["queues", "-i", "100ms", "--timeout", "1", "--columns", "name", "--no-header"]
    assert stomp_admin(*words).text.startswith("/queue/orders\n\n/queue/orders\n\n")
    assert stomp_admin(*words, "--plain").text.startswith("/queue/orders\n/queue/orders\n")


def test_interval_on_a_terminal(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """On a terminal each table takes the place of the one before."""
    admin.answers["queues"] = ROWS[:1]
    terminal = Terminal(stomp_admin, "queues", "-i", "100ms", "--timeout", "2", "--columns", "name")
    assert terminal.end() == 0
    assert terminal.seen.startswith(
        "\x1b[H\x1b[JNAME\n/queue/orders\n1 queue, 1,204 messages\n\x1b"
    )


def test_interval_in_a_shell(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """In a shell it would never end, so that it is refused."""
    admin.answers["queues"] = ROWS
    done = stomp_admin("-q", stdin=b"queues -i 1\n")
    assert done.code == ExitCode.USAGE
    assert "--interval is for commands of their own" in done.err
