"""What a client was promised holds after SIGKILL at any moment, and on a bad network."""

import random
from collections import Counter
from pathlib import Path

import pytest
from crash.checker import violations
from crash.daemon import Daemon
from crash.history import Drained, History
from crash.proxy import Fault, Proxy
from crash.rounds import run
from crash.workload import Workload

KILLS = 8
FAULTS: tuple[Fault, ...] = ("none", "cut", "cut", "reset", "stall", "deaf")


@pytest.mark.slow
@pytest.mark.clause("R-02")
@pytest.mark.parametrize("small", [False, True], ids=["in memory too", "in the file only"])
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_nothing_confirmed_is_lost(tmp_path: Path, small: bool, power: bool) -> None:  # noqa: FBT001
    """Queues, transactions, durable subscriptions and retained messages survive many crashes.

    The file is sound after each of them, and empty in the end. The seed differs from run to run;
    it is in the text of a failure.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    report = run(tmp_path, KILLS, seed, most=600, small=small, power=power)
    assert report.kills == KILLS
    assert not report.bad, str(report)


@pytest.mark.slow
def test_a_broker_that_forgets_is_found_out(tmp_path: Path) -> None:
    """The same clients, and a broker that keeps nothing: the checker sees that."""
    report = run(tmp_path, 2, 7, most=300, memory=True)
    assert "lost" in {violation.kind for violation in report.violations}, str(report)


def on_a_bad_network(daemon: Daemon, history: History, seed: int) -> Counter[Fault]:
    """Let clients work through a network that fails; return how often it did what."""
    workload = Workload(history, seed, bad_network=True)
    daemon.start()
    with Proxy(daemon.port, seed, FAULTS) as proxy:
        clients = workload.run(daemon.life, proxy.port)
        enough = history.wait_until(2500, 60.0)
        workload.stopping.set()
        for client in clients:
            client.join()
    workload.raise_failures()
    assert enough, f"only {history.seen} receipts and messages with seed {seed}"
    workload.drain(daemon.life, daemon.port)
    return Counter(proxy.faults_done)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [False, True], ids=["sqlite", "memory"])
def test_a_bad_network_harms_no_message(tmp_path: Path, memory: bool) -> None:  # noqa: FBT001
    """Connections cut and reset in the middle of frames, stalled, half open; then a restart."""
    seed = random.SystemRandom().randrange(1 << 32)
    history = History()
    daemon = Daemon(tmp_path, history, memory=memory)
    try:
        faults = on_a_bad_network(daemon, history, seed)
        if not memory:
            daemon.kill()
            daemon.start()
            Workload(history, seed).drain(daemon.life, daemon.port)
        history.note(Drained())
        daemon.stop()
    finally:
        daemon.abandon()
    assert faults["cut"] + faults["reset"], f"nothing happened with seed {seed}"
    assert not violations(history.events), f"seed {seed}: " + "\n".join(
        map(str, violations(history.events))
    )
