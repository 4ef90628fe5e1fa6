"""`stomp bridge`: messages forwarded to another broker, none lost, none without need twice."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment, running_stompd
from client.test_worker import read_until, working

from stompcli.client.testing import Script, ScriptedBroker


@pytest.fixture(scope="module")
def other() -> Iterator[Stomp]:
    """The program against another broker."""
    with running_stompd() as port:
        yield Stomp(port)


def url(stomp: Stomp) -> str:
    """Return where a broker is."""
    return f"stomp://127.0.0.1:{stomp.port}"


def test_forwards(stomp: Stomp, other: Stomp, queue: str) -> None:
    """Messages leave one broker and are at the other one, unchanged but for a wished header."""
    stomp("-q", "send", queue, "one", "-H", "kind:a", "-H", "k:old", "-t", "text/x")
    stomp("-q", "send", queue, "-", stdin=b"\xff\0")
    words = ("-n", "2", "-H", "k:new")
    done = stomp("bridge", "-", queue, url(other), f"{queue}.there", *words)
    assert (done.code, done.out) == (0, b"")
    notices = [line[9:] for line in done.err.splitlines()]
    assert notices == [
        f"forwarding {queue} of localhost:{stomp.port} to {queue}.there of 127.0.0.1:{other.port}",
        "forwarded 2 messages",
    ]
    one, two = other("subscribe", f"{queue}.there", "-n", "2", "--json").out.splitlines()
    headers = json.loads(one)["headers"]
    assert (headers["kind"], headers["k"], headers["content-type"]) == ("a", "new", "text/x")
    assert json.loads(two)["body_base64"] == "/wA="
    assert stomp("browse", queue).out == b""


def test_in_transactions(stomp: Stomp, other: Stomp, queue: str) -> None:
    """--tx forwards so many at once, the rest at the end; --idle ends it."""
    stomp("-q", "send", queue, "--lines", stdin=b"1\n2\n3\n4\n5\n")
    done = stomp("bridge", url(stomp), queue, url(other), queue, "--tx", "2", "--idle", "1s")
    assert done.err.endswith("forwarded 5 messages\n")
    assert other("subscribe", queue, "-n", "5").out == b"1\n2\n3\n4\n5\n"


def test_own_destinations(stomp: Stomp, other: Stomp, queue: str) -> None:
    """= keeps each message's destination, or what --map makes of it."""
    for part in ("a", "b"):
        stomp("-q", "send", f"{queue}.{part}", part)
    words = ("-n", "2", "--map", "s,^/queue/(.*),/queue/far.\\1,")
    assert stomp("bridge", "-", f"{queue}.*", url(other), "=", *words).code == 0
    for part in ("a", "b"):
        far = f"{queue}.{part}".replace("/queue/", "/queue/far.")
        assert other("subscribe", far, "-n", "1").out == f"{part}\n".encode()


def test_no_loops(stomp: Stomp, other: Stomp, queue: str) -> None:
    """What has the mark was forwarded before, and goes no further."""
    stomp("-q", "send", queue, "new")
    stomp("-q", "send", queue, "old", "-H", "x-bridged:there")
    words = ("--idle", "1s", "--loop-header", "x-bridged")
    done = stomp("bridge", "-", queue, url(other), queue, *words)
    assert done.err.endswith("forwarded 1 message, 1 passed over (--loop-header)\n")
    (line,) = other("subscribe", queue, "-n", "1", "--json").out.splitlines()
    assert json.loads(line)["headers"]["x-bridged"] == f"localhost:{stomp.port}"


@pytest.mark.parametrize("words", [[], ["--tx", "10"]])
def test_what_cannot_be_sent(
    stomp: Stomp, other: Stomp, queue: str, words: list[str], tmp_path: Path
) -> None:
    """A message that the client refuses is NACKed with the reason; the others go on."""
    file = tmp_path / "x"
    file.write_text(f"SEND\ndestination:{queue}\ncontent-type:no type\n\nbad\0", encoding="utf-8")
    stomp("-q", "send", queue, "good")
    send_raw(stomp.port, file.read_bytes())
    done = stomp("bridge", "-", queue, url(other), queue, "--idle", "1s", *words)
    assert done.code == 3
    assert "forwarded 1 message, 5 refused" in done.err
    dead = queue.replace("/queue/", "/queue/DLQ.")
    (letter,) = stomp("browse", dead, "--json").out.splitlines()
    assert "is not type/subtype" in json.loads(letter)["headers"]["dead-letter-detail"]
    assert other("subscribe", queue, "-n", "1").out == b"good\n"


def send_raw(port: int, frame: bytes) -> None:
    """Send a frame as another client would."""

    async def main() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0" + frame)
            await stream.send_all(b"DISCONNECT\nreceipt:1\n\n\0")
            data = b""
            while b"RECEIPT" not in data:
                data += await stream.receive_some()

    trio.run(main)


def test_stopped(stomp: Stomp, other: Stomp, queue: str) -> None:
    """It stays until a signal, says how far it is, and ends well."""
    words = ("-", queue, url(other), queue, "--stats", "100ms")
    with working(stomp, *words, command="bridge") as process:
        read_until(process, "forwarding")
        stomp("-q", "send", queue, "x")
        read_until(process, "forwarded 1 message")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert other("subscribe", queue, "-n", "1").out == b"x\n"


async def between(source: Script, *targets: Script, words: tuple[str, ...] = ()) -> str:
    """Run a bridge between scripted brokers and return what it says; ``targets`` follow another."""
    scripts = list(targets)

    async def serve_source(stream: trio.SocketStream) -> None:
        async with stream:
            await source(ScriptedBroker(stream))

    async def serve_target(stream: trio.SocketStream) -> None:
        async with stream:
            await scripts.pop(0)(ScriptedBroker(stream))

    async with trio.open_nursery() as nursery:
        ports = []
        for serve in (serve_source, serve_target):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            ports.append(int(listeners[0].socket.getsockname()[1]))
            nursery.start_soon(trio.serve_listeners, serve, listeners)
        here, there = (f"stomp://127.0.0.1:{port}" for port in ports)
        argv = Stomp(1).argv("bridge", here, "/queue/a", there, "/queue/b", "-n", "1", *words)
        with trio.fail_after(60):
            done = await trio.run_process(argv, capture_stderr=True, env=environment(), check=False)
        nursery.cancel_scope.cancel()
    return f"{done.returncode} {done.stderr.decode()}"


async def test_acknowledged_when_confirmed() -> None:
    """The source hears of it only when the target has confirmed it, also over a lost connection."""
    confirmed = trio.Event()

    async def source(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(ack="client-individual"), b"x")
        await broker.expect("ACK", id="m1")
        assert confirmed.is_set()
        await broker.serve_end()

    async def breaking(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND", destination="/queue/b")

    async def steady(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND", destination="/queue/b", possible_duplicate="true")
        confirmed.set()
        await broker.receipt(frame)
        await broker.serve_end()

    assert "forwarded 1 message\n" in await between(source, breaking, steady)


async def test_refused_by_the_target() -> None:
    """A message that the target answers with ERROR is NACKed at the source; the bridge goes on."""

    async def source(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": "stompd/1"})
        await broker.message(await broker.subscribed(), b"x")
        await broker.expect("NACK", id="m1", reason="no such queue")
        await broker.serve_end()

    async def refusing(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND")
        receipt = frame.headers["receipt"]
        await broker.send("ERROR", {"message": "no such queue", "receipt-id": receipt})

    async def steady(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.serve_end()

    said = await between(source, refusing, steady)
    assert said.startswith("3 ")
    assert "forwarded 0 messages, 1 refused\n" in said


async def test_transaction_over_a_lost_connection() -> None:
    """What a lost connection has undone is sent again, what it may have done is said."""

    async def source(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"x")
        await broker.expect("ACK", id="m1")
        await broker.serve_end()

    async def breaking(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        await broker.expect("SEND", destination="/queue/b")
        await broker.expect("COMMIT")

    async def steady(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("BEGIN")
        await broker.expect("SEND", destination="/queue/b")
        await broker.serve_end()

    said = await between(source, breaking, steady, words=("--tx", "5"))
    assert "forwarded 1 message, 1 perhaps twice\n" in said


@pytest.mark.parametrize(
    ("words", "code", "err"),
    [
        (
            ["-", "/queue/a", "-", "/queue/b", "--map", "s/a/b/"],
            2,
            "--map is for the destination =",
        ),
        (["-", "/queue/a", "-", "=", "--map", "a/b"], 2, "is not s/A/B/"),
        (["-", "/queue/a", "-", "=", "--map", "s/(/b/"], 2, "--map: "),
        (["-", "/queue/a", "-", "=", "--map", "s/a/\\1/"], 2, "--map: invalid group reference"),
        (["nowhere", "/queue/a", "-", "/queue/b"], 2, "nowhere"),
        (["-", "/queue/a", "stomp://127.0.0.1:1", "/queue/b"], 69, "connection refused"),
    ],
)
def test_usage(stomp: Stomp, words: list[str], code: int, err: str) -> None:
    """Mistakes are said in words."""
    done = stomp("bridge", *words)
    assert (done.code, err in done.err) == (code, True), done.err


def test_version_1_0(stomp: Stomp, other: Stomp) -> None:
    """1.0 has no NACK for what the target refuses."""
    done = stomp("-S", "1.0", "bridge", "-", "/queue/a", url(other), "/queue/b")
    assert done.code == 2
    assert "a bridge takes from STOMP 1.1 or 1.2" in done.err
