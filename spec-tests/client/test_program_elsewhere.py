"""The commands of the `stomp` program that any broker understands, against RabbitMQ and ActiveMQ.

Opt-in, as test_other_brokers, whose brokers these are.
"""

import json
import subprocess
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment
from client.test_other_brokers import queue, url

from stompcli.exitcodes import ExitCode

__all__ = ["queue", "url"]

pytestmark = [pytest.mark.other_broker, pytest.mark.slow]


class Elsewhere(Stomp):
    """The program with that broker as its default."""

    def __init__(self, url: str) -> None:
        super().__init__(0)
        self._place = ("-u", url)


@pytest.fixture
def product(url: str, request: pytest.FixtureRequest) -> str:
    """The name of the broker."""
    del url
    name: str = request.node.callspec.params["url"]
    return name


@pytest.fixture
def place(url: str, product: str) -> str:
    """The broker's URL with its virtual host, which is not the name of the machine."""
    return f"{url}/%2F" if product == "RabbitMQ" else url


@pytest.fixture
def stomp(place: str) -> Stomp:
    """The program against that broker."""
    return Elsewhere(place)


def test_send_and_receive(stomp: Stomp, queue: str) -> None:
    """Bodies come back as they were, alone, by the line, and in transactions."""
    body = bytes(range(256))
    assert stomp("send", queue, "-", stdin=body).code == 0
    assert stomp("subscribe", queue, "-n", "1", "--raw").out == body
    done = stomp("send", queue, "--lines", "--tx", "2", stdin=b"1\n2\n3\n")
    assert "(transactions 2/2" in done.err
    assert stomp("subscribe", queue, "-n", "2").out == b"1\n2\n"
    assert stomp("subscribe", queue, "-n", "1", "--ack", "client").out == b"3\n"


def test_drain_is_guessed(stomp: Stomp, queue: str) -> None:
    """What its queues hold it does not tell, so that a second of quiet has to do."""
    stomp("send", queue, "x", "-n", "50")
    done = stomp("subscribe", queue, "--drain")
    assert (done.code, done.out) == (0, b"x\n" * 50)
    assert "does not tell what its queues hold" in done.err


def test_headers_and_files(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """Headers with colons and line feeds, and files, arrive as they were sent."""
    stomp("send", "--template", queue, "-H", "x:a:b\nc {n}", "body {n}")
    message = json.loads(stomp("subscribe", queue, "-n", "1", "--json").out)
    assert (message["headers"]["x"], message["body"]) == ("a:b\nc 1", "body 1")
    (tmp_path / "file").write_bytes(b"\0\xff")
    stomp("sendfile", queue, str(tmp_path / "file"))
    stomp("subscribe", queue, "-n", "1", "--save-files", str(tmp_path / "saved"))
    assert (tmp_path / "saved" / "file").read_bytes() == b"\0\xff"


def test_ping_and_contexts(stomp: Stomp, place: str, product: str, tmp_path: Path) -> None:
    """It can be measured, kept under a name, and tried."""
    assert f"connected to {product}/" in stomp("ping", "-c", "1").text
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert Stomp(0)("context", "add", "it", "--from-url", place, env=env).code == 0
    assert f"it: connected to {product}/" in Stomp(0)("context", "test", "it", env=env).text


def test_refused_login(place: str) -> None:
    """A wrong password is 77."""
    done = Stomp(0)("-u", place, "-U", "nobody", "-W", "wrong", "ping")
    assert done.code == ExitCode.REFUSED, done.err


def test_what_needs_stompd(stomp: Stomp) -> None:
    """Listings say that they need stompd."""
    done = stomp("queues")
    assert done.code == ExitCode.FAILED
    assert "queues needs stompd" in done.err


def test_group(stomp: Stomp, product: str, queue: str) -> None:
    """RabbitMQ shares a topic among a group, each message for one of it."""
    topic = queue.replace("/queue/", "/topic/")
    words = ["subscribe", topic, "--group", queue.rpartition("/")[2], "-n", "3"]
    if product != "RabbitMQ":
        assert "--group needs stompd or RabbitMQ" in stomp(*words).err
        return
    both = [
        subprocess.Popen(
            stomp.argv(*words, "--timeout", "60"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stderr is not None
        assert b"subscribed to" in process.stderr.readline()
    stomp("send", topic, "--lines", stdin=b"".join(b"%d\n" % n for n in range(6)))
    shown = [process.communicate(timeout=90)[0].split() for process in both]
    assert sorted(shown[0] + shown[1]) == [b"%d" % n for n in range(6)]
    assert [len(one) for one in shown] == [3, 3]


async def test_wiretap(stomp: Stomp, place: str, queue: str) -> None:
    """A session passes through the tap, and is shown without its password."""
    process = await trio.lowlevel.open_process(
        stomp.argv("wiretap", "--listen", ":0", "-n", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    assert process.stdout is not None
    line = bytes(await process.stderr.receive_some())
    port = int(line.split(b"127.0.0.1:")[1].split(b",")[0])
    login, _, rest = place.partition("://")[2].partition("@")
    host = rest.partition("/")[1] + rest.partition("/")[2]
    through = Stomp(0)
    tapped = f"stomp://{login}@127.0.0.1:{port}{host}"
    done = await trio.to_thread.run_sync(lambda: through.run("-u", tapped, "send", queue, "hi"))
    assert done.code == 0, done.err
    shown = b""
    while data := await process.stdout.receive_some():
        shown += data
    await process.wait()
    text = shown.decode()
    assert "CONNECT\\n" in text
    assert "RECEIPT\\n" in text
    assert "passcode:***" in text
