"""Destination names: their kinds, what is allowed, and where wildcards are."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stompd.broker.pattern import MANY, ONE, words_of
from stompd.protocol.errors import RemoteProtocolError, shown

NAME_LIMIT: Final = 255
# A dead-letter queue's name is made of its queue's, and has to stay within reach of SUBSCRIBE.
SUBSCRIBED_LIMIT: Final = NAME_LIMIT + 64

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


def parse(text: str, *, limit: int = NAME_LIMIT) -> Destination:
    """Return the destination that ``text`` names; a name has at most ``limit`` octets.

    Raises `RemoteProtocolError` for a name that stompd does not accept, saying why (S-03).
    """
    if text[:1] != "/":
        _check(text, text, limit)
        return _destination(f"/queue/{text}", Kind.QUEUE)
    for prefix, (kind, temporary, remote) in _PREFIXES.items():
        if text.startswith(prefix):
            _check(text[len(prefix) :], text, limit)
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
    wild = not _WILD.isdisjoint(words)
    if wild and (temporary or remote):
        raise RemoteProtocolError(
            "malformed destination name",
            f'"{shown(name)}": a temporary destination has no wildcards',
        )
    return Destination(name, kind, words, wild=wild, temporary=temporary, remote=remote)


def _check(name: str, text: str, limit: int) -> None:
    why = None
    if not name:
        why = "the name is empty"
    elif len(name.encode("utf-8", "surrogateescape")) > limit:
        why = f"a name has at most {limit} octets"
    elif name != name.strip() or text != text.strip():
        why = "a name does not begin or end with a blank; STOMP 1.1 and 1.2 keep every blank"
    elif _CONTROL.search(name):
        why = "a name holds no control characters"
    if why is not None:
        raise RemoteProtocolError("malformed destination name", f'"{shown(text)}": {why}')
