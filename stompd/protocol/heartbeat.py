"""The arithmetic of heart-beats; all intervals are milliseconds."""

import re
from typing import Final

from stompd.protocol.errors import RemoteProtocolError, shown

_PAIR: Final = re.compile(r"\s*([0-9]+)\s*,\s*([0-9]+)\s*\Z", re.ASCII)
_CEILING: Final = 2**31 - 1


def parse(value: str | None) -> tuple[int, int]:
    """Return the two numbers of a ``heart-beat`` value; a missing header means 0,0 (H-06).

    Numbers over 2^31-1 are taken as that. Raises `RemoteProtocolError` for anything else (H-02).
    """
    if value is None:
        return 0, 0
    match = _PAIR.match(value)
    if match is None:
        raise RemoteProtocolError(
            "malformed heart-beat header",
            f'"{shown(value)}"; it is two whole numbers of milliseconds and a comma: '
            "heart-beat:10000,10000 or heart-beat:0,0",
        )
    first, second = (number.lstrip("0") or "0" for number in match.groups())
    return _capped(first), _capped(second)


def _capped(digits: str) -> int:
    return _CEILING if len(digits) > len(str(_CEILING)) else min(int(digits), _CEILING)


def answer(cx: int, cy: int, *, minimum: int = 1000, default: int = 10_000) -> tuple[int, int]:
    """Return the server's numbers for a client's ``cx,cy`` (H-03, H-04).

    They are never 0: some clients crash, or spin, on a 0. Where the client said 0 ours has no
    effect (H-07, H-08), and where it did not ours is the agreed period already.
    """
    return (max(cy, minimum) if cy else default), (max(cx, minimum) if cx else default)


def period(can_send: int, wants: int) -> int:
    """Return the agreed interval of one direction, or 0 if it has no beats (H-07, H-08).

    ``can_send`` is the sender's first number, ``wants`` the receiver's second.
    """
    return max(can_send, wants) if can_send and wants else 0
