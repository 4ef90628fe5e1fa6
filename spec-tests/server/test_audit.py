"""The audit log: every failed log-in, refusal and change, with who it was and from where."""

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from server.edge import Edge, Peer, serving, settings
from server.test_auth import users_file

from stompd.server.accounts import problems_of_users
from stompd.server.audit import STDERR, Audit, unusable
from stompd.server.config import Settings


def entries(file: Path) -> list[dict[str, Any]]:
    """Return what stands in an audit log; times and ports are left out."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(row.pop("time").endswith("Z") for row in rows)
    for row in rows:
        if row.get("peer"):
            row["peer"] = row["peer"].rpartition(":")[0]
    return rows


def audited(tmp_path: Path, *users: str) -> Settings:
    """Return settings with users, an audit log, and something that is denied."""
    return settings(
        users={"file": str(users_file(tmp_path, *users))},
        log={"audit": str(tmp_path / "audit.log")},
        rights=[
            {"deny": "send", "who": "ann", "on": "/queue/secret"},
            {"allow": "connect,send,create,receive", "who": "*"},
        ],
    )


async def login(edge: Edge, name: str, passcode: str) -> Peer:
    """Write CONNECT."""
    peer = await edge.connect()
    lines = f"accept-version:1.2⏎host:/⏎login:{name}⏎passcode:{passcode}"
    return await peer.write(f"CONNECT⏎{lines}⏎⏎^@")


async def ask(peer: Peer, verb: str, body: str) -> None:
    """Make a request and wait for the reply."""
    await peer.write(f"SEND⏎destination:/admin/{verb}⏎reply-to:/temp-queue/r⏎⏎{body}^@")
    await peer.expect("MESSAGE")


async def test_who_was_refused_what_and_who_did_what(tmp_path: Path) -> None:
    """In the order in which it happened; neither passcodes nor bodies."""
    file = tmp_path / "audit.log"
    async with serving(audited(tmp_path, "ann", "bob:admin")) as edge:
        await (await login(edge, "ann", "pass-wrong")).fatal("login refused")
        ann = await login(edge, "ann", "ann's")
        await ann.expect("CONNECTED")
        await ask(ann, "queues", "{}")
        await ask(ann, "pause", '{"destination":"/queue/a"}')
        await ann.write("SEND⏎destination:/queue/secret⏎⏎body-secret^@")
        await ann.fatal("access refused")
        bob = await login(edge, "bob", "bob's")
        await bob.expect("CONNECTED")
        await bob.put("/queue/a")
        await ask(bob, "purge", '{"destination":"/queue/a"}')
        peers = {"ann": {"user": "ann", "peer": "127.0.0.1", "connection": "c2", "vhost": "/"}}
        peers["bob"] = {**peers["ann"], "user": "bob", "connection": "c3"}
        rows = entries(file)
        assert rows[0] == {
            **peers["ann"],
            "connection": "c1",
            "event": "login-failed",
            "message": "login refused",
            "reason": "",
        }
        refused = {**peers["ann"], "event": "refused"}
        assert rows[1] == {**refused, "right": "monitor", "destination": "/admin/queues"}
        assert rows[2] == {**refused, "right": "admin", "destination": "/admin/pause"}
        assert (rows[3]["event"], rows[3]["user"], rows[3]["ok"]) == ("admin", "ann", False)
        assert rows[4] == {**refused, "right": "send", "destination": "/queue/secret"}
        assert rows[5] == {
            **peers["bob"],
            "event": "admin",
            "verb": "purge",
            "fields": {"destination": "/queue/a"},
            "ok": True,
            "result": {"done": 1, "failed": 0, "reasons": []},
        }
        assert len(rows) == 6
        assert edge.log.of("access refused")[-1]["destination"] == "/queue/secret"
    assert "secret" not in file.read_text().replace("/queue/secret", "")
    assert "pass-wrong" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_failed_log_ins_are_events_as_well(tmp_path: Path) -> None:
    """For whoever may look at the broker."""
    async with serving(audited(tmp_path, "ann", "bob:admin")) as edge:
        bob = await login(edge, "bob", "bob's")
        await bob.expect("CONNECTED")
        await bob.subscribe("/topic/$SYS/events/login-failed")
        await (await login(edge, "eve", "x")).fatal("login refused")
        event = json.loads((await bob.expect("MESSAGE")).body)
        assert (event["event"], event["user"]) == ("login-failed", "eve")
        assert event["peer"].startswith("127.0.0.1:")


async def test_a_file_that_was_moved_away_is_left_alone(tmp_path: Path) -> None:
    """After a reload another one is written: so logs are rotated."""
    given = audited(tmp_path, "ann")
    file = tmp_path / "audit.log"
    async with serving(given) as edge:
        await (await login(edge, "ann", "x")).fatal("login refused")
        file.rename(tmp_path / "old")
        edge.service.reload(given, "x", None)
        assert [row["event"] for row in entries(tmp_path / "old")] == ["login-failed"]
        assert [row["event"] for row in entries(file)] == ["settings reloaded"]


async def test_a_place_that_cannot_be_opened_leaves_the_old_one(tmp_path: Path) -> None:
    """And the log tells it."""
    given = audited(tmp_path, "ann")
    async with serving(given) as edge:
        broken = given.model_copy(update={"log": settings(log={"audit": str(tmp_path)}).log})
        edge.service.reload(broken, "x", None)
        assert (await edge.log.first("the audit log cannot be opened"))["reason"]
        await (await login(edge, "ann", "x")).fatal("login refused")
    events = [row["event"] for row in entries(tmp_path / "audit.log")]
    assert events == ["settings reloaded", "login-failed"]


def test_it_may_be_written_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which stays open; to be written nowhere costs nothing."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    audit = Audit()
    audit.tell("lost")
    audit.open(STDERR)
    audit.tell("kept", user="ann", passcode="secret")
    audit.close()
    audit.tell("lost")
    row = json.loads(stream.getvalue())
    assert (row["event"], row["user"], row["passcode"]) == ("kept", "ann", "***")


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    """The broker goes on, and so does the audit log when there is room again."""
    audit = Audit()
    audit.open(Path("/dev/full"))
    with structlog.testing.capture_logs() as entries_:
        audit.tell("one")
        audit.tell("two")
    assert [entry["event"] for entry in entries_] == ["the audit log cannot be written"]
    audit.open(tmp_path / "audit.log")
    audit.tell("three")
    audit.close()
    assert [row["event"] for row in entries(tmp_path / "audit.log")] == ["three"]


async def test_what_cannot_be_written_is_told_before_the_start(tmp_path: Path) -> None:
    """By check-config, too."""
    await trio.lowlevel.checkpoint()
    (tmp_path / "locked").mkdir(mode=0o500)
    assert unusable(None) is None
    assert unusable(STDERR) is None
    assert unusable(tmp_path / "new") is None
    assert unusable(tmp_path) == f"{tmp_path} is a directory"
    lost = tmp_path / "none" / "audit.log"
    assert unusable(lost) == f"there is no directory {lost.parent}"
    (problem,) = problems_of_users(settings(log={"audit": str(tmp_path)}))
    assert str(problem) == f"log.audit: {tmp_path} is a directory"
