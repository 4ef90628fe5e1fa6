"""The options of send, subscribe and nack do on a real stompd what they say."""

import random
import secrets
import time

import pytest
import trio
from client.cutting import cutting

from stompcli.client import Client, Message, Reconnect, Subscription, connect


def url(port: int) -> str:
    """Return the broker's URL."""
    return f"stomp://127.0.0.1:{port}"


async def texts(messages: Subscription, count: int) -> list[str]:
    """Return the texts of the next messages."""
    with trio.fail_after(30):
        return [(await messages.receive()).text for _ in range(count)]


async def nothing_more(client: Client, messages: Subscription) -> None:
    """Assert that no message is on its way."""
    await client.ping()
    assert messages.receive_nowait() is None


async def test_priority_and_expiry(stompd: int, queue: str) -> None:
    """What is urgent comes first, and what is too old never."""
    async with connect(url(stompd)) as client:
        await client.send(queue, "low", priority=1)
        await client.send(queue, "old", expires=time.time() - 1)
        await client.send(queue, "brief", ttl=0.001)
        await client.send(queue, "high", priority=9, ttl=600, persistent=True, receipt=True)
        await trio.sleep(0.1)
        async with client.subscribe(queue) as messages:
            assert await texts(messages, 2) == ["high", "low"]
            await nothing_more(client, messages)


async def test_delay(stompd: int, queue: str) -> None:
    """What is to wait comes when it is due, and not before."""
    async with connect(url(stompd)) as client, client.subscribe(queue) as messages:
        now, started = time.time(), trio.current_time()
        await client.send(queue, "later", deliver_at=now + 1)
        await client.send(queue, "soon", delay=0.3)
        await client.send(queue, "now")
        assert await texts(messages, 2) == ["now", "soon"]
        assert trio.current_time() - started >= 0.3
        assert await texts(messages, 1) == ["later"]
        assert time.time() >= now + 1


async def test_second_of_two_is_dropped(stompd: int, queue: str) -> None:
    """Of two messages with one id the second goes nowhere, and is confirmed all the same."""
    async with connect(url(stompd)) as client, client.subscribe(queue) as messages:
        for text in ("one", "two"):
            await client.send(queue, text, dedup_id="the same", receipt=True)
        assert await texts(messages, 1) == ["one"]
        await nothing_more(client, messages)


@pytest.mark.parametrize("seed", range(3))
async def test_exactly_once_over_broken_connections(stompd: int, queue: str, seed: int) -> None:
    """With dedup not even what is sent again comes twice, wherever the connection breaks."""
    count = 300
    dial = cutting(random.Random(seed), 2000, 12_000)  # noqa: S311 - where to cut
    quick = Reconnect(first=0.001, longest=0.05)
    async with (
        connect(url(stompd)) as receiver,
        receiver.subscribe(queue) as messages,
        connect(url(stompd), reconnect=quick, dial=dial, dedup=True, window=50) as sender,
    ):
        for n in range(count):
            await sender.send(queue, str(n))
        await sender.flush()
        assert sender.counters.messages_repeated > 0
        assert await texts(messages, count) == [str(n) for n in range(count)]
        await nothing_more(receiver, messages)


async def test_groups_stay_together(stompd: int, queue: str) -> None:
    """All messages of a group go to one of two consumers, in their order."""
    seen: list[tuple[str, str]] = []
    everything = trio.Event()

    async def work(name: str, ready: trio.Event) -> None:
        async def process(message: Message) -> None:
            await trio.sleep(random.random() / 1000)  # noqa: S311 - so that they overtake
            seen.append((name, message.text))
            if len(seen) == 60:
                everything.set()

        async with (
            connect(url(stompd)) as client,
            client.consume(queue, process, concurrency=3, prefetch=10),
        ):
            ready.set()
            await everything.wait()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                ready = trio.Event()
                nursery.start_soon(work, name, ready)
                await ready.wait()
            async with connect(url(stompd)) as client:
                for n in range(60):
                    await client.send(queue, f"{n % 6} {n // 6}", message_group=str(n % 6))
    for group in range(6):
        mine = [(name, text) for name, text in seen if text.startswith(f"{group} ")]
        assert [text for _, text in mine] == [f"{group} {n}" for n in range(10)]
        assert len({name for name, _ in mine}) == 1


async def test_durable_subscription(stompd: int) -> None:
    """A durable subscription collects while nobody listens, until it is forgotten."""
    topic = f"/topic/t.{secrets.token_hex(6)}"
    async with connect(url(stompd)) as client:
        first = await client.open_subscription(topic, ack="client", durable="n1")
        await first.unsubscribe()
        await client.send(topic, "meanwhile", receipt=True)
        second = await client.open_subscription(topic, ack="client", durable="n1")
        async with await second.receive() as message:
            assert message.text == "meanwhile"
        await second.unsubscribe(forget=True)
        await client.send(topic, "to nobody", receipt=True)
        third = await client.open_subscription(topic, ack="client", durable="n1")
        await client.send(topic, "now", receipt=True)
        assert await texts(third, 1) == ["now"]
        await third.unsubscribe(forget=True)


async def test_durable_subscription_of_a_client(stompd: int) -> None:
    """So does one that is named by the client-id of its connection, over a new connection."""
    topic = f"/topic/t.{secrets.token_hex(6)}"
    client_id = {"client-id": secrets.token_hex(6)}
    async with connect(url(stompd), headers=client_id) as client:
        await client.open_subscription(topic, ack="client", durable="n2")
    async with connect(url(stompd)) as other:
        await other.send(topic, "meanwhile", receipt=True)
    async with connect(url(stompd), headers=client_id) as client:
        again = await client.open_subscription(topic, ack="client", durable="n2")
        assert await texts(again, 1) == ["meanwhile"]
        await again.unsubscribe(forget=True)


async def test_selector_and_no_local(stompd: int) -> None:
    """A selector leaves out what does not fit, no_local what the program sends itself."""
    topic = f"/topic/t.{secrets.token_hex(6)}"
    async with (
        connect(url(stompd)) as client,
        connect(url(stompd)) as other,
        client.subscribe(topic, selector="n > 1") as some,
        client.subscribe(topic, no_local=True) as foreign,
    ):
        for n in range(3):
            await client.send(topic, f"mine {n}", headers={"n": str(n)})
        await client.flush()
        await client.ping()
        await other.send(topic, "theirs", headers={"n": "2"}, receipt=True)
        assert await texts(some, 2) == ["mine 2", "theirs"]
        assert await texts(foreign, 1) == ["theirs"]


async def test_browser_takes_nothing(stompd: int, queue: str) -> None:
    """A browser sees what waits, oldest first, and the end of it; all of it stays."""
    async with connect(url(stompd)) as client:
        for n in range(3):
            await client.send(queue, str(n), receipt=True)
        async with client.subscribe(queue, browser=True) as browser:
            assert await texts(browser, 3) == ["0", "1", "2"]
            assert (await browser.receive()).headers["browser"] == "end"
        async with client.subscribe(queue) as messages:
            assert await texts(messages, 3) == ["0", "1", "2"]


async def test_who_is_served(stompd: int, queue: str) -> None:
    """A higher consumer_priority is served first, and an exclusive one alone."""
    async with connect(url(stompd)) as client:
        async with (
            client.subscribe(queue, ack="client") as low,
            client.subscribe(queue, ack="client", consumer_priority=5) as high,
        ):
            await client.send(queue, "x", receipt=True)
            assert await texts(high, 1) == ["x"]
            assert low.receive_nowait() is None
            await high.unsubscribe()
        async with (
            client.subscribe(queue, exclusive=True) as alone,
            client.subscribe(queue) as other,
        ):
            for n in range(4):
                await client.send(queue, str(n), receipt=True)
            assert len(await texts(alone, 4)) == 4
            assert other.receive_nowait() is None


@pytest.mark.parametrize("bound", ["messages", "octets"])
async def test_prefetch(stompd: int, queue: str, bound: str) -> None:
    """No more is delivered than may be unsettled, in messages or octets."""
    async with connect(url(stompd)) as client:
        for _ in range(5):
            await client.send(queue, "x" * 1000, receipt=True)
        async with (
            client.subscribe(queue, ack="client", prefetch=2)
            if bound == "messages"
            else client.subscribe(queue, ack="client", prefetch_octets=1500)
        ) as messages:
            await texts(messages, 2)
            await nothing_more(client, messages)


async def test_nack_options(stompd: int, queue: str) -> None:
    """A NACK says whether and when its message comes again, and why it was refused."""
    dead = queue.replace("/queue/", "/queue/DLQ.")
    async with (
        connect(url(stompd)) as client,
        client.subscribe(queue, ack="client-individual") as messages,
    ):
        await client.send(queue, "x", receipt=True)
        first = await messages.receive()
        started = trio.current_time()
        await first.nack(delay=0.5)
        second = await messages.receive()
        assert second.redelivered
        assert trio.current_time() - started >= 0.5
        await second.nack(requeue=False, reason="out of paper", receipt=True)
        async with client.subscribe(dead) as letters:
            letter = await letters.receive()
        assert letter.headers["dead-letter-detail"] == "out of paper"
