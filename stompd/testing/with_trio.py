"""The fixture of `stompd.testing.plugin` for tests that run under pytest-trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
from pytest_trio import trio_fixture

from stompd.testing.plugin import settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stompd.testing.loop import TrioBroker

F = TypeVar("F")

# pytest-trio carries no types.
_fixture: Callable[[F], F] = trio_fixture


@_fixture
async def stompd_memory(request: pytest.FixtureRequest) -> AsyncIterator[TrioBroker]:
    """A broker in the test's own trio run, on memory streams: see `stompd.testing.TrioBroker`."""
    from stompd.testing.loop import in_trio

    async with in_trio(**settings_of(request)) as broker:
        yield broker
