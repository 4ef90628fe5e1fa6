"""check."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from stompcli.admin import Admin, admin, is_stompd
from stompcli.bench.result import in_ms
from stompcli.client import Client, StompError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, of, usage
from stompcli.output import Out
from stompcli.render import json_line
from stompcli.session import Session
from stompcli.verdict import Status, Thresholds, Value, Verdict, worst

# Seconds that a check may take; monitoring systems have no more patience.
_PATIENCE: Final = 10.0
_SECONDS: Final = ("conn", "roundtrip")
_NANOSECONDS: Final = 1e9
# The exit codes with the numbers of nagios', whose meaning is another.
_CODES: Final = (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.PARTIAL)
# What of the broker's health stops everybody, and what keeps some waiting.
_GRAVE: Final = ("running", "store")
# What a failure says of the broker, or only of the question.
_UNKNOWN: Final = ("unsupported", "not-found", "forbidden", "bad-answer")

Check = Callable[[Session, str, Thresholds], Awaitable[Verdict]]


async def check(session: Session, params: dict[str, Any], out: Out) -> ExitCode:
    """Check something of a broker, and end with the code that nagios expects."""
    what, target = params["what"], params["target"] or ""
    if what == "queue" and not target:
        raise usage("check queue: say which queue")
    if what == "conn" and target:
        raise usage(f'check conn: "{target}" is one word too many')
    warn = params["warn"]
    if what == "dlq" and warn is None:
        warn = "1"
    thresholds = Thresholds.of(warn, params["crit"], seconds=what in _SECONDS)
    verdict = await _in_time(session, what, target, thresholds)
    form = "json" if out.settings.json else params["form"]
    if form == "json":
        await out.write(json_line(verdict.as_json()))
    else:
        await out.write(verdict.render(form).encode())
    return _CODES[verdict.status]


async def _in_time(session: Session, what: str, target: str, thresholds: Thresholds) -> Verdict:
    """Return the verdict, whatever keeps the check from being made."""
    checks: dict[str, Check] = {
        "conn": _conn,
        "queue": _queue,
        "dlq": _dlq,
        "roundtrip": _roundtrip,
    }
    patience = session.settings.timeout or _PATIENCE
    # The check itself says that time is up.
    session.scope.deadline = float("inf")
    place = target or str(session.address())
    with trio.move_on_after(patience):
        try:
            return await checks[what](session, target, thresholds)
        except StompError as error:
            failure = of(error)
        except Failure as found:
            failure = found
        if failure.code is ExitCode.USAGE and failure.kind != "bad-request":
            raise failure
        status = Status.UNKNOWN if failure.kind in _UNKNOWN else Status.CRITICAL
        return Verdict(what, place, status, failure.message)
    text = f"{session.address()} has not answered within {patience:g} s"
    return Verdict(what, place, Status.CRITICAL, text)


def _made(
    what: str, target: str, text: str, values: list[Value], least: Status = Status.OK
) -> Verdict:
    status = worst([least, *(value.status for value in values)])
    return Verdict(what, target, status, text, values)


async def _conn(session: Session, _: str, thresholds: Thresholds) -> Verdict:
    """Connect, wait for a receipt, and ask stompd how it is."""
    client = await session.link()
    connect = Value("connect", client.dial_seconds + client.login_seconds, thresholds, seconds=True)
    receipt = Value("receipt", await client.ping(), thresholds, seconds=True)
    text = (
        f"{client.server or 'a broker'} at {client.address}, "
        f"connected in {in_ms(connect.value * _NANOSECONDS)} ms{connect.passed()}, "
        f"receipt in {in_ms(receipt.value * _NANOSECONDS)} ms{receipt.passed()}"
    )
    status, complaints = await _health(session, client)
    if complaints:
        text += "; " + "; ".join(complaints)
    return _made("conn", client.address, text, [connect, receipt], status)


async def _health(session: Session, client: Client) -> tuple[Status, list[str]]:
    """Return what stompd says of itself; nothing if it is another broker, or does not tell us."""
    if not is_stompd(client):
        return Status.OK, []
    try:
        async with admin(session, "check") as broker:
            health = await broker.record("health")
    except Failure as failure:
        if failure.kind == "forbidden":
            return Status.OK, []
        raise
    bad = [one for one in health.get("checks", ()) if not one.get("ok")]
    grave = [one for one in bad if one.get("name") in _GRAVE]
    status = Status.CRITICAL if grave else Status.WARNING if bad else Status.OK
    return status, [str(one.get("text")) for one in bad]


async def _queue(session: Session, target: str, thresholds: Thresholds) -> Verdict:
    """Count the messages that wait in a queue."""
    name = target if target.startswith("/") else f"/queue/{target}"
    async with admin(session, "check queue") as broker:
        row = await _row(broker, "queues", name, match=name)
    ready = Value("ready", row["ready"], thresholds)
    values = [ready, Value("inflight", row["inflight"]), Value("consumers", row["consumers"])]
    text = f"{name} ready={ready.value}{ready.passed()} consumers={row['consumers']}"
    return _made("queue", name, text, values)


async def _dlq(session: Session, target: str, thresholds: Thresholds) -> Verdict:
    """Count the dead letters of one queue, or of all."""
    name = target if not target or target.startswith("/") else f"/queue/{target}"
    async with admin(session, "check dlq") as broker:
        if name:
            rows = [await _row(broker, "dlq", name)]
        else:
            rows = await broker.rows("dlq")
    full = sorted((row for row in rows if row["ready"]), key=lambda row: -int(row["ready"]))
    ready = Value("ready", sum(row["ready"] for row in rows), thresholds)
    text = f"dead letters={ready.value}{ready.passed()}"
    if full:
        text += " in " + ", ".join(f"{row['name']} ({row['ready']})" for row in full[:5])
    return _made("dlq", name or "all", text, [ready, Value("queues", len(full))])


async def _row(broker: Admin, verb: str, name: str, **fields: str) -> dict[str, Any]:
    """Return the row of a queue; raises `Failure` if there is none."""
    for row in await broker.rows(verb, **fields):
        if row.get("name") == name:
            return row
    raise Failure(ExitCode.FAILED, "not-found", f"there is no queue {name}")


async def _roundtrip(session: Session, target: str, thresholds: Thresholds) -> Verdict:
    """Send a message and wait until it is back."""
    client = await session.link()
    # A topic that nobody else knows leaves nothing behind, with any broker.
    place = target or f"/topic/stomp-check.{secrets.token_hex(6)}"
    mark = secrets.token_hex(16).encode()
    # What others have sent there goes back to them.
    async with client.subscribe(place, ack="client-individual") as messages:
        began = trio.current_time()
        await client.send(place, mark, receipt=True)
        others = 0
        while (message := await messages.receive()).body != mark:
            others += 1
        took = Value("roundtrip", trio.current_time() - began, thresholds, seconds=True)
        await message.ack(receipt=True)
    text = (
        f"{client.server or 'a broker'} at {client.address}, a message by {place} was back after "
        f"{in_ms(took.value * _NANOSECONDS)} ms{took.passed()}"
    )
    if others:
        text += f", behind {others} others"
    return _made("roundtrip", place, text, [took])
