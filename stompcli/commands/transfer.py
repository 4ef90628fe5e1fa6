"""move and copy, by stompd itself or, with other brokers, message by message through here."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import trio

from stompcli import listing
from stompcli.admin import Outcome, admin, is_stompd, only_stompd
from stompcli.asking import check_consent, consent
from stompcli.client import Client, Message, Transaction, UsageError
from stompcli.commands.acting import carry_out, report
from stompcli.commands.send import OF_DELIVERY
from stompcli.exitcodes import ExitCode
from stompcli.failure import usage
from stompcli.output import Out
from stompcli.session import Session

# Seconds of quiet after which a queue of a broker that tells nothing counts as empty.
_QUIET: Final = 1.0
# The most that ActiveMQ sends ahead.
_AHEAD: Final = 32766
# Where a dead letter was sent to first.
_ORIGINAL: Final = "original-destination"


async def move(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Move the messages of a queue."""
    source, target = params["source"], params["target"]
    if source == target:
        raise usage("move: SRC and DST are the same")
    check_consent(session, "move", given=params["yes"] or params["dry_run"])
    client = await session.link()
    job = Job(source, target, params["count"], params["selector"])
    if is_stompd(client):
        return await _by_broker(session, "move", job, params, out)
    if params["dry_run"]:
        raise only_stompd(client, "move --dry-run")
    if not params["yes"]:
        await consent(session, f"Move {job.how_many()} from {source} to {target}?")
    outcome = await through_here(client, job, params["tx"])
    await report(out, "move", source, outcome, f" to {target}")
    return outcome.code


async def copy(session: Session, params: dict[str, Any], out: Out) -> ExitCode | None:
    """Copy the messages of a queue."""
    source, target = params["source"], params["target"]
    if source == target:
        raise usage("copy: SRC and DST are the same")
    client = await session.link()
    job = Job(source, target, params["count"], params["selector"])
    if is_stompd(client):
        return await _by_broker(session, "copy", job, {**params, "yes": True}, out)
    if not client.server.startswith("ActiveMQ"):
        raise only_stompd(client, "copy", others=" or ActiveMQ")
    if params["dry_run"]:
        raise only_stompd(client, "copy --dry-run")
    outcome = await _copy_here(client, job, params["tx"])
    await report(out, "copy", source, outcome, f" to {target}")
    return outcome.code


@dataclass(frozen=True)
class Job:
    """Which messages go from a queue, and where to; ``target`` None: where each came from."""

    source: str
    target: str | None
    count: int | None
    selector: str | None
    ids: Collection[str] = ()

    def how_many(self) -> str:
        """Return which messages in words, where nobody has counted them."""
        if self.ids:
            return listing.messages(len(self.ids))
        some = "all messages" if self.selector is None else "the messages that match"
        return some if self.count is None else f"up to {listing.messages(self.count)}"


async def _by_broker(
    session: Session, verb: str, job: Job, params: dict[str, Any], out: Out
) -> ExitCode:
    """Have stompd move or copy the messages of one queue to another."""

    async def ask(count: str) -> None:
        await consent(session, f"{verb.capitalize()} {count} from {job.source} to {job.target}?")

    fields = {
        "source": job.source,
        "target": job.target,
        "count": job.count,
        "selector": job.selector,
    }
    async with admin(session, verb) as broker:
        outcome = await carry_out(
            broker, verb, fields, params, out, place=job.source, ask=ask, to=f" to {job.target}"
        )
    return outcome.code


# With other brokers.


async def through_here(client: Client, job: Job, batch: int) -> Outcome:
    """Move messages by receiving and sending them, in transactions of ``batch``.

    A message leaves its queue with the COMMIT that brings it into the other one, so that none is
    lost, and none is there twice but for the last batch of a session that breaks off.
    """
    headers = {}
    # What is passed over counts as sent ahead: no limit then, or the rest would never come.
    ahead = None if job.ids or job.target is None else min(batch, job.count or batch)
    if ahead is not None:
        headers["prefetch-count"] = str(ahead)
    if client.server.startswith("ActiveMQ"):
        headers["activemq.prefetchSize"] = str(_AHEAD if ahead is None else ahead)
    if job.selector is not None:
        headers["selector"] = job.selector
    # The only mode of STOMP 1.0 settles all earlier ones too, so that none may be passed over.
    cumulative = client.version == "1.0"
    if cumulative and job.ids:
        raise usage("STOMP 1.0 cannot pass over messages, so that none can be chosen by its id")
    ack = "client" if cumulative else "client-individual"
    work = _Batches(client, batch)
    wanted = set(job.ids)
    async with client.subscribe(job.source, ack=ack, headers=headers) as messages:
        while job.count is None or work.done < job.count:
            message = None
            with trio.move_on_after(_QUIET):
                message = await messages.receive()
            if message is None:
                if not await work.commit():
                    # Nothing was held back: the queue is empty.
                    break
                continue
            if job.ids and message.id not in wanted:
                continue
            wanted.discard(message.id)
            target = job.target or message.headers.get(_ORIGINAL)
            if target is None:
                work.fail(f"no {_ORIGINAL} header")
            else:
                await work.send(message, target, settle=True)
            if (job.ids and not wanted) or (cumulative and work.failed):
                break
        await work.commit()
    if wanted:
        work.fail("not there", len(wanted))
    return work.outcome()


async def _copy_here(client: Client, job: Job, batch: int) -> Outcome:
    """Copy messages by looking at them, as ActiveMQ lets one, and sending them."""
    assert job.target is not None  # noqa: S101 - for the type checker; copy has a target
    headers = {"browser": "true"}
    if job.selector is not None:
        headers["selector"] = job.selector
    work = _Batches(client, batch)
    async with client.subscribe(job.source, headers=headers) as messages:
        async for message in messages:
            if message.headers.get("browser") == "end":
                break
            await work.send(message, job.target, settle=False)
            if job.count is not None and work.done >= job.count:
                break
    await work.commit()
    return work.outcome()


class _Batches:
    """Messages sent on, in transactions of so many."""

    def __init__(self, client: Client, size: int) -> None:
        self._client = client
        self._size = size
        self._transaction: Transaction | None = None
        self._open = 0
        self.failed = 0
        self._reasons: list[str] = []
        self.done = 0

    def fail(self, reason: str, count: int = 1) -> None:
        """Count messages that stay where they are."""
        self.failed += count
        if reason not in self._reasons:
            self._reasons.append(reason)

    def outcome(self) -> Outcome:
        """Return what was done so far."""
        return Outcome(self.done, self.failed, tuple(self._reasons))

    async def send(self, message: Message, target: str, *, settle: bool) -> None:
        """Send a message on, and acknowledge it in the same transaction if it is to leave.

        One that cannot be sent, such as one with a header that STOMP keeps for itself, stays.
        """
        if self._transaction is None:
            self._transaction = await self._client.begin()
        headers = [pair for pair in message.headers.items() if pair[0] not in _NOT_SENT]
        try:
            await self._client.send(
                target,
                message.body,
                headers=headers,
                content_type=message.headers.get("content-type"),
                content_length="content-length" in message.headers,
                transaction=self._transaction,
            )
        except UsageError as error:
            self.fail(str(error))
            return
        if settle:
            await message.ack(transaction=self._transaction)
        self._open += 1
        self.done += 1
        if self._open >= self._size:
            await self.commit()

    async def commit(self) -> bool:
        """Commit what is open, and return whether anything was."""
        if self._transaction is None:
            return False
        await self._transaction.commit()
        self._transaction = None
        self._open = 0
        return True


_NOT_SENT: Final = OF_DELIVERY | {"content-type", "browser"}
