"""``stompd passwd``, ``hash-password`` and ``may``: making a users file, and trying the rules."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from getpass import GetPassWarning
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from stompd.server.exitcodes import Exit

if TYPE_CHECKING:
    from stompd.server.users import User


@click.command("passwd")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name", metavar="[USER]", required=False)
@click.option("--admin", is_flag=True, help="Put the user into the group admin.")
@click.option("--groups", metavar="A,B", help="The user's groups, in place of those before.")
@click.option("--delete", "deletes", is_flag=True, help="Take the user out of the file.")
@click.option("--verify", "verifies", is_flag=True, help="Only see whether a passcode is right.")
@click.option("--list", "lists", is_flag=True, help="Only tell the users, and their groups.")
@click.option("--stdin", is_flag=True, help="Read the passcode from standard input: its one line.")
def passwd(
    *,
    file: Path,
    name: str | None,
    admin: bool,
    groups: str | None,
    deletes: bool,
    verifies: bool,
    lists: bool,
    stdin: bool,
) -> None:
    """Give a user of FILE a passcode; FILE and USER are made if they are missing.

    The file is replaced at once and whole, and is for its owner alone. A stompd that runs with it
    reads it again at SIGHUP. With --verify the status is 0 if the passcode is right, 77 if not.
    """
    if sum((deletes, verifies, lists)) > 1:
        raise click.UsageError("--delete, --verify and --list exclude each other")
    if (admin or groups is not None) and (deletes or verifies or lists):
        raise click.UsageError("--admin and --groups go with a passcode that is set")
    if (name is None) != lists:
        raise click.UsageError(
            "--list lists all users, so it takes no USER" if lists else "USER is missing"
        )
    if lists:
        _list(file)
    elif deletes:
        _delete(file, name or "")
    elif verifies:
        _verify(file, name or "", stdin=stdin)
    else:
        _set(file, name or "", admin=admin, groups=groups, stdin=stdin)


@click.command("hash-password")
@click.option("--stdin", is_flag=True, help="Read the passcode from standard input: its one line.")
def hash_password(*, stdin: bool) -> None:
    """Write the argon2 hash of a passcode, to be pasted into a users file."""
    from stompd.server.passcodes import make_hash

    passcode = _new_passcode("passcode", stdin=stdin)
    click.echo(make_hash(passcode))


@click.command("may")
@click.argument("name", metavar="USER")
@click.argument("right")
@click.argument("destination", required=False, default="#")
@click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    envvar="STOMPD_CONFIG",
    help="The settings with the users and the rules (also: STOMPD_CONFIG).",
)
@click.option("--groups", metavar="A,B", help="The user's groups, in place of the file's.")
@click.option("--vhost", metavar="NAME", help="In this virtual host, in place of the first.")
def may(
    *,
    name: str,
    right: str,
    destination: str,
    file: Path | None,
    groups: str | None,
    vhost: str | None,
) -> None:
    """Say whether USER has RIGHT to DESTINATION, and which rule says so.

    A pattern needs the right for all that it matches. The status is 0 if so, 77 if not. Whoever has
    a token or a certificate needs --groups.
    """
    from stompd.broker.principal import Principal
    from stompd.broker.rights import RIGHTS, Rights
    from stompd.protocol.errors import RemoteProtocolError
    from stompd.server import users
    from stompd.server.accounts import read_users, rights_of
    from stompd.server.sources import ConfigurationError, read

    if right not in RIGHTS:
        raise click.UsageError(f'"{right}" is no right; there are {", ".join(RIGHTS)}')
    try:
        settings = read(file, os.environ).settings
        found = read_users(settings)
        rights = rights_of(settings) or Rights()
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(Exit.CONFIGURATION)
    try:
        given = found[name].groups if groups is None and name in found else ()
        principal = Principal(name, frozenset(given or users.groups_of(groups or "")))
        host = vhost or settings.virtual_hosts.names[0]
        rule = rights.deciding(principal, host, right, destination)
    except (ValueError, RemoteProtocolError) as error:
        raise click.UsageError(str(error)) from error
    allows = rule is not None and rule.allows
    click.echo(f"{'yes' if allows else 'no'}: {rule or 'no rule says so'}")
    sys.exit(Exit.OK if allows else Exit.NOT_ALLOWED)


def _set(file: Path, name: str, *, admin: bool, groups: str | None, stdin: bool) -> None:
    from stompd.broker.principal import ADMIN
    from stompd.server import users
    from stompd.server.passcodes import make_hash

    lack = users.name_lack(name)
    if lack:
        raise click.UsageError(lack)
    try:
        wanted = None if groups is None else users.groups_of(groups)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    # Before anybody types, and is told afterwards that it was for nothing.
    before = _read(file) if file.exists() else {}
    encoded = make_hash(_new_passcode(f"passcode for {name}", stdin=stdin))

    def edit(text: str) -> str:
        present = users.parse(text).get(name)
        kept = wanted
        if kept is None:
            kept = () if present is None else present.groups
        if admin and ADMIN not in kept:
            kept = (*kept, ADMIN)
        return users.with_user(text, users.User(name, encoded, kept))

    _change(file, edit)
    click.echo(f"{file}: {name} {'changed' if name in before else 'added'}", err=True)


def _delete(file: Path, name: str) -> None:
    from stompd.server import users

    if name not in _read(file):
        _fail(f'{file}: there is no user "{name}"')
    _change(file, lambda text: users.without_user(text, name))
    click.echo(f"{file}: {name} deleted", err=True)


def _verify(file: Path, name: str, *, stdin: bool) -> None:
    from stompd.server.passcodes import octets_of, verify

    found = _read(file)
    passcode = _passcode(f"passcode of {name}", stdin=stdin)
    if name not in found:
        _fail(f'{file}: there is no user "{name}"', Exit.NOT_ALLOWED)
    if not verify(found[name].hash, octets_of(passcode)):
        _fail(f"{file}: this is not the passcode of {name}", Exit.NOT_ALLOWED)
    click.echo(f"{file}: this is the passcode of {name}", err=True)


def _list(file: Path) -> None:
    from stompd.server import users

    click.echo(users.listing(_read(file).values()), nl=False)


def _read(file: Path) -> dict[str, User]:
    from stompd.server import users

    try:
        return users.read(file)
    except users.UsersFileError as error:
        _tell(file, error.problems)


def _change(file: Path, edit: Callable[[str], str]) -> None:
    from stompd.server import users

    try:
        users.change(file, edit)
    except users.UsersFileError as error:
        _tell(file, error.problems)


def _tell(file: Path, problems: tuple[tuple[int, str], ...]) -> NoReturn:
    for line, text in problems:
        click.echo(f"{file}:{line}: {text}" if line else f"{file}: {text}", err=True)
    sys.exit(Exit.CONFIGURATION)


def _fail(text: str, status: Exit = Exit.CONFIGURATION) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(status)


def _new_passcode(prompt: str, *, stdin: bool) -> str:
    passcode = _passcode(prompt, stdin=stdin, twice=True)
    if not passcode:
        _fail("the passcode is empty")
    if not passcode.isprintable():
        _fail("the passcode holds what cannot be printed, such as a tab: no client could send it")
    return passcode


def _passcode(prompt: str, *, stdin: bool, twice: bool = False) -> str:
    if not stdin:
        with warnings.catch_warnings():
            # It would show what is typed, or take what was meant for --stdin.
            warnings.simplefilter("error", GetPassWarning)
            try:
                asked: str = click.prompt(
                    prompt,
                    hide_input=True,
                    err=True,
                    confirmation_prompt="once more" if twice else False,
                )
            except GetPassWarning:
                _fail("there is no terminal to ask on; try: --stdin", Exit.USAGE)
        return asked
    text = sys.stdin.read()
    line, _, rest = text.partition("\n")
    if rest:
        _fail("standard input holds more than one line")
    return line.removesuffix("\r")
