"""A disk that fails, is full, or is slow harms nothing that was confirmed."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.checker import violations
from crash.client import PATIENCE, Client, Gone
from crash.daemon import Daemon
from crash.history import Drained, History, Receipt
from crash.rounds import BAD_DISK
from crash.workload import Workload

A = "/queue/work.a"
TRANSIENT = "/queue/transient"


class Disk:
    """A stompd on a disk that does as it is told."""

    def __init__(self, directory: Path) -> None:
        self.history = History()
        self.workload = Workload(self.history, 1)
        self._control = directory / "disk"
        program = (sys.executable, str(BAD_DISK), str(self._control))
        self.daemon = Daemon(directory, self.history, "--set", "timeouts.drain=2s", program=program)
        self.daemon.start()

    def does(self, what: str | None) -> None:
        """Have it do something from now on; None: what a disk does."""
        if what is None:
            self._control.unlink()
            return
        fresh = self._control.with_suffix(".new")
        fresh.write_text(what)
        fresh.rename(self._control)

    def client(self, name: str) -> Client:
        """Connect."""
        return Client(self.history, self.daemon.life, self.daemon.port, name)

    def judge(self) -> None:
        """Drain the broker, stop it, and fail if a promise was broken."""
        self.workload.drain(self.daemon.life, self.daemon.port)
        self.history.note(Drained())
        self.daemon.stop()
        found = violations(self.history.events)
        assert not found, "\n".join(map(str, found))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Run stompd on such a disk."""
    running = Disk(tmp_path)
    try:
        yield running
    finally:
        running.daemon.abandon()


@pytest.mark.slow
def test_an_io_error_ends_stompd_before_it_promises_anything(disk: Disk) -> None:
    """It ends with 74 by itself; what had a receipt is there at the next start."""
    clients = disk.workload.run(disk.daemon.life, disk.daemon.port)
    assert disk.history.wait_until(500, 60.0)
    disk.does("eio")
    assert disk.daemon.ended() == 74
    disk.workload.stopping.set()
    for client in clients:
        client.join()
    disk.workload.raise_failures()
    disk.does(None)
    disk.daemon.start()
    disk.judge()


@pytest.mark.slow
def test_a_full_disk_refuses_persistent_messages_and_nothing_else(disk: Disk) -> None:
    """Consumers and transient messages go on, and all is well once there is room again."""
    consumer = disk.client("consumer")
    consumer.subscribe("a", A)
    consumer.subscribe("t", TRANSIENT)
    consumer.confirmed()
    producer = disk.client("producer")
    for number in range(20):
        producer.send(f"before-{number}", A)
    producer.confirmed()
    disk.does("full")
    producer.send("full", A)
    with pytest.raises(Gone, match="disk full"):
        producer.confirmed()
    producer.drop()
    transient = disk.client("transient")
    for number in range(20):
        transient.send(f"transient-{number}", TRANSIENT, persistent=False)
    transient.confirmed()
    taken: set[str] = set()
    while len(taken) < 40:
        got = consumer.next(PATIENCE)
        assert got is not None, f"only {taken} came"
        taken.add(got[1].uid)
        consumer.settle(got[1].delivery, receipt=False)
    disk.does(None)
    until = time.monotonic() + PATIENCE
    for attempt in range(10_000):
        again = disk.client("again")
        try:
            again.send(f"again-{attempt}", A)
            again.confirmed()
        except Gone:
            again.drop()
            assert time.monotonic() < until, "it does not notice that there is room again"
            continue
        again.disconnect()
        break
    consumer.ask("DISCONNECT")
    consumer.drop()
    transient.disconnect()
    disk.daemon.kill()
    disk.daemon.start()
    disk.judge()


@pytest.mark.slow
def test_a_slow_disk_delays_receipts_and_no_transient_message(disk: Disk) -> None:
    """While a sync takes for ever, transient messages come and go; receipts wait for it."""
    producer = disk.client("producer")
    other = disk.client("other")
    other.subscribe("t", TRANSIENT)
    other.confirmed()
    disk.does("hold")
    for number in range(50):
        producer.send(f"slow-{number}", A)
    for number in range(100):
        other.send(f"quick-{number}", TRANSIENT, persistent=False)
        other.confirmed()
        got = other.next(PATIENCE)
        assert got is not None
        assert got[1].uid == f"quick-{number}"
        other.settle(got[1].delivery, receipt=False)
    assert not producer.read(0)
    disk.does(None)
    producer.confirmed()
    receipts = [event for event in disk.history.events if isinstance(event, Receipt)]
    assert sum(receipt.session == producer.name for receipt in receipts) == 50
    producer.disconnect()
    other.disconnect()
    disk.daemon.kill()
    disk.daemon.start()
    disk.judge()


@pytest.mark.slow
def test_kills_on_a_slow_disk_lose_nothing(disk: Disk) -> None:
    """The time between writing and the end of a sync is long, so kills fall into it."""
    disk.does("slow 0.05")
    for _ in range(5):
        clients = disk.workload.run(disk.daemon.life, disk.daemon.port)
        disk.history.wait_until(disk.history.seen + 100, 30.0)
        disk.daemon.kill()
        disk.workload.stopping.set()
        for client in clients:
            client.join()
        disk.workload.raise_failures()
        disk.daemon.start()
    disk.does(None)
    disk.judge()
