"""Wildcards over the words of destination names.

``*`` is one word, ``#`` and ``**`` any number of them, ``>`` the same at the end. No wildcard takes
a word that begins with ``$``: those are the broker's own, and have to be named.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Generic, TypeVar

ONE: Final = "*"
MANY: Final = "#"

_SEPARATOR: Final = re.compile(r"[./]")

T = TypeVar("T")


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name or pattern, its kind first; wildcards in canonical spelling."""
    words = _SEPARATOR.split(name.removeprefix("/"))
    last = len(words) - 1
    return tuple(
        MANY if word == "**" or (word == ">" and place == last) else word
        for place, word in enumerate(words)
    )


def matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Return whether the words of a name match a pattern's; neither has to be of equal length."""
    # Whether the pattern so far matches the first n words, for every n: no more steps than words
    # times words, however many `#` somebody writes.
    reached = [True] + [False] * len(words)
    for word in pattern:
        if word == MANY:
            for place, other in enumerate(words):
                if reached[place] and not other.startswith("$"):
                    reached[place + 1] = True
            continue
        reached = [False] + [
            before and (not other.startswith("$") if word == ONE else other == word)
            for before, other in zip(reached, words, strict=False)
        ]
    return reached[-1]


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: list[T] = []


class PatternTree(Generic[T]):
    """Values filed under patterns, to be found by name in the time of the name's length."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: Sequence[str], value: T) -> None:
        """File a value under a pattern."""
        node = self._root
        for word in pattern:
            node = node.children.setdefault(word, _Node())
        node.values.append(value)

    def remove(self, pattern: Sequence[str], value: T) -> None:
        """Take a value away from the pattern that it was filed under."""
        path = [self._root]
        for word in pattern:
            path.append(path[-1].children[word])
        path[-1].values.remove(value)
        for word, parent, node in zip(reversed(pattern), path[-2::-1], path[:0:-1], strict=True):
            if node.values or node.children:
                return
            del parent.children[word]

    def match(self, words: Sequence[str]) -> list[T]:
        """Return the values of all patterns that match the words of a name, each once."""
        found: dict[int, T] = {}
        for node in _walk(self._root, words, 0, set()):
            for value in node.values:
                found[id(value)] = value
        return list(found.values())


def _walk(
    node: _Node[T], words: Sequence[str], at: int, been: set[tuple[int, int]]
) -> Iterator[_Node[T]]:
    # `been` keeps patterns such as #.#.#.# from costing more than nodes times words.
    if (id(node), at) in been:
        return
    been.add((id(node), at))
    many = node.children.get(MANY)
    if many is not None:
        for skip in range(at, len(words) + 1):
            yield from _walk(many, words, skip, been)
            if skip < len(words) and words[skip].startswith("$"):
                break
    if at == len(words):
        yield node
        return
    word = words[at]
    exact = node.children.get(word)
    if exact is not None:
        yield from _walk(exact, words, at + 1, been)
    if not word.startswith("$"):
        one = node.children.get(ONE)
        if one is not None:
            yield from _walk(one, words, at + 1, been)
