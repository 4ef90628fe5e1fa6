"""``stompd store``, as people run it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from store.keeping import A, B, Keeper, faults, kept_in, plain

from stompd.broker.message import Message
from stompd.broker.storage import RETAINED
from stompd.broker.terms import Terms
from stompd.protocol.frame import Head
from stompd.store.errors import StoreFailedError

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the developer has set out of the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith("STOMPD_")]:
        monkeypatch.delenv(name)


def run(*words: str, expect: int = 0, lines: str | None = None) -> tuple[str, str]:
    """Run ``stompd store`` to its end; return what it wrote to standard output and error."""
    done = subprocess.run(
        [sys.executable, "-m", "stompd", "store", *words],
        input=lines,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The directory of a store with something of everything in it."""
    directory = tmp_path / "data"
    with kept_in(directory) as keeper:
        keeper.put(A, plain(b"one"))
        keeper.put(A, plain(b"two", terms=Terms(9, expires=2e9)))
        keeper.put(A, plain(b"\xff\0" * 1_000_000))
        keeper.put(A, plain(b"transient", persistent=False))
        later = keeper.put(B, plain(b"later"), 1e9)
        later.count, later.detail = 2, "why"
        keeper.put(("", "/queue/\udcff"), Message(Head.of("SEND", {"x": ""}), b"", None, True))  # noqa: FBT003
        keeper.store.define("durable", ("", "me", "s"), {"destination": "/topic/t"})
        keeper.store.remember(A, "seen", 5.0)
    return directory


def everything(directory: Path) -> list[Any]:
    """Return what is in a store, without what says how it came there."""
    db = sqlite3.connect(directory / "stompd.db")
    try:
        return [
            db.execute(
                "SELECT host, messages.queue, priority, place, persistent, headers, body, count,"
                " redelivered, due, expires, more, body_length FROM messages ORDER BY 2, 4"
            ).fetchall(),
            db.execute("SELECT kind, key, record FROM definition").fetchall(),
            db.execute("SELECT * FROM dedup").fetchall(),
            db.execute("SELECT queue, count, octets, delayed_count FROM queues").fetchall(),
        ]
    finally:
        db.close()


def test_ls(data: Path) -> None:
    """Queues are listed for people and for programs, also while the store is in use."""
    with kept_in(data):
        text, _ = run("ls", "--data", str(data))
        rows = json.loads(run("ls", "--json", "--data", str(data))[0])
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["HOST", "QUEUE", "MESSAGES", "BYTES", "DELAYED", "BYTES"]
    assert lines[1][:2] == ["/queue/a", "4"]
    assert "\\udcff" in text
    assert [(row["queue"], row["messages"], row["delayed"]) for row in rows] == [
        ("/queue/a", 4, 0),
        ("/queue/b", 0, 1),
        ("/queue/\udcff", 1, 0),
    ]


def test_ls_of_an_empty_store(tmp_path: Path) -> None:
    """A store without messages is no error; the directory of the settings is the one meant."""
    with kept_in(tmp_path / "state" / "stompd"):
        pass
    assert "holds no messages" in run("ls")[0]
    assert run("ls", "--json")[0] == "[]\n"
    config = tmp_path / "stompd.toml"
    config.write_text(f'[store]\npath = "{tmp_path}/state/stompd"\n')
    assert "holds no messages" in run("ls", "-c", str(config))[0]
    config.write_text("nonsense = 1\n")
    assert "nonsense" in run("ls", "-c", str(config), expect=78)[1]


def test_verify_of_a_good_store(data: Path) -> None:
    """A store in order is ok, with a status of 0; it may be in use."""
    with kept_in(data):
        assert run("verify", "--data", str(data))[0].endswith("stompd.db: ok\n")
    assert json.loads(run("verify", "--json", "--data", str(data))[0]) == {
        "ok": True,
        "faults": [],
    }


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE lane SET count = count + 1", "counters say"),
        ("UPDATE lane SET last_place = 0", "behind the last place"),
        ("UPDATE lane SET queue = 99 WHERE priority = 9", "belongs to no queue"),
        ("DELETE FROM chunk WHERE number = 1", "lacks a part"),
        ("UPDATE message SET body = NULL WHERE chunks IS NULL", "has no body"),
        ("INSERT INTO chunk VALUES (77, 0, x'00')", "message 77, which is not there"),
        ("UPDATE message SET headers = 'nonsense' WHERE form IS NULL", "cannot be read"),
        ("UPDATE message SET more = '{' WHERE more IS NOT NULL", "cannot be read"),
        ("UPDATE definition SET record = '{'", "the definition of durable"),
    ],
)
def test_verify_of_a_damaged_store(data: Path, statement: str, words: str) -> None:
    """Whatever does not fit together is told, with a status of 1."""
    db = sqlite3.connect(data / "stompd.db")
    db.execute(statement)
    db.commit()
    db.close()
    text, error = run("verify", "--data", str(data), expect=1)
    assert words in text
    assert "damaged" in error
    assert not json.loads(run("verify", "--json", "--data", str(data), expect=1)[0])["ok"]


def test_verify_tells_ten_faults_of_a_sort(tmp_path: Path) -> None:
    """Many faults of one sort are counted, not listed."""
    with kept_in(tmp_path) as keeper:
        for _ in range(30):
            keeper.put(A, plain(b"x"))
    db = sqlite3.connect(tmp_path / "stompd.db")
    db.execute("UPDATE message SET headers = 'nonsense'")
    db.commit()
    db.close()
    lines = run("verify", "--data", str(tmp_path), expect=1)[0].splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 20 more like that"


def test_verify_of_damaged_pages(tmp_path: Path) -> None:
    """What SQLite finds is told, too, and nonsense in place of a file."""
    with kept_in(tmp_path) as keeper:
        for _ in range(50):
            keeper.put(A, plain(b"x" * 3000))
    file = tmp_path / "stompd.db"
    content = bytearray(file.read_bytes())
    at = content.index(b"x" * 100) // 4096 * 4096
    content[at : at + 4096] = b"\x55" * 4096
    file.write_bytes(content)
    assert run("verify", "--data", str(tmp_path), expect=1)[0]
    file.write_bytes(b"nonsense" * 1000)
    assert "NotADB" in run("verify", "--data", str(tmp_path), expect=1)[0]


def test_compact(tmp_path: Path) -> None:
    """The file shrinks to what is in it."""
    with kept_in(tmp_path) as keeper:
        messages = [keeper.put(A, plain(b"x" * 10_000)) for _ in range(100)]
        keeper.commit()
        keeper.fold()
        for message in messages[1:]:
            keeper.store.settle(A, message)
    before = (tmp_path / "stompd.db").stat().st_size
    assert "bytes before" in run("compact", "--data", str(tmp_path))[0]
    assert (tmp_path / "stompd.db").stat().st_size < before / 2
    assert faults(tmp_path) == []
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"x" * 10_000]


def test_export_and_import(data: Path, tmp_path: Path) -> None:
    """All that is kept goes to lines and back, by files and by pipes."""
    lines, _ = run("export", "--data", str(data))
    assert json.loads(lines.splitlines()[0]) == {"stompd-export": 1}
    copy = tmp_path / "copy"
    assert "6 messages added" in run("import", "--data", str(copy), lines=lines)[0]
    assert faults(copy) == []
    assert everything(copy) == everything(data)
    file = tmp_path / "lines"
    run("export", str(file), "--data", str(data))
    assert file.read_text() == lines
    run("import", str(file), "--data", str(copy))
    assert faults(copy) == []
    with kept_in(copy) as keeper:
        assert keeper.bodies() == [b"one", b"\xff\0" * 1_000_000, b"transient"] * 2
        (first, second), dues = keeper.read(B, "delayed")
        assert dues == [1e9, 1e9]
        assert (second.body, second.count, second.detail) == (b"later", 2, "why")
        assert (first.place, second.place) == (1, 2)


def test_import_of_a_last_value(tmp_path: Path) -> None:
    """A topic has one last value: the one that is imported, whatever the priority of the other."""
    key = ("", f"{RETAINED}/topic/t")
    with kept_in(tmp_path / "from") as keeper:
        keeper.put(key, plain(b"new"))
    lines = run("export", "--data", str(tmp_path / "from"))[0]
    with kept_in(tmp_path / "to") as keeper:
        keeper.put(key, plain(b"old", terms=Terms(7)))
    for _ in range(2):
        run("import", "--data", str(tmp_path / "to"), lines=lines)
        with kept_in(tmp_path / "to") as keeper:
            (kept,) = keeper.kept.queues
            assert {priority: lane.count for priority, lane in kept.lanes.items()} == {4: 1}
            assert keeper.bodies(key) == [b"new"]
    assert faults(tmp_path / "to") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_export_to_a_full_disk(data: Path) -> None:
    """What cannot be written is said in words, and that the lines are not all there."""
    error = run("export", "/dev/full", "--data", str(data), expect=74)[1]
    assert "cannot write /dev/full: No space left on device" in error
    assert "Traceback" not in error


def test_export_after_a_crash(tmp_path: Path) -> None:
    """What the next start would drop is not exported."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"lost", persistent=False))
        keeper.put(A, plain(b"kept"))
        keeper.commit()
    lines = run("export", "--data", str(tmp_path))[0].splitlines()
    assert [json.loads(line)["message"]["body"] for line in lines[1:]] == ["kept"]


MESSAGE = (
    '{"message": {"host": "", "queue": "/queue/a", "priority": 4, "persistent": true, "size": 1,'
    ' "headers": "destination:/queue/a", "body": "x"}}'
)


@pytest.mark.parametrize(
    "bad",
    [
        "no json",
        "[]",
        "{}",
        '{"message": {}}',
        '{"nothing": 1}',
        '{"definition": {"kind": "x", "key": [], "record": {}}}',
        '{"definition": {"kind": "queue", "key": ["", 5], "record": {}}}',
        '{"dedup": {"host": "", "queue": 5, "dedup_id": "x", "seen": 5}}',
        '{"dedup": {"host": "", "queue": "/queue/a", "dedup_id": "x", "seen": -1}}',
        MESSAGE.replace('"/queue/a", "priority"', '7, "priority"'),
        MESSAGE.replace('"host": ""', '"host": null'),
        MESSAGE.replace('"priority": 4', '"priority": "high"'),
        MESSAGE.replace('"size": 1', '"size": 1.5'),
        MESSAGE.replace('"size": 1', '"size": 9223372036854775808'),
        MESSAGE.replace('"size": 1', '"size": 1, "count": "x"'),
        MESSAGE.replace('"body": "x"', '"body": "\udcff"'),
        "\udcff",
    ],
)
def test_import_of_something_else(tmp_path: Path, bad: str) -> None:
    """A line that no export wrote is named; what was before it is there."""
    head = '{"stompd-export": 1}\n'
    good = json.dumps(
        {
            "message": {
                "host": "",
                "queue": "/queue/a",
                "priority": 4,
                "persistent": True,
                "size": 4,
                "headers": "destination:/queue/a",
                "body": "good",
            }
        }
    )
    words = ("import", "--data", str(tmp_path / "new"))
    error = run(*words, lines=f"{head}\n{good}\n{bad}\n", expect=74)[1]
    assert "line 4 is not of an export" in error
    with kept_in(tmp_path / "new") as keeper:
        assert keeper.bodies() == [b"good"]
    assert "line 1" in run(*words, lines=f"{good}\n", expect=74)[1]


def test_backup(data: Path, tmp_path: Path) -> None:
    """A store in use is copied, and the copy is a store; no file is written over."""
    target = tmp_path / "copy" / "stompd.db"
    target.parent.mkdir()
    with kept_in(data):
        assert "bytes" in run("backup", str(target), "--data", str(data))[0]
    assert everything(target.parent) == everything(data)
    assert "is there already" in run("backup", str(target), "--data", str(data), expect=74)[1]
    assert "cannot write" in run("backup", "/nonexistent/x", "--data", str(data), expect=74)[1]


@pytest.mark.parametrize("command", ["compact", "export", "import"])
def test_a_store_in_use_is_left_alone(data: Path, command: str) -> None:
    """What needs the store for itself is refused while stompd has it, and says who that is."""
    before = everything(data)
    with kept_in(data):
        error = run(command, "--data", str(data), lines="", expect=74)[1]
    assert f"in use by process {os.getpid()}" in error
    assert everything(data) == before


@pytest.mark.parametrize("command", ["ls", "verify", "compact", "export", "backup"])
def test_no_store(tmp_path: Path, command: str) -> None:
    """Without a directory, or a store in it, the status is that of a wrong configuration."""
    more = ["target"] if command == "backup" else []
    missing = str(tmp_path / "missing")
    assert "there is no" in run(command, *more, "--data", missing, expect=78)[1]
    assert "no store in" in run(command, *more, "--data", str(tmp_path), expect=78)[1]


@pytest.mark.parametrize("command", ["ls", "verify", "compact", "export", "backup", "import"])
def test_a_file_in_place_of_a_directory(data: Path, tmp_path: Path, command: str) -> None:
    """Who names the file gets told that the directory is meant."""
    more = [str(tmp_path / "target")] if command == "backup" else []
    status = 74 if command == "import" else 78
    words = (command, *more, "--data", str(data / "stompd.db"))
    error = run(*words, lines="", expect=status)[1]
    assert "stompd.db is a file: give" in error
    assert "--data DIR" in error


def test_import_of_nothing(tmp_path: Path) -> None:
    """An input without a line is none of an export; empty lines before the first do not matter."""
    words = ("import", "--data", str(tmp_path / "new"))
    for lines in ("", "\n\n"):
        assert "there are no lines" in run(*words, lines=lines, expect=74)[1]
    assert "0 messages" in run(*words, lines='\n{"stompd-export": 1}\n')[0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE definition SET record = '{'",
        "UPDATE definition SET key = '5'",
        "UPDATE definition SET key = CAST(x'ff' AS TEXT)",
        "UPDATE queue SET name = CAST(x'ff' AS TEXT) WHERE number = 1",
        "UPDATE dedup SET host = '\"'",
    ],
)
def test_text_that_is_damaged(data: Path, statement: str) -> None:
    """A start and the commands say in words that the file is damaged."""
    db = sqlite3.connect(data / "stompd.db")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(StoreFailedError, match=r"is damaged \(.*stompd store verify"):
        Keeper(data)
    # Nothing but a start minds a key that is no list.
    error = run("export", "--data", str(data), expect=0 if "'5'" in statement else 74)[1]
    assert "is damaged" in error or "'5'" in statement
    assert "Traceback" not in error
    assert run("verify", "--data", str(data), expect=1)


def test_what_waits_in_the_journal(tmp_path: Path) -> None:
    """After a crash the commands see what the journal holds, and change nothing else."""
    with kept_in(tmp_path, clean=False) as keeper:
        keeper.put(A, plain(b"one"))
        keeper.commit()
        run("backup", str(tmp_path / "copy.db"), "--data", str(tmp_path))
    assert "ok" in run("verify", "--data", str(tmp_path))[0]
    for command in ("ls", "export"):
        assert "/queue/a" in run(command, "--data", str(tmp_path))[0]
    with kept_in(tmp_path, clean=False) as keeper:
        assert keeper.bodies() == [b"one"]
        keeper.put(A, plain(b"two"))
        keeper.commit()
    run("compact", "--data", str(tmp_path))
    with kept_in(tmp_path) as keeper:
        assert keeper.bodies() == [b"one", b"two"]
    (tmp_path / "copied").mkdir()
    (tmp_path / "copy.db").replace(tmp_path / "copied" / "stompd.db")
    assert "/queue/a" in run("ls", "--data", str(tmp_path / "copied"))[0]


def test_verify_of_the_journal(tmp_path: Path) -> None:
    """A journal that is missing or damaged is told."""
    with kept_in(tmp_path, clean=False) as keeper:
        for _ in range(3):
            keeper.put(A, plain(b"one"))
            keeper.commit()
    journal = tmp_path / "stompd.journal"
    data = bytearray(journal.read_bytes())
    data[50] ^= 1
    journal.write_bytes(data)
    text, _ = run("verify", "--data", str(tmp_path), expect=1)
    assert "stompd.journal is damaged at octet 0" in text
    assert "stompd.journal is damaged" in run("ls", "--data", str(tmp_path), expect=74)[1]
    journal.unlink()
    assert "stompd.journal is missing" in run("verify", "--data", str(tmp_path), expect=1)[0]


def test_a_file_of_somebody_elses(tmp_path: Path) -> None:
    """Another program's database, and one of another schema, are told apart from ours."""
    db = sqlite3.connect(tmp_path / "stompd.db")
    db.execute("CREATE TABLE t (a)")
    db.close()
    assert "not a file of stompd's" in run("ls", "--data", str(tmp_path), expect=74)[1]
    with kept_in(tmp_path / "newer"):
        pass
    db = sqlite3.connect(tmp_path / "newer" / "stompd.db")
    db.execute("PRAGMA user_version = 9")
    db.close()
    for command in ("ls", "verify", "export"):
        error = run(command, "--data", str(tmp_path / "newer"), expect=74)[1]
        assert "written by a newer stompd (schema 9" in error
        assert "take the commands of that one" in error
    db = sqlite3.connect(tmp_path / "newer" / "stompd.db")
    db.execute("PRAGMA user_version = 1")
    db.close()
    error = run("ls", "--data", str(tmp_path / "newer"), expect=74)[1]
    assert "written by an older stompd (schema 1" in error
    assert "start this one once" in error


def test_help() -> None:
    """The commands are listed, each with a line."""
    text, _ = run("--help")
    for command in ("ls", "verify", "compact", "export", "import", "backup"):
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {command} ")]
        assert not line.endswith("...")
