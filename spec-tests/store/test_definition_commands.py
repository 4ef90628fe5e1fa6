"""``stompd definitions``: what there is beside messages, moved to another store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from store.keeping import kept_in

QUEUE = {"kind": "queue", "key": ["/", "/queue/a"], "record": {"paused": True}}
BINDING = {"kind": "binding", "key": ["/", "/queue/a", "/topic/t"], "record": {}}
DURABLE = {
    "kind": "durable",
    "key": ["/", "me", "all"],
    "record": {"destination": "/topic/t", "label": ["me", "all"], "selector": "n > 1"},
}


def run(*words: str, lines: str = "", expect: int = 0) -> str:
    """Run the command; return what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "stompd", "definitions", *words],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def document(*entries: object) -> str:
    """Return a document with these definitions."""
    return json.dumps({"stompd-definitions": 1, "definitions": entries})


def test_definitions_go_to_another_store(tmp_path: Path) -> None:
    """Importing writes what an export has, in one order; twice changes nothing."""
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    told = document(DURABLE, BINDING, QUEUE)
    assert "3 new" in run("import", "--data", one, "--dry-run", lines=told)
    assert not (tmp_path / "one").exists()
    assert "3 new, 0 changed, 0 the same" in run("import", "--data", one, lines=told)
    exported = run("export", "--data", one)
    assert json.loads(exported)["definitions"] == [QUEUE, DURABLE, BINDING]
    run("import", "--data", other, lines=exported)
    assert run("export", "--data", other) == exported
    changed = document({**QUEUE, "record": {}}, BINDING)
    assert "0 new, 1 changed, 1 the same" in run("import", "--data", other, lines=changed)
    assert "0 new, 0 changed, 2 the same" in run("import", "--data", other, lines=changed)
    with kept_in(tmp_path / "other") as keeper:
        assert {kind for kind, _, _ in keeper.kept.definitions} == {"queue", "durable", "binding"}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("{", "not JSON"),
        ("[]", "stompd-definitions"),
        (document({**QUEUE, "kind": "shelf"}), "definition 1"),
        (document(QUEUE, {**QUEUE, "key": ["/"]}), "definition 2"),
        (document({**QUEUE, "record": {"settings": {"colour": 1}}}), "colour"),
        (document(QUEUE, {**DURABLE, "record": {**DURABLE["record"], "selector": "("}}), "n 2"),  # type: ignore[dict-item]
    ],
)
def test_nothing_is_defined_if_something_is_wrong(tmp_path: Path, told: str, why: str) -> None:
    """What is wrong is named, and nothing is written."""
    assert why in run("import", "--data", str(tmp_path / "new"), lines=told, expect=74)
    assert not (tmp_path / "new").exists()
