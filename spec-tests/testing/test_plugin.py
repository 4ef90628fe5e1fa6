"""The plugin for pytest, as users meet it: in a pytest run of their own."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from client.programs import ROOT, environment

Run = Callable[..., str]

pytestmark = pytest.mark.slow

QUICKLY = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
BY_NAME = ("-p", "stompd.testing.plugin")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(code, *options, ends=...)`` runs pytest over a file and returns what it wrote.

    The last line has to say how it ends. Warnings are errors and markers have to be known, as
    careful users have it.
    """
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n"
        "xfail_strict = true\n"
    )
    # The entry point as an installed stompd has it.
    info = tmp_path / "path" / "stompd_entry-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stompd-entry\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nstompd = stompd.testing.entry\n")

    def run(code: str, *options: str, ends: str = "passed", entry: bool = False) -> str:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(code))
        path = f"{ROOT}:{info.parent}" if entry else str(ROOT)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *QUICKLY, *options],
            cwd=tmp_path,
            env=environment(PYTHONPATH=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert ends in done.stdout.splitlines()[-1], done.stdout
        return done.stdout

    return run


THREAD = """
    import socket
    import pytest

    pytestmark = pytest.mark.stompd(users={"fred": "secret"}, limits={"connections": 7})

    def test_it(stompd_broker):
        stompd_broker.put("/queue/a", "x")
        socket.create_connection((stompd_broker.host, stompd_broker.port)).close()
        assert stompd_broker.users == {"fred": "secret"}

    @pytest.mark.stompd(users=None, policy=[{"match": "/queue/a", "max-messages": 1}])
    def test_settings_of_the_nearest_marker_count(stompd_broker):
        assert stompd_broker.messages("/queue/a") == []
        assert stompd_broker.users is None
        assert stompd_broker.settings.limits.connections == 7
        assert stompd_broker.settings.policy[0].max_messages == 1
"""


@pytest.mark.parametrize(
    ("options", "entry"),
    [(BY_NAME, False), ((), True), ((*BY_NAME, *BY_NAME), True)],
    ids=["by name", "by entry point", "both"],
)
def test_thread_form(run: Run, options: tuple[str, ...], entry: bool) -> None:  # noqa: FBT001 - a parameter
    """`stompd_broker` is a fresh broker, set by markers, however the plugin came to be loaded."""
    run(THREAD, *options, entry=entry, ends="2 passed in")


def test_trio_form(run: Run) -> None:
    """`stompd_memory` is a broker in the test's own run, under a mock clock if it has one."""
    out = run(
        """
        import pytest
        import trio
        from stompcli.client import connect_stream

        @pytest.mark.trio
        @pytest.mark.stompd(limits={"connections": 7})
        async def test_it(stompd_memory, autojump_clock):
            assert stompd_memory.settings.limits.connections == 7
            async with connect_stream(stompd_memory.stream()) as client:
                await client.send("/queue/a", "x")
                await stompd_memory.expect("/queue/a", body="x")
                await trio.sleep(3600)
                await client.ping()

        @pytest.mark.trio
        async def test_failure(stompd_memory, autojump_clock):
            await stompd_memory.expect("/queue/a", body="x")
        """,
        *BY_NAME,
        ends="1 failed, 1 passed in",
    )
    assert "within 5 s there came no message to /queue/a: body" in out


def test_a_failure_points_at_the_test(run: Run) -> None:
    """The trace of a failed expectation ends in the user's line, and tells what came."""
    out = run(
        """
        def test_failure(stompd_broker):
            stompd_broker.expect("/queue/a", timeout=0.01)
        """,
        *BY_NAME,
        ends="1 failed in",
    )
    assert "test_it.py:3: AssertionError" in out
    assert "nothing came to /queue/a" in out
    assert "thread.py" not in out


def test_without_pytest_trio(run: Run) -> None:
    """Without pytest-trio the trio fixture says so; the other one works."""
    out = run(
        """
        def test_trio(stompd_memory):
            pass

        def test_thread(stompd_broker):
            stompd_broker.put("/queue/a", "x")
        """,
        *BY_NAME,
        *("-p", "no:trio"),
        ends="1 passed, 1 error in",
    )
    assert "stompd_memory is for tests that run under pytest-trio" in out


def test_a_marker_without_names(run: Run) -> None:
    """Settings are given by name, and the message says how."""
    out = run(
        """
        import pytest

        @pytest.mark.stompd({"policy": []})
        def test_it(stompd_broker):
            pass
        """,
        *BY_NAME,
        ends="1 error in",
    )
    assert "takes settings by name" in out


def test_it_can_be_left_out(run: Run) -> None:
    """`-p no:stompd` leaves the plugin out."""
    out = run(
        """
        def test_it(stompd_broker):
            pass
        """,
        *("-p", "no:stompd"),
        entry=True,
        ends="1 error in",
    )
    assert "fixture 'stompd_broker' not found" in out


def test_it_tells_of_itself(run: Run) -> None:
    """Fixtures and marker are in pytest's own lists."""
    fixtures = run("", "--fixtures", *BY_NAME, ends="no tests ran")
    assert "stompd_broker" in fixtures
    assert "stompd_memory" in fixtures
    assert "@pytest.mark.stompd(**settings): users and settings" in run(
        "", "--markers", *BY_NAME, ends=""
    )


def test_it_costs_nothing_where_it_is_not_used(run: Run) -> None:
    """A run that asks for no broker imports neither trio nor anything else of stompd."""
    run(
        """
        import sys

        def test_it():
            assert "stompd.testing.plugin" in sys.modules
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert not loaded & {"trio", "pydantic", "structlog", "stompcli"}
            ours = {name for name in sys.modules if name.partition(".")[0] == "stompd"}
            assert ours <= {"stompd", "stompd.testing"} | {
                f"stompd.testing.{name}" for name in ("entry", "plugin", "without_trio")
            }
        """,
        # Others' plugins that load what is looked for.
        *("-p", "no:trio", "-p", "no:schemathesis", "-p", "no:anyio"),
        entry=True,
        ends="1 passed in",
    )
