"""Which frame needs what, as tables, and how a version is agreed on.

Tests and documents are made from these tables; the session asks `check` and never decides itself.
"""

from collections.abc import Mapping
from typing import Final

from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import BODY_COMMANDS, V10, V11, V12, VERSIONS, Head

_EVERY: Final = (V10, V11, V12)

# FH-01 to FH-08 and their 1.1 and 1.0 forms (V11-05, V11-17, V10-08, V10-12, V10-13).
REQUIRED: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "CONNECT": dict.fromkeys(_EVERY, ()),
    "STOMP": dict.fromkeys(_EVERY, ()),
    "SEND": dict.fromkeys(_EVERY, ("destination",)),
    "SUBSCRIBE": {V10: ("destination",), V11: ("destination", "id"), V12: ("destination", "id")},
    "UNSUBSCRIBE": {V10: (), V11: ("id",), V12: ("id",)},
    "ACK": {V10: ("message-id",), V11: ("message-id", "subscription"), V12: ("id",)},
    "NACK": {V10: (), V11: ("message-id", "subscription"), V12: ("id",)},
    "BEGIN": dict.fromkeys(_EVERY, ("transaction",)),
    "COMMIT": dict.fromkeys(_EVERY, ("transaction",)),
    "ABORT": dict.fromkeys(_EVERY, ("transaction",)),
    "DISCONNECT": dict.fromkeys(_EVERY, ()),
}

# FH-09 to FH-11: what a client may rely on.
REQUIRED_OF_SERVER: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "CONNECTED": {V10: (), V11: ("version",), V12: ("version",)},
    "MESSAGE": {
        V10: ("destination", "message-id"),
        V11: ("destination", "message-id", "subscription"),
        V12: ("destination", "message-id", "subscription"),
    },
    "RECEIPT": dict.fromkeys(_EVERY, ("receipt-id",)),
    "ERROR": dict.fromkeys(_EVERY, ()),
}

# V10-03: 1.0 has no NACK. STOMP stays allowed there, so that a client may always say it.
ABSENT: Final[Mapping[str, frozenset[str]]] = {
    V10: frozenset(("NACK",)),
    V11: frozenset(),
    V12: frozenset(),
}

ACK_MODES: Final = ("auto", "client", "client-individual")


def check(head: Head, body: bytes, version: str) -> None:
    """Raise `RemoteProtocolError` unless a client may send this frame in this version.

    Looks at the command, the required headers (FH-01 to FH-08) and a body where none may be
    (BOD-03).
    """
    command = head.command
    if command in ABSENT[version]:
        raise RemoteProtocolError(
            f"{command} is not a command of STOMP {version}",
            "connect with accept-version:1.1 or 1.2 to use it",
        )
    for name in REQUIRED[command][version]:
        if name not in head.shape.index:
            raise RemoteProtocolError(*missing(command, name, version, head.headers))
    if body and command not in BODY_COMMANDS:
        check_no_body(command, body, version)


def check_no_body(command: str, body: bytes, version: str) -> None:
    """Raise `RemoteProtocolError` for a body on a frame that has none (BOD-02, BOD-03).

    Line ends alone are what a telnet user types before the NUL, and 1.0 ignores any (V10-10).
    """
    if version != V10 and body.strip(b"\r\n"):
        raise RemoteProtocolError(
            f"{command} must not have a body",
            f'found "{shown(body)}" after the blank line; only SEND carries a body. '
            "Is the NUL missing at the end of the frame?",
        )


def missing(command: str, name: str, version: str, present: Mapping[str, str]) -> tuple[str, str]:
    """Return message and detail for a required header that is not there."""
    detail = f"STOMP {version} needs {name} in every {command}"
    close = [n for n in present if n.strip().lower() == name]
    if close:
        detail += f'; found "{shown(close[0])}", but header names are exact'
    elif command in ("ACK", "NACK") and "message-id" in present and name == "id":
        detail += ": the value of the MESSAGE's ack header"
    return f"{command} without {name}", detail


def negotiate(accept: str | None) -> str:
    """Return the highest version that both sides know (C-20, C-21).

    ``accept`` is the value of ``accept-version``, None if there was none, which means 1.0.
    Raises `RemoteProtocolError` with a ``version`` header if there is no common one (C-22).
    """
    if accept is None:
        return V10
    offered = {word.strip() for word in accept.split(",")}
    for version in reversed(VERSIONS):
        if version in offered:
            return version
    known = ",".join(VERSIONS)
    raise RemoteProtocolError(
        "no common protocol version",
        f'accept-version was "{shown(accept)}"; this server speaks {known}',
        headers={"version": known},
    )


def connect_headers(head: Head, version: str) -> dict[str, str]:
    """Return the headers of a CONNECT as its version reads them.

    1.0 allows padding around names and values (V10-04); of a passcode only one leading blank is
    taken off, since blanks may belong to it. Later versions never trim (ESC-09).
    """
    if version != V10:
        return head.headers
    trimmed: dict[str, str] = {}
    for name, value in head.headers.items():
        key = name.strip(" \t")
        trimmed.setdefault(
            key, value.removeprefix(" ") if key == "passcode" else value.strip(" \t")
        )
    return trimmed
