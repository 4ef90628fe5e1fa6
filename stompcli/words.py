"""Lines typed into a shell, as the words that click would get from a command line.

Pure: text in, words out. A body is taken as it was typed, with its runs of blanks.
"""

import re
import shlex
from typing import TYPE_CHECKING, Final

from stompcli.failure import usage

if TYPE_CHECKING:
    import click

_WORD: Final = re.compile(r"\S+")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"', "'": "'"}
_QUOTES: Final = "\"'"


def split(line: str) -> tuple[str, str]:
    """Return the first word of a line, and the rest of it without the blanks between."""
    head = _WORD.match(line.lstrip())
    if head is None:
        return "", ""
    return head[0], line.lstrip()[head.end() :].lstrip(" \t")


def arguments(rest: str) -> list[str]:
    """Return the words of a command that has no body, with quotes as in a Unix shell.

    Raises `Failure` for a quote that is not closed.
    """
    try:
        return shlex.split(rest, comments=False)
    except ValueError as error:
        raise usage(f"{str(error).lower()} in: {rest}") from None


def piped(rest: str) -> tuple[str, str]:
    """Return the words of a command, and the program behind a ``|`` between blanks, if any."""
    quote = ""
    for at, letter in enumerate(rest):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter == "|" and (at == 0 or rest[at - 1] in " \t"):
            return rest[:at].rstrip(), rest[at + 1 :].strip()
    return rest, ""


def quoted(word: str) -> str:
    """Return a word such that `arguments` gives it back."""
    return shlex.quote(word)


def with_body(rest: str, command: "click.Command") -> list[str]:
    """Return the words of a command whose last argument is a body.

    Options stand before the destination; right behind the other arguments further ``-H k:v`` may
    follow; the first other word begins the body, which reaches to the end of the line as it is. A
    body that begins with a quote is one word with escapes. ``--`` ends the options.
    Raises `Failure` for a quote that is not closed, or that something follows.
    """
    flags = _flags(command)
    # All arguments but the body.
    wanted = sum(1 for param in command.params if param.param_type_name == "argument") - 1
    options: list[str] = []
    positional: list[str] = []
    at = 0
    while True:
        at = _skip(rest, at, lines=len(positional) < wanted)
        if at >= len(rest):
            return [*options, "--", *positional]
        if rest[at] == "\n":
            break
        word, after = _next_word(rest, at)
        if word == "--" and rest[at] == "-":
            at = after
            break
        plain = rest[at] not in _QUOTES
        if not plain or not word.startswith("-") or word == "-":
            if len(positional) == wanted:
                break
            positional.append(word)
            at = after
            continue
        name = word.partition("=")[0]
        if len(positional) == wanted and name not in ("-H", "--header"):
            break
        options.append(word)
        at = after
        if flags.get(name, False) and "=" not in word:
            at = _skip(rest, at)
            if at < len(rest):
                value, at = _next_word(rest, at)
                options.append(value)
    # After "--" the destination may still be missing.
    while len(positional) < wanted:
        at = _skip(rest, at, lines=True)
        if at >= len(rest):
            return [*options, "--", *positional]
        word, at = _next_word(rest, at)
        positional.append(word)
    at = _skip(rest, at)
    if at >= len(rest):
        return [*options, "--", *positional]
    return [*options, "--", *positional, _body(rest, at)]


def _flags(command: "click.Command") -> dict[str, bool]:
    """Return for every option whether a value follows it."""
    return {
        name: not (getattr(param, "is_flag", False) or getattr(param, "count", False))
        for param in command.params
        if param.param_type_name == "option"
        for name in (*param.opts, *param.secondary_opts)
    }


def _skip(text: str, at: int, *, lines: bool = False) -> int:
    while at < len(text) and (text[at] in " \t" or (lines and text[at] == "\n")):
        at += 1
    return at


def _next_word(text: str, at: int) -> tuple[str, int]:
    """Return the word at ``at`` and where it ends; one in quotes without them."""
    if text[at] in _QUOTES:
        return _quoted(text, at)
    match = _WORD.match(text, at)
    assert match is not None  # noqa: S101 - for the type checker; there is no blank at `at`
    return match[0], match.end()


def _body(text: str, at: int) -> str:
    # A body of several lines may begin on a line of its own.
    if text[at] == "\n":
        return text[at + 1 :]
    if text[at] not in _QUOTES:
        return text[at:]
    body, end = _quoted(text, at)
    if text[end:].strip():
        raise usage(
            f"something follows the closing quote: {text[end:].strip()}",
            'a body that begins with a quote ends at the next one; write \\" for a quote in it',
        )
    return body


def _quoted(text: str, at: int) -> tuple[str, int]:
    quote = text[at]
    end = at + 1
    while end < len(text) and text[end] != quote:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise usage(f"no closing {quote}", "to begin a body with a quote, put it into quotes")
    return _ESCAPE.sub(_unescape, text[at + 1 : end]), end + 1


def _unescape(match: re.Match[str]) -> str:
    if match[1] is not None:
        # An octet; those over 0x7f become octets again when the body is encoded.
        octet = int(match[1], 16)
        return chr(octet) if octet < 0x80 else chr(0xDC00 + octet)  # noqa: PLR2004
    return _ESCAPED.get(match[2], match[0])
