"""TLS: the server's context, the handshake, and a socket that encrypts.

`TlsSocket` has the calls of a socket that `Connection` makes, and like a socket that does not block
it never waits. So connections know nothing of TLS, and nothing is copied between tasks. OpenSSL
works on memory; all reading and writing of the network is in here.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from trio.lowlevel import wait_readable, wait_writable

if TYPE_CHECKING:
    import socket

    from stompd.server.config import TlsSettings

# What the first octet of each handshake is.
HANDSHAKE: Final = 0x16

# Octets of plain text that are encrypted at once: a few records, so that little waits in here.
_AT_ONCE: Final = 256 * 1024
# Records hold no more.
_RECORD: Final = 16 * 1024
_READ_SIZE: Final = 16 * 1024

_CLIENT: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class CertificateError(Exception):
    """A certificate or key cannot be used; the text says which file, and why."""


class PlainTextError(Exception):
    """A client speaks, but not TLS; ``args[0]`` is what it said first."""


class HandshakeError(Exception):
    """A client and stompd did not agree; the text says why."""


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return what new connections are encrypted with; reads the files.

    Raises `CertificateError`.
    """
    if settings.certificate is None:
        raise CertificateError("tls.certificate is missing: a listener for TLS needs one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION
    # A ticket is for clients that come again and again. One that sends its frames and closes would
    # leave it unread, and that is a reset, by which what it sent can be lost.
    context.num_tickets = 0
    key = settings.key or settings.certificate
    for file in (settings.certificate, key, settings.client_ca):
        if file is None:
            continue
        try:
            with file.open("rb"):
                pass
        except OSError as error:
            raise CertificateError(f"{file} cannot be read: {error.strerror}") from error
    encrypted = False

    def no_password() -> str:
        # Else OpenSSL would ask for it on the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(settings.certificate, key, no_password)
    except ssl.SSLError as error:
        if encrypted:
            reason = f"the key in {key} is encrypted: give it without a passphrase, mode 0600"
        elif error.reason == "KEY_VALUES_MISMATCH":
            reason = f"the key in {key} does not belong to the certificate"
        else:
            reason = f"no certificate with its key: {_reason(error)}"
        raise CertificateError(f"{settings.certificate}: {reason}") from error
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            raise CertificateError(
                f"{settings.client_ca}: no certificates: {_reason(error)}"
            ) from error
    elif settings.client != "none":
        raise CertificateError(
            f'tls.client is "{settings.client}", but tls.client-ca is missing: '
            "it says whose certificates of clients are good"
        )
    context.verify_mode = _CLIENT[settings.client]
    return context


def _reason(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, in lower case and without its numbers."""
    if error.reason:
        return error.reason.replace("_", " ").lower()
    return re.sub(r"^\[SSL\] | \(_ssl\.c:\d+\)$", "", str(error))


class TlsSocket:
    """The calls of a socket that does not block, over one that is encrypted; see `shake_hands`."""

    __slots__ = ("_claimed", "_incoming", "_outgoing", "_socket", "_tls", "_unsent")

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        self._socket = sock
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        # What is encrypted and was not taken by the network yet, and how much of what `send` was
        # given that is. Until it is taken, `send` says that nothing was.
        self._unsent = memoryview(b"")
        self._claimed = 0

    def fileno(self) -> int:
        """Return the descriptor, -1 once it is closed."""
        return self._socket.fileno()

    @property
    def version(self) -> str:
        """The version of TLS, such as ``TLSv1.3``."""
        return str(self._tls.version())

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The client's certificate, which was verified, as `ssl` describes it; None without one."""
        return self._tls.getpeercert() or None

    def recv(self, size: int) -> bytes:
        """Return all that one read of ``size`` octets brought, ``b""`` at the end.

        Nothing that could be read is left over: it would not make the descriptor readable. Raises
        `BlockingIOError` if there is nothing, and `OSError`, which `ssl.SSLError` is, if there will
        be nothing any more.
        """
        ended = False
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            # What came with the end of the handshake is here already.
            if not self._incoming.pending:
                raise
        else:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                ended = True
                break
            if not piece:
                ended = True
                break
            pieces.append(piece)
        if self._outgoing.pending:
            # An answer of TLS itself; if there is no room now, it goes with what is sent next. That
            # the peer takes nothing any more is no reason not to read what it sent.
            self._encrypted()
            with suppress(OSError):
                self._push()
        if pieces:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if ended:
            return b""
        raise BlockingIOError

    def send(self, data: bytes | memoryview) -> int:
        """Encrypt and write what it can, and return how much of ``data`` that is.

        Raises `BlockingIOError` if the network took nothing; the next call has to begin with the
        same octets, since they are encrypted already.
        """
        if self._unsent:
            self._push()
            claimed, self._claimed = self._claimed, 0
            if claimed:
                return claimed
        plain = memoryview(data)[:_AT_ONCE]
        done = 0
        while done < len(plain):
            done += self._tls.write(plain[done:])
        self._encrypted()
        self._claimed = done
        self._push()
        self._claimed = 0
        return done

    def sendmsg(self, parts: list[bytes]) -> int:
        """Do what `send` does with several pieces."""
        return self.send(b"".join(parts))

    def _encrypted(self) -> None:
        fresh = self._outgoing.read()
        self._unsent = memoryview(bytes(self._unsent) + fresh if self._unsent else fresh)

    def _push(self) -> None:
        """Write what is encrypted; raises `BlockingIOError` if some of it is left."""
        while self._unsent:
            sent = self._socket.send(self._unsent)
            self._unsent = self._unsent[sent:]

    def shutdown(self, how: int) -> None:
        """Tell the peer that nothing more will come, and end the direction of ``how``."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # The peer need not say the same; and whoever broke off is not told.
            pass
        self._encrypted()
        self._push()
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket, without a word."""
        self._socket.close()


async def shake_hands(sock: socket.socket, context: ssl.SSLContext) -> TlsSocket:
    """Return an encrypted socket once both sides agree; ``sock`` stays the caller's until then.

    Raises `PlainTextError`, `HandshakeError`, and `OSError` if the connection is lost.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    first = True
    while True:
        await wait_readable(sock)
        try:
            data = sock.recv(_READ_SIZE)
        except BlockingIOError:
            continue
        if not data:
            raise HandshakeError("the client went away")
        if first and data[0] != HANDSHAKE:
            raise PlainTextError(data)
        first = False
        incoming.write(data)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await _send_all(sock, outgoing.read())
            continue
        except ssl.SSLError as error:
            # It holds the alert that tells the client.
            await _send_all(sock, outgoing.read())
            verification = getattr(error, "verify_message", None)
            raise HandshakeError(verification or _reason(error)) from error
        await _send_all(sock, outgoing.read())
        return TlsSocket(sock, tls, incoming, outgoing)


async def _send_all(sock: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            await wait_writable(sock)
