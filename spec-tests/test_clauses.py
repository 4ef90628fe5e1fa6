"""Every requirement of the list is claimed by a test, and every claim names a requirement.

A claim is ``@pytest.mark.clause("F-06", …)`` on a test anywhere under ``spec-tests``, or the
``clause`` of a case of the conformance suite. A requirement that nothing can be tested of is named
here, with the reason.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conformance.cases import all_cases, requirements

from stompd.protocol.decoder import Decoder

SPEC_TESTS = Path(__file__).resolve().parent

DOCUMENTARY = {
    "FH-00": "defines the keywords",
    "V11-13": "weakens CT-02 to a recommendation; what CT-02 asks for holds in 1.1 too",
    "V11-23": "1.1 lacks a recommendation of 1.2; our client follows it there too",
    "V11-25": "names what 1.1 does not say",
}
"""Rows that ask for nothing, and what they are instead."""

# The ERROR that the specifications of 1.1 and 1.2 show, with its length of 170 octets.
EXAMPLE = b"""ERROR
receipt-id:message-12345
content-type:text/plain
content-length:170
message:malformed frame received

The message:
-----
MESSAGE
destined:/queue/a
receipt:message-12345

Hello queue a!
-----
Did not contain a destination header, which is REQUIRED
for message propagation.
\0"""


def _marks(tree: ast.AST) -> Iterator[str]:
    """The ids in ``pytest.mark.clause("…")``, wherever it stands."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "clause"
        ):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


@cache
def _claims() -> dict[str, set[str]]:
    """Which file claims which ids: marks of tests, and the cases of the conformance suite."""
    found: dict[str, set[str]] = {}
    for path in sorted(SPEC_TESTS.rglob("*.py")):
        ids = set(_marks(ast.parse(path.read_text(encoding="utf-8"))))
        found[str(path.relative_to(SPEC_TESTS))] = ids
    for case in all_cases():
        found.setdefault(f"wire/{case.source}", set()).update(case.clauses)
    return found


def _claimed(under: str = "") -> set[str]:
    return {i for name, ids in _claims().items() if name.startswith(under) for i in ids}


def test_every_requirement_is_claimed() -> None:
    """No row of the list is without a test."""
    open_ = [i for i in requirements() if i not in _claimed() | DOCUMENTARY.keys()]
    assert not open_, f"{len(open_)} requirements are claimed by no test: {', '.join(open_)}"


def test_every_claim_names_a_requirement() -> None:
    """No test claims an id that the list does not have."""
    wrong = {name: ids - requirements().keys() for name, ids in _claims().items()}
    assert not {name: ids for name, ids in wrong.items() if ids}


def test_documentary_rows_exist_and_are_not_claimed_twice() -> None:
    """What is called documentary is a row of the list that indeed no test claims."""
    assert DOCUMENTARY.keys() <= requirements().keys()
    assert not DOCUMENTARY.keys() & _claimed()


def test_what_binds_a_server_is_seen_on_the_wire() -> None:
    """Rows that bind a server have a case on the wire, unless they are about a client's view."""
    rows = [row for row in requirements().values() if row.binds in {"S", "B"}]
    seen = _claimed("wire/") | DOCUMENTARY.keys()
    missing = [r.id for r in rows if r.id not in seen and not r.check.startswith("FS")]
    assert not missing


def test_what_a_fake_server_checks_is_claimed_by_the_client() -> None:
    """Rows whose check is made by a scripted fake server are claimed by a test of the client."""
    rows = [row for row in requirements().values() if re.search(r"\bFS\b", row.check)]
    missing = [row.id for row in rows if row.id not in _claimed("client/")]
    assert not missing, f"no test under client/ claims {', '.join(missing)}"


def test_the_list_is_whole() -> None:
    """The list has as many rows of each subject as it should, each with all its fields."""
    rows = requirements()
    count = Counter(identifier.partition("-")[0] for identifier in rows)
    f, body, limits = {"F": 22, "ESC": 10}, {"BOD": 3, "CL": 7, "CT": 8, "HDR": 6}, {"LIM": 8}
    sessions = {"R": 9, "C": 23, "H": 14, "CF": 3, "D": 6, "TX": 12}
    traffic = {"S": 9, "SUB": 12, "ACK": 16, "U": 3, "M": 11, "E": 9, "FH": 12}
    versions = {"V11": 25, "V10": 22}
    assert count == f | body | limits | sessions | traffic | versions
    for row in rows.values():
        assert all((row.chapter, row.specification, row.level, row.text, row.check))
        assert row.binds in {"S", "C", "B", "-"}


@pytest.mark.clause("E-09")
def test_the_example_error_is_read() -> None:
    """The ERROR of the specification's example is one frame with a body of 170 octets."""
    decoder = Decoder(role="client")
    assert decoder.feed(b"CONNECTED\nversion:1.2\n\n\0")
    decoder.begin("1.2")
    [(head, body)] = decoder.feed(EXAMPLE)
    assert head.command == "ERROR"
    assert head.headers["receipt-id"] == "message-12345"
    assert len(body) == 170
    assert decoder.error is None
    assert decoder.pending == 0
