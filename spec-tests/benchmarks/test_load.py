"""The load generator of the benchmarks: what it sends, how it counts, what a run gives."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import brokers, disk, floor, idle, machine, measure, plans, wire
from benchmarks.counters import Counters
from benchmarks.load import Load
from benchmarks.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


def message(number: int, frame: bytes, ack: bytes = b"") -> bytes:
    """What a broker makes of a prepared SEND frame."""
    body = frame[frame.index(b"\n\n") + 2 :]
    return b"MESSAGE\nmessage-id:%d\nsubscription:s0%b\n\n%b" % (number, ack, body)


@pytest.mark.parametrize("size", [100, 1024, 65536])
def test_counts_are_exact_however_the_octets_are_cut(size: int) -> None:
    """Every message is counted once, wherever one receive ends and the next begins."""
    frame = wire.batch("/queue/a", size=size, count=1)
    octets = b"".join(message(number, frame) for number in range(5))
    keep = wire.carried(size)
    for step in (1, 7, 16, 101, len(octets)) if size < 65536 else (4096, 65537):
        found, tail = 0, b""
        for at in range(0, len(octets), step):
            buffer = bytearray(tail + octets[at : at + step])
            found += wire.count_messages(buffer, len(buffer), size)
            tail = bytes(buffer[max(0, len(buffer) - keep) :])
        assert found == 5, step


def test_what_lies_behind_the_end_of_the_buffer_is_not_counted() -> None:
    """A buffer is used again; only what was received this time counts."""
    frame = message(1, wire.batch("/queue/a", size=100, count=1))
    buffer = bytearray(frame * 3)
    assert wire.count_messages(buffer, 2 * len(frame), 100) == 2


def test_prepared_frames_are_frames() -> None:
    """A batch is as many SEND frames as asked for, with bodies of the size that was asked for."""
    octets = wire.batch("/queue/a", size=100, count=3, persistent=True, receipt=True)
    frames = octets.split(b"\0")[:-1]
    assert len(frames) == 3
    for frame in frames:
        head, _, body = frame.partition(b"\n\n")
        assert head.startswith(b"SEND\ndestination:/queue/a\ncontent-length:100\npersistent:true")
        assert len(body) == 100
    assert [b"\nreceipt:" in frame for frame in frames] == [False, False, True]


def test_a_transaction_stands_between_begin_and_commit() -> None:
    """BEGIN, the messages and COMMIT name the same transaction; COMMIT asks for the receipt."""
    octets = wire.batch("/queue/a", size=100, count=2, transaction=True)
    frames = wire.with_serial(octets, 7).split(b"\0")[:-1]
    assert [frame.partition(b"\n")[0] for frame in frames] == [
        b"BEGIN",
        b"SEND",
        b"SEND",
        b"COMMIT",
    ]
    assert all(b"\ntransaction:t00000007\n" in frame for frame in frames)
    assert [b"\nreceipt:" in frame for frame in frames] == [False, False, False, True]


def test_a_receipt_may_be_asked_by_the_last_message_of_a_transaction() -> None:
    """For brokers whose receipt for COMMIT promises nothing: exactly one is asked for."""
    octets = wire.batch("/queue/a", size=100, count=2, transaction=True, on_send=True)
    frames = wire.with_serial(octets, 7).split(b"\0")[:-1]
    assert [b"\nreceipt:r00000007\n" in frame for frame in frames] == [False, False, True, False]
    assert frames[-1] == b"COMMIT\ntransaction:t00000007\n\n"


def test_varying_headers_never_come_again() -> None:
    """No two frames of any batches share the value of any of their further headers."""
    template = wire.batch("/queue/a", size=100, count=4, vary=6)
    octets = b"".join(wire.with_serial(template, serial) for serial in range(3))
    values = re.findall(rb"x-vary-\d:(.+)\n", octets)
    assert len(values) == len(set(values)) == 3 * 4 * 6


def test_a_body_too_small_for_its_marks_is_refused() -> None:
    """Without its marks a message would not be counted."""
    with pytest.raises(ValueError, match="34 octets"):
        wire.batch("/queue/a", size=33, count=1)


def test_latency_is_read_from_whole_stamps_only() -> None:
    """A stamp gives the time since it was written; one that is cut off gives nothing."""
    octets = bytearray(wire.batch("/queue/a", size=100, count=2))
    at = wire.stamp_offset(bytes(octets))
    octets[at : at + wire.STAMP_DIGITS] = b"%016x" % 1000
    assert wire.latencies(octets, len(octets), 1500) == [500]
    assert wire.latencies(octets, at + wire.STAMP_DIGITS - 1, 1500) == []
    plain = bytearray(wire.unstamped(bytes(octets)))
    assert wire.latencies(plain, len(plain), 1500) == []
    assert len(plain) == len(octets)


def test_acknowledgements_name_the_ids_that_came() -> None:
    """Ids are found in the heads of the messages, and each gets one ACK frame."""
    frame = wire.batch("/queue/a", size=100, count=1)
    octets = b"".join(message(number, frame, b"\nack:id-%d" % number) for number in (1, 2))
    ids = wire.ACK_ID.findall(octets)
    assert wire.acks(ids) == b"ACK\nid:id-1\n\n\0ACK\nid:id-2\n\n\0"


def test_quantiles() -> None:
    """The median and the 99th percentile, in any order of the samples."""
    assert measure.quantiles(list(range(100, -1, -1))) == (50.0, 99.0)
    assert measure.quantiles([]) == (0.0, 0.0)


def test_counters_know_what_arrived() -> None:
    """Of a queue all consumers count together, of a topic the slowest one."""
    spread = dataclasses.replace(Load(), consumers=4, destinations=2, producers=2)
    for kind, expected in (("queue", 7), ("topic", 3)):
        counters = Counters(dataclasses.replace(spread, kind=kind))
        for consumer, count in enumerate((1, 9, 3, 4)):
            counters.values[counters.consumer(consumer)] = count
        assert counters.arrived(1) == expected
        assert [counters.destination_of(number) for number in range(4)] == [0, 0, 1, 1]
        assert counters.total_received() == 17
        counters.close()


def test_every_destination_needs_as_many_consumers() -> None:
    """A load that would leave some destinations with fewer consumers is refused."""
    with pytest.raises(ValueError, match="same number of consumers"):
        Counters(Load(consumers=3, destinations=2))


def test_processor_time_is_counted() -> None:
    """Time that this process spends is counted for it and for the machine."""
    ours, all_before = machine.processor_seconds([os.getpid()]), machine.machine_seconds()
    while machine.processor_seconds([os.getpid()]) - ours < 0.05:
        sum(range(10_000))
    assert machine.machine_seconds() > all_before
    assert machine.resident_bytes([os.getpid()]) > 2**20
    assert machine.processor_seconds([]) == machine.resident_bytes([]) == 0


def test_scenarios_have_names_of_their_own() -> None:
    """Scenarios are asked for by name, so no name stands for two."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))


def test_durable_scenarios_send_persistent_messages_and_no_others_do() -> None:
    """What is kept on disk is asked for, of every broker; the rest asks for nothing of the kind."""
    for scenario in SCENARIOS:
        for name in plans.NAMES:
            assert scenario.load_for(name).persistent == scenario.durable, scenario.name


def test_a_broker_that_is_asked_in_another_way_does_the_same() -> None:
    """Other loads differ in who asks for the receipt only, and the report says so."""
    for scenario in SCENARIOS:
        for other in scenario.instead.values():
            assert dataclasses.replace(other, on_send=scenario.load.on_send) == scenario.load
            assert scenario.note


def test_a_broker_that_is_missing_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is not installed is no error of the others."""
    monkeypatch.setattr(plans, "RABBITMQ_SERVER", tmp_path / "nothing")
    reason = plans.missing("RabbitMQ")
    assert reason is not None
    assert "not installed" in reason
    with pytest.raises(plans.BrokerFailedError, match="not installed"), brokers.start("RabbitMQ"):
        pytest.fail("it cannot have been started")
    assert plans.missing("stompd") is None


def test_a_broker_is_started_and_stopped() -> None:
    """The broker answers while it runs, and leaves no process behind."""
    with brokers.start("stompd") as broker:
        assert broker.version
        assert broker.pids()[0] == broker.pid
        answer = brokers.hello(broker.host, broker.port, None, None)
        assert answer.startswith(b"CONNECTED\n")
    assert not Path(f"/proc/{broker.pid}").exists()


def test_a_guarded_broker_lets_in_its_user_alone_and_is_asked_for_metrics() -> None:
    """What is measured is a stompd that looks at passcodes and rules, and whose metrics are read.

    A wrong answer to the question for metrics, or none, is an error at the end.
    """
    with brokers.start("stompd", guarded=True) as broker:
        assert broker.login is not None
        answer = brokers.hello(broker.host, broker.port, broker.login, broker.passcode)
        assert answer.startswith(b"CONNECTED\n")
        for passcode in ("wrong", None):
            login = broker.login if passcode else None
            answer = brokers.hello(broker.host, broker.port, login, passcode)
            assert answer.startswith(b"ERROR\n")


@pytest.mark.slow
def test_a_broker_that_was_killed_finds_its_files_again(tmp_path: Path) -> None:
    """With a directory of ours the second start has the port and the data of the first."""
    with brokers.start("stompd", durable=True, directory=tmp_path) as first:
        brokers.kill(first)
        assert not any(Path(f"/proc/{pid}/exe").exists() for pid in [first.pid])
    assert first.data is not None
    assert list(first.data.iterdir())
    with brokers.start("stompd", durable=True, directory=tmp_path) as second:
        assert (second.port, second.data) == (first.port, first.data)
        assert second.pid != first.pid
        assert second.started > first.started


def test_idle_connections_beyond_the_limit_of_files_are_refused() -> None:
    """The limit is looked at before the broker is asked for thousands of connections."""
    broker = brokers.Broker("none", "0", "127.0.0.1", 1, None, None, "/", os.getpid(), Path())
    with pytest.raises(ValueError, match="open files"):
        idle.memory_per_connection(broker, 10**9)


@pytest.mark.slow
def test_a_whole_benchmark_of_stompd(tmp_path: Path) -> None:
    """Two short runs, come-and-go, idle connections and the decoder end in a report."""
    only = "q1x1-100B,q1x1-100B-ackind,t1x20-100B,q1x1-1K-tx10,connects,"
    only += "dur1x1-1K-b100,dur1x1-1K-tx10,backlog,idle,core,decoder"
    command = [sys.executable, "-m", "benchmarks", "--brokers", "stompd", "--only", only]
    command += ["--secs", "0.5", "--rounds", "2", "--warm", "0", "--idle", "50"]
    command += ["--backlog", "2000", "--directory", str(ROOT)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    (written,) = tmp_path.glob("*.md")
    text = written.read_text()
    for name in only.split(",")[:-4]:
        assert f"| {name} |" in text
    for name in ("idle-50", "core-ackind", "miss-6", "backlog-drain"):
        assert f"| {name} |" in text
    assert "failed" not in text, text
    assert "never came" not in text
    assert next(tmp_path.glob("*.svg")).read_text().startswith("<svg")


@pytest.mark.slow
def test_the_relay_passes_on_all_that_stompd_is_compared_with(tmp_path: Path) -> None:
    """Each message comes, and each receipt: else the floor would be that of doing less."""
    command = [sys.executable, "-m", "benchmarks.floor", "--secs", "0.3", "--rounds", "1"]
    directory = tmp_path if not disk.file_system(tmp_path).in_memory else ROOT
    done = subprocess.run(
        [*command, "--directory", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in floor.MEASURED:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert re.fullmatch(r"[\w-]+ +[\d,]+/s +[\d,]+/s +\d+\.\d\d", line)
    assert list(directory.glob("floor-*")) == []
