"""The click commands that look at a broker and act on it. They only parse, as those of arguments.

Only click is imported, so that help, usage errors and completion stay quick.
"""

from typing import Any, Final

import click

from stompcli.arguments import Verb
from stompcli.options import COLUMNS, DURATION, HEADER, RATE, SIZE

DLQ_ACTIONS: Final = ("ls", "show", "requeue", "purge")
DURABLE_ACTIONS: Final = ("ls", "rm")
ROUTE_ACTIONS: Final = ("add", "rm")
DEFINITIONS_ACTIONS: Final = ("export", "import")


def _listing(*filters: str) -> list[click.Parameter]:
    """Return the options of a listing; ``filters`` are those that not every listing has."""
    own: dict[str, click.Parameter] = {
        "--non-empty": click.Option(
            ["--non-empty"], is_flag=True, help="Only those with messages."
        ),
        "--no-consumers": click.Option(
            ["--no-consumers"], is_flag=True, help="Only those that nobody receives from."
        ),
    }
    return [
        *(own[name] for name in filters),
        click.Option(
            ["--sort"],
            metavar="FIELD",
            help="Sort by this field: numbers from the largest, text from a to z.",
        ),
        click.Option(["--reverse"], is_flag=True, help="The other way round."),
        click.Option(["--top"], type=click.IntRange(1), metavar="N", help="Only the first N."),
        click.Option(
            ["--columns"],
            type=COLUMNS,
            metavar="A,B",
            help="These fields, in this order; the names are those of --json.",
        ),
        click.Option(["--bars"], is_flag=True, help="Bars in place of numbers."),
        *_shape(),
    ]


def _shape() -> list[click.Parameter]:
    return [
        click.Option(
            ["--plain", "plain"], is_flag=True, help="Tabs between fields, numbers as they are."
        ),
        click.Option(["--no-header", "no_header"], is_flag=True, help="No line of titles."),
        click.Option(
            ["-i", "--interval"],
            type=DURATION,
            metavar="DUR",
            help="Show it again after so long, and so on until stopped.",
        ),
    ]


def _glob(what: str) -> click.Argument:
    return click.Argument(["glob"], required=False, metavar=f"[{what}]")


def _count(words: str, **attributes: Any) -> click.Option:  # noqa: ANN401 - click's own
    return click.Option(
        ["-n", "--count"], type=click.IntRange(1), metavar="N", help=words, **attributes
    )


def _selector() -> click.Option:
    return click.Option(
        ["--selector"], metavar="EXPR", help="Only messages whose headers match, as in SUBSCRIBE."
    )


def _older_than() -> click.Option:
    return click.Option(
        ["--older-than"], type=DURATION, metavar="DUR", help="Only those that waited for so long."
    )


def _yes() -> click.Option:
    return click.Option(["-y", "--yes"], is_flag=True, help="Do not ask.")


def _dry_run() -> click.Option:
    return click.Option(["--dry-run"], is_flag=True, help="Print how many it would be, do nothing.")


def _browsing() -> list[click.Parameter]:
    return [
        click.Option(
            ["--offset"], type=click.IntRange(0), default=0, metavar="N", help="Pass over N first."
        ),
        click.Option(["--headers-only"], is_flag=True, help="Leave the bodies out."),
        click.Option(
            ["--body-bytes"],
            type=SIZE,
            metavar="SIZE",
            help="Cut bodies after so many octets.  "
            "[default: 200 where people read them, else whole]",
        ),
    ]


_WILDCARDS: Final = (
    " In a GLOB * is any run of characters and ? is one; a GLOB with # is a pattern "
    "as in SUBSCRIBE, where * is one word and # any number of them."
)

STATUS: Final = Verb(
    "status",
    _shape(),
    help="Show what the broker is and how it is doing.",
    examples=("stomp status", "stomp status --json"),
)

QUEUES: Final = Verb(
    "queues",
    [_glob("GLOB"), *_listing("--non-empty", "--no-consumers")],
    help="List queues." + _WILDCARDS,
    examples=(
        "stomp queues --non-empty",
        "stomp queues '/queue/DLQ.*' --sort ready --top 5",
        "stomp queues --plain --no-header --columns name,ready",
    ),
)

QUEUE: Final = Verb(
    "queue",
    [
        click.Argument(["action"], type=click.Choice(["info"]), metavar="info"),
        click.Argument(["name"], metavar="QUEUE"),
        *_shape(),
    ],
    help="Show all that is known of one queue.",
    examples=("stomp queue info /queue/orders",),
)

TOPICS: Final = Verb(
    "topics",
    [_glob("GLOB"), *_listing("--no-consumers")],
    help="List topics." + _WILDCARDS,
    examples=("stomp topics", "stomp topics '/topic/log.#'"),
)

SUBSCRIPTIONS: Final = Verb(
    "subscriptions",
    [
        _glob("GLOB"),
        click.Option(["--connection"], metavar="ID", help="Only those of this connection."),
        *_listing(),
    ],
    help="List subscriptions; GLOB is for their destinations." + _WILDCARDS,
    examples=("stomp subscriptions '/queue/orders*'", "stomp subscriptions --connection c17"),
)

CONNECTIONS: Final = Verb(
    "connections",
    [_glob("GLOB"), *_listing()],
    help="List connections; GLOB is for their id, peer, user or client-id.",
    examples=("stomp connections", "stomp connections 'worker*' --columns id,user,paused_by"),
)

DURABLE: Final = Verb(
    "durable",
    [
        click.Argument(["action"], type=click.Choice(DURABLE_ACTIONS), metavar="ls|rm"),
        click.Argument(["name"], required=False, metavar="[NAME]"),
        click.Option(["--client-id"], metavar="ID", help="For rm: whose subscription it is."),
        _yes(),
        *_listing("--non-empty", "--no-consumers"),
    ],
    help="List durable subscriptions, or remove one with the messages that it keeps.",
    examples=("stomp durable ls", "stomp durable rm audit --client-id billing"),
)

ROUTES: Final = Verb(
    "routes",
    [_glob("GLOB"), *_listing()],
    help="List the routes; GLOB is for any of their fields.",
    examples=("stomp routes",),
)

ROUTE: Final = Verb(
    "route",
    [
        click.Argument(["action"], type=click.Choice(ROUTE_ACTIONS), metavar="add|rm"),
        click.Argument(["words"], nargs=-1, required=True, metavar="MATCH TO...|NAME"),
        click.Option(["--name"], metavar="NAME", help="add: what it is called.  [default: any]"),
        click.Option(
            ["--when"], metavar="EXPR", help="add: only messages that match, as in SUBSCRIBE."
        ),
        click.Option(["--move"], is_flag=True, help="add: not to MATCH itself any more."),
    ],
    help="Add a route until the broker ends, or remove one by its name: what is sent to MATCH, a "
    "destination or a pattern, goes to every TO as well.",
    examples=(
        "stomp route add '/topic/order.*' /queue/audit --name audit",
        "stomp route add /queue/in /queue/big --when 'size > 1000' --move",
        "stomp route rm audit",
    ),
)

DEFINITIONS: Final = Verb(
    "definitions",
    [
        click.Argument(["action"], type=click.Choice(DEFINITIONS_ACTIONS), metavar="export|import"),
        click.Argument(["file"], required=False, metavar="[FILE]"),
        click.Option(["--dry-run"], is_flag=True, help="import: only say what would change."),
    ],
    help="Write queues with their settings, durable subscriptions, bindings and routes that were "
    "added since the start as JSON, to FILE or standard output; or make those of FILE, all or "
    "nothing. What is there and not named stays.",
    examples=(
        "stomp definitions export broker.json",
        "stomp definitions import broker.json --dry-run",
    ),
)

EXPLAIN: Final = Verb(
    "explain",
    [
        click.Argument(["destination"], metavar="DEST"),
        click.Option(
            ["--id", "id_"], metavar="MSGID", help="Ask about this message; browse tells ids."
        ),
        click.Option(
            ["-H", "--header", "header"],
            type=HEADER,
            multiple=True,
            metavar="K:V",
            help="Ask about a message with this header; may be repeated.",
        ),
    ],
    help="Say why the messages of DEST are not being delivered, and where a message goes.",
    examples=("stomp explain /queue/orders", "stomp explain /queue/orders --id 4"),
)

BROWSE: Final = Verb(
    "browse",
    [
        click.Argument(["queue"], metavar="QUEUE"),
        _count("Show N messages.  [default: 10]", default=10),
        click.Option(["--id", "id_"], metavar="MSGID", help="Show the message with this id."),
        _selector(),
        *_browsing(),
    ],
    help="Show messages of a queue, and leave them there. Needs stompd or ActiveMQ.",
    examples=(
        "stomp browse /queue/orders",
        "stomp browse /queue/orders -n 100 --selector \"kind = 'invoice'\" --headers-only",
        "stomp browse /queue/orders --json | jq .headers",
    ),
)

PURGE: Final = Verb(
    "purge",
    [
        click.Argument(["queues"], nargs=-1, required=True, metavar="QUEUE..."),
        _selector(),
        _older_than(),
        click.Option(
            ["--keep"], type=click.IntRange(0), metavar="N", help="Leave the newest N in the queue."
        ),
        _dry_run(),
        _yes(),
    ],
    help="Throw away the messages of queues. It asks for the name of each.",
    examples=(
        "stomp purge /queue/test",
        "stomp purge /queue/log --older-than 24h --dry-run",
        "stomp purge /queue/test --yes",
    ),
)


def _transfer(name: str, words: str, examples: tuple[str, ...]) -> Verb:
    return Verb(
        name,
        [
            click.Argument(["source"], metavar="SRC"),
            click.Argument(["target"], metavar="DST"),
            _count(f"{name.capitalize()} no more than N.  [default: all]"),
            _selector(),
            click.Option(
                ["--tx"],
                type=click.IntRange(1),
                default=100,
                metavar="N",
                help="With a broker other than stompd: in transactions of N.  [default: 100]",
            ),
            _dry_run(),
            _yes(),
        ],
        help=words,
        examples=examples,
    )


MOVE: Final = _transfer(
    "move",
    "Move the messages of the queue SRC to DST, oldest first. stompd does it by itself; with "
    "other brokers they pass through here, each out of SRC only when it is in DST.",
    ("stomp move /queue/a /queue/b", "stomp move /queue/a /queue/b -n 10 --yes"),
)
COPY: Final = _transfer(
    "copy",
    "Copy the messages of the queue SRC to DST, oldest first; SRC keeps them. Needs stompd or "
    "ActiveMQ.",
    ("stomp copy /queue/a /queue/b --selector 'priority > 5'",),
)

DLQ: Final = Verb(
    "dlq",
    [
        click.Argument(["action"], type=click.Choice(DLQ_ACTIONS), metavar="ls|show|requeue|purge"),
        click.Argument(["words"], nargs=-1, metavar="[DLQ] [MSGID...]"),
        click.Option(["--all", "all_"], is_flag=True, help="requeue: every message."),
        click.Option(
            ["--to"],
            metavar="DEST",
            help="requeue: there.  [default: where each message was sent to first]",
        ),
        click.Option(["--rate"], type=RATE, metavar="N/s", help="requeue: N a second at most."),
        _count("show, requeue: no more than N.  [default: show 10, requeue all]"),
        _selector(),
        _older_than(),
        click.Option(
            ["--keep"], type=click.IntRange(0), metavar="N", help="purge: leave the newest N."
        ),
        click.Option(
            ["--tx"],
            type=click.IntRange(1),
            default=100,
            metavar="N",
            help="requeue with a broker other than stompd: in transactions of N.  [default: 100]",
        ),
        _dry_run(),
        _yes(),
        *_browsing(),
        *_listing("--non-empty"),
    ],
    help="Dead letters: list their queues, show some, send them where they came from, or throw "
    "them away. DLQ begins with a slash; it may be left out while only one such queue holds "
    "messages. MSGID is the id that dlq show tells.",
    examples=(
        "stomp dlq ls",
        "stomp dlq show /queue/DLQ.orders",
        "stomp dlq requeue /queue/DLQ.orders 4 5",
        "stomp dlq requeue --all /queue/DLQ.orders --rate 100/s",
        "stomp dlq purge /queue/DLQ.orders --older-than 24h",
    ),
)

KICK: Final = Verb(
    "kick",
    [
        click.Argument(["connection"], metavar="CONN"),
        click.Option(["--reason"], metavar="TEXT", help="What its user is told."),
        _yes(),
    ],
    help="Close a connection. Its unacknowledged messages go back to their queues.",
    examples=("stomp kick c17 --reason 'please upgrade'",),
)

PAUSE: Final = Verb(
    "pause",
    [click.Argument(["destination"], metavar="QUEUE")],
    help="Stop delivering from a queue; it still takes messages.",
    examples=("stomp pause /queue/orders",),
)
RESUME: Final = Verb(
    "resume",
    [click.Argument(["destination"], metavar="QUEUE")],
    help="Deliver from a paused queue again.",
    examples=("stomp resume /queue/orders",),
)
