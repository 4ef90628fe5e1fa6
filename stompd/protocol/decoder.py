"""The incremental decoder: any split of a byte stream gives the same frames.

What it owns: the octets that are not yet a frame. `Decoder.feed` takes octets and returns the
frames that became whole. It never raises: a fault of the peer becomes `Decoder.error`, after the
good frames before it have been handed out.

Two roads lead through it. The quick one finds a blank line, looks the block of octets before it up
in a table of heads that were seen before, and cuts the body out. A block stands in that table only
if it is proven to hold nothing unusual, so that equal octets mean an equal head. Everything else
(CR LF, telnet, new or damaged heads) takes the careful road of `_read_head`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from stompd.protocol import telnet
from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import (
    CLIENT_COMMANDS,
    LITERAL_COMMANDS,
    SERVER_COMMANDS,
    Frame,
    Head,
)
from stompd.protocol.headers import Heads, careful_head, parse_line

# F-05; and AMB-04: a NUL as first octet of a header line ends the frame there.
_HEAD_END: Final = re.compile(rb"\n(?:\r?\n|(?=\0))")
_GAP: Final = re.compile(rb"(?:[\n\0]|\r\n)+")
_WORD: Final = re.compile(rb"[A-Za-z]+")
# A control key drops the line that was being typed, so the interrupt starts a line.
_INTERRUPTED_LINE: Final = re.compile(rb"\n\xff[\xed\xee\xf3\xf4]")

# Smaller pieces of a body are gathered in one buffer: a piece of one octet costs fifty elsewhere.
_PIECE: Final = 4096

_LF: Final = 10
_CR: Final = 13
_END_OF_TRANSMISSION: Final = 4

_LONGEST_COMMAND: Final = max(len(command) for command in CLIENT_COMMANDS | SERVER_COMMANDS)

_TELNET_COMMANDS: Final = 32
_TELNET_OCTETS: Final = 256


@dataclass(frozen=True)
class Limits:
    """What one frame may measure, in octets but for ``headers`` (LIM-02 to LIM-04)."""

    command: int = 32
    line: int = 16 * 1024
    headers: int = 1000
    head: int = 64 * 1024
    body: int = 32 * 1024 * 1024


class HeadTable:
    """The heads seen before, by version and limits; may serve all decoders of one role."""

    __slots__ = ("_commands", "_heads", "_strict")

    def __init__(self, role: Literal["server", "client"] = "server") -> None:
        # By limits too: a head that one decoder let through may be over those of another.
        self._heads: dict[tuple[str, Limits], Heads] = {}
        self._commands = CLIENT_COMMANDS if role == "server" else SERVER_COMMANDS
        self._strict = role == "client"

    def of(self, version: str, limits: Limits) -> Heads:
        """Return the heads of a version that keep to ``limits``."""
        key = (version, limits)
        heads = self._heads.get(key)
        if heads is None:
            heads = self._heads[key] = Heads(version, self._commands, strict=self._strict)
        return heads


class Decoder:
    """Turns a peer's octets into frames; ``role`` is the side that we are."""

    __slots__ = (
        "_chunks",
        "_commands",
        "_gathered",
        "_head",
        "_heads",
        "_held",
        "_interrupt",
        "_known",
        "_lines",
        "_odd",
        "_pivots",
        "_rest",
        "_role",
        "_seen",
        "_short",
        "_table",
        "_telnet",
        "_telnet_octets",
        "_telnet_seen",
        "answers",
        "error",
        "limits",
        "version",
    )

    def __init__(
        self,
        role: Literal["server", "client"] = "server",
        limits: Limits | None = None,
        *,
        telnet: bool = False,
        table: HeadTable | None = None,
    ) -> None:
        self._role = role
        self._commands = CLIENT_COMMANDS if role == "server" else SERVER_COMMANDS
        self.limits = limits or Limits()
        self._telnet = telnet
        self._table = table
        # None until `begin`: the version is being negotiated.
        self.version: str | None = None
        # The peer's fault; nothing is decoded after it.
        self.error: RemoteProtocolError | None = None
        # Raw octets that the transport has to write now; only telnet ever needs them.
        self.answers: list[bytes] = []
        # Octets that are not yet a head.
        self._rest = b""
        # How many octets and lines of `_rest` were already found good.
        self._seen = 0
        self._lines = 0
        # A frame whose body is still coming: its head, its octets so far, and their number.
        self._head: Head | None = None
        self._chunks: list[bytes | bytearray] = []
        self._gathered = 0
        # True between the frame that fixes the version and `begin`.
        self._held = False
        # True if the last head did not end in LF LF, so that the next one probably will not either.
        self._odd = False
        # None until there is a version: CONNECT is read with care.
        self._heads: Heads | None = None
        self._known: dict[bytes, Head] = {}
        # Blocks no longer than this need no look at the limits of their lines.
        self._short = 0
        self._telnet_seen = 0
        self._telnet_octets = 0
        # True if an interrupt was typed and the telnet command behind it is not whole yet.
        self._interrupt = False
        # The frames after which the rest of the octets waits for `begin`.
        self._pivots = ("CONNECT", "STOMP") if role == "server" else ("CONNECTED",)

    @property
    def pending(self) -> int:
        """The octets held of a frame that is not whole yet."""
        return len(self._rest) + self._gathered

    def begin(self, version: str, limits: Limits | None = None) -> None:
        """Decode from here on by ``version`` and, if given, ``limits``.

        The octets that came behind the frame that fixed the version are decoded by the next
        `feed`, which may be given ``b""``.
        """
        self.version = version
        if limits is not None:
            self.limits = limits
        table = self._table if self._table is not None else HeadTable(self._role)
        self._heads = table.of(version, self.limits)
        self._known = self._heads.heads
        self._short = min(self.limits.line, self.limits.head)
        self._held = False

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes, in order.

        Never raises. After a fault of the peer `error` is set, and every later call returns
        nothing. The frame that fixes the version is the last one returned until `begin`.
        """
        frames: list[Frame] = []
        if self.error is not None:
            return frames
        if self._held:
            self._rest += data
            return frames
        try:
            self._decode(data, frames)
        except RemoteProtocolError as error:
            self.error = error
            self._rest = b""
            self._chunks = []
            self._gathered = 0
        return frames

    def _decode(self, data: bytes, frames: list[Frame]) -> None:
        position = 0
        if self._head is not None:
            position = self._continue_body(data, frames)
            if self._held:
                self._rest = data[position:]
                return
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        size = len(data)
        find = data.find
        known = self._known
        append = frames.append
        body_limit = self.limits.body
        short = self._short
        while position < size:
            octet = data[position]
            if octet < 14 or octet == telnet.IAC:  # noqa: PLR2004 - all control octets of interest
                if octet == _LF:
                    position += 1
                    continue
                position = self._between_frames(data, position)
                if position < 0:
                    return
                continue
            end = -1 if self._odd else find(b"\n\n", position)
            head = None
            start = end + 2
            if 0 < end <= position + short:
                block = data[position:end]
                head = known.get(block)
                if head is None and self._heads is not None:
                    head = self._quick_head(block)
            if head is None:
                head, start = self._read_head(data, position, end)
                if head is None:
                    self._rest = data[position:]
                    return
            if self._seen:
                self._seen = self._lines = 0
            length = head.content_length
            if length is None:
                stop = find(b"\0", start)
                if stop < 0:
                    self._gather(head, data[start:])
                    return
                if stop - start > body_limit:
                    raise self._over_body(head)
            else:
                stop = start + length
                if stop >= size:
                    self._gather(head, data[start:])
                    return
                if data[stop]:
                    raise self._no_nul(head)
            append((head, data[start:stop]))
            position = stop + 1
            if self.version is None and head.command in self._pivots:
                self._held = True
                self._rest = data[position:]
                return

    # Bodies that did not come in one piece: gathered, never scanned twice, joined once.

    def _gather(self, head: Head, chunk: bytes) -> None:
        self._head = head
        self._keep(chunk)
        if head.content_length is None and len(chunk) > self.limits.body:
            raise self._over_body(head)

    def _keep(self, chunk: bytes) -> None:
        """Keep a piece of a body until it is whole."""
        self._gathered += len(chunk)
        if len(chunk) >= _PIECE:
            self._chunks.append(chunk)
        elif self._chunks and isinstance(self._chunks[-1], bytearray):
            self._chunks[-1] += chunk
        else:
            self._chunks.append(bytearray(chunk))

    def _continue_body(self, data: bytes, frames: list[Frame]) -> int:
        head = self._head
        assert head is not None  # noqa: S101 - for the type checker; the caller looked
        length = head.content_length
        if length is None:
            stop = data.find(b"\0")
            size = self._gathered + (stop if stop >= 0 else len(data))
            if size > self.limits.body:
                raise self._over_body(head)
        else:
            stop = length - self._gathered
            if stop >= len(data):
                stop = -1
            elif data[stop]:
                raise self._no_nul(head)
        if stop < 0:
            self._keep(data)
            return len(data)
        frames.append((head, b"".join((*self._chunks, memoryview(data)[:stop]))))
        self._chunks = []
        self._gathered = 0
        self._head = None
        if self.version is None and head.command in self._pivots:
            self._held = True
        return stop + 1

    def _over_body(self, head: Head) -> RemoteProtocolError:
        return RemoteProtocolError(
            "body over the limit",
            f"the body of this {head.command} is longer than the {self.limits.body} octets allowed",
            headers=_receipt(head),
        )

    @staticmethod
    def _no_nul(head: Head) -> RemoteProtocolError:
        return RemoteProtocolError(
            "no NUL after the body",
            f"content-length:{head.content_length} of this {head.command} does not end at a NUL; "
            "it counts octets, not characters, and not the NUL",
            headers=_receipt(head),
        )

    # Heads.

    def _quick_head(self, block: bytes) -> Head | None:
        assert self._heads is not None  # noqa: S101 - for the type checker; the caller looked
        limits = self.limits
        try:
            return self._heads.quick_head(block, limits.body, limits.headers)
        except RemoteProtocolError as error:
            raise self._fault(error, block) from None

    def _read_head(self, data: bytes, position: int, end: int) -> tuple[Head | None, int]:
        """Return the head at ``position`` and where its body starts, or None if it is unfinished.

        ``end`` is the first LF LF from there, -1 if there is none or it was not looked for.
        """
        if end >= 0:
            block = data[position:end]
            if b"\r" not in block and b"\0" not in block:
                return self._parse(block), end + 2
        # Of what was looked at before, only a line's end may still matter.
        match = _HEAD_END.search(data, max(position, position + self._seen - 2))
        if match is None:
            self._check_unfinished(data, position)
            return None, position
        block = data[position : match.start()]
        nul = block.find(b"\0")
        if nul >= 0:
            raise self._nul_in_head(block[:nul])
        self._odd = b"\r" in block or match.end() - match.start() != len(b"\n\n")
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
        head = self._parse(block)
        if (
            data[match.end() - 1] == _LF
            and match.end() - match.start() == 1
            and head.content_length
        ):
            raise RemoteProtocolError(
                "frame ended before its body",
                f"the NUL stands where the blank line should be, but content-length promised "
                f"{head.content_length} octets",
                headers=_receipt(head),
            )
        return head, match.end()

    def _parse(self, block: bytes) -> Head:
        limits = self.limits
        count = block.count(b"\n")
        command = block[: block.find(b"\n")] if count else block
        try:
            if len(block) > limits.line:
                self._check_lines(block)
            if count > limits.headers:
                raise self._too_many_headers()
            if len(block) > limits.head:
                raise self._head_too_long()
            if command.decode("latin-1") not in self._commands:
                raise self._unknown_command(command)
            if self._telnet and _INTERRUPTED_LINE.search(block):
                raise _interrupted("Ctrl-C")
            return careful_head(block, self.version, limits.body, strict=self._role == "client")
        except RemoteProtocolError as error:
            raise self._fault(error, block) from None

    def _check_unfinished(self, data: bytes, position: int) -> None:
        """Refuse a head at the first line that is wrong: whoever types waits for no NUL.

        Every line is looked at once, however many pieces the head comes in.
        """
        nul = data.find(b"\0", position + self._seen)
        if nul >= 0:
            raise self._nul_in_head(data[position:nul])
        try:
            self._check_new_lines(data, position)
        except RemoteProtocolError as error:
            good = position + self._seen
            raise self._fault(error, data[position:good], data[good:]) from None

    def _check_new_lines(self, data: bytes, position: int) -> None:
        limits = self.limits
        command = b""
        while True:
            start = position + self._seen
            stop = data.find(b"\n", start)
            line = data[start : stop if stop >= 0 else len(data)].removesuffix(b"\r")
            if self._lines == 0:
                known = line.decode("latin-1") in self._commands
                if not known and (stop >= 0 or len(line) > max(limits.command, _LONGEST_COMMAND)):
                    raise self._unknown_command(line)
            elif len(line) > limits.line:
                raise self._line_too_long(line, self._lines + 1)
            elif self._telnet and telnet.is_interrupt(line):
                raise _interrupted("Ctrl-C")
            elif stop >= 0:
                command = command or data[position : data.find(b"\n", position)]
                literal = command.removesuffix(b"\r").decode("latin-1") in LITERAL_COMMANDS
                parse_line(line, None if literal else self.version, self._lines + 1)
            if stop < 0:
                break
            self._lines += 1
            self._seen = stop + 1 - position
            if self._lines - 1 > limits.headers:
                raise self._too_many_headers()
        # As much as the end of the last line and half a blank line may stand behind the limit; and
        # the CRs of CR LF are no part of what is limited.
        room = limits.head + len(b"\n\r")
        size = len(data) - position
        if size > room and size - data.count(b"\r\n", position) > room:
            raise self._head_too_long()

    def _check_lines(self, block: bytes) -> None:
        limit = self.limits.line
        for number, line in enumerate(block.split(b"\n"), 1):
            if len(line) > limit:
                raise self._line_too_long(line, number)

    def _fault(
        self, error: RemoteProtocolError, block: bytes, unfinished: bytes = b""
    ) -> RemoteProtocolError:
        """Return the error to raise for a damaged head.

        ``block`` is the head as far as its lines are whole, ``unfinished`` what follows. A control
        key of a telnet user explains the damage better than anything else, and must be answered.
        """
        octets = block + unfinished
        if self._telnet and b"\xff" in octets:
            if telnet.DO_TIMING_MARK in octets:
                self.answers.append(telnet.WONT_TIMING_MARK)
            if any(bytes((telnet.IAC, kind)) in octets for kind in telnet.INTERRUPTS):
                error = _interrupted("Ctrl-C")
        error.headers.update(_receipt_of_block(block, self.version))
        return error

    # What is wrong, in words; each with what to do about it.

    def _line_too_long(self, line: bytes, number: int) -> RemoteProtocolError:
        return RemoteProtocolError(
            "header line over the limit",
            f'line {number} ("{shown(line[:20])}") is longer than the {self.limits.line} octets '
            "allowed",
        )

    def _too_many_headers(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            "too many headers", f"a frame may have {self.limits.headers} headers"
        )

    def _head_too_long(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            "headers over the limit",
            f"command and headers of a frame may have {self.limits.head} octets together",
        )

    def _nul_in_head(self, block: bytes) -> RemoteProtocolError:
        whole = block.rfind(b"\n") + 1
        line = block[whole:]
        number = block.count(b"\n") + 1
        if line.endswith(b"\r"):
            error = _character_mode()
        else:
            error = RemoteProtocolError(
                "NUL inside the command or a header",
                f'line {number}: after "{shown(line)}"; a frame is command, headers, an empty '
                "line, body, NUL",
            )
        return self._fault(error, block[:whole], line)

    def _unknown_command(self, line: bytes) -> RemoteProtocolError:
        word = line.strip(b" \t")
        text = word.decode("latin-1")
        hint = "commands are " + " ".join(sorted(self._commands))
        if text in self._commands:
            hint = f"nothing may stand around the command; write {text}"
        elif text.upper() in self._commands:
            hint = f"commands are upper case: {text.upper()}"
        elif text in CLIENT_COMMANDS | SERVER_COMMANDS:
            hint = f"{text} is for the other side of the connection to send"
        elif self._role == "server" and _looks_lost(word):
            hint = (
                "this is a STOMP port; a session starts with CONNECT, header lines such as "
                "accept-version:1.2 and host:localhost, an empty line, and a NUL (Ctrl-@)"
            )
        return RemoteProtocolError(f'unknown command "{shown(line)}"', hint)

    # Between frames.

    def _between_frames(self, data: bytes, position: int) -> int:
        """Return where the next frame may start; -1 if the rest has to wait for more octets.

        EOLs and NULs are skipped (F-07, F-19); telnet commands are taken out.
        """
        match = _GAP.match(data, position)
        if match is not None:
            return match.end()
        octet = data[position]
        if octet == _CR:
            if position + 1 == len(data):
                self._rest = b"\r"
                return -1
            if data[position + 1] == 0:
                raise _character_mode()
        elif octet == _END_OF_TRANSMISSION and self._telnet:
            raise _interrupted("Ctrl-D")
        elif octet == telnet.IAC and self._telnet:
            return self._telnet_command(data, position)
        line = data[position:].split(b"\n", 1)[0].removesuffix(b"\r")
        raise self._fault(self._unknown_command(line[: self.limits.command]), b"", line)

    def _telnet_command(self, data: bytes, position: int) -> int:
        at = position
        while at < len(data) and data[at] == telnet.IAC:
            length = telnet.command_length(data, at)
            if length < 0:
                raise self._unknown_command(data[at : at + self.limits.command])
            if length == 0:
                if len(data) - at > _TELNET_OCTETS:
                    raise _too_much_telnet()
                self._rest = data[at:]
                return -1
            command = data[at : at + length]
            self._telnet_seen += 1
            self._telnet_octets += length
            if self._telnet_seen > _TELNET_COMMANDS or self._telnet_octets > _TELNET_OCTETS:
                raise _too_much_telnet()
            if command == telnet.DO_TIMING_MARK:
                self.answers.append(telnet.WONT_TIMING_MARK)
            elif telnet.is_interrupt(command):
                self._interrupt = True
            at += length
        if self._interrupt:
            raise _interrupted("Ctrl-C")
        return at


def _looks_lost(word: bytes) -> bool:
    first = _WORD.match(word)
    return word[:1] == b"?" or (
        first is not None
        and first[0].upper()
        in (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"EHLO", b"HELO", b"HELP", b"QUIT")
    )


def _character_mode() -> RemoteProtocolError:
    return RemoteProtocolError(
        "CR NUL instead of a line end",
        "your telnet is in character mode: type ^] then `mode line`, or `toggle crlf`",
    )


def _interrupted(key: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"telnet interrupt ({key}); closing",
        "leave telnet with ^] and quit, or end the session with DISCONNECT",
    )


def _too_much_telnet() -> RemoteProtocolError:
    return RemoteProtocolError(
        "too many telnet commands",
        f"at most {_TELNET_COMMANDS} telnet commands and {_TELNET_OCTETS} octets of them are "
        "taken out of a STOMP stream",
    )


def _receipt(head: Head) -> dict[str, str]:
    receipt = head.get("receipt")
    return {} if receipt is None else {"receipt-id": receipt}


def _receipt_of_block(block: bytes, version: str | None) -> dict[str, str]:
    """Return the ``receipt-id`` for the ERROR about a damaged head, if it can be read (E-06)."""
    first, *lines = block.split(b"\n")
    literal = first.removesuffix(b"\r").decode("latin-1") in LITERAL_COMMANDS
    for line in lines:
        if b"receipt" in line:
            try:
                name, value = parse_line(line.removesuffix(b"\r"), None if literal else version, 0)
            except RemoteProtocolError:
                continue
            if name == "receipt":
                return {"receipt-id": value}
    return {}
