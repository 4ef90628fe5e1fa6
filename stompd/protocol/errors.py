"""Protocol errors.

* `ProtocolError`: the root.
* `LocalProtocolError`: this program asked for something that STOMP cannot express.
* `RemoteProtocolError`: the peer sent something that STOMP does not allow. A server answers it
  with the ERROR frame that the error describes, and closes.
"""

from collections.abc import Mapping

_SHOWN = 80


class ProtocolError(Exception):
    """A rule of STOMP was broken."""


class LocalProtocolError(ProtocolError):
    """We tried to write what no STOMP peer could read; nothing was written."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule.

    ``message`` is one line for ERROR's ``message`` header (E-03), ``detail`` says where and what to
    do about it, ``headers`` are further headers of the ERROR frame (E-05), such as ``receipt-id``.
    """

    def __init__(
        self, message: str, detail: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.message}: {self.detail}" if self.detail else self.message


def shown(value: bytes | str) -> str:
    """Return a peer's octets as printable ASCII, escaped and cut, fit for a log or a terminal."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    text = value[: _SHOWN + 1].decode("latin-1").encode("unicode_escape").decode("ascii")
    text = text.replace('"', '\\"')
    return text if len(value) <= _SHOWN and len(text) <= _SHOWN else text[:_SHOWN] + "..."
