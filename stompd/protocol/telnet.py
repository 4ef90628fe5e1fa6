"""The telnet commands that people's terminals mix into a STOMP stream.

0xFF begins no STOMP command and is never valid UTF-8, so at a frame boundary it can only be a
telnet "interpret as command" octet. Bodies are never looked at.
"""

from typing import Final

IAC: Final = 0xFF
# What Ctrl-C, Ctrl-\\, Ctrl-Z send: interrupt, break, abort, suspend.
INTERRUPTS: Final = frozenset((0xF4, 0xF3, 0xEE, 0xED))
DO_TIMING_MARK: Final = b"\xff\xfd\x06"
# A telnet that sent DO TIMING-MARK shows nothing more until it is answered.
WONT_TIMING_MARK: Final = b"\xff\xfc\x06"

_SUBNEGOTIATION: Final = 0xFA
_END: Final = b"\xff\xf0"
_OPTION: Final = frozenset((0xFB, 0xFC, 0xFD, 0xFE))
_PLAIN: Final = frozenset(range(0xEC, 0xFA))


def command_length(data: bytes, at: int) -> int:
    """Return the octets of the telnet command at ``at``, 0 if it is unfinished, -1 if none."""
    if at + 1 >= len(data):
        return 0
    kind = data[at + 1]
    if kind in _PLAIN:
        return 2
    if kind in _OPTION:
        return 3 if at + 2 < len(data) else 0
    if kind == _SUBNEGOTIATION:
        end = data.find(_END, at + 2)
        return end + 2 - at if end >= 0 else 0
    return -1


def is_interrupt(data: bytes) -> bool:
    """Return whether ``data`` starts with an interrupt, break, abort or suspend."""
    return len(data) > 1 and data[0] == IAC and data[1] in INTERRUPTS
