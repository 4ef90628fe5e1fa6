"""Lines of a shell as the words that click gets, and the same parameters from argv."""

import pytest

from stompcli import table, words
from stompcli.failure import Failure
from stompcli.options import SHELL


def parsed(line: str) -> dict[str, object]:
    """Return the parameters of a line that begins with a command."""
    word, rest = words.split(line)
    record = table.find(word)
    assert record is not None
    parser = record.load_parser()
    args = words.with_body(rest, parser) if record.verbatim else words.arguments(rest)
    return parser.make_context(record.name, args, obj=SHELL).params


@pytest.mark.parametrize(
    ("line", "destination", "body", "headers"),
    [
        ("send /queue/a hello world", "/queue/a", "hello world", ()),
        ("send   /queue/a   hello   world ", "/queue/a", "hello   world ", ()),
        ("send\t/queue/a\thello", "/queue/a", "hello", ()),
        ("send -H a:b /queue/a x", "/queue/a", "x", (("a", "b"),)),
        ("send /queue/a -H a:b -H c:d x -H e:f", "/queue/a", "x -H e:f", (("a", "b"), ("c", "d"))),
        ('send -H "a:b c" /queue/a x', "/queue/a", "x", (("a", "b c"),)),
        ("send -H a: /queue/a x", "/queue/a", "x", (("a", ""),)),
        ("send -H a /queue/a x", "/queue/a", "x", (("a", None),)),
        ("send --header=a:b /queue/a x", "/queue/a", "x", (("a", "b"),)),
        ("send --priority 3 /queue/a -5", "/queue/a", "-5", ()),
        ("send -- /queue/a -5", "/queue/a", "-5", ()),
        ("send /queue/a -- -H a:b", "/queue/a", "-H a:b", ()),
        ('send /queue/a "two  spaces"', "/queue/a", "two  spaces", ()),
        ("send /queue/a ' x '", "/queue/a", " x ", ()),
        ('send /queue/a ""', "/queue/a", "", ()),
        (r'send /queue/a "a\n\t\x41\0\"\\"', "/queue/a", 'a\n\tA\0"\\', ()),
        (r'send /queue/a "\xff"', "/queue/a", "\udcff", ()),
        ("send /queue/a it's", "/queue/a", "it's", ()),
        ('send /queue/a say "hi"  now', "/queue/a", 'say "hi"  now', ()),
        (r"send /queue/a a\nb", "/queue/a", r"a\nb", ()),
        ('send "/queue/a b" x', "/queue/a b", "x", ()),
        ("send /queue/a [red] :smile: #1", "/queue/a", "[red] :smile: #1", ()),
    ],
)
def test_bodies_are_kept_as_typed(
    line: str, destination: str, body: str, headers: tuple[tuple[str, str | None], ...]
) -> None:
    """Options, destination, headers, and then the rest of the line as it is."""
    params = parsed(line)
    assert params["destination"] == destination
    assert params["body"] == (body,)
    assert params["header"] == headers


def test_two_arguments_before_the_body() -> None:
    """Sendreply takes the correlation-id before the body."""
    params = parsed("sendreply /queue/a 47  the  answer")
    assert (params["destination"], params["correlation"], params["body"]) == (
        "/queue/a",
        "47",
        ("the  answer",),
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('send /queue/a "open', "no closing"),
        ('send /queue/a "a" b', "something follows the closing quote: b"),
        ("send -H 'a:b /queue/a x", "no closing"),
        ("ack 'x", "no closing quotation"),
    ],
)
def test_quotes_that_do_not_close(line: str, complaint: str) -> None:
    """A quote that is not closed, or that something follows, is refused in words."""
    with pytest.raises(Failure, match=complaint):
        parsed(line)


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        (
            'send -H a:b --persistent /queue/a "x"',
            ["-H", "a:b", "--persistent", "/queue/a", "x"],
        ),
        ("send /queue/a -H a:b x", ["/queue/a", "-H", "a:b", "x"]),
        ("subscribe /queue/a client --id s1", ["/queue/a", "client", "--id", "s1"]),
        ("subscribe /queue/a -n 3 -H 'x:y z'", ["-n", "3", "/queue/a", "-H", "x:y z"]),
        ("ack #3", ["#3"]),
        ("nack m1 s1 -H requeue:false", ["m1", "s1", "-H", "requeue:false"]),
        ("ping -c 1 -i 200ms", ["-i", "0.2", "-c", "1"]),
    ],
)
def test_lines_and_argv_agree(line: str, argv: list[str]) -> None:
    """A line and the command line of the same meaning give equal parameters."""
    record = table.find(line.split(maxsplit=1)[0])
    assert record is not None
    assert parsed(line) == record.load_parser().make_context(record.name, argv).params


@pytest.mark.parametrize("word", ["/queue/a", "/queue/a b", "it's", "-x", '"'])
def test_quoted_words_come_back(word: str) -> None:
    """A word that the program quotes for itself is read back unchanged."""
    assert words.arguments(words.quoted(word)) == [word]
