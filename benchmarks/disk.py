"""The disk below a durable broker: which one it is, what a sync costs, what a broker writes to it.

A broker that promises to keep a message has to tell the disk to and to wait for the answer: by a
call (fsync, fdatasync, msync), or by a write to a file that it opened so that each one is synced.
So what that costs here, and how often each broker does it, belong beside its figures. `strace`
counts the calls: it slows a broker down, so no rate is taken meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

APPEND_OCTETS = 4096
APPENDS = 300
IN_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs", "hugetlbfs", "zram"))
CALLS = ("fsync", "fdatasync", "msync", "sync_file_range", "sync", "syncfs")
WRITES = ("pwrite64", "pwritev")
SYNCED_WRITE = "synced write"
ATTACH_SECONDS = 20.0
_ESCAPE = re.compile(r"\\([0-7]{3})")
# Of a call that begins: its name, and the file if the first argument is one.
_CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<(.*?)>)?", re.MULTILINE)
_ATTACHED = re.compile(r"Process (\d+) attached(?: with (\d+) threads)?")


@dataclass(frozen=True)
class FileSystem:
    """What a directory lies on."""

    kind: str
    """ext4, xfs, tmpfs …; empty if it could not be found out."""
    source: str
    """The device."""

    @property
    def in_memory(self) -> bool:
        """True if nothing of it survives a power cut."""
        return self.kind in IN_MEMORY

    def __str__(self) -> str:
        """As it stands in a report."""
        return f"{self.kind} on {self.source}" if self.kind else "a file system of unknown kind"


@dataclass(frozen=True)
class SyncCost:
    """Milliseconds for an append of APPEND_OCTETS and its fdatasync."""

    median: float
    p99: float
    count: int


@dataclass
class Syncs:
    """What a program told the disk to keep, call by call; filled when the counting has ended."""

    calls: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Calls of any kind."""
        return sum(self.calls.values())


def file_system(path: Path) -> FileSystem:
    """What `path`, or the nearest directory above it that exists, lies on."""
    place = path.resolve()
    while not place.exists():
        place = place.parent
    try:
        mounts = Path("/proc/self/mounts").read_text()
    except OSError:
        return FileSystem("", "")
    return mounted(mounts, place)


def mounted(mounts: str, place: Path) -> FileSystem:
    """The file system of `place` by the lines of /proc/self/mounts: the innermost, the last one."""
    found, depth = FileSystem("", ""), -1
    for line in mounts.splitlines():
        source, point, kind = line.split(" ")[:3]
        where = Path(_ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), point))
        if place.is_relative_to(where) and len(where.parts) >= depth:
            found, depth = FileSystem(kind, source), len(where.parts)
    return found


def sync_cost(directory: Path, count: int = APPENDS) -> SyncCost:
    """Append to a file in `directory` and fdatasync it so many times; the file is removed."""
    block = os.urandom(APPEND_OCTETS)
    spent = []
    with tempfile.TemporaryFile(dir=directory) as file:
        number = file.fileno()
        for _ in range(count):
            began = time.perf_counter()
            os.write(number, block)
            os.fdatasync(number)
            spent.append((time.perf_counter() - began) * 1e3)
    spent.sort()
    last = count - 1
    return SyncCost(spent[round(last * 0.5)], spent[round(last * 0.99)], count)


def octets_of(directory: Path) -> int:
    """Octets of all files below `directory`; those that vanish meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - as walked
    return total


def octets_written(pids: Sequence[int]) -> int:
    """Octets that these processes have caused to be written to a disk so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith("write_bytes:"):
                    total += int(line.partition(":")[2])
    return total


# --- counting the calls --------------------------------------------------------------------


def cannot_count() -> str | None:
    """Why calls cannot be counted here, or None if they can."""
    return None if shutil.which("strace") else "strace is not installed"


@contextlib.contextmanager
def counted(pids: Sequence[int]) -> Iterator[Syncs]:
    """Count the calls that the processes make meanwhile, all of their threads included.

    Yields once strace watches them. The counts are in what was yielded when the block has ended.
    Raises OSError if strace does not run, or may not watch them.
    """
    syncs = Syncs()
    with tempfile.TemporaryDirectory(prefix="strace-") as temporary:
        calls, said = Path(temporary, "calls"), Path(temporary, "said")
        # Paths beside descriptors, and nothing of what is written.
        command = ["strace", "-f", "-y", "-s", "0", "-o", str(calls)]
        command += ["-e", f"trace={','.join((*CALLS, *WRITES))}"]
        command += [f"--attach={pid}" for pid in pids]
        with said.open("wb") as output:
            tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=output)
        try:
            _wait_until_attached(tracer, said, len(pids))
            yield syncs
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(ATTACH_SECONDS)
        synced = {path for pid in pids for path in synced_files(pid)}
        syncs.calls.update(counts(calls.read_text(errors="replace"), synced))


def _wait_until_attached(tracer: subprocess.Popen[bytes], said: Path, processes: int) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while True:
        text = said.read_text(errors="replace")
        if len(_ATTACHED.findall(text)) >= processes:
            return
        if tracer.poll() is not None or time.monotonic() > deadline:
            last = text.strip().splitlines()[-1:] or ["it said nothing"]
            raise OSError(f"strace cannot watch the broker: {last[0]}")
        time.sleep(0.01)


def synced_files(pid: int) -> set[str]:
    """The files that a process has open so that each write to them is synced."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError, PermissionError):
            told = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
            flags = int(told.partition("flags:")[2].split()[0], 8)
            if flags & os.O_DSYNC:
                found.add(str(link.readlink()))
    return found


def counts(calls: str, synced: Collection[str]) -> dict[str, int]:
    """The calls of lines of `strace -f -y` that sync, by name; of writes those to ``synced``."""
    found: dict[str, int] = {}
    for name, path in _CALL.findall(calls):
        kind = name
        if name in WRITES:
            if path not in synced:
                continue
            kind = SYNCED_WRITE
        found[kind] = found.get(kind, 0) + 1
    return found
