"""The interactive shell, on a terminal: what people see, and what expect scripts get."""

import re
from pathlib import Path

import pytest
from client.programs import Stomp
from client.screens import Screen, screen

BANNER = """\
CONNECTED
version: 1.2
server: stompd/VERSION
heart-beat: 10000,10000
session: cN

"""

GOLDEN = """\
{prompt}> send {queue}/test hello world
{prompt}> subscribe {queue}/test
Subscribing to "{queue}/test" with acknowledge set to "auto", id set to "1"
MESSAGE
subscription: 1
message-id: cN-1
destination: {queue}/test
content-type: text/plain
content-length: 11

hello world
{prompt}> begin
Transaction id: tx-1
{prompt} [tx-1 0]> send -H priority:9 {queue}/other "two  spaces"
{prompt} [tx-1 1]> commit
Committing tx-1
{prompt}>
"""


def masked(text: str) -> str:
    """Return text without what differs from run to run."""
    text = re.sub(r"\bc\d+\b", "cN", text)
    text = re.sub(r"stompd/\S+", "stompd/VERSION", text)
    return re.sub(r"([←→])\d+\.\d/", r"\1N/", text)


def prompt_of(stomp: Stomp) -> str:
    """Return the prompt without its end."""
    return f"localhost:{stomp.port}"


def above(shown: Screen) -> list[str]:
    """Return the lines above the toolbar."""
    lines = shown.lines()
    rules = [number for number, line in enumerate(lines) if line.startswith("───")]
    return lines[: rules[-1]]


@pytest.mark.needs_tool("tmux")
def test_golden_session(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """The session of the handbook, word for word, with the toolbar below it."""
    prompt = prompt_of(stomp)
    with screen(stomp, tmp_path, width=120) as shown:
        shown.until(f"{prompt}>")
        shown.type(f"send {queue}/test hello world")
        shown.until("tx 1")
        shown.type(f"subscribe {queue}/test")
        shown.until("rx 1 tx 1")
        shown.type("begin")
        shown.until("[tx-1 0]>")
        shown.type(f'send -H priority:9 {queue}/other "two  spaces"')
        shown.until("[tx-1 1]>")
        shown.type("commit")
        shown.until("Committing tx-1")
        shown.keys("s", "e", "n", "d", "Space")
        shown.until("send DEST")
        shown.keys("C-c")
        lines = shown.gone("send DEST")
        expected = BANNER + GOLDEN.format(prompt=prompt, queue=queue)
        assert masked("\n".join(above(shown))) == expected.rstrip("\n")
        assert masked(lines[-1]) == (
            " stompd/VERSION 1.2 │ 1 sub, 0 unacked │ last #1 rx 1 tx 2 │ hb ←N/10s →N/10s"
        )


@pytest.mark.needs_tool("tmux")
def test_message_during_a_half_typed_line(stomp: Stomp, tmp_path: Path) -> None:
    """A message goes above the line that is being typed, which stays as it is."""
    prompt = prompt_of(stomp)
    # Short enough for one line.
    queue = "/queue/half"
    with screen(stomp, tmp_path) as shown:
        shown.until(f"{prompt}>")
        shown.type(f"subscribe {queue}")
        shown.until("1 sub")
        shown.keys("-l", f"send {queue}.2 half")
        shown.until("half")
        assert stomp("send", queue, "news").code == 0
        shown.until("news\n")
        shown.keys("-l", " of it")
        shown.until("half of it")
        assert above(shown)[-2:] == ["news", f"{prompt}> send {queue}.2 half of it"]
        shown.keys("Enter")
        shown.until("tx 1")
    assert stomp("subscribe", f"{queue}.2", "-n", "1").out == b"half of it\n"
