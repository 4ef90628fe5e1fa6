"""The lines that were typed: kept from one session to the next, without secrets.

The file is prompt-toolkit's: a comment with the time, then the line behind ``+``, one ``+`` for
each line of a text with several.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from stompcli.transcript import has_secret, without_secrets

_MOST: Final = 10_000


def place() -> Path:
    """Return where the history is: ``STOMP_HISTFILE``, else in the user's state directory."""
    named = os.environ.get("STOMP_HISTFILE")
    if named:
        return Path(named).expanduser()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "stomp" / "history"


def keepable(line: str) -> str | None:
    """Return a line as it may be kept, None if it may not: the user wants it so, or a secret is
    in it.
    """  # noqa: D205 - the list does not fit into one line
    if not line.strip() or line.startswith(" ") or has_secret(line):
        return None
    return without_secrets(line)


class History:
    """The lines of this and earlier sessions, oldest first; any thread may read them.

    Without a ``path`` they are forgotten at the end. ``complaint`` is why the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.complaint = ""
        self.lines: list[str] = []
        if path is not None:
            self._load(path)

    def add(self, line: str) -> None:
        """Keep a line that was typed, if it may be kept and is not the last one again."""
        kept = keepable(line)
        if kept is None or self.lines[-1:] == [kept]:
            return
        self.lines.append(kept)
        if self._path is not None and not self.complaint:
            try:
                self._append(self._path, [kept])
            except OSError as error:
                self.complaint = f"{self._path}: {error.strerror}; the history is not kept"

    def _load(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            data = path.read_bytes() if path.exists() else b""
            self.lines = _parsed(data.decode("utf-8", "replace"))
            if len(self.lines) > 2 * _MOST:
                self.lines = self.lines[-_MOST:]
                # The new file is whole before it takes the old one's place.
                fresh = path.with_name(f"{path.name}.{os.getpid()}")
                self._append(fresh, self.lines)
                fresh.replace(path)
        except OSError as error:
            self.complaint = f"{path}: {error.strerror}; the history is not kept"

    @staticmethod
    def _append(path: Path, lines: Iterable[str]) -> None:
        stamp = datetime.now().astimezone().replace(tzinfo=None)
        text = "".join(
            f"\n# {stamp}\n" + "".join(f"+{part}\n" for part in line.split("\n")) for line in lines
        )
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(text.encode("utf-8", "surrogateescape"))


def _parsed(text: str) -> list[str]:
    lines: list[str] = []
    parts: list[str] = []
    for row in [*text.split("\n"), ""]:
        if row.startswith("+"):
            parts.append(row[1:])
        elif parts:
            lines.append("\n".join(parts))
            parts = []
    return lines
