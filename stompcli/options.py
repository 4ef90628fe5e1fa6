"""The options that every command understands, and the types of values that options take."""

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

from stompcli.completing import completed, completes
from stompcli.further_options import FURTHER, Spelled, joined

# The context object of a line that was typed into a shell.
SHELL: Final = "shell"
# What begins the names of parameters that were given after the command.
AFTER: Final = "after_"

# Not compiled until a value is given: help needs none of them.
_DURATION: Final = r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|)\Z"
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_SIZE: Final = r"([0-9]+)\s*([kKmMgG]?)(?:i?[bB])?\Z"
_OCTETS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)([kKmM]?)\Z"
_FACTORS: Final = {"": 1, "k": 1000, "m": 1_000_000}
_RATE: Final = r"([0-9]+(?:\.[0-9]+)?)([kKmM]?)(?:/s)?\Z"
_BEATS: Final = r"[0-9]+,[0-9]+\Z"


if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Type = click.ParamType[Any]
else:
    # Only the newest click can be asked for the type of the value.
    _Type = click.ParamType


class Duration(_Type):
    """``500ms``, ``2s``, ``1m``; a bare number is seconds."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.match(_DURATION, value)
        if match is None:
            self.fail(f'"{value}" is not a duration such as 500ms, 2s or 1m', param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class Size(_Type):
    """``100``, ``1k``, ``2M``: octets, in powers of 1024."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return octets."""
        if isinstance(value, int):
            return value
        match = re.match(_SIZE, value)
        if match is None:
            self.fail(f'"{value}" is not a size such as 100, 1k or 2M', param, ctx)
        return int(match[1]) * _OCTETS[match[2].lower()]


class Number(_Type):
    """``100``, ``100k``, ``1.5M``: how many, in powers of 1000."""

    name = "number"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number, which is 1 at least."""
        if isinstance(value, int):
            return value
        match = re.match(_NUMBER, value)
        number = 0 if match is None else int(float(match[1]) * _FACTORS[match[2].lower()])
        if number < 1:
            self.fail(f'"{value}" is not a number such as 100, 100k or 1M', param, ctx)
        return number


class Rate(_Type):
    """``100``, ``100/s`` or ``10k/s``."""

    name = "rate"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return how many a second."""
        match = re.match(_RATE, str(value))
        if match is None or float(match[1]) <= 0:
            self.fail(f'"{value}" is not a rate such as 100, 100/s or 10k/s', param, ctx)
        return float(match[1]) * _FACTORS[match[2].lower()]


class Header(_Type):
    """``name:value``; in a shell also ``name`` alone, which takes a default header away."""

    name = "k:v"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Return names of headers, and then their usual values."""
        return completes(param, ctx, incomplete)

    def convert(
        self,
        value: str | tuple[str, str | None],
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,
    ) -> tuple[str, str | None]:
        """Return name and value; the value is None for a header that is to go."""
        if isinstance(value, tuple):
            return value
        name, colon, rest = value.partition(":")
        if not colon:
            if ctx is not None and ctx.obj == SHELL:
                return name, None
            raise click.UsageError(
                f"header \"{value}\" has no ':' - after a command -H sets a header; "
                "the host is --host, or -H before the command",
                ctx,
            )
        if not name:
            raise click.UsageError(f'header "{value}" has no name', ctx)
        return name, rest


class Beats(_Type):
    """``CX,CY``: two numbers of milliseconds."""

    name = "cx,cy"

    def convert(
        self,
        value: str | tuple[int, int],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """Return both numbers."""
        if isinstance(value, tuple):
            return value
        if not re.match(_BEATS, value):
            self.fail(
                f'"{value}" is not two numbers of milliseconds, such as 10000,10000', param, ctx
            )
        cx, _, cy = value.partition(",")
        return int(cx), int(cy)


class Columns(_Type):
    """``name,ready``: names of fields; ``-`` and ``_`` mean the same."""

    name = "columns"

    def convert(
        self,
        value: str | tuple[str, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Return the names, with ``_``."""
        if isinstance(value, tuple):
            return value
        names = tuple(word.strip().lower().replace("-", "_") for word in value.split(","))
        if not all(names):
            self.fail(f'"{value}" is not a list of columns such as name,ready', param, ctx)
        return names


COLUMNS: Final = Columns()
DURATION: Final = Duration()
SIZE: Final = Size()
NUMBER: Final = Number()
RATE: Final = Rate()
HEADER: Final = Header()
BEATS: Final = Beats()


def given_after(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given after a command, by their names."""
    return {
        name.removeprefix(AFTER): value
        for name, value in params.items()
        # The zero of a count is nobody's; that of a duration is somebody's.
        if name.startswith(AFTER)
        and not (value is None or value is False or value in ((), ""))
        and not (isinstance(value, int) and value == 0)
    }


def _connection() -> list[dict[str, Any]]:
    """Return the long options that may also stand after a command."""
    return [
        {"decls": ["--host"], "short": "-H", "metavar": "HOST", "envvar": "STOMP_HOST",
         "help": "The broker's host.  [default: localhost]"},
        {"decls": ["--port"], "short": "-P", "type": click.IntRange(1, 65535), "metavar": "N",
         "envvar": "STOMP_PORT", "help": "Its port.  [default: 61613; 61614 with --tls]"},
        {"decls": ["--url"], "short": "-u", "metavar": "URL", "envvar": "STOMP_URL",
         "multiple": True, "callback": joined,
         "help": "stomp://user:password@host:port/vhost, stomp+ssl://, ws://host:port/ws, wss:// "
         "or unix:///path, instead of both. Several are tried in turn."},
        {"decls": ["--user"], "short": "-U", "metavar": "NAME", "envvar": "STOMP_USER",
         "help": "Log in as this user."},
        {"decls": ["--password"], "short": "-W", "metavar": "PASSWORD", "envvar": "STOMP_PASSWORD",
         "help": "The password. Others can read a command line: prefer --password-file."},
        {"decls": ["--password-file"], "metavar": "FILE",
         "help": "The password is the first line of this file."},
        {"decls": ["--ask-password"], "is_flag": True, "help": "Ask for the password."},
        {"decls": ["--protocol"], "short": "-S",
         "type": click.Choice(["1.0", "1.1", "1.2", "auto"]),
         "help": "The version of STOMP; auto offers all and takes the best.  [default: auto]"},
        {"decls": ["--vhost"], "metavar": "NAME", "envvar": "STOMP_VHOST",
         "help": "The virtual host, if it is not the name of the host."},
        {"decls": ["--heartbeats"], "type": BEATS, "metavar": "CX,CY",
         "help": "Heart-beats to offer and to ask for, in milliseconds.  "
         "[default: 10000,10000 for the shell and commands that stay, 0,0 for the others]"},
        {"decls": ["--connect-header"], "type": HEADER, "multiple": True, "metavar": "K:V",
         "help": "A further header of CONNECT; may be repeated."},
        {"decls": ["--verbose"], "short": "-V", "count": True,
         "help": "Show all headers; twice: show every octet on the wire."},
        {"decls": ["--quiet"], "short": "-q", "is_flag": True, "help": "No notices."},
        {"decls": ["--json"], "is_flag": True, "help": "Write JSON."},
        {"decls": ["--format"], "metavar": "FORMAT",
         "help": "stomp.py, pretty, json, body, or a pattern such as "
         "'{destination} {header.priority} {body}\\n'."},
        {"decls": ["--raw"], "is_flag": True, "help": "Write bodies exactly, and nothing else."},
        {"decls": ["--timeout"], "type": DURATION, "envvar": "STOMP_TIMEOUT", "metavar": "DUR",
         "help": "End the whole command after this long."},
        {"decls": ["--linger"], "type": DURATION, "default": 0.5, "metavar": "DUR",
         "help": "After the last command wait until no message came for so long.  "
         "[default: 0.5s]"},
        {"decls": ["--plain"], "is_flag": True, "envvar": "STOMP_PLAIN",
         "help": "Read plain lines: no colours, no completion, no terminal needed. "
         "Listings have tabs between their fields."},
        *FURTHER,
    ]  # fmt: skip


@cache
def _after() -> Mapping[str, click.Parameter]:
    """Return the long options that may stand after a command, one of each for all commands."""
    options = {}
    for one in _connection():
        spec = {key: value for key, value in one.items() if key not in ("decls", "short", "envvar")}
        long = one["decls"][0]
        if "is_flag" not in spec and "count" not in spec and "multiple" not in spec:
            spec["default"] = None
        name = AFTER + long.removeprefix("--").replace("-", "_")
        options[long] = click.Option([name, *one["decls"]], hidden=True, **spec)
    return options


def after_command(own: list[click.Parameter]) -> list[click.Parameter]:
    """Return the long options to accept after a command, but for those that it has itself."""
    taken = {name for param in own for name in (*param.opts, *param.secondary_opts)}
    return [option for long, option in _after().items() if long not in taken]


def before_command() -> list[click.Parameter]:
    """Return the global options."""
    options: list[click.Parameter] = []
    for one in _connection():
        spec = {key: value for key, value in one.items() if key not in ("decls", "short")}
        name = one["decls"][0].removeprefix("--").replace("-", "_")
        decls = [name, *([one["short"]] if "short" in one else []), *one["decls"]]
        if name in ("protocol", "color"):
            spec["default"] = "auto"
        kind = Spelled if len(one["decls"]) > 1 else click.Option
        options.append(kind(decls, **spec))
    options += [
        click.Option(
            ["-F", "--file", "file"],
            metavar="FILE",
            help='Run the commands in this file ("-": standard input).',
        ),
        click.Option(
            ["-k", "--keep-going", "keep_going"],
            is_flag=True,
            help="Go on after a command that failed.",
        ),
        click.Option(
            ["-L", "--listen", "listen"],
            metavar="DEST",
            multiple=True,
            help="Subscribe to this destination first.",
        ),
        click.Option(["--no-rc"], is_flag=True, help="Use no config.toml."),
        click.Option(["--no-shell"], is_flag=True, help="At the prompt, no `command | program`."),
        click.Option(
            ["--transcript"],
            metavar="FILE",
            help="Record every octet that comes or goes in this new file.",
        ),
    ]
    return completed(options)
