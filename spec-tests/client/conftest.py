"""What the tests of the client and of the `stomp` program share: a broker and the program."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from client.programs import Stomp, environment


@pytest.fixture(scope="session")
def stompd() -> Iterator[int]:
    """The port of a stompd that runs for all the tests; each uses destinations of its own."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stompd", "--memory"),
            *("--listen", "127.0.0.1:0", "--ready-fd", str(theirs)),
        ],
        pass_fds=[theirs],
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    os.close(theirs)
    try:
        with os.fdopen(ours) as ready:
            line = ready.readline()
        if not line.startswith("ready "):
            pytest.fail("stompd did not start", pytrace=False)
        yield int(line.split()[1].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def stomp(stompd: int) -> Stomp:
    """The `stomp` program against that broker."""
    return Stomp(stompd)


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    return "/queue/" + "".join(c if c.isalnum() else "." for c in request.node.name)
