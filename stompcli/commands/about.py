"""help, version, stats, completion and quit: what the program says about itself."""

import platform
import sys
from dataclasses import replace
from typing import Any

import click

from stompcli import table
from stompcli.about import version_line
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.options import SHELL
from stompcli.output import Out
from stompcli.session import Session
from stompd import __version__


async def version(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Say which version this is; in a shell as stomp.py does."""
    if session.in_shell:
        client = await session.link()
        await out.line(f"{__version__} [Protocol version {client.version}]")
    elif out.settings.json:
        await out.json(
            {"version": __version__, "python": platform.python_version(), "file": sys.argv[0]}
        )
    else:
        await out.line(version_line())
    return None


async def show_help(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show the commands, or explain one."""
    if out.settings.json:
        await out.json([record.as_json() for record in table.TABLE])
        return None
    word = params["command"]
    if word is None:
        records = [record for record in table.TABLE if record.in_shell or not session.in_shell]
        await out.line("Documented commands (type help <topic>):")
        await out.line("=" * 40)
        for section in table.SECTIONS:
            await out.line(f"{section}:")
            for record in records:
                if record.section == section:
                    names = ", ".join((record.name, *record.aliases))
                    await out.line(f"  {names:<24}{record.summary}")
        return None
    found = table.find(word, in_shell=session.in_shell)
    if found is None:
        close = table.closest(word)
        raise usage(f"Unknown command: {word}", f'did you mean "{close}"?' if close else "")
    parser = found.load_parser()
    prefix = found.name if session.in_shell else f"stomp {found.name}"
    context = click.Context(parser, info_name=prefix, obj=SHELL if session.in_shell else None)
    await out.line(parser.get_help(context))
    if session.in_shell:
        await out.line(f"\nExpecting: {found.usage}")
    return None


async def stats(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show, or start anew, the counts of the session."""
    client = await session.link()
    if params["what"] == "off":
        session.counting = False
        return None
    if params["what"] is not None:
        session.counting = True
        session.since = replace(client.counters)
        session.connections = session.errors = 0
        return None
    if not session.counting:
        raise Failure(ExitCode.FAILED, "conflict", "No stats available: counting is off (stats on)")
    now, since = client.counters, session.since
    counts = {
        "Connections": session.connections,
        "Disconnects": 0,
        "Messages sent": now.messages_sent - since.messages_sent,
        "Messages received": now.messages_received - since.messages_received,
        "Heartbeats received": now.heartbeats_received - since.heartbeats_received,
        "Errors": session.errors,
    }
    if out.settings.json:
        await out.json({name.lower().replace(" ", "_"): count for name, count in counts.items()})
    else:
        for name, count in counts.items():
            await out.line(f"{name}: {count}")
    return None


async def completion(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Print click's completion script for both names of this program."""
    from click.shell_completion import get_completion_class

    from stompcli import shells
    from stompcli.main import program

    shells.install()
    shell = get_completion_class(params["shell"])
    if shell is None:
        raise usage(f"there is no completion for {params['shell']}")
    for name in shells.NAMES:
        script = shell(program(), {}, name, f"_{name.upper()}_COMPLETE").source()
        await out.line(script)
    return None


async def leave(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Leave the shell; the line reader sees the mark."""
    session.leaving = True
    return None
