"""The click command of contexts. It only parses, as those of arguments.

Only click is imported, so that help, usage errors and completion stay quick.
"""

from typing import Final

import click

from stompcli.arguments import Verb

ACTIONS: Final = ("add", "ls", "select", "show", "edit", "rm", "test", "previous")

CONTEXT: Final = Verb(
    "context",
    [
        click.Argument(["action"], type=click.Choice(ACTIONS), metavar="|".join(ACTIONS)),
        click.Argument(["names"], nargs=-1, metavar="[NAME...]"),
        click.Option(["--select"], is_flag=True, help="add, edit: select it, too."),
        click.Option(
            ["--from-url"],
            metavar="URL",
            help="add: take host, port, user, password and virtual host from this URL.",
        ),
        click.Option(["--description"], metavar="TEXT", help="add, edit: what it is for."),
        click.Option(["--replace"], is_flag=True, help="add: in place of one of that name."),
        click.Option(["--none"], is_flag=True, help="select: none, so that defaults count."),
        click.Option(["--plain", "plain"], is_flag=True, help="ls: tabs between the fields."),
        click.Option(["--no-header", "no_header"], is_flag=True, help="ls: no line of titles."),
        click.Option(["-y", "--yes"], is_flag=True, help="rm: do not ask."),
    ],
    help="Contexts are brokers under names: where they are, and how to log in. `add` keeps what "
    "the options for connecting say; `edit` changes that by options or, without any, in $VISUAL or "
    "$EDITOR. What is selected counts unless -C or STOMP_CONTEXT names another one, or -H or -u "
    "another broker. A flag goes before the environment, that before a context. --ask-password "
    "asks for the password to keep; the file is for nobody else to read.",
    examples=(
        "stomp context add dev --url stomp://localhost:61613 --select",
        "stomp context add prod --host mq.example.org --tls --user me --ask-password",
        "stomp context add old --from-url stomp+ssl://me:secret@old.example.org/shop",
        "stomp context ls",
        "stomp -C prod ping",
        "stomp context previous",
    ),
)
