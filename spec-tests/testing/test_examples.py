"""The examples of tests with `stompd.testing` pass as they stand, and are explained."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from client.programs import ROOT, environment

EXAMPLES = sorted((ROOT / "examples").glob("test_*.py"))


@pytest.mark.slow
def test_they_pass(tmp_path: Path) -> None:
    """They pass in a pytest run of their own, in which warnings are errors."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", str(tmp_path / "pytest.ini"), "-v"),
            *("-p", "stompd.testing.plugin", "-p", "no:cacheprovider"),
            *map(str, EXAMPLES),
        ],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for path in EXAMPLES:
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE):
            assert f"::{name} PASSED" in done.stdout, done.stdout


def test_each_is_listed_and_explains_itself() -> None:
    """No example is left out of the table of contents, and each is short."""
    assert len(EXAMPLES) >= 4
    contents = (ROOT / "examples" / "README.md").read_text()
    for path in EXAMPLES:
        assert f"]({path.name})" in contents
        assert ast.get_docstring(ast.parse(path.read_text()))
        assert 10 <= len(path.read_text().splitlines()) <= 45
