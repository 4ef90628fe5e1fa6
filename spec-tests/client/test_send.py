"""SEND, its body and headers, receipts and transactions, seen from the wire."""

import pytest
import trio

from stompcli.client import (
    BrokerError,
    Client,
    ClosedError,
    ConnectionLostError,
    TimedOutError,
    Transaction,
    UsageError,
    connect_stream,
    send_frame,
)
from stompcli.client.testing import ScriptedBroker, on_stream


class Recorder:
    """A script that lets the client do as it likes and keeps what it wrote after CONNECT."""

    def __init__(self, version: str | None = None) -> None:
        self.version = version
        self.octets = b""

    async def __call__(self, broker: ScriptedBroker) -> None:
        """Be the broker's side of one connection."""
        await broker.accept(self.version)
        start = len(broker.received)
        await broker.serve_end()
        self.octets = broker.received[start:].partition(b"DISCONNECT\n")[0]


@pytest.mark.clause("S-01", "S-02", "S-05", "CL-05", "CL-02", "CT-01", "CT-08", "FH-03", "V10-15")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_text(version: str) -> None:
    """Text goes out in UTF-8 as text/plain, with destination and the number of octets."""
    record = Recorder(version)
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "ü")
    assert record.octets == (
        b"SEND\ndestination:/queue/a\ncontent-type:text/plain\ncontent-length:2\n\n\xc3\xbc\0"
    )


@pytest.mark.clause("CT-05", "CT-02")
async def test_other_encodings_are_named() -> None:
    """Text in another encoding than UTF-8 names it."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "ü", content_type="text/plain", encoding="utf-16")
    assert b"\ncontent-type:text/plain;charset=utf-16\ncontent-length:4\n\n\xff\xfe\xfc\0\0" in (
        record.octets
    )


@pytest.mark.clause("CT-06", "CT-05", "CT-07")
@pytest.mark.parametrize(
    ("kind", "encoding", "expected", "octets"),
    [
        ("application/xml", None, "application/xml;charset=utf-8", b"\xc3\xa9"),
        ("application/json", "latin-1", "application/json;charset=latin-1", b"\xe9"),
        ("text/html", None, "text/html", b"\xc3\xa9"),
        ("text/html", "UTF8", "text/html", b"\xc3\xa9"),
        ("text/plain; charset=iso-8859-1", None, "text/plain; charset=iso-8859-1", b"\xe9"),
        ("text/plain; charset=utf-8", "utf-8", "text/plain; charset=utf-8", b"\xc3\xa9"),
    ],
)
def test_charset_of_text(kind: str, encoding: str | None, expected: str, octets: bytes) -> None:
    """Text of a type that is not text/ says its charset; a charset in the type is used."""
    pairs, body = send_frame("/queue/a", "é", content_type=kind, encoding=encoding)
    assert dict(pairs)["content-type"] == expected
    assert body == octets


@pytest.mark.clause("CL-06", "CL-03", "CT-01")
async def test_octets_with_nul() -> None:
    """A body with a NUL carries its length; octets without a type are application/octet-stream."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", b"a\0b")
    assert record.octets == (
        b"SEND\ndestination:/queue/a\ncontent-type:application/octet-stream\n"
        b"content-length:3\n\na\0b\0"
    )


@pytest.mark.clause("CL-05", "CL-06")
async def test_content_length_can_be_left_out() -> None:
    """Content-length is left out on request, but not if the body could not be read without it."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "x", content_length=False)
        with pytest.raises(UsageError, match="needs a content-length"):
            await client.send("/queue/a", b"a\0b", content_length=False)
    assert record.octets == b"SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nx\0"


@pytest.mark.clause("BOD-01")
async def test_empty_body() -> None:
    """An empty body needs neither length nor type."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a")
    assert record.octets == b"SEND\ndestination:/queue/a\n\n\0"


@pytest.mark.clause("S-06", "ESC-03", "ESC-09", "F-14", "F-21", "V11-03", "V11-04", "V10-05")
@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("1.2", rb" k\cey : a\rb\nc\cd\\e "),
        ("1.1", b" k\\cey : a\rb\\nc\\cd\\\\e "),
    ],
)
async def test_custom_headers_are_escaped(version: str, line: bytes) -> None:
    """Any headers may be added; they are escaped for the version and never trimmed."""
    record = Recorder(version)
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", headers={" k:ey ": " a\rb\nc:d\\e ", "汉": "😀"})
    assert b"\n" + line + "\n汉:😀\n\n\0".encode() in record.octets


@pytest.mark.clause("S-06")
async def test_header_order_is_kept() -> None:
    """Headers given as pairs keep their order, repeated ones too."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", headers=[("z", "1"), ("a", "2"), ("z", "3")])
    assert record.octets == b"SEND\ndestination:/queue/a\nz:1\na:2\nz:3\n\n\0"


@pytest.mark.clause("CT-02", "CL-02", "S-01", "F-11")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"destination": ""}, "needs a destination"),
        ({"body": "x", "content_type": "foo"}, "is not type/subtype"),
        ({"body": "x", "content_type": "text/"}, "is not type/subtype"),
        ({"body": "x", "encoding": "klingon"}, 'no encoding "klingon"'),
        ({"body": "é", "encoding": "ascii"}, "cannot be written in ascii"),
        ({"body": b"x", "encoding": "ascii"}, "octets already"),
        ({"body": "x", "content_type": "text/a;charset=ascii", "encoding": "utf-8"}, "contradicts"),
        ({"headers": {"receipt": "r"}}, "written by the client"),
        ({"headers": {"content-length": "1"}}, "written by the client"),
        (
            {"body": "x", "content_type": "text/plain", "headers": {"content-type": "a/b"}},
            "given twice",
        ),
        ({"headers": {"": "x"}}, "needs a name"),
        ({"headers": {"a": "x\0y"}}, "holds a NUL"),
    ],
)
async def test_what_cannot_be_sent(arguments: dict[str, object], words: str) -> None:
    """What STOMP cannot express is a UsageError, nothing is written, and the session goes on."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        with pytest.raises(UsageError, match=words):
            await client.send(**{"destination": "/queue/a", **arguments})  # type: ignore[arg-type]
        await client.send("/queue/b")
    assert record.octets == b"SEND\ndestination:/queue/b\n\n\0"


@pytest.mark.clause("R-01", "V10-17")
@pytest.mark.parametrize("version", ["1.0", "1.2"])
async def test_send_with_receipt_waits_for_it(version: str) -> None:
    """With receipt=True the SEND asks for one, and send() returns when it has come."""
    order: list[str] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        frame = await broker.expect("SEND")
        await trio.testing.wait_all_tasks_blocked()
        order.append("receipt")
        await broker.receipt(frame)
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "x", receipt=True)
        order.append("sent")
    assert order == ["receipt", "sent"]


@pytest.mark.clause("R-06")
async def test_receipts_in_any_order() -> None:
    """Each receipt belongs to its own frame, whatever order they come in."""
    done: list[str] = []

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frames = {}
        for _ in range(3):
            frame = await broker.expect("SEND")
            frames[frame.body] = frame
        for body in (b"2", b"3", b"1"):
            await broker.receipt(frames[body])
            await trio.testing.wait_all_tasks_blocked()
            assert done[-1] == body.decode()
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:

        async def one(body: str) -> None:
            await client.send("/queue/a", body, receipt=True)
            done.append(body)

        async with trio.open_nursery() as nursery:
            for body in "123":
                nursery.start_soon(one, body)
    assert done == ["2", "3", "1"]


async def test_submit_pipelines() -> None:
    """submit() returns a receipt to wait for later, so many frames are in flight at once."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frames = [await broker.expect("SEND") for _ in range(100)]
        for frame in frames:
            await broker.receipt(frame)
        await broker.serve_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        receipts = [await client.submit("/queue/a", str(n)) for n in range(100)]
        assert not any(receipt.confirmed for receipt in receipts)
        for receipt in receipts:
            await receipt.wait()
        assert all(receipt.confirmed for receipt in receipts)
        assert client.counters.messages_sent == 100


async def test_receipt_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    """A missing receipt is a TimedOutError; the session goes on and a late receipt is harmless."""
    assert autojump_clock.rate == 0

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        frame = await broker.expect("SEND")
        await trio.sleep(10)
        await broker.receipt(frame)
        await broker.serve_end()

    async with (
        on_stream(script) as stream,
        connect_stream(stream, receipt_timeout=3, heartbeat=(0, 0)) as client,
    ):
        with pytest.raises(TimedOutError, match="no RECEIPT for SEND within 3 s"):
            await client.send("/queue/a", "x", receipt=True)
        await trio.sleep(10)
        client.check_alive()
    assert client.confirmed


@pytest.mark.clause("E-02", "E-04")
async def test_error_ends_the_session() -> None:
    """ERROR carries the broker's words, ends everything, and the connection is closed."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.subscribed()
        frame = await broker.expect("SEND")
        await broker.send(
            "ERROR",
            {"message": "a:b refused", "receipt-id": frame.headers["receipt"]},
            b"queue is full\n",
        )
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        messages = await client.open_subscription("/queue/b")
        with pytest.raises(BrokerError, match="a:b refused") as info:
            await client.send("/queue/a", "x", receipt=True)
        assert info.value.detail == "queue is full"
        assert info.value.receipt_id == "r2"
        with pytest.raises(BrokerError):
            await messages.receive()
        with pytest.raises(BrokerError):
            await client.begin()


@pytest.mark.clause("V11-10", "E-02", "E-04")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_error_without_a_close(version: str) -> None:
    """A broker that keeps the connection open after ERROR does not keep the client waiting."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept(version)
        await broker.expect("SEND")
        await broker.send("ERROR")
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        await client.send("/queue/a", "x")
        error = await client.wait_ended()
        assert isinstance(error, BrokerError)
        assert (error.message, error.detail, error.receipt_id) == ("", "", None)


async def test_error_for_the_last_frame_is_not_lost() -> None:
    """An ERROR that comes instead of DISCONNECT's receipt is raised at the end of the block."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")
        await broker.expect("DISCONNECT")
        await broker.send("ERROR", {"message": "no"})
        await broker.expect_end()

    async with on_stream(script) as stream:
        with pytest.raises(BrokerError, match="no"):
            async with connect_stream(stream) as client:
                await client.send("/queue/a", "x")


# Transactions.


@pytest.mark.clause("TX-02", "TX-04", "TX-08", "FH-07", "V10-14", "V11-19", "R-01")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
async def test_transaction_is_committed(version: str) -> None:
    """BEGIN, the SENDs and COMMIT name one transaction; the block ends with COMMIT's receipt."""
    record = Recorder(version)
    async with on_stream(record) as stream, connect_stream(stream) as client:
        async with client.transaction() as tx:
            await tx.send("/queue/a", "1")
            await client.send("/queue/b", "2", transaction=tx)
            await client.send("/queue/c")
        assert tx.state == "committed"
    assert record.octets == (
        b"BEGIN\ntransaction:tx-1\n\n\0"
        b"SEND\ndestination:/queue/a\ntransaction:tx-1\ncontent-type:text/plain\n"
        b"content-length:1\n\n1\0"
        b"SEND\ndestination:/queue/b\ntransaction:tx-1\ncontent-type:text/plain\n"
        b"content-length:1\n\n2\0"
        b"SEND\ndestination:/queue/c\n\n\0"
        b"COMMIT\ntransaction:tx-1\nreceipt:r1\n\n\0"
    )


@pytest.mark.clause("TX-10", "FH-07")
async def test_transaction_is_aborted_if_the_block_fails() -> None:
    """An exception in the block sends ABORT and passes on."""
    record = Recorder()
    async with on_stream(record) as stream, connect_stream(stream) as client:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with client.transaction("t") as tx:
                await tx.send("/queue/a")
                raise ZeroDivisionError
        assert tx.state == "aborted"
        with pytest.raises(UsageError, match="was aborted before"):
            await tx.send("/queue/a")
    assert record.octets == (
        b"BEGIN\ntransaction:t\n\n\0"
        b"SEND\ndestination:/queue/a\ntransaction:t\n\n\0"
        b"ABORT\ntransaction:t\n\n\0"
    )


@pytest.mark.clause("TX-04", "V11-19")
async def test_transaction_ids_differ() -> None:
    """Open transactions have different ids; an id is free again after COMMIT or ABORT."""
    async with on_stream(Recorder()) as stream, connect_stream(stream) as client:
        made = [await client.begin(), await client.begin("tx-2"), await client.begin()]
        assert [tx.id for tx in made] == ["tx-1", "tx-2", "tx-3"]
        with pytest.raises(UsageError, match='"tx-2" is in use'):
            await client.begin("tx-2")
        await made[1].abort()
        again: Transaction = await client.begin("tx-2")
        await again.commit()
        with pytest.raises(UsageError, match="was committed before"):
            await again.commit()


async def test_outstanding_receipts_fail_at_the_end() -> None:
    """A receipt that is still missing when the program ends the session raises ClosedError."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.expect("SEND")
        await broker.receipt(await broker.expect("DISCONNECT"))
        await broker.expect_end()

    async with on_stream(script) as stream, connect_stream(stream) as client:
        receipt = await client.submit("/queue/a")
        assert await client.disconnect()
        with pytest.raises(ClosedError, match="before the receipt"):
            await receipt.wait()
        assert not receipt.confirmed


# Bounds and broken connections.


async def test_senders_wait_while_the_broker_does_not_read() -> None:
    """A broker that takes nothing stops the sender, after a quarter of a megabyte or so."""
    near, far = trio.testing.lockstep_stream_pair()
    broker = ScriptedBroker(far)
    sent = 0

    async def produce(client: Client) -> None:
        nonlocal sent
        for _ in range(100):
            await client.send("/queue/a", b"x" * 64 * 1024)
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.accept)
        async with connect_stream(near) as client:
            nursery.start_soon(produce, client)
            await trio.testing.wait_all_tasks_blocked()
            assert sent < 20
            assert "octets to write" in repr(client)
            for _ in range(100):
                await broker.expect("SEND")
            await trio.testing.wait_all_tasks_blocked()
            assert sent == 100
            nursery.start_soon(broker.serve_end)
        assert client.confirmed


async def test_waiting_sender_hears_of_the_end() -> None:
    """A sender that waits for room raises when the connection is lost."""
    near, far = trio.testing.lockstep_stream_pair()
    broker = ScriptedBroker(far)

    async def fill(client: Client) -> None:
        with pytest.raises(ConnectionLostError):  # noqa: PT012 - one of them raises
            while True:
                await client.send("/queue/a", b"x" * 64 * 1024)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.accept)
        async with connect_stream(near) as client, trio.open_nursery() as inner:
            inner.start_soon(fill, client)
            await trio.testing.wait_all_tasks_blocked()
            await broker.close()


async def test_broker_that_takes_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    """If writing fails, the broker has two seconds to say why; then the session is over."""
    assert autojump_clock.rate == 0
    for says_why in (True, False):
        near, far = trio.testing.memory_stream_pair()
        broker = ScriptedBroker(far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.accept)
            async with connect_stream(near) as client:
                assert isinstance(far.receive_stream, trio.testing.MemoryReceiveStream)
                far.receive_stream.close()
                await client.send("/queue/a", "x")
                await trio.testing.wait_all_tasks_blocked()
                started = trio.current_time()
                if says_why:
                    await broker.send("ERROR", {"message": "enough"})
                error = await client.wait_ended()
                assert isinstance(error, BrokerError) is says_why
                assert isinstance(error, ConnectionLostError)
                assert trio.current_time() - started == (0 if says_why else 2)
