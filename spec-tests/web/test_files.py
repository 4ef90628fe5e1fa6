"""The files that the console is made of."""

import hashlib
import re
from pathlib import Path

from server.edge import serving, settings, web
from web.asking import ask

import stompd.server.http


async def test_only_its_own_files_are_loaded() -> None:
    """The policy allows nothing inline and no other server; nothing in the files asks for it."""
    async with serving(settings(http=web())) as edge:
        answer = await ask(edge, "GET", "/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
        again = await ask(edge, "GET", "/", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        script = await ask(edge, "GET", "/console/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for path in ("/console/", "/console/../app.py", "/console/vendor/README.md", "/app.js"):
            assert (await ask(edge, "GET", path)).status_code == 404


async def test_it_can_be_off() -> None:
    """Then there is the API, and no page."""
    async with serving(settings(http=web(console=False))) as edge:
        assert (await ask(edge, "GET", "/")).status_code == 404
        assert (await ask(edge, "GET", "/console/app.js")).status_code == 404
        assert (await ask(edge, "GET", "/api/v1/status")).status_code == 200


def test_what_others_have_made_is_as_they_made_it() -> None:
    """Each vendored file stands in a table with its digest, and its licence beside it."""
    console = Path(stompd.server.http.__file__).parent / "console" / "vendor"
    for folder in (console, Path(__file__).parent / "vendor"):
        table = (folder / "README.md").read_text()
        listed = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", table, re.MULTILINE))
        there = {path.name for path in folder.iterdir()} - {"README.md"}
        licences = {name for name in there if name.startswith("LICENSE.")}
        assert there - licences == set(listed)
        assert all(f"`{name}`" in table for name in licences)
        for name, digest in listed.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
