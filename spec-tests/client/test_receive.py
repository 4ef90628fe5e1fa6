"""SUBSCRIBE, MESSAGE, ACK, NACK and back-pressure, seen from the wire."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stompcli.client import (
    BodyError,
    ConnectionLostError,
    PeerProtocolError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ClientFrame, ScriptedBroker, on_socket, on_stream

HEAD = b"MESSAGE\nsubscription:1\nmessage-id:m1\ndestination:/queue/a\n"


@pytest.mark.clause(
    "SUB-01", "SUB-06", "SUB-08", "FH-04", "FH-05", "U-02", "U-03", "BOD-02", "V11-17", "V11-18"
)
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_subscribe_and_unsubscribe(version: str) -> None:
    """Subscriptions have ids of their own, and are ended by them."""
    seen: list[bytes] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        start = len(broker.received)
        await broker.serve_end()
        seen.append(broker.received[start:].partition(b"DISCONNECT")[0])

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as one,
        client.subscribe("/queue/a", ack="client", headers={"prefetch-count": "1"}) as two,
    ):
        assert client.subscriptions == [one, two]
    assert seen == [
        (
            b"SUBSCRIBE\nid:1\ndestination:/queue/a\nack:auto\nreceipt:r1\n\n\0"
            b"SUBSCRIBE\nid:2\ndestination:/queue/a\nack:client\nprefetch-count:1\nreceipt:r2\n\n\0"
            b"UNSUBSCRIBE\nid:2\nreceipt:r3\n\n\0"
            b"UNSUBSCRIBE\nid:1\nreceipt:r4\n\n\0"
        )
    ]


@pytest.mark.clause("SUB-01", "SUB-06", "SUB-08")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": ""}, "needs a destination"),
        ({"ack": "AUTO"}, 'ack mode "AUTO" is none of'),
        ({"id": "taken"}, '"taken" is in use'),
        ({"id": ""}, "cannot be empty"),
        ({"headers": {"ack": "client"}}, "written by the client"),
    ],
)
async def test_what_cannot_be_subscribed(arguments: dict[str, str], words: str) -> None:
    """A subscription that the broker would have to refuse is a UsageError."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed(id="taken")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        await client.open_subscription("/queue/a", id="taken")
        with pytest.raises(UsageError, match=words):
            await client.open_subscription(**{"destination": "/queue/a", **arguments})  # type: ignore[arg-type]
        assert len(client.subscriptions) == 1


@pytest.mark.clause("F-01", "F-06", "F-07")
@pytest.mark.parametrize("gap", [b"", b"\n", b"\r\n", b"\n\n\n\r\n\n", b"\n" * 5])
@pytest.mark.parametrize("pieces", ["whole", "octets"])
async def test_frames_however_they_come(gap: bytes, pieces: str) -> None:
    """EOLs after a frame and the cuts between segments change nothing."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.next()
        receipt = f"RECEIPT\nreceipt-id:{frame.headers['receipt']}\n\n\0".encode()
        octets = gap.join([gap, receipt, HEAD + b"\none\0", HEAD + b"\n\ntwo\0", gap])
        size = len(octets) if pieces == "whole" else 1
        for at in range(0, len(octets), size):
            await broker.send_raw(octets[at : at + size])
            await wait_all_tasks_blocked()
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as messages,
    ):
        assert [(await messages.receive()).body for _ in range(2)] == [b"one", b"\ntwo"]


@pytest.mark.clause("CL-03", "CL-02", "F-17", "HDR-03", "HDR-04", "V11-16", "ESC-01", "ESC-04")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_message_is_decoded(version: str) -> None:
    """Content-length counts octets, NULs included; escapes are decoded; the first header wins."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        await broker.subscribed()
        await broker.send_raw(
            HEAD + b"foo:World\nfoo:Hello\nk\\cey:b\\nc\\cd\\\\n\ncontent-length:5\n\na\0b\0c\0"
        )
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as messages,
    ):
        message = await messages.receive()
    assert message.body == b"a\0b\0c"
    assert message.headers["foo"] == "World"
    assert message.headers["k:ey"] == "b\nc:d\\n"
    assert message.raw_headers[3:5] == [("foo", "World"), ("foo", "Hello")]
    assert (message.id, message.destination, message.redelivered) == ("m1", "/queue/a", False)


@pytest.mark.clause("CT-03", "CT-04", "CT-05", "CT-07")
@pytest.mark.parametrize(
    ("kind", "octets", "text"),
    [
        ("text/plain", b"\xc3\xa9", "é"),
        (None, b"\xc3\xa9", "é"),
        ("text/plain;charset=utf-16", b"\xff\xfe\xfc\0", "ü"),
        ('application/xml; Charset="iso-8859-1"', b"\xe9", "é"),
    ],
)
async def test_text_of_a_message(kind: str | None, octets: bytes, text: str) -> None:
    """The body is octets; as text it is in the charset named, else in UTF-8."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        headers = {} if kind is None else {"content_type": kind}
        await broker.message(subscription, octets, **headers)
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as messages,
    ):
        message = await messages.receive()
    assert message.body == octets
    assert message.text == text
    assert message.headers.get("content-type") == kind


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=klingon"])
async def test_body_that_is_no_text(kind: str) -> None:
    """A body that is not the text it claims to be is a BodyError, and still there as octets."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"\xff", content_type=kind)
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a") as messages,
    ):
        message = await messages.receive()
    with pytest.raises(BodyError):
        _ = message.text
    assert message.body == b"\xff"


@pytest.mark.clause("ESC-02", "CL-04", "F-12", "F-16", "F-10", "V11-02")
@pytest.mark.parametrize(
    ("version", "octets", "words"),
    [
        ("1.2", HEAD + b"x:\\t\n\nbody\0", "undefined escape"),
        ("1.2", HEAD + b"x:a\\\n\nbody\0", "undefined escape"),
        ("1.1", HEAD + b"x:a\\r\n\nbody\0", "undefined escape"),
        ("1.2", HEAD + b"content-length:2\n\nabc\0", "no NUL after the body"),
        ("1.2", HEAD + b"novalue\n\nbody\0", "without a colon"),
        ("1.2", HEAD + b"x:a\rb\n\nbody\0", "carriage return"),
        ("1.2", b"SEND\ndestination:/queue/a\n\n\0", "unknown command"),
        ("1.2", b"MESSAGE\ndestination:/queue/a\nmessage-id:m\n\n\0", "without subscription"),
        ("1.2", b"MESSAGE\ndestination:/queue/a\nsubscription:1\n\n\0", "without message-id"),
        ("1.2", b"RECEIPT\n\n\0", "RECEIPT without receipt-id"),
        ("1.2", b"CONNECTED\nversion:1.2\n\n\0", "second CONNECTED"),
    ],
)
async def test_broker_that_breaks_the_protocol(version: str, octets: bytes, words: str) -> None:
    """What STOMP does not allow is reported and ends the session; good frames before it count."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        await broker.subscribed()
        await broker.send_raw(HEAD + b"\ngood\0" + octets + HEAD + b"\nafter\0")
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/a")
        assert (await messages.receive()).body == b"good"
        with pytest.raises(PeerProtocolError, match=words):
            await messages.receive()


async def acknowledged(
    version: str, ack: str, answers: list[ClientFrame], count: int, broker: ScriptedBroker
) -> None:
    """Deliver some messages and keep the frames that follow."""
    await broker.accept(version)
    subscription = await broker.subscribed(ack=ack)
    for n in range(count):
        await broker.message(subscription, str(n).encode(), message_id=f"m{n}")
    while True:
        frame = await broker.next()
        if "receipt" in frame.headers:
            await broker.receipt(frame)
        if frame.command == "DISCONNECT":
            return
        answers.append(frame)


@pytest.mark.clause("ACK-01", "ACK-03", "ACK-11", "ACK-14", "FH-06", "V11-05", "V10-13", "BOD-02")
@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.2", {"id": "m0"}),
        ("1.1", {"message-id": "m0", "subscription": "1"}),
        ("1.0", {"message-id": "m0"}),
    ],
)
async def test_ack_names_the_delivery(version: str, headers: dict[str, str]) -> None:
    """ACK and NACK carry what the version wants, and nothing is sent before the block ends."""
    answers: list[ClientFrame] = []
    async with (
        on_stream(lambda b: acknowledged(version, "client", answers, 2, b)) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a", ack="client") as messages,
    ):
        async with await messages.receive():
            await wait_all_tasks_blocked()
            assert answers == []
        second = await messages.receive()
        if version == "1.0":
            with pytest.raises(UsageError, match=r"1\.0 has no NACK"):
                await second.nack()
        else:
            await second.nack(headers={"requeue": "false"})
    assert answers[0].command == "ACK"
    assert answers[0].headers == headers
    if version != "1.0":
        assert answers[1].command == "NACK"
        expected = {name: value.replace("m0", "m1") for name, value in headers.items()}
        assert answers[1].headers == {**expected, "requeue": "false"}


@pytest.mark.clause("ACK-07", "ACK-03")
@pytest.mark.parametrize("ack", ["client", "client-individual"])
async def test_failing_loop_nacks_the_message(ack: str) -> None:
    """If the body of the loop raises, the message at hand is NACKed, and the error passes on."""
    answers: list[ClientFrame] = []
    async with (
        on_stream(lambda b: acknowledged("1.2", ack, answers, 3, b)) as stream,
        connect_stream(stream) as client,
    ):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with client.subscribe("/queue/a", ack=ack) as messages:
                async for message in messages:
                    if message.body == b"1":
                        raise ZeroDivisionError
                    await message.ack()
    assert [(frame.command, frame.headers.get("id")) for frame in answers] == [
        ("ACK", "m0"),
        ("NACK", "m1"),
        ("UNSUBSCRIBE", "1"),
    ]


@pytest.mark.clause("ACK-07", "ACK-03")
async def test_message_block_settles_by_outcome() -> None:
    """`async with message` ACKs what was processed, NACKs what raised, and respects ack()."""
    answers: list[ClientFrame] = []
    async with (
        on_stream(lambda b: acknowledged("1.2", "client-individual", answers, 4, b)) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a", ack="client-individual") as messages,
    ):
        async with await messages.receive():
            pass
        with pytest.raises(ZeroDivisionError):
            async with await messages.receive():
                raise ZeroDivisionError
        async with await messages.receive() as message:
            await message.nack()
            with pytest.raises(UsageError, match="settled before"):
                await message.ack()
        with trio.CancelScope() as scope:
            async with await messages.receive() as message:
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert not message.settled
    assert [(frame.command, frame.headers.get("id")) for frame in answers] == [
        ("ACK", "m0"),
        ("NACK", "m1"),
        ("NACK", "m2"),
        ("UNSUBSCRIBE", "1"),
    ]


@pytest.mark.clause("ACK-01", "ACK-07", "V10-03")
@pytest.mark.parametrize(("version", "ack"), [("1.2", "auto"), ("1.0", "client")])
async def test_nothing_to_nack(version: str, ack: str) -> None:
    """In auto mode nothing is settled, and a 1.0 session has no NACK to send."""
    answers: list[ClientFrame] = []
    async with (
        on_stream(lambda b: acknowledged(version, ack, answers, 1, b)) as stream,
        connect_stream(stream) as client,
    ):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with client.subscribe("/queue/a", ack=ack) as messages:
                async for message in messages:
                    async with message:
                        raise ZeroDivisionError
        if ack == "auto":
            with pytest.raises(UsageError, match="takes no ACK"):
                await message.ack()
    assert [frame.command for frame in answers] == ["UNSUBSCRIBE"]


@pytest.mark.clause("ACK-12", "FH-06")
async def test_ack_in_a_transaction() -> None:
    """An ACK in a transaction names it; after ABORT the message can be settled again."""
    answers: list[ClientFrame] = []
    async with (
        on_stream(lambda b: acknowledged("1.2", "client", answers, 2, b)) as stream,
        connect_stream(stream) as client,
        client.subscribe("/queue/a", ack="client") as messages,
    ):
        first, second = [await messages.receive() for _ in range(2)]
        tx = await client.begin()
        await tx.ack(first)
        await tx.nack(second)
        await tx.abort()
        await first.ack(receipt=True)
    assert [
        (frame.command, frame.headers.get("id"), frame.headers.get("transaction"))
        for frame in answers[:5]
    ] == [
        ("BEGIN", None, "tx-1"),
        ("ACK", "m0", "tx-1"),
        ("NACK", "m1", "tx-1"),
        ("ABORT", None, "tx-1"),
        ("ACK", "m0", None),
    ]


@pytest.mark.clause("V10-08", "V10-12")
async def test_1_0_broker_that_names_no_subscription() -> None:
    """A 1.0 MESSAGE without a subscription header goes to the subscription of its destination."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept("1.0")
        await broker.subscribed(destination="/queue/a")
        await broker.subscribed(destination="/queue/b")
        for name in ("c", "b"):
            await broker.send(
                "MESSAGE", {"destination": f"/queue/{name}", "message-id": name}, name.encode()
            )
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        await client.open_subscription("/queue/a")
        messages = await client.open_subscription("/queue/b")
        assert (await messages.receive()).body == b"b"
        assert client.counters.messages_dropped == 1


@pytest.mark.clause("U-03")
async def test_messages_after_unsubscribe_are_dropped() -> None:
    """What still comes for an ended subscription is dropped; iteration over it has ended."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        end = await broker.expect("UNSUBSCRIBE", id="1")
        await broker.message(subscription, b"late")
        await broker.receipt(end)
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/a")
        await messages.unsubscribe()
        assert [message async for message in messages] == []
        assert client.counters.messages_dropped == 1
        await messages.unsubscribe()


@pytest.mark.clause("SUB-08")
async def test_made_up_ids_avoid_those_in_use() -> None:
    """An id that the program chose is not made up again; an ended subscription frees its id."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        chosen = await client.open_subscription("/queue/a", id="1")
        made_up = await client.open_subscription("/queue/a")
        assert (chosen.id, made_up.id) == ("1", "2")
        assert "'/queue/a', ack auto, 0 waiting" in repr(made_up)
        await chosen.unsubscribe()
        assert "closed" in repr(chosen)
        again = await client.open_subscription("/queue/b", id="1")
        assert client.subscriptions == [made_up, again]


async def test_iteration_ends_with_the_session() -> None:
    """When the program ends the session, a task that iterates ends quietly."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.message(await broker.subscribed(), b"x")
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/a")
        got: list[bytes] = []

        async def consume() -> None:
            got.extend([message.body async for message in messages])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await wait_all_tasks_blocked()
            await client.disconnect()
    assert got == [b"x"]


async def test_messages_before_a_lost_connection_are_not_lost() -> None:
    """What came before the connection broke can be taken; only then the loss is raised."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(3):
            await broker.message(subscription, str(n).encode())

    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/a")
        assert await client.wait_ended() is not None
        assert [(await messages.receive()).body for _ in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(ConnectionLostError):
            await messages.receive()


async def test_workers_share_a_subscription() -> None:
    """Several tasks may iterate over one subscription; each message goes to one of them."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        for n in range(20):
            await broker.message(subscription, str(n).encode())
        await broker.serve_end()

    got: list[int] = []
    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/a")

        async def work() -> None:
            async for message in messages:
                got.append(int(message.body))
                if len(got) == 20:
                    await client.disconnect()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(work)
    assert sorted(got) == list(range(20))


# Bounds.


async def test_reading_stops_while_nobody_takes_messages() -> None:
    """A program that takes nothing stops the broker by back-pressure, and beats go on meanwhile."""
    written = 0
    beats = trio.Event()
    resumed = trio.Event()

    async def script(broker: ScriptedBroker) -> None:
        nonlocal written
        await broker.accept(heart_beat="100,100")
        subscription = await broker.subscribed()

        async def flood() -> None:
            nonlocal written
            for _ in range(2000):
                await broker.message(subscription, b"x" * 10_000)
                written += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            start = len(broker.received)
            while len(broker.received) < start + 3:
                await broker.read()
            beats.set()
            await resumed.wait()
        await broker.serve_end()

    with trio.fail_after(60):
        async with (
            on_socket(script) as port,
            connect(
                f"stomp://127.0.0.1:{port}", heartbeat=(100, 100), buffer_messages=10
            ) as client,
        ):
            messages = await client.open_subscription("/queue/a")
            await beats.wait()
            # Twenty megabytes fit into no socket buffers.
            assert written < 2000
            client.check_alive()
            assert "open" in repr(client)
            resumed.set()
            for _ in range(2000):
                assert len((await messages.receive()).body) == 10_000


async def test_receipt_behind_messages_does_not_deadlock() -> None:
    """A receipt that stands behind more messages than may wait is still found."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        frame = await broker.expect("SEND")
        for n in range(50):
            await broker.message(subscription, str(n).encode())
        await broker.receipt(frame)
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream, buffer_messages=10) as client,
    ):
        messages = await client.open_subscription("/queue/a")
        await client.send("/queue/b", "x", receipt=True)
        assert [int((await messages.receive()).body) for _ in range(50)] == list(range(50))


async def test_overdraft_is_bounded() -> None:
    """Even behind a receipt that is waited for, messages do not pile up without end."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        subscription = await broker.subscribed()
        await broker.expect("SEND")
        try:
            for _ in range(10_000):
                await broker.message(subscription, b"x")
                await wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            return
        pytest.fail("the client read for ever")

    async with (
        on_stream(script) as stream,
        connect_stream(stream, buffer_messages=10) as client,
    ):
        await client.open_subscription("/queue/a")
        with pytest.raises(ConnectionLostError, match="were not taken while a receipt"):
            await client.send("/queue/b", "x", receipt=True)
