"""The thread in which a line is typed.

prompt-toolkit asks the terminal where its cursor is, unless its output says how much room there
is below: where nobody answers that (expect, serial lines, some web terminals) the prompt would
stand still for two seconds, without a toolbar, and late answers would end up in the line.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History as KeptLines
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindingsBase
from prompt_toolkit.output import Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Attrs, ConditionalStyleTransformation, Style, StyleTransformation
from prompt_toolkit.styles.base import DEFAULT_ATTRS

from stompcli.client.beside import tasks_beside
from stompcli.history import History
from stompcli.shell.screen import Screen
from stompcli.shell.suggest import Known, suggest
from stompcli.shell.toolbar import State, toolbar

_CONTINUED: Final = "...  "
_DEFAULT: Final = "ansidefault"
_STYLE: Final = Style.from_dict(
    {
        # A blank at the end of a line is drawn only if it has a colour, and expect scripts wait for
        # that of the prompt.
        "prompt": "ansidefault",
        "prompt.down": "ansired",
        "bottom-toolbar": "noreverse",
        "toolbar.bar": "ansibrightblack",
        "toolbar.down": "ansired",
        "toolbar.late": "ansiyellow",
        "toolbar.overdue": "ansired bold",
        "toolbar.mode": "bold",
        "toolbar.transaction": "ansicyan",
        "toolbar.syntax": "italic",
        "auto-suggestion": "ansibrightblack",
    }
)


def _continuation(_: int, __: int, wrapped: int) -> str:
    """Return what stands before a further line, nothing before the rest of a long one."""
    return "" if wrapped else _CONTINUED


class _Out(Vt100_Output):
    """A terminal that is never asked where its cursor is."""

    def get_rows_below_cursor_position(self) -> int:
        """Return that there is a row: so the toolbar is drawn without asking."""
        return 1


class _Plain(StyleTransformation):
    """Takes every colour and weight away."""

    def transform_attrs(self, attrs: Attrs) -> Attrs:
        """Return no attributes at all, but what makes a blank worth drawing."""
        return DEFAULT_ATTRS._replace(color=_DEFAULT) if attrs.color else DEFAULT_ATTRS


class _Lines(KeptLines):
    """Our history in the shape in which prompt-toolkit wants it."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def load_history_strings(self) -> Iterable[str]:
        """Return the lines, the newest first."""
        return reversed(self._history.lines)

    def store_string(self, string: str) -> None:
        """Nothing: the loop keeps the lines, since it knows which of them it ran."""


class _Completer(Completer):
    """Tab, by way of `suggest`."""

    def __init__(self, view: "View") -> None:
        self._view = view

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - prompt-toolkit's signature
    ) -> Iterable[Completion]:
        """Yield what may stand before the cursor."""
        for one in suggest(document.text_before_cursor, self._view.known):
            yield Completion(one.text, start_position=-one.length, display_meta=one.meaning)


@dataclass
class View:
    """What the prompt's thread may look at: values that the other thread exchanges as a whole."""

    state: State = field(default_factory=State)
    known: Known = field(default_factory=Known)
    # What the line below says when the keys do something unusual.
    mode: str = ""
    # Whether Enter begins a new line instead of ending the input.
    multiline: bool = False
    toolbar: bool = True
    vi: bool = False
    # What F1 shows for a line, and what F2 and F4 do.
    on_help: Callable[[str], str] = str
    on_headers: Callable[[], object] = int
    on_wire: Callable[[], object] = int
    # The program that Ctrl-X Ctrl-E starts, empty for the usual one.
    editor: str = ""
    color: bool = True


class Prompt:
    """Reads lines at the terminal, while text may come in above them.

    One line at a time. It owns prompt-toolkit's session and input; ``view`` is what it shows.
    """

    def __init__(
        self,
        screen: Screen,
        history: History,
        view: View,
        *,
        input: Input | None = None,  # noqa: A002 - prompt-toolkit's word
        output: Output | None = None,
    ) -> None:
        from stompcli.shell import keys

        self._screen = screen
        self.view = view
        self._input = input or create_input()
        self._output = output or _Out.from_pty(sys.stdout, term=os.environ.get("TERM"))
        self._style = ConditionalStyleTransformation(
            _Plain(), Condition(lambda: not self.view.color)
        )
        self._session = self._new(
            _Lines(history),
            keys.of_lines(self, view),
            completer=_Completer(view),
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            multiline=Condition(lambda: view.multiline),
            prompt_continuation=_continuation,
        )
        self._body = self._new(
            None,
            keys.of_body(view),
            bottom_toolbar=self._toolbar,
            multiline=True,
            prompt_continuation=_continuation,
        )
        self._raw = self._new(
            InMemoryHistory(),
            keys.of_frames(),
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
        )
        # The application that runs, while one does.
        self._app: Application[str] | None = None
        # True once the line that is being read is wanted no more.
        self._unwanted = False
        # True while another program has the terminal.
        self.away = False

    def _new(
        self, history: KeptLines | None, bindings: KeyBindingsBase, **options: object
    ) -> PromptSession[str]:
        return PromptSession(
            input=self._input,
            output=self._output,
            history=history,
            key_bindings=bindings,
            style=_STYLE,
            style_transformation=self._style,
            include_default_pygments_style=False,
            complete_while_typing=False,
            **options,  # type: ignore[arg-type] # what the callers give are options of it
        )

    # What the loop asks for.

    async def line(self) -> str | None:
        """Return a line that was typed, None for Ctrl-D."""
        self.view.multiline = False
        self._session.editing_mode = EditingMode.VI if self.view.vi else EditingMode.EMACS
        return await self._read(self._session, self._message)

    async def body(self) -> str | None:
        """Return a text of several lines, None if it was given up."""
        self.view.mode = "Esc-Enter, or ^@ at the end of a line: send     Ctrl-C: give up"
        try:
            return await self._read(self._body, lambda: [("class:prompt", _CONTINUED)])
        finally:
            self.view.mode = ""

    async def answer(self, question: str) -> str | None:
        """Return the answer to a question, None for Ctrl-D or Ctrl-C."""
        from stompcli.shell import keys

        return await self._read(
            self._new(None, keys.of_answer()), lambda: [("class:prompt", question)]
        )

    async def raw_line(self, prompt: str) -> str | None:
        """Return a line of a frame, see `Session.type`; Ctrl-@ ends the line and the frame."""
        self.view.mode = 'raw: ^@ ends a frame │ beat │ send-bytes "…" │ Ctrl-D: back'
        try:
            return await self._read(self._raw, lambda: [("class:prompt", prompt)])
        finally:
            self.view.mode = ""

    def say(self, text: str) -> None:
        """Show a line of text above the prompt; any thread may call it."""
        self._screen.put(f"{text}\n".encode("utf-8", "replace"))

    def redraw(self) -> None:
        """Show what the view says now."""
        self._screen.call(self._invalidate)

    # Below here: the thread of the prompt.

    async def _read(
        self,
        session: PromptSession[str],
        message: Callable[[], StyleAndTextTuples],
    ) -> str | None:
        await self._screen.raise_prompt()
        self._unwanted = False
        line: str | None = None
        try:
            async with tasks_beside() as nursery:
                nursery.start_soon(self._give_way)
                # It ends soon when it is to end; abandoned it would leave the terminal raw.
                line = await trio.to_thread.run_sync(partial(self._type, session, message))
        finally:
            with trio.CancelScope(shield=True):
                await self._screen.lower_prompt()
        return line

    async def _give_way(self) -> None:
        """Have the thread end when nobody wants its line any more."""
        try:
            await trio.sleep_forever()
        finally:
            self._unwanted = True
            self._screen.call(self._leave)

    def _type(
        self, session: PromptSession[str], message: Callable[[], StyleAndTextTuples]
    ) -> str | None:
        try:
            return asyncio.run(self._type_in_loop(session, message))
        except (EOFError, KeyboardInterrupt):
            return None

    async def _type_in_loop(
        self, session: PromptSession[str], message: Callable[[], StyleAndTextTuples]
    ) -> str:
        self._app = session.app
        loop = asyncio.get_running_loop()
        try:
            return await session.prompt_async(
                message,
                pre_run=partial(self._begin, loop),
                handle_sigint=False,
                set_exception_handler=False,
            )
        finally:
            self._screen.detach()
            self._app = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._screen.attach(loop, self._above)
        if self._unwanted:
            # It ended before there was a loop to be told.
            loop.call_soon(self._leave)

    def _leave(self) -> None:
        app = self._app
        if app is not None and self._unwanted and app.is_running and not app.is_done:
            app.exit(exception=EOFError())

    def _invalidate(self) -> None:
        if self._app is not None:
            self._app.invalidate()

    def _above(self, write: Callable[[], None]) -> bool:
        """Write above the prompt; False while another program has the terminal."""
        app = self._app
        if self.away or app is None or not app.is_running or app.is_done:
            return False
        app.renderer.erase()
        app.output.enable_autowrap()
        app.output.flush()
        write()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()
        return True

    def _message(self) -> StyleAndTextTuples:
        state = self.view.state
        return [("class:prompt" if state.connected else "class:prompt.down", state.prompt)]

    def _toolbar(self) -> StyleAndTextTuples | None:
        if not self.view.toolbar or self._app is None:
            return None
        typed = self._session.default_buffer.document.text_before_cursor
        width = self._output.get_size().columns
        return [*toolbar(self.view.state, typed, time.monotonic(), width, mode=self.view.mode)]
