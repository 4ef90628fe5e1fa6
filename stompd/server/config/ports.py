"""The ports that are encrypted, and that for HTTP."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from stompd.server.config.values import (
    Count,
    Duration,
    File,
    Place,
    Positive,
    Size,
    Switch,
    Table,
    Text,
    choice,
    nowhere_or_several,
)
from stompd.server.units import MIB, Address, several


class TlsSettings(Table):
    """Listeners whose connections are encrypted."""

    listen: Annotated[tuple[Place, ...], BeforeValidator(several)] = ()
    """Addresses for STOMP over TLS; 61614 is the usual port."""
    certificate: File = None
    """The file of the certificate, and those that lead to its authority, in PEM."""
    key: File = None
    """The file of its key, if that is not in the same."""
    client: Annotated[
        Literal["none", "optional", "required"], choice("none", "optional", "required")
    ] = "none"
    """Whether clients are asked for a certificate, and refused without one."""
    client_ca: File = None
    """The file of the authorities whose certificates of clients are good."""
    minimum: Annotated[Literal["1.2", "1.3"], choice("1.2", "1.3")] = "1.2"
    """The oldest version of TLS that is spoken."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.listen and self.certificate is None:
            raise PydanticCustomError(
                "refused",
                "is missing: TLS needs a certificate",
                {"key": "certificate"},
            )
        if self.client != "none" and self.client_ca is None:
            raise PydanticCustomError(
                "refused",
                "is missing: it says whose certificates of clients are good",
                {"key": "client-ca"},
            )
        return self


class HttpSettings(Table):
    """The port for browsers, monitoring and scripts: console, WebSocket, API, metrics, health."""

    listen: Annotated[
        tuple[Place, ...],
        BeforeValidator(nowhere_or_several),
    ] = (Address("127.0.0.1", 61680),)
    """Addresses for HTTP; port 0 takes a free one, ``off`` is none."""
    tls: Switch = False
    """Encrypt all of it, as https and wss, by certificate and settings of ``[tls]``."""
    origins: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """Origins of pages that may use it besides the console: ``https://shop.example``, or ``*``."""
    hosts: Annotated[tuple[Text, ...], BeforeValidator(several)] = ()
    """Names that it may be called by while nobody has to log in, besides addresses, localhost."""
    connections: Positive = 1000
    """Connections open at once; one more is closed."""
    idle: Duration = 30.0
    """How long one may have no request, or its head in part, or not read what it is answered."""
    max_message: Size = 16 * MIB
    """Octets in one WebSocket message that comes in, and in the body of a request."""
    metrics_destinations: Count = 100
    """Destinations that ``/metrics`` tells of by name; the others are told together."""
    metrics_open: Switch = False
    """Let everybody read ``/metrics``, without the right to monitor."""
    console: Switch = True
    """Serve the console at ``/``."""
