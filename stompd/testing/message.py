"""What tests look at: messages and frames, and what one is expected to be."""

from __future__ import annotations

import json as jsons
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stompd.protocol.errors import shown

# How much of a body is shown in a failure.
_SHOWN_BODY: Final = 300

ABSENT: Final[Any] = object()
"""Stands for a JSON value that nobody asked for, because None is one."""


@dataclass(frozen=True)
class Message:
    """A message, as its sender wrote it or as it waits in a queue."""

    destination: str
    headers: Mapping[str, str]
    body: bytes
    # Who sent it, as in `Connection.id`; None for one that waits in a queue.
    connection: str | None = None
    # Of one that waits: whether it was delivered before, and how many attempts counted as failed.
    redelivered: bool = False
    failures: int = 0
    # Of one that is not due yet: in how many seconds of the broker's clock it is.
    delay: float = 0.0

    @property
    def text(self) -> str:
        """The body as text, in the charset of its content-type (without one: UTF-8).

        Raises `UnicodeDecodeError` if it is none, and `LookupError` for an unknown charset.
        """
        _, _, rest = self.headers.get("content-type", "").lower().partition("charset=")
        return self.body.decode(rest.partition(";")[0].strip(' "') or "utf-8")

    def json(self) -> Any:  # noqa: ANN401 - whatever the sender wrote
        """Return the body decoded from JSON; raises `ValueError` if it is none."""
        return jsons.loads(self.body)

    def __str__(self) -> str:
        headers = " ".join(
            f"{name}:{shown(value)}"
            for name, value in self.headers.items()
            if name not in ("destination", "content-length")
        )
        mark = " redelivered" if self.redelivered else ""
        mark += f" due in {self.delay:.3g} s" if self.delay else ""
        return f"{shown_body(self.body)}{mark}{'  ' if headers else ''}{headers}"


@dataclass(frozen=True)
class ClientFrame:
    """A frame that a program wrote and the broker carried out."""

    command: str
    headers: Mapping[str, str]
    body: bytes
    # Who wrote it, as in `Connection.id`.
    connection: str

    def __str__(self) -> str:
        headers = " ".join(f"{name}:{shown(value)}" for name, value in self.headers.items())
        body = f"  {shown_body(self.body)}" if self.body else ""
        return f"{self.connection} {self.command} {headers}{body}"


@dataclass(frozen=True)
class Expected:
    """What a message should be like; what is not given may be anything."""

    body: bytes | str | None = None
    json: Any = ABSENT
    headers: Mapping[str, str | None] = field(default_factory=dict)
    where: Callable[[Message], object] | None = None

    def matches(self, message: Message) -> bool:
        """Tell whether a message is like this; a body that cannot be decoded is not."""
        body = self.body
        if isinstance(body, str):
            body = body.encode()
        if body is not None and message.body != body:
            return False
        if self.json is not ABSENT:
            try:
                if message.json() != self.json:
                    return False
            except ValueError:
                return False
        if any(message.headers.get(name) != value for name, value in self.headers.items()):
            return False
        return self.where is None or bool(self.where(message))

    def __str__(self) -> str:
        parts = []
        if self.body is not None:
            body = self.body.encode() if isinstance(self.body, str) else self.body
            parts.append(f"body {shown_body(body)}")
        if self.json is not ABSENT:
            parts.append(f"JSON {self.json!r}")
        parts += [
            f"no header {name}" if value is None else f"{name}:{shown(value)}"
            for name, value in self.headers.items()
        ]
        if self.where is not None:
            parts.append(f"where {getattr(self.where, '__name__', self.where)}")
        return ", ".join(parts) or "any message"


def shown_body(body: bytes) -> str:
    """Return a body fit for a failure's text: quoted, escaped, cut."""
    text = body[:_SHOWN_BODY].decode("utf-8", "backslashreplace")
    escaped = text.encode("unicode_escape").decode() if not text.isprintable() else text
    rest = len(body) - _SHOWN_BODY
    return f'"{escaped}"' + (f"... and {rest} octets more" if rest > 0 else "")
