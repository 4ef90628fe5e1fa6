"""The click commands that measure and watch a broker. They only parse, as those of arguments.

Only click is imported, so that help, usage errors and completion stay quick.
"""

import re
from typing import TYPE_CHECKING, Any, Final

import click

from stompcli.arguments import ACK_MODES, Verb
from stompcli.options import DURATION, RATE, SIZE

BENCH_VERBS: Final = ("send", "receive", "roundtrip", "fanout", "connect")

_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmM]?)\Z")
_FACTORS: Final = {"": 1, "k": 1000, "m": 1_000_000}

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    # Only the newest click can be asked for the type of the value.
    _Type = click.ParamType


class Number(_Type):
    """``100``, ``100k``, ``1.5M``: how many, in powers of 1000."""

    name = "number"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number, which is 1 at least."""
        if isinstance(value, int):
            return value
        match = _NUMBER.match(value)
        number = 0 if match is None else int(float(match[1]) * _FACTORS[match[2].lower()])
        if number < 1:
            self.fail(f'"{value}" is not a number such as 100, 100k or 1M', param, ctx)
        return number


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


NUMBER: Final = Number()
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
