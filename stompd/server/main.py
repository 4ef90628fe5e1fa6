"""The command line of ``stompd``.

What takes long to import (trio, pydantic, structlog) is imported by the commands that need it, so
that ``stompd --help`` and ``stompd version`` answer at once.
"""

import dataclasses
import difflib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click
from click.shell_completion import CompletionItem, get_completion_class

import stompd
from stompd.server.exitcodes import Exit
from stompd.server.user_commands import hash_password, may, passwd

if TYPE_CHECKING:
    from stompd.server.config import Settings
    from stompd.server.sources import Problem, Sources

Flags = list[tuple[str, str, object]]
"""Each a flag's spelling, the key that it sets, and the value."""

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXAMPLES: Final = """\b
Examples:
  stompd                                     STOMP on 127.0.0.1:61613, console on 61680
  stompd --memory                            without a file: messages are lost on stop
  stompd --listen 127.0.0.1:0 --ready-fd 3   on a free port, told through descriptor 3
  stompd -c stompd.toml --set limits.body=1MiB
  stompd check-config -c stompd.toml
"""


class _Commands(click.Group):
    """The commands of stompd; without one, what is given belongs to ``serve``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        completing_a_command = ctx.resilient_parsing and not args
        if not completing_a_command and (not args or _is_flag_of_serve(args[0])):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            ctx.fail(self.no_command(args[0]))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        items = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            command = self.commands["serve"]
            serving = click.Context(command, parent=ctx, resilient_parsing=True)
            items += command.shell_complete(serving, incomplete)
        return items

    def no_command(self, name: str) -> str:
        """Say that there is no command ``name``, and which ones there are."""
        near = difflib.get_close_matches(name, self.commands, n=1)
        if near:
            return f'no command "{name}" (did you mean "{near[0]}"?)'
        return f'no command "{name}"; there are {", ".join(self.commands)}'


def _is_flag_of_serve(word: str) -> bool:
    return word.startswith("-") and word not in {"-h", "--help", "--version"}


def _config_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(path_type=Path),
        envvar="STOMPD_CONFIG",
        help="Read the settings in this TOML file (also: STOMPD_CONFIG).",
    )(command)


def _set_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_assignments,
        help="Set any key of the file, e.g. limits.body=1MiB; may be repeated.",
    )(command)


def _assignments(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Flags:
    """Split each KEY=VALUE into a flag as `stompd.server.sources.read` takes it."""
    flags: Flags = []
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f'"{text}" is not KEY=VALUE')
        flags.append(("--set", key.strip(), value.strip()))
    return flags


@click.group(
    cls=_Commands,
    context_settings=_CONTEXT,
    help="A STOMP 1.2, 1.1 and 1.0 message broker.\n\nWithout a COMMAND it serves: see `stompd "
    f"serve --help` for the flags.\n\n{_EXAMPLES}",
)
@click.version_option(stompd.__version__, message="stompd %(version)s")
def commands() -> None:
    """Leave the work to the commands."""


@commands.command()
@_config_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Listen here instead of 127.0.0.1:61613; port 0 takes a free one; may be repeated.",
)
@click.option(
    "--tls-listen",
    metavar="HOST:PORT",
    multiple=True,
    help="Listen here with TLS, too; may be repeated.",
)
@click.option("--tls-cert", metavar="FILE", help="The certificate for that, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, if that is not in the same file.")
@click.option("--unix", metavar="PATH", multiple=True, help="Listen on this Unix socket, too.")
@click.option(
    "--http-listen",
    metavar="HOST:PORT|off",
    multiple=True,
    help="Serve HTTP here instead of 127.0.0.1:61680, or not at all; may be repeated.",
)
@click.option(
    "--data",
    metavar="DIR",
    help="Keep messages in this directory; of itself in ~/.local/state/stompd.",
)
@click.option("--memory", is_flag=True, help="Keep messages in memory only: a stop loses them.")
@click.option(
    "--users", metavar="FILE", help="Let in whom this file names; `stompd passwd` makes it."
)
@click.option(
    "--allow-anonymous",
    is_flag=True,
    help="Let in who gives no login, from other machines as well.",
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
@click.option("--log-format", metavar="FORMAT", help="text or json.")
@_set_option
@click.option("--pid-file", type=click.Path(path_type=Path), help="Keep the process id in there.")
@click.option(
    "--ready-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Write a line with the addresses to this descriptor once all of them accept.",
)
@click.option("--check", is_flag=True, help="Only check the settings, as check-config does.")
@click.option(
    "--dev", is_flag=True, help="For development: loopback only, --memory, log level debug."
)
def serve(
    *,
    file: Path | None,
    listen: Sequence[str],
    tls_listen: Sequence[str],
    tls_cert: str | None,
    tls_key: str | None,
    unix: Sequence[str],
    http_listen: Sequence[str],
    data: str | None,
    memory: bool,
    users: str | None,
    allow_anonymous: bool,
    log_level: str | None,
    log_format: str | None,
    assignments: Flags,
    pid_file: Path | None,
    ready_fd: int | None,
    check: bool,
    dev: bool,
) -> None:
    """Start the broker; this is what stompd does without a COMMAND.

    SIGTERM or SIGINT lets connections finish, then stops; a second one stops at once. SIGHUP reads
    the settings again.
    """
    if memory and data is not None:
        raise click.UsageError("--data and --memory exclude each other")
    began = time.monotonic()
    flags = list(assignments)
    if dev:
        flags.append(("--dev", "log.level", "debug"))
        flags.append(("--dev", "store.engine", "memory"))
    if memory:
        flags.append(("--memory", "store.engine", "memory"))
    if data is not None:
        flags.append(("--data", "store.engine", "sqlite"))
        flags.append(("--data", "store.path", data))
    if listen:
        flags.append(("--listen", "listen", list(listen)))
    if tls_listen:
        flags.append(("--tls-listen", "tls.listen", list(tls_listen)))
    if tls_cert is not None:
        flags.append(("--tls-cert", "tls.certificate", tls_cert))
    if tls_key is not None:
        flags.append(("--tls-key", "tls.key", tls_key))
    if unix:
        flags.append(("--unix", "unix", list(unix)))
    if users is not None:
        flags.append(("--users", "users.file", users))
    if http_listen:
        off = [word for word in http_listen if word.strip().lower() == "off"]
        if off and len(http_listen) > 1:
            raise click.UsageError("--http-listen off and an address exclude each other")
        flags.append(("--http-listen", "http.listen", "off" if off else list(http_listen)))
    if allow_anonymous:
        flags.append(("--allow-anonymous", "allow-anonymous", True))
    if log_level is not None:
        flags.append(("--log-level", "log.level", log_level))
    if log_format is not None:
        flags.append(("--log-format", "log.format", log_format))
    if check:
        _check(file, flags, as_json=False)
        return
    if ready_fd is not None:
        _must_be_open(ready_fd)

    def settings() -> "Settings":
        from stompd.server.sources import read

        return read(file, os.environ, flags).settings

    sources = _read(file, flags)
    _refuse_exposure(sources.settings, dev=dev)
    _read_users(sources.settings)

    from stompd.server.start import start

    sys.exit(start(sources.settings, settings, pid_file=pid_file, ready_fd=ready_fd, began=began))


def _read(file: Path | None, flags: Flags) -> "Sources":
    """Return the settings, or end the program with every mistake in them."""
    from stompd.server.sources import ConfigurationError, read

    try:
        return read(file, os.environ, flags)
    except ConfigurationError as error:
        _report(error.problems)


def _read_users(settings: "Settings") -> None:
    """End the program with every mistake in the files that say who may log in."""
    from stompd.server.accounts import problems_of_users

    problems = problems_of_users(settings)
    if problems:
        _report(problems)


def _report(problems: "Sequence[Problem]") -> NoReturn:
    for problem in problems:
        click.echo(str(problem), err=True)
    click.echo(f"{len(problems)} error{'' if len(problems) == 1 else 's'}", err=True)
    sys.exit(Exit.CONFIGURATION)


def _refuse_exposure(settings: "Settings", *, dev: bool) -> None:
    """End the program if others could reach a broker that lets everybody in."""
    every = (*settings.listen, *settings.tls.listen, *settings.http.listen)
    if dev and (reachable := [address for address in every if not address.is_loopback()]):
        click.echo(f"stompd: will not listen on {reachable[0]}: --dev is loopback only", err=True)
        sys.exit(Exit.CONFIGURATION)
    exposed = settings.exposed()
    if exposed:
        from stompd.server.preflight import exposure

        click.echo(f"stompd: {exposure(exposed[0])}", err=True)
        click.echo(
            "  stompd passwd users.txt NAME, then stompd --users users.txt ...     "
            "on a trusted network: --allow-anonymous",
            err=True,
        )
        sys.exit(Exit.CONFIGURATION)


def _must_be_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise click.BadParameter(
            f"descriptor {descriptor} is not open", param_hint="--ready-fd"
        ) from error


@commands.command("check-config")
@_config_option
@_set_option
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
def check_config(*, file: Path | None, assignments: Flags, as_json: bool) -> None:
    """Read the settings, try the addresses, report every mistake.

    Ends with 0 if stompd would start with them, with 78 if not. A port that is in use is no
    mistake: it may be that of the stompd that runs.
    """
    _check(file, assignments, as_json=as_json)


def _check(file: Path | None, flags: Flags, *, as_json: bool) -> None:
    from stompd.server.preflight import unusable
    from stompd.server.sources import ConfigurationError, read

    problems: Sequence[Problem]
    try:
        problems = unusable(read(file, os.environ, flags))
    except ConfigurationError as error:
        problems = error.problems
    if as_json:
        rows = [dataclasses.asdict(problem) for problem in problems]
        click.echo(json.dumps({"ok": not problems, "errors": rows}, indent=2))
        sys.exit(Exit.CONFIGURATION if problems else Exit.OK)
    if problems:
        _report(problems)
    click.echo(f"{file or 'settings'}: ok")


@commands.command("show-config")
@_config_option
@_set_option
@click.option("--defaults", is_flag=True, help="Show the built-in values instead.")
@click.option("--origin", is_flag=True, help="Say for each key where it was set.")
def show_config(*, file: Path | None, assignments: Flags, defaults: bool, origin: bool) -> None:
    """Write the settings in effect as TOML."""
    from stompd.server.show import as_toml
    from stompd.server.sources import read

    sources = read() if defaults else _read(file, assignments)
    click.echo(as_toml(sources.settings, sources.origins if origin else None), nl=False)


class _StoreCommands(click.Group):
    """The commands of ``stompd store``; SQLite is imported when one of them is asked for."""

    @staticmethod
    def _found() -> dict[str, click.Command]:
        from stompd.server.store_commands import COMMANDS

        return COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self._found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return self._found().get(cmd_name)


@commands.group(cls=_StoreCommands)
def store() -> None:
    """Look at, check, copy and move the messages that are kept."""


class _DefinitionCommands(_StoreCommands):
    """The commands of ``stompd definitions``; they are imported late as well."""

    @staticmethod
    def _found() -> dict[str, click.Command]:
        from stompd.server.definition_commands import COMMANDS

        return COMMANDS


@commands.group(cls=_DefinitionCommands)
def definitions() -> None:
    """Move queues, durable subscriptions and bindings, without messages."""


commands.add_command(passwd)
commands.add_command(hash_password)
commands.add_command(may)


@commands.command()
@_config_option
@_set_option
@click.option("--json", "as_json", is_flag=True, help="Write the findings as JSON.")
def doctor(*, file: Path | None, assignments: Flags, as_json: bool) -> None:
    """Look at the machine, the settings, the disk, the clock and the certificates.

    Ends with 1 if something is an error. Put what it writes into a report of a fault.
    """
    from stompd.server.doctor import examine

    findings = examine(_read(file, assignments))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        marks = {"ok": "ok  ", "warning": "WARN", "error": "FAIL"}
        for finding in findings:
            click.echo(f"{marks[finding.state]}  {finding.name:12} {finding.text}")
            if finding.hint:
                click.echo(f"{'':19}{finding.hint}")
    ailing = any(finding.state == "error" for finding in findings)
    click.get_current_context().exit(1 if ailing else 0)


@commands.command("systemd-unit")
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The settings that the service is to have.",
)
def systemd_unit(*, config: Path | None) -> None:
    """Write a unit for systemd that starts this stompd: notify, watchdog, a user of its own."""
    from stompd.server.systemd import unit

    program = shutil.which("stompd") or f"{sys.executable} -m stompd"
    click.echo(unit(program, None if config is None else str(config.absolute())), nl=False)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Write it as JSON.")
def version(*, as_json: bool) -> None:
    """Write the versions of stompd and of what it runs on."""
    about = {
        "stompd": stompd.__version__,
        "python": platform.python_version(),
        "trio": version_of("trio"),
        "apsw": version_of("apsw"),
        "file": str(Path(stompd.__file__).parent),
    }
    if as_json:
        click.echo(json.dumps(about, indent=2))
    else:
        click.echo("\n".join(f"{name:8}{value}" for name, value in about.items()))


@commands.command()
@click.argument("command", metavar="[COMMAND]", required=False)
@click.pass_context
def help(ctx: click.Context, command: str | None) -> None:  # noqa: A001 - it is the command's name
    """Explain stompd or one of its commands."""
    parent = ctx.parent or ctx
    if command is None:
        click.echo(commands.get_help(parent))
    elif command in commands.commands:
        found = commands.commands[command]
        click.echo(found.get_help(click.Context(found, info_name=command, parent=parent)))
    else:
        parent.fail(commands.no_command(command))


@commands.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Write a script for the completion of words: eval "$(stompd completion bash)"."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click does not know the shell {shell}")
    click.echo(found(commands, {}, "stompd", "_STOMPD_COMPLETE").source())


def main() -> NoReturn:
    """Run ``stompd`` with the arguments of this process and end it."""
    try:
        status = commands.main(prog_name="stompd", standalone_mode=False) or Exit.OK
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(Exit.INTERRUPTED)
    except SystemExit as ending:
        # Only click ends with 1, when a reader has enough (`stompd show-config | head`).
        sys.exit(Exit.OK if ending.code == 1 else ending.code)
    except Exception:  # noqa: BLE001 - whatever it is, it is a fault of ours: status 70 says so
        from stompd.server import log

        log.fault()
        sys.exit(Exit.SOFTWARE)
    sys.exit(status)
