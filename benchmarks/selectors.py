"""Selectors alone: what it takes to ask one about a message, without broker or socket.

`compile` is what the first subscriber with a selector pays, once lark is loaded; `match` is what
each message pays.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from stompd.broker.selector import compile_selector

# As many headers as a message of a typical program has.
HEADERS = {
    "destination": "/queue/benchmark",
    "content-type": "application/json",
    "correlation-id": "7f3e9a2c-51",
    "colour": "red",
    "weight": "2600",
    "ratio": "2.5",
    "region": "eu-central",
    "customer": "c-48213",
    "urgent": "true",
}
# Each of them is true of these headers, so that all of it is evaluated.
SELECTORS = (
    "colour = 'red'",
    "weight > 2500",
    "ratio > 2.25",
    "colour = 'red' AND weight > 2500",
    "colour = 'blue' OR colour = 'green' OR colour = 'red'",
    "colour IN ('blue', 'green', 'red')",
    "NOT (colour = 'blue' OR weight < 100)",
    "weight BETWEEN 2000 AND 3000",
    "region LIKE 'eu-%'",
    "customer LIKE '%-48%3'",
    "customer LIKE 'c_4%_13'",
    "weight * ratio + 1 > 6500",
    "missing IS NULL",
    "JMSPriority = 4 AND JMSDeliveryMode = 'NON_PERSISTENT'",
    " OR ".join(f"customer = 'c-{number}'" for number in (*range(99), 48213)),
)
_CALLS = 20_000


@dataclass(frozen=True)
class Speed:
    """How quickly one selector was compiled and asked."""

    text: str
    compile_microseconds: float
    match_nanoseconds: float
    """For one message."""


def speeds(seconds: float) -> list[Speed]:
    """Ask each selector for about `seconds`. Raises ValueError if one is not true."""
    compile_selector("TRUE")
    return [_speed(text, seconds) for text in SELECTORS]


def _speed(text: str, seconds: float) -> Speed:
    start = time.perf_counter()
    matches = compile_selector(text).matches
    compiled = time.perf_counter() - start
    if not matches(HEADERS):
        raise ValueError(f"not true of the headers: {text}")
    best = float("inf")
    spent = 0.0
    while spent < seconds:
        start = time.perf_counter()
        for _ in range(_CALLS):
            matches(HEADERS)
        taken = time.perf_counter() - start
        best = min(best, taken)
        spent += taken
    return Speed(text, compiled * 1e6, best * 1e9 / _CALLS)


if __name__ == "__main__":
    print(f"{'match':>10}{'compile':>14}")
    for speed in speeds(0.2):
        text = speed.text if len(speed.text) <= 60 else f"{speed.text[:57]}..."  # noqa: PLR2004 - a line
        figures = f"{speed.match_nanoseconds:7.0f} ns{speed.compile_microseconds:11.0f} µs"
        print(f"{figures}  {text}")
