"""dlq requeue at a rate: a few at a time, each once."""

import json
import time
from typing import Any

import pytest
from client.admin_broker import AdminBroker
from client.programs import Stomp
from client.terminal import Terminal

from stompcli.exitcodes import ExitCode


def test_rate(stomp: Stomp, queue: str) -> None:
    """--rate goes no faster, and moves each message once, in order."""
    dead = queue.replace("/queue/", "/queue/DLQ.")
    stomp("send", dead, "--lines", stdin=b"".join(b"%d\n" % n for n in range(10)))
    began = time.monotonic()
    done = stomp(
        "dlq", "requeue", dead, "--all", "--to", queue, "--rate", "20/s", "--yes", "--json"
    )
    assert time.monotonic() - began >= 6 / 20
    assert (done.code, json.loads(done.out)["done"]) == (0, 10)
    assert stomp("subscribe", queue, "-n", "10").text.split() == [str(n) for n in range(10)]


@pytest.fixture
def letters(admin: AdminBroker) -> list[list[str]]:
    """What was requeued of twelve dead letters, two of which always fail; five are young."""
    left = [{"id": str(n), "state": "ready", "age": 100.0 if n < 7 else 1.0} for n in range(12)]
    left[3]["state"] = "inflight"
    asked: list[list[str]] = []

    def browse(request: dict[str, Any]) -> dict[str, object]:
        at = int(request.get("after", 0))
        rows = left[at : at + 5]
        return {"messages": rows, "more": str(at + 5) if at + 5 < len(left) else None}

    def requeue(request: dict[str, Any]) -> dict[str, object]:
        if request.get("dry_run"):
            return {"done": 11, "failed": 0, "reasons": []}
        asked.append(request["ids"])
        failed = [one for one in request["ids"] if one in ("1", "2")]
        reasons = ["no such message"] if failed else []
        return {
            "done": len(request["ids"]) - len(failed),
            "failed": len(failed),
            "reasons": reasons,
        }

    admin.answers.update({"browse": browse, "requeue": requeue, "dlq": []})
    return asked


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--all"], ["0", "1", "2", "4", "5", "6", "7", "8", "9", "10", "11"]),
        (["-n", "4"], ["0", "1", "2", "4"]),
        (["--older-than", "50s"], ["0", "1", "2", "4", "5", "6"]),
        (["5", "1", "9"], ["5", "1", "9"]),
    ],
)
def test_what_is_requeued(
    stomp_admin: Stomp, letters: list[list[str]], words: list[str], expected: list[str]
) -> None:
    """Those that are meant are requeued in portions; what fails is not tried again."""
    done = stomp_admin("dlq", "requeue", "/queue/DLQ", *words, "--rate", "1000/s", "--yes")
    assert [one for portion in letters for one in portion] == expected
    assert done.code == ExitCode.PARTIAL
    failed = len({"1", "2"} & set(expected))
    assert f"Requeued {len(expected) - failed}; {failed} failed and stay" in done.err
    assert "(no such message)" in done.err


def test_progress_on_a_terminal(stomp_admin: Stomp, letters: list[list[str]]) -> None:
    """It asks first, and then shows how far it is, unless nobody wants that."""
    words = ["dlq", "requeue", "/queue/DLQ", "--all", "--rate", "100"]
    terminal = Terminal(stomp_admin, *words)
    terminal.answer("Requeue 11 messages from /queue/DLQ", "y")
    assert terminal.end() == ExitCode.PARTIAL
    assert "Requeuing  [##############################]  100%  11/11  100 msg/s" in terminal.seen
    letters.clear()
    terminal = Terminal(stomp_admin, *words, "--yes", "--no-progress")
    assert terminal.end() == ExitCode.PARTIAL
    assert "Requeuing" not in terminal.seen


def test_elsewhere(admin: AdminBroker, stomp_admin: Stomp) -> None:
    """Only stompd can be asked for single messages."""
    admin.server = "RabbitMQ/4"
    done = stomp_admin("dlq", "requeue", "/queue/a", "--all", "--rate", "1", "--yes")
    assert done.code == ExitCode.FAILED
    assert "dlq requeue --rate needs stompd" in done.err
