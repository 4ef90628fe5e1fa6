"""Helpers that assert explain themselves as tests do; and the core with a client or two."""

import pytest

pytest.register_assert_rewrite(
    "broker.asking", "broker.client", "broker.paging", "broker.restarting"
)

from broker.client import Core  # noqa: E402 - only now are its asserts rewritten


@pytest.fixture
def core() -> Core:
    """A broker with the memory store and the default settings."""
    return Core()
