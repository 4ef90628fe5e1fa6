"""The scripted broker that ships with the client says so when a program does something else."""

import pytest
import trio

from stompcli.client import Address, connect_stream
from stompcli.client.testing import ScriptedBroker, ScriptError, on_dial, on_socket, on_stream


async def written(octets: bytes) -> ScriptedBroker:
    """Return a broker to which these octets were written, and then nothing more."""
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(octets)
    await near.send_eof()
    return ScriptedBroker(far)


CONNECT = b"CONNECT\naccept-version:1.1,1.2\nhost:h\n\n\0"


async def test_expect() -> None:
    """What is expected is returned; anything else, or the end, is a ScriptError."""
    broker = await written(CONNECT + b"SEND\ndestination:/queue/a\nreply-to:b\n\nx\0")
    await broker.accept()
    assert broker.version == "1.2"
    frame = await broker.expect("SEND", destination="/queue/a", reply_to="b")
    assert frame.body == b"x"
    assert "SEND" in repr(frame)
    with pytest.raises(ScriptError, match="closed where the script expects"):
        await broker.next()
    assert broker.received.startswith(CONNECT)


@pytest.mark.parametrize(("command", "headers"), [("ACK", {}), ("SEND", {"destination": "/b"})])
async def test_something_else(command: str, headers: dict[str, str]) -> None:
    """Another command, or another value of a header, is a ScriptError that shows the frame."""
    broker = await written(CONNECT + b"SEND\ndestination:/queue/a\n\n\0")
    await broker.accept()
    with pytest.raises(ScriptError, match="got <SEND"):
        await broker.expect(command, **headers)


async def test_expect_end() -> None:
    """A frame where the end is expected is a ScriptError; line ends are none."""
    broker = await written(CONNECT + b"\n\r\n")
    await broker.accept()
    await broker.expect_end()
    broker = await written(CONNECT + b"DISCONNECT\n\n\0")
    await broker.accept()
    with pytest.raises(ScriptError, match="expected the end"):
        await broker.expect_end()


async def test_broken_protocol() -> None:
    """A program that breaks the protocol is told so."""
    broker = await written(CONNECT + b"SEND\nnovalue\n\n\0")
    await broker.accept()
    with pytest.raises(ScriptError, match="broke the protocol"):
        await broker.next()


async def test_frames_without_what_they_need() -> None:
    """accept() wants a CONNECT, receipt() a frame that asked for one."""
    broker = await written(CONNECT + b"SEND\ndestination:/queue/a\n\n\0")
    await broker.accept()
    frame = await broker.next()
    with pytest.raises(ScriptError, match="asks for no receipt"):
        await broker.receipt(frame)
    broker = await written(b"SEND\ndestination:/queue/a\n\n\0")
    with pytest.raises(ScriptError, match="expected CONNECT"):
        await broker.accept()


async def test_dialled_scripts() -> None:
    """Each call of a dial plays the next script; then nobody listens any more."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.serve_end()

    address = Address(host="h")
    async with on_dial(OSError("no route"), script) as dial:
        with pytest.raises(OSError, match="no route"):
            await dial(address)
        async with connect_stream(await dial(address)) as client:
            assert client.version == "1.2"
        with pytest.raises(ConnectionRefusedError, match="no more scripts"):
            await dial(address)
        assert [where for _, where in dial.calls] == [address] * 3


@pytest.mark.parametrize("place", ["stream", "socket"])
async def test_failing_script_fails_the_block(place: str) -> None:
    """An exception of the script comes out of the block, which ends as well."""

    async def script(broker: ScriptedBroker) -> None:
        await broker.expect("SEND")

    async def block() -> None:
        if place == "stream":
            async with on_stream(script) as stream, connect_stream(stream):
                pass
        else:
            async with on_socket(script) as port:
                stream_ = await trio.open_tcp_stream("127.0.0.1", port)
                async with connect_stream(stream_):
                    pass

    with pytest.RaisesGroup(ScriptError, flatten_subgroups=True, allow_unwrapped=True):
        await block()
