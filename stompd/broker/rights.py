"""Rights: an ordered list of rules, and what they let somebody do.

Of the rules that concern somebody, a right and a destination the first one decides; without any the
answer is no. A pattern, as of a wildcard subscription, needs the right for all that it can match:
one rule has to allow that, and none before it may deny any of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from stompd.broker.destination import ADMIN as REQUESTS
from stompd.broker.destination import Destination, Kind, parse_subscribed
from stompd.broker.pattern import MANY, ONE, words_of
from stompd.broker.principal import ADMIN, Principal
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

Right = Literal["connect", "send", "receive", "browse", "create", "monitor", "admin"]

RIGHTS: Final[tuple[Right, ...]] = get_args(Right)
ALL: Final = "#"
"""The pattern of everything that has a name."""
USER: Final = "{user}"
"""Stands in patterns for the name of whoever asks."""

# Wildcards of rules. They take every word, those that begin with `$` included, and nobody's name
# can hold them.
_ONE: Final = "\0*"
_MANY: Final = "\0#"
_SEPARATOR: Final = re.compile(r"[./]")
# Names that are asked for; beyond that all are forgotten.
_MOST_KNOWN: Final = 10_000

Words = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """Allows or denies rights to somebody; raises `ValueError` with a sentence if it cannot be."""

    allows: bool
    # A user, `@` and a group, or `*` for everybody.
    who: str
    rights: tuple[Right, ...]
    # A destination or a pattern, as in SUBSCRIBE; `#` alone is everything.
    on: str = ALL
    # None: in all of them.
    vhost: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can never apply, and what is most likely meant otherwise."""
        if not self.who or self.who == "@":
            raise ValueError("it has to say for whom: a user, @group, or * for everybody")
        unknown = [right for right in self.rights if right not in RIGHTS]
        if unknown or not self.rights:
            said = f'"{shown(unknown[0])}" is no right' if unknown else "it names no right"
            raise ValueError(f"{said}; there are {', '.join(RIGHTS)}")
        if "connect" in self.rights and self.on != ALL and self.rights != RIGHTS:
            raise ValueError("connect is for a virtual host, so it takes no destination but #")
        compiled(self.on)

    def __str__(self) -> str:
        verb = "allow" if self.allows else "deny"
        rights = "all" if self.rights == RIGHTS else ",".join(self.rights)
        end = "" if self.vhost is None else f" in {self.vhost}"
        return f"{verb} {self.who} {rights} {self.on}{end}"

    def concerns(self, principal: Principal, vhost: str) -> bool:
        """Return whether it says something of somebody in a virtual host."""
        if self.vhost not in (None, vhost):
            return False
        if self.who == "*":
            return True
        if self.who.startswith("@"):
            return self.who[1:] in principal.groups
        return self.who == principal.name


def compiled(pattern: str) -> Words:
    """Return the words of a rule's pattern, ``{user}`` in them as it is; raise `ValueError`."""
    if pattern == ALL:
        return (_MANY,)
    if pattern.startswith((REQUESTS, "/remote-temp-queue/", "/remote-temp-topic/")):
        return tuple(map(_wildcard, words_of(pattern)))
    if pattern.startswith("/exchange/") and not pattern.startswith("/exchange/amq.topic/"):
        # Here wildcards stand for exchanges, and for keys, as well.
        name, _, key = pattern.removeprefix("/exchange/").partition("/")
        if not name:
            raise ValueError(f'"{shown(pattern)}" names no exchange')
        keys = (key or MANY,) if name == "amq.direct" else words_of(f"key/{key or MANY}")[1:]
        return ("exchange", _wildcard(name), *map(_wildcard, keys))
    if not pattern.startswith("/"):
        raise ValueError(
            f'"{shown(pattern)}" is neither #, for everything, nor a destination with its kind, '
            "such as /queue/orders.#"
        )
    try:
        destination = parse_subscribed(pattern)
    except RemoteProtocolError as error:
        raise ValueError(error.detail) from error
    if destination.parts or destination.temporary:
        what = "several destinations" if destination.parts else "a temporary destination"
        raise ValueError(f'"{shown(pattern)}" is {what}; a rule is for one name or pattern')
    return tuple(map(_wildcard, destination.words)) if destination.wild else destination.words


def _wildcard(word: str) -> str:
    if word == ONE:
        return _ONE
    return _MANY if word in (MANY, "**") else word


def _for(words: Words, name: str | None) -> Words | None:
    """Return a pattern's words with the name of a user; None if it is for users with a name."""
    if not any(USER in word for word in words):
        return words
    if name is None:
        return None
    # What stands in a name is never a wildcard, and parts words as it does in a destination.
    return tuple(
        part
        for word in words
        for part in (_SEPARATOR.split(word.replace(USER, name)) if USER in word else (word,))
    )


def covers(pattern: Words, words: Sequence[str], *, wild: bool) -> bool:
    """Return whether a rule's pattern matches a name, or, if ``wild``, all that a pattern matches.

    Of two patterns that match the same and are written differently it may say no.
    """
    reached = [True] + [False] * len(words)
    for word in pattern:
        if word == _MANY:
            for place in range(len(words)):
                if reached[place]:
                    reached[place + 1] = True
            continue
        reached = [False] + [
            before
            and (
                not (wild and other == MANY)
                if word == _ONE
                else other == word and not (wild and other in (ONE, MANY))
            )
            for before, other in zip(reached, words, strict=False)
        ]
    return reached[-1]


def meets(pattern: Words, words: Sequence[str]) -> bool:
    """Return whether there is a name that a rule's pattern and another one both match."""
    ends = len(pattern), len(words)
    # Whether what is left of both can match the same, from the ends on.
    after = [False] * (ends[1] + 1)
    for i in range(ends[0], -1, -1):
        here = [False] * (ends[1] + 1)
        mine = pattern[i] if i < ends[0] else None
        for j in range(ends[1], -1, -1):
            other = words[j] if j < ends[1] else None
            fits = mine is None and other is None
            if mine == _MANY:
                fits = after[j] or (other is not None and here[j + 1])
            elif other == MANY:
                fits = here[j + 1] or (mine is not None and _taken(mine) and after[j])
            elif mine is not None and other is not None:
                fits = after[j + 1] and (mine in (_ONE, other) or (other == ONE and _taken(mine)))
            here[j] = fits
        after = here
    return after[0]


def _taken(word: str) -> bool:
    """Return whether a wildcard of a subscription takes a rule's word."""
    return not word.startswith("$")


USUAL: Final = (
    Rule(allows=True, who="*", rights=("connect", "send", "receive", "browse", "create")),
)
"""The rules where there are users and nobody has written any."""
_LAST: Final = Rule(allows=True, who=f"@{ADMIN}", rights=RIGHTS)


class Grant:
    """What one or several with the same rights may do in a virtual host."""

    __slots__ = ("_known", "_rules", "connects")

    def __init__(self, rules: Iterable[tuple[bool, Collection[Right], Words]]) -> None:
        self._rules: dict[Right, list[tuple[bool, Words]]] = {right: [] for right in RIGHTS}
        for allows, rights, words in rules:
            for right in rights:
                self._rules[right].append((allows, words))
        # What was asked already.
        self._known: dict[tuple[Right, str], bool] = {}
        self.connects = self._decide("connect", (), wild=False)

    def may(self, right: Right, destination: Destination) -> bool:
        """Return whether the right is there for a destination, or for all that a pattern matches.

        Several in one are asked for one by one.
        """
        key = right, destination.name
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._decide(right, destination.words, wild=destination.wild)
            self._known[key] = known
        return known

    def has(self, right: Right) -> bool:
        """Return whether the right is there for anything at all."""
        return any(allows for allows, _ in self._rules[right])

    def _decide(self, right: Right, words: Words, *, wild: bool) -> bool:
        for allows, pattern in self._rules[right]:
            if _decides(pattern, words, allows=allows, wild=wild):
                return allows
        return False


def _decides(pattern: Words, words: Words, *, allows: bool, wild: bool) -> bool:
    """Return whether a rule says something of a name, or of all that a pattern matches.

    To deny a part of that is to deny it.
    """
    if wild and not allows:
        return meets(pattern, words)
    return covers(pattern, words, wild=wild)


class Rights:
    """The rules in force; members of the group ``admin`` may do what none of them denies."""

    __slots__ = ("_compiled", "_grants", "rules")

    def __init__(self, rules: Iterable[Rule] = USUAL) -> None:
        self.rules = tuple(rules)
        self._compiled = [(rule, compiled(rule.on)) for rule in (*self.rules, _LAST)]
        # By what the rules come to for somebody: users who may do the same share one.
        self._grants: dict[object, Grant] = {}

    def grant(self, principal: Principal, vhost: str) -> Grant:
        """Return what somebody may do in a virtual host."""
        rules = [(rule.allows, rule.rights, words) for rule, words in self._of(principal, vhost)]
        key = tuple(rules)
        grant = self._grants.get(key)
        if grant is None:
            if len(self._grants) >= _MOST_KNOWN:
                self._grants.clear()
            grant = self._grants[key] = Grant(rules)
        return grant

    def deciding(self, principal: Principal, vhost: str, right: Right, name: str) -> Rule | None:
        """Return the rule by which somebody has a right to a destination, or has not.

        None if no rule concerns it; then it is denied. Raises `RemoteProtocolError` for a name that
        is none.
        """
        destination = EVERYTHING if name == ALL else named(name)
        words = () if right == "connect" else destination.words
        for rule, pattern in self._of(principal, vhost):
            if right in rule.rights and _decides(
                pattern, words, allows=rule.allows, wild=destination.wild
            ):
                return rule
        return None

    def _of(self, principal: Principal, vhost: str) -> Iterator[tuple[Rule, Words]]:
        """Give the rules that concern somebody in a virtual host, with the words of each."""
        for rule, pattern in self._compiled:
            if rule.concerns(principal, vhost):
                words = _for(pattern, principal.name)
                if words is not None:
                    yield rule, words


def named(name: str) -> Destination:
    """Return the destination, or the request, of which somebody asks for a right."""
    if name.startswith(REQUESTS):
        return request(name.removeprefix(REQUESTS))
    return parse_subscribed(name)


EVERYTHING: Final = Destination(ALL, Kind.QUEUE, (MANY,), wild=True)
"""What only those have a right to who have it to all that has a name."""


def request(verb: str) -> Destination:
    """Return what stands for the requests of a verb where rights are asked for."""
    name = f"{REQUESTS}{verb}"
    return Destination(name, Kind.QUEUE, words_of(name))


# While there are no users: peers on this machine, and others.
_NEAR: Final = Grant([(True, RIGHTS, (_MANY,))])
_FAR: Final = Grant([(True, USUAL[0].rights, (_MANY,))])


def without_users(principal: Principal) -> Grant:
    """Return what somebody may do while there are no users and no rules."""
    return _NEAR if principal.trusted else _FAR
