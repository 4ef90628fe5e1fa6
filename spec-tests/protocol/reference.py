"""A second decoder, octet by octet, written from the grammar and the requirements alone.

It shares no code with stompd.protocol, is slow, and knows no telnet. It exists to be compared with.
"""

CLIENT = {
    *("CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK"),
    *("BEGIN", "COMMIT", "ABORT", "DISCONNECT"),
}
SERVER = {"CONNECTED", "MESSAGE", "RECEIPT", "ERROR"}
LITERAL = {"CONNECT", "STOMP", "CONNECTED"}
WITH_BODY = {"SEND", "MESSAGE", "ERROR"}

Read = tuple[str, list[tuple[str, str]], bytes]


class Wrong(Exception):  # noqa: N818 - what the octets are, not what the program did
    """The octets break a rule."""


class Reference:
    """Feed it octets; `frames` grows, and `wrong` becomes true at the first fault."""

    def __init__(
        self,
        role: str = "server",
        *,
        command: int = 32,
        line: int = 16384,
        headers: int = 1000,
        head: int = 65536,
        body: int = 2**25,
    ) -> None:
        self.role = role
        self.max_command = command
        self.max_line = line
        self.max_headers = headers
        self.max_head = head
        self.max_body = body
        self.version: str | None = None
        self.frames: list[Read] = []
        self.wrong = False
        self.held: bytes | None = None
        self._clear()

    def _clear(self) -> None:
        self.place = "between"
        self.line = b""
        self.lines: list[bytes] = []
        self.pairs: list[tuple[str, str]] = []
        self.body = b""
        self.length: int | None = None

    def begin(self, version: str) -> None:
        """Go on by the rules of ``version``."""
        self.version = version
        held, self.held = self.held, None
        self.feed(held or b"")

    def feed(self, data: bytes) -> None:
        """Take octets."""
        for at in range(len(data)):
            if self.wrong:
                return
            if self.held is not None:
                self.held += data[at:]
                return
            try:
                self._octet(data[at : at + 1])
            except Wrong:
                self.wrong = True

    def _octet(self, octet: bytes) -> None:
        if self.place == "between":
            if octet in (b"\n", b"\0"):
                return
            self.place = "after CR" if octet == b"\r" else "command"
            self.line = b"" if octet == b"\r" else octet
            # Nothing that could ever become a command: no need to wait for the end of the line.
            if (octet < b"\x0e" and octet != b"\r") or octet == b"\xff":
                raise Wrong
        elif self.place == "after CR":
            if octet != b"\n":
                raise Wrong
            self.place = "between"
        elif self.place == "body":
            self._body_octet(octet)
        elif octet == b"\0":
            if self.place == "command" or self.line:
                raise Wrong
            self._head_ends()
            if self.length:
                raise Wrong
            self._frame_ends()
        elif octet == b"\n":
            self._line_ends(self.line[:-1] if self.line[-1:] == b"\r" else self.line)
        else:
            self.line += octet
            self._look_at_limits()

    def _look_at_limits(self) -> None:
        text = self.line[:-1] if self.line[-1:] == b"\r" else self.line
        if len(text) > (self.max_command if self.place == "command" else self.max_line):
            raise Wrong
        # The end of the last line and a CR may come behind the limit before it is clear that the
        # head is too long.
        if sum(len(line) + 1 for line in self.lines) + len(self.line) > self.max_head + 2:
            raise Wrong

    def _line_ends(self, line: bytes) -> None:
        self.line = b""
        if self.place == "command":
            if len(line) > self.max_command:
                raise Wrong
            if line.decode("latin-1") not in (CLIENT if self.role == "server" else SERVER):
                raise Wrong
            self.place = "header"
            self.lines.append(line)
        elif line:
            self.lines.append(line)
            if len(self.lines) - 1 > self.max_headers:
                raise Wrong
            self._header(line)
        else:
            self._head_ends()
            self.place = "body"
            return
        if sum(len(line) + 1 for line in self.lines) > self.max_head + 2:
            raise Wrong

    def _header(self, line: bytes) -> None:
        version = None if self.command in LITERAL else self.version
        if b"\r" in line and version not in ("1.0", "1.1"):
            raise Wrong
        if b":" not in line:
            raise Wrong
        at = line.index(b":")
        name, value = line[:at], line[at + 1 :]
        if not name:
            raise Wrong
        if version in ("1.1", "1.2"):
            pair = self._decode(name), self._decode(value)
        else:
            pair = name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
            if version == "1.0":
                pair = pair[0].strip(" \t"), pair[1].strip(" \t")
                if not pair[0]:
                    raise Wrong
        if pair[0] not in [name for name, _ in self.pairs]:
            self.pairs.append(pair)

    def _decode(self, octets: bytes) -> str:
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            raise Wrong from None
        out = ""
        at = 0
        while at < len(text):
            if text[at] != "\\":
                out += text[at]
                at += 1
                continue
            sign = text[at + 1 : at + 2]
            if sign == "n":
                out += "\n"
            elif sign == "c":
                out += ":"
            elif sign == "\\":
                out += "\\"
            elif sign == "r" and self.version == "1.2":
                out += "\r"
            else:
                raise Wrong
            at += 2
        return out

    @property
    def command(self) -> str:
        """The command of the frame that is being read."""
        return self.lines[0].decode("latin-1")

    def _head_ends(self) -> None:
        if sum(len(line) + 1 for line in self.lines) - 1 > self.max_head:
            raise Wrong
        if self.command in LITERAL:
            return
        if self.version != "1.2" and self.role == "server" and self.command not in WITH_BODY:
            return
        for name, value in self.pairs:
            if name == "content-length":
                digits = value.strip(" \t")
                if not digits or any(digit not in "0123456789" for digit in digits):
                    raise Wrong
                digits = digits.lstrip("0") or "0"
                if len(digits) > 18 or int(digits) > self.max_body:
                    raise Wrong
                self.length = int(digits)

    def _body_octet(self, octet: bytes) -> None:
        if self.length is None:
            if octet == b"\0":
                self._frame_ends()
                return
        elif len(self.body) == self.length:
            if octet != b"\0":
                raise Wrong
            self._frame_ends()
            return
        self.body += octet
        if len(self.body) > self.max_body:
            raise Wrong

    def _frame_ends(self) -> None:
        command = self.command
        self.frames.append((command, self.pairs, self.body))
        self._clear()
        pivots = ("CONNECT", "STOMP") if self.role == "server" else ("CONNECTED",)
        if self.version is None and command in pivots:
            self.held = b""
