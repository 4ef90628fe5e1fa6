"""docs/security.md is true: its tests exist, its rules and the examples are read."""

import re

import pytest

from docs.documents import ROOT, blocks
from stompd.broker.principal import Principal
from stompd.broker.rights import RIGHTS, Rights, named
from stompd.server import rights_file, users
from stompd.server.passcodes import verify

PAGE = ROOT / "docs" / "security.md"
TEXT = PAGE.read_text("utf-8")

THREATS = [line for line in TEXT[TEXT.index("| threat |") :].splitlines() if line.startswith("| ")]


def test_every_kind_of_threat_is_there() -> None:
    """The six of STRIDE, each with a line at least."""
    kinds = ["Spoofing", "Tampering", "Repudiation", "Information disclosure"]
    kinds += ["Denial of service", "Elevation of privilege"]
    assert re.findall(r"^\| \*\*(.+?)\*\*", "\n".join(THREATS), re.MULTILINE) == kinds


@pytest.mark.parametrize("line", THREATS[1:], ids=lambda line: line.split("|")[1].strip())
def test_every_threat_has_a_test(line: str) -> None:
    """That is there under this name."""
    found = re.findall(r"`(spec-tests/[^`]+)` `(\w+)`", line)
    assert found
    for path, name in found:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_every_hostile_test_stands_for_a_threat() -> None:
    """So the table is complete as far as it is tested: each file of them is named."""
    folder = ROOT / "spec-tests" / "hostile"
    named = set(re.findall(r"`spec-tests/hostile/(test_\w+\.py)`", "\n".join(THREATS)))
    assert named == {file.name for file in folder.glob("test_*.py")}


def test_every_right_is_told() -> None:
    """In the table, in their order."""
    table = TEXT[TEXT.index("| right |") : TEXT.index("A rule allows")]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == RIGHTS


def test_the_rules_of_the_page_mean_what_it_says() -> None:
    """As a file they are read; and the first one decides."""
    (text,) = [block.text for block in blocks(PAGE) if "allow|deny WHO" in block.text]
    rights = Rights(rights_file.parse(text))

    def may(name: str, right: str, destination: str, *groups: str, vhost: str = "/") -> bool:
        grant = rights.grant(Principal(name, frozenset(groups)), vhost)
        return grant.may(right, named(destination))  # type: ignore[arg-type] # the test's own

    assert not may("ann", "receive", "/queue/audit.a", "ops")
    assert may("ann", "create", "/queue/ann.inbox")
    assert not may("ann", "create", "/queue/bob.inbox")
    assert may("s7", "send", "/topic/measured.t", "sensors")
    assert may("root", "admin", "/queue/a", "ops")
    assert may("billing", "send", "/queue/orders.1", vhost="/shop")
    assert not may("billing", "send", "/queue/orders.1")


def test_the_examples_are_read() -> None:
    """With the passcode that the users file tells."""
    found = users.read(ROOT / "examples" / "users.txt")
    assert found["ann"].groups == ("admin",)
    assert verify(found["ann"].hash, b"example")
    rules = rights_file.read(ROOT / "examples" / "rights.txt")
    grant = Rights(rules).grant(Principal("ann", frozenset(("shop",))), "/")
    assert grant.connects
    assert grant.may("receive", named("/queue/orders.#"))
    assert not grant.may("receive", named("/queue/audit.1"))
