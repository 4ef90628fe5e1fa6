"""purge, kick, pause, resume, route and explain."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from stompcli import listing
from stompcli.actions import check_options
from stompcli.admin import Admin, Outcome, Progress, admin
from stompcli.asking import check_consent, consent, typed_name
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session

# The columns of a bar that shows how far something is.
_BAR: Final = 30
_NOW: Final = {"purge": "Purging", "move": "Moving", "copy": "Copying", "requeue": "Requeuing"}
_PAST: Final = {"purge": "Purged", "move": "Moved", "copy": "Copied", "requeue": "Requeued"}


async def purge(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Throw away the messages of queues."""
    check_consent(session, "purge", given=params["yes"] or params["dry_run"])
    code = ExitCode.DONE
    async with admin(session, "purge") as broker:
        for queue in params["queues"]:
            outcome = await purge_one(session, broker, queue, params, out)
            if outcome.failed:
                code = ExitCode.PARTIAL
    return code


async def purge_one(
    session: Session, broker: Admin, queue: str, params: dict[str, Any], out: Out
) -> Outcome:
    """Throw away the messages of one queue, if somebody types its name."""

    async def ask(count: str) -> None:
        await typed_name(session, f"Purge {count} from {queue}?", queue)

    chosen = {name: params[name] for name in ("selector", "older_than", "keep")}
    fields = {"destination": queue, **chosen}
    return await carry_out(broker, "purge", fields, params, out, place=queue, ask=ask)


async def carry_out(
    broker: Admin,
    verb: str,
    fields: Mapping[str, object],
    params: Mapping[str, Any],
    out: Out,
    *,
    place: str,
    ask: Callable[[str], Awaitable[None]],
    to: str = "",
    act: Callable[[int | None], Awaitable[Outcome]] | None = None,
) -> Outcome:
    """Carry out a verb on the messages of a place, and say what was done.

    With --dry-run only says what would be. Without --yes ``ask`` is told how many messages it is,
    and raises `Failure` if nobody wants that; where there are none, nothing is asked or done.
    ``act`` does it in its own way, given how many it is, None if nobody has counted.
    """
    outcome = None
    if params["dry_run"] or not params["yes"]:
        told = teller(out, "Counting")
        outcome = await broker.act(verb, told=told, dry_run=True, **fields)
        if params["dry_run"]:
            await foretell(out, verb, place, outcome, to)
            return outcome
        if outcome.done:
            await ask(listing.messages(outcome.done))
    if outcome is None or outcome.done:
        if act is not None:
            outcome = await act(None if outcome is None else outcome.done)
        else:
            outcome = await broker.act(verb, told=teller(out, _NOW[verb]), **fields)
    await report(out, verb, place, outcome, to)
    return outcome


def teller(out: Out, what: str) -> Callable[[Progress], None]:
    """Return what shows people on a terminal how far a verb is, while it takes its time."""

    def tell(progress: Progress) -> None:
        bar = f"{'#' * int(progress.part * _BAR):.<{_BAR}}"
        out.passing(f"{what} [{bar}] {int(progress.part * 100)} %, {progress.done:,} done")

    return tell


async def kick(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Close a connection."""
    name = params["connection"]
    check_consent(session, "kick", given=params["yes"], dry_run=False)
    async with admin(session, "kick") as broker:
        if not params["yes"]:
            await consent(session, f"Close the connection {await _who(broker, name)}?")
        outcome = await broker.act("kick", connection=name, reason=params["reason"])
    return await report_one(out, f"Closed {name}", f"kick {name}", outcome)


async def _who(broker: Admin, name: str) -> str:
    """Return a connection with what is known of it, for the question.

    Raises `Failure` if it is not there.
    """
    for row in await broker.rows("connections"):
        if row.get("id") == name:
            known = [str(row[field]) for field in ("user", "peer") if row.get(field)]
            return f"{name} ({' at '.join(known)})" if known else name
    raise Failure(ExitCode.FAILED, "not-found", f'there is no connection "{name}"')


async def pause(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Stop delivering from a queue."""
    queue = params["destination"]
    async with admin(session, "pause") as broker:
        outcome = await broker.act("pause", destination=queue)
    return await report_one(out, f"Paused {queue}", f"pause {queue}", outcome)


async def resume(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Deliver from a paused queue again."""
    queue = params["destination"]
    async with admin(session, "resume") as broker:
        outcome = await broker.act("resume", destination=queue)
    return await report_one(out, f"Resumed {queue}", f"resume {queue}", outcome)


async def route(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Add a route, or remove one."""
    words, action = params["words"], params["action"]
    check_options("route", params, dict.fromkeys(("name", "when", "move"), "add"))
    if action == "rm":
        if len(words) != 1:
            raise usage("route rm: give the name of one route; routes lists them")
        async with admin(session, "route rm") as broker:
            outcome = await broker.act("route-rm", name=words[0])
        done = f"Removed the route {words[0]}"
        return await report_one(out, done, f"route rm {words[0]}", outcome)
    if len(words) < 2:  # noqa: PLR2004 - where from and where to
        raise usage("route add: say where from and where to: MATCH TO...")
    match, *to = words
    async with admin(session, "route add") as broker:
        result = await broker.ask(
            "route-add",
            name=params["name"],
            match=match,
            to=to,
            when=params["when"],
            move=params["move"] or None,
        )
    outcome = Outcome.of(result)
    if out.settings.json:
        await out.json(result)
        return outcome.code
    named = result.get("name") if isinstance(result, dict) else None
    name = f" {named or params['name']}" if named or params["name"] else ""
    text = f"{match} to {', '.join(to)}"
    return await report_one(out, f"Added the route{name}: {text}", f"route add {text}", outcome)


async def explain(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Say why messages are not being delivered, and where a message goes."""
    headers = dict(params["header"])
    missing = [name for name, value in headers.items() if value is None]
    if missing:
        raise usage(f'header "{missing[0]}" has no value; write {missing[0]}:VALUE')
    async with admin(session, "explain") as broker:
        record = await broker.record(
            "explain",
            destination=params["destination"],
            id=params["id_"],
            headers=headers or None,
        )
    if out.settings.json:
        await out.json(record)
        return None
    name = record.get("destination") or params["destination"]
    kind = f" ({record['kind']})" if record.get("kind") else ""
    lines = [f"{name}{kind}"]
    reasons = record.get("reasons") or []
    for reason in reasons:
        if isinstance(reason, dict):
            lines.append(f"  {reason.get('code', '-')}: {reason.get('text', '')}")
        else:
            lines.append(f"  {reason}")
    if not reasons:
        lines.append("  nothing keeps messages from being delivered")
    goes_to = record.get("goes_to") or []
    if goes_to:
        lines.append("  goes to:")
        lines += [f"    {_place(place)}" for place in goes_to]
    for line in lines:
        await out.line(visible_line(line))
    return None


def _place(place: object) -> str:
    """Return one of the places that a message goes to."""
    if not isinstance(place, dict):
        return str(place)
    told = [f"by {' and '.join(map(str, place['routes']))}"] if place.get("routes") else []
    if place.get("exists") is False:
        told.append("not there yet")
    elif isinstance(place.get("subscriptions"), int):
        count = place["subscriptions"]
        told.append("1 subscription" if count == 1 else f"{count:,} subscriptions")
    name = str(place.get("destination", "-"))
    return f"{name} ({', '.join(told)})" if told else name


# What was done, in words.


async def foretell(out: Out, what: str, place: str, outcome: Outcome, to: str = "") -> None:
    """Write what a command would do."""
    if out.settings.json:
        await out.json({"destination": place, "dry_run": True, **outcome.as_json()})
    else:
        text = f"would {what} {listing.messages(outcome.done)} from {place}{to}"
        if outcome.failed:
            text += f"; {outcome.failed:,} would fail{_why(outcome)}"
        await out.line(visible_line(text))


async def report(out: Out, verb: str, place: str, outcome: Outcome, to: str = "") -> None:
    """Say what a verb has done with the messages of a place."""
    if out.settings.json:
        await out.json({"destination": place, **outcome.as_json()})
        return
    done = _PAST[verb]
    if outcome.failed:
        stay = "stays" if outcome.failed == 1 else "stay"
        text = f"{done} {outcome.done:,}; {outcome.failed:,} failed and {stay} in {place}"
        text += _why(outcome)
    else:
        text = f"{done} {listing.messages(outcome.done)} from {place}{to}"
    if not out.settings.quiet or outcome.failed:
        out.aside(visible_line(text))


async def report_one(out: Out, done: str, what: str, outcome: Outcome) -> ExitCode:
    """Say that a command was ``done``, or that ``what`` it was has failed; return its code."""
    if out.settings.json:
        await out.json(outcome.as_json())
    elif outcome.failed:
        out.aside(visible_line(f"{what} failed{_why(outcome)}"))
    elif not out.settings.quiet:
        out.aside(visible_line(done))
    return outcome.code


def _why(outcome: Outcome) -> str:
    return f" ({'; '.join(outcome.reasons)})" if outcome.reasons else ""
