"""TLS: whom we believe, and who we are."""

import ssl
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import trio

from stompcli.client.errors import ConnectError, UsageError
from stompcli.client.options import Settings
from stompcli.client.reasons import words
from stompcli.client.url import Address

_OPTIONS: Final = ("ssl_context", "ca_file", "cert_file", "key_file", "insecure")


def prepared(settings: Settings, addresses: Sequence[Address]) -> Settings:
    """Return the settings with the TLS context that the addresses need, made of the other options.

    Raises `UsageError` for files that cannot be used, and for options of TLS without any address
    that uses it: who gives them believes the connection to be safe.
    """
    given = [name for name in _OPTIONS if getattr(settings, name)]
    if not any(address.tls for address in addresses):
        if given:
            raise UsageError(f"{given[0]} is for TLS; write stomp+ssl://HOST:PORT")
        return settings
    if settings.ssl_context is None:
        return replace(settings, ssl_context=_context(settings))
    if given != ["ssl_context"]:
        raise UsageError(f"{given[1]} belongs into the ssl_context that is given")
    return settings


def _context(settings: Settings) -> ssl.SSLContext:
    if settings.key_file is not None and settings.cert_file is None:
        raise UsageError("key_file is the key of cert_file, which is missing")
    if settings.insecure and settings.ca_file is not None:
        raise UsageError("insecure checks nothing, so ca_file has no effect; give one of them")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise UsageError(f"ca_file {settings.ca_file}: {words(error)}") from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:
            files = " and ".join(filter(None, (settings.cert_file, settings.key_file)))
            raise UsageError(f"{files}: {words(error)}") from error
    return context


async def wrap(
    stream: trio.abc.Stream, address: Address, context: ssl.SSLContext
) -> trio.abc.Stream:
    """Return the stream under TLS, once each side has accepted the other; else close it.

    Raises `ConnectError` with the reason, such as a certificate that is not trusted.
    """
    # Frames have their own ends: a connection closed without a word cuts off nothing unnoticed.
    secured = trio.SSLStream(stream, context, server_hostname=address.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except (trio.BrokenResourceError, ValueError) as error:
        await trio.aclose_forcefully(stream)
        raise ConnectError(str(address), words(error)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured
