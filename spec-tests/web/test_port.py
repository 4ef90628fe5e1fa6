"""The HTTP port from its listening sockets to its end."""

import signal
import socket
import subprocess
import sys

import httpx
import pytest
import trio
from server.edge import PATIENCE, serving, settings, web
from server.process import daemon
from web.asking import ask

from stompd.server.exitcodes import Exit


async def test_it_answers_and_says_what_a_browser_may_do() -> None:
    """Nothing may be loaded, framed or kept unless a page says so."""
    async with serving(settings(http=web())) as edge:
        answer = await ask(edge, "GET", "/healthz")
        assert (answer.status_code, answer.text) == (200, "alive\n")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert (await ask(edge, "GET", "/nothing")).status_code == 404
        assert (await ask(edge, "DELETE", "/healthz")).status_code == 405


async def test_a_name_that_is_not_ours_is_refused() -> None:
    """Else any page could have its name lead here (DNS rebinding), while nobody has to log in."""
    async with serving(settings(http=web(hosts=["broker.example"]))) as edge:
        strange = {"Host": "evil.example"}
        answer = await ask(edge, "GET", "/", headers=strange)
        assert answer.status_code == 403
        assert "http.hosts" in answer.json()["error"]["message"]
        known = await ask(edge, "GET", "/nothing", headers={"Host": "Broker.example"})
        assert known.status_code == 404
        assert (await ask(edge, "GET", "/healthz", headers=strange)).status_code == 200


async def test_no_more_connections_than_the_settings_say() -> None:
    """One more is closed, and told of once; when one is gone there is room again."""
    async with serving(settings(http=web(connections=1))) as edge:
        async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as first:
            await first.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await first.receive_some()).startswith(b"HTTP/1.1 200 ")
            for _ in range(2):
                async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as more:
                    assert await more.receive_some() == b""
            assert len(edge.log.of("http connections refused")) == 1
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    assert (await ask(edge, "GET", "/healthz")).status_code == 200
                except httpx.HTTPError:
                    await trio.sleep(0.05)
                else:
                    break


async def test_nonsense_is_answered_and_ends_nothing() -> None:
    """What is no HTTP gets 400 or is closed; the port goes on."""
    async with serving(settings(http=web())) as edge:
        for octets in (
            b"CONNECT\n\n\0",
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/9\r\n\r\n",
            b"\0" * 9,
        ):
            async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as peer:
                await peer.send_all(octets)
                await peer.send_eof()
                with trio.fail_after(PATIENCE):
                    answer = b"".join([part async for part in peer])
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
        assert (await ask(edge, "GET", "/healthz")).status_code == 200
        assert not edge.log.of("an http connection failed")


async def test_a_body_that_nobody_reads_does_no_harm() -> None:
    """A small one is read to its end, and the connection goes on; with a large one it ends."""
    async with serving(settings(http=web())) as edge:
        head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as peer:
            for _ in range(3):
                await peer.send_all(head % 50_000 + b"x" * 50_000)
                got = b""
                while not got.endswith(b"Method Not Allowed"):
                    got += await peer.receive_some()
        async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as peer:
            await peer.send_all(head % 50_000_000)
            async with trio.open_nursery() as nursery:
                with trio.fail_after(PATIENCE):
                    nursery.start_soon(flood, peer)
                    while b"Method Not Allowed" not in got:
                        got = await peer.receive_some()
        assert (await ask(edge, "GET", "/healthz")).status_code == 200


async def flood(peer: trio.SocketStream) -> None:
    """Send until that is not possible any more."""
    try:
        while True:
            await peer.send_all(b"x" * 65536)
    except trio.BrokenResourceError:
        return


async def test_a_stop_closes_connections_that_wait() -> None:
    """They are closed, not cut off after some time; and nothing more is taken."""
    async with serving(settings(http=web())) as edge:
        async with await trio.open_tcp_stream("127.0.0.1", edge.http_port) as peer:
            await peer.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await peer.receive_some()).startswith(b"HTTP/1.1 200 ")
            edge.started.stop()
            with trio.fail_after(PATIENCE):
                rest = b"".join([part async for part in peer])
            assert rest in {b"", b"alive\n"}
            await edge.log.first("stopped")
        with pytest.raises(OSError):  # noqa: PT011 - whatever the system calls it
            await trio.open_tcp_stream("127.0.0.1", edge.http_port)


def test_it_is_told_where_it_listens() -> None:
    """In the banner, and in the line for programs."""
    with daemon("--http-listen", "127.0.0.1:0") as stompd:
        assert httpx.get(f"{stompd.url}/healthz", trust_env=False).text == "alive\n"
        stompd.signal(signal.SIGTERM)
        assert stompd.ended() == 0
        (row,) = [line for line in stompd.lines if line.startswith("listening  http")]
        assert row.split()[2] == stompd.url.removeprefix("http://")
        assert f"console {stompd.url}/ " in row


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    """The address is named, and three flags that help; the status is 69."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        command = [sys.executable, "-m", "stompd", "--memory", "--listen", "127.0.0.1:0"]
        done = subprocess.run(
            [*command, "--http-listen", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == Exit.UNAVAILABLE
    assert done.stderr == (
        f"stompd: cannot listen on 127.0.0.1:{port}: the port is in use, perhaps by another "
        f"stompd\n  another port: --http-listen 127.0.0.1:{port + 1}     a free one: "
        "--http-listen 127.0.0.1:0     none: --http-listen off\n"
    )


def test_an_exposed_address_is_refused() -> None:
    """As for STOMP: without users nobody else may reach it."""
    command = [sys.executable, "-m", "stompd", "--http-listen", "0.0.0.0:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == Exit.CONFIGURATION
    assert "will not listen on 0.0.0.0:0: no users are configured" in done.stderr


def test_who_has_it_off_does_not_load_it() -> None:
    """It costs time and memory only where it is on."""
    script = (
        "import sys, stompd.server.start, stompd.server.run; "
        "sys.exit(bool({'hypercorn', 'starlette', 'prometheus_client'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
