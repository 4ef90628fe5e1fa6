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


def overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether there is a name that both patterns match."""
    # Whether what is left of both can match the same, from the ends on.
    ends = len(one), len(other)
    reached: dict[tuple[int, int], bool] = {ends: True}
    for i in range(ends[0], -1, -1):
        for j in range(ends[1], -1, -1):
            if (i, j) == ends:
                continue
            first = one[i] if i < ends[0] else ""
            second = other[j] if j < ends[1] else ""
            reached[i, j] = (
                # One `#` takes nothing more, or a word of the other side.
                (first == MANY and reached[i + 1, j])
                or (second == MANY and reached[i, j + 1])
                or (first == MANY and j < ends[1] and _taken(second) and reached[i, j + 1])
                or (second == MANY and i < ends[0] and _taken(first) and reached[i + 1, j])
                or (
                    i < ends[0]
                    and j < ends[1]
                    and (
                        first == second
                        or (first == ONE and _taken(second))
                        or (second == ONE and _taken(first))
                    )
                    and reached[i + 1, j + 1]
                )
            )
    return reached[0, 0]


def _taken(word: str) -> bool:
    """Return whether a wildcard takes a word of the other side."""
    return not word.startswith("$")


def captures(pattern: Sequence[str], words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return which words each wildcard of a pattern stands for, as slices; None if it matches not.

    A ``#`` takes as few words as it can, the first one first.
    """
    length = len(words)
    # fits[i][j]: whether the pattern from i on matches the words from j on.
    fits = [[False] * (length + 1) for _ in range(len(pattern) + 1)]
    fits[-1][length] = True
    for i in range(len(pattern) - 1, -1, -1):
        for j in range(length, -1, -1):
            taken = j < length and (
                _taken(words[j]) if pattern[i] in (ONE, MANY) else pattern[i] == words[j]
            )
            if pattern[i] == MANY:
                fits[i][j] = fits[i + 1][j] or (taken and fits[i][j + 1])
            else:
                fits[i][j] = taken and fits[i + 1][j + 1]
    if not fits[0][0]:
        return None
    found = []
    at = 0
    for i, word in enumerate(pattern):
        start = at
        if word == MANY:
            while not fits[i + 1][at]:
                at += 1
        else:
            at += 1
        if word in (ONE, MANY):
            found.append((start, at))
    return found


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

    def under(self, pattern: Sequence[str]) -> list[T]:
        """Return the values that are filed under names, not patterns, which a pattern matches.

        It takes the time of what is found, and of names that begin alike.
        """
        found: list[T] = []
        for node in _under(self._root, pattern, 0, set()):
            found += node.values
        return found


def _under(
    node: _Node[T], pattern: Sequence[str], at: int, been: set[tuple[int, int]]
) -> Iterator[_Node[T]]:
    if (id(node), at) in been:
        return
    been.add((id(node), at))
    if at == len(pattern):
        yield node
        return
    word = pattern[at]
    if word not in (ONE, MANY):
        child = node.children.get(word)
        if child is not None:
            yield from _under(child, pattern, at + 1, been)
        return
    if word == MANY:
        yield from _under(node, pattern, at + 1, been)
    for name, child in node.children.items():
        if _taken(name):
            yield from _under(child, pattern, at if word == MANY else at + 1, been)


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
