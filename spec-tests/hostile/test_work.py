"""Small input that is to make much work: what it costs grows no faster than its size.

Steps are counted, not seconds: lines of Python for so much input, and for twice as much.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hostile.steps import steps
from server.edge import Edge, serving, settings

from stompd.broker.pattern import NameIndex, PatternTree, matches, overlap
from stompd.broker.principal import Principal
from stompd.broker.rights import Rights, named
from stompd.broker.selector import DEEPEST, LONGEST, MOST, compile_selector
from stompd.protocol.decoder import Decoder
from stompd.protocol.errors import RemoteProtocolError
from stompd.server import rights_file

DEEP = 120
"""Words of a name; more of them have no room in its 255 octets."""


def bombs(count: int) -> Iterator[tuple[str, ...]]:
    """Return patterns with as many ``#`` as there is room for; no two of them begin alike."""
    for number in range(count):
        bits = f"{number:010b}"
        pairs = ("#*"[int(bits[place % 10])] for place in range(DEEP // 2))
        yield ("topic", *(word for pair in pairs for word in ("#", pair.replace("#", "a"))))


def linear(work: Callable[[int], Callable[[], object]], size: int) -> int:
    """Prove that twice the size takes little more than twice the steps; return those of the first.

    ``work`` returns what is to be done for a size, once all that comes before is done.
    """
    once, twice = steps(work(size)), steps(work(2 * size))
    assert twice <= 2.2 * once + 200
    return once


# -- Wildcards -------------------------------------------------------------------------------------


def test_wildcard_bombs_against_a_name() -> None:
    """Each word of each pattern is looked at once, not once for each word of the name."""
    name = ("topic", *"a" * DEEP)

    def work(count: int) -> Callable[[], object]:
        tree: PatternTree[tuple[str, ...]] = PatternTree()
        for pattern in bombs(count):
            tree.add(pattern, pattern)
        assert len(tree.match(name)) == count
        return lambda: tree.match(name)

    assert linear(work, 100) <= 100 * DEEP * 16


def test_a_wildcard_bomb_against_names() -> None:
    """A name costs its words, and those of the pattern, not the one times the other."""
    (pattern,) = bombs(1)

    def work(count: int) -> Callable[[], object]:
        index: NameIndex[int] = NameIndex()
        for number in range(count):
            index.add(("topic", str(number), *"a" * DEEP), number)
        assert len(index.match(pattern)) == count
        return lambda: index.match(pattern)

    assert linear(work, 50) <= 50 * 2 * DEEP * 10
    assert steps(lambda: matches(pattern, ("topic", *"b" * DEEP))) <= 2 * DEEP * 10


def test_a_wildcard_bomb_against_rules() -> None:
    """A pattern that is compared with a pattern costs the words of the one times the other's."""
    (pattern,) = bombs(1)
    assert steps(lambda: overlap(pattern, pattern)) <= DEEP * DEEP * 40
    text = "".join(f"deny * receive /topic/a.*.{n}.#\n" for n in range(200)) + "allow * all\n"
    rights = Rights(rights_file.parse(text))
    asked = named("/" + "/".join(pattern))
    grant = rights.grant(Principal("ann", frozenset()), "/")
    assert steps(lambda: grant.may("receive", asked)) <= 200 * 5 * DEEP * 60
    # And what was found out is remembered.
    assert steps(lambda: grant.may("receive", asked)) <= 100


async def serves(edge: Edge) -> None:
    """Prove that an ordinary client is served."""
    peer = await edge.login()
    await peer.sync()
    await peer.close()


async def test_a_flood_of_wildcard_bombs() -> None:
    """As many as a connection may have, against names that are new each time: others are served."""
    async with serving(settings()) as edge:
        peer = await edge.login()
        frames = (
            f"SUBSCRIBE⏎destination:/topic/{'.'.join(pattern[1:])}⏎id:{number}⏎⏎^@"
            for number, pattern in enumerate(bombs(1000))
        )
        await peer.write("".join(frames))
        await peer.sync()
        other = await edge.login()
        for number in range(3):
            await other.write(f"SEND⏎destination:/topic/{'a.' * 110}{number}⏎⏎x^@")
            await serves(edge)
        assert "by a fault of stompd" not in str(edge.log)


# -- Selectors -------------------------------------------------------------------------------------

SELECTORS: dict[str, Callable[[int], str]] = {
    "and": lambda n: " AND ".join(["a = 1"] * (n // 4)),
    "or": lambda n: " OR ".join(["a <> 'x'"] * (n // 4)),
    "sum": lambda n: "a " + "+ 1 " * n + "> 0",
    "product": lambda n: "a " + "* 9e99 " * (n // 2) + "> 0",
    "digits": lambda n: "a = " + "9" * n,
    "power": lambda n: "a = 1e" + "9" * n,
    "like": lambda n: "a LIKE '" + "%a_" * n + "b'",
    "blanks": lambda n: "a LIKE '%" + "_" * n + "'",
    "in": lambda n: "a IN (" + ",".join(map(str, range(n))) + ")",
    "not": lambda n: "NOT " * n + "a = 1",
    "signs": lambda n: "a = " + "-" * n + "1",
    "between": lambda n: " AND ".join(["a BETWEEN 1 AND 2"] * (n // 8)),
    "name": lambda n: ".".join(["a"] * n) + " = 1",
    "string": lambda n: "a = '" + "''" * n + "'",
    "unclosed": lambda n: "a = '" + "''" * n,
    "nothing": lambda n: "\t " * n,
    "switches": lambda n: "convert_string_expressions:" * (n // 8) + "a = 1",
}


@pytest.mark.parametrize("make", SELECTORS.values(), ids=SELECTORS)
def test_selector_bombs(make: Callable[[int], str]) -> None:
    """To understand one, and to ask it of a message that is large too, is linear in its length."""
    # What every first one needs: the grammar.
    compile_selector("a = 1")

    def compiling(size: int) -> Callable[[], object]:
        text = make(size)
        assert len(text) <= LONGEST

        def compile_it() -> None:
            with suppress(RemoteProtocolError):
                compile_selector.__wrapped__(text)

        return compile_it

    assert linear(compiling, 400) <= 400 * 600

    def asking(size: int) -> Callable[[], object]:
        with suppress(RemoteProtocolError):
            selector = compile_selector(make(size))
            value = "1" + "a" * 10 * size
            return lambda: selector.matches({"a": value})
        return lambda: None

    assert linear(asking, 400) <= 400 * 20


@pytest.mark.parametrize(
    "text",
    [
        "(a = 1 OR b = 1 AND " * DEEPEST + "a = 1" + ")" * DEEPEST,
        "(" * (LONGEST // 2),
        "a IN (" + ",".join(["1"] * (MOST + 1)) + ")",
        "a = 1 AND " * (LONGEST // 10) + "a = 1",
        "a LIKE '%" + "_" * 300 + "%'",
    ],
    ids=["deep", "open", "list", "long", "blanks"],
)
def test_selectors_that_are_refused_cost_no_more(text: str) -> None:
    """A refusal is found on the way."""
    compile_selector("a = 1")

    def refused() -> None:
        with pytest.raises(RemoteProtocolError, match="malformed selector"):
            compile_selector(text)

    assert steps(refused) <= 10_000 + 200 * len(text)


# -- Frames ----------------------------------------------------------------------------------------


def head(size: int) -> bytes:
    """Return a frame with a header of so many octets."""
    return b"SEND\ndestination:/queue/a\nx:" + b"y" * size + b"\n\n\0"


@pytest.mark.parametrize("escaped", [False, True])
def test_giant_headers_by_the_octet(*, escaped: bool) -> None:
    """What is there already is not looked at again with each octet that comes."""

    def work(size: int) -> Callable[[], object]:
        frame = head(size)
        if escaped:
            frame = frame.replace(b"yy", rb"\n")

        def feed() -> None:
            decoder = Decoder("server")
            decoder.begin("1.2")
            found = 0
            for place in range(len(frame)):
                found += len(decoder.feed(frame[place : place + 1]))
            assert found == 1

        return feed

    linear(work, 2000)


def test_many_headers() -> None:
    """Each line costs the same; and the one too many is found when it comes."""

    def work(count: int) -> Callable[[], object]:
        frame = b"SEND\n" + b"".join(b"h%d:%d\n" % (n, n) for n in range(count)) + b"\n\0"

        def feed() -> None:
            decoder = Decoder("server")
            decoder.begin("1.2")
            assert len(decoder.feed(frame)) == 1

        return feed

    linear(work, 400)

    def endless() -> None:
        decoder = Decoder("server")
        decoder.begin("1.2")
        assert decoder.feed(b"SEND\n") == []
        fed = 0
        while decoder.error is None:
            assert decoder.feed(b"a:b\n" * 100) == []
            fed += 100
        assert fed <= 1100

    endless()


def test_empty_lines_between_frames() -> None:
    """Heart-beats that come as quickly as they can are looked at once each."""

    def work(count: int) -> Callable[[], object]:
        decoder = Decoder("server")
        decoder.begin("1.2")
        return lambda: decoder.feed(b"\n" * count)

    assert linear(work, 10_000) <= 10_000 * 10
