"""Who a request comes from, and what he may do.

The one place that knows how log-ins and rights are asked for over HTTP.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stompd.broker.admin.request import Caller
from stompd.broker.rights import EVERYTHING
from stompd.broker.session import Login
from stompd.server.auth import Anonymous, LoginRefusedError

if TYPE_CHECKING:
    from stompd.broker.principal import Principal
    from stompd.server.service import Service


@dataclass(frozen=True)
class Visitor:
    """Somebody who was let in."""

    user: str | None
    principal: Principal
    # The address, for people.
    peer: str

    def monitors(self, service: Service) -> bool:
        """Return whether he may look at all that there is."""
        caller = self.caller(service)
        return caller.sees(caller.host, EVERYTHING)

    def caller(self, service: Service) -> Caller:
        """Return who asks for a verb: somebody of the first virtual host, unless he names one."""
        broker = service.broker
        host = broker.host(broker.settings.virtual_hosts[0])
        return Caller(host, "", self.user, self.principal, self.peer)


async def identify(service: Service, authorization: str | None, peer: str, address: str) -> Visitor:
    """Return who comes from ``peer`` with such a header; ``address`` is the peer's without port.

    Raises `LoginRefusedError`, at once if somebody has to log in and did not try to.
    """
    if authorization is None and not isinstance(service.authenticator, Anonymous):
        raise LoginRefusedError("log in")
    login = Login(None, None, None, {}) if authorization is None else _login(authorization)
    vhost = service.broker.settings.virtual_hosts[0]
    principal = await service.identify(login, peer, address, vhost)
    return Visitor(principal.name, principal, peer)


def _login(authorization: str) -> Login:
    """Return the log-in that the header ``Authorization`` holds.

    A token is the passcode of nobody by name, as in CONNECT. Raises `LoginRefusedError`.
    """
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return Login(None, value, None, {})
    if scheme.lower() == "basic":
        try:
            text = b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise LoginRefusedError("Authorization is no Basic credentials") from error
        user, colon, passcode = text.partition(":")
        if colon:
            return Login(user, passcode, None, {})
        raise LoginRefusedError("Authorization is no Basic credentials")
    raise LoginRefusedError("Authorization has to be Basic or Bearer")
