"""Messages of a queue of stompd sent on at a rate, a few at a time."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import trio

from stompcli.admin import Admin, Outcome
from stompcli.output import Out

# Messages that are looked at at once, portions in a second, and parts of the bar.
_PAGE: Final = 500
_PORTIONS: Final = 5
_BAR: Final = 30


async def requeue(
    broker: Admin,
    fields: Mapping[str, Any],
    rate: float,
    out: Out,
    *,
    total: int | None,
) -> Outcome:
    """Requeue what the fields of the verb mean, no faster than so many a second.

    ``total`` is how many are expected, None if nobody knows. What fails stays, and is not tried
    again. Raises `Failure` for a refusal.
    """
    ids: Sequence[str] | None = fields.get("ids")
    most: int | None = fields.get("count")
    size = max(int(rate / _PORTIONS), 1)
    done = failed = 0
    reasons: dict[str, None] = {}
    due = trio.current_time()
    async for portion in _portions(broker, fields, ids, size):
        left = size if most is None else most - done - failed
        chosen = portion[:left]
        if not chosen:
            break
        await trio.sleep_until(due)
        due = max(due, trio.current_time()) + len(chosen) / rate
        outcome = await broker.act(
            "requeue", destination=fields["destination"], ids=chosen, to=fields.get("to")
        )
        done += outcome.done
        failed += outcome.failed
        reasons.update(dict.fromkeys(outcome.reasons))
        out.passing(_progress(done + failed, total, rate))
    return Outcome(done, failed, tuple(reasons))


def _progress(so_far: int, total: int | None, rate: float) -> str:
    if not total:
        return f"Requeuing  {so_far:,}  {rate:g} msg/s"
    part = min(so_far / total, 1.0)
    bar = f"{'#' * int(part * _BAR):-<{_BAR}}"
    return f"Requeuing  [{bar}]  {int(part * 100)}%  {so_far:,}/{total:,}  {rate:g} msg/s"


async def _portions(
    broker: Admin, fields: Mapping[str, Any], ids: Sequence[str] | None, size: int
) -> AsyncIterator[list[str]]:
    """Yield the ids of messages, so many at a time."""
    if ids is not None:
        for at in range(0, len(ids), size):
            yield list(ids[at : at + size])
        return
    oldest: float = fields.get("older_than") or 0.0
    rest: list[str] = []
    after: str | None = None
    while True:
        answer = await broker.record(
            "browse",
            destination=fields["destination"],
            count=_PAGE,
            after=after,
            selector=fields.get("selector"),
            headers_only=True,
        )
        rows = [row for row in answer.get("messages") or [] if isinstance(row, dict)]
        rest += [
            str(row.get("id"))
            for row in rows
            if row.get("state") != "inflight" and (row.get("age") or 0.0) >= oldest
        ]
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
        after = answer.get("more")
        if not rows or not isinstance(after, str):
            break
    if rest:
        yield rest
