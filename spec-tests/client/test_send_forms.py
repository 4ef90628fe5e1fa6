"""send and sendfile: templates, the editor, files."""

import base64
import json
import re
from pathlib import Path

import pytest
from client.programs import Stomp
from client.terminal import Terminal
from hypothesis import example, given
from hypothesis import strategies as st

from stompcli import draft, template
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure

# Templates.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{n}", "7"),
        ("{n:4}", "0007"),
        ('{"id": {n}, "x": {}}', '{"id": 7, "x": {}}'),
        ("{{n}} {{random:3}}", "{n} {random:3}"),
        ("{N} { n} {n", "{N} { n} {n"),
    ],
)
def test_fields(text: str, expected: str) -> None:
    """What looks like a field is filled in; other braces stay as they are."""
    template.check(text)
    assert template.filled(text, 7) == expected


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{time}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
        ("{unix}", r"\d{13}"),
        ("{uuid}", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("{random:1}", "[01]"),
        ("{text:100}", "[a-z0-9]{100}"),
        ("{pid}", r"\d+"),
    ],
)
def test_fields_that_vary(text: str, pattern: str) -> None:
    """Times, ids and random text have their forms."""
    assert re.fullmatch(pattern, template.filled(text, 1))


@pytest.mark.parametrize("text", ["{nn}", "{count:3}", "{text:99999999}"])
def test_fields_that_there_are_not(text: str) -> None:
    """A field that is mistyped, or too large, is refused."""
    with pytest.raises(Failure):
        template.check(text)


def test_send_template(stomp: Stomp, queue: str) -> None:
    """Body, headers and destination are filled in for each message."""
    stomp("send", "--template", "-n", "3", queue + ".{n}", "-H", "x:{n:3}", '{"id": {n}}')
    for number in range(1, 4):
        done = stomp("subscribe", f"{queue}.{number}", "-n1", "--format", "{header.x} {body}")
        assert done.text == f'{number:03} {{"id": {number}}}'


def test_template_of_lines(stomp: Stomp, queue: str) -> None:
    """What comes from standard input is no template, the headers beside it are."""
    stomp("send", "--template", "--lines", queue, "-H", "x:{n}", stdin=b"{n}\n{oops}\n")
    done = stomp("subscribe", queue, "-n", "2", "--format", "{header.x} {body}\\n")
    assert done.text == "1 {n}\n2 {oops}\n"


def test_dry_run_of_a_template(stomp: Stomp) -> None:
    """--dry-run shows the first message; a wrong field is refused before anything is sent."""
    done = stomp("-P", "1", "send", "--template", "--dry-run", "/queue/{n}", "{n}")
    assert b"destination:/queue/1\n" in done.out
    done = stomp("-P", "1", "send", "--template", "/queue/a", "{oops}")
    assert done.code == ExitCode.USAGE
    assert "there is no field {oops}" in done.err


# The editor.

LINES = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]))


@example("\\#\n#\n\\\\#", "x", "")
@given(LINES, st.text("abc#:\\", min_size=1), LINES.filter(lambda text: "\n" not in text))
def test_draft_comes_back(body: str, name: str, value: str) -> None:
    """A text that nobody has changed is the same message, but for the line end at its end."""
    name = "x" + name.replace(":", "")
    text = draft.text("/queue/a", [(name, value)], body.encode())
    headers, found = draft.parsed(text)
    assert headers == [(name, value.removeprefix(" "))]
    assert found == body.removesuffix("\n").encode()


@pytest.mark.parametrize("text", [b"", b"# only\n# comments\n", b"\n \n"])
def test_emptied_draft(text: bytes) -> None:
    """A file with nothing in it sends nothing."""
    with pytest.raises(Failure, match="nothing was sent"):
        draft.parsed(text)


def test_draft_with_a_bad_header() -> None:
    """A line that is no header is bad input, and is shown."""
    with pytest.raises(Failure, match='"hello" is no header'):
        draft.parsed(b"hello\n\nbody\n")


def editing(tmp_path: Path, script: str) -> dict[str, str]:
    """Return an environment whose editor is a script; ``$1`` is the file."""
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o700)
    return {"EDITOR": str(editor)}


def test_send_edit(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """--edit sends what the editor leaves, headers too."""
    script = f'cp "$1" {tmp_path}/seen; printf "x:y\\n\\nfrom the editor\\n" > "$1"'
    terminal = Terminal(
        stomp, "send", "--edit", "-H", "a:b", queue, "first", env=editing(tmp_path, script)
    )
    assert terminal.end() == 0
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith(f"# A message to {queue}: ")
    assert seen.endswith("content-type:text/plain\na:b\n\nfirst\n")
    message = json.loads(stomp("subscribe", queue, "-n", "1", "--json").out)
    assert message["body"] == "from the editor"
    assert message["headers"]["x"] == "y"
    assert "a" not in message["headers"]


def test_send_edit_that_is_emptied(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """An emptied file, and an editor that fails, send nothing."""
    for script, words in ((': > "$1"', "nothing was sent"), ("exit 1", "has failed")):
        terminal = Terminal(stomp, "send", "--edit", queue, env=editing(tmp_path, script))
        assert terminal.end() == ExitCode.FAILED
        assert words in terminal.seen
    assert stomp("subscribe", queue, "--idle", "0.2").out == b""


# Files.


def test_sendfile(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """A file goes in base64, with its name and not its path, and comes back by --save-files."""
    data = bytes(range(256))
    file = tmp_path / "a picture.png"
    file.write_bytes(data)
    headers = tmp_path / "headers.json"
    headers.write_text('{"x": "y"}')
    done = stomp("sendfile", queue, str(file), str(headers))
    assert done.code == 0
    assert done.err.startswith(f"Loading {headers}\nUsing headers {{'x': 'y'}}\n")
    message = json.loads(stomp("subscribe", queue, "-n", "1", "--json", "--ack", "client").out)
    assert message["headers"]["filename"] == "a picture.png"
    assert message["headers"]["x"] == "y"
    assert base64.b64decode(message["body"]) == data
    stomp("sendfile", queue, str(file))
    done = stomp("subscribe", queue, "-n", "1", "--save-files", str(tmp_path / "saved"))
    assert done.out == b""
    assert f"saved {tmp_path}/saved/a picture.png (256 bytes)\n" in done.err
    assert (tmp_path / "saved" / "a picture.png").read_bytes() == data


def test_sendfile_as_is(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """--as-is sends the octets themselves, also if they look like base64."""
    file = tmp_path / "word"
    file.write_bytes(b"aGVsbG8=")
    stomp("sendfile", "--as-is", queue, str(file), "-H", "a:b")
    saved = tmp_path / "saved"
    done = stomp("subscribe", queue, "-n1", "--save-files", str(saved), "--json")
    message = json.loads(done.out)
    assert message["body"] == "aGVsbG8="
    assert message["saved"] == str(saved / "word")
    assert (saved / "word").read_bytes() == b"aGVsbG8="


def test_sendfile_in_a_script(stomp: Stomp, queue: str, tmp_path: Path) -> None:
    """In a session it is as silent as that of stomp.py."""
    (tmp_path / "f").write_text("x")
    done = stomp("-q", stdin=f"sendfile {queue} {tmp_path}/f\nsubscribe {queue}\n".encode())
    assert done.text.startswith('Subscribing to "')
    assert "\nfilename: f\n" in done.text


def test_sendfile_that_is_missing(stomp: Stomp) -> None:
    """A file that is not there is said so, before anything is connected."""
    done = Stomp(1)("sendfile", "/queue/a", "/no/such/file")
    assert (done.code, done.err) == (66, "stomp: File /no/such/file does not exist\n")
    assert stomp.port
