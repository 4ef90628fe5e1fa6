"""How much memory there is for this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# Where a control group's limit stands, of either version; as a process in a container sees it.
_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Return the octets of memory of the machine, or of the control group if that has less."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in limits:
        try:
            text = path.read_text()
        except OSError:
            continue
        if text.strip().isdecimal():
            found.append(int(text))
    return min(found)
