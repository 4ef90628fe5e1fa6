"""ack, nack, begin, commit and abort: what only the session that received can do."""

from typing import Any, Literal

import trio

from stompcli.client import Client, Message, SessionEndedError, UsageError
from stompcli.exitcodes import ExitCode
from stompcli.failure import Failure
from stompcli.output import Out
from stompcli.render import visible_line
from stompcli.session import Session


async def ack(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Acknowledge one message, or all."""
    await _settle(session, params, "ACK")
    return None


async def nack(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Refuse one message, or all."""
    await _settle(session, params, "NACK")
    return None


async def _settle(
    session: Session, params: dict[str, Any], command: Literal["ACK", "NACK"]
) -> None:
    client = await session.link()
    word, subscription = params["message"], params["subscription"]
    chosen = _chosen(session, word, subscription)
    if not chosen and not session.interactive:
        chosen = await _await_chosen(session, client, word, subscription)
    if not chosen and not (word == "all" and subscription is None):
        raise Failure(ExitCode.FAILED, "not-found", f"no unsettled message {visible_line(word)}")
    headers = {name: value for name, value in params["header"] if value is not None}
    for message in chosen:
        if message.settled:
            # An ACK for a later one has settled it just now.
            continue
        await _settle_one(session, client, command, message, headers)


async def _settle_one(
    session: Session,
    client: Client,
    command: Literal["ACK", "NACK"],
    message: Message,
    headers: dict[str, str],
) -> None:
    transaction = session.transaction
    wanted = not session.interactive and transaction is None
    if command == "ACK":
        if headers:
            raise UsageError("ACK takes no further headers")
        await message.ack(transaction=transaction, receipt=wanted)
    else:
        await message.nack(transaction=transaction, receipt=wanted, headers=headers)
    if transaction is not None:
        session.transaction_frames += 1
    if message.subscription.ack == "client":
        # ACK-05: everything earlier of the subscription is settled with it.
        for _, earlier in session.received.unsettled:
            if earlier is message:
                break
            if earlier.subscription is message.subscription and not earlier.settled:
                earlier.settled = True
                if transaction is not None:
                    transaction.enlist(earlier)
    client.check_alive()


async def _await_chosen(
    session: Session, client: Client, word: str, subscription: str | None
) -> list[Message]:
    """Give a message that a script means a little time to come: no script sees when it does."""
    chosen: list[Message] = []
    if any(one.ack != "auto" for one in client.subscriptions):
        with trio.move_on_after(session.settings.linger):
            while not chosen:
                await session.received.arrived.park()
                chosen = _chosen(session, word, subscription)
    return chosen


def _chosen(session: Session, word: str, subscription: str | None) -> list[Message]:
    """Return the unsettled messages that a word names."""
    unsettled = [
        (number, message)
        for number, message in session.received.unsettled
        if not message.settled and subscription in (None, message.subscription.id)
    ]
    if word == "all":
        # From the last one: in client mode it takes the earlier ones with it.
        return [message for _, message in reversed(unsettled)]
    if word == "last":
        return [message for _, message in unsettled[-1:]]
    if word.startswith("#"):
        return [message for number, message in unsettled if f"#{number}" == word]
    return [
        message for _, message in unsettled if word in (message.headers.get("ack"), message.id)
    ][:1]


async def begin(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Begin the shell's transaction."""
    client = await session.link()
    if session.transaction is not None:
        raise _wrong(f"Currently in a transaction ({session.transaction.id})")
    session.transaction = await client.begin()
    session.transaction_frames = 0
    await out.line(f"Transaction id: {session.transaction.id}")
    return None


async def commit(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Make the shell's transaction happen."""
    await session.link()
    transaction = session.transaction
    if transaction is None:
        raise _wrong("Not currently in a transaction")
    await out.line(f"Committing {transaction.id}")
    session.transaction = None
    await transaction.commit()
    return None


async def abort(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:  # noqa: ARG001 - every handler's signature
    """Undo the shell's transaction."""
    await session.link()
    transaction = session.transaction
    if transaction is None:
        raise _wrong("Not currently in a transaction")
    session.transaction = None
    try:
        await transaction.abort()
    except SessionEndedError:
        # The end of the session aborts it as well (TX-06, TX-07).
        session.errors += 1
        raise
    await out.line(f"Aborted transaction: {transaction.id}")
    return None


def _wrong(text: str) -> Failure:
    return Failure(ExitCode.FAILED, "conflict", text)
