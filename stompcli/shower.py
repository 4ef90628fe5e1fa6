"""How the messages of a one-shot subscription are shown, kept and counted."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

import trio

from stompcli.client import Message
from stompcli.failure import usage
from stompcli.listing import bar
from stompcli.output import Out
from stompcli.received_files import FILENAME, check_folder, file_of, keep, numbered, safe_name
from stompcli.render import frame_lines, visible_body, visible_line
from stompcli.translating import Translation

_WIDTH: Final = 40


@dataclass(frozen=True)
class Shown:
    """A message as it is to be shown: perhaps with another body than it came with."""

    id: str
    destination: str
    headers: dict[str, str]
    raw_headers: list[tuple[str, str]]
    body: bytes

    def head_only(self) -> "Shown":
        """Return it without its body."""
        return replace(self, body=b"")


class Shower:
    """Shows messages one by one, as the options of subscribe say.

    Raises `Failure` for options that exclude each other, and for what is missing on this machine.
    """

    def __init__(self, params: Mapping[str, Any], out: Out) -> None:
        self._params = params
        self._out = out
        if params["headers_only"] and params["tail_headers"]:
            raise usage("--headers-only and --tail-headers exclude each other")
        if params["graph"] and params["dump"] is not None:
            raise usage("--graph and --dump exclude each other")
        command = params["translate"]
        self._translation = None if command is None else Translation(command)
        self._files = self._folder("save_files")
        self._dump = None if params["dump"] == "-" else self._folder("dump")
        self._null = params["null"] or params["dump"] == "-"
        # When the last message was shown, on trio's clock; when the next one may be.
        self._last: float | None = None
        self._due = trio.current_time()

    def _folder(self, option: str) -> Path | None:
        path = self._params[option]
        return None if path is None else check_folder(path)

    async def show(self, message: Message, n: int) -> None:
        """Show the n-th message; raises `Failure` if it cannot be shown or kept."""
        rate = self._params["rate_limit"]
        if rate is not None:
            await trio.sleep_until(self._due)
            self._due = max(self._due, trio.current_time()) + 1 / rate
        shown = Shown(
            message.id, message.destination, message.headers, message.raw_headers, message.body
        )
        if self._translation is not None:
            shown = replace(shown, body=await self._translation.of(shown.body))
        more = self._moments()
        saved = self._save(shown, n)
        if saved is not None:
            more["saved"] = str(saved)
        if self._params["graph"]:
            return
        if self._dump is not None:
            keep(self._dump, self._dump_names(n), self._laid_out(shown, n, more, end=b""))
            return
        if saved is None or self._out.settings.json:
            end = b"\0" if self._null else b"" if self._params["no_newline"] else b"\n"
            await self._out.write(self._laid_out(shown, n, more, end=end))

    def _moments(self) -> dict[str, object]:
        """Return when the message came, as far as somebody wants to know."""
        now = trio.current_time()
        since = 0.0 if self._last is None else now - self._last
        self._last = now
        more: dict[str, object] = {}
        if self._params["timestamp"]:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            more["received"] = stamp.replace("+00:00", "Z")
        if self._params["delta"]:
            more["delta"] = round(since, 3)
        return more

    def _save(self, shown: Shown, n: int) -> Path | None:
        """Keep the file that a message brings, if that is wanted; return where it is."""
        if self._files is None:
            return None
        data = file_of(shown.headers, shown.body)
        if data is None:
            return None
        name = safe_name(shown.headers[FILENAME], f"message-{n}")
        path = keep(self._files, numbered(name), data)
        if not self._out.settings.json:
            self._out.notice(f"saved {visible_line(str(path))} ({len(data):,} bytes)")
        return path

    def _dump_names(self, n: int) -> Iterator[str]:
        """Yield the names for the n-th message, and for later ones: what is there stays."""
        suffix = {"json": ".json", "body": ".body", "raw": ".body"}.get(self._form(), ".txt")
        return (f"{number:06}{suffix}" for number in count(n))

    def _form(self) -> str:
        """Return the format: what goes into files is never laid out for a terminal."""
        form = self._out.form()
        if self._dump is not None and form == "pretty" and self._out.settings.format is None:
            return "body"
        return form

    def _laid_out(self, shown: Shown, n: int, more: Mapping[str, object], *, end: bytes) -> bytes:
        form = self._form()
        body = not self._params["headers_only"]
        if self._dump is not None and form == "body" and body:
            return shown.body
        if form == "json":
            line = self._out.message(shown, n, body=body, more=more)
            return line[:-1] + b"\0" if self._null else line
        data = self._in_form(shown, n, form, body=body, end=end)
        if form == "raw":
            return data
        times = []
        if self._params["timestamp"]:
            times.append(time.strftime("%H:%M:%S "))
        if self._params["delta"]:
            times.append(f"+{more['delta']:.3f} ")
        return "".join(times).encode() + data

    def _in_form(self, shown: Shown, n: int, form: str, *, body: bool, end: bytes) -> bytes:
        if not self._params["tail_headers"] or form not in ("pretty", "stomp.py", "body"):
            return self._out.message(shown, n, body=body, end=end)
        tty = self._out.tty
        text = visible_body(shown.body).encode("utf-8", "surrogateescape") if tty else shown.body
        head = frame_lines("MESSAGE", shown.headers, tty=tty)
        if form == "pretty":
            head = self._out.message(shown, n, body=False)
        elif form == "body":
            # The frame's name would only be in the way.
            head = head.partition(b"\n")[2]
        return text + (b"" if not text or text.endswith(b"\n") else b"\n") + head


class Graph:
    """How many messages and octets came, second by second, as lines with bars."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._messages = 0
        self._octets = 0
        self._total = 0
        self._most = 1

    def count(self, message: Message) -> None:
        """A message has come."""
        self._messages += 1
        self._total += 1
        self._octets += len(message.body)

    async def run(self) -> None:
        """Write a line each second, until cancelled."""
        due = trio.current_time()
        while True:
            due += 1
            await trio.sleep_until(due)
            messages, self._messages = self._messages, 0
            octets, self._octets = self._octets, 0
            self._most = max(self._most, messages)
            if self._out.settings.json:
                line: dict[str, object] = {"messages": messages, "bytes": octets}
                await self._out.json({**line, "total": self._total})
                continue
            drawn = self.bar(messages)
            await self._out.line(
                f"{time.strftime('%H:%M:%S')} {messages:>9,} msg/s {octets / 1024:>11,.1f} KiB/s"
                f"{'  ' if drawn else ''}{drawn}"
            )

    def bar(self, messages: int) -> str:
        """Return a bar as long as this second was busy, measured by the busiest so far."""
        return bar(messages / self._most, _WIDTH)
