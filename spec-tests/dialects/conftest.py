"""One stompd for programs of every dialect: they are meant to live beside each other."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from server.process import Daemon, daemon


@pytest.fixture(scope="session")
def stompd() -> Iterator[Daemon]:
    """A broker as it comes, but that it lets a test provoke one ERROR after another."""
    with daemon("--set", "timeouts.error-delay=0s") as running:
        yield running


@pytest.fixture(scope="session")
def fresh() -> Callable[[], str]:
    """Return names, without a kind in front, that no other test uses."""
    numbers = count(1)
    return lambda: f"dialect-{next(numbers)}"
