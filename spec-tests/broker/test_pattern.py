"""Wildcards over words: a tree and a function, and the rule that both have to agree with."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stompd.broker.pattern import NameIndex, PatternTree, captures, matches, overlap, words_of

WORDS = ("a", "b", "$s", "")
_names = st.lists(st.sampled_from(WORDS), max_size=5).map(tuple)
_patterns = st.lists(st.sampled_from((*WORDS, "*", "#")), max_size=5).map(tuple)


def naive(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """The rule as a regular expression: no wildcard takes a word that begins with ``$``."""
    one = r"(?:(?!\$)[^.]*\.)"
    parts = {"*": one, "#": f"{one}*"}
    form = "".join(parts.get(word, re.escape(word) + r"\.") for word in pattern)
    return re.fullmatch(form, "".join(f"{word}." for word in words)) is not None


@given(_patterns, _names)
def test_matches_agrees_with_the_rule(pattern: tuple[str, ...], words: tuple[str, ...]) -> None:
    """``*`` is one word, ``#`` any number, none of them the broker's own."""
    assert matches(pattern, words) == naive(pattern, words)


@given(st.lists(_patterns, max_size=8), st.lists(_names, min_size=1, max_size=5))
def test_the_tree_agrees_with_the_rule(
    patterns: list[tuple[str, ...]], names: list[tuple[str, ...]]
) -> None:
    """A tree of patterns finds, for every name, those that match; each once, none after removal."""
    tree: PatternTree[list[int]] = PatternTree()
    values = [[place] for place in range(len(patterns))]
    for pattern, value in zip(patterns, values, strict=True):
        tree.add(pattern, value)
    for round_ in (0, 1):
        for words in names:
            found = sorted(value[0] for value in tree.match(words))
            assert found == [
                place
                for place, pattern in enumerate(patterns)
                if place % 2 >= round_ and naive(pattern, words)
            ]
        for place in range(0, len(patterns), 2):
            if round_ == 0:
                tree.remove(patterns[place], values[place])


@given(_patterns, _patterns, _names)
def test_patterns_that_match_one_name_overlap(
    one: tuple[str, ...], other: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """And it makes no difference which of them is asked about."""
    assert overlap(one, other) == overlap(other, one)
    if naive(one, words) and naive(other, words):
        assert overlap(one, other)


# Enough of them for every pair of the patterns below that has a name in common.
_SHORT = [
    words for length in range(7) for words in itertools.product(("a", "b", "$s"), repeat=length)
]
_short_patterns = st.lists(st.sampled_from(("a", "b", "$s", "*", "#")), max_size=3).map(tuple)


@given(_short_patterns, _short_patterns)
@settings(max_examples=50, deadline=None)
def test_patterns_that_overlap_match_one_name(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """What `overlap` promises is there."""
    found = any(matches(one, words) and matches(other, words) for words in _SHORT)
    assert overlap(one, other) == found


@given(_patterns, _names)
def test_what_wildcards_stand_for_makes_the_name_again(
    pattern: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """Put into their places, they give the words of the name; without a match there are none."""
    found = captures(pattern, words)
    assert (found is not None) == naive(pattern, words)
    if found is None:
        return
    made: list[str] = []
    rest = iter(found)
    for word in pattern:
        if word in ("*", "#"):
            start, end = next(rest)
            assert word == "#" or end == start + 1
            made += words[start:end]
        else:
            made.append(word)
    assert tuple(made) == words
    assert next(rest, None) is None


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("/topic/*.b", "/topic/a.b", [(1, 2)]),
        ("/topic/#.b.#", "/topic/a.b.b.c", [(1, 2), (3, 5)]),
        ("/topic/#", "/topic/a/b", [(1, 3)]),
        ("/topic/a.#", "/topic/a", [(2, 2)]),
        ("/topic/a", "/topic/a", []),
        ("/topic/a", "/topic/b", None),
    ],
)
def test_what_each_wildcard_stands_for(
    pattern: str, name: str, found: list[tuple[int, int]] | None
) -> None:
    """The first ``#`` takes as few words as it can."""
    assert captures(words_of(pattern), words_of(name)) == found


@given(st.lists(_names, max_size=8), st.lists(_patterns, min_size=1, max_size=5))
def test_the_index_agrees_with_the_rule(
    names: list[tuple[str, ...]], patterns: list[tuple[str, ...]]
) -> None:
    """An index of names finds those that a pattern matches, oldest first, none after removal."""
    index: NameIndex[int] = NameIndex()
    for place, words in enumerate(names):
        index.add(words, place)
    for round_ in (0, 1):
        for pattern in patterns:
            assert index.match(pattern) == [
                place
                for place, words in enumerate(names)
                if place % 2 >= round_ and naive(pattern, words)
            ]
        for place in range(0, len(names), 2):
            if round_ == 0:
                index.remove(place)


def test_an_index_keeps_nothing_of_what_was_removed() -> None:
    """Words that nobody has any more are forgotten."""
    index: NameIndex[str] = NameIndex()
    index.add(("a", "b", "a"), "x")
    index.add(("a", "c"), "y")
    index.remove("x")
    assert index.match(("a", "#")) == ["y"]
    assert index.match(("#", "b", "#")) == []
    index.add(("a", "b"), "x")
    assert index.match(("#",)) == ["y", "x"]


def test_a_value_under_two_patterns_is_found_once() -> None:
    """Values are told apart by identity, so equal ones are two."""
    tree: PatternTree[list[int]] = PatternTree()
    one, other = [1], [1]
    tree.add(("a", "#"), one)
    tree.add(("a", "*"), one)
    tree.add(("a", "b"), other)
    assert len(tree.match(("a", "b"))) == 2
    tree.remove(("a", "#"), one)
    assert len(tree.match(("a",))) == 0
    assert len(tree.match(("a", "b"))) == 2


def test_a_removed_pattern_leaves_its_prefix_and_its_extension() -> None:
    """Only what nobody else needs is cut off the tree."""
    tree: PatternTree[list[int]] = PatternTree()
    values: list[list[int]] = [[1], [2], [3]]
    tree.add(("a",), values[0])
    tree.add(("a", "b"), values[1])
    tree.add(("a", "b", "c"), values[2])
    tree.remove(("a", "b"), values[1])
    assert tree.match(("a",)) == [[1]]
    assert tree.match(("a", "b")) == []
    assert tree.match(("a", "b", "c")) == [[3]]
    tree.remove(("a", "b", "c"), values[2])
    assert tree.match(("a",)) == [[1]]


@pytest.mark.parametrize("last", ["x", "y"])
def test_many_wildcards_cost_no_more_than_words_times_words(last: str) -> None:
    """A hundred ``#`` against a hundred words is decided at once, not after the sun is out."""
    pattern = ("#", "a") * 50 + (last,)
    words = ("a",) * 100 + ("x",)
    assert matches(pattern, words) == (last == "x")
    tree: PatternTree[list[int]] = PatternTree()
    tree.add(pattern, [1])
    assert tree.match(words) == ([[1]] if last == "x" else [])
    assert overlap(pattern, words) == (last == "x")
    assert (captures(pattern, words) is None) == (last == "y")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/queue/a.b/c", ("queue", "a", "b", "c")),
        ("/topic/a.**.b", ("topic", "a", "#", "b")),
        ("/topic/a.>", ("topic", "a", "#")),
        ("/topic/>.a", ("topic", ">", "a")),
        ("/topic/a>.b*", ("topic", "a>", "b*")),
    ],
)
def test_words_of_a_name(name: str, words: tuple[str, ...]) -> None:
    """Words are separated by ``.`` and ``/``; a wildcard is a whole word."""
    assert words_of(name) == words
