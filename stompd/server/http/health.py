"""Whether stompd is alive, and whether it is ready for work: for who restarts it or sends it work.

Everybody may ask, so nothing is told that could be a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response

from stompd.broker.admin import rows

if TYPE_CHECKING:
    from stompd.server.service import Service

# Of the checks of the verb `health`: the others say that somebody waits, not that nothing works.
_NEEDED: Final = frozenset(("running", "store"))


def alive(service: Service) -> Response:
    """Answer 200 if the event loop turns, as it does, and the store has not failed."""
    committer = service.committer
    if committer is not None and committer.failure is not None:
        return PlainTextResponse("the store failed\n", 503)
    return PlainTextResponse("alive\n")


def ready(service: Service) -> Response:
    """Answer 200 if clients are let in and persistent messages are taken, else 503 and why not."""
    checks: list[dict[str, Any]] = [
        check for check in rows.health(service.broker)["checks"] if check["name"] in _NEEDED
    ]
    ok = all(check["ok"] for check in checks)
    return JSONResponse({"ok": ok, "checks": checks}, 200 if ok else 503)
