"""Who may log in: the interface, and the answer of a broker without users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stompd.broker.session import Login


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
