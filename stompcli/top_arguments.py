"""The click command of top. It only parses, as those of arguments."""

from typing import Final

import click

from stompcli.arguments import Verb
from stompcli.options import DURATION

TOP: Final = Verb(
    "top",
    [
        click.Argument(["glob"], required=False, metavar="[GLOB]"),
        click.Option(
            ["-i", "--interval"],
            type=DURATION,
            default=1.0,
            metavar="DUR",
            help="How often to look.  [default: 1s]",
        ),
        click.Option(
            ["-n", "--iterations"], type=click.IntRange(1), metavar="N", help="Stop after N looks."
        ),
        click.Option(
            ["-b", "--batch"], is_flag=True, help="Write one screen after the other, plainly."
        ),
        click.Option(
            ["--sort"], metavar="FIELD", help="Sort queues by this field.  [default: ready]"
        ),
    ],
    help="Watch a broker: its totals and rates, and its busiest queues. Keys: q quits, s sorts by "
    "the next column, r turns the order round, p or the space bar pauses. Off a terminal it is "
    "--batch, as for logs; --json writes an object a line.",
    examples=("stomp top", "stomp top '/queue/orders*' -i 5", "stomp top -b -n 3"),
)
