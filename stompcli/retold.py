"""The messages that a transcript tells of: what was sent in a session, to be sent again.

Pure: lines of `stompcli.transcript` in, messages out. Any client's frames are read so, those of
`stomp wiretap --json` too.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stompcli.failure import bad_input
from stompcli.frametext import TextFrame
from stompd.protocol.decoder import Decoder
from stompd.protocol.frame import V10, V12, VERSIONS

# Requests to the broker itself, and queues of a session that is over.
_PASSING = ("/admin/", "/temp-queue/", "/temp-topic/", "/remote-temp-")


@dataclass(frozen=True)
class Sent:
    """A message that was sent; ``time`` is when, as it is written in the transcript."""

    destination: str
    headers: dict[str, str]
    body: bytes
    time: object


@dataclass
class _Connection:
    """What went out in one connection, and what is in transactions that are still open.

    ``theirs`` is there until the version of the protocol is known.
    """

    ours: Decoder = field(default_factory=lambda: Decoder("server"))
    theirs: Decoder | None = field(default_factory=lambda: Decoder("client"))
    open: dict[str, list[Sent]] = field(default_factory=dict)


class Retold:
    """Finds what was sent, line by line of a transcript; ``name`` is what the file is called.

    ``undone`` counts the messages of transactions that were not committed, ``passing`` those that
    meant something in that session only: requests to the broker, and replies.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._connections: dict[object, _Connection] = {}
        self.undone = 0
        self.passing = 0

    def line(self, value: Mapping[str, Any], number: int) -> list[Sent]:
        """Return what was sent for good by this line; raises `Failure` if it is no such line."""
        if "bytes_b64" not in value:
            # What was typed; its frames follow.
            return []
        try:
            data = base64.b64decode(value["bytes_b64"], validate=True)
            outwards = {">": True, "<": False}[value["dir"]]
        except (binascii.Error, TypeError, ValueError, KeyError):
            raise bad_input(f"line {number} of {self._name} is no line of a transcript") from None
        key = value.get("conn")
        connection = self._connections.get(key)
        if outwards and (connection is None or _begins(data)):
            self._forget(key)
            connection = self._connections[key] = _Connection()
            if not _begins(data):
                # The recording was begun in the middle.
                connection.ours.begin(V12)
                connection.theirs = None
        if connection is None:
            return []
        if not outwards:
            _learn_version(connection, data)
            data = b""
        found = [
            sent
            for head, body in connection.ours.feed(data)
            for sent in self._sent(connection, TextFrame.of(head, body), value.get("t"))
        ]
        if connection.ours.error is not None:
            why = connection.ours.error
            raise bad_input(f"line {number} of {self._name}: what was sent is no frame: {why}")
        return found

    def finish(self) -> None:
        """There are no more lines: what is still in a transaction was never committed."""
        for key in list(self._connections):
            self._forget(key)

    def _forget(self, key: object) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            self.undone += sum(map(len, connection.open.values()))

    def _sent(self, connection: _Connection, frame: TextFrame, time: object) -> list[Sent]:
        # Of repeated headers the first one counts.
        headers = dict(reversed(frame.headers))
        transaction = headers.pop("transaction", None)
        if frame.command == "COMMIT" and transaction is not None:
            return connection.open.pop(transaction, [])
        if frame.command == "ABORT" and transaction is not None:
            self.undone += len(connection.open.pop(transaction, []))
        if frame.command != "SEND":
            return []
        destination = headers.get("destination", "")
        if destination.startswith(_PASSING):
            self.passing += 1
            return []
        if headers.get("reply-to", "").startswith(_PASSING):
            del headers["reply-to"]
        sent = Sent(destination, headers, frame.body, time)
        if transaction is None:
            return [sent]
        connection.open.setdefault(transaction, []).append(sent)
        return []


def _learn_version(connection: _Connection, data: bytes) -> None:
    """Look at octets that came for the version of the protocol, until it is known."""
    if connection.theirs is None:
        return
    for head, body in connection.theirs.feed(data):
        version = dict(reversed(TextFrame.of(head, body).headers)).get("version", V10)
        connection.ours.begin(version if version in VERSIONS else V12)
        connection.theirs = None
        break


def _begins(data: bytes) -> bool:
    """Return whether octets that went out begin a connection."""
    return data.lstrip(b"\r\n").startswith((b"CONNECT\n", b"STOMP\n", b"CONNECT\r", b"STOMP\r"))
