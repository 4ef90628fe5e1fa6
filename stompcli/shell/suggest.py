"""What may come next in a line of the shell: commands, flags, destinations, numbers, headers.

Pure: the text before the cursor and what is known go in, suggestions come out.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stompcli import table
from stompcli.options import AFTER
from stompcli.render import visible_line

if TYPE_CHECKING:
    import click

# A word that may begin with a quote; the last one of a line may be without its end.
_WORD: Final = re.compile(r"\"(?:\\.|[^\"\\])*\"?|'(?:\\.|[^'\\])*'?|\S+")
_MOST: Final = 300

# Headers that are worth typing, and what usually follows.
HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "persistent": ("true", "false"),
    "priority": ("4", "9", "0"),
    "content-type": ("text/plain", "application/json", "application/octet-stream"),
    "reply-to": (),
    "correlation-id": (),
    "expires": (),
    "ttl": ("60000",),
    "delay": ("1000",),
    "receipt": (),
    "selector": (),
    "prefetch-count": ("1", "10", "100"),
    "requeue": ("true", "false"),
    "durable-name": (),
}
# Arguments and options by the name of their parameter.
_OF_DESTINATIONS: Final = frozenset(
    ("destination", "destinations", "queue", "queues", "source", "target", "dlq", "to", "reply_to")
)
_OF_FILES: Final = frozenset(("file", "path", "body_file", "headers", "password_file"))


@dataclass(frozen=True)
class Suggestion:
    """A word that may stand in place of the last ``length`` characters, and what it means."""

    text: str
    length: int
    meaning: str = ""


def _no_paths(_: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Known:
    """What is known of the session and its broker; nobody changes it."""

    # Most recent first.
    destinations: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    # Numbers of messages: those that are not settled, and all that are kept, newest first.
    unacked: tuple[int, ...] = ()
    messages: tuple[int, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    # What can be set, with the values that there are, if there are few.
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # The files that a path may mean that begins so.
    paths: Callable[[str], Sequence[str]] = _no_paths


def suggest(text: str, known: Known) -> list[Suggestion]:
    """Return what the word before the cursor may be, best first, `_MOST` at most."""
    typed = [match[0] for match in _WORD.finditer(text)]
    word = "" if not typed or text[-1:].isspace() else typed.pop()
    if not typed:
        return _offered(_commands(known), word)
    record = table.find(typed[0], in_shell=True)
    if record is None or not record.in_shell:
        alias = known.aliases.get(typed[0], "")
        record = table.find(alias.partition(" ")[0], in_shell=True) if alias else None
        if record is None:
            return []
    return _of_command(record, typed[1:], word, known)[:_MOST]


def _commands(known: Known) -> list[tuple[str, str]]:
    found = [(record.name, record.summary) for record in table.TABLE if record.in_shell]
    found += [
        (alias, record.summary)
        for record in table.TABLE
        if record.in_shell
        for alias in record.aliases
    ]
    return [*found, *((name, f"= {meaning}") for name, meaning in known.aliases.items())]


def _offered(words: Iterable[tuple[str, str]], begun: str) -> list[Suggestion]:
    return [
        Suggestion(word, len(begun), meaning)
        for word, meaning in words
        if word.startswith(begun) and word != begun
    ]


def _plain(words: Iterable[str], begun: str) -> list[Suggestion]:
    return _offered(((word, "") for word in words), begun)


def _of_command(
    record: table.Command, typed: list[str], word: str, known: Known
) -> list[Suggestion]:
    parser = record.load_parser()
    options = {
        name: param
        for param in parser.params
        if param.param_type_name == "option" and not str(param.name).startswith(AFTER)
        for name in (*param.opts, *param.secondary_opts)
    }
    arguments = [param for param in parser.params if param.param_type_name == "argument"]
    before: list[str] = []
    awaiting: click.Parameter | None = None
    ended = False
    for one in typed:
        if awaiting is not None:
            awaiting = None
        elif one == "--" and not ended:
            ended = True
        elif one.startswith("-") and not ended and one != "-":
            option = options.get(one)
            awaiting = option if option is not None and _takes_value(option) else None
        else:
            before.append(one)
    if awaiting is not None:
        return _of_parameter(awaiting, record, before, word, known)
    at = len(before)
    in_body = record.verbatim and at >= len(arguments) - 1
    if word.startswith("-") and not ended:
        if in_body:
            # Right behind the destination there may be headers, and nothing else.
            return _plain(["-H"] if at == len(arguments) - 1 else [], word)
        return _offered(_flags(options), word)
    if in_body or not arguments:
        return []
    argument = arguments[min(at, len(arguments) - 1)]
    if at >= len(arguments) and argument.nargs != -1:
        return []
    return _of_parameter(argument, record, before, word, known)


def _takes_value(option: "click.Parameter") -> bool:
    return not (getattr(option, "is_flag", False) or getattr(option, "count", False))


def _flags(options: Mapping[str, "click.Parameter"]) -> list[tuple[str, str]]:
    return [
        (name, str(getattr(param, "help", "") or ""))
        for name, param in options.items()
        if name.startswith("--") and not getattr(param, "hidden", False)
    ]


def _of_parameter(
    param: "click.Parameter", record: table.Command, before: list[str], word: str, known: Known
) -> list[Suggestion]:
    name = param.name or ""
    choices = getattr(param.type, "choices", None)
    if choices is not None:
        return _plain(map(str, choices), word)
    if name == "header":
        return _of_header(word)
    if name in _OF_FILES and "-H" not in param.opts:
        return _plain(known.paths(word), word)
    if name in _OF_DESTINATIONS:
        found = _of_destination(word, known)
        if record.name == "subscribe" and before:
            found += _plain(("auto", "client", "client-individual"), word)
        return found
    if name == "subscription":
        return _plain(known.subscriptions, word)
    if name == "message":
        return _of_message(record, word, known)
    if name == "setting":
        return _plain(known.settings, word)
    if name == "value" and before:
        return _plain(known.settings.get(before[0], ()), word)
    if name == "command" and record.name == "help":
        return _offered(_commands(known), word)
    return []


def _of_destination(word: str, known: Known) -> list[Suggestion]:
    """Return the destinations that begin so, or of which a part does."""
    sound = [one for one in known.destinations if one == visible_line(one) and " " not in one]
    begin = _plain(sound, word)
    if begin or not word:
        return begin
    return [
        Suggestion(one, len(word)) for one in sound if one != word and word.lower() in one.lower()
    ]


def _of_message(record: table.Command, word: str, known: Known) -> list[Suggestion]:
    numbers = known.unacked if record.name in ("ack", "nack") else known.messages
    others = ("last", "all") if record.name in ("ack", "nack") else ("last",)
    return _plain((*(f"#{number}" for number in numbers), *others), word)


def _of_header(word: str) -> list[Suggestion]:
    name, colon, value = word.partition(":")
    if not colon:
        return _plain((f"{one}:" for one in HEADERS), word)
    return [
        Suggestion(one, len(value))
        for one in HEADERS.get(name, ())
        if one.startswith(value) and one != value
    ]
