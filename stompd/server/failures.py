"""Log-ins that failed lately: by whom, and for how long the next refusal is held back."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

# Seconds from CONNECT to the ERROR that refuses it, whatever was wrong and however quickly that was
# seen. After some failures, which people make, it doubles with each further one, up to the most:
# clients that wait for five seconds should still learn why.
REFUSAL_TIME: Final = 0.5
MOST_DELAY: Final = 4.0
FORGIVEN: Final = 4

_FORGET_AFTER: Final = 300.0
_MOST: Final = 10_000
# Whoever has an IPv6 address has as many as there are in a network of this length.
_NETWORK: Final = 64


class Failures:
    """Counts failed log-ins by address and by user; a user need not be there to be counted."""

    def __init__(self) -> None:
        # How many, and when the last; what failed last comes last.
        self._counts: dict[tuple[str, str], tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def note(self, address: str, user: str | None, now: float) -> float:
        """Count a failure at ``now``; return for how many seconds it is not answered.

        That depends on how often this address, or this user from anywhere, has failed.
        """
        keys = [("address", network_of(address))]
        if user is not None:
            keys.append(("user", user))
        count = max(self._count(key, now) for key in keys)
        return min(REFUSAL_TIME * 2.0 ** min(max(count - FORGIVEN, 0), 16), MOST_DELAY)

    def _count(self, key: tuple[str, str], now: float) -> int:
        count, last = self._counts.pop(key, (0, now))
        if now - last > _FORGET_AFTER:
            count = 0
        self._counts[key] = (count + 1, now)
        if len(self._counts) > _MOST:
            del self._counts[next(iter(self._counts))]
        return count + 1


def network_of(address: str) -> str:
    """Return what stands for all addresses that one peer is likely to have."""
    try:
        number = ip_address(address)
    except ValueError:
        return address
    if isinstance(number, IPv6Address):
        if number.ipv4_mapped is not None:
            return str(number.ipv4_mapped)
        return str(IPv6Address(int(number) >> _NETWORK << _NETWORK))
    return address
