"""The audit log: who was not let in, who was refused what, and who has changed something.

It is a stream of its own, a JSON object a line, beside the log or in a file that only grows. No
body, passcode or token ever stands in it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from stompd.server.log import without_secrets

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

    from stompd.broker.access import Refusal
    from stompd.broker.admin.request import Act

log = structlog.get_logger()

STDERR: Final = Path("stderr")

_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Have what people look for first come first."""
    return {"time": event.pop("time"), "event": event.pop("event"), **event}


class Audit:
    """Writes entries where it was told to; nowhere, if that is nowhere."""

    def __init__(self) -> None:
        self._place: Path | None = None
        # Without a buffer: what could not be written is not written later, in the middle of others.
        self._descriptor: int | None = None
        self._failed = False
        self._logger: Any = structlog.wrap_logger(
            self,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                without_secrets,
                _in_order,
                structlog.processors.JSONRenderer(sort_keys=False),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def open(self, place: Path | None) -> None:
        """Write to this file from now on, or to standard error; None: nowhere.

        A file is opened anew, so one that was moved away is left to whoever has moved it. Raises
        `OSError`; then it writes where it wrote before.
        """
        descriptor = None
        if place not in (None, STDERR):
            descriptor = os.open(place, _APPEND, 0o600)
        self.close()
        self._place, self._descriptor, self._failed = place, descriptor, False

    def close(self) -> None:
        """Write nothing more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._place, self._descriptor = None, None

    def msg(self, line: str) -> None:
        """Write a line; the logger calls this."""
        try:
            if self._descriptor is not None:
                os.write(self._descriptor, f"{line}\n".encode("utf-8", "replace"))
            else:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        except (OSError, ValueError) as error:
            # A full disk does not stop the broker, but somebody has to know that there is a gap.
            if not self._failed:
                log.warning(
                    "the audit log cannot be written", place=str(self._place), reason=str(error)
                )
            self._failed = True
        else:
            self._failed = False

    info = msg

    def tell(self, event: str, **fields: object) -> None:
        """Write an entry."""
        if self._place is not None:
            self._logger.info(event, **fields)

    def acted(self, act: Act) -> None:
        """Tell of a request that has changed something, or was to."""
        self.tell(
            "admin",
            user=act.user,
            peer=act.peer,
            connection=act.connection,
            vhost=act.vhost,
            verb=act.verb,
            fields=act.fields,
            ok=act.reply["ok"],
            result=act.reply.get("result") or act.reply["error"],
        )

    def refused(self, refusal: Refusal) -> None:
        """Tell of somebody who had not the right to something."""
        self.tell(
            "refused",
            user=refusal.user,
            peer=refusal.peer,
            connection=refusal.connection,
            vhost=refusal.vhost,
            right=refusal.right,
            destination=refusal.destination,
        )


def unusable(file: Path | None) -> str | None:
    """Return why the audit log cannot be written to a place, as far as one can see."""
    if file is None or file == STDERR:
        return None
    if file.is_dir():
        return f"{file} is a directory"
    if not file.parent.is_dir():
        return f"there is no directory {file.parent}"
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        return f"{file} is not writable"
    return None
