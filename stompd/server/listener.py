"""Listening sockets, and taking connections from them."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

if TYPE_CHECKING:
    from pathlib import Path

    from stompd.server.units import Address


class Accepts(Protocol):
    """What takes connections."""

    def accept(self, sock: socket.socket, peer: str, address: str) -> object:
        """Serve a new connection of ``peer``; ``address`` is that without its port."""


log = structlog.get_logger()

_BACKLOG: Final = 1024
_AT_ONCE: Final = 64
# Descriptors or memory ran out: what is open may end in the meantime.
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE: Final = 0.1
# Seconds of silence before the system asks a peer, seconds between questions, and how many.
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))


def open_tcp(address: Address, *, shared: bool = False) -> list[socket.socket]:
    """Return listening sockets for every IP address that ``address`` stands for.

    With port 0 all of them get the same free port. With ``shared`` other processes may listen on it
    too, and share what comes. Raises `OSError`.
    """
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.settimeout(0)
            sock.bind((place[0], port, *place[2:]))
            sock.listen(_BACKLOG)
            port = sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def open_unix(path: Path) -> socket.socket:
    """Return a listening Unix socket; one that nobody listens on any more is replaced.

    Raises `OSError`.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(0)
    try:
        try:
            sock.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not path.is_socket() or _is_live(path):
                raise
            path.unlink()
            sock.bind(str(path))
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _is_live(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Whoever listens there may be too busy to accept; that is no reason to wait for it.
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


async def accept_all(service: Accepts, listener: socket.socket) -> None:
    """Hand every connection of a listening socket to a service, until cancelled."""
    exhausted = False
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _ in range(_AT_ONCE):
            try:
                sock, place = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    if not exhausted:
                        log.warning("cannot take connections", reason=error.strerror)
                    exhausted = True
                    await trio.sleep(_PAUSE)
                    break
                # The peer gave up before it was its turn.
                continue
            exhausted = False
            peer, address = _names(sock, place)
            sock.settimeout(0)
            if sock.family != socket.AF_UNIX:
                # A peer that is gone already makes these fail; reading will find out.
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _keep_alive(sock)
            try:
                service.accept(sock, peer, address)
            except Exception:
                # The next connection may be luckier, and the open ones are not concerned.
                log.exception("a connection was not taken by a fault of stompd", peer=peer)
                sock.close()


def _keep_alive(sock: socket.socket) -> None:
    """Have the system find out that a silent peer is gone, in minutes and not in hours."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _names(sock: socket.socket, place: object) -> tuple[str, str]:
    """Return a peer's name for people, and its address without the port."""
    if sock.family == socket.AF_UNIX or not isinstance(place, tuple):
        return "unix", "unix"
    return name_of(place[0], place[1]), place[0]


def name_of(host: str, port: int) -> str:
    """Return an address as people write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
