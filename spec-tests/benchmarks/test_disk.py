"""What the benchmarks say about the disk: which one it is, what it costs, who waits for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import disk, report
from benchmarks.disk import FileSystem, Syncs

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw,nosuid 0 0
/dev/vdb /tmp/a\\040disk xfs rw 0 0
overlay /var overlay rw 0 0
/dev/vdc /var ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/home/me", FileSystem("ext4", "/dev/vda")),
        ("/tmp/x", FileSystem("tmpfs", "tmpfs")),  # noqa: S108 - nothing is written there
        ("/tmpfile", FileSystem("ext4", "/dev/vda")),  # noqa: S108 - nor there
        ("/tmp/a disk/x", FileSystem("xfs", "/dev/vdb")),  # noqa: S108 - nor there
        ("/var/lib", FileSystem("ext4", "/dev/vdc")),
    ],
)
def test_the_innermost_mount_counts(place: str, expected: FileSystem) -> None:
    """A place lies on what is mounted deepest above it, and last; names may have blanks."""
    assert disk.mounted(MOUNTS, Path(place)) == expected


def test_what_is_in_memory_is_known() -> None:
    """Nothing durable can be measured on tmpfs; a disk says what it is."""
    assert FileSystem("tmpfs", "tmpfs").in_memory
    assert not FileSystem("ext4", "/dev/vda").in_memory
    assert str(FileSystem("ext4", "/dev/vda")) == "ext4 on /dev/vda"
    assert str(FileSystem("", "")) == "a file system of unknown kind"


def test_a_directory_that_is_not_there_yet_lies_where_its_parent_does(tmp_path: Path) -> None:
    """The question can be asked before the directory is made."""
    assert disk.file_system(tmp_path / "a" / "b") == disk.file_system(tmp_path)
    assert disk.file_system(tmp_path).kind


def test_the_cost_of_a_sync_is_measured(tmp_path: Path) -> None:
    """So many appends were timed, half of them took no longer than the median, no file is left."""
    cost = disk.sync_cost(tmp_path, 20)
    assert cost.count == 20
    assert 0 < cost.median <= cost.p99
    assert list(tmp_path.iterdir()) == []


def test_the_disk_has_a_line_in_the_report(tmp_path: Path) -> None:
    """File system, place and the cost of a sync stand in it."""
    line = report.disk_line(tmp_path)
    assert str(disk.file_system(tmp_path)) in line
    assert str(tmp_path) in line
    assert "an append of 4 KiB and its fdatasync took" in line


def test_octets_of_a_directory_are_those_of_all_its_files(tmp_path: Path) -> None:
    """Files in folders count, folders do not."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 1000)
    (tmp_path / "two").write_bytes(b"x" * 24)
    assert disk.octets_of(tmp_path) == 1024


def test_processes_that_are_gone_have_written_nothing() -> None:
    """A process may end between two looks; that is no error."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert disk.octets_written([process.pid]) == 0
    assert disk.octets_written([os.getpid()]) >= 0


def test_calls_are_read_from_the_lines_of_strace() -> None:
    """Each call counts once, though it may have two lines; a write counts if its file is synced."""
    lines = """\
12 fsync(5</data/stompd.db>) = 0
1234 fdatasync(6</data/stompd.db-wal> <unfinished ...>
12 pwrite64(7</data/stompd.journal>, ""..., 1400, 0) = 1400
1234 <... fdatasync resumed>) = 0
12 pwrite64(6</data/stompd.db-wal>, ""..., 4096, 32) = 4096
12 sync() = 0
1234 +++ exited with 0 +++
"""
    found = {"fsync": 1, "fdatasync": 1, "sync": 1}
    assert disk.counts(lines, []) == found
    assert disk.counts(lines, ["/data/stompd.journal"]) == {**found, "synced write": 1}
    assert disk.counts("", []) == {}


def test_files_that_sync_each_write_are_known(tmp_path: Path) -> None:
    """They are told by how they were opened."""
    with (tmp_path / "other").open("wb"):
        descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o600)
        try:
            assert disk.synced_files(os.getpid()) == {str(tmp_path / "file")}
        finally:
            os.close(descriptor)


def test_syncs_are_told_with_the_messages_for_each() -> None:
    """Each kind of call is named, those that never came are not, and none is said to be none."""
    syncs = Syncs({"fsync": 1938, "fdatasync": 62, "msync": 0})
    assert (
        report.syncs_text(syncs, 20000)
        == "62 fdatasync, 1 938 fsync for 20 000 messages: one for 10.0"
    )
    assert report.syncs_text(Syncs(), 1002) == "none for 1 002 messages"


@pytest.mark.slow
@pytest.mark.needs_tool("strace")
def test_syncs_of_every_thread_are_counted(tmp_path: Path) -> None:
    """A program with a second thread that syncs three times is found to have done so."""
    program = f"""
import os, sys, threading
def sync():
    with open({str(tmp_path / "file")!r}, "wb") as file:
        for _ in range(3):
            os.fdatasync(file.fileno())
synced = os.open({str(tmp_path / "synced")!r}, os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
print("ready", flush=True)
sys.stdin.read(1)
thread = threading.Thread(target=sync)
thread.start()
thread.join()
os.pwrite(synced, b"x", 0)
print("done", flush=True)
sys.stdin.read(1)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            with disk.counted([process.pid]) as syncs:
                process.stdin.write(b"x")
                process.stdin.flush()
                assert process.stdout.readline() == b"done\n"
        except OSError as error:
            process.kill()
            if "not permitted" not in str(error):
                raise
            pytest.skip(f"this machine lets nobody trace: {error}")
    assert syncs.calls == {"fdatasync": 3, "synced write": 1}
    assert syncs.total == 4


@pytest.mark.needs_tool("strace")
def test_what_strace_may_not_watch_is_an_error_with_its_words() -> None:
    """A process that is gone cannot be watched, and the error says so."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError, match="strace cannot watch"), disk.counted([process.pid]):
        pytest.fail("it cannot have been watched")
