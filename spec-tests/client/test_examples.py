"""Every example does what it says, against a fresh part of a real stompd."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from client.programs import ROOT, Stomp, environment, running_stompd
from client.secured import Certificate, listening, polite

EXAMPLES = ROOT / "examples"
TESTED = {
    "stomppy_producer.py",
    "stomppy_consumer.py",
    "producer.py",
    "consumer.py",
    "transfer.py",
    "service.py",
    "request.py",
    "gather.py",
    "workers.py",
    "worker.py",
    "failover.py",
    "secure.py",
    "traced.py",
}


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a broker whose queues nobody has used before."""
    with running_stompd() as port:
        yield port


def start(name: str, port: int, *words: str, host: str = "127.0.0.1") -> subprocess.Popen[str]:
    """Start an example."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), host, str(port), *words],
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
    *answers, last = finish(start("request.py", port)).splitlines()
    assert sorted(answers) == [
        "good bye -> GOOD BYE",
        "hello -> HELLO",
        "who is there -> WHO IS THERE",
    ]
    assert last == "stop -> STOP"
    assert finish(service) == ""


def test_gather(port: int) -> None:
    """A question to all is answered by all."""
    assert finish(start("gather.py", port)) == "there are ann, bob, cleo\n"


def test_workers(port: int) -> None:
    """Workers keep each customer's orders in order, and refuse what they must."""
    *lines, last = [
        line for line in finish(start("workers.py", port)).splitlines() if " refused:" not in line
    ]
    assert [line for line in lines if line.startswith("ann")] == [
        *("ann 1", "ann 2", "ann 3"),
        "ann the last",
    ]
    assert "bob 1" in lines
    assert last == "5 processed, 1 refused"


def test_worker(port: int) -> None:
    """A worker tries again, rejects, serves the first queue first, and leaves when all is done."""
    stomp = Stomp(port)
    for name in ("notes.txt", "cat.gif"):
        stomp("-q", "send", "/queue/thumbs.now", name)
    stomp("-q", "send", "/queue/thumbs.later", "dog.gif")
    assert finish(start("worker.py", port)).splitlines() == [
        "notes.txt: failed rejected: no picture",
        "cat.gif: requeued OSError: no room left",
        "resized cat.gif",
        "cat.gif: done",
        "resized dog.gif",
        "dog.gif: done",
        "2 done, 1 failed, 1 requeued",
    ]


def test_failover() -> None:
    """When the first broker goes, the second gets what the first has not confirmed."""
    with running_stompd() as second:
        with running_stompd() as first:
            sender = start("failover.py", first, str(second))
            assert sender.stdout is not None
            assert sender.stdout.readline() == "sending\n"
        out = finish(sender)
    assert "going on with another broker\n0 unconfirmed, " in out


@pytest.mark.needs_tool("openssl")
def test_secure(tmp_path: Path) -> None:
    """The broker that the authority vouches for is believed, another one is not."""
    for name, expected in (
        ("localhost", "the broker is who it says it is\n"),
        ("other.example", "its certificate is not trusted: Hostname mismatch"),
    ):
        certificate = Certificate(tmp_path, name, f"DNS:{name}")
        out: list[str] = []

        async def run(certificate: Certificate = certificate, out: list[str] = out) -> None:
            async with listening(polite, certificate) as port:
                example = start("secure.py", port, certificate.cert, host="localhost")
                out.append(await trio.to_thread.run_sync(finish, example))

        trio.run(run)
        assert expected in out[0]


def test_traced(port: int) -> None:
    """What is sent within a trace is taken within it."""
    assert finish(start("traced.py", port)) == "the same trace\n"


def test_every_example_is_tested_and_listed() -> None:
    """No example is left out of the tests or of the table of contents, and each explains itself."""
    found = {path.name for path in EXAMPLES.glob("*.py") if not path.match("test_*")}
    assert found == TESTED
    contents = (EXAMPLES / "README.md").read_text()
    for name in found:
        assert f"]({name})" in contents
        text = (EXAMPLES / name).read_text()
        assert ast.get_docstring(ast.parse(text))
        assert 10 <= len(text.splitlines()) <= 40
