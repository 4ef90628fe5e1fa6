"""What `stompd.testing.plugin` says where pytest-trio is not there to run its trio fixture."""

import pytest


@pytest.fixture
def stompd_memory() -> None:
    """Say what is missing."""
    pytest.fail(
        "stompd_memory is for tests that run under pytest-trio, which is not installed; without "
        "it, write `async with stompd.testing.in_trio() as broker:` into the test",
        pytrace=False,
    )
