"""One question to a broker between two keystrokes: a blocking socket, no trio, and no complaint.

What completion offers comes from here. Whatever goes wrong, and whatever takes too long, is no
answer.
"""

import hashlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from stompcli import paths
from stompcli.failure import Failure
from stompcli.files import read
from stompcli.settings import Settings
from stompd.protocol.decoder import Decoder
from stompd.protocol.encoder import encode, with_length

# Seconds that an answer may take, and for which it is remembered.
BUDGET: Final = 0.3
_FRESH: Final = 30.0

# Where the answers to a question of Tab go.
ANSWERS: Final = "/temp-queue/stomp-completion"
_READ_SIZE: Final = 64 * 1024
_PORTS: Final = {"stomp": 61613, "stomp+ssl": 61614}


@dataclass(frozen=True)
class Place:
    """Where a broker is, and how to log in."""

    host: str = "localhost"
    port: int = 61613
    path: str | None = None
    tls: bool = False
    user: str | None = None
    password: str | None = None
    vhost: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Place | None":
        """Return the place that settings name; None for one that cannot be asked in this way."""
        parts = urlsplit((settings.url or "stomp:").partition(",")[0])
        if parts.scheme not in ("stomp", "stomp+ssl", "unix"):
            return None
        tls = settings.tls or parts.scheme == "stomp+ssl"
        there = parts.scheme == "unix" and settings.host is None and settings.port is None
        password = settings.password
        if settings.password_file is not None:
            password = read(settings.password_file).decode().split("\n")[0]
        return cls(
            host=settings.host or parts.hostname or "localhost",
            port=settings.port or parts.port or _PORTS["stomp+ssl" if tls else "stomp"],
            path=unquote(parts.path) if there else None,
            tls=tls and not there,
            user=settings.user or _part(parts.username),
            password=password or _part(parts.password),
            vhost=settings.vhost or (None if there else _part(parts.path.strip("/")) or None),
        )


def _part(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def asked(
    settings: Settings, verb: str, fields: Mapping[str, object], *, budget: float = BUDGET
) -> list[dict[str, Any]]:
    """Return the rows that a broker tells to an admin request, none if there is no answer.

    An answer is remembered for half a minute, for who asks the same again.
    """
    try:
        place = Place.of(settings)
    except (Failure, ValueError):
        return []
    if place is None:
        return []
    remembered = _file(place, verb, fields)
    rows = _remembered(remembered)
    if rows is None:
        rows = _in_time(place, settings, verb, fields, budget)
        if rows is not None:
            _remember(remembered, rows)
    return rows or []


def _in_time(
    place: Place, settings: Settings, verb: str, fields: Mapping[str, object], budget: float
) -> list[dict[str, Any]] | None:
    """Ask in a thread that nobody waits for any longer than this: a name server may hang."""
    found: list[list[dict[str, Any]] | None] = []

    def ask() -> None:
        try:
            found.append(_ask(place, settings, verb, fields, time.monotonic() + budget))
        except (OSError, ValueError, Failure):
            # Whoever presses Tab wants no explanations.
            found.append(None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(budget)
    return found[0] if found else None


def _ask(
    place: Place, settings: Settings, verb: str, fields: Mapping[str, object], deadline: float
) -> list[dict[str, Any]] | None:
    decoder = Decoder("client")
    with _connected(place, settings, deadline) as link:
        link.sendall(_question(place, verb, fields))
        while (left := deadline - time.monotonic()) > 0:
            link.settimeout(left)
            data = link.recv(_READ_SIZE)
            if not data:
                return None
            frames = decoder.feed(data)
            while frames:
                head, body = frames.pop(0)
                if head.command == "CONNECTED":
                    decoder.begin(head.get("version") or "1.0")
                    # What came behind it has waited for the version.
                    frames += decoder.feed(b"")
                    if not (head.get("server") or "").startswith("stompd/"):
                        return None
                elif head.command == "MESSAGE":
                    link.sendall(encode("DISCONNECT", []))
                    return _result(body)
                elif head.command == "ERROR":
                    return None
            if decoder.error is not None:
                return None
    return None


def _connected(place: Place, settings: Settings, deadline: float) -> socket.socket:
    left = max(deadline - time.monotonic(), 0.01)
    if place.path is not None:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(left)
        link.connect(place.path)
        return link
    link = socket.create_connection((place.host, place.port), timeout=left)
    if not place.tls:
        return link
    context = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.tls_cert is not None:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context.wrap_socket(link, server_hostname=place.host)


def _question(place: Place, verb: str, fields: Mapping[str, object]) -> bytes:
    """Return all frames of the conversation: nobody waits for an answer in between."""
    pairs = [("accept-version", "1.2"), ("host", place.vhost or place.host)]
    pairs += [("login", place.user)] if place.user is not None else []
    pairs += [("passcode", place.password)] if place.password is not None else []
    body = json.dumps(fields).encode()
    request = [
        ("destination", f"/admin/{verb}"),
        ("reply-to", ANSWERS),
        ("content-type", "application/json"),
    ]
    return (
        encode("CONNECT", pairs)
        + encode("SUBSCRIBE", [("id", "completion"), ("destination", ANSWERS)])
        + encode("SEND", with_length(request, body), body)
    )


def _result(body: bytes) -> list[dict[str, Any]] | None:
    answer = json.loads(body)
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        return None
    return _rows(answer.get("result"))


def _rows(result: object) -> list[dict[str, Any]]:
    rows = result.get("messages") if isinstance(result, dict) else result
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


# What was told lately.


def _file(place: Place, verb: str, fields: Mapping[str, object]) -> Path:
    # A password decides who may see what; it is part of the name only as a part of the digest.
    key = json.dumps([*vars(place).values(), verb, fields], sort_keys=True)
    return paths.cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _remembered(path: Path) -> list[dict[str, Any]] | None:
    try:
        if not 0 <= time.time() - path.stat().st_mtime < _FRESH:
            return None
        return _rows(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _remember(path: Path, rows: list[dict[str, Any]]) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(json.dumps(rows).encode())
        fresh.replace(path)
    except OSError:
        # Then it is asked again the next time.
        return
