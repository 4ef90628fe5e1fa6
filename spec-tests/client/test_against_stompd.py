"""The client library against a real stompd: what was scripted holds for a broker, too."""

import pytest
import trio
from client.cutting import CancelAtStep

from stompcli.client import BrokerError, Client, connect


def url(port: int) -> str:
    """Return the broker's URL."""
    return f"stomp://127.0.0.1:{port}"


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_send_and_receive(stompd: int, queue: str, version: str) -> None:
    """A message goes through the broker and comes back with its body and headers."""
    async with connect(url(stompd), versions=(version,)) as client:
        assert client.version == version
        await client.send(queue, "grüße", headers={"x": "a\nb:c" if version != "1.0" else "y"})
        async with client.subscribe(queue) as messages:
            message = await messages.receive()
        assert message.text == "grüße"
        assert message.headers["x"] == ("a\nb:c" if version != "1.0" else "y")
        assert message.headers["content-type"] == "text/plain"
    assert client.confirmed


@pytest.mark.clause("CL-03", "F-17", "CL-06")
async def test_every_octet(stompd: int, queue: str) -> None:
    """A body of every octet, and a megabyte of them, come back as they were."""
    async with connect(url(stompd)) as client, client.subscribe(queue) as messages:
        for body in (bytes(range(256)), bytes(range(256)) * 4096):
            await client.send(queue, body, receipt=True)
            assert (await messages.receive()).body == body


@pytest.mark.clause("ACK-03", "ACK-07", "ACK-11", "ACK-14", "V11-05")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_nack_brings_it_back(stompd: int, queue: str, version: str) -> None:
    """What was NACKed comes again, marked as redelivered; what was ACKed does not."""
    async with connect(url(stompd), versions=(version,)) as client:
        await client.send(queue, "one", receipt=True)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with client.subscribe(queue, ack="client-individual") as messages:
                assert not (await messages.receive()).redelivered
                raise ZeroDivisionError
        async with client.subscribe(queue, ack="client-individual") as messages:
            message = await messages.receive()
            assert message.redelivered
            await message.ack(receipt=True)
        await client.send(queue, "two", receipt=True)
        async with (
            client.subscribe(queue, ack="client-individual") as messages,
            await messages.receive() as message,
        ):
            assert message.text == "two"


@pytest.mark.clause("V10-13")
async def test_ack_in_1_0(stompd: int, queue: str) -> None:
    """A 1.0 session acknowledges by message-id."""
    async with connect(url(stompd), versions=("1.0",)) as client:
        await client.send(queue, "one")
        await client.send(queue, "two")
        async with client.subscribe(queue, ack="client") as messages:
            first = await messages.receive()
            await first.ack(receipt=True)
        async with client.subscribe(queue, ack="client") as messages:
            assert (await messages.receive()).text == "two"


@pytest.mark.clause("ACK-12", "TX-08", "TX-10")
async def test_transactions(stompd: int, queue: str) -> None:
    """A committed transaction appears whole, an aborted one not at all."""
    async with connect(url(stompd)) as client, client.subscribe(queue) as messages:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with client.transaction() as tx:
                await tx.send(queue, "never")
                raise ZeroDivisionError
        async with client.transaction() as tx:
            for n in range(3):
                await tx.send(queue, str(n))
            await client.ping()
            assert messages.receive_nowait() is None
        assert [(await messages.receive()).text for _ in range(3)] == ["0", "1", "2"]
        await client.ping()
        assert messages.receive_nowait() is None


async def test_topic_fan_out(stompd: int) -> None:
    """Whoever has entered subscribe() gets what is sent from then on."""
    got: dict[int, list[str]] = {}

    async def listen(number: int, ready: trio.Event) -> None:
        async with connect(url(stompd)) as client, client.subscribe("/topic/fan.out") as messages:
            ready.set()
            got[number] = [(await messages.receive()).text for _ in range(3)]

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            events = [trio.Event() for _ in range(4)]
            for number, ready in enumerate(events):
                nursery.start_soon(listen, number, ready)
            for ready in events:
                await ready.wait()
            async with connect(url(stompd)) as client:
                for text in "abc":
                    await client.send("/topic/fan.out", text)
    assert list(got.values()) == [["a", "b", "c"]] * 4


async def test_request_and_reply(stompd: int, queue: str) -> None:
    """An answer finds its way to a temporary queue of the one who asked."""

    async def answer(ready: trio.Event) -> None:
        async with connect(url(stompd)) as client, client.subscribe(queue) as requests:
            ready.set()
            request = await requests.receive()
            await client.send(
                request.headers["reply-to"],
                request.text.upper(),
                headers={"correlation-id": request.headers["correlation-id"]},
                receipt=True,
            )

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, connect(url(stompd)) as client:
            ready = trio.Event()
            nursery.start_soon(answer, ready)
            await ready.wait()
            async with client.subscribe("/temp-queue/answers") as answers:
                await client.send(
                    queue,
                    "hello",
                    headers={"reply-to": "/temp-queue/answers", "correlation-id": "7"},
                )
                message = await answers.receive()
    assert (message.text, message.headers["correlation-id"]) == ("HELLO", "7")


@pytest.mark.clause("E-02", "E-04", "SUB-08")
async def test_refused_frame(stompd: int) -> None:
    """What the broker refuses raises its words where the frame was sent from."""
    async with connect(url(stompd)) as client:
        with pytest.raises(BrokerError) as info:
            await client.send("/nowhere/else", "x", receipt=True)
        assert info.value.message
        assert info.value.detail
        assert info.value.receipt_id == "r1"
        assert isinstance(await client.wait_ended(), BrokerError)


@pytest.mark.clause("H-10", "H-11", "H-12")
@pytest.mark.slow
async def test_heart_beats_keep_an_idle_session(stompd: int) -> None:
    """With beats every second both ways an idle session lives on for several periods."""
    async with connect(url(stompd), heartbeat=(1000, 1000)) as client:
        await trio.sleep(4)
        assert client.counters.heartbeats_received >= 2
        await client.ping()


async def test_many_messages_with_back_pressure(stompd: int, queue: str) -> None:
    """Twenty thousand messages go through a small buffer, in order, with nothing lost."""
    count = 20_000
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:

            async def produce() -> None:
                async with connect(url(stompd)) as client:
                    for n in range(count):
                        await client.send(queue, str(n))

            nursery.start_soon(produce)
            async with (
                connect(url(stompd), buffer_messages=50) as client,
                client.subscribe(queue, ack="client") as messages,
            ):
                for n in range(count):
                    message = await messages.receive()
                    assert message.body == str(n).encode()
                    if n % 100 == 99:
                        await message.ack()


async def test_cancelled_operations_harm_nobody(stompd: int, queue: str) -> None:
    """Cancelled at any of its awaits, an operation leaves the session whole and nothing open."""

    async def work(client: Client) -> None:
        async with client.subscribe(queue, ack="client-individual") as messages:
            await client.send(queue, "x", receipt=True)
            async with client.transaction("t") as tx:
                await tx.send(queue, "y")
                await tx.ack(await messages.receive())

    with trio.fail_after(60):
        async with connect(url(stompd)) as client:
            step = 0
            cancelled = True
            while cancelled:
                step += 1
                with trio.CancelScope() as scope:
                    instrument = CancelAtStep(scope, step)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await work(client)
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
                cancelled = scope.cancelled_caught
                assert client.subscriptions == []
                # Its id would be in use if it were still open, here or at the broker.
                tx = await client.begin("t")
                await tx.abort()
        assert step > 4
        assert client.confirmed
