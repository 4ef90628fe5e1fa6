"""The bytes of the load generator: frames prepared once, counted and cut up at C speed.

A benchmark of brokers measures its own load generator as soon as that one does something per
message. So a producer sends the same buffer again and again and only overwrites what has to
change, and a consumer never parses: it looks for marks that stand in the body of each message
and nowhere else.

    SIGN stamp padding END        the body, `size` octets in all

The stamp of one message in a batch is STAMP and the time in sixteen hexadecimal digits; the
others carry dots there. SERIAL stands for a number that differs in every batch.
"""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

from benchmarks.brokers import connect_frame

if TYPE_CHECKING:
    from benchmarks.brokers import Broker

SIGN = b"\x01"
STAMP = b"\x02"
STAMP_DIGITS = 16
END = b"~!@#$%^&*()_+{}|"
"""Long, because a search may skip as many octets as the needle has; rare in any header."""
SERIAL = b"\x04\x05\x06\x07\x08\x0b\x0c\x0e"
LARGE_BODY = 1024
"""From here on, jumping over bodies is quicker than searching through them."""
SMALLEST_BODY = len(SIGN + STAMP) + STAMP_DIGITS + len(END)

ACK_ID = re.compile(rb"\nack:([^\n]+)")
ACK_BETWEEN = b"\n\n\0ACK\nid:"

RECEIPT = b"RECEIPT"


class BrokerError(Exception):
    """The broker sent ERROR, closed the connection or kept silent; the text says which."""


def batch(
    destination: str,
    *,
    size: int,
    count: int,
    persistent: bool = False,
    receipt: bool = False,
    transaction: bool = False,
    on_send: bool = False,
    vary: int = 0,
    headers: str = "",
) -> bytes:
    """`count` SEND frames for `destination` with bodies of `size` octets, the first one stamped.

    With `receipt` the last frame asks for one, whose id has SERIAL in it. With `transaction` all
    of them stand between BEGIN and a COMMIT, which asks for the receipt instead, unless `on_send`
    leaves that to the last SEND. `vary` adds so
    many headers to each frame, whose values are never the same again. `headers` are further lines,
    in which {number} is that of the frame from 0 to 9. Raises ValueError for a size below
    SMALLEST_BODY.
    """
    if size < SMALLEST_BODY:
        raise ValueError(f"a body needs {SMALLEST_BODY} octets for its marks, not {size}")
    pad = b"x" * (size - SMALLEST_BODY)
    frames = []
    if transaction:
        frames.append(b"BEGIN\ntransaction:t" + SERIAL + b"\n\n\0")
    for number in range(count):
        head = b"SEND\ndestination:%b\ncontent-length:%d\n" % (destination.encode(), size)
        if persistent:
            head += b"persistent:true\n"
        head += headers.format(number=number % 10).encode()
        for column in range(vary):
            head += b"x-vary-%d:%b-%d-%d\n" % (column, SERIAL, number, column * 7919)
        if transaction:
            head += b"transaction:t" + SERIAL + b"\n"
        if number == count - 1 and (on_send if transaction else receipt):
            head += b"receipt:r" + SERIAL + b"\n"
        stamp = (STAMP if number == 0 else b".") + b"." * STAMP_DIGITS
        frames.append(head + b"\n" + SIGN + stamp + pad + END + b"\0")
    if transaction:
        asked = b"" if on_send else b"receipt:r" + SERIAL + b"\n"
        frames.append(b"COMMIT\ntransaction:t" + SERIAL + b"\n" + asked + b"\n\0")
    return b"".join(frames)


def unstamped(frames: bytes) -> bytes:
    """The same frames without any stamp, so that a consumer takes no sample of them."""
    return frames.replace(STAMP, b".")


def with_serial(frames: bytes, serial: int) -> bytes:
    """The same frames with a number in the place of SERIAL (octets stay as many)."""
    return frames.replace(SERIAL, b"%08x" % serial)


def stamp_offset(frames: bytes) -> int:
    """Where the digits of the stamp begin, or -1 if there is none."""
    found = frames.find(STAMP)
    return found + 1 if found >= 0 else -1


def stamp() -> bytes:
    """The digits of now."""
    return b"%016x" % time.monotonic_ns()


def acks(ids: list[bytes]) -> bytes:
    """One ACK frame for each id, in one piece; ids are the `ack` headers as they came."""
    return b"ACK\nid:" + ACK_BETWEEN.join(ids) + b"\n\n\0"


def count_messages(buffer: bytearray, end: int, size: int) -> int:
    """How many messages with bodies of `size` octets have a mark in `buffer[:end]`.

    Small ones are counted by END: one call, but it looks at every (len(END))th octet. With large
    ones it is quicker to look for SIGN, and to jump over the body that follows it.
    """
    if size < LARGE_BODY:
        return buffer.count(END, 0, end)
    found = 0
    find = buffer.find
    at = find(SIGN, 0, end)
    while at >= 0:
        found += 1
        at = find(SIGN, at + size - 1, end)
    return found


def carried(size: int) -> int:
    """How many octets of the end of a buffer to keep, so that no mark is lost between two."""
    return len(END) - 1 if size < LARGE_BODY else 0


def latencies(buffer: bytearray, end: int, now: int) -> list[int]:
    """Nanoseconds between each whole stamp in `buffer[:end]` and `now`."""
    found = []
    at = buffer.find(STAMP, 0, end)
    while at >= 0:
        digits = buffer[at + 1 : at + 1 + STAMP_DIGITS]
        if at + 1 + STAMP_DIGITS > end:
            break
        found.append(now - int(digits, 16))
        at = buffer.find(STAMP, at + 1 + STAMP_DIGITS, end)
    return found


# --- one connection ------------------------------------------------------------------------


def open_connection(broker: Broker, *, timeout: float = 30.0) -> socket.socket:
    """Connect and log in: a socket with `timeout` in seconds and TCP_NODELAY.

    Raises BrokerError if the answer is not CONNECTED, OSError if the broker is not there.
    """
    connection = socket.create_connection((broker.host, broker.port), timeout=timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(connect_frame(broker.login, broker.passcode, broker.vhost))
    expect(connection, b"CONNECTED")
    return connection


def subscribe(connection: socket.socket, destination: str, *, ack: str, selector: str = "") -> None:
    """Subscribe, and wait for the receipt: what is sent from now on arrives here."""
    further = f"selector:{selector}\n" if selector else ""
    frame = f"SUBSCRIBE\nid:s0\ndestination:{destination}\nack:{ack}\n{further}receipt:sub\n\n\0"
    connection.sendall(frame.encode())
    expect(connection, RECEIPT)


def leave(connection: socket.socket) -> None:
    """DISCONNECT, wait until the broker has done all that was sent before, and close.

    Messages that are still under way are thrown away.
    """
    connection.settimeout(10.0)
    connection.sendall(b"DISCONNECT\nreceipt:bye\n\n\0")
    tail = b""
    while b"receipt-id:bye" not in tail:
        more = connection.recv(1 << 16)
        if not more:
            break
        tail = tail[-32:] + more
    connection.close()


def expect(connection: socket.socket, command: bytes) -> bytes:
    """The next frame, which has to be a `command` and to come alone. Raises BrokerError."""
    answer = b""
    while not answer.endswith((b"\0", b"\0\n")):
        try:
            more = connection.recv(1 << 16)
        except TimeoutError as error:
            raise BrokerError(f"no {command.decode()} came in time") from error
        if not more:
            break
        answer = (answer + more).lstrip(b"\r\n")
    if not answer.startswith(command):
        raise BrokerError(complaint(answer))
    return answer


def complaint(received: bytes) -> str:
    """What the broker said before it went away, on one line."""
    at = received.find(b"ERROR\n")
    if at < 0:
        return f"the broker closed the connection after {received[-80:]!r}"
    return " ".join(received[at : at + 400].decode("utf-8", "replace").replace("\0", " ").split())
