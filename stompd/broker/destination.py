"""Destination names: their kinds, what is allowed, and where wildcards are."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stompd.broker.pattern import MANY, ONE, words_of
from stompd.protocol.errors import RemoteProtocolError, shown

NAME_LIMIT: Final = 255

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_WILD: Final = frozenset((ONE, MANY))


class Kind(Enum):
    """What a destination does with a message."""

    QUEUE = "queue"
    TOPIC = "topic"


@dataclass(frozen=True)
class Destination:
    """A destination as somebody named it."""

    # Kind and name in one spelling: /queue/a for a bare `a`.
    name: str
    kind: Kind
    # Wildcards in their canonical spelling: * and #.
    words: tuple[str, ...]
    wild: bool = False
    # The private name of a temporary destination: it belongs to whoever says it.
    temporary: bool = False
    # The public name of somebody's temporary destination.
    remote: bool = False


_PREFIXES: Final = {
    "/queue/": (Kind.QUEUE, False, False),
    "/topic/": (Kind.TOPIC, False, False),
    "/temp-queue/": (Kind.QUEUE, True, False),
    "/temp-topic/": (Kind.TOPIC, True, False),
    "/remote-temp-queue/": (Kind.QUEUE, False, True),
    "/remote-temp-topic/": (Kind.TOPIC, False, True),
}


def parse(text: str) -> Destination:
    """Return the destination that ``text`` names.

    Raises `RemoteProtocolError` for a name that stompd does not accept, saying why (S-03).
    """
    if text[:1] != "/":
        _check(text, text)
        return _destination(f"/queue/{text}", Kind.QUEUE)
    for prefix, (kind, temporary, remote) in _PREFIXES.items():
        if text.startswith(prefix):
            _check(text[len(prefix) :], text)
            return _destination(text, kind, temporary=temporary, remote=remote)
    if text.startswith(("/exchange/", "/amq/queue/")):
        hint = "RabbitMQ's exchanges are not available here; use /queue/NAME or /topic/NAME"
    elif text.startswith("/admin/"):
        hint = "this broker does not answer admin requests over STOMP"
    else:
        hint = "a destination is /queue/NAME, /topic/NAME, /temp-queue/NAME or /temp-topic/NAME"
    raise RemoteProtocolError("unknown kind of destination", f'"{shown(text)}"; {hint}')


def _destination(
    name: str, kind: Kind, *, temporary: bool = False, remote: bool = False
) -> Destination:
    words = words_of(name)
    wild = not temporary and not _WILD.isdisjoint(words)
    return Destination(name, kind, words, wild=wild, temporary=temporary, remote=remote)


def _check(name: str, text: str) -> None:
    why = None
    if not name:
        why = "the name is empty"
    elif len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT:
        why = f"a name has at most {NAME_LIMIT} octets"
    elif name != name.strip() or text != text.strip():
        why = "a name does not begin or end with a blank; STOMP 1.1 and 1.2 keep every blank"
    elif _CONTROL.search(name):
        why = "a name holds no control characters"
    if why is not None:
        raise RemoteProtocolError("destination name not allowed", f'"{shown(text)}": {why}')


def refuse_wild(destination: Destination) -> None:
    """Raise `RemoteProtocolError` if a SEND names a wildcard instead of one destination."""
    if destination.wild:
        raise RemoteProtocolError(
            "SEND to a wildcard",
            f'"{shown(destination.name)}"; wildcards are for SUBSCRIBE, a message goes to one '
            "destination",
        )
