"""A scripted broker under TLS, with a certificate made for the test."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from stompcli.client.testing import Script, ScriptedBroker


class Certificate:
    """A self-signed certificate and its key, as PEM files."""

    def __init__(self, directory: Path, name: str, *names: str) -> None:
        self.cert = str(directory / f"{name}.pem")
        self.key = str(directory / f"{name}.key")
        subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
                *("-addext", f"subjectAltName={','.join(names)}"),
                *("-keyout", self.key, "-out", self.cert),
            ],
            check=True,
            capture_output=True,
        )


async def polite(broker: ScriptedBroker) -> None:
    """Let the client in and out."""
    await broker.accept()
    await broker.serve_end()


@asynccontextmanager
async def listening(
    script: Script, certificate: Certificate, believed: Certificate | None = None
) -> AsyncIterator[int]:
    """Play a script under TLS for the first connection to a port, which is yielded."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    if believed is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(believed.cert)
    (listener,) = await trio.open_ssl_over_tcp_listeners(
        0, context, host="127.0.0.1", https_compatible=True
    )
    port = int(listener.transport_listener.socket.getsockname()[1])  # type: ignore[attr-defined]

    async def serve() -> None:
        async with listener:
            stream = await listener.accept()
        async with stream:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return
            await script(ScriptedBroker(stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield port
