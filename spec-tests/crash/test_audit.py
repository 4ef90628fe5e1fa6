"""The audit of a file sees what is wrong with it, and harms nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from crash.audit import audit

import stompd.store

SCHEMA = Path(stompd.store.__file__).with_name("schema.sql")
FIRST = (1 << 42) + 1

RIGHT = f"""  -- what a stompd might have left
    INSERT INTO queue VALUES (1, '/', '/queue/a'), (2, '/', '/retained/topic/a');
    INSERT INTO lane VALUES (1, 1, 4, 2, 1, 10, 1, 20), (2, 2, 4, 1, 1, 5, 0, 0);
    INSERT INTO message (id, queue, size, persistent, headers, body, due, chunks) VALUES
        ({FIRST}, 1, 10, 1, '', x'00', NULL, NULL), ({FIRST + 1}, 1, 20, 1, '', NULL, 5, 2),
        ({(2 << 42) + 1}, 2, 5, 1, '', x'01', NULL, NULL);
    INSERT INTO chunk VALUES ({FIRST + 1}, 0, x'02'), ({FIRST + 1}, 1, x'03');
"""  # noqa: S608 - numbers
FAULTS = {
    "UPDATE lane SET count = 2 WHERE number = 1": "lane 1 of queue 1: counts 2 and 1, has 1 and 1",
    "UPDATE lane SET octets = 2 WHERE number = 1": "lane 1: octets 2 and 20, has 10 and 20",
    "UPDATE lane SET last_place = 1 WHERE number = 1": f"message {FIRST + 1} is behind",
    "UPDATE message SET queue = 2": f"message {FIRST} names queue 2",
    "DELETE FROM chunk WHERE number = 1": f"message {FIRST + 1} has not all its chunks",
    "INSERT INTO chunk VALUES (7, 0, x'02')": "chunk 7 of a message that is not there",
    "INSERT INTO message (id, queue, size, persistent, headers) VALUES (7, 1, 0, 1, '')": (
        "message 7 is in no lane"
    ),
}


def file(directory: Path, *statements: str) -> Path:
    """Make the file of a stompd that was killed, and return its directory."""
    with closing(sqlite3.connect(directory / "stompd.db")) as database:
        database.executescript(SCHEMA.read_text() + RIGHT)
        for statement in statements:
            database.execute(statement)
        database.commit()
    return directory


def test_a_sound_file_is_sound(tmp_path: Path) -> None:
    """Messages that wait, are delayed, or in parts are counted right."""
    assert audit(file(tmp_path)) == []


@pytest.mark.parametrize("statement", FAULTS)
def test_a_fault_is_seen(tmp_path: Path, statement: str) -> None:
    """Counters, places and parts that do not fit are told."""
    found = audit(file(tmp_path, statement))
    assert any(text.startswith(FAULTS[statement]) for text in found), found


def test_what_is_left_over_is_told(tmp_path: Path) -> None:
    """After everything was drained only retained messages remain."""
    assert audit(file(tmp_path), drained=True) == ["2 messages left in /queue/a"]


def test_a_file_that_was_not_closed_is_told(tmp_path: Path) -> None:
    """A stop in good order leaves its mark."""
    open_ = file(tmp_path, "UPDATE meta SET value = 0 WHERE name = 'clean'")
    assert "it was not closed in good order" in audit(open_, drained=True)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """SQLite's own check counts first."""
    path = file(tmp_path) / "stompd.db"
    content = bytearray(path.read_bytes())
    content[4096:4200] = b"\xff" * 104
    path.write_bytes(content)
    assert audit(tmp_path)
