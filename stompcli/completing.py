"""What completes the values of arguments and options: destinations, contexts, headers, files.

The metavar of a parameter says what it is, so that every command has it without a word.
"""

import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ACKS: Final = ("auto", "client", "client-individual")
# Headers that senders and receivers set, with the values they usually have.
HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "ack": _ACKS,
    "auto-delete": ("true",),
    "client-id": (),
    "content-type": ("text/plain", "application/json", "application/octet-stream"),
    "correlation-id": (),
    "deliver-at": (),
    "delay": ("1000", "60000"),
    "durable": ("true",),
    "durable-subscription-name": (),
    "exclusive": ("true",),
    "expires": (),
    "message-group": (),
    "persistent": ("true", "false"),
    "prefetch-count": ("1", "10", "100"),
    "priority": ("0", "4", "9"),
    "receipt": (),
    "reply-to": (),
    "selector": (),
    "ttl": ("1000", "60000"),
}
# The kinds of what a metavar names; the first that is found in it counts.
_KINDS: Final = (
    (r"MSGID\Z", "message"),
    (r"DEST|MATCH", "destination"),
    (r"QUEUE|SRC|DST|DLQ|GLOB", "destination"),
    (r"K:V", "header"),
    (r"FILE|\.JSON", "file"),
    (r"DIR", "folder"),
    (r"CONN\Z", "connection"),
)


class Word(click.types.StringParamType):
    """A text whose completion its metavar tells."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Return what completes it."""
        return completes(param, ctx, incomplete)


WORD: Final = Word()


def completed(params: list[click.Parameter]) -> list[click.Parameter]:
    """Have texts among parameters completed; return the parameters."""
    for param in params:
        if param.type is click.STRING:
            param.type = WORD
    return params


def completes(param: click.Parameter, context: click.Context, text: str) -> "list[CompletionItem]":
    """Return what completes the value of a parameter, by its metavar; none if that says nothing."""
    name = (param.name or "").removeprefix("after_")
    if name == "context" or (name == "names" and context.info_name == "context"):
        return _contexts(text)
    if name == "command" and context.info_name == "help":
        return _commands(text)
    kinds = (kind for pattern, kind in _KINDS if re.search(pattern, param.metavar or ""))
    kind = next(kinds, None)
    if kind == "destination":
        return _destinations(param, context, text)
    if kind == "header":
        return _headers(text)
    if kind == "message":
        return _messages(context, text)
    if kind == "connection":
        rows = _asked(context, "connections", {})
        return _items([(str(row.get("id")), str(row.get("peer") or "")) for row in rows], text)
    if kind in ("file", "folder"):
        from click.shell_completion import CompletionItem

        return [CompletionItem(text, type="file" if kind == "file" else "dir")]
    return []


def _items(found: list[tuple[str, str]], text: str) -> "list[CompletionItem]":
    """Return the words that begin so, but for those that no shell could take as they are."""
    from click.shell_completion import CompletionItem

    from stompcli.render import visible_line

    return [
        CompletionItem(word, help=visible_line(told) or None)
        for word, told in found
        if word.startswith(text) and word == visible_line(word) and " " not in word
    ]


def _destinations(
    param: click.Parameter, context: click.Context, text: str
) -> "list[CompletionItem]":
    rows = _asked(context, "destinations", {})
    names = [(str(row.get("name")), str(row.get("kind") or "")) for row in rows]
    wanted = "" if "DEST" in (param.metavar or "") else "queue"
    if context.info_name == "topics":
        wanted = "topic"
    found = [pair for pair in names if not pair[0].startswith("/temp-")]
    if wanted:
        found = [pair for pair in found if pair[1] == wanted] or found
    taken = context.params.get(param.name or "")
    if "MSGID" in (param.metavar or "") and taken:
        return _messages(context, text)
    items = _items(sorted(found), text)
    if "ACK" in (param.metavar or "") and taken:
        # A last word is the ack mode.
        items += _items([(mode, "ack mode") for mode in _ACKS], text)
    if not text and not items and not taken:
        items = _items([("/queue/", ""), ("/topic/", "")], text)
    return items


def _headers(text: str) -> "list[CompletionItem]":
    name, colon, _ = text.partition(":")
    if colon:
        return _items([(f"{name}:{value}", "") for value in HEADERS.get(name, ())], text)
    return _items([(f"{one}:", "") for one in HEADERS], text)


def _contexts(text: str) -> "list[CompletionItem]":
    from stompcli import contexts
    from stompcli.failure import Failure

    found = []
    for name in contexts.names():
        try:
            found.append((name, contexts.load(name).place()))
        except Failure:
            found.append((name, "unusable"))
    return _items(found, text)


def _commands(text: str) -> "list[CompletionItem]":
    from stompcli import table

    return _items([(record.name, record.summary) for record in table.TABLE], text)


def _messages(context: click.Context, text: str) -> "list[CompletionItem]":
    """Return the ids of the first messages in the queue that stands before."""
    params = context.params
    known = [params.get("queue"), params.get("destination"), *(params.get("words") or ())[:1]]
    # An option that still lacks its value keeps click from looking at what stands before it.
    known += context.args[:1]
    fields = {"destination": next(filter(None, known), ""), "count": 50, "headers_only": True}
    rows = _asked(context, "browse", fields)
    return _items([(str(row.get("id")), str(row.get("state") or "")) for row in rows], text)


def _asked(context: click.Context, verb: str, fields: dict[str, object]) -> list[dict[str, Any]]:
    """Ask the broker that the words before mean; no answer is nothing to offer."""
    from stompcli import precedence
    from stompcli.failure import Failure
    from stompcli.quick import asked

    if context.parent is None:
        return []
    try:
        settings = precedence.settled(context.parent, context.params)
    except Failure:
        return []
    return asked(settings, verb, fields)
