"""The click commands that start other programs, whose words stand behind the first ``--``."""

from typing import Final

import click

from stompcli.arguments import Verb
from stompcli.options import DURATION, HEADER

# Where the words behind the first -- go.
COMMAND: Final = "command_words"


class Starting(Verb):
    """A command that starts a program: click never sees what stands behind the first ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words of the program away, and let click parse the others."""
        at = args.index("--") if "--" in args else len(args)
        words = tuple(args[at + 1 :])
        rest = super().parse_args(ctx, args[:at])
        ctx.params[COMMAND] = words
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the pieces of the line that shows how it is used."""
        return [*super().collect_usage_pieces(ctx), "--", "CMD", "[ARG...]"]


def _on_fail(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return what --on-fail says; raises click's error if that is nothing."""
    if value in ("nack", "requeue", "ack") or (value.startswith("dlq:") and value != "dlq:"):
        return value
    raise click.BadParameter(f'"{value}" is none of nack, requeue, ack, dlq:DEST', ctx, param)


def running() -> list[click.Parameter]:
    """Return the options of how a program is run for a message."""
    return [
        click.Option(
            ["-c", "--concurrency"],
            type=click.IntRange(1),
            default=1,
            metavar="N",
            help="So many jobs at once; each DEST may send so many ahead.  [default: 1]",
        ),
        click.Option(
            ["--job-timeout"],
            type=DURATION,
            metavar="DUR",
            help="End a job after so long: SIGTERM to it and what it has started.",
        ),
        click.Option(
            ["--grace"],
            type=DURATION,
            default=10.0,
            metavar="DUR",
            help="SIGKILL so long after SIGTERM.  [default: 10s]",
        ),
        click.Option(
            ["--on-fail"],
            callback=_on_fail,
            default="nack",
            metavar="nack|requeue|dlq:DEST|ack",
            help="What becomes of the message of a failed job: nack leaves it to the broker, "
            "requeue brings it again after --retry-delay, dlq:DEST sends it there, ack drops it.  "
            "[default: nack]",
        ),
        click.Option(
            ["--retries"],
            type=click.IntRange(1),
            metavar="N",
            help="Give a message N attempts in all, --retry-delay apart; then NACK it for good, or "
            "do what --on-fail dlq:DEST or ack says.",
        ),
        click.Option(
            ["--retry-delay"],
            type=DURATION,
            default=5.0,
            metavar="DUR",
            help="How long a message rests before it comes again.  [default: 5s]",
        ),
        click.Option(
            ["--retry-backoff"],
            type=click.FloatRange(1.0, 1000.0),
            default=1.0,
            metavar="FACTOR",
            help="Each further rest is so many times as long, a day at most.  [default: 1]",
        ),
        click.Option(
            ["--input"],
            type=click.Choice(["stdin", "file", "arg"]),
            default="stdin",
            help="How CMD gets the body: standard input; a file, named by STOMP_BODY_FILE and "
            "{file}; its last argument.  [default: stdin]",
        ),
        click.Option(
            ["--env-headers"],
            is_flag=True,
            help="Give CMD the message's headers as STOMP_HEADER_NAME.",
        ),
        click.Option(["--shell"], is_flag=True, help="Run CMD by sh -c. Nothing is put into it."),
        click.Option(
            ["--quiet-child"], is_flag=True, help="Drop what CMD writes to standard error."
        ),
    ]


def staying() -> list[click.Parameter]:
    """Return the options of what stays, and writes a log of what it does."""
    return [
        click.Option(
            ["--max-idle"], type=DURATION, metavar="DUR", help="Leave after so long without a job."
        ),
        click.Option(
            ["--name"], metavar="NAME", help="What the worker is called.  [default: host.pid]"
        ),
        click.Option(["--selector"], metavar="EXPR", help="Only messages that match."),
        click.Option(
            ["--no-reconnect"], is_flag=True, help="Leave when the connection is lost (exit 69)."
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(["text", "json"]),
            default="text",
            help="How the log on standard error is written.  [default: text]",
        ),
    ]


WORKER: Final = Starting(
    "worker",
    [
        click.Argument(["destinations"], nargs=-1, required=True, metavar="DEST..."),
        click.Option(
            ["-b", "--burst"], is_flag=True, help="Leave when there is nothing more to do."
        ),
        click.Option(
            ["-n", "--max-jobs"], type=click.IntRange(1), metavar="N", help="Leave after N jobs."
        ),
        *running(),
        click.Option(
            ["--reply"],
            is_flag=True,
            help="Send what CMD writes to standard output to the message's reply-to.",
        ),
        click.Option(
            ["--order"],
            type=click.Choice(["strict", "round-robin"]),
            default="strict",
            help="Whose message is next: the first DEST's that has one, or each DEST's in turn.  "
            "[default: strict]",
        ),
        click.Option(
            ["-H", "--header", "header"],
            type=HEADER,
            multiple=True,
            metavar="K:V",
            help="Add a header to SUBSCRIBE; may be repeated.",
        ),
        *staying(),
    ],
    help="Run CMD for each message of every DEST, and acknowledge the message when CMD has ended "
    "with 0. 75 means not now: the message comes again. Anything else has failed, see --on-fail. "
    "In CMD's arguments {destination}, {message-id}, {header:NAME} and {file} stand for what the "
    "message has, each as one word; no shell sees them. Its environment has STOMP_DESTINATION, "
    "STOMP_MESSAGE_ID, STOMP_ATTEMPT and STOMP_WORKER. The first SIGINT or SIGTERM lets running "
    "jobs finish, a second one ends them.",
    examples=(
        "stomp worker /queue/thumbs -- ./resize.sh",
        "stomp worker -c 4 --retries 3 --retry-delay 30s /queue/mail -- sendmail -t",
        "stomp worker --burst /queue/high /queue/low -- ./job {message-id} {header:kind}",
        "stomp worker --reply /queue/upper -- tr a-z A-Z",
        "stomp worker --shell --on-fail dlq:/queue/bad /queue/in -- 'gzip > $STOMP_MESSAGE_ID.gz'",
        "stomp queues /queue/thumbs; stomp dlq requeue --all /queue/DLQ.thumbs",
    ),
)
