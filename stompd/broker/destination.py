"""Destination names: their kinds, what is allowed, and where wildcards are."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from stompd.broker.pattern import MANY, ONE, words_of
from stompd.protocol.errors import RemoteProtocolError, shown

NAME_LIMIT: Final = 255
# Destinations of one SEND or SUBSCRIBE: each may be a queue that is made for it.
COMPOSITE_LIMIT: Final = 64
# A dead-letter queue's name is made of its queue's, and has to stay within reach of SUBSCRIBE.
SUBSCRIBED_LIMIT: Final = NAME_LIMIT + 64

# RabbitMQ's exchange of topics: other names for the topics.
_TOPICS: Final = "amq.topic"
# Its other exchanges that are always there: a topic each, or one for each key.
_DIRECT: Final = "amq.direct"
_FANOUT: Final = "amq.fanout"

# A comma parts destinations only where the next one says of what kind it is: `a,b` is a name.
_PART: Final = re.compile(
    r",(?= *+/(?:queue|topic|temp-queue|temp-topic|remote-temp-queue|remote-temp-topic"
    r"|exchange|amq/queue)/)"
)
# SENDs to a name that begins so are requests.
ADMIN: Final = "/admin/"

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
    # The exchange that it belongs to, and that has to be there: /exchange/NAME/KEY.
    exchange: str = ""
    # Of several in one, /queue/a,/topic/b: each of them; then it has no words of its own.
    parts: tuple[Destination, ...] = ()

    @property
    def first(self) -> Destination:
        """Of several in one the first, whose policy is that of the subscription; else itself."""
        return self.parts[0] if self.parts else self

    @property
    def depth(self) -> int:
        """How many of its words tell its kind, and its exchange."""
        return 2 if self.words[0] == "exchange" else 1

    @property
    def rest(self) -> str:
        """The name without them: of an exchange it is the key."""
        before = self.depth + 1
        return "".join(self.name.split("/", before)[before:])


_PREFIXES: Final = {
    "/queue/": (Kind.QUEUE, False, False),
    "/topic/": (Kind.TOPIC, False, False),
    "/temp-queue/": (Kind.QUEUE, True, False),
    "/temp-topic/": (Kind.TOPIC, True, False),
    "/remote-temp-queue/": (Kind.QUEUE, False, True),
    "/remote-temp-topic/": (Kind.TOPIC, False, True),
}


def parse(text: str, *, limit: int = NAME_LIMIT) -> Destination:
    """Return the one destination that ``text`` names; a name has at most ``limit`` octets.

    Raises `RemoteProtocolError` for a name that stompd does not accept, saying why (S-03).
    """
    if "," in text and _PART.search(text):
        raise RemoteProtocolError(
            "several destinations", f'"{shown(text)}"; here one is meant, not a list of them'
        )
    return _parse(text, limit)


def parse_several(text: str, *, limit: int = NAME_LIMIT) -> Destination:
    """Return the destination that ``text`` names, or several as one with ``parts``.

    Raises `RemoteProtocolError` as `parse` does, and for too many.
    """
    texts = _PART.split(text) if "," in text else [text]
    if len(texts) > COMPOSITE_LIMIT:
        raise RemoteProtocolError(
            "too many destinations", f"{len(texts)} in one header; it may name {COMPOSITE_LIMIT}"
        )
    parts = {part.name: part for part in (_parse(one, limit) for one in texts)}
    found = tuple(parts.values())
    if len(found) == 1:
        return found[0]
    kind = Kind.QUEUE if all(part.kind is Kind.QUEUE for part in found) else Kind.TOPIC
    wild = any(part.wild for part in found)
    return Destination(",".join(parts), kind, (), wild=wild, parts=found)


def parse_subscribed(text: str) -> Destination:
    """Return what a SUBSCRIBE to ``text`` means: one destination or several.

    An exchange without a key means everything that is sent to it.
    Raises `RemoteProtocolError` as `parse_several` does.
    """
    destination = parse_several(text, limit=SUBSCRIBED_LIMIT)
    if not destination.parts:
        return _whole(destination)
    parts = tuple(_whole(part) for part in destination.parts)
    return replace(destination, parts=parts, wild=any(part.wild for part in parts))


def _whole(destination: Destination) -> Destination:
    if destination.exchange and destination.words == ("exchange", destination.exchange):
        return replace(destination, words=(*destination.words, MANY), wild=True)
    return destination


def _parse(text: str, limit: int) -> Destination:
    if text[:1] != "/":
        _check(text, text, limit)
        return _destination(f"/queue/{text}", Kind.QUEUE)
    for prefix, (kind, temporary, remote) in _PREFIXES.items():
        if text.startswith(prefix):
            _check(text[len(prefix) :], text, limit)
            return _destination(text, kind, temporary=temporary, remote=remote)
    if text.startswith("/amq/queue/"):
        return _parse(text.removeprefix("/amq"), limit)
    if text.startswith("/exchange/"):
        return _exchange(text, limit)
    if text.startswith(ADMIN):
        hint = "an admin request is a SEND; SUBSCRIBE to its reply-to for the answer"
    else:
        hint = "a destination is /queue/NAME, /topic/NAME, /temp-queue/NAME or /temp-topic/NAME"
    raise RemoteProtocolError("unknown kind of destination", f'"{shown(text)}"; {hint}')


def _exchange(text: str, limit: int) -> Destination:
    """Return the destination that RabbitMQ's clients call /exchange/NAME or /exchange/NAME/KEY."""
    name, _, key = text.removeprefix("/exchange/").partition("/")
    _check(name, text, limit)
    if name == _TOPICS:
        _check(key, text, limit)
        return _destination(f"/topic/{key}", Kind.TOPIC)
    if name == _FANOUT:
        return Destination(f"/exchange/{_FANOUT}", Kind.TOPIC, ("exchange", _FANOUT))
    text = text.removesuffix("/") if not key else text
    _check(text.removeprefix("/exchange/"), text, limit)
    if name == _DIRECT:
        # A key is matched as it is, so it is one word, and never a wildcard.
        return Destination(text, Kind.TOPIC, ("exchange", _DIRECT, key))
    # The name is one word, whatever is in it: no wildcard reaches from one exchange to another.
    words = ("exchange", name, *(words_of(f"key/{key}")[1:] if key else ()))
    if name in _WILD or name in ("**", ">"):
        raise RemoteProtocolError(
            "malformed destination name",
            f'"{shown(text)}": wildcards stand behind the name of an exchange',
        )
    wild = not _WILD.isdisjoint(words)
    return Destination(text, Kind.TOPIC, words, wild=wild, exchange=name)


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
