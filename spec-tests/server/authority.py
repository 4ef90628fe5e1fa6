"""An authority for the tests of TLS, and connections that trust it."""

import socket
import ssl
from pathlib import Path
from typing import cast

import trio
import trustme
from server.edge import PATIENCE, Edge, Peer, settings

from stompd.server.config import Settings


class Files:
    """An authority, and the files that it has made."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.directory = directory
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.certificate = self.make("server")

    def make(self, name: str, host: str = "localhost") -> Path:
        """Return a file with a certificate and its key."""
        file = self.directory / f"{name}.pem"
        made = self.authority.issue_cert(host, common_name=name)
        made.private_key_and_cert_chain_pem.write_to_path(str(file))
        return file

    def client(self, certificate: Path | None = None) -> ssl.SSLContext:
        """Return a client's context."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def settings(self, **tls: object) -> Settings:
        """Return settings with a listener for TLS, and one without."""
        table = {"listen": ["127.0.0.1:0"], "certificate": str(self.certificate), **tls}
        return settings(tls=table)


async def connect(edge: Edge, context: ssl.SSLContext, buffer: int | None = None) -> Peer:
    """Open a connection with TLS."""
    sock = trio.socket.socket()
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    try:
        with trio.fail_after(PATIENCE):
            await sock.connect(("127.0.0.1", edge.started.tls_ports[0]))
            stream = trio.SSLStream(trio.SocketStream(sock), context, server_hostname="localhost")
            await stream.do_handshake()
    except BaseException:
        sock.close()
        raise
    return Peer(cast("trio.SocketStream", stream))
