"""What all connections share: limits, the log-in time-out, clients in an error loop, writing."""

import gc
import time
from pathlib import Path

import pytest
import trio
from server.edge import CONNECT, Peer, serving, settings

from stompd.broker.session import CloseReason
from stompd.server.service import Offenders

# -- The time of day -------------------------------------------------------------------------------


async def test_the_time_of_day_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a day ahead while stompd runs, it counts: ``deliver-at`` of that day is now."""
    async with serving() as edge:
        peer = await edge.login()
        broker = edge.service.broker
        real = time.time
        monkeypatch.setattr("stompd.server.service.time.time", lambda: real() + 86_400)
        await edge.until(lambda: broker.epoch_ms() > (real() + 86_000) * 1000)
        await peer.write("SUBSCRIBE⏎id:1⏎destination:/queue/a⏎⏎^@")
        moment = round((real() + 80_000) * 1000)
        await peer.write(f"SEND⏎destination:/queue/a⏎deliver-at:{moment}⏎⏎x^@")
        await peer.expect("MESSAGE")


# -- Limits on connections -------------------------------------------------------------------------


@pytest.mark.clause("LIM-01", "C-04")
async def test_one_connection_too_many_is_told_so() -> None:
    """It gets an ERROR that names the limit; when another has left, there is room again."""
    async with serving(settings(limits={"connections": 2})) as edge:
        first = await edge.login()
        second = await edge.login()
        third = await edge.connect()
        frame = await third.fatal("too many connections")
        assert b"this server takes 2 connections" in frame.body
        await third.close()
        await first.close()
        await edge.until_open(1)
        await edge.login()
        await second.sync()


async def test_who_has_too_much_in_queues_waits_for_room(tmp_path: Path) -> None:
    """Also after a restart, with what is in the store; it goes on when somebody has taken it."""
    store = {"engine": "sqlite", "path": str(tmp_path)}
    given = settings(limit=[{"per": "address", "backlog_messages": 3}], store=store)
    async with serving(given) as edge:
        producer = await edge.login()
        for _ in range(3):
            await producer.write("SEND⏎destination:/queue/a⏎persistent:true⏎receipt:r⏎⏎x^@")
            await producer.expect("RECEIPT")
    async with serving(given) as edge:
        producer = await edge.login()
        (quota,) = next(iter(edge.service.broker.sessions.values())).quotas
        await edge.until(lambda: quota.over)
        await producer.write("SEND⏎destination:/queue/a⏎receipt:late⏎⏎late^@")
        await edge.until(lambda: quota.blocked)
        assert edge.depth("/queue/a") == 3
        assert await edge.take("/queue/a", 3) == [b"x"] * 3
        await producer.expect("RECEIPT", receipt_id="late")


@pytest.mark.clause("LIM-01", "C-04")
async def test_one_address_has_so_many_connections(tmp_path: Path) -> None:
    """The limit counts by address; those who come another way are not concerned."""
    path = tmp_path / "s"
    given = settings(limits={"connections-per-address": 1}, unix=[str(path)])
    async with serving(given) as edge:
        await edge.login()
        refused = await edge.connect()
        frame = await refused.fatal("too many connections")
        assert b"this server takes 1 from one address" in frame.body
        await refused.close()
        await (await edge.connect_unix(path)).login()
        await edge.until_open(2)


@pytest.mark.clause("LIM-01", "C-04")
async def test_so_many_may_log_in_at_once() -> None:
    """Connections that have not logged in are limited apart; a session does not count."""
    async with serving(settings(limits={"logins": 2})) as edge:
        sessions = [await edge.login() for _ in range(3)]
        silent = [await edge.connect() for _ in range(2)]
        await edge.until_open(5)
        refused = await edge.connect()
        frame = await refused.fatal("too many connections")
        assert b"2 connections are logging in already" in frame.body
        await refused.close()
        await silent[0].login()
        sessions.append(await edge.login())
        for session in sessions:
            await session.sync()


async def test_who_is_refused_does_not_count() -> None:
    """A connection refused for one limit is not in the way of the others while it lingers."""
    given = settings(limits={"logins": 1}, timeouts={"linger": "60s"})
    async with serving(given) as edge:
        silent = await edge.connect()
        await edge.until_open(1)
        lingering = [await edge.connect() for _ in range(3)]
        for peer in lingering:
            await peer.expect("ERROR")
        await silent.login()
        await edge.login()


# -- Limits on frames ------------------------------------------------------------------------------


def connect_with(header: str) -> str:
    """Return a CONNECT with one more header line."""
    return CONNECT.replace("⏎⏎", f"⏎{header}⏎⏎")


@pytest.mark.clause("LIM-03", "LIM-04", "LIM-05")
async def test_frames_before_log_in_are_smaller() -> None:
    """A peer that nobody knows yet may send less; after log-in the ordinary limits hold."""
    table = {"login-frame": 2000, "header-line": 16_000, "head": 16_000, "body": 50_000}
    async with serving(settings(limits=table)) as edge:
        line = await edge.connect()
        await line.write(connect_with("x:" + "y" * 3000))
        await line.fatal("over the limit")
        unending = await edge.connect()
        await unending.write("CONNECT⏎x:" + "y" * 3000)
        await unending.fatal("over the limit")
        body = await edge.connect()
        await body.write(CONNECT.replace("^@", "z" * 3000))
        await body.fatal("over the limit")
        session = await edge.login()
        await session.write(
            "SEND⏎destination:/queue/a⏎x:" + "y" * 3000 + "⏎⏎" + "z" * 49_999 + "^@"
        )
        await session.sync()
        await session.write("SEND⏎destination:/queue/a⏎content-length:50001⏎⏎")
        await session.fatal("body over the limit")


async def test_the_frames_behind_connect_have_the_limits_of_a_session() -> None:
    """What is sent in one piece with CONNECT is judged by the limits after log-in."""
    async with serving(settings(limits={"login-frame": 2000})) as edge:
        peer = await edge.connect()
        await peer.write(CONNECT + "SEND⏎destination:/queue/a⏎receipt:r⏎⏎" + "z" * 9000 + "^@")
        await peer.expect("CONNECTED")
        await peer.expect("RECEIPT", receipt_id="r")


# -- The log-in time-out ---------------------------------------------------------------------------


@pytest.mark.clause("C-23")
@pytest.mark.parametrize("started", ["", "⏎⏎^@⏎", "CONNECT⏎accept-version:1.2⏎"])
async def test_who_does_not_log_in_in_time_is_told_so(started: str) -> None:
    """Neither silence nor line ends nor half a CONNECT keep a connection beyond the time-out."""
    async with serving(settings(timeouts={"login": "300ms"})) as edge:
        session = await edge.login()
        peer = await edge.connect()
        await peer.write(started)
        frame = await peer.fatal("login timeout")
        assert b"no CONNECT was completed within 0.3 s" in frame.body
        await session.sync()


async def test_each_connection_has_its_own_time_to_log_in() -> None:
    """Later ones are not ended with the first, and are ended when their own time has come."""
    async with serving(settings(timeouts={"login": "600ms"})) as edge:
        first = await edge.connect()
        await edge.until_open(1)
        await trio.sleep(0.3)
        began = trio.current_time()
        second = await edge.connect()
        await first.fatal("login timeout")
        await second.fatal("login timeout")
        assert trio.current_time() - began >= 0.6


async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    """No timer and no table remembers a connection that has gone."""
    async with serving() as edge:
        for _ in range(50):
            peer = await edge.login()
            await peer.write("DISCONNECT⏎receipt:r⏎⏎^@")
            await peer.expect("RECEIPT")
            await peer.close()
        await edge.until_open(0)
        service = edge.service
        assert not service._logins  # noqa: SLF001 - there must be nothing in it
        assert not service._per_address  # noqa: SLF001 - the same
        gc.collect()
        kinds = [type(thing).__name__ for thing in gc.get_objects()]
        assert kinds.count("Connection") < 5


# -- Clients in an error loop ----------------------------------------------------------------------


async def fail(peer: Peer) -> float:
    """Cause an ERROR and return how long after it the connection was closed."""
    await peer.write("BOGUS⏎⏎^@")
    await peer.expect("ERROR")
    began = trio.current_time()
    await peer.rest()
    await peer.close()
    return trio.current_time() - began


@pytest.mark.slow
async def test_an_address_that_gets_one_error_after_another_is_let_go_late() -> None:
    """A few mistakes cost nothing; then the close is delayed, and only that of faulty ones."""
    async with serving(settings(timeouts={"error-delay": "2s"})) as edge:
        for _ in range(5):
            assert await fail(await edge.login()) < 1.9
        assert await fail(await edge.login()) >= 1.9
        polite = await edge.login()
        began = trio.current_time()
        await polite.write("DISCONNECT⏎⏎^@")
        await polite.rest()
        assert trio.current_time() - began < 1.9


async def test_the_delay_can_be_switched_off() -> None:
    """With an error-delay of 0 every close comes at once, and without faults it does anyway."""
    for delay in (0.0, 7.0):
        async with serving(settings(timeouts={"error-delay": f"{delay:g}s"})) as edge:
            service = edge.service
            reasons = [CloseReason.PROTOCOL_ERROR] * 7 + [CloseReason.DISCONNECT]
            delays = [service.delay_of("address", reason) for reason in reasons]
            assert delays == [0.0] * 5 + [delay] * 2 + [0.0]


def test_offences_are_forgotten() -> None:
    """Ten quiet seconds make a new start; another address has a count of its own."""
    offenders = Offenders()
    assert [offenders.note("a", float(second)) for second in range(7)] == [False] * 5 + [True] * 2
    assert not offenders.note("b", 7.0)
    assert offenders.note("a", 15.0)
    assert not offenders.note("a", 26.0)


def test_offenders_are_remembered_within_bounds() -> None:
    """However many addresses err, the table keeps the latest only."""
    offenders = Offenders()
    for number in range(5000):
        offenders.note(f"address {number}", 0.0)
    assert len(offenders._offences) == 1000  # noqa: SLF001 - its size is the matter
    for _ in range(6):
        late = offenders.note("address 4999", 1.0)
    assert late
