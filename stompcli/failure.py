"""Failures in words: what is printed when a command ends in an error, and its exit code."""

from typing import TYPE_CHECKING, Final

from stompcli.exitcodes import ExitCode

if TYPE_CHECKING:
    from stompcli.client import StompError

# No broker has codes for this; these words stand in the ERROR frames of all that we know.
_NOT_ALLOWED: Final = (
    r"(?i:authenti|authoriz|authoris|credential|password|passcode|log-?in|denied|forbidden"
    r"|not allowed|access refused|permission)"
)
# RabbitMQ is told the name of the machine, and knows no such virtual host.
_NO_VIRTUAL_HOST: Final = r"Virtual host '.*' access denied"


class Failure(Exception):  # noqa: N818 - it is no error of the program
    """A command cannot go on.

    ``message`` is one line, ``hint`` may follow it on lines of its own, ``code`` is the exit code,
    ``kind`` the word that stands for it in JSON.
    """

    def __init__(self, code: ExitCode, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind
        self.message = message
        self.hint = hint


class StdoutClosed(Exception):  # noqa: N818 - it is no error, the reader has had enough
    """Whoever read our standard output has gone, as `head` does."""


def usage(message: str, hint: str = "") -> Failure:
    """Return the failure for a command that was given wrong words."""
    return Failure(ExitCode.USAGE, "usage", message, hint)


def bad_input(message: str) -> Failure:
    """Return the failure for input that is there and wrong."""
    return Failure(ExitCode.BAD_INPUT, "bad-input", message)


def of(error: "StompError") -> Failure:
    """Return the failure that an error of the client library means to the user."""
    import re

    from stompcli import client

    if isinstance(error, client.UsageError):
        return usage(str(error))
    if isinstance(error, client.RefusedError):
        refused = re.search(_NOT_ALLOWED, f"{error.message} {error.detail}")
        code = ExitCode.REFUSED if refused else ExitCode.FAILED
        detail = error.detail if error.detail != error.reason else ""
        if re.search(_NO_VIRTUAL_HOST, error.detail):
            detail += "\nRabbitMQ calls its usual virtual host /; try: --vhost /"
        return Failure(code, "refused", f"{error.address} refused: {error.reason}", detail)
    if isinstance(error, client.ConnectError):
        hint = ""
        if error.reason in ("connection refused", "no such file or directory"):
            hint = (
                "is stompd running? start one with: stompd     "
                "other broker: stomp -H HOST -P PORT …"
            )
        return Failure(ExitCode.UNAVAILABLE, "unreachable", str(error), hint)
    if isinstance(error, client.BrokerError):
        refused = re.search(_NOT_ALLOWED, f"{error.message} {error.detail}")
        code = ExitCode.REFUSED if refused else ExitCode.FAILED
        kind = "forbidden" if refused else "error"
        detail = error.detail if error.detail != str(error) else ""
        return Failure(code, kind, f"the broker answered ERROR: {error}", detail)
    if isinstance(error, client.TimedOutError):
        return Failure(ExitCode.TIMED_OUT, "timed-out", str(error))
    if isinstance(error, client.BodyError):
        return bad_input(str(error))
    return Failure(ExitCode.UNAVAILABLE, "lost", str(error))
