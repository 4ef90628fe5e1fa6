"""Every requirement that binds a server, on the wire: one test for each case of the suite.

The cases are in the TOML files beside this one and in ``conformance/``. They run against stompd,
started for the session as a process of its own, or with ``--broker host:port`` against any broker.
"""

import pytest
from conformance.brokers import Brokers
from conformance.cases import Case, all_cases
from conformance.content import SNIFFED
from conformance.suite import Run

_CASES = all_cases()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.clauses[0]}: {case.name}",
            marks=[
                pytest.mark.clause(*case.clauses),
                *([pytest.mark.slow] if case.pace != "light" else []),
            ],
        )
        for case in _CASES
    ],
)
def test_case(case: Case, run: Run, brokers: Brokers) -> None:
    """The broker does what the case says, and every frame of it is well-formed."""
    outcome = run.outcome(case.name)
    if outcome.verdict == "n/a":
        pytest.skip(outcome.came)
    if outcome.verdict == "fail":
        clauses = ", ".join(case.clauses)
        pytest.fail(f"{case.source} ({clauses}): {outcome.came}", pytrace=False)
    if brokers.foreign is None:
        breaches = [f"{SNIFFED.get(rule, rule)} ({rule}): {f}" for rule, f in outcome.complaints]
        assert not breaches, breaches[0]
        assert not brokers.died(), f"stompd ended:\n{brokers.log(case.config)[-3000:]}"
