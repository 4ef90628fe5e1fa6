"""The engine of workers, seen from the wire: order, concurrency, settling, and when it ends."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Unpack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import (
    Client,
    ConnectionLostError,
    Reconnect,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ClientFrame, Script, ScriptedBroker, on_dial, on_stream
from stompcli.worker.engine import Engine
from stompcli.worker.job import Event, Job
from stompcli.worker.settings import WorkerOptions
from stompcli.worker.verdict import Outcome

STOMPD = "stompd/1"
HIGH, LOW = "/queue/high", "/queue/low"


class Shop:
    """A broker with queues of texts: each subscription gets as many ahead as it asks for.

    It keeps every frame in ``frames``. ``ready`` says what `queues` tells of a queue instead of the
    truth, ``refusal`` is the answer to that question, if it is none.
    """

    def __init__(self, server: str = STOMPD, **queues: list[str]) -> None:
        self.server = server
        self.queues = {f"/queue/{name}": list(texts) for name, texts in queues.items()}
        self.frames: list[ClientFrame] = []
        self.ready: dict[str, int] = {}
        self.refusal: bytes | None = None
        self.headers: dict[str, Mapping[str, str]] = {}
        self.asked = 0

    async def __call__(self, broker: ScriptedBroker) -> None:
        """Be the broker's side of one connection."""
        await broker.accept(headers={"server": self.server})
        subscriptions: dict[str, ClientFrame] = {}
        unsettled: dict[str, str] = {}

        async def deliver() -> None:
            for destination, frame in subscriptions.items():
                left = self.queues.setdefault(destination, [])
                held = sum(place == destination for place in unsettled.values())
                while left and held < int(frame.headers.get("prefetch-count", "1000")):
                    text = left.pop(0)
                    unsettled[text] = destination
                    held += 1
                    more = self.headers.get(text, {})
                    await broker.message(frame, text.encode(), message_id=text, **more)

        while True:
            frame = await broker.next()
            self.frames.append(frame)
            destination = frame.headers.get("destination", "")
            if frame.command == "SUBSCRIBE" and destination.startswith("/queue/"):
                subscriptions[destination] = frame
            if "receipt" in frame.headers:
                await broker.receipt(frame)
            if frame.command == "SUBSCRIBE" and destination.startswith("/temp-queue/"):
                answers = frame
            if destination == "/admin/queues":
                await self._answer(broker, answers, frame)
            if frame.command in ("ACK", "NACK"):
                unsettled.pop(frame.headers["id"])
            if frame.command == "DISCONNECT":
                return
            await deliver()

    async def _answer(
        self, broker: ScriptedBroker, answers: ClientFrame, frame: ClientFrame
    ) -> None:
        self.asked += 1
        match = json.loads(frame.body)["match"]
        ready = self.ready.get(match, len(self.queues.get(match, [])))
        result = {"ok": True, "result": [{"name": match, "ready": ready}]}
        body = json.dumps(result).encode() if self.refusal is None else self.refusal
        correlation = frame.headers["correlation-id"]
        await broker.message(answers, body, correlation_id=correlation)

    def settled(self) -> list[str]:
        """Return what was acknowledged, and with a minus what was refused, as it came."""
        return [
            ("" if frame.command == "ACK" else "-") + frame.headers["id"]
            for frame in self.frames
            if frame.command in ("ACK", "NACK")
        ]

    def one(self, command: str, **headers: str) -> dict[str, str]:
        """Return the headers of the only frame like this, without its receipt."""
        (found,) = [
            frame.headers
            for frame in self.frames
            if frame.command == command
            and all(frame.headers.get(name) == value for name, value in headers.items())
        ]
        return {name: value for name, value in found.items() if name != "receipt"}


Run = Callable[[Job], Awaitable[Outcome]]


async def fine(job: Job) -> Outcome:  # noqa: ARG001 - a job is what it is given
    """Do nothing, well."""
    await trio.lowlevel.checkpoint()
    return Outcome("done")


async def endless(job: Job) -> Outcome:  # noqa: ARG001 - as above
    """Never end."""
    await trio.sleep_forever()
    raise AssertionError


def failing(outcome: Outcome, texts: str = "") -> Run:
    """Return a job that comes to this for these texts, or for all, and else goes well."""

    async def run(job: Job) -> Outcome:
        await trio.lowlevel.checkpoint()
        bad = not texts or job.message.text in texts
        return outcome if bad else Outcome("done")

    return run


async def at_work(
    shop: Script, *destinations: str, run: Run = fine, **options: Unpack[WorkerOptions]
) -> Engine:
    """Let a worker work on a broker until it stops by itself; its events are in ``told``."""
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = Watched(client, destinations or (HIGH,), run, **options)
        with trio.fail_after(1000):
            await worker.work()
        return worker


class Watched(Engine):
    """A worker, and what it has told."""

    def __init__(
        self,
        client: Client,
        destinations: Sequence[str],
        run: Run,
        **options: Unpack[WorkerOptions],
    ) -> None:
        self.told: list[Event] = []
        super().__init__(client, destinations, run, self.told.append, **options)


def texts(worker: Engine) -> list[str]:
    """Return what a worker has told in words."""
    assert isinstance(worker, Watched)
    return [event.text for event in worker.told if event.text]


# Order and concurrency.


async def test_strict_order(autojump_clock: MockClock) -> None:  # noqa: ARG001 - it is in force
    """The first destination that has a message is served first, as long as it has any."""
    shop = Shop(high=["h1", "h2", "h3"], low=["l1", "l2"])
    worker = await at_work(shop, HIGH, LOW, burst=True)
    assert shop.settled() == ["h1", "h2", "h3", "l1", "l2"]
    assert (worker.done, worker.failed, worker.requeued, worker.lost) == (5, 0, 0, 0)


async def test_round_robin(autojump_clock: MockClock) -> None:  # noqa: ARG001 - it is in force
    """The destinations take turns."""
    shop = Shop(high=["h1", "h2", "h3"], low=["l1", "l2"])
    await at_work(shop, HIGH, LOW, burst=True, order="round-robin")
    assert shop.settled() == ["h1", "l1", "h2", "l2", "h3"]


async def test_concurrency(autojump_clock: MockClock) -> None:  # noqa: ARG001 - it is in force
    """So many jobs run at once, and no more; the prefetch is the same."""
    shop = Shop(high=[str(number) for number in range(9)])
    busy = most = 0

    async def run(job: Job) -> Outcome:  # noqa: ARG001 - as above
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await trio.sleep(1)
        busy -= 1
        return Outcome("done")

    started = trio.current_time()
    worker = await at_work(shop, run=run, burst=True, concurrency=3)
    assert (worker.done, most) == (9, 3)
    assert trio.current_time() - started == pytest.approx(3.1, abs=0.05)
    assert shop.one("SUBSCRIBE", destination=HIGH) == {
        "id": "1",
        "destination": HIGH,
        "ack": "client-individual",
        "prefetch-count": "3",
    }


async def test_groups_are_kept_in_order(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Messages of one group are jobs one after the other; the others do not wait for them."""
    shop = Shop(high=["a1", "a2", "b", "a3"])
    shop.headers = {text: {"message_group": "a"} for text in ("a1", "a2", "a3")}
    ended = []

    async def run(job: Job) -> Outcome:
        await trio.sleep(3 if job.message.text.startswith("a") else 1)
        ended.append(job.message.text)
        return Outcome("done")

    await at_work(shop, run=run, burst=True, concurrency=4)
    assert ended == ["b", "a1", "a2", "a3"]


async def test_headers_of_subscribe(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A selector, and what else SUBSCRIBE shall say."""
    shop = Shop()
    await at_work(shop, burst=True, headers=[("selector", "a = 1")])
    assert shop.one("SUBSCRIBE")["selector"] == "a = 1"


# Settling.


async def test_plain_nack(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """By default the broker decides; it is told why."""
    shop = Shop(high=["1"])
    failed = Outcome("failed", "exit 1", "no", 1)
    worker = await at_work(shop, run=failing(failed), burst=True)
    assert shop.one("NACK") == {"id": "1", "reason": "exit 1: no"}
    assert worker.failed == 1


async def test_requeue_with_delay(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """The broker lets the message rest, if it is stompd."""
    shop = Shop(high=["1"])
    run = failing(Outcome("failed"))
    await at_work(shop, run=run, burst=True, on_fail="requeue", retry_delay=2.5)
    assert shop.one("NACK") == {"id": "1", "requeue": "true", "delay": "2500"}


async def test_last_attempt(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """After the last attempt it is dead-lettered, whatever the broker would do."""
    shop = Shop(high=["1", "2"])
    shop.headers = {"2": {"redelivered": "true", "delivery_count": "2"}}
    run = failing(Outcome("failed"))
    worker = await at_work(shop, run=run, burst=True, retries=2, retry_delay=0.0)
    assert shop.one("NACK", id="1") == {"id": "1", "requeue": "true", "delay": "0"}
    assert shop.one("NACK", id="2") == {"id": "2", "requeue": "false"}
    assert (worker.failed, worker.requeued) == (1, 1)


@pytest.mark.parametrize(
    ("server", "headers"),
    [("RabbitMQ/4", {"requeue": "true"}), ("ActiveMQ/6", {}), ("scripted", None)],
)
async def test_others_cannot_let_it_rest(
    server: str,
    headers: dict[str, str] | None,
    autojump_clock: MockClock,  # noqa: ARG001 - as above
) -> None:
    """Where the broker knows no delay the worker waits, and then NACKs in the broker's words."""
    shop = Shop(server, high=["1"])
    started = trio.current_time()
    run = failing(Outcome("again", "exit 75", status=75))
    worker = await at_work(shop, run=run, max_jobs=1, retry_delay=7.0)
    waited = trio.current_time() - started
    assert waited == pytest.approx(7 if headers is not None else 0, abs=0.1)
    wanted = {"requeue": "true", "delay": "7000", "reason": "exit 75"}
    assert shop.one("NACK") == {"id": "1", **(wanted if headers is None else headers)}
    assert worker.requeued == 1


async def test_dropped(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A failed job's message may be dropped."""
    shop = Shop(high=["1"])
    worker = await at_work(shop, run=failing(Outcome("failed")), burst=True, on_fail="ack")
    assert (shop.settled(), worker.failed) == (["1"], 1)


async def test_own_dead_letters(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A message goes to its dead letters with the reason, and out of its queue, or neither."""
    shop = Shop(high=["1"])
    shop.headers = {"1": {"content_type": "text/x", "kind": "k", "ttl": "9", "exit_status": "old"}}
    failed = Outcome("failed", "exit 4", "why", 4)
    await at_work(shop, run=failing(failed), burst=True, on_fail="dlq:/queue/dead", name="w")
    sent = shop.one("SEND", destination="/queue/dead")
    assert int(sent.pop("dead-letter-time")) > 1.7e12
    assert sent == {
        "destination": "/queue/dead",
        "content-type": "text/x",
        "content-length": "1",
        "kind": "k",
        "original-destination": HIGH,
        "dead-letter-reason": "rejected",
        "dead-letter-detail": "exit 4: why",
        "attempts": "1",
        "exit-status": "4",
        "worker": "w",
        "transaction": "tx-1",
    }
    assert shop.one("ACK") == {"id": "1", "transaction": "tx-1"}
    assert shop.one("COMMIT") == {"transaction": "tx-1"}


async def test_reply(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """The answer goes with the ACK; who asked for none, or whose job failed, gets none."""
    shop = Shop(high=["1", "2", "3"])
    asks = {"reply_to": "/queue/answers", "correlation_id": "7"}
    shop.headers = {"1": asks, "3": asks}

    async def run(job: Job) -> Outcome:
        await trio.lowlevel.checkpoint()
        ending = "failed" if job.message.text == "3" else "done"
        return Outcome(ending, output=b"out", content_type="text/x")  # type: ignore[arg-type] # it is one of them

    worker = await at_work(shop, run=run, burst=True, reply=True)
    assert shop.one("SEND", destination="/queue/answers") == {
        "destination": "/queue/answers",
        "content-type": "text/x",
        "content-length": "3",
        "correlation-id": "7",
        "transaction": "tx-1",
    }
    assert shop.one("ACK", id="1") == {"id": "1", "transaction": "tx-1"}
    assert shop.one("ACK", id="2") == {"id": "2"}
    assert isinstance(worker, Watched)
    assert [event.action for event in worker.told if event.action] == [
        *("reply, ACK", "ACK (no reply-to)", "NACK"),
    ]


async def test_dead_letter_that_cannot_be_sent(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """What the client refuses to send is NACKed with the reason, and the transaction undone."""
    shop = Shop(high=["1"])
    shop.headers = {"1": {"content_type": "no type"}}
    run = failing(Outcome("failed"))
    worker = await at_work(shop, run=run, burst=True, on_fail="dlq:/queue/dead")
    assert worker.failed == 1
    assert shop.one("ABORT") == {"transaction": "tx-1"}
    assert "is not type/subtype" in shop.one("NACK")["reason"]


# When it ends.


async def test_burst_asks_stompd(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """After 100 ms of quiet stompd is asked, ever less often; nothing ready is the end."""
    shop = Shop(high=["1"])
    shop.ready = {HIGH: 1}
    async with trio.open_nursery() as nursery:

        async def relent() -> None:
            await trio.sleep(10)
            shop.ready.clear()

        nursery.start_soon(relent)
        started = trio.current_time()
        worker = await at_work(shop, burst=True)
    assert 10 <= trio.current_time() - started < 11.5
    assert 10 <= shop.asked <= 16
    assert texts(worker)[1:] == [
        "messages wait that do not come to this worker; stomp explain DEST says why",
        "no more work, burst finished: 1 done, 0 failed, 0 requeued",
    ]


async def test_burst_waits_for_jobs(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """As long as a job runs the burst is not over, whatever the queue holds."""
    shop = Shop(high=["1"])

    async def run(job: Job) -> Outcome:
        await trio.sleep(100)
        if job.message.text == "1":
            shop.queues[HIGH].append("2")
        return Outcome("done")

    worker = await at_work(shop, run=run, burst=True)
    assert worker.done == 2


@pytest.mark.parametrize(
    ("server", "options", "destination", "why"),
    [
        ("scripted/1", {}, HIGH, "scripted/1 does not tell what its queues hold"),
        (
            STOMPD,
            {"headers": {"selector": "a = 1"}},
            HIGH,
            "what a selector leaves in a queue is no work for this worker",
        ),
        (STOMPD, {}, "/topic/a", "a topic holds nothing that could be counted"),
    ],
)
async def test_burst_by_idle_timer(
    server: str,
    options: WorkerOptions,
    destination: str,
    why: str,
    autojump_clock: MockClock,  # noqa: ARG001 - as above
) -> None:
    """Where nobody can tell, a second without a message ends it, and the output says so."""
    shop = Shop(server, high=["1"])
    started = trio.current_time()
    options["burst"] = True
    worker = await at_work(shop, destination, **options)
    assert trio.current_time() - started == pytest.approx(1, abs=0.1)
    assert shop.asked == 0
    assert texts(worker)[1] == f"{why}: the burst ends 1 s after the last job"
    assert texts(worker)[-1].startswith("no message for 1 s, burst finished: ")


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (b'{"ok":false,"error":{"message":"no right"}}', "no right"),
        (b"what?", "its answer is no JSON"),
        (b"[]", "its answer is none"),
        (b'{"result":[{}]}', "its answer is none"),
    ],
)
async def test_burst_where_stompd_does_not_tell(
    refusal: bytes,
    why: str,
    autojump_clock: MockClock,  # noqa: ARG001 - as above
) -> None:
    """A stompd that refuses the question is like any other broker."""
    shop = Shop(high=["1"])
    shop.refusal = refusal
    refused = "the broker does not tell what its queues hold"
    worker = await at_work(shop, burst=True)
    assert texts(worker)[1:] == [
        f"{refused}: {why}: the burst ends 1 s after the last job",
        "no message for 1 s, burst finished: 1 done, 0 failed, 0 requeued",
    ]


async def test_max_jobs(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """It leaves after so many jobs, and does not hold more than these."""
    shop = Shop(high=["1", "2", "3"])
    worker = await at_work(shop, max_jobs=2, concurrency=5)
    assert sorted(shop.settled()) == ["1", "2"]
    assert shop.one("SUBSCRIBE")["prefetch-count"] == "2"
    assert texts(worker)[-1] == ("2 jobs begun, as many as wanted: 2 done, 0 failed, 0 requeued")


async def test_max_idle(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """It leaves when no message came for so long, counted from the end of the last job."""
    shop = Shop(high=["1"])

    async def run(job: Job) -> Outcome:  # noqa: ARG001 - as above
        await trio.sleep(100)
        return Outcome("done")

    started = trio.current_time()
    worker = await at_work(shop, run=run, max_idle=30)
    assert trio.current_time() - started == pytest.approx(130, abs=0.1)
    assert texts(worker)[-1] == "no message for 30 s: 1 done, 0 failed, 0 requeued"


async def test_job_timeout(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A job that takes too long is broken off and has failed, for its last words."""
    shop = Shop(high=["1"])

    async def run(job: Job) -> Outcome:
        job.complain("still busy")
        await trio.sleep_forever()
        return Outcome("done")

    worker = await at_work(shop, run=run, burst=True, job_timeout=5)
    assert shop.one("NACK")["reason"] == "timed out after 5 s: still busy"
    assert worker.failed == 1


async def test_stop_finishes_jobs(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Stopped, it ends what runs and begins nothing more; nothing is unsubscribed meanwhile."""
    shop = Shop(high=["1", "2"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:

        async def run(job: Job) -> Outcome:  # noqa: ARG001 - as above
            worker.stop()
            worker.stop("a second reason")
            await trio.sleep(50)
            return Outcome("done")

        worker = Watched(client, [HIGH], run)
        await worker.work()
        assert worker.reason == "stopped"
        assert repr(worker) == (
            f"<Watched {worker.name!r}, stopped, 0 jobs, 1 done, 0 failed, 0 requeued>"
        )
    assert shop.settled() == ["1"]
    assert [frame.command for frame in shop.frames] == ["SUBSCRIBE", "ACK", "DISCONNECT"]


async def test_stop_ends_a_rest(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A message that rests here goes back at once when the worker stops."""
    shop = Shop("RabbitMQ/4", high=["1"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = Watched(client, [HIGH], failing(Outcome("again")), retry_delay=1000.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.work)
            await trio.sleep(10)
            worker.stop()
        assert worker.requeued == 1
    assert trio.current_time() < 100


async def test_abort_gives_messages_back(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Aborted, it breaks off what runs, and NACKs the messages of that."""
    shop = Shop(high=["1", "2", "3"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        worker = Watched(client, [HIGH], endless, concurrency=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.work)
            await wait_all_tasks_blocked()
            assert worker.busy == 2
            worker.abort()
        assert (worker.requeued, worker.failed) == (2, 0)
    assert sorted(shop.settled()) == ["-1", "-2"]
    assert shop.one("NACK", id="1") == {"id": "1", "reason": "stopped at once"}


async def test_abort_without_an_answer(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A broker that does not confirm the NACKs is not waited for."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"1")
        await broker.expect("NACK")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        worker = Watched(client, [HIGH], endless)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.work)
            await wait_all_tasks_blocked()
            worker.abort()
        assert worker.lost == 1
        assert worker.summary() == "0 done, 0 failed, 0 requeued, 1 lost"


# The connection.


def losing(text: str) -> Script:
    """Return a script that delivers a message and is gone."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": STOMPD})
        await broker.message(await broker.subscribed(id="1"), text.encode(), message_id=text)

    return script


async def test_connection_lost(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A job goes on while its connection is made again; its result is lost, and it comes again."""
    shop = Shop(high=["1"])

    async def run(job: Job) -> Outcome:  # noqa: ARG001 - as above
        await trio.sleep(20)
        return Outcome("done")

    async with (
        on_dial(losing("1"), OSError(), shop) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
    ):
        worker = Watched(client, [HIGH], run, max_jobs=2)
        await worker.work()
    assert (worker.done, worker.lost) == (1, 1)
    assert "result lost, will be redelivered" in texts(worker)
    assert shop.one("SUBSCRIBE")["id"] == "1"


async def test_held_messages_go_with_their_connection(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """What was held and not begun when the connection broke is not begun any more."""
    shop = Shop(high=["2"])

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(headers={"server": STOMPD})
        frame = await broker.subscribed()
        for text in ("1", "2"):
            await broker.message(frame, text.encode(), message_id=text, message_group="g")
        await trio.sleep(5)

    async def run(job: Job) -> Outcome:
        begun.append(job.message.text)
        await trio.sleep(20)
        return Outcome("done")

    begun: list[str] = []
    async with (
        on_dial(script, shop) as dial,
        connect("stomp://a", dial=dial, reconnect=True) as client,
    ):
        worker = Watched(client, [HIGH], run, burst=True, concurrency=2)
        await worker.work()
    assert begun == ["1", "2"]
    assert (worker.done, worker.lost) == (1, 1)


async def test_burst_goes_on_after_a_loss(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Without a connection nothing is drained: the burst waits for the next one."""
    shop = Shop("scripted/2", high=["1"])

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        await trio.sleep(0.9)

    patient = Reconnect(first=5.0, jitter=0.0)
    async with (
        on_dial(script, shop) as dial,
        connect("stomp://a", dial=dial, reconnect=patient) as client,
    ):
        worker = Watched(client, [HIGH], fine, burst=True)
        await worker.work()
    assert worker.done == 1


async def test_lost_for_good(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """Without a further connection it finishes its jobs, and raises why."""
    ended = False

    async def run(job: Job) -> Outcome:  # noqa: ARG001 - as above
        nonlocal ended
        await trio.sleep(20)
        ended = True
        return Outcome("done")

    async with on_stream(losing("1")) as stream:
        with pytest.raises(ConnectionLostError):
            async with connect_stream(stream) as client:
                await Watched(client, [HIGH], run).work()
    assert ended


async def test_the_program_ends_the_session(autojump_clock: MockClock) -> None:  # noqa: ARG001 - as above
    """A worker stops when its session is ended."""
    async with on_stream(Shop()) as stream, connect_stream(stream) as client:
        worker = Watched(client, [HIGH], fine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.work)
            await wait_all_tasks_blocked()
            await client.disconnect()
    assert worker.reason == "the session was ended"


async def test_cannot_work() -> None:
    """1.0 has no NACK, and a worker needs destinations that differ."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept("1.0")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        with pytest.raises(UsageError, match=r"needs STOMP 1\.1"):
            await Engine(client, [HIGH], fine).work()
        with pytest.raises(UsageError, match="needs a destination"):
            Engine(client, [], fine)
        with pytest.raises(UsageError, match="each destination once"):
            Engine(client, [HIGH, HIGH], fine)


async def test_the_log_of_the_package(
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,  # noqa: ARG001 - as above
) -> None:
    """Who wants to hear nothing else can read the log."""
    caplog.set_level("INFO", "stompcli.worker")
    shop = Shop(high=["1"])
    async with on_stream(shop) as stream, connect_stream(stream) as client:
        await Engine(client, [HIGH], failing(Outcome("failed", "why")), burst=True).work()
    lines = [record.getMessage() for record in caplog.records]
    assert f"{HIGH} 1 failed NACK why" in lines
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
