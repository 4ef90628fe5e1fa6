"""The task that reads from all connections: how it waits for more."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from selectors import DefaultSelector, SelectorKey
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompd.server.poller import Poller

TURNS = 5
"""How often it waits for more in a row while silences are short."""


class RecordingSelector(DefaultSelector):
    """A selector that remembers for how long it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Remember it, and wait."""
        assert timeout is not None, "it would never come back"
        self.waits.append(timeout)
        return super().select(timeout)


class Stage:
    """A poller that reads from one socket, and the other end of that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stompd.server.poller.selectors.DefaultSelector", RecordingSelector)
        broker = SimpleNamespace(flush_touched=lambda: None, thirsty=[])
        service: Any = SimpleNamespace(broker=broker, committer=None, came=0, weigh_after=1 << 30)
        self.service = service
        self.poller = Poller(service)
        self.selector: Any = self.poller._selector  # noqa: SLF001 - it is the one above
        self.peer, self.socket = socket.socketpair()
        self.read: list[bytes] = []
        self.poller.add(self.socket, self)

    def ready(self, now: float) -> None:
        """Read what came."""
        assert now == trio.current_time()
        self.read.append(self.socket.recv(100_000))
        self.service.came += len(self.read[-1])

    def crashed(self, error: Exception) -> None:
        """Fail: nothing is to go wrong."""
        raise error

    async def lingers_after(self, data: bytes) -> int:
        """Return how often the poller waits for more after it has read ``data``."""
        self.selector.waits.clear()
        self.peer.send(data)
        await wait_all_tasks_blocked(0.001)
        assert self.read.pop() == data
        return sum(wait > 0 for wait in self.selector.waits)


@asynccontextmanager
async def staged(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Run a poller in the block."""
    stage = Stage(monkeypatch)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.poller.watch)
            yield stage
            nursery.cancel_scope.cancel()
    finally:
        stage.poller.close()
        stage.peer.close()
        stage.socket.close()


async def test_after_a_long_silence_it_waits_once(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """Who sends now and then costs no more than one wait: it is not worth staying awake for."""
    async with staged(monkeypatch) as stage:
        for _ in range(3):
            mock_clock.jump(0.006)
            assert await stage.lingers_after(b"now and then") == 1


async def test_while_silences_are_short_it_stays_awake(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """Falling asleep and waking up takes longer than a message."""
    async with staged(monkeypatch) as stage:
        mock_clock.jump(1.0)
        assert await stage.lingers_after(b"first") == 1
        for _ in range(3):
            mock_clock.jump(0.004)
            assert await stage.lingers_after(b"soon") == 1 + TURNS
        mock_clock.jump(0.006)
        assert await stage.lingers_after(b"late") == 1


@pytest.mark.parametrize("octets", [16_384, 16_385])
async def test_a_burst_is_not_worth_staying_awake_for(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, octets: int
) -> None:
    """Who reads later finds more to read at once, and writes more at once."""
    async with staged(monkeypatch) as stage:
        mock_clock.jump(1.0)
        await stage.lingers_after(b"first")
        mock_clock.jump(0.004)
        expected = 1 if octets > 16_384 else 1 + TURNS
        assert await stage.lingers_after(b"x" * octets) == expected


async def test_other_tasks_have_their_turn_while_it_stays_awake(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    """Timers and log-ins wait no longer than for one look."""
    looks: list[int] = []

    async def note() -> None:
        while True:
            looks.append(sum(wait > 0 for wait in stage.selector.waits))
            await trio.lowlevel.checkpoint()

    async with staged(monkeypatch) as stage:
        mock_clock.jump(1.0)
        await stage.lingers_after(b"first")
        stage.selector.waits.clear()
        stage.peer.send(b"soon")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            while looks.count(1 + TURNS) < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        # Which task comes first is left to chance in each round.
        assert max(after - before for before, after in pairwise(looks)) <= 2


@pytest.mark.parametrize("whose", ["others", "guests"])
async def test_it_does_not_stay_awake_while_that_delays_somebody(
    monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, whose: str
) -> None:
    """Tasks of connections, and of HTTP, would wait a millisecond for each of their steps."""
    async with staged(monkeypatch) as stage:
        mock_clock.jump(1.0)
        await stage.lingers_after(b"first")
        setattr(stage.poller, whose, 1)
        assert await stage.lingers_after(b"soon") == (1 if whose == "guests" else 0)
        setattr(stage.poller, whose, 0)
        assert await stage.lingers_after(b"again") == 1 + TURNS
