"""Tables that are shown again and again, as `watch` does."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from stompcli.failure import usage
from stompcli.output import Out
from stompcli.session import Session

# To the top left corner, and clears what is below.
_ANEW: Final = b"\x1b[H\x1b[J"


async def repeated(
    session: Session, params: Mapping[str, Any], out: Out, once: Callable[[], Awaitable[None]]
) -> None:
    """Show something once, or with --interval until stopped; on a terminal in its place.

    The end of --timeout is success then. Raises `Failure` in a shell, which has no end for it.
    """
    interval: float | None = params["interval"]
    if interval is None:
        await once()
        return
    if session.in_shell:
        raise usage("--interval is for commands of their own, outside of a shell")
    session.on_timeout = lambda: None
    due = trio.current_time()
    first = True
    while True:
        if out.tty and not out.settings.json:
            await out.write(_ANEW)
        elif not first and not (out.settings.json or out.settings.plain or params["plain"]):
            await out.line("")
        first = False
        await once()
        due = max(due + interval, trio.current_time())
        await trio.sleep_until(due)
