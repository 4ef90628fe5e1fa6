"""docs/selectors.md is true: its selectors say what the tables say."""

import re

import pytest

from docs.documents import ROOT
from stompd.broker.selector import compile_selector
from stompd.protocol.errors import RemoteProtocolError

PAGE = (ROOT / "docs" / "selectors.md").read_text(encoding="utf-8")
_HEADERS = re.search(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
_OUTCOME = re.compile(r"^\| `([^`]+)` \| (true|false|unknown) \|", re.MULTILINE)
_ERROR = re.compile(r"^\| `([^`]+)` \| `(column [^`]+)` \|$", re.MULTILINE)


@pytest.mark.parametrize(("text", "outcome"), _OUTCOME.findall(PAGE))
def test_a_selector_of_the_page_says_what_its_row_says(text: str, outcome: str) -> None:
    """Each row of the tables, with the page's headers: true, false or unknown."""
    assert _HEADERS is not None
    headers = dict(line.split(":", 1) for line in _HEADERS[1].splitlines())
    true = compile_selector(text).matches(headers)
    false = compile_selector(f"NOT ({text})").matches(headers)
    assert (true, false) == (outcome == "true", outcome == "false")


@pytest.mark.parametrize(("text", "body"), _ERROR.findall(PAGE))
def test_an_error_of_the_page_reads_as_its_row_says(text: str, body: str) -> None:
    """Each row of the table of errors is what the broker answers."""
    with pytest.raises(RemoteProtocolError) as caught:
        compile_selector(text)
    assert caught.value.detail == body


def test_every_row_with_a_selector_is_read() -> None:
    """No outcome is missed for the way that its row is written."""
    assert len(_OUTCOME.findall(PAGE)) == len(re.findall(r"\| (?:true|false|unknown) \|", PAGE))
    assert len(_ERROR.findall(PAGE)) == PAGE.count("| `column ")
