"""wiretap: a proxy that shows what passes through."""

import base64
import re
from datetime import UTC, datetime
from typing import Any, Final

import trio

from stompcli.client import StompError
from stompcli.client.dial import open_stream
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, of, usage
from stompcli.output import Out
from stompcli.rawframes import split_frames
from stompcli.render import wire
from stompcli.session import Session
from stompcli.transcript import without_passcode

_PLACE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:]*)):([0-9]{1,5})\Z")
_READ_SIZE: Final = 64 * 1024
_LAST_PORT: Final = 65535
# The octets of a frame that has not ended yet from which on they are shown as they come.
_LONGEST: Final = 1024 * 1024
# Seconds for which a broker may go on when its client has said all.
_LAST_WORDS: Final = 2.0


async def wiretap(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Pass connections on to the broker, and show every frame and octet."""
    host, port = _place(params["listen"])
    address = session.address()
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise Failure(
            ExitCode.UNAVAILABLE,
            "unreachable",
            f"cannot listen on {params['listen']}: {error.strerror or error}",
        ) from None
    shown = listeners[0].socket.getsockname()
    out.notice(f"listening on {shown[0]}:{shown[1]}, passing on to {address}; Ctrl-C to stop")
    session.on_timeout = lambda: None
    tap = _Tap(session, params, out)
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(tap.listen, listener, nursery)
    if tap.failure is not None:
        raise tap.failure
    return None


def _place(text: str) -> tuple[str, int]:
    match = _PLACE.match(text)
    if match is None or int(match[3]) > _LAST_PORT:
        raise usage(f'"{text}" is no place to listen; write :PORT or HOST:PORT')
    return match[1] or match[2] or "127.0.0.1", int(match[3])


class _Tap:
    """Every connection, and how many there were."""

    def __init__(self, session: Session, params: dict[str, Any], out: Out) -> None:
        self._session = session
        self._out = out
        self._most: int | None = params["count"]
        self._cut: int | None = params["body_bytes"]
        self._connections = 0
        self._over = 0
        self.failure: StdoutClosed | Failure | None = None

    async def listen(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """Take connections until there were as many as are wanted."""
        async with listener:
            while self._most is None or self._connections < self._most:
                stream = await listener.accept()
                self._connections += 1
                nursery.start_soon(self._serve, stream, self._connections, nursery)

    async def _serve(
        self, client: trio.abc.HalfCloseableStream, number: int, nursery: trio.Nursery
    ) -> None:
        try:
            async with client:
                await self._pass_on(client, number)
        except (StdoutClosed, Failure) as error:
            self.failure = error
            nursery.cancel_scope.cancel()
        self._over += 1
        if self._over == self._most:
            nursery.cancel_scope.cancel()

    async def _pass_on(self, client: trio.abc.HalfCloseableStream, number: int) -> None:
        settings, address = self._session.settings, self._session.address()
        options: dict[str, Any] = {}
        if address.tls:
            options = {
                "ca_file": settings.tls_ca,
                "cert_file": settings.tls_cert,
                "key_file": settings.tls_key,
                "insecure": settings.tls_insecure,
            }
        self._out.notice(f"#{number} connected")
        try:
            broker = await open_stream(address, **options)
        except StompError as error:
            self._out.failure(of(error), prefix=f"#{number} ")
            return
        async with broker, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, client, broker, ">", number, nursery)
            nursery.start_soon(self._copy, broker, client, "<", number, nursery)
        self._out.notice(f"#{number} over")

    async def _copy(
        self,
        source: trio.abc.ReceiveStream,
        target: trio.abc.Stream,
        direction: str,
        number: int,
        nursery: trio.Nursery,
    ) -> None:
        """Pass octets on as they come; show them frame by frame."""
        frames = _Frames()
        try:
            while data := bytes(await source.receive_some(_READ_SIZE)):
                await target.send_all(data)
                for piece in frames.feed(data):
                    await self._show(direction, piece, number)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The other direction sees it as well.
            pass
        rest = frames.rest()
        if rest:
            await self._show(direction, rest, number)
        if direction == ">":
            # A client that has said all it has to say may still be told something.
            try:
                if isinstance(target, trio.abc.HalfCloseableStream):
                    await target.send_eof()
                await trio.sleep(_LAST_WORDS)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        nursery.cancel_scope.cancel()

    async def _show(self, direction: str, piece: bytes, number: int) -> None:
        if self._out.settings.json:
            hidden = without_passcode(piece) if direction == ">" else piece
            await self._out.json(
                {
                    "t": datetime.now(UTC)
                    .isoformat(timespec="milliseconds")
                    .replace("+00:00", "Z"),
                    "conn": number,
                    "dir": direction,
                    "bytes_b64": base64.b64encode(hidden).decode(),
                }
            )
            return
        text = wire(direction, piece)
        if self._cut is not None and len(text) > self._cut:
            text = f"{text[: self._cut]}... ({len(piece):,} B)"
        now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        await self._out.line(f"{now} #{number} {text}")


class _Frames:
    """Cuts what came into frames, as far as they are whole."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are whole now, and heart-beats."""
        *pieces, last = split_frames(self._pending + data)
        self._pending = b""
        ended = last.rstrip(b"\r\n").endswith(b"\0") or not last.strip(b"\r\n")
        if ended or len(last) > _LONGEST:
            pieces.append(last)
        else:
            self._pending = last
        return pieces

    def rest(self) -> bytes:
        """Return what was begun and not ended."""
        rest, self._pending = self._pending, b""
        return rest
