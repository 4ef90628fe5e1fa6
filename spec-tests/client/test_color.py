"""Colours, and where they are left out."""

import pytest
from client.programs import Stomp

from stompcli.color import is_wanted


@pytest.mark.parametrize(
    ("when", "tty", "environ", "wanted"),
    [
        ("always", False, {"NO_COLOR": "1", "TERM": "dumb"}, True),
        ("never", True, {"FORCE_COLOR": "1", "TERM": "xterm"}, False),
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
    ],
)
def test_precedence(when: str, tty: bool, environ: dict[str, str], wanted: bool) -> None:  # noqa: FBT001 - the table's columns
    """The option counts before the environment, that before what the stream is."""
    assert is_wanted(when, tty=tty, environ=environ) is wanted


def test_color_of_messages(stomp: Stomp, queue: str) -> None:
    """Where colours are wanted the head of a message has them, its body never."""
    stomp("send", queue, "-H", "x:\x1b[31m", "hello", "-n", "2")
    words = ["subscribe", queue, "-n", "1", "--format", "pretty"]
    done = stomp(*words, "--color", "always")
    assert done.text.startswith("\x1b[1m[#1] ")
    assert "\x1b[2m  x: \\x1b[31m\x1b[0m\nhello\n" in done.text
    assert "\x1b" not in stomp(*words).text
    assert stomp("send", "--color", "always").err.startswith("stomp: ")
    assert stomp("--color", "always", "-P", "1", "ping").err.startswith("\x1b[31mstomp:\x1b[0m ")
