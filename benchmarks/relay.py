"""The least that a broker in Python has to do: pass on, sync, confirm. See `benchmarks.floor`.

It shows what is left of a round trip when a broker costs nothing: sockets, waking up, the disk and
the load generator. Frames are not parsed, but cut at NULs and told apart by how they begin; a
MESSAGE is a SEND with another first line. So it serves nobody but this load generator, with one
consumer for each destination that was there first, and takes all that a producer sends at a time
for one batch with at most one receipt.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import socket
from pathlib import Path
from typing import Final

_DELIVERY: Final = b"MESSAGE\nsubscription:0\nmessage-id:0\nack:0\n"
_RECEIPT: Final = re.compile(rb"\nreceipt:([^\n]*)")
_DESTINATION: Final = re.compile(rb"\ndestination:([^\n]*)")
_JOURNAL: Final = 4 * 1024 * 1024
_READ: Final = 256 * 1024


class Journal:
    """A file with room for some megabytes; what was written is on the disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o600)
        os.pwrite(self._descriptor, bytes(_JOURNAL), 0)
        self._at = 0

    def write(self, data: bytes) -> None:
        """Write it behind what was written last, or from the beginning again."""
        if self._at + len(data) > _JOURNAL:
            self._at = 0
        os.pwrite(self._descriptor, data, self._at)
        self._at += len(data)


class Relay:
    """All connections of a relay; ``journal`` is None if nothing is kept."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._selector = selectors.DefaultSelector()
        # By connection: what was read of a batch that is not whole, and whom it goes to.
        self._rests: dict[socket.socket, bytes] = {}
        self._targets: dict[socket.socket, socket.socket] = {}
        self._consumers: dict[bytes, socket.socket] = {}
        # What is to be kept, and who is to be told that it is.
        self._pending: list[bytes] = []
        self._waiting: list[tuple[socket.socket, bytes, int]] = []

    def serve(self, listener: socket.socket) -> None:
        """Pass on, until the process is ended."""
        self._selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)  # noqa: S101 - there is nothing else
                if ready is listener:
                    self._accept(listener)
                else:
                    self._read(ready)
            self._keep()

    def _keep(self) -> None:
        """Have all that came in a round on the disk by one write, then confirm it."""
        if self._journal is not None and self._pending:
            self._journal.write(b"".join(self._pending))
        self._pending.clear()
        for connection, frames, start in self._waiting:
            self._confirm(connection, frames, start)
        self._waiting.clear()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rests[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_READ)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            del self._rests[connection]
            self._targets.pop(connection, None)
            connection.close()
            return
        if data.startswith(b"ACK"):
            return
        data = self._rests[connection] + data
        # A transaction counts from its COMMIT on, everything else when its last frame is whole.
        last = data.rfind(b"\0COMMIT\n") if data.startswith(b"BEGIN") else 0
        end = data.rfind(b"\0", last + 1) + 1 if last >= 0 else 0
        self._rests[connection] = data[end:].lstrip(b"\n")
        if end:
            self._carry_out(connection, data[:end], last)

    def _carry_out(self, connection: socket.socket, frames: bytes, last: int) -> None:
        """Deal with whole frames; ``last`` is where the NUL before COMMIT is, or 0."""
        leaving = frames.rfind(b"DISCONNECT\n", max(0, len(frames) - 100))
        if leaving > 0:
            self._carry_out(connection, frames[:leaving], last)
            self._keep()
            frames, last = frames[leaving:], 0
        if frames.startswith(b"CONNECT"):
            connection.sendall(b"CONNECTED\nversion:1.2\nserver:relay/0\n\n\0")
        elif frames.startswith(b"SUBSCRIBE"):
            self._consumers[self._destination(frames)] = connection
            self._confirm(connection, frames, 0)
        elif frames.startswith((b"DISCONNECT", b"UNSUBSCRIBE")):
            self._confirm(connection, frames, 0)
        else:
            target = self._targets.get(connection)
            if target is None:
                target = self._consumers[self._destination(frames)]
                self._targets[connection] = target
            sends = frames[frames.index(b"\0") + 1 : last + 1] if last else frames
            target.sendall(sends.replace(b"SEND\n", _DELIVERY))
            self._pending.append(sends)
            self._waiting.append((connection, frames, last))

    @staticmethod
    def _destination(frames: bytes) -> bytes:
        found = _DESTINATION.search(frames)
        assert found is not None, frames  # noqa: S101 - each of these frames has one
        return found[1]

    @staticmethod
    def _confirm(connection: socket.socket, frames: bytes, start: int) -> None:
        found = _RECEIPT.search(frames, start)
        if found is not None:
            connection.sendall(b"RECEIPT\nreceipt-id:%b\n\n\0" % found[1])


def main() -> None:
    """Serve on a port of this machine, until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, help="directory of the journal; without it none")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port))
    Relay(None if options.data is None else Journal(options.data / "journal")).serve(listener)


if __name__ == "__main__":
    main()
