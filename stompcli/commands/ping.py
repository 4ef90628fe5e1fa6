"""ping."""

import math
from typing import Any

import trio

from stompcli.exitcodes import ExitCode
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session


async def ping(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Measure connecting and some receipts."""
    client = await session.link()
    total = client.dial_seconds + client.login_seconds
    if not session.in_shell and not out.settings.json:
        await out.line(
            f"connected to {visible_line(client.server or 'a broker')} at {client.address}, "
            f"STOMP {client.version}, in {_ms(total, 1)} ms "
            f"(tcp {_ms(client.dial_seconds, 1)}, login {_ms(client.login_seconds, 1)})"
        )
    took: list[float] = []
    due = trio.current_time()
    for number in range(1, params["count"] + 1):
        await trio.sleep_until(due)
        took.append(await client.ping())
        due = max(due + params["interval"], trio.current_time())
        if not out.settings.json:
            await out.line(f"receipt {number}: {_ms(took[-1])} ms")
    ordered = sorted(took)
    p99 = ordered[math.ceil(len(ordered) * 0.99) - 1]
    mean = sum(took) / len(took)
    if out.settings.json:
        await out.json(
            {
                "server": client.server,
                "address": client.address,
                "version": client.version,
                "tcp": round(client.dial_seconds, 6),
                "login": round(client.login_seconds, 6),
                "rtt": [round(one, 6) for one in took],
                "min": round(ordered[0], 6),
                "avg": round(mean, 6),
                "p99": round(p99, 6),
                "max": round(ordered[-1], 6),
            }
        )
    else:
        numbers = "/".join(_ms(one) for one in (ordered[0], mean, p99, ordered[-1]))
        await out.line(f"rtt min/avg/p99/max {numbers} ms")
    return None


def _ms(seconds: float, digits: int = 2) -> str:
    return f"{seconds * 1000:.{digits}f}"
