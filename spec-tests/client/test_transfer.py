"""move, copy and dlq requeue with brokers that do not do it themselves: through the program."""

from collections import Counter
from typing import Any

import pytest
from client.admin_broker import AdminBroker, running_admin_broker
from client.programs import Stomp
from client.terminal import Terminal

from stompcli.admin import Outcome
from stompcli.client import connect
from stompcli.client.testing import ClientFrame, ScriptedBroker
from stompcli.commands.transfer import Job, through_here
from stompcli.exitcodes import ExitCode


def messages(count: int, **headers: str) -> Any:  # noqa: ANN401 - a script for a SUBSCRIBE
    """Return what sends so many messages to who subscribes."""

    async def send(broker: ScriptedBroker, subscription: ClientFrame) -> None:
        for n in range(1, count + 1):
            await broker.message(
                subscription,
                b"body %d" % n,
                message_id=f"m{n}",
                content_type="text/x",
                redelivered="true",
                x=str(n),
                **headers,
            )
        if subscription.headers.get("browser") == "true":
            await broker.message(subscription, message_id="0", browser="end")

    return send


def commands(broker: AdminBroker) -> Counter[str]:
    """Return how many frames of each kind came."""
    return Counter(frame.command for frame in broker.frames)


def sent(broker: AdminBroker) -> list[tuple[str, bytes]]:
    """Return what was sent on, and where to."""
    return [(f.headers["destination"], f.body) for f in broker.frames if f.command == "SEND"]


def test_move_in_transactions() -> None:
    """Each message is sent and acknowledged in one transaction, so many in each."""
    with running_admin_broker(server="RabbitMQ/3.12", on_subscribe=messages(5)) as broker:
        stomp = Stomp(broker.port)
        finished = stomp("move", "/queue/a", "/queue/b", "--tx", "2", "-y", "--selector", "x > 0")
        assert (finished.code, finished.out) == (0, b"")
        assert finished.err == "Moved 5 messages from /queue/a to /queue/b\n"
    subscribe, *frames = broker.frames
    assert subscribe.headers.items() >= {
        ("destination", "/queue/a"),
        ("ack", "client-individual"),
        ("prefetch-count", "2"),
        ("selector", "x > 0"),
    }
    steps = [(frame.command, frame.headers["transaction"]) for frame in frames]
    pair = ["SEND", "ACK"]
    expected = ["BEGIN", *pair, *pair, "COMMIT"]
    assert [command for command, _ in steps] == [*expected, *expected, "BEGIN", *pair, "COMMIT"]
    assert len({name for _, name in steps}) == 3
    assert [frame.headers["id"] for frame in frames if frame.command == "ACK"] == [
        "m1", "m2", "m3", "m4", "m5",
    ]  # fmt: skip
    first = frames[1]
    assert first.body == b"body 1"
    assert {name: first.headers[name] for name in ("destination", "content-type", "x")} == {
        "destination": "/queue/b",
        "content-type": "text/x",
        "x": "1",
    }
    assert {"redelivered", "message-id", "subscription", "ack"}.isdisjoint(first.headers)


def test_move_a_few() -> None:
    """-n takes no more than it says, and asks for no more to be sent ahead."""
    with running_admin_broker(server="ActiveMQ/6.1", on_subscribe=messages(5)) as broker:
        finished = Stomp(broker.port)("move", "/queue/a", "/queue/b", "-n", "3", "-y", "--json")
        assert finished.out == b'{"destination":"/queue/a","done":3,"failed":0,"reasons":[]}\n'
        assert broker.frames[0].headers["activemq.prefetchSize"] == "3"
    assert commands(broker) == {"SUBSCRIBE": 1, "BEGIN": 1, "SEND": 3, "ACK": 3, "COMMIT": 1}


def test_version_1_0_passes_nothing_over() -> None:
    """Its ACK settles all earlier messages: the first one that cannot go on ends the work."""
    with running_admin_broker(server="old/1", on_subscribe=messages(3)) as broker:
        stomp = Stomp(broker.port)
        words = ("-S", "1.0", "dlq", "requeue", "/queue/DLQ", "-y")
        assert "STOMP 1.0 cannot pass over" in stomp(*words, "m2").err
        finished = stomp(*words, "--all")
        assert finished.code == ExitCode.PARTIAL
        assert finished.err.startswith("Requeued 0; 1 failed")
        assert commands(broker) == {"SUBSCRIBE": 1}


def test_move_in_version_1_0() -> None:
    """STOMP 1.0 has only the cumulative mode."""
    with running_admin_broker(server="old/1", on_subscribe=messages(1)) as broker:
        stomp = Stomp(broker.port)
        assert stomp("-S", "1.0", "move", "/queue/a", "/queue/b", "-y", "-n", "1").code == 0
        assert broker.frames[0].headers["ack"] == "client"
        assert commands(broker)["ACK"] == 1


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ([], "Move all messages from /queue/a to /queue/b? [y/N] "),
        (["-n", "2"], "Move up to 2 messages from /queue/a to /queue/b? [y/N] "),
        (["--selector", "x"], "Move the messages that match from /queue/a to /queue/b? [y/N] "),
    ],
)
def test_move_asks(words: list[str], question: str) -> None:
    """What nobody can count beforehand is asked about in words; no is no."""
    with running_admin_broker(server="RabbitMQ/3.12", on_subscribe=messages(1)) as broker:
        terminal = Terminal(Stomp(broker.port), "move", "/queue/a", "/queue/b", *words)
        terminal.answer(question, "n")
        assert terminal.end() == ExitCode.FAILED
        assert broker.frames == []


def test_requeue_through_here() -> None:
    """A dead letter goes where it came from; one that does not say stays, and counts as failed."""
    letters = messages(2, original_destination="/queue/orders")
    with running_admin_broker(server="Other/1", on_subscribe=letters) as broker:
        finished = Stomp(broker.port)("dlq", "requeue", "/queue/DLQ", "--all", "-y")
        assert (finished.code, finished.err) == (0, "Requeued 2 messages from /queue/DLQ\n")
        assert sent(broker) == [("/queue/orders", b"body 1"), ("/queue/orders", b"body 2")]
        assert "prefetch-count" not in broker.frames[0].headers
    with running_admin_broker(server="ActiveMQ/6.1", on_subscribe=messages(2)) as broker:
        finished = Stomp(broker.port)("dlq", "requeue", "/queue/DLQ", "--all", "-y")
        assert finished.code == ExitCode.PARTIAL
        assert finished.err == (
            "Requeued 0; 2 failed and stay in /queue/DLQ (no original-destination header)\n"
        )
        assert commands(broker) == {"SUBSCRIBE": 1}
        assert broker.frames[0].headers["activemq.prefetchSize"] == "32766"


def test_a_message_that_cannot_be_sent_stays() -> None:
    """One with a header that no program can write counts as failed, and the others go on."""

    async def send(broker: ScriptedBroker, subscription: ClientFrame) -> None:
        await broker.message(subscription, b"1", message_id="m1", id="7")
        await broker.message(subscription, b"2", message_id="m2")

    with running_admin_broker(server="Other/1", on_subscribe=send) as broker:
        finished = Stomp(broker.port)("move", "/queue/a", "/queue/b", "-y")
        assert finished.code == ExitCode.PARTIAL
        assert finished.err.startswith('Moved 1; 1 failed and stays in /queue/a (the header "id" ')
        assert sent(broker) == [("/queue/b", b"2")]
        assert [frame.headers["id"] for frame in broker.frames if frame.command == "ACK"] == ["m2"]


def test_requeue_some_through_here() -> None:
    """Message-ids choose; one that does not come counts as failed."""
    with running_admin_broker(server="Other/1", on_subscribe=messages(3)) as broker:
        stomp = Stomp(broker.port)
        words = ("dlq", "requeue", "/queue/DLQ", "--to", "/queue/b", "-y")
        assert stomp(*words, "m3", "m1").code == 0
        assert sent(broker) == [("/queue/b", b"body 1"), ("/queue/b", b"body 3")]
        finished = stomp(*words, "m2", "m9")
        assert finished.code == ExitCode.PARTIAL
        assert finished.err == "Requeued 1; 1 failed and stays in /queue/DLQ (not there)\n"


def test_requeue_asks() -> None:
    """The question names how many message-ids were given."""
    with running_admin_broker(server="Other/1") as broker:
        terminal = Terminal(Stomp(broker.port), "dlq", "requeue", "/queue/DLQ", "m1", "m2")
        terminal.answer(
            "Requeue 2 messages from /queue/DLQ to their original destinations? [y/N] ", "n"
        )
        assert terminal.end() == ExitCode.FAILED


def test_copy_from_activemq() -> None:
    """ActiveMQ is looked at, and what is seen is sent in transactions; nothing is acknowledged."""
    with running_admin_broker(server="ActiveMQ/6.1", on_subscribe=messages(3)) as broker:
        stomp = Stomp(broker.port)
        finished = stomp("copy", "/queue/a", "/queue/b", "--tx", "2", "--selector", "x > 0")
        assert (finished.code, finished.err) == (0, "Copied 3 messages from /queue/a to /queue/b\n")
        assert commands(broker) == {"SUBSCRIBE": 1, "BEGIN": 2, "SEND": 3, "COMMIT": 2}
        assert broker.frames[0].headers.items() >= {("browser", "true"), ("selector", "x > 0")}
        broker.frames.clear()
        assert stomp("-q", "copy", "/queue/a", "/queue/b", "-n", "1").err == ""
        assert sent(broker) == [("/queue/b", b"body 1")]


@pytest.mark.parametrize(
    ("server", "words", "complaint"),
    [
        ("RabbitMQ/3", ["copy", "/queue/a", "/queue/b"], "copy needs stompd or ActiveMQ"),
        (
            "ActiveMQ/6",
            ["copy", "/queue/a", "/queue/b", "--dry-run"],
            "copy --dry-run needs stompd",
        ),
        (
            "RabbitMQ/3",
            ["move", "/queue/a", "/queue/b", "--dry-run"],
            "move --dry-run needs stompd",
        ),
        (
            "RabbitMQ/3",
            ["dlq", "requeue", "/queue/a", "--older-than", "1", "-y"],
            "dlq requeue --older-than needs stompd",
        ),
        (
            "RabbitMQ/3",
            ["dlq", "requeue", "/queue/a", "--all", "--dry-run"],
            "dlq requeue --dry-run needs stompd",
        ),
        ("RabbitMQ/3", ["dlq", "requeue", "--all", "-y"], "name the dead-letter queue"),
    ],
)
def test_what_other_brokers_cannot_do(server: str, words: list[str], complaint: str) -> None:
    """It is said, and nothing is done."""
    with running_admin_broker(server=server) as broker:
        finished = Stomp(broker.port)(*words)
        assert finished.code in (ExitCode.FAILED, ExitCode.USAGE)
        assert complaint in finished.err
        assert broker.frames == []


def test_a_broker_that_refuses_half_way() -> None:
    """An ERROR ends the move; what was not committed is not said to be moved."""

    async def refuse(broker: ScriptedBroker, subscription: ClientFrame) -> None:
        await broker.message(subscription, b"x")
        await broker.expect("BEGIN")
        await broker.send("ERROR", {"message": "no room"})

    with running_admin_broker(server="Other/1", on_subscribe=refuse) as broker:
        finished = Stomp(broker.port)("move", "/queue/a", "/queue/b", "-y")
        assert finished.code == ExitCode.FAILED
        assert finished.err == "stomp: the broker answered ERROR: no room\n"


async def test_through_here_with_a_real_broker(stompd: int, queue: str) -> None:
    """Nothing is lost, doubled or out of order, and what was passed over is still there."""
    address = f"stomp://localhost:{stompd}"
    other = f"{queue}.2"
    async with connect(address) as client:
        for n in range(5):
            await client.send(queue, str(n), headers={"n": str(n)}, receipt=True)
        outcome = await through_here(client, Job(queue, other, 3, None), 2)
        assert outcome == Outcome(3, 0, ())
        outcome = await through_here(client, Job(queue, None, None, None), 2)
        assert outcome == Outcome(0, 2, ("no original-destination header",))
    async with connect(address) as client:
        for name, bodies in ((other, "012"), (queue, "34")):
            async with client.subscribe(name) as received:
                for body in bodies:
                    message = await received.receive()
                    assert (message.text, message.headers["n"]) == (body, body)
                assert received.receive_nowait() is None
