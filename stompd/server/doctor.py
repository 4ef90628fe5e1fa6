"""What a machine and the settings offer stompd, for operators and for reports of faults."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import apsw
from cryptography import x509

import stompd
from stompd.server.preflight import obstacle, unusable
from stompd.server.units import MIB, show_size

if TYPE_CHECKING:
    from stompd.server.sources import Sources

_LIBRARIES: Final = ("trio", "apsw", "pydantic", "structlog", "click")
# Days before its end at which a certificate is worth a word.
_SOON: Final = 30
_DAY: Final = 86_400
# A clock before this is not set: stompd was not written yet.
_EARLIEST: Final = 1_767_225_600
_SPARE: Final = 64

State = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what is to be done about it if it is not well."""

    name: str
    state: State
    text: str
    hint: str = ""


def examine(sources: Sources) -> list[Finding]:
    """Look at everything; nothing is changed, and no address is listened on for longer than a look.

    A stompd that runs with the same settings is found by its port and its directory.
    """
    return [
        *_versions(),
        *_settings(sources),
        *_addresses(sources),
        *_descriptors(sources),
        *_disk(sources),
        *_clock(),
        *_certificates(sources),
    ]


def _versions() -> Iterator[Finding]:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    yield Finding("stompd", "ok", f"{stompd.__version__} in {Path(stompd.__file__).parent}")
    yield Finding(
        "python", "ok", f"{platform.python_version()} at {sys.executable}, {platform.platform()}"
    )
    yield Finding(
        "libraries", "ok", f"{libraries}, SQLite {apsw.sqlite_lib_version()}, {ssl.OPENSSL_VERSION}"
    )


def _settings(sources: Sources) -> Iterator[Finding]:
    problems = unusable(sources)
    for problem in problems:
        yield Finding("settings", "error", str(problem), "stompd would not start")
    if not problems:
        count = len(sources.origins)
        yield Finding("settings", "ok", f"{count} set, the others are built in")


def _addresses(sources: Sources) -> Iterator[Finding]:
    settings = sources.settings
    for address in (*settings.listen, *settings.tls.listen):
        error = obstacle(address)
        if error is None:
            yield Finding("address", "ok", f"{address} is free")
        else:
            yield Finding(
                "address", "warning", f"{address}: {error.strerror}", "perhaps stompd runs already"
            )


def _descriptors(sources: Sources) -> Iterator[Finding]:
    wanted = sources.settings.limits.connections + _SPARE
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        yield Finding("descriptors", "ok", f"enough for limits.connections ({wanted - _SPARE})")
    else:
        yield Finding(
            "descriptors",
            "warning",
            f"{hard} at most: no more than {max(hard - _SPARE, 0)} connections",
            f"raise them to {wanted} (LimitNOFILE= of systemd, ulimit -Hn)",
        )


def _disk(sources: Sources) -> Iterator[Finding]:
    store = sources.settings.store
    if store.engine == "memory":
        yield Finding("store", "warning", "messages are kept in memory only", "a stop loses them")
        return
    path = store.path.absolute()
    above = next(folder for folder in (path, *path.parents) if folder.exists())
    usage = shutil.disk_usage(above)
    file = path / "stompd.db"
    size = f"{file.stat().st_size / MIB:,.1f} MiB" if _readable(file) else "nothing yet"
    text = f"{path}: {size}, {usage.free / MIB:,.0f} MiB free"
    if usage.free < 2 * store.min_free:
        yield Finding(
            "store",
            "error" if usage.free < store.min_free else "warning",
            text,
            f"below store.min-free ({show_size(store.min_free)}) persistent messages are refused",
        )
    else:
        yield Finding("store", "ok", text)


def _readable(file: Path) -> bool:
    return file.exists() and os.access(file, os.R_OK)


def _clock() -> Iterator[Finding]:
    now = time.time()
    if now < _EARLIEST:
        yield Finding(
            "clock",
            "error",
            f"it is not set: {datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
            "expiry, delays and certificates need the time of day",
        )
    else:
        yield Finding("clock", "ok", f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC")


def _certificates(sources: Sources) -> Iterator[Finding]:
    tls = sources.settings.tls
    for file in dict.fromkeys((tls.certificate, tls.client_ca)):
        if file is None or not _readable(file):
            # What cannot be read is one of the problems with the settings.
            continue
        for found in _read_certificates(file):
            yield _judge(file, found)


def _read_certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError:
        # That is one of the problems with the settings, too.
        return []


def _judge(file: Path, certificate: x509.Certificate) -> Finding:
    until = certificate.not_valid_after_utc
    days = int((until.timestamp() - time.time()) // _DAY)
    text = f"{file}: {certificate.subject.rfc4514_string()}, until {until:%Y-%m-%d}"
    if days < 0:
        return Finding("certificate", "error", text, "it is over: clients refuse it")
    if days < _SOON:
        return Finding("certificate", "warning", text, f"{days} days left: renew it, then SIGHUP")
    return Finding("certificate", "ok", text)
