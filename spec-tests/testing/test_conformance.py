"""The broker in a test's process speaks STOMP as the daemon does: the same cases on the wire."""

import pytest
from conformance.brokers import Brokers
from conformance.cases import all_cases
from conformance.suite import Run
from wire import Broker

from stompd.testing import in_thread


@pytest.mark.slow
def test_it_conforms() -> None:
    """Every quick case of the suite that needs no special settings comes out as for the daemon."""
    cases = [case for case in all_cases() if case.pace == "light"]
    with in_thread() as broker:
        foreign = Broker((broker.host, broker.port), "", "", "/")
        with Brokers(foreign) as running:
            run = Run(cases, running)
            try:
                outcomes = {case.name: run.outcome(case.name) for case in cases}
            finally:
                run.stop()
    failed = {name: came.came for name, came in outcomes.items() if came.verdict == "fail"}
    assert failed == {}
    assert sum(came.verdict != "n/a" for came in outcomes.values()) > 200
