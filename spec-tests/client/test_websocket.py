"""WebSockets: the same session over messages in place of a stream."""

import ssl
from pathlib import Path

import pytest
import trio
from client.programs import Stomp, environment
from client.secured import Certificate
from client.web import WebPeer, on_web, speaking
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from stompcli.client import ConnectError, connect
from stompcli.client.testing import ScriptedBroker

CONNECTED = b"CONNECTED\nversion:1.2\nserver:web/1\n\n\0\n"


async def echo(broker: ScriptedBroker) -> None:
    """Give back the first message that is sent."""
    await broker.accept()
    subscription = await broker.subscribed()
    message = await broker.expect("SEND")
    await broker.message(subscription, message.body)
    await broker.serve_end()


@pytest.mark.parametrize("binary", [False, True])
async def test_session(binary: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A message goes out and comes back, in text and in binary messages."""

    async def script(peer: WebPeer) -> None:
        peer.binary = binary
        await speaking(echo)(peer)
        assert peer.request is not None
        assert peer.request.target == "/stomp"
        assert peer.request.subprotocols == ["v12.stomp", "v11.stomp", "v10.stomp"]

    async with (
        on_web(script) as port,
        connect(f"ws://127.0.0.1:{port}/stomp") as client,
        client.subscribe("/queue/a") as messages,
    ):
        await client.send("/queue/a", "grüße")
        assert (await messages.receive()).text == "grüße"


async def test_each_frame_is_a_message_of_its_own() -> None:
    """Frames that are sent at once are one message each, for brokers that read but one."""

    async def script(peer: WebPeer) -> None:
        await peer.accept()
        await peer.until(lambda: len(peer.messages) == 1)
        await peer.send(TextMessage(CONNECTED.decode()))
        await peer.until(lambda: len(peer.messages) == 4)
        assert [message.split(b"\n")[0] for message in peer.messages[1:]] == [b"SEND"] * 3
        assert all(message.endswith(b"\0") for message in peer.messages)
        await peer.send(CloseConnection(1000))

    async with on_web(script) as port, connect(f"ws://127.0.0.1:{port}") as client:
        for number in range(3):
            await client.send("/queue/a", str(number))
        assert "closed the connection" in str(await client.wait_ended())


async def test_what_comes_right_behind_the_agreement() -> None:
    """What the broker writes in one segment with its answer is not lost."""

    async def script(peer: WebPeer) -> None:
        await peer.accept(Ping(b"x"), BytesMessage(CONNECTED))
        await peer.until(lambda: peer.pongs == [b"x"])
        assert b"DISCONNECT" in await peer.receive_some()
        assert await peer.receive_some() == b""

    async with on_web(script) as port:
        async with connect(f"ws://127.0.0.1:{port}", receipt_timeout=0.1) as client:
            assert client.server == "web/1"
        assert not client.confirmed


async def test_pings_are_answered_while_nothing_is_sent() -> None:
    """A ping gets its pong with the same octets."""

    async def script(peer: WebPeer) -> None:
        await peer.accept()
        broker = ScriptedBroker(peer)
        await broker.accept()
        await peer.send(Ping(b"are you there"))
        await peer.until(lambda: peer.pongs == [b"are you there"])
        await peer.send(CloseConnection(1001, "going away"))

    async with on_web(script) as port, connect(f"ws://127.0.0.1:{port}") as client:
        assert "closed the WebSocket with 1001 going away" in str(await client.wait_ended())


async def test_refusals_in_words() -> None:
    """An HTTP status, and what is no HTTP at all, are the reason why there is no session."""

    async def refuse(peer: WebPeer) -> None:
        await peer.refuse(404, b"nothing here\nreally")

    async def close(peer: WebPeer) -> None:
        await peer.asked()

    async def speak_stomp(peer: WebPeer) -> None:
        await peer._stream.send_all(b"ERROR\nmessage:this is a STOMP port\n\n\0\r\n\r\n")  # noqa: SLF001 - below the protocol

    for script, reason in (
        (refuse, "no WebSocket: HTTP status 404: nothing here"),
        (close, "closed the connection"),
        (speak_stomp, "no WebSocket: "),
    ):
        async with on_web(script) as port:
            with pytest.raises(ConnectError, match=reason):
                await open_and_leave(f"ws://127.0.0.1:{port}")


async def open_and_leave(url: str) -> None:
    """Open a session and end it."""
    async with connect(url):
        pass


async def test_large_messages() -> None:
    """A body of several megabytes comes back as it was, in however many pieces."""
    body = bytes(range(256)) * 12_000

    async def script(peer: WebPeer) -> None:
        peer.binary = True
        await speaking(echo)(peer)

    async with (
        on_web(script) as port,
        connect(f"ws://127.0.0.1:{port}") as client,
        client.subscribe("/queue/a") as messages,
    ):
        await client.send("/queue/a", body)
        assert (await messages.receive()).body == body


async def test_under_tls(tmp_path: Path) -> None:
    """wss:// is the same under TLS, for the program too."""
    certificate = Certificate(tmp_path, "broker", "IP:127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)

    async def script(broker: ScriptedBroker) -> None:
        await broker.accept()
        await broker.receipt(await broker.expect("SEND"))
        await broker.serve_end()

    async with on_web(speaking(script), context) as port:
        done = await trio.run_process(
            Stomp(0).argv(
                *("-u", f"wss://127.0.0.1:{port}/ws", "--tls-ca", certificate.cert),
                *("send", "/queue/a", "x"),
            ),
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert done.returncode == 0, done.stderr.decode()
    assert b"sent 1 byte to /queue/a" in done.stderr
