"""Lost connections against a real stompd: nothing is lost, and everything comes in order."""

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from client.cutting import CancelAtStep, Cut, cutting
from client.programs import running_stompd

from stompcli.client import (
    Address,
    Client,
    ConnectionLostError,
    Message,
    OutcomeUnknownError,
    Reconnect,
    TransactionLostError,
    connect,
)

# As often as these tests cut, pauses of a tenth of a second would only make them slow.
QUICK = Reconnect(first=0.001, longest=0.05)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_over_broken_connections(stompd: int, queue: str, seed: int) -> None:
    """Connections that break anywhere lose no message, and change no order but for repetitions."""
    count = 400
    url = f"stomp://127.0.0.1:{stompd}"
    chance = random.Random(seed)  # noqa: S311 - where to cut
    seen: list[int] = []

    async def consume() -> None:
        async with (
            connect(url, reconnect=QUICK, dial=cutting(chance, 4000, 30_000)) as client,
            client.subscribe(queue, ack="client-individual", prefetch=20) as messages,
        ):
            async for message in messages:
                async with message:
                    seen.append(int(message.body))
                if len({*seen}) == count:
                    return

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            dial = cutting(chance, 2000, 20_000)
            async with connect(url, reconnect=QUICK, dial=dial, window=50) as client:
                for n in range(count):
                    await client.send(queue, str(n))
                await client.flush()
                assert client.counters.reconnects > 0
                assert client.counters.messages_repeated > 0
    # The first time that each is seen they are in the order in which they were sent.
    assert list(dict.fromkeys(seen)) == list(range(count))


@pytest.mark.parametrize("seed", range(2))
async def test_transactions_are_whole_over_broken_connections(
    stompd: int, queue: str, seed: int
) -> None:
    """A transaction whose connection breaks has happened whole or not at all, and says which."""
    url = f"stomp://127.0.0.1:{stompd}"
    chance = random.Random(seed)  # noqa: S311 - where to cut
    committed: set[int] = set()
    unknown: set[int] = set()
    lost = 0
    with trio.fail_after(60):
        dial = cutting(chance, 600, 4000)
        async with connect(url, reconnect=QUICK, dial=dial, confirm="none") as client:
            for n in range(100):
                try:
                    async with client.transaction() as tx:
                        for part in range(3):
                            await tx.send(queue, f"{n} {part}")
                            await trio.lowlevel.checkpoint()
                except OutcomeUnknownError:
                    unknown.add(n)
                except TransactionLostError:
                    lost += 1
                else:
                    committed.add(n)
        got: dict[int, list[str]] = {}
        async with (
            connect(url) as reader,
            reader.subscribe(queue) as messages,
        ):
            await reader.ping()
            while (message := messages.receive_nowait()) is not None:
                number, which = message.text.split()
                got.setdefault(int(number), []).append(which)
    assert all(parts == ["0", "1", "2"] for parts in got.values())
    assert committed <= got.keys() <= committed | unknown
    assert unknown
    assert committed


async def test_broker_that_is_killed_and_comes_back(queue: str) -> None:
    """A killed broker that comes back on its port finds its clients, with what they had sent."""
    came = {text: trio.Event() for text in ("before", "meanwhile", "after")}

    async def process(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        came[message.text].set()

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            with running_stompd(kill=True) as port:
                url = f"stomp://127.0.0.1:{port}"
                stop = trio.Event()
                ready, gone = trio.Event(), trio.Event()
                nursery.start_soon(run_consumer, url, queue, process, ready, stop, gone)
                await ready.wait()
                client = await nursery.start(hold, url, stop)
                await client.send(queue, "before", receipt=True)
                await came["before"].wait()
            # It is gone, and nobody knows of it yet: this waits.
            nursery.start_soon(partial(client.send, queue, "meanwhile", receipt=True))
            with running_stompd(port):
                await client.send(queue, "after", receipt=True)
                for event in came.values():
                    await event.wait()
                assert client.counters.reconnects == 1
                stop.set()
                await client.wait_ended()
                await gone.wait()


async def hold(
    url: str, stop: trio.Event, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Keep a client connected."""
    async with connect(url, reconnect=QUICK) as client:
        task_status.started(client)
        await stop.wait()


async def run_consumer(
    url: str,
    queue: str,
    process: Callable[[Message], Awaitable[None]],
    ready: trio.Event,
    stop: trio.Event,
    gone: trio.Event,
) -> None:
    """Consume until told to stop."""
    async with connect(url, reconnect=QUICK) as client, client.consume(queue, process):
        ready.set()
        await stop.wait()
    gone.set()


async def test_fail_over_to_another_broker(queue: str) -> None:
    """When one broker goes for good the other one is used, subscriptions and all."""
    with trio.fail_after(60):
        with running_stompd() as second:
            with running_stompd() as first:
                urls = [f"stomp://127.0.0.1:{port}" for port in (first, second)]
                manager = connect(urls, reconnect=QUICK)
                client = await manager.__aenter__()
                messages = await client.open_subscription(queue)
                await client.send(queue, "one")
                assert (await messages.receive()).text == "one"
            await client.send(queue, "two", receipt=True)
            assert (await messages.receive()).text == "two"
            assert client.address == f"127.0.0.1:{second}"
            await manager.__aexit__(None, None, None)


async def test_requests_over_broken_connections(stompd: int, queue: str) -> None:
    """Requests whose connections break are asked again, until each has its answer."""
    url = f"stomp://127.0.0.1:{stompd}"
    chance = random.Random(5)  # noqa: S311 - where to cut
    answers: dict[int, str] = {}

    async def serve(ready: trio.Event) -> None:
        async with connect(url) as service:

            async def process(message: Message) -> None:
                # The one who asked may be gone meanwhile: that is not the message's fault.
                await service.reply(message, message.text.upper())

            async with service.consume(queue, process, concurrency=3):
                ready.set()
                await trio.sleep_forever()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(serve, ready)
            await ready.wait()
            dial = cutting(chance, 1500, 8000)
            async with connect(url, reconnect=QUICK, dial=dial) as client:

                async def ask(n: int) -> None:
                    answers[n] = (await client.request(queue, f"q{n}", resend=True)).text

                for block in range(10):
                    async with trio.open_nursery() as asking:
                        for n in range(block * 10, block * 10 + 10):
                            asking.start_soon(ask, n)
                assert client.counters.reconnects > 0
            nursery.cancel_scope.cancel()
    assert answers == {n: f"Q{n}" for n in range(100)}


async def test_without_reconnect_the_loss_is_raised() -> None:
    """A client with one URL ends with its connection, as it always did."""
    with trio.fail_after(60):
        with running_stompd(kill=True) as port:
            manager = connect(f"stomp://127.0.0.1:{port}")
            client = await manager.__aenter__()
            await client.ping()
        assert isinstance(await client.wait_ended(), ConnectionLostError)
        await manager.__aexit__(None, None, None)


@pytest.mark.parametrize("broken", [False, True])
async def test_cancelled_operations_harm_nobody(stompd: int, queue: str, *, broken: bool) -> None:
    """Cancelled at any of its awaits, with a connection or without, an operation leaves nothing."""
    url = f"stomp://127.0.0.1:{stompd}"
    chance = random.Random(3)  # noqa: S311 - where to cut

    async def answer(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message.headers.get("reply-to"):
            await client.reply(message, "answer", receipt=False)

    async def work(client: Client) -> None:
        async with client.consume(queue, answer, concurrency=2):
            await client.send(queue, "x")
            await (await client.submit(queue, "y")).wait()
            await client.request(queue, "z", resend=True)
            async with client.request_many(queue, "z", replies=1) as replies:
                async for _ in replies:
                    await client.flush()

    with trio.fail_after(120):
        dial = cutting(chance, 2500, 6000) if broken else None
        async with connect(url, reconnect=QUICK, window=5, dial=dial) as client:
            step = 0
            cancelled = True
            while cancelled:
                step += 1
                with trio.CancelScope() as scope:
                    instrument = CancelAtStep(scope, step)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await work(client)
                    except ConnectionLostError:
                        # Of request_many, which is not sent again.
                        assert broken
                        continue
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                cancelled = scope.cancelled_caught
                assert client.subscriptions == []
                assert client._requests._pending == {}  # noqa: SLF001 - nobody waits any more
                assert client._awaited == 0  # noqa: SLF001
                assert client._waiting_messages == 0  # noqa: SLF001
            await client.flush()
            assert client.unconfirmed == []
            assert (client.counters.reconnects > 0) is broken
        assert step > 6


async def test_cancelled_connect_leaves_no_stream_open(stompd: int) -> None:
    """Cancelled at any await of dialling, login, reconnecting and leaving, no stream stays open."""
    opened: list[trio.SocketStream] = []
    chance = random.Random(7)  # noqa: S311 - where to cut

    async def dial(address: Address) -> trio.abc.Stream:
        # The first address is one where nobody listens.
        stream = await trio.open_tcp_stream(address.host, stompd if address.port == 2 else 1)
        opened.append(stream)
        return Cut(stream, chance.randint(150, 400))

    async def work() -> None:
        urls = ["stomp://127.0.0.1:1", "stomp://127.0.0.1:2"]
        async with connect(urls, reconnect=QUICK, dial=dial, receipt_timeout=1) as client:
            for _ in range(3):
                await client.send("/topic/nobody", "x" * 50, receipt=True)

    with trio.fail_after(60):
        step = 0
        cancelled = True
        while cancelled:
            step += 1
            with trio.CancelScope() as scope:
                instrument = CancelAtStep(scope, step)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await work()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            cancelled = scope.cancelled_caught
            assert {stream.socket.fileno() for stream in opened} <= {-1}
    assert step > 8
    assert len(opened) > step
