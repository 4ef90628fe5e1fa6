"""The log: lines for people or JSON objects, on standard error.

No body and no passcode ever stands in it, tracebacks show no local variables, and what a peer sent
is escaped, so that it cannot play tricks on a terminal.
"""

import logging
import os
import sys
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SECRET: Final = frozenset({"body", "passcode", "password", "token"})


class _Threshold:
    """The least important level that is written; loggers that were bound earlier heed it too."""

    def __init__(self) -> None:
        self.number = logging.INFO

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS.get(method, logging.CRITICAL) < self.number:
            raise structlog.DropEvent
        return event


class _Sink:
    """Where entries go. A reader of the log that went away does not stop the broker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads the log any more (a broken pipe, a full disk, a closed stream), and
            # there is no other place to say so.
            return

    def flush(self) -> None:
        """Do nothing: each entry is flushed as it is written."""


_threshold: Final = _Threshold()


def configure(level: Level, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Write entries of ``level`` and above to ``stream`` (standard error), as ``form`` says.

    Entries that libraries make through the standard library's `logging` look the same.
    """
    stream = sys.stderr if stream is None else stream
    sink = _Sink(stream)
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
    ]
    rendering = _renderers(form, colours=stream.isatty() and not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[_threshold, structlog.contextvars.merge_contextvars, *shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *_: structlog.WriteLogger(sink),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    of_libraries = logging.StreamHandler(sink)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.root.handlers = [of_libraries]
    set_level(level)


def set_level(level: Level) -> None:
    """Change the level while running; it holds at once for every logger."""
    _threshold.number = _LEVELS[level]
    logging.root.setLevel(_LEVELS[level])


def fault() -> None:
    """Log the exception being handled as what it is: a fault in stompd, which ends it."""
    if not structlog.is_configured():
        configure("info", "text")
    structlog.get_logger().critical("stompd failed by a fault of its own", exc_info=True)


def _renderers(form: Literal["text", "json"], *, colours: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=colours,
            repr_native_str=True,
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be in a log, whoever put it there."""
    for name in _SECRET & event.keys():
        event[name] = "***"
    return event
