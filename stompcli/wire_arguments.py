"""The click commands that look at octets: frame and wiretap. They only parse."""

from typing import Final

import click

from stompcli.arguments import Verb
from stompcli.options import SIZE

FRAME: Final = Verb(
    "frame",
    [
        click.Argument(
            ["action"],
            type=click.Choice(["encode", "decode", "lint"]),
            metavar="encode|decode|lint",
        ),
        click.Argument(["file"], required=False, metavar="[FILE|-]"),
        click.Option(
            ["--stomp", "version"],
            type=click.Choice(["1.0", "1.1", "1.2"]),
            default="1.2",
            help="By the rules of this version.  [default: 1.2]",
        ),
        click.Option(
            ["--no-content-length"], is_flag=True, help="encode: add no content-length to a body."
        ),
    ],
    help="Frames offline, from a file or standard input. `decode` shows octets, or a transcript, "
    "as text; `encode` makes octets of such text, escapes headers and adds content-length; `lint` "
    "says what is wrong with octets, with line and column, and ends with 65 if STOMP does not "
    "allow it. In the text ^@ ends a frame.",
    examples=(
        "stomp frame encode frame.txt | nc -q1 localhost 61613",
        "stomp send --dry-run /queue/a 'hello' | stomp frame decode",
        "stomp frame lint capture.bin",
        "stomp frame decode transcript.ndjson --json",
    ),
)

WIRETAP: Final = Verb(
    "wiretap",
    [
        click.Option(
            ["--listen"],
            required=True,
            metavar="[HOST]:PORT",
            help="Where to listen; without HOST on this machine only, port 0 is any free one.",
        ),
        click.Option(
            ["--body-bytes"], type=SIZE, metavar="SIZE", help="Cut what is shown of a frame."
        ),
        click.Option(
            ["-n", "--count"],
            type=click.IntRange(1),
            metavar="N",
            help="Stop after N connections have come and gone.",
        ),
    ],
    help="Listen, pass everything on to the broker and back, and show every frame and octet on the "
    "way, without passwords. It changes nothing and works with any broker and client. The way to "
    "the broker may be TLS. With --json it writes lines as a transcript has them.",
    examples=(
        "stomp -H broker.example.org wiretap --listen :61700",
        "stomp -u stomp+ssl://broker.example.org wiretap --listen :61700 --json > session.ndjson",
    ),
)
