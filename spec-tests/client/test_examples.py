"""Every example does what it says, against a fresh part of a real stompd."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from client.programs import ROOT, environment, running_stompd

EXAMPLES = ROOT / "examples"
TESTED = {
    "stomppy_producer.py",
    "stomppy_consumer.py",
    "producer.py",
    "consumer.py",
    "transfer.py",
    "service.py",
    "request.py",
}


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a broker whose queues nobody has used before."""
    with running_stompd() as port:
        yield port


def start(name: str, port: int) -> subprocess.Popen[str]:
    """Start an example."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), "127.0.0.1", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Return what an example has printed, once it has ended well."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return out


def test_stomp_py(port: int) -> None:
    """A producer and a consumer written with stomp.py for ActiveMQ run unchanged."""
    assert finish(start("stomppy_producer.py", port)) == "sent 3 orders\n"
    assert finish(start("stomppy_consumer.py", port)) == (
        "received order 0\nreceived order 1\nreceived order 2\n"
    )


def test_our_client(port: int) -> None:
    """Our producer's orders are processed by our consumer; what it refuses comes again."""
    assert finish(start("producer.py", port)) == "sent and confirmed 3 orders\n"
    lines = finish(start("consumer.py", port)).splitlines()
    assert lines[0] == "processing order 0 "
    assert "refused order 1 - the printer is out of paper" in lines
    assert "processing order 1 again" in lines
    assert lines[-1] == "done"


def test_clients_mix(port: int) -> None:
    """What our client sends stomp.py receives, while both are connected."""
    consumer = start("stomppy_consumer.py", port)
    finish(start("producer.py", port))
    assert finish(consumer) == "received order 0\nreceived order 1\nreceived order 2\n"


def test_transaction(port: int) -> None:
    """An aborted transaction leaves nothing behind, a committed one everything."""
    assert finish(start("transfer.py", port)) == (
        "aborted, so nothing has happened\ncommitted\nreceived the answer is 42\n"
    )


def test_request_and_reply(port: int) -> None:
    """A request gets its answer in a temporary queue."""
    service = start("service.py", port)
    assert service.stdout is not None
    assert service.stdout.readline() == "ready\n"
    assert finish(start("request.py", port)) == (
        "hello -> HELLO (request 0)\nstop -> STOP (request 1)\n"
    )
    assert finish(service) == ""


def test_every_example_is_tested_and_listed() -> None:
    """No example is left out of the tests or of the table of contents, and each explains itself."""
    found = {path.name for path in EXAMPLES.glob("*.py")}
    assert found == TESTED
    contents = (EXAMPLES / "README.md").read_text()
    for name in found:
        assert f"]({name})" in contents
        text = (EXAMPLES / name).read_text()
        assert ast.get_docstring(ast.parse(text))
        assert 10 <= len(text.splitlines()) <= 40
