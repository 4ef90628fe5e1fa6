"""All the sockets that stompd listens on, opened together or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stompd.server import listener
from stompd.server.tls import make_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from stompd.server.config import Settings
    from stompd.server.http.port import HttpPort


@dataclass
class Doors:
    """The sockets, and which ports they got."""

    plain: list[socket.socket] = field(default_factory=list)
    encrypted: list[socket.socket] = field(default_factory=list)
    # What the connections of ``encrypted`` are encrypted with, and those of HTTP if they are.
    tls: ssl.SSLContext | None = None
    # One for each address of the settings, in their order.
    ports: list[int] = field(default_factory=list)
    tls_ports: list[int] = field(default_factory=list)
    # The port for HTTP, None if that is off; it closes itself when it stops.
    web: HttpPort | None = None
    _paths: list[Path] = field(default_factory=list)

    def open(self, settings: Settings) -> None:
        """Listen on every address; raises `OSError`, `stompd.server.tls.CertificateError`."""
        if settings.tls.listen or (settings.http.listen and settings.http.tls):
            self.tls = make_context(settings.tls)
        shared = settings.reuse_port
        for address in settings.listen:
            found = listener.open_tcp(address, shared=shared)
            self.plain += found
            self.ports.append(found[0].getsockname()[1])
        for address in settings.tls.listen:
            found = listener.open_tcp(address, shared=shared)
            self.encrypted += found
            self.tls_ports.append(found[0].getsockname()[1])
        for path in settings.unix:
            self.plain.append(listener.open_unix(path))
            self._paths.append(path)
        if settings.http.listen:
            # Who has it off does not pay for it with time and memory.
            from stompd.server.http.port import HttpPort  # noqa: PLC0415

            self.web = HttpPort(settings.http)

    def close(self) -> None:
        """Listen no more for STOMP."""
        for sock in (*self.plain, *self.encrypted):
            sock.close()

    def end(self) -> None:
        """Close what is still open, and remove what Unix sockets have left."""
        self.close()
        if self.web is not None:
            self.web.close()
        for path in self._paths:
            path.unlink(missing_ok=True)


@contextmanager
def open_doors(settings: Settings) -> Iterator[Doors]:
    """Listen on every address for as long as the block runs, or until `Doors.close`.

    Raises `OSError` if an address cannot be had, and `stompd.server.tls.CertificateError`.
    """
    doors = Doors()
    try:
        doors.open(settings)
        yield doors
    finally:
        doors.end()
