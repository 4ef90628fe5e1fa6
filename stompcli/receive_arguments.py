"""The options of commands that receive: how messages are shown, and when to stop.

Only click is imported, so that help, usage errors and completion stay quick.
"""

import click

from stompcli.options import RATE

# What only a command of its own can do; in a shell messages are shown beside the prompt.
ONE_SHOT = (
    "count",
    "idle",
    "drain",
    "headers_only",
    "tail_headers",
    "timestamp",
    "delta",
    "no_newline",
    "null",
    "dump",
    "save_files",
    "translate",
    "rate_limit",
    "graph",
)


def receiving() -> list[click.Parameter]:
    """Return the further options of subscribe."""
    return [
        click.Option(
            ["--durable"],
            metavar="NAME",
            help="A subscription to a topic that is kept, with what comes, while we are away.",
        ),
        click.Option(
            ["--group"],
            metavar="NAME",
            help="Share a topic with all who name the same group: each message goes to one of "
            "them. Needs stompd or RabbitMQ.",
        ),
        click.Option(["--drain"], is_flag=True, help="Stop when the queues are empty."),
        click.Option(["--tail-headers"], is_flag=True, help="Headers below the body."),
        click.Option(
            ["-d", "--delta"], is_flag=True, help="Say how long after the one before each came."
        ),
        click.Option(
            ["--dump"],
            metavar="DIR|-",
            help="Write each message into a file of its own in DIR; -: to standard output, with a "
            "NUL after each.",
        ),
        click.Option(
            ["--save-files"],
            metavar="DIR",
            help="Keep files that were sent with sendfile in DIR; none is ever overwritten.",
        ),
        click.Option(
            ["--translate"],
            metavar="CMD",
            help="Show what CMD makes of each body, which is its standard input. No shell runs it.",
        ),
        click.Option(["--rate-limit"], type=RATE, metavar="N/s", help="Show N a second at most."),
        click.Option(
            ["--graph"], is_flag=True, help="Show how many come each second, not the messages."
        ),
    ]
