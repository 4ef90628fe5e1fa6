"""Why something failed, in words for people, and errors raised again for several tasks."""

import errno
import os
import ssl

from stompcli.client import body as bodies
from stompcli.client.errors import BodyError, BrokerError, ConnectionLostError, StompError
from stompd.protocol.errors import shown


def text_of(body: bytes) -> str:
    """Return the body of an ERROR as text, whatever it is."""
    try:
        return bodies.decode(body, None).strip()
    except BodyError:
        return shown(body)


def again(error: StompError) -> StompError:
    """Return an error to raise here for one that happened elsewhere, perhaps to several tasks."""
    if isinstance(error, BrokerError):
        fresh: StompError = BrokerError(error.message, error.detail, error.headers, error.body)
    else:
        fresh = type(error)(*error.args)
    fresh.__cause__ = error.__cause__
    return fresh


def lost(address: str, error: BaseException) -> ConnectionLostError:
    """Return the error of a connection that broke because of ``error``."""
    broken = ConnectionLostError(f"the connection to {address} broke: {words(error)}")
    broken.__cause__ = error
    return broken


def words(error: BaseException) -> str:
    """Return the operating system's words for why a connection failed."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {seen.verify_message}"
        if isinstance(seen, ssl.SSLError):
            # Its errno means something else than the system's.
            return f"TLS failed: {(seen.reason or str(seen)).lower().replace('_', ' ')}"
        if isinstance(seen, OSError) and seen.errno is not None and seen.strerror:
            known = seen.errno in errno.errorcode
            return (os.strerror(seen.errno) if known else seen.strerror).lower()
        seen = seen.__cause__ or seen.__context__
    return str(error) or type(error).__name__
