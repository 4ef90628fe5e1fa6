"""Work that is counted, where time would depend on the machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """Do ``work`` and return how many lines of Python that took, those of libraries included."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function
        nonlocal count
        if event == "line":
            count += 1
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
