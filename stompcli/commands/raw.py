"""raw: frames as they are typed, over a socket of their own."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

import trio

from stompcli import files, render, words
from stompcli.client.beside import tasks_beside
from stompcli.client.dial import open_stream
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, bad_input, usage
from stompcli.output import Out
from stompcli.rawframes import RawFrames, lint, split_frames, unescaped
from stompcli.reading import StandardInput, Text, pieces
from stompcli.session import Session
from stompd.protocol.encoder import encode

_T = TypeVar("_T")

_PROMPT: Final = "raw> "
_CONTINUED: Final = "...  "
_INTERRUPT: Final = "\x03"
# Seconds to wait for what is expected, unless --timeout says otherwise.
_PATIENCE: Final = 10.0
_READ: Final = 64 * 1024
_HELP: Final = (
    "Type a frame; ^@ at the end of a line ends it, Ctrl-C drops it. Instead of a frame:\n"
    '  beat   send-bytes "..."   set lint on|off   quit'
)


async def raw(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Write frames until there are no more, or what is expected has come."""
    address = session.address()
    options = session.options()
    # They show what they do themselves.
    options.pop("trace", None)
    stream = await open_stream(address, **options)
    async with stream:
        wire = _Wire(stream, params, out, lints=session.preferences.lint)
        wire.silent = out.settings.quiet and not session.interactive
        async with tasks_beside() as nursery:
            nursery.start_soon(wire.read)
            await _converse(session, params, wire, out)
    if wire.refused and not params["expect"] and not session.interactive:
        return ExitCode.FAILED
    return None


async def _converse(session: Session, params: dict[str, Any], wire: "_Wire", out: Out) -> None:
    if params["auto_connect"]:
        await wire.send(_connect(session))
        await wire.wait_for(b"CONNECTED", _patience(session))
    frames = RawFrames(eol=params["eol"], escapes=params["escapes"])
    async with aclosing(_lines(session, params, frames, wire, out)) as lines:
        async for line in lines:
            if line == _INTERRUPT.encode():
                frames.drop()
            elif frames.begun or not await _obey(line, wire, out):
                if line.strip() in (b"quit", b"exit") and not frames.begun:
                    return
                for frame in frames.feed(line):
                    await wire.send(frame)
    if frames.begun:
        if session.type is not None and params["file"] is None:
            return
        raise bad_input("the last frame has no end; put ^@ at the end of its last line")
    if params["expect"]:
        for text in params["expect"]:
            await wire.wait_for(text.encode("utf-8", "surrogateescape"), _patience(session))
    else:
        await wire.wait_for_quiet(session.settings.linger)


def _patience(session: Session) -> float:
    return _PATIENCE if session.settings.timeout is None else session.settings.timeout


def _connect(session: Session) -> bytes:
    options = session.options()
    address = session.address()
    pairs = [
        ("accept-version", ",".join(options["versions"])),
        ("host", options["virtual_host"] or address.virtual_host or address.host),
    ]
    login = options["login"] or address.login
    passcode = options["passcode"] or address.passcode
    pairs += [("login", login)] if login is not None else []
    pairs += [("passcode", passcode)] if passcode is not None else []
    return encode("CONNECT", pairs, b"")


async def _obey(line: bytes, wire: "_Wire", out: Out) -> bool:
    """Do what a line says that is no frame; return whether it was one. Frames are upper case."""
    text = line.decode("utf-8", "surrogateescape").strip()
    word, _, rest = text.partition(" ")
    if word == "beat" and not rest:
        await wire.send(b"\n", lints=False)
    elif word == "send-bytes":
        octets = " ".join(words.arguments(rest.replace("\\", "\\\\")))
        await wire.send(unescaped(octets.encode("utf-8", "surrogateescape")), lints=False)
    elif text in ("set lint on", "set lint off"):
        wire.lints = text.endswith("on")
    elif text in ("help", "?"):
        out.aside(_HELP)
    else:
        return False
    return True


async def _lines(
    session: Session, params: dict[str, Any], frames: RawFrames, wire: "_Wire", out: Out
) -> AsyncGenerator[bytes, None]:
    """Yield the lines that are typed, or those of the file or of standard input.

    They end with the connection as well.
    """
    path = params["file"]
    if path is None and session.type is not None:
        while True:
            prompt = _CONTINUED if frames.begun else _PROMPT
            text = await wire.until_closed(partial(session.type, prompt))
            if text is None:
                return
            yield text.encode("utf-8", "surrogateescape")
    if path in (None, "-") and session.in_shell:
        raise usage("Expecting: raw <file>")
    source = StandardInput() if path in (None, "-") else Text(files.read(path))
    typed = path is None and StandardInput().tty
    async with aclosing(pieces(source, b"\n")) as lines:
        while True:
            if typed:
                out.prompt(_CONTINUED if frames.begun else _PROMPT)
            line = await wire.until_closed(partial(anext, lines, None))
            if line is None:
                return
            out.answered()
            # A CR before the line's end stays, unless somebody says what ends a line.
            yield line if params["eol"] == "lf" else line.removesuffix(b"\r")


class _Wire:
    """The socket: what goes is shown and then written, what comes is shown and remembered."""

    def __init__(
        self, stream: trio.abc.Stream, params: dict[str, Any], out: Out, *, lints: bool
    ) -> None:
        self._stream = stream
        self._out = out
        self._dump: bool = params["hex"]
        self._chunk: int | None = params["chunk"]
        self._delay: float | None = params["delay"]
        self.lints = lints and not params["no_lint"]
        # True to show only what comes.
        self.silent = False
        # True once an ERROR has come.
        self.refused = False
        # What has come and nobody has waited for yet.
        self._unseen = b""
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False
        # False once nothing can be written any more.
        self._writable = True
        self._input = trio.CancelScope()

    async def until_closed(self, work: Callable[[], Awaitable[_T]]) -> _T | None:
        """Return what some work gives, None if the connection ends before."""
        with trio.CancelScope() as self._input:
            if self._writable and not self._closed:
                return await work()
        return None

    # Writing.

    async def send(self, octets: bytes, *, lints: bool = True) -> None:
        """Write octets, in the pieces and with the pauses that were asked for."""
        if not self.silent:
            self._out.wire(">", octets, dump=self._dump)
            for complaint in lint(octets) if lints and self.lints else ():
                self._out.aside(f"! lint: {render.visible_line(complaint)}     set lint off")
        try:
            for number, piece in enumerate(self._pieces(octets)):
                if number and self._delay is not None:
                    await trio.sleep(self._delay)
                await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # What the broker said about it may still be on its way.
            self._writable = False
            self._input.cancel()

    def _pieces(self, octets: bytes) -> list[bytes]:
        if self._chunk is not None:
            return [octets[at : at + self._chunk] for at in range(0, len(octets), self._chunk)]
        return [octets] if self._delay is None else octets.splitlines(keepends=True)

    # Reading.

    async def read(self) -> None:
        """Show what comes, until the connection ends."""
        try:
            while data := bytes(await self._stream.receive_some(_READ)):
                await self._show(data)
                self._unseen += data
                self._news.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end("the connection is broken")
        except StdoutClosed:
            self._end("nobody reads what comes")
        else:
            self._end("the broker has closed the connection")

    async def _show(self, data: bytes) -> None:
        for piece in split_frames(data):
            self.refused = self.refused or piece.lstrip(b"\r\n").startswith(b"ERROR")
            if not self._out.settings.raw:
                await self._out.line(render.wire("<", piece, dump=self._dump))
        if self._out.settings.raw:
            await self._out.write(data)

    def _end(self, why: str) -> None:
        if not self._closed:
            self._closed = True
            self._out.aside(f"! {why}")
            self._news.unpark_all()
            self._input.cancel()

    async def wait_for(self, text: bytes, seconds: float) -> None:
        """Wait until this has come, behind what was waited for before; raises `Failure` if not."""
        with trio.move_on_after(seconds):
            while text not in self._unseen and not self._closed:
                await self._news.park()
        if text in self._unseen:
            self._unseen = self._unseen.partition(text)[2]
            return
        why = "the connection has ended" if self._closed else f"not within {seconds:g} s"
        shown = render.visible_line(text.decode("utf-8", "surrogateescape"))
        raise Failure(ExitCode.TIMED_OUT, "timed-out", f'"{shown}" did not come: {why}')

    async def wait_for_quiet(self, seconds: float) -> None:
        """Wait until nothing came for so long, or the connection has ended."""
        due = trio.current_time() + seconds
        while not self._closed and trio.current_time() < due:
            with trio.move_on_at(due):
                await self._news.park()
                due = trio.current_time() + seconds
