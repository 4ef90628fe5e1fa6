"""What the tests of the client and of the `stomp` program share: a broker and the program."""

from collections.abc import Iterator

import pytest
from client.admin_broker import AdminBroker, running_admin_broker
from client.programs import Stomp, running_stompd


@pytest.fixture(scope="session")
def stompd() -> Iterator[int]:
    """The port of a stompd that runs for all the tests; each uses destinations of its own."""
    with running_stompd() as port:
        yield port


@pytest.fixture
def stomp(stompd: int) -> Stomp:
    """The `stomp` program against that broker."""
    return Stomp(stompd)


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    # Tests of several files may have the same name.
    name = f"{request.path.stem.removeprefix('test_')}.{request.node.name}"
    return "/queue/" + "".join(c if c.isalnum() else "." for c in name)


@pytest.fixture
def admin() -> Iterator[AdminBroker]:
    """A broker that answers admin requests as the test says."""
    with running_admin_broker() as broker:
        yield broker


@pytest.fixture
def stomp_admin(admin: AdminBroker) -> Stomp:
    """The `stomp` program against that broker."""
    return Stomp(admin.port)
