"""Frames and events that stompd tells of, as lines for people. Pure."""

import base64
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from stompcli.render import visible_line

# Frames that are known by their destination; of the others it is known from what came before.
PLACED: Final = frozenset(("SEND", "SUBSCRIBE", "MESSAGE"))
# How many receipts, acks, transactions and subscriptions are remembered.
_REMEMBERED: Final = 10_000
# Of these headers the line has a word of its own.
_SPOKEN: Final = frozenset(("destination", "content-length", "receipt", "message-id", "passcode"))
_ARROWS: Final = {"in": ">", "out": "<"}

Row = Mapping[str, Any]


class Related:
    """The frames that belong to some destinations: also those that do not name it.

    A RECEIPT belongs to the frame that asked for it, an ACK to its MESSAGE, an UNSUBSCRIBE to its
    SUBSCRIBE.
    """

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._known: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def __call__(self, row: Row) -> bool:
        """Return whether a frame belongs to them; to be asked of every frame, in their order."""
        connection, command, headers = row["connection"], row["command"], row["headers"]
        if command in PLACED:
            name = headers.get("destination", "")
            found = self._wanted(name if name.startswith("/") else f"/queue/{name}")
        else:
            found = any(
                (connection, *key) in self._known for key in self._references(command, headers)
            )
        if found:
            for key in self._names(command, headers):
                self._remember((connection, *key))
        return found

    def _remember(self, key: tuple[object, ...]) -> None:
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _names(self, command: str, headers: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """Give what other frames may call this one by."""
        if "receipt" in headers:
            yield "receipt", headers["receipt"]
        if command == "SUBSCRIBE" and "id" in headers:
            yield "subscription", headers["id"]
        if command == "MESSAGE":
            for name in ("ack", "message-id"):
                if name in headers:
                    yield "message", headers[name]

    def _references(self, command: str, headers: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
        """Give what this frame calls others by."""
        if command in ("RECEIPT", "ERROR") and "receipt-id" in headers:
            yield "receipt", headers["receipt-id"]
        if command in ("ACK", "NACK"):
            for name in ("id", "message-id"):
                if name in headers:
                    yield "message", headers[name]
        if command == "UNSUBSCRIBE" and "id" in headers:
            yield "subscription", headers["id"]


def frame_line(row: Row, *, full: bool) -> str:
    """Return one line about a frame; ``full`` shows every header."""
    headers: Mapping[str, str] = row["headers"]
    who = row.get("peer") or ""
    if row.get("user"):
        who = f"{row['user']}@{who}" if who else row["user"]
    command = row["command"]
    words = [row["connection"], who, _ARROWS.get(row["direction"], "?"), command]
    words += _words(command, headers)
    if row.get("size") or command in ("SEND", "MESSAGE"):
        words.append(f"{row['size']:,} B")
    if "receipt" in headers:
        words.append(f"receipt={headers['receipt']}")
    if full:
        words += [f"{name}={value}" for name, value in headers.items() if name not in _SPOKEN]
    words += _body(row)
    line = " ".join(word for word in words if word)
    return f"{clock(row.get('time', 0))} {visible_line(line)}"


def _words(command: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Give what matters most about a frame."""
    if "destination" in headers:
        yield headers["destination"]
    if command == "MESSAGE" and "subscription" in headers:
        yield f"sub={headers['subscription']}"
    if command == "RECEIPT":
        yield headers.get("receipt-id", "")
    if command in ("ACK", "NACK"):
        yield headers.get("id") or headers.get("message-id", "")
    if command in ("SUBSCRIBE", "UNSUBSCRIBE") and "id" in headers:
        yield f"id={headers['id']}"
    if command == "SUBSCRIBE":
        yield f"ack={headers.get('ack', 'auto')}"
    if "transaction" in headers:
        yield f"tx={headers['transaction']}"
    if command in ("CONNECT", "STOMP"):
        yield f"accept-version={headers.get('accept-version', '1.0')}"
        yield f"login={headers['login']}" if "login" in headers else ""
    if command == "CONNECTED":
        yield f"version={headers.get('version', '1.0')}"
    if command == "ERROR":
        yield f'"{headers.get("message", "")}"'


def _body(row: Row) -> Iterator[str]:
    """Give the body, as much of it as there is."""
    more = "…" if row.get("truncated") else ""
    if row.get("body"):
        yield f'"{row["body"]}"{more}'
    elif row.get("body_base64"):
        yield f"x'{base64.b64decode(row['body_base64']).hex()}'{more}"


def dropped_line(row: Row) -> str | None:
    """Return the line about frames that were not shown before this one, None if all were."""
    count = row.get("dropped")
    return f"# dropped {count:,} lines (slow reader)" if count else None


def event_line(event: Row) -> str:
    """Return one line about an event."""
    pairs = [
        f"{name}={_value(value)}"
        for name, value in event.items()
        if name not in ("event", "time") and value not in (None, "", [])
    ]
    line = " ".join([str(event.get("event", "?")), *pairs])
    return f"{clock(event.get('time', 0))} {visible_line(line)}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return f'"{text}"' if " " in text else text


def clock(milliseconds: float) -> str:
    """Return the time of day, here, of milliseconds since the epoch."""
    seconds = milliseconds / 1000
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{int(milliseconds) % 1000:03}"
