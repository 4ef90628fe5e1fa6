"""More of the options that every command understands: the context, TLS, and how output looks.

Each is a mapping of what `click.Option` is given; `stompcli.options` makes options of them.
"""

from typing import Any, Final

import click

COLORS: Final = ("auto", "always", "never")


class Spelled(click.Option):
    """An option with further spellings, for users of other programs, that its help leaves out."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the line of the help, with the first long spelling only."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        words, text = record
        for name in self.opts[1:]:
            words = words.replace(f", {name}", "")
        return words, text


def joined(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    param: click.Parameter,  # noqa: ARG001 - click's signature
    value: tuple[str, ...] | None,
) -> str | None:
    """Return several URLs as one text, with commas."""
    return ",".join(value) if value else None


FURTHER: Final[list[dict[str, Any]]] = [
    {"decls": ["--context"], "short": "-C", "metavar": "NAME", "envvar": "STOMP_CONTEXT",
     "help": "What context NAME says, see: stomp help context.  [default: the selected one]"},
    {"decls": ["--tls", "--ssl"], "is_flag": True,
     "help": "Connect by TLS, as stomp+ssl:// does; the port is 61614 then."},
    {"decls": ["--tls-ca", "--ssl-ca-file"], "metavar": "FILE",
     "help": "Who signs the broker's certificate.  [default: whom the system believes]"},
    {"decls": ["--tls-cert", "--ssl-cert-file"], "metavar": "FILE", "help": "Our certificate."},
    {"decls": ["--tls-key", "--ssl-key-file"], "metavar": "FILE",
     "help": "Its key, if that is in another file."},
    {"decls": ["--tls-insecure", "--ssl-insecure"], "is_flag": True,
     "help": "Believe any certificate: nobody listens in, but anybody may answer."},
    {"decls": ["--color"], "type": click.Choice(COLORS), "metavar": "WHEN",
     "help": "always, never or auto: on a terminal, unless NO_COLOR is set.  [default: auto]"},
    {"decls": ["--no-progress"], "is_flag": True, "help": "Do not show how far a command is."},
]  # fmt: skip
