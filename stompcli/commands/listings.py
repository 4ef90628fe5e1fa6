"""The listings: queues, topics, subscriptions, connections, durable and routes."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from stompcli import listing
from stompcli.actions import LISTING, SHAPE, check_options
from stompcli.admin import Admin, admin
from stompcli.asking import check_consent, consent
from stompcli.commands.acting import report_one
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure, usage
from stompcli.listing import Listing, Row, Wanted
from stompcli.output import Out
from stompcli.repeating import repeated
from stompcli.session import Session

_OF_DURABLE: Final = {
    "client_id": "rm",
    "yes": "rm",
    **dict.fromkeys((*LISTING, *SHAPE), "ls"),
}


async def queues(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List queues."""
    pattern, wanted = listing.names(params["glob"], "/queue/")

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        found = await broker.rows("queues", match=pattern)
        return [row for row in found if wanted(str(row.get("name"))) and not broker.is_own(row)]

    await list_rows(session, listing.QUEUES, rows, params, out)
    return None


async def queue(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Show all that is known of one queue."""
    name = params["name"] if params["name"].startswith("/") else f"/queue/{params['name']}"
    async with admin(session, "queue info") as broker:

        async def once() -> None:
            rows = await broker.rows("queues", match=name)
            found = [row for row in rows if row.get("name") == name]
            if not found:
                raise Failure(ExitCode.FAILED, "not-found", f"there is no queue {name}")
            for row in found:
                await show_record(row, params, out)

        await repeated(session, params, out, once)
    return None


async def topics(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List topics."""
    pattern, wanted = listing.names(params["glob"], "/topic/")

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        found = await broker.rows("topics", match=pattern)
        return [row for row in found if wanted(str(row.get("name")))]

    await list_rows(session, listing.TOPICS, rows, params, out)
    return None


async def subscriptions(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List subscriptions."""
    pattern, wanted = listing.names_of_any(params["glob"])

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        found = await broker.rows("subscriptions", match=pattern, connection=params["connection"])
        return [
            row for row in found if wanted(str(row.get("destination"))) and not broker.is_own(row)
        ]

    await list_rows(session, listing.SUBSCRIPTIONS, rows, params, out)
    return None


async def connections(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List connections."""

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        found = await broker.rows("connections")
        return _any_field(found, params["glob"], ("id", "peer", "user", "client_id"))

    await list_rows(session, listing.CONNECTIONS, rows, params, out)
    return None


async def routes(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List the routes."""

    async def rows(broker: Admin) -> list[dict[str, Any]]:
        return _any_field(await broker.rows("routes"), params["glob"], None)

    await list_rows(session, listing.ROUTES, rows, params, out)
    return None


async def durable(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """List durable subscriptions, or remove one."""
    check_options("durable", params, _OF_DURABLE)
    name = params["name"]
    if params["action"] == "ls":

        async def rows(broker: Admin) -> list[dict[str, Any]]:
            return _any_field(await broker.rows("durables"), name, ("name",))

        await list_rows(session, listing.DURABLES, rows, params, out, called="durable ls")
        return None
    if name is None:
        raise usage("durable rm: say which one; durable ls lists them")
    check_consent(session, "durable rm", given=params["yes"], dry_run=False)
    if not params["yes"]:
        await consent(
            session, f"Remove the durable subscription {name} and the messages that it keeps?"
        )
    async with admin(session, "durable rm") as broker:
        outcome = await broker.act("durable-rm", name=name, client_id=params["client_id"])
    done = f"Removed the durable subscription {name}"
    return await report_one(out, done, f"durable rm {name}", outcome)


async def list_rows(
    session: Session,
    kind: Listing,
    rows: Callable[[Admin], Awaitable[list[dict[str, Any]]]],
    params: dict[str, Any],
    out: Out,
    *,
    called: str = "",
) -> None:
    """Show the rows of a listing, again and again if that is wanted."""
    async with admin(session, called or kind.verb) as broker:

        async def once() -> None:
            await show(kind, await rows(broker), params, out)

        await repeated(session, params, out, once)


def _any_field(
    rows: list[dict[str, Any]], glob: str | None, fields: tuple[str, ...] | None
) -> list[dict[str, Any]]:
    """Return the rows in which one of the fields, None for any, matches a GLOB."""
    if glob is None:
        return rows
    wanted = listing.matcher(glob)
    return [
        row
        for row in rows
        if any(wanted(str(row[name])) for name in (fields or row) if row.get(name) is not None)
    ]


async def show(kind: Listing, rows: list[dict[str, Any]], params: dict[str, Any], out: Out) -> None:
    """Write a listing in the form that was asked for."""
    wanted = Wanted.of(params)
    wanted.check(kind, rows)
    chosen = wanted.choose(kind, rows)
    if out.settings.json:
        await out.json([listing.as_json(row, wanted.columns) for row in chosen])
        return
    fields = wanted.fields(kind, rows)
    header = not params["no_header"]
    if params["bars"]:
        text = listing.as_bars(kind, wanted.sort, chosen)
    elif params["plain"] or out.settings.plain:
        text = listing.as_plain(fields, chosen, header=header)
    elif fields:
        text = listing.as_table(fields, chosen, header=header, tty=out.tty)
    else:
        text = ""
    await out.write(text.encode("utf-8", "surrogateescape"))
    if out.tty and header and not (params["plain"] or out.settings.plain or out.settings.quiet):
        out.aside(listing.footer(kind, chosen, len(rows)))


async def show_record(record: Row, params: dict[str, Any], out: Out) -> None:
    """Write one record in the form that was asked for."""
    if out.settings.json:
        await out.json(listing.as_json(record))
        return
    plain = params["plain"] or out.settings.plain
    text = listing.as_pairs(record, plain=plain, header=not params["no_header"], tty=out.tty)
    await out.write(text.encode("utf-8", "surrogateescape"))
