"""The marks by which a run knows its messages, and the frames around them.

A body begins with its mark, in printable characters of fixed width:

    bench RUN SENDER NUMBER TIME          5 + 8 + 4 + 10 + 16 octets, without the blanks

NUMBER counts a sender's messages from 0, TIME is the clock of the sender's machine in nanoseconds,
all in hexadecimal. A body too small for its mark leaves it to the header ``bench``. Frames are made
by one formatting of octets each: a load generator must not cost more than the broker.
"""

import functools
import secrets
import socket
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stompd.protocol.encoder import encode
from stompd.protocol.frame import Head

WORD: Final = b"bench"
MARK: Final = 43
HEADER: Final = "bench"

# Where the parts of a mark begin; RUN and SENDER together name a sender.
_RUN: Final = 5
_NUMBER: Final = 17
_TIME: Final = 27
_MACHINE: Final = 4
SENDERS: Final = 0xFFFF

Mark = tuple[bytes, int, int]


def new_run() -> bytes:
    """Return a name for a run: four digits for this machine's clock, four by chance."""
    return machine() + secrets.token_hex(2).encode()


@functools.cache
def machine() -> bytes:
    """Return four digits that stand for the clock of this machine since it was started."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        name = socket.gethostname().encode()
    return b"%04x" % (zlib.crc32(name) & 0xFFFF)


def is_of_this_machine(sender: bytes) -> bool:
    """Return whether a sender's times can be compared with the clock here."""
    return sender[:_MACHINE] == machine()


def mark_of(head: Head, body: bytes) -> Mark | None:
    """Return sender, number and time of a message, None if it is of no run."""
    mark = body
    if not body.startswith(WORD):
        mark = (head.get(HEADER) or "").encode()
        if not mark.startswith(WORD):
            return None
    try:
        return mark[_RUN:_NUMBER], int(mark[_NUMBER:_TIME], 16), int(mark[_TIME:MARK], 16)
    except ValueError:
        return None


class Frames:
    """The SENDs of one sender to one destination.

    ``headers`` are those of every SEND; ``size`` are the octets of each body.
    """

    def __init__(
        self,
        run: bytes,
        sender: int,
        destination: str,
        size: int,
        headers: Sequence[tuple[str, str]],
        version: str,
    ) -> None:
        # The sender's name in the marks.
        self.name = b"%b%04x" % (run, sender)
        pairs = [("destination", destination), *headers, ("content-length", str(size))]
        mark = b"%b%b" % (WORD, self.name)
        fill = b"." * max(size - MARK, 0) if size >= MARK else b"." * size
        whole = encode("SEND", pairs, b"." * size, version=version)
        head = whole[: -size - 2]
        ends = {
            "": b"",
            "receipt": b"receipt:%d\n",
            "transaction": b"transaction:%d\n",
        }
        # A head is the same for every message but for its receipt, so that what the broker
        # remembers of it is what it remembers of any real producer's.
        self._kinds = {}
        for kind, line in ends.items():
            if size >= MARK:
                frame = _verbatim(head) + line + b"\n" + _verbatim(mark) + b"%010x%016x"
            else:
                header = b"%b:%b" % (HEADER.encode(), mark) + b"%010x%016x\n"
                frame = _verbatim(head) + line + header + b"\n"
            self._kinds[kind] = frame + fill + b"\0"
        self.octets = len(whole)

    def plain(self, number: int, at: int) -> bytes:
        """Return a SEND without a receipt."""
        return self._kinds[""] % (number, at)

    def confirmed(self, number: int, at: int) -> bytes:
        """Return a SEND with a receipt whose id is its number."""
        return self._kinds["receipt"] % (number, number, at)

    def in_transaction(self, transaction: int, number: int, at: int) -> bytes:
        """Return a SEND in a transaction."""
        return self._kinds["transaction"] % (transaction, number, at)


def begin(transaction: int) -> bytes:
    """Return the frame that begins a transaction."""
    return b"BEGIN\ntransaction:%d\n\n\0" % transaction


def commit(transaction: int, receipt: int | None) -> bytes:
    """Return the frame that commits a transaction, and asks for a receipt if one is named."""
    if receipt is None:
        return b"COMMIT\ntransaction:%d\n\n\0" % transaction
    return b"COMMIT\ntransaction:%d\nreceipt:%d\n\n\0" % (transaction, receipt)


def _verbatim(octets: bytes) -> bytes:
    """Return octets that formatting leaves as they are."""
    return octets.replace(b"%", b"%%")
