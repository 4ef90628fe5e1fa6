"""From settings to a running broker: banner, process id, readiness, and what is told at the end."""

import errno
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import trio

import stompd
from stompd.broker.storage import Kept
from stompd.server import log
from stompd.server.accounts import Accounts
from stompd.server.config import Settings, show_directory
from stompd.server.exitcodes import Exit
from stompd.server.preflight import obstacle, unusable_path
from stompd.server.run import count_kept, serve
from stompd.server.service import Service
from stompd.server.systemd import Notifier
from stompd.server.tls import CertificateError
from stompd.server.units import Address
from stompd.store.errors import StoreError, StoreLockedError

_USUAL_PORT: Final = 61613


def start(
    settings: Settings,
    reread: Callable[[], Settings],
    *,
    pid_file: Path | None,
    ready_fd: int | None,
    began: float,
) -> Exit:
    """Serve until a signal ends it, and return the exit status.

    ``reread`` is called at SIGHUP and may raise `stompd.server.sources.ConfigurationError`.
    ``pid_file`` holds the process id while connections are accepted; ``ready_fd`` is given a line
    once they are. ``began`` is the reading of `time.monotonic` at the start of the program.
    """
    log.configure(settings.log.level, settings.log.format)
    refused: list[BaseException] = []
    failed: list[BaseException] = []
    uncertified: list[BaseException] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            started = None
            try:
                started = await nursery.start(
                    partial(serve, settings, reread=reread, notifier=Notifier())
                )
            except* StoreError as errors:
                failed.append(errors)
            except* CertificateError as errors:
                uncertified.append(errors)
            except* OSError as errors:
                refused.append(errors)
            if started is not None:
                addresses = _with_ports(settings.listen, started.ports)
                encrypted = _with_ports(settings.tls.listen, started.tls_ports)
                web = _with_ports(settings.http.listen, started.http_ports)
                seconds = time.monotonic() - began
                who = _who(settings, started.service)
                print_banner(settings, addresses, encrypted, web, who, started.kept, seconds)
                if ready_fd is not None:
                    places = [*addresses, *encrypted, *settings.unix]
                    scheme = "https" if settings.http.tls else "http"
                    urls = [f"{scheme}://{address}" for address in web]
                    _tell_ready(ready_fd, [*(str(place) for place in places), *urls])

    try:
        with _process_id(pid_file):
            trio.run(main)
    except BaseExceptionGroup as group:
        # Ctrl-C before the broker listened to signals: nothing has begun that could be finished.
        if group.split(KeyboardInterrupt)[1] is None:
            return Exit.INTERRUPTED
        if group.split(StoreError)[1] is not None:
            raise
        # It was told when it happened.
        return Exit.STORE
    except _PidFileError as error:
        _say(f"stompd: {error}")
        return Exit.CONFIGURATION
    if failed:
        reason = _first(failed[0])
        _say(f"stompd: {reason}")
        if isinstance(reason, StoreLockedError):
            _say("  without a file: --memory")
        return Exit.STORE
    if uncertified:
        _say(f"stompd: {_first(uncertified[0])}")
        return Exit.CONFIGURATION
    if refused:
        _say(f"stompd: {_reason(settings, refused[0])}")
        return Exit.UNAVAILABLE
    return Exit.OK


def _with_ports(addresses: Sequence[Address], ports: Sequence[int]) -> list[Address]:
    """Return the addresses with the ports that they got."""
    return [Address(address.host, port) for address, port in zip(addresses, ports, strict=True)]


class _PidFileError(Exception):
    """The file for the process id cannot be written; the text is for the user."""


@contextmanager
def _process_id(file: Path | None) -> Iterator[None]:
    """Keep the process id in ``file`` for as long as the block runs."""
    if file is None:
        yield
        return
    try:
        file.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise _PidFileError(f"cannot write {file}: {error.strerror}") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _reason(settings: Settings, error: BaseException) -> str:
    """Say which address could not be listened on, and what can be done."""
    places = [("--listen", address) for address in settings.listen]
    places += [("--tls-listen", address) for address in settings.tls.listen]
    places += [("--http-listen", address) for address in settings.http.listen]
    for flag, address in places:
        found = obstacle(address)
        if found is not None and found.errno == errno.EADDRINUSE:
            none = "     none: --http-listen off" if flag == "--http-listen" else ""
            return (
                f"cannot listen on {address}: the port is in use, perhaps by another stompd\n"
                f"  another port: {flag} {Address(address.host, address.port + 1)}"
                f"     a free one: {flag} {Address(address.host, 0)}{none}"
            )
        if found is not None:
            return f"cannot listen on {address}: {found.strerror}"
    for path in settings.unix:
        reason = unusable_path(path)
        if reason is not None:
            return reason
        if path.is_socket():
            return f"cannot listen on {path}: another program listens there"
    return f"cannot listen: {_first(error)}"


def _first(error: BaseException) -> BaseException:
    """Return what is at the bottom of a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell_ready(descriptor: int, places: Sequence[str]) -> None:
    with os.fdopen(descriptor, "w") as waiting:
        waiting.write(f"ready {' '.join(places)}\n")


def _who(settings: Settings, service: Service) -> str:
    """Return who may connect, in few words."""
    authenticator = service.authenticator
    if isinstance(authenticator, Accounts):
        ways = [_counted(len(authenticator.users), "user")] if settings.users.file else []
        ways += ["tokens"] if settings.tokens.keys else []
        ways += ["certificates"] if settings.certificate else []
        ways += ["anyone without a login"] if settings.allow_anonymous else []
        return ", ".join(ways)
    if settings.users.authenticator:
        return f"users of {settings.users.authenticator}"
    return "no users: anyone may connect" if settings.allow_anonymous else "no users: loopback only"


def print_banner(
    settings: Settings,
    addresses: Sequence[Address],
    encrypted: Sequence[Address],
    web: Sequence[Address],
    who: str,
    kept: Kept | None,
    seconds: float,
) -> None:
    """Tell on standard error where stompd listens and what may be tried first.

    That is at ``addresses``, with TLS at those that are ``encrypted``, and with HTTP at ``web``.
    ``who`` tells who may connect; ``kept`` is what the store had kept, None if it keeps nothing.
    """
    _say(
        f"stompd {stompd.__version__} (python {platform.python_version()}, trio {version('trio')})"
    )
    for address in addresses:
        _say(f"listening  stomp  {address!s:24} ({who})")
    for address in encrypted:
        _say(f"listening  tls    {address!s:24} ({who})")
    for path in settings.unix:
        _say(f"listening  stomp  {path}")
    for address in web:
        scheme, ws = ("https", "wss") if settings.http.tls else ("http", "ws")
        console = f"console {scheme}://{_callable(address)}/  " if settings.http.console else ""
        ways = f"{console}{ws} /ws  /metrics  /healthz  /api/v1"
        _say(f"listening  {scheme:6} {address!s:24} {ways}")
    if kept is None:
        _say(f"store      memory {'':24} messages are lost on stop; use --data DIR")
    else:
        queues, messages = count_kept(kept)
        found = "empty"
        if messages:
            found = f"{_counted(queues, 'queue')}, {_counted(messages, 'message')}"
        _say(f"store      sqlite {show_directory(settings.store.path):24} {found}")
    _say(f"ready in {seconds:.2f}s, pid {os.getpid()}")
    if addresses:
        stomp = f"stomp{_options(addresses[0])}{' -U NAME' if settings.has_users() else ''}"
        _say(f"try:  {stomp} subscribe /queue/test      {stomp} send /queue/test hello world")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _options(address: Address) -> str:
    """Return the options by which ``stomp`` finds ``address``."""
    host = "" if address.host in {"127.0.0.1", "localhost", "0.0.0.0"} else f" -H {address.host}"  # noqa: S104 - compared
    port = "" if address.port == _USUAL_PORT else f" -P {address.port}"
    return host + port


def _callable(address: Address) -> Address:
    """Return the address that a browser on this machine takes."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared
    return Address(anywhere.get(address.host, address.host), address.port)


def _say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        # Nobody reads it; a broker does not end for that.
        return
