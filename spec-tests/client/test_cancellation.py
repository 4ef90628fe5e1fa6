"""Cancelled while it waits, an operation leaves nothing behind: at each of its awaits."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stompcli.client import BrokerError, Client, Message, connect
from stompcli.client.testing import ClientFrame, ScriptedBroker, on_dial

Operation = Callable[[Client], Awaitable[object]]


async def subscribe(client: Client) -> None:
    """Wait for the receipt of SUBSCRIBE."""
    await client.open_subscription("/queue/a")


async def subscribe_in_a_block(client: Client) -> None:
    """Wait for the receipt of SUBSCRIBE, to enter a block."""
    async with client.subscribe("/queue/a", ack="client"):
        pytest.fail("it was not confirmed")


async def send(client: Client) -> None:
    """Wait for the receipt of SEND."""
    await client.send("/queue/a", "x", receipt=True)


async def send_without(client: Client) -> None:
    """Wait for a connection, and then for room, since nobody reads."""
    while True:
        await client.send("/queue/a", b"x" * 100_000, receipt=False)


async def send_into_a_full_window(client: Client) -> None:
    """Wait for room among the unconfirmed."""
    while True:
        await client.send("/queue/a", "x")


async def flush(client: Client) -> None:
    """Wait for the receipts of what was sent."""
    await client.send("/queue/a", "x")
    await client.flush()


async def request(client: Client) -> None:
    """Wait for the queue of replies."""
    await client.request("/queue/a", timeout=None)


async def request_many(client: Client) -> None:
    """Wait for the queue of replies, to enter a block."""
    async with client.request_many("/queue/a", replies=2, timeout=None):
        pytest.fail("it was not confirmed")


async def consume(client: Client) -> None:
    """Wait for the receipt of a consumer's SUBSCRIBE."""

    async def process(_: Message) -> None:
        await trio.lowlevel.checkpoint()

    async with client.consume(["/queue/a", "/queue/b"], process):
        pytest.fail("it was not confirmed")


async def commit(client: Client) -> None:
    """Wait for the receipt of COMMIT."""
    async with client.transaction() as tx:
        await tx.send("/queue/a", "x")


async def ping(client: Client) -> None:
    """Wait for the receipt of a BEGIN."""
    await client.ping()


OPERATIONS = [
    *(subscribe, subscribe_in_a_block, send, send_into_a_full_window, flush),
    *(request, request_many, consume, commit, ping),
]


async def silent(broker: ScriptedBroker) -> None:
    """Let the client in, and answer nothing but its DISCONNECT."""
    await broker.accept()
    while (frame := await broker.next()).command != "DISCONNECT":
        pass
    await broker.receipt(frame)


async def brief(broker: ScriptedBroker) -> None:
    """Let the client in and close."""
    await broker.accept()


async def cancelled(client: Client, operation: Operation) -> None:
    """Start an operation, let it wait, cancel it, and assert that nobody waits any more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(operation, client)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert client.subscriptions == []
    assert client._subscriptions == {}  # noqa: SLF001 - not even the queue of replies
    assert client._requests._pending == {}  # noqa: SLF001 - nobody waits for a reply
    assert client._awaited == 0  # noqa: SLF001 - nobody waits for a receipt


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
async def test_waiting_for_an_answer(operation: Operation, autojump_clock: MockClock) -> None:
    """Cancelled while the broker is silent, it has happened or not, and nobody waits any more."""
    assert autojump_clock.rate == 0
    async with (
        on_dial(silent) as dial,
        connect("stomp://a", dial=dial, reconnect=True, heartbeat=(0, 0), window=5) as client,
    ):
        await cancelled(client, operation)
        assert await client.disconnect(flush=False)


@pytest.mark.parametrize(
    "operation", [*OPERATIONS, send_without], ids=lambda operation: operation.__name__
)
async def test_waiting_for_a_connection(operation: Operation, autojump_clock: MockClock) -> None:
    """Cancelled between two connections, it has not happened."""
    assert autojump_clock.rate == 0
    frames: list[ClientFrame] = []

    async def second(broker: ScriptedBroker) -> None:
        await broker.accept()
        while True:
            frames.append(await broker.next())
            if "receipt" in frames[-1].headers:
                await broker.receipt(frames[-1])
            if frames[-1].command == "DISCONNECT":
                return

    nobody = [ConnectionRefusedError()] * 3
    async with (
        on_dial(brief, *nobody, second) as dial,
        connect("stomp://a", dial=dial, reconnect=True, heartbeat=(0, 0), window=5) as client,
    ):
        while client.is_connected:  # noqa: ASYNC110 - the loss is not announced
            await trio.sleep(0.001)
        await cancelled(client, operation)
        assert client.unconfirmed == []
        await client.ping()
    assert {frame.command for frame in frames} == {"BEGIN", "ABORT", "DISCONNECT"}


async def test_waiting_for_room() -> None:
    """Cancelled while the broker reads nothing, a sender leaves whole frames only."""
    near, far = trio.testing.lockstep_stream_pair()
    broker = ScriptedBroker(far)

    async def dial(_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.accept)
        async with connect("stomp://a", dial=dial, reconnect=True) as client:
            await cancelled(client, send_without)
            nursery.start_soon(broker.serve_end)
    assert client.confirmed


async def test_cancelled_subscription_is_ended() -> None:
    """A SUBSCRIBE whose receipt is not waited for any more is followed by UNSUBSCRIBE."""
    frames: list[str] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        while not frames or frames[-1] != "DISCONNECT":
            frame = await broker.next()
            frames.append(frame.command)
        await broker.receipt(frame)

    async with on_dial(script) as dial, connect("stomp://a", dial=dial) as client:
        for operation in (subscribe, subscribe_in_a_block, consume):
            await cancelled(client, operation)
    assert frames == ["SUBSCRIBE", "UNSUBSCRIBE"] * 3 + ["DISCONNECT"]


async def test_refused_subscription_is_forgotten() -> None:
    """A SUBSCRIBE that the broker refuses leaves nothing either."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SUBSCRIBE")
        await broker.send("ERROR", {"receipt-id": frame.headers["receipt"], "message": "no"})
        await broker.expect_end()

    for reconnect in (False, True):
        async with (
            on_dial(script, silent) as dial,
            connect("stomp://a", dial=dial, reconnect=reconnect) as client,
        ):
            with pytest.raises(BrokerError, match="no"):
                await client.open_subscription("/queue/a")
            assert client.subscriptions == []
