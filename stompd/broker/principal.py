"""Who somebody is, once that is known: a name, groups, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ADMIN: Final = "admin"
"""The group whose members may do everything, unless a rule takes it from them."""


@dataclass(frozen=True)
class Principal:
    """Whose rights a session has; what was proven is here, not what a client says of itself."""

    # None for somebody who is anonymous, whatever name it gives itself.
    name: str | None = None
    groups: frozenset[str] = frozenset()
    # True for a peer on this machine while there are no users: then it may do everything.
    trusted: bool = False
    # Seconds since 1970 at which it is nobody any more; None if that does not come by itself.
    expires: float | None = None
    # What it was known by; its authenticator's alone, to know it again when users have changed.
    proof: object = field(default=None, repr=False, compare=False)


ANONYMOUS: Final = Principal()
