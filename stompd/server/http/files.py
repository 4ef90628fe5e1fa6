"""The files of the console: read once, and answered from memory."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER: Final = Path(__file__).parent / "console"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing but these files, nothing inline, no frames, no other server but this one.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Console:
    """Answers requests for the page and for what it loads."""

    def __init__(self) -> None:
        # By name; read when the first of them is asked for.
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}

    def answer(self, name: str, request: Request) -> Response | None:
        """Return the file of that name, or that it is what the browser has; None for no file."""
        if not self._files:
            self._files = _read()
        found = self._files.get(name)
        if found is None:
            return None
        content, headers = found
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(None, 304, headers)
        return Response(content, 200, headers)


def _read() -> dict[str, tuple[bytes, dict[str, str]]]:
    files = {}
    for path in FOLDER.rglob("*"):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            headers = {
                "content-type": _TYPES[path.suffix],
                "content-security-policy": _POLICY,
                # Asked for each time, so that a new stompd has its own console at once.
                "cache-control": "no-cache",
                "etag": f'"{sha256(content).hexdigest()[:32]}"',
            }
            files[path.relative_to(FOLDER).as_posix()] = (content, headers)
    return files
