"""Admin requests to a running stompd, over a socket: answers, rights, the log, taps, memory."""

import json
from typing import Any

import pytest
import trio
from server.edge import Edge, Peer, serving, settings
from server.process import daemon
from wire import octets

from stompd.server.auth import Anonymous, is_trusted


class _Users:
    """Lets everybody in who has a name: there are users."""

    async def authenticate(self, login: Any, peer: str) -> str | None:  # noqa: ANN401, ARG002 - an authenticator
        await trio.lowlevel.checkpoint()
        return str(login.user)


async def _ask(peer: Peer, verb: str, **fields: object) -> dict[str, Any]:
    """Return the reply to a request."""
    head = f"SEND⏎destination:/admin/{verb}⏎reply-to:/temp-queue/r⏎correlation-id:{verb}⏎⏎"
    await peer.write(octets(head) + json.dumps(fields).encode() + b"\0")
    frame = await peer.expect("MESSAGE", correlation_id=verb, content_type="application/json")
    return dict(json.loads(frame.body))


async def _asker(edge: Edge) -> Peer:
    return await edge.login("login:ann")


async def test_queues_are_listed_browsed_moved_and_purged() -> None:
    """From end to end, as the program `stomp` does it."""
    async with serving() as edge:
        peer = await _asker(edge)
        for body in (b"1", b"2", b"3"):
            await peer.put("/queue/a", body)
        (row,) = (await _ask(peer, "queues", match="/queue/#"))["result"]
        assert (row["name"], row["ready"]) == ("/queue/a", 3)
        messages = (await _ask(peer, "browse", destination="/queue/a"))["result"]["messages"]
        assert [message["body"] for message in messages] == ["1", "2", "3"]
        moved = await _ask(peer, "move", source="/queue/a", target="/queue/b", count=1)
        assert moved["result"]["done"] == 1
        assert (await _ask(peer, "purge", destination="/queue/a"))["result"]["done"] == 2
        assert await edge.take("/queue/b", 1) == [b"1"]
        assert (await _ask(peer, "queues", match="/queue/a"))["result"][0]["ready"] == 0


async def test_acts_are_logged_with_their_user() -> None:
    """Those that are refused, too; looking is not."""
    async with serving() as edge:
        peer = await _asker(edge)
        await _ask(peer, "status")
        await _ask(peer, "purge", destination="/queue/none")
        await peer.put("/queue/a")
        await _ask(peer, "purge", destination="/queue/a")
        entries = edge.log.of("admin request")
        assert [(entry["verb"], entry["user"], entry["ok"]) for entry in entries] == [
            ("purge", "ann", False),
            ("purge", "ann", True),
        ]
        assert entries[0]["result"]["code"] == "not-found"
        assert entries[1]["fields"] == {"destination": "/queue/a"}
        assert entries[1]["result"]["done"] == 1


async def test_once_there_are_users_nobody_is_trusted_for_being_near() -> None:
    """Rights are what counts then, and there are none yet."""
    async with serving(authenticator=_Users()) as edge:
        peer = await _asker(edge)
        assert (await _ask(peer, "queues"))["error"]["code"] == "forbidden"
        await peer.write("SUBSCRIBE⏎destination:/topic/$SYS/tap⏎id:t⏎⏎^@")
        await peer.fatal("access refused")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("unix", True),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:  # noqa: FBT001 - the expectation
    """Peers on this machine, while there are no users."""
    assert is_trusted(Anonymous(), address) is trusted
    assert not is_trusted(_Users(), address)


async def test_a_kick_ends_a_connection() -> None:
    """It gets its ERROR, and the end of the stream."""
    async with serving() as edge:
        peer = await _asker(edge)
        other = await edge.login()
        (row,) = [r for r in (await _ask(peer, "connections"))["result"] if r["id"] == "c2"]
        assert row["peer"].startswith("127.0.0.1:")
        assert (await _ask(peer, "kick", connection="c2", reason="goodbye"))["ok"]
        assert b"goodbye" in (await other.fatal("closed by an administrator")).body
        await edge.until_open(1)


async def test_a_tap_shows_what_is_written_to_a_slow_peer_once() -> None:
    """A writer is at work on its socket, and more comes meanwhile."""
    async with serving() as edge:
        tapper = await edge.login()
        await tapper.subscribe(
            "/topic/$SYS/tap", "frames:MESSAGE", "connection:c2", "headers-only:true"
        )
        slow = await edge.login(buffer=4096)
        await slow.subscribe("/queue/a")
        sender = await edge.login()
        count = 40
        for number in range(count):
            await sender.put("/queue/a", b"%d " % number + b"x" * 20_000)
        seen = []
        for _ in range(count):
            await slow.expect("MESSAGE")
        for _ in range(count):
            line = json.loads((await tapper.expect("MESSAGE")).body)
            assert "dropped" not in line
            seen.append(line["headers"]["message-id"])
        assert seen == [f"c2-{number}" for number in range(1, count + 1)]


async def test_producers_wait_for_memory() -> None:
    """They are not read from until consumers have made room; the log tells both."""
    async with serving(settings(flow={"memory-mark": "1MiB"})) as edge:
        producer = await edge.login()
        body = b"x" * 100_000
        frame = octets("SEND⏎destination:/queue/a⏎receipt:r⏎⏎") + body + b"\0"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(producer.write, frame * 40)
            await edge.log.first("producers wait for memory")
            depth = edge.depth("/queue/a")
            assert depth < 20
            assert len(await edge.take("/queue/a", 40)) == 40
        for _ in range(40):
            await producer.expect("RECEIPT")
        await edge.log.first("producers go on")


async def test_statistics_come_by_themselves() -> None:
    """Once a second, while somebody listens."""
    async with serving() as edge:
        peer = await edge.login()
        await peer.subscribe("/topic/$SYS/stats/broker")
        times = [json.loads((await peer.expect("MESSAGE")).body)["time"] for _ in range(2)]
        assert times[1] - times[0] >= 900


def test_the_log_of_a_daemon_tells_who_did_what() -> None:
    """With what was asked for and what came of it."""
    with daemon() as stompd:
        peer = stompd.connect("1.2", "login:ann")
        peer.frame_out(
            "SEND",
            "destination:/admin/pause",
            "reply-to:/temp-queue/r",
            body=b'{"destination":"/queue/none"}',
        )
        peer.expect("MESSAGE")
        entry = stompd.logged("admin request")
        assert (entry["verb"], entry["user"], entry["ok"]) == ("pause", "ann", False)
