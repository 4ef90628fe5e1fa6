"""Where a broker is, as users write it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from stompcli.client.errors import UsageError

DEFAULT_HOST: Final = "localhost"
DEFAULT_PORT: Final = 61613
TLS_PORT: Final = 61614
_PORTS: Final = {"stomp": DEFAULT_PORT, "stomp+ssl": TLS_PORT, "ws": 80, "wss": 443}
_WEB_PATH: Final = "/ws"
_LAST_PORT: Final = 65535
# Between two URLs, not inside one: a scheme follows.
_COMMA: Final = re.compile(r"\s*,\s*(?=[a-z][a-z0-9+.-]*:)")


@dataclass(frozen=True)
class Address:
    """A broker's address, and what else its URL said."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    # The socket's path of unix:///path; host and port mean nothing then.
    path: str | None = None
    login: str | None = None
    passcode: str | None = None
    # The value for CONNECT's host header, if it is not the name used for the socket (C-10).
    virtual_host: str | None = None
    tls: bool = False
    # The path on a web server at which a WebSocket is to be had, None for a plain connection.
    websocket: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(url: str) -> Address:
    """Return the address of ``stomp://user:passcode@host:port/vhost`` or ``unix:///path``.

    ``stomp+ssl://`` is the first one under TLS; its port is 61614 by default. Every part but the
    scheme may be missing; user, passcode and virtual host may be percent-encoded
    (``stomp://host/%2F`` is the virtual host ``/``). ``ws://user:passcode@host:port/path`` is a
    WebSocket, ``wss://`` one under TLS; the port is that of HTTP or HTTPS by default, the path
    ``/ws``.
    Raises `UsageError` for anything else.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f'"{_hidden(url)}" is not a URL: {error}') from None
    if parts.query or parts.fragment:
        raise UsageError(f'"{_hidden(url)}": a broker\'s URL has no "?" or "#" part')
    if parts.scheme == "unix":
        return _unix(url, parts)
    usual = _PORTS.get(parts.scheme)
    if usual is None or not url.startswith(f"{parts.scheme}://"):
        raise UsageError(
            f'"{_hidden(url)}" is not a broker\'s URL; '
            "write stomp://HOST:PORT, stomp+ssl://HOST:PORT, ws://HOST:PORT/ws or unix:///PATH"
        )
    if port == 0:
        raise UsageError(f'"{_hidden(url)}": 0 is not a port (1-{_LAST_PORT})')
    if "," in (parts.hostname or ""):
        raise UsageError(
            f'"{_hidden(url)}" is not a URL: each of several has its scheme, stomp://A,stomp://B'
        )
    web = parts.scheme in ("ws", "wss")
    return Address(
        host=parts.hostname or DEFAULT_HOST,
        port=port or usual,
        login=_part(parts.username),
        passcode=_part(parts.password),
        virtual_host=None if web else _part(parts.path.removeprefix("/")) or None,
        tls=parts.scheme in ("stomp+ssl", "wss"),
        websocket=(parts.path or _WEB_PATH) if web else None,
    )


def addresses(urls: str | Address | Iterable[str | Address]) -> list[Address]:
    """Return the addresses of one broker or several, in the order given.

    Several are a list, or one text with commas, also as ActiveMQ's clients write it:
    ``failover:(stomp://a:61613,stomp://b:61613)``.
    Raises `UsageError` for what is no URL, and for none at all.
    """
    if isinstance(urls, Address):
        return [urls]
    if isinstance(urls, str):
        found = [parse(url) for url in several(urls)]
    else:
        found = [address for url in urls for address in addresses(url)]
    if not found:
        raise UsageError("there is no URL of a broker to connect to")
    return found


def several(text: str) -> list[str]:
    """Return the URLs in a text that holds one, or several as `addresses` takes them."""
    return _COMMA.split(_unwrapped(text.strip()))


def _unwrapped(text: str) -> str:
    """Return what stands inside failover:( )."""
    if not text.startswith("failover:"):
        return text
    inner = text.removeprefix("failover:").removeprefix("//")
    if inner.startswith("("):
        inner, _, rest = inner[1:].rpartition(")")
        if rest or not inner:
            raise UsageError(
                f'"{_hidden(text)}": options of failover are arguments of connect; '
                "write failover:(URL,URL)"
            )
    return inner


def _unix(url: str, parts: SplitResult) -> Address:
    if parts.hostname or not parts.path.startswith("/"):
        raise UsageError(f'"{_hidden(url)}": a socket\'s URL is unix:///PATH, with three slashes')
    return Address(
        path=unquote(parts.path), login=_part(parts.username), passcode=_part(parts.password)
    )


def _part(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _hidden(text: str) -> str:
    """Return the URL, or several, without a passcode, for an error text."""
    return ",".join(_without_passcode(url) for url in _COMMA.split(text))


def _without_passcode(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    if not at:
        return url
    login, colon, _ = account.partition(":")
    return f"{scheme}{mark}{login}{':***' if colon else ''}@{place}"
