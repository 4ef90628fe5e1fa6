"""Which pages, of which names, may use the port from somebody's browser.

A browser sends what any page tells it to send, and a log-in that it knows with it. Who is trusted
because of his address, as everybody on this machine is while there are no users, is protected by
nothing else than this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

ANYONE = "*"


def is_own_name(host: str | None, names: Collection[str]) -> bool:
    """Return whether ``host``, the header of that name, is an address or one of our names.

    A page whose name was made to lead here (DNS rebinding) is of the same origin for a browser, but
    it cannot have any of these. Without the header it was no browser.
    """
    if host is None:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = {known.lower() for known in names}
        return name == "localhost" or name.endswith(".localhost") or name in own
    return True


def is_own_page(origin: str | None, host: str | None, origins: Collection[str]) -> bool:
    """Return whether a request comes from a page of ours, of ``origins``, or of none at all.

    ``origin`` and ``host`` are the headers of these names. http or https makes no difference: a
    proxy may speak the one for the other.
    """
    if origin is None or ANYONE in origins:
        return True
    if origin.lower() in {known.lower().rstrip("/") for known in origins}:
        return True
    scheme, _, authority = origin.partition("://")
    return scheme in {"http", "https"} and host is not None and authority.lower() == host.lower()
