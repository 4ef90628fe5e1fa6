"""What every test may use: the tools that it starts, and how hard hypothesis tries."""

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# The default: the same bounded examples on every machine, no deadline on a loaded one.
settings.register_profile(
    "ci",
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For a search: HYPOTHESIS_PROFILE=explore make test
settings.register_profile("explore", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def _no_state_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests start away from the messages that a stompd of the developer keeps."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def require_tool(name: str) -> str:
    """Return the path of the program ``name``, or end the test.

    Without the program the test is skipped with that reason; with ``REQUIRE_TEST_TOOLS=1``, as
    the continuous integration sets it, it fails instead.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("REQUIRE_TEST_TOOLS", "0") not in {"", "0"}:
        pytest.fail(f"{name} is not installed, and REQUIRE_TEST_TOOLS is set", pytrace=False)
    pytest.skip(f"{name} is not installed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the wire cases run against a broker that is already there."""
    group = parser.getgroup("wire", "cases on the wire")
    group.addoption("--broker", metavar="HOST:PORT", help="run them against this broker")
    group.addoption("--broker-login", default="", help="who logs in there")
    group.addoption("--broker-passcode", default="", help="the passcode of that user")
    group.addoption("--broker-host", default="localhost", help="the host header of CONNECT")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the tools of ``@pytest.mark.needs_tool("telnet", …)`` before the test starts."""
    for mark in item.iter_markers("needs_tool"):
        for name in mark.args:
            require_tool(name)


@pytest.fixture
def needs_tool() -> Callable[[str], str]:
    """``needs_tool("telnet")`` inside a test: the program's path, or the test is skipped."""
    return require_tool
