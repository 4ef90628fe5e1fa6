"""The PROXY protocol, versions 1 and 2: a proxy says for whom it has connected.

Its header comes before everything else, also before TLS. It is believed only if it comes from an
address that the settings name, and those have to send it: otherwise anybody could claim to be
anybody. The format is that of HAProxy's document "The PROXY protocol", versions 1 and 2.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Final

from trio.lowlevel import wait_readable

if TYPE_CHECKING:
    import socket

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_BEGIN: Final = b"PROXY "
# Octets of the longest line of version 1, and of what stompd reads of version 2.
_LONGEST_LINE: Final = 107
_LONGEST_BLOCK: Final = 4096
_PROXIED: Final = 0x21
_LOCAL: Final = 0x20
# Octets of the addresses of each family, by the upper half of the octet that names it.
_FAMILIES: Final = {0x10: 4, 0x20: 16}
_PARTS: Final = 6
_PORTS: Final = 65536


class ProxyHeaderError(Exception):
    """What came is no header of the protocol; the text says why."""


Place = tuple[str, int]


async def read_header(sock: socket.socket) -> Place | None:
    """Return the address and port of the client that a proxy speaks for.

    None if it speaks for itself, as for a check of health, or cannot tell. Not an octet behind the
    header is read. Raises `ProxyHeaderError`, and `OSError` if the connection is lost.
    """
    begin = await _exactly(sock, len(_SIGNATURE))
    if begin == _SIGNATURE:
        head = await _exactly(sock, 4)
        command, family, length = struct.unpack("!BBH", head)
        if length > _LONGEST_BLOCK:
            raise ProxyHeaderError(f"its block of {length} octets is too long")
        return parse_block(command, family, await _exactly(sock, length))
    if not begin.startswith(_BEGIN):
        raise ProxyHeaderError("a header of the PROXY protocol was expected")
    line = bytearray(begin)
    while not line.endswith(b"\r\n"):
        if len(line) >= _LONGEST_LINE:
            raise ProxyHeaderError("its line is too long")
        line += await _exactly(sock, 1)
    return parse_line(bytes(line))


async def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        await wait_readable(sock)
        try:
            more = sock.recv(count - len(data))
        except BlockingIOError:
            continue
        if not more:
            raise ProxyHeaderError("the proxy went away")
        data += more
    return data


def parse_line(line: bytes) -> Place | None:
    """Return the client in a line of version 1, None for ``UNKNOWN``; raise `ProxyHeaderError`."""
    try:
        words = line.removesuffix(b"\r\n").decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise ProxyHeaderError("its line is not ASCII") from error
    if words[1:2] == ["UNKNOWN"]:
        return None
    if len(words) != _PARTS or words[1] not in ("TCP4", "TCP6"):
        raise ProxyHeaderError("its line does not name a client")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    try:
        address = str(kind(words[2]))
        str(kind(words[3]))
    except ValueError as error:
        raise ProxyHeaderError(f"its line holds no address: {error}") from error
    if not all(word.isdecimal() and int(word) < _PORTS for word in words[4:]):
        raise ProxyHeaderError("its line holds no port")
    return address, int(words[4])


def parse_block(command: int, family: int, block: bytes) -> Place | None:
    """Return the client in a block of version 2, None if there is none in it.

    ``command`` and ``family`` are the two octets before its length. What follows the addresses is
    left out. Raises `ProxyHeaderError`.
    """
    if command == _LOCAL:
        return None
    if command != _PROXIED:
        raise ProxyHeaderError(f"version and command {command:#04x} are unknown")
    size = _FAMILIES.get(family & 0xF0)
    if size is None:
        return None
    if len(block) < 2 * size + 4:
        raise ProxyHeaderError("its block is too short for its addresses")
    (port,) = struct.unpack_from("!H", block, 2 * size)
    return str(ipaddress.ip_address(block[:size])), port
