"""`stompd doctor`: what it finds, and what it leaves alone."""

import json
import resource
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from stompd.server.doctor import Finding, examine
from stompd.server.main import commands
from stompd.server.sources import read


def found(*flags: tuple[str, object]) -> dict[str, list[Finding]]:
    """Return the findings with these settings, by name."""
    named: dict[str, list[Finding]] = {}
    given = [("--set", key, value) for key, value in (("listen", ["127.0.0.1:0"]), *flags)]
    for finding in examine(read(None, {}, given)):
        named.setdefault(finding.name, []).append(finding)
    return named


def test_a_good_machine_is_told_line_by_line(tmp_path: Path) -> None:
    """Each thing that was looked at has a line, also if all is well; nothing is made."""
    directory = tmp_path / "state" / "stompd"
    arguments = ["doctor", "--set", "listen=127.0.0.1:0", "--set", f"store.path={directory}"]
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    for word in ("stompd", "python", "libraries", "settings", "address", "store", "clock"):
        assert f"ok    {word} " in result.output
    assert not directory.exists()
    rows = json.loads(CliRunner().invoke(commands, [*arguments, "--json"]).output)
    assert {row["state"] for row in rows} <= {"ok", "warning"}


def test_what_is_wrong_ends_it_with_1(tmp_path: Path) -> None:
    """With the reason, and what would help."""
    file = tmp_path / "file"
    file.write_text("")
    result = CliRunner().invoke(commands, ["doctor", "--set", f"store.path={file}"])
    assert result.exit_code == 1
    assert f"{file} is no directory" in result.output
    assert "would not start" in result.output


def test_an_address_in_use_is_a_warning() -> None:
    """Most often it is stompd that has it."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        (address,) = found(("listen", [f"127.0.0.1:{port}"]))["address"]
        assert address.state == "warning"
        assert "in use" in address.text


def test_too_few_descriptors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With how many connections that makes."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1064))
    (descriptors,) = found()["descriptors"]
    assert descriptors.state == "warning"
    assert "no more than 1000 connections" in descriptors.text


@pytest.mark.parametrize(("mark", "state"), [(0.5, "ok"), (0.75, "warning"), (2.0, "error")])
def test_little_room_on_the_disk_is_told(
    tmp_path: Path, mark: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below twice what has to stay free it is a warning, below that an error."""
    usage = (10**9, 5 * 10**8, 5 * 10**8)
    monkeypatch.setattr(
        "stompd.server.doctor.shutil.disk_usage", lambda _: type("Usage", (), {"free": usage[2]})
    )
    given = (("store.path", str(tmp_path)), ("store.min-free", int(usage[2] * mark)))
    (store,) = found(*given)["store"]
    assert store.state == state


def test_memory_only_and_a_clock_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told."""
    monkeypatch.setattr("stompd.server.doctor.time.time", lambda: 86_400.0)
    named = found(("store.engine", "memory"))
    assert named["store"][0].state == "warning"
    assert named["clock"][0].state == "error"
    assert "1970-01-02" in named["clock"][0].text


@pytest.mark.parametrize(("days", "state"), [(-1, "error"), (10, "warning"), (100, "ok")])
def test_a_certificate_is_judged_by_its_end(tmp_path: Path, days: int, state: str) -> None:
    """Over, soon over, or good; and the authority's own is looked at, too."""
    authority = trustme.CA()
    file = tmp_path / "server.pem"
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    issued = authority.issue_cert("localhost", not_after=end)
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    named = found(("tls.certificate", str(file)))
    assert named["certificate"][0].state == state
    assert f"{end:%Y-%m-%d}" in named["certificate"][0].text


def test_a_file_that_is_no_certificate_is_a_problem_of_the_settings(tmp_path: Path) -> None:
    """It is told once."""
    file = tmp_path / "server.pem"
    file.write_text("nothing")
    named = found(("tls.certificate", str(file)))
    assert "certificate" not in named
    assert [finding.state for finding in named["settings"]] == ["error"]
