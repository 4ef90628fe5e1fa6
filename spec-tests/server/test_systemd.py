"""What a systemd is told, as one sees it that listens, and the unit for it."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog
from server.process import PATIENCE, daemon

from stompd.server.systemd import Notifier, unit


class Systemd:
    """The socket that services tell how they are."""

    def __init__(self, place: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + place[1:] if place.startswith("@") else place)
        self.sock.settimeout(PATIENCE)

    def told(self) -> list[str]:
        """Return the lines of the next message."""
        return self.sock.recv(4096).decode().split("\n")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """Return one that listens in a directory of its own."""
    listening = Systemd(str(tmp_path / "notify"))
    with closing(listening.sock):
        yield listening


def test_a_daemon_tells_that_it_is_ready_reloads_lives_and_stops(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In that order; signs of life come as long as it runs."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with daemon() as running:
        ready = systemd.told()
        assert ready[0] == "READY=1"
        assert f"MAINPID={running.process.pid}" in ready
        for _ in range(3):
            assert systemd.told() == ["WATCHDOG=1"]
        running.signal(signal.SIGHUP)
        while (lines := systemd.told()) == ["WATCHDOG=1"]:
            pass
        assert lines[0] == "RELOADING=1"
        assert lines[1].removeprefix("MONOTONIC_USEC=").isdecimal()
        while (lines := systemd.told()) == ["WATCHDOG=1"]:
            pass
        assert lines[0] == "READY=1"
        running.signal(signal.SIGTERM)
        while (lines := systemd.told()) == ["WATCHDOG=1"]:
            pass
        assert lines == ["STOPPING=1", "STATUS=draining"]
        assert running.ended() == 0


def test_a_name_in_the_abstract_namespace() -> None:
    """Systemd writes it with @."""
    place = f"@stompd-test-{os.getpid()}"
    with closing((listening := Systemd(place)).sock):
        Notifier({"NOTIFY_SOCKET": place}).tell("READY=1")
        assert listening.told() == ["READY=1"]


def test_without_systemd_nothing_happens() -> None:
    """No socket, no watchdog; and one that nobody listens on is a line in the log."""
    quiet = Notifier({"WATCHDOG_USEC": "1000"})
    quiet.ready("serving")
    assert quiet.watchdog is None
    with structlog.testing.capture_logs() as entries:
        Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell("READY=1")
    assert [entry["event"] for entry in entries] == ["systemd was not told"]


@pytest.mark.parametrize(
    ("process", "period", "expected"),
    [
        ("", "3000000", 3.0),
        (str(os.getpid()), "500000", 0.5),
        ("1", "500000", None),
        ("", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_that_is_named(
    process: str, period: str, expected: float | None
) -> None:
    """A child that has inherited the environment is not meant."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": period, "WATCHDOG_PID": process}
    assert Notifier(environment).watchdog == expected


def test_the_unit_starts_the_program_that_wrote_it() -> None:
    """With the settings that it was given."""
    assert "ExecStart=/opt/bin/stompd --data /var/lib/stompd -c /etc/stompd.toml\n" in unit(
        "/opt/bin/stompd", "/etc/stompd.toml"
    )
    assert "Type=notify\nExecStart=/x --data /var/lib/stompd\n" in unit("/x", None)
