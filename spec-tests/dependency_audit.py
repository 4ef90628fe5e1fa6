"""Ask whether something is known against the dependencies that requirements.lock pins.

    python spec-tests/dependency_audit.py build/audit/bin/pip-audit

It is what `make audit` runs. Status 0: nothing is known. 1: something is, and it is listed. 75:
nobody could be asked, since the service that knows cannot be reached from here; with
``--if-reachable`` that is told, and is 0 as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

FOUND: Final = 1
UNREACHABLE: Final = 75
"""EX_TEMPFAIL of sysexits.h."""

LOCK: Final = Path(__file__).parents[1] / "requirements.lock"


class UnansweredError(Exception):
    """The question was not answered; the text says why."""


def ask(auditor: str, lock: Path) -> list[dict[str, Any]]:
    """Return what pip-audit found out about each package; raises `UnansweredError`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [auditor, "--requirement", str(lock), "--require-hashes", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(report)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise UnansweredError(f"{auditor}: {error.strerror}") from error
        # With something found its status is that of an error, but only an answer leaves a report.
        if not report.exists():
            last = done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"]
            raise UnansweredError(last[-1])
        packages: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["dependencies"]
    if not any("vulns" in package for package in packages):
        raise UnansweredError("not one of the packages is known there")
    return packages


def known(packages: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each fault that is known."""
    for package in packages:
        name = f"{package['name']} {package.get('version', '')}".rstrip()
        for each in package.get("vulns", ()):
            better = ", ".join(each["fix_versions"]) or "no version yet"
            yield f"{name}: {each['id']}, mended by {better}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, tell, and return the status to exit with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("auditor", help="the program pip-audit")
    parser.add_argument("--lock", type=Path, default=LOCK, help="the pinned dependencies")
    parser.add_argument("--if-reachable", action="store_true", help="0 if nobody can be asked")
    given = parser.parse_args(arguments)
    try:
        packages = ask(given.auditor, given.lock)
    except UnansweredError as error:
        sys.stderr.write(f"audit: nobody could be asked, so nothing is known: {error}\n")
        return 0 if given.if_reachable else UNREACHABLE
    found = list(known(packages))
    for package in packages:
        if "vulns" not in package:
            sys.stderr.write(f"audit: {package['name']} was left out: {package['skip_reason']}\n")
    sys.stdout.writelines(f"{line}\n" for line in found)
    asked = sum("vulns" in package for package in packages)
    sys.stdout.write(f"audit: {asked} packages asked, {len(found)} faults known\n")
    return FOUND if found else 0


if __name__ == "__main__":
    sys.exit(main())
