"""What the keys of the shell do, beyond those of every line editor."""

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, completion_is_selected, emacs_insert_mode, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from stompcli import editing
from stompcli.failure import Failure

if TYPE_CHECKING:
    from stompcli.shell.prompt import Prompt, View

# Two Ctrl-C within so many seconds are from somebody who wants to leave.
_TWICE: Final = 1.0
# Seconds after which a signal was taken by one of the threads for sure.
_TAKEN: Final = 0.2
_NUL: Final = "^@"


def _stop() -> None:
    """Stop this process, and go on when somebody continues it.

    Here the terminal is as the shell outside wants it, so it has to be here that we stop: a signal
    for the process is taken by any of its threads, a little later.
    """
    if os.getpgrp() == os.getpid():
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
    else:
        # Who has started us, such as a script, stops with us.
        os.kill(0, signal.SIGTSTP)
        time.sleep(_TAKEN)


def _suspending(keys: KeyBindings) -> KeyBindings:
    """Return keys with Ctrl-Z among them."""

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:  # noqa: ARG001 - prompt-toolkit's signature
        run_in_terminal(_stop)

    return keys


def of_lines(prompt: "Prompt", view: "View") -> KeyBindings:
    """Return the keys of a prompt at which commands are typed."""
    keys = _suspending(KeyBindings())
    in_line = has_focus(DEFAULT_BUFFER)
    last_interrupt = 0.0

    @keys.add("enter", filter=in_line & completion_is_selected)
    def _(event: KeyPressEvent) -> None:
        # The completion is taken, the line is not run.
        event.current_buffer.complete_state = None

    @keys.add("enter", filter=in_line & Condition(lambda: view.multiline))
    def _(event: KeyPressEvent) -> None:
        _new_line(event)

    @keys.add("escape", "enter", filter=in_line)
    @keys.add("c-@", filter=in_line)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-c", filter=in_line)
    def _(event: KeyPressEvent) -> None:
        nonlocal last_interrupt
        buffer = event.current_buffer
        now = time.monotonic()
        if not buffer.text and now - last_interrupt < _TWICE:
            prompt.say("Ctrl-D or quit to leave")
        last_interrupt = now if not buffer.text else 0.0
        view.multiline = False
        view.mode = ""
        buffer.reset()

    @keys.add("f1")
    def _(event: KeyPressEvent) -> None:
        prompt.say(view.on_help(event.current_buffer.document.text_before_cursor))

    @keys.add("f2")
    def _(event: KeyPressEvent) -> None:
        view.on_headers()
        event.app.invalidate()

    @keys.add("f3", filter=in_line)
    def _(event: KeyPressEvent) -> None:
        view.multiline = not view.multiline
        view.mode = "several lines: Esc-Enter runs them     F3: back" if view.multiline else ""
        event.app.invalidate()

    @keys.add("f4")
    def _(event: KeyPressEvent) -> None:
        view.on_wire()
        event.app.invalidate()

    @keys.add("c-x", "c-e", filter=in_line & emacs_insert_mode)
    def _(event: KeyPressEvent) -> None:
        _edit(prompt, event)

    return keys


def of_body(view: "View") -> KeyBindings:  # noqa: ARG001 - all of them are given it
    """Return the keys of a text with several lines."""
    keys = _suspending(KeyBindings())

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        _new_line(event)

    @keys.add("escape", "enter")
    @keys.add("c-@")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError())

    return keys


def of_frames() -> KeyBindings:
    """Return the keys of frames that are typed line by line."""
    keys = _suspending(KeyBindings())

    @keys.add("c-@")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.cursor_position = len(buffer.text)
        buffer.insert_text(_NUL)
        buffer.validate_and_handle()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(result="\x03")

    return keys


def of_answer() -> KeyBindings:
    """Return the keys of a question."""
    keys = _suspending(KeyBindings())

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        event.app.exit(exception=EOFError())

    return keys


def _new_line(event: KeyPressEvent) -> None:
    """Begin a new line, or end the text if ``^@`` stands at the end of this one."""
    buffer = event.current_buffer
    if buffer.document.is_cursor_at_the_end and buffer.text.endswith(_NUL):
        buffer.delete_before_cursor(len(_NUL))
        buffer.validate_and_handle()
    else:
        buffer.newline(copy_margin=False)


def _edit(prompt: "Prompt", event: KeyPressEvent) -> None:
    """Have the line edited by the user's editor."""
    buffer = event.current_buffer
    text = buffer.text
    edited: list[bytes] = []

    named = prompt.view.editor
    environ = {**os.environ, "VISUAL": named} if named else os.environ

    def edit() -> None:
        try:
            octets = text.encode("utf-8", "surrogateescape")
            edited.append(editing.edited(octets, suffix=".txt", environ=environ))
        except Failure as failure:
            prompt.say(f"{failure.message}\n  {failure.hint}" if failure.hint else failure.message)

    async def let_edit() -> None:
        prompt.away = True
        try:
            await run_in_terminal(edit, in_executor=True)
        finally:
            prompt.away = False
        if edited:
            buffer.text = edited[0].decode("utf-8", "surrogateescape").rstrip("\n")
            buffer.cursor_position = len(buffer.text)

    event.app.create_background_task(let_edit())
