"""What a connection goes through before its first octet of STOMP: a proxy's header, and TLS."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from socket import SHUT_WR
from typing import TYPE_CHECKING, Final

import structlog
import trio

from stompd.server.listener import name_of
from stompd.server.proxy import ProxyHeaderError, read_header
from stompd.server.tls import (
    CertificateError,
    HandshakeError,
    PlainTextError,
    make_context,
    shake_hands,
)

if TYPE_CHECKING:
    import socket
    import ssl

    from stompd.server.config import Settings
    from stompd.server.service import Service

log = structlog.get_logger()

# What a client is told that speaks STOMP where TLS is spoken; others are told nothing.
_SPEAK_TLS: Final = (
    b"ERROR\ncontent-type:text/plain\nmessage:this port speaks TLS\n\n"
    b"Connect with TLS (stomp --tls, openssl s_client -quiet), or to the port without.\n\0\n"
)


class Door:
    """Takes connections for `Welcome`; those of one door are all encrypted, or none is."""

    def __init__(self, welcome: Welcome, *, tls: bool) -> None:
        self._welcome = welcome
        self._tls = tls

    def accept(self, sock: socket.socket, peer: str, address: str) -> None:
        """Take a new connection; see `Welcome.receive`."""
        self._welcome.receive(sock, peer, address, tls=self._tls)


class Welcome:
    """Has connections served once all that comes before STOMP is done; ``service`` serves them."""

    def __init__(self, service: Service, tls: ssl.SSLContext | None) -> None:
        self._service = service
        # What new connections are encrypted with; None if no port is for such.
        self.tls = tls
        self.plain = Door(self, tls=False)
        self.encrypted = Door(self, tls=True)
        # Connections that have not come so far yet.
        self._waiting = 0

    def reload(self, settings: Settings) -> None:
        """Read the certificates again; if they cannot be used the old ones stay."""
        if self.tls is None:
            return
        try:
            self.tls = make_context(settings.tls)
        except CertificateError as error:
            log.error(  # noqa: TRY400 - the reason says it all
                "certificates not reloaded, the old ones stay", reason=str(error)
            )

    def receive(self, sock: socket.socket, peer: str, address: str, *, tls: bool) -> None:
        """Take a new connection from ``peer``; ``address`` is that without its port.

        With ``tls`` it is to be encrypted. Never waits.
        """
        service = self._service
        proxied = self._is_proxy(address)
        if not tls and not proxied:
            service.accept(sock, peer, address)
        elif self._waiting >= service.settings.limits.logins:
            reason = f"{self._waiting} connections are beginning already"
            log.warning("connection refused", peer=peer, reason=reason)
            sock.close()
        else:
            self._waiting += 1
            service.nursery.start_soon(self._prepare, sock, peer, address, proxied, tls)

    def _is_proxy(self, address: str) -> bool:
        networks = self._service.settings.proxies
        if not networks:
            return False
        if address == "unix":
            return False
        found = ip_address(address)
        return any(found in network for network in networks)

    async def _prepare(
        self,
        sock: socket.socket,
        peer: str,
        address: str,
        proxied: bool,  # noqa: FBT001 - by start_soon
        tls: bool,  # noqa: FBT001 - by start_soon
    ) -> None:
        service = self._service
        patience = service.settings.timeouts.login
        served = False
        reason = f"nothing was agreed within {patience:g} s"
        try:
            with trio.move_on_after(patience):
                if proxied and (place := await read_header(sock)) is not None:
                    address = place[0]
                    peer = name_of(*place)
                if not tls:
                    served = True
                    service.accept(sock, peer, address)
                    return
                assert self.tls is not None  # noqa: S101 - there is one where there is a listener
                encrypted = await shake_hands(sock, self.tls)
                served = True
                connection = service.accept(encrypted, peer, address)
                # What came together with the end of the handshake makes no socket readable.
                connection.ready(trio.current_time())
                service.flush()
                return
        except PlainTextError as error:
            reason = "plain text on the TLS port"
            if error.args[0][:1].isalpha():
                with suppress(OSError):
                    sock.send(_SPEAK_TLS)
                    sock.shutdown(SHUT_WR)
        except (HandshakeError, ProxyHeaderError) as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        finally:
            self._waiting -= 1
            if not served:
                trio.lowlevel.notify_closing(sock)
                sock.close()
        log.info("no connection", peer=peer, reason=reason)
