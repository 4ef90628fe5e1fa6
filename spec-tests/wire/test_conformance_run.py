"""The program behind `make conformance`: what it prints, keeps and returns."""

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conformance.brokers import Brokers

PROGRAM = Path(__file__).resolve().parent.parent / "conformance_run.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_it_judges_a_broker_and_keeps_the_tables(brokers: Brokers, tmp_path: Path) -> None:
    """Against a broker that meets the rows it prints the table, keeps it thrice, and returns 0."""
    host, port = brokers.get("plain").broker.address
    done = _run(
        *("--broker", f"{host}:{port}"),
        *("--only", "^without a length the body|^the first empty line"),
        *("--name", "Some Broker", "--out", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert "  pass F-05" in done.stdout
    assert done.stdout.splitlines()[-1].split()[:4] == ["Total", "3", "of", "3"]
    kept = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert kept.keys() == {"some-broker.txt", "some-broker.md", "some-broker.html"}
    assert kept["some-broker.txt"] == done.stdout
    assert "| pass | F-06 |" in kept["some-broker.md"]
    assert "<td>F-06" in kept["some-broker.html"]


@pytest.mark.slow
def test_nobody_answers() -> None:
    """Where no broker listens it says so in a line and returns 69."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    done = _run("--broker", f"127.0.0.1:{port}")
    assert done.returncode == 69
    assert done.stderr.startswith("no STOMP 1.2 session with the broker: ")
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--broker", "localhost"), "'localhost' is not host:port"),
        (("--only", "("), "'(' is no pattern"),
        (("--only", "no such case"), "no case fits 'no such case'"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: tuple[str, str], said: str) -> None:
    """A wrong address, a wrong pattern, or one that fits no case: a line, and 2."""
    done = _run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
