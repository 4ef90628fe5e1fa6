"""docs/routing.md is true: with its settings, messages go where its tables say."""

import re
import tomllib

import pytest

from docs.documents import ROOT, blocks
from stompd.broker.broker import Broker
from stompd.broker.course import goes_to
from stompd.server.config import Settings
from stompd.store.memory import MemoryStore

PAGE = ROOT / "docs" / "routing.md"
_ROW = re.compile(r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\| (`/[^|]+`) \|$", re.MULTILINE)
_HEAD = "| SEND to | headers | goes to |\n|---|---|---|\n"


@pytest.fixture(scope="module")
def broker() -> Broker:
    """A broker with the settings of the page."""
    (settings,) = [block.text for block in blocks(PAGE) if block.file == "routes.toml"]
    read = Settings.model_validate(tomllib.loads(settings))
    return Broker(MemoryStore(), read.for_broker("stompd"))


@pytest.mark.parametrize(("text", "headers", "expected"), _ROW.findall(PAGE.read_text()))
def test_a_message_goes_where_its_row_says(
    broker: Broker, text: str, headers: str, expected: str
) -> None:
    """Each row of the tables, in the order of the row."""
    name, _, value = headers.partition(":")
    rows = goes_to(broker.host("/"), text, {name: value} if name else {})
    assert [row["destination"] for row in rows] == re.findall("`([^`]+)`", expected)


def test_every_row_is_read() -> None:
    """No row is missed for the way that it is written."""
    tables = PAGE.read_text().split(_HEAD)[1:]
    assert len(tables) == 3
    rows = [line for table in tables for line in table.partition("\n\n")[0].splitlines()]
    assert len(_ROW.findall(PAGE.read_text())) == len(rows) > 8
