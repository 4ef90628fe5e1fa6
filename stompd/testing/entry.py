"""What the entry point for pytest names: it loads `stompd.testing.plugin`, once.

An entry point that named the plugin itself would clash with ``-p stompd.testing.plugin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin if nobody has."""
    config.pluginmanager.import_plugin("stompd.testing.plugin")
