"""The page on dialects names every header that the broker knows, and nothing that it does not."""

import re

from docs.documents import ROOT, prose
from stompd.broker.dialect import (
    FOREIGN_SEND,
    FOREIGN_SUBSCRIBE,
    SEND_NAMES,
    SUBSCRIBE_NAMES,
    NackOptions,
    send_options,
    subscribe_options,
)

PAGE = prose(ROOT / "docs" / "dialects.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]


def names(text: str) -> set[str]:
    """Return what is written as code in a text."""
    return set(re.findall(r"`([^`]+)`", text))


def section(heading: str) -> str:
    """Return the text of one section of the page."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def tabled(heading: str, columns: int) -> set[str]:
    """Return the names in the first columns of a section's tables."""
    rows = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return set().union(*(names(" ".join(row.split("|")[1 : columns + 1])) for row in rows))


def test_every_header_that_is_honoured_has_its_row() -> None:
    """The tables of SEND and SUBSCRIBE have the names that the broker knows, and no others."""
    settings = tabled("Settings of queues", 1)
    conditional = {"x-dead-letter-exchange", "JMSXGroupSeq"}
    asked = SEND_NAMES - FOREIGN_SEND.keys() - conditional
    assert tabled("SEND", 2) | settings == asked
    asked = SUBSCRIBE_NAMES - FOREIGN_SUBSCRIBE.keys() - conditional
    assert tabled("SUBSCRIBE", 2) | settings == asked
    assert tabled("NACK", 1) == {"requeue", "delay", "reason"} == set(NackOptions.__slots__)


def test_every_header_that_is_not_honoured_has_its_row() -> None:
    """The last table has each of them, with the frames and the reason that the broker knows."""
    rows = [row for row in ROWS if len(row) == 4 and row[0] != "broker"]
    for frame, foreign in (("SEND", FOREIGN_SEND), ("SUBSCRIBE", FOREIGN_SUBSCRIBE)):
        found = {
            name: why.replace("`", "")
            for _, frames, headers, why in rows
            if frame in frames.split(", ") and ", if it" not in headers
            for name in names(headers)
        }
        assert found == foreign


def test_conditions_are_as_told() -> None:
    """What is reported for some values only is reported for these."""
    told = [row for row in ROWS if len(row) == 4 and ", if it" in row[2]]
    values = {
        "JMSXGroupSeq": ("-1", "1"),
        "x-dead-letter-exchange": ("dlx", ""),
        "x-queue-type": ("stream", "quorum"),
        "credit": ("0,0", "1,0"),
    }
    assert len(told) == len(values)
    for _, frames, header, _ in told:
        name = header.split("`")[1]
        bad, good = values[name]
        for frame, read in (("SEND", send_options), ("SUBSCRIBE", subscribe_options)):
            if frame in frames.split(", "):
                assert read({name: bad}.get, [name]).foreign == (name,)
                assert read({name: good}.get, [name]).foreign == ()
