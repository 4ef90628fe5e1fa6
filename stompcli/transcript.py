"""A record of a session: every octet that came or went, and every line that was typed.

NDJSON: ``{"t":…,"dir":">","bytes_b64":…}`` a chunk, ``{"t":…,"command":…}`` a line; or a log for
people. Passwords are not in it.
"""

import base64
import json
import os
import re
from datetime import UTC, datetime
from typing import Final, Literal

from stompcli import render
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure

_PASSCODE: Final = re.compile(rb"(\npasscode:)[^\n]*")
_HIDDEN: Final = rb"\1***"
# A line with a password in it, and the password in a URL.
_SECRET: Final = re.compile(r"passcode|password|(?:^|\s)-W", re.IGNORECASE)
_IN_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]*(@)")


def without_passcode(data: bytes) -> bytes:
    """Return octets that go out, without the passcode of a CONNECT."""
    if data.lstrip(b"\r\n").startswith((b"CONNECT\n", b"STOMP\n", b"CONNECT\r", b"STOMP\r")):
        return _PASSCODE.sub(_HIDDEN, data)
    return data


def has_secret(line: str) -> bool:
    """Return whether a line is better not kept at all."""
    return _SECRET.search(line) is not None


def without_secrets(line: str) -> str:
    """Return a line in which the passwords of URLs are masked."""
    return _IN_URL.sub(r"\1***\2", line)


class Transcript:
    """A file that is written as things happen; it is never written over.

    Raises `Failure` if the file is there already and not to be appended to, or cannot be made.
    ``complaint`` is why it is no longer written.
    """

    def __init__(self, path: str, *, append: bool = False, text: bool = False) -> None:
        how = os.O_APPEND if append else os.O_EXCL
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        except FileExistsError:
            raise Failure(
                ExitCode.FAILED,
                "conflict",
                f"{path} exists, and is not written over",
                "to go on in it: record --append FILE",
            ) from None
        except OSError as error:
            raise Failure(ExitCode.FAILED, "failed", f"{path}: {error.strerror}") from None
        self.path = path
        self.complaint = ""
        self._text = text
        # Line by line, so that all is there whatever becomes of us.
        self._file = os.fdopen(fd, "wb", buffering=0)

    def octets(self, direction: Literal["<", ">"], data: bytes) -> None:
        """Keep octets that came (``<``) or went (``>``)."""
        if direction == ">":
            data = without_passcode(data)
        if self._text:
            self._write(f"{_clock()} {render.wire(direction, data)}")
        else:
            encoded = base64.b64encode(data).decode()
            self._write(_json({"t": _now(), "dir": direction, "bytes_b64": encoded}))

    def command(self, line: str) -> None:
        """Keep a line that was typed; nothing if there may be a secret in it."""
        if not line.strip() or has_secret(line):
            return
        line = without_secrets(line)
        if self._text:
            self._write(f"{_clock()} $ {render.visible_line(line)}")
        else:
            self._write(_json({"t": _now(), "command": line}))

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _write(self, line: str) -> None:
        if self.complaint:
            return
        try:
            self._file.write(f"{line}\n".encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.complaint = f"{self.path}: {error.strerror}; the transcript has ended"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
