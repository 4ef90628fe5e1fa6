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
from stompd.server import log
from stompd.server.config import Settings
from stompd.server.exitcodes import Exit
from stompd.server.preflight import obstacle, unusable_path
from stompd.server.run import serve
from stompd.server.units import Address

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

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            started = None
            try:
                started = await nursery.start(partial(serve, settings, reread=reread))
            except* OSError as errors:
                refused.append(errors)
            if started is not None:
                addresses = [
                    Address(address.host, port)
                    for address, port in zip(settings.listen, started.ports, strict=True)
                ]
                print_banner(settings, addresses, time.monotonic() - began)
                if ready_fd is not None:
                    _tell_ready(ready_fd, [*map(str, addresses), *map(str, settings.unix)])

    try:
        with _process_id(pid_file):
            trio.run(main)
    except BaseExceptionGroup as failed:
        # Ctrl-C before the broker listened to signals: nothing has begun that could be finished.
        if failed.split(KeyboardInterrupt)[1] is not None:
            raise
        return Exit.INTERRUPTED
    except _PidFileError as error:
        _say(f"stompd: {error}")
        return Exit.CONFIGURATION
    if refused:
        _say(f"stompd: {_reason(settings, refused[0])}")
        return Exit.UNAVAILABLE
    return Exit.OK


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
    for address in settings.listen:
        found = obstacle(address)
        if found is not None and found.errno == errno.EADDRINUSE:
            return (
                f"cannot listen on {address}: the port is in use, perhaps by another stompd\n"
                f"  another port: --listen {Address(address.host, address.port + 1)}"
                f"     a free one: --listen {Address(address.host, 0)}"
            )
        if found is not None:
            return f"cannot listen on {address}: {found.strerror}"
    for path in settings.unix:
        reason = unusable_path(path)
        if reason is not None:
            return reason
        if path.is_socket():
            return f"cannot listen on {path}: another program listens there"
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"cannot listen: {error}"


def _tell_ready(descriptor: int, places: Sequence[str]) -> None:
    with os.fdopen(descriptor, "w") as waiting:
        waiting.write(f"ready {' '.join(places)}\n")


def print_banner(settings: Settings, addresses: Sequence[Address], seconds: float) -> None:
    """Tell on standard error where stompd listens (``addresses``) and what may be tried first."""
    who = "no users: anyone may connect" if settings.allow_anonymous else "no users: loopback only"
    _say(
        f"stompd {stompd.__version__} (python {platform.python_version()}, trio {version('trio')})"
    )
    for address in addresses:
        _say(f"listening  stomp  {address!s:24} ({who})")
    for path in settings.unix:
        _say(f"listening  stomp  {path}")
    _say(f"store      memory {'':24} messages are lost on stop")
    _say(f"ready in {seconds:.2f}s, pid {os.getpid()}")
    if addresses:
        stomp = f"stomp{_options(addresses[0])}"
        _say(f"try:  {stomp} subscribe /queue/test      {stomp} send /queue/test hello world")


def _options(address: Address) -> str:
    """Return the options by which ``stomp`` finds ``address``."""
    host = "" if address.host in {"127.0.0.1", "localhost", "0.0.0.0"} else f" -H {address.host}"  # noqa: S104 - compared
    port = "" if address.port == _USUAL_PORT else f" -P {address.port}"
    return host + port


def _say(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        # Nobody reads it; a broker does not end for that.
        return
