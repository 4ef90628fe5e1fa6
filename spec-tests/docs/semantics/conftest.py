"""A daemon for the tests of the contract, and connections to it."""

from collections.abc import Iterator

import pytest
from wire import Wire

from docs.semantics.daemon import POLICIES, ROUTES, Open, opener
from docs.terminal import Terminal


@pytest.fixture(scope="session")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A daemon with a policy of each kind, and small buffers."""
    path = tmp_path_factory.mktemp("semantics") / "stompd.toml"
    path.write_text(POLICIES + ROUTES)
    flags = ["-c", str(path), "--set", "timeouts.error-delay=0s", "--set", "flow.outbox-high=64KiB"]
    with Terminal(*flags, "--set", "flow.outbox-low=16KiB") as running:
        yield running


@pytest.fixture
def connect(terminal: Terminal) -> Iterator[Open]:
    """Open a connection to the daemon; all are closed in the end."""
    wires: list[Wire] = []
    yield opener(terminal, wires)
    for wire in wires:
        wire.close()
