"""Look into the file of a stompd that has ended: whether it is sound, and what is left over.

Python's own sqlite3 reads a copy of it, so that what a crash has left stays as it is.
"""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

# What is wrong if a query returns a row: its columns fill the text.
_RULES = {
    "lane {} of queue {}: counts {} and {}, has {} and {}": """
        SELECT lane.number, lane.queue, lane.count, lane.delayed_count,
               count(*) FILTER (WHERE message.id IS NOT NULL AND due IS NULL) AS waiting,
               count(*) FILTER (WHERE due IS NOT NULL) AS later
        FROM lane LEFT JOIN message ON message.id >> 42 = lane.number
        GROUP BY lane.number
        HAVING waiting != lane.count OR later != lane.delayed_count""",
    "lane {}: octets {} and {}, has {} and {}": """
        SELECT lane.number, lane.octets, lane.delayed_octets,
               coalesce(sum(size) FILTER (WHERE due IS NULL), 0) AS waiting,
               coalesce(sum(size) FILTER (WHERE due IS NOT NULL), 0) AS later
        FROM lane LEFT JOIN message ON message.id >> 42 = lane.number
        GROUP BY lane.number
        HAVING waiting != lane.octets OR later != lane.delayed_octets""",
    "message {} is in no lane": """
        SELECT id FROM message WHERE id >> 42 NOT IN (SELECT number FROM lane)""",
    "message {} names queue {}, its lane another": """
        SELECT id, message.queue FROM message JOIN lane ON lane.number = id >> 42
        WHERE lane.queue != message.queue""",
    "message {} is behind the last place of its lane": """
        SELECT id FROM message JOIN lane ON lane.number = id >> 42
        WHERE id & 0x3ffffffffff > lane.last_place""",
    "chunk {} of a message that is not there": """
        SELECT DISTINCT message FROM chunk WHERE message NOT IN (SELECT id FROM message)""",
    "message {} has not all its chunks": """
        SELECT id FROM message WHERE chunks IS NOT NULL
        AND chunks != (SELECT count(*) FROM chunk WHERE chunk.message = id)""",
}

_LEFT = """
    SELECT queue.name, count(*) FROM message JOIN queue ON queue.number = message.queue
    WHERE queue.name NOT LIKE '/retained%' GROUP BY queue.number"""


def audit(data: Path, *, drained: bool = False) -> list[str]:
    """Return what is wrong with the file in this directory; it need not have been closed.

    With ``drained`` it has been, in good order, and holds no message but retained ones.
    """
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="stompd-audit-") as name:
        copy = shutil.copytree(data, Path(name) / "data", ignore=shutil.ignore_patterns("*-shm"))
        for path in _databases(copy):
            with closing(sqlite3.connect(path)) as database:
                try:
                    found += _broken(database)
                    found += _left(database) if drained else []
                except sqlite3.DatabaseError as error:
                    found.append(str(error))
    return found


def _left(database: sqlite3.Connection) -> list[str]:
    found = [f"{number} messages left in {queue}" for queue, number in database.execute(_LEFT)]
    clean = database.execute("SELECT value FROM meta WHERE name = 'clean'").fetchone()
    return found if clean == (1,) else [*found, "it was not closed in good order"]


def _databases(directory: Path) -> list[Path]:
    return [
        path
        for path in sorted(directory.iterdir())
        if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"
    ]


def _broken(database: sqlite3.Connection) -> list[str]:
    found = [text for (text,) in database.execute("PRAGMA integrity_check") if text != "ok"]
    if found or database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None:
        # Damaged; or it was killed before it had made its tables.
        return found
    for text, query in _RULES.items():
        found += [text.format(*row) for row in database.execute(query)]
    return found
