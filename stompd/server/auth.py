"""Who may log in: the interface of what decides it, the answer without users, and refusing."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import trio

from stompd.broker.principal import ANONYMOUS, Principal
from stompd.protocol.frame import V12
from stompd.protocol.headers import unescape
from stompd.server.failures import REFUSAL_TIME, Failures

if TYPE_CHECKING:
    from stompd.broker.session import Login
    from stompd.server.certificates import PeerCertificate

# Text that a client which escapes CONNECT, too, may have made: every backslash begins an escape.
_ESCAPED: Final = re.compile(r"(?:[^\\]|\\[rnc\\])*", re.DOTALL)

WRONG: Final = "wrong login or passcode"


class LoginRefusedError(Exception):
    """The log-in is refused; the text is what the client is told, so it names no reason in detail.

    It must be the same for an unknown user and a wrong passcode.
    """

    message = "login refused"

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        # What was wrong, for the log alone.
        self.reason = reason


class TooManyLoginsError(LoginRefusedError):
    """The log-in was not looked at: too many wait for that already."""

    message = "too many log-ins"

    def __init__(self) -> None:
        super().__init__("this server checks as many as it can already; try again later")


class Authenticator(Protocol):
    """Decides about log-ins; may take its time, since only that connection waits."""

    async def authenticate(self, login: Login, peer: str) -> Principal | str | None:
        """Return who it is: a principal, or the name of one without groups, None if anonymous.

        ``peer`` is the address of the connection. Raises `LoginRefusedError`.
        """


@runtime_checkable
class Renewing(Protocol):
    """An authenticator that can be asked again about who has logged in, when users changed."""

    def renew(self, principal: Principal) -> Principal | None:
        """Return what has become of a principal, None if it is not to be let in any more."""


@runtime_checkable
class Certifying(Protocol):
    """An authenticator that knows users by the certificates that a listener has verified."""

    def certified(self, certificate: PeerCertificate) -> Principal | None:
        """Return who has a certificate, None if it is nobody who may log in."""


class Anonymous:
    """Lets everybody in: there are no users. What a client calls itself is kept for display."""

    async def authenticate(self, login: Login, peer: str) -> Principal | str | None:  # noqa: ARG002
        """Return nobody in particular."""
        return ANONYMOUS


def is_trusted(authenticator: Authenticator, address: str) -> bool:
    """Return whether who logs in from ``address`` may look at the broker and act on it.

    While there are no users that is everybody on this machine, and nobody else. ``address`` is an
    IP address, or "unix".
    """
    if not isinstance(authenticator, Anonymous):
        return False
    if address == "unix":
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def log_in(
    authenticator: Authenticator,
    login: Login,
    peer: str,
    *,
    address: str,
    failures: Failures | None = None,
    certificate: PeerCertificate | None = None,
) -> Principal:
    """Return who it is that logs in from ``peer``, whose address is ``address``.

    Who has shown a ``certificate`` and writes no passcode is whom that names. ``login``, if it is
    there, has to be the same name.

    CONNECT is read literally (ESC-05), but some clients escape what they write there. So if the
    log-in fails and user or passcode can be read as escaped, it is tried once more that way
    (AMB-07). Raises `LoginRefusedError`, and never earlier than `REFUSAL_TIME` seconds after the
    call (AMB-25); later, if ``failures`` knows of others.
    """
    began = trio.current_time()
    if certificate is not None and login.passcode is None and isinstance(authenticator, Certifying):
        known = authenticator.certified(certificate)
        if known is not None and login.user in (None, known.name):
            await trio.lowlevel.checkpoint()
            return known
    refusal: LoginRefusedError | None = None
    decoded = replace(login, user=_decoded(login.user), passcode=_decoded(login.passcode))
    for tried in (login, decoded) if decoded != login else (login,):
        try:
            found = await authenticator.authenticate(tried, peer)
        except TooManyLoginsError:
            # It was not looked at, so it is no failure.
            await trio.sleep_until(began + REFUSAL_TIME)
            raise
        except LoginRefusedError as error:
            # What the client is told is about what it wrote.
            refusal = refusal or error
        else:
            principal = found if isinstance(found, Principal) else Principal(found)
            return replace(principal, trusted=is_trusted(authenticator, address))
    assert refusal is not None  # noqa: S101 - it was tried
    delay = REFUSAL_TIME
    if failures is not None:
        delay = failures.note(address, login.user, began)
    await trio.sleep_until(began + delay)
    raise refusal


def _decoded(text: str | None) -> str | None:
    """Return what ``text`` stands for if it can be read as escaped; else ``text`` itself."""
    if text is None or not _ESCAPED.fullmatch(text):
        return text
    return unescape(text, V12)
