"""Workers in Python: functions in tasks and threads, and how they refuse their messages."""

import functools
import signal
import threading

import pytest
import trio
from client.test_worker_engine import HIGH, Shop
from trio.testing import MockClock

import stompcli.worker
from stompcli.client import Message, RejectError, connect, connect_stream
from stompcli.client.testing import on_stream
from stompcli.worker import Command, Event, Function, Worker, run, work


def test_public_names() -> None:
    """The package offers these names, and no other."""
    assert sorted(stompcli.worker.__all__) == [
        *("Command", "CommandError", "Event", "Function", "Job", "Outcome", "RejectError"),
        *("Worker", "WorkerOptions", "run", "work"),
    ]


class Callable:
    """An object that can be awaited."""

    async def __call__(self, message: Message) -> str:
        """Answer."""
        await trio.lowlevel.checkpoint()
        return message.text.upper()


async def asynchronous(message: Message) -> bytes:
    """Answer from a task."""
    await trio.lowlevel.checkpoint()
    assert threading.current_thread() is threading.main_thread()
    return message.body.upper()


def synchronous(message: Message) -> str:
    """Answer from a thread."""
    assert threading.current_thread() is not threading.main_thread()
    return message.text.upper()


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (asynchronous, "application/octet-stream"),
        (synchronous, "text/plain"),
        (functools.partial(synchronous), "text/plain"),
        (functools.partial(asynchronous), "application/octet-stream"),
        (Callable(), "text/plain"),
    ],
)
async def test_functions(function: Function, kind: str) -> None:
    """Both kinds of functions work, in whatever shape; what they return is the answer."""
    shop = Shop(high=["x"])
    shop.headers = {"x": {"reply_to": "/queue/answers"}}
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = await work(client, HIGH, function, burst=True, reply=True)
    assert worker.done == 1
    (answer,) = [
        frame for frame in shop.frames if frame.headers.get("destination") == "/queue/answers"
    ]
    assert (answer.body, answer.headers["content-type"]) == (b"X", kind)


async def test_what_is_no_answer(autojump_clock: MockClock) -> None:  # noqa: ARG001 - it is in force
    """Only octets and text are answers; without ``reply`` nobody looks at what is returned."""

    async def count(message: Message) -> int:
        await trio.lowlevel.checkpoint()
        return len(message.body)

    shop = Shop(high=["x"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = await work(client, [HIGH], count, burst=True, reply=True)
    assert worker.failed == 1
    assert shop.one("NACK")["reason"] == ("TypeError: an answer is bytes, text or None, not int")
    shop = Shop(high=["x"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = await work(client, [HIGH], count, burst=True)
    assert worker.done == 1


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (ValueError("no\nmore"), {"reason": "ValueError: no"}),
        (ValueError(), {"reason": "ValueError"}),
        (RejectError("bad"), {"reason": "rejected: bad"}),
        (RejectError("bad", requeue=False), {"reason": "rejected: bad", "requeue": "false"}),
        (
            RejectError("busy", requeue=True),
            {"reason": "rejected: busy", "requeue": "true", "delay": "5000"},
        ),
        (
            RejectError("busy", delay=0.25),
            {"reason": "rejected: busy", "requeue": "true", "delay": "250"},
        ),
    ],
)
async def test_refusals(
    error: Exception,
    headers: dict[str, str],
    autojump_clock: MockClock,  # noqa: ARG001 - as above
) -> None:
    """What a function raises refuses its message, in the way that `RejectError` says."""

    async def refuse(message: Message) -> None:  # noqa: ARG001 - it refuses any
        await trio.lowlevel.checkpoint()
        raise error

    shop = Shop(high=["x"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        await work(client, [HIGH], refuse, burst=True)
    assert shop.one("NACK") == {"id": "x", **headers}


async def test_a_thread_that_takes_too_long() -> None:
    """It cannot be ended, so it is given up; the next job has another thread."""
    go = threading.Event()

    def hang(message: Message) -> None:
        if message.text == "1":
            go.wait(60)

    shop = Shop(high=["1", "2"])
    told: list[Event] = []
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = await work(
            client, [HIGH], hang, tell=told.append, burst=True, job_timeout=0.05, on_fail="ack"
        )
    go.set()
    assert shop.settled() == ["1", "2"]
    assert (worker.failed, worker.done) == (1, 1)
    assert [event.kind for event in told] == [
        *("listening", "begun", "failed", "begun", "done", "finished"),
    ]


async def test_beside_others(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A worker may be started in a nursery, and stopped from there."""
    shop = Shop(high=["1"])
    async with (
        on_stream(shop) as stream,
        connect_stream(stream) as client,
        trio.open_nursery() as nursery,
    ):
        worker = await nursery.start(work, client, HIGH, asynchronous)
        await trio.sleep(1)
        worker.stop()
    assert worker.done == 1
    assert repr(worker).startswith("<Worker ")


async def test_a_command(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Instead of a function it may be a command."""
    async with on_stream(Shop()) as stream, connect_stream(stream) as client:
        worker = Worker(client, HIGH, Command(("cat",)), burst=True)
        await worker.work()
    assert worker.reason == "no more work, burst finished"


async def send(port: int, queue: str, *bodies: str) -> None:
    """Send some messages."""
    async with connect(f"stomp://127.0.0.1:{port}") as client:
        for body in bodies:
            await client.send(queue, body, receipt=True)


def test_run(stompd: int, queue: str) -> None:
    """A whole program: connect, work, leave when there is no more."""
    trio.run(send, stompd, queue, "a", "b")
    bodies = []

    def keep(message: Message) -> None:
        bodies.append(message.text)

    worker = run(f"stomp://127.0.0.1:{stompd}", queue, keep, burst=True, name="w")
    assert (bodies, worker.done, worker.name) == (["a", "b"], 2, "w")


def test_run_with_a_command(stompd: int, queue: str) -> None:
    """A program of its own for each message, from Python."""
    trio.run(send, stompd, queue, "a")
    worker = run(f"stomp://127.0.0.1:{stompd}", queue, Command(("true",)), burst=True)
    assert worker.done == 1


def test_signals(stompd: int, queue: str) -> None:
    """The first signal lets a job finish, a second one breaks it off."""
    trio.run(send, stompd, queue, "a")

    async def finish(message: Message) -> None:  # noqa: ARG001 - any message will do
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(0.05)

    async def hang(message: Message) -> None:  # noqa: ARG001 - any message will do
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(0.05)
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    worker = run(f"stomp://127.0.0.1:{stompd}", queue, finish)
    assert (worker.reason, worker.done) == ("stopped", 1)
    trio.run(send, stompd, queue, "b")
    worker = run(f"stomp://127.0.0.1:{stompd}", queue, hang)
    assert (worker.reason, worker.requeued) == ("stopped at once", 1)
