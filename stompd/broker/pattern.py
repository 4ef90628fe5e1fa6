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
    places, plain = _places(words)
    reached = 1
    for word in pattern:
        reached = _onward(word, reached, places, plain)
        if not reached:
            return False
    return bool(reached >> len(words))


# Which of the first n words of a name a pattern matches is one number here, with bit n for them: so
# all of them go a word further at once, and no pattern costs more than it has words, however many
# `#` somebody writes.


def _places(words: Sequence[str]) -> tuple[dict[str, int], int]:
    """Return where each word of a name is, as bits, and where those are that wildcards take."""
    places: dict[str, int] = {}
    plain = 0
    bit = 1
    for word in words:
        places[word] = places.get(word, 0) | bit
        if not word.startswith("$"):
            plain |= bit
        bit <<= 1
    return places, plain


def _onward(word: str, reached: int, places: dict[str, int], plain: int) -> int:
    """Return what is reached after one more word of the pattern."""
    if word == MANY:
        # A carry runs from each place through all that is plain behind it.
        return (((reached & plain) + plain) ^ plain) | reached
    if word == ONE:
        return (reached & plain) << 1
    return (reached & places.get(word, 0)) << 1


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
    """Values filed under patterns, to be found by name; no part of a pattern is looked at twice."""

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
        places, plain = _places(words)
        # A node has one way to it, so each is visited once.
        waiting = [(self._root, 1)]
        while waiting:
            node, reached = waiting.pop()
            if reached >> end:
                for value in node.values:
                    found[id(value)] = value
            children = node.children
            if len(children) <= len(places):
                for word, child in children.items():
                    after = _onward(word, reached, places, plain)
                    if after:
                        waiting.append((child, after))
                continue
            for word in (MANY, ONE):
                child_there = children.get(word)
                if child_there is not None:
                    after = _onward(word, reached, places, plain)
                    if after:
                        waiting.append((child_there, after))
            for word, here in places.items():
                if reached & here:
                    child_there = children.get(word)
                    if child_there is not None:
                        waiting.append((child_there, (reached & here) << 1))
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
