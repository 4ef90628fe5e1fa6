"""Signals: stopping in two steps, reading the settings again, telling the state."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1

import pytest
import trio
from server.edge import Peer, serving, settings
from server.process import PATIENCE, daemon

from stompd.broker import admin
from stompd.server import shutdown
from stompd.server.exitcodes import Exit


async def deliver(peer: Peer) -> str:
    """SEND a message to the peer's own subscription; return what acknowledges it."""
    await peer.write("SEND⏎destination:/queue/a⏎⏎x^@")
    return (await peer.expect("MESSAGE")).text("ack")


# -- Draining, inside the test ---------------------------------------------------------------------


async def test_who_holds_nothing_is_sent_away_at_once() -> None:
    """Sessions without anything open, and connections without a session, get ERROR and close."""
    async with serving(settings(timeouts={"drain": "60s"})) as edge:
        session = await edge.login()
        await session.subscribe("/queue/a")
        silent = await edge.connect()
        await edge.until_open(2)
        edge.started.stop()
        for peer in (session, silent):
            await peer.fatal("the server is stopping")
            await peer.close()
        await edge.log.first("stopped")


async def test_no_new_connection_is_taken_while_draining() -> None:
    """The listening sockets are closed first."""
    async with serving(settings(timeouts={"drain": "60s"})) as edge:
        holder = await edge.login()
        await holder.subscribe("/queue/a", "ack:client")
        await deliver(holder)
        edge.started.stop()
        await edge.log.first("draining")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ConnectionRefusedError):
            await edge.connect()


@pytest.mark.clause("R-04")
async def test_unsettled_messages_may_be_acknowledged_while_draining() -> None:
    """ACK and COMMIT still work and are confirmed; with the last of them the session ends."""
    async with serving(settings(timeouts={"drain": "60s"})) as edge:
        peer = await edge.login()
        await peer.subscribe("/queue/a", "ack:client-individual")
        first = await deliver(peer)
        second = await deliver(peer)
        await peer.write("BEGIN⏎transaction:t⏎⏎^@")
        await peer.sync()
        edge.started.stop()
        await edge.log.first("draining")
        await peer.write(f"ACK⏎id:{first}⏎receipt:a⏎⏎^@")
        await peer.expect("RECEIPT", receipt_id="a")
        await peer.write(f"ACK⏎id:{second}⏎transaction:t⏎⏎^@")
        await peer.write("SEND⏎destination:/queue/b⏎transaction:t⏎⏎x^@")
        await peer.write("COMMIT⏎transaction:t⏎receipt:c⏎⏎^@")
        await peer.expect("RECEIPT", receipt_id="c")
        await peer.fatal("the server is stopping")
        await peer.close()
        await edge.log.first("stopped")
        assert (edge.depth("/queue/a"), edge.depth("/queue/b")) == (0, 1)


async def test_nothing_new_is_delivered_while_draining() -> None:
    """A consumer that may still settle what it has gets nothing more."""
    async with serving(settings(timeouts={"drain": "60s"})) as edge:
        peer = await edge.login()
        await peer.subscribe("/queue/a", "ack:client-individual", "prefetch-count:1")
        for body in (b"1", b"2"):
            await peer.write(b"SEND\ndestination:/queue/a\n\n" + body + b"\0")
        message = await peer.expect("MESSAGE")
        edge.started.stop()
        await edge.log.first("draining")
        await peer.write(f"ACK⏎id:{message.text('ack')}⏎receipt:r⏎⏎^@")
        await peer.expect("RECEIPT", receipt_id="r")
        await peer.fatal("the server is stopping")
        assert edge.depth("/queue/a") == 1


async def test_the_time_for_draining_is_bounded() -> None:
    """Who does not settle what it holds is sent away when the time is over."""
    async with serving(settings(timeouts={"drain": "300ms", "linger": "200ms"})) as edge:
        peer = await edge.login()
        await peer.subscribe("/queue/a", "ack:client")
        await deliver(peer)
        edge.started.stop()
        await peer.fatal("the server is stopping")
        await edge.log.first("stopped")
        assert edge.depth("/queue/a") == 1, "what was not settled is kept"


async def test_who_reads_nothing_does_not_hold_up_the_stop() -> None:
    """The last frames are written for the linger time; then the broker ends without that peer."""
    async with serving(settings(timeouts={"drain": "60s", "linger": "200ms"})) as edge:
        peer = await edge.connect(buffer=4096)
        await peer.login()
        await peer.subscribe("/queue/a")
        await (await edge.login()).put("/queue/a", b"x" * 8_000_000)
        edge.started.stop()
        await edge.log.first("stopped")


async def test_a_paused_producer_does_not_hold_up_the_stop() -> None:
    """It is sent away like everybody who holds nothing."""
    policy = [{"match": "/queue/full", "max-messages": 2, "overflow": "block"}]
    async with serving(settings(policy=policy, timeouts={"drain": "60s"})) as edge:
        peer = await edge.login()
        await peer.write("SEND⏎destination:/queue/full⏎⏎x^@" * 10)
        await edge.until(lambda: any(s.paused for s in edge.service.connections))
        edge.started.stop()
        await peer.fatal("the server is stopping")
        await peer.close()
        await edge.log.first("stopped")


async def test_a_paused_session_may_acknowledge_while_draining() -> None:
    """Nobody is paced any more, so the ACK behind the SENDs is read and the stop is no later."""
    policy = [{"match": "/queue/a", "max-messages": 2, "overflow": "block"}]
    async with serving(settings(policy=policy, timeouts={"drain": "60s"})) as edge:
        peer = await edge.login()
        await peer.subscribe("/queue/a", "ack:client-individual", "prefetch-count:1")
        ack = await deliver(peer)
        await peer.write("SEND⏎destination:/queue/a⏎⏎x^@" * 10)
        await edge.until(lambda: any(s.paused for s in edge.service.connections))
        await peer.write(f"ACK⏎id:{ack}⏎receipt:r⏎⏎^@")
        edge.started.stop()
        await peer.expect("RECEIPT", receipt_id="r")
        await peer.fatal("the server is stopping")
        assert edge.depth("/queue/a") == 10


async def test_the_state_is_told_row_by_row() -> None:
    """A dump names the broker, each connection, subscription, queue, topic and transaction."""
    async with serving() as edge:
        peer = await edge.login("login:ann", "passcode:secret")
        await peer.subscribe("/queue/a")
        await peer.write("BEGIN⏎transaction:t⏎⏎^@")
        await peer.sync()
        await trio.sleep(0.2)
        shutdown.dump(edge.service)
        (state,) = edge.log.of("state")
        assert (state["connections"], state["queues"]) == (1, 1)
        (row,) = edge.log.of("state of a connection")
        assert (row["user"], row["version"]) == ("ann", "1.2")
        assert row["silent"] >= 0.15, "as of now"
        assert edge.log.of("state of a subscription")[0]["destination"] == "/queue/a"
        assert edge.log.of("state of a queue")[0]["name"] == "/queue/a"
        assert edge.log.of("state of a transaction")[0]["id"] == "t"
        assert "secret" not in str(edge.log)


# -- Signals to a process --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_drains_and_stops(number: int) -> None:
    """Sessions that hold something may finish, the others are told, and the status is 0."""
    with daemon() as stompd:
        idle = stompd.connect()
        consumer = stompd.connect()
        consumer.subscribe("s", "/queue/a", "ack:client")
        consumer.put("/queue/a", b"x")
        message = consumer.expect("MESSAGE")
        stompd.process.send_signal(number)
        idle.fatal("message:the server is stopping")
        idle.close()
        consumer.frame_out("ACK", f"id:{message.text('ack')}", "receipt:r")
        consumer.expect("RECEIPT", "receipt-id:r")
        consumer.fatal("message:the server is stopping")
        consumer.close()
        assert stompd.ended() == Exit.OK
        assert stompd.logged("stopping")["signal"] == ("SIGTERM" if number == SIGTERM else "SIGINT")
        stompd.logged("stopped")


def test_a_second_signal_stops_at_once() -> None:
    """Who still holds something is not waited for; the status is 0 all the same."""
    with daemon("--set", "timeouts.drain=10m") as stompd:
        consumer = stompd.connect()
        consumer.subscribe("s", "/queue/a", "ack:client")
        consumer.put("/queue/a", b"x")
        consumer.expect("MESSAGE")
        stompd.signal(SIGTERM)
        stompd.logged("draining")
        stompd.signal(SIGTERM)
        stompd.logged("stopping at once")
        assert stompd.ended() == Exit.OK
        consumer.eos(reset_allowed=True)


def test_a_signal_at_the_start_is_obeyed() -> None:
    """Once a supervisor was told that stompd is ready, SIGTERM stops it in good order."""
    with daemon() as stompd:
        stompd.signal(SIGTERM)
        assert stompd.ended() == Exit.OK
        stompd.logged("stopped")


def test_the_state_is_logged_on_demand() -> None:
    """SIGUSR1 writes the state, and serving goes on."""
    with daemon() as stompd:
        peer = stompd.connect("1.1", "login:ann")
        peer.subscribe("s", "/queue/a")
        stompd.signal(SIGUSR1)
        assert stompd.logged("state")["connections"] == 1
        assert stompd.logged("state of a connection")["user"] == "ann"
        assert stompd.logged("state of a queue")["name"] == "/queue/a"
        peer.alive()


async def test_a_fault_in_the_dump_does_not_stop_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who only wanted to look at the state must not be the end of it."""

    def fault(*_: object) -> None:
        raise RuntimeError("failed for a test")

    async with serving() as edge:
        monkeypatch.setattr(admin, "status", fault)
        os.kill(os.getpid(), SIGUSR1)
        await edge.log.first("the state could not be told by a fault of stompd")
        await (await edge.login()).sync()


# -- Reading the settings again --------------------------------------------------------------------


def test_a_reload_puts_new_settings_in_force(tmp_path: Path) -> None:
    """SIGHUP changes log level, limits, policies and routes; open sessions stay."""
    file = tmp_path / "stompd.toml"
    file.write_text('[log]\nlevel = "info"\n')
    with daemon("-c", str(file)) as stompd:
        before = stompd.connect()
        file.write_text(
            '[log]\nlevel = "debug"\n[limits]\nbody = "1KiB"\n'
            '[[policy]]\nmatch = "/queue/small"\nmax-messages = 1\noverflow = "reject"\n'
            '[[route]]\nname = "r"\nmatch = "/queue/a"\nto = "/queue/copies"\n'
        )
        stompd.signal(SIGHUP)
        stompd.logged("settings reloaded")
        after = stompd.connect()
        stompd.logged("connection opened")
        after.frame_out("SEND", "destination:/queue/a", body=b"x" * 1025)
        assert b"1024 octets" in after.fatal("message:body over the limit").body
        before.put("/queue/a", b"x" * 1025)
        before.subscribe("1", "/queue/copies")
        before.expect("MESSAGE", "destination:/queue/a")
        before.put("/queue/small", b"1")
        before.frame_out("SEND", "destination:/queue/small", body=b"2")
        before.fatal("message:queue is full")


def test_a_broken_file_keeps_the_old_settings(tmp_path: Path) -> None:
    """The log says what is wrong with it, and everything goes on as before."""
    file = tmp_path / "stompd.toml"
    file.write_text('[limits]\nbody = "1KiB"\n')
    with daemon("-c", str(file)) as stompd:
        session = stompd.connect()
        for broken, reason in (
            ('[limits]\nbody = "many"\nbdoy = 3\n', "bdoy"),
            ("[limits\n", "not TOML"),
        ):
            file.write_text(broken)
            stompd.signal(SIGHUP)
            entry = stompd.logged("settings not reloaded")
            assert entry["level"] == "error"
            assert reason in entry["reason"]
        file.unlink()
        stompd.signal(SIGHUP)
        assert "cannot be read" in stompd.logged("settings not reloaded")["reason"]
        session.alive()
        after = stompd.connect()
        after.frame_out("SEND", "destination:/queue/a", body=b"x" * 1025)
        after.fatal("message:body over the limit")


def test_addresses_do_not_change_by_a_reload(tmp_path: Path) -> None:
    """The log says that this takes a restart."""
    file = tmp_path / "stompd.toml"
    file.write_text('listen = ["127.0.0.1:0"]\n')
    with daemon("-c", str(file), port=False) as stompd:
        file.write_text('listen = ["127.0.0.1:0", "[::1]:0"]\n')
        stompd.signal(SIGHUP)
        stompd.logged("addresses change at a restart only")
        stompd.logged("settings reloaded")
        stompd.connect().alive()


# -- Start and end of the process ------------------------------------------------------------------


def test_the_process_id_is_kept_in_a_file(tmp_path: Path) -> None:
    """The file is there while connections are accepted, and gone after the stop."""
    file = tmp_path / "pid"
    with daemon("--pid-file", str(file)) as stompd:
        assert int(file.read_text()) == stompd.process.pid
        stompd.signal(SIGTERM)
        assert stompd.ended() == Exit.OK
        assert not file.exists()


def test_ready_means_that_connections_are_accepted(tmp_path: Path) -> None:
    """Once the line was written, every address takes a session at once."""
    path = tmp_path / "s"
    with daemon("--unix", str(path)) as stompd:
        stompd.connect().alive()
        with socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(PATIENCE)
            unix.connect(str(path))
            unix.sendall(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
            assert unix.recv(100).startswith(b"CONNECTED\n")


def test_a_port_in_use_ends_with_69() -> None:
    """The second stompd says whose fault it is and what can be done, and the first goes on."""
    with daemon() as stompd:
        done = subprocess.run(
            [sys.executable, "-m", "stompd", "--memory", "--listen", f"127.0.0.1:{stompd.port}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == Exit.UNAVAILABLE
        assert "the port is in use" in done.stderr
        assert "Traceback" not in done.stderr
        stompd.connect().alive()


def test_a_live_unix_socket_ends_with_69_and_is_left_alone(tmp_path: Path) -> None:
    """The second stompd on a Unix socket does not take it away from the first."""
    path = tmp_path / "s"
    with daemon("--unix", str(path)):
        done = subprocess.run(
            [sys.executable, "-m", "stompd", "--listen", "127.0.0.1:0", "--unix", str(path)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == Exit.UNAVAILABLE
        assert "another program listens there" in done.stderr
        with socket.socket(socket.AF_UNIX) as unix:
            unix.connect(str(path))


def test_a_killed_stompd_leaves_no_obstacle(tmp_path: Path) -> None:
    """After SIGKILL the same Unix socket can be served again."""
    path = tmp_path / "s"
    with daemon("--unix", str(path)) as stompd:
        stompd.process.kill()
        stompd.ended()
    assert path.exists()
    with daemon("--unix", str(path)) as stompd:
        stompd.connect().alive()
