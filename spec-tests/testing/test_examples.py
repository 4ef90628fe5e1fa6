"""The examples of tests with `stompd.testing` pass as they stand, and are explained."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from client.programs import ROOT, environment

EXAMPLES = sorted((ROOT / "examples").glob("test_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_passes(example: Path, tmp_path: Path) -> None:
    """An example passes in a pytest run of its own, in which warnings are errors."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n"
    )
    command = [sys.executable, "-m", "pytest", "-c", str(tmp_path / "pytest.ini"), str(example)]
    options = ["-p", "stompd.testing.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed in " in done.stdout


def test_each_is_listed_and_explains_itself() -> None:
    """No example is left out of the table of contents, and each is short."""
    assert len(EXAMPLES) >= 4
    contents = (ROOT / "examples" / "README.md").read_text()
    for path in EXAMPLES:
        assert f"]({path.name})" in contents
        assert ast.get_docstring(ast.parse(path.read_text()))
        assert 10 <= len(path.read_text().splitlines()) <= 45
