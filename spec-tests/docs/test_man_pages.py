"""The manual pages say what the programs do, and every reader of such pages can show them."""

import subprocess

import pytest

from docs.documents import ROOT
from docs.man_pages import FOLDER, pages, roff
from stompcli import table
from stompcli.exitcodes import ExitCode
from stompd.server.sources import keys


@pytest.mark.parametrize("name", ["stomp.1", "stompcli.1", "stompd.8", "stompd.toml.5"])
def test_pages_are_those_of_the_tables(name: str) -> None:
    """`make man` writes them anew when a command, an option or a key has changed."""
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name]


def test_no_other_pages() -> None:
    """Nothing is left of pages that are made no more."""
    assert {path.name for path in FOLDER.iterdir()} == set(pages())
    assert "\nman: " in (ROOT / "Makefile").read_text()


def test_nothing_is_left_out() -> None:
    """Each command, exit code and key stands on its page; examples come first."""
    stomp, settings = pages()["stomp.1"], pages()["stompd.toml.5"]
    for record in table.TABLE:
        assert f".SS\n\\fB{record.name}\\fR" in stomp
    for code in ExitCode:
        assert f"\\fB{int(code)}\\fR\n" in stomp
    for key in keys():
        assert f"\\fB{roff(key.rpartition('.')[2])}\\fR\n" in settings
    for page in (stomp, pages()["stompd.8"], settings):
        assert page.index('.SH "EXAMPLES"') < page.index('.SH "DESCRIPTION"')


@pytest.mark.needs_tool("groff")
@pytest.mark.parametrize("name", ["stomp.1", "stompd.8", "stompd.toml.5"])
def test_pages_are_shown_without_a_complaint(name: str) -> None:
    """Groff has nothing to say against them, and shows what they say."""
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou", str(FOLDER / name)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    text = done.stdout.decode()
    assert "EXAMPLES" in text
    assert "\\f" not in text


def test_roff() -> None:
    """Nothing in a text is taken for a request of roff."""
    assert roff(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert roff("'br") == "\\(aqbr"
    assert roff("a\\nb --x `code`") == "a\\enb \\-\\-x \\fBcode\\fR"
