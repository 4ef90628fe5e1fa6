"""Wildcards over the words of destination names.

``*`` is one word, ``#`` and ``**`` any number of them, ``>`` the same at the end. No wildcard takes
a word that begins with ``$``: those are the broker's own, and have to be named.
"""

import re
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

ONE: Final = "*"
MANY: Final = "#"
# Any number of words, those with a `$` included; for `overlap` alone, nobody can write it.
ANY: Final = "\0"

_SEVERAL: Final = (MANY, ANY)
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
                (first in _SEVERAL and reached[i + 1, j])
                or (second in _SEVERAL and reached[i, j + 1])
                or (j < ends[1] and _takes(first, second) and reached[i, j + 1])
                or (i < ends[0] and _takes(second, first) and reached[i + 1, j])
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


def _takes(wildcard: str, word: str) -> bool:
    """Return whether a wildcard for any number of words takes a word of the other side."""
    return wildcard == ANY or (wildcard == MANY and _taken(word))


def _taken(word: str) -> bool:
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
        end = len(words)
        waiting = [(self._root, 0)]
        # A node has one way to it but for the words that a `#` takes: without this, patterns such
        # as #.#.#.# would cost more than nodes times words.
        been: set[tuple[int, int]] = set()
        while waiting:
            node, at = waiting.pop()
            children = node.children
            many = children.get(MANY)
            if many is not None:
                for skip in range(at, end + 1):
                    if (id(many), skip) in been:
                        break
                    been.add((id(many), skip))
                    waiting.append((many, skip))
                    if skip < end and words[skip].startswith("$"):
                        break
            if at == end:
                for value in node.values:
                    found[id(value)] = value
                continue
            word = words[at]
            if not word.startswith("$"):
                one = children.get(ONE)
                if one is not None:
                    waiting.append((one, at + 1))
            exact = children.get(word)
            if exact is not None:
                waiting.append((exact, at + 1))
        return list(found.values())


class NameIndex(Generic[T]):
    """Values filed under names, to be found by pattern.

    Every word knows whose it is. A pattern is compared with those alone that have its rarest word:
    it may begin with a wildcard, and nearly all names may begin alike.
    """

    __slots__ = ("_all", "_by_word")

    def __init__(self) -> None:
        self._all: dict[T, Sequence[str]] = {}
        self._by_word: dict[str, dict[T, Sequence[str]]] = {}

    def add(self, words: Sequence[str], value: T) -> None:
        """File a value under the words of a name; it may not be there yet."""
        self._all[value] = words
        for word in words:
            self._by_word.setdefault(word, {})[value] = words

    def remove(self, value: T) -> None:
        """Take a value away."""
        for word in set(self._all.pop(value)):
            others = self._by_word[word]
            del others[value]
            if not others:
                del self._by_word[word]

    def match(self, pattern: Sequence[str]) -> list[T]:
        """Return the values of all names that a pattern matches, oldest first."""
        found = self._all
        for word in pattern:
            if word not in (ONE, MANY):
                others = self._by_word.get(word)
                if others is None:
                    return []
                if len(others) < len(found):
                    found = others
        return [value for value, words in found.items() if matches(pattern, words)]
