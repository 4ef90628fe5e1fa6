"""Frames to bytes, per version."""

from collections.abc import Iterable
from typing import Final

from stompd.protocol.errors import LocalProtocolError
from stompd.protocol.frame import (
    BODY_COMMANDS,
    CLIENT_COMMANDS,
    LITERAL_COMMANDS,
    SERVER_COMMANDS,
    V10,
    V12,
)
from stompd.protocol.headers import escape, restore

_COMMANDS: Final = CLIENT_COMMANDS | SERVER_COMMANDS


def encode(
    command: str,
    headers: Iterable[tuple[str, str]],
    body: bytes = b"",
    *,
    version: str = V12,
    end: bytes = b"\0",
) -> bytes:
    r"""Return one whole frame.

    Headers are written in the order given, escaped for ``version``; CONNECT, STOMP and CONNECTED
    are written literally (ESC-05 to ESC-07). ``content-length`` is the caller's (`with_length`
    adds it). ``end`` is ``b"\0"`` or, so that a terminal shows frames on lines of their own,
    ``b"\0\n"`` (F-07).
    Raises `LocalProtocolError` for what the peer could not read as meant: an unknown command, a
    body where none may be (BOD-02), a NUL in a body without ``content-length`` (CL-06), a
    ``content-length`` that does not count the body (CL-03), an empty name, a NUL in a header, a
    literal line break.
    """
    if command not in _COMMANDS:
        raise LocalProtocolError(f"{command!r} is not a STOMP command")
    if body and command not in BODY_COMMANDS:
        raise LocalProtocolError(f"{command} cannot have a body")
    parts = [command.encode(), b"\n"]
    headers = list(headers)
    for name, value in headers:
        if name == "content-length":
            if value != str(len(body)):
                raise LocalProtocolError(
                    f"content-length {value!r} does not count the {len(body)} octets of the body"
                )
            break
    else:
        if b"\0" in body:
            raise LocalProtocolError("a body that holds a NUL needs a content-length header")
    parts += encode_lines(headers, version, literal=command in LITERAL_COMMANDS)
    parts += (b"\n", body, end)
    return b"".join(parts)


def encode_lines(
    headers: Iterable[tuple[str, str]], version: str, *, literal: bool = False
) -> list[bytes]:
    """Return one ``name:value`` line, LF included, for each header.

    1.0 has no empty values (V10-06): such a header is left out there.
    Raises `LocalProtocolError` as `encode` does.
    """
    lines = []
    for name, value in headers:
        if not name:
            raise LocalProtocolError("a header needs a name")
        if "\0" in name or "\0" in value:
            raise LocalProtocolError(f"header {name!r} holds a NUL, which no STOMP header can")
        if literal:
            if ":" in name or "\n" in name or "\n" in value or "\r" in name or "\r" in value:
                raise LocalProtocolError(
                    f"header {name!r} holds a colon or line break, which CONNECT cannot carry"
                )
            lines.append(restore(f"{name}:{value}\n"))
        elif value or version != V10:
            lines.append(b"%b:%b\n" % (escape(name, version), escape(value, version)))
    return lines


def with_length(headers: Iterable[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    """Return the headers with ``content-length`` added for a body that has none yet (CL-05)."""
    pairs = list(headers)
    if body and all(name != "content-length" for name, _ in pairs):
        pairs.append(("content-length", str(len(body))))
    return pairs
