"""TLS: whom the client believes, who it says it is, and in what words it refuses."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
from client.secured import Certificate, listening, polite

from stompcli.client import (
    Address,
    ConnectError,
    ConnectionLostError,
    UsageError,
    connect,
    connect_stream,
)
from stompcli.client.testing import ScriptedBroker

pytestmark = pytest.mark.needs_tool("openssl")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The broker's certificate; it names localhost only, not 127.0.0.1."""
    return Certificate(tmp_path_factory.mktemp("tls"), "broker", "DNS:localhost")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The certificate of a program."""
    return Certificate(tmp_path_factory.mktemp("tls"), "program", "DNS:program")


async def test_trusted_certificate(broker: Certificate) -> None:
    """A broker whose certificate is signed by ca_file, for the host of the URL, is believed."""
    async with (
        listening(polite, broker) as port,
        connect(f"stomp+ssl://localhost:{port}", ca_file=broker.cert) as client,
    ):
        await client.send("/queue/a", "x" * 100_000, receipt=True)
    assert client.confirmed


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [
        ("localhost", False, "its certificate is not trusted: self.signed certificate"),
        ("127.0.0.1", True, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ],
)
async def test_certificate_that_is_not_believed(
    broker: Certificate, host: str, words: str, *, trusted: bool
) -> None:
    """An unknown signer, or another host's certificate, is a ConnectError that says so."""
    async with listening(polite, broker) as port:
        with pytest.raises(ConnectError, match=words):
            async with connect(
                f"stomp+ssl://{host}:{port}", ca_file=broker.cert if trusted else None
            ):
                pytest.fail("there is no session")


async def test_insecure_and_context(broker: Certificate) -> None:
    """With insecure anybody is believed, and a context of one's own decides by itself."""
    async with (
        listening(polite, broker) as port,
        connect(f"stomp+ssl://127.0.0.1:{port}", insecure=True) as client,
    ):
        assert client.version == "1.2"
    context = ssl.create_default_context(cafile=broker.cert)
    context.check_hostname = False
    async with (
        listening(polite, broker) as port,
        connect(f"stomp+ssl://127.0.0.1:{port}", ssl_context=context) as client,
    ):
        assert client.version == "1.2"


async def test_client_certificate(broker: Certificate, program: Certificate) -> None:
    """A broker that asks who we are gets the certificate of cert_file; without it there is none."""
    options: dict[str, Any] = {"ca_file": broker.cert}
    async with listening(polite, broker, program) as port:
        with pytest.raises((ConnectError, ConnectionLostError)):
            async with connect(f"stomp+ssl://localhost:{port}", **options):
                pytest.fail("there is no session")
    async with (
        listening(polite, broker, program) as port,
        connect(
            f"stomp+ssl://localhost:{port}",
            cert_file=program.cert,
            key_file=program.key,
            **options,
        ) as client,
    ):
        assert client.version == "1.2"


async def test_no_tls_on_the_other_side() -> None:
    """A broker that does not speak TLS is a ConnectError in words."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def serve() -> None:
        async with listener, await listener.accept() as stream:
            await stream.send_all(b"ERROR\nmessage:unknown command\n\n\0")
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(ConnectError, match="TLS failed: wrong version number"):
            async with connect(f"stomp+ssl://localhost:{port}"):
                pytest.fail("there is no session")


async def test_broken_off_without_a_word(broker: Certificate) -> None:
    """A connection that ends without TLS's own end is an ordinary lost connection."""

    async def script(scripted: ScriptedBroker) -> None:
        await scripted.accept()
        assert isinstance(scripted.stream, trio.SSLStream)
        await scripted.stream.transport_stream.aclose()

    async with (
        listening(script, broker) as port,
        connect(f"stomp+ssl://localhost:{port}", ca_file=broker.cert) as client,
    ):
        assert isinstance(await client.wait_ended(), ConnectionLostError)


async def test_what_cannot_be_meant(broker: Certificate, tmp_path: Path) -> None:
    """Options of TLS without TLS, missing files and contradictions are refused before dialling."""
    context = ssl.create_default_context()
    missing = str(tmp_path / "missing")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("stomp://localhost", {"ca_file": broker.cert}, "write stomp\\+ssl://"),
        ("stomp://localhost", {"insecure": True}, "insecure is for TLS"),
        ("stomp+ssl://localhost", {"ca_file": missing}, "no such file"),
        ("stomp+ssl://localhost", {"cert_file": missing}, "no such file"),
        ("stomp+ssl://localhost", {"cert_file": broker.cert}, "TLS failed|pem lib"),
        ("stomp+ssl://localhost", {"key_file": broker.key}, "cert_file, which is missing"),
        ("stomp+ssl://localhost", {"ca_file": broker.cert, "insecure": True}, "give one of them"),
        (
            "stomp+ssl://localhost",
            {"ssl_context": context, "ca_file": broker.cert},
            "belongs into the ssl_context",
        ),
    ]
    for url, options, words in cases:
        with pytest.raises(UsageError, match=words):
            async with connect(url, **options):
                pytest.fail("there is no session")
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="insecure is for TLS"):
        async with connect_stream(near, insecure=True):
            pytest.fail("there is no session")


async def test_tls_over_a_given_stream(broker: Certificate) -> None:
    """A stream that the program opens itself, such as a tunnel's, is put under TLS as well."""
    async with listening(polite, broker) as port:

        async def dial(address: Address) -> trio.abc.Stream:
            assert address == Address(host="localhost", port=61614, tls=True)
            return await trio.open_tcp_stream("127.0.0.1", port)

        async with connect("stomp+ssl://localhost", dial=dial, ca_file=broker.cert) as client:
            await client.ping()
    assert client.confirmed


async def test_reconnect_over_tls(broker: Certificate) -> None:
    """A client with several URLs may mix those with and without TLS."""
    async with (
        listening(polite, broker) as port,
        connect(
            ["stomp://127.0.0.1:1", f"stomp+ssl://localhost:{port}"], ca_file=broker.cert
        ) as client,
    ):
        assert client.address == f"localhost:{port}"
