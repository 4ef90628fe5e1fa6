"""The click commands that let messages flow: into a file, out of one, to another broker."""

from typing import Final

import click

from stompcli.arguments import Verb
from stompcli.options import DURATION, HEADER, _Type

_SPEED: Final = "max"


class Speed(_Type):
    """``max``, or how many times as fast as they came: ``1x``, ``2.5x``."""

    name = "speed"

    def convert(
        self, value: str | float | None, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the factor, None for as fast as it goes."""
        if value is None or isinstance(value, float) or value == _SPEED:
            return value if isinstance(value, float) else None
        try:
            factor = float(str(value).removesuffix("x"))
        except ValueError:
            factor = 0.0
        if not 0 < factor < float("inf"):
            self.fail(f'"{value}" is neither max nor a speed such as 1x', param, ctx)
        return factor


def _headers(words: str) -> click.Option:
    return click.Option(
        ["-H", "--header", "header"], type=HEADER, multiple=True, metavar="K:V", help=words
    )


def _ending() -> list[click.Parameter]:
    return [
        click.Option(["-n", "--count"], type=click.IntRange(1), metavar="N", help="Stop after N."),
        click.Option(
            ["--idle"], type=DURATION, metavar="DUR", help="Stop when none came for so long."
        ),
    ]


def _selector() -> click.Option:
    return click.Option(["--selector"], metavar="EXPR", help="Only messages that match.")


SAVE: Final = Verb(
    "save",
    [
        click.Argument(["source"], metavar="SRC"),
        click.Argument(["file"], metavar="FILE|-"),
        click.Option(["--browse"], is_flag=True, help="Leave the messages in the queue."),
        *_ending(),
        click.Option(
            ["--follow"], is_flag=True, help="Go on when the queue is empty, until Ctrl-C."
        ),
        click.Option(["--append"], is_flag=True, help="Add to a file that is there already."),
        _selector(),
        _headers("Add a header to SUBSCRIBE; may be repeated."),
    ],
    help="Save the messages of SRC to FILE, one JSON object on each line, as subscribe --json "
    "writes them and replay and send --json-in read them. A message leaves its queue only when it "
    "is on the disk. It ends when the queue is empty; for a topic, at Ctrl-C.",
    examples=(
        "stomp save /queue/orders orders.ndjson",
        "stomp save /queue/orders --browse - | gzip > orders.ndjson.gz",
        "stomp save '/topic/prices.#' prices.ndjson --idle 10m",
    ),
)

REPLAY: Final = Verb(
    "replay",
    [
        click.Argument(["file"], metavar="FILE|-"),
        click.Argument(["destination"], required=False, metavar="[DST]"),
        click.Option(["--to"], metavar="DEST", help="The same as DST."),
        click.Option(
            ["--speed"],
            type=Speed(),
            default=_SPEED,
            metavar="1x|max",
            help="As fast as they came, or so many times as fast.  [default: max]",
        ),
        click.Option(
            ["--from", "begin"],
            type=click.IntRange(1),
            default=1,
            metavar="N",
            help="Begin with the N-th message.  [default: 1]",
        ),
        click.Option(
            ["--to-n", "end"], type=click.IntRange(1), metavar="N", help="End with the N-th."
        ),
        _headers("Add a header to every message, or replace it; may be repeated."),
        click.Option(["--dry-run"], is_flag=True, help="Only say what would be sent."),
    ],
    help="Send the messages of FILE, which save has written, to DST, or to where each of them came "
    "from; or those that were sent in a session of which FILE is a transcript, of record or "
    "--transcript. Nothing is sent twice unless replay is run twice.",
    examples=(
        "stomp replay orders.ndjson",
        "stomp replay transcript.ndjson --speed 1x",
        "stomp replay prices.ndjson /topic/test --speed 10x",
        "gunzip < orders.ndjson.gz | stomp replay - /queue/orders --from 100 --to-n 200",
    ),
)

BRIDGE: Final = Verb(
    "bridge",
    [
        click.Argument(["source_url"], metavar="SRC-URL|-"),
        click.Argument(["source"], metavar="SRC"),
        click.Argument(["target_url"], metavar="DST-URL|-"),
        click.Argument(["target"], metavar="DST|="),
        click.Option(
            ["--prefetch"],
            type=click.IntRange(1),
            default=100,
            metavar="N",
            help="Messages on their way at once.  [default: 100]",
        ),
        click.Option(
            ["--tx"], type=click.IntRange(1), metavar="N", help="Send in transactions of N."
        ),
        click.Option(
            ["--map", "mapping"],
            metavar="s/A/B/",
            help="With = : change the destination by this regular expression.",
        ),
        *_ending(),
        _selector(),
        _headers("Add a header to every message, or replace it; may be repeated."),
        click.Option(
            ["--loop-header"],
            metavar="NAME",
            help="Mark what is forwarded by this header, and forward nothing that has it.",
        ),
        click.Option(
            ["--reconnect/--no-reconnect"],
            default=True,
            help="Connect again when a connection is lost.  [default: reconnect]",
        ),
        click.Option(
            ["--stats"], type=DURATION, metavar="DUR", help="Say how far it is, every so often."
        ),
    ],
    help="Forward the messages of SRC at one broker to DST at another, until Ctrl-C. A message is "
    "acknowledged when the other broker has confirmed it: none is lost; the last ones may come "
    "twice when a connection breaks. - stands for the broker of the global options, = for each "
    "message's own destination.",
    examples=(
        "stomp bridge stomp://old:61613 /queue/orders stomp://new:61613 /queue/orders",
        "stomp bridge - '/topic/log.#' stomp://far:61613 = --map 's,^/topic/,/topic/from-here.,'",
        "stomp bridge stomp://a '/topic/#' stomp://b = --loop-header x-bridged",
    ),
)
