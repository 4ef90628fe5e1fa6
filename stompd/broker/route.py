"""Routes: where else a message goes, by where it was sent to and what its headers say.

A route takes what clients SEND to the destinations that its pattern matches, and copies or moves it
to others. What it delivers to a queue or a topic stays there and is not routed again. An exchange
is a place for routes to meet: what a route sends to ``/exchange/NAME/KEY`` goes on by the routes
from there. So only exchanges could lead a message back to where it was, and routes that would are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from stompd.broker.destination import SUBSCRIBED_LIMIT, Destination, parse, parse_subscribed
from stompd.broker.event import OWN
from stompd.broker.pattern import ANY, MANY, ONE, PatternTree, captures, overlap
from stompd.broker.selector import compile_selector
from stompd.protocol.errors import RemoteProtocolError, shown

if TYPE_CHECKING:
    from stompd.broker.selector import Selector

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
# Of names that begin in two ways, the one that is kept.
_SPELLINGS: Final = (("/amq/queue/", "/queue/"), ("/exchange/amq.topic/", "/topic/"))
# Where it is a word, with the separator before it: what stands for nothing leaves no empty word.
_FILLED: Final = re.compile(r"(?:(?<=[^./])([./])(?=\{[^{}]*\}(?:[./]|$)))?\{([^{}]*)\}")
_SEPARATOR: Final = re.compile(r"([./])")
_WORD: Final = re.compile(r"[^./]+")


@dataclass(frozen=True)
class Route:
    """What the settings, or a request, say of one route."""

    # For people: to list it, to remove it.
    name: str
    # A destination or a pattern, as in SUBSCRIBE; of an exchange also without a key: all of it.
    match: str
    # Destinations; `{name}` is what was sent to, without its kind (of an exchange the key), and
    # `{1}`, `{2}` what the wildcards of `match` stand for.
    to: tuple[str, ...]
    # A selector: only messages of which it is true.
    when: str | None = None
    # Instead of the destination that it was sent to, not besides.
    move: bool = False


class Reached(NamedTuple):
    """A destination that a message comes to, and the routes that lead there, first one first."""

    destination: Destination
    routes: tuple[str, ...]


class Step:
    """A destination on the way of a message, and what leads on from there."""

    __slots__ = ("branches", "destination")

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.branches: list[Branch] = []


class Branch(NamedTuple):
    """One route at one place: the steps that it leads to."""

    route: Route
    selector: Selector | None
    steps: list[Step]


def conditional(steps: Iterable[Step]) -> bool:
    """Return whether it depends on the message where it goes from these steps."""
    been: set[Step] = set()
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        if step not in been:
            been.add(step)
            for branch in step.branches:
                if branch.selector is not None:
                    return True
                waiting += branch.steps
    return False


def reached(steps: Iterable[Step], headers: Mapping[str, str]) -> list[Reached]:
    """Return what a message with these headers reaches from some steps, each destination once."""
    found: dict[str, Reached] = {}
    been: set[Step] = set()

    def reach(step: Step, routes: tuple[str, ...]) -> None:
        # Two ways may lead to one exchange: what is behind it is reached already.
        if step in been:
            return
        been.add(step)
        branches = [b for b in step.branches if b.selector is None or b.selector.matches(headers)]
        if not any(branch.route.move for branch in branches):
            found.setdefault(step.destination.name, Reached(step.destination, routes))
        for branch in branches:
            for other in branch.steps:
                reach(other, (*routes, branch.route.name))

    for step in steps:
        reach(step, ())
    return list(found.values())


class _Template:
    """A destination to be made of the one that a message was sent to."""

    __slots__ = ("_fixed", "_text", "exchange", "words")

    def __init__(self, text: str, source: Destination) -> None:
        # In one spelling, and with its kind: what is filled in can never make another kind of it.
        self._text = text if text.startswith("/") else f"/queue/{text}"
        for old, new in _SPELLINGS:
            if text.startswith(old):
                self._text = new + text.removeprefix(old)
        wildcards = [word for word in source.words if source.wild and word in (ONE, MANY)]
        known = ["name", *(str(number) for number in range(1, len(wildcards) + 1))]
        asked = _PLACEHOLDER.findall(text)
        for name in asked:
            if name not in known:
                there = ", ".join(f"{{{name}}}" for name in known)
                raise _malformed(text, f"{{{name}}} stands for nothing; there is {there}")
        sample = self._parse(dict.fromkeys(known, "x"))
        self._fixed = None if asked else sample
        self.exchange = sample.exchange
        depth = sample.depth
        segments = self._text.split("/", depth + 1)
        if sample.exchange and "{" in segments[depth]:
            raise _malformed(text, "the name of an exchange cannot be filled in")
        # A pattern of all that it can make.
        words = list(sample.words[:depth])
        for word in _WORD.findall("".join(segments[depth + 1 :])):
            match = _PLACEHOLDER.fullmatch(word)
            if match is None:
                words.append(ANY if _PLACEHOLDER.search(word) else word)
            elif match[1] == "name":
                words += source.words[source.depth :]
            else:
                words.append(wildcards[int(match[1]) - 1])
        self.words = tuple(words)

    def _parse(self, values: Mapping[str, str]) -> Destination:
        def filled(match: re.Match[str]) -> str:
            value = values[match[2]]
            return (match[1] or "") + value if value else ""

        text = _FILLED.sub(filled, self._text)
        try:
            made = parse(text, limit=SUBSCRIBED_LIMIT)
        except RemoteProtocolError as error:
            raise RemoteProtocolError("malformed route", error.detail) from error
        why = None
        if made.wild:
            why = "a message does not go to a wildcard"
        elif made.temporary or made.remote:
            why = "a temporary destination belongs to its connection"
        elif made.name.startswith(OWN):
            why = "what begins with /topic/$SYS is published by the broker alone"
        if why is not None:
            raise _malformed(text, why)
        return made

    def fill(self, values: Mapping[str, str]) -> Destination:
        """Return the destination; raise `RemoteProtocolError` if no such name is allowed."""
        return self._fixed or self._parse(values)


def source_of(text: str) -> Destination:
    """Return what a route that matches ``text`` leads from.

    Raises `RemoteProtocolError` for what is no destination or pattern, or not one for a route.
    """
    source = parse_subscribed(text)
    if source.parts:
        raise _malformed(text, "a route leads from one destination or pattern")
    if source.temporary or source.remote:
        raise _malformed(text, "a temporary destination belongs to its connection")
    return source


class _Rule:
    """A route, ready to be asked."""

    __slots__ = ("order", "route", "selector", "source", "templates")

    def __init__(self, route: Route, order: int) -> None:
        self.route = route
        self.order = order
        if not route.name or route.name != route.name.strip() or not route.name.isprintable():
            raise _malformed(route.name, "this is no name that can be read and typed")
        self.source = source_of(route.match)
        self.selector = None if route.when is None else compile_selector(route.when)
        if not route.to:
            raise _malformed(route.name, "it leads nowhere; there must be one destination at least")
        self.templates = [_Template(text, self.source) for text in route.to]
        for text, template in zip(route.to, self.templates, strict=True):
            if template.words == self.source.words:
                raise _malformed(text, f"it leads back to its source, {shown(route.match)}")

    def made(self, destination: Destination) -> list[Destination]:
        """Return where a message that was sent to ``destination`` goes by this route.

        Raises `RemoteProtocolError` if that is a name that is not allowed.
        """
        slices = captures(self.source.words, destination.words)
        assert slices is not None  # noqa: S101 - the tree says so
        values = {"name": destination.rest}
        pieces = _SEPARATOR.split(destination.rest)
        depth = destination.depth
        for number, (start, end) in enumerate(slices, 1):
            between = slice(2 * (start - depth), max(0, 2 * (end - depth) - 1))
            values[str(number)] = "".join(pieces[between]) if end > start else ""
        try:
            return [template.fill(values) for template in self.templates]
        except RemoteProtocolError as error:
            raise RemoteProtocolError(
                "route leads nowhere",
                f'"{shown(self.route.name)}", from "{shown(destination.name)}": {error.detail}',
            ) from error

    def leads_to(self, other: _Rule) -> bool:
        """Return whether what this route sends to an exchange may go on by the other."""
        return any(
            template.exchange and overlap(template.words, other.source.words)
            for template in self.templates
        )


class Router:
    """The routes of a virtual host; it never changes, so what was worked out with one stays true.

    Sessions hold it, and with each SEND that is repeated stays the router that its way was worked
    out with: another router is a reason to work it out again.
    """

    __slots__ = ("_exchanges", "_rules", "_tree", "routes")

    def __init__(self, routes: Iterable[Route] = (), known: Iterable[_Rule] = ()) -> None:
        """Raise `RemoteProtocolError` for a route that cannot be, or that closes a loop.

        ``known`` are rules of another router: they come first, and are known to be no loop.
        """
        self._rules: dict[str, _Rule] = {}
        self._tree: PatternTree[_Rule] = PatternTree()
        # Those that a route leads from or to.
        self._exchanges: set[str] = set()
        for rule in known:
            self._add(rule)
        for route in routes:
            self._admit(route)
        self.routes = tuple(rule.route for rule in self._rules.values())

    def __repr__(self) -> str:
        return f"<Router routes={len(self.routes)}>"

    def _admit(self, route: Route) -> None:
        if route.name in self._rules:
            raise RemoteProtocolError(
                "route name in use", f'there is a route "{shown(route.name)}"; take another name'
            )
        last = next(reversed(self._rules.values()), None)
        rule = _Rule(route, 0 if last is None else last.order + 1)
        self._add(rule)
        loop = self._loop(rule)
        if loop:
            names = " -> ".join(f'"{shown(name)}"' for name in loop)
            raise RemoteProtocolError(
                "routes in a loop",
                f"a message could come back to where it was by {names}; "
                "what a route sends to an exchange must not reach the route again",
            )

    def _add(self, rule: _Rule) -> None:
        self._rules[rule.route.name] = rule
        self._tree.add(rule.source.words, rule)
        self._exchanges |= {rule.source.exchange, *(each.exchange for each in rule.templates)}

    def _loop(self, rule: _Rule) -> list[str]:
        """Return the names of the routes by which a route may reach itself; none if it cannot."""
        if not any(template.exchange for template in rule.templates):
            return []
        before: dict[str, str] = {}
        waiting = [rule]
        while waiting:
            at = waiting.pop()
            for other in self._rules.values():
                if other.route.name in before or not at.leads_to(other):
                    continue
                before[other.route.name] = at.route.name
                if other is not rule:
                    waiting.append(other)
                    continue
                loop = [rule.route.name]
                while len(loop) == 1 or loop[-1] != rule.route.name:
                    loop.append(before[loop[-1]])
                return loop[::-1]
        return []

    def added(self, route: Route) -> Router:
        """Return a router with one route more; raise `RemoteProtocolError` as the class does."""
        return Router((route,), self._rules.values())

    def removed(self, name: str) -> Router:
        """Return a router without a route; raise `RemoteProtocolError` if there is none."""
        if name not in self._rules:
            raise RemoteProtocolError("no such route", f'"{shown(name)}"')
        return Router(known=(rule for rule in self._rules.values() if rule.route.name != name))

    def free_name(self) -> str:
        """Return a name that no route has, for one that was added without a name."""
        return next(name for number in count(1) if (name := f"route-{number}") not in self._rules)

    def check(self, destination: Destination) -> None:
        """Raise `RemoteProtocolError` for an exchange that no route leads from or to."""
        if destination.exchange and destination.exchange not in self._exchanges:
            raise RemoteProtocolError(
                "no such exchange",
                f'"{shown(destination.exchange)}"; there are amq.topic, amq.direct, amq.fanout '
                "and those that a route leads from or to",
            )

    def step(self, destination: Destination, known: dict[str, Step]) -> Step:
        """Return where a message that is sent to ``destination`` goes on.

        ``known`` has the steps of exchanges that were met already. Raises `RemoteProtocolError` for
        an exchange that is not there, and for a route that makes a name that is not allowed.
        """
        self.check(destination)
        step = known.get(destination.name)
        if step is not None:
            return step
        step = known[destination.name] = Step(destination)
        rules = self._tree.match(destination.words)
        rules.sort(key=lambda rule: rule.order)
        # This comes to an end, because no route reaches itself.
        step.branches = [
            Branch(
                rule.route,
                rule.selector,
                [
                    self.step(made, known) if made.exchange else Step(made)
                    for made in rule.made(destination)
                ],
            )
            for rule in rules
        ]
        return step


def _malformed(text: str, why: str) -> RemoteProtocolError:
    return RemoteProtocolError("malformed route", f'"{shown(text)}": {why}')
