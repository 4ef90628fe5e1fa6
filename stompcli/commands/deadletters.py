"""dlq: dead letters listed, looked at, sent back to where they came from, thrown away."""

from typing import Any, Final

from stompcli import listing, pacing
from stompcli.actions import LISTING, SHAPE, check_options
from stompcli.admin import Admin, Outcome, admin, is_stompd, only_stompd
from stompcli.asking import check_consent, consent
from stompcli.commands.acting import carry_out, purge_one, report
from stompcli.commands.browse import look
from stompcli.commands.listings import list_rows
from stompcli.commands.transfer import Job, through_here
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.output import Out
from stompcli.session import Session

# The actions that each option is for.
_OPTIONS: Final = {
    "all_": "requeue",
    "to": "requeue",
    "count": "show requeue",
    "selector": "show requeue purge",
    "older_than": "requeue purge",
    "rate": "requeue",
    "keep": "purge",
    "dry_run": "requeue purge",
    "yes": "requeue purge",
    **dict.fromkeys(("offset", "headers_only", "body_bytes"), "show"),
    **dict.fromkeys((*LISTING, *SHAPE), "ls"),
}
_SHOWN: Final = 10


async def dlq(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Look at dead letters, or act on them."""
    action = params["action"]
    check_options("dlq", params, _OPTIONS)
    queue, ids = _words(action, params["words"])
    if action == "ls":
        await _list(session, queue, params, out)
        return None
    if action == "show":
        await _show(session, queue, ids, params, out)
        return None
    check_consent(session, f"dlq {action}", given=params["yes"] or params["dry_run"])
    if action == "purge":
        async with admin(session, "dlq purge") as broker:
            queue = await _known(broker, queue) if queue else await _only_one(broker)
            return (await purge_one(session, broker, queue, params, out)).code
    return await _requeue(session, queue, ids, params, out)


def _words(action: str, words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Return the queue and the message-ids among words; raises `Failure` for too many."""
    queue = words[0] if words and (words[0].startswith("/") or action == "ls") else None
    ids = words if queue is None else words[1:]
    if ids and action in ("ls", "purge"):
        raise usage(f'dlq {action}: "{ids[0]}" is one word too many')
    if len(ids) > 1 and action == "show":
        raise usage("dlq show shows one MSGID, or all that there are")
    return queue, ids


async def _list(session: Session, glob: str | None, params: dict[str, Any], out: Out) -> None:
    _, wanted = listing.names(glob, "/queue/")
    partly: list[dict[str, Any]] = []

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        found = [row for row in await broker.rows("dlq") if wanted(str(row.get("name")))]
        partly[:] = [row for row in found if _looked_at_in_part(row)]
        return found

    await list_rows(session, listing.DEAD_LETTERS, rows, params, out, called="dlq ls")
    for row in () if out.settings.json else partly:
        out.aside(f"{row.get('name')}: these are the reasons of the first {row['counted']} only")


def _looked_at_in_part(row: dict[str, Any]) -> bool:
    counted, ready = row.get("counted"), row.get("ready")
    return isinstance(counted, int) and isinstance(ready, int) and 0 < counted < ready


async def _show(
    session: Session, queue: str | None, ids: tuple[str, ...], params: dict[str, Any], out: Out
) -> None:
    async with admin(session, "dlq show") as broker:
        queue = queue or await _only_one(broker)
        wanted = {**params, "id_": ids[0] if ids else None, "count": params["count"] or _SHOWN}
        await look(broker, queue, wanted, out, pager=session.preferences.pager)


async def _known(broker: Admin, queue: str) -> str:
    """Return the name of a dead-letter queue; raises `Failure` for another queue's."""
    rows = await broker.rows("dlq")
    if queue in (row.get("name") for row in rows):
        return queue
    theirs = [str(row.get("name")) for row in rows if queue in (row.get("sources") or ())]
    raise Failure(
        ExitCode.FAILED,
        "not-found",
        f"{queue} is no dead-letter queue; dlq ls lists them, purge empties any queue",
        f"the dead letters of {queue} are in {', '.join(theirs)}" if theirs else "",
    )


async def _only_one(broker: Admin) -> str:
    """Return the one dead-letter queue that holds messages; raises `Failure` for none or more."""
    names = [str(row["name"]) for row in await broker.rows("dlq") if row.get("ready")]
    if not names:
        raise Failure(ExitCode.FAILED, "not-found", "there are no dead letters")
    if len(names) > 1:
        raise usage("there are several dead-letter queues; name one", "\n".join(sorted(names)))
    return names[0]


async def _requeue(
    session: Session,
    queue: str | None,
    ids: tuple[str, ...],
    params: dict[str, Any],
    out: Out,
) -> ExitCode:
    chosen = ("count", "selector", "older_than")
    if ids and (params["all_"] or any(params[name] is not None for name in chosen)):
        raise usage(
            "dlq requeue: MSGIDs and --all, -n, --selector, --older-than exclude each other"
        )
    if not ids and not params["all_"] and all(params[name] is None for name in chosen):
        raise usage("dlq requeue: say which: MSGIDs, --all, -n, --selector or --older-than")
    client = await session.link()
    goal = params["to"] or "their original destinations"
    if is_stompd(client):
        async with admin(session, "dlq requeue") as broker:
            place = queue or await _only_one(broker)

            async def ask(count: str) -> None:
                one = count == listing.messages(1) and not params["to"]
                there = "its original destination" if one else goal
                await consent(session, f"Requeue {count} from {place} to {there}?")

            fields = {
                "destination": place,
                "ids": list(ids) or None,
                "to": params["to"],
                **{name: params[name] for name in chosen},
            }

            async def act(total: int | None) -> Outcome:
                return await pacing.requeue(broker, fields, params["rate"], out, total=total)

            outcome = await carry_out(
                broker,
                "requeue",
                fields,
                params,
                out,
                place=place,
                ask=ask,
                act=act if params["rate"] is not None else None,
            )
            return outcome.code
    for name in ("dry_run", "older_than", "rate"):
        if params[name]:
            raise only_stompd(client, f"dlq requeue --{name.replace('_', '-')}")
    if queue is None:
        raise usage("dlq requeue: name the dead-letter queue; only stompd says which there are")
    job = Job(queue, params["to"], params["count"], params["selector"], ids)
    if not params["yes"]:
        await consent(session, f"Requeue {job.how_many()} from {queue} to {goal}?")
    outcome = await through_here(client, job, params["tx"])
    await report(out, "requeue", queue, outcome)
    return outcome.code
