"""What can be known before stompd starts to listen: whether its addresses are safe and usable."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from stompd.server.accounts import problems_of_users
from stompd.server.sources import Problem, Sources
from stompd.server.tls import CertificateError, make_context
from stompd.server.units import Address


def exposure(address: Address) -> str:
    """Say why stompd does not listen on ``address`` without being told twice."""
    return f"will not listen on {address}: no users are configured"


def unusable(sources: Sources) -> list[Problem]:
    """Return what would keep stompd from listening.

    A port that is in use is none of it: most often the settings of a stompd that runs are checked
    before it is told to read them again.
    """
    return [
        *_addresses(sources),
        *_sockets(sources),
        *_certificates(sources),
        *_users(sources),
        *_store(sources),
    ]


def _addresses(sources: Sources) -> Iterator[Problem]:
    settings = sources.settings
    places = (
        ("listen", settings.listen),
        ("tls.listen", settings.tls.listen),
        ("http.listen", settings.http.listen),
    )
    for key, addresses in places:
        for index, address in enumerate(addresses):
            reason = _why_not(address)
            if address in settings.exposed():
                reason = exposure(address)
            if reason is not None:
                yield sources.problem(key, index, reason)


def _why_not(address: Address) -> str | None:
    error = obstacle(address)
    if error is None or error.errno == errno.EADDRINUSE:
        return None
    return f"cannot listen on {address}: {error.strerror}"


def obstacle(address: Address) -> OSError | None:
    """Try to bind ``address`` and return the error, if there is one."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _name, where in found:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(where)
    except OSError as error:
        return error
    return None


def _sockets(sources: Sources) -> Iterator[Problem]:
    for index, path in enumerate(sources.settings.unix):
        reason = unusable_path(path)
        if reason is not None:
            yield sources.problem("unix", index, reason)


def unusable_path(path: Path) -> str | None:
    """Return why a Unix socket cannot be made at ``path``, as far as one can see."""
    if not path.parent.is_dir():
        return f"cannot listen on {path}: there is no directory {path.parent}"
    if path.exists() and not path.is_socket():
        return f"cannot listen on {path}: it exists and is no socket"
    if not os.access(path.parent, os.W_OK):
        return f"cannot listen on {path}: the directory {path.parent} is not writable"
    return None


def _certificates(sources: Sources) -> Iterator[Problem]:
    tls = sources.settings.tls
    http = sources.settings.http
    if tls.certificate is None and not (http.listen and http.tls):
        return
    try:
        make_context(tls)
    except CertificateError as error:
        yield sources.problem("tls.certificate", None, str(error))


def _users(sources: Sources) -> Sequence[Problem]:
    return problems_of_users(sources.settings)


def _store(sources: Sources) -> Iterator[Problem]:
    store = sources.settings.store
    if store.engine == "memory":
        return
    reason = unusable_directory(store.path)
    if reason is not None:
        yield sources.problem("store.path", None, reason)


def unusable_directory(path: Path) -> str | None:
    """Return why messages cannot be kept in a directory, as far as one can see.

    That another stompd has it is no reason: most often it is the one whose settings are checked.
    """
    if path.is_dir():
        if os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return None
        return f"the directory {path} is not writable"
    if path.exists():
        return f"{path} is no directory"
    # What is missing is made.
    above = next((folder for folder in path.absolute().parents if folder.exists()), None)
    if above is None or not above.is_dir():
        return f"cannot make {path}: {above} is no directory"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"cannot make {path}: the directory {above} is not writable"
    return None
