"""The click commands that measure and watch a broker. They only parse, as those of arguments.

Only click is imported, so that help, usage errors and completion stay quick.
"""

import re
from typing import Final

import click

from stompcli.arguments import ACK_MODES, Verb
from stompcli.options import DURATION, NUMBER, RATE, SIZE, _Type

CHECKS: Final = ("conn", "queue", "dlq", "roundtrip")
CHECK_FORMATS: Final = ("nagios", "json", "prometheus")
BENCH_VERBS: Final = ("send", "receive", "roundtrip", "fanout", "connect")


class Sizes(_Type):
    """``128,1k``: sizes in octets."""

    name = "sizes"

    def convert(
        self,
        value: str | tuple[int, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, ...]:
        """Return the octets of each."""
        if isinstance(value, tuple):
            return value
        return tuple(SIZE.convert(word.strip(), param, ctx) for word in value.split(","))


class Receipts(_Type):
    """``every``, ``none``, or each how many messages have one."""

    name = "receipts"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return each how many; 0 for none."""
        if isinstance(value, int):
            return value
        words = {"every": 1, "none": 0}
        if value in words:
            return words[value]
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            self.fail(f'"{value}" is none of every, none and a number such as 10', param, ctx)
        return int(value)


class Regex(_Type):
    """A regular expression."""

    name = "regex"

    def convert(
        self,
        value: str | re.Pattern[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> re.Pattern[str]:
        """Return it compiled."""
        if isinstance(value, re.Pattern):
            return value
        try:
            return re.compile(value)
        except re.error as error:
            self.fail(f'"{value}" is not a regular expression: {error}', param, ctx)


REGEX: Final = Regex()
SIZES: Final = Sizes()
RECEIPTS: Final = Receipts()

BENCH: Final = Verb(
    "bench",
    [
        click.Argument(["verb"], type=click.Choice(BENCH_VERBS), metavar="|".join(BENCH_VERBS)),
        click.Argument(["destination"], required=False, metavar="[DEST]"),
        click.Option(
            ["--clients"],
            type=click.IntRange(1),
            default=1,
            metavar="N",
            help="How many at the same time; in roundtrip each has a connection to send and one "
            "to receive, in fanout they are the receivers.  [default: 1]",
        ),
        click.Option(
            ["--msgs"],
            type=NUMBER,
            metavar="N",
            help="So many messages, such as 100k, of all clients together; in connect, "
            "connections.  [default: as many as go in --duration]",
        ),
        click.Option(
            ["--duration"],
            type=DURATION,
            metavar="DUR",
            help="For so long at most.  [default: 5s, unless --msgs says how many]",
        ),
        click.Option(
            ["--warmup"],
            type=DURATION,
            default=0.0,
            metavar="DUR",
            help="Before that, the same for so long without measuring it.",
        ),
        click.Option(
            ["--size"],
            type=SIZES,
            metavar="SIZE,...",
            help="Octets of a body; with several sizes a run for each.  [default: 128]",
        ),
        click.Option(
            ["--rate"],
            type=RATE,
            metavar="N/s",
            help="So many messages a second, of all clients together. A message that is late "
            "counts from when it was due.  [default: as many as go]",
        ),
        click.Option(
            ["--max-pending"],
            type=click.IntRange(1),
            metavar="N",
            help="So many messages of a client may be without their receipt.  [default: 100]",
        ),
        click.Option(
            ["--receipts"],
            type=RECEIPTS,
            metavar="every|N|none",
            help="Each message, or each N-th, asks for a receipt.  [default: every]",
        ),
        click.Option(
            ["--ack"],
            type=click.Choice(ACK_MODES),
            help="When a message counts as received.  [default: auto]",
        ),
        click.Option(
            ["--tx"],
            type=click.IntRange(1),
            metavar="N",
            help="Send in transactions of N messages; it is COMMIT that has the receipt.",
        ),
        click.Option(
            ["--persistent"], is_flag=True, help="Ask the broker to keep them through a crash."
        ),
        click.Option(
            ["--destinations"],
            type=click.IntRange(1),
            metavar="N",
            help="Spread over DEST.1 to DEST.N.",
        ),
        click.Option(
            ["--idle"],
            type=DURATION,
            metavar="DUR",
            help="When nothing came for so long, what is missing is lost.  [default: 5s]",
        ),
        click.Option(["--csv"], metavar="FILE", help="Write the figures of every client there."),
        click.Option(
            ["--hdr"],
            metavar="FILE",
            help="Write the distribution of latencies there, as HdrHistogram does (.hgrm).",
        ),
        click.Option(
            ["--i-mean-it"],
            is_flag=True,
            help="Put over 100k messages on a broker that is not on this machine.",
        ),
    ],
    help="Put load on a broker, any broker, measure it, and check that nothing is lost, comes "
    "twice or out of order. DEST is /queue/bench by default, /topic/bench for fanout. "
    "send and receive do only one half.",
    examples=(
        "stomp bench roundtrip --clients 4 --msgs 100k --size 1k",
        "stomp bench send --persistent --receipts every --duration 30s --warmup 5s",
        "stomp bench fanout --clients 20 --rate 500/s --hdr latency.hgrm",
        "stomp bench connect --clients 10 --msgs 1000",
    ),
)

CHECK: Final = Verb(
    "check",
    [
        click.Argument(
            ["what"],
            type=click.Choice(CHECKS),
            default="conn",
            metavar="[conn|queue|dlq|roundtrip]",
        ),
        click.Argument(["target"], required=False, metavar="[QUEUE|DEST]"),
        click.Option(
            ["--warn"],
            metavar="N|DUR",
            help="Warn from here on: messages, or for conn and roundtrip a duration.  "
            "[default: for dlq 1]",
        ),
        click.Option(["--crit"], metavar="N|DUR", help="Critical from here on."),
        click.Option(
            ["--format", "form"],
            type=click.Choice(CHECK_FORMATS),
            default="nagios",
            metavar="|".join(CHECK_FORMATS),
            help="How to write it.  [default: nagios]",
        ),
    ],
    help="Check that a broker works, for nagios and its like; the exit code is 0 for OK, 1 for "
    "WARNING, 2 for CRITICAL, 3 for UNKNOWN. conn connects and waits for a receipt, and asks "
    "stompd how it is; roundtrip sends a message and receives it, by a topic of its own or by "
    "DEST; queue and dlq count the messages of a queue, or of all dead-letter queues, of stompd. "
    "It takes 10 seconds at most, or --timeout.",
    examples=(
        "stomp check",
        "stomp check queue /queue/orders --warn 1000 --crit 5000",
        "stomp check roundtrip --warn 100ms --crit 1s",
        "stomp check dlq --format prometheus > /var/lib/node_exporter/stomp.prom",
    ),
)

TAP: Final = Verb(
    "tap",
    [
        click.Option(
            ["--dest"],
            metavar="GLOB",
            help="Only frames of these destinations, and their receipts and acknowledgements.",
        ),
        click.Option(["--conn"], metavar="ID", help="Only frames of this connection."),
        click.Option(["--user"], metavar="NAME", help="Only frames of this user's connections."),
        click.Option(["--frames"], metavar="SEND,ACK", help="Only frames with these commands."),
        click.Option(["--headers-only"], is_flag=True, help="Leave the bodies out."),
        click.Option(
            ["--body-bytes"],
            type=SIZE,
            default=80,
            metavar="SIZE",
            help="Cut bodies after so many octets.  [default: 80]",
        ),
        click.Option(
            ["--no-heartbeats"],
            is_flag=True,
            help="Leave heart-beats out. (stompd's tap never shows them.)",
        ),
        click.Option(
            ["-n", "--count"], type=click.IntRange(1), metavar="N", help="End after N frames."
        ),
    ],
    help="Show the frames that come to stompd (>) and leave it (<). The tap never slows the "
    "broker: what it cannot show in time is dropped, and counted. Every header with -V.",
    examples=(
        "stomp tap --dest '/queue/t*'",
        "stomp tap --frames ERROR,CONNECT",
        "stomp tap --json | jq -c 'select(.size > 1000)'",
    ),
)

EVENTS: Final = Verb(
    "events",
    [
        click.Option(
            ["--filter", "pattern"],
            type=REGEX,
            metavar="RE",
            help="Only those whose line this regular expression is found in.",
        ),
        click.Option(
            ["-n", "--count"], type=click.IntRange(1), metavar="N", help="End after N events."
        ),
    ],
    help="Show what happens in stompd: who comes and goes, what is made and deleted, what dies.",
    examples=("stomp events", "stomp events --filter 'dead-lettered|expired'"),
)
