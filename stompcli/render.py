"""Messages as text: for people, for pipes, for programs; and strangers' octets made harmless.

Everything here is pure: values in, octets or text out.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from stompcli.color import BOLD, DIM, painted

FORMATS: Final = ("stomp.py", "pretty", "json", "body")

_SHOWN_BODY: Final = 2048
_SHOWN_BINARY: Final = 256
_ROW: Final = 16
# What a terminal could take for a command, or what turns the direction of writing around.
_UNSAFE_LINE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE_TEXT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_ESCAPES: Final = {"\\n": "\n", "\\t": "\t", "\\0": "\0", "\\\\": "\\"}
_ESCAPE: Final = re.compile(r"\\[nt0\\]")
_SPOKEN: Final = frozenset(
    ("destination", "message-id", "subscription", "content-type", "content-length", "ack")
)


class Shown(Protocol):
    """What can be shown: a message that came, or one that was only looked at."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers, the first of repeated ones."""
        ...

    @property
    def raw_headers(self) -> list[tuple[str, str]]:
        """All headers."""
        ...

    @property
    def body(self) -> bytes:
        """The body, or as much of it as there is to show."""
        ...

    @property
    def destination(self) -> str:
        """Where it was sent to."""
        ...

    @property
    def id(self) -> str:
        """Its message-id."""
        ...

    def head_only(self) -> "Shown":
        """Return it without its body."""
        ...


def visible_line(text: str) -> str:
    """Return text in which nothing can move a cursor, colour a terminal or end the line."""
    return _UNSAFE_LINE.sub(_escaped, text)


def visible_text(text: str) -> str:
    """Return text as `visible_line` does, but with its line ends and tabs."""
    return _UNSAFE_TEXT.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - octets that are not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004


def visible_body(body: bytes) -> str:
    """Return a body for a terminal: text cut at 2 kB, anything else as a hex dump."""
    if is_binary(body):
        shown = body[:_SHOWN_BINARY]
        return f"{len(body):,} octets, not text:\n{hex_dump(shown)}"
    cut = body[:_SHOWN_BODY]
    text = visible_text(cut.decode("utf-8", "surrogateescape"))
    if len(body) > len(cut):
        text += f"\n... {len(body) - len(cut):,} more octets"
    return text


def whole_body(body: bytes) -> str:
    """Return a body for a terminal as `visible_body` does, but all of it."""
    if is_binary(body):
        return hex_dump(body)
    return visible_text(body.decode("utf-8", "surrogateescape"))


def hex_dump(data: bytes) -> str:
    """Return octets as rows of sixteen: where they are, in hexadecimal, and as letters."""
    return "\n".join(_hex_row(at, data[at : at + _ROW]) for at in range(0, len(data), _ROW))


def is_binary(body: bytes) -> bool:
    """Return whether a body is better shown as a hex dump."""
    if b"\0" in body:
        return True
    text = body[:_SHOWN_BODY].decode("utf-8", "surrogateescape")
    return 4 * len(_UNSAFE_TEXT.findall(text)) > len(text)


def _hex_row(at: int, octets: bytes) -> str:
    letters = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in octets)  # noqa: PLR2004
    return f"{at:08x}  {octets.hex(' '):<47}  {letters}"


def frame_lines(command: str, headers: dict[str, str], *, tty: bool) -> bytes:
    """Return a frame's head as stomp.py prints it, with the empty line after it."""
    lines = [command, *(f"{name}: {value}" for name, value in headers.items())]
    if tty:
        lines = [visible_line(line) for line in lines]
    return _octets("\n".join([*lines, "", ""]))


def stomp_py(message: Shown, *, tty: bool) -> bytes:
    """Return a message as stomp.py's program prints it."""
    head = frame_lines("MESSAGE", message.headers, tty=tty)
    body = _octets(visible_body(message.body)) if tty else message.body
    return head + body + (b"" if body.endswith(b"\n") else b"\n")


def pretty(
    message: Shown,
    n: int,
    *,
    full: bool,
    tty: bool,
    color: bool = False,
    size: int | None = None,
    notes: Sequence[str] = (),
) -> bytes:
    """Return a message for people: what matters in one line, other headers, the body.

    ``size`` are the octets of the whole body, None if all of it is here; ``notes`` are what else
    there is to say of the message in that line.
    """
    headers = message.headers
    parts = [message.destination, f"{len(message.body) if size is None else size:,} B"]
    if "content-type" in headers:
        parts.append(headers["content-type"])
    parts += [f"id {message.id}", *notes]
    lines = [f"[#{n}] " + "  ".join(parts)]
    lines += [
        f"  {name}: {value}" for name, value in headers.items() if full or name not in _SPOKEN
    ]
    lines = [visible_line(line) for line in lines]
    if color:
        lines = [painted(line, DIM if at else BOLD) for at, line in enumerate(lines)]
    head = _octets("\n".join(lines) + "\n")
    body = _octets(visible_body(message.body)) if tty else message.body
    return head + body + (b"" if not body or body.endswith(b"\n") else b"\n")


def as_json(
    message: Shown, n: int, *, body: bool = True, more: Mapping[str, object] | None = None
) -> bytes:
    """Return a message as one line of JSON, with ``more`` fields at its end.

    A body that is not UTF-8 is ``body_base64``; repeated headers are all in ``raw_headers``.
    """
    headers = {name: value for name, value in message.headers.items() if name != "destination"}
    value: dict[str, Any] = {"n": n, "destination": message.destination, "headers": headers}
    raw = message.raw_headers
    if len(raw) > len(message.headers):
        value["raw_headers"] = [list(pair) for pair in raw]
    if body:
        try:
            value["body"] = message.body.decode()
        except UnicodeDecodeError:
            value["body_base64"] = base64.b64encode(message.body).decode()
    return json_line({**value, **(more or {})})


def json_line(value: object) -> bytes:
    """Return a value as one line of JSON in printable ASCII, harmless to any terminal."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f").encode() + b"\n"


def pattern(message: Shown, n: int, form: str, *, tty: bool) -> bytes:
    r"""Return a message by a pattern: ``{n}``, ``{destination}``, ``{id}``, ``{body}``,
    ``{header.NAME}``, with ``\n``, ``\t``, ``\0`` and ``\\``.

    A header that is not there is empty.
    """  # noqa: D205 - the list does not fit into one line
    parts = []
    at = 0
    for match in _FIELD.finditer(form):
        parts.append(_octets(_unescaped(form[at : match.start()])))
        parts.append(_field(message, n, match[1], tty=tty))
        at = match.end()
    parts.append(_octets(_unescaped(form[at:])))
    return b"".join(parts)


def check_pattern(form: str) -> str | None:
    """Return what is wrong with a pattern, None if nothing is."""
    for match in _FIELD.finditer(form):
        name = match[1]
        if name not in ("n", "destination", "id", "body") and not name.startswith("header."):
            return (
                f"there is no field {{{name}}}; "
                "fields are {n} {destination} {id} {body} {header.NAME}"
            )
    if form not in FORMATS and _FIELD.search(form) is None:
        return f'"{form}" is none of {", ".join(FORMATS)}, and no pattern with a {{field}}'
    return None


def _field(message: Shown, n: int, name: str, *, tty: bool) -> bytes:
    if name == "body":
        return _octets(visible_body(message.body)) if tty else message.body
    if name == "n":
        return str(n).encode()
    if name == "destination":
        text = message.destination
    elif name == "id":
        text = message.id
    else:
        text = message.headers.get(name.removeprefix("header."), "")
    return _octets(visible_line(text) if tty else text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def wire(direction: str, data: bytes, *, dump: bool = False, most: int | None = None) -> str:
    r"""Return octets that came (``<``) or went (``>``) as one readable line, passcodes hidden.

    Line feeds are ``\n``, each with a blank after it. With ``dump`` rows of hexadecimal follow
    instead. Of more than ``most`` octets the others are counted only.
    """
    head = f"{direction * 3} {len(data)} B"
    if data.startswith((b"CONNECT\n", b"STOMP\n")):
        data = re.sub(rb"(\npasscode:)[^\n]*", rb"\1***", data)
    rest = ""
    if most is not None and len(data) > most:
        rest = f" ... {len(data) - most:,} more octets"
        data = data[:most]
    if dump:
        return f"{head}\n{hex_dump(data)}{rest}"
    if data.strip(b"\r\n") == b"" and direction in "<>":
        return f"{head}  {_wire_text(data).strip()} (beat)"
    return f"{head}  {_wire_text(data).strip()}{rest}"


def _wire_text(data: bytes) -> str:
    text = visible_line(data.decode("utf-8", "surrogateescape"))
    return text.replace("\\x0a", "\\n ").replace("\\x00", "\\0 ").replace("\\x0d", "\\r")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
