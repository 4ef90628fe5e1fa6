"""Fixtures for pytest: a broker for each test that asks for one.

``stompd_broker``  a `stompd.testing.ThreadBroker`, for programs of any kind
``stompd_memory``  a `stompd.testing.TrioBroker`, for tests that run under pytest-trio

``@pytest.mark.stompd(...)`` gives them what `stompd.testing.in_trio` takes: users and settings. On
a test, its class and its module together, the nearest counts for each name.

pytest loads this module in every run of an environment where stompd is installed. Therefore it
imports nothing else of stompd before a test asks for a broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stompd.testing.thread import ThreadBroker


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and the trio fixture where pytest-trio is there to run it."""
    config.addinivalue_line(
        "markers", "stompd(**settings): users and settings of the broker that the test asks for"
    )
    beside = "with_trio" if config.pluginmanager.hasplugin("trio") else "without_trio"
    config.pluginmanager.import_plugin(f"stompd.testing.{beside}")


def settings_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what the test's markers say; raises a usage error for one with unnamed arguments."""
    found: dict[str, Any] = {}
    for mark in request.node.iter_markers("stompd"):
        if mark.args:
            raise pytest.UsageError(
                "@pytest.mark.stompd takes settings by name: @pytest.mark.stompd(policy=[...])"
            )
        found = {**mark.kwargs, **found}
    return found


@pytest.fixture
def stompd_broker(request: pytest.FixtureRequest) -> Iterator[ThreadBroker]:
    """A broker in a thread, on a free TCP port of 127.0.0.1: see `stompd.testing.ThreadBroker`."""
    from stompd.testing.thread import in_thread

    with in_thread(**settings_of(request)) as broker:
        yield broker
