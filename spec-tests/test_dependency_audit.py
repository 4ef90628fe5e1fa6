"""The audit of dependencies tells what is found from nobody having been asked."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dependency_audit import FOUND, LOCK, UNREACHABLE, main

GOOD = {"name": "h11", "version": "0.16.0", "vulns": []}
BAD = {
    "name": "h11",
    "version": "0.15.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.16.0"], "aliases": [], "description": "x"}],
}
SKIPPED = {"name": "own", "skip_reason": "it is not there"}


def auditor(folder: Path, report: list[dict[str, Any]] | None, *, status: int, said: str) -> str:
    """Return a program that stands for pip-audit."""
    program = folder / "pip-audit"
    lines = ["#!/bin/sh", 'while [ "$1" != --output ]; do shift; done']
    if report is not None:
        (folder / "report").write_text(json.dumps({"dependencies": report, "fixes": []}))
        lines.append(f"cp '{folder / 'report'}' \"$2\"")
    lines += [f"echo '{said}' >&2", f"exit {status}"]
    program.write_text("\n".join(lines))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("report", "status", "code", "lenient", "told"),
    [
        ([GOOD], 0, 0, 0, "1 packages asked, 0 faults known"),
        ([GOOD, BAD], 1, FOUND, FOUND, "h11 0.15.0: PYSEC-1, mended by 0.16.0"),
        ([GOOD, SKIPPED], 0, 0, 0, "own was left out: it is not there"),
        ([SKIPPED], 0, UNREACHABLE, 0, "nobody could be asked"),
        (None, 1, UNREACHABLE, 0, "nobody could be asked, so nothing is known: no route to host"),
    ],
    ids=["good", "found", "left out", "none", "unreachable"],
)
def test_what_is_told(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    report: list[dict[str, Any]] | None,
    status: int,
    code: int,
    lenient: int,
    told: str,
) -> None:
    """And with which status it ends: what is found always fails, no answer only if it has to."""
    program = auditor(tmp_path, report, status=status, said="no route to host")
    assert main([program]) == code
    assert main([program, "--if-reachable"]) == lenient
    assert told in "".join(capfd.readouterr())


def test_without_the_program_nobody_is_asked(tmp_path: Path) -> None:
    """As where it could not be installed."""
    assert main([str(tmp_path / "none")]) == UNREACHABLE
    assert main([str(tmp_path / "none"), "--if-reachable"]) == 0


def test_continuous_integration_runs_it() -> None:
    """So that a known fault fails the build, and an unreachable service does not."""
    text = (LOCK.parent / ".ci" / "run").read_text("utf-8")
    assert "make audit ARGS=--if-reachable" in text
    done = subprocess.run(
        ["make", "--dry-run", "audit", "ARGS=--if-reachable"],
        cwd=LOCK.parent,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert "dependency_audit.py build/audit/bin/pip-audit --if-reachable" in done.stdout
