"""The click commands: what each command's words mean. Nothing here does any work.

Only click is imported, so that help, usage errors and completion stay quick.
"""

from typing import Any, Final

import click

from stompcli.completing import completed
from stompcli.options import DURATION, HEADER, RATE, SIZE, after_command
from stompcli.page import Context
from stompcli.receive_arguments import receiving

ACK_MODES: Final = ("auto", "client", "client-individual")


class Verb(click.Command):
    """A click command whose help begins with examples, and which takes the global options too."""

    context_class = Context

    def __init__(
        self,
        name: str,
        params: list[click.Parameter],
        *,
        help: str,  # noqa: A002 - click's word
        examples: tuple[str, ...] = (),
        unknown_options: bool = False,
        **attributes: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(
            name,
            params=completed([*params, *after_command(params)]),
            help=help,
            context_settings={
                "help_option_names": ["-h", "--help"],
                "ignore_unknown_options": unknown_options,
            },
            **attributes,
        )
        self.examples = examples

    def invoke(self, ctx: click.Context) -> int:
        """Do what the command line asks for; return the exit code."""
        from stompcli.main import run_command

        return run_command(ctx)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples before everything else."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write_text(example)
            formatter.write_paragraph()
        super().format_help(ctx, formatter)


def _headers() -> click.Option:
    return click.Option(
        ["-H", "--header", "header"],
        type=HEADER,
        multiple=True,
        metavar="K:V",
        help="Add a header; may be repeated. (Before the command, -H is the host.)",
    )


def _sending() -> list[click.Parameter]:
    """Return the options that every command which sends has."""
    return [
        _headers(),
        click.Option(["--headers"], metavar="FILE", help="Add the headers in this JSON object."),
        click.Option(["-f", "--body-file"], metavar="FILE", help="The body is this file."),
        click.Option(
            ["-t", "--content-type"],
            metavar="TYPE",
            help="The body's type.  [default: text/plain for text]",
        ),
        click.Option(
            ["--persistent"], is_flag=True, help="Ask the broker to keep it through a crash."
        ),
        click.Option(
            ["--priority"], type=click.IntRange(0, 255), metavar="N", help="Higher goes first."
        ),
        click.Option(["--ttl"], type=DURATION, metavar="DUR", help="Drop it after so long."),
        click.Option(["--delay"], type=DURATION, metavar="DUR", help="Deliver it so much later."),
        click.Option(["--reply-to"], metavar="DEST", help="Where the answer should go."),
        click.Option(["--correlation-id"], metavar="ID", help="What the answer should carry."),
        click.Option(
            ["--no-content-length"],
            is_flag=True,
            help="Leave content-length out (ActiveMQ then takes the body for text).",
        ),
        click.Option(["--no-stdin"], is_flag=True, help="Never read standard input."),
    ]


_BODY: Final = click.Argument(["body"], nargs=-1, required=False, metavar="[BODY...|-]")

SEND: Final = Verb(
    "send",
    [
        click.Argument(["destination"], metavar="DEST"),
        _BODY,
        *_sending(),
        click.Option(
            ["-r", "--receipt/--no-receipt"],
            default=None,
            help="Wait for the broker's receipt.  [default: yes; in a shell no]",
        ),
        click.Option(
            ["-n", "--count"], type=click.IntRange(1), metavar="N", help="Send it N times."
        ),
        click.Option(["--rate"], type=RATE, metavar="N/s", help="No more than N a second."),
        click.Option(["--sleep"], type=DURATION, metavar="DUR", help="Wait between messages."),
        click.Option(
            ["--size"], type=SIZE, metavar="SIZE", help="A body of so many octets, such as 1k."
        ),
        click.Option(
            ["--template"],
            is_flag=True,
            help="Fill in fields of BODY, DEST and headers: {n} (the number; {n:6} with zeros), "
            "{time}, {unix} in ms, {uuid}, {random:MAX}, {text:SIZE}, {pid}.",
        ),
        click.Option(["--edit"], is_flag=True, help="Write the message in $VISUAL or $EDITOR."),
        click.Option(["--lines"], is_flag=True, help="One message per line of standard input."),
        click.Option(["--null"], is_flag=True, help="One message per NUL of standard input."),
        click.Option(
            ["--json-in"],
            is_flag=True,
            help="One message per JSON line of standard input, as subscribe --json writes them.",
        ),
        click.Option(
            ["--tx"],
            type=click.IntRange(1),
            metavar="N",
            help="In transactions of N messages.",
        ),
        click.Option(["--dry-run"], is_flag=True, help="Print the exact frame, send nothing."),
    ],
    help="Send a message to DEST. Several words of BODY are joined by blanks; - or no BODY reads "
    'standard input; "" is an empty body. Put -- before a body that starts with a dash.',
    examples=(
        "stomp send /queue/test hello world",
        "echo hi | stomp send /queue/test -",
        "seq 3 | stomp send /queue/test --lines",
        "stomp send -H priority:9 --persistent /queue/test 'not lost'",
        "stomp send --template -n 100 /queue/test '{\"id\": {n}}'",
    ),
)

SENDREC: Final = Verb(
    "sendrec",
    [click.Argument(["destination"], metavar="DEST"), _BODY, *_sending()],
    help="Send a message, wait until the broker has confirmed it, and print the RECEIPT.",
    examples=("stomp sendrec /queue/test hello",),
)

SENDREPLY: Final = Verb(
    "sendreply",
    [
        click.Argument(["destination"], metavar="DEST"),
        click.Argument(["correlation"], metavar="CORRELATION-ID"),
        _BODY,
        *_sending(),
    ],
    help="Send an answer: a message that carries the correlation-id of what it answers.",
    examples=("stomp sendreply /queue/answers 4711 done",),
)

SENDFILE: Final = Verb(
    "sendfile",
    [
        click.Argument(["destination"], metavar="DEST"),
        click.Argument(["file"], metavar="FILE"),
        click.Argument(["headers"], required=False, metavar="[HEADERS.JSON]"),
        click.Option(["--as-is"], is_flag=True, help="The file's octets as they are, no base64."),
        *(
            option
            for option in _sending()
            if option.name not in ("headers", "body_file", "no_stdin", "no_content_length")
        ),
        click.Option(["--dry-run"], is_flag=True, help="Print the exact frame, send nothing."),
    ],
    help="Send a file as one message, in base64 and with its name, but not its path, as the header "
    "filename: so the program of stomp.py does, and subscribe --save-files understands it.",
    examples=(
        "stomp sendfile /queue/files picture.png",
        "stomp sendfile /queue/files --as-is report.json -t application/json",
    ),
)

SUBSCRIBE: Final = Verb(
    "subscribe",
    [
        click.Argument(["destinations"], nargs=-1, required=True, metavar="DEST... [ACK]"),
        click.Option(
            ["--ack"],
            type=click.Choice(ACK_MODES),
            help="When a message counts as received.  [default: auto; with --count "
            "client-individual, so that nothing more is taken than is shown]",
        ),
        click.Option(["--id", "id_"], metavar="ID", help="The subscription's id."),
        _headers(),
        click.Option(["--selector"], metavar="EXPR", help="Only messages that match."),
        click.Option(
            ["--prefetch"],
            type=click.IntRange(0),
            metavar="N",
            help="Let the broker send N messages ahead.",
        ),
        click.Option(["-n", "--count"], type=click.IntRange(1), metavar="N", help="Stop after N."),
        click.Option(
            ["--idle"], type=DURATION, metavar="DUR", help="Stop when none came for so long."
        ),
        click.Option(["--headers-only"], is_flag=True, help="Leave the bodies out."),
        click.Option(["-t", "--timestamp"], is_flag=True, help="Say when each message came."),
        click.Option(
            ["-N", "--no-newline", "no_newline"], is_flag=True, help="No line end after a body."
        ),
        click.Option(["-0", "--null"], is_flag=True, help="A NUL after a body, not a line end."),
        *receiving(),
    ],
    help="Receive the messages of every DEST and print them. A last word auto, client or "
    "client-individual is the ack mode; in the latter two a message is acknowledged once it was "
    "written.",
    examples=(
        "stomp subscribe /queue/test",
        "stomp subscribe /queue/test -n 1 --json",
        "stomp subscribe '/topic/log.#' --format '{destination} {body}\\n'",
        "stomp subscribe /queue/test --drain --json > messages.ndjson",
        "stomp subscribe /topic/news --group mailers --translate 'jq .title'",
    ),
)

UNSUBSCRIBE: Final = Verb(
    "unsubscribe",
    [click.Argument(["subscription"], metavar="DEST|ID")],
    help="End the subscription with this destination or id.",
)


def _settle(name: str, words: str) -> Verb:
    return Verb(
        name,
        [
            click.Argument(["message"], metavar="ID"),
            click.Argument(["subscription"], required=False, metavar="[SUBSCRIPTION]"),
            _headers(),
        ],
        help=f"{words} ID is an ack id, a message-id (with the subscription's id if others have "
        "it too), #n for the n-th message of this session, last, or all.",
    )


ACK: Final = _settle("ack", "Acknowledge a message.")
NACK: Final = _settle("nack", "Refuse a message; what becomes of it is the broker's choice.")
BEGIN: Final = Verb("begin", [], help="Begin a transaction; what follows belongs to it.")
COMMIT: Final = Verb("commit", [], help="Make the transaction happen.")
ABORT: Final = Verb("abort", [], help="Undo the transaction.")

STATS: Final = Verb(
    "stats",
    [click.Argument(["what"], required=False, type=click.Choice(["on", "off", "reset"]))],
    help="Show the counts of this session; on and reset start them anew, off stops counting.",
)

PING: Final = Verb(
    "ping",
    [
        click.Option(
            ["-c", "--count"],
            type=click.IntRange(1),
            default=5,
            metavar="N",
            help="How often.  [default: 5]",
        ),
        click.Option(
            ["-i", "--interval"],
            type=DURATION,
            default=1.0,
            metavar="DUR",
            help="How far apart.  [default: 1s]",
        ),
    ],
    help="Connect, and measure how long that and some receipts take. Nothing is sent anywhere.",
    examples=("stomp ping", "stomp -H broker.example.org ping -c 1"),
)

VERSION: Final = Verb("version", [], help="Show the version, and which file is running.")
HELP: Final = Verb(
    "help",
    [click.Argument(["command"], required=False, metavar="[COMMAND]")],
    help="Show the commands, or explain one. With --json: the table of commands.",
)
COMPLETION: Final = Verb(
    "completion",
    [click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
    help="Print the completion script for stomp and stompcli.",
    examples=("source <(stomp completion bash)",),
)
QUIT: Final = Verb("quit", [], help="Disconnect and leave.")
