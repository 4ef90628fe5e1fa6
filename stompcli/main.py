"""The `stomp` program (also installed as `stompcli`): argv to a command or to the line reader.

click parses, the table says which command does the work. Until there is work to do, nothing but
click is imported.
"""

import itertools
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from stompcli import table
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, StdoutClosed, usage
from stompcli.options import before_command
from stompcli.page import Context

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from stompcli.settings import Settings

_NOT_ONE_SHOT = (
    "acks belong to the session that received the message; "
    "use the shell, -F script, or subscribe --ack"
)
_SESSION_ONLY = "use the shell, or -F script"


def main() -> NoReturn:
    """Run the program with the words of the command line, and exit."""
    _open_standard_streams()
    code = run(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Else the interpreter would complain about it when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open what the caller has closed: else the connection would get the number of a stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def run(args: list[str]) -> int:
    """Run the program; return its exit code."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is slow to import
    name = name if name in ("stomp", "stompcli") else "stomp"
    stdout = sys.stdout
    completing = f"_{name.upper()}_COMPLETE" in os.environ
    if completing:
        from stompcli import shells

        shells.install()
    try:
        code = program().main(args, prog_name=name, standalone_mode=False)
        return int(code or ExitCode.DONE)
    except Failure as failure:
        if not completing:
            _complain(failure, args)
        return failure.code
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        complaint = in_words(error)
        _complain(complaint, args)
        return complaint.code
    except StdoutClosed:
        return ExitCode.DONE
    except SystemExit:
        # click ends so after completion, and, with another stdout, when nobody reads its help.
        if sys.stdout is not stdout:
            return ExitCode.DONE
        raise


def _complain(failure: Failure, args: list[str]) -> None:
    """Say why nothing was done, as the words of the command line ask for."""
    from stompcli.output import Out
    from stompcli.settings import Settings

    Out(Settings(json="--json" in args)).failure(failure)


def in_words(error: click.ClickException) -> Failure:
    """Return the failure that a complaint of click means."""
    hint = ""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter) and context is not None and error.param is not None:
        source = context.get_parameter_source(error.param.name or "")
        if source is click.core.ParameterSource.ENVIRONMENT:
            text = f"in the environment, {error.param.envvar}: {error.message}"
            return Failure(ExitCode.BAD_CONFIG, "bad-config", text)
    if isinstance(error, click.NoSuchOption):
        if error.option_name[1:2].isdigit():
            hint = "put -- before a body that starts with '-'"
        elif error.possibilities:
            hint = f"did you mean {error.possibilities[0]}?"
    if not hint and context is not None and context.info_name and context.obj is None:
        own = context.parent is not None
        hint = f"try: stomp help {context.info_name}" if own else "try: stomp --help"
    return usage(error.format_message(), hint)


def _ask_for_help(words: list[str]) -> bool:
    """Return whether words of a command ask what it does."""
    options = itertools.takewhile(lambda word: word != "--", words)
    return any(word in ("-h", "--help") for word in options)


class Program(click.Group):
    """The click group; its commands come from the table, each loaded when it is used."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands that can be run from a command line."""
        return [record.name for record in table.TABLE if record.one_shot]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name.

        Raises `Failure` for one that makes sense in a session only.
        """
        record = table.find(cmd_name)
        if record is None:
            return None
        if not record.one_shot and not ctx.resilient_parsing:
            hint = _NOT_ONE_SHOT if "ack" in record.name else _SESSION_ONLY
            if record.name in ("begin", "commit", "abort"):
                hint = _NOT_ONE_SHOT
            raise usage(hint if hint is _NOT_ONE_SHOT else f"{record.name}: {hint}")
        return record.load_parser()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names; raises `Failure` with the closest one."""
        word, *rest = args
        record = table.find(word)
        if record is not None and not record.one_shot and _ask_for_help(rest):
            return word, record.load_parser(), rest
        command = self.get_command(ctx, word)
        if command is None and not ctx.resilient_parsing:
            raise unknown(word)
        return (word if command else None), command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the commands by section, from the table and without loading any of them."""
        for section in table.SECTIONS:
            rows = [
                (", ".join((record.name, *record.aliases)), record.summary)
                for record in table.TABLE
                if record.section == section and record.one_shot
            ]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)
        rows = [(str(int(code)), code.meaning) for code in ExitCode]
        with formatter.section("Exit codes"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the words that complete a command, from the table."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(record.name, help=record.summary)
            for record in table.TABLE
            if record.one_shot and record.name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def program() -> Program:
    """Return the program as click sees it."""
    return Program(
        name="stomp",
        params=[
            *before_command(),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="Show the version, and which file is running.",
            ),
        ],
        callback=_no_command,
        invoke_without_command=True,
        subcommand_metavar="[COMMAND [ARGS]]",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Send to and receive from a STOMP broker. Without a command: a prompt, or the "
        "commands on standard input.",
    )


def unknown(word: str) -> Failure:
    """Return the failure for a word that names no command."""
    close = table.closest(word)
    return usage(f"Unknown command: {word}", f'did you mean "{close}"?' if close else "")


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from stompcli.about import version_line

        click.echo(version_line())
        ctx.exit()


def _no_command(**params: object) -> int:
    """Read commands from a script, a terminal or a pipe, if argv holds none."""
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        if params["file"] is not None or params["listen"]:
            raise usage("-F and -L are for a session; give no command with them")
        return ExitCode.DONE
    from stompcli import precedence

    settings = _checked(precedence.settled(context))
    data = None
    if settings.file not in (None, "-"):
        from stompcli import files

        data = files.read(str(settings.file))
    import trio

    interactive = settings.file is None and os.isatty(0)
    if interactive and not settings.plain and _can_do_tricks():
        from stompcli.shell.loop import run_shell

        return trio.run(run_shell, settings)
    from stompcli.line import read_lines
    from stompcli.output import Out

    out = Out(settings, in_shell=True)
    return trio.run(read_lines, settings, out, data, interactive)


def _can_do_tricks() -> bool:
    """Return whether the terminal understands escape sequences, as far as one can tell."""
    return os.isatty(1) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def run_command(context: click.Context) -> int:
    """Run one command of the command line; return its exit code."""
    assert context.parent is not None  # noqa: S101 - for the type checker; a group made it
    record = table.find(str(context.info_name))
    assert record is not None  # noqa: S101 - for the type checker; the group found it
    from stompcli import paths, precedence, preferences
    from stompcli.output import Out
    from stompcli.preferences import Preferences

    settings = precedence.settled(context.parent, context.params, offline=record.offline)
    settings = _checked(settings)
    wanted = Preferences()
    if not (settings.no_rc or record.offline) and (os.isatty(1) or os.isatty(2)):
        # What scripts write is nothing to be preferred otherwise.
        wanted = preferences.load(paths.config_file())
        settings = precedence.with_preferences(settings, wanted)
    out = Out(settings)
    if "format" in wanted.named:
        out.usual_format = wanted.format
    out.full = wanted.headers == "full" and "headers" in wanted.named
    remark = precedence.remark(settings)
    if remark is not None and not record.offline:
        out.notice(remark)
    import trio

    from stompcli.running import perform

    return trio.run(perform, record, context.params, settings, out, wanted)


def _checked(settings: "Settings") -> "Settings":
    """Return the settings; raises `Failure` for a format that there is not, and for TLS amiss."""
    if settings.format is not None:
        from stompcli.render import check_pattern

        complaint = check_pattern(settings.format)
        if complaint is not None:
            raise usage(complaint)
    from stompcli import precedence

    precedence.check(settings)
    return settings
