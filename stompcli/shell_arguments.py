"""The click commands of the shell itself, as `stompcli.arguments`: they parse, and do no work."""

from typing import Final

import click

from stompcli.arguments import Verb
from stompcli.options import DURATION
from stompcli.rawframes import EOLS

_NUMBER: Final = click.Argument(["message"], metavar="#N")

SET: Final = Verb(
    "set",
    [
        click.Argument(["setting"], required=False),
        click.Argument(["value"], nargs=-1, required=False, metavar="[VALUE]"),
        click.Option(["--save"], is_flag=True, help="Write what was changed into config.toml."),
    ],
    help="Show the settings of the shell, or one, or change one.",
    examples=("set", "set rate 0", "set pager less -R", "set --save"),
    # Those of the program that the value names.
    unknown_options=True,
)
SHOW: Final = Verb(
    "show",
    [click.Argument(["message"], metavar="#N[-#M]|last")],
    help="Show a message of this session again, or several: all headers, and all of the body.",
    examples=("show #3", "show #10-#20", "show last | xxd"),
)
SAVE: Final = Verb(
    "save",
    [_NUMBER, click.Argument(["path"], required=False)],
    help="Write the body of a message into a new file. Without PATH you are asked for it; no file "
    "is ever written over, and no name is taken from a message.",
    examples=("save #3 order.json", "save last"),
)
LAST: Final = Verb("last", [], help="Show the last message again.")
HISTORY: Final = Verb(
    "history",
    [click.Argument(["count"], required=False, type=click.IntRange(1), metavar="[N]")],
    help="Show the last N lines that were typed.  [default: 20]",
)
HEADER: Final = Verb(
    "header",
    [
        click.Argument(["action"], type=click.Choice(["add", "del", "ls", "clear"])),
        click.Argument(["words"], nargs=-1, required=False, metavar="[K:V] [DEST]"),
    ],
    help="Keep headers that are added to every message that you send, or to those for DEST. What "
    "is typed with a message goes before them; -H k leaves one out.",
    examples=(
        "header add tenant:acme",
        "header add persistent:true /queue/orders",
        "header del tenant",
        "header ls",
        "header clear",
    ),
)
RECORD: Final = Verb(
    "record",
    [
        click.Argument(["file"], metavar="FILE|off"),
        click.Option(["--append"], is_flag=True, help="Go on in a file that is there."),
        click.Option(["--text"], is_flag=True, help="A log for people instead of JSON lines."),
    ],
    help="Record every octet that comes or goes, and every line typed, in a new file; passwords "
    "are left out. off ends it.",
    examples=("record session.ndjson", "record --text session.log", "record off"),
)
WIRE: Final = Verb(
    "wire",
    [click.Argument(["what"], required=False, type=click.Choice(["on", "hex", "off"]))],
    help="Show every octet that comes (<<<) or goes (>>>).",
)
CONNECT: Final = Verb(
    "connect",
    [click.Argument(["url"], required=False)],
    help="Connect, to URL or where we were before. What was subscribed to is left behind; see "
    "reconnect.",
    examples=("connect", "connect stomp://broker.example.org:61613"),
)
DISCONNECT: Final = Verb("disconnect", [], help="End the connection, and stay here.")
RECONNECT: Final = Verb(
    "reconnect", [], help="Make the connection anew, and subscribe to what we were subscribed to."
)
CLEAR: Final = Verb("clear", [], help="Clear the screen.")
RUN: Final = Verb(
    "run",
    [click.Argument(["file"])],
    help="Run the lines of a file, up to the first that fails.",
    examples=("run setup.stomp",),
)
RAW: Final = Verb(
    "raw",
    [
        click.Argument(["file"], required=False, metavar="[FILE|-]"),
        click.Option(
            ["--eol"], type=click.Choice(list(EOLS)), default="lf", help="What ends a line."
        ),
        click.Option(["--no-lint"], is_flag=True, help="Do not say what is wrong with a frame."),
        click.Option(["--escapes"], is_flag=True, help=r"\0 \r \xff in the text are octets."),
        click.Option(["--hex"], is_flag=True, help="Show octets in hexadecimal."),
        click.Option(
            ["--chunk"], type=click.IntRange(1), metavar="N", help="Write N octets at a time."
        ),
        click.Option(
            ["--delay"], type=DURATION, metavar="DUR", help="Wait so long between two writes."
        ),
        click.Option(
            ["--expect"],
            multiple=True,
            metavar="TEXT",
            help="Wait for this in what comes back; several, in this order. Exit code 75 if it "
            "does not come.",
        ),
        click.Option(
            ["--auto-connect"], is_flag=True, help="Send CONNECT first, and wait for the answer."
        ),
    ],
    help="Write frames as they are typed, as over telnet, over a connection of their own. A frame "
    "ends with ^@ (Ctrl-@, or the two characters) at the end of a line. Instead of a frame: beat "
    'sends a line feed, send-bytes "..." exactly that, quit ends it.',
    examples=(
        "stomp raw",
        "stomp raw --expect RECEIPT < frames.txt",
        "stomp raw --auto-connect --chunk 1 --delay 10ms frames.txt",
    ),
)
