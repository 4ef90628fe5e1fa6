"""The client against RabbitMQ and ActiveMQ: opt-in, since both take their time to start.

``STOMP_TEST_RABBITMQ`` and ``STOMP_TEST_ACTIVEMQ`` are the URL of a broker that is there, or
``start`` for the one that is installed, which then runs for these tests alone.
"""

import json
import os
import random
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import cast

import pytest
import trio
from client.cutting import cutting
from client.programs import Finished, Stomp

from benchmarks import brokers, plans
from stompcli.client import (
    Client,
    ConnectError,
    Message,
    Reconnect,
    RefusedError,
    RejectError,
    UsageError,
    connect,
)
from stompcli.client import dialect as dialects
from stompcli.client import url as urls
from stompcli.client.dialect import DialectName
from stompcli.worker import work

pytestmark = [pytest.mark.other_broker, pytest.mark.slow]

QUICK = Reconnect(first=0.001, longest=0.1)


@pytest.fixture(scope="module", params=["RabbitMQ", "ActiveMQ"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the broker, or the reason why these tests are skipped."""
    name: str = request.param
    variable = f"STOMP_TEST_{name.upper()}"
    given = os.environ.get(variable, "")
    if not given:
        pytest.skip(f"{variable} is neither a URL nor start")
    if given != "start":
        yield given
        return
    reason = plans.missing(name)
    if reason is not None:
        pytest.skip(reason)
    with brokers.start(name) as broker:
        yield f"stomp://{broker.login}:{broker.passcode}@{broker.host}:{broker.port}"


@pytest.fixture
def dialect(url: str, request: pytest.FixtureRequest) -> DialectName:
    """The name of its dialect."""
    del url
    name: str = request.node.callspec.params["url"]
    return cast("DialectName", name.lower())


@pytest.fixture
def queue() -> str:
    """A queue that nobody has used before."""
    return f"/queue/t.{secrets.token_hex(6)}"


async def test_version_and_dialect(url: str, dialect: DialectName) -> None:
    """The dialect is found by what the broker calls itself."""
    async with connect(url, dialect=dialect) as client:
        assert client.version == "1.2"
        assert dialects.spoken_by(client.server) is client.dialect
        assert await client.ping() > 0
    assert client.confirmed


async def test_login_is_refused(url: str, dialect: DialectName) -> None:
    """A wrong passcode is a RefusedError, or at least a ConnectError."""
    with pytest.raises(ConnectError) as info:
        async with connect(url, dialect=dialect, login="nobody", passcode="wrong"):
            pytest.fail("there is no session")
    assert isinstance(info.value, RefusedError)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_send_and_receive(url: str, dialect: DialectName, queue: str, version: str) -> None:
    """A message goes through, and is settled, in every version."""
    async with connect(url, dialect=dialect, versions=(version,)) as client:
        for n in range(3):
            await client.send(queue, f"grüße {n}", persistent=True, receipt=True)
        async with client.subscribe(queue, ack="client-individual", prefetch=1) as messages:
            for n in range(3):
                async with await messages.receive() as message:
                    assert message.text == f"grüße {n}"


async def test_every_octet(url: str, dialect: DialectName, queue: str) -> None:
    """A body of every octet comes back as it was."""
    body = bytes(range(256)) * 64
    async with (
        connect(url, dialect=dialect) as client,
        client.subscribe(queue) as messages,
    ):
        await client.send(queue, body, receipt=True)
        assert (await messages.receive()).body == body


async def test_unsettled_messages_come_again(url: str, dialect: DialectName, queue: str) -> None:
    """What was not settled when its connection ended is delivered again, and says so."""
    async with connect(url, dialect=dialect) as client:
        await client.send(queue, "x", receipt=True)
        messages = await client.open_subscription(queue, ack="client-individual")
        assert not (await messages.receive()).redelivered
    async with (
        connect(url, dialect=dialect) as client,
        client.subscribe(queue, ack="client-individual") as messages,
        await messages.receive() as message,
    ):
        assert message.redelivered


async def test_transactions(url: str, dialect: DialectName, queue: str) -> None:
    """A committed transaction appears whole, an aborted one not at all."""
    async with connect(url, dialect=dialect) as client, client.subscribe(queue) as messages:
        tx = await client.begin()
        await tx.send(queue, "never")
        await tx.abort()
        async with client.transaction() as tx:
            for n in range(3):
                await tx.send(queue, str(n))
        assert [(await messages.receive()).text for _ in range(3)] == ["0", "1", "2"]


async def test_requests(url: str, dialect: DialectName, queue: str) -> None:
    """Requests find their answers, many at a time, by a temporary queue."""
    answers: dict[str, str] = {}
    async with connect(url, dialect=dialect) as service, connect(url, dialect=dialect) as client:

        async def answer(request: Message) -> None:
            await service.reply(request, request.text.upper())

        async def ask(text: str) -> None:
            answers[text] = (await client.request(queue, text)).text

        async with (
            service.consume(queue, answer, concurrency=5),
            trio.open_nursery() as nursery,
        ):
            for letter in "abcdefgh":
                nursery.start_soon(ask, letter)
    assert answers == {letter: letter.upper() for letter in "abcdefgh"}


async def test_several_replies(url: str, dialect: DialectName) -> None:
    """A question to a topic is answered by all who listen."""
    topic = f"/topic/t.{secrets.token_hex(6)}"
    async with connect(url, dialect=dialect) as service, connect(url, dialect=dialect) as client:
        count = 0

        async def answer(request: Message) -> None:
            nonlocal count
            count += 1
            await service.reply(request, str(count))

        async with (
            service.consume([topic, topic], answer, ack="auto"),
            client.request_many(topic, "?", replies=2) as replies,
        ):
            assert sorted([reply.text async for reply in replies]) == ["1", "2"]


async def test_consumers(url: str, dialect: DialectName, queue: str) -> None:
    """What is processed is gone, what is rejected is dead-lettered or dropped, the rest comes."""
    seen: list[str] = []

    async def process(message: Message) -> None:
        seen.append(message.text)
        if message.text == "3":
            raise RejectError("no", requeue=False)
        if message.text == "9":
            consumer.stop()

    async with connect(url, dialect=dialect, confirm="window") as client:
        for n in range(10):
            await client.send(queue, str(n))
        async with client.consume(queue, process) as consumer:
            await consumer.wait_stopped()
        assert (consumer.processed, consumer.failed) == (9, 1)
        assert seen == [str(n) for n in range(10)]
        await nothing_left(client, queue)


async def nothing_left(client: Client, queue: str) -> None:
    """Assert that a queue is empty: what is sent now comes first."""
    async with client.subscribe(queue) as messages:
        await client.send(queue, "end", receipt=True)
        assert (await messages.receive()).text == "end"


async def test_durable_subscriptions(url: str, dialect: DialectName) -> None:
    """A durable subscription collects while nobody listens, until it is forgotten."""
    topic = f"/topic/t.{secrets.token_hex(6)}"
    name = f"n{secrets.token_hex(6)}"
    headers = {"client-id": f"c{secrets.token_hex(6)}"}
    async with connect(url, dialect=dialect, headers=headers) as client:
        first = await client.open_subscription(topic, ack="client-individual", durable=name)
        await first.unsubscribe()
        await client.send(topic, "meanwhile", receipt=True, persistent=True)
        second = await client.open_subscription(topic, ack="client-individual", durable=name)
        async with await second.receive() as message:
            assert message.text == "meanwhile"
        await second.unsubscribe(forget=True)
        await client.send(topic, "to nobody", receipt=True, persistent=True)
        third = await client.open_subscription(topic, ack="client-individual", durable=name)
        await client.send(topic, "now", receipt=True, persistent=True)
        async with await third.receive() as message:
            assert message.text == "now"
        await third.unsubscribe(forget=True)


async def test_expiry_and_priority(url: str, dialect: DialectName, queue: str) -> None:
    """Headers for expiry and priority are those that the broker knows."""
    async with connect(url, dialect=dialect) as client:
        await client.send(queue, "gone", ttl=0.2, receipt=True)
        await client.send(queue, "stays", ttl=60, priority=9, receipt=True)
        await trio.sleep(1)
        async with client.subscribe(queue) as messages:
            message = await messages.receive()
        assert (message.text, message.headers["priority"]) == ("stays", "9")


async def test_what_only_some_have(url: str, dialect: DialectName, queue: str) -> None:
    """ActiveMQ has selectors, browsers and groups; for RabbitMQ they are refused by the client."""
    async with connect(url, dialect=dialect) as client:
        if dialect == "rabbitmq":
            with pytest.raises(UsageError, match="RabbitMQ knows no selector"):
                await client.open_subscription(queue, selector="n = 2")
            return
        for n in range(3):
            await client.send(queue, str(n), headers={"n": str(n)}, message_group="g")
        await client.flush()
        async with client.subscribe(queue, browser=True, resubscribe=False) as browser:
            assert [(await browser.receive()).text for _ in range(3)] == ["0", "1", "2"]
        async with (
            client.subscribe(queue, ack="client-individual", selector="n = '2'") as some,
            await some.receive() as message,
        ):
            assert message.text == "2"
            assert message.headers["message-group"] == "g"


async def test_nothing_is_lost_over_broken_connections(
    url: str, dialect: DialectName, queue: str
) -> None:
    """Connections that break anywhere lose no message, and change no order but for repetitions."""
    count = 200
    chance = random.Random(1)  # noqa: S311 - where to cut
    seen: list[int] = []

    async def consume() -> None:
        dial = cutting(chance, 8000, 40_000)
        async with (
            connect(url, dialect=dialect, reconnect=QUICK, dial=dial) as client,
            client.subscribe(queue, ack="client-individual", prefetch=20) as messages,
        ):
            async for message in messages:
                async with message:
                    seen.append(int(message.body))
                if len({*seen}) == count:
                    return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        dial = cutting(chance, 3000, 20_000)
        async with connect(url, dialect=dialect, reconnect=QUICK, dial=dial, window=50) as client:
            for n in range(count):
                await client.send(queue, str(n), persistent=True)
            await client.flush()
            assert client.counters.reconnects > 0
    assert {*seen} == {*range(count)}


def program(url: str, dialect: DialectName, *words: str) -> Finished:
    """Run the `stomp` program against the broker."""
    host = ("--vhost", "/") if dialect == "rabbitmq" else ()
    return Stomp(urls.parse(url).port)("-u", url, *host, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("roundtrip", "--clients", "3"),
        ("roundtrip", "--ack", "client-individual", "--persistent", "--receipts", "10"),
        ("roundtrip", "--ack", "client", "--tx", "20"),
        ("roundtrip", "--receipts", "none", "--size", "10", "--rate", "2000"),
        ("fanout", "--clients", "3"),
    ],
)
def test_load(url: str, dialect: DialectName, words: tuple[str, ...]) -> None:
    """`stomp bench` finds nothing wrong with them, however it sends and settles."""
    place = ("/queue/t." if words[0] == "roundtrip" else "/topic/t.") + secrets.token_hex(6)
    done = program(url, dialect, "bench", *words, place, "--msgs", "300", "--json")
    assert done.code == 0, (done.text, done.err)
    found = json.loads(done.text)
    assert found["received"] == 300 * (1 if words[0] == "roundtrip" else 3)
    assert (found["lost"], found["duplicated"], found["disordered"]) == (0, 0, 0)


def test_checks(url: str, dialect: DialectName) -> None:
    """`stomp check` knows what any broker can do, and does not know the rest."""
    assert program(url, dialect, "check").code == 0
    assert program(url, dialect, "check", "roundtrip").code == 0
    assert program(url, dialect, "check", "dlq").code == 3
    assert program(url, dialect, "bench", "connect", "--msgs", "10").code == 0


async def test_worker(url: str, dialect: DialectName) -> None:
    """A worker tries again and dead-letters, as far as the broker lets it, and ends its burst."""
    queue = f"/queue/worker-{secrets.token_hex(4)}"
    tried = Counter[str]()

    async def job(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        tried[message.text] += 1
        if message.text == "bad" or tried[message.text] < 2:
            raise ValueError(message.text)

    async with connect(url, dialect=dialect) as client:
        for text in ("bad", "late"):
            await client.send(queue, text, receipt=True)
        worker = await work(client, queue, job, burst=True, retries=3, retry_delay=0.01)
    assert worker.lost == 0
    if dialect == "rabbitmq":
        assert tried == {"bad": 3, "late": 2}
        assert (worker.done, worker.failed, worker.requeued) == (1, 1, 3)
    else:
        # Whatever is NACKed there is a dead letter.
        assert tried == {"bad": 1, "late": 1}


async def test_dead_letters_of_a_worker(url: str, dialect: DialectName) -> None:
    """On each broker a failed job's message can be sent elsewhere, in a transaction."""
    queue = f"/queue/worker-{secrets.token_hex(4)}"

    async def job(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError(message.text)

    async with connect(url, dialect=dialect) as client:
        await client.send(queue, "bad", receipt=True)
        worker = await work(client, queue, job, max_jobs=1, on_fail=f"dlq:{queue}.dead")
        assert worker.failed == 1
        async with client.subscribe(f"{queue}.dead") as messages:
            letter = await messages.receive()
    assert letter.headers["dead-letter-detail"] == "ValueError: bad"
    assert letter.headers["original-destination"] == queue
