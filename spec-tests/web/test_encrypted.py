"""HTTP over TLS: requests, WebSockets, certificates, and who does not encrypt."""

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
import websocket
from server.edge import PATIENCE, Edge, serving, settings, web
from server.process import daemon
from web.test_stompjs import LIBRARY, PROGRAM

from stompcli.client import connect
from stompd.server.config import Settings


class Files:
    """An authority, and the certificate that stompd has of it."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.certificate = directory / "server.pem"
        self.issue("first")

    def issue(self, name: str) -> None:
        """Have another certificate in the same file."""
        made = self.authority.issue_cert("localhost", "127.0.0.1", common_name=name)
        made.private_key_and_cert_chain_pem.write_to_path(str(self.certificate))

    def context(self) -> ssl.SSLContext:
        """Return a client's context."""
        return ssl.create_default_context(cafile=str(self.ca))

    def settings(self, **tls: object) -> Settings:
        """Return settings with an encrypted port for HTTP, and none for STOMP over TLS."""
        table = {"certificate": str(self.certificate), **tls}
        return settings(http=web(tls=True), tls=table)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return an authority for the test."""
    return Files(tmp_path)


async def get(edge: Edge, files: Files, path: str, method: str = "GET") -> httpx.Response:
    """Return the answer to a request."""
    url = f"https://127.0.0.1:{edge.http_port}{path}"

    def send() -> httpx.Response:
        with httpx.Client(verify=files.context(), trust_env=False, timeout=PATIENCE) as client:
            return client.request(method, url)

    return await trio.to_thread.run_sync(send)


async def subject(edge: Edge, files: Files) -> str:
    """Return the name in the certificate that the port shows."""

    def look() -> Any:  # noqa: ANN401 - of `ssl`
        with (
            socket.create_connection(("127.0.0.1", edge.http_port), PATIENCE) as sock,
            files.context().wrap_socket(sock, server_hostname="127.0.0.1") as encrypted,
        ):
            return encrypted.getpeercert()

    certificate = await trio.to_thread.run_sync(look)
    return str(dict(pair for part in certificate["subject"] for pair in part)["commonName"])


async def test_requests_are_answered(files: Files) -> None:
    """As without it: the console, a long answer, a body that is sent, several in turn."""
    async with serving(files.settings()) as edge:
        assert (await get(edge, files, "/healthz")).status_code == 200
        assert (await get(edge, files, "/")).text.startswith("<!doctype html>")
        described = await get(edge, files, "/api/v1/openapi.json")
        assert described.json()["info"]["title"] == "stompd"
        assert (await get(edge, files, "/api/v1/purge", "POST")).status_code == 403


async def test_a_websocket_is_encrypted(files: Files) -> None:
    """wss: a large body there and back, and what comes while nobody is asked."""
    async with serving(files.settings()) as edge:
        url = f"wss://127.0.0.1:{edge.http_port}/ws"
        body = bytes(range(256)) * 8000
        async with (
            connect(url, ca_file=str(files.ca)) as client,
            client.subscribe("/queue/a") as messages,
        ):
            for _ in range(3):
                await client.send("/queue/a", body)
            with trio.fail_after(PATIENCE):
                got = [(await messages.receive()).body for _ in range(3)]
        assert got == [body] * 3


async def test_a_certificate_is_read_again(files: Files) -> None:
    """For who comes; who is there stays. One that cannot be used changes nothing."""
    given = files.settings()
    async with serving(given) as edge:
        url = f"wss://127.0.0.1:{edge.http_port}/ws"
        options = {"ca_certs": str(files.ca)}
        before = await trio.to_thread.run_sync(
            lambda: websocket.create_connection(url, sslopt=options, timeout=PATIENCE)
        )
        assert await subject(edge, files) == "first"
        files.issue("second")
        edge.service.reload(given, "stompd/test", None)
        assert await subject(edge, files) == "second"
        before.ping()
        files.certificate.write_text("nonsense")
        edge.service.reload(given, "stompd/test", None)
        assert edge.log.of("certificates not reloaded, the old ones stay")
        assert await subject(edge, files) == "second"
        await trio.to_thread.run_sync(before.close)


async def test_who_is_stuck_is_cut_off_by_a_stop(files: Files) -> None:
    """What waits for a peer that reads nothing does not keep stompd alive."""
    async with serving(files.settings()) as edge:
        url = f"wss://127.0.0.1:{edge.http_port}/ws"
        options = {"ca_certs": str(files.ca)}
        sock = await trio.to_thread.run_sync(
            lambda: websocket.create_connection(url, sslopt=options, timeout=PATIENCE)
        )
        sock.send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        sock.send("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\0")
        await edge.until(lambda: "/queue/a" in edge.service.broker.hosts[0].queues)
        peer = await edge.login()
        for _ in range(20):
            await peer.put("/queue/a", b"x" * 1_000_000)
        assert edge.depth("/queue/a") > 0
    await trio.to_thread.run_sync(sock.shutdown)


async def test_who_does_not_encrypt_is_told_so(files: Files) -> None:
    """And it is logged, like a handshake that fails, one that never ends, and who goes away."""
    given = files.settings().model_copy(
        update={"timeouts": settings().timeouts.model_copy(update={"login": 0.2})}
    )
    async with serving(given) as edge:
        place = ("127.0.0.1", edge.http_port)

        def plain() -> httpx.Response:
            return httpx.get(f"http://127.0.0.1:{edge.http_port}/", trust_env=False)

        answer = await trio.to_thread.run_sync(plain)
        assert (answer.status_code, answer.text) == (
            400,
            "This port speaks TLS: use https or wss.\n",
        )
        told = await edge.log.first("no http connection")
        assert told["reason"] == "plain text on a port for TLS"
        for octets in (b"\x16nonsense", b""):
            stream = await trio.open_tcp_stream(*place)
            with trio.fail_after(PATIENCE):
                if octets:
                    await stream.send_all(octets)
                while await stream.receive_some():
                    pass
            await stream.aclose()
        stream = await trio.open_tcp_stream(*place)
        await stream.aclose()
        assert (await get(edge, files, "/healthz")).status_code == 200


def test_it_needs_a_certificate() -> None:
    """That is told before the start."""
    words = [sys.executable, "-m", "stompd", "--check", "--memory", "--set", "http.tls=true"]
    done = subprocess.run(
        [*words, "--http-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert "tls.certificate is missing" in done.stderr


@pytest.mark.slow
@pytest.mark.needs_tool("node")
def test_stompjs_speaks_with_it(files: Files) -> None:
    """The library of browsers, over wss; the place is told as https."""
    tls = ("--set", "http.tls=true", "--set", f"tls.certificate={files.certificate}")
    with daemon("--http-listen", "127.0.0.1:0", *tls) as stompd:
        assert stompd.url.startswith("https://127.0.0.1:")
        url = stompd.url.replace("https:", "wss:") + "/ws"
        done = subprocess.run(
            ["node", str(PROGRAM), str(LIBRARY), url, "1.2"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={"NODE_EXTRA_CA_CERTS": str(files.ca), "PATH": "/usr/bin:/usr/local/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["large"] is True
