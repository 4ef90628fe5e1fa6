"""A second, deliberately naive reader and writer of STOMP over a blocking socket.

It shares no code with stompd, so that a mistake of stompd's decoder or encoder cannot hide behind
the same mistake here. It is slow, strict and simple, and it keeps what it read octet for octet.

``Broker``    where a broker listens and how one logs in
``Wire``      one connection: write octets, read frames, and the expectations of the requirements
              list by their names: connect (P12, P11, P10), sync, alive, quiet, fatal
``Frame``     a server frame as it stood on the wire
``Unmet``     an expectation that was not met; its text says what came instead
``octets``    the notation of the requirements list, as octets; ``notation`` is the way back
"""

import re
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count
from typing import Self

SERVER_COMMANDS = frozenset({b"CONNECTED", b"MESSAGE", b"RECEIPT", b"ERROR"})
VERSIONS = {"P12": "1.2", "P11": "1.1", "P10": "1.0"}

_RAW = re.compile(r"⟦([0-9A-Fa-f ]*)⟧")
_MIME = re.compile(rb"[!-.0-~]+/[!-.0-:<-~]+( ?;.*)?\Z")
_SYNC = count(1)


def octets(text: str) -> bytes:
    """The octets that ``text`` stands for: ⏎ is LF, ␍ is CR, ^@ is NUL, ⟦FF FE⟧ are raw octets."""
    out = b""
    for index, part in enumerate(_RAW.split(text)):
        if index % 2:
            out += bytes.fromhex(part)
        else:
            plain = part.replace("⏎", "\n").replace("␍", "\r").replace("^@", "\0")
            out += plain.encode()
    return out


def notation(data: bytes, most: int = 200) -> str:
    """``data`` in the notation that `octets` reads, cut after about ``most`` octets."""
    shown = data if len(data) <= most else data[:most]
    text = shown.decode("utf-8", "backslashreplace")
    for octet, sign in (("\n", "⏎"), ("\r", "␍"), ("\0", "^@")):
        text = text.replace(octet, sign)
    text = "".join(c if c.isprintable() else f"⟦{c.encode().hex(' ').upper()}⟧" for c in text)
    return text if shown is data else f"{text}… ({len(data)} octets)"


class Unmet(AssertionError):  # noqa: N818  # the field's word for an expectation is met or unmet
    """What the test expected did not happen; the text says what came instead."""


@dataclass(frozen=True)
class Broker:
    """Where a broker listens, and what it wants to see in CONNECT."""

    address: tuple[str, int]
    login: str = ""
    passcode: str = ""
    virtual_host: str = "localhost"

    def credentials(self) -> tuple[str, ...]:
        """The header lines of CONNECT that log in; none if the broker lets anybody in."""
        if not self.login:
            return ()
        return (f"login:{self.login}", f"passcode:{self.passcode}")


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, for what must come and for what must not."""

    answer: float = 5.0
    quiet: float = 0.3


@dataclass(frozen=True)
class Frame:
    """One server frame as it stood on the wire: header lines without their LF, undecoded."""

    command: bytes
    lines: tuple[bytes, ...]
    body: bytes

    def raw(self, name: str) -> bytes | None:
        """The octets after the first ``name:``, or None without such a line."""
        start = name.encode() + b":"
        for line in self.lines:
            if line.startswith(start):
                return line[len(start) :]
        return None

    def text(self, name: str) -> str:
        """The value of a header that has to be there, undecoded; raises `Unmet` without it."""
        value = self.raw(name)
        if value is None:
            raise Unmet(f"{self} has no header {name}")
        return value.decode("utf-8", "surrogateescape")

    def names(self) -> list[bytes]:
        """The header names, in wire order, repeats included."""
        return [line.partition(b":")[0] for line in self.lines]

    def __str__(self) -> str:
        head = b"\n".join((self.command, *self.lines, b"", b""))
        return notation(head, 400) + notation(self.body, 60) + "^@"


@dataclass
class Sniffer:
    """What has to hold of every frame that a server writes, whatever the test is about.

    ``seen`` counts per requirement the frames that could have broken it, ``complaints`` are the
    breaches: (requirement, what stood on the wire).
    """

    seen: Counter[str] = field(default_factory=Counter)
    complaints: list[tuple[str, str]] = field(default_factory=list)

    def check(self, frame: Frame, version: str | None) -> None:
        """Look at ``frame``; ``version`` is the session's, None before CONNECTED."""
        command, body = frame.command, frame.body
        values = {name: frame.raw(name.decode()) or b"" for name in frame.names() if name.isascii()}

        def rule(identifier: str, holds: object) -> None:
            self.seen[identifier] += 1
            if not holds:
                self.complaints.append((identifier, str(frame)))

        rule("F-10", command in SERVER_COMMANDS)
        if version is not None:
            rule("M-01", command in {b"MESSAGE", b"RECEIPT", b"ERROR"})
        for line in frame.lines:
            rule("F-11", re.match(rb"[^\r\n:]+:", line))
            if command != b"CONNECTED" and version == "1.2":
                rule("F-14", line.count(b":") == 1 and b"\r" not in line)
                rule("ESC-03", not re.search(rb"\\(?![rnc\\])", re.sub(rb"\\\\", b"", line)))
            if command != b"CONNECTED" and version == "1.1":
                rule("V11-02", not re.search(rb"\\(?![nc\\])", re.sub(rb"\\\\", b"", line)))
            if version == "1.0":
                rule("V10-06", not line.endswith(b":"))
            if version in {"1.1", "1.0"}:
                rule("V11-01" if version == "1.1" else "V10-07", not line.endswith(b"\r"))
        if command == b"CONNECTED":
            joined = b"".join(line.partition(b":")[2] for line in frame.lines)
            rule("ESC-06", not set(joined) & set(b":\r\\"))
        if command in {b"CONNECTED", b"RECEIPT"}:
            rule("BOD-02", body == b"")
        if body:
            rule("CL-05", values.get(b"content-length") == str(len(body)).encode())
        if command == b"ERROR":
            rule("E-03", values.get(b"message", b"").strip())
            if body:
                mime = values.get(b"content-type", b"")
                rule("CT-01", mime)
                rule("CT-02", not mime or _MIME.match(mime))
                rule("E-07", mime and b"content-length" in values)
        if command == b"RECEIPT":
            rule("FH-10", b"receipt-id" in values)
        if command == b"MESSAGE":
            rule("M-04", values.get(b"message-id"))
            rule("M-02", b"destination" in values)
            if version in {"1.2", "1.1"}:
                rule("M-05", b"subscription" in values)
        rule("M-11", len(set(frame.names())) == len(frame.lines))
        for name in (b"version", b"session", b"server", b"heart-beat", b"content-length"):
            if name in values:
                rule("ESC-09", values[name] == values[name].strip(b" \t"))


class Wire:
    """One connection to a broker, with everything that was read and whatever is still unread."""

    def __init__(
        self, broker: Broker, patience: Patience | None = None, deadline: float | None = None
    ) -> None:
        """Open a TCP connection; ``deadline`` (monotonic) ends every wait of this connection."""
        self.broker = broker
        self.patience = patience or Patience()
        self.deadline = time.monotonic() + 600 if deadline is None else deadline
        self.version: str | None = None
        self.sniffer = Sniffer()
        self.connected: Frame | None = None
        self.ended: str | None = None
        self.times: list[tuple[float, int]] = []
        """When octets arrived: (monotonic seconds, how many)."""
        self.idle = b""
        """The EOLs (and NULs) read between frames so far."""
        self._unread = b""
        self._held: deque[Frame] = deque()
        self._socket = socket.create_connection(broker.address, self.patience.answer)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- writing --------------------------------------------------------------------------------

    def write(self, data: bytes | str) -> None:
        """Write octets, or text in the notation. A peer that has gone is noticed when reading."""
        try:
            self._socket.settimeout(max(0.05, self._left(self.patience.answer * 4)))
            self._socket.sendall(octets(data) if isinstance(data, str) else data)
        except TimeoutError:
            raise Unmet("the broker stopped reading") from None
        except OSError:
            # It closed while we wrote: what it said before is still to be read.
            pass

    def frame_out(self, command: str, *lines: str, body: bytes = b"") -> None:
        """Write one frame with these raw header lines (no content-length is added)."""
        self.write("\n".join((command, *lines, "", "")).encode() + body + b"\0")

    def half_close(self) -> None:
        """Send end-of-stream; reading goes on."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close in the ordinary way (FIN)."""
        self._socket.close()

    def reset(self) -> None:
        """Close so that the peer sees a reset instead of an end-of-stream."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def receive_buffer(self, octets_: int) -> None:
        """Make the socket's receive buffer small, so that unread data fills it soon."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets_)

    # -- reading --------------------------------------------------------------------------------

    def _left(self, within: float) -> float:
        return min(within, self.deadline - time.monotonic())

    def _fill(self, until: float) -> bool:
        """Read once; False if nothing came in time. End-of-stream is noted in ``ended``."""
        left = min(until, self.deadline) - time.monotonic()
        if self.ended is not None or left <= 0:
            return False
        try:
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = "end-of-stream"
            return False
        self.times.append((time.monotonic(), len(data)))
        self._unread += data
        return True

    def _skip_eols(self) -> None:
        rest = self._unread.lstrip(b"\r\n")
        self.idle += self._unread[: len(self._unread) - len(rest)]
        self._unread = rest

    def _parse(self) -> Frame | None:
        """Take one whole frame off the unread octets, or None."""
        self._skip_eols()
        data = self._unread
        lines: list[bytes] = []
        start = 0
        while True:
            end = data.find(b"\n", start)
            if end < 0:
                return None
            line = data[start:end]
            start = end + 1
            # Only 1.2 has the optional CR; elsewhere it would be the server's mistake and is kept.
            if line.endswith(b"\r") and self.version in {None, "1.2"}:
                line = line[:-1]
            if not line:
                break
            lines.append(line)
        if not lines:
            raise Unmet(f"not a frame: {notation(data)}")
        head = Frame(lines[0], tuple(lines[1:]), b"")
        length = head.raw("content-length")
        if length is not None and length.strip().isdigit():
            stop = start + int(length)
            if len(data) <= stop:
                return None
            if data[stop] != 0:
                raise Unmet(f"no NUL after the counted body: {notation(data)}")
        else:
            stop = data.find(b"\0", start)
            if stop < 0:
                return None
        self._unread = data[stop + 1 :]
        return Frame(head.command, head.lines, data[start:stop])

    def _next(self, within: float) -> Frame | None:
        until = time.monotonic() + within
        while True:
            frame = self._parse()
            if frame is not None:
                self.sniffer.check(frame, self.version)
                return frame
            if not self._fill(until):
                return None
            if self._unread.strip(b"\r\n"):
                # In the middle of a frame: it may be large, the wait is for its next octets.
                until = time.monotonic() + within

    def _state(self, within: float) -> str:
        rest = f", after the octets {notation(self._unread)}" if self._unread else ""
        return f"{self.ended or f'nothing within {within:g} s'}{rest}"

    def frame(self, expected: str = "a frame", within: float | None = None) -> Frame:
        """The next frame, whatever it is; raises `Unmet` if none comes."""
        if self._held:
            return self._held.popleft()
        within = self.patience.answer if within is None else within
        frame = self._next(within)
        if frame is None:
            raise Unmet(f"expected {expected}, came: {self._state(within)}")
        return frame

    def expect(self, command: str, *lines: str, body: bytes | None = None) -> Frame:
        """The next frame, which has to be this one: these raw header lines, this body."""
        frame = self.frame(command)
        wanted = " ".join((command, *lines))
        if frame.command != command.encode():
            raise Unmet(f"expected {wanted}, came: {frame}")
        for line in lines:
            name, _, value = line.partition(":")
            if frame.raw(name) != value.encode():
                raise Unmet(f"expected {wanted}, came: {frame}")
        if body is not None and frame.body != body:
            raise Unmet(f"expected {wanted} with body {notation(body)}, came: {frame}")
        return frame

    def expect_among(self, command: str, *lines: str) -> Frame:
        """As `expect`, but frames of another kind may come before it; they are kept for later."""
        passed: list[Frame] = []
        while True:
            frame = self.frame(command)
            if frame.command == command.encode() and all(
                frame.raw(line.partition(":")[0]) == line.partition(":")[2].encode()
                for line in lines
            ):
                self._held.extendleft(reversed(passed))
                return frame
            if frame.command == b"ERROR":
                raise Unmet(f"expected {' '.join((command, *lines))}, came: {frame}")
            passed.append(frame)

    # -- the words of the requirements list ------------------------------------------------------

    def connect(self, version: str = "1.2", *lines: str, command: str = "CONNECT") -> Frame:
        """P12, P11 or P10: connect and get CONNECTED for ``version``; returns that frame."""
        head = [command]
        if version != "1.0":
            head += [f"accept-version:{version}", f"host:{self.broker.virtual_host}"]
        head += [*self.broker.credentials(), *lines, "", "\0"]
        self.write("\n".join(head).encode())
        frame = self.await_connected()
        if version != (self.version or "1.0"):
            raise Unmet(f"expected a session of version {version}, came: {frame}")
        return frame

    def await_connected(self) -> Frame:
        """Read CONNECTED and note the session's version; returns that frame."""
        frame = self.expect("CONNECTED")
        self.version = (frame.raw("version") or b"1.0").decode("ascii", "replace")
        self.connected = frame
        return frame

    def sync(self) -> None:
        """SYNC: everything written so far has been dealt with; MESSAGEs are kept for later."""
        number = f"sync-{next(_SYNC)}"
        self.frame_out("SEND", "destination:/topic/conformance.sync", f"receipt:{number}")
        self.expect_among("RECEIPT", f"receipt-id:{number}")

    def alive(self) -> None:
        """ALIVE: SYNC works and no ERROR was seen."""
        self.sync()

    def quiet(self, seconds: float | None = None) -> None:
        """QUIET: nothing but EOLs for a while, and the connection stays open."""
        seconds = self.patience.quiet if seconds is None else seconds
        frame = self._held.popleft() if self._held else self._next(seconds)
        if frame is not None:
            raise Unmet(f"expected silence, came: {frame}")
        if self.ended or self._unread:
            raise Unmet(f"expected silence, came: {self._state(seconds)}")

    def silent(self, seconds: float) -> None:
        """No octet at all for ``seconds``, not even an EOL, and the connection stays open."""
        came = self._fill(time.monotonic() + seconds)
        if came or self.ended:
            raise Unmet(f"expected no octet for {seconds:g} s, came: {self._state(seconds)}")

    def eos(self, within: float | None = None, *, reset_allowed: bool = False) -> None:
        """End-of-stream comes, and before it nothing but EOLs."""
        within = self.patience.answer if within is None else within
        frame = self._held.popleft() if self._held else self._next(within)
        if frame is not None:
            raise Unmet(f"expected end-of-stream, came: {frame}")
        if self.ended is None:
            raise Unmet(f"expected end-of-stream; the connection is open after {within:g} s")
        if self._unread.strip(b"\r\n"):
            raise Unmet(f"expected end-of-stream, came: {self._state(within)}")
        if self.ended == "reset" and not reset_allowed:
            raise Unmet("expected end-of-stream, came: a reset")

    def fatal(self, *lines: str) -> Frame:
        """FATAL: exactly one ERROR with these raw header lines, then end-of-stream."""
        frame = self.frame("ERROR and end-of-stream")
        if frame.command != b"ERROR":
            raise Unmet(f"expected ERROR and end-of-stream, came: {frame}")
        for line in lines:
            name, _, value = line.partition(":")
            if frame.raw(name) != value.encode():
                raise Unmet(f"expected ERROR with {line}, came: {frame}")
        try:
            self.eos(reset_allowed=True)
        except Unmet as error:
            raise Unmet(f"{error}, after {frame}") from None
        return frame

    # -- short forms ----------------------------------------------------------------------

    def subscribe(self, identifier: str, destination: str, *lines: str) -> None:
        """SUBSCRIBE and wait for its RECEIPT; MESSAGEs that come first are kept for later."""
        number = f"sub-{next(_SYNC)}"
        head = (f"id:{identifier}", f"destination:{destination}", f"receipt:{number}", *lines)
        self.frame_out("SUBSCRIBE", *head)
        self.expect_among("RECEIPT", f"receipt-id:{number}")

    def put(self, destination: str, body: bytes, *lines: str) -> None:
        """SEND with a receipt and wait for it; MESSAGEs that come first are kept for later."""
        number = f"put-{next(_SYNC)}"
        self.frame_out("SEND", f"destination:{destination}", f"receipt:{number}", *lines, body=body)
        self.expect_among("RECEIPT", f"receipt-id:{number}")

    def messages(self, number: int) -> list[Frame]:
        """The next ``number`` frames, which have to be MESSAGEs."""
        return [self.expect("MESSAGE") for _ in range(number)]

    def held(self) -> Frame | None:
        """The next frame that was already read, or None."""
        return self._held.popleft() if self._held else self._next(0)

    def sip(self) -> None:
        """Read a few octets at most."""
        self._socket.settimeout(self.patience.answer)
        try:
            self._unread += self._socket.recv(1024)
        except OSError as error:
            raise Unmet(f"expected octets, came: {error}") from None

    def released(self, within: float) -> bool:
        """Whether the peer, having ended its direction, lets go of the connection in time.

        Seen by writing line ends: once the peer has closed, they are answered by a reset.
        """
        until = time.monotonic() + within
        while time.monotonic() < until:
            try:
                self._socket.sendall(b"\n")
            except OSError:
                return True
            time.sleep(0.1)
        return False

    def watch(self, seconds: float) -> None:
        """Read for ``seconds`` without expecting anything (``times`` and ``idle`` grow)."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.ended is None:
            self._fill(until)
        self._skip_eols()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
