"""The thread of the prompt, with keys from a pipe and no terminal."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from stompcli.history import History
from stompcli.shell.prompt import Prompt, View
from stompcli.shell.screen import Screen
from stompcli.shell.toolbar import State

# What the keys of a terminal send.
UP, F1, F2, F4, CTRL_C, CTRL_D, CTRL_Z = (
    "\x1b[A",
    "\x1bOP",
    "\x1bOQ",
    "\x1bOS",
    "\x03",
    "\x04",
    "\x1a",
)
ESCAPE_ENTER, F3, NUL = "\x1b\r", "\x1bOR", "\x00"


@dataclass
class Bench:
    """A prompt, the keys that it gets, and what is written above it."""

    prompt: Prompt
    keys: PipeInput
    screen: Screen
    written: int

    def text(self) -> str:
        """Return what was written so far."""
        os.lseek(self.written, 0, os.SEEK_SET)
        return os.read(self.written, 100_000).decode()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A prompt with a history of two lines."""
    history = History(None)
    history.add("one")
    history.add("two")
    view = View(
        state=State(prompt="h:1> ", connected=True),
        on_help=lambda typed: f"help for {typed}",
    )
    written = os.memfd_create("screen")
    with create_pipe_input() as keys:
        screen = Screen(written)
        yield Bench(
            Prompt(screen, history, view, input=keys, output=DummyOutput()), keys, screen, written
        )
    os.close(written)


async def test_a_line(bench: Bench) -> None:
    """A line is what was typed up to Enter; the history is there."""
    with trio.fail_after(30):
        bench.keys.send_text("send /queue/a  x \r")
        assert await bench.prompt.line() == "send /queue/a  x "
        bench.keys.send_text(UP * 3 + "!\r")
        assert await bench.prompt.line() == "one!"


async def test_keys_of_a_line(bench: Bench) -> None:
    """Ctrl-C clears the line, F1 explains, Ctrl-D on an empty line is the end."""
    with trio.fail_after(30):
        bench.keys.send_text(f"nonsense{CTRL_C}send x{F1}\r")
        assert await bench.prompt.line() == "send x"
        bench.keys.send_text(CTRL_C + CTRL_C + CTRL_D)
        assert await bench.prompt.line() is None
    assert bench.text() == "help for send x\nCtrl-D or quit to leave\n"


async def test_switches(bench: Bench) -> None:
    """F2 and F4 tell the loop."""
    pressed: list[str] = []
    bench.prompt.view.on_headers = lambda: pressed.append("headers")
    bench.prompt.view.on_wire = lambda: pressed.append("wire")
    with trio.fail_after(30):
        bench.keys.send_text(F2 + F4 + "\r")
        await bench.prompt.line()
    assert pressed == ["headers", "wire"]


async def test_several_lines(bench: Bench) -> None:
    """F3 and pasted text make a line of several lines; so does a body."""
    with trio.fail_after(30):
        bench.keys.send_text(f"send /queue/a{F3}\rone\r two{ESCAPE_ENTER}")
        assert await bench.prompt.line() == "send /queue/a\none\n two"
        bench.keys.send_text("send /queue/a \x1b[200~x\ny\x1b[201~\r")
        assert await bench.prompt.line() == "send /queue/a x\ny"
        bench.keys.send_text("one\rtwo^@\r")
        assert await bench.prompt.body() == "one\ntwo"
        bench.keys.send_text(f"one\rtwo{NUL}")
        assert await bench.prompt.body() == "one\ntwo"
        bench.keys.send_text(f"one{CTRL_C}")
        assert await bench.prompt.body() is None
    assert bench.prompt.view.mode == ""


async def test_frames(bench: Bench) -> None:
    """Ctrl-@ ends the line of a frame with the mark, Ctrl-C is told, Ctrl-D is the end."""
    with trio.fail_after(30):
        bench.keys.send_text(f"hi{NUL}")
        assert await bench.prompt.raw_line("raw> ") == "hi^@"
        bench.keys.send_text(f"hi{CTRL_C}")
        assert await bench.prompt.raw_line("raw> ") == "\x03"
        bench.keys.send_text(CTRL_D)
        assert await bench.prompt.raw_line("raw> ") is None


async def test_answers(bench: Bench) -> None:
    """A question takes one line, which is no part of the history."""
    with trio.fail_after(30):
        bench.keys.send_text("y\r")
        assert await bench.prompt.answer("leave? ") == "y"
        bench.keys.send_text(CTRL_C)
        assert await bench.prompt.answer("leave? ") is None
        bench.keys.send_text(UP + "\r")
        assert await bench.prompt.line() == "two"


async def test_text_while_a_line_is_typed(bench: Bench) -> None:
    """What is put while the prompt stands is written once, in order, by the time it is gone."""
    count = 200
    line: list[str | None] = []

    async def read() -> None:
        line.append(await bench.prompt.line())

    with trio.fail_after(60):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                for number in range(count):
                    bench.screen.put(b"%d\n" % number)
                    if number % 20 == 0:
                        bench.keys.send_text("x")
                        await trio.sleep(0.005)
                bench.keys.send_text("\r")
    assert line == ["x" * 10] * 3
    assert bench.text() == "".join(f"{number}\n" for number in range(count)) * 3


@pytest.mark.parametrize("patience", [0, 0.01, 0.2])
async def test_a_line_that_is_wanted_no_more(bench: Bench, patience: float) -> None:
    """Cancelled at any time the thread ends, and the next line is read as if nothing had been."""
    with trio.fail_after(30):
        with trio.move_on_after(patience) as scope:
            await bench.prompt.line()
        assert scope.cancelled_caught
        bench.keys.send_text("next\r")
        assert await bench.prompt.line() == "next"


async def test_redrawing_nothing(bench: Bench) -> None:
    """Without a prompt there is nothing to draw anew, and that is no error."""
    bench.prompt.redraw()
    with trio.fail_after(30):
        bench.keys.send_text("x\r")
        assert await bench.prompt.line() == "x"
    bench.prompt.redraw()
