"""Where a command's output goes: data to standard output, everything else to standard error."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from stompcli import color, render
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed
from stompcli.settings import Settings

if TYPE_CHECKING:
    import trio


# A pipe that can be written to at all takes so many octets at once (PIPE_BUF).
_AT_ONCE: Final = 4096


# Where a task's output goes instead of standard output, if it does.
_captured: ContextVar[bytearray | None] = ContextVar("captured", default=None)


def captured_here() -> bytearray | None:
    """Return where the output of this task goes instead of standard output, if it does."""
    return _captured.get()


class Out:
    """The two streams of a command.

    It owns what is known about the terminal's line: whether a prompt stands on it. Data may be
    written from any task; nobody waits for a slow reader but the writer itself.
    """

    def __init__(self, settings: Settings, *, in_shell: bool = False) -> None:
        self.settings = settings
        self.in_shell = in_shell
        self._tty = _is_tty(1)
        self.stderr_tty = _is_tty(2)
        # Whether each stream is coloured; a plain line reader never is.
        self.color, self.stderr_color = (
            not in_shell and color.is_wanted(settings.color, tty=tty, environ=os.environ)
            for tty in (self._tty, self.stderr_tty)
        )
        # How messages are shown in a shell, or to people elsewhere, where no option says it; and
        # whether with all of their headers.
        self.usual_format = "stomp.py" if in_shell else "pretty"
        self.full = in_shell
        # The prompt that stands on the line, empty if none does.
        self._prompt = ""
        # True while a passing line stands there.
        self._passing = False
        # Two tasks must not write into each other's message.
        self._turn: trio.Lock | None = None
        # How often anything was written, and who wants to know when that ends a prompt's line.
        self.writes = 0
        self.on_disturbed: Callable[[], object] | None = None

    @property
    def tty(self) -> bool:
        """True if standard output is a terminal, and what is written goes there."""
        return self._tty and captured_here() is None

    @contextmanager
    def capture(self) -> Iterator[bytearray]:
        """Collect what this task writes to standard output, as a pipe would get it."""
        collected = bytearray()
        token = _captured.set(collected)
        try:
            yield collected
        finally:
            _captured.reset(token)

    # Data.

    async def write(self, data: bytes) -> None:
        """Write octets to standard output; raises `StdoutClosed` if nobody reads it any more."""
        import trio

        captured = captured_here()
        if captured is not None:
            captured += data
            return
        if self._turn is None:
            self._turn = trio.Lock()
        async with self._turn:
            self.writes += 1
            if self.tty:
                self.fresh_line()
            while data:
                if len(data) <= _AT_ONCE and _has_room():
                    written = _write(data)
                else:
                    written = await trio.to_thread.run_sync(_write, data, abandon_on_cancel=True)
                data = data[written:]

    async def line(self, text: str) -> None:
        """Write a line of text to standard output."""
        await self.write(text.encode("utf-8", "surrogateescape") + b"\n")

    async def json(self, value: object) -> None:
        """Write a value to standard output as a line of JSON."""
        await self.write(render.json_line(value))

    def form(self) -> str:
        """Return the format that messages are shown in."""
        settings = self.settings
        if settings.json:
            return "json"
        if settings.raw:
            return "raw"
        if settings.format is not None:
            return settings.format
        return self.usual_format if self.in_shell or self.tty else "body"

    def message(
        self,
        message: render.Shown,
        n: int,
        *,
        body: bool = True,
        end: bytes = b"\n",
        notes: Sequence[str] = (),
        more: Mapping[str, object] | None = None,
    ) -> bytes:
        """Return the octets that show a message in the format that was asked for.

        ``body`` False leaves the body out, ``end`` follows it where bodies alone are written.
        ``notes`` are what people, ``more`` what programs that read JSON are told besides; ``size``
        among it is that of a body of which only the begin is here.
        """
        settings = self.settings
        form = self.form()
        told = (more or {}).get("size")
        size = told if isinstance(told, int) else len(message.body)
        if form == "json":
            return render.as_json(message, n, body=body, more=more)
        if not body:
            if form in ("raw", "body"):
                return render.frame_lines("MESSAGE", message.headers, tty=self.tty)
            message = message.head_only()
        if form == "raw":
            return message.body
        if form == "body":
            shown = render.visible_body(message.body).encode() if self.tty else message.body
            return shown + end
        if form == "stomp.py" and (self.full or not self.in_shell):
            return render.stomp_py(message, tty=self.tty)
        if form in ("stomp.py", "pretty"):
            full = settings.verbose > 0 or self.full
            return render.pretty(
                message, n, full=full, tty=self.tty, color=self.color, size=size, notes=notes
            )
        return render.pattern(message, n, form, tty=self.tty)

    # Everything else.

    def notice(self, text: str) -> None:
        """Say what was done, with the time of day, unless --quiet."""
        if not self.settings.quiet:
            self._say(f"{time.strftime('%H:%M:%S')} {text}")

    def aside(self, text: str) -> None:
        """Write a line of text to standard error."""
        self._say(text)

    def failure(self, failure: Failure, *, prefix: str = "stomp: ") -> None:
        """Say why a command failed: a line, and its hint on lines of their own."""
        if self.settings.json:
            value = {"error": {"code": failure.kind, "message": failure.message}}
            self._say(render.json_line(value).decode().rstrip("\n"))
            return
        if self.stderr_color:
            prefix = color.painted(prefix.rstrip(), color.RED) + " " if prefix else prefix
        self._say(prefix + render.visible_line(failure.message))
        for line in failure.hint.splitlines():
            self._say(f"  {render.visible_line(line)}")

    def passing(self, text: str) -> None:
        """Show people a line of text on a terminal that goes away with whatever is written next."""
        settings = self.settings
        if self.stderr_tty and not (settings.quiet or settings.json or settings.no_progress):
            _to_stderr(f"\r{text}\x1b[K")
            self._passing = True

    def pass_by(self) -> None:
        """Take the passing line away."""
        if self._passing:
            self._passing = False
            _to_stderr("\r\x1b[K")

    def wire(
        self, direction: str, data: bytes, *, dump: bool = False, most: int | None = None
    ) -> None:
        """Show octets that came or went, as a line or a dump, ``most`` of them."""
        self._say(render.wire(direction, data, dump=dump, most=most))

    def clear(self) -> None:
        """Clear the screen; raises `Failure` where there is none that could be."""
        raise Failure(ExitCode.FAILED, "unsupported", "clear needs a terminal that can be cleared")

    def _say(self, text: str) -> None:
        self.writes += 1
        self.fresh_line()
        _to_stderr(text + "\n")

    # The prompt of a line reader.

    def prompt(self, text: str) -> None:
        """Put a prompt on the line, once."""
        if self._prompt != text:
            self.fresh_line()
            _to_stderr(text)
            self._prompt = text

    def answered(self) -> None:
        """The user has ended the prompt's line."""
        self._prompt = ""

    def fresh_line(self) -> None:
        """End the prompt's line, if one stands there; a passing one goes away."""
        self.pass_by()
        if self._prompt:
            self._prompt = ""
            _to_stderr("\n")
            if self.on_disturbed is not None:
                self.on_disturbed()


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _has_room() -> bool:
    """Return whether a small write to standard output cannot block."""
    try:
        return bool(select.select([], [1], [], 0)[1])
    except (OSError, ValueError):
        # Closed; the write will say so.
        return False


def _write(data: bytes) -> int:
    try:
        return os.write(1, data)
    except BrokenPipeError:
        raise StdoutClosed from None
    except OSError as error:
        raise Failure(
            ExitCode.FAILED, "failed", f"cannot write to standard output: {error.strerror}"
        ) from None


def _to_stderr(text: str) -> None:
    """Write text to standard error; where nobody reads that, there is nobody to tell."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("…", "...").encode(encoding, "backslashreplace").decode(encoding)
    try:
        os.write(2, text.encode(encoding))
    except OSError:
        return
