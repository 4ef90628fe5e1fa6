"""The click commands of both sides of a request."""

from typing import Final

import click

from stompcli.arguments import _BODY, Verb, _sending
from stompcli.options import DURATION, HEADER
from stompcli.worker_arguments import COMMAND, Starting, running, staying

REQUEST: Final = Verb(
    "request",
    [
        click.Argument(["destination"], metavar="DEST"),
        _BODY,
        *_sending(),
        click.Option(
            ["-n", "--replies", "--count", "replies"],
            type=click.IntRange(0),
            default=1,
            metavar="N",
            help="Wait for N replies; 0: for all that come in time.  [default: 1]",
        ),
        click.Option(
            ["--reply-timeout"],
            type=DURATION,
            default=30.0,
            metavar="DUR",
            help="How long to wait for them (exit 75).  [default: 30s]",
        ),
        click.Option(["--headers-only"], is_flag=True, help="Leave the bodies of replies out."),
        click.Option(
            ["-N", "--no-newline", "no_newline"], is_flag=True, help="No line end after a body."
        ),
    ],
    help="Send a request to DEST, wait for the reply, and print it as subscribe prints messages. "
    "It comes to a temporary queue, or to --reply-to, and is known by its correlation-id. BODY is "
    "as for send.",
    examples=(
        "stomp request /queue/upper hello",
        "stomp request /topic/who-is-there '' -n 0 --reply-timeout 1s",
        "stomp request /queue/sum --json - < numbers.json | jq .body",
    ),
)


class Reply(Starting):
    """What stands behind the first ``--`` is a program only if there is one to be run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let click parse the words, without those of a program."""
        at = args.index("--") if "--" in args else len(args)
        if "--command" in args[:at]:
            return super().parse_args(ctx, args)
        rest = Verb.parse_args(self, ctx, args)
        ctx.params[COMMAND] = ()
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the pieces of the line that shows how it is used."""
        return [*Verb.collect_usage_pieces(self, ctx), "[--command -- CMD [ARG...]]"]


REPLY: Final = Reply(
    "reply",
    [
        click.Argument(["destination"], metavar="DEST"),
        click.Argument(["body"], nargs=-1, required=False, metavar="[BODY...]"),
        click.Option(["--echo"], is_flag=True, help="Answer with the request's own body."),
        click.Option(
            ["--template"],
            metavar="TEXT",
            help="Answer with this, in which {body}, {n}, {destination}, {id} and {header.NAME} "
            "stand for the request's.",
        ),
        click.Option(["-f", "--body-file"], metavar="FILE", help="Answer with this file."),
        click.Option(
            ["--command"],
            is_flag=True,
            help="Answer with what CMD writes to standard output; see worker.",
        ),
        click.Option(
            ["-H", "--header", "header"],
            type=HEADER,
            multiple=True,
            metavar="K:V",
            help="Add a header to the answers; may be repeated.",
        ),
        click.Option(
            ["-t", "--content-type"],
            metavar="TYPE",
            help="The answers' type.  [default: text/plain for text, the request's for --echo]",
        ),
        click.Option(
            ["-n", "--count"], type=click.IntRange(1), metavar="N", help="Leave after N requests."
        ),
        click.Option(["--sleep"], type=DURATION, metavar="DUR", help="Wait before each answer."),
        *running(),
        *staying(),
    ],
    help="Answer each request that comes to DEST: with BODY, by a template, with its own body, or "
    "with what a program makes of it. The answer goes to the request's reply-to, with its "
    "correlation-id. Programs are run as worker runs them, never by a shell unless --shell says "
    "so. The first SIGINT or SIGTERM lets running ones finish.",
    examples=(
        "stomp reply /queue/ping pong",
        "stomp reply /queue/hello --template 'hello {body}, you are number {n}'",
        "stomp reply /queue/upper --command -- tr a-z A-Z",
        "stomp reply /queue/time --command --shell -- 'date -u +%FT%TZ'",
    ),
)
