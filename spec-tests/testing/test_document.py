"""docs/testing.md is true: its tests pass, and it names everything that there is."""

import subprocess
import sys
from pathlib import Path

import pytest
from client.programs import ROOT, environment
from docs.documents import blocks

import stompd.testing
from stompd.testing import Clock, Connection, Faults, Message, ThreadBroker, TrioBroker
from stompd.testing.broker import Counts

PAGE = ROOT / "docs" / "testing.md"
# For the broker's own tasks and the transport.
INNER = {
    *("until", "find", "emptied", "subscribed", "connected", "stir", "closed", "open_port"),
    *("open_stream", "run", "reached", "change", "alive"),
}


@pytest.mark.slow
def test_its_tests_pass(tmp_path: Path) -> None:
    """Every Python example of the page is a test that passes as it stands."""
    found = [block for block in blocks(PAGE) if block.kind == "python"]
    for block in found:
        (tmp_path / f"test_{block.line}.py").write_text(block.text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "stompd.testing.plugin", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert f" {len(found)} passed in " in done.stdout, done.stdout


def test_every_public_name_is_documented() -> None:
    """What can be imported from stompd.testing stands in the page, but for the common class."""
    text = PAGE.read_text()
    missing = [name for name in stompd.testing.__all__ if name not in text]
    assert missing == ["InProcessBroker"]


def test_every_method_is_documented() -> None:
    """So do the methods and attributes that tests use."""
    text = PAGE.read_text()
    names = {
        name
        for kind in (ThreadBroker, TrioBroker, Clock, Connection, Faults, Message, Counts)
        for parent in kind.__mro__[:-1]
        for name in vars(parent)
        if not name.startswith("_")
    }
    assert sorted(name for name in names - INNER if name not in text) == []
    assert names >= INNER
