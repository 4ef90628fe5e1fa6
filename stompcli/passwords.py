"""A password that somebody types."""

import warnings

import click

from stompcli.failure import usage


def typed_password() -> str:
    """Have a password typed at the terminal, unseen; raises `Failure` if there is none."""
    from getpass import GetPassWarning

    with warnings.catch_warnings():
        # It would show what is typed, or take what somebody gives a command on standard input.
        warnings.simplefilter("error", GetPassWarning)
        try:
            answer: str = click.prompt("Password", hide_input=True, err=True)
        except GetPassWarning:
            raise usage(
                "there is no terminal to ask for the password on", "try: --password-file FILE"
            ) from None
    return answer
