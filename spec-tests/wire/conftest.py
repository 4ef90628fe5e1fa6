"""The brokers that the wire cases run against, and the run itself: one of each per session."""

from collections.abc import Iterator

import pytest
from conformance.brokers import Brokers
from conformance.cases import Case
from conformance.suite import Run
from wire import Broker


@pytest.fixture(scope="session")
def brokers(request: pytest.FixtureRequest) -> Iterator[Brokers]:
    """The broker named by ``--broker``, or stompd in each configuration that a case asks for."""
    option = request.config.getoption
    address: str | None = option("--broker")
    foreign = None
    if address is not None:
        host, _, port = address.rpartition(":")
        foreign = Broker(
            (host.strip("[]") or "127.0.0.1", int(port)),
            option("--broker-login"),
            option("--broker-passcode"),
            option("--broker-host"),
        )
    with Brokers(foreign) as running:
        yield running


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest, brokers: Brokers) -> Iterator[Run]:
    """The selected cases at work side by side; each test waits for its own."""
    selected: list[Case] = []
    for item in request.session.items:
        call = getattr(item, "callspec", None)
        case = call.params.get("case") if call is not None else None
        if isinstance(case, Case):
            selected.append(case)
    running = Run(selected, brokers)
    try:
        yield running
    finally:
        running.stop()
