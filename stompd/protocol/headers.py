"""One header block: bytes to names and values, per version, and single values back.

The quick road takes blocks in which nothing is escaped, repeated, empty or padded: nearly all of
them. Everything else goes line by line, which also finds the words for what is wrong.
"""

import re
from typing import Final

from stompd.protocol.errors import RemoteProtocolError, shown
from stompd.protocol.frame import BODY_COMMANDS, LITERAL_COMMANDS, V10, V11, V12, Head, Shape

_UNESCAPE: Final = {
    V11: {"\\n": "\n", "\\c": ":", "\\\\": "\\"},
    V12: {"\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\"},
}
# V10-05 has no escapes; LF and CR can still arrive there from a 1.2 sender and must not break the
# frame, so they become what 1.0 clients commonly decode.
_ESCAPE: Final = {
    V10: str.maketrans({"\n": "\\n", "\r": "\\r"}),
    V11: str.maketrans({"\\": "\\\\", "\n": "\\n", ":": "\\c"}),
    V12: str.maketrans({"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}),
}
_SEQUENCE: Final = re.compile(r"\\.?", re.DOTALL)
# Surrogates that the error handler surrogateescape never makes.
_NO_OCTET: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_TRIM: Final = " \t"
# All octets but those that give a block its shape or make it other than plain.
_ORDINARY: Final = bytes(octet for octet in range(256) if octet not in b"\n:\\\r\0")
# The commands that come with the same block again and again.
_REPEATED: Final = frozenset(("SEND", "MESSAGE"))
_MEMO_BLOCK: Final = 1024
_MEMO_HEADS: Final = 1024
_MEMO_SHAPES: Final = 512
_MEMO_ONCE: Final = 4096
_MISSES: Final = 256
_MISSES_BETWEEN: Final = 1023

_ACK_BY_ID: Final = b"ACK\nid:"
_ID_OCTETS: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."


def escape(value: str, version: str) -> bytes:
    """Return a header name or value as the octets of ``version`` (ESC-03, V11-03, V10-05).

    Surrogates that stand for octets (of a 1.0 peer, not UTF-8) are restored for 1.0 and become
    U+FFFD in 1.1 and 1.2, which must be UTF-8 (F-21). Other surrogates always become U+FFFD.
    """
    text = value.translate(_ESCAPE[version])
    try:
        return text.encode()
    except UnicodeEncodeError:
        octets = restore(text)
        return octets if version == V10 else octets.decode("utf-8", "replace").encode()


def restore(text: str) -> bytes:
    """Return text as UTF-8, with the octets that `parse_line` could not decode as they were.

    Surrogates that stand for no octet become U+FFFD.
    """
    return _NO_OCTET.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def unescape(value: str, version: str) -> str:
    """Return what an escaped name or value of ``version`` stands for (ESC-01, ESC-04).

    Raises `RemoteProtocolError` for an undefined sequence (ESC-02); 1.0 has none (V10-05).
    """
    if version == V10 or "\\" not in value:
        return value
    table = _UNESCAPE[version]

    def one(match: re.Match[str]) -> str:
        sequence = match[0]
        try:
            return table[sequence]
        except KeyError:
            known = " ".join(sorted(table, key=len))
            raise RemoteProtocolError(
                "undefined escape sequence in a header",
                f'"{shown(sequence)}" in "{shown(value)}"; STOMP {version} knows {known}',
            ) from None

    return _SEQUENCE.sub(one, value)


def content_length(value: str, limit: int) -> int:
    """Return the octets that a ``content-length`` value promises (CL-02).

    Raises `RemoteProtocolError` if it is no number or over ``limit`` octets (CL-07, LIM-04).
    """
    digits = value.strip(_TRIM)
    if not (digits.isascii() and digits.isdigit()):
        raise RemoteProtocolError(
            "content-length is not a number",
            f'"{shown(value)}"; it must be the number of octets in the body, as decimal digits',
        )
    # A number of thousands of digits must not cost a conversion.
    digits = digits.lstrip("0") or "0"
    if len(digits) > 18 or int(digits) > limit:  # noqa: PLR2004 - 18 digits fit every limit
        raise RemoteProtocolError(
            "body over the limit",
            f"content-length:{shown(digits)} is more than the {limit} octets allowed for a body",
        )
    return int(digits)


class Heads:
    """Heads and shapes of one version that were seen before; serves any number of decoders.

    Only blocks that came twice are kept, so traffic whose headers differ every time costs a hash
    and no memory. Limits and role belong to it: `HeadTable` shares it among decoders with equal
    ones only.
    """

    __slots__ = (
        "_ack_by_id",
        "_commands",
        "_latest",
        "_lengths",
        "_once",
        "_shapes",
        "_strict",
        "heads",
        "version",
    )

    def __init__(self, version: str, commands: frozenset[str], *, strict: bool) -> None:
        self.version = version
        # What the peer may send: nothing else may ever get among the known heads.
        self._commands = commands
        # Honour content-length on every frame in every version, as a client does; a server does
        # so in 1.2 alone and elsewhere on frames with a body (AMB-13, CL-07).
        self._strict = strict or version == V12
        # By octets, command line included; a decoder looks here first.
        self.heads: dict[bytes, Head] = {}
        self._shapes: dict[str, Shape | None] = {}
        self._once: set[int] = set()
        self._ack_by_id = Shape("ACK", {"id": 2}, None)
        self._ack_by_id.names = ["id"]
        # The shape of the last head: one producer, and ten alike, stay with theirs.
        self._latest = self._ack_by_id
        # Numbers in plain digits that were parsed before, and found within the limit.
        self._lengths: dict[str, int] = {}

    def quick_head(self, block: bytes, body_limit: int, header_limit: int) -> Head | None:
        """Return the head of a block that means the same in every version, None if it may not.

        None as well for a command that the peer may not send.

        Raises `RemoteProtocolError` for a bad ``content-length``.
        """
        if block.startswith(_ACK_BY_ID):
            # There are as many of these as messages, and no two are alike.
            name = block[len(_ACK_BY_ID) :]
            if name and not name.translate(None, _ID_OCTETS):
                return Head(self._ack_by_id, ["ACK", "id", name.decode()], None, block[4:], True)  # noqa: FBT003
        skeleton = block.translate(None, _ORDINARY)
        if skeleton != b"\n:" * (len(skeleton) >> 1) or len(skeleton) > 2 * header_limit:
            return None
        try:
            parts = block.decode().replace("\n", ":").split(":")
        except UnicodeDecodeError:
            return None
        if "" in parts or (self.version == V10 and (b" " in block or b"\t" in block)):
            return None
        command = parts[0]
        names = parts[1::2]
        shape = self._latest
        if names != shape.names or command != shape.command:
            key = f"{command}\n{':'.join(names)}"
            try:
                found = self._shapes[key]
            except KeyError:
                found = self._new_shape(key, command, names)
            if found is None:
                return None
            shape = self._latest = found
        length = None
        plain = True
        at = shape.length
        if at is not None:
            value = parts[at]
            length = self._lengths.get(value)
            if length is None:
                length = content_length(value, body_limit)
                # CL-05: what is forwarded counts in plain digits, whatever was tolerated.
                plain = value == str(length)
                if plain and len(self._lengths) < _MEMO_SHAPES:
                    self._lengths[value] = length
        head = Head(shape, parts, length, block[len(command) + 1 :], plain)
        if command in _REPEATED and len(block) <= _MEMO_BLOCK:
            misses = shape.misses = shape.misses + 1
            # Blocks of a shape that never come again are asked about only now and then.
            if misses < _MISSES or not misses & _MISSES_BETWEEN:
                self._offer(block, head)
        return head

    def _new_shape(self, key: str, command: str, names: list[str]) -> Shape | None:
        shape = None
        known = command in self._commands and command not in LITERAL_COMMANDS
        if known and len(set(names)) == len(names):
            index = {name: 2 * place + 2 for place, name in enumerate(names)}
            honoured = self._strict or command in BODY_COMMANDS
            shape = Shape(command, index, index.get("content-length") if honoured else None)
            shape.names = names
        if len(self._shapes) >= _MEMO_SHAPES:
            self._shapes.clear()
        if len(key) <= _MEMO_BLOCK:
            self._shapes[key] = shape
        return shape

    def _offer(self, block: bytes, head: Head) -> None:
        mark = hash(block)
        # The frames of a transaction come right behind one another, and then never again.
        if mark not in self._once and "transaction" not in head.shape.index:
            if len(self._once) >= _MEMO_ONCE:
                self._once.clear()
            self._once.add(mark)
            return
        if len(self.heads) >= _MEMO_HEADS:
            self.heads.clear()
        self.heads[block] = head
        head.shape.misses = 0


def careful_head(block: bytes, version: str | None, body_limit: int, *, strict: bool) -> Head:
    """Return the head of any block, line by line.

    ``block`` is command line and header lines with single LFs between them and none at the end.
    ``version`` is None until it is negotiated. ``strict``: see `Heads`.
    Raises `RemoteProtocolError` for anything that the grammar of the version does not allow.
    """
    first, *lines = block.split(b"\n")
    command = first.decode("latin-1")
    literal = command in LITERAL_COMMANDS
    parts = [command]
    index: dict[str, int] = {}
    for number, line in enumerate(lines, 2):
        name, value = parse_line(line, None if literal else version, number)
        index.setdefault(name, len(parts) + 1)
        parts += (name, value)
    at = None
    if not literal and (strict or version == V12 or command in BODY_COMMANDS):
        at = index.get("content-length")
    length = None if at is None else content_length(parts[at], body_limit)
    return Head(Shape(command, index, at), parts, length, block[len(first) + 1 :], False)  # noqa: FBT003


def parse_line(line: bytes, version: str | None, number: int) -> tuple[str, str]:
    """Return name and value of one header line; ``number`` is the line's within its frame.

    With ``version`` None (CONNECT, STOMP, CONNECTED: ESC-05) nothing is decoded or trimmed.
    Raises `RemoteProtocolError` (F-11, F-12, F-16, F-20, F-22, ESC-02).
    """
    if b"\r" in line and version not in (V10, V11):
        raise RemoteProtocolError(
            "carriage return inside a header line",
            f'line {number}: "{shown(line)}"; CR may only stand before LF, elsewhere write \\r',
        )
    name, colon, value = line.partition(b":")
    if not colon:
        raise RemoteProtocolError(
            "header line without a colon",
            f'line {number}: "{shown(line)}"; a header is name:value, and an empty line ends them',
        )
    # Blanks around a name are none of it in 1.0, so that blanks alone are no name there.
    if not name or (version == V10 and not name.strip(b" \t")):
        raise RemoteProtocolError(
            "header line without a name",
            f'line {number}: "{shown(line)}"; a header is name:value',
        )
    if version is None or version == V10:
        # Octets that are not UTF-8 pass through unchanged in 1.0 (F-22).
        texts = (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        if version is None:
            return texts
        return texts[0].strip(_TRIM), texts[1].strip(_TRIM)
    try:
        return unescape(name.decode(), version), unescape(value.decode(), version)
    except UnicodeDecodeError:
        raise RemoteProtocolError(
            "header line is not UTF-8",
            f'line {number}: "{shown(line)}"; headers of STOMP {version} are UTF-8 text',
        ) from None
    except RemoteProtocolError as error:
        error.detail = f"line {number}: {error.detail}"
        raise
