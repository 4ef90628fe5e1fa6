"""Walks over what is not due yet, where most of that is in the store only."""

import pytest
from broker.asking import Asker, done
from broker.client import numbers, settings
from broker.paging import PagedCore

from stompd.broker import walk


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of three messages."""
    monkeypatch.setattr(walk, "PAGE", 3)


@pytest.fixture
def core() -> PagedCore:
    """A core with twenty delayed messages, of which a few are in memory."""
    core = PagedCore(settings(window_messages=2))
    client = core.client()
    for number in range(1, 21):
        colour = "red" if number % 2 else "blue"
        client.send("/queue/a", str(number), delay=str(number * 1000), colour=colour)
    return core


def test_all_are_shown(core: PagedCore) -> None:
    """By the time at which they are due; in parts as well."""
    ask = Asker(core)
    assert ask.bodies("a") == numbers(1, 20)
    (row,) = ask("queues", match="a")
    assert (row["delayed"], row["disk_messages"] > 10) == (20, True)
    found: list[str] = []
    after: dict[str, object] = {}
    while True:
        answer = ask("browse", destination="a", count=7, **after)
        found += [row["body"] for row in answer["messages"]]
        if answer["more"] is None:
            break
        after = {"after": answer["more"]}
    assert found == numbers(1, 20)
    assert ask("browse", destination="a", id="18")["messages"][0]["due"] == 18000


def test_some_are_moved(core: PagedCore) -> None:
    """They keep their time, and the others stay."""
    ask = Asker(core)
    assert ask("move", source="a", target="b", selector="colour = 'red'") == done(10)
    assert ask.bodies("b") == numbers(1, 20)[::2]
    assert ask.bodies("a") == numbers(2, 20)[::2]
    rows = ask("browse", destination="b")["messages"]
    assert [row["due"] for row in rows] == [number * 1000 for number in range(1, 21, 2)]


def test_all_are_purged(core: PagedCore) -> None:
    """With a filter, and at once."""
    ask = Asker(core)
    assert ask("purge", destination="a", selector="colour = 'red'") == done(10)
    assert ask("purge", destination="a") == done(10)
    core.durable()
    assert core.paging.count == 0
    (row,) = ask("queues", match="a")
    assert (row["delayed"], row["bytes"]) == (0, 0)
