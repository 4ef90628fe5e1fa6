"""A message as a row, and back, without loss.

Nearly all messages are plain: header lines that mean the same in every version, a body, and nothing
else. Their rows have five columns that say something. What a few messages have has a column of its
own if people want to look for it, and is in the JSON of ``more`` otherwise.

A restored message is delivered with the octets that it would have been delivered with before:
`SEND` made them of the header lines, and `Reader.message` makes them in the same way.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from stompd.broker.cron import Cron
from stompd.broker.message import SMALL, Message
from stompd.broker.terms import NEVER, NOBODY, NORMAL, Schedule, Terms
from stompd.protocol.frame import NEVER_FORWARDED, V12, Head, Shape
from stompd.protocol.headers import Heads, restore, unescape

# Rowids are lane << 42 | place.
PLACE_BITS: Final = 42
PLACE_MASK: Final = (1 << PLACE_BITS) - 1
LANE_LIMIT: Final = 1 << 21

# Larger bodies are kept in pieces of this many octets.
CHUNK: Final = 1024 * 1024

# The columns of every row, and of the rows of messages that are more than plain, in their order.
PLAIN_COLUMNS: Final = ("id", "queue", "size", "persistent", "headers", "body")
RARE_COLUMNS: Final = (
    "form",
    "count",
    "redelivered",
    "due",
    "expires",
    "message_group",
    "dedup_id",
    "more",
    "chunks",
)

# Header lines in the encoding of 1.2, for whoever reads the file and for every consumer.
_CANONICAL: Final = 1
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"})
_EXPIRES: Final = b"expires:"

# What comes of text, or of JSON in it, that is damaged.
UNREADABLE: Final = (ValueError, TypeError, KeyError, msgspec.MsgspecError)

# Blocks of headers whose heads are kept for the next message with the same.
_HEADS: Final = 1024
_HEAD_OCTETS: Final = 1024
# No limit: they were checked when the message came.
_UNLIMITED: Final = 1 << 40


def to_milliseconds(seconds: float, epoch: float) -> int:
    """Return a time of the broker's as milliseconds since 1970."""
    return round((seconds + epoch) * 1000)


def to_seconds(milliseconds: float, epoch: float) -> float:
    """Return milliseconds since 1970 as a time of the broker's."""
    return milliseconds / 1000 - epoch


def as_text(name: str) -> str:
    """Return a name as SQLite can keep it: one that is not UTF-8 as a JSON string."""
    if name.startswith('"') or "\0" in name or not _is_utf8(name):
        return json.dumps(name)
    return name


def from_text(text: str) -> str:
    """Return what `as_text` was given."""
    if text.startswith('"'):
        name = json.loads(text)
        assert isinstance(name, str)  # noqa: S101 - it starts with a quotation mark
        return name
    return text


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def priority_of(message: Message) -> int:
    """Return the priority of the lane that a message belongs to."""
    terms = message.terms
    return NORMAL if terms is None else terms.priority


class Writer:
    """Makes rows of messages."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        # The lines to forward, by head: messages with the same headers share theirs.
        self._lines: dict[Head, str | None] = {}

    def plain(self, message: Message) -> str | None:
        """Return the header lines of a message that has nothing but them and a small body.

        None if `rare` has to be asked.
        """
        if (
            message.terms is not None
            or message.extra is not None
            or message.sender is not None
            or message.count
            or message.redelivered
            or message.detail
            or message.first_id
            or (message.tail is None and message.same is None)
            or len(message.body) > CHUNK
        ):
            return None
        return self._lines_of(message.head)

    def _lines_of(self, head: Head) -> str | None:
        lines = self._lines.get(head)
        if lines is None:
            lines = _forwarded(head)
            if len(head.block) <= _HEAD_OCTETS:
                if len(self._lines) >= _HEADS:
                    self._lines.clear()
                self._lines[head] = lines
        return lines

    def rare(
        self, message: Message, due: float, epoch: float
    ) -> tuple[str, tuple[int | str | None, ...]]:
        """Return the header lines of any message, and its values of `RARE_COLUMNS`.

        ``due`` is 0.0 unless it is delayed.
        """
        more: dict[str, Any] = {}
        head = message.head
        lines = None
        form = None
        made = message.same[0] if message.tail is None and message.same else message.tail
        if made is not None:
            lines = self._lines_of(head)
        if lines is None:
            form = _CANONICAL
            lines = _canonical(head, more)
        elif made is not None and made.startswith(_EXPIRES) and not lines.startswith("expires:"):
            # SEND put it there, for a time to live.
            more["told"] = made[len(_EXPIRES) : made.index(b"\n")].decode()
        if message.extra is not None:
            more["extra"] = message.extra
        if message.detail:
            more["detail"] = message.detail
        if message.first_id:
            more["first-id"] = message.first_id
        if message.sender is not None:
            more["sender"] = list(message.sender)
        expires = group = dedup_id = None
        terms = message.terms
        if terms is not None:
            if terms.expires != NEVER:
                expires = to_milliseconds(terms.expires, epoch)
            group = None if terms.group is None else as_text(terms.group)
            dedup_id = None if terms.dedup_id is None else as_text(terms.dedup_id)
            _note_terms(terms, more, epoch)
        chunks = -(-len(message.body) // CHUNK) if len(message.body) > CHUNK else None
        return lines, (
            form,
            message.count or None,
            1 if message.redelivered else None,
            to_milliseconds(due, epoch) if due else None,
            expires,
            group,
            dedup_id,
            json.dumps(more) if more else None,
            chunks,
        )


def _note_terms(terms: Terms, more: dict[str, Any], epoch: float) -> None:
    told: dict[str, Any] = {}
    if terms.incoming:
        told["incoming"] = True
    if terms.due:
        told["due"] = to_milliseconds(terms.due, epoch)
    if terms.retain is not None:
        told["retain"] = terms.retain
    if terms.sender != NOBODY:
        told["sender"] = list(terms.sender)
    schedule = terms.schedule
    if schedule is not None:
        told["schedule"] = {
            "delay": schedule.delay,
            "period": schedule.period,
            "repeat": schedule.repeat,
            "left": schedule.left,
            "cron": None if schedule.cron is None else schedule.cron.text,
        }
    more["terms"] = told


def _forwarded(head: Head) -> str | None:
    """Return the lines of a head that every version reads alike, but for those never forwarded.

    None for a head that is not plain.
    """
    if not head.plain:
        return None
    lines = head.block.decode()
    if head.shape.clean:
        return lines
    return "\n".join(
        line for line in lines.split("\n") if line.partition(":")[0] not in NEVER_FORWARDED
    )


def _canonical(head: Head, more: dict[str, Any]) -> str:
    """Return the lines of a head in the encoding of 1.2, without what is never forwarded."""
    headers = {n: v for n, v in head.headers.items() if n not in NEVER_FORWARDED}
    lines = "\n".join(
        f"{name.translate(_ESCAPES)}:{value.translate(_ESCAPES)}" for name, value in headers.items()
    )
    if "\0" in lines or not _is_utf8(lines):
        # Octets of a 1.0 peer: they are the sender's, so they come out as they went in.
        more["headers"] = list(headers.items())
        lines = restore(lines).decode("utf-8", "replace").replace("\0", "\ufffd")
    return lines


class Reader:
    """Makes messages of rows; heads of equal lines are made once.

    ``end`` is what ends each frame; it has to be that of the broker's.
    """

    __slots__ = ("_heads", "_known", "end")

    def __init__(self, end: bytes = b"\0\n") -> None:
        self.end = end
        self._heads = Heads(V12, frozenset(("SEND",)), strict=True)
        # By lines: the head and the lines to forward, and whether they lack a content-length.
        self._known: dict[str, tuple[Head, bytes, bool]] = {}

    def message(
        self,
        place: int,
        priority: int,
        size: int,
        persistent: int,
        headers: str,
        body: bytes,
        rare: list[Any] | None,
        epoch: float,
    ) -> Message:
        """Return the message of a row; ``rare`` holds the values of `RARE_COLUMNS`."""
        more: dict[str, Any] | None = None
        if rare is not None and rare[7] is not None:
            more = json.loads(rare[7])
        if rare is not None and rare[0] == _CANONICAL:
            message = Message(_canonical_head(headers, more), body, None, bool(persistent))
        else:
            message = self._plain(headers, body, bool(persistent), more)
        message.size = size
        message.place = place
        message.stored = True
        if rare is None:
            return message
        _, count, redelivered, _, expires, group, dedup_id, _, _ = rare
        message.count = count or 0
        message.redelivered = bool(redelivered)
        if more is not None:
            message.extra = more.get("extra")
            message.detail = more.get("detail", "")
            message.first_id = more.get("first-id", "")
            if "sender" in more:
                user, address = more["sender"]
                message.sender = (user, address)
            if "terms" in more:
                message.terms = _terms(priority, expires, group, dedup_id, more["terms"], epoch)
        return message

    def _plain(
        self,
        headers: str,
        body: bytes,
        persistent: bool,  # noqa: FBT001 - as Message has it
        more: dict[str, Any] | None,
    ) -> Message:
        found = self._known.get(headers)
        if found is None:
            block = headers.encode()
            head = self._heads.quick_head(b"SEND\n" + block, _UNLIMITED, _UNLIMITED)
            if head is None:
                raise ValueError(f"header lines that are not plain: {headers!r}")
            lacks = head.shape.length is None
            found = (head, block + (b"\n" if lacks else b"\n\n"), lacks)
            if len(headers) <= _HEAD_OCTETS:
                if len(self._known) >= _HEADS:
                    self._known.clear()
                self._known[headers] = found
        head, forward, lacks = found
        if lacks:
            forward += b"content-length:%d\n\n" % len(body) if body else b"\n"
        first = b""
        if more is not None and "told" in more:
            first = b"%b%b\n" % (_EXPIRES, more["told"].encode())
        if len(body) < SMALL:
            return Message(head, body, first + forward + body + self.end, persistent)
        message = Message(head, body, None, persistent)
        message.same = (forward, body, self.end)
        if first:
            message.same = (first, *message.same)
        return message


def _canonical_head(headers: str, more: dict[str, Any] | None) -> Head:
    if more is not None and "headers" in more:
        pairs = [(name, value) for name, value in more["headers"]]
    else:
        pairs = []
        for line in headers.split("\n") if headers else ():
            name, _, value = line.partition(":")
            pairs.append((unescape(name, V12), unescape(value, V12)))
    parts = ["SEND"]
    index: dict[str, int] = {}
    for name, value in pairs:
        index[name] = len(parts) + 1
        parts += (name, value)
    return Head(Shape("SEND", index, None), parts, None, headers.encode(), False)  # noqa: FBT003


def _terms(
    priority: int,
    expires: int | None,
    group: str | None,
    dedup_id: str | None,
    told: dict[str, Any],
    epoch: float,
) -> Terms:
    terms = Terms(priority, NEVER if expires is None else to_seconds(expires, epoch))
    terms.group = None if group is None else from_text(group)
    terms.dedup_id = None if dedup_id is None else from_text(dedup_id)
    terms.incoming = told.get("incoming", False)
    if "due" in told:
        terms.due = to_seconds(told["due"], epoch)
    terms.retain = told.get("retain")
    if "sender" in told:
        identity, client_id = told["sender"]
        terms.sender = (identity, client_id)
    if "schedule" in told:
        plan = told["schedule"]
        cron = None if plan["cron"] is None else Cron(plan["cron"])
        terms.schedule = Schedule(plan["delay"], plan["period"], plan["repeat"], cron)
        terms.schedule.left = plan["left"]
    return terms
