"""Listening sockets: addresses, ports, Unix sockets, and taking connections under pressure."""

import errno
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest
import trio
from server.edge import CONNECT, PATIENCE, Edge, serving, settings

from stompd.server import listener
from stompd.server.service import Service
from stompd.server.units import Address


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# -- TCP -------------------------------------------------------------------------------------------


async def test_ipv6_is_served() -> None:
    """A session over IPv6; the peer's name stands in the usual notation."""
    async with serving(settings(listen=["[::1]:0"])) as edge:
        peer = await (await edge.connect(host="::1")).login()
        await peer.sync()
        (session,) = edge.service.connections
        assert session.peer.startswith("[::1]:")


def test_a_name_may_stand_for_several_addresses() -> None:
    """``localhost`` is listened on by all its addresses, with one port for all of them."""
    sockets = listener.open_tcp(Address("localhost", 0))
    with closing(sockets[0]):
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert len({sock.getsockname()[0] for sock in sockets}) == len(sockets)
        for sock in sockets:
            sock.close()


def test_a_port_in_use_is_an_error_and_leaves_nothing_open() -> None:
    """The error is the system's; a socket that was opened before it is closed again."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        before = descriptors()
        with pytest.raises(OSError, match="in use") as caught:
            listener.open_tcp(Address("127.0.0.1", busy.getsockname()[1]))
        assert caught.value.errno == errno.EADDRINUSE
        assert descriptors() == before


async def test_several_addresses_are_served_at_once(tmp_path: Path) -> None:
    """Each of them reaches the same broker."""
    path = tmp_path / "s"
    given = settings(listen=["127.0.0.1:0", "[::1]:0"], unix=[str(path)])
    async with serving(given) as edge:
        await (await edge.login()).put("/queue/a", b"one")
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("::1", edge.started.ports[1])
            await stream.send_all(b"CONNECT\n\n\0SEND\ndestination:/queue/a\n\ntwo\0")
        await edge.until(lambda: edge.depth("/queue/a") == 2)
        await stream.aclose()
        unix = await (await edge.connect_unix(path)).login()
        await unix.subscribe("/queue/a")
        assert [(await unix.expect("MESSAGE")).body for _ in range(2)] == [b"one", b"two"]


async def test_the_system_looks_after_silent_peers() -> None:
    """A peer without heart-beats that has vanished is found out in minutes."""
    async with serving() as edge:
        await edge.login()
        (connection,) = edge.service.connections.values()
        sock = connection._socket  # noqa: SLF001 - its options are the matter
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -- Unix sockets ----------------------------------------------------------------------------------


async def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    """Sessions work as over TCP; after the stop the path is free."""
    path = tmp_path / "s"
    async with serving(settings(listen=[], unix=[str(path)])) as edge:
        assert stat.S_ISSOCK(path.stat().st_mode)
        peer = await (await edge.connect_unix(path)).login()
        await peer.sync()
        (session,) = edge.service.connections
        assert session.peer == "unix"
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    """The file that a killed stompd has left behind is no obstacle."""
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert path.exists()
    async with serving(settings(listen=[], unix=[str(path)])) as edge:
        await (await edge.connect_unix(path)).login()


def test_a_live_unix_socket_is_refused(tmp_path: Path) -> None:
    """Who listens there is not robbed of it, even if it is too busy to accept."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(0)
        for _ in range(3):
            # The first attempt to find out fills its backlog.
            with pytest.raises(OSError, match="in use"):
                listener.open_unix(path)
        assert path.exists()


def test_an_ordinary_file_is_not_replaced(tmp_path: Path) -> None:
    """A path given by mistake does not cost the file that is there."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="in use"):
        listener.open_unix(path)
    assert path.read_text() == "data"


# -- Under pressure --------------------------------------------------------------------------------


async def session(edge: Edge) -> None:
    """Connect, SEND, DISCONNECT with a receipt, close."""
    peer = await edge.connect()
    await peer.write(CONNECT + "SEND⏎destination:/queue/a⏎⏎x^@DISCONNECT⏎receipt:bye⏎⏎^@")
    await peer.expect("CONNECTED")
    await peer.expect("RECEIPT", receipt_id="bye")
    assert await peer.rest() == b"\n"
    await peer.close()


@pytest.mark.slow
@pytest.mark.clause("LIM-06", "C-15")
async def test_rapid_connections_leak_no_descriptor() -> None:
    """2000 sessions, 100 at a time: all receipts come, all messages are there, nothing is left."""
    async with serving() as edge:
        await session(edge)
        await edge.until_open(0)
        before = descriptors()
        for _ in range(1000):
            await session(edge)
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(session, edge)
        await edge.until_open(0)
        assert descriptors() <= before
        assert edge.depth("/queue/a") == 2001
        assert edge.service.broker.sessions == {}
        assert edge.service.broker.opened_count == edge.service.broker.closed_count == 2001


async def test_accepting_goes_on_after_descriptors_ran_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without descriptors the listener pauses, says so once, and goes on when there are some."""
    real = socket.socket.accept
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3
    failures.append(OSError(errno.ECONNABORTED, "Software caused connection abort"))

    def accept(sock: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop(0)
        return real(sock)

    async with serving() as edge:
        monkeypatch.setattr(socket.socket, "accept", accept)
        peer = await edge.login()
        await peer.sync()
        (entry,) = edge.log.of("cannot take connections")
        assert entry["reason"] == "Too many open files"


async def test_a_fault_while_taking_a_connection_concerns_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That connection is closed, the fault is in the log, the next one is served."""
    async with serving() as edge:
        there = await edge.login()

        def fault(*_: object) -> None:
            raise RuntimeError("failed for a test")

        monkeypatch.setattr(Service, "accept", fault)
        peer = await edge.connect()
        assert await peer.rest() == b""
        assert edge.log.of("a connection was not taken by a fault of stompd")
        monkeypatch.undo()
        await (await edge.login()).sync()
        await there.sync()
