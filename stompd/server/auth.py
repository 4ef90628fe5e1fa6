"""Who may log in: the interface, and the answer of a broker without users."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

import trio

from stompd.protocol.frame import V12
from stompd.protocol.headers import unescape

if TYPE_CHECKING:
    from stompd.broker.session import Login

# From CONNECT to the ERROR that refuses it, whatever was wrong and however quickly that was seen.
REFUSAL_TIME: Final = 0.5

# Text that a client which escapes CONNECT, too, may have made: every backslash begins an escape.
_ESCAPED: Final = re.compile(r"(?:[^\\]|\\[rnc\\])*", re.DOTALL)


class LoginRefusedError(Exception):
    """The log-in is refused; the text is what the client is told, so it names no reason in detail.

    It must be the same for an unknown user and a wrong passcode.
    """


class Authenticator(Protocol):
    """Decides about log-ins; may take its time, since only that connection waits."""

    async def authenticate(self, login: Login, peer: str) -> str | None:
        """Return the user's name, None for an anonymous one.

        ``peer`` is the address of the connection. Raises `LoginRefusedError`.
        """


class Anonymous:
    """Lets everybody in: there are no users. What a client calls itself is kept for display."""

    async def authenticate(self, login: Login, peer: str) -> str | None:  # noqa: ARG002
        """Return the name that the client gave itself."""
        return login.user


def is_trusted(authenticator: Authenticator, address: str) -> bool:
    """Return whether who logs in from ``address`` may look at the broker and act on it.

    While there are no users that is everybody on this machine, and nobody else. ``address`` is an
    IP address, or "unix".
    """
    if not isinstance(authenticator, Anonymous):
        return False
    return address == "unix" or ip_address(address).is_loopback


async def log_in(authenticator: Authenticator, login: Login, peer: str) -> str | None:
    """Return the user's name, None for an anonymous one.

    CONNECT is read literally (ESC-05), but some clients escape what they write there. So if the
    log-in fails and user or passcode can be read as escaped, it is tried once more that way
    (AMB-07). Raises `LoginRefusedError`, and never earlier than `REFUSAL_TIME` seconds after the
    call (AMB-25).
    """
    began = trio.current_time()
    try:
        return await authenticator.authenticate(login, peer)
    except LoginRefusedError as error:
        refusal = error
    decoded = replace(login, user=_decoded(login.user), passcode=_decoded(login.passcode))
    if decoded != login:
        try:
            return await authenticator.authenticate(decoded, peer)
        except LoginRefusedError:
            # What the client is told is about what it wrote.
            pass
    await trio.sleep_until(began + REFUSAL_TIME)
    raise refusal


def _decoded(text: str | None) -> str | None:
    """Return what ``text`` stands for if it can be read as escaped; else ``text`` itself."""
    if text is None or not _ESCAPED.fullmatch(text):
        return text
    return unescape(text, V12)
