"""connect, disconnect, reconnect and status: the connection of a shell."""

from dataclasses import replace
from time import time
from typing import Any

from stompcli.admin import admin, is_stompd
from stompcli.commands.listings import show_record
from stompcli.exitcodes import ExitCode
from stompcli.lines import relink
from stompcli.output import Out
from stompcli.render import frame_lines, visible_line
from stompcli.repeating import repeated
from stompcli.session import Session


async def connect(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Connect, to another broker if one is named."""
    url = params["url"]
    before = session.settings
    if url is not None:
        # Whom we were there is nobody's business here.
        session.settings = replace(
            before, url=url, host=None, port=None, user=None, password=None, password_file=None
        )
        try:
            session.address()
        except Exception:
            session.settings = before
            raise
    async with session.linking:
        await session.part()
        session.before = []
        await session.open()
    await _greet(session, out)
    for line in session.preferences.on_connect:
        await session.execute(line)
    return None


async def disconnect(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """End the connection; a reconnect brings its subscriptions back."""
    async with session.linking:
        error = await session.part()
        session.lost = None
    if error is not None:
        session.errors += 1
        raise error
    return None


async def reconnect(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Make the connection anew, with its subscriptions."""
    async with session.linking:
        await session.part()
    await relink(session, out, instead_of=None)
    await _greet(session, out)
    return None


async def _greet(session: Session, out: Out) -> None:
    if not (out.settings.quiet or out.settings.json):
        client = await session.link()
        await out.write(frame_lines("CONNECTED", client.connected, tty=out.tty))


async def status(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Say what the broker is and how it is doing; in a shell the connection comes first."""
    if session.interactive and not out.settings.json:
        client = await session.link()
        await _connection(session, out)
        if not is_stompd(client):
            return None
        await out.line("")
    async with admin(session, "status") as broker:

        async def once() -> None:
            await show_record(await broker.record("status"), params, out)

        await repeated(session, params, out, once)
    return None


async def _connection(session: Session, out: Out) -> None:
    link = session.held
    assert link is not None  # noqa: S101 - for the type checker; the caller has the client
    client = link.client
    beats = "/".join(f"{beat:g} s" if beat else "none" for beat in link.beats())
    transaction = session.transaction
    await out.line(
        f"connected to {visible_line(session.label())} for {time() - link.since:.0f} s: "
        f"{visible_line(client.server) or 'a broker without a name'}, STOMP {client.version}, "
        f"session {visible_line(client.session) or '-'}"
    )
    await out.line(f"heart-beats in/out: {beats}")
    await out.line(
        f"transaction: {transaction.id}, {session.transaction_frames} frames"
        if transaction
        else "transaction: none"
    )
    unacked = session.received.unacked()
    await out.line(
        f"received {session.received.count}, sent {link.sent}, not acknowledged {len(unacked)}"
    )
    for one in client.subscriptions:
        await out.line(
            f"subscription {visible_line(one.id)}: {visible_line(one.destination)} ({one.ack})"
        )
