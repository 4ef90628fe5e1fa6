"""What the kernel counted for processes, and for this machine as a whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from benchmarks.counters import PAGE

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pids: list[int]) -> float:
    """Processor time that these processes have used, in user and system mode, so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def machine_seconds() -> float:
    """Processor time that was used for anything so far, the host's share (steal) included."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _waiting, interrupt, soft, steal = map(int, fields)
    return (user + nice + system + interrupt + soft + steal) / TICKS


def resident_bytes(pids: list[int]) -> int:
    """Memory that these processes hold, added up."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE
